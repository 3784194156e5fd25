/* SPDX-License-Identifier: BSD-3-Clause */
#include "af_xdp_socket.h"

#include "af_xdp_memory.h"
#include "ipc/clock.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

const char *const af_xdp_mode_name[AF_XDP_MODES] = {"zero-copy", "native", "generic"};

/* Asked about no interface, it complains of unknown flags first (net/xdp/xsk.c, xsk_bind). */
bool af_xdp_has_pieces(void)
{
	const struct sockaddr_xdp address = {.sxdp_family = AF_XDP, .sxdp_flags = XDP_USE_SG};
	int fd = socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return true; /* what is missing here, make_socket says */
	bool unknown =
		bind(fd, (const struct sockaddr *)&address, sizeof(address)) && errno == EINVAL;
	close(fd);
	return !unknown;
}

uint64_t af_xdp_socket_missed(const struct af_xdp_port *port)
{
	struct xdp_statistics statistics = {0};
	socklen_t bytes = sizeof(statistics);

	if (!port->socket ||
		getsockopt(port->socket_fd, SOL_XDP, XDP_STATISTICS, &statistics, &bytes))
		return 0;
	return statistics.rx_dropped + statistics.rx_ring_full;
}

/* The kernel has let go of packet memory. */
void af_xdp_release_flight(struct af_xdp_port *port)
{
	for (uint32_t i = port->flight_tail; i != port->flight_head;) {
		struct af_xdp_flight *flight = &port->flight[--i % AF_XDP_FLIGHT];

		if (flight->pending)
			port->newest[flight->buffer] = 0;
		flight->pending = 0;
	}
	port->held_since_ns = 0;
}

static void delete_umem(struct af_xdp_port *port)
{
	xsk_umem__delete(port->umem);
	port->umem = NULL;
	af_xdp_unmap_range(port);
}

/*
 * Closes the socket. Frames it has not sent have failed; those it has are done with, for the kernel
 * copied them. Without a copy a frame is sent once it was completed, and the card reads and writes
 * packet memory until the kernel has taken the queue from it, some time after close has returned
 * (xp_put_pool, net/xdp/xsk_buff_pool.c of Linux). Frames in flight are held till then.
 */
static void delete_socket(struct af_xdp_port *port)
{
	if (!port->socket)
		return;
	unsigned waiting = xsk_cons_nb_avail(&port->receive, AF_XDP_RING);
	port->missed += af_xdp_socket_missed(port) + waiting;
	af_xdp_collect(port);
	uint32_t left = port->mode == AF_XDP_ZERO_COPY ? UINT32_MAX : af_xdp_unsent(port);
	epoll_ctl(port->epoll, EPOLL_CTL_DEL, port->socket_fd, NULL);
	xsk_socket__delete(port->socket);
	delete_umem(port);
	port->socket = NULL;
	port->socket_fd = -1;
	port->kick = false;
	port->unsubmitted = port->waiting = 0;
	port->down = true;
	/* The ring is a queue: what is left in it is what came last. */
	for (uint32_t i = port->flight_tail; i != port->flight_head;) {
		struct af_xdp_flight *flight = &port->flight[--i % AF_XDP_FLIGHT];
		if (flight->pending && left) {
			flight->failed = 1;
			left -= flight->pending < left ? flight->pending : left;
		}
	}
	if (port->mode == AF_XDP_ZERO_COPY)
		port->held_since_ns = clock_now_ns();
	else
		af_xdp_release_flight(port);
}

static int create_umem(struct af_xdp_port *port, const struct xsk_umem_config *config, bool others)
{
	int code = af_xdp_map_range(port, others);

	if (code)
		return code;
	/* libxdp expects them zeroed: it does not set the cached indices. */
	port->fill = (struct xsk_ring_prod){0};
	port->completion = (struct xsk_ring_cons){0};
	code = xsk_umem__create(&port->umem, port->range, port->range_bytes, &port->fill,
		&port->completion, config);
	if (code) {
		port->umem = NULL;
		af_xdp_unmap_range(port);
	}
	return code;
}

/* Without a copy few drivers take frames in pieces (dev->xdp_zc_max_segs of Linux), and refuse a
 * socket that would: not asked of them where a buffer is one chunk, and so is every frame. */
static bool wants_pieces(const struct af_xdp_port *port, enum af_xdp_mode mode)
{
	return port->has_pieces &&
	       (mode != AF_XDP_ZERO_COPY || port->buffer_bytes > port->chunk_bytes);
}

