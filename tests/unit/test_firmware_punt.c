/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What contract 2.0 gives the host: classes of punted packets and their rates, four rings in strict
 * priority, more station addresses, bytes that tell which adjacencies are in use, links that are
 * down. For each transfer method.
 */
#include "tests/unit/firmware_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define SECOND 1000000000ull

static struct p2pnic_policers *policers(struct rig *r, unsigned nic)
{
	return (struct p2pnic_policers *)(r->at[nic].bar2 + P2PNIC_BAR2_POLICERS);
}

static uint64_t passed(struct rig *r, enum p2pnic_punt_class class)
{
	return rig_count(&r->at[0].counters->punt[class].passed);
}

static uint64_t policed(struct rig *r, enum p2pnic_punt_class class)
{
	return rig_count(&r->at[0].counters->punt[class].policed);
}

/* NIC 0 receives it, and the host finds it in that ring with that class and reason. */
static void comes_as(
	struct rig *r, const struct packet *p, enum p2pnic_punt_class class, unsigned reason)
{
	static const uint8_t ring_of[] = {[P2PNIC_PUNT_HELLO] = P2PNIC_RING_CONTROL,
		[P2PNIC_PUNT_LOCAL] = P2PNIC_RING_CONTROL,
		[P2PNIC_PUNT_NEIGHBOR] = P2PNIC_RING_NEIGHBOR,
		[P2PNIC_PUNT_GLEAN] = P2PNIC_RING_NEIGHBOR,
		[P2PNIC_PUNT_EXCEPTION] = P2PNIC_RING_EXCEPTION,
		[P2PNIC_PUNT_KERNEL] = P2PNIC_RING_EXCEPTION,
		[P2PNIC_PUNT_LINK] = P2PNIC_RING_EXCEPTION};
	uint64_t before = passed(r, class);
	struct packet got;
	uint16_t flags;

	rig_receive(r, 0, p);
	rig_run(r);
	for (unsigned ring = 0; ring < P2PNIC_HOST_RINGS; ring++)
		assert_int_equal(rig_punted_by(r, 0, ring, &got, &flags), ring == ring_of[class]);
	assert_int_equal(P2PNIC_FLAGS_CLASS(flags), class);
	assert_int_equal(P2PNIC_FLAGS_REASON(flags), reason);
	assert_int_equal(got.length, p->length);
	assert_memory_equal(got.bytes, p->bytes, p->length);
	assert_int_equal(passed(r, class), before + 1);
}

/* An IPv4 packet of that protocol, to UDP port `port`. */
static struct packet ipv4_of(uint32_t to, uint8_t protocol, unsigned port)
{
	struct packet p;

	packet_ipv4(&p, 0, to, 64, 40, 1);
	p.bytes[23] = protocol;
	put16(p.bytes + 36, port);
	packet_checksum(&p);
	return p;
}

static struct packet ipv6_of(uint8_t next_header, uint8_t first, unsigned port)
{
	struct packet p;

	packet_ipv6(&p, 0, 0xff02000000000000, 255, 40, 1);
	p.bytes[20] = next_header;
	p.bytes[54] = first;
	put16(p.bytes + 56, port);
	return p;
}

static struct packet other_of(unsigned type, const char *mac)
{
	struct packet p;

	packet_ipv4(&p, 0, PACKET_TO(1), 64, 40, 1);
	memcpy(p.bytes, mac, 6);
	put16(p.bytes + 12, type);
	return p;
}

