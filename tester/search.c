/* SPDX-License-Identifier: BSD-3-Clause */
#include "search.h"

int search_throughput(search_trial trial, void *context, double low, double high, double resolution,
	double *found)
{
	double step = high * resolution, good = 0, bad = high;
	uint64_t lost;
	int r = trial(context, high, &lost);

	*found = 0;
	if (r)
		return r;
	if (!lost)
		good = high;
	while (bad - (good > 0 ? good : low) > step) {
		double load = ((good > 0 ? good : low) + bad) / 2;
		r = trial(context, load, &lost);
		if (r)
			return r;
		if (lost)
			bad = load;
		else
			good = load;
	}
	if (good == 0)
		good = low;
	for (; good >= low && good > 0; good -= step) {
		r = trial(context, good, &lost);
		if (r)
			return r;
		if (!lost) {
			*found = good;
			return 0;
		}
	}
	return 0;
}

int search_burst(search_trial trial, void *context, uint64_t high, uint64_t *found)
{
	uint64_t good = 0, bad = high + 1, lost;

	*found = 0;
	/* The whole range first: most links take it. */
	for (uint64_t length = high; bad - good > 1; length = good + (bad - good) / 2) {
		int r = trial(context, (double)length, &lost);
		if (r)
			return r;
		if (lost)
			bad = length;
		else
			good = length;
	}
	*found = good;
	return 0;
}

int search_curve(search_trial trial, void *context, double high, double *load, uint64_t *lost)
{
	int clean = 0, n = 0;

	for (; n < SEARCH_CURVE_MAX && clean < 2; n++) {
		load[n] = high * (SEARCH_CURVE_MAX - n) / SEARCH_CURVE_MAX;
		int r = trial(context, load[n], &lost[n]);
		if (r)
			return r;
		clean = lost[n] ? 0 : clean + 1;
	}
	return n;
}
