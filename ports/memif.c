/* SPDX-License-Identifier: BSD-3-Clause */
#include "memif_kernel.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define STOP_WAIT_MS 10

/* --- Receiving -------------------------------------------------------------------------------- */

static inline unsigned memif_receive_server(
	struct memif_port *port, struct frame *frames, unsigned limit)
{
	const struct memif_queue *q = &port->link.receive;
	unsigned n = 0;

	for (; n < limit; n++) {
		const struct memif_descriptor *d =
			&q->ring->slot[(uint16_t)(q->tail + n) & q->mask];
		uint64_t control = memif_read(&d->control);
		uint8_t *data = memif_link_at(&port->link, control, memif_read(&d->place));

		if (__builtin_expect(!data || (MEMIF_FLAGS(control) & MEMIF_DESCRIPTOR_NEXT) ||
					     MEMIF_LENGTH(control) > port->longest,
			    0))
			break;
		frames[n] = (struct frame){data, MEMIF_LENGTH(control)};
		port->burst[n] = frames[n];
	}
	return n;
}

static void memif_release(void *opaque)
{
	struct memif_port *port = opaque;
	struct memif_queue *q = &port->link.receive;
	unsigned n = port->consumed;

	if (!n)
		return;
	port->consumed = 0;
	port->used = true;
	if (port->link.role == MEMIF_CLIENT) {
		if ((uint16_t)(q->head - q->tail) == q->mask + 1u) {
			port->kernel->repost(port, n);
		} else {
			for (unsigned i = 0; i < n; i++)
				memif_post(port, (uint16_t)(q->head + i),
					port->posted[(uint16_t)(q->tail + i) & q->mask]);
		}
		q->head = (uint16_t)(q->head + n);
		q->tail = (uint16_t)(q->tail + n);
		/* Release: pairs with the peer's acquire of head before it writes into the
		 * buffers. */
		atomic_store_explicit(&q->ring->head, q->head, memory_order_release);
	} else {
		q->tail = (uint16_t)(q->tail + n);
		/* Release: our reads of the frames are over before the peer writes new ones
		 * there. */
		atomic_store_explicit(&q->ring->tail, q->tail, memory_order_release);
	}
}

/* Client: frames that will be in the next burst, up to the end of the ring. Their descriptors and
 * first bytes come from the peer's core meanwhile. */
static inline void memif_prefetch_next(const struct memif_port *port, unsigned n, unsigned waiting)
{
	const struct memif_queue *q = &port->link.receive;
	unsigned slot = (uint16_t)(q->tail + n) & q->mask, next = waiting - n;

	if (next > P2PNIC_BURST_MAX)
		next = P2PNIC_BURST_MAX;
	if (next > q->mask + 1u - slot)
		next = q->mask + 1u - slot;
	for (unsigned k = 0; k < next; k += 4)
		__builtin_prefetch(&q->ring->slot[slot + k]);
	for (unsigned k = 0; k < next; k++)
		__builtin_prefetch(port->memory + port->posted[slot + k], 0, 2);
}

static unsigned memif_receive(void *opaque, struct frame *frames, unsigned max)
{
	struct memif_port *port = opaque;
	struct memif_queue *q = &port->link.receive;
	const bool client = port->link.role == MEMIF_CLIENT;

	if (__builtin_expect(!port->link.connected || port->link.broken || !port->started, 0))
		return 0;
	int waiting = memif_link_advanced(&port->link, client ? &q->ring->tail : &q->ring->head,
		q->tail, client ? (uint16_t)(q->head - q->tail) : q->mask + 1u);
	if (waiting <= 0)
		return 0;
	unsigned limit = max < P2PNIC_BURST_MAX ? max : P2PNIC_BURST_MAX, n = 0;

	if (limit > (unsigned)waiting)
		limit = (unsigned)waiting;
	if (__builtin_expect(!port->dropping, 1))
		n = client ? port->kernel->receive(port, frames, limit)
			   : memif_receive_server(port, frames, limit);
	port->consumed = n;
	if (client)
		memif_prefetch_next(port, n, (unsigned)waiting);
	if (__builtin_expect(n < limit, 0))
		n = memif_receive_rest(port, frames, n, limit, (unsigned)waiting);
	/* The caller has nothing to release then. */
	if (n == 0)
		memif_release(port);
	return n;
}

