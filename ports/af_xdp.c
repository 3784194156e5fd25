/* SPDX-License-Identifier: BSD-3-Clause */
#include "af_xdp.h"

#include "af_xdp_memory.h"
#include "af_xdp_socket.h"
#include "ipc/clock.h"

#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>
#include <xdp/libxdp.h>

/* --- telling the kernel ----------------------------------------------------------------------- */

/*
 * Frames that are in the transmit ring, but not in the kernel's view, go by xdp_send.h and out of
 * the ring again, up to the first that is too long for it. False: not these; the socket sends what
 * is left there.
 */
static bool send_batch(struct af_xdp_port *port)
{
	unsigned most = port->unsubmitted < XDP_SEND_MAX ? port->unsubmitted : XDP_SEND_MAX;
	uint32_t first = port->transmit.cached_prod - port->unsubmitted;
	unsigned n, accepted;

	for (n = 0; n < most; n++) {
		const struct xdp_desc *desc = xsk_ring_prod__tx_desc(&port->transmit, first + n);
		if (desc->options & XDP_PKT_CONTD || desc->len > sizeof(port->xdp.area->frame[n]))
			break;
		port->xdp.area->last[n] = desc->len - 1;
		memcpy(port->xdp.area->frame[n], port->range + desc->addr, desc->len);
	}
	if (n < XDP_SEND_MIN)
		return false; /* a long frame comes soon */
	unsigned taken = xdp_program_send(&port->xdp, n, &accepted);
	port->batching = accepted > 0;
	port->no_batches = !port->batching;
	if (!accepted)
		return false;
	port->failed += taken - accepted;
	for (unsigned i = 0; i < taken; i++)
		af_xdp_complete(port, xsk_ring_prod__tx_desc(&port->transmit, first + i)->addr);
	port->unsubmitted -= taken;
	for (unsigned i = 0; i < port->unsubmitted; i++)
		*xsk_ring_prod__tx_desc(&port->transmit, first + i) =
			*xsk_ring_prod__tx_desc(&port->transmit, first + taken + i);
	port->transmit.cached_prod -= taken;
	return true;
}

/* Frames to be sent are told to the kernel: as batches while it can be, after the socket has sent
 * all it was told of before. */
static void submit(struct af_xdp_port *port)
{
	if (port->xdp.area && port->mode != AF_XDP_ZERO_COPY &&
		af_xdp_unsent(port) == port->unsubmitted)
		while (port->unsubmitted >= XDP_SEND_MIN && !port->no_batches && send_batch(port))
			;
	xsk_ring_prod__submit(&port->transmit, port->unsubmitted);
	port->unsubmitted = port->waiting = 0;
}

static void kick(struct af_xdp_port *port)
{
	if (port->socket && port->unsubmitted)
		submit(port);
	bool needed = port->mode == AF_XDP_ZERO_COPY ? xsk_ring_prod__needs_wakeup(&port->transmit)
						     : af_xdp_unsent(port) > 0;
	if (!port->socket || !needed) {
		port->kick = false;
		return;
	}
	/* In copy mode one call sends at most 32 frames (EAGAIN: more wait), or drops one and says
	 * EBUSY. */
	for (;;) {
		uint32_t before = af_xdp_unsent(port);
		int error = sendto(port->socket_fd, NULL, 0, MSG_DONTWAIT, NULL, 0) < 0 ? errno : 0;
		if (error == EBUSY && port->mode != AF_XDP_ZERO_COPY)
			port->failed++;
		uint32_t after = af_xdp_unsent(port);
		if (after == 0 || port->mode == AF_XDP_ZERO_COPY) {
			port->kick = error == EAGAIN || error == EBUSY || error == ENOBUFS;
			return;
		}
		if (error && error != EAGAIN && error != EBUSY && error != ENOBUFS &&
			error != EINTR)
			return; /* ENETDOWN, ENXIO: service finds out, and takes the frames back */
		if (after == before)
			return; /* no room below: the next flush or transmitted tries again */
	}
}

/*
 * As collect, and wakes a driver that stopped. Without a copy it takes a frame only with a free
 * slot in the completion ring for it; while it has no frame it does not look for slots by itself.
 */
static unsigned collect_and_wake(struct af_xdp_port *port)
{
	unsigned n = af_xdp_collect(port);

	if (n && port->mode == AF_XDP_ZERO_COPY) {
		uint32_t taken = __atomic_load_n(port->transmit.consumer, __ATOMIC_ACQUIRE);

		if (taken != *port->transmit.producer && taken == *port->completion.consumer)
			kick(port);
	}
	return n;
}

