/* SPDX-License-Identifier: BSD-3-Clause */
/* Commands, lives of pairs, windows that vanish, and peers that lie. For each transfer method. */
#include "tests/unit/firmware_fate.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static unsigned take_sent(struct rig *r, unsigned nic)
{
	unsigned n = 0;

	for (struct packet *p; (p = rig_sent(r, nic)); n++)
		free(p);
	return n;
}

/* One packet from `ingress` to `egress` crosses. */
static void crosses(struct rig *r, unsigned ingress, unsigned egress)
{
	static uint32_t seed = 1000000;
	struct packet want, *got;

	packet_ipv4(&want, ingress, PACKET_TO(egress), 64, 77, ++seed);
	rig_receive(r, ingress, &want);
	packet_forwarded(&want, ingress, egress);
	rig_run(r);
	got = rig_sent(r, egress);
	assert_non_null(got);
	assert_int_equal(got->length, want.length);
	assert_memory_equal(got->bytes, want.bytes, want.length);
	free(got);
	assert_null(rig_sent(r, egress));
	rig_check(r);
}

static uint32_t status(struct rig *r, unsigned nic)
{
	return nic_register_read(r->at[nic].nic, P2PNIC_REG_STATUS);
}

/* What the firmware of `nic` reads as written by `peer`. */
static struct p2pnic_mailbox *mailbox(struct rig *r, unsigned nic, unsigned peer)
{
	return (struct p2pnic_mailbox *)(r->at[nic].bar2 + P2PNIC_BAR2_MAILBOXES) + peer;
}

/* Lies told in a mailbox of `nic` must not be put right by the CPU in the middle (Bn). */
static void lie_consumer(struct rig *r, unsigned nic, unsigned peer, uint64_t word)
{
	mailbox(r, nic, peer)->consumer = word;
	if (P2PNIC_METHOD == P2PNIC_METHOD_BOUNCE)
		r->relay[peer][nic]->consumer = word;
}

/* Published, in a place of the ring's first pass or of a later one, but false. */
static void lie_descriptor(
	struct rig *r, unsigned nic, unsigned peer, uint32_t index, struct p2pnic_descriptor d)
{
	const uint32_t slot = index & (r->config.slots - 1);

	d.flags |= p2pnic_tag(r->at[nic].epoch[peer], index, r->config.slots);
	mailbox(r, nic, peer)->descriptor[slot] = d;
	if (P2PNIC_METHOD == P2PNIC_METHOD_BOUNCE)
		r->relay[peer][nic]->descriptor[slot] = d;
}

/* --- Commands --------------------------------------------------------------------------------- */

static void start_and_stop(void **state)
{
	struct rig *r = rig_new(2, &(struct rig_config){0});
	struct nic *n = r->at[0].nic;

	assert_int_equal(status(r, 0), P2PNIC_STATUS_RUNNING | P2PNIC_STATUS_READY);
	assert_int_equal(rig_command(r, 0, P2PNIC_OP_START, 0), P2PNIC_BAD_STATE);
	for (unsigned k = 0; k < 100; k++) {
		receive4(r, 0, 1, 100, k);
		nic_poll(n);
		assert_int_equal(rig_command(r, 0, P2PNIC_OP_STOP, 0), P2PNIC_OK);
		assert_int_equal(rig_command(r, 0, P2PNIC_OP_STOP, 0), P2PNIC_OK);
		assert_int_equal(status(r, 0), P2PNIC_STATUS_READY);
		rig_check(r);
		/* It does not receive, but sends for others on. */
		receive4(r, 0, 1, 100, k);
		receive4(r, 1, 0, 100, k);
		rig_run(r);
		assert_int_equal(take_sent(r, 0), 1);
		assert_int_equal(take_sent(r, 1), 1);
		assert_int_equal(rig_command(r, 0, P2PNIC_OP_START, 0), P2PNIC_OK);
		rig_run(r);
		assert_int_equal(take_sent(r, 1), 1);
		rig_check(r);
	}
	assert_int_equal(rig_all_drops(r, 0) + rig_all_drops(r, 1), 0);

	/* Receive buffers that do not fit. */
	assert_int_equal(rig_command(r, 0, P2PNIC_OP_RESET, 0), P2PNIC_OK);
	static const struct {
		uint32_t offset, buffers;
	} wrong[] = {{0, 0}, {0, 1}, {0, 8193}, {0, 0xffffffff}, {1024, 64}, {0xfffff800, 64},
		{0x7fff800, 64}};
	for (unsigned k = 0; k < sizeof(wrong) / sizeof(*wrong); k++) {
		nic_register_write(n, P2PNIC_REG_RX_OFFSET, wrong[k].offset);
		nic_register_write(n, P2PNIC_REG_RX_BUFFERS, wrong[k].buffers);
		assert_int_equal(rig_command(r, 0, P2PNIC_OP_START, 0), P2PNIC_BAD_ARGUMENT);
	}
	rig_free(r);

	/* Before the first reset nothing goes. */
	r = rig_new(1, &(struct rig_config){0});
	n = r->at[0].nic;
	rig_command(r, 0, P2PNIC_OP_STOP, 0);
	r->at[0].board.buffers = 0;
	nic_init(n, &r->at[0].board, P2PNIC_METHOD, P2PNIC_BUFFER_BYTES_MIN, r->at[0].counters,
		r->at[0].bar2, RIG_BAR2_BYTES, r->at[0].bar4, r->at[0].bar4_bytes);
	assert_int_equal(rig_command(r, 0, P2PNIC_OP_START, 0), P2PNIC_BAD_STATE);
	assert_int_equal(rig_open_side(r, 0, 0, 9), P2PNIC_BAD_STATE);
	assert_int_equal(status(r, 0), 0);
	rig_free(r);
}

