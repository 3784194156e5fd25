/* SPDX-License-Identifier: BSD-3-Clause */
#include "synthetic.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "internal.h"

/* Prefixes by length in the tables of 2026-03. */
static const uint32_t ipv4_lengths[25] = {[8] = 16,
	14,
	39,
	97,
	306,
	599,
	1223,
	2249,
	14310,
	9053,
	15072,
	27788,
	49815,
	57824,
	122384,
	126268,
	741888};
static const uint32_t ipv6_lengths[49] = {[19] = 1,
	15,
	3,
	6,
	6,
	42,
	13,
	18,
	19,
	173,
	5532,
	759,
	360,
	27182,
	5995,
	5884,
	2084,
	10386,
	1366,
	2836,
	1928,
	24765,
	4874,
	3613,
	1758,
	26975,
	5090,
	8379,
	9843,
	129950};

/* IPv4: the 27,698 /16s that hold longer prefixes, by how many: every twentieth of them,
 * ascending. */
static const uint16_t cluster4_size[21] = {
	1, 1, 2, 2, 3, 4, 6, 8, 10, 13, 17, 22, 30, 39, 49, 61, 74, 93, 118, 156, 432};

/* IPv6: the /16s that hold prefixes, and their share of them in thousandths. */
static const struct {
	uint16_t block, share;
} block6[] = {{0x2804, 114}, {0x2001, 111}, {0x2409, 75}, {0x2401, 43}, {0x2600, 37}, {0x2a02, 36},
	{0x2803, 34}, {0x2402, 33}, {0x2800, 29}, {0x2405, 28}, {0x2400, 27}, {0x2408, 23},
	{0x2806, 23}, {0x2602, 22}, {0x2403, 22}, {0x2a00, 21}, {0x240e, 19}, {0x2c0f, 19},
	{0x2604, 17}, {0x240a, 17}, {0x2a01, 16}, {0x2607, 15}, {0x2605, 15}, {0x2606, 13},
	{0x2a03, 12}, {0x2404, 12}, {0x2406, 11}, {0x2a0f, 11}, {0x2620, 11}, {0x2a0d, 10},
	{0x2a0a, 9}, {0x2a06, 9}, {0x2407, 9}, {0x2a0e, 9}, {0x2a04, 9}, {0x2a0b, 8}, {0x2a14, 8},
	{0x2a13, 7}, {0x2a05, 7}, {0x2a0c, 7}};

/*
 * Of 100: how often a prefix has the AS of the one it lies in, or follows the last placed of its
 * length; and the AS of that one then. Measured: 77 and 73 (IPv4), 80 and 55 (IPv6); the rest is
 * chosen so that the compiled tables come out at the real ones' sizes.
 */
#define SAME_AS_PARENT4   77u
#define FOLLOWS4          80u
#define SAME_AS_PREVIOUS4 50u
#define SAME_AS_PARENT6   80u
#define FOLLOWS6          55u
#define SAME_AS_PREVIOUS6 91u

/* IPv6 prefixes longer than /32: of 100, in space of their own; else in a shorter one, chosen this
 * unevenly… */
#define NEW6       5u
#define HOLDER6(u) ((u) * (u) * (u) * (u) * (u))
/* …at a place in it that is this near its beginning. */
#define PLACE6(u)  ((u) * (u) * (u) * (u))

#define AUTONOMOUS_SYSTEMS 78217u

struct maker {
	struct route_list *list;
	unsigned next_hops;
	uint64_t random;
	uint64_t *seen; /* open hash of {prefix's top 48 bits, length} + 1 */
	size_t seen_room, seen_used;
	int status;
};

static uint64_t below(struct maker *m, uint64_t n)
{
	return check_random(&m->random) % n;
}

static bool chance(struct maker *m, unsigned of_100)
{
	return below(m, 100) < of_100;
}

/* Few systems announce much, most very little; numbers look like real ones. */
static uint32_t random_as(struct maker *m)
{
	double u = (double)(check_random(&m->random) >> 11) * 0x1p-53;
	uint32_t rank = (uint32_t)pow(AUTONOMOUS_SYSTEMS, u);

	return 1 + (rank * 40503u & 0x3ffff);
}

