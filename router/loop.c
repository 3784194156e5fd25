/* SPDX-License-Identifier: BSD-3-Clause */
#include "router/loop.h"
#include "ipc/clock.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <time.h>
#include <unistd.h>

#define UNWATCH_TRIES 100u
#define SHORTAGE_NS   10000000

int loop_open(struct loop *loop)
{
	*loop = (struct loop){.epoll = epoll_create1(EPOLL_CLOEXEC)};
	return loop->epoll < 0 ? -errno : 0;
}

void loop_close(struct loop *loop)
{
	if (loop->epoll >= 0)
		close(loop->epoll);
	*loop = (struct loop){.epoll = -1};
}

int loop_watch(struct loop *loop, struct loop_watch *watch, int fd, uint32_t events,
	loop_ready *ready, void *context)
{
	struct epoll_event event = {.events = events, .data.ptr = watch};
	const int operation = watch->ready ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;

	if (epoll_ctl(loop->epoll, operation, fd, &event) < 0)
		return -errno;
	*watch = (struct loop_watch){fd, ready, context};
	return 0;
}

void loop_unwatch(struct loop *loop, struct loop_watch *watch)
{
	/* A descriptor that others hold too would be reported for ever, also when it is closed
	 * here. */
	for (unsigned tries = 0; watch->ready && tries < UNWATCH_TRIES; tries++)
		if (epoll_ctl(loop->epoll, EPOLL_CTL_DEL, watch->fd, NULL) == 0 ||
			errno == ENOENT || errno == EBADF)
			break;
	watch->ready = NULL;
}

void loop_after(
	struct loop *loop, struct loop_timer *timer, unsigned ms, loop_fired *fired, void *context)
{
	struct loop_timer **at = &loop->timers;

	loop_cancel(loop, timer);
	*timer = (struct loop_timer){
		.at_ns = clock_now_ns() + ms * 1000000ull, .fired = fired, .context = context};
	while (*at && (*at)->at_ns <= timer->at_ns)
		at = &(*at)->next;
	timer->next = *at;
	*at = timer;
}

void loop_cancel(struct loop *loop, struct loop_timer *timer)
{
	struct loop_timer **at = &loop->timers;

	while (*at && *at != timer)
		at = &(*at)->next;
	if (*at)
		*at = timer->next;
	timer->fired = NULL;
}

static void fire(struct loop *loop, uint64_t now)
{
	/* A timer that a callback starts is later than `now`, so this ends. */
	while (loop->timers && loop->timers->at_ns <= now) {
		struct loop_timer *timer = loop->timers;
		loop_fired *fired = timer->fired;

		loop->timers = timer->next;
		timer->fired = NULL;
		fired(timer->context);
	}
}

/* Rounded up: a timer is not asked for before its time. */
static int until(uint64_t at_ns, uint64_t now, int timeout_ms)
{
	uint64_t ms = at_ns <= now ? 0 : (at_ns - now + 999999) / 1000000;

	return timeout_ms >= 0 && (uint64_t)timeout_ms < ms ? timeout_ms
	       : ms > 1000000                               ? 1000000
							    : (int)ms;
}

void loop_step(struct loop *loop, int timeout_ms)
{
	const struct timespec moment = {.tv_nsec = SHORTAGE_NS};
	struct epoll_event event;
	int n;

	if (loop->timers)
		timeout_ms = until(loop->timers->at_ns, clock_now_ns(), timeout_ms);
	n = epoll_wait(loop->epoll, &event, 1, timeout_ms);
	if (n == 1) {
		const struct loop_watch *watch = event.data.ptr;

		if (watch->ready)
			watch->ready(watch->context, event.events);
	} else if (n < 0 && errno != EINTR) {
		nanosleep(&moment, NULL); /* out of memory: it did not wait */
	}
	fire(loop, clock_now_ns());
}
