/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Transfers that fail (p2pnic/ring.h, "Check"): lost, in part, answered with something else. No
 * frame of an earlier packet is ever sent: take_in_order would see its seed. For each transfer
 * method.
 */
#include "tests/unit/firmware_fate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "firmware/kernel.h"
#include "firmware/x86.h"

#define RD (P2PNIC_METHOD == P2PNIC_METHOD_READ)

/* The words as ring.h says them, a bit at a time. */
static uint32_t twin_crc(uint32_t crc, const uint8_t *data, uint32_t bytes)
{
	crc = ~crc;
	for (uint32_t bit = 0; bit < 8 * bytes; bit++) {
		bool one = (crc ^ data[bit / 8] >> bit % 8) & 1;

		crc = crc >> 1 ^ (one ? 0x82f63b78 : 0);
	}
	return ~crc;
}

static uint32_t twin_word(
	unsigned check, uint32_t epoch, uint32_t index, const uint8_t *frame, uint32_t length)
{
	uint32_t stamp = (uint32_t)(epoch * 2654435761ull + index);

	return check == P2PNIC_CHECK_CRC ? twin_crc(stamp, frame, length) : stamp;
}

/* --- CRC32C ----------------------------------------------------------------------------------- */

typedef uint32_t crc_function(uint32_t crc, const uint8_t *data, uint32_t bytes);

/* RFC 3720, B.4; and the check value that catalogues of CRCs give. */
static void known_sums(crc_function *crc)
{
	static const uint8_t read_command[48] = {0x01, 0xc0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
		0, 0x14, 0, 0, 0, 0, 0, 0x04, 0, 0, 0, 0, 0x14, 0, 0, 0, 0x18, 0x28, 0, 0, 0, 0, 0,
		0, 0, 0x02};
	uint8_t data[32] = {0};

	assert_int_equal(crc(0, data, 0), 0);
	assert_int_equal(crc(0, (const uint8_t *)"123456789", 9), 0xe3069283);
	assert_int_equal(crc(0, data, sizeof(data)), 0x8a9136aa);
	memset(data, 0xff, sizeof(data));
	assert_int_equal(crc(0, data, sizeof(data)), 0x62a8ab43);
	for (unsigned k = 0; k < sizeof(data); k++)
		data[k] = (uint8_t)k;
	assert_int_equal(crc(0, data, sizeof(data)), 0x46dd794e);
	for (unsigned k = 0; k < sizeof(data); k++)
		data[k] = (uint8_t)(31 - k);
	assert_int_equal(crc(0, data, sizeof(data)), 0x113fdb5c);
	assert_int_equal(crc(0, read_command, sizeof(read_command)), 0xd9963a56);
}

static void sums_as_the_twin(crc_function *crc)
{
	static uint8_t data[P2PNIC_BUFFER_BYTES_MAX + 64];
	uint32_t random = 1;

	for (unsigned k = 0; k < sizeof(data); k++) {
		random = random * 1664525 + 1013904223;
		data[k] = (uint8_t)(random >> 24);
	}
	for (uint32_t bytes = 0; bytes < 1200; bytes++) {
		const uint8_t *at = data + bytes * 7 % 64;
		uint32_t sum = twin_crc(random, at, bytes);

		assert_int_equal(crc(random, at, bytes), sum);
		/* In two pieces. */
		assert_int_equal(
			crc(crc(random, at, bytes / 3), at + bytes / 3, bytes - bytes / 3), sum);
		random = random * 1664525 + 1013904223;
	}
	for (uint32_t bytes = P2PNIC_BUFFER_BYTES_MAX; bytes > 1200; bytes -= bytes / 5)
		assert_int_equal(crc(bytes, data, bytes), twin_crc(bytes, data, bytes));
}

static void sums(void **state)
{
	known_sums(twin_crc);
	known_sums(kernel_scalar.crc);
	sums_as_the_twin(kernel_scalar.crc);
	known_sums(kernel_best()->crc);
	sums_as_the_twin(kernel_best()->crc);
#ifdef __x86_64__
	if (x86_has_crc()) {
		known_sums(crc32c_x86);
		sums_as_the_twin(crc32c_x86);
	}
#endif
}

/* --- Words ------------------------------------------------------------------------------------ */