static void images_are_checked(void **state)
{
	struct rig *r = rig_new(2, &(struct rig_config){0});
	static const uint32_t wrong[] = {
		64, P2PNIC_BAR2_FIB - 64, P2PNIC_BAR2_FIB + 32, RIG_BAR2_BYTES, 0xffffffc0};

	for (unsigned k = 0; k < sizeof(wrong) / sizeof(*wrong); k++) {
		nic_register_write(r->at[0].nic, P2PNIC_REG_FIB4_OFFSET, wrong[k]);
		assert_int_equal(rig_command(r, 0, P2PNIC_OP_FIB_IPV4, 0), P2PNIC_BAD_ARGUMENT);
	}
	nic_register_write(r->at[0].nic, P2PNIC_REG_FIB4_OFFSET, RIG_BAR2_BYTES - 64);
	assert_int_equal(rig_command(r, 0, P2PNIC_OP_FIB_IPV4, 0), P2PNIC_BAD_IMAGE);
	nic_register_write(r->at[0].nic, P2PNIC_REG_FIB4_OFFSET, RIG_FIB6);
	assert_int_equal(rig_command(r, 0, P2PNIC_OP_FIB_IPV4, 0), P2PNIC_BAD_IMAGE);
	crosses(r, 0, 1); /* by the image in force before */
	rig_free(r);
}

