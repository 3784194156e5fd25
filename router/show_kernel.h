/* SPDX-License-Identifier: BSD-3-Clause */
/* What the router knows of the kernel's tables, as JSON. */
#ifndef ROUTER_SHOW_KERNEL_H
#define ROUTER_SHOW_KERNEL_H

#include <jansson.h>
#include <stdbool.h>

struct census;
struct router;

/* Without `kernel` in the configuration: an empty object, no rows. */
json_t *show_kernel(struct router *);

/* Parts of it: where there is `kernel`, what costs no look at each route; and the census. */
json_t *show_kernel_counts(const struct router *);
json_t *show_census_counts(const struct census *);

/* What `p2pnic doctor` finds; routes: also by a look at each route. */
json_t *show_doctor(const struct router *, bool routes);

#endif
