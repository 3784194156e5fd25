/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A process that this router starts has START_MS to bring its NICs up, and NIC_MS for each NIC of
 * the router: the kernel opens one network card after the other, and igb takes some four seconds
 * for each. One of an earlier router may take as long as it likes, since it forwards meanwhile. One
 * whose NICs are of no use gets SIGTERM, and SIGKILL after END_MS; when it has ended, its NICs are
 * lost and it is started again.
 */
#include "router/soft_process.h"

#include "ipc/clock.h"
#include "ipc/peer.h"
#include "router/plan.h"
#include "router/router.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>

#define START_MS    10000u
#define NIC_MS      5000u
#define MOMENT_MS   10u
#define END_MS      1000u /* from SIGTERM to SIGKILL */
#define EVICT_TRIES 5u    /* SIGTERMs, in 0.3 s; the backlog is 8 (vfio_user.c) */

static const char *describe(const struct nic_unit *u, char text[NIC_UNIT_TEXT_BYTES])
{
	snprintf(text, NIC_UNIT_TEXT_BYTES, "process %d", u->process.pid);
	return text;
}

static int open_nic(struct router_nic *nic, struct error *error)
{
	char where[ROUTER_PATH_BYTES + 16];
	struct ucred peer;
	int result;

	snprintf(where, sizeof(where), "vfio-user:%s", nic->socket);
	result = device_open_begin(&nic->device, where, error);
	if (result)
		return result == -ENOENT || result == -ECONNREFUSED ? -EAGAIN : result;
	/* Another one's: the process that was started says so when it finds its place taken. */
	if (unix_peer(device_fd(nic->device), &peer) || peer.pid != nic->unit->process.pid) {
		device_close(nic->device);
		return error_set(error, -EAGAIN, "%s: another process listens there", where);
	}
	return 0;
}

static void gone(void *context, uint32_t events)
{
	struct nic_unit *u = context;
	struct router *r = u->router;
	struct error why;
	char how[64];

	if (!process_ended(&u->process, how, sizeof(how)))
		return;
	loop_unwatch(&r->loop, &u->watch);
	error_set(&why, -ECHILD, "process %s of its NICs %s", u->name, how);
	for (struct router_nic *nic = unit_next(u, NULL); nic; nic = unit_next(u, nic)) {
		if (nic->state != NIC_DOWN || !u->ending)
			router_warn(r,
				LOG_NIC_LOST
				"nic %s: its process %s; the others forward on, it is started "
				"again",
				nic->name, how);
		nic_lose(nic);
		nic->restarts += !r->starting;
	}
	u->ending = false;
	unit_later(u, why.text);
}

static void kill_late(void *context)
{
	struct nic_unit *u = context;

	process_signal(&u->process, SIGKILL);
	/* Its end is watched; it was not, if there was no room for that. */
	loop_after(&u->router->loop, &u->timer, END_MS, kill_late, u);
	gone(u, 0);
}

static void end(struct nic_unit *u, const char *why)
{
	if (!u->process.pid) {
		unit_later(u, why);
		return;
	}
	u->ending = true;
	process_signal(&u->process, SIGTERM);
	loop_after(&u->router->loop, &u->timer, END_MS, kill_late, u);
}

static unsigned patience_ms(const struct nic_unit *u)
{
	return START_MS + NIC_MS * u->router->config->nics_count;
}

static void start_late(void *context)
{
	struct nic_unit *u = context;
	struct error why;

	error_set(&why, -ETIMEDOUT, "process %s is not up %u s after its start", u->name,
		patience_ms(u) / 1000);
	unit_fail(u, why.text);
	process_signal(&u->process, SIGKILL);
}

static void watch_end(struct nic_unit *u)
{
	struct router *r = u->router;
	int error = loop_watch(&r->loop, &u->watch, u->process.pidfd, EPOLLIN, gone, u);

	if (error && r->starting)
		r->failed = router_fail(r, error, "process %s: %s", u->name, strerror(-error));
	/* Not watched: its connection tells. */
}

static int adopt(struct nic_unit *u, pid_t pid, uint64_t started)
{
	int result = process_adopt(&u->process, pid, started);

	if (!result)
		watch_end(u);
	return result;
}

static void begin_again(void *context);

static void begin(struct nic_unit *u)
{
	struct router *r = u->router;
	bool taken = false;
	int error;

	/*
	 * Of an earlier router whose keeper died too. Each try takes a place in its backlog, which
	 * one that hangs does not free: few tries, further and further apart.
	 */
	for (struct router_nic *nic = unit_next(u, NULL); nic; nic = unit_next(u, nic))
		taken |= process_evict(nic->socket, u->evicting < EVICT_TRIES ? SIGTERM : SIGKILL);
	if (taken) {
		loop_after(&r->loop, &u->timer, MOMENT_MS << u->evicting, begin_again, u);
		u->evicting += u->evicting < EVICT_TRIES;
		return;
	}
	u->evicting = 0;
	error = plan_start(r, u);
	u->born_ns = clock_now_ns();
	if (error) {
		if (!r->starting)
			router_warn(r, "%s; tried again", r->error.text);
		unit_later(u, r->error.text);
		return;
	}
	watch_end(u);
	loop_after(&r->loop, &u->timer, patience_ms(u), start_late, u);
	unit_connect(u);
}

static void begin_again(void *context)
{
	begin(context);
}

void soft_process_forget(struct nic_unit *u)
{
	loop_unwatch(&u->router->loop, &u->watch);
	process_forget(&u->process);
}

const struct nic_backend soft_process_backend = {
	.begin = begin,
	.open = open_nic,
	.adopt = adopt,
	.end = end,
	.describe = describe,
};
