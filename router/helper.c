/* SPDX-License-Identifier: BSD-3-Clause */
#include "router/helper.h"
#include "router/router.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define START_MS         5000u
#define BACKOFF_FIRST_MS 20u
#define BACKOFF_LAST_MS  1000u
#define END_MS           500u

static void try_open(void *context);

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void retry(struct helper *h, const char *why)
{
	if (!h->complained)
		router_warn(
			h->router, "%s: %s; %s; tried again", h->kind->name, why, h->kind->without);
	h->complained = true;
	h->backoff_ms = !h->backoff_ms                        ? BACKOFF_FIRST_MS
			: h->backoff_ms * 2 > BACKOFF_LAST_MS ? BACKOFF_LAST_MS
							      : h->backoff_ms * 2;
	loop_after(&h->router->loop, &h->timer, h->backoff_ms, try_open, h);
}

void helper_lose(struct helper *h, const char *why)
{
	struct router *r = h->router;

	loop_unwatch(&r->loop, &h->watch);
	loop_cancel(&r->loop, &h->timer);
	close_fd(&h->socket);
	close_fd(&h->ready);
	process_signal(&h->process, SIGKILL);
	process_forget(&h->old);
	h->old = h->process;
	h->process = (struct process){.pidfd = -1};
	h->kind->lost(r);
	retry(h, why);
}

static void on_socket(void *context, uint32_t events)
{
	struct helper *h = context;

	/* Nothing comes unasked: it has hung up. */
	h->complained = true;
	router_warn(h->router, LOG_HELPER_LOST "%s: it ended; a new one is started", h->kind->name);
	helper_lose(h, "it ended");
}

void helper_identify(struct helper *h)
{
	struct ucred peer;
	socklen_t bytes = sizeof(peer);
	uint64_t started;

	if (!h->process.pid && getsockopt(h->socket, SOL_SOCKET, SO_PEERCRED, &peer, &bytes) == 0 &&
		process_started(peer.pid, &started))
		process_adopt(&h->process, peer.pid, started);
}

int helper_connected(struct helper *h)
{
	struct router *r = h->router;
	int error = loop_watch(&r->loop, &h->watch, h->socket, EPOLLIN, on_socket, h);

	if (error)
		return error;
	helper_identify(h);
	loop_cancel(&r->loop, &h->timer);
	h->kind->filled(r);
	if (h->socket >= 0 && h->complained && !r->starting)
		router_say(r, "%s: a new one %s", h->kind->name, h->kind->back);
	h->complained = false;
	h->backoff_ms = 0;
	return 0;
}

static void try_connect(struct helper *h)
{
	char path[ROUTER_PATH_BYTES];
	int error;

	router_path(h->router, h->kind->socket, path);
	h->socket = h->kind->connect(path);
	error = h->socket < 0 ? h->socket : helper_connected(h);
	if (error)
		helper_lose(h, strerror(-error));
}

static void on_ready(void *context, uint32_t events)
{
	struct helper *h = context;
	char byte;
	ssize_t n = read(h->ready, &byte, 1);

	loop_unwatch(&h->router->loop, &h->watch);
	close_fd(&h->ready);
	if (n == 1)
		try_connect(h);
	else
		helper_lose(h, "it ended at its start, and said why");
}

static void start_late(void *context)
{
	helper_lose(context, "it is not up 5 s after its start");
}

static int start(struct helper *h)
{
	struct router *r = h->router;
	char path[ROUTER_PATH_BYTES], ready_text[16];
	int ready[2], error;

	router_path(r, h->kind->socket, path);
	if (pipe2(ready, O_CLOEXEC) < 0)
		return -errno;
	snprintf(ready_text, sizeof(ready_text), "%d", ready[1]);
	const char *argv[] = {
		"p2pnic", h->kind->name, "--socket", path, "--ready-fd", ready_text, NULL};
	error = process_start(&h->process, argv, ready[1], r->tied);
	close(ready[1]);
	h->ready = ready[0];
	if (!error)
		error = loop_watch(&r->loop, &h->watch, h->ready, EPOLLIN, on_ready, h);
	if (!error)
		loop_after(&r->loop, &h->timer, START_MS, start_late, h);
	return error;
}

static void try_open(void *context)
{
	struct helper *h = context;
	char path[ROUTER_PATH_BYTES], how[64];
	int error;

	/* The one before holds the socket until its end, and is then a zombie until it is asked
	 * for. */
	if (h->old.pid && !process_ended(&h->old, how, sizeof(how))) {
		loop_after(&h->router->loop, &h->timer, BACKOFF_FIRST_MS, try_open, h);
		return;
	}
	router_path(h->router, h->kind->socket, path);
	h->socket = h->kind->connect(path);
	error = h->socket >= 0 ? helper_connected(h) : start(h);
	if (error)
		helper_lose(h, strerror(-error));
}

void helper_begin(struct helper *h)
{
	try_open(h);
}

void helper_init(struct helper *h, struct router *r, const struct helper_kind *kind)
{
	*h = (struct helper){.router = r, .kind = kind, .socket = -1, .ready = -1};
	h->process.pidfd = h->old.pidfd = -1;
}

void helper_close(struct helper *h, bool ended)
{
	struct router *r = h->router;
	char path[ROUTER_PATH_BYTES];

	loop_cancel(&r->loop, &h->timer);
	loop_unwatch(&r->loop, &h->watch);
	/* It has ended; or it hangs; or it is still starting, and holds nothing. */
	if (ended || h->socket < 0) {
		process_stop(&h->process, END_MS);
		router_path(r, h->kind->socket, path);
		unix_remove_stale(path, SOCK_SEQPACKET);
	}
	close_fd(&h->socket);
	close_fd(&h->ready);
	process_forget(&h->process);
	process_forget(&h->old);
}
