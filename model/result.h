/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What came of a run. Every packet that came in at a port was sent, dropped for a named reason, or
 * is still inside: result_conserved says whether that holds.
 */
#ifndef P2PNIC_MODEL_RESULT_H
#define P2PNIC_MODEL_RESULT_H

#include "model/sim.h"

#include <jansson.h>

/* X(name, text); on the hardware all of them happen at the receiving port. */
#define RESULT_DROPS(X)                                                                            \
	X(RATE, "the port receives no more packets a second")                                      \
	X(BUFFERS, "no receive buffer is free")

enum result_drop {
#define RESULT_DROP(name, text) RESULT_DROP_##name,
	RESULT_DROPS(RESULT_DROP)
#undef RESULT_DROP
		RESULT_DROP_COUNT
};

#define RESULT_SERVERS 512u
#define RESULT_SAMPLES 16384u

struct result_server {
	char name[SERVER_NAME_BYTES];
	unsigned utilisation; /* millionths */
	uint64_t jobs;
};

struct result {
	/* All of the run: the identity. */
	uint64_t in, sent, drop[RESULT_DROP_COUNT], held;

	/* Of the time that was measured. */
	uint64_t ps;                         /* its length */
	uint64_t measured_in, measured_sent; /* packets */
	uint64_t measured_bytes;             /* of frames sent, with FCS */
	uint64_t measured_dma;               /* DMA accesses of all NICs */

	/* Of stamped packets, last bit in .. last bit out, ps; sorted by result_finish. */
	uint64_t latency[RESULT_SAMPLES];
	unsigned samples;

	struct result_server server[RESULT_SERVERS]; /* busiest first */
	unsigned servers;
};

/* Copies what the servers of the simulation did, and sorts. */
void result_finish(struct result *, const struct sim *);

bool result_conserved(const struct result *);

/* In packets or bits of frames a second. */
uint64_t result_packets(const struct result *);
uint64_t result_bits(const struct result *);

/* Of latency, in ps; 0: there are no samples. `millionths`: 500000 is the median. */
uint64_t result_percentile(const struct result *, unsigned millionths);

/* A new reference. Keys of the counts above, and "bottleneck", "servers", "latency_ps". */
json_t *result_json(const struct result *);

#endif
