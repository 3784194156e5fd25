/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A network namespace by its name, as ip-netns(8) has it: the file /run/netns/NAME.
 *
 * A socket belongs to the namespace in which it was made, and stays there; so does what a thread
 * opens of /dev/net/tun and /proc/sys/net. The calling thread never moves (setns(2),
 * CLONE_NEWNET): a thread of its own goes there and ends, so that there is no way back to fail.
 */
#ifndef ROUTER_NETNS_H
#define ROUTER_NETNS_H

#include "ipc/error.h"

struct netns {
	int fd; /* -1: the one that this process is in */
};

/* name NULL: the one that this process is in. -errno with a sentence, and fd is -1: -ENOENT there
 * is none of that name. */
int netns_open(struct netns *, const char *name, struct error *error);
void netns_close(struct netns *);

/* What `call` returns there; or -errno: -EPERM the process lacks CAP_SYS_ADMIN, -EAGAIN it may
 * have no more threads. */
int netns_do(const struct netns *, int (*call)(void *), void *context);

/* As socket(2), close-on-exec; -errno. */
int netns_socket(const struct netns *, int family, int type, int protocol);

#endif
