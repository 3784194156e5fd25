/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The data path of af_xdp against a kernel made of a few lines: rings in this process's memory,
 * frames taken late, completed in any order, fill entries acknowledged late. And the socket's life,
 * with libxdp, the XDP program and the interface made up, too (--wrap). No rights needed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "port_keep.h"
#include "seed.h"

#include <ports/af_xdp_memory.h>
#include <ports/af_xdp_socket.h>

#include <errno.h>
#include <linux/if_xdp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <unistd.h>

#define BUFFERS 8192u
#define SLOW_US 20000
#define PIECE   (AF_XDP_CHUNK_BYTES - P2PNIC_HEADROOM) /* of a frame received */

/* One ring of `size` entries of `bytes`; the kernel keeps its own free-running indices. */
struct ring {
	uint32_t producer, consumer, flags;
	void *entries;
};

static struct {
	struct ring fill, receive, transmit, completion;
	uint32_t fill_taken, fill_known; /* consumed so far; producer as last read */
	struct xdp_desc under_way[AF_XDP_RING];
	unsigned under_way_count;
	uint64_t taken[8]; /* from the fill ring, for a frame that needs more */
	unsigned taken_count;
	uint32_t written; /* in the receive ring, some of it not told yet */
	uint64_t frames;  /* of those */
} kernel;

static struct af_xdp_port port;

/* What the socket's life is made of. */
static struct {
	bool other;        /* the next look finds another interface */
	unsigned busy;     /* so many sockets are refused: the queue is not free yet… */
	bool slow;         /* …and each takes SLOW_US to say so */
	unsigned channels; /* of the interface */
	unsigned created;
	uint64_t umem_most; /* larger ones are refused; 0: none */
	int woken;          /* the other end of the socket's descriptor */
} world;

static void connect_producer(
	struct xsk_ring_prod *ring, struct ring *r, uint32_t size, size_t bytes)
{
	r->entries = calloc(size, bytes);
	*ring = (struct xsk_ring_prod){.cached_cons = size,
		.mask = size - 1,
		.size = size,
		.producer = &r->producer,
		.consumer = &r->consumer,
		.ring = r->entries,
		.flags = &r->flags};
}

static void connect_consumer(
	struct xsk_ring_cons *ring, struct ring *r, uint32_t size, size_t bytes)
{
	r->entries = calloc(size, bytes);
	*ring = (struct xsk_ring_cons){.mask = size - 1,
		.size = size,
		.producer = &r->producer,
		.consumer = &r->consumer,
		.ring = r->entries,
		.flags = &r->flags};
}

static void connect_kernel(void)
{
	free(kernel.fill.entries);
	free(kernel.receive.entries);
	free(kernel.transmit.entries);
	free(kernel.completion.entries);
	memset(&kernel, 0, sizeof(kernel));
	connect_producer(&port.fill, &kernel.fill, AF_XDP_FILL_RING, 8);
	connect_producer(
		&port.transmit, &kernel.transmit, port.transmit_slots, sizeof(struct xdp_desc));
	connect_consumer(&port.receive, &kernel.receive, AF_XDP_RING, sizeof(struct xdp_desc));
	connect_consumer(&port.completion, &kernel.completion, port.transmit_slots, 8);
}

static int set_up(uint32_t buffer_bytes)
{
	int ends[2];

	memset(&port, 0, sizeof(port));
	memset(&world, 0, sizeof(world));
	port.transmit_slots = AF_XDP_RING;
	connect_kernel();
	assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, ends), 0);
	port.socket_fd = ends[0];
	world.woken = ends[1];
	world.channels = 1;
	port.epoll = epoll_create1(0);
	port.xdp = XDP_PROGRAM_NONE;
	port.interface = (struct interface){
		.socket = -1, .events = -1, .index = 1, .up = true, .link = true};
	port.memory_bytes = (uint64_t)BUFFERS * buffer_bytes;
	port.memory = aligned_alloc(4096, port.memory_bytes);
	port.buffer_bytes = buffer_bytes;
	port.pieces = buffer_bytes > P2PNIC_BUFFER_BYTES_MIN;
	port.chunk_bytes = port.pieces ? AF_XDP_CHUNK_BYTES : buffer_bytes;
	port.buffer_shift = (uint8_t)__builtin_ctz(buffer_bytes);
	port.chunk_shift = (uint8_t)__builtin_ctz(port.chunk_bytes);
	port.reached[0] = (struct port_memory){port.memory, port.memory_bytes, -1};
	port.own = calloc(BUFFERS / 64, 8);
	assert_int_equal(af_xdp_map_range(&port, true), 0);
	port.socket = (struct xsk_socket *)&kernel; /* never looked into by the data path */
	port.mode = AF_XDP_ZERO_COPY;               /* which is not kicked unless it asks */
	port.started = true;
	return 0;
}

