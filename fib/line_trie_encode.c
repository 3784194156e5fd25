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

static void encode_table(struct encoded *e, const uint32_t *slot)
{
	e->type = P2PNIC_LINE_TRIE_BITMAP_OF_ENTRIES;
	e->shape = P2PNIC_LINE_TRIE_TABLE;
	e->units = UNITS(256 * 4);
	e->head = 1;
	memcpy(e->byte, slot, 256 * 4);
}

void encode(struct encoded *e, const uint32_t *slot, unsigned version, unsigned depth)
{
	uint64_t map[4];
	unsigned runs = 1;
	bool bytes = version != P2PNIC_FIB_VERSION_WIDE || depth > P2PNIC_LINE_TRIE_WIDE_DEPTH;

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
	e->entries = !bytes;
	e->values = 0;
	if (runs <= P2PNIC_LINE_TRIE_RANGES_MAX)
		encode_ranges(e, slot, map, runs, bytes);
	else if (bytes)
		encode_bitmap_of_bytes(e, slot, map);
	else if (version == P2PNIC_FIB_VERSION_WIDE)
		encode_table(e, slot);
	else
		encode_bitmap_of_entries(e, slot, map, runs);
	if (e->values || e->type == P2PNIC_LINE_TRIE_RANGES) {
		/* The last unit's unused bytes: zero, so that equal nodes are equal bytes. */
		uint32_t bytes_used = e->entries ? e->values + 4 * runs : 2 * e->shape + 1;

		memset(e->byte + bytes_used, 0, 8 * e->units - bytes_used);
	}
}

/* --- WIDE and LONG nodes ---------------------------------------------------------------------- */

/*
 * Routes inside 16 or 32 bits, one by one: ascending, each before those inside it. Those that the
 * last one is inside of are open; what they yield are runs.
 */
struct sweep {
	const struct route_set *set;
	struct runs *runs;
	unsigned runs_max, nodes_left, open;
	bool too_many;
	struct {
		uint64_t end;
		uint16_t next_hop;
	} route[1 + P2PNIC_LINE_TRIE_LONG_BITS]; /* the first: what is inherited; it never ends */
};

static void sweep_run(struct sweep *s, uint32_t begin, uint16_t next_hop, uint32_t child)
{
	struct runs *r = s->runs;

	if (r->run[r->n - 1].begin == begin)
		r->n--;
	if (r->n && child == ROUTE_SET_NONE && r->run[r->n - 1].child == ROUTE_SET_NONE &&
		r->run[r->n - 1].next_hop == next_hop)
		return;
	if (r->n > s->runs_max) {
		s->too_many = true;
		return;
	}
	r->run[r->n++] = (struct run){begin, next_hop, child};
}

/* Closes those that end at `at` or before. */
static void sweep_close(struct sweep *s, uint32_t at)
{
	for (; s->route[s->open - 1].end <= at; s->open--)
		sweep_run(s, (uint32_t)s->route[s->open - 1].end, s->route[s->open - 2].next_hop,
			ROUTE_SET_NONE);
}

/* A node's routes from *next on whose slot is not above `last`; slots are `width` wide. */
static void sweep_routes(struct sweep *s, const struct route_set_node *node, unsigned *next,
	unsigned last, uint32_t first, uint32_t width)
{
	for (; *next < node->routes && ROUTE_WORD_SLOT(node->route[*next]) <= last && !s->too_many;
		++*next) {
		uint32_t route = node->route[*next];
		uint32_t begin = first + width * ROUTE_WORD_SLOT(route);
		uint16_t next_hop = (uint16_t)ROUTE_WORD_NEXT_HOP(route);

		sweep_close(s, begin);
		sweep_run(s, begin, next_hop, ROUTE_SET_NONE);
		s->route[s->open].end = begin + ((uint64_t)width << (8 - ROUTE_WORD_LENGTH(route)));
		s->route[s->open++].next_hop = next_hop;
	}
}

/* A key with longer routes is a run of its own. What its child inherits is its next hop. */
static void sweep_child(struct sweep *s, uint32_t key, uint32_t child)
{
	uint16_t next_hop;

	sweep_close(s, key);
	next_hop = s->route[s->open - 1].next_hop;
	sweep_run(s, key, next_hop, child);
	if (key != UINT32_MAX)
		sweep_run(s, key + 1, next_hop, ROUTE_SET_NONE);
}

