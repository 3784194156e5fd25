/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * FIB images that are wrong in one word each: fib_image_valid refuses every one, whatever the word
 * leads to.
 */
#include "fib/fib_image.h"
#include "fib/line_trie_encode.h"
#include "firmware/fib_line_trie.h"
#include "firmware/fib_lookup.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define ROOM (4u << 20)

struct image {
	uint8_t *bytes, *good;
	uint64_t used;
	unsigned family;
};

/* Routes that need every type of node. */
static struct image image_of(unsigned family, unsigned kind, bool version_1)
{
	const struct fib_config config = {family, kind, ROOM, version_1};
	struct image i = {.family = family};
	struct error error = {""};
	struct fib *fib = fib_new(&config, &error);
	static struct fib_route route[1200];
	size_t n = 0;

	assert_non_null(fib);
	for (unsigned k = 0; k < 1000; k++) {
		uint32_t address = k < 200   ? 0x0a000000 | k << 8 /* many runs in a node */
				   : k < 300 ? 0x0a640000 | (k - 200) << 10
					     : 0x0b000000 | (k - 300) << 9;

		route[n++] = family == 4
				     ? fib_route4(address, 24, (uint16_t)(1 + k % 200))
				     : (struct fib_route){{(uint64_t)address << 24 | 1ull << 61, 0},
					       48, 6, (uint16_t)(1 + k % 200)};
	}
	for (unsigned k = 0; k < 100; k++) /* below them */
		route[n++] =
			family == 4 ? fib_route4(0x0a000001 + k * 0x203, 32, (uint16_t)(1 + k * 40))
				    : (struct fib_route){{0x2000000a00000000 + k * 0x20003ull, 5},
					      128, 6, (uint16_t)(1 + k * 40)};
	if (family == 6) {
		route[n++] = (struct fib_route){{0x3001000100000000, 0}, 48, 6, 7};
		route[n++] = (struct fib_route){{0x3001000100000005, 0}, 64, 6, 8};
	}
	if (fib_build(fib, route, n, &error))
		fail_msg("%s", error.text);
	i.bytes = aligned_alloc(64, ROOM);
	i.good = malloc(ROOM);
	memset(i.bytes, 0, ROOM);
	fib_image_write(fib, i.bytes);
	fib_image(fib, &i.used);
	fib_free(fib);
	memcpy(i.good, i.bytes, ROOM);
	assert_true(fib_image_valid(i.bytes, ROOM, family));
	return i;
}

static void image_free(struct image *i)
{
	free(i->bytes);
	free(i->good);
}

/* With that word the image is refused; whole again it is not. */
static void refused(struct image *i, uint64_t offset, uint64_t word, unsigned bytes)
{
	memcpy(i->bytes + offset, &word, bytes);
	if (fib_image_valid(i->bytes, ROOM, i->family))
		fail_msg("IPv%u: %#llx at %#llx is taken", i->family, (unsigned long long)word,
			(unsigned long long)offset);
	memcpy(i->bytes, i->good, ROOM);
	assert_true(fib_image_valid(i->bytes, ROOM, i->family));
}

#define HEADER(field) offsetof(struct p2pnic_fib_header, field)

static void wrong_header(struct image *i)
{
	uint64_t bytes = ((struct p2pnic_fib_header *)i->bytes)->bytes;

	assert_false(fib_image_valid(i->bytes + 8, ROOM - 8, i->family));
	assert_false(fib_image_valid(i->bytes, 63, i->family));
	assert_false(fib_image_valid(i->bytes, bytes - 1, i->family));
	assert_false(fib_image_valid(i->bytes, ROOM, i->family == 4 ? 6 : 4));
	refused(i, HEADER(magic), 0, 4);
	refused(i, HEADER(version), 0, 2);
	refused(i, HEADER(version), P2PNIC_FIB_VERSION_WIDE + 1, 2);
	refused(i, HEADER(kind), 3, 1);
	refused(i, HEADER(bytes), ROOM + 64, 8);
	refused(i, HEADER(bytes), 0, 8);
	refused(i, HEADER(bytes), 64, 8);
	refused(i, HEADER(bytes), bytes - 32, 8);
	/* No family but these, not even where image and caller agree. */
	i->bytes[HEADER(family)] = 5;
	assert_false(fib_image_valid(i->bytes, ROOM, 5));
	memcpy(i->bytes, i->good, ROOM);
}

#define TABLE(field) (root + offsetof(struct p2pnic_state_jump, field))

