/* SPDX-License-Identifier: BSD-3-Clause */
/* The tester's logic against stupid twins: histogram, sequence tracking, searches, windows. */
#include "tester/histogram.h"
#include "tester/report.h"
#include "tester/search.h"
#include "tester/sequence.h"
#include "tester/window.h"

#include <math.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static uint64_t random_state = 0x243f6a8885a308d3;

static uint64_t random64(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

/* --- Histogram -------------------------------------------------------------------------------- */

static void test_histogram_buckets(void **state)
{
	/* Every bucket begins where the one before ends, and holds its own bounds. */
	for (unsigned i = 1; i < HISTOGRAM_BUCKETS; i++) {
		uint64_t lower = histogram_upper(i - 1) + 1, upper = histogram_upper(i);
		assert_true(lower <= upper);
		assert_int_equal(histogram_index(lower), i);
		assert_int_equal(histogram_index(upper), i);
		assert_true((double)(upper - lower) <= (double)lower / (1 << HISTOGRAM_BITS));
	}
	assert_int_equal(histogram_upper(HISTOGRAM_BUCKETS - 1), (1ull << HISTOGRAM_OCTAVES) - 1);
	assert_int_equal(histogram_index(UINT64_MAX), HISTOGRAM_BUCKETS - 1);
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void test_histogram_twin(void **state)
{
	static uint64_t values[20000];
	static struct histogram h, half[2];
	const double fractions[] = {0, 0.001, 0.5, 0.9, 0.99, 0.999, 0.9999, 1};

	for (unsigned round = 0; round < 5; round++) {
		unsigned n = 1 + (unsigned)(random64() % 20000);
		uint64_t sum = 0;
		memset(&h, 0, sizeof(h));
		memset(half, 0, sizeof(half));
		for (unsigned i = 0; i < n; i++) {
			values[i] = random64() >> (24 + random64() % 40);
			histogram_record(&half[i % 2], values[i]);
			sum += values[i];
		}
		histogram_add(&h, &half[0]);
		histogram_add(&h, &half[1]);
		qsort(values, n, sizeof(*values), compare);
		assert_int_equal(h.count, n);
		assert_int_equal(h.min, values[0]);
		assert_int_equal(h.max, values[n - 1]);
		assert_true(
			fabs(histogram_mean(&h) - (double)sum / n) < 1e-6 * (double)sum / n + 1);
		for (unsigned i = 0; i < sizeof(fractions) / sizeof(*fractions); i++) {
			unsigned rank = (unsigned)ceil(fractions[i] * n);
			uint64_t exact = values[rank ? rank - 1 : 0];
			uint64_t got = histogram_percentile(&h, fractions[i]);
			assert_true(got >= exact);
			assert_true((double)(got - exact) <= (double)exact / (1 << HISTOGRAM_BITS));
		}
	}
	memset(&h, 0, sizeof(h));
	assert_int_equal(histogram_percentile(&h, 0.5), 0);
}

/* --- Sequence numbers ------------------------------------------------------------------------- */

#define PACKETS 100000u

static void check_twin(const uint64_t *arrivals, unsigned n)
{
	static uint8_t seen[PACKETS];
	static struct sequence s;
	uint64_t next = 0, reordered = 0, duplicate = 0, distinct = 0;

	memset(seen, 0, sizeof(seen));
	memset(&s, 0, sizeof(s));
	for (unsigned i = 0; i < n; i++) {
		uint64_t number = arrivals[i];
		sequence_note(&s, number);
		duplicate += seen[number];
		reordered += !seen[number] && number < next;
		distinct += !seen[number];
		seen[number] = 1;
		if (number >= next)
			next = number + 1;
	}
	assert_int_equal(s.next, next);
	assert_int_equal(s.received, distinct);
	assert_int_equal(s.lost, next - distinct);
	assert_int_equal(s.reordered, reordered);
	assert_int_equal(s.duplicate, duplicate);
	assert_int_equal(s.ancient, 0);
}

static void test_sequence_twin(void **state)
{
	static uint64_t arrivals[2 * PACKETS];

	for (unsigned round = 0; round < 20; round++) {
		unsigned n = 0;
		unsigned loss = (unsigned)(random64() % 20), swap = (unsigned)(random64() % 20),
			 twice = (unsigned)(random64() % 10);
		for (uint64_t i = 0; i < PACKETS; i++) {
			if (round && random64() % 100 < loss)
				continue;
			arrivals[n++] = i;
			if (round && random64() % 100 < twice)
				arrivals[n++] = i;
		}
		/* Within blocks, so that nothing comes later than the window. */
		unsigned block = round < 10 ? 4 : 4096;
		for (unsigned i = 0; round && i < n; i++) {
			unsigned base = i - i % block, room = n - base < block ? n - base : block;
			unsigned j = base + (unsigned)(random64() % room);
			if (random64() % 100 < swap) {
				uint64_t t = arrivals[i];
				arrivals[i] = arrivals[j];
				arrivals[j] = t;
			}
		}
		check_twin(arrivals, n);
	}
}

static void test_sequence_edges(void **state)
{
	static struct sequence s;

	sequence_note(&s, 1000000); /* a gap far beyond the window */
	assert_int_equal(s.lost, 1000000);
	sequence_note(&s, 1000000 - SEQUENCE_WINDOW);
	assert_int_equal(s.ancient, 1);
	sequence_note(&s, 1000001 - SEQUENCE_WINDOW);
	assert_int_equal(s.reordered, 1);
	sequence_note(&s, 1000001 - SEQUENCE_WINDOW);
	assert_int_equal(s.duplicate, 1);
	assert_int_equal(s.lost, 999999);
}

/* --- Searches --------------------------------------------------------------------------------- */

struct device {
	double limit;
	unsigned trials;
	unsigned flaky; /* this many trials just below the limit lose all the same */
	int error;
	unsigned error_at; /* trial; 0: the third */
};

static int offer(void *context, double load, uint64_t *lost)
{
	struct device *d = context;

	d->trials++;
	if (d->error && d->trials == (d->error_at ? d->error_at : 3))
		return d->error;
	*lost = load > d->limit ? (uint64_t)(load - d->limit) + 1 : 0;
	if (!*lost && d->flaky && d->trials > 5) {
		d->flaky--;
		*lost = 1;
	}
	return 0;
}

static void test_search(void **state)
{
	double found;
	uint64_t burst;

	for (double limit = 50; limit < 10e6; limit *= 1.37) {
		struct device d = {.limit = limit};
		assert_int_equal(search_throughput(offer, &d, 1, 10e6, 1e-3, &found), 0);
		assert_true(found <= limit || (limit < 1e4 && found == 0));
		if (limit > 1e4)
			assert_true(limit - found <= 1e4);
		assert_true(d.trials <= 16);

		d = (struct device){.limit = limit};
		assert_int_equal(search_burst(offer, &d, 1u << 20, &burst), 0);
		assert_int_equal(burst, limit > 1 << 20 ? 1 << 20 : (uint64_t)limit);
	}
	struct device fast = {.limit = 1e9};
	assert_int_equal(search_throughput(offer, &fast, 1, 10e6, 1e-3, &found), 0);
	assert_true(found == 10e6);
	struct device flaky = {.limit = 5e6, .flaky = 3};
	assert_int_equal(search_throughput(offer, &flaky, 1, 10e6, 1e-3, &found), 0);
	assert_true(found > 0 && found <= 5e6);
	struct device dead = {.limit = -1};
	assert_int_equal(search_throughput(offer, &dead, 1, 10e6, 1e-3, &found), 0);
	assert_true(found == 0);
	assert_int_equal(search_throughput(offer, &dead, 0, 10e6, 1e-3, &found), 0);
	assert_true(found == 0);
	assert_int_equal(search_burst(offer, &dead, 100, &burst), 0);
	assert_int_equal(burst, 0);
	struct device broken = {.limit = 5e6, .error = -5};
	assert_int_equal(search_throughput(offer, &broken, 1, 10e6, 1e-3, &found), -5);
	/* Whichever trial cannot be made ends the search; the last is the one of what was found. */
	for (unsigned at = 1; at <= 12; at++) {
		broken = (struct device){.limit = 5e6, .error = -7, .error_at = at};
		assert_int_equal(search_throughput(offer, &broken, 1, 10e6, 1e-3, &found), -7);
		assert_int_equal(broken.trials, at);
		assert_true(found == 0);
	}
	broken = (struct device){.limit = 50, .error = -7, .error_at = 2};
	assert_int_equal(search_burst(offer, &broken, 100, &burst), -7);
	assert_int_equal(burst, 0);

	double load[SEARCH_CURVE_MAX];
	uint64_t lost[SEARCH_CURVE_MAX];
	struct device d = {.limit = 75};
	assert_int_equal(search_curve(offer, &d, 100, load, lost), 5);
	assert_true(load[2] == 80 && lost[2] > 0 && load[4] == 60 && lost[4] == 0);
	assert_int_equal(search_curve(offer, &dead, 100, load, lost), SEARCH_CURVE_MAX);
	broken = (struct device){.limit = 50, .error = -7};
	assert_int_equal(search_curve(offer, &broken, 100, load, lost), -7);
}

/* --- Windows ---------------------------------------------------------------------------------- */

static enum window_kind kind_of(const struct tester_load *load, double trip_before,
	double step_before, double trip_after, double step_after)
{
	return window_kind_of(load, (struct cores_state){trip_before, step_before},
		(struct cores_state){trip_after, step_after});
}

static void test_window_kinds(void **state)
{
	const enum window_kind n = WINDOW_NEAR, f = WINDOW_FAR, s = WINDOW_SPOILT;
	/* By before and after: on one core, near, far, unknown. */
	const double ns[] = {45, 115, 520, -1};
	const enum window_kind kind[4][4] = {
		{s, s, s, s}, {s, n, s, s}, {s, s, f, s}, {s, s, s, s}};
	struct tester_load load = {.near_low = 80, .near_high = 160};

	for (unsigned k = 0; k < 16; k++) {
		struct cores_state before = {ns[k / 4], 0.5}, after = {ns[k % 4], 0.5};

		load.cores = NULL;
		assert_int_equal(window_kind_of(&load, before, after), n);
		load.cores = (struct cores *)1;
		assert_int_equal(window_kind_of(&load, before, after), kind[k / 4][k % 4]);
	}
	assert_int_equal(kind_of(&load, 80, 99, 160, 99), n);
	/* Alone on their cores before and after, or not; where far or unknown, that is no
	 * matter. */
	load.step_high = 0.6;
	assert_int_equal(kind_of(&load, 115, 0.6, 115, 0.6), n);
	assert_int_equal(kind_of(&load, 115, 0.61, 115, 0.5), WINDOW_BUSY);
	assert_int_equal(kind_of(&load, 115, 0.5, 115, 0.61), WINDOW_BUSY);
	assert_int_equal(kind_of(&load, 115, 0.5, 115, -1), WINDOW_BUSY);
	assert_int_equal(kind_of(&load, 520, 0.5, 520, 0.9), f);
	assert_int_equal(kind_of(&load, 115, 0.5, 520, 0.5), s);
}

static void test_window_medians(void **state)
{
	static struct windows w;
	static struct tester_result r;
	static struct histogram few, many;

	for (unsigned k = 0; k < WINDOW_PROBES_MIN; k++) {
		histogram_record(&many, 1 + k % 100);
		if (k)
			histogram_record(&few, 7777);
	}
	windows_report(&w, &r);
	assert_int_equal(r.near.count + r.far.count + r.spoilt, 0);
	assert_true(r.near.mpps == 0 && r.near.best_mpps == 0);
	windows_add(&w, WINDOW_NEAR, 3, &few);
	windows_add(&w, WINDOW_NEAR, 9, &many);
	windows_add(&w, WINDOW_SPOILT, 100, &many);
	windows_add(&w, WINDOW_NEAR, 5, &many);
	windows_add(&w, WINDOW_NEAR, 4, &few);
	windows_add(&w, WINDOW_FAR, 2, &few);
	windows_add(&w, WINDOW_BUSY, 1, &many);
	windows_report(&w, &r);
	assert_int_equal(r.near.count, 4);
	assert_true(r.near.mpps == 4.5 && r.near.best_mpps == 9);
	assert_int_equal(r.near.probed, 2);
	assert_int_equal(r.near.p50_ns, 50);
	assert_int_equal(r.near.p99_ns, 99);
	assert_true(r.busy.count == 1 && r.busy.mpps == 1 && r.busy.p50_ns == 50);
	assert_int_equal(r.far.count, 1);
	assert_int_equal(r.far.probed, 0);
	assert_int_equal(r.spoilt, 1);
	for (unsigned k = 0; k < 2 * TESTER_WINDOWS_MAX; k++)
		windows_add(&w, WINDOW_FAR, k, &few);
	windows_report(&w, &r);
	assert_int_equal(r.far.count, TESTER_WINDOWS_MAX);
}

/* The one processor that is always there, and one that never is. Nobody is as quick as a
 * nanosecond. */
static void test_distance(void **state)
{
	struct cores *cores;

	assert_true(cores_open(&cores, CPU_SETSIZE - 1) < 0);
	assert_int_equal(cores_open(&cores, sched_getcpu()), 0);
	for (unsigned k = 0; k < 5; k++) {
		struct cores_state s = cores_look(cores);
		assert_true(s.round_trip == -1 || s.round_trip > 1);
		assert_true(s.step == -1 || s.step > 0);
	}
	cores_close(cores);
}

/* --- Report ----------------------------------------------------------------------------------- */

static void text_of(const struct tester_result *r, char *text, size_t bytes)
{
	FILE *out = fmemopen(text, bytes, "w");

	assert_non_null(out);
	report_text(out, r);
	assert_int_equal(fclose(out), 0);
}

/* What is not there is not mentioned; what is, is, and JSON has the same numbers. */
static void test_report(void **state)
{
	static struct tester_result r;
	char text[2048];

	r = (struct tester_result){.seconds = 1, .sent = 10, .received = 10};
	text_of(&r, text, sizeof(text));
	assert_null(strstr(text, "not taken"));
	assert_null(strstr(text, "wrong"));
	assert_null(strstr(text, "windows"));
	assert_null(strstr(text, "fell behind"));
	assert_null(strstr(text, "latency"));
	assert_null(report_latency_json(&r.latency));

	r.refused = 3;
	r.lost = 7;
	r.error[CHECK_TTL] = 2;
	r.late_ms = 4.5;
	r.near = (struct tester_windows){.count = 2,
		.mpps = 1.5,
		.best_mpps = 2.5,
		.probed = 1,
		.p50_ns = 100,
		.p99_ns = 200};
	histogram_record(&r.latency, 1000);
	histogram_record(&r.latency, 3000);
	text_of(&r, text, sizeof(text));
	assert_non_null(strstr(text, "lost 7"));
	assert_non_null(strstr(text, "not taken by the link 3"));
	assert_non_null(strstr(text, "wrong "));
	assert_non_null(strstr(text, "windows of 10 ms: median 1.500 Mpps, best 2.500"));
	assert_non_null(strstr(text, "fell behind by 4.5 ms"));
	assert_non_null(strstr(text, "latency ns: min 1000"));
	assert_non_null(strstr(text, "max 3000  (2 probes)"));

	r.spoilt = 1;
	text_of(&r, text, sizeof(text));
	assert_non_null(strstr(text, "2 near, median 1.500 Mpps, best 2.500; 0 busy"));
	assert_non_null(strstr(text, "1 spoilt"));
	/* Windows of one kind alone, which is not the near one. */
	r.near.count = 0;
	for (unsigned k = 0; k < 2; k++) {
		r.busy.count = k ? 0 : 3;
		r.far.count = k ? 4 : 0;
		text_of(&r, text, sizeof(text));
		assert_non_null(strstr(text, k ? "4 far, " : "; 3 busy, "));
	}
	r.near.count = 2;
	r.busy.count = r.far.count = 1;
	text_of(&r, text, sizeof(text));
	assert_non_null(strstr(text, "2 near, median 1.500 Mpps, best 2.500; 1 busy"));
	r.busy.count = 0;
	text_of(&r, text, sizeof(text));
	assert_non_null(strstr(text, "0 busy, 0.000; 1 far"));
	r.far.count = 0;

	json_t *json = report_json(&r);
	const json_t *near = json_object_get(json, "near"),
		     *latency = json_object_get(json, "latency");
	assert_int_equal(json_integer_value(json_object_get(json, "refused")), 3);
	assert_int_equal(json_integer_value(json_object_get(near, "p99_ns")), 200);
	assert_int_equal(json_integer_value(json_object_get(latency, "max_ns")), 3000);
	assert_int_equal(json_array_size(json_object_get(latency, "cdf")), 2);
	json_decref(json);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_histogram_buckets),
		cmocka_unit_test(test_histogram_twin),
		cmocka_unit_test(test_sequence_twin),
		cmocka_unit_test(test_sequence_edges),
		cmocka_unit_test(test_search),
		cmocka_unit_test(test_window_kinds),
		cmocka_unit_test(test_window_medians),
		cmocka_unit_test(test_report),
		cmocka_unit_test(test_distance),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
