/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Compiling the state-jump table (p2pnic/fib.h). A change compiles it anew into the other half of
 * the room: that is what the baseline costs.
 */
#include "internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/*
 * Strides: 4-bit rows are one cache line. 16 + 4·4 keeps a /24 at three reads; wider rows cost more
 * memory on Internet tables (16+8+8: above 20 MiB), narrower ones more reads.
 */
#define FIRST_STRIDE 16u
#define NEXT_STRIDE  4u

struct level {
	uint32_t *entry;
	size_t entries, room;
};

struct state_jump {
	struct fib_route *route;
	size_t routes;
	bool waiting;   /* the other half may still have readers… */
	uint64_t epoch; /* …until this epoch has passed */
};

struct compiler {
	struct level level[P2PNIC_STATE_JUMP_LEVELS_MAX + 1];
	uint8_t stride[32];
	unsigned levels;
	bool failed;
};

static uint32_t row_new(struct compiler *c, unsigned number, uint32_t inherited)
{
	struct level *level = &c->level[number];
	size_t size = 1u << c->stride[number];
	size_t first = level->entries;

	if (level->entries + size > level->room) {
		size_t room = level->room ? level->room * 2 : size;
		uint32_t *larger = realloc(level->entry, room * sizeof *larger);

		if (!larger || room > 1u << 24) {
			c->failed = true;
			if (larger)
				level->entry = larger;
			return 0;
		}
		level->entry = larger;
		level->room = room;
	}
	for (size_t i = 0; i < size; i++)
		level->entry[first + i] = inherited;
	level->entries += size;
	return (uint32_t)first;
}

/* A row from the routes that lie inside it; `inherited` is what shorter routes say. */
static uint32_t compile(struct compiler *c, unsigned number, unsigned depth,
	const struct fib_route *routes, size_t n, uint32_t inherited)
{
	uint32_t first = row_new(c, number, inherited);
	unsigned end = depth + c->stride[number];

	for (size_t i = 0; i < n && !c->failed;) {
		const struct fib_route *route = &routes[i];
		uint32_t slot = first + address_bits(route->prefix, depth, c->stride[number]);
		size_t group = i;

		if (route->length <= end) {
			uint32_t leaf = P2PNIC_STATE_JUMP_ENTRY(route->next_hop, 0);

			for (uint32_t s = 0; s < 1u << (end - route->length); s++)
				c->level[number].entry[slot + s] = leaf;
			i++;
			continue;
		}
		while (group < n && slot == first + address_bits(routes[group].prefix, depth,
							    c->stride[number]))
			group++;
		uint32_t row = compile(
			c, number + 1, end, routes + i, group - i, c->level[number].entry[slot]);
		c->level[number].entry[slot] = P2PNIC_STATE_JUMP_ENTRY(row, number + 1);
		i = group;
	}
	return first;
}

/* Compiles into `at`; 0 or -errno. *bytes: what it takes. */
static int table_make(struct fib *fib, const struct fib_route *routes, size_t n, uint64_t at,
	uint64_t room, uint64_t *bytes, struct error *error)
{
	unsigned bits = fib->config.family == 4 ? 32 : 128;
	struct p2pnic_state_jump *table = (void *)(fib->image + at);
	uint64_t words = sizeof *table / 4;
	struct compiler c = {0};
	int status = 0;

	for (unsigned depth = 0; depth < bits; depth += c.stride[c.levels])
		c.stride[++c.levels] = depth ? NEXT_STRIDE : FIRST_STRIDE;
	compile(&c, 1, 0, routes, n, 0);
	for (unsigned l = 1; l <= c.levels; l++)
		words += (c.level[l].entries + 15) & ~15ull;
	*bytes = words * 4;
	if (c.failed) {
		status = error_set(error, -ENOMEM, "fib: out of memory compiling %zu routes", n);
	} else if (*bytes > room) {
		status = error_set(error, -ENOSPC,
			"fib: a state-jump table of %zu routes needs %llu bytes, half of the room "
			"is %llu",
			n, (unsigned long long)*bytes, (unsigned long long)room);
	} else {
		memset(table, 0, sizeof *table);
		table->levels = c.levels;
		memcpy(table->stride, c.stride, sizeof table->stride);
		words = sizeof *table / 4;
		for (unsigned l = 1; l <= c.levels; l++) {
			table->first[l] = (uint32_t)words;
			table->entries[l] = (uint32_t)c.level[l].entries;
			if (c.level[l].entries)
				memcpy((uint32_t *)table + words, c.level[l].entry,
					c.level[l].entries * 4);
			words += (c.level[l].entries + 15) & ~15ull;
		}
	}
	for (unsigned l = 1; l <= c.levels; l++)
		free(c.level[l].entry);
	return status;
}

static uint64_t half_bytes(const struct fib *fib)
{
	return ((fib->config.room - sizeof(struct p2pnic_fib_header)) / 2) &
	       ~(uint64_t)(P2PNIC_FIB_ALIGN - 1);
}

