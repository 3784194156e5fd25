/* SPDX-License-Identifier: BSD-3-Clause */
#include "router/kernel_map.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define BUCKETS_FIRST 64u

/* --- Values ----------------------------------------------------------------------------------- */

/* Multiply and fold; the seed keeps those who announce routes from choosing the bucket. */
static uint32_t hash_of(const struct kernel_map *m, const void *bytes, size_t n)
{
	uint64_t hash = m->seed ^ n;

	for (size_t k = 0; k < n; k += 8) {
		uint64_t word = 0;

		memcpy(&word, (const char *)bytes + k, n - k < 8 ? n - k : 8);
		hash = (hash ^ word) * 0x9e3779b97f4a7c15u; /* 2^64 / golden ratio */
		hash ^= hash >> 29;
	}
	return (uint32_t)(hash ^ hash >> 32);
}

bool kernel_value_equal(const struct kernel_value *a, const struct kernel_value *b)
{
	return a->hops == b->hops && !memcmp(a, b, KERNEL_VALUE_BYTES(a->hops));
}

static void unlink_value(struct kernel_table *table, struct kernel_shared *value)
{
	struct kernel_shared **at = &table->value_bucket[value->hash & (table->value_buckets - 1)];

	while (*at != value)
		at = &(*at)->next;
	*at = value->next;
	table->values--;
}

void kernel_map_release(struct kernel_table *table, struct kernel_shared *value)
{
	if (!value || --value->references)
		return;
	if (!value->condemned)
		unlink_value(table, value);
	free(value);
}

static bool grow_values(struct kernel_table *table)
{
	uint32_t buckets = table->value_buckets ? table->value_buckets * 2 : BUCKETS_FIRST;
	struct kernel_shared **bucket = calloc(buckets, sizeof(struct kernel_shared *));

	if (!bucket)
		return false;
	for (uint32_t k = 0; k < table->value_buckets; k++)
		for (struct kernel_shared *v = table->value_bucket[k], *next; v; v = next) {
			struct kernel_shared **to = &bucket[v->hash & (buckets - 1)];

			next = v->next;
			v->next = *to;
			*to = v;
		}
	free(table->value_bucket);
	table->value_bucket = bucket;
	table->value_buckets = buckets;
	return true;
}

struct kernel_shared *kernel_map_share(
	struct kernel_map *m, struct kernel_table *table, const struct kernel_value *like)
{
	const size_t bytes = KERNEL_VALUE_BYTES(like->hops);
	const uint32_t hash = hash_of(m, like, bytes);
	struct kernel_shared *v = table->value_buckets
					  ? table->value_bucket[hash & (table->value_buckets - 1)]
					  : NULL;

	while (v && !(v->hash == hash && kernel_value_equal(&v->value, like)))
		v = v->next;
	if (v) {
		v->references++;
		return v;
	}
	if (table->values >= table->value_buckets && !grow_values(table))
		return NULL;
	v = malloc(offsetof(struct kernel_shared, value) + bytes);
	if (!v)
		return NULL;
	*v = (struct kernel_shared){.hash = hash, .references = 1};
	memcpy(&v->value, like, bytes);
	v->next = table->value_bucket[hash & (table->value_buckets - 1)];
	table->value_bucket[hash & (table->value_buckets - 1)] = v;
	table->values++;
	return v;
}

/* --- Nodes ------------------------------------------------------------------------------------ */

/* The kth that waits, or the place for it. */
static struct kernel_waiting *place_in_queue(const struct kernel_map *m, size_t k)
{
	return &m->queue[(m->queue_first + k) & (m->queue_room - 1)];
}

static bool grow_queue(struct kernel_map *m)
{
	size_t room = m->queue_room ? m->queue_room * 2 : BUCKETS_FIRST;
	struct kernel_waiting *queue = malloc(room * sizeof(*queue));

	if (!queue)
		return false;
	for (size_t k = 0; k < m->queue_n; k++)
		queue[k] = *place_in_queue(m, k);
	free(m->queue);
	m->queue = queue;
	m->queue_room = room;
	m->queue_first = 0;
	return true;
}

uint32_t kernel_map_add(struct kernel_map *m, struct kernel_table *table, enum kernel_role role)
{
	uint32_t number = table->free;

	if (number) {
		table->free = kernel_node(table, number)->next;
	} else {
		if (table->nodes == table->blocks * KERNEL_BLOCK_NODES) {
			if (table->blocks == table->block_room) {
				uint32_t room = table->block_room ? table->block_room * 2 : 16;
				struct kernel_node **block = reallocarray(
					table->block, room, sizeof(struct kernel_node *));

				if (!block)
					return 0;
				table->block = block;
				table->block_room = room;
			}
			table->block[table->blocks] =
				malloc(KERNEL_BLOCK_NODES * sizeof(struct kernel_node));
			if (!table->block[table->blocks])
				return 0;
			table->blocks++;
		}
		if (m->nodes == m->queue_room && !grow_queue(m))
			return 0;
		m->nodes++;
		number = ++table->nodes;
	}
	*kernel_node(table, number) = (struct kernel_node){.role = (uint8_t)role};
	return number;
}

void kernel_map_free_node(struct kernel_table *table, uint32_t number)
{
	*kernel_node(table, number) = (struct kernel_node){.next = table->free};
	table->free = number;
}

/* All routes to one prefix are in one bucket. */
static uint32_t *bucket_of(
	const struct kernel_map *m, const struct kernel_table *table, const struct kernel_key *key)
{
	struct kernel_key hashed = *key;

	if (key->kind == KERNEL_ROUTE) {
		hashed.id = hashed.metric = 0;
		hashed.tos = 0;
	}
	return &table->bucket[hash_of(m, &hashed, sizeof(hashed)) & (table->buckets - 1)];
}

