/* SPDX-License-Identifier: BSD-3-Clause */
/* Links and switches by rule: cut-through to the picosecond, order of classes, turns, credits and
 * the shared pool, trees, links that cannot be. */
#include "model/pcie.h"

// clang-format off
#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
// clang-format on
#include <errno.h>
#include <stdio.h>
#include <string.h>

/* 80 Gb/s: 100 ps a byte. */
static const struct pcie_link simple = {
	80000000000, 256, 512, 256, 24, 20, 1000, 5000, {8, 8, 8}, {128, 128, 128}};

static struct sim s;
static struct fabric *f;
static struct node *root;

static int setup(void **state)
{
	sim_init(&s, 1);
	f = fabric_new(&s);
	root = fabric_root(f, "root", 100 * PS_PER_NS, 0);
	return 0;
}

static int teardown(void **state)
{
	fabric_free(f);
	sim_free(&s);
	return 0;
}

static struct node *device(struct node *above, const struct pcie_link *l)
{
	return fabric_device(f, "device", above, l, 0, 32, NULL, NULL);
}

static void note_time(struct sim *sim, void *object, uint64_t argument)
{
	*(uint64_t *)object = sim->now;
}

/* A write of 76 B is 100 B on a link. It leaves in 10 ns; its header is in the switch after 2.4 ns
 * and 1 ns of link, and goes on 100 ns later; a faster link waits so long that it does not run dry.
 */
static void test_cut_through(void **state)
{
	struct pcie_link fast = simple;
	uint64_t at = 0;

	fast.bit_per_s *= 2;
	struct node *const a = device(root, &simple), *const b = device(root, &simple);
	struct node *const c = device(root, &fast);
	const struct {
		struct node *from, *to;
		uint64_t ps;
	} cases[] = {{a, b, 2400 + 1000 + 100000 + 10000 + 1000}, /* */
		{a, c, 10000 + 1000 - 5000 + 100000 + 5000 + 1000},
		{c, a, 1200 + 1000 + 100000 + 10000 + 1000}};

	for (unsigned k = 0; k < 3; k++) {
		const uint64_t from = s.now;
		const struct transfer t = {
			.target = cases[k].to, .bytes = 76, .landed = note_time, .object = &at};

		pcie_transfer(cases[k].from, &t);
		while (sim_step(&s))
			;
		assert_int_equal(at - from, cases[k].ps);
	}
}

/* --- Order ------------------------------------------------------------------------------------ */

/* What came to a device that takes nothing until it is told to. */
static struct {
	struct tlp *tlp[64];
	bool read[64];
	unsigned space[64], n;
	bool stopped;
} come;

static void take(
	struct sim *sim, void *object, struct tlp *t, unsigned space, bool read, uint32_t bytes)
{
	if (!come.stopped) {
		pcie_accept(f, t);
		return;
	}
	assert_true(come.n < 64);
	come.read[come.n] = read;
	come.space[come.n] = space;
	come.tlp[come.n++] = t;
}

static struct node *stopped(const struct pcie_link *l)
{
	memset(&come, 0, sizeof(come));
	come.stopped = true;
	return fabric_device(f, "stopped", root, l, 0, 32, take, NULL);
}

static void transfer(struct node *from, struct node *to, bool read, uint32_t bytes, unsigned space)
{
	const struct transfer t = {.target = to, .read = read, .bytes = bytes, .space = space};

	pcie_transfer(from, &t);
}

static void run_ns(uint64_t ns)
{
	sim_run(&s, s.now + ns * PS_PER_NS);
}

static void accept_all(void)
{
	come.stopped = false;
	for (unsigned k = 0; k < come.n; k++)
		pcie_accept(f, come.tlp[k]);
	while (sim_step(&s))
		;
	assert_int_equal(fabric_pending(f), 0);
}

