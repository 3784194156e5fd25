/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Compiling the line trie, whole and in place (p2pnic/fib.h has the structure).
 *
 * A change is a transaction. The routes are changed first, then the touched nodes are compiled
 * again, top down, into fresh blocks of the image; entries are overwritten where they stand. All of
 * it is written down in a journal: fresh blocks, blocks made obsolete, old values of words and of
 * nodes. If the result fits, the fresh blocks and then the overwritten words become the patch and
 * obsolete blocks wait for the epoch; if not, the journal is played backwards and nothing has
 * happened. So the engine knows what a change costs before anything of it leaves the host.
 */
#include "internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "firmware/fib_line_trie.h"
#include "line_trie_encode.h"
#include "route_set.h"
#include "units.h"

#define ROOT_SLOTS      (1u << P2PNIC_LINE_TRIE_ROOT_BITS)
#define COUNT(entry)    ((entry) & (P2PNIC_LINE_TRIE_RANGES_MAX - 1))
#define LEAF(next_hop)  P2PNIC_LINE_TRIE_ENTRY(next_hop, P2PNIC_LINE_TRIE_LEAF, 0)
#define IMAGE_BYTES_MAX (8ull * P2PNIC_LINE_TRIE_UNITS_MAX)

/*
 * Compaction: while more than 1/GAPS_DIVISOR of the used units lies in gaps, a change also moves up
 * to MOVED_UNITS (and the block that exceeds them) towards the image's beginning.
 */
#define GAPS_DIVISOR 40u
#define MOVED_UNITS  32u

/* A growing array; `failed` sticks. */
struct vector {
	void *item;
	size_t n, room;
};

struct old_word {
	uint32_t offset; /* in the image */
	uint32_t value;
};

struct old_node {
	uint32_t node, entry;
	uint16_t inherited;
};

struct old_base {
	uint32_t slot;
	uint16_t next_hop;
};

struct line_trie {
	struct route_set set;
	struct units units;
	uint32_t evacuate; /* where the search for a sparse stretch goes on */
	/* The journal of the change in progress. */
	struct vector words, fresh, obsolete, nodes, bases, undo;
	int status;
};

static unsigned version_of(const struct fib *fib)
{
	return fib->config.family == 6 && !fib->config.version_1 ? P2PNIC_FIB_VERSION_WIDE
								 : P2PNIC_FIB_VERSION;
}

static bool is_leaf(uint32_t entry)
{
	return entry & LEAF(0);
}

static void *vector_add(struct line_trie *trie, struct vector *v, size_t size)
{
	if (v->n == v->room) {
		size_t room = v->room ? v->room * 2 : 64;
		void *larger = realloc(v->item, room * size);

		if (!larger) {
			trie->status = -ENOMEM;
			return NULL;
		}
		v->item = larger;
		v->room = room;
	}
	return (uint8_t *)v->item + size * v->n++;
}

#define VECTOR_ADD(trie, vector, type, ...)                                                        \
	do {                                                                                       \
		type *added = vector_add(trie, &(trie)->vector, sizeof(type));                     \
		if (!added)                                                                        \
			return;                                                                    \
		*added = (type)__VA_ARGS__;                                                        \
	} while (0)

/* --- Steps of a transaction ------------------------------------------------------------------- */

static void set_word(struct fib *fib, uint64_t offset, uint32_t value)
{
	struct line_trie *trie = fib->table;
	uint32_t *word = (uint32_t *)(fib->image + offset);

	if (*word == value)
		return;
	VECTOR_ADD(trie, words, struct old_word, {(uint32_t)offset, *word});
	*word = value;
}

static void set_root(struct fib *fib, uint32_t slot, uint32_t entry)
{
	if (is_leaf(entry) && version_of(fib) == P2PNIC_FIB_VERSION)
		entry = P2PNIC_LINE_TRIE_NEXT_HOP(P2PNIC_LINE_TRIE_UNIT(entry));
	set_word(fib, P2PNIC_LINE_TRIE_ROOT + 4 * slot, entry);
}

static void set_node(struct line_trie *trie, uint32_t number, uint32_t entry, uint16_t inherited)
{
	struct route_set_node *node = &trie->set.node[number];

	if (node->entry == entry && node->inherited == inherited)
		return;
	VECTOR_ADD(trie, nodes, struct old_node, {number, node->entry, node->inherited});
	node->entry = entry;
	node->inherited = inherited;
}