static void bad_entries_open_nothing(void **state)
{
	struct rig *r = rig_new(2, &(struct rig_config){0});
	struct p2pnic_peer *entry = (struct p2pnic_peer *)(r->at[0].bar2 + P2PNIC_BAR2_PEERS) + 1;
	struct p2pnic_peer good;

	rig_close(r, 0, 1);
	assert_int_equal(rig_command(r, 0, P2PNIC_OP_PEER_CLOSE, 1), P2PNIC_BAD_STATE);
	assert_int_equal(rig_command(r, 0, P2PNIC_OP_PEER_OPEN, 68), P2PNIC_BAD_ARGUMENT);
	assert_int_equal(rig_command(r, 0, P2PNIC_OP_PEER_OPEN, 0xffffff), P2PNIC_BAD_ARGUMENT);
	assert_int_equal(rig_command(r, 0, P2PNIC_OP_PEER_CLOSE, 68), P2PNIC_BAD_ARGUMENT);
	assert_int_equal(rig_command(r, 0, P2PNIC_OP_PEER_OPEN, 0), P2PNIC_BAD_STATE);
	good = rig_entry(r, 0, 1, 50);
#define WRONG(member, value, result)                                                               \
	do {                                                                                       \
		*entry = good;                                                                     \
		entry->member = (value);                                                           \
		assert_int_equal(rig_command(r, 0, P2PNIC_OP_PEER_OPEN, 1), result);               \
	} while (0)
	WRONG(epoch, 0, P2PNIC_BAD_ARGUMENT);
	WRONG(batch, 0, P2PNIC_BAD_ARGUMENT);
	WRONG(batch, 65, P2PNIC_BAD_ARGUMENT);
	WRONG(flags, P2PNIC_PEER_CLOSED, P2PNIC_BAD_ARGUMENT);
	WRONG(flags, P2PNIC_PEER_CHECK(P2PNIC_CHECK_COUNT), P2PNIC_BAD_ARGUMENT);
	WRONG(flags, P2PNIC_PEER_CHECK(P2PNIC_CHECK_COUNT + 1), P2PNIC_BAD_ARGUMENT);
	WRONG(out_slots, 4, P2PNIC_BAD_ARGUMENT);
	WRONG(out_slots, 24, P2PNIC_BAD_ARGUMENT);
	WRONG(out_slots, 2048, P2PNIC_BAD_ARGUMENT);
	WRONG(in_slots, 0, P2PNIC_BAD_ARGUMENT);
	WRONG(in_slots, 33, P2PNIC_BAD_ARGUMENT);
	WRONG(in_slots, 0x80000000, P2PNIC_BAD_ARGUMENT);
	WRONG(mailbox.value, 0, P2PNIC_BAD_WINDOW);
	WRONG(mailbox.value, good.mailbox.value + 8, P2PNIC_BAD_WINDOW);
	WRONG(mailbox.value, UINT64_MAX - 100, P2PNIC_BAD_WINDOW);
	WRONG(doorbell.value, 4096, P2PNIC_BAD_WINDOW);
	if (P2PNIC_METHOD != P2PNIC_METHOD_READ) {
		WRONG(out_buffer_count, good.out_slots - 1, P2PNIC_BAD_ARGUMENT);
		WRONG(out_buffer_count, good.out_buffer_count + 1, P2PNIC_BAD_WINDOW);
		WRONG(out_buffer_count, UINT32_MAX, P2PNIC_BAD_WINDOW);
		WRONG(out_buffers.value, 0, P2PNIC_BAD_WINDOW);
		WRONG(out_buffers.value, good.mailbox.value, P2PNIC_BAD_WINDOW);
	}
	if (P2PNIC_METHOD == P2PNIC_METHOD_WRITE) {
		WRONG(in_offset, 1024, P2PNIC_BAD_ARGUMENT);
		WRONG(in_offset, r->at[0].bar4_bytes, P2PNIC_BAD_ARGUMENT);
		WRONG(in_buffer_count, 0x200000, P2PNIC_BAD_ARGUMENT);
		WRONG(in_buffer_count, UINT32_MAX, P2PNIC_BAD_ARGUMENT);
	} else {
		WRONG(in_buffers.value, 0, P2PNIC_BAD_WINDOW);
		WRONG(in_buffer_count, 0, P2PNIC_BAD_WINDOW);
		WRONG(in_buffer_count, UINT32_MAX, P2PNIC_BAD_WINDOW);
	}
#undef WRONG
	receive4(r, 0, 1, 100, 1);
	rig_run(r);
	assert_int_equal(rig_drops(r, 0, P2PNIC_DROP_NO_PEER), 1);
	rig_check(r);
	r->at[0].epoch[1] = r->at[1].epoch[0] = 60;
	rig_open(r, 0, 1);
	crosses(r, 0, 1);
	crosses(r, 1, 0);
	rig_free(r);
}

/* --- Lives of a pair -------------------------------------------------------------------------- */

static void closing_counts_what_it_loses(void **state)
{
	struct rig *r = rig_new(3, &(struct rig_config){.slots = 16});
	uint64_t lost;

	r->at[1].board.stuck = true;
	for (unsigned k = 0; k < 60; k++) {
		receive4(r, 0, 1, 100, k);
		nic_poll(r->at[0].nic);
		if (k == 8)
			for (unsigned j = 0; j < 3; j++)
				rig_poll(r);
	}
	rig_relay(r);
	/* Some in transmission at 1, some in the ring, some held at 0. */
	assert_int_equal(r->at[1].nic->in_flight, 9);
	assert_int_equal(r->at[0].nic->held, 60 - 16);
	rig_close(r, 0, 1);
	rig_check(r);
	assert_int_equal(rig_drops(r, 0, P2PNIC_DROP_STALE), 60 - 16);
	assert_int_equal(rig_drops(r, 1, P2PNIC_DROP_STALE), 7);
	/* Meanwhile: no peer. Other pairs go on. */
	receive4(r, 0, 1, 100, 1);
	rig_run(r);
	assert_int_equal(rig_drops(r, 0, P2PNIC_DROP_NO_PEER), 1);
	crosses(r, 0, 2);
	/* Not again before the frames of the earlier life have left. */
	assert_int_equal(rig_open_side(r, 1, 0, 100), P2PNIC_BAD_STATE);
	r->at[1].board.stuck = false;
	rig_run(r);
	assert_int_equal(take_sent(r, 1), 9);
	rig_check(r);
	rig_open(r, 0, 1);
	crosses(r, 0, 1);
	crosses(r, 1, 0);
	lost = rig_all_drops(r, 0) + rig_all_drops(r, 1);
	assert_int_equal(lost + 9, 61);
	rig_free(r);
}

