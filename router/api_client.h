/* SPDX-License-Identifier: BSD-3-Clause */
/* The other end of the router's API socket (router/api.c). */
#ifndef ROUTER_API_CLIENT_H
#define ROUTER_API_CLIENT_H

#include <jansson.h>
#include <stdbool.h>

#include "ipc/error.h"

/* How long each step of a request may wait for the router; 0 (at first): for ever. */
extern unsigned api_patience_ms;

/* The answer to a request, which it lets go of: an object, owned by the caller; NULL with a
 * sentence in error, the router's own if it refused. own: only if the directory is this user's
 * alone (router/runtime.h); else whoever answers there may be anybody. */
json_t *api_ask(const char *runtime, bool own, json_t *question, struct error *error);

/* The answer to {"show": what}, with "to" if it is not NULL: an object with that key. */
json_t *api_show(
	const char *runtime, bool own, const char *what, const char *to, struct error *error);

#endif
