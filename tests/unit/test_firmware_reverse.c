/* SPDX-License-Identifier: BSD-3-Clause */
/* Packets whose source has no way back (RFC 3704). Run for each transfer method. */
#include "tests/unit/firmware_rig.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* Sources are 10.4.0.0/16 and fd00:db8:4::/48; where the route to them leads: */
#define SOURCE_HOP (RIG_HOP_EGRESS + 4)
#define BUCKETS    64u

static void packet_from(struct packet *p, bool six)
{
	if (six) {
		const uint64_t source = PACKET_TO6(4);

		packet_ipv6(p, 0, PACKET_TO6(1), 64, 40, 1);
		put32(p->bytes + 22, (uint32_t)(source >> 32));
		put32(p->bytes + 26, (uint32_t)source);
	} else {
		packet_ipv4(p, 0, PACKET_TO(1), 64, 40, 1);
		put32(p->bytes + 26, PACKET_TO(4) + 8);
		packet_checksum(p);
	}
}

/* Is a packet to 10.1.0.0/16 forwarded, received by NIC 0? Where it is not, by that reason. */
static bool passes(struct rig *r, bool six)
{
	const uint64_t before = rig_drops(r, 0, P2PNIC_DROP_REVERSE_PATH);
	struct packet p, *got;

	packet_from(&p, six);
	rig_receive(r, 0, &p);
	rig_run(r);
	got = rig_sent(r, 1);
	assert_int_equal(rig_drops(r, 0, P2PNIC_DROP_REVERSE_PATH) - before, !got);
	free(got);
	return got;
}

static void a_way_back(void **state)
{
	static const struct {
		const char *what;
		uint32_t word;
		bool loose, strict;
	} cases[] = {
		{"no route", 0, false, false},
		{"this NIC", RIG_HOP_EGRESS, true, true},
		{"another NIC", RIG_HOP_EGRESS + 2, true, false},
		{"an own address", RIG_HOP_LOCAL, false, false},
		{"a network of this NIC", RIG_HOP_GLEAN, true, true},
		{"a blackhole", RIG_HOP_BLACKHOLE, false, false},
		{"unreachable", RIG_HOP_UNREACHABLE, false, false},
		{"a broadcast address", RIG_HOP_BROADCAST, false, false},
		{"a group with this NIC", P2PNIC_NEXT_HOP(BUCKETS, 2), true, true},
		{"a group without it", P2PNIC_NEXT_HOP(BUCKETS + 4, 2), true, false},
		{"one in order, this NIC in reserve",
			P2PNIC_NEXT_HOP(BUCKETS, 2) | P2PNIC_NEXT_HOP_ORDERED, true, true},
	};
	static const p2pnic_bucket bucket[] = {RIG_HOP_EGRESS + 1, RIG_HOP_EGRESS + 2,
		RIG_HOP_EGRESS + 3, RIG_HOP_EGRESS, RIG_HOP_EGRESS + 1, RIG_HOP_EGRESS + 2,
		RIG_HOP_EGRESS + 3, RIG_HOP_EGRESS + 1};
	struct rig *r = rig_new(4, &(struct rig_config){0});
	struct nic *n = r->at[0].nic;

	memcpy(r->at[0].bar2 + P2PNIC_BAR2_BUCKETS + BUCKETS * sizeof(*bucket), bucket,
		sizeof(bucket));
	for (unsigned k = 0; k < sizeof(cases) / sizeof(*cases); k++) {
		rig_next_hop(r, 0, SOURCE_HOP, cases[k].word);
		for (unsigned six = 0; six < 2; six++) {
			nic_register_write(n, P2PNIC_REG_REVERSE_PATH, P2PNIC_REVERSE_PATH_NONE);
			assert_true(passes(r, six));
			nic_register_write(n, P2PNIC_REG_REVERSE_PATH, P2PNIC_REVERSE_PATH_LOOSE);
			if (passes(r, six) != cases[k].loose)
				fail_msg("loose, IPv%u: %s", six ? 6 : 4, cases[k].what);
			nic_register_write(n, P2PNIC_REG_REVERSE_PATH, P2PNIC_REVERSE_PATH_STRICT);
			if (passes(r, six) != cases[k].strict)
				fail_msg("strict, IPv%u: %s", six ? 6 : 4, cases[k].what);
		}
	}
	/* A value that means nothing changes nothing. */
	nic_register_write(n, P2PNIC_REG_REVERSE_PATH, 3);
	assert_int_equal(nic_register_read(n, P2PNIC_REG_REVERSE_PATH), P2PNIC_REVERSE_PATH_STRICT);
	rig_check(r);
	rig_free(r);
}