static void wrong_state_jump(unsigned family)
{
	struct image i = image_of(family, P2PNIC_FIB_STATE_JUMP, false);
	const struct p2pnic_fib_header *header = (const void *)i.good;
	uint64_t root = atomic_load(&header->root);
	const struct p2pnic_state_jump *t = (const void *)(i.good + root);
	uint32_t last = t->levels, level1 = t->first[1], other = family == 4 ? 6 : 4;

	wrong_header(&i);
	refused(&i, HEADER(version), P2PNIC_FIB_VERSION_WIDE, 2);
	refused(&i, HEADER(family), other, 1);
	refused(&i, HEADER(root), root + 4, 8);
	refused(&i, HEADER(root), 0, 8);
	refused(&i, HEADER(root), header->bytes + 64, 8);
	refused(&i, HEADER(root), header->bytes - 64, 8);
	refused(&i, TABLE(levels), 0, 4);
	refused(&i, TABLE(levels), P2PNIC_STATE_JUMP_LEVELS_MAX + 1, 4);
	refused(&i, TABLE(stride[1]), 0, 1);
	refused(&i, TABLE(stride[1]), 25, 1);
	refused(&i, TABLE(stride[1]), t->stride[1] - 1u, 1);
	refused(&i, TABLE(entries[1]), (1u << t->stride[1]) - 1, 4);
	refused(&i, TABLE(entries[1]), UINT32_MAX, 4);
	refused(&i, TABLE(first[last]), UINT32_MAX, 4);
	for (uint32_t k = 0; k < 1u << t->stride[1]; k += 999) {
		uint64_t at = root + 4ull * (level1 + k);

		refused(&i, at, P2PNIC_STATE_JUMP_ENTRY(P2PNIC_NEXT_HOPS_MAX, 0), 4);
		refused(&i, at, P2PNIC_STATE_JUMP_ENTRY(0, 1), 4); /* round and round */
		refused(&i, at, P2PNIC_STATE_JUMP_ENTRY(0, 3), 4);
		refused(&i, at, P2PNIC_STATE_JUMP_ENTRY(t->entries[2], 2), 4);
	}
	refused(&i, root + 4ull * t->first[last], P2PNIC_STATE_JUMP_ENTRY(0, last + 1), 4);
	image_free(&i);
}

static void state_jump(void **state)
{
	wrong_state_jump(4);
	wrong_state_jump(6);
}

static uint32_t word_at(const struct image *i, uint64_t offset)
{
	uint32_t word;

	memcpy(&word, i->good + offset, 4);
	return word;
}

/* The first root entry of that type and a node of its own; 0: none. */
static uint64_t root_of_type(const struct image *i, unsigned type, bool shaped)
{
	for (uint64_t at = P2PNIC_LINE_TRIE_ROOT; at < P2PNIC_LINE_TRIE_LEAVES; at += 4) {
		uint32_t e = word_at(i, at);

		if (P2PNIC_LINE_TRIE_TYPE(e) == type &&
			P2PNIC_LINE_TRIE_OFFSET(e) >= P2PNIC_LINE_TRIE_NODES &&
			(!shaped || P2PNIC_LINE_TRIE_SHAPE(e)))
			return at;
	}
	return 0;
}

