/* SPDX-License-Identifier: BSD-3-Clause */
/* Stations on connected networks: address, MAC address, and the interface that they are behind. */
#ifndef ROUTER_NEIGHBOR_H
#define ROUTER_NEIGHBOR_H

#include <stddef.h>

#include "router/address.h"

struct neighbor {
	struct address address;
	struct mac_addr mac;
	unsigned interface; /* of router_interfaces */
};

struct neighbors {
	struct neighbor *at; /* the last one of an address counts */
	size_t n, room;
};

int neighbors_add(struct neighbors *, const struct neighbor *); /* -ENOMEM */
void neighbors_free(struct neighbors *);

/* NULL: there is none. */
const struct neighbor *neighbors_find(const struct neighbors *, const struct address *);

/*
 * A link-local address (RFC 4291, 2.5.6) means another station on each link, so one that several
 * interfaces have as a neighbour is no gateway: another entry than `one`, behind another interface,
 * or NULL.
 */
const struct neighbor *neighbors_elsewhere(const struct neighbors *, const struct neighbor *one);

#endif
