/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A memif port against a hostile peer, in either role: its messages, and what it writes into the
 * rings.
 *
 * First byte: bit 0, the port is client; bit 1, the handshake is first done as it should be; bit 2,
 * unsealed. Then records {kind, a, b, length, bytes…}. Kind 0 to 7: the message that would come
 * next or, from 1 on, one of that type, its bytes from b on replaced by the record's, with
 * descriptor a; 8, 9: the record's bytes are written into the shared memory at a, b · 16; 10: into
 * slots of the ring that the port receives from, and both rings' indices go on by a; 11 to 14:
 * frames go through the port both ways; 15: a message of another size.
 */
#include "ports/memif.h"
#include "tests/unit/port_keep.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define MEMORY 0x40000u
#define SHARED 0x10000u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int shared, unsealed, event, listener;
static uint8_t *shared_memory; /* what the peer writes: of its own, or the client's rings */
static uint8_t *port_memory;
static int port_fd;
static char name[64];
static struct sockaddr_un address;
static socklen_t address_bytes;

#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition))                                                                  \
			abort();                                                                   \
	} while (0)

static int memory_file(size_t bytes, int seals)
{
	int fd = memfd_create("fuzz", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	CHECK(fd >= 0 && ftruncate(fd, (off_t)bytes) == 0 && fcntl(fd, F_ADD_SEALS, seals) == 0);
	return fd;
}

static void set_up(void)
{
	shared = memory_file(SHARED, F_SEAL_SHRINK);
	unsealed = memory_file(SHARED, 0);
	port_fd = memory_file(MEMORY, F_SEAL_SHRINK);
	event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	shared_memory = mmap(NULL, SHARED, PROT_READ | PROT_WRITE, MAP_SHARED, shared, 0);
	port_memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED, port_fd, 0);
	CHECK(shared_memory != MAP_FAILED && port_memory != MAP_FAILED);
	snprintf(name, sizeof(name), "@p2pnic-fuzz-memif-%d", getpid());
	address.sun_family = AF_UNIX;
	memcpy(address.sun_path + 1, name + 1, strlen(name) - 1);
	address_bytes = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name));
}

static int lowest_free_fd(void)
{
	int fd = fcntl(shared, F_DUPFD_CLOEXEC, 0);

	close(fd);
	return fd;
}

/* --- The peer --------------------------------------------------------------------------------- */

struct peer {
	struct memif_port *port;
	bool port_is_client;
	int socket;
	unsigned said;  /* messages of the handshake so far */
	uint8_t *rings; /* where records write */
	size_t ring_bytes;
};

/* What an honest peer says k-th. */
static struct memif_message proper(const struct peer *p, unsigned k)
{
	struct memif_message m = {0};

	if (p->port_is_client) {
		m.type = k == 0 ? MEMIF_HELLO : k < 6 ? MEMIF_ACK : MEMIF_CONNECTED;
		if (k == 0) {
			m.hello.version_min = m.hello.version_max = MEMIF_VERSION;
			m.hello.region_max = 255;
			m.hello.log2_ring_max = 14;
		}
		return m;
	}
	m.type = k == 0   ? MEMIF_INIT
		 : k == 1 ? MEMIF_ADD_REGION
		 : k < 4  ? MEMIF_ADD_RING
			  : MEMIF_CONNECT;
	if (k == 0)
		m.init.version = MEMIF_VERSION;
	if (k == 1)
		m.add_region.bytes = SHARED;
	if (k == 2 || k == 3) {
		m.add_ring.flags = k == 2 ? MEMIF_RING_TO_SERVER : 0;
		m.add_ring.offset = k == 2 ? 0 : 0x1000;
		m.add_ring.log2_size = 4;
	}
	return m;
}

static int proper_fd(uint16_t type)
{
	return type == MEMIF_ADD_REGION ? shared : type == MEMIF_ADD_RING ? event : -1;
}