/* What a peer has been told of but has not fetched is not overwritten when only one side is
 * closed. */
static void closed_on_one_side_only(void **state)
{
	struct rig *r = rig_new(3, &(struct rig_config){.slots = 16, .rx_buffers = 64});
	struct packet want, *got;

	for (unsigned k = 0; k < 10; k++)
		receive4(r, 0, 1, 100, k);
	nic_poll(r->at[0].nic);
	rig_relay(r);
	assert_int_equal(rig_command(r, 0, P2PNIC_OP_PEER_CLOSE, 1), P2PNIC_OK);
	rig_check(r);
	for (unsigned k = 0; k < 200; k++) {
		receive4(r, 0, 2, 100, 1000 + k);
		nic_poll(r->at[0].nic);
		rig_relay(r);
		nic_poll(r->at[2].nic);
		rig_relay(r);
	}
	rig_check(r);
	nic_poll(r->at[1].nic);
	for (unsigned k = 0; k < 10; k++) {
		packet_ipv4(&want, 0, PACKET_TO(1), 64, 100, k);
		packet_forwarded(&want, 0, 1);
		got = rig_sent(r, 1);
		assert_non_null(got);
		assert_memory_equal(got->bytes, want.bytes, want.length);
		free(got);
	}
	assert_int_equal(rig_command(r, 1, P2PNIC_OP_PEER_CLOSE, 0), P2PNIC_OK);
	/* Now they come back. */
	assert_int_equal(rig_command(r, 0, P2PNIC_OP_PEER_CLOSE, 1),
		P2PNIC_METHOD == P2PNIC_METHOD_READ ? P2PNIC_OK : P2PNIC_BAD_STATE);
	assert_int_equal(rig_command(r, 0, P2PNIC_OP_PEER_CLOSE, 1), P2PNIC_BAD_STATE);
	rig_check(r);
	rig_open(r, 0, 1);
	take_sent(r, 2);
	crosses(r, 0, 1);
	crosses(r, 0, 2);
	rig_free(r);
}

static void many_lives(void **state)
{
	struct rig *r = rig_new(3, &(struct rig_config){.slots = 8, .rx_buffers = 64});

	for (unsigned life = 0; life < 200; life++) {
		r->at[1].board.complete_max = 1 + life % 3;
		for (unsigned k = 0; k < life % 40; k++) {
			receive4(r, 0, 1, 100, k);
			receive4(r, 1, 0, 100, k);
			receive4(r, 1, 1, 100, k);
			if (k % 3 == 0)
				rig_poll(r);
		}
		if (life % 2)
			rig_close(r, 1, 0);
		else
			rig_close(r, 0, 1);
		if (life % 5 == 0)
			rig_close(r, 1, 1);
		rig_check(r);
		rig_run(r);
		rig_check(r);
		rig_open(r, 0, 1);
		if (life % 5 == 0)
			rig_open(r, 1, 1);
		for (unsigned nic = 0; nic < 3; nic++)
			take_sent(r, nic);
		crosses(r, 0, 1);
		crosses(r, 1, 0);
		crosses(r, 1, 1);
		crosses(r, 2, 1);
	}
	rig_free(r);
}

