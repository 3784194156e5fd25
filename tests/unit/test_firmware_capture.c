/* SPDX-License-Identifier: BSD-3-Clause */
/* Captures: what is recorded of which packet, at either end of a ring; for each transfer method. */
#include "tests/unit/firmware_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define RING_BUS 0x7700000000ull
#define SLOTS    16u
#define SNAP     128u

static _Alignas(64) uint8_t ring[RIG_NICS_MAX][SLOTS * P2PNIC_CAPTURE_SLOT_BYTES(2048)];

static struct p2pnic_capture *asked(struct rig *r, unsigned nic)
{
	return (struct p2pnic_capture *)(void *)(r->at[nic].bar2 + P2PNIC_BAR2_CAPTURE);
}

static struct board_window *ring_window(struct rig *r, unsigned nic)
{
	struct board *b = &r->at[nic].board;

	for (unsigned k = 0; k < b->windows; k++)
		if (b->window[k].bus == RING_BUS)
			return &b->window[k];
	return &b->window[b->windows++];
}

static unsigned begin(struct rig *r, unsigned nic, unsigned points)
{
	memset(ring[nic], 0, sizeof(ring[nic]));
	*ring_window(r, nic) = (struct board_window){RING_BUS, sizeof(ring[nic]), DMA_WRITE,
		r->config.messages ? BOARD_MESSAGE : BOARD_MEMORY, ring[nic], NULL};
	asked(r, nic)->points = 0;
	assert_int_equal(rig_command(r, nic, P2PNIC_OP_CAPTURE, 0), P2PNIC_OK);
	if (!points)
		return P2PNIC_OK;
	*asked(r, nic) = (struct p2pnic_capture){.points = points,
		.snap = SNAP,
		.slots = SLOTS,
		.ring = {RING_BUS},
		.reasons = ~0ull};
	return rig_command(r, nic, P2PNIC_OP_CAPTURE, 0);
}

/* The record with that number; NULL: it is not there. */
static const struct p2pnic_record *record(unsigned nic, uint64_t number)
{
	const uint32_t bytes = P2PNIC_CAPTURE_SLOT_BYTES(SNAP);
	const struct p2pnic_record *r = (void *)(ring[nic] + number % SLOTS * bytes);

	return r->sequence == number + 1 ? r : NULL;
}

static void expect_frame(const struct p2pnic_record *r, const struct packet *p)
{
	const uint32_t captured = p->length < SNAP ? p->length : SNAP;

	assert_non_null(r);
	assert_int_equal(r->length, p->length);
	assert_int_equal(r->captured, captured);
	assert_memory_equal(r + 1, p->bytes, captured);
}

static void drain(struct rig *r)
{
	for (unsigned k = 0; k < r->nics; k++)
		for (struct packet *p = rig_sent(r, k); p; p = rig_sent(r, k))
			free(p);
}

static void receives(struct rig *r)
{
	struct packet p, out;
	struct p2pnic_record first;

	assert_int_equal(begin(r, 0, P2PNIC_CAPTURE_RX), P2PNIC_OK);
	r->at[0].board.clock_ns = 4711;
	packet_ipv4(&p, 0, PACKET_TO(1), 64, 400, 1);
	rig_receive(r, 0, &p);
	rig_run(r);
	expect_frame(record(0, 0), &p);
	first = *record(0, 0);
	assert_int_equal(first.time_ns, 4711);
	assert_int_equal(first.point, P2PNIC_CAPTURE_RX);
	assert_int_equal(first.outcome, P2PNIC_OUTCOME_SENT);
	assert_int_equal(first.peer, 1);
	assert_int_equal(first.verdict, P2PNIC_RECORD_NONE);
	assert_true(first.looked_up);
	assert_int_equal(first.next_hop, RIG_HOP_EGRESS + 1);
	assert_int_equal(first.adjacency, RIG_HOP_EGRESS + 1);
	assert_int_equal(first.epoch, r->at[0].epoch[1]);
	assert_int_not_equal(first.flow, 0);
	assert_null(record(0, 1));

	/* IPv6, and with a tag that is taken out and one that is put in: as it came. */
	packet_ipv6(&p, 0, PACKET_TO6(7), 64, 4, 2);
	packet_tag(&p, RIG_VLAN);
	out = p;
	rig_receive(r, 0, &p);
	rig_run(r);
	expect_frame(record(0, 1), &out);
	assert_int_equal(record(0, 1)->next_hop, RIG_HOP_TAGGED);
	assert_int_equal(record(0, 1)->adjacency, RIG_HOP_TAGGED);
	assert_int_equal(record(0, 1)->peer, 0);

	/* One too short for anything: not looked up. */
	p.length = 13;
	rig_receive(r, 0, &p);
	rig_run(r);
	expect_frame(record(0, 2), &p);
	assert_int_equal(record(0, 2)->outcome, P2PNIC_OUTCOME_DROPPED);
	assert_int_equal(record(0, 2)->reason, P2PNIC_DROP_RUNT);
	assert_false(record(0, 2)->looked_up);
	assert_int_equal(record(0, 2)->peer, P2PNIC_RECORD_NONE);
	drain(r);
}

