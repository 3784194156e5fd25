/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The consumer's end of a ring: descriptors from one ingress NIC, in own memory (p2pnic/ring.h).
 *
 * dequeued and completed run freely; completed ≤ dequeued ≤ completed + slots, whatever the peer
 * writes.
 */
#ifndef P2PNIC_FIRMWARE_RING_IN_H
#define P2PNIC_FIRMWARE_RING_IN_H

#include <p2pnic/ring.h>

#include "board.h"

struct nic;

struct ring_in {
	bool open;
	uint8_t check;     /* enum p2pnic_check */
	uint16_t failures; /* transfers that failed, of the frames since failed_from */
	uint32_t epoch;
	uint32_t slots;
	uint32_t dequeued;  /* next index to take */
	uint32_t completed; /* what the ingress NIC may use again */
	uint32_t announced; /* of completed, what its consumer word has told it */
	uint32_t coalesce;  /* completions that are announced together */
	uint32_t orphans;   /* frames of an earlier life that the port still has */
	uint64_t base;      /* Wr: bar_offset in BAR4 of the peer's buffers */
	uint64_t bytes;     /* how much its descriptors may name… */
	uint64_t here;      /* …of which so much is in own memory, and the rest in the peer's */
	uint32_t longest;   /* bytes of the longest frame that fits a buffer */
	uint32_t failed_from;
	struct p2pnic_mailbox *mailbox;
	struct dma_region packets; /* Rd, Bn, Hy: where packets are read from */
	/* Rd, Hy: …as the port can send from it (board_reach), and what is added to offsets; 0: it
	 * cannot. */
	uint32_t memory, memory_base;
} __attribute__((aligned(64)));

/* As it stands in a slot: read once, in one access; its peer may change it at any time, to no
 * effect then. Acquire: pairs with the peer's board_dma_publish, so the packet is visible. */
static inline uint64_t ring_in_word(const struct ring_in *in, uint32_t index)
{
	const struct p2pnic_descriptor *d = &in->mailbox->descriptor[index & (in->slots - 1)];

	return __atomic_load_n((const uint64_t *)d, __ATOMIC_ACQUIRE);
}

/* Rd, Bn, Hy: some of its packets lie in another's memory. */
static inline bool ring_in_is_remote(const struct ring_in *in)
{
	return in->bytes != in->here;
}

static inline bool ring_in_published(const struct ring_in *in, uint32_t index, uint64_t word)
{
	return P2PNIC_FLAGS_TAG(word >> 48) == p2pnic_tag(in->epoch, index, in->slots);
}

/* It has a new descriptor. */
static inline bool ring_in_waits(const struct ring_in *in)
{
	return ring_in_published(in, in->dequeued, ring_in_word(in, in->dequeued)) &&
	       in->dequeued - in->completed < in->slots;
}

/*
 * A pair is given up when RING_FAILURES_MAX transfers of RING_FAILURES_OF frames have failed. A
 * window that was taken away fails them all, so few are lost before; one that fails now and then
 * for another reason costs its frame, not the pair: 8 of 65536 is more than a link may lose.
 */
#define RING_FAILURES_MAX 8u
#define RING_FAILURES_OF  65536u

/* Counts what waits in a ring that is about to close. */
void ring_in_discard(struct nic *, unsigned peer);

/* Tells peers what they may use again: those whose completions are `coalesce` or more; all: any. */
void rings_complete(struct nic *, bool all);

#endif
