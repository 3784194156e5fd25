/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The kernel's routes in the NICs' table: random changes, batch by batch, against a twin that looks
 * through all of the kernel's state for every packet, and against a table made from nothing. And
 * what the router or a NIC has wrong is found, and mended.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/unit/kernel_rig.h"
#include "tests/unit/seed.h"

#include <fib/check.h>
#include <router/table_check.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t random_state;

/* --- Looking for what is wrong ---------------------------------------------------------------- */

/* Routes of the router that are wrong, and next hops. */
static size_t wrong_routes(unsigned *moved)
{
	struct kernel_routes_check check = {0};
	size_t wrong = 0;
	int result;

	*moved = 0;
	do {
		result = kernel_routes_check(&routes, table, &check);
		assert_true(result >= 0);
		wrong += routes.prefixes.n;
		*moved += check.moved;
	} while (result);
	return wrong;
}

static void check_memory(struct table_check *check, unsigned k, bool mend)
{
	struct error error;

	while (table_check_step(check, table, &nic[k].driver, mend))
		;
	if (mend && !check->other_half)
		assert_int_equal(table_rewrite(table, &nic[k].driver, &error), 0);
}

static void assert_healthy(void)
{
	unsigned moved;

	assert_int_equal(wrong_routes(&moved), 0);
	assert_int_equal(moved, 0);
	for (unsigned k = 0; k < NICS; k++) {
		struct table_check check = {0};

		check_memory(&check, k, false);
		assert_false(check.other_half);
		assert_false(check.sources);
		assert_int_equal(check.next_hops + check.words[0] + check.words[1], 0);
		table_check_free(&check);
	}
}

static void set_up_check(void)
{
	make();
	set_neighbor(2, "10.0.2.2", NUD_REACHABLE, 9);
	add((struct wanted){.to = "10.0.1.1",
		.length = 32,
		.type = RTN_LOCAL,
		.table = RT_TABLE_LOCAL,
		.hop = {{1, NULL}}});
	add((struct wanted){.to = "10.0.2.0", .length = 24, .hop = {{2, NULL}}});
	add((struct wanted){.to = "172.16.0.0", .length = 16, .hop = {{2, "10.0.2.2"}}});
	add((struct wanted){
		.to = "172.17.0.0", .length = 16, .hop = {{2, "10.0.2.2", 0}, {3, "10.0.3.2", 0}}});
	add((struct wanted){.to = "2001:db8::", .length = 32, .hop = {{2, "fe80::2"}}});
	apply();
	assert_healthy();
}

/* The router's routes and next hops are not what the kernel has: found, and made right anew. */
static void test_check_router(void **context)
{
	const struct address gone = parsed("172.16.0.0"), more = parsed("172.18.0.0");
	struct next_hops *hops;
	struct error error;
	unsigned moved;

	set_up_check();
	for (unsigned k = 0; k < 2; k++) {
		const struct route change = {k ? more.bits : gone.bits, 16, 4,
			(uint16_t)(k ? table_routes(table)->route[0].next_hop : 0), 0};

		hops = next_hops_copy(table_next_hops(table));
		assert_int_equal(table_change(table, hops, &change, 1, &nics, &report, &error), 0);
	}
	assert_int_equal(wrong_routes(&moved), 2);
	assert_int_equal(moved, 0);
	make();
	assert_healthy();

	hops = next_hops_copy(table_next_hops(table));
	for (unsigned k = 1; k < TABLE_HALF_NEXT_HOPS; k++)
		if (hops->key[k].type == NEXT_HOP_KERNEL && hops->users[k] &&
			hops->adjacency[P2PNIC_NEXT_HOP_FIRST(hops->word[k])].kind ==
				P2PNIC_ADJACENCY_FORWARD &&
			!P2PNIC_NEXT_HOP_LOG2(hops->word[k])) {
			next_hops_lead_to(hops, k,
				&(struct p2pnic_adjacency){.kind = P2PNIC_ADJACENCY_GLEAN});
			break;
		}
	assert_int_equal(table_change(table, hops, NULL, 0, &nics, &report, &error), 0);
	wrong_routes(&moved);
	assert_int_equal(moved, 1);
	make();
	assert_healthy();
	right("172.16.1.1");
}

