/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Whether the mirror (kernel_state.h) is what the kernel has, without changing it. All is dumped
 * again and each object compared; what changes meanwhile is no difference. So:
 *
 *   begin ──> dumps: differs? ──> events that were under way ──> end ──> steps: was it shown?
 *
 * An event that names a key during the look settles it: it says more than the dump. What still
 * differs is looked at a second time, and only keys that differ both times have drifted. Between
 * begin and end the state is in a round (kernel_state_begin), so no other may begin; a look that is
 * not ended is ended by the next round.
 *
 * Links, next-hop objects and routes are compared whole, the order of routes of one key by which is
 * first. What the kernel changes without a message is not: of addresses, whether they are there
 * while tentative, and their flags (net/ipv6/addrconf.c); of neighbours, the state
 * (net/core/neighbour.c), so only the MAC address of those that are valid is compared.
 *
 * Method: diff, wait, diff again, as SONiC's route_check does (sonic-utilities#1344).
 */
#ifndef ROUTER_KERNEL_LOOK_H
#define ROUTER_KERNEL_LOOK_H

#include "router/kernel_state.h"

/* Kept by key; of more than this in one look the others are not. A round mends all the same. */
#define KERNEL_LOOK_MAX   256u
/* Nodes of one step, below a millisecond. */
#define KERNEL_LOOK_NODES 8192u

struct kernel_look {
	struct kernel_state *state;
	struct kernel_value *parsed; /* room for the largest */
	struct kernel_key found[KERNEL_LOOK_MAX], before[KERNEL_LOOK_MAX];
	size_t n, n_before; /* of this look; of the one before it */
	unsigned looks;     /* that began */
	unsigned kind;      /* of the next step… */
	uint32_t node;      /* …and the node before it */
	uint32_t round;     /* of this look */
	bool overtaken;     /* a round began before the last step: it says nothing */
};

int kernel_look_open(struct kernel_look *, struct kernel_state *); /* -ENOMEM */
void kernel_look_close(struct kernel_look *);

/* A look begins; what the one before found is kept to compare with. */
void kernel_look_begin(struct kernel_look *);
/* A message of a dump. */
void kernel_look_message(struct kernel_look *, const struct nlmsghdr *);
/* All was dumped, and events up to then were taken. */
void kernel_look_end(struct kernel_look *);
/* After the end, until false. Look at `overtaken` then. */
bool kernel_look_step(struct kernel_look *);

/* After the second look: leaves in found[] what the first had found too; how many. */
size_t kernel_look_drifted(struct kernel_look *);

#endif
