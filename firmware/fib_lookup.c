/* SPDX-License-Identifier: BSD-3-Clause */
#include "fib_lookup.h"
#include "fib_line_trie.h"
#include "fib_state_jump.h"

bool fib_image_valid(const void *image, uint64_t room, unsigned family)
{
	const struct p2pnic_fib_header *header = image;

	if ((uintptr_t)image % P2PNIC_FIB_ALIGN || room < sizeof *header)
		return false;
	if (header->magic != P2PNIC_FIB_MAGIC)
		return false;
	if (!header->version || header->version > P2PNIC_FIB_VERSION_WIDE)
		return false;
	if (header->version != P2PNIC_FIB_VERSION &&
		(family != 6 || header->kind != P2PNIC_FIB_LINE_TRIE))
		return false;
	if (header->family != family || (family != 4 && family != 6))
		return false;
	if (header->bytes > room || header->bytes < sizeof *header ||
		header->bytes % P2PNIC_FIB_ALIGN)
		return false;
	switch (header->kind) {
	case P2PNIC_FIB_STATE_JUMP:
		return state_jump_valid(header);
	case P2PNIC_FIB_LINE_TRIE:
		return line_trie_valid(header);
	default:
		return false;
	}
}

void fib4_lookup(const void *image, const uint32_t *address, uint16_t *next_hop, unsigned n)
{
	const struct p2pnic_fib_header *header = image;

	switch (header->kind) {
	case P2PNIC_FIB_STATE_JUMP:
		state_jump_lookup4(header, address, next_hop, n);
		break;
	default: /* P2PNIC_FIB_LINE_TRIE: fib_image_valid takes no third */
		line_trie_lookup4(image, address, next_hop, n);
		break;
	}
}

void fib6_lookup(const void *image, const struct fib_ipv6 *address, uint16_t *next_hop, unsigned n)
{
	const struct p2pnic_fib_header *header = image;

	switch (header->kind) {
	case P2PNIC_FIB_STATE_JUMP:
		state_jump_lookup6(header, address, next_hop, n);
		break;
	default: /* likewise */
		line_trie_lookup6(image, address, next_hop, n);
		break;
	}
}
