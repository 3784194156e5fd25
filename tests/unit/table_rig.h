/* SPDX-License-Identifier: BSD-3-Clause */
/* Tables in NICs on plain memory (fake_nic.h), by small configurations that change at random. */
#ifndef TESTS_TABLE_RIG_H
#define TESTS_TABLE_RIG_H

#include "router/table.h"
#include "tests/unit/fake_nic.h"

#define RIG_BAR2_BYTES 0x1000000u
#define RIG_NICS       3u

#define WORLD_TEXT(literal) ((char *)(literal)) /* nobody writes it, or frees it */

/* A configuration of RIG_NICS NICs, 10.0.k.1/24 and fd00:k::1/64, with neighbours .2 to .13 of
 * which some are there. Its parts change at random, at most `most` of them. */
struct world {
	struct config config;
	struct config_router router;
	struct config_nic nic[RIG_NICS];
	struct prefix nic_address[RIG_NICS][2];
	unsigned mtu[RIG_NICS];
	struct mac_addr mac[RIG_NICS];
	struct config_neighbor neighbor[256];
	struct config_route pool[256], route[256]; /* those known, those there */
	struct config_next_hop next_hop[256][6];
	unsigned weight[256][6];
	/* Of each, whether and which. */
	uint8_t neighbor_is[256], route_is[256];
	uint64_t random;
};

void world_new(struct world *, uint64_t seed);
void world_change(struct world *, unsigned most);
unsigned world_below(struct world *, unsigned n);
struct address world_gateway(unsigned number);

/* First and last address of each prefix that the world knows, and their neighbours. */
size_t world_probes(const struct world *, struct address *probe, size_t room);

/* --- A table over these NICs, and the same one made anew -------------------------------------- */

#define RIG_PROBES 1024u

struct rig {
	struct fake_nic nic[RIG_NICS], fresh;
	struct table_nics nics;
	struct table *table;
	struct world world;
	struct table_report report;
	struct error error;
	struct address probe[RIG_PROBES];
	size_t probes;
};

/* Of a program called as NAME [SEED [TEST]]. */
void rig_arguments(int argc, char **argv);

struct rig *rig_new(uint64_t number, const char *kind, uint32_t bar2_bytes);
void rig_free(struct rig *);
int configure(struct rig *);
/* It must succeed. */
void configured(struct rig *);

/* The world as it is, made anew, in r->fresh. */
void make_fresh(struct rig *);
/* Each probe leads the NIC where r->fresh leads it, and in groups with the same shares. */
void assert_right(struct rig *, const struct fake_nic *);
/* Made anew: every NIC is right, and the list of routes is that of the configuration. */
void assert_all_right(struct rig *);

/* One route, 198.51.100.0/24, to gateways of NIC 0 to 2, all of them neighbours. */
struct config_route *one_route(struct rig *, unsigned members);

#endif
