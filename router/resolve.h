/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where routes lead: from what a route says (rib.h) through neighbours and connected networks to
 * the number of a next hop (next_hop.h).
 */
#ifndef ROUTER_RESOLVE_H
#define ROUTER_RESOLVE_H

#include "ipc/error.h"
#include "router/interface.h"
#include "router/neighbor.h"
#include "router/next_hop.h"
#include "router/rib.h"
#include "router/routes.h"

struct resolver {
	struct next_hops *hops; /* numbers are taken from it */
	const struct router_interfaces *interfaces;
	const struct neighbors *neighbors;
	struct error *error;
};

/*
 * The number of a gateway's next hop; `of`: the route, for messages. -EINVAL with a sentence: it is
 * this router itself, or on no connected network and no neighbour; -ENOSPC: too many next hops.
 */
int resolve_gateway(const struct resolver *, const struct address *gateway, const char *of);

/* The best route to every prefix, with its next hop, in the order of struct routes. Left out: what
 * leads to a NIC without a MAC address, which is not there yet. Groups come last: what they get
 * depends on what they had, and on what is left. */
int resolve_routes(const struct resolver *, const struct rib *, struct routes *);

#endif
