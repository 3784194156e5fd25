/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Requests and replies of one fixed size over an AF_UNIX SOCK_SEQPACKET socket, one message a
 * packet, with descriptors. Neither side waits for the other beyond a deadline that it sets itself.
 */
#ifndef IPC_EXCHANGE_H
#define IPC_EXCHANGE_H

#include <stddef.h>
#include <stdint.h>

/* A connected socket, non-blocking; -errno: -ENOENT, -ECONNREFUSED nobody listens there; -EAGAIN
 * who does has its queue full; -EPERM it is another user's. */
int exchange_connect(const char *path);

/* Does not wait: -EAGAIN, no room. */
int exchange_send(int socket, void *message, size_t bytes, const int *fds, unsigned count);

/*
 * Does not wait: -EAGAIN, nothing there. 1: a message of exactly `bytes`, whose `*count`
 * descriptors, at most `room`, are the caller's. 0: the other end is gone. -EMFILE: a message whose
 * descriptors did not all fit, in `room` or into this process; -EPROTO: one of another size; none
 * of its descriptors is left open. Other -errno.
 */
int exchange_receive(
	int socket, void *message, size_t bytes, int *fds, unsigned room, unsigned *count);

/*
 * Sends a message and waits for its reply, which takes its place, at most so long. 0, or -errno:
 *   -ETIMEDOUT            a late reply would be taken for that of the next request: close it
 *   -ECONNRESET, -EPROTO  the connection is of no use any more
 *   -EMFILE, -ENOMEM      passing
 */
int exchange_ask(int socket, void *message, size_t bytes, const int *fds, unsigned count, int *got,
	unsigned room, unsigned *got_count, unsigned patience_ms);

void exchange_close_all(const int *fds, unsigned count);

#endif
