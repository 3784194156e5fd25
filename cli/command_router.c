/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/command.h"
#include "cli/command_line.h"
#include "ipc/log.h"
#include "ipc/notify.h"
#include "router/router.h"

#include <errno.h>
#include <stdio.h>

#define LEAVE_RUNNING 1001
#define RUNTIME       1002
#define LOG_LEVEL     1003

static const struct command_option options[] = {
	{"config", 'c', ARGUMENT_FILE, "FILE", "the configuration", NULL},
	{"leave-running", LEAVE_RUNNING, ARGUMENT_NONE, NULL,
		"at the end leave the NICs forwarding", NULL},
	{"runtime", RUNTIME, ARGUMENT_DIRECTORY, "DIR",
		"directory of sockets and lock, whatever FILE says", NULL},
	{"log-level", LOG_LEVEL, ARGUMENT_CHOICE, "LEVEL",
		"error, warning or info, whatever FILE says", "error warning info"},
	{"quiet", 'q', ARGUMENT_NONE, NULL, "no progress lines", NULL}, OPTION_HELP};

const struct command_syntax router_syntax = {
	.name = "router",
	.usage = "usage: p2pnic router -c FILE [--leave-running] [--runtime DIR]\n"
		 "                     [--log-level LEVEL] [--quiet]\n"
		 "\n"
		 "Runs the router of the configuration FILE in the foreground: starts its soft "
		 "NICs, or takes over\n"
		 "those that an earlier router left forwarding.\n"
		 "  SIGHUP           reads FILE again: addresses, neighbours, routes\n"
		 "  SIGTERM, SIGINT  stops the NICs in order and ends; with --leave-running they "
		 "forward on\n"
		 "  SIGQUIT          stops the NICs in order, with --leave-running too\n"
		 "  SIGKILL          NICs forward on until the next `p2pnic router -c FILE` takes "
		 "them over\n",
	.options = options,
};

int command_router(int argc, char **argv)
{
	struct router router = {0};
	const char *path = NULL;
	struct command_line line;
	enum log_level level;
	int option, error;

	command_begin(&line, &router_syntax, argc, argv);
	while ((option = command_option(&line)) >= 0) {
		switch (option) {
		case 'c':
			path = optarg;
			break;
		case LEAVE_RUNNING:
			router.leave = true;
			break;
		case 'q':
			router.quiet = true;
			break;
		case LOG_LEVEL:
			if (!log_level_parse(optarg, &level)) {
				fprintf(stderr,
					"p2pnic router: --log-level '%s': want " LOG_LEVEL_NAMES
					"\n",
					optarg);
				return COMMAND_USAGE;
			}
			log_level_set(level);
			router.log_level_given = true;
			break;
		case RUNTIME:
			config_runtime_wanted(optarg);
			break;
		}
	}
	if (line.status != COMMAND_GO)
		return line.status;
	if (!path || optind != argc)
		return command_refuse(&line);
	notify_open();
	error = router_start(&router, path);
	if (error == -EINTR)
		return COMMAND_OK; /* told to end before it was up */
	if (error < 0) {
		log_say(LOG_ERROR, "p2pnic router", "%s", router.error.text);
		return COMMAND_FAILED;
	}
	while (router_step(&router, -1) == 0)
		;
	router_stop(&router);
	return COMMAND_OK;
}
