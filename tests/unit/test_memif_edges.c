/* SPDX-License-Identifier: BSD-3-Clause */
/* What seldom happens to a memif port: calls that fail, calls while there is no link, odd peers. */
#include "inject.h"
#include "memif_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define NOBODY 65534

/* --- Calls that fail -------------------------------------------------------------------------- */

static int open_port(const char *target, struct error *error)
{
	struct memif_port *port = aligned_alloc(64, (sizeof(*port) + 63) & ~63ul);
	struct port_config config = {.target = target,
		.options = "role=server",
		.buffer_bytes = P2PNIC_BUFFER_BYTES_MIN};

	assert_non_null(port);
	error->text[0] = 0;
	int r = memif_port_ops.open(port, &config, error);
	if (!r)
		memif_port_ops.close(port);
	free(port);
	return r;
}

static void test_no_memory(void **state)
{
	struct error error;
	unsigned fds = count_fds();

	for (unsigned k = 0; k < 3; k++) {
		inject_one("alloc", 1 + k, ENOMEM); /* the first is the port itself */
		assert_int_equal(open_port(socket_path, &error), -ENOMEM);
		assert_non_null(strstr(error.text, socket_path));
		assert_non_null(strstr(error.text, "out of memory"));
	}
	assert_int_equal(open_port(socket_path, &error), 0);
	assert_int_equal(open_port(NULL, &error), -EINVAL);
	assert_non_null(strstr(error.text, "memif: "));
	assert_int_equal(count_fds(), fds);
}

/* The client's rings could not be sealed: it says why, and comes again. */
static void test_unsealable_rings(void **state)
{
	struct end server, client;

	end_open(&server, "role=server");
	end_open(&client, "rsize=4");
	inject_one("fcntl64", 0, ENOMEM);
	for (unsigned i = 0; i < 8; i++) {
		memif_port_ops.service(server.port);
		memif_port_ops.service(client.port);
	}
	assert_string_equal(client.port->link.reason, "Out of memory");
	assert_string_equal(server.port->link.reason, "Out of memory");
	assert_false(client.port->link.connected);
	client.port->link.deadline_ms = 0; /* no pause before the next try */
	settle(&server, &client, true);
	pass(&client, &server, 20, 60);
	end_close(&client);
	end_close(&server);
}

/* --- Messages of a hostile peer --------------------------------------------------------------- */

static void test_odd_messages(void **state)
{
	struct end server;
	struct hostile h;
	struct memif_message m[2] = {{0}};

	end_open(&server, "role=server");
	unsigned fds = count_fds();

	/* A byte too many. */
	int s = dial();
	EXPECT(&server, s, "");
	m[0] = message_init;
	message_send(s, m, 129, -1);
	EXPECT(&server, s, "Invalid message size");
	close(s);

	/* Two descriptors: the first counts, the other is closed. */
	hostile_begin(&h, &server);
	m[0] = message_region(0, HOSTILE_BYTES);
	message_send_fds(h.s, m, 128, (int[]){h.memory, h.event}, 2);
	EXPECT(&server, h.s, "");
	assert_int_equal(server.port->link.regions, 1);
	/* Three more of the test's own: socket, memory, event; two of the server's: its end and the
	 * region. */
	assert_int_equal(count_fds(), fds + 5);
	m[0] = message_ring(1, 0, 0, 4);
	message_send(h.s, m, 128, h.event);
	EXPECT(&server, h.s, "");
	message_send(h.s, m, 128, h.event); /* the same again */
	EXPECT(&server, h.s, "Invalid ring index");
	hostile_end(&h, &server);

	/* An eventfd that cannot be made one that never blocks. */
	hostile_begin(&h, &server);
	m[0] = message_region(0, HOSTILE_BYTES);
	message_send(h.s, m, 128, h.memory);
	EXPECT(&server, h.s, "");
	m[0] = message_ring(1, 0, 0, 4);
	message_send(h.s, m, 128, h.event);
	inject_one("F_SETFL", 0, ENOMEM);
	EXPECT(&server, h.s, "Interrupt fd is no eventfd");
	hostile_end(&h, &server);

	/* Of a region's file nothing can be known; or it is on a disk, where there are no seals. */
	hostile_begin(&h, &server);
	m[0] = message_region(0, 4096);
	message_send(h.s, m, 128, h.memory);
	inject_one("fstat64", 0, ENOMEM);
	EXPECT(&server, h.s, "Region is no memory file");
	hostile_end(&h, &server);
	hostile_begin(&h, &server);
	int disk = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	message_send(h.s, m, 128, disk);
	EXPECT(&server, h.s, "Region not sealed against shrinking");
	close(disk);
	hostile_end(&h, &server);

	assert_int_equal(count_fds(), fds);
	end_close(&server);
}

/* Where the friend may shrink it, a region may have huge pages: it is mapped at one, or refused,
 * and nothing stays. */
