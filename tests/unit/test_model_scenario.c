/* SPDX-License-Identifier: BSD-3-Clause */
/* Scenarios: what a file says, what is wrong with one, and that each of the model's own runs. */
#include "model/runs.h"
#include "model/scenario.h"

// clang-format off
#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
// clang-format on
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int load(struct scenario *s, const char *text, struct error *error)
{
	scenario_init(s);
	return scenario_load_text(s, "file", text, strlen(text), error);
}

static void test_all_keys(void **state)
{
	static const char text[] = "title: a title\n"
				   "program: rd\n"
				   "parts: {nic: a, switch: b, host: c, link: d}\n"
				   "nics: 6\nswitches: 2\npattern: 2in-3out-mix\nframe: 1518\n"
				   "rate: 2.5 Gb/s\npackets: 1000\nseed: 7\n"
				   "neighbours:\n"
				   "  - {rate: 50 Gb/s, bytes: 512, lanes: 8, switch: 1}\n"
				   "  - {rate: 1 Mb/s, to: host, access: read}\n"
				   "set: {switch.latency: 105 ns}\n";
	struct error error;
	struct scenario s;

	assert_int_equal(load(&s, text, &error), 0);
	assert_string_equal(s.title, "a title");
	assert_ptr_equal(s.setup.program, &program_rd);
	assert_string_equal(s.part[SCENARIO_NIC], "a");
	assert_string_equal(s.part[SCENARIO_LINK], "d");
	assert_int_equal(s.setup.nics, 6);
	assert_int_equal(s.setup.leaves, 2);
	assert_int_equal(s.setup.in, 2);
	assert_int_equal(s.setup.out, 3);
	assert_true(s.setup.mix);
	assert_int_equal(s.setup.frame, 1518);
	assert_int_equal(s.setup.bit_per_s, 2500000000);
	assert_int_equal(s.setup.packets, 1000);
	assert_int_equal(s.setup.seed, 7);
	assert_int_equal(s.setup.neighbours, 2);
	assert_int_equal(s.setup.neighbour[0].bit_per_s, 50000000000);
	assert_int_equal(s.setup.neighbour[0].below, 1);
	assert_false(s.setup.neighbour[0].to_host || s.setup.neighbour[0].read);
	assert_int_equal(s.setup.neighbour[1].bytes, 4096);
	assert_true(s.setup.neighbour[1].to_host && s.setup.neighbour[1].read);
	assert_int_equal(s.settings, 1);
	scenario_free(&s);
}

/* A file of each kind of mistake, and the whole sentence. */
static void test_mistakes(void **state)
{
	static const char *const files[][2] = {
		{"frame: 63\n", "file:1: frame: '63': want a number from 64 to 9018"},
		{"seed: 1\nframe: 64 B\n", "file:2: frame: '64 B': want a number from 64 to 9018"},
		{"nics: 18446744073709551620\n",
			"file:1: nics: '18446744073709551620': want a number from 2 to 64"},
		{"fram: 64\n", "file:1: no key 'fram' in a scenario"},
		{"program: foo\n",
			"file:1: program: 'foo': want paper, fixed, rd, bn, l3fwd, p2pnic or "
			"p2pnic-held"},
		{"pattern: 4in4out\n", "file:1: pattern: '4in4out': want a pattern such as "
				       "1in-1out or 4in-4out-mix"},
		{"rate: 10\n", "file:1: rate: '10': want a rate such as 10 Gb/s or 2.5 Mb/s"},
		{"rate: 0 Gb/s\n", "file:1: rate: '0 Gb/s': want a rate above 0, to 1000 Gb/s"},
		{"rate: 1000.001 Gb/s\n",
			"file:1: rate: '1000.001 Gb/s': want a rate above 0, to 1000 Gb/s"},
		{"frame: 64\nseed: 1\nframe: 65\n", "file:3: frame is there twice"},
		{"parts: {nic: a, nic: b}\n", "file:1: nic is there twice"},
		{"set:\n  a.b: 1\n  a.b: 2\n", "file:3: a.b is there twice"},
		{"neighbours: [{rate: 1 Gb/s, rate: 2 Gb/s}]\n", "file:1: rate is there twice"},
		{"neighbours: [{rate: 1 Gb/s, lanes: 6}]\n", "file:1: lanes: '6': want 4, 8 or 16"},
		{"rate: [1]\n", "file:1: rate: want one word"},
		{"parts:\n  gpu: x\n", "file:2: parts: 'gpu': want nic, switch, host or link"},
		{"set:\n  latency: 1 ns\n",
			"file:2: set: 'latency' is no parameter: those have a dot"},
		{"neighbours: [{bytes: 64}]\n", "file:1: neighbour: no rate"},
		{"neighbours: [{rate: 1 Gb/s, to: me}]\n", "file:1: to: 'me': want host or next"},
		{"neighbours: [{speed: 1 Gb/s}]\n", "file:1: neighbour: no key 'speed'; there are "
						    "rate, bytes, lanes, switch, to, "
						    "access"},
		{"- 1\n", "file:1: a scenario is KEY: VALUE"},
	};

	for (unsigned k = 0; k < sizeof(files) / sizeof(*files); k++) {
		struct error error = {""};
		struct scenario s;

		assert_int_equal(load(&s, files[k][0], &error), -EINVAL);
		assert_string_equal(error.text, files[k][1]);
		scenario_free(&s);
	}
}

