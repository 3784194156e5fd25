/* SPDX-License-Identifier: BSD-3-Clause */
/* Descriptors that travel with a message on a Unix-domain socket (SCM_RIGHTS, unix(7)): the one
 * place that writes and reads them. */
#ifndef P2PNIC_IPC_RIGHTS_H
#define P2PNIC_IPC_RIGHTS_H

#include <stdbool.h>
#include <sys/socket.h>

#define RIGHTS_MAX 16u /* in one message */

/* Where they stand while the message is sent or received. */
union rights {
	struct cmsghdr header;
	char space[CMSG_SPACE(RIGHTS_MAX * sizeof(int))];
};

/* The message, to be sent, carries these: at most RIGHTS_MAX. */
void rights_attach(struct msghdr *, union rights *, const int *fds, unsigned count);

/* The message, to be received, has room for them. */
void rights_expect(struct msghdr *, union rights *);

/* Those that came with it: the first `room` into fds, the others are closed. Returns how many; sets
 * *lost, if there were more: than `room`, RIGHTS_MAX, or this process may have. */
unsigned rights_detach(struct msghdr *, int *fds, unsigned room, bool *lost);

/* Some of the bytes into a stream socket, as send(2) without waiting, and descriptors with the
 * first of them. */
ssize_t rights_send(int socket, void *data, size_t bytes, const int *fds, unsigned count);

/* As recv(2), waiting; descriptors that came with it go behind *count of fds, up to `room`, others
 * are closed. */
ssize_t rights_receive(
	int socket, void *data, size_t bytes, int *fds, unsigned room, unsigned *count);

#endif
