/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The lab's network: a router of four NICs and four hosts, each in a network namespace, joined by
 * veth.
 *
 *   p2pnic-lab-h1          p2pnic-lab-router          p2pnic-lab-h2
 *   eth0 10.0.1.2 ─────── nic1 ┐          ┌ nic2 ─────── eth0 10.0.2.2
 *        fd00:1::2    10.0.1.1 │ soft     │ 10.0.2.1          fd00:2::2
 *                              │ NICs     │
 *   eth0 10.0.3.2 ─────── nic3 ┘          └ nic4 ─────── eth0 10.0.4.2
 *
 * The kernel has no address in the router's namespace and forwards nothing there: it is but the
 * wire's end. Hosts know the router's MAC and the router the hosts', both by static neighbours. The
 * hosts cut and checksum what they send themselves, so that frames are those of a real wire.
 */
#ifndef LAB_NETWORK_H
#define LAB_NETWORK_H

#include "ipc/error.h"
#include "lab/child.h"

#include <p2pnic/limits.h>

#define LAB_NICS   4u
#define LAB_ROUTER "p2pnic-lab-router"
#define LAB_NAME   "lab" /* the router's: `p2pnic show --name lab` */
#define LAB_MTU    1500u /* where none is asked for */
struct lab {
	unsigned mtu;          /* of the links, the hosts and the NICs */
	char runtime[256];     /* the router's directory of sockets */
	char config[264];      /* its configuration file */
	const char *port_type; /* af_xdp or af_packet */
	char why_not[256];     /* why not af_xdp; "": it is */
	struct child router;
};

void lab_host(unsigned host, char name[32]); /* namespace of host 1 to LAB_NICS */
void lab_address(unsigned host, bool six, char text[40]);

/* What the MTU may be: hosts have IPv6 addresses (RFC 8200 §5). */
#define LAB_MTU_MIN 1280u
#define LAB_MTU_MAX P2PNIC_MTU_MAX(P2PNIC_BUFFER_BYTES_MAX)

/* Makes namespaces and links, chooses the port type, starts the router and waits until it forwards.
 * 0, or -errno with sentences in error; then whatever it made is removed. */
int lab_up(struct lab *, unsigned mtu, struct error *error);

/* Writes the router's configuration to lab->config, in a directory that is this user's. 0, or
 * -errno with a sentence. */
int lab_write_config(const struct lab *, struct error *error);

/* Removes a lab of that kind in this place, whoever made it, whatever is left of it. True: there
 * was one. */
bool lab_down(void);

#endif
