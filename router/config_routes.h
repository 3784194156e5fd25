/* SPDX-License-Identifier: BSD-3-Clause */
/* The configuration as a source of routes: files, static routes, own addresses with their
 * networks, neighbours. */
#ifndef ROUTER_CONFIG_ROUTES_H
#define ROUTER_CONFIG_ROUTES_H

#include "ipc/error.h"
#include "router/config.h"
#include "router/next_hop.h"
#include "router/routes.h"

/*
 * The routes that a configuration amounts to. Reads its route files. mac[k] is the address of NIC
 * k. Takes next hops from `hops`; a group that is there keeps its flows where they are. 0 or -errno
 * with a sentence in error: -EINVAL, a gateway on no connected network, or a mistake in a route
 * file; -ENOSPC, too many next hops for those in use to stay as they are.
 */
int config_routes(struct routes *, struct next_hops *hops, const struct config *,
	const struct mac_addr *mac, struct error *error);

#endif
