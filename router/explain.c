/* SPDX-License-Identifier: BSD-3-Clause */
#include "router/explain.h"

#include "fib/trace.h"
#include "router/router.h"
#include "router/show.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static json_t *hexadecimal(uint64_t value, int digits)
{
	char text[32];

	snprintf(text, sizeof(text), "0x%0*" PRIx64, digits, value);
	return json_string(text);
}

/* The nodes that a lookup reads, by the host's image of the table; the words are the NIC's own. */
static json_t *path(
	const struct router *r, const struct driver_nic *n, const struct trace *trace, unsigned six)
{
	const uint64_t base = table_image_place(r->table, six);
	json_t *steps = json_array();

	for (unsigned k = 0; k < trace->steps; k++) {
		const struct trace_step *s = &trace->step[k];
		const uint64_t at = (base + s->offset) & ~7ull;
		uint64_t word = 0;

		if (at + sizeof(word) <= n->bar2_bytes)
			memcpy(&word, n->bar2 + at, sizeof(word));
		json_array_append_new(steps,
			json_pack("{s:s,s:o,s:o,s:i,s:i}", "what", s->what, "at",
				hexadecimal(base + s->offset, 6), "word", hexadecimal(word, 16),
				"from_bit", (int)s->depth, "bits", (int)s->bits));
	}
	return steps;
}

static void explain_lookup(const struct router *r, const struct driver_nic *n,
	const struct address *to, json_t *answer)
{
	const unsigned six = to->family == 6;
	const struct fib *fib = table_fib(r->table, six);
	const struct route *route = routes_longest(table_routes(r->table), to);
	char text[SHOW_ROUTE_BYTES];
	struct route_lead lead;
	struct trace trace;

	if (fib && table_in_step(r->table, n)) {
		trace_lookup(fib, to->bits, &trace);
		json_object_set_new(answer, "path", path(r, n, &trace, six));
		json_object_set_new(answer, "next_hop", json_integer(trace.next_hop));
	}
	if (route) {
		route_lead(&lead, r, table_next_hops(r->table), route->next_hop);
		show_route(route, &lead, text);
		json_object_set_new(answer, "route", json_loads(text, 0, NULL));
	}
}

static void explain_next_hop(const struct router *r, const struct driver_nic *n, uint32_t hop,
	uint32_t flow, json_t *answer)
{
	const uint32_t at = P2PNIC_BAR2_NEXT_HOPS + hop * (uint32_t)sizeof(p2pnic_next_hop);
	const uint32_t word = atomic_load_explicit(
		(p2pnic_next_hop *)(void *)(n->bar2 + at), memory_order_acquire);
	const uint32_t log2 = P2PNIC_NEXT_HOP_LOG2(word), first = P2PNIC_NEXT_HOP_FIRST(word);
	const bool ordered = word & P2PNIC_NEXT_HOP_ORDERED;

	json_object_set_new(answer, "word",
		json_pack("{s:o,s:o}", "at", hexadecimal(at, 6), "value", hexadecimal(word, 8)));
	if (log2)
		json_object_set_new(answer, "group",
			json_pack("{s:i,s:i,s:i,s:b}", "first", (int)first, "buckets", 1 << log2,
				"bucket", (int)(first + (ordered ? 0 : flow & ((1u << log2) - 1))),
				"in_order", ordered));
}

static json_t *adjacency(const struct router *r, const struct driver_nic *n, uint32_t index)
{
	const uint32_t at =
		P2PNIC_BAR2_ADJACENCIES + index * (uint32_t)sizeof(struct p2pnic_adjacency);
	char destination[ADDRESS_TEXT_BYTES], source[ADDRESS_TEXT_BYTES];
	struct p2pnic_adjacency a;
	json_t *row;

	memcpy(&a, n->bar2 + at, sizeof(a));
	row = json_pack("{s:i,s:o,s:s}", "index", (int)index, "at", hexadecimal(at, 6), "kind",
		show_kind(&a));
	if (!adjacency_forwards(&a))
		return row;
	json_object_update_new(row,
		json_pack("{s:s,s:s,s:s,s:i}", "egress",
			a.egress < r->config->nics_count ? r->config->nics[a.egress].name : "?",
			"destination", mac_text(a.destination, destination), "source",
			mac_text(a.source, source), "mtu", (int)a.mtu));
	if (a.kind == P2PNIC_ADJACENCY_FORWARD_TAGGED)
		json_object_set_new(row, "vlan", json_integer(a.encapsulation & 0xfff));
	return row;
}

json_t *router_explain(struct router *r, const json_t *how)
{
	const char *name = json_string_value(json_object_get(how, "nic"));
	const char *to = json_string_value(json_object_get(how, "address"));
	const json_int_t hop = json_integer_value(json_object_get(how, "next_hop"));
	const json_int_t index = json_integer_value(json_object_get(how, "adjacency"));
	const json_t *peer = json_object_get(how, "peer");
	const json_int_t flow = json_integer_value(json_object_get(how, "flow"));
	const int k = name ? config_nic_index(r->config, name) : -1;
	struct driver_nic *n = k >= 0 ? &r->nic[k].driver : NULL;
	struct address address;
	json_t *answer;

	if (!n || !n->device)
		return json_pack(
			"{s:s+}", "error", "explain: no NIC that is up: ", name ? name : "");
	if (to && !address_parse(to, &address))
		return json_pack("{s:s+}", "error", "explain: not an address: ", to);
	if (hop < 0 || hop >= P2PNIC_NEXT_HOPS_MAX || index < 0 || index >= P2PNIC_ADJACENCIES_MAX)
		return json_pack("{s:s}", "error", "explain: next_hop or adjacency out of range");
	answer = json_object();
	if (to) {
		explain_lookup(r, n, &address, answer);
		explain_next_hop(r, n, (uint32_t)hop, (uint32_t)flow, answer);
		json_object_set_new(answer, "adjacency", adjacency(r, n, (uint32_t)index));
	}
	if (peer && json_integer_value(peer) >= 0 && json_integer_value(peer) < P2PNIC_MAILBOXES)
		json_object_set_new(answer, "ring_slots",
			json_integer(driver_nic_peers(n)[json_integer_value(peer)].out_slots));
	return json_pack("{s:o}", "explain", answer);
}
