/* SPDX-License-Identifier: BSD-3-Clause */
#include "router/audit.h"
#include "router/kernel.h"
#include "router/router.h"
#include "router/show.h"

#include "firmware/fib_lookup.h"

#include <stdio.h>

#define LEAD_BYTES 128

struct audit {
	struct router *router;
	json_int_t differences, nics;
	json_t *rows;
};

static void differ(
	struct audit *a, const char *at, const char *prefix, const char *has, const char *wants)
{
	if (a->differences++ < AUDIT_ROWS_MAX)
		json_array_append_new(a->rows, json_pack("{s:s, s:s, s:s, s:s}", "at", at, "prefix",
						       prefix, "has", has, "wants", wants));
}

static const char *lead_text(const struct audit *a, unsigned next_hop, char text[LEAD_BYTES])
{
	const struct next_hops *hops = table_next_hops(a->router->table);

	if (next_hop && next_hop < TABLE_HALF_NEXT_HOPS && hops->word[next_hop])
		show_lead(a->router, next_hop, text, LEAD_BYTES);
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

/* --- Kernel and router ------------------------------------------------------------------------ */

static void look_at_kernel(struct audit *a)
{
	struct router *r = a->router;
	struct routes changes = {0};
	bool moved[TABLE_HALF_NEXT_HOPS];
	struct error error;

	if (kernel_routes_compare(&r->kernel->routes, r->table, &changes, moved, &error)) {
		differ(a, "router", "all", "not known", error.text);
		return;
	}
	for (size_t k = 0; k < changes.n; k++) {
		const struct route *old = routes_find(table_routes(r->table), &changes.route[k]);

		differ_at(a, "router", &changes.route[k], old ? old->next_hop : 0,
			changes.route[k].next_hop, "");
	}
	routes_free(&changes);
	for (unsigned k = 1; k < TABLE_HALF_NEXT_HOPS; k++)
		if (moved[k])
			differ(a, "router", "all by one next hop", "where it led before",
				"what the kernel has now");
}

/* --- Router and NICs -------------------------------------------------------------------------- */

/* An address whose longest prefix is found without a search, if there is one: the first of the
 * route, where no longer one begins. Else the last. *wants: where it leads. */
static struct fib_ipv6 probe(const struct routes *routes, size_t k, unsigned *wants)
{
	const struct route *route = &routes->route[k], *next = route + 1;
	struct address last = {route->prefix, route->family};
	const struct route *longest;

	*wants = route->next_hop;
	if (k + 1 == routes->n || next->family != route->family ||
		next->prefix.high != route->prefix.high || next->prefix.low != route->prefix.low)
		return route->prefix;
	last.bits.high |= route->length >= 64 ? 0 : ~0ull >> route->length;
	last.bits.low |= route->length >= 128 ? 0
			 : route->length > 64 ? ~0ull >> (route->length - 64)
					      : ~0ull;
	if (route->family == 4)
		last.bits = (struct fib_ipv6){last.bits.high & 0xffffffff00000000u, 0};
	longest = routes_longest(routes, &last);
	*wants = longest->next_hop;
	return last.bits;
}

static void look_at_burst(struct audit *a, const char *nic, const struct table_copy *copy,
	const bool *wrong, size_t first, unsigned n)
{
	const struct routes *routes = table_routes(a->router->table);
	const bool six = routes->route[first].family == 6;
	struct fib_ipv6 address[P2PNIC_BURST_MAX];
	uint32_t address4[P2PNIC_BURST_MAX];
	unsigned wants[P2PNIC_BURST_MAX];
	uint16_t has[P2PNIC_BURST_MAX];

	for (unsigned k = 0; k < n; k++) {
		address[k] = probe(routes, first + k, &wants[k]);
		address4[k] = (uint32_t)(address[k].high >> 32);
	}
	if (six)
		fib6_lookup(copy->image[1], address, has, n);
	else
		fib4_lookup(copy->image[0], address4, has, n);
	for (unsigned k = 0; k < n; k++) {
		const unsigned number =
			has[k] ? has[k] - copy->half * TABLE_HALF_NEXT_HOPS : 0; /* or too large */

		if (number != wants[k])
			differ_at(a, nic, &routes->route[first + k], number, wants[k], "");
		else if (wrong[number])
			differ_at(a, nic, &routes->route[first + k], number, wants[k],
				", but not so in its memory");
	}
}

static void look_at_nic(struct audit *a, const char *nic, struct driver_nic *driver)
{
	const struct table *table = a->router->table;
	const struct routes *routes = table_routes(table);
	const struct table_copy copy = table_copy_in(table, driver);
	bool wrong[TABLE_HALF_NEXT_HOPS] = {false};
	bool valid[2];
	unsigned n;

	a->nics++;
	if (table_half(driver) != (int)copy.half) {
		differ(a, nic, "all", "another table in force", "the router's");
		return;
	}
	for (unsigned k = 1; k < TABLE_HALF_NEXT_HOPS; k++)
		wrong[k] = !next_hops_has(table_next_hops(table), k, driver->bar2, copy.half);
	/* A lookup trusts the image. */
	for (unsigned six = 0; six < 2; six++) {
		valid[six] = fib_image_valid(copy.image[six], copy.room[six], six ? 6 : 4);
		if (!valid[six])
			differ(a, nic, six ? "all IPv6" : "all IPv4", "a damaged image",
				"the router's");
	}
	for (size_t k = 0; k < routes->n; k += n) {
		const unsigned family = routes->route[k].family;

		for (n = 1; n < P2PNIC_BURST_MAX && k + n < routes->n &&
			    routes->route[k + n].family == family;)
			n++;
		if (valid[family == 6])
			look_at_burst(a, nic, &copy, wrong, k, n);
	}
}

json_t *audit_show(struct router *r)
{
	struct audit a = {.router = r, .rows = json_array()};
	json_int_t waiting = 0;

	if (r->kernel) {
		waiting = (json_int_t)kernel_state_changes(r->kernel->reader.state);
		look_at_kernel(&a);
	}
	for (unsigned k = 0; k < r->config->nics_count; k++)
		if (nic_answers(&r->nic[k]) && table_in_step(r->table, &r->nic[k].driver))
			look_at_nic(&a, r->config->nics[k].name, &r->nic[k].driver);
		else
			differ(&a, r->config->nics[k].name, "all", "an old table, or none",
				"the router's");
	return json_pack("{s:I, s:I, s:I, s:I, s:o}", "routes",
		(json_int_t)table_routes(r->table)->n, "nics", a.nics, "waiting", waiting,
		"differences", a.differences, "rows", a.rows);
}
