/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Many runs of machines, each in a process of its own, as many at a time as there are processors.
 * What a run is says struct run; what came of it is struct answer, short enough to keep thousands.
 */
#ifndef P2PNIC_MODEL_RUNS_H
#define P2PNIC_MODEL_RUNS_H

#include "model/machine.h"

#define ANSWER_SERVERS     8u
#define ANSWER_PERCENTILES 101u

struct run {
	struct machine_setup setup;
	const struct parameters *parameters;
	uint64_t draw;    /* seed of the values, each from its range; 0: as they are */
	const char *name; /* NULL, or a parameter that is something else here… */
	uint64_t value;   /* …in its base unit */
};

struct answer {
	bool done;
	char error[200]; /* !done: why; "": the process died */
	uint64_t in, sent, drop[RESULT_DROP_COUNT], held;
	uint64_t packets, bits;               /* a second */
	uint64_t dma;                         /* accesses a packet, thousandths */
	uint64_t latency[ANSWER_PERCENTILES]; /* ps */
	unsigned samples;
	struct result_server server[ANSWER_SERVERS]; /* busiest first, each kind once (runs.c) */
	unsigned servers;
};

/* Runs it in this process. */
void run_one(const struct run *, struct answer *);

/* All of them; answer[k] is of run[k]. progress (NULL: none): after each. 0, or -errno with the
 * reason: no processes, or a run that failed, whose reason it is. */
int runs_do(const struct run *, unsigned n, struct answer *answer,
	void (*progress)(unsigned done, unsigned n), struct error *);

/* "nic ctm" of "nic3 ctm": servers of one kind are alike. */
void server_kind(char kind[SERVER_NAME_BYTES], const char *name);

#endif
