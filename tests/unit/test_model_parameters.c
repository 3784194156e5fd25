/* SPDX-License-Identifier: BSD-3-Clause */
/* Files of parameters: decimals to the last digit, every refusal with its line, draws, the files
 * of the project. */
#include "model/parameters.h"

// clang-format off
#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
// clang-format on
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define GOOD                                                                                       \
	"part: test\nrole: host\nvalues:\n"                                                        \
	"  - {name: line, value: 21.1, unit: ns, range: [20, 22.5], tag: measured, source: s}\n"   \
	"  - {name: ddio, value: 2, unit: KiB, range: [1, 2], tag: assumed, source: s}\n"          \
	"  - {name: queues, value: 4, unit: count, range: [1, 64], tag: assumed,\n"                \
	"     source: s}\n"

static struct error error;

static int load(struct parameters *p, const char *text)
{
	return parameters_load_text(p, "f.yaml", NULL, text, strlen(text), &error);
}

static void test_values(void **state)
{
	struct parameters p = {0};

	assert_int_equal(load(&p, GOOD), 0);
	assert_int_equal(p.n, 3);
	assert_int_equal(parameters_get(&p, "host.line"), 21100);
	assert_int_equal(parameters_get(&p, "host.ddio"), 2048);
	assert_int_equal(parameters_find(&p, "host.line")->high, 22500);
	assert_string_equal(parameters_find(&p, "host.ddio")->part, "test");
	assert_string_equal(parameter_tag_name(parameters_find(&p, "host.ddio")->tag), "assumed");
	assert_int_equal(parameters_missing(&p, &error), 0);
	assert_int_equal(parameters_get(&p, "host.c"), 0);
	assert_int_equal(parameters_get(&p, "host.d"), 0);
	assert_int_equal(parameters_missing(&p, &error), -EINVAL);
	assert_non_null(strstr(error.text, "host.c"));
	parameters_free(&p);
}

/* A number and unit, and the value in the base unit; or what is wrong. */
static void test_decimals(void **state)
{
	static const struct {
		const char *text;
		uint64_t value;
		const char *wrong;
	} cases[] = {
		{"0", 0, NULL},
		{"7", 7000, NULL},
		{"0.001", 1, NULL},
		{"0.0010000000000000000000000000", 1, NULL},
		{"1.5 us", 1500000, NULL},
		{"1000000000000 ps", 1000000000000, NULL},
		{"1000000000001 ps", 0, "want 0 to 1000000000000 ps"},
		{"1000000000000.001 ns", 0, "want 0 to 1000000000 ns"},
		{"18446744073709551615 ps", 0, "want 0 to 1000000000000 ps"},
		{"18446744073709551616 ps", 0, "too large"},
		{"18446744073709551615 ns", 0, "too large"},
		{"18446744073709551.616", 0, "too large"},
		{"0.0005", 0, "more decimals"},
		{"0.3 ps", 0, "more decimals"},
		{"0.00000000000000000000001", 0, "more decimals"},
		{"1000000000000000000000000000000000000000000000000000000000000000", 0, "too long"},
		{"1.", 0, "not a decimal"},
		{".5", 0, "not a decimal"},
		{"-1", 0, "not a decimal"},
		{"1e3", 0, "not a decimal"},
		{"", 0, "not a decimal"},
		{"1.5x", 0, "not a decimal"},
		{"1.5ns", 0, "not a decimal"},
		{"1 parsec", 0, "NUMBER ns"},
		{"1 KiB", 0, "NUMBER ns"}, /* not a time */
		{"1  ns", 0, "NUMBER ns"},
	};
	struct parameters p = {0};

	assert_int_equal(load(&p, GOOD), 0);
	for (unsigned k = 0; k < sizeof(cases) / sizeof(cases[0]); k++) {
		const int code = parameters_set(&p, "host.line", cases[k].text, &error);

		assert_int_equal(code, cases[k].wrong ? -EINVAL : 0);
		if (cases[k].wrong)
			assert_non_null(strstr(error.text, cases[k].wrong));
		else
			assert_int_equal(parameters_get(&p, "host.line"), cases[k].value);
	}
	assert_int_equal(parameters_set(&p, "host.ddio", "0.0009765625 KiB", &error), 0);
	assert_int_equal(parameters_get(&p, "host.ddio"), 1);
	assert_int_equal(parameters_set(&p, "host.z", "1", &error), -EINVAL);
	assert_non_null(strstr(error.text, "host.z: no such parameter"));
	parameters_free(&p);
}

