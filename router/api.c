/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The API socket. One request {"show": WHAT} (route: with "to": ADDRESS, too), in a line or up to
 * the client's end of writing, and one answer a connection; an object, {"error": TEXT} if there is
 * nothing to show. {"reload": {"force": BOOL}} is answered by reload.c.
 *
 * Every client has buffers of its own and is served when its socket is ready, a chunk at a time:
 * none holds up the router, nor another. One that makes no progress for IDLE_MS is dropped; where
 * there are CLIENTS_MAX, a newcomer takes the place of the one that has made none for longest.
 */
#include "router/api.h"
#include "router/audit.h"
#include "router/reload.h"
#include "router/router.h"
#include "router/show.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define REQUEST_BYTES 4096u
#define CHUNK_BYTES   (64u << 10) /* of routes, some 0.2 ms of work */
#define CLIENTS_MAX   64u
#define IDLE_MS       5000u
#define PAUSE_MS      100u /* before it accepts again, when it was short of descriptors */

enum client_state { CLIENT_ASKS, CLIENT_READS };

struct api_client {
	struct api_client *next; /* the one that has made progress most recently is first */
	struct router *r;
	int fd;
	enum client_state state;
	struct loop_watch watch;
	struct loop_timer timer;
	struct nics_question question;
	struct audit_question audit;
	size_t used; /* of request */
	char request[REQUEST_BYTES];

	char *text; /* to send: `bytes`, of which `sent` are gone */
	size_t bytes, sent;
	bool routes;       /* more of them follow */
	struct route last; /* the one written last; family 0: none */
	unsigned reloads;  /* of the router, when the first was written */
};

static void client_drop(struct api_client *c)
{
	struct api_client **at = &c->r->clients;

	while (*at != c)
		at = &(*at)->next;
	*at = c->next;
	loop_unwatch(&c->r->loop, &c->watch);
	loop_cancel(&c->r->loop, &c->timer);
	nics_ask_cancel(c->r, &c->question);
	audit_forget(c->r, &c->audit);
	close(c->fd);
	free(c->text);
	free(c);
}

static void idle(void *context)
{
	client_drop(context);
}

/* It has IDLE_MS more, and the list is in order. */
static void progress(struct api_client *c)
{
	struct api_client **at = &c->r->clients;

	while (*at && *at != c)
		at = &(*at)->next;
	if (*at)
		*at = c->next;
	c->next = c->r->clients;
	c->r->clients = c;
	loop_after(&c->r->loop, &c->timer, IDLE_MS, idle, c);
}

/* --- Answers ---------------------------------------------------------------------------------- */

static void answer(struct api_client *c, json_t *object)
{
	c->text = json_dumps(object, JSON_COMPACT);
	c->bytes = c->text ? strlen(c->text) : 0;
	json_decref(object);
}

#define TABLE_CHANGED "the table has changed while its routes were sent; ask again"

/* Routes are written as they are sent, no tree of them: there may be a million. Nothing in them
 * needs escapes. Where the kernel changes meanwhile, a route is as it was when its turn came, and
 * stands there once; a reload ends the answer with an error. */
static void more_routes(struct api_client *c)
{
	const struct routes *routes = table_routes(c->r->table);
	size_t at = c->last.family ? routes_behind(routes, &c->last) : 0;

	c->bytes = c->sent = 0;
	if (c->reloads != c->r->reloads) {
		c->bytes = (size_t)sprintf(c->text, "],\"error\":\"%s\"}", TABLE_CHANGED);
		c->routes = false;
		return;
	}
	for (; at < routes->n && c->bytes + SHOW_ROUTE_BYTES + 2 < CHUNK_BYTES; at++) {
		if (c->last.family)
			c->text[c->bytes++] = ',';
		c->bytes += show_route(c->r, &routes->route[at], c->text + c->bytes);
		c->last = routes->route[at];
	}
	if (at == routes->n) {
		c->bytes += (size_t)sprintf(c->text + c->bytes, "]}");
		c->routes = false;
	}
}

static void show_routes(struct api_client *c, const struct address *to)
{
	const struct route *match = to ? routes_longest(table_routes(c->r->table), to) : NULL;

	c->text = malloc(CHUNK_BYTES);
	if (!c->text)
		return;
	c->bytes = (size_t)sprintf(c->text, "{\"route\":[");
	c->routes = !to;
	c->reloads = c->r->reloads;
	if (match)
		c->bytes += show_route(c->r, match, c->text + c->bytes);
	if (to)
		c->bytes += (size_t)sprintf(c->text + c->bytes, "]}");
}

static void on_audited(void *context, json_t *result);