static int setup(void **state)
{
	return set_up(P2PNIC_BUFFER_BYTES_MIN);
}

/* Frames in pieces. */
static int setup_jumbo(void **state)
{
	return set_up(P2PNIC_BUFFER_BYTES_MAX);
}

static int teardown(void **state)
{
	free(kernel.fill.entries);
	free(kernel.receive.entries);
	free(kernel.transmit.entries);
	free(kernel.completion.entries);
	memset(&kernel, 0, sizeof(kernel));
	close(port.socket_fd);
	close(world.woken);
	close(port.epoll);
	free(port.memory);
	free(port.own);
	free(port.newest);
	return 0;
}

/* Takes frames to send, with a slot in the completion ring for each; completes some of those it
 * has, in any order. */
static void kernel_sends(bool all)
{
	uint32_t slots = port.transmit_slots;

	while (kernel.transmit.consumer != kernel.transmit.producer &&
		kernel.completion.producer - kernel.completion.consumer + kernel.under_way_count <
			slots &&
		(all || rand() % 8)) {
		struct xdp_desc *ring = kernel.transmit.entries;
		kernel.under_way[kernel.under_way_count++] =
			ring[kernel.transmit.consumer++ % slots];
	}
	while (kernel.under_way_count && (all || rand() % 8)) {
		unsigned pick = rand() % 4 ? 0 : (unsigned)rand() % kernel.under_way_count;
		uint64_t *ring = kernel.completion.entries;
		ring[kernel.completion.producer++ % slots] = kernel.under_way[pick].addr;
		kernel.under_way_count--;
		memmove(&kernel.under_way[pick], &kernel.under_way[pick + 1],
			(kernel.under_way_count - pick) * sizeof(kernel.under_way[0]));
	}
}

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

/* --- The socket's life ------------------------------------------------------------------------ */

__typeof__(interface_refresh) __wrap_interface_refresh;
__typeof__(interface_channels) __wrap_interface_channels;
__typeof__(interface_set_channels) __wrap_interface_set_channels;
__typeof__(xdp_program_attach) __wrap_xdp_program_attach;
__typeof__(xdp_program_detach) __wrap_xdp_program_detach;
__typeof__(xsk_umem__create) __wrap_xsk_umem__create;
__typeof__(xsk_umem__delete) __wrap_xsk_umem__delete;
__typeof__(xsk_socket__create) __wrap_xsk_socket__create;
__typeof__(xsk_socket__delete) __wrap_xsk_socket__delete;
__typeof__(xsk_socket__fd) __wrap_xsk_socket__fd;
__typeof__(xsk_socket__update_xskmap) __wrap_xsk_socket__update_xskmap;
__typeof__(bind) __wrap_bind, __real_bind;

bool __wrap_interface_refresh(struct interface *interface)
{
	bool other = world.other;

	interface->index += other;
	world.other = false;
	return other;
}

void __wrap_interface_channels(struct interface *interface, unsigned *used, unsigned *possible)
{
	*used = *possible = world.channels;
}

int __wrap_interface_set_channels(struct interface *interface, unsigned n)
{
	world.channels = n;
	return 0;
}

int __wrap_xdp_program_attach(struct xdp_program *xdp, int interface_index, bool native)
{
	xdp->link = 0;
	return 0;
}

void __wrap_xdp_program_detach(struct xdp_program *xdp)
{
	xdp->link = -1;
}

int __wrap_xsk_umem__create(struct xsk_umem **umem, void *memory, __u64 bytes,
	struct xsk_ring_prod *fill, struct xsk_ring_cons *completion,
	const struct xsk_umem_config *config)
{
	if (world.umem_most && bytes > world.umem_most)
		return -ENOBUFS;
	*umem = (struct xsk_umem *)&kernel;
	return 0;
}

int __wrap_xsk_umem__delete(struct xsk_umem *umem)
{
	return 0;
}

int __wrap_xsk_socket__create(struct xsk_socket **created, const char *name, __u32 queue,
	struct xsk_umem *umem, struct xsk_ring_cons *receive, struct xsk_ring_prod *transmit,
	const struct xsk_socket_config *config)
{
	if (world.busy) {
		world.busy--;
		usleep(world.slow ? SLOW_US : 0);
		return -EBUSY;
	}
	assert_int_equal(world.channels, 1);
	connect_kernel();
	*created = (struct xsk_socket *)&kernel;
	world.created++;
	return 0;
}

