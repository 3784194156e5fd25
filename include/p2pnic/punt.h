/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Punting: packets for the host's own software, sorted into classes, each with a rate limit of its
 * own, on four rings. The host serves the rings in strict priority. So no flood of one kind can
 * starve another: an ARP storm costs no BFD packet.
 *
 *   control    what keeps routing alive: hellos first of all, and packets to this router
 *   neighbor   ARP, neighbour discovery, and packets whose next hop is to be resolved
 *   exception  packets that a host must answer with ICMP, or forward by something that is no NIC
 *   sample     copies for an observer; this version of the firmware sends none
 *
 * Rings to the NIC (inject) are four as well. An egress serves them in that order, before the rings
 * of other NICs: congestion never delays a hello behind data.
 *
 * A policer is a token bucket (RFC 2697 without colours): `rate` packets a second, up to `burst` at
 * once. Two apply, one after the other: one for each source, found by a hash of its IP address (or
 * MAC address), so that one sender exhausts nobody's share but its own; then one for the class.
 * What exceeds either is dropped and counted: P2PNIC_DROP_POLICED, and by class in the counters.
 */
#ifndef P2PNIC_PUNT_H
#define P2PNIC_PUNT_H

#include "types.h"

enum p2pnic_host_ring {
	P2PNIC_RING_CONTROL,
	P2PNIC_RING_NEIGHBOR,
	P2PNIC_RING_EXCEPTION,
	P2PNIC_RING_SAMPLE,
	P2PNIC_HOST_RINGS
};

/* Symbol, name, ring, packets. */
#define P2PNIC_PUNT_CLASSES(X)                                                                     \
	X(HELLO, "hello", CONTROL, "of routing protocols: BFD, VRRP, OSPF, IS-IS, PIM, RIP, LDP")  \
	X(LOCAL, "local", CONTROL, "to an address of this router: BGP, SSH, ping")                 \
	X(NEIGHBOR, "neighbor", NEIGHBOR, "ARP; ICMPv6 133 to 137 (RFC 4861)")                     \
	X(GLEAN, "glean", NEIGHBOR, "to a connected network, neighbour not known yet")             \
	X(EXCEPTION, "exception", EXCEPTION, "TTL, MTU, options, no route: a host answers")        \
	X(KERNEL, "kernel", EXCEPTION, "the route leaves by something that is no NIC")             \
	X(LINK, "link", EXCEPTION, "other multicast and other Ethernet types: DHCP, LLDP, mDNS")   \
	X(SAMPLE, "sample", SAMPLE, "copies for an observer")

enum p2pnic_punt_class {
#define P2PNIC_PUNT_SYMBOL(symbol, name, ring, meaning) P2PNIC_PUNT_##symbol,
	P2PNIC_PUNT_CLASSES(P2PNIC_PUNT_SYMBOL)
#undef P2PNIC_PUNT_SYMBOL
		P2PNIC_PUNT_COUNT
};
_Static_assert(P2PNIC_PUNT_COUNT == 8, "three bits of a descriptor's flags");

/* Packets a second, packets at once (0: as 1). rate 0: not limited. */
struct p2pnic_rate {
	uint32_t rate;  /* (host) */
	uint32_t burst; /* (host) */
};

struct p2pnic_policer {
	struct p2pnic_rate all;    /* (host) the class as a whole */
	struct p2pnic_rate source; /* (host) each source hash of it */
};
P2PNIC_ASSERT_SIZE(struct p2pnic_policer, 16);

/* A token bucket's state. Zero is a full bucket. */
struct p2pnic_tokens {
	uint64_t time_ns; /* (device) by the board's clock, when it was last looked at */
	uint64_t spent;   /* (device) 10⁻⁹ of a packet that are missing from a full bucket */
};
P2PNIC_ASSERT_SIZE(struct p2pnic_tokens, 16);

#define P2PNIC_PUNT_SOURCES 1024u /* buckets for the sources of one class; a power of two */

/* In BAR2. The host changes a policer at any time; the next packet goes by it. */
struct p2pnic_policers {
	struct p2pnic_policer policer[P2PNIC_PUNT_COUNT];                    /* (host) */
	struct p2pnic_tokens all[P2PNIC_PUNT_COUNT];                         /* (device) */
	struct p2pnic_tokens source[P2PNIC_PUNT_COUNT][P2PNIC_PUNT_SOURCES]; /* (device) */
};
P2PNIC_ASSERT_OFFSET(struct p2pnic_policers, all, 128);
P2PNIC_ASSERT_OFFSET(struct p2pnic_policers, source, 256);
P2PNIC_ASSERT_SIZE(struct p2pnic_policers, 256 + 131072);

#endif
