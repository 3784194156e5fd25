/* SPDX-License-Identifier: BSD-3-Clause */
/* The other end of the router's API socket (router/api.c). */
#ifndef ROUTER_API_CLIENT_H
#define ROUTER_API_CLIENT_H

#include <jansson.h>

#define API_ERROR_BYTES 512

/* The answer to {"show": what}, with "to" if it is not NULL, an object with that key, owned by the caller; NULL with
 * a sentence in error[API_ERROR_BYTES]. */
json_t *api_show(const char *runtime, const char *what, const char *to, char *error);

/* The same, unless the directory is not this user's alone (router/runtime.h): then whoever answers there may be anybody. */
json_t *api_show_own(const char *runtime, const char *what, const char *to, char *error);

#endif