static void memif_prefetch(void *opaque)
{
	const struct memif_port *port = opaque;

	if (!port->link.connected)
		return;
	__builtin_prefetch(port->link.role == MEMIF_CLIENT ? &port->link.receive.ring->tail
							   : &port->link.receive.ring->head);
	__builtin_prefetch(port->link.role == MEMIF_CLIENT ? &port->link.send.ring->tail
							   : &port->link.send.ring->head);
}

static void memif_keep(void *opaque, const uint8_t *frame, unsigned n, uint32_t *at)
{
	struct memif_port *port = opaque;

	if (port->link.role == MEMIF_SERVER) {
		for (unsigned i = 0; i < n; i++)
			memcpy(port->memory + at[i], port->burst[frame[i]].data,
				port->burst[frame[i]].length);
		return;
	}
	/* memif_release writes them into the peer's slots. */
	uint32_t *posted = port->posted;

	for (unsigned i = 0; i < n; i++) {
		uint16_t slot = port->slot[frame[i]];
		uint32_t kept = posted[slot];

		posted[slot] = at[i];
		at[i] = kept;
	}
}

/* --- Sending ---------------------------------------------------------------------------------- */

static inline unsigned memif_transmit_client(struct memif_port *port, unsigned region,
	const struct p2pnic_descriptor *frames, unsigned n)
{
	struct memif_queue *q = &port->link.send;
	unsigned room = q->mask + 1u - (uint16_t)(q->head - port->reported);

	if (n > room)
		n = room;
	port->kernel->describe(q, region, frames, n);
	q->head = (uint16_t)(q->head + n);
	port->unpublished |= n != 0;
	return n;
}

static inline unsigned memif_transmit_server(struct memif_port *port, const uint8_t *memory,
	const struct p2pnic_descriptor *frames, unsigned n)
{
	struct memif_queue *q = &port->link.send;
	unsigned room = (uint16_t)(q->head - q->tail), limit = n, i = 0;

	if (room < n) {
		int posted =
			memif_link_advanced(&port->link, &q->ring->head, q->tail, q->mask + 1u);
		if (posted < 0)
			return 0;
		room = (unsigned)posted;
		q->head = (uint16_t)(q->tail + posted);
	}
	if (limit > room)
		limit = room;
	for (; i < limit; i++) {
		struct memif_descriptor *d = &q->ring->slot[(uint16_t)(q->tail + i) & q->mask];
		uint64_t control = memif_read(&d->control);
		uint8_t *to = memif_link_at(&port->link, control, memif_read(&d->place));
		uint32_t length = frames[i].length;

		if (__builtin_expect(!to || MEMIF_LENGTH(control) < length, 0))
			break;
		memif_copy(to, MEMIF_LENGTH(control), memory + frames[i].offset, length);
		__atomic_store_n(&d->control, MEMIF_CONTROL(0, MEMIF_REGION(control), length),
			__ATOMIC_RELAXED);
	}
	q->tail = (uint16_t)(q->tail + i);
	port->done += i;
	port->unpublished |= i != 0;
	return __builtin_expect(i < limit, 0) ? memif_transmit_rest(port, memory, frames, i, n) : i;
}

/* Without a peer. Those in flight before come first; after them these, all failed
 * (memif_transmitted). */
static unsigned memif_transmit_nowhere(struct memif_port *port, unsigned n)
{
	port->done += n;
	port->failed += n;
	return n;
}

static unsigned memif_transmit_in(struct memif_port *port, unsigned memory,
	const struct p2pnic_descriptor *frames, unsigned n)
{
	const struct memif_link *link = &port->link;

	return link->role == MEMIF_CLIENT
		       ? memif_transmit_client(port, link->region_of[memory], frames, n)
		       : memif_transmit_server(port, link->config.region[memory].base, frames, n);
}

