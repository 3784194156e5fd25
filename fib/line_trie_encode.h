/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One node of the line trie, from its 256 slots to bytes (p2pnic/fib.h has the layouts).
 */
#ifndef P2PNIC_FIB_LINE_TRIE_ENCODE_H
#define P2PNIC_FIB_LINE_TRIE_ENCODE_H

#include <p2pnic/fib.h>

#include "route_set.h"

#define ENCODED_BYTES_MAX (40u + 4u * 256u)

struct encoded {
	uint32_t type, shape; /* LEAF: nothing to store, `leaf` is the entry */
	uint32_t leaf;
	uint32_t units;
	uint32_t head;   /* units that must not cross a line */
	bool entries;    /* its values are entries… */
	uint32_t values; /* …and begin at this byte */
	uint8_t byte[(ENCODED_BYTES_MAX + 7u) & ~7u] __attribute__((aligned(8)));
};

/*
 * slot[256]: entries, leaves all of type LEAF. version: of the image; depth: bits of the address
 * before the node.
 */
void encode(struct encoded *encoded, const uint32_t *slot, unsigned version, unsigned depth);

/* What a WIDE or a LONG node is made of: from `begin` on, all have that next hop; or one key alone
 * has longer routes, which inherit it: `child`, else ROUTE_SET_NONE. */
struct run {
	uint32_t begin;
	uint16_t next_hop;
	uint32_t child;
};

struct runs {
	unsigned n;
	struct run run[P2PNIC_LINE_TRIE_LONG_MAX + 1]; /* the last: for runs_of alone */
};

/* Nodes with more below them are not tried: what one change costs has a bound. */
#define RUNS_NODES_MAX 32u

_Static_assert(P2PNIC_LINE_TRIE_LONG_MAX > P2PNIC_LINE_TRIE_WIDE_MAX, "room for either");

/* The runs of a node and of what is below it, for keys of 16 or 32 bits; false: they are more than
 * a WIDE or LONG node holds. inherited: the next hop where none of their routes is. */
bool runs_of(struct runs *runs, const struct route_set *set, uint32_t number, uint16_t inherited,
	unsigned bits);

/* As a WIDE node, or a leaf; false: some have longer routes. */
bool encode_wide(struct encoded *encoded, const struct runs *runs);

/* As a LONG node, or a leaf, with the entry of each run. */
void encode_long(struct encoded *encoded, const struct runs *runs, const uint32_t *entry);

/* The image offset of the entry of `key` inside a node of entries. */
uint64_t encoded_word(const void *image, uint32_t entry, uint32_t key);

#endif
