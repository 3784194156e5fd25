/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A table under measurement: ours, the baseline, or a peer's. Each runs whole arrays of addresses
 * in its own loop, so that no call through a pointer stands between it and its work.
 */
#ifndef P2PNIC_BENCH_FIB_SUBJECT_H
#define P2PNIC_BENCH_FIB_SUBJECT_H

#include "fib/fib_image.h"

#include <time.h>

#define SUBJECTS_MAX  12u
#define SUBJECT_BURST 64u

/* Addresses in every form that a table wants. */
struct addresses {
	size_t n; /* multiple of SUBJECT_BURST */
	uint32_t *ipv4;
	struct fib_ipv6 *ipv6;
	uint8_t (*octets)[16]; /* IPv6, network order */
};

struct subject {
	const char *name;
	void *table;
	uint64_t bytes;       /* of the table that lookups read */
	double build_seconds; /* from the routes */
	/* Looks all up, by bursts of SUBJECT_BURST or one at a time; results are thrown away. */
	void (*run)(const struct subject *, const struct addresses *, bool bulk);
	/* The same in bulk, results kept. */
	void (*results)(const struct subject *, const struct addresses *, uint16_t *next_hop);
	void (*free)(struct subject *);
};

/* The thread's time on the processor: others that share it cost rounds their cache, not their
 * clock. */
static inline double thread_seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static inline void octets_of(struct fib_ipv6 address, uint8_t octets[16])
{
	for (unsigned i = 0; i < 8; i++) {
		octets[i] = (uint8_t)(address.high >> (56 - 8 * i));
		octets[8 + i] = (uint8_t)(address.low >> (56 - 8 * i));
	}
}

/* DPDK's tables, where they were built in; they append to subject[*n]. */
bool peers_start(const char **why);
void peers_ipv4(const struct fib_route *routes, size_t n, bool quick, struct subject *subject,
	unsigned *subjects);
void peers_ipv6(const struct fib_route *routes, size_t n, bool quick, struct subject *subject,
	unsigned *subjects);

#endif
