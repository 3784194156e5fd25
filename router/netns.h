/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A network namespace by its name, as ip-netns(8) has it: the file /run/netns/NAME.
 *
 * A socket belongs to the namespace in which it was made, and stays there. So whoever wants one in
 * another namespace goes there for as long as that takes:
 *
 *     netns_enter(n);
 *     fd = socket(…);
 *     netns_leave(n);
 *
 * Only the calling thread moves (setns(2), CLONE_NEWNET).
 */
#ifndef ROUTER_NETNS_H
#define ROUTER_NETNS_H

#include "ipc/error.h"

/* Both -1: the namespace that this process is in; enter and leave do nothing. */
struct netns {
	int own, other;
};

/* name NULL: the one that this process is in. -errno with a sentence, and both are -1: -ENOENT
 * there is none of that name. */
int netns_open(struct netns *, const char *name, struct error *error);
void netns_close(struct netns *);

/* -errno; -EPERM: the process lacks CAP_SYS_ADMIN. */
int netns_enter(const struct netns *);
/* Back to its own. Where that fails nothing is right any more: the process ends. */
void netns_leave(const struct netns *);

#endif
