/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The routes of one family, kept in the shape of the line trie (p2pnic/fib.h): what the compiler
 * needs to make any one node again is in one place.
 *
 *   heap   routes of length 0 to 16, by (1 << length | prefix bits): 2^17 next hops, 0 for none
 *   base   by root slot: the next hop that the heap says
 *   child  by root slot: the node of its longer routes, or ROUTE_SET_NONE
 *   node   8 more bits of the address: its routes, and its children for routes longer still
 *
 * In a node, routes are words {slot, length beyond the node's depth (1–8), next hop} in ascending
 * order, so a route stands before those inside it; children are words {slot, node number}.
 */
#ifndef P2PNIC_FIB_ROUTE_SET_H
#define P2PNIC_FIB_ROUTE_SET_H

#include "fib_image.h"

#define ROUTE_SET_NONE      UINT32_MAX
#define ROUTE_SET_NODES_MAX (1u << 24)
#define ROUTE_SET_NEW       UINT16_MAX /* node.inherited before the node was compiled */

#define ROUTE_WORD(slot, length, next_hop)                                                         \
	((uint32_t)(slot) << 24 | (uint32_t)(length) << 16 | (uint32_t)(next_hop))
#define ROUTE_WORD_SLOT(route)     ((route) >> 24)
#define ROUTE_WORD_LENGTH(route)   ((route) >> 16 & 0xffu)
#define ROUTE_WORD_NEXT_HOP(route) ((route)&0xffffu)
#define CHILD_WORD_SLOT(child)     ((child) >> 24)
#define CHILD_WORD_NODE(child)     ((child)&0xffffffu)

struct route_set_node {
	uint32_t *route;
	uint32_t *child;
	uint16_t routes, route_room;
	uint16_t children, child_room;
	uint32_t parent; /* node, or ROUTE_SET_NONE: the root */
	uint16_t slot;   /* in the parent */
	/* Next hop of the slot in the parent, as compiled; ROUTE_SET_NEW: not yet. */
	uint16_t inherited;
	uint32_t entry; /* as compiled: of type LEAF, or where the node is */
};

struct route_set {
	uint16_t *heap;
	uint16_t *base;
	uint32_t *child;
	struct route_set_node *node;
	uint32_t nodes, node_room, node_free; /* free nodes are chained by `parent` */
	size_t routes;
};

int route_set_open(struct route_set *set);
void route_set_close(struct route_set *set);

/*
 * Sets the next hop of a prefix (0: deletes it). *old: what it was, 0 for none. The result is 0 or
 * -ENOMEM. Emptied nodes stay until route_set_prune.
 */
int route_set_set(struct route_set *set, const struct fib_route *route, uint16_t *old);

/* Frees empty nodes on the way to a prefix. */
void route_set_prune(struct route_set *set, const struct fib_route *route);

/* The node for 8 bits of `slot` under `node`, or ROUTE_SET_NONE. */
uint32_t route_set_child(const struct route_set *set, uint32_t node, unsigned slot);

/* What the heap says of a root slot. */
uint16_t route_set_base(const struct route_set *set, uint32_t slot);

/* Calls `visit` for every route, in the order of route_compare. */
void route_set_each(const struct route_set *set, unsigned family,
	void (*visit)(void *context, const struct fib_route *route), void *context);

#endif
