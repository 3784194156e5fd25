/* SPDX-License-Identifier: BSD-3-Clause */
/* The MAC addresses of a NIC: its own, and those of struct p2pnic_stations. */
#ifndef P2PNIC_FIRMWARE_STATIONS_H
#define P2PNIC_FIRMWARE_STATIONS_H

#include <p2pnic/limits.h>

#include <stdbool.h>
#include <stdint.h>

struct stations {
	/* Each in the low 48 bits, octet 0 lowest: as loaded from a frame. The first is its own. */
	uint64_t mac[1 + P2PNIC_STATIONS_MAX];
	unsigned count; /* at least 1 */
};

/* word: a frame's first eight bytes. */
static inline bool stations_has(const struct stations *s, uint64_t word)
{
	bool found = !((word ^ s->mac[0]) << 16);

	for (unsigned k = 1; k < s->count; k++)
		found |= !((word ^ s->mac[k]) << 16);
	return found;
}

#endif
