/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/table_rig.h"

#include "fib/check.h"
#include "router/config_routes.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* --- Worlds ----------------------------------------------------------------------------------- */

#define GATEWAYS (RIG_NICS * 2 * 12) /* by NIC, family, number */
#define ROUTES   160u

unsigned world_below(struct world *w, unsigned n)
{
	return (unsigned)(check_random(&w->random) % n);
}

static struct address address4(unsigned a, unsigned b, unsigned c, unsigned d)
{
	return (struct address){{(uint64_t)(a << 24 | b << 16 | c << 8 | d) << 32, 0}, 4};
}

static struct address address6(unsigned subnet, uint64_t host)
{
	return (struct address){{0xfd00ull << 48 | (uint64_t)subnet << 32, host}, 6};
}

struct address world_gateway(unsigned number)
{
	unsigned nic = number % RIG_NICS, host = 2 + number / (RIG_NICS * 2);

	return number / RIG_NICS % 2 ? address6(nic + 1, host) : address4(10, 0, nic + 1, host);
}

static struct prefix random_prefix(struct world *w)
{
	struct address a =
		address4(198, 16 + world_below(w, 4), world_below(w, 256), world_below(w, 256));

	if (world_below(w, 3))
		return prefix_of(
			&a, world_below(w, 8) ? 12 + world_below(w, 21) : world_below(w, 12));
	a = (struct address){{0x20010db8ull << 32 | world_below(w, 64) << 16 | world_below(w, 64),
				     check_random(&w->random)},
		6};
	return prefix_of(&a, world_below(w, 8) ? 30 + world_below(w, 99) : world_below(w, 30));
}

void world_new(struct world *w, uint64_t seed)
{
	memset(w, 0, sizeof(*w));
	w->random = seed;
	w->config = (struct config){.router = &w->router,
		.nics = w->nic,
		.nics_count = RIG_NICS,
		.neighbors = w->neighbor,
		.routes = w->route};
	for (unsigned k = 0; k < RIG_NICS; k++) {
		w->mtu[k] = 1500;
		w->mac[k] = (struct mac_addr){{2, 0, 0, 0, 0, (uint8_t)k}};
		w->nic_address[k][0] = (struct prefix){address4(10, 0, k + 1, 1), 24};
		w->nic_address[k][1] = (struct prefix){address6(k + 1, 1), 64};
		w->nic[k] = (struct config_nic){.name = WORLD_TEXT("nic"),
			.mtu = &w->mtu[k],
			.address = w->nic_address[k],
			.addresses_count = 2};
	}
	for (unsigned k = 0; k < ROUTES; k++)
		w->pool[k] = (struct config_route){
			.prefix = WORLD_TEXT("random"), .destination = random_prefix(w)};
	world_change(w, 1000);
}

static void random_route(struct world *w, unsigned k)
{
	struct config_route *r = &w->pool[k];
	unsigned kind = world_below(w, 100), family = r->destination.address.family;

	r->via = r->action = NULL;
	r->next_hops = NULL;
	r->next_hops_count = 0;
	if (kind < 60) {
		r->via = WORLD_TEXT("gateway");
		r->gateway = world_gateway(world_below(w, 12) * RIG_NICS * 2 +
					   (family == 6) * RIG_NICS + world_below(w, RIG_NICS));
	} else if (kind < 85) {
		r->next_hops = w->next_hop[k];
		r->next_hops_count = 1 + world_below(w, 6);
		for (unsigned h = 0; h < r->next_hops_count; h++) {
			w->weight[k][h] = 1 + world_below(w, 4);
			r->next_hops[h].via = WORLD_TEXT("gateway");
			r->next_hops[h].weight = &w->weight[k][h];
			r->next_hops[h].gateway =
				world_gateway(world_below(w, 12) * RIG_NICS * 2 +
					      (family == 6) * RIG_NICS + world_below(w, RIG_NICS));
		}
	} else {
		r->action = kind < 90   ? WORLD_TEXT("blackhole")
			    : kind < 95 ? WORLD_TEXT("unreachable")
					: WORLD_TEXT("prohibit");
	}
}

