/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The line trie's lookups in vector registers. Two passes over a burst:
 *
 *   1. across lookups, 16 at a time: entries from the root. Those that are leaves are done. Each
 *      other entry becomes four numbers, packed behind one another with the lookup's own number:
 *        at       where its map or its boundaries begin
 *        ranges   boundaries to count (RANGES; else 0)
 *        bits     bits of the map to count (BITMAP; else 0)
 *        leaf     where the leaves begin
 *   2. one lookup at a time: compare the whole line with the key, shift the boundaries' bits to the
 *      bottom, keep `ranges` of them; keep `bits` of the map; one of the two is empty, so
 *      rank = popcount(either); the leaf is at leaf + rank.
 *
 * No branch depends on an address: RANGES, BITMAP and leaves in the root mix at random, and the
 * same code with a branch between them ran at half the speed (Zen 4, addresses inside routes: 155
 * against 330 M/s). A line is compared whole because a load of the boundaries alone could touch two
 * lines.
 */
#include "fib_line_trie.h"

#include "x86.h"

#ifdef __x86_64__
#define TYPE_BITMAP  (P2PNIC_LINE_TRIE_BITMAP << 9)
#define TYPE_ENTRIES (P2PNIC_LINE_TRIE_RANGES_OF_ENTRIES << 9)
#define TYPE_LEAF    (P2PNIC_LINE_TRIE_LEAF << 9)

/* Entries below are leaves: of type LEAF (a next hop is a small unit) or in the table of leaves. */
#define LEAVES_END   (P2PNIC_LINE_TRIE_NODES / 8 << 12)
#define LEAVES_FIRST (P2PNIC_LINE_TRIE_LEAVES / 8)

/* Units before the key's part of a BITMAP of bytes: 2 for each part before, and its shape field. */
AVX512 static inline __m512i part_units(__m512i entry, __m512i part)
{
	const __m512i seven = _mm512_set1_epi32(7);
	__m512i units = _mm512_add_epi32(part, part);

	units = _mm512_mask_add_epi32(units, _mm512_cmpgt_epi32_mask(part, _mm512_setzero_si512()),
		units, _mm512_and_si512(entry, seven));
	units = _mm512_mask_add_epi32(units, _mm512_cmpgt_epi32_mask(part, _mm512_set1_epi32(1)),
		units, _mm512_and_si512(_mm512_srli_epi32(entry, 3), seven));
	return _mm512_mask_add_epi32(units, _mm512_cmpgt_epi32_mask(part, _mm512_set1_epi32(2)),
		units, _mm512_and_si512(_mm512_srli_epi32(entry, 6), seven));
}

AVX512 static inline unsigned rank_of(
	const uint8_t *image, uint64_t at, uint8_t key, uint32_t ranges, uint32_t bits)
{
	const void *line = image + (at & ~63ull);
	uint64_t below = _cvtmask64_u64(
		_mm512_cmple_epu8_mask(_mm512_load_si512(line), _mm512_set1_epi8((char)key)));
	uint64_t map;

	__builtin_memcpy(&map, image + at, 8);
	return (unsigned)_mm_popcnt_u64(
		_bzhi_u64(below >> (at & 63), ranges) | _bzhi_u64(map, bits));
}

/*
 * The same for IPv4 in two words, packed by fewer instructions: at, and the other three beside the
 * lookup's number as bytes {ranges, bits, leaf - at, number}.
 */
struct aim4 {
	uint32_t at[P2PNIC_BURST_MAX + 16];
	uint8_t rest[P2PNIC_BURST_MAX + 16][4];
} __attribute__((aligned(64)));

/* The next hops of entries that are leaves. */
AVX512 static inline __m512i leaf_of(__m512i entry)
{
	__m512i unit = _mm512_srli_epi32(entry, 12);
	__mmask16 in_table = _mm512_testn_epi32_mask(entry, _mm512_set1_epi32(TYPE_LEAF));

	return _mm512_mask_sub_epi32(unit, in_table, unit, _mm512_set1_epi32(LEAVES_FIRST));
}

