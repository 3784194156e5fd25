/* SPDX-License-Identifier: BSD-3-Clause */
#include "router/kernel_unable.h"

#include <string.h>

/* Is a tap below it, however deep? No more than VLANs and macvlans nest. */
#define NESTING_MAX 8u
static bool is_above_tap(const struct kernel_ways *w, const struct kernel_value *v)
{
	for (unsigned k = 0; v && k < NESTING_MAX; k++) {
		const struct kernel_key key = {.kind = KERNEL_LINK, .id = v->link.lower};

		if (v->link.lower_is_away)
			return false;
		if (kernel_nics_find(w->nics, key.id) >= 0)
			return true;
		v = kernel_state_find(w->state, &key, 0);
	}
	return false;
}

bool kernel_unable_vlan(
	const struct kernel_ways *w, uint32_t ifindex, const struct kernel_value *link)
{
	return link->link.kind == KERNEL_LINK_VLAN && is_above_tap(w, link) &&
	       kernel_ways_nic(w, ifindex) < 0;
}

struct kernel_unable kernel_unable_count(const struct kernel_ways *w)
{
	struct kernel_unable u = {0};
	const struct kernel_value *v;
	struct kernel_key key;
	size_t from = 0;

	while ((v = kernel_state_each(w->state, KERNEL_LINK, &from, &key))) {
		const struct kernel_link *link = &v->link;

		if (link->master && kernel_nics_find(w->nics, key.id) >= 0) {
			u.enslaved++;
			memcpy(u.tap, link->name, sizeof(u.tap));
		}
		if (kernel_unable_vlan(w, key.id, v)) {
			u.vlans++;
			memcpy(u.vlan, link->name, sizeof(u.vlan));
		}
	}
	from = 0;
	while ((v = kernel_state_each(w->state, KERNEL_NEXT_HOP, &from, &key)))
		u.objects += v->next_hop.unsupported != 0;
	return u;
}