void world_change(struct world *w, unsigned most)
{
	unsigned changes = 1 + world_below(w, most);

	for (unsigned c = 0; c < changes; c++) {
		unsigned what = world_below(w, 100);

		if (what < 60) {
			unsigned k = world_below(w, ROUTES);

			w->route_is[k] = world_below(w, 3) > 0;
			random_route(w, k);
		} else if (what < 98) {
			w->neighbor_is[world_below(w, GATEWAYS)] = (uint8_t)world_below(w, 5);
		} else {
			w->mtu[world_below(w, RIG_NICS)] = 1500 - world_below(w, 2) * 100;
		}
	}
	w->config.neighbors_count = 0;
	for (unsigned k = 0; k < GATEWAYS; k++)
		if (w->neighbor_is[k])
			w->neighbor[w->config.neighbors_count++] = (struct config_neighbor){
				.address = WORLD_TEXT("neighbor"),
				.nic_index = k % RIG_NICS,
				.ip = world_gateway(k),
				.mac_address = {{2, 0, 0, w->neighbor_is[k], 1, (uint8_t)(k / 2)}}};
	w->config.routes_count = 0;
	for (unsigned k = 0; k < ROUTES; k++)
		if (w->route_is[k])
			w->route[w->config.routes_count++] = w->pool[k];
}

static void next_address(struct address *a, int step)
{
	if (a->family == 4) {
		a->bits.high += (uint64_t)(int64_t)step << 32;
		return;
	}
	a->bits.low += (uint64_t)(int64_t)step;
	if (step > 0 && a->bits.low == 0)
		a->bits.high++;
	if (step < 0 && a->bits.low == UINT64_MAX)
		a->bits.high--;
}

static size_t probe_prefix(const struct prefix *p, struct address *probe)
{
	struct address last = p->address;
	unsigned bits = address_bits(&last);

	last.bits.high |= p->length >= 64 ? 0 : UINT64_MAX >> p->length;
	last.bits.low |= p->length >= 128 ? 0
			 : p->length > 64 ? UINT64_MAX >> (p->length - 64)
					  : UINT64_MAX;
	if (bits == 32)
		last.bits = (struct fib_ipv6){last.bits.high & ~0xffffffffull, 0};
	for (unsigned k = 0; k < 4; k++)
		probe[k] = k < 2 ? p->address : last;
	next_address(&probe[0], -1);
	next_address(&probe[3], 1);
	return 4;
}

size_t world_probes(const struct world *w, struct address *probe, size_t room)
{
	size_t n = 0;

	for (unsigned k = 0; k < ROUTES && n + 4 <= room; k++)
		n += probe_prefix(&w->pool[k].destination, probe + n);
	for (unsigned k = 0; k < RIG_NICS * 2 && n + 4 <= room; k++)
		n += probe_prefix(&w->nic_address[k / 2][k % 2], probe + n);
	for (unsigned k = 0; k < GATEWAYS && n < room; k++)
		probe[n++] = world_gateway(k);
	return n;
}

/* --- A table over these NICs ------------------------------------------------------------------ */

static uint64_t seed = 1;

void rig_arguments(int argc, char **argv)
{
	if (argc > 1)
		seed = strtoull(argv[1], NULL, 0);
	if (argc > 2)
		cmocka_set_test_filter(argv[2]);
	printf("seed %llu\n", (unsigned long long)seed);
}

struct rig *rig_new(uint64_t number, const char *kind, uint32_t bar2_bytes)
{
	struct rig *r = calloc(1, sizeof(*r));

	assert_non_null(r);
	world_new(&r->world, seed * 1000 + number);
	r->world.router.table = (char *)kind;
	for (unsigned k = 0; k < RIG_NICS; k++) {
		fake_open(&r->nic[k], k, bar2_bytes);
		r->nics.nic[r->nics.n++] = &r->nic[k].driver;
	}
	fake_open(&r->fresh, 9, bar2_bytes);
	r->probes = world_probes(&r->world, r->probe, RIG_PROBES);
	assert_int_equal(table_new(&r->table, bar2_bytes, table_kind(&r->world.config), 0), 0);
	return r;
}

void rig_free(struct rig *r)
{
	table_free(r->table);
	for (unsigned k = 0; k < RIG_NICS; k++)
		fake_close(&r->nic[k]);
	fake_close(&r->fresh);
	free(r);
}

int configure(struct rig *r)
{
	return table_configure(
		&r->table, &r->world.config, r->world.mac, false, &r->nics, &r->report, &r->error);
}

void configured(struct rig *r)
{
	if (configure(r))
		fail_msg("%s", r->error.text);
}

