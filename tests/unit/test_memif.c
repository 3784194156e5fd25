/* SPDX-License-Identifier: BSD-3-Clause */
/* The memif port: both roles against each other in one process, and each against a hostile peer. */
#include "ipc/unix_address.h"
#include "tests/unit/memif_rig.h"
#include "tests/unit/port_keep.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static struct memif_port *service_meanwhile; /* while a child acts */

static void test_both_ways(void **state)
{
	struct end server, client;

	/* Ring of 16: indices and slots wrap; 140,000 frames: 16-bit indices wrap. */
	end_open(&server, "role=server,id=7,secret=abc");
	end_open(&client, "role=client,id=7,secret=abc,rsize=4");
	settle(&server, &client, true);
	const uint32_t lengths[] = {
		14, 60, 61, 64, 65, 1514, P2PNIC_FRAME_BYTES_MAX(P2PNIC_BUFFER_BYTES_MIN)};
	for (unsigned i = 0; i < sizeof(lengths) / sizeof(*lengths); i++) {
		pass(&client, &server, 1000, lengths[i]);
		pass(&server, &client, 1000, lengths[i]);
	}
	pass(&client, &server, 70000, 60);
	pass(&server, &client, 70000, 60);
	assert_int_equal(server.port->link.counters.bad_descriptor, 0);
	end_close(&client);
	end_close(&server);
}

/* One frame too long: not delivered, counted. */
static void one_too_long(struct end *from, struct end *to, uint32_t length)
{
	const uint64_t before = to->port->oversize;
	uint64_t failed = 0;
	unsigned done = 0;

	assert_int_equal(transmit(from, 1, 0, length), 1);
	assert_int_equal(receive(to, 0, length), 0);
	assert_int_equal(to->port->oversize, before + 1);
	while (!done)
		done = memif_port_ops.transmitted(from->port, &failed);
	assert_int_equal(failed, 0);
}

static void test_buffer_sizes(void **state)
{
	static const uint32_t size[] = {P2PNIC_BUFFER_SIZES};

	for (unsigned k = 0; k < 3; k++) {
		const uint32_t longest = P2PNIC_FRAME_BYTES_MAX(size[k]);
		const uint32_t lengths[] = {60, 1514, longest - 1, longest,
			longest < 9216 ? longest : 9014, longest < 9216 ? longest : 9216};
		struct end server, client;

		memif_buffer_bytes = size[k];
		end_open(&server, "role=server");
		end_open(&client, "rsize=4");
		settle(&server, &client, true);
		for (unsigned i = 0; i < sizeof(lengths) / sizeof(*lengths); i++) {
			pass(&client, &server, 300, lengths[i]);
			pass(&server, &client, 300, lengths[i]);
		}
		one_too_long(&client, &server, longest + 1);
		one_too_long(&server, &client, longest + 1);
		pass(&client, &server, 30, 60);
		pass(&server, &client, 30, 60);
		end_close(&client);
		end_close(&server);
	}
	memif_buffer_bytes = P2PNIC_BUFFER_BYTES_MIN;
}

/* Ends of different sizes: what the smaller cannot take is counted there, all else passes. */
static void test_unlike_buffer_sizes(void **state)
{
	for (unsigned large = 0; large < 2; large++) {
		struct end end[2]; /* server, client */

		memif_buffer_bytes = large ? P2PNIC_BUFFER_BYTES_MIN : P2PNIC_BUFFER_BYTES_MAX;
		end_open(&end[0], "role=server");
		memif_buffer_bytes = large ? P2PNIC_BUFFER_BYTES_MAX : P2PNIC_BUFFER_BYTES_MIN;
		end_open(&end[1], "rsize=4");
		settle(&end[0], &end[1], true);
		memif_buffer_bytes = P2PNIC_BUFFER_BYTES_MAX;
		one_too_long(&end[large], &end[!large], 9216);
		one_too_long(&end[large], &end[!large], 1793);
		memif_buffer_bytes = P2PNIC_BUFFER_BYTES_MIN;
		pass(&end[0], &end[1], 100, 1792);
		pass(&end[1], &end[0], 100, 1792);
		end_close(&end[1]);
		end_close(&end[0]);
	}
}

static void test_keep(void **state)
{
	struct end server, client;
	struct frame frames[P2PNIC_BURST_MAX];

	end_open(&server, "role=server");
	end_open(&client, "rsize=6");
	settle(&server, &client, true);
	struct end *ends[2] = {&server, &client};
	for (unsigned k = 0; k < 2; k++) {
		struct end *to = ends[k], *from = ends[1 - k];
		uint32_t spare = BUFFERS * P2PNIC_BUFFER_BYTES_MIN, value;

		assert_int_equal(transmit(from, 8, 100, 64), 8);
		assert_int_equal(memif_port_ops.receive(to->port, frames, P2PNIC_BURST_MAX), 8);
		uint32_t kept = rig_keep(&memif_port_ops, to->port, 3, spare);
		memif_port_ops.release(to->port);
		/* Rounds enough to use every buffer several times: the kept one must stay. */
		for (uint32_t n = 0; n < 1000; n += 10) {
			assert_int_equal(transmit(from, 10, n, 60), 10);
			assert_int_equal(receive(to, n, 60), 10);
			uint64_t failed = 0;
			memif_port_ops.transmitted(from->port, &failed);
		}
		memcpy(&value, to->memory + kept, 4);
		assert_int_equal(value, 103);
		if (to == &client)
			assert_true(kept < spare);
		else
			assert_int_equal(kept, spare);
	}
	end_close(&client);
	end_close(&server);
}

static void test_full_ring(void **state)
{
	struct end server, client;
	uint64_t failed = 0;

	end_open(&server, "role=server");
	end_open(&client, "rsize=5");
	settle(&server, &client, true);
	assert_int_equal(transmit(&client, 64, 0, 60), 32);
	assert_int_equal(transmit(&client, 1, 0, 60), 0);
	assert_int_equal(memif_port_ops.transmitted(client.port, &failed), 0);
	assert_int_equal(receive(&server, 0, 60), 32);
	assert_int_equal(memif_port_ops.transmitted(client.port, &failed), 32);
	assert_int_equal(transmit(&server, 64, 0, 60), 32);
	assert_int_equal(receive(&client, 0, 60), 32);
	assert_int_equal(failed, 0);
	end_close(&client);
	end_close(&server);
}

