/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The punt process is asked as the keeper is: each request takes some microseconds, and one that
 * hangs costs its deadline once and is killed. That costs no frame but those which come until
 * another one serves the rings, since this router holds the same descriptors.
 */
#include "router/kernel.h"
#include "router/policers.h"
#include "router/router.h"
#include "router/tap.h"
#include "router/tap_follow.h"

#include "ipc/exchange.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define SHORTAGE_MS 500u
#define TICK_MS     1000u
#define END_MS      500u
#define WAKE_MS     1000u /* for one that was stopped, after SIGCONT */

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/* --- What the punt process has ---------------------------------------------------------------- */

static void tick(void *context);

/* Of a request. */
static bool done(struct router_nic *nic, int result)
{
	struct router *r = nic->router;
	char why[128];

	if (!result)
		return true;
	snprintf(why, sizeof(why), "nic %s: %s", nic->name, strerror(-result));
	if (result == -ETIMEDOUT || result == -ECONNRESET || result == -EPROTO) {
		helper_lose(&r->punt, why);
	} else {
		if (!r->punt.complained)
			router_warn(r, "punt: %s; tried again", why);
		r->punt.complained = true;
		loop_after(&r->loop, &r->punt.timer, SHORTAGE_MS, tick, r);
	}
	return false;
}

/* Of an earlier router's rings it serves what it has, until they are adopted: without them the tap
 * would lose its carrier, and the kernel its routes. */
static bool can_be_served(const struct host_face *f)
{
	return f->tap >= 0 && f->memory < 0;
}

static void serve(struct router_nic *nic)
{
	struct host_face *f = &nic->face;
	struct host_share share[HOST_PARTS];

	if (nic->router->punt.socket < 0 || f->served || !can_be_served(f))
		return;
	if (f->rings.nic)
		host_rings_share(&f->rings, share);
	f->served = done(nic, punt_take(nic->router->punt.socket, nic->name, f->tap,
				      f->rings.nic ? share : NULL));
}

/* It has let go of the rings, or is dead, when this returns. */
static void unserve(struct router_nic *nic)
{
	struct host_face *f = &nic->face;

	if (nic->router->punt.socket >= 0 && f->tap >= 0)
		done(nic, punt_take(nic->router->punt.socket, nic->name, f->tap, NULL));
	f->served = false;
}

static void serve_all(struct router *r)
{
	for (unsigned k = 0; k < r->config->nics_count; k++)
		serve(&r->nic[k]);
	if (r->punt.socket >= 0 && !r->punt.timer.fired)
		loop_after(&r->loop, &r->punt.timer, TICK_MS, tick, r);
}

static void forget_all(struct router *r)
{
	for (unsigned k = 0; k < r->config->nics_count; k++)
		r->nic[k].face.served = false;
}

const struct helper_kind punt_kind = {
	.name = "punt",
	.socket = "punt.sock",
	.without = "taps and NICs exchange no frames until there is one",
	.back = "serves the taps",
	.connect = exchange_connect,
	.filled = serve_all,
	.lost = forget_all,
};

/* --- Taps ------------------------------------------------------------------------------------- */

static int make_tap(struct router_nic *nic)
{
	struct router *r = nic->router;
	struct host_face *f = &nic->face;
	struct error error;
	const unsigned mtu = *r->config->nics[nic - r->nic].mtu;
	const int tap = tap_make(&r->netns, nic->name, mtu, &error);

	if (tap < 0)
		return router_fail(r, tap, "%s", error.text);
	f->tap = tap;
	f->given = (struct mac_addr){0};
	f->found = f->kept = f->served = false;
	return 0;
}

/* The NIC's address is the tap's, unless somebody has given the tap another one since. */
static int agree_on_mac(struct router_nic *nic)
{
	static const struct mac_addr none;
	const struct mac_addr own = nic->driver.mac;
	struct host_face *f = &nic->face;
	struct router *r = nic->router;
	const bool fresh = !memcmp(&f->given, &none, sizeof(none));
	struct mac_addr is;
	int result = tap_mac(f->tap, &is);

	if (!result && memcmp(&is, &own, sizeof(own)) != 0) {
		if (!fresh && (nic->driver.adopted || !memcmp(&f->given, &own, sizeof(own))))
			result = driver_nic_set_mac(&nic->driver, is);
		else
			result = tap_set_mac(f->tap, own);
	}
	if (result)
		return router_fail(
			r, result, "%s: address of its tap: %s", nic->name, strerror(-result));
	if (fresh || !nic->driver.adopted) {
		f->kept = f->kept && !memcmp(&f->given, &own, sizeof(own));
		f->given = own;
	}
	r->mac[nic - r->nic] = nic->driver.mac;
	return 0;
}

