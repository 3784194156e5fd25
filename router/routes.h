/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The routes that a configuration amounts to: those of files, connected networks, static routes,
 * neighbours and own addresses, one for each prefix, each with the number of its next hop.
 */
#ifndef ROUTER_ROUTES_H
#define ROUTER_ROUTES_H

#include "ipc/error.h"
#include "router/config.h"
#include "router/next_hop.h"

struct route {
	struct fib_ipv6 prefix; /* as in struct address */
	uint8_t length;
	uint8_t family;
	uint16_t next_hop;  /* of struct next_hops; in a change, 0 deletes */
	uint32_t serial;    /* of two routes to one prefix the later one counts */
	const char *source; /* "connected", "file", "local", "neighbor", "static" */
};

struct routes {
	struct route *route; /* ascending by family, prefix, length */
	size_t n, room;
};

/* By family, prefix, length. */
int route_order(const struct route *, const struct route *);

/*
 * Reads the configuration's route files. mac[k] is the address of NIC k. Takes next hops from
 * `hops`; a group that is there keeps its flows where they are. 0 or -errno with a sentence in
 * error: -EINVAL, a gateway on no connected network, or a mistake in a route
 * file; -ENOSPC, too many next hops for those in use to stay as they are.
 */
int routes_of_config(struct routes *, struct next_hops *hops, const struct config *,
	const struct mac_addr *mac, struct error *error);

/* The changes that lead from one to the other; -ENOMEM. */
int routes_difference(struct routes *changes, const struct routes *from, const struct routes *to);
/* The route to the same prefix, or NULL. */
const struct route *routes_find(const struct routes *, const struct route *like);
/* The route that a packet to the address takes, or NULL. */
const struct route *routes_longest(const struct routes *, const struct address *);
/* Room for so many more; -ENOMEM. */
int routes_reserve(struct routes *, size_t more);
/* Carries out changes (ascending, one for each prefix), for which there is room. Only what lies
 * behind an added or deleted route moves. */
void routes_apply(struct routes *, const struct route *change, size_t changes);
void routes_free(struct routes *);

#endif