/* The peer goes and returns: in-flight frames are reported failed, every buffer comes back. */
static void test_reconnect(void **state)
{
	struct end server, client;
	uint64_t failed = 0;
	uint32_t buffers[BUFFERS];

	end_open(&client, "rsize=6");
	assert_int_equal(transmit(&client, 5, 0, 60), 5); /* nobody there */
	assert_int_equal(memif_port_ops.transmitted(client.port, &failed), 5);
	assert_int_equal(failed, 5);
	for (unsigned life = 0; life < 3; life++) {
		end_open(&server, "role=server");
		settle(&server, &client, true);
		pass(&client, &server, 100, 60);
		pass(&server, &client, 100, 60);
		failed = 0;
		assert_int_equal(transmit(&client, 9, 0, 60), 9);
		end_close(&server);
		settle(&client, NULL, false);
		assert_int_equal(memif_port_ops.transmitted(client.port, &failed), 9);
		assert_int_equal(failed, 9);
	}
	assert_int_equal(memif_port_ops.stop(client.port, buffers), BUFFERS);
	for (unsigned i = 0; i < BUFFERS; i++) {
		assert_int_equal(buffers[i] % P2PNIC_BUFFER_BYTES_MIN, 0);
		for (unsigned k = 0; k < i; k++)
			assert_int_not_equal(buffers[i], buffers[k]);
	}
	assert_int_equal(client.port->link.counters.disconnects, 3);
	end_close(&client);

	end_open(&server, "role=server");
	for (unsigned life = 0; life < 3; life++) {
		end_open(&client, "rsize=6");
		settle(&server, &client, true);
		pass(&client, &server, 100, 60);
		pass(&server, &client, 100, 60);
		end_close(&client);
		settle(&server, NULL, false);
	}
	end_close(&server);
}

static void test_stop_while_connected(void **state)
{
	struct end server, client;
	uint32_t buffers[BUFFERS];
	uint64_t failed = 0;

	end_open(&server, "role=server");
	end_open(&client, "rsize=6");
	settle(&server, &client, true);
	pass(&server, &client, 100, 60);
	assert_int_equal(transmit(&client, 3, 0, 60), 3);
	assert_int_equal(memif_port_ops.stop(client.port, buffers), BUFFERS);
	assert_int_equal(memif_port_ops.transmitted(client.port, &failed), 3);
	assert_int_equal(failed, 3);
	settle(&server, NULL, false);
	settle(&server, &client, true);
	assert_int_equal(transmit(&server, 4, 0, 60), 0); /* no buffers posted */
	pass(&client, &server, 100, 60);
	assert_int_equal(memif_port_ops.start(client.port, buffers, BUFFERS), BUFFERS);
	pass(&server, &client, 100, 60);
	end_close(&client);
	end_close(&server);
}

static bool readable(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	return poll(&p, 1, 0) == 1;
}

static void test_sleep(void **state)
{
	struct end server, client;

	end_open(&server, "role=server");
	end_open(&client, "rsize=6");
	settle(&server, &client, true);
	struct end *ends[2] = {&server, &client};
	for (unsigned k = 0; k < 2; k++) {
		struct end *to = ends[k], *from = ends[1 - k];
		int fd = memif_port_ops.fd(to->port);

		transmit(from, 1, 0, 60); /* awake: no event */
		assert_false(readable(fd));
		assert_true(memif_port_ops.arm(to->port)); /* something waits already */
		memif_port_ops.disarm(to->port);
		assert_int_equal(receive(to, 0, 60), 1);
		assert_false(memif_port_ops.arm(to->port));
		assert_false(readable(fd));
		transmit(from, 1, 1, 60);
		assert_true(readable(fd));
		memif_port_ops.disarm(to->port);
		assert_false(readable(fd));
		assert_int_equal(receive(to, 1, 60), 1);
		transmit(from, 1, 2, 60);
		assert_false(readable(fd));
		assert_int_equal(receive(to, 2, 60), 1);
	}
	end_close(&client);
	end_close(&server);
}

/* --- Hostile peers ---------------------------------------------------------------------------- */

