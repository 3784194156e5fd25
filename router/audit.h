/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Whether the kernel, the router and every NIC have the same routes. Each is asked by itself:
 *
 *   kernel   what its tables, as they were read, lead to, worked out anew ──┐
 *   router   its list of routes and next hops  <────────────────────────────┤ compared
 *   NIC      for an address of each route, a lookup in its own memory, and ─┘
 *            the next hop's word, buckets and adjacencies there
 *
 * All of it at one moment, between two commits: what differs then is wrong, unless changes of the
 * kernel's wait to be committed. A million routes take about two seconds, in which the loop waits;
 * NICs forward meanwhile.
 */
#ifndef ROUTER_AUDIT_H
#define ROUTER_AUDIT_H

#include <jansson.h>

struct router;

/* Differences that are listed; all are counted. */
#define AUDIT_ROWS_MAX 100u

/* The answer to {"show": "check"}: `routes`, `nics` that were looked at, changes `waiting`,
 * `differences`, and `rows` of the first of them: `at` ("router" or a NIC's name), `prefix`, what
 * it `has` there and what it `wants`. */
json_t *audit_show(struct router *);

#endif
