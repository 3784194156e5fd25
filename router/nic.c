/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * NICs, as state machines.
 *
 *   DOWN ─unit_begin─▶ CONNECTING ─greeted─▶ JOINING ─▶ FACING ─▶ LOADING ─▶ FORWARDING
 *     ▲                      ▲                 │ a step fails          │
 *     │                      └─ nic_adopt      ▼                       │ connection lost
 *     └─ its end, then a backoff ◀── what the backend does ◀──── unit_fail ◀┘
 *
 * nic_step takes the next step and is called again when that may help: after a moment (-EAGAIN),
 * when the NIC answers again (-ETIMEDOUT), later (a shortage of ours, which says nothing about the
 * NIC). Any other failure is the NIC's: its unit ends and is begun again.
 */
#include "ipc/clock.h"
#include "router/capture.h"
#include "router/events.h"
#include "router/nics_change.h"
#include "router/reload.h"
#include "router/router.h"
#include "router/settings.h"

#include "ipc/log.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define MOMENT_MS        10u
#define SHORTAGE_MS      200u
#define TICK_MS          1000u /* in that time a NIC answers a question… */
#define ASK_MS           500u  /* …and in that if somebody waits for it */
#define BACKOFF_FIRST_MS 100u
#define BACKOFF_LAST_MS  5000u
#define SETTLED_NS                                                                                 \
	10000000000ull /* a unit that lived so long starts with the first backoff again */
#define MEND_SOON 50u  /* tries a moment apart; then a second apart */
#define MEND_MS   1000u

static void on_connection(void *context, uint32_t events);
static void note_answers(struct router *r);
static void note_silence(struct router_nic *nic);
static int listen_to(struct router_nic *nic);
static void step_again(void *context);

static unsigned index_of(const struct router_nic *nic)
{
	return (unsigned)(nic - nic->router->nic);
}

struct router_nic *unit_next(const struct nic_unit *u, struct router_nic *nic)
{
	struct router *r = u->router;

	for (nic = nic ? nic + 1 : r->nic; nic < r->nic + r->config->nics_count; nic++)
		if (nic->unit == u)
			return nic;
	return NULL;
}

/* --- A NIC goes ------------------------------------------------------------------------------- */

void nic_forget(struct router_nic *nic)
{
	loop_cancel(&nic->router->loop, &nic->timer);
	loop_unwatch(&nic->router->loop, &nic->watch);
	host_rings_leave(&nic->face.rings);
	if (nic->driver.device)
		driver_nic_detach(&nic->driver);
	else
		device_close(nic->device);
	nic->device = NULL;
	nic->state = NIC_DOWN;
	nic->silent = false;
}

void nic_lose(struct router_nic *nic)
{
	host_face_leave(nic);
	if (nic->driver.device)
		fabric_remove(&nic->router->fabric, &nic->driver);
	/* The last holder of a function puts it to rest (pci_sysfs.h). */
	keep_drop(nic);
	nic_forget(nic);
}

/* --- A NIC comes ------------------------------------------------------------------------------ */

static int connect_step(struct router_nic *nic)
{
	struct router *r = nic->router;
	struct error error = {""};
	int result = 0;

	if (!nic->device) {
		result = nic->unit->backend->open(nic, &error);
		if (result) {
			nic->device = NULL;
			return router_fail(r, result, "%s", error.text);
		}
		nic->device->timeout_ms = ROUTER_DEADLINE_MS;
		result = listen_to(nic);
	}
	if (!result)
		result = device_progress(nic->device);
	if (!result)
		return 0;
	/* Its answer comes by the loop. */
	if (result == -EAGAIN)
		return -EINPROGRESS;
	router_fail(r, result, "%s: %s", nic->name, device_error(nic->device));
	if (result != -EBUSY)
		return result;
	/* Of a router before us that was killed: it has not noticed yet. */
	loop_unwatch(&r->loop, &nic->watch);
	device_close(nic->device);
	nic->device = NULL;
	return -EAGAIN;
}

