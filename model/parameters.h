/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What is known of the hardware: one YAML file a part (model/parameters/), each value with its
 * unit, the range in which it certainly lies, where it comes from, and how sure that is:
 *
 *   part: pex9797
 *   role: switch
 *   values:
 *     - name: latency
 *       value: 150
 *       unit: ns
 *       range: [110, 190]
 *       tag: assumed
 *       source: product brief of the PEX 8796, the same family
 *
 * A value is known as ROLE.NAME: "switch.latency". A machine has one part for each role (nic,
 * switch, host, link), so another file with the same role is another NIC or another switch.
 *
 * Decimals are read exactly, into integers of a base unit:
 *
 *   ps ns us ms      -> picoseconds        B KiB MiB GiB       -> bytes
 *   b/s Mb/s Gb/s    -> bits a second      MB/s GB/s           -> bits a second
 *   /s M/s           -> a second           MHz GHz             -> hertz
 *   count cycles     -> themselves         ratio               -> millionths
 *
 * A decimal that its base unit cannot hold exactly is refused, and so is what is not within the
 * bounds of parameters_known.h, which also has all names, and the kind of unit of each.
 */
#ifndef P2PNIC_MODEL_PARAMETERS_H
#define P2PNIC_MODEL_PARAMETERS_H

#include "ipc/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum parameter_tag {
	PARAMETER_MEASURED,   /* by somebody, on the part */
	PARAMETER_DATASHEET,  /* or a specification */
	PARAMETER_DERIVED,    /* by arithmetic from such */
	PARAMETER_ASSUMED,    /* from a relative, or by judgement */
	PARAMETER_CALIBRATED, /* fitted to the published calibration points */
	PARAMETER_TAGS,
};

struct parameter {
	char *name; /* ROLE.NAME */
	char *part; /* of which file */
	char *unit; /* as in the file */
	char *source;
	enum parameter_tag tag;
	uint64_t value, low, high; /* in the base unit; low ≤ value in the file ≤ high */
	bool set;                  /* by parameters_set: drawn no more */
};

struct parameters {
	struct parameter *parameter; /* by name */
	unsigned n, room;
	char missing[64]; /* first name that parameters_get did not find; "": none */
};

/* Adds the values of a file of that role (NULL: of any); those of a part loaded before with the
 * same role go. 0, or -errno with "FILE:LINE: REASON" in *error: then nothing was added. */
int parameters_load(struct parameters *, const char *path, const char *role, struct error *error);
int parameters_load_text(struct parameters *, const char *path, const char *role, const char *text,
	size_t bytes, struct error *error);
void parameters_free(struct parameters *);

/* A copy, for a run of its own. 0 or -ENOMEM. */
int parameters_copy(struct parameters *to, const struct parameters *from);

/* Sets a value: "21.1 ns", or "21.1" in the unit of the file. It may lie outside of its range, to
 * ask what if, but not beyond what a machine can be built of. 0, or -EINVAL with the reason. */
int parameters_set(struct parameters *, const char *name, const char *text, struct error *error);

/* Draws each value anew, evenly from its range. What is drawn for a value depends on seed and name
 * alone: another parameter more or less changes no other draw. */
void parameters_draw(struct parameters *, uint64_t seed);

/* Of a name, in the base unit. One that does not exist is noted, and 0: who builds a machine asks
 * for all it needs, and then once whether something was missing. */
uint64_t parameters_get(struct parameters *, const char *name);
int parameters_missing(const struct parameters *, struct error *error);

/* NULL: no such name. */
struct parameter *parameters_find(const struct parameters *, const char *name);

const char *parameter_tag_name(enum parameter_tag);

/* "21.1" of a value in the unit `unit`, exactly; for people. */
void parameter_print(char *text, size_t room, uint64_t value, const char *unit);

/* FNV-1a of all names, values, ranges and tags: the mark of a freeze. */
uint64_t parameters_hash(const struct parameters *);

#endif
