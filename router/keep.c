/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The keeper's failures are never the data path's: NICs come up and forward without one, and it is
 * tried for ever. One that does not answer is killed, which costs nothing while this router holds
 * the same descriptors; at a router's start it may be the only holder of what an earlier one left,
 * and is let alone.
 */
#include "router/router.h"

#include "driver/keeper.h"

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
#define SHORTAGE_MS      500u
#define END_MS           500u
#define WAKE_MS          1000u /* for one that was stopped, after SIGCONT */

static void try_open(void *context);

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void retry(struct router *r, const char *why)
{
	struct router_keeper *k = &r->keeper;

	if (!k->complained)
		router_warn(r,
			"keeper: %s; NICs end with this router until there is one; tried again",
			why);
	k->complained = true;
	k->backoff_ms = !k->backoff_ms                        ? BACKOFF_FIRST_MS
			: k->backoff_ms * 2 > BACKOFF_LAST_MS ? BACKOFF_LAST_MS
							      : k->backoff_ms * 2;
	loop_after(&r->loop, &k->timer, k->backoff_ms, try_open, r);
}

/* It is of no use any more: dead, mute, or out of step. */
static void lose(struct router *r, const char *why)
{
	struct router_keeper *k = &r->keeper;

	loop_unwatch(&r->loop, &k->watch);
	loop_cancel(&r->loop, &k->timer);
	close_fd(&k->socket);
	close_fd(&k->ready);
	process_signal(&k->process, SIGKILL);
	process_forget(&k->old);
	k->old = k->process;
	k->process = (struct process){.pidfd = -1};
	for (unsigned n = 0; n < r->config->nics_count; n++)
		r->nic[n].kept = false;
	retry(r, why);
}

static void on_socket(void *context, uint32_t events)
{
	struct router *r = context;

	/* Nothing comes unasked: it has hung up. */
	r->keeper.complained = true;
	router_warn(r, "keeper: it ended; a new one is started");
	lose(r, "it ended");
}

/* --- What it holds ---------------------------------------------------------------------------- */

static void keep_all(void *context)
{
	struct router *r = context;

	for (unsigned n = 0; n < r->config->nics_count; n++)
		if (r->nic[n].state >= NIC_JOINING && !r->nic[n].kept)
			keep_put(&r->nic[n]);
}

/* Of a request. */
static bool done(struct router *r, const char *name, int result)
{
	char why[128];

	if (!result || result == -ENOENT)
		return true;
	snprintf(why, sizeof(why), "nic %s: %s", name, strerror(-result));
	if (result == -ETIMEDOUT || result == -ECONNRESET || result == -EPROTO) {
		lose(r, why);
	} else {
		if (!r->keeper.complained)
			router_warn(r, "keeper: %s; tried again", why);
		r->keeper.complained = true;
		loop_after(&r->loop, &r->keeper.timer, SHORTAGE_MS, keep_all, r);
	}
	return false;
}

void keep_put(struct router_nic *nic)
{
	struct router *r = nic->router;
	const unsigned index = (unsigned)(nic - r->nic);
	const char *name = r->config->nics[index].name;
	char text[KEEPER_TEXT_BYTES], mac[ADDRESS_TEXT_BYTES];
	int fds[DEVICE_KEEP_MAX];

	if (r->keeper.socket < 0 || nic->kept)
		return;
	int count = device_keep(nic->device, fds);

	/* adopt.c reads it. */
	snprintf(text, sizeof(text), "%d %llu %s %s %s", nic->unit->process.pid,
		(unsigned long long)nic->unit->process.started, nic->device->ops->type,
		mac_text(nic->driver.mac, mac), nic->spec);
	nic->kept = done(r, name, keeper_put(r->keeper.socket, name, text, fds, (unsigned)count));
}

void keep_drop(struct router_nic *nic)
{
	struct router *r = nic->router;
	const char *name = r->config->nics[nic - r->nic].name;

	if (nic->kept && r->keeper.socket >= 0)
		done(r, name, keeper_drop(r->keeper.socket, name));
	nic->kept = false;
}

/* --- Life ------------------------------------------------------------------------------------- */

/* Of the process at the other end, so that it can be told to end. */
static void identify(struct router_keeper *k)
{
	struct ucred peer;
	socklen_t bytes = sizeof(peer);
	uint64_t started;

	if (!k->process.pid && getsockopt(k->socket, SOL_SOCKET, SO_PEERCRED, &peer, &bytes) == 0 &&
		process_started(peer.pid, &started))
		process_adopt(&k->process, peer.pid, started);
}

static int connected(struct router *r)
{
	struct router_keeper *k = &r->keeper;
	int error = loop_watch(&r->loop, &k->watch, k->socket, EPOLLIN, on_socket, r);

	if (error)
		return error;
	identify(k);
	loop_cancel(&r->loop, &k->timer);
	keep_all(r);
	if (k->socket >= 0 && k->complained && !r->starting)
		router_say(r, "keeper: a new one holds the NICs");
	k->complained = false;
	k->backoff_ms = 0;
	return 0;
}

