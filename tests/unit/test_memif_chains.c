/* SPDX-License-Identifier: BSD-3-Clause */
/* The memif port: packets in several descriptors. */
#include "tests/unit/memif_rig.h"
#include "tests/unit/port_keep.h"

#include <stdio.h>
#include <unistd.h>

static void fill(uint8_t *at, uint32_t from, uint32_t length)
{
	for (uint32_t k = 0; k < length; k++)
		at[k] = (uint8_t)((from + k) * 7 + 3);
}

static void check_filled(const uint8_t *at, uint32_t length)
{
	for (uint32_t k = 0; k < length; k++)
		assert_int_equal(at[k], (uint8_t)(k * 7 + 3));
}

/* How packets are cut: parts of each, up to a 0. */
static const uint32_t cuts[][8] = {
	{60},
	{1, 59},
	{59, 1},
	{0, 60},
	{60, 0},
	{30, 0, 30},
	{512, 512, 512, 256},
	{1791, 1},
	{1, 1791},
	{64, 64, 64, 64, 64, 64, 64},
};
#define CUTS (sizeof(cuts) / sizeof(*cuts))

static unsigned parts_of(unsigned cut)
{
	unsigned n = 8;

	while (!cuts[cut][n - 1])
		n--;
	return n + (cut == 4); /* {60, 0} */
}

static void test_chains_to_server(void **state)
{
	struct end server;
	struct hostile h;
	struct frame frames[P2PNIC_BURST_MAX];
	uint16_t head = 0;

	end_open(&server, "role=server");
	hostile_connect(&h, &server);
	for (unsigned round = 0; round < 4 * CUTS; round++) {
		unsigned cut = round % CUTS, parts = parts_of(cut);
		uint32_t length = 0;

		for (unsigned k = 0; k < parts; k++) {
			uint32_t at = 0x2000 + k * 0x800;
			h.ring[0]->slot[head++ & 15] = (struct memif_descriptor){
				MEMIF_CONTROL(k + 1 < parts, 0, cuts[cut][k]), at};
			fill(h.base + at, length, cuts[cut][k]);
			length += cuts[cut][k];
			/* Published one by one: the packet waits for its end, and is then whole. */
			atomic_store(&h.ring[0]->head, head);
			assert_int_equal(
				memif_port_ops.receive(server.port, frames, P2PNIC_BURST_MAX),
				k + 1 == parts);
		}
		assert_int_equal(frames[0].length, length);
		check_filled(frames[0].data, length);
		uint32_t spare = 8 * P2PNIC_BUFFER_BYTES_MIN;
		assert_int_equal(rig_keep(&memif_port_ops, server.port, 0, spare), spare);
		check_filled(server.memory + spare, length);
		memif_port_ops.release(server.port);
		assert_int_equal(atomic_load(&h.ring[0]->tail), head);
	}
	assert_int_equal(server.port->oversize, 0);

	/* Sixteen frames in one burst, every other cut in two; no more than asked for. */
	for (unsigned k = 0; k < 12; k++, head++) {
		h.ring[0]->slot[head & 15] = (struct memif_descriptor){
			MEMIF_CONTROL(k % 3 == 1, 0, 60), 0x2000 + k * 64};
		memset(h.base + 0x2000 + k * 64, (int)k, 64);
	}
	atomic_store(&h.ring[0]->head, head);
	assert_int_equal(memif_port_ops.receive(server.port, frames, 7), 5);
	for (unsigned k = 0; k < 5; k++) {
		assert_int_equal(frames[k].length, k % 2 ? 120 : 60);
		assert_int_equal(frames[k].data[0], (k / 2) * 3 + k % 2);
	}
	memif_port_ops.release(server.port);
	assert_int_equal(memif_port_ops.receive(server.port, frames, P2PNIC_BURST_MAX), 3);
	memif_port_ops.release(server.port);

	/* A ring that one packet fills without an end: dropped as it comes, counted once at its
	 * end. */
	for (unsigned k = 0; k < 16; k++, head++)
		h.ring[0]->slot[head & 15] =
			(struct memif_descriptor){MEMIF_CONTROL(1, 0, 1), 0x2000};
	atomic_store(&h.ring[0]->head, head);
	assert_int_equal(memif_port_ops.receive(server.port, frames, P2PNIC_BURST_MAX), 0);
	assert_int_equal(atomic_load(&h.ring[0]->tail), head);
	assert_int_equal(server.port->oversize, 0);
	h.ring[0]->slot[head++ & 15] = (struct memif_descriptor){MEMIF_CONTROL(0, 0, 1), 0x2000};
	h.ring[0]->slot[head++ & 15] = (struct memif_descriptor){MEMIF_CONTROL(0, 0, 77), 0x2000};
	atomic_store(&h.ring[0]->head, head);
	assert_int_equal(memif_port_ops.receive(server.port, frames, P2PNIC_BURST_MAX), 1);
	assert_int_equal(frames[0].length, 77);
	assert_int_equal(server.port->oversize, 1);
	hostile_end(&h, &server);
	end_close(&server);
}

