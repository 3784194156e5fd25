/* SPDX-License-Identifier: BSD-3-Clause */
#include "router/show_kernel.h"
#include "router/audit.h"
#include "router/doctor.h"
#include "router/interface.h"
#include "router/kernel.h"
#include "router/router.h"

#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <string.h>

/* What NICs leave to the kernel, or do not know, of what is there now. */
struct left_out {
	json_int_t tables, tos, encapsulation, other_links;
};

static uint64_t count_managed(const struct router_kernel *k)
{
	const struct kernel_value *v;
	struct kernel_key key;
	size_t from = 0;
	uint64_t n = 0;

	while ((v = kernel_state_each(k->reader.state, KERNEL_NEIGHBOR, &from, &key)))
		n += kernel_prod_manages(&v->neighbor);
	return n;
}

static struct left_out count_left_out(const struct router_kernel *k)
{
	struct left_out n = {0};
	const struct kernel_value *v;
	struct kernel_key key;
	size_t from = 0;

	while ((v = kernel_state_each(k->reader.state, KERNEL_ROUTE, &from, &key))) {
		bool by_others = v->route.type == RTN_UNICAST;

		for (unsigned h = 0; h < v->hops && by_others; h++)
			by_others = !v->hop[h].next_hop &&
				    kernel_ways_nic(&k->routes.ways, v->hop[h].ifindex) < 0;
		if (key.id != RT_TABLE_LOCAL && key.id != RT_TABLE_MAIN &&
			key.id != RT_TABLE_DEFAULT)
			n.tables++;
		else if (key.tos)
			n.tos++;
		else if (v->route.unsupported)
			n.encapsulation++;
		else
			n.other_links += by_others;
	}
	return n;
}

json_t *show_doctor(const struct router *r, bool routes)
{
	const struct doctor doctor = {.config = r->config,
		.netns = &r->netns,
		.ways = r->kernel ? &r->kernel->routes.ways : NULL,
		.routes = routes};

	return doctor_look(&doctor);
}

json_t *show_kernel(const struct router *r)
{
	const struct router_kernel *k = r->kernel;
	json_t *o = json_object();
	const struct kernel_counters *counted;
	const struct audit_counts *audits;
	struct fpm_counts fpm = {0};
	struct left_out left_out;
	json_t *found;

	if (!k)
		return o;
	audits = audit_counts(r);
	found = show_doctor(r, false);
	if (k->fpm)
		fpm = *fpm_counts(k->fpm);
	counted = kernel_state_counters(k->reader.state);
	left_out = count_left_out(k);
	for (unsigned kind = 0; kind < KERNEL_KINDS; kind++) {
		static const char *const name[KERNEL_KINDS] = {
			"links", "addresses", "neighbors", "next_hops", "routes"};

		json_object_set_new(o, name[kind],
			json_integer((json_int_t)kernel_state_count(k->reader.state, kind)));
	}
	const struct {
		const char *name;
		uint64_t value;
	} rows[] = {
		{"messages", counted->messages},
		{"rounds", k->reader.rounds},
		{"overruns", k->reader.overruns},
		{"dumps_interrupted", k->reader.interrupted},
		{"dumps_failed", k->reader.failed},
		{"evicted", counted->evicted},
		{"swept", counted->swept},
		{"changes_waiting", kernel_state_changes(k->reader.state)},
		{"batches", k->routes.applied.batches},
		{"routes_applied", k->routes.applied.routes},
		{"tables_made", k->routes.applied.compiles},
		{"commits_failed", k->routes.applied.failed},
		{"lag_last_us", k->lag_ns / 1000},
		{"lag_most_us", k->lag_most_ns / 1000},
		{"commit_most_us", k->held_most_ns / 1000},
		{"neighbors_prodded", k->prod.prodded},
		{"neighbors_managed", count_managed(k)},
		{"neighbors_failed", k->routes.failures},
		{"rules", (uint64_t)k->rules},
		{"routes_of_other_tables", (uint64_t)left_out.tables},
		{"routes_by_tos", (uint64_t)left_out.tos},
		{"routes_encapsulated", (uint64_t)left_out.encapsulation},
		{"next_hops_encapsulated", k->unable.objects},
		{"taps_enslaved", k->unable.enslaved},
		{"vlans_on_taps", k->unable.vlans},
		{"routes_by_other_links", (uint64_t)left_out.other_links},
		{"routes_by_source", counted->source_routes},
		{"next_hops_used_up", k->routes.lossy},
		{"fpm_connected", k->fpm && fpm_connected(k->fpm)},
		{"fpm_received", fpm.received},
		{"fpm_acknowledged", fpm.acknowledged},
		{"fpm_failed", fpm.failed},
		{"fpm_pending", k->fpm ? fpm_pending(k->fpm) : 0},
		{"fpm_dropped", fpm.dropped},
		{"fpm_broken", fpm.broken},
		{"audits", audits->audits},
		{"audits_unfinished", audits->unfinished},
		{"audit_repairs", audits->repairs},
		{"drift_kernel", audits->drift_kernel},
		{"drift_router", audits->drift_router},
		{"drift_nics", audits->drift_nics},
		{"audit_last_ms", audits->last_ms},
		{"audit_step_most_us", audits->held_most_ns / 1000},
		{"filters", finding_count(found, "filter")},
		{"sysctls", finding_count(found, "sysctl")},
		{"ports_in_the_kernel", finding_count(found, "port")},
	};

	for (size_t n = 0; n < sizeof(rows) / sizeof(*rows); n++)
		json_object_set_new(o, rows[n].name, json_integer((json_int_t)rows[n].value));
	json_decref(found);
	return o;
}

static const char *state_name(uint16_t state)
{
	return state & NUD_PERMANENT    ? "permanent"
	       : state & NUD_NOARP      ? "noarp"
	       : state & NUD_REACHABLE  ? "reachable"
	       : state & NUD_STALE      ? "stale"
	       : state & NUD_DELAY      ? "delay"
	       : state & NUD_PROBE      ? "probe"
	       : state & NUD_FAILED     ? "failed"
	       : state & NUD_INCOMPLETE ? "incomplete"
					: "none";
}

json_t *show_kernel_neighbors(const struct router *r)
{
	struct router_kernel *k = r->kernel;
	json_t *rows = json_array();
	char address[ADDRESS_TEXT_BYTES], mac[ADDRESS_TEXT_BYTES], name[INTERFACE_NAME_BYTES];
	const struct kernel_value *v;
	struct kernel_key key;
	size_t from = 0;

	while ((v = kernel_state_each(k->reader.state, KERNEL_NEIGHBOR, &from, &key))) {
		const struct address a = {key.address, key.family};
		unsigned vid;
		const int nic = kernel_ways_port(&k->routes.ways, key.id, &vid);

		if (nic < 0)
			continue;
		interface_name(r->config->nics[nic].name, vid, name);
		mac[0] = 0;
		if (v->neighbor.has_mac)
			mac_text(v->neighbor.mac, mac);
		json_array_append_new(rows, json_pack("{s:s, s:s, s:s, s:s}", "nic", name,
						    "address", address_text(&a, address), "mac",
						    mac, "state", state_name(v->neighbor.state)));
	}
	return rows;
}
