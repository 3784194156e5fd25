/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where kernel_state.c keeps what it knows: for each kind a table of nodes by key and a table of
 * values, each there once; and the queue of keys that changed. No rule of the kernel's is here.
 *
 * Nodes lie in blocks and are named by number, from 1; 0 is none. A node stays where it is until it
 * is freed.
 *
 * 1.2 million routes by some hundred ways take 85 MB.
 *
 * A key without value stays while its change waits, or while a round runs in which an event said
 * that it is gone.
 */
#ifndef ROUTER_KERNEL_MAP_H
#define ROUTER_KERNEL_MAP_H

#include "router/kernel_state.h"

#define KERNEL_BLOCK_NODES 4096u

/* A value that nodes share. */
struct kernel_shared {
	struct kernel_shared *next; /* of the same bucket */
	uint32_t hash;
	uint32_t references;
	bool condemned; /* in no bucket */
	struct kernel_value value;
};

enum kernel_role { NODE_FREE, NODE_KEY, NODE_ALTERNATIVE };

/* A key, with its first value; or a further route of a key. Numbers are from 1, 0 is none. */
struct kernel_node {
	struct kernel_key key;
	struct kernel_shared
		*value;       /* NULL: it has gone, and is here for its change or for the round */
	uint32_t next;        /* of the same bucket, or of those that are free */
	uint32_t alternative; /* the next route of the key */
	uint32_t seen;        /* the last round that showed this value */
	uint32_t settled;     /* key: the round in which an event said what dumps do not know */
	uint8_t role;         /* enum kernel_role */
	bool queued;          /* key: it has a change in the queue */
};

struct kernel_table {
	struct kernel_node **block;
	uint32_t blocks, block_room;
	uint32_t nodes; /* of the blocks, that were in use ever */
	uint32_t free;
	uint32_t *bucket;
	uint32_t buckets, chained; /* keys in buckets */
	size_t keys;               /* with a value */
	struct kernel_shared **value_bucket;
	uint32_t value_buckets, values;
};

struct kernel_waiting {
	uint32_t kind, node;
	struct kernel_shared *before;
};

struct kernel_map {
	struct kernel_table table[KERNEL_KINDS];
	/* A ring of a power of two with a place for every node, so that a change always has one. */
	struct kernel_waiting *queue;
	size_t queue_room, queue_first, queue_n, nodes;
	struct kernel_waiting taken; /* the change taken last */
	uint64_t seed;
	uint32_t round;
	bool in_round;
};

void kernel_map_open(struct kernel_map *);
void kernel_map_close(struct kernel_map *);

bool kernel_value_equal(const struct kernel_value *, const struct kernel_value *);
/* The one that is equal, with a reference for the caller; NULL: out of memory. */
struct kernel_shared *kernel_map_share(
	struct kernel_map *, struct kernel_table *, const struct kernel_value *like);
/* Gives a reference back; NULL: there is none. */
void kernel_map_release(struct kernel_table *, struct kernel_shared *);

static inline struct kernel_node *kernel_node(const struct kernel_table *table, uint32_t number)
{
	return number ? &table->block[(number - 1) / KERNEL_BLOCK_NODES]
				     [(number - 1) % KERNEL_BLOCK_NODES]
		      : NULL;
}

/* 0: it is not there. */
uint32_t kernel_map_find(const struct kernel_map *, const struct kernel_key *);
/* The next key that is a route to the same prefix, also one without a value; after 0: the first;
 * 0: there are no more. */
uint32_t kernel_map_next_route(
	const struct kernel_map *, const struct kernel_key *like, uint32_t after);
/* A new one has no value; 0: out of memory. */
uint32_t kernel_map_find_or_add(struct kernel_map *, const struct kernel_key *);
/* A node without key; 0: out of memory. */
uint32_t kernel_map_add(struct kernel_map *, struct kernel_table *, enum kernel_role);
void kernel_map_free_node(struct kernel_table *, uint32_t number);
/* Frees a key if it has no value and no reason to stay. */
void kernel_map_drop(struct kernel_map *, struct kernel_table *, uint32_t number);

/* Gives a key another first value, of which it takes the caller's reference, and queues the change.
 * The value before, with its reference. */
struct kernel_shared *kernel_map_put(
	struct kernel_map *, unsigned kind, uint32_t number, struct kernel_shared *);
/* kernel_state_change */
bool kernel_map_change(struct kernel_map *, struct kernel_change *);

/* The map of a state, which is settled before. */
struct kernel_map *kernel_state_map(struct kernel_state *);

#endif
