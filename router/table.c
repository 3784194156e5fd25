/* SPDX-License-Identifier: BSD-3-Clause */
#include "router/table.h"
#include "router/config_routes.h"

#include "fib/fib_image.h"
#include "ipc/clock.h"

#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct table {
	uint32_t bar2_bytes;
	unsigned kind, half;
	struct next_hops *hops;
	struct routes routes;
	struct fib *fib[2]; /* IPv4, IPv6; NULL: not made, and then no NIC is in step */
	uint64_t image_bytes[2];
	bool in_step[P2PNIC_NICS_MAX];
	bool version_1; /* a NIC has come that takes no IPv6 image of version 2 */
	struct table_counts counts;
	table_watcher *watcher;
	void *watcher_context;
	struct p2pnic_sources sources; /* own and broadcast addresses: packets from them stay */
};

int table_new(struct table **out, uint32_t bar2_bytes, unsigned kind, unsigned half)
{
	struct table *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	*t = (struct table){.bar2_bytes = bar2_bytes, .kind = kind, .half = half};
	t->hops = next_hops_new();
	if (!t->hops) {
		free(t);
		return -ENOMEM;
	}
	*out = t;
	return 0;
}

void table_free(struct table *t)
{
	if (!t)
		return;
	fib_free(t->fib[0]);
	fib_free(t->fib[1]);
	routes_free(&t->routes);
	free(t->hops);
	free(t);
}

void table_watch(struct table *t, table_watcher *watcher, void *context)
{
	t->watcher = watcher;
	t->watcher_context = context;
}

static void tell(const struct table *t, const struct table_changed *changed)
{
	if (t->watcher)
		t->watcher(t->watcher_context, changed);
}

/* --- Images ----------------------------------------------------------------------------------- */

struct layout {
	uint32_t offset[2]; /* of the IPv4 and the IPv6 image in BAR2 */
	uint32_t room[2];
};

/* The FIB area in halves, each five eighths IPv4 and the rest IPv6. */
static struct layout layout_of(uint32_t bar2_bytes, unsigned half)
{
	uint32_t area = (bar2_bytes - P2PNIC_BAR2_FIB) / 2;
	uint32_t v4 = area / 8 * 5 / P2PNIC_FIB_ALIGN * P2PNIC_FIB_ALIGN;
	uint32_t start = P2PNIC_BAR2_FIB + half * area;

	return (struct layout){{start, start + v4}, {v4, area - v4}};
}

/* A route as the FIB of that half takes it. */
static struct fib_route fib_route_of(const struct route *r, unsigned half)
{
	return (struct fib_route){r->prefix, r->length, r->family,
		(uint16_t)(r->next_hop ? r->next_hop + half * TABLE_HALF_NEXT_HOPS : 0)};
}

/* Those of one family; NULL: out of memory. */
static struct fib_route *fib_routes_of(
	const struct route *route, size_t routes, unsigned family, unsigned half, size_t *n)
{
	struct fib_route *list = malloc((routes + 1) * sizeof(*list));

	*n = 0;
	for (size_t k = 0; list && k < routes; k++)
		if (route[k].family == family)
			list[(*n)++] = fib_route_of(&route[k], half);
	return list;
}

/* The image of one family for one half, the same for all NICs. */
static int image_new(
	const struct table *t, unsigned half, unsigned six, struct fib **out, struct error *error)
{
	const struct fib_config config = {.family = six ? 6 : 4,
		.kind = t->kind,
		.version_1 = t->version_1,
		.room = layout_of(t->bar2_bytes, half).room[six]};
	struct error reason = {"out of memory"};
	size_t n;
	struct fib_route *list =
		fib_routes_of(t->routes.route, t->routes.n, config.family, half, &n);
	struct fib *fib = list ? fib_new(&config, &reason) : NULL;
	int result = fib ? fib_build(fib, list, n, &reason) : -ENOMEM;

	free(list);
	if (result) {
		error_set(error, result, "IPv%u table of %zu routes: %s", config.family, n,
			reason.text);
		fib_free(fib);
		return result;
	}
	*out = fib;
	return 0;
}

