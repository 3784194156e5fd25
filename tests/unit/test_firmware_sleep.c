/* SPDX-License-Identifier: BSD-3-Clause */
/* When a NIC may sleep, and what wakes it. For each transfer method. */
#include "tests/unit/firmware_fate.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void an_idle_nic_sleeps_and_is_woken(void **state)
{
	struct rig *r = rig_new(3, &(struct rig_config){0});
	uint32_t last = 0;

	for (unsigned round = 1; round <= 20; round++) {
		unsigned rung;

		assert_int_equal(nic_arm(r->at[1].nic), NIC_IDLE);
		rig_relay(r);
		rung = r->at[1].board.rung;
		receive4(r, 0, 1, 100, round);
		nic_poll(r->at[0].nic);
		rig_relay(r);
		assert_int_equal(r->at[1].board.rung, rung + 1);
		nic_disarm(r->at[1].nic);
		rig_relay(r);
		rig_run(r);
		assert_int_equal(take_in_order(r, 1, 0, &last), 1);
		/* Awake: no doorbell. */
		receive4(r, 0, 1, 100, 100 * round);
		last = 100 * round - 1;
		rig_run(r);
		assert_int_equal(r->at[1].board.rung, rung + 1);
		assert_int_equal(take_in_order(r, 1, 0, &last), 1);
		last = round;
	}
	assert_int_equal(rig_count(&r->at[0].counters->doorbells), 20);
	assert_int_equal(rig_count(&r->at[1].counters->sleeps), 20);
	rig_check(r);
	rig_free(r);
}

/* `asleep` may still be on its way: what the peer publishes then without a doorbell is found by
 * looking. */
static void over_a_bus_that_posts_it_looks_again(void **state)
{
	struct rig *r = rig_new(2, &(struct rig_config){0});
	uint32_t last = 0;

	r->at[1].board.posts = true;
	assert_int_equal(nic_arm(r->at[1].nic), NIC_POSTED);
	assert_int_equal(rig_count(&r->at[1].counters->sleeps), 1);
	assert_false(nic_waits(r->at[1].nic));
	atomic_store(r->at[0].nic->out[1].asleep, 0); /* not heard of */
	receive4(r, 0, 1, 100, 1);
	nic_poll(r->at[0].nic);
	rig_relay(r);
	assert_int_equal(r->at[1].board.rung, 0);
	assert_true(nic_waits(r->at[1].nic));
	nic_disarm(r->at[1].nic);
	rig_run(r);
	assert_int_equal(take_in_order(r, 1, 0, &last), 1);
	/* What waits or is held comes first. */
	r->at[1].board.stuck = true;
	receive4(r, 0, 1, 100, 2);
	for (unsigned k = 0; k < 4; k++)
		rig_poll(r);
	assert_int_equal(nic_arm(r->at[1].nic), NIC_WAITING);
	nic_disarm(r->at[1].nic);
	r->at[1].board.stuck = false;
	rig_run(r);
	rig_check(r);
	rig_free(r);
}

static void packets_before_the_last_look_keep_it_awake(void **state)
{
	struct rig *r = rig_new(2, &(struct rig_config){0});
	uint32_t last = 0;

	/* From a peer. */
	receive4(r, 0, 1, 100, 1);
	nic_poll(r->at[0].nic);
	rig_relay(r);
	assert_int_equal(nic_arm(r->at[1].nic), NIC_BUSY);
	nic_disarm(r->at[1].nic);
	rig_run(r);
	assert_int_equal(take_in_order(r, 1, 0, &last), 1);
	/* From the wire. */
	receive4(r, 1, 0, 100, 1);
	assert_int_equal(nic_arm(r->at[1].nic), NIC_BUSY);
	nic_disarm(r->at[1].nic);
	/* A stopped NIC does not wait for its port. */
	assert_int_equal(rig_command(r, 1, P2PNIC_OP_STOP, 0), P2PNIC_OK);
	assert_int_equal(nic_arm(r->at[1].nic), NIC_IDLE);
	nic_disarm(r->at[1].nic);
	/* In transmission: it looks again soon. */
	r->at[1].board.stuck = true;
	receive4(r, 0, 1, 100, 2);
	for (unsigned k = 0; k < 4; k++)
		rig_poll(r);
	assert_int_equal(nic_arm(r->at[1].nic), NIC_WAITING);
	nic_disarm(r->at[1].nic);
	/* Held for a full ring: likewise. */
	for (unsigned k = 3; k < 60; k++)
		receive4(r, 0, 1, 100, k);
	for (unsigned k = 0; k < 4; k++)
		rig_poll(r);
	assert_true(r->at[0].nic->held > 0);
	assert_int_equal(nic_arm(r->at[0].nic), NIC_WAITING);
	nic_disarm(r->at[0].nic);
	r->at[1].board.stuck = false;
	rig_run(r);
	rig_check(r);
	rig_free(r);
}