static void try_connect(struct router *r)
{
	struct router_keeper *k = &r->keeper;
	char path[ROUTER_PATH_BYTES];
	int error;

	router_path(r, "keeper.sock", path);
	k->socket = keeper_connect(path);
	error = k->socket < 0 ? k->socket : connected(r);
	if (error)
		lose(r, strerror(-error));
}

static void on_ready(void *context, uint32_t events)
{
	struct router *r = context;
	char byte;
	ssize_t n = read(r->keeper.ready, &byte, 1);

	loop_unwatch(&r->loop, &r->keeper.watch);
	close_fd(&r->keeper.ready);
	if (n == 1)
		try_connect(r);
	else
		lose(r, "it ended at its start, and said why");
}

static void start_late(void *context)
{
	lose(context, "it is not up 5 s after its start");
}

static int start(struct router *r)
{
	struct router_keeper *k = &r->keeper;
	char path[ROUTER_PATH_BYTES], ready_text[16];
	int ready[2], error;

	router_path(r, "keeper.sock", path);
	if (pipe2(ready, O_CLOEXEC) < 0)
		return -errno;
	snprintf(ready_text, sizeof(ready_text), "%d", ready[1]);
	const char *argv[] = {"p2pnic", "keeper", "--socket", path, "--ready-fd", ready_text, NULL};
	error = process_start(&k->process, argv, ready[1], r->tied);
	close(ready[1]);
	k->ready = ready[0];
	if (!error)
		error = loop_watch(&r->loop, &k->watch, k->ready, EPOLLIN, on_ready, r);
	if (!error)
		loop_after(&r->loop, &k->timer, START_MS, start_late, r);
	return error;
}

static void try_open(void *context)
{
	struct router *r = context;
	struct router_keeper *k = &r->keeper;
	char path[ROUTER_PATH_BYTES], how[64];
	int error;

	/* The one before holds the socket until its end, and is then a zombie until it is asked
	 * for. */
	if (k->old.pid && !process_ended(&k->old, how, sizeof(how))) {
		loop_after(&r->loop, &k->timer, BACKOFF_FIRST_MS, try_open, r);
		return;
	}
	router_path(r, "keeper.sock", path);
	k->socket = keeper_connect(path);
	error = k->socket >= 0 ? connected(r) : start(r);
	if (error)
		lose(r, strerror(-error));
}

bool keep_settled(const struct router *r)
{
	bool all = r->keeper.socket >= 0;

	for (unsigned n = 0; n < r->config->nics_count; n++)
		all &= r->nic[n].kept || r->nic[n].state < NIC_JOINING;
	return all || r->keeper.complained;
}

/* At a router's start: is the one that is there well? One that was stopped is woken. */
static int answers(struct router *r)
{
	struct router_keeper *k = &r->keeper;
	struct keeper_message m;
	int fds[KEEPER_FDS], result;
	unsigned count;

	process_signal(&k->process, SIGCONT);
	keeper_timeout_ms += WAKE_MS;
	result = keeper_get(k->socket, KEEPER_ITEMS, &m, fds, &count);
	keeper_timeout_ms -= WAKE_MS;
	return result == -ENOENT ? 0 : result;
}

int keep_open(struct router *r)
{
	struct router_keeper *k = &r->keeper;
	char path[ROUTER_PATH_BYTES];
	int error;

	router_path(r, "keeper.sock", path);
	k->socket = keeper_connect(path);
	if (k->socket == -ENOENT || k->socket == -ECONNREFUSED) {
		k->socket = -1;
		try_open(r);
		return 0;
	}
	r->found = true; /* as far as is known */
	error = k->socket < 0 ? k->socket : connected(r);
	if (!error)
		error = answers(r);
	if (!error)
		return 0;
	router_fail(r, error,
		"keeper at %s, process %d: %s; NICs of an earlier router may depend on it: mend "
		"it, or end "
		"it and with it their connections",
		path, k->process.pid, strerror(-error));
	if (k->socket >= 0)
		loop_unwatch(&r->loop, &k->watch);
	close_fd(&k->socket);
	process_forget(&k->process);
	return error;
}

void keep_close(struct router *r, bool leave)
{
	struct router_keeper *k = &r->keeper;
	char path[ROUTER_PATH_BYTES];

	loop_cancel(&r->loop, &k->timer);
	loop_unwatch(&r->loop, &k->watch);
	if (!leave && k->socket >= 0)
		keeper_quit(k->socket);
	/* It has ended; or it hangs; or it is still starting, and holds nothing. */
	if (!leave || k->socket < 0) {
		process_stop(&k->process, END_MS);
		router_path(r, "keeper.sock", path);
		unix_remove_stale(path, SOCK_SEQPACKET);
	}
	close_fd(&k->socket);
	close_fd(&k->ready);
	process_forget(&k->process);
	process_forget(&k->old);
}