static void kick_fill(struct af_xdp_port *port)
{
	recvfrom(port->socket_fd, NULL, 0, MSG_DONTWAIT, NULL, NULL);
}

/* --- open, close ------------------------------------------------------------------------------ */

static int silent_libbpf(enum libbpf_print_level level, const char *format, va_list arguments)
{
	return 0;
}

static int silent_libxdp(enum libxdp_print_level level, const char *format, va_list arguments)
{
	return 0;
}

static int parse(struct af_xdp_port *port, const char *options, struct error *error)
{
	struct port_option option;
	int more;

	while ((more = port_option_next(&options, &option, error)) > 0) {
		if (!strcmp(option.key, "mode")) {
			more = error_set(error, -EINVAL,
				"option mode=%s: want zero-copy, native or generic", option.value);
			for (enum af_xdp_mode mode = 0; mode < AF_XDP_MODES; mode++)
				if (!strcmp(option.value, af_xdp_mode_name[mode])) {
					port->mode_forced[mode] = port->any_forced = true;
					more = 0;
				}
		} else if (!strcmp(option.key, "queue")) {
			port->queue_given = true;
			more = port_option_number(&option, 0, 1023, &port->queue, error);
		} else if (!strcmp(option.key, "transmit-ring")) {
			more = port_option_number(&option, P2PNIC_BURST_MAX, AF_XDP_RING,
				&port->transmit_slots, error);
			if (!more && port->transmit_slots & (port->transmit_slots - 1))
				more = error_set(error, -EINVAL,
					"option transmit-ring=%s: want a power of two",
					option.value);
		} else if (!strcmp(option.key, "checksum")) {
			more = port_option_switch(&option, &port->finish_checksums, error);
		} else if (!strcmp(option.key, "batch")) {
			more = port_option_switch(&option, &port->batch, error);
		} else {
			more = port_option_unknown("af_xdp", &option,
				"mode, queue, transmit-ring, checksum, batch", error);
		}
		if (more < 0)
			return more;
	}
	return more;
}

static int settle_queues(struct af_xdp_port *port, struct error *error)
{
	const char *name = port->interface.name;
	unsigned used = port->channels;

	if (port->queue >= used)
		return error_set(
			error, -EINVAL, "%s: queue=%u: it has %u", name, port->queue, used);
	if (used == 1 || port->queue_given)
		return 0;
	int code = interface_set_channels(&port->interface, 1);
	if (code)
		return error_set(error, code,
			"%s: has %u queues and one socket serves one: `ethtool -L %s combined 1` "
			"(%s), or steer traffic to one and say queue=N",
			name, used, name, strerror(-code));
	port->restore_channels = true;
	return 0;
}

static int load_program(struct af_xdp_port *port, struct error *error)
{
	/* Kernels before 5.11 charge BPF maps to locked memory; all charge the UMEM, except to
	 * root. */
	const struct rlimit unlimited = {RLIM_INFINITY, RLIM_INFINITY};
	setrlimit(RLIMIT_MEMLOCK, &unlimited);

	/* Batches are optional: without, the socket sends all. The other end of a pair with queues
	 * is likely to have them too; af_xdp.h says what then. */
	bool batches = port->batch && port->channels == 1 &&
		       interface_has_driver(&port->interface, "veth");
	int code = xdp_program_load(&port->xdp, port->queue, batches, port->has_pieces);
	if (code && batches)
		code = xdp_program_load(&port->xdp, port->queue, false, port->has_pieces);
	if (code)
		return error_set(error, code, "%s: cannot load an XDP program: %s%s",
			port->interface.name, strerror(-code),
			code == -EPERM ? "; needs root, or CAP_BPF, CAP_NET_ADMIN and CAP_NET_RAW "
					 "outside user namespaces; or use port type af_packet"
				       : "");
	return 0;
}

static void port_close(void *p)
{
	struct af_xdp_port *port = p;

	af_xdp_lose_socket(port);
	xdp_program_unload(&port->xdp);
	if (port->restore_channels)
		interface_set_channels(&port->interface, port->channels);
	port->restore_channels = false;
	if (port->epoll >= 0)
		close(port->epoll);
	port->epoll = -1;
	interface_close(&port->interface);
	free(port->own);
	free(port->newest);
	port->own = NULL;
	port->newest = NULL;
	port->newest_count = 0;
}