static void test_hostile_control(void **state)
{
	struct end server;
	struct hostile h;
	struct memif_message m;

	end_open(&server, "role=server");
	unsigned fds = count_fds();

	const struct {
		struct memif_message message;
		size_t bytes;
		const char *why;
	} before_init[] = {
		{{.type = MEMIF_CONNECT}, 128, "Unexpected message"},
		{{.type = 99}, 128, "Unexpected message"},
		{{.type = MEMIF_INIT, .init = {.version = 0x100}}, 128,
			"Incompatible memif version"},
		{{.type = MEMIF_INIT, .init = {.version = MEMIF_VERSION, .id = 5}}, 128,
			"ID not found"},
		{{.type = MEMIF_INIT, .init = {.version = MEMIF_VERSION, .mode = 1}}, 128,
			"Only ethernet mode supported"},
		{{.type = MEMIF_INIT, .init = {.version = MEMIF_VERSION}}, 127,
			"Invalid message size"},
	};
	for (unsigned i = 0; i < sizeof(before_init) / sizeof(*before_init); i++) {
		int s = dial();
		EXPECT(&server, s, "");
		message_send(s, &before_init[i].message, before_init[i].bytes, -1);
		EXPECT(&server, s, before_init[i].why);
		close(s);
	}

	int unsealed = memory_file(HOSTILE_BYTES, F_SEAL_GROW);
	int pipes[2];
	assert_int_equal(pipe(pipes), 0);
	const struct {
		uint16_t index;
		uint64_t bytes;
		int fd; /* -1: none; -2: the good one */
		const char *why;
	} regions[] = {
		{0, HOSTILE_BYTES, -1, "Missing region fd"},
		{1, HOSTILE_BYTES, -2, "Invalid region index"},
		{0, HOSTILE_BYTES + 1, -2, "Region larger than its file"},
		{0, UINT64_MAX, -2, "Region larger than its file"},
		{0, 0, -2, "Region larger than its file"},
		{0, HOSTILE_BYTES, pipes[0], "Region is no memory file"},
		{0, HOSTILE_BYTES, unsealed, "Region not sealed against shrinking"},
	};
	for (unsigned i = 0; i < sizeof(regions) / sizeof(*regions); i++) {
		hostile_begin(&h, &server);
		m = message_region(regions[i].index, regions[i].bytes);
		message_send(h.s, &m, 128, regions[i].fd == -2 ? h.memory : regions[i].fd);
		EXPECT(&server, h.s, regions[i].why);
		hostile_end(&h, &server);
	}

	const struct {
		struct memif_message message;
		int fd;
		const char *why;
	} rings[] = {
		{message_ring(1, 0, 0, 4), -1, "Missing interrupt fd"},
		{message_ring(1, 0, 0, 15), -2, "Invalid ring size"},
		{{.type = MEMIF_ADD_RING, .add_ring = {.flags = 1, .index = 1}}, -2,
			"Invalid ring index"},
		{{.type = MEMIF_ADD_RING, .add_ring = {.private_bytes = 8}}, -2,
			"Private header not supported"},
		{{.type = MEMIF_ACK}, -1, "Unexpected message"},
		{message_ring(1, 1, 0, 4), -2, "Invalid ring region"},
		{message_ring(1, 0, 8, 4), -2, "Ring outside its region"},
		{message_ring(1, 0, HOSTILE_BYTES - 256, 4), -2, "Ring outside its region"},
		{message_ring(1, 0, 0xfffffff0u, 4), -2, "Ring outside its region"},
		{message_ring(1, 0, 0, 4), pipes[1], "Interrupt fd is no eventfd"},
	};
	for (unsigned i = 0; i < sizeof(rings) / sizeof(*rings); i++) {
		hostile_begin(&h, &server);
		m = message_region(0, HOSTILE_BYTES);
		message_send(h.s, &m, 128, h.memory);
		EXPECT(&server, h.s, "");
		message_send(
			h.s, &rings[i].message, 128, rings[i].fd == -2 ? h.event : rings[i].fd);
		EXPECT(&server, h.s, rings[i].why);
		hostile_end(&h, &server);
	}

	hostile_begin(&h, &server);
	m = message_region(0, HOSTILE_BYTES);
	message_send(h.s, &m, 128, h.memory);
	EXPECT(&server, h.s, "");
	m = (struct memif_message){.type = MEMIF_CONNECT};
	message_send(h.s, &m, 128, -1);
	EXPECT(&server, h.s, "Missing ring");
	hostile_end(&h, &server);

	/* Rings without the cookie; a message of no use once all is said. */
	hostile_begin(&h, &server);
	m = message_region(0, HOSTILE_BYTES);
	message_send(h.s, &m, 128, h.memory);
	EXPECT(&server, h.s, "");
	for (unsigned i = 0; i < 2; i++) {
		m = message_ring(i == 0, 0, i * 4096, 4);
		message_send(h.s, &m, 128, h.event);
		EXPECT(&server, h.s, "");
	}
	m = (struct memif_message){.type = MEMIF_CONNECT};
	message_send(h.s, &m, 128, -1);
	EXPECT(&server, h.s, "Wrong cookie");
	hostile_end(&h, &server);
	hostile_connect(&h, &server);
	m = message_region(1, HOSTILE_BYTES);
	message_send(h.s, &m, 128, h.memory);
	EXPECT(&server, h.s, "Unexpected message");
	hostile_end(&h, &server);

	/* A second peer while one is there; the first is not disturbed. */
	hostile_connect(&h, &server);
	int s = dial();
	EXPECT(&server, s, "Already connected");
	close(s);
	assert_true(server.port->link.connected);
	hostile_end(&h, &server);

	close(unsealed);
	close(pipes[0]);
	close(pipes[1]);
	assert_int_equal(count_fds(), fds);
	end_close(&server);
}

static void test_hostile_rings(void **state)
{
	struct end server;
	struct hostile h;
	struct frame frames[P2PNIC_BURST_MAX];

	end_open(&server, "role=server");

	/* Descriptors outside the region, each beside a good one. */
	hostile_connect(&h, &server);
	const struct memif_descriptor bad[] = {
		{MEMIF_CONTROL(0, 1, 60), 0x2000},
		{MEMIF_CONTROL(0, 0xffff, 60), 0x2000},
		{MEMIF_CONTROL(0, 0, 60), HOSTILE_BYTES - 59},
		{MEMIF_CONTROL(0, 0, 60), 0xfffffff0u},
		{MEMIF_CONTROL(0, 0, 0xffffffffu), 1},
	};
	unsigned n = sizeof(bad) / sizeof(*bad);
	for (unsigned i = 0; i < n; i++)
		h.ring[0]->slot[i] = bad[i];
	h.ring[0]->slot[n] = (struct memif_descriptor){MEMIF_CONTROL(0, 0, 60), HOSTILE_BYTES - 60};
	atomic_store(&h.ring[0]->head, (uint16_t)(n + 1));
	assert_int_equal(memif_port_ops.receive(server.port, frames, P2PNIC_BURST_MAX), 1);
	assert_int_equal(server.port->link.counters.bad_descriptor, n);
	/* 64 bytes are readable although the region ends after 60. */
	volatile uint8_t byte = frames[0].data[63];
	(void)byte;
	memif_port_ops.release(server.port);
	assert_int_equal(atomic_load(&h.ring[0]->tail), n + 1);

	/* A burst of nothing but bad ones is given back too, and counted once. */
	uint16_t head = (uint16_t)(n + 1);
	h.ring[0]->slot[head++ & 15] = bad[0];
	atomic_store(&h.ring[0]->head, head);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(memif_port_ops.receive(server.port, frames, P2PNIC_BURST_MAX), 0);
	assert_int_equal(server.port->link.counters.bad_descriptor, n + 1);
	assert_int_equal(atomic_load(&h.ring[0]->tail), head);

	/* A chain that is too long, one with a bad part, an oversized frame, then a good one. */
	const uint64_t controls[] = {MEMIF_CONTROL(1, 0, 1000), MEMIF_CONTROL(1, 0, 700),
		MEMIF_CONTROL(0, 0, 93), MEMIF_CONTROL(1, 0, 100), MEMIF_CONTROL(1, 9, 100),
		MEMIF_CONTROL(0, 0, 2000),
		MEMIF_CONTROL(0, 0, P2PNIC_FRAME_BYTES_MAX(P2PNIC_BUFFER_BYTES_MIN) + 1),
		MEMIF_CONTROL(0, 0, 100)};
	for (unsigned i = 0; i < sizeof(controls) / sizeof(*controls); i++, head++)
		h.ring[0]->slot[head & 15] = (struct memif_descriptor){controls[i], 0x4000};
	atomic_store(&h.ring[0]->head, head);
	assert_int_equal(memif_port_ops.receive(server.port, frames, P2PNIC_BURST_MAX), 1);
	assert_int_equal(frames[0].length, 100);
	memif_port_ops.release(server.port);
	assert_int_equal(server.port->oversize, 2);
	assert_int_equal(server.port->link.counters.bad_descriptor, n + 2);

	/* Buffers to send into that are not there: failed, counted, nothing written. */
	memset(h.base + 0x2000, 0xaa, 0x1000);
	h.ring[1]->slot[0] = (struct memif_descriptor){MEMIF_CONTROL(0, 3, 2048), 0x2000};
	h.ring[1]->slot[1] = (struct memif_descriptor){MEMIF_CONTROL(0, 0, 59), 0xffffffffu};
	h.ring[1]->slot[2] = (struct memif_descriptor){MEMIF_CONTROL(0, 0, 60), 0x2000 + 8};
	atomic_store(&h.ring[1]->head, 3);
	assert_int_equal(transmit(&server, 8, 0, 60), 3);
	uint64_t failed = 0;
	assert_int_equal(memif_port_ops.transmitted(server.port, &failed), 3);
	assert_int_equal(failed, 2);
	assert_int_equal(h.base[0x2000 + 7], 0xaa);
	assert_int_equal(h.base[0x2000 + 8 + 60], 0xaa);
	assert_int_equal(MEMIF_LENGTH(h.ring[1]->slot[0].control), 0);
	assert_int_equal(MEMIF_LENGTH(h.ring[1]->slot[2].control), 60);

	/* An index further than the ring is long ends the connection. */
	atomic_store(&h.ring[0]->head, (uint16_t)(head + 17));
	assert_int_equal(memif_port_ops.receive(server.port, frames, P2PNIC_BURST_MAX), 0);
	EXPECT(&server, h.s, "Ring index out of range");
	assert_false(server.port->link.connected);
	hostile_end(&h, &server);

	hostile_connect(&h, &server);
	atomic_store(&h.ring[1]->head, 17);
	assert_int_equal(transmit(&server, 8, 0, 60), 0);
	EXPECT(&server, h.s, "Ring index out of range");
	assert_int_equal(server.port->link.counters.bad_index, 2);
	hostile_end(&h, &server);

	/* The next peer finds everything in order. */
	struct end client;
	end_open(&client, "rsize=6");
	settle(&server, &client, true);
	pass(&client, &server, 100, 60);
	pass(&server, &client, 100, 60);
	end_close(&client);
	end_close(&server);
}