/* The four numbers of one entry that is not of type LEAF or with entries. */
struct one {
	uint32_t at, leaf, ranges, bits;
};

__attribute__((target("bmi,bmi2"))) static inline struct one aim_one(
	uint32_t entry, uint32_t address)
{
	uint32_t part = address >> 14 & 3;
	uint32_t bitmap = -(entry >> 9 & 1); /* all ones or none */
	/* The fields before the part, spread to bytes and added up in the third. */
	uint32_t units =
		(_pdep_u32(_bzhi_u32(entry & 0x1ff, 3 * part), 0x070707) * 0x010101u >> 16 & 31) +
		2 * part;
	uint32_t at = P2PNIC_LINE_TRIE_OFFSET(entry) + (units * 8 & bitmap);
	uint32_t ranges = entry & 31 & ~bitmap;

	return (struct one){
		at, at + ranges + (8 & bitmap), ranges, ((address >> 8 & 63) + 1) & bitmap};
}

/* line_trie_step for a node of entries: boundaries are compared in one go. */
AVX512 static inline uint32_t step_entries(const uint8_t *image, uint32_t entry, uint32_t key)
{
	uint32_t at = P2PNIC_LINE_TRIE_OFFSET(entry), shape = P2PNIC_LINE_TRIE_SHAPE(entry);
	const p2pnic_fib_entry *next;

	if (entry & TYPE_BITMAP)
		return line_trie_step(image, entry, key);
	next = (const p2pnic_fib_entry *)(image + at + ((shape + 7) & ~7u)) +
	       rank_of(image, at, (uint8_t)key, shape, 0);
	return atomic_load_explicit(next, memory_order_acquire);
}

AVX512 static inline uint16_t lookup_one(const uint8_t *image, uint32_t address)
{
	uint32_t entry = line_trie_root(image, address >> 16);
	struct one one;

	while (!line_trie_is_leaf(entry) && entry & TYPE_ENTRIES) {
		entry = step_entries(image, entry, address >> 8 & 0xff);
		address <<= 8;
	}
	if (line_trie_is_leaf(entry))
		return (uint16_t)P2PNIC_LINE_TRIE_UNIT(entry);
	one = aim_one(entry, address);
	return image[one.leaf +
		     rank_of(image, one.at, (uint8_t)(address >> 8), one.ranges, one.bits)];
}

AVX512 void line_trie_few4_avx512(
	const void *image, const uint32_t *address, uint16_t *next_hop, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		next_hop[i] = lookup_one(image, address[i]);
}

/*
 * First pass, for 16 entries that are nodes of bytes (those of `some`), of lookups `number`, whose
 * key is in bits 8 to 15 of `address`: aims are packed behind `left` others. How many there are
 * now.
 */
AVX512 static inline unsigned aim16(struct aim4 *aim, unsigned left, __mmask16 some, __m512i entry,
	__m512i address, __m512i number)
{
	__m512i part = _mm512_and_si512(_mm512_srli_epi32(address, 14), _mm512_set1_epi32(3));
	__mmask16 bitmap = _mm512_test_epi32_mask(entry, _mm512_set1_epi32(TYPE_BITMAP));
	__m512i at = _mm512_and_si512(_mm512_srli_epi32(entry, 9), _mm512_set1_epi32(~7));
	__m512i ranges = _mm512_maskz_and_epi32(
		(__mmask16)~bitmap, entry, _mm512_set1_epi32(P2PNIC_LINE_TRIE_RANGES_MAX - 1));
	__m512i bits = _mm512_maskz_add_epi32(bitmap,
		_mm512_and_si512(_mm512_srli_epi32(address, 8), _mm512_set1_epi32(63)),
		_mm512_set1_epi32(1));
	__m512i packed = _mm512_mask_mov_epi32(ranges, bitmap, _mm512_set1_epi32(8));

	at = _mm512_mask_add_epi32(at, bitmap, at, _mm512_slli_epi32(part_units(entry, part), 3));
	packed = _mm512_or_si512(_mm512_slli_epi32(packed, 16), ranges);
	packed = _mm512_or_si512(packed, _mm512_slli_epi32(bits, 8));
	packed = _mm512_or_si512(packed, _mm512_slli_epi32(number, 24));
	_mm512_storeu_si512(aim->at + left, _mm512_maskz_compress_epi32(some, at));
	_mm512_storeu_si512(aim->rest + left, _mm512_maskz_compress_epi32(some, packed));
	return left + (unsigned)_mm_popcnt_u32(some);
}