static int prepare(struct af_xdp_port *port, const struct port_config *config, struct error *error)
{
	size_t buffers = config->memory_bytes >> port->buffer_shift;

	port->own = calloc((buffers + 63) / 64, sizeof(*port->own));
	port->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (!port->own || port->epoll < 0)
		return error_set(error, -errno, "%s: %s", config->target, strerror(errno));
	int code = interface_set_up(&port->interface);
	if (code)
		return error_set(error, code, "%s: is down and cannot be set up: %s",
			config->target, strerror(-code));
	return 0;
}

/* How buffers are cut into chunks, and whether a frame may lie in several. */
static int settle_pieces(
	struct af_xdp_port *port, const struct port_config *config, struct error *error)
{
	const uint32_t bytes = config->buffer_bytes;

	port->buffer_bytes = bytes;
	port->chunk_bytes = bytes < AF_XDP_CHUNK_BYTES ? bytes : AF_XDP_CHUNK_BYTES;
	port->buffer_shift = (uint8_t)__builtin_ctz(port->buffer_bytes);
	port->chunk_shift = (uint8_t)__builtin_ctz(port->chunk_bytes);
	port->has_pieces = bytes > P2PNIC_BUFFER_BYTES_MIN && af_xdp_has_pieces();
	if (bytes > AF_XDP_CHUNK_BYTES && !port->has_pieces)
		return error_set(error, -EOPNOTSUPP,
			"%s: this kernel has no multi-buffer AF_XDP (Linux 6.6), and af_xdp takes "
			"packet buffers of %u bytes at most, not %u: for jumbo frames use "
			"af_packet, tap or memif",
			config->target, AF_XDP_CHUNK_BYTES, bytes);
	return 0;
}

static int port_open(void *p, const struct port_config *config, struct error *error)
{
	struct af_xdp_port *port = p;
	unsigned possible;

	memset(port, 0, sizeof(*port));
	port->socket_fd = port->epoll = -1;
	port->interface = INTERFACE_NONE;
	port->xdp = XDP_PROGRAM_NONE;
	port->batch = true;
	port->transmit_slots = AF_XDP_RING;
	port->down = true;
	port->memory = config->memory;
	port->memory_bytes = config->memory_bytes;
	port->reached[0] =
		(struct port_memory){config->memory, config->memory_bytes, config->memory_fd};
	libbpf_set_print(silent_libbpf);
	libxdp_set_print(silent_libxdp);

	int code = port_check_memory(config, error);
	if (!code)
		code = settle_pieces(port, config, error);
	if (!code)
		code = interface_open(&port->interface, config->target, error);
	if (code)
		return code;
	port->finish_checksums = interface_is_virtual(&port->interface);
	code = parse(port, config->options, error);
	if (!code)
		code = prepare(port, config, error);
	interface_channels(&port->interface, &port->channels, &possible);
	if (!code)
		code = load_program(port, error);
	if (!code)
		code = settle_queues(port, error);
	if (!code)
		code = af_xdp_make_socket(port, 1000, error);
	if (code)
		port_close(port);
	return code;
}

/* --- start, stop ------------------------------------------------------------------------------ */

/* There are memories for which a new socket would do. Not without a copy; nor while frames are on
 * their way. */
static bool lacks_memories(const struct af_xdp_port *port)
{
	return port->socket && port->mode != AF_XDP_ZERO_COPY && af_xdp_memories_late(port) &&
	       port->flight_head == port->flight_tail;
}

static int port_start(void *p, const uint32_t *buffers, unsigned n)
{
	struct af_xdp_port *port = p;

	if (n > AF_XDP_BUFFERS)
		n = AF_XDP_BUFFERS;
	int code = port_check_buffers(port->memory_bytes, port->buffer_bytes, buffers, n);
	if (code)
		return code;
	for (unsigned i = 0; i < n; i++)
		af_xdp_own(port, buffers[i], true);
	if (lacks_memories(port))
		af_xdp_renew_socket(port, 1000);
	if (port->socket)
		code = af_xdp_begin_receiving(port);
	if (code)
		return code;
	port->started = true;
	return (int)n;
}

/*
 * The kernel gives posted buffers back only by closing the socket. Sending goes on after stop, so a
 * new socket follows; frames in transmission get a moment to leave by the old one.
 */