/* A node and what is below it, as far as keys tell slots apart. */
static void sweep_node(struct sweep *s, uint32_t number, uint32_t first, uint32_t width)
{
	const struct route_set_node *node = &s->set->node[number];
	unsigned next = 0;

	if (node->children > s->nodes_left)
		s->too_many = true;
	for (unsigned c = 0; c < node->children && !s->too_many; c++) {
		const uint32_t child = CHILD_WORD_NODE(node->child[c]);
		const unsigned slot = CHILD_WORD_SLOT(node->child[c]);

		s->nodes_left--;
		sweep_routes(s, node, &next, slot, first, width);
		if (width == 1)
			sweep_child(s, first + slot, child);
		else
			sweep_node(s, child, first + slot * width, width / 256);
	}
	sweep_routes(s, node, &next, 255, first, width);
}

bool runs_of(struct runs *runs, const struct route_set *set, uint32_t number, uint16_t inherited,
	unsigned bits)
{
	struct sweep s = {
		.set = set,
		.runs = runs,
		.runs_max = bits == P2PNIC_LINE_TRIE_LONG_BITS ? P2PNIC_LINE_TRIE_LONG_MAX
							       : P2PNIC_LINE_TRIE_WIDE_MAX,
		.nodes_left = RUNS_NODES_MAX,
		.open = 1,
		.route = {{UINT64_MAX, inherited}},
	};

	runs->n = 1;
	runs->run[0] = (struct run){0, inherited, ROUTE_SET_NONE};
	sweep_node(&s, number, 0, 1u << (bits - 8));
	sweep_close(&s, UINT32_MAX >> (32 - bits));
	return !s.too_many && runs->n <= s.runs_max;
}

bool encode_wide(struct encoded *e, const struct runs *runs)
{
	const unsigned count = runs->n - 1;

	for (unsigned k = 0; k < runs->n; k++)
		if (runs->run[k].child != ROUTE_SET_NONE)
			return false;
	*e = (struct encoded){.type = P2PNIC_LINE_TRIE_LEAF,
		.leaf = P2PNIC_LINE_TRIE_ENTRY(runs->run[0].next_hop, P2PNIC_LINE_TRIE_LEAF, 0)};
	if (!count)
		return true;
	e->type = P2PNIC_LINE_TRIE_RANGES;
	e->shape = P2PNIC_LINE_TRIE_WIDE | count;
	e->units = e->head = UNITS(4 * count + 2);
	for (unsigned k = 0; k < runs->n; k++) {
		const uint16_t begin = (uint16_t)runs->run[k].begin;

		if (k)
			memcpy(e->byte + 2 * (k - 1), &begin, 2);
		memcpy(e->byte + 2 * (count + k), &runs->run[k].next_hop, 2);
	}
	return true;
}

void encode_long(struct encoded *e, const struct runs *runs, const uint32_t *entry)
{
	const unsigned count = runs->n - 1;

	*e = (struct encoded){.type = P2PNIC_LINE_TRIE_LEAF, .leaf = entry[0]};
	if (!count && runs->run[0].child == ROUTE_SET_NONE)
		return;
	e->type = P2PNIC_LINE_TRIE_RANGES_OF_ENTRIES;
	e->shape = P2PNIC_LINE_TRIE_LONG | count;
	e->entries = true;
	e->values = (4 * count + 7) & ~7u;
	e->units = UNITS(e->values + 4 * runs->n);
	e->head = e->units <= 8 ? e->units : UNITS(4 * count);
	for (unsigned k = 0; k < runs->n; k++) {
		if (k)
			memcpy(e->byte + 4 * (k - 1), &runs->run[k].begin, 4);
		memcpy(e->byte + e->values + 4 * k, &entry[k], 4);
	}
}

uint64_t encoded_word(const void *image, uint32_t entry, uint32_t key)
{
	uint64_t offset = P2PNIC_LINE_TRIE_OFFSET(entry), map;
	const uint8_t *node = (const uint8_t *)image + offset;
	uint32_t shape = P2PNIC_LINE_TRIE_SHAPE(entry);

	if (line_trie_is_long(entry))
		return offset + line_trie_long_at(image, entry, key);
	if (P2PNIC_LINE_TRIE_TYPE(entry) == P2PNIC_LINE_TRIE_RANGES_OF_ENTRIES)
		return offset + ((shape + 7) & ~7u) + 4 * line_trie_rank(node, shape, key);
	if (shape)
		return offset + 4 * key;
	memcpy(&map, node + 8 * (key >> 6), 8);
	return offset + 40 + 4 * (node[32 + (key >> 6)] + line_trie_runs(map, key));
}
