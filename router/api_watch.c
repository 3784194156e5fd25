/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A line is {"event": KIND, "row": {…}}, with "initial": true of what was there already, or
 * "gone": true; of routes always one of "added", "replaced", "gone".
 */
#include "router/api_watch.h"
#include "router/api.h"
#include "router/kernel.h"
#include "router/router.h"
#include "router/show.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define LINES_BYTES (64u << 10) /* of the beginning, of counters or of routes, at a time */
#define TELL_MOST   128u        /* changes of neighbours in a turn of the loop */

enum watch_what {
	WATCH_NIC,
	WATCH_PORT,
	WATCH_NEIGHBOR,
	WATCH_COUNTER,
	WATCH_DROP,
	WATCH_TABLE,
	WATCH_ROUTE, /* the last one: the others are said between its rows */
	WATCH_WHATS
};

#define STATES   (1u << WATCH_NIC | 1u << WATCH_PORT | 1u << WATCH_NEIGHBOR)
#define COUNTERS (1u << WATCH_COUNTER | 1u << WATCH_DROP | 1u << WATCH_TABLE)

static const char *const name[WATCH_WHATS] = {
	"nic", "port", "neighbor", "counter", "drop", "table", "route"};

/* Of one NIC and its port, as last told. */
struct watch_nic {
	char name[DRIVER_NIC_NAME_BYTES]; /* "": there is none in this place */
	const char *state;
	unsigned restarts;
	bool link;
	char fault[P2PNIC_DESCRIPTION_BYTES];
};

/* --- Rows ------------------------------------------------------------------------------------- */

static json_t *nic_row(const struct router *r, unsigned k)
{
	const struct watch_nic *n = &r->watched.nic[k];

	return json_pack("{s:s, s:s, s:i}", "name", n->name, "state", n->state, "restarts",
		(int)n->restarts);
}

static json_t *port_row(const struct router *r, unsigned k)
{
	const struct watch_nic *n = &r->watched.nic[k];

	return json_pack("{s:s, s:b, s:s}", "nic", n->name, "link", n->link, "fault", n->fault);
}

static json_t *table_row(const struct router *r)
{
	const struct table_counts *c = table_counts(r->table);

	return json_pack("{s:I, s:I, s:I, s:i}", "routes", (json_int_t)table_routes(r->table)->n,
		"patches", (json_int_t)c->patches, "loads", (json_int_t)c->loads, "reloads",
		(int)r->reloads);
}

static void begin_line(struct buffer *b, enum watch_what what)
{
	buffer_text(b, "{\"event\":\"");
	buffer_text(b, name[what]);
	buffer_text(b, "\",\"row\":");
}

static void end_line(struct watch *w, const char *flag)
{
	struct buffer *b = &w->lines;

	if (flag) {
		buffer_text(b, ",\"");
		buffer_text(b, flag);
		buffer_text(b, "\":true");
	}
	if (*w->id) {
		buffer_text(b, ",\"id\":");
		buffer_text(b, w->id);
	}
	buffer_text(b, "}\n");
}

static void add_line(struct watch *w, enum watch_what what, json_t *row, const char *flag)
{
	struct buffer *b = &w->lines;

	if (b->bytes > WATCH_BYTES || b->failed) {
		json_decref(row);
		return; /* the client is about to be dropped */
	}
	begin_line(b, what);
	buffer_json(b, row);
	end_line(w, flag);
}

/* --- What is there already, and counters: piece by piece -------------------------------------- */

/* The next row of a kind; false: there are no more. */
static bool say_row(struct watch *w, enum watch_what what)
{
	struct router *r = w->r;
	const struct neighbor_rows *rows = &r->watched.neighbors;
	size_t k = w->at++;

	switch (what) {
	case WATCH_NIC:
	case WATCH_PORT:
		if (k >= r->config->nics_count)
			return false;
		if (!*r->watched.nic[k].name)
			return true;
		add_line(w, what,
			what == WATCH_NIC ? nic_row(r, (unsigned)k) : port_row(r, (unsigned)k),
			"initial");
		return true;
	case WATCH_NEIGHBOR:
		/* Others may have come and gone since the one before. */
		k = w->last.address.family ? neighbor_rows_from(rows, &w->last) : 0;
		k += k < rows->n && w->last.address.family &&
		     !neighbor_order(&rows->row[k], &w->last);
		if (k >= rows->n)
			return false;
		w->last = rows->row[k];
		add_line(w, what, neighbor_json(r, &w->last), "initial");
		return true;
	case WATCH_COUNTER:
	case WATCH_DROP:
		if (k >= show_rows(r, name[what]))
			return false;
		add_line(w, what, show_row(r, name[what], (unsigned)k), NULL);
		return true;
	default:
		if (k)
			return false;
		add_line(w, what, table_row(r), NULL);
		return true;
	}
}

