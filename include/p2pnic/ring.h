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
 *   │ descriptor[slots] (written by i)│            │ consumer of ring i→e (written by e)
 *   │ consumer of ring e→i (by i)     │            │ asleep     (written by e)        │
 *   │ asleep     (by i)               │            │ descriptor[slots] of ring e→i    │
 *   └─────────────────────────────────┘            └──────────────────────────────────┘
 *
 * So a NIC has one mailbox for each peer, and *only that peer* writes it: one window is all a peer
 * needs, and it reaches nothing of other peers.
 *
 * Life of a slot (Wr): the ingress NIC writes the packet into any free one of the buffers that the
 * driver gave it in the egress NIC's packet memory (the last one completed: it is still in
 * somebody's cache), then the descriptor. The egress NIC polls the next slot; a descriptor whose
 * tag is the expected one is new. It sends the packet and writes the consumer word into the ingress
 * NIC's memory; the buffer then belongs to the ingress NIC again.
 *
 * One write publishes a batch. A descriptor carries its own validity, the tag: one bit that changes
 * each time the ring wraps, and the low six bits of the pair's epoch. There is no producer index.
 * Over PCIe a second write would cost as much as the first one (a write of up to 64 bytes takes
 * the same time).
 *
 * Who owns what: a published slot and the buffer it names belong to the egress NIC until its
 * consumer word has passed it; all others to the ingress NIC. Indices run free from 0 over 32 bits
 * and are masked on use.
 *
 * Order: a descriptor is written after its packet, in one piece. On the soft NIC that is a release
 * store paired with the consumer's acquire load; over PCIe, posted writes of one requester do not
 * pass one another (PCIe Base Specification, "Transaction Ordering", relaxed ordering off).
 * Descriptors of one write may become visible in any order: a consumer takes them one after
 * another, up to the first whose tag is not the expected one.
 *
 * Epoch: the driver numbers each life of a pair. It zeroes both mailboxes after both sides were
 * closed and before either is opened: no tag of a slot that was never written is the expected one.
 * A NIC that lags behind (a peer died, came back, and a stale write arrives late) writes tags of
 * another epoch. Index and epoch of a consumer travel in one 64-bit word; a word whose epoch is not
 * the one the driver set for the pair is no index.
 *
 * Check: a posted write can fail without its writer noticing (an IOMMU takes a window away), and
 * the descriptor still arrives: the egress NIC would send what lay in the buffer before, a packet
 * of somebody else. So the driver may ask, for each pair, that a word follow each frame, by which
 * the consumer tells before it sends (p2pnic_check_at):
 *
 *   none    no word
 *   stamp   p2pnic_stamp(epoch, index): finds a write that did not arrive
 *   crc     CRC32C of the frame, begun with that stamp: finds one that arrived in part, too
 *
 * The word is part of the write of the frame, and its last bytes: posted writes of one requester do
 * not pass one another, so where an access is refused from some moment on, the word is missing as
 * soon as anything is. In front of the frame it would arrive first. It is four bytes, where an
 * Ethernet frame has its FCS: the shortest frame, 60 bytes, and its word are one line of a cache,
 * and one write of 64 bytes. Eight bytes would take a second line for every short frame.
 *
 * The index of a ring runs on, so what an earlier frame left in the same buffer does not match: two
 * stamps of one life are alike only 2^32 frames apart, those of two lives only if their indices are
 * billions apart. A CRC register goes through different states from different begins, whatever
 * follows: an old frame that lies there whole, with its old CRC, does not match either.
 *
 * A check is for writes that fail. It is no defence against a peer that lies: that one can write
 * any word.
 *
 * Hostile peer: a consumer copies a descriptor once, then checks it: offset + length (in 64 bits)
 * lies in the peer's own buffers, the length is a frame's. One that fails is counted
 * (P2PNIC_DROP_BAD_DESCRIPTOR). It takes no more descriptors than there are slots before it has
 * completed some. A consumer word out of range closes its direction. Other rings go on.
 */
#ifndef P2PNIC_RING_H
#define P2PNIC_RING_H

#include "limits.h"
#include "types.h"

