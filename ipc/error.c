/* SPDX-License-Identifier: BSD-3-Clause */
#include "error.h"

#include <stdio.h>

int error_set_list(struct error *error, int code, const char *format, va_list arguments)
{
	struct error made; /* an argument may be the text in *error */

	vsnprintf(made.text, sizeof(made.text), format, arguments);
	*error = made;
	return code;
}

int error_set(struct error *error, int code, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	error_set_list(error, code, format, arguments);
	va_end(arguments);
	return code;
}