static void the_sleeping_host_is_interrupted(void **state)
{
	struct rig *r = rig_new(2, &(struct rig_config){.host = true});
	struct p2pnic_mailbox *mine =
		(struct p2pnic_mailbox *)(r->at[0].bar2 + P2PNIC_BAR2_MAILBOXES) +
		P2PNIC_HOST_PEER(P2PNIC_RING_EXCEPTION);
	struct packet p;

	packet_ipv4(&p, 0, PACKET_TO(1), 1, 80, 1);
	rig_receive(r, 0, &p);
	rig_run(r);
	assert_int_equal(
		r->at[0].board.interrupts[P2PNIC_VECTOR_HOST_RING(P2PNIC_RING_EXCEPTION)], 0);
	mine->asleep = 1;
	for (unsigned k = 0; k < 5; k++)
		rig_receive(r, 0, &p);
	rig_run(r);
	assert_int_equal(
		r->at[0].board.interrupts[P2PNIC_VECTOR_HOST_RING(P2PNIC_RING_EXCEPTION)], 1);
	rig_check(r);
	rig_free(r);
}

/* Peers and the port's other end are told first, then one fence serves all looks whether they
 * sleep. The board has ended the test if there was none. */
static void one_fence_a_round(void **state)
{
	struct rig *r = rig_new(3, &(struct rig_config){0});
	const struct {
		bool to_ring, to_port;
	} round[] = {{true, true}, {true, false}, {false, true}, {false, false}};
	struct board *b = &r->at[0].board;

	for (unsigned k = 0; k < sizeof(round) / sizeof(*round); k++) {
		unsigned rung = r->at[1].board.rung, notified = b->notified, flushed = b->flushed;

		if (round[k].to_port) {
			receive4(r, 2, 0, 100, k);
			nic_poll(r->at[2].nic);
			rig_relay(r);
		}
		if (round[k].to_ring)
			receive4(r, 0, 1, 100, k);
		nic_arm(r->at[1].nic);
		rig_relay(r);
		unsigned fences = board_fences;
		nic_poll(r->at[0].nic);
		assert_int_equal(board_fences - fences, round[k].to_ring || round[k].to_port);
		assert_int_equal(b->flushed - flushed, round[k].to_port);
		assert_int_equal(b->notified - notified, round[k].to_port);
		rig_relay(r);
		assert_int_equal(r->at[1].board.rung - rung, round[k].to_ring);
		nic_disarm(r->at[1].nic);
		rig_run(r);
	}
	rig_check(r);
	rig_free(r);
}

static void asleep_without_a_doorbell(void **state)
{
	struct rig *r = rig_new(2, &(struct rig_config){0});
	struct p2pnic_peer *table = (struct p2pnic_peer *)(r->at[0].bar2 + P2PNIC_BAR2_PEERS);
	uint32_t last = 0;
	uint64_t rung;

	rig_close(r, 0, 1);
	table[1] = rig_entry(r, 0, 1, 77);
	table[1].doorbell = (struct bus_addr){0};
	assert_int_equal(rig_command(r, 0, P2PNIC_OP_PEER_OPEN, 1), P2PNIC_OK);
	assert_int_equal(rig_open_side(r, 1, 0, 77), P2PNIC_OK);
	rung = rig_count(&r->at[0].counters->doorbells);
	atomic_store(r->at[0].nic->out[1].asleep, 1);
	receive4(r, 0, 1, 100, 1);
	rig_run(r);
	assert_int_equal(take_in_order(r, 1, 0, &last), 1);
	assert_int_equal(rig_count(&r->at[0].counters->doorbells), rung);
	rig_free(r);
}

/* Frames at the port of a NIC that was stopped do not keep it awake. */
static void a_stopped_nic_sleeps(void **state)
{
	struct rig *r = rig_new(2, &(struct rig_config){0});

	rig_run(r);
	assert_int_equal(rig_command(r, 0, P2PNIC_OP_STOP, 0), P2PNIC_OK);
	receive4(r, 0, 1, 100, 1);
	assert_int_equal(nic_arm(r->at[0].nic), NIC_IDLE);
	nic_disarm(r->at[0].nic);
	rig_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_idle_nic_sleeps_and_is_woken),
		cmocka_unit_test(over_a_bus_that_posts_it_looks_again),
		cmocka_unit_test(packets_before_the_last_look_keep_it_awake),
		cmocka_unit_test(the_sleeping_host_is_interrupted),
		cmocka_unit_test(one_fence_a_round),
		cmocka_unit_test(asleep_without_a_doorbell),
		cmocka_unit_test(a_stopped_nic_sleeps),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
