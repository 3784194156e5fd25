/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Comes before every file of a build for `make coverage` (compiler option -include). _exit and a signal's
 * default action end a process before it has written its counters; so both write them first.
 */
#ifndef TESTS_COVERAGE_H
#define TESTS_COVERAGE_H

#include <signal.h>
#include <unistd.h>

void __gcov_dump(void);

#define _exit(code) (__gcov_dump(), _exit(code))

void coverage_terminated(int number);
void coverage_set_up(void);

__attribute__((weak)) void coverage_terminated(int number)
{
	__gcov_dump();
	signal(number, SIG_DFL);
	raise(number);
}

/* Programs that handle the signal replace this; one that ignores it, or whose parent did, is left so. */
__attribute__((weak, constructor)) void coverage_set_up(void)
{
	struct sigaction old;

	if (sigaction(SIGTERM, NULL, &old) == 0 && old.sa_handler == SIG_DFL)
		signal(SIGTERM, coverage_terminated);
}

#endif
