/* SPDX-License-Identifier: BSD-3-Clause */
#include "router/kernel_routes.h"
#include "router/rib.h"

#include "ipc/clock.h"

#include <errno.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* Where numbers for next hops come from, and go if there are none. */
struct taking {
	struct kernel_routes *k;
	struct kernel_ways *ways;
	struct next_hops *hops;
	bool alone; /* nothing will make more room: the kernel gets what does not fit */
};

static struct prefix prefix_of_route(const struct route *r)
{
	return (struct prefix){{r->prefix, r->family}, r->length};
}

static struct route route_of_prefix(const struct prefix *p)
{
	return (struct route){p->address.bits, p->length, p->address.family, 0, RIB_KERNEL};
}

/* --- What the kernel would take --------------------------------------------------------------- */

/* 0: none that counts. */
static unsigned rank(const struct kernel_key *key)
{
	return key->id == RT_TABLE_LOCAL     ? 3
	       : key->id == RT_TABLE_MAIN    ? 2
	       : key->id == RT_TABLE_DEFAULT ? 1
					     : 0;
}

static bool counts(const struct kernel_key *key, const struct kernel_value *v)
{
	return rank(key) && v->route.type != RTN_MULTICAST &&
	       !(key->id == RT_TABLE_LOCAL && v->route.type == RTN_THROW);
}

/* Keys of one prefix: no two are equal, so the order in which they are seen does not matter. */
static bool goes_before(const struct kernel_key *a, const struct kernel_key *b)
{
	if (rank(a) != rank(b))
		return rank(a) > rank(b);
	return a->metric != b->metric ? a->metric < b->metric : a->tos < b->tos;
}

/* What the kernel has to a prefix. */
struct candidates {
	const struct kernel_value *best, *next; /* NULL: there is none */
	bool by_tos;                            /* one depends on the TOS */
};

static struct candidates candidates_to(struct kernel_state *state, const struct prefix *prefix)
{
	const struct kernel_value *v;
	struct candidates c = {NULL};
	struct kernel_key key, best = {0}, next = {0};
	uint32_t from = 0;

	while ((v = kernel_state_route(state, prefix, &from, &key))) {
		if (!counts(&key, v))
			continue;
		c.by_tos |= key.tos != 0;
		if (!c.best || goes_before(&key, &best)) {
			c.next = c.best;
			next = best;
			c.best = v;
			best = key;
		} else if (!c.next || goes_before(&key, &next)) {
			c.next = v;
			next = key;
		}
	}
	return c;
}

/* The connected route by which the kernel reaches an address for which it has no route alone; NULL:
 * it reaches it in another way, or not. */
static const struct kernel_value *connected_route(
	struct kernel_state *state, const struct address *a, uint32_t ifindex)
{
	const struct kernel_value *v;
	struct candidates c = {NULL};

	for (unsigned length = address_bits(a); length-- > 0 && !c.best;) {
		const struct prefix prefix = prefix_of(a, length);

		c = candidates_to(state, &prefix);
	}
	v = c.best;
	return v && !c.by_tos && v->route.type == RTN_UNICAST && !v->route.unsupported &&
			       v->hops == 1 && !v->hop[0].next_hop && !v->hop[0].gateway_family &&
			       v->hop[0].ifindex == ifindex
		       ? v
		       : NULL;
}

/* --- Neighbours ------------------------------------------------------------------------------- */

static int host_order(const void *a, const void *b)
{
	const struct kernel_host *one = a, *other = b;
	int order = address_order(one->address.family, &one->address.bits, other->address.family,
		&other->address.bits);

	return order                            ? order
	       : one->ifindex == other->ifindex ? 0
	       : one->ifindex < other->ifindex  ? -1
						: 1;
}

/* To such an address no packet is forwarded, so it needs no host route. */
static bool link_local(const struct prefix *p)
{
	return p->address.family == 6 && p->length >= 10 && p->address.bits.high >> 54 == 0x3fa;
}

