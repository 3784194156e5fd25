/* SPDX-License-Identifier: BSD-3-Clause */
/* What becomes of one IPv4 frame: RFC 1812, RFC 1624, punt. Run for each transfer method. */
#include "tests/unit/firmware_fate.h"

#include "firmware/header.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void ipv4_is_forwarded(void **state)
{
	struct rig *r = rig_new(3, &(struct rig_config){0});
	static const uint32_t payload[] = {0, 1, 3, 4, 18, 19, 100, 1000, 1023, 1024, 1471, 1736};
	static const uint8_t ttl[] = {2, 3, 64, 128, 255};
	struct packet p;

	for (unsigned egress = 0; egress < 3; egress++) /* 0: it leaves where it came in */
		for (unsigned t = 0; t < sizeof(ttl); t++)
			for (unsigned k = 0; k < sizeof(payload) / sizeof(*payload); k++) {
				packet_ipv4(
					&p, 0, PACKET_TO(egress), ttl[t], payload[k], t * 50 + k);
				forwards(r, &p, egress);
			}
	rig_free(r);
}

static void padding_is_trimmed(void **state)
{
	struct rig *r = rig_new(2, &(struct rig_config){0});
	struct packet p;

	packet_ipv4(&p, 0, PACKET_TO(1), 64, 4, 1);
	memset(p.bytes + p.length, 0x77, 60 - p.length);
	p.length = 60;
	forwards(r, &p, 1);
	packet_ipv4(&p, 0, PACKET_TO(1), 64, 900, 2);
	p.length += 300;
	forwards(r, &p, 1);
	/* An IP packet of its header alone. */
	packet_ipv4(&p, 0, PACKET_TO(1), 64, 0, 3);
	put16(p.bytes + 16, 20);
	packet_checksum(&p);
	p.length = 60;
	forwards(r, &p, 1);
	rig_free(r);
}

struct malformed {
	const char *what;
	unsigned at; /* byte of the frame to change, after the checksum was made if `late` */
	uint8_t value;
	bool late;
	uint32_t length; /* of the frame; 0: as it is */
	enum p2pnic_drop reason;
};

static void malformed_ipv4_is_dropped(void **state)
{
	static const struct malformed table[] = {
		{"checksum", 24, 0x99, true, 0, P2PNIC_DROP_CHECKSUM},
		{"a changed TTL", 22, 63, true, 0, P2PNIC_DROP_CHECKSUM},
		{"version 6", 14, 0x65, false, 0, P2PNIC_DROP_VERSION},
		{"version 0", 14, 0x05, false, 0, P2PNIC_DROP_VERSION},
		{"IHL 4", 14, 0x44, false, 0, P2PNIC_DROP_HEADER_LENGTH},
		{"IHL 0", 14, 0x40, false, 0, P2PNIC_DROP_HEADER_LENGTH},
		{"IHL 15, total length 15 words less one byte", 14, 0x4f, false, 73,
			P2PNIC_DROP_TOTAL_LENGTH},
		{"total length 19", 17, 19, false, 0, P2PNIC_DROP_TOTAL_LENGTH},
		{"total length 0", 17, 0, false, 0, P2PNIC_DROP_TOTAL_LENGTH},
		{"total length one above the frame", 17, 29 + 40, false, 0,
			P2PNIC_DROP_TOTAL_LENGTH},
		{"total length far above the frame", 16, 0xff, false, 0, P2PNIC_DROP_TOTAL_LENGTH},
		{"33 bytes", 14, 0x45, false, 33, P2PNIC_DROP_RUNT},
		{"14 bytes", 14, 0x45, false, 14, P2PNIC_DROP_RUNT},
		{"13 bytes", 14, 0x45, false, 13, P2PNIC_DROP_RUNT},
		{"1 byte", 14, 0x45, false, 1, P2PNIC_DROP_RUNT},
		{"foreign MAC", 5, 0x77, true, 0, P2PNIC_DROP_FOREIGN_MAC},
		{"foreign MAC, first octet", 0, 0x06, true, 0, P2PNIC_DROP_FOREIGN_MAC},
		{"group MAC", 0, 0x03, true, 0, P2PNIC_DROP_LINK_SCOPE},
		{"ARP", 13, 0x06, true, 0, P2PNIC_DROP_ETHERTYPE},
		{"VLAN tag", 12, 0x81, true, 0, P2PNIC_DROP_ETHERTYPE},
		{"source 0/8", 26, 0, false, 0, P2PNIC_DROP_MARTIAN_SOURCE},
		{"source 127/8", 26, 127, false, 0, P2PNIC_DROP_MARTIAN_SOURCE},
		{"source 224/4", 26, 224, false, 0, P2PNIC_DROP_MARTIAN_SOURCE},
		{"source 239/8", 26, 239, false, 0, P2PNIC_DROP_MARTIAN_SOURCE},
		{"destination 0/8", 30, 0, false, 0, P2PNIC_DROP_MARTIAN_DESTINATION},
		{"destination 127/8", 30, 127, false, 0, P2PNIC_DROP_MARTIAN_DESTINATION},
		{"destination 224/8", 30, 224, false, 0, P2PNIC_DROP_LINK_SCOPE},
		{"destination 239/8", 30, 239, false, 0, P2PNIC_DROP_LINK_SCOPE},
		{"TTL 1", 22, 1, false, 0, P2PNIC_DROP_TTL},
		{"TTL 0", 22, 0, false, 0, P2PNIC_DROP_TTL},
		{"no route", 30, 99, false, 0, P2PNIC_DROP_NO_ROUTE},
	};
	struct rig *r = rig_new(2, &(struct rig_config){0});
	struct packet p;

	for (size_t k = 0; k < sizeof(table) / sizeof(*table); k++) {
		packet_ipv4(&p, 0, PACKET_TO(1), 64, 40, (uint32_t)k);
		p.bytes[table[k].at] = table[k].value;
		if (!table[k].late && (p.bytes[14] & 15) >= 5)
			packet_checksum(&p);
		if (table[k].length)
			p.length = table[k].length;
		print_message("         %s\n", table[k].what);
		drops(r, &p, table[k].reason);
	}
	packet_ipv4(&p, 0, 0xffffffff, 64, 40, 0);
	drops(r, &p, P2PNIC_DROP_LINK_SCOPE);
	packet_ipv4(&p, 0, PACKET_TO(1), 64, 40, 0);
	put32(p.bytes + 26, 0xffffffff);
	packet_checksum(&p);
	drops(r, &p, P2PNIC_DROP_MARTIAN_SOURCE);
	/* A unicast packet in a broadcast frame (RFC 1812 §5.3.4). */
	packet_ipv4(&p, 0, PACKET_TO(1), 64, 40, 0);
	memset(p.bytes, 0xff, 6);
	drops(r, &p, P2PNIC_DROP_LINK_SCOPE);
	/* The NIC still forwards. */
	packet_ipv4(&p, 0, PACKET_TO(1), 64, 40, 7);
	forwards(r, &p, 1);
	rig_free(r);
}