static void words_of_another_life_are_ignored(void **state)
{
	struct rig *r = rig_new(2, &(struct rig_config){0});
	uint32_t epoch = r->at[1].epoch[0];

	crosses(r, 0, 1);
	/* Descriptors of the life before, of the next one, of the pass before, and of none. */
	const uint16_t tag[] = {p2pnic_tag(epoch - 1, 1, 32), p2pnic_tag(epoch + 1, 1, 32),
		p2pnic_tag(epoch, 33, 32), 0};
	for (unsigned k = 0; k < sizeof(tag) / sizeof(*tag); k++) {
		mailbox(r, 1, 0)->descriptor[1] = (struct p2pnic_descriptor){0, 60, tag[k]};
		for (unsigned j = 0; j < 5; j++)
			nic_poll(r->at[1].nic);
		assert_int_equal(r->at[1].nic->in[0].dequeued, 1);
		assert_int_equal(take_sent(r, 1), 0);
	}
	crosses(r, 0, 1);
	/* A consumer word of another life frees nothing. */
	r->at[1].board.stuck = true;
	for (unsigned k = 0; k < 40; k++)
		receive4(r, 0, 1, 100, k);
	nic_poll(r->at[0].nic);
	lie_consumer(r, 0, 1, P2PNIC_RING_WORD(epoch + 1, 34));
	nic_poll(r->at[0].nic);
	assert_int_equal(r->at[0].nic->out[1].consumed + 32, r->at[0].nic->out[1].produced);
	assert_int_equal(rig_count(&r->at[0].counters->bad_words), 0);
	lie_consumer(r, 0, 1, P2PNIC_RING_WORD(epoch, 2));
	r->at[1].board.stuck = false;
	rig_run(r);
	assert_int_equal(take_sent(r, 1), 40);
	rig_check(r);
	rig_free(r);
}

/* What a full burst has left for the next one is dropped when its pair closes, however it does. */
static void pending_when_a_pair_closes(void **state)
{
	for (unsigned how = 0; how < 3; how++) {
		struct rig *r = rig_new(3, &(struct rig_config){.slots = 128, .batch = 5});

		for (unsigned k = 0; k < 64; k++)
			receive4(r, 0, k % 2 ? 1 : 2, 100, k);
		nic_poll(r->at[0].nic);
		assert_int_equal(r->at[0].nic->dirty, 2);
		if (how == 0)
			rig_command(r, 0, P2PNIC_OP_PEER_CLOSE, 1);
		else if (how == 1)
			rig_unmap(r, 0, 1);
		else
			rig_command(r, 0, P2PNIC_OP_RESET, 0);
		assert_int_equal(r->at[0].nic->dirty, how < 2);
		if (how < 2) { /* 32 packets: six batches of 5, and two left */
			assert_int_equal(rig_drops(r, 0, P2PNIC_DROP_STALE), 2);
			assert_int_equal(rig_count(&r->at[0].counters->to_ring[1].packets), 30);
		}
		rig_run(r);
		assert_int_equal(take_sent(r, 1), 30);
		assert_int_equal(take_sent(r, 2), how < 2 ? 32 : 30);
		rig_check(r);
		rig_free(r);
	}
}

static void reset_in_every_state(void **state)
{
	for (unsigned polls = 0; polls < 12; polls++) {
		struct rig *r = rig_new(3, &(struct rig_config){.slots = 8, .host = true});
		struct packet p;
		unsigned result;

		r->at[1].board.complete_max = 2;
		for (unsigned k = 0; k < 40; k++) {
			receive4(r, 0, 1, 100, k);
			receive4(r, 1, 0, 100, k);
			receive4(r, 2, 1, 100, k);
		}
		packet_ipv4(&p, 1, PACKET_TO(0), 1, 80, 1);
		rig_receive(r, 1, &p);
		for (unsigned k = 0; k < polls; k++)
			rig_poll(r);
		/* Frames in transmission: again until they are gone. */
		for (unsigned k = 0; (result = rig_command(r, 1, P2PNIC_OP_RESET, 0)) != P2PNIC_OK;
			k++) {
			assert_int_equal(result, P2PNIC_BAD_STATE);
			assert_true(r->at[1].nic->in_flight > 0);
			assert_int_equal(status(r, 1) & P2PNIC_STATUS_RUNNING, 0);
			nic_poll(r->at[1].nic);
			assert_true(k < 64);
		}
		assert_int_equal(status(r, 1), P2PNIC_STATUS_READY);
		for (size_t k = 0; k < sizeof(*r->at[1].counters); k++)
			assert_int_equal(((uint8_t *)r->at[1].counters)[k], 0);
		rig_check(r);
		rig_run(r);
		rig_check(r);
		/* Its peers' sides are closed by the driver; then it joins again. */
		rig_bring_up(r, 1);
		for (unsigned peer = 0; peer < 3; peer++) {
			if (peer != 1)
				rig_command(r, peer, P2PNIC_OP_PEER_CLOSE, 1);
			r->at[1].epoch[peer] = r->at[peer].epoch[1];
			if (peer != 1)
				rig_open(r, 1, peer);
		}
		r->at[1].epoch[1]++;
		assert_int_equal(rig_open_side(r, 1, 1, r->at[1].epoch[1]), P2PNIC_OK);
		rig_open(r, 1, P2PNIC_HOST_PEER(P2PNIC_RING_EXCEPTION));
		assert_int_equal(rig_command(r, 1, P2PNIC_OP_START, 0), P2PNIC_OK);
		rig_run(r);
		for (unsigned nic = 0; nic < 3; nic++)
			take_sent(r, nic);
		rig_check(r);
		crosses(r, 0, 1);
		crosses(r, 1, 0);
		crosses(r, 1, 1);
		crosses(r, 2, 1);
		rig_free(r);
	}
}

