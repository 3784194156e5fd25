/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * IEEE 802.1Q tags: read where a frame comes in, put in where it leaves. For each transfer method.
 */
#include "tests/unit/firmware_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define HOST_VLAN 11u
#define BUCKETS   64u
#define TAGGED_TO (0x0b000001u | RIG_HOP_TAGGED << 16)

static struct packet packet_of(bool six, uint32_t to, uint32_t payload, uint32_t seed)
{
	struct packet p;

	if (six)
		packet_ipv6(&p, 0, to == TAGGED_TO ? PACKET_TO6(7) : PACKET_TO6(to >> 16 & 0xff),
			64, payload, seed);
	else
		packet_ipv4(&p, 0, to, 64, payload, seed);
	return p;
}

static void expect_sent(struct rig *r, unsigned nic, const struct packet *want)
{
	struct packet *got = rig_sent(r, nic);

	assert_non_null(got);
	assert_int_equal(got->length, want->length);
	assert_memory_equal(got->bytes, want->bytes, want->length);
	free(got);
}

/* As it must leave by NIC 0's VLAN, or by NIC `egress` without a tag. */
static struct packet forwarded(struct packet p, bool tagged, unsigned egress)
{
	packet_forwarded(&p, 0, tagged ? 0 : egress);
	if (tagged)
		packet_tag(&p, RIG_CONTROL);
	return p;
}

/* Every length, every way of a tag: in, out, both, none; alone and in full bursts. */
static void in_and_out(struct rig *r)
{
	const uint32_t longest = P2PNIC_FRAME_BYTES_MAX(2048) - P2PNIC_CHECK_BYTES;

	for (unsigned burst = 1; burst <= 64; burst += 63) {
		for (unsigned way = 0; way < 8; way++) {
			const bool in = way & 1, out = way & 2, six = way & 4;

			for (uint32_t payload = 0; payload < 1700; payload += burst) {
				for (unsigned k = 0; k < burst; k++) {
					struct packet p = packet_of(six,
						out ? TAGGED_TO : PACKET_TO(1), payload + k, k);

					if (p.length + 4 > longest)
						continue;
					if (in)
						packet_tag(&p, k << 13 | (k % 2 ? RIG_VLAN : 0));
					rig_receive(r, 0, &p);
				}
				rig_run(r);
				for (unsigned k = 0; k < burst; k++) {
					struct packet p = packet_of(six,
						out ? TAGGED_TO : PACKET_TO(1), payload + k, k);

					if (p.length + 4 > longest)
						continue;
					p = forwarded(p, out, 1);
					expect_sent(r, !out, &p);
				}
			}
		}
	}
	assert_null(rig_sent(r, 0));
	assert_null(rig_sent(r, 1));
	assert_int_equal(rig_all_drops(r, 0), 0);
	rig_check(r);
}

static void tags_go_and_come(void **state)
{
	for (unsigned port = 0; port < 4; port++) {
		struct rig *r = rig_new(
			2, &(struct rig_config){.slots = 128, .check = port % P2PNIC_CHECK_COUNT});

		r->at[0].board.copies_on_keep = port & 1;
		r->at[0].board.no_headroom = port & 2;
		in_and_out(r);
		rig_free(r);
	}
}

/* Behind a ring that is full, packets wait in own memory. */
static void tagged_packets_are_held(void **state)
{
	for (unsigned port = 0; port < 4; port++) {
		struct rig *r = rig_new(2, &(struct rig_config){.slots = 8});

		r->at[0].board.copies_on_keep = port & 1;
		r->at[0].board.no_headroom = port & 2;
		r->at[0].board.stuck = true;
		for (unsigned k = 0; k < 40; k++) {
			struct packet p = packet_of(k & 2, TAGGED_TO, k * 40, k);

			if (k & 1)
				packet_tag(&p, RIG_VLAN);
			rig_receive(r, 0, &p);
		}
		rig_run(r);
		assert_true(r->at[0].nic->held > 20);
		rig_check(r);
		r->at[0].board.stuck = false;
		rig_run(r);
		for (unsigned k = 0; k < 40; k++) {
			struct packet p =
				forwarded(packet_of(k & 2, TAGGED_TO, k * 40, k), true, 0);

			expect_sent(r, 0, &p);
		}
		rig_check(r);
		rig_free(r);
	}
}