static void classes(void **state)
{
	struct rig *r = rig_new(2, &(struct rig_config){.host = true});
	const uint32_t all_hosts = 0xe0000001, here = 0x0b000001, kernel = 0x0b010001;
	const struct fib_route routes[] = {fib_route4(here, 32, RIG_HOP_LOCAL),
		fib_route4(kernel, 32, 25), fib_route4(0x0b020000, 24, RIG_HOP_GLEAN),
		fib_route4(PACKET_TO(1), 32, RIG_HOP_EGRESS + 1)};
	static const uint8_t hello[] = {88, 89, 103, 112};
	static const unsigned port[] = {520, 521, 646, 1985, 3784, 3785, 4784, 6784};
	struct packet p;

	rig_routes4(r, 0, routes, 4);
	rig_adjacency(r, 0, 25, P2PNIC_ADJACENCY_KERNEL, 0, 1500);
	rig_next_hop(r, 0, 25, P2PNIC_NEXT_HOP(25, 0));
	for (unsigned k = 0; k < sizeof(hello); k++) {
		p = ipv4_of(all_hosts, hello[k], 0);
		comes_as(r, &p, P2PNIC_PUNT_HELLO, P2PNIC_DROP_LINK_SCOPE);
		p = ipv4_of(here, hello[k], 0);
		comes_as(r, &p, P2PNIC_PUNT_HELLO, P2PNIC_DROP_LOCAL);
		p = ipv6_of(hello[k], 0, 0);
		comes_as(r, &p, P2PNIC_PUNT_HELLO, P2PNIC_DROP_LINK_SCOPE);
	}
	for (unsigned k = 0; k < sizeof(port) / sizeof(*port); k++) {
		p = ipv4_of(here, 17, port[k]);
		comes_as(r, &p, P2PNIC_PUNT_HELLO, P2PNIC_DROP_LOCAL);
		p = ipv6_of(17, 0, port[k]);
		comes_as(r, &p, P2PNIC_PUNT_HELLO, P2PNIC_DROP_LINK_SCOPE);
		/* Another protocol's number there is no port; a later fragment has none. */
		p = ipv4_of(here, 6, port[k]);
		comes_as(r, &p, P2PNIC_PUNT_LOCAL, P2PNIC_DROP_LOCAL);
		p = ipv4_of(here, 17, port[k]);
		put16(p.bytes + 20, 5);
		packet_checksum(&p);
		comes_as(r, &p, P2PNIC_PUNT_LOCAL, P2PNIC_DROP_LOCAL);
		/* On the way through, or without a route, it is no packet for this router. */
		p = ipv4_of(0x63000001, 17, port[k]);
		comes_as(r, &p, P2PNIC_PUNT_EXCEPTION, P2PNIC_DROP_NO_ROUTE);
	}
	p = ipv4_of(all_hosts, 17, 67);
	comes_as(r, &p, P2PNIC_PUNT_LINK, P2PNIC_DROP_LINK_SCOPE);
	for (unsigned type = 128; type < 160; type++) {
		p = ipv6_of(58, (uint8_t)type, 0);
		comes_as(r, &p,
			type >= 133 && type <= 137 ? P2PNIC_PUNT_NEIGHBOR : P2PNIC_PUNT_LINK,
			P2PNIC_DROP_LINK_SCOPE);
	}
	/* To a link-local address of this router, as to any other of it. */
	p = ipv6_of(6, 0, 179);
	comes_as(r, &p, P2PNIC_PUNT_LINK, P2PNIC_DROP_LINK_SCOPE);
	put16(p.bytes + 38, 0xfe80);
	comes_as(r, &p, P2PNIC_PUNT_LOCAL, P2PNIC_DROP_LINK_SCOPE);
	put16(p.bytes + 38, 0xfebf);
	comes_as(r, &p, P2PNIC_PUNT_LOCAL, P2PNIC_DROP_LINK_SCOPE);
	p.bytes[20] = 89;
	comes_as(r, &p, P2PNIC_PUNT_HELLO, P2PNIC_DROP_LINK_SCOPE);
	p = other_of(0x0806, "\xff\xff\xff\xff\xff\xff");
	comes_as(r, &p, P2PNIC_PUNT_NEIGHBOR, P2PNIC_DROP_LINK_SCOPE);
	p = other_of(0x88cc, "\x01\x80\xc2\0\0\x0e");
	comes_as(r, &p, P2PNIC_PUNT_LINK, P2PNIC_DROP_LINK_SCOPE);
	p = other_of(40, "\x01\x80\xc2\0\0\x14"); /* IS-IS */
	p.bytes[14] = p.bytes[15] = 0xfe;
	comes_as(r, &p, P2PNIC_PUNT_HELLO, P2PNIC_DROP_LINK_SCOPE);
	p.bytes[15] = 0xaa;
	comes_as(r, &p, P2PNIC_PUNT_LINK, P2PNIC_DROP_LINK_SCOPE);
	p = ipv4_of(0x0b020005, 17, 3784);
	comes_as(r, &p, P2PNIC_PUNT_GLEAN, P2PNIC_DROP_NO_NEIGHBOR);
	p = ipv4_of(kernel, 17, 53);
	comes_as(r, &p, P2PNIC_PUNT_KERNEL, P2PNIC_DROP_KERNEL);
	packet_ipv4(&p, 0, PACKET_TO(1), 1, 80, 1);
	comes_as(r, &p, P2PNIC_PUNT_EXCEPTION, P2PNIC_DROP_TTL);
	/* Truncated anywhere, it is some class, and nobody reads beyond it. */
	for (p = ipv6_of(17, 0, 3784); p.length > 14; p.length--)
		rig_receive(r, 0, &p);
	rig_run(r);
	rig_check(r);
	rig_free(r);
}

