/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Subcommands of `p2pnic fib` (command_fib.c): each takes its operands and returns the exit status.
 */
#ifndef CLI_COMMAND_FIB_H
#define CLI_COMMAND_FIB_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "cli/command_line.h"
#include "fib/fib_image.h"
#include "fib/route_file.h"

struct fib_options {
	const struct command_line *line;
	bool json;
	unsigned next_hops;
	unsigned kind; /* enum p2pnic_fib_kind */
	uint64_t memory, random, seed;
};

int fib_stat(const struct fib_options *, int argc, char **argv);
int fib_lookup_command(const struct fib_options *, int argc, char **argv);
int fib_check(const struct fib_options *, int argc, char **argv);
int fib_diff(const struct fib_options *, int argc, char **argv);

/* Says it on stderr, and is COMMAND_FAILED. */
int fib_fail(const char *error);
/* Usage on stderr, and is COMMAND_USAGE. */
int fib_usage(const struct fib_options *);

/* Adds the routes of a file, or of the synthetic table; -errno after a sentence on stderr. */
int fib_read_table(const struct fib_options *, const char *path, struct route_table *);
/* NULL after a sentence on stderr. */
struct fib *fib_of_list(const struct fib_options *, unsigned family, const struct route_list *);
/* Its argument; NULL (out of memory) after a sentence on stderr. */
json_t *fib_made(json_t *);
void fib_print_json(const json_t *);

#endif