static void test_set(void **state)
{
	static const char *const bad[][2] = {{"frame", "'frame': want KEY=VALUE"},
		{"frame=1", "frame: '1': want a number from 64 to 9018"},
		{"frames=1", "frames: no such key; a parameter has a dot, such as switch.latency"}};
	struct error error;
	struct scenario s;
	char folder[] = MODEL_FOLDER;

	scenario_init(&s);
	for (unsigned k = 0; k < 3; k++) {
		assert_int_equal(scenario_set(&s, bad[k][0], &error), -EINVAL);
		assert_string_equal(error.text, bad[k][1]);
	}
	assert_int_equal(scenario_set(&s, "rate=1 Gb/s", &error), 0);
	assert_int_equal(scenario_set(&s, "rate=line", &error), 0);
	assert_int_equal(s.setup.bit_per_s, 0);
	assert_int_equal(scenario_set(&s, "switch=pex88096", &error), 0);
	assert_int_equal(scenario_set(&s, "switch.pool=1 MiB", &error), 0);
	assert_int_equal(scenario_ready(&s, folder, &error), 0);
	assert_int_equal(parameters_get(&s.parameters, "switch.pool"), 1 << 20);
	assert_int_equal(parameters_get(&s.parameters, "switch.latency"), 105000);
	assert_int_equal(parameters_get(&s.parameters, "program.batch"), 8);
	scenario_free(&s);

	scenario_init(&s);
	assert_int_equal(scenario_set(&s, "switch.colour=1", &error), 0);
	assert_int_equal(scenario_ready(&s, folder, &error), -EINVAL);
	assert_string_equal(error.text, "switch.colour: no such parameter");
	scenario_free(&s);

	scenario_init(&s);
	assert_int_equal(scenario_set(&s, "nic=none", &error), 0);
	assert_int_equal(scenario_ready(&s, folder, &error), -ENOENT);
	scenario_free(&s);
}

/* Each runs, with few packets; every packet is accounted for, and again gives the same. */
static void check_runs(const char *path)
{
	struct answer answer[2];
	struct error error = {""};
	struct scenario s;
	struct run run;

	scenario_init(&s);
	if (scenario_load(&s, path, &error) || scenario_set(&s, "packets=500", &error) ||
		scenario_ready(&s, MODEL_FOLDER, &error))
		fail_msg("%s", error.text);
	assert_true(*s.title);
	run = (struct run){.setup = s.setup, .parameters = &s.parameters};
	for (unsigned k = 0; k < 2; k++)
		run_one(&run, &answer[k]);
	if (!answer[0].done)
		fail_msg("%s: %s", path, answer[0].error);
	assert_int_equal(answer[0].held, 0);
	assert_true(answer[0].sent > 0);
	assert_memory_equal(&answer[0], &answer[1], sizeof(answer[0]));
	scenario_free(&s);
}