void __wrap_xsk_socket__delete(struct xsk_socket *socket)
{
	close(port.socket_fd);
}

int __wrap_xsk_socket__fd(const struct xsk_socket *socket)
{
	return dup(world.woken);
}

int __wrap_xsk_socket__update_xskmap(struct xsk_socket *socket, int map)
{
	return 0;
}

/* A kernel without multi-buffer. */
int __wrap_bind(int fd, const struct sockaddr *address, socklen_t bytes)
{
	if (address->sa_family != AF_XDP)
		return __real_bind(fd, address, bytes);
	errno = ((const struct sockaddr_xdp *)address)->sxdp_flags & XDP_USE_SG ? EINVAL : ENODEV;
	return -1;
}

static void send_frames(unsigned n)
{
	struct p2pnic_descriptor frames[P2PNIC_BURST_MAX];

	for (unsigned i = 0; i < n; i++)
		frames[i] = (struct p2pnic_descriptor){
			.offset = (port.flight_tail + i) * port.buffer_bytes, .length = 60};
	assert_int_equal(af_xdp_port_ops.transmit(&port, frames, n), n);
	af_xdp_port_ops.flush(&port);
}

/* A system call to send is an empty datagram here. */
static unsigned wakings(void)
{
	unsigned n = 0;

	while (recv(world.woken, NULL, 0, 0) == 0)
		n++;
	return n;
}

static void test_wanted_late(void **state)
{
	uint64_t failed = 0;

	send_frames(1);
	assert_int_equal(wakings(), 0);
	/* The driver has seen an empty ring, and says only now that it stops looking. */
	kernel.transmit.flags = XDP_RING_NEED_WAKEUP;
	for (unsigned looks = 0; looks < AF_XDP_LOOKS; looks++)
		assert_int_equal(af_xdp_port_ops.transmitted(&port, &failed), 0);
	assert_int_equal(wakings(), 1);
	af_xdp_port_ops.arm(&port);
	assert_int_equal(wakings(), 1);
	kernel_sends(true);
	assert_int_equal(af_xdp_port_ops.transmitted(&port, &failed), 1);
	af_xdp_port_ops.arm(&port);
	assert_int_equal(wakings(), 0);
}

/* The completion ring is full and frames wait: reading it wakes the driver, at once. */
static void test_woken_by_room(void **state)
{
	uint64_t failed = 0;

	port.transmit_slots = P2PNIC_BURST_MAX;
	connect_kernel();
	kernel.transmit.flags = XDP_RING_NEED_WAKEUP;
	for (unsigned burst = 0; burst < 2; burst++) {
		send_frames(P2PNIC_BURST_MAX);
		kernel_sends(true);
	}
	assert_int_equal(kernel.completion.producer, P2PNIC_BURST_MAX);
	assert_int_equal(kernel.transmit.consumer, P2PNIC_BURST_MAX);
	assert_int_equal(wakings(), 2);
	assert_int_equal(af_xdp_port_ops.transmitted(&port, &failed), P2PNIC_BURST_MAX);
	assert_int_equal(wakings(), 1);
	kernel_sends(true);
	assert_int_equal(af_xdp_port_ops.transmitted(&port, &failed), P2PNIC_BURST_MAX);
	assert_int_equal(wakings(), 0);
	assert_int_equal(failed, 0);
}

/* Ten frames: two were completed, three the driver has, five it has not; nothing moves. */
static void get_stuck(void)
{
	send_frames(10);
	kernel.transmit.consumer = 5;
	((uint64_t *)kernel.completion.entries)[0] = 0;
	((uint64_t *)kernel.completion.entries)[1] = P2PNIC_BUFFER_BYTES_MIN;
	kernel.completion.producer = 2;
	af_xdp_port_ops.service(&port);
	af_xdp_port_ops.service(&port); /* it reads the two completions */
	port.watched_since_ns = 1;
	af_xdp_port_ops.service(&port);
	assert_null(port.socket);
}

static void test_held_while_the_card_has_them(void **state)
{
	uint64_t failed = 0;

	world.busy = 1;
	get_stuck();
	assert_int_equal(af_xdp_port_ops.transmitted(&port, &failed), 2);
	assert_int_equal(af_xdp_port_ops.transmitted(&port, &failed), 0);
	assert_int_equal(failed, 0);
	/* A socket on that queue again: the card has no more of the last one's. */
	af_xdp_port_ops.service(&port);
	assert_int_equal(world.created, 1);
	assert_int_equal(port.mode, AF_XDP_ZERO_COPY);
	assert_int_equal(af_xdp_port_ops.transmitted(&port, &failed), 8);
	assert_int_equal(failed, 8);
	for (unsigned i = 0; i < BUFFERS; i++)
		assert_int_equal(port.newest[i], 0);
}

