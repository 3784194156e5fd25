/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tables that are changed while NICs forward by them, against tables made anew.
 *
 *     test_table [SEED [TEST]]
 */
#include "router/config_routes.h"
#include "router/rib.h"
#include "tests/unit/table_rig.h"

#include <endian.h>
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define PROBES 1024u

static uint64_t seed = 1;

struct rig {
	struct fake_nic nic[RIG_NICS], fresh;
	struct table_nics nics;
	struct table *table;
	struct world world;
	struct table_report report;
	struct error error;
	struct address probe[PROBES];
	size_t probes;
};

static struct rig *rig_new(uint64_t number, const char *kind, uint32_t bar2_bytes)
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
	r->probes = world_probes(&r->world, r->probe, PROBES);
	assert_int_equal(table_new(&r->table, bar2_bytes, table_kind(&r->world.config), 0), 0);
	return r;
}

static void rig_free(struct rig *r)
{
	table_free(r->table);
	for (unsigned k = 0; k < RIG_NICS; k++)
		fake_close(&r->nic[k]);
	fake_close(&r->fresh);
	free(r);
}

static int configure(struct rig *r)
{
	return table_configure(
		&r->table, &r->world.config, r->world.mac, false, &r->nics, &r->report, &r->error);
}

static void configured(struct rig *r)
{
	if (configure(r))
		fail_msg("%s", r->error.text);
}

/* The world as it is, made anew, in r->fresh. */
static void make_fresh(struct rig *r)
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

static unsigned count(const struct way *w, const struct p2pnic_adjacency *a)
{
	unsigned n = 0;

	for (unsigned b = 0; b < w->buckets; b++)
		n += !memcmp(&w->adjacency[b], a, sizeof(*a));
	return n;
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
		unsigned has = count(got, seen[k]);
		double more =
			(double)has / got->buckets - (double)count(want, seen[k]) / want->buckets;

		assert_true(has > 0);
		assert_true(more < 1.0 / got->buckets + 1.0 / want->buckets);
		assert_true(-more < 1.0 / got->buckets + 1.0 / want->buckets);
		found += has;
	}
	assert_int_equal(found, got->buckets);
}

static void assert_right(struct rig *r, const struct fake_nic *nic)
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

static void assert_all_right(struct rig *r)
{
	make_fresh(r);
	assert_routes(r);
	for (unsigned k = 0; k < RIG_NICS; k++)
		assert_right(r, &r->nic[k]);
}

/* --- Random configurations -------------------------------------------------------------------- */

/* What packets on their way may still be led to: every next hop in use, and its way. */
struct memory {
	uint32_t word[P2PNIC_NEXT_HOPS_MAX];
	struct way *way[P2PNIC_NEXT_HOPS_MAX];
	bool looked;
};

static void remember(const struct rig *r, struct fake_nic *nic, struct memory *m)
{
	const p2pnic_next_hop *word =
		(const p2pnic_next_hop *)(nic->driver.bar2 + P2PNIC_BAR2_NEXT_HOPS);
	unsigned half = table_half(&nic->driver) == 1 ? TABLE_HALF_NEXT_HOPS : 0;

	m->looked = false;
	for (unsigned k = 1; k < TABLE_HALF_NEXT_HOPS; k++) {
		if (!table_next_hops(r->table)->users[k])
			continue;
		m->word[half + k] = atomic_load(&word[half + k]);
		m->way[half + k] = malloc(sizeof(struct way));
		fake_way_of_word(nic, m->word[half + k], m->way[half + k]);
	}
}

static void forget(struct memory *m)
{
	for (unsigned k = 0; k < P2PNIC_NEXT_HOPS_MAX; k++)
		free(m->way[k]);
	memset(m, 0, sizeof(*m));
}

