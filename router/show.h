/* SPDX-License-Identifier: BSD-3-Clause */
/* What the router tells: JSON built from the NICs' own counters, which it reads from device
 * memory. */
#ifndef ROUTER_SHOW_H
#define ROUTER_SHOW_H

#include <jansson.h>

#include "router/buffer.h"
#include "router/interface.h"
#include "router/show_neighbor.h"
#include "router/show_route.h"

struct router;
struct router_nic;

/* The whole of what {"show": WHAT} answers, except for routes and neighbours; NULL: no such
 * thing. */
json_t *router_show(struct router *, const char *what);

/* Rows of such an array: their number, and one of them; NULL: there is none of that number. */
unsigned show_rows(const struct router *, const char *what);
json_t *show_row(struct router *, const char *what, unsigned row);

/* Rows of answers, owned by the caller: a NIC's counters, one ring, the router itself. */
json_t *show_counter(struct router *, unsigned nic);
json_t *show_ring(const struct router *, unsigned ingress, unsigned egress);
json_t *show_router(const struct router *);
/* How a NIC is, into its row. */
void show_nic_state(const struct router *, unsigned nic, json_t *row);
double show_engine_cpu(const struct router_nic *);

/* "forwarding", "old table", … */
const char *show_state(const struct router *, unsigned nic);

/* An answer under way, so that a long one is made in pieces. */
struct show {
	const struct show_view *view;
	char nic[INTERFACE_NAME_BYTES]; /* only rows of this one; "": all */
	size_t at;                      /* the next row */
	bool begun, any;
	struct neighbor_rows neighbors; /* as they were when it began */
	struct route_walk walk;
};

/* Reads a request, {"show": WHAT} and its filters. -errno with a sentence. show_end in any case. */
int show_begin(struct show *, struct router *, const json_t *request, struct error *);
/* Adds the next piece of an object that it leaves open, until the buffer has `full` bytes or a
 * piece is made. False: that was the last. */
bool show_more(struct show *, struct router *, struct buffer *, size_t full);
void show_end(struct show *);

#endif
