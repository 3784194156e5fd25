/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which parameters there are: what the machine asks for (parameters_get), of which kind each is,
 * and within which bounds it builds something. A file or a setting that has another name, a time
 * where bytes are due, or a clock that stands still is refused when it is read.
 */
#ifndef P2PNIC_MODEL_PARAMETERS_KNOWN_H
#define P2PNIC_MODEL_PARAMETERS_KNOWN_H

#include <stdint.h>

/* What a unit measures. */
enum parameter_kind {
	PARAMETER_TIME,
	PARAMETER_BYTES,
	PARAMETER_RATE,
	PARAMETER_PER_S,
	PARAMETER_HERTZ,
	PARAMETER_COUNT,
	PARAMETER_CYCLES,
	PARAMETER_RATIO,
	PARAMETER_KINDS,
};

struct parameter_known {
	const char *role;
	enum parameter_kind kind;
	uint64_t least, most; /* in the base unit (parameters.h) */
	const char *names;    /* all that are alike, a space before and behind each */
};

/* NULL: there is no such parameter. `name` is not empty. */
const struct parameter_known *parameter_known(const char *role, const char *name);

#endif
