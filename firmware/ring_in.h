/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The consumer's end of a ring: descriptors from one ingress NIC, in own memory (p2pnic/ring.h).
 *
 * dequeued and completed run freely; completed ≤ dequeued ≤ the producer's word, whatever the peer
 * writes: a word that breaks this quarantines the ring until it is opened again.
 */
#ifndef P2PNIC_FIRMWARE_RING_IN_H
#define P2PNIC_FIRMWARE_RING_IN_H

#include <p2pnic/ring.h>

#include "board.h"

struct nic;

struct ring_in {
	bool open;
	bool quarantined; /* its peer broke the rules; ignored until opened again */
	bool touched;     /* completed moved since it was last written to the peer */
	uint32_t epoch;
	uint32_t slots;
	uint32_t dequeued;   /* next index to take */
	uint32_t completed;  /* what the ingress NIC may use again */
	uint64_t stale_word; /* last word of another life, counted once */
	uint32_t orphans;    /* frames of an earlier life that the port still has */
	uint64_t base;       /* Wr: bar_offset in BAR4 of the peer's buffers */
	uint64_t bytes;      /* how much its descriptors may name */
	struct p2pnic_mailbox *mailbox;
	struct dma_region packets; /* Rd, Bn: where packets are read from */
};

/* How many new descriptors it has. */
uint32_t ring_in_available(struct nic *, struct ring_in *);

/* Copies one descriptor, its offset counted from BAR4; false: not valid. */
bool ring_in_descriptor(const struct ring_in *, uint32_t index, struct p2pnic_descriptor *);

/* Counts what waits in a ring that is about to close. */
void ring_in_discard(struct nic *, unsigned peer);

/* Tells each peer what it may use again. */
void rings_complete(struct nic *);

#endif
