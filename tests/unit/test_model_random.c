/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Ten thousand random trees of switches with random links, devices, memories and traffic. In each
 * of them everything ends: each transfer is done once, each write lands once and in the order of
 * its sender, and no credit, tag, place or byte of a pool is left behind: the same traffic runs
 * again. P2PNIC_SEED is the first of the seeds.
 */
#include "model/dma.h"
#include "model/parameters_known.h"
#include "model/pcie.h"
#include "tests/unit/seed.h"

// clang-format off
#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
// clang-format on
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SCENARIOS 10000u
#define SWITCHES  5u
#define DEVICES   8u
#define TRANSFERS 24u

static struct error error;
static struct parameters parameters;

struct scenario;

struct memory {
	struct scenario *scenario;
	struct server server;
	uint64_t ps; /* for a TLP */
};

struct scenario {
	struct sim s;
	struct fabric *f;
	struct node *device[DEVICES];
	struct dma *dma[DEVICES]; /* NULL: transfers go straight to the device */
	struct memory memory[DEVICES];
	unsigned devices;
	struct {
		unsigned from, to;
		bool read;
		uint32_t bytes;
		unsigned done, landed;
	} transfer[TRANSFERS];
	unsigned transfers, last[DEVICES][DEVICES]; /* write that landed */
};

static uint64_t between(struct sim *s, uint64_t low, uint64_t high)
{
	return low + sim_random(s, high - low + 1);
}

/* One draw a statement: within one, compilers choose their own order. */
static struct pcie_link random_link(struct sim *s)
{
	struct pcie_link l = {.write_overhead = 24, .completion_overhead = 20};

	l.bit_per_s = between(s, 1, 60) * 10000000000;
	l.payload = 128u << between(s, 0, 2);
	l.request = 128u << between(s, 0, 2);
	l.completion = 64u << between(s, 0, 2);
	l.delay = between(s, 0, 3000);
	l.credit_delay = between(s, 0, 300000);
	for (unsigned c = 0; c < TLP_CLASSES; c++) {
		l.headers[c] = (uint32_t)between(s, 1, 8);
		l.data[c] = (uint32_t)between(s, 32, 64); /* the largest TLP: 512 B, or more */
	}
	return l;
}

static void taken(struct sim *s, void *object, uint64_t tlp)
{
	const struct memory *m = object;

	pcie_accept(m->scenario->f, (struct tlp *)(uintptr_t)tlp);
}

static void take(
	struct sim *s, void *object, struct tlp *t, unsigned space, bool read, uint32_t bytes)
{
	struct memory *m = object;

	assert_true(bytes > 0 && space < DEVICES);
	server_ask(s, &m->server, m->ps, taken, m, (uintptr_t)t);
}

static void build(struct scenario *c)
{
	struct sim *s = &c->s;
	struct node *sw[SWITCHES];
	const unsigned switches = (unsigned)between(s, 1, SWITCHES);

	c->f = fabric_new(s);
	for (unsigned k = 0; k < switches; k++) {
		const struct pcie_link l = random_link(s);
		const uint64_t latency = between(s, 0, 200000);
		const uint64_t pool = sim_random(s, 2) * 4096;

		sw[k] = k ? fabric_switch(c->f, "switch", sw[sim_random(s, k)], &l, latency, pool)
			  : fabric_root(c->f, "root", latency, pool);
	}
	c->devices = (unsigned)between(s, 2, DEVICES);
	for (unsigned k = 0; k < c->devices; k++) {
		const struct pcie_link l = random_link(s);
		const bool slow = sim_random(s, 2);

		c->memory[k] = (struct memory){.scenario = c, .ps = between(s, 1, 100000)};
		if (slow)
			server_init(s, &c->memory[k].server, "memory", 1, 0, 0);
		const uint64_t completer = sim_random(s, 2) * 500000;
		const unsigned tags = (unsigned)between(s, 1, 8);
		struct node *const above = sw[sim_random(s, switches)];

		c->device[k] = fabric_device(c->f, "device", above, &l, completer, tags,
			slow ? take : NULL, &c->memory[k]);
		if (sim_random(s, 2))
			c->dma[k] = dma_new(s, &parameters, "nic", c->device[k], &error);
	}
}

static void done(struct sim *s, void *object, uint64_t argument)
{
	struct scenario *c = object;

	c->transfer[argument].done++;
}

/* Those of one sender to one target land as they were sent. */
static void landed(struct sim *s, void *object, uint64_t argument)
{
	struct scenario *c = object;
	unsigned *last = &c->last[c->transfer[argument].from][c->transfer[argument].to];

	assert_false(c->transfer[argument].read);
	assert_true(*last <= argument);
	*last = (unsigned)argument;
	c->transfer[argument].landed++;
}

static void begin(struct sim *s, void *object, uint64_t argument)
{
	struct scenario *c = object;
	const unsigned from = c->transfer[argument].from;
	const struct transfer t = {.target = c->device[c->transfer[argument].to],
		.read = c->transfer[argument].read,
		.bytes = c->transfer[argument].bytes,
		.done = done,
		.landed = landed,
		.object = c,
		.argument = argument};

	if (!c->dma[from])
		pcie_transfer(c->device[from], &t);
	else if (!dma_submit(c->dma[from], &t))
		dma_wait(c->dma[from], t.read, begin, c, argument);
}

