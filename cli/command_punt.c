/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/command.h"
#include "ipc/listen.h"
#include "ipc/log.h"
#include "punt/punt.h"

#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

static const char usage[] =
	"usage: p2pnic punt --socket PATH [--ready-fd N]\n"
	"\n"
	"Carries frames between the NICs' host rings and their taps, while the router is replaced, "
	"too.\n"
	"`p2pnic router` starts one by itself where its configuration has `kernel`.\n";

int command_punt(int argc, char **argv)
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
				fprintf(stderr, "p2pnic punt: '%s' is no descriptor\n", optarg);
				return COMMAND_USAGE;
			}
			ready = (int)number;
			if (fcntl(ready, F_GETFD) < 0) {
				fprintf(stderr, "p2pnic punt: descriptor %d is not open\n", ready);
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
	error = punt_serve(path, ready);
	if (error) {
		char text[UNIX_LISTEN_TEXT_BYTES];

		log_say(LOG_ERROR, "p2pnic punt", "%s", unix_listen_error(path, error, text));
		return COMMAND_FAILED;
	}
	return COMMAND_OK;
}
