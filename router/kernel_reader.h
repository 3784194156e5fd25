/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reads what the kernel says of one network namespace, into a kernel_state, and keeps that true.
 *
 *   subscribe ──> dump links, addresses, next hops, routes, neighbours ──> sweep ──> complete
 *       ^           (a socket each; interrupted or failed: again)                       │
 *       └──────────────── ENOBUFS, or another error of the events' socket ──────────────┤
 *                                                                                       │
 *                     dump all again, some seconds later <── evictions, doubts ─────────┘
 *
 * First the subscription, then the dumps, so nothing falls between them. The socket of events is
 * drained whenever it has something and nothing else is done here: what is done about it is the
 * affair of `changed`, which is called after each drain that left changes in the queue, and once
 * when `complete` has changed.
 *
 * No call waits, save that the kernel fills a dump within recvmsg under its own locks, 32 kB at a
 * time. All runs in the loop's thread.
 */
#ifndef ROUTER_KERNEL_READER_H
#define ROUTER_KERNEL_READER_H

#include "ipc/error.h"
#include "router/kernel_look.h"
#include "router/loop.h"
#include "router/netns.h"

/* Of the events' socket. 10,000 route changes a second are some 5 MB; a full table that goes and
 * comes is 600 MB, which no buffer holds: then it is dumped. */
#define KERNEL_RECEIVE_BYTES (128 << 20)

/* Dumping again, to find what went without a message: after the last cause, doubled each time that
 * one dump leads to the next. */
#define KERNEL_AGAIN_MS     2000u
#define KERNEL_AGAIN_MAX_MS 64000u
/* After a dump or a subscription that failed, doubled each time. */
#define KERNEL_PAUSE_MS     10u
#define KERNEL_PAUSE_MAX_MS 1000u

/* What one look takes beside its dumps: events that are under way arrive. */
#define KERNEL_LOOK_MS    200u
/* A dump that is interrupted is tried again so often in a look. */
#define KERNEL_LOOK_TRIES 10u

typedef void kernel_changed(void *context);
/* A look has come to its end; or not: messages were lost, a dump failed. */
typedef void kernel_looked(void *context, bool ended);
/* What an operator should know: a sentence. */
typedef void kernel_say(void *context, const char *text);

struct kernel_reader {
	struct kernel_state *state;
	bool complete; /* all was dumped since the last message was lost */

	uint64_t rounds;      /* of dumps that came to their end */
	uint64_t overruns;    /* messages were lost: subscribed anew */
	uint64_t interrupted; /* dumps during which something changed */
	uint64_t failed;      /* dumps and subscriptions that failed */

	/* below: the reader's own */
	struct loop *loop;
	const struct netns *netns;
	kernel_changed *changed;
	kernel_say *say;
	void *context;
	int events, dump; /* sockets; -1: none */
	struct loop_watch events_watch, dump_watch;
	struct loop_timer pause, again;
	unsigned step; /* the dump that runs or comes next */
	unsigned said; /* the last one whose failure was said, + 1 */
	uint32_t sequence;
	bool inconsistent, in_round;
	unsigned pause_ms, again_ms;
	uint64_t evicted; /* when last looked at */
	bool small;       /* the smaller buffer was said */
	uint8_t *buffer;
	struct kernel_look *look; /* NULL: none runs */
	kernel_looked *looked;
	void *look_context;
	unsigned look_tries;
};

/* -errno with a sentence: there is no rtnetlink, or no memory. On success it begins to subscribe
 * and dump in the loop. */
int kernel_reader_start(struct kernel_reader *, struct loop *, const struct netns *,
	kernel_changed *, kernel_say *, void *context, struct error *);
/* Also after a start that failed. */
void kernel_reader_stop(struct kernel_reader *);

/* Dumps all again, as soon as the dumps that run have ended. */
void kernel_reader_again(struct kernel_reader *, unsigned after_ms);

/* Reads what events there are; true: all of them, and the state is what the kernel had. */
bool kernel_reader_drain(struct kernel_reader *);

/* Dumps all, to look at (kernel_look.h), up to kernel_look_end; the steps are the caller's.
 * -EAGAIN: not now, as it dumps anyhow. cancel: looked is not called. */
int kernel_reader_look(
	struct kernel_reader *, struct kernel_look *, kernel_looked *, void *context);
void kernel_reader_look_cancel(struct kernel_reader *);

#endif
