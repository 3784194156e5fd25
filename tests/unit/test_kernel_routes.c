/* SPDX-License-Identifier: BSD-3-Clause */
/* The kernel's routes in the NICs' table, each kind of change by itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/unit/kernel_rig.h"

#include <stdio.h>

static void test_kinds(void **context)
{
	make();
	assert_int_equal(kind("10.0.0.5"), P2PNIC_ADJACENCY_NONE);
	add((struct wanted){.to = "10.0.0.0", .length = 24, .hop = {{1, NULL}}});
	add((struct wanted){.to = "10.0.0.1",
		.length = 32,
		.type = RTN_LOCAL,
		.table = RT_TABLE_LOCAL,
		.hop = {{1, NULL}}});
	add((struct wanted){.to = "10.0.0.255",
		.length = 32,
		.type = RTN_BROADCAST,
		.table = RT_TABLE_LOCAL,
		.hop = {{1, NULL}}});
	add((struct wanted){.to = "172.16.0.0", .length = 12, .hop = {{1, "10.0.0.2"}}});
	add((struct wanted){.to = "172.16.1.0", .length = 24, .type = RTN_BLACKHOLE});
	add((struct wanted){.to = "172.16.2.0", .length = 24, .type = RTN_UNREACHABLE});
	add((struct wanted){.to = "172.16.3.0", .length = 24, .type = RTN_PROHIBIT});
	add((struct wanted){.to = "172.16.4.0", .length = 24, .type = RTN_THROW});
	add((struct wanted){.to = "172.16.5.0", .length = 24, .hop = {{4, "192.0.2.1"}}});
	add((struct wanted){
		.to = "172.16.6.0", .length = 24, .table = 100, .hop = {{2, "10.0.2.2"}}});
	add((struct wanted){.to = "172.16.7.0", .length = 24, .tos = 8, .hop = {{1, "10.0.0.2"}}});
	add((struct wanted){
		.to = "172.16.8.0", .length = 24, .encapsulated = true, .hop = {{1, "10.0.0.2"}}});
	add((struct wanted){.to = "ff00::",
		.length = 8,
		.type = RTN_MULTICAST,
		.table = RT_TABLE_LOCAL,
		.hop = {{1, NULL}}});
	apply();
	assert_int_equal(kind("10.0.0.1"), P2PNIC_ADJACENCY_LOCAL);
	assert_int_equal(kind("10.0.0.255"), P2PNIC_ADJACENCY_BROADCAST);
	assert_int_equal(kind("10.0.0.5"), P2PNIC_ADJACENCY_GLEAN);
	assert_int_equal(kind("172.16.0.1"), P2PNIC_ADJACENCY_GLEAN);
	assert_int_equal(kind("172.16.1.1"), P2PNIC_ADJACENCY_BLACKHOLE);
	assert_int_equal(kind("172.16.2.1"), P2PNIC_ADJACENCY_UNREACHABLE);
	assert_int_equal(kind("172.16.3.1"), P2PNIC_ADJACENCY_PROHIBIT);
	assert_int_equal(kind("172.16.4.1"), P2PNIC_ADJACENCY_NONE);
	assert_int_equal(kind("172.16.5.1"), P2PNIC_ADJACENCY_KERNEL);
	assert_int_equal(kind("172.16.6.1"), P2PNIC_ADJACENCY_GLEAN); /* by 172.16.0.0/12 */
	assert_int_equal(kind("172.16.7.1"), P2PNIC_ADJACENCY_KERNEL);
	assert_int_equal(kind("172.16.8.1"), P2PNIC_ADJACENCY_KERNEL);
	assert_int_equal(kind("ff02::5"), P2PNIC_ADJACENCY_NONE);
}

