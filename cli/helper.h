/* SPDX-License-Identifier: BSD-3-Clause */
/* Subcommands that the router starts beside itself (router/helper.h): keeper, punt. */
#ifndef P2PNIC_CLI_HELPER_H
#define P2PNIC_CLI_HELPER_H

#include "cli/command_line.h"

#define HELPER_SOCKET 1001
#define HELPER_READY  1002

extern const struct command_option helper_options[];

/* p2pnic NAME --socket PATH [--ready-fd N], NAME being argv[0]: serves until it is told to end.
 * The exit status. */
int command_helper(int argc, char **argv, const struct command_syntax *,
	int (*serve)(const char *path, int ready_fd));

#endif