/* Of a full burst with one that is marked, all leave in order; that one is recorded at both ends,
 * and both records name the same place in the ring. */
static void follows(struct rig *r)
{
	const struct p2pnic_instruction filter[] = {/* the last byte of the destination address */
		{0x30, 0, 0, 33}, {0x15, 0, 1, 9}, {0x06, 0, 0, 1}, {0x06, 0, 0, 0}};
	const struct p2pnic_record *in, *out;
	struct packet p, want;
	unsigned at = 0;

	begin(r, 0, P2PNIC_CAPTURE_RX | P2PNIC_CAPTURE_MARK);
	asked(r, 0)->instructions = 4;
	memcpy(asked(r, 0)->filter, filter, sizeof(filter));
	assert_int_equal(rig_command(r, 0, P2PNIC_OP_CAPTURE, 0), P2PNIC_OK);
	assert_int_equal(begin(r, 1, P2PNIC_CAPTURE_FOLLOW), P2PNIC_OK);
	for (unsigned k = 0; k < 24; k++) {
		packet_ipv4(&p, 0, PACKET_TO(1) + k, 64, 4, k);
		rig_receive(r, 0, &p);
	}
	rig_run(r);
	in = record(0, 0);
	out = record(1, 0);
	assert_non_null(in);
	assert_null(record(0, 1));
	assert_null(record(1, 1));
	packet_ipv4(&want, 0, PACKET_TO(1) + 8, 64, 4, 8);
	expect_frame(in, &want);
	packet_forwarded(&want, 0, 1);
	expect_frame(out, &want);
	assert_int_equal(out->point, P2PNIC_CAPTURE_FOLLOW);
	assert_int_equal(out->peer, 0);
	assert_int_equal(in->peer, 1);
	assert_int_equal(out->index, in->index);
	assert_int_equal(out->epoch, in->epoch);
	for (struct packet *got = rig_sent(r, 1); got; got = rig_sent(r, 1), at++) {
		assert_int_equal(packet_seed(got), at);
		free(got);
	}
	assert_int_equal(at, 24);
	begin(r, 1, 0);
}

static void sends(struct rig *r)
{
	struct packet p;

	begin(r, 0, 0);
	assert_int_equal(begin(r, 1, P2PNIC_CAPTURE_TX), P2PNIC_OK);
	packet_ipv4(&p, 0, PACKET_TO(1), 64, 700, 3);
	rig_receive(r, 0, &p);
	rig_run(r);
	packet_forwarded(&p, 0, 1);
	expect_frame(record(1, 0), &p);
	assert_int_equal(record(1, 0)->point, P2PNIC_CAPTURE_TX);
	assert_int_equal(record(1, 0)->outcome, P2PNIC_OUTCOME_SENT);
	assert_null(record(0, 0));
	drain(r);
	begin(r, 1, 0);
}

/* Only what is dropped, for a reason that is asked for. */
static void drops(struct rig *r)
{
	struct packet p, expired;

	begin(r, 0, P2PNIC_CAPTURE_DROP);
	asked(r, 0)->reasons = 1ull << P2PNIC_DROP_TTL;
	rig_command(r, 0, P2PNIC_OP_CAPTURE, 0);
	packet_ipv4(&p, 0, PACKET_TO(1), 64, 4, 1);
	rig_receive(r, 0, &p);
	packet_ipv4(&p, 0, 0x0a200001, 64, 4, 1); /* no route */
	rig_receive(r, 0, &p);
	packet_ipv4(&expired, 0, PACKET_TO(1), 1, 4, 1);
	rig_receive(r, 0, &expired);
	rig_run(r);
	expect_frame(record(0, 0), &expired);
	assert_int_equal(record(0, 0)->point, P2PNIC_CAPTURE_DROP);
	assert_int_equal(record(0, 0)->outcome, P2PNIC_OUTCOME_DROPPED);
	assert_int_equal(record(0, 0)->reason, P2PNIC_DROP_TTL);
	assert_int_equal(record(0, 0)->verdict, P2PNIC_DROP_TTL);
	assert_int_equal(record(0, 0)->next_hop, RIG_HOP_EGRESS + 1);
	assert_null(record(0, 1));
	drain(r);
}