/* Two posted credits, three writes, a read behind: the read has credits, and waits. */
static void test_read_behind_writes(void **state)
{
	struct pcie_link l = simple;

	l.headers[TLP_POSTED] = 2;
	struct node *const to = stopped(&l), *const from = device(root, &simple);

	for (unsigned k = 0; k < 3; k++)
		transfer(from, to, false, 64, k);
	transfer(from, to, true, 64, 3);
	run_ns(5000);
	assert_int_equal(come.n, 2);
	pcie_accept(f, come.tlp[0]);
	run_ns(5000);
	assert_int_equal(come.n, 4);
	assert_false(come.read[2]);
	assert_true(come.read[3]);
	come.tlp[0] = come.tlp[--come.n];
	accept_all();
}

/* One credit for requests, two reads, a write behind: the write passes the second read. */
static void test_write_passes_read(void **state)
{
	struct pcie_link l = simple;

	l.headers[TLP_NON_POSTED] = 1;
	struct node *const to = stopped(&l), *const from = device(root, &simple);

	transfer(from, to, true, 64, 0);
	transfer(from, to, true, 64, 1);
	run_ns(5000);
	transfer(from, to, false, 64, 2);
	run_ns(5000);
	assert_int_equal(come.n, 2);
	assert_int_equal(come.space[1], 2);
	accept_all();
}

/* A completion waits for the write that its device sent before. */
static void test_completion_behind_write(void **state)
{
	struct pcie_link l = simple;
	uint64_t at = 0;

	l.headers[TLP_POSTED] = 1;
	struct node *const to = stopped(&l), *const other = device(root, &simple);
	const struct transfer read = {
		.target = other, .read = true, .bytes = 64, .done = note_time, .object = &at};

	transfer(other, to, false, 64, 0);
	transfer(other, to, false, 64, 1);
	run_ns(1000);
	pcie_transfer(to, &read);
	run_ns(5000);
	assert_int_equal(at, 0);
	accept_all();
	assert_int_not_equal(at, 0);
}

/* --- Turns ------------------------------------------------------------------------------------ */

/* Three that write to one share its link evenly: each has a third, and it is full. */
static void test_turns(void **state)
{
	struct node *const to = device(root, &simple);

	for (unsigned k = 0; k < 3; k++) {
		struct node *const from = device(root, &simple);

		for (unsigned n = 0; n < 16; n++)
			transfer(from, to, false, 1 << 20, k);
	}
	run_ns(10000);
	sim_measure(&s);
	run_ns(100000);
	unsigned full = 0;
	for (const struct server *v = s.servers; v; v = v->next_server)
		if (!strcmp(v->name, "link device to root") && v->jobs) {
			assert_in_range(server_utilisation(&s, v), 330000, 337000);
			full++;
		} else if (v->jobs) {
			assert_in_range(server_utilisation(&s, v), 998000, 1000000);
		}
	assert_int_equal(full, 3);
}

/* --- Back-pressure ---------------------------------------------------------------------------- */

/* One of two targets stands still. Without a pool the sender's link fills with what is for it, and
 * the other gets nothing any more; a pool that holds it all keeps the way free. Nothing is lost. */
static void test_pool(void **state)
{
	for (unsigned pool = 0; pool < 2; pool++) {
		uint64_t at = 0;

		teardown(NULL);
		sim_init(&s, 1);
		f = fabric_new(&s);
		root = fabric_root(f, "root", 0, pool * 65536);
		struct node *const still = stopped(&simple), *const good = device(root, &simple);
		struct node *const from = device(root, &simple);
		const struct transfer t = {
			.target = good, .bytes = 64, .landed = note_time, .object = &at};

		transfer(from, still, false, 16000, 0);
		run_ns(10000);
		assert_int_equal(come.n, 8); /* as many as it has credits for */
		pcie_transfer(from, &t);
		run_ns(10000);
		assert_int_equal(at != 0, pool);
		accept_all();
		assert_int_not_equal(at, 0);
	}
}

