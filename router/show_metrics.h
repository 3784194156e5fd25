/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Everything that is counted, in one answer and at one time: what `p2pnic metrics` and `p2pnic top`
 * ask for. No NIC is asked anything, no route is looked at.
 *
 *   "version"  of the router    "time"  seconds of its clock, for rates
 *   "counter", "nic", "ring", "punt", "tap", "engine"       rows, one for each NIC, ring, …; of
 *                                                           rings only those with packets
 *   "router", "kernel", "census"                            an object each; the last two may lack
 *   "routes", "protocols", "neighbors"                      rows of the census
 *   "times"                                                 histograms: "buckets", "sum"
 *
 * The keys in them are those of the table of counters (counters.h).
 */
#ifndef ROUTER_SHOW_METRICS_H
#define ROUTER_SHOW_METRICS_H

#include <jansson.h>

struct router;

json_t *show_metrics(struct router *);

#endif
