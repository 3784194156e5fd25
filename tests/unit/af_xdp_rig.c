/* SPDX-License-Identifier: BSD-3-Clause */
#include "af_xdp_rig.h"

#include <errno.h>
#include <linux/if_xdp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

struct af_xdp_kernel kernel;
struct af_xdp_port port;
struct af_xdp_world world;

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

void connect_kernel(void)
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

int setup(void **state)
{
	return set_up(P2PNIC_BUFFER_BYTES_MIN);
}

int setup_jumbo(void **state)
{
	return set_up(P2PNIC_BUFFER_BYTES_MAX);
}

int teardown(void **state)
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

void kernel_sends(bool all)
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

/* --- Made up ---------------------------------------------------------------------------------- */

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
