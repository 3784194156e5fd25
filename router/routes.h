/* SPDX-License-Identifier: BSD-3-Clause */
/* Lists of routes as NICs have them: one for each prefix, each with the number of its next hop. */
#ifndef ROUTER_ROUTES_H
#define ROUTER_ROUTES_H

#include <stddef.h>

#include "router/address.h"

struct route {
	struct fib_ipv6 prefix; /* as in struct address */
	uint8_t length;
	uint8_t family;
	uint16_t next_hop; /* of struct next_hops; in a change, 0 deletes */
	uint8_t source;    /* enum rib_source */
};

struct routes {
	struct route *route; /* ascending by family, prefix, length */
	size_t n, room;
};

/* By family, prefix, length. */
int route_order(const struct route *, const struct route *);

/* Adds one behind the others, where its prefix comes too. -ENOMEM. */
int routes_add(struct routes *, const struct route *);

/* The changes that lead from one to the other; -ENOMEM. */
int routes_difference(struct routes *changes, const struct routes *from, const struct routes *to);
/* The route to the same prefix, or NULL. */
const struct route *routes_find(const struct routes *, const struct route *like);
/* The place of the first route that is `like` or behind it. */
size_t routes_from(const struct routes *, const struct route *like);
/* The place of the first route behind `like`, which may be there or not. */
size_t routes_behind(const struct routes *, const struct route *like);
/* The route that a packet to the address takes, or NULL. */
const struct route *routes_longest(const struct routes *, const struct address *);
/* Room for so many more; -ENOMEM. */
int routes_reserve(struct routes *, size_t more);
/* Carries out changes (ascending, one for each prefix), for which there is room. Only what lies
 * behind an added or deleted route moves. */
void routes_apply(struct routes *, const struct route *change, size_t changes);
void routes_free(struct routes *);

#endif