static int join_step(struct router_nic *nic)
{
	struct router *r = nic->router;
	const unsigned index = index_of(nic);
	const struct config_nic *n = &r->config->nics[index];
	struct error error = {""};
	int result = 0;

	if (!nic->driver.device)
		result = driver_nic_attach(&nic->driver, n->name, index, nic->device, &error);
	/* It was lost but ran on: what was posted meanwhile did not arrive, so rings have holes. */
	if (!result && nic->driver.adopted && nic->restarts)
		result = driver_nic_reset(&nic->driver, &error);
	if (result)
		return router_fail(r, result, "%s", error.text);
	keep_put(nic);
	result = settings_write(r, index, NULL, r->config);
	/* A soft NIC was started with it. */
	if (!result && !n->port.type && n->mac)
		result = driver_nic_set_mac(&nic->driver, n->mac_address);
	if (result)
		return router_fail(r, result, "%s: %s", n->name, device_error(nic->driver.device));
	result = events_watch(nic);
	if (device_error_passes(result))
		return router_fail(r, result, "%s: %s", n->name, device_error(nic->driver.device));
	result = fabric_add(&r->fabric, &nic->driver, &error);
	if (result)
		return router_fail(r, result, "%s", error.text);
	nic->unpublished |= memcmp(&r->mac[index], &nic->driver.mac, sizeof(r->mac[index])) != 0;
	r->mac[index] = nic->driver.mac;
	nics_mend(r); /* pairs that had to wait */
	return 0;
}

static int load_step(struct router_nic *nic)
{
	struct router *r = nic->router;
	struct error error = {""};
	int result;

	if (!r->table)
		return -EINPROGRESS;
	/* Its peers can reach it: now routes may lead to it. */
	if (nic->unpublished)
		router_publish(r);
	result = table_load(r->table, &nic->driver, &error);
	if (result)
		return router_fail(r, result, "%s", error.text);
	nics_mend(r); /* NICs that an older one has put out of step */
	if (nic->driver.adopted)
		return 0;
	result = driver_nic_command(&nic->driver, P2PNIC_OP_START, 0);
	if (result != P2PNIC_OK)
		return router_fail(r, result < 0 ? result : -EIO, "%s: start: %s", nic->driver.name,
			driver_nic_result(result));
	return 0;
}

/* All NICs of a unit are up as far as they can be: no deadline any more. */
static void unit_settled(struct nic_unit *u)
{
	bool up = true;

	for (struct router_nic *nic = unit_next(u, NULL); nic; nic = unit_next(u, nic))
		up &= nic->state >= NIC_LOADING;
	if (up && !u->ending)
		loop_cancel(&u->router->loop, &u->timer);
}

static const char *describe(const struct router_nic *nic, char text[NIC_UNIT_TEXT_BYTES])
{
	return nic->unit->backend->describe(nic->unit, text);
}

static void forwards(struct router_nic *nic)
{
	struct router *r = nic->router;
	char text[NIC_UNIT_TEXT_BYTES];

	if (nic->restarts && !nic->driver.adopted)
		router_say(r, LOG_NIC_BACK "nic %s: back, %s", nic->name, describe(nic, text));
	else if (nic->unit->adopted)
		router_say(r, "nic %s: %s, %s", nic->name,
			nic->driver.adopted ? "adopted, it forwards on" : "connected again",
			describe(nic, text));
	else if (!r->starting)
		router_say(r, "nic %s: added, %s", nic->name, describe(nic, text));
	router_capture_nic(nic);
}

static int listen_to(struct router_nic *nic)
{
	return loop_watch(&nic->router->loop, &nic->watch, device_fd(nic->device), EPOLLIN,
		on_connection, nic);
}

/* Not now, for want of something here. What came is there still, and the loop would not wait. */
static void step_later(struct router_nic *nic)
{
	loop_unwatch(&nic->router->loop, &nic->watch);
	loop_after(&nic->router->loop, &nic->timer, SHORTAGE_MS, step_again, nic);
}

static void step_again(void *context)
{
	struct router_nic *nic = context;

	if (nic->device && !nic->watch.ready && listen_to(nic))
		loop_after(&nic->router->loop, &nic->timer, SHORTAGE_MS, step_again, nic);
	else
		nic_step(nic);
}

void nic_step(struct router_nic *nic)
{
	struct router *r = nic->router;
	int result = 0;

	if (nic->state == NIC_DOWN || nic->state == NIC_FORWARDING)
		return;
	/* It is not listened to: that comes first. */
	if (nic->device && !nic->watch.ready && nic->timer.fired)
		return;
	loop_cancel(&r->loop, &nic->timer);
	while (!result && nic->state != NIC_FORWARDING) {
		result = nic->state == NIC_CONNECTING ? connect_step(nic)
			 : nic->state == NIC_JOINING  ? join_step(nic)
			 : nic->state == NIC_FACING   ? host_face_join(nic)
						      : load_step(nic);
		if (!result)
			nic->state++;
	}
	unit_settled(nic->unit);
	if (!result && nic->state == NIC_FORWARDING)
		forwards(nic);
	if (!result || result == -EINPROGRESS)
		return;
	if (result == -EAGAIN) {
		loop_after(&r->loop, &nic->timer, MOMENT_MS, step_again, nic);
	} else if (device_error_passes(result)) {
		if (r->starting)
			r->failed = r->failed ? r->failed : result;
		step_later(nic);
	} else if (nic->device && device_silent(nic->device)) {
		/* on_connection comes back here when it answers. */
	} else {
		unit_fail(nic->unit, r->error.text);
	}
}

