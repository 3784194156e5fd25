/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Completion: the shell's script asks `p2pnic completion words WORD...`, the words of a command
 * line up to the one that is being typed, and gets what it can become: a line each, with a tab
 * before what it means. ":file" and ":directory" leave it to the shell.
 */
#include "cli/command.h"
#include "cli/command_line.h"
#include "cli/which_router.h"
#include "router/api_client.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#define ACTIONS "bash zsh words"

static const struct command_option options[] = {
	{"json", 'j', ARGUMENT_NONE, NULL, "all commands with their options, as JSON", NULL},
	OPTION_HELP};

static const struct command_word words[] = {{NULL, NULL, ARGUMENT_CHOICE, ACTIONS}};

const struct command_syntax completion_syntax = {
	.name = "completion",
	.usage = "usage: p2pnic completion bash|zsh\n"
		 "       p2pnic completion words WORD...\n"
		 "       p2pnic completion -j\n"
		 "\n"
		 "Prints a script that completes the words of p2pnic in that shell; for this "
		 "session:\n"
		 "  source <(p2pnic completion bash)\n"
		 "The script asks `p2pnic completion words`, what the last WORD can become. Names "
		 "of NICs\n"
		 "are those of the router that runs.\n",
	.options = options,
	COMMAND_WORDS(words),
	.stops = true,
};

static const char bash[] =
	"# Completion of p2pnic in bash, made by `p2pnic completion bash`.\n"
	"_p2pnic()\n"
	"{\n"
	"\tlocal line word=${COMP_WORDS[COMP_CWORD]}\n"
	"\tCOMPREPLY=()\n"
	"\twhile IFS= read -r line; do\n"
	"\t\tcase $line in\n"
	"\t\t:file) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- \"$word\") ;;\n"
	"\t\t:directory) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -d -- "
	"\"$word\") ;;\n"
	"\t\t*) COMPREPLY+=(\"${line%%$'\\t'*}\") ;;\n"
	"\t\tesac\n"
	"\tdone < <(\"$1\" completion words \"${COMP_WORDS[@]:1:COMP_CWORD}\" 2>/dev/null)\n"
	"}\n"
	"complete -F _p2pnic p2pnic\n";

static const char zsh[] =
	"#compdef p2pnic\n"
	"# Completion of p2pnic in zsh, made by `p2pnic completion zsh`.\n"
	"_p2pnic()\n"
	"{\n"
	"\tlocal line\n"
	"\tlocal -a found\n"
	"\twhile IFS= read -r line; do\n"
	"\t\tcase $line in\n"
	"\t\t:file) _files ;;\n"
	"\t\t:directory) _files -/ ;;\n"
	"\t\t*) found+=(\"${${line%%$'\\t'*}//:/\\\\:}:${line#*$'\\t'}\") ;;\n"
	"\t\tesac\n"
	"\tdone < <($words[1] completion words \"${(@)words[2,CURRENT]}\" 2>/dev/null)\n"
	"\t(( $#found )) && _describe p2pnic found\n"
	"}\n"
	"if [[ $zsh_eval_context[-1] == loadautofunc ]]; then\n"
	"\t_p2pnic \"$@\"\n"
	"else\n"
	"\tcompdef _p2pnic p2pnic\n"
	"fi\n";

/* --- What the last word can become ------------------------------------------------------------ */

/* A command line, read up to the word that is being typed. */
struct typed {
	const struct command_syntax *syntax;
	const struct command_option *open; /* the word is this one's argument */
	const char *first, *before;        /* words that are no options */
	struct which_router router;
};

static void offer(const char *typed, const char *word, const char *about)
{
	if (!strncmp(word, typed, strlen(typed)))
		printf("%s\t%s\n", word, about);
}

static void offer_nics(struct which_router *router, const char *typed)
{
	const json_t *row;
	struct error error;
	json_t *answer;
	size_t k;

	which_router_settle(router);
	answer = api_show(router->runtime, router->own, "nic", NULL, &error);
	json_array_foreach(json_object_get(answer, "nic"), k, row)
	{
		const char *name = json_string_value(json_object_get(row, "name"));

		if (name)
			offer(typed, name, "NIC");
	}
	json_decref(answer);
}

static void offer_argument(
	struct typed *t, enum command_argument argument, const char *choice, const char *word)
{
	char one[CHOICE_BYTES];

	if (argument == ARGUMENT_FILE)
		puts(":file");
	else if (argument == ARGUMENT_DIRECTORY)
		puts(":directory");
	else if (argument == ARGUMENT_NIC)
		offer_nics(&t->router, word);
	while (argument == ARGUMENT_CHOICE && choice_next(&choice, one))
		offer(word, one, t->syntax->name);
}

static bool fits(const struct command_word *row, const struct typed *t)
{
	if (!row->first || !t->first)
		return !row->first && !t->first;
	return !strcmp(row->first, "*") || !strcmp(row->first, t->first);
}

static void offer_words(struct typed *t, const char *word)
{
	const struct command_syntax *s = t->syntax;
	bool special = false;

	for (size_t k = 0; k < s->words_count; k++)
		special |= fits(&s->words[k], t) && s->words[k].before && t->before &&
			   !strcmp(s->words[k].before, t->before);
	for (size_t k = 0; k < s->words_count; k++) {
		const struct command_word *row = &s->words[k];

		if (fits(row, t) &&
			(special ? row->before && !strcmp(row->before, t->before) : !row->before))
			offer_argument(t, row->argument, row->choice, word);
	}
	for (unsigned k = 0; s->sub && s->sub[k] && !t->first; k++)
		offer(word, strrchr(s->sub[k]->name, ' ') + 1, s->name);
}

