/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * `p2pnic punt`: the process between NICs' host rings (driver/host_ring.h) and their taps, the
 * faces that NICs have in the kernel.
 *
 *     NIC ── punts ──▶ 4 rings ──▶ │ punt │ ── write ──▶ tap ──▶ kernel, routing daemons
 *     NIC ◀─ injects ─ 4 rings ◀── │      │ ◀─ read ─── tap ◀──
 *
 * BFD and OSPF run through it, so it is a process of its own: the router hands it descriptors and
 * may then be killed, hang or be replaced without one frame lost. It ends when it is told to
 * (PUNT_QUIT, SIGTERM), as the keeper does, and not before: a router that comes back finds it.
 * When it is killed itself, the router, or the next one, hands the same descriptors to another: all
 * state of a ring is its memory, and taps live on with the duplicates of router and keeper.
 *
 * Priority. Punts: the control rings of all NICs first, then neighbor, exception, sample; 32 frames
 * of one ring, then from control on again. So no flood of a lower class delays control by more than
 * 32 frames. Injects: 32 frames of a tap, then control punts again. Which ring a frame that the
 * kernel sends takes is inject_ring's (inject.h) choice; a NIC's egress serves control first,
 * before what it forwards. Where bulk finds its ring full it is dropped and counted, as a queue
 * does; a control or neighbor frame waits up to 5 ms, and its tap with it, for no other.
 *
 * It is an ordinary process (SCHED_OTHER): on a host whose cores are all busy a frame waits for its
 * turn, typically some milliseconds. Where BFD is to be faster than that, give it a core or a
 * priority (chrt). It polls nothing: idle, it wakes ten times a second to look at the NICs' link
 * words, by which a tap's carrier follows its port also while there is no router. Admin state, MTU,
 * address and name of a tap are not its business.
 *
 * Protocol: ipc/exchange.h over an AF_UNIX SOCK_SEQPACKET socket, one struct punt_message each way.
 * Only the user who started it (and root) may connect.
 */
#ifndef PUNT_PUNT_H
#define PUNT_PUNT_H

#include "driver/host_ring.h"

#define PUNT_NAME_BYTES 32
#define PUNT_FDS        (1u + HOST_PARTS)

enum punt_operation {
	/* With a tap and parts of rings, or without parts: serves that NIC from now on, or keeps
	 * its tap without carrier. Replaces what it had under that name; that is let go of when the
	 * reply comes. */
	PUNT_TAKE = 1,
	PUNT_DROP = 2, /* lets go of rings and tap of that name; -ENOENT: it has none */
	/* By index; reply: name, flags, counts, and a duplicate of the tap; -ENOENT: no more. */
	PUNT_GET = 3,
	PUNT_QUIT = 4, /* lets go of all and ends */
};

/* Counted since this process has had that name. */
struct punt_counts {
	uint64_t received[P2PNIC_HOST_RINGS]; /* frames that the NIC punted */
	uint64_t bad[P2PNIC_HOST_RINGS];      /* descriptors that were none */
	uint64_t passed[P2PNIC_PUNT_COUNT];   /* of those received, to the tap */
	uint64_t refused[P2PNIC_PUNT_COUNT];  /* by the tap: it is down, or short of memory */
	uint64_t sent[P2PNIC_HOST_RINGS];     /* frames injected */
	uint64_t full[P2PNIC_HOST_RINGS];     /* dropped: no room, or no NIC */
	uint64_t oversize;                    /* dropped: longer than the NIC's buffers */
};

/* A part of rings as struct host_share has it; descriptors come in the parts' order. */
struct punt_part {
	uint32_t there;
	uint32_t write;
	uint64_t offset, bytes;
};

#define PUNT_RINGS    1u /* it serves rings of that NIC */
#define PUNT_CARRIER  2u /* the tap has carrier */
#define PUNT_TAP_GONE 4u /* the tap's interface was deleted */

struct punt_message {
	uint32_t operation; /* enum punt_operation */
	int32_t result;     /* reply: 0 or -errno */
	uint32_t index;     /* PUNT_GET */
	uint32_t flags;     /* reply to PUNT_GET */
	char name[PUNT_NAME_BYTES];
	union {
		struct punt_part part[HOST_PARTS]; /* PUNT_TAKE; none is there: no rings */
		struct punt_counts counts;         /* reply to PUNT_GET */
	};
};

/* --- Server: `p2pnic punt --socket PATH` ------------------------------------------------------ */

/* Serves until told to quit, SIGTERM or SIGINT. ready_fd ≥ 0: written one byte and closed once it
 * listens. 0, or the error of unix_listen. */
int punt_serve(const char *path, int ready_fd);

/* --- Client ----------------------------------------------------------------------------------- */

/* How long a request waits for its reply, in milliseconds: 500. */
extern unsigned punt_patience_ms;

/* Requests on a socket of exchange_connect; 0, its own -errno, or as exchange_ask. */
int punt_take(int socket, const char *name, int tap, const struct host_share share[HOST_PARTS]);
int punt_drop(int socket, const char *name);
/* Fills the message; the tap is the caller's. */
int punt_get(int socket, unsigned index, struct punt_message *, int *tap);
/* Returns when its socket is removed and all is let go. */
int punt_quit(int socket);

#endif
