/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a table refuses or has just room for, and the ends of connected networks.
 *
 *     test_table_limits [SEED [TEST]]
 */
#include "tests/unit/table_rig.h"

#include <endian.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

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

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers_are_used_up),
		cmocka_unit_test(ends_of_networks),
		cmocka_unit_test(a_gateway_that_is_nowhere),
		cmocka_unit_test(a_table_that_does_not_fit),
	};

	rig_arguments(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
