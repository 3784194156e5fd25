/* SPDX-License-Identifier: BSD-3-Clause */
/* A program's list of operations, one after another: for programs that are tables. */
#ifndef P2PNIC_MODEL_OPERATIONS_H
#define P2PNIC_MODEL_OPERATIONS_H

#include "model/program.h"

struct operations {
	struct operation *operation;
	unsigned n;
};

/* The first `n` packets of a burst from `first` on, of one target. */
struct operation_run {
	uint8_t first, count;
};

static inline void compute(struct operations *o, uint64_t cycles)
{
	if (cycles)
		o->operation[o->n++] =
			(struct operation){.kind = OPERATION_COMPUTE, .amount = (uint32_t)cycles};
}

static inline void read_memory(struct operations *o, enum memory memory, uint32_t bytes)
{
	o->operation[o->n++] = (struct operation){
		.kind = OPERATION_MEMORY, .memory = memory, .blocking = true, .amount = bytes};
}

/* A packet's bytes, or what else has no effect of its own. */
static inline void access_dma(
	struct operations *o, bool read, unsigned target, uint64_t bytes, bool blocking)
{
	o->operation[o->n++] =
		(struct operation){.kind = read ? OPERATION_DMA_READ : OPERATION_DMA_WRITE,
			.memory = MEMORY_EMEM,
			.blocking = blocking,
			.target = (uint8_t)target,
			.amount = (uint32_t)bytes};
}

static inline void tell(struct operations *o, enum operation_effect effect, unsigned target,
	uint64_t bytes, struct operation_run run, uint64_t delay)
{
	o->operation[o->n++] = (struct operation){.kind = OPERATION_DMA_WRITE,
		.effect = effect,
		.memory = MEMORY_CTM,
		.target = (uint8_t)target,
		.first = run.first,
		.count = run.count,
		.amount = (uint32_t)bytes,
		.delay = delay};
}

/* Packets of the burst, one after another; the thread waits for the last. */
static inline void send_out(struct operations *o, unsigned count, uint64_t cycles)
{
	for (unsigned k = 0; k < count; k++) {
		compute(o, cycles);
		o->operation[o->n++] = (struct operation){.kind = OPERATION_SEND,
			.blocking = k + 1 == count,
			.first = (uint8_t)k,
			.count = 1};
	}
}

#endif
