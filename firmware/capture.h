/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Frames for the host to look at (p2pnic/capture.h).
 *
 *     capture_match    which frames of a burst the filter accepts
 *     capture_accepts  likewise, of any frames
 *     capture_begin    before one of them is dispatched: the frame as it came, what was found of it
 *     capture_end      after: what became of it; writes the record
 *     capture_sent     of a frame that was given to the port
 *     capture_refused  of one that did not arrive whole from its ingress NIC
 *
 * None is called while captures are off: nic.captures is 0.
 */
#ifndef P2PNIC_FIRMWARE_CAPTURE_H
#define P2PNIC_FIRMWARE_CAPTURE_H

#include <p2pnic/capture.h>
#include <p2pnic/registers.h>

#include "dma_region.h"
#include "frame.h"

#include <stdbool.h>

struct burst;
struct nic;

#define CAPTURE_IN  (P2PNIC_CAPTURE_RX | P2PNIC_CAPTURE_DROP)
#define CAPTURE_OUT (P2PNIC_CAPTURE_TX | P2PNIC_CAPTURE_FOLLOW)

struct capture {
	struct p2pnic_capture asked; /* as the host wrote it, copied and checked */
	struct dma_region ring;
	uint32_t slot_bytes;
	uint64_t records; /* in the ring since it was taken into use */
	uint64_t limited; /* of them, those that `limit` counts */
	uint64_t time_ns; /* of this burst; 0: not read */
	/* The next record, and its frame. Whole blocks are written. */
	struct {
		struct p2pnic_record record;
		uint8_t frame[P2PNIC_CAPTURE_SNAP_MAX + 64];
	} next __attribute__((aligned(64)));
};

/* COMMAND capture. */
enum p2pnic_result capture_use(struct nic *);

/* Windows changed. */
void capture_resolve(struct nic *);

/* A bit for each frame. */
uint64_t capture_match(struct nic *, const struct burst *);
uint64_t capture_accepts(const struct nic *, const struct frame *, unsigned frames);
void capture_begin(struct nic *, const struct burst *, unsigned k);
/* peer: of the ring that it went into; BURST_NOWHERE: none. held: it waits for room there. */
void capture_end(struct nic *, unsigned peer, bool held);

/* Frame k of those that come out of the ring of `peer` now, where it lies. */
struct capture_frame {
	unsigned peer, k;
	const struct frame *frame;
	bool accepted; /* by the filter */
	bool marked;
};

void capture_sent(struct nic *, const struct capture_frame *);
void capture_refused(struct nic *, const struct capture_frame *, enum p2pnic_drop reason);

#endif