/* A route that comes from another source than before is told of both. */
static bool fits(const struct route_filter *f, const struct route_change *c)
{
	const struct prefix prefix = {{c->route.prefix, c->route.family}, c->route.length};

	return route_filter_prefix(f, &c->route) &&
	       (!f->to || (prefix.address.family == f->prefix.address.family &&
				  prefix_contains(&prefix, &f->prefix.address))) &&
	       (f->source < 0 || f->source == c->route.source || f->source == c->was_source);
}

/* The next change that is wanted; false: there is none. */
static bool say_route(struct watch *w)
{
	static const char *const flag[] = {"added", "replaced", "gone"};
	const struct route_change *change;
	const struct route_lead *lead;
	char *row;

	do
		change = route_reader_next(&w->r->watched.routes, &w->routes, &lead);
	while (change && !fits(&w->filter, change));
	if (!change)
		return false;
	begin_line(&w->lines, WATCH_ROUTE);
	row = buffer_reserve(&w->lines, SHOW_ROUTE_BYTES);
	if (row)
		w->lines.bytes += show_route(&change->route, lead, row);
	end_line(w, flag[change->became]);
	return true;
}

void watch_more(struct watch *w)
{
	while (w->tell && w->lines.bytes < LINES_BYTES && !w->lines.failed) {
		const unsigned what = (unsigned)__builtin_ctz(w->tell);

		if (what == WATCH_ROUTE ? say_route(w) : say_row(w, (enum watch_what)what))
			continue;
		w->tell &= ~(1u << what);
		w->at = 0;
		w->last = (struct neighbor_row){0};
	}
}

static void on_interval(void *context)
{
	struct watch *w = context;

	loop_after(&w->r->loop, &w->timer, w->interval_ms, on_interval, w);
	/* Of a slow one that has not had the last ones yet, these are left out. */
	if (w->tell & COUNTERS)
		return;
	w->tell |= w->what & COUNTERS;
	if (w->lines.bytes)
		return; /* it goes on when those are sent */
	watch_more(w);
	api_lines(w->client);
}

/* --- Routes ----------------------------------------------------------------------------------- */

static bool reads_routes(const struct watch *w)
{
	return w->what & 1u << WATCH_ROUTE && !w->lines.failed;
}

static void drop(struct watch *w)
{
	route_reader_leave(&w->r->watched.routes, &w->routes);
	w->lines.failed = true;
	api_lines(w->client);
}

/* So that so many more have room in the log. */
static void drop_slow(struct router *r, size_t more)
{
	struct route_log *log = &r->watched.routes;

	while (log->first && log->changes + more > WATCH_ROUTES_MAX)
		for (struct watch *w = r->watched.first; w; w = w->next)
			if (w->routes.batch && w->routes.batch == log->first)
				drop(w);
}

void watch_routes(void *context, const struct table_changed *changed)
{
	struct router *r = context;
	struct route_batch *batch = NULL;
	struct watch *w = r->watched.first;

	while (w && !reads_routes(w))
		w = w->next;
	if (!w)
		return;
	if (route_batch_new(&batch, r, changed) || (batch && batch->n > WATCH_ROUTES_MAX)) {
		/* Nobody can be told all, so all must ask anew. */
		route_batch_free(batch);
		for (; w; w = w->next)
			if (reads_routes(w))
				drop(w);
		return;
	}
	if (!batch)
		return;
	drop_slow(r, batch->n);
	route_log_add(&r->watched.routes, batch);
	for (; w; w = w->next)
		if (reads_routes(w))
			route_reader_follow(&w->routes, batch);
	route_log_trim(&r->watched.routes);
	for (w = r->watched.first; w; w = w->next) {
		if (!w->routes.batch)
			continue;
		w->tell |= 1u << WATCH_ROUTE;
		if (w->lines.bytes)
			continue; /* it goes on when those are sent */
		watch_more(w);
		api_lines(w->client);
	}
}

/* --- State ------------------------------------------------------------------------------------ */

