/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Subcommands of p2pnic, in the manner of git: main.c finds the row, the subcommand parses its own
 * arguments (argv[0] is its name) and returns the exit status: 0 done, 1 failed, 2 wrong usage.
 *
 * A row with a syntax (command_line.h) has its usage, the parsing of its options and its completion
 * from there. One without parses by itself, and completes as file names.
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

struct command_syntax;

struct command {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *summary;
	const struct command_syntax *syntax; /* NULL: unknown */
};

/* Ends with a row of zeros. */
extern const struct command commands[];

int command_completion(int argc, char **argv);
int command_config(int argc, char **argv);
int command_model(int argc, char **argv);
int command_metrics(int argc, char **argv);
int command_capture(int argc, char **argv);
int command_doctor(int argc, char **argv);
int command_fib(int argc, char **argv);
int command_nic(int argc, char **argv);
int command_keeper(int argc, char **argv);
int command_punt(int argc, char **argv);
int command_reload(int argc, char **argv);
int command_router(int argc, char **argv);
int command_show(int argc, char **argv);
int command_stop(int argc, char **argv);
int command_report(int argc, char **argv);
int command_lab(int argc, char **argv);
int command_replay(int argc, char **argv);
int command_tester(int argc, char **argv);
int command_top(int argc, char **argv);
int command_trace(int argc, char **argv);
int command_watch(int argc, char **argv);

extern const struct command_syntax capture_syntax, completion_syntax, config_syntax, doctor_syntax,
	fib_syntax, keeper_syntax, lab_syntax, metrics_syntax, model_syntax, nic_syntax,
	punt_syntax, reload_syntax, replay_syntax, report_syntax, router_syntax, show_syntax,
	stop_syntax, tester_syntax, top_syntax, trace_syntax, watch_syntax;

#endif
