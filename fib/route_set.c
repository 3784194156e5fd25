/* SPDX-License-Identifier: BSD-3-Clause */
#include "route_set.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

#define ROOT_BITS  P2PNIC_LINE_TRIE_ROOT_BITS
#define ROOT_SLOTS (1u << ROOT_BITS)

int route_set_open(struct route_set *set)
{
	*set = (struct route_set){.node_free = ROUTE_SET_NONE};
	set->heap = calloc(2 * ROOT_SLOTS, sizeof *set->heap);
	set->base = calloc(ROOT_SLOTS, sizeof *set->base);
	set->child = malloc(ROOT_SLOTS * sizeof *set->child);
	if (!set->heap || !set->base || !set->child) {
		route_set_close(set);
		return -ENOMEM;
	}
	memset(set->child, 0xff, ROOT_SLOTS * sizeof *set->child);
	return 0;
}

void route_set_close(struct route_set *set)
{
	for (uint32_t i = 0; i < set->nodes; i++) {
		free(set->node[i].route);
		free(set->node[i].child);
	}
	free(set->node);
	free(set->heap);
	free(set->base);
	free(set->child);
	*set = (struct route_set){.node_free = ROUTE_SET_NONE};
}

static uint32_t node_new(struct route_set *set, uint32_t parent, unsigned slot)
{
	uint32_t number = set->node_free;

	if (number != ROUTE_SET_NONE) {
		set->node_free = set->node[number].parent;
	} else {
		if (set->nodes == set->node_room) {
			uint32_t room = set->node_room ? set->node_room * 2 : 1024;
			struct route_set_node *larger = NULL;

			if (room <= ROUTE_SET_NODES_MAX)
				larger = realloc(set->node, room * sizeof *larger);
			if (!larger)
				return ROUTE_SET_NONE;
			set->node = larger;
			set->node_room = room;
		}
		number = set->nodes++;
	}
	set->node[number] = (struct route_set_node){.parent = parent,
		.slot = (uint16_t)slot,
		.inherited = ROUTE_SET_NEW,
		.entry = P2PNIC_LINE_TRIE_ENTRY(0, P2PNIC_LINE_TRIE_LEAF, 0)};
	return number;
}

/* The first place whose word is not below `key`; what is added in order is found at once. */
static unsigned lower_bound(const uint32_t *word, unsigned n, uint32_t key)
{
	unsigned low = 0;

	if (n && word[n - 1] < key)
		return n;
	while (n) {
		unsigned half = n / 2;

		if (word[low + half] < key) {
			low += half + 1;
			n -= half + 1;
		} else {
			n = half;
		}
	}
	return low;
}

static bool word_insert(uint32_t **word, uint16_t *n, uint16_t *room, unsigned at, uint32_t value)
{
	if (*n == *room) {
		unsigned larger_room = *room ? *room * 2u : 4;
		uint32_t *larger = realloc(*word, larger_room * sizeof *larger);

		if (!larger)
			return false;
		*word = larger;
		*room = (uint16_t)larger_room;
	}
	memmove(*word + at + 1, *word + at, (*n - at) * sizeof **word);
	(*word)[at] = value;
	(*n)++;
	return true;
}

static void word_remove(uint32_t *word, uint16_t *n, unsigned at)
{
	(*n)--;
	memmove(word + at, word + at + 1, (*n - at) * sizeof *word);
}

uint32_t route_set_child(const struct route_set *set, uint32_t number, unsigned slot)
{
	const struct route_set_node *node = &set->node[number];
	unsigned at = lower_bound(node->child, node->children, (uint32_t)slot << 24);

	if (at < node->children && CHILD_WORD_SLOT(node->child[at]) == slot)
		return CHILD_WORD_NODE(node->child[at]);
	return ROUTE_SET_NONE;
}

/* The node in which a prefix longer than 16 ends; made if `make`. */
static uint32_t node_of(
	struct route_set *set, const struct fib_route *route, bool make, int *status)
{
	uint32_t root_slot = address_bits(route->prefix, 0, ROOT_BITS);
	uint32_t number = set->child[root_slot];

	*status = 0;
	if (number == ROUTE_SET_NONE && make) {
		number = node_new(set, ROUTE_SET_NONE, root_slot);
		set->child[root_slot] = number;
		if (number == ROUTE_SET_NONE)
			*status = -ENOMEM;
	}
	for (unsigned depth = ROOT_BITS; number != ROUTE_SET_NONE && route->length > depth + 8;
		depth += 8) {
		unsigned slot = address_bits(route->prefix, depth, 8);
		uint32_t child = route_set_child(set, number, slot);

		if (child == ROUTE_SET_NONE && make) {
			struct route_set_node *node;
			unsigned at;

			child = node_new(set, number, slot);
			if (child == ROUTE_SET_NONE) {
				*status = -ENOMEM;
				return ROUTE_SET_NONE;
			}
			node = &set->node[number];
			at = lower_bound(node->child, node->children, (uint32_t)slot << 24);
			if (!word_insert(&node->child, &node->children, &node->child_room, at,
				    (uint32_t)slot << 24 | child)) {
				set->node[child].parent = set->node_free;
				set->node_free = child;
				*status = -ENOMEM;
				return ROUTE_SET_NONE;
			}
		}
		number = child;
	}
	return number;
}

