/* SPDX-License-Identifier: BSD-3-Clause */
#include "burst.h"
#include "filter.h"
#include "nic.h"
#include "punt.h"
#include "resolve.h"

/* --- The host's wishes ------------------------------------------------------------------------ */

static bool is_valid(const struct p2pnic_capture *c)
{
	return !(c->points & ~P2PNIC_CAPTURE_POINTS) && c->snap &&
	       c->snap <= P2PNIC_CAPTURE_SNAP_MAX && c->slots >= P2PNIC_CAPTURE_SLOTS_MIN &&
	       c->slots <= P2PNIC_CAPTURE_SLOTS_MAX && !(c->slots & (c->slots - 1)) &&
	       (!c->instructions || filter_valid(c->filter, c->instructions));
}

static bool resolve_ring(struct nic *n)
{
	struct capture *c = &n->capture;

	return board_dma_resolve(n->board, c->asked.ring, (uint64_t)c->asked.slots * c->slot_bytes,
		DMA_WRITE, &c->ring);
}

enum p2pnic_result capture_use(struct nic *n)
{
	struct capture *c = &n->capture;
	const struct p2pnic_capture before = c->asked;
	const bool was_on = n->captures;

	n->captures = 0;
	__builtin_memcpy(&c->asked, n->bar2 + P2PNIC_BAR2_CAPTURE, sizeof(c->asked));
	__asm__ volatile("" : "+m"(c->asked)); /* read once */
	c->limited = 0;
	if (!was_on || c->asked.ring.value != before.ring.value || c->asked.slots != before.slots ||
		c->asked.snap != before.snap)
		c->records = 0;
	if (!c->asked.points)
		return P2PNIC_OK;
	if (!n->ready)
		return P2PNIC_BAD_STATE;
	if (!is_valid(&c->asked))
		return P2PNIC_BAD_ARGUMENT;
	c->slot_bytes = P2PNIC_CAPTURE_SLOT_BYTES(c->asked.snap);
	if (!resolve_ring(n))
		return P2PNIC_BAD_WINDOW;
	n->captures = (uint8_t)c->asked.points;
	return P2PNIC_OK;
}

void capture_resolve(struct nic *n)
{
	if (n->captures && !resolve_ring(n))
		n->captures = 0;
}

/* --- Records ---------------------------------------------------------------------------------- */

/* The frame is copied at once: its memory may be another's before the record is whole. */
static struct p2pnic_record *begin(
	struct nic *n, unsigned point, const uint8_t *frame, uint32_t length)
{
	struct capture *c = &n->capture;
	struct p2pnic_record *r = &c->next.record;

	if (!c->time_ns)
		c->time_ns = board_clock(n->board);
	*r = (struct p2pnic_record){.time_ns = c->time_ns,
		.length = length,
		.captured = (uint16_t)(length < c->asked.snap ? length : c->asked.snap),
		.point = (uint8_t)point,
		.peer = P2PNIC_RECORD_NONE,
		.verdict = P2PNIC_RECORD_NONE};
	__builtin_memcpy(c->next.frame, frame, r->captured);
	return r;
}

/* The sequence is 0 while the rest is written: so a reader that copies meanwhile finds out. The
 * fence keeps what follows behind it. */
static void end(struct nic *n)
{
	struct capture *c = &n->capture;
	const uint64_t at = (c->records & (c->asked.slots - 1)) * c->slot_bytes;

	board_dma_write64(n->board, &c->ring, at, 0);
	atomic_thread_fence(memory_order_release);
	board_dma_publish(n->board, &c->ring, at, (const uint64_t *)(const void *)&c->next,
		(unsigned)(sizeof(c->next.record) + c->next.record.captured + 7) / 8);
	board_dma_write64(n->board, &c->ring, at, ++c->records);
	if (c->next.record.point != P2PNIC_CAPTURE_FOLLOW && ++c->limited == c->asked.limit)
		n->captures &= P2PNIC_CAPTURE_FOLLOW;
}

/* --- Ingress ---------------------------------------------------------------------------------- */

/* As it was received, before a tag was taken out or put in. */
static uint8_t *received(const struct burst *b, unsigned k, uint32_t *length)
{
	*length = b->frame[k].length + (b->popped >> k & 1 ? P2PNIC_TAG_BYTES : 0);
	return b->frame[k].data - burst_moved(b, k);
}

uint64_t capture_accepts(const struct nic *n, const struct frame *frame, unsigned frames)
{
	const struct p2pnic_capture *asked = &n->capture.asked;

	return asked->instructions ? filter_run(asked->filter, asked->instructions, frame, frames)
				   : ~0ull;
}