static void make_answer(struct api_client *c)
{
	json_error_t error;
	json_t *question = json_loads(c->request, 0, &error), *result = NULL;
	const char *what = json_string_value(json_object_get(question, "show"));
	const char *to = json_string_value(json_object_get(question, "to"));
	const json_t *how = json_object_get(question, "reload");
	struct address address;

	if (what && !strcmp(what, "check"))
		audit_ask(c->r, &c->audit, on_audited, c);
	else if (how)
		answer(c, router_reload_asked(c->r, how));
	else if (to && !address_parse(to, &address))
		answer(c, json_pack("{s:s+}", "error", "not an address: ", to));
	else if (what && !strcmp(what, "route"))
		show_routes(c, to ? &address : NULL);
	else if (what && (result = router_show(c->r, what)))
		answer(c, json_pack("{s:o}", what, result));
	else if (!question)
		answer(c, json_pack("{s:s}", "error", error.text));
	else
		answer(c, json_pack("{s:s+}", "error", "nothing to show by the name of ",
				  what ? what : "(none)"));
	json_decref(question);
}

/* --- A client --------------------------------------------------------------------------------- */

static void on_client(void *context, uint32_t events);

static void send_some(struct api_client *c)
{
	ssize_t n;

	if (c->sent == c->bytes && c->routes)
		more_routes(c);
	n = send(c->fd, c->text + c->sent, c->bytes - c->sent, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n < 0 && errno == EAGAIN)
		return;
	if (n < 0) {
		client_drop(c);
		return;
	}
	c->sent += (size_t)n;
	if (c->sent == c->bytes && !c->routes)
		client_drop(c);
	else
		progress(c);
}

static void begin_sending(struct api_client *c)
{
	if (!c->text || loop_watch(&c->r->loop, &c->watch, c->fd, EPOLLOUT, on_client, c))
		client_drop(c);
	else
		progress(c);
}

static void on_audited(void *context, json_t *result)
{
	struct api_client *c = context;

	answer(c, result);
	begin_sending(c);
}

static void reply(void *context)
{
	struct api_client *c = context;

	c->state = CLIENT_READS;
	make_answer(c);
	if (!c->audit.done)
		begin_sending(c);
}

static void read_some(struct api_client *c)
{
	ssize_t n = recv(c->fd, c->request + c->used, REQUEST_BYTES - 1 - c->used, MSG_DONTWAIT);
	bool whole;

	if (n < 0 && errno == EAGAIN)
		return;
	if (n < 0 || (n == 0 && !c->used)) {
		client_drop(c);
		return;
	}
	c->used += (size_t)n;
	whole = n == 0 || memchr(c->request, '\n', c->used) || c->used == REQUEST_BYTES - 1;
	progress(c);
	if (!whole)
		return;
	c->request[c->used] = 0;
	/* Nothing more is read of it. A NIC that has just been stopped is to be told from one that
	 * is well. */
	loop_unwatch(&c->r->loop, &c->watch);
	loop_cancel(&c->r->loop, &c->timer);
	nics_ask(c->r, &c->question, reply, c);
}

static void on_client(void *context, uint32_t events)
{
	struct api_client *c = context;

	if (c->state == CLIENT_ASKS)
		read_some(c);
	else
		send_some(c);
}

/* --- The socket ------------------------------------------------------------------------------- */

static void make_room(struct router *r)
{
	struct api_client *last = NULL;
	unsigned n = 0;

	for (struct api_client *c = r->clients; c; c = c->next, n++)
		last = c;
	if (n >= CLIENTS_MAX)
		client_drop(last);
}

static void accept_again(void *context);

static void on_listener(void *context, uint32_t events)
{
	struct router *r = context;
	struct api_client *c = NULL;
	int fd;

	make_room(r);
	fd = accept4(r->listener.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd >= 0)
		c = calloc(1, sizeof(*c));
	if (c) {
		c->r = r;
		c->fd = fd;
		progress(c);
		if (loop_watch(&r->loop, &c->watch, fd, EPOLLIN, on_client, c))
			client_drop(c);
		return;
	}
	if (fd >= 0)
		close(fd);
	else if (errno == EAGAIN || errno == ECONNABORTED || errno == EINTR)
		return;
	/* Short of descriptors or memory; it waits there still, so the loop would not. */
	loop_unwatch(&r->loop, &r->listener_watch);
	loop_after(&r->loop, &r->listener_timer, PAUSE_MS, accept_again, r);
}

static void accept_again(void *context)
{
	struct router *r = context;

	if (loop_watch(&r->loop, &r->listener_watch, r->listener.fd, EPOLLIN, on_listener, r))
		loop_after(&r->loop, &r->listener_timer, PAUSE_MS, accept_again, r);
}

int api_open(struct router *r)
{
	char path[ROUTER_PATH_BYTES], text[UNIX_LISTEN_TEXT_BYTES];
	int error;

	router_path(r, "api.sock", path);
	error = unix_listen(&r->listener, path, SOCK_STREAM | SOCK_NONBLOCK, 0660, CLIENTS_MAX);
	if (error)
		return router_fail(r, error, "%s", unix_listen_error(path, error, text));
	error = loop_watch(&r->loop, &r->listener_watch, r->listener.fd, EPOLLIN, on_listener, r);
	return error ? router_fail(r, error, "%s: %s", path, strerror(-error)) : 0;
}

void api_close(struct router *r)
{
	for (struct api_client *c = r->clients, *next; c; c = next) {
		next = c->next;
		client_drop(c);
	}
	loop_unwatch(&r->loop, &r->listener_watch);
	loop_cancel(&r->loop, &r->listener_timer);
	unix_unlisten(&r->listener);
}