static void retire(struct line_trie *trie, uint32_t entry)
{
	if (!is_leaf(entry))
		VECTOR_ADD(trie, obsolete, uint32_t, P2PNIC_LINE_TRIE_UNIT(entry));
}

/* A fresh block with these bytes; its entry. */
static uint32_t store(struct fib *fib, const struct encoded *e, uint32_t owner)
{
	struct line_trie *trie = fib->table;
	uint32_t *fresh = vector_add(trie, &trie->fresh, sizeof *fresh);
	uint32_t unit;

	if (!fresh)
		return LEAF(0);
	unit = units_allocate(&trie->units, e->units, e->head, owner);
	if (unit == UNITS_NONE) {
		trie->fresh.n--;
		trie->status = -ENOSPC;
		return LEAF(0);
	}
	*fresh = unit;
	memcpy(fib->image + 8ull * unit, e->byte, 8 * e->units);
	return P2PNIC_LINE_TRIE_ENTRY(unit, e->type, e->shape);
}

/* Gives a node its new content by the cheapest way: as it is, some words in place, or a new
 * block. */
static void put(struct fib *fib, uint32_t number, const struct encoded *e, uint16_t inherited)
{
	struct line_trie *trie = fib->table;
	uint32_t old = trie->set.node[number].entry;
	uint64_t at = P2PNIC_LINE_TRIE_OFFSET(old);

	if (e->type == P2PNIC_LINE_TRIE_LEAF) {
		retire(trie, old);
		set_node(trie, number, e->leaf, inherited);
		return;
	}
	if (!is_leaf(old) && P2PNIC_LINE_TRIE_TYPE(old) == e->type &&
		P2PNIC_LINE_TRIE_SHAPE(old) == e->shape &&
		trie->units.length[P2PNIC_LINE_TRIE_UNIT(old)] == e->units) {
		const uint8_t *now = fib->image + at;

		if (!memcmp(now, e->byte, 8 * e->units)) {
			set_node(trie, number, old, inherited);
			return;
		}
		if (e->entries && !memcmp(now, e->byte, e->values)) {
			for (uint32_t b = e->values; b + 4 <= 8 * e->units; b += 4) {
				uint32_t value;

				memcpy(&value, e->byte + b, 4);
				set_word(fib, at + b, value);
			}
			set_node(trie, number, old, inherited);
			return;
		}
	}
	retire(trie, old);
	set_node(trie, number, store(fib, e, number), inherited);
}

/* --- Compiling -------------------------------------------------------------------------------- */

static void update(struct fib *fib, uint32_t number, uint16_t inherited, unsigned depth,
	const struct fib_route *changes, size_t n);

/* The changes of `changes` that belong to the child at `slot`, which is `bits` bits: the first such
 * stretch. */
static size_t group_of(const struct fib_route *changes, size_t n, unsigned depth, unsigned bits,
	uint32_t slot, size_t *first)
{
	size_t i = *first, end;

	while (i < n && (changes[i].length <= depth + bits ||
				address_bits(changes[i].prefix, depth, bits) < slot))
		i++;
	for (end = i; end < n && changes[end].length > depth + bits &&
		      address_bits(changes[end].prefix, depth, bits) == slot;
		end++)
		;
	*first = i;
	return end - i;
}

/* The node below `number` for a key of 8 bits, or of 32, or ROUTE_SET_NONE. */
static uint32_t child_of(const struct line_trie *trie, uint32_t number, uint32_t key, unsigned bits)
{
	do {
		bits -= 8;
		number = route_set_child(&trie->set, number, key >> bits & 0xff);
	} while (bits && number != ROUTE_SET_NONE);
	return number;
}

/*
 * Changes that all lie deeper than this node leave its slots as they are, but for the children's
 * entries: those are replaced where they stand. false: the node must be made anew after all.
 */
static bool pass_through(
	struct fib *fib, uint32_t number, unsigned depth, const struct fib_route *changes, size_t n)
{
	struct line_trie *trie = fib->table;
	const bool is_long = line_trie_is_long(trie->set.node[number].entry);
	const unsigned bits = is_long ? P2PNIC_LINE_TRIE_LONG_BITS : 8;
	bool in_place = true;

