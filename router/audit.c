/* SPDX-License-Identifier: BSD-3-Clause */
#include "router/audit.h"
#include "router/kernel.h"
#include "router/router.h"
#include "router/show.h"
#include "router/table_check.h"

#include "firmware/fib_lookup.h"
#include "ipc/clock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LEAD_BYTES   128
#define NAMED_ROUTES 4096u /* of one step */

enum stage { LOOK, LOOKED, ROUTES, NICS, NAMES };

struct audit {
	struct router *r;
	struct loop_timer next, step;
	struct audit_question *questions;
	struct audit_counts counts;

	/* below: of the one that runs */
	bool running, mends;
	enum stage stage;
	uint64_t begun_ns;
	json_int_t differences, nics;
	uint64_t drift_kernel, drift_router, drift_nics;
	json_t *rows;
	struct kernel_look look;
	struct kernel_routes_check routes;
	unsigned nic;
	struct table_check memory; /* of that NIC */
	size_t named;              /* routes that were looked up in its copies */
	bool valid[2], family_named[2];
};

static void on_step(void *context);
static void begin(struct audit *a, bool mends);

static void later(struct audit *a, unsigned ms)
{
	loop_after(&a->r->loop, &a->step, ms, on_step, a);
}

/* --- Differences ------------------------------------------------------------------------------ */

static void differ(
	struct audit *a, const char *at, const char *prefix, const char *has, const char *wants)
{
	if (a->differences++ < AUDIT_ROWS_MAX)
		json_array_append_new(a->rows, json_pack("{s:s, s:s, s:s, s:s}", "at", at, "prefix",
						       prefix, "has", has, "wants", wants));
}

static const char *lead_text(const struct audit *a, unsigned next_hop, char text[LEAD_BYTES])
{
	const struct next_hops *hops = table_next_hops(a->r->table);

	if (next_hop && next_hop < TABLE_HALF_NEXT_HOPS && hops->word[next_hop])
		show_lead(a->r, next_hop, text, LEAD_BYTES);
	else
		snprintf(text, LEAD_BYTES, next_hop ? "unknown next hop" : "no route");
	return text;
}

static void differ_at(struct audit *a, const char *at, const struct route *route, unsigned has,
	unsigned wants, const char *suffix)
{
	const struct prefix prefix = {{route->prefix, route->family}, route->length};
	char address[ADDRESS_TEXT_BYTES], got[LEAD_BYTES], wanted[LEAD_BYTES], both[2 * LEAD_BYTES];

	snprintf(both, sizeof(both), "%s%s", lead_text(a, has, got), suffix);
	differ(a, at, prefix_text(&prefix, address), both, lead_text(a, wants, wanted));
}

/* --- The end ---------------------------------------------------------------------------------- */

static void say(const struct audit *a)
{
	const json_t *first = json_array_get(a->rows, 0);
	const char *text[4] = {NULL};

	for (unsigned k = 0; k < 4; k++) {
		static const char *const key[] = {"at", "prefix", "has", "wants"};

		text[k] = json_string_value(json_object_get(first, key[k]));
	}
	router_warn(a->r,
		LOG_AUDIT_DIFFERS
		"audit: %llu objects of the kernel, %llu routes of the router and %llu words of "
		"NICs were wrong, and are mended; the first: %s: %s: has %s, wants %s",
		(unsigned long long)a->drift_kernel, (unsigned long long)a->drift_router,
		(unsigned long long)a->drift_nics, text[0] ? text[0] : "-", text[1] ? text[1] : "-",
		text[2] ? text[2] : "-", text[3] ? text[3] : "-");
}

