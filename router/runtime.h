/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The runtime directory: sockets of a router, its keeper and its NICs, and the lock of the one
 * router that uses it.
 *
 * Whoever puts a socket there is taken for a NIC, a keeper or a router. So nobody but us and root
 * may be able to: the directory is ours, and others cannot write in it; nor can others replace a
 * directory on the way to it. A symbolic link on the way is followed only where others cannot
 * write. The way is walked by directory descriptors, so what was checked is what is used.
 *
 * Others may read it: connecting takes the right to write to a socket, and each socket has a mode
 * of its own. Made by us it is 0700; by root 0750, for members of the router's group (systemd:
 * Group=), for whom api.sock is there.
 */
#ifndef ROUTER_RUNTIME_H
#define ROUTER_RUNTIME_H

#include <stdbool.h>

#include "ipc/error.h"

struct runtime {
	int directory;
	int lock;
};

/*
 * A descriptor of the directory, checked; made, with those above it, if `make` and absent. Or
 * -errno with a sentence in error; -ENOENT: absent; -EPERM: others could have put something there.
 * Without `make` root may have that of another user, where only root can have made it (systemd:
 * User= and RuntimeDirectory=).
 */
int runtime_directory(const char *path, bool make, struct error *error);

/* The same for the directory that holds `path`, and the name in it; for files beside runtime
 * directories. */
int runtime_beside(const char *path, bool make, const char **name, struct error *error);

/* Makes, checks and locks it. 0, or -errno with a sentence; -EBUSY: another router has it. */
int runtime_open(struct runtime *, const char *path, struct error *error);

/* Unlocks it. remove: nothing is left in it but the lock, and both go. */
void runtime_close(struct runtime *, const char *path, bool remove);

#endif
