/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/command_line.h"
#include "cli/command.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#define COLUMNS   100
#define INDENT    22 /* of what is said about an option */
#define WORD_MOST 32u

/* --- Words that look alike -------------------------------------------------------------------- */

static unsigned least(unsigned a, unsigned b)
{
	return a < b ? a : b;
}

static unsigned distance(const char *a, const char *b)
{
	const size_t n = strlen(a), m = strlen(b);
	unsigned row[3][WORD_MOST + 1] = {0}; /* i - 2, i - 1, i */

	if (n > WORD_MOST || m > WORD_MOST)
		return WORD_MOST;
	for (size_t i = 0; i <= n; i++) {
		memmove(row[0], row[1], 2 * sizeof(row[0]));
		row[2][0] = (unsigned)i;
		for (size_t j = 1; j <= m; j++) {
			if (!i) {
				row[2][j] = (unsigned)j;
				continue;
			}
			row[2][j] = least(least(row[1][j], row[2][j - 1]) + 1,
				row[1][j - 1] + (a[i - 1] != b[j - 1]));
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				row[2][j] = least(row[2][j], row[0][j - 2] + 1);
		}
	}
	return row[2][m];
}

void nearest_offer(struct nearest *n, const char *candidate)
{
	const unsigned d = distance(n->word, candidate);

	if (d > (strlen(candidate) + 2) / 3 || (n->best && d >= n->distance))
		return;
	n->best = candidate;
	n->distance = d;
}

const char *choice_next(const char **at, char word[CHOICE_BYTES])
{
	size_t length;

	*at += strspn(*at, " ");
	length = strcspn(*at, " ");
	if (!length)
		return NULL;
	assert(length < CHOICE_BYTES);
	memcpy(word, *at, length);
	word[length] = 0;
	*at += length;
	return word;
}

bool choice_has(const char *choice, const char *word)
{
	char one[CHOICE_BYTES];

	while (choice_next(&choice, one))
		if (!strcmp(one, word))
			return true;
	return false;
}

/* --- Usage ------------------------------------------------------------------------------------ */

static void print_about(FILE *out, const char *about, int column)
{
	while (*about) {
		const int length = (int)strcspn(about, " ");

		if (column + 1 + length > COLUMNS)
			fprintf(out, "\n%*s", column = INDENT, "");
		else if (column > INDENT)
			column += fprintf(out, " ");
		column += fprintf(out, "%.*s", length, about);
		about += length + (about[length] != 0);
	}
	fputc('\n', out);
}

static void print_usage(FILE *out, const struct command_syntax *s)
{
	fputs(s->usage, out);
	fputc('\n', out);
	for (const struct command_option *o = s->options; o->name; o++) {
		char text[64];
		int column, n = 0;

		if (o->letter <= OPTION_LETTERS)
			n = snprintf(text, sizeof(text), "-%c, ", o->letter);
		snprintf(text + n, sizeof(text) - (size_t)n, "--%s%s%s", o->name,
			o->value ? " " : "", o->value ? o->value : "");
		column = fprintf(out, "  %-*s", INDENT - 4, text);
		/* One that is too long stands on a line of its own. */
		if (column > INDENT - 2)
			fprintf(out, "\n%*s", INDENT, "");
		else
			fprintf(out, "%*s", INDENT - column, "");
		print_about(out, o->about, INDENT);
	}
}

int command_refuse(const struct command_line *line)
{
	print_usage(stderr, line->syntax);
	return COMMAND_USAGE;
}

int command_no_such(
	const struct command_line *line, const char *what, const char *word, const char *choice)
{
	char words[COMMAND_OPTIONS_MAX][CHOICE_BYTES];
	struct nearest nearest = {.word = word};

	for (unsigned k = 0; k < COMMAND_OPTIONS_MAX && choice_next(&choice, words[k]); k++)
		nearest_offer(&nearest, words[k]);
	fprintf(stderr, "p2pnic %s: no %s '%s'; ", line->syntax->name, what, word);
	if (nearest.best)
		fprintf(stderr, "did you mean '%s'?\n", nearest.best);
	else
		fprintf(stderr, "`p2pnic %s --help` lists them\n", line->syntax->name);
	return COMMAND_USAGE;
}

/* --- Parsing ---------------------------------------------------------------------------------- */

void command_begin(
	struct command_line *line, const struct command_syntax *syntax, int argc, char **argv)
{
	char *letter = line->letters;
	unsigned n = 0;

	*line = (struct command_line){
		.syntax = syntax, .argc = argc, .argv = argv, .status = COMMAND_GO};
	if (syntax->stops)
		*letter++ = '+';
	*letter++ = ':'; /* a missing argument is told from an option that there is not */
	for (const struct command_option *o = syntax->options; o->name; o++) {
		const bool takes = o->argument != ARGUMENT_NONE;

		assert(n < COMMAND_OPTIONS_MAX);
		line->longs[n++] = (struct option){
			o->name, takes ? required_argument : no_argument, NULL, o->letter};
		if (o->letter > OPTION_LETTERS)
			continue;
		*letter++ = (char)o->letter;
		if (takes)
			*letter++ = ':';
	}
	optind = 0; /* both a new line and new rules (getopt(3), Notes) */
	opterr = 0;
}

static const struct command_option *option_of(const struct command_syntax *s, int letter)
{
	const struct command_option *o = s->options;

	while (o->name && o->letter != letter)
		o++;
	return o->name ? o : NULL;
}

/* getopt takes a beginning for the whole where it can mean one option only. */
static int refuse_option(const struct command_line *line, int problem)
{
	const struct command_option *known = option_of(line->syntax, optopt);
	const char *name = line->syntax->name, *word = line->argv[optind - 1];
	struct nearest nearest = {0};
	char typed[CHOICE_BYTES];

	if (known) {
		fprintf(stderr, "p2pnic %s: option '--%s' %s\n", name, known->name,
			problem == ':' ? "needs an argument" : "takes no argument");
		return COMMAND_USAGE;
	}
	if (optopt && optopt <= OPTION_LETTERS) {
		fprintf(stderr, "p2pnic %s: no option '-%c'; `p2pnic %s --help` lists them\n", name,
			optopt, name);
		return COMMAND_USAGE;
	}
	snprintf(typed, sizeof(typed), "%.*s", (int)strcspn(word, "="), word);
	nearest.word = typed + strspn(typed, "-");
	for (const struct command_option *o = line->syntax->options; o->name; o++)
		nearest_offer(&nearest, o->name);
	fprintf(stderr, "p2pnic %s: no option '%s'; ", name, typed);
	if (nearest.best)
		fprintf(stderr, "did you mean '--%s'?\n", nearest.best);
	else
		fprintf(stderr, "`p2pnic %s --help` lists them\n", name);
	return COMMAND_USAGE;
}

int command_option(struct command_line *line)
{
	int option = getopt_long(line->argc, line->argv, line->letters, line->longs, NULL);

	if (option == 'h') {
		print_usage(stdout, line->syntax);
		line->status = COMMAND_OK;
	} else if (option == '?' || option == ':') {
		line->status = refuse_option(line, option);
	} else {
		return option;
	}
	return -1;
}