/* Times ascend, so that the order of numbers is that of sending. */
static void run(struct scenario *c, uint64_t seed)
{
	uint64_t at = 0;

	memset(c->last, 0, sizeof(c->last));
	for (unsigned k = 0; k < c->transfers; k++) {
		c->transfer[k].done = c->transfer[k].landed = 0;
		if (sim_random(&c->s, 3) == 0)
			at += sim_random(&c->s, PS_PER_US);
		sim_after(&c->s, at, begin, c, k);
	}
	while (sim_step(&c->s))
		;
	if (fabric_pending(c->f))
		fail_msg("seed %llu: %llu transfers never end", (unsigned long long)seed,
			(unsigned long long)fabric_pending(c->f));
	for (unsigned k = 0; k < c->transfers; k++) {
		assert_int_equal(c->transfer[k].done, 1);
		assert_int_equal(c->transfer[k].landed, !c->transfer[k].read);
	}
	for (unsigned k = 0; k < c->devices; k++)
		if (c->dma[k])
			assert_int_equal(
				dma_queued(c->dma[k], false) + dma_queued(c->dma[k], true), 0);
}

static uint64_t scenario(uint64_t seed)
{
	struct scenario c = {0};

	sim_init(&c.s, seed);
	build(&c);
	c.transfers = (unsigned)between(&c.s, 1, TRANSFERS);
	for (unsigned k = 0; k < c.transfers; k++) {
		c.transfer[k].from = (unsigned)sim_random(&c.s, c.devices);
		c.transfer[k].to =
			(unsigned)((c.transfer[k].from + between(&c.s, 1, c.devices - 1)) %
				   c.devices);
		c.transfer[k].read = sim_random(&c.s, 2);
		const uint32_t most = sim_random(&c.s, 8) ? 600 : 4000;

		c.transfer[k].bytes = (uint32_t)between(&c.s, 1, most);
	}
	run(&c, seed);
	run(&c, seed);
	const uint64_t end = c.s.now ^ c.s.happened;

	for (unsigned k = 0; k < c.devices; k++)
		if (c.dma[k])
			dma_free(c.dma[k]);
	fabric_free(c.f);
	sim_free(&c.s);
	return end;
}

static size_t put(char *text, size_t room, const char *name, unsigned value, const char *unit)
{
	return (size_t)snprintf(text, room,
		"  - {name: %s, value: %u, unit: %s, range: [%u, %u], tag: assumed, source: "
		"test}\n",
		name, value, unit, value, value);
}

/* An engine of the test's own: what is known of the hardware may change. Drawn times of an access
 * may fall where the size grows: those of odd sizes are longer. */
static void engine(void)
{
	static const unsigned sizes[] = {
		64, 65, 128, 129, 192, 256, 257, 320, 384, 512, 513, 576, 768, 1024, 1536};
	char text[16384] = "part: test\nrole: nic\nvalues:\n";
	size_t used = strlen(text);

	for (unsigned k = 0; k < 2 * sizeof(sizes) / sizeof(sizes[0]); k++) {
		char name[32];

		snprintf(name, sizeof(name), "dma_%s_%u", k % 2 ? "read" : "write", sizes[k / 2]);
		if (parameter_known("nic", name))
			used += put(text + used, sizeof(text) - used, name,
				10 + sizes[k / 2] / 8 + sizes[k / 2] % 2 * 9, "ns");
	}
	used += put(text + used, sizeof(text) - used, "dma_write_latency", 200, "ns");
	used += put(text + used, sizeof(text) - used, "dma_read_latency", 50, "ns");
	used += put(text + used, sizeof(text) - used, "dma_slots", 3, "count");
	used += put(text + used, sizeof(text) - used, "dma_share", 1, "ratio");
	used += put(text + used, sizeof(text) - used, "dma_tags", 8, "count");
	if (parameters_load_text(&parameters, "test", "nic", text, used, &error) < 0)
		fail_msg("%s", error.text);
}

/* All of them together end at this time: the same on each machine, and with each compiler. */
#define ENDS 0xb54dbd180fa27df3

static void test_random(void **state)
{
	const uint64_t first = test_seed();
	uint64_t ends = 0;

	engine();
	for (uint64_t k = 0; k < SCENARIOS; k++)
		ends = sim_mix(ends ^ scenario(first + k));
	printf("%llu\n", (unsigned long long)ends);
	if (!getenv("P2PNIC_SEED"))
		assert_int_equal(ends, ENDS);
	parameters_free(&parameters);
}

/* A run that is given up frees what is under way. */
static void test_given_up(void **state)
{
	const struct pcie_link l = {10000000000, 128, 128, 128, 24, 20, 0, 0, {1, 1, 1}, {8, 8, 8}};
	struct sim s;

	sim_init(&s, 1);
	struct fabric *f = fabric_new(&s);
	struct node *root = fabric_root(f, "root", 1000, 0);
	struct node *a = fabric_device(f, "a", root, &l, 0, 1, NULL, NULL);
	struct node *b = fabric_device(f, "b", root, &l, 0, 1, NULL, NULL);
	const struct transfer write = {.target = b, .bytes = 1000}, read = {b, true, 0, 1000};

	engine();
	struct dma *dma = dma_new(&s, &parameters, "a", a, &error);
	for (unsigned k = 0; k < 5; k++) {
		pcie_transfer(a, &write);
		pcie_transfer(a, &read);
		assert_int_equal(dma_submit(dma, &write), k < 3);
		if (k >= 3)
			dma_wait(dma, false, NULL, NULL, 0);
	}
	sim_run(&s, 300000);
	assert_true(fabric_pending(f) > 0);
	dma_free(dma);
	fabric_free(f);
	parameters_free(&parameters);
	sim_free(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_given_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
