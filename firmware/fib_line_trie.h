/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The line trie's lookups (p2pnic/fib.h tells how it is made); callers use fib.h, which picks the
 * best version for the processor. The others are here for tests and benchmarks.
 */
#ifndef P2PNIC_FIRMWARE_FIB_LINE_TRIE_H
#define P2PNIC_FIRMWARE_FIB_LINE_TRIE_H

#include <p2pnic/fib.h>

bool line_trie_valid(const struct p2pnic_fib_header *header);

void line_trie_lookup4(const void *image, const uint32_t *address, uint16_t *next_hop, unsigned n);
void line_trie_lookup6(
	const void *image, const struct fib_ipv6 *address, uint16_t *next_hop, unsigned n);

/* Any processor. */
void line_trie_lookup4_scalar(
	const void *image, const uint32_t *address, uint16_t *next_hop, unsigned n);
void line_trie_lookup6_scalar(
	const void *image, const struct fib_ipv6 *address, uint16_t *next_hop, unsigned n);

#ifdef __x86_64__
void line_trie_lookup4_avx2(
	const void *image, const uint32_t *address, uint16_t *next_hop, unsigned n);
void line_trie_lookup4_avx512(
	const void *image, const uint32_t *address, uint16_t *next_hop, unsigned n);
/* A few: without the cost of starting a burst. */
void line_trie_few4_avx512(
	const void *image, const uint32_t *address, uint16_t *next_hop, unsigned n);
/* Images of versions 2 and 3. */
void line_trie_lookup6_avx2(
	const void *image, const struct fib_ipv6 *address, uint16_t *next_hop, unsigned n);
void line_trie_few6_avx2(
	const void *image, const struct fib_ipv6 *address, uint16_t *next_hop, unsigned n);
#endif

/* --- One node, scalar: the definition that the vector versions must equal --------------------- */

/* Without a call into a runtime library, which firmware lacks. */
static inline unsigned line_trie_popcount(uint64_t x)
{
#ifdef __POPCNT__
	return (unsigned)__builtin_popcountll(x);
#else
	x -= x >> 1 & 0x5555555555555555u;
	x = (x & 0x3333333333333333u) + (x >> 2 & 0x3333333333333333u);
	x = (x + (x >> 4)) & 0x0f0f0f0f0f0f0f0fu;
	return (unsigned)(x * 0x0101010101010101u >> 56);
#endif
}

/*
 * How many of `count` ascending bytes are ≤ key: eight at a time, in lanes of 16 bits. `boundary`
 * is where a node begins, so whole words may be read.
 */
static inline unsigned line_trie_rank(const uint8_t *boundary, unsigned count, uint32_t key)
{
	const uint64_t even = 0x00ff00ff00ff00ffu, ones = 0x0001000100010001u;
	uint64_t keys = (key | 0x100u) * ones, rank = 0;

	for (unsigned i = 0; i < count; i += 8) {
		uint64_t x, hit;

		__builtin_memcpy(&x, __builtin_assume_aligned(boundary + i, 8), 8);
		if (count - i < 8)
			x &= ~(~0ull << 8 * (count - i));
		/* Bit 8 of a lane survives the subtraction when its byte is ≤ key. */
		hit = ((keys - (x & even)) >> 8 & ones) + ((keys - (x >> 8 & even)) >> 8 & ones);
		rank += hit * ones >> 48;
		if (count - i < 8)
			rank -= 8 - (count - i); /* what was masked off */
	}
	return (unsigned)rank;
}

/* Slots 0 to key & 63 of a map: the runs that begin in them. */
static inline unsigned line_trie_runs(uint64_t map, uint32_t key)
{
	return line_trie_popcount(map << (63 - (key & 63)));
}

/* Units before part `part` (0–3) of a BITMAP of bytes. Where `part` is known, inlining leaves ways
 * that none takes. */
static inline uint32_t line_trie_part(uint32_t shape, uint32_t part)
{
	uint32_t units = 2 * part;

	for (uint32_t i = 0; i < part; i++)
		units += shape >> 3 * i & 7;
	return units;
}

/*
 * What the node of `entry` (not a LEAF) holds for `key`: an entry of type LEAF (with any next hop),
 * or one to go on with. The acquire pairs with the release store that published the entry.
 */
static inline uint32_t line_trie_step(const void *image, uint32_t entry, uint32_t key)
{
	const uint8_t *node = (const uint8_t *)image + P2PNIC_LINE_TRIE_OFFSET(entry);
	uint32_t shape = P2PNIC_LINE_TRIE_SHAPE(entry);
	const p2pnic_fib_entry *next;
	uint64_t map;

	switch (P2PNIC_LINE_TRIE_TYPE(entry)) {
	case P2PNIC_LINE_TRIE_RANGES:
		return P2PNIC_LINE_TRIE_ENTRY(
			node[shape + line_trie_rank(node, shape, key)], P2PNIC_LINE_TRIE_LEAF, 0);
	case P2PNIC_LINE_TRIE_BITMAP:
		node += 8 * line_trie_part(shape, key >> 6);
		__builtin_memcpy(&map, node, 8);
		return P2PNIC_LINE_TRIE_ENTRY(
			node[8 + line_trie_runs(map, key)], P2PNIC_LINE_TRIE_LEAF, 0);
	case P2PNIC_LINE_TRIE_RANGES_OF_ENTRIES:
		next = (const p2pnic_fib_entry *)(node + ((shape + 7) & ~7u)) +
		       line_trie_rank(node, shape, key);
		return atomic_load_explicit(next, memory_order_acquire);
	default: /* BITMAP_OF_ENTRIES, TABLE */
		next = (const p2pnic_fib_entry *)node + key;
		if (shape != P2PNIC_LINE_TRIE_TABLE) {
			__builtin_memcpy(&map, node + 8 * (key >> 6), 8);
			next = (const p2pnic_fib_entry *)(node + 40) + node[32 + (key >> 6)] +
			       line_trie_runs(map, key);
		}
		return atomic_load_explicit(next, memory_order_acquire);
	}
}

