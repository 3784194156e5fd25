/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Holding an image against the naive twin: both addresses at the boundaries of every prefix, their
 * neighbours, and random addresses, with every version of the lookup that this processor runs.
 */
#ifndef P2PNIC_FIB_CHECK_H
#define P2PNIC_FIB_CHECK_H

#include "fib_image.h"
#include "naive.h"

struct check {
	uint64_t addresses; /* looked up */
	uint64_t lookups;   /* address × version */
	uint64_t mismatches;
	struct fib_ipv6 address; /* the first mismatch… */
	const char *version;     /* …in this version… */
	uint16_t got, wanted;    /* …and its results */
};

/* splitmix64: small, and any seed is good. */
static inline uint64_t check_random(uint64_t *state)
{
	uint64_t x = *state += 0x9e3779b97f4a7c15u;

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
	x = (x ^ x >> 27) * 0x94d049bb133111ebu;
	return x ^ x >> 31;
}

/* A random address inside a prefix. */
struct fib_ipv6 check_inside(const struct fib_route *route, uint64_t *random);

/* `image` against the twin on `n` addresses. */
void check_addresses(const void *image, unsigned family, const struct naive *twin,
	const struct fib_ipv6 *address, size_t n, struct check *check);

/* First and last address of each prefix, and their neighbours. */
void check_boundaries(const void *image, unsigned family, const struct naive *twin,
	const struct fib_route *routes, size_t n, struct check *check);

/* Half uniformly random, half inside random routes. */
void check_random_addresses(const void *image, unsigned family, const struct naive *twin,
	const struct fib_route *routes, size_t n, uint64_t addresses, uint64_t seed,
	struct check *check);

#endif
