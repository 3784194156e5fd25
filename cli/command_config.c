/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/command.h"
#include "cli/which_router.h"
#include "ipc/clock.h"
#include "router/api_client.h"
#include "router/config.h"
#include "router/config_json.h"
#include "router/config_tree.h"
#include "router/table.h"

#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PARTS "check show diff apply confirm list rollback save"

static const struct command_option options[] = {
	{"confirm", 'c', ARGUMENT_NUMBER, "SECONDS",
		"apply, rollback: goes back by itself unless `config confirm` comes in that time",
		NULL},
	{"default", 'd', ARGUMENT_NONE, NULL,
		"show: every key, also those that are not in the file", NULL},
	{"force", 'f', ARGUMENT_NONE, NULL,
		"apply, rollback: also if most of a large table goes; save: over a file that was "
		"changed by somebody else",
		NULL},
	OPTION_JSON, WHICH_ROUTER_OPTIONS, OPTION_HELP};

static const struct command_word words[] = {
	{NULL, NULL, ARGUMENT_CHOICE, PARTS},
	{"check", NULL, ARGUMENT_FILE, NULL},
	{"diff", NULL, ARGUMENT_FILE, NULL},
	{"apply", NULL, ARGUMENT_FILE, NULL},
	{"rollback", NULL, ARGUMENT_NUMBER, NULL},
};

const struct command_syntax config_syntax = {
	.name = "config",
	.usage =
		"usage: p2pnic config check [-j] FILE\n"
		"       p2pnic config show [--default] | diff [FILE] | list\n"
		"       p2pnic config apply FILE [--confirm SECONDS] [--force] | confirm\n"
		"       p2pnic config rollback [NUMBER] [--confirm SECONDS] [--force] | save "
		"[--force]\n"
		"       all of a running router, with [-j] [--name NAME | --runtime DIR]\n"
		"\n"
		"  check FILE      whether a router could take FILE; no root, no router. Every "
		"mistake,\n"
		"                  with file, line, column and reason\n"
		"  show            the configuration that runs\n"
		"  diff [FILE]     what runs against FILE (or the file that the router was started "
		"with),\n"
		"                  key by key, and what taking that would do\n"
		"  apply FILE      FILE is what runs from now on; it is not saved\n"
		"  confirm         what was applied with --confirm stays\n"
		"  list            what was applied last, with numbers\n"
		"  rollback [N]    back to number N, or to the last before what runs that stayed\n"
		"  save            what runs becomes the file that the router was started with\n",
	.options = options,
	COMMAND_WORDS(words),
};

struct arguments {
	bool json, whole, force;
	unsigned long seconds;
	const char *word; /* FILE or NUMBER; NULL: none */
	struct which_router router;
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
	const int code = check_all(a->word, &mistakes, &error);

	if (a->json) {
		json_t *answer = json_pack("{s:s, s:b, s:o}", "file", a->word, "right", !code,
			"mistakes", mistakes_json(&mistakes));

		/* One that has no place in the file. */
		if (code && !mistakes.n)
			json_object_set_new(answer, "error", json_string(error.text));
		json_dumpf(answer, stdout, JSON_INDENT(2));
		putchar('\n');
		json_decref(answer);
	} else if (mistakes.n) {
		say_mistakes(a->word, &mistakes);
	} else if (code) {
		fprintf(stderr, "p2pnic config: %s\n", error.text);
	} else {
		printf("%s: right\n", a->word);
	}
	config_mistakes_free(&mistakes);
	return code ? COMMAND_FAILED : COMMAND_OK;
}

/* --- Of a running router ---------------------------------------------------------------------- */

#define PIECE_BYTES   3000u /* of a text, so that a request fits into the router's buffer… */
#define REQUEST_BYTES 4000u /* …with its escapes */

static int fail(const struct error *error)
{
	fprintf(stderr, "p2pnic config: %s\n", error->text);
	return COMMAND_FAILED;
}

