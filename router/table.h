/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the NICs forward by: adjacencies, next hops and FIB images, made from addresses, neighbours and
 * routes, and loaded into NICs that forward meanwhile.
 *
 * A NIC's table memory holds two tables, half 0 and half 1 (of the adjacencies, next hops, buckets and the
 * FIB area). A new table is written into the half that is not in force and then switched to, between two
 * bursts of the NIC: a packet meets the old table or the new one. Which half is in force stands in the
 * NIC's own FIB4_OFFSET register, so a driver that was restarted need not know.
 */
#ifndef ROUTER_TABLE_H
#define ROUTER_TABLE_H

#include "driver/driver_nic.h"
#include "router/config.h"

#define TABLE_ERROR_BYTES 512

/* Where the parts of one half lie. */
#define TABLE_HALF_ADJACENCIES (P2PNIC_ADJACENCIES_MAX / 2)
#define TABLE_HALF_NEXT_HOPS   (P2PNIC_NEXT_HOPS_MAX / 2)
#define TABLE_HALF_BUCKETS     (P2PNIC_BUCKETS_MAX / 2)

struct table;

/* One row of `show route`: where a route came from and where it leads. */
struct table_route {
	struct prefix prefix;
	const char *source; /* "connected", "local", "neighbor", "static" */
	uint16_t next_hop;  /* of half 0 */
};

/*
 * Compiles the configuration; mac[k] is the address of NIC k. `before`, what is in force, or NULL: groups
 * that stay keep their flows where they are. 0 or -errno with a sentence in
 * error[TABLE_ERROR_BYTES]: a gateway on no connected network, too many next hops, a table that does not
 * fit (with the numbers).
 */
int table_compile(struct table **, const struct config *, const struct table *before,
	const struct mac_addr *mac, uint32_t bar2_bytes, char *error);
void table_free(struct table *);

/* Writes it into the NIC and switches over. */
int table_load(struct table *, struct driver_nic *, char *error);

/* For looking at it. */
size_t table_routes(const struct table *, const struct table_route **);
const struct p2pnic_adjacency *table_adjacency(
	const struct table *, uint16_t next_hop, unsigned *members);
uint64_t table_image_bytes(const struct table *, unsigned family);

#endif
