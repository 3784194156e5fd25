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

/*
 * A node and its children as one WIDE node, or as a leaf; false: they are more than that holds.
 * inherited: the next hop where none of their routes is.
 */
bool encode_wide(
	struct encoded *encoded, const struct route_set *set, uint32_t number, uint16_t inherited);

/* The image offset of the entry of `key` inside a node of entries. */
uint64_t encoded_word(const void *image, uint32_t entry, uint32_t key);

#endif
