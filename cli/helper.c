/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/helper.h"
#include "cli/command.h"
#include "ipc/listen.h"
#include "ipc/log.h"
#include "ipc/notify.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>

const struct command_option helper_options[] = {
	{"socket", HELPER_SOCKET, ARGUMENT_FILE, "PATH", "where it listens", NULL},
	{"ready-fd", HELPER_READY, ARGUMENT_NUMBER, "N",
		"a descriptor to write a byte to once it listens", NULL},
	OPTION_HELP};

int command_helper(int argc, char **argv, const struct command_syntax *syntax,
	int (*serve)(const char *path, int ready_fd))
{
	const char *path = NULL;
	unsigned long number;
	int ready = -1;
	struct command_line line;
	int option, error;

	command_begin(&line, syntax, argc, argv);
	while ((option = command_option(&line)) >= 0) {
		switch (option) {
		case HELPER_SOCKET:
			path = optarg;
			break;
		case HELPER_READY:
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
		}
	}
	if (line.status != COMMAND_GO)
		return line.status;
	if (!path || optind != argc)
		return command_refuse(&line);
	notify_open();
	error = serve(path, ready);
	if (error) {
		char text[UNIX_LISTEN_TEXT_BYTES], who[32];

		snprintf(who, sizeof(who), "p2pnic %s", argv[0]);
		log_say(LOG_ERROR, who, "%s", unix_listen_error(path, error, text));
		return COMMAND_FAILED;
	}
	return COMMAND_OK;
}
