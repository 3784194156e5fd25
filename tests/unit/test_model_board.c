/* SPDX-License-Identifier: BSD-3-Clause */
/* The firmware on the board in virtual time: which DMA accesses a packet costs, by method. */
#include "model/board.h"

#include "fib/fib_image.h"
#include "firmware/header.h"

// clang-format off
#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
// clang-format on
#include <stdlib.h>
#include <string.h>

#define RX_BUFFERS   1024u
#define SLOTS        256u
#define BUFFER_BYTES P2PNIC_BUFFER_BYTES_MIN
#define BAR4_BYTES   P2PNIC_BAR4_BYTES_MIN
#define BATCH        8u

struct machine {
	struct nic nic;
	struct board board;
	struct p2pnic_counters counters;
	uint8_t *bar2;
};

static void make(struct machine *m, unsigned method)
{
	m->bar2 = aligned_alloc(4096, P2PNIC_BAR2_BYTES_MIN);
	m->board.packets = aligned_alloc(4096, BAR4_BYTES);
	assert_true(m->bar2 && m->board.packets);
	memset(m->bar2, 0, P2PNIC_BAR2_BYTES_MIN);
	memset(m->board.packets, 0, BAR4_BYTES);
	nic_init(&m->nic, &m->board, method, BUFFER_BYTES, &m->counters, m->bar2,
		P2PNIC_BAR2_BYTES_MIN, m->board.packets, BAR4_BYTES);
	nic_set_port(&m->nic, true, 0, 0);
	nic_register_write(&m->nic, P2PNIC_REG_COMMAND, P2PNIC_OP_RESET);
	nic_register_write(&m->nic, P2PNIC_REG_RX_BUFFERS, RX_BUFFERS);
}

static void join(struct machine *m, unsigned index, struct machine *peer, unsigned method)
{
	const unsigned other = 1 - index;
	const uint64_t mailbox = 1ull << 34, packets = 1ull << 35;
	struct p2pnic_peer *entry = (struct p2pnic_peer *)(m->bar2 + P2PNIC_BAR2_PEERS) + other;

	model_board_window(&m->board, mailbox, peer->bar2 + index * sizeof(struct p2pnic_mailbox),
		sizeof(struct p2pnic_mailbox));
	model_board_window(&m->board, packets, peer->board.packets, BAR4_BYTES);
	*entry = (struct p2pnic_peer){.epoch = 1,
		.batch = BATCH,
		.mailbox = {mailbox},
		.out_buffers = {packets + (RX_BUFFERS + index * SLOTS) * BUFFER_BYTES},
		.out_buffer_count = SLOTS,
		.out_slots = SLOTS,
		.in_buffers = {packets},
		.in_offset = (RX_BUFFERS + other * SLOTS) * BUFFER_BYTES,
		.in_buffer_count = method == P2PNIC_METHOD_WRITE ? SLOTS : RX_BUFFERS,
		.in_slots = SLOTS};
	nic_register_write(&m->nic, P2PNIC_REG_COMMAND, P2PNIC_COMMAND(P2PNIC_OP_PEER_OPEN, other));
	assert_int_equal(m->nic.result, P2PNIC_OK);
}