static void either_zero_is_a_checksum(void **state)
{
	struct rig *r = rig_new(2, &(struct rig_config){0});
	struct packet p;

	/* The identification chosen such that the checksum is 0; 0xffff is the same number. */
	packet_ipv4(&p, 0, PACKET_TO(1), 64, 40, 0);
	put16(p.bytes + 18, get16(p.bytes + 24));
	packet_checksum(&p);
	assert_int_equal(get16(p.bytes + 24), 0);
	forwards(r, &p, 1);
	put16(p.bytes + 24, 0xffff);
	forwards(r, &p, 1);
	rig_free(r);
}

/* A packet with `bytes` of options, the first of them given. */
static void with_options(struct packet *p, const uint8_t *options, unsigned bytes, unsigned given)
{
	packet_ipv4(p, 0, PACKET_TO(1), 64, 40, 5);
	memmove(p->bytes + 34 + bytes, p->bytes + 34, p->length - 34);
	memset(p->bytes + 34, 0, bytes);
	memcpy(p->bytes + 34, options, given);
	p->length += bytes;
	p->bytes[14] = (uint8_t)(0x45 + bytes / 4);
	put16(p->bytes + 16, p->length - 14);
	packet_checksum(p);
}

static void options(void **state)
{
	struct rig *r = rig_new(2, &(struct rig_config){0});
	struct packet p;

	with_options(&p, (const uint8_t[]){1, 1, 1, 1}, 4, 4);
	forwards(r, &p, 1);
	with_options(&p, (const uint8_t[]){1, 1, 1, 0}, 4, 4);
	forwards(r, &p, 1);
	with_options(
		&p, (const uint8_t[]){0, 131, 1, 99}, 4, 4); /* behind the end: not looked at */
	forwards(r, &p, 1);
	with_options(&p, (const uint8_t[]){222, 4, 9, 9}, 4, 4); /* unknown */
	forwards(r, &p, 1);
	with_options(&p, (const uint8_t[]){148, 4, 0, 0}, 4, 4); /* router alert */
	forwards(r, &p, 1);
	with_options(&p, (const uint8_t[]){7, 39, 4}, 40, 3); /* record route, longest header */
	forwards(r, &p, 1);
	with_options(
		&p, (const uint8_t[]){131, 7, 4, 10, 1, 0, 1, 0}, 8, 8); /* loose source route */
	drops(r, &p, P2PNIC_DROP_SOURCE_ROUTE);
	with_options(&p, (const uint8_t[]){1, 137, 7, 4, 10, 1, 0, 1}, 8, 8); /* strict */
	drops(r, &p, P2PNIC_DROP_SOURCE_ROUTE);
	with_options(&p, (const uint8_t[]){222, 1, 0, 0}, 4, 4);
	drops(r, &p, P2PNIC_DROP_OPTIONS);
	with_options(&p, (const uint8_t[]){222, 0, 0, 0}, 4, 4);
	drops(r, &p, P2PNIC_DROP_OPTIONS);
	with_options(&p, (const uint8_t[]){222, 5, 0, 0}, 4, 4);
	drops(r, &p, P2PNIC_DROP_OPTIONS);
	with_options(
		&p, (const uint8_t[]){1, 1, 1, 222}, 4, 4); /* its length is beyond the header */
	drops(r, &p, P2PNIC_DROP_OPTIONS);
	with_options(&p, (const uint8_t[]){1, 1, 1, 1}, 4, 4);
	p.bytes[35] = 2;
	drops(r, &p, P2PNIC_DROP_CHECKSUM);
	with_options(&p, (const uint8_t[]){1, 1, 1, 1}, 4, 4);
	p.bytes[22] = 1;
	packet_checksum(&p);
	drops(r, &p, P2PNIC_DROP_TTL);
	rig_free(r);
}

