/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Who is at the other end of a Unix-domain socket: for those that hand over descriptors, whose
 * peers must be of this user or root, whatever the socket's mode says.
 */
#ifndef P2PNIC_UNIX_PEER_H
#define P2PNIC_UNIX_PEER_H

#include "ipc/listen.h"

#include <unistd.h>

/* 0: who connected (of an accepted socket) or listened (of a connected one) is this user or root;
 * -EPERM; other -errno of getsockopt(2). */
static inline int unix_peer_is_ours(int fd)
{
	struct ucred peer;
	int error = unix_peer(fd, &peer);

	if (error)
		return error;
	return peer.uid == 0 || peer.uid == geteuid() ? 0 : -EPERM;
}

#endif