/* The frame with that index in the ring from 0 to 1, and its descriptor. */
static const uint8_t *written(
	const struct rig *r, uint32_t index, struct p2pnic_descriptor *descriptor)
{
	const struct p2pnic_mailbox *m =
		P2PNIC_METHOD == P2PNIC_METHOD_BOUNCE
			? r->relay[0][1]
			: (const struct p2pnic_mailbox *)(r->at[1].bar2 + P2PNIC_BAR2_MAILBOXES);

	*descriptor = m->descriptor[index & (r->config.slots - 1)];
	return descriptor->offset + (P2PNIC_METHOD == P2PNIC_METHOD_BOUNCE ? r->bounce[0][1]
					    : RD                           ? r->at[0].bar4
						 : r->at[1].bar4 + rig_entry(r, 1, 0, 1).in_offset);
}

/* A frame of that length, in memory as the twin says, then on the wire. */
static void one_of_length(struct rig *r, uint32_t length)
{
	const uint32_t epoch = r->at[0].epoch[1], index = r->at[0].nic->out[1].produced;
	struct p2pnic_descriptor d;
	uint32_t last = 0, word;

	receive4(r, 0, 1, length - 42, index + 1);
	nic_poll(r->at[0].nic);
	const uint8_t *frame = written(r, index, &d);

	assert_int_equal(d.length, length);
	memcpy(&word, frame + (length + 3) / 4 * 4, sizeof(word));
	assert_int_equal(word, twin_word(r->config.check, epoch, index, frame, length));
	rig_run(r);
	assert_int_equal(take_in_order(r, 1, 0, &last), 1);
}

static void words_of_every_length(void **state)
{
	static const uint32_t size[] = {P2PNIC_BUFFER_SIZES};

	for (unsigned check = P2PNIC_CHECK_STAMP; check <= P2PNIC_CHECK_CRC; check++)
		for (unsigned k = 0; k < 6; k++) {
			const uint32_t longest =
				P2PNIC_FRAME_BYTES_MAX(size[k % 3]) - P2PNIC_CHECK_BYTES;
			struct rig *r = rig_new(2, &(struct rig_config){.check = check,
							   .buffer_bytes = size[k % 3],
							   .messages = k >= 3});

			for (uint32_t length = 46; length < 330; length++)
				one_of_length(r, length);
			for (uint32_t length = 1000; length < 1100; length++)
				one_of_length(r, length);
			for (uint32_t length = longest - 70; length <= longest; length++)
				one_of_length(r, length);
			assert_int_equal(rig_all_drops(r, 0) + rig_all_drops(r, 1), 0);
			/* One that leaves no room for its word is refused. */
			receive4(r, 0, 1, longest + 1 - 42, 1);
			receive4(r, 0, 1, longest + P2PNIC_CHECK_BYTES - 42, 2);
			rig_run(r);
			assert_int_equal(rig_drops(r, 1, P2PNIC_DROP_BAD_DESCRIPTOR), 2);
			assert_null(rig_sent(r, 1));
			one_of_length(r, 60);
			rig_check(r);
			rig_free(r);
		}
}

/* Every buffer of the ring in use, wrapped, a slow port, packets held. */
static void words_of_held_frames(void **state)
{
	for (unsigned check = P2PNIC_CHECK_STAMP; check <= P2PNIC_CHECK_CRC; check++)
		for (unsigned messages = 0; messages < 2; messages++) {
			struct rig *r = rig_new(2, &(struct rig_config){
							   .check = check,
							   .slots = 8,
							   .messages = messages,
						   });
			uint32_t last = 0, held = 0, got = 0;

			r->at[1].board.transmit_room = 3;
			r->at[1].board.complete_max = 1;
			for (unsigned k = 0; k < 60; k++)
				receive4(r, 0, 1, 4 + k * 29 % 1600, k + 1);
			for (unsigned k = 0; k < 400; k++) {
				rig_poll(r);
				held |= r->at[0].nic->held;
			}
			got = take_in_order(r, 1, 0, &last);
			assert_int_equal(got, 60);
			assert_true(held > 0);
			assert_int_equal(rig_all_drops(r, 0) + rig_all_drops(r, 1), 0);
			rig_check(r);
			rig_free(r);
		}
}