void host_face_found(struct router_nic *nic, struct mac_addr given, const int *fds, unsigned count)
{
	struct host_face *f = &nic->face;

	if (f->tap >= 0 || count == 0 || !tap_is_there(fds[0]) ||
		!tap_is_in(fds[0], &nic->router->netns)) {
		exchange_close_all(fds, count);
		return;
	}
	f->tap = fds[0];
	f->given = given;
	f->found = f->kept = true;
	if (count == 3) {
		f->memory = fds[1];
		f->event = fds[2];
	}
}

/* --- The punt process at a router's start ----------------------------------------------------- */

/* Taps that only it has: the keeper ended before the router did. Faces that are none of this
 * configuration's are dropped. */
static int ask_for_taps(struct router *r)
{
	struct punt_message m;
	int tap, result;

	for (unsigned k = 0; !(result = punt_get(r->punt.socket, k, &m, &tap));) {
		const int index = config_nic_index(r->config, m.name);
		struct host_face *f = index >= 0 ? &r->nic[index].face : NULL;

		if (f && f->tap < 0) {
			host_face_found(&r->nic[index], (struct mac_addr){0}, &tap, 1);
			f->kept = false;
		} else {
			close(tap);
		}
		/* The next one takes the place of one that is dropped. */
		k += (f && f->tap >= 0) || punt_drop(r->punt.socket, m.name) != 0;
	}
	return result == -ENOENT ? 0 : result;
}

static void connect_punt(struct router *r)
{
	struct helper *h = &r->punt;
	char path[ROUTER_PATH_BYTES];
	int error;

	router_path(r, h->kind->socket, path);
	h->socket = exchange_connect(path);
	if (h->socket < 0) {
		h->socket = -1;
		if (r->config->kernel)
			helper_begin(h);
		return;
	}
	helper_identify(h);
	process_signal(&h->process, SIGCONT);
	punt_patience_ms += WAKE_MS;
	error = r->config->kernel ? ask_for_taps(r) : punt_quit(h->socket);
	punt_patience_ms -= WAKE_MS;
	if (!error && r->config->kernel)
		error = helper_connected(h);
	else
		close_fd(&h->socket);
	if (!error)
		return;
	/* What it had, the keeper had too. */
	close_fd(&h->socket);
	process_stop(&h->process, END_MS);
	if (r->config->kernel)
		helper_begin(h);
}

int host_faces_begin(struct router *r)
{
	struct error error;
	int result;

	if (!r->config->kernel)
		return 0;
	result = netns_open(&r->netns, r->config->kernel->namespace, &error);
	return result ? router_fail(r, result, "%s", error.text) : 0;
}

int host_faces_open(struct router *r)
{
	int result = 0;

	connect_punt(r);
	for (unsigned k = 0; r->config->kernel && !result && k < r->config->nics_count; k++) {
		if (!config_nic_used(&r->config->nics[k]))
			continue;
		if (r->nic[k].face.tap < 0)
			result = make_tap(&r->nic[k]);
		if (!result) {
			kernel_set_link(r, k, tap_index(r->nic[k].face.tap, &r->netns));
			keep_put_face(&r->nic[k]);
		}
		if (!result)
			serve(&r->nic[k]);
	}
	return result;
}

void host_face_open(struct router_nic *nic)
{
	if (!nic->router->config->kernel || nic->face.tap >= 0)
		return;
	if (make_tap(nic)) {
		router_warn(
			nic->router, "nic %s: %s; tried again", nic->name, nic->router->error.text);
		nic->face.complained = true;
		return;
	}
	keep_put_face(nic);
	serve(nic);
}

bool host_faces_settled(const struct router *r)
{
	bool all = r->punt.socket >= 0;

	for (unsigned k = 0; k < r->config->nics_count; k++)
		all = all && (r->nic[k].face.served || !can_be_served(&r->nic[k].face));
	return all || r->punt.complained || !r->config->kernel;
}

void host_faces_close(struct router *r, bool leave)
{
	struct helper *h = &r->punt;

	if (!leave && h->socket >= 0) {
		loop_unwatch(&r->loop, &h->watch);
		punt_quit(h->socket);
	}
	helper_close(h, !leave);
	for (unsigned k = 0; r->nic && r->unit && k < r->config->nics_count; k++) {
		struct host_face *f = &r->nic[k].face;

		host_rings_leave(&f->rings);
		close_fd(&f->tap);
		close_fd(&f->memory);
		close_fd(&f->event);
	}
	netns_close(&r->netns);
}