static unsigned memif_transmit(void *opaque, const struct p2pnic_descriptor *frames, unsigned n)
{
	struct memif_port *port = opaque;

	if (__builtin_expect(!port->link.connected || port->link.broken, 0))
		return memif_transmit_nowhere(port, n);
	return memif_transmit_in(port, 0, frames, n);
}

/* Frames of one memory together. */
static unsigned memif_transmit_from(
	void *opaque, const struct p2pnic_descriptor *frames, unsigned n)
{
	struct memif_port *port = opaque;
	unsigned done = 0, taken = 0, run = 0;

	if (__builtin_expect(!port->link.connected || port->link.broken, 0))
		return memif_transmit_nowhere(port, n);
	for (; done < n && taken == run; done += taken) {
		for (run = 1; done + run < n && frames[done + run].flags == frames[done].flags;)
			run++;
		taken = memif_transmit_in(port, frames[done].flags, frames + done, run);
	}
	return done;
}

/* A client shares only what it was told to; as server the frame is copied out, whoever's it is. */
static unsigned memif_reach(void *opaque, const struct port_memory *memory)
{
	struct memif_port *port = opaque;
	struct memif_link_config *config = &port->link.config;
	unsigned k = 1;

	if (config->role == MEMIF_CLIENT && !config->share)
		return 0;
	while (k < PORT_MEMORIES && config->region[k].bytes)
		k++;
	if (k == PORT_MEMORIES)
		return 0;
	config->region[k].base = memory->base;
	config->region[k].bytes = memory->bytes;
	config->region[k].fd = memory->fd;
	return k;
}

static void memif_leave(void *opaque, unsigned memory)
{
	struct memif_port *port = opaque;

	port->link.config.region[memory].bytes = 0;
	port->link.shared &= ~(1ull << memory);
}

static uint64_t memif_reachable(const void *opaque)
{
	const struct memif_port *port = opaque;

	return port->link.role == MEMIF_CLIENT ? port->link.shared : ~0ull;
}

/* The peer was given fewer memories than there are now. A link is made anew for that while nothing
 * has passed over it yet, as when a router starts and its NICs find one another; else never. */
static bool memif_shares_late(const struct memif_link *link)
{
	uint64_t late = 0;

	if (link->role != MEMIF_CLIENT || !link->connected || link->regions == link->regions_max)
		return false;
	for (unsigned k = 0; k < PORT_MEMORIES; k++)
		late |= (uint64_t)(link->config.region[k].bytes != 0) << k;
	return late & ~link->shared;
}

static void memif_flush(void *opaque)
{
	struct memif_port *port = opaque;
	struct memif_queue *q = &port->link.send;

	if (!port->unpublished)
		return;
	port->unpublished = false;
	port->used = true;
	/* Release: pairs with the peer's acquire; descriptors and packets are before the index. */
	if (port->link.role == MEMIF_CLIENT)
		atomic_store_explicit(&q->ring->head, q->head, memory_order_release);
	else
		atomic_store_explicit(&q->ring->tail, q->tail, memory_order_release);
	port->unnotified = true;
}

static void memif_notify(void *opaque)
{
	struct memif_port *port = opaque;

	if (!port->unnotified)
		return;
	port->unnotified = false;
	memif_queue_notify(&port->link.send);
}

static unsigned memif_transmitted(void *opaque, uint64_t *failed)
{
	struct memif_port *port = opaque;
	unsigned n = 0;

	if (port->link.connected && port->link.role == MEMIF_CLIENT && !port->link.broken) {
		struct memif_queue *q = &port->link.send;
		int sent = memif_link_advanced(&port->link, &q->ring->tail, port->reported,
			(uint16_t)(q->head - port->reported));
		if (sent > 0) {
			port->reported = (uint16_t)(port->reported + sent);
			n = (unsigned)sent;
		}
	}
	if (__builtin_expect(port->done != 0, 0)) {
		n += (unsigned)port->done;
		*failed += port->failed;
		port->done = port->failed = 0;
	}
	return n;
}

