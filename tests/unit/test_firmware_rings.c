/* SPDX-License-Identifier: BSD-3-Clause */
/* Rings: batches, wrapping, back pressure, slow and failing ports, buffers. For each transfer
 * method. */
#include "tests/unit/firmware_fate.h"

#include "firmware/burst.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static uint64_t sent(const struct rig *r, unsigned nic)
{
	return rig_count(&r->at[nic].counters->sent.packets);
}

/* --- Sizes of buffers ------------------------------------------------------------------------- */

/* Frames up to the longest that a buffer holds, the egress slow, so that some are held. */
static void frames_fit_buffers(uint32_t buffer_bytes, bool messages)
{
	const uint32_t longest = P2PNIC_FRAME_BYTES_MAX(buffer_bytes);
	const uint32_t length[] = {60, 1023, 1024, 1514, longest - 1, longest,
		longest > 9216 ? 9216 : longest, longest > 9014 ? 9014 : longest};
	const unsigned lengths = sizeof(length) / sizeof(*length);
	struct rig *r =
		rig_new(2, &(struct rig_config){
				   .slots = 8, .buffer_bytes = buffer_bytes, .messages = messages});
	uint32_t last = 0;
	unsigned n = 0;

	r->at[1].board.transmit_room = 2;
	r->at[1].board.complete_max = 1;
	for (unsigned k = 0; k < 5 * lengths; k++)
		receive4(r, 0, 1, length[k % lengths] - 42, k + 1);
	rig_run(r);
	while (sent(r, 1) < 5 * lengths)
		rig_run(r);
	for (struct packet *got; (got = rig_sent(r, 1)); n++) {
		struct packet want;

		assert_int_equal(got->length, length[n % lengths]);
		packet_ipv4(&want, 0, PACKET_TO(1), 64, got->length - 42, packet_seed(got));
		packet_forwarded(&want, 0, 1);
		assert_memory_equal(got->bytes, want.bytes, got->length);
		assert_int_equal(packet_seed(got), ++last);
		free(got);
	}
	assert_int_equal(n, 5 * lengths);
	assert_int_equal(rig_all_drops(r, 0) + rig_all_drops(r, 1), 0);
	rig_check(r);
	rig_free(r);
}

static void frames_fit_buffers_of_every_size(void **state)
{
	static const uint32_t size[] = {P2PNIC_BUFFER_SIZES};

	for (unsigned k = 0; k < 3; k++) {
		frames_fit_buffers(size[k], false);
		frames_fit_buffers(size[k], true);
	}
}

/* --- Batches ---------------------------------------------------------------------------------- */

/* How many descriptors of a ring of 128 slots `egress` can see, from an index on. */
static uint32_t produced(const struct rig *r, unsigned ingress, unsigned egress, uint32_t from)
{
	const struct p2pnic_mailbox *m =
		(const struct p2pnic_mailbox *)(r->at[egress].bar2 + P2PNIC_BAR2_MAILBOXES) +
		ingress;
	uint32_t n = 0;

	if (P2PNIC_METHOD == P2PNIC_METHOD_BOUNCE)
		m = r->relay[ingress][egress];
	while (n < 128 && P2PNIC_FLAGS_TAG(m->descriptor[(from + n) % 128].flags) ==
				  p2pnic_tag(r->at[egress].epoch[ingress], from + n, 128))
		n++;
	return n;
}

static void updates_come_by_batch(void **state)
{
	/* 128 before the last one: no batch wraps, which would take two publications. */
	static const unsigned bursts[] = {1, 7, 8, 9, 16, 24, 63, 64};

	for (unsigned batch = 1; batch <= 64; batch = batch * 4 / 3 + 1) {
		struct rig *r = rig_new(2, &(struct rig_config){.slots = 128, .batch = batch});
		uint32_t last = 0;

		for (unsigned k = 0; k < sizeof(bursts) / sizeof(*bursts); k++) {
			unsigned n = bursts[k], before = r->at[0].board.publications;
			uint32_t from = last;

			for (unsigned j = 1; j <= n; j++)
				receive4(r, 0, 1, 50, from + j);
			nic_poll(r->at[0].nic);
			/* A full burst leaves the last batch to the next one. */
			assert_int_equal(produced(r, 0, 1, from), n == 64 ? n - n % batch : n);
			nic_poll(r->at[0].nic);
			assert_int_equal(produced(r, 0, 1, from), n);
			assert_int_equal(
				r->at[0].board.publications - before, (n + batch - 1) / batch);
			rig_run(r);
			assert_int_equal(take_in_order(r, 1, 0, &last), n);
			rig_check(r);
		}
		rig_free(r);
	}
}

