/* SPDX-License-Identifier: BSD-3-Clause */
#include "memif_kernel.h"

#include "firmware/x86.h"

static unsigned receive(struct memif_port *port, struct frame *frames, unsigned limit)
{
	const struct memif_queue *q = &port->link.receive;
	unsigned n = 0;

	while (n < limit &&
		memif_receive_one(port, frames, n, (unsigned)((uint16_t)(q->tail + n) & q->mask)))
		n++;
	return n;
}

static void repost(struct memif_port *port, unsigned n)
{
	const struct memif_queue *q = &port->link.receive;

	for (unsigned i = 0; i < n; i++) {
		uint16_t slot = (uint16_t)(q->tail + i) & q->mask;

		memif_post(port, slot, port->posted[slot]);
	}
}

static void describe(
	struct memif_queue *q, unsigned region, const struct p2pnic_descriptor *frames, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		memif_write(&q->ring->slot[(uint16_t)(q->head + i) & q->mask],
			MEMIF_CONTROL(0, region, frames[i].length), frames[i].offset);
}

const struct memif_kernel memif_kernel_scalar = {receive, repost, describe};

const struct memif_kernel *memif_kernel_best(void)
{
#ifdef __x86_64__
	if (x86_has_avx512())
		return &memif_kernel_avx512;
	if (x86_has_avx2())
		return &memif_kernel_avx2;
#endif
	return &memif_kernel_scalar;
}
