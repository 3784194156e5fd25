/* SPDX-License-Identifier: BSD-3-Clause */
/* The table: the first, and changes of it with the configuration. */
#ifndef ROUTER_RELOAD_H
#define ROUTER_RELOAD_H

#include <stdbool.h>

struct config;
struct nics_change;
struct router;
struct table_report;

/* Made of the configuration, for NICs to load. */
int router_first_table(struct router *);
/* Whether a table can be made of the configuration; -errno with r->error. */
int router_try_table(struct router *);

/* Could the router take it, and what becomes of NICs then? Nothing changes. -errno with r->error: a
 * setting that NICs were started with is another, there is no place, its routes lead nowhere. */
int router_plan(struct router *, struct config *, struct nics_change *);

/*
 * The configuration is the router's from then on: its addresses, neighbours, routes and MTUs take
 * effect, by a change of the table in force where that can be; NICs and engines come and go
 * (nics_change.h). On any error the old one stays, nothing has changed, and the new one is the
 * caller's still; -ECANCELED: it would delete most of a large table (table.h), and `force` is
 * false. note: called when nothing stands in the way any more, before the first change; what it
 * returns, if not 0, is such an error.
 */
typedef int router_note(struct router *);
int router_take(
	struct router *, struct config *, bool force, router_note *note, struct table_report *);

/* The table once more, with routes to NICs that were added and have joined. */
void router_publish(struct router *);

#endif