/* Ends the audit. unfinished: why it could not look at everything; NULL: it did. */
static void finish(struct audit *a, const char *unfinished)
{
	struct router *r = a->r;
	struct audit_question *asked = a->questions;
	const bool drift = a->drift_kernel || a->drift_router || a->drift_nics;
	json_t *answer;

	a->counts.audits += !unfinished;
	a->counts.unfinished += unfinished != NULL;
	a->counts.drift_kernel += a->drift_kernel;
	a->counts.drift_router += a->drift_router;
	a->counts.drift_nics += a->drift_nics;
	a->counts.repairs += a->mends && drift;
	if (!unfinished)
		a->counts.last_ms = (clock_now_ns() - a->begun_ns) / 1000000;
	if (a->mends && drift)
		say(a);
	answer = unfinished ? json_pack("{s:s}", "error", unfinished)
			    : json_pack("{s:{s:I, s:I, s:I, s:I, s:O}}", "check", "routes",
				      (json_int_t)table_routes(r->table)->n, "nics", a->nics,
				      "waiting",
				      (json_int_t)(r->kernel ? kernel_state_changes(
								       r->kernel->reader.state)
							     : 0),
				      "differences", a->differences, "rows", a->rows);
	json_decref(a->rows);
	a->rows = NULL;
	kernel_look_close(&a->look);
	table_check_free(&a->memory);
	a->running = false;
	audit_schedule(r);
	/* Who asked while one ran that mends has an audit of its own: it would be told of what is
	 * mended. */
	if (a->mends && asked) {
		begin(a, false);
		asked = NULL;
	} else {
		a->questions = NULL;
	}
	while (asked) {
		struct audit_question *q = asked;
		audit_done *done = q->done;

		asked = q->next;
		q->done = NULL;
		done(q->context, json_incref(answer));
	}
	json_decref(answer);
}

/* --- Kernel and mirror ------------------------------------------------------------------------ */

static void look_again(struct audit *a)
{
	a->stage = LOOK;
	later(a, AUDIT_WAIT_MS);
}

static void on_looked(void *context, bool ended)
{
	struct audit *a = context;

	if (!ended) {
		a->look.looks = 0;
		a->look.n = 0;
		look_again(a);
		return;
	}
	a->stage = LOOKED;
	later(a, 0);
}

static void step_look(struct audit *a)
{
	if (kernel_reader_look(&a->r->kernel->reader, &a->look, on_looked, a))
		look_again(a);
}

static void report_drift(struct audit *a)
{
	a->drift_kernel = kernel_look_drifted(&a->look);
	for (size_t k = 0; k < a->look.n; k++) {
		const struct kernel_key *key = &a->look.found[k];
		const struct prefix prefix = {{key->address, key->family}, key->length};
		char text[2 * ADDRESS_TEXT_BYTES], address[ADDRESS_TEXT_BYTES];

		if (key->kind == KERNEL_LINK || key->kind == KERNEL_NEXT_HOP)
			snprintf(text, sizeof(text), "%s %u", kernel_kind_name(key->kind), key->id);
		else
			snprintf(text, sizeof(text), "%s %s", kernel_kind_name(key->kind),
				key->kind == KERNEL_ROUTE ? prefix_text(&prefix, address)
							  : address_text(&prefix.address, address));
		differ(a, "router", text, "missed a change of it", "what the kernel has");
	}
	if (a->drift_kernel && a->mends)
		kernel_reader_again(&a->r->kernel->reader, 0);
}

static void step_looked(struct audit *a)
{
	if (kernel_look_step(&a->look)) {
		later(a, AUDIT_PAUSE_MS);
	} else if (a->look.overtaken) {
		on_looked(a, false);
	} else if (a->look.looks == 1 && a->look.n) {
		look_again(a);
	} else {
		if (a->look.looks > 1)
			report_drift(a);
		a->stage = ROUTES;
		later(a, AUDIT_PAUSE_MS);
	}
}

/* --- Mirror and router ------------------------------------------------------------------------ */

static void step_routes(struct audit *a)
{
	struct router *r = a->r;
	const struct routes *wrong = &r->kernel->routes.prefixes;
	int result;

	if (!kernel_commit(r)) {
		later(a, AUDIT_PAUSE_MS);
		return;
	}
	result = kernel_routes_check(&r->kernel->routes, r->table, &a->routes);
	if (result < 0) {
		finish(a, "no memory, or no next hops, for a comparison of kernel and router");
		return;
	}
	for (size_t k = 0; k < wrong->n; k++) {
		const struct route *old = routes_find(table_routes(r->table), &wrong->route[k]);

		differ_at(a, "router", &wrong->route[k], old ? old->next_hop : 0,
			wrong->route[k].next_hop, "");
	}
	for (unsigned k = 0; k < a->routes.moved; k++)
		differ(a, "router", "all by one next hop", "where it led before",
			"what the kernel has now");
	a->drift_router += wrong->n + a->routes.moved;
	if (!result && a->drift_router && a->mends)
		kernel_make_anew(r);
	if (!result)
		a->stage = NICS;
	later(a, AUDIT_PAUSE_MS);
}

