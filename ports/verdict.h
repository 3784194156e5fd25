/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What became of each frame of a capture: one line a frame, told by the NIC's own counters.
 *
 * The NIC publishes its counters at the end of a burst. With one frame a burst, what moved between
 * two receives is that frame's fate. A frame is settled when its reception is counted and one of
 * the counters where an ingress NIC's packets end has moved; a frame the NIC holds (its egress ring
 * is full) settles later, or after VERDICT_WAIT_NS as "held". Reasons that only an egress NIC
 * counts (port, bad-descriptor) belong to other NICs' frames and are left out.
 *
 *   FRAME SECONDS.NANOSECONDS LENGTH FATE...
 *   1 1700000000.123456789 98 to-nic:2
 *   2 1700000000.123460000 60 dropped:ttl
 *   3 1700000001.000000000 1514 punted cut:96
 *   4 1700000001.000000001 9014 not-delivered:oversize
 *
 * FRAME counts from 1 in the capture, LENGTH is the frame's on the wire, cut:N says that the
 * capture holds N bytes of it. Fates: to-nic:N, sent (by this NIC's own port, past any ring),
 * dropped:REASON, punted, held, none (nothing moved), not-delivered:oversize.
 */
#ifndef P2PNIC_PORTS_VERDICT_H
#define P2PNIC_PORTS_VERDICT_H

#include <p2pnic/counters.h>

#include <stdio.h>

#include "ipc/error.h"

#define VERDICT_WAIT_NS 1000000000ull

/* The frame a line is about. */
struct verdict_frame {
	uint64_t number;
	uint64_t time_ns;
	uint32_t length;
	uint32_t captured;
};

struct verdict_counts {
	uint64_t received, sent, punted, held;
	uint64_t to_ring[P2PNIC_NICS_MAX];
	uint64_t dropped[P2PNIC_DROP_COUNT];
};

struct verdict {
	FILE *file; /* NULL: no verdicts wanted */
	const struct p2pnic_counters *counters;
	bool pending;
	uint64_t since_ns;
	struct verdict_frame frame;
	struct verdict_counts before;
};

int verdict_open(
	struct verdict *, const char *path, const struct p2pnic_counters *, struct error *error);

/* False when not all could be written (the disk is full). */
bool verdict_close(struct verdict *);

/* The frame is about to be delivered to the NIC. */
void verdict_begin(struct verdict *, const struct verdict_frame *);

/* True: no frame is pending, or it has settled now and its line is written. */
bool verdict_settled(struct verdict *);

/* Writes the pending frame's line, settled or not. */
void verdict_finish(struct verdict *);

/* The line of a frame that never reached the NIC. */
void verdict_not_delivered(struct verdict *, const struct verdict_frame *, const char *why);

#endif
