/* SPDX-License-Identifier: BSD-3-Clause */
#include "router/show_route.h"
#include "router/interface.h"
#include "router/rib.h"
#include "router/router.h"
#include "router/show_neighbor.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOOK_MOST 16384u /* routes looked at in a piece */
#define CHANGED   "the table has changed while its routes were sent; ask again"

/* --- Where they lead -------------------------------------------------------------------------- */

static const char *const kind_name[] = {"none", "forward", "local", "glean", "blackhole",
	"unreachable", "prohibit", "broadcast", "kernel", "forward"};
_Static_assert(sizeof(kind_name) / sizeof(*kind_name) == P2PNIC_ADJACENCY_FORWARD_TAGGED + 1,
	"a name for each kind");

const char *show_kind(const struct p2pnic_adjacency *a)
{
	return a->kind <= P2PNIC_ADJACENCY_FORWARD_TAGGED ? kind_name[a->kind] : "unknown";
}

unsigned show_lead(const struct router *r, unsigned next_hop, char *text, size_t room)
{
	unsigned members;
	const struct p2pnic_adjacency *a =
		next_hops_lead(table_next_hops(r->table), next_hop, &members);
	const struct p2pnic_adjacency *reserve =
		next_hops_reserve(table_next_hops(r->table), next_hop);
	char mac[ADDRESS_TEXT_BYTES], name[INTERFACE_NAME_BYTES], backup[INTERFACE_NAME_BYTES];
	const bool forward = adjacency_forwards(a);

	return (unsigned)snprintf(text, room, "%s%s%s%s%s%s%s%s", show_kind(a), forward ? " " : "",
		forward ? interface_name(r->config->nics[a->egress].name, a->encapsulation, name)
			: "",
		forward ? " " : "", forward ? mac_text(a->destination, mac) : "",
		members > 1 ? ", and others" : "", reserve ? ", backup " : "",
		reserve ? interface_name(r->config->nics[reserve->egress].name,
				  reserve->encapsulation, backup)
			: "");
}

static const char *egress_name(
	const struct router *r, const struct p2pnic_adjacency *a, char text[INTERFACE_NAME_BYTES])
{
	return interface_name(r->config->nics[a->egress].name, a->encapsulation, text);
}

void route_lead(struct route_lead *lead, const struct router *r, const struct next_hops *all,
	unsigned next_hop)
{
	unsigned members;
	const struct p2pnic_adjacency *a = next_hops_lead(all, next_hop, &members);
	const struct p2pnic_adjacency *reserve = next_hops_reserve(all, next_hop);

	memset(lead, 0, sizeof(*lead));
	lead->kind = show_kind(a);
	lead->members = members;
	if (adjacency_forwards(a)) {
		egress_name(r, a, lead->nic);
		lead->mac = a->destination;
	}
	if (reserve) {
		egress_name(r, reserve, lead->backup);
		lead->backup_mac = reserve->destination;
	}
}

/* Names, addresses and numbers have no character that JSON escapes (config_name_valid). */
size_t show_route(
	const struct route *route, const struct route_lead *lead, char row[SHOW_ROUTE_BYTES])
{
	const struct prefix prefix = {{route->prefix, route->family}, route->length};
	char text[ADDRESS_TEXT_BYTES];
	int n = snprintf(row, SHOW_ROUTE_BYTES,
		"{\"prefix\":\"%s\",\"source\":\"%s\",\"kind\":\"%s\"", prefix_text(&prefix, text),
		rib_source_name(route->source), lead->kind);

	if (*lead->nic)
		n += snprintf(row + n, SHOW_ROUTE_BYTES - (size_t)n,
			",\"nic\":\"%s\",\"mac\":\"%s\"", lead->nic, mac_text(lead->mac, text));
	if (lead->members > 1)
		n += snprintf(
			row + n, SHOW_ROUTE_BYTES - (size_t)n, ",\"next_hops\":%u", lead->members);
	if (*lead->backup)
		n += snprintf(row + n, SHOW_ROUTE_BYTES - (size_t)n,
			",\"backup\":{\"nic\":\"%s\",\"mac\":\"%s\"}", lead->backup,
			mac_text(lead->backup_mac, text));
	n += snprintf(row + n, SHOW_ROUTE_BYTES - (size_t)n, "}");
	return (size_t)n;
}

