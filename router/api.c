/* SPDX-License-Identifier: BSD-3-Clause */
#include "router/api.h"
#include "ipc/exchange.h"
#include "ipc/rights.h"
#include "router/api_watch.h"
#include "router/audit.h"
#include "router/capture.h"
#include "router/explain.h"
#include "router/router.h"
#include "router/running.h"
#include "router/show.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PIECE_BYTES (64u << 10) /* of an answer; of routes, some 0.2 ms of work */
#define PAUSE_MS    100u        /* before it accepts again, when it was short of descriptors */

struct api_client {
	struct api_client *next; /* the one that has made progress most recently is first */
	struct router *r;
	int fd;
	struct loop_watch socket;
	struct loop_timer timer;
	struct nics_question question;
	struct audit_question audit;

	char line[API_REQUEST_BYTES];
	size_t used;                /* of line */
	bool ended;                 /* it writes no more */
	bool served;                /* it has had an answer */
	bool last;                  /* after this answer the connection ends */
	json_t *asked;              /* the request that is being answered; NULL: none */
	char id[API_ID_BYTES + 16]; /* of the request, as JSON; "": it has none */

	bool showing; /* more of the answer follows */
	struct show show;
	struct buffer answer;
	struct watch watch;
	struct buffer *sending; /* answer, or the lines of the watch; NULL: nothing */
	size_t sent;            /* of it */
	int fds[CAPTURE_FDS];   /* go with the answer's first byte */
	unsigned fds_count;
};

static void client_drop(struct api_client *c)
{
	struct api_client **at = &c->r->clients;

	while (*at != c)
		at = &(*at)->next;
	*at = c->next;
	loop_unwatch(&c->r->loop, &c->socket);
	loop_cancel(&c->r->loop, &c->timer);
	nics_ask_cancel(c->r, &c->question);
	audit_forget(c->r, &c->audit);
	watch_stop(&c->watch);
	exchange_close_all(c->fds, c->fds_count);
	close(c->fd);
	show_end(&c->show);
	buffer_free(&c->answer);
	buffer_free(&c->watch.lines);
	json_decref(c->asked);
	free(c);
}

static void idle(void *context)
{
	client_drop(context);
}

static bool has_to_go_on(const struct api_client *c)
{
	return !c->served || c->used || c->sending || c->answer.bytes || c->watch.lines.bytes;
}

/* It has its time once more, and the list is in order. */
static void progress(struct api_client *c)
{
	struct api_client **at = &c->r->clients;

	while (*at && *at != c)
		at = &(*at)->next;
	if (*at)
		*at = c->next;
	c->next = c->r->clients;
	c->r->clients = c;
	if (has_to_go_on(c))
		loop_after(
			&c->r->loop, &c->timer, c->watch.lines.failed ? 0 : API_IDLE_MS, idle, c);
	else
		loop_cancel(&c->r->loop, &c->timer);
}

/* --- Answers ---------------------------------------------------------------------------------- */

static void on_socket(void *context, uint32_t events);

/* Reads while no request is being answered, writes while there is something to send. False: the
 * client is gone. */
static bool wait_for_socket(struct api_client *c)
{
	const bool writes =
		c->sending || c->answer.bytes || c->answer.failed || c->watch.lines.bytes;
	const uint32_t events = (c->asked || c->ended ? 0u : (uint32_t)EPOLLIN) |
				(writes ? (uint32_t)EPOLLOUT : 0u);

	if (loop_watch(&c->r->loop, &c->socket, c->fd, events, on_socket, c) == 0)
		return true;
	client_drop(c);
	return false;
}

static void close_answer(struct api_client *c)
{
	if (*c->id) {
		buffer_text(&c->answer, ",\"id\":");
		buffer_text(&c->answer, c->id);
	}
	buffer_text(&c->answer, "}\n");
}

void api_answer(struct api_client *c, json_t *object)
{
	if (!object || !json_object_size(object)) {
		json_decref(object);
		object = json_pack("{s:s}", "error", "out of memory");
	}
	buffer_json(&c->answer, object);
	if (c->answer.bytes)
		c->answer.bytes--; /* its closing brace */
	close_answer(c);
	progress(c);
	wait_for_socket(c);
}

void api_lines(struct api_client *c)
{
	struct buffer *lines = &c->watch.lines;
	const uint32_t events = (c->asked || c->ended ? 0u : (uint32_t)EPOLLIN) | EPOLLOUT;

	lines->failed |= lines->bytes > WATCH_BYTES ||
			 loop_watch(&c->r->loop, &c->socket, c->fd, events, on_socket, c) != 0;
	/* Not at once: who calls goes through all watches. */
	if (lines->failed || !c->timer.fired)
		loop_after(&c->r->loop, &c->timer, lines->failed ? 0 : API_IDLE_MS, idle, c);
}

static void answer_error(struct api_client *c, const char *text)
{
	api_answer(c, json_pack("{s:s}", "error", text));
}

static void more_of_show(struct api_client *c)
{
	c->showing = show_more(&c->show, c->r, &c->answer, PIECE_BYTES);
	if (c->showing)
		return;
	close_answer(c);
	show_end(&c->show);
}