static void rings_wrap(void **state)
{
	struct rig *r = rig_new(2, &(struct rig_config){.slots = 8, .batch = 5, .rx_buffers = 64});
	uint32_t seed = 0, last = 0;
	unsigned got = 0;

	for (unsigned round = 0; round < 500; round++) {
		unsigned n = 1 + round % 7;

		for (unsigned k = 0; k < n; k++)
			receive4(r, 0, 1, (round * 37 + k * 11) % 1500 + 4, ++seed);
		rig_run(r);
		got += take_in_order(r, 1, 0, &last);
		rig_check(r);
	}
	assert_int_equal(got, seed);
	assert_int_equal(rig_all_drops(r, 0), 0);
	rig_free(r);
}

/* Indices run over 32 bits: begun shortly before the end. */
static void indices_wrap(void **state)
{
	struct rig *r = rig_new(2, &(struct rig_config){.slots = 16, .rx_buffers = 64});
	uint32_t seed = 0, last = 0;

	rig_near_wrap(r, 0, 1);
	for (unsigned k = 0; k < 100; k++) {
		receive4(r, 0, 1, 100, ++seed);
		if (k % 3 == 0)
			rig_run(r);
	}
	rig_run(r);
	assert_int_equal(take_in_order(r, 1, 0, &last), 100);
	assert_int_equal(rig_count(&r->at[1].counters->bad_words), 0);
	rig_check(r);
	rig_free(r);
}

/* --- Back pressure ---------------------------------------------------------------------------- */

static void a_full_ring_holds_then_drops(void **state)
{
	struct rig *r = rig_new(2, &(struct rig_config){.slots = 16, .rx_buffers = 256});
	struct board *slow = &r->at[1].board;
	uint64_t dropped;
	uint32_t last = 0;
	unsigned got;

	slow->stuck = true;
	for (unsigned k = 1; k <= 400; k++)
		receive4(r, 0, 1, 100, k);
	for (unsigned k = 0; k < 50; k++)
		rig_poll(r);
	rig_check(r);
	/* 16 in the ring, a quarter of the buffers held, the rest dropped and counted. */
	dropped = rig_drops(r, 0, P2PNIC_DROP_RING_FULL) + rig_drops(r, 0, P2PNIC_DROP_NO_BUFFER);
	assert_int_equal(dropped + 16 + r->at[0].nic->held, 400);
	assert_int_equal(r->at[0].nic->held, 64);
	assert_int_equal(rig_count(&r->at[0].counters->held), 64);
	assert_int_equal(rig_drops(r, 0, P2PNIC_DROP_RING_FULL), dropped);
	slow->stuck = false;
	rig_run(r);
	got = take_in_order(r, 1, 0, &last);
	assert_int_equal(got, 400 - dropped);
	assert_int_equal(r->at[0].nic->held, 0);
	rig_check(r);
	/* And it is over. */
	for (unsigned k = 401; k <= 410; k++)
		receive4(r, 0, 1, 100, k);
	rig_run(r);
	assert_int_equal(take_in_order(r, 1, 0, &last), 10);
	rig_check(r);
	rig_free(r);
}

