/* SPDX-License-Identifier: BSD-3-Clause */
#include "router/service.h"
#include "router/router.h"

#include "ipc/clock.h"
#include "ipc/notify.h"

#include <stdbool.h>

#define STATUS_MS 1000u

static void say_status(struct router *r)
{
	struct service *s = &r->service;
	unsigned forwarding = 0;

	for (unsigned k = 0; r->nic && k < r->config->nics_count; k++)
		forwarding += nic_answers(&r->nic[k]);
	if (forwarding == s->forwarding && config_nics_used(r->config) == s->nics)
		return;
	s->forwarding = forwarding;
	s->nics = config_nics_used(r->config);
	notify("STATUS=%u of %u NICs forward", s->forwarding, s->nics);
}

static void status_again(void *context)
{
	struct router *r = context;

	say_status(r);
	loop_after(&r->loop, &r->service.status, STATUS_MS, status_again, r);
}

static void feed(void *context)
{
	struct router *r = context;

	notify("WATCHDOG=1");
	loop_after(&r->loop, &r->service.watchdog, notify_watchdog_ms(), feed, r);
}

void service_open(struct router *r)
{
	if (!notify_is_open())
		return;
	status_again(r);
	if (notify_watchdog_ms())
		feed(r);
}

void service_ready(struct router *r)
{
	say_status(r);
	notify("READY=1");
}

void service_reloading(struct router *r)
{
	notify("RELOADING=1\nMONOTONIC_USEC=%llu", (unsigned long long)(clock_now_ns() / 1000));
}

void service_reloaded(struct router *r)
{
	notify("READY=1");
}

void service_stopping(struct router *r)
{
	notify("STOPPING=1\nSTATUS=%s", r->leave ? "ends; NICs forward on" : "stops the NICs");
}
