/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef P2PNIC_TESTER_MEDIAN_H
#define P2PNIC_TESTER_MEDIAN_H

#include <stdlib.h>

static inline int median_compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* Sorts them. 0 of none. */
static inline double median(double *values, unsigned n)
{
	qsort(values, n, sizeof(*values), median_compare);
	return n ? (values[(n - 1) / 2] + values[n / 2]) / 2 : 0;
}

#endif
