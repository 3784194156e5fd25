/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Each kind has a hash table of nodes, which lie in blocks and are named by number, and a hash
 * table of values, each there once. 1.2 million routes by some hundred ways are 85 MB.
 *
 * Routes by a way that is no more are found through their value: it is condemned, that is, taken
 * out of the table of values, so that a route which comes later, though equal, has another. So one
 * walk over all routes, whenever it comes (settle), finds those and no later ones, and it takes as
 * long for a hundred links that went down as for one.
 */
#include "router/kernel_state.h"

#include <assert.h>
#include <linux/if.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define BLOCK_NODES   4096u
#define BUCKETS_FIRST 64u

/* A value that nodes share. */
struct shared {
	struct shared *next; /* of the same bucket */
	uint32_t hash;
	uint32_t references;
	bool condemned; /* in no bucket */
	struct kernel_value value;
};

enum role { NODE_FREE, NODE_KEY, NODE_ALTERNATIVE };

/* A key, with its first value; or a further route of a key. Numbers are from 1, 0 is none. */
struct node {
	struct kernel_key key;
	struct shared *value; /* NULL: it has gone, and is here for its change or for the round */
	uint32_t next;        /* of the same bucket, or of those that are free */
	uint32_t alternative; /* the next route of the key */
	uint32_t seen;        /* the last round that showed this value */
	uint32_t settled;     /* key: the round in which an event said what dumps do not know */
	uint8_t role;         /* enum role */
	bool queued;          /* key: it has a change in the queue */
};

struct map {
	struct node **block;
	uint32_t blocks, block_room;
	uint32_t nodes; /* of the blocks, that were in use ever */
	uint32_t free;
	uint32_t *bucket;
	uint32_t buckets, chained; /* keys in buckets */
	size_t keys;               /* with a value */
	struct shared **value_bucket;
	uint32_t value_buckets, values;
};

struct waiting {
	uint32_t kind, node;
	struct shared *before;
};

struct kernel_state {
	struct map map[KERNEL_KINDS];
	/* A ring of a power of two with a place for every node, so that a change always has one. */
	struct waiting *queue;
	size_t queue_room, queue_first, queue_n, nodes;
	struct waiting taken; /* the change taken last */
	uint64_t seed;
	uint32_t round;
	bool in_round;
	bool known; /* a round has come to its end: what is not here is not there */
	bool doubts;
	bool condemned; /* some value is, and routes may have it */
	struct kernel_counters counters;
	struct kernel_value *parsed; /* room for the largest */
	struct kernel_value *made;   /* the same, for values that are not a message's */
};

/* --- Values ----------------------------------------------------------------------------------- */

/* Multiply and fold; the seed keeps those who announce routes from choosing the bucket. */
static uint32_t hash_of(const struct kernel_state *s, const void *bytes, size_t n)
{
	uint64_t hash = s->seed ^ n;

	for (size_t k = 0; k < n; k += 8) {
		uint64_t word = 0;

		memcpy(&word, (const char *)bytes + k, n - k < 8 ? n - k : 8);
		hash = (hash ^ word) * 0x9e3779b97f4a7c15u; /* 2^64 / golden ratio */
		hash ^= hash >> 29;
	}
	return (uint32_t)(hash ^ hash >> 32);
}

static bool value_equal(const struct kernel_value *a, const struct kernel_value *b)
{
	return a->hops == b->hops && !memcmp(a, b, KERNEL_VALUE_BYTES(a->hops));
}

static void unlink_value(struct map *map, struct shared *value)
{
	struct shared **at = &map->value_bucket[value->hash & (map->value_buckets - 1)];

	while (*at != value)
		at = &(*at)->next;
	*at = value->next;
	map->values--;
}

static void release(struct map *map, struct shared *value)
{
	if (!value || --value->references)
		return;
	if (!value->condemned)
		unlink_value(map, value);
	free(value);
}

