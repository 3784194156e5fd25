/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the files of fib/ share; callers use fib_image.h.
 */
#ifndef P2PNIC_FIB_INTERNAL_H
#define P2PNIC_FIB_INTERNAL_H

#include "fib_image.h"
#include "ipc/error.h"

/* A patch in the making. Once `failed` (no host memory), adding does nothing. */
struct patch {
	struct fib_patch view;
	struct fib_write *write;
	size_t writes, write_room;
	uint64_t *word;
	size_t words, word_room;
	bool failed;
};

void patch_clear(struct patch *patch);
void patch_free(struct patch *patch);
/* Adds the bytes [offset, offset + bytes) of `image`, a multiple of 8 at a multiple of 8… */
void patch_add(struct patch *patch, const void *image, uint64_t offset, uint64_t bytes);
/* …and the one entry (4 bytes) or root (8 bytes) that publishes them. */
void patch_publish(struct patch *patch, const void *image, uint64_t offset, uint32_t bytes);
const struct fib_patch *patch_view(struct patch *patch, uint64_t epoch);

/*
 * A kind of table. open checks config.room; build is always called next, and makes fib->image.
 */
struct fib_ops {
	int (*open)(struct fib *fib, struct error *error);
	void (*close)(struct fib *fib);
	/* routes: sorted, valid, no duplicates. */
	int (*build)(
		struct fib *fib, const struct fib_route *routes, size_t n, struct error *error);
	int (*change)(
		struct fib *fib, const struct fib_route *changes, size_t n, struct error *error);
	void (*epoch_passed)(struct fib *fib, uint64_t epoch);
	void (*each)(const struct fib *fib,
		void (*visit)(void *context, const struct fib_route *route), void *context);
};

struct fib {
	struct fib_config config;
	const struct fib_ops *ops;
	uint8_t *image;
	uint64_t used;  /* of its bytes */
	uint64_t epoch; /* of the last patch */
	size_t routes;
	struct patch patch;
	void *table; /* the kind's own */
};

extern const struct fib_ops state_jump_ops;
extern const struct fib_ops line_trie_ops;

/* By prefix, then shorter first: a route comes before those inside it. */
int route_compare(const struct fib_route *a, const struct fib_route *b);

/* `count` (≤ 32) bits of an address from bit `depth` on, counted from the top. */
static inline uint32_t address_bits(struct fib_ipv6 a, unsigned depth, unsigned count)
{
	uint64_t word = a.high;

	if (!count)
		return 0;
	if (depth >= 64)
		word = depth < 128 ? a.low << (depth - 64) : 0;
	else if (depth)
		word = a.high << depth | a.low >> (64 - depth);
	return (uint32_t)(word >> (64 - count));
}

#endif
