/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The seed of tests with random input: always the same, so that a run tells of a change and not of
 * its luck. P2PNIC_SEED names another; whoever changes what such a test covers runs it with some
 * hundreds.
 */
#ifndef TESTS_SEED_H
#define TESTS_SEED_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

static inline uint64_t test_seed(void)
{
	const char *given = getenv("P2PNIC_SEED");
	uint64_t seed = given ? strtoull(given, NULL, 0) : 20220801;

	printf("P2PNIC_SEED=%llu\n", (unsigned long long)seed);
	return seed;
}

#endif
