/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The path of one lookup through an image, read by read, and what an image is made of: for
 * `p2pnic fib` and whoever wants to know what a table costs.
 *
 * A read is a load whose address depends on the one before it. Hardware pays for reads, a processor
 * for lines of 64 bytes that it has not cached; both are counted, and bytes are what the lookup
 * needs.
 */
#ifndef P2PNIC_FIB_TRACE_H
#define P2PNIC_FIB_TRACE_H

#include "fib_image.h"

#define TRACE_STEPS_MAX 32u

struct trace_step {
	const char *what; /* "root", "ranges", "bitmap", "ranges of entries", … */
	uint64_t offset;  /* of the node in the image */
	unsigned depth;   /* bits of the address used before this step */
	unsigned bits;    /* used in this step */
	unsigned runs;    /* in the node (or the part of it) that was searched; 0: an array */
	unsigned reads, bytes, lines;
};

struct trace {
	struct trace_step step[TRACE_STEPS_MAX];
	unsigned steps;
	unsigned reads, bytes, lines; /* all steps together */
	uint16_t next_hop;
};

void trace_lookup(const struct fib *fib, struct fib_ipv6 address, struct trace *trace);

struct trace_part {
	const char *name;
	uint64_t count; /* nodes, rows, entries */
	uint64_t bytes;
};

/* The parts of an image; their bytes add up to its size. At most `max`; returns how many. */
unsigned trace_parts(const struct fib *fib, struct trace_part *part, unsigned max);

#endif