/* A consumer's index and epoch as one word: one store writes both. */
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
	uint16_t flags;  /* (ingress) P2PNIC_FLAGS */
};
P2PNIC_ASSERT_SIZE(struct p2pnic_descriptor, 8);

/*
 * flags:
 *   bits 0–5   to the host: enum p2pnic_drop, why it was punted; to a NIC: P2PNIC_FLAGS_MARKED or 0
 *   bits 6–8   to the host: enum p2pnic_punt_class; otherwise 0
 *   bit  9     tag, phase: 1 in the first pass over the ring, 0 in the second, and so on
 *   bits 10–15 tag, the low six bits of the epoch
 */
#define P2PNIC_FLAGS(reason, punt_class) ((uint16_t)((reason) | (punt_class) << 6))
#define P2PNIC_FLAGS_MARKED              1u /* follow this packet: capture.h */
#define P2PNIC_FLAGS_REASON(flags)       ((flags)&0x3fu)
#define P2PNIC_FLAGS_CLASS(flags)        ((flags) >> 6 & 0x7u)
#define P2PNIC_FLAGS_TAG(flags)          ((flags)&0xfe00u)

/* The tag of the descriptor with that index, where it stands in flags. slots: of the ring. */
static inline uint16_t p2pnic_tag(uint32_t epoch, uint32_t index, uint32_t slots)
{
	return (uint16_t)(epoch << 10 | (uint32_t) !(index & slots) << 9);
}

/* Of a pair, as the driver asks for it (struct p2pnic_peer, flags). */
enum p2pnic_check { P2PNIC_CHECK_NONE = 0, P2PNIC_CHECK_STAMP = 1, P2PNIC_CHECK_CRC = 2 };
#define P2PNIC_CHECK_COUNT 3u
/* The word, and what aligns it: the longest frame of a checked ring is shorter by so much. */
#define P2PNIC_CHECK_BYTES 8u

/* Where the word begins and ends, counted from the frame's first byte; up to three bytes of no
 * meaning lie between. */
static inline uint32_t p2pnic_check_at(uint32_t length)
{
	return (length + 3) & ~3u;
}

static inline uint32_t p2pnic_check_end(uint32_t length)
{
	return p2pnic_check_at(length) + 4;
}

/* Of the frame with that index, in that life. The factor (2^32 divided by the golden ratio) keeps
 * the stamps of lives apart. */
static inline uint32_t p2pnic_stamp(uint32_t epoch, uint32_t index)
{
	return index + epoch * 0x9e3779b1u;
}

/*
 * A mailbox: all that one peer writes into this NIC. 16 KiB, page-aligned in BAR2, one for each
 * peer. The words a NIC reads and the descriptors are 128 bytes apart: processors prefetch lines in
 * pairs.
 */
#define P2PNIC_LINK_UP       0u
#define P2PNIC_LINK_DOWN     1u /* its port has no carrier */
#define P2PNIC_LINK_GIVEN_UP 2u /* it has given the pair up (struct p2pnic_counters) */

struct p2pnic_mailbox {
	uint8_t reserved0[128];
	p2pnic_ring_word
		consumer; /* (egress: the peer) ring this→peer: next index to be consumed */
	uint8_t reserved1[120];
	_Atomic uint32_t asleep; /* (egress: the peer) 1: ring its doorbell after publishing */
	/* (egress: the peer) packets for it are dropped at once: P2PNIC_LINK_* */
	_Atomic uint32_t link_down;
	uint8_t reserved2[120];
	uint8_t reserved3[4096 - 384];
	struct p2pnic_descriptor descriptor[P2PNIC_RING_SLOTS_MAX]; /* (ingress) ring peer→this */
	uint8_t reserved4[4096];
};
P2PNIC_ASSERT_SIZE(struct p2pnic_mailbox, 16384);
P2PNIC_ASSERT_OFFSET(struct p2pnic_mailbox, consumer, 128);
P2PNIC_ASSERT_OFFSET(struct p2pnic_mailbox, asleep, 256);
P2PNIC_ASSERT_OFFSET(struct p2pnic_mailbox, link_down, 260);
P2PNIC_ASSERT_OFFSET(struct p2pnic_mailbox, descriptor, 4096);

#endif
