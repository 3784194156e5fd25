/* SPDX-License-Identifier: BSD-3-Clause */
#include "router/resolve.h"

#include <errno.h>
#include <string.h>

/* A number of next_hop.c, or what it could not do. */
static int checked(const struct resolver *r, const char *of, int number)
{
	if (number == -ENOSPC)
		return error_set(r->error, number,
			"route %s: more than %u next hops and neighbours, or %u buckets of groups",
			of, TABLE_HALF_NEXT_HOPS - 1, TABLE_HALF_BUCKETS);
	if (number < 0)
		return error_set(r->error, number, "route %s: its next hops make no group", of);
	return number;
}

static struct p2pnic_adjacency forward(const struct resolver *r, const struct neighbor *n)
{
	return interfaces_forward(r->interfaces, n->interface, n->mac);
}

/* Where a gateway is: its neighbour entry, or "ask the host" on the network that it belongs to. */
static int resolve(const struct resolver *r, const struct address *a, const char *of,
	struct p2pnic_adjacency *adjacency)
{
	const struct neighbor *n = neighbors_find(r->neighbors, a), *other;
	char text[ADDRESS_TEXT_BYTES];
	int connected;

	if (interfaces_own(r->interfaces, a))
		return error_set(r->error, -EINVAL, "route %s: gateway %s is this router itself",
			of, address_text(a, text));
	if (n) {
		*adjacency = forward(r, n);
		other = neighbors_elsewhere(r->neighbors, n);
		if (!other)
			return 0;
		return error_set(r->error, -EINVAL,
			"route %s: gateway %s is a neighbour of %s and of %s, and nothing says "
			"which is meant",
			of, address_text(a, text), r->interfaces->at[other->interface].name,
			r->interfaces->at[n->interface].name);
	}
	connected = interfaces_connected(r->interfaces, a);
	if (connected < 0)
		return error_set(r->error, -EINVAL,
			"route %s: gateway %s is on no connected network and no neighbour", of,
			address_text(a, text));
	*adjacency = (struct p2pnic_adjacency){.kind = P2PNIC_ADJACENCY_GLEAN,
		.egress = r->interfaces->at[connected].nic,
		.encapsulation = r->interfaces->at[connected].vid};
	return 0;
}

int resolve_gateway(const struct resolver *r, const struct address *a, const char *of)
{
	struct p2pnic_adjacency adjacency;
	int k = next_hops_settled(r->hops, a);

	if (!k)
		k = resolve(r, a, of, &adjacency);
	if (k)
		return k;
	return checked(r, of, next_hops_gateway(r->hops, a, &adjacency));
}

static struct prefix prefix_of_route(const struct rib_route *route)
{
	return (struct prefix){{route->prefix, route->family}, route->length};
}

/* By a NIC that is not there yet: it has no address. */
static bool withheld(const struct resolver *r, const struct p2pnic_adjacency *a)
{
	static const struct mac_addr none;

	return (adjacency_forwards(a) || a->kind == P2PNIC_ADJACENCY_GLEAN ||
		       a->kind == P2PNIC_ADJACENCY_LOCAL) &&
	       !memcmp(&r->interfaces->at[a->egress].mac, &none, sizeof(none));
}

/* Weighted equal-cost next hops. Two gateways behind one neighbour are one member. */
static int resolve_group(const struct resolver *r, const struct rib_route *route)
{
	const struct prefix prefix = prefix_of_route(route);
	struct group_member member[GROUP_MEMBERS_MAX] = {0};
	char of[ADDRESS_TEXT_BYTES];
	unsigned members = 0;

	prefix_text(&prefix, of);
	for (unsigned k = 0; k < route->members; k++) {
		struct p2pnic_adjacency adjacency = {0};
		int error = resolve(r, &route->member[k].gateway, of, &adjacency), number;
		unsigned m;

		if (error)
			return error;
		if (withheld(r, &adjacency))
			continue;
		number = checked(r, of, next_hops_adjacency(r->hops, &adjacency));
		if (number < 0)
			return number;
		for (m = 0; m < members; m++)
			if (member[m].adjacency == number)
				break;
		if (m == members)
			member[members++] = (struct group_member){(uint16_t)number, 0};
		member[m].weight = (uint16_t)(member[m].weight + route->member[k].weight);
	}
	return members ? checked(r, of, next_hops_group(r->hops, &prefix, member, members)) : 0;
}

static int resolve_neighbor(const struct resolver *r, const struct address *a, const char *of)
{
	const struct neighbor *n = neighbors_find(r->neighbors, a);
	const struct p2pnic_adjacency adjacency = forward(r, n);
	int k = next_hops_settled(r->hops, a);

	return k ? k : checked(r, of, next_hops_gateway(r->hops, a, &adjacency));
}

static int resolve_route(const struct resolver *r, const struct rib_route *route)
{
	const struct prefix prefix = prefix_of_route(route);
	const struct address gateway = {route->gateway, route->gateway_family};
	char of[ADDRESS_TEXT_BYTES];
	int k;

	switch (route->hop) {
	case RIB_TO_GATEWAY:
		k = next_hops_settled(r->hops, &gateway);
		return k ? k : resolve_gateway(r, &gateway, prefix_text(&prefix, of));
	case RIB_TO_NEIGHBOR:
		return resolve_neighbor(r, &prefix.address, prefix_text(&prefix, of));
	case RIB_TO_GROUP:
		return 0; /* later */
	default:
		return checked(r, "of a network",
			next_hops_fate(r->hops, route->kind, route->nic, route->vid));
	}
}

static int resolve_groups(const struct resolver *r, const struct rib *rib, struct routes *routes)
{
	size_t n = 0;

	for (size_t k = 0; k < routes->n; k++) {
		struct route route = routes->route[k];
		const struct prefix prefix = {{route.prefix, route.family}, route.length};
		int hop = route.next_hop;

		if (!hop)
			hop = resolve_group(r, rib_best(rib, &prefix));
		if (hop < 0)
			return hop;
		route.next_hop = (uint16_t)hop;
		if (hop)
			routes->route[n++] = route;
	}
	routes->n = n;
	return 0;
}

int resolve_routes(const struct resolver *r, const struct rib *rib, struct routes *routes)
{
	const struct rib_route *best;
	unsigned members;
	int result = 0;

	*routes = (struct routes){0};
	for (size_t at = 0; result >= 0 && (best = rib_next(rib, &at));) {
		result = resolve_route(r, best);
		if (result < 0)
			break;
		if (result && withheld(r, next_hops_lead(r->hops, (unsigned)result, &members)))
			continue;
		const struct route route = {
			best->prefix, best->length, best->family, (uint16_t)result, best->source};

		if (routes_add(routes, &route))
			result = error_set(
				r->error, -ENOMEM, "out of memory for %zu routes", rib_routes(rib));
	}
	if (result >= 0)
		result = resolve_groups(r, rib, routes);
	if (result < 0)
		routes_free(routes);
	return result < 0 ? result : 0;
}
