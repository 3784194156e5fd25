/* SPDX-License-Identifier: BSD-3-Clause */
/* The metrics process (metrics/metrics.h) beside the router, where the configuration has
 * `metrics`. */
#ifndef ROUTER_METRICS_H
#define ROUTER_METRICS_H

#include "router/helper.h"

#include <stdbool.h>

extern const struct helper_kind metrics_kind;

/* Connects to the one of an earlier router, or begins one. Nothing depends on it: what goes wrong
 * is said, and tried again. */
void metrics_open(struct router *);
/* The configuration has changed. */
void metrics_follow(struct router *);
/* leave: it is let go, for the next router. */
void metrics_close(struct router *, bool leave);

#endif