/* --- Rates ------------------------------------------------------------------------------------ */

/* How many of n packets to nowhere, from 192.168.0.source on, `sources` of them in turn, pass. */
static unsigned pass(struct rig *r, unsigned n, unsigned sources)
{
	unsigned passed = 0;
	struct packet p;
	uint16_t reason;

	for (unsigned k = 0; k < n; k++) {
		packet_ipv4(&p, 0, 0x63000001, 64, 40, 1);
		p.bytes[29] = (uint8_t)(1 + k % sources);
		packet_checksum(&p);
		rig_receive(r, 0, &p);
		rig_run(r);
		while (rig_punted(r, 0, &p, &reason))
			passed++;
	}
	rig_check(r);
	return passed;
}

static void a_class_has_its_rate(void **state)
{
	struct rig *r = rig_new(2, &(struct rig_config){.host = true});
	struct p2pnic_policer *limit = &policers(r, 0)->policer[P2PNIC_PUNT_EXCEPTION];
	struct board *b = &r->at[0].board;
	struct packet p;
	uint16_t reason;

	assert_int_equal(pass(r, 300, 1), 300); /* no limit */
	b->clock_ns = 5 * SECOND;
	limit->all = (struct p2pnic_rate){.rate = 10, .burst = 4};
	assert_int_equal(pass(r, 300, 1), 4);
	assert_int_equal(rig_drops(r, 0, P2PNIC_DROP_POLICED), 296);
	assert_int_equal(policed(r, P2PNIC_PUNT_EXCEPTION), 296);
	assert_int_equal(passed(r, P2PNIC_PUNT_EXCEPTION), 304);
	/* One each 100 ms, to the nanosecond. */
	b->clock_ns += SECOND / 10 - 1;
	assert_int_equal(pass(r, 3, 1), 0);
	b->clock_ns += 1;
	assert_int_equal(pass(r, 3, 1), 1);
	for (unsigned k = 0; k < 100; k++) {
		b->clock_ns += SECOND / 100; /* time that comes in small pieces is not lost */
		pass(r, 1, 1);
	}
	assert_int_equal(passed(r, P2PNIC_PUNT_EXCEPTION), 305 + 10);
	/* A long rest gives no more than a burst; the clock's end harms nobody. */
	b->clock_ns = UINT64_MAX - 5;
	assert_int_equal(pass(r, 10, 1), 4);
	/* Another class goes on. */
	packet_ipv4(&p, 0, 0xe0000005, 1, 40, 1);
	rig_receive(r, 0, &p);
	rig_run(r);
	assert_true(rig_punted(r, 0, &p, &reason));
	/* A smaller burst: what an empty bucket lacks of the old one is not waited for. */
	b->clock_ns = 6 * SECOND;
	policers(r, 0)->all[P2PNIC_PUNT_EXCEPTION] = (struct p2pnic_tokens){0};
	limit->all = (struct p2pnic_rate){.rate = 1, .burst = 100};
	assert_int_equal(pass(r, 300, 1), 100);
	limit->all.burst = 2;
	b->clock_ns += SECOND;
	assert_int_equal(pass(r, 10, 1), 1);
	/* A burst of 0 counts as 1; the greatest rate and burst. */
	b->clock_ns = 10 * SECOND;
	limit->all = (struct p2pnic_rate){.rate = 1, .burst = 0};
	policers(r, 0)->all[P2PNIC_PUNT_EXCEPTION] = (struct p2pnic_tokens){0};
	assert_int_equal(pass(r, 10, 1), 1);
	limit->all = (struct p2pnic_rate){.rate = UINT32_MAX, .burst = UINT32_MAX};
	assert_int_equal(pass(r, 300, 1), 300);
	rig_free(r);
}

