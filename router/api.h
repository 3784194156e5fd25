/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The API socket: requests to a running router, a JSON object a line, and their answers;
 * docs/api.md has each of them. Answered by show.h, reload.h, audit.h, api_watch.h.
 *
 * Every client has buffers of its own and is served when its socket is ready, a piece at a time:
 * none holds up the router, nor another. One request of a client is answered at a time, and no more
 * of it is read meanwhile. One that makes no progress for API_IDLE_MS with a request half sent or
 * an answer half read is dropped; one that has had an answer may be silent for as long as it likes.
 * Where there are API_CLIENTS_MAX, a newcomer takes the place of another: of one that has asked
 * nothing yet, if there is such a one, and of those the one that has made no progress for longest.
 */
#ifndef ROUTER_API_H
#define ROUTER_API_H

#include <jansson.h>
#include <stdbool.h>

#define API_VERSION 1 /* of the protocol, and the oldest one whose requests are understood */
#define API_OLDEST  1

#define API_REQUEST_BYTES 8192u /* with its line's end; a filter has up to 4096 digits */
#define API_ID_BYTES      64u
#define API_CLIENTS_MAX   64u
#define API_IDLE_MS       5000u

struct api_client;
struct router;

int api_open(struct router *); /* -errno, r->error */
void api_close(struct router *);

/* A client that has connected; closes the descriptor if there is no memory for it. */
void api_accept(struct router *, int fd);

/* The answer to the request that a client waits for, which has an id perhaps. Takes the object;
 * {"error": TEXT} if there is none. */
void api_answer(struct api_client *, json_t *);

unsigned api_clients(const struct router *);

/* There are more lines of a client's watch to be sent, or too many: then it is dropped. */
void api_lines(struct api_client *);

#endif
