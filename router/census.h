/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Counts that take a look at every route and neighbour. Taken in slices, between which the loop
 * goes on, when somebody asks and the last one is CENSUS_AGE_MS old; the kernel's and the NICs'
 * routes may change meanwhile, so it may be off by what did.
 */
#ifndef ROUTER_CENSUS_H
#define ROUTER_CENSUS_H

#include <stddef.h>
#include <stdint.h>

#include "router/loop.h"
#include "router/rib.h"

struct router;

#define CENSUS_AGE_MS 15000u

enum neighbor_state {
	NEIGHBOR_NONE,
	NEIGHBOR_PERMANENT,
	NEIGHBOR_NOARP,
	NEIGHBOR_REACHABLE,
	NEIGHBOR_STALE,
	NEIGHBOR_DELAY,
	NEIGHBOR_PROBE,
	NEIGHBOR_FAILED,
	NEIGHBOR_INCOMPLETE,
	NEIGHBOR_STATES,
};

struct census {
	/* Of the kernel's routes, what NICs leave to it or do not know. */
	uint64_t tables, tos, encapsulated, other_links;
	uint64_t managed;                   /* neighbours that the router keeps fresh */
	uint64_t filters, sysctls, ports;   /* findings, doctor.h */
	uint64_t routes[2][RIB_KERNEL + 1]; /* of NICs, by family (IPv6: 1) and source */
	uint64_t protocol[2][256];          /* of the kernel, by family and RTPROT_… */
	uint64_t neighbor[NEIGHBOR_STATES]; /* on links of NICs */
};

/* The router's own, zeroed at first. */
struct census_taking {
	struct census last, now;
	bool taken; /* `last` is one */
	uint64_t taken_ns;
	unsigned step; /* of the one that is being taken; 0: none is */
	size_t from;
	struct loop_timer timer;
};

/* All at once. */
void census_take(struct router *, struct census *);

/* The last one, NULL: none yet. If it is old, another one begins. */
const struct census *census_last(struct router *);
void census_close(struct router *);

/* Of NUD_… bits, and its name. */
enum neighbor_state neighbor_state_of(uint16_t nud);
const char *neighbor_state_name(enum neighbor_state);
/* As iproute2 has it; "other" for one without a name. */
const char *protocol_name(uint8_t protocol);

#endif
