/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Routes by a way that is no more are found through their value: it is condemned, that is, taken
 * out of the table of values, so that a route which comes later, though equal, has another. So one
 * walk over all routes, whenever it comes (settle), finds those and no later ones, and it takes as
 * long for a hundred links that went down as for one.
 */
#include "router/kernel_map.h"

#include <linux/if.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>

struct kernel_state {
	struct kernel_map map;
	bool known; /* a round has come to its end: what is not here is not there */
	bool doubts;
	bool sweeping;  /* what is here the round has seen, so nothing follows from what is not */
	bool condemned; /* some value is, and routes may have it */
	struct kernel_counters counters;
	struct kernel_value *parsed; /* room for the largest */
	struct kernel_value *made;   /* the same, for values that are not a message's */
};

/* --- Changes of a key ------------------------------------------------------------------------- */

static void follow(struct kernel_state *, const struct kernel_key *,
	const struct kernel_value *before, const struct kernel_value *now);

/* Gives a key another first value, of which it takes the caller's reference. The node may be gone
 * afterwards if that is none. */
static void set_value(
	struct kernel_state *s, uint32_t number, unsigned kind, struct kernel_shared *value)
{
	struct kernel_table *table = &s->map.table[kind];
	const struct kernel_key key = kernel_node(table, number)->key;
	struct kernel_shared *before = kernel_map_put(&s->map, kind, number, value);

	if (before != value && !s->sweeping)
		follow(s, &key, before ? &before->value : NULL, value ? &value->value : NULL);
	kernel_map_release(table, before);
}

/* The route behind `after` of a key, or its first if 0, which goes. */
static void remove_route(struct kernel_state *s, uint32_t key, uint32_t after)
{
	struct kernel_table *table = &s->map.table[KERNEL_ROUTE];
	struct kernel_node *head = kernel_node(table, key), *node;
	uint32_t number = after ? kernel_node(table, after)->alternative : head->alternative;

	if (!number) {
		set_value(s, key, KERNEL_ROUTE, NULL);
		return;
	}
	node = kernel_node(table, number);
	if (after) {
		kernel_map_release(table, node->value);
		kernel_node(table, after)->alternative = node->alternative;
	} else {
		struct kernel_shared *value = node->value;

		head->seen = node->seen;
		head->alternative = node->alternative;
		set_value(s, key, KERNEL_ROUTE, value);
	}
	kernel_map_free_node(table, number);
}

/* Puts a route behind `after` of a key, or first if 0. It takes the caller's reference. */
static void insert_route(
	struct kernel_state *s, uint32_t key, uint32_t after, struct kernel_shared *value)
{
	struct kernel_table *table = &s->map.table[KERNEL_ROUTE];
	struct kernel_node *head = kernel_node(table, key), *node;

	if (head->value) {
		uint32_t number = kernel_map_add(&s->map, table, NODE_ALTERNATIVE);

		if (!number) {
			s->doubts = true;
			kernel_map_release(table, value);
			return;
		}
		node = kernel_node(table, number);
		if (after) {
			node->value = value;
			node->seen = s->map.round;
			node->alternative = kernel_node(table, after)->alternative;
			kernel_node(table, after)->alternative = number;
			return;
		}
		node->value = head->value;
		node->value->references++;
		node->seen = head->seen;
		node->alternative = head->alternative;
		head->alternative = number;
	}
	head->seen = s->map.round;
	set_value(s, key, KERNEL_ROUTE, value);
}

/* Removes the condemned of a key; it may be gone afterwards if it has no other. */
static void remove_condemned(struct kernel_state *s, uint32_t key)
{
	const struct kernel_table *table = &s->map.table[KERNEL_ROUTE];
	struct kernel_node *head = kernel_node(table, key);
	uint32_t after = key;

	while (kernel_node(table, after)->alternative) {
		if (kernel_node(table, kernel_node(table, after)->alternative)->value->condemned) {
			remove_route(s, key, after);
			s->counters.evicted++;
		} else {
			after = kernel_node(table, after)->alternative;
		}
	}
	if (head->value && head->value->condemned) {
		head->settled = s->map.round;
		remove_route(s, key, 0);
		s->counters.evicted++;
	}
}

static void settle(struct kernel_state *s)
{
	const struct kernel_table *table = &s->map.table[KERNEL_ROUTE];

	if (!s->condemned)
		return;
	s->condemned = false;
	for (uint32_t number = 1; number <= table->nodes; number++)
		if (kernel_node(table, number)->role == NODE_KEY) {
			remove_condemned(s, number);
			kernel_map_drop(&s->map, &s->map.table[KERNEL_ROUTE], number);
		}
}

