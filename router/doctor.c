/* SPDX-License-Identifier: BSD-3-Clause */
#include "router/doctor.h"
#include "router/config.h"
#include "router/doctor_host.h"
#include "router/doctor_sysctl.h"
#include "router/kernel_filters.h"
#include "router/kernel_rules.h"
#include "router/kernel_unable.h"

#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <string.h>

#define FIX_BYTES 640u
#define RULES_MAX 256u /* the rest is counted */

struct look {
	const struct doctor *doctor;
	json_t *found;
	struct kernel_rule rule[RULES_MAX];
	unsigned rules;
	uint64_t routes[RULES_MAX]; /* of the rule's table */
};

static const char *namespace_of(const struct doctor *d)
{
	return d->config->kernel->namespace;
}

static const char *where(const struct doctor *d)
{
	return namespace_of(d) ? namespace_of(d) : "kernel";
}

/* "ip " or "ip -n NAMESPACE " */
static const char *ip_command(const struct doctor *d, char to[FIX_BYTES])
{
	snprintf(to, FIX_BYTES, "ip %s%s%s", namespace_of(d) ? "-n " : "",
		namespace_of(d) ? namespace_of(d) : "", namespace_of(d) ? " " : "");
	return to;
}

static void say_unknown(const struct look *look, const char *what, int error)
{
	if (error < 0)
		finding_add(look->found, FINDING_NOTE, "kernel", where(look->doctor), "",
			"%s cannot be read: %s", what, strerror(-error));
}

/* --- Links ------------------------------------------------------------------------------------ */

static void check_master(const struct look *look, const struct kernel_link *tap)
{
	static const char *const what[] = {[KERNEL_LINK_OTHER] = "device",
		[KERNEL_LINK_TUN] = "device",
		[KERNEL_LINK_VLAN] = "device",
		[KERNEL_LINK_MACVLAN] = "device",
		[KERNEL_LINK_VRF] = "VRF",
		[KERNEL_LINK_BRIDGE] = "bridge",
		[KERNEL_LINK_BOND] = "bond"};
	const struct kernel_key key = {.kind = KERNEL_LINK, .id = tap->master};
	const struct kernel_value *v = kernel_state_find(look->doctor->ways->state, &key, 0);
	const unsigned kind = v ? v->link.kind : KERNEL_LINK_OTHER;
	char ip[FIX_BYTES], fix[FIX_BYTES + 64];

	snprintf(fix, sizeof(fix), "%slink set %s nomaster", ip_command(look->doctor, ip),
		tap->name);
	if (kind == KERNEL_LINK_VRF)
		finding_add(look->found, FINDING_NOTE, "link", tap->name, fix,
			"it belongs to the VRF %s: its NIC forwards nothing, and the kernel all of "
			"it, by table %u and slowly",
			v->link.name, v->link.table);
	else
		finding_add(look->found, FINDING_FAULT, "link", tap->name, fix,
			"it belongs to the %s %s: its NIC takes frames to its own address only, "
			"and forwards nothing; the kernel does, slowly",
			what[kind], v ? v->link.name : "of another namespace");
}

static void check_links(const struct look *look)
{
	const struct kernel_ways *ways = look->doctor->ways;
	const struct kernel_value *v;
	char ip[FIX_BYTES], fix[FIX_BYTES + 64];
	struct kernel_key key;
	size_t from = 0;

	while ((v = kernel_state_each(ways->state, KERNEL_LINK, &from, &key))) {
		if (v->link.master && kernel_nics_find(ways->nics, key.id) >= 0)
			check_master(look, &v->link);
		if (!kernel_unable_vlan(ways, key.id, v))
			continue;
		snprintf(fix, sizeof(fix), "%slink delete %s", ip_command(look->doctor, ip),
			v->link.name);
		finding_add(look->found, FINDING_NOTE, "link", v->link.name, fix,
			"it is VLAN %u above a NIC's tap, but NICs do not forward to it, as it is "
			"no VLAN of 802.1Q on the tap itself, or belongs to something: what leaves "
			"by it is punted, and the kernel forwards it, slowly",
			v->link.vlan);
	}
}

/* --- Routes and rules ------------------------------------------------------------------------- */

static void note_rule(void *context, const struct kernel_rule *rule)
{
	struct look *look = context;

	if (look->rules < RULES_MAX)
		look->rule[look->rules] = *rule;
	look->rules++;
}