static unsigned port_stop(void *p, uint32_t *buffers)
{
	struct af_xdp_port *port = p;
	unsigned n = 0;

	for (unsigned tries = 0; port->socket && tries < 100 && af_xdp_unsent(port); tries++) {
		kick(port);
		usleep(1000);
	}
	if (port->started)
		af_xdp_lose_socket(port);
	const uint64_t all = port->memory_bytes >> port->buffer_shift;
	for (uint64_t index = 0; index < all; index++)
		if (af_xdp_is_own(port, index))
			buffers[n++] = (uint32_t)(index << port->buffer_shift);
	memset(port->own, 0, (all + 63) / 64 * sizeof(*port->own));
	port->started = false;
	port->burst = 0;
	if (!port->socket && port->interface.index)
		af_xdp_make_socket(port, 1000, &port->fault);
	return n;
}

static int port_fd(void *p)
{
	return ((struct af_xdp_port *)p)->epoll;
}

static int port_control_fd(void *p)
{
	return ((struct af_xdp_port *)p)->interface.events;
}

/* --- housekeeping ----------------------------------------------------------------------------- */

/*
 * True: frames have been in flight, and none came back, for too long. They may have come back while
 * this process stood still: completions that wait are read first.
 */
static bool is_stuck(struct af_xdp_port *port)
{
	uint64_t now = clock_now_ns();

	if (port->flight_head == port->flight_tail || port->watched != port->flight_head ||
		!port->watched_since_ns || collect_and_wake(port)) {
		port->watched = port->flight_head;
		port->watched_since_ns = port->flight_head == port->flight_tail ? 0 : now;
		return false;
	}
	return now - port->watched_since_ns > AF_XDP_STUCK_NS;
}

static void rebuild(struct af_xdp_port *port)
{
	port->watched_since_ns = 0;
	if (port->other) {
		unsigned possible;

		interface_channels(&port->interface, &port->channels, &possible);
		if (settle_queues(port, &port->fault))
			return;
		port->other = false;
	}
	port->rebuilt++;
	if (af_xdp_make_socket(port, 0, &port->fault))
		/* The interface is gone again, or the kernel has not let go: the next round. */
		return;
	port->fault.text[0] = 0;
	if (port->started && af_xdp_begin_receiving(port))
		af_xdp_lose_socket(port);
}

static void port_service(void *p)
{
	struct af_xdp_port *port = p;
	bool other = interface_refresh(&port->interface);

	port->other |= other;
	port->down = !port->socket || !port->interface.link;
	port->no_batches = false;
	if (port->socket &&
		(other || is_stuck(port) || (!port->interface.link && lacks_memories(port))))
		af_xdp_lose_socket(port);
	if (!port->socket && port->interface.index && port->interface.up)
		rebuild(port);
	if (port->held_since_ns && clock_now_ns() - port->held_since_ns > AF_XDP_HELD_NS)
		af_xdp_release_flight(port);
}

static void port_info(void *p, struct port_info *info)
{
	static const char *const shown[AF_XDP_MODES] = {
		"zero-copy", "copy, native", "copy, generic"};
	struct af_xdp_port *port = p;

	*info = (struct port_info){0};
	interface_info(&port->interface, info);
	info->link &= port->socket != NULL;
	info->missed = port->missed + af_xdp_socket_missed(port);
	info->oversize = port->oversize;
	snprintf(info->mode, sizeof(info->mode), "%s%s%s%s", shown[port->mode],
		port->pieces ? ", multi-buffer" : "", port->batching ? ", batched" : "",
		port->finish_checksums ? ", checksums finished" : "");
	if (!info->fault.text[0])
		info->fault = port->fault;
}

/* --- The path of a frame ---------------------------------------------------------------------- */

/* The frame, or piece, of that descriptor; returns its buffer. */
static inline uint32_t take(const struct af_xdp_port *port, uint32_t at, struct frame *frame)
{
	const struct xdp_desc *desc = xsk_ring_cons__rx_desc(&port->receive, at);

	*frame = (struct frame){port->memory + desc->addr, desc->len};
	__builtin_prefetch(frame->data);
	return (uint32_t)desc->addr & ~(port->buffer_bytes - 1);
}

/* Puts a frame together behind its first piece, and posts the other pieces' buffers. False: it is
 * longer than a buffer holds, and gone. */
