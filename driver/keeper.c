/* SPDX-License-Identifier: BSD-3-Clause */
#include "driver/keeper.h"

#include "ipc/exchange.h"
#include "ipc/listen.h"
#include "ipc/log.h"
#include "ipc/notify.h"
#include "ipc/peer.h"

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

static int message_send(int socket, struct keeper_message *m, const int *fds, unsigned count)
{
	m->fds = count;
	return exchange_send(socket, m, sizeof(*m), fds, count);
}

/* What it says of descriptors is what came. `got`: of exchange_receive, or 1. */
static int message_check(struct keeper_message *m, int got, const int *fds, unsigned *count)
{
	if (got == -EMFILE && m->fds > KEEPER_FDS)
		return -EPROTO;
	if (got != 1)
		return got;
	m->name[sizeof(m->name) - 1] = 0;
	m->text[sizeof(m->text) - 1] = 0;
	if (*count == m->fds)
		return 1;
	exchange_close_all(fds, *count);
	*count = 0;
	return -EPROTO;
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
		exchange_close_all(item->fd, item->fds);
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
	exchange_close_all(item->fd, item->fds);
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
	int got = exchange_receive(client, &m, sizeof(m), fds, KEEPER_FDS, &count);

	got = message_check(&m, got, fds, &count);
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
	exchange_close_all(fds, count);
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
	notify("READY=1");
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

static int request(int keeper, struct keeper_message *m, const int *fds, unsigned count,
	int got[KEEPER_FDS], unsigned *got_count)
{
	int result;

	m->fds = count;
	result = exchange_ask(
		keeper, m, sizeof(*m), fds, count, got, KEEPER_FDS, got_count, keeper_timeout_ms);
	result = message_check(m, result ? result : 1, got, got_count);
	return result == 1 ? m->result : result;
}

/* For requests whose reply brings no descriptors. */
static int ask(int keeper, struct keeper_message *m, const int *fds, unsigned count)
{
	int got[KEEPER_FDS];
	unsigned got_count = 0;
	int result = request(keeper, m, fds, count, got, &got_count);

	exchange_close_all(got, got_count);
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
		exchange_close_all(fds, *count);
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