static void on_nics_asked(void *context)
{
	struct api_client *c = context;
	struct error error;

	if (show_begin(&c->show, c->r, c->asked, &error)) {
		show_end(&c->show);
		answer_error(c, error.text);
		return;
	}
	more_of_show(c);
	progress(c);
	wait_for_socket(c);
}

static void on_audited(void *context, json_t *result)
{
	api_answer(context, result);
}

/* --- Requests --------------------------------------------------------------------------------- */

/* A NIC that has just been stopped is to be told from one that is well, so they are asked first. */
static void show(struct api_client *c, const json_t *what)
{
	if (json_is_string(what) && !strcmp(json_string_value(what), "check"))
		audit_ask(c->r, &c->audit, on_audited, c);
	else
		nics_ask(c->r, &c->question, on_nics_asked, c);
}

static void reload(struct api_client *c, const json_t *how)
{
	api_answer(c, running_reload_asked(c->r, how));
}

static void capture(struct api_client *c, const json_t *how)
{
	api_answer(c, router_capture_asked(c->r, how, c->fd, c->fds, &c->fds_count));
}

static void explain(struct api_client *c, const json_t *how)
{
	api_answer(c, router_explain(c->r, how));
}

static void config(struct api_client *c, const json_t *what)
{
	api_answer(c, running_ask(c->r, what));
}

static void watch(struct api_client *c, const json_t *how)
{
	struct error error;
	json_t *answer = watch_begin(&c->watch, c->r, c, how, c->id, &error);

	c->last &= !c->watch.what; /* its lines follow */
	if (answer)
		api_answer(c, answer);
	else
		answer_error(c, error.text);
}

static void hello(struct api_client *c, const json_t *who)
{
	api_answer(c, json_pack("{s:{s:i, s:i, s:s}}", "hello", "version", API_VERSION, "oldest",
			      API_OLDEST, "p2pnic", P2PNIC_VERSION_STRING));
}

/* A request is an object with the key of one of these, its argument; "id" and "version"; and of
 * show more. */
static const struct {
	const char *name;
	void (*answer)(struct api_client *, const json_t *argument);
} requests[] = {
	{"show", show},
	{"reload", reload},
	{"config", config},
	{"capture", capture},
	{"explain", explain},
	{"watch", watch},
	{"hello", hello},
};

#define REQUESTS (sizeof(requests) / sizeof(*requests))

/* Its "id" and "version". */
static int read_header(struct api_client *c, struct error *error)
{
	const json_t *id = json_object_get(c->asked, "id");
	const json_t *version = json_object_get(c->asked, "version");
	const json_int_t number = json_integer_value(version);
	struct buffer text = {0};

	if (id && !json_is_integer(id) && !json_is_string(id))
		return error_set(error, -EINVAL, "id: want a number or a text");
	if (json_string_length(id) >= API_ID_BYTES)
		return error_set(error, -EINVAL, "id: longer than %u bytes", API_ID_BYTES - 1);
	if (id) {
		buffer_json(&text, json_incref((json_t *)id));
		if (text.failed || text.bytes >= sizeof(c->id)) {
			buffer_free(&text);
			return error_set(error, -EINVAL, "id: too long as JSON");
		}
		memcpy(c->id, text.text, text.bytes);
		c->id[text.bytes] = 0;
		buffer_free(&text);
	}
	c->last = !id;
	if (version && (!json_is_integer(version) || number < API_OLDEST || number > API_VERSION))
		return error_set(error, -EPROTO, "version: this router speaks %u to %u", API_OLDEST,
			API_VERSION);
	return 0;
}

static void answer_request(struct api_client *c)
{
	const char *found = NULL, *key;
	struct error error;
	json_t *value;
	size_t named = REQUESTS;

	/* It has as long as it takes. */
	loop_cancel(&c->r->loop, &c->timer);
	if (!wait_for_socket(c))
		return;
	if (read_header(c, &error)) {
		answer_error(c, error.text);
		return;
	}
	json_object_foreach(c->asked, key, value)
	{
		for (size_t k = 0; k < REQUESTS; k++)
			if (!strcmp(requests[k].name, key)) {
				named = found ? REQUESTS : k;
				found = key;
			}
	}
	if (named == REQUESTS)
		answer_error(c, found ? "more than one request in an object"
				      : "no request: want show, reload, config, capture, explain, "
					"watch or hello");
	else
		requests[named].answer(c, json_object_get(c->asked, requests[named].name));
}

/* The first line, or what there is at the end. False: it is not whole yet. */
static bool take_request(struct api_client *c)
{
	char *end = memchr(c->line, '\n', c->used);
	const bool too_long = !end && c->used == sizeof(c->line);
	const size_t length = end ? (size_t)(end - c->line) : c->used;
	json_error_t error;

	if (!end && !too_long && (!c->ended || !c->used))
		return false;
	*c->id = 0;
	c->last = true;
	c->asked = too_long ? NULL : json_loadb(c->line, length, JSON_REJECT_DUPLICATES, &error);
	c->used -= end ? length + 1 : c->used;
	memmove(c->line, c->line + length + 1, c->used);
	if (!json_is_object(c->asked)) {
		char text[JSON_ERROR_TEXT_LENGTH + 64];

		snprintf(text, sizeof(text), "no request, an object in a line of JSON: %s",
			too_long   ? "longer than 8191 bytes"
			: c->asked ? "something else"
				   : error.text);
		json_decref(c->asked);
		c->asked = json_object();
		answer_error(c, text);
		return true;
	}
	answer_request(c);
	return true;
}

