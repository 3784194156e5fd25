/* SPDX-License-Identifier: BSD-3-Clause */
#include "router/reload.h"
#include "router/audit.h"
#include "router/config_defaults.h"
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

	/* NICs of an earlier router forward by one half, all by the same as a rule. */
	for (unsigned k = r->config->nics_count; k--;)
		if (r->nic[k].driver.adopted)
			half = table_half(&r->nic[k].driver) == 0;
	return make_table(r, &r->table, half);
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

/* The first key of `router` that differs; NULL: none. */
static const char *router_differs(const struct config_router *old, const struct config_router *new)
{
	return text_differs(old->name, new->name)                   ? "name"
	       : old->method_number != new->method_number           ? "method"
	       : old->check_number != new->check_number             ? "check"
	       : *old->ring_slots != *new->ring_slots               ? "ring_slots"
	       : *old->lend_from != *new->lend_from                 ? "lend_from"
	       : *old->batch != *new->batch                         ? "batch"
	       : *old->rx_buffers != *new->rx_buffers               ? "rx_buffers"
	       : *old->packet_memory_mib != *new->packet_memory_mib ? "packet_memory_mib"
	       : *old->table_memory_mib != *new->table_memory_mib   ? "table_memory_mib"
	       : *old->nics_max != *new->nics_max                   ? "nics_max"
	       : core_differs(old->bounce_core, new->bounce_core)   ? "bounce_core"
								    : NULL;
}

static bool runtime_differs(const struct config *old, const struct config *new)
{
	char before[ROUTER_PATH_BYTES], now[ROUTER_PATH_BYTES];

	config_runtime(old, before, sizeof(before));
	config_runtime(new, now, sizeof(now));
	return strcmp(before, now) != 0;
}

/* The first key of `kernel` that differs, or that itself; NULL: none. */
static const char *kernel_differs(const struct config_kernel *old, const struct config_kernel *new)
{
	return !old && !new                                   ? NULL
	       : !old || !new                                 ? "presence"
	       : text_differs(old->namespace, new->namespace) ? "namespace"
	       : *old->slots != *new->slots                   ? "slots"
	       : *old->fpm != *new->fpm                       ? "fpm"
							      : NULL;
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
	const char *list = "router", *key = router_differs(old->router, new->router);

	if (!key && runtime_differs(old, new))
		key = "runtime";
	if (!key) {
		list = "kernel";
		key = kernel_differs(old->kernel, new->kernel);
	}
	if (!key)
		return 0;
	return error_set(&r->error, -EINVAL,
		"%s: %s: %s differs: that needs a restart; nothing changed", new->path, list, key);
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
			router_warn(r,
				"nic %s: does not answer; it forwards by its old table until it "
				"does",
				n->name);
		}
	}
}

/* SIGHUP carries no word: what needs one is told how to say it. */
static void say_how_to_confirm(struct router *r)
{
	error_set(&r->error, -ECANCELED, "%s; if that is meant: p2pnic reload --force --runtime %s",
		r->error.text, r->runtime);
}

/* Rings and packet memory stay as they are while there is a place for each NIC. */
static void keep_sizes(const struct router *r, struct config *new)
{
	config_size(new, r->config->router->sized);
	if (*new->router->nics_max < new->nics_count)
		config_size(new, new->nics_count);
}

/* What is wrong with it is found before anything changes. */
static int plan(struct router *r, struct config *config, struct nics_change *change)
{
	int result;

	keep_sizes(r, config);
	result = same_buffers(r, config);
	if (!result)
		result = same_but_for_tables(r, config);
	if (!result)
		result = nics_change_plan(r, config, change, &r->error);
	/* Routes to NICs that are not there yet are left out of the table for now. */
	if (!result && change->any && !r->kernel)
		result = table_try(config, &r->error);
	return result;
}

static int take(struct router *r, struct config *config, bool force, struct table_report *report)
{
	struct table_nics nics = {.n = 0};
	struct nics_change change;
	char text[TABLE_REPORT_BYTES], who[TABLE_REPORT_BYTES];
	int result = plan(r, config, &change);

	if (!result) {
		reachable(r, &nics);
		result = r->kernel ? kernel_make(r, config, &r->table, &nics, report, &r->error)
				   : table_configure(&r->table, config, change.mac, force, &nics,
					     report, &r->error);
	}
	if (result == -ECANCELED)
		say_how_to_confirm(r);
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

static int reload(struct router *r, bool force, struct table_report *report)
{
	const uint64_t start = clock_now_ns();
	struct config *config;
	int result = config_load(&config, r->config->path, &r->error);

	if (!result) {
		result = take(r, config, force, report);
		if (result)
			config_free(config);
	}
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

int router_reload(struct router *r)
{
	struct table_report report;

	return reload(r, false, &report);
}

json_t *router_reload_asked(struct router *r, const json_t *how)
{
	const json_t *force = json_object_get(how, "force");
	char text[TABLE_REPORT_BYTES];
	struct table_report report;
	unsigned late = 0;

	if (!json_is_object(how) || json_object_size(how) != (force != NULL) ||
		(force && !json_is_boolean(force)))
		return json_pack(
			"{s:s}", "error", "reload wants an object, {\"force\": true or false}");
	service_reloading(r);
	const int error = reload(r, json_is_true(force), &report);

	service_reloaded(r);
	if (error) {
		router_warn(r, LOG_CONFIG_REFUSED "asked to reload; configuration not taken: %s",
			r->error.text);
		return json_pack("{s:s}", "error", r->error.text);
	}
	router_say(r, LOG_CONFIG_TAKEN "asked to reload; configuration read again: %s",
		r->config->path);
	for (unsigned k = 0; k < r->config->nics_count; k++)
		late += r->nic[k].driver.device && !table_in_step(r->table, &r->nic[k].driver);
	return json_pack("{s:{s:s, s:s, s:I, s:I, s:I, s:i}}", "reload", "configuration",
		r->config->path, "table", table_report_text(&report, text), "added",
		(json_int_t)report.added, "changed", (json_int_t)report.changed, "deleted",
		(json_int_t)report.deleted, "nics_behind", (int)late);
}
