/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Neighbours live as long as they carry traffic.
 *
 * The kernel does not see what NICs forward, so to it every neighbour is idle: it goes stale, and
 * is thrown away when there are many. NICs note which adjacencies they used (adjacency.h). Twice
 * in the kernel's reachable time those bytes are read and cleared, and for each neighbour that was
 * used and is stale the kernel is told that it is in use (NTF_USE): it asks the neighbour whether
 * it is there (RFC 4861 §7.3.3), and what comes of it is a change like any other.
 *
 * Gateways are asked for as soon as a route leads to them, so that no packet has to wait for that.
 * Linux 5.16 and later then keeps them itself (NTF_EXT_MANAGED): it asks again every 5 s
 * (interval_probe_time_ms), those that do not answer too, also while no router runs. By an earlier
 * one they are asked again with the others while they do not answer.
 *
 * An entry that is managed for this router has its mark as the one who made it (NDA_PROTOCOL), so
 * that the next router knows it. It is let go when no route leads to it any more. Permanent
 * entries, and those that others manage or have learned (NTF_EXT_LEARNED), are left as they are.
 */
#ifndef ROUTER_KERNEL_PROD_H
#define ROUTER_KERNEL_PROD_H

#include "router/kernel_way.h"
#include "router/netns.h"
#include "router/table.h"

/* Half of base_reachable_time as kernels have it (RFC 4861 §10: 30 s). */
#define KERNEL_PROD_MS   15000u
/* At most so many at once; the others have their turn when they are asked for the next time. */
#define KERNEL_PROD_MOST 256u

/* Who made an entry, of the numbers that rtnetlink.h leaves to programs. */
#define KERNEL_PROD_PROTOCOL 112u

struct kernel_prod {
	int socket;   /* -1: none */
	bool manages; /* the kernel does, if it is told to */
	uint64_t prodded;
	uint64_t failed; /* the kernel took no message */
};

/* -errno with a sentence. */
int kernel_prod_open(struct kernel_prod *, const struct netns *, struct error *);
void kernel_prod_close(struct kernel_prod *);

/* Reads and clears what NICs have used since the last time, and says so to the kernel. */
void kernel_prod(struct kernel_prod *, const struct kernel_ways *, const struct table *,
	const struct table_nics *);

/* Has the kernel ask for gateways of which it knows nothing, and manage those that it has. again:
 * it also asks for those that it failed to resolve, and lets go of what is no gateway any more. */
void kernel_prod_gateways(
	struct kernel_prod *, const struct kernel_ways *, const struct table *, bool again);

/* Whether the kernel manages the entry for this router, or one before it. */
bool kernel_prod_manages(const struct kernel_neighbor *);

#endif
