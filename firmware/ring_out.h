/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The producer's end of a ring: frames for one egress NIC, and what waits for room (p2pnic/ring.h).
 *
 *     ring_out_enqueue   frames of a burst; held or dropped where there is no room
 *     rings_publish      at the end of a burst: tells every egress
 *     rings_wake         at the end of the round: wakes who sleeps
 *     ring_out_drain     moves held packets on
 *
 * Indices run freely: consumed ≤ published ≤ produced ≤ limit ≤ consumed + capacity. Descriptors
 * are collected in `batch_word` and published by batch.
 */
#ifndef P2PNIC_FIRMWARE_RING_OUT_H
#define P2PNIC_FIRMWARE_RING_OUT_H

#include <p2pnic/registers.h>
#include <p2pnic/ring.h>

#include "board.h"

struct burst;
struct nic;
struct selection;

#define RING_HOLD_MAX 256u /* packets held for one egress whose ring is full */

/* Hy: in slot_buffer[], marks an own buffer that is lent. Buffers are aligned: the bit is free. */
#define RING_LENT 1u

/* Lines of this many frames ahead are fetched: what one takes from core to core, at some ns a
 * frame. */
#define RING_EXPECT_AHEAD 8u

/* Frames outstanding from which on buffers are reclaimed at the end of a burst; fewer are not worth
 * a look. */
#define RING_RECLAIM_FROM 128u

/* On lines of its own: what each burst touches is in the first two, and vectors cross none. */
struct ring_out {
	bool open;
	bool dirty; /* in nic.dirty_peer */
	uint8_t batch;
	uint8_t check; /* enum p2pnic_check */
	uint32_t epoch;
	uint32_t mask; /* slots - 1 */
	/* Descriptors outstanding at most: slots, and buffers to put packets in. */
	uint32_t capacity;
	uint32_t produced;  /* next index to fill */
	uint32_t published; /* what the egress NIC has been told */
	uint32_t consumed;  /* what the egress NIC said last */
	/* Of produced, at the last reclaim; = produced while packets are held, or closed. */
	uint32_t limit;
	uint32_t counted;            /* produced, as far as it stands in the counters */
	uint32_t bytes;              /* of frames since then */
	uint32_t written;            /* Wr, Bn: outstanding, in the peer's buffers */
	uint32_t lent;               /* Hy: outstanding, in own buffers */
	uint32_t lend_from;          /* Hy: bytes of a frame that is lent; else none is so long */
	uint32_t held;               /* packets in hold[] */
	p2pnic_ring_word *consumer;  /* own memory; written by the egress NIC */
	_Atomic uint32_t *asleep;    /* likewise */
	_Atomic uint32_t *link_down; /* likewise */
	struct dma_region
		mailbox; /* this NIC's in the peer: ring out, and the words of the ring in */
	struct dma_region buffers;
	struct dma_region doorbell;
	uint32_t lent_offset; /* Hy: what the peer's descriptors add to offsets in own BAR4 */
	uint32_t hold_head;
	struct p2pnic_peer entry; /* as read at peer-open, to find the regions again */
	/* Descriptors of [published, produced). */
	uint64_t batch_word[P2PNIC_BURST_MAX] __attribute__((aligned(64)));
	struct p2pnic_descriptor hold[RING_HOLD_MAX]; /* offset: of the frame in own BAR4 */
	/* The buffer that comes back on completion. Hy: RING_LENT marks an own one. */
	uint32_t slot_buffer[P2PNIC_RING_SLOTS_MAX] __attribute__((aligned(64)));

	/* Wr, Bn: the peer's free buffers are peer_free[written] to peer_free[capacity - 1], the
	 * last ones completed first: the warmest. RING_EXPECT_AHEAD more words lie behind them. */
	uint32_t peer_free[P2PNIC_RING_SLOTS_MAX + RING_EXPECT_AHEAD];
} __attribute__((aligned(64)));
_Static_assert(offsetof(struct ring_out, doorbell) <= 128, "what each burst touches");

/* The word by which the peer says that its port has no carrier, or that it has given up the pair
 * (P2PNIC_LINK_* in p2pnic/ring.h); 0: neither. Of a ring that is open. */
static inline uint32_t ring_out_link(const struct ring_out *out)
{
	return atomic_load_explicit(out->link_down, memory_order_relaxed);
}

/* Puts the selected frames, with their new heads, into the ring of that peer. */
void ring_out_enqueue(struct nic *, const struct burst *, unsigned peer, const struct selection *,
	uint16_t flags);

/* Publishes what is pending in all rings. */
void rings_publish(struct nic *);

/* Wakes those who sleep, of the peers that were told of something. After a full fence (nic.c). */
void rings_wake(struct nic *);

/* Takes note of what the egress NIC has consumed. */
void ring_out_reclaim(struct nic *, struct ring_out *);

/* Moves held packets into the ring as far as there is room. */
void ring_out_drain(struct nic *, unsigned peer);

/* Drops what is held and what nobody was told of, of a ring that closes. Writes nothing by DMA: its
 * window may be gone. */
void ring_out_close(struct nic *, unsigned peer);

#endif
