/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/command.h"
#include "cli/route_words.h"
#include "cli/which_router.h"
#include "router/api_client.h"
#include "router/counters_json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A column of a table: heading, key in the row (a dot leads into an object), width (negative:
 * left). */
struct column {
	const char *heading;
	const char *key;
	int width;
};

static const struct view {
	const char *what;
	const char *nonzero; /* rows where this is 0 are left out unless -a */
	struct column column[12];
} views[] = {
	{"nic", NULL,
		{{"nic", "name", -8}, {"state", "state", -13}, {"method", "method", -6},
			{"check", "check", -5}, {"buffer", "buffer_bytes", 6}, {"mac", "mac", -17},
			{"mtu", "mtu", 5}, {"engine", "engine", -10}, {"pid", "pid", 7},
			{"cpu s", "engine_cpu_seconds", 9}, {"restarts", "restarts", 8}}},
	{"port", NULL,
		{{"nic", "nic", -8}, {"type", "type", -9}, {"target", "target", -15},
			{"state", "state", -13}, {"link", "link", -5},
			{"received", "received.packets", 12}, {"sent", "sent.packets", 12},
			{"missed", "missed", 9}, {"mode", "mode", -20}, {"fault", "fault", -5}}},
	{"ring", "packets",
		{{"ingress", "ingress", -8}, {"egress", "egress", -8}, {"packets", "packets", 14},
			{"bytes", "bytes", 16}, {"taken", "taken.packets", 14},
			{"slots", "slots", 6}, {"batch", "batch", 6}, {"epoch", "epoch", 6},
			{"check", "check", -5}}},
	{"counter", NULL,
		{{"nic", "nic", -8}, {"received", "received.packets", 12},
			{"to rings", "to_rings.packets", 12},
			{"from rings", "from_rings.packets", 12}, {"sent", "sent.packets", 12},
			{"punted", "punted.packets", 8}, {"held", "held", 6},
			{"dma faults", "dma_faults", 10}, {"sleeps", "sleeps", 9},
			{"unaccounted", "unaccounted", 11}}},
	{"drop", "packets",
		{{"reason", "reason", -20}, {"packets", "packets", 12},
			{"meaning", "meaning", -10}}},
	{"route", NULL,
		{{"prefix", "prefix", -22}, {"source", "source", -10}, {"kind", "kind", -11},
			{"nic", "nic", -8}, {"mac", "mac", -17}, {"next hops", "next_hops", 9},
			{"backup", "backup.nic", -8}}},
	{"nexthop", NULL,
		{{"number", "number", 6}, {"type", "type", -8}, {"routes", "routes", 9},
			{"kind", "kind", -11}, {"nic", "nic", -8}, {"mac", "mac", -17},
			{"members", "members", 7}, {"backup", "backup", -8}, {"via", "via", -5}}},
	{"neighbor", NULL,
		{{"address", "address", -22}, {"nic", "nic", -8}, {"mac", "mac", -17},
			{"state", "state", -10}}},
	{"punt", "seen",
		{{"nic", "nic", -8}, {"class", "class", -9}, {"ring", "ring", -9},
			{"rate", "rate", 9}, {"source", "source_rate", 9}, {"passed", "passed", 12},
			{"policed", "policed", 12}, {"delivered", "delivered", 12},
			{"refused", "refused", 9}}},
	{"tap", NULL,
		{{"nic", "nic", -8}, {"carrier", "carrier", -7}, {"delivered", "delivered", 12},
			{"refused", "refused", 9}, {"bad", "bad", 6}, {"injected", "injected", 12},
			{"full", "full", 9}, {"oversize", "oversize", 8}}},
	{"kernel", NULL, {{0}}}, /* objects, not tables */
	{"router", NULL, {{0}}},
	{"version", NULL, {{0}}},
};

#define WHAT    "nic port ring counter drop route nexthop neighbor punt tap kernel router version"
#define FILTERS "longer-prefixes via nic source"

#define CHECK    1003
#define ONLY_NIC 1004

static const struct command_option options[] = {OPTION_JSON,
	{"all", 'a', ARGUMENT_NONE, NULL, "also rows of zeros (ring, drop, punt)", NULL},
	{"check", CHECK, ARGUMENT_NONE, NULL,
		"route: whether kernel, router and every NIC have the same routes", NULL},
	{"nic", ONLY_NIC, ARGUMENT_NIC, "NAME", "only what is about this NIC", NULL},
	WHICH_ROUTER_OPTIONS, OPTION_HELP};

