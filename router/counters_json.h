/* SPDX-License-Identifier: BSD-3-Clause */
/* Rows of the table of counters as JSON: COUNTERS_…(COUNTER_PUT) puts all of a set into `o`. */
#ifndef ROUTER_COUNTERS_JSON_H
#define ROUTER_COUNTERS_JSON_H

#include <jansson.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "router/counters.h"

/* A dot in the key leads into an object, which is made if it is not there. */
static inline void counter_put(json_t *o, const char *key, json_t *value)
{
	const char *dot = strchr(key, '.');
	char first[32];
	json_t *inner;

	if (!dot) {
		json_object_set_new(o, key, value);
		return;
	}
	snprintf(first, sizeof(first), "%.*s", (int)(dot - key), key);
	inner = json_object_get(o, first);
	if (!inner) {
		inner = json_object();
		json_object_set_new(o, first, inner);
	}
	json_object_set_new(inner, dot + 1, value);
}

/* What is there; NULL: nothing. */
static inline const json_t *counter_get(const json_t *row, const char *key)
{
	const char *dot = strchr(key, '.');
	char first[32];

	if (!dot)
		return json_object_get(row, key);
	snprintf(first, sizeof(first), "%.*s", (int)(dot - key), key);
	return json_object_get(json_object_get(row, first), dot + 1);
}

static inline json_t *counter_integer(uint64_t value)
{
	return json_integer((json_int_t)value);
}

#define COUNTER_PUT(key, value, unit, metric, type, help, read)                                    \
	counter_put(o, key,                                                                        \
		(unit) == TRUTH ? json_boolean((value) != 0)                                       \
				: _Generic((value), double                                         \
					   : json_real, default                                    \
					   : counter_integer)(value));

/* The value of the only counter of a set. */
#define COUNTER_VALUE(key, value, unit, metric, type, help, read) value

#endif