/* The first epoch: until now nothing that was in use may have been written over. */
static void look_again(struct fake_nic *nic)
{
	struct memory *m = nic->context;
	static struct way now;

	for (unsigned k = 0; !m->looked && k < P2PNIC_NEXT_HOPS_MAX; k++) {
		if (!m->way[k])
			continue;
		fake_way_of_word(nic, m->word[k], &now);
		assert_int_equal(now.buckets, m->way[k]->buckets);
		assert_memory_equal(now.adjacency, m->way[k]->adjacency,
			now.buckets * sizeof(now.adjacency[0]));
	}
	m->looked = true;
}

static void random_changes(const char *kind, unsigned steps)
{
	struct rig *r = rig_new(1, kind, RIG_BAR2_BYTES);
	struct memory *memory = calloc(RIG_NICS, sizeof(*memory));

	configured(r);
	assert_int_equal(r->report.loaded, RIG_NICS);
	assert_all_right(r);
	for (unsigned step = 0; step < steps; step++) {
		for (unsigned k = 0; k < RIG_NICS; k++) {
			remember(r, &r->nic[k], &memory[k]);
			r->nic[k].context = &memory[k];
			r->nic[k].on_epoch = look_again;
		}
		world_change(&r->world, step % 10 ? 8 : 300);
		configured(r);
		assert_int_equal(r->report.patched, RIG_NICS);
		assert_int_equal(r->report.loaded + r->report.failed, 0);
		for (unsigned k = 0; k < RIG_NICS; k++)
			forget(&memory[k]);
		assert_all_right(r);
	}
	assert_int_equal(table_counts(r->table)->patches, steps);
	free(memory);
	rig_free(r);
}

static void line_trie_changes(void **state)
{
	random_changes(NULL, 150);
}

static void state_jump_changes(void **state)
{
	random_changes("state-jump", 20);
}

static void nothing_to_change(void **state)
{
	struct rig *r = rig_new(2, NULL, RIG_BAR2_BYTES);
	unsigned epochs;

	configured(r);
	epochs = r->nic[0].epochs;
	configured(r);
	assert_int_equal(
		r->report.added + r->report.changed + r->report.deleted + r->report.moved, 0);
	assert_int_equal(r->report.bytes, 0);
	assert_int_equal(r->nic[0].epochs, epochs);
	rig_free(r);
}

static struct config_route *one_route(struct rig *r, unsigned members);

/* As a source of single changes does it: 64 host routes, each there or not, to one of six
 * gateways. */
static void one_route_at_a_time(void **state)
{
	struct rig *r = rig_new(12, NULL, RIG_BAR2_BYTES);
	unsigned to[64] = {0}; /* 0: not there */
	struct next_hops *hops;

	one_route(r, 3);
	configured(r);
	for (unsigned step = 0; step < 1000; step++) {
		unsigned host = world_below(&r->world, 64), new = world_below(&r->world, 7);
		struct route route = {
			.prefix = {(uint64_t)(0xc6336480 + host) << 32, 0},
			.length = 32,
			.family = 4,
			.source = RIB_STATIC,
		};
		static struct way way;

		hops = next_hops_copy(table_next_hops(r->table));
		if (new) {
			const struct config_neighbor *n = &r->world.neighbor[new - 1];
			struct p2pnic_adjacency a = {.destination = n->mac_address,
				.kind = P2PNIC_ADJACENCY_FORWARD,
				.egress = (uint8_t)n->nic_index};

			route.next_hop = (uint16_t)next_hops_gateway(hops, &n->ip, &a);
		}
		assert_int_equal(
			table_change(r->table, hops, &route, 1, &r->nics, &r->report, &r->error),
			0);
		assert_int_equal(r->report.added, !to[host] && new);
		assert_int_equal(r->report.deleted, to[host] && !new);
		assert_int_equal(r->report.changed, to[host] && new &&to[host] != new);
		to[host] = new;
		for (unsigned k = 0; k < 64; k++) {
			const struct address inside = {{(uint64_t)(0xc6336480 + k) << 32, 0}, 4};

			fake_way(&r->nic[step % RIG_NICS], &inside, &way);
			assert_int_equal(way.buckets > 1, !to[k]); /* the group of its cover */
			if (to[k])
				assert_memory_equal(&way.adjacency[0].destination,
					&r->world.neighbor[to[k] - 1].mac_address, 6);
		}
	}
	rig_free(r);
}

