/* SPDX-License-Identifier: BSD-3-Clause */
/* What an operator does to a tap with ip-link(8), done to its NIC. */
#ifndef ROUTER_TAP_FOLLOW_H
#define ROUTER_TAP_FOLLOW_H

#include "router/kernel_message.h"
#include "router/vlans.h"

struct router;
struct router_nic;

/*
 * The link of a NIC as the kernel has it now, with what is above it (kernel_above.h):
 *   address   the NIC's from now on
 *   stations  the NIC takes frames to them, too: P2PNIC_STATIONS_MAX of them, more are said
 *   vlans     the NIC takes frames with their tags
 *   master    the NIC forwards nothing that comes in: whatever the tap is a part of (a bridge, a
 *             bond, a VRF) has a table of its own, which only the kernel goes by
 *   mtu       above what the NIC's buffers hold: set back to that, and said
 * What a NIC that does not answer has missed, it is given when it is back. Cheap where nothing has
 * changed.
 */
void tap_follow(struct router *, unsigned nic, const struct kernel_link *,
	const struct mac_addr *stations, unsigned count, const struct vlans *);

/* Of a NIC that has joined: what tap_follow was told before. */
void tap_follow_again(struct router_nic *);

/* Bytes of the largest packet that NICs of this router can take. */
unsigned tap_mtu_max(const struct router *);

#endif