/* --- Sleeping --------------------------------------------------------------------------------- */

static bool memif_arm(void *opaque)
{
	struct memif_port *port = opaque;
	struct memif_queue *q = &port->link.receive;

	if (!port->link.connected || port->link.broken || !port->started)
		return false;
	memif_queue_arm(q);
	return atomic_load_explicit(
		       port->link.role == MEMIF_CLIENT ? &q->ring->tail : &q->ring->head,
		       memory_order_acquire) != q->tail;
}

static void memif_disarm(void *opaque)
{
	struct memif_port *port = opaque;

	if (port->link.connected)
		memif_queue_disarm(&port->link.receive);
}

/* --- Buffers, as client ----------------------------------------------------------------------- */

static void post_spares(struct memif_port *port)
{
	struct memif_queue *q = &port->link.receive;
	unsigned room = q->mask + 1u - (uint16_t)(q->head - q->tail);

	while (port->spares && room--) {
		uint32_t buffer = port->spare[--port->spares];

		memif_post(port, q->head, buffer);
		q->head++;
	}
	atomic_store_explicit(&q->ring->head, q->head, memory_order_release);
}

/*
 * The connection is gone or about to go: every posted buffer is this side's again, every frame in
 * flight has failed. `head` and `tail` are this side's own indices, taken before the rings went.
 */
static void reclaim(
	struct memif_port *port, uint16_t head, uint16_t tail, uint16_t mask, uint16_t send_head)
{
	for (; tail != head; tail++)
		port->spare[port->spares++] = port->posted[tail & mask];
	uint16_t lost = (uint16_t)(send_head - port->reported);
	port->done += lost;
	port->failed += lost;
	port->reported = 0;
}

static void memif_service(void *opaque)
{
	struct memif_port *port = opaque;
	struct memif_link *link = &port->link;
	uint16_t head = link->receive.head, tail = link->receive.tail, mask = link->receive.mask;
	uint16_t send_head = link->send.head;

	if (!port->used && memif_shares_late(link))
		memif_link_disconnect(link, "More memory to share");
	switch (memif_link_service(link)) {
	case MEMIF_NOTHING:
		break;
	case MEMIF_UP:
		port->dropping = NULL;
		port->consumed = 0;
		port->used = false;
		if (link->role == MEMIF_CLIENT && port->started)
			post_spares(port);
		break;
	case MEMIF_DOWN:
		port->consumed = 0;
		port->unpublished = port->unnotified = false;
		if (link->role == MEMIF_CLIENT)
			reclaim(port, head, tail, mask, send_head);
		break;
	}
}

static int memif_start(void *opaque, const uint32_t *buffers, unsigned n)
{
	struct memif_port *port = opaque;
	unsigned slots = 1u << port->link.config.log2_ring;

	port->started = true;
	if (port->link.role == MEMIF_SERVER)
		return 0;
	if (n > slots)
		n = slots;
	/* The first given is the first posted. */
	for (unsigned i = 0; i < n; i++)
		port->spare[n - 1 - i] = buffers[i];
	port->spares = n;
	if (port->link.connected && !port->link.broken)
		post_spares(port);
	return (int)n;
}

static void wait_for_peer(struct memif_port *port)
{
	struct memif_queue *q = &port->link.send;

	for (unsigned i = 0; i < STOP_WAIT_MS * 10; i++) {
		if (atomic_load_explicit(&q->ring->tail, memory_order_acquire) == q->head)
			return;
		nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
	}
}

