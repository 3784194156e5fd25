/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/helper.h"
#include "cli/command.h"
#include "ipc/listen.h"
#include "ipc/log.h"

#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>

int command_helper(
	int argc, char **argv, const char *usage, int (*serve)(const char *path, int ready_fd))
{
	static const struct option options[] = {{"socket", required_argument, NULL, 's'},
		{"ready-fd", required_argument, NULL, 'r'}, {"help", no_argument, NULL, 'h'}, {0}};
	const char *path = NULL;
	unsigned long number;
	int ready = -1;
	int option, error;

	while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		switch (option) {
		case 's':
			path = optarg;
			break;
		case 'r':
			if (!command_number(optarg, 0, INT_MAX, &number)) {
				fprintf(stderr, "p2pnic %s: '%s' is no descriptor\n", argv[0],
					optarg);
				return COMMAND_USAGE;
			}
			ready = (int)number;
			if (fcntl(ready, F_GETFD) < 0) {
				fprintf(stderr, "p2pnic %s: descriptor %d is not open\n", argv[0],
					ready);
				return COMMAND_USAGE;
			}
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
	error = serve(path, ready);
	if (error) {
		char text[UNIX_LISTEN_TEXT_BYTES], who[32];

		snprintf(who, sizeof(who), "p2pnic %s", argv[0]);
		log_say(LOG_ERROR, who, "%s", unix_listen_error(path, error, text));
		return COMMAND_FAILED;
	}
	return COMMAND_OK;
}
