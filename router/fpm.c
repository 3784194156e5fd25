/* SPDX-License-Identifier: BSD-3-Clause */
#include "router/fpm.h"

#include "ipc/clock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#define BUCKETS_FIRST 1024u

/* A route that waits for its answer. By number, from 1; 0 is none. */
struct pending {
	struct fpm_route route;
	uint32_t next;     /* of the same bucket, or of those that are free */
	uint32_t after;    /* it in the queue */
	uint32_t since_ms; /* when it came, of a clock that wraps */
	bool gone;         /* taken back, and in no bucket; freed when its turn comes */
	bool failed;       /* that was said */
};

struct fpm {
	struct loop *loop;
	struct fpm_source source;
	struct fpm_counts counts;
	int listener, peer;
	struct loop_watch listener_watch, peer_watch;
	struct loop_timer turn, stuck, accept;

	struct pending *pending;
	uint32_t used, room, free; /* of pending */
	uint32_t first, last;      /* of the queue */
	size_t n;                  /* that are not gone */
	uint32_t *bucket, buckets;
	uint64_t seed;

	size_t bytes, sent; /* of output */
	uint8_t output[FPM_OUTPUT_BYTES];
	struct fpm_input input;
	uint8_t chunk[FPM_FRAME_MAX];
};

static void on_turn(void *context);

static uint32_t now_ms(void)
{
	return (uint32_t)(clock_now_ns() / 1000000);
}

/* --- What is pending -------------------------------------------------------------------------- */

static uint32_t *bucket_of(const struct fpm *f, const struct fpm_route *r)
{
	const uint64_t word[] = {r->prefix.address.bits.high, r->prefix.address.bits.low,
		(uint64_t)r->table << 16 | r->prefix.length << 8 | r->prefix.address.family};
	uint64_t hash = f->seed;

	for (unsigned k = 0; k < sizeof(word) / sizeof(*word); k++) {
		hash = (hash ^ word[k]) * 0x9e3779b97f4a7c15u; /* 2^64 / golden ratio */
		hash ^= hash >> 29;
	}
	return &f->bucket[(hash ^ hash >> 32) & (f->buckets - 1)];
}

static bool same(const struct fpm_route *a, const struct fpm_route *b)
{
	return a->table == b->table && a->prefix.length == b->prefix.length &&
	       address_equal(&a->prefix.address, &b->prefix.address);
}

/* Where the number of a route is kept, or would be. */
static uint32_t *find(const struct fpm *f, const struct fpm_route *r)
{
	uint32_t *at = bucket_of(f, r);

	while (*at && !same(&f->pending[*at].route, r))
		at = &f->pending[*at].next;
	return at;
}

static bool grow_buckets(struct fpm *f)
{
	const uint32_t buckets = f->buckets ? 2 * f->buckets : BUCKETS_FIRST;
	uint32_t *bucket = calloc(buckets, sizeof(*bucket));

	if (!bucket)
		return false;
	free(f->bucket);
	f->bucket = bucket;
	f->buckets = buckets;
	for (uint32_t k = f->first; k; k = f->pending[k].after)
		if (!f->pending[k].gone) {
			uint32_t *at = bucket_of(f, &f->pending[k].route);

			f->pending[k].next = *at;
			*at = k;
		}
	return true;
}

/* 0: there is no room. */
static uint32_t add(struct fpm *f)
{
	uint32_t number = f->free;

	if (number) {
		f->free = f->pending[number].next;
		return number;
	}
	if (f->used + 1 >= f->room) {
		const uint32_t room = f->room ? 2 * f->room : BUCKETS_FIRST;
		struct pending *larger;

		if (room > FPM_PENDING_MAX)
			return 0;
		larger = reallocarray(f->pending, room, sizeof(*larger));
		if (!larger)
			return 0;
		f->pending = larger;
		f->room = room;
	}
	return ++f->used;
}

static void enqueue(struct fpm *f, uint32_t number)
{
	f->pending[number].after = 0;
	if (f->last)
		f->pending[f->last].after = number;
	else
		f->first = number;
	f->last = number;
}

static uint32_t dequeue(struct fpm *f)
{
	const uint32_t number = f->first;

	f->first = f->pending[number].after;
	if (!f->first)
		f->last = 0;
	return number;
}

static void unlink_bucket(struct fpm *f, uint32_t number)
{
	uint32_t *at = find(f, &f->pending[number].route);

	*at = f->pending[number].next;
	f->n--;
}

static void release(struct fpm *f, uint32_t number)
{
	f->pending[number].next = f->free;
	f->free = number;
}