uint64_t capture_match(struct nic *n, const struct burst *b)
{
	struct frame frame[P2PNIC_BURST_MAX];

	n->capture.time_ns = 0;
	if (likely(!(b->popped | b->pushed)))
		return capture_accepts(n, b->frame, b->frames);
	for (unsigned k = 0; k < b->frames; k++)
		frame[k].data = received(b, k, &frame[k].length);
	return capture_accepts(n, frame, b->frames);
}

/* What the lookup found. False: it was not looked up. */
static bool next_hop_of(const struct burst *b, unsigned k, uint16_t *hop)
{
	for (unsigned j = 0; j < b->n4; j++)
		if (b->index4[j] == k) {
			*hop = b->hop4[j];
			return true;
		}
	for (unsigned j = 0; j < b->n6; j++)
		if (b->index6[j] == k) {
			*hop = b->hop6[j];
			return true;
		}
	for (unsigned j = 0; j < b->specials; j++)
		if (b->special[j].frame == k) {
			*hop = b->special[j].hop;
			return true;
		}
	return false;
}

void capture_begin(struct nic *n, const struct burst *b, unsigned k)
{
	uint32_t length;
	const uint8_t *frame = received(b, k, &length);
	struct p2pnic_record *r =
		begin(n, n->captures & P2PNIC_CAPTURE_RX ? P2PNIC_CAPTURE_RX : P2PNIC_CAPTURE_DROP,
			frame, length);

	if (n->ingress == P2PNIC_INGRESS_FORWARD && next_hop_of(b, k, &r->next_hop)) {
		r->looked_up = 1;
		resolve_again(n, b, k, r->next_hop, &r->flow, &r->adjacency);
	}
	if (b->egress[k] == BURST_NOWHERE) {
		r->verdict = (uint8_t)VERDICT_REASON(b->verdict[k]);
		r->punt_class = (uint8_t)punt_class(b, k);
	}
	n->dropped_as = P2PNIC_DROP_COUNT;
}

/* A frame that is dropped on its way to a ring is in none, though there was one for it. */
void capture_end(struct nic *n, unsigned peer, bool held)
{
	struct p2pnic_record *r = &n->capture.next.record;
	const bool dropped = n->dropped_as != P2PNIC_DROP_COUNT;

	if (peer != BURST_NOWHERE) {
		r->peer = (uint8_t)peer;
		r->index = n->out[peer].produced - 1;
		r->epoch = n->out[peer].epoch;
	}
	if (dropped) {
		r->outcome = P2PNIC_OUTCOME_DROPPED;
		r->reason = n->dropped_as;
	} else if (peer >= P2PNIC_NICS_MAX) {
		/* Only a redirect is punted without a verdict. */
		if (r->verdict == P2PNIC_RECORD_NONE) {
			r->verdict = P2PNIC_DROP_REDIRECT;
			r->punt_class = P2PNIC_PUNT_EXCEPTION;
		}
		r->outcome = P2PNIC_OUTCOME_PUNTED;
		r->reason = r->verdict;
	} else {
		r->outcome = held ? P2PNIC_OUTCOME_HELD : P2PNIC_OUTCOME_SENT;
	}
	if (n->captures & P2PNIC_CAPTURE_RX || (n->captures & P2PNIC_CAPTURE_DROP && dropped &&
						       n->capture.asked.reasons >> r->reason & 1))
		end(n);
}

/* --- Egress ----------------------------------------------------------------------------------- */

static void out_of_ring(const struct nic *n, struct p2pnic_record *r, const struct capture_frame *f)
{
	r->peer = (uint8_t)f->peer;
	r->index = n->in[f->peer].dequeued + f->k;
	r->epoch = n->in[f->peer].epoch;
}

void capture_sent(struct nic *n, const struct capture_frame *f)
{
	unsigned point = 0;

	if (n->captures & P2PNIC_CAPTURE_TX && f->accepted)
		point = P2PNIC_CAPTURE_TX;
	if (n->captures & P2PNIC_CAPTURE_FOLLOW && f->peer < P2PNIC_NICS_MAX && f->marked)
		point = P2PNIC_CAPTURE_FOLLOW;
	if (!point)
		return;
	out_of_ring(n, begin(n, point, f->frame->data, f->frame->length), f);
	end(n);
}

void capture_refused(struct nic *n, const struct capture_frame *f, enum p2pnic_drop reason)
{
	struct p2pnic_record *r;

	if (!(n->captures & P2PNIC_CAPTURE_DROP) || !(n->capture.asked.reasons >> reason & 1) ||
		!f->accepted)
		return;
	r = begin(n, P2PNIC_CAPTURE_DROP, f->frame->data, f->frame->length);
	r->outcome = P2PNIC_OUTCOME_DROPPED;
	r->reason = (uint8_t)reason;
	out_of_ring(n, r, f);
	end(n);
}