static void held_packets_keep_their_place(void **state)
{
	struct rig *r = rig_new(2, &(struct rig_config){.slots = 8, .rx_buffers = 128});
	struct board *slow = &r->at[1].board;
	uint32_t last = 0, seed = 0;
	unsigned got = 0;

	r->at[0].board.copies_on_keep = true;
	slow->complete_max = 3;
	slow->transmit_room = 5;
	for (unsigned round = 0; round < 200; round++) {
		for (unsigned k = 0; k < round % 6; k++) {
			seed++;
			receive4(r, 0, 1, 60 + seed % 900, seed);
		}
		rig_poll(r);
		got += take_in_order(r, 1, 0, &last);
		rig_check(r);
	}
	rig_run(r);
	got += take_in_order(r, 1, 0, &last);
	assert_int_equal(got + rig_all_drops(r, 0), seed);
	assert_true(got > seed / 2);
	rig_check(r);
	rig_free(r);
}

static void a_slow_egress_stops_no_other(void **state)
{
	struct rig *r = rig_new(4, &(struct rig_config){.slots = 16, .rx_buffers = 512});
	uint32_t last[4] = {0}, seed = 0;
	unsigned got = 0, given = 0;

	r->at[1].board.stuck = true;
	r->at[2].board.stuck = true;
	for (unsigned round = 0; round < 300; round++) {
		receive4(r, 0, 1, 100, ++seed);
		receive4(r, 0, 3, 100, ++seed);
		receive4(r, 0, 2, 100, ++seed);
		given++;
		rig_poll(r);
		got += take_in_order(r, 3, 0, &last[3]);
	}
	rig_run(r);
	got += take_in_order(r, 3, 0, &last[3]);
	assert_int_equal(got, given);
	rig_check(r);
	r->at[1].board.stuck = r->at[2].board.stuck = false;
	rig_run(r);
	rig_check(r);
	assert_int_equal(take_in_order(r, 1, 0, &last[1]) + take_in_order(r, 2, 0, &last[2]) +
				 rig_all_drops(r, 0),
		2 * given);
	rig_free(r);
}

/* Every NIC receives for the other, and none can send at first: buffers of both are used up. */
static void both_ways_never_lock_up(void **state)
{
	struct rig *r = rig_new(3, &(struct rig_config){.slots = 64, .rx_buffers = 64});
	uint32_t last[3][3] = {0}, seed = 0;
	struct packet p;

	for (unsigned nic = 0; nic < 3; nic++) {
		r->at[nic].board.stuck = true;
		for (unsigned k = 0; k < 600; k++) {
			packet_ipv4(&p, nic, PACKET_TO((nic + 1 + k % 2) % 3), 64, 300, ++seed);
			rig_receive(r, nic, &p);
		}
	}
	/* The worst order: all receive before any sends. */
	for (unsigned k = 0; k < 8; k++)
		for (unsigned nic = 0; nic < 3; nic++) {
			struct burst b;

			nic_receive(r->at[nic].nic, &b);
			nic_ingress(r->at[nic].nic, &b);
		}
	for (unsigned k = 0; k < 100; k++)
		rig_poll(r);
	for (unsigned nic = 0; nic < 3; nic++)
		r->at[nic].board.stuck = false;
	rig_run(r);
	rig_check(r);
	for (unsigned nic = 0; nic < 3; nic++)
		assert_int_equal(r->at[nic].nic->held, 0);
	for (unsigned nic = 0; nic < 3; nic++) {
		struct packet *got;

		while ((got = rig_sent(r, nic)))
			free(got);
	}
	/* Everything flows again. */
	for (unsigned nic = 0; nic < 3; nic++)
		for (unsigned k = 0; k < 20; k++)
			receive4(r, nic, (nic + 1) % 3, 300, ++seed);
	rig_run(r);
	for (unsigned nic = 0; nic < 3; nic++)
		assert_int_equal(take_in_order(r, nic, (nic + 2) % 3, &last[nic][0]), 20);
	rig_check(r);
	rig_free(r);
}

