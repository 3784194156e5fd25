/* SPDX-License-Identifier: BSD-3-Clause */
/* The data path of af_xdp, against a kernel of the test's own (af_xdp_rig.h). */
#include "af_xdp_rig.h"
#include "port_keep.h"
#include "seed.h"

#include <errno.h>
#include <linux/if_xdp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PIECE (AF_XDP_CHUNK_BYTES - P2PNIC_HEADROOM) /* of a frame received */

/* A piece of that frame. */
static bool is_under_way(const struct p2pnic_descriptor *frame)
{
	const struct xdp_desc *ring = kernel.transmit.entries;

	for (unsigned i = 0; i < kernel.under_way_count; i++)
		if (kernel.under_way[i].addr - frame->offset < frame->length)
			return true;
	for (uint32_t i = kernel.transmit.consumer; i != kernel.transmit.producer; i++)
		if (ring[i % port.transmit_slots].addr - frame->offset < frame->length)
			return true;
	return false;
}

/* As the kernel wants them: no piece crosses the end of its chunk, and together, where they say
 * so, they are the frame. */
static void check_pieces(uint32_t at, const struct p2pnic_descriptor *frames, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		for (uint32_t bytes = 0; bytes < frames[i].length;) {
			const struct xdp_desc *piece = xsk_ring_prod__tx_desc(&port.transmit, at++);

			assert_true(piece->addr == frames[i].offset + bytes);
			assert_in_range(
				piece->len, 1, port.chunk_bytes - piece->addr % port.chunk_bytes);
			bytes += piece->len;
			assert_int_equal(
				piece->options, bytes < frames[i].length ? XDP_PKT_CONTD : 0);
			assert_in_range(bytes, 1, frames[i].length);
		}
	assert_int_equal(at, port.transmit.cached_prod);
}

static void test_transmit_any_order(void **state)
{
	static struct p2pnic_descriptor queue[65536];
	uint32_t given = 0, done = 0;
	uint64_t failed = 0, refused = 0;
	const uint32_t total = 50000;

	for (unsigned round = 0; done < total; round++) {
		struct p2pnic_descriptor frames[P2PNIC_BURST_MAX];
		unsigned n = (unsigned)rand() % (P2PNIC_BURST_MAX + 1);
		if (n > total - given)
			n = total - given;
		bool draining =
			round / 200 % 2; /* sometimes it falls behind until the rings are full */
		for (unsigned i = 0; i < n; i++) {
			/* One in eight names a buffer that is in flight already, as a hostile peer
			 * may. */
			uint32_t buffer =
				rand() % 8 ? (given + i) % BUFFERS : (unsigned)rand() % 16;
			frames[i] = (struct p2pnic_descriptor){
				.offset = buffer * port.buffer_bytes, .length = 60};
			if (port.pieces) {
				frames[i].length = (uint16_t)(60 + (unsigned)rand() % 16069);
				frames[i].offset += (unsigned)rand() %
						    (port.buffer_bytes - frames[i].length + 1);
			}
			if (rand() % 16 == 0)
				frames[i].length = 0;
		}
		uint32_t at = port.transmit.cached_prod;
		n = af_xdp_port_ops.transmit(&port, frames, n);
		check_pieces(at, frames, n);
		for (unsigned i = 0; i < n; i++) {
			refused += frames[i].length == 0;
			queue[(given + i) % 65536] = frames[i];
		}
		given += n;
		af_xdp_port_ops.flush(&port);
		if (draining || rand() % 16 == 0)
			kernel_sends(given == total);
		unsigned reported = af_xdp_port_ops.transmitted(&port, &failed);
		assert_true(reported <= given - done);
		for (unsigned i = 0; i < reported; i++) {
			struct p2pnic_descriptor *frame = &queue[(done + i) % 65536];
			/* In order, and not while the kernel still has it (a buffer named once). */
			if (frame->length && frame->offset >= 16 * port.buffer_bytes)
				assert_false(is_under_way(frame));
		}
		done += reported;
		assert_true(failed <= done);
	}
	assert_int_equal(done, total);
	assert_int_equal(failed, refused);
	for (unsigned i = 0; i < BUFFERS; i++)
		assert_int_equal(port.newest[i], 0);
}

static void test_transmit_small_rings(void **state)
{
	port.transmit_slots = P2PNIC_BURST_MAX;
	connect_kernel();
	test_transmit_any_order(state);
}

/* As Linux does (net/xdp/xsk_queue.h): it takes entries up to the producer index it last read, and
 * only when those are used up says how far it came, and reads the index anew. */
static bool kernel_takes_fill(uint64_t *address)
{
	const uint64_t *fill = kernel.fill.entries;

	if (kernel.fill_taken == kernel.fill_known) {
		kernel.fill.consumer = kernel.fill_taken;
		kernel.fill_known = kernel.fill.producer;
	}
	if (kernel.fill_taken == kernel.fill_known)
		return false;
	*address = fill[kernel.fill_taken++ % AF_XDP_FILL_RING] + P2PNIC_HEADROOM;
	return true;
}

/* Five pieces are the longest frame and more than that, six too many. Each begins with the address
 * of the first, plus its number. */
