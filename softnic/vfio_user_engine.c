/* SPDX-License-Identifier: BSD-3-Clause */
#include "vfio_user_internal.h"

#include "ipc/clock.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

int vfu_interrupt(struct vfu *vfu, unsigned vector)
{
	uint64_t one = 1;
	int result = 0;

	if (vector >= vfu->config.vectors)
		return -EINVAL;
	pthread_mutex_lock(&vfu->irq);
	struct vfu_vector *v = &vfu->vector[vector];
	if (v->masked)
		v->pending = true;
	else if (v->fd < 0)
		result = -ENOTCONN;
	/* GCOVR_EXCL_START: of an eventfd, which it is, a write can only say EAGAIN: signalled
	 * already */
	else if (write(v->fd, &one, sizeof(one)) < 0 && errno != EAGAIN)
		result = -errno;
	/* GCOVR_EXCL_STOP */
	pthread_mutex_unlock(&vfu->irq);
	return result;
}

/* With `receive` held: stop waiting, drop an answer that came too late. */
static struct vfio_user_message *take_answer(struct vfu *vfu)
{
	struct vfio_user_message *answer = vfu->answer;

	vfu->answer = NULL;
	vfu->awaiting = false;
	return answer;
}

/*
 * Waits for the answer and works as the socket's reader meanwhile. With `dma` held. Two threads may
 * poll the socket at once; whoever reads the answer signals `answered`, so the other cannot miss
 * it.
 */
static struct vfio_user_message *await_answer(struct vfu *vfu, int64_t deadline, int *result)
{
	for (;;) {
		uint64_t count;
		ssize_t n = read(vfu->answered, &count, sizeof(count));
		bool sent = vfu_flush(vfu);

		(void)n;
		pthread_mutex_lock(&vfu->receive);
		unsigned queued = vfu->queued;
		vfu_pump(vfu);
		bool full = vfu->queued == VFU_QUEUE_MAX;
		bool more = vfu->queued > queued;
		int64_t left = deadline - clock_now_ms();
		struct vfio_user_message *answer = NULL;
		bool over = vfu->answer || vfu->broken || left <= 0;
		if (over)
			answer = take_answer(vfu);
		/* Decided under the lock: a message that comes now undoes it. A client that said
		 * something since is there, though this answer is lost: a driver can be replaced
		 * while it owes one. */
		if (over && !answer && !vfu->heard)
			vfu->silent = true;
		pthread_mutex_unlock(&vfu->receive);

		if (more || (over && !answer))
			vfu_wake(vfu);
		if (answer)
			return answer;
		if (over) {
			*result = vfu->broken ? -ENOTCONN : -ETIMEDOUT;
			return NULL;
		}

		/* With the queue full the socket is not read; the control thread makes room. */
		struct pollfd wait[2] = {
			{.fd = vfu->answered, .events = POLLIN},
			{.fd = vfu->connection,
				.events = (short)((full ? 0 : POLLIN) | (sent ? 0 : POLLOUT))},
		};
		if (full && left > 5)
			left = 5;
		poll(wait, wait[1].events ? 2 : 1, (int)left);
	}
}

/* One DMA message and its answer. With `dma` held. */
static int transfer(struct vfu *vfu, uint16_t command, uint64_t bus, uint8_t *into,
	const uint8_t *from, uint32_t bytes)
{
	struct vfio_user_dma_access access = {bus, bytes};
	struct vfio_user_header header = {
		.id = vfu->next_id++,
		.command = command,
		.size = (uint32_t)(sizeof(header) + sizeof(access) + (from ? bytes : 0)),
	};
	struct iovec parts[2] = {
		{&access, sizeof(access)},
		{(void *)from, from ? bytes : 0},
	};
	int result = 0;

	pthread_mutex_lock(&vfu->receive);
	if (vfu->silent)
		vfu_pump(vfu);
	bool silent = vfu->silent;
	bool ready = !vfu->broken; /* negotiated: move has looked */
	if (ready && !silent) {
		vfu->heard = false;
		vfu->awaiting = true;
		vfu->awaited_id = header.id;
		vfu->awaited_command = command;
	}
	pthread_mutex_unlock(&vfu->receive);
	if (!ready)
		return -ENOTCONN;
	if (silent)
		return -ETIMEDOUT;

	vfu_transmit(vfu, &header, parts, from ? 2 : 1, NULL, 0);
	struct vfio_user_message *answer =
		await_answer(vfu, clock_now_ms() + vfu->config.dma_timeout_ms, &result);
	if (!answer)
		return result;

	if (answer->header.flags & VFIO_USER_ERROR) {
		uint32_t error = answer->header.error;
		result = error > 0 && error < 4096 ? -(int)error : -EIO;
	} else if (into) {
		/* The count may be less than asked for; then the client could not read it all. */
		if (answer->bytes != sizeof(access) + bytes)
			result = -EPROTO;
		else
			memcpy(&access, answer->payload, sizeof(access));
		if (!result && (access.address != bus || access.count != bytes))
			result = -EPROTO;
		if (!result)
			memcpy(into, answer->payload + sizeof(access), bytes);
	}
	vfio_user_message_free(answer);
	return result;
}

static int move(struct vfu *vfu, uint16_t command, struct bus_addr bus, uint8_t *into,
	const uint8_t *from, size_t bytes)
{
	int result = 0;

	pthread_mutex_lock(&vfu->dma);
	if (!vfu->negotiated)
		result = -ENOTCONN;
	while (!result && bytes) {
		uint32_t step =
			bytes < vfu->client_transfer ? (uint32_t)bytes : vfu->client_transfer;

		result = transfer(vfu, command, bus.value, into, from, step);
		bus = bus_addr_add(bus, step);
		bytes -= step;
		if (into)
			into += step;
		if (from)
			from += step;
	}
	pthread_mutex_unlock(&vfu->dma);
	return result;
}

int vfu_dma_read(struct vfu *vfu, struct bus_addr bus, void *data, size_t bytes)
{
	return move(vfu, VFIO_USER_DMA_READ, bus, data, NULL, bytes);
}

int vfu_dma_write(struct vfu *vfu, struct bus_addr bus, const void *data, size_t bytes)
{
	return move(vfu, VFIO_USER_DMA_WRITE, bus, NULL, data, bytes);
}