/* Second pass: octet `octet` of the address, counted from the last, is the key. */
AVX512 static inline void shoot(const uint8_t *image, const struct aim4 *aim, unsigned n,
	const uint32_t *address, unsigned octet, uint16_t *next_hop)
{
#pragma GCC unroll 4
	for (unsigned k = 0; k < n; k++) {
		const uint8_t *rest = aim->rest[k];
		uint64_t at = aim->at[k], i = rest[3];
		uint8_t key = ((const uint8_t *)(address + i))[octet];

		next_hop[i] = image[at + rest[2] + rank_of(image, at, key, rest[0], rest[1])];
	}
}

/* Lookups that the first node, one of entries, does not end: mostly routes longer than 24 bits. */
AVX512 static void lookup_deep(
	const uint8_t *image, const uint32_t *address, uint16_t *next_hop, uint64_t deep)
{
	uint32_t entry[P2PNIC_BURST_MAX + 16], key[P2PNIC_BURST_MAX + 16];
	uint32_t number[P2PNIC_BURST_MAX + 16];
	unsigned n = 0, left = 0;
	struct aim4 aim;

	for (; deep; deep &= deep - 1) {
		uint32_t i = (uint32_t)__builtin_ctzll(deep), a = address[i];

		entry[n] = step_entries(image, line_trie_root(image, a >> 16), a >> 8 & 0xff);
		if (line_trie_is_leaf(entry[n])) {
			next_hop[i] = (uint16_t)P2PNIC_LINE_TRIE_UNIT(entry[n]);
		} else if (entry[n] & TYPE_ENTRIES) {
			next_hop[i] = lookup_one(image, a);
		} else {
			key[n] = a << 8;
			number[n++] = i;
		}
	}
	for (unsigned k = 0; k < n; k += 16)
		left = aim16(&aim, left, n - k < 16 ? (__mmask16)_bzhi_u32(0xffff, n - k) : 0xffff,
			_mm512_loadu_si512(entry + k), _mm512_loadu_si512(key + k),
			_mm512_loadu_si512(number + k));
	shoot(image, &aim, left, address, 0, next_hop);
}

