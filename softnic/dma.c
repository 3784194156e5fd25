/* SPDX-License-Identifier: BSD-3-Clause */
#include "softnic/dma.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

_Static_assert(DMA_READ == VFU_READ && DMA_WRITE == VFU_WRITE, "one set of access bits");

/* Index of the first window that ends at `bus` or behind it. */
static unsigned first_behind(const struct dma *dma, uint64_t bus)
{
	unsigned low = 0, high = dma->windows;

	while (low < high) {
		unsigned middle = low + (high - low) / 2;

		if (dma->window[middle].bus + (dma->window[middle].bytes - 1) < bus)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

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
	if (!error) {
		struct dma_window *at = &dma->window[first_behind(dma, new.bus)];

		memmove(at + 1, at, (size_t)(&dma->window[dma->windows++] - at) * sizeof(*at));
		*at = new;
	}
	return error;
}

static void drop(struct dma_window *w)
{
	if (w->kind == VFU_WINDOW_MEMORY)
		mapping_put(w->mapping);
	if (w->eventfd >= 0)
		close(w->eventfd);
}

void dma_unmap(struct dma *dma, struct bus_addr bus, uint64_t bytes)
{
	unsigned first = first_behind(dma, bus.value), end = first;

	while (end < dma->windows && dma->window[end].bus - bus.value < bytes)
		drop(&dma->window[end++]);
	if (first == end)
		return;
	memmove(&dma->window[first], &dma->window[end],
		(dma->windows - end) * sizeof(dma->window[0]));
	dma->windows -= end - first;
}

void dma_unmap_all(struct dma *dma)
{
	while (dma->windows)
		drop(&dma->window[--dma->windows]);
	free(dma->window);
	dma->window = NULL;
	dma->capacity = 0;
}

/* --- Access ----------------------------------------------------------------------------------- */

/* Bytes from a bus address on that are reached in one way. */
struct run {
	enum vfu_window_kind kind;
	uint64_t bytes;
	uint8_t *memory; /* VFU_WINDOW_MEMORY */
	int eventfd;     /* VFU_WINDOW_DOORBELL */
};

/* Those of one window, or of one gap between windows; false: they may not be reached. */
static bool piece_at(
	const struct dma *dma, uint64_t bus, uint64_t bytes, unsigned access, struct run *piece)
{
	unsigned k = first_behind(dma, bus);
	const struct dma_window *w = k < dma->windows ? &dma->window[k] : NULL;
	uint64_t left;

	*piece = (struct run){.kind = VFU_WINDOW_MESSAGE};
	if (w && w->bus <= bus) {
		if ((w->access & access) != access)
			return false;
		left = w->bytes - (bus - w->bus);
		piece->kind = w->kind;
		piece->eventfd = w->eventfd;
		if (w->kind == VFU_WINDOW_MEMORY)
			piece->memory = w->memory + (bus - w->bus);
	} else {
		if (!dma->whole_bus)
			return false;
		left = w ? w->bus - bus : bytes;
	}
	piece->bytes = left < bytes ? left : bytes;
	return true;
}

static bool joins(const struct run *run, const struct run *piece)
{
	return run->kind == piece->kind &&
	       (run->kind == VFU_WINDOW_MESSAGE ||
		       (run->kind == VFU_WINDOW_MEMORY &&
			       piece->memory == run->memory + run->bytes));
}

/* Adjacent windows join where nothing tells them apart. */
static bool run_at(
	const struct dma *dma, uint64_t bus, uint64_t bytes, unsigned access, struct run *run)
{
	struct run piece;

	if (!piece_at(dma, bus, bytes, access, run))
		return false;
	while (run->bytes < bytes &&
		piece_at(dma, bus + run->bytes, bytes - run->bytes, access, &piece) &&
		joins(run, &piece))
		run->bytes += piece.bytes;
	return true;
}

/* Whether all of it can be reached: an access is done whole or not at all. */
static bool reaches(const struct dma *dma, uint64_t bus, uint64_t bytes, unsigned access)
{
	struct run run;

	if (!dma->enabled || (bytes && bus + (bytes - 1) < bus))
		return false;
	for (uint64_t done = 0; done < bytes; done += run.bytes)
		if (!run_at(dma, bus + done, bytes - done, access, &run))
			return false;
	return true;
}

bool dma_resolve(struct dma *dma, struct bus_addr bus, uint64_t bytes, unsigned access,
	struct dma_region *region)
{
	struct run run;

	*region = (struct dma_region){0};
	if (!bytes || !reaches(dma, bus.value, bytes, access))
		return false;
	for (uint64_t done = 0; done < bytes; done += run.bytes) {
		run_at(dma, bus.value + done, bytes - done, access, &run);
		if (dma->lost && run.kind == VFU_WINDOW_MESSAGE)
			return false;
		if (run.bytes == bytes)
			region->board = run.memory;
	}
	region->bus = bus;
	region->bytes = bytes;
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

/* Words are written whole and after all that was written before, so that regions without a pointer
 * carry descriptors and consumer words too (board.h). */
static void store(uint8_t *to, const uint8_t *from, uint64_t bytes)
{
	uint64_t word;
	uint32_t half;

	if (((uintptr_t)to | bytes) % sizeof(word) == 0) {
		for (uint64_t k = 0; k < bytes; k += sizeof(word)) {
			memcpy(&word, from + k, sizeof(word));
			atomic_store_explicit(
				(_Atomic uint64_t *)(to + k), word, memory_order_release);
		}
	} else if ((uintptr_t)to % sizeof(half) == 0 && bytes == sizeof(half)) {
		memcpy(&half, from, sizeof(half));
		atomic_store_explicit((_Atomic uint32_t *)to, half, memory_order_release);
	} else {
		memcpy(to, from, bytes);
	}
}

static bool write_run(struct dma *dma, const struct run *run, uint64_t bus, const uint8_t *data)
{
	const uint64_t one = 1;
	int error = 0;

	switch (run->kind) {
	case VFU_WINDOW_MEMORY:
		store(run->memory, data, run->bytes);
		return true;
	case VFU_WINDOW_DOORBELL:
		/* A full counter (EAGAIN) is as good as a ring: the other end has been told. */
		if (write(run->eventfd, &one, sizeof(one)) < 0 && errno != EAGAIN)
			return fault(dma);
		return true;
	default: /* VFU_WINDOW_MESSAGE */
		if (!dma->lost)
			error = vfu_dma_write(dma->vfu, (struct bus_addr){bus}, data, run->bytes);
		dma->lost = dma->lost || error == -ENOBUFS;
		if (dma->lost)
			count(&dma->counters->dma_lost);
		else if (error)
			fault(dma);
		return !dma->lost && !error;
	}
}

bool dma_write(struct dma *dma, struct bus_addr bus, const void *data, size_t bytes)
{
	struct run run;

	if (!reaches(dma, bus.value, bytes, DMA_WRITE))
		return fault(dma);
	for (uint64_t done = 0; done < bytes; done += run.bytes) {
		run_at(dma, bus.value + done, bytes - done, DMA_WRITE, &run);
		if (!write_run(dma, &run, bus.value + done, (const uint8_t *)data + done))
			return false;
	}
	return true;
}

static int read_run(struct dma *dma, const struct run *run, uint64_t bus, uint8_t *data)
{
	if (run->kind == VFU_WINDOW_MESSAGE)
		return vfu_dma_read(dma->vfu, (struct bus_addr){bus}, data, run->bytes);
	if (run->kind != VFU_WINDOW_MEMORY)
		return -EFAULT;
	memcpy(data, run->memory, run->bytes);
	return 0;
}

enum dma_status dma_read(struct dma *dma, struct bus_addr bus, void *data, size_t bytes)
{
	int error = reaches(dma, bus.value, bytes, DMA_READ) ? 0 : -EFAULT;
	struct run run;

	for (uint64_t done = 0; !error && done < bytes; done += run.bytes) {
		run_at(dma, bus.value + done, bytes - done, DMA_READ, &run);
		error = read_run(dma, &run, bus.value + done, (uint8_t *)data + done);
	}
	if (!error || error == -EAGAIN)
		return error ? DMA_LATER : DMA_DONE;
	memset(data, 0, bytes);
	fault(dma);
	return DMA_FAULT;
}
