/* SPDX-License-Identifier: BSD-3-Clause */
#include "fib_state_jump.h"

/* The acquire pairs with the release store by which the host flips the root. */
static const struct p2pnic_state_jump *table_of(const struct p2pnic_fib_header *header)
{
	uint64_t root = atomic_load_explicit(&header->root, memory_order_acquire);

	return (const void *)((const uint8_t *)header + root);
}

static bool row_valid(const struct p2pnic_state_jump *table, const uint32_t *level,
	uint64_t entries, unsigned number)
{
	for (uint64_t i = 0; i < entries; i++) {
		uint32_t information = P2PNIC_STATE_JUMP_INFORMATION(level[i]);
		uint32_t jump = P2PNIC_STATE_JUMP_JUMP(level[i]);

		if (!jump) {
			if (information >= P2PNIC_NEXT_HOPS_MAX)
				return false;
			continue;
		}
		/* Only to the next level: a lookup ends after `levels` reads. */
		if (jump != number + 1 || jump > table->levels)
			return false;
		if ((uint64_t)information + (1u << table->stride[jump]) > table->entries[jump])
			return false;
	}
	return true;
}

bool state_jump_valid(const struct p2pnic_fib_header *header)
{
	uint64_t root = atomic_load_explicit(&header->root, memory_order_acquire);
	const struct p2pnic_state_jump *table;
	unsigned bits = 0;

	if (root % P2PNIC_FIB_ALIGN || root < sizeof *header || root > header->bytes ||
		header->bytes - root < sizeof *table)
		return false;
	table = table_of(header);
	if (table->levels < 1 || table->levels > P2PNIC_STATE_JUMP_LEVELS_MAX)
		return false;
	for (unsigned l = 1; l <= table->levels; l++) {
		if (table->stride[l] < 1 || table->stride[l] > 24)
			return false;
		bits += table->stride[l];
	}
	if (bits != (header->family == 4 ? 32 : 128) || table->entries[1] < 1u << table->stride[1])
		return false;
	for (unsigned l = 1; l <= table->levels; l++) {
		uint64_t first = table->first[l], entries = table->entries[l];

		if ((first + entries) * sizeof(p2pnic_state_jump_entry) > header->bytes - root)
			return false;
		if (!row_valid(table, (const uint32_t *)table + first, entries, l))
			return false;
	}
	return true;
}

/*
 * All lookups of the burst go down one level together: their reads are independent of each other,
 * and the next row is prefetched while the others are looked at.
 */
void state_jump_lookup4(const struct p2pnic_fib_header *header, const uint32_t *address,
	uint16_t *next_hop, unsigned n)
{
	const struct p2pnic_state_jump *table = table_of(header);
	uint32_t entry[P2PNIC_BURST_MAX];
	unsigned depth = 0;
	bool more = n > 0;

	for (unsigned i = 0; i < n; i++)
		entry[i] = P2PNIC_STATE_JUMP_ENTRY(0, 1);
	for (unsigned l = 1; more; l++) {
		const uint32_t *level = (const uint32_t *)table + table->first[l];
		unsigned stride = table->stride[l];

		more = false;
		for (unsigned i = 0; i < n; i++) {
			if (P2PNIC_STATE_JUMP_JUMP(entry[i]) != l)
				continue;
			entry[i] = level[P2PNIC_STATE_JUMP_INFORMATION(entry[i]) +
					 (address[i] << depth >> (32 - stride))];
			if (P2PNIC_STATE_JUMP_JUMP(entry[i])) {
				more = true;
				__builtin_prefetch((const uint32_t *)table + table->first[l + 1] +
						   P2PNIC_STATE_JUMP_INFORMATION(entry[i]));
			}
		}
		depth += stride;
	}
	for (unsigned i = 0; i < n; i++)
		next_hop[i] = (uint16_t)P2PNIC_STATE_JUMP_INFORMATION(entry[i]);
}

/* `stride` (1–24) bits from bit `depth` on, counted from the top. */
static uint32_t bits_of(struct fib_ipv6 a, unsigned depth, unsigned stride)
{
	uint64_t word = a.high;

	if (depth >= 64)
		word = a.low << (depth - 64);
	else if (depth)
		word = a.high << depth | a.low >> (64 - depth);
	return (uint32_t)(word >> (64 - stride));
}

void state_jump_lookup6(const struct p2pnic_fib_header *header, const struct fib_ipv6 *address,
	uint16_t *next_hop, unsigned n)
{
	const struct p2pnic_state_jump *table = table_of(header);
	uint32_t entry[P2PNIC_BURST_MAX];
	unsigned depth = 0;
	bool more = n > 0;

	for (unsigned i = 0; i < n; i++)
		entry[i] = P2PNIC_STATE_JUMP_ENTRY(0, 1);
	for (unsigned l = 1; more; l++) {
		const uint32_t *level = (const uint32_t *)table + table->first[l];
		unsigned stride = table->stride[l];

		more = false;
		for (unsigned i = 0; i < n; i++) {
			if (P2PNIC_STATE_JUMP_JUMP(entry[i]) != l)
				continue;
			entry[i] = level[P2PNIC_STATE_JUMP_INFORMATION(entry[i]) +
					 bits_of(address[i], depth, stride)];
			if (P2PNIC_STATE_JUMP_JUMP(entry[i])) {
				more = true;
				__builtin_prefetch((const uint32_t *)table + table->first[l + 1] +
						   P2PNIC_STATE_JUMP_INFORMATION(entry[i]));
			}
		}
		depth += stride;
	}
	for (unsigned i = 0; i < n; i++)
		next_hop[i] = (uint16_t)P2PNIC_STATE_JUMP_INFORMATION(entry[i]);
}