/* The process stood still for long; meanwhile all frames were completed. */
static void test_not_stuck(void **state)
{
	uint64_t failed = 0;

	send_frames(10);
	kernel_sends(true);
	port.watched = port.flight_head;
	port.watched_since_ns = 1;
	af_xdp_port_ops.service(&port);
	assert_int_equal(port.rebuilt, 0);
	assert_int_equal(af_xdp_port_ops.transmitted(&port, &failed), 10);
	assert_int_equal(failed, 0);
}

static void test_held_not_for_ever(void **state)
{
	uint64_t failed = 0;

	port.interface.up = false; /* no new socket */
	get_stuck();
	assert_int_equal(af_xdp_port_ops.transmitted(&port, &failed), 2);
	port.held_since_ns -= AF_XDP_HELD_NS;
	af_xdp_port_ops.service(&port);
	assert_int_equal(af_xdp_port_ops.transmitted(&port, &failed), 8);
	assert_int_equal(failed, 8);
	assert_int_equal(world.created, 0);
	port.socket_fd = dup(world.woken);
}

/* A queue that stays taken: the wait for it is a second, however long a try takes. */
static void test_patience(void **state)
{
	static uint32_t buffers[BUFFERS];

	world.busy = UINT32_MAX;
	world.slow = true;
	assert_int_equal(af_xdp_port_ops.stop(&port, buffers), 0);
	assert_null(port.socket);
	assert_in_range(UINT32_MAX - world.busy, 1, 1000000 / SLOW_US + 1);
	assert_non_null(strstr(port.fault.text, "another program or socket is on it"));
	port.socket_fd = dup(world.woken);
}

/* Back with the queues that its driver gives it. */
static void test_another_with_more_queues(void **state)
{
	world.other = true;
	world.channels = 2;
	af_xdp_port_ops.service(&port);
	assert_int_equal(world.created, 1);
	assert_int_equal(world.channels, 1);
	assert_true(port.restore_channels);
}

/* A memory of another NIC, in which each word is its offset. */
static struct port_memory lend(uint64_t bytes)
{
	struct port_memory m = {.bytes = bytes, .fd = memfd_create("lent", MFD_CLOEXEC)};

	assert_int_equal(ftruncate(m.fd, (off_t)bytes), 0);
	m.base = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, m.fd, 0);
	assert_ptr_not_equal(m.base, MAP_FAILED);
	for (uint64_t at = 0; at < bytes; at += 8)
		memcpy(m.base + at, &at, 8);
	return m;
}

static void take_back(const struct port_memory *m)
{
	munmap(m->base, m->bytes);
	close(m->fd);
}

/* Sends a frame of that memory; how many failed. */
static unsigned send_from(unsigned memory, uint32_t offset)
{
	struct p2pnic_descriptor frame = {
		.offset = offset, .length = 100, .flags = (uint16_t)memory};
	uint64_t failed = 0;

	assert_int_equal(af_xdp_port_ops.transmit_from(&port, &frame, 1), 1);
	af_xdp_port_ops.flush(&port);
	kernel_sends(true);
	assert_int_equal(af_xdp_port_ops.transmitted(&port, &failed), 1);
	return (unsigned)failed;
}

