/* SPDX-License-Identifier: BSD-3-Clause */
/* What the router tells: JSON built from the NICs' own counters, which it reads from device
 * memory. */
#ifndef ROUTER_SHOW_H
#define ROUTER_SHOW_H

#include <jansson.h>

struct router;
struct router_nic;
struct route;

/* The answer to {"show": WHAT}, but for routes, which are only sent; NULL: no such thing. */
json_t *router_show(struct router *, const char *what);

/* Rows of answers, owned by the caller: a NIC's counters, one ring, the router itself. */
json_t *show_counter(struct router *, unsigned nic);
json_t *show_ring(const struct router *, unsigned ingress, unsigned egress);
json_t *show_router(const struct router *);
/* How a NIC is, into its row. */
void show_nic_state(const struct router *, unsigned nic, json_t *row);
double show_engine_cpu(const struct router_nic *);

/* One route as a JSON object in text of so many bytes; its length. */
#define SHOW_ROUTE_BYTES 512
unsigned show_route(const struct router *, const struct route *, char text[SHOW_ROUTE_BYTES]);

/* Where a next hop leads, in a few words; their length. */
unsigned show_lead(const struct router *, unsigned next_hop, char *text, size_t room);

#endif
