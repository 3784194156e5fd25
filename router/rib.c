/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Routes in order, in blocks of up to 128, each full, or half full, or what withdrawing left. A
 * block is found by binary search, and so is a place in it. Files are sorted mostly, so the block
 * of the last change is looked at first. (With a hash table a million routes took three times as
 * long: each was a miss of the cache, and they had to be sorted in the end.)
 *
 * Order: family, prefix, length, source. So the routes to one prefix stand together.
 */
#include "router/rib.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_ROUTES 128u

struct block {
	struct rib_route *route; /* BLOCK_ROUTES of them */
	unsigned n;              /* in use; never 0 */
};

struct rib {
	struct block *block;
	size_t blocks, room;
	size_t last; /* block of the last change, or any */
	size_t routes;
};

/* Where a route is, or would stand: at the end of a block if need be. */
struct place {
	size_t block;
	unsigned k;
};

const char *rib_source_name(enum rib_source source)
{
	static const char *const name[] = {[RIB_LOCAL] = "local",
		[RIB_NEIGHBOR] = "neighbor",
		[RIB_STATIC] = "static",
		[RIB_CONNECTED] = "connected",
		[RIB_FILE] = "file",
		[RIB_KERNEL] = "kernel"};

	return name[source];
}

struct rib *rib_new(void)
{
	return calloc(1, sizeof(struct rib));
}

void rib_free(struct rib *rib)
{
	if (!rib)
		return;
	for (size_t b = 0; b < rib->blocks; b++)
		free(rib->block[b].route);
	free(rib->block);
	free(rib);
}

static int order_prefix(const struct rib_route *a, const struct rib_route *b)
{
	int by_address = address_order(a->family, &a->prefix, b->family, &b->prefix);

	return by_address ? by_address : (int)a->length - (int)b->length;
}

static int order(const struct rib_route *a, const struct rib_route *b)
{
	int by_prefix = order_prefix(a, b);

	return by_prefix ? by_prefix : (int)a->source - (int)b->source;
}

static bool better(const struct rib_route *a, const struct rib_route *b)
{
	if (a->preference != b->preference)
		return a->preference < b->preference;
	if (a->metric != b->metric)
		return a->metric < b->metric;
	return a->source < b->source;
}

/* Whether a block begins at `like` or before it. */
static bool begins_before(const struct rib *rib, size_t block, const struct rib_route *like)
{
	return order(&rib->block[block].route[0], like) <= 0;
}

/* The last block that begins at `like` or before it; else the first. */
static size_t block_of(const struct rib *rib, const struct rib_route *like)
{
	size_t low = 0, high = rib->blocks;

	if (rib->last < rib->blocks && begins_before(rib, rib->last, like) &&
		(rib->last + 1 == rib->blocks || !begins_before(rib, rib->last + 1, like)))
		return rib->last;
	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (begins_before(rib, middle, like))
			low = middle + 1;
		else
			high = middle;
	}
	return low ? low - 1 : 0;
}

/* The first one that is not before `like`. */
static struct place place_of(const struct rib *rib, const struct rib_route *like)
{
	struct place at = {block_of(rib, like), 0};
	unsigned high = rib->blocks ? rib->block[at.block].n : 0;

	while (at.k < high) {
		unsigned middle = at.k + (high - at.k) / 2;

		if (order(&rib->block[at.block].route[middle], like) < 0)
			at.k = middle + 1;
		else
			high = middle;
	}
	return at;
}

/* The route at a place, or behind it where that is a block's end; NULL: no more. */
static const struct rib_route *route_at(const struct rib *rib, struct place *at)
{
	if (at->block < rib->blocks && at->k == rib->block[at->block].n)
		*at = (struct place){at->block + 1, 0};
	return at->block < rib->blocks ? &rib->block[at->block].route[at->k] : NULL;
}

/* Puts an empty block in; the caller fills it. */
static struct block *add_block(struct rib *rib, size_t b)
{
	struct rib_route *route;

