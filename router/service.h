/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The router as a service of systemd (Type=notify, WatchdogSec=): it says when it forwards, reads
 * its configuration again and ends, how many NICs forward, and that its loop runs. The watchdog is
 * fed by a timer of the loop, so by nothing when the loop stands still. Without a manager all of
 * this does nothing.
 */
#ifndef ROUTER_SERVICE_H
#define ROUTER_SERVICE_H

#include "router/loop.h"

struct router;

struct service {
	struct loop_timer status, watchdog;
	unsigned forwarding, nics; /* as last said */
};

/* From the loop's opening until its end. */
void service_open(struct router *);
/* All are up. */
void service_ready(struct router *);
/* Around a reload. */
void service_reloading(struct router *);
void service_reloaded(struct router *);
/* It is about to end. */
void service_stopping(struct router *);

#endif