void nic_adopt(struct router_nic *nic, struct device *device)
{
	nic->device = device;
	device->timeout_ms = ROUTER_DEADLINE_MS;
	nic->kept = true;
	nic->state = NIC_CONNECTING;
	int result = listen_to(nic);
	/* A PCI function says nothing by itself. */
	loop_after(&nic->router->loop, &nic->timer, 0, step_again, nic);
	if (result)
		nic->router->failed =
			router_fail(nic->router, result, "%s: %s", nic->name, strerror(-result));
}

/* --- A NIC speaks, or does not ---------------------------------------------------------------- */

static void answers_again(struct router_nic *nic)
{
	router_say(nic->router, LOG_NIC_ANSWERS "nic %s: answers again", nic->name);
	nic->silent = false;
	if (nic->state >= NIC_LOADING) {
		events_look(nic);
		nics_mend(nic->router);
	}
	if (nic->state == NIC_FORWARDING) {
		router_capture_nic(nic);
	}
}

static void on_connection(void *context, uint32_t events)
{
	struct router_nic *nic = context;
	struct router *r = nic->router;
	int result;

	/* It timed out since, perhaps; what was done without it is to be mended. */
	note_silence(nic);
	result = nic->state == NIC_CONNECTING ? 0 : device_service(nic->device);
	if (device_error_passes(result)) {
		step_later(nic);
	} else if (result < 0) {
		/* What runs it is there perhaps, but it cannot be spoken to again. */
		unit_fail(nic->unit, device_error(nic->device));
	} else {
		if (nic->silent && !device_silent(nic->device))
			answers_again(nic);
		if (nic->state == NIC_CONNECTING || !nic->silent)
			nic_step(nic);
	}
	note_answers(r);
}

static void note_silence(struct router_nic *nic)
{
	char text[NIC_UNIT_TEXT_BYTES];

	if (nic->silent || !nic->device || !device_silent(nic->device))
		return;
	/* One that has just been started has its deadline. */
	if (nic->state == NIC_CONNECTING && !nic->unit->adopted)
		return;
	nic->silent = true;
	router_warn(nic->router,
		LOG_NIC_SILENT "nic %s: %s does not answer; what can be done without it is",
		nic->name, describe(nic, text));
}

static void ask(struct router *r)
{
	for (unsigned k = 0; k < r->config->nics_count; k++) {
		struct router_nic *nic = &r->nic[k];
		int result = nic->driver.device ? device_ask(nic->driver.device) : 0;

		/* A connection lost at our end tells nothing by itself. */
		if (result == -ENOTCONN || result == -ECONNRESET)
			unit_fail(nic->unit, device_error(nic->device));
	}
}

static void give_up(struct router *r)
{
	for (unsigned k = 0; k < r->config->nics_count; k++) {
		if (r->nic[k].device)
			device_give_up(r->nic[k].device);
		note_silence(&r->nic[k]);
	}
}

/* At most once a second: what made a NIC give a pair up may last. */
static void mend_given_up(struct router *r)
{
	struct error error;

	if (!fabric_given_up(&r->fabric, &error))
		return;
	router_warn(r,
		LOG_PAIR_FAILED
		"nic %s: transfers fail, or a window has gone; the pair is opened again",
		error.text);
	nics_mend(r);
}

static void tick(void *context)
{
	struct router *r = context;

	/* What was asked for a question, perhaps this moment, has the question's deadline. */
	if (!r->questions)
		give_up(r);
	ask(r);
	/* Only NICs that answered: reads of others look like a link down and pairs given up. */
	events_poll(r);
	mend_given_up(r);
	log_tick();
	nics_tick(r);
}

void nics_tick(struct router *r)
{
	loop_after(&r->loop, &r->tick, TICK_MS, tick, r);
}

void nics_ask_cancel(struct router *r, struct nics_question *question)
{
	struct nics_question **at = &r->questions;

	while (*at && *at != question)
		at = &(*at)->next;
	if (*at)
		*at = question->next;
	loop_cancel(&r->loop, &question->timer);
	question->done = NULL;
}

