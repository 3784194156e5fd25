/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the kernel says in one rtnetlink message: which object, and what it is now.
 *
 *   object     key: id          family, address, length      metric, tos     value
 *   link       ifindex          -                            -               struct kernel_link
 *   address    ifindex          the address, its network     -               struct kernel_address
 *   neighbor   ifindex          the address                  -               struct kernel_neighbor
 *   next hop   its id           -                            -               struct kernel_next_hop
 *   route      table            the prefix                   both            struct kernel_route
 *
 * Where a packet goes is a list of hops, of a route as of a next-hop object:
 *
 *   route without an object      its hops, one or more: link, gateway, weight
 *   route by an object           one hop, whose `next_hop` is the object's id
 *   next-hop object              one hop: link, gateway; none if it drops
 *   group of such objects        a hop for each member: `next_hop` its id, weight
 *
 * Values are made of what stays until the next message. So the kernel's RTNH_F_DEAD and
 * RTNH_F_LINKDOWN of a hop are left out: they change without a message, as the link does, which
 * has one. A hop that is to be used is one whose link is up.
 *
 * A message is hostile: each attribute's length is checked, and one that is unknown is passed over.
 * What does not parse is nothing (KERNEL_MALFORMED); the kernel does not send such.
 */
#ifndef ROUTER_KERNEL_MESSAGE_H
#define ROUTER_KERNEL_MESSAGE_H

#include <linux/neighbour.h>
#include <linux/netlink.h>
#include <stdbool.h>
#include <stddef.h>

#include "router/address.h"

/* Of one route or group. The kernel takes 255 of a route and 1,024 of an IPv4 group; a group here
 * is of at most P2PNIC_GROUP_MEMBERS_MAX. More than this is marked KERNEL_UNSUPPORTED_HOPS. */
#define KERNEL_HOPS_MAX 256u
#define KERNEL_NAME_MAX 16u /* IFNAMSIZ */

enum kernel_kind {
	KERNEL_LINK,
	KERNEL_ADDRESS,
	KERNEL_NEIGHBOR,
	KERNEL_NEXT_HOP,
	KERNEL_ROUTE,
	KERNEL_KINDS,
};

/* "link", "address", … */
const char *kernel_kind_name(enum kernel_kind);

/* No padding: compared and hashed as bytes. */
struct kernel_key {
	uint8_t kind;   /* enum kernel_kind */
	uint8_t family; /* 4, 6; 0: the object has none */
	uint8_t length; /* of the prefix; of an IPv4 address's network */
	uint8_t tos;
	uint32_t id;
	uint32_t metric;
	uint32_t peer; /* IPv4 address of a link: its IFA_ADDRESS, in host order */
	struct fib_ipv6 address;
};

enum kernel_link_kind {
	KERNEL_LINK_OTHER,
	KERNEL_LINK_TUN, /* tap too */
	KERNEL_LINK_VLAN,
	KERNEL_LINK_MACVLAN,
	KERNEL_LINK_VRF,
	KERNEL_LINK_BRIDGE,
	KERNEL_LINK_BOND,
};

struct kernel_link {
	char name[KERNEL_NAME_MAX]; /* ends with 0, and is 0 from there on */
	struct mac_addr mac;        /* 0 unless six bytes long */
	uint16_t type;              /* ARPHRD_ETHER, … */
	uint32_t flags;             /* IFF_UP, IFF_RUNNING, IFF_LOWER_UP, … */
	uint32_t mtu;
	uint32_t master;      /* ifindex of the bridge, bond or vrf; 0: none */
	uint32_t lower;       /* ifindex of the link below; 0: none */
	uint32_t table;       /* of a vrf */
	uint16_t vlan;        /* VLAN id */
	uint16_t vlan_type;   /* ETH_P_8021Q, ETH_P_8021AD */
	uint8_t kind;         /* enum kernel_link_kind */
	bool lower_is_away;   /* `lower` counts in another namespace */
	uint8_t macvlan_mode; /* MACVLAN_MODE_… */
};

struct kernel_address {
	uint32_t flags; /* IFA_F_… */
	uint8_t scope;  /* RT_SCOPE_… */
	uint8_t length; /* of the network */
};

