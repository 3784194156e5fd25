/* SPDX-License-Identifier: BSD-3-Clause */
/* The router's side of the keeper: a state machine in the loop. */
#ifndef ROUTER_KEEP_H
#define ROUTER_KEEP_H

#include "router/loop.h"
#include "router/process.h"

struct router;
struct router_nic;

struct router_keeper {
	int socket;                  /* -1: none */
	int ready;                   /* a pipe: readable when one that was started listens; -1 */
	struct process process, old; /* old: killed, to be reaped */
	struct loop_watch watch;     /* of socket or ready */
	struct loop_timer timer;     /* the next try */
	unsigned backoff_ms;
	bool complained; /* what is wrong was said once */
};

/* Connects to it, or starts one; nobody waits for that. -errno with r->error: the one that is
 * there, and may hold what an earlier router left, does not answer. */
int keep_open(struct router *);
/* Hands it the connection of a NIC, now or as soon as there is a keeper; drop takes it back. */
void keep_put(struct router_nic *);
void keep_drop(struct router_nic *);
/* It holds all NICs that are up; or there is something wrong with it, which was said. */
bool keep_settled(const struct router *);
/* At the end: it ends too, or is let go. */
void keep_close(struct router *, bool leave);

#endif