/* What images of version 2 alone have, or may not have. */
static void wrong_wide(struct image *i)
{
	const uint32_t end = (uint32_t)(((const struct p2pnic_fib_header *)i->good)->bytes / 8);
	const uint32_t nodes = P2PNIC_LINE_TRIE_NODES / 8;
	/* Of 200a:1::/32: a node of entries at depth 16, a TABLE at 24, a WIDE one at 32. */
	const uint64_t at16 = P2PNIC_LINE_TRIE_ROOT + 4 * 0x200a;
	const uint64_t at24 = encoded_word(i->good, word_at(i, at16), 0);
	const uint64_t at32 = encoded_word(i->good, word_at(i, at24), 1);
	const uint32_t table = word_at(i, at24), wide = word_at(i, at32);
	const uint32_t of_bytes[] = {P2PNIC_LINE_TRIE_RANGES, P2PNIC_LINE_TRIE_BITMAP};
	const uint64_t leaf = P2PNIC_LINE_TRIE_OFFSET(wide) +
			      2ull * (P2PNIC_LINE_TRIE_SHAPE(wide) - P2PNIC_LINE_TRIE_WIDE);

	assert_int_equal(
		table & 0xfff, P2PNIC_LINE_TRIE_ENTRY(0, P2PNIC_LINE_TRIE_BITMAP_OF_ENTRIES,
				       P2PNIC_LINE_TRIE_TABLE));
	assert_int_equal(wide & 0xfe0,
		P2PNIC_LINE_TRIE_ENTRY(0, P2PNIC_LINE_TRIE_RANGES, P2PNIC_LINE_TRIE_WIDE));
	/* No WIDE node but at depth 32, none too long or over a line, no leaf beyond the last. */
	refused(i, at16, wide, 4);
	refused(i, at24, wide, 4);
	refused(i, at32, wide | P2PNIC_LINE_TRIE_WIDE_MAX, 4);
	refused(i, at32,
		P2PNIC_LINE_TRIE_ENTRY(
			nodes | 7, P2PNIC_LINE_TRIE_RANGES, P2PNIC_LINE_TRIE_WIDE | 2),
		4);
	refused(i, leaf, P2PNIC_NEXT_HOPS_MAX, 2);
	refused(i, leaf + 2, P2PNIC_NEXT_HOPS_MAX, 2);
	/* No nodes of bytes before depth 40, no bitmaps of entries, no other shape of a table. */
	for (unsigned k = 0; k < 2; k++) {
		uint32_t node = P2PNIC_LINE_TRIE_ENTRY(nodes, of_bytes[k], 0);

		refused(i, at16, node, 4);
		refused(i, at24, node, 4);
		refused(i, at32, node, 4);
	}
	refused(i, at24, table & ~P2PNIC_LINE_TRIE_TABLE, 4);
	refused(i, at24, table | 1, 4);
	/* The image's last line holds no node. */
	refused(i, at16, P2PNIC_LINE_TRIE_ENTRY(end - 8, P2PNIC_LINE_TRIE_RANGES_OF_ENTRIES, 0), 4);
	refused(i, at24, (end - 8 - 127) << 12 | (table & 0xfff), 4);
	refused(i, P2PNIC_LINE_TRIE_ROOT, P2PNIC_LINE_TRIE_NEXT_HOP(1), 4);
	/* Nor is such an image one of version 1. */
	refused(i, HEADER(version), P2PNIC_FIB_VERSION, 2);
}

/* The image is taken with a LONG node of leaves at `unit`, to which the entry at `at` leads. */
static bool takes_long(struct image *i, uint64_t at, uint32_t unit, unsigned count)
{
	const uint32_t leaf = P2PNIC_LINE_TRIE_ENTRY(1, P2PNIC_LINE_TRIE_LEAF, 0);
	const uint32_t entry = P2PNIC_LINE_TRIE_ENTRY(
		unit, P2PNIC_LINE_TRIE_RANGES_OF_ENTRIES, P2PNIC_LINE_TRIE_LONG | count);
	uint8_t *node = i->bytes + 8ull * unit;
	bool taken;

	for (unsigned k = 0; k <= count; k++)
		memcpy(node + ((4 * count + 7) & ~7u) + 4 * k, &leaf, 4);
	memcpy(i->bytes + at, &entry, 4);
	taken = fib_image_valid(i->bytes, ROOM, 6);
	memcpy(i->bytes, i->good, ROOM);
	return taken;
}

/* Version 3 has LONG nodes, at depth 16 alone, their boundaries in one line. */
static void wrong_long(struct image *i)
{
	const uint32_t end = (uint32_t)(((const struct p2pnic_fib_header *)i->good)->bytes / 8);
	const uint32_t unused = end - 64; /* on a line */
	const uint64_t at16 = P2PNIC_LINE_TRIE_ROOT + 4 * 0x3001;
	const uint64_t at24 =
		encoded_word(i->good, word_at(i, P2PNIC_LINE_TRIE_ROOT + 4 * 0x200a), 0);
	const uint32_t entry = word_at(i, at16);
	const uint64_t child = encoded_word(i->good, entry, 0x10000);

	assert_int_equal(
		entry & 0xfff, P2PNIC_LINE_TRIE_ENTRY(0, P2PNIC_LINE_TRIE_RANGES_OF_ENTRIES,
				       P2PNIC_LINE_TRIE_LONG | 2));
	assert_false(line_trie_is_leaf(word_at(i, child)));
	refused(i, child, P2PNIC_LINE_TRIE_ENTRY(P2PNIC_NEXT_HOPS_MAX, P2PNIC_LINE_TRIE_LEAF, 0),
		4);
	refused(i, child, entry, 4);
	refused(i, HEADER(version), P2PNIC_FIB_VERSION_2, 2);
	assert_true(takes_long(i, at16, unused, 0));
	assert_true(takes_long(i, at16, unused, 16));
	assert_true(takes_long(i, at16, unused + 4, 8));
	assert_false(takes_long(i, at16, unused + 5, 8));
	assert_false(takes_long(i, at16, unused + 1, 16));
	assert_false(takes_long(i, at16, unused, 17));
	assert_false(takes_long(i, at24, unused, 8));
	/* The last line is no node's. */
	assert_true(takes_long(i, at16, end - 8 - 7, 6));
	assert_false(takes_long(i, at16, end - 8 - 6, 6));
	/* Without it, it is an image of version 2 as well. */
	memset(i->bytes + at16, 0, 4);
	memcpy(i->bytes + at16, i->good + P2PNIC_LINE_TRIE_ROOT, 4);
	memcpy(i->bytes + HEADER(version), &(uint16_t){P2PNIC_FIB_VERSION_2}, 2);
	assert_true(fib_image_valid(i->bytes, ROOM, 6));
	memcpy(i->bytes, i->good, ROOM);
}

