/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Several NICs of firmware in one process, on test boards, for one transfer method (P2PNIC_METHOD);
 * and a host: what a driver does to bring NICs up, the host's end of punt and inject rings, and,
 * for Bn, the CPU in the middle.
 *
 *     struct rig *r = rig_new(nics, &(struct rig_config){…});   connected, routed, started
 *     rig_receive(r, nic, &packet); rig_run(r); … = rig_sent(r, nic);
 *     rig_check(r); rig_free(r);
 *
 * Routes of every NIC: 10.e.0.0/16 and fd00:db8:e::/48 lead to egress e (RIG_HOP_EGRESS + e),
 * 11.hop.0.0/16 to the others, fd00:db8:7::/48 to RIG_HOP_TAGGED. Its
 * adjacency's source MAC names egress and ingress, so a frame on the wire tells its way.
 *
 * rig_check is called after every case: the accounting identity of counters.h, and that each of the
 * NIC's own buffers has exactly one owner.
 */
#ifndef TESTS_FIRMWARE_RIG_H
#define TESTS_FIRMWARE_RIG_H

#ifndef P2PNIC_BOARD_HEADER
#define P2PNIC_BOARD_HEADER "tests/unit/firmware_board.h"
#endif

#include "fib/fib_image.h"
#include "firmware/nic.h"

#ifndef P2PNIC_METHOD
#define P2PNIC_METHOD P2PNIC_METHOD_WRITE
#endif
#define RIG_INGRESS_WRITES (P2PNIC_METHOD != P2PNIC_METHOD_READ)
#define RIG_EGRESS_READS   (P2PNIC_METHOD != P2PNIC_METHOD_WRITE)

#define RIG_NICS_MAX   5u
#define RIG_BAR2_BYTES (4u << 20)
#define RIG_FIB_ROOM   (1u << 20)
#define RIG_FIB4       P2PNIC_BAR2_FIB
#define RIG_FIB6       (P2PNIC_BAR2_FIB + RIG_FIB_ROOM)

/* Next hops, and the adjacencies of the same number. */
#define RIG_HOP_EGRESS      1u /* + egress */
#define RIG_HOP_LOCAL       16u
#define RIG_HOP_GLEAN       17u
#define RIG_HOP_BLACKHOLE   18u
#define RIG_HOP_UNREACHABLE 19u
#define RIG_HOP_PROHIBIT    20u
#define RIG_HOP_NONE        21u
#define RIG_HOP_NO_SUCH_NIC 22u
#define RIG_HOP_SMALL_MTU   23u /* by egress 0, MTU 576 */
#define RIG_HOP_BROADCAST   24u
#define RIG_HOP_TAGGED      25u /* by egress 0, in VLAN RIG_VLAN with priority 3 */

/* VLANs of every NIC: one that is an interface, one that is dropped; all others are the host's. */
#define RIG_VLAN         7u
#define RIG_VLAN_UNKNOWN 9u
#define RIG_CONTROL      (3u << 13 | RIG_VLAN)

struct rig_config {
	uint32_t slots;        /* 0: 32 */
	uint32_t batch;        /* 0: 8 */
	uint32_t rx_buffers;   /* 0: 256 */
	uint32_t buffer_bytes; /* 0: 2048 */
	bool host;             /* open the host's rings */
	bool messages;         /* windows without pointers */
	bool reaches;          /* boards send from windows */
	uint32_t lend_from;    /* of method Wr: Hy, from so many bytes on */
	unsigned check;        /* enum p2pnic_check of pairs of NICs */
};

/* The host's end of two of the rings between it and a NIC. */
struct rig_host {
	struct p2pnic_mailbox *mailbox; /* written by the NIC */
	uint8_t *out_buffers;           /* Wr, Bn: the NIC writes punted frames there */
	uint8_t *in_buffers;            /* Rd, Bn: the NIC reads injected frames from there */
	uint32_t consumed, produced;
};

struct rig_nic {
	struct nic *nic;
	struct board board;
	struct p2pnic_counters *counters;
	uint8_t *bar2, *bar4;
	uint32_t bar4_bytes;
	struct rig_host host[P2PNIC_HOST_RINGS];
	uint32_t epoch[P2PNIC_MAILBOXES];
};

