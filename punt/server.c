/* SPDX-License-Identifier: BSD-3-Clause */
#include "punt/face.h"

#include "ipc/clock.h"
#include "ipc/exchange.h"
#include "ipc/listen.h"
#include "ipc/log.h"
#include "ipc/notify.h"
#include "ipc/peer.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define FACES    P2PNIC_NICS_MAX
#define CLIENTS  8u
#define EVENTS   64
#define BATCHES  64u /* of punts, between two looks at taps and sockets */
#define LOOK_MS  100 /* link words, while it sleeps */
#define RETRY_MS 1   /* a frame that waits; a shortage of descriptors */

/* What an event is of: the high half of its data; the low half, which one. */
enum source { LISTENER, SIGNAL, CLIENT, TAP, RINGS };

struct punt {
	int epoll;
	struct unix_listener listener;
	int signals;
	int client[CLIENTS]; /* -1: none */
	bool deaf;           /* short of descriptors: it does not accept */
	bool quit;
	struct face face[FACES];
	unsigned faces; /* beyond them none has a name */
	unsigned next;  /* of a ring's turn: where the last batch was not from */
};

static int watch(struct punt *p, int fd, enum source source, unsigned index)
{
	struct epoll_event event = {
		.events = EPOLLIN, .data.u64 = (uint64_t)source << 32 | (uint32_t)index};

	return epoll_ctl(p->epoll, EPOLL_CTL_ADD, fd, &event) ? -errno : 0;
}

/* Others hold the same file: the kernel does not forget it by itself. */
static void unwatch(struct punt *p, int fd)
{
	if (fd >= 0)
		epoll_ctl(p->epoll, EPOLL_CTL_DEL, fd, NULL);
}

/* --- Requests --------------------------------------------------------------------------------- */

static struct face *find(struct punt *p, const char *name)
{
	for (unsigned k = 0; k < p->faces; k++)
		if (!strcmp(p->face[k].name, name))
			return &p->face[k];
	return NULL;
}

static struct face *find_or_add(struct punt *p, const char *name)
{
	struct face *f = find(p, name);

	if (f)
		return f;
	f = find(p, ""); /* one that was dropped */
	if (!f && p->faces < FACES)
		f = &p->face[p->faces++];
	if (!f)
		return NULL;
	memset(f, 0, offsetof(struct face, frame));
	memcpy(f->name, name, PUNT_NAME_BYTES);
	f->tap = f->event = f->doorbell = -1;
	return f;
}

static void face_unwatch(struct punt *p, const struct face *f)
{
	unwatch(p, f->tap);
	unwatch(p, f->event);
}

static int face_watch(struct punt *p, const struct face *f)
{
	const unsigned index = (unsigned)(f - p->face);
	int result = watch(p, f->tap, TAP, index);

	if (!result && f->open)
		result = watch(p, f->event, RINGS, index);
	return result;
}

static void drop(struct punt *p, struct face *f)
{
	face_unwatch(p, f);
	face_close(f);
	f->name[0] = 0;
	f->waiting = 0;
}

/* Owns the descriptors. */
static int take(struct punt *p, const struct punt_message *m, const int *fds, unsigned count)
{
	struct face *f = NULL;
	int result, watched;

	if (m->name[0] && count > 0)
		f = find_or_add(p, m->name);
	if (!f) {
		exchange_close_all(fds, count);
		return m->name[0] && count > 0 ? -ENOSPC : -EINVAL;
	}
	face_unwatch(p, f);
	result = face_take(f, m, fds, count);
	if (f->tap < 0) {
		drop(p, f);
		return result;
	}
	watched = face_watch(p, f);
	if (watched)
		face_close_rings(f);
	return result ? result : watched;
}

