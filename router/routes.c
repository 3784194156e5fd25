/* SPDX-License-Identifier: BSD-3-Clause */
#include "router/routes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* --- Lists ------------------------------------------------------------------------------------ */

int route_order(const struct route *a, const struct route *b)
{
	int by_address = address_order(a->family, &a->prefix, b->family, &b->prefix);

	return by_address ? by_address : (int)a->length - (int)b->length;
}

const struct route *routes_longest(const struct routes *routes, const struct address *to)
{
	const struct route *found = NULL;

	for (unsigned length = address_bits(to) + 1; length-- > 0 && !found;) {
		struct route like = {
			prefix_of(to, length).address.bits, (uint8_t)length, to->family, 0, 0};

		found = routes_find(routes, &like);
	}
	return found;
}

int routes_reserve(struct routes *r, size_t more)
{
	size_t room = r->room ? r->room : 256;
	struct route *larger;

	if (r->n + more <= r->room)
		return 0;
	while (room < r->n + more)
		room *= 2;
	larger = realloc(r->route, room * sizeof(*larger));
	if (!larger)
		return -ENOMEM;
	r->route = larger;
	r->room = room;
	return 0;
}

int routes_add(struct routes *r, const struct route *route)
{
	int error = routes_reserve(r, 1);

	if (!error)
		r->route[r->n++] = *route;
	return error;
}

int routes_difference(struct routes *changes, const struct routes *from, const struct routes *to)
{
	size_t i = 0, j = 0;
	int error = 0;

	*changes = (struct routes){0};
	while (!error && (i < from->n || j < to->n)) {
		int order = i == from->n ? 1
			    : j == to->n ? -1
					 : route_order(&from->route[i], &to->route[j]);

		if (order < 0) {
			struct route gone = from->route[i];

			gone.next_hop = 0;
			error = routes_add(changes, &gone);
		} else if (order > 0 || from->route[i].next_hop != to->route[j].next_hop ||
			   from->route[i].source != to->route[j].source) {
			error = routes_add(changes, &to->route[j]);
		}
		i += order <= 0;
		j += order >= 0;
	}
	if (error)
		routes_free(changes);
	return error;
}

/* How many of the first `n` come before it. */
static size_t place_of(const struct routes *r, size_t n, const struct route *like)
{
	size_t low = 0, high = n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (route_order(&r->route[middle], like) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

const struct route *routes_find(const struct routes *r, const struct route *like)
{
	size_t k = place_of(r, r->n, like);

	return k < r->n && !route_order(&r->route[k], like) ? &r->route[k] : NULL;
}

size_t routes_from(const struct routes *r, const struct route *like)
{
	return place_of(r, r->n, like);
}

size_t routes_behind(const struct routes *r, const struct route *like)
{
	const size_t k = place_of(r, r->n, like);

	return k + (k < r->n && !route_order(&r->route[k], like));
}

void routes_apply(struct routes *r, const struct route *change, size_t changes)
{
	size_t kept = r->n, added = 0, end, to;

	/* Replace, and mark the deleted. */
	for (size_t j = 0; j < changes; j++) {
		size_t k = place_of(r, r->n, &change[j]);

		if (k == r->n || route_order(&r->route[k], &change[j])) {
			added += change[j].next_hop != 0;
			continue;
		}
		r->route[k] = change[j];
		if (!change[j].next_hop && k < kept)
			kept = k;
	}
	for (size_t k = kept; k < r->n; k++)
		if (r->route[k].next_hop)
			r->route[kept++] = r->route[k];
	r->n = kept;
	/* Add from behind, so that each stretch of the others moves once. */
	end = r->n;
	r->n = to = end + added;
	for (size_t j = changes; j-- && to > end;) {
		size_t k = place_of(r, end, &change[j]);

		if (!change[j].next_hop || (k < end && !route_order(&r->route[k], &change[j])))
			continue;
		to -= end - k;
		memmove(&r->route[to], &r->route[k], (end - k) * sizeof(*change));
		end = k;
		r->route[--to] = change[j];
	}
}

void routes_free(struct routes *r)
{
	free(r->route);
	*r = (struct routes){0};
}
