/* SPDX-License-Identifier: BSD-3-Clause */
#include "router/metrics.h"
#include "router/router.h"

#include "ipc/exchange.h"
#include "metrics/metrics.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define ANSWER_MS 500u
#define AGAIN_MS  1000u /* an address that is in use, or not there */

static void tell(void *context);

static struct metrics_order order_of(const struct config_metrics *m)
{
	struct metrics_order order = {.version = P2PNIC_VERSION_STRING, .public = *m->public};

	snprintf(order.listen, sizeof(order.listen), "%s", m->listen);
	snprintf(order.namespace, sizeof(order.namespace), "%s", m->namespace ? m->namespace : "");
	return order;
}

static void tell(void *context)
{
	struct router *r = context;
	struct helper *h = &r->metrics;
	struct metrics_order order;
	unsigned count;
	int result;

	if (!r->config->metrics || h->socket < 0)
		return;
	order = order_of(r->config->metrics);
	result =
		exchange_ask(h->socket, &order, sizeof(order), NULL, 0, NULL, 0, &count, ANSWER_MS);
	if (result) {
		helper_lose(h, strerror(-result));
		return;
	}
	order.why[sizeof(order.why) - 1] = 0;
	if (order.result && order.result != -ESTALE) {
		if (!h->complained)
			router_warn(r, "metrics: listen %s: %s; tried again",
				r->config->metrics->listen, order.why);
		h->complained = true;
		loop_after(&r->loop, &h->timer, AGAIN_MS, tell, r);
	}
}

static void tell_soon(struct router *r)
{
	loop_after(&r->loop, &r->metrics.timer, 0, tell, r);
}

static void lost(struct router *r)
{
}

const struct helper_kind metrics_kind = {
	.name = "metrics",
	.socket = "metrics.sock",
	.without = "nobody serves counters until there is one",
	.back = "serves counters",
	.connect = exchange_connect,
	.filled = tell_soon,
	.lost = lost,
};

static void end(struct helper *h)
{
	helper_identify(h);
	helper_close(h, true);
}

void metrics_open(struct router *r)
{
	struct helper *h = &r->metrics;
	char path[ROUTER_PATH_BYTES];

	if (r->config->metrics) {
		helper_begin(h);
		return;
	}
	/* Of an earlier router, whose configuration had it. */
	router_path(r, h->kind->socket, path);
	h->socket = exchange_connect(path);
	if (h->socket >= 0)
		end(h);
	helper_init(h, r, &metrics_kind);
}

void metrics_follow(struct router *r)
{
	struct helper *h = &r->metrics;
	const bool runs = h->socket >= 0 || h->process.pid || h->timer.fired;

	if (!r->config->metrics && runs) {
		end(h);
		helper_init(h, r, &metrics_kind);
	} else if (r->config->metrics && !runs) {
		helper_begin(h);
	} else if (h->socket >= 0) {
		h->complained = false;
		tell_soon(r);
	}
}

void metrics_close(struct router *r, bool leave)
{
	if (*r->runtime)
		helper_close(&r->metrics, !leave);
}