/* Images that NICs have no part in any more: they are made again when they are needed. */
static void drop_images(struct table *t)
{
	for (unsigned six = 0; six < 2; six++) {
		fib_free(t->fib[six]);
		t->fib[six] = NULL;
	}
	memset(t->in_step, 0, sizeof(t->in_step));
}

/* All NICs have the same images. So with an older one among them all are loaded anew, with images
 * that it takes. */
static void mind_version(struct table *t, const struct driver_nic *n)
{
	if (t->version_1 || n->version >= P2PNIC_FIB_VERSION_WIDE_FROM)
		return;
	t->version_1 = true;
	drop_images(t);
}

/* --- Load ------------------------------------------------------------------------------------- */

int table_half(struct driver_nic *n)
{
	uint32_t in_force;
	int error = driver_nic_read(n, P2PNIC_REG_FIB4_OFFSET, &in_force);

	if (error || !in_force)
		return error ? error : -ENOENT;
	return in_force != layout_of(n->bar2_bytes, 0).offset[0];
}

static int nic_error(struct driver_nic *n, int result, struct error *error)
{
	if (!result)
		return 0;
	return error_set(error, result < 0 ? result : -EIO, "%s: the table: %s", n->name,
		driver_nic_result(result));
}

static int switch_to(struct driver_nic *n, unsigned half)
{
	const struct layout layout = layout_of(n->bar2_bytes, half);
	int result = 0;

	for (unsigned six = 0; six < 2 && !result; six++) {
		result = driver_nic_write(n, six ? P2PNIC_REG_FIB6_OFFSET : P2PNIC_REG_FIB4_OFFSET,
			layout.offset[six]);
		if (!result)
			result = driver_nic_command(
				n, six ? P2PNIC_OP_FIB_IPV6 : P2PNIC_OP_FIB_IPV4, 0);
	}
	return result;
}

static int write_sources(const struct table *t, struct driver_nic *n)
{
	int result;

	memcpy(n->bar2 + P2PNIC_BAR2_SOURCES, &t->sources, sizeof(t->sources));
	result = driver_nic_command(n, P2PNIC_OP_SOURCES, 0);
	return result == P2PNIC_BAD_OPERATION ? 0 : result; /* contract 1.0 has no such list */
}

/* Both images are whole before the first is switched to: a router that dies in between leaves a
 * table that the next one can switch to for good. */
static int load_half(struct table *t, struct driver_nic *n, unsigned half, struct error *error)
{
	const struct layout layout = layout_of(t->bar2_bytes, half);
	unsigned ignored;
	int result = 0;

	next_hops_write(t->hops, NULL, n->bar2, half, &ignored);
	for (unsigned six = 0; six < 2 && !result; six++) {
		struct fib *fib = half == t->half ? t->fib[six] : NULL;

		if (!fib)
			result = image_new(t, half, six, &fib, error);
		if (result)
			return result;
		fib_image_write(fib, n->bar2 + layout.offset[six]);
		if (half != t->half) {
			fib_free(fib);
			continue;
		}
		t->fib[six] = fib;
		fib_image(fib, &t->image_bytes[six]);
	}
	result = switch_to(n, half);
	if (!result)
		result = write_sources(t, n);
	if (!result)
		result = driver_nic_epoch(n);
	return nic_error(n, result, error);
}

