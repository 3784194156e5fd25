/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The state-jump table's lookups; callers use fib.h.
 */
#ifndef P2PNIC_FIRMWARE_FIB_STATE_JUMP_H
#define P2PNIC_FIRMWARE_FIB_STATE_JUMP_H

#include <p2pnic/fib.h>

bool state_jump_valid(const struct p2pnic_fib_header *header);
void state_jump_lookup4(const struct p2pnic_fib_header *header, const uint32_t *address,
	uint16_t *next_hop, unsigned n);
void state_jump_lookup6(const struct p2pnic_fib_header *header, const struct fib_ipv6 *address,
	uint16_t *next_hop, unsigned n);

#endif
