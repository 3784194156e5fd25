/* SPDX-License-Identifier: BSD-3-Clause */
#include "router/interface.h"

bool interfaces_own(const struct router_interfaces *all, const struct address *a)
{
	for (unsigned k = 0; k < all->n; k++)
		for (unsigned j = 0; j < all->nic[k].addresses; j++)
			if (address_equal(&all->nic[k].address[j].address, a))
				return true;
	return false;
}

int interfaces_connected(const struct router_interfaces *all, const struct address *a)
{
	for (unsigned k = 0; k < all->n; k++)
		for (unsigned j = 0; j < all->nic[k].addresses; j++) {
			const struct prefix *own = &all->nic[k].address[j];
			struct prefix network = prefix_of(&own->address, own->length);

			if (network.address.family == a->family && prefix_contains(&network, a))
				return (int)k;
		}
	return -1;
}

struct p2pnic_adjacency interfaces_forward(
	const struct router_interfaces *all, unsigned nic, struct mac_addr destination)
{
	return (struct p2pnic_adjacency){
		.destination = destination,
		.source = all->nic[nic].mac,
		.mtu = all->nic[nic].mtu,
		.kind = P2PNIC_ADJACENCY_FORWARD,
		.egress = (uint8_t)nic,
	};
}
