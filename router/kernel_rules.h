/* SPDX-License-Identifier: BSD-3-Clause */
/* The kernel's routing rules (`ip rule`), of which NICs know nothing: are there others than the
 * three that every namespace has? */
#ifndef ROUTER_KERNEL_RULES_H
#define ROUTER_KERNEL_RULES_H

#include <linux/netlink.h>
#include <stdbool.h>
#include <stdint.h>

#include "router/netns.h"

struct kernel_rule {
	uint32_t priority;
	uint32_t table; /* 0: none, or each VRF's own */
	uint8_t family; /* 4, 6 */
	uint8_t action; /* FR_ACT_… */
	bool vrf;       /* FRA_L3MDEV: by the link's VRF */
};

/* False: no rule of IPv4 or IPv6. The message is whole, and ends at a multiple of four bytes. */
bool kernel_rule_parse(const struct nlmsghdr *, struct kernel_rule *);

typedef void kernel_rule_call(void *context, const struct kernel_rule *);

/* How many others, of both families; -errno. Asks the kernel, which answers at once. call: NULL, or
 * for each of them. */
int kernel_rules_others(const struct netns *, kernel_rule_call *call, void *context);

#endif
