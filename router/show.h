/* SPDX-License-Identifier: BSD-3-Clause */
/* What the router tells: JSON built from the NICs' own counters, which it reads from device
 * memory. */
#ifndef ROUTER_SHOW_H
#define ROUTER_SHOW_H

#include <jansson.h>

struct router;
struct route;

/* The answer to {"show": WHAT}, but for routes, which are only sent; NULL: no such thing. */
json_t *router_show(struct router *, const char *what);

/* One route as a JSON object in text of so many bytes; its length. */
#define SHOW_ROUTE_BYTES 512
unsigned show_route(const struct router *, const struct route *, char text[SHOW_ROUTE_BYTES]);

/* Where a next hop leads, in a few words; their length. */
unsigned show_lead(const struct router *, unsigned next_hop, char *text, size_t room);

#endif
