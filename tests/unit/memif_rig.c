/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/memif_rig.h"

#include "ports/memif_kernel.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

char socket_path[80];
uint32_t memif_buffer_bytes = P2PNIC_BUFFER_BYTES_MIN;

int memory_file(uint64_t bytes, int seals)
{
	int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)bytes), 0);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, seals), 0);
	return fd;
}

void end_open(struct end *e, const char *options)
{
	struct error error = {""};

	e->fd = memory_file(MEMORY, F_SEAL_SHRINK);
	e->memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED, e->fd, 0);
	assert_true(e->memory != MAP_FAILED);
	e->port = aligned_alloc(64, (memif_port_ops.bytes + 63) & ~63ul);
	assert_non_null(e->port);
	struct port_config config = {.target = socket_path,
		.options = options,
		.memory = e->memory,
		.memory_bytes = MEMORY,
		.memory_fd = e->fd,
		.buffer_bytes = memif_buffer_bytes};
	int r = memif_port_ops.open(e->port, &config, &error);
	if (r)
		fail_msg("%s", error.text);
#ifdef RIG_KERNEL
	e->port->kernel = &RIG_KERNEL;
#endif
	uint32_t buffers[BUFFERS];
	for (uint32_t i = 0; i < BUFFERS; i++)
		buffers[i] = i * memif_buffer_bytes;
	memif_port_ops.start(e->port, buffers, BUFFERS);
}

void end_close(struct end *e)
{
	memif_port_ops.close(e->port);
	free(e->port);
	munmap(e->memory, MEMORY);
	close(e->fd);
}