AVX512 void line_trie_lookup4_avx512(
	const void *image, const uint32_t *address, uint16_t *next_hop, unsigned n)
{
	const uint8_t *const bytes = image;
	const __m512i lanes =
		_mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
	uint64_t deep = 0;
	unsigned left = 0;
	struct aim4 aim;

	for (unsigned i = 0; i < n; i += 16) {
		/* Whole where it can be: what a mask has stored, or loads, is not passed on by
		 * store queues. */
		const bool whole = n - i >= 16;
		__mmask16 some = whole ? 0xffff : (__mmask16)_bzhi_u32(0xffff, n - i);
		__m512i a = whole ? _mm512_loadu_si512(address + i)
				  : _mm512_maskz_loadu_epi32(some, address + i);
		__m512i entry = _mm512_i32gather_epi32(
			_mm512_srli_epi32(a, 16), bytes + P2PNIC_LINE_TRIE_ROOT, 4);
		__mmask16 rest =
			some & _mm512_cmpge_epu32_mask(entry, _mm512_set1_epi32((int)LEAVES_END));
		__mmask16 more =
			rest & _mm512_test_epi32_mask(entry, _mm512_set1_epi32(TYPE_ENTRIES));

		if (whole)
			_mm256_storeu_si256(
				(__m256i *)(next_hop + i), _mm512_cvtepi32_epi16(leaf_of(entry)));
		else
			_mm512_mask_cvtepi32_storeu_epi16(next_hop + i, some, leaf_of(entry));
		deep |= (uint64_t)more << i;
		left = aim16(&aim, left, rest & (__mmask16)~more, entry, a,
			_mm512_add_epi32(lanes, _mm512_set1_epi32((int)i)));
	}
	/* All the lines that the second pass reads are under way before it begins. */
	for (unsigned k = 0; k < left; k++)
		__builtin_prefetch(bytes + aim.at[k]);
	shoot(bytes, &aim, left, address, 1, next_hop);
	if (deep)
		lookup_deep(bytes, address, next_hop, deep);
}

/*
 * In 32-byte registers: the same two passes. The first one, eight lookups at a time, packs nothing:
 * lookups that are done or go on aim at the image's begin, which is read in vain. What is `at`
 * above is window + shift here (rank_of_avx2).
 */
struct aim {
	uint32_t window[P2PNIC_BURST_MAX + 8];
	uint32_t shift[P2PNIC_BURST_MAX + 8];
	uint32_t leaf[P2PNIC_BURST_MAX + 8];
	uint32_t ranges[P2PNIC_BURST_MAX + 8];
	uint32_t bits[P2PNIC_BURST_MAX + 8];
} __attribute__((aligned(32)));

/* Boundaries are at most 31 bytes of one line, so a window of 32 bytes, which begins at them or in
 * the middle of their line, has all of them; maps begin in it likewise. */
#define WINDOW_BYTES 32u
AVX2 static inline unsigned rank_of_avx2(const uint8_t *image, uint64_t window, uint64_t shift,
	uint8_t key, uint32_t ranges, uint32_t bits)
{
	const __m256i keys = _mm256_set1_epi8((char)key);
	const __m256i line = _mm256_loadu_si256((const __m256i *)(image + window));
	const uint32_t below = (uint32_t)_mm256_movemask_epi8(
		_mm256_cmpeq_epi8(_mm256_max_epu8(line, keys), keys));
	uint64_t map;

	__builtin_memcpy(&map, image + window + shift, 8);
	return (unsigned)_mm_popcnt_u64(_bzhi_u64(below >> shift, ranges) | _bzhi_u64(map, bits));
}

/* How far behind its window's begin a node lies. No branch: it could not be guessed. */
static inline uint32_t shift_of(uint32_t at)
{
	return at & (WINDOW_BYTES - 1) & -(at / WINDOW_BYTES & 1);
}

AVX2 static inline __m256i all32(uint32_t x)
{
	return _mm256_set1_epi32((int)x);
}

/* Entries of eight lookups, whose key is in bits 8 to 15 of `address`: their aims are i to i + 7.
 * The set of those that are no nodes of bytes. */
