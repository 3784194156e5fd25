/* SPDX-License-Identifier: BSD-3-Clause */
#include "router/show.h"
#include "router/api.h"
#include "router/counters_json.h"
#include "router/router.h"
#include "router/show_host.h"
#include "router/show_kernel.h"
#include "router/show_metrics.h"

#include "driver/method.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define SILENT     "not answering"
#define N(counter) driver_nic_count(&(counter))
#define LOOK_MOST  256u /* rows made in a piece */

static json_t *number(const _Atomic uint64_t *counter)
{
	return json_integer((json_int_t)driver_nic_count(counter));
}

static json_t *traffic(const struct p2pnic_traffic *t)
{
	return json_pack("{s:o, s:o}", "packets", number(&t->packets), "bytes", number(&t->bytes));
}

static const char *const drop_name[] = {
#define NAME(symbol, name, meaning) name,
	P2PNIC_DROP_REASONS(NAME)
#undef NAME
};

static const char *const drop_meaning[] = {
#define MEANING(symbol, name, meaning) meaning,
	P2PNIC_DROP_REASONS(MEANING)
#undef MEANING
};

static json_t *drops(const struct p2pnic_counters *c)
{
	json_t *o = json_object();

	for (unsigned reason = 0; reason < P2PNIC_DROP_COUNT; reason++) {
		const uint64_t n = COUNTERS_DROP(COUNTER_VALUE);

		if (n)
			json_object_set_new(o, drop_name[reason], json_integer((json_int_t)n));
	}
	return o;
}

const char *show_state(const struct router *r, unsigned k)
{
	const struct router_nic *nic = &r->nic[k];

	return nic->silent                              ? SILENT
	       : nic->unit && nic->unit->leaving        ? "ending"
	       : nic->state == NIC_DOWN                 ? "down"
	       : nic->state != NIC_FORWARDING           ? "starting"
	       : !table_in_step(r->table, &nic->driver) ? "old table"
							: "forwarding";
}

double show_engine_cpu(const struct router_nic *nic)
{
	char thread[16]; /* as engine_new names it, cut to what the kernel keeps */

	if (!nic->unit || !nic->unit->process.pid)
		return 0;
	snprintf(thread, sizeof(thread), "engine-%.8s", nic->engine);
	return process_cpu(nic->unit->process.pid, thread);
}

static json_t *show_texts(char **text, unsigned n)
{
	json_t *list = json_array();

	for (unsigned k = 0; k < n; k++)
		json_array_append_new(list, json_string(text[k]));
	return list;
}

void show_nic_state(const struct router *r, unsigned k, json_t *o)
{
	const struct router_nic *nic = &r->nic[k];
	const struct config_nic *config = &r->config->nics[k];
	const bool on = !strcmp(show_state(r, k), "forwarding");

	json_object_set_new(o, "state", json_string(show_state(r, k)));
	COUNTERS_STATE(COUNTER_PUT)
}

static json_t *show_nic(struct router *r, unsigned k)
{
	const struct config_nic *n = &r->config->nics[k];
	const struct router_nic *nic = &r->nic[k];
	char mac[ADDRESS_TEXT_BYTES];
	json_t *vlans = json_array();
	json_t *o = json_pack("{s:s, s:i, s:s, s:s, s:i, s:s, s:s, s:i, s:f, s:s}", "name", n->name,
		"index", (int)k, "method", r->config->router->method, "check",
		check_name(r->fabric.check), "buffer_bytes", (int)r->fabric.buffer_bytes, "engine",
		nic->engine, "process", nic->unit ? nic->unit->name : "", "pid",
		nic->unit ? (int)nic->unit->process.pid : 0, "engine_cpu_seconds",
		show_engine_cpu(nic), "mac", mac_text(r->mac[k], mac));

	show_nic_state(r, k, o);
	json_object_set_new(o, "addresses", show_texts(n->addresses, n->addresses_count));
	for (unsigned v = 0; v < n->vlans_count; v++)
		json_array_append_new(vlans,
			json_pack("{s:s, s:i, s:i, s:o}", "name", n->vlans[v].name, "id",
				(int)*n->vlans[v].id, "mtu", (int)*n->vlans[v].mtu, "addresses",
				show_texts(n->vlans[v].addresses, n->vlans[v].addresses_count)));
	if (n->vlans_count)
		json_object_set(o, "vlans", vlans);
	json_decref(vlans);
	return o;
}