static void test_own(void **state)
{
	DIR *folder = opendir(MODEL_FOLDER "/scenarios");
	unsigned files = 0;

	assert_non_null(folder);
	for (struct dirent *e; (e = readdir(folder));) {
		char path[512];

		if (*e->d_name == '.')
			continue;
		snprintf(path, sizeof(path), MODEL_FOLDER "/scenarios/%s", e->d_name);
		check_runs(path);
		files++;
	}
	assert_true(files >= 5);
	closedir(folder);
}

/* Runs at once, in processes: the answers are those of runs one by one, in their places. */
static void test_runs(void **state)
{
	static struct answer answer[6];
	struct answer alone;
	struct error error = {""};
	struct run run[6];
	struct scenario s;

	scenario_init(&s);
	assert_int_equal(scenario_set(&s, "packets=500", &error), 0);
	assert_int_equal(scenario_ready(&s, MODEL_FOLDER, &error), 0);
	for (unsigned k = 0; k < 6; k++) {
		run[k] = (struct run){.setup = s.setup, .parameters = &s.parameters, .draw = k};
		run[k].setup.frame = 64 + 100 * k;
	}
	run[5].name = "program.batch";
	run[5].value = 1;
	assert_int_equal(runs_do(run, 6, answer, NULL, &error), 0);
	for (unsigned k = 0; k < 6; k++) {
		run_one(&run[k], &alone);
		assert_memory_equal(&answer[k], &alone, sizeof(alone));
	}
	run[3].setup.nics = 1;
	assert_int_equal(runs_do(run, 6, answer, NULL, &error), -EINVAL);
	assert_string_equal(error.text, "1 NICs: 2 to 64 are possible");
	scenario_free(&s);
}

/* Of one port to another. */
static struct answer measure(const char *program, const char *rate, const char *batch)
{
	struct answer answer;
	struct error error;
	struct scenario s;

	scenario_init(&s);
	assert_int_equal(scenario_set(&s, "pattern=1in-1out", &error), 0);
	assert_int_equal(scenario_set(&s, program, &error), 0);
	assert_int_equal(scenario_set(&s, rate, &error), 0);
	assert_int_equal(scenario_set(&s, batch, &error), 0);
	assert_int_equal(scenario_ready(&s, MODEL_FOLDER, &error), 0);
	const struct run run = {.setup = s.setup, .parameters = &s.parameters};
	run_one(&run, &answer);
	assert_true(answer.done);
	scenario_free(&s);
	return answer;
}

/* In thousandths a packet. */
static uint64_t accesses(const char *program, const char *rate, const char *batch)
{
	return measure(program, rate, batch).dma;
}

/* Alone a packet costs three DMA writes: itself, its descriptor, the consumer word. A full batch
 * shares the second, and the third goes for several. */
static void test_accesses(void **state)
{
	assert_in_range(accesses("program=p2pnic", "rate=100 Mb/s", "program.batch=8"), 2950, 3050);
	assert_in_range(accesses("program=p2pnic", "rate=line", "program.batch=8"), 1125, 1900);
	assert_in_range(accesses("program=p2pnic", "rate=line", "program.batch=1"), 2010, 3000);
}

/* Batches that are held are fuller; a packet that is alone waits for a poll more, and is not
 * published before it is written. */
static void test_held(void **state)
{
	static const char rate[] = "rate=1 Gb/s", batch[] = "program.batch=8";
	const struct answer ours = measure("program=p2pnic", rate, batch);
	const struct answer held = measure("program=p2pnic-held", rate, batch);

	assert_in_range(accesses("program=p2pnic-held", "rate=line", batch), 1125, 1350);
	assert_in_range(held.dma, 2950, 3050);
	assert_in_range(held.latency[50], ours.latency[50] + 300000, ours.latency[50] + 1500000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_keys),
		cmocka_unit_test(test_mistakes),
		cmocka_unit_test(test_set),
		cmocka_unit_test(test_own),
		cmocka_unit_test(test_runs),
		cmocka_unit_test(test_accesses),
		cmocka_unit_test(test_held),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
