/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Files that are there whole, whatever happens while they are written: the old text or the new one.
 *
 * The text goes to another file of the same directory, which is written out (fsync), takes the
 * place of the old one (rename(2)), and then the directory is written out. Killed, or out of room,
 * at any point, the old file is as it was; at worst a file .NAME.PID.new is left beside it.
 */
#ifndef ROUTER_DURABLE_H
#define ROUTER_DURABLE_H

#include <stddef.h>
#include <sys/types.h>

#include "ipc/error.h"

/* Writes the file `name` of a directory, with that mode; owner and group -1: this process's.
 * -errno with a sentence. */
int durable_write(int directory, const char *name, const char *text, size_t bytes, mode_t mode,
	uid_t owner, gid_t group, struct error *);

/* Writes a file wherever it is: a symbolic link is followed, mode, owner and group of a file that
 * was there are kept. -errno with a sentence; -EPERM, too, if owner or group cannot be kept. */
int durable_replace(const char *path, const char *text, size_t bytes, struct error *);

/* Gives a file of a directory another name, in the place of one of that name. -errno. */
int durable_rename(int directory, const char *from, const char *to);

/* Removes a file of a directory. 0 also if there is none. */
int durable_remove(int directory, const char *name);

/* Is it the name of a file that a writer which was killed has left? */
int durable_is_left(const char *name);

#endif