static void another_kind(void **state)
{
	struct rig *r = rig_new(3, NULL, RIG_BAR2_BYTES);

	configured(r);
	for (unsigned k = 0; k < 3; k++) {
		r->world.router.table = k % 2 ? NULL : (char *)"state-jump";
		configured(r);
		assert_true(r->report.whole);
		assert_int_equal(r->report.loaded, RIG_NICS);
		assert_all_right(r);
	}
	rig_free(r);
}

/* --- Neighbours and groups -------------------------------------------------------------------- */

/* One route, 198.51.100.0/24, to gateways of NIC 0 to 2, all of them neighbours. */
static struct config_route *one_route(struct rig *r, unsigned members)
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

static void way_there(struct rig *r, struct way *way)
{
	const struct address inside = {{(uint64_t)0xc6336407 << 32, 0}, 4};

	fake_way(&r->nic[1], &inside, way);
}

/* Flows that went to a member that stays are where they were; returns how many moved. */
static unsigned moved(const struct way *before, const struct way *now)
{
	unsigned n = 0;

	for (unsigned flow = 0; flow < 4096; flow++) {
		const struct p2pnic_adjacency *was = &before->adjacency[flow % before->buckets];
		const struct p2pnic_adjacency *is = &now->adjacency[flow % now->buckets];

		n += memcmp(was, is, sizeof(*is)) != 0;
	}
	return n;
}

static void members_leave_and_join(void **state)
{
	static struct way before, now;
	struct rig *r = rig_new(4, NULL, RIG_BAR2_BYTES);
	struct config_route *route = one_route(r, 5);
	unsigned gone;

	configured(r);
	for (unsigned members = 4; members; members--) {
		struct p2pnic_adjacency leaver;

		way_there(r, &before);
		route->next_hops_count = members; /* the last one leaves */
		leaver = (struct p2pnic_adjacency){
			.destination = r->world.neighbor[members].mac_address,
			.source = r->world.mac[members % RIG_NICS],
			.mtu = 1500,
			.kind = P2PNIC_ADJACENCY_FORWARD,
			.egress = (uint8_t)(members % RIG_NICS)};
		gone = count(&before, &leaver) * (4096 / before.buckets);
		assert_true(gone > 0);
		configured(r);
		assert_int_equal(r->report.moved, 1);
		assert_int_equal(r->report.changed, 0);
		way_there(r, &now);
		assert_int_equal(count(&now, &leaver), 0);
		assert_int_equal(moved(&before, &now), gone);
	}
	for (unsigned members = 2; members <= 6; members++) {
		way_there(r, &before);
		route->next_hops_count = members;
		configured(r);
		assert_int_equal(r->report.moved, 1);
		way_there(r, &now);
		/* No more than the share that the new one demands, rounded up by a bucket for
		 * each. */
		assert_true(
			moved(&before, &now) <= 4096 / members + members * (4096 / now.buckets));
		make_fresh(r);
		assert_right(r, &r->nic[1]);
	}
	rig_free(r);
}

static void neighbor_changes_address(void **state)
{
	static struct way before, now;
	struct rig *r = rig_new(5, NULL, RIG_BAR2_BYTES);
	struct config_route *route = one_route(r, 3);

	configured(r);
	/* In a group: the others keep theirs. */
	way_there(r, &before);
	r->world.neighbor[1].mac_address.octet[1] = 9;
	configured(r);
	assert_int_equal(r->report.moved, 2); /* the group's, and the neighbour's own */
	assert_int_equal(r->report.changed, 0);
	way_there(r, &now);
	assert_in_range(moved(&before, &now), 1, 4096 / 3 + 4096 / now.buckets);
	/* As a gateway: one word for the route and the neighbour itself. */
	route->next_hops = NULL;
	route->via = WORLD_TEXT("gateway");
	route->gateway = r->world.neighbor[1].ip;
	configured(r);
	assert_int_equal(r->report.changed, 1);
	r->world.neighbor[1].mac_address.octet[1] = 10;
	configured(r);
	assert_int_equal(r->report.moved, 1);
	assert_int_equal(r->report.bytes, sizeof(struct p2pnic_adjacency) + 4);
	way_there(r, &now);
	assert_int_equal(now.adjacency[0].destination.octet[1], 10);
	/* It is not known any more: the host is asked, by the same next hop. */
	r->world.neighbor[1] = r->world.neighbor[--r->world.config.neighbors_count];
	configured(r);
	assert_int_equal(r->report.changed, 0);
	way_there(r, &now);
	assert_int_equal(now.adjacency[0].kind, P2PNIC_ADJACENCY_GLEAN);
	rig_free(r);
}

