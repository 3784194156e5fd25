/* SPDX-License-Identifier: BSD-3-Clause */
#include "trace.h"

#include <string.h>

#include "firmware/fib_line_trie.h"
#include "internal.h"
#include "line_trie_encode.h"

/* Types, and after LEAF those of later versions that are told apart by their shape. */
enum { WIDE = P2PNIC_LINE_TRIE_LEAF + 1, LONG, TABLE, TYPES };

static const char *const type_name[] = {
	[P2PNIC_LINE_TRIE_RANGES] = "ranges",
	[P2PNIC_LINE_TRIE_BITMAP] = "bitmap",
	[P2PNIC_LINE_TRIE_RANGES_OF_ENTRIES] = "ranges of entries",
	[P2PNIC_LINE_TRIE_BITMAP_OF_ENTRIES] = "bitmap of entries",
	[P2PNIC_LINE_TRIE_LEAF] = "leaf",
	[WIDE] = "wide ranges",
	[LONG] = "long ranges of entries",
	[TABLE] = "table",
};

/* How many bits of the address a node takes. */
static unsigned bits_of(unsigned type)
{
	return type == WIDE ? 16 : type == LONG ? P2PNIC_LINE_TRIE_LONG_BITS : 8;
}

static unsigned type_of(uint32_t entry)
{
	unsigned type = P2PNIC_LINE_TRIE_TYPE(entry);

	if (line_trie_is_wide(entry))
		return WIDE;
	if (line_trie_is_long(entry))
		return LONG;
	if (type == P2PNIC_LINE_TRIE_BITMAP_OF_ENTRIES && P2PNIC_LINE_TRIE_SHAPE(entry))
		return TABLE;
	return type;
}

static struct trace_step *step_add(
	struct trace *trace, const char *what, uint64_t offset, unsigned depth, unsigned bits)
{
	struct trace_step *step = &trace->step[trace->steps];

	if (trace->steps < TRACE_STEPS_MAX - 1)
		trace->steps++;
	*step = (struct trace_step){what, offset, depth, bits, 0, 0, 0, 0};
	return step;
}

/* Counts the lines of two stretches; the second depends on the first. */
static void step_count(struct trace_step *step, uint64_t first, unsigned first_bytes,
	uint64_t second, unsigned second_bytes)
{
	uint64_t from = first / 64, to = from;

	step->reads = (first_bytes > 0) + (second_bytes > 0);
	step->bytes = first_bytes + second_bytes;
	step->lines = 0;
	if (first_bytes) {
		to = (first + first_bytes - 1) / 64;
		step->lines = (unsigned)(to - from + 1);
	}
	if (second_bytes && (!first_bytes || second / 64 < from || second / 64 > to))
		step->lines++;
}

static void trace_node(struct trace_step *step, const uint8_t *image, uint32_t entry, uint32_t key)
{
	uint64_t offset = P2PNIC_LINE_TRIE_OFFSET(entry), map;
	uint32_t shape = P2PNIC_LINE_TRIE_SHAPE(entry);
	unsigned rank;

	switch (type_of(entry)) {
	case P2PNIC_LINE_TRIE_RANGES:
		rank = line_trie_rank(image + offset, shape, key);
		step->runs = shape + 1;
		step_count(step, offset, shape, offset + shape + rank, 1);
		break;
	case P2PNIC_LINE_TRIE_BITMAP:
		offset += 8 * line_trie_part(shape, key >> 6);
		memcpy(&map, image + offset, 8);
		step->runs = 1 + line_trie_popcount(map);
		step_count(step, offset, 8, offset + 8 + line_trie_runs(map, key), 1);
		break;
	case P2PNIC_LINE_TRIE_RANGES_OF_ENTRIES:
		step->runs = shape + 1;
		step_count(step, offset, shape, encoded_word(image, entry, key), 4);
		break;
	case P2PNIC_LINE_TRIE_BITMAP_OF_ENTRIES:
		for (unsigned part = 0; part < 4; part++) {
			memcpy(&map, image + offset + 8 * part, 8);
			step->runs += line_trie_popcount(map);
		}
		step->runs++;
		/* One word of the map and one of the four counts, 8 to 33 bytes apart. */
		step_count(step, offset + 8 * (key >> 6), 8, encoded_word(image, entry, key), 4);
		step->bytes++;
		step->lines += (offset + 8 * (key >> 6)) / 64 != (offset + 32 + (key >> 6)) / 64;
		break;
	case WIDE: /* all of it in one line */
		step->runs = shape - P2PNIC_LINE_TRIE_WIDE + 1;
		step_count(step, offset, 2 * (step->runs - 1), offset, 2);
		break;
	case LONG:
		step->runs = shape - P2PNIC_LINE_TRIE_LONG + 1;
		step_count(step, offset, 4 * (step->runs - 1), encoded_word(image, entry, key), 4);
		break;
	case TABLE:
		step_count(step, offset + 4ull * key, 4, 0, 0);
		break;
	}
}