AVX2 static inline unsigned aim8(struct aim *aim, unsigned i, __m256i entry, __m256i address)
{
	const __m256i zero = _mm256_setzero_si256(), seven = all32(7);
	const __m256i node =
		_mm256_cmpeq_epi32(_mm256_and_si256(entry, all32(TYPE_ENTRIES | TYPE_LEAF)), zero);
	const __m256i ranged =
		_mm256_cmpeq_epi32(_mm256_and_si256(entry, all32(TYPE_BITMAP)), zero);
	const __m256i part = _mm256_and_si256(_mm256_srli_epi32(address, 14), all32(3));
	__m256i units = _mm256_add_epi32(part, part), at, leaf, ranges, bits, shift;

	units = _mm256_add_epi32(units,
		_mm256_and_si256(_mm256_cmpgt_epi32(part, zero), _mm256_and_si256(entry, seven)));
	units = _mm256_add_epi32(
		units, _mm256_and_si256(_mm256_cmpgt_epi32(part, all32(1)),
			       _mm256_and_si256(_mm256_srli_epi32(entry, 3), seven)));
	units = _mm256_add_epi32(
		units, _mm256_and_si256(_mm256_cmpgt_epi32(part, all32(2)),
			       _mm256_and_si256(_mm256_srli_epi32(entry, 6), seven)));
	at = _mm256_add_epi32(_mm256_and_si256(_mm256_srli_epi32(entry, 9), all32(~7u)),
		_mm256_andnot_si256(ranged, _mm256_slli_epi32(units, 3)));
	ranges = _mm256_and_si256(
		ranged, _mm256_and_si256(entry, all32(P2PNIC_LINE_TRIE_RANGES_MAX - 1)));
	bits = _mm256_andnot_si256(
		ranged, _mm256_add_epi32(_mm256_and_si256(_mm256_srli_epi32(address, 8), all32(63)),
				all32(1)));
	leaf = _mm256_add_epi32(
		_mm256_add_epi32(at, ranges), _mm256_andnot_si256(ranged, all32(8)));
	/* shift_of(at) */
	shift = _mm256_and_si256(_mm256_and_si256(at, all32(WINDOW_BYTES - 1)),
		_mm256_cmpgt_epi32(_mm256_and_si256(at, all32(63)), all32(WINDOW_BYTES - 1)));
	_mm256_storeu_si256(
		(__m256i *)(aim->window + i), _mm256_and_si256(_mm256_sub_epi32(at, shift), node));
	_mm256_storeu_si256((__m256i *)(aim->shift + i), shift);
	_mm256_storeu_si256((__m256i *)(aim->leaf + i), _mm256_and_si256(leaf, node));
	_mm256_storeu_si256((__m256i *)(aim->ranges + i), ranges);
	_mm256_storeu_si256((__m256i *)(aim->bits + i), bits);
	return (unsigned)_mm256_movemask_ps(_mm256_castsi256_ps(node)) ^ 0xff;
}

AVX2 static inline uint16_t shoot_one(
	const uint8_t *image, const struct aim *aim, unsigned i, uint8_t key)
{
	return image[aim->leaf[i] + rank_of_avx2(image, aim->window[i], aim->shift[i], key,
					    aim->ranges[i], aim->bits[i])];
}

/* line_trie_step without a branch between kinds of nodes. Four bytes are read of a byte, too. */
AVX2 static inline uint32_t step_avx2(const uint8_t *image, uint32_t entry, uint32_t key)
{
	const uint32_t bitmap = -(entry >> 9 & 1), entries = -(entry >> 10 & 1); /* all or none */
	const uint32_t offset = P2PNIC_LINE_TRIE_OFFSET(entry), part = key >> 6;
	const uint32_t ranges = entry & (P2PNIC_LINE_TRIE_RANGES_MAX - 1) & ~bitmap;
	const uint32_t of_bytes =
		(_pdep_u32(_bzhi_u32(entry & 0x1ff, 3 * part), 0x070707) * 0x010101u >> 16 & 31) +
		2 * part;
	const uint32_t units = (part & entries) | (of_bytes & ~entries);
	const uint32_t at = offset + (8 * units & bitmap);
	const uint32_t before = image[offset + ((32 + part) & bitmap & entries)];
	const uint32_t round = 7 & entries;
	uint32_t word, begin = offset + ((ranges + round) & ~round);

	begin = (begin & ~bitmap) | ((at + 8) & bitmap & ~entries) |
		((offset + 40 + 4 * before) & bitmap & entries);
	begin += rank_of_avx2(image, at - shift_of(at), shift_of(at), (uint8_t)key, ranges,
			 ((key & 63) + 1) & bitmap)
		 << (entries & 2);
	__builtin_memcpy(&word, image + begin, 4);
	return (word & entries) | ((word & 0xff) << 12 & ~entries) | (TYPE_LEAF & ~entries);
}

