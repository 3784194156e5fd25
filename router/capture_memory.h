/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The memory of a capture: a memfd that the router makes, NICs write and one client reads.
 *
 *     0        struct capture_memory
 *     offset   the ring of a NIC (p2pnic/capture.h), as the answer to {"capture"} says
 *
 * Whoever has it can write all of it, so the client believes nothing there that it has not checked.
 */
#ifndef ROUTER_CAPTURE_MEMORY_H
#define ROUTER_CAPTURE_MEMORY_H

#include <p2pnic/capture.h>

#include <stdatomic.h>

#define CAPTURE_MEMORY_HEADER 4096u

struct capture_memory {
	/* (router) By number of the NIC: how often its ring was begun. A NIC that was started again
	 * writes from slot 0 on, into a ring that was zeroed. */
	_Atomic uint32_t life[P2PNIC_NICS_MAX];
};
_Static_assert(sizeof(struct capture_memory) <= CAPTURE_MEMORY_HEADER, "it ends before the rings");

#endif