/* --- Windows ---------------------------------------------------------------------------------- */

static void windows_vanish(void **state)
{
	struct rig *r = rig_new(3, &(struct rig_config){.slots = 16, .host = true});

	r->at[1].board.stuck = true;
	for (unsigned k = 0; k < 30; k++)
		receive4(r, 0, 1, 100, k);
	for (unsigned k = 0; k < 3; k++)
		rig_poll(r);
	rig_unmap(r, 0, 1);
	rig_check(r);
	assert_true(rig_drops(r, 0, P2PNIC_DROP_STALE) > 0);
	receive4(r, 0, 1, 100, 99);
	for (unsigned k = 0; k < 3; k++)
		rig_poll(r);
	assert_int_equal(rig_drops(r, 0, P2PNIC_DROP_NO_PEER), 1);
	/* 1 still has its side, and answers into a mailbox that nobody reads. */
	r->at[1].board.stuck = false;
	rig_run(r);
	take_sent(r, 1);
	rig_check(r);
	crosses(r, 0, 2);
	crosses(r, 2, 0);
	/* All of them go, as when a driver's connection ends. */
	for (unsigned k = 0; k < 20; k++)
		receive4(r, 0, 2, 100, k);
	rig_poll(r);
	r->at[0].board.windows = 0;
	nic_windows_changed(r->at[0].nic);
	assert_int_equal(r->at[0].nic->open_peers, 0);
	rig_run(r);
	rig_check(r);
	assert_int_equal(rig_open_side(r, 0, 2, 77), P2PNIC_BAD_WINDOW);
	/* And come back. */
	for (unsigned peer = 0; peer < 3; peer++) {
		rig_map(r, 0, peer);
		if (peer != 0)
			assert_int_equal(rig_command(r, peer, P2PNIC_OP_PEER_CLOSE, 0), P2PNIC_OK);
		rig_open(r, 0, peer);
	}
	take_sent(r, 2);
	for (unsigned peer = 0; peer < 3; peer++) {
		crosses(r, 0, peer);
		crosses(r, peer, 0);
	}
	rig_free(r);
}

/* A window that goes without notice to the firmware is a bus that faults, not a stray access. */
static void faults_are_counted(void **state)
{
	struct rig *r = rig_new(2, &(struct rig_config){.messages = true});
	struct board *b = &r->at[P2PNIC_METHOD == P2PNIC_METHOD_WRITE ? 0 : 1].board;
	struct board_window saved[BOARD_WINDOWS];
	unsigned windows = b->windows;

	crosses(r, 0, 1);
	memcpy(saved, b->window, sizeof(saved));
	/* Packets of the other NIC: the last window of each pair. */
	for (unsigned k = 0; k < b->windows; k++)
		if ((b->window[k].bus & 0xffffffff) >= 0x10000000)
			b->window[k].bus = 0x7777000;
	for (unsigned k = 0; k < 20; k++)
		receive4(r, 0, 1, 100, k);
	rig_run(r);
	take_sent(r, 1);
	if (P2PNIC_METHOD == P2PNIC_METHOD_WRITE) {
		assert_int_equal(rig_count(&r->at[0].counters->dma_faults), 20);
	} else {
		assert_int_equal(rig_drops(r, 1, P2PNIC_DROP_DMA_FAULT), 20);
		assert_true(rig_count(&r->at[1].counters->dma_faults) >= 20);
	}
	rig_check(r);
	memcpy(b->window, saved, sizeof(saved));
	b->windows = windows;
	crosses(r, 0, 1);
	crosses(r, 1, 0);
	rig_free(r);
}

