/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A table of runs: rows that are scenarios, alike but for some settings, and the same columns for
 * all. Each row names its program.
 */
#ifndef CLI_MODEL_TABLE_H
#define CLI_MODEL_TABLE_H

#include "cli/command_model.h"

struct model_row {
	char label[64];
	struct scenario scenario;
	struct answer answer;
};

struct model_table {
	const struct model_options *options;
	struct model_row *row;
	unsigned n;
	int code; /* of the first row that could not be made; was said */
};

/* A row: that scenario (NULL: all defaults), --set of the command line, then `settings` in one text
 * with semicolons between: "nics=8;switch.latency=105 ns". */
void model_table_add(struct model_table *, const char *scenario, const char *settings,
	const char *label, ...) __attribute__((format(printf, 4, 5)));

/* Runs all rows, and prints them as text or JSON. The exit status. Frees the table. */
int model_table_finish(struct model_table *, const char *title);

#endif
