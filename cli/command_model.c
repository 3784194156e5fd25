/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/command_model.h"
#include "cli/command.h"

#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#define ACTIONS "run validate calibrate figures explain whatif"

enum { OPTION_SET = OPTION_LETTERS + 1, OPTION_SWEEP, OPTION_FOLDER };

static const struct command_option options[] = {
	{"config", 'c', ARGUMENT_FILE, "SCENARIO", "a file, or the name of one of the model's own",
		NULL},
	{"set", OPTION_SET, ARGUMENT_TEXT, "KEY=VALUE",
		"of the scenario, or a parameter: switch.latency=105 ns", NULL},
	{"sweep", OPTION_SWEEP, ARGUMENT_NUMBER, "N", "draws of the unknowns (figures: 200)", NULL},
	{"output", 'o', ARGUMENT_DIRECTORY, "DIR", "figures: where they are drawn (figures)", NULL},
	{"folder", OPTION_FOLDER, ARGUMENT_DIRECTORY, "DIR", "the model's parameters and scenarios",
		NULL},
	OPTION_JSON, OPTION_HELP};

static const struct command_word words[] = {{NULL, NULL, ARGUMENT_CHOICE, ACTIONS},
	{"explain", "explain", ARGUMENT_FILE, NULL},
	{"whatif", "whatif", ARGUMENT_CHOICE, MODEL_WHATIFS}};

const struct command_syntax model_syntax = {
	.name = "model",
	.usage = "usage: p2pnic model run      -c SCENARIO [--set KEY=VALUE]... [--json]\n"
		 "       p2pnic model validate [--json]           the model beside what is known\n"
		 "       p2pnic model calibrate [--json]          fit what nobody measured\n"
		 "       p2pnic model figures  [--sweep N] [-o DIR] [--json]\n"
		 "       p2pnic model explain  SCENARIO [--json]  where the time goes, and what it "
		 "hangs on\n"
		 "       p2pnic model whatif   ports|batch|rings|tables|neighbours|tree|nic "
		 "[--json]\n"
		 "\n"
		 "A router of NICs under a PCIe switch in virtual time: hardware that is not "
		 "here, run by the\n"
		 "published program or by our firmware. What is modelled and how sure it is: "
		 "docs/model.md.\n",
	.options = options,
	COMMAND_WORDS(words),
};

/* --- What actions share ----------------------------------------------------------------------- */

/* What goes by the host is fitted, and predicts nothing beyond the points that it was fitted to. */
const char *model_program_label(const char *name)
{
	static const char *const labels[][2] = {{"paper", "published Wr, routed"},
		{"fixed", "published Wr, fixed port"}, {"rd", "published Rd"},
		{"bn", "bounce, Bn (calibrated)"}, {"l3fwd", "DPDK l3fwd (calibrated)"},
		{"p2pnic", "our firmware (Wr)"}, {"p2pnic-held", "ours, held batches (Wr)"}};

	for (unsigned k = 0; k < sizeof(labels) / sizeof(*labels); k++)
		if (!strcmp(labels[k][0], name))
			return labels[k][1];
	return name;
}

static int say(const struct error *error)
{
	fprintf(stderr, "p2pnic model: %s\n", error->text);
	return -EINVAL;
}

/* A name without a slash and a dot is a scenario of the model's own. */
static int load(
	const struct model_options *o, const char *name, struct scenario *s, struct error *error)
{
	char path[PATH_MAX + 64];

	if (strchr(name, '/') || strchr(name, '.'))
		return scenario_load(s, name, error);
	snprintf(path, sizeof(path), "%s/scenarios/%s.yaml", o->folder, name);
	return scenario_load(s, path, error);
}

int model_scenario(const struct model_options *o, const char *name, const char *const *more,
	struct scenario *s)
{
	struct error error = {""};
	int code;

