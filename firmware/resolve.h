/* SPDX-License-Identifier: BSD-3-Clause */
/* From the next hop of a lookup to an adjacency: where the host's tables lead
 * (p2pnic/adjacency.h). */
#ifndef P2PNIC_FIRMWARE_RESOLVE_H
#define P2PNIC_FIRMWARE_RESOLVE_H

#include "nic.h"

struct burst;

/* Gives each looked up packet an egress and its new head, or a verdict. Heads are rewritten here,
 * while adjacency and head are at hand: a loop of its own took 4 % of a packet's time
 * (bench/firmware_loop). */
void resolve(const struct nic *, struct burst *);

/* For a capture: the flow of a packet that was looked up, and the adjacency that its next hop leads
 * to. */
void resolve_again(const struct nic *, const struct burst *, unsigned k, uint16_t hop,
	uint32_t *flow, uint16_t *adjacency);

#endif
