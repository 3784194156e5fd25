/* SPDX-License-Identifier: BSD-3-Clause */
#include "router/table.h"

#include "fib/fib.h"
#include "fib/group.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct table {
	const struct config *config;
	const struct table *before; /* while compiling: what is in force */
	const struct mac_addr *mac;
	uint32_t bar2_bytes;
	unsigned kind; /* enum p2pnic_fib_kind */

	/* As of half 0; entry 0 stays "no route". */
	struct p2pnic_adjacency adjacency[TABLE_HALF_ADJACENCIES];
	unsigned adjacencies;
	uint32_t next_hop[TABLE_HALF_NEXT_HOPS];
	unsigned next_hops;
	p2pnic_bucket bucket[TABLE_HALF_BUCKETS];
	unsigned buckets;

	struct table_route *route;
	size_t routes, capacity;
	struct fib *fib[2][2]; /* [half][IPv4, IPv6]; made when first needed */
	char *error;
};

__attribute__((format(printf, 3, 4))) static int refuse(
	struct table *t, int code, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(t->error, TABLE_ERROR_BYTES, format, arguments);
	va_end(arguments);
	return code;
}

/* --- Next hops ----------------------------------------------------------------------------------- */

/* The next hop that leads to this adjacency: 1 to TABLE_HALF_NEXT_HOPS - 1, or -errno. */
static int next_hop_of(struct table *t, const struct p2pnic_adjacency *a)
{
	unsigned index;

	for (index = 1; index < t->adjacencies; index++)
		if (!memcmp(&t->adjacency[index], a, sizeof(*a)))
			break;
	if (index == t->adjacencies) {
		if (t->adjacencies == TABLE_HALF_ADJACENCIES ||
			t->next_hops == TABLE_HALF_NEXT_HOPS)
			return refuse(t, -ENOSPC, "more than %u neighbours and next hops",
				TABLE_HALF_ADJACENCIES - 1);
		t->adjacency[t->adjacencies++] = *a;
	}
	for (unsigned k = 1; k < t->next_hops; k++)
		if (t->next_hop[k] == P2PNIC_NEXT_HOP(index, 0))
			return (int)k;
	t->next_hop[t->next_hops] = P2PNIC_NEXT_HOP(index, 0);
	return (int)t->next_hops++;
}

static int plain(struct table *t, enum p2pnic_adjacency_kind kind, unsigned nic)
{
	const struct p2pnic_adjacency a = {.kind = (uint8_t)kind, .egress = (uint8_t)nic};

	return next_hop_of(t, &a);
}

static int forward(struct table *t, unsigned nic, struct mac_addr destination)
{
	const struct p2pnic_adjacency a = {
		.destination = destination,
		.source = t->mac[nic],
		.mtu = (uint16_t)CONFIG_DEFAULT(t->config->nics[nic].mtu, 1500),
		.kind = P2PNIC_ADJACENCY_FORWARD,
		.egress = (uint8_t)nic,
	};

	return next_hop_of(t, &a);
}

static bool is_own(const struct config *c, const struct address *a)
{
	for (unsigned k = 0; k < c->nics_count; k++)
		for (unsigned j = 0; j < c->nics[k].addresses_count; j++)
			if (address_equal(&c->nics[k].address[j].address, a))
				return true;
	return false;
}

/* A gateway's next hop: its neighbour entry, or "ask the host" on the network that it belongs to. */
static int gateway(struct table *t, const struct address *a, const char *prefix)
{
	const struct config *c = t->config;
	char text[ADDRESS_TEXT_BYTES];

	if (is_own(c, a))
		return refuse(t, -EINVAL, "route %s: gateway %s is this router itself", prefix,
			address_text(a, text));
	for (unsigned k = 0; k < c->neighbors_count; k++)
		if (address_equal(&c->neighbors[k].ip, a))
			return forward(t, c->neighbors[k].nic_index, c->neighbors[k].mac_address);
	for (unsigned k = 0; k < c->nics_count; k++)
		for (unsigned j = 0; j < c->nics[k].addresses_count; j++) {
			struct prefix network = prefix_of(
				&c->nics[k].address[j].address, c->nics[k].address[j].length);

			if (network.address.family == a->family && prefix_contains(&network, a))
				return plain(t, P2PNIC_ADJACENCY_GLEAN, k);
		}
	return refuse(t, -EINVAL,
		"route %s: gateway %s is on no connected network and no neighbour", prefix,
		address_text(a, text));
}

/* The buckets that the group of this route had until now, in numbers of the new table's adjacencies, so
 * that only flows of a member that left move. False: there was no such group of that size. */