/* --- Loads: other halves, NICs that fail and come back ---------------------------------------- */

static void nic_fails_and_returns(void **state)
{
	struct rig *r = rig_new(6, NULL, RIG_BAR2_BYTES);
	uint8_t *before = malloc(RIG_BAR2_BYTES);

	configured(r);
	r->nic[1].dead = true;
	world_change(&r->world, 30);
	configured(r);
	assert_int_equal(r->report.patched, 2);
	assert_int_equal(r->report.failed, 1);
	assert_non_null(strstr(r->report.failure.text, "nic2"));
	/* From then on its memory is let alone: it may still be reading. */
	memcpy(before, r->nic[1].driver.bar2, RIG_BAR2_BYTES);
	for (unsigned step = 0; step < 20; step++) {
		world_change(&r->world, 30);
		configured(r);
		assert_int_equal(r->report.patched, 2);
	}
	assert_memory_equal(before, r->nic[1].driver.bar2, RIG_BAR2_BYTES);
	r->nic[1].dead = false;
	world_change(&r->world, 30);
	configured(r);
	assert_int_equal(r->report.loaded, 1);
	assert_all_right(r);
	world_change(&r->world, 30);
	configured(r);
	assert_int_equal(r->report.patched, 3);
	assert_all_right(r);
	/* Another one in its place, with empty memory. */
	fake_close(&r->nic[2]);
	fake_open(&r->nic[2], 2, RIG_BAR2_BYTES);
	assert_int_equal(table_load(r->table, &r->nic[2].driver, &r->error), 0);
	assert_all_right(r);
	free(before);
	rig_free(r);
}

/* A NIC that takes the routes and not the list of own addresses is out of step, and told by
 * name. */
static void sources_refused(void **state)
{
	struct rig *r = rig_new(14, NULL, RIG_BAR2_BYTES);
	struct fake_nic *nic = &r->nic[1];

	configured(r);
	nic->sources_result = P2PNIC_BAD_ARGUMENT;
	r->world.nic_address[0][0].address.bits.high += 200ull << 32;
	configured(r);
	assert_int_equal(r->report.failed, 1);
	assert_string_equal(
		r->report.failure.text, "nic2: the table: argument or register out of range");
	assert_false(table_in_step(r->table, &nic->driver));
	assert_true(table_in_step(r->table, &r->nic[0].driver));
	assert_int_equal(table_load(r->table, &nic->driver, &r->error), -EIO);
	assert_false(table_in_step(r->table, &nic->driver));
	/* Firmware of contract 1.0 has no such list: it does without. */
	nic->sources_result = P2PNIC_BAD_OPERATION;
	assert_int_equal(table_load(r->table, &nic->driver, &r->error), 0);
	assert_true(table_in_step(r->table, &nic->driver));
	rig_free(r);
}

static void nic_of_another_size(void **state)
{
	struct rig *r = rig_new(15, NULL, RIG_BAR2_BYTES);

	configured(r);
	fake_close(&r->nic[1]);
	fake_open(&r->nic[1], 1, 2 * RIG_BAR2_BYTES);
	assert_int_equal(table_load(r->table, &r->nic[1].driver, &r->error), -EINVAL);
	assert_string_equal(
		r->error.text, "nic2: table memory is 32 MiB, the table was made for 16");
	assert_false(table_in_step(r->table, &r->nic[1].driver));
	assert_int_equal(r->nic[1].in_force[0], 0);
	rig_free(r);
}