/* Indices run over 32 bits: begun shortly before the end. */
static void words_when_indices_wrap(void **state)
{
	for (unsigned check = P2PNIC_CHECK_STAMP; check <= P2PNIC_CHECK_CRC; check++) {
		struct rig *r = rig_new(2, &(struct rig_config){.slots = 16, .check = check});

		rig_near_wrap(r, 0, 1);
		for (uint32_t k = 0; k < 100; k++) {
			uint32_t last = 0;

			receive4(r, 0, 1, 100, k + 1);
			rig_run(r);
			assert_int_equal(take_in_order(r, 1, 0, &last), 1);
		}
		assert_int_equal(r->at[0].nic->out[1].produced, 84);
		assert_int_equal(rig_all_drops(r, 1), 0);
		rig_free(r);
	}
}

/* --- Failures --------------------------------------------------------------------------------- */

/* A rig whose buffers in 1, all of them, hold earlier packets: seeds that rise no more. */
static struct rig *used(unsigned check, bool messages)
{
	struct rig *r =
		rig_new(3, &(struct rig_config){.slots = 16, .check = check, .messages = messages});
	uint32_t last = 0;

	for (unsigned round = 0; round < 4; round++) {
		r->at[1].board.stuck = true;
		for (unsigned k = 0; k < 16; k++)
			receive4(r, 0, 1, 300, 1 + round * 16 + k);
		rig_run(r);
		r->at[1].board.stuck = false;
		rig_run(r);
	}
	assert_int_equal(take_in_order(r, 1, 0, &last), 64);
	return r;
}

/* One write in five is lost: its frame is dropped, by name; the others leave in their order. */
static void lost_writes(void **state)
{
	for (unsigned k = 0; k < 4; k++) {
		struct rig *r = used(k % 2 ? P2PNIC_CHECK_CRC : P2PNIC_CHECK_STAMP, k >= 2);
		uint32_t last = 64, n = 30;

		r->at[0].board.write_fails = 5;
		for (uint32_t j = 0; j < n; j++)
			receive4(r, 0, 1, 300, 100 + j);
		rig_run(r);
		assert_int_equal(rig_drops(r, 1, P2PNIC_DROP_BAD_TRANSFER), n / 5);
		assert_int_equal(r->at[0].board.failed_writes, n / 5);
		assert_int_equal(take_in_order(r, 1, 0, &last), n - n / 5);
		assert_int_equal(rig_count(&r->at[1].counters->given_up), 0);
		/* Their buffers are free again: as many as there were. */
		rig_check(r);
		ring_out_reclaim(r->at[0].nic, &r->at[0].nic->out[1]);
		assert_int_equal(r->at[0].nic->out[1].consumed, r->at[0].nic->out[1].produced);
		rig_free(r);
	}
}

/* What sends wrong bytes without a check. The test sees it, so it would see it with one. */
static void without_a_check_they_are_sent(void **state)
{
	struct rig *r = used(P2PNIC_CHECK_NONE, false);
	struct packet *stale;

	r->at[0].board.write_fails = 1;
	receive4(r, 0, 1, 300, 100);
	rig_run(r);
	stale = rig_sent(r, 1);
	assert_non_null(stale);
	assert_true(packet_seed(stale) <= 64);
	assert_int_equal(rig_all_drops(r, 1), 0);
	free(stale);
	rig_free(r);
}

/* The first bytes arrive. Behind them nothing does: both find it. Or the end does as well: only a
 * sum finds that, and a stamp does not claim to. */
static void writes_in_part(void **state)
{
	for (unsigned check = P2PNIC_CHECK_STAMP; check <= P2PNIC_CHECK_CRC; check++)
		for (unsigned tail = 0; tail < 2; tail++)
			for (uint32_t part = 0; part < 342; part += 19) {
				struct rig *r = used(check, false);
				const bool found = check == P2PNIC_CHECK_CRC || !tail;
				struct packet *got;

				r->at[0].board.write_fails = 1;
				r->at[0].board.write_part = part;
				r->at[0].board.write_tail = tail;
				receive4(r, 0, 1, 300, 100);
				rig_run(r);
				got = rig_sent(r, 1);
				assert_int_equal(!got, found);
				assert_int_equal(rig_drops(r, 1, P2PNIC_DROP_BAD_TRANSFER), found);
				free(got);
				rig_check(r);
				rig_free(r);
			}
}

/* --- Giving a pair up ------------------------------------------------------------------------- */

static void both_ways(struct rig *r, unsigned a, unsigned b)
{
	const unsigned from[] = {a, b};

	for (unsigned k = 0; k < 2; k++) {
		uint32_t last = 0;

		receive4(r, from[k], from[1 - k], 80, 7);
		rig_run(r);
		assert_int_equal(take_in_order(r, from[1 - k], from[k], &last), 1);
	}
	rig_check(r);
}

