/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/command_fib.h"
#include "cli/command.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fib/synthetic.h"
#include "fib/text_file.h"

#define ACTIONS "stat lookup check diff synthesize"
#define TABLES  "line-trie state-jump"

static const struct command_option options[] = {OPTION_JSON,
	{"next-hops", 'k', ARGUMENT_NUMBER, "K", "next hops that AS numbers are spread over (64)",
		NULL},
	{"table", 't', ARGUMENT_CHOICE, "TABLE", "line-trie (default) or state-jump", TABLES},
	{"memory", 'm', ARGUMENT_NUMBER, "BYTES",
		"room for each image (8388608; state-jump 67108864, for two copies)", NULL},
	{"random", 'r', ARGUMENT_NUMBER, "N", "check: random addresses for each family (1000000)",
		NULL},
	{"seed", 's', ARGUMENT_NUMBER, "N", "of random addresses and of a synthetic table (1)",
		NULL},
	OPTION_HELP};

static const struct command_word words[] = {{NULL, NULL, ARGUMENT_CHOICE, ACTIONS},
	{"stat", NULL, ARGUMENT_FILE, NULL}, {"lookup", NULL, ARGUMENT_FILE, NULL},
	{"check", NULL, ARGUMENT_FILE, NULL}, {"diff", NULL, ARGUMENT_FILE, NULL}};

const struct command_syntax fib_syntax = {
	.name = "fib",
	.usage =
		"usage: p2pnic fib stat   [OPTION...] FILE...            size by part, cost of a "
		"lookup\n"
		"       p2pnic fib lookup [OPTION...] FILE... ADDRESS... next hop and the path to "
		"it\n"
		"       p2pnic fib check  [OPTION...] FILE...            every boundary against "
		"the naive twin\n"
		"       p2pnic fib diff   [OPTION...] OLD NEW            routes changed, and what "
		"the patch costs\n"
		"       p2pnic fib synthesize [--seed N]                 a table of the "
		"Internet's shape, as text\n"
		"\n"
		"FILE holds a route a line, 'PREFIX ASN' or 'PREFIX NEXTHOP', IPv4 or IPv6, plain "
		"or xz;\n"
		"'synthetic' stands for a made-up table of the Internet's shape. A damaged file is "
		"refused\n"
		"as a whole; one without a route too, unless it has the line 'empty'.\n",
	.options = options,
	COMMAND_WORDS(words),
};

int fib_usage(const struct fib_options *o)
{
	return command_refuse(o->line);
}

int fib_fail(const char *error)
{
	fprintf(stderr, "p2pnic %s\n", error);
	return COMMAND_FAILED;
}

int fib_read_table(const struct fib_options *o, const char *path, struct route_table *table)
{
	struct error error;
	int status;

	if (!strcmp(path, "synthetic")) {
		status = synthetic_table(table, o->next_hops, o->seed);
		error_set(&error, status, "synthetic table: %s", strerror(-status));
	} else {
		status = route_file_read(path, o->next_hops, table, &error);
	}
	if (status)
		fprintf(stderr, "p2pnic fib: %s\n", error.text);
	return status;
}

struct fib *fib_of_list(const struct fib_options *o, unsigned family, const struct route_list *list)
{
	const struct fib_config config = {family, o->kind, o->memory};
	struct error error;
	struct fib *fib = fib_new(&config, &error);

	if (fib && fib_build(fib, list->route, list->n, &error)) {
		fib_free(fib);
		fib = NULL;
	}
	if (!fib)
		fib_fail(error.text);
	return fib;
}

json_t *fib_made(json_t *json)
{
	if (!json)
		fib_fail("fib: out of memory");
	return json;
}

void fib_print_json(const json_t *json)
{
	json_dumpf(json, stdout, JSON_INDENT(2));
	putchar('\n');
}

static int fib_synthesize(const struct fib_options *o)
{
	struct route_table table = {0};
	char text[ROUTE_TEXT_BYTES];

	if (fib_read_table(o, "synthetic", &table))
		return COMMAND_FAILED;
	for (unsigned six = 0; six < 2; six++) {
		const struct route_list *list = six ? &table.ipv6 : &table.ipv4;

		for (size_t i = 0; i < list->n; i++)
			printf(o->json ? "%s{\"prefix\": \"%s\", \"asn\": %u}" : "%s%s %u\n",
				!o->json      ? ""
				: six + i > 0 ? ",\n"
					      : "[",
				route_text(text, list->route[i].family, list->route[i].prefix,
					list->route[i].length),
				list->asn[i]);
	}
	if (o->json)
		puts("]");
	route_table_free(&table);
	return COMMAND_OK;
}

static bool number(const char *text, uint64_t least, uint64_t most, uint64_t *value)
{
	if (text_number(text, most, value) && *value >= least)
		return true;
	fprintf(stderr, "p2pnic fib: '%s' is not a number from %llu to %llu\n", text,
		(unsigned long long)least, (unsigned long long)most);
	return false;
}

static int run(const struct fib_options *o, const char *what, int argc, char **argv)
{
	if (!strcmp(what, "synthesize") && !argc)
		return fib_synthesize(o);
	if (!strcmp(what, "stat") && argc)
		return fib_stat(o, argc, argv);
	if (!strcmp(what, "lookup") && argc)
		return fib_lookup_command(o, argc, argv);
	if (!strcmp(what, "check") && argc)
		return fib_check(o, argc, argv);
	if (!strcmp(what, "diff"))
		return fib_diff(o, argc, argv);
	if (*what && !choice_has(ACTIONS, what))
		return command_no_such(o->line, "action", what, ACTIONS);
	return fib_usage(o);
}

int command_fib(int argc, char **argv)
{
	struct command_line line;
	struct fib_options o = {.line = &line,
		.next_hops = ROUTE_FILE_NEXT_HOPS_DEFAULT,
		.kind = P2PNIC_FIB_LINE_TRIE,
		.random = 1000000,
		.seed = 1};
	const char *what;
	uint64_t value;
	int c;

	command_begin(&line, &fib_syntax, argc, argv);
	while ((c = command_option(&line)) >= 0) {
		bool good = true;

		switch (c) {
		case 'j':
			o.json = true;
			break;
		case 'k':
			good = number(optarg, 1, P2PNIC_NEXT_HOPS_MAX - 1, &value);
			o.next_hops = (unsigned)value;
			break;
		case 't':
			good = !strcmp(optarg, "line-trie") || !strcmp(optarg, "state-jump");
			o.kind = optarg[0] == 'l' ? P2PNIC_FIB_LINE_TRIE : P2PNIC_FIB_STATE_JUMP;
			if (!good)
				command_no_such(&line, "table", optarg, TABLES);
			break;
		case 'm':
			good = number(optarg, 1, 1ull << 32, &o.memory);
			break;
		case 'r':
			good = number(optarg, 0, INT64_MAX, &o.random);
			break;
		case 's':
			good = number(optarg, 0, INT64_MAX, &o.seed);
			break;
		}
		if (!good)
			return COMMAND_USAGE;
	}
	if (line.status != COMMAND_GO)
		return line.status;
	if (!o.memory)
		o.memory = o.kind == P2PNIC_FIB_LINE_TRIE ? 8u << 20 : 64u << 20;
	what = optind < argc ? argv[optind++] : "";
	return run(&o, what, argc - optind, argv + optind);
}