static void tell(struct router *r, enum watch_what what, json_t *row, const char *flag)
{
	for (struct watch *w = r->watched.first, *next; w; w = next) {
		next = w->next;
		if (!(w->what & 1u << what))
			continue;
		add_line(w, what, json_incref(row), flag);
		api_lines(w->client);
	}
	json_decref(row);
}

static void look_at_nics(struct router *r, bool first)
{
	for (unsigned k = 0; k < P2PNIC_NICS_MAX; k++) {
		const struct router_nic *nic = &r->nic[k];
		struct watch_nic *was = &r->watched.nic[k], now = {""};
		bool nic_changed, port_changed;

		if (k < r->config->nics_count && config_nic_used(&r->config->nics[k])) {
			now = (struct watch_nic){.state = show_state(r, k),
				.restarts = nic->restarts,
				.link = nic->state == NIC_FORWARDING && nic->port.link};
			snprintf(now.name, sizeof(now.name), "%s", r->config->nics[k].name);
			memcpy(now.fault, nic->port.fault, sizeof(now.fault));
		}
		if (*was->name && strcmp(was->name, now.name) != 0) {
			tell(r, WATCH_NIC, nic_row(r, k), "gone");
			*was = (struct watch_nic){""};
		}
		if (!*now.name)
			continue;
		nic_changed = !first && (!*was->name || now.state != was->state ||
						now.restarts != was->restarts);
		port_changed = !first && (!*was->name || now.link != was->link ||
						 strcmp(now.fault, was->fault) != 0);
		*was = now;
		if (nic_changed)
			tell(r, WATCH_NIC, nic_row(r, k), NULL);
		if (port_changed)
			tell(r, WATCH_PORT, port_row(r, k), NULL);
	}
}

static bool same(const struct neighbor_row *a, const struct neighbor_row *b)
{
	return a->state == b->state && a->has_mac == b->has_mac &&
	       !memcmp(&a->mac, &b->mac, sizeof(a->mac));
}

/* Tells what differs, some of it in a turn of the loop. */
static void tell_neighbors(void *context)
{
	struct router *r = context;
	struct watched *w = &r->watched;
	const struct neighbor_rows *was = &w->neighbors, *now = &w->now;

	for (unsigned told = 0; w->at < was->n || w->now_at < now->n;) {
		const struct neighbor_row *a = w->at < was->n ? &was->row[w->at] : NULL;
		const struct neighbor_row *b = w->now_at < now->n ? &now->row[w->now_at] : NULL;
		const int order = !a ? 1 : !b ? -1 : neighbor_order(a, b);

		if (order || !same(a, b)) {
			if (told++ == TELL_MOST) {
				loop_after(&r->loop, &w->step, 0, tell_neighbors, r);
				return;
			}
			tell(r, WATCH_NEIGHBOR, neighbor_json(r, order < 0 ? a : b),
				order < 0 ? "gone" : NULL);
		}
		w->at += order <= 0;
		w->now_at += order >= 0;
	}
	free(w->neighbors.row);
	w->neighbors = w->now;
	w->now = (struct neighbor_rows){0};
}

static void look_at_neighbors(struct router *r, bool first)
{
	struct watched *w = &r->watched;
	const uint64_t seen =
		r->kernel ? kernel_state_counters(r->kernel->reader.state)->messages : r->reloads;

	if ((seen == w->seen && !first) || w->now.row ||
		neighbor_rows(r, first ? &w->neighbors : &w->now))
		return;
	w->seen = seen;
	w->at = w->now_at = 0;
	if (!first)
		tell_neighbors(r);
}

static void on_look(void *context)
{
	struct router *r = context;

	loop_after(&r->loop, &r->watched.timer, WATCH_LOOK_MS, on_look, r);
	watch_look(r);
}

void watch_look(struct router *r)
{
	if (!r->watched.first)
		return;
	look_at_nics(r, false);
	look_at_neighbors(r, false);
}

/* --- Begin and end ---------------------------------------------------------------------------- */

static unsigned count(const struct router *r)
{
	unsigned n = 0;

	for (const struct watch *w = r->watched.first; w; w = w->next)
		n++;
	return n;
}

static int read_how(const struct router *r, const json_t *how, unsigned *what, int *interval_ms,
	struct route_filter *filter, struct error *error)
{
	json_t *list = NULL, *to = NULL, *prefix = NULL, *longer = NULL, *source = NULL, *kind;
	struct error why;
	json_error_t wrong;
	size_t k;

