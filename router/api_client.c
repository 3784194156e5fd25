/* SPDX-License-Identifier: BSD-3-Clause */
#include "router/api_client.h"

#include "ipc/exchange.h"
#include "ipc/rights.h"
#include "ipc/unix_address.h"
#include "router/buffer.h"
#include "router/runtime.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

/* All that comes; jansson's own reading of a descriptor takes a system call a byte. NULL: out of
 * memory. */
static char *read_all(int fd, size_t *length, struct api_fds *fds)
{
	size_t room = 1 << 16;
	char *text = malloc(room);

	*length = 0;
	for (ssize_t n = 1; text && n > 0; *length += n > 0 ? (size_t)n : 0) {
		if (*length == room) {
			char *larger = realloc(text, room *= 2);

			if (!larger)
				free(text);
			text = larger;
			if (!text)
				break;
		}
		n = rights_receive(
			fd, text + *length, room - *length, fds->fd, API_FDS_MAX, &fds->count);
	}
	return text;
}

unsigned api_patience_ms;

static void be_patient(int fd)
{
	const struct timeval limit = {api_patience_ms / 1000, api_patience_ms % 1000 * 1000};

	if (fd < 0 || !api_patience_ms)
		return;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)); /* of connect, too */
}

#define NO_ANSWER "the router does not answer"

static bool is_ours(const char *runtime, struct error *error)
{
	int directory = runtime_directory(runtime, false, error);

	if (directory == -ENOENT)
		error_set(error, -ENOENT, "%s/api.sock: no router runs there", runtime);
	if (directory >= 0)
		close(directory);
	return directory >= 0;
}

/* A connection that has sent the request; -errno. */
static int send_request(const char *runtime, bool own, const json_t *request, struct error *error)
{
	struct sockaddr_un address;
	int fd, result = 0;
	char path[256];
	char *text;

	if (own && !is_ours(runtime, error))
		return -ENOENT;
	snprintf(path, sizeof(path), "%s/api.sock", runtime);
	if (unix_address(&address, path))
		return error_set(error, -ENAMETOOLONG, "%s: %s", path, UNIX_ADDRESS_ERROR);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	be_patient(fd);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
		result = error_set(error, -errno, "%s: %s", path,
			errno == ENOENT || errno == ECONNREFUSED ? "no router runs there"
			: errno == EAGAIN                        ? NO_ANSWER
								 : strerror(errno));
		if (fd >= 0)
			close(fd);
		return result;
	}
	text = json_dumps(request, JSON_COMPACT);
	if (!text || dprintf(fd, "%s\n", text) < 0) {
		result = error_set(error, -errno, "%s: %s", path, strerror(errno));
		close(fd);
	}
	free(text);
	return result ? result : fd;
}

/* The router's own, where it refused. */
static bool refused(const json_t *answer, struct error *error)
{
	const char *text = json_string_value(json_object_get(answer, "error"));

	if (text)
		error_set(error, -EREMOTEIO, "%s", text);
	return text;
}

static int none(const char *runtime, const char *why, struct error *error)
{
	return error_set(error, -EPROTO, "%s/api.sock: the router's answer: %s", runtime, why);
}

json_t *api_ask_fds(
	const char *runtime, bool own, json_t *request, struct api_fds *fds, struct error *error)
{
	int fd = send_request(runtime, own, request, error);
	json_error_t parse_error;
	json_t *answer;
	size_t length;
	char *text;

	fds->count = 0;
	json_decref(request);
	if (fd < 0)
		return NULL;
	errno = 0;
	text = read_all(fd, &length, fds);
	const bool late = errno == EAGAIN;
	close(fd);
	answer = text ? json_loadb(text, length, 0, &parse_error) : NULL;
	if (!answer && late)
		error_set(error, -ETIMEDOUT, "%s/api.sock: " NO_ANSWER, runtime);
	else if (!answer)
		none(runtime, text ? parse_error.text : strerror(ENOMEM), error);
	free(text);
	if (refused(answer, error)) {
		json_decref(answer);
		answer = NULL;
	}
	if (!answer) {
		exchange_close_all(fds->fd, fds->count);
		fds->count = 0;
	}
	return answer;
}

json_t *api_ask(const char *runtime, bool own, json_t *request, struct error *error)
{
	struct api_fds fds;
	json_t *answer = api_ask_fds(runtime, own, request, &fds, error);

	exchange_close_all(fds.fd, fds.count);
	return answer;
}

/* --- Rows, one by one ------------------------------------------------------------------------- */

#define READ_BYTES (64u << 10)
#define ROW_BYTES  (16u << 20) /* a row that is longer is none */

/* {"WHAT":[{…},{…}]…}, of which `text` has what was not taken yet. Rows hold no other rows, so that
 * braces outside of texts tell where one ends. */
struct reader {
	struct buffer text;
	size_t at;    /* scanned up to here */
	size_t start; /* of the row under way */
	unsigned depth;
	bool in_rows, in_text, escaped, rows_ended;
	api_row *row;
	void *context;
};

/* False: it is no JSON, or enough. */
static bool take_row(struct reader *r, bool *stopped)
{
	json_error_t error;
	json_t *row = json_loadb(r->text.text + r->start, r->at - r->start, 0, &error);

	*stopped = row && !r->row(r->context, row);
	json_decref(row);
	return row && !*stopped;
}