static void test_neighbors(void **context)
{
	make();
	add((struct wanted){.to = "10.0.0.0", .length = 24, .hop = {{1, NULL}}});
	add((struct wanted){.to = "10.0.9.9", .length = 32, .hop = {{2, NULL}}});
	add((struct wanted){.to = "172.16.0.0", .length = 12, .hop = {{1, "10.0.0.2"}}});
	set_neighbor(1, "10.0.0.2", NUD_REACHABLE, 2);
	set_neighbor(1, "10.0.0.3", NUD_STALE, 3);
	set_neighbor(2, "10.0.0.4", NUD_REACHABLE, 4);
	set_neighbor(2, "10.0.9.9", NUD_PERMANENT, 9);
	apply();
	assert_int_equal(kind("10.0.0.3"), P2PNIC_ADJACENCY_FORWARD);
	assert_int_equal(kind("172.16.0.1"), P2PNIC_ADJACENCY_FORWARD);
	assert_int_equal(kind("10.0.9.9"), P2PNIC_ADJACENCY_FORWARD);
	/* The kernel would look for it elsewhere. */
	assert_int_equal(kind("10.0.0.4"), P2PNIC_ADJACENCY_GLEAN);

	/* One store for all routes by a gateway; no route changes. */
	set_neighbor(1, "10.0.0.2", NUD_REACHABLE, 0x22);
	apply();
	right("172.16.0.1");
	assert_int_equal(report.changed + report.added + report.deleted, 0);
	assert_int_equal(report.moved, 1);
	set_neighbor(1, "10.0.0.3", NUD_FAILED, 0);
	set_neighbor(1, "10.0.0.2", 0, 0);
	apply();
	assert_int_equal(kind("10.0.0.3"), P2PNIC_ADJACENCY_GLEAN);
	assert_int_equal(kind("172.16.0.1"), P2PNIC_ADJACENCY_GLEAN);

	/* A longer route takes a neighbour away from its link, and gives it back. */
	set_neighbor(1, "10.0.0.3", NUD_DELAY, 3);
	apply();
	add((struct wanted){.to = "10.0.0.0", .length = 28, .hop = {{2, "10.0.9.9"}}});
	apply();
	right("10.0.0.3");
	assert_int_equal(report.deleted, 1);
	del((struct wanted){.to = "10.0.0.0", .length = 28, .hop = {{2, "10.0.9.9"}}});
	apply();
	right("10.0.0.3");
	assert_int_equal(kind("10.0.0.3"), P2PNIC_ADJACENCY_FORWARD);
}

static unsigned kind_of(const char *text)
{
	const struct address a = parsed(text);
	static struct way way;

	fake_way(&nic[1], &a, &way);
	return way.adjacency[0].kind;
}

static void test_failed(void **context)
{
	char text[40];

	make();
	routes.failed_ms = 1000000;
	add((struct wanted){.to = "10.0.0.0", .length = 8, .hop = {{1, NULL}}});
	set_neighbor(1, "10.0.0.3", NUD_FAILED, 0);
	set_neighbor(2, "10.0.0.4", NUD_FAILED, 0);
	set_neighbor(4, "10.0.0.5", NUD_FAILED, 0);
	set_neighbor(1, "10.0.0.6", NUD_INCOMPLETE, 0);
	apply();
	assert_int_equal(kind_of("10.0.0.3"), P2PNIC_ADJACENCY_BLACKHOLE);
	assert_int_equal(kind_of("10.0.0.4"), P2PNIC_ADJACENCY_GLEAN); /* by another link */
	assert_int_equal(kind_of("10.0.0.5"), P2PNIC_ADJACENCY_GLEAN);
	assert_int_equal(kind_of("10.0.0.6"), P2PNIC_ADJACENCY_GLEAN);
	/* A table made anew has it too. */
	make();
	assert_int_equal(kind_of("10.0.0.3"), P2PNIC_ADJACENCY_BLACKHOLE);
	/* It leads elsewhere now, and back. */
	add((struct wanted){.to = "10.0.0.0", .length = 16, .hop = {{2, "10.1.0.2"}}});
	apply();
	assert_int_equal(kind_of("10.0.0.3"), P2PNIC_ADJACENCY_GLEAN);
	del((struct wanted){.to = "10.0.0.0", .length = 16, .hop = {{2, "10.1.0.2"}}});
	apply();
	assert_int_equal(kind_of("10.0.0.3"), P2PNIC_ADJACENCY_BLACKHOLE);
	/* It is there after all. */
	set_neighbor(1, "10.0.0.3", NUD_REACHABLE, 3);
	apply();
	assert_int_equal(kind_of("10.0.0.3"), P2PNIC_ADJACENCY_FORWARD);
	set_neighbor(1, "10.0.0.3", 0, 0);
	apply();
	/* Its time has come. */
	for (size_t k = 0; k < routes.failures; k++)
		routes.failed[k].until_ns = 0;
	apply();
	assert_int_equal(routes.failures, 0);
	assert_int_equal(kind_of("10.0.0.3"), P2PNIC_ADJACENCY_GLEAN);

	/* A scan. */
	for (unsigned k = 0; k < 5000; k++) {
		snprintf(text, sizeof(text), "10.9.%u.%u", k >> 8, k & 255);
		set_neighbor(1, text, NUD_FAILED, 0);
	}
	apply();
	assert_int_equal(routes.failures, KERNEL_FAILED_MAX);
	for (size_t k = 0; k < routes.failures; k++)
		routes.failed[k].until_ns = 0;
	apply();
	assert_int_equal(table_routes(table)->n, 1);
}

