/* SPDX-License-Identifier: BSD-3-Clause */
#include "model/calibrate.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

const struct calibration calibration[CALIBRATIONS] = {
	{39, "64 B, one port to one, fixed port: packets/s", false, 40370000, 5000,
		"program.receive"},
	{2, "64 B, one port to one: packets/s", false, 35850000, 5000, "program.route"},
	{25, "1518 B, four ports to four: paper to l3fwd", true, 2320000, 20000, "host.line"},
	{23, "64 B, four ports to four: paper to l3fwd", true, 3440000, 20000, "host.part_of_line"},
	{4, "64 B, one port to one: paper to l3fwd", true, 1500000, 10000, "program.l3fwd_packet"},
	{13, "64 B, paper's 90th percentile at 10 Gb/s to that at 1 Gb/s", true, 780000, 5000,
		"nic.mac_latency"},
	{11, "64 B, 1 Gb/s, 90th percentile: paper to l3fwd", true, 760000, 5000,
		"program.l3fwd_delay"},
};

/* What the figures of one run are; the machine is the published one: four NICs, one switch. */
struct run {
	const struct program *program;
	unsigned ports;
	uint32_t frame;
	uint64_t bit_per_s; /* 0: line rate */
};

/* A figure is that of the first run, or the first to the second. */
static const struct {
	bool latency;
	struct run run[2];
} recipe[CALIBRATIONS] = {
	{false, {{&program_fixed, 1, 64, 0}}},
	{false, {{&program_paper, 1, 64, 0}}},
	{false, {{&program_paper, 4, 1518, 0}, {&program_l3fwd, 4, 1518, 0}}},
	{false, {{&program_paper, 4, 64, 0}, {&program_l3fwd, 4, 64, 0}}},
	{false, {{&program_paper, 1, 64, 0}, {&program_l3fwd, 1, 64, 0}}},
	{true, {{&program_paper, 1, 64, 10000000000}, {&program_paper, 1, 64, 1000000000}}},
	{true, {{&program_paper, 1, 64, 1000000000}, {&program_l3fwd, 1, 64, 1000000000}}},
};

#define SEED    1u
#define PACKETS 20000u

/* Packets a second, or the 90th percentile of the latency. */
static int measure(const struct run *r, bool latency, struct parameters *p, uint64_t *figure,
	struct error *error)
{
	const struct machine_setup setup = {.program = r->program,
		.nics = 4,
		.leaves = 1,
		.in = r->ports,
		.out = r->ports,
		.frame = r->frame,
		.bit_per_s = r->bit_per_s,
		.packets = PACKETS * r->ports,
		.seed = SEED};
	struct result *result = malloc(sizeof(*result));
	int rc;

	if (!result)
		return error_set(error, -ENOMEM, "calibration: no memory");
	rc = machine_run(&setup, p, false, result, error);
	if (rc == 0)
		*figure = latency ? result_percentile(result, 900000) : result_packets(result);
	free(result);
	return rc;
}

int calibration_measure(unsigned index, const struct parameters *parameters, uint64_t *measured,
	struct error *error)
{
	struct parameters p = {0};
	uint64_t figure[2] = {0, 1};
	int rc = parameters_copy(&p, parameters);

	if (rc < 0)
		return error_set(error, rc, "calibration: no memory");
	for (unsigned k = 0; k < 2 && recipe[index].run[k].program && rc == 0; k++)
		rc = measure(&recipe[index].run[k], recipe[index].latency, &p, &figure[k], error);
	*measured = figure[0];
	if (calibration[index].ratio)
		*measured = figure[0] * 1000000 / (figure[1] ? figure[1] : 1);
	parameters_free(&p);
	return rc;
}

/* Each figure falls or rises with its parameter throughout: halve what lies around its value. */
int calibrate_one(unsigned index, struct parameters *p, uint64_t *measured, struct error *error)
{
	struct parameter *parameter = parameters_find(p, calibration[index].fits);
	uint64_t at[2], end[2] = {0, 0};
	int rc = 0;

	if (!parameter)
		return error_set(error, -EINVAL, "calibration: there is no parameter %s",
			calibration[index].fits);
	at[0] = parameter->value / 3;
	at[1] = parameter->value * 3;
	for (unsigned k = 0; k < 2 && rc == 0; k++) {
		parameter->value = at[k];
		rc = calibration_measure(index, p, &end[k], error);
	}
	while (rc == 0 && at[1] - at[0] > 1 + at[0] / 2000) {
		parameter->value = at[0] + (at[1] - at[0]) / 2;
		rc = calibration_measure(index, p, measured, error);
		/* Short of it in the sense in which the figure goes from one end to the other. */
		at[(end[0] < end[1]) == (*measured < calibration[index].published) ? 0 : 1] =
			parameter->value;
	}
	return rc;
}

int calibrate(struct parameters *p,
	void (*say)(const struct calibration *, uint64_t measured, const struct parameter *),
	struct error *error)
{
	int rc = 0;

	for (unsigned round = 0; round < 2; round++)
		for (unsigned k = 0; k < CALIBRATIONS && rc == 0; k++) {
			uint64_t measured = 0;

			rc = calibrate_one(k, p, &measured, error);
			if (rc == 0 && say)
				say(&calibration[k], measured,
					parameters_find(p, calibration[k].fits));
		}
	return rc;
}