static bool scan_rows(struct reader *r, bool *stopped)
{
	while (r->at < r->text.bytes && !r->rows_ended) {
		const char c = r->text.text[r->at++];

		if (r->in_text) {
			r->in_text = r->escaped || c != '"';
			r->escaped = !r->escaped && c == '\\';
		} else if (c == '"') {
			r->in_text = true;
		} else if (c == '{' && r->depth++ == 0) {
			r->start = r->at - 1;
		} else if (c == '}' &&
			   (r->depth == 0 || (--r->depth == 0 && !take_row(r, stopped)))) {
			return false;
		} else if (c == ']' && r->depth == 0) {
			r->rows_ended = true;
		}
	}
	return true;
}

/* Lets go of what was taken. */
static void compact(struct reader *r)
{
	const size_t gone = r->depth && !r->rows_ended ? r->start : r->at;

	memmove(r->text.text, r->text.text + gone, r->text.bytes - gone);
	r->text.bytes -= gone;
	r->at -= gone;
	r->start = 0;
}

/* Whether it begins with {"WHAT":[, with spaces or without. */
static bool begins(struct reader *r, const char *what)
{
	char head[64];
	size_t at = 0, k = 0;

	snprintf(head, sizeof(head), "{\"%s\":[", what);
	for (; !r->in_rows && head[k] && at < r->text.bytes; at++)
		if (r->text.text[at] == head[k])
			k++;
		else if (r->text.text[at] != ' ')
			break;
	if (!r->in_rows && !head[k]) {
		r->in_rows = true;
		r->at = at;
	}
	return r->in_rows;
}

/* What is there besides rows: behind them, or in their place. */
static int read_rest(struct reader *r, const char *runtime, struct error *error)
{
	struct buffer whole = {0};
	json_error_t parse_error;
	json_t *rest;
	int result = 0;

	if (r->in_rows && !r->rows_ended)
		return none(runtime, "ends early", error);
	if (r->in_rows) {
		compact(r);
		/* From ',' or '}' on: an object again with something before it. */
		buffer_text(&whole, "{\"\":0");
		buffer_add(&whole, r->text.text, r->text.bytes);
		if (whole.failed)
			return none(runtime, strerror(ENOMEM), error);
		rest = json_loadb(whole.text, whole.bytes, 0, &parse_error);
		buffer_free(&whole);
	} else {
		rest = json_loadb(r->text.text ? r->text.text : "", r->text.bytes, 0, &parse_error);
	}
	if (!rest)
		result = none(runtime, parse_error.text, error);
	else if (refused(rest, error))
		result = -EREMOTEIO;
	else if (!r->in_rows)
		result = error_set(
			error, -EPROTO, "%s/api.sock: the answer there is no router's", runtime);
	json_decref(rest);
	return result;
}

int api_rows(const char *runtime, bool own, json_t *request, const char *what, api_row *row,
	void *context, struct error *error)
{
	struct reader r = {.row = row, .context = context};
	int fd = send_request(runtime, own, request, error), result = 0;
	bool stopped = false;

	json_decref(request);
	if (fd < 0)
		return fd;
	for (ssize_t n = 1; n > 0 && !result && !stopped;) {
		char *at = buffer_reserve(&r.text, READ_BYTES);

		n = at ? read(fd, at, READ_BYTES) : -1;
		r.text.bytes += n > 0 ? (size_t)n : 0;
		if (!at || (begins(&r, what) && !scan_rows(&r, &stopped) && !stopped))
			result = none(runtime, at ? "no JSON" : strerror(ENOMEM), error);
		if (r.in_rows && !r.rows_ended)
			compact(&r);
		if (!result && r.text.bytes > ROW_BYTES)
			result = none(runtime, "a row without an end", error);
		if (n > 0 && r.in_rows)
			row(context, NULL);
	}
	if (!result && !stopped)
		result = read_rest(&r, runtime, error);
	close(fd);
	buffer_free(&r.text);
	return result;
}

int api_watch(const char *runtime, bool own, json_t *request, api_row *line, void *context,
	struct error *error)
{
	int fd = send_request(runtime, own, request, error), result = 0;
	struct buffer text = {0};
	bool stopped = false;

	json_decref(request);
	if (fd < 0)
		return fd;
	while (!result && !stopped) {
		char *end = text.bytes ? memchr(text.text, '\n', text.bytes) : NULL;
		char *at = end ? NULL : buffer_reserve(&text, READ_BYTES);
		const ssize_t n = at ? read(fd, at, READ_BYTES) : 0;
		json_error_t parse_error;
		json_t *object;

		if (end) {
			const size_t length = (size_t)(end - text.text) + 1;

			object = json_loadb(text.text, length, 0, &parse_error);
			if (!object)
				result = none(runtime, parse_error.text, error);
			else if (refused(object, error))
				result = -EREMOTEIO;
			else
				stopped = !line(context, object);
			json_decref(object);
			text.bytes -= length;
			memmove(text.text, text.text + length, text.bytes);
		} else if (n <= 0 || text.bytes > ROW_BYTES) {
			result = error_set(error, -EPIPE,
				"%s/api.sock: the router has ended it: it has stopped, or this was "
				"too slow",
				runtime);
		}
		text.bytes += n > 0 ? (size_t)n : 0;
	}
	close(fd);
	buffer_free(&text);
	return result;
}

json_t *api_show(
	const char *runtime, bool own, const char *what, const char *to, struct error *error)
{
	json_t *answer =
		api_ask(runtime, own, json_pack("{s:s,s:s*}", "show", what, "to", to), error);

	if (!answer || json_object_get(answer, what))
		return answer;
	error_set(error, -EPROTO, "%s/api.sock: the answer there is no router's", runtime);
	json_decref(answer);
	return NULL;
}
