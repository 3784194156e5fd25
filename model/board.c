/* SPDX-License-Identifier: BSD-3-Clause */
#include "model/board.h"

#include "firmware/board.h"

#include <string.h>

int model_board_window(struct board *b, uint64_t bus, uint8_t *memory, uint64_t bytes)
{
	if (b->windows == MODEL_WINDOWS)
		return -1;
	b->window[b->windows] = (struct model_window){.bus = bus, .bytes = bytes, .memory = memory};
	return (int)b->windows++;
}

void model_board_land(struct model_window *w, unsigned n)
{
	for (; n && w->landed != w->written; n--) {
		const struct model_word *d = &w->later[w->landed++ & w->later_mask];

		memcpy(d->to, &d->word, sizeof(d->word));
	}
}

static void record(struct board *b, struct model_operation operation)
{
	b->count[operation.kind]++;
	if (b->operations < MODEL_OPERATIONS)
		b->operation[b->operations++] = operation;
	else
		b->lost++;
}

/* --- The port --------------------------------------------------------------------------------- */

unsigned board_receive(struct board *b, struct frame *frames, unsigned max)
{
	unsigned n = b->waiting < max ? b->waiting : max;

	n = n < b->buffers ? n : b->buffers;
	for (unsigned k = 0; k < n; k++)
		frames[k] = (struct frame){
			b->packets + b->buffer[(b->next + k) % b->buffers], b->length};
	b->burst = n;
	b->waiting -= n;
	return n;
}

/* The spare buffer takes the kept one's place, and a copy of its header: it is the next to come. */
void board_keep(struct board *b, const uint8_t *frame, unsigned n, uint32_t *at)
{
	for (unsigned k = 0; k < n; k++) {
		uint32_t *mine = &b->buffer[(b->next + frame[k]) % b->buffers];
		const uint32_t kept = *mine;

		memcpy(b->packets + at[k], b->packets + kept, 128);
		*mine = at[k];
		at[k] = kept;
	}
}

void board_release(struct board *b)
{
	if (b->burst)
		b->next = (b->next + b->burst) % b->buffers;
	b->burst = 0;
}

unsigned board_transmit(struct board *b, const struct p2pnic_descriptor *frames, unsigned n)
{
	record(b, (struct model_operation){MODEL_SEND, .times = n});
	b->sent += n;
	return n;
}

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

void board_flush(struct board *b)
{
}

void board_notify(struct board *b)
{
}

unsigned board_transmitted(struct board *b, uint64_t *failed)
{
	const unsigned n = b->sent;

	b->sent = 0;
	return n;
}

bool board_port_arm(struct board *b)
{
	return b->waiting > 0;
}

void board_port_disarm(struct board *b)
{
}

int board_port_start(struct board *b, const uint32_t *buffers, unsigned n)
{
	b->buffers = n < MODEL_BUFFERS ? n : MODEL_BUFFERS;
	memcpy(b->buffer, buffers, b->buffers * sizeof(*buffers));
	b->next = 0;
	return (int)b->buffers;
}

unsigned board_port_stop(struct board *b, uint32_t *buffers)
{
	const unsigned n = b->buffers;

	memcpy(buffers, b->buffer, n * sizeof(*buffers));
	b->buffers = 0;
	return n;
}

/* --- DMA -------------------------------------------------------------------------------------- */

bool board_dma_resolve(struct board *b, struct bus_addr bus, uint64_t bytes, unsigned access,
	struct dma_region *region)
{
	*region = (struct dma_region){0};
	for (unsigned k = 0; k < b->windows; k++) {
		const struct model_window *w = &b->window[k];
		const uint64_t offset = bus.value - w->bus;

		if (bus.value < w->bus || bytes > w->bytes || offset > w->bytes - bytes)
			continue;
		*region = (struct dma_region){bus, bytes, (void *)w};
		return true;
	}
	return false;
}