static void test_huge_pages(void **state)
{
	const uint64_t bytes = 2u << 20;
	struct end server;
	struct hostile h;
	char reason[MEMIF_REASON_BYTES];
	int huge = memfd_create("huge", MFD_CLOEXEC | MFD_HUGETLB | MFD_HUGE_2MB);

	if (huge < 0)
		skip(); /* a kernel without them */
	assert_int_equal(ftruncate(huge, (off_t)bytes), 0);
	end_open(&server, "role=server,unsealed=yes");
	for (unsigned k = 0; k < 4; k++) {
		hostile_begin(&h, &server);
		struct memif_message m = message_region(0, bytes);
		message_send(h.s, &m, 128, huge);
		answer(&server, h.s, reason);
		if (!reason[0])
			assert_int_equal((uintptr_t)server.port->link.region[0].base % bytes, 0);
		else
			assert_string_equal(reason, "Region cannot be mapped"); /* none is free */
		hostile_end(&h, &server);
	}
	end_close(&server);
	close(huge);
}

/* More at once than the server greets in one turn. */
static void test_many_newcomers(void **state)
{
	struct end server;
	struct memif_message message;
	int s[MEMIF_WAITING_MAX + 2];
	unsigned greeted = 0;

	end_open(&server, "role=server");
	for (unsigned i = 0; i < MEMIF_WAITING_MAX + 2; i++)
		s[i] = dial();
	memif_port_ops.service(server.port);
	for (unsigned i = 0; i < MEMIF_WAITING_MAX + 2; i++)
		greeted += recv(s[i], &message, sizeof(message), MSG_DONTWAIT) == sizeof(message);
	assert_int_equal(greeted, MEMIF_WAITING_MAX);
	EXPECT(&server, s[MEMIF_WAITING_MAX], "");
	EXPECT(&server, s[MEMIF_WAITING_MAX + 1], "");
	for (unsigned i = 0; i < MEMIF_WAITING_MAX + 2; i++)
		close(s[i]);
	end_close(&server);
}

/* --- Rings of a hostile peer ------------------------------------------------------------------ */

static void test_odd_rings(void **state)
{
	struct end server;
	struct hostile h;
	struct frame frames[P2PNIC_BURST_MAX];
	uint64_t failed = 0;

	end_open(&server, "role=server");
	hostile_connect(&h, &server);
	/* The first of a burst is too long. */
	h.ring[0]->slot[0] = (struct memif_descriptor){
		MEMIF_CONTROL(0, 0, P2PNIC_FRAME_BYTES_MAX(P2PNIC_BUFFER_BYTES_MIN) + 1), 0x2000};
	h.ring[0]->slot[1] = (struct memif_descriptor){MEMIF_CONTROL(0, 0, 61), 0x2000};
	atomic_store(&h.ring[0]->head, 2);
	assert_int_equal(memif_port_ops.receive(server.port, frames, P2PNIC_BURST_MAX), 1);
	assert_int_equal(frames[0].length, 61);
	memif_port_ops.release(server.port);
	assert_int_equal(server.port->oversize, 1);

	/* One packet fills the ring, and is dropped from its first part on: counted once, at its
	 * end. */
	for (unsigned k = 0; k < 16; k++)
		h.ring[0]->slot[(2 + k) & 15] =
			(struct memif_descriptor){MEMIF_CONTROL(1, k ? 0 : 9, 1), 0x2000};
	atomic_store(&h.ring[0]->head, 18);
	assert_int_equal(memif_port_ops.receive(server.port, frames, P2PNIC_BURST_MAX), 0);
	assert_int_equal(atomic_load(&h.ring[0]->tail), 18);
	assert_int_equal(server.port->link.counters.bad_descriptor, 0);
	h.ring[0]->slot[2] = (struct memif_descriptor){MEMIF_CONTROL(0, 0, 1), 0x2000};
	atomic_store(&h.ring[0]->head, 19);
	assert_int_equal(memif_port_ops.receive(server.port, frames, P2PNIC_BURST_MAX), 0);
	assert_int_equal(server.port->link.counters.bad_descriptor, 1);
	assert_int_equal(server.port->oversize, 1);

	/* A buffer with room for the frame and no byte more. */
	memset(h.base + 0x2000, 0xaa, 0x1000);
	h.ring[1]->slot[0] = (struct memif_descriptor){MEMIF_CONTROL(0, 0, 60), 0x2000};
	atomic_store(&h.ring[1]->head, 1);
	assert_int_equal(transmit(&server, 1, 77, 60), 1);
	assert_int_equal(memif_port_ops.transmitted(server.port, &failed), 1);
	assert_int_equal(failed, 0);
	assert_int_equal(h.base[0x2000 + 56], 77);
	assert_int_equal(h.base[0x2000 + 60], 0xaa);
	hostile_end(&h, &server);
	end_close(&server);
}

/* --- Calls while there is no link ------------------------------------------------------------- */

