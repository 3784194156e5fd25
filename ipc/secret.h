/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The arguments of a process stand in ps, for every user. A port's option secret=TEXT therefore
 * goes by a descriptor, as secret-fd=N.
 */
#ifndef P2PNIC_IPC_SECRET_H
#define P2PNIC_IPC_SECRET_H

#include <stddef.h>

/*
 * `text`: the options without the value of secret=, which is in the memfd returned; the caller
 * closes it. It is inherited by processes that are started meanwhile. -ENOENT: there is no secret=,
 * and text is as options are; other -errno: none could be made, or text is too short.
 */
int secret_to_fd(const char *options, char *text, size_t bytes);

/* The same for an argument of this process: overwritten where it stands. Returns what to use
 * instead, for as long as the process lives: the argument itself if there is no secret in it; NULL:
 * out of memory. */
char *secret_hide(char *argument);

#endif