int route_set_set(struct route_set *set, const struct fib_route *route, uint16_t *old)
{
	unsigned length = route->length, slot, at;
	struct route_set_node *node;
	uint32_t number, word;
	int status;

	*old = 0;
	if (length <= ROOT_BITS) {
		uint32_t place = 1u << length | address_bits(route->prefix, 0, length);

		*old = set->heap[place];
		set->heap[place] = route->next_hop;
		set->routes += !!route->next_hop;
		set->routes -= !!*old;
		return 0;
	}
	number = node_of(set, route, route->next_hop != 0, &status);
	if (number == ROUTE_SET_NONE)
		return status;
	node = &set->node[number];
	slot = address_bits(route->prefix, (length - 1u) & ~7u, 8);
	length = ((length - 1) & 7) + 1;
	word = ROUTE_WORD(slot, length, 0);
	at = lower_bound(node->route, node->routes, word);
	if (at < node->routes && node->route[at] >> 16 == word >> 16) {
		*old = (uint16_t)ROUTE_WORD_NEXT_HOP(node->route[at]);
		if (route->next_hop) {
			node->route[at] = word | route->next_hop;
		} else {
			word_remove(node->route, &node->routes, at);
			set->routes--;
		}
		return 0;
	}
	if (!route->next_hop)
		return 0;
	if (!word_insert(
		    &node->route, &node->routes, &node->route_room, at, word | route->next_hop))
		return -ENOMEM;
	set->routes++;
	return 0;
}

void route_set_prune(struct route_set *set, const struct fib_route *route)
{
	uint32_t number;
	unsigned depth = ROOT_BITS;

	if (route->length <= ROOT_BITS)
		return;
	number = set->child[address_bits(route->prefix, 0, ROOT_BITS)];
	while (number != ROUTE_SET_NONE && route->length > depth + 8) {
		uint32_t child =
			route_set_child(set, number, address_bits(route->prefix, depth, 8));

		if (child == ROUTE_SET_NONE)
			break;
		number = child;
		depth += 8;
	}
	while (number != ROUTE_SET_NONE && !set->node[number].routes &&
		!set->node[number].children) {
		struct route_set_node *node = &set->node[number];
		uint32_t parent = node->parent;

		if (parent == ROUTE_SET_NONE) {
			set->child[node->slot] = ROUTE_SET_NONE;
		} else {
			struct route_set_node *above = &set->node[parent];

			word_remove(above->child, &above->children,
				lower_bound(
					above->child, above->children, (uint32_t)node->slot << 24));
		}
		free(node->route);
		free(node->child);
		*node = (struct route_set_node){.parent = set->node_free};
		set->node_free = number;
		number = parent;
	}
}

uint16_t route_set_base(const struct route_set *set, uint32_t slot)
{
	uint32_t place = ROOT_SLOTS | slot;

	while (place && !set->heap[place])
		place >>= 1;
	return place ? set->heap[place] : 0;
}

struct visit {
	const struct route_set *set;
	unsigned family;
	void (*call)(void *context, const struct fib_route *route);
	void *context;
};

static struct fib_ipv6 prefix_with(struct fib_ipv6 prefix, unsigned depth, unsigned octet)
{
	if (depth < 64)
		prefix.high |= (uint64_t)octet << (56 - depth);
	else
		prefix.low |= (uint64_t)octet << (120 - depth);
	return prefix;
}

static void visit_node(
	const struct visit *visit, uint32_t number, struct fib_ipv6 prefix, unsigned depth)
{
	const struct route_set_node *node = &visit->set->node[number];
	unsigned c = 0;

	for (unsigned r = 0; r <= node->routes; r++) {
		unsigned slot = r < node->routes ? ROUTE_WORD_SLOT(node->route[r]) : 256;

		for (; c < node->children && CHILD_WORD_SLOT(node->child[c]) < slot; c++)
			visit_node(visit, CHILD_WORD_NODE(node->child[c]),
				prefix_with(prefix, depth, CHILD_WORD_SLOT(node->child[c])),
				depth + 8);
		if (r < node->routes) {
			struct fib_route route = {prefix_with(prefix, depth, slot),
				(uint8_t)(depth + ROUTE_WORD_LENGTH(node->route[r])),
				(uint8_t)visit->family,
				(uint16_t)ROUTE_WORD_NEXT_HOP(node->route[r])};

			visit->call(visit->context, &route);
		}
	}
}

static void visit_heap(const struct visit *visit, uint32_t place, unsigned length)
{
	uint32_t bits = place ^ 1u << length;
	struct fib_ipv6 prefix = {length ? (uint64_t)bits << (64 - length) : 0, 0};

	if (visit->set->heap[place]) {
		struct fib_route route = {
			prefix, (uint8_t)length, (uint8_t)visit->family, visit->set->heap[place]};

		visit->call(visit->context, &route);
	}
	if (length == ROOT_BITS) {
		if (visit->set->child[bits] != ROUTE_SET_NONE)
			visit_node(visit, visit->set->child[bits], prefix, ROOT_BITS);
		return;
	}
	visit_heap(visit, 2 * place, length + 1);
	visit_heap(visit, 2 * place + 1, length + 1);
}

void route_set_each(const struct route_set *set, unsigned family,
	void (*visit)(void *context, const struct fib_route *route), void *context)
{
	struct visit v = {set, family, visit, context};

	visit_heap(&v, 1, 0);
}
