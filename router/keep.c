/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The keeper's failures are never the data path's: NICs come up and forward without one, and it is
 * tried for ever. One that does not answer is killed, which costs nothing while this router holds
 * the same descriptors; at a router's start it may be the only holder of what an earlier one left,
 * and is let alone.
 */
#include "router/router.h"

#include "driver/keeper.h"
#include "ipc/exchange.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SHORTAGE_MS  500u
#define WAKE_MS      1000u /* for one that was stopped, after SIGCONT */
/* One that is ending accepts connections until its socket is closed: how often, and after how long,
 * the next try is made. */
#define ENDING_TRIES 25u
#define ENDING_MS    20l

/* --- What it holds ---------------------------------------------------------------------------- */

static void keep_all(struct router *r)
{
	for (unsigned n = 0; n < r->config->nics_count; n++) {
		if (r->nic[n].state >= NIC_JOINING && !r->nic[n].kept)
			keep_put(&r->nic[n]);
		keep_put_face(&r->nic[n]);
	}
}

static void keep_again(void *context)
{
	keep_all(context);
}

/* Of a request. */
static bool done(struct router *r, const char *name, int result)
{
	char why[128];

	if (!result || result == -ENOENT)
		return true;
	snprintf(why, sizeof(why), "nic %s: %s", name, strerror(-result));
	if (result == -ETIMEDOUT || result == -ECONNRESET || result == -EPROTO) {
		helper_lose(&r->keeper, why);
	} else {
		if (!r->keeper.complained)
			router_warn(r, "keeper: %s; tried again", why);
		r->keeper.complained = true;
		loop_after(&r->loop, &r->keeper.timer, SHORTAGE_MS, keep_again, r);
	}
	return false;
}

void keep_put(struct router_nic *nic)
{
	struct router *r = nic->router;
	const char *name = nic->name;
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
	const char *name = nic->name;

	if (nic->kept && r->keeper.socket >= 0)
		done(r, name, keeper_drop(r->keeper.socket, name));
	nic->kept = false;
}

static void face_item(const struct router_nic *nic, char item[KEEPER_NAME_BYTES])
{
	snprintf(item, KEEPER_NAME_BYTES, KEEP_FACE "%s", nic->name);
}

void keep_put_face(struct router_nic *nic)
{
	struct router *r = nic->router;
	struct host_face *f = &nic->face;
	const int fds[] = {f->tap, f->rings.memory_fd, f->rings.event};
	char item[KEEPER_NAME_BYTES], mac[ADDRESS_TEXT_BYTES];

	if (r->keeper.socket < 0 || f->kept || f->tap < 0)
		return;
	face_item(nic, item);
	f->kept = done(r, item,
		keeper_put(r->keeper.socket, item, mac_text(f->given, mac), fds,
			f->rings.nic ? 3 : 1));
}

void keep_drop_face(struct router_nic *nic)
{
	struct router *r = nic->router;
	char item[KEEPER_NAME_BYTES];

	face_item(nic, item);
	if (nic->face.kept && r->keeper.socket >= 0)
		done(r, item, keeper_drop(r->keeper.socket, item));
	nic->face.kept = false;
}

/* --- Life ------------------------------------------------------------------------------------- */

static void forget_all(struct router *r)
{
	for (unsigned n = 0; n < r->config->nics_count; n++)
		r->nic[n].kept = r->nic[n].face.kept = false;
}

const struct helper_kind keep_kind = {
	.name = "keeper",
	.socket = "keeper.sock",
	.without = "NICs end with this router until there is one",
	.back = "holds the NICs",
	.connect = exchange_connect,
	.filled = keep_all,
	.lost = forget_all,
};

bool keep_settled(const struct router *r)
{
	bool all = r->keeper.socket >= 0;

	for (unsigned n = 0; n < r->config->nics_count; n++)
		all &= (r->nic[n].kept || r->nic[n].state < NIC_JOINING) &&
		       (r->nic[n].face.kept || r->nic[n].face.tap < 0);
	return all || r->keeper.complained;
}

/* At a router's start: is the one that is there well? One that was stopped is woken. */
static int answers(struct router *r)
{
	struct helper *k = &r->keeper;
	struct keeper_message m;
	int fds[KEEPER_FDS], result;
	unsigned count;

	process_signal(&k->process, SIGCONT);
	keeper_timeout_ms += WAKE_MS;
	result = keeper_get(k->socket, KEEPER_ITEMS, &m, fds, &count);
	keeper_timeout_ms -= WAKE_MS;
	return result == -ENOENT ? 0 : result;
}

/* Connects to the one that is there. -ECONNREFUSED, -ENOENT: there is none. */
static int join(struct router *r, const char *path)
{
	struct helper *k = &r->keeper;
	int error;

	k->socket = exchange_connect(path);
	error = k->socket < 0 ? k->socket : helper_connected(k);
	if (!error)
		error = answers(r);
	if (!error)
		return 0;
	loop_unwatch(&r->loop, &k->watch);
	if (k->socket >= 0)
		close(k->socket);
	k->socket = -1;
	return error;
}

int keep_open(struct router *r)
{
	struct helper *k = &r->keeper;
	char path[ROUTER_PATH_BYTES];
	int error;

	router_path(r, "keeper.sock", path);
	error = join(r, path);
	for (unsigned n = 0; (error == -ECONNRESET || error == -EPIPE) && n < ENDING_TRIES; n++) {
		process_forget(&k->process);
		nanosleep(&(struct timespec){.tv_nsec = ENDING_MS * 1000000}, NULL);
		error = join(r, path);
	}
	if (error == -ENOENT || error == -ECONNREFUSED) {
		helper_begin(k);
		return 0;
	}
	r->found = true; /* as far as is known */
	if (!error)
		return 0;
	router_fail(r, error,
		"keeper at %s, process %d: %s; NICs of an earlier router may depend on it: mend "
		"it, or end it and with it their connections",
		path, k->process.pid, strerror(-error));
	process_forget(&k->process);
	return error;
}

void keep_close(struct router *r, bool leave)
{
	struct helper *k = &r->keeper;

	if (!leave && k->socket >= 0) {
		loop_unwatch(&r->loop, &k->watch);
		keeper_quit(k->socket);
	}
	helper_close(k, !leave);
}