json_t *show_next_hop(const struct router *r, unsigned next_hop)
{
	static const char *const type[] = {[NEXT_HOP_FATE] = "fate",
		[NEXT_HOP_GATEWAY] = "gateway",
		[NEXT_HOP_GROUP] = "group",
		[NEXT_HOP_KERNEL] = "kernel"};
	const struct next_hops *all = table_next_hops(r->table);
	const struct next_hop_key *key = &all->key[next_hop];
	char text[ADDRESS_TEXT_BYTES], name[INTERFACE_NAME_BYTES];
	const struct p2pnic_adjacency *a, *reserve;
	unsigned members;
	json_t *o;

	if (!all->word[next_hop] || key->type == NEXT_HOP_FREE)
		return NULL;
	a = next_hops_lead(all, next_hop, &members);
	reserve = next_hops_reserve(all, next_hop);
	o = json_pack("{s:i, s:s, s:I, s:s, s:i}", "number", (int)next_hop, "type", type[key->type],
		"routes", (json_int_t)all->users[next_hop], "kind", show_kind(a), "members",
		(int)members);
	if (key->type == NEXT_HOP_GATEWAY)
		json_object_set_new(
			o, "via", json_string(address_text(&key->prefix.address, text)));
	if (adjacency_forwards(a)) {
		json_object_set_new(o, "nic",
			json_string(interface_name(
				r->config->nics[a->egress].name, a->encapsulation, name)));
		json_object_set_new(o, "mac", json_string(mac_text(a->destination, text)));
	}
	if (reserve)
		json_object_set_new(o, "backup",
			json_string(interface_name(r->config->nics[reserve->egress].name,
				reserve->encapsulation, name)));
	return o;
}

/* --- Filters ---------------------------------------------------------------------------------- */

int show_interface(const struct router *r, const char *name, int *vid)
{
	*vid = -1;
	for (unsigned k = 0; k < r->config->nics_count; k++) {
		const struct config_nic *n = &r->config->nics[k];

		if (!strcmp(n->name, name))
			return (int)k;
		for (unsigned v = 0; v < n->vlans_count; v++) {
			*vid = (int)*n->vlans[v].id;
			if (!strcmp(n->vlans[v].name, name))
				return (int)k;
		}
		*vid = -1;
	}
	return -1;
}

/* The stations that have the address: on several links for a link-local one. */
static int find_stations(const struct router *r, struct route_filter *f)
{
	struct neighbor_row like = {.address = f->gateway};
	struct neighbor_rows rows;

	if (neighbor_rows(r, &rows))
		return -ENOMEM;
	for (size_t k = neighbor_rows_from(&rows, &like);
		k < rows.n && f->stations < ROUTE_STATIONS_MAX &&
		address_equal(&rows.row[k].address, &f->gateway);
		k++)
		if (rows.row[k].has_mac)
			f->station[f->stations++] = (struct route_station){
				rows.row[k].mac, (int)rows.row[k].nic, rows.row[k].vid};
	free(rows.row);
	return 0;
}

static int read_via(
	const struct router *r, struct route_filter *f, const char *via, struct error *error)
{
	f->via = true;
	if (address_parse(via, &f->gateway))
		return find_stations(r, f) ? error_set(error, -ENOMEM, "out of memory") : 0;
	f->gateway.family = 0;
	f->station[0].nic = -1;
	f->stations = 1;
	if (mac_parse(via, &f->station[0].mac))
		return 0;
	return error_set(error, -EINVAL, "via: neither an IP nor a MAC address: %s", via);
}

static int read_prefix(struct route_filter *f, const char *to, const char *prefix, bool longer,
	struct error *error)
{
	if (to && prefix)
		return error_set(error, -EINVAL, "to and prefix: one of them");
	if (longer && !prefix)
		return error_set(error, -EINVAL, "longer: of which prefix?");
	f->to = to;
	f->exact = prefix && !longer;
	f->longer = longer;
	if (to && !address_parse(to, &f->prefix.address))
		return error_set(error, -EINVAL, "not an address: %s", to);
	if (prefix && !prefix_parse(prefix, false, &f->prefix))
		return error_set(error, -EINVAL,
			"not a prefix, ADDRESS/LENGTH without bits beyond its length: %s", prefix);
	return 0;
}

static int read_source(const char *name)
{
	for (int k = 0; k <= RIB_KERNEL; k++) {
		const char *is = k == RIB_SOURCES ? NULL : rib_source_name((enum rib_source)k);

		if (is && !strcmp(is, name))
			return k;
	}
	return -1;
}

int route_filter_read(
	struct route_filter *f, const struct router *r, const json_t *request, struct error *error)
{
	const char *to = NULL, *prefix = NULL, *via = NULL, *nic = NULL, *source = NULL;
	json_error_t wrong;
	int longer = 0, result;

	*f = (struct route_filter){.nic = -1, .vid = -1, .source = -1};
	if (json_unpack_ex((json_t *)request, &wrong, 0, "{s?s, s?s, s?b, s?s, s?s, s?s}", "to",
		    &to, "prefix", &prefix, "longer", &longer, "via", &via, "nic", &nic, "source",
		    &source))
		return error_set(error, -EINVAL, "%s", wrong.text);
	result = read_prefix(f, to, prefix, longer, error);
	if (!result && via)
		result = read_via(r, f, via, error);
	if (result)
		return result;
	if (nic) {
		f->nic = show_interface(r, nic, &f->vid);
		if (f->nic < 0)
			return error_set(error, -EINVAL, "no NIC '%s'", nic);
	}
	if (source) {
		f->source = read_source(source);
		if (f->source < 0)
			return error_set(error, -EINVAL, "no source of routes '%s'", source);
	}
	return 0;
}