static void offer_options(const struct command_syntax *s, const char *word)
{
	for (const struct command_option *o = s->options; o->name; o++) {
		char text[CHOICE_BYTES];

		snprintf(text, sizeof(text), "--%s", o->name);
		offer(word, text, o->about);
	}
}

/* The option whose argument the next word is; NULL: it is none's. */
static const struct command_option *read_option(const struct command_syntax *s, const char *word)
{
	for (const struct command_option *o = s->options; o->name; o++) {
		if (o->argument == ARGUMENT_NONE)
			continue;
		if (word[1] == '-' ? !strcmp(word + 2, o->name)
				   : word[strlen(word) - 1] == o->letter)
			return o;
	}
	return NULL;
}

static void read_word(struct typed *t, const char *word)
{
	if (t->open) {
		/* bash takes --name=x for three words. */
		if (!strcmp(word, "="))
			return;
		if (t->open->letter == WHICH_ROUTER_NAME || t->open->letter == WHICH_ROUTER_RUNTIME)
			which_router_option(&t->router, t->open->letter, word);
		t->open = NULL;
	} else if (*word == '-' && word[1]) {
		t->open = read_option(t->syntax, word);
	} else {
		for (unsigned k = 0; t->syntax->sub && t->syntax->sub[k] && !t->first; k++)
			if (!strcmp(strrchr(t->syntax->sub[k]->name, ' ') + 1, word)) {
				t->syntax = t->syntax->sub[k];
				return;
			}
		t->before = word;
		if (!t->first)
			t->first = word;
	}
}

/* word[n - 1] is being typed. */
static void complete(char **word, int n)
{
	struct typed t = {.router.command = "completion"};
	const struct command *c = commands;
	const char *last = word[n - 1];

	if (n == 1) {
		for (; c->name; c++)
			offer(last, c->name, c->summary);
		if (*last == '-') {
			offer(last, "--help", "list the commands");
			offer(last, "--version", "print the version");
		}
		return;
	}
	while (c->name && strcmp(c->name, word[0]) != 0)
		c++;
	t.syntax = c->syntax;
	if (!t.syntax) {
		puts(":file");
		return;
	}
	for (int k = 1; k < n - 1; k++)
		read_word(&t, word[k]);
	if (t.open)
		offer_argument(&t, t.open->argument, t.open->choice, strcmp(last, "=") ? last : "");
	else if (*last == '-')
		offer_options(t.syntax, last);
	else
		offer_words(&t, last);
}

/* --- All of it, as JSON ----------------------------------------------------------------------- */

static json_t *choices(const char *choice)
{
	json_t *list = json_array();
	char one[CHOICE_BYTES];

	while (choice && choice_next(&choice, one))
		json_array_append_new(list, json_string(one));
	return list;
}

static json_t *syntax_json(const struct command_syntax *s)
{
	static const char *const kind[] = {[ARGUMENT_NONE] = "none",
		[ARGUMENT_TEXT] = "text",
		[ARGUMENT_NUMBER] = "number",
		[ARGUMENT_FILE] = "file",
		[ARGUMENT_DIRECTORY] = "directory",
		[ARGUMENT_NIC] = "nic",
		[ARGUMENT_CHOICE] = "choice"};
	json_t *list = json_array(), *word_list = json_array(), *subs = json_array();

	for (const struct command_option *o = s->options; o->name; o++) {
		const char letter[] = {(char)o->letter, 0};

		json_array_append_new(
			list, json_pack("{s:s, s:s?, s:s, s:s?, s:o, s:s}", "name", o->name,
				      "letter", o->letter <= OPTION_LETTERS ? letter : NULL,
				      "argument", kind[o->argument], "value", o->value, "choice",
				      choices(o->choice), "about", o->about));
	}
	for (size_t k = 0; k < s->words_count; k++)
		json_array_append_new(word_list,
			json_pack("{s:s?, s:s?, s:s, s:o}", "first", s->words[k].first, "before",
				s->words[k].before, "argument", kind[s->words[k].argument],
				"choice", choices(s->words[k].choice)));
	for (unsigned k = 0; s->sub && s->sub[k]; k++)
		json_array_append_new(subs, syntax_json(s->sub[k]));
	return json_pack("{s:s, s:o, s:o, s:o}", "name", s->name, "options", list, "words",
		word_list, "commands", subs);
}

static void print_json(void)
{
	json_t *list = json_array(), *all;

	for (const struct command *c = commands; c->name; c++) {
		json_t *row =
			c->syntax ? syntax_json(c->syntax) : json_pack("{s:s}", "name", c->name);

		json_object_set_new(row, "summary", json_string(c->summary));
		json_array_append_new(list, row);
	}
	all = json_pack("{s:o}", "commands", list);
	json_dumpf(all, stdout, JSON_INDENT(2));
	putchar('\n');
	json_decref(all);
}

int command_completion(int argc, char **argv)
{
	struct command_line line;
	const char *what;
	bool json = false;

	command_begin(&line, &completion_syntax, argc, argv);
	while (command_option(&line) >= 0)
		json = true;
	if (line.status != COMMAND_GO)
		return line.status;
	what = optind < argc ? argv[optind++] : "";
	if (json && !*what)
		print_json();
	else if (!json && !strcmp(what, "words") && optind < argc)
		complete(argv + optind, argc - optind);
	else if (!json && optind == argc && !strcmp(what, "bash"))
		fputs(bash, stdout);
	else if (!json && optind == argc && !strcmp(what, "zsh"))
		fputs(zsh, stdout);
	else if (*what && !choice_has(ACTIONS, what))
		return command_no_such(&line, "script", what, ACTIONS);
	else
		return command_refuse(&line);
	return COMMAND_OK;
}
