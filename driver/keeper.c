/* SPDX-License-Identifier: BSD-3-Clause */
#include "driver/keeper.h"

#include "ipc/clock.h"
#include "ipc/listen.h"
#include "ipc/log.h"
#include "ipc/peer.h"
#include "ipc/rights.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define CLIENTS  8u
#define PAUSE_MS 100 /* before it accepts again, when it was short of descriptors */

unsigned keeper_timeout_ms = 500;

/* --- Messages --------------------------------------------------------------------------------- */

static void close_all(const int *fds, unsigned count)
{
	for (unsigned k = 0; k < count; k++)
		close(fds[k]);
}

/* Does not wait: -EAGAIN, no room. */
static int message_send(int socket, struct keeper_message *m, const int *fds, unsigned count)
{
	struct iovec data = {m, sizeof(*m)};
	struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1};
	union rights rights;

	m->fds = count;
	rights_attach(&message, &rights, fds, count);
	return sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT) == sizeof(*m) ? 0 : -errno;
}

/*
 * Does not wait: -EAGAIN, nothing there. 1: a message, whose descriptors are the caller's; 0: the
 * other end is gone; -EMFILE: a message whose descriptors did not all fit into this process (none
 * is left open); -errno.
 */
static int message_receive(
	int socket, struct keeper_message *m, int fds[KEEPER_FDS], unsigned *count)
{
	struct iovec data = {m, sizeof(*m)};
	struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1};
	union rights rights;
	bool lost = false;
	ssize_t n;

	rights_expect(&message, &rights);
	n = recvmsg(socket, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	*count = 0;
	if (n < 0)
		return -errno;
	/* Descriptors first: they may come with a message of no bytes, which looks like the end. */
	*count = rights_detach(&message, fds, KEEPER_FDS, &lost);
	if (n == 0 && *count == 0)
		return 0;
	m->name[sizeof(m->name) - 1] = 0;
	m->text[sizeof(m->text) - 1] = 0;
	if (n == sizeof(*m) && *count == m->fds && !lost && !(message.msg_flags & MSG_TRUNC))
		return 1;
	close_all(fds, *count);
	const bool short_of = n == sizeof(*m) && lost && m->fds <= KEEPER_FDS && *count < m->fds;

	*count = 0;
	return short_of ? -EMFILE : -EPROTO;
}

/* --- Server ----------------------------------------------------------------------------------- */

struct item {
	char name[KEEPER_NAME_BYTES];
	char text[KEEPER_TEXT_BYTES];
	int fd[KEEPER_FDS];
	unsigned fds;
};

#define QUIT_PATIENCE_MS 2000

struct keeper {
	struct item item[KEEPER_ITEMS];
	unsigned items;
	bool quit;
};

static struct item *item_find(struct keeper *k, const char *name)
{
	for (unsigned i = 0; i < k->items; i++)
		if (!strcmp(k->item[i].name, name))
			return &k->item[i];
	return NULL;
}

static int item_put(
	struct keeper *k, const struct keeper_message *m, const int *fds, unsigned count)
{
	struct item *item = item_find(k, m->name);

	if (m->name[0] == 0)
		return -EINVAL;
	if (item)
		close_all(item->fd, item->fds);
	else if (k->items == KEEPER_ITEMS)
		return -ENOSPC;
	else
		item = &k->item[k->items++];
	memcpy(item->name, m->name, sizeof(item->name));
	memcpy(item->text, m->text, sizeof(item->text));
	memcpy(item->fd, fds, count * sizeof(int));
	item->fds = count;
	return 0;
}

static int item_drop(struct keeper *k, const char *name)
{
	struct item *item = item_find(k, name);

	if (!item)
		return -ENOENT;
	close_all(item->fd, item->fds);
	*item = k->item[--k->items];
	return 0;
}

static int serve_one(struct keeper *k, int client)
{
	struct keeper_message m;
	struct keeper_message reply = {0};
	int fds[KEEPER_FDS];
	unsigned count;
	const struct item *item = NULL;
	int got = message_receive(client, &m, fds, &count);

	if (got == -EAGAIN)
		return 0;
	if (got <= 0 && got != -EMFILE)
		return got ? got : -ECONNRESET;
	reply.operation = m.operation;
	if (got < 0)
		m.operation = 0; /* what it brought did not fit here */
	switch (m.operation) {
	case KEEPER_PUT:
		reply.result = item_put(k, &m, fds, count);
		if (reply.result == 0)
			count = 0; /* kept */
		break;
	case KEEPER_GET:
		if (m.index < k->items) {
			item = &k->item[m.index];
			reply.index = m.index;
			memcpy(reply.name, item->name, sizeof(reply.name));
			memcpy(reply.text, item->text, sizeof(reply.text));
		} else {
			reply.result = -ENOENT;
		}
		break;
	case KEEPER_DROP:
		reply.result = item_drop(k, m.name);
		break;
	case KEEPER_QUIT:
		k->quit = true;
		break;
	default:
		reply.result = got < 0 ? got : -EINVAL;
	}
	close_all(fds, count);
	/* Each request has one reply: a client for whose reply there is no room does not read
	 * them. */
	return message_send(client, &reply, item ? item->fd : NULL, item ? item->fds : 0);
}

