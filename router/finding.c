/* SPDX-License-Identifier: BSD-3-Clause */
#include "router/finding.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char *const level_name[] = {
	[FINDING_OK] = "ok", [FINDING_NOTE] = "note", [FINDING_FAULT] = "fault"};

/* A path or a name that is no UTF-8 may stand in it. */
static json_t *text_of(const char *text)
{
	return json_string(text) ?: json_string("cannot be shown: no UTF-8");
}

void finding_add(json_t *list, enum finding_level level, const char *kind, const char *subject,
	const char *fix, const char *format, ...)
{
	char text[1280];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	json_array_append_new(
		list, json_pack("{s:s, s:s, s:o, s:o, s:o}", "level", level_name[level], "kind",
			      kind, "subject", text_of(subject), "text", text_of(text), "fix",
			      *fix ? text_of(fix) : json_null()));
}

static bool is_level(const json_t *finding, enum finding_level level)
{
	const char *name = json_string_value(json_object_get(finding, "level"));

	return name && !strcmp(name, level_name[level]);
}

unsigned finding_count(const json_t *list, const char *kind)
{
	const json_t *finding;
	unsigned n = 0;
	size_t index;

	json_array_foreach(list, index, finding)
	{
		const char *is = json_string_value(json_object_get(finding, "kind"));

		n += is && !strcmp(is, kind) && !is_level(finding, FINDING_OK);
	}
	return n;
}

bool finding_any_fault(const json_t *list)
{
	const json_t *finding;
	size_t index;

	json_array_foreach(list, index, finding)
	{
		if (is_level(finding, FINDING_FAULT))
			return true;
	}
	return false;
}