/* --- Packets in several descriptors ----------------------------------------------------------- */

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

/* As client: the server's tail is all it can lie about, and lengths. */
static void test_hostile_server(void **state)
{
	struct end server, client;
	struct frame frames[P2PNIC_BURST_MAX];

	end_open(&server, "role=server");
	end_open(&client, "rsize=6");
	settle(&server, &client, true);
	struct memif_ring *to_client = server.port->link.send.ring;
	for (unsigned i = 0; i < 3; i++)
		to_client->slot[i] = (struct memif_descriptor){
			MEMIF_CONTROL(0, 0xffff, i == 1 ? 0xffffffffu : 60), 0xffffffffu};
	atomic_store(&to_client->tail, 3);
	assert_int_equal(memif_port_ops.receive(client.port, frames, P2PNIC_BURST_MAX), 2);
	for (unsigned i = 0; i < 2; i++)
		assert_true(frames[i].data >= client.memory &&
			    frames[i].data < client.memory + SEND_AT);
	memif_port_ops.release(client.port);
	assert_int_equal(client.port->oversize, 1);
	atomic_store(&to_client->tail, 500);
	assert_int_equal(memif_port_ops.receive(client.port, frames, P2PNIC_BURST_MAX), 0);
	settle(&client, NULL, false);
	settle(&server, NULL, false);
	settle(&server, &client, true);

	uint64_t failed = 0;
	atomic_store(&server.port->link.receive.ring->tail, 9); /* nothing was sent */
	assert_int_equal(memif_port_ops.transmitted(client.port, &failed), 0);
	settle(&client, NULL, false);
	assert_int_equal(client.port->link.counters.bad_index, 2);
	settle(&server, NULL, false);
	settle(&server, &client, true);
	pass(&client, &server, 100, 60);
	pass(&server, &client, 100, 60);
	end_close(&client);
	end_close(&server);
}

/* --- A client and its server's messages ------------------------------------------------------- */

static struct memif_message message_hello(uint16_t low, uint16_t high, uint16_t regions)
{
	return (struct memif_message){.type = MEMIF_HELLO,
		.hello = {.version_min = low,
			.version_max = high,
			.region_max = regions,
			.log2_ring_max = 3}};
}

/* What the client said last. */
static struct memif_message heard(int s)
{
	struct memif_message message = {0}, next;

	while (recv(s, &next, sizeof(next), MSG_DONTWAIT) > 0)
		message = next;
	return message;
}