static void trace_line_trie(const struct fib *fib, struct fib_ipv6 address, struct trace *trace)
{
	uint32_t slot = address_bits(address, 0, 16);
	uint32_t entry = line_trie_root(fib->image, slot);
	struct trace_step *step =
		step_add(trace, "root", P2PNIC_LINE_TRIE_ROOT + 4ull * slot, 0, 16);

	step_count(step, step->offset, 4, 0, 0);
	for (unsigned depth = 16, bits; !line_trie_is_leaf(entry); depth += bits) {
		uint64_t offset = P2PNIC_LINE_TRIE_OFFSET(entry);
		unsigned type = type_of(entry);
		uint32_t key;

		bits = bits_of(type);
		key = address_bits(address, depth, bits);

		if (offset < P2PNIC_LINE_TRIE_NODES)
			step = step_add(trace, "leaf", offset, depth, 0);
		else
			step = step_add(trace, type_name[type], offset, depth, bits);
		trace_node(step, fib->image, entry, key);
		entry = type == WIDE   ? line_trie_step_wide(fib->image, entry, key)
			: type == LONG ? line_trie_step_long(fib->image, entry, key)
				       : line_trie_step(fib->image, entry, key);
	}
	trace->next_hop = (uint16_t)P2PNIC_LINE_TRIE_UNIT(entry);
}

static void trace_state_jump(const struct fib *fib, struct fib_ipv6 address, struct trace *trace)
{
	const struct p2pnic_fib_header *header = (const void *)fib->image;
	const struct p2pnic_state_jump *table = (const void *)(fib->image + header->root);
	uint32_t entry = P2PNIC_STATE_JUMP_ENTRY(0, 1);
	unsigned depth = 0;

	while (P2PNIC_STATE_JUMP_JUMP(entry)) {
		unsigned level = P2PNIC_STATE_JUMP_JUMP(entry), bits = table->stride[level];
		uint64_t index = table->first[level] + P2PNIC_STATE_JUMP_INFORMATION(entry) +
				 address_bits(address, depth, bits);
		struct trace_step *step =
			step_add(trace, "row", header->root + 4 * index, depth, bits);

		step_count(step, step->offset, 4, 0, 0);
		entry = ((const uint32_t *)table)[index];
		depth += bits;
	}
	trace->next_hop = (uint16_t)P2PNIC_STATE_JUMP_INFORMATION(entry);
}

void trace_lookup(const struct fib *fib, struct fib_ipv6 address, struct trace *trace)
{
	*trace = (struct trace){0};
	if (fib->config.kind == P2PNIC_FIB_LINE_TRIE)
		trace_line_trie(fib, address, trace);
	else
		trace_state_jump(fib, address, trace);
	for (unsigned i = 0; i < trace->steps; i++) {
		trace->reads += trace->step[i].reads;
		trace->bytes += trace->step[i].bytes;
		trace->lines += trace->step[i].lines;
	}
}

/* --- Parts ------------------------------------------------------------------------------------ */

