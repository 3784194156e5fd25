/* SPDX-License-Identifier: BSD-3-Clause */
#include "fib_line_trie.h"

#include "x86.h"

/* --- Validation ------------------------------------------------------------------------------- */

struct walk {
	const uint8_t *image;
	uint64_t end; /* nodes end here */
	unsigned version;
	/* An image holds fewer nodes than units: a web of shared nodes ends here. */
	uint64_t nodes_left;
};

#define TYPE_ENTRIES P2PNIC_LINE_TRIE_ENTRY(0, P2PNIC_LINE_TRIE_RANGES_OF_ENTRIES, 0)

static bool node_valid(struct walk *walk, uint32_t entry, unsigned octets);

static bool entries_valid(struct walk *walk, uint64_t offset, unsigned entries, unsigned octets)
{
	const p2pnic_fib_entry *word = (const void *)(walk->image + offset);

	if (offset + 4ull * entries > walk->end)
		return false;
	for (unsigned i = 0; i < entries; i++)
		if (!node_valid(walk, atomic_load_explicit(word + i, memory_order_acquire), octets))
			return false;
	return true;
}

static bool parts_valid(const struct walk *walk, uint64_t offset, uint32_t shape)
{
	for (uint32_t part = 0; part < 4; part++) {
		uint64_t at = offset + 8 * line_trie_part(shape, part);
		uint64_t map;

		if (at + 8 > walk->end)
			return false;
		__builtin_memcpy(&map, walk->image + at, 8);
		if (at + 8 + 1 + line_trie_popcount(map) > walk->end)
			return false;
	}
	return true;
}

static bool wide_valid(const struct walk *walk, uint64_t offset, unsigned count)
{
	const uint16_t *leaf = (const void *)(walk->image + offset + 2ull * count);

	if (count >= P2PNIC_LINE_TRIE_WIDE_MAX || offset + 4 * count + 2 > walk->end ||
		offset % 64 + 4 * count + 2 > 64)
		return false;
	for (unsigned i = 0; i <= count; i++)
		if (leaf[i] >= P2PNIC_NEXT_HOPS_MAX)
			return false;
	return true;
}

static bool long_valid(struct walk *walk, uint64_t offset, unsigned count, unsigned octets)
{
	return count < P2PNIC_LINE_TRIE_LONG_MAX && offset % 64 + 4 * count <= 64 &&
	       entries_valid(walk, offset + ((4 * count + 7) & ~7u), count + 1,
		       octets - P2PNIC_LINE_TRIE_LONG_BITS / 8);
}

/* `octets` of the address are left for this node and those below it. */
static bool node_valid(struct walk *walk, uint32_t entry, unsigned octets)
{
	uint64_t offset = P2PNIC_LINE_TRIE_OFFSET(entry), map;
	const uint8_t *node = walk->image + offset;
	uint32_t shape = P2PNIC_LINE_TRIE_SHAPE(entry);
	const bool version_1 = walk->version == P2PNIC_FIB_VERSION;
	/* Of later versions: bits of the address before this node. */
	unsigned depth = version_1 ? 128 : 8 * (16 - octets), runs = 0;

	if (P2PNIC_LINE_TRIE_TYPE(entry) == P2PNIC_LINE_TRIE_LEAF)
		return P2PNIC_LINE_TRIE_UNIT(entry) < P2PNIC_NEXT_HOPS_MAX;
	if (!octets || offset < P2PNIC_LINE_TRIE_NODES || offset + 8 > walk->end ||
		!walk->nodes_left--)
		return false;
	if (depth == P2PNIC_LINE_TRIE_WIDE_DEPTH && line_trie_is_wide(entry))
		return wide_valid(walk, offset, shape - P2PNIC_LINE_TRIE_WIDE);
	if (depth == P2PNIC_LINE_TRIE_LONG_DEPTH && line_trie_is_long(entry) &&
		walk->version != P2PNIC_FIB_VERSION_2)
		return long_valid(walk, offset, shape - P2PNIC_LINE_TRIE_LONG, octets);
	if (depth <= P2PNIC_LINE_TRIE_WIDE_DEPTH && !(entry & TYPE_ENTRIES))
		return false;
	switch (P2PNIC_LINE_TRIE_TYPE(entry)) {
	case P2PNIC_LINE_TRIE_RANGES:
		return shape < P2PNIC_LINE_TRIE_RANGES_MAX && offset + 2 * shape + 1 <= walk->end &&
		       offset % 64 + shape <= 64;
	case P2PNIC_LINE_TRIE_BITMAP:
		return parts_valid(walk, offset, shape);
	case P2PNIC_LINE_TRIE_RANGES_OF_ENTRIES:
		return shape < P2PNIC_LINE_TRIE_RANGES_MAX && offset % 64 + shape <= 64 &&
		       entries_valid(walk, offset + ((shape + 7) & ~7u), shape + 1, octets - 1);
	case P2PNIC_LINE_TRIE_BITMAP_OF_ENTRIES:
		if (!version_1)
			return shape == P2PNIC_LINE_TRIE_TABLE &&
			       entries_valid(walk, offset, 256, octets - 1);
		if (shape || offset + 40 > walk->end)
			return false;
		for (unsigned part = 0; part < 4; part++) {
			if (node[32 + part] != runs)
				return false;
			__builtin_memcpy(&map, node + 8 * part, 8);
			runs += line_trie_popcount(map);
		}
		return runs < 256 && entries_valid(walk, offset + 40, runs + 1, octets - 1);
	default:
		return false;
	}
}

