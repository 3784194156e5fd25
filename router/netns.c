/* SPDX-License-Identifier: BSD-3-Clause */
#include "router/netns.h"

#include "ipc/log.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NETNS_FOLDER "/run/netns/"

int netns_open(struct netns *n, const char *name, struct error *error)
{
	char path[sizeof(NETNS_FOLDER) + 256];

	*n = (struct netns){-1, -1};
	if (!name)
		return 0;
	snprintf(path, sizeof(path), NETNS_FOLDER "%s", name);
	n->other = open(path, O_RDONLY | O_CLOEXEC);
	if (n->other < 0)
		return error_set(
			error, -errno, "network namespace %s: %s: %s", name, path, strerror(errno));
	n->own = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	if (n->own < 0) {
		int code = -errno;

		netns_close(n);
		return error_set(error, code, "/proc/self/ns/net: %s", strerror(-code));
	}
	return 0;
}

void netns_close(struct netns *n)
{
	if (n->other >= 0)
		close(n->other);
	if (n->own >= 0)
		close(n->own);
	*n = (struct netns){-1, -1};
}

int netns_enter(const struct netns *n)
{
	if (n->other < 0 || setns(n->other, CLONE_NEWNET) == 0)
		return 0;
	return -errno;
}

void netns_leave(const struct netns *n)
{
	if (n->other < 0 || setns(n->own, CLONE_NEWNET) == 0)
		return;
	log_say(LOG_ERROR, "router", "cannot return to its own network namespace: %s",
		strerror(errno));
	abort();
}
