/* SPDX-License-Identifier: BSD-3-Clause */
/* One dump of a netlink family, at once: the kernel makes it while it is read. */
#ifndef ROUTER_NETLINK_DUMP_H
#define ROUTER_NETLINK_DUMP_H

#include <libmnl/libmnl.h>

#include "router/netns.h"

/* Room for a message that asks, and for each that answers; the kernel fills no more. */
#define NETLINK_DUMP_BYTES 32768u

/*
 * Sends `request`, a whole message with NLM_F_DUMP, in a namespace, and gives each answer to
 * `call`. -errno; -EINTR: what was dumped changed meanwhile, and `call` may have missed some.
 */
int netlink_dump(const struct netns *, int protocol, const struct nlmsghdr *request, mnl_cb_t call,
	void *context);

#endif
