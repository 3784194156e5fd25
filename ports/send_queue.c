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

static int send_some(struct send_queue *queue)
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
	return n ? queue->send(queue, &queue->frame[first], n) : -EINVAL;
}

static unsigned enqueue(
	struct send_queue *queue, const struct p2pnic_descriptor *frames, unsigned n, bool own)
{
	unsigned room = SEND_QUEUE_FRAMES - (queue->queued - queue->done);

	if (n > room)
		n = room;
	for (unsigned i = 0; i < n; i++) {
		struct p2pnic_descriptor frame = frames[i];

		if (own)
			frame.flags = 0;
		if (!port_memories_sendable(&queue->memories, queue->buffer_bytes, &frame))
			frame.length = 0;
		queue->frame[(queue->queued + i) % SEND_QUEUE_FRAMES] = frame;
	}
	queue->queued += n;
	return n;
}

unsigned send_queue_transmit(void *port, const struct p2pnic_descriptor *frames, unsigned n)
{
	return enqueue(port, frames, n, true);
}

unsigned send_queue_transmit_from(void *port, const struct p2pnic_descriptor *frames, unsigned n)
{
	return enqueue(port, frames, n, false);
}

unsigned send_queue_reach(void *port, const struct port_memory *memory)
{
	struct send_queue *queue = port;

	return port_memories_reach(&queue->memories, memory);
}

uint64_t send_queue_reachable(const void *port)
{
	return ~0ull;
}

void send_queue_leave(void *port, unsigned memory)
{
	struct send_queue *queue = port;

	queue->memories.bytes[memory] = 0;
}

void send_queue_flush(void *port)
{
	struct send_queue *queue = port;

	if (!*queue->link)
		send_queue_fail(queue);
	while (send_queue_waiting(queue)) {
		int n = send_some(queue);
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
			*queue->link = false;
			send_queue_fail(queue);
			return;
		default:
			queue->sent++;
			queue->failed++;
		}
	}
}

unsigned send_queue_transmitted(void *port, uint64_t *failed)
{
	struct send_queue *queue = port;

	send_queue_flush(port);
	unsigned n = queue->sent - queue->done;
	queue->done = queue->sent;
	*failed += queue->failed;
	queue->failed = 0;
	return n;
}
