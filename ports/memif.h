/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The memif port: a NIC whose Ethernet side is shared memory with another process (VPP, DPDK's
 * net_memif, p2pnic tester, another p2pnic). port.h says what a port is; memif_link.h makes and keeps
 * the connection.
 *
 * target: the socket, "@NAME" for the abstract name space. options:
 *
 *   role=client|server  client unless told
 *   id=N                interface number on the socket, 0 unless told
 *   rsize=N             client: log2 of the slots of each ring; 9 unless told. A server takes the
 *                       client's
 *   secret-file=PATH    the secret: 1 to 24 characters, of which VPP, DPDK and libmemif know 23; a newline
 *                       behind them is none
 *   secret-fd=N         the same, from a descriptor that this process was started with
 *   secret=TEXT         the same, for configuration files: on a command line it would stand in ps
 *   peers=any|UID       admit the processes of every user, or of that one, beside root's and one's own. The
 *                       socket is then open to all users, else to one's own (mode 0600)
 *   map=MIB             server: memory that a peer may have mapped here; 4096 unless told
 *   unsealed=yes        server: take regions that the peer could shrink, as DPDK's are with zero-copy, or of
 *                       huge pages. A peer that then shrinks one kills this process by SIGBUS: friends only
 *
 * As CLIENT the whole packet memory (BAR4) is one memif region, and the rings are another. Nothing is
 * copied by the port in either direction:
 *
 *   receive   the buffers given at start are posted, the peer writes frames into them, and they are
 *             read where they lie
 *   transmit  a frame anywhere in packet memory, written there by another NIC, is named by a
 *             descriptor, and the peer reads it there
 *
 * The price: the peer can read and write all packet memory at any time, also packets of other NICs
 * in flight through this one. It never reaches rings, tables or other NICs' memory.
 *
 * As SERVER the memory is the peer's. Frames are read where the peer put them (no copy), keep copies
 * one into packet memory, and transmit copies into the peer's buffers. Packet memory stays private.
 * start takes no buffers (returns 0), as none are received into.
 *
 * Buffers. As client whole buffers of P2PNIC_BUFFER_BYTES are posted, as VPP, DPDK and libmemif do by
 * default. libmemif asks each slot for that much, and cuts every packet over two where it is less. So a frame
 * begins at the start of its buffer and leaves no headroom; frames above P2PNIC_FRAME_BYTES_MAX are dropped.
 *
 * Chained descriptors (MEMIF_DESCRIPTOR_NEXT): a packet may lie in up to MEMIF_PARTS_MAX of them. Received
 * ones are put together in one piece, as client in the first one's buffer, as server in memory of the port. As
 * server a frame longer than the peer's buffer is cut over as many as it needs; as client every frame leaves in
 * one. A chain whose end is not published waits. Packets above P2PNIC_FRAME_BYTES_MAX are dropped whole and
 * counted once in `oversize`. Frames in one slot pay nothing for this: memif_chain.c takes over at the first
 * that is not.
 *
 * Hostile descriptors: as client only length and flags are read back, the place is known from this
 * side's own table. As server region, offset and length are checked in 64 bits; a packet with a bad one is
 * dropped and counted in `missed`. Bad indices end the connection.
 *
 * Frames given to transmit while nobody is connected are taken and reported as failed; so are those
 * that were in flight when the connection ended.
 *
 * stop as client: a peer cannot be asked to give back posted buffers, so the connection is ended (after
 * the peer had up to 10 ms to read what is in flight) and made anew without them.
 */
#ifndef P2PNIC_MEMIF_H
#define P2PNIC_MEMIF_H

#include "memif_link.h"
#include "memif_x86.h"
#include "port.h"

#include <string.h>

#define MEMIF_PARTS_MAX P2PNIC_BURST_MAX /* descriptors of one packet; one in more is dropped */

struct memif_port {
	struct memif_link link;
	uint8_t *memory;