struct kernel_neighbor {
	struct mac_addr mac; /* 0: none, or not six bytes long */
	uint16_t state;      /* NUD_… */
	uint32_t flags;      /* NTF_…; NTF_EXT_… << 8 */
	bool has_mac;
	uint8_t protocol; /* RTPROT_…: who made it, if he said so; 0: he did not */
};

#define KERNEL_NEIGHBOR_MANAGED ((uint32_t)NTF_EXT_MANAGED << 8)

/* What a NIC does not do, of a route or a next-hop object. */
#define KERNEL_UNSUPPORTED_ENCAPSULATION 0x1u /* RTA_ENCAP: MPLS, SRv6, a tunnel's key */
#define KERNEL_UNSUPPORTED_HOPS          0x2u /* more than KERNEL_HOPS_MAX: the rest is missing */
#define KERNEL_UNSUPPORTED_GATEWAY       0x4u /* of a family that is neither IPv4 nor IPv6 */

struct kernel_next_hop {
	uint32_t buckets;                      /* of a resilient group; 0: none */
	uint32_t idle_timer, unbalanced_timer; /* of one, in 1/100 s */
	uint8_t family;                        /* 4, 6; 0: a group */
	uint8_t protocol;                      /* RTPROT_… */
	uint8_t scope;
	uint8_t unsupported;
	bool group, resilient;
	bool drops; /* NHA_BLACKHOLE */
	bool fdb;   /* of a bridge; no route goes by it */
};

struct kernel_route {
	uint32_t mtu;    /* RTAX_MTU; 0: the link's */
	uint32_t source; /* IPv4: preferred source (RTA_PREFSRC), in host order; 0: none */
	uint8_t family;  /* 4 or 6 */
	uint8_t type;    /* RTN_UNICAST, LOCAL, BROADCAST, ANYCAST, BLACKHOLE, UNREACHABLE, … */
	uint8_t protocol;
	uint8_t scope;
	uint8_t unsupported;
};

struct kernel_hop {
	struct fib_ipv6 gateway; /* as in struct address */
	uint32_t ifindex;
	uint32_t next_hop;      /* id of an object; then nothing else but `weight` is set */
	uint16_t weight;        /* from 1 */
	uint8_t gateway_family; /* 4, 6; 0: the destination is a neighbour */
	bool onlink;
};

/* Bytes that are not set are 0, so that equal values are equal bytes (kernel_value_bytes). */
struct kernel_value {
	union {
		struct kernel_link link;
		struct kernel_address address;
		struct kernel_neighbor neighbor;
		struct kernel_next_hop next_hop;
		struct kernel_route route;
	};
	uint16_t hops; /* routes and next hops */
	struct kernel_hop hop[];
};

#define KERNEL_VALUE_BYTES(hops) (sizeof(struct kernel_value) + (hops) * sizeof(struct kernel_hop))
#define KERNEL_VALUE_BYTES_MAX   KERNEL_VALUE_BYTES(KERNEL_HOPS_MAX)

struct kernel_message {
	bool removed;   /* RTM_DEL… */
	uint16_t flags; /* NLM_F_REPLACE, NLM_F_APPEND, … of the message */
	struct kernel_key key;
};

enum kernel_parsed {
	KERNEL_PARSED,
	/* About something else: multicast routes, bridge ports, cached routes, proxies, other
	 * families. */
	KERNEL_IGNORED,
	/* A route for packets from some sources only (IPv6, RTA_SRC), which no key here names. */
	KERNEL_SOURCE_ROUTE,
	KERNEL_MALFORMED,
};

/*
 * `header` and the nlmsg_len bytes from it on are readable and nlmsg_len is at least a header's
 * (mnl_nlmsg_ok). `value` has room for KERNEL_VALUE_BYTES_MAX; neither is meaningful unless
 * KERNEL_PARSED. A link's, address's, neighbour's or next hop's value is not filled if `removed`.
 */
enum kernel_parsed kernel_parse(
	const struct nlmsghdr *header, struct kernel_message *, struct kernel_value *value);

#endif