static bool grow_values(struct map *map)
{
	uint32_t buckets = map->value_buckets ? map->value_buckets * 2 : BUCKETS_FIRST;
	struct shared **bucket = calloc(buckets, sizeof(struct shared *));

	if (!bucket)
		return false;
	for (uint32_t k = 0; k < map->value_buckets; k++)
		for (struct shared *v = map->value_bucket[k], *next; v; v = next) {
			struct shared **to = &bucket[v->hash & (buckets - 1)];

			next = v->next;
			v->next = *to;
			*to = v;
		}
	free(map->value_bucket);
	map->value_bucket = bucket;
	map->value_buckets = buckets;
	return true;
}

/* The one that is equal, with a reference for the caller; NULL: out of memory. */
static struct shared *share(
	struct kernel_state *s, struct map *map, const struct kernel_value *like)
{
	const size_t bytes = KERNEL_VALUE_BYTES(like->hops);
	const uint32_t hash = hash_of(s, like, bytes);
	struct shared *v =
		map->value_buckets ? map->value_bucket[hash & (map->value_buckets - 1)] : NULL;

	while (v && !(v->hash == hash && value_equal(&v->value, like)))
		v = v->next;
	if (v) {
		v->references++;
		return v;
	}
	if (map->values >= map->value_buckets && !grow_values(map))
		return NULL;
	v = malloc(offsetof(struct shared, value) + bytes);
	if (!v)
		return NULL;
	*v = (struct shared){.hash = hash, .references = 1};
	memcpy(&v->value, like, bytes);
	v->next = map->value_bucket[hash & (map->value_buckets - 1)];
	map->value_bucket[hash & (map->value_buckets - 1)] = v;
	map->values++;
	return v;
}

/* --- Nodes ------------------------------------------------------------------------------------ */

static struct node *node_of(const struct map *map, uint32_t number)
{
	return number ? &map->block[(number - 1) / BLOCK_NODES][(number - 1) % BLOCK_NODES] : NULL;
}

/* The kth that waits, or the place for it. */
static struct waiting *place_in_queue(const struct kernel_state *s, size_t k)
{
	return &s->queue[(s->queue_first + k) & (s->queue_room - 1)];
}

static bool grow_queue(struct kernel_state *s)
{
	size_t room = s->queue_room ? s->queue_room * 2 : BUCKETS_FIRST;
	struct waiting *queue = malloc(room * sizeof(*queue));

	if (!queue)
		return false;
	for (size_t k = 0; k < s->queue_n; k++)
		queue[k] = *place_in_queue(s, k);
	free(s->queue);
	s->queue = queue;
	s->queue_room = room;
	s->queue_first = 0;
	return true;
}

/* Its number; 0: out of memory. */
static uint32_t add_node(struct kernel_state *s, struct map *map, enum role role)
{
	uint32_t number = map->free;

	if (number) {
		map->free = node_of(map, number)->next;
	} else {
		if (map->nodes == map->blocks * BLOCK_NODES) {
			if (map->blocks == map->block_room) {
				uint32_t room = map->block_room ? map->block_room * 2 : 16;
				struct node **block =
					reallocarray(map->block, room, sizeof(struct node *));

				if (!block)
					return 0;
				map->block = block;
				map->block_room = room;
			}
			map->block[map->blocks] = malloc(BLOCK_NODES * sizeof(struct node));
			if (!map->block[map->blocks])
				return 0;
			map->blocks++;
		}
		if (s->nodes == s->queue_room && !grow_queue(s))
			return 0;
		s->nodes++;
		number = ++map->nodes;
	}
	*node_of(map, number) = (struct node){.role = (uint8_t)role};
	return number;
}

static void free_node(struct map *map, uint32_t number)
{
	*node_of(map, number) = (struct node){.next = map->free};
	map->free = number;
}

static uint32_t *bucket_of(const struct kernel_state *s, const struct map *map, const void *key)
{
	return &map->bucket[hash_of(s, key, sizeof(struct kernel_key)) & (map->buckets - 1)];
}