static void drops(struct rig *r, const struct packet *p, enum p2pnic_drop reason)
{
	const uint64_t before = rig_drops(r, 0, reason), all = rig_all_drops(r, 0);

	rig_receive(r, 0, p);
	rig_run(r);
	assert_int_equal(rig_drops(r, 0, reason), before + 1);
	assert_int_equal(rig_all_drops(r, 0), all + 1);
	assert_null(rig_sent(r, 0));
	assert_null(rig_sent(r, 1));
	rig_check(r);
}

static void what_is_not_forwarded(void **state)
{
	struct rig *r = rig_new(2, &(struct rig_config){0});
	struct packet p = packet_of(false, PACKET_TO(1), 40, 1), whole;

	packet_tag(&p, RIG_VLAN_UNKNOWN);
	drops(r, &p, P2PNIC_DROP_VLAN);
	p.bytes[0] |= 1; /* nor its broadcasts */
	drops(r, &p, P2PNIC_DROP_VLAN);
	p.bytes[0] ^= 1 ^ 4;
	drops(r, &p, P2PNIC_DROP_FOREIGN_MAC);
	p.bytes[0] ^= 4;
	put16(p.bytes + 14, HOST_VLAN);
	drops(r, &p, P2PNIC_DROP_ETHERTYPE);
	/* Whatever the host writes there. */
	rig_vlan(r, 0, HOST_VLAN, 200);
	drops(r, &p, P2PNIC_DROP_ETHERTYPE);
	/* A tag of a provider's bridge, and one within another. */
	put16(p.bytes + 12, 0x88a8);
	drops(r, &p, P2PNIC_DROP_ETHERTYPE);
	put16(p.bytes + 12, 0x8100);
	put16(p.bytes + 14, RIG_VLAN);
	packet_tag(&p, RIG_VLAN);
	drops(r, &p, P2PNIC_DROP_ETHERTYPE);
	packet_untag(&p);
	p.bytes[28] ^= 1; /* the IP header is checked as ever */
	drops(r, &p, P2PNIC_DROP_CHECKSUM);
	p.bytes[28] ^= 1;
	for (whole = p; p.length > 14; p.length--)
		if (p.length < whole.length)
			drops(r, &p,
				p.length < 18 || (p.length >= 18 && p.length < 38)
					? P2PNIC_DROP_RUNT
					: P2PNIC_DROP_TOTAL_LENGTH);
	/* Its own MAC, VID 0: every other entry of the table may say what it likes. */
	rig_vlan(r, 0, 0, P2PNIC_VLAN_UNKNOWN);
	p = packet_of(false, PACKET_TO(1), 40, 1);
	packet_tag(&p, 5 << 13);
	rig_receive(r, 0, &p);
	rig_run(r);
	p = forwarded(packet_of(false, PACKET_TO(1), 40, 1), false, 1);
	expect_sent(r, 1, &p);
	rig_free(r);
}

static void longer_than_the_vlan(void **state)
{
	const uint32_t most = P2PNIC_VLAN_MTU_MAX(2048);
	struct rig *r = rig_new(2, &(struct rig_config){.slots = 64});
	struct packet p;

	rig_adjacency(r, 0, RIG_HOP_TAGGED, P2PNIC_ADJACENCY_FORWARD, 0, 1400);
	rig_tag(r, 0, RIG_HOP_TAGGED, RIG_CONTROL);
	p = packet_of(false, TAGGED_TO, 1400 - 28, 1);
	rig_receive(r, 0, &p);
	rig_run(r);
	p = forwarded(p, true, 0);
	expect_sent(r, 0, &p);
	p = packet_of(false, TAGGED_TO, 1400 - 27, 1);
	drops(r, &p, P2PNIC_DROP_MTU);
	packet_ipv4(&p, 0, TAGGED_TO, 1, 40, 1);
	drops(r, &p, P2PNIC_DROP_TTL);
	/* The host says more than a buffer holds. */
	rig_adjacency(r, 0, RIG_HOP_TAGGED, P2PNIC_ADJACENCY_FORWARD, 0, 65535);
	rig_tag(r, 0, RIG_HOP_TAGGED, RIG_CONTROL);
	p = packet_of(false, TAGGED_TO, most - 28, 1);
	rig_receive(r, 0, &p);
	rig_run(r);
	p = forwarded(p, true, 0);
	assert_int_equal(p.length, P2PNIC_FRAME_BYTES_MAX(2048));
	expect_sent(r, 0, &p);
	p = packet_of(false, TAGGED_TO, most - 27, 1);
	drops(r, &p, P2PNIC_DROP_MTU);
	/* A NIC that is not there. */
	rig_adjacency(r, 0, RIG_HOP_TAGGED, P2PNIC_ADJACENCY_FORWARD, 3, 1500);
	rig_tag(r, 0, RIG_HOP_TAGGED, RIG_CONTROL);
	p = packet_of(false, TAGGED_TO, 40, 1);
	drops(r, &p, P2PNIC_DROP_NO_PEER);
	rig_adjacency(r, 0, RIG_HOP_TAGGED, P2PNIC_ADJACENCY_FORWARD, 200, 1500);
	rig_tag(r, 0, RIG_HOP_TAGGED, RIG_CONTROL);
	drops(r, &p, P2PNIC_DROP_NO_PEER);
	rig_free(r);
}

