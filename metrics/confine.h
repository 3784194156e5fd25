/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a process that strangers speak to does not need, given up for good, also for threads that it
 * starts later:
 *
 *   capabilities    all, out of every set; no new privileges by exec
 *   files           none can be opened, made or run (Landlock, Linux 5.13); in the folders of its
 *                   own sockets it may remove what it has made. Connecting to a UNIX socket is no
 *                   matter of files
 *   limits          descriptors; no core
 *
 * What the kernel does not know is left out.
 */
#ifndef METRICS_CONFINE_H
#define METRICS_CONFINE_H

#include <stddef.h>

/* 0; -errno: the kernel has Landlock, and files can be opened all the same (EPERM: a filter of
 * system calls forbids to lock them). */
int confine(const char *const *socket_path, size_t count);

#endif