static bool gather(struct af_xdp_port *port, uint32_t first, unsigned pieces, struct frame *frame,
	uint32_t *held)
{
	uint64_t bytes = 0;

	for (unsigned i = 0; i < pieces; i++)
		bytes += xsk_ring_cons__rx_desc(&port->receive, first + i)->len;
	*held = take(port, first, frame);
	const uint64_t begin = (uint64_t)(frame->data - port->memory) - *held;
	const bool fits = begin + bytes <= port->buffer_bytes &&
			  bytes <= P2PNIC_FRAME_BYTES_MAX(port->buffer_bytes);
	for (unsigned i = fits; i < pieces; i++) {
		struct frame piece;
		uint32_t buffer = take(port, first + i, &piece);

		if (fits) {
			memcpy(frame->data + frame->length, piece.data, piece.length);
			frame->length += piece.length;
		}
		af_xdp_post(port, &buffer, 1);
	}
	port->oversize += !fits;
	return fits;
}

/* As many frames as are whole among the descriptors that wait; the others stay in the ring. */
static unsigned receive_pieces(struct af_xdp_port *port, struct frame *frames, unsigned max,
	uint32_t first, unsigned waiting)
{
	unsigned n = 0, used = 0, pieces;

	for (pieces = 1; n < max && used + pieces <= waiting; pieces++) {
		const uint32_t last = first + used + pieces - 1;

		if (xsk_ring_cons__rx_desc(&port->receive, last)->options & XDP_PKT_CONTD)
			continue;
		n += gather(port, first + used, pieces, &frames[n], &port->held[n]);
		used += pieces;
		pieces = 0;
	}
	xsk_ring_cons__cancel(&port->receive, waiting - used);
	xsk_ring_cons__release(&port->receive, used);
	return n;
}

static unsigned port_receive(void *opaque, struct frame *frames, unsigned max)
{
	struct af_xdp_port *port = opaque;
	uint32_t first;

	if (!port->started || !port->socket)
		return 0;
	if (port->pieces) /* libxdp looks again only once all is taken: not with half a frame left
			   */
		port->receive.cached_prod =
			__atomic_load_n(port->receive.producer, __ATOMIC_ACQUIRE);
	unsigned n = xsk_ring_cons__peek(&port->receive, port->pieces ? AF_XDP_RING : max, &first);
	if (n == 0) {
		if (xsk_ring_prod__needs_wakeup(&port->fill))
			kick_fill(port);
		return 0;
	}
	if (port->pieces) {
		n = receive_pieces(port, frames, max, first, n);
	} else {
		for (unsigned k = 0; k < n; k++)
			port->held[k] = take(port, first + k, &frames[k]);
		xsk_ring_cons__release(&port->receive, n);
	}
	if (port->finish_checksums)
		for (unsigned k = 0; k < n; k++)
			offload_repair(frames[k].data, frames[k].length);
	port->burst = n;
	return n;
}

static void port_keep(void *opaque, const uint8_t *frame, unsigned n, uint32_t *at)
{
	struct af_xdp_port *port = opaque;

	for (unsigned i = 0; i < n; i++) {
		uint32_t kept = port->held[frame[i]];

		af_xdp_own(port, kept, false);
		af_xdp_own(port, at[i], true);
		port->held[frame[i]] = at[i];
		at[i] = kept + P2PNIC_HEADROOM;
	}
}

static void port_release(void *opaque)
{
	struct af_xdp_port *port = opaque;

	if (port->burst == 0)
		return;
	af_xdp_post(port, port->held, port->burst);
	port->burst = 0;
}

/* How many a frame to be sent has: cut where chunks end. */
static inline uint32_t count_pieces(
	const struct af_xdp_port *port, uint64_t address, uint32_t bytes)
{
	uint32_t begin = (uint32_t)address & (port->chunk_bytes - 1);

	return ((begin + bytes - 1) >> port->chunk_shift) + 1;
}

static inline void write_pieces(
	struct af_xdp_port *port, uint32_t slot, uint32_t pieces, uint64_t address, uint32_t bytes)
{
	while (--pieces) {
		uint32_t piece = port->chunk_bytes - ((uint32_t)address & (port->chunk_bytes - 1));

		*xsk_ring_prod__tx_desc(&port->transmit, slot++) =
			(struct xdp_desc){.addr = address, .len = piece, .options = XDP_PKT_CONTD};
		address += piece;
		bytes -= piece;
	}
	*xsk_ring_prod__tx_desc(&port->transmit, slot) =
		(struct xdp_desc){.addr = address, .len = bytes};
}

static inline unsigned enqueue(
	struct af_xdp_port *port, const struct p2pnic_descriptor *frames, unsigned n, bool own)
{
	unsigned room = AF_XDP_FLIGHT - (port->flight_tail - port->flight_head);
	unsigned submitted = 0;

