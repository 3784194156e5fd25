/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The lab's network: a router of four NICs and four hosts, each in a network namespace, joined by
 * veth.
 *
 *   p2pnic-lab-h1            p2pnic-lab-router            p2pnic-lab-h2
 *   eth0 10.0.1.2 ─────── port1 = NIC 1    NIC 2 = port2 ─────── eth0 10.0.2.2
 *        fd00:1::2                 │          │                       fd00:2::2
 *   lo   10.1.1.1               tap nic1   tap nic2              lo   10.1.2.1
 *        fd01:1::1              10.0.1.1   10.0.2.1                   fd01:2::1
 *
 * and so on for 3 and 4. Addresses and routes of the router are its kernel's, which the NICs follow
 * (`kernel` in the configuration). Hosts have an address and a default route, and find the router
 * by ARP and neighbour discovery. Behind each host is a network, 10.1.K.0/24 and fd01:K::/64, that
 * the router learns by BGP (routing.h).
 *
 * The kernel's own stack is kept off the ports: with af_packet it sees each frame as well. The
 * hosts cut and checksum what they send themselves, so that frames are those of a real wire.
 */
#ifndef LAB_NETWORK_H
#define LAB_NETWORK_H

#include "ipc/error.h"
#include "lab/child.h"
#include "lab/script.h"

#include <p2pnic/limits.h>

#define LAB_NICS   4u
#define LAB_ROUTER "p2pnic-lab-router"
#define LAB_NAME   "lab" /* the router's: `p2pnic show --name lab` */
#define LAB_MTU    1500u /* where none is asked for */
struct lab {
	unsigned mtu;          /* of the links, the hosts and the NICs */
	bool captures;         /* for `p2pnic replay`, which has no kernel to follow */
	char runtime[256];     /* the router's directory of sockets */
	char config[264];      /* its configuration file */
	const char *port_type; /* af_xdp or af_packet */
	char why_not[256];     /* why not af_xdp; "": it is */
	struct error no_frr;   /* why routes are not FRR's; "": they are */
	struct child router;
};

void lab_host(unsigned host, char name[32]); /* namespace of host 1 to LAB_NICS */
void lab_address(unsigned host, bool six, char text[40]);
void lab_network_address(unsigned host, bool six, char text[40]); /* in the network behind it */
void lab_router_address(unsigned host, bool six, char text[40]);  /* as the host sees it */
bool lab_has_ipv6(void);
/* `ip -batch` in the namespace (NULL: the caller's). 0, or -errno with what it said. */
int lab_ip_batch(const char *namespace, const struct script *, struct error *error);

/* What the MTU may be: hosts have IPv6 addresses (RFC 8200 §5). */
#define LAB_MTU_MIN 1280u
#define LAB_MTU_MAX P2PNIC_MTU_MAX(P2PNIC_BUFFER_BYTES_MAX)

/* Makes namespaces and links, chooses the port type, starts the router and its routing, and waits
 * until it forwards. 0, or -errno with sentences in error; then whatever it made is removed. */
int lab_up(struct lab *, unsigned mtu, struct error *error);

/* Writes the router's configuration to lab->config, in a directory that is this user's. 0, or
 * -errno with a sentence. */
int lab_write_config(const struct lab *, struct error *error);

/* Packets that the kernel of the router's namespace has forwarded; -1: that cannot be read. The
 * NICs leave to it what has a next hop that is not resolved yet. */
long long lab_forwarded_by_kernel(const struct lab *);

/* Removes a lab of that kind in this place, whoever made it, whatever is left of it. True: there
 * was one. */
bool lab_down(void);

#endif