/* --- What goes without a message -------------------------------------------------------------- */

static const struct kernel_value *value_of(
	const struct kernel_state *s, enum kernel_kind kind, uint32_t id)
{
	const struct kernel_key key = {.kind = (uint8_t)kind, .id = id};
	const struct kernel_node *node =
		kernel_node(&s->map.table[kind], kernel_map_find(&s->map, &key));

	return node && node->value ? &node->value->value : NULL;
}

static bool link_is_up(const struct kernel_value *v)
{
	return v && (v->link.flags & IFF_UP);
}

/* As nh_netdev_event sees a carrier. */
static bool link_runs(const struct kernel_value *v)
{
	return link_is_up(v) && (v->link.flags & (IFF_RUNNING | IFF_LOWER_UP));
}

static bool by_object(const struct kernel_value *route)
{
	return route->hops && route->hop[0].next_hop;
}

/* Whether all hops are down. What is not known (yet) counts as `unknown`. */
static bool all_down(const struct kernel_state *s, const struct kernel_value *route, bool unknown)
{
	for (unsigned k = 0; k < route->hops; k++) {
		const struct kernel_hop *hop = &route->hop[k];
		const struct kernel_value *v = hop->next_hop
						       ? value_of(s, KERNEL_NEXT_HOP, hop->next_hop)
						       : value_of(s, KERNEL_LINK, hop->ifindex);

		if (v ? hop->next_hop || link_is_up(v) : !unknown)
			return false;
	}
	return route->hops > 0;
}

/* Whether it can be added, or stay, while its link is down: own addresses. */
static bool may_be_down(const struct kernel_value *route)
{
	return route->route.family == 4
		       ? route->route.scope == RT_SCOPE_HOST
		       : route->route.type == RTN_LOCAL || route->route.type == RTN_ANYCAST;
}

struct cause {
	enum { LINK_DOWN, LINK_GONE, OBJECT_GONE, SOURCE_GONE, LAST_ADDRESS } why;
	uint32_t id; /* ifindex, next hop or IPv4 address */
};

static bool goes(const struct kernel_state *s, const struct kernel_value *v, struct cause cause)
{
	const bool ipv4 = v->route.family == 4;
	bool through = false, only = true;

	if (cause.why == SOURCE_GONE)
		return ipv4 && v->route.source == cause.id;
	if (cause.why == OBJECT_GONE)
		return by_object(v) && v->hop[0].next_hop == cause.id;
	if (by_object(v))
		return false;
	for (unsigned k = 0; k < v->hops; k++) {
		if (v->hop[k].ifindex == cause.id)
			through = true;
		else
			only = only && !link_is_up(value_of(s, KERNEL_LINK, v->hop[k].ifindex));
	}
	if (cause.why == LAST_ADDRESS)
		return ipv4 && through && only;
	if (cause.why == LINK_GONE && ipv4)
		return through;
	if (cause.why == LINK_DOWN && ipv4 && may_be_down(v))
		return false;
	return through && all_down(s, v, s->known);
}

static void condemn(struct kernel_state *s, struct cause cause)
{
	struct kernel_table *table = &s->map.table[KERNEL_ROUTE];

	for (uint32_t k = 0; k < table->value_buckets; k++)
		for (struct kernel_shared **at = &table->value_bucket[k]; *at;) {
			struct kernel_shared *v = *at;

			if (!goes(s, &v->value, cause)) {
				at = &v->next;
				continue;
			}
			*at = v->next;
			table->values--;
			v->condemned = true;
			s->condemned = true;
		}
}

static void evict(struct kernel_state *s, unsigned kind, uint32_t number)
{
	kernel_node(&s->map.table[kind], number)->settled = s->map.round;
	s->counters.evicted++;
	set_value(s, number, kind, NULL);
	kernel_map_drop(&s->map, &s->map.table[kind], number);
}

