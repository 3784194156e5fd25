/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the kernel would filter or translate of packets that it forwards, and NICs forward as they
 * are: chains of nftables (also those of iptables-nft) at the hooks that such packets meet, and
 * tables of the older iptables.
 */
#ifndef ROUTER_KERNEL_FILTERS_H
#define ROUTER_KERNEL_FILTERS_H

#include <linux/netlink.h>
#include <stdbool.h>
#include <stdint.h>

#include "router/netns.h"

#define KERNEL_FILTER_NAME 256u /* NFT_NAME_MAXLEN */

struct kernel_filter {
	const char *family; /* as nft has it: inet, ip, ip6 */
	const char *hook;   /* prerouting, forward, postrouting; NULL: a table of iptables */
	char table[KERNEL_FILTER_NAME];
	char chain[KERNEL_FILTER_NAME];
	uint32_t rules;
	bool drops; /* its policy */
};

/* False: no chain that does anything to forwarded packets. The message is whole, and ends at a
 * multiple of four bytes. */
bool kernel_filter_parse(const struct nlmsghdr *, struct kernel_filter *);

typedef void kernel_filter_call(void *context, const struct kernel_filter *);

/* Each chain that does anything, by nfnetlink: -errno; 0 too where the kernel has no nftables. */
int kernel_filters_chains(const struct netns *, kernel_filter_call *call, void *context);
/* Each table of iptables that was ever used, of which nothing more is known without iptables. */
int kernel_filters_tables(const struct netns *, kernel_filter_call *call, void *context);

#endif