static void settle_questions(void *context)
{
	struct router *r = context;
	struct nics_question *question;

	give_up(r);
	while ((question = r->questions)) {
		loop_fired *done = question->done;

		nics_ask_cancel(r, question);
		done(question->context);
	}
}

/* What was asked of several is answered for all at once. */
static void note_answers(struct router *r)
{
	if (!r->questions)
		return;
	for (unsigned k = 0; k < r->config->nics_count; k++)
		if (r->nic[k].driver.device && device_waits(r->nic[k].driver.device))
			return;
	settle_questions(r);
}

void nics_ask(struct router *r, struct nics_question *question, loop_fired *done, void *context)
{
	nics_ask_cancel(r, question);
	question->next = r->questions;
	question->done = done;
	question->context = context;
	r->questions = question;
	ask(r);
	loop_after(&r->loop, &question->timer, ASK_MS, settle_questions, r);
	note_answers(r); /* where all are silent, or down */
}

/* --- What had to wait ------------------------------------------------------------------------- */

static bool behind(const struct router_nic *nic)
{
	return nic->state == NIC_FORWARDING && !table_in_step(nic->router->table, &nic->driver);
}

static void mend(void *context)
{
	struct router *r = context;
	struct error error = {""};
	unsigned waiting = fabric_mend(&r->fabric, &error);

	for (unsigned k = 0; k < r->config->nics_count; k++) {
		struct router_nic *nic = &r->nic[k];

		if (!behind(nic) || !nic_answers(nic))
			continue;
		if (settings_write(r, k, NULL, r->config) == 0 &&
			table_load(r->table, &nic->driver, &error) == 0)
			router_say(r, "nic %s: has the table now", nic->name);
		else
			waiting += nic_answers(nic);
	}
	if (!waiting)
		return;
	if (r->mends++ == MEND_SOON)
		router_warn(r, "%s: tried again every second", error.text);
	loop_after(&r->loop, &r->mend, r->mends < MEND_SOON ? MOMENT_MS : MEND_MS, mend, r);
}

void nics_mend(struct router *r)
{
	r->mends = 0;
	loop_after(&r->loop, &r->mend, 0, mend, r);
}

/* --- Units ------------------------------------------------------------------------------------ */

void unit_begin(struct nic_unit *u)
{
	u->backend->begin(u);
}

static void begin_again(void *context)
{
	unit_begin(context);
}

void unit_connect(struct nic_unit *u)
{
	for (struct router_nic *nic = unit_next(u, NULL); nic; nic = unit_next(u, nic)) {
		nic->state = NIC_CONNECTING;
		loop_after(&u->router->loop, &nic->timer, MOMENT_MS, step_again, nic);
	}
}

/* A mistake while the router starts ends it; later it is tried again. */
void unit_later(struct nic_unit *u, const char *why)
{
	struct router *r = u->router;
	const uint64_t now = clock_now_ns();

	if (u->leaving) {
		unit_over(u);
		return;
	}
	u->backoff_ms = now - u->born_ns > SETTLED_NS || !u->backoff_ms ? BACKOFF_FIRST_MS
			: u->backoff_ms * 2 > BACKOFF_LAST_MS           ? BACKOFF_LAST_MS
									: u->backoff_ms * 2;
	if (r->starting && !u->adopted && !r->failed)
		r->failed = router_fail(r, -ECHILD, "%s", why);
	u->adopted = false;
	loop_after(&r->loop, &u->timer, u->backoff_ms, begin_again, u);
}

void unit_fail(struct nic_unit *u, const char *why)
{
	struct router *r = u->router;
	struct error error; /* why may be what losing a NIC writes over */

	error_set(&error, -EIO, "%s", why);
	for (struct router_nic *nic = unit_next(u, NULL); nic; nic = unit_next(u, nic)) {
		if (!r->starting || u->adopted)
			router_warn(r, LOG_NIC_LOST "nic %s: %s", nic->name, error.text);
		nic_lose(nic);
	}
	if (r->starting && !u->adopted && !r->failed)
		r->failed = router_fail(r, -EIO, "%s", error.text);
	u->backend->end(u, error.text);
}

bool nics_settled(const struct router *r)
{
	for (unsigned k = 0; k < r->config->nics_count; k++) {
		const struct router_nic *nic = &r->nic[k];

		if (!nic->unit)
			continue;
		bool begun = nic->state != NIC_DOWN || nic->unit->timer.fired;

		if (begun && nic->state < NIC_LOADING && !(nic->unit->adopted && nic->silent))
			return false;
	}
	return true;
}
