/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Lines of text: what `ip -batch` and other programs read, and configuration files.
 */
#ifndef LAB_SCRIPT_H
#define LAB_SCRIPT_H

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

struct script {
	char text[8192];
	size_t used;
};

__attribute__((format(printf, 2, 3))) static inline void line(
	struct script *s, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	s->used +=
		(size_t)vsnprintf(s->text + s->used, sizeof(s->text) - s->used, format, arguments);
	va_end(arguments);
	s->used += (size_t)snprintf(s->text + s->used, sizeof(s->text) - s->used, "\n");
}

#endif