/* A sender that floods is stopped by its own bucket, and leaves the class to others. */
static void a_source_has_its_rate(void **state)
{
	struct rig *r = rig_new(2, &(struct rig_config){.host = true});
	struct p2pnic_policer *limit = &policers(r, 0)->policer[P2PNIC_PUNT_EXCEPTION];

	r->at[0].board.clock_ns = SECOND;
	*limit = (struct p2pnic_policer){.all = {100, 20}, .source = {10, 5}};
	assert_int_equal(pass(r, 200, 1), 5);
	/* Ten others: fifteen tokens of the class are left. */
	assert_int_equal(pass(r, 200, 11), 15);
	r->at[0].board.clock_ns += SECOND;
	limit->all.rate = 0;
	assert_int_equal(pass(r, 200, 2), 10);
	rig_free(r);
}

/* --- Rings ------------------------------------------------------------------------------------ */

static unsigned injected(const struct packet *p)
{
	return p->bytes[6] == 0x77 ? p->bytes[7] : 99;
}

/* The port takes two frames a poll and every ring has some: the host's go first, in their order. */
static void injected_packets_go_first(void **state)
{
	struct rig *r = rig_new(2, &(struct rig_config){.host = true, .slots = 16});
	struct packet p, *got;
	unsigned order = 0;

	r->at[1].board.transmit_room = 2;
	for (unsigned k = 0; k < 12; k++) {
		packet_ipv4(&p, 0, PACKET_TO(1), 64, 40, k);
		rig_receive(r, 0, &p);
	}
	nic_poll(r->at[0].nic);
	rig_relay(r);
	for (unsigned ring = P2PNIC_HOST_RINGS; ring-- > 0;)
		for (unsigned k = 0; k < 3; k++) {
			packet_ipv4(&p, 0, PACKET_TO(1), 64, 40, k);
			p.bytes[6] = 0x77;
			p.bytes[7] = (uint8_t)ring;
			assert_true(rig_inject_by(r, 1, ring, &p));
		}
	rig_run(r);
	for (unsigned k = 0; k < 12; k++, free(got)) {
		got = rig_sent(r, 1);
		assert_non_null(got);
		assert_in_range(injected(got), order, P2PNIC_HOST_RINGS - 1);
		order = injected(got);
	}
	for (unsigned k = 0; k < 12; k++, free(got)) {
		got = rig_sent(r, 1);
		assert_int_equal(injected(got), 99);
	}
	rig_check(r);
	rig_free(r);
}

/* --- Stations, use, links --------------------------------------------------------------------- */

