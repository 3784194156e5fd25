/* SPDX-License-Identifier: BSD-3-Clause */
/* What the router tells of packets to and from the kernel: NICs' counters, and what the punt
 * process has counted since it has run. Empty without `kernel`. */
#ifndef ROUTER_SHOW_HOST_H
#define ROUTER_SHOW_HOST_H

#include <jansson.h>

struct router;

/* By NIC and class: passed and policed by the NIC, delivered to the tap and refused by it. */
unsigned show_punt_rows(const struct router *);
json_t *show_punt(struct router *, unsigned row);
/* By NIC: carrier, and totals of both directions; injects by ring. */
unsigned show_tap_rows(const struct router *);
json_t *show_tap(struct router *, unsigned nic);

#endif
