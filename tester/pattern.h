/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Traffic patterns: which ingress ports get packets, and by which exits they must leave.
 *
 *   1in-1out       0→1
 *   2in-2out       0→2, 1→3
 *   2in-2out-mix   0→2+3, 1→2+3          each flow split evenly over both exits
 *   4in-4out       0→1, 1→0, 2→3, 3→2    both ways
 *   4in-4out-mix   each evenly to the other three
 *   Nin-Nout       as 4in-4out for any even N ≥ 4, Nin-Nout-mix likewise
 *
 * or spelled out: "0>1,1>0+2".
 */
#ifndef P2PNIC_TESTER_PATTERN_H
#define P2PNIC_TESTER_PATTERN_H

#include <stdbool.h>

#define TESTER_PORTS_MAX 16u

struct pattern {
	unsigned ports; /* used at all */
	unsigned ingresses;
	unsigned exits[TESTER_PORTS_MAX]; /* of ingress [n]; 0: receives no traffic */
	unsigned exit[TESTER_PORTS_MAX][TESTER_PORTS_MAX]; /* [ingress][k], k < exits[ingress] */
};

/* 0, or -EINVAL: no such pattern. */
int pattern_parse(const char *text, struct pattern *);

#endif
