/* SPDX-License-Identifier: BSD-3-Clause */
/* What a NIC's tables say of one packet: for `p2pnic trace`. */
#ifndef ROUTER_EXPLAIN_H
#define ROUTER_EXPLAIN_H

#include <jansson.h>

struct router;

/*
 * The answer to {"explain": how}. How: "nic", a name; "address", the destination; "next_hop",
 * "adjacency", "flow", as the NIC has recorded them; "peer", the number of the egress NIC, if
 * there is one. The tables are read now: they may have changed since.
 *
 * Answer: {"explain": {"path": […], "next_hop": now, "route": {…}, "word", "group", "adjacency",
 * "ring_slots"}}; places are offsets in the NIC's BAR2.
 */
json_t *router_explain(struct router *, const json_t *how);

#endif
