/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A mirror of the kernel's links, addresses, neighbours, next-hop objects and routes: a map from
 * kernel_key to kernel_value, fed by messages, and a queue of what changed.
 *
 *      messages of events ──┐                      ┌──> kernel_state_find, kernel_state_each
 *                           ├──> map by key ───────┤
 *      messages of dumps ───┘                      └──> kernel_state_change: old, new; one a key
 *
 * Who feeds it (kernel_reader.h) only drains sockets. Who applies takes changes whenever it likes:
 * a key that changed a thousand times since is one change, and none if it is again what it was.
 *
 * Equal values are one value: compare by pointer or keep something for each. A value lives as long
 * as a key or a change in the queue has it.
 *
 * Rounds. What was missed is found by dumping everything: kernel_state_begin, the messages of the
 * dumps, kernel_state_sweep. Events go on meanwhile and always say more than the dump:
 *
 *   an event names a key          the dumps of this round do not change it any more, also if the
 *                                 event was its end
 *   a dump shows a key            it is there; an event may come later
 *   neither did until the sweep   it is gone
 *
 * A dump that failed or was interrupted is dumped again in the same round: it may have missed
 * objects, but what it showed was there, and its end would be an event. Only when all have ended
 * well comes the sweep.
 *
 * What the kernel deletes without a message (net/ipv4/fib_frontend.c, fib_semantics.c, nexthop.c)
 * goes here too, when the message of its cause comes:
 *
 *   a link goes down              its next-hop objects; routes whose hops all are down, unless
 *                                 they are IPv4 and of scope host
 *   a link loses its carrier      its next-hop objects
 *   a link is deleted             the same, and IPv4 routes with any hop there
 *   a next-hop object goes        its place in groups, a group without members, routes by it
 *   an IPv4 address goes          IPv4 routes that prefer it as source; with the last address of a
 *                                 link, IPv4 routes whose hops all are there
 *
 * Not followed: a hop that died with the last address of its link, of a route that has others; when
 * those go down too the kernel deletes the route, and here it is found by the next round only.
 *
 * Several routes of one key. The kernel keeps them in order and takes the first: IPv4 routes by
 * `ip route append`, connected networks that two links have in common, fe80::/64 of each link, IPv6
 * default routes of several advertisements. So does the map: `new` is the first, the others are
 * kernel_state_find's. (Other routes of IPv6 with a gateway and the same key are one route with
 * several hops to the kernel, and here.)
 */
#ifndef ROUTER_KERNEL_STATE_H
#define ROUTER_KERNEL_STATE_H

#include "router/kernel_message.h"

struct kernel_state; /* opaque */

struct kernel_counters {
	uint64_t messages;      /* all */
	uint64_t malformed;     /* KERNEL_MALFORMED */
	uint64_t source_routes; /* KERNEL_SOURCE_ROUTE */
	uint64_t evicted;       /* next-hop objects and routes that went without a message */
	uint64_t swept;         /* objects that were missed as they went */
};

struct kernel_change {
	struct kernel_key key;
	const struct kernel_value *before, *now; /* NULL: it was, or is, not there */
};

struct kernel_state *kernel_state_new(void); /* NULL: out of memory */
void kernel_state_free(struct kernel_state *);

/* Takes one message, valid to mnl_nlmsg_ok; `dumped`: it is part of a dump. */
void kernel_state_message(struct kernel_state *, const struct nlmsghdr *, bool dumped);

/* A round begins, also instead of one that did not come to its end. */
void kernel_state_begin(struct kernel_state *);
/* All dumps of the round have ended well. */
void kernel_state_sweep(struct kernel_state *);

/* Whether a route that a dump shows is as good as gone: its links are down, and so the kernel has
 * deleted it since, or will. */
bool kernel_state_goes(const struct kernel_state *, const struct kernel_value *route);

/* Whether another round is needed, for a message did not fit what is here or there was no memory
 * for it; says so once. */
bool kernel_state_doubts(struct kernel_state *);

/* The nth of a key, from 0; NULL: there are no more. Valid until the state changes. */
const struct kernel_value *kernel_state_find(
	struct kernel_state *, const struct kernel_key *, unsigned nth);
/* Every key of a kind, in no order, with its first value: *from begins as 0; NULL: no more. */
const struct kernel_value *kernel_state_each(
	struct kernel_state *, enum kernel_kind, size_t *from, struct kernel_key *);
/* Every route to a prefix, of whatever table, metric and TOS, in no order, with its first value:
 * *from begins as 0; NULL: no more. */
const struct kernel_value *kernel_state_route(
	struct kernel_state *, const struct prefix *, uint32_t *from, struct kernel_key *);
size_t kernel_state_count(struct kernel_state *, enum kernel_kind); /* keys */

/* Takes the next change off the queue, in the order in which keys first changed; false: there is
 * none. Its values are valid until the state changes or the next call. */
bool kernel_state_change(struct kernel_state *, struct kernel_change *);
/* How many keys wait, those that are again what they were included. */
size_t kernel_state_changes(struct kernel_state *);

const struct kernel_counters *kernel_state_counters(const struct kernel_state *);

#endif
