/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The stupid twin of every table: a trie of one bit a step, which nobody can get wrong. Tests, the
 * fuzz target and `p2pnic fib check` hold the images against it.
 */
#ifndef P2PNIC_FIB_NAIVE_H
#define P2PNIC_FIB_NAIVE_H

#include "fib_image.h"

struct naive_node {
	uint32_t child[2]; /* 0: none */
	uint16_t next_hop;
};

struct naive {
	struct naive_node *node; /* [0] is the root */
	uint32_t nodes, room;
};

/* 0 or -ENOMEM. */
int naive_open(struct naive *naive);
void naive_close(struct naive *naive);

/* Adds, replaces, or (next hop 0) deletes. 0 or -ENOMEM. */
int naive_set(struct naive *naive, const struct fib_route *route);

/* IPv4 addresses stand in the top 32 bits, as in struct fib_route. */
uint16_t naive_lookup(const struct naive *naive, struct fib_ipv6 address);

#endif
