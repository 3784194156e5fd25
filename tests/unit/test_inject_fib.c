/* SPDX-License-Identifier: BSD-3-Clause */
/* Tables are built and changed while allocations fail, one after the other: routes and image stay
 * as they were. */
#include "inject.h"

#include "fib/check.h"
#include "fib/fib_image.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
/* cmocka wants those first. */
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROOM    (4u << 20)
#define ROUTES  40u
#define CHANGES 24u

static struct error error;

struct table {
	unsigned family, kind;
	struct fib_route
		route[ROUTES + CHANGES]; /* the table, in no order, and what is to change */
};

/* Of all lengths from /12 on; changes add, replace and delete. */
static void draw(struct table *t)
{
	uint64_t seed = t->family;
	const unsigned longest = t->family == 4 ? 32 : 128;

	for (unsigned k = 0; k < ROUTES + CHANGES; k++) {
		struct fib_route *r = &t->route[k];
		const struct fib_route any = {
			{0, 0}, (uint8_t)(k < 2 ? k : 4), (uint8_t)t->family, 0};

		if (k >= ROUTES && k % 3 == 0) {
			*r = t->route[k - ROUTES];
			r->next_hop = k % 2 ? 0 : 9;
			continue;
		}
		*r = any;
		r->prefix = check_inside(&any, &seed);
		r->length = (uint8_t)(12 + k % (longest - 11));
		r->next_hop = (uint16_t)(1 + k % 200);
		r->prefix.high &= r->length ? ~0ull << (r->length < 64 ? 64 - r->length : 0) : 0;
		r->prefix.low &= r->length <= 64 ? 0 : ~0ull << (128 - r->length);
	}
}

static void answers_as(const struct table *t, const void *image, const struct naive *twin)
{
	struct check check = {0};

	check_boundaries(image, t->family, twin, t->route, ROUTES + CHANGES, &check);
	check_random_addresses(image, t->family, twin, t->route, ROUTES + CHANGES, 200, 1, &check);
	assert_int_equal(check.mismatches, 0);
}

static struct fib *opened(const struct table *t)
{
	return fib_new(&(struct fib_config){t->family, t->kind, ROOM}, &error);
}

static int builds(void *context)
{
	const struct table *t = context;
	struct naive twin;
	int result = -ENOMEM;

	inject_arm();
	struct fib *fib = opened(t);
	if (fib)
		result = fib_build(fib, t->route, ROUTES, &error);
	inject_disarm();
	if (!result) {
		assert_int_equal(naive_open(&twin), 0);
		for (unsigned k = 0; k < ROUTES; k++)
			assert_int_equal(naive_set(&twin, &t->route[k]), 0);
		answers_as(t, fib_image(fib, NULL), &twin);
		naive_close(&twin);
	}
	fib_free(fib);
	return result;
}

static void set_all(struct naive *twin, const struct fib_route *route, unsigned n)
{
	for (unsigned k = 0; k < n; k++)
		assert_int_equal(naive_set(twin, &route[k]), 0);
}

/* After a failure it is all there still, and the same change works. */
static int changes(void *context)
{
	const struct table *t = context;
	const struct fib_patch *patch;
	struct naive twin;
	void *device = aligned_alloc(64, ROOM);
	struct fib *fib = opened(t);
	size_t before;

	assert_non_null(device);
	assert_non_null(fib);
	assert_int_equal(naive_open(&twin), 0);
	assert_int_equal(fib_build(fib, t->route, ROUTES, &error), 0);
	set_all(&twin, t->route, ROUTES);
	fib_image_write(fib, device);
	before = fib_routes(fib);
	inject_arm();
	int result = fib_change(fib, t->route + ROUTES, CHANGES, &patch, &error);
	inject_disarm();
	if (result) {
		const struct error said = error;

		assert_int_equal(fib_routes(fib), before);
		answers_as(t, fib_image(fib, NULL), &twin);
		assert_int_equal(fib_change(fib, t->route + ROUTES, CHANGES, &patch, &error), 0);
		error = said;
	}
	fib_patch_apply(patch, device);
	set_all(&twin, t->route + ROUTES, CHANGES);
	answers_as(t, device, &twin);
	answers_as(t, fib_image(fib, NULL), &twin);
	naive_close(&twin);
	fib_free(fib);
	free(device);
	return result;
}

static void test_tables(void **state)
{
	static const unsigned kinds[] = {P2PNIC_FIB_STATE_JUMP, P2PNIC_FIB_LINE_TRIE};

	for (unsigned k = 0; k < 4; k++) {
		static struct table t;

		t.family = k / 2 ? 6 : 4;
		t.kind = kinds[k % 2];
		draw(&t);
		assert_true(inject_each(builds, &t, &error) >= 4);
		assert_true(inject_each(changes, &t, &error) >= 4);
	}
}

/* Nodes enough that there must be room for more. */
static int sets(void *context)
{
	struct naive twin = {0};
	uint64_t seed = 1;

	(void)context;
	inject_arm();
	int result = naive_open(&twin);
	for (unsigned k = 0; k < 200 && !result; k++) {
		struct fib_route route = {{0, 0}, 128, 6, 1};

		route.prefix.high = check_random(&seed);
		result = naive_set(&twin, &route);
	}
	inject_disarm();
	naive_close(&twin);
	return result;
}

static void test_twin(void **state)
{
	assert_true(inject_each(sets, NULL, NULL) >= 2);
}

/* A check that finds nothing proves nothing unless it finds what is wrong: the first such address,
 * and how many. */
static void test_check_finds(void **state)
{
	static struct table t;

	for (t.family = 4; t.family <= 6; t.family += 2) {
		struct fib_route route = {{0x0a01020000000000ull, 0}, 32, (uint8_t)t.family, 7};
		struct check check = {0};
		struct naive twin;

		t.kind = P2PNIC_FIB_LINE_TRIE;
		struct fib *fib = opened(&t);

		assert_int_equal(naive_open(&twin), 0);
		assert_int_equal(fib_build(fib, &route, 1, &error), 0);
		assert_int_equal(fib_lookup(fib, route.prefix), 7);
		check_boundaries(fib_image(fib, NULL), t.family, &twin, &route, 1, &check);
		assert_true(check.mismatches >= 2 && check.mismatches < check.lookups);
		assert_int_equal(check.address.high, route.prefix.high);
		assert_int_equal(check.got, 7);
		assert_int_equal(check.wanted, 0);
		assert_string_equal(check.version, "bulk");
		naive_close(&twin);
		fib_free(fib);
	}
}

static void test_rooms(void **state)
{
	static const struct {
		unsigned kind;
		uint64_t room;
		const char *said;
	} none[] = {
		{P2PNIC_FIB_LINE_TRIE, (1ull << 32) + 64, "beyond 4 GiB"},
		{P2PNIC_FIB_STATE_JUMP, 64, "too small"},
		{P2PNIC_FIB_LINE_TRIE, 64, "room"},
	};

	for (unsigned k = 0; k < sizeof(none) / sizeof(*none); k++) {
		error.text[0] = 0;
		assert_null(fib_new(&(struct fib_config){4, none[k].kind, none[k].room}, &error));
		assert_non_null(strstr(error.text, none[k].said));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_check_finds),
		cmocka_unit_test(test_rooms),
		cmocka_unit_test(test_twin),
		cmocka_unit_test(test_tables),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
