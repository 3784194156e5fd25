/* SPDX-License-Identifier: BSD-3-Clause */
/* A file of parameters, whatever is in it: loaded whole or refused with a sentence that names a
 * line. A value prints as a text that sets the same value. So that more than the first lines are
 * reached, the input is also one field of a file that is good but for it: its first byte says
 * which.
 */
#include "model/parameters.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIELDS 8u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void load(const char *text, size_t size)
{
	struct parameters p = {0}, copy;
	struct error error = {""};
	unsigned line = 0;

	if (parameters_load_text(&p, "f", NULL, text, size, &error) < 0) {
		if (p.n || sscanf(error.text, "f:%u: ", &line) != 1 || !line)
			abort();
		return;
	}
	if (!p.n || parameters_copy(&copy, &p) < 0)
		abort();
	for (unsigned k = 0; k < p.n; k++) {
		const struct parameter *one = &p.parameter[k];
		char value[64];

		if (one->low > one->value || one->value > one->high)
			abort();
		parameter_print(value, sizeof(value), one->value, one->unit);
		if (parameters_set(&copy, one->name, value, &error) < 0 ||
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
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *field[FIELDS] = {"nic", "completer", "1", "ns", "0", "2", "assumed", "s"};
	char input[256], text[1024];
	int used;

	load((const char *)data, size);
	if (!size)
		return 0;
	snprintf(input, sizeof(input), "%.*s", (int)(size - 1), (const char *)data + 1);
	field[*data % FIELDS] = input;
	used = snprintf(text, sizeof(text),
		"part: p\nrole: %s\nvalues:\n  - {name: %s, value: %s, unit: %s, range: [%s, %s], "
		"tag: %s, source: %s}\n",
		field[0], field[1], field[2], field[3], field[4], field[5], field[6], field[7]);
	load(text, (size_t)used);
	return 0;
}