static inline bool line_trie_is_wide(uint32_t entry)
{
	return (entry & P2PNIC_LINE_TRIE_ENTRY(0, 7, P2PNIC_LINE_TRIE_WIDE)) ==
	       P2PNIC_LINE_TRIE_ENTRY(0, P2PNIC_LINE_TRIE_RANGES, P2PNIC_LINE_TRIE_WIDE);
}

/* What a WIDE node holds for a key of 16 bits: an entry of type LEAF. */
static inline uint32_t line_trie_step_wide(const void *image, uint32_t entry, uint32_t key)
{
	const uint16_t *boundary =
		(const void *)((const uint8_t *)image + P2PNIC_LINE_TRIE_OFFSET(entry));
	unsigned count = entry & (P2PNIC_LINE_TRIE_WIDE - 1), rank = 0;

	for (unsigned i = 0; i < count; i++)
		rank += boundary[i] <= key;
	return P2PNIC_LINE_TRIE_ENTRY(boundary[count + rank], P2PNIC_LINE_TRIE_LEAF, 0);
}

static inline bool line_trie_is_long(uint32_t entry)
{
	return (entry & P2PNIC_LINE_TRIE_ENTRY(0, 7, P2PNIC_LINE_TRIE_LONG)) ==
	       P2PNIC_LINE_TRIE_ENTRY(0, P2PNIC_LINE_TRIE_RANGES_OF_ENTRIES, P2PNIC_LINE_TRIE_LONG);
}

/* Where the entry of a LONG node for a key of 32 bits is, from the node's beginning. */
static inline uint32_t line_trie_long_at(const void *image, uint32_t entry, uint32_t key)
{
	const uint32_t *boundary =
		(const void *)((const uint8_t *)image + P2PNIC_LINE_TRIE_OFFSET(entry));
	unsigned count = entry & (P2PNIC_LINE_TRIE_LONG - 1), rank = 0;

	for (unsigned i = 0; i < count; i++)
		rank += boundary[i] <= key;
	return ((4 * count + 7) & ~7u) + 4 * rank;
}

static inline uint32_t line_trie_step_long(const void *image, uint32_t entry, uint32_t key)
{
	const uint8_t *node = (const uint8_t *)image + P2PNIC_LINE_TRIE_OFFSET(entry);
	const p2pnic_fib_entry *next = (const void *)(node + line_trie_long_at(image, entry, key));

	return atomic_load_explicit(next, memory_order_acquire);
}

static inline bool line_trie_is_leaf(uint32_t entry)
{
	return entry & P2PNIC_LINE_TRIE_ENTRY(0, P2PNIC_LINE_TRIE_LEAF, 0);
}

static inline uint32_t line_trie_root(const void *image, uint32_t bits)
{
	const p2pnic_fib_entry *root =
		(const void *)((const uint8_t *)image + P2PNIC_LINE_TRIE_ROOT);

	return atomic_load_explicit(root + bits, memory_order_acquire);
}

/* From an entry of the root to the next hop. */
static inline uint16_t line_trie_walk4(const void *image, uint32_t entry, uint32_t address)
{
	for (unsigned shift = 8; !line_trie_is_leaf(entry); shift -= 8)
		entry = line_trie_step(image, entry, address >> shift & 0xff);
	return (uint16_t)P2PNIC_LINE_TRIE_UNIT(entry);
}

/* Octet `number` (0–15) of an address, counted from the first. */
static inline uint32_t fib_ipv6_octet(const struct fib_ipv6 *address, unsigned number)
{
	uint64_t half = number < 8 ? address->high : address->low;

	return (uint32_t)(half >> (56 - 8 * (number & 7))) & 0xff;
}

/* The key of a LONG node. */
static inline uint32_t fib_ipv6_long_key(const struct fib_ipv6 *address)
{
	return (uint32_t)(address->high >> 16);
}

/* line_trie_step with octet `octet` of an address; a WIDE node takes that and the next. */
static inline uint32_t line_trie_step6(
	const void *image, uint32_t entry, const struct fib_ipv6 *address, unsigned octet)
{
	uint32_t key = fib_ipv6_octet(address, octet);

	if (line_trie_is_wide(entry))
		return line_trie_step_wide(
			image, entry, key << 8 | fib_ipv6_octet(address, octet + 1));
	return line_trie_step(image, entry, key);
}

/* From an entry of the root to a leaf. */
static inline uint32_t line_trie_walk6(
	const void *image, uint32_t entry, const struct fib_ipv6 *address)
{
	unsigned octet = P2PNIC_LINE_TRIE_ROOT_BITS / 8;

	if (line_trie_is_long(entry)) {
		entry = line_trie_step_long(image, entry, fib_ipv6_long_key(address));
		octet += P2PNIC_LINE_TRIE_LONG_BITS / 8;
	}
	for (; !line_trie_is_leaf(entry); octet++)
		entry = line_trie_step6(image, entry, address, octet);
	return entry;
}

#endif
