/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tables against the naive twin, through patches: what a NIC sees is a copy of the image that only
 * patches change. The seed is printed; give another one as the argument.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>

#include "fib/check.h"
#include "fib/fib_image.h"
#include "firmware/fib_line_trie.h"
#include "firmware/fib_lookup.h"

#define ROOM (4u << 20)

static uint64_t seed = 1;

static unsigned below(unsigned n)
{
	return (unsigned)(check_random(&seed) % n);
}

/* A table, its twin, and a NIC's copy of the image. */
struct rig {
	struct fib *fib;
	struct naive twin;
	unsigned family;
	uint8_t *device;
	uint64_t epoch;
	struct error error;
};

static void rig_open_as(struct rig *rig, const struct fib_config *config)
{
	uint64_t room = config->room;

	memset(rig, 0, sizeof *rig);
	rig->family = config->family;
	rig->fib = fib_new(config, &rig->error);
	assert_non_null(rig->fib);
	assert_int_equal(naive_open(&rig->twin), 0);
	rig->device = aligned_alloc(64, room);
	memset(rig->device, 0xa5, room);
	fib_image_write(rig->fib, rig->device);
}

static void rig_open(struct rig *rig, unsigned family, unsigned kind, uint64_t room)
{
	rig_open_as(rig, &(struct fib_config){family, kind, room, false});
}

static void rig_close(struct rig *rig)
{
	fib_free(rig->fib);
	naive_close(&rig->twin);
	free(rig->device);
}

/* Epochs pass late at times: up to then nothing unlinked may be used. */
static int rig_change(struct rig *rig, const struct fib_route *changes, size_t n)
{
	const struct fib_patch *patch;
	int status = fib_change(rig->fib, changes, n, &patch, &rig->error);

	if (status == -EAGAIN) {
		fib_epoch_passed(rig->fib, rig->epoch);
		status = fib_change(rig->fib, changes, n, &patch, &rig->error);
	}
	if (status)
		return status;
	for (size_t i = 0; i < n; i++)
		assert_int_equal(naive_set(&rig->twin, &changes[i]), 0);
	fib_patch_apply(patch, rig->device);
	rig->epoch = patch->epoch;
	if (!below(3))
		fib_epoch_passed(rig->fib, rig->epoch);
	return 0;
}

static void assert_matches(struct rig *rig, const struct fib_ipv6 *address, size_t n)
{
	struct check check = {0};

	check_addresses(rig->device, rig->family, &rig->twin, address, n, &check);
	if (check.mismatches)
		fail_msg("%s: %016llx%016llx: %u, not %u", check.version,
			(unsigned long long)check.address.high,
			(unsigned long long)check.address.low, check.got, check.wanted);
}

static struct fib_ipv6 with_bits(struct fib_ipv6 base, unsigned at, unsigned bits)
{
	uint64_t value = bits;
	int shift = 64 - 8 - (int)at;

	/* 8 bits from bit `at` on. */
	if (shift >= 0) {
		base.high |= value << shift;
	} else if (shift > -8) {
		base.high |= value >> -shift;
		base.low |= value << (64 + shift);
	} else {
		base.low |= value << (64 + shift);
	}
	return base;
}

static struct fib_ipv6 top_bits(struct fib_ipv6 a, unsigned length)
{
	a.high &= length >= 64 ? ~0ull : ~(~0ull >> length);
	a.low &= length <= 64 ? 0 : length >= 128 ? ~0ull : ~(~0ull >> (length - 64));
	return a;
}

/*
 * An address space of 8 bits at bit `at` of the address: every address of it is looked up after
 * every operation of random sequences.
 */
