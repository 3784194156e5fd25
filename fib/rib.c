/* SPDX-License-Identifier: BSD-3-Clause */
#include "rib.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

#define ROOT_BITS  P2PNIC_LINE_TRIE_ROOT_BITS
#define ROOT_SLOTS (1u << ROOT_BITS)

int rib_open(struct rib *rib)
{
	*rib = (struct rib){.node_free = RIB_NONE};
	rib->heap = calloc(2 * ROOT_SLOTS, sizeof *rib->heap);
	rib->base = calloc(ROOT_SLOTS, sizeof *rib->base);
	rib->child = malloc(ROOT_SLOTS * sizeof *rib->child);
	if (!rib->heap || !rib->base || !rib->child) {
		rib_close(rib);
		return -ENOMEM;
	}
	memset(rib->child, 0xff, ROOT_SLOTS * sizeof *rib->child);
	return 0;
}

void rib_close(struct rib *rib)
{
	for (uint32_t i = 0; i < rib->nodes; i++) {
		free(rib->node[i].route);
		free(rib->node[i].child);
	}
	free(rib->node);
	free(rib->heap);
	free(rib->base);
	free(rib->child);
	*rib = (struct rib){.node_free = RIB_NONE};
}

static uint32_t node_new(struct rib *rib, uint32_t parent, unsigned slot)
{
	uint32_t number = rib->node_free;

	if (number != RIB_NONE) {
		rib->node_free = rib->node[number].parent;
	} else {
		if (rib->nodes == rib->node_room) {
			uint32_t room = rib->node_room ? rib->node_room * 2 : 1024;
			struct rib_node *larger = NULL;

			if (room <= RIB_NODES_MAX)
				larger = realloc(rib->node, room * sizeof *larger);
			if (!larger)
				return RIB_NONE;
			rib->node = larger;
			rib->node_room = room;
		}
		number = rib->nodes++;
	}
	rib->node[number] = (struct rib_node){.parent = parent,
		.slot = (uint16_t)slot,
		.inherited = RIB_NEW,
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

uint32_t rib_child(const struct rib *rib, uint32_t number, unsigned slot)
{
	const struct rib_node *node = &rib->node[number];
	unsigned at = lower_bound(node->child, node->children, (uint32_t)slot << 24);

	if (at < node->children && RIB_CHILD_SLOT(node->child[at]) == slot)
		return RIB_CHILD_NODE(node->child[at]);
	return RIB_NONE;
}

/* The node in which a prefix longer than 16 ends; made if `make`. */
static uint32_t node_of(struct rib *rib, const struct fib_route *route, bool make, int *status)
{
	uint32_t root_slot = address_bits(route->prefix, 0, ROOT_BITS);
	uint32_t number = rib->child[root_slot];

	*status = 0;
	if (number == RIB_NONE && make) {
		number = node_new(rib, RIB_NONE, root_slot);
		rib->child[root_slot] = number;
		if (number == RIB_NONE)
			*status = -ENOMEM;
	}
	for (unsigned depth = ROOT_BITS; number != RIB_NONE && route->length > depth + 8;
		depth += 8) {
		unsigned slot = address_bits(route->prefix, depth, 8);
		uint32_t child = rib_child(rib, number, slot);

		if (child == RIB_NONE && make) {
			struct rib_node *node;
			unsigned at;

			child = node_new(rib, number, slot);
			if (child == RIB_NONE) {
				*status = -ENOMEM;
				return RIB_NONE;
			}
			node = &rib->node[number];
			at = lower_bound(node->child, node->children, (uint32_t)slot << 24);
			if (!word_insert(&node->child, &node->children, &node->child_room, at,
				    (uint32_t)slot << 24 | child)) {
				rib->node[child].parent = rib->node_free;
				rib->node_free = child;
				*status = -ENOMEM;
				return RIB_NONE;
			}
		}
		number = child;
	}
	return number;
}

int rib_set(struct rib *rib, const struct fib_route *route, uint16_t *old)
{
	unsigned length = route->length, slot, at;
	struct rib_node *node;
	uint32_t number, word;
	int status;

	*old = 0;
	if (length <= ROOT_BITS) {
		uint32_t place = 1u << length | address_bits(route->prefix, 0, length);

		*old = rib->heap[place];
		rib->heap[place] = route->next_hop;
		rib->routes += !!route->next_hop;
		rib->routes -= !!*old;
		return 0;
	}
	number = node_of(rib, route, route->next_hop != 0, &status);
	if (number == RIB_NONE)
		return status;
	node = &rib->node[number];
	slot = address_bits(route->prefix, (length - 1u) & ~7u, 8);
	length = ((length - 1) & 7) + 1;
	word = RIB_ROUTE(slot, length, 0);
	at = lower_bound(node->route, node->routes, word);
	if (at < node->routes && node->route[at] >> 16 == word >> 16) {
		*old = (uint16_t)RIB_ROUTE_NEXT_HOP(node->route[at]);
		if (route->next_hop) {
			node->route[at] = word | route->next_hop;
		} else {
			word_remove(node->route, &node->routes, at);
			rib->routes--;
		}
		return 0;
	}
	if (!route->next_hop)
		return 0;
	if (!word_insert(
		    &node->route, &node->routes, &node->route_room, at, word | route->next_hop))
		return -ENOMEM;
	rib->routes++;
	return 0;
}

void rib_prune(struct rib *rib, const struct fib_route *route)
{
	uint32_t number;
	unsigned depth = ROOT_BITS;

	if (route->length <= ROOT_BITS)
		return;
	number = rib->child[address_bits(route->prefix, 0, ROOT_BITS)];
	while (number != RIB_NONE && route->length > depth + 8) {
		uint32_t child = rib_child(rib, number, address_bits(route->prefix, depth, 8));

		if (child == RIB_NONE)
			break;
		number = child;
		depth += 8;
	}
	while (number != RIB_NONE && !rib->node[number].routes && !rib->node[number].children) {
		struct rib_node *node = &rib->node[number];
		uint32_t parent = node->parent;

		if (parent == RIB_NONE) {
			rib->child[node->slot] = RIB_NONE;
		} else {
			struct rib_node *above = &rib->node[parent];

			word_remove(above->child, &above->children,
				lower_bound(
					above->child, above->children, (uint32_t)node->slot << 24));
		}
		free(node->route);
		free(node->child);
		*node = (struct rib_node){.parent = rib->node_free};
		rib->node_free = number;
		number = parent;
	}
}

uint16_t rib_base(const struct rib *rib, uint32_t slot)
{
	uint32_t place = ROOT_SLOTS | slot;

	while (place && !rib->heap[place])
		place >>= 1;
	return place ? rib->heap[place] : 0;
}

struct visit {
	const struct rib *rib;
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
	const struct rib_node *node = &visit->rib->node[number];
	unsigned c = 0;

	for (unsigned r = 0; r <= node->routes; r++) {
		unsigned slot = r < node->routes ? RIB_ROUTE_SLOT(node->route[r]) : 256;

		for (; c < node->children && RIB_CHILD_SLOT(node->child[c]) < slot; c++)
			visit_node(visit, RIB_CHILD_NODE(node->child[c]),
				prefix_with(prefix, depth, RIB_CHILD_SLOT(node->child[c])),
				depth + 8);
		if (r < node->routes) {
			struct fib_route route = {prefix_with(prefix, depth, slot),
				(uint8_t)(depth + RIB_ROUTE_LENGTH(node->route[r])),
				(uint8_t)visit->family,
				(uint16_t)RIB_ROUTE_NEXT_HOP(node->route[r])};

			visit->call(visit->context, &route);
		}
	}
}

static void visit_heap(const struct visit *visit, uint32_t place, unsigned length)
{
	uint32_t bits = place ^ 1u << length;
	struct fib_ipv6 prefix = {length ? (uint64_t)bits << (64 - length) : 0, 0};

	if (visit->rib->heap[place]) {
		struct fib_route route = {
			prefix, (uint8_t)length, (uint8_t)visit->family, visit->rib->heap[place]};

		visit->call(visit->context, &route);
	}
	if (length == ROOT_BITS) {
		if (visit->rib->child[bits] != RIB_NONE)
			visit_node(visit, visit->rib->child[bits], prefix, ROOT_BITS);
		return;
	}
	visit_heap(visit, 2 * place, length + 1);
	visit_heap(visit, 2 * place + 1, length + 1);
}

void rib_each(const struct rib *rib, unsigned family,
	void (*visit)(void *context, const struct fib_route *route), void *context)
{
	struct visit v = {rib, family, visit, context};

	visit_heap(&v, 1, 0);
}