/* As the driver does: both sides are closed, whatever they answer; and with Rd given back. */
static void reopen(struct rig *r, unsigned a, unsigned b)
{
	for (unsigned twice = 0; twice < 2; twice++) {
		rig_command(r, a, P2PNIC_OP_PEER_CLOSE, b);
		rig_command(r, b, P2PNIC_OP_PEER_CLOSE, a);
	}
	rig_open(r, a, b);
}

/* Breaks all transfers from 0 to 1, or mends them. */
static void breaks(struct rig *r, bool broken)
{
	if (RIG_INGRESS_WRITES)
		r->at[0].board.write_fails = broken;
	else
		r->at[1].board.read_turned = broken ? rig_entry(r, 1, 0, 1).in_buffers.value : 0;
}

static void a_pair_is_given_up(void **state)
{
	for (unsigned k = 0; k < 4; k++) {
		struct rig *r = used(k % 2 ? P2PNIC_CHECK_CRC : P2PNIC_CHECK_STAMP, k >= 2);
		uint64_t no_peer = rig_drops(r, 0, P2PNIC_DROP_NO_PEER);

		for (unsigned life = 0; life < 5; life++) {
			breaks(r, true);
			for (unsigned j = 0; j < 12; j++)
				receive4(r, 0, 1, 300, 200 + j);
			rig_run(r);
			assert_int_equal(rig_drops(r, 1, P2PNIC_DROP_BAD_TRANSFER),
				RING_FAILURES_MAX * (life + 1));
			assert_null(rig_sent(r, 1));
			assert_int_equal(rig_count(&r->at[1].counters->given_up), 1);
			assert_int_equal(rig_count(&r->at[0].counters->given_up), 0);
			/* Nothing of it waits for anybody: the other side knows, and drops. */
			breaks(r, false);
			for (unsigned j = 0; j < 100; j++)
				receive4(r, 0, 1, 300, 300 + j);
			rig_run(r);
			assert_null(rig_sent(r, 1));
			/* But for what was in the ring before it looked. */
			assert_in_range(rig_drops(r, 0, P2PNIC_DROP_NO_PEER) - no_peer, 84, 100);
			no_peer = rig_drops(r, 0, P2PNIC_DROP_NO_PEER);
			assert_int_equal(r->at[0].nic->held, 0);
			receive4(r, 1, 0, 300, 1);
			rig_run(r);
			assert_int_equal(rig_drops(r, 1, P2PNIC_DROP_NO_PEER), life + 1);
			rig_check(r);
			/* Others go on, and those two again after the driver has seen to it. */
			both_ways(r, 0, 2);
			both_ways(r, 2, 1);
			reopen(r, 0, 1);
			assert_int_equal(rig_count(&r->at[1].counters->given_up), 0);
			both_ways(r, 0, 1);
			assert_int_equal(rig_drops(r, 0, P2PNIC_DROP_LINK_DOWN), 0);
		}
		/* What was taken is what was given, of that ring too. */
		assert_int_equal(rig_count(&r->at[0].counters->to_ring[1].packets),
			rig_count(&r->at[1].counters->from_ring[0].packets));
		rig_free(r);
	}
}

/* Seven of many thousand are no reason, however often. */
static void failures_far_apart(void **state)
{
	struct rig *r = used(P2PNIC_CHECK_STAMP, false);
	struct ring_in *in = &r->at[1].nic->in[0];
	uint32_t seed = 64, last = 64, failures = 0;

	for (unsigned round = 0; round < 3; round++) {
		for (unsigned k = 0; k < RING_FAILURES_MAX - 1; k++, failures++) {
			breaks(r, true);
			receive4(r, 0, 1, 300, ++seed);
			rig_run(r);
			breaks(r, false);
			receive4(r, 0, 1, 300, ++seed);
			rig_run(r);
		}
		assert_int_equal(rig_drops(r, 1, P2PNIC_DROP_BAD_TRANSFER), failures);
		assert_int_equal(rig_count(&r->at[1].counters->given_up), 0);
		/* As if so many frames had come since. */
		in->failed_from -= RING_FAILURES_OF;
	}
	take_in_order(r, 1, 0, &last);
	assert_int_equal(last, seed);
	rig_check(r);
	rig_free(r);
}

