/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Memories of other NICs from which a soft NIC's port sends (ports/port.h, reach).
 *
 * A window may go while frames of it are still at the port, so what a port has been given is held
 * here, beside the windows. It is given back when this NIC has no window on it and its port no
 * frame: when its window goes, or else when the next one comes or goes. A NIC that has died costs
 * its packet memory until then.
 */
#include "softnic/soft_board.h"

static void leave(struct board *b, unsigned number)
{
	struct mapping *m = b->reached[number];

	b->ops->leave(b->port, number);
	b->reached[number] = NULL;
	mapping_put(m);
}

static bool has_window(const struct dma *dma, const struct mapping *m)
{
	for (unsigned k = 0; k < dma->windows; k++)
		if (dma->window[k].mapping == m)
			return true;
	return false;
}

void soft_leave(struct board *b, bool all)
{
	for (unsigned k = 0; k < PORT_MEMORIES; k++) {
		const struct mapping *m = b->reached[k];

		if (m && (all || !has_window(b->dma, m)))
			leave(b, k);
	}
}

/* The mapping's address space is the region's: what lies in one piece is of one mapping. */
uint32_t soft_reach(struct board *b, const struct dma_region *r, uint32_t *base)
{
	struct mapping *m = r->board && b->ops->reach ? mapping_at(r->board) : NULL;
	uint64_t begin, number;

	if (!m || m->memory == b->own)
		return 0;
	begin = (uint64_t)((uint8_t *)r->board - m->memory);
	if (begin + r->bytes > m->bytes || begin + r->bytes > UINT32_MAX)
		return 0;
	*base = (uint32_t)begin;
	for (unsigned k = 0; k < PORT_MEMORIES; k++)
		if (b->reached[k] == m)
			return k;
	number = b->ops->reach(b->port, &(struct port_memory){m->memory, m->bytes, m->fd});
	if (number) {
		b->reached[number] = m;
		m->references++;
	}
	return (unsigned)number;
}
