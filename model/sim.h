/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Virtual time: a heap of events, a seeded generator, and servers with their queues.
 *
 * Time is in picoseconds (ps), 64 bits: 213 days. Nothing here, and nothing that is built on it,
 * uses floating point; events of one moment happen in the order in which they were asked for. So a
 * seed gives the same run on every machine and compiler.
 *
 * A server is whatever many want and few can have at once: the issue slot of a core, a memory, a
 * DMA engine, a link. It works on `units` jobs at a time, each for as long as the job says, first
 * come first served; a job's answer comes `latency` after the server is done with it, while the
 * server works on the next. The simulation lists all servers: the busiest is the bottleneck.
 *
 * One thread. Who makes a server owns it, and keeps it as long as events happen.
 */
#ifndef P2PNIC_MODEL_SIM_H
#define P2PNIC_MODEL_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PS_PER_NS 1000ull
#define PS_PER_US 1000000ull
#define PS_PER_MS 1000000000ull
#define PS_PER_S  1000000000000ull

/* A time, never reached. */
#define SIM_NEVER UINT64_MAX

struct sim;

/* What happens: called at its time, with what was handed over with it. */
typedef void sim_call(struct sim *, void *object, uint64_t argument);

/* Objects of one kind, which come and go: one that is over is the next to be taken. Begins as 0. */
struct sim_pool {
	struct sim_pooled *spare, *all; /* that nobody uses; all that were made */
};

struct sim_event {
	uint64_t at, order;
	sim_call *call;
	void *object;
	uint64_t argument;
};

struct sim {
	uint64_t now;
	struct sim_event *heap;
	unsigned events, room;
	uint64_t order, happened;
	uint64_t random;        /* state of the generator */
	uint64_t measured_from; /* time of sim_measure */
	struct server *servers; /* all, in the order in which they were made */
	struct server **last;   /* end of that list */
	struct sim_pool jobs;   /* struct server_job */
};

void sim_init(struct sim *, uint64_t seed);
void sim_free(struct sim *);

/* Memory that there is; none left ends the process: a model has nothing to save. */
void *sim_memory(void *);

/* An object of `bytes`, always as many, with anything in it; it is given back, or goes with its
 * pool. */
void *sim_take(struct sim_pool *, size_t bytes);
void sim_give(struct sim_pool *, void *);
void sim_pool_free(struct sim_pool *);

/* `call` happens `ps` from now; 0: now, after what was asked for before. */
void sim_after(struct sim *, uint64_t ps, sim_call *call, void *object, uint64_t argument);

/* The next event; false: there is none any more. */
bool sim_step(struct sim *);

/* All events up to that time, and the time itself. */
void sim_run(struct sim *, uint64_t until);

/* From here on servers are measured; what was before is warming up. */
void sim_measure(struct sim *);

/* A number below `below`, which is not 0 (SplitMix64; Steele, Lea, Flood, OOPSLA 2014). */
uint64_t sim_random(struct sim *, uint64_t below);
uint64_t sim_mix(uint64_t); /* its bijection of 64 bits, for a stream of one's own */

/* Time that `bytes` take at `bit_per_s`, up to 10^12, rounded up to ps. */
#define SIM_TRANSFER_MAX (2u << 20)
uint64_t sim_transfer(uint64_t bytes, uint64_t bit_per_s);

/* --- Servers ---------------------------------------------------------------------------------- */

#define SERVER_NAME_BYTES 48u

struct server_job {
	struct server_job *next;
	struct server *server;
	uint64_t ps;
	sim_call *done;
	void *object;
	uint64_t argument;
};

struct server {
	char name[SERVER_NAME_BYTES]; /* "nic0 ctm": of what, and what */
	unsigned units;               /* jobs at a time */
	unsigned capacity;            /* jobs that wait, at most; 0: any number */
	uint64_t latency;             /* of an answer, beyond the time of service, in ps */

	unsigned busy, waiting;
	struct server_job *first, **end;
	uint64_t jobs, busy_ps;     /* since sim_measure: served; time of units at work */
	unsigned waiting_max;       /* since sim_measure */
	struct server *next_server; /* in the simulation's list */
};

/* Puts it in the simulation's list. */
void server_init(struct sim *, struct server *, const char *name, unsigned units, unsigned capacity,
	uint64_t latency);

/* A job of `ps`; `done` (NULL: nothing) happens when it is served, and `latency` later. False: the
 * queue is full, and nothing was taken. */
bool server_ask(struct sim *, struct server *, uint64_t ps, sim_call *done, void *object,
	uint64_t argument);

/* For what keeps its queues itself, as a link does: it was at work for `ps`, and that is a job. */
void server_worked(struct sim *, struct server *, uint64_t ps);

/* Parts of a million of the time since sim_measure in which its units were at work. */
unsigned server_utilisation(const struct sim *, const struct server *);

/* The server with the highest utilisation; NULL: there is none. */
const struct server *sim_bottleneck(const struct sim *);

#endif