static bool leaves_so(const struct route_filter *f, const struct p2pnic_adjacency *a, bool gateway)
{
	const unsigned vid = a->encapsulation & 0xfff;
	bool via = !f->via || gateway;

	if (!adjacency_forwards(a) || (f->nic >= 0 && (int)a->egress != f->nic) ||
		(f->vid >= 0 && (int)vid != f->vid))
		return false;
	for (unsigned k = 0; k < f->stations && !via; k++) {
		const struct route_station *s = &f->station[k];

		via = !memcmp(&s->mac, &a->destination, sizeof(s->mac)) &&
		      (s->nic < 0 || (s->nic == (int)a->egress && s->vid == vid));
	}
	return via;
}

struct leaving {
	const struct route_filter *filter;
	bool gateway; /* the next hop is it by name */
};

static bool leaves(void *context, const struct p2pnic_adjacency *a)
{
	const struct leaving *l = context;

	return leaves_so(l->filter, a, l->gateway);
}

/* Whether packets leave as the filter says, of each next hop once: groups have many buckets. */
struct verdicts {
	const struct route_filter *filter;
	const struct next_hops *all;
	enum { NOT_KNOWN, LEAVES, LEAVES_NOT } of[TABLE_HALF_NEXT_HOPS];
};

static bool leads(struct verdicts *v, unsigned next_hop)
{
	const struct route_filter *f = v->filter;
	const struct next_hop_key *key = &v->all->key[next_hop];
	struct leaving leaving = {f, f->via && f->gateway.family && key->type == NEXT_HOP_GATEWAY &&
					     address_equal(&key->prefix.address, &f->gateway)};

	if (v->of[next_hop] == NOT_KNOWN)
		v->of[next_hop] =
			next_hops_any(v->all, next_hop, leaves, &leaving) ? LEAVES : LEAVES_NOT;
	return v->of[next_hop] == LEAVES;
}

bool route_filter_prefix(const struct route_filter *f, const struct route *route)
{
	const struct prefix prefix = {{route->prefix, route->family}, route->length};

	if (f->exact && (route->length != f->prefix.length ||
				!address_equal(&prefix.address, &f->prefix.address)))
		return false;
	return !f->longer || (prefix.length >= f->prefix.length &&
				     prefix.address.family == f->prefix.address.family &&
				     prefix_contains(&f->prefix, &prefix.address));
}

static bool fits(struct verdicts *v, const struct route *route)
{
	const struct route_filter *f = v->filter;

	if ((f->source >= 0 && route->source != f->source) || !route_filter_prefix(f, route))
		return false;
	return (!f->via && f->nic < 0) || leads(v, route->next_hop);
}

/* --- A walk ----------------------------------------------------------------------------------- */

int route_walk_begin(
	struct route_walk *w, const struct router *r, const json_t *request, struct error *error)
{
	*w = (struct route_walk){.reloads = r->reloads};
	return route_filter_read(&w->filter, r, request, error);
}

/* Where it goes on. Routes inside a prefix stand together, from where it stands itself. */
static size_t place(const struct route_walk *w, const struct routes *routes)
{
	const struct prefix *p = &w->filter.prefix;
	const struct route like = {p->address.bits, p->length, p->address.family, 0, 0};

	return w->last.family                        ? routes_behind(routes, &w->last)
	       : w->filter.exact || w->filter.longer ? routes_from(routes, &like)
						     : 0;
}

/* Whether no route from this one on can fit. */
static bool beyond(const struct route_filter *f, const struct route *route)
{
	const struct prefix prefix = {{route->prefix, route->family}, route->length};

	return (f->exact || f->longer) && (route->family != f->prefix.address.family ||
						  !prefix_contains(&f->prefix, &prefix.address));
}

static void write_route(
	struct route_walk *w, const struct router *r, const struct route *route, struct buffer *b)
{
	char *at = buffer_reserve(b, SHOW_ROUTE_BYTES + 2);
	struct route_lead lead;

	if (!at)
		return;
	if (w->any)
		*at++ = ',';
	route_lead(&lead, r, table_next_hops(r->table), route->next_hop);
	b->bytes = (size_t)(at - b->text) + show_route(route, &lead, at);
	w->any = true;
}

void route_walk_more(struct route_walk *w, const struct router *r, struct buffer *b, size_t full)
{
	const struct routes *routes = table_routes(r->table);
	struct verdicts verdicts = {&w->filter, table_next_hops(r->table), {0}};
	const struct route *one;
	size_t at, end;

	if (w->reloads != r->reloads) {
		w->done = true;
		w->why = CHANGED;
		return;
	}
	if (w->filter.to) {
		one = routes_longest(routes, &w->filter.prefix.address);
		if (one && fits(&verdicts, one))
			write_route(w, r, one, b);
		w->done = true;
		return;
	}
	at = place(w, routes);
	end = routes->n - at > LOOK_MOST ? at + LOOK_MOST : routes->n;
	for (; at < end && b->bytes < full && !w->done && !b->failed; at++) {
		one = &routes->route[at];
		w->done = beyond(&w->filter, one);
		if (!w->done && fits(&verdicts, one))
			write_route(w, r, one, b);
		w->last = *one;
	}
	w->done |= at == routes->n;
}