static bool buckets_before(
	const struct table *t, const struct config_route *r, unsigned log2, p2pnic_bucket *bucket)
{
	const struct table *old = t->before;

	for (size_t k = 0; old && k < old->routes; k++) {
		uint32_t word = old->next_hop[old->route[k].next_hop];

		if (!address_equal(&old->route[k].prefix.address, &r->destination.address) ||
			old->route[k].prefix.length != r->destination.length ||
			P2PNIC_NEXT_HOP_LOG2(word) != log2)
			continue;
		for (unsigned b = 0; b < 1u << log2; b++) {
			const struct p2pnic_adjacency *was =
				&old->adjacency[old->bucket[P2PNIC_NEXT_HOP_FIRST(word) + b]];

			for (bucket[b] = 1; bucket[b] < t->adjacencies; bucket[b]++)
				if (!memcmp(&t->adjacency[bucket[b]], was, sizeof(*was)))
					break;
		}
		return true;
	}
	return false;
}

/* Weighted equal-cost next hops (fib/group.h). Two gateways behind one neighbour are one member. */
static int group(struct table *t, const struct config_route *r)
{
	struct group_member member[GROUP_MEMBERS_MAX] = {0};
	p2pnic_bucket before[1u << GROUP_LOG2_MAX];
	unsigned members = 0, log2, first = t->buckets;

	for (unsigned k = 0; k < r->next_hops_count; k++) {
		int hop = gateway(t, &r->next_hops[k].gateway, r->prefix);
		unsigned weight = CONFIG_DEFAULT(r->next_hops[k].weight, 1), m;

		if (hop < 0)
			return hop;
		for (m = 0; m < members; m++)
			if (member[m].adjacency == P2PNIC_NEXT_HOP_FIRST(t->next_hop[hop]))
				break;
		if (m == members)
			member[members++] = (struct group_member){
				(uint16_t)P2PNIC_NEXT_HOP_FIRST(t->next_hop[hop]), 0};
		member[m].weight = (uint16_t)(member[m].weight + weight);
	}
	log2 = group_log2(member, members);
	if (t->next_hops == TABLE_HALF_NEXT_HOPS || t->buckets + (1u << log2) > TABLE_HALF_BUCKETS)
		return refuse(t, -ENOSPC,
			"route %s: more than %u next hops, or %u buckets of groups", r->prefix,
			TABLE_HALF_NEXT_HOPS, TABLE_HALF_BUCKETS);
	if (log2 == 0) {
		t->next_hop[t->next_hops] = P2PNIC_NEXT_HOP(member[0].adjacency, 0);
		return (int)t->next_hops++;
	}
	if (group_fill(t->bucket + first, buckets_before(t, r, log2, before) ? before : NULL, log2,
		    member, members) < 0)
		return refuse(t, -EINVAL, "route %s: its next hops make no group", r->prefix);
	t->buckets += 1u << log2;
	t->next_hop[t->next_hops] = P2PNIC_NEXT_HOP(first, log2);
	return (int)t->next_hops++;
}

/* --- Routes -------------------------------------------------------------------------------------- */

static int add(struct table *t, const struct prefix *p, int next_hop, const char *source)
{
	if (next_hop < 0)
		return next_hop;
	if (t->routes == t->capacity) {
		size_t capacity = t->capacity ? t->capacity * 2 : 256;
		struct table_route *more = realloc(t->route, capacity * sizeof(*more));

		if (!more)
			return refuse(t, -ENOMEM, "out of memory for %zu routes", capacity);
		t->route = more;
		t->capacity = capacity;
	}
	t->route[t->routes++] = (struct table_route){*p, source, (uint16_t)next_hop};
	return 0;
}

static struct prefix host_of(const struct address *a)
{
	return prefix_of(a, address_bits(a));
}

static int add_connected(struct table *t, unsigned nic)
{
	const struct config_nic *n = &t->config->nics[nic];
	int error = 0;

	for (unsigned k = 0; k < n->addresses_count && !error; k++) {
		struct prefix network = prefix_of(&n->address[k].address, n->address[k].length);

		error = add(t, &network, plain(t, P2PNIC_ADJACENCY_GLEAN, nic), "connected");
		if (!error && network.address.family == 4 && network.length < 31) {
			/* Directed broadcast is not forwarded (RFC 2644). */
			struct prefix broadcast = {network.address, 32};

			broadcast.address.bits.high |=
				(UINT64_MAX >> network.length) & ~UINT64_C(0xffffffff);
			error = add(t, &broadcast, plain(t, P2PNIC_ADJACENCY_BLACKHOLE, 0),
				"connected");
		}
	}
	return error;
}