static void exhaustive(const struct fib_config *config, unsigned at, unsigned operations)
{
	const unsigned family = config->family;
	struct fib_ipv6 base = {check_random(&seed), check_random(&seed)}, address[256];
	unsigned wide = below(3);
	struct rig rig;

	base = top_bits(base, at);
	for (unsigned v = 0; v < 256; v++) {
		struct fib_ipv6 rest = {check_random(&seed), check_random(&seed)};
		struct fib_ipv6 keep = top_bits(rest, at + 8);

		address[v] = with_bits(base, at, v);
		address[v].high |= rest.high ^ keep.high;
		address[v].low |= rest.low ^ keep.low;
		if (family == 4)
			address[v] = (struct fib_ipv6){address[v].high & 0xffffffff00000000u, 0};
	}
	rig_open_as(&rig, config);
	for (unsigned o = 0; o < operations; o++) {
		struct fib_route changes[40];
		unsigned n = below(4) ? 1 : 1 + below(40), phase = o / 64 % 3;

		for (unsigned i = 0; i < n; i++) {
			unsigned length = 8 - below(9) * below(9) / 8;

			if (phase == 0)
				length = 8; /* fills up: dense nodes */
			changes[i] = (struct fib_route){
				.prefix = top_bits(with_bits(base, at, below(256)), at + length),
				.length = (uint8_t)(at + length),
				.family = (uint8_t)family,
				.next_hop = (uint16_t)(below(phase == 2 ? 2 : 5)
							       ? 1 + below(wide == 2 ? 4095
									     : wide  ? 300
										     : 5)
							       : 0)};
		}
		assert_int_equal(rig_change(&rig, changes, n), 0);
		assert_matches(&rig, address, 256);
	}
	assert_true(fib_image_valid(rig.device, ROOM, family));
	rig_close(&rig);
}

static void eight_bits_ipv4(void **state)
{
	const struct fib_config line_trie = {4, P2PNIC_FIB_LINE_TRIE, ROOM, false};
	const struct fib_config state_jump = {4, P2PNIC_FIB_STATE_JUMP, ROOM, false};

	for (unsigned at = 0; at <= 24; at += 2)
		exhaustive(&line_trie, at, 120);
	for (unsigned at = 0; at <= 24; at += 6)
		exhaustive(&state_jump, at, 60);
}

static void eight_bits_ipv6(void **state)
{
	static const unsigned places[] = {
		0, 8, 12, 16, 19, 24, 30, 32, 36, 38, 40, 48, 56, 60, 64, 80, 101, 120};
	const struct fib_config line_trie = {6, P2PNIC_FIB_LINE_TRIE, ROOM, false};
	const struct fib_config version_1 = {6, P2PNIC_FIB_LINE_TRIE, ROOM, true};
	const struct fib_config state_jump = {6, P2PNIC_FIB_STATE_JUMP, ROOM, false};

	for (unsigned i = 0; i < sizeof places / sizeof places[0]; i++) {
		exhaustive(&line_trie, places[i], 100);
		exhaustive(&version_1, places[i], 20);
	}
	exhaustive(&state_jump, 44, 60);
}