	scenario_init(s);
	code = name ? load(o, name, s, &error) : 0;
	for (unsigned k = 0; !code && k < o->sets; k++)
		code = scenario_set(s, o->set[k], &error);
	for (; !code && more && *more; more++)
		code = scenario_set(s, *more, &error);
	if (!code)
		code = scenario_ready(s, o->folder, &error);
	return code ? say(&error) : 0;
}

static void show_progress(unsigned done, unsigned n)
{
	if (n > 1 && isatty(2) && done < n)
		fprintf(stderr, "\r%u of %u runs ", done, n);
	else if (n > 1 && isatty(2))
		fprintf(stderr, "\r\033[K");
}

int model_runs(const struct run *runs, unsigned n, struct answer *answers)
{
	struct error error = {""};

	return runs_do(runs, n, answers, show_progress, &error) ? say(&error) : 0;
}

static const char *const drop_names[] = {
#define NAME(name, text) #name,
	RESULT_DROPS(NAME)
#undef NAME
};
static const char *const drop_texts[] = {
#define TEXT(name, text) text,
	RESULT_DROPS(TEXT)
#undef TEXT
};

void model_print_answer(const struct answer *a)
{
	printf("packets  %" PRIu64 " received, %" PRIu64 " sent, %" PRIu64 " held\n", a->in,
		a->sent, a->held);
	for (unsigned k = 0; k < RESULT_DROP_COUNT; k++)
		if (a->drop[k])
			printf("         %" PRIu64 " dropped: %s\n", a->drop[k], drop_texts[k]);
	printf("rate     %.2f Mpps, %.2f Gb/s of frames\n", (double)a->packets / 1e6,
		(double)a->bits / 1e9);
	printf("latency  p50 %.2f us, p90 %.2f us, p99 %.2f us\n", (double)a->latency[50] / 1e6,
		(double)a->latency[90] / 1e6, (double)a->latency[99] / 1e6);
	printf("DMA      %.2f accesses a packet\n", (double)a->dma / 1e3);
	for (unsigned k = 0; k < a->servers; k++)
		printf("%s %5.1f %%  %s\n", k ? "        " : "busiest ",
			(double)a->server[k].utilisation / 1e4, a->server[k].name);
}

json_t *model_answer_json(const struct answer *a)
{
	json_t *drops = json_object(), *servers = json_array();

	for (unsigned k = 0; k < RESULT_DROP_COUNT; k++)
		json_object_set_new(drops, drop_names[k], json_integer((json_int_t)a->drop[k]));
	for (unsigned k = 0; k < a->servers; k++)
		json_array_append_new(
			servers, json_pack("{s:s, s:i}", "name", a->server[k].name,
					 "utilisation_ppm", (int)a->server[k].utilisation));
	return json_pack("{s:I, s:I, s:I, s:o, s:I, s:I, s:I, s:{s:I, s:I, s:I}, s:o}", "in",
		(json_int_t)a->in, "sent", (json_int_t)a->sent, "held", (json_int_t)a->held,
		"dropped", drops, "packets_per_second", (json_int_t)a->packets, "bits_per_second",
		(json_int_t)a->bits, "dma_per_thousand_packets", (json_int_t)a->dma, "latency_ps",
		"p50", (json_int_t)a->latency[50], "p90", (json_int_t)a->latency[90], "p99",
		(json_int_t)a->latency[99], "servers", servers);
}

void model_print_json(json_t *json)
{
	json_dumpf(json, stdout, JSON_INDENT(2));
	putchar('\n');
	json_decref(json);
}

/* --- run -------------------------------------------------------------------------------------- */

static void print_setup(const struct scenario *s)
{
	const struct machine_setup *m = &s->setup;

	if (*s->title)
		printf("%s\n", s->title);
	printf("program  %s: %s\n", m->program->name, model_program_label(m->program->name));
	printf("machine  %u × %s under %s, host %s, links %s\n", m->nics, s->part[SCENARIO_NIC],
		s->part[SCENARIO_SWITCH], s->part[SCENARIO_HOST], s->part[SCENARIO_LINK]);
	printf("traffic  %s, %u B, ", s->pattern, m->frame);
	if (m->bit_per_s)
		printf("%.3g Gb/s a port\n", (double)m->bit_per_s / 1e9);
	else
		printf("line rate\n");
}

