/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What of the kernel's state keeps a router from working as it should, or is not done by NICs:
 * found and said (finding.h), never changed.
 *
 *   kind     level   found where
 *   rule     fault   a rule (ip rule) that leads to a table with routes, or to none; else a note
 *   link     fault   a tap that belongs to a bridge, bond or VRF; a VLAN on a tap is a note
 *   route    note    routes and next-hop objects with an encapsulation
 *   filter   fault   a chain of nftables that forwarded packets would meet; iptables: a note
 *   sysctl           the taps' namespace; faults where the kernel does not forward
 *   port     fault   an interface of an af_packet port whose frames the kernel's stack takes, too
 *   capability       this process lacks one that its configuration takes
 *   feature  fault   the kernel cannot do what the configuration takes
 *   queues, offload, mtu   interfaces of ports
 *   core             engines that share a core, or its threads; other work there
 *   memory   ok      huge pages
 *   kernel           it could not be looked at
 */
#ifndef ROUTER_DOCTOR_H
#define ROUTER_DOCTOR_H

#include "router/finding.h"
#include "router/kernel_way.h"
#include "router/netns.h"

struct config;

struct doctor {
	const struct config *config;
	const struct netns *netns; /* of the taps; ports are in the caller's own */
	/* What the router knows of links and routes; NULL: no router runs, and they are not looked
	 * at. */
	const struct kernel_ways *ways;
	bool routes;           /* look at each route, too */
	bool host;             /* look at the host, too (doctor_host.h) */
	const char *sysfs_cpu; /* a recorded folder instead of sysfs's; NULL: that */
};

/* A list that the caller owns. Asks the kernel, which answers at once. */
json_t *doctor_look(const struct doctor *);

#endif
