/* SPDX-License-Identifier: BSD-3-Clause */
#include "card/card_board.h"

#include "card/machine.h"
#include "firmware/board.h"

/* --- The port --------------------------------------------------------------------------------- */

unsigned board_receive(struct board *b, struct frame *frames, unsigned max)
{
	return virtio_net_receive(&b->port, frames, max);
}

void board_keep(struct board *b, const uint8_t *frame, unsigned n, uint32_t *at)
{
	virtio_net_keep(&b->port, frame, n, at);
}

void board_release(struct board *b)
{
	virtio_net_release(&b->port);
}

/* The port sends from its own memory. */
uint32_t board_reach(struct board *b, const struct dma_region *r, uint32_t *base)
{
	return 0;
}

bool board_reaches(struct board *b, uint32_t memory)
{
	return false;
}

unsigned board_transmit_from(struct board *b, const struct p2pnic_descriptor *frames, unsigned n)
{
	return board_transmit(b, frames, n);
}

unsigned board_transmit(struct board *b, const struct p2pnic_descriptor *frames, unsigned n)
{
	return virtio_net_transmit(&b->port, frames, n);
}

void board_flush(struct board *b)
{
	virtio_net_flush(&b->port);
}

/* The device has been told by the flush. */
void board_notify(struct board *b)
{
	(void)b;
}

unsigned board_transmitted(struct board *b, uint64_t *failed)
{
	return virtio_net_transmitted(&b->port, failed);
}

bool board_port_arm(struct board *b)
{
	return virtio_net_arm(&b->port);
}

void board_port_disarm(struct board *b)
{
	virtio_net_disarm(&b->port);
}

int board_port_start(struct board *b, const uint32_t *buffers, unsigned n)
{
	return virtio_net_start(&b->port, buffers, n);
}

unsigned board_port_stop(struct board *b, uint32_t *buffers)
{
	return virtio_net_stop(&b->port, buffers);
}

/* --- DMA -------------------------------------------------------------------------------------- */

static const struct window *window_at(const struct board *b, uint64_t bus, unsigned access)
{
	for (unsigned k = 0; k < BOARD_WINDOWS; k++) {
		const struct window *w = &b->window[k];

		if (bus - w->bus.value < w->bytes && (w->access & access) == access)
			return w;
	}
	return NULL;
}

/* Windows that touch have to touch in memory as well: a region is one pointer. */
bool board_dma_resolve(struct board *b, struct bus_addr bus, uint64_t bytes, unsigned access,
	struct dma_region *region)
{
	uint8_t *memory = NULL;

	*region = (struct dma_region){0};
	for (uint64_t done = 0; done < bytes;) {
		const struct window *w = window_at(b, bus.value + done, access);
		uint64_t offset = w ? bus.value + done - w->bus.value : 0;

		if (!w || !b->master || (memory && memory + done != w->memory + offset))
			return false;
		if (!memory)
			memory = w->memory + offset;
		done += w->bytes - offset;
	}
	*region = (struct dma_region){.bus = bus, .bytes = bytes, .board = memory};
	return true;
}

static uint8_t *target(struct board *b, const struct dma_region *r, uint64_t offset)
{
	if (!r->board)
		atomic_fetch_add_explicit(&b->counters->dma_faults, 1, memory_order_relaxed);
	return r->board ? (uint8_t *)r->board + offset : NULL;
}

void board_dma_publish(struct board *b, const struct dma_region *r, uint64_t offset,
	const uint64_t *descriptor, unsigned count)
{
	volatile uint64_t *to = (volatile uint64_t *)target(b, r, offset);

	fence_stores();
	for (unsigned k = 0; to && k < count; k++)
		to[k] = descriptor[k];
}

void board_dma_write32(struct board *b, const struct dma_region *r, uint64_t offset, uint32_t value)
{
	volatile uint32_t *to = (volatile uint32_t *)target(b, r, offset);

	fence_stores();
	if (to)
		*to = value;
}

void board_dma_write64(struct board *b, const struct dma_region *r, uint64_t offset, uint64_t value)
{
	volatile uint64_t *to = (volatile uint64_t *)target(b, r, offset);

	fence_stores();
	if (to)
		*to = value;
}

enum dma_status board_dma_read(
	struct board *b, const struct dma_region *r, uint64_t offset, void *data, uint32_t bytes)
{
	const uint8_t *from = target(b, r, offset);

	if (!from)
		return DMA_FAULT;
	__builtin_memcpy(data, from, bytes);
	return DMA_DONE;
}

/* A store into a peer's BAR is posted, and a fence does not wait for what a bus has taken. */
bool board_dma_posts(struct board *b, const struct dma_region *r)
{
	return true;
}

void board_dma_expect(const struct dma_region *r, uint64_t offset)
{
}

/* Whole words: what lies behind the frame may be overwritten. */
void board_dma_write_frame(struct board *b, const struct dma_region *r, uint64_t offset,
	const void *head, uint32_t head_bytes, const uint8_t *data, uint32_t length)
{
	uint8_t *to = target(b, r, offset);

	if (!to)
		return;
	__builtin_memcpy(to, head, head_bytes);
	if (length > head_bytes)
		__builtin_memcpy(
			to + head_bytes, data + head_bytes, (length - head_bytes + 7) & ~7u);
}

void board_dma_write_checked(struct board *b, const struct dma_region *r, uint64_t offset,
	const void *head, uint32_t head_bytes, const uint8_t *data, uint32_t length, uint32_t word)
{
	volatile uint32_t *at = (volatile uint32_t *)target(b, r, offset + p2pnic_check_at(length));

	if (!at)
		return;
	board_dma_write_frame(b, r, offset, head, head_bytes, data, length);
	fence_stores();
	*at = word;
}

/* --- The rest --------------------------------------------------------------------------------- */

uint64_t board_clock(struct board *b)
{
	return clock_ticks() * MACHINE_TICK_NS;
}

/* The host looks at it now and then. */
void board_interrupt(struct board *b, unsigned vector)
{
	_Atomic uint32_t *raised = &b->carrier->raised[vector];

	atomic_store_explicit(raised, atomic_load_explicit(raised, memory_order_relaxed) + 1,
		memory_order_release);
}