/* --- A client --------------------------------------------------------------------------------- */

/* When an answer is sent: the next request, or the end. */
static void go_on(struct api_client *c)
{
	if (c->last || c->answer.failed) {
		/* What it has sent and nobody read would take the answer with it (ECONNRESET). */
		for (unsigned k = 0;
			k < 16 && recv(c->fd, c->line, sizeof(c->line), MSG_DONTWAIT) > 0;)
			k++;
		client_drop(c);
		return;
	}
	progress(c);
	if (take_request(c))
		return;
	if (c->ended && !c->watch.what)
		client_drop(c);
	else
		wait_for_socket(c);
}

/* An answer and the lines of a watch do not mix: one goes on when all of the other is sent. */
static void send_some(struct api_client *c)
{
	ssize_t n;

	if (c->watch.lines.failed) {
		client_drop(c);
		return;
	}
	if (!c->sending)
		c->sending = c->answer.bytes        ? &c->answer
			     : c->watch.lines.bytes ? &c->watch.lines
						    : NULL;
	if (!c->sending || (c->sending == &c->answer && c->answer.failed)) {
		go_on(c);
		return;
	}
	n = rights_send(c->fd, c->sending->text + c->sent, c->sending->bytes - c->sent, c->fds,
		c->sending == &c->answer ? c->fds_count : 0);
	if (n < 0 && errno == EAGAIN)
		return;
	if (n < 0) {
		client_drop(c);
		return;
	}
	if (c->sending == &c->answer) {
		exchange_close_all(c->fds, c->fds_count);
		c->fds_count = 0;
	}
	c->sent += (size_t)n;
	progress(c);
	if (c->sent < c->sending->bytes)
		return;
	c->sending->bytes = c->sent = 0;
	if (c->sending == &c->watch.lines) {
		c->sending = NULL;
		watch_more(&c->watch);
		wait_for_socket(c);
		return;
	}
	if (c->showing) {
		/* Maybe nothing: then it goes on as soon as the others had their turn. */
		more_of_show(c);
		if (!c->answer.failed)
			return;
	}
	buffer_free(&c->answer);
	c->sending = NULL;
	c->served = true;
	json_decref(c->asked);
	c->asked = NULL;
	go_on(c);
}

static void read_some(struct api_client *c)
{
	ssize_t n = recv(c->fd, c->line + c->used, sizeof(c->line) - c->used, MSG_DONTWAIT);

	if (n < 0 && errno == EAGAIN)
		return;
	if (n < 0) {
		client_drop(c);
		return;
	}
	c->used += (size_t)n;
	c->ended = n == 0;
	if (c->ended && !c->used && !c->watch.what) {
		client_drop(c);
		return;
	}
	progress(c);
	if (!take_request(c))
		wait_for_socket(c);
}

static void on_socket(void *context, uint32_t events)
{
	struct api_client *c = context;

	if (events & (EPOLLHUP | EPOLLERR) && !(events & EPOLLIN))
		client_drop(c);
	else if (events & EPOLLIN)
		read_some(c);
	else
		send_some(c);
}

/* --- The socket ------------------------------------------------------------------------------- */

/* What a client would lose with its place: nothing yet, a connection, an answer. */
static unsigned claim(const struct api_client *c)
{
	return c->asked ? 2 : c->served;
}

unsigned api_clients(const struct router *r)
{
	unsigned n = 0;

	for (const struct api_client *c = r->clients; c; c = c->next)
		n++;
	return n;
}

static void make_room(struct router *r)
{
	struct api_client *last = NULL;
	unsigned n = 0;

	for (struct api_client *c = r->clients; c; c = c->next, n++)
		if (!last || claim(c) <= claim(last))
			last = c;
	if (n >= API_CLIENTS_MAX)
		client_drop(last);
}

/* False: no memory. */
static bool accept_client(struct router *r, int fd)
{
	struct api_client *c = calloc(1, sizeof(*c));

	if (!c) {
		close(fd);
		return false;
	}
	c->r = r;
	c->fd = fd;
	progress(c);
	wait_for_socket(c);
	return true;
}

void api_accept(struct router *r, int fd)
{
	make_room(r);
	accept_client(r, fd);
}

static void accept_again(void *context);

static void on_listener(void *context, uint32_t events)
{
	struct router *r = context;
	int fd;

	make_room(r);
	fd = accept4(r->listener.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd >= 0 ? accept_client(r, fd)
		    : errno == EAGAIN || errno == ECONNABORTED || errno == EINTR)
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
	error = unix_listen(&r->listener, path, SOCK_STREAM | SOCK_NONBLOCK, 0660, API_CLIENTS_MAX);
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