/* The part "config" of the answer, with a reference; NULL: error. */
static json_t *ask(const struct arguments *a, const char *what, json_t *how, struct error *error)
{
	json_t *answer = api_ask(a->router.runtime, a->router.own,
		json_pack("{s:{s:o}}", "config", what, how), error);
	json_t *part = json_incref(json_object_get(answer, "config"));

	if (answer && !part)
		error_set(error, -EPROTO, "%s/api.sock: the answer there is no router's",
			a->router.runtime);
	json_decref(answer);
	return part;
}

/* No character is cut in two, and with its escapes it fits. NULL: no UTF-8. */
static json_t *piece_of(const char *text, size_t left, size_t *bytes)
{
	size_t room = left < PIECE_BYTES ? left : PIECE_BYTES;

	for (;; room /= 2) {
		char *dump;
		size_t n;

		*bytes = room;
		while (*bytes < left && *bytes && (text[*bytes] & 0xc0) == 0x80)
			--*bytes;
		json_t *piece = json_stringn(text, *bytes);

		dump = piece ? json_dumps(piece, JSON_ENCODE_ANY) : NULL;
		n = dump ? strlen(dump) : 0;
		free(dump);
		if (!piece || n < REQUEST_BYTES - 200)
			return piece;
		json_decref(piece);
	}
}

/* Gives the router the text of a file, under a name that the next request has. */
static int upload(const struct arguments *a, const char *path, char id[40], struct error *error)
{
	char *text;
	size_t bytes, at = 0, n;
	int result = config_file_read(path, &text, &bytes, error);

	if (result)
		return result;
	snprintf(id, 40, "%d-%lx", getpid(), (unsigned long)clock_now_ns());
	do {
		json_t *piece = piece_of(text + at, bytes - at, &n), *answer = NULL;

		if (piece)
			answer = ask(a, "upload",
				json_pack("{s:s, s:I, s:o}", "id", id, "at", (json_int_t)at, "text",
					piece),
				error);
		else
			error_set(error, -EINVAL, "%s: not UTF-8", path);
		result = answer ? 0 : -EINVAL;
		json_decref(answer);
		at += n;
	} while (!result && at < bytes);
	free(text);
	return result;
}

static int absolute(const char *path, char to[PATH_MAX], struct error *error)
{
	char here[PATH_MAX];

	if (*path != '/' && !getcwd(here, sizeof(here)))
		return error_set(error, -errno, "this directory: %s", strerror(errno));
	if (snprintf(to, PATH_MAX, "%s%s%s", *path == '/' ? "" : here, *path == '/' ? "" : "/",
		    path) >= PATH_MAX)
		return error_set(error, -ENAMETOOLONG, "%s: %s", path, strerror(ENAMETOOLONG));
	return 0;
}

/* A request about a file, which the router does not read itself: who asks may not be who it is. */
static json_t *ask_with_file(
	const struct arguments *a, const char *what, json_t *how, struct error *error)
{
	char path[PATH_MAX], id[40];

	if (absolute(a->word, path, error) || upload(a, a->word, id, error)) {
		json_decref(how);
		return NULL;
	}
	json_object_set_new(how, "id", json_string(id));
	json_object_set_new(how, "path", json_string(path));
	return ask(a, what, how, error);
}

static void print_json(json_t *answer)
{
	json_dumpf(answer, stdout, JSON_INDENT(2) | JSON_ENCODE_ANY);
	putchar('\n');
}

static const char *text_of(const json_t *o, const char *key)
{
	const char *text = json_string_value(json_object_get(o, key));

	return text ? text : "";
}

static long long number_of(const json_t *o, const char *key)
{
	return json_integer_value(json_object_get(o, key));
}

static int show(const struct arguments *a)
{
	struct error error;
	json_t *answer = ask(a, "show", json_pack("{s:b}", "default", a->whole), &error);
	const json_t *text = json_object_get(answer, "text");

	if (!answer)
		return fail(&error);
	if (a->json) {
		print_json(answer);
	} else if (text) {
		fwrite(json_string_value(text), 1, json_string_length(text), stdout);
	} else {
		char *yaml = config_yaml(json_object_get(answer, "configuration"));

		fputs(yaml ? yaml : "", stdout);
		free(yaml);
	}
	json_decref(answer);
	return COMMAND_OK;
}

