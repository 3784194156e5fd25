/* SPDX-License-Identifier: BSD-3-Clause */
/* The memif port, either role, against a peer that lies, and against too many of them. */
#include "ipc/unix_address.h"
#include "tests/unit/memif_rig.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hostile_control),
		cmocka_unit_test(test_hostile_rings),
		cmocka_unit_test(test_hostile_server),
		cmocka_unit_test(test_hostile_messages_to_client),
		cmocka_unit_test(test_handshakes_are_bounded),
	};
	snprintf(socket_path, sizeof(socket_path), "/tmp/p2pnic-test-memif-hostile-%d",
		(int)getpid());
	return cmocka_run_group_tests(tests, NULL, NULL);
}
