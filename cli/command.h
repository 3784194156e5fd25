/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Subcommands of p2pnic, in the manner of git: main.c finds the row, the subcommand parses its own
 * arguments (argv[0] is its name) and returns the exit status: 0 done, 1 failed, 2 wrong usage.
 */
#ifndef P2PNIC_COMMAND_H
#define P2PNIC_COMMAND_H

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

#define COMMAND_OK     0
#define COMMAND_FAILED 1
#define COMMAND_USAGE  2

/* The text as a decimal number from low to high, and nothing after it. */
static inline bool command_number(
	const char *text, unsigned long low, unsigned long high, unsigned long *value)
{
	char *end;

	errno = 0;
	*value = strtoul(text, &end, 10);
	return *text >= '0' && *text <= '9' && !*end && !errno && *value >= low && *value <= high;
}

int command_doctor(int argc, char **argv);
int command_fib(int argc, char **argv);
int command_nic(int argc, char **argv);
int command_keeper(int argc, char **argv);
int command_punt(int argc, char **argv);
int command_reload(int argc, char **argv);
int command_router(int argc, char **argv);
int command_show(int argc, char **argv);
int command_lab(int argc, char **argv);
int command_replay(int argc, char **argv);
int command_tester(int argc, char **argv);

#endif