static json_t *show_port(struct router *r, unsigned k)
{
	const struct config_nic *n = &r->config->nics[k];
	struct driver_nic *d = &r->nic[k].driver;
	const struct p2pnic_counters *c = d->counters;
	const char *state = show_state(r, k);
	json_t *o = json_pack("{s:s, s:s, s:s, s:s}", "nic", n->name, "type", config_nic_type(n),
		"target", config_nic_target(n), "state", state);
	char mode[P2PNIC_DESCRIPTION_BYTES];
	struct port_state port;
	uint32_t speed_mbps;

	if (!d->device)
		return o;
	/* Counters are memory: they can be read of one that does not answer. */
	if (strcmp(state, SILENT) != 0 && port_state_read(d, &port) == 0 &&
		driver_nic_read(d, P2PNIC_REG_SPEED, &speed_mbps) == 0 &&
		port_mode_read(d, mode) == 0) {
		json_object_set_new(o, "mode", json_string(mode));
		json_object_set_new(o, "link", json_boolean(port.link));
		json_object_set_new(o, "speed_mbps", json_integer(speed_mbps));
		if (*port.fault)
			json_object_set_new(o, "fault", json_string(port.fault));
	}
	json_object_set_new(o, "received", traffic(&c->received));
	json_object_set_new(o, "sent", traffic(&c->sent));
	json_object_set_new(o, "missed", number(&c->port_missed));
	return o;
}

/* Either side may have; the ring is dead then. */
static bool given_up(const struct router *r, unsigned a, unsigned b)
{
	return (driver_nic_count(&r->nic[a].driver.counters->given_up) >> b |
		       driver_nic_count(&r->nic[b].driver.counters->given_up) >> a) &
	       1;
}

json_t *show_ring(const struct router *r, unsigned ingress, unsigned egress)
{
	const struct p2pnic_traffic *out = &r->nic[ingress].driver.counters->to_ring[egress];
	const struct p2pnic_traffic *in = &r->nic[egress].driver.counters->from_ring[ingress];
	json_t *o = json_pack("{s:s, s:s}", "ingress", r->config->nics[ingress].name, "egress",
		r->config->nics[egress].name);

	COUNTERS_RING(COUNTER_PUT)
	return o;
}

/* The ring from one NIC to another; NULL: one of them is not there. */
static json_t *ring_row(struct router *r, unsigned row)
{
	const unsigned k = row / r->config->nics_count, e = row % r->config->nics_count;
	const struct driver_nic *d = &r->nic[k].driver;
	const struct p2pnic_peer *entry;
	json_t *o;

	if (!d->device || !r->nic[e].driver.device || !config_nic_used(&r->config->nics[k]) ||
		!config_nic_used(&r->config->nics[e]))
		return NULL;
	entry = (const struct p2pnic_peer *)(d->bar2 + P2PNIC_BAR2_PEERS) + e;
	o = show_ring(r, k, e);
	json_object_set_new(o, "slots", json_integer(entry->out_slots));
	json_object_set_new(o, "batch", json_integer(entry->batch));
	json_object_set_new(o, "epoch", json_integer(entry->epoch));
	json_object_set_new(o, "check", json_string(check_name(P2PNIC_PEER_CHECKED(entry->flags))));
	json_object_set_new(o, "given_up", json_boolean(given_up(r, k, e)));
	return o;
}

json_t *show_counter(struct router *r, unsigned k)
{
	const struct driver_nic *d = &r->nic[k].driver;
	const struct p2pnic_counters *c = d->counters;
	struct {
		uint64_t to_packets, to_bytes, from_packets, from_bytes;
	} sum = {0};
	json_t *o = json_pack("{s:s}", "nic", r->config->nics[k].name);

	if (!d->device)
		return o;
	for (unsigned e = 0; e < P2PNIC_NICS_MAX; e++) {
		sum.to_packets += N(c->to_ring[e].packets);
		sum.to_bytes += N(c->to_ring[e].bytes);
		sum.from_packets += N(c->from_ring[e].packets);
		sum.from_bytes += N(c->from_ring[e].bytes);
	}
	COUNTERS_NIC(COUNTER_PUT)
	json_object_set_new(o, "dropped", drops(c));
	return o;
}

static json_t *show_drop(struct router *r, unsigned reason)
{
	json_t *by_nic = json_object();
	uint64_t total = 0;

	for (unsigned n = 0; n < r->config->nics_count; n++) {
		const struct driver_nic *d = &r->nic[n].driver;
		const struct p2pnic_counters *c = d->counters;
		const uint64_t dropped = d->device ? COUNTERS_DROP(COUNTER_VALUE) : 0;

		total += dropped;
		if (dropped)
			json_object_set_new(
				by_nic, r->config->nics[n].name, json_integer((json_int_t)dropped));
	}
	return json_pack("{s:s, s:I, s:o, s:s}", "reason", drop_name[reason], "packets",
		(json_int_t)total, "nics", by_nic, "meaning", drop_meaning[reason]);
}