static void print_value(const json_t *value)
{
	char *text = value ? json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;

	fputs(text ? text : "absent", stdout);
	free(text);
}

static int diff(const struct arguments *a)
{
	struct error error;
	json_t *answer = a->word ? ask_with_file(a, "diff", json_object(), &error)
				 : ask(a, "diff", json_object(), &error);
	const json_t *rows = json_object_get(answer, "differences"), *row;
	size_t k;

	if (!answer)
		return fail(&error);
	if (a->json) {
		print_json(answer);
		json_decref(answer);
		return COMMAND_OK;
	}
	printf("runs: %s\nwith: %s\n", text_of(answer, "from"), text_of(answer, "to"));
	json_array_foreach(rows, k, row)
	{
		printf("%s: ", text_of(row, "key"));
		print_value(json_object_get(row, "from"));
		fputs(" -> ", stdout);
		print_value(json_object_get(row, "to"));
		printf("  (%s)\n", text_of(row, "effect"));
	}
	if (!json_array_size(rows))
		puts("no differences");
	if (json_object_get(answer, "nics"))
		printf("NICs %s\n", text_of(answer, "nics"));
	if (json_object_get(answer, "refused"))
		printf("it would be refused: %s\n", text_of(answer, "refused"));
	json_decref(answer);
	return COMMAND_OK;
}

static int say_taken(const struct arguments *a, json_t *answer)
{
	const json_t *nics = json_object_get(answer, "nics_to_come"), *name;
	const long long behind = number_of(answer, "nics_behind");
	size_t k;

	if (a->json) {
		print_json(answer);
	} else {
		printf("configuration %lld runs, of %s%s\ntable: %s\n", number_of(answer, "number"),
			text_of(answer, "file"),
			json_is_true(json_object_get(answer, "saved")) ? "" : "; not saved",
			text_of(answer, "table"));
		json_array_foreach(nics, k, name) printf("%s%s",
			k ? ", " : "NICs that begin or end still: ", json_string_value(name));
		if (k)
			putchar('\n');
		if (json_object_get(answer, "back"))
			printf("goes back to configuration %lld in %lu s, unless: p2pnic config "
			       "confirm\n",
				number_of(answer, "back"), a->seconds);
	}
	if (behind)
		fprintf(stderr,
			"p2pnic config: %lld NICs forward by the old table until they answer; "
			"`p2pnic show nic` names them\n",
			behind);
	json_decref(answer);
	return behind ? COMMAND_FAILED : COMMAND_OK;
}

static json_t *how_to_take(const struct arguments *a)
{
	return json_pack("{s:I, s:b}", "confirm", (json_int_t)a->seconds, "force", a->force);
}

static int apply(const struct arguments *a)
{
	struct error error;
	json_t *answer = ask_with_file(a, "apply", how_to_take(a), &error);

	return answer ? say_taken(a, answer) : fail(&error);
}

static int rollback(const struct arguments *a)
{
	json_t *how = how_to_take(a), *answer;
	unsigned long number;
	struct error error;

	if (a->word && !command_number(a->word, 1, 999999, &number)) {
		fprintf(stderr, "p2pnic config: '%s': want a number of p2pnic config list\n",
			a->word);
		json_decref(how);
		return COMMAND_USAGE;
	}
	if (a->word)
		json_object_set_new(how, "to", json_integer((json_int_t)number));
	answer = ask(a, "rollback", how, &error);
	return answer ? say_taken(a, answer) : fail(&error);
}

static int confirm(const struct arguments *a)
{
	struct error error;
	json_t *answer = ask(a, "confirm", json_object(), &error);

	if (!answer)
		return fail(&error);
	if (a->json)
		print_json(answer);
	else
		printf("configuration %lld is confirmed\n", number_of(answer, "number"));
	json_decref(answer);
	return COMMAND_OK;
}

