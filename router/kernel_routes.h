/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The kernel's routes and neighbours as routes of the NICs' table.
 *
 *   kernel_state ──changes──▶ prefixes that may lead elsewhere ──▶ table_change
 *                └─all of it─────────────────────────────────────▶ table_make
 *
 * Which of the kernel's routes to a prefix counts: of the tables local, main and default the first
 * that has one, and in it the one of lowest metric, of which it is the first. Other tables belong
 * to VRFs and rules, of which NICs know nothing. What becomes of it:
 *
 *   unicast                          by its hops (kernel_way.h)
 *   local, anycast                   LOCAL
 *   broadcast                        BROADCAST
 *   blackhole, unreachable, prohibit a fate of that name
 *   throw                            no route, also where a shorter prefix has one
 *   of a TOS; by encapsulation       KERNEL: it decides, by what NICs do not look at
 *   multicast                        not there: NICs know such destinations without a route
 *
 * The route that would be the best without that one is its backup, if it is unicast by hops too.
 * When the best goes it takes its place at once, as in the kernel; before, NICs have it in reserve
 * (kernel_way.h).
 *
 * A neighbour has a host route if the kernel would reach it by its link: no route is for that
 * address alone, and the longest that covers it is a connected one by the same link. While a
 * neighbour does not answer it has none, and the connected route asks the kernel (GLEAN). A route
 * for one address by a link without gateway leads to that neighbour.
 *
 * An address that the kernel has just failed to resolve is dropped by the NICs for
 * KERNEL_FAILED_MS: else each packet to it would make the kernel ask for three seconds again, which
 * a scan of a connected network does to thousands. BLACKHOLE, as UNREACHABLE would give the packet
 * to the kernel, and that asks. Senders hear of it all the same: the kernel answers the packets
 * that waited for the address when it fails (RFC 1812 §5.2.7.1, RFC 4443 §3.1), again after each
 * such pause, and both allow a limit (RFC 1812 §4.3.2.8, RFC 4443 §2.4 (f)).
 */
#ifndef ROUTER_KERNEL_ROUTES_H
#define ROUTER_KERNEL_ROUTES_H

#include "router/kernel_way.h"
#include "router/table.h"

/* Of one commit, so that the loop goes on meanwhile: 20 ms, at 1.3 us a change (a million routes,
 * two NICs). */
#define KERNEL_BATCH_CHANGES 16384u

#define KERNEL_FAILED_MS  3000u
/* More are not held. NICs give the kernel 200 such packets a second, all together. */
#define KERNEL_FAILED_MAX 1024u

struct kernel_applied {
	uint64_t batches;
	uint64_t routes;   /* added, changed, deleted */
	uint64_t compiles; /* of everything */
	uint64_t failed;   /* of either */
};

/* Neighbours that NICs have, ascending by address. */
struct kernel_host {
	struct address address;
	uint32_t ifindex;
};

struct kernel_failed {
	struct kernel_host host;
	uint64_t until_ns;
};

struct kernel_routes {
	struct kernel_state *state;
	const struct kernel_nics *nics;
	struct kernel_ways ways;
	struct kernel_host *host;
	size_t hosts, host_room;
	struct kernel_failed failed[KERNEL_FAILED_MAX];
	size_t failures;
	unsigned failed_ms;     /* how long they are held; 0: not at all */
	struct routes prefixes; /* of the batch, without next hops */
	struct kernel_applied applied;
	bool links;        /* of the last batch: a link changed */
	bool encapsulated; /* a route that NICs do not encapsulate was taken, ever */
	bool lossy;        /* next hops are used up: some routes lead to the kernel instead */
};

/* `nics` is looked at in every call. */
void kernel_routes_open(struct kernel_routes *, struct kernel_state *, const struct kernel_nics *);
void kernel_routes_close(struct kernel_routes *);

/* Makes the table what the kernel has, at once; changes that wait are done with. As table_make. */
int kernel_routes_make(struct kernel_routes *, struct table **, unsigned kind,
	const struct table_nics *, struct table_report *, struct error *);

/* Whether a route that NICs would forward leads to the kernel because next hops are used up. */
bool kernel_routes_short_of(const struct kernel_routes *, const struct table *,
	const struct kernel_key *, const struct kernel_value *);

/* Of one step: 5 ms. */
#define KERNEL_CHECK_PREFIXES 4096u
/* The table's routes; the kernel's; neighbours. Then next hops. */
#define KERNEL_CHECK_PARTS    3u

struct kernel_routes_check {
	unsigned part;
	bool begun;
	struct route last; /* the table's that was looked at last */
	size_t from;       /* in kernel_state_each */
	unsigned moved;    /* next hops that do not lead where they should */
};

/* Whether the table is what the kernel's state leads to, step by step, from {0}; no change may wait
 * (kernel_state_changes). `prefixes` are those that lead elsewhere afterwards, each with the next
 * hop that it should have (0: no route). 1: there are more steps; 0: that was all; -ENOMEM,
 * -ENOSPC. Nothing changes. */
int kernel_routes_check(struct kernel_routes *, const struct table *, struct kernel_routes_check *);

/*
 * Takes changes off the queue, at most KERNEL_BATCH_CHANGES, and commits them; all that are not
 * routes lead every next hop anew. On error they are lost, and kernel_routes_make is needed:
 * -ENOSPC, -EAGAIN: they do not fit beside what is in force.
 */
int kernel_routes_apply(struct kernel_routes *, struct table *, const struct table_nics *,
	struct table_report *, struct error *);

#endif
