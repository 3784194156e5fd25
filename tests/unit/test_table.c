/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tables that are changed while NICs forward by them, against tables made anew.
 *
 *     test_table [SEED [TEST]]
 */
#include "router/rib.h"
#include "router/vlans.h"
#include "tests/unit/table_rig.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

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

/* --- VLANs ------------------------------------------------------------------------------------ */

static void way_there(struct rig *r, struct way *way)
{
	const struct address inside = {{(uint64_t)0xc6336407 << 32, 0}, 4};

	fake_way(&r->nic[1], &inside, way);
}

static struct p2pnic_adjacency leads_to(struct rig *r, unsigned d)
{
	const struct address to = {{(uint64_t)(0x0a320000 + d) << 32, 0}, 4}; /* 10.50.0.d */
	static struct way way;

	for (unsigned k = 0; k < RIG_NICS; k++)
		fake_way(&r->nic[k], &to, &way);
	assert_int_equal(way.buckets, 1);
	return way.adjacency[0];
}

/* Addresses, networks and neighbours of a VLAN; the same network on another VLAN, then on none. */
static void vlans_are_interfaces(void **state)
{
	struct rig *r = rig_new(13, NULL, RIG_BAR2_BYTES);
	struct world *w = &r->world;
	unsigned id = 10, mtu = 1400;
	struct prefix address = {{{(uint64_t)0x0a320001 << 32, 0}, 4}, 24};
	struct config_vlan vlan = {.id = &id,
		.mtu = &mtu,
		.name = WORLD_TEXT("nic.10"),
		.address = &address,
		.addresses_count = 1};
	const struct address gateway = {{(uint64_t)0x0a320002 << 32, 0}, 4};
	const struct config_neighbor neighbor = {.address = WORLD_TEXT("neighbor"),
		.nic_index = 1,
		.vid = 10,
		.ip = gateway,
		.mac_address = {{2, 9, 9, 9, 9, 9}}};
	struct config_route *route = one_route(r, 2);
	static struct way way;
	struct p2pnic_adjacency a;

	w->nic[1].vlans = &vlan;
	w->nic[1].vlans_count = 1;
	w->next_hop[0][0].gateway = gateway; /* a group of one with a tag and one without */
	w->neighbor[w->config.neighbors_count++] = neighbor;
	for (unsigned step = 0; step < 3; step++) {
		configured(r);
		a = leads_to(r, 2);
		assert_int_equal(a.kind,
			step < 2 ? P2PNIC_ADJACENCY_FORWARD_TAGGED : P2PNIC_ADJACENCY_FORWARD);
		assert_int_equal(a.encapsulation, step < 2 ? id : 0);
		assert_int_equal(a.egress, 1);
		assert_int_equal(a.mtu, step < 2 ? 1400 : 1500);
		assert_memory_equal(&a.destination, &neighbor.mac_address, 6);
		assert_memory_equal(&a.source, &w->mac[1], 6);
		way_there(r, &way);
		assert_true(way_count(&way, &a) > 0 && way_count(&way, &a) < way.buckets);
		a = leads_to(r, 77);
		assert_int_equal(a.kind, step < 2 ? P2PNIC_ADJACENCY_GLEAN : P2PNIC_ADJACENCY_NONE);
		assert_int_equal(a.encapsulation, step < 2 ? id : 0);
		a = leads_to(r, 1);
		assert_int_equal(a.kind, step < 2 ? P2PNIC_ADJACENCY_LOCAL : P2PNIC_ADJACENCY_NONE);
		a = leads_to(r, 255);
		assert_int_equal(
			a.kind, step < 2 ? P2PNIC_ADJACENCY_BROADCAST : P2PNIC_ADJACENCY_NONE);
		if (step == 0) {
			id = 4094;
			w->neighbor[w->config.neighbors_count - 1].vid = id;
		} else {
			w->nic[1].vlans_count = 0;
			w->neighbor[w->config.neighbors_count - 1].vid = 0;
		}
	}
	/* A gateway of which only the network is known. */
	w->nic[1].vlans_count = 1;
	w->config.neighbors_count--;
	route->next_hops_count = 1;
	configured(r);
	way_there(r, &way);
	assert_int_equal(way.adjacency[0].kind, P2PNIC_ADJACENCY_GLEAN);
	assert_int_equal(way.adjacency[0].encapsulation, id);
	rig_free(r);
}

/* Only its VLANs' bytes of a NIC's memory are written. */
static void tags_that_a_nic_takes(void **state)
{
	struct rig *r = rig_new(14, NULL, RIG_BAR2_BYTES);
	unsigned id[2] = {1, 4094};
	struct config_vlan vlan[2] = {{.id = &id[0]}, {.id = &id[1]}};
	uint8_t *bar2 = r->nic[0].driver.bar2;
	const uint8_t *table = bar2 + P2PNIC_BAR2_VLANS;
	struct config_nic nic = {.vlans = vlan};
	struct vlans vlans;

	memset(bar2 + P2PNIC_BAR2_VLANS - 64, 0xee, P2PNIC_VLANS_MAX + 128);
	for (nic.vlans_count = 0; nic.vlans_count <= 2; nic.vlans_count++) {
		vlans_configured(&vlans, &nic);
		vlans_write(&vlans, &r->nic[0].driver);
		for (unsigned k = 0; k < P2PNIC_VLANS_MAX; k++)
			assert_int_equal(table[k],
				(k == 1 && nic.vlans_count) || (k == 4094 && nic.vlans_count > 1)
					? P2PNIC_VLAN_FORWARD
					: P2PNIC_VLAN_UNKNOWN);
		for (unsigned k = 0; k < 64; k++)
			assert_true(
				table[-1 - (int)k] == 0xee && table[P2PNIC_VLANS_MAX + k] == 0xee);
	}
	rig_free(r);
}

/* --- Neighbours and groups -------------------------------------------------------------------- */

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
		gone = way_count(&before, &leaver) * (4096 / before.buckets);
		assert_true(gone > 0);
		configured(r);
		assert_int_equal(r->report.moved, 1);
		assert_int_equal(r->report.changed, 0);
		way_there(r, &now);
		assert_int_equal(way_count(&now, &leaver), 0);
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
		cmocka_unit_test(vlans_are_interfaces),
		cmocka_unit_test(tags_that_a_nic_takes),
		cmocka_unit_test(members_leave_and_join),
		cmocka_unit_test(neighbor_changes_address),
		cmocka_unit_test(never_neither),
	};

	rig_arguments(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
