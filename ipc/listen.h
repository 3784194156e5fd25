/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The one place where a listening Unix-domain socket is made, and removed again.
 *
 * A path in use is never taken. What lies there is removed only if it is a socket that refuses
 * connections: one whose server is gone. A file, a symbolic link, a FIFO, a device, a directory is
 * refused, since connect(2) says ECONNREFUSED of them as well.
 *
 * Between bind and listen a socket refuses connections like a stale one, so two starters could take
 * each other's. Both therefore hold a lock on the directory (flock(2)) meanwhile; without it
 * nothing is removed. The kernel gives it up with its holder; a holder that hangs costs
 * UNIX_LISTEN_PATIENCE_MS.
 */
#ifndef P2PNIC_IPC_LISTEN_H
#define P2PNIC_IPC_LISTEN_H

#include "unix_address.h"

#include <sys/types.h>

#define UNIX_LISTEN_PATIENCE_MS 1000u
#define UNIX_LISTEN_TEXT_BYTES  256

struct unix_listener {
	int fd;                                                 /* -1: none */
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)]; /* empty: nothing to remove */
	dev_t device; /* of the socket at path, to tell it from another's */
	ino_t inode;
};

/*
 * Listens at a path, or at an abstract name ("@NAME"). `type`: SOCK_STREAM or SOCK_SEQPACKET, with
 * SOCK_NONBLOCK if wanted; it is closed on exec in any case. The path has `mode` whatever the
 * umask, and never more than that. 0, or -errno and the listener's fd is -1:
 *   -EADDRINUSE  somebody listens there
 *   -EEXIST      what is there is no socket
 *   -EBUSY       a stale socket is there, and another process holds the directory's lock
 *   -EINVAL, -ENAMETOOLONG as unix_address; others of bind(2), unlink(2)
 */
int unix_listen(
	struct unix_listener *listener, const char *path, int type, mode_t mode, int backlog);

/* What to tell the user of such an error: "PATH: a regular file is in the way; ...". Returns
 * `text`. */
const char *unix_listen_error(const char *path, int error, char text[UNIX_LISTEN_TEXT_BYTES]);

/* Removes the path if it is still this socket, and closes it. Nothing to do for a listener with fd
 * -1. */
void unix_unlisten(struct unix_listener *listener);

/* Removes a path that a process has left which was killed: only a socket that nobody serves. */
void unix_remove_stale(const char *path, int type);

struct ucred;

/* Who is at the other end: of an accepted socket, who connected; of a connected one, who listened.
 * 0 or -errno. */
int unix_peer(int fd, struct ucred *peer);

#endif