static const struct command_word words[] = {{NULL, NULL, ARGUMENT_CHOICE, WHAT},
	{"route", NULL, ARGUMENT_CHOICE, FILTERS}, {"route", "nic", ARGUMENT_NIC, NULL},
	{"route", "via", ARGUMENT_TEXT, NULL}, {"route", "source", ARGUMENT_CHOICE, ROUTE_SOURCES}};

const struct command_syntax show_syntax = {
	.name = "show",
	.usage = "usage: p2pnic show WHAT [-j] [-a] [--nic NAME] [--name NAME | --runtime DIR]\n"
		 "       p2pnic show route [ADDRESS | PREFIX [longer-prefixes]] [via ADDRESS|MAC] "
		 "[nic NAME]\n"
		 "                         [source SOURCE]\n"
		 "       p2pnic show route --check\n"
		 "\n"
		 "Asks a running router. WHAT is one of nic, port, ring, counter, drop, route, "
		 "nexthop,\n"
		 "neighbor, punt, tap, kernel, router, version. ADDRESS: only the route that a "
		 "packet "
		 "to it\n"
		 "takes; PREFIX: the route to that, and with longer-prefixes to those inside it.\n",
	.options = options,
	COMMAND_WORDS(words),
};

#define CELL_BYTES 64
static const char *cell_text(const json_t *value, char text[CELL_BYTES])
{
	if (json_is_string(value))
		return json_string_value(value);
	if (json_is_boolean(value))
		return json_is_true(value) ? "up" : "down";
	if (json_is_integer(value))
		snprintf(text, CELL_BYTES, "%lld", (long long)json_integer_value(value));
	else if (json_is_real(value))
		snprintf(text, CELL_BYTES, "%.2f", json_real_value(value));
	else
		return "-";
	return text;
}

/* Spaces are printed only before a text: *spaces are those that are due. So no line ends with
 * one. */
static void print_cell(const char *text, int width, int *spaces)
{
	const int length = (int)strlen(text), room = abs(width) > length ? abs(width) - length : 0;

	*spaces += width > 0 ? room : 0;
	if (length) {
		printf("%*s%s", *spaces, "", text);
		*spaces = 0;
	}
	*spaces += (width < 0 ? room : 0) + 2;
}

/* How rows are printed, as they come. */
struct printing {
	const struct view *view;
	bool json, all;
	bool begun;
	size_t rows;
};

static void print_heading(struct printing *p)
{
	int spaces = 0;

	p->begun = true;
	if (p->json) {
		printf("{\n  \"%s\": [", p->view->what);
		return;
	}
	for (const struct column *c = p->view->column; c->heading; c++)
		print_cell(c->heading, c->width, &spaces);
	putchar('\n');
}

static bool print_row(void *context, const json_t *row)
{
	struct printing *p = context;
	const struct view *view = p->view;
	char text[CELL_BYTES];
	int spaces = 0;

	if (!p->begun)
		print_heading(p);
	if (!row)
		return fflush(stdout) == 0;
	if (p->json) {
		fputs(p->rows++ ? ",\n    " : "\n    ", stdout);
		json_dumpf(row, stdout, 0);
	} else if (p->all || !view->nonzero ||
		   json_integer_value(counter_get(row, view->nonzero)) != 0) {
		for (const struct column *c = view->column; c->heading; c++)
			print_cell(cell_text(counter_get(row, c->key), text), c->width, &spaces);
		putchar('\n');
	}
	return !ferror(stdout);
}

/* What was printed already stays one document. */
static void print_end(const struct printing *p, const char *why)
{
	json_t *text;

	if (!p->json || !p->begun)
		return;
	printf(p->rows ? "\n  ]" : "]");
	if (why) {
		text = json_string(why);
		printf(",\n  \"error\": ");
		json_dumpf(text, stdout, JSON_ENCODE_ANY);
		json_decref(text);
	}
	printf("\n}\n");
}