static void test_hostile_messages_to_client(void **state)
{
	struct unix_listener listener;
	struct end client;
	struct memif_message m;
	char reason[MEMIF_REASON_BYTES];

	assert_int_equal(unix_listen(&listener, socket_path, SOCK_SEQPACKET, 0600, 4), 0);
	end_open(&client, "rsize=6");
	unsigned fds = count_fds() - 1; /* it has connected */
	const struct {
		unsigned acks; /* after a good HELLO, if any; then … */
		struct memif_message message;
		size_t bytes;
		const char *why;
	} cases[] = {
		{0, message_hello(0x201, 0x201, 255), 128, "Incompatible memif version"},
		{0, message_hello(0x100, 0x1ff, 255), 128, "Incompatible memif version"},
		{0, message_hello(0x100, 0x300, 0), 128, "Peer takes too few regions"},
		{0, {.type = MEMIF_ACK}, 128, "Unexpected message"},
		{0, {.type = MEMIF_HELLO}, 77, "Invalid message size"},
		{1, {.type = MEMIF_HELLO}, 128, "Unexpected message"},
		{1, {.type = MEMIF_CONNECTED}, 128, "Unexpected message"},
		{6, {.type = MEMIF_ACK}, 128, "Unexpected message"},
		{7, {.type = MEMIF_CONNECTED}, 128, "Unexpected message"},
		{7, {.type = MEMIF_INIT}, 128, "Unexpected message"},
	};
	for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		int s = -1;

		if (client.port->link.channel < 0) {
			client.port->link.deadline_ms = 0; /* no pause before the next try */
			memif_port_ops.service(client.port);
		}
		s = accept(listener.fd, NULL, NULL);
		if (cases[i].acks) {
			m = message_hello(0x200, 0x200, 1);
			message_send(s, &m, 128, -1);
			memif_port_ops.service(client.port);
			assert_int_equal(heard(s).type, MEMIF_INIT);
			/* INIT, two regions and two rings are acknowledged; 7: and connected. */
			m = (struct memif_message){.type = MEMIF_ACK};
			for (unsigned k = 1; k < cases[i].acks && k < 6; k++) {
				message_send(s, &m, 128, -1);
				memif_port_ops.service(client.port);
			}
			if (cases[i].acks >= 6)
				assert_int_equal(heard(s).type, MEMIF_CONNECT);
			m = (struct memif_message){.type = MEMIF_CONNECTED};
			if (cases[i].acks == 7) {
				message_send(s, &m, 128, -1);
				memif_port_ops.service(client.port);
				assert_true(client.port->link.connected);
				/* The server's limit was smaller than what was asked for. */
				assert_int_equal(client.port->link.send.mask, 7);
				assert_int_equal(client.port->link.receive.head, 8);
			}
		}
		message_send(s, &cases[i].message, cases[i].bytes, -1);
		memif_port_ops.service(client.port);
		assert_string_equal(client.port->link.reason, cases[i].why);
		m = heard(s);
		assert_int_equal(m.type, MEMIF_DISCONNECT);
		snprintf(reason, sizeof(reason), "%s", (char *)m.disconnect.reason);
		assert_string_equal(reason, cases[i].why);
		assert_false(client.port->link.connected);
		close(s);
		assert_int_equal(count_fds(), fds);
	}
	/* Its reason, whatever is in it, is shown; printable, and with an end. */
	struct port_info info;
	client.port->link.deadline_ms = 0;
	memif_port_ops.service(client.port);
	int s = accept(listener.fd, NULL, NULL);
	m = (struct memif_message){.type = MEMIF_DISCONNECT};
	memset(m.disconnect.reason, 'x', sizeof(m.disconnect.reason));
	m.disconnect.reason[1] = 27;
	message_send(s, &m, 128, -1);
	memif_port_ops.service(client.port);
	memif_port_ops.info(client.port, &info);
	assert_int_equal(strlen(info.fault.text), MEMIF_REASON_BYTES - 1);
	assert_memory_equal(info.fault.text, "x?xx", 4);
	assert_false(info.link);
	close(s);
	unix_unlisten(&listener);
	end_close(&client);
}

/* --- Faults ----------------------------------------------------------------------------------- */

/* One call of one function fails; the linker leads all of them here (--wrap). */
static int fault_function = -1;
static unsigned fault_at, fault_calls, faults;

static bool fault(int function, int error)
{
	if (function != fault_function || ++fault_calls != fault_at)
		return false;
	errno = error;
	faults++;
	return true;
}

#define WRAP(number, type, name, error, parameters, ...)                                           \
	type __real_##name parameters;                                                             \
	type __wrap_##name parameters;                                                             \
	type __wrap_##name parameters                                                              \
	{                                                                                          \
		return fault(number, error) ? (type)-1 : __real_##name(__VA_ARGS__);               \
	}

WRAP(0, int, memfd_create, EMFILE, (const char *name, unsigned flags), name, flags)
WRAP(1, int, ftruncate64, ENOSPC, (int fd, off_t bytes), fd, bytes)
WRAP(2, int, eventfd, EMFILE, (unsigned value, int flags), value, flags)
WRAP(3, int, epoll_create1, EMFILE, (int flags), flags)
WRAP(4, int, epoll_ctl, ENOMEM, (int set, int op, int fd, struct epoll_event *e), set, op, fd, e)
WRAP(5, int, socket, EMFILE, (int family, int type, int protocol), family, type, protocol)
WRAP(6, ssize_t, sendmsg, ENOBUFS, (int fd, const struct msghdr *m, int flags), fd, m, flags)
WRAP(7, int, getsockopt, ENOMEM, (int fd, int level, int name, void *value, socklen_t *bytes), fd,
	level, name, value, bytes)
WRAP(8, int, accept4, EMFILE, (int fd, struct sockaddr *a, socklen_t *bytes, int flags), fd, a,
	bytes, flags)
WRAP(9, ssize_t, readlink, EACCES, (const char *path, char *text, size_t bytes), path, text, bytes)
WRAP(10, int, fstatfs64, EIO, (int fd, struct statfs *fs), fd, fs)
WRAP(11, void *, mmap64, ENOMEM,
	(void *at, size_t bytes, int protection, int flags, int fd, off_t offset), at, bytes,
	protection, flags, fd, offset)
WRAP(12, ssize_t, recvmsg, ECONNRESET, (int fd, struct msghdr *m, int flags), fd, m, flags)
#define FAULT_FUNCTIONS 13

/* Whatever fails, once: open says so or the link comes up all the same, and nothing is left
 * behind. */
static void test_faults(void **state)
{
	for (int function = 0; function < FAULT_FUNCTIONS; function++) {
		faults = 0;
		bool met = true;
		for (fault_at = 1; met; fault_at++) {
			struct end e[2] = {{.fd = -1}, {.fd = -1}};
			bool opened[2] = {false, false};
			unsigned fds = count_fds(), before = faults;

			fault_calls = 0;
			for (unsigned k = 0; k < 2; k++) {
				struct error error = {""};

				e[k].fd = memory_file(MEMORY, F_SEAL_SHRINK);
				e[k].memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED,
					e[k].fd, 0);
				e[k].port = aligned_alloc(64, (memif_port_ops.bytes + 63) & ~63ul);
				struct port_config config = {.target = socket_path,
					.options = k ? "rsize=4" : "role=server",
					.memory = e[k].memory,
					.memory_bytes = MEMORY,
					.memory_fd = e[k].fd,
					.buffer_bytes = P2PNIC_BUFFER_BYTES_MIN};
				fault_function = function;
				int r = memif_port_ops.open(e[k].port, &config, &error);
				fault_function = -1;
				opened[k] = r == 0;
				assert_true(r == 0 || strlen(error.text) > 10);
				uint32_t buffer = 0;
				if (!r)
					memif_port_ops.start(e[k].port, &buffer, 1);
			}
			fault_function = function;
			for (unsigned i = 0; i < 5000 && opened[0] && opened[1]; i++) {
				memif_port_ops.service(e[1].port);
				memif_port_ops.service(e[0].port);
				if (e[0].port->link.connected && e[1].port->link.connected)
					break;
				if (e[1].port->link.channel < 0)
					e[1].port->link.deadline_ms = 0;
			}
			fault_function = -1;
			met = faults != before;
			if (opened[0] && opened[1]) {
				settle(&e[0], &e[1], true);
				pass(&e[0], &e[1], 20, 60);
			}
			for (unsigned k = 2; k--;) {
				if (opened[k])
					memif_port_ops.close(e[k].port);
				free(e[k].port);
				munmap(e[k].memory, MEMORY);
				close(e[k].fd);
			}
			assert_int_equal(count_fds(), fds);
		}
		if (!faults)
			fail_msg("function %d was not called", function);
	}
}

