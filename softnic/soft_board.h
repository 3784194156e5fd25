/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The soft NIC's board (firmware/board.h): a port behind its ops, DMA as copies into mapped
 * windows. Included by the firmware when it is compiled for a soft NIC.
 */
#ifndef SOFTNIC_SOFT_BOARD_H
#define SOFTNIC_SOFT_BOARD_H

#include "firmware/x86.h"
#include "ipc/clock.h"
#include "ports/port.h"
#include "softnic/dma.h"
#include "softnic/vfio_user.h"

#include <string.h>

struct board {
	struct dma *dma;
	struct vfu **vfu;
	void *port;
	const struct port_ops *ops;
	/* By the port's numbers: memories that it may send from (soft_reach.c). */
	struct mapping *reached[PORT_MEMORIES];
	const uint8_t *own; /* packet memory */
};

/* board_reach, and what a port can send from no longer, for want of windows. Control thread, engine
 * parked. leave_all: no frame is in transmission. */
uint32_t soft_reach(struct board *, const struct dma_region *, uint32_t *base);
void soft_leave(struct board *, bool all);

static inline unsigned board_receive(struct board *b, struct frame *frames, unsigned max)
{
	return b->ops->receive(b->port, frames, max);
}

static inline void board_keep(struct board *b, const uint8_t *frame, unsigned n, uint32_t *at)
{
	b->ops->keep(b->port, frame, n, at);
}

static inline void board_release(struct board *b)
{
	b->ops->release(b->port);
}

static inline unsigned board_transmit(
	struct board *b, const struct p2pnic_descriptor *frames, unsigned n)
{
	return b->ops->transmit(b->port, frames, n);
}

static inline uint32_t board_reach(struct board *b, const struct dma_region *r, uint32_t *base)
{
	return soft_reach(b, r, base);
}

static inline bool board_reaches(struct board *b, uint32_t memory)
{
	return b->ops->reachable(b->port) >> memory & 1;
}

static inline unsigned board_transmit_from(
	struct board *b, const struct p2pnic_descriptor *frames, unsigned n)
{
	return b->ops->transmit_from ? b->ops->transmit_from(b->port, frames, n)
				     : b->ops->transmit(b->port, frames, n);
}

static inline void board_flush(struct board *b)
{
	b->ops->flush(b->port);
}

static inline void board_notify(struct board *b)
{
	if (b->ops->notify)
		b->ops->notify(b->port);
}

static inline unsigned board_transmitted(struct board *b, uint64_t *failed)
{
	return b->ops->transmitted(b->port, failed);
}

static inline bool board_port_arm(struct board *b)
{
	return b->ops->arm(b->port);
}

static inline void board_port_disarm(struct board *b)
{
	b->ops->disarm(b->port);
}

static inline int board_port_start(struct board *b, const uint32_t *buffers, unsigned n)
{
	return b->ops->start(b->port, buffers, n);
}

static inline unsigned board_port_stop(struct board *b, uint32_t *buffers)
{
	return b->ops->stop(b->port, buffers);
}

static inline bool board_dma_resolve(struct board *b, struct bus_addr bus, uint64_t bytes,
	unsigned access, struct dma_region *region)
{
	return dma_resolve(b->dma, bus, bytes, access, region);
}

static inline void board_dma_publish(struct board *b, const struct dma_region *r, uint64_t offset,
	const uint64_t *descriptor, unsigned count)
{
	if (__builtin_expect(!r->board, 0))
		dma_write(b->dma, bus_addr_add(r->bus, offset), descriptor, count * 8ull);
	else
		publish_words((uint64_t *)((uint8_t *)r->board + offset), descriptor, count);
}

static inline void board_dma_write32(
	struct board *b, const struct dma_region *r, uint64_t offset, uint32_t value)
{
	if (__builtin_expect(!r->board, 0))
		dma_write(b->dma, bus_addr_add(r->bus, offset), &value, 4);
	else
		atomic_store_explicit((_Atomic uint32_t *)((uint8_t *)r->board + offset), value,
			memory_order_release);
}