static void wrong_line_trie(unsigned family, bool version_1)
{
	struct image i = image_of(family, P2PNIC_FIB_LINE_TRIE, version_1);
	uint64_t bytes = ((const struct p2pnic_fib_header *)i.good)->bytes;
	uint32_t end = (uint32_t)(bytes / 8), nodes = P2PNIC_LINE_TRIE_NODES / 8;
	const uint64_t any = P2PNIC_LINE_TRIE_ROOT + 4 * 77;
	uint32_t random = 1;

	wrong_header(&i);
	refused(&i, HEADER(bytes), P2PNIC_LINE_TRIE_NODES / 64 * 64, 8);

	{
		/* More than units can name. */
		uint64_t many = 8ull * P2PNIC_LINE_TRIE_UNITS_MAX + 64;

		memcpy(i.bytes + HEADER(bytes), &many, 8);
		assert_false(fib_image_valid(i.bytes, many, family));
		memcpy(i.bytes, i.good, ROOM);
	}
	for (unsigned k = 0; k < 256; k += 51)
		refused(&i, P2PNIC_LINE_TRIE_LEAVES + 8 * k, k + 1, 1);
	refused(&i, any, P2PNIC_LINE_TRIE_ENTRY(0, P2PNIC_LINE_TRIE_RANGES, 0), 4);
	refused(&i, any, P2PNIC_LINE_TRIE_ENTRY(P2PNIC_NEXT_HOPS_MAX, P2PNIC_LINE_TRIE_LEAF, 0), 4);
	for (unsigned type = 0; type < 8; type++) {
		uint64_t at = root_of_type(&i, type, false);
		uint32_t e, unit;

		if (type == P2PNIC_LINE_TRIE_LEAF)
			continue;
		refused(&i, any, P2PNIC_LINE_TRIE_ENTRY(end - 1, type, 1),
			4); /* the last 8 bytes */
		refused(&i, any, P2PNIC_LINE_TRIE_ENTRY(nodes - 1, type, 1), 4);
		refused(&i, any, P2PNIC_LINE_TRIE_ENTRY((1u << 20) - 1, type, 1), 4);
		refused(&i, any, P2PNIC_LINE_TRIE_ENTRY(end - 2, type, type < 3 ? 9 : 0), 4);
		if (type > P2PNIC_LINE_TRIE_LEAF) /* no such type */
			refused(&i, any, P2PNIC_LINE_TRIE_ENTRY(nodes, type, 0), 4);
		if (!at)
			continue;
		e = word_at(&i, at);
		unit = P2PNIC_LINE_TRIE_UNIT(e);
		switch (type) {
		case P2PNIC_LINE_TRIE_RANGES:
		case P2PNIC_LINE_TRIE_RANGES_OF_ENTRIES:
			refused(&i, at, P2PNIC_LINE_TRIE_ENTRY(unit, type, 32), 4);
			refused(&i, at, P2PNIC_LINE_TRIE_ENTRY(end - 2, type, 31), 4);
			/* Boundaries over a line. */
			refused(&i, at, P2PNIC_LINE_TRIE_ENTRY((nodes | 7) + 8, type, 31), 4);
			break;
		case P2PNIC_LINE_TRIE_BITMAP:
			refused(&i, at, P2PNIC_LINE_TRIE_ENTRY(end - 2, type, 0), 4);
			refused(&i, at, P2PNIC_LINE_TRIE_ENTRY(end - 5, type, 0x1ff), 4);
			break;
		case P2PNIC_LINE_TRIE_BITMAP_OF_ENTRIES:
			refused(&i, at, P2PNIC_LINE_TRIE_ENTRY(unit, type, 1), 4);
			refused(&i, at, P2PNIC_LINE_TRIE_ENTRY(unit, type, P2PNIC_LINE_TRIE_TABLE),
				4);
			refused(&i, at, P2PNIC_LINE_TRIE_ENTRY(end - 4, type, 0), 4);
			refused(&i, unit * 8ull + 33, i.good[unit * 8ull + 33] + 1u, 1);
			break;
		}
	}
	/* Nodes that lead to themselves, as deep as an address is long. */
	for (unsigned type = 2; type < 4; type++) {
		uint64_t at = root_of_type(&i, type, false);
		uint32_t e = at ? word_at(&i, at) : 0, shape = P2PNIC_LINE_TRIE_SHAPE(e);
		uint64_t first = P2PNIC_LINE_TRIE_OFFSET(e) + (type == 2 ? (shape + 7) & ~7u : 40);

		if (at)
			refused(&i, first, e, 4);
	}
	/* 256 runs and one before them: a map's very first bit is never set. */
	{
		uint8_t *node = i.bytes + P2PNIC_LINE_TRIE_NODES;
		uint32_t e = P2PNIC_LINE_TRIE_ENTRY(nodes, P2PNIC_LINE_TRIE_BITMAP_OF_ENTRIES, 0);

		memset(node, 0xff, 32);
		memcpy(node + 32, (const uint8_t[8]){0, 64, 128, 192}, 8);
		memset(node + 40, 0, 257 * 4);
		memcpy(i.bytes + any, &e, 4);
		assert_false(fib_image_valid(i.bytes, ROOM, family));
		memcpy(i.bytes, i.good, ROOM);
		/* A web: every entry of the root leads to one node, and that 32 times to
		 * another. */
		e = P2PNIC_LINE_TRIE_ENTRY(nodes, P2PNIC_LINE_TRIE_RANGES_OF_ENTRIES, 31);
		for (uint64_t at = P2PNIC_LINE_TRIE_ROOT; at < P2PNIC_LINE_TRIE_LEAVES; at += 4)
			memcpy(i.bytes + at, &e, 4);
		e = P2PNIC_LINE_TRIE_ENTRY(nodes + 32, P2PNIC_LINE_TRIE_RANGES_OF_ENTRIES, 0);
		for (unsigned k = 0; k < 32; k++)
			memcpy(node + 32 + 4 * k, &e, 4);
		assert_false(fib_image_valid(i.bytes, ROOM, family));
		memcpy(i.bytes, i.good, ROOM);
		/* A node of one run is a node like others. */
		memcpy(i.bytes + any, &e, 4);
		e = P2PNIC_LINE_TRIE_ENTRY(7, P2PNIC_LINE_TRIE_LEAF, 0);
		memcpy(i.bytes + 8ull * (nodes + 32), &e, 4);
		assert_true(fib_image_valid(i.bytes, ROOM, family));
		memcpy(i.bytes, i.good, ROOM);
	}
	if (family == 6 && !version_1) {
		wrong_wide(&i);
		wrong_long(&i);
	}
	/* Any word, any value: refused, or every lookup ends (address sanitizer watches). */
	for (unsigned k = 0; k < 3000; k++) {
		struct fib_ipv6 to[64];
		uint32_t to4[64];
		uint16_t hop[64];
		uint64_t at;

		random = random * 1664525u + 1013904223u;
		at = P2PNIC_LINE_TRIE_NODES +
		     (random >> 4) % (bytes - P2PNIC_LINE_TRIE_NODES) / 4 * 4;
		random = random * 1664525u + 1013904223u;
		memcpy(i.bytes + at, &random, 4);
		if (fib_image_valid(i.bytes, ROOM, family)) {
			for (unsigned a = 0; a < 64; a++) {
				to4[a] = 0x0a000000 | random * a;
				to[a] = (struct fib_ipv6){(uint64_t)to4[a] << 24 | 1ull << 61, a};
			}
			if (family == 4)
				fib4_lookup(i.bytes, to4, hop, 64);
			else
				fib6_lookup(i.bytes, to, hop, 64);
		}
		memcpy(i.bytes + at, i.good + at, 4);
	}
	image_free(&i);
}

static void line_trie(void **state)
{
	wrong_line_trie(4, false);
	wrong_line_trie(6, false);
	wrong_line_trie(6, true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(state_jump),
		cmocka_unit_test(line_trie),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
