/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/command.h"
#include "cli/command_line.h"
#include "cli/route_words.h"
#include "cli/which_router.h"
#include "router/api_client.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define WHAT     "nic port neighbor counter drop table route"
#define FILTERS  "longer-prefixes source"
#define STATES   "nic port neighbor"
#define INTERVAL 1003

static const struct command_option options[] = {OPTION_JSON,
	{"interval", INTERVAL, ARGUMENT_NUMBER, "MS", "of counter, drop and table (1000)", NULL},
	WHICH_ROUTER_OPTIONS, OPTION_HELP};

static const struct command_word words[] = {{NULL, NULL, ARGUMENT_CHOICE, WHAT},
	{"*", NULL, ARGUMENT_CHOICE, WHAT}, {"route", NULL, ARGUMENT_CHOICE, FILTERS},
	{"route", "source", ARGUMENT_CHOICE, ROUTE_SOURCES}};

const struct command_syntax watch_syntax = {
	.name = "watch",
	.usage =
		"usage: p2pnic watch [WHAT...] [-j] [--interval MS] [--name NAME | --runtime DIR]\n"
		"       p2pnic watch [WHAT...] route [ADDRESS | PREFIX [longer-prefixes]] [source "
		"SOURCE]\n"
		"\n"
		"Prints a line for whatever changes in a running router, until it ends. WHAT: nic, "
		"port,\n"
		"neighbor (these three without a WHAT); or what is said at an interval: counter, "
		"drop, table.\n"
		"route: routes that are added, replaced or gone, as the NICs have them.\n",
	.options = options,
	COMMAND_WORDS(words),
};

static const char *text_of(const json_t *row, const char *key)
{
	const char *text = json_string_value(json_object_get(row, key));

	return text ? text : "";
}

static long long number_of(const json_t *row, const char *key)
{
	const json_t *value = json_object_get(row, key);

	return json_integer_value(
		json_is_object(value) ? json_object_get(value, "packets") : value);
}

static void print_time(void)
{
	char text[16] = "";
	struct timespec now;
	struct tm local;

	clock_gettime(CLOCK_REALTIME, &now);
	if (localtime_r(&now.tv_sec, &local))
		strftime(text, sizeof(text), "%H:%M:%S", &local);
	printf("%s.%03ld  ", text, now.tv_nsec / 1000000);
}

static void print_route(const json_t *row)
{
	const json_t *backup = json_object_get(row, "backup");

	printf("%s %s %s", text_of(row, "prefix"), text_of(row, "source"), text_of(row, "kind"));
	if (json_object_get(row, "nic"))
		printf(" %s %s", text_of(row, "nic"), text_of(row, "mac"));
	if (json_object_get(row, "next_hops"))
		printf(", %lld next hops", number_of(row, "next_hops"));
	if (backup)
		printf(", backup %s", text_of(backup, "nic"));
}

static void print_row(const char *what, const json_t *row)
{
	const char *fault = text_of(row, "fault");

	if (!strcmp(what, "nic"))
		printf("%s: %s, %lld restarts", text_of(row, "name"), text_of(row, "state"),
			number_of(row, "restarts"));
	else if (!strcmp(what, "port"))
		printf("%s: link %s%s%s", text_of(row, "nic"),
			json_is_true(json_object_get(row, "link")) ? "up" : "down",
			*fault ? ": " : "", fault);
	else if (!strcmp(what, "neighbor"))
		printf("%s %s %s %s", text_of(row, "address"), text_of(row, "nic"),
			text_of(row, "mac"), text_of(row, "state"));
	else if (!strcmp(what, "counter"))
		printf("%s: received %lld, sent %lld, to rings %lld, from rings %lld, punted %lld",
			text_of(row, "nic"), number_of(row, "received"), number_of(row, "sent"),
			number_of(row, "to_rings"), number_of(row, "from_rings"),
			number_of(row, "punted"));
	else if (!strcmp(what, "drop"))
		printf("%s: %lld", text_of(row, "reason"), number_of(row, "packets"));
	else if (!strcmp(what, "route"))
		print_route(row);
	else
		printf("%lld routes, %lld patches, %lld loads", number_of(row, "routes"),
			number_of(row, "patches"), number_of(row, "loads"));
}

/* A line of the watch; its answer is none. */
static bool print(void *context, const json_t *line)
{
	static const char *const flag[] = {"added", "replaced", "gone"};
	const bool json = *(const bool *)context;
	const char *what = json_string_value(json_object_get(line, "event"));
	const json_t *row = json_object_get(line, "row");

	if (!what || (!json && !strcmp(what, "drop") && !number_of(row, "packets")))
		return true;
	if (json) {
		json_dumpf(line, stdout, JSON_COMPACT);
	} else {
		print_time();
		printf("%-8s  ", what);
		print_row(what, row);
		for (unsigned k = 0; k < sizeof(flag) / sizeof(*flag); k++)
			if (json_is_true(json_object_get(line, flag[k])))
				printf(", %s", flag[k]);
	}
	putchar('\n');
	return fflush(stdout) == 0 && !ferror(stdout);
}

int command_watch(int argc, char **argv)
{
	struct which_router router = {.command = "watch"};
	json_t *what = json_array(), *how = json_pack("{s:o}", "what", what);
	const char *states = STATES;
	unsigned long interval = 1000;
	char one[CHOICE_BYTES];
	struct command_line line;
	bool json = false;
	struct error error;
	int option, result = COMMAND_GO;

	command_begin(&line, &watch_syntax, argc, argv);
	while ((option = command_option(&line)) >= 0 && result == COMMAND_GO) {
		if (option == 'j') {
			json = true;
		} else if (option != INTERVAL) {
			if (!which_router_option(&router, option, optarg))
				result = COMMAND_USAGE;
		} else if (!command_number(optarg, 100, 3600000, &interval)) {
			fprintf(stderr, "p2pnic watch: --interval %s: want 100 to 3600000 ms\n",
				optarg);
			result = COMMAND_USAGE;
		}
	}
	if (result == COMMAND_GO)
		result = line.status;
	for (; optind < argc && result == COMMAND_GO && choice_has(WHAT, argv[optind]); optind++)
		json_array_append_new(what, json_string(argv[optind]));
	if (result == COMMAND_GO && optind < argc) {
		if (!json_array_size(what) || strcmp(argv[optind - 1], "route") != 0)
			result = command_no_such(&line, "thing to watch", argv[optind], WHAT);
		else if (!route_words(how, FILTERS, argv + optind, argc - optind))
			result = command_refuse(&line);
	}
	if (result != COMMAND_GO) {
		json_decref(how);
		return result;
	}
	if (!json_array_size(what))
		while (choice_next(&states, one))
			json_array_append_new(what, json_string(one));
	which_router_settle(&router);
	json_object_set_new(how, "interval_ms", json_integer((json_int_t)interval));
	if (!api_watch(router.runtime, router.own, json_pack("{s:o}", "watch", how), print, &json,
		    &error))
		return COMMAND_OK; /* nobody reads it any more */
	fprintf(stderr, "p2pnic watch: %s\n", error.text);
	return COMMAND_FAILED;
}
