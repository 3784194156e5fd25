/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Whole machines: the NIC's cores and memories against what Krude et al. measured (CoNEXT 2021),
 * batches, rings and drops as the published programs have them, and that a run is the same each
 * time.
 */
#include "model/validate.h"
#include "tests/unit/model_rig.h"

#include <string.h>

static struct parameters parameters;

/* --- The NIC alone ---------------------------------------------------------------------------- */

static void say(void *object, const struct validation *v)
{
	unsigned *missed = object;

	printf("%s: %llu ps, given %llu, %lld millionths off\n", v->what,
		(unsigned long long)v->model, (unsigned long long)v->given,
		(long long)validation_off(v));
	*missed += !validation_holds(v);
}

static void cores_and_memory_are_as_fast_as_measured(void **state)
{
	unsigned missed = 0;

	if (validate_nfp(&parameters, say, &missed, &error) < 0)
		fail_msg("%s", error.text);
	assert_int_equal(missed, 0);
}

/* --- The published programs ------------------------------------------------------------------- */

static struct machine_setup published(const struct program *program, unsigned ports)
{
	return (struct machine_setup){.program = program,
		.nics = 4,
		.leaves = 1,
		.in = ports,
		.out = ports,
		.frame = 64,
		.packets = 4000,
		.seed = 1};
}

/* DMA accesses for a thousand packets. */
static unsigned accesses(void)
{
	return (unsigned)(result.measured_dma * 1000 / result.measured_sent);
}

/* A batch is held while the next packet has arrived already: at 64 B that is so from some 0.7
 * million packets a second on, as a packet takes longer than they are apart. Below, each packet is
 * published by itself, and its place returned: three accesses. */
static void batches_fill_while_the_next_packet_has_arrived(void **state)
{
	struct machine_setup s = published(&program_paper, 1);

	run(&s, &parameters, false);
	assert_in_range(accesses(), 1210, 1270); /* 1 + 1/8 + 1/8 */
	s.bit_per_s = 1000000000;
	run(&s, &parameters, false);
	assert_in_range(accesses(), 1245, 1255);
	const uint64_t held = result_percentile(&result, 900000);

	s.bit_per_s = 100000000;
	run(&s, &parameters, false);
	assert_int_equal(accesses(), 3000);
	/* And waits for nobody: seven times 0.67 us less, but for what the eighth takes. */
	assert_in_range(held - result_percentile(&result, 900000), 4400000, 4800000);
}

/* Rd leaves the packet where it is; by the host there are twice as many frames on PCIe. */
static void each_program_makes_its_accesses(void **state)
{
	struct machine_setup s = published(&program_rd, 1);

	s.bit_per_s = 10000000000;
	run(&s, &parameters, false);
	assert_in_range(accesses(), 1240, 1260);
	s.program = &program_bn;
	run(&s, &parameters, false);
	assert_in_range(accesses(), 2200, 3500);
	s.program = &program_l3fwd;
	run(&s, &parameters, false);
	assert_in_range(accesses(), 2500, 5500);
}

/* Two NICs send to one whose port is slow: rings fill, receive buffers fill, and the drops are at
 * the receiving MACs. To the third NIC packets go on. */
static void a_slow_port_pushes_back_to_the_receiving_mac(void **state)
{
	struct parameters p;
	struct machine_setup s = published(&program_paper, 2);

	load_published(&p);
	s.out = 1;
	run(&s, &p, true);
	assert_in_range(result_packets(&result), 59000000, 59600000); /* the wire */
	assert_true(result.drop[RESULT_DROP_BUFFERS] > 0);
	assert_int_equal(result.held, 0);
	assert_string_equal(result.server[0].name, "nic3 wire");
	parameters_free(&p);
}

/* FNV-1a. */
static void mix(uint64_t *hash, const void *data, size_t bytes)
{
	for (size_t k = 0; k < bytes; k++)
		*hash = (*hash ^ ((const uint8_t *)data)[k]) * 0x100000001b3;
}

static uint64_t hash_of_result(void)
{
	uint64_t hash = 0xcbf29ce484222325;

	mix(&hash, &result.in, sizeof(result.in));
	mix(&hash, &result.sent, sizeof(result.sent));
	mix(&hash, result.drop, sizeof(result.drop));
	mix(&hash, &result.measured_dma, sizeof(result.measured_dma));
	mix(&hash, result.latency, result.samples * sizeof(*result.latency));
	for (unsigned k = 0; k < result.servers; k++) {
		mix(&hash, result.server[k].name, strlen(result.server[k].name));
		mix(&hash, &result.server[k].utilisation, sizeof(result.server[k].utilisation));
	}
	return hash;
}

/* Of the two paths on the frozen parameters: each compiler, each machine. Whoever changes the model
 * or a parameter changes these, and freezes anew (docs/model.md). */
#define HASH_PAPER 0x1360c4d0a8158323ull
#define HASH_L3FWD 0xa9683f78fac469cdull

static void a_seed_gives_the_same_run(void **state)
{
	struct machine_setup s = published(&program_paper, 4);
	uint64_t first;

	s.mix = true;
	run(&s, &parameters, true);
	assert_int_equal(result.held, 0);
	printf("paper: 0x%llx\n", (unsigned long long)hash_of_result());
	assert_true(hash_of_result() == HASH_PAPER);
	s.program = &program_l3fwd;
	run(&s, &parameters, true);
	assert_int_equal(result.held, 0);
	first = hash_of_result();
	printf("l3fwd: 0x%llx\n", (unsigned long long)first);
	assert_true(first == HASH_L3FWD);
	s.seed = 2;
	run(&s, &parameters, true);
	assert_true(first != hash_of_result());
}

