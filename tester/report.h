/* SPDX-License-Identifier: BSD-3-Clause */
/* Results as JSON (the form of build/bench/results.json and `-j`) and as a few lines of text. */
#ifndef P2PNIC_TESTER_REPORT_H
#define P2PNIC_TESTER_REPORT_H

#include "tester.h"

#include <jansson.h>
#include <stdio.h>

json_t *report_json(const struct tester_result *);
/* {"count","min_ns","mean_ns","p50_ns",…,"max_ns","cdf":[[ns, fraction]…]}; NULL when nothing was
 * recorded. */
json_t *report_latency_json(const struct histogram *);
void report_text(FILE *, const struct tester_result *);

#endif