/* A few routes inside a /16, and inside some of its /48s: LONG nodes come, go, and lead on. */
static void few_of_a_slot(void **state)
{
	enum { POOL = 40, SITES = 6 };
	const struct fib_config config = {6, P2PNIC_FIB_LINE_TRIE, ROOM, false};
	const uint64_t slot = 0x2001ull << 48;
	unsigned seen[P2PNIC_LINE_TRIE_LONG_MAX] = {0}, led_on = 0, others = 0;

	for (unsigned round = 0; round < 60; round++) {
		uint32_t site[SITES] = {0, UINT32_MAX, (uint32_t)check_random(&seed)};
		struct fib_route pool[POOL];
		struct check check = {0};
		struct rig rig;

		site[3] = site[2] + 1;
		site[4] = (uint32_t)check_random(&seed);
		site[5] = (uint32_t)check_random(&seed);
		rig_open_as(&rig, &config);
		for (unsigned k = 0; k < POOL; k++) {
			const uint64_t key = site[below(SITES)];
			const struct fib_ipv6 a = {
				slot | key << 16 | below(4), check_random(&seed)};
			const unsigned length = 17 + below(below(2) ? 32 : 112);

			pool[k] = (struct fib_route){top_bits(a, length), (uint8_t)length, 6, 0};
		}
		for (unsigned o = 0; o < 80; o++) {
			const uint32_t *root = (const void *)(rig.device + P2PNIC_LINE_TRIE_ROOT);
			struct fib_route changes[6];
			const unsigned n = 1 + below(6), few = 4 + below(POOL - 4);

			for (unsigned k = 0; k < n; k++) {
				changes[k] = pool[below(few)];
				changes[k].next_hop = (uint16_t)(below(3) ? 1 + below(3) : 0);
			}
			assert_int_equal(rig_change(&rig, changes, n), 0);
			check_boundaries(rig.device, 6, &rig.twin, pool, POOL, &check);
			assert_int_equal(check.mismatches, 0);
			assert_true(fib_image_valid(rig.device, ROOM, 6));
			if (line_trie_is_long(root[0x2001])) {
				const unsigned count = root[0x2001] & (P2PNIC_LINE_TRIE_LONG - 1);

				seen[count]++;
				for (unsigned k = 0; k < SITES; k++)
					led_on += !line_trie_is_leaf(line_trie_step_long(
						rig.device, root[0x2001], site[k]));
			} else {
				others += !line_trie_is_leaf(root[0x2001]);
			}
		}
		rig_close(&rig);
	}
	for (unsigned count = 1; count < P2PNIC_LINE_TRIE_LONG_MAX; count++)
		assert_true(seen[count] > 0);
	assert_in_range(led_on, 100, UINT32_MAX);
	assert_in_range(others, 100, UINT32_MAX);
}

struct routes {
	struct fib_route *route;
	size_t n;
};

static void see(void *context, const struct fib_route *route)
{
	struct routes *routes = context;

	routes->route[routes->n++] = *route;
}

/* Nested and clustered routes of all lengths under churn; then as freshly built. */
static void churn(unsigned family, bool version_1, unsigned changes)
{
	unsigned bits = family == 4 ? 32 : 128;
	const struct fib_config config = {family, P2PNIC_FIB_LINE_TRIE, ROOM, version_1};
	struct fib_route *known = malloc(4000 * sizeof *known);
	struct fib_route *last = malloc(4000 * sizeof *last);
	struct routes routes = {malloc(4000 * sizeof *routes.route), 0};
	struct check check = {0};
	uint64_t bytes, fresh_bytes;
	struct fib *fresh;
	struct rig rig;

	rig_open_as(&rig, &config);
	for (unsigned i = 0; i < 4000; i++) {
		/* Most lie next to another: long common beginnings. */
		struct fib_ipv6 prefix = {check_random(&seed), check_random(&seed)};
		unsigned length = below(bits + 1), common = below(bits + 1);

		if (i && below(8)) {
			struct fib_ipv6 near = top_bits(known[below(i)].prefix, common);
			struct fib_ipv6 far = top_bits(prefix, common);

			prefix.high = (prefix.high ^ far.high) | near.high;
			prefix.low = (prefix.low ^ far.low) | near.low;
		}
		known[i] = (struct fib_route){
			top_bits(prefix, length), (uint8_t)length, (uint8_t)family, 0};
	}
	for (unsigned i = 0; i < changes; i++) {
		struct fib_route change[8];
		unsigned n = 1 + below(8);

		for (unsigned k = 0; k < n; k++) {
			change[k] = known[below(4000)];
			change[k].next_hop = (uint16_t)(below(3) ? 1 + below(i % 5 ? 40 : 600) : 0);
		}
		assert_int_equal(rig_change(&rig, change, n), 0);
	}
	memcpy(last, known, 4000 * sizeof *last);
	check_boundaries(rig.device, family, &rig.twin, last, 4000, &check);
	check_random_addresses(rig.device, family, &rig.twin, last, 4000, 20000, seed, &check);
	assert_int_equal(check.mismatches, 0);
	assert_true(fib_image_valid(rig.device, ROOM, family));

	/* The routes it has, built anew: same answers, and no much smaller image. */
	fib_each(rig.fib, see, &routes);
	assert_int_equal(routes.n, fib_routes(rig.fib));
	fib_epoch_passed(rig.fib, rig.epoch);
	for (unsigned i = 0; i < 200; i++) {
		assert_int_equal(rig_change(&rig, &routes.route[0], 1), 0);
		fib_epoch_passed(rig.fib, rig.epoch);
	}
	fresh = fib_new(&config, &rig.error);
	assert_int_equal(fib_build(fresh, routes.route, routes.n, &rig.error), 0);
	check_boundaries(fib_image(fresh, &fresh_bytes), family, &rig.twin, last, 4000, &check);
	assert_int_equal(check.mismatches, 0);
	fib_image(rig.fib, &bytes);
	assert_in_range(bytes, fresh_bytes * 9 / 10, fresh_bytes * 115 / 100);
	fib_free(fresh);
	rig_close(&rig);
	free(known);
	free(last);
	free(routes.route);
}

