/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Programs that the lab runs: in a network namespace, their output kept, no longer than they may.
 */
#ifndef LAB_CHILD_H
#define LAB_CHILD_H

#include <stdbool.h>
#include <sys/types.h>

#include "ipc/error.h"

#define NAMESPACE_DIRECTORY "/run/netns" /* ip-netns(8) */

struct child {
	pid_t pid; /* 0: none */
	int pidfd;
	int output; /* a memfd with what it wrote, to both stdout and stderr */
};

/* Moves the caller into a network namespace of that name. 0 or -errno. */
int namespace_enter(const char *name);
bool namespace_exists(const char *name);
/* Kills every process in it; returns how many there were. */
unsigned namespace_kill(const char *name);

/*
 * Starts argv[0] (found in PATH; "p2pnic": this very program) in the network namespace (NULL: the
 * caller's). input: what it reads from its stdin, or NULL. lasting: in a session of its own; else
 * it ends with the caller. 0 or -errno.
 */
int child_start(struct child *, const char *namespace, const char *const argv[], const char *input,
	bool lasting);

/* Has it ended within wait_ms? */
bool child_ended(const struct child *, int wait_ms);

/* Waits for its end, at most patience_ms, then kills it. Its exit status; 128 + signal;
 * -ETIMEDOUT. */
int child_wait(struct child *, unsigned patience_ms);

/* What it has written so far; the caller frees. */
char *child_output(const struct child *);

/* Lets go of it; kills it if it still runs and is not lasting. */
void child_free(struct child *);

/* Starts, waits and frees. 0; or, with the command and its output in error, -errno or -ECHILD. */
int command_run(
	const char *namespace, const char *const argv[], const char *input, struct error *error);

#endif