static void test_metrics(void **context)
{
	const struct wanted good = {.to = "172.16.0.0",
				    .length = 12,
				    .metric = 10,
				    .hop = {{1, "10.0.0.2"}}},
			    bad = {.to = "172.16.0.0",
				    .length = 12,
				    .metric = 20,
				    .mtu = 1280,
				    .hop = {{2, "10.0.2.2"}}};

	make();
	set_neighbor(1, "10.0.0.2", NUD_REACHABLE, 2);
	set_neighbor(2, "10.0.2.2", NUD_REACHABLE, 3);
	add(bad);
	add(good);
	apply();
	right("172.16.0.1");
	del(good);
	apply();
	right("172.16.0.1");
	add(good);
	apply();
	right("172.16.0.1");
	set_link(1, 0, 1500, 0); /* the kernel deletes it without a word */
	apply();
	right("172.16.0.1");
	set_link(2, IFF_UP, 1500, 0); /* no carrier: it stays, and is the kernel's */
	apply();
	assert_int_equal(kind("172.16.0.1"), P2PNIC_ADJACENCY_KERNEL);
}

static struct wanted to_network(char to[32], unsigned k, struct wanted w)
{
	snprintf(to, 32, "172.%u.%u.0", 16 + (k >> 8), k & 255);
	w.to = to;
	w.length = 24;
	return w;
}

static unsigned next_hops_in_use(void)
{
	unsigned n = 0;

	for (unsigned k = 1; k < TABLE_HALF_NEXT_HOPS; k++)
		n += table_next_hops(table)->users[k] > 0;
	return n;
}

