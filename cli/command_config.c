/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/command.h"
#include "router/config.h"
#include "router/config_tree.h"
#include "router/table.h"

#include <errno.h>
#include <getopt.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
	"usage: p2pnic config check [-j] FILE\n"
	"\n"
	"  check FILE   whether a router could take FILE; no root, no router. Every mistake, with\n"
	"               file, line, column and reason\n"
	"\n"
	"  -j, --json   JSON\n"
	"\n"
	"0: done, or right; 1: failed, or wrong, and says why; 2: wrong usage.\n";

struct arguments {
	bool json;
	const char *file;
};

/* --- check ------------------------------------------------------------------------------------ */

static json_t *mistakes_json(const struct config_mistakes *all)
{
	json_t *rows = json_array();

	for (unsigned k = 0; k < all->n && k < CONFIG_MISTAKES_MAX; k++) {
		const struct config_mistake *m = &all->mistake[k];
		json_t *row = json_pack("{s:i}", "line", (int)m->at.line);

		if (m->at.column)
			json_object_set_new(row, "column", json_integer(m->at.column));
		json_object_set_new(row, "reason", json_string(m->reason.text));
		json_array_append_new(rows, row);
	}
	return rows;
}

static void say_mistakes(const char *path, const struct config_mistakes *all)
{
	for (unsigned k = 0; k < all->n && k < CONFIG_MISTAKES_MAX; k++) {
		const struct config_mistake *m = &all->mistake[k];

		fprintf(stderr, "%s:%u:", path, m->at.line);
		if (m->at.column)
			fprintf(stderr, "%u:", m->at.column);
		fprintf(stderr, " %s\n", m->reason.text);
	}
	if (all->n > CONFIG_MISTAKES_MAX)
		fprintf(stderr, "%s: %u more\n", path, all->n - CONFIG_MISTAKES_MAX);
}

/* By itself it is right; do its routes lead anywhere? With `kernel` they are the kernel's. */
static int check_all(const char *path, struct config_mistakes *mistakes, struct error *error)
{
	struct error reason;
	struct config *config;
	char *text;
	size_t bytes;
	int code = config_file_read(path, &text, &bytes, error);

	if (code)
		return code;
	code = config_load_text(&config, path, text, bytes, mistakes, error);
	free(text);
	if (code)
		return code;
	if (!config->kernel)
		code = table_try(config, &reason);
	config_free(config);
	return code ? error_set(error, code, "%s: %s", path, reason.text) : 0;
}

static int check(const struct arguments *a)
{
	struct config_mistakes mistakes = {0};
	struct error error;
	const int code = check_all(a->file, &mistakes, &error);

	if (a->json) {
		json_t *answer = json_pack("{s:s, s:b, s:o}", "file", a->file, "right", !code,
			"mistakes", mistakes_json(&mistakes));

		/* One that has no place in the file. */
		if (code && !mistakes.n)
			json_object_set_new(answer, "error", json_string(error.text));
		json_dumpf(answer, stdout, JSON_INDENT(2));
		putchar('\n');
		json_decref(answer);
	} else if (mistakes.n) {
		say_mistakes(a->file, &mistakes);
	} else if (code) {
		fprintf(stderr, "p2pnic config: %s\n", error.text);
	} else {
		printf("%s: right\n", a->file);
	}
	config_mistakes_free(&mistakes);
	return code ? COMMAND_FAILED : COMMAND_OK;
}

/* --- The command ------------------------------------------------------------------------------ */

static const struct part {
	const char *name;
	int (*run)(const struct arguments *);
} parts[] = {
	{"check", check},
};

static const struct part *part_of(const char *name)
{
	for (size_t k = 0; name && k < sizeof(parts) / sizeof(*parts); k++)
		if (!strcmp(parts[k].name, name))
			return &parts[k];
	return NULL;
}

int command_config(int argc, char **argv)
{
	static const struct option options[] = {
		{"json", no_argument, NULL, 'j'}, {"help", no_argument, NULL, 'h'}, {0}};
	const struct part *part;
	struct arguments a = {0};
	int option;

	while ((option = getopt_long(argc, argv, "jh", options, NULL)) != -1) {
		switch (option) {
		case 'j':
			a.json = true;
			break;
		case 'h':
			fputs(usage, stdout);
			return COMMAND_OK;
		default:
			fputs(usage, stderr);
			return COMMAND_USAGE;
		}
	}
	part = part_of(argv[optind]);
	if (!part || argc - optind != 2) {
		fputs(usage, stderr);
		return COMMAND_USAGE;
	}
	a.file = argv[optind + 1];
	return part->run(&a);
}