static int list_hosts(struct kernel_routes *k)
{
	const struct kernel_value *v;
	struct kernel_key key;
	size_t from = 0;

	k->hosts = 0;
	while ((v = kernel_state_each(k->state, KERNEL_NEIGHBOR, &from, &key))) {
		const struct kernel_host host = {{key.address, key.family}, key.id};
		const struct prefix prefix = {host.address, (uint8_t)address_bits(&host.address)};

		if (!kernel_neighbor_valid(&v->neighbor) || link_local(&prefix) ||
			kernel_ways_nic(&k->ways, key.id) < 0)
			continue;
		if (k->hosts == k->host_room) {
			const size_t room = k->host_room ? 2 * k->host_room : 256;
			struct kernel_host *larger = reallocarray(k->host, room, sizeof(*larger));

			if (!larger)
				return -ENOMEM;
			k->host = larger;
			k->host_room = room;
		}
		k->host[k->hosts++] = host;
	}
	if (k->hosts)
		qsort(k->host, k->hosts, sizeof(*k->host), host_order);
	return 0;
}

/* The first that is not below. */
static size_t first_host(const struct kernel_routes *k, const struct address *a)
{
	size_t low = 0, high = k->hosts;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const struct address *other = &k->host[middle].address;

		if (address_order(other->family, &other->bits, a->family, &a->bits) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* --- Addresses that failed -------------------------------------------------------------------- */

static const struct kernel_failed *find_failed(
	const struct kernel_routes *k, const struct address *a)
{
	for (size_t n = 0; n < k->failures; n++)
		if (address_equal(&k->failed[n].host.address, a))
			return &k->failed[n];
	return NULL;
}

static void note_failed(struct kernel_routes *k, const struct kernel_host *host)
{
	const struct prefix prefix = {host->address, (uint8_t)address_bits(&host->address)};

	if (k->failed_ms && k->failures < KERNEL_FAILED_MAX && !link_local(&prefix) &&
		kernel_ways_nic(&k->ways, host->ifindex) >= 0 && !find_failed(k, &host->address))
		k->failed[k->failures++] =
			(struct kernel_failed){*host, clock_now_ns() + k->failed_ms * 1000000ull};
}

/* --- Next hops -------------------------------------------------------------------------------- */

/* What fits no more goes by the kernel, which forwards it, if slowly. */
static int number_of(const struct taking *t, int number)
{
	if (number != -ENOSPC || !t->alone)
		return number;
	t->k->lossy = true;
	return next_hops_fate(t->hops, P2PNIC_ADJACENCY_KERNEL, 0, 0);
}

static int take_fate(const struct taking *t, enum p2pnic_adjacency_kind kind)
{
	return number_of(t, next_hops_fate(t->hops, kind, 0, 0));
}

static int take_way(
	const struct taking *t, const struct kernel_path *best, const struct kernel_path *backup)
{
	return number_of(t, kernel_ways_take(t->ways, t->hops, best, backup));
}

static bool by_hops(const struct kernel_value *v)
{
	return v && v->route.type == RTN_UNICAST && !v->route.unsupported;
}

static struct kernel_path path_of(const struct prefix *prefix, const struct kernel_value *v,
	struct kernel_hop hop[KERNEL_HOPS_MAX])
{
	memcpy(hop, v->hop, v->hops * sizeof(*hop));
	for (unsigned k = 0; k < v->hops; k++)
		hop[k].onlink = false;
	if (v->hops == 1 && !hop[0].next_hop && !hop[0].gateway_family &&
		prefix->length == address_bits(&prefix->address)) {
		hop[0].gateway = prefix->address.bits;
		hop[0].gateway_family = prefix->address.family;
	}
	return (struct kernel_path){hop, v->hops, v->route.mtu};
}

static int take_unicast(
	const struct taking *t, const struct prefix *prefix, const struct candidates *c)
{
	struct kernel_hop hop[2][KERNEL_HOPS_MAX];
	struct kernel_path best, backup = {NULL, 0, 0};

	t->k->encapsulated = t->k->encapsulated || c->best->route.unsupported;
	if (c->best->route.unsupported)
		return take_fate(t, P2PNIC_ADJACENCY_KERNEL);
	best = path_of(prefix, c->best, hop[0]);
	if (by_hops(c->next))
		backup = path_of(prefix, c->next, hop[1]);
	return take_way(t, &best, &backup);
}

static int take_route(
	const struct taking *t, const struct prefix *prefix, const struct candidates *c)
{
	switch (c->best->route.type) {
	case RTN_LOCAL:
	case RTN_ANYCAST:
		return take_fate(t, P2PNIC_ADJACENCY_LOCAL);
	case RTN_BROADCAST:
		return take_fate(t, P2PNIC_ADJACENCY_BROADCAST);
	case RTN_BLACKHOLE:
		return take_fate(t, P2PNIC_ADJACENCY_BLACKHOLE);
	case RTN_UNREACHABLE:
		return take_fate(t, P2PNIC_ADJACENCY_UNREACHABLE);
	case RTN_PROHIBIT:
		return take_fate(t, P2PNIC_ADJACENCY_PROHIBIT);
	case RTN_THROW:
		return take_fate(t, P2PNIC_ADJACENCY_NONE);
	case RTN_UNICAST:
		return link_local(prefix) ? 0 : take_unicast(t, prefix, c);
	default:
		return take_fate(t, P2PNIC_ADJACENCY_KERNEL);
	}
}

static enum rib_source source_of(const struct kernel_value *v)
{
	return v->route.type == RTN_LOCAL           ? RIB_LOCAL
	       : v->route.protocol == RTPROT_KERNEL ? RIB_CONNECTED
	       : v->route.protocol == RTPROT_BOOT || v->route.protocol == RTPROT_STATIC
		       ? RIB_STATIC
		       : RIB_KERNEL;
}

static int take_neighbor(const struct taking *t, const struct prefix *prefix)
{
	const struct kernel_routes *k = t->k;
	const struct kernel_failed *failed;

	for (size_t n = first_host(k, &prefix->address);
		n < k->hosts && address_equal(&k->host[n].address, &prefix->address); n++) {
		const struct kernel_hop hop = {.gateway = prefix->address.bits,
			.gateway_family = prefix->address.family,
			.ifindex = k->host[n].ifindex,
			.weight = 1};
		const struct kernel_value *v =
			connected_route(k->state, &prefix->address, hop.ifindex);
		const struct kernel_path way = {&hop, 1, v ? v->route.mtu : 0};

		if (v)
			return take_way(t, &way, &(struct kernel_path){NULL, 0, 0});
	}
	failed = find_failed(k, &prefix->address);
	return failed && connected_route(k->state, &prefix->address, failed->host.ifindex)
		       ? take_fate(t, P2PNIC_ADJACENCY_BLACKHOLE)
		       : 0;
}

/* Where a prefix leads: fills in its next hop, 0 if it has no route, and its source. */
static int take_prefix(const struct taking *t, struct route *r)
{
	const struct prefix prefix = prefix_of_route(r);
	const struct candidates c = candidates_to(t->k->state, &prefix);
	int number;

	if (c.best) {
		number = c.by_tos ? take_fate(t, P2PNIC_ADJACENCY_KERNEL)
				  : take_route(t, &prefix, &c);
		r->source = (uint8_t)source_of(c.best);
	} else {
		number = prefix.length == address_bits(&prefix.address) ? take_neighbor(t, &prefix)
									: 0;
		r->source = RIB_NEIGHBOR;
	}
	r->next_hop = (uint16_t)(number < 0 ? 0 : number);
	return number < 0 ? number : 0;
}

static int error_of(struct error *error, int result)
{
	return result == -ENOSPC
		       ? error_set(error, result,
				 "more than %u next hops and neighbours, or %u buckets of groups",
				 TABLE_HALF_NEXT_HOPS - 1, TABLE_HALF_BUCKETS)
		       : error_set(error, result, "out of memory for the kernel's routes");
}

/* --- Prefixes --------------------------------------------------------------------------------- */

static int add_host(struct routes *to, const struct address *a)
{
	const struct prefix host = {*a, (uint8_t)address_bits(a)};
	const struct route r = route_of_prefix(&host);

	return routes_add(to, &r);
}

static int add_hosts(struct kernel_routes *k, size_t from, const struct prefix *covered_by)
{
	int result = 0;

	for (size_t n = from; n < k->hosts && !result; n++) {
		if (covered_by && !(k->host[n].address.family == covered_by->address.family &&
					  prefix_contains(covered_by, &k->host[n].address)))
			break;
		result = add_host(&k->prefixes, &k->host[n].address);
	}
	return result;
}

static int order(const void *a, const void *b)
{
	return route_order(a, b);
}

static void sort_once(struct routes *r)
{
	size_t n = 0;

	if (r->n)
		qsort(r->route, r->n, sizeof(*r->route), order);
	for (size_t k = 0; k < r->n; k++)
		if (!n || route_order(&r->route[n - 1], &r->route[k]))
			r->route[n++] = r->route[k];
	r->n = n;
}

/* --- A batch ---------------------------------------------------------------------------------- */

struct batch {
	bool links, neighbors, next_hops;
};

static int note_change(
	struct kernel_routes *k, const struct kernel_change *change, struct batch *batch)
{
	const struct prefix prefix = {
		{change->key.address, change->key.family}, change->key.length};
	const struct route route = route_of_prefix(&prefix);

	switch (change->key.kind) {
	case KERNEL_ROUTE:
		return rank(&change->key) ? routes_add(&k->prefixes, &route) : 0;
	case KERNEL_NEIGHBOR:
		batch->neighbors = true;
		if (change->now && (change->now->neighbor.state & NUD_FAILED))
			note_failed(k, &(struct kernel_host){prefix.address, change->key.id});
		return add_host(&k->prefixes, &prefix.address);
	case KERNEL_LINK:
		batch->links = true;
		return 0;
	case KERNEL_NEXT_HOP:
		batch->next_hops = true;
		return 0;
	default:
		return 0; /* the kernel makes routes of an address */
	}
}

/* Those whose time has come; with `all`, the others too. */
static int add_failed(struct kernel_routes *k, bool all)
{
	const uint64_t now = clock_now_ns();
	size_t kept = 0;
	int result = 0;

	for (size_t n = 0; n < k->failures && !result; n++) {
		const bool held = now < k->failed[n].until_ns;

		if (all || !held)
			result = add_host(&k->prefixes, &k->failed[n].host.address);
		if (held)
			k->failed[kept++] = k->failed[n];
	}
	k->failures = kept;
	return result;
}

/* What the changes are about, and neighbours that routes may reach otherwise now. */
static int collect(struct kernel_routes *k, struct batch *batch)
{
	struct kernel_change change;
	size_t routes;
	int result = 0;

	k->prefixes.n = 0;
	for (unsigned n = 0;
		n < KERNEL_BATCH_CHANGES && !result && kernel_state_change(k->state, &change); n++)
		result = note_change(k, &change, batch);
	sort_once(&k->prefixes);
	routes = k->prefixes.n;
	if (!result && batch->links)
		result = add_hosts(k, 0, NULL);
	if (!result && (batch->links || batch->neighbors))
		result = list_hosts(k);
	if (!result && batch->links)
		result = add_hosts(k, 0, NULL);
	for (size_t n = 0; n < routes && !result && !batch->links; n++) {
		const struct prefix prefix = prefix_of_route(&k->prefixes.route[n]);

		if (prefix.length < address_bits(&prefix.address))
			result = add_hosts(k, first_host(k, &prefix.address), &prefix);
	}
	if (!result)
		result = add_failed(k, routes || batch->links);
	if (k->prefixes.n > routes)
		sort_once(&k->prefixes);
	return result;
}

/* Leaves of the prefixes those that lead elsewhere. */
static int take_all(const struct taking *t, const struct table *table)
{
	struct routes *prefixes = &t->k->prefixes;
	size_t changes = 0;
	int result = 0;

	for (size_t n = 0; n < prefixes->n && !result; n++) {
		struct route *r = &prefixes->route[n];
		const struct route *old = routes_find(table_routes(table), r);

		result = take_prefix(t, r);
		if (old ? old->next_hop != r->next_hop || old->source != r->source
			: r->next_hop != 0)
			prefixes->route[changes++] = *r;
	}
	prefixes->n = changes;
	return result;
}

int kernel_routes_apply(struct kernel_routes *k, struct table *table, const struct table_nics *nics,
	struct table_report *report, struct error *error)
{
	struct next_hops *hops = next_hops_copy(table_next_hops(table));
	const struct taking taking = {k, &k->ways, hops, k->lossy};
	struct batch batch = {false};
	int result = collect(k, &batch);

	*report = (struct table_report){0};
	k->links = batch.links;
	if (!hops)
		result = -ENOMEM;
	if (!result && (batch.links || batch.neighbors || batch.next_hops))
		result = kernel_ways_lead(&k->ways, hops);
	if (!result)
		result = take_all(&taking, table);
	if (result)
		error_of(error, result);
	else
		result = table_change(
			table, hops, k->prefixes.route, k->prefixes.n, nics, report, error);
	if (result) {
		free(hops);
		k->applied.failed++;
		return result;
	}
	k->applied.batches++;
	k->applied.routes += report->added + report->changed + report->deleted;
	return 0;
}

/* --- All of it -------------------------------------------------------------------------------- */

static int all_prefixes(struct kernel_routes *k, struct routes *routes)
{
	struct kernel_key key;
	size_t from = 0;
	int result = routes_reserve(routes, kernel_state_count(k->state, KERNEL_ROUTE));

	while (!result && kernel_state_each(k->state, KERNEL_ROUTE, &from, &key)) {
		const struct prefix prefix = {{key.address, key.family}, key.length};
		const struct route route = route_of_prefix(&prefix);

		if (rank(&key))
			result = routes_add(routes, &route);
	}
	for (size_t n = 0; n < k->hosts && !result; n++)
		result = add_host(routes, &k->host[n].address);
	for (size_t n = 0; n < k->failures && !result; n++)
		result = add_host(routes, &k->failed[n].host.address);
	if (!result)
		sort_once(routes);
	return result;
}

struct making {
	struct kernel_routes *k;
	struct kernel_ways ways; /* of the table that is made */
};

static int all_routes(void *context, struct routes *routes, struct next_hops *hops, bool alone,
	struct error *error)
{
	struct making *m = context;
	const struct taking taking = {m->k, &m->ways, hops, alone};
	size_t n = 0;
	int result = list_hosts(m->k);

	*routes = (struct routes){0};
	kernel_ways_free(&m->ways);
	m->k->lossy = false;
	if (!result)
		result = all_prefixes(m->k, routes);
	/* So that it is there when nothing else fits. */
	if (!result)
		result = take_fate(&taking, P2PNIC_ADJACENCY_KERNEL);
	result = result < 0 ? result : 0;
	for (size_t j = 0; j < routes->n && !result; j++) {
		result = take_prefix(&taking, &routes->route[j]);
		if (routes->route[j].next_hop)
			routes->route[n++] = routes->route[j];
	}
	routes->n = n;
	if (!result)
		return 0;
	routes_free(routes);
	return error_of(error, result);
}

int kernel_routes_make(struct kernel_routes *k, struct table **table, unsigned kind,
	const struct table_nics *nics, struct table_report *report, struct error *error)
{
	struct making m = {.k = k, .ways = k->ways};
	struct kernel_change change;
	int result;

	memset(m.ways.of, 0, sizeof(m.ways.of));
	while (kernel_state_change(k->state, &change))
		;
	result = table_make(table, kind, all_routes, &m, true, nics, report, error);
	if (result) {
		kernel_ways_free(&m.ways);
		k->applied.failed++;
		return result;
	}
	kernel_ways_free(&k->ways);
	k->ways = m.ways;
	k->applied.compiles++;
	return 0;
}

bool kernel_routes_short_of(const struct kernel_routes *k, const struct table *table,
	const struct kernel_key *key, const struct kernel_value *v)
{
	const struct prefix prefix = {{key->address, key->family}, key->length};
	const struct route like = route_of_prefix(&prefix);
	const struct route *route;
	unsigned members;

	if (!k->lossy || !counts(key, v) || key->tos || v->route.unsupported ||
		v->route.type != RTN_UNICAST)
		return false;
	for (unsigned n = 0; n < v->hops; n++)
		if (!v->hop[n].next_hop && kernel_ways_nic(&k->ways, v->hop[n].ifindex) < 0)
			return false;
	route = routes_find(table_routes(table), &like);
	return route && next_hops_lead(table_next_hops(table), route->next_hop, &members)->kind ==
				P2PNIC_ADJACENCY_KERNEL;
}

/* --- Looking for what is wrong ---------------------------------------------------------------- */

/* The first that is behind it. */
static size_t behind(const struct routes *routes, const struct route *last)
{
	size_t low = 0, high = routes->n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (route_order(&routes->route[middle], last) <= 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static int check_routes(
	struct kernel_routes *k, const struct table *table, struct kernel_routes_check *c)
{
	const struct routes *routes = table_routes(table);
	int result = 0;

	for (size_t n = c->begun ? behind(routes, &c->last) : 0; !result; n++) {
		if (n == routes->n) {
			c->part++;
			break;
		}
		if (k->prefixes.n == KERNEL_CHECK_PREFIXES)
			break;
		result = routes_add(&k->prefixes, &routes->route[n]);
		c->last = routes->route[n];
		c->begun = true;
	}
	return result;
}

/* Those that the table has not. */
static int check_missing(
	struct kernel_routes *k, const struct table *table, struct kernel_routes_check *c)
{
	struct kernel_key key;
	int result = 0;

	for (unsigned n = 0; n < KERNEL_CHECK_PREFIXES && !result; n++) {
		if (!kernel_state_each(k->state, KERNEL_ROUTE, &c->from, &key)) {
			c->part++;
			break;
		}
		const struct prefix prefix = {{key.address, key.family}, key.length};
		const struct route route = route_of_prefix(&prefix);

		if (rank(&key) && !routes_find(table_routes(table), &route))
			result = routes_add(&k->prefixes, &route);
	}
	return result;
}

static int check_hosts(
	struct kernel_routes *k, const struct table *table, struct kernel_routes_check *c)
{
	int result = add_hosts(k, 0, NULL);

	c->part++;
	for (size_t n = 0; n < k->failures && !result; n++)
		result = add_host(&k->prefixes, &k->failed[n].host.address);
	return result;
}

int kernel_routes_check(
	struct kernel_routes *k, const struct table *table, struct kernel_routes_check *c)
{
	static int (*const part[])(struct kernel_routes *, const struct table *,
		struct kernel_routes_check *) = {check_routes, check_missing, check_hosts};
	struct next_hops *hops = next_hops_copy(table_next_hops(table));
	const struct taking taking = {k, &k->ways, hops, k->lossy};
	const bool encapsulated = k->encapsulated;
	int result = hops ? 0 : -ENOMEM;

	k->prefixes.n = 0;
	c->moved = 0;
	if (!result && c->part == KERNEL_CHECK_PARTS) {
		result = kernel_ways_lead(&k->ways, hops);
		for (unsigned n = 1; n < TABLE_HALF_NEXT_HOPS && !result; n++)
			c->moved +=
				hops->users[n] && hops->word[n] != table_next_hops(table)->word[n];
		c->part++;
	} else if (!result) {
		result = part[c->part](k, table, c);
	}
	if (!result) {
		sort_once(&k->prefixes);
		result = take_all(&taking, table);
	}
	k->lossy = taking.alone;
	k->encapsulated = encapsulated;
	free(hops);
	return result ? result : c->part <= KERNEL_CHECK_PARTS;
}

void kernel_routes_open(
	struct kernel_routes *k, struct kernel_state *state, const struct kernel_nics *nics)
{
	*k = (struct kernel_routes){.state = state, .nics = nics, .failed_ms = KERNEL_FAILED_MS};
	k->ways.state = state;
	k->ways.nics = nics;
	/* At boot there may be no random bits yet; then it is as with any seed that is known. */
	(void)!getrandom(k->ways.seed, sizeof(k->ways.seed), GRND_NONBLOCK);
}

void kernel_routes_close(struct kernel_routes *k)
{
	kernel_ways_free(&k->ways);
	free(k->host);
	routes_free(&k->prefixes);
	k->host = NULL;
}
