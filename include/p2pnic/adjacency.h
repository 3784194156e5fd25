/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * From a lookup's result to a frame on the wire: next hops, ECMP buckets, adjacencies.
 *
 *   address ──FIB──▶ next hop ──next_hop[]──▶ adjacency ──adjacency[]──▶ egress, MACs, MTU
 *                                  └─ECMP──▶ bucket[base + hash mod n] ──┘
 *
 * The FIB maps a prefix to a next-hop index. Index 0 is "no route" for good: its entry stays 0, and
 * adjacency 0, where that leads, stays zero (P2PNIC_ADJACENCY_NONE). So no route is no special
 * case. A next hop is one 32-bit word, so the host moves every route of a next hop to another
 * adjacency, or to another ECMP group, with one store: a packet sees the old one or the new one.
 *
 * An adjacency that firmware could be reading is never changed, nor is a bucket range: the host
 * writes a new one, flips the next-hop word, and uses the old place again after an epoch has passed
 * (registers.h, P2PNIC_REG_EPOCH).
 */
#ifndef P2PNIC_ADJACENCY_H
#define P2PNIC_ADJACENCY_H

#include "limits.h"
#include "types.h"

/*
 * A next-hop word (host):
 *   bits  0–15  first: index of an adjacency, or of the first bucket of a group
 *   bits 16–19  log2 of the number of buckets; 0: `first` is an adjacency
 *   bit  20     the group is in order: the first bucket for all flows, the next ones in reserve
 *   bits 21–31  zero
 * A packet's bucket is the low bits of its flow hash: 2^n buckets, no division.
 *
 * A bucket that leads to a port without a carrier, or to a NIC that is gone, is passed over by the
 * NIC itself: another bucket of the group takes its flows, at once and until the host has changed
 * the group. Other flows stay where they are.
 */
typedef _Atomic uint32_t p2pnic_next_hop;

#define P2PNIC_NEXT_HOP(first, log2_buckets) ((uint32_t)(first) | (uint32_t)(log2_buckets) << 16)
#define P2PNIC_NEXT_HOP_ORDERED              (1u << 20)
#define P2PNIC_NEXT_HOP_FIRST(word)          ((word)&0xffffu)
#define P2PNIC_NEXT_HOP_LOG2(word)           (((word) >> 16) & 0xfu)

typedef uint16_t p2pnic_bucket; /* (host) an adjacency index */

/* What becomes of a packet that resolves to an adjacency. */
enum p2pnic_adjacency_kind {
	P2PNIC_ADJACENCY_NONE = 0,           /* unset: as no route (network unreachable) */
	P2PNIC_ADJACENCY_FORWARD = 1,        /* rewrite and send by `egress` */
	P2PNIC_ADJACENCY_LOCAL = 2,          /* an address of this router: punt */
	P2PNIC_ADJACENCY_GLEAN = 3,          /* connected, neighbour unknown: punt to resolve it */
	P2PNIC_ADJACENCY_BLACKHOLE = 4,      /* drop silently */
	P2PNIC_ADJACENCY_UNREACHABLE = 5,    /* drop, ICMP 3/1 */
	P2PNIC_ADJACENCY_PROHIBIT = 6,       /* drop, ICMP 3/13 */
	P2PNIC_ADJACENCY_BROADCAST = 7,      /* to a network's broadcast address: drop silently */
	P2PNIC_ADJACENCY_KERNEL = 8,         /* leaves by an interface that is no NIC: punt */
	P2PNIC_ADJACENCY_FORWARD_TAGGED = 9, /* as FORWARD, and with the tag in `encapsulation` */
};

/*
 * The first 12 bytes are those of a rewritten frame, in transmission order: a rewrite takes them as
 * they are.
 */
struct p2pnic_adjacency {
	struct mac_addr destination; /* (host) */
	struct mac_addr source;      /* (host) */
	uint16_t mtu;                /* (host) of the egress link, bytes of IP packet */
	uint8_t kind;                /* (host) enum p2pnic_adjacency_kind */
	uint8_t egress;              /* (host) index of the egress NIC */
	/* (host) FORWARD_TAGGED: tag control information, PCP << 13 | DEI << 12 | VID. GLEAN: VID
	 * of the network's VLAN, 0: untagged. Others: 0. */
	uint16_t encapsulation;
	uint8_t reserved[14];
};
P2PNIC_ASSERT_SIZE(struct p2pnic_adjacency, 32);
P2PNIC_ASSERT_OFFSET(struct p2pnic_adjacency, mtu, 12);
P2PNIC_ASSERT_OFFSET(struct p2pnic_adjacency, egress, 15);
P2PNIC_ASSERT_OFFSET(struct p2pnic_adjacency, encapsulation, 16);

/*
 * Has a packet left by an adjacency lately? A byte for each, by index, in BAR2 (P2PNIC_BAR2_USED).
 * The NIC writes 1 where it finds 0 and a packet is forwarded; the host writes 0 and looks again
 * later. So neighbours in use can be told from idle ones, and a byte in use costs the NIC a read.
 */
typedef _Atomic uint8_t p2pnic_used;

#endif
