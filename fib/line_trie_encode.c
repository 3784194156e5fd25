/* SPDX-License-Identifier: BSD-3-Clause */
#include "line_trie_encode.h"

#include <string.h>

#include "firmware/fib_line_trie.h"

#define UNITS(bytes) (((bytes) + 7u) / 8u)

static void encode_ranges(
	struct encoded *e, const uint32_t *slot, const uint64_t *begins, unsigned runs, bool bytes)
{
	uint64_t map[4] = {begins[0], begins[1], begins[2], begins[3]};
	unsigned count = runs - 1, i = 0, values = bytes ? count : (count + 7) & ~7u;

	e->shape = count;
	memset(e->byte + count, 0, values - count);
	for (int run = -1; run < (int)count; run++) {
		unsigned first = 0;

		if (run >= 0) {
			while (!map[i])
				i++;
			first = 64 * i + (unsigned)__builtin_ctzll(map[i]);
			map[i] &= map[i] - 1;
			e->byte[run] = (uint8_t)first;
		}
		if (bytes)
			e->byte[values + (unsigned)(run + 1)] =
				(uint8_t)P2PNIC_LINE_TRIE_UNIT(slot[first]);
		else
			memcpy(e->byte + values + 4 * (unsigned)(run + 1), &slot[first], 4);
	}
	if (bytes) {
		e->type = P2PNIC_LINE_TRIE_RANGES;
		e->units = UNITS(2 * count + 1);
		e->head = e->units;
		e->values = 0;
	} else {
		e->type = P2PNIC_LINE_TRIE_RANGES_OF_ENTRIES;
		e->units = UNITS(values + 4 * runs);
		e->head = e->units <= 8 ? e->units : UNITS(count);
		e->values = values;
	}
}

static void encode_bitmap_of_bytes(struct encoded *e, const uint32_t *slot, const uint64_t *map)
{
	uint8_t *to = e->byte;

	e->type = P2PNIC_LINE_TRIE_BITMAP;
	e->shape = 0;
	e->values = 0;
	for (unsigned part = 0; part < 4; part++) {
		/* Every part begins a run of its own: a lookup reads one part only. */
		uint64_t begins = map[part] & ~1ull;
		unsigned runs = 0, units;

		memcpy(to, &begins, 8);
		to[8] = (uint8_t)P2PNIC_LINE_TRIE_UNIT(slot[64 * part]);
		for (uint64_t left = begins; left; left &= left - 1)
			to[8 + ++runs] = (uint8_t)P2PNIC_LINE_TRIE_UNIT(
				slot[64 * part + (unsigned)__builtin_ctzll(left)]);
		units = UNITS(8 + 1 + runs);
		memset(to + 9 + runs, 0, 8 * units - 9 - runs);
		if (part < 3)
			e->shape |= (units - 2) << 3 * part;
		to += 8 * units;
	}
	e->units = (uint32_t)(to - e->byte) / 8;
	e->head = 1;
}

static void encode_bitmap_of_entries(
	struct encoded *e, const uint32_t *slot, const uint64_t *map, unsigned runs)
{
	uint8_t *to = e->byte + 40;
	unsigned before = 0;

	e->type = P2PNIC_LINE_TRIE_BITMAP_OF_ENTRIES;
	e->shape = 0;
	memcpy(e->byte, map, 32);
	memset(e->byte + 32, 0, 8);
	memcpy(to, &slot[0], 4);
	to += 4;
	for (unsigned part = 0; part < 4; part++) {
		e->byte[32 + part] = (uint8_t)before;
		before += line_trie_popcount(map[part]);
		for (uint64_t left = map[part]; left; left &= left - 1, to += 4)
			memcpy(to, &slot[64 * part + (unsigned)__builtin_ctzll(left)], 4);
	}
	e->units = UNITS(40 + 4 * runs);
	e->head = 5;
	e->values = 40;
}

void encode(struct encoded *e, const uint32_t *slot)
{
	uint64_t map[4];
	unsigned runs = 1;
	bool bytes = true;

	for (unsigned part = 0; part < 4; part++) {
		const uint32_t *s = slot + 64 * part;
		uint64_t begins = part ? s[0] != s[-1] : 0;

		for (unsigned i = 1; i < 64; i++)
			begins |= (uint64_t)(s[i] != s[i - 1]) << i;
		map[part] = begins;
		runs += line_trie_popcount(begins);
	}
	if (runs == 1) {
		e->type = P2PNIC_LINE_TRIE_LEAF;
		e->leaf = slot[0];
		e->units = 0;
		return;
	}
	/* Leaves of one byte: all are of type LEAF, and all next hops below 256. */
	for (unsigned part = 0; part < 4; part++) {
		bool all = true;

		for (unsigned i = 0; i < 64; i++)
			all &= (slot[64 * part + i] & 0xfff) == P2PNIC_LINE_TRIE_LEAF << 9 &&
			       slot[64 * part + i] < 256u << 12;
		bytes &= all;
	}
	if (runs <= P2PNIC_LINE_TRIE_RANGES_MAX)
		encode_ranges(e, slot, map, runs, bytes);
	else if (bytes)
		encode_bitmap_of_bytes(e, slot, map);
	else
		encode_bitmap_of_entries(e, slot, map, runs);
	if (e->values || e->type == P2PNIC_LINE_TRIE_RANGES) {
		/* The last unit's unused bytes: zero, so that equal nodes are equal bytes. */
		uint32_t bytes_used = e->values ? e->values + 4 * runs : 2 * e->shape + 1;

		memset(e->byte + bytes_used, 0, 8 * e->units - bytes_used);
	}
}

uint64_t encoded_word(const void *image, uint32_t entry, uint32_t key)
{
	uint64_t offset = P2PNIC_LINE_TRIE_OFFSET(entry), map;
	const uint8_t *node = (const uint8_t *)image + offset;
	uint32_t shape = P2PNIC_LINE_TRIE_SHAPE(entry);

	if (P2PNIC_LINE_TRIE_TYPE(entry) == P2PNIC_LINE_TRIE_RANGES_OF_ENTRIES)
		return offset + ((shape + 7) & ~7u) + 4 * line_trie_rank(node, shape, key);
	memcpy(&map, node + 8 * (key >> 6), 8);
	return offset + 40 + 4 * (node[32 + (key >> 6)] + line_trie_runs(map, key));
}
