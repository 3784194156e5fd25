/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Interfaces as routing sees them: the NICs, and VLANs of NICs. Each has a MAC address, an MTU, and
 * own addresses, each of which connects a network.
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
	uint16_t vid; /* 0: the NIC itself */
	uint8_t nic;
	const struct prefix *address; /* with the length of its network */
	unsigned addresses;
};

/* The NICs by number, then VLANs. Names and addresses are borrowed. */
struct router_interfaces {
	struct router_interface *at;
	unsigned n;
};

/* Is it this router's own? */
bool interfaces_own(const struct router_interfaces *, const struct address *);
/* The interface whose network it is in, the first of several; -1: none. */
int interfaces_connected(const struct router_interfaces *, const struct address *);
/* That of a NIC and a VLAN, which is there. */
unsigned interfaces_find(const struct router_interfaces *, unsigned nic, unsigned vid);
/* What a packet takes that leaves by an interface to a MAC address. */
struct p2pnic_adjacency interfaces_forward(
	const struct router_interfaces *, unsigned interface, struct mac_addr destination);

/* "left", or "left.10" of VLAN 10. */
#define INTERFACE_NAME_BYTES 48
const char *interface_name(const char *nic, unsigned vid, char text[INTERFACE_NAME_BYTES]);

#endif