static int state_jump_build(
	struct fib *fib, const struct fib_route *routes, size_t n, struct error *error)
{
	struct p2pnic_fib_header *header = (void *)fib->image;
	struct state_jump *sj = fib->table;
	uint64_t bytes, at = sizeof *header;
	struct fib_route *copy = malloc((n + 1) * sizeof *copy);
	int status;

	if (!copy)
		return error_set(error, -ENOMEM, "fib: out of memory for %zu routes", n);
	/* A whole image anew, so in the first half; nothing is written if it does not fit. */
	status = table_make(fib, routes, n, at, half_bytes(fib), &bytes, error);
	if (status) {
		free(copy);
		return status;
	}
	if (n)
		memcpy(copy, routes, n * sizeof *copy);
	free(sj->route);
	*sj = (struct state_jump){.route = copy, .routes = n};
	header->root = at;
	fib->used = at + bytes;
	fib->routes = n;
	return 0;
}

static int state_jump_change(
	struct fib *fib, const struct fib_route *changes, size_t n, struct error *error)
{
	struct p2pnic_fib_header *header = (void *)fib->image;
	struct state_jump *sj = fib->table;
	uint64_t bytes, at = sizeof *header;
	struct fib_route *merged;
	size_t m = 0, i = 0, j = 0;
	int status;

	if (sj->waiting)
		return error_set(error, -EAGAIN,
			"fib: the other half of the state-jump table waits for its epoch");
	merged = malloc((sj->routes + n + 1) * sizeof *merged);
	if (!merged)
		return error_set(
			error, -ENOMEM, "fib: out of memory for %zu routes", sj->routes + n);
	while (i < sj->routes || j < n) {
		int order = i == sj->routes ? 1
			    : j == n        ? -1
					    : route_compare(&sj->route[i], &changes[j]);

		if (order < 0) {
			merged[m++] = sj->route[i++];
			continue;
		}
		if (changes[j].next_hop)
			merged[m++] = changes[j];
		i += !order;
		j++;
	}
	if (header->root == at)
		at += half_bytes(fib);
	status = table_make(fib, merged, m, at, half_bytes(fib), &bytes, error);
	if (!status) {
		uint64_t old = header->root;

		patch_add(&fib->patch, fib->image, at, (bytes + 7) & ~7ull);
		header->root = at;
		patch_publish(&fib->patch, fib->image, offsetof(struct p2pnic_fib_header, root), 8);
		if (fib->patch.failed) {
			header->root = old;
			status = error_set(error, -ENOMEM,
				"fib: out of memory for a patch of %llu bytes",
				(unsigned long long)bytes);
		}
	}
	if (status) {
		free(merged);
		return status;
	}
	free(sj->route);
	*sj = (struct state_jump){merged, m, true, fib->epoch + 1};
	if (fib->used < at + bytes)
		fib->used = at + bytes;
	fib->routes = m;
	return 0;
}

static void state_jump_epoch_passed(struct fib *fib, uint64_t epoch)
{
	struct state_jump *sj = fib->table;

	if (epoch >= sj->epoch)
		sj->waiting = false;
}

static int state_jump_open(struct fib *fib, struct error *error)
{
	if (fib->config.room < sizeof(struct p2pnic_fib_header) + 2 * P2PNIC_FIB_ALIGN)
		return error_set(error, -ENOSPC,
			"fib: room of %llu bytes is too small for any table",
			(unsigned long long)fib->config.room);
	fib->table = calloc(1, sizeof(struct state_jump));
	/* Zero pages until touched: an image costs host memory as far as it is used. */
	fib->image = mmap(NULL, fib->config.room, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (fib->image == MAP_FAILED)
		fib->image = NULL;
	if (!fib->table || !fib->image)
		return error_set(error, -ENOMEM, "fib: out of memory");
	*(struct p2pnic_fib_header *)fib->image = (struct p2pnic_fib_header){
		.magic = P2PNIC_FIB_MAGIC,
		.version = P2PNIC_FIB_VERSION,
		.family = (uint8_t)fib->config.family,
		.kind = P2PNIC_FIB_STATE_JUMP,
		.bytes = fib->config.room,
	};
	return 0;
}

static void state_jump_close(struct fib *fib)
{
	struct state_jump *sj = fib->table;

	if (sj)
		free(sj->route);
	free(sj);
	if (fib->image)
		munmap(fib->image, fib->config.room);
}

static void state_jump_each(const struct fib *fib,
	void (*visit)(void *context, const struct fib_route *route), void *context)
{
	const struct state_jump *sj = fib->table;

	for (size_t i = 0; i < sj->routes; i++)
		visit(context, &sj->route[i]);
}

const struct fib_ops state_jump_ops = {
	.open = state_jump_open,
	.close = state_jump_close,
	.build = state_jump_build,
	.change = state_jump_change,
	.epoch_passed = state_jump_epoch_passed,
	.each = state_jump_each,
};