static void leave_group(struct kernel_state *s, uint32_t group, uint32_t member)
{
	struct kernel_table *table = &s->map.table[KERNEL_NEXT_HOP];
	const struct kernel_value *v = &kernel_node(table, group)->value->value;
	struct kernel_shared *value;
	uint16_t hops = 0;

	memcpy(s->made, v, KERNEL_VALUE_BYTES(0));
	for (unsigned k = 0; k < v->hops; k++)
		if (v->hop[k].next_hop != member)
			s->made->hop[hops++] = v->hop[k];
	if (hops == v->hops)
		return;
	s->made->hops = hops;
	if (!hops) {
		evict(s, KERNEL_NEXT_HOP, group);
		return;
	}
	value = kernel_map_share(&s->map, table, s->made);
	if (value)
		set_value(s, group, KERNEL_NEXT_HOP, value);
	else
		s->doubts = true;
}

/* Each next-hop object is asked; the call may end it. */
static void each_next_hop(struct kernel_state *s, uint32_t id,
	void (*call)(struct kernel_state *, uint32_t number, uint32_t id))
{
	const struct kernel_table *table = &s->map.table[KERNEL_NEXT_HOP];

	for (uint32_t number = 1; number <= table->nodes; number++)
		if (kernel_node(table, number)->role == NODE_KEY &&
			kernel_node(table, number)->value)
			call(s, number, id);
}

static void object_lost(struct kernel_state *s, uint32_t number, uint32_t member)
{
	if (kernel_node(&s->map.table[KERNEL_NEXT_HOP], number)->value->value.next_hop.group)
		leave_group(s, number, member);
}

static void link_lost(struct kernel_state *s, uint32_t number, uint32_t ifindex)
{
	const struct kernel_value *v =
		&kernel_node(&s->map.table[KERNEL_NEXT_HOP], number)->value->value;

	if (!v->next_hop.group && v->hops && v->hop[0].ifindex == ifindex)
		evict(s, KERNEL_NEXT_HOP, number);
}

/* Whether a link (0: any) has an IPv4 address (0: any). */
static bool has_ipv4(const struct kernel_state *s, uint32_t ifindex, uint32_t address)
{
	const struct kernel_table *table = &s->map.table[KERNEL_ADDRESS];

	for (uint32_t number = 1; number <= table->nodes; number++) {
		const struct kernel_node *node = kernel_node(table, number);

		if (node->role == NODE_KEY && node->value && node->key.family == 4 &&
			(!ifindex || node->key.id == ifindex) &&
			(!address || node->key.address.high >> 32 == address))
			return true;
	}
	return false;
}

/* A value has changed: what else has, without a message? */
static void follow(struct kernel_state *s, const struct kernel_key *key,
	const struct kernel_value *before, const struct kernel_value *now)
{
	const uint32_t address = (uint32_t)(key->address.high >> 32);

	if (key->kind == KERNEL_LINK) {
		if ((!before || link_runs(before)) && !link_runs(now))
			each_next_hop(s, key->id, link_lost);
		if (!now)
			condemn(s, (struct cause){LINK_GONE, key->id});
		else if ((!before || link_is_up(before)) && !link_is_up(now))
			condemn(s, (struct cause){LINK_DOWN, key->id});
	} else if (key->kind == KERNEL_NEXT_HOP && !now) {
		condemn(s, (struct cause){OBJECT_GONE, key->id});
		each_next_hop(s, key->id, object_lost);
	} else if (key->kind == KERNEL_ADDRESS && !now && key->family == 4) {
		/* Others like it, or of its link, may not have been shown yet. */
		s->doubts |= !s->known;
		if (!s->known)
			return;
		if (!has_ipv4(s, 0, address))
			condemn(s, (struct cause){SOURCE_GONE, address});
		if (!has_ipv4(s, key->id, 0))
			condemn(s, (struct cause){LAST_ADDRESS, key->id});
	}
}

/* --- Messages --------------------------------------------------------------------------------- */

static void apply(struct kernel_state *s, const struct kernel_message *m, bool dumped)
{
	const uint8_t kind = m->key.kind;
	struct kernel_table *table = &s->map.table[kind];
	uint32_t number = m->removed && !s->map.in_round ? kernel_map_find(&s->map, &m->key)
							 : kernel_map_find_or_add(&s->map, &m->key);
	struct kernel_node *node = kernel_node(table, number);
	struct kernel_shared *value = NULL;

	if (!number) {
		s->doubts |= !m->removed || s->map.in_round;
		return;
	}
	if (dumped && node->settled == s->map.round)
		return;
	if (!m->removed) {
		value = kernel_map_share(&s->map, table, s->parsed);
		if (!value) {
			s->doubts = true;
			kernel_map_drop(&s->map, table, number);
			return;
		}
	}
	node->seen = s->map.round;
	if (!dumped)
		node->settled = s->map.round;
	if (m->removed && !node->value)
		follow(s, &m->key, NULL, NULL);
	else
		set_value(s, number, kind, value);
	kernel_map_drop(&s->map, table, number);
}

