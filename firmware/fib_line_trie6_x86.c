/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * IPv6 lookups in images of versions 2 and 3, with AVX2. A burst goes down the trie depth by depth:
 * one short loop for each, over a queue of the lookups that get there. A lookup is added to the
 * queues of the next depth without a branch (it is always written, and the queue grows by one or by
 * none), so none is guessed wrong; and by the time that a node is read, its line is on its way.
 */
#include "fib_line_trie.h"

#include "x86.h"

#ifdef __x86_64__
#define TYPE_BITMAP  (P2PNIC_LINE_TRIE_BITMAP << 9)
#define TYPE_ENTRIES (P2PNIC_LINE_TRIE_RANGES_OF_ENTRIES << 9)
#define TYPE_LEAF    (P2PNIC_LINE_TRIE_LEAF << 9)

#define COUNT(entry) ((entry) & (P2PNIC_LINE_TRIE_RANGES_MAX - 1))

static inline const uint8_t *node_of(const uint8_t *image, uint32_t entry)
{
	return image + P2PNIC_LINE_TRIE_OFFSET(entry);
}

/* Where an octet of an address lies: vector registers take it from there. */
static inline const uint8_t *octet_of(const struct fib_ipv6 *address, unsigned octet)
{
	return (const uint8_t *)address + (octet ^ 7);
}

/* How many of the first `count` (at most 31) bytes are ≤ key. */
AVX2 static inline uint32_t rank8(const uint8_t *boundary, uint32_t count, const uint8_t *key)
{
	const __m256i keys = _mm256_set1_epi8((char)*key);
	const __m256i line = _mm256_loadu_si256((const __m256i *)boundary);
	const __m256i below = _mm256_cmpeq_epi8(_mm256_max_epu8(line, keys), keys);

	return (uint32_t)_mm_popcnt_u32(_bzhi_u32((uint32_t)_mm256_movemask_epi8(below), count));
}

/* A node of entries. Of a TABLE, whose count is 0, the key is the rank. */
AVX2 static inline uint32_t step_entries(const uint8_t *image, uint32_t entry, const uint8_t *key)
{
	const uint8_t *node = node_of(image, entry);
	const uint32_t count = COUNT(entry), table = -(entry >> 9 & 1); /* all ones or none */
	const p2pnic_fib_entry *first = (const void *)(node + ((count + 7) & ~7u));

	return atomic_load_explicit(
		first + (rank8(node, count, key) | (*key & table)), memory_order_acquire);
}

/* A node of type RANGES. */
AVX2 static inline uint32_t step_ranges(const uint8_t *image, uint32_t entry, const uint8_t *key)
{
	const uint8_t *node = node_of(image, entry);
	const uint32_t count = COUNT(entry);

	return (uint32_t)node[count + rank8(node, count, key)] << 12 | TYPE_LEAF;
}

AVX2 static inline uint32_t step_wide(
	const uint8_t *image, uint32_t entry, const struct fib_ipv6 *address)
{
	const uint16_t *node = (const void *)node_of(image, entry);
	const uint32_t count = COUNT(entry);
	const __m256i keys = _mm256_set1_epi16((short)(address->high >> 16));
	const __m256i line = _mm256_loadu_si256((const __m256i *)node);
	const __m256i below = _mm256_cmpeq_epi16(_mm256_max_epu16(line, keys), keys);
	/* Two bits for each boundary. */
	uint32_t bits = _bzhi_u32((uint32_t)_mm256_movemask_epi8(below), 2 * count);

	return (uint32_t)node[count + (uint32_t)_mm_popcnt_u32(bits) / 2] << 12 | TYPE_LEAF;
}

/* A bit for each of eight boundaries that is ≤ its key. */
AVX2 static inline uint32_t not_above(const uint8_t *boundary, __m256i keys)
{
	const __m256i line = _mm256_loadu_si256((const __m256i *)boundary);
	const __m256i below = _mm256_cmpeq_epi32(_mm256_max_epu32(line, keys), keys);

	return (uint32_t)_mm256_movemask_ps(_mm256_castsi256_ps(below));
}

AVX2 static inline uint32_t step_long(
	const uint8_t *image, uint32_t entry, const struct fib_ipv6 *address)
{
	const uint8_t *node = node_of(image, entry);
	const uint32_t count = COUNT(entry);
	const __m256i keys = _mm256_set1_epi32((int)fib_ipv6_long_key(address));
	const uint32_t bits = not_above(node, keys) | not_above(node + 32, keys) << 8;
	const p2pnic_fib_entry *first = (const void *)(node + ((4 * count + 7) & ~7u));

	return atomic_load_explicit(
		first + _mm_popcnt_u32(_bzhi_u32(bits, count)), memory_order_acquire);
}

/* From an octet behind depth 32 on, where nodes of bytes are. */
AVX2 static inline uint32_t walk_deep(
	const uint8_t *image, uint32_t entry, const struct fib_ipv6 *address, unsigned octet)
{
	for (; !(entry & TYPE_LEAF); octet++) {
		const uint8_t *key = octet_of(address, octet);

		if (entry & TYPE_ENTRIES)
			entry = step_entries(image, entry, key);
		else if (entry & TYPE_BITMAP)
			entry = line_trie_step(image, entry, *key);
		else
			entry = step_ranges(image, entry, key);
	}
	return entry;
}

