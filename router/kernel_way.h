/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * From the kernel's hops to next hops of the NICs (next_hop.h).
 *
 *   route ──▶ hops and MTU: a way ──▶ next hop, by the way's digest
 *                 │                        │
 *                 └─ links, objects, ──────▶ adjacency or group
 *                    neighbours
 *
 * Routes with the same hops have one next hop: the gateway of a link, a list of several, a next-hop
 * object by its id; and with the same backup, the hops of the route that the kernel would take
 * next. What a next hop leads to follows from the kernel's state as it is, and is found
 * anew whenever a link, a neighbour or an object has changed; no route is touched for that.
 *
 *   a hop's link                          it leads to
 *   is no NIC, or part of a bridge,       the kernel
 *     bond or VRF, or a VLAN of 802.1ad
 *   is down                               nothing: others of the group have its share
 *   is a NIC, a VLAN of one, or a         the gateway's MAC address, with the VLAN's tag; the
 * kernel macvlan of either                   resolves it (GLEAN) while it has no such neighbour
 *
 * If no hop leads anywhere those of the backup do; without, the kernel gets the packet, and answers
 * as it sees fit.
 *
 * A way that is one resolved gateway has those of its backup that are resolved, by other NICs, in
 * reserve: NICs take them by themselves while the port of the gateway has no carrier. A group has
 * no reserve: its word says only how flows are spread. And no more than half of the numbers are
 * taken for the sake of backups.
 */
#ifndef ROUTER_KERNEL_WAY_H
#define ROUTER_KERNEL_WAY_H

#include "router/kernel_state.h"
#include "router/next_hop.h"

/* The links that are NICs. */
struct kernel_nics {
	uint32_t ifindex[P2PNIC_NICS_MAX]; /* of the NIC's tap; 0: it has none */
	uint16_t mtu[P2PNIC_NICS_MAX];     /* the NIC's: what a link says beyond is not believed */
	unsigned n;
};

/* Whose tap that is; -1: nobody's. */
int kernel_nics_find(const struct kernel_nics *, uint32_t ifindex);

/* Of a route: hops, and its MTU; 0: the link's. */
struct kernel_path {
	const struct kernel_hop *hop;
	uint16_t hops;
	uint32_t mtu;
};

struct kernel_way; /* opaque */

struct kernel_ways {
	struct kernel_state *state;
	const struct kernel_nics *nics;
	uint64_t seed[2];
	struct kernel_way
		*of[TABLE_HALF_NEXT_HOPS]; /* by next hop; may be left of an earlier one */
};

void kernel_ways_free(struct kernel_ways *);

#define KERNEL_RESERVE_MAX 7u

/* The number of a way's next hop, which leads where it should; -ENOSPC, -ENOMEM. backup: without
 * hops, none. */
int kernel_ways_take(struct kernel_ways *, struct next_hops *, const struct kernel_path *best,
	const struct kernel_path *backup);
/* Finds anew where all of them lead. */
int kernel_ways_lead(const struct kernel_ways *, struct next_hops *);

/* Each gateway by a link of its own, of the next hops that routes use; some more than once. */
typedef void kernel_gateway(void *context, const struct kernel_hop *);
void kernel_ways_gateways(
	const struct kernel_ways *, const struct next_hops *, kernel_gateway *call, void *context);

/* Whether packets can leave by a link. */
bool kernel_link_runs(const struct kernel_value *link);
/* The NIC by which a link's packets leave, -1: none. *vid: of their tag; 0: they have none. */
int kernel_ways_port(const struct kernel_ways *, uint32_t ifindex, unsigned *vid);
int kernel_ways_nic(const struct kernel_ways *, uint32_t ifindex);
bool kernel_neighbor_valid(const struct kernel_neighbor *);

#endif
