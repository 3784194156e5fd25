/* SPDX-License-Identifier: BSD-3-Clause */
/* The memif port: both roles against each other in one process. */
#include "tests/unit/memif_rig.h"
#include "tests/unit/port_keep.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <poll.h>
#include <stdio.h>
#include <unistd.h>

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

/* A peer that polls meanwhile sees frames from the flush on; its event, if it sleeps, is the
 * notification's. */
static void test_flush_then_notify(void **state)
{
	struct end server, client;
	struct p2pnic_descriptor frame = {.offset = SEND_AT, .length = 60};

	end_open(&server, "role=server");
	end_open(&client, "rsize=6");
	settle(&server, &client, true);
	struct end *ends[2] = {&server, &client};
	for (unsigned k = 0; k < 2; k++) {
		struct end *to = ends[k], *from = ends[1 - k];
		int fd = memif_port_ops.fd(to->port);

		memset(from->memory + SEND_AT, 0, 60);
		assert_false(memif_port_ops.arm(to->port));
		memif_port_ops.notify(from->port); /* of nothing */
		assert_false(readable(fd));
		assert_int_equal(memif_port_ops.transmit(from->port, &frame, 1), 1);
		memif_port_ops.notify(from->port); /* nothing was flushed */
		assert_false(readable(fd));
		memif_port_ops.flush(from->port);
		assert_false(readable(fd));
		assert_int_equal(receive(to, 0, 60), 1);
		memif_port_ops.notify(from->port);
		assert_true(readable(fd));
		memif_port_ops.disarm(to->port);
		assert_false(memif_port_ops.arm(to->port));
		memif_port_ops.notify(from->port); /* once */
		memif_port_ops.flush(from->port);
		memif_port_ops.notify(from->port); /* nothing since */
		assert_false(readable(fd));
		memif_port_ops.disarm(to->port);
		/* The connection ends in between: nobody is left to notify. */
	}
	assert_int_equal(memif_port_ops.transmit(client.port, &frame, 1), 1);
	memif_port_ops.flush(client.port);
	memif_link_disconnect(&client.port->link, "in between");
	memif_port_ops.service(client.port);
	memif_port_ops.notify(client.port);
	end_close(&client);
	end_close(&server);
}

/* What the rules of a start and a stop leave to be done. */
/* n frames by transmit_from, in turn of packet memory and the others; they all arrive. */
static void pass_from(struct end *from, struct end *to, const struct port_memory *memory,
	const unsigned *number, unsigned memories, uint32_t first)
{
	struct p2pnic_descriptor frames[12];
	uint64_t failed = 0;

	for (uint32_t i = 0; i < 12; i++) {
		unsigned m = i % (memories + 1);
		uint8_t *base = m ? memory[m - 1].base : from->memory + SEND_AT;

		frames[i] = (struct p2pnic_descriptor){.offset = (m ? 0 : SEND_AT) + i * 256,
			.length = 100,
			.flags = (uint16_t)(m ? number[m - 1] : 0)};
		for (uint32_t k = 0; k < 100; k += 4)
			memcpy(base + i * 256 + k, &(uint32_t){first + i}, 4);
	}
	assert_int_equal(memif_port_ops.transmit_from(from->port, frames, 12), 12);
	port_flush_and_notify(&memif_port_ops, from->port);
	assert_int_equal(receive(to, first, 100), 12);
	assert_int_equal(memif_port_ops.transmitted(from->port, &failed), 12);
	assert_int_equal(failed, 0);
}

/*
 * A client that shares sends from memories that its peer has, which are those it was given when the
 * link was made. A link over which nothing has passed is made anew for one that comes late; one in
 * use stays, and the memory is out of reach until the next link.
 */
static void test_memories(void **state)
{
	const struct port_ops *ops = &memif_port_ops;
	struct end server, client;
	struct port_memory memory[3];
	unsigned number[3];
	uint64_t failed = 0, links;

	for (unsigned m = 0; m < 3; m++) {
		memory[m].bytes = 1 << 20;
		memory[m].fd = memory_file(memory[m].bytes, F_SEAL_SHRINK);
		memory[m].base = mmap(
			NULL, memory[m].bytes, PROT_READ | PROT_WRITE, MAP_SHARED, memory[m].fd, 0);
		assert_true(memory[m].base != MAP_FAILED);
	}
	end_open(&client, "");
	assert_int_equal(ops->reach(client.port, &memory[0]), 0); /* not told to */
	end_close(&client);

	end_open(&client, "share=yes");
	end_open(&server, "role=server");
	number[0] = ops->reach(client.port, &memory[0]);
	assert_int_not_equal(number[0], 0);
	settle(&client, &server, true);
	assert_true(ops->reachable(client.port) >> number[0] & 1);
	number[1] = ops->reach(client.port, &memory[1]); /* late, but nothing has passed */
	assert_false(ops->reachable(client.port) >> number[1] & 1);
	for (unsigned k = 0; k < 2000 && !(ops->reachable(client.port) >> number[1] & 1); k++) {
		ops->service(client.port);
		ops->service(server.port);
		pause_ms(1);
	}
	settle(&client, &server, true);
	pass_from(&client, &server, memory, number, 2, 1000);

	links = client.port->link.counters.connects;
	number[2] = ops->reach(client.port, &memory[2]);
	for (unsigned k = 0; k < 20; k++) {
		ops->service(client.port);
		ops->service(server.port);
	}
	assert_int_equal(client.port->link.counters.connects, links);
	assert_false(ops->reachable(client.port) >> number[2] & 1);
	pass_from(&client, &server, memory, number, 2, 2000);
	/* Its number is another's then, but its region is not. */
	ops->leave(client.port, number[0]);
	assert_false(ops->reachable(client.port) >> number[0] & 1);
	number[0] = ops->reach(client.port, &memory[0]);
	assert_false(ops->reachable(client.port) >> number[0] & 1);

	end_close(&server);
	settle(&client, NULL, false);
	end_open(&server, "role=server");
	settle(&client, &server, true);
	assert_int_equal(client.port->link.regions, 5);
	ops->transmitted(client.port, &failed);
	pass_from(&client, &server, memory, number, 3, 3000);

	/* A server copies from whatever memory. */
	number[0] = ops->reach(server.port, &memory[0]);
	assert_true(ops->reachable(server.port) >> number[0] & 1);
	pass_from(&server, &client, memory, number, 1, 4000);
	end_close(&client);
	end_close(&server);
	for (unsigned m = 0; m < 3; m++) {
		munmap(memory[m].base, memory[m].bytes);
		close(memory[m].fd);
	}
}

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
		cmocka_unit_test(test_flush_then_notify),
		cmocka_unit_test(test_memories),
		cmocka_unit_test(test_stop_and_information),
	};
	snprintf(socket_path, sizeof(socket_path), "/tmp/p2pnic-test-memif-%d", (int)getpid());
	return cmocka_run_group_tests(tests, NULL, NULL);
}
