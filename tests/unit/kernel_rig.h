/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A kernel that is told by messages, and the table of three NICs on plain memory (fake_nic.h) that
 * its routes make.
 */
#ifndef TESTS_KERNEL_RIG_H
#define TESTS_KERNEL_RIG_H

#include "tests/unit/fake_nic.h"

#include <router/kernel_routes.h>

#include <libmnl/libmnl.h>
#include <linux/if.h>
#include <linux/if_ether.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>

#define UP         (IFF_UP | IFF_RUNNING | IFF_LOWER_UP)
#define NICS       3u
/* 1 to 3 are NICs, 4 is none, 5 is a macvlan of 1, 6 VLAN 17 of 2, 7 a macvlan of that. */
#define LINKS      7u
#define TABLE_KIND P2PNIC_FIB_LINE_TRIE

/* Of the test that runs; begin() makes them. */
extern struct kernel_state *mirror;
extern struct kernel_nics links;
extern struct kernel_routes routes;
extern struct table *table;
extern struct fake_nic nic[NICS], fresh;
extern struct table_nics nics;
extern struct table_report report; /* of the last make() or apply() */

/* --- Messages --------------------------------------------------------------------------------- */

struct nlmsghdr *message(uint16_t type, const void *fixed, size_t bytes);
void feed(struct nlmsghdr *);

void set_link(uint32_t ifindex, unsigned flags, uint32_t mtu, uint32_t master);
void forget_link(uint32_t ifindex);

/* A VLAN, or with type 0 a macvlan, above `lower`, by that MAC address (its last octet). */
struct above {
	uint32_t ifindex, lower;
	uint16_t vid, type;
	uint8_t mac;
	unsigned flags;
	uint32_t master;
	bool away;
};
void set_above(struct above);

/* By the last octet of its MAC address; nud 0: it goes. */
void set_neighbor(uint32_t ifindex, const char *text, uint16_t nud, uint8_t last);

struct hop {
	uint32_t ifindex;
	const char *gateway;
	uint8_t weight; /* less one */
};

struct wanted {
	const char *to;
	uint8_t length, type, tos;
	uint32_t table, metric, mtu, object;
	bool encapsulated;
	struct hop hop[4];
};
void set_route(uint16_t type, const struct wanted *);
void add(struct wanted);
void del(struct wanted);

/* A next-hop object: to `hop`, or one that drops, or else none. */
void set_object(uint32_t id, const struct hop *hop, bool drops);
void set_group(uint32_t id, uint32_t a, uint32_t b);

/* --- A table over three NICs ------------------------------------------------------------------ */

int begin(void **context);
int end(void **context);

/* The table anew, and what changed since; either must succeed. */
void make(void);
void apply(void);

struct address parsed(const char *text);

/* --- The twin --------------------------------------------------------------------------------- */

extern unsigned reserves; /* that assert_shares() found right */

/* The NIC leads packets where the kernel's state says, in the shares that it says. */
void assert_shares(const struct fake_nic *, const struct address *to);
/* All NICs lead packets to this address so. */
void right(const char *text);
/* And NIC 1 by an adjacency of this kind. */
unsigned kind(const char *text);

#endif
