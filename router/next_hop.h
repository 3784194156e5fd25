/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Next hops by number, and where they lead: the tables of p2pnic/adjacency.h as the host keeps
 * them.
 *
 *   route ──▶ next hop: one word ──▶ adjacency
 *                              └───▶ buckets ──▶ adjacencies      a group (fib/group.h), or one
 *                                                                 and its reserve, in order
 *
 * A next hop is known by its key: a gateway's address, the prefix of a group, a fate without an
 * address (local, blackhole), or the kernel's hops. It keeps its number for as long as a route uses
 * it. So when a gateway's neighbour gets another MAC, or a group another member, one store of the
 * word moves every route that leads there.
 *
 * Changing them while NICs read is done on a copy:
 *
 *     new = next_hops_copy(old);
 *     next_hops_gateway(new, …), next_hops_group(new, …)    take what is needed
 *     next_hops_sweep(new)                                  lets go of what no route leads to now
 *     next_hops_write(new, old, …)                          into every NIC
 *     …every NIC passes an epoch; then old is freed…
 *
 * Taking gives out only adjacencies, buckets and numbers that the original does not use, so nothing
 * that a packet could still be led to is written over; only words change, each by one store. What
 * was let go of stays in the NICs as it is until another copy, after the epoch, gives it out.
 *
 * Numbers are those of half 0 of a NIC's tables (router/table.h). Next hop 0 and adjacency 0 are
 * "no route".
 */
#ifndef ROUTER_NEXT_HOP_H
#define ROUTER_NEXT_HOP_H

#include <p2pnic/registers.h>

#include "fib/group.h"
#include "router/address.h"

/* Where the parts of one half lie. */
#define TABLE_HALF_ADJACENCIES (P2PNIC_ADJACENCIES_MAX / 2)
#define TABLE_HALF_NEXT_HOPS   (P2PNIC_NEXT_HOPS_MAX / 2)
#define TABLE_HALF_BUCKETS     (P2PNIC_BUCKETS_MAX / 2)

enum next_hop_type {
	NEXT_HOP_FREE = 0,
	NEXT_HOP_FATE = 1,    /* of an adjacency kind and a NIC, no address */
	NEXT_HOP_GATEWAY = 2, /* prefix: the gateway's address, whole */
	NEXT_HOP_GROUP = 3,   /* prefix: the route's */
	NEXT_HOP_KERNEL =
		4, /* prefix.address: of the kernel's hops, by their digest (kernel_way.h) */
};

struct next_hop_key {
	struct prefix prefix;
	uint8_t type;      /* enum next_hop_type */
	uint8_t kind, nic; /* NEXT_HOP_FATE: enum p2pnic_adjacency_kind, NIC, VLAN */
	uint16_t vid;
};

/* By number; a table and its copy differ only in what was taken since. */
struct next_hops {
	uint32_t word[TABLE_HALF_NEXT_HOPS]; /* P2PNIC_NEXT_HOP() */
	struct next_hop_key key[TABLE_HALF_NEXT_HOPS];
	uint32_t users[TABLE_HALF_NEXT_HOPS]; /* routes; table.c counts them */
	bool settled[TABLE_HALF_NEXT_HOPS];   /* since the copy was made */
	unsigned taken;                       /* numbers */
	uint16_t chain[TABLE_HALF_NEXT_HOPS]; /* of next hops whose keys hash alike; 0 ends it */
	uint16_t head[1024];

	struct p2pnic_adjacency adjacency[TABLE_HALF_ADJACENCIES];
	bool adjacency_used[TABLE_HALF_ADJACENCIES];
	p2pnic_bucket bucket[TABLE_HALF_BUCKETS];
	bool bucket_used[TABLE_HALF_BUCKETS];
};

/* Do packets leave by it, with a tag or without? */
static inline bool adjacency_forwards(const struct p2pnic_adjacency *a)
{
	return a->kind == P2PNIC_ADJACENCY_FORWARD || a->kind == P2PNIC_ADJACENCY_FORWARD_TAGGED;
}

/* NULL: out of memory. */
struct next_hops *next_hops_new(void);
struct next_hops *next_hops_copy(const struct next_hops *);

/*
 * The number of a next hop, which leads to that adjacency (for a group: to those members) from now
 * on; -ENOSPC: numbers, adjacencies or buckets are used up. settled: a gateway was asked for since
 * the copy was made, and need not be resolved again; 0: it was not.
 */
int next_hops_settled(const struct next_hops *, const struct address *gateway);
int next_hops_gateway(
	struct next_hops *, const struct address *gateway, const struct p2pnic_adjacency *);
int next_hops_fate(struct next_hops *, enum p2pnic_adjacency_kind kind, unsigned nic, unsigned vid);

/* The number of a key, which leads nowhere yet if it is new; then one of next_hops_lead_to,
 * next_hops_share and next_hops_order, which return the number too. spare: it has a number, or may
 * get one without taking the second half of them all. */
int next_hops_take(struct next_hops *, const struct next_hop_key *);
bool next_hops_spare(const struct next_hops *, const struct next_hop_key *);
int next_hops_lead_to(struct next_hops *, unsigned number, const struct p2pnic_adjacency *);

/*
 * member[].adjacency are numbers of next_hops_adjacency. A group that was there keeps its flows
 * where they are, as far as the members allow, and never gets fewer buckets while it has several
 * members: a packet's bucket is the low bits of its hash, so twice the buckets hold each member
 * twice at the same flows, but half of them would not. -EINVAL: no member has weight.
 */
int next_hops_adjacency(struct next_hops *, const struct p2pnic_adjacency *);
int next_hops_share(
	struct next_hops *, unsigned number, const struct group_member *member, unsigned members);
/* All flows take the first adjacency (numbers of next_hops_adjacency), the others are its reserve
 * (P2PNIC_NEXT_HOP_ORDERED), in that order; 2 to 2^GROUP_LOG2_MAX of them. */
int next_hops_order(
	struct next_hops *, unsigned number, const uint16_t *adjacency, unsigned adjacencies);
int next_hops_group(struct next_hops *, const struct prefix *, const struct group_member *member,
	unsigned members);

/*
 * Writes what `now` has and `before` (NULL: nothing) has not into one half of a NIC's BAR2,
 * adjacencies and buckets before the words that lead to them. How many bytes; *moved: words of next
 * hops in use that lead elsewhere.
 */
uint64_t next_hops_write(const struct next_hops *now, const struct next_hops *before, uint8_t *bar2,
	unsigned half, unsigned *moved);

/* Whether a half of a NIC's BAR2 leads a next hop where it should: word, buckets, adjacencies. */
bool next_hops_has(const struct next_hops *, unsigned next_hop, const uint8_t *bar2, unsigned half);

/* Lets go of what no route leads to, as `users` has it. Nothing more is taken from this copy
 * then. */
void next_hops_sweep(struct next_hops *);

/* Where it leads: the adjacency of its (first) bucket, and how many different ones flows are spread
 * over. reserve: the one that takes the place of the first; NULL: none does. */
const struct p2pnic_adjacency *next_hops_lead(
	const struct next_hops *, unsigned next_hop, unsigned *members);
const struct p2pnic_adjacency *next_hops_reserve(const struct next_hops *, unsigned next_hop);
/* Whether one of the adjacencies that its flows are spread over is so. */
typedef bool next_hop_is(void *context, const struct p2pnic_adjacency *);
bool next_hops_any(const struct next_hops *, unsigned next_hop, next_hop_is *is, void *context);

#endif
