/* SPDX-License-Identifier: BSD-3-Clause */
#include "router/reload.h"
#include "router/api_watch.h"
#include "router/audit.h"
#include "router/config_defaults.h"
#include "router/config_state.h"
#include "router/kernel.h"
#include "router/metrics.h"
#include "router/nics_change.h"
#include "router/policers.h"
#include "router/router.h"
#include "router/settings.h"

#include "ipc/clock.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static int make_table(struct router *r, struct table **table, unsigned half)
{
	const struct table_nics none = {.n = 0};
	uint32_t bytes = *r->config->router->table_memory_mib << 20;
	struct table_report report;
	int error = table_new(table, bytes, table_kind(r->config), half);

	if (error)
		return router_fail(r, error, "out of memory for a table");
	return r->kernel ? kernel_make(r, r->config, table, &none, &report, &r->error)
			 : table_configure(
				   table, r->config, r->mac, false, &none, &report, &r->error);
}

int router_try_table(struct router *r)
{
	struct table *table = NULL;
	int error = make_table(r, &table, 0);

	table_free(table);
	return error;
}

int router_first_table(struct router *r)
{
	unsigned half = 0;
	int error;

	/* NICs of an earlier router forward by one half, all by the same as a rule. */
	for (unsigned k = r->config->nics_count; k--;)
		if (r->nic[k].driver.adopted)
			half = table_half(&r->nic[k].driver) == 0;
	error = make_table(r, &r->table, half);
	if (!error)
		table_watch(r->table, watch_routes, r);
	return error;
}

/* --- What a reload cannot change -------------------------------------------------------------- */

static bool text_differs(const char *a, const char *b)
{
	return strcmp(a ? a : "", b ? b : "") != 0;
}

/* A core is absent, or a number. Every other key has a value (config_defaults). */
static bool core_differs(const int *a, const int *b)
{
	return !a != !b || (a && *a != *b);
}

/* One more key that differs. */
static void differs(struct error *all, const char *list, const char *key, bool does)
{
	if (does)
		error_set(all, 0, "%s%s%s: %s differs: that needs a restart", all->text,
			*all->text ? "; " : "", list, key);
}

static void router_differs(
	struct error *all, const struct config_router *old, const struct config_router *new)
{
	static const char list[] = "router";

	differs(all, list, "name", text_differs(old->name, new->name));
	differs(all, list, "method", old->method_number != new->method_number);
	differs(all, list, "check", old->check_number != new->check_number);
	differs(all, list, "ring_slots", *old->ring_slots != *new->ring_slots);
	differs(all, list, "lend_from", *old->lend_from != *new->lend_from);
	differs(all, list, "batch", *old->batch != *new->batch);
	differs(all, list, "rx_buffers", *old->rx_buffers != *new->rx_buffers);
	differs(all, list, "packet_memory_mib", *old->packet_memory_mib != *new->packet_memory_mib);
	differs(all, list, "table_memory_mib", *old->table_memory_mib != *new->table_memory_mib);
	differs(all, list, "nics_max", *old->nics_max != *new->nics_max);
	differs(all, list, "bounce_core", core_differs(old->bounce_core, new->bounce_core));
}

static void places_differ(struct error *all, const struct config *old, const struct config *new)
{
	char before[PATH_MAX], now[PATH_MAX];

	config_runtime(old, before, sizeof(before));
	config_runtime(new, now, sizeof(now));
	differs(all, "router", "runtime", strcmp(before, now) != 0);
	state_directory(old, before, sizeof(before));
	state_directory(new, now, sizeof(now));
	differs(all, "router", "state", strcmp(before, now) != 0);
}

static void kernel_differs(
	struct error *all, const struct config_kernel *old, const struct config_kernel *new)
{
	static const char list[] = "kernel";

	differs(all, list, "presence", !old != !new);
	if (!old || !new)
		return;
	differs(all, list, "namespace", text_differs(old->namespace, new->namespace));
	differs(all, list, "slots", *old->slots != *new->slots);
	differs(all, list, "fpm", *old->fpm != *new->fpm);
}

/* Whoever changed no more than an mtu learns here that it decides. */
static int same_buffers(struct router *r, const struct config *new)
{
	const unsigned old = *r->config->router->buffer_bytes, bytes = *new->router->buffer_bytes;

	if (old == bytes)
		return 0;
	return error_set(&r->error, -EINVAL,
		"%s: router: buffer_bytes differs: that needs a restart; nothing changed. It is "
		"%u; the file asks for %u, by this key or else by its largest mtu",
		new->path, old, bytes);
}