static void a_full_punt_ring_drops(void **state)
{
	struct rig *r =
		rig_new(2, &(struct rig_config){.slots = 8, .rx_buffers = 128, .host = true});
	struct packet p;
	uint16_t flags;
	uint32_t last = 0;
	unsigned punted = 0;

	r->at[0].board.receive_max = 8;
	for (unsigned k = 1; k <= 100; k++) {
		packet_ipv4(&p, 0, PACKET_TO(1), 1, 80, k);
		rig_receive(r, 0, &p);
		receive4(r, 0, 1, 80, k);
	}
	rig_run(r);
	rig_check(r);
	/* A host that does not listen costs the NIC no buffers, and no good flow a packet. */
	assert_int_equal(take_in_order(r, 1, 0, &last), 100);
	assert_int_equal(r->at[0].nic->held, 0);
	assert_int_equal(rig_drops(r, 0, P2PNIC_DROP_PUNT_FULL), 100 - 8);
	assert_int_equal(rig_all_drops(r, 0), 100 - 8);
	for (unsigned k = 1; rig_punted(r, 0, &p, &flags); k++, punted++)
		assert_int_equal(packet_seed(&p), k);
	assert_int_equal(punted, 8);
	packet_ipv4(&p, 0, PACKET_TO(1), 1, 80, 101);
	rig_receive(r, 0, &p);
	rig_run(r);
	assert_true(rig_punted(r, 0, &p, &flags));
	assert_int_equal(packet_seed(&p), 101);
	rig_check(r);
	rig_free(r);
}

/* --- Ports ------------------------------------------------------------------------------------ */

static void ports_that_fail_are_counted(void **state)
{
	struct rig *r = rig_new(2, &(struct rig_config){0});
	uint32_t last = 0;

	r->at[1].board.fail_every = 3;
	for (unsigned k = 1; k <= 300; k++) {
		receive4(r, 0, 1, 100, k);
		rig_poll(r);
	}
	rig_run(r);
	assert_int_equal(take_in_order(r, 1, 0, &last), 200);
	assert_int_equal(rig_drops(r, 1, P2PNIC_DROP_PORT), 100);
	assert_int_equal(sent(r, 1), 200);
	rig_check(r);
	rig_free(r);
}

/* The whole range of speeds; nothing may be lost as long as nothing overflows. */
static void slow_ports_lose_nothing(void **state)
{
	for (unsigned room = 1; room <= 16; room *= 2)
		for (unsigned done = 1; done <= 16; done *= 2) {
			struct rig *r = rig_new(3, &(struct rig_config){.slots = 16});
			uint32_t last[2] = {0};
			unsigned got[2] = {0};

			r->at[2].board.transmit_room = room;
			r->at[2].board.complete_max = done;
			for (unsigned k = 1; k <= 200; k++) {
				/* Two NICs into one; not more than fit. */
				if (k % 16 < 2) {
					struct packet *p;

					rig_run(r);
					while ((p = rig_sent(r, 2))) {
						unsigned from = p->bytes[11];

						assert_true(packet_seed(p) > last[from]);
						last[from] = packet_seed(p);
						got[from]++;
						free(p);
					}
				}
				receive4(r, k & 1, 2, 100, k);
				rig_poll(r);
				rig_check(r);
			}
			rig_run(r);
			rig_check(r);
			for (struct packet *p; (p = rig_sent(r, 2)); free(p))
				got[p->bytes[11]]++;
			assert_int_equal(got[0] + got[1], 200);
			rig_free(r);
		}
}

static void many_rings_share_a_busy_port(void **state)
{
	struct rig *r = rig_new(5, &(struct rig_config){.slots = 64, .rx_buffers = 512});
	unsigned got[5] = {0}, all = 0;

	r->at[4].board.transmit_room = 8;
	r->at[4].board.complete_max = 8;
	for (unsigned k = 0; k < 64; k++)
		for (unsigned nic = 0; nic < 4; nic++)
			receive4(r, nic, 4, 100, k);
	for (unsigned round = 0; round < 16; round++) {
		rig_poll(r);
		for (struct packet *p; (p = rig_sent(r, 4)); free(p)) {
			got[p->bytes[11]]++;
			all++;
		}
	}
	for (unsigned nic = 0; nic < 4; nic++)
		assert_in_range(got[nic], all / 8, all / 2);
	rig_check(r);
	rig_free(r);
}