int table_load(struct table *t, struct driver_nic *n, struct error *error)
{
	int half = table_half(n), result = 0;

	t->in_step[n->index] = false;
	if (n->bar2_bytes != t->bar2_bytes)
		return error_set(error, -EINVAL,
			"%s: table memory is %u MiB, the table was made for %u", n->name,
			n->bar2_bytes >> 20, t->bar2_bytes >> 20);
	mind_version(t, n);
	/* A router that died between register and command, or between the families, left that half
	 * whole. */
	if (half != -ENOENT)
		result = half < 0 ? half : switch_to(n, (unsigned)half);
	if (result < 0)
		return nic_error(n, result, error);
	/* It forwards by something else in that very half: by way of the other one, then. */
	result = half == (int)t->half ? load_half(t, n, !t->half, error) : 0;
	if (!result)
		result = load_half(t, n, t->half, error);
	t->in_step[n->index] = !result;
	t->counts.loads += !result;
	return result;
}

/* --- Change ----------------------------------------------------------------------------------- */

/* Is it one of the addresses in t->sources? */
static bool is_source(const struct next_hops *hops, const struct route *r)
{
	unsigned members, kind;

	if (r->family != 4 || r->length != 32 || !r->next_hop)
		return false;
	kind = next_hops_lead(hops, r->next_hop, &members)->kind;
	return kind == P2PNIC_ADJACENCY_LOCAL || kind == P2PNIC_ADJACENCY_BROADCAST;
}

/* How many there will be; *changed: others than now. */
static size_t count_sources(const struct table *t, const struct next_hops *hops,
	const struct route *change, size_t changes, bool *changed)
{
	size_t n = t->sources.count;

	*changed = false;
	for (size_t k = 0; k < changes; k++) {
		const struct route *old = routes_find(&t->routes, &change[k]);
		bool was = old && is_source(t->hops, old), is = is_source(hops, &change[k]);

		n = n + is - was;
		*changed |= is != was;
	}
	return n;
}

static void list_sources(struct table *t)
{
	t->sources.count = 0;
	for (size_t k = 0; k < t->routes.n; k++)
		if (is_source(t->hops, &t->routes.route[k]))
			t->sources.address[t->sources.count++] =
				htobe32((uint32_t)(t->routes.route[k].prefix.high >> 32));
}

/* What becomes of the routes, and of the numbers of those that lead to each next hop. */
static void count_routes(const struct table *t, struct next_hops *hops, const struct route *change,
	size_t changes, struct table_report *report)
{
	for (size_t k = 0; k < changes; k++) {
		const struct route *old = routes_find(&t->routes, &change[k]);

		if (old)
			hops->users[old->next_hop]--;
		if (change[k].next_hop)
			hops->users[change[k].next_hop]++;
		report->added += !old && change[k].next_hop;
		report->deleted += old && !change[k].next_hop;
		report->changed += old && change[k].next_hop && old->next_hop != change[k].next_hop;
	}
}

/* The images as they will be; nothing of it has left the host. patch NULL: no route of that family
 * changes. */
static int change_images(struct table *t, const struct route *change, size_t changes,
	const struct fib_patch *patch[2], struct error *error)
{
	struct error reason = {"out of memory"};
	int result = 0;

	for (unsigned six = 0; six < 2 && !result; six++) {
		unsigned family = six ? 6 : 4;
		size_t n;
		struct fib_route *list = fib_routes_of(change, changes, family, t->half, &n);

		result = list ? 0 : -ENOMEM;
		if (!result && n)
			result = fib_change(t->fib[six], list, n, &patch[six], &reason);
		free(list);
		if (result)
			error_set(error, result, "IPv%u table: %s", family, reason.text);
	}
	/* IPv6 does not fit, and the IPv4 image is ahead of the NICs' copies. */
	if (result && patch[0])
		drop_images(t);
	return result;
}

static void fall_out(struct table *t, struct driver_nic *n, int result, struct table_report *report)
{
	t->in_step[n->index] = false;
	report->failed++;
	nic_error(n, result, &report->failure);
}

static void write_change(struct table *t, const struct next_hops *hops,
	const struct fib_patch *patch[2], const struct table_nics *nics,
	struct table_report *report)
{
	const struct layout layout = layout_of(t->bar2_bytes, t->half);
	uint64_t start = clock_now_ns();

