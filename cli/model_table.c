/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/model_table.h"
#include "cli/command.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define SETTINGS_MAX 16u

void model_table_add(
	struct model_table *t, const char *scenario, const char *settings, const char *label, ...)
{
	const char *more[SETTINGS_MAX + 1] = {NULL};
	struct model_row *rows;
	char *text, *rest;
	va_list arguments;

	if (t->code)
		return;
	rows = realloc(t->row, (t->n + 1) * sizeof(*rows));
	text = strdup(settings);
	if (!rows || !text)
		abort();
	t->row = rows;
	rows += t->n++;
	va_start(arguments, label);
	vsnprintf(rows->label, sizeof(rows->label), label, arguments);
	va_end(arguments);
	rest = text;
	for (unsigned k = 0; k < SETTINGS_MAX && rest && *rest; k++)
		more[k] = strsep(&rest, ";");
	t->code = model_scenario(t->options, scenario, more, &rows->scenario);
	free(text);
}

static double dropped(const struct answer *a)
{
	uint64_t drops = 0;

	for (unsigned k = 0; k < RESULT_DROP_COUNT; k++)
		drops += a->drop[k];
	return a->in ? (double)drops * 100 / (double)a->in : 0;
}

static void print_text(const struct model_table *t, const char *title)
{
	printf("%s\n", title);
	printf("%-38s %-24s %9s %8s %8s %8s %7s %6s  %s\n", "", "program", "Mpps", "Gb/s", "p50 us",
		"p99 us", "dropped", "DMA", "busiest");
	for (unsigned k = 0; k < t->n; k++) {
		const struct answer *a = &t->row[k].answer;
		char p50[16] = "-", p99[16] = "-"; /* no stamped packet has come through */

		if (a->samples) {
			snprintf(p50, sizeof(p50), "%.2f", (double)a->latency[50] / 1e6);
			snprintf(p99, sizeof(p99), "%.2f", (double)a->latency[99] / 1e6);
		}
		printf("%-38s %-24s %9.2f %8.2f %8s %8s %5.1f %% %6.2f  %s %.0f %%\n",
			t->row[k].label,
			model_program_label(t->row[k].scenario.setup.program->name),
			(double)a->packets / 1e6, (double)a->bits / 1e9, p50, p99, dropped(a),
			(double)a->dma / 1e3, a->servers ? a->server[0].name : "-",
			a->servers ? (double)a->server[0].utilisation / 1e4 : 0);
	}
}

static void print_json(const struct model_table *t, const char *title)
{
	json_t *rows = json_array();

	for (unsigned k = 0; k < t->n; k++) {
		json_t *row = model_answer_json(&t->row[k].answer);

		json_object_set_new(row, "label", json_string(t->row[k].label));
		json_object_set_new(
			row, "program", json_string(t->row[k].scenario.setup.program->name));
		json_array_append_new(rows, row);
	}
	model_print_json(json_pack("{s:s, s:o}", "title", title, "rows", rows));
}

static int run(struct model_table *t)
{
	struct run *runs = calloc(t->n, sizeof(*runs));
	struct answer *answers = calloc(t->n, sizeof(*answers));
	int code;

	if (!runs || !answers)
		abort();
	for (unsigned k = 0; k < t->n; k++)
		runs[k] = model_run_of(&t->row[k].scenario);
	code = model_runs(runs, t->n, answers);
	for (unsigned k = 0; k < t->n; k++)
		t->row[k].answer = answers[k];
	free(runs);
	free(answers);
	return code;
}

int model_table_finish(struct model_table *t, const char *title)
{
	if (!t->code)
		t->code = run(t);
	if (!t->code && t->options->json)
		print_json(t, title);
	else if (!t->code)
		print_text(t, title);
	for (unsigned k = 0; k < t->n; k++)
		scenario_free(&t->row[k].scenario);
	free(t->row);
	return t->code ? COMMAND_FAILED : COMMAND_OK;
}