static void adjacency_kinds(void **state)
{
	static const struct {
		unsigned hop;
		enum p2pnic_drop reason;
		bool never_punted;
	} table[] = {
		{RIG_HOP_LOCAL, P2PNIC_DROP_LOCAL, false},
		{RIG_HOP_GLEAN, P2PNIC_DROP_NO_NEIGHBOR, false},
		{RIG_HOP_BLACKHOLE, P2PNIC_DROP_BLACKHOLE, true},
		{RIG_HOP_BROADCAST, P2PNIC_DROP_BROADCAST, true},
		{RIG_HOP_UNREACHABLE, P2PNIC_DROP_UNREACHABLE, false},
		{RIG_HOP_PROHIBIT, P2PNIC_DROP_PROHIBIT, false},
		{RIG_HOP_NONE, P2PNIC_DROP_NO_ROUTE, false},
		{RIG_HOP_NO_SUCH_NIC, P2PNIC_DROP_NO_PEER, true},
	};

	for (int host = 0; host < 2; host++) {
		struct rig *r = rig_new(2, &(struct rig_config){.host = host});
		struct packet p;

		for (unsigned k = 0; k < sizeof(table) / sizeof(*table); k++) {
			packet_ipv4(&p, 0, 0x0b000001 | table[k].hop << 16, 1, 100, k);
			if (host && !table[k].never_punted)
				punts(r, &p, table[k].reason, p.length);
			else
				drops(r, &p, table[k].reason);
		}
		/* 10.3/16: a NIC that is not there. */
		packet_ipv4(&p, 0, PACKET_TO(3), 64, 100, 9);
		drops(r, &p, P2PNIC_DROP_NO_PEER);
		rig_free(r);
	}
}

static void mtu(void **state)
{
	struct rig *r = rig_new(2, &(struct rig_config){.host = true});
	const uint32_t to = 0x0b000001 | RIG_HOP_SMALL_MTU << 16;
	struct packet p;

	packet_ipv4(&p, 0, to, 64, 576 - 28, 1);
	forwards(r, &p, 0);
	packet_ipv4(&p, 0, to, 64, 577 - 28, 1);
	punts(r, &p, P2PNIC_DROP_MTU, p.length);
	/* TTL is looked at first (a traceroute's packet is not told to be smaller). */
	packet_ipv4(&p, 0, to, 1, 577 - 28, 1);
	punts(r, &p, P2PNIC_DROP_TTL, p.length);
	/* Padding does not count. */
	packet_ipv4(&p, 0, to, 64, 576 - 28, 1);
	p.length += 10;
	forwards(r, &p, 0);
	rig_free(r);
}

static void longest_prefix_wins(void **state)
{
	struct rig *r = rig_new(5, &(struct rig_config){0});
	struct fib_route list[] = {
		fib_route4(0, 0, RIG_HOP_EGRESS + 0),
		fib_route4(0x0a000000, 8, RIG_HOP_EGRESS + 1),
		fib_route4(0x0a010200, 24, RIG_HOP_EGRESS + 2),
		fib_route4(0x0a010280, 25, RIG_HOP_EGRESS + 3),
		fib_route4(0x0a010281, 32, RIG_HOP_EGRESS + 4),
	};
	static const uint32_t address[] = {
		0x08080808, 0x0aff0001, 0x0a010201, 0x0a010280, 0x0a010281};
	struct packet p;

	rig_routes4(r, 0, list, 5);
	for (unsigned k = 0; k < 5; k++) {
		packet_ipv4(&p, 0, address[k], 64, 50, k);
		forwards(r, &p, k);
	}
	/* Without the longest, the next one takes over, down to the default. */
	for (unsigned gone = 4; gone > 0; gone--) {
		rig_routes4(r, 0, list, gone);
		packet_ipv4(&p, 0, 0x0a010281, 64, 50, gone);
		forwards(r, &p, gone - 1);
	}
	/* No image at all. */
	nic_register_write(r->at[0].nic, P2PNIC_REG_FIB4_OFFSET, 0);
	assert_int_equal(rig_command(r, 0, P2PNIC_OP_FIB_IPV4, 0), P2PNIC_OK);
	drops(r, &p, P2PNIC_DROP_NO_ROUTE);
	rig_free(r);
}

