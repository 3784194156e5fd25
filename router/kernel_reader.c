/* SPDX-License-Identifier: BSD-3-Clause */
#include "router/kernel_reader.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/neighbour.h>
#include <linux/nexthop.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BUFFER_BYTES 65536u /* the kernel fills 32 kB at most (netlink_recvmsg) */
/* Reads before others in the loop have their turn: a second's worth of changes, a dump's 10 ms. */
#define EVENT_READS  4096u
#define DUMP_READS   16u

/* In the order of dependence: a route of a dump is judged by the links and next hops there are. */
static const struct {
	uint16_t type;
	uint8_t family, bytes; /* of the fixed part; more would be attributes */
	const char *what;
} steps[] = {
	{RTM_GETLINK, AF_UNSPEC, sizeof(struct ifinfomsg), "links"},
	{RTM_GETADDR, AF_INET, sizeof(struct ifaddrmsg), "IPv4 addresses"},
	{RTM_GETADDR, AF_INET6, sizeof(struct ifaddrmsg), "IPv6 addresses"},
	{RTM_GETNEXTHOP, AF_UNSPEC, sizeof(struct nhmsg), "next-hop objects"},
	{RTM_GETNEIGH, AF_INET, sizeof(struct ndmsg), "IPv4 neighbours"},
	{RTM_GETNEIGH, AF_INET6, sizeof(struct ndmsg), "IPv6 neighbours"},
	{RTM_GETROUTE, AF_INET, sizeof(struct rtmsg), "IPv4 routes"},
	{RTM_GETROUTE, AF_INET6, sizeof(struct rtmsg), "IPv6 routes"},
};
#define STEPS (sizeof(steps) / sizeof(*steps))

static void subscribe(void *context);
static void dump(void *context);
static void on_events(void *context, uint32_t events);
static void on_again(void *context);

