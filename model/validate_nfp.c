/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The NIC's cores and memories against Krude et al., "Determination of throughput guarantees for
 * processor-based SmartNICs", CoNEXT 2021: five XDP programs on 5 to 50 cores of 4 threads
 * (nfp-pred-artifacts, paper/plot/wpi-*.dat). All reads are of one place in EMEM. The cards dropped
 * what came in; here it goes out again, which costs the cores nothing.
 */
#include "model/validate.h"

#include "model/machine.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

/*
 * Cycles before the first read and after each: the firmware's 224, the program's 34 until there
 * (what is left of lookup4 on 5 cores), a few in between. Without reads all there are: of "drop"
 * and "slow" what they take on 20 cores. So the figures on 5 cores of lookup4 and on 20 of the
 * other two are given; what follows from them is the rest.
 */
static const struct krude {
	const char *name;
	unsigned cycles, reads;
	unsigned measured[10]; /* thousands of packets a second on 5, 10 … 50 cores */
} programs[] = {
	{"slow", 1263, 0, {3166, 6305, 9457, 12620, 15789, 18951, 22109, 25282, 28438, 31614}},
	{"drop", 414, 0, {9508, 19415, 28873, 38499, 47775, 53196, 52116, 52191, 52891, 53191}},
	{"lookup4", 258, 4, {11840, 23526, 34900, 46423, 49568, 49493, 49364, 49425, 49451, 49422}},
	{"lookup8", 258, 8, {9147, 17958, 24813, 24739, 24846, 24807, 24734, 24726, 24897, 24905}},
	{"lookup12", 258, 12,
		{7450, 14318, 16633, 16616, 16624, 16602, 16597, 16618, 16631, 16632}},
};
#define AFTER_READ 5u
#define WITHIN     40000u

static const struct krude *running;

static void *make(struct parameters *p, unsigned nics, struct error *error)
{
	return (void *)programs;
}

static void release(void *state)
{
}

static unsigned burst(
	void *state, enum program_side side, struct program_burst *b, struct operation *o)
{
	unsigned n = 0;

	o[n++] = (struct operation){.kind = OPERATION_COMPUTE, .amount = running->cycles};
	for (unsigned k = 0; k < running->reads; k++) {
		o[n++] = (struct operation){.kind = OPERATION_MEMORY,
			.memory = MEMORY_EMEM,
			.blocking = true,
			.amount = 4};
		o[n++] = (struct operation){.kind = OPERATION_COMPUTE, .amount = AFTER_READ};
	}
	o[n++] = (struct operation){.kind = OPERATION_SEND, .count = (uint8_t)b->n};
	return n;
}

static const struct program program_krude = {.name = "krude",
	.most = {[PROGRAM_INGRESS] = 1},
	.reflects = true,
	.make = make,
	.release = release,
	.burst = burst};

static int one(struct parameters *p, unsigned cores, uint64_t measured, struct validation *v,
	struct error *error)
{
	const struct machine_setup setup = {.program = &program_krude,
		.nics = 2,
		.leaves = 1,
		.in = 1,
		.out = 1,
		.frame = 64,
		.packets = 8000,
		.seed = 1};
	struct result *result = malloc(sizeof(*result));
	char text[16];
	uint64_t rate;
	int rc;

	if (!result)
		return error_set(error, -ENOMEM, "validation: no memory");
	snprintf(text, sizeof(text), "%u", cores);
	rc = parameters_set(p, "nic.ingress_cores", text, error);
	if (rc == 0)
		rc = machine_run(&setup, p, false, result, error);
	rate = rc == 0 ? result_packets(result) : 0;
	free(result);
	*v = (struct validation){.step = 3,
		.source = "Krude et al., CoNEXT 2021",
		.model = rate ? PS_PER_S / rate : 0,
		.given = PS_PER_S / (measured * 1000),
		.within = WITHIN};
	snprintf(v->what, sizeof(v->what), "a packet of %s, 4 x %u threads", running->name, cores);
	return rc;
}

int validate_nfp(
	const struct parameters *parameters, validation_say *say, void *object, struct error *error)
{
	struct parameters p = {0};
	int rc = parameters_copy(&p, parameters);

	if (rc < 0)
		return error_set(error, rc, "validation: no memory");
	rc = parameters_set(&p, "nic.threads", "4", error);
	if (rc == 0)
		rc = parameters_set(&p, "nic.memory_emem_banks", "1", error); /* one place */
	for (unsigned k = 0; k < sizeof(programs) / sizeof(*programs) && rc == 0; k++)
		for (unsigned step = 0; step < 10 && rc == 0; step++) {
			struct validation v;

			running = &programs[k];
			rc = one(&p, 5 * (step + 1), running->measured[step], &v, error);
			if (rc == 0)
				say(object, &v);
		}
	parameters_free(&p);
	return rc;
}