/* The node of an entry is read soon. A TABLE is read elsewhere, but to find out where costs more
 * than it gains. */
static inline void fetch(const uint8_t *image, uint32_t entry)
{
	__builtin_prefetch(node_of(image, entry));
}

struct queue {
	unsigned n;
	uint8_t number[P2PNIC_BURST_MAX];
};

static inline void queue_add(struct queue *q, unsigned number, bool really)
{
	q->number[q->n] = (uint8_t)number;
	q->n += really;
}

AVX2 void line_trie_lookup6_avx2(
	const void *image, const struct fib_ipv6 *address, uint16_t *next_hop, unsigned n)
{
	uint32_t entry[P2PNIC_BURST_MAX];
	struct queue at24, at32, wide, at40, at48;

	at24.n = at32.n = wide.n = at40.n = at48.n = 0;
	for (unsigned i = 0; i < n; i++) {
		uint32_t e = line_trie_root(image, (uint32_t)(address[i].high >> 48));

		/* Nearly always, or nearly never: branches that are guessed right. */
		if (line_trie_is_long(e)) {
			entry[i] = step_long(image, e, &address[i]);
			queue_add(&at48, i, !(entry[i] & TYPE_LEAF));
			continue;
		}
		if (!(e & TYPE_LEAF))
			e = step_entries(image, e, octet_of(&address[i], 2));
		entry[i] = e;
		queue_add(&at24, i, !(e & TYPE_LEAF));
		fetch(image, e);
	}
	for (unsigned k = 0; k < at24.n; k++) {
		unsigned i = at24.number[k];
		uint32_t e = step_entries(image, entry[i], octet_of(&address[i], 3));

		entry[i] = e;
		queue_add(&wide, i, !(e & (TYPE_LEAF | TYPE_ENTRIES)));
		queue_add(&at32, i, e & TYPE_ENTRIES);
		fetch(image, e);
	}
	for (unsigned k = 0; k < at32.n; k++) {
		unsigned i = at32.number[k];
		uint32_t e = step_entries(image, entry[i], octet_of(&address[i], 4));

		entry[i] = e;
		queue_add(&at40, i, !(e & TYPE_LEAF));
		fetch(image, e);
	}
	for (unsigned k = 0; k < wide.n; k++) {
		unsigned i = wide.number[k];

		entry[i] = step_wide(image, entry[i], &address[i]);
	}
	for (unsigned k = 0; k < at40.n; k++) {
		unsigned i = at40.number[k];

		entry[i] = walk_deep(image, entry[i], &address[i], 5);
	}
	for (unsigned k = 0; k < at48.n; k++) {
		unsigned i = at48.number[k];

		entry[i] = walk_deep(image, entry[i], &address[i], 6);
	}
	for (unsigned i = 0; i < n; i++)
		next_hop[i] = (uint16_t)P2PNIC_LINE_TRIE_UNIT(entry[i]);
}

/*
 * The same where nothing else is in flight: what a processor has guessed it need not wait for, so
 * TABLE or not is a branch here (0.8 of the time).
 */
AVX2 static inline uint32_t step_one(const uint8_t *image, uint32_t entry, const uint8_t *key)
{
	const p2pnic_fib_entry *table = (const void *)node_of(image, entry);

	if (entry & TYPE_BITMAP)
		return atomic_load_explicit(table + *key, memory_order_acquire);
	return step_entries(image, entry, key);
}

/*
 * One lookup. Whether a node at the end of the way is there, or the leaf was known before, is not
 * guessed: the node of a leaf is read in vain, where no node is (its unit is a next hop).
 */
AVX2 static inline uint32_t lookup_one(const uint8_t *image, const struct fib_ipv6 *address)
{
	uint32_t entry = line_trie_root(image, (uint32_t)(address->high >> 48)), last;

	if (entry & TYPE_LEAF)
		return entry;
	if (line_trie_is_long(entry))
		return walk_deep(image, step_long(image, entry, address), address, 6);
	entry = step_one(image, entry, octet_of(address, 2));
	if (entry & TYPE_LEAF)
		return entry;
	entry = step_one(image, entry, octet_of(address, 3));
	if (!(entry & TYPE_ENTRIES)) {
		last = step_wide(image, entry, address);
		return entry & TYPE_LEAF ? entry : last;
	}
	entry = step_one(image, entry, octet_of(address, 4));
	if (!(entry & (TYPE_ENTRIES | TYPE_BITMAP))) {
		last = step_ranges(image, entry, octet_of(address, 5));
		return entry & TYPE_LEAF ? entry : last;
	}
	return walk_deep(image, entry, address, 5);
}

AVX2 void line_trie_few6_avx2(
	const void *image, const struct fib_ipv6 *address, uint16_t *next_hop, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		next_hop[i] = (uint16_t)P2PNIC_LINE_TRIE_UNIT(lookup_one(image, &address[i]));
}
#endif
