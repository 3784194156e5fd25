/* SPDX-License-Identifier: BSD-3-Clause */
/* What the kernel has above a NIC's tap, and the NIC must know of the frames that it receives. */
#ifndef ROUTER_KERNEL_ABOVE_H
#define ROUTER_KERNEL_ABOVE_H

#include "router/kernel_way.h"
#include "router/vlans.h"

/*
 * VLANs by what is above the tap of that NIC:
 *
 *   forward  a VLAN (802.1Q) of the tap that is up, and no part of a bridge, bond or VRF
 *   host     one that is such a part, or a VLAN of a macvlan of the tap; all VIDs, where the tap
 *            itself is such a part, or not there
 *   unknown  all others
 *
 * And `ingress`: the host's, where the tap is such a part or not there.
 */
void kernel_above_vlans(const struct kernel_ways *, unsigned nic, struct vlans *);

/*
 * MAC addresses, others than the tap's, of macvlans and VLANs of the tap and of macvlans of those
 * VLANs, while they are up; each once. How many: at most P2PNIC_STATIONS_MAX + 1, so that one too
 * many can be said.
 */
unsigned kernel_above_stations(
	const struct kernel_ways *, unsigned nic, struct mac_addr station[P2PNIC_STATIONS_MAX + 1]);

#endif