/* A router of two NICs with one neighbour, 198.18.1.2, behind the second. */
static void load(struct machine *m)
{
	const struct fib_config config = {4, P2PNIC_FIB_LINE_TRIE, 4 << 20};
	const struct fib_route route = fib_route4(0xc6120102, 32, 1);
	struct error error = {""};
	struct fib *fib = fib_new(&config, &error);

	assert_non_null(fib);
	assert_int_equal(fib_build(fib, &route, 1, &error), 0);
	fib_image_write(fib, m->bar2 + P2PNIC_BAR2_FIB);
	fib_free(fib);
	((p2pnic_next_hop *)(m->bar2 + P2PNIC_BAR2_NEXT_HOPS))[1] = P2PNIC_NEXT_HOP(1, 0);
	((struct p2pnic_adjacency *)(m->bar2 + P2PNIC_BAR2_ADJACENCIES))[1] =
		(struct p2pnic_adjacency){.mtu = (uint16_t)P2PNIC_MTU_MAX(BUFFER_BYTES),
			.kind = P2PNIC_ADJACENCY_FORWARD,
			.egress = 1};
	nic_register_write(&m->nic, P2PNIC_REG_MAC_LOW, 2);
	nic_register_write(&m->nic, P2PNIC_REG_MAC_HIGH, 0);
	nic_register_write(&m->nic, P2PNIC_REG_FIB4_OFFSET, P2PNIC_BAR2_FIB);
	nic_register_write(&m->nic, P2PNIC_REG_COMMAND, P2PNIC_OP_FIB_IPV4);
	nic_register_write(&m->nic, P2PNIC_REG_COMMAND, P2PNIC_OP_START);
}

static void fill(struct machine *m, unsigned length)
{
	const uint8_t header[34] = {2, 0, 0, 0, 0, 0, 2, 0, 0, 0, 1, 0, 8, 0, 0x45, 0,
		(uint8_t)((length - 14) >> 8), (uint8_t)(length - 14), 0, 0, 0, 0, 64, 17, 0, 0,
		198, 19, 0, 1, 198, 18, 1, 2};

	m->board.length = length;
	for (unsigned k = 0; k < m->board.buffers; k++) {
		uint8_t *f = m->board.packets + m->board.buffer[k];
		uint64_t sum = 0;

		memcpy(f, header, sizeof(header));
		for (unsigned b = 14; b < 34; b += 2)
			sum += load16(f + b);
		const uint16_t checksum = (uint16_t)~fold(sum);
		memcpy(f + 24, &checksum, 2);
	}
}

/* A burst's record: frames into the other's packet memory, then what announces them. */
static void check_order(const struct board *b, unsigned method, unsigned frames)
{
	const unsigned written = method == P2PNIC_METHOD_WRITE ? frames : 0;
	struct model_operation dma[BATCH + 1];
	unsigned n = 0;

	for (unsigned k = 0; k < b->operations; k++)
		if (b->operation[k].kind != MODEL_COST && n < BATCH + 1)
			dma[n++] = b->operation[k];
	assert_int_equal(n, written + 1);
	for (unsigned k = 0; k < written; k++) {
		assert_int_equal(dma[k].kind, MODEL_FRAME);
		assert_int_equal(dma[k].window, 1);
		assert_int_equal(dma[k].bytes, b->length);
	}
	assert_int_equal(dma[written].kind, MODEL_PUBLISH);
	assert_int_equal(dma[written].window, 0);
	assert_int_equal(dma[written].bytes, frames * sizeof(struct p2pnic_descriptor));
}

/* …and what it does to its own memory, from the header to the ring. */
static void check_costs(const struct board *b, unsigned frames)
{
	static const enum board_cost path[] = {
		BOARD_COST_HEADER, BOARD_COST_LOOKUP, BOARD_COST_RESOLVE, BOARD_COST_BUFFER};
	unsigned next = 0;

	for (unsigned k = 0; k < b->operations; k++) {
		const struct model_operation *o = &b->operation[k];

		if (o->kind == MODEL_COST && next < 4 && o->what == path[next]) {
			assert_int_equal(o->times, next == 3 ? 1 : frames);
			next++;
		}
	}
	assert_int_equal(next, 4);
	assert_true(b->cost[BOARD_COST_POLL] > 0);
	assert_true(b->cost[BOARD_COST_COUNTER] > 0);
}

