/* SPDX-License-Identifier: BSD-3-Clause */
#include "router/vlans.h"

#include "driver/driver_nic.h"

#include <p2pnic/registers.h>
#include <string.h>

void vlans_configured(struct vlans *v, const struct config_nic *nic)
{
	memset(v->state, P2PNIC_VLAN_UNKNOWN, sizeof(v->state));
	v->ingress = P2PNIC_INGRESS_FORWARD;
	for (unsigned k = 0; k < nic->vlans_count; k++)
		v->state[*nic->vlans[k].id] = P2PNIC_VLAN_FORWARD;
}

int vlans_write(const struct vlans *v, struct driver_nic *nic)
{
	p2pnic_vlan *table = (p2pnic_vlan *)(nic->bar2 + P2PNIC_BAR2_VLANS);
	uint32_t ingress;
	int result;

	for (unsigned k = 0; k < P2PNIC_VLANS_MAX; k++)
		if (atomic_load_explicit(&table[k], memory_order_relaxed) != v->state[k])
			atomic_store_explicit(&table[k], v->state[k], memory_order_relaxed);
	result = driver_nic_read(nic, P2PNIC_REG_INGRESS, &ingress);
	if (!result && ingress != v->ingress)
		result = driver_nic_write(nic, P2PNIC_REG_INGRESS, v->ingress);
	return result;
}
