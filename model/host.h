/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The host of the paths that use it: memory behind the root complex, and cores that poll it, one
 * pool (threads.h) for each queue of each port.
 *
 * Whatever the NICs write and read passes the root's agent for memory a line of 64 B after another;
 * a part of a line costs more: it is read, changed and written. What does not fit in the ways of
 * the cache that DMA may fill (DDIO; Intel) goes to DRAM and comes back, and waits for its turn.
 */
#ifndef P2PNIC_MODEL_HOST_H
#define P2PNIC_MODEL_HOST_H

#include "model/threads.h"

struct host {
	struct station station;
	struct fabric *fabric;
	struct pool *core; /* number: port × queues + queue */
	unsigned cores, queues;
	struct server lines, dram;
	uint64_t line_ps, part_ps; /* for each line; more for an access that ends inside one */
	uint64_t dram_bit_per_s;
	unsigned missing; /* millionths of the lines that DDIO does not hold */
};

/* `busy`: ports whose queues are filled; `frame`: bytes of a packet in a buffer. */
void host_init(struct host *, struct machine *, struct parameters *, unsigned nics, unsigned busy,
	uint32_t frame, const struct pcie_link *, struct fabric *, struct node *root);
void host_free(struct host *);

#endif
