/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Addresses that a NIC never forwards, whatever its tables say: the one table of them.
 *
 * It holds every block of the IANA IPv4 and IPv6 Special-Purpose Address Registries (RFC 6890, RFC
 * 8190; as of 2025-04) whose column "Forwardable" is False; the blocks inside those that are True
 * again; and multicast. A block that was withdrawn (192.88.99.0/24, 2001:10::/28) has no value in
 * that column and counts as what surrounds it.
 *
 * Rows are in order: the first that holds the address decides.
 */
#ifndef P2PNIC_SPECIAL_H
#define P2PNIC_SPECIAL_H

#include "fib.h"

enum p2pnic_special {
	P2PNIC_SPECIAL_FORWARD, /* no special address, or one that may be forwarded */
	/* Neither from nor to it; a packet to an address of this router is taken. */
	P2PNIC_SPECIAL_STAY,
	P2PNIC_SPECIAL_LINK,  /* likewise, and the host is shown packets from it and to it */
	P2PNIC_SPECIAL_GROUP, /* never a source; a packet to it is for hosts on its link */
	P2PNIC_SPECIAL_NEVER, /* never on a wire */
};

/* Address, prefix length, what becomes of it, the RFC that says so. */
#define P2PNIC_SPECIAL_IPV4(X)                                                                     \
	X(0xc0000000, 29, FORWARD, "192.0.0.0/29, IPv4 service continuity: RFC 7335")              \
	X(0xc0000009, 32, FORWARD, "192.0.0.9, PCP anycast: RFC 7723")                             \
	X(0xc000000a, 32, FORWARD, "192.0.0.10, TURN anycast: RFC 8155")                           \
	X(0xc0000000, 24, STAY, "192.0.0.0/24, IETF protocols: RFC 6890, RFC 7600, RFC 8880")      \
	X(0x00000000, 8, NEVER, "0.0.0.0/8, this network: RFC 791 3.2, RFC 1122 3.2.1.3")          \
	X(0x7f000000, 8, NEVER, "127.0.0.0/8, loopback: RFC 1122 3.2.1.3")                         \
	X(0xa9fe0000, 16, STAY, "169.254.0.0/16, link-local: RFC 3927 2.7, 7")                     \
	X(0xc0000200, 24, STAY, "192.0.2.0/24, documentation: RFC 5737")                           \
	X(0xc6336400, 24, STAY, "198.51.100.0/24, documentation: RFC 5737")                        \
	X(0xcb007100, 24, STAY, "203.0.113.0/24, documentation: RFC 5737")                         \
	X(0xe0000000, 4, GROUP, "224.0.0.0/4, multicast: RFC 1112 4, RFC 1812 5.3.7")              \
	X(0xffffffff, 32, GROUP, "255.255.255.255, limited broadcast: RFC 919 7, RFC 8190")        \
	X(0xf0000000, 4, STAY, "240.0.0.0/4, reserved: RFC 1112 4")

/* The two halves of the address, and so on. */
#define P2PNIC_SPECIAL_IPV6(X)                                                                     \
	X(0, 0, 128, NEVER, "::, unspecified: RFC 4291 2.5.2")                                     \
	X(0, 1, 128, NEVER, "::1, loopback: RFC 4291 2.5.3")                                       \
	X(0, 0xffff00000000, 96, NEVER, "::ffff:0:0/96, IPv4-mapped: RFC 4291 2.5.5.2")            \
	X(0x0100000000000001, 0, 64, STAY, "100:0:0:1::/64, dummy prefix: RFC 9780")               \
	X(0x2001000000000000, 0, 32, FORWARD, "2001::/32, Teredo: RFC 4380")                       \
	X(0x2001000100000000, 1, 128, FORWARD, "2001:1::1, PCP anycast: RFC 7723")                 \
	X(0x2001000100000000, 2, 128, FORWARD, "2001:1::2, TURN anycast: RFC 8155")                \
	X(0x2001000100000000, 3, 128, FORWARD, "2001:1::3, DNS-SD SRP anycast: RFC 9665")          \
	X(0x2001000200000000, 0, 48, FORWARD, "2001:2::/48, benchmarks: RFC 5180, erratum 1752")   \
	X(0x2001000300000000, 0, 32, FORWARD, "2001:3::/32, AMT: RFC 7450")                        \
	X(0x2001000401120000, 0, 48, FORWARD, "2001:4:112::/48, AS112: RFC 7535")                  \
	X(0x2001002000000000, 0, 28, FORWARD, "2001:20::/28, ORCHIDv2: RFC 7343")                  \
	X(0x2001003000000000, 0, 28, FORWARD, "2001:30::/28, drone identifiers: RFC 9374")         \
	X(0x2001000000000000, 0, 23, STAY, "2001::/23, IETF protocols: RFC 2928")                  \
	X(0x20010db800000000, 0, 32, STAY, "2001:db8::/32, documentation: RFC 3849")               \
	X(0x3fff000000000000, 0, 20, STAY, "3fff::/20, documentation: RFC 9637")                   \
	X(0xfe80000000000000, 0, 10, LINK, "fe80::/10, link-local: RFC 4291 2.5.6")                \
	X(0xff00000000000000, 0, 8, GROUP, "ff00::/8, multicast: RFC 4291 2.7")

static inline enum p2pnic_special p2pnic_special_ipv4(uint32_t address)
{
#define P2PNIC_SPECIAL_ROW(prefix, length, special, rfc)                                           \
	if ((address ^ (prefix)) >> (32 - (length)) == 0)                                          \
		return P2PNIC_SPECIAL_##special;
	P2PNIC_SPECIAL_IPV4(P2PNIC_SPECIAL_ROW)
#undef P2PNIC_SPECIAL_ROW
	return P2PNIC_SPECIAL_FORWARD;
}

static inline enum p2pnic_special p2pnic_special_ipv6(struct fib_ipv6 a)
{
#define P2PNIC_SPECIAL_ROW(first, second, length, special, rfc)                                    \
	if ((a.high ^ (first)) >> ((length) < 64 ? 64 - (length) : 0) == 0 &&                      \
		((length) <= 64 ||                                                                 \
			(a.low ^ (second)) >> ((length) > 64 ? 128 - (length) : 0) == 0))          \
		return P2PNIC_SPECIAL_##special;
	P2PNIC_SPECIAL_IPV6(P2PNIC_SPECIAL_ROW)
#undef P2PNIC_SPECIAL_ROW
	return P2PNIC_SPECIAL_FORWARD;
}

#endif
