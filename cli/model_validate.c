/* SPDX-License-Identifier: BSD-3-Clause */
/* `p2pnic model validate`: the model beside what is known, from the bottom, and the mark of a
 * freeze. */
#include "cli/command.h"
#include "cli/command_model.h"
#include "model/calibrate.h"
#include "model/validate.h"

#include <glob.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct report {
	json_t *lines;
	bool json, fails;
	unsigned links; /* lines of step 1, which are one in print */
	double worst;   /* of them */
};

static const char *const units[] = {"ps", "", "Mpps"};

/* A line: what the model says, and what it should. */
static void put(struct report *r, unsigned step, const char *what, uint64_t model, uint64_t given,
	unsigned within, unsigned unit, const char *source)
{
	const double off = given ? ((double)model / (double)given - 1) * 100 : 0;
	const bool holds = off * 1e4 <= within && -off * 1e4 <= within;
	const double scale = unit ? 1e6 : 1;

	r->fails |= !holds;
	json_array_append_new(
		r->lines, json_pack("{s:i, s:s, s:I, s:I, s:b, s:s}", "step", (int)step, "what",
				  what, "model", (json_int_t)model, "given", (json_int_t)given,
				  "holds", holds, "source", source));
	if (step == 1) {
		r->links++;
		r->worst = fabs(off) > r->worst ? fabs(off) : r->worst;
	}
	if (!r->json && (step > 1 || !holds))
		printf("%u  %-58s %12.*f %12.*f %-4s %+6.2f %% of %4.1f %%%s\n", step, what,
			unit ? 2 : 0, (double)model / scale, unit ? 2 : 0, (double)given / scale,
			units[unit], off, within / 1e4, holds ? "" : "  FAILS");
}

static void put_validation(void *object, const struct validation *v)
{
	put(object, v->step, v->what, v->model, v->given, v->within, 0, v->source);
}

static int calibrations(struct report *r, const struct parameters *p, struct error *error)
{
	int code = 0;

	for (unsigned k = 0; k < CALIBRATIONS && !code; k++) {
		const struct calibration *c = &calibration[k];
		uint64_t measured;
		char what[96];

		code = calibration_measure(k, p, &measured, error);
		snprintf(what, sizeof(what), "(%u) %s", c->number, c->what);
		if (!code)
			put(r, 4, what, measured, c->published, c->within, c->ratio ? 1 : 2,
				"Ueno et al. 2022, fitted");
	}
	return code;
}

/* All files of parameters, one after another by name. */
static int hash(const char *folder, uint64_t *sum, struct error *error)
{
	char pattern[PATH_MAX + 64];
	glob_t files;
	int code = 0;

	snprintf(pattern, sizeof(pattern), "%s/parameters/*.yaml", folder);
	if (glob(pattern, 0, NULL, &files))
		return error_set(error, -EINVAL, "%s: no files of parameters", pattern);
	*sum = 0;
	for (size_t k = 0; k < files.gl_pathc && !code; k++) {
		struct parameters p = {0};

		code = parameters_load(&p, files.gl_pathv[k], NULL, error);
		*sum = *sum * 31 + parameters_hash(&p);
		parameters_free(&p);
	}
	globfree(&files);
	return code;
}

int model_validate(const struct model_options *o)
{
	struct report r = {.json = o->json, .lines = json_array()};
	struct error error = {""};
	struct scenario s;
	uint64_t sum = 0;
	char text[17];
	int code = model_scenario(o, NULL, (const char *const[]){"program=paper", NULL}, &s);

	if (code) {
		scenario_free(&s);
		json_decref(r.lines);
		return COMMAND_FAILED;
	}
	if (!o->json)
		printf("%-61s %12s %12s\n", "step", "model", "given");
	code = validate_links(&s.parameters, put_validation, &r, &error);
	if (!code && !o->json)
		printf("1  %u kinds of access over links of 4, 8 and 16 lanes: %.4f %% off at "
		       "most\n",
			r.links, r.worst);
	if (!code)
		code = validate_dma(&s.parameters, put_validation, &r, &error);
	if (!code)
		code = validate_nfp(&s.parameters, put_validation, &r, &error);
	if (!code)
		code = calibrations(&r, &s.parameters, &error);
	if (!code)
		code = hash(o->folder, &sum, &error);
	snprintf(text, sizeof(text), "%016" PRIx64, sum);
	if (code)
		fprintf(stderr, "p2pnic model: %s\n", error.text);
	else if (o->json)
		model_print_json(json_pack("{s:s, s:O}", "parameters", text, "lines", r.lines));
	else
		printf("parameters %s\n", text);
	json_decref(r.lines);
	scenario_free(&s);
	return code || r.fails ? COMMAND_FAILED : COMMAND_OK;
}

/* --- calibrate -------------------------------------------------------------------------------- */

static void put_fit(const struct calibration *c, uint64_t measured, const struct parameter *p)
{
	char value[64];

	parameter_print(value, sizeof(value), p->value, p->unit);
	printf("(%u) %s: %.4f of %.4f with %s = %s %s\n", c->number, c->what,
		(double)measured / 1e6, (double)c->published / 1e6, p->name, value, p->unit);
	fflush(stdout);
}

static void put_fit_json(const struct calibration *c, uint64_t measured, const struct parameter *p)
{
	char value[64];
	json_t *fit;

	parameter_print(value, sizeof(value), p->value, p->unit);
	fit = json_pack("{s:i, s:s, s:I, s:I, s:s, s:s, s:s}", "number", (int)c->number, "what",
		c->what, "model", (json_int_t)measured, "given", (json_int_t)c->published,
		"parameter", p->name, "value", value, "unit", p->unit);
	json_dumpf(fit, stdout, JSON_COMPACT);
	putchar('\n');
	fflush(stdout);
	json_decref(fit);
}

int model_calibrate(const struct model_options *o)
{
	struct error error = {""};
	struct scenario s;
	int code = model_scenario(o, NULL, (const char *const[]){"program=paper", NULL}, &s);

	if (!code) {
		code = calibrate(&s.parameters, o->json ? put_fit_json : put_fit, &error);
		if (code)
			fprintf(stderr, "p2pnic model: %s\n", error.text);
	}
	scenario_free(&s);
	return code ? COMMAND_FAILED : COMMAND_OK;
}
