/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Acknowledgements of routes to FRR's zebra, so that bgpd announces a route only once packets to it
 * are forwarded (`bgp suppress-fib-pending`): a listener on loopback for zebra's dplane_fpm_nl. Of
 * which FRR, and how it is started: docs/operations.md.
 *
 *   zebra ── route ──▶ kernel ──netlink──▶ mirror ──▶ table ──▶ NICs, epoch
 *     │                                                            │
 *     └── route by FPM ──▶ pending ◀── every NIC has all of it ────┘──▶ route, RTM_F_OFFLOAD
 *
 * The kernel stays the only source of routes: what comes by FPM is a question, and programs
 * nothing. zebra sends it after the kernel has answered, so the kernel's message is under way
 * before it. A turn, some milliseconds after a route came, takes all of the kernel's messages,
 * commits them, and if then every NIC that is up has the table, answers for what waited before:
 *
 *   the kernel has the route              RTM_F_OFFLOAD: packets to it are forwarded, by NICs or,
 *                                         where it leaves by an interface that is no NIC or by an
 *                                         encapsulation, by the kernel as it is meant to be
 *   … but NICs' next hops are used up     RTM_F_OFFLOAD_FAILED: NICs should forward it, and the
 *                                         kernel gets it instead, of which few packets pass
 *   the table cannot be made              RTM_F_OFFLOAD_FAILED: NICs forward by the old one
 *   the kernel does not have it (yet)     nothing; forgotten after FPM_ABSENT_MS
 *
 * A route that failed stays, and RTM_F_OFFLOAD follows when it succeeds.
 *
 * At most one answer is pending for a prefix of a table: a later message replaces it, an end takes
 * it back, so none is sent that a message which was received contradicts (FRR#23205). Answers are
 * written FPM_OUTPUT_BYTES at a time and no more until the peer has taken them, so that a storm of
 * them never meets zebra (sonic-buildimage#24880); a peer that takes none for FPM_STUCK_MS is let
 * go. One peer: a newcomer takes the place of the one before. All that is pending ends with its
 * connection, as zebra sends everything again in the next.
 */
#ifndef ROUTER_FPM_H
#define ROUTER_FPM_H

#include "ipc/error.h"
#include "router/fpm_message.h"
#include "router/loop.h"
#include "router/netns.h"

/* Twice a full table of 2026, about 1.25 million prefixes: 100 MB. What comes beyond is dropped,
 * counted, and never acknowledged. */
#define FPM_PENDING_MAX  (1u << 21)
#define FPM_OUTPUT_BYTES 65536u
#define FPM_TURN_MS      5u
#define FPM_IDLE_MS      200u  /* after a turn in which nothing could be answered */
#define FPM_TURN_ROUTES  4096u /* of one turn: 2 ms */
#define FPM_TURN_READS   4u    /* of FPM_FRAME_MAX each */
#define FPM_ABSENT_MS    10000u
#define FPM_STUCK_MS     10000u

enum fpm_fate { FPM_ABSENT, FPM_OFFLOADED, FPM_FAILED };

/* What NICs have. */
struct fpm_source {
	/* Takes all that the kernel has said up to now: FPM_OFFLOADED: every NIC has it;
	 * FPM_ABSENT: not yet; FPM_FAILED: they cannot. */
	enum fpm_fate (*settle)(void *context);
	/* After a settle that was FPM_OFFLOADED. */
	enum fpm_fate (*fate)(void *context, const struct fpm_route *);
	void (*say)(void *context, const char *text);
	void *context;
};

struct fpm_counts {
	uint64_t received; /* routes, also those that end */
	uint64_t acknowledged, failed;
	uint64_t dropped; /* for want of room, or absent */
	uint64_t broken;  /* connections that were let go: no such stream, stuck */
};

struct fpm; /* opaque */

/* Listens on 127.0.0.1 of a namespace. -errno with a sentence: the port is taken. */
int fpm_open(struct fpm **, struct loop *, const struct netns *, unsigned port,
	const struct fpm_source *, struct error *);
void fpm_close(struct fpm *);

const struct fpm_counts *fpm_counts(const struct fpm *);
bool fpm_connected(const struct fpm *);
size_t fpm_pending(const struct fpm *);

#endif