	/* receive: slots [receive.tail, receive.tail + consumed) are the burst in the caller's hands */
	uint32_t *posted; /* client: bar_offset posted in each slot, as told to the peer */
	unsigned consumed;
	uint16_t slot[P2PNIC_BURST_MAX];      /* client: slot of frame k */
	struct frame burst[P2PNIC_BURST_MAX]; /* server: for keep */
	uint64_t *
		dropping; /* the packet in the last slot goes on, and is counted there at its end */
	uint8_t *
		gathered; /* server: frame k of a burst in one piece, at k · P2PNIC_FRAME_BYTES_MAX */
	bool started;

	/* transmit */
	uint16_t reported; /* client: slots before it have been told to the caller */
	bool unpublished;
	uint64_t done;   /* further frames done with, these among them… */
	uint64_t failed; /* …that did not leave */

	uint64_t oversize;
	uint32_t *spare; /* client: buffers not posted, while down or stopped */
	unsigned spares;
};

extern const struct port_ops memif_port_ops;

/* --- Receiving ------------------------------------------------------------------------------- */

/* Writes `buffer` into the slot at the client's head of the receive ring; publishing is the caller's. */
static inline void memif_post(struct memif_port *port, uint16_t index, uint32_t buffer)
{
	struct memif_queue *q = &port->link.receive;
	uint16_t slot = index & q->mask;

	port->posted[slot] = buffer;
	memif_write(&q->ring->slot[slot], MEMIF_CONTROL(0, 1, P2PNIC_BUFFER_BYTES), buffer);
}

/*
 * The rest of a burst from frame n on, which is not one whole frame in one slot: chains are put together, what
 * is too long or not in the peer's memory is dropped and counted. `limit` slots belong to the burst, a packet
 * that begins in them may use all `waiting`. Returns the frames of the whole burst.
 */
unsigned memif_receive_rest(struct memif_port *port, struct frame *frames, unsigned n,
	unsigned limit, unsigned waiting);

/* Frame n of the burst, from one slot; false: the rest is memif_receive_rest's. */
static inline bool memif_receive_one(
	struct memif_port *port, struct frame *frames, unsigned n, unsigned slot)
{
	uint64_t control = memif_read(&port->link.receive.ring->slot[slot].control);
	uint32_t length = MEMIF_LENGTH(control);

	if (__builtin_expect((MEMIF_FLAGS(control) & MEMIF_DESCRIPTOR_NEXT) ||
				     length > P2PNIC_FRAME_BYTES_MAX,
		    0))
		return false;
	frames[n] = (struct frame){port->memory + port->posted[slot], length};
	port->slot[n] = (uint16_t)slot;
	return true;
}

#ifdef __x86_64__
AVX512 static inline unsigned memif_receive_fours(
	struct memif_port *port, struct frame *frames, unsigned limit)
{
	const struct memif_queue *q = &port->link.receive;
	unsigned n = 0;

	while (n < limit) {
		unsigned slot = (uint16_t)(q->tail + n) & q->mask;

		if (limit - n >= 4 && slot + 3 <= q->mask &&
			memif_four_in(q->ring->slot + slot, port->posted + slot, port->memory,
				frames + n)) {
			uint64_t slots = slot * 0x0001000100010001 + 0x0003000200010000;

			memcpy(port->slot + n, &slots, 8);
			n += 4;
		} else if (memif_receive_one(port, frames, n, slot)) {
			n++;
		} else {
			break;
		}
	}
	return n;
}
#endif

static inline unsigned memif_receive_client(
	struct memif_port *port, struct frame *frames, unsigned limit)
{
	const struct memif_queue *q = &port->link.receive;
	unsigned n = 0;

#ifdef __x86_64__
	if (x86_has_avx512())
		return memif_receive_fours(port, frames, limit);
#endif
	while (n < limit &&
		memif_receive_one(port, frames, n, (unsigned)((uint16_t)(q->tail + n) & q->mask)))
		n++;
	return n;
}

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
					     MEMIF_LENGTH(control) > P2PNIC_FRAME_BYTES_MAX,
			    0))
			break;
		frames[n] = (struct frame){data, MEMIF_LENGTH(control)};
		port->burst[n] = frames[n];
	}
	return n;
}

