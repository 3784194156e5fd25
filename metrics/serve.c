/* SPDX-License-Identifier: BSD-3-Clause */
#include "metrics/confine.h"
#include "metrics/server.h"

#include "ipc/exchange.h"
#include "ipc/listen.h"
#include "ipc/log.h"
#include "ipc/peer.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define TICK_MS 1000

enum { SIGNALS, LISTENER, ROUTER, SOCKETS };

struct metrics {
	struct pollfd poll[SOCKETS]; /* fd -1: none */
	struct unix_listener listener;
	const char *path; /* of the listener */
	char runtime[256];
	struct metrics_order order; /* that is served */
	struct server *server;      /* NULL: none is yet */
	bool quit;
};

/* Listens, gives up what it does not need, and serves. */
static int begin(struct metrics *m, const struct metrics_order *order, struct error *error)
{
	struct endpoint endpoint;
	int result = server_open(&m->server, order, m->runtime, error);

	if (result)
		return result;
	endpoint_parse(order->listen, &endpoint);
	const char *const path[] = {m->path, endpoint.path};
	result = confine(path, 2);
	if (result)
		log_say(LOG_WARNING, "metrics", "Landlock: %s; it can open files",
			strerror(-result));
	result = server_start(m->server, error);
	if (result) {
		server_close(m->server);
		m->server = NULL;
		return result;
	}
	m->order = *order;
	return 0;
}

static bool same(const struct metrics_order *a, const struct metrics_order *b)
{
	return !strcmp(a->version, b->version) && !strcmp(a->listen, b->listen) &&
	       !strcmp(a->namespace, b->namespace) && a->public == b->public;
}

static void obey(struct metrics *m, struct metrics_order *order)
{
	struct error error = {""};

	order->version[sizeof(order->version) - 1] = 0;
	order->listen[sizeof(order->listen) - 1] = 0;
	order->namespace[sizeof(order->namespace) - 1] = 0;
	m->quit = m->server && !same(&m->order, order);
	order->result = m->quit ? -ESTALE : m->server ? 0 : begin(m, order, &error);
	snprintf(order->why, sizeof(order->why), "%.*s", (int)sizeof(order->why) - 1, error.text);
}

/* False: the router is gone, or of no use. */
static bool serve_router(struct metrics *m)
{
	const int fd = m->poll[ROUTER].fd;
	struct metrics_order order;
	unsigned count;
	const int got = exchange_receive(fd, &order, sizeof(order), NULL, 0, &count);

	if (got == -EAGAIN || got == -EINTR)
		return true;
	if (got <= 0)
		return false;
	obey(m, &order);
	return exchange_send(fd, &order, sizeof(order), NULL, 0) == 0;
}

/* The next router takes the place of the last one. */
static void accept_router(struct metrics *m)
{
	const int fd = accept4(m->listener.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return;
	if (unix_peer_is_ours(fd)) {
		close(fd);
		return;
	}
	if (m->poll[ROUTER].fd >= 0)
		close(m->poll[ROUTER].fd);
	m->poll[ROUTER].fd = fd;
}

static void run(struct metrics *m)
{
	while (!m->quit) {
		const int n = poll(m->poll, SOCKETS, TICK_MS);

		if (m->server)
			server_tick(m->server);
		if (n <= 0)
			continue;
		if (m->poll[SIGNALS].revents)
			return;
		if (m->poll[ROUTER].revents && !serve_router(m)) {
			close(m->poll[ROUTER].fd);
			m->poll[ROUTER].fd = -1;
		}
		if (m->poll[LISTENER].revents)
			accept_router(m);
	}
}

/* Before there is a socket: whoever ends it leaves none behind. */
static int open_signals(struct metrics *m)
{
	sigset_t signals;

	for (unsigned k = 0; k < SOCKETS; k++)
		m->poll[k] = (struct pollfd){.fd = -1, .events = POLLIN};
	m->listener.fd = -1;
	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	m->poll[SIGNALS].fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
	return m->poll[SIGNALS].fd < 0 ? -errno : 0;
}

static void end(struct metrics *m)
{
	server_close(m->server);
	unix_unlisten(&m->listener);
	for (unsigned k = 0; k < SOCKETS; k++)
		if (m->poll[k].fd >= 0 && k != LISTENER)
			close(m->poll[k].fd);
}

int metrics_serve(const char *path, int ready_fd)
{
	static struct metrics metrics;
	struct metrics *m = &metrics;
	const char *slash = strrchr(path, '/');
	int result = open_signals(m);

	if (!result)
		result = unix_listen(&m->listener, path, SOCK_SEQPACKET | SOCK_NONBLOCK, 0600, 4);
	if (result) {
		end(m);
		return result;
	}
	m->path = path;
	m->poll[LISTENER].fd = m->listener.fd;
	snprintf(m->runtime, sizeof(m->runtime), "%.*s", slash ? (int)(slash - path) : 1,
		slash ? path : ".");
	if (ready_fd >= 0) {
		if (write(ready_fd, "", 1) != 1)
			log_say(LOG_WARNING, "metrics", "nobody waits for it to be ready");
		close(ready_fd);
	}
	run(m);
	end(m);
	return 0;
}

int metrics_run(const struct metrics_order *order, const char *runtime, struct error *error)
{
	static struct metrics metrics;
	struct metrics *m = &metrics;
	int result = open_signals(m);

	snprintf(m->runtime, sizeof(m->runtime), "%s", runtime);
	result = result ? error_set(error, result, "signals: %s", strerror(-result))
			: begin(m, order, error);
	if (!result) {
		log_say(LOG_INFO, "metrics", "listens at %s", order->listen);
		run(m);
	}
	end(m);
	return result;
}