/* The place of a route in its key: the one before it, if it is not the first. */
struct place {
	uint32_t number; /* 0: there is none such */
	uint32_t after;
};

static bool same_value(const struct kernel_value *a, const struct kernel_value *b)
{
	return kernel_value_equal(a, b);
}

/* IPv6 routes of one key with gateways are one route to the kernel (rt6_qualify_for_ecmp), except
 * those that it learnt itself. */
static bool merges(const struct kernel_value *v)
{
	return v->route.family == 6 && v->hops && v->hop[0].gateway_family &&
	       v->route.protocol != RTPROT_RA && v->route.protocol != RTPROT_REDIRECT;
}

static bool both_merge(const struct kernel_value *a, const struct kernel_value *b)
{
	return merges(a) && merges(b);
}

static bool alike(const struct kernel_value *a, const struct kernel_value *b)
{
	return merges(a) == merges(b);
}

static struct place find_route(const struct kernel_state *s, uint32_t key,
	bool (*fits)(const struct kernel_value *, const struct kernel_value *))
{
	const struct kernel_table *table = &s->map.table[KERNEL_ROUTE];
	struct place at = {kernel_node(table, key)->value ? key : 0, 0};

	while (at.number && !fits(&kernel_node(table, at.number)->value->value, s->parsed))
		at = (struct place){kernel_node(table, at.number)->alternative, at.number};
	return at;
}

/* Gives a route's place another value, of which it takes the caller's reference. */
static void replace_route(
	struct kernel_state *s, uint32_t key, struct place at, struct kernel_shared *value)
{
	struct kernel_node *node = kernel_node(&s->map.table[KERNEL_ROUTE], at.number);

	node->seen = s->map.round;
	if (at.number == key) {
		set_value(s, key, KERNEL_ROUTE, value);
	} else {
		kernel_map_release(&s->map.table[KERNEL_ROUTE], node->value);
		node->value = value;
	}
}

/* The last one of those that this round has shown (0: none of them), or of all. */
static uint32_t last_route(const struct kernel_state *s, uint32_t key, bool shown)
{
	const struct kernel_table *table = &s->map.table[KERNEL_ROUTE];
	const struct kernel_node *node = kernel_node(table, key);
	uint32_t last = 0;

	for (uint32_t number = node->value ? key : 0; number; number = node->alternative) {
		node = kernel_node(table, number);
		if (shown && node->seen != s->map.round)
			break;
		last = number;
	}
	return last;
}

/* As fib_table_insert and fib6_add_rt2node put it among those of its key, by the flags that they
 * give to the message. */
static void add_route(
	struct kernel_state *s, uint32_t key, uint16_t flags, struct kernel_shared *value)
{
	struct kernel_node *head = kernel_node(&s->map.table[KERNEL_ROUTE], key);
	struct place at = find_route(s, key, same_value);
	const bool ipv6 = s->parsed->route.family == 6;

	if (flags & NLM_F_EXCL) { /* there was none */
		while (head->alternative)
			remove_route(s, key, key);
		head->settled = s->map.round;
		at.number = head->value ? key : 0;
	} else if (flags & NLM_F_REPLACE) {
		head->settled = s->map.round;
		if (!at.number)
			at = ipv6 ? find_route(s, key, alike) : at;
		if (!at.number)
			at.number = head->value ? key : 0;
	} else if (!at.number && ipv6 && merges(s->parsed)) {
		at = find_route(s, key, both_merge);
	}
	if (at.number)
		replace_route(s, key, at, value);
	else if (ipv6 || (flags & NLM_F_APPEND) || !(flags & NLM_F_CREATE))
		insert_route(s, key, last_route(s, key, false), value);
	else
		insert_route(s, key, 0, value);
}

