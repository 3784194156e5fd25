/* SPDX-License-Identifier: BSD-3-Clause */
/* What the kernel has and NICs do not do, so that it is punted: told to the operator once, as it is
 * slow, and shown by kind. */
#ifndef ROUTER_KERNEL_UNABLE_H
#define ROUTER_KERNEL_UNABLE_H

#include "router/kernel_way.h"

struct kernel_unable {
	unsigned enslaved;          /* taps that are part of a bridge, bond or VRF */
	unsigned vlans;             /* above taps, that NICs do not forward to */
	unsigned objects;           /* next-hop objects with an encapsulation */
	char tap[KERNEL_NAME_MAX];  /* one of them, "" if there is none */
	char vlan[KERNEL_NAME_MAX]; /* likewise */
};

/* Those there are now. */
struct kernel_unable kernel_unable_count(const struct kernel_ways *);

/* Is it a VLAN above a tap that NICs do not forward to? */
bool kernel_unable_vlan(
	const struct kernel_ways *, uint32_t ifindex, const struct kernel_value *link);

#endif
