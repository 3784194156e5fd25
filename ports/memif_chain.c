/* SPDX-License-Identifier: BSD-3-Clause */
/* Packets in several descriptors, and those that are dropped: what the path of a frame in one slot
 * leaves out. */
#include "memif.h"

/*
 * The packet that begins at `index`, of which `waiting` slots are published. Returns how many slots
 * it takes; 0: its end has not come. *frame is the packet in one piece, frame n of the burst; its
 * data NULL: dropped.
 */
static unsigned gather(
	struct memif_port *port, uint16_t index, unsigned waiting, unsigned n, struct frame *frame)
{
	const struct memif_queue *q = &port->link.receive;
	const bool client = port->link.role == MEMIF_CLIENT;
	/* What the peer can have published at most. */
	const unsigned all = client ? (uint16_t)(q->head - q->tail) : q->mask + 1u;
	uint8_t *whole;
	uint32_t length = 0;

	*frame = (struct frame){NULL, 0};
	if (client) {
		port->slot[n] = index & q->mask;
		whole = port->memory + port->posted[port->slot[n]];
	} else {
		whole = port->gathered + (size_t)n * port->longest;
	}
	for (unsigned k = 0; k < waiting; k++) {
		unsigned slot = (uint16_t)(index + k) & q->mask;
		uint64_t control = memif_read(&q->ring->slot[slot].control);
		const uint8_t *part = client ? port->memory + port->posted[slot]
					     : memif_link_at(&port->link, control,
						       memif_read(&q->ring->slot[slot].place));

		if (!port->dropping && !part)
			port->dropping = &port->link.counters.bad_descriptor;
		if (!port->dropping &&
			(k == MEMIF_PARTS_MAX || MEMIF_LENGTH(control) > port->longest - length))
			port->dropping = &port->oversize;
		if (!port->dropping) {
			/* A client's first part lies where the packet goes. */
			if (k || !client)
				memcpy(whole + length, part, MEMIF_LENGTH(control));
			length += MEMIF_LENGTH(control);
		}
		if (MEMIF_FLAGS(control) & MEMIF_DESCRIPTOR_NEXT)
			continue;
		if (port->dropping)
			++*port->dropping;
		else
			*frame = (struct frame){whole, length};
		port->dropping = NULL;
		return k + 1;
	}
	/* What is being dropped is given back as it comes; where one packet fills the ring, no more
	 * of it can. */
	if (waiting == all && !port->dropping)
		port->dropping = &port->oversize;
	return port->dropping ? waiting : 0;
}

unsigned memif_receive_rest(
	struct memif_port *port, struct frame *frames, unsigned n, unsigned limit, unsigned waiting)
{
	unsigned at = n, slots;

	for (; at < limit; at += slots) {
		slots = gather(port, (uint16_t)(port->link.receive.tail + at), waiting - at, n,
			&frames[n]);
		if (!slots)
			break;
		port->burst[n] = frames[n];
		n += frames[n].data != NULL;
	}
	port->consumed = at;
	return n;
}

/* One frame into the `posted` slots from `index` on. Returns how many it used; 0: the peer may post
 * more yet. */
static unsigned scatter(struct memif_port *port, uint16_t index, unsigned posted,
	const uint8_t *memory, const struct p2pnic_descriptor *frame)
{
	struct memif_queue *q = &port->link.send;
	const uint8_t *from = memory + frame->offset;
	uint64_t control[MEMIF_PARTS_MAX];
	uint8_t *to[MEMIF_PARTS_MAX];
	uint32_t rest = frame->length;
	unsigned parts = 0;
	bool bad = false;

	while (rest && !bad && parts < posted && parts < MEMIF_PARTS_MAX) {
		const struct memif_descriptor *d =
			&q->ring->slot[(uint16_t)(index + parts) & q->mask];
		uint32_t room;

		control[parts] = memif_read(&d->control);
		to[parts] = memif_link_at(&port->link, control[parts], memif_read(&d->place));
		bad = !to[parts];
		room = MEMIF_LENGTH(control[parts]);
		rest -= room < rest ? room : rest;
		parts++;
	}
	if (rest && !bad && parts == posted && posted <= q->mask)
		return 0;
	port->link.counters.bad_descriptor += bad;
	bad = bad || rest;
	port->failed += bad;
	rest = bad ? 0 : frame->length;
	for (unsigned k = 0; k < parts; k++) {
		uint32_t room = MEMIF_LENGTH(control[k]), length = room < rest ? room : rest;

		if (length)
			memcpy(to[k], from, length);
		from += length;
		rest -= length;
		__atomic_store_n(&q->ring->slot[(uint16_t)(index + k) & q->mask].control,
			MEMIF_CONTROL(
				rest ? MEMIF_DESCRIPTOR_NEXT : 0, MEMIF_REGION(control[k]), length),
			__ATOMIC_RELAXED);
	}
	return parts;
}

unsigned memif_transmit_rest(struct memif_port *port, const uint8_t *memory,
	const struct p2pnic_descriptor *frames, unsigned i, unsigned n)
{
	struct memif_queue *q = &port->link.send;

	for (; i < n; i++) {
		int posted =
			memif_link_advanced(&port->link, &q->ring->head, q->tail, q->mask + 1u);
		if (posted <= 0)
			break;
		q->head = (uint16_t)(q->tail + posted);
		unsigned slots = scatter(port, q->tail, (unsigned)posted, memory, &frames[i]);
		if (!slots)
			break;
		q->tail = (uint16_t)(q->tail + slots);
		port->done++;
		port->unpublished = true;
	}
	return i;
}
