/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A scenario: which machine, which program, which traffic. A YAML file, all of whose keys have a
 * default:
 *
 *   title: four NICs, all to all, the shortest frames
 *   program: p2pnic              # paper, fixed, rd, bn, l3fwd, p2pnic or p2pnic-held
 *   parts:                       # a file of parameters for each role
 *     nic: agilio-cx             # NAME: of the model's folder; with a slash: a file of your own
 *     switch: pex9797
 *     host: xeon6246r
 *     link: gen3
 *   nics: 4
 *   switches: 1                  # more: so many below another
 *   pattern: 4in-4out-mix        # NICs that receive and that send; -mix: each packet by chance
 *   frame: 64                    # bytes with FCS
 *   rate: line                   # or 10 Gb/s at each port, with preamble and gap
 *   packets: 20000               # to be measured
 *   seed: 1
 *   neighbours:                  # other devices: each writes to the next one, or to the host
 *     - {rate: 50 Gb/s, bytes: 4096, lanes: 16, switch: 0, to: next, access: write}
 *   set:                         # parameters, over those of the files
 *     switch.latency: 105 ns
 *
 * `--set KEY=VALUE` says the same of one key, or of one parameter (with a dot: `nic.port=100
 * Gb/s`); `nic`, `switch`, `host`, `link` are parts.
 */
#ifndef P2PNIC_MODEL_SCENARIO_H
#define P2PNIC_MODEL_SCENARIO_H

#include "model/machine.h"

/* One more than parts that are files: the program's own parameters come with the program. */
enum scenario_role {
	SCENARIO_NIC,
	SCENARIO_SWITCH,
	SCENARIO_HOST,
	SCENARIO_LINK,
	SCENARIO_ROLES,
};

struct scenario {
	char title[96];
	char pattern[32]; /* as written */
	char part[SCENARIO_ROLES][128];
	struct machine_setup setup;
	struct scenario_setting {
		char *name, *value;
	} * setting; /* parameters to set, in order; the last counts */
	unsigned settings;
	struct parameters parameters; /* of scenario_ready */
};

/* All defaults. */
void scenario_init(struct scenario *);
void scenario_free(struct scenario *);

/* 0, or -errno with "FILE:LINE: REASON" in *error. */
int scenario_load(struct scenario *, const char *path, struct error *error);
int scenario_load_text(
	struct scenario *, const char *path, const char *text, size_t bytes, struct error *error);

/* "KEY=VALUE". 0, or -EINVAL with the reason. Parameters are only noted. */
int scenario_set(struct scenario *, const char *text, struct error *error);

/* Reads the files of the parts, `folder` being the model's, and sets parameters. Once, at the end.
 * 0, or -errno with the reason. */
int scenario_ready(struct scenario *, const char *folder, struct error *error);

/* A program by its name; NULL: there is none. */
const struct program *scenario_program(const char *name);

#endif
