/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Changes of routes, as NICs got them, for those who watch them (api_watch.h).
 *
 * A change of the table is one batch: for each route that differs, what became of it and where it
 * leads, as it was then: next hops' numbers are given out anew later, and NICs renamed. A reader
 * takes changes one by one, at its own pace. A batch is let go of when all have read it that read
 * when it came, so the log is as long as the slowest one makes it. Of that the writer takes care:
 *
 *     batch = route_batch_new(…)       while log->changes + batch->n are too many, the slowest
 *     route_reader_leave(…)            readers leave: those whose batch is log->first;
 *     route_log_add(log, batch)        then it is the last one, and
 *     route_reader_follow(…)           each reader follows;
 *     route_log_trim(log)              without any it goes at once.
 */
#ifndef ROUTER_ROUTE_LOG_H
#define ROUTER_ROUTE_LOG_H

#include "router/show_route.h"
#include "router/table.h"

struct router;

enum route_became { ROUTE_ADDED, ROUTE_REPLACED, ROUTE_GONE };

struct route_change {
	struct route route; /* as it is now; ROUTE_GONE: as it was */
	uint32_t lead;      /* of the batch */
	uint8_t became;     /* enum route_became */
	uint8_t was_source; /* enum rib_source, before */
};

struct route_batch {
	struct route_batch *next;
	struct route_lead *lead; /* each once */
	size_t leads, n;
	unsigned readers; /* who have not read all of it */
	struct route_change change[];
};

/* Zeroed at first. */
struct route_log {
	struct route_batch *first, *last;
	size_t changes; /* of all batches */
};

struct route_reader {
	struct route_batch *batch; /* NULL: it has read all */
	size_t at;
};

/* What a change of the table changed of routes: *batch NULL if nothing. -ENOMEM. */
int route_batch_new(
	struct route_batch **batch, const struct router *, const struct table_changed *);
void route_batch_free(struct route_batch *);

void route_log_add(struct route_log *, struct route_batch *);
/* Lets go of what nobody reads. */
void route_log_trim(struct route_log *);

/* Reads on with a batch that was added just now. */
void route_reader_follow(struct route_reader *, struct route_batch *);
/* The next change, and where its route leads; NULL: no more. Both are valid until the next call of
 * any reader. */
const struct route_change *route_reader_next(
	struct route_log *, struct route_reader *, const struct route_lead **lead);
void route_reader_leave(struct route_log *, struct route_reader *);

#endif