static inline unsigned memif_receive(struct memif_port *port, struct frame *frames, unsigned max)
{
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
		n = client ? memif_receive_client(port, frames, limit)
			   : memif_receive_server(port, frames, limit);
	port->consumed = n;
	if (__builtin_expect(n < limit, 0))
		n = memif_receive_rest(port, frames, n, limit, (unsigned)waiting);
	return n;
}

static inline uint32_t memif_keep(struct memif_port *port, unsigned k, uint32_t spare)
{
	if (port->link.role == MEMIF_CLIENT) {
		uint16_t slot = port->slot[k];
		uint32_t kept = port->posted[slot];

		port->posted[slot] = spare;
		__atomic_store_n(
			&port->link.receive.ring->slot[slot].place, spare, __ATOMIC_RELAXED);
		return kept;
	}
	memcpy(port->memory + spare, port->burst[k].data, port->burst[k].length);
	return spare;
}

/* All slots are posted: the first n again, each with the buffer it has. */
#ifdef __x86_64__
AVX512 static inline void memif_repost_fours(struct memif_port *port, unsigned n)
{
	const struct memif_queue *q = &port->link.receive;

	for (unsigned i = 0; i < n;) {
		unsigned slot = (uint16_t)(q->tail + i) & q->mask;

		if (n - i >= 4 && slot + 3 <= q->mask) {
			memif_four_post(q->ring->slot + slot, port->posted + slot);
			i += 4;
		} else {
			memif_post(port, (uint16_t)slot, port->posted[slot]);
			i++;
		}
	}
}
#endif

static inline void memif_repost(struct memif_port *port, unsigned n)
{
	const struct memif_queue *q = &port->link.receive;

#ifdef __x86_64__
	if (x86_has_avx512()) {
		memif_repost_fours(port, n);
		return;
	}
#endif
	/* Only the length was changed. (A peer that changes the place as well loses packets of its own.) */
	for (unsigned i = 0; i < n; i++)
		__atomic_store_n(&q->ring->slot[(uint16_t)(q->tail + i) & q->mask].control,
			MEMIF_CONTROL(0, 1, P2PNIC_BUFFER_BYTES), __ATOMIC_RELAXED);
}

static inline void memif_release(struct memif_port *port)
{
	struct memif_queue *q = &port->link.receive;
	unsigned n = port->consumed;

	if (!n)
		return;
	port->consumed = 0;
	if (port->link.role == MEMIF_CLIENT) {
		if ((uint16_t)(q->head - q->tail) == q->mask + 1u) {
			memif_repost(port, n);
		} else {
			for (unsigned i = 0; i < n; i++)
				memif_post(port, (uint16_t)(q->head + i),
					port->posted[(uint16_t)(q->tail + i) & q->mask]);
		}
		q->head = (uint16_t)(q->head + n);
		q->tail = (uint16_t)(q->tail + n);
		/* Release: pairs with the peer's acquire of head before it writes into the buffers. */
		atomic_store_explicit(&q->ring->head, q->head, memory_order_release);
	} else {
		q->tail = (uint16_t)(q->tail + n);
		/* Release: our reads of the frames are over before the peer writes new ones there. */
		atomic_store_explicit(&q->ring->tail, q->tail, memory_order_release);
	}
}

/* --- Sending --------------------------------------------------------------------------------- */

#ifdef __x86_64__
AVX512 static inline void memif_describe_fours(
	struct memif_queue *q, const struct p2pnic_descriptor *frames, unsigned n)
{
	for (unsigned i = 0, run; i < n; i += run) {
		unsigned slot = (uint16_t)(q->head + i) & q->mask;

		run = n - i < 4 ? n - i : 4;
		if (run > q->mask + 1u - slot)
			run = q->mask + 1u - slot;
		memif_four_out(q->ring->slot + slot, frames + i, run);
	}
}
#endif

