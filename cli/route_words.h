/* SPDX-License-Identifier: BSD-3-Clause */
/* Filters of routes as words: `p2pnic show route` and `p2pnic watch route`. */
#ifndef CLI_ROUTE_WORDS_H
#define CLI_ROUTE_WORDS_H

#include <jansson.h>
#include <stdbool.h>

#define ROUTE_SOURCES "local neighbor static connected file kernel"

/* Reads [ADDRESS | PREFIX] and then filters, of those in `allowed` ("longer-prefixes", and words
 * with an argument), into the request (docs/api.md). False: they make no sense. */
bool route_words(json_t *request, const char *allowed, char **word, int count);

#endif
