/* SPDX-License-Identifier: BSD-3-Clause */
/* A file of parameters, whatever is in it: loaded whole or refused with a sentence that names a
 * line. A value prints as a text that sets the same value. */
#include "model/parameters.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct parameters p = {0}, copy;
	struct error error = {""};
	unsigned line = 0;

	if (parameters_load_text(&p, "f", (const char *)data, size, &error) < 0) {
		if (p.n || sscanf(error.text, "f:%u: ", &line) != 1 || !line)
			abort();
		return 0;
	}
	if (!p.n || parameters_copy(&copy, &p) < 0)
		abort();
	for (unsigned k = 0; k < p.n; k++) {
		const struct parameter *one = &p.parameter[k];
		char text[64];

		if (one->low > one->value || one->value > one->high)
			abort();
		parameter_print(text, sizeof(text), one->value, one->unit);
		if (parameters_set(&copy, one->name, text, &error) < 0 ||
			parameters_get(&copy, one->name) != one->value)
			abort();
	}
	parameters_draw(&p, size);
	for (unsigned k = 0; k < p.n; k++)
		if (p.parameter[k].value < p.parameter[k].low ||
			p.parameter[k].value > p.parameter[k].high)
			abort();
	parameters_free(&copy);
	parameters_free(&p);
	return 0;
}
