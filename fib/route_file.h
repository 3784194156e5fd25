/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Routing tables in text: one route a line, plain or compressed by xz.
 *
 *   PREFIX ASN        203.0.113.0/24 64500       the next hop follows from the AS number
 *   PREFIX NEXTHOP    203.0.113.0/24 192.0.2.1   each address is one next hop, in order of appearance
 *
 * Blank lines and what follows a '#' are skipped. A real router sees the prefixes of one AS leave by few
 * next hops; so that measurements can be repeated, with K next hops an AS number means next hop
 * 1 + ((ASN · 2654435761 mod 2^32) >> 7) mod K.
 */
#ifndef P2PNIC_FIB_ROUTE_FILE_H
#define P2PNIC_FIB_ROUTE_FILE_H

#include "fib.h"

#define ROUTE_FILE_NEXT_HOPS_DEFAULT 64u

struct route_list {
	struct fib_route *route;
	uint32_t *asn; /* by route; 0 where the file names a next hop */
	size_t n, room;
};

struct route_table {
	struct route_list ipv4, ipv6;
	struct fib_ipv6 *next_hop; /* addresses named, in order; next hop i is next_hop[i - 1] */
	size_t next_hops, next_hop_room;
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
 * Hands a file's routes to `visit`, line by line; nothing of them is kept. 0 or -errno, with file, line and reason in
 * error[FIB_ERROR_BYTES]; visit ends it by an -errno of its own, with a reason in reason[FIB_ERROR_BYTES].
 */
typedef int route_visit(void *context, const struct route_line *, char *reason);
int route_file_each(const char *path, route_visit *visit, void *context, char *error);

/*
 * Adds a file's routes to *table (begin with {0}). 0 or -errno, with file, line and reason in
 * error[FIB_ERROR_BYTES]. next_hops: 1 to P2PNIC_NEXT_HOPS_MAX - 1.
 */
int route_file_read(const char *path, unsigned next_hops, struct route_table *table, char *error);
int route_list_add(struct route_list *list, const struct fib_route *route, uint32_t asn);
void route_table_free(struct route_table *table);

/* "192.0.2.0/24", "2001:db8::/32", or an address alone (full length). family 4 or 6; 0: neither. */
unsigned route_parse_prefix(const char *text, struct fib_ipv6 *prefix, unsigned *length);

#define ROUTE_TEXT_BYTES 64
/* Prefix with length, or with length 255 the address alone. */
const char *route_text(char *text, unsigned family, struct fib_ipv6 prefix, unsigned length);

#endif