	for (unsigned k = 0; k < nics->n; k++) {
		struct driver_nic *n = nics->nic[k];

		if (!t->in_step[n->index])
			continue;
		report->bytes = next_hops_write(hops, t->hops, n->bar2, t->half, &report->moved);
		for (unsigned six = 0; six < 2; six++)
			if (patch[six]) {
				fib_patch_apply(patch[six], n->bar2 + layout.offset[six]);
				report->bytes += patch[six]->bytes;
			}
	}
	for (unsigned k = 0; k < nics->n; k++) {
		struct driver_nic *n = nics->nic[k];
		int result = t->in_step[n->index] && report->bytes ? driver_nic_epoch(n) : 0;

		if (result)
			fall_out(t, n, result, report);
		report->patched += t->in_step[n->index];
	}
	report->ns = clock_now_ns() - start;
}

/* Those that are not in `skip`. */
static void load_others(struct table *t, const struct table_nics *nics, const bool *skip,
	struct table_report *report)
{
	uint64_t start = clock_now_ns();
	struct error error;

	for (unsigned k = 0; k < nics->n; k++)
		mind_version(t, nics->nic[k]);
	for (unsigned k = 0; k < nics->n; k++) {
		if (skip[nics->nic[k]->index])
			continue;
		if (table_load(t, nics->nic[k], &error) == 0) {
			report->loaded++;
		} else {
			report->failed++;
			report->failure = error;
		}
	}
	if (report->loaded)
		report->ns += clock_now_ns() - start;
}

int table_change(struct table *t, struct next_hops *hops, const struct route *change,
	size_t changes, const struct table_nics *nics, struct table_report *report,
	struct error *error)
{
	const struct fib_patch *patch[2] = {NULL, NULL};
	bool were_in_step[P2PNIC_NICS_MAX], sources_changed;
	int result = 0;

	*report = (struct table_report){0};
	memcpy(were_in_step, t->in_step, sizeof(were_in_step));
	if (count_sources(t, hops, change, changes, &sources_changed) > P2PNIC_SOURCES_MAX)
		return error_set(error, -E2BIG,
			"more than %u own and broadcast IPv4 addresses: give NICs fewer",
			P2PNIC_SOURCES_MAX);
	count_routes(t, hops, change, changes, report);
	if (routes_reserve(&t->routes, report->added))
		return error_set(error, -ENOMEM, "out of memory for %zu routes", t->routes.n);
	for (unsigned six = 0; six < 2 && !result; six++)
		if (!t->fib[six])
			result = image_new(t, t->half, six, &t->fib[six], error);
	if (!result)
		result = change_images(t, change, changes, patch, error);
	if (result)
		return result;
	next_hops_sweep(hops);
	write_change(t, hops, patch, nics, report);
	/* Whoever did not pass the epoch is out of step: its copy is not written any more. */
	for (unsigned six = 0; six < 2; six++) {
		if (patch[six])
			fib_epoch_passed(t->fib[six], patch[six]->epoch);
		fib_image(t->fib[six], &t->image_bytes[six]);
	}
	tell(t, &(struct table_changed){&t->routes, t->hops, change, changes, hops, false});
	free(t->hops);
	t->hops = hops;
	routes_apply(&t->routes, change, changes);
	if (sources_changed) {
		list_sources(t);
		for (unsigned k = 0; k < nics->n; k++) {
			struct driver_nic *n = nics->nic[k];

			result = t->in_step[n->index] ? write_sources(t, n) : 0;
			if (result)
				fall_out(t, n, result, report);
		}
	}
	if (report->patched) {
		t->counts.patches++;
		t->counts.last_patch_bytes = report->bytes;
		t->counts.last_patch_ns = report->ns;
	}
	load_others(t, nics, were_in_step, report);
	return 0;
}

/* --- All routes ------------------------------------------------------------------------------- */

