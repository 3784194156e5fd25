/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A log-linear histogram of latencies, in the manner of HdrHistogram: exact below 2^(BITS+1) ns,
 * above that 2^BITS equal buckets in each power of two, so any value is known to 1 part in 2^BITS
 * (0.8 %) from one nanosecond to 18 minutes in 34 KiB, and recording is a handful of instructions.
 *
 *   value  v < 256           bucket v
 *          2^e ≤ v < 2^(e+1) bucket (shift << BITS) + (v >> shift), shift = e - BITS
 *
 * Bucket numbers are contiguous over the seam: v >> shift lies in [2^BITS, 2^(BITS+1)).
 */
#ifndef P2PNIC_TESTER_HISTOGRAM_H
#define P2PNIC_TESTER_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_BITS    7u
#define HISTOGRAM_OCTAVES 40u /* values of 2^40 ns and more are recorded as 2^40 - 1 */
#define HISTOGRAM_BUCKETS ((HISTOGRAM_OCTAVES - HISTOGRAM_BITS + 1) << HISTOGRAM_BITS)

struct histogram {
	uint64_t bucket[HISTOGRAM_BUCKETS];
	uint64_t count;
	uint64_t sum;
	uint64_t min; /* of what was recorded; meaningless when count is 0 */
	uint64_t max;
};

static inline unsigned histogram_index(uint64_t value)
{
	if (value >> HISTOGRAM_OCTAVES)
		value = (1ull << HISTOGRAM_OCTAVES) - 1;
	if (value < 2u << HISTOGRAM_BITS)
		return (unsigned)value;
	unsigned shift = 63u - (unsigned)__builtin_clzll(value) - HISTOGRAM_BITS;
	return (unsigned)((shift << HISTOGRAM_BITS) + (value >> shift));
}

static inline void histogram_record(struct histogram *h, uint64_t value)
{
	h->bucket[histogram_index(value)]++;
	if (!h->count || value < h->min)
		h->min = value;
	if (value > h->max)
		h->max = value;
	h->count++;
	h->sum += value;
}

/* The largest value that falls into bucket i. */
uint64_t histogram_upper(unsigned i);

/*
 * The smallest recorded value (to bucket precision, rounded up, never above max) such that at least
 * `fraction` of all are no larger. 0 when nothing was recorded.
 */
uint64_t histogram_percentile(const struct histogram *, double fraction);

double histogram_mean(const struct histogram *);
void histogram_add(struct histogram *to, const struct histogram *from);

#endif