static uint32_t find(const struct kernel_state *s, const struct kernel_key *key)
{
	const struct map *map = &s->map[key->kind];
	uint32_t number = map->buckets ? *bucket_of(s, map, key) : 0;

	while (number && memcmp(&node_of(map, number)->key, key, sizeof(*key)) != 0)
		number = node_of(map, number)->next;
	return number;
}

static bool grow_buckets(struct kernel_state *s, struct map *map)
{
	struct map larger = {.buckets = map->buckets ? map->buckets * 2 : BUCKETS_FIRST};

	larger.bucket = calloc(larger.buckets, sizeof(*larger.bucket));
	if (!larger.bucket)
		return false;
	for (uint32_t number = 1; number <= map->nodes; number++) {
		struct node *node = node_of(map, number);

		if (node->role == NODE_KEY) {
			uint32_t *bucket = bucket_of(s, &larger, &node->key);

			node->next = *bucket;
			*bucket = number;
		}
	}
	free(map->bucket);
	map->bucket = larger.bucket;
	map->buckets = larger.buckets;
	return true;
}

/* The key's node, without a value if it is new; 0: out of memory. */
static uint32_t find_or_add(struct kernel_state *s, const struct kernel_key *key)
{
	struct map *map = &s->map[key->kind];
	uint32_t number = find(s, key), *bucket;

	if (number || (map->chained >= map->buckets && !grow_buckets(s, map)))
		return number;
	number = add_node(s, map, NODE_KEY);
	if (!number)
		return 0;
	bucket = bucket_of(s, map, key);
	node_of(map, number)->key = *key;
	node_of(map, number)->next = *bucket;
	*bucket = number;
	map->chained++;
	return number;
}

/* Frees a key without value for which nobody waits. */
static void drop_key(struct kernel_state *s, struct map *map, uint32_t number)
{
	const struct node *node = node_of(map, number);
	uint32_t *at;

	if (node->value || node->queued || (s->in_round && node->settled == s->round))
		return;
	at = bucket_of(s, map, &node->key);
	while (*at != number)
		at = &node_of(map, *at)->next;
	*at = node->next;
	map->chained--;
	free_node(map, number);
}

/* --- Changes of a key ------------------------------------------------------------------------- */

static void follow(struct kernel_state *, const struct kernel_key *,
	const struct kernel_value *before, const struct kernel_value *now);

/* Gives a key another first value, of which it takes the caller's reference. The node may be gone
 * afterwards if that is none. */
static void set_value(struct kernel_state *s, uint32_t number, unsigned kind, struct shared *value)
{
	struct map *map = &s->map[kind];
	struct node *node = node_of(map, number);
	struct shared *before = node->value;
	const struct kernel_key key = node->key;

	node->value = value;
	if (before == value) {
		release(map, before);
		return;
	}
	map->keys += !before;
	map->keys -= !value;
	if (!node->queued) {
		assert(s->queue_n < s->queue_room);
		node->queued = true;
		*place_in_queue(s, s->queue_n++) = (struct waiting){kind, number, before};
		if (before)
			before->references++;
	}
	follow(s, &key, before ? &before->value : NULL, value ? &value->value : NULL);
	release(map, before);
}

/* The route behind `after` of a key, or its first if 0, which goes. */
static void remove_route(struct kernel_state *s, uint32_t key, uint32_t after)
{
	struct map *map = &s->map[KERNEL_ROUTE];
	struct node *head = node_of(map, key), *node;
	uint32_t number = after ? node_of(map, after)->alternative : head->alternative;

	if (!number) {
		set_value(s, key, KERNEL_ROUTE, NULL);
		return;
	}
	node = node_of(map, number);
	if (after) {
		release(map, node->value);
		node_of(map, after)->alternative = node->alternative;
	} else {
		struct shared *value = node->value;

		head->seen = node->seen;
		head->alternative = node->alternative;
		set_value(s, key, KERNEL_ROUTE, value);
	}
	free_node(map, number);
}

