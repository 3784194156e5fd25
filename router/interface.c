/* SPDX-License-Identifier: BSD-3-Clause */
#include "router/interface.h"

#include <stdio.h>

bool interfaces_own(const struct router_interfaces *all, const struct address *a)
{
	for (unsigned k = 0; k < all->n; k++)
		for (unsigned j = 0; j < all->at[k].addresses; j++)
			if (address_equal(&all->at[k].address[j].address, a))
				return true;
	return false;
}

int interfaces_connected(const struct router_interfaces *all, const struct address *a)
{
	for (unsigned k = 0; k < all->n; k++)
		for (unsigned j = 0; j < all->at[k].addresses; j++) {
			const struct prefix *own = &all->at[k].address[j];
			struct prefix network = prefix_of(&own->address, own->length);

			if (network.address.family == a->family && prefix_contains(&network, a))
				return (int)k;
		}
	return -1;
}

unsigned interfaces_find(const struct router_interfaces *all, unsigned nic, unsigned vid)
{
	unsigned k = 0;

	while (all->at[k].nic != nic || all->at[k].vid != vid)
		k++;
	return k;
}

struct p2pnic_adjacency interfaces_forward(
	const struct router_interfaces *all, unsigned interface, struct mac_addr destination)
{
	const struct router_interface *by = &all->at[interface];

	return (struct p2pnic_adjacency){
		.destination = destination,
		.source = by->mac,
		.mtu = by->mtu,
		.kind = by->vid ? P2PNIC_ADJACENCY_FORWARD_TAGGED : P2PNIC_ADJACENCY_FORWARD,
		.egress = by->nic,
		.encapsulation = by->vid,
	};
}

const char *interface_name(const char *nic, unsigned vid, char text[INTERFACE_NAME_BYTES])
{
	if (vid)
		snprintf(text, INTERFACE_NAME_BYTES, "%s.%u", nic, vid & 0xfff);
	else
		snprintf(text, INTERFACE_NAME_BYTES, "%s", nic);
	return text;
}
