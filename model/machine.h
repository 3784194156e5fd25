/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A whole machine in virtual time: NICs under switches, a host above them, one program on all NICs,
 * and traffic at the ports. machine_run builds it, warms it up, measures, and says what came of it.
 *
 *      wire ─▶ MAC ─▶ threads ─▶ DMA ─▶ link, switch, link ─▶ memory ─▶ threads ─▶ MAC ─▶ wire
 *              nfp.h  threads.h  dma.h       pcie.h                     threads.h  nfp.h
 *
 * or by the host: ... ─▶ root ─▶ host memory ─▶ cores (host.h) ─▶ root ─▶ ...
 */
#ifndef P2PNIC_MODEL_MACHINE_H
#define P2PNIC_MODEL_MACHINE_H

#include "model/program.h"
#include "model/result.h"

#define MACHINE_NICS       64u
#define MACHINE_SWITCHES   16u
#define MACHINE_NEIGHBOURS 8u

/* Another device under a switch: it writes to the next neighbour, or to the host, without end. */
struct machine_neighbour {
	uint64_t bit_per_s; /* of payload */
	uint32_t bytes;     /* of a transfer */
	unsigned lanes;
	unsigned below; /* which switch: 0 … leaves - 1 */
	bool to_host;   /* else to the next neighbour, or the first after the last */
	bool read;      /* it reads instead */
};

struct machine_setup {
	const struct program *program;
	unsigned nics;    /* one port each; all of them exist, whoever takes part */
	unsigned leaves;  /* 1: all under one switch; more: a top switch and this many below it */
	unsigned in, out; /* NICs that receive: the first so many; that send: the last */
	bool mix; /* a packet goes to any of those that send, by chance; else one each. Never back
		   */
	uint32_t frame;     /* bytes with FCS: 64 … 9018 */
	uint64_t bit_per_s; /* at each port that receives, with preamble and gap; 0: line rate */
	uint64_t warm, measure; /* ps; 0: as many as `packets` ask for */
	uint64_t packets;       /* to measure, of all ports together; 0: 20000 */
	uint64_t seed;
	struct machine_neighbour neighbour[MACHINE_NEIGHBOURS];
	unsigned neighbours;
};

/* Runs it. 0, or -EINVAL with what the setup or the parameters lack. `drain`: afterwards the
 * traffic ends, and the machine runs until nothing happens any more: then result.held must be 0. */
int machine_run(const struct machine_setup *, struct parameters *, bool drain, struct result *,
	struct error *);

/* A packet's last bit is out (nfp.h). */
struct machine;
void machine_left(struct machine *, uint32_t id);

#endif