static bool same_prefix(const struct kernel_key *a, const struct kernel_key *b)
{
	return a->family == b->family && a->length == b->length &&
	       !memcmp(&a->address, &b->address, sizeof(a->address));
}

uint32_t kernel_map_next_route(
	const struct kernel_map *m, const struct kernel_key *like, uint32_t after)
{
	const struct kernel_table *table = &m->table[KERNEL_ROUTE];
	uint32_t number = after            ? kernel_node(table, after)->next
			  : table->buckets ? *bucket_of(m, table, like)
					   : 0;

	while (number && !same_prefix(&kernel_node(table, number)->key, like))
		number = kernel_node(table, number)->next;
	return number;
}

uint32_t kernel_map_find(const struct kernel_map *m, const struct kernel_key *key)
{
	const struct kernel_table *table = &m->table[key->kind];
	uint32_t number = table->buckets ? *bucket_of(m, table, key) : 0;

	while (number && memcmp(&kernel_node(table, number)->key, key, sizeof(*key)) != 0)
		number = kernel_node(table, number)->next;
	return number;
}

static bool grow_buckets(struct kernel_map *m, struct kernel_table *table)
{
	struct kernel_table larger = {
		.buckets = table->buckets ? table->buckets * 2 : BUCKETS_FIRST};

	larger.bucket = calloc(larger.buckets, sizeof(*larger.bucket));
	if (!larger.bucket)
		return false;
	for (uint32_t number = 1; number <= table->nodes; number++) {
		struct kernel_node *node = kernel_node(table, number);

		if (node->role == NODE_KEY) {
			uint32_t *bucket = bucket_of(m, &larger, &node->key);

			node->next = *bucket;
			*bucket = number;
		}
	}
	free(table->bucket);
	table->bucket = larger.bucket;
	table->buckets = larger.buckets;
	return true;
}

uint32_t kernel_map_find_or_add(struct kernel_map *m, const struct kernel_key *key)
{
	struct kernel_table *table = &m->table[key->kind];
	uint32_t number = kernel_map_find(m, key), *bucket;

	if (number || (table->chained >= table->buckets && !grow_buckets(m, table)))
		return number;
	number = kernel_map_add(m, table, NODE_KEY);
	if (!number)
		return 0;
	bucket = bucket_of(m, table, key);
	kernel_node(table, number)->key = *key;
	kernel_node(table, number)->next = *bucket;
	*bucket = number;
	table->chained++;
	return number;
}

void kernel_map_drop(struct kernel_map *m, struct kernel_table *table, uint32_t number)
{
	const struct kernel_node *node = kernel_node(table, number);
	uint32_t *at;

	if (node->value || node->queued || (m->in_round && node->settled == m->round))
		return;
	at = bucket_of(m, table, &node->key);
	while (*at != number)
		at = &kernel_node(table, *at)->next;
	*at = node->next;
	table->chained--;
	kernel_map_free_node(table, number);
}

/* --- The queue -------------------------------------------------------------------------------- */

struct kernel_shared *kernel_map_put(
	struct kernel_map *m, unsigned kind, uint32_t number, struct kernel_shared *value)
{
	struct kernel_table *table = &m->table[kind];
	struct kernel_node *node = kernel_node(table, number);
	struct kernel_shared *before = node->value;

	node->value = value;
	if (before == value)
		return before;
	table->keys += !before;
	table->keys -= !value;
	if (!node->queued) {
		assert(m->queue_n < m->queue_room);
		node->queued = true;
		*place_in_queue(m, m->queue_n++) = (struct kernel_waiting){kind, number, before};
		if (before)
			before->references++;
	}
	return before;
}

static void release_taken(struct kernel_map *m)
{
	kernel_map_release(&m->table[m->taken.kind], m->taken.before);
	m->taken.before = NULL;
}

bool kernel_map_change(struct kernel_map *m, struct kernel_change *change)
{
	release_taken(m);
	while (m->queue_n) {
		const struct kernel_waiting w = *place_in_queue(m, 0);
		struct kernel_table *table = &m->table[w.kind];
		struct kernel_node *node = kernel_node(table, w.node);
		const struct kernel_value *before = w.before ? &w.before->value : NULL;
		const struct kernel_value *now = node->value ? &node->value->value : NULL;

		m->queue_first = (m->queue_first + 1) & (m->queue_room - 1);
		m->queue_n--;
		*change = (struct kernel_change){node->key, before, now};
		node->queued = false;
		kernel_map_drop(m, table, w.node);
		if (before == now || (before && now && kernel_value_equal(before, now))) {
			kernel_map_release(table, w.before);
			continue;
		}
		m->taken = w;
		return true;
	}
	return false;
}

void kernel_map_open(struct kernel_map *m)
{
	*m = (struct kernel_map){.round = 1};
	/* Without entropy the seed is 0; that costs speed at most. */
	if (getrandom(&m->seed, sizeof(m->seed), GRND_NONBLOCK) < 0)
		m->seed = 0;
}

void kernel_map_close(struct kernel_map *m)
{
	for (size_t k = 0; k < m->queue_n; k++) {
		const struct kernel_waiting *w = place_in_queue(m, k);

		kernel_map_release(&m->table[w->kind], w->before);
	}
	release_taken(m);
	for (unsigned kind = 0; kind < KERNEL_KINDS; kind++) {
		struct kernel_table *table = &m->table[kind];

		for (uint32_t number = 1; number <= table->nodes; number++)
			kernel_map_release(table, kernel_node(table, number)->value);
		for (uint32_t k = 0; k < table->blocks; k++)
			free(table->block[k]);
		free(table->block);
		free(table->bucket);
		free(table->value_bucket);
	}
	free(m->queue);
}
