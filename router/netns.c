/* SPDX-License-Identifier: BSD-3-Clause */
#include "router/netns.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define NETNS_FOLDER "/run/netns/"

int netns_open(struct netns *n, const char *name, struct error *error)
{
	char path[sizeof(NETNS_FOLDER) + 256];

	*n = (struct netns){-1};
	if (!name)
		return 0;
	snprintf(path, sizeof(path), NETNS_FOLDER "%s", name);
	n->fd = open(path, O_RDONLY | O_CLOEXEC);
	return n->fd < 0 ? error_set(error, -errno, "network namespace %s: %s: %s", name, path,
				   strerror(errno))
			 : 0;
}

void netns_close(struct netns *n)
{
	if (n->fd >= 0)
		close(n->fd);
	*n = (struct netns){-1};
}

struct visit {
	int fd, result;
	int (*call)(void *);
	void *context;
};

static void *visit(void *context)
{
	struct visit *v = context;

	v->result = setns(v->fd, CLONE_NEWNET) ? -errno : v->call(v->context);
	return NULL;
}

int netns_do(const struct netns *n, int (*call)(void *), void *context)
{
	struct visit v = {.fd = n->fd, .call = call, .context = context};
	pthread_t thread;
	int error;

	if (n->fd < 0)
		return call(context);
	error = pthread_create(&thread, NULL, visit, &v);
	if (error)
		return -error;
	pthread_join(thread, NULL);
	return v.result;
}

struct wanted {
	int family, type, protocol;
};

static int open_socket(void *context)
{
	const struct wanted *w = context;
	const int fd = socket(w->family, w->type | SOCK_CLOEXEC, w->protocol);

	return fd < 0 ? -errno : fd;
}

int netns_socket(const struct netns *n, int family, int type, int protocol)
{
	struct wanted w = {family, type, protocol};

	return netns_do(n, open_socket, &w);
}
