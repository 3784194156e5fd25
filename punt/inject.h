/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which ring to the NIC a frame takes that the kernel sends:
 *
 *   control    BFD (UDP 3784, 3785, 4784, 6784), BGP (TCP 179), OSPF (89), EIGRP (88), PIM (103),
 *              VRRP (112), IGMP (2) and MLD, RIP and RIPng (UDP 520, 521), LDP (UDP and TCP 646);
 *              IS-IS and other LLC; LLDP, slow protocols (LACP)
 *   neighbor   ARP; ICMPv6 133 to 137 (RFC 4861)
 *   exception  all else, and what does not parse
 *
 * 802.1Q and 802.1ad tags are passed over. Ports: either of the two.
 */
#ifndef PUNT_INJECT_H
#define PUNT_INJECT_H

#include <p2pnic/punt.h>

enum p2pnic_host_ring inject_ring(const uint8_t *frame, uint32_t length);

#endif