/* Adds a prefix (its bits left-aligned in 64) unless it is there already. */
static bool add(struct maker *m, unsigned family, uint64_t bits, unsigned length, uint32_t asn)
{
	uint64_t key = (bits >> 16 << 8 | length) + 1;
	size_t at = (key * 0x9e3779b97f4a7c15u >> 32) & (m->seen_room - 1);
	struct fib_route route = {{bits, 0}, (uint8_t)length, (uint8_t)family,
		route_file_next_hop(asn, m->next_hops)};

	for (; m->seen[at]; at = (at + 1) & (m->seen_room - 1))
		if (m->seen[at] == key)
			return false;
	m->seen[at] = key;
	if (route_list_add(m->list, &route, asn))
		m->status = -ENOMEM;
	return true;
}

static int open_maker(struct maker *m, struct route_list *list, unsigned next_hops, uint64_t seed)
{
	*m = (struct maker){.list = list, .next_hops = next_hops, .random = seed};
	m->seen_room = 1u << 22; /* twice the routes of either family, at least */
	m->seen = calloc(m->seen_room, sizeof *m->seen);
	return m->seen ? 0 : -ENOMEM;
}

/* --- IPv4 ------------------------------------------------------------------------------------- */

static unsigned cluster_size(struct maker *m)
{
	unsigned step = (unsigned)below(m, 20), low = cluster4_size[step];

	return low + (unsigned)below(m, cluster4_size[step + 1] - low + 1u);
}

static bool unicast4(uint32_t slash16)
{
	uint32_t octet = slash16 >> 8;

	return octet >= 1 && octet < 224 && octet != 10 && octet != 127;
}

/* One /16: `n` lengths, ascending. Returns how many found no place (first in `length`). */
static unsigned cluster4(struct maker *m, uint32_t slash16, uint8_t *length, unsigned n)
{
	uint32_t owner[256], previous_as = random_as(m);
	unsigned last_length = 0, last_slot = 0, left = 0;

	for (unsigned i = 0; i < 256; i++)
		owner[i] = previous_as;
	for (unsigned i = 0; i < n; i++) {
		unsigned slots = 1u << (length[i] - 16), width = 256 / slots, slot;
		bool follows = length[i] == last_length && chance(m, FOLLOWS4), placed = false;
		uint32_t asn;

		slot = follows ? (last_slot + 1) % slots : (unsigned)below(m, slots);
		if (chance(m, SAME_AS_PARENT4))
			asn = owner[slot * width];
		else if (follows && chance(m, SAME_AS_PREVIOUS4))
			asn = previous_as;
		else
			asn = random_as(m);
		for (unsigned tries = 0; tries < slots && !placed; tries++) {
			placed = add(m, 4, (uint64_t)slash16 << 48 | (uint64_t)slot * width << 40,
				length[i], asn);
			if (!placed)
				slot = (slot + 1) % slots;
		}
		if (!placed) {
			length[left++] = length[i];
			continue;
		}
		for (unsigned s = slot * width; s < (slot + 1) * width; s++)
			owner[s] = asn;
		previous_as = asn;
		last_length = length[i];
		last_slot = slot;
	}
	return left;
}

static int by_octet(const void *a, const void *b)
{
	return *(const uint8_t *)a - *(const uint8_t *)b;
}

static void make4(struct maker *m)
{
	size_t cards = 0, dealt = 0;
	uint8_t *deck, *used;

	for (unsigned length = 17; length <= 24; length++)
		cards += ipv4_lengths[length];
	deck = malloc(cards + 512);
	used = calloc(1, 1 << 16);
	if (!deck || !used) {
		m->status = -ENOMEM;
		goto out;
	}
	cards = 0;
	for (unsigned length = 8; length <= 16; length++) {
		for (uint32_t i = 0; i < ipv4_lengths[length];) {
			uint32_t place = (uint32_t)below(m, 1u << length) << (16 - length);

			i += unicast4(place) &&
			     add(m, 4, (uint64_t)place << 48, length, random_as(m));
		}
	}
	for (unsigned length = 17; length <= 24; length++) {
		memset(deck + cards, (int)length, ipv4_lengths[length]);
		cards += ipv4_lengths[length];
	}
	for (size_t i = cards; i > 1; i--) {
		size_t other = below(m, i);
		uint8_t card = deck[i - 1];

		deck[i - 1] = deck[other];
		deck[other] = card;
	}
	while (dealt < cards && !m->status) {
		uint32_t slash16 = (uint32_t)below(m, 1u << 16);
		unsigned n = cluster_size(m), left;

		if (!unicast4(slash16) || used[slash16])
			continue;
		used[slash16] = 1;
		if (n > cards - dealt)
			n = (unsigned)(cards - dealt);
		qsort(deck + dealt, n, 1, by_octet);
		left = cluster4(m, slash16, deck + dealt, n);
		/* Those without a place go to the next cluster. */
		memmove(deck + dealt + n - left, deck + dealt, left);
		dealt += n - left;
	}
out:
	free(deck);
	free(used);
}

