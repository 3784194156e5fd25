/* SPDX-License-Identifier: BSD-3-Clause */
/* Virtual time: order of events, the generator, servers against what queueing theory says. */
#include "model/result.h"
#include "model/sim.h"

// clang-format off
#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
// clang-format on
#include <string.h>

static uint64_t seen[64];
static unsigned count;

static void note(struct sim *s, void *object, uint64_t argument)
{
	seen[count++] = argument;
}

static void note_time(struct sim *s, void *object, uint64_t argument)
{
	seen[count++] = s->now;
}

static void begin(struct sim *s)
{
	sim_init(s, 1);
	count = 0;
}

/* By time; those of one moment in the order in which they were asked for. */
static void test_order(void **state)
{
	static const uint64_t at[] = {50, 10, 10, 40, 10, 0, 50};
	static const uint64_t want[] = {5, 1, 2, 4, 3, 0, 6};
	struct sim s;

	begin(&s);
	for (unsigned k = 0; k < 7; k++)
		sim_after(&s, at[k], note, NULL, k);
	sim_run(&s, 40);
	assert_int_equal(count, 5);
	assert_int_equal(s.now, 40);
	sim_run(&s, 1000);
	assert_int_equal(s.now, 1000);
	assert_memory_equal(seen, want, sizeof(want));
	assert_false(sim_step(&s));
	sim_free(&s);
}

static void check_later(struct sim *s, void *object, uint64_t argument)
{
	uint64_t *last = object;

	assert_int_equal(s->now, argument);
	assert_true(*last <= s->now);
	*last = s->now;
}

/* Many, at random times: each at its own. */
static void test_heap(void **state)
{
	uint64_t last = 0;
	struct sim s;

	begin(&s);
	for (unsigned k = 0; k < 20000; k++) {
		const uint64_t at = sim_random(&s, 5000);

		sim_after(&s, at, check_later, &last, s.now + at);
		if (k % 3 == 0)
			sim_step(&s);
	}
	while (sim_step(&s))
		;
	assert_int_equal(s.happened, 20000);
	sim_free(&s);
}

/* First numbers of SplitMix64 for seed 1234567, from the authors' program, as shares of 2^32. */
static void test_random(void **state)
{
	static const uint64_t want[] = {
		6457827717110365317, 3203168211198807973, 9817491932198370423u};
	struct sim s;

	sim_init(&s, 1234567);
	for (unsigned k = 0; k < 3; k++)
		assert_int_equal(sim_random(&s, 1ull << 32), want[k] >> 32);
	for (unsigned k = 0; k < 1000; k++)
		assert_true(sim_random(&s, 7) < 7);
	sim_free(&s);
}

/* Two units, five jobs of 10 at once, an answer 3 later; the queue holds three. */
static void test_server(void **state)
{
	static const uint64_t want[] = {13, 13, 23, 23, 33};
	struct server v;
	struct sim s;

	begin(&s);
	server_init(&s, &v, "two", 2, 3, 3);
	for (unsigned k = 0; k < 5; k++)
		assert_true(server_ask(&s, &v, 10, note_time, NULL, 0));
	assert_false(server_ask(&s, &v, 10, note_time, NULL, 0));
	assert_int_equal(v.waiting, 3);
	sim_run(&s, 40);
	assert_memory_equal(seen, want, sizeof(want));
	assert_int_equal(count, 5);
	assert_int_equal(v.jobs, 5);
	assert_int_equal(server_utilisation(&s, &v), 50 * 1000000 / 80);
	assert_ptr_equal(sim_bottleneck(&s), &v);
	sim_free(&s);
}