static void kernel_receives(unsigned n)
{
	struct xdp_desc *ring = kernel.receive.entries;
	uint32_t slots = AF_XDP_RING - 8;

	while (n-- && kernel.written - kernel.receive.consumer < slots) {
		unsigned pieces = port.pieces && rand() % 2 ? 1 + (unsigned)rand() % 6 : 1;

		while (kernel.taken_count < pieces &&
			kernel_takes_fill(&kernel.taken[kernel.taken_count]))
			kernel.taken_count++;
		if (kernel.taken_count < pieces)
			break;
		for (unsigned i = 0; i < pieces; i++) {
			uint64_t mark = kernel.taken[0] + i;
			bool last = i == pieces - 1;

			ring[kernel.written++ % AF_XDP_RING] =
				(struct xdp_desc){.addr = kernel.taken[i],
					.len = last ? 60 : PIECE,
					.options = last ? 0 : XDP_PKT_CONTD};
			memcpy(port.memory + kernel.taken[i], &mark, 8);
		}
		memmove(kernel.taken, kernel.taken + pieces,
			(kernel.taken_count -= pieces) * sizeof(kernel.taken[0]));
		kernel.frames++;
	}
	uint32_t told = kernel.written - (rand() % 4 ? 0 : (unsigned)rand() % 4);
	if ((int32_t)(told - kernel.receive.producer) > 0)
		kernel.receive.producer = told;
}

static void test_receive_books(void **state)
{
	enum { PORT, CALLER };
	static uint8_t owner[BUFFERS];
	static uint32_t spare[BUFFERS];
	unsigned spares = 0;
	uint64_t received = 0;

	for (uint32_t i = 0; i < BUFFERS; i++) {
		uint32_t buffer = i * port.buffer_bytes;
		owner[i] = i < AF_XDP_BUFFERS ? PORT : CALLER;
		if (i < AF_XDP_BUFFERS) {
			af_xdp_own(&port, buffer, true);
			af_xdp_post(&port, &buffer, 1);
		} else {
			spare[spares++] = buffer;
		}
	}
	for (unsigned round = 0;
		round < 20000 || kernel.receive.producer != kernel.receive.consumer ||
		kernel.receive.producer != kernel.written;
		round++) {
		struct frame frames[P2PNIC_BURST_MAX];
		kernel_receives(
			round < 20000 ? (unsigned)rand() % (round / 500 % 2 ? 20 : 150) : 0);
		bool waiting = kernel.receive.producer != kernel.receive.consumer;
		if (rand() % 8 == 0)
			assert_int_equal(af_xdp_port_ops.arm(&port), waiting);
		unsigned n = af_xdp_port_ops.receive(
			&port, frames, 1 + (unsigned)rand() % P2PNIC_BURST_MAX);
		for (unsigned k = 0; k < n; k++) {
			uint64_t address = (uint64_t)(frames[k].data - port.memory), written;
			memcpy(&written, frames[k].data, 8);
			assert_true(written == address);
			assert_int_equal(owner[address >> port.buffer_shift], PORT);
			assert_in_range(frames[k].length, 60, 4 * PIECE + 60);
			for (unsigned at = PIECE; at < frames[k].length; at += PIECE) {
				memcpy(&written, frames[k].data + at, 8);
				assert_true(written == address + at / PIECE);
			}
			if (rand() % 3)
				continue;
			unsigned pick = (unsigned)rand() % spares;
			uint32_t mine = spare[pick];
			assert_int_equal(rig_keep(&af_xdp_port_ops, &port, k, mine), address);
			spare[pick] = (uint32_t)address - P2PNIC_HEADROOM;
			owner[address >> port.buffer_shift] = CALLER;
			owner[mine >> port.buffer_shift] = PORT;
		}
		af_xdp_port_ops.release(&port);
		received += n;
	}
	assert_true(received > 100000);
	assert_int_equal(received + port.oversize, kernel.frames);
	assert_int_equal(port.oversize > 0, port.pieces);
	for (uint32_t i = 0; i < BUFFERS; i++)
		assert_int_equal(port.own[i / 64] >> i % 64 & 1, owner[i] == PORT);
}

/* Buffers of a page need none of it; larger ones are refused before the interface is looked at. */
static void test_kernel_without_pieces(void **state)
{
	static struct af_xdp_port another;
	struct port_config config = {.target = "pp-none",
		.memory = port.memory,
		.memory_bytes = port.memory_bytes,
		.buffer_bytes = P2PNIC_BUFFER_BYTES_MAX};
	int fd = socket(AF_XDP, SOCK_RAW, 0);
	struct error error;

	if (fd < 0)
		skip(); /* it cannot be asked */
	close(fd);
	assert_int_equal(af_xdp_port_ops.open(&another, &config, &error), -EOPNOTSUPP);
	assert_non_null(strstr(error.text, "no multi-buffer AF_XDP (Linux 6.6)"));
	assert_non_null(strstr(error.text, "4096 bytes at most, not 16384"));
	config.buffer_bytes = AF_XDP_CHUNK_BYTES;
	assert_int_equal(af_xdp_port_ops.open(&another, &config, &error), -ENODEV);
	assert_false(another.pieces);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_transmit_any_order, setup, teardown),
		cmocka_unit_test_setup_teardown(test_transmit_small_rings, setup, teardown),
		cmocka_unit_test_setup_teardown(test_receive_books, setup, teardown),
		{"test_transmit_pieces", test_transmit_any_order, setup_jumbo, teardown, NULL},
		{"test_transmit_pieces_small_rings", test_transmit_small_rings, setup_jumbo,
			teardown, NULL},
		{"test_receive_pieces", test_receive_books, setup_jumbo, teardown, NULL},
		cmocka_unit_test_setup_teardown(test_kernel_without_pieces, setup, teardown),
	};

	srand((unsigned)test_seed());
	return cmocka_run_group_tests_name("af_xdp", tests, NULL, NULL);
}