struct rig {
	struct rig_config config;
	unsigned nics;
	struct rig_nic at[RIG_NICS_MAX];

	/* Bn, for the pair (ingress, egress): what the ingress NIC writes to is the host's. */
	struct p2pnic_mailbox *relay[RIG_NICS_MAX][RIG_NICS_MAX];
	uint8_t *bounce[RIG_NICS_MAX][RIG_NICS_MAX];
};

struct rig *rig_new(unsigned nics, const struct rig_config *);
void rig_free(struct rig *);
void rig_check(struct rig *);
void rig_check_nic(struct rig *, unsigned nic);

/* Single steps of bring-up; results are enum p2pnic_result. */
unsigned rig_command(struct rig *, unsigned nic, unsigned operation, unsigned argument);
struct p2pnic_peer rig_entry(const struct rig *, unsigned nic, unsigned peer, uint32_t epoch);
/* Writes the entry and opens; peer: a NIC or P2PNIC_HOST_PEER(). */
unsigned rig_open_side(struct rig *, unsigned nic, unsigned peer, uint32_t epoch);
/* Opens both sides with the next epoch. */
void rig_open(struct rig *, unsigned a, unsigned b);
void rig_close(struct rig *, unsigned a, unsigned b);
/* The ring from `a` to `b`, before its first frame: 16 more, and its 32-bit indices are at 0. */
void rig_near_wrap(struct rig *, unsigned a, unsigned b);
void rig_map(struct rig *, unsigned nic, unsigned peer);
/* Takes windows of `nic` onto `peer` away, and tells the firmware. */
void rig_unmap(struct rig *, unsigned nic, unsigned peer);
/* Reset and everything rig_new does for one NIC. */
void rig_bring_up(struct rig *, unsigned nic);

void rig_routes4(struct rig *, unsigned nic, const struct fib_route *routes, size_t n);
void rig_routes6(struct rig *, unsigned nic, const struct fib_route *routes, size_t n);
void rig_adjacency(
	struct rig *, unsigned nic, unsigned index, unsigned kind, unsigned egress, unsigned mtu);
/* Own and broadcast addresses, in host order; an enum p2pnic_result. */
unsigned rig_sources(struct rig *, unsigned nic, const uint32_t *address, uint32_t n);
void rig_next_hop(struct rig *, unsigned nic, unsigned hop, uint32_t word);
void rig_vlan(struct rig *, unsigned nic, unsigned vid, enum p2pnic_vlan_state);
/* An adjacency that is there becomes one of that tag, or a GLEAN of that VLAN. */
void rig_tag(struct rig *, unsigned nic, unsigned index, unsigned control);

/* The wire. rig_sent: the caller frees it; NULL: none. */
void rig_receive(struct rig *, unsigned nic, const struct packet *);
struct packet *rig_sent(struct rig *, unsigned nic);

/* One poll of every NIC, and the CPU in the middle; what it moved. rig_run: until nothing moves. */
unsigned rig_poll(struct rig *);
void rig_run(struct rig *);
void rig_relay(struct rig *);

/* The host's rings. rig_punted: the next packet, by priority, and why; false: none. rig_inject,
 * into the ring for exceptions: false: full. */
bool rig_punted(struct rig *, unsigned nic, struct packet *, uint16_t *reason);
bool rig_punted_by(
	struct rig *, unsigned nic, enum p2pnic_host_ring, struct packet *, uint16_t *flags);
bool rig_inject_by(struct rig *, unsigned nic, enum p2pnic_host_ring, const struct packet *);
bool rig_inject(struct rig *, unsigned nic, const struct packet *);

uint64_t rig_drops(const struct rig *, unsigned nic, enum p2pnic_drop reason);
uint64_t rig_all_drops(const struct rig *, unsigned nic);

static inline uint64_t rig_count(const _Atomic uint64_t *counter)
{
	return atomic_load_explicit(counter, memory_order_relaxed);
}

#endif
