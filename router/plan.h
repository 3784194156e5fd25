/* SPDX-License-Identifier: BSD-3-Clause */
/* Which NIC runs where, and what its process is started with. */
#ifndef ROUTER_PLAN_H
#define ROUTER_PLAN_H

struct router;
struct nic_unit;

int plan_make(struct router *);
int plan_start(struct router *, struct nic_unit *); /* -errno, r->error */

#endif