/* A link that is down, broken or not started: nothing comes, nothing waits, and what is sent has
 * failed. */
static void silent(struct end *e, bool takes)
{
	struct frame frames[P2PNIC_BURST_MAX];
	uint64_t failed = 0;

	assert_int_equal(memif_port_ops.receive(e->port, frames, P2PNIC_BURST_MAX), 0);
	assert_false(memif_port_ops.arm(e->port));
	memif_port_ops.disarm(e->port);
	if (!takes)
		return;
	assert_int_equal(transmit(e, 3, 0, 60), 3);
	assert_int_equal(memif_port_ops.transmitted(e->port, &failed), 3);
	assert_int_equal(failed, 3);
}

static void test_without_link(void **state)
{
	struct end end[2]; /* server, client */
	uint32_t buffers[BUFFERS];

	for (unsigned k = 0; k < 2; k++) {
		struct end *e = &end[k];

		end_open(&end[0], "role=server");
		silent(&end[0], true);
		end_open(&end[1], "rsize=6");
		settle(&end[0], &end[1], true);
		/* The other's frame waits, but the receiver is stopped. A client's stop ends the
		 * link. */
		assert_int_equal(transmit(&end[1 - k], 1, 0, 60), 1);
		unsigned n = memif_port_ops.stop(e->port, buffers);
		assert_int_equal(n, k ? BUFFERS : 0);
		silent(e, k == 1);
		settle(&end[0], k ? NULL : &end[1], !k);
		settle(&end[0], &end[1], true);
		silent(e, false);
		/* It starts while the link is broken: buffers are posted with the next one. */
		memif_link_break(&e->port->link);
		silent(e, true);
		memif_port_ops.start(e->port, buffers, n);
		silent(e, true);
		settle(e, NULL, false);
		silent(e, true);
		settle(&end[1 - k], NULL, false);
		end[1].port->link.deadline_ms = 0;
		settle(&end[0], &end[1], true);
		/* What the other had sent: a server's frame was in the client's memory, a client's
		 * is lost. */
		uint64_t failed = 0;
		assert_int_equal(memif_port_ops.transmitted(end[1 - k].port, &failed), 1);
		assert_int_equal(failed, 1 - k);
		pass(&end[0], &end[1], 20, 60);
		pass(&end[1], &end[0], 20, 60);
		end_close(&end[1]);
		end_close(&end[0]);
	}
}

/* Newcomers and messages show at the control descriptor, packets do not. */
static void test_control_descriptor(void **state)
{
	struct end server;
	struct pollfd p = {.events = POLLIN};

	end_open(&server, "role=server");
	p.fd = memif_port_ops.control_fd(server.port);
	assert_int_not_equal(p.fd, memif_port_ops.fd(server.port));
	assert_int_equal(poll(&p, 1, 0), 0);
	int s = dial();
	assert_int_equal(poll(&p, 1, 0), 1);
	EXPECT(&server, s, "");
	assert_int_equal(poll(&p, 1, 0), 0);
	message_send(s, &message_init, 128, -1);
	assert_int_equal(poll(&p, 1, 0), 1);
	close(s);
	end_close(&server);
}

/* --- Who the peer is -------------------------------------------------------------------------- */

/* Both ends are of one user who is not root. */
static void test_own_user(void **state)
{
	struct end server, client;

	if (geteuid() != 0)
		skip(); /* only root can become another user */
	assert_int_equal(seteuid(NOBODY), 0);
	end_open(&server, "role=server");
	end_open(&client, "rsize=4");
	settle(&server, &client, true);
	pass(&client, &server, 20, 60);
	end_close(&client);
	end_close(&server);
	assert_int_equal(seteuid(0), 0);
}

/* A secret has no zero byte in it. */
static void test_secret_with_zero(void **state)
{
	struct memif_link_config link;
	char options[64];
	struct error error = {""};
	int pipes[2];

	assert_int_equal(pipe(pipes), 0);
	assert_int_equal(write(pipes[1], "a\0b", 3), 3);
	snprintf(options, sizeof(options), "secret-fd=%d", pipes[0]);
	assert_int_equal(memif_link_options(&link, socket_path, options, &error), -EINVAL);
	assert_non_null(strstr(error.text, "secret-fd"));
	close(pipes[0]);
	close(pipes[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_no_memory),
		cmocka_unit_test(test_unsealable_rings),
		cmocka_unit_test(test_odd_messages),
		cmocka_unit_test(test_huge_pages),
		cmocka_unit_test(test_many_newcomers),
		cmocka_unit_test(test_odd_rings),
		cmocka_unit_test(test_without_link),
		cmocka_unit_test(test_control_descriptor),
		cmocka_unit_test(test_own_user),
		cmocka_unit_test(test_secret_with_zero),
	};

	snprintf(
		socket_path, sizeof(socket_path), "/tmp/p2pnic-test-memif-edges-%d", (int)getpid());
	return cmocka_run_group_tests(tests, NULL, NULL);
}