/* The driver's own share, and what of the packets it touched: only those punted or injected. */
json_t *show_router(const struct router *r)
{
	static const struct route first6 = {.family = 6};
	const struct table_counts *table = table_counts(r->table);
	const struct routes *routes = table_routes(r->table);
	/* Ascending by family; ::/0 itself is at that place or behind. */
	const size_t behind = routes_behind(routes, &first6);
	const size_t routes4 =
		behind - (behind && route_order(&routes->route[behind - 1], &first6) >= 0);
	const size_t routes6 = routes->n - routes4;
	json_t *o = json_pack("{s:i, s:s, s:s}", "pid", (int)getpid(), "configuration",
		r->config->path, "method", r->config->router->method);
	struct rusage use;
	uint64_t through = 0;
	unsigned up = 0;
	double seconds;

	getrusage(RUSAGE_SELF, &use);
	seconds = (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) +
		  (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec) * 1e-6;
	for (unsigned k = 0; k < r->config->nics_count; k++) {
		const struct driver_nic *d = &r->nic[k].driver;

		if (!d->device)
			continue;
		up++;
		through += N(d->counters->punted.packets) + N(d->counters->injected.packets);
	}
	COUNTERS_ROUTER(COUNTER_PUT)
	return o;
}

static json_t *contract(uint32_t version)
{
	char text[16];

	snprintf(text, sizeof(text), "%u.%u", version >> 16, version & 0xffff);
	return json_string(text);
}

static json_t *show_version(struct router *r)
{
	json_t *nics = json_array();

	for (unsigned k = 0; k < r->config->nics_count; k++)
		if (config_nic_used(&r->config->nics[k]))
			json_array_append_new(nics,
				json_pack("{s:s, s:s, s:o}", "nic", r->config->nics[k].name, "type",
					config_nic_type(&r->config->nics[k]), "contract",
					r->nic[k].driver.device ? contract(r->nic[k].driver.version)
								: json_null()));
	return json_pack("{s:s, s:i, s:i, s:o, s:s, s:o}", "p2pnic", P2PNIC_VERSION_STRING, "api",
		API_VERSION, "api_oldest", API_OLDEST, "contract", contract(P2PNIC_VERSION),
		"compiler", __VERSION__, "nics", nics);
}

/* --- Tables and objects by name --------------------------------------------------------------- */

static unsigned by_nic(const struct router *r)
{
	return r->config->nics_count;
}

static unsigned by_pair(const struct router *r)
{
	return r->config->nics_count * r->config->nics_count;
}

static unsigned by_reason(const struct router *r)
{
	return P2PNIC_DROP_COUNT;
}

static unsigned by_next_hop(const struct router *r)
{
	return TABLE_HALF_NEXT_HOPS;
}

static json_t *show_hop(struct router *r, unsigned k)
{
	return show_next_hop(r, k);
}

static json_t *router_object(struct router *r)
{
	return show_router(r);
}

static json_t *doctor_object(struct router *r)
{
	return show_doctor(r, true);
}

static const struct show_view {
	const char *what;
	unsigned (*rows)(const struct router *);   /* NULL: not by number */
	json_t *(*row)(struct router *, unsigned); /* NULL: there is none of that number */
	json_t *(*object)(struct router *);        /* not a table */
	enum { BY_NUMBER, NEIGHBORS, ROUTES } kind;
} views[] = {
	{"nic", by_nic, show_nic},
	{"port", by_nic, show_port},
	{"ring", by_pair, ring_row},
	{"counter", by_nic, show_counter},
	{"drop", by_reason, show_drop},
	{"nexthop", by_next_hop, show_hop},
	{"punt", show_punt_rows, show_punt},
	{"tap", show_tap_rows, show_tap},
	{"neighbor", .kind = NEIGHBORS},
	{"route", .kind = ROUTES},
	{"router", .object = router_object},
	{"version", .object = show_version},
	{"kernel", .object = show_kernel},
	{"doctor", .object = doctor_object},
	{"metrics", .object = show_metrics},
};

static const struct show_view *view_of(const char *what)
{
	for (size_t k = 0; what && k < sizeof(views) / sizeof(*views); k++)
		if (!strcmp(views[k].what, what))
			return &views[k];
	return NULL;
}

static json_t *row_at(const struct show_view *view, struct router *r, unsigned k)
{
	return view->rows == by_nic && !config_nic_used(&r->config->nics[k]) ? NULL
									     : view->row(r, k);
}

unsigned show_rows(const struct router *r, const char *what)
{
	return view_of(what)->rows(r);
}

json_t *show_row(struct router *r, const char *what, unsigned row)
{
	return row_at(view_of(what), r, row);
}

json_t *router_show(struct router *r, const char *what)
{
	const struct show_view *view = view_of(what);
	json_t *rows, *row;

	if (!view || view->kind != BY_NUMBER)
		return NULL;
	if (view->object)
		return view->object(r);
	rows = json_array();
	for (unsigned k = 0; k < view->rows(r); k++) {
		row = row_at(view, r, k);
		if (row)
			json_array_append_new(rows, row);
	}
	return rows;
}

