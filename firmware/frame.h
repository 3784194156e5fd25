/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef P2PNIC_FRAME_H
#define P2PNIC_FRAME_H

#include <stdint.h>

/* A received frame, in the port's memory: from the destination MAC on, without FCS. */
struct frame {
	uint8_t *data;
	uint32_t length;
};

/* The first 32 bytes of a frame, in registers: Ethernet header, and IP up to the destination. Two
 * halves of two 64-bit words each: a vector register each where the processor has some. */
typedef uint64_t frame_half __attribute__((vector_size(16)));
struct frame_head {
	frame_half low, high;
};
#define FRAME_HEAD_BYTES 32u
_Static_assert(sizeof(struct frame_head) == FRAME_HEAD_BYTES, "two registers");

#endif
