/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A process beside the router that outlives it, and that it speaks to over a socket in the runtime
 * directory: the keeper, punt, metrics. A state machine in the loop: connected to, else started,
 * for ever if need be. One that does not answer is killed and another started; whoever uses it says
 * so by helper_lose.
 */
#ifndef ROUTER_HELPER_H
#define ROUTER_HELPER_H

#include "router/loop.h"
#include "router/process.h"

struct router;

struct helper_kind {
	const char *name;    /* subcommand that it runs, and in messages */
	const char *socket;  /* in the runtime directory; p2pnic NAME --socket PATH --ready-fd N */
	const char *without; /* what it means that there is none, for a message */
	const char *back;    /* what another one does, for a message */
	int (*connect)(const char *path); /* a socket, or -errno */
	void (*filled)(struct router *);  /* connected: hand it everything */
	void (*lost)(struct router *);    /* what it had is not there any more */
};

struct helper {
	struct router *router;
	const struct helper_kind *kind;
	int socket;                  /* -1: none */
	int ready;                   /* a pipe: readable when one that was started listens; -1 */
	struct process process, old; /* old: killed, to be reaped */
	struct loop_watch watch;     /* of socket or ready */
	struct loop_timer timer;     /* the next try; while connected, the user's */
	unsigned backoff_ms;
	bool complained; /* what is wrong was said once */
};

void helper_init(struct helper *, struct router *, const struct helper_kind *);

/* Connects to it, or starts one; nobody waits for that. */
void helper_begin(struct helper *);
/* With a socket that is connected already: which process it is. */
void helper_identify(struct helper *);
/* With a socket that is connected already: watches it, and hands it everything. -errno. */
int helper_connected(struct helper *);
/* It is of no use any more: dead, mute, or out of step. Another one is started. */
void helper_lose(struct helper *, const char *why);
/* At the end. ended: it was told to end, or is to; else it is let go. */
void helper_close(struct helper *, bool ended);

#endif