/* All of them have said something, and one that goes no further has the turn: a newcomer is told to
 * come again. */
static void test_handshakes_are_bounded(void **state)
{
	struct end server;
	struct hostile h;
	int s[MEMIF_WAITING_MAX + 1];

	end_open(&server, "role=server");
	hostile_begin(&h, &server);
	for (unsigned i = 0; i < MEMIF_WAITING_MAX; i++) {
		s[i] = dial();
		EXPECT(&server, s[i], "");
		message_send(s[i], &message_init, 128, -1);
	}
	s[MEMIF_WAITING_MAX] = dial();
	EXPECT(&server, s[MEMIF_WAITING_MAX], "Too many handshakes");
	/* One of them says nothing: its place is the newcomer's. */
	close(s[3]);
	hostile_end(&h, &server);
	for (unsigned i = 0; i <= MEMIF_WAITING_MAX; i++)
		if (i != 3)
			close(s[i]);
	for (unsigned i = 0; i < 20; i++)
		memif_port_ops.service(server.port);
	assert_int_equal(server.port->link.waitings, 0);
	end_close(&server);
}

/* What the rules of a start and a stop leave to be done. */
static void test_stop_and_information(void **state)
{
	struct end server, client;
	uint32_t buffers[BUFFERS];
	uint64_t failed = 0;
	struct port_info info;

	end_open(&server, "role=server,unsealed=no");
	end_open(&client, "rsize=6");
	memif_port_ops.info(client.port, &info);
	settle(&server, &client, true);
	for (unsigned k = 0; k < 2; k++) {
		memif_port_ops.info((k ? &client : &server)->port, &info);
		assert_true(info.link);
		assert_string_equal(info.fault.text, "");
		assert_non_null(strstr(info.mode, k ? "client" : "server"));
	}
	/* A peer that takes all in time: nothing has failed. */
	assert_int_equal(transmit(&client, 3, 0, 60), 3);
	assert_int_equal(receive(&server, 0, 60), 3);
	assert_int_equal(memif_port_ops.stop(client.port, buffers), BUFFERS);
	assert_int_equal(memif_port_ops.transmitted(client.port, &failed), 3);
	assert_int_equal(failed, 0);
	assert_int_equal(memif_port_ops.stop(client.port, buffers), 0);
	/* Started while nobody is there; stopped while the link is broken. */
	assert_int_equal(memif_port_ops.start(client.port, buffers, BUFFERS), BUFFERS);
	settle(&server, NULL, false);
	settle(&server, &client, true);
	memif_link_break(&client.port->link);
	assert_int_equal(memif_port_ops.stop(client.port, buffers), BUFFERS);
	assert_int_equal(memif_port_ops.stop(server.port, buffers), 0);
	memif_link_disconnect(&client.port->link, "nobody there");
	/* An eventfd that its owner has filled holds nobody up. */
	settle(&server, NULL, false);
	settle(&server, &client, true);
	int event = client.port->link.send.event;
	uint64_t full = UINT64_MAX - 1;
	assert_int_equal(write(event, &full, sizeof(full)), sizeof(full));
	memif_queue_kick(&client.port->link.send);
	end_close(&client);
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

/* --- Who may be the peer ---------------------------------------------------------------------- */

static void test_newcomers(void **state)
{
	struct end server, client;
	struct hostile h;
	int idle[20];

	for (unsigned kind = 0; kind < 3; kind++) {
		const unsigned n = kind == 0 ? 6 : 20;

		end_open(&server, "role=server");
		unsigned fds = count_fds();
		for (unsigned i = 0; i < n; i++) {
			idle[i] = dial();
			/* Kind 2: they do say something, of no use. */
			if (kind == 2)
				send(idle[i], "?", 1, MSG_NOSIGNAL);
			memif_port_ops.service(server.port);
		}
		end_open(&client, "rsize=4");
		for (unsigned i = 0; i < 40 && !client.port->link.connected; i++) {
			memif_port_ops.service(client.port);
			memif_port_ops.service(server.port);
			pause_ms(kind == 2 ? 20 : 0);
		}
		assert_true(client.port->link.connected && server.port->link.connected);
		/* Who is connected stays, whoever comes; those get an answer. */
		for (unsigned i = 0; i < n; i++)
			close(idle[i]);
		for (unsigned i = 0; i < 20; i++) {
			int s = dial();
			EXPECT(&server, s, "Already connected");
			close(s);
		}
		pass(&client, &server, 100, 60);
		end_close(&client);
		settle(&server, NULL, false);
		assert_int_equal(count_fds(), fds);
		end_close(&server);
	}

	/* One that has come as far as INIT and stops there holds the next up for the deadline, no
	 * longer. */
	end_open(&server, "role=server");
	hostile_begin(&h, &server);
	end_open(&client, "rsize=4");
	settle(&server, &client, true);
	end_close(&client);
	hostile_end(&h, &server);
	end_close(&server);

	/* Silence is answered after the deadline, though nobody else comes. */
	end_open(&server, "role=server");
	int s = dial();
	EXPECT(&server, s, "");
	struct memif_message message;
	for (unsigned i = 0; i < 4000 && recv(s, &message, sizeof(message), MSG_DONTWAIT) < 0;
		i++) {
		memif_port_ops.service(server.port);
		pause_ms(1);
	}
	assert_int_equal(message.type, MEMIF_DISCONNECT);
	assert_string_equal((char *)message.disconnect.reason, "Handshake took too long");
	close(s);
	/* The one who waits when the server ends is told. */
	s = dial();
	EXPECT(&server, s, "");
	end_close(&server);
	assert_int_equal(recv(s, &message, sizeof(message), MSG_DONTWAIT), sizeof(message));
	assert_string_equal((char *)message.disconnect.reason, "Closed");
	close(s);
}

#define NOBODY 65534

/* Runs `act` as another user in a child; its result is in 0 to 100. */
static int as_nobody(int (*act)(void))
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		if (setgid(NOBODY) || setuid(NOBODY))
			_exit(101);
		_exit(act());
	}
	for (unsigned i = 0; waitpid(pid, &status, WNOHANG) == 0; i++) {
		assert_true(i < 10000);
		if (service_meanwhile)
			memif_port_ops.service(service_meanwhile);
		pause_ms(1);
	}
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