static void test_chains_to_client(void **state)
{
	struct end server, client;
	struct frame frames[P2PNIC_BURST_MAX];

	end_open(&server, "role=server");
	end_open(&client, "rsize=4");
	settle(&server, &client, true);
	struct memif_ring *ring = server.port->link.send.ring;
	uint16_t tail = 0;

	for (unsigned round = 0; round < 4 * CUTS; round++) {
		unsigned cut = round % CUTS, parts = parts_of(cut);
		uint32_t length = 0;

		for (unsigned k = 0; k < parts; k++) {
			struct memif_descriptor *d = &ring->slot[tail++ & 15];
			/* What VPP, DPDK and libmemif ask a slot for, unless told otherwise. */
			assert_int_equal(MEMIF_LENGTH(d->control), 2048);
			assert_int_equal(MEMIF_OFFSET(d->place) % P2PNIC_BUFFER_BYTES_MIN, 0);
			fill(client.memory + MEMIF_OFFSET(d->place), length, cuts[cut][k]);
			d->control = MEMIF_CONTROL(k + 1 < parts, 1, cuts[cut][k]);
			length += cuts[cut][k];
			atomic_store(&ring->tail, tail);
			assert_int_equal(
				memif_port_ops.receive(client.port, frames, P2PNIC_BURST_MAX),
				k + 1 == parts);
		}
		assert_int_equal(frames[0].length, length);
		check_filled(frames[0].data, length);
		uint32_t kept = rig_keep(&memif_port_ops, client.port, 0,
			(BUFFERS + round) * P2PNIC_BUFFER_BYTES_MIN);
		assert_ptr_equal(client.memory + kept, frames[0].data);
		memif_port_ops.release(client.port);
	}
	/* All sixteen posted slots, and no end. */
	for (unsigned k = 0; k < 16; k++)
		ring->slot[tail++ & 15].control = MEMIF_CONTROL(1, 1, 1);
	atomic_store(&ring->tail, tail);
	assert_int_equal(memif_port_ops.receive(client.port, frames, P2PNIC_BURST_MAX), 0);
	ring->slot[tail++ & 15].control = MEMIF_CONTROL(0, 1, 1);
	atomic_store(&ring->tail, tail);
	assert_int_equal(memif_port_ops.receive(client.port, frames, P2PNIC_BURST_MAX), 0);
	assert_int_equal(client.port->oversize, 1);
	end_close(&client);
	end_close(&server);
}

