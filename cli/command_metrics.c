/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/command.h"
#include "cli/helper.h"
#include "cli/which_router.h"
#include "metrics/metrics.h"
#include "metrics/text.h"
#include "router/runtime.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { LISTEN = 1101, PUBLIC, NAMESPACE, MANUAL, SOCKET, READY };

static const struct command_option options[] = {
	{"listen", LISTEN, ARGUMENT_TEXT, "ADDRESS:PORT|unix:PATH",
		"where; 127.0.0.1:9632, [::1]:9632, unix:/run/metrics.sock", NULL},
	{"public", PUBLIC, ARGUMENT_NONE, NULL,
		"also on an address that other hosts reach; anybody there reads everything", NULL},
	{"namespace", NAMESPACE, ARGUMENT_TEXT, "NAME",
		"network namespace of the address, as `ip netns` names it", NULL},
	{"manual", MANUAL, ARGUMENT_NONE, NULL, "prints what each counter and metric is", NULL},
	{"json", 'j', ARGUMENT_NONE, NULL, "of --manual: JSON", NULL},
	{"socket", SOCKET, ARGUMENT_FILE, "PATH", "where a router tells it all that", NULL},
	{"ready-fd", READY, ARGUMENT_NUMBER, "N", "a byte is written there when it listens", NULL},
	WHICH_ROUTER_OPTIONS, OPTION_HELP};

const struct command_syntax metrics_syntax = {
	.name = "metrics",
	.usage = "usage: p2pnic metrics --listen ADDRESS:PORT|unix:PATH [--public] [--namespace "
		 "NAME]\n"
		 "                      [--name NAME | --runtime DIR]\n"
		 "       p2pnic metrics --manual [-j]\n"
		 "       p2pnic metrics --socket PATH [--ready-fd N]\n"
		 "\n"
		 "Serves a running router's counters by HTTP: to Prometheus at /metrics, to a "
		 "browser at "
		 "/.\n"
		 "`p2pnic router` starts one by itself where its configuration has `metrics`, by "
		 "--socket.\n",
	.options = options,
};

/* As the router starts it. */
static const struct command_syntax started_syntax = {
	.name = "metrics",
	.usage = "usage: p2pnic metrics --socket PATH [--ready-fd N]\n",
	.options = helper_options,
};

/* Told by a router over a socket, as keeper and punt are. */
static bool by_router(int argc, char **argv)
{
	for (int k = 1; k < argc; k++)
		if (!strncmp(argv[k], "--socket", 8) || !strncmp(argv[k], "--ready-fd", 10))
			return true;
	return false;
}

/* Only a router of this user is asked, unless its directory was said. */
static bool may_ask(const struct which_router *router)
{
	struct error error;
	int directory;

	if (!router->own)
		return true;
	directory = runtime_directory(router->runtime, false, &error);
	if (directory >= 0)
		close(directory);
	if (directory >= 0 || directory == -ENOENT)
		return true; /* it may come */
	fprintf(stderr, "p2pnic metrics: %s\n", error.text);
	return false;
}

static bool take(char *to, size_t room, const char *argument)
{
	if (snprintf(to, room, "%s", argument) < (int)room)
		return true;
	fprintf(stderr, "p2pnic metrics: '%s' is too long\n", argument);
	return false;
}

static void print_manual(bool as_json)
{
	json_t *manual;

	if (!as_json) {
		metrics_manual(stdout);
		return;
	}
	manual = metrics_manual_json();
	json_dumpf(manual, stdout, JSON_INDENT(2));
	putchar('\n');
	json_decref(manual);
}

int command_metrics(int argc, char **argv)
{
	struct metrics_order order = {.version = P2PNIC_VERSION_STRING};
	struct which_router router = {.command = "metrics"};
	bool manual = false, json = false;
	struct command_line line;
	struct error error;
	int option;

	if (by_router(argc, argv))
		return command_helper(argc, argv, &started_syntax, metrics_serve);
	command_begin(&line, &metrics_syntax, argc, argv);
	while ((option = command_option(&line)) >= 0) {
		switch (option) {
		case LISTEN:
			if (!take(order.listen, sizeof(order.listen), optarg))
				return COMMAND_USAGE;
			break;
		case NAMESPACE:
			if (!take(order.namespace, sizeof(order.namespace), optarg))
				return COMMAND_USAGE;
			break;
		case PUBLIC:
			order.public = true;
			break;
		case MANUAL:
			manual = true;
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
	if (optind != argc || manual == (order.listen[0] != 0) || (json && !manual))
		return command_refuse(&line);
	if (manual) {
		print_manual(json);
		return COMMAND_OK;
	}
	which_router_settle(&router);
	if (!may_ask(&router))
		return COMMAND_FAILED;
	if (metrics_run(&order, router.runtime, &error)) {
		fprintf(stderr, "p2pnic metrics: --listen %s: %s\n", order.listen, error.text);
		return COMMAND_FAILED;
	}
	return COMMAND_OK;
}
