/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Routing tables in text (text_file.h): one route a line, plain or compressed by xz.
 *
 *   PREFIX ASN        203.0.113.0/24 64500       the next hop follows from the AS number
 *   PREFIX NEXTHOP    203.0.113.0/24 192.0.2.1   each address is one next hop, in order of
 *                                                appearance
 *
 * Words stand apart by spaces and tabs; blank lines and what follows a '#' are skipped. A prefix
 * without a length is an address alone. Bits beyond the length are an error, not cut off: of
 * 192.0.2.1/24 nobody can say whether the address or the length is wrong. Numbers are decimal
 * without leading zeros, which some programs take for octal.
 *
 * A file without a route is an error, as one that was cut looks like that; one that is meant to
 * have none has a line with the one word "empty", and no other.
 *
 * A real router sees the prefixes of one AS leave by few next hops; so that measurements can be
 * repeated, with K next hops an AS number means next hop 1 + ((ASN · 2654435761 mod 2^32) >> 7) mod
 * K. In a table that has AS numbers, addresses are numbered from K + 1 on, else from 1.
 */
#ifndef P2PNIC_FIB_ROUTE_FILE_H
#define P2PNIC_FIB_ROUTE_FILE_H

#include "fib_image.h"
#include "ipc/error.h"

#define ROUTE_FILE_NEXT_HOPS_DEFAULT 64u

struct route_list {
	struct fib_route *route;
	uint32_t *asn; /* by route, where its next hop is one of AS numbers */
	size_t n, room;
};

struct route_next_hop {
	struct fib_ipv6 address; /* IPv4 as in struct fib_route */
	uint8_t family;          /* 4 or 6: may be another one than the route's */
};

struct route_table {
	struct route_list ipv4, ipv6;
	/* Next hops 1 to this are those of AS numbers; 0: the table has no AS number. */
	unsigned spread;
	struct route_next_hop
		*next_hop; /* addresses, in order: next hop spread + 1 + i is next_hop[i] */
	size_t named, next_hop_room;
	size_t last; /* index of the address named last */
};

static inline uint16_t route_file_next_hop(uint32_t asn, unsigned next_hops)
{
	return (uint16_t)(1 + (asn * 2654435761u >> 7) % next_hops);
}

/* What one line says. */
struct route_line {
	struct fib_ipv6 prefix;
	uint8_t length, family;
	uint8_t next_hop_family; /* 4 or 6; 0: the line has an AS number */
	uint32_t asn;
	struct fib_ipv6 next_hop;
};

/*
 * Hands a file's routes to `visit`, line by line; nothing of them is kept. 0 or -errno, with file,
 * line and reason in error; visit ends it by an -errno of its own, and says why in `reason`.
 */
typedef int route_visit(void *context, const struct route_line *, struct error *reason);
int route_file_each(const char *path, route_visit *visit, void *context, struct error *error);

/*
 * Adds a file's routes to *table (begin with {0}). 0 or -errno, with file, line and reason in
 * error; after an error it is only to be freed. next_hops: K, 1 to
 * P2PNIC_NEXT_HOPS_MAX - 1, the same for all files of a table.
 */
int route_file_read(
	const char *path, unsigned next_hops, struct route_table *table, struct error *error);
int route_list_add(struct route_list *list, const struct fib_route *route, uint32_t asn);
/* From now on the table has AS numbers: the addresses so far get their numbers anew. -ENOSPC: too
 * many next hops. */
int route_table_spread(struct route_table *table, unsigned next_hops);
/* The address of a next hop; NULL: it is one of AS numbers, or none. */
const struct route_next_hop *route_table_named(const struct route_table *table, unsigned next_hop);
void route_table_free(struct route_table *table);

/* "192.0.2.0/24", "2001:db8::/32", or an address alone (full length). family 4 or 6; 0: neither. */
unsigned route_parse_prefix(const char *text, struct fib_ipv6 *prefix, unsigned *length);

/* The two words of a line; 0, or -EINVAL with a reason in reason. */
int route_parse(const char *prefix, const char *target, struct route_line *, struct error *reason);

#define ROUTE_TEXT_BYTES 64
/* Prefix with length, or with length 255 the address alone. */
const char *route_text(char *text, unsigned family, struct fib_ipv6 prefix, unsigned length);

#endif