static void a_port_that_takes_few_buffers(void **state)
{
	for (unsigned take = 1; take <= 64; take *= 4) {
		struct rig *r = rig_new(2, &(struct rig_config){.slots = 16, .rx_buffers = 256});
		uint32_t last = 0, seed = 0;
		unsigned got = 0;

		assert_int_equal(rig_command(r, 0, P2PNIC_OP_STOP, 0), P2PNIC_OK);
		rig_check(r);
		r->at[0].board.start_max = take;
		assert_int_equal(rig_command(r, 0, P2PNIC_OP_START, 0), P2PNIC_OK);
		rig_check(r);
		r->at[1].board.complete_max = 1;
		for (unsigned round = 0; round < 60; round++) {
			receive4(r, 0, 1, 500, ++seed);
			receive4(r, 0, 1, 500, ++seed);
			rig_poll(r);
			got += take_in_order(r, 1, 0, &last);
			rig_check(r);
		}
		rig_run(r);
		got += take_in_order(r, 1, 0, &last);
		assert_int_equal(got, seed);
		rig_check(r);
		rig_free(r);
	}
}

static void a_port_that_refuses_to_start(void **state)
{
	struct rig *r = rig_new(2, &(struct rig_config){0});
	uint32_t last = 0;

	assert_int_equal(rig_command(r, 0, P2PNIC_OP_STOP, 0), P2PNIC_OK);
	r->at[0].board.refuses_start = true;
	assert_int_not_equal(rig_command(r, 0, P2PNIC_OP_START, 0), P2PNIC_OK);
	assert_false(nic_register_read(r->at[0].nic, P2PNIC_REG_STATUS) & P2PNIC_STATUS_RUNNING);
	rig_check(r);
	r->at[0].board.refuses_start = false;
	assert_int_equal(rig_command(r, 0, P2PNIC_OP_START, 0), P2PNIC_OK);
	receive4(r, 0, 1, 100, 1);
	rig_run(r);
	assert_int_equal(take_in_order(r, 1, 0, &last), 1);
	rig_check(r);
	rig_free(r);
}

static void few_buffers_drop_and_recover(void **state)
{
	struct rig *r = rig_new(3, &(struct rig_config){.slots = 64, .rx_buffers = 16});
	uint32_t last = 0;

	r->at[1].board.stuck = true;
	for (unsigned k = 1; k <= 300; k++)
		receive4(r, 0, 1, 100, k);
	for (unsigned k = 0; k < 400; k++) {
		rig_poll(r);
		rig_check(r);
	}
	assert_true(rig_all_drops(r, 0) > 0);
	assert_int_equal(rig_all_drops(r, 0),
		rig_drops(r, 0, P2PNIC_DROP_NO_BUFFER) + rig_drops(r, 0, P2PNIC_DROP_RING_FULL));
	r->at[1].board.stuck = false;
	rig_run(r);
	assert_int_equal(take_in_order(r, 1, 0, &last) + rig_all_drops(r, 0), 300);
	rig_check(r);
	for (unsigned k = 301; k <= 304; k++)
		receive4(r, 0, 1, 100, k);
	rig_run(r);
	assert_int_equal(take_in_order(r, 1, 0, &last), 4);
	rig_check(r);
	rig_free(r);
}

/* --- Windows without memory ------------------------------------------------------------------- */

static void messages_do_the_same(void **state)
{
	struct rig *r = rig_new(3, &(struct rig_config){.messages = true, .host = true});
	uint32_t last = 0, seed = 0;
	struct packet p;
	uint16_t flags;

	for (unsigned k = 0; k < 300; k++) {
		receive4(r, 0, 1, k * 5 % 1700, ++seed);
		if (k % 8 == 7) {
			rig_run(r);
			rig_check(r);
		}
	}
	rig_run(r);
	/* Payloads below 4 bytes carry no seed. */
	for (struct packet *got; (got = rig_sent(r, 1)); free(got))
		last++;
	assert_int_equal(last, 300);
	packet_ipv4(&p, 0, PACKET_TO(1), 1, 100, 5);
	rig_receive(r, 0, &p);
	rig_run(r);
	assert_true(rig_punted(r, 0, &p, &flags));
	assert_int_equal(packet_seed(&p), 5);
	rig_check(r);
	rig_free(r);
}