static void reaches_the_host(struct rig *r, const struct packet *p, enum p2pnic_punt_class class,
	enum p2pnic_drop reason)
{
	struct packet got;
	uint16_t flags = 0;
	bool some = false;

	rig_receive(r, 0, p);
	rig_run(r);
	for (unsigned ring = 0; ring < P2PNIC_HOST_RINGS && !some; ring++)
		some = rig_punted_by(r, 0, ring, &got, &flags);
	assert_true(some);
	assert_int_equal(P2PNIC_FLAGS_CLASS(flags), class);
	assert_int_equal(P2PNIC_FLAGS_REASON(flags), reason);
	assert_int_equal(got.length, p->length);
	assert_memory_equal(got.bytes, p->bytes, p->length);
	rig_check(r);
}

/* With its tag, in the class that it has without one. */
static void punted_as_it_came(void **state)
{
	struct rig *r = rig_new(2, &(struct rig_config){.host = true});
	static const unsigned vid[] = {0, RIG_VLAN, HOST_VLAN};
	struct packet p;

	for (unsigned k = 0; k < 3; k++) {
		const bool known = vid[k] != HOST_VLAN;
		const uint32_t local = 0x0b000001u | RIG_HOP_LOCAL << 16;

		p = packet_of(false, PACKET_TO(1), 40, k);
		memset(p.bytes, 0xff, 6);
		put16(p.bytes + 12, 0x0806);
		packet_tag(&p, vid[k]);
		reaches_the_host(r, &p, P2PNIC_PUNT_NEIGHBOR, P2PNIC_DROP_LINK_SCOPE);
		packet_ipv6(&p, 0, 0xff02000000000000, 255, 40, 1);
		memcpy(p.bytes, (const uint8_t[]){0x33, 0x33, 0, 0, 0, 1}, 6);
		p.bytes[20] = 58;
		p.bytes[54] = 135;
		packet_tag(&p, vid[k]);
		reaches_the_host(r, &p, P2PNIC_PUNT_NEIGHBOR, P2PNIC_DROP_LINK_SCOPE);
		p = packet_of(false, local, 40, k);
		put16(p.bytes + 36, 3784); /* BFD */
		packet_tag(&p, vid[k]);
		reaches_the_host(r, &p, P2PNIC_PUNT_HELLO,
			known ? P2PNIC_DROP_LOCAL : P2PNIC_DROP_ETHERTYPE);
		packet_ipv6(&p, 0, 0xfe80000000000000, 64, 40, 1); /* to its own MAC address */
		p.bytes[20] = 6;
		packet_tag(&p, vid[k]);
		reaches_the_host(r, &p, P2PNIC_PUNT_LOCAL,
			known ? P2PNIC_DROP_LINK_SCOPE : P2PNIC_DROP_ETHERTYPE);
		packet_ipv4(&p, 0, PACKET_TO(1), 1, 40, 1);
		packet_tag(&p, vid[k] | 6 << 13);
		reaches_the_host(r, &p, known ? P2PNIC_PUNT_EXCEPTION : P2PNIC_PUNT_LINK,
			known ? P2PNIC_DROP_TTL : P2PNIC_DROP_ETHERTYPE);
	}
	/* Of stations on a VLAN each has its rate: by their MAC addresses, too. */
	((struct p2pnic_policers *)(r->at[0].bar2 + P2PNIC_BAR2_POLICERS))
		->policer[P2PNIC_PUNT_NEIGHBOR]
		.source = (struct p2pnic_rate){1, 1};
	r->at[0].board.clock_ns = 1;
	for (unsigned k = 0; k < 16; k++) {
		p = packet_of(false, PACKET_TO(1), 40, k);
		memset(p.bytes, 0xff, 6);
		put16(p.bytes + 12, 0x0806);
		p.bytes[11] = (uint8_t)(k * 7);
		packet_tag(&p, RIG_VLAN);
		reaches_the_host(r, &p, P2PNIC_PUNT_NEIGHBOR, P2PNIC_DROP_LINK_SCOPE);
		packet_untag(&p);
		drops(r, &p, P2PNIC_DROP_POLICED);
	}
	rig_free(r);
}