/* --- The host --------------------------------------------------------------------------------- */

static void exceptions_reach_the_host(void **state)
{
	struct rig *r = rig_new(2, &(struct rig_config){.host = true});
	static const uint8_t broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
	struct packet p;

	packet_ipv4(&p, 0, PACKET_TO(1), 1, 100, 1);
	punts(r, &p, P2PNIC_DROP_TTL, p.length);
	packet_ipv4(&p, 0, 0x63000001, 64, 100, 1);
	punts(r, &p, P2PNIC_DROP_NO_ROUTE, p.length);
	packet_ipv4(&p, 0, 0xe0000005, 1, 100, 1); /* OSPF, even to this station's MAC */
	punts(r, &p, P2PNIC_DROP_LINK_SCOPE, p.length);
	with_options(&p, (const uint8_t[]){222, 1, 0, 0}, 4, 4);
	punts(r, &p, P2PNIC_DROP_OPTIONS, p.length);
	with_options(&p, (const uint8_t[]){7, 7, 4, 0, 0, 0, 0, 0}, 8, 8); /* record route */
	punts(r, &p, P2PNIC_DROP_OPTIONS, p.length);
	with_options(&p, (const uint8_t[]){1, 68, 8, 5, 0, 0, 0, 0, 0, 0, 0, 0}, 12, 12);
	punts(r, &p, P2PNIC_DROP_OPTIONS, p.length);
	with_options(&p, (const uint8_t[]){148, 4, 0, 0}, 4, 4); /* router alert */
	punts(r, &p, P2PNIC_DROP_OPTIONS, p.length);
	packet_ipv6(&p, 0, PACKET_TO6(1), 1, 100, 1);
	punts(r, &p, P2PNIC_DROP_TTL, p.length);
	packet_ipv6(&p, 0, 0xfe80000000000000, 255, 24, 1); /* neighbour solicitation, unicast */
	punts(r, &p, P2PNIC_DROP_LINK_SCOPE, p.length);
	/* ARP: request and reply; shortest possible frames too. */
	packet_ipv4(&p, 0, PACKET_TO(1), 64, 18, 1);
	memcpy(p.bytes, broadcast, 6);
	put16(p.bytes + 12, 0x0806);
	punts(r, &p, P2PNIC_DROP_LINK_SCOPE, p.length);
	packet_ipv4(&p, 0, PACKET_TO(1), 64, 18, 1);
	put16(p.bytes + 12, 0x0806);
	for (p.length = 14; p.length < 60; p.length++)
		punts(r, &p, P2PNIC_DROP_ETHERTYPE, p.length);
	/* Not these. */
	packet_ipv4(&p, 0, PACKET_TO(1), 64, 100, 1);
	p.bytes[24]++;
	drops(r, &p, P2PNIC_DROP_CHECKSUM);
	packet_ipv4(&p, 0, PACKET_TO(1), 64, 100, 1);
	p.bytes[0] = 0x06;
	drops(r, &p, P2PNIC_DROP_FOREIGN_MAC);
	rig_free(r);
}

static void the_host_sends(void **state)
{
	struct rig *r = rig_new(2, &(struct rig_config){.host = true});

	for (unsigned k = 0; k < 200; k++) {
		struct packet p, *got;

		packet_ipv4(&p, 1, PACKET_TO(0), 64, k * 7, k);
		assert_true(rig_inject(r, 1, &p));
		rig_run(r);
		got = rig_sent(r, 1);
		assert_non_null(got);
		assert_true(expect_packet(got, &p));
		free(got);
	}
	assert_int_equal(rig_count(&r->at[1].counters->injected.packets), 200);
	rig_check(r);
	rig_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ipv4_is_forwarded),
		cmocka_unit_test(padding_is_trimmed),
		cmocka_unit_test(malformed_ipv4_is_dropped),
		cmocka_unit_test(either_zero_is_a_checksum),
		cmocka_unit_test(options),
		cmocka_unit_test(adjacency_kinds),
		cmocka_unit_test(mtu),
		cmocka_unit_test(longest_prefix_wins),
		cmocka_unit_test(exceptions_reach_the_host),
		cmocka_unit_test(the_host_sends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
