/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The windows of a run (tester.h): each is closed with what it received, sorted by what was near
 * before it and after, and in the end there are medians.
 */
#ifndef P2PNIC_TESTER_WINDOW_H
#define P2PNIC_TESTER_WINDOW_H

#include "tester.h"

#define WINDOW_PROBES_MIN 1000u
/* A pass of the tester that takes longer than both together was interrupted. */
#define WINDOW_STILL      100e-6 /* s */
#define WINDOW_COPY_RATE  10e9   /* bytes/s, for a burst of every port */

struct window_class {
	unsigned count, probed;
	double mpps[TESTER_WINDOWS_MAX];
	double p50[TESTER_WINDOWS_MAX], p99[TESTER_WINDOWS_MAX];
};

struct windows {
	struct window_class near, busy, far;
	unsigned spoilt;
};

enum window_kind { WINDOW_NEAR, WINDOW_BUSY, WINDOW_FAR, WINDOW_SPOILT };

/* By what was seen before and after; without `cores` all are near. */
enum window_kind window_kind_of(
	const struct tester_load *, struct cores_state before, struct cores_state after);

/* latency: of the window, may be empty. Windows beyond the maximum are left out. */
void windows_add(struct windows *, enum window_kind, double mpps, const struct histogram *latency);

void windows_report(struct windows *, struct tester_result *);

#endif
