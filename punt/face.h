/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One NIC as the punt process has it: its tap, and its four rings if it is alive.
 *
 * No call waits. What a NIC writes is checked in host_ring.c; frames go to the tap as they are.
 */
#ifndef PUNT_FACE_H
#define PUNT_FACE_H

#include "punt/punt.h"

#define FACE_BATCH 32u /* frames, between two looks at the control rings */
/* A byte more than the longest frame: one that was cut is seen to be too long. */
#define FACE_FRAME (P2PNIC_FRAME_BYTES_MAX(P2PNIC_BUFFER_BYTES_MAX) + 1)

struct face {
	char name[PUNT_NAME_BYTES]; /* "": none */
	int tap;
	bool tap_gone; /* its interface was deleted */
	bool open;     /* the rings are attached */
	bool carrier;  /* as last set */
	int event;     /* -1: no rings */
	int doorbell;  /* -1: none, or memory */
	struct host_maps maps;
	struct host_ring ring[P2PNIC_HOST_RINGS];
	struct punt_counts counts;
	/* A frame that was read and found its ring full; 0: none. */
	uint32_t waiting;
	enum p2pnic_host_ring waiting_ring;
	uint64_t waiting_until;
	uint8_t frame[FACE_FRAME];
};

/* Begins anew: with a tap, and with rings if any part of them is there. Owns the descriptors. On
 * failure it has no rings; -EINVAL: descriptors and parts do not match, and nothing has changed. */
int face_take(struct face *, const struct punt_message *, const int *fds, unsigned count);

/* Lets go of the rings; of everything but counts and name. */
void face_close_rings(struct face *);
void face_close(struct face *);

/* Once a wake-up: rings that the router has closed are let go of; the tap's carrier follows the
 * port's link. */
void face_look(struct face *);

/* Punts of one ring to the tap, FACE_BATCH at most; how many. */
unsigned face_deliver(struct face *, enum p2pnic_host_ring);

/* Frames of the tap to the NIC, FACE_BATCH at most; how many were read. It stops where one has to
 * wait (face->waiting): it is sent, or after 5 ms dropped, by face_inject_waiting, which says that
 * none waits any more. */
unsigned face_inject(struct face *);
bool face_inject_waiting(struct face *);

/* Before sleeping; false: a frame waits. disarm follows whatever it returns. */
bool face_arm(struct face *);
void face_disarm(struct face *);

void face_counts(const struct face *, struct punt_counts *);

#endif
