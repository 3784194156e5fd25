/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Descriptor rings between two NICs.
 *
 * For each ordered pair (ingress i, egress e) there is one single-producer single-consumer ring. It
 * lies in the memory of the NIC that polls it, and so does everything else a NIC polls: a NIC only
 * ever reads its own memory, the other end writes there by DMA (a posted write is cheap over PCIe,
 * a read costs a round trip).
 *
 *            memory of e (BAR2)                              memory of i (BAR2)
 *   mailbox of i ─────────────────────┐            mailbox of e ──────────────────────┐
 *   │ producer   (written by i)       │            │ consumer of ring i→e (written by e)
 *   │ descriptor[slots] (written by i)│            │ asleep     (written by e)        │
 *   │ consumer of ring e→i (by i)     │            │ producer, descriptors of e→i     │
 *   └─────────────────────────────────┘            └──────────────────────────────────┘
 *
 * So a NIC has one mailbox for each peer, and *only that peer* writes it: one window is all a peer
 * needs, and it reaches nothing of other peers.
 *
 * Life of a slot (Wr): the ingress NIC writes the packet into any free one of the buffers that the
 * driver gave it in the egress NIC's packet memory (the last one completed: it is still in
 * somebody's cache), writes the descriptor, then the producer word. The egress NIC reads the
 * producer word, reads descriptors, sends, and writes the consumer word into the ingress NIC's
 * memory; the buffer then belongs to the ingress NIC again.
 *
 * Who owns what: slots [consumer, producer) and the buffers they name belong to the egress NIC; all
 * others to the ingress NIC. Indices run free from 0 over 32 bits and are masked on use.
 *
 * Order: a producer word is written after its descriptors, and those after their packets. On the
 * soft NIC that is a release store paired with the consumer's acquire load; over PCIe, posted
 * writes of one requester do not pass one another (PCIe Base Specification, "Transaction Ordering",
 * relaxed ordering off).
 *
 * Epoch: the driver numbers each life of a pair. Index and epoch travel in one 64-bit word, so a
 * NIC that lags behind (a peer died, came back, and a stale write arrives late) is ignored: a word
 * whose epoch is not the one the driver set for the pair is no index.
 *
 * Hostile peer: a consumer copies a descriptor once, then checks it: the index distance is at most
 * the number of slots, offset + length (in 64 bits) lies in the peer's own buffers, the length is a
 * frame's. A producer word that fails quarantines that ring, a descriptor that fails is counted
 * (P2PNIC_DROP_BAD_DESCRIPTOR); other rings go on.
 */
#ifndef P2PNIC_RING_H
#define P2PNIC_RING_H

#include "limits.h"
#include "types.h"

/* Index and epoch as one word: one store publishes both. */
typedef _Atomic uint64_t p2pnic_ring_word;
#define P2PNIC_RING_WORD(epoch, index) (((uint64_t)(epoch) << 32) | (uint32_t)(index))
#define P2PNIC_RING_EPOCH(word)        ((uint32_t)((word) >> 32))
#define P2PNIC_RING_INDEX(word)        ((uint32_t)(word))

/*
 * One packet. Eight bytes, so that a batch of eight is one cache line and one PCIe write.
 *
 * offset: bytes from the start of the buffers this ring may name:
 *   Wr  the buffers given to the ingress NIC in the egress NIC's packet memory (local to egress);
 *   Rd  the ingress NIC's packet memory from its offset 0 (the egress NIC reads it across the bus);
 *   Bn  the ring's bounce buffers in host memory.
 * A frame lies within one buffer; up to 63 bytes behind it, in that buffer, may be overwritten with
 * it. length: of the frame from the first byte of the destination MAC, without FCS.
 */
struct p2pnic_descriptor {
	uint32_t offset; /* (ingress) */
	uint16_t length; /* (ingress) */
	uint16_t flags;  /* (ingress) to the host: enum p2pnic_drop, why it was punted; else 0 */
};
P2PNIC_ASSERT_SIZE(struct p2pnic_descriptor, 8);

/*
 * A mailbox: all that one peer writes into this NIC. 16 KiB, page-aligned in BAR2, one for each
 * peer. The words a NIC polls and the descriptors are 128 bytes apart: processors prefetch lines in
 * pairs.
 */
struct p2pnic_mailbox {
	p2pnic_ring_word
		producer; /* (ingress: the peer) ring peer→this: next index to be written */
	uint8_t reserved0[120];
	p2pnic_ring_word
		consumer; /* (egress: the peer) ring this→peer: next index to be consumed */
	uint8_t reserved1[120];
	_Atomic uint32_t asleep; /* (egress: the peer) 1: ring its doorbell after publishing */
	uint8_t reserved2[124];
	uint8_t reserved3[4096 - 384];
	struct p2pnic_descriptor descriptor[P2PNIC_RING_SLOTS_MAX]; /* (ingress) ring peer→this */
	uint8_t reserved4[4096];
};
P2PNIC_ASSERT_SIZE(struct p2pnic_mailbox, 16384);
P2PNIC_ASSERT_OFFSET(struct p2pnic_mailbox, producer, 0);
P2PNIC_ASSERT_OFFSET(struct p2pnic_mailbox, consumer, 128);
P2PNIC_ASSERT_OFFSET(struct p2pnic_mailbox, asleep, 256);
P2PNIC_ASSERT_OFFSET(struct p2pnic_mailbox, descriptor, 4096);

#endif