static uint64_t node_bytes(const uint8_t *image, uint32_t entry, unsigned *entries, uint64_t *first)
{
	uint64_t offset = P2PNIC_LINE_TRIE_OFFSET(entry), map;
	uint32_t shape = P2PNIC_LINE_TRIE_SHAPE(entry), units;

	*entries = 0;
	switch (type_of(entry)) {
	case P2PNIC_LINE_TRIE_RANGES:
		return (2 * shape + 1 + 7) & ~7u;
	case P2PNIC_LINE_TRIE_BITMAP:
		units = line_trie_part(shape, 3);
		memcpy(&map, image + offset + 8 * units, 8);
		return 8 * units + ((8 + 1 + line_trie_popcount(map) + 7) & ~7u);
	case P2PNIC_LINE_TRIE_RANGES_OF_ENTRIES:
		*entries = shape + 1;
		*first = offset + ((shape + 7) & ~7u);
		return (((shape + 7) & ~7u) + 4 * *entries + 7) & ~7u;
	case WIDE:
		return (4 * (shape - P2PNIC_LINE_TRIE_WIDE) + 2 + 7) & ~7u;
	case LONG:
		*entries = shape - P2PNIC_LINE_TRIE_LONG + 1;
		*first = offset + ((4 * (*entries - 1) + 7) & ~7u);
		return ((*first - offset) + 4 * *entries + 7) & ~7u;
	case TABLE:
		*entries = 256;
		*first = offset;
		return 256 * 4;
	default:
		memcpy(&map, image + offset + 24, 8);
		*entries = image[offset + 35] + line_trie_popcount(map) + 1u;
		*first = offset + 40;
		return (40 + 4 * *entries + 7) & ~7u;
	}
}

static void count_node(const uint8_t *image, uint32_t entry, struct trace_part *part)
{
	unsigned entries;
	uint64_t first = 0;

	if (line_trie_is_leaf(entry) || P2PNIC_LINE_TRIE_OFFSET(entry) < P2PNIC_LINE_TRIE_NODES)
		return;
	part[type_of(entry)].count++;
	part[type_of(entry)].bytes += node_bytes(image, entry, &entries, &first);
	for (unsigned i = 0; i < entries; i++)
		count_node(image, ((const uint32_t *)(image + first))[i], part);
}

unsigned trace_parts(const struct fib *fib, struct trace_part *part, unsigned max)
{
	struct trace_part node[TYPES] = {{0}};
	unsigned n = 0;
	uint64_t known = 0;

	if (max < 4 + TYPES)
		return 0;
	part[n++] = (struct trace_part){"header", 1, sizeof(struct p2pnic_fib_header)};
	if (fib->config.kind == P2PNIC_FIB_LINE_TRIE) {
		part[n++] = (struct trace_part){
			"root", 1u << P2PNIC_LINE_TRIE_ROOT_BITS, 4u << P2PNIC_LINE_TRIE_ROOT_BITS};
		part[n++] = (struct trace_part){"leaves", 256, 2048};
		for (uint32_t slot = 0; slot < 1u << P2PNIC_LINE_TRIE_ROOT_BITS; slot++)
			count_node(fib->image, line_trie_root(fib->image, slot), node);
		for (unsigned type = 0; type < TYPES; type++)
			if (node[type].count)
				part[n++] = (struct trace_part){
					type_name[type], node[type].count, node[type].bytes};
	} else {
		const struct p2pnic_fib_header *header = (const void *)fib->image;
		const struct p2pnic_state_jump *table = (const void *)(fib->image + header->root);
		uint64_t entries = 0;

		for (unsigned l = 1; l <= table->levels; l++)
			entries += table->entries[l];
		part[n++] = (struct trace_part){"descriptor", 1, sizeof *table};
		part[n++] = (struct trace_part){"entries", entries, 4 * entries};
	}
	for (unsigned i = 0; i < n; i++)
		known += part[i].bytes;
	part[n++] = (struct trace_part){"gaps", 1, fib->used - known};
	return n;
}