/* NICs have the second best in reserve: one next hop for each pair, however many routes. */
static void test_backup(void **context)
{
	const struct wanted good = {.metric = 10, .hop = {{1, "10.0.0.2"}}},
			    bad = {.metric = 20,
				    .mtu = 1280,
				    .hop = {{2, "10.0.2.2"}, {3, "10.0.3.2"}, {1, "10.0.0.3"}}};
	static const uint8_t reserve[] = {0, 1, 2, 2};
	const struct address a = parsed("172.16.0.1");
	static struct way way;
	char to[32];

	make();
	for (unsigned k = 1; k <= 3; k++) {
		snprintf(to, sizeof(to), "10.0.%u.2", k == 1 ? 0 : k);
		set_neighbor(k, to, NUD_REACHABLE, 2);
	}
	set_neighbor(1, "10.0.0.3", NUD_REACHABLE, 3);
	for (unsigned k = 0; k < 1000; k++) {
		add(to_network(to, k, good));
		add(to_network(to, k, bad));
	}
	apply();
	assert_int_equal(next_hops_in_use(), 1);
	right("172.16.0.1");
	fake_way(&nic[0], &a, &way);
	assert_true(way.ordered);
	assert_int_equal(way.buckets, 4);
	for (unsigned k = 0; k < way.buckets; k++)
		assert_int_equal(way.adjacency[k].egress, reserve[k]);
	assert_int_equal(way.adjacency[1].mtu, 1280);

	set_neighbor(2, "10.0.2.2", NUD_FAILED, 2); /* not resolved: no use as a reserve */
	apply();
	right("172.16.0.1");
	assert_int_equal(report.moved, 1);
	set_neighbor(2, "10.0.2.2", NUD_REACHABLE, 2);
	set_link(1, IFF_UP, 1500, 0); /* no carrier: its flows are shared out by the host */
	apply();
	right("172.16.0.1");
	fake_way(&nic[0], &a, &way);
	assert_false(way.ordered);
	assert_int_equal(report.changed, 0);
	set_link(1, UP, 1500, 0);
	apply();
	right("172.16.0.1");
	fake_way(&nic[0], &a, &way);
	assert_true(way.ordered);

	for (unsigned k = 0; k < 1000; k++)
		del(to_network(to, k, k < 500 ? good : bad));
	apply();
	right("172.16.0.1");
	right("172.17.250.1");
	assert_int_equal(next_hops_in_use(), 2);
}

/* Half of the next hops are not taken for that. */
static void test_backups_full(void **context)
{
	const unsigned most = TABLE_HALF_NEXT_HOPS / 2, n = most + 200;
	unsigned ordered = 0;
	char gateway[32], to[32];

	make();
	set_neighbor(2, "10.0.2.2", NUD_REACHABLE, 2);
	for (unsigned k = 0; k < n; k++) {
		snprintf(gateway, sizeof(gateway), "10.1.%u.%u", k >> 8, k & 255);
		set_neighbor(1, gateway, NUD_REACHABLE, (uint8_t)(k & 127));
		add(to_network(to, k, (struct wanted){.metric = 10, .hop = {{1, gateway}}}));
		add(to_network(to, k, (struct wanted){.metric = 20, .hop = {{2, "10.0.2.2"}}}));
	}
	make();
	for (unsigned k = 0; k < n; k++) {
		struct address a;
		static struct way way;

		snprintf(to, sizeof(to), "172.%u.%u.1", 16 + (k >> 8), k & 255);
		a = parsed(to);
		fake_way(&nic[0], &a, &way);
		assert_int_equal(way.adjacency[0].kind, P2PNIC_ADJACENCY_FORWARD);
		assert_int_equal(way.adjacency[0].egress, 0);
		ordered += way.ordered;
	}
	assert_in_range(ordered, most - 4, most);
	assert_false(routes.lossy);
}

/* A replaced object is one store, whatever goes by it. */
static void test_objects(void **context)
{
	const struct hop one = {1, "10.0.0.2"}, two = {2, "fe80::2"}, three = {3, "10.0.3.2"};

	make();
	set_neighbor(1, "10.0.0.2", NUD_REACHABLE, 2);
	set_neighbor(2, "fe80::2", NUD_REACHABLE, 3);
	set_object(1, &one, false);
	set_object(2, &two, false);
	set_group(9, 1, 2);
	for (unsigned k = 0; k < 200; k++) {
		char to[32];

		snprintf(to, sizeof(to), "172.20.%u.0", k);
		add((struct wanted){.to = to, .length = 24, .object = k < 100 ? 1 : 9});
	}
	apply();
	assert_int_equal(report.added, 200);
	right("172.20.0.1");
	right("172.20.100.1");
	set_object(1, &three, false);
	apply();
	right("172.20.0.1");
	right("172.20.100.1");
	assert_int_equal(report.changed + report.added + report.deleted, 0);
	assert_int_equal(report.moved, 2);
	set_object(2, NULL, false); /* leaves the group */
	apply();
	right("172.20.100.1");
	set_object(1, NULL, true);
	apply();
	assert_int_equal(kind("172.20.100.1"), P2PNIC_ADJACENCY_BLACKHOLE);
}