/* A packet that the bus has not brought yet holds its own ring up, and no other. */
static void a_slow_read_holds_one_ring(void **state)
{
	if (P2PNIC_METHOD == P2PNIC_METHOD_WRITE)
		return; /* it reads nothing */

	struct rig *r = rig_new(3, &(struct rig_config){0});
	struct nic *n = r->at[1].nic;

	n->board->slow_bus = n->in[0].packets.bus.value;
	receive4(r, 0, 1, 100, 1);
	receive4(r, 0, 1, 100, 2);
	rig_run(r);
	assert_int_equal(rig_count(&r->at[1].counters->sent.packets), 0);
	crosses(r, 2, 1);
	/* It looks again soon, and says to nobody that it sleeps. */
	assert_int_equal(nic_arm(n), NIC_WAITING);
	rig_relay(r);
	assert_int_equal(*r->at[2].nic->out[1].asleep, 0);
	nic_disarm(n);
	receive4(r, 1, 0, 100, 3);
	assert_int_equal(nic_arm(n), NIC_BUSY); /* its port has something */
	nic_disarm(n);
	n->board->slow_bus = 0;
	rig_run(r);
	assert_int_equal(rig_count(&r->at[1].counters->sent.packets), 3);
	assert_int_equal(rig_drops(r, 1, P2PNIC_DROP_DMA_FAULT), 0);
	rig_check(r);
	rig_free(r);
}

/* --- Peers that lie --------------------------------------------------------------------------- */

/* A peer that publishes on and on gets no more taken than its ring has slots. */
static void a_peer_that_overruns_its_ring(void **state)
{
	struct rig *r = rig_new(3, &(struct rig_config){0});
	struct p2pnic_descriptor d = {0, 60, 0};
	const struct ring_in *in = &r->at[1].nic->in[0];

	crosses(r, 0, 1);
	r->at[1].board.stuck = r->at[1].board.frames_change = true;
	for (unsigned k = 0; k < 100; k++) {
		lie_descriptor(r, 1, 0, 1 + k, d);
		nic_poll(r->at[1].nic);
	}
	assert_int_equal(in->dequeued - in->completed, 32);
	assert_int_equal(r->at[1].nic->in_flight, 32);
	assert_int_equal(nic_arm(r->at[1].nic), NIC_WAITING);
	nic_disarm(r->at[1].nic);
	rig_relay(r);
	r->at[1].board.stuck = false;
	for (unsigned k = 0; k < 5; k++)
		nic_poll(r->at[1].nic);
	take_sent(r, 1);
	/* Other rings, the other direction too. */
	crosses(r, 2, 1);
	crosses(r, 1, 0);
	rig_close(r, 0, 1);
	rig_open(r, 0, 1);
	crosses(r, 0, 1);
	rig_free(r);
}

static void bad_descriptors_of(uint32_t buffer_bytes)
{
	struct rig *r = rig_new(2, &(struct rig_config){.slots = 32, .buffer_bytes = buffer_bytes});
	const uint16_t longest = (uint16_t)P2PNIC_FRAME_BYTES_MAX(buffer_bytes);
	const struct ring_in *in = &r->at[1].nic->in[0];
	uint32_t bytes = (uint32_t)in->bytes;
	const struct p2pnic_descriptor wrong[] = {
		{0, 0, 0},
		{0, 13, 0},
		{0, (uint16_t)(longest + 1), 0},
		{0, 65535, 0},
		{bytes, 60, 0},
		{bytes - 59, 60, 0},
		{0xffffffff, 60, 0},
		{0xffffffc5, 60, 0}, /* offset + length wraps to 1 in 32 bits */
		{0x80000000, longest, 0},
	};
	const unsigned n = sizeof(wrong) / sizeof(*wrong);
	unsigned bad = 0;

	for (unsigned round = 0; round < 12; round++) {
		uint32_t at = in->dequeued;
		unsigned good = 0;

		/* Between good ones, at all places of a burst. */
		for (unsigned k = 0; k < 8; k++)
			receive4(r, 0, 1, 100, k);
		nic_poll(r->at[0].nic);
		rig_relay(r);
		for (unsigned k = 0; k < 8; k++)
			if (round >> (k % 4) & 1)
				lie_descriptor(r, 1, 0, at + k, wrong[bad++ % n]);
			else
				good++;
		rig_run(r);
		assert_int_equal(take_sent(r, 1), good);
		assert_int_equal(rig_drops(r, 1, P2PNIC_DROP_BAD_DESCRIPTOR), bad);
		assert_int_equal(in->completed, in->dequeued);
		/* The peer gets all of its slots back. */
		assert_int_equal(P2PNIC_RING_INDEX(mailbox(r, 0, 1)->consumer),
			r->at[0].nic->out[1].produced);
		rig_check(r);
	}
	crosses(r, 0, 1);
	rig_free(r);
}

