/* SPDX-License-Identifier: BSD-3-Clause */
/* PCIe: links against the arithmetic of pcie-model, the NIC's DMA engine against what pcie-bench
 * measured (model/validate.h). */
#include "model/dma.h"
#include "model/validate.h"

// clang-format off
#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
// clang-format on
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct error error;

static void load(struct parameters *p, const char *part)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/%s.yaml", MODEL_PARAMETERS, part);
	if (parameters_load(p, path, NULL, &error) < 0)
		fail_msg("%s", error.text);
}

static unsigned lines, wrong;

static void say(void *object, const struct validation *v)
{
	lines++;
	if (validation_holds(v))
		return;
	wrong++;
	printf("%s: model %llu ps, %s %llu, %lld millionths off\n", v->what,
		(unsigned long long)v->model, v->source, (unsigned long long)v->given,
		(long long)validation_off(v));
}

/* Links of every generation do what the arithmetic says. */
static void test_links(void **state)
{
	static const char *const generations[] = {"gen3", "gen4", "gen5", "gen6"};

	lines = wrong = 0;
	for (unsigned k = 0; k < 4; k++) {
		struct parameters p = {0};

		load(&p, generations[k]);
		assert_int_equal(validate_links(&p, say, NULL, &error), 0);
		parameters_free(&p);
	}
	assert_int_equal(lines, 4 * 3 * 9 * 3);
	assert_int_equal(wrong, 0);
}

/* And the arithmetic is pcie-model's: kb/s of payload that write, read and read_write of its
 * mem_bw.py print for MPS 256, MRRS 512. */
struct known {
	const char *generation;
	unsigned lanes;
	struct {
		uint32_t bytes;
		uint64_t kb_per_s[3];
	} size[3];
};

static void compare(void *object, const struct validation *v)
{
	static const char *const kinds[] = {"writes", "reads", "writes and reads"};
	const struct known *known = object;
	char what[64];

	for (unsigned k = 0; k < 9; k++) {
		const uint64_t bytes = known->size[k / 3].bytes;
		const uint64_t want = bytes * 8000000000 / known->size[k / 3].kb_per_s[k % 3];

		snprintf(what, sizeof(what), "x%u, %s of %u B", known->lanes, kinds[k % 3],
			(unsigned)bytes);
		if (strcmp(v->what, what) != 0)
			continue;
		lines++;
		assert_in_range(v->given, want - 1, want + 1);
	}
}

static void test_arithmetic(void **state)
{
	static struct known cases[] = {
		{"gen3", 8,
			{{64, {42098011, 44102679, 33077009}},
				{576, {51453125, 52423939, 47904634}},
				{1514, {52857379, 53633742, 50657535}}}},
		{"gen3", 16,
			{{64, {82690953, 86628618, 64971463}},
				{576, {101066720, 102973640, 94096602}},
				{1514, {103825025, 105349995, 99503984}}}},
		{"gen4", 16,
			{{64, {165381906, 173257235, 129942926}},
				{576, {202133441, 205947279, 188193204}},
				{1514, {207650050, 210699990, 199007967}}}},
		{"gen5", 4,
			{{64, {84567367, 88594384, 66445788}},
				{576, {103360115, 105310306, 96231831}},
				{1514, {106181011, 107740585, 101761917}}}},
		{"gen6", 16,
			{{64, {635121432, 665365309, 499023982}},
				{576, {776259528, 790905934, 722724388}},
				{1514, {797445139, 809157919, 764256671}}}},
	};

	lines = 0;
	for (unsigned k = 0; k < sizeof(cases) / sizeof(cases[0]); k++) {
		struct parameters p = {0};

		load(&p, cases[k].generation);
		assert_int_equal(validate_links(&p, compare, &cases[k], &error), 0);
		parameters_free(&p);
	}
	assert_int_equal(lines, 5 * 9);
}

static void load_host(struct parameters *p)
{
	load(p, "gen3");
	load(p, "agilio-cx");
	load(p, "xeon6246r");
}

static void test_dma(void **state)
{
	struct parameters p = {0};

	lines = wrong = 0;
	load_host(&p);
	assert_int_equal(validate_dma(&p, say, NULL, &error), 0);
	assert_int_equal(lines, 16 + 13 + 11 + 3);
	assert_int_equal(wrong, 0);
	assert_int_equal(parameters_set(&p, "nic.dma_share", "0.8", &error), 0);
	assert_int_equal(validate_dma(&p, say, NULL, &error), 0);
	assert_true(wrong > 0); /* a wrong engine is found out */
	parameters_free(&p);
}

/* What an engine cannot do without. */
static void test_engine(void **state)
{
	static const char *const names[] = {"nic.dma_slots", "nic.dma_tags"};

	for (unsigned k = 0; k < 2; k++) {
		struct parameters p = {0};
		struct sim s;

		load(&p, "agilio-cx");
		sim_init(&s, 1);
		parameters_find(&p, names[k])->value = 0;
		assert_null(dma_new(&s, &p, "nic", NULL, &error));
		assert_non_null(strstr(error.text, names[k]));
		load_host(&p);
		parameters_find(&p, names[k])->value = 0;
		assert_int_equal(validate_dma(&p, say, NULL, &error), -EINVAL);
		parameters_free(&p);
		sim_free(&s);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_links),
		cmocka_unit_test(test_arithmetic),
		cmocka_unit_test(test_dma),
		cmocka_unit_test(test_engine),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