/* Memories side by side, in the UMEM that is made when receiving starts. */
static void test_memories(void **state)
{
	struct port_memory own = lend(port.memory_bytes), a = lend(1 << 20), b = lend(1 << 16);
	const struct port_memory odd = {a.base, 1000, a.fd}, unmappable = {a.base, a.bytes, -1};
	const uint32_t buffer = 0;
	static uint32_t back[BUFFERS];
	uint64_t word;

	port.reached[0] = own;
	port.mode = AF_XDP_NATIVE;
	port.mode_forced[AF_XDP_NATIVE] = port.any_forced = true;
	port.started = false;
	assert_int_equal(af_xdp_port_ops.reach(&port, &odd), 0);
	assert_int_equal(af_xdp_port_ops.reach(&port, &a), 1);
	assert_int_equal(af_xdp_port_ops.reach(&port, &unmappable), 2);
	assert_int_equal(af_xdp_port_ops.reach(&port, &b), 3);
	assert_int_equal(af_xdp_port_ops.reachable(&port), 1);
	assert_int_equal(send_from(1, 0), 1);
	assert_int_equal(af_xdp_port_ops.start(&port, &buffer, 1), 1);
	assert_int_equal(world.created, 1);
	assert_int_equal(af_xdp_port_ops.reachable(&port), 1 | 1 << 1 | 1 << 3);
	assert_int_equal(port.range_bytes, own.bytes + a.bytes + b.bytes);
	assert_int_equal((uintptr_t)port.range % (2 << 20), 0);
	memcpy(&word, port.range + own.bytes + a.bytes + 4096, 8);
	assert_int_equal(word, 4096);
	assert_int_equal(send_from(3, b.bytes - 100), 0);
	assert_int_equal(((struct xdp_desc *)kernel.transmit.entries)->addr,
		own.bytes + a.bytes + b.bytes - 100);
	assert_int_equal(send_from(3, b.bytes - 99), 1);
	assert_int_equal(send_from(2, 0), 1);

	/* Another takes the number of one that left: not in this UMEM. */
	af_xdp_port_ops.leave(&port, 3);
	assert_int_equal(send_from(3, 0), 1);
	assert_int_equal(af_xdp_port_ops.reach(&port, &b), 3);
	assert_int_equal(af_xdp_port_ops.reachable(&port), 1 | 1 << 1);
	af_xdp_port_ops.service(&port);
	assert_int_equal(world.created, 1);
	assert_int_equal(af_xdp_port_ops.stop(&port, back), 1);
	assert_int_equal(world.created, 2);
	assert_int_equal(af_xdp_port_ops.reachable(&port), 1 | 1 << 1 | 1 << 3);

	/* Too much for the kernel: packet memory alone, and no new socket for that. */
	af_xdp_port_ops.leave(&port, 2);
	assert_int_equal(af_xdp_port_ops.reach(&port, &a), 2);
	world.umem_most = own.bytes;
	assert_int_equal(af_xdp_port_ops.start(&port, &buffer, 1), 1);
	assert_int_equal(world.created, 3);
	assert_int_equal(af_xdp_port_ops.reachable(&port), 1);
	assert_int_equal(send_from(1, 0), 1);
	assert_int_equal(send_from(0, 0), 0);
	port.interface.link = false;
	af_xdp_port_ops.service(&port);
	assert_int_equal(world.created, 3);

	/* Without a copy the card has packet memory alone. */
	port.interface.link = true;
	world.umem_most = 0;
	port.mode_forced[AF_XDP_ZERO_COPY] = true;
	assert_int_equal(af_xdp_port_ops.stop(&port, back), 1);
	assert_int_equal(port.mode, AF_XDP_ZERO_COPY);
	assert_int_equal(af_xdp_port_ops.reachable(&port), 1);
	assert_ptr_equal(port.range, own.base);
	take_back(&own);
	take_back(&a);
	take_back(&b);
}

/* The link is down: a socket with the memories that came since is due. */
static void test_memories_while_the_link_is_down(void **state)
{
	struct port_memory own = lend(port.memory_bytes), a = lend(1 << 20);

	port.reached[0] = own;
	port.mode = AF_XDP_NATIVE;
	port.mode_forced[AF_XDP_NATIVE] = port.any_forced = true;
	assert_int_equal(af_xdp_port_ops.reach(&port, &a), 1);
	af_xdp_port_ops.service(&port);
	assert_int_equal(world.created, 0);
	port.interface.link = false;
	af_xdp_port_ops.service(&port);
	assert_int_equal(world.created, 1);
	assert_int_equal(af_xdp_port_ops.reachable(&port), 3);
	af_xdp_port_ops.service(&port);
	assert_int_equal(world.created, 1);
	af_xdp_unmap_range(&port);
	take_back(&own);
	take_back(&a);
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
		cmocka_unit_test_setup_teardown(test_memories, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_memories_while_the_link_is_down, setup, teardown),
		cmocka_unit_test_setup_teardown(test_wanted_late, setup, teardown),
		cmocka_unit_test_setup_teardown(test_woken_by_room, setup, teardown),
		cmocka_unit_test_setup_teardown(test_not_stuck, setup, teardown),
		cmocka_unit_test_setup_teardown(test_held_while_the_card_has_them, setup, teardown),
		cmocka_unit_test_setup_teardown(test_held_not_for_ever, setup, teardown),
		cmocka_unit_test_setup_teardown(test_patience, setup, teardown),
		cmocka_unit_test_setup_teardown(test_another_with_more_queues, setup, teardown),
	};

	srand((unsigned)test_seed());
	return cmocka_run_group_tests_name("af_xdp", tests, NULL, NULL);
}