static inline void board_dma_write64(
	struct board *b, const struct dma_region *r, uint64_t offset, uint64_t value)
{
	if (__builtin_expect(!r->board, 0))
		dma_write(b->dma, bus_addr_add(r->bus, offset), &value, 8);
	else
		atomic_store_explicit((_Atomic uint64_t *)((uint8_t *)r->board + offset), value,
			memory_order_release);
}

static inline enum dma_status board_dma_read(
	struct board *b, const struct dma_region *r, uint64_t offset, void *data, uint32_t bytes)
{
	if (__builtin_expect(!r->board, 0))
		return dma_read(b->dma, bus_addr_add(r->bus, offset), data, bytes);
	memcpy(data, (uint8_t *)r->board + offset, bytes);
	return DMA_DONE;
}

/* Messages; memory in pieces is taken for such. */
static inline bool board_dma_posts(struct board *b, const struct dma_region *r)
{
	(void)b;
	return !r->board;
}

/* The peer's port read that buffer last, perhaps on another core: its line is fetched for writing
 * now. */
static inline void board_dma_expect(const struct dma_region *r, uint64_t offset)
{
	__builtin_prefetch((const void *)((uintptr_t)r->board + offset), 1);
}

/* Not inlined: windows without memory are for correctness, not for speed. */
__attribute__((noinline)) static void dma_write_frame_message(struct board *b, struct bus_addr bus,
	const void *head, uint32_t head_bytes, const uint8_t *data, uint32_t length,
	const uint32_t *word)
{
	uint8_t frame[P2PNIC_BUFFER_BYTES_MAX + P2PNIC_CHECK_BYTES];

	head_bytes = head_bytes < length ? head_bytes : length;
	if (head_bytes)
		memcpy(frame, head, head_bytes);
	memcpy(frame + head_bytes, data + head_bytes, length - head_bytes);
	if (word) {
		memset(frame + length, 0, sizeof(*word));
		memcpy(frame + p2pnic_check_at(length), word, sizeof(*word));
	}
	dma_write(b->dma, bus, frame, word ? p2pnic_check_end(length) : length);
}

static inline void board_dma_write_frame(struct board *b, const struct dma_region *r,
	uint64_t offset, const void *head, uint32_t head_bytes, const uint8_t *data,
	uint32_t length)
{
	uint32_t k = head_bytes;
	uint8_t *to;

	if (__builtin_expect(!r->board, 0)) {
		dma_write_frame_message(
			b, bus_addr_add(r->bus, offset), head, head_bytes, data, length, NULL);
		return;
	}
	to = (uint8_t *)r->board + offset;
	if (head_bytes)
		memcpy(to, head, head_bytes);
	if (head_bytes == FRAME_HEAD_BYTES) { /* the rest in aligned blocks */
		memcpy(to + 32, data + 32, 32);
		k = 64;
	}
	for (; k < length; k += 64)
		memcpy(to + k, data + k, 64);
}

static inline void board_dma_write_checked(struct board *b, const struct dma_region *r,
	uint64_t offset, const void *head, uint32_t head_bytes, const uint8_t *data,
	uint32_t length, uint32_t word)
{
	if (__builtin_expect(!r->board, 0)) {
		dma_write_frame_message(
			b, bus_addr_add(r->bus, offset), head, head_bytes, data, length, &word);
		return;
	}
	board_dma_write_frame(b, r, offset, head, head_bytes, data, length);
	memcpy((uint8_t *)r->board + offset + p2pnic_check_at(length), &word, sizeof(word));
}

static inline uint64_t board_clock(struct board *b)
{
	(void)b;
	return clock_now_ns();
}

static inline void board_interrupt(struct board *b, unsigned vector)
{
	vfu_interrupt(*b->vfu, vector);
}

#endif
