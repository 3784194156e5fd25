/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The DMA engine of a NIC: two queues, for writes and for reads, with `slots` places each. A write
 * occupies the stage of writes for a time that depends on its size, a read that of reads, and each
 * at the same time a stage that they share. So writes alone, reads alone and both together have
 * limits of their own (Neugebauer et al., SIGCOMM 2018). Behind them the transfer goes to the
 * device, which has a tag for each request that is in flight.
 */
#ifndef P2PNIC_MODEL_DMA_H
#define P2PNIC_MODEL_DMA_H

#include "model/pcie.h"

struct dma;

/* By nic.dma_* of the parameters, of which the caller asks whether any was missing. NULL, with the
 * reason: it has no slots, or no tags. */
struct dma *dma_new(struct sim *, struct parameters *, const char *nic, struct node *device,
	struct error *error);
void dma_free(struct dma *);

/* False: that queue is full, nothing was taken. The transfer's calls happen as pcie.h says. A
 * place is free again when a write has left, when a read is done. */
bool dma_submit(struct dma *, const struct transfer *);

/* `call` happens once, when a place of that queue is free, and belongs to whoever is called: first
 * come, first served. */
void dma_wait(struct dma *, bool read, sim_call *call, void *object, uint64_t argument);

/* Places that are taken. */
unsigned dma_queued(const struct dma *, bool read);

#endif