/* A reader that is gone costs nothing but the oldest records. */
static void overwrites(struct rig *r)
{
	struct packet p;

	begin(r, 0, P2PNIC_CAPTURE_RX);
	for (unsigned k = 0; k < 3 * SLOTS + 5; k++) {
		packet_ipv4(&p, 0, PACKET_TO(1), 64, 20, k);
		rig_receive(r, 0, &p);
		rig_run(r);
	}
	assert_null(record(0, 2 * SLOTS + 4));
	for (unsigned k = 2 * SLOTS + 5; k < 3 * SLOTS + 5; k++) {
		packet_ipv4(&p, 0, PACKET_TO(1), 64, 20, k);
		expect_frame(record(0, k), &p);
	}
	drain(r);

	begin(r, 0, P2PNIC_CAPTURE_RX | P2PNIC_CAPTURE_DROP);
	asked(r, 0)->limit = 3;
	rig_command(r, 0, P2PNIC_OP_CAPTURE, 0);
	for (unsigned k = 0; k < 10; k++)
		rig_receive(r, 0, &p);
	rig_run(r);
	assert_non_null(record(0, 2));
	assert_null(record(0, 3));
	drain(r);
}

/* Other points: the ring goes on. Another length of slots: it begins anew. */
static void goes_on(struct rig *r)
{
	struct packet p;

	packet_ipv4(&p, 0, PACKET_TO(1), 64, 20, 0);
	begin(r, 0, P2PNIC_CAPTURE_FOLLOW);
	asked(r, 0)->limit = 1;
	for (unsigned k = 0; k < 2; k++) {
		asked(r, 0)->points = P2PNIC_CAPTURE_RX | P2PNIC_CAPTURE_FOLLOW;
		assert_int_equal(rig_command(r, 0, P2PNIC_OP_CAPTURE, 0), P2PNIC_OK);
		rig_receive(r, 0, &p);
		rig_receive(r, 0, &p);
		rig_run(r);
		assert_non_null(record(0, k));
		assert_null(record(0, k + 1));
	}
	asked(r, 0)->snap = SNAP - 1;
	assert_int_equal(rig_command(r, 0, P2PNIC_OP_CAPTURE, 0), P2PNIC_OK);
	rig_receive(r, 0, &p);
	rig_run(r);
	assert_non_null(record(0, 0));
	assert_null(record(0, 2));
	drain(r);
}

static void refuses(struct rig *r)
{
	struct p2pnic_capture good;
	struct packet p;

	begin(r, 0, P2PNIC_CAPTURE_RX);
	good = *asked(r, 0);
#define REFUSED(field, value, result)                                                              \
	*asked(r, 0) = good;                                                                       \
	asked(r, 0)->field = (value);                                                              \
	assert_int_equal(rig_command(r, 0, P2PNIC_OP_CAPTURE, 0), result);                         \
	assert_int_equal(r->at[0].nic->captures, 0)
	REFUSED(points, P2PNIC_CAPTURE_POINTS + 1, P2PNIC_BAD_ARGUMENT);
	REFUSED(snap, 0, P2PNIC_BAD_ARGUMENT);
	REFUSED(snap, P2PNIC_CAPTURE_SNAP_MAX + 1, P2PNIC_BAD_ARGUMENT);
	REFUSED(slots, 0, P2PNIC_BAD_ARGUMENT);
	REFUSED(slots, 4, P2PNIC_BAD_ARGUMENT);
	REFUSED(slots, 24, P2PNIC_BAD_ARGUMENT);
	REFUSED(slots, 2 * P2PNIC_CAPTURE_SLOTS_MAX, P2PNIC_BAD_ARGUMENT);
	REFUSED(instructions, 1, P2PNIC_BAD_ARGUMENT); /* which loads, and does not return */
	REFUSED(instructions, P2PNIC_CAPTURE_FILTER_MAX + 1, P2PNIC_BAD_ARGUMENT);
	REFUSED(ring.value, 0, P2PNIC_BAD_WINDOW);
	REFUSED(ring.value, RING_BUS + sizeof(ring[0]) - 64, P2PNIC_BAD_WINDOW);

	/* The window goes, and all that is captured with it. */
	*asked(r, 0) = good;
	assert_int_equal(rig_command(r, 0, P2PNIC_OP_CAPTURE, 0), P2PNIC_OK);
	ring_window(r, 0)->bus = UINT64_MAX / 2;
	nic_windows_changed(r->at[0].nic);
	assert_int_equal(r->at[0].nic->captures, 0);
	packet_ipv4(&p, 0, PACKET_TO(1), 64, 20, 0);
	rig_receive(r, 0, &p);
	rig_run(r);
	assert_null(record(0, 0));
	drain(r);
}