static int create_socket(struct af_xdp_port *port, enum af_xdp_mode mode)
{
	const bool pieces = wants_pieces(port, mode);
	const struct xsk_umem_config umem = {
		.fill_size = AF_XDP_FILL_RING,
		.comp_size = port->transmit_slots,
		.frame_size = port->chunk_bytes,
	};
	const struct xsk_socket_config socket = {
		.rx_size = AF_XDP_RING,
		.tx_size = port->transmit_slots,
		.libxdp_flags = XSK_LIBXDP_FLAGS__INHIBIT_PROG_LOAD,
		.bind_flags = (uint16_t)(XDP_USE_NEED_WAKEUP |
					 (mode == AF_XDP_ZERO_COPY ? XDP_ZEROCOPY : XDP_COPY) |
					 (pieces ? XDP_USE_SG : 0)),
	};
	struct xsk_socket *created = NULL;

	port->transmit = (struct xsk_ring_prod){0};
	port->receive = (struct xsk_ring_cons){0};
	int code = create_umem(port, &umem, mode != AF_XDP_ZERO_COPY);
	if (code && mode != AF_XDP_ZERO_COPY && port->tried != 1)
		code = create_umem(port, &umem, false);
	if (code)
		return code;
	code = xsk_socket__create(&created, port->interface.name, port->queue, port->umem,
		&port->receive, &port->transmit, &socket);
	if (code) {
		delete_umem(port);
		return code;
	}
	port->socket = created;
	port->socket_fd = xsk_socket__fd(created);
	port->mode = mode;
	port->pieces = pieces;
	/* Unwatched, it would wake no engine. */
	struct epoll_event event = {.events = EPOLLIN};
	code = epoll_ctl(port->epoll, EPOLL_CTL_ADD, port->socket_fd, &event) ? -errno : 0;
	if (code)
		delete_socket(port);
	return code;
}

static int wait_for_socket(struct af_xdp_port *port, enum af_xdp_mode mode, unsigned patience_ms)
{
	/* By the clock: a try pins all of packet memory, which may take long. */
	uint64_t until = clock_now_ns() + patience_ms * 1000000ull;
	int code;

	while ((code = create_socket(port, mode)) == -EBUSY && clock_now_ns() < until)
		usleep(1000);
	return code;
}

/* Program and socket in this mode; failed, the program may be left. */
static int try_mode(struct af_xdp_port *port, enum af_xdp_mode mode, unsigned patience_ms)
{
	int code = xdp_program_attach(&port->xdp, port->interface.index, mode != AF_XDP_GENERIC);

	if (code)
		return code;
	port->no_batches = port->batching = false;
	if (port->xdp.area && xdp_program_aim(&port->xdp, port->interface.index))
		port->no_batches = true;
	return wait_for_socket(port, mode, patience_ms);
}

int af_xdp_make_socket(struct af_xdp_port *port, unsigned patience_ms, struct error *error)
{
	struct error tried = {""};
	int code = -EINVAL;
	bool busy = false;

	for (enum af_xdp_mode mode = 0; mode < AF_XDP_MODES; mode++) {
		if (port->any_forced && !port->mode_forced[mode])
			continue;
		code = try_mode(port, mode, patience_ms);
		busy |= code == -EBUSY || code == -EEXIST;
		if (code == 0) {
			port->down = !port->interface.link;
			af_xdp_release_flight(port);
			return 0;
		}
		bool attached = port->xdp.link >= 0;
		xdp_program_detach(&port->xdp);
		error_set(&tried, code, "%s%s%s: %s", tried.text, tried.text[0] ? "; " : "",
			af_xdp_mode_name[mode], strerror(-code));
		/* The queue is taken, in whatever mode. Free for the next one by chance, it would
		 * leave the port with a worse mode than it can have. */
		if (attached && code == -EBUSY)
			break;
	}
	if (busy)
		code = -EBUSY;
	return error_set(error, code, "%s: AF_XDP cannot start (%s)%s; or use port type af_packet",
		port->interface.name, tried.text,
		code == -EBUSY     ? ": another program or socket is on it"
		: code == -ENOBUFS ? ": locked memory is limited, `ulimit -l unlimited`"
		: code == -EOPNOTSUPP && wants_pieces(port, AF_XDP_ZERO_COPY)
			? ": without a copy its driver must take frames in several buffers, or "
			  "packet buffers have at most 4096 bytes"
			: "");
}

static void post_own(struct af_xdp_port *port)
{
	for (uint64_t index = 0; index < port->memory_bytes >> port->buffer_shift; index++) {
		uint32_t buffer = (uint32_t)(index << port->buffer_shift);
		if (af_xdp_is_own(port, index))
			af_xdp_post(port, &buffer, 1);
	}
}

int af_xdp_begin_receiving(struct af_xdp_port *port)
{
	post_own(port);
	return xsk_socket__update_xskmap(port->socket, port->xdp.map);
}

void af_xdp_lose_socket(struct af_xdp_port *port)
{
	delete_socket(port);
	xdp_program_detach(&port->xdp);
}

/* The program stays: in copy mode the driver need not know. */
void af_xdp_renew_socket(struct af_xdp_port *port, unsigned patience_ms)
{
	delete_socket(port);
	if (wait_for_socket(port, port->mode, patience_ms))
		xdp_program_detach(&port->xdp);
	else
		port->down = !port->interface.link;
}