/* --- Ends of the firmware's own tables -------------------------------------------------------- */

static unsigned waiting_at(const struct rig *r, unsigned nic)
{
	return (unsigned)(rig_count(&r->at[0].counters->to_ring[nic].packets) -
			  rig_count(&r->at[nic].counters->from_ring[0].packets));
}

/* More wait than a burst takes, than may be in flight, than runs can be noted. */
static void a_take_has_limits(void **state)
{
	struct rig *r = rig_new(2, &(struct rig_config){.slots = 256, .rx_buffers = 1024});
	struct nic *egress = r->at[1].nic;
	uint32_t last = 0;

	for (unsigned k = 0; k < 200; k++)
		receive4(r, 0, 1, 100, k + 1);
	for (unsigned k = 0; k < 8; k++) {
		nic_poll(r->at[0].nic);
		rig_relay(r);
	}
	assert_int_equal(waiting_at(r, 1), 200);
	egress->in_flight = NIC_FLIGHT_MAX - 3;
	nic_poll(egress);
	assert_int_equal(waiting_at(r, 1), 197);
	egress->in_flight = NIC_FLIGHT_MAX;
	nic_poll(egress);
	assert_int_equal(waiting_at(r, 1), 197);
	egress->in_flight = 0;
	assert_int_equal(egress->run_tail, egress->run_head);
	for (unsigned k = 0; k < NIC_FLIGHT_MAX - 1; k++)
		egress->run[egress->run_tail++ % NIC_FLIGHT_MAX] =
			(struct nic_run){0, RUN_ORPHAN, 0};
	nic_poll(egress);
	assert_int_equal(waiting_at(r, 1), 197);
	nic_poll(egress); /* the runs were of no frames, and are gone */
	assert_int_equal(waiting_at(r, 1), 133);
	rig_run(r);
	assert_int_equal(take_in_order(r, 1, 0, &last), 200);
	rig_check(r);
	rig_free(r);
}

static void a_hold_has_a_limit(void **state)
{
	struct rig *r = rig_new(2, &(struct rig_config){.slots = 8, .rx_buffers = 2048});
	uint32_t last = 0;

	r->at[1].board.stuck = true;
	for (unsigned k = 0; k < 400; k++) {
		receive4(r, 0, 1, 100, k + 1);
		rig_poll(r);
	}
	assert_int_equal(r->at[0].nic->out[1].held, RING_HOLD_MAX);
	assert_true(rig_drops(r, 0, P2PNIC_DROP_RING_FULL) > 0);
	r->at[1].board.stuck = false;
	rig_run(r);
	assert_int_equal(
		take_in_order(r, 1, 0, &last) + rig_drops(r, 0, P2PNIC_DROP_RING_FULL), 400);
	rig_check(r);
	rig_free(r);
}

static void no_buffer_no_start(void **state)
{
	struct rig *r = rig_new(1, &(struct rig_config){0});
	struct nic *n = r->at[0].nic;
	uint32_t spares;

	assert_int_equal(rig_command(r, 0, P2PNIC_OP_STOP, 0), P2PNIC_OK);
	spares = n->frees;
	n->frees = 1;
	assert_int_equal(rig_command(r, 0, P2PNIC_OP_START, 0), P2PNIC_BAD_STATE);
	n->frees = spares;
	assert_int_equal(rig_command(r, 0, P2PNIC_OP_START, 0), P2PNIC_OK);
	rig_check(r);
	rig_free(r);
}

/* --- Ports that send from windows ------------------------------------------------------------- */

static void pass(struct rig *r, unsigned packets, uint32_t *seed, uint32_t *last)
{
	for (unsigned k = 0; k < packets; k++)
		receive4(r, 0, 1, 100, ++*seed);
	rig_run(r);
	assert_int_equal(take_in_order(r, 1, 0, last), packets);
	rig_check(r);
}