static void churn_ipv4(void **state)
{
	churn(4, false, 8000);
}

static void churn_ipv6(void **state)
{
	churn(6, false, 8000);
	churn(6, true, 8000);
}

/* A table that does not fit is refused whole, with the numbers; what was there stays in force. */
static void limits(void **state)
{
	const uint64_t room = P2PNIC_LINE_TRIE_NODES + 8192;
	struct fib_route routes[400];
	struct fib_ipv6 address[400];
	uint64_t bytes, before;
	unsigned n = 0;
	struct rig rig;
	int status = 0;

	rig_open(&rig, 4, P2PNIC_FIB_LINE_TRIE, room);
	while (!status && n < 400) {
		routes[n] = fib_route4((uint32_t)n << 16 | 0x0a00u, 24, 1 + n % 200);
		address[n] = routes[n].prefix;
		status = rig_change(&rig, &routes[n], 1);
		n += !status;
	}
	/* One route that is not there costs 8 bytes: 1,023 fit. */
	assert_int_equal(status, 0);
	fib_epoch_passed(rig.fib, rig.epoch);
	fib_image(rig.fib, &before);
	struct fib_route *many = malloc(20000 * sizeof *many);
	for (unsigned i = 0; i < 20000; i++)
		many[i] = fib_route4(0x14000000u + (i << 9), 24, 1 + i % 7);
	assert_int_equal(rig_change(&rig, many, 20000), -ENOSPC);
	assert_non_null(strstr(rig.error.text, "20400 routes"));
	assert_non_null(strstr(rig.error.text, "room is"));
	assert_int_equal(fib_routes(rig.fib), 400);
	assert_matches(&rig, address, 400);
	assert_int_equal(fib_lookup(rig.fib, many[5].prefix), 0);
	assert_int_equal(fib_build(rig.fib, many, 20000, &rig.error), -ENOSPC);
	assert_int_equal(fib_routes(rig.fib), 400);
	assert_int_equal(fib_lookup(rig.fib, address[7]), 8);
	fib_image(rig.fib, &bytes);
	assert_int_equal(bytes, before);
	/* What did not fit left nothing behind: changes go on. */
	for (unsigned i = 0; i < 300; i++)
		assert_int_equal(rig_change(&rig, &routes[i % 400], 1), 0);
	assert_matches(&rig, address, 400);
	free(many);

	/* Without epochs passing, memory runs out at last: not yet, rather than never. */
	for (unsigned i = 0;; i++) {
		const struct fib_patch *patch;

		routes[i % 400].next_hop = (uint16_t)(1 + (routes[i % 400].next_hop + 1) % 200);
		status = fib_change(rig.fib, &routes[i % 400], 1, &patch, &rig.error);
		if (status)
			break;
		rig.epoch = patch->epoch;
		fib_patch_apply(patch, rig.device);
		assert_int_equal(naive_set(&rig.twin, &routes[i % 400]), 0);
		assert_true(i < 10000);
	}
	assert_int_equal(status, -EAGAIN);
	assert_matches(&rig, address, 400);
	rig_close(&rig);
}

