/* SPDX-License-Identifier: BSD-3-Clause */
/* `p2pnic model explain SCENARIO`: which servers are busy, and which parameters it hangs on. */
#include "cli/command.h"
#include "cli/command_model.h"

#include <stdlib.h>
#include <string.h>

#define BARS 12u
#define HALF 20 /* columns of a bar, each way */

#define EXPLAIN_PACKETS 60000u /* more than for a rate: differences of rates are told */

/* What a measure is at both ends of a parameter's range. */
struct effect {
	const struct parameter *parameter;
	int64_t low, high; /* of the middle, in thousandths of it */
};

static int64_t change(uint64_t value, uint64_t base)
{
	return base ? ((int64_t)value - (int64_t)base) * 1000 / (int64_t)base : 0;
}

static int64_t width(const struct effect *e)
{
	return llabs(e->low) > llabs(e->high) ? llabs(e->low) : llabs(e->high);
}

static int widest(const void *a, const void *b)
{
	const struct effect *x = a, *y = b;

	if (width(x) != width(y))
		return width(x) < width(y) ? 1 : -1;
	return strcmp(x->parameter->name, y->parameter->name);
}

static void draw_bar(const struct effect *e, int64_t full)
{
	char bar[2 * HALF + 2];
	const int64_t ends[] = {0, e->low * HALF / full, e->high * HALF / full};
	int64_t from = 0, to = 0;

	for (unsigned k = 0; k < 3; k++) {
		from = ends[k] < from ? ends[k] : from;
		to = ends[k] > to ? ends[k] : to;
	}
	memset(bar, ' ', sizeof(bar));
	for (int64_t k = from; k <= to; k++)
		bar[HALF + k] = '=';
	bar[HALF] = '|';
	bar[2 * HALF + 1] = 0;
	printf("  %s", bar);
}

static void print_tornado(const char *title, const struct effect *effects, unsigned n)
{
	const int64_t full = n && width(&effects[0]) ? width(&effects[0]) : 1;
	char low[32], high[32];

	printf("\n%s\n", title);
	for (unsigned k = 0; k < n && k < BARS && width(&effects[k]); k++) {
		const struct parameter *p = effects[k].parameter;

		parameter_print(low, sizeof(low), p->low, p->unit);
		parameter_print(high, sizeof(high), p->high, p->unit);
		printf("%-28s %-10s", p->name, parameter_tag_name(p->tag));
		draw_bar(&effects[k], full);
		printf(" %+6.1f %% at %s, %+6.1f %% at %s %s\n", (double)effects[k].low / 10, low,
			(double)effects[k].high / 10, high, p->unit);
	}
}

static json_t *tornado_json(const struct effect *effects, unsigned n)
{
	json_t *rows = json_array();

	for (unsigned k = 0; k < n && width(&effects[k]); k++)
		json_array_append_new(rows,
			json_pack("{s:s, s:s, s:I, s:I}", "parameter", effects[k].parameter->name,
				"tag", parameter_tag_name(effects[k].parameter->tag),
				"low_permille", (json_int_t)effects[k].low, "high_permille",
				(json_int_t)effects[k].high));
	return rows;
}

/* If a server alone limited, so much would go through. */
static void print_servers(const struct answer *a)
{
	printf("\n%-24s %10s  %s\n", "busiest of its kind", "at work", "alone it would carry");
	for (unsigned k = 0; k < a->servers && a->server[k].utilisation; k++)
		printf("%-24s %8.1f %%  %.2f Mpps\n", a->server[k].name,
			(double)a->server[k].utilisation / 1e4,
			(double)a->packets / a->server[k].utilisation);
}

static void print(const struct model_options *o, const struct scenario *s,
	const struct answer *base, struct effect *rate, struct effect *p90, unsigned n)
{
	qsort(rate, n, sizeof(*rate), widest);
	qsort(p90, n, sizeof(*p90), widest);
	if (o->json) {
		json_t *json = model_answer_json(base);

		json_object_set_new(json, "program", json_string(s->setup.program->name));
		json_object_set_new(json, "rate", tornado_json(rate, n));
		json_object_set_new(json, "p90", tornado_json(p90, n));
		model_print_json(json);
		return;
	}
	printf("%s\nprogram  %s: %s\n", s->title, s->setup.program->name,
		model_program_label(s->setup.program->name));
	model_print_answer(base);
	print_servers(base);
	print_tornado("Rate, with one parameter at either end of its range", rate, n);
	print_tornado("p90 of latency, likewise", p90, n);
}

/* The scenario, and twice as many runs as it has uncertain parameters. */
static int explain(const struct model_options *o, const struct scenario *s)
{
	const struct parameters *p = &s->parameters;
	struct run *runs = calloc(1 + 2 * p->n, sizeof(*runs));
	struct answer *answers = calloc(1 + 2 * p->n, sizeof(*answers));
	struct effect *rate = calloc(p->n, sizeof(*rate)), *p90 = calloc(p->n, sizeof(*p90));
	unsigned n = 0;
	int code;

	if (!runs || !answers || !rate || !p90)
		abort();
	runs[0] = model_run_of(s);
	if (!runs[0].setup.packets)
		runs[0].setup.packets = EXPLAIN_PACKETS;
	for (unsigned k = 0; k < p->n; k++) {
		struct parameter *one = &p->parameter[k];

		if (one->set || one->low == one->high)
			continue;
		rate[n].parameter = p90[n].parameter = one;
		for (unsigned end = 0; end < 2; end++) {
			struct run *r = &runs[1 + 2 * n + end];

			*r = runs[0];
			r->name = one->name;
			r->value = end ? one->high : one->low;
		}
		n++;
	}
	code = model_runs(runs, 1 + 2 * n, answers);
	for (unsigned k = 0; k < n; k++) {
		const struct answer *low = &answers[1 + 2 * k], *high = low + 1;

		rate[k].low = change(low->packets, answers[0].packets);
		rate[k].high = change(high->packets, answers[0].packets);
		p90[k].low = change(low->latency[90], answers[0].latency[90]);
		p90[k].high = change(high->latency[90], answers[0].latency[90]);
	}
	if (!code)
		print(o, s, &answers[0], rate, p90, n);
	free(runs);
	free(answers);
	free(rate);
	free(p90);
	return code ? COMMAND_FAILED : COMMAND_OK;
}

int model_explain(const struct model_options *o, const char *scenario)
{
	struct scenario s;
	int status = model_scenario(o, scenario, NULL, &s) ? COMMAND_FAILED : explain(o, &s);

	scenario_free(&s);
	return status;
}