static int add_routes(struct table *t)
{
	const struct config *c = t->config;
	int error = 0;

	/* Later routes replace earlier ones of the same prefix: own addresses come last. */
	for (unsigned k = 0; k < c->nics_count && !error; k++)
		error = add_connected(t, k);
	for (unsigned k = 0; k < c->routes_count && !error; k++) {
		const struct config_route *r = &c->routes[k];
		int hop;

		if (r->via)
			hop = gateway(t, &r->gateway, r->prefix);
		else if (r->next_hops)
			hop = group(t, r);
		else
			hop = plain(t,
				r->action[0] == 'b'   ? P2PNIC_ADJACENCY_BLACKHOLE
				: r->action[0] == 'u' ? P2PNIC_ADJACENCY_UNREACHABLE
						      : P2PNIC_ADJACENCY_PROHIBIT,
				0);
		error = add(t, &r->destination, hop, "static");
	}
	for (unsigned k = 0; k < c->neighbors_count && !error; k++) {
		struct prefix host = host_of(&c->neighbors[k].ip);

		error = add(t, &host,
			forward(t, c->neighbors[k].nic_index, c->neighbors[k].mac_address),
			"neighbor");
	}
	for (unsigned k = 0; k < c->nics_count && !error; k++)
		for (unsigned j = 0; j < c->nics[k].addresses_count && !error; j++) {
			struct prefix host = host_of(&c->nics[k].address[j].address);

			error = add(t, &host, plain(t, P2PNIC_ADJACENCY_LOCAL, k), "local");
		}
	return error;
}

/* --- Images -------------------------------------------------------------------------------------- */

struct layout {
	uint32_t offset[2]; /* of the IPv4 and the IPv6 image in BAR2 */
	uint32_t room[2];
};

/* The FIB area in halves, each five eighths IPv4 and the rest IPv6. */
static struct layout layout_of(uint32_t bar2_bytes, unsigned half)
{
	uint32_t area = (bar2_bytes - P2PNIC_BAR2_FIB) / 2;
	uint32_t v4 = area / 8 * 5 / P2PNIC_FIB_ALIGN * P2PNIC_FIB_ALIGN;
	uint32_t start = P2PNIC_BAR2_FIB + half * area;

	return (struct layout){{start, start + v4}, {v4, area - v4}};
}

/* The image of one family for one half; it is the same for all NICs. */
static int image(struct table *t, unsigned half, unsigned six, char *error)
{
	struct layout layout = layout_of(t->bar2_bytes, half);
	const struct fib_config config = {
		.family = six ? 6 : 4, .kind = t->kind, .room = layout.room[six]};
	struct fib_route *routes = malloc((t->routes + 1) * sizeof(*routes));
	char reason[FIB_ERROR_BYTES] = "out of memory";
	size_t n = 0;
	int result = -ENOMEM;
	struct fib *fib = routes ? fib_new(&config, reason) : NULL;

	for (size_t k = 0; fib && k < t->routes; k++)
		if (t->route[k].prefix.address.family == config.family)
			routes[n++] = (struct fib_route){t->route[k].prefix.address.bits,
				t->route[k].prefix.length, (uint8_t)config.family,
				(uint16_t)(t->route[k].next_hop + half * TABLE_HALF_NEXT_HOPS)};
	if (fib)
		result = fib_build(fib, routes, n, reason);
	free(routes);
	if (result) {
		snprintf(error, TABLE_ERROR_BYTES, "IPv%u table of %zu routes: %s", config.family,
			n, reason);
		fib_free(fib);
		return result;
	}
	t->fib[half][six] = fib;
	return 0;
}

int table_compile(struct table **out, const struct config *config, const struct table *before,
	const struct mac_addr *mac, uint32_t bar2_bytes, char *error)
{
	struct table *t = calloc(1, sizeof(*t));
	int result;

	if (!t) {
		snprintf(error, TABLE_ERROR_BYTES, "out of memory");
		return -ENOMEM;
	}
	t->config = config;
	t->mac = mac;
	t->bar2_bytes = bar2_bytes;
	t->kind = config->router->table && !strcmp(config->router->table, "state-jump")
			  ? P2PNIC_FIB_STATE_JUMP
			  : P2PNIC_FIB_LINE_TRIE;
	t->adjacencies = t->next_hops = 1;
	t->before = before;
	t->error = error;
	result = add_routes(t);
	if (!result)
		result = image(t, 0, 0, error);
	if (!result)
		result = image(t, 0, 1, error);
	t->error = NULL;
	t->before = NULL;
	if (result) {
		table_free(t);
		return result;
	}
	*out = t;
	return 0;
}

