/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The face of a NIC in the kernel: a tap of the NIC's name, the rings between NIC and host, and the
 * punt process (punt/punt.h), which carries frames between them. Where the configuration has
 * `kernel`.
 *
 *   tap     made before any NIC forwards, or found: the keeper has it, or the punt process. Made
 *           again if it is deleted. Its addresses, MTU, name and admin state are the operator's.
 *   rings   opened when the NIC has joined, before START; or adopted of a NIC that ran on
 *   punt    handed tap and rings whenever one of the two or itself is new
 *
 * A NIC that is lost takes its rings, and the tap's carrier, with it; the tap stays. The keeper
 * has the three descriptors of each face (keep.c), so the next router finds it whole.
 */
#ifndef ROUTER_HOST_FACE_H
#define ROUTER_HOST_FACE_H

#include "driver/host_rings.h"
#include "punt/punt.h"
#include "router/helper.h"
#include "router/netns.h"
#include "router/vlans.h"

struct router_nic;

struct host_face {
	int tap;               /* -1: none */
	bool found;            /* the tap is of an earlier router */
	struct mac_addr given; /* what the tap was given; another one since is the operator's */
	struct host_rings rings;
	int memory, event; /* of rings of an earlier router that are not adopted yet; -1 */
	bool kept;         /* the keeper has it as it is */
	bool served;       /* the punt process has it as it is */
	/* Addresses of macvlans and VLANs above it, and VLANs, as tap_follow was told last. */
	struct mac_addr station[P2PNIC_STATIONS_MAX];
	unsigned stations;
	bool stations_known;
	struct vlans vlans;
	bool vlans_known;
	bool complained; /* that there is no tap was said */
};

#define HOST_FACE_NONE                                                                             \
	{                                                                                          \
		.tap = -1, .memory = -1, .event = -1, .rings = {.memory_fd = -1, .event = -1 }     \
	}

extern const struct helper_kind punt_kind;

/* Before anything is found. -errno with r->error: there is no such namespace. */
int host_faces_begin(struct router *);

/* Of an earlier router: tap, or tap, memory and eventfd of its rings. Owns the descriptors. */
void host_face_found(struct router_nic *, struct mac_addr given, const int *fds, unsigned count);

/* After what was found: connects to the punt process, or begins one, and makes the taps that are
 * missing. -errno with r->error. */
int host_faces_open(struct router *);
/* The same of a NIC that was added: its tap is made, or tried again once a second. */
void host_face_open(struct router_nic *);
/* The punt process has all; or there is something wrong with it, which was said. */
bool host_faces_settled(const struct router *);
/* At the end: the punt process ends too, or is let go. */
void host_faces_close(struct router *, bool leave);

/* Rings and policers of a NIC that has joined. -errno with r->error. */
int host_face_join(struct router_nic *);
/* The NIC is lost. */
void host_face_leave(struct router_nic *);
/* Its link may have changed: the punt process looks at it now. */
void host_face_wake(const struct router_nic *);
/* What the punt process tells of each NIC, by its number; zeros: nothing. */
struct host_tally {
	uint32_t flags; /* PUNT_* */
	struct punt_counts counts;
};
void host_faces_count(struct router *, struct host_tally tally[P2PNIC_NICS_MAX]);
/* Takes back what this router has made, from all who have it. */
void host_face_drop(struct router_nic *);

#endif
