/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the lab sends: pings as long as the MTU allows from each host to the networks behind all
 * others, TCP between two pairs at
 * once, a burst of UDP.
 *
 * Each function adds its results to `results` and returns whether all went as it should: no ping
 * lost, no iperf3 failed. Lost datagrams of the burst are told, not a failure: a burst may be more
 * than a host takes.
 */
#ifndef LAB_TRAFFIC_H
#define LAB_TRAFFIC_H

#include "lab/network.h"

#include <jansson.h>

/* "pings": {"mtu", "pairs", "sent", "answered", "lost": [{"from", "to"}…]} */
bool traffic_pings(json_t *results, unsigned mtu);

/* "tcp": [{"from", "to", "bits_per_second", "retransmissions"} or {…, "error"}…] */
bool traffic_tcp(json_t *results);

/* "udp": likewise {"from", "to", "datagrams", "bytes", "lost"} */
bool traffic_udp(json_t *results);

#endif