struct takeover {
	struct rig *rig; /* its `fresh` is what there was before */
	unsigned checks; /* switches until something new may be in force */
};

static void right_until_now(struct fake_nic *nic)
{
	struct takeover *t = nic->context;

	if (t->checks && t->checks--)
		assert_right(t->rig, nic);
}

/* NICs of an earlier router in either half: what is in force is not written over. */
static void running_nics_are_taken_over(void **state)
{
	for (unsigned half = 0; half < 2; half++)
		for (unsigned torn = 0; torn < 3; torn++) {
			struct rig *r = rig_new(7, NULL, RIG_BAR2_BYTES);
			struct fake_nic *nic = &r->nic[0];
			uint32_t *reg = nic->reg;
			uint32_t offset[2];
			struct takeover takeover = {r, torn + 1};

			configured(r);
			assert_int_equal(table_half(&nic->driver), 0);
			offset[0] = reg[P2PNIC_REG_FIB4_OFFSET / 4];
			offset[1] = reg[P2PNIC_REG_FIB6_OFFSET / 4];
			table_free(r->table);
			assert_int_equal(table_new(&r->table, RIG_BAR2_BYTES,
						 table_kind(&r->world.config), 1),
				0);
			configured(r);
			assert_int_equal(table_half(&nic->driver), 1);
			make_fresh(r);
			/* The router died between the families, or before the first command. */
			if (torn > 0) {
				reg[P2PNIC_REG_FIB6_OFFSET / 4] = nic->in_force[1] = offset[1];
			}
			if (torn > 1)
				nic->in_force[0] = offset[0];
			nic->on_switch = right_until_now;
			nic->context = &takeover;
			world_change(&r->world, 300);
			table_free(r->table);
			assert_int_equal(table_new(&r->table, RIG_BAR2_BYTES,
						 table_kind(&r->world.config), half),
				0);
			configured(r);
			assert_int_equal(r->report.loaded, RIG_NICS);
			assert_int_equal(takeover.checks, 0);
			nic->on_switch = NULL;
			for (unsigned k = 0; k < RIG_NICS; k++)
				assert_int_equal(table_half(&r->nic[k].driver), half);
			world_change(&r->world, 30);
			configured(r);
			assert_int_equal(r->report.patched, RIG_NICS);
			assert_all_right(r);
			rig_free(r);
		}
}

/* --- Limits ----------------------------------------------------------------------------------- */

#define MANY 1500u

/* MANY stations on NIC 0, in place of all neighbours. */
static struct config_neighbor *many_neighbors(struct world *w, uint8_t mac)
{
	struct config_neighbor *n = calloc(MANY * 2, sizeof(*n));

	for (unsigned k = 0; k < MANY * 2; k++)
		n[k] = (struct config_neighbor){.address = WORLD_TEXT("neighbor"),
			.ip = {{0xfd00ull << 48 | 1ull << 32, 0x1000 + k}, 6},
			.mac_address = {{2, 7, mac, 0, (uint8_t)(k >> 8), (uint8_t)k}}};
	w->config.neighbors = n;
	w->config.neighbors_count = MANY;
	return n;
}