static void forget_all(struct fpm *f)
{
	free(f->pending);
	free(f->bucket);
	f->pending = NULL;
	f->bucket = NULL;
	f->used = f->room = f->free = f->first = f->last = f->buckets = 0;
	f->n = 0;
}

static void on_route(void *context, const struct fpm_route *r, bool removed)
{
	struct fpm *f = context;
	uint32_t *at, number;

	f->counts.received++;
	if (f->n >= f->buckets && !grow_buckets(f) && !f->buckets)
		goto dropped;
	at = find(f, r);
	number = *at;
	if (removed) {
		if (number) {
			unlink_bucket(f, number);
			f->pending[number].gone = true;
		}
		return;
	}
	if (!number) {
		number = add(f);
		if (!number)
			goto dropped;
		f->pending[number] = (struct pending){.next = 0};
		f->pending[number].route = *r;
		at = bucket_of(f, r);
		f->pending[number].next = *at;
		*at = number;
		f->n++;
		enqueue(f, number);
	}
	f->pending[number].route = *r;
	f->pending[number].since_ms = now_ms();
	f->pending[number].failed = false;
	/* A route that waits may have made the turns rare. */
	if (!f->turn.fired || f->turn.at_ns > clock_now_ns() + FPM_TURN_MS * 1000000ull)
		loop_after(f->loop, &f->turn, FPM_TURN_MS, on_turn, f);
	return;
dropped:
	f->counts.dropped++;
}

/* --- The peer --------------------------------------------------------------------------------- */

static void let_go(struct fpm *f, const char *why)
{
	char text[200];

	if (f->peer < 0)
		return;
	loop_unwatch(f->loop, &f->peer_watch);
	loop_cancel(f->loop, &f->turn);
	loop_cancel(f->loop, &f->stuck);
	close(f->peer);
	f->peer = -1;
	f->bytes = f->sent = f->input.n = 0;
	forget_all(f);
	if (!why)
		return;
	f->counts.broken++;
	snprintf(text, sizeof(text), "fpm: connection closed: %s", why);
	f->source.say(f->source.context, text);
}

static void on_stuck(void *context)
{
	let_go(context, "its answers were not read for 10 s");
}

static void on_peer(void *context, uint32_t events);

static void watch_peer(struct fpm *f)
{
	const uint32_t events = EPOLLIN | (f->bytes ? EPOLLOUT : 0u);

	if (loop_watch(f->loop, &f->peer_watch, f->peer, events, on_peer, f))
		let_go(f, "no room for it in epoll");
}

static void send_some(struct fpm *f)
{
	ssize_t n;

	if (!f->bytes)
		return;
	n = send(f->peer, f->output + f->sent, f->bytes - f->sent, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n < 0 && errno != EAGAIN && errno != EINTR) {
		let_go(f, NULL);
		return;
	}
	if (n > 0)
		f->sent += (size_t)n;
	if (f->sent == f->bytes) {
		f->sent = f->bytes = 0;
		loop_cancel(f->loop, &f->stuck);
		if (f->first)
			loop_after(f->loop, &f->turn, FPM_TURN_MS, on_turn, f);
	} else if (n > 0 || !f->stuck.fired) {
		loop_after(f->loop, &f->stuck, FPM_STUCK_MS, on_stuck, f);
	}
	watch_peer(f);
}

static void on_peer(void *context, uint32_t events)
{
	struct fpm *f = context;

	for (unsigned k = 0; k < FPM_TURN_READS && (events & ~(uint32_t)EPOLLOUT); k++) {
		const ssize_t n = recv(f->peer, f->chunk, sizeof(f->chunk), MSG_DONTWAIT);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			break;
		if (n <= 0) {
			let_go(f, NULL);
			return;
		}
		if (fpm_take(&f->input, f->chunk, (size_t)n, on_route, f)) {
			let_go(f, "what came is not FPM with netlink");
			return;
		}
	}
	if (events & EPOLLOUT)
		send_some(f);
}

static void on_listener(void *context, uint32_t events);

static void accept_again(void *context)
{
	struct fpm *f = context;

	if (loop_watch(f->loop, &f->listener_watch, f->listener, EPOLLIN, on_listener, f))
		loop_after(f->loop, &f->accept, FPM_IDLE_MS, accept_again, f);
}