/* Where an access of the region lies; records it. NULL: a fault, counted. */
static uint8_t *board_access(struct board *b, const struct dma_region *r, uint64_t offset,
	uint32_t bytes, enum model_kind kind)
{
	const struct model_window *w = r->board;

	if (!w || bytes > r->bytes || offset > r->bytes - bytes) {
		b->faults++;
		return NULL;
	}
	record(b, (struct model_operation){
			  kind, .window = (unsigned)(w - b->window), .bytes = bytes});
	return w->memory + (r->bus.value - w->bus) + offset;
}

static void board_write(struct board *b, const struct dma_region *r, uint64_t offset,
	const void *data, uint32_t bytes, enum model_kind kind)
{
	uint8_t *to = board_access(b, r, offset, bytes, kind);

	if (to)
		memcpy(to, data, bytes);
}

void board_dma_publish(struct board *b, const struct dma_region *r, uint64_t offset,
	const uint64_t *descriptor, unsigned count)
{
	struct model_window *w = (struct model_window *)r->board;
	uint8_t *to = board_access(b, r, offset, count * 8, MODEL_PUBLISH);

	for (unsigned k = 0; to && k < count; k++) {
		if (w->later)
			w->later[w->written++ & w->later_mask] =
				(struct model_word){to + 8ull * k, descriptor[k]};
		else
			memcpy(to + 8ull * k, &descriptor[k], 8);
	}
}

void board_dma_write32(struct board *b, const struct dma_region *r, uint64_t offset, uint32_t value)
{
	board_write(b, r, offset, &value, sizeof(value), MODEL_WORD);
}

void board_dma_write64(struct board *b, const struct dma_region *r, uint64_t offset, uint64_t value)
{
	board_write(b, r, offset, &value, sizeof(value), MODEL_WORD);
}

enum dma_status board_dma_read(
	struct board *b, const struct dma_region *r, uint64_t offset, void *data, uint32_t bytes)
{
	const uint8_t *from = board_access(b, r, offset, bytes, MODEL_READ);

	if (!from) {
		memset(data, 0, bytes);
		return DMA_FAULT;
	}
	memcpy(data, from, bytes);
	return DMA_DONE;
}

bool board_dma_posts(struct board *b, const struct dma_region *r)
{
	return false;
}

void board_dma_expect(const struct dma_region *r, uint64_t offset)
{
}

/* A frame, with or without the word of its check behind it, in one write. */
static void board_write_frame(struct board *b, const struct dma_region *r, uint64_t offset,
	const void *head, uint32_t head_bytes, const uint8_t *data, uint32_t length,
	const uint32_t *word)
{
	const uint32_t bytes = word ? p2pnic_check_end(length) : length;
	uint8_t *to = board_access(b, r, offset, bytes, MODEL_FRAME);

	if (!to)
		return;
	head_bytes = head_bytes < length ? head_bytes : length;
	if (head_bytes)
		memcpy(to, head, head_bytes);
	memcpy(to + head_bytes, data + head_bytes, length - head_bytes);
	if (word)
		memcpy(to + p2pnic_check_at(length), word, sizeof(*word));
}

void board_dma_write_frame(struct board *b, const struct dma_region *r, uint64_t offset,
	const void *head, uint32_t head_bytes, const uint8_t *data, uint32_t length)
{
	board_write_frame(b, r, offset, head, head_bytes, data, length, NULL);
}

void board_dma_write_checked(struct board *b, const struct dma_region *r, uint64_t offset,
	const void *head, uint32_t head_bytes, const uint8_t *data, uint32_t length, uint32_t word)
{
	board_write_frame(b, r, offset, head, head_bytes, data, length, &word);
}

uint64_t board_clock(struct board *b)
{
	return b->clock_ns;
}

void board_interrupt(struct board *b, unsigned vector)
{
}

void board_cost(struct board *b, enum board_cost what, unsigned times)
{
	if (!times)
		return;
	b->cost[what] += times;
	record(b, (struct model_operation){MODEL_COST, .what = what, .times = times});
}