	if (n > room)
		n = room;
	for (unsigned i = 0; i < n; i++) {
		struct p2pnic_descriptor frame = frames[i];
		uint32_t place = port->flight_tail % AF_XDP_FLIGHT;
		struct af_xdp_flight *flight = &port->flight[place];
		const unsigned memory = own ? 0 : frame.flags;
		uint32_t slot;

		if (port->down || memory >= PORT_MEMORIES ||
			!port_sendable(port->bytes[memory], port->buffer_bytes, &frame)) {
			*flight = (struct af_xdp_flight){.failed = 1};
			port->flight_tail++;
			continue;
		}
		const uint64_t address = port->at[memory] + frame.offset;
		uint32_t pieces = count_pieces(port, address, frame.length);
		if (!xsk_ring_prod__reserve(&port->transmit, pieces, &slot)) {
			n = i;
			break;
		}
		write_pieces(port, slot, pieces, address, frame.length);
		uint32_t buffer = (uint32_t)(address >> port->buffer_shift);
		*flight = (struct af_xdp_flight){.buffer = buffer,
			.previous = port->newest[buffer],
			.pending = (uint8_t)pieces};
		port->newest[buffer] = (uint16_t)(place + 1);
		port->flight_tail++;
		submitted += pieces;
	}
	port->unsubmitted += submitted;
	port->kick |= submitted > 0;
	return n;
}

static unsigned port_transmit(void *opaque, const struct p2pnic_descriptor *frames, unsigned n)
{
	return enqueue(opaque, frames, n, true);
}

static unsigned port_transmit_from(void *opaque, const struct p2pnic_descriptor *frames, unsigned n)
{
	return enqueue(opaque, frames, n, false);
}

static void port_flush(void *opaque)
{
	struct af_xdp_port *port = opaque;
	uint32_t fresh = port->unsubmitted - port->waiting;
	bool wait = port->batching && fresh >= AF_XDP_BUSY &&
		    port->unsubmitted <= XDP_SEND_MAX - P2PNIC_BURST_MAX;

	port->waiting = wait ? port->unsubmitted : 0;
	port->looks = 0;
	if (port->kick && !wait)
		kick(port);
}

static unsigned port_transmitted(void *opaque, uint64_t *failed)
{
	struct af_xdp_port *port = opaque;
	unsigned n = 0;

	if (port->flight_head == port->flight_tail)
		return 0;
	if (port->kick && (!port->waiting || port->looks++))
		kick(port);
	if (port->socket && !collect_and_wake(port) && port->mode == AF_XDP_ZERO_COPY &&
		++port->looks % AF_XDP_LOOKS == 0)
		kick(port);
	while (port->flight_head != port->flight_tail &&
		!port->flight[port->flight_head % AF_XDP_FLIGHT].pending) {
		port->failed += port->flight[port->flight_head % AF_XDP_FLIGHT].failed;
		port->flight_head++;
		n++;
	}
	/* The kernel tells of a refused frame before it completes it, maybe behind others. */
	uint32_t report = port->failed < n ? port->failed : n;
	port->failed -= report;
	*failed += report;
	return n;
}

static bool port_arm(void *opaque)
{
	struct af_xdp_port *port = opaque;
	uint32_t first;

	if (!port->started || !port->socket)
		return false;
	if (xsk_ring_prod__needs_wakeup(&port->fill))
		kick_fill(port);
	if (port->mode == AF_XDP_ZERO_COPY && port->flight_head != port->flight_tail)
		kick(port);
	unsigned waiting = xsk_ring_cons__peek(&port->receive, 1, &first);
	xsk_ring_cons__cancel(&port->receive, waiting);
	return waiting || port->kick;
}

static void port_disarm(void *opaque)
{
}

const struct port_ops af_xdp_port_ops = {
	.type = "af_xdp",
	.bytes = sizeof(struct af_xdp_port),
	.open = port_open,
	.close = port_close,
	.start = port_start,
	.stop = port_stop,
	.fd = port_fd,
	.info = port_info,
	.service = port_service,
	.control_fd = port_control_fd,
	.receive = port_receive,
	.keep = port_keep,
	.release = port_release,
	.transmit = port_transmit,
	.flush = port_flush,
	.transmitted = port_transmitted,
	.reach = af_xdp_reach,
	.reachable = af_xdp_reachable,
	.transmit_from = port_transmit_from,
	.leave = af_xdp_leave,
	.arm = port_arm,
	.disarm = port_disarm,
};