/* The peer's buffers are small: frames are cut; where all of the ring is too little, they fail. */
static void test_chains_from_server(void **state)
{
	struct end server;
	struct hostile h;
	uint16_t head = 0, tail = 0;
	uint64_t failed = 0;

	end_open(&server, "role=server");
	hostile_connect(&h, &server);
	const uint32_t rooms[] = {59, 1, 0, 128, 500, 1791};
	for (unsigned i = 0; i < sizeof(rooms) / sizeof(*rooms); i++) {
		const uint32_t length =
			rooms[i] > 1 ? P2PNIC_FRAME_BYTES_MAX(P2PNIC_BUFFER_BYTES_MIN) : 14;
		const unsigned need = rooms[i] ? (length + rooms[i] - 1) / rooms[i] : UINT32_MAX;
		unsigned posted = 0;
		bool taken = false;

		while (!taken && posted < 16) {
			h.ring[1]->slot[head++ & 15] = (struct memif_descriptor){
				MEMIF_CONTROL(0, 0, rooms[i]), 0x2000 + posted * 0x800};
			posted++;
			atomic_store(&h.ring[1]->head, head);
			taken = transmit(&server, 1, 1234, length) == 1;
			assert_int_equal(taken, posted == need || posted == 16);
		}
		assert_int_equal(memif_port_ops.transmitted(server.port, &failed), 1);
		assert_int_equal(failed, need > 16);
		failed = 0;
		assert_int_equal(atomic_load(&h.ring[1]->tail), head);
		uint8_t whole[P2PNIC_FRAME_BYTES_MAX(P2PNIC_BUFFER_BYTES_MIN)];
		uint32_t got = 0, value;
		for (unsigned k = 0; tail != head; k++, tail++) {
			uint64_t control = h.ring[1]->slot[tail & 15].control;
			assert_int_equal(
				MEMIF_FLAGS(control), need <= 16 && (uint16_t)(tail + 1) != head);
			memcpy(whole + got, h.base + 0x2000 + k * 0x800, MEMIF_LENGTH(control));
			got += MEMIF_LENGTH(control);
		}
		assert_int_equal(got, need > 16 ? 0 : length);
		for (uint32_t k = 0; k + 4 <= got; k += 4) {
			memcpy(&value, whole + k, 4);
			assert_int_equal(value, 1234);
		}
	}
	/* A good part, then a bad one: both go back empty; the next frame leaves. */
	h.ring[1]->slot[head++ & 15] = (struct memif_descriptor){MEMIF_CONTROL(0, 0, 20), 0x2000};
	h.ring[1]->slot[head++ & 15] = (struct memif_descriptor){MEMIF_CONTROL(0, 7, 64), 0x2000};
	h.ring[1]->slot[head++ & 15] = (struct memif_descriptor){MEMIF_CONTROL(0, 0, 64), 0x2000};
	atomic_store(&h.ring[1]->head, head);
	assert_int_equal(transmit(&server, 2, 0, 60), 2);
	assert_int_equal(memif_port_ops.transmitted(server.port, &failed), 2);
	assert_int_equal(failed, 1);
	assert_int_equal(server.port->link.counters.bad_descriptor, 1);
	hostile_end(&h, &server);
	end_close(&server);
}

/* More parts than any packet may have, in a ring that holds them. */
static void test_too_many_parts(void **state)
{
	struct end server, client;
	struct frame frames[P2PNIC_BURST_MAX];

	end_open(&server, "role=server");
	end_open(&client, "rsize=8");
	settle(&server, &client, true);
	/* 64 buffers were given: as many as a packet may have. The last has no end either. */
	struct memif_ring *to_client = server.port->link.send.ring;
	for (unsigned k = 0; k < MEMIF_PARTS_MAX; k++)
		to_client->slot[k].control = MEMIF_CONTROL(k + 1 < MEMIF_PARTS_MAX, 1, 28);
	atomic_store(&to_client->tail, MEMIF_PARTS_MAX);
	assert_int_equal(memif_port_ops.receive(client.port, frames, P2PNIC_BURST_MAX), 1);
	assert_int_equal(frames[0].length, MEMIF_PARTS_MAX * 28);
	memif_port_ops.release(client.port);
	struct memif_ring *to_server = client.port->link.send.ring;
	for (unsigned k = 0; k <= MEMIF_PARTS_MAX; k++)
		memif_write(&to_server->slot[k], MEMIF_CONTROL(k < MEMIF_PARTS_MAX, 1, 1), SEND_AT);
	client.port->link.send.head = MEMIF_PARTS_MAX + 1;
	atomic_store(&to_server->head, MEMIF_PARTS_MAX + 1);
	assert_int_equal(memif_port_ops.receive(server.port, frames, P2PNIC_BURST_MAX), 0);
	assert_int_equal(server.port->oversize, 1);
	/* And a frame that would need more buffers than that. */
	for (unsigned k = 0; k < 256; k++)
		to_client->slot[k].control = MEMIF_CONTROL(0, 1, 20);
	uint64_t failed = 0;
	assert_int_equal(transmit(&server, 1, 0, 1700), 1);
	assert_int_equal(memif_port_ops.transmitted(server.port, &failed), 1);
	assert_int_equal(failed, 1);
	end_close(&client);
	end_close(&server);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_chains_to_server),
		cmocka_unit_test(test_chains_to_client),
		cmocka_unit_test(test_chains_from_server),
		cmocka_unit_test(test_too_many_parts),
	};
	snprintf(socket_path, sizeof(socket_path), "/tmp/p2pnic-test-memif-chains-%d",
		(int)getpid());
	return cmocka_run_group_tests(tests, NULL, NULL);
}
