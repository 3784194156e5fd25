/* SPDX-License-Identifier: BSD-3-Clause */
#include "softnic/dma.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

_Static_assert(DMA_READ == VFU_READ && DMA_WRITE == VFU_WRITE, "one set of access bits");

int dma_map(struct dma *dma, const struct vfu_window *w)
{
	struct dma_window new = {.bus = w->bus.value,
		.bytes = w->bytes,
		.access = w->access,
		.kind = w->kind,
		.eventfd = -1};
	int error = 0;

	if (dma->windows == dma->capacity) {
		unsigned capacity = dma->capacity ? dma->capacity * 2 : 64;
		struct dma_window *more = realloc(dma->window, capacity * sizeof(*more));

		if (!more)
			return -ENOMEM;
		dma->window = more;
		dma->capacity = capacity;
	}
	switch (w->kind) {
	case VFU_WINDOW_MEMORY:
		error = mapping_get(&new.mapping, w->fd, w->access & VFU_WRITE);
		if (!error && (w->bytes > new.mapping->bytes ||
				      w->fd_offset > new.mapping->bytes - w->bytes)) {
			mapping_put(new.mapping);
			error = -EINVAL;
		}
		if (!error)
			new.memory = new.mapping->memory + w->fd_offset;
		break;
	case VFU_WINDOW_DOORBELL:
		new.eventfd = fcntl(w->fd, F_DUPFD_CLOEXEC, 3);
		if (new.eventfd < 0)
			error = -errno;
		break;
	default: /* VFU_WINDOW_MESSAGE: nothing to hold */
		break;
	}
	if (!error)
		dma->window[dma->windows++] = new;
	return error;
}

static void drop(struct dma *dma, unsigned k)
{
	struct dma_window *w = &dma->window[k];

	if (w->kind == VFU_WINDOW_MEMORY)
		mapping_put(w->mapping);
	if (w->eventfd >= 0)
		close(w->eventfd);
	dma->window[k] = dma->window[--dma->windows];
}

void dma_unmap(struct dma *dma, struct bus_addr bus, uint64_t bytes)
{
	for (unsigned k = dma->windows; k-- > 0;)
		if (dma->window[k].bus == bus.value && dma->window[k].bytes == bytes)
			drop(dma, k);
}

void dma_unmap_all(struct dma *dma)
{
	while (dma->windows)
		drop(dma, dma->windows - 1);
	free(dma->window);
	dma->window = NULL;
	dma->capacity = 0;
}

static const struct dma_window *find(
	const struct dma *dma, uint64_t bus, uint64_t bytes, unsigned access)
{
	for (unsigned k = 0; dma->enabled && k < dma->windows; k++) {
		const struct dma_window *w = &dma->window[k];

		if (bus >= w->bus && bytes <= w->bytes && bus - w->bus <= w->bytes - bytes)
			return (w->access & access) == access ? w : NULL;
	}
	return NULL;
}

bool dma_resolve(struct dma *dma, struct bus_addr bus, uint64_t bytes, unsigned access,
	struct dma_region *region)
{
	const struct dma_window *w = find(dma, bus.value, bytes, access);

	*region = (struct dma_region){0};
	if (!w || !bytes || (dma->lost && w->kind == VFU_WINDOW_MESSAGE))
		return false;
	region->bus = bus;
	region->bytes = bytes;
	if (w->kind == VFU_WINDOW_MEMORY)
		region->board = w->memory + (bus.value - w->bus);
	return true;
}

static void count(_Atomic uint64_t *counter)
{
	atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

static bool fault(struct dma *dma)
{
	count(&dma->counters->dma_faults);
	return false;
}

bool dma_write(struct dma *dma, struct bus_addr bus, const void *data, size_t bytes)
{
	const struct dma_window *w = find(dma, bus.value, bytes, DMA_WRITE);

	if (!w)
		return fault(dma);
	switch (w->kind) {
	case VFU_WINDOW_MEMORY:
		memcpy(w->memory + (bus.value - w->bus), data, bytes);
		return true;
	case VFU_WINDOW_DOORBELL: {
		/* A full counter (EAGAIN) is as good as a ring: the other end has been told. */
		const uint64_t one = 1;
		ssize_t n = write(w->eventfd, &one, sizeof(one));

		if (n == sizeof(one) || errno == EAGAIN)
			return true;
		break;
	}
	case VFU_WINDOW_MESSAGE: {
		int error = dma->lost ? -ENOBUFS : vfu_dma_write(dma->vfu, bus, data, bytes);

		if (!error)
			return true;
		dma->lost = error == -ENOBUFS;
		if (dma->lost) {
			count(&dma->counters->dma_lost);
			return false;
		}
		break;
	}
	}
	return fault(dma);
}

enum dma_status dma_read(struct dma *dma, struct bus_addr bus, void *data, size_t bytes)
{
	const struct dma_window *w = find(dma, bus.value, bytes, DMA_READ);
	int error = -EFAULT;

	if (w && w->kind == VFU_WINDOW_MEMORY) {
		memcpy(data, w->memory + (bus.value - w->bus), bytes);
		error = 0;
	} else if (w && w->kind == VFU_WINDOW_MESSAGE) {
		error = vfu_dma_read(dma->vfu, bus, data, bytes);
	}
	if (!error || error == -EAGAIN)
		return error ? DMA_LATER : DMA_DONE;
	memset(data, 0, bytes);
	fault(dma);
	return DMA_FAULT;
}
