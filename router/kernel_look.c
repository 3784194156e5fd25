/* SPDX-License-Identifier: BSD-3-Clause */
#include "router/kernel_look.h"
#include "router/kernel_map.h"
#include "router/kernel_way.h"

#include <errno.h>
#include <linux/if_addr.h>
#include <stdlib.h>
#include <string.h>

int kernel_look_open(struct kernel_look *l, struct kernel_state *state)
{
	*l = (struct kernel_look){.state = state, .parsed = calloc(1, KERNEL_VALUE_BYTES_MAX)};
	return l->parsed ? 0 : -ENOMEM;
}

void kernel_look_close(struct kernel_look *l)
{
	free(l->parsed);
	l->parsed = NULL;
}

void kernel_look_begin(struct kernel_look *l)
{
	memcpy(l->before, l->found, l->n * sizeof(*l->found));
	l->n_before = l->n;
	l->n = 0;
	l->looks++;
	kernel_state_begin(l->state);
	l->round = kernel_state_map(l->state)->round;
	l->overtaken = false;
}

static void differs(struct kernel_look *l, const struct kernel_key *key)
{
	for (size_t k = 0; k < l->n; k++)
		if (!memcmp(&l->found[k], key, sizeof(*key)))
			return;
	if (l->n < KERNEL_LOOK_MAX)
		l->found[l->n++] = *key;
}

/* Not there, or as good as that. */
static bool absent(unsigned kind, const struct kernel_value *v)
{
	return !v || (kind == KERNEL_NEIGHBOR && !kernel_neighbor_valid(&v->neighbor)) ||
	       (kind == KERNEL_ADDRESS && (v->address.flags & IFA_F_TENTATIVE));
}

static bool alike(unsigned kind, const struct kernel_value *a, const struct kernel_value *b)
{
	if (absent(kind, a) || absent(kind, b))
		return absent(kind, a) && absent(kind, b);
	if (kind == KERNEL_NEIGHBOR)
		return !memcmp(&a->neighbor.mac, &b->neighbor.mac, sizeof(a->neighbor.mac));
	return kind == KERNEL_ADDRESS || kernel_value_equal(a, b);
}

/* Finds the object among those of its key, and notes that it was shown. */
static bool shown(const struct kernel_map *m, const struct kernel_table *table, uint32_t key,
	unsigned kind, const struct kernel_value *v)
{
	const struct kernel_node *head = kernel_node(table, key);

	if (!head || !head->value)
		return absent(kind, v);
	for (uint32_t number = key; number; number = kernel_node(table, number)->alternative) {
		struct kernel_node *node = kernel_node(table, number);

		if (!alike(kind, &node->value->value, v))
			continue;
		if (number != key && head->seen != m->round)
			return false; /* another is the first */
		node->seen = m->round;
		return true;
	}
	return false;
}

void kernel_look_message(struct kernel_look *l, const struct nlmsghdr *header)
{
	const struct kernel_map *m = kernel_state_map(l->state);
	struct kernel_message message;
	const struct kernel_node *node;
	const struct kernel_table *table;
	uint32_t number;

	if (kernel_parse(header, &message, l->parsed) != KERNEL_PARSED || message.removed)
		return;
	table = &m->table[message.key.kind];
	number = kernel_map_find(m, &message.key);
	node = kernel_node(table, number);
	if (node && node->settled == m->round)
		return;
	if (message.key.kind == KERNEL_ROUTE && kernel_state_goes(l->state, l->parsed))
		return;
	if (!shown(m, table, number, message.key.kind, l->parsed))
		differs(l, &message.key);
}

void kernel_look_end(struct kernel_look *l)
{
	struct kernel_map *m = kernel_state_map(l->state);
	size_t kept = 0;

	for (size_t k = 0; k < l->n; k++) {
		const uint32_t number = kernel_map_find(m, &l->found[k]);
		const struct kernel_node *node = kernel_node(&m->table[l->found[k].kind], number);

		if (!node || node->settled != m->round)
			l->found[kept++] = l->found[k];
	}
	l->n = kept;
	l->kind = l->node = 0;
	m->in_round = false;
}

bool kernel_look_step(struct kernel_look *l)
{
	struct kernel_map *m = kernel_state_map(l->state);

	l->overtaken = m->round != l->round;
	if (l->overtaken)
		return false;
	for (unsigned n = 0; n < KERNEL_LOOK_NODES && l->kind < KERNEL_KINDS; n++) {
		struct kernel_table *table = &m->table[l->kind];
		const struct kernel_node *key;

		if (l->node == table->nodes) {
			l->kind++;
			l->node = 0;
			continue;
		}
		key = kernel_node(table, ++l->node);
		if (key->role != NODE_KEY)
			continue;
		for (uint32_t k = l->node; k; k = kernel_node(table, k)->alternative) {
			const struct kernel_node *node = kernel_node(table, k);

			if (node->value && node->seen != m->round && key->settled != m->round &&
				!absent(l->kind, &node->value->value))
				differs(l, &key->key);
		}
		kernel_map_drop(m, table, l->node);
	}
	return l->kind < KERNEL_KINDS;
}

size_t kernel_look_drifted(struct kernel_look *l)
{
	size_t kept = 0;

	for (size_t k = 0; k < l->n; k++)
		for (size_t j = 0; j < l->n_before; j++)
			if (!memcmp(&l->found[k], &l->before[j], sizeof(l->found[k])))
				l->found[kept++] = l->found[k];
	l->n = kept;
	return kept;
}
