/* SPDX-License-Identifier: BSD-3-Clause */
/* Links and faults of ports. */
#ifndef ROUTER_EVENTS_H
#define ROUTER_EVENTS_H

struct router;
struct router_nic;

int events_open(struct router_nic *); /* -errno, r->error */
void events_close(struct router *);
/* Watches a NIC that joins. -errno: it was not told so; what does not pass was said. */
int events_watch(struct router_nic *);
/* Says what has changed since it was last said. */
void events_look(struct router_nic *);
/* The same of those without interrupts. */
void events_poll(struct router *);

#endif