/* Into the slots from the client's head on. */
static inline void memif_describe(
	struct memif_queue *q, const struct p2pnic_descriptor *frames, unsigned n)
{
#ifdef __x86_64__
	if (x86_has_avx512()) {
		memif_describe_fours(q, frames, n);
		return;
	}
#endif
	for (unsigned i = 0; i < n; i++)
		memif_write(&q->ring->slot[(uint16_t)(q->head + i) & q->mask],
			MEMIF_CONTROL(0, 1, frames[i].length), frames[i].offset);
}

static inline unsigned memif_transmit_client(
	struct memif_port *port, const struct p2pnic_descriptor *frames, unsigned n)
{
	struct memif_queue *q = &port->link.send;
	unsigned room = q->mask + 1u - (uint16_t)(q->head - port->reported);

	if (n > room)
		n = room;
	memif_describe(q, frames, n);
	q->head = (uint16_t)(q->head + n);
	port->unpublished |= n != 0;
	return n;
}

/* One frame into the peer's buffer; whole 64-byte blocks where both sides have the room. */
static inline void memif_copy(uint8_t *to, uint32_t room, const uint8_t *from, uint32_t length)
{
	if (((length + 63u) & ~63u) > room) {
		memcpy(to, from, length);
		return;
	}
	for (uint32_t i = 0; i < length; i += 64)
		memcpy(to + i, from + i, 64);
}

/*
 * The rest of a burst from frame i on, for which one slot is not enough, or not in the peer's memory: frames are
 * cut over as many slots as they fill. One that cannot be, as all of the ring is too little or a place is bad,
 * has failed, and its slots go back empty. Returns the frames taken of the whole burst.
 */
unsigned memif_transmit_rest(
	struct memif_port *port, const struct p2pnic_descriptor *frames, unsigned i, unsigned n);

static inline unsigned memif_transmit_server(
	struct memif_port *port, const struct p2pnic_descriptor *frames, unsigned n)
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
		memif_copy(to, MEMIF_LENGTH(control), port->memory + frames[i].offset, length);
		__atomic_store_n(&d->control, MEMIF_CONTROL(0, MEMIF_REGION(control), length),
			__ATOMIC_RELAXED);
	}
	q->tail = (uint16_t)(q->tail + i);
	port->done += i;
	port->unpublished |= i != 0;
	return __builtin_expect(i < limit, 0) ? memif_transmit_rest(port, frames, i, n) : i;
}

static inline unsigned memif_transmit(
	struct memif_port *port, const struct p2pnic_descriptor *frames, unsigned n)
{
	if (__builtin_expect(!port->link.connected || port->link.broken, 0)) {
		/* Those in flight before come first; after them these, all failed (memif_transmitted). */
		port->done += n;
		port->failed += n;
		return n;
	}
	return port->link.role == MEMIF_CLIENT ? memif_transmit_client(port, frames, n)
					       : memif_transmit_server(port, frames, n);
}

static inline void memif_flush(struct memif_port *port)
{
	struct memif_queue *q = &port->link.send;

	if (!port->unpublished)
		return;
	port->unpublished = false;
	/* Release: pairs with the peer's acquire; descriptors and packets are before the index. */
	if (port->link.role == MEMIF_CLIENT)
		atomic_store_explicit(&q->ring->head, q->head, memory_order_release);
	else
		atomic_store_explicit(&q->ring->tail, q->tail, memory_order_release);
	memif_queue_notify(q);
}

static inline unsigned memif_transmitted(struct memif_port *port, uint64_t *failed)
{
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

/* --- Sleeping -------------------------------------------------------------------------------- */

static inline bool memif_arm(struct memif_port *port)
{
	struct memif_queue *q = &port->link.receive;

	if (!port->link.connected || port->link.broken || !port->started)
		return false;
	memif_queue_arm(q);
	return atomic_load_explicit(
		       port->link.role == MEMIF_CLIENT ? &q->ring->tail : &q->ring->head,
		       memory_order_acquire) != q->tail;
}

static inline void memif_disarm(struct memif_port *port)
{
	if (port->link.connected)
		memif_queue_disarm(&port->link.receive);
}

#endif