/* Puts a route behind `after` of a key, or first if 0. It takes the caller's reference. */
static void insert_route(struct kernel_state *s, uint32_t key, uint32_t after, struct shared *value)
{
	struct map *map = &s->map[KERNEL_ROUTE];
	struct node *head = node_of(map, key), *node;

	if (head->value) {
		uint32_t number = add_node(s, map, NODE_ALTERNATIVE);

		if (!number) {
			s->doubts = true;
			release(map, value);
			return;
		}
		node = node_of(map, number);
		if (after) {
			node->value = value;
			node->seen = s->round;
			node->alternative = node_of(map, after)->alternative;
			node_of(map, after)->alternative = number;
			return;
		}
		node->value = head->value;
		node->value->references++;
		node->seen = head->seen;
		node->alternative = head->alternative;
		head->alternative = number;
	}
	head->seen = s->round;
	set_value(s, key, KERNEL_ROUTE, value);
}

/* Removes the condemned of a key; it may be gone afterwards if it has no other. */
static void remove_condemned(struct kernel_state *s, uint32_t key)
{
	const struct map *map = &s->map[KERNEL_ROUTE];
	struct node *head = node_of(map, key);
	uint32_t after = key;

	while (node_of(map, after)->alternative) {
		if (node_of(map, node_of(map, after)->alternative)->value->condemned) {
			remove_route(s, key, after);
			s->counters.evicted++;
		} else {
			after = node_of(map, after)->alternative;
		}
	}
	if (head->value && head->value->condemned) {
		head->settled = s->round;
		remove_route(s, key, 0);
		s->counters.evicted++;
	}
}

static void settle(struct kernel_state *s)
{
	const struct map *map = &s->map[KERNEL_ROUTE];

	if (!s->condemned)
		return;
	s->condemned = false;
	for (uint32_t number = 1; number <= map->nodes; number++)
		if (node_of(map, number)->role == NODE_KEY) {
			remove_condemned(s, number);
			drop_key(s, &s->map[KERNEL_ROUTE], number);
		}
}

/* --- What goes without a message -------------------------------------------------------------- */

static const struct kernel_value *value_of(
	const struct kernel_state *s, enum kernel_kind kind, uint32_t id)
{
	const struct kernel_key key = {.kind = (uint8_t)kind, .id = id};
	const struct node *node = node_of(&s->map[kind], find(s, &key));

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
	struct map *map = &s->map[KERNEL_ROUTE];

	for (uint32_t k = 0; k < map->value_buckets; k++)
		for (struct shared **at = &map->value_bucket[k]; *at;) {
			struct shared *v = *at;

			if (!goes(s, &v->value, cause)) {
				at = &v->next;
				continue;
			}
			*at = v->next;
			map->values--;
			v->condemned = true;
			s->condemned = true;
		}
}

static void evict(struct kernel_state *s, unsigned kind, uint32_t number)
{
	node_of(&s->map[kind], number)->settled = s->round;
	s->counters.evicted++;
	set_value(s, number, kind, NULL);
	drop_key(s, &s->map[kind], number);
}

static void leave_group(struct kernel_state *s, uint32_t group, uint32_t member)
{
	struct map *map = &s->map[KERNEL_NEXT_HOP];
	const struct kernel_value *v = &node_of(map, group)->value->value;
	struct shared *value;
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
	value = share(s, map, s->made);
	if (value)
		set_value(s, group, KERNEL_NEXT_HOP, value);
	else
		s->doubts = true;
}

/* Each next-hop object is asked; the call may end it. */
static void each_next_hop(struct kernel_state *s, uint32_t id,
	void (*call)(struct kernel_state *, uint32_t number, uint32_t id))
{
	const struct map *map = &s->map[KERNEL_NEXT_HOP];

	for (uint32_t number = 1; number <= map->nodes; number++)
		if (node_of(map, number)->role == NODE_KEY && node_of(map, number)->value)
			call(s, number, id);
}