/* How many boundaries at `at`, of `count`, are ≤ key. */
AVX2 static inline uint32_t rank_of_ranges(
	const uint8_t *image, uint32_t at, uint8_t key, uint32_t count)
{
	return rank_of_avx2(image, at - shift_of(at), shift_of(at), key, count, 0);
}

/*
 * The whole way where the root leads to a node of entries, as it does to subnets and neighbours of
 * this router. Mostly that is one of RANGES, and below it is a leaf or another: those without a
 * branch between them.
 */
AVX2 static inline uint16_t lookup_entries(const uint8_t *image, uint32_t entry, uint32_t address)
{
	const uint8_t third = (uint8_t)(address >> 8), fourth = (uint8_t)address; /* octets */

	uint32_t at = P2PNIC_LINE_TRIE_OFFSET(entry), leaf;
	uint32_t count = entry & (P2PNIC_LINE_TRIE_RANGES_MAX - 1);

	if (__builtin_expect(entry & TYPE_BITMAP, 0))
		entry = line_trie_step(image, entry, third);
	else
		entry = atomic_load_explicit(
			(const p2pnic_fib_entry *)(image + at + ((count + 7) & ~7u)) +
				rank_of_ranges(image, at, third, count),
			memory_order_acquire);
	if (__builtin_expect(entry & (TYPE_BITMAP | TYPE_ENTRIES), 0))
		return (uint16_t)P2PNIC_LINE_TRIE_UNIT(line_trie_step(image, entry, fourth));
	/* A leaf has no node: the unit that it names, its next hop, is read in vain. */
	at = P2PNIC_LINE_TRIE_OFFSET(entry);
	count = entry & (P2PNIC_LINE_TRIE_RANGES_MAX - 1);
	at += count + rank_of_ranges(image, at, fourth, count);
	leaf = -(entry / TYPE_LEAF & 1); /* all ones or none */
	return (uint16_t)((P2PNIC_LINE_TRIE_UNIT(entry) & leaf) | (image[at] & ~leaf));
}

/* Eight lookups in one node of RANGES of bytes. */
AVX2 static inline void lookup_ranges(
	const uint8_t *image, uint32_t entry, const uint32_t *address, uint16_t *next_hop)
{
	const uint32_t at = P2PNIC_LINE_TRIE_OFFSET(entry), shift = shift_of(at);
	const uint32_t count = entry & (P2PNIC_LINE_TRIE_RANGES_MAX - 1);
	const __m256i line = _mm256_loadu_si256((const __m256i *)(image + at - shift));
	const uint8_t *leaf = image + at + count;

#pragma GCC unroll 8
	for (unsigned k = 0; k < 8; k++) {
		const __m256i keys = _mm256_set1_epi8((char)(address[k] >> 8));
		const uint32_t below = (uint32_t)_mm256_movemask_epi8(
			_mm256_cmpeq_epi8(_mm256_max_epu8(line, keys), keys));

		next_hop[k] = leaf[_mm_popcnt_u32(_bzhi_u32(below >> shift, count))];
	}
}