/* Connects and waits for the server's word. 0: greeted; 1: not admitted; else the path is
 * closed. */
static int act_client(void)
{
	struct sockaddr_un address;
	socklen_t bytes;
	struct memif_message message;
	int s = socket(AF_UNIX, SOCK_SEQPACKET, 0);

	if (unix_address_or_name(&address, &bytes, socket_path))
		return 100;
	if (connect(s, (struct sockaddr *)&address, bytes))
		return errno == EACCES ? 2 : 99;
	if (recv(s, &message, sizeof(message), 0) != sizeof(message))
		return 98;
	if (message.type == MEMIF_HELLO)
		return 0;
	return strcmp((char *)message.disconnect.reason, "User not admitted") ? 97 : 1;
}

/* Listens where the port connects to, and greets. 0: it was told INIT, and the secret; 1:
 * nothing. */
static int act_server(void)
{
	struct unix_listener listener;
	struct memif_message message = {.type = MEMIF_HELLO,
		.hello = {.version_min = MEMIF_VERSION,
			.version_max = MEMIF_VERSION,
			.region_max = 255,
			.log2_ring_max = 14}};

	if (unix_listen(&listener, socket_path, SOCK_SEQPACKET, 0666, 4))
		return 100;
	int s = accept(listener.fd, NULL, NULL);
	send(s, &message, sizeof(message), MSG_NOSIGNAL);
	bool told = recv(s, &message, sizeof(message), 0) == sizeof(message);
	unix_unlisten(&listener);
	return told ? strcmp((char *)message.init.secret, "abc") ? 99 : 0 : 1;
}

static void test_strangers(void **state)
{
	char path[sizeof(socket_path)], own[64];
	const mode_t mask = umask(0);

	if (geteuid() != 0) {
		umask(mask);
		skip(); /* only root can become another user */
	}
	memcpy(path, socket_path, sizeof(path));
	snprintf(own, sizeof(own), "peers=%u", NOBODY);
	const struct {
		const char *peers;
		bool abstract;
		int client, server; /* what act_client and act_server return */
		mode_t mode;
	} cases[] = {
		{"", false, 2, 1, 0600},
		{"", true, 1, 1, 0},
		{"peers=12345", false, 1, 1, 0666},
		{"peers=12345", true, 1, 1, 0},
		{own, false, 0, 0, 0666},
		{own, true, 0, 0, 0},
		{"peers=any", false, 0, 0, 0666},
		{"peers=any", true, 0, 0, 0},
	};
	for (unsigned i = 0; i < 2 * sizeof(cases) / sizeof(*cases); i++) {
		struct end e;
		struct stat st;
		char options[96];

		umask(i % 2 ? 0 : 0777);
		snprintf(socket_path, sizeof(socket_path), "%s%.60s",
			cases[i / 2].abstract ? "@" : "", path);
		snprintf(options, sizeof(options), "role=server,%s", cases[i / 2].peers);
		end_open(&e, options);
		if (!cases[i / 2].abstract) {
			assert_int_equal(stat(socket_path, &st), 0);
			assert_int_equal(st.st_mode & 07777, cases[i / 2].mode);
		}
		service_meanwhile = e.port;
		assert_int_equal(as_nobody(act_client), cases[i / 2].client);
		assert_true(!cases[i / 2].client == !strstr(e.port->link.reason, "65534") ||
			    cases[i / 2].client == 2);
		end_close(&e);

		snprintf(options, sizeof(options), "secret=abc,%s", cases[i / 2].peers);
		end_open(&e, options);
		service_meanwhile = e.port;
		assert_int_equal(as_nobody(act_server), cases[i / 2].server);
		service_meanwhile = NULL;
		end_close(&e);
	}
	memcpy(socket_path, path, sizeof(path));
	umask(mask);
}

static void test_memory_of_a_peer(void **state)
{
	struct end server;
	struct hostile h;
	struct memif_message m;

	const struct {
		const char *options;
		unsigned regions; /* that are taken, of … */
		uint64_t bytes;
		const char *why;
	} cases[] = {
		{"role=server,map=1", 0, 2ull << 20, "Regions larger than allowed"},
		/* With their guard pages three are more than 3 MiB. */
		{"role=server,map=3", 2, 1ull << 20, "Regions larger than allowed"},
		{"role=server", 0, 1ull << 46, "Regions larger than allowed"},
		{"role=server", 1, 3ull << 30, "Regions larger than allowed"},
		{"role=server,map=8192", 2, 3ull << 30, "Regions larger than allowed"},
		{"role=server", MEMIF_REGIONS_MAX, 4096, "Invalid region index"},
	};
	for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		end_open(&server, cases[i].options);
		hostile_begin(&h, &server);
		int file = memory_file(cases[i].bytes, F_SEAL_SHRINK);
		for (unsigned k = 0; k < cases[i].regions; k++) {
			m = message_region((uint16_t)k, cases[i].bytes);
			message_send(h.s, &m, 128, file);
			EXPECT(&server, h.s, "");
		}
		m = message_region((uint16_t)cases[i].regions, cases[i].bytes);
		message_send(h.s, &m, 128, file);
		EXPECT(&server, h.s, cases[i].why);
		close(file);
		hostile_end(&h, &server);
		end_close(&server);
	}

	/* Friends may shrink theirs. */
	int unsealed = memory_file(HOSTILE_BYTES, F_SEAL_GROW);
	end_open(&server, "role=server,unsealed=yes");
	hostile_begin(&h, &server);
	m = message_region(0, HOSTILE_BYTES);
	message_send(h.s, &m, 128, unsealed);
	EXPECT(&server, h.s, "");
	close(unsealed);
	hostile_end(&h, &server);
	end_close(&server);

	/* Huge pages can be had without one there; a hole in them cannot be filled again. */
	int huge = memfd_create("huge", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_HUGETLB);
	if (huge >= 0) {
		assert_int_equal(ftruncate(huge, 2 << 20), 0);
		assert_int_equal(fcntl(huge, F_ADD_SEALS, F_SEAL_SHRINK), 0);
		end_open(&server, "role=server");
		hostile_begin(&h, &server);
		m = message_region(0, 2 << 20);
		message_send(h.s, &m, 128, huge);
		EXPECT(&server, h.s, "Region of huge pages");
		close(huge);
		hostile_end(&h, &server);
		end_close(&server);
	}
}