/* --- Answers, a piece at a time --------------------------------------------------------------- */

/* "left" is that of its VLANs, "left.10", too. */
static bool is_interface(const char *text, const char *nic)
{
	const size_t n = strlen(nic);

	if (!text || strncmp(text, nic, n) != 0)
		return false;
	return !text[n] ||
	       (text[n] == '.' && text[n + 1 + strspn(text + n + 1, "0123456789")] == 0);
}

static bool of_nic(const json_t *row, const char *nic)
{
	static const char *const key[] = {"nic", "name", "ingress", "egress"};

	for (unsigned k = 0; k < sizeof(key) / sizeof(*key); k++)
		if (is_interface(json_string_value(json_object_get(row, key[k])), nic))
			return true;
	return false;
}

/* What is not understood is not passed over: a filter less would be a wrong answer. */
static int only_members(const json_t *request, bool routes, struct error *error)
{
	static const char *const known[] = {
		"show", "id", "version", "nic", "to", "prefix", "longer", "via", "source"};
	const size_t n = routes ? sizeof(known) / sizeof(*known) : 4;
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)request, key, value)
	{
		size_t k = 0;

		while (k < n && strcmp(key, known[k]) != 0)
			k++;
		if (k == n)
			return error_set(error, -EINVAL, "show %s has no '%s'",
				json_string_value(json_object_get(request, "show")), key);
	}
	return 0;
}

int show_begin(struct show *s, struct router *r, const json_t *request, struct error *error)
{
	const char *what = json_string_value(json_object_get(request, "show")), *nic;
	const json_t *filter = json_object_get(request, "nic");
	int vid, result;

	*s = (struct show){.view = view_of(what)};
	if (!s->view)
		return error_set(error, -ENOENT, "nothing to show by the name of %s",
			what ? what : "(none)");
	result = only_members(request, s->view->kind == ROUTES, error);
	if (!result && s->view->kind == ROUTES)
		return route_walk_begin(&s->walk, r, request, error);
	if (!result && s->view->kind == NEIGHBORS && neighbor_rows(r, &s->neighbors))
		return error_set(error, -ENOMEM, "out of memory");
	if (result || !filter)
		return result;
	nic = json_string_value(filter);
	if (!nic || s->view->object || show_interface(r, nic, &vid) < 0)
		result = error_set(error, -EINVAL,
			s->view->object ? "show %s is not by NIC" : "no NIC '%s'",
			s->view->object ? what
			: nic           ? nic
					: "(none)");
	else
		snprintf(s->nic, sizeof(s->nic), "%s", nic);
	return result;
}

static json_t *row_of(struct show *s, struct router *r, size_t k)
{
	if (s->view->kind != NEIGHBORS)
		return row_at(s->view, r, (unsigned)k);
	/* A reload may have taken its NIC away meanwhile. */
	return s->neighbors.row[k].nic < r->config->nics_count &&
			       config_nic_used(&r->config->nics[s->neighbors.row[k].nic])
		       ? neighbor_json(r, &s->neighbors.row[k])
		       : NULL;
}

static bool more_rows(struct show *s, struct router *r, struct buffer *b, size_t full)
{
	const size_t rows = s->view->kind == NEIGHBORS ? s->neighbors.n : s->view->rows(r);

	const size_t end = rows - s->at > LOOK_MOST ? s->at + LOOK_MOST : rows;

	for (; s->at < end && b->bytes < full; s->at++) {
		json_t *row = row_of(s, r, s->at);

		if (!row || (*s->nic && !of_nic(row, s->nic))) {
			json_decref(row);
			continue;
		}
		if (s->any)
			buffer_text(b, ",");
		s->any = true;
		buffer_json(b, row);
	}
	return s->at < rows;
}

bool show_more(struct show *s, struct router *r, struct buffer *b, size_t full)
{
	bool more = false;

	if (!s->begun) {
		buffer_text(b, "{\"");
		buffer_text(b, s->view->what);
		buffer_text(b, s->view->object ? "\":" : "\":[");
		s->begun = true;
	}
	if (s->view->object) {
		buffer_json(b, s->view->object(r));
	} else if (s->view->kind == ROUTES) {
		route_walk_more(&s->walk, r, b, full);
		more = !s->walk.done;
	} else {
		more = more_rows(s, r, b, full);
	}
	if (more)
		return true;
	if (!s->view->object)
		buffer_text(b, "]");
	if (s->walk.why) {
		buffer_text(b, ",\"error\":");
		buffer_json(b, json_string(s->walk.why));
	}
	return false;
}

void show_end(struct show *s)
{
	free(s->neighbors.row);
	*s = (struct show){0};
}