/* A round trip of credits: one header, so one TLP in a link's time, its way and the credit's. */
static void test_credits(void **state)
{
	struct pcie_link l = simple;
	uint64_t at = 0;

	l.headers[TLP_POSTED] = 1;
	struct node *const to = device(root, &l), *const from = device(root, &simple);
	const struct transfer t = {.target = to, .bytes = 2560, .landed = note_time, .object = &at};

	pcie_transfer(from, &t);
	while (sim_step(&s))
		;
	assert_int_equal(at, 2400 + 1000 + 100000 + 9 * (28000 + 1000 + 5000) + 28000 + 1000);
}

/* --- Trees ------------------------------------------------------------------------------------ */

static uint64_t jobs(const char *name)
{
	for (const struct server *v = s.servers; v; v = v->next_server)
		if (!strcmp(v->name, name))
			return v->jobs;
	fail_msg("no server %s", name);
	return 0;
}

/* Neighbours do not use the links above them. */
static void test_tree(void **state)
{
	struct node *const left = fabric_switch(f, "left", root, &simple, 1000, 0);
	struct node *const right = fabric_switch(f, "right", root, &simple, 1000, 0);
	struct node *const a = device(left, &simple), *const b = device(left, &simple);
	struct node *const c = device(right, &simple);

	transfer(a, b, true, 512, 0);
	while (sim_step(&s))
		;
	assert_int_equal(jobs("link left to root"), 0);
	transfer(a, c, true, 512, 0);
	while (sim_step(&s))
		;
	assert_int_equal(jobs("link left to root"), 1);
	assert_int_equal(jobs("link root to right"), 1);
	assert_int_equal(jobs("link right to root"), 2);
	assert_int_equal(jobs("link root to left"), 2);
	assert_int_equal(fabric_pending(f), 0);
	for (unsigned k = 2; k < 31; k++)
		assert_non_null(device(left, &simple));
	assert_null(device(left, &simple)); /* no port is left */
}

static void test_links(void **state)
{
	static const struct {
		const char *name, *value, *reason;
		unsigned lanes;
	} cases[] = {
		{"link.payload", "256", "a link of 3 lanes: want 4, 8 or 16", 3},
		{"link.payload", "32", "64 to 4096", 8},
		{"link.request", "8192", "64 to 4096", 8},
		{"link.data_posted", "15", "fewer credits", 8},
		{"link.data_completion", "15", "fewer credits", 8},
		{"link.headers_nonposted", "0", "fewer credits", 8},
		{"link.write_overhead", "5000", "overhead", 8},
		{"link.lane_rate", "0", "no rate", 8},
		{"link.lane_rate", "200", "1 Tb/s", 8},
		{"link.code_total", "0", "no rate", 8},
		{"link.dllp", "100000", "no rate", 8},
	};

	for (unsigned k = 0; k < sizeof(cases) / sizeof(cases[0]); k++) {
		struct parameters p = {0};
		struct error error;
		struct pcie_link l;

		assert_int_equal(
			parameters_load(&p, MODEL_PARAMETERS "/gen3.yaml", "link", &error), 0);
		assert_int_equal(parameters_set(&p, cases[k].name, cases[k].value, &error), 0);
		assert_int_equal(pcie_link(&l, &p, cases[k].lanes, &error), -EINVAL);
		if (!strstr(error.text, cases[k].reason))
			fail_msg("%s %s: %s", cases[k].name, cases[k].value, error.text);
		parameters_free(&p);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_cut_through, setup, teardown),
		cmocka_unit_test_setup_teardown(test_read_behind_writes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_write_passes_read, setup, teardown),
		cmocka_unit_test_setup_teardown(test_completion_behind_write, setup, teardown),
		cmocka_unit_test_setup_teardown(test_turns, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pool, setup, teardown),
		cmocka_unit_test_setup_teardown(test_credits, setup, teardown),
		cmocka_unit_test_setup_teardown(test_tree, setup, teardown),
		cmocka_unit_test(test_links),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