/* It was deleted, or could not be made before. */
static void renew_tap(struct router_nic *nic)
{
	struct host_face *f = &nic->face;
	struct router *r = nic->router;

	close_fd(&f->tap);
	if (make_tap(nic) || (nic->driver.device && agree_on_mac(nic))) {
		if (!f->complained)
			router_warn(r, "nic %s: %s; tried again", nic->name, r->error.text);
		f->complained = true;
		close_fd(&f->tap);
		return;
	}
	router_warn(
		r, "nic %s: its tap was deleted, and is made again without addresses", nic->name);
	f->complained = false;
	keep_put_face(nic);
}

/* Once a second: does the punt process answer, are the taps there? */
static void tick(void *context)
{
	struct router *r = context;
	struct punt_message m;
	int tap, result;

	for (unsigned k = 0; k < r->config->nics_count; k++)
		if (config_nic_used(&r->config->nics[k]) && r->nic[k].unit &&
			(r->nic[k].face.tap < 0 || !tap_is_there(r->nic[k].face.tap)))
			renew_tap(&r->nic[k]);
	result = punt_get(r->punt.socket, 0, &m, &tap);
	if (!result)
		close(tap);
	if (!result || result == -ENOENT)
		serve_all(r);
	else
		helper_lose(&r->punt, strerror(-result));
}

/* --- A NIC comes and goes --------------------------------------------------------------------- */

static int open_rings(struct router_nic *nic)
{
	struct router *r = nic->router;
	struct host_face *f = &nic->face;
	const uint32_t slots = *r->config->kernel->slots;
	const uint64_t offset = fabric_host_buffers(&r->fabric);
	struct error error;
	int result = -ENOENT;

	if (f->memory >= 0 && nic->driver.adopted)
		result = host_rings_adopt(
			&f->rings, &nic->driver, slots, offset, f->memory, f->event, &error);
	if (!result) {
		f->memory = f->event = -1; /* the rings' now */
		return 0;
	}
	if (result != -ENOENT)
		return router_fail(r, result, "%s", error.text);
	close_fd(&f->memory);
	close_fd(&f->event);
	unserve(nic);
	f->kept = false;
	result = host_rings_open(&f->rings, &nic->driver, slots, offset, &error);
	return result ? router_fail(r, result, "%s", error.text) : 0;
}

int host_face_join(struct router_nic *nic)
{
	struct router *r = nic->router;
	int result = 0;

	if (!r->config->kernel)
		return 0;
	if (!nic->face.rings.nic)
		result = open_rings(nic);
	if (!result)
		result = agree_on_mac(nic);
	if (result)
		return result;
	tap_follow_again(nic);
	policers_write(&nic->driver, r->config);
	keep_put_face(nic);
	nic->face.served = false;
	serve(nic);
	return 0;
}

void host_face_leave(struct router_nic *nic)
{
	struct host_face *f = &nic->face;

	if (!f->rings.nic)
		return;
	unserve(nic);
	host_rings_close(&f->rings);
	f->kept = false;
	keep_put_face(nic);
}

void host_face_wake(const struct router_nic *nic)
{
	if (nic->face.rings.nic)
		eventfd_write(nic->face.rings.event, 1);
}

void host_face_drop(struct router_nic *nic)
{
	struct host_face *f = &nic->face;

	if (nic->router->punt.socket >= 0)
		punt_drop(nic->router->punt.socket, nic->name);
	keep_drop_face(nic);
	close_fd(&f->tap);
}

void host_faces_count(struct router *r, struct host_tally tally[P2PNIC_NICS_MAX])
{
	struct punt_message m;
	int tap, result = -ENOENT;

	memset(tally, 0, P2PNIC_NICS_MAX * sizeof(*tally));
	for (unsigned k = 0;
		r->punt.socket >= 0 && !(result = punt_get(r->punt.socket, k, &m, &tap)); k++) {
		const int index = config_nic_index(r->config, m.name);

		close(tap);
		if (index >= 0)
			tally[index] = (struct host_tally){m.flags, m.counts};
	}
	if (result == -ETIMEDOUT || result == -ECONNRESET || result == -EPROTO)
		helper_lose(&r->punt, strerror(-result));
}
