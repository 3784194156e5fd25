/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Gateways are resolved as they are read, so that a mistake is told with its place: the numbers are
 * there already when the best routes are compiled.
 */
#include "router/config_routes.h"

#include "fib/route_file.h"
#include "router/resolve.h"

#include <errno.h>
#include <stdlib.h>

struct source {
	const struct config *config;
	struct rib *rib;
	struct router_interfaces interfaces;
	struct neighbors neighbors;
	struct rib_member *member; /* of all groups */
	size_t members;
	struct resolver resolver;
};

static int set(struct source *s, enum rib_source source, unsigned preference,
	const struct prefix *prefix, struct rib_route route)
{
	route.prefix = prefix->address.bits;
	route.length = prefix->length;
	route.family = prefix->address.family;
	route.source = (uint8_t)source;
	route.preference = (uint8_t)preference;
	if (rib_set(s->rib, &route))
		return error_set(s->resolver.error, -ENOMEM, "out of memory for %zu routes",
			rib_routes(s->rib));
	return 0;
}

static struct rib_route to_fate(enum p2pnic_adjacency_kind kind, unsigned nic)
{
	return (struct rib_route){.hop = RIB_TO_FATE, .kind = (uint8_t)kind, .nic = (uint8_t)nic};
}

static struct rib_route to_network(const struct router_interface *own)
{
	struct rib_route route = to_fate(P2PNIC_ADJACENCY_GLEAN, own->nic);

	route.vid = own->vid;
	return route;
}

static struct rib_route to_gateway(const struct address *a)
{
	return (struct rib_route){
		.hop = RIB_TO_GATEWAY, .gateway = a->bits, .gateway_family = a->family};
}

static struct prefix host_of(const struct address *a)
{
	return prefix_of(a, address_bits(a));
}

/* --- Own addresses ---------------------------------------------------------------------------- */

static int set_connected(struct source *s, const struct prefix *prefix, struct rib_route route)
{
	return set(s, RIB_CONNECTED, RIB_PREFERENCE_CONNECTED, prefix, route);
}

/*
 * First and last address of a network that has more than two. IPv4: neither is a host's; packets to
 * the broadcast address, new and old, are not forwarded (RFC 2644, RFC 1812 §4.2.3.1; /31: RFC
 * 3021). IPv6: the first is every router's of the network (RFC 4291 §2.6.1; not on a /127: RFC
 * 6164).
 */
static int set_ends(struct source *s, unsigned nic, const struct prefix *network)
{
	struct prefix first = host_of(&network->address), last = first;
	int error;

	if (first.address.family == 6)
		return set_connected(s, &first, to_fate(P2PNIC_ADJACENCY_LOCAL, nic));
	last.address.bits.high |= (UINT64_MAX >> network->length) & ~UINT64_C(0xffffffff);
	error = set_connected(s, &first, to_fate(P2PNIC_ADJACENCY_BROADCAST, 0));
	return error ? error : set_connected(s, &last, to_fate(P2PNIC_ADJACENCY_BROADCAST, 0));
}

static int set_addresses(struct source *s, const struct router_interface *own)
{
	int error = 0;

	for (unsigned k = 0; k < own->addresses && !error; k++) {
		const struct prefix *address = &own->address[k];
		struct prefix network = prefix_of(&address->address, address->length);
		struct prefix host = host_of(&address->address);

		error = set_connected(s, &network, to_network(own));
		if (!error && network.length < address_bits(&network.address) - 1u)
			error = set_ends(s, own->nic, &network);
		if (!error)
			error = set(s, RIB_LOCAL, RIB_PREFERENCE_LOCAL, &host,
				to_fate(P2PNIC_ADJACENCY_LOCAL, own->nic));
	}
	return error;
}

/* --- Files ------------------------------------------------------------------------------------ */

/* What one file's lines lead to. */
struct file_gateways {
	struct source *s;
	struct address *via[2]; /* by IPv6, in order: an AS number chooses among them */
	unsigned vias[2];
	struct address named; /* of the last line that names one */
};

static int set_line(void *context, const struct route_line *line, struct error *reason)
{
	struct file_gateways *f = context;
	const struct prefix p = {{line->prefix, line->family}, line->length};
	struct address gateway = {line->next_hop, line->next_hop_family};
	bool six = line->family == 6;
	char text[ADDRESS_TEXT_BYTES];
	int result = 0;

	if (!gateway.family) {
		if (!f->vias[six])
			return error_set(reason, -EINVAL,
				"%s has an AS number, and `via` no IPv%u gateway to choose",
				prefix_text(&p, text), line->family);
		gateway = f->via[six][route_file_next_hop(line->asn, f->vias[six]) - 1];
	} else if (gateway.family != line->family) {
		return error_set(reason, -EINVAL, "route %s: its gateway is of another family",
			prefix_text(&p, text));
	} else if (!address_equal(&gateway, &f->named)) {
		result = next_hops_settled(f->s->resolver.hops, &gateway);
		if (!result)
			result = resolve_gateway(&f->s->resolver, &gateway, prefix_text(&p, text));
		f->named = gateway;
	}
	if (result >= 0)
		result = set(f->s, RIB_FILE, RIB_PREFERENCE_FILE, &p, to_gateway(&gateway));
	if (result < 0)
		*reason = *f->s->resolver.error;
	return result;
}