static void bad_descriptors_are_counted_and_passed_over(void **state)
{
	static const uint32_t size[] = {P2PNIC_BUFFER_SIZES};

	for (unsigned k = 0; k < 3; k++)
		bad_descriptors_of(size[k]);
}

/* Bad ones while the port is slow: completions keep their order. */
static void bad_descriptors_at_a_slow_port(void **state)
{
	struct rig *r = rig_new(2, &(struct rig_config){.slots = 32});
	unsigned bad = 0, sent = 0, given = 0;

	r->at[1].board.transmit_room = 3;
	r->at[1].board.complete_max = 1;
	for (unsigned round = 0; round < 300; round++) {
		const struct ring_in *in = &r->at[1].nic->in[0];
		uint32_t before = r->at[0].nic->out[1].produced;

		if (before - in->completed < 24) {
			receive4(r, 0, 1, 100, round);
			receive4(r, 0, 1, 100, round);
			given += 2;
			nic_poll(r->at[0].nic);
			rig_relay(r);
			if (round % 3 == 0) {
				lie_descriptor(r, 1, 0, before,
					(struct p2pnic_descriptor){0xfffffff0, 100, 0});
				bad++;
			}
		}
		nic_poll(r->at[1].nic);
		rig_relay(r);
		sent += take_sent(r, 1);
		/* What the peer may use again is never more than what is done with. */
		assert_true(in->completed <= sent + bad);
		rig_check(r);
	}
	rig_run(r);
	sent += take_sent(r, 1);
	assert_int_equal(rig_drops(r, 1, P2PNIC_DROP_BAD_DESCRIPTOR), bad);
	assert_int_equal(sent + bad, given);
	rig_check(r);
	rig_free(r);
}

static void a_wrong_consumer_closes_its_direction_only(void **state)
{
	static const uint32_t off[] = {1, 2, 33, 0x80000000, 0xffffffd0};

	for (unsigned k = 0; k < sizeof(off) / sizeof(*off); k++) {
		struct rig *r = rig_new(3, &(struct rig_config){0});
		uint32_t epoch = r->at[0].epoch[1];
		unsigned before;

		crosses(r, 0, 1);
		/* Fill the ring, then lie. */
		r->at[1].board.stuck = true;
		for (unsigned j = 0; j < 40; j++)
			receive4(r, 0, 1, 100, j);
		for (unsigned j = 0; j < 3; j++)
			nic_poll(r->at[0].nic);
		assert_int_equal(r->at[0].nic->held, 8);
		lie_consumer(
			r, 0, 1, P2PNIC_RING_WORD(epoch, r->at[0].nic->out[1].published + off[k]));
		nic_poll(r->at[0].nic);
		assert_int_equal(rig_count(&r->at[0].counters->bad_words), 1);
		assert_int_equal(rig_drops(r, 0, P2PNIC_DROP_STALE), 8);
		receive4(r, 0, 1, 100, 1);
		nic_poll(r->at[0].nic);
		assert_int_equal(rig_drops(r, 0, P2PNIC_DROP_NO_PEER), 1);
		rig_check(r);
		r->at[1].board.stuck = false;
		rig_run(r);
		before = take_sent(r, 1);
		assert_true(before <= 32);
		crosses(r, 1, 0);
		crosses(r, 2, 1);
		crosses(r, 0, 2);
		rig_close(r, 0, 1);
		rig_open(r, 0, 1);
		crosses(r, 0, 1);
		rig_free(r);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(start_and_stop),
		cmocka_unit_test(images_are_checked),
		cmocka_unit_test(bad_entries_open_nothing),
		cmocka_unit_test(closing_counts_what_it_loses),
		cmocka_unit_test(closed_on_one_side_only),
		cmocka_unit_test(many_lives),
		cmocka_unit_test(words_of_another_life_are_ignored),
		cmocka_unit_test(pending_when_a_pair_closes),
		cmocka_unit_test(reset_in_every_state),
		cmocka_unit_test(windows_vanish),
		cmocka_unit_test(faults_are_counted),
		cmocka_unit_test(a_slow_read_holds_one_ring),
		cmocka_unit_test(a_peer_that_overruns_its_ring),
		cmocka_unit_test(bad_descriptors_are_counted_and_passed_over),
		cmocka_unit_test(bad_descriptors_at_a_slow_port),
		cmocka_unit_test(a_wrong_consumer_closes_its_direction_only),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
