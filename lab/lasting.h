/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A lab that stays: `p2pnic lab up`, `exec` and `down`.
 *
 * Root's is made in place: its namespaces are those that `ip netns` shows. Anyone else's lives in a
 * sandbox whose first process does nothing but hold it; a file in the user's runtime directory
 * names that process.
 */
#ifndef LAB_LASTING_H
#define LAB_LASTING_H

#include "ipc/error.h"
#include "lab/network.h"

/* 0, or -errno with sentences; -EEXIST: there is one already. A dead one's leftovers are removed
 * first. */
int lasting_up(unsigned mtu, struct error *error);

/* 1: there was one, or leftovers of one; 0: there was none; -errno with a sentence: nothing was
 * touched. */
int lasting_down(struct error *error);

/* Runs a program in "router" or host "h1" to "h4" and returns its exit status; 1, with a sentence
 * on stderr, where it cannot. */
int lasting_exec(const char *where, const char *const argv[]);

#endif
