/* SPDX-License-Identifier: BSD-3-Clause */
/* The kernel's routing rules (`ip rule`), of which NICs know nothing: are there others than the
 * three that every namespace has? */
#ifndef ROUTER_KERNEL_RULES_H
#define ROUTER_KERNEL_RULES_H

#include "router/netns.h"

/* How many others, of both families; -errno. Asks the kernel, which answers at once. */
int kernel_rules_others(const struct netns *);

#endif
