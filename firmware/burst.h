/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A burst on its way through the ingress: arrays, one for each thing that the next stage reads
 * (ingress.c).
 *
 * Each frame ends with an egress, or with a verdict that says why it has none. Stages set them;
 * only dispatch acts on them.
 */
#ifndef P2PNIC_FIRMWARE_BURST_H
#define P2PNIC_FIRMWARE_BURST_H

#include "board.h"
#include "fib_lookup.h"
#include "verdict.h"

#define BURST_GROUP   16u   /* frames that vector kernels handle together */
#define BURST_NOWHERE 0xffu /* no egress */

/* A packet from or to a special address (p2pnic/special.h) is not forwarded, but may be for this
 * router. So it is looked up as well; if it is for this router, `local` replaces its verdict. */
struct burst_special {
	struct fib_ipv6 address6;
	uint32_t address4;
	uint16_t hop;
	bool ipv6;
	uint8_t frame;
	verdict local;
};

struct burst {
	struct frame frame[P2PNIC_BURST_MAX] __attribute__((aligned(64)));
	struct frame_head head[P2PNIC_BURST_MAX]; /* as received; with an egress, as sent */
	uint32_t length[P2PNIC_BURST_MAX];        /* of checked packets, with Ethernet header */
	/* Where layer 4 begins: behind the IPv4 header and its options, or the fixed IPv6 header.
	 * 0: no such header. Layer 3 begins behind the Ethernet header. */
	uint8_t layer4[P2PNIC_BURST_MAX];
	unsigned frames;
	uint64_t bytes;   /* of all frames */
	uint32_t lengths; /* of all frames, or-ed: below a power of two when all are */

	/* IPv4 and IPv6 packets to look up: their frame, destination and next hop. A group is
	 * stored whole, wherever it begins. */
	uint32_t address4[P2PNIC_BURST_MAX + BURST_GROUP] __attribute__((aligned(64)));
	struct fib_ipv6 address6[P2PNIC_BURST_MAX];
	uint16_t hop4[P2PNIC_BURST_MAX], hop6[P2PNIC_BURST_MAX];
	uint8_t index4[P2PNIC_BURST_MAX + BURST_GROUP], index6[P2PNIC_BURST_MAX];
	unsigned n4, n6;
	struct burst_special special[P2PNIC_BURST_MAX];
	unsigned specials;

	uint8_t egress[P2PNIC_BURST_MAX] __attribute__((aligned(64))); /* or BURST_NOWHERE */
	verdict verdict[P2PNIC_BURST_MAX]; /* of frames without an egress */

	/* Tags, a bit for each frame. A frame whose tag was popped begins P2PNIC_TAG_BYTES behind
	 * where it was received, one whose tag was pushed so much before; of both, the MAC
	 * addresses are right in the head only. */
	uint64_t popped, pushed;
	uint64_t others; /* packets that do not simply leave by the adjacency in by[] */
	uint16_t vid[P2PNIC_BURST_MAX]; /* popped: 0 was a priority tag */
	uint16_t by[P2PNIC_BURST_MAX];
};

/* How far behind its place in the port's memory a frame begins; less than 0: before it. */
static inline int32_t burst_moved(const struct burst *b, unsigned k)
{
	return (int32_t)P2PNIC_TAG_BYTES *
	       ((int32_t)(b->popped >> k & 1) - (int32_t)(b->pushed >> k & 1));
}

/* The VLAN that a frame came by; 0: none. */
static inline uint32_t burst_vid(const struct burst *b, unsigned k)
{
	return b->popped >> k & 1 ? b->vid[k] : 0;
}

/* The frames of a burst that leave by one egress, in order of arrival. Up to fifteen words behind
 * the last are written, and read, with them. */
struct selection {
	uint32_t length[P2PNIC_BURST_MAX + BURST_GROUP];
	uint8_t frame[P2PNIC_BURST_MAX + BURST_GROUP];
	unsigned count;
};

#endif
