/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a router keeps of its configurations, in a directory of its own (`state` in the file):
 *
 *   applied-000007-20261127T011400Z.yaml   those that were applied last, STATE_KEPT of them: a line
 *                                          that says from which file, then its text as it was
 *   applied-000008-20261127T011500Z.unconfirmed.yaml
 *                                          one that was to be confirmed, and is not: it waits, or
 *                                          was taken back. Confirming renames it, so mark and
 *                                          text come and go together
 *   running                                which of them runs, while that is not what the router
 *                                          was started with; and what it goes back to, if that is
 *                                          not confirmed in time
 *
 * Each file is written whole or not at all (durable.h), an applied one before `running` names it.
 * The mark of one that stays is taken off after `running` says so: a router that is killed between
 * the two leaves that to the next one.
 * One router at a time writes there: the one that holds the runtime directory's lock.
 */
#ifndef ROUTER_CONFIG_STATE_H
#define ROUTER_CONFIG_STATE_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ipc/error.h"

#define STATE_KEPT       10u
#define STATE_TIME_BYTES 24u

struct config;

struct state_entry {
	unsigned number;
	bool unconfirmed;
	char time[STATE_TIME_BYTES]; /* when it was applied: 2026-11-27T01:14:00Z */
};

struct state_entries {
	struct state_entry entry[STATE_KEPT]; /* ascending */
	unsigned n;
};

/* One of them, for state_text_free. */
struct state_text {
	char file[PATH_MAX]; /* that it was the text of, and that relative names in it go by */
	char *text;
	size_t bytes;
};

struct state_running {
	unsigned entry;       /* runs */
	unsigned back;        /* 0: confirmed; else what it goes back to… */
	uint64_t deadline_ns; /* …when CLOCK_BOOTTIME is that */
	char file[PATH_MAX];  /* the file that the router was started with */
	uint64_t digest;      /* of its text then */
};

/* Of a text, to tell whether it has changed: FNV-1a, 64 bits. */
uint64_t state_digest(const char *text, size_t bytes);

/* Where it is: as configured; $STATE_DIRECTORY of a service; beside a `runtime` that is given;
 * /var/lib/p2pnic/NAME for root; $XDG_STATE_HOME/p2pnic/NAME or ~/.local/state/p2pnic/NAME for
 * others. */
void state_directory(const struct config *, char *path, size_t room);

/* A descriptor of it, checked as the runtime directory is (runtime.h); -ENOENT: there is none. */
int state_open(const char *path, bool make, struct error *);

/* -errno with a sentence. */
int state_list(int directory, struct state_entries *, struct error *);
int state_read(int directory, unsigned number, struct state_text *, struct error *);
void state_text_free(struct state_text *);
/* Adds one, of the next number, and lets go of the oldest, but for those of the numbers `keep`. */
int state_add(int directory, const char *file, const char *text, size_t bytes, bool unconfirmed,
	const unsigned keep[2], unsigned *number, struct error *);
/* Takes the mark off one that stays; 0 also if it has none, or is not there. */
int state_confirm(int directory, unsigned number, struct error *);
/* The youngest that is older than a number and not marked; 0: none. Also one that state_list leaves
 * out, because too many that are marked came after it. -errno with a sentence. */
int state_before(int directory, unsigned number, unsigned *before, struct error *);
void state_remove(int directory, unsigned number);
/* The youngest of that file and text; 0: none. */
unsigned state_find(int directory, const char *file, const char *text, size_t bytes);

/* -ENOENT: none, or of before the machine was started. */
int state_running_read(int directory, struct state_running *, struct error *);
int state_running_write(int directory, const struct state_running *, struct error *);
int state_running_clear(int directory);

#endif
