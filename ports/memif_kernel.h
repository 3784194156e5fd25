/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a client does for all descriptors of a burst. In scalar form, in AVX2 registers and in
 * AVX-512 registers, four descriptors each (memif_kernel_scalar.c and so on), with the same
 * results; chosen when the port opens, as firmware/kernel.h.
 */
#ifndef P2PNIC_MEMIF_KERNEL_H
#define P2PNIC_MEMIF_KERNEL_H

#include "memif.h"

struct memif_kernel {
	/* Receives up to `limit` frames, each whole in one slot. Fewer: the next is not. */
	unsigned (*receive)(struct memif_port *, struct frame *frames, unsigned limit);

	/* All slots are posted: the first n again, each with the buffer it has. */
	void (*repost)(struct memif_port *, unsigned n);

	/* Names n frames of that region in the slots from the head on. */
	void (*describe)(struct memif_queue *, unsigned region,
		const struct p2pnic_descriptor *frames, unsigned n);
};

extern const struct memif_kernel memif_kernel_scalar;
#ifdef __x86_64__
extern const struct memif_kernel memif_kernel_avx2;   /* where x86_has_avx2 */
extern const struct memif_kernel memif_kernel_avx512; /* where x86_has_avx512 */
#endif

/* The fastest that this processor has. */
const struct memif_kernel *memif_kernel_best(void);

/* Writes `buffer` into the slot at the client's head of the receive ring; publishing is the
 * caller's. */
static inline void memif_post(struct memif_port *port, uint16_t index, uint32_t buffer)
{
	struct memif_queue *q = &port->link.receive;
	uint16_t slot = index & q->mask;

	port->posted[slot] = buffer;
	memif_write(&q->ring->slot[slot], MEMIF_CONTROL(0, 1, port->buffer_bytes), buffer);
}

/* Frame n of the burst, from one slot; false: it is not whole in it. */
static inline bool memif_receive_one(
	struct memif_port *port, struct frame *frames, unsigned n, unsigned slot)
{
	uint64_t control = memif_read(&port->link.receive.ring->slot[slot].control);
	uint32_t length = MEMIF_LENGTH(control);

	if (__builtin_expect(
		    (MEMIF_FLAGS(control) & MEMIF_DESCRIPTOR_NEXT) || length > port->longest, 0))
		return false;
	frames[n] = (struct frame){port->memory + port->posted[slot], length};
	port->slot[n] = (uint16_t)slot;
	return true;
}

#endif