/* --- IPv6 ------------------------------------------------------------------------------------- */

struct holder {
	uint64_t bits;
	uint32_t asn;
	uint8_t length;
};

static uint64_t random_block(struct maker *m)
{
	unsigned share = (unsigned)below(m, 1000), i = 0;

	while (i + 1 < sizeof block6 / sizeof block6[0] && share >= block6[i].share)
		share -= block6[i++].share;
	return (uint64_t)block6[i].block << 48;
}

static void make6(struct maker *m)
{
	struct holder *holder = malloc((1u << 18) * sizeof *holder);
	size_t holders = 0;

	if (!holder) {
		m->status = -ENOMEM;
		return;
	}
	for (unsigned length = 19; length <= 48; length++) {
		uint64_t step = 1ull << (64 - length), last = 0;
		uint32_t last_as = 0;

		for (uint32_t i = 0; i < ipv6_lengths[length] && !m->status;) {
			bool follows = i && chance(m, FOLLOWS6);
			uint64_t bits = last + step;
			uint32_t asn = last_as;

			if (follows) {
				if (!chance(m, SAME_AS_PREVIOUS6))
					asn = random_as(m);
			} else if (length < 33 || chance(m, NEW6) || !holders) {
				/* New space: registries hand out blocks next to each other. */
				bits = random_block(m) |
				       (check_random(&m->random) >> 16 & 0x0fffffffffffull);
				if (length >= 33)
					bits &= 0xffff0fff00000000u | ~0ull >> 32;
				asn = random_as(m);
			} else {
				/* Inside an announced prefix; a few of these take most. */
				double u = (double)below(m, 1u << 30) * 0x1p-30;
				const struct holder *h =
					&holder[(size_t)((double)holders * HOLDER6(u))];

				/* Networks are numbered from the bottom up. */
				double v = (double)below(m, 1u << 30) * 0x1p-30;

				bits = h->bits;
				if (h->length < length)
					bits |= (uint64_t)(PLACE6(v) * 0x1p63) * 2 >> h->length;
				asn = chance(m, SAME_AS_PARENT6) ? h->asn : random_as(m);
			}
			bits &= ~(step - 1);
			if (bits >> 61 != 1 || !add(m, 6, bits, length, asn)) {
				last += follows ? step : 0;
				continue;
			}
			i++;
			last = bits;
			last_as = asn;
			if (length >= 29 && length <= 40 && holders < 1u << 18) {
				/* At a random place among the others: sizes do not follow
				 * lengths. */
				size_t at = below(m, holders + 1);

				holder[holders++] = holder[at];
				holder[at] = (struct holder){bits, asn, (uint8_t)length};
			}
		}
	}
	free(holder);
}

/* ---------------------------------------------------------------------------------------------- */

struct row {
	struct fib_route route;
	uint32_t asn;
};

static int by_prefix(const void *a, const void *b)
{
	return route_compare(&((const struct row *)a)->route, &((const struct row *)b)->route);
}

/* From a place in the list on: what stood there before keeps its place, as later routes replace
 * earlier ones. */
static int sort(struct route_list *list, size_t from)
{
	size_t n = list->n - from;
	struct row *row = malloc(n * sizeof *row);

	if (!row)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		row[i] = (struct row){list->route[from + i], list->asn[from + i]};
	qsort(row, n, sizeof *row, by_prefix);
	for (size_t i = 0; i < n; i++) {
		list->route[from + i] = row[i].route;
		list->asn[from + i] = row[i].asn;
	}
	free(row);
	return 0;
}

int synthetic_table(struct route_table *table, unsigned next_hops, uint64_t seed)
{
	int status = route_table_spread(table, next_hops);

	for (unsigned six = 0; six < 2 && !status; six++) {
		struct route_list *list = six ? &table->ipv6 : &table->ipv4;
		size_t from = list->n;
		struct maker maker;

		status = open_maker(&maker, list, next_hops, seed + six);
		if (!status) {
			(six ? make6 : make4)(&maker);
			status = maker.status;
		}
		free(maker.seen);
		if (!status)
			status = sort(list, from);
	}
	return status;
}
