/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The searches of RFC 2544 as pure logic: a trial is a function that offers a load and tells what
 * was lost. Loads are packets a second, or packets of a burst.
 */
#ifndef P2PNIC_TESTER_SEARCH_H
#define P2PNIC_TESTER_SEARCH_H

#include <stdint.h>

/* 0 and *lost set, or -errno, which ends the search. */
typedef int (*search_trial)(void *context, double load, uint64_t *lost);

/*
 * §26.1 Throughput: the highest load without loss, to a part in `1 / resolution` of `high`, by
 * bisection. `high` is tried first. A load that passed and then, tried once more at the end, loses
 * is taken down by one step until it passes: the result has passed twice. 0 in *found: even `low`
 * loses.
 */
int search_throughput(
	search_trial, void *context, double low, double high, double resolution, double *found);

/* §26.4 Back-to-back: the longest burst, from 1 to `high` packets, that is forwarded whole. */
int search_burst(search_trial, void *context, uint64_t high, uint64_t *found);

/*
 * §26.3 Frame loss rate: trials at 100 %, 90 %… of `high` until two in a row lose nothing. Fills
 * load[] and lost[] (room for SEARCH_CURVE_MAX) and returns their number, or -errno.
 */
#define SEARCH_CURVE_MAX 10
int search_curve(search_trial, void *context, double high, double *load, uint64_t *lost);

#endif
