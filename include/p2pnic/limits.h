/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Limits of the contract. A NIC may support less (it says so in its registers), never more.
 */
#ifndef P2PNIC_LIMITS_H
#define P2PNIC_LIMITS_H

#define P2PNIC_NICS_MAX        64u   /* NICs that can be each other's peers, this one included */
#define P2PNIC_RING_SLOTS_MAX  1024u /* descriptors in one ring; a power of two */
#define P2PNIC_RING_SLOTS_MIN  8u    /* one cache line of descriptors */
#define P2PNIC_BATCH_DEFAULT   8u    /* descriptors held back before an update; the paper's value */
#define P2PNIC_BURST_MAX       64u   /* packets that one pass of the firmware takes */
#define P2PNIC_FRAME_BYTES_MIN 14u   /* an Ethernet header; frames are counted without FCS */
#define P2PNIC_MTU_MIN         68u   /* RFC 791 */
#define P2PNIC_ADJACENCIES_MAX 4096u /* entries of the adjacency table */
#define P2PNIC_NEXT_HOPS_MAX   4096u /* entries of the next-hop table; entry 0 means "no route" */
#define P2PNIC_BUCKETS_MAX     32768u /* ECMP buckets, all groups together */
/* IPv4 addresses that are no source of a packet to be forwarded */
#define P2PNIC_SOURCES_MAX     1024u
#define P2PNIC_STATIONS_MAX    15u   /* MAC addresses besides the NIC's own */
#define P2PNIC_VLANS_MAX       4096u /* entries of the VLAN table: VIDs have 12 bits */
#define P2PNIC_TAG_BYTES       4u    /* an IEEE 802.1Q tag */

/*
 * A packet buffer has one of these sizes, fixed when a NIC is made and the same in all NICs that
 * are each other's peers. Jumbo frames (MTU 9000, or frames of 9,216 bytes) fit into the largest.
 */
#define P2PNIC_BUFFER_BYTES_MIN 2048u
#define P2PNIC_BUFFER_BYTES_MAX 16384u
#define P2PNIC_BUFFER_SIZES     P2PNIC_BUFFER_BYTES_MIN, 4096u, P2PNIC_BUFFER_BYTES_MAX /* all */

/* Bytes in front of a frame that belong to the port which receives it. */
#define P2PNIC_HEADROOM 256u

/* The longest frame that a buffer holds, and the largest MTU. */
#define P2PNIC_FRAME_BYTES_MAX(buffer) ((buffer)-P2PNIC_HEADROOM)
#define P2PNIC_MTU_MAX(buffer)         (P2PNIC_FRAME_BYTES_MAX(buffer) - P2PNIC_FRAME_BYTES_MIN)
/* Of a VLAN. */
#define P2PNIC_VLAN_MTU_MAX(buffer)    (P2PNIC_MTU_MAX(buffer) - P2PNIC_TAG_BYTES)

static inline _Bool p2pnic_buffer_bytes_valid(unsigned bytes)
{
	static const unsigned size[] = {P2PNIC_BUFFER_SIZES};

	return bytes == size[0] || bytes == size[1] || bytes == size[2];
}

#endif
