/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Why a call failed: a sentence for the user, beside the -errno that the call returns. The caller
 * has the room, the callee writes into it, and only if it fails.
 */
#ifndef P2PNIC_ERROR_H
#define P2PNIC_ERROR_H

#include <stdarg.h>

/* The longest of the tests takes 220 bytes, most of them a path; the lab quotes what a program
 * said. */
struct error {
	char text[1024];
};

/*
 * Writes the sentence and returns `code`, so that a failure is one line. A sentence that is too
 * long is cut. It may be made from the one before: error_set(error, code, "%s: %s", name,
 * error->text).
 */
int error_set(struct error *, int code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
int error_set_list(struct error *, int code, const char *format, va_list)
	__attribute__((format(printf, 3, 0)));

#endif