void table_free(struct table *t)
{
	if (!t)
		return;
	for (unsigned half = 0; half < 2; half++)
		for (unsigned six = 0; six < 2; six++)
			fib_free(t->fib[half][six]);
	free(t->route);
	free(t);
}

/* Adjacencies before the words that lead to them: the NIC reads a next hop with acquire. */
static void write_next_hops(const struct table *t, struct driver_nic *n, unsigned half)
{
	struct p2pnic_adjacency *adjacency = (void *)(n->bar2 + P2PNIC_BAR2_ADJACENCIES);
	p2pnic_bucket *bucket = (void *)(n->bar2 + P2PNIC_BAR2_BUCKETS);
	p2pnic_next_hop *next_hop = (void *)(n->bar2 + P2PNIC_BAR2_NEXT_HOPS);
	unsigned adjacency_base = half * TABLE_HALF_ADJACENCIES;
	unsigned bucket_base = half * TABLE_HALF_BUCKETS;

	memcpy(adjacency + adjacency_base, t->adjacency, t->adjacencies * sizeof(*adjacency));
	for (unsigned k = 0; k < t->buckets; k++)
		bucket[bucket_base + k] = (p2pnic_bucket)(t->bucket[k] + adjacency_base);
	for (unsigned k = 1; k < t->next_hops; k++) {
		uint32_t log2 = P2PNIC_NEXT_HOP_LOG2(t->next_hop[k]);
		uint32_t first = P2PNIC_NEXT_HOP_FIRST(t->next_hop[k]) +
				 (log2 ? bucket_base : adjacency_base);

		atomic_store_explicit(&next_hop[half * TABLE_HALF_NEXT_HOPS + k],
			P2PNIC_NEXT_HOP(first, log2), memory_order_release);
	}
}

int table_load(struct table *t, struct driver_nic *n, char *error)
{
	uint32_t in_force;
	unsigned half;
	int result = driver_nic_read(n, P2PNIC_REG_FIB4_OFFSET, &in_force);

	if (n->bar2_bytes != t->bar2_bytes) {
		snprintf(error, TABLE_ERROR_BYTES,
			"%s: table memory is %u MiB, the table was made for %u", n->name,
			n->bar2_bytes >> 20, t->bar2_bytes >> 20);
		return -EINVAL;
	}
	half = !result && in_force == layout_of(t->bar2_bytes, 0).offset[0];
	for (unsigned six = 0; six < 2 && !result; six++) {
		const struct layout layout = layout_of(t->bar2_bytes, half);

		if (!t->fib[half][six])
			result = image(t, half, six, error);
		if (result)
			return result;
		if (!six)
			write_next_hops(t, n, half);
		fib_image_write(t->fib[half][six], n->bar2 + layout.offset[six]);
		result = driver_nic_write(n, six ? P2PNIC_REG_FIB6_OFFSET : P2PNIC_REG_FIB4_OFFSET,
			layout.offset[six]);
		if (!result)
			result = driver_nic_command(
				n, six ? P2PNIC_OP_FIB_IPV6 : P2PNIC_OP_FIB_IPV4, 0);
	}
	if (!result)
		result = driver_nic_epoch(n);
	if (result) {
		snprintf(error, TABLE_ERROR_BYTES, "%s: loading the table: %s", n->name,
			driver_nic_result(result));
		return result < 0 ? result : -EIO;
	}
	return 0;
}

size_t table_routes(const struct table *t, const struct table_route **routes)
{
	*routes = t->route;
	return t->routes;
}

const struct p2pnic_adjacency *table_adjacency(
	const struct table *t, uint16_t next_hop, unsigned *members)
{
	uint32_t word = t->next_hop[next_hop];
	uint32_t log2 = P2PNIC_NEXT_HOP_LOG2(word);
	uint32_t first = P2PNIC_NEXT_HOP_FIRST(word);

	*members = 1;
	for (uint32_t k = 1; log2 && k < 1u << log2; k++)
		*members += t->bucket[first + k] != t->bucket[first + k - 1];
	return &t->adjacency[log2 ? t->bucket[first] : first];
}

uint64_t table_image_bytes(const struct table *t, unsigned family)
{
	uint64_t bytes;

	fib_image(t->fib[0][family == 6], &bytes);
	return bytes;
}
