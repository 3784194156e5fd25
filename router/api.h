/* SPDX-License-Identifier: BSD-3-Clause */
/* The API socket (api.c), and the answers (show.c). */
#ifndef ROUTER_API_H
#define ROUTER_API_H

#include <jansson.h>

struct router;
struct route;

int api_open(struct router *); /* -errno, r->error */
void api_close(struct router *);

/* The answer to {"show": WHAT}, but for routes, which are only sent; NULL: no such thing. */
json_t *router_show(struct router *, const char *what);
/* One route as a JSON object in text of so many bytes; its length. */
#define SHOW_ROUTE_BYTES 512
unsigned show_route(const struct router *, const struct route *, char text[SHOW_ROUTE_BYTES]);

#endif
