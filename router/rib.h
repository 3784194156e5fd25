/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The routing information base: every route that a source has, and of those to one prefix the best.
 *
 * A source has one route to a prefix: another one replaces it. The best route to a prefix has the
 * lowest preference; among those the lowest metric; among those the first source. A route says
 * where it leads (a gateway, several, a neighbour, a fate), not by which number: what it takes to
 * get there is found when it is compiled (resolve.h).
 *
 * The configuration is a source like any other: its files, its static routes, and what follows from
 * addresses and neighbours, each by its own name.
 */
#ifndef ROUTER_RIB_H
#define ROUTER_RIB_H

#include <stddef.h>

#include "router/address.h"

enum rib_source {
	RIB_LOCAL,     /* own addresses */
	RIB_NEIGHBOR,  /* hosts whose MAC address is known */
	RIB_STATIC,    /* `routes` of the configuration */
	RIB_CONNECTED, /* networks of own addresses */
	RIB_FILE,      /* `route_files` */
	RIB_SOURCES,
	RIB_KERNEL, /* none of the RIB's: routes that the kernel was given (kernel_routes.h) */
};

/* "local", "neighbor", … */
const char *rib_source_name(enum rib_source);

/* Preferences. What a table from elsewhere says comes last: it takes nothing from what is written
 * in the configuration. */
#define RIB_PREFERENCE_LOCAL     0u
#define RIB_PREFERENCE_NEIGHBOR  1u
#define RIB_PREFERENCE_STATIC    2u
#define RIB_PREFERENCE_CONNECTED 3u
#define RIB_PREFERENCE_FILE      200u

enum rib_hop {
	RIB_TO_GATEWAY,
	RIB_TO_GROUP,    /* several gateways, by weight */
	RIB_TO_NEIGHBOR, /* the prefix is its address */
	RIB_TO_FATE,     /* an adjacency kind and a NIC, no address */
};

struct rib_member {
	struct address gateway;
	uint16_t weight;
};

struct rib_route {
	struct fib_ipv6 prefix; /* as in struct address */
	union {
		struct fib_ipv6 gateway;
		const struct rib_member *member; /* of the source, which keeps it */
	};
	uint32_t metric;
	uint8_t length, family;
	uint8_t source; /* enum rib_source */
	uint8_t preference;
	uint8_t hop;            /* enum rib_hop */
	uint8_t gateway_family; /* RIB_TO_GATEWAY */
	uint8_t members;        /* RIB_TO_GROUP */
	uint8_t kind, nic;      /* RIB_TO_FATE: enum p2pnic_adjacency_kind, NIC… */
	uint16_t vid;           /* …and the VLAN of a connected network; 0: none */
};

struct rib; /* opaque */

struct rib *rib_new(void); /* NULL: out of memory */
void rib_free(struct rib *);

/* Adds a route, or replaces the one that its source has to that prefix. -ENOMEM: nothing
 * changed. */
int rib_set(struct rib *, const struct rib_route *);
/* Takes a source's route back; false: it has none to that prefix. */
bool rib_withdraw(struct rib *, enum rib_source, const struct prefix *);

/* NULL: no source has one. Valid until the next change. */
const struct rib_route *rib_best(const struct rib *, const struct prefix *);
/* Every prefix's best route, in the order of struct routes: *from begins as 0; NULL: no more. */
const struct rib_route *rib_next(const struct rib *, size_t *from);

/* Of all sources. */
size_t rib_routes(const struct rib *);

#endif