static int check_shrinking(const struct routes *from, const struct routes *to, struct error *error)
{
	size_t n[3] = {0}, gone[3] = {0}; /* IPv4, IPv6, both */
	const struct route *now = to->route, *end = now + to->n;

	for (size_t k = 0; k < from->n; k++) {
		const struct route *r = &from->route[k];
		unsigned six = r->family == 6;
		bool lost;

		while (now < end && route_order(now, r) < 0)
			now++;
		lost = now == end || route_order(now, r);
		n[six]++;
		n[2]++;
		gone[six] += lost;
		gone[2] += lost;
	}
	for (unsigned k = 0; k < 3; k++)
		if (n[k] >= TABLE_SHRINK_ROUTES && gone[k] > n[k] / 2)
			return error_set(error, -ECANCELED,
				"%zu of %zu%s routes would be deleted, more than half, as if a "
				"file were cut",
				gone[k], n[k],
				k == 0   ? " IPv4"
				: k == 1 ? " IPv6"
					 : "");
	return 0;
}

/* By a change of this table. in_force: routes that must not shrink by more than half; NULL: they
 * may. */
static int change_to(struct table *t, table_source *source, void *context, bool alone,
	const struct routes *in_force, const struct table_nics *nics, struct table_report *report,
	struct error *error)
{
	struct next_hops *hops = next_hops_copy(t->hops);
	struct routes routes = {0}, changes = {0};
	int result = hops ? source(context, &routes, hops, alone, error) : -ENOMEM;

	if (!result && in_force)
		result = check_shrinking(in_force, &routes, error);
	if (!result)
		result = routes_difference(&changes, &t->routes, &routes);
	if (result == -ENOMEM)
		error_set(error, -ENOMEM, "out of memory for a change of the table");
	routes_free(&routes);
	if (!result)
		result = table_change(t, hops, changes.route, changes.n, nics, report, error);
	routes_free(&changes);
	if (result)
		free(hops);
	return result;
}

int table_make(struct table **table, unsigned kind, table_source *source, void *context,
	bool shrink, const struct table_nics *nics, struct table_report *report,
	struct error *error)
{
	const struct table_nics none = {.n = 0};
	struct table *old = *table, *new;
	const struct routes *in_force = shrink ? NULL : &old->routes;
	struct error why = {"another kind of table"};
	int result = -ENOSPC;

	if (kind == old->kind) {
		result = change_to(
			old, source, context, !old->routes.n, in_force, nics, report, &why);
		if ((result != -ENOSPC && result != -EAGAIN) || !old->routes.n) {
			*error = why;
			return result;
		}
	}
	result = table_new(&new, old->bar2_bytes, kind, !old->half);
	if (result)
		return error_set(error, result, "out of memory for a table");
	result = change_to(new, source, context, true, in_force, &none, report, error);
	if (result) {
		table_free(new);
		return result;
	}
	report->whole = true;
	report->why = why;
	new->counts = old->counts;
	load_others(new, nics, new->in_step, report);
	table_watch(new, old->watcher, old->watcher_context);
	tell(new, &(struct table_changed){&old->routes, old->hops, new->routes.route, new->routes.n,
			  new->hops, true});
	table_free(old);
	*table = new;
	return 0;
}

/* --- Configuration ---------------------------------------------------------------------------- */

unsigned table_kind(const struct config *c)
{
	return c->router->table && !strcmp(c->router->table, "state-jump") ? P2PNIC_FIB_STATE_JUMP
									   : P2PNIC_FIB_LINE_TRIE;
}

struct configured {
	const struct config *config;
	const struct mac_addr *mac;
};

static int routes_of_config(void *context, struct routes *routes, struct next_hops *hops,
	bool alone, struct error *error)
{
	const struct configured *c = context;

	return config_routes(routes, hops, c->config, c->mac, error);
}

