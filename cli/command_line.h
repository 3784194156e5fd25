/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The syntax of a subcommand as data, and all that is made from it: usage, the parsing of options,
 * suggestions for mistyped words, completion (command_completion.c).
 *
 *     struct command_line line;
 *     int option;
 *
 *     command_begin(&line, &show_syntax, argc, argv);
 *     while ((option = command_option(&line)) >= 0)
 *             switch (option) {…}                        its argument is optarg, as of getopt(3)
 *     if (line.status != COMMAND_GO)
 *             return line.status;                        --help, or a mistake, which was said
 *     …argv[optind] and on are words…
 *     return command_refuse(&line);                      if they make no sense
 */
#ifndef CLI_COMMAND_LINE_H
#define CLI_COMMAND_LINE_H

#include <getopt.h>
#include <stdbool.h>
#include <stddef.h>

/* What an option's argument, or a word, stands for. */
enum command_argument {
	ARGUMENT_NONE, /* an option without one */
	ARGUMENT_TEXT,
	ARGUMENT_NUMBER,
	ARGUMENT_FILE,
	ARGUMENT_DIRECTORY,
	ARGUMENT_NIC,    /* name of a NIC of the router that runs */
	ARGUMENT_CHOICE, /* one of `choice` */
};

struct command_option {
	const char *name;               /* without its dashes; NULL ends a list */
	int letter;                     /* what command_option says of it; */
	enum command_argument argument; /* up to OPTION_LETTERS it is typed, too: -j */
	const char *value;              /* "FILE": the argument in the usage */
	const char *about;
	const char *choice; /* with spaces between */
};

#define OPTION_LETTERS 255

/* Words that are no options. Of several rows that fit, each is offered. */
struct command_word {
	const char *first;  /* the first word is this; "*": any; NULL: it is the first itself */
	const char *before; /* the word before is this; NULL: any that no row has here */
	enum command_argument argument;
	const char *choice;
};

#define COMMAND_OPTIONS_MAX 32

struct command_syntax {
	const char *name;  /* "show", "nic list" */
	const char *usage; /* lines: how to call it, and what it does */
	const struct command_option *options;
	const struct command_word *words;
	size_t words_count;
	/* A first word with a syntax of its own, "list"; NULL ends them. */
	const struct command_syntax *const *sub;
	bool stops; /* options end at the first word, what follows is another's */
};

#define COMMAND_WORDS(rows) .words = (rows), .words_count = sizeof(rows) / sizeof(*(rows))

/* --json, and --help, which every list ends with. */
#define OPTION_JSON                                                                                \
	{                                                                                          \
		"json", 'j', ARGUMENT_NONE, NULL, "JSON", NULL                                     \
	}
#define OPTION_HELP                                                                                \
	{"help", 'h', ARGUMENT_NONE, NULL, "this", NULL},                                          \
	{                                                                                          \
		0                                                                                  \
	}

/* --- Parsing ---------------------------------------------------------------------------------- */

#define COMMAND_GO (-1)

struct command_line {
	const struct command_syntax *syntax;
	int argc;
	char **argv;
	int status; /* COMMAND_GO, or the exit status */
	struct option longs[COMMAND_OPTIONS_MAX + 1];
	char letters[2 * COMMAND_OPTIONS_MAX + 3];
};

void command_begin(struct command_line *, const struct command_syntax *, int argc, char **argv);
/* The letter of the next option; below 0: no more. */
int command_option(struct command_line *);
/* The usage on stderr; COMMAND_USAGE. */
int command_refuse(const struct command_line *);
/* "p2pnic NAME: no WHAT 'WORD'; did you mean 'CHOICE'?" on stderr; COMMAND_USAGE. */
int command_no_such(
	const struct command_line *, const char *what, const char *word, const char *choice);

/* --- Words that look alike -------------------------------------------------------------------- */

struct nearest {
	const char *word;
	const char *best; /* NULL: nothing is near */
	unsigned distance;
};

/* Keeps it if it is nearer than what was offered before: letters left out, put in, changed or
 * swapped with their neighbours, at most one in three (optimal string alignment). */
void nearest_offer(struct nearest *, const char *candidate);

/* The next word of a list with spaces between; NULL: no more. *at begins as the list. */
#define CHOICE_BYTES 64
const char *choice_next(const char **at, char word[CHOICE_BYTES]);
bool choice_has(const char *choice, const char *word);

#endif
