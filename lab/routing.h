/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The lab's routing: each host announces the network behind it over BGP, one session for each
 * address family; the router's FRR learns them and gives them to the kernel of its namespace.
 *
 *   hK: bgpd, AS 6500K, 10.1.K.0/24 and fd01:K::/64 ──▶ router: bgpd, AS 65000 ──▶ zebra ──▶ kernel
 *
 * Daemons are Debian's, started from here with configurations of their own; a service that the
 * system has is not touched, nor are its files.
 */
#ifndef LAB_ROUTING_H
#define LAB_ROUTING_H

#include "ipc/error.h"
#include "lab/network.h"

/* Once addresses are in place: brings the routes, and waits until the NICs have them. Where FRR is
 * absent or does not bring them, lab->no_frr says why, and they are given by `ip route`. 0, or
 * -errno with a sentence. */
int routing_start(struct lab *, struct error *error);

/* Removes the files of daemons that have ended. */
void routing_remove(void);

#endif
