/* SPDX-License-Identifier: BSD-3-Clause */
#include "internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "firmware/fib_lookup.h"

int route_compare(const struct fib_route *a, const struct fib_route *b)
{
	if (a->prefix.high != b->prefix.high)
		return a->prefix.high < b->prefix.high ? -1 : 1;
	if (a->prefix.low != b->prefix.low)
		return a->prefix.low < b->prefix.low ? -1 : 1;
	return (int)a->length - (int)b->length;
}

static const struct fib_ops *ops_of(unsigned kind)
{
	switch (kind) {
	case P2PNIC_FIB_STATE_JUMP:
		return &state_jump_ops;
	case P2PNIC_FIB_LINE_TRIE:
		return &line_trie_ops;
	default:
		return NULL;
	}
}

struct fib *fib_new(const struct fib_config *config, struct error *error)
{
	const struct fib_ops *ops = ops_of(config->kind);
	struct fib *fib;

	if ((config->family != 4 && config->family != 6) || !ops) {
		error_set(error, -EINVAL, "fib: no table of family %u and kind %u", config->family,
			config->kind);
		return NULL;
	}
	if (config->room > 1ull << 32) {
		error_set(error, -EINVAL, "fib: room of %llu bytes is beyond 4 GiB",
			(unsigned long long)config->room);
		return NULL;
	}
	fib = calloc(1, sizeof *fib);
	if (!fib) {
		error_set(error, -ENOMEM, "fib: out of memory");
		return NULL;
	}
	fib->config = *config;
	fib->config.room &= ~(uint64_t)(P2PNIC_FIB_ALIGN - 1);
	fib->ops = ops;
	if (ops->open(fib, error) || fib_build(fib, NULL, 0, error)) {
		fib_free(fib);
		return NULL;
	}
	return fib;
}

void fib_free(struct fib *fib)
{
	if (!fib)
		return;
	fib->ops->close(fib);
	patch_free(&fib->patch);
	free(fib);
}

static int check(
	const struct fib *fib, const struct fib_route *route, bool change, struct error *error)
{
	unsigned bits = fib->config.family == 4 ? 32 : 128;
	unsigned length = route->length;
	uint64_t high = length >= 64 ? 0 : ~0ull >> length;
	uint64_t low = length >= 128 ? 0 : length <= 64 ? ~0ull : ~0ull >> (length - 64);

	if (route->family != fib->config.family)
		return error_set(error, -EINVAL, "fib: a route of family %u in a table of IPv%u",
			route->family, fib->config.family);
	if (length > bits)
		return error_set(error, -EINVAL, "fib: prefix length %u is above %u", length, bits);
	if ((route->prefix.high & high) || (route->prefix.low & low))
		return error_set(error, -EINVAL,
			"fib: prefix %016llx%016llx has bits set beyond its length %u",
			(unsigned long long)route->prefix.high,
			(unsigned long long)route->prefix.low, length);
	if (route->next_hop >= P2PNIC_NEXT_HOPS_MAX || (!route->next_hop && !change))
		return error_set(error, -EINVAL, "fib: next hop %u is not in 1 to %u",
			route->next_hop, P2PNIC_NEXT_HOPS_MAX - 1);
	return 0;
}

struct sort_item {
	const struct fib_route *route;
};

static int compare_items(const void *a, const void *b)
{
	const struct fib_route *x = ((const struct sort_item *)a)->route;
	const struct fib_route *y = ((const struct sort_item *)b)->route;
	int order = route_compare(x, y);

	return order ? order : x < y ? -1 : 1; /* stable: the last of equals stays last */
}

/*
 * Checked, sorted and without duplicates. *sorted is `routes` itself when that is so already, else
 * a copy in *copy (free it).
 */
static int normalize(const struct fib *fib, const struct fib_route *routes, size_t *n, bool change,
	const struct fib_route **sorted, struct fib_route **copy, struct error *error)
{
	struct sort_item *items;
	bool ordered = true;
	size_t kept = 0;

	*copy = NULL;
	*sorted = routes;
	for (size_t i = 0; i < *n; i++) {
		int status = check(fib, &routes[i], change, error);

		if (status)
			return status;
		if (i && route_compare(&routes[i - 1], &routes[i]) >= 0)
			ordered = false;
	}
	if (ordered)
		return 0;
	items = malloc(*n * sizeof *items);
	*copy = malloc(*n * sizeof **copy);
	if (!items || !*copy) {
		error_set(error, -ENOMEM, "fib: out of memory sorting %zu routes", *n);
		free(items);
		free(*copy);
		*copy = NULL;
		return -ENOMEM;
	}
	for (size_t i = 0; i < *n; i++)
		items[i].route = &routes[i];
	qsort(items, *n, sizeof *items, compare_items);
	for (size_t i = 0; i < *n; i++) {
		if (kept && !route_compare(&(*copy)[kept - 1], items[i].route))
			kept--;
		(*copy)[kept++] = *items[i].route;
	}
	free(items);
	*n = kept;
	*sorted = *copy;
	return 0;
}

int fib_build(struct fib *fib, const struct fib_route *routes, size_t n, struct error *error)
{
	const struct fib_route *sorted;
	struct fib_route *copy;
	int status = normalize(fib, routes, &n, false, &sorted, &copy, error);

	if (!status)
		status = fib->ops->build(fib, sorted, n, error);
	free(copy);
	return status;
}

int fib_change(struct fib *fib, const struct fib_route *changes, size_t n,
	const struct fib_patch **patch, struct error *error)
{
	const struct fib_route *sorted;
	struct fib_route *copy;
	int status = normalize(fib, changes, &n, true, &sorted, &copy, error);

	patch_clear(&fib->patch);
	if (!status)
		status = fib->ops->change(fib, sorted, n, error);
	free(copy);
	if (!status)
		*patch = patch_view(&fib->patch, ++fib->epoch);
	return status;
}

void fib_epoch_passed(struct fib *fib, uint64_t epoch)
{
	fib->ops->epoch_passed(fib, epoch);
}

const void *fib_image(const struct fib *fib, uint64_t *bytes)
{
	if (bytes)
		*bytes = fib->used;
	return fib->image;
}

void fib_image_write(const struct fib *fib, void *device)
{
	const uint64_t *from = (const uint64_t *)fib->image;
	_Atomic uint64_t *to = device;

	atomic_store_explicit(to, 0, memory_order_relaxed);
	for (uint64_t i = 1; i < fib->used / 8; i++)
		atomic_store_explicit(to + i, from[i], memory_order_relaxed);
	atomic_store_explicit(to, from[0], memory_order_release);
}

uint16_t fib_lookup(const struct fib *fib, struct fib_ipv6 address)
{
	uint32_t address4 = (uint32_t)(address.high >> 32);
	uint16_t next_hop = 0;

	if (fib->config.family == 4)
		fib4_lookup(fib->image, &address4, &next_hop, 1);
	else
		fib6_lookup(fib->image, &address, &next_hop, 1);
	return next_hop;
}

void fib_each(const struct fib *fib, void (*visit)(void *context, const struct fib_route *route),
	void *context)
{
	fib->ops->each(fib, visit, context);
}

size_t fib_routes(const struct fib *fib)
{
	return fib->routes;
}