	if (!rib->block || rib->blocks == rib->room) {
		size_t room = rib->room ? rib->room * 2 : 16;
		struct block *larger = realloc(rib->block, room * sizeof(*larger));

		if (!larger)
			return NULL;
		rib->block = larger;
		rib->room = room;
	}
	route = malloc(BLOCK_ROUTES * sizeof(*route));
	if (!route)
		return NULL;
	memmove(&rib->block[b + 1], &rib->block[b], (rib->blocks - b) * sizeof(*rib->block));
	rib->block[b] = (struct block){route, 0};
	rib->blocks++;
	return &rib->block[b];
}

/* Makes room for one more at a place that its block has none for. */
static int make_room(struct rib *rib, struct place *at)
{
	const bool end = !rib->blocks || at->k == BLOCK_ROUTES;
	struct block *full, *new = add_block(rib, rib->blocks ? at->block + 1 : 0);

	if (!new)
		return -ENOMEM;
	if (end) { /* what comes in order leaves full blocks */
		*at = (struct place){rib->blocks == 1 ? 0 : at->block + 1, 0};
		return 0;
	}
	full = &rib->block[at->block];
	full->n = BLOCK_ROUTES / 2;
	new->n = BLOCK_ROUTES - full->n;
	memcpy(new->route, &full->route[full->n], new->n * sizeof(*new->route));
	if (at->k > full->n)
		*at = (struct place){at->block + 1, at->k - full->n};
	return 0;
}

int rib_set(struct rib *rib, const struct rib_route *route)
{
	struct place at = place_of(rib, route);
	struct block *block = rib->blocks ? &rib->block[at.block] : NULL;

	if (block && at.k < block->n && !order(&block->route[at.k], route)) {
		block->route[at.k] = *route;
		return 0;
	}
	if ((!block || block->n == BLOCK_ROUTES) && make_room(rib, &at))
		return -ENOMEM;
	block = &rib->block[at.block];
	memmove(&block->route[at.k + 1], &block->route[at.k],
		(block->n - at.k) * sizeof(*block->route));
	block->route[at.k] = *route;
	block->n++;
	rib->last = at.block;
	rib->routes++;
	return 0;
}

static struct rib_route like_of(enum rib_source source, const struct prefix *p)
{
	return (struct rib_route){.prefix = p->address.bits,
		.length = p->length,
		.family = p->address.family,
		.source = (uint8_t)source};
}

bool rib_withdraw(struct rib *rib, enum rib_source source, const struct prefix *p)
{
	const struct rib_route like = like_of(source, p);
	struct place at = place_of(rib, &like);
	struct block *block = rib->blocks ? &rib->block[at.block] : NULL;

	if (!block || at.k == block->n || order(&block->route[at.k], &like))
		return false;
	rib->last = at.block;
	rib->routes--;
	block->n--;
	memmove(&block->route[at.k], &block->route[at.k + 1],
		(block->n - at.k) * sizeof(*block->route));
	if (block->n)
		return true;
	free(block->route);
	rib->blocks--;
	memmove(&rib->block[at.block], &rib->block[at.block + 1],
		(rib->blocks - at.block) * sizeof(*rib->block));
	return true;
}

/* The best of those to the prefix at a place, which moves on behind them. */
static const struct rib_route *best_at(const struct rib *rib, struct place *at)
{
	const struct rib_route *best = route_at(rib, at), *route = best;

	while (route) {
		at->k++;
		route = route_at(rib, at);
		if (!route || order_prefix(route, best))
			break;
		if (better(route, best))
			best = route;
	}
	return best;
}

const struct rib_route *rib_best(const struct rib *rib, const struct prefix *p)
{
	const struct rib_route like = like_of(0, p);
	struct place at = place_of(rib, &like);
	const struct rib_route *route = route_at(rib, &at);

	return route && !order_prefix(route, &like) ? best_at(rib, &at) : NULL;
}

const struct rib_route *rib_next(const struct rib *rib, size_t *from)
{
	struct place at = {*from / BLOCK_ROUTES, (unsigned)(*from % BLOCK_ROUTES)};
	const struct rib_route *best = best_at(rib, &at);

	*from = at.block * BLOCK_ROUTES + at.k;
	return best;
}

size_t rib_routes(const struct rib *rib)
{
	return rib->routes;
}