static void on_listener(void *context, uint32_t events)
{
	struct fpm *f = context;
	const int fd = accept4(f->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	const int bytes = FPM_OUTPUT_BYTES;

	if (fd >= 0) {
		/* Else it grows to megabytes, of answers that grow old there. */
		setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
		let_go(f, NULL);
		f->peer = fd;
		watch_peer(f);
	} else if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
		/* Short of descriptors; it waits there still, so the loop would not. */
		loop_unwatch(f->loop, &f->listener_watch);
		loop_after(f->loop, &f->accept, FPM_IDLE_MS, accept_again, f);
	}
}

/* --- Answers ---------------------------------------------------------------------------------- */

/* Answers a route that waits. True: it waits no more, as it was answered or forgotten. */
static bool answer(struct fpm *f, uint32_t number, enum fpm_fate fate)
{
	struct pending *p = &f->pending[number];
	const bool said = p->failed;

	if (fate == FPM_ABSENT) {
		if (now_ms() - p->since_ms < FPM_ABSENT_MS || said)
			return false;
		f->counts.dropped++;
		return true;
	}
	if (fate == FPM_OFFLOADED || !said)
		f->bytes += fpm_answer(f->output + f->bytes, &p->route, fate == FPM_OFFLOADED);
	f->counts.acknowledged += fate == FPM_OFFLOADED;
	f->counts.failed += fate == FPM_FAILED && !said;
	p->failed = fate == FPM_FAILED;
	return fate == FPM_OFFLOADED;
}

static void on_turn(void *context)
{
	struct fpm *f = context;
	const enum fpm_fate all = f->source.settle(f->source.context);
	const uint32_t last = f->last; /* each once */
	bool progress = false;

	for (unsigned k = 0; k < FPM_TURN_ROUTES && f->first && all != FPM_ABSENT &&
			     f->bytes + FPM_ANSWER_BYTES <= FPM_OUTPUT_BYTES && !f->sent;
		k++) {
		const uint32_t number = dequeue(f);
		const size_t before = f->bytes;

		if (f->pending[number].gone) {
			release(f, number);
		} else if (answer(f, number,
				   all == FPM_FAILED ? all
						     : f->source.fate(f->source.context,
							       &f->pending[number].route))) {
			unlink_bucket(f, number);
			release(f, number);
			progress = true;
		} else {
			enqueue(f, number);
		}
		progress = progress || f->bytes > before;
		if (number == last)
			break;
	}
	if (f->first)
		loop_after(f->loop, &f->turn, progress ? FPM_TURN_MS : FPM_IDLE_MS, on_turn, f);
	send_some(f);
}

/* --- Life ------------------------------------------------------------------------------------- */

static int listen_there(struct fpm *f, const struct netns *netns, unsigned port)
{
	const struct sockaddr_in address = {.sin_family = AF_INET,
		.sin_port = htons((uint16_t)port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	const int one = 1;

	f->listener = netns_socket(netns, AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	if (f->listener < 0)
		return f->listener;
	/* FREEBIND: the namespace's lo may be down yet. */
	if (setsockopt(f->listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) ||
		setsockopt(f->listener, IPPROTO_IP, IP_FREEBIND, &one, sizeof(one)) ||
		bind(f->listener, (const struct sockaddr *)&address, sizeof(address)) ||
		listen(f->listener, 4))
		return -errno;
	return loop_watch(f->loop, &f->listener_watch, f->listener, EPOLLIN, on_listener, f);
}

int fpm_open(struct fpm **out, struct loop *loop, const struct netns *netns, unsigned port,
	const struct fpm_source *source, struct error *error)
{
	struct fpm *f = calloc(1, sizeof(*f));
	int result;

	*out = NULL;
	if (!f)
		return error_set(error, -ENOMEM, "out of memory");
	f->loop = loop;
	f->source = *source;
	f->listener = f->peer = -1;
	/* Without entropy the seed is 0; that costs speed at most. */
	(void)!getrandom(&f->seed, sizeof(f->seed), GRND_NONBLOCK);
	result = listen_there(f, netns, port);
	if (result) {
		fpm_close(f);
		return error_set(error, result, "kernel: fpm: 127.0.0.1 port %u: %s", port,
			strerror(-result));
	}
	*out = f;
	return 0;
}

void fpm_close(struct fpm *f)
{
	if (!f)
		return;
	let_go(f, NULL);
	loop_unwatch(f->loop, &f->listener_watch);
	loop_cancel(f->loop, &f->accept);
	if (f->listener >= 0)
		close(f->listener);
	free(f);
}

const struct fpm_counts *fpm_counts(const struct fpm *f)
{
	return &f->counts;
}

bool fpm_connected(const struct fpm *f)
{
	return f->peer >= 0;
}

size_t fpm_pending(const struct fpm *f)
{
	return f->n;
}
