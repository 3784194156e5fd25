/* SPDX-License-Identifier: BSD-3-Clause */
/* The calibrated model meets the seven figures to which it was fitted, and a fit finds its way. */
#include "model/calibrate.h"
#include "tests/unit/model_rig.h"

#include <stdlib.h>

static void the_model_meets_what_it_was_fitted_to(void **state)
{
	struct parameters p;
	unsigned missed = 0;

	load_published(&p);
	for (unsigned k = 0; k < CALIBRATIONS; k++) {
		const struct calibration *c = &calibration[k];
		uint64_t measured = 0, off;

		if (calibration_measure(k, &p, &measured, &error) < 0)
			fail_msg("%s", error.text);
		off = (measured > c->published ? measured - c->published
					       : c->published - measured) *
		      1000000 / c->published;
		printf("(%u) %s: %llu, published %llu, %llu millionths off\n", c->number, c->what,
			(unsigned long long)measured, (unsigned long long)c->published,
			(unsigned long long)off);
		missed += off > c->within;
	}
	parameters_free(&p);
	assert_int_equal(missed, 0);
}

/* What is fitted says so, and what says so is fitted. */
static void fitted_values_are_marked(void **state)
{
	struct parameters p;
	unsigned calibrated = 0;

	load_published(&p);
	for (unsigned k = 0; k < p.n; k++)
		calibrated += p.parameter[k].tag == PARAMETER_CALIBRATED;
	assert_int_equal(calibrated, CALIBRATIONS);
	for (unsigned k = 0; k < CALIBRATIONS; k++) {
		const struct parameter *one = parameters_find(&p, calibration[k].fits);

		assert_non_null(one);
		assert_int_equal(one->tag, PARAMETER_CALIBRATED);
		assert_true(one->low < one->value && one->value < one->high);
	}
	parameters_free(&p);
}

/* From a start that is wrong: the first point again. */
static void a_fit_finds_its_way(void **state)
{
	struct parameters p;
	uint64_t measured = 0, value;

	load_published(&p);
	value = parameters_get(&p, "program.l3fwd_delay");
	set(&p, "program.l3fwd_delay", "6 us");
	if (calibrate_one(6, &p, &measured, &error) < 0)
		fail_msg("%s", error.text);
	assert_in_range(
		parameters_get(&p, "program.l3fwd_delay"), value * 98 / 100, value * 102 / 100);
	parameters_free(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_model_meets_what_it_was_fitted_to),
		cmocka_unit_test(fitted_values_are_marked),
		cmocka_unit_test(a_fit_finds_its_way),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
