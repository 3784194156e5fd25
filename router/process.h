/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Processes of soft NICs, and the keeper: started by the router, outliving it.
 *
 * They run in sessions of their own, so neither the router's death nor a ^C at its terminal reaches
 * them. A router that finds one of an earlier router watches it through a pidfd; its identity is
 * pid and start time, so a number that was used again is no mistake.
 */
#ifndef ROUTER_PROCESS_H
#define ROUTER_PROCESS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct process {
	pid_t pid;        /* 0: none */
	uint64_t started; /* start time in clock ticks since boot, from /proc */
	int pidfd;        /* readable when it has ended; -1 with pid 0 */
};

/* Runs this program's own executable with arguments (NULL-terminated, argv[0] included). ready ≥ 0:
 * a descriptor the child inherits as that number is not closed on exec. tied: it ends when the
 * caller does, instead of outliving it. 0 or -errno. */
int process_start(struct process *, const char *const argv[], int ready, bool tied);

/* Watches a process of that pid and start time; -ESRCH if it is no more. */
int process_adopt(struct process *, pid_t pid, uint64_t started);

/* Its start time; false: no such process. */
bool process_started(pid_t pid, uint64_t *started);

/* Has it ended? Then reaps it, if it is a child, and says how in words. */
bool process_ended(struct process *, char *how, size_t bytes);

/* SIGTERM, and SIGKILL if it is still there after patience_ms. */
void process_stop(struct process *, unsigned patience_ms);

/* The same for several at once, waiting patience_ms in all, and a second for those that had to be
 * killed. */
void process_stop_all(struct process *const *, unsigned n, unsigned patience_ms);

/* Sends a signal; to a process that is none (pid 0), nothing. */
void process_signal(const struct process *, int signal);

/* Watches the NIC that listens on a socket in our runtime directory: of an earlier router. Only a
 * process of this user that runs this program, as `nic`, with that socket as an argument; another
 * is left alone. Does not wait; false: there is none. */
bool process_find_nic(const char *socket_path, struct process *);

/* Signals it, where its keeper died too. */
bool process_evict(const char *socket_path, int signal);

/* Lets go of it without touching it. */
void process_forget(struct process *);

/* Processor seconds so far, of its threads of that name. */
double process_cpu(pid_t pid, const char *thread);

#endif
