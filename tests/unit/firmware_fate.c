/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/firmware_fate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

bool expect_packet(const struct packet *got, const struct packet *want)
{
	if (got->length == want->length && !memcmp(got->bytes, want->bytes, got->length))
		return true;
	fprintf(stderr, "got %u bytes, want %u\n", got->length, want->length);
	for (unsigned k = 0; k < got->length && k < want->length; k++)
		if (got->bytes[k] != want->bytes[k]) {
			fprintf(stderr, "byte %u: got %02x, want %02x\n", k, got->bytes[k],
				want->bytes[k]);
			break;
		}
	return false;
}

void forwards(struct rig *r, const struct packet *p, unsigned egress)
{
	struct packet want = *p, *got;

	packet_forwarded(&want, 0, egress);
	rig_receive(r, 0, p);
	rig_run(r);
	got = rig_sent(r, egress);
	assert_non_null(got);
	assert_true(expect_packet(got, &want));
	free(got);
	for (unsigned nic = 0; nic < r->nics; nic++)
		assert_null(rig_sent(r, nic));
	rig_check(r);
}

void drops(struct rig *r, const struct packet *p, enum p2pnic_drop reason)
{
	uint64_t before = rig_drops(r, 0, reason), all = rig_all_drops(r, 0);

	rig_receive(r, 0, p);
	rig_run(r);
	if (rig_drops(r, 0, reason) != before + 1)
		for (unsigned k = 0; k < P2PNIC_DROP_COUNT; k++)
			if (rig_drops(r, 0, k))
				print_error("drops for reason %u: %u\n", k,
					(unsigned)rig_drops(r, 0, k));
	assert_int_equal(rig_drops(r, 0, reason), before + 1);
	assert_int_equal(rig_all_drops(r, 0), all + 1);
	for (unsigned nic = 0; nic < r->nics; nic++)
		assert_null(rig_sent(r, nic));
	rig_check(r);
}

void punts(struct rig *r, const struct packet *p, enum p2pnic_drop reason, uint32_t length)
{
	struct packet got;
	uint16_t flags;

	rig_receive(r, 0, p);
	rig_run(r);
	assert_true(rig_punted(r, 0, &got, &flags));
	assert_int_equal(flags, reason);
	assert_int_equal(got.length, length);
	assert_memory_equal(got.bytes, p->bytes, length);
	assert_false(rig_punted(r, 0, &got, &flags));
	for (unsigned nic = 0; nic < r->nics; nic++)
		assert_null(rig_sent(r, nic));
	rig_check(r);
}

void receive4(struct rig *r, unsigned nic, unsigned egress, uint32_t payload, uint32_t seed)
{
	struct packet p;

	packet_ipv4(&p, nic, PACKET_TO(egress), 64, payload, seed);
	rig_receive(r, nic, &p);
}

unsigned take_in_order(struct rig *r, unsigned egress, unsigned ingress, uint32_t *last)
{
	unsigned n = 0;

	for (struct packet *got; (got = rig_sent(r, egress)); n++) {
		uint32_t seed = packet_seed(got);
		struct packet want;

		packet_ipv4(&want, ingress, PACKET_TO(egress), 64, got->length - 42, seed);
		packet_forwarded(&want, ingress, egress);
		assert_int_equal(got->length, want.length);
		assert_memory_equal(got->bytes, want.bytes, got->length);
		assert_true(seed > *last);
		*last = seed;
		free(got);
	}
	return n;
}
