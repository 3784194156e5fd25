/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The NICs as routing sees them: interfaces with a MAC address, an MTU, and own addresses, each of
 * which connects a network.
 */
#ifndef ROUTER_INTERFACE_H
#define ROUTER_INTERFACE_H

#include <p2pnic/adjacency.h>
#include <p2pnic/limits.h>

#include "router/address.h"

struct router_interface {
	const char *name;
	struct mac_addr mac;
	uint16_t mtu;
	const struct prefix *address; /* with the length of its network */
	unsigned addresses;
};

/* By NIC number. Names and addresses are borrowed. */
struct router_interfaces {
	struct router_interface nic[P2PNIC_NICS_MAX];
	unsigned n;
};

/* Is it this router's own? */
bool interfaces_own(const struct router_interfaces *, const struct address *);
/* The NIC whose network it is in, the first of several; -1: none. */
int interfaces_connected(const struct router_interfaces *, const struct address *);
/* What a packet takes that leaves by a NIC to a MAC address. */
struct p2pnic_adjacency interfaces_forward(
	const struct router_interfaces *, unsigned nic, struct mac_addr destination);

#endif