/* `bursts` times: `frames` arrive and both NICs go on until all have left. */
static void forward(
	struct machine m[2], unsigned method, unsigned length, unsigned frames, unsigned bursts)
{
	memset(m, 0, 2 * sizeof(*m));
	make(&m[0], method);
	make(&m[1], method);
	join(&m[0], 0, &m[1], method);
	join(&m[1], 1, &m[0], method);
	load(&m[0]);
	load(&m[1]);
	fill(&m[0], length);
	for (unsigned k = 0; k < bursts; k++) {
		m[0].board.waiting = frames;
		for (unsigned turn = 0; turn < 4; turn++) {
			m[0].board.operations = m[1].board.operations = 0;
			nic_poll(&m[0].nic);
			if (k == 0 && turn == 0) {
				check_order(&m[0].board, method, frames);
				check_costs(&m[0].board, frames);
			}
			nic_poll(&m[1].nic);
		}
		assert_int_equal(m[0].board.waiting, 0);
	}
	assert_int_equal(atomic_load(&m[1].counters.sent.packets), frames * bursts);
	assert_int_equal(m[1].board.cost[BOARD_COST_DESCRIPTOR], bursts); /* a line */
	for (unsigned k = 0; k < 2; k++) {
		assert_int_equal(m[k].board.faults + m[k].board.lost, 0);
		free(m[k].bar2);
		free(m[k].board.packets);
	}
}

static struct machine m[2];

/* By both NICs: the ingress NIC's accesses, then the egress NIC's. */
static void check_count(const uint64_t ingress[MODEL_KINDS], const uint64_t egress[MODEL_KINDS])
{
	for (unsigned kind = 0; kind <= MODEL_READ; kind++) {
		assert_int_equal(m[0].board.count[kind], ingress[kind]);
		assert_int_equal(m[1].board.count[kind], egress[kind]);
	}
}

/* A full batch: one publication, one consumer word back. */
static void test_write_batch(void **state)
{
	forward(m, P2PNIC_METHOD_WRITE, 60, BATCH, 100);
	check_count((uint64_t[MODEL_KINDS]){[MODEL_FRAME] = 800, [MODEL_PUBLISH] = 100},
		(uint64_t[MODEL_KINDS]){[MODEL_WORD] = 100});
}

/* A packet alone costs three DMA writes. */
static void test_write_single(void **state)
{
	forward(m, P2PNIC_METHOD_WRITE, 60, 1, 100);
	check_count((uint64_t[MODEL_KINDS]){[MODEL_FRAME] = 100, [MODEL_PUBLISH] = 100},
		(uint64_t[MODEL_KINDS]){[MODEL_WORD] = 100});
}

static void test_read_batch(void **state)
{
	forward(m, P2PNIC_METHOD_READ, 1514, BATCH, 100);
	check_count((uint64_t[MODEL_KINDS]){[MODEL_PUBLISH] = 100},
		(uint64_t[MODEL_KINDS]){[MODEL_WORD] = 100, [MODEL_READ] = 800});
}

/* A descriptor is seen by the egress NIC only when it has landed. */
static void test_later(void **state)
{
	static struct model_word later[SLOTS];

	memset(m, 0, sizeof(m));
	for (unsigned k = 0; k < 2; k++)
		make(&m[k], P2PNIC_METHOD_WRITE);
	for (unsigned k = 0; k < 2; k++)
		join(&m[k], k, &m[1 - k], P2PNIC_METHOD_WRITE);
	for (unsigned k = 0; k < 2; k++)
		load(&m[k]);
	fill(&m[0], 60);
	m[0].board.window[0].later = later;
	m[0].board.window[0].later_mask = SLOTS - 1;
	m[0].board.waiting = 3;
	nic_poll(&m[0].nic);
	nic_poll(&m[1].nic);
	assert_int_equal(atomic_load(&m[1].counters.sent.packets), 0);
	for (unsigned landed = 1; landed <= 3; landed++) {
		model_board_land(&m[0].board.window[0], landed < 3 ? 1 : 99);
		nic_poll(&m[1].nic);
		assert_int_equal(atomic_load(&m[1].counters.sent.packets), landed);
	}
	for (unsigned k = 0; k < 2; k++) {
		free(m[k].bar2);
		free(m[k].board.packets);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_write_batch),
		cmocka_unit_test(test_write_single),
		cmocka_unit_test(test_read_batch),
		cmocka_unit_test(test_later),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