/* IPv6: takes the message's hops out of the route that has them all; false: there is none. */
static bool remove_hops(struct kernel_state *s, uint32_t key)
{
	struct place at = find_route(s, key, both_merge);
	const struct kernel_value *v, *gone = s->parsed;
	struct kernel_shared *value;
	uint16_t hops = 0;

	if (!at.number)
		return false;
	v = &kernel_node(&s->map.table[KERNEL_ROUTE], at.number)->value->value;
	memcpy(s->made, v, KERNEL_VALUE_BYTES(0));
	for (unsigned k = 0; k < v->hops; k++) {
		const struct kernel_hop *hop = &v->hop[k];
		bool goes_too = false;

		for (unsigned j = 0; j < gone->hops; j++)
			goes_too = goes_too || (hop->ifindex == gone->hop[j].ifindex &&
						       !memcmp(&hop->gateway, &gone->hop[j].gateway,
							       sizeof(hop->gateway)));
		if (!goes_too)
			s->made->hop[hops++] = *hop;
	}
	if (hops + gone->hops != v->hops)
		return false;
	s->made->hops = hops;
	if (!hops) {
		remove_route(s, key, at.after);
		return true;
	}
	value = kernel_map_share(&s->map, &s->map.table[KERNEL_ROUTE], s->made);
	if (value)
		replace_route(s, key, at, value);
	return value;
}

static void take_route_back(struct kernel_state *s, uint32_t key)
{
	struct kernel_node *head = kernel_node(&s->map.table[KERNEL_ROUTE], key);
	struct place at = find_route(s, key, same_value);

	head->settled = s->map.round;
	if (at.number)
		remove_route(s, key, at.after);
	else if (head->value && !remove_hops(s, key) && s->known)
		s->doubts = true; /* the kernel had another than this */
}

/* Routes that a dump shows stand before those that it has not shown (yet), in its order. */
static void show_route(struct kernel_state *s, uint32_t key, struct kernel_shared *value)
{
	struct kernel_table *table = &s->map.table[KERNEL_ROUTE];
	struct kernel_node *head = kernel_node(table, key);
	struct place at = find_route(s, key, same_value);

	if (head->settled == s->map.round) {
		if (at.number)
			kernel_node(table, at.number)->seen = s->map.round;
		else if (head->value)
			s->doubts = true; /* it went since, or stands beside what is new */
		kernel_map_release(table, value);
		return;
	}
	if (at.number && kernel_node(table, at.number)->seen == s->map.round) {
		kernel_map_release(table, value);
		return;
	}
	insert_route(s, key, last_route(s, key, true), value);
	/* Twice now, the old one behind the new one. */
	if (at.number) {
		at = (struct place){kernel_node(table, key)->alternative, key};
		while (kernel_node(table, at.number)->value != value ||
			kernel_node(table, at.number)->seen == s->map.round)
			at = (struct place){kernel_node(table, at.number)->alternative, at.number};
		remove_route(s, key, at.after);
	}
}

bool kernel_state_goes(const struct kernel_state *s, const struct kernel_value *route)
{
	return !may_be_down(route) && all_down(s, route, true);
}

static void apply_route(struct kernel_state *s, const struct kernel_message *m, bool dumped)
{
	struct kernel_table *table = &s->map.table[KERNEL_ROUTE];
	uint32_t key = m->removed && !s->map.in_round ? kernel_map_find(&s->map, &m->key)
						      : kernel_map_find_or_add(&s->map, &m->key);
	struct kernel_shared *value;

	if (!key) {
		s->doubts |= !m->removed || s->map.in_round;
		return;
	}
	if (s->condemned)
		remove_condemned(s, key);
	if (m->removed) {
		take_route_back(s, key);
	} else if (dumped && kernel_state_goes(s, s->parsed)) {
		/* Its end was seen already. If it is its beginning that was not, an event comes. */
	} else {
		value = kernel_map_share(&s->map, table, s->parsed);
		if (!value)
			s->doubts = true;
		else if (dumped)
			show_route(s, key, value);
		else
			add_route(s, key, m->flags, value);
	}
	kernel_map_drop(&s->map, table, key);
}

void kernel_state_message(struct kernel_state *s, const struct nlmsghdr *header, bool dumped)
{
	struct kernel_message m;

	s->counters.messages++;
	switch (kernel_parse(header, &m, s->parsed)) {
	case KERNEL_PARSED:
		break;
	case KERNEL_SOURCE_ROUTE:
		s->counters.source_routes++;
		return;
	case KERNEL_MALFORMED:
		s->counters.malformed++;
		return;
	case KERNEL_IGNORED:
	default:
		return;
	}
	if (dumped && (m.removed || !s->map.in_round))
		return;
	if (m.key.kind == KERNEL_ROUTE)
		apply_route(s, &m, dumped);
	else
		apply(s, &m, dumped);
}

