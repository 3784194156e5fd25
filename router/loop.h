/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The router's event loop: descriptors and timers, each with a function to call. One thread; no
 * callback may wait.
 *
 * Watches and timers lie in the structures of those who use them, zeroed before first use, and may
 * be stopped and started again at any time, in callbacks too: one event is taken from the kernel at
 * a time, so none is delivered after its watch was stopped.
 */
#ifndef ROUTER_LOOP_H
#define ROUTER_LOOP_H

#include <stdint.h>
#include <sys/epoll.h>

struct loop {
	int epoll;
	struct loop_timer *timers; /* ascending by time */
};

/* events: EPOLLIN, EPOLLOUT, with EPOLLHUP and EPOLLERR whatever was asked for. */
typedef void loop_ready(void *context, uint32_t events);
typedef void loop_fired(void *context);

struct loop_watch {
	int fd; /* borrowed; meaningful while `ready` is set */
	loop_ready *ready;
	void *context;
};

struct loop_timer {
	uint64_t at_ns; /* CLOCK_MONOTONIC */
	loop_fired *fired;
	void *context;
	struct loop_timer *next;
};

int loop_open(struct loop *); /* -errno */
void loop_close(struct loop *);

/* Calls ready whenever one of the events is there. A watch that is there already gets other events.
 * -ENOMEM, -ENOSPC: the kernel has no room; the watch is not there. */
int loop_watch(struct loop *, struct loop_watch *, int fd, uint32_t events, loop_ready *ready,
	void *context);
/* Before the descriptor is closed. */
void loop_unwatch(struct loop *, struct loop_watch *);

/* Calls fired once, after so long; one that runs already begins anew. */
void loop_after(struct loop *, struct loop_timer *, unsigned ms, loop_fired *fired, void *context);
void loop_cancel(struct loop *, struct loop_timer *);

/* Waits for one event or timer, at most timeout_ms (-1: for ever), and calls what is due. */
void loop_step(struct loop *, int timeout_ms);

#endif