static void object_lost(struct kernel_state *s, uint32_t number, uint32_t member)
{
	if (node_of(&s->map[KERNEL_NEXT_HOP], number)->value->value.next_hop.group)
		leave_group(s, number, member);
}

static void link_lost(struct kernel_state *s, uint32_t number, uint32_t ifindex)
{
	const struct kernel_value *v = &node_of(&s->map[KERNEL_NEXT_HOP], number)->value->value;

	if (!v->next_hop.group && v->hops && v->hop[0].ifindex == ifindex)
		evict(s, KERNEL_NEXT_HOP, number);
}

/* Whether a link (0: any) has an IPv4 address (0: any). */
static bool has_ipv4(const struct kernel_state *s, uint32_t ifindex, uint32_t address)
{
	const struct map *map = &s->map[KERNEL_ADDRESS];

	for (uint32_t number = 1; number <= map->nodes; number++) {
		const struct node *node = node_of(map, number);

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
	struct map *map = &s->map[kind];
	uint32_t number = m->removed && !s->in_round ? find(s, &m->key) : find_or_add(s, &m->key);
	struct node *node = node_of(map, number);
	struct shared *value = NULL;

	if (!number) {
		s->doubts |= !m->removed || s->in_round;
		return;
	}
	if (dumped && node->settled == s->round)
		return;
	if (!m->removed) {
		value = share(s, map, s->parsed);
		if (!value) {
			s->doubts = true;
			drop_key(s, map, number);
			return;
		}
	}
	node->seen = s->round;
	if (!dumped)
		node->settled = s->round;
	if (m->removed && !node->value)
		follow(s, &m->key, NULL, NULL);
	else
		set_value(s, number, kind, value);
	drop_key(s, map, number);
}

/* The place of a route in its key: the one before it, if it is not the first. */
struct place {
	uint32_t number; /* 0: there is none such */
	uint32_t after;
};

static bool same_value(const struct kernel_value *a, const struct kernel_value *b)
{
	return value_equal(a, b);
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
	const struct map *map = &s->map[KERNEL_ROUTE];
	struct place at = {node_of(map, key)->value ? key : 0, 0};

	while (at.number && !fits(&node_of(map, at.number)->value->value, s->parsed))
		at = (struct place){node_of(map, at.number)->alternative, at.number};
	return at;
}

/* Gives a route's place another value, of which it takes the caller's reference. */
static void replace_route(
	struct kernel_state *s, uint32_t key, struct place at, struct shared *value)
{
	struct node *node = node_of(&s->map[KERNEL_ROUTE], at.number);

	node->seen = s->round;
	if (at.number == key) {
		set_value(s, key, KERNEL_ROUTE, value);
	} else {
		release(&s->map[KERNEL_ROUTE], node->value);
		node->value = value;
	}
}

/* The last one of those that this round has shown (0: none of them), or of all. */
static uint32_t last_route(const struct kernel_state *s, uint32_t key, bool shown)
{
	const struct map *map = &s->map[KERNEL_ROUTE];
	const struct node *node = node_of(map, key);
	uint32_t last = 0;

	for (uint32_t number = node->value ? key : 0; number; number = node->alternative) {
		node = node_of(map, number);
		if (shown && node->seen != s->round)
			break;
		last = number;
	}
	return last;
}

/* As fib_table_insert and fib6_add_rt2node put it among those of its key, by the flags that they
 * give to the message. */
static void add_route(struct kernel_state *s, uint32_t key, uint16_t flags, struct shared *value)
{
	struct node *head = node_of(&s->map[KERNEL_ROUTE], key);
	struct place at = find_route(s, key, same_value);
	const bool ipv6 = s->parsed->route.family == 6;

	if (flags & NLM_F_EXCL) { /* there was none */
		while (head->alternative)
			remove_route(s, key, key);
		head->settled = s->round;
		at.number = head->value ? key : 0;
	} else if (flags & NLM_F_REPLACE) {
		head->settled = s->round;
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
	struct shared *value;
	uint16_t hops = 0;

	if (!at.number)
		return false;
	v = &node_of(&s->map[KERNEL_ROUTE], at.number)->value->value;
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
	value = share(s, &s->map[KERNEL_ROUTE], s->made);
	if (value)
		replace_route(s, key, at, value);
	return value;
}

static void take_route_back(struct kernel_state *s, uint32_t key)
{
	struct node *head = node_of(&s->map[KERNEL_ROUTE], key);
	struct place at = find_route(s, key, same_value);

	head->settled = s->round;
	if (at.number)
		remove_route(s, key, at.after);
	else if (head->value && !remove_hops(s, key) && s->known)
		s->doubts = true; /* the kernel had another than this */
}

/* Routes that a dump shows stand before those that it has not shown (yet), in its order. */
static void show_route(struct kernel_state *s, uint32_t key, struct shared *value)
{
	struct map *map = &s->map[KERNEL_ROUTE];
	struct node *head = node_of(map, key);
	struct place at = find_route(s, key, same_value);

	if (head->settled == s->round) {
		if (at.number)
			node_of(map, at.number)->seen = s->round;
		else if (head->value)
			s->doubts = true; /* it went since, or stands beside what is new */
		release(map, value);
		return;
	}
	if (at.number && node_of(map, at.number)->seen == s->round) {
		release(map, value);
		return;
	}
	insert_route(s, key, last_route(s, key, true), value);
	/* Twice now, the old one behind the new one. */
	if (at.number) {
		at = (struct place){node_of(map, key)->alternative, key};
		while (node_of(map, at.number)->value != value ||
			node_of(map, at.number)->seen == s->round)
			at = (struct place){node_of(map, at.number)->alternative, at.number};
		remove_route(s, key, at.after);
	}
}

static void apply_route(struct kernel_state *s, const struct kernel_message *m, bool dumped)
{
	struct map *map = &s->map[KERNEL_ROUTE];
	uint32_t key = m->removed && !s->in_round ? find(s, &m->key) : find_or_add(s, &m->key);
	struct shared *value;

	if (!key) {
		s->doubts |= !m->removed || s->in_round;
		return;
	}
	if (s->condemned)
		remove_condemned(s, key);
	if (m->removed) {
		take_route_back(s, key);
	} else if (dumped && !may_be_down(s->parsed) && all_down(s, s->parsed, true)) {
		/* Its end was seen already. If it is its beginning that was not, an event comes. */
	} else {
		value = share(s, map, s->parsed);
		if (!value)
			s->doubts = true;
		else if (dumped)
			show_route(s, key, value);
		else
			add_route(s, key, m->flags, value);
	}
	drop_key(s, map, key);
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
	if (dumped && (m.removed || !s->in_round))
		return;
	if (m.key.kind == KERNEL_ROUTE)
		apply_route(s, &m, dumped);
	else
		apply(s, &m, dumped);
}

/* --- Rounds ----------------------------------------------------------------------------------- */

void kernel_state_begin(struct kernel_state *s)
{
	s->round++;
	s->in_round = true;
}

static void sweep_key(struct kernel_state *s, unsigned kind, uint32_t number)
{
	struct map *map = &s->map[kind];
	struct node *node = node_of(map, number);
	uint32_t after = number;

	while (node_of(map, after)->alternative) {
		uint32_t next = node_of(map, after)->alternative;

		if (node_of(map, next)->seen == s->round) {
			after = next;
			continue;
		}
		remove_route(s, number, after);
		s->counters.swept++;
	}
	if (node->value && node->seen != s->round) {
		s->counters.swept++;
		if (kind == KERNEL_ROUTE)
			remove_route(s, number, 0);
		else
			set_value(s, number, kind, NULL);
	}
	drop_key(s, map, number);
}

void kernel_state_sweep(struct kernel_state *s)
{
	settle(s);
	s->in_round = false;
	s->known = true;
	for (unsigned kind = 0; kind < KERNEL_KINDS; kind++)
		for (uint32_t number = 1; number <= s->map[kind].nodes; number++)
			if (node_of(&s->map[kind], number)->role == NODE_KEY)
				sweep_key(s, kind, number);
	settle(s);
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
	const struct map *map = &s->map[key->kind];
	const struct node *node;

	settle(s);
	node = node_of(map, find(s, key));
	while (node && nth--)
		node = node_of(map, node->alternative);
	return node && node->value ? &node->value->value : NULL;
}

const struct kernel_value *kernel_state_each(
	struct kernel_state *s, enum kernel_kind kind, size_t *from, struct kernel_key *key)
{
	const struct map *map = &s->map[kind];

	settle(s);
	while (*from < map->nodes) {
		const struct node *node = node_of(map, (uint32_t)++ * from);

		if (node->role == NODE_KEY && node->value) {
			*key = node->key;
			return &node->value->value;
		}
	}
	return NULL;
}

size_t kernel_state_count(struct kernel_state *s, enum kernel_kind kind)
{
	settle(s);
	return s->map[kind].keys;
}

static void release_taken(struct kernel_state *s)
{
	release(&s->map[s->taken.kind], s->taken.before);
	s->taken.before = NULL;
}

bool kernel_state_change(struct kernel_state *s, struct kernel_change *change)
{
	settle(s);
	release_taken(s);
	while (s->queue_n) {
		const struct waiting w = *place_in_queue(s, 0);
		struct map *map = &s->map[w.kind];
		struct node *node = node_of(map, w.node);
		const struct kernel_value *before = w.before ? &w.before->value : NULL;
		const struct kernel_value *now = node->value ? &node->value->value : NULL;

		s->queue_first = (s->queue_first + 1) & (s->queue_room - 1);
		s->queue_n--;
		*change = (struct kernel_change){node->key, before, now};
		node->queued = false;
		drop_key(s, map, w.node);
		if (before == now || (before && now && value_equal(before, now))) {
			release(map, w.before);
			continue;
		}
		s->taken = w;
		return true;
	}
	return false;
}

size_t kernel_state_changes(struct kernel_state *s)
{
	settle(s);
	return s->queue_n;
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
	s->parsed = calloc(1, KERNEL_VALUE_BYTES_MAX);
	s->made = calloc(1, KERNEL_VALUE_BYTES_MAX);
	if (!s->parsed || !s->made) {
		kernel_state_free(s);
		return NULL;
	}
	/* Without entropy the seed is 0; that costs speed at most. */
	if (getrandom(&s->seed, sizeof(s->seed), GRND_NONBLOCK) < 0)
		s->seed = 0;
	s->round = 1;
	return s;
}

void kernel_state_free(struct kernel_state *s)
{
	if (!s)
		return;
	for (unsigned kind = 0; kind < KERNEL_KINDS; kind++) {
		struct map *map = &s->map[kind];

		for (uint32_t number = 1; number <= map->nodes; number++)
			release(map, node_of(map, number)->value);
	}
	for (size_t k = 0; k < s->queue_n; k++) {
		const struct waiting *w = place_in_queue(s, k);

		release(&s->map[w->kind], w->before);
	}
	release_taken(s);
	for (unsigned kind = 0; kind < KERNEL_KINDS; kind++) {
		struct map *map = &s->map[kind];

		for (uint32_t k = 0; k < map->blocks; k++)
			free(map->block[k]);
		free(map->block);
		free(map->bucket);
		free(map->value_bucket);
	}
	free(s->queue);
	free(s->parsed);
	free(s->made);
	free(s);
}
