/* SPDX-License-Identifier: BSD-3-Clause */
/* How long things took, as Prometheus counts it: how many took at most so long, for bounds from a
 * tenth of a millisecond to ten seconds; all; their sum. Times from 1 to 2.5 to 5 to 10. */
#ifndef ROUTER_HISTOGRAM_H
#define ROUTER_HISTOGRAM_H

#include <stdint.h>

/* X(nanoseconds, the same in seconds as text) */
#define HISTOGRAM_BOUNDS(X)                                                                        \
	X(100000ull, "0.0001")                                                                     \
	X(250000ull, "0.00025")                                                                    \
	X(500000ull, "0.0005")                                                                     \
	X(1000000ull, "0.001")                                                                     \
	X(2500000ull, "0.0025")                                                                    \
	X(5000000ull, "0.005")                                                                     \
	X(10000000ull, "0.01")                                                                     \
	X(25000000ull, "0.025")                                                                    \
	X(50000000ull, "0.05")                                                                     \
	X(100000000ull, "0.1")                                                                     \
	X(250000000ull, "0.25")                                                                    \
	X(500000000ull, "0.5")                                                                     \
	X(1000000000ull, "1")                                                                      \
	X(2500000000ull, "2.5")                                                                    \
	X(5000000000ull, "5")                                                                      \
	X(10000000000ull, "10")

enum {
#define HISTOGRAM_ONE(ns, text) HISTOGRAM_BOUND_##ns,
	HISTOGRAM_BOUNDS(HISTOGRAM_ONE)
#undef HISTOGRAM_ONE
		HISTOGRAM_BUCKETS
};

struct histogram {
	uint64_t bucket[HISTOGRAM_BUCKETS + 1]; /* each by itself; the last: longer than all */
	uint64_t sum_ns;
};

static const uint64_t histogram_bound_ns[HISTOGRAM_BUCKETS] = {
#define HISTOGRAM_ONE(ns, text) ns,
	HISTOGRAM_BOUNDS(HISTOGRAM_ONE)
#undef HISTOGRAM_ONE
};

static inline void histogram_add(struct histogram *h, uint64_t ns)
{
	unsigned k = 0;

	while (k < HISTOGRAM_BUCKETS && ns > histogram_bound_ns[k])
		k++;
	h->bucket[k]++;
	h->sum_ns += ns;
}

#endif
