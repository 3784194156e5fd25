/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A board in virtual time (firmware/board.h). The firmware runs on it unchanged, on real packets;
 * nothing takes time here. Each DMA access is recorded in the order in which the firmware issued
 * it, so that a model of a NIC can say how long it takes.
 *
 * The port receives what `waiting` announces: frames of one length that lie in its buffers. It is
 * done at once with what it is given to send. One thread; the caller owns all memory.
 */
#ifndef P2PNIC_MODEL_BOARD_H
#define P2PNIC_MODEL_BOARD_H

#include "firmware/nic.h"

#define MODEL_BUFFERS    512u
#define MODEL_WINDOWS    16u
#define MODEL_OPERATIONS 1024u

enum model_kind {
	MODEL_FRAME,   /* DMA write of a packet */
	MODEL_PUBLISH, /* DMA write of descriptors */
	MODEL_WORD,    /* DMA write of an index or a doorbell */
	MODEL_READ,    /* DMA read; the firmware needs the answer */
	MODEL_KINDS,
};

struct model_operation {
	enum model_kind kind;
	unsigned window; /* index of the target's window */
	uint32_t bytes;
};

struct model_window {
	uint64_t bus, bytes;
	uint8_t *memory;
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
	uint64_t count[MODEL_KINDS], faults;
};

/* Makes `memory` reachable at a bus address; its number, or -1: no room. Windows are disjoint. */
int model_board_window(struct board *, uint64_t bus, uint8_t *memory, uint64_t bytes);

#endif