static void more_station_addresses(void **state)
{
	struct rig *r = rig_new(2, &(struct rig_config){.slots = 512});
	struct p2pnic_stations *list =
		(struct p2pnic_stations *)(r->at[0].bar2 + P2PNIC_BAR2_STATIONS);
	struct packet p, *got;

	for (unsigned n = 0; n <= P2PNIC_STATIONS_MAX; n++) {
		list->count = n;
		for (unsigned k = 0; k < n; k++)
			list->address[k] = (struct mac_addr){{0, 0, 0x5e, 0, 1, (uint8_t)k}};
		assert_int_equal(rig_command(r, 0, P2PNIC_OP_STATIONS, 0), P2PNIC_OK);
		/* Sixteen at once and one alone: both forms of the check. */
		for (unsigned k = 0; k < 17 * 17; k++) {
			packet_ipv4(&p, 0, PACKET_TO(1), 64, 40, k);
			if (k % 17)
				memcpy(p.bytes, (const uint8_t[]){0, 0, 0x5e, 0, 1, k % 17 - 1}, 6);
			rig_receive(r, 0, &p);
		}
		rig_run(r);
		for (unsigned k = 0; k < 17 * (1 + n); k++, free(got))
			assert_non_null(got = rig_sent(r, 1));
		assert_null(rig_sent(r, 1));
		rig_check(r);
	}
	assert_int_equal(rig_drops(r, 0, P2PNIC_DROP_FOREIGN_MAC), 17 * (15 * 16 / 2 + 16));
	list->count = P2PNIC_STATIONS_MAX + 1;
	assert_int_equal(rig_command(r, 0, P2PNIC_OP_STATIONS, 0), P2PNIC_BAD_ARGUMENT);
	/* No address of a station among others: those in force stay. */
	for (unsigned k = 0; k < 2; k++) {
		list->count = 2;
		list->address[0] = (struct mac_addr){{2, 7, 7, 7, 7, 7}};
		list->address[1] = (struct mac_addr){{(uint8_t)(k ? 3 : 0)}};
		assert_int_equal(rig_command(r, 0, P2PNIC_OP_STATIONS, 0), P2PNIC_BAD_ARGUMENT);
		packet_ipv4(&p, 0, PACKET_TO(1), 64, 40, k);
		memcpy(p.bytes, (const uint8_t[]){0, 0, 0x5e, 0, 1, 0}, 6);
		rig_receive(r, 0, &p);
		rig_run(r);
		assert_non_null(got = rig_sent(r, 1));
		free(got);
	}
	rig_free(r);
}

static void adjacencies_in_use(void **state)
{
	struct rig *r = rig_new(2, &(struct rig_config){0});
	p2pnic_used *used = (p2pnic_used *)(r->at[0].bar2 + P2PNIC_BAR2_USED);
	struct packet p;

	for (unsigned round = 0; round < 2; round++) {
		packet_ipv4(&p, 0, PACKET_TO(1), 64, 40, 1);
		rig_receive(r, 0, &p);
		packet_ipv4(&p, 0, PACKET_TO(0), 1, 40, 1); /* not forwarded */
		rig_receive(r, 0, &p);
		if (round) {
			packet_ipv6(&p, 0, PACKET_TO6(0), 64, 40, 1);
			rig_receive(r, 0, &p);
		}
		rig_run(r);
		for (unsigned k = 0; k < P2PNIC_ADJACENCIES_MAX; k++)
			assert_int_equal(
				used[k], k == RIG_HOP_EGRESS + 1 || (round && k == RIG_HOP_EGRESS));
		used[RIG_HOP_EGRESS + 1] = 0;
	}
	rig_free(r);
}