static void check_routes(struct look *look)
{
	const struct kernel_ways *ways = look->doctor->ways;
	const unsigned rules = look->rules < RULES_MAX ? look->rules : RULES_MAX;
	char ip[FIX_BYTES], fix[FIX_BYTES + 128], text[ADDRESS_TEXT_BYTES + 8];
	const struct kernel_value *v;
	struct kernel_key key, first = {0};
	uint64_t routes = 0, objects = 0;
	size_t from = 0;

	while ((v = kernel_state_each(ways->state, KERNEL_ROUTE, &from, &key))) {
		for (unsigned k = 0; k < rules; k++)
			look->routes[k] +=
				look->rule[k].table == key.id && look->rule[k].family == key.family;
		if (v->route.unsupported & KERNEL_UNSUPPORTED_ENCAPSULATION && !routes++)
			first = key;
	}
	from = 0;
	while ((v = kernel_state_each(ways->state, KERNEL_NEXT_HOP, &from, &key)))
		objects += (v->next_hop.unsupported & KERNEL_UNSUPPORTED_ENCAPSULATION) != 0;
	if (routes) {
		const struct prefix prefix = {{first.address, first.family}, first.length};

		snprintf(fix, sizeof(fix), "%s%sroute delete %s table %u",
			ip_command(look->doctor, ip), first.family == 6 ? "-6 " : "",
			prefix_text(&prefix, text), first.id);
		finding_add(look->found, FINDING_NOTE, "route", where(look->doctor), fix,
			"%llu routes have an encapsulation (MPLS, SRv6, a tunnel's key), %s is "
			"one: NICs punt what they lead to, and the kernel forwards it, slowly",
			(unsigned long long)routes, text);
	}
	if (objects)
		finding_add(look->found, FINDING_NOTE, "route", where(look->doctor), "",
			"%llu next-hop objects have an encapsulation: NICs punt what they lead to, "
			"and the kernel forwards it, slowly",
			(unsigned long long)objects);
}

static void say_rule(const struct look *look, unsigned k)
{
	const struct kernel_rule *rule = &look->rule[k];
	const bool known = look->doctor->ways && look->doctor->routes;
	const bool table = rule->action == FR_ACT_TO_TBL;
	char ip[FIX_BYTES], fix[FIX_BYTES + 64], to[96] = "no table";

	snprintf(fix, sizeof(fix), "%s%srule delete pref %u", ip_command(look->doctor, ip),
		rule->family == 6 ? "-6 " : "", rule->priority);
	if (rule->vrf)
		snprintf(to, sizeof(to), "the tables of VRFs");
	else if (table && known)
		snprintf(to, sizeof(to), "table %u, %llu routes", rule->table,
			(unsigned long long)look->routes[k]);
	else if (table)
		snprintf(to, sizeof(to), "table %u", rule->table);
	finding_add(look->found,
		rule->vrf || (table && known && !look->routes[k]) ? FINDING_NOTE : FINDING_FAULT,
		"rule", where(look->doctor), fix,
		"IPv%u rule %u, to %s: NICs do not look at rules, and forward by the tables main, "
		"local and default",
		rule->family, rule->priority, to);
}

static void check_rules_and_routes(struct look *look)
{
	say_unknown(
		look, "routing rules", kernel_rules_others(look->doctor->netns, note_rule, look));
	if (look->doctor->ways && look->doctor->routes)
		check_routes(look);
	for (unsigned k = 0; k < look->rules && k < RULES_MAX; k++)
		say_rule(look, k);
	if (look->rules > RULES_MAX)
		finding_add(look->found, FINDING_FAULT, "rule", where(look->doctor), "",
			"%u more rules", look->rules - RULES_MAX);
}

/* --- Filters ---------------------------------------------------------------------------------- */

static void say_filter(void *context, const struct kernel_filter *filter)
{
	const struct look *look = context;
	const char *namespace = namespace_of(look->doctor);
	char fix[2 * KERNEL_FILTER_NAME + 384], enter[320] = "";

	if (namespace)
		snprintf(enter, sizeof(enter), "ip netns exec %s ", namespace);
	if (!filter->hook) {
		snprintf(fix, sizeof(fix), "%s%stables-legacy -t %s -S", enter, filter->family,
			filter->table);
		finding_add(look->found, FINDING_NOTE, "filter", where(look->doctor), fix,
			"iptables has a table %s (%s): what its rules would drop or change of "
			"forwarded packets, NICs forward as it is. The fix lists them",
			filter->table, filter->family);
		return;
	}
	snprintf(fix, sizeof(fix), "%snft delete chain %s %s %s", enter, filter->family,
		filter->table, filter->chain);
	finding_add(look->found, FINDING_FAULT, "filter", where(look->doctor), fix,
		"nftables chain %s %s %s, at %s, %u rules%s: what it would drop or change of "
		"forwarded packets, NICs forward as it is",
		filter->family, filter->table, filter->chain, filter->hook, filter->rules,
		filter->drops ? ", policy drop" : "");
}

json_t *doctor_look(const struct doctor *d)
{
	struct look look = {.doctor = d, .found = json_array()};

	if (d->config->kernel) {
		check_rules_and_routes(&look);
		if (d->ways)
			check_links(&look);
		say_unknown(&look, "nftables", kernel_filters_chains(d->netns, say_filter, &look));
		say_unknown(&look, "tables of iptables",
			kernel_filters_tables(d->netns, say_filter, &look));
		doctor_sysctls(d, look.found);
	}
	doctor_ports(d, look.found);
	if (d->host)
		doctor_host(d, look.found);
	return look.found;
}
