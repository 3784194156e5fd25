/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The RIB against a stupid twin: a list of all routes of all sources, searched from end to end.
 * Few prefixes, sources, preferences and metrics, so that nearly every change meets another route.
 */
#include "router/rib.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define STEPS    100000u
#define LOOK     5000u /* steps between two looks at all routes */
#define PREFIXES 700u

struct twin {
	struct rib_route route[PREFIXES * RIB_SOURCES];
	size_t n;
};

static uint64_t state;

static unsigned below(unsigned n)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (unsigned)((state >> 11) % n);
}

/* Number k, of both families; some differ in their length alone. */
static struct prefix prefix_number(unsigned k)
{
	const unsigned bits = k / 4 % (PREFIXES / 4);
	struct prefix p = {{{(uint64_t)bits << 40, 0}, 4}, 24};

	if (k & 1)
		p = (struct prefix){{{0x20010db800000000u | bits, 0}, 6}, 64};
	p.length = (uint8_t)(p.length + (k & 2 ? 4 : 0));
	return p;
}

static bool is(const struct rib_route *route, const struct prefix *p)
{
	return route->family == p->address.family && route->length == p->length &&
	       route->prefix.high == p->address.bits.high &&
	       route->prefix.low == p->address.bits.low;
}

static size_t twin_find(const struct twin *t, unsigned source, const struct prefix *p)
{
	size_t k = 0;

	while (k < t->n && !(t->route[k].source == source && is(&t->route[k], p)))
		k++;
	return k;
}

static const struct rib_route *twin_best(const struct twin *t, const struct prefix *p)
{
	const struct rib_route *best = NULL;

	for (size_t k = 0; k < t->n; k++) {
		const struct rib_route *r = &t->route[k];

		if (!is(r, p))
			continue;
		if (!best || r->preference < best->preference ||
			(r->preference == best->preference &&
				(r->metric < best->metric ||
					(r->metric == best->metric && r->source < best->source))))
			best = r;
	}
	return best;
}

static void assert_same(const struct rib_route *got, const struct rib_route *want, unsigned step)
{
	if (!got != !want)
		fail_msg("step %u: %s", step, got ? "a route too many" : "a route is missing");
	if (got && memcmp(got, want, sizeof(*got)) != 0)
		fail_msg("step %u: source %u preference %u metric %u, not %u %u %u", step,
			got->source, got->preference, got->metric, want->source, want->preference,
			want->metric);
}

/* Each prefix once, and none else. */
static void assert_all(const struct rib *rib, const struct twin *t, unsigned step)
{
	const struct rib_route *route;
	size_t seen = 0, prefixes = 0;

	for (size_t at = 0; (route = rib_next(rib, &at)); seen++) {
		const struct prefix p = {{route->prefix, route->family}, route->length};

		assert_same(route, twin_best(t, &p), step);
	}
	for (size_t k = 0; k < t->n; k++) {
		const struct prefix p = {
			{t->route[k].prefix, t->route[k].family}, t->route[k].length};

		prefixes += twin_best(t, &p) == &t->route[k];
	}
	assert_int_equal(seen, prefixes);
	assert_int_equal(rib_routes(rib), t->n);
}

static void test_twin(void **unused)
{
	static struct twin twin;
	struct rib *rib = rib_new();
	unsigned replaced = 0, withdrawn = 0;

	assert_non_null(rib);
	state = (uint64_t)time(NULL) | 1;
	print_message("seed %llu\n", (unsigned long long)state);
	for (unsigned step = 0; step < STEPS; step++) {
		const struct prefix p = prefix_number(below(PREFIXES));
		const unsigned source = below(RIB_SOURCES);
		size_t at = twin_find(&twin, source, &p);
		bool there = at < twin.n;

		/* Mostly withdrawn in every other stretch, so that it empties and fills. */
		if (below(4) < (step / 20000 % 2 ? 3u : 1u)) {
			assert_int_equal(rib_withdraw(rib, source, &p), there);
			if (there)
				twin.route[at] = twin.route[--twin.n];
			withdrawn += there;
		} else {
			struct rib_route route;

			memset(&route, 0, sizeof(route)); /* padding too: compared whole */
			route.prefix = p.address.bits;
			route.family = p.address.family;
			route.length = p.length;
			route.source = (uint8_t)source;
			route.preference = (uint8_t)below(3);
			route.metric = below(3);
			route.gateway.high = step;
			assert_int_equal(rib_set(rib, &route), 0);
			twin.route[at] = route;
			twin.n += !there;
			replaced += there;
		}
		assert_same(rib_best(rib, &p), twin_best(&twin, &p), step);
		if (step % LOOK == 0)
			assert_all(rib, &twin, step);
	}
	assert_all(rib, &twin, STEPS);
	assert_true(replaced > STEPS / 10 && withdrawn > STEPS / 10);
	rib_free(rib);
}

/* What a packet takes: the order of the configuration's own sources. */
static void test_preferences(void **unused)
{
	static const uint8_t preference[RIB_SOURCES] = {[RIB_LOCAL] = RIB_PREFERENCE_LOCAL,
		[RIB_NEIGHBOR] = RIB_PREFERENCE_NEIGHBOR,
		[RIB_STATIC] = RIB_PREFERENCE_STATIC,
		[RIB_CONNECTED] = RIB_PREFERENCE_CONNECTED,
		[RIB_FILE] = RIB_PREFERENCE_FILE};
	const struct prefix p = prefix_number(1);
	struct rib *rib = rib_new();

	assert_non_null(rib);
	assert_null(rib_best(rib, &p));
	assert_false(rib_withdraw(rib, RIB_FILE, &p));
	for (unsigned source = RIB_SOURCES; source--;) {
		const struct rib_route route = {.prefix = p.address.bits,
			.family = p.address.family,
			.length = p.length,
			.source = (uint8_t)source,
			.preference = preference[source],
			.metric = 10 - source};

		assert_int_equal(rib_set(rib, &route), 0);
		assert_int_equal(rib_best(rib, &p)->source, source);
	}
	for (unsigned source = 0; source < RIB_SOURCES; source++) {
		assert_int_equal(rib_best(rib, &p)->source, source);
		assert_true(rib_withdraw(rib, source, &p));
	}
	assert_null(rib_best(rib, &p));
	rib_free(rib);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_twin),
		cmocka_unit_test(test_preferences),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