/* Lookups that their first node, one of entries, does not end. */
AVX2 static void lookup_deep_avx2(
	const uint8_t *image, const uint32_t *address, uint16_t *next_hop, uint64_t deep)
{
	uint32_t entry[P2PNIC_BURST_MAX + 8], key[P2PNIC_BURST_MAX + 8];
	uint8_t number[P2PNIC_BURST_MAX];
	unsigned n = 0;
	struct aim aim;

	for (; deep; deep &= deep - 1) {
		unsigned i = (unsigned)__builtin_ctzll(deep);
		uint32_t e = line_trie_root(image, address[i] >> 16);

		if (!line_trie_is_leaf(e))
			e = step_avx2(image, e, address[i] >> 8 & 0xff);
		if (!line_trie_is_leaf(e) && e & TYPE_ENTRIES)
			e = step_avx2(image, e, address[i] & 0xff);
		next_hop[i] = (uint16_t)P2PNIC_LINE_TRIE_UNIT(e);
		entry[n] = e;
		key[n] = address[i] << 8;
		number[n] = (uint8_t)i;
		n += !line_trie_is_leaf(e);
	}
	for (unsigned k = 0; k < 8; k++) /* what is aimed at beyond the last */
		entry[n + k] = TYPE_LEAF, key[n + k] = 0;
	for (unsigned k = 0; k < n; k += 8)
		aim8(&aim, k, _mm256_loadu_si256((const __m256i *)(entry + k)),
			_mm256_loadu_si256((const __m256i *)(key + k)));
	for (unsigned k = 0; k < n; k++)
		next_hop[number[k]] = shoot_one(image, &aim, k, (uint8_t)(key[k] >> 8));
}

AVX2 void line_trie_lookup4_avx2(
	const void *image, const uint32_t *address, uint16_t *next_hop, unsigned n)
{
	const uint8_t *const bytes = image;
	uint64_t deep = 0;
	unsigned i, rest, aimed = 0;
	uint8_t group[P2PNIC_BURST_MAX / 8];
	struct aim aim;

	for (i = 0; i + 8 <= n; i += 8) {
		const uint32_t *a = address + i;
		uint32_t e[8], all = ~0u, any = 0;

		/* No gather: on some processors it takes longer than eight loads. */
#pragma GCC unroll 8
		for (unsigned k = 0; k < 8; k++) {
			e[k] = line_trie_root(image, a[k] >> 16);
			all &= e[k];
			any |= e[k];
		}
		/* All of one /16, or to nodes of entries: in a small table nearly always, in a
		 * large one nearly never. */
		if (all == any && !(any & (TYPE_BITMAP | TYPE_ENTRIES | TYPE_LEAF))) {
			lookup_ranges(image, any, a, next_hop + i);
			continue;
		}
		if (all & TYPE_ENTRIES) {
			for (unsigned k = 0; k < 8; k++)
				next_hop[i + k] = lookup_entries(image, e[k], a[k]);
			continue;
		}
		deep |= (uint64_t)aim8(&aim, i,
				_mm256_setr_epi32((int)e[0], (int)e[1], (int)e[2], (int)e[3],
					(int)e[4], (int)e[5], (int)e[6], (int)e[7]),
				_mm256_loadu_si256((const __m256i *)a))
			<< i;
		for (unsigned k = 0; k < 8; k++)
			__builtin_prefetch(bytes + aim.window[i + k]);
		group[aimed++] = (uint8_t)i;
	}
	rest = i;
	for (; i < n; i++) {
		uint32_t entry = line_trie_root(image, address[i] >> 16);
		uint64_t more = (entry & (TYPE_ENTRIES | TYPE_LEAF)) != 0;
		struct one one = aim_one(entry, address[i]);

		aim.window[i] = (one.at - shift_of(one.at)) & ((uint32_t)more - 1);
		aim.shift[i] = shift_of(one.at);
		aim.leaf[i] = one.leaf & ((uint32_t)more - 1);
		aim.ranges[i] = one.ranges;
		aim.bits[i] = one.bits;
		deep |= more << i;
	}
	for (unsigned g = 0; g < aimed; g++)
		for (unsigned k = group[g]; k < group[g] + 8u; k++)
			next_hop[k] = shoot_one(bytes, &aim, k, (uint8_t)(address[k] >> 8));
	for (i = rest; i < n; i++)
		next_hop[i] = shoot_one(bytes, &aim, i, (uint8_t)(address[i] >> 8));
	if (deep)
		lookup_deep_avx2(bytes, address, next_hop, deep);
}

#endif
