/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Watches: what a client wants to be told without asking again.
 *
 *   nic, port, neighbor     all rows, then a row whenever one changes or goes
 *   counter, drop, table    all rows at an interval
 *   route                   a row whenever one is added, replaced or goes
 *
 * State is compared with what it was: at once where the router knows that it has changed, and
 * every WATCH_LOOK_MS. Each row is a line. A client whose lines do not fit into WATCH_BYTES is too
 * slow, and dropped. Changes of routes may be a million at once: they wait as they are, once for
 * all clients (route_log.h), and become lines when there is room. Who is so far behind that
 * WATCH_ROUTES_MAX wait for it is dropped, too.
 */
#ifndef ROUTER_API_WATCH_H
#define ROUTER_API_WATCH_H

#include <jansson.h>

#include "ipc/error.h"
#include "router/api.h"
#include "router/buffer.h"
#include "router/loop.h"
#include "router/route_log.h"
#include "router/show_neighbor.h"

#define WATCH_LOOK_MS     200u
#define WATCH_LEAST_MS    100
#define WATCH_MOST_MS     3600000
#define WATCH_DEFAULT_MS  1000
#define WATCH_BYTES       (256u << 10)
#define WATCH_CLIENTS_MAX 16u
#define WATCH_ROUTES_MAX  (2u << 20) /* changes, of 32 bytes */

/* Of one client. */
struct watch {
	struct watch *next; /* of the router's */
	struct router *r;
	struct api_client *client;
	unsigned what; /* 1 << enum watch_what; 0: it is in no list */
	unsigned interval_ms;
	struct loop_timer timer;
	char id[API_ID_BYTES + 16];
	unsigned tell; /* kinds whose rows are to be said, from the first; and of the lowest: */
	size_t at;     /* the next row, or */
	struct neighbor_row last;   /* of neighbours, the last one said; family 0: none */
	struct route_filter filter; /* of routes */
	struct route_reader routes;
	struct buffer lines; /* not sent yet */
};

/* Of the router: state as it was last told. */
struct watched {
	struct watch *first;
	struct loop_timer timer, step;
	struct watch_nic *nic; /* by index */
	struct neighbor_rows neighbors;
	/* Newer ones, while it is told what differs: up to these places it was. */
	struct neighbor_rows now;
	size_t at, now_at;
	struct route_log routes;
	uint64_t seen; /* messages of the kernel, or reloads, when neighbours were taken */
};

/* Reads {"what": [KIND…], "interval_ms": N} and filters of routes, and begins, or begins anew;
 * without a kind it ends. The answer, or NULL with a sentence. id: of the request, as JSON; "":
 * none. */
json_t *watch_begin(struct watch *, struct router *, struct api_client *, const json_t *how,
	const char *id, struct error *);
void watch_stop(struct watch *);
/* Puts more of what is there at the beginning into `lines`, while there is room; called when they
 * were sent. */
void watch_more(struct watch *);

/* A table_watcher of the router (`context`). */
void watch_routes(void *context, const struct table_changed *);

/* Something that is watched may have changed. */
void watch_look(struct router *);

#endif