/* With a host: why, as what, in which of its rings. */
static void punts(struct rig *r)
{
	const struct p2pnic_record *seen;
	struct packet p, punted;
	uint16_t reason;

	assert_int_equal(begin(r, 0, P2PNIC_CAPTURE_RX | P2PNIC_CAPTURE_MARK), P2PNIC_OK);
	packet_ipv4(&p, 0, PACKET_TO(1), 1, 20, 0);
	rig_receive(r, 0, &p);
	rig_run(r);
	seen = record(0, 0);
	expect_frame(seen, &p);
	assert_int_equal(seen->outcome, P2PNIC_OUTCOME_PUNTED);
	assert_int_equal(seen->reason, P2PNIC_DROP_TTL);
	assert_int_equal(seen->punt_class, P2PNIC_PUNT_EXCEPTION);
	assert_int_equal(seen->peer, P2PNIC_HOST_PEER(P2PNIC_RING_EXCEPTION));
	assert_true(rig_punted(r, 0, &punted, &reason));
	assert_int_equal(reason, P2PNIC_DROP_TTL);

	/* Out of the NIC that it came by: one goes to the host, the next one leaves. */
	r->at[0].board.clock_ns = 1000000000;
	packet_ipv4(&p, 0, PACKET_TO(0), 64, 20, 0);
	rig_receive(r, 0, &p);
	rig_receive(r, 0, &p);
	rig_run(r);
	assert_int_equal(record(0, 1)->outcome, P2PNIC_OUTCOME_PUNTED);
	assert_int_equal(record(0, 1)->reason, P2PNIC_DROP_REDIRECT);
	assert_int_equal(record(0, 2)->outcome, P2PNIC_OUTCOME_SENT);
	assert_int_equal(record(0, 2)->peer, 0);
	assert_true(rig_punted(r, 0, &punted, &reason));
	drain(r);
	begin(r, 0, 0);
}

/* The egress NIC sends nothing: some fill its ring, some are held, the rest is dropped. */
static void holds(struct rig *r)
{
	unsigned outcome[4] = {0};
	struct packet p;

	r->at[1].board.stuck = true;
	for (unsigned k = 0; k < 600; k++) {
		if (k % SLOTS == 0)
			assert_int_equal(begin(r, 0, P2PNIC_CAPTURE_RX), P2PNIC_OK);
		packet_ipv4(&p, 0, PACKET_TO(1), 64, 20, k);
		rig_receive(r, 0, &p);
		rig_run(r);
		expect_frame(record(0, k % SLOTS), &p);
		outcome[record(0, k % SLOTS)->outcome]++;
		if (record(0, k % SLOTS)->outcome == P2PNIC_OUTCOME_DROPPED)
			assert_true(record(0, k % SLOTS)->reason == P2PNIC_DROP_RING_FULL ||
				    record(0, k % SLOTS)->reason == P2PNIC_DROP_NO_BUFFER);
	}
	assert_int_equal(outcome[P2PNIC_OUTCOME_DROPPED], rig_all_drops(r, 0));
	assert_true(outcome[P2PNIC_OUTCOME_SENT] >= r->config.slots);
	assert_true(outcome[P2PNIC_OUTCOME_HELD] || !RIG_INGRESS_WRITES);
	assert_true(outcome[P2PNIC_OUTCOME_DROPPED] > 0);
	r->at[1].board.stuck = false;
	rig_run(r);
	drain(r);
	begin(r, 0, 0);
}

static void with(const struct rig_config *config, void (*test)(struct rig *))
{
	struct rig *r = rig_new(2, config);

	test(r);
	rig_run(r);
	rig_check(r);
	rig_free(r);
}

/* Also of packets that are sent from another's memory (Rd; Hy, which is Wr that lends). */
static void forwarded_and_dropped(void **state)
{
	static void (*const tests[])(struct rig *) = {
		receives, follows, sends, drops, overwrites, goes_on, refuses, holds};

	for (unsigned k = 0; k < sizeof(tests) / sizeof(*tests); k++) {
		with(&(struct rig_config){.slots = 32}, tests[k]);
		with(&(struct rig_config){.slots = 32, .messages = true}, tests[k]);
		with(&(struct rig_config){.slots = 32, .reaches = true, .lend_from = 1}, tests[k]);
		with(&(struct rig_config){.slots = 32, .lend_from = 200}, tests[k]);
	}
}

static void punted(void **state)
{
	with(&(struct rig_config){.slots = 32, .host = true}, punts);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(forwarded_and_dropped),
		cmocka_unit_test(punted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
