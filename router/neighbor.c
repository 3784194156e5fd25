/* SPDX-License-Identifier: BSD-3-Clause */
#include "router/neighbor.h"

#include <errno.h>
#include <stdlib.h>

int neighbors_add(struct neighbors *all, const struct neighbor *one)
{
	if (all->n == all->room) {
		size_t room = all->room ? all->room * 2 : 64;
		struct neighbor *larger = realloc(all->at, room * sizeof(*larger));

		if (!larger)
			return -ENOMEM;
		all->at = larger;
		all->room = room;
	}
	all->at[all->n++] = *one;
	return 0;
}

void neighbors_free(struct neighbors *all)
{
	free(all->at);
	*all = (struct neighbors){0};
}

const struct neighbor *neighbors_find(const struct neighbors *all, const struct address *a)
{
	for (size_t k = all->n; k--;)
		if (address_equal(&all->at[k].address, a))
			return &all->at[k];
	return NULL;
}

const struct neighbor *neighbors_elsewhere(const struct neighbors *all, const struct neighbor *one)
{
	if (one->address.family != 6 || one->address.bits.high >> 54 != 0xfe80 >> 6)
		return NULL;
	for (size_t k = 0; k < all->n; k++)
		if (address_equal(&all->at[k].address, &one->address) &&
			all->at[k].interface != one->interface)
			return &all->at[k];
	return NULL;
}