/* One packet in 20 ms that leaves by the NIC it came by is the host's, as it came. */
static void a_sender_may_be_redirected(void **state)
{
	struct rig *r = rig_new(2, &(struct rig_config){.host = true});
	struct packet p, punted, *got;
	uint16_t reason;

	r->at[0].board.clock_ns = SECOND;
	for (unsigned round = 0; round < 3; round++) {
		packet_ipv4(&p, 0, PACKET_TO(0), 64, 100, round);
		for (unsigned k = 0; k < 10; k++)
			rig_receive(r, 0, &p);
		rig_run(r);
		assert_true(rig_punted(r, 0, &punted, &reason));
		assert_int_equal(reason, P2PNIC_DROP_REDIRECT);
		assert_int_equal(punted.length, p.length);
		assert_memory_equal(punted.bytes, p.bytes, p.length);
		for (unsigned k = 0; k < 9; k++, free(got)) {
			assert_non_null(got = rig_sent(r, 0));
			assert_int_equal(got->bytes[22], 63);
		}
		r->at[0].board.clock_ns += SECOND / 50 - 1;
		rig_receive(r, 0, &p);
		rig_run(r);
		assert_false(rig_punted(r, 0, &punted, &reason));
		free(rig_sent(r, 0));
		r->at[0].board.clock_ns += 1;
	}
	/* Other packets are no business of it. */
	r->at[0].board.clock_ns += SECOND;
	packet_ipv4(&p, 0, PACKET_TO(1), 64, 100, 1);
	rig_receive(r, 0, &p);
	rig_run(r);
	assert_non_null(got = rig_sent(r, 1));
	free(got);
	assert_int_equal(rig_all_drops(r, 0), 0);
	rig_check(r);
	rig_free(r);
}

static void a_link_that_is_down(void **state)
{
	struct rig *r = rig_new(3, &(struct rig_config){.slots = 16});
	struct packet p, *got;

	for (unsigned round = 0; round < 3; round++) {
		nic_set_port(r->at[1].nic, false, 0, 0);
		rig_relay(r);
		for (unsigned k = 0; k < 100; k++) {
			packet_ipv4(&p, 0, PACKET_TO(1 + k % 2), 64, 40, k);
			rig_receive(r, 0, &p);
		}
		rig_run(r);
		/* What was in the ring before it was heard of goes on; nothing is held. */
		assert_int_equal(rig_count(&r->at[0].counters->held), 0);
		assert_true(rig_drops(r, 0, P2PNIC_DROP_LINK_DOWN) > 30 * (round + 1));
		for (unsigned k = 0; k < 50; k++, free(got))
			assert_non_null(got = rig_sent(r, 2));
		while ((got = rig_sent(r, 1)))
			free(got);
		nic_set_port(r->at[1].nic, true, 0, 0);
		rig_relay(r);
		for (unsigned k = 0; k < 10; k++) {
			packet_ipv4(&p, 0, PACKET_TO(1), 64, 40, k);
			rig_receive(r, 0, &p);
		}
		rig_run(r);
		for (unsigned k = 0; k < 10; k++, free(got))
			assert_non_null(got = rig_sent(r, 1));
		rig_check(r);
	}
	/* A pair that is opened while it is down hears of it. */
	nic_set_port(r->at[1].nic, false, 0, 0);
	rig_close(r, 0, 1);
	rig_open(r, 0, 1);
	rig_relay(r);
	uint64_t before = rig_drops(r, 0, P2PNIC_DROP_LINK_DOWN);
	rig_receive(r, 0, &p);
	rig_run(r);
	rig_receive(r, 0, &p);
	rig_run(r);
	assert_true(rig_drops(r, 0, P2PNIC_DROP_LINK_DOWN) > before);
	rig_check(r);
	rig_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(classes),
		cmocka_unit_test(a_class_has_its_rate),
		cmocka_unit_test(a_source_has_its_rate),
		cmocka_unit_test(injected_packets_go_first),
		cmocka_unit_test(more_station_addresses),
		cmocka_unit_test(adjacencies_in_use),
		cmocka_unit_test(a_sender_may_be_redirected),
		cmocka_unit_test(a_link_that_is_down),
	};

	return cmocka_run_group_tests_name("firmware punt", tests, NULL, NULL);
}
