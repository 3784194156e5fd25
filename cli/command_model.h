/* SPDX-License-Identifier: BSD-3-Clause */
/* The actions of `p2pnic model`, and what they share. Each returns the exit status. */
#ifndef CLI_COMMAND_MODEL_H
#define CLI_COMMAND_MODEL_H

#include "cli/command_line.h"
#include "model/runs.h"
#include "model/scenario.h"

#include <jansson.h>
#include <limits.h>
#include <stdio.h>

#define MODEL_SETS 64u

struct model_options {
	const struct command_line *line;
	char folder[PATH_MAX]; /* the model's: parameters/, scenarios/ */
	const char *config;    /* a scenario; NULL: the action's own */
	const char *set[MODEL_SETS];
	unsigned sets;
	unsigned sweep; /* draws of the unknowns; 0: the action's own number */
	const char *output;
	bool json;
};

int model_run(const struct model_options *);
int model_validate(const struct model_options *);
int model_calibrate(const struct model_options *);
int model_figures(const struct model_options *);
int model_explain(const struct model_options *, const char *scenario);
int model_whatif(const struct model_options *, const char *what);
#define MODEL_WHATIFS "ports batch rings tables neighbours tree nic"

/* A scenario by file or name, with --set of the command line, then each of `more` (NULL ends
 * them), ready to run. NULL as a name: all defaults. 0, or -errno, which was said. Free it in any
 * case. */
int model_scenario(
	const struct model_options *, const char *name, const char *const *more, struct scenario *);

/* What a program is called wherever its figures stand: ours and the published are never mixed. */
const char *model_program_label(const char *name);

/* Its runs, with progress on a terminal. 0, or -errno, which was said. */
int model_runs(const struct run *, unsigned n, struct answer *);

void model_print_answer(const struct answer *);
json_t *model_answer_json(const struct answer *);
void model_print_json(json_t *); /* takes it */

static inline struct run model_run_of(const struct scenario *s)
{
	return (struct run){.setup = s->setup, .parameters = &s->parameters};
}

#endif
