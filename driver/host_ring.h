/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The host's end of one of its rings with a NIC (p2pnic/punt.h): punted frames are received, frames
 * to inject are sent. All it needs is memory that is mapped, so a process that was handed
 * descriptors runs the rings while the router that opened them (host_rings.h) restarts.
 *
 *             memory of the host (a memfd)                      memory of the NIC
 *     page 0      struct host_ring_header  (router)
 *     HOST_WRITE  4 mailboxes, of ring 0…  (NIC)       ◀─┐  BAR2: 4 mailboxes, of ring 0… (host)
 *     …             descriptors of punted frames         │     descriptors of frames to inject
 *     …             consumer word, asleep: of injects    │     consumer word, asleep: of punts
 *     …           4 · slots buffers: punts (NIC) Wr, Bn ─┘  BAR4: 4 · slots buffers: injects, Wr
 *     …           4 · slots buffers: injects   Rd, Bn             own buffers: punts, Rd
 *
 * The NIC's windows are two: mailboxes and punts to write, injects to read. Page 0 is in neither.
 *
 * The ring's memory is all its state: nothing is lost with the process that serves it. The consumer
 * word that the host wrote tells what was released. What was sent, the tags tell: descriptors from
 * the NIC's consumer word on, as far as their tags are the expected ones. Buffer k goes with slot
 * k. So host_ring_attach goes on behind the last frame that was released and the last one that was
 * sent, wherever the process before was killed. Frames that it had received and not released are
 * received again. One process serves a ring at a time.
 *
 *     host_ring_attach
 *     for ever:
 *         for each ring by its number:                 priority
 *             n = host_ring_receive(ring, frames, max)
 *             …                                        frames lie in shared memory
 *             host_ring_release(ring, n)
 *         nothing in any of them:
 *             host_ring_arm(each); all true: poll the eventfd, read it
 *             host_ring_disarm(each)
 *
 * A word that the NIC writes is read once, and checked in 64 bits; whatever it writes, nothing
 * outside the ring's buffers is read or written. What a frame contains may change until it is
 * released.
 *
 * No call blocks or allocates. The only system call is the eventfd_write that wakes a soft NIC.
 */
#ifndef DRIVER_HOST_RING_H
#define DRIVER_HOST_RING_H

#include <p2pnic/registers.h>

#include "ipc/error.h"

/* --- What the process is handed --------------------------------------------------------------- */

enum host_part {
	HOST_MEMORY,    /* the memfd */
	HOST_MAILBOXES, /* in the NIC's BAR2: the four of the host */
	HOST_PACKETS,   /* in its BAR4. Wr: buffers for injects; Rd: all of it, to read; Bn: none */
	HOST_DOORBELL,  /* an eventfd, or the page of BAR0 */
	HOST_EVENT,     /* an eventfd: the NIC has written into a ring whose host sleeps */
	HOST_PARTS
};

/* A part as a message can carry it, its descriptor beside (ipc/rights.h). */
struct host_share {
	int fd;          /* -1: there is no such part */
	bool write;      /* mapped to write too */
	uint64_t offset; /* where it begins in fd */
	uint64_t bytes;  /* 0: not to be mapped, an eventfd */
};

/* Parts as they lie in a process. */
struct host_maps {
	uint8_t *at[HOST_PARTS]; /* NULL: not mapped */
	uint64_t bytes[HOST_PARTS];
	void *page[HOST_PARTS]; /* whole pages, in which they lie */
	uint64_t page_bytes[HOST_PARTS];
	int doorbell; /* eventfd; -1: write to at[HOST_DOORBELL] */
};

/* Maps parts. Descriptors stay the caller's; those of eventfds must stay open. -errno, with a
 * sentence: nothing is mapped. */
int host_maps_make(
	struct host_maps *, const struct host_share share[HOST_PARTS], struct error *error);
void host_maps_free(struct host_maps *);

/* --- Memory ----------------------------------------------------------------------------------- */

#define HOST_RING_MAGIC 0x314e5248u /* "HRN1" */
#define HOST_WRITE      4096u

/* Written by the router before it opens a ring; the NIC has no window onto it. */
struct host_ring_header {
	uint32_t magic;
	uint32_t method; /* P2PNIC_METHOD_* */
	uint32_t slots;  /* descriptors of each ring, both ways */
	uint32_t buffer_bytes;
	_Atomic uint32_t epoch[P2PNIC_HOST_RINGS]; /* 0: closed */
};
P2PNIC_ASSERT_SIZE(struct host_ring_header, 32);
P2PNIC_ASSERT_OFFSET(struct host_ring_header, epoch, 16);

