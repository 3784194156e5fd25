/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A program of a NIC, as the model runs it. A thread takes a burst of packets and asks the program
 * what that costs: a list of operations, which the thread then does one after another, in virtual
 * time. The program decides at once, the thread takes the time.
 *
 * So a program may be a table (the published one), or the firmware itself on the board that records
 * what it does (model/board.h).
 */
#ifndef P2PNIC_MODEL_PROGRAM_H
#define P2PNIC_MODEL_PROGRAM_H

#include "model/parameters.h"

#include <stdbool.h>
#include <stdint.h>

#define PROGRAM_BURST      64u   /* packets of a burst, at most */
#define PROGRAM_OPERATIONS 1024u /* of a burst, at most */
#define PROGRAM_BATCH      255u  /* as a number of packets: program.batch of the parameters */
#define PROGRAM_HOST       255u  /* as target of a DMA access: memory of the host */

enum operation_kind {
	OPERATION_COMPUTE,   /* `amount` cycles of the core; other threads of it wait */
	OPERATION_MEMORY,    /* an access of `amount` bytes to `memory` */
	OPERATION_DMA_WRITE, /* `amount` bytes to `target` */
	OPERATION_DMA_READ,  /* `amount` bytes from `target` */
	OPERATION_SEND,      /* packets first … first + count go out of this NIC's port */
};

/* Memories of a NIC, nearest first (nic.memory_* of the parameters). */
enum memory {
	MEMORY_LOCAL,
	MEMORY_CLS,
	MEMORY_CTM,
	MEMORY_IMEM,
	MEMORY_EMEM,
	MEMORY_DRAM,
	MEMORIES
};

/* What is true at the target when a DMA write has landed, or here when a read is complete. */
enum operation_effect {
	EFFECT_NONE,
	EFFECT_PUBLISH, /* packets first … first + count are visible in the target's ring */
	EFFECT_RETURN,  /* `count` places of the ring to the target are free again */
};

struct operation {
	enum operation_kind kind;
	enum operation_effect effect;
	enum memory memory; /* of OPERATION_MEMORY; where a DMA access goes in the target */
	bool write;         /* of OPERATION_MEMORY */
	bool blocking;      /* the thread yields until it is answered (a write by DMA: has left) */
	uint8_t target;     /* number of a NIC, or PROGRAM_HOST */
	uint8_t first, count; /* packets of the burst, by their index in it */
	uint32_t amount;      /* cycles or bytes */
	uint64_t delay;       /* ps until the effect is seen, beyond the access itself */
};

/* A packet of a burst. */
struct program_packet {
	uint32_t id;          /* of the machine's list of packets; the program's to carry along */
	uint32_t bytes;       /* frame without FCS */
	uint32_t destination; /* IPv4, host order */
	uint8_t ingress, egress; /* number of a NIC */
	uint8_t queue;           /* of the host, if it goes there */
};

struct program_burst {
	uint8_t nic;     /* where it runs */
	unsigned thread; /* of the side, which asks: what it was told before is done */
	bool more;       /* further packets have arrived already: they will be taken soon */
	uint64_t now;    /* ps */
	unsigned n;      /* 0: a poll that found none; what is held goes now */
	struct program_packet packet[PROGRAM_BURST];
};

/*
 * Where a packet is on its way when a thread takes it. PROGRAM_DONE is for a program that publishes
 * when packets are through, in the order of their arrival, and not when they are taken: the thread
 * that has done what came before asks it once more, with all that are in order; `more` then means
 * that the next packet to the same target has arrived already. At the ingress such a program takes
 * one packet at a time.
 */
enum program_side {
	PROGRAM_INGRESS, /* it came in at the port */
	PROGRAM_DONE,    /* the operations of its ingress are done */
	PROGRAM_HOST_IN, /* it was published to the host; a core of the host takes it */
	PROGRAM_EGRESS,  /* it was published to this NIC */
	PROGRAM_SIDES,
};

struct program {
	const char *name;
	unsigned most[PROGRAM_SIDES]; /* packets of a burst; 0: there is no such side */
	bool by_host;  /* packets go to a queue of the host first (target PROGRAM_HOST) */
	bool reflects; /* packets go out of the port at which they came: no ring, no egress side */
	bool keeps; /* receive buffers are free with EFFECT_RETURN, not when the thread is done */
	bool polls; /* an ingress thread that finds no packet asks once (n = 0) before it waits */

	/* State for `nics` NICs, NULL with the reason: cannot be. */
	void *(*make)(struct parameters *, unsigned nics, struct error *error);
	void (*release)(void *state);

	/* Fills `operation` (PROGRAM_OPERATIONS places); how many. Operations name packets by
	 * their index in `burst->packet`; a program that held packets back from an earlier burst
	 * puts them in front of the array first (n grows), so that it can name them. */
	unsigned (*burst)(void *state, enum program_side, struct program_burst *burst,
		struct operation *operation);
};

/* program_paper routes, program_fixed knows the port (the publication's two variants).
 * program_p2pnic_held is program_p2pnic with one change that our firmware has not: docs/model.md.
 */
extern const struct program program_paper, program_fixed, program_rd, program_bn, program_l3fwd,
	program_p2pnic, program_p2pnic_held;

#endif