static int set_file(struct source *s, unsigned index)
{
	const struct config_route_file *from = &s->config->route_files[index];
	struct file_gateways f = {.s = s};
	struct error reason = {""};
	int result = 0;

	for (unsigned six = 0; six < 2; six++)
		f.via[six] = calloc(from->via_count + 1, sizeof(*f.via[six]));
	if (!f.via[0] || !f.via[1]) {
		free(f.via[0]);
		free(f.via[1]);
		return error_set(s->resolver.error, -ENOMEM, "out of memory");
	}
	for (unsigned v = 0; v < from->via_count && result >= 0; v++) {
		const struct address *via = &from->gateway[v];
		bool six = via->family == 6;

		result = resolve_gateway(&s->resolver, via, "of this file");
		f.via[six][f.vias[six]++] = *via;
	}
	if (result < 0)
		reason = *s->resolver.error;
	else
		result = route_file_each(from->path, set_line, &f, &reason);
	if (result)
		error_set(s->resolver.error, result, "%s:%u: %s", s->config->path, from->line,
			reason.text);
	free(f.via[0]);
	free(f.via[1]);
	return result;
}

/* --- Static routes, neighbours ---------------------------------------------------------------- */

static struct rib_route to_group(struct source *s, const struct config_route *r)
{
	struct rib_member *member = &s->member[s->members];

	for (unsigned k = 0; k < r->next_hops_count; k++)
		s->member[s->members++] = (struct rib_member){
			r->next_hops[k].gateway, (uint16_t)*r->next_hops[k].weight};
	return (struct rib_route){
		.hop = RIB_TO_GROUP, .member = member, .members = (uint8_t)r->next_hops_count};
}

static int set_static(struct source *s, const struct config_route *r)
{
	struct rib_route route;
	int result = 0;

	if (r->via) {
		result = resolve_gateway(&s->resolver, &r->gateway, r->prefix);
		route = to_gateway(&r->gateway);
	} else if (r->next_hops) {
		route = to_group(s, r);
	} else {
		route = to_fate(r->action[0] == 'b'   ? P2PNIC_ADJACENCY_BLACKHOLE
				: r->action[0] == 'u' ? P2PNIC_ADJACENCY_UNREACHABLE
						      : P2PNIC_ADJACENCY_PROHIBIT,
			0);
	}
	return result < 0 ? result
			  : set(s, RIB_STATIC, RIB_PREFERENCE_STATIC, &r->destination, route);
}

static int set_neighbor(struct source *s, const struct neighbor *n)
{
	const struct rib_route route = {.hop = RIB_TO_NEIGHBOR};
	struct prefix host = host_of(&n->address);

	return set(s, RIB_NEIGHBOR, RIB_PREFERENCE_NEIGHBOR, &host, route);
}

/* --- All of it -------------------------------------------------------------------------------- */

/* The NICs, then their VLANs. */
static int list_interfaces(struct source *s, const struct mac_addr *mac)
{
	const struct config *c = s->config;
	struct router_interface *at;
	size_t n = c->nics_count;

	for (unsigned k = 0; k < c->nics_count; k++)
		n += c->nics[k].vlans_count;
	s->interfaces = (struct router_interfaces){calloc(n + 1, sizeof(*at)), (unsigned)n};
	at = s->interfaces.at;
	if (!at)
		return -ENOMEM;
	for (unsigned k = 0; k < c->nics_count; k++)
		*at++ = (struct router_interface){.name = c->nics[k].name,
			.mac = mac[k],
			.mtu = (uint16_t)*c->nics[k].mtu,
			.nic = (uint8_t)k,
			.address = c->nics[k].address,
			.addresses = c->nics[k].addresses_count};
	for (unsigned k = 0; k < c->nics_count; k++)
		for (unsigned v = 0; v < c->nics[k].vlans_count; v++) {
			const struct config_vlan *vlan = &c->nics[k].vlans[v];

			*at++ = (struct router_interface){.name = vlan->name,
				.mac = mac[k],
				.mtu = (uint16_t)*vlan->mtu,
				.vid = (uint16_t)*vlan->id,
				.nic = (uint8_t)k,
				.address = vlan->address,
				.addresses = vlan->addresses_count};
		}
	return 0;
}

static int look_around(struct source *s, const struct mac_addr *mac)
{
	const struct config *c = s->config;
	size_t members = 0;

	if (list_interfaces(s, mac))
		return -ENOMEM;
	for (unsigned k = 0; k < c->neighbors_count; k++) {
		const struct config_neighbor *n = &c->neighbors[k];
		const struct neighbor one = {n->ip, n->mac_address,
			interfaces_find(&s->interfaces, n->nic_index, n->vid)};

		if (neighbors_add(&s->neighbors, &one))
			return -ENOMEM;
	}
	for (unsigned k = 0; k < c->routes_count; k++)
		members += c->routes[k].next_hops ? c->routes[k].next_hops_count : 0;
	s->member = calloc(members + 1, sizeof(*s->member));
	s->rib = rib_new();
	return s->member && s->rib ? 0 : -ENOMEM;
}

int config_routes(struct routes *routes, struct next_hops *hops, const struct config *config,
	const struct mac_addr *mac, struct error *error)
{
	struct source s = {.config = config};
	int result = look_around(&s, mac);

	*routes = (struct routes){0};
	s.resolver = (struct resolver){hops, &s.interfaces, &s.neighbors, error};
	if (result)
		error_set(error, result, "out of memory for routes");
	for (unsigned k = 0; k < config->route_files_count && !result; k++)
		result = set_file(&s, k);
	for (unsigned k = 0; k < s.interfaces.n && !result; k++)
		result = set_addresses(&s, &s.interfaces.at[k]);
	for (unsigned k = 0; k < config->routes_count && !result; k++)
		result = set_static(&s, &config->routes[k]);
	for (size_t k = 0; k < s.neighbors.n && !result; k++)
		result = set_neighbor(&s, &s.neighbors.at[k]);
	if (!result)
		result = resolve_routes(&s.resolver, s.rib, routes);
	rib_free(s.rib);
	free(s.member);
	neighbors_free(&s.neighbors);
	free(s.interfaces.at);
	return result;
}