static unsigned memif_stop(void *opaque, uint32_t *buffers)
{
	struct memif_port *port = opaque;

	if (!port->started)
		return 0;
	port->started = false;
	if (port->link.role == MEMIF_SERVER)
		return 0;
	if (port->link.connected) {
		uint64_t failed = 0;
		if (!port->link.broken)
			wait_for_peer(port);
		unsigned sent = memif_transmitted(port, &failed);
		memif_link_disconnect(&port->link, "Receiver stopped");
		while (port->link.connected)
			memif_service(port);
		/* Told to the caller by the next memif_transmitted, after those it has been told
		 * of. */
		port->done += sent;
		port->failed += failed;
	}
	unsigned n = port->spares;
	for (unsigned i = 0; i < n; i++)
		buffers[i] = port->spare[i];
	port->spares = 0;
	return n;
}

static void memif_close(void *opaque)
{
	struct memif_port *port = opaque;

	memif_link_close(&port->link);
	free(port->posted);
	free(port->spare);
	free(port->gathered);
	port->posted = port->spare = NULL;
	port->gathered = NULL;
}

static int memif_open(void *opaque, const struct port_config *config, struct error *error)
{
	struct memif_port *port = opaque;
	struct memif_link_config link;

	memset(port, 0, sizeof(*port));
	port->memory = config->memory;
	port->kernel = memif_kernel_best();
	port->buffer_bytes = config->buffer_bytes;
	port->longest = P2PNIC_FRAME_BYTES_MAX(config->buffer_bytes);
	int r = memif_link_options(&link, config->target, config->options, error);
	if (r)
		return r;
	if (link.role == MEMIF_CLIENT) {
		if (config->memory_bytes > UINT32_MAX)
			return error_set(error, -EINVAL,
				"memif: packet memory of %llu bytes: a client shares less than 4 "
				"GiB",
				(unsigned long long)config->memory_bytes);
	}
	link.region[0].base = config->memory;
	link.region[0].bytes = config->memory_bytes;
	link.region[0].fd = config->memory_fd;
	size_t slots = (size_t)1 << link.log2_ring;
	port->posted = calloc(slots, sizeof(*port->posted));
	port->spare = calloc(slots, sizeof(*port->spare));
	port->gathered = calloc(P2PNIC_BURST_MAX, port->longest);
	if (port->posted && port->spare && port->gathered) {
		r = memif_link_open(&port->link, &link, error);
	} else {
		r = error_set(error, -ENOMEM, "memif: %s: out of memory", config->target);
	}
	if (r) {
		free(port->posted);
		free(port->spare);
		free(port->gathered);
		return r;
	}
	memif_service(port);
	return 0;
}

static int memif_fd(void *opaque)
{
	return ((struct memif_port *)opaque)->link.events;
}

static int memif_control_fd(void *opaque)
{
	return ((struct memif_port *)opaque)->link.control;
}

static void memif_info(void *opaque, struct port_info *info)
{
	struct memif_port *port = opaque;

	*info = (struct port_info){
		.link = port->link.connected,
		.mtu = P2PNIC_MTU_MAX(port->buffer_bytes),
		.missed = port->link.counters.bad_descriptor,
		.oversize = port->oversize,
	};
	snprintf(info->mode, sizeof(info->mode), "%s",
		port->link.role == MEMIF_CLIENT ? "client, zero-copy"
						: "server, zero-copy in, copy out");
	/* Why there is no connection: this side's words or the peer's. */
	if (!port->link.connected)
		error_set(&info->fault, 0, "%s", port->link.reason);
}

const struct port_ops memif_port_ops = {
	.type = "memif",
	.bytes = sizeof(struct memif_port),
	.open = memif_open,
	.close = memif_close,
	.start = memif_start,
	.stop = memif_stop,
	.fd = memif_fd,
	.info = memif_info,
	.service = memif_service,
	.control_fd = memif_control_fd,
	.prefetch = memif_prefetch,
	.receive = memif_receive,
	.keep = memif_keep,
	.release = memif_release,
	.transmit = memif_transmit,
	.flush = memif_flush,
	.notify = memif_notify,
	.transmitted = memif_transmitted,
	.reach = memif_reach,
	.reachable = memif_reachable,
	.transmit_from = memif_transmit_from,
	.leave = memif_leave,
	.arm = memif_arm,
	.disarm = memif_disarm,
};