bool line_trie_valid(const struct p2pnic_fib_header *header)
{
	const bool version_1 = header->version == P2PNIC_FIB_VERSION;
	uint64_t slack = version_1 ? 8 : P2PNIC_LINE_TRIE_SLACK;
	struct walk walk = {
		(const uint8_t *)header, header->bytes - slack, header->version, header->bytes / 8};

	if (header->bytes < P2PNIC_LINE_TRIE_NODES + slack ||
		header->bytes > 8ull * P2PNIC_LINE_TRIE_UNITS_MAX)
		return false;
	for (unsigned i = 0; i < 256; i++)
		if (walk.image[P2PNIC_LINE_TRIE_LEAVES + 8 * i] != i)
			return false;
	for (uint32_t i = 0; i < 1u << P2PNIC_LINE_TRIE_ROOT_BITS; i++) {
		uint32_t entry = line_trie_root(header, i);

		if (version_1 && (entry & 0xfff) == 0 &&
			P2PNIC_LINE_TRIE_OFFSET(entry) < P2PNIC_LINE_TRIE_NODES) {
			if (P2PNIC_LINE_TRIE_OFFSET(entry) < P2PNIC_LINE_TRIE_LEAVES)
				return false;
		} else if (!node_valid(&walk, entry, header->family == 4 ? 2 : 14)) {
			return false;
		}
	}
	return true;
}

/* --- Lookups ---------------------------------------------------------------------------------- */

void line_trie_lookup4_scalar(
	const void *image, const uint32_t *address, uint16_t *next_hop, unsigned n)
{
	uint32_t entry[P2PNIC_BURST_MAX];

	for (unsigned i = 0; i < n; i++) {
		entry[i] = line_trie_root(image, address[i] >> 16);
		__builtin_prefetch((const uint8_t *)image + P2PNIC_LINE_TRIE_OFFSET(entry[i]));
	}
	for (unsigned i = 0; i < n; i++)
		next_hop[i] = line_trie_walk4(image, entry[i], address[i]);
}

/* The whole burst goes down one node at a time: as many reads in flight as lookups are not yet
 * done. */
void line_trie_lookup6_scalar(
	const void *image, const struct fib_ipv6 *address, uint16_t *next_hop, unsigned n)
{
	uint32_t entry[P2PNIC_BURST_MAX];
	uint8_t active[P2PNIC_BURST_MAX];
	unsigned left = 0;

	for (unsigned i = 0; i < n; i++) {
		entry[i] = line_trie_root(image, (uint32_t)(address[i].high >> 48));
		if (line_trie_is_long(entry[i]))
			entry[i] = line_trie_walk6(image, entry[i], &address[i]);
		active[left] = (uint8_t)i;
		left += !line_trie_is_leaf(entry[i]);
		__builtin_prefetch((const uint8_t *)image + P2PNIC_LINE_TRIE_OFFSET(entry[i]));
	}
	for (unsigned octet = 2; left; octet++) {
		unsigned still = 0;

		for (unsigned k = 0; k < left; k++) {
			unsigned i = active[k];

			entry[i] = line_trie_step6(image, entry[i], &address[i], octet);
			active[still] = (uint8_t)i;
			still += !line_trie_is_leaf(entry[i]);
			__builtin_prefetch(
				(const uint8_t *)image + P2PNIC_LINE_TRIE_OFFSET(entry[i]));
		}
		left = still;
	}
	for (unsigned i = 0; i < n; i++)
		next_hop[i] = (uint16_t)P2PNIC_LINE_TRIE_UNIT(entry[i]);
}

/*
 * Which version: the processor decides, so one machine takes only some of these branches;
 * test_fib_twin calls each version by name. ThreadSanitizer sees no synchronisation in vector loads
 * (on x86 every load acquires, but the language does not say so of intrinsics), and they read
 * neighbours' bytes to mask them off.
 */
#if defined(__x86_64__) && !defined(__SANITIZE_THREAD__)
#define VECTORS 1
#else
#define VECTORS 0
#endif
#ifdef __has_feature
#if __has_feature(thread_sanitizer)
#undef VECTORS
#define VECTORS 0
#endif
#endif

/* IPv6: so many are faster one by one. */
#define FEW 4u

void line_trie_lookup4(const void *image, const uint32_t *address, uint16_t *next_hop, unsigned n)
{
#if VECTORS
	if (x86_has_avx512()) {
		if (n < 8)
			line_trie_few4_avx512(image, address, next_hop, n);
		else
			line_trie_lookup4_avx512(image, address, next_hop, n);
		return;
	}
	if (n > 2 && x86_has_avx2()) {
		line_trie_lookup4_avx2(image, address, next_hop, n);
		return;
	}
#endif
	line_trie_lookup4_scalar(image, address, next_hop, n);
}

void line_trie_lookup6(
	const void *image, const struct fib_ipv6 *address, uint16_t *next_hop, unsigned n)
{
#if VECTORS
	const struct p2pnic_fib_header *header = image;

	if (header->version != P2PNIC_FIB_VERSION && x86_has_avx2()) {
		if (n < FEW)
			line_trie_few6_avx2(image, address, next_hop, n);
		else
			line_trie_lookup6_avx2(image, address, next_hop, n);
		return;
	}
#endif
	line_trie_lookup6_scalar(image, address, next_hop, n);
}
