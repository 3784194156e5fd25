/* SPDX-License-Identifier: BSD-3-Clause */
#include "router/show_neighbor.h"
#include "router/interface.h"
#include "router/kernel.h"
#include "router/router.h"

#include <errno.h>
#include <linux/neighbour.h>
#include <stdlib.h>

static const char *state_name(uint16_t state)
{
	return state & NUD_PERMANENT    ? "permanent"
	       : state & NUD_NOARP      ? "noarp"
	       : state & NUD_REACHABLE  ? "reachable"
	       : state & NUD_STALE      ? "stale"
	       : state & NUD_DELAY      ? "delay"
	       : state & NUD_PROBE      ? "probe"
	       : state & NUD_FAILED     ? "failed"
	       : state & NUD_INCOMPLETE ? "incomplete"
					: "none";
}

int neighbor_order(const struct neighbor_row *a, const struct neighbor_row *b)
{
	const int by_address = address_order(
		a->address.family, &a->address.bits, b->address.family, &b->address.bits);

	return by_address         ? by_address
	       : a->nic != b->nic ? (a->nic < b->nic ? -1 : 1)
				  : (int)a->vid - (int)b->vid;
}

static int order(const void *a, const void *b)
{
	return neighbor_order(a, b);
}

static void take_kernel(const struct router *r, struct neighbor_rows *rows, size_t room)
{
	struct router_kernel *k = r->kernel;
	const struct kernel_value *v;
	struct kernel_key key;
	size_t from = 0;

	while (rows->n < room &&
		(v = kernel_state_each(k->reader.state, KERNEL_NEIGHBOR, &from, &key))) {
		unsigned vid;
		const int nic = kernel_ways_port(&k->routes.ways, key.id, &vid);

		if (nic >= 0)
			rows->row[rows->n++] = (struct neighbor_row){
				.address = {key.address, key.family},
				.nic = (uint32_t)nic,
				.vid = (uint16_t)vid,
				.state = v->neighbor.state,
				.mac = v->neighbor.mac,
				.has_mac = v->neighbor.has_mac,
			};
	}
}

static void take_configured(const struct router *r, struct neighbor_rows *rows)
{
	for (unsigned k = 0; k < r->config->neighbors_count; k++) {
		const struct config_neighbor *n = &r->config->neighbors[k];

		rows->row[rows->n++] = (struct neighbor_row){
			.address = n->ip,
			.nic = n->nic_index,
			.vid = (uint16_t)n->vid,
			.state = NUD_PERMANENT,
			.mac = n->mac_address,
			.has_mac = true,
		};
	}
}

int neighbor_rows(const struct router *r, struct neighbor_rows *rows)
{
	const size_t room = r->kernel ? kernel_state_count(r->kernel->reader.state, KERNEL_NEIGHBOR)
				      : r->config->neighbors_count;

	*rows = (struct neighbor_rows){.row = calloc(room ? room : 1, sizeof(*rows->row))};
	if (!rows->row)
		return -ENOMEM;
	if (r->kernel)
		take_kernel(r, rows, room);
	else
		take_configured(r, rows);
	qsort(rows->row, rows->n, sizeof(*rows->row), order);
	return 0;
}

size_t neighbor_rows_from(const struct neighbor_rows *rows, const struct neighbor_row *like)
{
	size_t low = 0, high = rows->n;

	while (low < high) {
		const size_t middle = low + (high - low) / 2;

		if (neighbor_order(&rows->row[middle], like) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

json_t *neighbor_json(const struct router *r, const struct neighbor_row *n)
{
	char address[ADDRESS_TEXT_BYTES], mac[ADDRESS_TEXT_BYTES] = "", name[INTERFACE_NAME_BYTES];

	if (n->has_mac)
		mac_text(n->mac, mac);
	return json_pack("{s:s, s:s, s:s, s:s}", "nic",
		interface_name(r->config->nics[n->nic].name, n->vid, name), "address",
		address_text(&n->address, address), "mac", mac, "state", state_name(n->state));
}