	for (size_t i = 0; i < n; i++) {
		uint32_t child =
			child_of(trie, number, address_bits(changes[i].prefix, depth, bits), bits);

		if (changes[i].length <= depth + bits)
			return false;
		if (child != ROUTE_SET_NONE && trie->set.node[child].inherited == ROUTE_SET_NEW)
			return false;
	}
	for (size_t i = 0, count; i < n; i += count) {
		uint32_t slot = address_bits(changes[i].prefix, depth, bits);
		uint32_t child = child_of(trie, number, slot, bits);
		uint32_t old, new;

		count = group_of(changes, n, depth, bits, slot, &i);
		if (child == ROUTE_SET_NONE)
			continue;
		old = trie->set.node[child].entry;
		update(fib, child, trie->set.node[child].inherited, depth + bits, changes + i,
			count);
		new = trie->set.node[child].entry;
		if (new == old)
			continue;
		if (is_leaf(new) || is_leaf(old))
			in_place = false;
		else
			set_word(fib, encoded_word(fib->image, trie->set.node[number].entry, slot),
				new);
	}
	return in_place;
}

/* The nodes below one, so many levels of them, whose routes are in its WIDE or LONG node: as if
 * they had never been compiled. */
static void absorb(struct line_trie *trie, uint32_t number, unsigned levels)
{
	const struct route_set_node *node = &trie->set.node[number];

	for (unsigned c = 0; levels && c < node->children; c++) {
		const uint32_t child = CHILD_WORD_NODE(node->child[c]);

		retire(trie, trie->set.node[child].entry);
		set_node(trie, child, LEAF(0), ROUTE_SET_NEW);
		absorb(trie, child, levels - 1);
	}
}

/* Compiles a node again as a WIDE or LONG one; false: it cannot be one. */
static bool update_runs(struct fib *fib, uint32_t number, uint16_t inherited, unsigned depth,
	const struct fib_route *changes, size_t n)
{
	const bool is_long = depth == P2PNIC_LINE_TRIE_LONG_DEPTH;
	const unsigned bits = is_long ? P2PNIC_LINE_TRIE_LONG_BITS : 16;
	struct line_trie *trie = fib->table;
	uint32_t entry[P2PNIC_LINE_TRIE_LONG_MAX];
	struct encoded encoded;
	struct runs runs;
	size_t at = 0;

	if ((!is_long && depth != P2PNIC_LINE_TRIE_WIDE_DEPTH) ||
		version_of(fib) != P2PNIC_FIB_VERSION_WIDE ||
		!runs_of(&runs, &trie->set, number, inherited, bits) ||
		(!is_long && !encode_wide(&encoded, &runs)))
		return false;
	absorb(trie, number, bits / 8 - 1);
	for (unsigned k = 0; is_long && k < runs.n; k++) {
		const struct run *run = &runs.run[k];
		size_t count;

		entry[k] = LEAF(run->next_hop);
		if (run->child == ROUTE_SET_NONE)
			continue;
		count = n ? group_of(changes, n, depth, bits, run->begin, &at) : 0;
		if (count || trie->set.node[run->child].inherited != run->next_hop)
			update(fib, run->child, run->next_hop, depth + bits,
				n ? changes + at : NULL, count);
		entry[k] = trie->set.node[run->child].entry;
	}
	if (trie->status)
		return true;
	if (is_long)
		encode_long(&encoded, &runs, entry);
	put(fib, number, &encoded, inherited);
	return true;
}