static void refused(void **state)
{
	struct fib_route routes[] = {
		fib_route4(0x0a000001, 24, 1),
		fib_route4(0x0a000000, 33, 1),
		fib_route4(0x0a000000, 24, 0),
		fib_route4(0x0a000000, 24, P2PNIC_NEXT_HOPS_MAX),
		{{0x2001000000000000u, 0}, 32, 6, 1},
	};
	const struct fib_patch *patch;
	struct rig rig;

	rig_open(&rig, 4, P2PNIC_FIB_LINE_TRIE, ROOM);
	for (unsigned i = 0; i < sizeof routes / sizeof routes[0]; i++) {
		rig.error.text[0] = 0;
		assert_int_equal(fib_build(rig.fib, &routes[i], 1, &rig.error), -EINVAL);
		assert_true(rig.error.text[0]);
		if (i != 2)
			assert_int_equal(
				fib_change(rig.fib, &routes[i], 1, &patch, &rig.error), -EINVAL);
	}
	assert_int_equal(fib_routes(rig.fib), 0);
	rig_close(&rig);
	assert_null(fib_new(&(struct fib_config){5, P2PNIC_FIB_LINE_TRIE, ROOM}, &rig.error));
	assert_null(fib_new(&(struct fib_config){4, 77, ROOM}, &rig.error));
	assert_null(fib_new(&(struct fib_config){4, P2PNIC_FIB_LINE_TRIE, 4096}, &rig.error));
}

/* Images that firmware must not take into use. */
static void damaged_images(void **state)
{
	struct fib_route routes[600];
	uint64_t bytes;
	struct rig rig;
	uint8_t *copy = aligned_alloc(64, ROOM);

	rig_open(&rig, 6, P2PNIC_FIB_LINE_TRIE, ROOM);
	for (unsigned i = 0; i < 600; i++)
		routes[i] = (struct fib_route){
			{0x2001000000000000u + ((uint64_t)(i % 30) << 32) + ((uint64_t)i << 20), 0},
			(uint8_t)(44 + i % 20), 6, (uint16_t)(1 + i % 90)};
	for (unsigned i = 0; i < 600; i++)
		routes[i].prefix = top_bits(routes[i].prefix, routes[i].length);
	assert_int_equal(fib_build(rig.fib, routes, 600, &rig.error), 0);
	fib_image(rig.fib, &bytes);
	memcpy(copy, fib_image(rig.fib, NULL), bytes);
	assert_true(fib_image_valid(copy, ROOM, 6));
	assert_false(fib_image_valid(copy, ROOM - 64, 6));
	assert_false(fib_image_valid(copy, 32, 6));
	assert_false(fib_image_valid(copy, ROOM, 4));
	/* Any damage is found or harmless: a lookup in a valid image stays inside it (under
	 * ASan). */
	for (unsigned i = 0; i < 3000; i++) {
		uint64_t at = i % 3 ? P2PNIC_LINE_TRIE_NODES +
					      check_random(&seed) % (bytes - P2PNIC_LINE_TRIE_NODES)
				    : P2PNIC_LINE_TRIE_ROOT + 4 * 0x2001 + below(4);
		uint8_t was = copy[at];
		uint16_t next_hop[64];
		struct fib_ipv6 address[64];

		copy[at] ^= (uint8_t)(1u << below(8));
		if (fib_image_valid(copy, ROOM, 6)) {
			for (unsigned k = 0; k < 64; k++)
				address[k] = check_inside(&routes[below(600)], &seed);
			fib6_lookup(copy, address, next_hop, 64);
		}
		copy[at] = was;
	}
	free(copy);
	rig_close(&rig);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(eight_bits_ipv4),
		cmocka_unit_test(eight_bits_ipv6),
		cmocka_unit_test(churn_ipv4),
		cmocka_unit_test(few_of_a_slot),
		cmocka_unit_test(churn_ipv6),
		cmocka_unit_test(limits),
		cmocka_unit_test(refused),
		cmocka_unit_test(damaged_images),
	};

	if (argc > 1)
		seed = strtoull(argv[1], NULL, 0);
	printf("seed %llu\n", (unsigned long long)seed);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
