/* SPDX-License-Identifier: BSD-3-Clause */
#include "router/nics_change.h"

#include "router/kernel.h"
#include "router/router.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DRAIN_MS 20u  /* for what is in the rings */
#define STOP_MS  200u /* in that time a NIC takes its order to receive no more */

/* --- Numbers ---------------------------------------------------------------------------------- */

/* One that has left may be ending still. */
static bool place_free(const struct router *r, unsigned number)
{
	return !r->nic[number].unit &&
	       (number >= r->config->nics_count || !config_nic_used(&r->config->nics[number]));
}

static int no_place(const struct router *r, const struct config *c, struct error *error)
{
	const unsigned most = *c->router->nics_max;

	return c->nics_count > most
		       ? error_set(error, -ENOSPC,
				 "%s: nics: %u of them; this router has places for %u (nics_max): "
				 "that needs a restart; nothing changed",
				 c->path, c->nics_count, most)
		       : error_set(error, -EBUSY,
				 "%s: nics: all %u places are taken (nics_max), some by NICs that "
				 "are to go or just end: remove first, then add",
				 c->path, most);
}

static int place(const struct router *r, struct config *c, struct error *error)
{
	bool taken[P2PNIC_NICS_MAX] = {false};
	unsigned number[P2PNIC_NICS_MAX], places = r->config->nics_count, of = 0;

	for (unsigned k = 0; k < c->nics_count; k++) {
		const int was = config_nic_index(r->config, c->nics[k].name);

		number[k] = was >= 0 ? (unsigned)was : P2PNIC_NICS_MAX;
	}
	for (unsigned k = 0; k < c->nics_count; k++) {
		if (number[k] < P2PNIC_NICS_MAX)
			continue;
		while (of < P2PNIC_NICS_MAX && (taken[of] || !place_free(r, of)))
			of++;
		if (of >= *c->router->nics_max)
			return no_place(r, c, error);
		if (!fabric_room(&r->fabric, of))
			return error_set(error, -ENOSPC,
				"%s: nics: %s: the NICs' packet memory has no room for its rings: "
				"that needs a restart, with more of it or smaller rings; nothing "
				"changed",
				c->path, c->nics[k].name);
		number[k] = of;
		taken[of] = true;
		places = of + 1 > places ? of + 1 : places;
	}
	return config_place(c, number, places)
		       ? error_set(error, -ENOMEM, "out of memory for a configuration")
		       : 0;
}

/* --- Who stays -------------------------------------------------------------------------------- */

static bool same_nic(const struct router_nic *nic, const struct nic_plan *plan)
{
	return nic->unit && !nic->unit->leaving && !strcmp(nic->spec, plan->spec);
}

/* Units that are not what they would be started as. */
static void see_units(const struct router *r, const struct config *c, const struct nic_plan *plan,
	struct nics_change *change)
{
	for (unsigned k = 0; k < c->nics_count; k++) {
		const struct router_nic *nic = &r->nic[k];
		const bool used = config_nic_used(&c->nics[k]);

		if (used && same_nic(nic, &plan[k]))
			continue;
		for (unsigned u = 0; u < r->units; u++)
			change->leaves[u] |=
				*r->unit[u].name && !r->unit[u].leaving &&
				(nic->unit == &r->unit[u] ||
					(used && !strcmp(r->unit[u].name, plan[k].unit)));
	}
}

static void see_nics(const struct router *r, const struct config *c, const struct nic_plan *plan,
	struct nics_change *change)
{
	for (unsigned k = 0; k < c->nics_count; k++) {
		const struct router_nic *nic = &r->nic[k];
		const bool is = config_nic_used(&c->nics[k]);
		const bool was = k < r->config->nics_count && config_nic_used(&r->config->nics[k]);
		const bool leaves = nic->unit && change->leaves[nic->unit - r->unit];

		change->fate[k] = was && !is     ? NIC_REMOVED
				  : is && !was   ? NIC_ADDED
				  : is && leaves ? NIC_RESTARTED
						 : NIC_STAYS;
		change->any |= change->fate[k] != NIC_STAYS;
		/* One that runs as before has its address again. */
		if (is && nic->unit && !strcmp(nic->spec, plan[k].spec))
			change->mac[k] = r->mac[k];
		if (is || was)
			snprintf(change->names[k], sizeof(change->names[k]), "%s",
				is ? c->nics[k].name : r->config->nics[k].name);
	}
}

int nics_change_plan(
	const struct router *r, struct config *c, struct nics_change *change, struct error *error)
{
	struct nic_plan *plan;
	int result = place(r, c, error);

	*change = (struct nics_change){.any = false};
	if (result)
		return result;
	plan = calloc(P2PNIC_NICS_MAX, sizeof(*plan));
	if (!plan)
		return error_set(error, -ENOMEM, "out of memory for a plan of NICs");
	for (unsigned k = 0; k < c->nics_count && !result; k++)
		if (config_nic_used(&c->nics[k]))
			result = plan_nic(r, c, k, &plan[k], error);
	if (!result) {
		see_units(r, c, plan, change);
		see_nics(r, c, plan, change);
	}
	free(plan);
	return result;
}

