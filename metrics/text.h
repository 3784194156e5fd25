/* SPDX-License-Identifier: BSD-3-Clause */
/* The router's answer to {"show": "metrics"} in Prometheus' text format, version 0.0.4, by the
 * table of counters (router/counters.h). */
#ifndef METRICS_TEXT_H
#define METRICS_TEXT_H

#include <jansson.h>
#include <stddef.h>
#include <stdio.h>

/* answer NULL: the router did not; p2pnic_up says so. What is not in it, or of another type than
 * the table has, is left out. The caller frees it; NULL: out of memory. */
char *metrics_text(const json_t *answer, size_t *bytes);

/* The table itself, as Markdown: docs/counters.md. */
void metrics_manual(FILE *);
/* The same as an object: "counters", a row each, and "times". The caller's. */
json_t *metrics_manual_json(void);

#endif