/* Compiles a node again after `changes` (already in the routes), which all lie inside it. */
static void update(struct fib *fib, uint32_t number, uint16_t inherited, unsigned depth,
	const struct fib_route *changes, size_t n)
{
	struct line_trie *trie = fib->table;
	const struct route_set_node *node = &trie->set.node[number];
	uint32_t slot[256];
	struct encoded encoded;
	size_t at = 0;

	if (trie->status)
		return;
	if (node->inherited == inherited && pass_through(fib, number, depth, changes, n))
		return;
	if (update_runs(fib, number, inherited, depth, changes, n))
		return;
	for (unsigned s = 0; s < 256; s++)
		slot[s] = LEAF(inherited);
	for (unsigned r = 0; r < node->routes; r++) {
		uint32_t route = node->route[r];
		unsigned first = ROUTE_WORD_SLOT(route),
			 slots = 1u << (8 - ROUTE_WORD_LENGTH(route));

		for (unsigned s = first; s < first + slots; s++)
			slot[s] = LEAF(ROUTE_WORD_NEXT_HOP(route));
	}
	for (unsigned c = 0; c < node->children; c++) {
		unsigned s = CHILD_WORD_SLOT(node->child[c]);
		uint32_t child = CHILD_WORD_NODE(node->child[c]);
		uint16_t next_hop = (uint16_t)P2PNIC_LINE_TRIE_UNIT(slot[s]);
		size_t count = n ? group_of(changes, n, depth, 8, s, &at) : 0;

		if (count || trie->set.node[child].inherited != next_hop)
			update(fib, child, next_hop, depth + 8, n ? changes + at : NULL, count);
		slot[s] = trie->set.node[child].entry;
	}
	if (trie->status)
		return;
	encode(&encoded, slot, version_of(fib), depth);
	put(fib, number, &encoded, inherited);
}

static void update_root_slot(
	struct fib *fib, uint32_t slot, const struct fib_route *changes, size_t n)
{
	struct line_trie *trie = fib->table;
	uint32_t child = trie->set.child[slot];
	uint16_t base = trie->set.base[slot];

	if (child == ROUTE_SET_NONE) {
		set_root(fib, slot, LEAF(base));
		return;
	}
	update(fib, child, base, P2PNIC_LINE_TRIE_ROOT_BITS, changes, n);
	set_root(fib, slot, trie->set.node[child].entry);
}

static void set_base(struct fib *fib, uint32_t slot)
{
	struct line_trie *trie = fib->table;
	uint16_t next_hop = route_set_base(&trie->set, slot);

	if (trie->set.base[slot] == next_hop)
		return;
	VECTOR_ADD(trie, bases, struct old_base, {slot, trie->set.base[slot]});
	trie->set.base[slot] = next_hop;
	update_root_slot(fib, slot, NULL, 0);
}

static void update_root(struct fib *fib, const struct fib_route *changes, size_t n)
{
	struct line_trie *trie = fib->table;

	for (size_t i = 0, end; i < n && !trie->status; i = end) {
		uint32_t slot = address_bits(changes[i].prefix, 0, P2PNIC_LINE_TRIE_ROOT_BITS);

		end = i + 1;
		if (changes[i].length <= P2PNIC_LINE_TRIE_ROOT_BITS) {
			uint32_t slots = ROOT_SLOTS >> changes[i].length;

			for (uint32_t s = slot; s < slot + slots; s++)
				set_base(fib, s);
			continue;
		}
		while (end < n && changes[end].length > P2PNIC_LINE_TRIE_ROOT_BITS &&
			slot == address_bits(changes[end].prefix, 0, P2PNIC_LINE_TRIE_ROOT_BITS))
			end++;
		update_root_slot(fib, slot, changes + i, end - i);
	}
}

/* --- Compaction ------------------------------------------------------------------------------- */

/* Where the entry of a node stands: in the root or in its parent's block. */
static uint64_t word_of(const struct fib *fib, const struct route_set_node *node)
{
	const struct line_trie *trie = fib->table;
	uint32_t key = node->slot, bits = 0;

	/* Its parent is compiled, or is part of a LONG node. */
	while (node->parent != ROUTE_SET_NONE) {
		node = &trie->set.node[node->parent];
		if (!is_leaf(node->entry))
			return encoded_word(fib->image, node->entry, key);
		bits += 8;
		key |= (uint32_t)node->slot << bits;
	}
	return P2PNIC_LINE_TRIE_ROOT + 4ull * key;
}

static uint32_t head_of(uint32_t entry, uint32_t units)
{
	switch (P2PNIC_LINE_TRIE_TYPE(entry)) {
	case P2PNIC_LINE_TRIE_RANGES:
		return units;
	case P2PNIC_LINE_TRIE_BITMAP:
		return 1;
	case P2PNIC_LINE_TRIE_RANGES_OF_ENTRIES:
		if (units <= 8)
			return units;
		return line_trie_is_long(entry) ? (4 * COUNT(entry) + 7) / 8
						: (COUNT(entry) + 7) / 8;
	default:
		return P2PNIC_LINE_TRIE_SHAPE(entry) ? 1 : 5;
	}
}