/* A device that writes to the host takes the uplink from the paths by the host, and nothing from
 * the others: NICs reach each other below it. */
static void a_neighbour_takes_what_it_shares(void **state)
{
	struct machine_setup s = published(&program_paper, 4);
	uint64_t paper, by_host;

	s.frame = 1518;
	run(&s, &parameters, false);
	paper = result_packets(&result);
	s.program = &program_l3fwd;
	run(&s, &parameters, false);
	by_host = result_packets(&result);
	s.neighbours = 1;
	s.neighbour[0] = (struct machine_neighbour){
		.bit_per_s = 40000000000, .bytes = 4096, .lanes = 16, .to_host = true};
	run(&s, &parameters, false);
	assert_true(result_packets(&result) < by_host * 9 / 10);
	s.program = &program_paper;
	run(&s, &parameters, false);
	assert_in_range(result_packets(&result), paper * 99 / 100, paper * 101 / 100);
}

/* By the host: one port is as fast as its cores, four as the lines between PCIe and the cache, or
 * as DRAM if the cache has no room for what DMA writes and DRAM is slow. */
static void the_host_limits_by_cores_then_lines_then_dram(void **state)
{
	struct machine_setup s = published(&program_l3fwd, 1);
	struct parameters p;
	uint64_t lines;

	load_published(&p);
	run(&s, &p, false);
	assert_int_equal(strncmp(result.server[0].name, "host port0 queue", 16), 0);
	s = published(&program_l3fwd, 4);
	s.frame = 1518;
	run(&s, &p, false);
	assert_string_equal(result.server[0].name, "host lines");
	lines = result_packets(&result);
	set(&p, "host.ddio", "64 MiB");
	set(&p, "host.dram", "4 GB/s");
	run(&s, &p, false);
	assert_in_range(result_packets(&result), lines * 95 / 100, lines * 105 / 100);
	set(&p, "host.ddio", "1 MiB");
	run(&s, &p, false);
	assert_string_equal(result.server[0].name, "host dram");
	assert_true(result_packets(&result) < lines * 9 / 10);
	parameters_free(&p);
}

/* Two switches below a third: half of a mix crosses its uplinks. */
static void a_tree_has_uplinks(void **state)
{
	struct machine_setup s = published(&program_paper, 4);
	bool uplink = false;

	s.leaves = 2;
	s.mix = true;
	s.frame = 256;
	run(&s, &parameters, true);
	assert_int_equal(result.held, 0);
	for (unsigned k = 0; k < result.servers; k++)
		uplink |= !strncmp(result.server[k].name, "link switch.0 to switch", 23) &&
			  result.server[k].utilisation > 100000;
	assert_true(uplink);
}

static void senseless_setups_are_refused(void **state)
{
	struct machine_setup s = published(&program_paper, 4);
	struct parameters p;

#define REFUSED(change, why)                                                                       \
	do {                                                                                       \
		struct machine_setup t = s;                                                        \
                                                                                                   \
		change;                                                                            \
		assert_int_equal(machine_run(&t, &parameters, false, &result, &error), -22);       \
		assert_non_null(strstr(error.text, why));                                          \
	} while (0)
	REFUSED(t.program = NULL, "no program");
	REFUSED(t.nics = 1, "1 NICs");
	REFUSED(t.in = 5, "5 of 4 NICs receive");
	REFUSED(t.out = 1, "cannot receive as well");
	REFUSED(t.leaves = 5, "5 switches");
	REFUSED(t.frame = 63, "frames of 63 B");
	REFUSED(t.neighbours = 9, "9 neighbours");
	REFUSED(t.neighbours = 1, "neighbour 0");
	REFUSED((t.bit_per_s = 1000, t.packets = 100000000), "longer than 1000000 s");
	load_published(&p);
	set(&p, "nic.ingress_cores", "1024");
	set(&p, "nic.threads", "64");
	s.nics = 16;
	assert_int_equal(machine_run(&s, &p, false, &result, &error), -22);
	assert_string_equal(error.text, "1073152 threads: 1048576 are possible");
	set(&p, "nic.threads", "8");
	set(&p, "program.ring_slots", "65536");
	s.nics = 48;
	s.leaves = 2;
	assert_int_equal(machine_run(&s, &p, false, &result, &error), -22);
	assert_string_equal(error.text, "2304 rings of 65536 slots: 67108864 slots are possible");
	parameters_free(&p);
	p = (struct parameters){0};
	assert_int_equal(machine_run(&s, &p, false, &result, &error), -22);
	assert_non_null(strstr(error.text, "nic.clock"));
}

static int set_up(void **state)
{
	load_published(&parameters);
	return 0;
}

static int tear_down(void **state)
{
	parameters_free(&parameters);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cores_and_memory_are_as_fast_as_measured),
		cmocka_unit_test(batches_fill_while_the_next_packet_has_arrived),
		cmocka_unit_test(each_program_makes_its_accesses),
		cmocka_unit_test(a_slow_port_pushes_back_to_the_receiving_mac),
		cmocka_unit_test(a_seed_gives_the_same_run),
		cmocka_unit_test(a_neighbour_takes_what_it_shares),
		cmocka_unit_test(the_host_limits_by_cores_then_lines_then_dram),
		cmocka_unit_test(a_tree_has_uplinks),
		cmocka_unit_test(senseless_setups_are_refused),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