static int save(const struct arguments *a)
{
	struct error error;
	json_t *answer = ask(a, "save", json_pack("{s:b}", "force", a->force), &error);

	if (!answer)
		return fail(&error);
	if (a->json)
		print_json(answer);
	else
		printf("saved to %s, %lld bytes\n", text_of(answer, "file"),
			number_of(answer, "bytes"));
	json_decref(answer);
	return COMMAND_OK;
}

static const char *standing(const json_t *row)
{
	const bool unconfirmed = json_is_true(json_object_get(row, "unconfirmed"));

	if (json_is_true(json_object_get(row, "running")))
		return unconfirmed ? "runs, not confirmed" : "runs";
	if (json_is_true(json_object_get(row, "back")))
		return "back to";
	return unconfirmed ? "not confirmed" : "";
}

static int list(const struct arguments *a)
{
	struct error error;
	json_t *answer = ask(a, "list", json_object(), &error), *row;
	size_t k;

	if (!answer)
		return fail(&error);
	if (a->json) {
		print_json(answer);
	} else {
		printf("%6s  %-20s  %-19s  %s\n", "NUMBER", "APPLIED", "", "FILE");
		json_array_foreach(answer, k, row)
			printf("%6lld  %-20s  %-19s  %s\n", number_of(row, "number"),
				text_of(row, "time"), standing(row), text_of(row, "file"));
	}
	json_decref(answer);
	return COMMAND_OK;
}

/* --- The command ------------------------------------------------------------------------------ */

enum { WORD_NONE, WORD_MAY, WORD_MUST };

static const struct part {
	const char *name;
	int (*run)(const struct arguments *);
	const char *options; /* besides those of all */
	int word;            /* FILE or NUMBER */
	bool alone;          /* it needs no router */
} parts[] = {
	{"check", check, "", WORD_MUST, true},
	{"show", show, "d", WORD_NONE, false},
	{"diff", diff, "", WORD_MAY, false},
	{"apply", apply, "cf", WORD_MUST, false},
	{"confirm", confirm, "", WORD_NONE, false},
	{"list", list, "", WORD_NONE, false},
	{"rollback", rollback, "cf", WORD_MAY, false},
	{"save", save, "f", WORD_NONE, false},
};

static const struct part *part_of(const char *name)
{
	for (size_t k = 0; name && k < sizeof(parts) / sizeof(*parts); k++)
		if (!strcmp(parts[k].name, name))
			return &parts[k];
	return NULL;
}

static bool take_option(struct arguments *a, int option)
{
	switch (option) {
	case 'c':
		if (command_number(optarg, 1, 86400, &a->seconds))
			return true;
		fprintf(stderr, "p2pnic config: --confirm '%s': want 1 to 86400 seconds\n", optarg);
		return false;
	case 'd':
		a->whole = true;
		return true;
	case 'f':
		a->force = true;
		return true;
	case 'j':
		a->json = true;
		return true;
	default:
		return which_router_option(&a->router, option, optarg);
	}
}

int command_config(int argc, char **argv)
{
	struct arguments a = {.router = {.command = "config"}};
	char given[32] = "";
	const struct part *part;
	struct command_line line;
	int option;

	command_begin(&line, &config_syntax, argc, argv);
	while ((option = command_option(&line)) >= 0) {
		if (!take_option(&a, option))
			return COMMAND_USAGE;
		if (strlen(given) + 1 < sizeof(given))
			given[strlen(given)] = option <= OPTION_LETTERS ? (char)option : 'r';
	}
	if (line.status != COMMAND_GO)
		return line.status;
	part = part_of(argv[optind]);
	a.word = part ? argv[optind + 1] : NULL;
	if (!part && argv[optind])
		return command_no_such(&line, "part", argv[optind], PARTS);
	if (!part || argc - optind > 2 || (a.word && part->word == WORD_NONE) ||
		(!a.word && part->word == WORD_MUST))
		return command_refuse(&line);
	for (const char *o = given; *o; o++)
		if (*o != 'j' && !strchr(part->options, *o) && (part->alone || *o != 'r')) {
			fprintf(stderr,
				"p2pnic config %s: no such option here; --help lists them\n",
				part->name);
			return COMMAND_USAGE;
		}
	which_router_settle(&a.router);
	return part->run(&a);
}
