/* SPDX-License-Identifier: BSD-3-Clause */
/* Machines of the timing model for tests: the published one's parameters, and one run. */
#ifndef TESTS_MODEL_RIG_H
#define TESTS_MODEL_RIG_H

#include "model/machine.h"

// clang-format off
#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
// clang-format on
#include <stdio.h>

static struct error error;
static struct result result;

static inline void load_part(struct parameters *p, const char *part)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/%s.yaml", MODEL_PARAMETERS, part);
	if (parameters_load(p, path, NULL, &error) < 0)
		fail_msg("%s", error.text);
}

static inline void load_published(struct parameters *p)
{
	static const char *const part[] = {
		"agilio-cx", "xeon6246r", "pex9797", "gen3", "published"};

	*p = (struct parameters){0};
	for (unsigned k = 0; k < sizeof(part) / sizeof(*part); k++)
		load_part(p, part[k]);
}

static inline void set(struct parameters *p, const char *name, const char *value)
{
	if (parameters_set(p, name, value, &error) < 0)
		fail_msg("%s", error.text);
}

/* Into `result`; packets are conserved. */
static inline void run(const struct machine_setup *setup, struct parameters *p, bool drain)
{
	if (machine_run(setup, p, drain, &result, &error) < 0)
		fail_msg("%s", error.text);
	assert_true(result_conserved(&result));
}

#endif
