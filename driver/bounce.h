/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Bn: packets through main memory and a host processor, the way an ordinary software router moves
 * them. It exists to be measured against Wr and Rd; everything else is equal.
 *
 *   ingress i ──DMA write──▶ host memory ──this thread──▶ descriptor into e's memory
 *                                 └───────DMA read────────▶ egress e
 *
 * Host memory stands in for the peer. For each ordered pair (x, y) it holds what x takes for its
 * own mailbox in y's memory, and the buffers of ring x→y. The thread polls those words and carries
 * them on: descriptors of ring x→y into y's mailbox of x, consumer word of ring y→x and x's link
 * likewise. NICs need not know: the same rings, the same words, other bus addresses.
 *
 * The thread polls while there is traffic (Bn is CPU-driven) and sleeps when there is none: it
 * tells the NICs so in their `asleep` words, and their doorbell for every peer is its eventfd. When
 * the driver goes, so does this thread: pairs of Bn are opened anew by the next driver.
 */
#ifndef DRIVER_BOUNCE_H
#define DRIVER_BOUNCE_H

#include "driver/driver_nic.h"

struct bounce;

/* Host memory for `nics` NICs and rings of `slots`, and the thread, pinned to `core` (-1: any). */
int bounce_new(struct bounce **, unsigned nics, uint32_t slots, uint32_t buffer_bytes, int core);
void bounce_free(struct bounce *);

/* Windows of x for its peer y: mailbox (write), doorbell (write), buffers of x→y (write), buffers
 * of y→x (read). -errno, with device_error of x. */
int bounce_map(struct bounce *, struct driver_nic *x, unsigned y, struct bus_addr mailbox,
	struct bus_addr doorbell, struct bus_addr out_buffers, struct bus_addr in_buffers);
uint64_t bounce_buffer_bytes(const struct bounce *); /* of one ring */

/* Zeroes the mailboxes that stand in for those of a closed pair. */
void bounce_clear(struct bounce *, unsigned x, unsigned y);

/* The pair is carried from then on (both directions), in its life `epoch`; until closed. */
void bounce_open(struct bounce *, struct driver_nic *x, struct driver_nic *y, uint32_t epoch);
void bounce_close(struct bounce *, unsigned x, unsigned y);

/* Processor seconds of the thread so far. */
double bounce_cpu(const struct bounce *);

#endif