static int show_table(const struct which_router *router, struct printing *p, json_t *request)
{
	struct error error;
	int result = api_rows(
		router->runtime, router->own, request, p->view->what, print_row, p, &error);

	if (!result && !p->begun)
		print_heading(p);
	print_end(p, result ? error.text : NULL);
	if (result)
		fprintf(stderr, "p2pnic show: %s\n", error.text);
	return result ? COMMAND_FAILED : COMMAND_OK;
}

/* An object: one line a key. */
static void print_object(const json_t *o)
{
	char text[CELL_BYTES];
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)o, key, value)
		printf("%-28s %s\n", key, cell_text(value, text));
}

/* Kernel, router and NICs. */
static int check(const struct which_router *router, bool json)
{
	struct error error;
	json_t *answer = api_show(router->runtime, router->own, "check", NULL, &error);
	json_t *found = json_object_get(answer, "check"), *row;
	json_int_t differences = json_integer_value(json_object_get(found, "differences"));
	size_t index;

	if (!answer) {
		fprintf(stderr, "p2pnic show: %s\n", error.text);
		return COMMAND_FAILED;
	}
	if (json) {
		json_dumpf(answer, stdout, JSON_INDENT(2));
		putchar('\n');
	} else {
		json_array_foreach(json_object_get(found, "rows"), index, row) printf(
			"%s: %s: has %s, wants %s\n", json_string_value(json_object_get(row, "at")),
			json_string_value(json_object_get(row, "prefix")),
			json_string_value(json_object_get(row, "has")),
			json_string_value(json_object_get(row, "wants")));
		printf("%lld routes, %lld NICs, %lld differences\n",
			(long long)json_integer_value(json_object_get(found, "routes")),
			(long long)json_integer_value(json_object_get(found, "nics")),
			(long long)differences);
	}
	json_decref(answer);
	return differences ? COMMAND_FAILED : COMMAND_OK;
}

static int show_object(
	const struct which_router *router, const struct view *view, json_t *request, bool json)
{
	struct error error;
	json_t *answer = api_ask(router->runtime, router->own, request, &error);

	if (answer && !json_is_object(json_object_get(answer, view->what))) {
		error_set(&error, -EPROTO, "%s/api.sock: the answer there is no router's",
			router->runtime);
		json_decref(answer);
		answer = NULL;
	}
	if (!answer) {
		fprintf(stderr, "p2pnic show: %s\n", error.text);
		return COMMAND_FAILED;
	}
	if (json) {
		json_dumpf(answer, stdout, JSON_INDENT(2));
		putchar('\n');
	} else {
		print_object(json_object_get(answer, view->what));
	}
	json_decref(answer);
	return COMMAND_OK;
}

int command_show(int argc, char **argv)
{
	struct which_router router = {.command = "show"};
	struct printing printing = {0};
	const struct view *view = NULL;
	const char *what, *nic = NULL;
	struct command_line line;
	bool checked = false;
	json_t *request;
	int option;

	command_begin(&line, &show_syntax, argc, argv);
	while ((option = command_option(&line)) >= 0) {
		switch (option) {
		case 'j':
			printing.json = true;
			break;
		case 'a':
			printing.all = true;
			break;
		case CHECK:
			checked = true;
			break;
		case ONLY_NIC:
			nic = optarg;
			break;
		default:
			if (!which_router_option(&router, option, optarg))
				return COMMAND_USAGE;
		}
	}
	if (line.status != COMMAND_GO)
		return line.status;
	if (optind == argc)
		return command_refuse(&line);
	what = argv[optind++];
	for (size_t k = 0; k < sizeof(views) / sizeof(*views); k++)
		if (!strcmp(views[k].what, what))
			view = &views[k];
	if (!view)
		return command_no_such(&line, "thing", what, WHAT);
	request = json_pack("{s:s, s:s*}", "show", what, "nic", nic);
	if (strcmp(what, "route") != 0 ? checked || optind != argc
		: checked              ? nic || optind != argc
			  : !route_words(request, FILTERS, argv + optind, argc - optind)) {
		json_decref(request);
		return command_refuse(&line);
	}
	which_router_settle(&router);
	if (checked) {
		json_decref(request);
		return check(&router, printing.json);
	}
	if (!view->column->heading)
		return show_object(&router, view, request, printing.json);
	printing.view = view;
	return show_table(&router, &printing, request);
}