/* Rd: what is in reach leaves from where it lies, and nothing is fetched; what is not, is. Other
 * methods send what is in their own memory. */
static void packets_leave_from_where_they_lie(void **state)
{
	struct rig *r = rig_new(2, &(struct rig_config){.reaches = true, .slots = 64});
	const unsigned from = P2PNIC_METHOD == P2PNIC_METHOD_READ ? 100 : 0;
	struct p2pnic_counters *c = r->at[1].counters;
	struct board *b = &r->at[1].board;
	uint32_t seed = 0, last = 0;
	uint64_t fetched;

	pass(r, 100, &seed, &last);
	assert_int_equal(b->sent_from, from);
	assert_int_equal(rig_count(&c->fetched), RIG_EGRESS_READS ? 100 - from : 0);
	b->out_of_reach = true;
	pass(r, 50, &seed, &last);
	assert_int_equal(b->sent_from, from);
	fetched = rig_count(&c->fetched);
	assert_int_equal(fetched, RIG_EGRESS_READS ? 150 - from : 0);
	/* Both kinds are at the port at once. */
	b->stuck = true;
	for (unsigned k = 0; k < 32; k++) {
		receive4(r, 0, 1, 100, ++seed);
		b->out_of_reach = k / 4 & 1;
		nic_poll(r->at[0].nic);
		rig_relay(r);
		nic_poll(r->at[1].nic);
	}
	b->stuck = false;
	rig_run(r);
	assert_int_equal(take_in_order(r, 1, 0, &last), 32);
	rig_check(r);
	if (from)
		assert_int_equal(rig_count(&c->fetched), fetched + 16);
	rig_free(r);
}

/* A pair is closed while its packets are at the port: the counter says so as long as it is true,
 * and meanwhile their owner does not use their buffers (the board would see it). */
static void a_closed_pair_says_what_it_sends_still(void **state)
{
	struct rig *r = rig_new(3, &(struct rig_config){.reaches = true, .slots = 64});
	const uint64_t bit = P2PNIC_METHOD == P2PNIC_METHOD_READ ? 1 : 0;
	struct p2pnic_counters *c = r->at[1].counters;
	uint32_t seed = 0, last = 0;

	r->at[1].board.stuck = true;
	for (unsigned k = 0; k < 32; k++)
		receive4(r, 0, 1, 100, ++seed);
	for (unsigned k = 0; k < 4; k++) {
		nic_poll(r->at[0].nic);
		rig_relay(r);
		nic_poll(r->at[1].nic);
	}
	assert_int_equal(r->at[1].nic->in_flight, 32);
	assert_int_equal(rig_count(&c->sending), 0);
	rig_close(r, 0, 1);
	assert_int_equal(rig_count(&c->sending), bit);
	for (unsigned k = 0; k < 400; k++) {
		receive4(r, 0, 2, 100, k + 1);
		if (k % 16 == 15)
			rig_run(r);
	}
	rig_run(r);
	assert_int_equal(take_in_order(r, 2, 0, &last), 400);
	r->at[1].board.stuck = false;
	rig_run(r);
	assert_int_equal(rig_count(&c->sending), 0);
	last = 0;
	assert_int_equal(take_in_order(r, 1, 0, &last), 32);
	rig_open(r, 0, 1);
	seed = last;
	pass(r, 100, &seed, &last);
	rig_free(r);
}

/* Hy: short frames are written, long ones lent; one ring, one order. Without own buffers to lend
 * from, long ones are written, too. */
