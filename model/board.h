/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A board in virtual time (firmware/board.h). The firmware runs on it unchanged, on real packets;
 * nothing takes time here. What the firmware does to memories, each DMA access and each access to
 * its own memory that it announces (board_cost), is recorded in its order, so that a model of a NIC
 * can say how long it takes.
 *
 * The port receives what `waiting` announces: frames of one length that lie in its buffers. It is
 * done at once with what it is given to send. One thread; the caller owns all memory.
 */
#ifndef P2PNIC_MODEL_BOARD_H
#define P2PNIC_MODEL_BOARD_H

#include "firmware/nic.h"

#define MODEL_BUFFERS    512u
#define MODEL_WINDOWS    (2 * P2PNIC_NICS_MAX)
#define MODEL_OPERATIONS 1024u

enum model_kind {
	MODEL_FRAME,   /* DMA write of a packet */
	MODEL_PUBLISH, /* DMA write of descriptors */
	MODEL_WORD,    /* DMA write of an index or a doorbell */
	MODEL_READ,    /* DMA read; the firmware needs the answer */
	MODEL_SEND,    /* frames are given to the port */
	MODEL_COST,    /* accesses to own memory */
	MODEL_KINDS,
};

struct model_operation {
	enum model_kind kind;
	union {
		unsigned window;      /* DMA: index of the target's window */
		enum board_cost what; /* MODEL_COST */
	};
	union {
		uint32_t bytes; /* DMA */
		uint32_t times; /* MODEL_SEND: frames; MODEL_COST: accesses */
	};
};

/* A descriptor that was written, and that its reader does not see yet. */
struct model_word {
	uint8_t *to;
	uint64_t word;
};

struct model_window {
	uint64_t bus, bytes;
	uint8_t *memory;
	/* NULL: descriptors are there as soon as they are written. Else room for a ring's slots (a
	 * power of two, `later_mask` + 1), where they wait for model_board_land. */
	struct model_word *later;
	uint32_t later_mask, written, landed;
};

struct board {
	uint8_t *packets; /* packet memory (BAR4) */
	struct model_window window[MODEL_WINDOWS];
	unsigned windows;

	uint32_t buffer[MODEL_BUFFERS]; /* the port's; the next frame lies in buffer[next] */
	unsigned buffers, next, burst, sent;
	unsigned waiting; /* frames that have arrived and were not received (caller) */
	uint32_t length;  /* of each */
	uint64_t clock_ns;

	/* Those of the running burst; the caller sets operations to 0. `lost`: found no room. */
	struct model_operation operation[MODEL_OPERATIONS];
	unsigned operations;
	uint64_t lost;
	uint64_t count[MODEL_KINDS], faults; /* of MODEL_COST: operations, … */
	uint64_t cost[BOARD_COSTS];          /* …and accesses */
};

/* Makes `memory` reachable at a bus address; its number, or -1: no room. Windows are disjoint. */
int model_board_window(struct board *, uint64_t bus, uint8_t *memory, uint64_t bytes);

/* The next `n` descriptors that wait in the window are visible; of fewer, all. */
void model_board_land(struct model_window *, unsigned n);

#endif