const char *nics_change_text(const struct nics_change *change, char *text, size_t room)
{
	static const struct {
		enum nic_fate fate;
		const char *word;
	} fates[] = {{NIC_ADDED, "added"}, {NIC_REMOVED, "removed"}, {NIC_RESTARTED, "restarted"}};
	FILE *out = fmemopen(text, room, "w");

	text[0] = 0;
	for (unsigned f = 0, groups = 0; out && f < 3; f++) {
		unsigned n = 0;

		for (unsigned k = 0; k < P2PNIC_NICS_MAX; k++)
			if (change->fate[k] != fates[f].fate)
				continue;
			else if (n++)
				fprintf(out, ", %s", change->names[k]);
			else
				fprintf(out, "%s%s: %s", groups++ ? "; " : "", fates[f].word,
					change->names[k]);
	}
	if (out)
		fclose(out);
	return text;
}

/* --- Leaving ---------------------------------------------------------------------------------- */

static bool removed(const struct router_nic *nic)
{
	const struct config *c = nic->router->config;
	const unsigned k = (unsigned)(nic - nic->router->nic);

	return k >= c->nics_count || strcmp(c->nics[k].name, nic->name) != 0;
}

/* Its peers are rid of it, and the kernel of its tap if it does not come back. */
static void part_with(struct router_nic *nic)
{
	nic_lose(nic);
	if (removed(nic) && nic->face.tap >= 0)
		host_face_drop(nic);
}

static void part(void *context)
{
	struct nic_unit *u = context;

	for (struct router_nic *nic = unit_next(u, NULL); nic; nic = unit_next(u, nic)) {
		router_say(u->router, "nic %s: %s", nic->name,
			removed(nic) ? "removed" : "ends, to begin with other settings");
		part_with(nic);
	}
	u->backend->end(u, "not of this configuration");
}

static void leave(struct nic_unit *u)
{
	bool up = false;

	u->leaving = true;
	if (u->ending)
		return; /* it comes to unit_over by itself */
	for (struct router_nic *nic = unit_next(u, NULL); nic; nic = unit_next(u, nic)) {
		if (!driver_nic_answers(&nic->driver))
			continue;
		nic->device->timeout_ms = STOP_MS;
		driver_nic_command(&nic->driver, P2PNIC_OP_STOP, 0);
		up = true;
	}
	loop_after(&u->router->loop, &u->timer, up ? DRAIN_MS : 0, part, u);
}

/* The number is free. Its eventfd stays. */
static void empty(struct router_nic *nic)
{
	struct router *r = nic->router;

	if (nic->face.tap >= 0)
		host_face_drop(nic);
	loop_cancel(&r->loop, &nic->timer);
	nic->name[0] = nic->engine[0] = nic->spec[0] = nic->socket[0] = 0;
	nic->restarts = 0;
	nic->unpublished = false;
	nic->port = (struct port_state){.link = false};
	nic->face = (struct host_face)HOST_FACE_NONE;
}

/* --- Coming ----------------------------------------------------------------------------------- */

/* What left may hold what comes needs: a socket's name, an interface, a function. */
static bool some_leave(const struct router *r)
{
	bool some = false;

	for (unsigned u = 0; u < r->units; u++)
		some |= r->unit[u].leaving;
	return some;
}

static void begin_new(struct router *r)
{
	bool was[P2PNIC_NICS_MAX];

	if (some_leave(r))
		return;
	for (unsigned u = 0; u < P2PNIC_NICS_MAX; u++)
		was[u] = *r->unit[u].name;
	if (plan_make(r)) {
		router_warn(r, "%s", r->error.text);
		return;
	}
	for (unsigned k = 0; k < r->config->nics_count; k++)
		if (r->nic[k].unit && !was[r->nic[k].unit - r->unit])
			host_face_open(&r->nic[k]);
	for (unsigned u = 0; u < r->units; u++)
		if (*r->unit[u].name && !was[u])
			unit_begin(&r->unit[u]);
}

void unit_over(struct nic_unit *u)
{
	struct router *r = u->router;

	loop_cancel(&r->loop, &u->timer);
	for (struct router_nic *nic = unit_next(u, NULL); nic; nic = unit_next(u, nic)) {
		part_with(nic);
		nic->unit = NULL;
		if (removed(nic))
			empty(nic);
	}
	*u = (struct nic_unit){.process = {.pidfd = -1}};
	begin_new(r);
}

void nics_change_begin(struct router *r, const struct nics_change *change)
{
	for (unsigned k = 0; k < r->config->nics_count; k++)
		if (*r->nic[k].name && !r->nic[k].unit && removed(&r->nic[k]))
			empty(&r->nic[k]);
	for (unsigned u = 0; u < P2PNIC_NICS_MAX; u++)
		if (change->leaves[u])
			leave(&r->unit[u]);
	begin_new(r);
}
