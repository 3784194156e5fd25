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
#define P2PNIC_BUFFER_BYTES    2048u /* one packet buffer */
#define P2PNIC_FRAME_BYTES_MIN 14u   /* an Ethernet header; frames are counted without FCS */
#define P2PNIC_FRAME_BYTES_MAX 1792u /* a buffer less 256 bytes of headroom that a port may use */
#define P2PNIC_MTU_MIN         68u   /* RFC 791 */
#define P2PNIC_MTU_MAX         1778u /* P2PNIC_FRAME_BYTES_MAX less the Ethernet header */
#define P2PNIC_ADJACENCIES_MAX 4096u /* entries of the adjacency table */
#define P2PNIC_NEXT_HOPS_MAX   4096u /* entries of the next-hop table; entry 0 means "no route" */
#define P2PNIC_BUCKETS_MAX     32768u /* ECMP buckets, all groups together */
/* IPv4 addresses that are no source of a packet to be forwarded */
#define P2PNIC_SOURCES_MAX     1024u

#endif
