/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/command.h"
#include "cli/which_router.h"
#include "router/api_client.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const struct command_option options[] = {
	{"force", 'f', ARGUMENT_NONE, NULL,
		"also if that deletes more than half of a table of 1000 routes or more", NULL},
	OPTION_JSON, WHICH_ROUTER_OPTIONS, OPTION_HELP};

const struct command_syntax reload_syntax = {
	.name = "reload",
	.usage = "usage: p2pnic reload [--force] [-j] [--name NAME | --runtime DIR]\n"
		 "\n"
		 "Has a running router read its configuration and route files again, and says "
		 "what changed.\n"
		 "On a mistake the old ones stay.\n",
	.options = options,
};

int command_reload(int argc, char **argv)
{
	struct which_router router = {.command = "reload"};
	struct error error;
	bool json = false, force = false;
	const json_t *done;
	json_t *answer;
	struct command_line line;
	json_int_t behind;
	int option;

	command_begin(&line, &reload_syntax, argc, argv);
	while ((option = command_option(&line)) >= 0) {
		switch (option) {
		case 'f':
			force = true;
			break;
		case 'j':
			json = true;
			break;
		default:
			if (!which_router_option(&router, option, optarg))
				return COMMAND_USAGE;
		}
	}
	if (line.status != COMMAND_GO)
		return line.status;
	if (optind != argc)
		return command_refuse(&line);
	which_router_settle(&router);
	answer = api_ask(router.runtime, router.own,
		json_pack("{s:{s:b}}", "reload", "force", force), &error);
	if (!answer) {
		fprintf(stderr, "p2pnic reload: %s\n", error.text);
		return COMMAND_FAILED;
	}
	done = json_object_get(answer, "reload");
	if (!done) {
		fprintf(stderr, "p2pnic reload: %s/api.sock: the answer there is no router's\n",
			router.runtime);
		json_decref(answer);
		return COMMAND_FAILED;
	}
	behind = json_integer_value(json_object_get(done, "nics_behind"));
	if (json) {
		json_dumpf(answer, stdout, JSON_INDENT(2));
		putchar('\n');
	} else {
		printf("configuration read again: %s\ntable: %s\n",
			json_string_value(json_object_get(done, "configuration")),
			json_string_value(json_object_get(done, "table")));
	}
	json_decref(answer);
	if (behind)
		fprintf(stderr,
			"p2pnic reload: %lld NICs forward by the old table until they answer; "
			"`p2pnic show nic` names them\n",
			(long long)behind);
	if (fflush(stdout) || ferror(stdout)) {
		fprintf(stderr, "p2pnic reload: standard output: %s\n", strerror(errno));
		return COMMAND_FAILED;
	}
	return behind ? COMMAND_FAILED : COMMAND_OK;
}
