/* SPDX-License-Identifier: BSD-3-Clause */
/* Neighbours as they are told: the kernel's where it is followed, otherwise the configuration's. */
#ifndef ROUTER_SHOW_NEIGHBOR_H
#define ROUTER_SHOW_NEIGHBOR_H

#include <jansson.h>

#include "router/address.h"

struct router;

struct neighbor_row {
	struct address address;
	uint32_t nic;
	uint16_t vid;   /* 0: the NIC itself */
	uint16_t state; /* NUD_… */
	struct mac_addr mac;
	bool has_mac;
};

struct neighbor_rows {
	struct neighbor_row *row; /* ascending by neighbor_order */
	size_t n;
};

/* By address, NIC, VLAN: two rows that are equal so are one neighbour. */
int neighbor_order(const struct neighbor_row *, const struct neighbor_row *);

/* All of them, for free(); -ENOMEM. */
int neighbor_rows(const struct router *, struct neighbor_rows *);
/* The place of the first that is not before it. */
size_t neighbor_rows_from(const struct neighbor_rows *, const struct neighbor_row *);
json_t *neighbor_json(const struct router *, const struct neighbor_row *);

#endif
