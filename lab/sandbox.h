/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A process in namespaces of its own: mounts, processes, network, and, where the caller is not
 * root, users.
 *
 * Everything that the lab makes there (network namespaces, links, sockets under /run, processes
 * with sessions of their own) ends with the namespaces, and these end with their first process, and
 * that with its parent, however it ends, SIGKILL included. So there is nothing to clean up, ever.
 *
 * Inside: /run is empty and private, /proc shows the own processes, the user is root over the
 * namespaces.
 */
#ifndef LAB_SANDBOX_H
#define LAB_SANDBOX_H

#include <stdbool.h>
#include <sys/types.h>

#include "ipc/error.h"

struct sandbox {
	pid_t pid;     /* its first process, as the caller sees it */
	bool own_user; /* in a user namespace: root only inside */
};

/*
 * Starts body(argument) as the first process of a new sandbox; its result is the exit status.
 * lasting: it survives the caller, and the terminal. 0, or -errno with what failed: the call and
 * its error, of both ways (as root, in a user namespace) if both were tried.
 */
int sandbox_start(struct sandbox *, bool lasting, int (*body)(const struct sandbox *, void *),
	void *argument, struct error *error);

/* Waits for its end and returns the exit status; SIGINT, SIGTERM or SIGHUP meanwhile end it at
 * once, with everything in it: then 128 + the signal. */
int sandbox_wait(struct sandbox *);

/* Brings the caller, from outside, into the sandbox whose first process is pid. 0 or -errno. */
int sandbox_enter(pid_t pid);

#endif
