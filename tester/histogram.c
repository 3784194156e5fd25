/* SPDX-License-Identifier: BSD-3-Clause */
#include "histogram.h"

#include <math.h>

uint64_t histogram_upper(unsigned i)
{
	if (i < 2u << HISTOGRAM_BITS)
		return i;
	unsigned shift = (i >> HISTOGRAM_BITS) - 1;
	return (((uint64_t)i - ((uint64_t)shift << HISTOGRAM_BITS) + 1) << shift) - 1;
}

uint64_t histogram_percentile(const struct histogram *h, double fraction)
{
	uint64_t rank = (uint64_t)ceil(fraction * (double)h->count), seen = 0;

	if (rank < 1)
		rank = 1;
	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
		seen += h->bucket[i];
		if (seen >= rank && h->bucket[i]) {
			uint64_t value = histogram_upper(i);
			return value < h->max ? value : h->max;
		}
	}
	return h->max;
}

double histogram_mean(const struct histogram *h)
{
	return h->count ? (double)h->sum / (double)h->count : 0;
}

void histogram_add(struct histogram *to, const struct histogram *from)
{
	if (!from->count)
		return;
	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
		to->bucket[i] += from->bucket[i];
	if (!to->count || from->min < to->min)
		to->min = from->min;
	if (from->max > to->max)
		to->max = from->max;
	to->count += from->count;
	to->sum += from->sum;
}
