/* SPDX-License-Identifier: BSD-3-Clause */
#include "command.h"

#include <stdio.h>
#include <string.h>

static const struct command {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *summary;
} commands[] = {
	{"router", command_router, "run the router of a configuration file"},
	{"show", command_show, "look inside a running router"},
	{"replay", command_replay, "route captures through soft NICs; no root"},
	{"lab", command_lab, "four NICs and four hosts in namespaces of this machine"},
	{"nic", command_nic, "run soft NICs in this process"},
	{"keeper", command_keeper, "hold NICs' connections while a driver is replaced"},
	{"tester", command_tester, "generate and analyse traffic"},
	{"fib", command_fib, "build, measure, query and check tables from a file"},
	{0},
};

static void usage(FILE *out)
{
	fprintf(out, "usage: p2pnic COMMAND [ARGUMENT...]\n\n");
	for (const struct command *c = commands; c->name; c++)
		fprintf(out, "  %-10s %s\n", c->name, c->summary);
	fprintf(out, "\n`p2pnic COMMAND --help` tells more; `man p2pnic` tells all.\n");
}

int main(int argc, char **argv)
{
	if (argc < 2) {
		usage(stderr);
		return COMMAND_USAGE;
	}
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help")) {
		usage(stdout);
		return COMMAND_OK;
	}
	if (!strcmp(argv[1], "--version") || !strcmp(argv[1], "-V")) {
		printf("p2pnic %s\n", P2PNIC_VERSION_STRING);
		return COMMAND_OK;
	}
	for (const struct command *c = commands; c->name; c++)
		if (!strcmp(argv[1], c->name))
			return c->run(argc - 1, argv + 1);
	fprintf(stderr, "p2pnic: no command '%s'; `p2pnic --help` lists them\n", argv[1]);
	return COMMAND_USAGE;
}
