/* SPDX-License-Identifier: BSD-3-Clause */
#include "router/routes.h"

#include "fib/route_file.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- Lists ------------------------------------------------------------------------------------ */

int route_order(const struct route *a, const struct route *b)
{
	if (a->family != b->family)
		return a->family < b->family ? -1 : 1;
	if (a->prefix.high != b->prefix.high)
		return a->prefix.high < b->prefix.high ? -1 : 1;
	if (a->prefix.low != b->prefix.low)
		return a->prefix.low < b->prefix.low ? -1 : 1;
	return (int)a->length - (int)b->length;
}

static int order_serial(const void *a, const void *b)
{
	const struct route *x = a, *y = b;
	int order = route_order(x, y);

	return order ? order : x->serial < y->serial ? -1 : 1;
}

const struct route *routes_longest(const struct routes *routes, const struct address *to)
{
	const struct route *found = NULL;

	for (unsigned length = address_bits(to) + 1; length-- > 0 && !found;) {
		struct route like = {prefix_of(to, length).address.bits, (uint8_t)length,
			to->family, 0, 0, NULL};

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

static int append(struct routes *r, const struct route *route)
{
	int error = routes_reserve(r, 1);

	if (!error)
		r->route[r->n++] = *route;
	return error;
}

static void sort_last_counts(struct routes *r)
{
	size_t kept = 0;

	if (r->n)
		qsort(r->route, r->n, sizeof(*r->route), order_serial);
	for (size_t k = 0; k < r->n; k++) {
		if (kept && !route_order(&r->route[kept - 1], &r->route[k]))
			kept--;
		r->route[kept++] = r->route[k];
	}
	r->n = kept;
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
			error = append(changes, &gone);
		} else if (order > 0 || from->route[i].next_hop != to->route[j].next_hop ||
			   strcmp(from->route[i].source, to->route[j].source) != 0) {
			error = append(changes, &to->route[j]);
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

/* --- Gateways --------------------------------------------------------------------------------- */

struct compiler {
	struct routes *routes;
	struct next_hops *hops;
	const struct config *config;
	const struct mac_addr *mac;
	struct error *error;
};

/* A number of next_hop.c, or what it could not do. */
static int checked(struct compiler *c, const char *prefix, int number)
{
	if (number == -ENOSPC)
		return error_set(c->error, number,
			"route %s: more than %u next hops and neighbours, or %u buckets of groups",
			prefix, TABLE_HALF_NEXT_HOPS - 1, TABLE_HALF_BUCKETS);
	if (number < 0)
		return error_set(c->error, number, "route %s: its next hops make no group", prefix);
	return number;
}

static struct p2pnic_adjacency forward(
	const struct compiler *c, unsigned nic, struct mac_addr destination)
{
	return (struct p2pnic_adjacency){
		.destination = destination,
		.source = c->mac[nic],
		.mtu = (uint16_t)*c->config->nics[nic].mtu,
		.kind = P2PNIC_ADJACENCY_FORWARD,
		.egress = (uint8_t)nic,
	};
}

static bool is_own(const struct config *c, const struct address *a)
{
	for (unsigned k = 0; k < c->nics_count; k++)
		for (unsigned j = 0; j < c->nics[k].addresses_count; j++)
			if (address_equal(&c->nics[k].address[j].address, a))
				return true;
	return false;
}

/* A link-local address (RFC 4291, 2.5.6) means another station on each link, so one that several
 * NICs have as a neighbour is no gateway. */
static int link_local_once(struct compiler *c, unsigned neighbor, const char *prefix)
{
	const struct config_neighbor *n = &c->config->neighbors[neighbor];
	char text[ADDRESS_TEXT_BYTES];

	if (n->ip.family != 6 || n->ip.bits.high >> 54 != 0xfe80 >> 6)
		return 0;
	for (unsigned k = 0; k < neighbor; k++) {
		const struct config_neighbor *other = &c->config->neighbors[k];

		if (address_equal(&other->ip, &n->ip) && other->nic_index != n->nic_index)
			return error_set(c->error, -EINVAL,
				"route %s: gateway %s is a neighbour of %s and of %s, and nothing "
				"says which is meant",
				prefix, address_text(&n->ip, text), other->nic, n->nic);
	}
	return 0;
}

/* Where a gateway is: its neighbour entry, or "ask the host" on the network that it belongs to. */
static int resolve(struct compiler *c, const struct address *a, const char *prefix,
	struct p2pnic_adjacency *adjacency)
{
	const struct config *config = c->config;
	char text[ADDRESS_TEXT_BYTES];

	if (is_own(config, a))
		return error_set(c->error, -EINVAL, "route %s: gateway %s is this router itself",
			prefix, address_text(a, text));
	/* The last entry of an address counts, as it does for the neighbour's own route. */
	for (unsigned k = config->neighbors_count; k--;) {
		const struct config_neighbor *n = &config->neighbors[k];

		if (address_equal(&n->ip, a)) {
			*adjacency = forward(c, n->nic_index, n->mac_address);
			return link_local_once(c, k, prefix);
		}
	}
	for (unsigned k = 0; k < config->nics_count; k++)
		for (unsigned j = 0; j < config->nics[k].addresses_count; j++) {
			const struct prefix *own = &config->nics[k].address[j];
			struct prefix network = prefix_of(&own->address, own->length);

			if (network.address.family == a->family && prefix_contains(&network, a)) {
				*adjacency = (struct p2pnic_adjacency){
					.kind = P2PNIC_ADJACENCY_GLEAN, .egress = (uint8_t)k};
				return 0;
			}
		}
	return error_set(c->error, -EINVAL,
		"route %s: gateway %s is on no connected network and no neighbour", prefix,
		address_text(a, text));
}

static int gateway(struct compiler *c, const struct address *a, const char *prefix)
{
	struct p2pnic_adjacency adjacency;
	int k = next_hops_settled(c->hops, a);

	if (!k)
		k = resolve(c, a, prefix, &adjacency);
	if (k)
		return k;
	return checked(c, prefix, next_hops_gateway(c->hops, a, &adjacency));
}

/* Weighted equal-cost next hops. Two gateways behind one neighbour are one member. */
static int group(struct compiler *c, const struct config_route *r)
{
	struct group_member member[GROUP_MEMBERS_MAX] = {0};
	unsigned members = 0;

	for (unsigned k = 0; k < r->next_hops_count; k++) {
		struct p2pnic_adjacency adjacency;
		int error = resolve(c, &r->next_hops[k].gateway, r->prefix, &adjacency), number;
		unsigned weight = *r->next_hops[k].weight, m;

		if (error)
			return error;
		number = checked(c, r->prefix, next_hops_adjacency(c->hops, &adjacency));
		if (number < 0)
			return number;
		for (m = 0; m < members; m++)
			if (member[m].adjacency == number)
				break;
		if (m == members)
			member[members++] = (struct group_member){(uint16_t)number, 0};
		member[m].weight = (uint16_t)(member[m].weight + weight);
	}
	return checked(c, r->prefix, next_hops_group(c->hops, &r->destination, member, members));
}

static int fate(struct compiler *c, enum p2pnic_adjacency_kind kind, unsigned nic)
{
	return checked(c, "of a network", next_hops_fate(c->hops, kind, nic));
}

/* --- Routes ----------------------------------------------------------------------------------- */

static int add(struct compiler *c, const struct prefix *p, int next_hop, const char *source)
{
	const struct route route = {
		.prefix = p->address.bits,
		.length = p->length,
		.family = p->address.family,
		.next_hop = (uint16_t)next_hop,
		.serial = (uint32_t)c->routes->n,
		.source = source,
	};

	if (next_hop < 0)
		return next_hop;
	if (append(c->routes, &route))
		return error_set(c->error, -ENOMEM, "out of memory for %zu routes", c->routes->n);
	return 0;
}

static struct prefix host_of(const struct address *a)
{
	return prefix_of(a, address_bits(a));
}

/*
 * First and last address of a network that has more than two. IPv4: neither is a host's; packets to
 * the broadcast address, new and old, are not forwarded (RFC 2644, RFC 1812 §4.2.3.1; /31: RFC
 * 3021). IPv6: the first is every router's of the network (RFC 4291 §2.6.1; not on a /127: RFC
 * 6164).
 */
static int add_ends(struct compiler *c, unsigned nic, const struct prefix *network)
{
	struct prefix first = host_of(&network->address), last = first;
	int error;

	if (first.address.family == 6)
		return add(c, &first, fate(c, P2PNIC_ADJACENCY_LOCAL, nic), "connected");
	last.address.bits.high |= (UINT64_MAX >> network->length) & ~UINT64_C(0xffffffff);
	error = add(c, &first, fate(c, P2PNIC_ADJACENCY_BROADCAST, 0), "connected");
	return error ? error : add(c, &last, fate(c, P2PNIC_ADJACENCY_BROADCAST, 0), "connected");
}

static int add_connected(struct compiler *c, unsigned nic)
{
	const struct config_nic *n = &c->config->nics[nic];
	int error = 0;

	for (unsigned k = 0; k < n->addresses_count && !error; k++) {
		struct prefix network = prefix_of(&n->address[k].address, n->address[k].length);

		error = add(c, &network, fate(c, P2PNIC_ADJACENCY_GLEAN, nic), "connected");
		if (!error && network.length < address_bits(&network.address) - 1u)
			error = add_ends(c, nic, &network);
	}
	return error;
}

/* What one file's lines lead to. */
struct file_gateways {
	struct compiler *c;
	uint16_t *hop[2]; /* of `via`, by IPv6, in order: an AS number chooses among them */
	unsigned hops[2];
	struct address named; /* of the last line that names one, and its next hop */
	int named_hop;
};

static int add_line(void *context, const struct route_line *line, struct error *reason)
{
	struct file_gateways *f = context;
	const struct prefix p = {{line->prefix, line->family}, line->length};
	bool six = line->family == 6;
	char text[ADDRESS_TEXT_BYTES];
	int hop;

	if (!line->next_hop_family) {
		if (!f->hops[six])
			return error_set(reason, -EINVAL,
				"%s has an AS number, and `via` no IPv%u gateway to choose",
				prefix_text(&p, text), line->family);
		hop = f->hop[six][route_file_next_hop(line->asn, f->hops[six]) - 1];
	} else {
		const struct address named = {line->next_hop, line->next_hop_family};

		if (named.family != line->family)
			return error_set(reason, -EINVAL,
				"route %s: its gateway is of another family",
				prefix_text(&p, text));
		if (!address_equal(&named, &f->named)) {
			f->named = named;
			f->named_hop = next_hops_settled(f->c->hops, &named);
			if (!f->named_hop)
				f->named_hop = gateway(f->c, &named, prefix_text(&p, text));
		}
		hop = f->named_hop;
	}
	hop = add(f->c, &p, hop, "file");
	if (hop < 0)
		*reason = *f->c->error;
	return hop;
}

static int add_file(struct compiler *c, unsigned index)
{
	const struct config_route_file *from = &c->config->route_files[index];
	struct file_gateways f = {.c = c};
	struct error reason = {""};
	int result = 0;

	for (unsigned six = 0; six < 2; six++)
		f.hop[six] = calloc(from->via_count + 1, sizeof(*f.hop[six]));
	if (!f.hop[0] || !f.hop[1]) {
		free(f.hop[0]);
		free(f.hop[1]);
		return error_set(c->error, -ENOMEM, "out of memory");
	}
	for (unsigned v = 0; v < from->via_count && result >= 0; v++) {
		const struct address *via = &from->gateway[v];
		bool six = via->family == 6;

		result = gateway(c, via, "of this file");
		f.hop[six][f.hops[six]++] = (uint16_t)result;
	}
	if (result < 0)
		reason = *c->error;
	else
		result = route_file_each(from->path, add_line, &f, &reason);
	if (result)
		error_set(c->error, result, "%.200s:%u: %s", c->config->path,
			config_route_file_line(c->config, index), reason.text);
	free(f.hop[0]);
	free(f.hop[1]);
	return result;
}

static int add_static(struct compiler *c, const struct config_route *r)
{
	int hop;

	if (r->via)
		hop = gateway(c, &r->gateway, r->prefix);
	else if (r->next_hops)
		hop = 0; /* add_groups */
	else
		hop = fate(c,
			r->action[0] == 'b'   ? P2PNIC_ADJACENCY_BLACKHOLE
			: r->action[0] == 'u' ? P2PNIC_ADJACENCY_UNREACHABLE
					      : P2PNIC_ADJACENCY_PROHIBIT,
			0);
	return add(c, &r->destination, hop, "static");
}

/*
 * Groups come last, when it is known which route of a prefix counts: a group is filled from what
 * its prefix had before, so two that take turns would move flows at every reload.
 */
static int add_groups(struct compiler *c, uint32_t first_static)
{
	for (size_t k = 0; k < c->routes->n; k++) {
		struct route *route = &c->routes->route[k];
		int hop;

		if (route->next_hop)
			continue;
		hop = group(c, &c->config->routes[route->serial - first_static]);
		if (hop < 0)
			return hop;
		route->next_hop = (uint16_t)hop;
	}
	return 0;
}

static int add_neighbor(struct compiler *c, const struct config_neighbor *n)
{
	const struct p2pnic_adjacency adjacency = forward(c, n->nic_index, n->mac_address);
	struct prefix host = host_of(&n->ip);
	int hop = next_hops_gateway(c->hops, &n->ip, &adjacency);

	return add(c, &host, checked(c, n->address, hop), "neighbor");
}

int routes_of_config(struct routes *routes, struct next_hops *hops, const struct config *config,
	const struct mac_addr *mac, struct error *error)
{
	struct compiler c = {routes, hops, config, mac, error};
	uint32_t first_static;
	int result = 0;

	*routes = (struct routes){0};
	/* Later routes replace earlier ones of the same prefix: own addresses come last. A table
	 * from elsewhere takes nothing from what is written here. */
	for (unsigned k = 0; k < config->route_files_count && !result; k++)
		result = add_file(&c, k);
	for (unsigned k = 0; k < config->nics_count && !result; k++)
		result = add_connected(&c, k);
	first_static = (uint32_t)routes->n;
	for (unsigned k = 0; k < config->routes_count && !result; k++)
		result = add_static(&c, &config->routes[k]);
	for (unsigned k = 0; k < config->neighbors_count && !result; k++)
		result = add_neighbor(&c, &config->neighbors[k]);
	for (unsigned k = 0; k < config->nics_count && !result; k++)
		for (unsigned j = 0; j < config->nics[k].addresses_count && !result; j++) {
			struct prefix host = host_of(&config->nics[k].address[j].address);

			result = add(&c, &host, fate(&c, P2PNIC_ADJACENCY_LOCAL, k), "local");
		}
	sort_last_counts(routes);
	if (!result)
		result = add_groups(&c, first_static);
	if (result)
		routes_free(routes);
	return result;
}