/* Of a bridge, bond or VRF a NIC's link forwards nothing by itself. */
static void test_enslaved(void **context)
{
	make();
	set_neighbor(1, "10.0.0.2", NUD_REACHABLE, 2);
	add((struct wanted){.to = "172.16.0.0", .length = 12, .hop = {{1, "10.0.0.2"}}});
	apply();
	assert_int_equal(kind("172.16.0.1"), P2PNIC_ADJACENCY_FORWARD);
	set_link(1, UP, 1500, 4);
	apply();
	assert_int_equal(kind("172.16.0.1"), P2PNIC_ADJACENCY_KERNEL);
	set_link(1, UP, 1400, 0);
	apply();
	assert_int_equal(kind("172.16.0.1"), P2PNIC_ADJACENCY_FORWARD);
}

/* More next hops than NICs have: the rest is the kernel's, and comes back when there is room. */
static void test_full(void **context)
{
	char gateway[32], to[32];
	unsigned kernel = 0;

	make();
	add((struct wanted){.to = "10.0.0.0", .length = 8, .hop = {{1, NULL}}});
	for (unsigned round = 0; round < 2; round++) {
		for (unsigned k = 0; k < TABLE_HALF_NEXT_HOPS + 100; k++) {
			struct wanted w = {.to = to, .length = 24, .hop = {{1, gateway}}};

			snprintf(gateway, sizeof(gateway), "10.1.%u.%u", k >> 8, k & 255);
			snprintf(to, sizeof(to), "172.%u.%u.0", 16 + (k >> 8), k & 255);
			set_route(round ? RTM_DELROUTE : RTM_NEWROUTE, &w);
		}
		apply();
	}
	for (unsigned k = 0; k < TABLE_HALF_NEXT_HOPS + 100; k++) {
		snprintf(gateway, sizeof(gateway), "10.1.%u.%u", k >> 8, k & 255);
		snprintf(to, sizeof(to), "172.%u.%u.0", 16 + (k >> 8), k & 255);
		add((struct wanted){.to = to, .length = 24, .hop = {{1, gateway}}});
	}
	apply();
	assert_true(routes.lossy);
	for (unsigned k = 0; k < TABLE_HALF_NEXT_HOPS + 100; k++) {
		struct address a;
		static struct way way;

		snprintf(to, sizeof(to), "172.%u.%u.1", 16 + (k >> 8), k & 255);
		a = parsed(to);
		fake_way(&nic[0], &a, &way);
		kernel += way.adjacency[0].kind == P2PNIC_ADJACENCY_KERNEL;
		assert_true(way.adjacency[0].kind == P2PNIC_ADJACENCY_KERNEL ||
			    way.adjacency[0].kind == P2PNIC_ADJACENCY_GLEAN);
	}
	assert_in_range(kernel, 100, 110);
	for (unsigned k = 0; k < 200; k++) {
		snprintf(gateway, sizeof(gateway), "10.1.%u.%u", k >> 8, k & 255);
		snprintf(to, sizeof(to), "172.%u.%u.0", 16 + (k >> 8), k & 255);
		del((struct wanted){.to = to, .length = 24, .hop = {{1, gateway}}});
	}
	apply();
	make();
	assert_false(routes.lossy);
	assert_int_equal(kind("172.23.0.1"), P2PNIC_ADJACENCY_GLEAN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_kinds, begin, end),
		cmocka_unit_test_setup_teardown(test_neighbors, begin, end),
		cmocka_unit_test_setup_teardown(test_failed, begin, end),
		cmocka_unit_test_setup_teardown(test_metrics, begin, end),
		cmocka_unit_test_setup_teardown(test_backup, begin, end),
		cmocka_unit_test_setup_teardown(test_backups_full, begin, end),
		cmocka_unit_test_setup_teardown(test_objects, begin, end),
		cmocka_unit_test_setup_teardown(test_enslaved, begin, end),
		cmocka_unit_test_setup_teardown(test_full, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
