/* SPDX-License-Identifier: BSD-3-Clause */
#include "send_queue.h"

#include "ipc/clock.h"

#include <errno.h>

void send_queue_fail(struct send_queue *queue)
{
	queue->failed += queue->queued - queue->sent;
	queue->sent = queue->queued;
	queue->blocked_since_ns = 0;
}

static int send_some(struct send_queue *queue, send_queue_sender *send, void *port)
{
	uint32_t first = queue->sent % SEND_QUEUE_FRAMES;
	unsigned most = queue->queued - queue->sent;
	unsigned n = 0;

	if (most > SEND_QUEUE_FRAMES - first)
		most = SEND_QUEUE_FRAMES - first;
	if (most > P2PNIC_BURST_MAX)
		most = P2PNIC_BURST_MAX;
	while (n < most && queue->frame[first + n].length)
		n++;
	return n ? send(port, &queue->frame[first], n) : -EINVAL;
}

void send_queue_run(struct send_queue *queue, bool *link, send_queue_sender *send, void *port)
{
	if (!*link)
		send_queue_fail(queue);
	while (queue->sent != queue->queued) {
		int n = send_some(queue, send, port);
		if (n > 0) {
			queue->sent += (unsigned)n;
			queue->blocked_since_ns = 0;
			continue;
		}
		switch (n) {
		case -EINTR:
			continue;
		case -EAGAIN:
		case -ENOBUFS:
			if (!queue->blocked_since_ns)
				queue->blocked_since_ns = clock_now_ns();
			else if (clock_now_ns() - queue->blocked_since_ns > SEND_QUEUE_GIVE_UP_NS)
				send_queue_fail(queue);
			return;
		case -ENETDOWN:
		case -ENXIO:
		case -ENODEV:
		case -EIO:
		case -EBADFD:
			*link = false;
			send_queue_fail(queue);
			return;
		default:
			queue->sent++;
			queue->failed++;
		}
	}
}
