/* SPDX-License-Identifier: BSD-3-Clause */
#include "vfio_user_internal.h"

#include "ipc/clock.h"

#include <errno.h>
#include <stdlib.h>
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

/* --- Reads: asked, heard, fetched ------------------------------------------------------------- */

/* With `dma` held. Asks for what is missing, as much as the client takes at once. */
static void ask(struct vfu *vfu, struct vfu_read *r)
{
	size_t left = r->bytes - r->done;
	struct vfio_user_dma_access access = {.address = r->bus + r->done,
		.count = left < vfu->client_transfer ? left : vfu->client_transfer};
	struct vfio_user_header header = {
		.id = vfu->next_id++,
		.command = VFIO_USER_DMA_READ,
		.size = (uint32_t)(sizeof(header) + sizeof(access)),
	};
	struct iovec part = {&access, sizeof(access)};

	r->id = header.id;
	r->step = (uint32_t)access.count;
	r->heard = vfu->heard;
	r->deadline = clock_now_ms() + vfu->config.dma_timeout_ms;
	r->result = vfu_transmit(vfu, &header, &part, 1, NULL, 0);
	if (!r->result)
		r->result = -EAGAIN;
}

/* With `dma` held. What an answer to the read says: 0 or -errno. */
static int check_answer(const struct vfio_user_message *answer, struct vfu_read *r)
{
	struct vfio_user_dma_access access;

	if (answer->header.flags & VFIO_USER_ERROR) {
		uint32_t error = answer->header.error;

		/* "It may be zero even if the Error bit is set" ("Header"). */
		return error > 0 && error < 4096 ? -(int)error : -EIO;
	}
	/* The count may be less than asked for; then the client could not read it all. */
	if (answer->bytes != sizeof(access) + r->step)
		return -EPROTO;
	memcpy(&access, answer->payload, sizeof(access));
	if (access.address != r->bus + r->done || access.count != r->step)
		return -EPROTO;
	memcpy(r->data + r->done, answer->payload + sizeof(access), r->step);
	r->done += r->step;
	return 0;
}

void vfu_hear(struct vfu *vfu, const struct vfio_user_message *message)
{
	bool over = false;

	pthread_mutex_lock(&vfu->dma);
	vfu->silent = false;
	vfu->heard++;
	/* Others are late, or meant for another life of the client: nobody's. */
	if (vfio_user_is_reply(&message->header) && message->header.command == VFIO_USER_DMA_READ)
		for (unsigned i = 0; i < VFU_READS_MAX; i++) {
			struct vfu_read *r = &vfu->read[i];

			if (!r->bytes || r->result != -EAGAIN || r->id != message->header.id)
				continue;
			r->result = check_answer(message, r);
			if (!r->result && r->done < r->bytes)
				ask(vfu, r);
			over = r->result != -EAGAIN;
			break;
		}
	pthread_mutex_unlock(&vfu->dma);
	if (over && vfu->config.ops->read_done)
		vfu->config.ops->read_done(vfu->config.device);
}

/* With `dma` held: is its time over? A client that said something since is there, though this
 * answer is lost: a driver can be replaced while it owes one. */
static bool is_over(struct vfu *vfu, struct vfu_read *r)
{
	if (clock_now_ms() < r->deadline)
		return false;
	if (r->result == -EAGAIN) {
		vfu->silent = vfu->silent || vfu->heard == r->heard;
		r->result = -ETIMEDOUT;
	}
	return true;
}

/* With `dma` held. The read that was asked for, else a new one; NULL: all are under way. */
static struct vfu_read *find_read(struct vfu *vfu, uint64_t bus, size_t bytes)
{
	struct vfu_read *unused = NULL;

	for (unsigned i = 0; i < VFU_READS_MAX; i++) {
		struct vfu_read *r = &vfu->read[i];

		if (r->bytes == bytes && r->bus == bus)
			return r;
		/* Nobody has come for one whose time is over. */
		if (!unused && (!r->bytes || is_over(vfu, r)))
			unused = r;
	}
	if (unused)
		unused->bytes = 0;
	return unused;
}

static int begin(struct vfu *vfu, struct vfu_read *r, uint64_t bus, size_t bytes)
{
	if (vfu->silent)
		return -ETIMEDOUT;
	if (bytes > r->room) {
		uint8_t *more = realloc(r->data, bytes);

		if (!more)
			return -ENOMEM;
		r->data = more;
		r->room = bytes;
	}
	r->bus = bus;
	r->bytes = bytes;
	r->done = 0;
	ask(vfu, r);
	return r->result;
}

static int read_or_ask(struct vfu *vfu, uint64_t bus, void *data, size_t bytes)
{
	struct vfu_read *r = find_read(vfu, bus, bytes);

	if (!r)
		return -EAGAIN;
	int result = r->bytes ? r->result : begin(vfu, r, bus, bytes);
	if (result == -EAGAIN && !is_over(vfu, r))
		return result;
	result = result == -EAGAIN ? -ETIMEDOUT : result;
	if (!result)
		memcpy(data, r->data, bytes);
	r->bytes = 0;
	return result;
}

int vfu_dma_read(struct vfu *vfu, struct bus_addr bus, void *data, size_t bytes)
{
	int result = 0;

	pthread_mutex_lock(&vfu->dma);
	if (!vfu->negotiated || vfu->broken)
		result = -ENOTCONN;
	else if (bytes)
		result = read_or_ask(vfu, bus.value, data, bytes);
	pthread_mutex_unlock(&vfu->dma);
	return result;
}

void vfu_dma_cancel(struct vfu *vfu)
{
	pthread_mutex_lock(&vfu->dma);
	for (unsigned i = 0; i < VFU_READS_MAX; i++)
		vfu->read[i].bytes = 0;
	pthread_mutex_unlock(&vfu->dma);
}

/* --- Writes ----------------------------------------------------------------------------------- */

/* With `dma` held. */
static int post(struct vfu *vfu, uint64_t bus, const uint8_t *data, uint32_t bytes)
{
	struct vfio_user_dma_access access = {bus, bytes};
	struct vfio_user_header header = {
		.id = vfu->next_id++,
		.command = VFIO_USER_DMA_WRITE,
		.size = (uint32_t)(sizeof(header) + sizeof(access) + bytes),
		.flags = VFIO_USER_NO_REPLY,
	};
	struct iovec parts[2] = {{&access, sizeof(access)}, {(void *)data, bytes}};

	return vfu_transmit(vfu, &header, parts, 2, NULL, 0);
}

int vfu_dma_write(struct vfu *vfu, struct bus_addr bus, const void *data, size_t bytes)
{
	int result = 0;

	pthread_mutex_lock(&vfu->dma);
	if (!vfu->negotiated || vfu->broken)
		result = -ENOTCONN;
	for (size_t done = 0; !result && done < bytes;) {
		size_t left = bytes - done;
		uint32_t step = left < vfu->client_transfer ? (uint32_t)left : vfu->client_transfer;

		result = post(vfu, bus.value + done, (const uint8_t *)data + done, step);
		done += step;
	}
	pthread_mutex_unlock(&vfu->dma);
	return result;
}
