/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * IP addresses and prefixes of both families in one type, and their text.
 *
 * An address is 128 bits in host order; IPv4 stands left-aligned in the top 32 bits of `high`, as
 * in fib.h, so that a prefix of either family is "the first `length` bits".
 */
#ifndef ROUTER_ADDRESS_H
#define ROUTER_ADDRESS_H

#include <p2pnic/fib.h>

#define ADDRESS_TEXT_BYTES 64 /* "2001:…/128" and its end */

struct address {
	struct fib_ipv6 bits;
	uint8_t family; /* 4 or 6 */
};

struct prefix {
	struct address address;
	uint8_t length;
};

/* False, nothing written, if the text is not an address, a prefix with bits beyond its length
 * (unless `host_bits`: an interface's address with its network's length), a MAC address. */
bool address_parse(const char *text, struct address *);
bool prefix_parse(const char *text, bool host_bits, struct prefix *);
bool mac_parse(const char *text, struct mac_addr *);

const char *address_text(const struct address *, char text[ADDRESS_TEXT_BYTES]);
const char *prefix_text(const struct prefix *, char text[ADDRESS_TEXT_BYTES]);
const char *mac_text(struct mac_addr, char text[ADDRESS_TEXT_BYTES]);

static inline unsigned address_bits(const struct address *a)
{
	return a->family == 4 ? 32 : 128;
}

/* IPv4 before IPv6, then by number: below, at or above 0. Bits as in struct address. */
int address_order(
	uint8_t family, const struct fib_ipv6 *, uint8_t other_family, const struct fib_ipv6 *);
bool address_equal(const struct address *, const struct address *);
/* The network part of an address. */
struct prefix prefix_of(const struct address *, unsigned length);
bool prefix_contains(const struct prefix *, const struct address *);

#endif
