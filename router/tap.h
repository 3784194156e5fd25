/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A tap: the network interface that a NIC is to the kernel. It exists as long as one process has
 * its descriptor, whatever it is called since.
 */
#ifndef ROUTER_TAP_H
#define ROUTER_TAP_H

#include <p2pnic/types.h>

#include "router/netns.h"

/*
 * Makes a tap of that name in the namespace, without carrier; frames come and go whole, with
 * checksums. Its descriptor, non-blocking, or -errno with a sentence:
 *   -EEXIST  there is an interface of that name, which is left alone
 *   -EPERM   CAP_NET_ADMIN is missing (and CAP_SYS_ADMIN, to go to another namespace)
 */
int tap_make(const struct netns *, const char *name, unsigned mtu, struct error *error);

/* Its interface is there: it was not deleted. */
bool tap_is_there(int tap);
/* It is in that namespace. */
bool tap_is_in(int tap, const struct netns *);

/* Its number in that namespace; 0: it is not there. */
uint32_t tap_index(int tap, const struct netns *);
int tap_set_mtu(int tap, const struct netns *, unsigned mtu);

int tap_mac(int tap, struct mac_addr *);
int tap_set_mac(int tap, struct mac_addr);

#endif