int model_run(const struct model_options *o)
{
	struct scenario s;
	struct answer a;
	int code;

	if (!o->config)
		return command_refuse(o->line);
	code = model_scenario(o, o->config, NULL, &s);
	if (!code) {
		const struct run run = model_run_of(&s);

		code = model_runs(&run, 1, &a);
	}
	if (!code && o->json) {
		json_t *json = model_answer_json(&a);

		json_object_set_new(json, "program", json_string(s.setup.program->name));
		model_print_json(json);
	} else if (!code) {
		print_setup(&s);
		model_print_answer(&a);
	}
	scenario_free(&s);
	return code ? COMMAND_FAILED : COMMAND_OK;
}

/* --- The command ------------------------------------------------------------------------------ */

/* PREFIX/share/p2pnic/model of PREFIX/bin/p2pnic; else model/ beside the build folder. */
static void find_folder(char folder[PATH_MAX])
{
	char exe[PATH_MAX], path[PATH_MAX + 64];
	const ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);

	*folder = 0;
	if (n <= 0)
		return;
	exe[n] = 0;
	*strrchr(exe, '/') = 0;
	for (unsigned built = 0; built < 2; built++) {
		snprintf(path, sizeof(path), built ? "%s/../../model" : "%s/../share/p2pnic/model",
			exe);
		if (access(path, R_OK) == 0 && realpath(path, folder))
			return;
	}
	*folder = 0;
}

static int act(const struct model_options *o, int argc, char **argv)
{
	const char *action = argc ? argv[0] : "", *word = argc > 1 ? argv[1] : NULL;

	if (!strcmp(action, "run") && argc == 1)
		return model_run(o);
	if (!strcmp(action, "validate") && argc == 1)
		return model_validate(o);
	if (!strcmp(action, "calibrate") && argc == 1)
		return model_calibrate(o);
	if (!strcmp(action, "figures") && argc == 1)
		return model_figures(o);
	if (!strcmp(action, "explain") && argc == 2)
		return model_explain(o, word);
	if (!strcmp(action, "whatif") && argc == 2)
		return choice_has(MODEL_WHATIFS, word)
			       ? model_whatif(o, word)
			       : command_no_such(o->line, "question", word, MODEL_WHATIFS);
	if (*action && !choice_has(ACTIONS, action))
		return command_no_such(o->line, "action", action, ACTIONS);
	return command_refuse(o->line);
}

int command_model(int argc, char **argv)
{
	struct command_line line;
	struct model_options o = {.line = &line, .output = "figures"};
	unsigned long number;
	int option;

	find_folder(o.folder);
	command_begin(&line, &model_syntax, argc, argv);
	while ((option = command_option(&line)) >= 0)
		switch (option) {
		case 'c':
			o.config = optarg;
			break;
		case 'o':
			o.output = optarg;
			break;
		case 'j':
			o.json = true;
			break;
		case OPTION_SET:
			if (o.sets == MODEL_SETS)
				return command_refuse(&line);
			o.set[o.sets++] = optarg;
			break;
		case OPTION_FOLDER:
			snprintf(o.folder, sizeof(o.folder), "%s", optarg);
			break;
		case OPTION_SWEEP:
			if (!command_number(optarg, 1, 100000, &number)) {
				fprintf(stderr,
					"p2pnic model: '%s' is not a number from 1 to "
					"100000\n",
					optarg);
				return COMMAND_USAGE;
			}
			o.sweep = (unsigned)number;
			break;
		}
	if (line.status != COMMAND_GO)
		return line.status;
	return act(&o, argc - optind, argv + optind);
}
