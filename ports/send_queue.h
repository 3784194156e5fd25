/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Frames that wait for a system call to send them: the sending half of af_packet and tap.
 *
 *   done            sent                queued
 *    │ to be reported │ to be sent          │ free … (SEND_QUEUE_FRAMES in all)
 *
 * The kernel's answer decides: taken; not now (EAGAIN, ENOBUFS), so the frame stays and is tried
 * again at the next flush or transmitted; no link, so all that wait are failed; or this one is
 * refused (longer than the MTU, say) and failed alone. What cannot leave for SEND_QUEUE_GIVE_UP_NS
 * is failed.
 */
#ifndef P2PNIC_PORTS_SEND_QUEUE_H
#define P2PNIC_PORTS_SEND_QUEUE_H

#include "common.h"

#define SEND_QUEUE_FRAMES     256u /* a power of two */
#define SEND_QUEUE_GIVE_UP_NS 200000000ull

struct send_queue;

/* Sends the first frames of n ≥ 1, none of length 0: how many went, or -errno of the first. */
typedef int send_queue_sender(
	struct send_queue *, const struct p2pnic_descriptor *frames, unsigned n);

/* The first member of its port, so that port_ops can name the functions below. */
struct send_queue {
	uint32_t queued; /* the three run freely */
	uint32_t sent;
	uint32_t done;
	uint32_t failed;           /* of [done, sent) */
	uint64_t blocked_since_ns; /* 0: not blocked */
	struct port_memories memories;
	send_queue_sender *send;
	bool *link; /* of the port: set to false when the kernel says there is none, all fails */
	uint32_t buffer_bytes;
	/* flags: which memory. length 0: refused when it came. */
	struct p2pnic_descriptor frame[SEND_QUEUE_FRAMES];
};

/* All that wait have failed. */
void send_queue_fail(struct send_queue *);

static inline bool send_queue_waiting(const struct send_queue *queue)
{
	return queue->sent != queue->queued;
}

/* As in port.h. */
unsigned send_queue_transmit(void *port, const struct p2pnic_descriptor *frames, unsigned n);
unsigned send_queue_transmit_from(void *port, const struct p2pnic_descriptor *frames, unsigned n);
unsigned send_queue_reach(void *port, const struct port_memory *);
uint64_t send_queue_reachable(const void *port);
void send_queue_leave(void *port, unsigned memory);
void send_queue_flush(void *port);
unsigned send_queue_transmitted(void *port, uint64_t *failed);

#endif
