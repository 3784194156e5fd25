/* SPDX-License-Identifier: BSD-3-Clause */
/* Which frames a NIC takes for its own to forward: the table of VLANs in its memory, and whether it
 * forwards at all (p2pnic/registers.h, P2PNIC_REG_INGRESS). */
#ifndef ROUTER_VLANS_H
#define ROUTER_VLANS_H

#include "router/config.h"

#include <p2pnic/limits.h>
#include <stdint.h>

struct driver_nic;

struct vlans {
	uint8_t state[P2PNIC_VLANS_MAX]; /* of each VID, enum p2pnic_vlan_state */
	uint32_t ingress;                /* P2PNIC_INGRESS_* */
};

/* All VIDs are dropped, but those of `vlans`. */
void vlans_configured(struct vlans *, const struct config_nic *);
/* Writes what a NIC has otherwise; each VID by one store, which frames go by from then on. 0, or
 * -errno of the NIC's registers. */
int vlans_write(const struct vlans *, struct driver_nic *);

#endif
