/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Ten thousand random machines: parts drawn from their ranges, some of them made so small that
 * everything has to wait for everything; programs, ports, frames, rates, trees and neighbours by
 * chance. When the traffic ends, each packet was sent or dropped at the receiving MAC, and nothing
 * is held: no machine stops for good. P2PNIC_SEED is the first of the seeds.
 */
#include "tests/unit/model_rig.h"
#include "tests/unit/seed.h"

#define MACHINES 10000u
#define OURS     600u /* of that many more the NICs run the firmware, which takes longer */

static const struct program *const program[] = {
	&program_paper, &program_fixed, &program_rd, &program_bn, &program_l3fwd};

static struct sim dice;

static unsigned between(unsigned low, unsigned high)
{
	return low + (unsigned)sim_random(&dice, high - low + 1);
}

/* A value that a machine of any size can have; small ones are the interesting ones. */
static void shrink(struct parameters *p, const char *name, unsigned most)
{
	char text[16];
	const unsigned value = between(1, between(1, most));

	snprintf(text, sizeof(text), "%u", value);
	if (between(0, 1))
		set(p, name, text);
}

static void random_machine(
	const struct parameters *published, const struct program *ours, uint64_t seed)
{
	struct parameters p;
	struct machine_setup s = {.leaves = 1, .seed = seed, .warm = 1, .measure = 3000000};
	uint64_t accounted;

	sim_init(&dice, seed);
	if (parameters_copy(&p, published) < 0)
		fail_msg("no memory");
	parameters_draw(&p, seed);
	set(&p, "nic.threads", between(0, 1) ? "1" : "4");
	set(&p, "nic.ingress_cores", between(0, 1) ? "1" : "6");
	set(&p, "nic.egress_cores", between(0, 1) ? "1" : "6");
	shrink(&p, "nic.rx_buffers", 100);
	shrink(&p, "nic.dma_slots", 8);
	shrink(&p, "nic.dma_tags", 8);
	shrink(&p, "program.ring_slots", 40);
	shrink(&p, "host.ring_slots", 40);
	shrink(&p, "host.queues", 4);
	shrink(&p, "program.batch", 32);
	s.program = program[between(0, 4)];
	if (ours) {
		s.program = ours;
		set(&p, "program.ring_slots", between(0, 1) ? "8" : "64");
	}
	s.nics = between(2, 5);
	s.in = between(1, s.nics);
	s.out = between(s.in == s.nics ? 2 : 1, s.nics);
	s.mix = between(0, 1);
	s.leaves = between(1, s.nics);
	s.frame = between(0, 1) ? between(64, 200) : between(64, 9018);
	s.bit_per_s = between(0, 1) ? between(1, 40) * 1000000000ull : 0;
	s.neighbours = between(0, 2);
	for (unsigned k = 0; k < s.neighbours; k++) {
		struct machine_neighbour *n = &s.neighbour[k];

		n->bit_per_s = between(1, 100) * 1000000000ull;
		n->bytes = between(1, 8192);
		n->lanes = 8;
		n->below = between(0, s.leaves - 1);
		n->to_host = s.neighbours < 2 || between(0, 1);
		n->read = between(0, 1);
	}
	run(&s, &p, true);
	accounted = result.sent;
	for (unsigned k = 0; k < RESULT_DROP_COUNT; k++)
		accounted += result.drop[k];
	if (result.held || accounted != result.in)
		fail_msg("seed %llu: %s on %u NICs holds %llu of %llu packets for good",
			(unsigned long long)seed, s.program->name, s.nics,
			(unsigned long long)result.held, (unsigned long long)result.in);
	parameters_free(&p);
	sim_free(&dice);
}

static void no_machine_stops_for_good(void **state)
{
	const uint64_t first = test_seed();
	struct parameters published;

	load_published(&published);
	for (unsigned k = 0; k < MACHINES; k++)
		random_machine(&published, NULL, first + k);
	load_part(&published, "p2pnic");
	for (unsigned k = 0; k < OURS; k++)
		random_machine(
			&published, k % 2 ? &program_p2pnic_held : &program_p2pnic, first + k);
	parameters_free(&published);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_machine_stops_for_good),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