	*what = 0;
	*interval_ms = WATCH_DEFAULT_MS;
	if (json_unpack_ex((json_t *)how, &wrong, 0, "{s:o, s?i, s?o, s?o, s?o, s?o!}", "what",
		    &list, "interval_ms", interval_ms, "to", &to, "prefix", &prefix, "longer",
		    &longer, "source", &source))
		return error_set(error, -EINVAL, "watch: %s", wrong.text);
	if (!json_is_array(list))
		return error_set(error, -EINVAL, "watch: what: want a list of names");
	if (*interval_ms < WATCH_LEAST_MS || *interval_ms > WATCH_MOST_MS)
		return error_set(error, -EINVAL, "watch: interval_ms: want %d to %d",
			WATCH_LEAST_MS, WATCH_MOST_MS);
	json_array_foreach(list, k, kind)
	{
		unsigned is = 0;

		while (is < WATCH_WHATS &&
			(!json_is_string(kind) || strcmp(json_string_value(kind), name[is]) != 0))
			is++;
		if (is == WATCH_WHATS)
			return error_set(error, -EINVAL,
				"watch: what: '%s' is none of nic, port, neighbor, counter, drop, "
				"table, route",
				json_is_string(kind) ? json_string_value(kind) : "(no text)");
		*what |= 1u << is;
	}
	if ((to || prefix || longer || source) && !(*what & 1u << WATCH_ROUTE))
		return error_set(
			error, -EINVAL, "watch: to, prefix, longer and source are of routes");
	if (route_filter_read(filter, r, how, &why))
		return error_set(error, -EINVAL, "watch: %s", why.text);
	return 0;
}

static int look_first(struct router *r)
{
	r->watched.nic = calloc(P2PNIC_NICS_MAX, sizeof(*r->watched.nic));
	if (!r->watched.nic)
		return -ENOMEM;
	look_at_nics(r, true);
	look_at_neighbors(r, true);
	loop_after(&r->loop, &r->watched.timer, WATCH_LOOK_MS, on_look, r);
	return 0;
}

json_t *watch_begin(struct watch *w, struct router *r, struct api_client *client, const json_t *how,
	const char *id, struct error *error)
{
	json_t *kinds = json_array();
	struct route_filter filter;
	int interval_ms;
	unsigned what;

	if (read_how(r, how, &what, &interval_ms, &filter, error))
		goto refused;
	if (what && !w->what && count(r) >= WATCH_CLIENTS_MAX) {
		error_set(error, -EBUSY, "watch: %u clients watch already", WATCH_CLIENTS_MAX);
		goto refused;
	}
	watch_stop(w);
	w->r = r;
	w->client = client;
	memcpy(w->id, id, strlen(id) + 1);
	if (what && !r->watched.first && look_first(r)) {
		error_set(error, -ENOMEM, "out of memory");
		goto refused;
	}
	for (unsigned k = 0; k < WATCH_WHATS; k++)
		if (what & 1u << k)
			json_array_append_new(kinds, json_string(name[k]));
	if (what) {
		w->next = r->watched.first;
		r->watched.first = w;
		w->what = what;
		w->tell = what & ~(1u << WATCH_ROUTE);
		w->filter = filter;
		w->at = 0;
		w->last = (struct neighbor_row){0};
		w->interval_ms = (unsigned)interval_ms;
		if (what & COUNTERS)
			loop_after(&r->loop, &w->timer, w->interval_ms, on_interval, w);
		watch_more(w);
	}
	return json_pack("{s:{s:o, s:i}}", "watch", "what", kinds, "interval_ms", interval_ms);

refused:
	json_decref(kinds);
	return NULL;
}

void watch_stop(struct watch *w)
{
	struct watch **at;

	if (!w->what)
		return;
	at = &w->r->watched.first;
	while (*at != w)
		at = &(*at)->next;
	*at = w->next;
	route_reader_leave(&w->r->watched.routes, &w->routes);
	w->what = w->tell = 0;
	loop_cancel(&w->r->loop, &w->timer);
	if (w->r->watched.first)
		return;
	loop_cancel(&w->r->loop, &w->r->watched.timer);
	loop_cancel(&w->r->loop, &w->r->watched.step);
	free(w->r->watched.nic);
	free(w->r->watched.neighbors.row);
	free(w->r->watched.now.row);
	w->r->watched = (struct watched){0};
}