static void numbers_are_used_up(void **state)
{
	struct rig *r = rig_new(8, NULL, RIG_BAR2_BYTES);
	struct config_neighbor *n[3];
	const struct routes *routes;
	size_t before;

	configured(r);
	n[0] = many_neighbors(&r->world, 1);
	configured(r);
	assert_int_equal(r->report.patched, RIG_NICS);
	/* Others in their place do not fit beside them: a load into the other half. */
	n[1] = many_neighbors(&r->world, 2);
	configured(r);
	assert_true(r->report.whole);
	assert_int_equal(r->report.loaded, RIG_NICS);
	assert_int_equal(table_half(&r->nic[0].driver), 1);
	r->probe[0] = n[1][MANY - 1].ip;
	assert_all_right(r);
	/* Too many in any case: nothing changes. */
	n[2] = many_neighbors(&r->world, 3);
	r->world.config.neighbors_count = MANY * 2;
	routes = table_routes(r->table);
	before = routes->n;
	assert_int_equal(configure(r), -ENOSPC);
	assert_non_null(strstr(r->error.text, "2047"));
	assert_int_equal(table_routes(r->table)->n, before);
	for (unsigned k = 0; k < RIG_NICS; k++)
		assert_right(r, &r->nic[k]);
	r->world.config.neighbors = n[1];
	r->world.config.neighbors_count = MANY - 7;
	configured(r);
	assert_int_equal(r->report.deleted, 7);
	assert_int_equal(r->report.patched, RIG_NICS);
	assert_all_right(r);
	for (unsigned k = 0; k < 3; k++)
		free(n[k]);
	rig_free(r);
}

/* Which kind of adjacency NIC 0 leads such an address to. */
static unsigned kind_of(struct rig *r, struct address a)
{
	static struct way way;

	fake_way(&r->nic[0], &a, &way);
	return way.adjacency[0].kind;
}

static struct address ip4(uint32_t a)
{
	return (struct address){{(uint64_t)a << 32, 0}, 4};
}

static struct address ip6(uint64_t low)
{
	return (struct address){{0xfd00000100000000, low}, 6};
}

static void listed(struct rig *r, const uint32_t *want, unsigned n)
{
	for (unsigned nic = 0; nic < RIG_NICS; nic++) {
		const struct p2pnic_sources *s = &r->nic[nic].sources;

		for (unsigned k = 0; k < n; k++) {
			unsigned j;

			for (j = 0; j < s->count && be32toh(s->address[j]) != want[k]; j++)
				;
			if (j == s->count)
				fail_msg("NIC %u does not know %08x", nic, want[k]);
		}
		assert_int_equal(s->count, n);
	}
}

/* First and last address of each connected network, by its length, and what NICs are told of own
 * addresses. */
static void ends_of_networks(void **state)
{
	struct rig *r = rig_new(77, "line-trie", RIG_BAR2_BYTES);
	struct prefix *own4 = &r->world.nic_address[0][0], *own6 = &r->world.nic_address[0][1];
	const uint32_t others[] = {
		0x0a000201, 0x0a000200, 0x0a0002ff, 0x0a000301, 0x0a000300, 0x0a0003ff};
	uint32_t want[9];

	memcpy(want, others, sizeof(others));
	r->world.config.routes_count = r->world.config.neighbors_count = 0;
	for (unsigned length = 8; length <= 32; length++) {
		uint32_t mask = length < 32 ? UINT32_MAX >> length : 0, own = 0x0aff8081;
		uint32_t first = own & ~mask, last = own | mask;

		*own4 = (struct prefix){ip4(own), (uint8_t)length};
		configured(r);
		want[6] = own;
		want[7] = first;
		want[8] = last;
		/* The own address may be the first one or the last. */
		if (length >= 31)
			listed(r, want, 7);
		else
			listed(r, want, 9);
		assert_int_equal(kind_of(r, ip4(own)), P2PNIC_ADJACENCY_LOCAL);
		if (length < 31) {
			assert_int_equal(kind_of(r, ip4(first)), P2PNIC_ADJACENCY_BROADCAST);
			assert_int_equal(kind_of(r, ip4(last)), P2PNIC_ADJACENCY_BROADCAST);
		}
		if (length < 30)
			assert_int_equal(kind_of(r, ip4(first + 2)), P2PNIC_ADJACENCY_GLEAN);
		if (length == 31) /* RFC 3021 */
			assert_int_equal(kind_of(r, ip4(first)), P2PNIC_ADJACENCY_GLEAN);
	}
	for (unsigned length = 40; length <= 128; length++) {
		const struct address own = ip6(0xfff3);
		struct prefix network = prefix_of(&own, length);

		*own6 = (struct prefix){own, (uint8_t)length};
		configured(r);
		assert_int_equal(kind_of(r, own), P2PNIC_ADJACENCY_LOCAL);
		if (length < 127)
			assert_int_equal(kind_of(r, network.address), P2PNIC_ADJACENCY_LOCAL);
		if (length == 127) /* RFC 6164: a host like the other */
			assert_int_equal(kind_of(r, network.address), P2PNIC_ADJACENCY_GLEAN);
	}
	/* More than a NIC can be told: refused, and nothing changed. */
	struct prefix *many = calloc(P2PNIC_SOURCES_MAX, sizeof(*many));

	for (uint32_t k = 0; k < P2PNIC_SOURCES_MAX; k++)
		many[k] = (struct prefix){ip4(0x0b000000 | k), 32};
	r->world.nic[0].address = many;
	r->world.nic[0].addresses_count = P2PNIC_SOURCES_MAX;
	assert_int_equal(configure(r), -E2BIG);
	listed(r, want, 7);
	r->world.nic[0].addresses_count = P2PNIC_SOURCES_MAX - 6;
	configured(r);
	assert_int_equal(r->nic[1].sources.count, P2PNIC_SOURCES_MAX);
	free(many);
	rig_free(r);
}

