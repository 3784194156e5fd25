/* SPDX-License-Identifier: BSD-3-Clause */
/* What the router knows of the kernel's tables, as JSON. */
#ifndef ROUTER_SHOW_KERNEL_H
#define ROUTER_SHOW_KERNEL_H

#include <jansson.h>

struct router;

/* Without `kernel` in the configuration: an empty object, no rows. */
json_t *show_kernel(const struct router *);
json_t *show_kernel_neighbors(const struct router *);

#endif
