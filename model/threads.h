/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Threads that run a program (program.h) on cores, and the rings between them.
 *
 * A station is a NIC or the host: memories, and a way to others. It has pools. A pool is threads on
 * cores that take bursts of packets from the pool's queues: the ingress and the egress threads of a
 * NIC, or a polling core of the host. A core does one thing at a time, first come first served; a
 * thread that waits for memory or a DMA access leaves it to the others, as on an FPC.
 *
 * A ring leads from a pool to a queue of another. A packet is admitted to a pool's queue when its
 * ring has a free place, and has the place from then on until the taker returns it; other packets
 * of the same ring are held meanwhile, in their order, and those of other rings pass. Nothing is
 * dropped here.
 *
 *      offered ─▶ [place?] ─▶ queue ─▶ thread: operations ─▶ (done, in order) ─▶ published
 *                   │ no                                                             │
 *                   ▼                                                                ▼
 *                  held ◀─────────────── places returned ◀──────────────────── next pool's queue
 */
#ifndef P2PNIC_MODEL_THREADS_H
#define P2PNIC_MODEL_THREADS_H

#include "model/dma.h"
#include "model/program.h"

struct machine;

/* --- Packets ---------------------------------------------------------------------------------- */

#define PACKET_NONE UINT32_MAX

struct packet {
	uint64_t arrived;  /* last bit */
	uint32_t next;     /* in a queue */
	uint32_t sequence; /* in its ring */
	uint32_t bytes;    /* without FCS */
	uint8_t ingress, egress;
	uint8_t queue; /* of the host: as a hash of its flow chose */
	bool stamped;
	sim_call *done; /* called with `object` when the port has sent it; or NULL */
	void *object;
};

struct packet_queue {
	uint32_t first, last, n;
};

/* --- Rings ------------------------------------------------------------------------------------ */

struct ring {
	struct pool *from, *to;
	unsigned queue; /* of `to` */
	unsigned slots, free;
	struct packet_queue held;
	/* Sequence numbers: of the next packet to be admitted, the first that is not done, the
	 * first that is not seen by `to`. Until it is done, and again until it is seen, a packet
	 * that is ahead of its turn is noted at its place. */
	uint32_t admitted, next, seen;
	uint32_t *place; /* by sequence % slots; PACKET_NONE: not there yet */
};

/* --- Pools ------------------------------------------------------------------------------------ */

struct thread {
	struct pool *pool;
	struct server *core;
	struct thread *next;         /* in a list of those that wait */
	struct operation *operation; /* grows */
	unsigned operations, room, at;
	struct ring *in;        /* that fed the burst; NULL: the port did */
	enum program_side side; /* of the operations */
	unsigned n;
	uint32_t packet[PROGRAM_BURST];
	uint64_t since;   /* cycles of work since its last access to memory */
	unsigned sending; /* packets of a blocking OPERATION_SEND on their way */
	bool polled;      /* found no packet, and asked (program->polls) */
};

struct threads_waiting {
	struct thread *first, **end;
};

struct pool {
	struct station *station;
	enum program_side side;
	unsigned index; /* among pools of this side of the station */
	uint64_t poll;  /* ps from look to look of a thread without work; 0: it is woken */
	unsigned cores, threads, queues, turn;
	struct server *core;
	struct thread *thread;
	struct packet_queue *queue; /* by source */
	unsigned waiting;           /* packets in all queues */
	struct threads_waiting idle;
};

struct station {
	struct machine *machine;
	unsigned number; /* of the NIC, or PROGRAM_HOST */
	uint64_t hz;
	struct server memory[MEMORIES];
	uint64_t memory_ps[MEMORIES]; /* for each 64 B that an access begins */
	uint64_t spacing[MEMORIES];   /* cycles of a core from one access of a thread to the next */
	struct node *node;
	struct dma *dma;        /* NULL: accesses go to the link as they are (a host's stores) */
	uint64_t accesses;      /* by DMA, that its threads began */
	struct sim_pool access; /* struct access: its DMA accesses */
};

void station_free(struct station *);

/* Names of its cores: "NAME core". Threads are idle; `queues` sources. */
void pool_init(struct pool *, struct station *, enum program_side, const char *name, unsigned cores,
	unsigned threads, unsigned queues, uint64_t poll);
void pool_free(struct pool *);

void ring_init(struct ring *, struct pool *from, struct pool *to, unsigned queue, unsigned slots);
void ring_free(struct ring *);

/* Packets for a queue of the pool, in their order. */
void pool_offer(struct pool *, unsigned queue, const uint32_t *packet, unsigned n);

/* --- What the threads need of the machine (machine.c) ----------------------------------------- */

struct sim *machine_sim(struct machine *);
struct packet *machine_packet(struct machine *, uint32_t id);
const struct program *machine_program(struct machine *);
unsigned machine_most(struct machine *, enum program_side); /* packets of a burst */
void *machine_state(struct machine *);                      /* of the program */

/* Where a packet that `pool` has goes next; NULL: out of a port. */
struct ring *machine_ring(struct machine *, const struct pool *, const struct packet *);
/* The ring that leads into a queue of `pool`; NULL: a port does. */
struct ring *machine_ring_into(struct machine *, const struct pool *, unsigned queue);
/* From one NIC to another, of a program that is not by the host. */
struct ring *machine_ring_between(struct machine *, unsigned from, unsigned to);
/* By number, or PROGRAM_HOST. */
struct station *machine_station(struct machine *, unsigned number);
/* The packet goes out of its egress port; `done` when the port has it no more. */
void machine_send(struct machine *, struct station *, uint32_t id, sim_call *done, void *object);
/* Receive buffers of the NIC that are free again. */
void machine_buffers(struct machine *, struct station *, unsigned n);

#endif