/* --- Router and NICs -------------------------------------------------------------------------- */

static void next_nic(struct audit *a)
{
	table_check_free(&a->memory);
	a->nic++;
	a->stage = NICS;
	later(a, AUDIT_PAUSE_MS);
}

static void mend(struct audit *a, struct driver_nic *driver)
{
	struct error error;

	if (a->memory.other_half)
		table_fall_behind(a->r->table, driver);
	else if (table_rewrite(a->r->table, driver, &error))
		router_warn(a->r, "audit: %s", error.text);
	if (!table_in_step(a->r->table, driver))
		nics_mend(a->r);
}

static void begin_names(struct audit *a, const char *nic)
{
	const struct table_check *m = &a->memory;

	if (m->other_half)
		differ(a, nic, "all", "another table in force", "the router's");
	if (m->sources)
		differ(a, nic, "all", "another list of own addresses", "the router's");
	for (unsigned six = 0; six < 2; six++) {
		const struct table_check_image *i = &m->image[six];

		/* A lookup trusts the image. */
		a->valid[six] = i->bytes && fib_image_valid(i->wrong, i->bytes, six ? 6 : 4);
		a->family_named[six] = i->bytes && !a->valid[six];
		if (a->family_named[six])
			differ(a, nic, six ? "all IPv6" : "all IPv4", "a damaged image",
				"the router's");
	}
	a->named = 0;
}

static void step_nic(struct audit *a)
{
	struct router *r = a->r;
	struct router_nic *nic = &r->nic[a->nic];
	struct table_check *m = &a->memory;
	const char *name;
	uint64_t wrong;

	if (a->nic == r->config->nics_count) {
		finish(a, NULL);
		return;
	}
	name = r->config->nics[a->nic].name;
	if (!*name) {
		next_nic(a);
		return;
	}
	if (!nic_answers(nic) || !table_in_step(r->table, &nic->driver)) {
		differ(a, name, "all", "an old table, or none", "the router's");
		next_nic(a);
		return;
	}
	if (table_check_step(m, r->table, &nic->driver, a->mends)) {
		later(a, AUDIT_PAUSE_MS);
		return;
	}
	a->nics++;
	wrong = m->words[0] + m->words[1] + m->next_hops + m->sources + m->other_half;
	a->drift_nics += wrong;
	if (!wrong) {
		next_nic(a);
		return;
	}
	if (a->mends)
		mend(a, &nic->driver);
	begin_names(a, name);
	a->stage = NAMES;
	later(a, AUDIT_PAUSE_MS);
}

/* An address whose longest prefix is the route itself, if there is one: the first of the route,
 * where no longer one begins. Else the last. */
static struct fib_ipv6 probe(const struct routes *routes, size_t k)
{
	const struct route *route = &routes->route[k], *next = route + 1;
	struct fib_ipv6 last = route->prefix;

	if (k + 1 == routes->n || next->family != route->family ||
		next->prefix.high != route->prefix.high || next->prefix.low != route->prefix.low)
		return route->prefix;
	last.high |= route->length >= 64 ? 0 : ~0ull >> route->length;
	last.low |= route->length >= 128 ? 0
		    : route->length > 64 ? ~0ull >> (route->length - 64)
					 : ~0ull;
	if (route->family == 4)
		last = (struct fib_ipv6){last.high & 0xffffffff00000000u, 0};
	return last;
}

static void look_up(const void *image, bool six, const struct fib_ipv6 *address, uint16_t *has)
{
	const uint32_t address4 = (uint32_t)(address->high >> 32);

	if (six)
		fib6_lookup(image, address, has, 1);
	else
		fib4_lookup(image, &address4, has, 1);
}

static void name_route(struct audit *a, const char *nic, const struct routes *routes, size_t k)
{
	const struct route *route = &routes->route[k];
	const bool six = route->family == 6;
	const struct table_check_image *image = &a->memory.image[six];
	const unsigned half = table_own_half(a->r->table) * TABLE_HALF_NEXT_HOPS;
	const struct fib_ipv6 address = probe(routes, k);
	uint16_t has, wants;

	if (a->memory.wrong[route->next_hop])
		differ_at(a, nic, route, route->next_hop, route->next_hop,
			", but not so in its memory");
	if (!a->valid[six])
		return;
	look_up(image->wrong, six, &address, &has);
	look_up(image->right, six, &address, &wants);
	if (has == wants)
		return;
	a->family_named[six] = true;
	differ_at(a, nic, route, has ? has - half : 0, wants ? wants - half : 0, "");
}