/*
 * Copies the block at `unit` into a gap before `limit`; false: there is none, or the block is
 * obsolete already.
 */
static bool move(struct fib *fib, uint32_t unit, uint32_t limit)
{
	struct line_trie *trie = fib->table;
	uint32_t owner = units_owner(&trie->units, unit), count = trie->units.length[unit];
	uint32_t entry = trie->set.node[owner].entry, to, *fresh;

	if (is_leaf(entry) || P2PNIC_LINE_TRIE_UNIT(entry) != unit)
		return false;
	to = units_allocate(&trie->units, count, head_of(entry, count), owner);
	if (to == UNITS_NONE || to >= limit) {
		if (to != UNITS_NONE)
			units_release(&trie->units, to);
		return false;
	}
	fresh = vector_add(trie, &trie->fresh, sizeof *fresh);
	if (!fresh) {
		units_release(&trie->units, to);
		return false;
	}
	*fresh = to;
	memcpy(fib->image + 8ull * to, fib->image + 8ull * unit, 8 * count);
	set_word(fib, word_of(fib, &trie->set.node[owner]), (entry & 0xfff) | to << 12);
	set_node(trie, owner, (entry & 0xfff) | to << 12, trie->set.node[owner].inherited);
	retire(trie, entry);
	return !trie->status;
}

/* The last block in use; UNITS_NONE: none, or it waits for an epoch and makes room by itself. */
static uint32_t last_block(const struct units *units)
{
	uint32_t unit = units->top;

	while (unit-- > units->first) {
		if (units->state[unit] == UNITS_START)
			return unit;
		if (units->state[unit] == UNITS_PARKED)
			return UNITS_NONE;
	}
	return UNITS_NONE;
}

/*
 * Moves the image's last block into a gap, so that the image becomes shorter. When the block is too
 * large for every gap, moves the block behind the largest gap instead: that gap grows.
 */
static void compact(struct fib *fib)
{
	struct line_trie *trie = fib->table;
	struct units *units = &trie->units;
	uint32_t moved = 0;

	while (moved < MOVED_UNITS && units->free * (uint64_t)GAPS_DIVISOR > units->used &&
		!trie->status) {
		uint32_t unit = last_block(units), gap;

		if (unit == UNITS_NONE)
			return;
		if (!move(fib, unit, unit)) {
			gap = units_largest_gap(units);
			if (gap == UNITS_NONE)
				return;
			unit = gap + units->length[gap];
			if (units->state[unit] != UNITS_START || !move(fib, unit, units->top))
				return;
		}
		moved += units->length[unit] + 1;
	}
}

/* --- Transactions ----------------------------------------------------------------------------- */

static void journal_clear(struct line_trie *trie)
{
	trie->words.n = trie->fresh.n = trie->obsolete.n = 0;
	trie->nodes.n = trie->bases.n = trie->undo.n = 0;
	trie->status = 0;
}

static void roll_back(struct fib *fib)
{
	struct line_trie *trie = fib->table;

	while (trie->words.n) {
		const struct old_word *old = (struct old_word *)trie->words.item + --trie->words.n;

		*(uint32_t *)(fib->image + old->offset) = old->value;
	}
	while (trie->nodes.n) {
		const struct old_node *old = (struct old_node *)trie->nodes.item + --trie->nodes.n;

		trie->set.node[old->node].entry = old->entry;
		trie->set.node[old->node].inherited = old->inherited;
	}
	while (trie->bases.n) {
		const struct old_base *old = (struct old_base *)trie->bases.item + --trie->bases.n;

		trie->set.base[old->slot] = old->next_hop;
	}
	while (trie->fresh.n)
		units_release(&trie->units, ((uint32_t *)trie->fresh.item)[--trie->fresh.n]);
	while (trie->undo.n) {
		const struct fib_route *old = (struct fib_route *)trie->undo.item + --trie->undo.n;
		uint16_t ignored;

		/* Puts back what was there a moment ago: its place is still allocated. */
		route_set_set(&trie->set, old, &ignored);
		if (!old->next_hop)
			route_set_prune(&trie->set, old);
	}
}