/* What NICs were started with, and the router itself, stays as it is until a restart. */
static int same_but_for_tables(struct router *r, const struct config *new)
{
	const struct config *old = r->config;
	struct error all = {""};

	router_differs(&all, old->router, new->router);
	places_differ(&all, old, new);
	kernel_differs(&all, old->kernel, new->kernel);
	return *all.text ? error_set(&r->error, -EINVAL, "%s: %s; nothing changed", new->path,
				   all.text)
			 : 0;
}

/* --- Reload ----------------------------------------------------------------------------------- */

/* Those that a change can be written to; the others get the table when they answer. */
static void reachable(struct router *r, struct table_nics *nics)
{
	for (unsigned k = 0; k < r->config->nics_count; k++) {
		struct driver_nic *n = &r->nic[k].driver;

		if (nic_answers(&r->nic[k])) {
			nics->nic[nics->n++] = n;
		} else if (n->device) {
			table_fall_behind(r->table, n);
			/* One that joins just now gets it then. */
			if (device_silent(n->device))
				router_warn(r,
					"nic %s: does not answer; it forwards by its old table "
					"until it "
					"does",
					n->name);
		}
	}
}

/* What is wrong with it is found before anything changes. */
int router_plan(struct router *r, struct config *config, struct nics_change *change)
{
	int result;

	/* Rings, packet memory and places stay as they are, however many NICs there are. */
	config_size(config, r->config->router->sized);
	result = same_buffers(r, config);
	if (!result)
		result = same_but_for_tables(r, config);
	if (!result)
		result = nics_change_plan(r, config, change, &r->error);
	/* The table is made without routes to NICs that have still to join; router_publish makes it
	 * anew with them. So that all of them can be had is tried here. */
	if (!result && change->any && !r->kernel)
		result = table_try(config, &r->error);
	return result;
}

static int take(struct router *r, struct config *config, bool force, router_note *note,
	struct table_report *report)
{
	struct table_nics nics = {.n = 0};
	struct nics_change change;
	char text[TABLE_REPORT_BYTES], who[TABLE_REPORT_BYTES];
	int result = router_plan(r, config, &change);

	if (!result && note)
		result = note(r);
	if (!result) {
		reachable(r, &nics);
		result = r->kernel ? kernel_make(r, config, &r->table, &nics, report, &r->error)
				   : table_configure(&r->table, config, change.mac, force, &nics,
					     report, &r->error);
	}
	if (result)
		return result;
	for (unsigned k = 0; k < nics.n; k++)
		if (settings_write(r, nics.nic[k]->index, r->config, config))
			table_fall_behind(r->table, nics.nic[k]); /* it gets them with the table */
	/* Stores into memory: one that does not answer has them, too. */
	for (unsigned k = 0; k < config->nics_count; k++)
		if (r->nic[k].face.rings.nic)
			policers_write(&r->nic[k].driver, config);
	config_free(r->config);
	r->config = config;
	metrics_follow(r);
	memcpy(r->mac, change.mac, sizeof(r->mac));
	r->reloads++;
	router_set_log_level(r);
	audit_schedule(r);
	nics_mend(r); /* those that failed */
	router_say(r, "table: %s", table_report_text(report, text));
	if (change.any)
		router_say(r, "NICs %s", nics_change_text(&change, who, sizeof(who)));
	nics_change_begin(r, &change);
	return 0;
}

int router_take(struct router *r, struct config *config, bool force, router_note *note,
	struct table_report *report)
{
	const uint64_t start = clock_now_ns();
	const int result = take(r, config, force, note, report);

	if (result)
		r->reloads_refused++;
	else
		histogram_add(&r->reload_times, clock_now_ns() - start);
	return result;
}

void router_publish(struct router *r)
{
	struct table_nics nics = {.n = 0};
	struct table_report report;
	char text[TABLE_REPORT_BYTES];
	struct error error;

	for (unsigned k = 0; k < r->config->nics_count; k++)
		r->nic[k].unpublished = false;
	if (r->kernel)
		return; /* the tap's link, which has its address, tells */
	reachable(r, &nics);
	if (table_configure(&r->table, r->config, r->mac, true, &nics, &report, &error)) {
		router_warn(r, "routes to NICs that were added: %s; NICs forward by what they have",
			error.text);
		return;
	}
	r->reloads++;
	nics_mend(r);
	router_say(r, "table: %s", table_report_text(&report, text));
}