static void get(const struct punt *p, unsigned index, struct punt_message *reply, int *tap)
{
	const struct face *f = NULL;

	for (unsigned k = 0, named = 0; k < p->faces && !f; k++)
		if (p->face[k].name[0] && named++ == index)
			f = &p->face[k];
	if (!f) {
		reply->result = -ENOENT;
		return;
	}
	reply->index = index;
	reply->flags = (f->open ? PUNT_RINGS : 0) | (f->carrier ? PUNT_CARRIER : 0) |
		       (f->tap_gone ? PUNT_TAP_GONE : 0);
	memcpy(reply->name, f->name, sizeof(reply->name));
	face_counts(f, &reply->counts);
	*tap = f->tap;
}

/* -errno: the client is of no use any more. */
static int serve(struct punt *p, int client)
{
	struct punt_message m, reply;
	int fds[PUNT_FDS], tap = -1;
	unsigned count;
	const int got = exchange_receive(client, &m, sizeof(m), fds, PUNT_FDS, &count);

	if (got == -EAGAIN || got == -EINTR)
		return 0;
	if (got <= 0 && got != -EMFILE)
		return got ? got : -ECONNRESET;
	memset(&reply, 0, sizeof(reply));
	m.name[sizeof(m.name) - 1] = 0;
	reply.operation = m.operation;
	if (got < 0) {
		reply.result = got;
	} else if (m.operation == PUNT_TAKE) {
		reply.result = take(p, &m, fds, count);
		count = 0;
	} else if (m.operation == PUNT_DROP) {
		struct face *f = m.name[0] ? find(p, m.name) : NULL;

		reply.result = f ? 0 : -ENOENT;
		if (f)
			drop(p, f);
	} else if (m.operation == PUNT_GET) {
		get(p, m.index, &reply, &tap);
	} else if (m.operation == PUNT_QUIT) {
		p->quit = true;
	} else {
		reply.result = -EINVAL;
	}
	exchange_close_all(fds, count);
	/* Each request has one reply: a client for whose reply there is no room does not read
	 * them. */
	return exchange_send(client, &reply, sizeof(reply), &tap, tap >= 0);
}

static void serve_client(struct punt *p, unsigned index)
{
	if (p->client[index] < 0 || serve(p, p->client[index]) == 0)
		return;
	unwatch(p, p->client[index]);
	close(p->client[index]);
	p->client[index] = -1;
}

