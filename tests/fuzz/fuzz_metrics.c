/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Any JSON as a router's answer: what comes out is Prometheus' text all the same, line by line. A
 * name with quotes or newlines in it must not become a line, or a label, of its own.
 */
#include "metrics/text.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool is_name(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
}

/* Behind name="; behind the quote that ends the value. NULL: none does. */
static const char *behind_value(const char *at)
{
	for (; *at && *at != '"' && *at != '\n'; at++)
		if (*at == '\\') {
			at++;
			if (*at != '\\' && *at != '"' && *at != 'n')
				return NULL;
		}
	return *at == '"' ? at + 1 : NULL;
}

/* name, perhaps {label="value",…}, a space, a number; the start of the next line. */
static const char *behind_sample(const char *at)
{
	char *end;

	if (strncmp(at, "p2pnic_", 7) != 0)
		return NULL;
	while (is_name(*at))
		at++;
	if (*at == '{') {
		do {
			at++;
			while (is_name(*at))
				at++;
			at = !strncmp(at, "=\"", 2) ? behind_value(at + 2) : NULL;
		} while (at && *at == ',');
		if (!at || *at++ != '}')
			return NULL;
	}
	if (*at++ != ' ')
		return NULL;
	strtod(at, &end);
	return end > at && *end == '\n' ? end + 1 : NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	json_error_t error;
	json_t *answer = json_loadb((const char *)data, size, 0, &error);
	size_t bytes;
	char *text;

	if (!answer)
		return 0;
	text = metrics_text(answer, &bytes);
	if (!text || strlen(text) != bytes)
		abort();
	for (const char *at = text; *at;) {
		at = *at == '#' ? strchr(at, '\n') + 1 : behind_sample(at);
		if (!at)
			abort();
	}
	free(text);
	json_decref(answer);
	return 0;
}
