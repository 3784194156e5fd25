/* SPDX-License-Identifier: BSD-3-Clause */
/* The event loop when the kernel is out of memory. */
#include "inject.h"
#include "router/loop.h"

#include <setjmp.h>
#include <stdarg.h>
/* cmocka wants those first. */
#include <cmocka.h>
#include <errno.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

int __real_epoll_wait(int epoll, struct epoll_event *events, int n, int timeout_ms);
int __wrap_epoll_wait(int epoll, struct epoll_event *events, int n, int timeout_ms);

static bool short_of_memory;

int __wrap_epoll_wait(int epoll, struct epoll_event *events, int n, int timeout_ms)
{
	if (short_of_memory) {
		errno = ENOMEM;
		return -1;
	}
	return __real_epoll_wait(epoll, events, n, timeout_ms);
}

static void count(void *context, uint32_t events)
{
	++*(unsigned *)context;
}

static void fired(void *context)
{
	*(bool *)context = true;
}

/* The descriptor has a duplicate, as those that the keeper holds: closing it would not end its
 * events. */
static void test_unwatch_without_memory(void **state)
{
	struct loop_watch watch = {0};
	struct loop loop;
	unsigned calls = 0;
	int fd = eventfd(1, EFD_CLOEXEC), other = dup(fd);

	assert_int_equal(loop_open(&loop), 0);
	assert_int_equal(loop_watch(&loop, &watch, fd, EPOLLIN, count, &calls), 0);
	loop_step(&loop, 0);
	assert_int_equal(calls, 1);
	inject_one("epoll_ctl", 0, ENOMEM);
	loop_unwatch(&loop, &watch);
	close(fd);
	loop_step(&loop, 0);
	assert_int_equal(calls, 1);
	/* Nothing is left to report: another of the same number is watched as a new one. */
	struct epoll_event event;
	assert_int_equal(__real_epoll_wait(loop.epoll, &event, 1, 0), 0);
	loop_close(&loop);
	close(other);
}

/* Timers fire on, and the loop does not spin until then. */
static void test_wait_without_memory(void **state)
{
	struct loop_timer timer = {0};
	struct loop loop;
	bool done = false;
	unsigned steps = 0;

	assert_int_equal(loop_open(&loop), 0);
	short_of_memory = true;
	loop_after(&loop, &timer, 50, fired, &done);
	while (!done) {
		loop_step(&loop, -1);
		steps++;
	}
	short_of_memory = false;
	assert_true(steps <= 10);
	loop_close(&loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_unwatch_without_memory),
		cmocka_unit_test(test_wait_without_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