static void accept_client(struct punt *p)
{
	const int fd = accept4(p->listener.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	unsigned index = 0;

	if (fd < 0) {
		/* The listener would be reported for ever. */
		p->deaf = errno != EAGAIN && errno != ECONNABORTED && errno != EINTR;
		if (p->deaf)
			unwatch(p, p->listener.fd);
		return;
	}
	while (index < CLIENTS && p->client[index] >= 0)
		index++;
	if (index == CLIENTS || unix_peer_is_ours(fd) || watch(p, fd, CLIENT, index)) {
		close(fd);
		return;
	}
	p->client[index] = fd;
}

/* --- Frames ----------------------------------------------------------------------------------- */

/* One batch of the first ring, by priority, in which frames are; NICs take turns. */
static bool deliver(struct punt *p, unsigned rings)
{
	for (unsigned ring = 0; ring < rings; ring++)
		for (unsigned k = 0; k < p->faces; k++) {
			struct face *f = &p->face[(p->next + k) % p->faces];

			if (face_deliver(f, (enum p2pnic_host_ring)ring)) {
				p->next = (unsigned)(f - p->face) + 1;
				return true;
			}
		}
	return false;
}

static void inject(struct punt *p, struct face *f)
{
	if (f->tap < 0 || f->waiting)
		return;
	face_inject(f);
	/* Not watched: one whose frame waits, and one that is gone, would be reported for ever. */
	if (f->waiting || f->tap_gone)
		unwatch(p, f->tap);
}

/* Those that wait; false: none does any more. */
static bool inject_waiting(struct punt *p)
{
	bool some = false;

	for (unsigned k = 0; k < p->faces; k++) {
		struct face *f = &p->face[k];

		if (!f->waiting)
			continue;
		if (face_inject_waiting(f) && f->tap >= 0)
			watch(p, f->tap, TAP, k);
		some |= f->waiting > 0;
	}
	return some;
}

static void look(struct punt *p)
{
	for (unsigned k = 0; k < p->faces; k++) {
		struct face *f = &p->face[k];

		if (f->tap < 0)
			continue;
		const int event = f->event;

		if (f->open) {
			face_look(f);
			if (!f->open)
				unwatch(p, event); /* closed by the router, which has it still */
		}
	}
}

/* --- Loop ------------------------------------------------------------------------------------- */

static void handle(struct punt *p, const struct epoll_event *e)
{
	const unsigned index = (uint32_t)e->data.u64;
	eventfd_t count;

	switch ((enum source)(e->data.u64 >> 32)) {
	case LISTENER:
		accept_client(p);
		break;
	case SIGNAL:
		p->quit = true;
		break;
	case CLIENT:
		serve_client(p, index);
		break;
	case TAP:
		inject(p, &p->face[index]);
		for (unsigned k = 0; k < BATCHES && deliver(p, P2PNIC_RING_CONTROL + 1); k++)
			;
		break;
	case RINGS:
		if (p->face[index].event >= 0)
			eventfd_read(p->face[index].event, &count);
		break;
	}
}

static bool arm(struct punt *p)
{
	bool idle = true;

	for (unsigned k = 0; k < p->faces; k++)
		idle = face_arm(&p->face[k]) && idle;
	return idle;
}

static void disarm(struct punt *p)
{
	for (unsigned k = 0; k < p->faces; k++)
		face_disarm(&p->face[k]);
}

static void run(struct punt *p)
{
	struct epoll_event events[EVENTS];
	bool busy = true;

	while (!p->quit) {
		const bool waiting = inject_waiting(p);
		const int sleep_ms = busy || !arm(p) ? 0 : waiting || p->deaf ? RETRY_MS : LOOK_MS;
		const int n = epoll_wait(p->epoll, events, EVENTS, sleep_ms);

		if (!busy)
			disarm(p);
		if (p->deaf && !watch(p, p->listener.fd, LISTENER, 0))
			p->deaf = false;
		look(p);
		for (int k = 0; k < n && !p->quit; k++)
			handle(p, &events[k]);
		busy = false;
		for (unsigned k = 0; k < BATCHES && deliver(p, P2PNIC_HOST_RINGS); k++)
			busy = true;
	}
}

int punt_serve(const char *path, int ready_fd)
{
	static struct punt punt;
	struct punt *p = &punt;
	sigset_t signals;
	int error;

	/* Before there is a socket: whoever ends it leaves none behind. */
	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	memset(p->client, 0xff, sizeof(p->client));
	error = unix_listen(&p->listener, path, SOCK_SEQPACKET | SOCK_NONBLOCK, 0600, CLIENTS);
	if (error)
		return error;
	p->signals = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
	p->epoll = epoll_create1(EPOLL_CLOEXEC);
	error = p->signals < 0 || p->epoll < 0 ? -errno : watch(p, p->listener.fd, LISTENER, 0);
	if (!error)
		error = watch(p, p->signals, SIGNAL, 0);
	if (error) {
		unix_unlisten(&p->listener);
		return error;
	}
	notify("READY=1");
	if (ready_fd >= 0) {
		if (write(ready_fd, "", 1) != 1)
			log_say(LOG_WARNING, "punt", "nobody waits for it to be ready");
		close(ready_fd);
	}
	run(p);
	/* Before the connections close: who waits for that finds nothing left. */
	unix_unlisten(&p->listener);
	for (unsigned k = 0; k < p->faces; k++)
		drop(p, &p->face[k]);
	for (unsigned k = 0; k < CLIENTS; k++)
		if (p->client[k] >= 0)
			close(p->client[k]);
	close(p->signals);
	close(p->epoll);
	return 0;
}