/* What a job did before the measurement does not count. */
static void test_measure(void **state)
{
	struct server busy, idle;
	struct sim s;

	begin(&s);
	server_init(&s, &idle, "idle", 1, 0, 0);
	server_init(&s, &busy, "busy", 1, 0, 0);
	server_ask(&s, &busy, 100, NULL, NULL, 0);
	server_ask(&s, &idle, 10, NULL, NULL, 0);
	sim_run(&s, 50);
	sim_measure(&s);
	sim_run(&s, 150);
	assert_int_equal(server_utilisation(&s, &busy), 500000);
	assert_int_equal(server_utilisation(&s, &idle), 0);
	assert_ptr_equal(sim_bottleneck(&s), &busy);
	server_ask(&s, &busy, 100, NULL, NULL, 0); /* sim_free has jobs to free */
	server_ask(&s, &busy, 100, NULL, NULL, 0);
	sim_free(&s);
}

struct arrivals {
	struct server v;
	uint64_t left, in_system, began[1024];
};

static void served(struct sim *s, void *object, uint64_t argument)
{
	struct arrivals *a = object;

	a->in_system += s->now - a->began[argument % 1024];
}

/* One in each slot of 100 with probability 3/4, as many slots of 100 at a time. */
static void arrive(struct sim *s, void *object, uint64_t argument)
{
	struct arrivals *a = object;

	if (!a->left)
		return;
	if (sim_random(s, 4) != 0) {
		a->began[--a->left % 1024] = s->now;
		server_ask(s, &a->v, 50 + 100 * sim_random(s, 2), served, a, a->left);
	}
	sim_after(s, 100, arrive, a, 0);
}

/* Service takes 50 or 150 ps, each as likely. The work that an arrival finds follows Lindley's
 * recursion W' = max(W + A - 2, 0) in half slots, A = 0, 1, 3 with probability 1/4, 3/8, 3/8. Its
 * mean is 1, so that the time in the system is 50 ps of wait and 100 ps of service. */
static void test_load(void **state)
{
	struct arrivals a = {.left = 200000};
	struct sim s;

	begin(&s);
	server_init(&s, &a.v, "v", 1, 0, 0);
	arrive(&s, &a, 0);
	while (sim_step(&s))
		;
	assert_int_equal(a.v.jobs, 200000);
	assert_in_range(server_utilisation(&s, &a.v), 740000, 760000);
	assert_in_range(a.in_system / 200000, 147, 153);
	sim_free(&s);
}

static void test_transfer(void **state)
{
	assert_int_equal(sim_transfer(64, 40000000000), 12800);
	assert_int_equal(sim_transfer(1, 3), 2666666666667);
	assert_int_equal(sim_transfer(SIM_TRANSFER_MAX, 1000000000000), 16777216);
}

static void test_result(void **state)
{
	static struct result r = {.in = 10,
		.sent = 6,
		.drop = {1, 2},
		.held = 1,
		.measured_sent = 5,
		.measured_bytes = 500,
		.latency = {50, 10, 40, 20, 30},
		.samples = 5};
	struct server a, b, c;
	struct sim s;
	json_t *json;

	begin(&s);
	server_init(&s, &c, "c", 1, 0, 0);
	server_init(&s, &a, "a", 1, 0, 0);
	server_init(&s, &b, "b", 1, 0, 0);
	server_ask(&s, &b, 500000, NULL, NULL, 0);
	sim_run(&s, PS_PER_US);
	result_finish(&r, &s);
	assert_true(result_conserved(&r));
	assert_string_equal(r.server[0].name, "b");
	assert_string_equal(r.server[1].name, "a");
	assert_int_equal(r.server[0].utilisation, 500000);
	assert_int_equal(result_packets(&r), 5000000);
	assert_int_equal(result_bits(&r), 4000000000);
	assert_int_equal(result_percentile(&r, 500000), 30);
	assert_int_equal(result_percentile(&r, 900000), 50);
	assert_int_equal(result_percentile(&r, 200000), 10);
	json = result_json(&r);
	assert_string_equal(json_string_value(json_object_get(json, "bottleneck")), "b");
	assert_int_equal(json_integer_value(json_object_get(json, "in")), 10);
	json_decref(json);
	r.held = 0;
	assert_false(result_conserved(&r));
	sim_free(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_heap),
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_server),
		cmocka_unit_test(test_measure),
		cmocka_unit_test(test_load),
		cmocka_unit_test(test_transfer),
		cmocka_unit_test(test_result),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
