/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Captures of one NIC (p2pnic/capture.h): the window onto the ring and the command.
 *
 * A ring has no owner in the NIC: a driver that finds a NIC which captures for an earlier one
 * closes that, and nothing else has to be known of it.
 */
#ifndef DRIVER_CAPTURE_RING_H
#define DRIVER_CAPTURE_RING_H

#include "driver/driver_nic.h"

/*
 * Begins a capture as in `want`, whose field `ring` does not matter: into memory that is that
 * descriptor's from `offset` (page-aligned, zeroed, sealed as device_map_memory says), and in this
 * process at `memory`. One that the NIC has is closed before. 0, or -errno with a sentence:
 * -ENOTSUP the NIC's contract is older than 2.4, or it reaches no memory of the host; -EINVAL it
 * refuses what is wanted.
 */
int capture_ring_open(struct driver_nic *, const struct p2pnic_capture *want, void *memory, int fd,
	uint64_t offset, struct error *);

/* Other points of the capture that it has; the ring goes on. */
int capture_ring_points(struct driver_nic *, unsigned points, struct error *);

/* Ends it, if there is one; what the NIC answers does not matter. */
void capture_ring_close(struct driver_nic *);

/* Of the ring, as mapped: whole pages. */
uint64_t capture_ring_bytes(uint32_t slots, uint32_t snap);

#endif