static void test_print(void **state)
{
	static const struct {
		uint64_t value;
		const char *unit, *text;
	} cases[] = {
		{21100, "ns", "21.1"},
		{1, "us", "0.000001"},
		{3000, "ns", "3"},
		{1, "KiB", "0.0009765625"},
		{375200000000, "GB/s", "46.9"},
		{UINT64_MAX, "ps", "18446744073709551615"},
	};
	char text[64];

	for (unsigned k = 0; k < sizeof(cases) / sizeof(cases[0]); k++) {
		parameter_print(text, sizeof(text), cases[k].value, cases[k].unit);
		assert_string_equal(text, cases[k].text);
	}
	parameter_print(text, 4, 21123, "ns");
	assert_string_equal(text, "21");
}

/* One thing of a good file changed: the sentence has the line and the reason. */
static void test_refused(void **state)
{
	static const struct {
		const char *from, *to, *line, *reason;
	} cases[] = {
		{"part: test\n", "", "f.yaml:1: ", "has no part"},
		{"part: test", "part: []", "f.yaml:1: ", "part: want a text"},
		{"part: test", "part: t\npart: t", "f.yaml:2: ", "twice"},
		{"part: test", "parts: test", "f.yaml:1: ", "unknown key parts"},
		{"role: host", "role: dog",
			"f.yaml:2: ", "want nic, switch, host, link or program"},
		{"name: line, ", "", "f.yaml:4: ", "has no name"},
		{"name: line", "name: Line", "f.yaml:4: ", "Line: a host has no such parameter"},
		{"name: line", "name: clock_", "f.yaml:4: ", "clock_: a host has no such"},
		{"name: line", "name: completer poll", "f.yaml:4: ", "a host has no such"},
		{"name: line", "name: dma_tags", "f.yaml:4: ", "a host has no such"},
		{"name: ddio", "name: line", "f.yaml:5: ", "line: unit KiB: want a time: ps, ns"},
		{"ddio, value: 2, unit: KiB, range: [1, 2]",
			"line, value: 2, unit: ns, range: [1, 2]",
			"f.yaml:5: ", "host.line is there twice"},
		{"value: 21.1, ", "", "f.yaml:4: ", "line has no value"},
		{"value: 21.1", "value: [1]", "f.yaml:4: ", "want a number"},
		{"value: 21.1", "value: 21.1e3", "f.yaml:4: ", "not a decimal number"},
		{"value: 21.1", "value: 1, value: 2", "f.yaml:4: ", "value is there twice"},
		{"unit: ns", "unit: B",
			"f.yaml:4: ", "line: unit B: want a time: ps, ns, us or ms"},
		{"unit: ns", "unit: Gb/s", "f.yaml:4: ", "line: unit Gb/s: want a time"},
		{"unit: KiB, ", "", "f.yaml:5: ", "ddio has no unit"},
		{"unit: KiB", "unit: kb", "f.yaml:5: ", "ddio: unit kb: want bytes: B, KiB, MiB"},
		{"unit: KiB", "unit: ns", "f.yaml:5: ", "ddio: unit ns: want bytes"},
		{"unit: count", "unit: cycles", "f.yaml:6: ", "queues: unit cycles: want count"},
		{"value: 4", "value: 0", "f.yaml:6: ", "host.queues: 0 count: want 1 to 64 count"},
		{"value: 4", "value: 65", "f.yaml:6: ", "host.queues: 65 count: want 1 to 64"},
		{"[1, 64]", "[1, 65]", "f.yaml:6: ", "host.queues: 65 count: want 1 to 64 count"},
		{"[1, 64]", "[0, 64]", "f.yaml:6: ", "host.queues: 0 count: want 1 to 64 count"},
		{"range: [1, 2], ", "", "f.yaml:5: ", "ddio has no range"},
		{"[1, 2]", "[1]", "f.yaml:5: ", "ddio has no range"},
		{"[1, 2]", "[1, 2, 3]", "f.yaml:5: ", "ddio has no range"},
		{"[1, 2]", "[1, [2]]", "f.yaml:5: ", "want a number"},
		{"[1, 2]", "[2.5, 3]", "f.yaml:5: ", "host.ddio is not within its range"},
		{"[1, 2]", "[1, 1.5]", "f.yaml:5: ", "host.ddio is not within its range"},
		{"[1, 2]", "[2, 1]", "f.yaml:5: ", "host.ddio is not within its range"},
		{"tag: assumed, ", "", "f.yaml:5: ", "ddio has no tag"},
		{"tag: assumed, ", "tag: guessed, ", "f.yaml:5: ", "ddio: unknown tag guessed"},
		{", source: s}\n  - {name: ddio", "}\n  - {name: ddio",
			"f.yaml:4: ", "line has no source"},
		{"\n     source: s", "\n     source: ''", "f.yaml:7: ", "source: want a text"},
		{"\n     source: s", "\n     tag: derived", "f.yaml:7: ", "tag is there twice"},
		{"\n     source: s", "\n     sauce: s", "f.yaml:7: ", "value: unknown key sauce"},
		{"source: s", "source: s, note: n", "f.yaml:4: ", "unknown key note"},
	};
	struct parameters p = {0};

	for (unsigned k = 0; k < sizeof(cases) / sizeof(cases[0]); k++) {
		const char *at = strstr(GOOD, cases[k].from);
		char text[1024];

		assert_non_null(at);
		snprintf(text, sizeof(text), "%.*s%s%s", (int)(at - GOOD), GOOD, cases[k].to,
			at + strlen(cases[k].from));
		assert_int_equal(load(&p, text), -EINVAL);
		if (!strstr(error.text, cases[k].reason) ||
			strncmp(error.text, cases[k].line, strlen(cases[k].line)) != 0)
			fail_msg("%s: %s", text, error.text);
		assert_int_equal(p.n, 0);
	}
	assert_int_equal(load(&p, ""), -EINVAL);
	assert_int_equal(load(&p, "part: p\nrole: nic\nvalues: []\n"), -EINVAL);
	assert_int_equal(load(&p, "part: p\nrole: nic\nvalues: [[]]\n"), -EINVAL);
	assert_int_equal(
		parameters_load_text(&p, "f", "nic", GOOD, sizeof(GOOD) - 1, &error), -EINVAL);
	assert_string_equal(error.text, "f:2: a file of role host, where one of role nic is due");
	assert_int_equal(parameters_load_text(&p, "f", "host", GOOD, sizeof(GOOD) - 1, &error), 0);
	assert_int_equal(parameters_set(&p, "host.queues", "65", &error), -EINVAL);
	assert_string_equal(error.text, "host.queues: 65: want 1 to 64 count");
	parameters_free(&p);
}

