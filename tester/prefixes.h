/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Destinations from a routing table: a file as in fib/route_file.h, whose lines may also be of a
 * prefix alone. Lines of the other family are skipped, and prefixes of more than 48 bits: behind
 * them are the tester's marks (stream.h).
 */
#ifndef P2PNIC_TESTER_PREFIXES_H
#define P2PNIC_TESTER_PREFIXES_H

#include <stdint.h>

#include "ipc/error.h"

/*
 * n addresses of the family (4 or 6), each in a prefix picked at random and at random within it;
 * the same for the same seed. Multicast, loopback, 0/8, 240/4, 0000::/8 and link-local addresses,
 * which no router forwards, are left out. 0 and the addresses in host order (free them), of IPv6
 * the upper 64 bits; or -errno with a sentence in error.
 */
int prefixes_sample(const char *path, unsigned family, unsigned n, uint64_t seed,
	uint64_t **addresses, struct error *error);

#endif