static void say(int socket, const void *message, size_t bytes, int fd)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct iovec part = {(void *)message, bytes};
	struct msghdr m = {.msg_iov = &part, .msg_iovlen = 1};

	if (fd >= 0) {
		m.msg_control = &control;
		m.msg_controllen = sizeof(control);
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
	}
	sendmsg(socket, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* What the port said is thrown away, but for the first memory that comes: a client's rings. */
static void hear(struct peer *p)
{
	for (;;) {
		union {
			struct cmsghdr header;
			char space[CMSG_SPACE(4 * sizeof(int))];
		} control;
		struct memif_message message;
		struct iovec part = {&message, sizeof(message)};
		struct msghdr m = {.msg_iov = &part,
			.msg_iovlen = 1,
			.msg_control = &control,
			.msg_controllen = sizeof(control)};

		if (recvmsg(p->socket, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) <= 0)
			return;
		struct cmsghdr *c = CMSG_FIRSTHDR(&m);

		if (!c)
			continue;
		int fd;

		memcpy(&fd, CMSG_DATA(c), sizeof(fd));
		if (message.type == MEMIF_ADD_REGION && p->rings == shared_memory) {
			p->ring_bytes = message.add_region.bytes;
			p->rings = mmap(
				NULL, p->ring_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
			CHECK(p->rings != MAP_FAILED);
		}
		close(fd);
	}
}

static void turn(struct peer *p)
{
	memif_port_ops.service(p->port);
	hear(p);
}

static void next_message(struct peer *p)
{
	struct memif_message m = proper(p, p->said++);

	say(p->socket, &m, sizeof(m), proper_fd(m.type));
	turn(p);
}

/* --- Frames through the port ------------------------------------------------------------------ */

static void exchange(struct peer *p, uint8_t a, uint8_t b)
{
	struct frame frames[P2PNIC_BURST_MAX];
	struct p2pnic_descriptor out[8];
	unsigned n = memif_port_ops.receive(p->port, frames, a % P2PNIC_BURST_MAX + 1);
	uint64_t failed = 0;

	CHECK(n <= a % P2PNIC_BURST_MAX + 1u);
	for (unsigned k = 0; k < n; k++) {
		volatile uint8_t last = 0;

		CHECK(frames[k].length <= P2PNIC_FRAME_BYTES_MAX(P2PNIC_BUFFER_BYTES_MIN));
		/* 64 bytes from data are always readable, and so is data up to length rounded up to
		 * 64. */
		for (uint32_t at = 0; at < frames[k].length || at < 64; at += 64)
			last = frames[k].data[at + 63];
		(void)last;
	}
	if (n && b & 1) {
		uint32_t kept = rig_keep(
			&memif_port_ops, p->port, b % n, MEMORY / 2 + P2PNIC_BUFFER_BYTES_MIN);

		CHECK(kept + frames[b % n].length <= MEMORY);
	}
	memif_port_ops.release(p->port);
	for (unsigned k = 0; k < 8; k++)
		out[k] = (struct p2pnic_descriptor){MEMORY / 2 + k * P2PNIC_BUFFER_BYTES_MIN,
			(uint16_t)(14 + b * 7u % 1700), 0};
	CHECK(memif_port_ops.transmit(p->port, out, b % 8 + 1) <= b % 8 + 1u);
	port_flush_and_notify(&memif_port_ops, p->port);
	memif_port_ops.transmitted(p->port, &failed);
	memif_port_ops.arm(p->port);
	memif_port_ops.disarm(p->port);
}

/* The peer goes on, be it right or wrong: packets for the port, room for those of the port. */
static void advance(struct peer *p, uint16_t by, unsigned slot, const uint8_t *bytes, size_t n)
{
	const bool client = p->port_is_client;
	struct memif_ring *first = (void *)p->rings;
	struct memif_ring *second =
		(void *)(p->rings + (client ? (memif_ring_bytes(4) + 63) & ~63ull : 0x1000));
	struct memif_ring *receive = client ? second : first;

	if (n > (16 - slot) * sizeof(struct memif_descriptor))
		n = (16 - slot) * sizeof(struct memif_descriptor);
	memcpy(&receive->slot[slot], bytes, n);
	atomic_fetch_add(client ? &first->tail : &first->head, by);
	atomic_fetch_add(client ? &second->tail : &second->head, by);
}

static void record(struct peer *p, const uint8_t head[4], const uint8_t *bytes, size_t n)
{
	const uint8_t kind = head[0] & 15;
	const int fds[] = {-1, shared, unsealed, event, p->socket};

	if (kind < 8) {
		struct memif_message m = proper(p, p->said);

		if (kind)
			m.type = kind;
		if (n > sizeof(m) - head[2] % sizeof(m))
			n = sizeof(m) - head[2] % sizeof(m);
		memcpy((uint8_t *)&m + head[2] % sizeof(m), bytes, n);
		say(p->socket, &m, sizeof(m), head[1] < 128 ? proper_fd(m.type) : fds[head[1] % 5]);
		p->said++;
	} else if (kind == 10) {
		advance(p, head[1] % 24, head[2] % 16, bytes, n);
	} else if (kind < 11) {
		size_t at = ((size_t)head[1] << 8 | head[2]) * 16 % p->ring_bytes;

		memcpy(p->rings + at, bytes, n < p->ring_bytes - at ? n : p->ring_bytes - at);
	} else if (kind < 15) {
		exchange(p, head[1], head[2]);
	} else {
		say(p->socket, bytes, n, fds[head[1] % 5]);
	}
	turn(p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct memif_port port __attribute__((aligned(64)));
	struct peer p = {.port = &port, .socket = -1, .ring_bytes = SHARED};
	char options[64];
	struct error error;
	uint32_t buffers[8];

	if (!shared_memory)
		set_up();
	if (size < 1)
		return 0;
	int next_fd = lowest_free_fd();

	p.rings = shared_memory;
	p.port_is_client = data[0] & 1;
	memset(&port, 0, sizeof(port));
	memset(shared_memory, 0, SHARED);
	((struct memif_ring *)(void *)shared_memory)->cookie = MEMIF_COOKIE;
	((struct memif_ring *)(void *)(shared_memory + 0x1000))->cookie = MEMIF_COOKIE;
	if (p.port_is_client) {
		listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		CHECK(bind(listener, (struct sockaddr *)&address, address_bytes) == 0);
		CHECK(listen(listener, 1) == 0);
	}
	snprintf(options, sizeof(options), "role=%s,rsize=4%s",
		p.port_is_client ? "client" : "server", data[0] & 4 ? ",unsealed=yes" : "");
	struct port_config config = {.target = name,
		.options = options,
		.memory = port_memory,
		.memory_bytes = MEMORY,
		.memory_fd = port_fd,
		.buffer_bytes = P2PNIC_BUFFER_BYTES_MIN};

	CHECK(memif_port_ops.open(&port, &config, &error) == 0);
	for (uint32_t k = 0; k < 8; k++)
		buffers[k] = k * P2PNIC_BUFFER_BYTES_MIN;
	memif_port_ops.start(&port, buffers, 8);
	if (p.port_is_client) {
		memif_port_ops.service(&port);
		p.socket = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	} else {
		p.socket = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
		CHECK(connect(p.socket, (struct sockaddr *)&address, address_bytes) == 0);
	}
	CHECK(p.socket >= 0);
	turn(&p);
	if (data[0] & 2) {
		for (unsigned k = 0; k < (p.port_is_client ? 7 : 5); k++)
			next_message(&p);
		CHECK(port.link.connected);
	}
	data++;
	size--;
	while (size >= 4) {
		size_t n = data[3] < size - 4 ? data[3] : size - 4;

		record(&p, data, data + 4, n);
		data += 4 + n;
		size -= 4 + n;
	}
	memif_port_ops.stop(&port, buffers);
	memif_port_ops.close(&port);
	close(p.socket);
	if (p.port_is_client)
		close(listener);
	if (p.rings != shared_memory)
		munmap(p.rings, p.ring_bytes);
	CHECK(lowest_free_fd() == next_fd);
	return 0;
}