int keeper_serve(const char *path, int ready_fd)
{
	static struct keeper keeper;
	struct pollfd poll_fd[2 + CLIENTS];
	unsigned clients = 0;
	sigset_t signals;
	struct unix_listener listener;
	int error;

	/* Before there is a socket: whoever ends it leaves none behind. */
	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	error = unix_listen(&listener, path, SOCK_SEQPACKET, 0600, CLIENTS);
	if (error)
		return error;
	poll_fd[0] = (struct pollfd){.fd = listener.fd, .events = POLLIN};
	poll_fd[1] = (struct pollfd){.fd = signalfd(-1, &signals, SFD_CLOEXEC), .events = POLLIN};
	if (poll_fd[1].fd < 0) {
		error = -errno;
		unix_unlisten(&listener);
		return error;
	}
	if (ready_fd >= 0) {
		if (write(ready_fd, "", 1) != 1)
			log_say(LOG_WARNING, "keeper", "nobody waits for it to be ready");
		close(ready_fd);
	}
	while (!keeper.quit) {
		/* A shortage passes. What it holds must not end with it. */
		if (poll(poll_fd, 2 + clients, poll_fd[0].fd < 0 ? PAUSE_MS : -1) < 0) {
			poll(NULL, 0, PAUSE_MS);
			continue;
		}
		if (poll_fd[1].revents)
			break;
		for (unsigned c = clients; c-- > 0 && !keeper.quit;) {
			struct pollfd *client = &poll_fd[2 + c];

			if (client->revents && serve_one(&keeper, client->fd) < 0) {
				close(client->fd);
				*client = poll_fd[2 + --clients];
			}
		}
		if (poll_fd[0].fd < 0) {
			poll_fd[0].fd = listener.fd;
		} else if (poll_fd[0].revents) {
			int fd = accept4(listener.fd, NULL, NULL, SOCK_CLOEXEC);

			if (fd >= 0 && (clients == CLIENTS || unix_peer_is_ours(fd)))
				close(fd);
			else if (fd >= 0)
				poll_fd[2 + clients++] =
					(struct pollfd){.fd = fd, .events = POLLIN};
			else if (errno != ECONNABORTED)
				poll_fd[0].fd = -1; /* short of descriptors: poll would not wait */
		}
	}
	/* Before the connections close: who waits for that finds nothing left. */
	unix_unlisten(&listener);
	while (keeper.items)
		item_drop(&keeper, keeper.item[0].name);
	for (unsigned c = 1; c < 2 + clients; c++)
		close(poll_fd[c].fd);
	return 0;
}

/* --- Client ----------------------------------------------------------------------------------- */

int keeper_connect(const char *path)
{
	struct sockaddr_un address;
	int error = unix_address(&address, path);
	int fd;

	if (error)
		return error;
	/* Non-blocking: a keeper that hangs, with its queue of newcomers full, is -EAGAIN. */
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	error = connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0
			? -errno
			: unix_peer_is_ours(fd);
	if (error) {
		close(fd);
		return error;
	}
	return fd;
}

static int await(int keeper, short events, int64_t deadline)
{
	struct pollfd fd = {.fd = keeper, .events = events};
	const struct timespec moment = {.tv_nsec = 1000000};
	int64_t left = deadline - clock_now_ms();

	if (left <= 0)
		return -ETIMEDOUT;
	if (poll(&fd, 1, (int)left) < 0)
		nanosleep(&moment, NULL); /* it did not wait */
	return 0;
}

/* There is nothing, or not the memory for it, now. */
static bool waits(int result)
{
	return result == -EAGAIN || result == -EINTR || result == -ENOMEM || result == -ENOBUFS;
}

static int request(int keeper, struct keeper_message *m, const int *fds, unsigned count,
	int got[KEEPER_FDS], unsigned *got_count)
{
	const int64_t deadline = clock_now_ms() + keeper_timeout_ms;
	int result;

	*got_count = 0;
	while ((result = message_send(keeper, m, fds, count)) == -EAGAIN)
		if ((result = await(keeper, POLLOUT, deadline)))
			return result;
	if (result)
		return result == -EPIPE ? -ECONNRESET : result;
	/* Its reply comes, and is not to be taken for that of the next request. */
	while (waits(result = message_receive(keeper, m, got, got_count)))
		if ((result = await(keeper, POLLIN, deadline)))
			return result;
	return result == 1 ? m->result : result ? result : -ECONNRESET;
}

/* For requests whose reply brings no descriptors. */
static int ask(int keeper, struct keeper_message *m, const int *fds, unsigned count)
{
	int got[KEEPER_FDS];
	unsigned got_count = 0;
	int result = request(keeper, m, fds, count, got, &got_count);

	close_all(got, got_count);
	return result;
}

int keeper_put(int keeper, const char *name, const char *text, const int *fds, unsigned count)
{
	struct keeper_message m = {.operation = KEEPER_PUT};

	if (strlen(name) >= sizeof(m.name) || strlen(text) >= sizeof(m.text) || count > KEEPER_FDS)
		return -EINVAL;
	memcpy(m.name, name, strlen(name) + 1);
	memcpy(m.text, text, strlen(text) + 1);
	return ask(keeper, &m, fds, count);
}

int keeper_get(
	int keeper, unsigned index, struct keeper_message *m, int fds[KEEPER_FDS], unsigned *count)
{
	int result;

	*m = (struct keeper_message){.operation = KEEPER_GET, .index = index};
	result = request(keeper, m, NULL, 0, fds, count);
	if (result) {
		close_all(fds, *count);
		*count = 0;
	}
	return result;
}

int keeper_drop(int keeper, const char *name)
{
	struct keeper_message m = {.operation = KEEPER_DROP};

	if (strlen(name) >= sizeof(m.name))
		return -EINVAL;
	memcpy(m.name, name, strlen(name) + 1);
	return ask(keeper, &m, NULL, 0);
}

int keeper_quit(int keeper)
{
	struct keeper_message m = {.operation = KEEPER_QUIT};
	struct pollfd end = {.fd = keeper};
	int error = ask(keeper, &m, NULL, 0);

	if (!error)
		poll(&end, 1, QUIT_PATIENCE_MS); /* until it hangs up */
	return error;
}