static void test_secret(void **state)
{
	struct end server, client;
	char options[128], file[96];
	const struct {
		const char *server, *client;
		bool good;
	} cases[] = {
		{"right", "wrong", false},
		{"right", "righ", false},
		{"right", "rightt", false},
		{"right", "", false},
		{"", "right", true},
		{"right", "right", true},
		{"123456789012345678901234", "123456789012345678901234", true},
		{"123456789012345678901234", "12345678901234567890123", false},
	};
	/* By text to the server; to the client by a file and by a descriptor. */
	snprintf(file, sizeof(file), "%s.secret", socket_path);
	for (unsigned i = 0; i < 3 * sizeof(cases) / sizeof(*cases); i++) {
		const char *said = cases[i / 3].client;
		int fd = open(file, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600),
		    pipes[2] = {-1, -1};
		dprintf(fd, "%s%s", said, i % 2 ? "\n" : "");

		snprintf(options, sizeof(options), "role=server%s%s",
			*cases[i / 3].server ? ",secret=" : "", cases[i / 3].server);
		end_open(&server, options);
		if (!*said) {
			snprintf(options, sizeof(options), "rsize=4");
		} else if (i % 3 == 0) {
			snprintf(options, sizeof(options), "secret-file=%s", file);
		} else if (i % 3 == 1) {
			snprintf(options, sizeof(options), "secret-fd=%d", fd);
		} else {
			assert_int_equal(pipe(pipes), 0);
			dprintf(pipes[1], "%s\n", said);
			snprintf(options, sizeof(options), "secret-fd=%d", pipes[0]);
		}
		end_open(&client, options);
		for (unsigned k = 0; k < 20; k++) {
			memif_port_ops.service(client.port);
			memif_port_ops.service(server.port);
		}
		assert_int_equal(server.port->link.connected, cases[i / 3].good);
		if (!cases[i / 3].good) {
			assert_string_equal(client.port->link.reason, "Incorrect secret");
			assert_int_equal(server.port->link.counters.refused, 1);
		}
		end_close(&client);
		end_close(&server);
		close(fd);
		close(pipes[0]);
		close(pipes[1]);
		unlink(file);
	}

	/* What is behind the end is no part of it: VPP leaves there what lay in its memory. */
	end_open(&server, "role=server,secret=right");
	int s = dial();
	EXPECT(&server, s, "");
	struct memif_message init = message_init;
	memcpy(init.init.secret, "right\0rubbish\0more", 19);
	message_send(s, &init, 128, -1);
	EXPECT(&server, s, "");
	close(s);
	end_close(&server);
}

static void test_options(void **state)
{
	const char *wrong[] = {"role=peer", "rsize=15", "rsize=0", "rsize=x", "rsize=4x", "id=-1x",
		"id=99999999999999999999", "colour=red", "role", "secret",
		"secret=", "secret=1234567890123456789012345", "secret=hidden,colour=hidden",
		"secret-file=", "secret-file=/nowhere/at/all", "secret-file=/dev/null",
		"secret-file=/proc/self/exe", "secret-file=/", "secret-fd=-1", "secret-fd=999",
		"secret-fd=x", "peers=", "peers=me", "peers=-1", "peers=4294967295", "map=0",
		"map=x", "unsealed=perhaps", "id=4294967296"};
	char longest[1100];
	struct memif_port *port = aligned_alloc(64, (sizeof(*port) + 63) & ~63ul);
	struct error error;

	assert_non_null(port);
	for (unsigned i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
		struct port_config config = {.target = socket_path, .options = wrong[i]};
		error.text[0] = 0;
		assert_true(memif_port_ops.open(port, &config, &error) < 0);
		assert_true(strlen(error.text) > 20);
		assert_null(strstr(error.text, "hidden"));
		assert_null(strstr(error.text, "234567890"));
	}
	memset(longest, ',', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = 0;
	struct port_config too_long = {.target = socket_path, .options = longest};
	assert_int_equal(memif_port_ops.open(port, &too_long, &error), -EINVAL);
	struct port_config empty = {.target = "", .buffer_bytes = P2PNIC_BUFFER_BYTES_MIN};
	assert_int_equal(memif_port_ops.open(port, &empty, &error), -EINVAL);
	memset(longest, 'x', 200);
	longest[200] = 0;
	struct port_config no_path = {.target = longest, .buffer_bytes = P2PNIC_BUFFER_BYTES_MIN};
	assert_true(memif_port_ops.open(port, &no_path, &error) < 0);
	struct port_config huge = {.target = socket_path, .memory_bytes = 1ull << 32};
	assert_int_equal(memif_port_ops.open(port, &huge, &error), -EINVAL);
	struct memif_link_config link;
	assert_int_equal(memif_link_options(&link, socket_path, "secret=\n", &error), -EINVAL);
	assert_int_equal(memif_link_options(&link, socket_path, ",,rsize=4,", &error), 0);
	struct port_config nowhere = {.target = "/nowhere/at/all",
		.options = "role=server",
		.buffer_bytes = P2PNIC_BUFFER_BYTES_MIN};
	assert_int_equal(memif_port_ops.open(port, &nowhere, &error), -ENOENT);
	assert_non_null(strstr(error.text, "/nowhere/at/all"));
	free(port);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_both_ways),
		cmocka_unit_test(test_buffer_sizes),
		cmocka_unit_test(test_unlike_buffer_sizes),
		cmocka_unit_test(test_keep),
		cmocka_unit_test(test_full_ring),
		cmocka_unit_test(test_reconnect),
		cmocka_unit_test(test_stop_while_connected),
		cmocka_unit_test(test_sleep),
		cmocka_unit_test(test_hostile_control),
		cmocka_unit_test(test_hostile_rings),
		cmocka_unit_test(test_chains_to_server),
		cmocka_unit_test(test_chains_to_client),
		cmocka_unit_test(test_chains_from_server),
		cmocka_unit_test(test_hostile_server),
		cmocka_unit_test(test_hostile_messages_to_client),
		cmocka_unit_test(test_handshakes_are_bounded),
		cmocka_unit_test(test_stop_and_information),
		cmocka_unit_test(test_too_many_parts),
		cmocka_unit_test(test_faults),
		cmocka_unit_test(test_newcomers),
		cmocka_unit_test(test_strangers),
		cmocka_unit_test(test_memory_of_a_peer),
		cmocka_unit_test(test_secret),
		cmocka_unit_test(test_options),
	};
	snprintf(socket_path, sizeof(socket_path), "/tmp/p2pnic-test-memif-%d", (int)getpid());
	return cmocka_run_group_tests(tests, NULL, NULL);
}