/* A burst of both families, each packet for itself. */
static void a_mixed_burst(void **state)
{
	struct rig *r = rig_new(4, &(struct rig_config){.slots = 128});
	unsigned sent = 0;
	struct packet p, *got;

	rig_next_hop(r, 0, SOURCE_HOP, RIG_HOP_EGRESS);
	nic_register_write(r->at[0].nic, P2PNIC_REG_REVERSE_PATH, P2PNIC_REVERSE_PATH_STRICT);
	for (unsigned k = 0; k < 64; k++) {
		packet_from(&p, k % 3 == 0);
		if (k % 4 == 0) { /* a source that no route leads to */
			p.bytes[k % 3 == 0 ? 22 : 26] = k % 3 == 0 ? 0xfc : 11;
			if (k % 3)
				packet_checksum(&p);
		}
		rig_receive(r, 0, &p);
	}
	rig_run(r);
	for (; (got = rig_sent(r, 1)); sent++, free(got))
		assert_true(got->bytes[12] == 8 ? got->bytes[26] == 10 : got->bytes[22] == 0xfd);
	assert_int_equal(sent, 48);
	assert_int_equal(rig_drops(r, 0, P2PNIC_DROP_REVERSE_PATH), 16);
	rig_check(r);
	rig_free(r);
}

/* To an address of this router, too; what is no business of routing (ARP, link-local) passes. */
static void to_this_router(void **state)
{
	struct rig *r = rig_new(2, &(struct rig_config){.host = true});
	struct packet p, got;
	uint16_t reason;

	nic_register_write(r->at[0].nic, P2PNIC_REG_REVERSE_PATH, P2PNIC_REVERSE_PATH_STRICT);
	rig_next_hop(r, 0, RIG_HOP_EGRESS + 1, RIG_HOP_LOCAL);
	rig_next_hop(r, 0, SOURCE_HOP, RIG_HOP_EGRESS);
	packet_from(&p, false);
	rig_receive(r, 0, &p);
	rig_run(r);
	assert_true(rig_punted(r, 0, &got, &reason));
	rig_next_hop(r, 0, SOURCE_HOP, 0);
	rig_receive(r, 0, &p);
	rig_run(r);
	assert_false(rig_punted(r, 0, &got, &reason));
	assert_int_equal(rig_drops(r, 0, P2PNIC_DROP_REVERSE_PATH), 1);
	memset(p.bytes, 0xff, 6);
	put16(p.bytes + 12, 0x0806);
	rig_receive(r, 0, &p);
	rig_run(r);
	assert_true(rig_punted(r, 0, &got, &reason));
	rig_check(r);
	rig_free(r);
}

/* Of an ingress that is the host's nothing is forwarded, whatever its tables say; what is wrong
 * goes no further, what is for this router goes there. */
static void an_ingress_of_the_host(void **state)
{
	struct rig *r = rig_new(2, &(struct rig_config){.host = true});
	struct nic *n = r->at[0].nic;
	struct packet p, got;
	uint16_t reason;

	nic_register_write(n, P2PNIC_REG_INGRESS, P2PNIC_INGRESS_HOST);
	for (unsigned k = 0; k < 6; k++) {
		const bool six = k & 1;

		packet_from(&p, six);
		if (k / 2 == 1)
			p.bytes[six ? 21 : 22] = 1; /* TTL: the host says so */
		if (k / 2 == 2)
			packet_tag(&p, 0); /* of priority: untagged */
		if (!six && k / 2 == 1)
			packet_checksum(&p);
		rig_receive(r, 0, &p);
		rig_run(r);
		assert_true(rig_punted(r, 0, &got, &reason));
		assert_int_equal(reason, P2PNIC_DROP_KERNEL);
		assert_int_equal(got.length, p.length);
		assert_memory_equal(got.bytes, p.bytes, p.length);
		assert_null(rig_sent(r, 1));
	}
	packet_from(&p, false);
	p.bytes[24] ^= 1;
	rig_receive(r, 0, &p);
	rig_run(r);
	assert_false(rig_punted(r, 0, &got, &reason));
	assert_int_equal(rig_drops(r, 0, P2PNIC_DROP_CHECKSUM), 1);
	packet_from(&p, false); /* 169.254.0.1: perhaps an address of the host */
	p.bytes[30] = 169;
	p.bytes[31] = 254;
	packet_checksum(&p);
	rig_receive(r, 0, &p);
	rig_run(r);
	assert_true(rig_punted(r, 0, &got, &reason));
	assert_int_equal(reason, P2PNIC_DROP_LOCAL);
	nic_register_write(n, P2PNIC_REG_INGRESS, 2); /* means nothing */
	assert_int_equal(nic_register_read(n, P2PNIC_REG_INGRESS), P2PNIC_INGRESS_HOST);
	nic_register_write(n, P2PNIC_REG_INGRESS, P2PNIC_INGRESS_FORWARD);
	packet_from(&p, false);
	rig_receive(r, 0, &p);
	rig_run(r);
	assert_false(rig_punted(r, 0, &got, &reason));
	free(rig_sent(r, 1));
	rig_check(r);
	rig_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_way_back),
		cmocka_unit_test(a_mixed_burst),
		cmocka_unit_test(to_this_router),
		cmocka_unit_test(an_ingress_of_the_host),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
