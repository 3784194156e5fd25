/* SPDX-License-Identifier: BSD-3-Clause */
/* The other end of the router's API socket (docs/api.md): one request a connection. */
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

/* The same, with descriptors that come with the answer: the caller's. */
#define API_FDS_MAX 2u
struct api_fds {
	int fd[API_FDS_MAX];
	unsigned count;
};
json_t *api_ask_fds(
	const char *runtime, bool own, json_t *question, struct api_fds *, struct error *error);

/* The answer to {"show": what}, with "to" if it is not NULL: an object with that key. */
json_t *api_show(
	const char *runtime, bool own, const char *what, const char *to, struct error *error);

/* Rows of an answer that may be long, one by one as they come; NULL: no more have come yet, what
 * was made of them should be seen. False: no more are wanted. */
typedef bool api_row(void *context, const json_t *row);

/* The rows of the answer to a request, which it lets go of: an object with an array of that name.
 * 0, also where no more were wanted; -errno with a sentence, maybe after some rows. */
int api_rows(const char *runtime, bool own, json_t *request, const char *what, api_row *row,
	void *context, struct error *error);

/* Begins a watch and calls with each line, an object; false: no more are wanted. 0 then; else
 * -errno with a sentence: the router refused, or has ended it. */
int api_watch(const char *runtime, bool own, json_t *request, api_row *line, void *context,
	struct error *error);

#endif