static void close_socket(struct kernel_reader *r, int *fd, struct loop_watch *watch)
{
	loop_unwatch(r->loop, watch);
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/* Tries again what failed. */
static void pause_then(struct kernel_reader *r, loop_fired *fired)
{
	loop_after(r->loop, &r->pause, r->pause_ms, fired, r);
	r->pause_ms = r->pause_ms * 2 < KERNEL_PAUSE_MAX_MS ? r->pause_ms * 2 : KERNEL_PAUSE_MAX_MS;
}

static bool evictions(struct kernel_reader *r)
{
	const uint64_t before = r->evicted;

	r->evicted = kernel_state_counters(r->state)->evicted;
	return r->evicted != before;
}

static void tell(struct kernel_reader *r)
{
	const bool changes = kernel_state_changes(r->state); /* and evicts */

	if (evictions(r))
		kernel_reader_again(r, r->again_ms);
	if (changes)
		r->changed(r->context);
}

/* --- Reading ---------------------------------------------------------------------------------- */

/* One datagram: its bytes; -EAGAIN; another -errno. What does not come from the kernel has none. */
static int receive(struct kernel_reader *r, int fd)
{
	struct sockaddr_nl from = {0};
	struct iovec vector = {r->buffer, BUFFER_BYTES};
	struct msghdr message = {.msg_name = &from,
		.msg_namelen = sizeof(from),
		.msg_iov = &vector,
		.msg_iovlen = 1};
	ssize_t n = recvmsg(fd, &message, MSG_DONTWAIT);

	if (n < 0)
		return errno == EINTR ? 0 : -errno;
	if (message.msg_flags & MSG_TRUNC)
		return -EMSGSIZE;
	return from.nl_pid ? 0 : (int)n;
}

/* Whether the dump has ended: 1; 0: not yet; -errno: it failed. */
static int take_dumped(struct kernel_reader *r, const struct nlmsghdr *header)
{
	int error = 0;

	if (header->nlmsg_seq != r->sequence)
		return 0;
	if (header->nlmsg_flags & NLM_F_DUMP_INTR)
		r->inconsistent = true;
	if (header->nlmsg_type != NLMSG_DONE && header->nlmsg_type != NLMSG_ERROR) {
		if (r->look)
			kernel_look_message(r->look, header);
		else
			kernel_state_message(r->state, header, true);
		return 0;
	}
	/* Both begin with an error; a DONE of old kernels may be without. */
	if (header->nlmsg_len >= NLMSG_HDRLEN + sizeof(error))
		memcpy(&error, mnl_nlmsg_get_payload(header), sizeof(error));
	if (error >= 0)
		return 1;
	/* Linux before 5.3 has no next-hop objects. */
	return steps[r->step].type == RTM_GETNEXTHOP && error == -EOPNOTSUPP ? 1 : error;
}

static void end_round(struct kernel_reader *r)
{
	const bool first = !r->complete;
	bool changes, again;

	kernel_state_sweep(r->state);
	changes = kernel_state_changes(r->state);
	again = kernel_state_doubts(r->state);
	again = evictions(r) || again;
	r->in_round = false;
	r->complete = true;
	r->rounds++;
	r->said = 0;
	r->pause_ms = KERNEL_PAUSE_MS;
	if (again)
		kernel_reader_again(r, r->again_ms);
	if (!again)
		r->again_ms = KERNEL_AGAIN_MS;
	else if (r->again_ms < KERNEL_AGAIN_MAX_MS)
		r->again_ms *= 2;
	if (first || changes)
		r->changed(r->context);
}

static void end_look(struct kernel_reader *r, bool ended)
{
	if (!r->look)
		return;
	kernel_look_end(r->look);
	r->look = NULL;
	r->in_round = false;
	r->pause_ms = KERNEL_PAUSE_MS;
	r->looked(r->look_context, ended);
}

static void on_look_over(void *context)
{
	struct kernel_reader *r = context;

	on_events(r, EPOLLIN);
	end_look(r, true); /* unless messages were lost */
}

static void dump_failed(struct kernel_reader *r, int error)
{
	char text[200];

	close_socket(r, &r->dump, &r->dump_watch);
	r->failed++;
	if (r->look) {
		end_look(r, false);
		return;
	}
	snprintf(text, sizeof(text), "the kernel's %s: %s; trying again", steps[r->step].what,
		strerror(-error));
	if (r->said != r->step + 1)
		r->say(r->context, text);
	r->said = r->step + 1;
	pause_then(r, dump);
}

static void on_dump(void *context, uint32_t events)
{
	struct kernel_reader *r = context;
	int ended = 0;

	for (unsigned reads = 0; !ended && reads < DUMP_READS; reads++) {
		int left = receive(r, r->dump);

		if (left == -EAGAIN)
			break;
		if (left < 0)
			ended = left;
		for (const struct nlmsghdr *header = (const void *)r->buffer;
			!ended && mnl_nlmsg_ok(header, left);
			header = mnl_nlmsg_next(header, &left))
			ended = take_dumped(r, header);
	}
	if (!ended) {
		tell(r);
		return;
	}
	close_socket(r, &r->dump, &r->dump_watch);
	if (ended < 0) {
		tell(r);
		dump_failed(r, ended);
	} else if (r->inconsistent && r->look && ++r->look_tries > KERNEL_LOOK_TRIES) {
		tell(r);
		end_look(r, false);
	} else if (r->inconsistent) {
		r->interrupted++;
		tell(r);
		pause_then(r, dump);
	} else if (++r->step < STEPS) {
		tell(r);
		dump(r);
	} else if (r->look) {
		tell(r);
		loop_after(r->loop, &r->pause, KERNEL_LOOK_MS, on_look_over, r);
	} else {
		end_round(r);
	}
}

/* Messages were lost, or the socket is no more. */
static void begin_anew(struct kernel_reader *r)
{
	close_socket(r, &r->events, &r->events_watch);
	close_socket(r, &r->dump, &r->dump_watch);
	end_look(r, false);
	r->complete = r->in_round = false;
	loop_cancel(r->loop, &r->again);
	pause_then(r, subscribe);
}

/* true: all that has come was read. */
static bool read_events(struct kernel_reader *r)
{
	int left = 0;

	for (unsigned reads = 0; left >= 0 && reads < EVENT_READS; reads++) {
		int bytes = left = receive(r, r->events);

		for (const struct nlmsghdr *header = (const void *)r->buffer;
			bytes > 0 && mnl_nlmsg_ok(header, bytes);
			header = mnl_nlmsg_next(header, &bytes))
			kernel_state_message(r->state, header, false);
	}
	if (left < 0 && left != -EAGAIN) {
		r->overruns += left == -ENOBUFS;
		r->failed += left != -ENOBUFS;
		begin_anew(r);
	} else if (!r->in_round && kernel_state_doubts(r->state)) {
		kernel_reader_again(r, r->again_ms);
	}
	tell(r);
	return left == -EAGAIN;
}

static void on_events(void *context, uint32_t events)
{
	read_events(context);
}

bool kernel_reader_drain(struct kernel_reader *r)
{
	return r->complete && read_events(r);
}

/* --- Asking ----------------------------------------------------------------------------------- */

static int open_socket(const struct kernel_reader *r)
{
	return netns_socket(r->netns, AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK, NETLINK_ROUTE);
}

static int ask(struct kernel_reader *r)
{
	struct {
		struct nlmsghdr header;
		/* The longest is a link's; each begins with the family. */
		uint8_t fixed[sizeof(struct ifinfomsg)];
	} request = {.header = {.nlmsg_len = NLMSG_LENGTH(steps[r->step].bytes),
			     .nlmsg_type = steps[r->step].type,
			     .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP,
			     .nlmsg_seq = ++r->sequence},
		.fixed = {steps[r->step].family}};
	int error;

	r->dump = open_socket(r);
	if (r->dump < 0)
		return r->dump;
	error = loop_watch(r->loop, &r->dump_watch, r->dump, EPOLLIN, on_dump, r);
	if (error)
		return error;
	return send(r->dump, &request, request.header.nlmsg_len, 0) < 0 ? -errno : 0;
}

static void dump(void *context)
{
	struct kernel_reader *r = context;
	int error;

	r->inconsistent = false;
	error = ask(r);
	if (error)
		dump_failed(r, error);
}

static void begin_round(struct kernel_reader *r)
{
	r->in_round = true;
	r->step = 0;
	kernel_state_begin(r->state);
	dump(r);
}

static void on_again(void *context)
{
	struct kernel_reader *r = context;

	if (r->in_round)
		kernel_reader_again(r, r->again_ms);
	else
		begin_round(r);
}

int kernel_reader_look(
	struct kernel_reader *r, struct kernel_look *look, kernel_looked *looked, void *context)
{
	if (!r->complete || r->in_round)
		return -EAGAIN;
	r->look = look;
	r->looked = looked;
	r->look_context = context;
	r->look_tries = 0;
	r->in_round = true;
	r->step = 0;
	kernel_look_begin(look);
	dump(r);
	return 0;
}

void kernel_reader_look_cancel(struct kernel_reader *r)
{
	if (!r->look)
		return;
	close_socket(r, &r->dump, &r->dump_watch);
	loop_cancel(r->loop, &r->pause);
	kernel_look_end(r->look);
	r->look = NULL;
	r->in_round = false;
}

void kernel_reader_again(struct kernel_reader *r, unsigned after_ms)
{
	if (r->events >= 0)
		loop_after(r->loop, &r->again, after_ms, on_again, r);
}

/* As much as the kernel lets us have. */
static void set_buffer(struct kernel_reader *r)
{
	int bytes = KERNEL_RECEIVE_BYTES;
	socklen_t room = sizeof(bytes);
	char text[200];

	if (!setsockopt(r->events, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)))
		return;
	setsockopt(r->events, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
	if (r->small || getsockopt(r->events, SOL_SOCKET, SO_RCVBUF, &bytes, &room))
		return;
	r->small = true;
	snprintf(text, sizeof(text),
		"messages of the kernel have a buffer of %d kB only; for more, the router needs "
		"CAP_NET_ADMIN, or a larger net.core.rmem_max",
		bytes / 2048); /* the kernel doubles it for its own records */
	r->say(r->context, text);
}

static int open_events(struct kernel_reader *r)
{
	static const int groups[] = {RTNLGRP_LINK, RTNLGRP_NEIGH, RTNLGRP_IPV4_IFADDR,
		RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_IFADDR, RTNLGRP_IPV6_ROUTE, RTNLGRP_NEXTHOP};
	const struct sockaddr_nl any = {.nl_family = AF_NETLINK};

	r->events = open_socket(r);
	if (r->events < 0)
		return r->events;
	set_buffer(r);
	if (bind(r->events, (const struct sockaddr *)&any, sizeof(any)))
		return -errno;
	for (size_t k = 0; k < sizeof(groups) / sizeof(*groups); k++)
		if (setsockopt(r->events, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &groups[k],
			    sizeof(groups[k])) &&
			groups[k] != RTNLGRP_NEXTHOP) /* Linux before 5.3 */
			return -errno;
	return loop_watch(r->loop, &r->events_watch, r->events, EPOLLIN, on_events, r);
}

static void subscribe(void *context)
{
	struct kernel_reader *r = context;

	if (open_events(r)) {
		r->failed++;
		close_socket(r, &r->events, &r->events_watch);
		pause_then(r, subscribe);
	} else {
		begin_round(r);
	}
}

int kernel_reader_start(struct kernel_reader *r, struct loop *loop, const struct netns *netns,
	kernel_changed *changed, kernel_say *say, void *context, struct error *error)
{
	int code;

	*r = (struct kernel_reader){.loop = loop,
		.netns = netns,
		.changed = changed,
		.say = say,
		.context = context,
		.events = -1,
		.dump = -1,
		.pause_ms = KERNEL_PAUSE_MS,
		.again_ms = KERNEL_AGAIN_MS};
	r->state = kernel_state_new();
	r->buffer = malloc(BUFFER_BYTES);
	if (!r->state || !r->buffer)
		return error_set(error, -ENOMEM, "mirror of the kernel's routes: out of memory");
	code = open_events(r);
	if (code)
		return error_set(error, code, "subscription to the kernel's routes (rtnetlink): %s",
			strerror(-code));
	begin_round(r);
	return 0;
}

void kernel_reader_stop(struct kernel_reader *r)
{
	close_socket(r, &r->events, &r->events_watch);
	close_socket(r, &r->dump, &r->dump_watch);
	loop_cancel(r->loop, &r->pause);
	loop_cancel(r->loop, &r->again);
	kernel_state_free(r->state);
	free(r->buffer);
	r->state = NULL;
	r->buffer = NULL;
}