static uint64_t image_bytes(const struct fib *fib)
{
	const struct line_trie *trie = fib->table;
	uint64_t slack = version_of(fib) == P2PNIC_FIB_VERSION_WIDE ? P2PNIC_LINE_TRIE_SLACK : 8;

	return (8ull * trie->units.top + slack + P2PNIC_FIB_ALIGN - 1) &
	       ~(uint64_t)(P2PNIC_FIB_ALIGN - 1);
}

/* Routes first; what they were goes to the journal. *effective: those that changed anything. */
static void apply(struct line_trie *trie, const struct fib_route *changes, size_t n)
{
	for (size_t i = 0; i < n && !trie->status; i++) {
		struct fib_route *old = vector_add(trie, &trie->undo, sizeof *old);
		uint16_t next_hop;

		if (!old)
			return;
		trie->status = route_set_set(&trie->set, &changes[i], &next_hop);
		if (trie->status || next_hop == changes[i].next_hop) {
			trie->undo.n--;
			continue;
		}
		*old = changes[i];
		old->next_hop = next_hop;
	}
}

static int fits(const struct fib *fib, struct error *error)
{
	const struct line_trie *trie = fib->table;
	uint64_t needed = image_bytes(fib);
	uint64_t waiting = 8ull * (trie->units.parked + trie->units.free);

	if (trie->status == -ENOMEM)
		return error_set(error, -ENOMEM, "fib: out of host memory");
	if (trie->status == -ENOSPC)
		return error_set(error, -ENOSPC,
			"fib: %zu routes need more than the %llu bytes that a line trie can have; "
			"room is %llu",
			trie->set.routes, (unsigned long long)IMAGE_BYTES_MAX,
			(unsigned long long)fib->config.room);
	if (needed <= fib->config.room)
		return 0;
	if (trie->units.parked && needed - waiting <= fib->config.room)
		return error_set(error, -EAGAIN,
			"fib: %llu bytes are free as soon as their epoch has passed",
			8ull * trie->units.parked);
	return error_set(error, -ENOSPC,
		"fib: an IPv%u table of %zu routes needs %llu bytes, room is %llu",
		fib->config.family, trie->set.routes, (unsigned long long)needed,
		(unsigned long long)fib->config.room);
}

static int line_trie_change(
	struct fib *fib, const struct fib_route *changes, size_t n, struct error *error)
{
	struct line_trie *trie = fib->table;
	int status;

	journal_clear(trie);
	apply(trie, changes, n);
	if (!trie->status)
		update_root(fib, trie->undo.item, trie->undo.n);
	if (!trie->status)
		compact(fib);
	if (!trie->status && !units_reserve(&trie->units, trie->obsolete.n))
		trie->status = -ENOMEM;
	status = fits(fib, error);
	if (status) {
		roll_back(fib);
		return status;
	}
	for (size_t i = 0; i < trie->fresh.n; i++) {
		uint32_t unit = ((uint32_t *)trie->fresh.item)[i];

		patch_add(&fib->patch, fib->image, 8ull * unit, 8ull * trie->units.length[unit]);
	}
	for (size_t i = 0; i < trie->words.n; i++)
		patch_publish(&fib->patch, fib->image,
			((struct old_word *)trie->words.item)[i].offset, 4);
	if (fib->patch.failed) {
		error_set(error, -ENOMEM, "fib: out of host memory for a patch");
		roll_back(fib);
		return -ENOMEM;
	}
	for (size_t i = 0; i < trie->obsolete.n; i++)
		units_park(&trie->units, ((uint32_t *)trie->obsolete.item)[i], fib->epoch + 1);
	for (size_t i = 0; i < n; i++)
		if (!changes[i].next_hop)
			route_set_prune(&trie->set, &changes[i]);
	fib->routes = trie->set.routes;
	fib->used = image_bytes(fib);
	return 0;
}

static void line_trie_epoch_passed(struct fib *fib, uint64_t epoch)
{
	struct line_trie *trie = fib->table;

	units_epoch_passed(&trie->units, epoch);
	fib->used = image_bytes(fib);
}

