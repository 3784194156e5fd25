/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Routes as they are told: as text, a piece at a time, those that a filter lets through. There may
 * be a million of them, so no tree is made, and a piece is a fraction of a millisecond of work.
 */
#ifndef ROUTER_SHOW_ROUTE_H
#define ROUTER_SHOW_ROUTE_H

#include <jansson.h>

#include "ipc/error.h"
#include "router/buffer.h"
#include "router/interface.h"
#include "router/next_hop.h"
#include "router/routes.h"

struct router;

#define ROUTE_STATIONS_MAX 8u

/* What a route must be; all of it. */
struct route_filter {
	bool to;     /* the one that a packet to prefix.address takes */
	bool exact;  /* to `prefix` */
	bool longer; /* to `prefix` or inside it */
	struct prefix prefix;

	bool via;               /* packets leave for one of these stations, or by this gateway */
	struct address gateway; /* family 0: a MAC address was given */
	struct route_station {
		struct mac_addr mac;
		int nic; /* -1: any */
		uint16_t vid;
	} station[ROUTE_STATIONS_MAX];
	unsigned stations;

	int nic;    /* packets leave by it; -1: any */
	int vid;    /* and with this VLAN's tag; -1: any or none */
	int source; /* enum rib_source; -1: any */
};

/* Filters of a request: "to", "prefix", "longer", "via", "nic", "source". -EINVAL with a
 * sentence. */
int route_filter_read(
	struct route_filter *, const struct router *, const json_t *request, struct error *);
/* Whether `exact` and `longer` let it through. */
bool route_filter_prefix(const struct route_filter *, const struct route *);

/* Routes under way. */
struct route_walk {
	struct route_filter filter;
	struct route last; /* the one looked at last; family 0: none */
	unsigned reloads;  /* of the router, when it began */
	bool any;          /* one was written */
	bool done;
	const char *why; /* done too early: the table has changed */
};

/* As route_filter_read. */
int route_walk_begin(
	struct route_walk *, const struct router *, const json_t *request, struct error *);

/* Writes the next ones, with commas between, until the buffer has `full` bytes, or some thousands
 * were looked at. Where the kernel changes meanwhile, a route is as it was when its turn came, and
 * stands there once; a reload ends it. */
void route_walk_more(struct route_walk *, const struct router *, struct buffer *, size_t full);

/* The index of a NIC, or of the NIC of a VLAN, by the name of either; -1: there is none. *vid: of
 * the VLAN; -1: a NIC. */
int show_interface(const struct router *, const char *name, int *vid);

/* Where a next hop leads, by name; comparable as memory. */
struct route_lead {
	const char *kind;
	char nic[INTERFACE_NAME_BYTES];    /* "": packets do not leave */
	char backup[INTERFACE_NAME_BYTES]; /* "": there is none */
	struct mac_addr mac, backup_mac;
	uint32_t members;
};
_Static_assert(sizeof(struct route_lead) ==
		       sizeof(char *) + 2 * INTERFACE_NAME_BYTES + 12 + sizeof(uint32_t),
	"no padding");

void route_lead(struct route_lead *, const struct router *, const struct next_hops *, unsigned);

/* One route as a JSON object in text of so many bytes; its length. Nothing in it needs escapes. */
#define SHOW_ROUTE_BYTES 512
size_t show_route(const struct route *, const struct route_lead *, char row[SHOW_ROUTE_BYTES]);

/* "forward", "local", … */
const char *show_kind(const struct p2pnic_adjacency *);
/* Where a next hop leads, in a few words; their length. */
unsigned show_lead(const struct router *, unsigned next_hop, char *text, size_t room);
/* The next hop of that number; NULL: nothing leads there. */
json_t *show_next_hop(const struct router *, unsigned next_hop);

#endif
