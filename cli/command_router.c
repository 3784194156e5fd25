/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/command.h"
#include "ipc/log.h"
#include "router/router.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>

static const char usage[] = "usage: p2pnic router -c FILE [--leave-running] [--quiet]\n"
			    "\n"
			    "Runs the router of the configuration FILE in the foreground: starts "
			    "its soft NICs, or takes over\n"
			    "those that an earlier router left forwarding.\n"
			    "  SIGHUP           reads FILE again: addresses, neighbours, routes\n"
			    "  SIGTERM, SIGINT  stops the NICs in order and ends; with "
			    "--leave-running they forward on\n"
			    "  SIGKILL          NICs forward on until the next `p2pnic router -c "
			    "FILE` takes them over\n";

int command_router(int argc, char **argv)
{
	static const struct option options[] = {{"config", required_argument, NULL, 'c'},
		{"leave-running", no_argument, NULL, 'l'}, {"quiet", no_argument, NULL, 'q'},
		{"help", no_argument, NULL, 'h'}, {0}};
	struct router router = {0};
	const char *path = NULL;
	int option, error;

	while ((option = getopt_long(argc, argv, "c:qh", options, NULL)) != -1) {
		switch (option) {
		case 'c':
			path = optarg;
			break;
		case 'l':
			router.leave = true;
			break;
		case 'q':
			router.quiet = true;
			break;
		case 'h':
			fputs(usage, stdout);
			return COMMAND_OK;
		default:
			fputs(usage, stderr);
			return COMMAND_USAGE;
		}
	}
	if (!path || optind != argc) {
		fputs(usage, stderr);
		return COMMAND_USAGE;
	}
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