void make_fresh(struct rig *r)
{
	const struct table_nics only = {{&r->fresh.driver}, 1};
	struct table_report report;
	struct table *t;

	memset(r->fresh.reg, 0, sizeof(r->fresh.reg));
	r->fresh.in_force[0] = r->fresh.in_force[1] = 0;
	assert_int_equal(
		table_new(&t, r->fresh.driver.bar2_bytes, table_kind(&r->world.config), 0), 0);
	if (table_configure(&t, &r->world.config, r->world.mac, false, &only, &report, &r->error))
		fail_msg("%s", r->error.text);
	assert_int_equal(report.loaded, 1);
	table_free(t);
}

/* The same adjacencies, each with the same share, rounded down or up. */
static void assert_same_way(const struct way *got, const struct way *want)
{
	const struct p2pnic_adjacency *seen[64];
	unsigned n = 0, k, found = 0;

	for (unsigned b = 0; b < want->buckets; b++) {
		const struct p2pnic_adjacency *a = &want->adjacency[b];

		for (k = 0; k < n; k++)
			if (!memcmp(seen[k], a, sizeof(*a)))
				break;
		if (k < n)
			continue;
		assert_true(n < 64);
		seen[n++] = a;
	}
	for (k = 0; k < n; k++) {
		unsigned has = way_count(got, seen[k]);
		double wanted = (double)way_count(want, seen[k]) / want->buckets;
		double more = (double)has / got->buckets - wanted;

		assert_true(has > 0);
		assert_true(more < 1.0 / got->buckets + 1.0 / want->buckets);
		assert_true(-more < 1.0 / got->buckets + 1.0 / want->buckets);
		found += has;
	}
	assert_int_equal(found, got->buckets);
}

void assert_right(struct rig *r, const struct fake_nic *nic)
{
	static struct way got, want;

	for (size_t k = 0; k < r->probes; k++) {
		fake_way(nic, &r->probe[k], &got);
		fake_way(&r->fresh, &r->probe[k], &want);
		assert_same_way(&got, &want);
	}
}

/* The list of routes is that of the configuration, too. */
static void assert_routes(struct rig *r)
{
	struct next_hops *hops = next_hops_new();
	const struct routes *got = table_routes(r->table);
	struct routes want;

	assert_int_equal(config_routes(&want, hops, &r->world.config, r->world.mac, &r->error), 0);
	assert_int_equal(got->n, want.n);
	for (size_t k = 0; k < want.n; k++) {
		assert_int_equal(route_order(&got->route[k], &want.route[k]), 0);
		assert_int_equal(got->route[k].source, want.route[k].source);
	}
	routes_free(&want);
	free(hops);
}

void assert_all_right(struct rig *r)
{
	make_fresh(r);
	assert_routes(r);
	for (unsigned k = 0; k < RIG_NICS; k++)
		assert_right(r, &r->nic[k]);
}

struct config_route *one_route(struct rig *r, unsigned members)
{
	struct world *w = &r->world;
	struct config_route *route = &w->route[0];

	memset(w->neighbor_is, 0, sizeof(w->neighbor_is));
	memset(w->route_is, 0, sizeof(w->route_is));
	*route = (struct config_route){.prefix = WORLD_TEXT("198.51.100.0/24"),
		.destination = {{{(uint64_t)0xc6336400 << 32, 0}, 4}, 24},
		.next_hops = w->next_hop[0],
		.next_hops_count = members};
	w->config.routes_count = 1;
	w->config.neighbors_count = 6;
	for (unsigned k = 0; k < RIG_NICS; k++)
		w->mtu[k] = 1500;
	for (unsigned k = 0; k < 6; k++) {
		unsigned number = k % 3 + k / 3 * RIG_NICS * 2; /* IPv4 ones of each NIC */

		w->neighbor[k] = (struct config_neighbor){.address = WORLD_TEXT("neighbor"),
			.nic_index = number % RIG_NICS,
			.ip = world_gateway(number),
			.mac_address = {{2, 1, 0, 0, 0, (uint8_t)k}}};
		w->weight[0][k] = 1;
		w->next_hop[0][k] = (struct config_next_hop){.via = WORLD_TEXT("gateway"),
			.weight = &w->weight[0][k],
			.gateway = world_gateway(number)};
	}
	return route;
}
