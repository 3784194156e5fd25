/* SPDX-License-Identifier: BSD-3-Clause */
/* The table: the first, and changes of it. */
#ifndef ROUTER_RELOAD_H
#define ROUTER_RELOAD_H

#include <jansson.h>
#include <stdbool.h>

struct router;

/* first: made of the configuration, for NICs to load. reload: the configuration is read again, and
 * its addresses, neighbours, routes and MTUs take effect, by a change of the table in force where
 * that can be; NICs and engines come and go (nics_change.h). On any error the old one stays;
 * another setting of the router that NICs were started with is one. */
int router_first_table(struct router *);
int router_reload(struct router *);
/* The table once more, with routes to NICs that were added and have joined. */
void router_publish(struct router *);
/* The answer to {"reload": {"force": BOOL}}: a reload, which with force may delete most of a large
 * table (table.h). nics_behind: NICs that are up and did not get the table yet. */
json_t *router_reload_asked(struct router *, const json_t *how);
/* Whether a table can be made of the configuration; -errno with r->error. */
int router_try_table(struct router *);

#endif