static void a_gateway_that_is_nowhere(void **state)
{
	struct rig *r = rig_new(9, NULL, RIG_BAR2_BYTES);

	configured(r);
	make_fresh(r);
	r->world.route[0].via = WORLD_TEXT("gateway");
	r->world.route[0].gateway = (struct address){{(uint64_t)0x08080808 << 32, 0}, 4};
	assert_int_equal(configure(r), -EINVAL);
	assert_non_null(strstr(r->error.text, "8.8.8.8"));
	for (unsigned k = 0; k < RIG_NICS; k++)
		assert_right(r, &r->nic[k]);
	world_change(&r->world, 20);
	configured(r);
	assert_int_equal(r->report.patched, RIG_NICS);
	rig_free(r);
}

/* Room for an empty IPv6 table and little more: IPv4 fits and IPv6 does not. */
static void a_table_that_does_not_fit(void **state)
{
	struct rig *r = rig_new(10, NULL, P2PNIC_BAR2_FIB + 2 * 0xb8000);
	struct world *w = &r->world;

	one_route(r, 3);
	configured(r);
	make_fresh(r);
	for (unsigned k = 1; k < 200; k++) {
		const struct address a = {
			{0x2001ull << 48 | (uint64_t)(k * 977 % 256) << 40 | k << 16, 0}, 6};

		w->route[k] = (struct config_route){.prefix = WORLD_TEXT("many"),
			.destination = prefix_of(&a, 100),
			.action = WORLD_TEXT("blackhole")};
	}
	w->route[1].destination = (struct prefix){{{(uint64_t)0xc6336440 << 32, 0}, 4}, 26};
	r->probe[0] = w->route[1].destination.address;
	w->config.routes_count = 200;
	w->route[0].next_hops_count = 2;
	assert_int_equal(configure(r), -ENOSPC);
	assert_non_null(strstr(r->error.text, "IPv6 table"));
	assert_non_null(strstr(r->error.text, "bytes"));
	for (unsigned k = 0; k < RIG_NICS; k++)
		assert_right(r, &r->nic[k]);
	/* And on, as if nothing had been. */
	w->route[1].destination.address.bits.high += (uint64_t)64 << 32;
	r->probe[1] = w->route[1].destination.address;
	w->config.routes_count = 2;
	configured(r);
	assert_int_equal(r->report.failed, 0);
	assert_int_equal(r->report.added, 1);
	assert_all_right(r);
	w->config.routes_count = 3;
	configured(r);
	assert_int_equal(r->report.patched, RIG_NICS);
	assert_all_right(r);
	rig_free(r);
}

/* --- While a NIC reads ------------------------------------------------------------------------ */

struct reader {
	struct fake_nic *nic;
	_Atomic uint64_t rounds;
	_Atomic bool stop;
	uint64_t wrong, lookups;
};

/* A packet to 198.51.100.7 goes to a neighbour, whatever changes: 02:01:… on that NIC, nothing in
 * between. */
