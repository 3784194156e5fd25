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

struct send_queue {
	uint32_t queued; /* the three run freely */
	uint32_t sent;
	uint32_t done;
	uint32_t failed;           /* of [done, sent) */
	uint64_t blocked_since_ns; /* 0: not blocked */
	uint64_t memory_bytes;
	struct p2pnic_descriptor frame[SEND_QUEUE_FRAMES]; /* length 0: refused when it came */
};

/* Sends the first frames of n ≥ 1, none of length 0: how many went, or -errno of the first. */
typedef int send_queue_sender(void *port, const struct p2pnic_descriptor *frames, unsigned n);

/* Sends what waits. *link is set to false when the kernel says there is none, and then all
 * fails. */
void send_queue_run(struct send_queue *queue, bool *link, send_queue_sender *send, void *port);

/* All that wait have failed. */
void send_queue_fail(struct send_queue *queue);

static inline unsigned send_queue_push(
	struct send_queue *queue, const struct p2pnic_descriptor *frames, unsigned n)
{
	unsigned room = SEND_QUEUE_FRAMES - (queue->queued - queue->done);

	if (n > room)
		n = room;
	for (unsigned i = 0; i < n; i++) {
		struct p2pnic_descriptor frame = frames[i];
		if (!port_sendable(queue->memory_bytes, &frame))
			frame.length = 0;
		queue->frame[(queue->queued + i) % SEND_QUEUE_FRAMES] = frame;
	}
	queue->queued += n;
	return n;
}

static inline bool send_queue_waiting(const struct send_queue *queue)
{
	return queue->sent != queue->queued;
}

static inline unsigned send_queue_report(struct send_queue *queue, uint64_t *failed)
{
	unsigned n = queue->sent - queue->done;

	queue->done = queue->sent;
	*failed += queue->failed;
	queue->failed = 0;
	return n;
}

#endif
