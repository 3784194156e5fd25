/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Whether the kernel, the router and every NIC have the same routes, and mending what has not:
 *
 *   kernel   dumped anew, and compared with the router's mirror of it      kernel_look.h
 *   router   its routes and next hops, and what the mirror leads to        kernel_routes_check
 *   NIC      its memory, and the router's images, next hops, sources       table_check.h
 *
 * In steps of some milliseconds, between which the loop goes on. Changes that are under way are no
 * differences: what the kernel and the mirror do not agree on is looked at again a second later,
 * changes that wait are committed before a step compares the router with the mirror, and a NIC has
 * each commit in the moment in which the router has it.
 *
 * An audit comes by itself every `kernel: {audit: SECONDS}`, mends and says so in one line:
 *
 *   kernel and mirror differ    everything is dumped and taken (kernel_reader_again)
 *   mirror and router differ    the table is made anew from the mirror (kernel_make)
 *   router and NIC differ       the words that differ are written again, then an epoch; or the
 *                               whole table, if another one is in force
 *
 * Or it is asked for (`p2pnic show route --check`), and only tells.
 */
#ifndef ROUTER_AUDIT_H
#define ROUTER_AUDIT_H

#include <jansson.h>
#include <stdint.h>

struct audit;
struct router;

/* Differences that are listed; all are counted. */
#define AUDIT_ROWS_MAX    100u
/* Between two looks at the kernel. */
#define AUDIT_WAIT_MS     1000u
/* Between two steps, so that the loop has most of the time. */
#define AUDIT_PAUSE_MS    1u
/* It gives up: the kernel's changes do not let it end. A million routes take some 5 s. */
#define AUDIT_DEADLINE_MS 120000u

/* Since the router started; by itself and asked for alike. */
struct audit_counts {
	uint64_t audits;                                 /* that came to their end */
	uint64_t unfinished;                             /* that did not */
	uint64_t repairs;                                /* audits that mended something */
	uint64_t drift_kernel, drift_router, drift_nics; /* differences found */
	uint64_t last_ms;                                /* how long the last one took */
	uint64_t held_most_ns;                           /* longest step */
};

/* -ENOMEM. */
int audit_open(struct router *);
void audit_close(struct router *);
/* The configuration has changed: the next one comes when it says. */
void audit_schedule(struct router *);
const struct audit_counts *audit_counts(const struct router *);

/* Zeroed before. Calls done with the answer to {"show": "check"}, the callee's: `routes`, `nics`
 * that were looked at, changes `waiting`, `differences`, and `rows` of the first of them: `at`
 * ("router" or a NIC's name), `prefix`, what it `has` there and what it `wants`; or {"error":
 * TEXT}. forget: done is not called. */
typedef void audit_done(void *context, json_t *answer);

struct audit_question {
	struct audit_question *next;
	audit_done *done; /* NULL: not asked */
	void *context;
};

void audit_ask(struct router *, struct audit_question *, audit_done *, void *context);
void audit_forget(struct router *, struct audit_question *);

#endif
