/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A board for tests (firmware/board.h): ports are queues in memory, windows are pointers, time is
 * the number of polls. Nothing happens but what a test asks for, so every run is the same.
 *
 *   receive queue ──▶ port buffers in BAR4 ──▶ firmware ──▶ frames in transmission ──▶ sent queue
 *
 * A port can be slow, small, or fail (the knobs). The board checks what firmware must keep to: a
 * buffer has one owner, frames stay untouched until they are reported sent, bursts are released, a
 * look whether somebody sleeps comes after a fence, and none is left out.
 *
 * Faults of the firmware end the test: BOARD_ASSERT is cmocka's, or abort() in a fuzz target.
 */
#ifndef TESTS_FIRMWARE_BOARD_H
#define TESTS_FIRMWARE_BOARD_H

#include <p2pnic/registers.h>

#include "tests/unit/packet.h"

#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#ifndef BOARD_ASSERT
#define BOARD_ASSERT(condition)                                                                    \
	do {                                                                                       \
		if (!(condition))                                                                  \
			board_failed(#condition, __FILE__, __LINE__);                              \
	} while (0)
#endif
void board_failed(const char *condition, const char *file, int line) __attribute__((noreturn));

/* Fences that this thread has made. */
extern _Thread_local unsigned board_fences;
#undef atomic_thread_fence
#define atomic_thread_fence(order) (board_fences++, __atomic_thread_fence(order))

#define BOARD_QUEUE    8192u
#define BOARD_HEADROOM 256u
#define BOARD_WINDOWS  256u
#define BOARD_BUFFERS  8192u
#define BOARD_FLIGHT   4096u
#define BOARD_MEMORIES 4096u
/* What a board that sends from windows adds to offsets: a region begins in the midst of a memory.
 */
#define BOARD_BASE     0x10000u

/* First in, first out; owns its packets. */
struct packet_queue {
	struct packet *packet[BOARD_QUEUE];
	uint32_t head, tail;
};

static inline uint32_t queue_length(const struct packet_queue *q)
{
	return q->tail - q->head;
}

static inline void queue_push(struct packet_queue *q, const uint8_t *bytes, uint32_t length)
{
	struct packet *p = malloc(offsetof(struct packet, bytes) + length);

	BOARD_ASSERT(p && queue_length(q) < BOARD_QUEUE);
	p->length = length;
	memcpy(p->bytes, bytes, length);
	q->packet[q->tail++ % BOARD_QUEUE] = p;
}

/* The caller frees it; NULL: empty. */
static inline struct packet *queue_pop(struct packet_queue *q)
{
	return q->head == q->tail ? NULL : q->packet[q->head++ % BOARD_QUEUE];
}

static inline void queue_empty(struct packet_queue *q)
{
	while (q->head != q->tail)
		free(queue_pop(q));
}

enum board_window_kind { BOARD_MEMORY, BOARD_MESSAGE, BOARD_DOORBELL };

struct board_window {
	uint64_t bus, bytes;
	unsigned access;
	enum board_window_kind kind; /* MESSAGE: memory that is looked up at every access */
	uint8_t *memory;
	struct board *rung; /* DOORBELL: whose */
};

struct board {
	uint8_t *bar4;
	uint32_t bar4_bytes;
	uint32_t buffer_bytes;
	struct p2pnic_counters *counters;

	/* Knobs; 0 means no limit, or never. */
	unsigned receive_max;   /* frames in one receive */
	unsigned start_max;     /* buffers the port takes */
	unsigned transmit_room; /* frames in transmission at most */
	unsigned complete_max;  /* frames one call reports sent */
	unsigned fail_every;    /* each nth frame sent fails */
	bool stuck;             /* reports nothing sent */
	bool copies_on_keep;    /* as a port that reads from a stranger's memory */
	bool no_headroom;       /* frames begin where their buffers do */
	bool refuses_start;
	bool frames_change;   /* peers are hostile: frames may change in transmission */
	bool posts;           /* the bus posts writes */
	bool reaches;         /* sends from windows, in which no memory is… */
	bool out_of_reach;    /* …just now */
	uint64_t slow_bus;    /* reads of the region that begins there are under way */
	unsigned write_fails; /* each nth write of a frame fails… */
	uint32_t write_part;  /* …but for its first bytes… */
	bool write_tail;      /* …and what lies behind the frame */
	uint64_t read_turned; /* likewise reads: they yield ones, and are said to be done */

	struct packet_queue wire_in;  /* waits to be received */
	struct packet_queue wire_out; /* was sent */

	uint32_t buffer[BOARD_BUFFERS]; /* the port's; a burst lies in [0, delivered) */
	unsigned buffers;
	unsigned delivered;
	uint32_t delivered_length[P2PNIC_BURST_MAX];
	bool kept[P2PNIC_BURST_MAX];
	bool armed;

	struct p2pnic_descriptor flight[BOARD_FLIGHT];
	const uint8_t *flight_from[BOARD_FLIGHT];
	struct packet *flight_copy[BOARD_FLIGHT]; /* as it was when it was given */
	uint32_t flight_head, flight_tail;
	uint64_t sent;
	unsigned flushed, unflushed;
	bool unnotified; /* flushed, and nobody looked whether the other end sleeps */
	unsigned notified;
	unsigned flush_fence, publish_fence; /* the first one after it */

	struct board_window window[BOARD_WINDOWS];
	unsigned windows;
	const uint8_t *memory[BOARD_MEMORIES]; /* from which it sends, from number 1 on */
	unsigned memories, sent_from;
	_Atomic uint32_t rung; /* doorbell writes by peers */
	int eventfd;           /* written at each, or 0 */
	unsigned interrupts[P2PNIC_VECTORS];
	unsigned publications; /* dma_publish calls */
	unsigned writes, failed_writes;
	uint64_t clock_ns; /* a test turns it */
};

static inline uint32_t board_begin(const struct board *b)
{
	return b->no_headroom ? 0 : BOARD_HEADROOM;
}

static inline unsigned board_receive(struct board *b, struct frame *frames, unsigned max)
{
	unsigned n;

	BOARD_ASSERT(!b->delivered && !b->armed && !b->unnotified);
	if (b->receive_max && max > b->receive_max)
		max = b->receive_max;
	for (n = 0; n < max && n < b->buffers && b->wire_in.head != b->wire_in.tail; n++) {
		struct packet *p = queue_pop(&b->wire_in);
		uint8_t *data = b->bar4 + b->buffer[n] + board_begin(b);

		/* What lies behind a frame is whatever was there before. */
		memcpy(data, p->bytes, p->length);
		frames[n] = (struct frame){data, p->length};
		b->delivered_length[n] = p->length;
		b->kept[n] = false;
		free(p);
	}
	b->delivered = n;
	return n;
}

static inline uint32_t board_keep_one(struct board *b, unsigned k, uint32_t spare)
{
	uint32_t at = b->buffer[k] + board_begin(b);

	BOARD_ASSERT(k < b->delivered && !b->kept[k]);
	BOARD_ASSERT(
		spare % b->buffer_bytes == 0 && (uint64_t)spare + b->buffer_bytes <= b->bar4_bytes);
	for (unsigned j = 0; j < b->buffers; j++)
		BOARD_ASSERT(b->buffer[j] != spare);
	b->kept[k] = true;
	if (b->copies_on_keep) {
		spare += b->no_headroom ? 0 : 64;
		memcpy(b->bar4 + spare, b->bar4 + at, b->delivered_length[k]);
		return spare;
	}
	b->buffer[k] = spare;
	return at;
}

static inline void board_keep(struct board *b, const uint8_t *frame, unsigned n, uint32_t *at)
{
	for (unsigned i = 0; i < n; i++)
		at[i] = board_keep_one(b, frame[i], at[i]);
}

static inline void board_release(struct board *b)
{
	b->delivered = 0;
}

/* own: flags are none of this board's; else the number of the memory that a frame is in. */
static inline unsigned board_send(
	struct board *b, const struct p2pnic_descriptor *frames, unsigned n, bool own)
{
	uint32_t room = b->transmit_room ? b->transmit_room : BOARD_FLIGHT;
	unsigned k;

	BOARD_ASSERT(!b->armed);
	for (k = 0; k < n && b->flight_tail - b->flight_head < room; k++) {
		const struct p2pnic_descriptor *f = &frames[k];
		struct packet *p = malloc(offsetof(struct packet, bytes) + f->length);
		uint32_t memory = own ? 0 : f->flags;
		const uint8_t *from = (memory ? b->memory[memory] : b->bar4) + f->offset;

		BOARD_ASSERT(p && f->length >= P2PNIC_FRAME_BYTES_MIN &&
			     f->length <= P2PNIC_FRAME_BYTES_MAX(b->buffer_bytes));
		BOARD_ASSERT(memory <= b->memories);
		if (memory)
			BOARD_ASSERT(!b->out_of_reach && f->offset >= BOARD_BASE);
		else
			BOARD_ASSERT((uint64_t)f->offset + f->length <= b->bar4_bytes);
		b->sent_from += memory != 0;
		p->length = f->length;
		memcpy(p->bytes, from, f->length);
		b->flight[b->flight_tail % BOARD_FLIGHT] = *f;
		b->flight_from[b->flight_tail % BOARD_FLIGHT] = from;
		b->flight_copy[b->flight_tail++ % BOARD_FLIGHT] = p;
	}
	b->unflushed += k;
	return k;
}

static inline unsigned board_transmit(
	struct board *b, const struct p2pnic_descriptor *frames, unsigned n)
{
	return board_send(b, frames, n, true);
}

static inline uint32_t board_reach(struct board *b, const struct dma_region *r, uint32_t *base)
{
	if (!b->reaches || !r->board || b->memories == BOARD_MEMORIES - 1)
		return 0;
	b->memory[++b->memories] = (const uint8_t *)r->board - BOARD_BASE;
	*base = BOARD_BASE;
	return b->memories;
}

static inline bool board_reaches(struct board *b, uint32_t memory)
{
	BOARD_ASSERT(memory && memory <= b->memories);
	return !b->out_of_reach;
}

static inline unsigned board_transmit_from(
	struct board *b, const struct p2pnic_descriptor *frames, unsigned n)
{
	return board_send(b, frames, n, false);
}

static inline void board_flush(struct board *b)
{
	b->flushed += b->unflushed;
	b->unflushed = 0;
	b->unnotified = true;
	b->flush_fence = board_fences + 1;
}

static inline void board_notify(struct board *b)
{
	BOARD_ASSERT(b->unnotified && board_fences >= b->flush_fence);
	b->unnotified = false;
	b->notified++;
}

static inline unsigned board_transmitted(struct board *b, uint64_t *failed)
{
	uint32_t n = b->flight_tail - b->flight_head;

	BOARD_ASSERT(b->unflushed == 0);
	if (b->stuck)
		return 0;
	if (b->complete_max && n > b->complete_max)
		n = b->complete_max;
	for (unsigned k = 0; k < n; k++) {
		uint32_t at = b->flight_head++ % BOARD_FLIGHT;
		struct packet *p = b->flight_copy[at];

		if (!b->frames_change && memcmp(p->bytes, b->flight_from[at], p->length))
			board_failed("frame unchanged in transmission", __FILE__, __LINE__);
		if (b->fail_every && ++b->sent % b->fail_every == 0) {
			++*failed;
			free(p);
		} else {
			BOARD_ASSERT(queue_length(&b->wire_out) < BOARD_QUEUE);
			b->wire_out.packet[b->wire_out.tail++ % BOARD_QUEUE] = p;
		}
	}
	return n;
}

static inline bool board_port_arm(struct board *b)
{
	BOARD_ASSERT(!b->armed && !b->unnotified);
	b->armed = true;
	return b->wire_in.head != b->wire_in.tail && b->buffers;
}

static inline void board_port_disarm(struct board *b)
{
	BOARD_ASSERT(b->armed);
	b->armed = false;
}

static inline int board_port_start(struct board *b, const uint32_t *buffers, unsigned n)
{
	BOARD_ASSERT(n > 0 && !b->buffers);
	if (b->refuses_start)
		return -1;
	if (b->start_max && n > b->start_max)
		n = b->start_max;
	memcpy(b->buffer, buffers, n * sizeof(*buffers));
	b->buffers = n;
	return (int)n;
}

static inline unsigned board_port_stop(struct board *b, uint32_t *buffers)
{
	unsigned n = b->buffers;

	BOARD_ASSERT(!b->delivered);
	memcpy(buffers, b->buffer, n * sizeof(*buffers));
	b->buffers = 0;
	return n;
}

/* --- DMA -------------------------------------------------------------------------------------- */

static inline const struct board_window *board_window_of(
	const struct board *b, uint64_t bus, uint64_t bytes, unsigned access)
{
	for (unsigned k = 0; k < b->windows; k++) {
		const struct board_window *w = &b->window[k];

		if (bus >= w->bus && bytes <= w->bytes && bus - w->bus <= w->bytes - bytes)
			return (w->access & access) == access ? w : NULL;
	}
	return NULL;
}

static inline bool board_dma_resolve(struct board *b, struct bus_addr bus, uint64_t bytes,
	unsigned access, struct dma_region *region)
{
	const struct board_window *w = board_window_of(b, bus.value, bytes, access);

	*region = (struct dma_region){0};
	if (!w || !bytes)
		return false;
	region->bus = bus;
	region->bytes = bytes;
	if (w->kind == BOARD_MEMORY)
		region->board = w->memory + (bus.value - w->bus);
	return true;
}

/* Windows without a pointer: looked up at each access, doorbells too. */
static inline bool board_dma_slow(struct board *b, const struct dma_region *r, uint64_t offset,
	void *data, uint32_t bytes, unsigned access)
{
	uint64_t bus = r->bus.value + offset;
	const struct board_window *w = board_window_of(b, bus, bytes, access);

	if (!w) {
		atomic_fetch_add_explicit(&b->counters->dma_faults, 1, memory_order_relaxed);
		if (access == DMA_READ)
			memset(data, 0, bytes);
		return false;
	}
	if (w->kind == BOARD_DOORBELL) {
		BOARD_ASSERT(board_fences >= b->publish_fence);
		atomic_fetch_add(&w->rung->rung, 1);
		if (w->rung->eventfd)
			eventfd_write(w->rung->eventfd, 1);
	} else if (access == DMA_WRITE) {
		memcpy(w->memory + (bus - w->bus), data, bytes);
	} else {
		memmove(data, w->memory + (bus - w->bus), bytes);
	}
	return true;
}

static inline uint8_t *board_target(const struct dma_region *r, uint64_t offset, uint32_t bytes)
{
	BOARD_ASSERT(offset + bytes <= r->bytes);
	return r->board ? (uint8_t *)r->board + offset : NULL;
}

static inline void board_dma_publish(struct board *b, const struct dma_region *r, uint64_t offset,
	const uint64_t *descriptor, unsigned count)
{
	uint64_t *to = (uint64_t *)board_target(r, offset, count * 8);

	b->publications++;
	b->publish_fence = board_fences + 1;
	BOARD_ASSERT(offset % 8 == 0);
	if (!to)
		board_dma_slow(b, r, offset, (void *)(uintptr_t)descriptor, count * 8, DMA_WRITE);
	/* The last first: a consumer must not rely on their order. */
	for (unsigned k = count; to && k-- > 0;)
		__atomic_store_n(&to[k], descriptor[k], __ATOMIC_RELEASE);
}

static inline void board_dma_write32(
	struct board *b, const struct dma_region *r, uint64_t offset, uint32_t value)
{
	uint8_t *to = board_target(r, offset, 4);

	if (to)
		atomic_store_explicit((_Atomic uint32_t *)to, value, memory_order_release);
	else
		board_dma_slow(b, r, offset, &value, 4, DMA_WRITE);
}

static inline void board_dma_write64(
	struct board *b, const struct dma_region *r, uint64_t offset, uint64_t value)
{
	uint8_t *to = board_target(r, offset, 8);

	if (to)
		atomic_store_explicit((_Atomic uint64_t *)to, value, memory_order_release);
	else
		board_dma_slow(b, r, offset, &value, 8, DMA_WRITE);
}

static inline bool board_dma_posts(struct board *b, const struct dma_region *r)
{
	return b->posts;
}

static inline enum dma_status board_dma_read(
	struct board *b, const struct dma_region *r, uint64_t offset, void *data, uint32_t bytes)
{
	uint8_t *from = board_target(r, offset, bytes);

	if (b->slow_bus && r->bus.value == b->slow_bus)
		return DMA_LATER;
	if (b->read_turned && r->bus.value == b->read_turned) {
		memset(data, 0xff, bytes);
		return DMA_DONE;
	}
	if (!from)
		return board_dma_slow(b, r, offset, data, bytes, DMA_READ) ? DMA_DONE : DMA_FAULT;
	memmove(data, from,
		bytes); /* rubbish in its ring to itself: it may read over its own buffer */
	return DMA_DONE;
}

static inline void board_dma_expect(const struct dma_region *r, uint64_t offset)
{
	(void)r, (void)offset;
}

/* The bytes behind the frame that a board may overwrite are overwritten, with rubbish; `word`, if
 * it is not NULL, lies among them. Of a write that fails, write_part bytes arrive. */
static inline void board_write(struct board *b, const struct dma_region *r, uint64_t offset,
	const void *head, uint32_t head_bytes, const uint8_t *data, uint32_t length,
	const uint32_t *word)
{
	uint8_t frame[P2PNIC_BUFFER_BYTES_MAX];
	uint8_t *to = board_target(r, offset, length + 63);
	uint32_t bytes = word ? p2pnic_check_end(length) : length;
	const bool fails = b->write_fails && ++b->writes % b->write_fails == 0;

	BOARD_ASSERT(length >= P2PNIC_FRAME_BYTES_MIN &&
		     length <= P2PNIC_FRAME_BYTES_MAX(b->buffer_bytes));
	BOARD_ASSERT(offset % b->buffer_bytes + length + 63 <= b->buffer_bytes);
	head_bytes = head_bytes < length ? head_bytes : length;
	if (head_bytes)
		memcpy(frame, head, head_bytes);
	memcpy(frame + head_bytes, data + head_bytes, length - head_bytes);
	memset(frame + length, 0xa5, 63);
	if (word)
		memcpy(frame + p2pnic_check_at(length), word, sizeof(*word));
	b->failed_writes += fails;
	if (fails)
		bytes = b->write_part < bytes ? b->write_part : bytes;
	if (to)
		memcpy(to, frame, fails ? bytes : length + 63);
	else if (bytes)
		board_dma_slow(b, r, offset, frame, bytes, DMA_WRITE);
	if (fails && b->write_tail && to)
		memcpy(to + length, frame + length, 63);
}

static inline void board_dma_write_frame(struct board *b, const struct dma_region *r,
	uint64_t offset, const void *head, uint32_t head_bytes, const uint8_t *data,
	uint32_t length)
{
	board_write(b, r, offset, head, head_bytes, data, length, NULL);
}

static inline void board_dma_write_checked(struct board *b, const struct dma_region *r,
	uint64_t offset, const void *head, uint32_t head_bytes, const uint8_t *data,
	uint32_t length, uint32_t word)
{
	board_write(b, r, offset, head, head_bytes, data, length, &word);
}

static inline uint64_t board_clock(struct board *b)
{
	return b->clock_ns;
}

static inline void board_interrupt(struct board *b, unsigned vector)
{
	BOARD_ASSERT(vector < P2PNIC_VECTORS && board_fences >= b->publish_fence);
	b->interrupts[vector]++;
}

#endif