static void long_frames_are_lent(void **state)
{
	if (P2PNIC_METHOD != P2PNIC_METHOD_WRITE)
		return; /* there is no Hy */

	struct rig *r = rig_new(2,
		&(struct rig_config){.reaches = true, .lend_from = 500, .slots = 64, .batch = 64});
	struct p2pnic_counters *c = r->at[1].counters;
	struct board *b = &r->at[1].board;
	struct nic *n = r->at[0].nic;
	uint32_t last = 0, seed = 0, put_aside;
	unsigned lent = 0;

	for (unsigned k = 0; k < 400; k++) {
		uint32_t payload = k * 7 % 1400; /* behind headers of 42 bytes */

		lent += 42 + payload >= 500 && payload >= 4;
		receive4(r, 0, 1, payload < 4 ? 4 : payload, ++seed);
		if (k % 32 == 31) {
			rig_run(r);
			rig_check(r);
		}
	}
	rig_run(r);
	assert_int_equal(take_in_order(r, 1, 0, &last), 400);
	assert_int_equal(b->sent_from, lent);
	assert_int_equal(rig_count(&c->fetched), 0);
	b->out_of_reach = true;
	for (unsigned k = 0; k < 32; k++)
		receive4(r, 0, 1, k & 1 ? 1000 : 100, ++seed);
	rig_run(r);
	assert_int_equal(take_in_order(r, 1, 0, &last), 32);
	assert_int_equal(b->sent_from, lent);
	assert_int_equal(rig_count(&c->fetched), 16);
	b->out_of_reach = false;
	put_aside = n->frees;
	n->frees = 0;
	for (unsigned k = 0; k < 32; k++)
		receive4(r, 0, 1, 1000, ++seed);
	rig_run(r);
	n->frees += put_aside;
	assert_int_equal(take_in_order(r, 1, 0, &last), 32);
	assert_int_equal(b->sent_from, lent);
	assert_int_equal(rig_count(&c->fetched), 16);
	rig_check(r);
	rig_free(r);
}

/* A peer's descriptors name whole frames, in its own memory or in the buffers it writes to here;
 * none lies across the border. */
static void no_frame_lies_across(void **state)
{
	if (P2PNIC_METHOD != P2PNIC_METHOD_WRITE)
		return; /* there is no Hy */

	struct rig *r = rig_new(2, &(struct rig_config){.reaches = true, .lend_from = 500});
	struct ring_in *in = &r->at[1].nic->in[0];
	uint64_t word = (in->here - 50) | 100ull << 32 |
			(uint64_t)p2pnic_tag(in->epoch, in->dequeued, in->slots) << 48;

	assert_true(in->here && in->bytes > in->here);
	memcpy(&in->mailbox->descriptor[in->dequeued & (in->slots - 1)], &word, sizeof(word));
	nic_poll(r->at[1].nic);
	assert_int_equal(rig_drops(r, 1, P2PNIC_DROP_BAD_DESCRIPTOR), 1);
	assert_int_equal(r->at[1].nic->in_flight, 0);
	rig_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(frames_fit_buffers_of_every_size),
		cmocka_unit_test(updates_come_by_batch),
		cmocka_unit_test(rings_wrap),
		cmocka_unit_test(indices_wrap),
		cmocka_unit_test(a_full_ring_holds_then_drops),
		cmocka_unit_test(held_packets_keep_their_place),
		cmocka_unit_test(a_slow_egress_stops_no_other),
		cmocka_unit_test(both_ways_never_lock_up),
		cmocka_unit_test(a_full_punt_ring_drops),
		cmocka_unit_test(ports_that_fail_are_counted),
		cmocka_unit_test(slow_ports_lose_nothing),
		cmocka_unit_test(many_rings_share_a_busy_port),
		cmocka_unit_test(a_port_that_takes_few_buffers),
		cmocka_unit_test(a_port_that_refuses_to_start),
		cmocka_unit_test(few_buffers_drop_and_recover),
		cmocka_unit_test(messages_do_the_same),
		cmocka_unit_test(a_take_has_limits),
		cmocka_unit_test(a_hold_has_a_limit),
		cmocka_unit_test(no_buffer_no_start),
		cmocka_unit_test(packets_leave_from_where_they_lie),
		cmocka_unit_test(a_closed_pair_says_what_it_sends_still),
		cmocka_unit_test(long_frames_are_lent),
		cmocka_unit_test(no_frame_lies_across),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
