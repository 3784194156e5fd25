/* SPDX-License-Identifier: BSD-3-Clause */
/* Packets for the host (p2pnic/punt.h): their class, and whether its rate lets them pass. */
#ifndef P2PNIC_FIRMWARE_PUNT_H
#define P2PNIC_FIRMWARE_PUNT_H

#include <p2pnic/punt.h>

#include "burst.h"

struct nic;

/* A frame that is not forwarded: does the host want to see it, and as what? P2PNIC_PUNT_COUNT: no,
 * it is dropped. */
enum p2pnic_punt_class punt_class(const struct burst *, unsigned k);

/* Takes a token for it. False: its class or its source has none left. *clock: 0, or the time of an
 * earlier call in this burst; it is read only if it is needed, and only once. */
bool punt_passes(
	struct nic *, const struct burst *, unsigned k, enum p2pnic_punt_class, uint64_t *clock);

static inline enum p2pnic_host_ring punt_ring(enum p2pnic_punt_class class)
{
	static const uint8_t ring[P2PNIC_PUNT_COUNT] = {
#define PUNT_RING(symbol, name, ring, meaning) [P2PNIC_PUNT_##symbol] = P2PNIC_RING_##ring,
		P2PNIC_PUNT_CLASSES(PUNT_RING)
#undef PUNT_RING
	};

	return (enum p2pnic_host_ring)ring[class];
}

#endif
