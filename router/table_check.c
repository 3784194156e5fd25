/* SPDX-License-Identifier: BSD-3-Clause */
#include "router/table_check.h"

#include <stdlib.h>
#include <string.h>

static void check_small(struct table_check *c, const struct table *t, struct driver_nic *n)
{
	const struct p2pnic_sources *sources = table_sources(t);
	const unsigned half = table_own_half(t);

	c->other_half = table_half(n) != (int)half;
	if (c->other_half)
		return;
	for (unsigned k = 1; k < TABLE_HALF_NEXT_HOPS; k++) {
		c->wrong[k] = !next_hops_has(table_next_hops(t), k, n->bar2, half);
		c->next_hops += c->wrong[k];
	}
	c->sources = memcmp(n->bar2 + P2PNIC_BAR2_SOURCES, sources,
			     offsetof(struct p2pnic_sources, address) +
				     sources->count * sizeof(*sources->address)) != 0;
}

static uint64_t *copy(const uint64_t *image, uint64_t bytes, uint64_t room)
{
	uint64_t *to = aligned_alloc(P2PNIC_FIB_ALIGN, room);

	if (to) {
		memcpy(to, image, bytes);
		memset((char *)to + bytes, 0, room - bytes);
	}
	return to;
}

static void keep_copies(
	struct table_check_image *image, const uint64_t *right, uint64_t bytes, uint64_t room)
{
	if (image->bytes)
		return;
	image->right = copy(right, bytes, room);
	image->wrong = copy(right, bytes, room);
	image->bytes = room;
	if (image->right && image->wrong)
		return;
	free(image->right);
	free(image->wrong);
	*image = (struct table_check_image){0};
}

/* One step through an image. True: there is more of it. */
static bool check_image(
	struct table_check *c, const struct table *t, struct driver_nic *n, unsigned six, bool mend)
{
	uint64_t bytes, end = c->at + TABLE_CHECK_BYTES;
	const uint64_t *right = table_image(t, six, &bytes);
	_Atomic uint64_t *has = (_Atomic uint64_t *)(n->bar2 + table_image_place(t, six));
	struct table_check_image *image = &c->image[six];

	if (end > bytes)
		end = bytes;
	for (uint64_t k = c->at / 8; k < end / 8; k++) {
		const uint64_t word = atomic_load_explicit(&has[k], memory_order_relaxed);

		if (word == right[k])
			continue;
		c->words[six]++;
		keep_copies(image, right, bytes, table_image_room(t, six));
		if (k < image->bytes / 8)
			image->wrong[k] = word;
		/* Release: pairs with the acquire by which the NIC reads the word. */
		if (mend)
			atomic_store_explicit(&has[k], right[k], memory_order_release);
	}
	c->at = end;
	return end < bytes;
}

bool table_check_step(struct table_check *c, const struct table *t, struct driver_nic *n, bool mend)
{
	if (!c->part) {
		check_small(c, t, n);
		c->part = 1;
		return !c->other_half;
	}
	if (check_image(c, t, n, c->part - 1, mend))
		return true;
	c->at = 0;
	return c->part++ < 2;
}

void table_check_free(struct table_check *c)
{
	for (unsigned six = 0; six < 2; six++) {
		free(c->image[six].right);
		free(c->image[six].wrong);
	}
	*c = (struct table_check){0};
}
