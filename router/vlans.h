/* SPDX-License-Identifier: BSD-3-Clause */
/* The table of VLANs in a NIC: which tags it takes (p2pnic/registers.h). */
#ifndef ROUTER_VLANS_H
#define ROUTER_VLANS_H

#include "router/config.h"

#include <p2pnic/limits.h>
#include <stdint.h>

struct driver_nic;

/* Of each VID its enum p2pnic_vlan_state. */
struct vlans {
	uint8_t state[P2PNIC_VLANS_MAX];
};

/* All VIDs are dropped, but those of `vlans`. */
void vlans_configured(struct vlans *, const struct config_nic *);
/* Writes what a NIC has otherwise into its memory; each VID by one store, which frames go by from
 * then on. */
void vlans_write(const struct vlans *, struct driver_nic *);

#endif