int table_configure(struct table **table, const struct config *config, const struct mac_addr *mac,
	bool confirmed, const struct table_nics *nics, struct table_report *report,
	struct error *error)
{
	struct configured c = {config, mac};

	return table_make(
		table, table_kind(config), routes_of_config, &c, confirmed, nics, report, error);
}

int table_try(const struct config *config, struct error *error)
{
	const struct table_nics none = {.n = 0};
	struct mac_addr mac[P2PNIC_NICS_MAX];
	struct table_report report;
	struct table *table;
	int result =
		table_new(&table, *config->router->table_memory_mib << 20, table_kind(config), 0);

	if (result)
		return error_set(error, result, "out of memory for a table");
	/* Any that is one: without, a NIC is not there yet (config_routes.h). */
	for (unsigned k = 0; k < P2PNIC_NICS_MAX; k++)
		mac[k] = (struct mac_addr){{2, 0, 0, 0, 0, (uint8_t)k}};
	result = table_configure(&table, config, mac, true, &none, &report, error);
	table_free(table);
	return result;
}

/* --- Looking at it ---------------------------------------------------------------------------- */

const void *table_image(const struct table *t, unsigned six, uint64_t *bytes)
{
	*bytes = 0;
	return t->fib[six] ? fib_image(t->fib[six], bytes) : NULL;
}

const struct fib *table_fib(const struct table *t, unsigned six)
{
	return t->fib[six];
}

uint32_t table_image_place(const struct table *t, unsigned six)
{
	return layout_of(t->bar2_bytes, t->half).offset[six];
}

uint64_t table_image_room(const struct table *t, unsigned six)
{
	return layout_of(t->bar2_bytes, t->half).room[six];
}

unsigned table_own_half(const struct table *t)
{
	return t->half;
}

const struct p2pnic_sources *table_sources(const struct table *t)
{
	return &t->sources;
}

int table_rewrite(struct table *t, struct driver_nic *n, struct error *error)
{
	unsigned ignored;
	int result;

	next_hops_write(t->hops, NULL, n->bar2, t->half, &ignored);
	result = write_sources(t, n);
	if (!result)
		result = driver_nic_epoch(n);
	t->in_step[n->index] = !result;
	return nic_error(n, result, error);
}

bool table_in_step(const struct table *t, const struct driver_nic *n)
{
	return t->in_step[n->index];
}

void table_fall_behind(struct table *t, const struct driver_nic *n)
{
	t->in_step[n->index] = false;
}

const struct routes *table_routes(const struct table *t)
{
	return &t->routes;
}

const struct next_hops *table_next_hops(const struct table *t)
{
	return t->hops;
}

const struct table_counts *table_counts(const struct table *t)
{
	return &t->counts;
}

uint64_t table_image_bytes(const struct table *t, unsigned family)
{
	return t->image_bytes[family == 6];
}

const char *table_report_text(const struct table_report *r, char text[TABLE_REPORT_BYTES])
{
	FILE *out = fmemopen(text, TABLE_REPORT_BYTES, "w");

	text[0] = 0;
	if (!out)
		return text;
	if (r->whole)
		fprintf(out, "%zu routes", r->added);
	else
		fprintf(out, "%zu routes added, %zu changed, %zu deleted", r->added, r->changed,
			r->deleted);
	if (r->moved)
		fprintf(out, ", %u next hops lead elsewhere", r->moved);
	if (r->patched || !r->loaded)
		fprintf(out, "; patch of %llu bytes into %u NICs", (unsigned long long)r->bytes,
			r->patched);
	if (r->loaded)
		fprintf(out, "; loaded whole into %u NICs", r->loaded);
	fprintf(out, " in %llu us", (unsigned long long)(r->ns / 1000));
	if (r->whole)
		fprintf(out, ", because: %s", r->why.text);
	if (r->failed)
		fprintf(out, "; %u NICs not reached: %s", r->failed, r->failure.text);
	fclose(out);
	return text;
}
