/* SPDX-License-Identifier: BSD-3-Clause */
/* A scenario, whatever is in it: taken, or refused with a sentence that names a line; and a setting
 * of the command line, which is the input's first line. */
#include "model/scenario.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *end = memchr(data, '\n', size);
	struct error error = {""};
	struct scenario s;
	char setting[256];
	unsigned line = 0;

	scenario_init(&s);
	snprintf(setting, sizeof(setting), "%.*s", (int)(end ? end - data : 0), (const char *)data);
	scenario_set(&s, setting, &error);
	if (scenario_load_text(&s, "f", (const char *)data, size, &error) < 0 &&
		(sscanf(error.text, "f:%u: ", &line) != 1 || !line))
		abort();
	if (s.setup.frame < 64 || s.setup.nics < 2 || s.setup.neighbours > MACHINE_NEIGHBOURS ||
		!memchr(s.title, 0, sizeof(s.title)) || !s.setup.program)
		abort();
	scenario_free(&s);
	return 0;
}