/* Another file of the role takes the place of the first; other roles stay. */
static void test_replace(void **state)
{
	struct parameters p = {0};

	assert_int_equal(load(&p, GOOD), 0);
	assert_int_equal(
		load(&p, "part: s\nrole: switch\nvalues:\n  - {name: latency, value: 1, unit: "
			 "ns, range: [1, 1], tag: derived, source: s}\n"),
		0);
	assert_int_equal(p.n, 4);
	assert_int_equal(load(&p, "part: n\nrole: host\nvalues:\n  - {name: line, value: 2, unit: "
				  "ns, range: [2, 3], tag: derived, source: s}\n"),
		0);
	assert_int_equal(p.n, 2);
	assert_int_equal(parameters_get(&p, "host.line"), 2000);
	assert_int_equal(parameters_get(&p, "switch.latency"), 1000);
	assert_null(parameters_find(&p, "host.ddio"));
	parameters_free(&p);
}

/* Within the range, all over it, by seed and name alone; what was set stays. */
static void test_draw(void **state)
{
	struct parameters p = {0}, other = {0};
	uint64_t low = UINT64_MAX, high = 0;

	assert_int_equal(load(&p, GOOD), 0);
	for (uint64_t seed = 0; seed < 1000; seed++) {
		parameters_draw(&p, seed);
		const uint64_t a = parameters_get(&p, "host.line");

		low = a < low ? a : low;
		high = a > high ? a : high;
	}
	assert_in_range(low, 20000, 20050);
	assert_in_range(high, 22450, 22500);
	assert_int_equal(parameters_copy(&other, &p), 0);
	const uint64_t hash = parameters_hash(&p);
	assert_int_equal(parameters_hash(&other), hash);
	assert_int_equal(parameters_set(&other, "host.ddio", "3", &error), 0);
	parameters_draw(&other, 999);
	assert_int_equal(parameters_get(&other, "host.line"), parameters_get(&p, "host.line"));
	assert_int_equal(parameters_get(&other, "host.ddio"), 3072);
	assert_int_not_equal(parameters_hash(&other), hash);
	parameters_draw(&p, 5);
	assert_int_not_equal(parameters_hash(&p), hash);
	parameters_free(&p);
	parameters_free(&other);
}

static void test_files(void **state)
{
	static const char *const parts[] = {
		"agilio-cx", "pex9797", "pex88096", "xeon6246r", "gen3", "gen4", "gen5", "gen6"};
	struct parameters p = {0};

	for (unsigned k = 0; k < sizeof(parts) / sizeof(parts[0]); k++) {
		char path[512];

		snprintf(path, sizeof(path), "%s/%s.yaml", MODEL_PARAMETERS, parts[k]);
		if (parameters_load(&p, path, NULL, &error) < 0)
			fail_msg("%s", error.text);
	}
	assert_int_equal(parameters_get(&p, "link.lane_rate"), 64000000000);
	assert_int_equal(parameters_load(&p, "/nowhere.yaml", NULL, &error), -ENOENT);
	assert_non_null(strstr(error.text, "/nowhere.yaml"));
	parameters_free(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_decimals),
		cmocka_unit_test(test_print),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_replace),
		cmocka_unit_test(test_draw),
		cmocka_unit_test(test_files),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