static void *read_on(void *context)
{
	struct reader *reader = context;
	const struct address inside = {{(uint64_t)0xc6336407 << 32, 0}, 4};
	struct way *way = malloc(sizeof(*way));

	while (!atomic_load_explicit(&reader->stop, memory_order_relaxed)) {
		fake_way(reader->nic, &inside, way);
		for (unsigned b = 0; b < way->buckets; b++) {
			const struct p2pnic_adjacency *a = &way->adjacency[b];

			reader->wrong += a->kind != P2PNIC_ADJACENCY_FORWARD ||
					 a->destination.octet[1] != 1 ||
					 a->destination.octet[4] != a->egress ||
					 a->source.octet[5] != a->egress || a->mtu != 1500;
		}
		reader->lookups++;
		atomic_fetch_add_explicit(&reader->rounds, 1, memory_order_release);
	}
	free(way);
	return NULL;
}

/* A quiescent point lies between two lookups of the reader. */
static void wait_for_reader(struct fake_nic *nic)
{
	struct reader *reader = nic->context;
	uint64_t from = atomic_load_explicit(&reader->rounds, memory_order_acquire);

	while (atomic_load_explicit(&reader->rounds, memory_order_acquire) < from + 2)
		;
}

static void never_neither(void **state)
{
	struct rig *r = rig_new(11, NULL, RIG_BAR2_BYTES);
	struct reader reader = {.nic = &r->nic[0]};
	struct config_route *route = one_route(r, 3);
	struct world *w = &r->world;
	pthread_t thread;

	for (unsigned k = 0; k < 6; k++)
		w->neighbor[k].mac_address.octet[4] = (uint8_t)w->neighbor[k].nic_index;
	w->route[1] = *route;
	w->route[1].destination.length = 25;
	configured(r);
	r->nic[0].context = &reader;
	r->nic[0].on_epoch = wait_for_reader;
	assert_int_equal(pthread_create(&thread, NULL, read_on, &reader), 0);
	for (unsigned step = 0; step < 500; step++) {
		unsigned k = world_below(w, 6);

		w->neighbor[k].mac_address.octet[3] = (uint8_t)step;
		for (unsigned n = 0; n < 2; n++) {
			bool group = world_below(w, 2);

			route[n].next_hops = group ? w->next_hop[0] : NULL;
			route[n].via = group ? NULL : WORLD_TEXT("gateway");
			route[n].gateway = w->neighbor[world_below(w, 6)].ip;
			route[n].next_hops_count = 1 + world_below(w, 6);
		}
		w->config.routes_count = 1 + world_below(w, 2);
		configured(r);
		assert_int_equal(r->report.patched, RIG_NICS);
	}
	atomic_store(&reader.stop, true);
	pthread_join(thread, NULL);
	r->nic[0].on_epoch = NULL;
	assert_true(reader.lookups > 500);
	assert_int_equal(reader.wrong, 0);
	assert_all_right(r);
	rig_free(r);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(line_trie_changes),
		cmocka_unit_test(state_jump_changes),
		cmocka_unit_test(nothing_to_change),
		cmocka_unit_test(one_route_at_a_time),
		cmocka_unit_test(another_kind),
		cmocka_unit_test(members_leave_and_join),
		cmocka_unit_test(neighbor_changes_address),
		cmocka_unit_test(nic_fails_and_returns),
		cmocka_unit_test(sources_refused),
		cmocka_unit_test(nic_of_another_size),
		cmocka_unit_test(running_nics_are_taken_over),
		cmocka_unit_test(numbers_are_used_up),
		cmocka_unit_test(ends_of_networks),
		cmocka_unit_test(a_gateway_that_is_nowhere),
		cmocka_unit_test(a_table_that_does_not_fit),
		cmocka_unit_test(never_neither),
	};

	if (argc > 1)
		seed = strtoull(argv[1], NULL, 0);
	if (argc > 2)
		cmocka_set_test_filter(argv[2]);
	printf("seed %llu\n", (unsigned long long)seed);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