/* Of the buffers of four rings, one way. */
static inline uint64_t host_ring_buffers_bytes(uint32_t slots, uint32_t buffer_bytes)
{
	return (uint64_t)P2PNIC_HOST_RINGS * slots * buffer_bytes;
}

/* Of what the NIC writes, from HOST_WRITE on; of what it reads, behind that. */
static inline uint64_t host_ring_write_bytes(uint32_t method, uint32_t slots, uint32_t buffer_bytes)
{
	return P2PNIC_HOST_RINGS * sizeof(struct p2pnic_mailbox) +
	       (method == P2PNIC_METHOD_READ ? 0 : host_ring_buffers_bytes(slots, buffer_bytes));
}

static inline uint64_t host_ring_read_bytes(uint32_t method, uint32_t slots, uint32_t buffer_bytes)
{
	return method == P2PNIC_METHOD_WRITE ? 0 : host_ring_buffers_bytes(slots, buffer_bytes);
}

/* --- Rings ------------------------------------------------------------------------------------ */

struct host_ring_counts {
	uint64_t received;        /* frames punted */
	uint64_t bad_descriptors; /* skipped */
	uint64_t sent;            /* frames injected */
	uint64_t full;            /* refused: no slot was free */
};

struct host_ring {
	const struct host_ring_header *header;
	enum p2pnic_host_ring number;
	uint32_t epoch;
	uint32_t slots;
	uint32_t buffer_bytes;

	/* Punts: consumed ≤ dequeued ≤ consumed + slots. */
	uint32_t dequeued;
	uint32_t consumed;
	const uint8_t *punts; /* where descriptors count from */
	uint64_t punts_bytes; /* how much they may name */
	const struct p2pnic_mailbox *mailbox;

	/* Injects: completed ≤ produced ≤ completed + slots. */
	uint32_t produced;
	uint32_t completed;
	bool given_up; /* its consumer word was out of range */
	uint8_t *injects;
	struct p2pnic_mailbox *nic_mailbox;

	int doorbell;
	_Atomic uint32_t *doorbell_word;
	struct host_ring_counts counts;
};

struct host_frame {
	const uint8_t *data; /* from the destination MAC; in shared memory */
	uint32_t length;
	enum p2pnic_drop reason; /* why it was punted */
	enum p2pnic_punt_class class;
};

/*
 * Goes on with a ring, new or not. The maps must stay. The ring may have frames that nobody will
 * announce again: look at it once before sleeping.
 *   -EPROTO    this is no memory of rings, or parts of it are missing or too small
 *   -ENOTCONN  the ring is closed
 */
int host_ring_attach(struct host_ring *, const struct host_maps *, enum p2pnic_host_ring number);

/* The router has not closed it, nor opened it anew, since it was attached. Ask once per wake-up;
 * of one that is closed do nothing more. */
bool host_ring_is_open(const struct host_ring *);

/* The NIC's port has a carrier, as far as the NIC has said (p2pnic/ring.h, link_down). It wakes
 * nobody by that. */
bool host_ring_link(const struct host_ring *);

/* The next frames, in order, `max` at most; how many. Those received before and not released yet
 * stay valid. */
unsigned host_ring_receive(struct host_ring *, struct host_frame *frames, unsigned max);

/* Gives the oldest `n` of the frames received back to the NIC. */
void host_ring_release(struct host_ring *, unsigned n);

/*
 * Sends a frame by the NIC's port; the NIC is woken if it sleeps.
 *   -EMSGSIZE  shorter than an Ethernet header, or longer than a buffer holds
 *   -EAGAIN    no slot is free; nothing tells when one is: try again after a millisecond, or drop
 *   -EPROTO    the NIC has lied about what it consumed: closed until the router opens it anew
 */
int host_ring_send(struct host_ring *, const void *frame, uint32_t length);

/* Tells the NIC that the host sleeps, then looks once more. False: a frame waits. Whatever it
 * returns, host_ring_disarm follows. */
bool host_ring_arm(struct host_ring *);
void host_ring_disarm(struct host_ring *);

#endif
