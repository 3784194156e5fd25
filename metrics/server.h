/* SPDX-License-Identifier: BSD-3-Clause */
/* The HTTP server, a thread of its own (libmicrohttpd). */
#ifndef METRICS_SERVER_H
#define METRICS_SERVER_H

#include "metrics/metrics.h"

struct server;

/* Listens; -errno with a sentence. Nobody is served before server_start. */
int server_open(
	struct server **, const struct metrics_order *, const char *runtime, struct error *);
int server_start(struct server *, struct error *);
/* Cuts connections that are too old; once a second. */
void server_tick(struct server *);
void server_close(struct server *);

#endif