/* Out of the NIC by another VLAN there is no better way. */
static void redirects(void **state)
{
	struct rig *r = rig_new(2, &(struct rig_config){.host = true});
	static const struct {
		unsigned in;
		bool out, redirect;
	} cases[] = {{RIG_VLAN, true, true}, {RIG_VLAN, false, false}, {0, true, false},
		{0, false, true}, {0x1000, false, true}, {RIG_VLAN + 1, true, false}};
	struct packet p, got, sent;
	uint16_t reason;

	rig_vlan(r, 0, RIG_VLAN + 1, P2PNIC_VLAN_FORWARD);
	for (unsigned k = 0; k < sizeof(cases) / sizeof(*cases); k++)
		for (unsigned six = 0; six < 2; six++) {
			p = packet_of(six, cases[k].out ? TAGGED_TO : PACKET_TO(0), 40, k);
			sent = forwarded(p, cases[k].out, 0);
			if (cases[k].in)
				packet_tag(&p, cases[k].in);
			r->at[0].board.clock_ns += 1000000000;
			rig_receive(r, 0, &p);
			rig_run(r);
			assert_int_equal(rig_punted(r, 0, &got, &reason), cases[k].redirect);
			if (!cases[k].redirect) {
				expect_sent(r, 0, &sent);
				continue;
			}
			assert_int_equal(reason, P2PNIC_DROP_REDIRECT);
			assert_int_equal(got.length, p.length);
			assert_memory_equal(got.bytes, p.bytes, p.length);
			rig_receive(r, 0, &p); /* the next one leaves */
			rig_run(r);
			expect_sent(r, 0, &sent);
		}
	rig_check(r);
	rig_free(r);
}