/* --- Whole tables ----------------------------------------------------------------------------- */

static void trie_free(struct line_trie *trie)
{
	if (!trie)
		return;
	route_set_close(&trie->set);
	units_close(&trie->units);
	free(trie->words.item);
	free(trie->fresh.item);
	free(trie->obsolete.item);
	free(trie->nodes.item);
	free(trie->bases.item);
	free(trie->undo.item);
	free(trie);
}

static struct line_trie *trie_new(void)
{
	struct line_trie *trie = calloc(1, sizeof *trie);

	if (!trie)
		return NULL;
	if (route_set_open(&trie->set) ||
		units_open(&trie->units, P2PNIC_LINE_TRIE_NODES / 8,
			P2PNIC_LINE_TRIE_UNITS_MAX - P2PNIC_LINE_TRIE_SLACK / 8)) {
		trie_free(trie);
		return NULL;
	}
	return trie;
}

static uint8_t *image_new(const struct fib *fib)
{
	uint8_t *image = mmap(NULL, IMAGE_BYTES_MAX, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (image == MAP_FAILED)
		return NULL;
	*(struct p2pnic_fib_header *)image = (struct p2pnic_fib_header){
		.magic = P2PNIC_FIB_MAGIC,
		.version = (uint16_t)version_of(fib),
		.family = (uint8_t)fib->config.family,
		.kind = P2PNIC_FIB_LINE_TRIE,
		.bytes = fib->config.room,
	};
	for (unsigned i = 0; i < 256; i++)
		image[P2PNIC_LINE_TRIE_LEAVES + 8 * i] = (uint8_t)i;
	return image;
}

static int line_trie_build(
	struct fib *fib, const struct fib_route *routes, size_t n, struct error *error)
{
	struct line_trie *old = fib->table, *trie = trie_new();
	uint8_t *old_image = fib->image, *image = image_new(fib);
	uint16_t ignored;
	int status;

	if (!trie || !image) {
		error_set(error, -ENOMEM, "fib: out of host memory for a table of %zu routes", n);
		trie_free(trie);
		if (image)
			munmap(image, IMAGE_BYTES_MAX);
		return -ENOMEM;
	}
	fib->table = trie;
	fib->image = image;
	for (size_t i = 0; i < n && !trie->status; i++)
		trie->status = route_set_set(&trie->set, &routes[i], &ignored);
	for (uint32_t slot = 0; slot < ROOT_SLOTS && !trie->status; slot++) {
		trie->set.base[slot] = route_set_base(&trie->set, slot);
		update_root_slot(fib, slot, NULL, 0);
	}
	status = fits(fib, error);
	if (status) {
		fib->table = old;
		fib->image = old_image;
		trie_free(trie);
		munmap(image, IMAGE_BYTES_MAX);
		return status;
	}
	journal_clear(trie);
	trie_free(old);
	if (old_image)
		munmap(old_image, IMAGE_BYTES_MAX);
	fib->routes = trie->set.routes;
	fib->used = image_bytes(fib);
	return 0;
}

static int line_trie_open(struct fib *fib, struct error *error)
{
	uint64_t least = P2PNIC_LINE_TRIE_NODES + P2PNIC_FIB_ALIGN;

	if (fib->config.room < least)
		return error_set(error, -ENOSPC,
			"fib: a line trie needs %llu bytes at least, room is %llu",
			(unsigned long long)least, (unsigned long long)fib->config.room);
	if (fib->config.room > IMAGE_BYTES_MAX)
		fib->config.room = IMAGE_BYTES_MAX;
	return 0;
}

static void line_trie_close(struct fib *fib)
{
	trie_free(fib->table);
	if (fib->image)
		munmap(fib->image, IMAGE_BYTES_MAX);
}

static void line_trie_each(const struct fib *fib,
	void (*visit)(void *context, const struct fib_route *route), void *context)
{
	const struct line_trie *trie = fib->table;

	route_set_each(&trie->set, fib->config.family, visit, context);
}

const struct fib_ops line_trie_ops = {
	.open = line_trie_open,
	.close = line_trie_close,
	.build = line_trie_build,
	.change = line_trie_change,
	.epoch_passed = line_trie_epoch_passed,
	.each = line_trie_each,
};
