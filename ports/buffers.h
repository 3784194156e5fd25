/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The buffers of a port that copies frames in (tap, pcap, af_packet): no more than one burst's
 * worth, since all of a burst but what was kept is the port's again at its release.
 *
 * Ownership: from port_buffers_start to port_buffers_stop those in `buffer` are the port's. A frame
 * that is kept takes its buffer with it, and the spare that the NIC hands over instead stands in
 * its place; so `count` stays as it is, and what comes back at stop need not be what was given at
 * start.
 */
#ifndef P2PNIC_PORTS_BUFFERS_H
#define P2PNIC_PORTS_BUFFERS_H

#include "common.h"

struct port_buffers {
	unsigned count; /* 0: the port does not receive */
	uint32_t buffer[P2PNIC_BURST_MAX];
};

/* port_ops.start: takes the first of n buffers; how many, or -EINVAL (port_check_buffers). */
int port_buffers_start(struct port_buffers *, uint64_t memory_bytes, uint32_t buffer_bytes,
	const uint32_t *buffers, unsigned n);

/* port_ops.stop: all come back in `buffers`; how many. */
unsigned port_buffers_stop(struct port_buffers *, uint32_t *buffers);

/* port_ops.keep of frames that lie in the buffers of their numbers, right behind the headroom. */
static inline void port_buffers_keep(
	struct port_buffers *own, const uint8_t *frame, unsigned n, uint32_t *at)
{
	for (unsigned i = 0; i < n; i++) {
		uint32_t kept = own->buffer[frame[i]] + P2PNIC_HEADROOM;

		own->buffer[frame[i]] = at[i];
		at[i] = kept;
	}
}

#endif