/* A NIC's memory is not what it should be: found, nothing is followed, and it is mended. */
static void test_check_memory(void **context)
{
	uint64_t random = test_seed(), bytes;
	uint8_t *before = malloc(P2PNIC_BAR2_BYTES_MIN);

	set_up_check();
	memcpy(before, nic[1].driver.bar2, P2PNIC_BAR2_BYTES_MIN);
	for (unsigned round = 0; round < 200; round++) {
		struct table_check found = {0}, mended = {0};
		const unsigned six = round & 1;
		uint64_t *image = (uint64_t *)(nic[1].driver.bar2 + table_image_place(table, six));
		unsigned n = 1;

		table_image(table, six, &bytes);
		switch (round % 5) {
		case 0:
			image[0] ^= 1; /* magic */
			break;
		case 1:
			image[2] = ~0ull; /* root */
			break;
		default:
			for (n = 0; n < 5; n++)
				image[check_random(&random) % (bytes / 8)] = check_random(&random);
		}
		check_memory(&found, 1, false);
		assert_in_range(found.words[six], 1, n);
		assert_int_equal(found.words[!six], 0);
		assert_memory_not_equal(before, nic[1].driver.bar2, P2PNIC_BAR2_BYTES_MIN);
		check_memory(&mended, 1, true);
		assert_int_equal(mended.words[six], found.words[six]);
		assert_memory_equal(before, nic[1].driver.bar2, P2PNIC_BAR2_BYTES_MIN);
		table_check_free(&found);
		table_check_free(&mended);
	}
	for (unsigned round = 0; round < 3; round++) {
		static const struct {
			uint32_t offset, bytes;
		} of[] = {{P2PNIC_BAR2_NEXT_HOPS, P2PNIC_NEXT_HOPS_MAX * sizeof(p2pnic_next_hop)},
			{P2PNIC_BAR2_ADJACENCIES,
				P2PNIC_ADJACENCIES_MAX * sizeof(struct p2pnic_adjacency)},
			{P2PNIC_BAR2_SOURCES, sizeof(struct p2pnic_sources)}};
		struct table_check check = {0};

		memset(nic[1].driver.bar2 + of[round].offset, 0xa5, of[round].bytes);
		check_memory(&check, 1, true);
		assert_int_equal(check.sources, round == 2);
		assert_true((check.next_hops > 3) == (round < 2));
		assert_int_equal(check.words[0] + check.words[1], 0);
		assert_healthy();
		table_check_free(&check);
	}
	{
		struct table_check check = {0};

		nic[1].reg[P2PNIC_REG_FIB4_OFFSET / 4] = table_image_place(table, 1);
		check_memory(&check, 1, false);
		assert_true(check.other_half);
	}
	free(before);
}

/* --- Random changes --------------------------------------------------------------------------- */

static unsigned below(unsigned n)
{
	return (unsigned)(check_random(&random_state) % n);
}

#define GATEWAYS 12u
static const char *const gateway_of[GATEWAYS] = {"10.0.1.2", "10.0.1.3", "10.0.2.2", "10.0.2.3",
	"10.0.3.2", "10.0.3.3", "10.0.4.2", "2001:db9:1::2", "2001:db9:2::2", "2001:db9:3::2",
	"fe80::2", "fe80::3"};

/* Any, or more often one of two of its link, which a neighbor is then likely to be. */
static const char *random_gateway(unsigned link, bool ipv4)
{
	if (below(4) && ipv4 && link <= NICS)
		return gateway_of[2 * (link - 1) + below(2)];
	return gateway_of[ipv4 ? below(GATEWAYS) : 7 + below(5)];
}

static struct hop random_hop(bool ipv4)
{
	const unsigned link = 1 + below(LINKS);
	const struct hop hop = {
		link, below(5) ? random_gateway(link, ipv4) : NULL, (uint8_t)below(3)};

	return hop;
}

static void random_prefix(char to[40], uint8_t *length)
{
	static const uint8_t lengths4[] = {0, 8, 16, 22, 24, 28, 30, 31, 32};
	static const uint8_t lengths6[] = {0, 32, 48, 64, 126, 127, 128};
	struct address a = parsed(gateway_of[below(GATEWAYS)]);
	char text[ADDRESS_TEXT_BYTES];
	struct prefix p;

	*length = a.family == 4 ? lengths4[below(sizeof(lengths4))] : lengths6[below(7)];
	if (a.family == 4)
		a.bits.high ^= (uint64_t)below(8) << 32;
	else
		a.bits.low ^= below(8);
	p = prefix_of(&a, *length);
	snprintf(to, 40, "%s", address_text(&p.address, text));
}

