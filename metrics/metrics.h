/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The process that Prometheus, browsers and people ask, so that none of them can hold or harm the
 * router: it asks the router over its API socket, as `p2pnic show` does, at most five times a
 * second however many ask it, and gives up after a second.
 *
 *   browser, Prometheus ──HTTP──▶ p2pnic metrics ──{"show": "metrics"}──▶ api.sock of the router
 *                                       ▲                                      │
 *                                       └──── metrics.sock: where to listen ───┘
 *
 *   /             the status page, one file (page.html)
 *   /metrics      Prometheus' text (text.h)
 *   /status.json  what the page shows: the router's answer, or why there is none
 *
 * Started by the router (router/metrics.c) it is told where to listen, once; told anything else it
 * ends, and another one is started. It outlives the router, and then says that it does not
 * answer.
 *
 * What it holds: one listening socket, METRICS_CONNECTIONS connections of METRICS_CONNECTION_MS
 * each at most, requests of METRICS_REQUEST_BYTES. What it may: no capability, no new privileges,
 * no file (confine.h).
 */
#ifndef METRICS_METRICS_H
#define METRICS_METRICS_H

#include "ipc/error.h"
#include "router/endpoint.h"

#include <stdbool.h>
#include <stdint.h>

#define METRICS_CONNECTIONS   32u
#define METRICS_CONNECTION_MS 15000u
#define METRICS_REQUEST_BYTES 16384u
#define METRICS_ROUTER_MS     1000u /* for the router's answer */
#define METRICS_AGE_MS        200u  /* an answer is given to all who ask within that time */

#define METRICS_NAMESPACE_BYTES 256

/* Over metrics.sock, SOCK_SEQPACKET, from the router; the same comes back with a result. */
struct metrics_order {
	char version[32]; /* of the router, which started it or took it over */
	char listen[ENDPOINT_BYTES];
	char namespace[METRICS_NAMESPACE_BYTES]; /* of the listening socket; "": the process's own
						  */
	uint8_t public;                          /* other hosts may name it as they like */
	int32_t result; /* 0; -ESTALE: it serves another order, and ends; else with a sentence */
	char why[256];
};

/* To be told at `path` what to serve; the router is the one in the same directory. As keeper_serve:
 * -errno of the socket. */
int metrics_serve(const char *path, int ready_fd);

/* By hand: serves that order until SIGTERM or SIGINT. */
int metrics_run(const struct metrics_order *, const char *runtime, struct error *);

#endif
