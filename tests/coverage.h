/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Comes before every file of a build for `make coverage` (compiler option -include). _exit and a
 * signal's default action end a process before it has written its counters; so both write them
 * first.
 */
#ifndef TESTS_COVERAGE_H
#define TESTS_COVERAGE_H

#include <signal.h>
#include <unistd.h>

void __gcov_dump(void);

/* A process that gives up files (metrics/confine.c) keeps them: its counters are some. */
#define COVERAGE_NEEDS_FILES

/* Where calls are made to fail (tests/chaos/inject.c), those that write the counters are not. */
void inject_off(void) __attribute__((weak));

__attribute__((noinline, unused, no_profile_instrument_function)) static void coverage_off(void)
{
	if (inject_off)
		inject_off();
}

__attribute__((noinline, unused, no_profile_instrument_function)) static void coverage_dump(void)
{
	coverage_off();
	__gcov_dump();
}

/* A function: what makes the code runs before the counters are written. */
__attribute__((noinline, unused, noreturn, no_profile_instrument_function)) static void
coverage_exit(int code)
{
	coverage_dump();
	_exit(code);
}

#define _exit coverage_exit

/* So does exec, by gcc's own wrappers. */
#define execv(path, arguments)  (coverage_off(), execv(path, arguments))
#define execvp(path, arguments) (coverage_off(), execvp(path, arguments))

/* Runs before the counters' own destructor, which has a priority. */
void coverage_ended(void);

__attribute__((weak, destructor)) void coverage_ended(void)
{
	if (inject_off)
		inject_off();
}

void coverage_terminated(int number);
void coverage_set_up(void);

__attribute__((weak)) void coverage_terminated(int number)
{
	coverage_dump();
	signal(number, SIG_DFL);
	raise(number);
}

/* Programs that handle the signal replace this; one that ignores it, or whose parent did, is left
 * so. */
__attribute__((weak, constructor)) void coverage_set_up(void)
{
	struct sigaction old;

	if (sigaction(SIGTERM, NULL, &old) == 0 && old.sa_handler == SIG_DFL)
		signal(SIGTERM, coverage_terminated);
}

#endif