static void random_route(void)
{
	static const uint8_t types[] = {RTN_UNICAST, RTN_UNICAST, RTN_UNICAST, RTN_UNICAST,
		RTN_UNICAST, RTN_UNICAST, RTN_LOCAL, RTN_BROADCAST, RTN_ANYCAST, RTN_BLACKHOLE,
		RTN_UNREACHABLE, RTN_PROHIBIT, RTN_THROW};
	char to[40];
	struct wanted w = {.to = to, .metric = 1 + below(3)};
	const unsigned hops = below(3) ? 1 : 2 + below(3);

	random_prefix(to, &w.length);
	w.type = types[below(sizeof(types))];
	w.table = w.type == RTN_LOCAL || w.type == RTN_BROADCAST ? RT_TABLE_LOCAL
		  : below(8)                                     ? RT_TABLE_MAIN
		  : below(2)                                     ? RT_TABLE_DEFAULT
								 : 100;
	w.tos = below(20) == 0 ? 8 : 0;
	w.mtu = below(6) == 0 ? 1300 : 0;
	if (w.type <= RTN_BROADCAST && below(4) == 0 && w.type == RTN_UNICAST)
		w.object = 1 + below(6);
	for (unsigned k = 0; k < hops && w.type <= RTN_ANYCAST; k++)
		w.hop[k] = random_hop(!strchr(to, ':'));
	set_route(below(3) ? RTM_NEWROUTE : RTM_DELROUTE, &w);
}

static void random_change(void)
{
	static const uint16_t states[] = {0, NUD_INCOMPLETE, NUD_FAILED, NUD_REACHABLE, NUD_STALE,
		NUD_DELAY, NUD_PROBE, NUD_PERMANENT};
	const unsigned what = below(20);

	if (what < 12) {
		random_route();
	} else if (what < 16) {
		const unsigned link = 1 + below(LINKS);

		set_neighbor(link, random_gateway(link, true), states[below(8)], (uint8_t)below(3));
	} else if (what < 17) {
		set_link(1 + below(LINKS),
			below(3)   ? UP
			: below(2) ? IFF_UP
				   : 0,
			1300 + below(3) * 200, below(5) ? 0 : 4);
	} else if (what < 19) {
		const struct hop hop = random_hop(true);

		set_object(1 + below(4), below(4) ? &hop : NULL, below(8) == 0);
	} else {
		set_group(5 + below(2), 1 + below(2), 3 + below(2));
	}
}

/* A table that was never changed but made. */
static void like_new(void)
{
	const struct table_nics only = {{&fresh.driver}, 1};
	struct kernel_routes other;
	struct error error;
	struct table *t;

	memset(fresh.reg, 0, sizeof(fresh.reg));
	assert_int_equal(table_new(&t, P2PNIC_BAR2_BYTES_MIN, TABLE_KIND, 0), 0);
	kernel_routes_open(&other, mirror, &links);
	if (kernel_routes_make(&other, &t, TABLE_KIND, &only, &report, &error))
		fail_msg("%s", error.text);
	assert_int_equal(table_routes(t)->n, table_routes(table)->n);
	for (size_t k = 0; k < table_routes(t)->n; k++)
		assert_int_equal(
			route_order(&table_routes(t)->route[k], &table_routes(table)->route[k]), 0);
	kernel_routes_close(&other);
	table_free(t);
}

static void test_random(void **context)
{
	size_t most = 0;

	reserves = 0;
	random_state = test_seed();
	make();
	for (unsigned round = 0; round < 1500; round++) {
		for (unsigned k = 1 + below(round < 750 ? 4 : 40); k; k--)
			random_change();
		apply();
		for (unsigned k = 0; k < GATEWAYS; k++)
			for (unsigned more = 0; more < 8; more++) {
				struct address a = parsed(gateway_of[k]);

				if (a.family == 4)
					a.bits.high ^= (uint64_t)more << 32;
				else
					a.bits.low ^= more;
				if (a.family == 4 || a.bits.high >> 56 != 0xfe)
					assert_shares(&nic[round % NICS], &a);
			}
		if (round % 50 == 0)
			like_new();
		if (round % 10 == 0)
			assert_healthy();
		if (table_routes(table)->n > most)
			most = table_routes(table)->n;
	}
	assert_true(most > 40);
	assert_true(reserves > 0);
	assert_int_equal(routes.applied.compiles, 1);
	assert_true(kernel_state_counters(mirror)->malformed == 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_check_router, begin, end),
		cmocka_unit_test_setup_teardown(test_check_memory, begin, end),
		cmocka_unit_test_setup_teardown(test_random, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