/* What an earlier life left in all buffers is not taken for news: its stamps are of that life. */
static void words_of_an_earlier_life(void **state)
{
	for (unsigned check = P2PNIC_CHECK_STAMP; check <= P2PNIC_CHECK_CRC; check++) {
		struct rig *r = used(check, false);

		for (unsigned life = 0; life < 3; life++) {
			reopen(r, 0, 1);
			/* The same buffers in the same order from index 0, and nothing arrives. */
			breaks(r, true);
			for (unsigned k = 0; k < RING_FAILURES_MAX; k++)
				receive4(r, 0, 1, 300, 1 + k);
			rig_run(r);
			breaks(r, false);
			assert_null(rig_sent(r, 1));
		}
		rig_check(r);
		rig_free(r);
	}
}

/* Reads that fault are failures of the pair, too; without a check they only cost their packets. */
static void reads_that_fault(void **state)
{
	for (unsigned check = 0; check < P2PNIC_CHECK_COUNT; check++) {
		struct rig *r = rig_new(3, &(struct rig_config){.messages = true, .check = check});
		struct board *b = &r->at[1].board;
		const uint64_t bus = rig_entry(r, 1, 0, 1).in_buffers.value;

		for (unsigned k = 0; k < b->windows; k++)
			if (b->window[k].bus == bus)
				b->window[k].bus = 0x7777000;
		for (unsigned k = 0; k < 20; k++)
			receive4(r, 0, 1, 100, 1 + k);
		rig_run(r);
		assert_null(rig_sent(r, 1));
		assert_int_equal(
			rig_drops(r, 1, P2PNIC_DROP_DMA_FAULT), check ? RING_FAILURES_MAX : 20);
		assert_int_equal(rig_count(&r->at[1].counters->given_up), check ? 1 : 0);
		rig_check(r);
		both_ways(r, 0, 2);
		both_ways(r, 1, 2);
		rig_free(r);
	}
}

/* Rd: a NIC that has given a pair up keeps what its peer may read until both sides are closed. */
static void lent_buffers_stay(void **state)
{
	struct rig *r = used(P2PNIC_CHECK_STAMP, false);
	uint32_t frees;

	/* 1 lends to 0, whose port is stuck; then it fails to read from 0. */
	r->at[0].board.stuck = true;
	for (unsigned k = 0; k < 5; k++)
		receive4(r, 1, 0, 300, 1 + k);
	rig_run(r);
	breaks(r, true);
	for (unsigned k = 0; k < 12; k++)
		receive4(r, 0, 1, 300, 200 + k);
	rig_run(r);
	assert_int_equal(rig_count(&r->at[1].counters->given_up), 1);
	frees = r->at[1].nic->frees;
	assert_int_equal(rig_command(r, 1, P2PNIC_OP_PEER_CLOSE, 0), P2PNIC_BAD_STATE);
	assert_int_equal(r->at[1].nic->frees, frees);
	assert_int_equal(rig_command(r, 1, P2PNIC_OP_PEER_CLOSE, 0), P2PNIC_OK);
	assert_int_equal(r->at[1].nic->frees, frees + 5);
	rig_check(r);
	rig_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sums),
		cmocka_unit_test(words_of_every_length),
		cmocka_unit_test(words_of_held_frames),
		cmocka_unit_test(words_when_indices_wrap),
		cmocka_unit_test(a_pair_is_given_up),
		cmocka_unit_test(failures_far_apart),
		cmocka_unit_test(words_of_an_earlier_life),
	};
	/* What a method can do wrong depends on who of the pair moves the bytes. */
	const struct CMUnitTest ingress_writes[] = {
		cmocka_unit_test(lost_writes),
		cmocka_unit_test(without_a_check_they_are_sent),
		cmocka_unit_test(writes_in_part),
	};
	const struct CMUnitTest egress_reads[] = {
		cmocka_unit_test(reads_that_fault),
	};
	const struct CMUnitTest ingress_lends[] = {
		cmocka_unit_test(lent_buffers_stay),
	};
	int failed = cmocka_run_group_tests(tests, NULL, NULL);

	if (RIG_INGRESS_WRITES)
		failed += cmocka_run_group_tests(ingress_writes, NULL, NULL);
	if (RIG_EGRESS_READS)
		failed += cmocka_run_group_tests(egress_reads, NULL, NULL);
	if (RD)
		failed += cmocka_run_group_tests(ingress_lends, NULL, NULL);
	return failed;
}