/* --- Rounds ----------------------------------------------------------------------------------- */

void kernel_state_begin(struct kernel_state *s)
{
	s->map.round++;
	s->map.in_round = true;
}

static void sweep_key(struct kernel_state *s, unsigned kind, uint32_t number)
{
	struct kernel_table *table = &s->map.table[kind];
	struct kernel_node *node = kernel_node(table, number);
	uint32_t after = number;

	while (kernel_node(table, after)->alternative) {
		uint32_t next = kernel_node(table, after)->alternative;

		if (kernel_node(table, next)->seen == s->map.round) {
			after = next;
			continue;
		}
		remove_route(s, number, after);
		s->counters.swept++;
	}
	if (node->value && node->seen != s->map.round) {
		s->counters.swept++;
		if (kind == KERNEL_ROUTE)
			remove_route(s, number, 0);
		else
			set_value(s, number, kind, NULL);
	}
	kernel_map_drop(&s->map, table, number);
}

void kernel_state_sweep(struct kernel_state *s)
{
	settle(s);
	s->map.in_round = false;
	s->known = true;
	s->sweeping = true;
	for (unsigned kind = 0; kind < KERNEL_KINDS; kind++)
		for (uint32_t number = 1; number <= s->map.table[kind].nodes; number++)
			if (kernel_node(&s->map.table[kind], number)->role == NODE_KEY)
				sweep_key(s, kind, number);
	s->sweeping = false;
}

bool kernel_state_doubts(struct kernel_state *s)
{
	bool doubts = s->doubts;

	s->doubts = false;
	return doubts;
}

/* --- Questions -------------------------------------------------------------------------------- */

const struct kernel_value *kernel_state_find(
	struct kernel_state *s, const struct kernel_key *key, unsigned nth)
{
	const struct kernel_table *table = &s->map.table[key->kind];
	const struct kernel_node *node;

	settle(s);
	node = kernel_node(table, kernel_map_find(&s->map, key));
	while (node && nth--)
		node = kernel_node(table, node->alternative);
	return node && node->value ? &node->value->value : NULL;
}

const struct kernel_value *kernel_state_each(
	struct kernel_state *s, enum kernel_kind kind, size_t *from, struct kernel_key *key)
{
	const struct kernel_table *table = &s->map.table[kind];

	settle(s);
	while (*from < table->nodes) {
		const struct kernel_node *node = kernel_node(table, (uint32_t)++ * from);

		if (node->role == NODE_KEY && node->value) {
			*key = node->key;
			return &node->value->value;
		}
	}
	return NULL;
}

const struct kernel_value *kernel_state_route(
	struct kernel_state *s, const struct prefix *prefix, uint32_t *from, struct kernel_key *key)
{
	const struct kernel_key like = {.kind = KERNEL_ROUTE,
		.family = prefix->address.family,
		.length = prefix->length,
		.address = prefix->address.bits};

	settle(s);
	while ((*from = kernel_map_next_route(&s->map, &like, *from))) {
		const struct kernel_node *node = kernel_node(&s->map.table[KERNEL_ROUTE], *from);

		if (node->value) {
			*key = node->key;
			return &node->value->value;
		}
	}
	return NULL;
}

struct kernel_map *kernel_state_map(struct kernel_state *s)
{
	settle(s);
	return &s->map;
}

size_t kernel_state_count(struct kernel_state *s, enum kernel_kind kind)
{
	settle(s);
	return s->map.table[kind].keys;
}

bool kernel_state_change(struct kernel_state *s, struct kernel_change *change)
{
	settle(s);
	return kernel_map_change(&s->map, change);
}

size_t kernel_state_changes(struct kernel_state *s)
{
	settle(s);
	return s->map.queue_n;
}

const struct kernel_counters *kernel_state_counters(const struct kernel_state *s)
{
	return &s->counters;
}

struct kernel_state *kernel_state_new(void)
{
	struct kernel_state *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	kernel_map_open(&s->map);
	s->parsed = calloc(1, KERNEL_VALUE_BYTES_MAX);
	s->made = calloc(1, KERNEL_VALUE_BYTES_MAX);
	if (!s->parsed || !s->made) {
		kernel_state_free(s);
		return NULL;
	}
	return s;
}

void kernel_state_free(struct kernel_state *s)
{
	if (!s)
		return;
	kernel_map_close(&s->map);
	free(s->parsed);
	free(s->made);
	free(s);
}