/* Words that no lookup of a route's address meets. */
static void name_rest(struct audit *a, const char *nic)
{
	for (unsigned six = 0; six < 2; six++) {
		char text[64];

		snprintf(text, sizeof(text), "%llu words that are others",
			(unsigned long long)a->memory.words[six]);
		if (a->memory.words[six] && !a->family_named[six])
			differ(a, nic, six ? "all IPv6" : "all IPv4", text, "the router's");
	}
}

static void step_names(struct audit *a)
{
	const struct routes *routes = table_routes(a->r->table);
	const char *nic = a->r->config->nics[a->nic].name;

	for (unsigned n = 0; n < NAMED_ROUTES && a->named < routes->n; n++)
		name_route(a, nic, routes, a->named++);
	if (a->named < routes->n) {
		later(a, AUDIT_PAUSE_MS);
		return;
	}
	name_rest(a, nic);
	next_nic(a);
}

/* --- An audit --------------------------------------------------------------------------------- */

static void on_step(void *context)
{
	static void (*const step[])(struct audit *) = {
		step_look, step_looked, step_routes, step_nic, step_names};
	struct audit *a = context;
	const uint64_t start = clock_now_ns();

	if (start - a->begun_ns > AUDIT_DEADLINE_MS * 1000000ull)
		finish(a, "changes of the kernel's, or of the table, did not let it end");
	else
		step[a->stage](a);
	if (clock_now_ns() - start > a->counts.held_most_ns)
		a->counts.held_most_ns = clock_now_ns() - start;
}

static void begin(struct audit *a, bool mends)
{
	struct router *r = a->r;

	a->running = true;
	a->mends = mends;
	a->begun_ns = clock_now_ns();
	a->differences = a->nics = 0;
	a->drift_kernel = a->drift_router = a->drift_nics = 0;
	a->rows = json_array();
	a->routes = (struct kernel_routes_check){0};
	a->nic = 0;
	a->stage = r->kernel ? LOOK : NICS;
	if (!a->rows || !r->table ||
		(r->kernel && kernel_look_open(&a->look, r->kernel->reader.state)))
		a->begun_ns = 0; /* and so gives up */
	later(a, 0);
}

static void on_next(void *context)
{
	struct audit *a = context;

	if (!a->running)
		begin(a, true);
}

void audit_schedule(struct router *r)
{
	struct audit *a = r->audit;
	const unsigned seconds = r->config->kernel ? *r->config->kernel->audit : 0;

	if (seconds)
		loop_after(&r->loop, &a->next, seconds * 1000, on_next, a);
	else
		loop_cancel(&r->loop, &a->next);
}

void audit_ask(struct router *r, struct audit_question *q, audit_done *done, void *context)
{
	*q = (struct audit_question){r->audit->questions, done, context};
	r->audit->questions = q;
	if (!r->audit->running)
		begin(r->audit, false);
}

void audit_forget(struct router *r, struct audit_question *q)
{
	struct audit_question **at = r->audit ? &r->audit->questions : NULL;

	while (at && *at && *at != q)
		at = &(*at)->next;
	if (at && *at)
		*at = q->next;
	q->done = NULL;
}

const struct audit_counts *audit_counts(const struct router *r)
{
	return &r->audit->counts;
}

int audit_open(struct router *r)
{
	r->audit = calloc(1, sizeof(*r->audit));
	if (!r->audit)
		return router_fail(r, -ENOMEM, "out of memory");
	r->audit->r = r;
	audit_schedule(r);
	return 0;
}

void audit_close(struct router *r)
{
	struct audit *a = r->audit;

	if (!a)
		return;
	if (r->kernel)
		kernel_reader_look_cancel(&r->kernel->reader);
	loop_cancel(&r->loop, &a->next);
	loop_cancel(&r->loop, &a->step);
	json_decref(a->rows);
	kernel_look_close(&a->look);
	table_check_free(&a->memory);
	free(a);
	r->audit = NULL;
}