void pause_ms(long ms)
{
	nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

void settle(struct end *a, struct end *b, bool connected)
{
	for (unsigned i = 0; i < 2000; i++) {
		memif_port_ops.service(a->port);
		if (b)
			memif_port_ops.service(b->port);
		if (a->port->link.connected == connected &&
			(!b || b->port->link.connected == connected))
			return;
		pause_ms(1);
	}
	fail_msg("not %s", connected ? "connected" : "disconnected");
}

unsigned transmit(struct end *e, unsigned n, uint32_t number, uint32_t length)
{
	struct p2pnic_descriptor frames[P2PNIC_BURST_MAX];

	assert_true(n <= P2PNIC_BURST_MAX);
	for (unsigned i = 0; i < n; i++) {
		uint32_t offset = SEND_AT + (number + i) % 256 * memif_buffer_bytes + 2 * (i % 8);
		uint32_t value = number + i;
		for (uint32_t k = 0; k + 4 <= length; k += 4)
			memcpy(e->memory + offset + k, &value, 4);
		frames[i] =
			(struct p2pnic_descriptor){.offset = offset, .length = (uint16_t)length};
	}
	unsigned taken = memif_port_ops.transmit(e->port, frames, n);
	port_flush_and_notify(&memif_port_ops, e->port);
	return taken;
}

unsigned receive(struct end *e, uint32_t number, uint32_t length)
{
	struct frame frames[P2PNIC_BURST_MAX];
	unsigned n = memif_port_ops.receive(e->port, frames, P2PNIC_BURST_MAX);

	for (unsigned i = 0; i < n; i++) {
		assert_int_equal(frames[i].length, length);
		for (uint32_t k = 0; k + 4 <= length; k += 4) {
			uint32_t value;
			memcpy(&value, frames[i].data + k, 4);
			assert_int_equal(value, number + i);
		}
	}
	memif_port_ops.release(e->port);
	return n;
}

void pass(struct end *from, struct end *to, uint32_t total, uint32_t length)
{
	uint32_t sent = 0, got = 0, done = 0;
	uint64_t failed = 0;

	while (got < total) {
		uint32_t want = total - sent < 48 ? total - sent : 48;
		if (sent - done < 200)
			sent += transmit(from, want, sent, length);
		got += receive(to, got, length);
		done += memif_port_ops.transmitted(from->port, &failed);
	}
	done += memif_port_ops.transmitted(from->port, &failed);
	assert_int_equal(got, total);
	assert_int_equal(done, total);
	assert_int_equal(failed, 0);
}

/* --- A hostile peer of a server --------------------------------------------------------------- */

int message_send_fds(int s, const void *message, size_t bytes, const int *fds, unsigned n)
{
	union {
		char bytes[CMSG_SPACE(4 * sizeof(int))];
		struct cmsghdr align;
	} control = {0};
	struct iovec iov = {(void *)(uintptr_t)message, bytes};
	struct msghdr mh = {.msg_iov = &iov, .msg_iovlen = 1};

	assert_true(n <= 4);
	if (n) {
		mh.msg_control = control.bytes;
		mh.msg_controllen = CMSG_SPACE(n * sizeof(int));
		struct cmsghdr *c = CMSG_FIRSTHDR(&mh);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(n * sizeof(int));
		memcpy(CMSG_DATA(c), fds, n * sizeof(int));
	}
	return sendmsg(s, &mh, MSG_NOSIGNAL) == (ssize_t)bytes ? 0 : -1;
}

int message_send(int s, const void *message, size_t bytes, int fd)
{
	return message_send_fds(s, message, bytes, &fd, fd >= 0);
}

int dial(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int s = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", socket_path);
	assert_int_equal(connect(s, (struct sockaddr *)&address, sizeof(address)), 0);
	return s;
}

void answer(struct end *server, int s, char *reason)
{
	struct memif_message message;

	memif_port_ops.service(server->port);
	memif_port_ops.service(server->port);
	ssize_t n = recv(s, &message, sizeof(message), MSG_DONTWAIT);
	assert_int_equal(n, sizeof(message));
	reason[0] = 0;
	if (message.type == MEMIF_DISCONNECT)
		snprintf(reason, MEMIF_REASON_BYTES, "%s", (char *)message.disconnect.reason);
}

const struct memif_message message_init = {.type = MEMIF_INIT, .init = {.version = MEMIF_VERSION}};

struct memif_message message_region(uint16_t index, uint64_t bytes)
{
	return (struct memif_message){
		.type = MEMIF_ADD_REGION, .add_region = {.index = index, .bytes = bytes}};
}

struct memif_message message_ring(
	uint16_t flags, uint16_t region, uint32_t offset, uint8_t log2_size)
{
	return (struct memif_message){.type = MEMIF_ADD_RING,
		.add_ring = {.flags = flags,
			.region = region,
			.offset = offset,
			.log2_size = log2_size}};
}

void hostile_begin(struct hostile *h, struct end *server)
{
	h->s = dial();
	h->memory = memory_file(HOSTILE_BYTES, F_SEAL_SHRINK);
	h->event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	h->base = mmap(NULL, HOSTILE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, h->memory, 0);
	EXPECT(server, h->s, ""); /* HELLO */
	assert_int_equal(message_send(h->s, &message_init, 128, -1), 0);
	EXPECT(server, h->s, "");
}

void hostile_end(struct hostile *h, struct end *server)
{
	close(h->s);
	close(h->memory);
	close(h->event);
	munmap(h->base, HOSTILE_BYTES);
	settle(server, NULL, false);
	memif_port_ops.service(server->port);
	memif_port_ops.service(server->port);
}

void hostile_connect(struct hostile *h, struct end *server)
{
	hostile_begin(h, server);
	struct memif_message m = message_region(0, HOSTILE_BYTES);
	message_send(h->s, &m, 128, h->memory);
	EXPECT(server, h->s, "");
	for (unsigned i = 0; i < 2; i++) {
		h->ring[i] = (struct memif_ring *)(void *)(h->base + i * 4096);
		h->ring[i]->cookie = MEMIF_COOKIE;
		m = message_ring(i == 0, 0, i * 4096, 4);
		message_send(h->s, &m, 128, h->event);
		EXPECT(server, h->s, "");
	}
	m = (struct memif_message){.type = MEMIF_CONNECT};
	message_send(h->s, &m, 128, -1);
	EXPECT(server, h->s, "");
	assert_true(server->port->link.connected);
}

unsigned count_fds(void)
{
	unsigned n = 0;

	for (int fd = 0; fd < 1024; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}