/* Strict: out of the NIC that it came by, and by that VLAN. */
static void the_way_back_has_a_vlan(void **state)
{
	struct rig *r = rig_new(3, &(struct rig_config){0});
	struct nic *n = r->at[0].nic;
	static const struct {
		unsigned in, hop, control;
		bool passes;
	} cases[] = {{0, RIG_HOP_EGRESS, 0, true}, {RIG_VLAN, RIG_HOP_EGRESS, 0, false},
		{RIG_VLAN, RIG_HOP_TAGGED, RIG_CONTROL, true}, {0, RIG_HOP_TAGGED, 0, true},
		{RIG_VLAN + 1, RIG_HOP_TAGGED, RIG_CONTROL, false},
		{RIG_VLAN + 1, RIG_HOP_TAGGED, RIG_VLAN + 1, true},
		{RIG_VLAN, RIG_HOP_GLEAN, 0, false}, {RIG_VLAN, RIG_HOP_GLEAN, RIG_VLAN, true},
		{0, RIG_HOP_GLEAN, RIG_VLAN, false}, {0, RIG_HOP_GLEAN, 0, true}};

	rig_vlan(r, 0, RIG_VLAN + 1, P2PNIC_VLAN_FORWARD);
	nic_register_write(n, P2PNIC_REG_REVERSE_PATH, P2PNIC_REVERSE_PATH_STRICT);
	for (unsigned k = 0; k < sizeof(cases) / sizeof(*cases); k++)
		for (unsigned out = 0; out < 2; out++)
			for (unsigned six = 0; six < 2; six++) {
				struct packet p = packet_of(
						      six, out ? TAGGED_TO : PACKET_TO(1), 40, k),
					      sent;

				put32(p.bytes + (six ? 22 : 26),
					six ? (uint32_t)(PACKET_TO6(2) >> 32) : PACKET_TO(2));
				if (six)
					put32(p.bytes + 26, (uint32_t)PACKET_TO6(2));
				else
					packet_checksum(&p);
				rig_tag(r, 0, cases[k].hop, cases[k].control);
				rig_next_hop(
					r, 0, RIG_HOP_EGRESS + 2, P2PNIC_NEXT_HOP(cases[k].hop, 0));
				sent = p;
				packet_forwarded(&sent, 0, !out);
				if (out)
					packet_tag(&sent, cases[k].hop == RIG_HOP_TAGGED
								  ? cases[k].control
								  : RIG_CONTROL);
				if (cases[k].in)
					packet_tag(&p, cases[k].in);
				if (cases[k].hop == RIG_HOP_EGRESS) /* stays without a tag */
					rig_adjacency(r, 0, RIG_HOP_EGRESS,
						P2PNIC_ADJACENCY_FORWARD, 0, 1500);
				rig_receive(r, 0, &p);
				rig_run(r);
				if (cases[k].passes)
					expect_sent(r, !out, &sent);
				else
					assert_null(rig_sent(r, !out));
				rig_tag(r, 0, RIG_HOP_TAGGED, RIG_CONTROL);
			}
	assert_int_equal(rig_drops(r, 0, P2PNIC_DROP_REVERSE_PATH), 4 * 4);
	rig_check(r);
	rig_free(r);
}

/* A group of ways with a tag and without; one whose port has no carrier is passed over. Frames of
 * 1023 bytes begin anywhere in their buffers, longer ones do not. */
static void a_group_of_both(void **state)
{
	struct rig *r = rig_new(2, &(struct rig_config){.slots = 128});
	p2pnic_used *used = (p2pnic_used *)(r->at[0].bar2 + P2PNIC_BAR2_USED);
	p2pnic_bucket *bucket = (p2pnic_bucket *)(r->at[0].bar2 + P2PNIC_BAR2_BUCKETS);
	unsigned sent[2] = {0};
	struct packet p, *got;

	for (unsigned k = 0; k < 16; k++)
		bucket[BUCKETS + k] = k % 2 ? RIG_HOP_TAGGED : RIG_HOP_EGRESS + 1;
	rig_next_hop(r, 0, RIG_HOP_EGRESS + 1, P2PNIC_NEXT_HOP(BUCKETS, 4));
	for (unsigned round = 0; round < 2; round++) {
		nic_set_port(r->at[0].nic, !round, 0, 0);
		rig_relay(r);
		sent[0] = sent[1] = 0;
		for (unsigned k = 0; k < 64; k++) {
			packet_ipv4(&p, 0, PACKET_TO(1) + k, 64, 1023 - 42 - k % 2, k);
			rig_receive(r, 0, &p);
		}
		rig_run(r);
		for (unsigned nic = 0; nic < 2; nic++)
			for (; (got = rig_sent(r, nic)); free(got), sent[nic]++)
				assert_int_equal(get16(got->bytes + 12), nic ? 0x0800 : 0x8100);
		assert_int_equal(sent[0] + sent[1], 64);
		if (round)
			assert_int_equal(sent[1], 64);
		else
			assert_in_range(sent[0], 16, 48);
	}
	assert_int_equal(used[RIG_HOP_TAGGED], 1);
	assert_int_equal(rig_all_drops(r, 0), 0);
	rig_check(r);
	rig_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tags_go_and_come),
		cmocka_unit_test(tagged_packets_are_held),
		cmocka_unit_test(what_is_not_forwarded),
		cmocka_unit_test(longer_than_the_vlan),
		cmocka_unit_test(punted_as_it_came),
		cmocka_unit_test(redirects),
		cmocka_unit_test(the_way_back_has_a_vlan),
		cmocka_unit_test(a_group_of_both),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
