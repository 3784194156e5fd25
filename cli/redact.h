/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Takes secrets out of a line of text, whatever it is a line of: YAML, JSON, options, messages,
 * tables.
 *
 * The value of a key (what follows `:` or `=`, with or without quotes) is replaced by REMOVED if
 * the key ends with a word of redact.c: secret, password, key … It ends at a comma, a quote, a
 * closing bracket or the line's end; more than it is taken rather than less. The name of a user in
 * a path, /home/NAME, is replaced, too.
 */
#ifndef P2PNIC_REDACT_H
#define P2PNIC_REDACT_H

#include <stddef.h>

/* How many were replaced. `to` is cut at its end. */
unsigned redact(const char *line, char *to, size_t room);

#endif
