/* SPDX-License-Identifier: BSD-3-Clause */
#include "nic.h"

#include "burst.h"
#include "kernel.h"

static inline uint32_t least(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

static inline uint32_t buffer_of(const struct nic *n, uint32_t offset)
{
	return offset & ~(n->buffer_bytes - 1);
}

/* One word: three fields would have to be put together again by whoever reads it as one. */
static inline uint64_t descriptor_word(uint32_t offset, uint32_t length, uint16_t flags)
{
	return offset | (uint64_t)length << 32 | (uint64_t)flags << 48;
}

/* --- Publishing ------------------------------------------------------------------------------- */

/* Writes the descriptors [published, produced) in one piece, or two where the ring wraps. */
static void publish(struct nic *n, struct ring_out *out)
{
	uint32_t pending = out->produced - out->published;
	uint32_t slot = out->published & out->mask;
	uint32_t run = least(pending, out->mask + 1 - slot);
	const uint64_t descriptors = offsetof(struct p2pnic_mailbox, descriptor);

	board_dma_publish(n->board, &out->mailbox, descriptors + slot * 8ull, out->batch_word, run);
	if (unlikely(pending > run))
		board_dma_publish(
			n->board, &out->mailbox, descriptors, out->batch_word + run, pending - run);
	out->published = out->produced;
}

/* Of the next descriptor: what marks it as new. */
static inline uint16_t next_tag(const struct ring_out *out)
{
	return p2pnic_tag(out->epoch, out->produced, out->mask + 1);
}

static inline void mark_dirty(struct nic *n, unsigned peer)
{
	if (!n->out[peer].dirty) {
		n->out[peer].dirty = true;
		n->dirty_peer[n->dirty++] = (uint8_t)peer;
	}
}

static void wake(struct nic *n, unsigned peer)
{
	const struct ring_out *out = &n->out[peer];

	if (peer >= P2PNIC_NICS_MAX)
		board_interrupt(n->board, P2PNIC_VECTOR_HOST_RING(peer - P2PNIC_NICS_MAX));
	else if (out->doorbell.bytes)
		board_dma_write32(n->board, &out->doorbell, 0, 1);
	else
		return;
	count(&n->counters->doorbells, 1);
}

/* Not P2PNIC_LINK_UP: what it has in its ring and in its port is more than enough. */
/* New packets queue behind held ones; none are taken without a carrier. Those meet find_room. */
static inline void set_limit(struct ring_out *out)
{
	out->limit =
		out->held || ring_out_link(out) ? out->produced : out->consumed + out->capacity;
}

static inline void count_traffic(struct nic *n, unsigned peer)
{
	struct ring_out *out = &n->out[peer];
	struct p2pnic_traffic *t =
		peer >= P2PNIC_NICS_MAX ? &n->counters->punted : &n->counters->to_ring[peer];

	board_cost(n->board, BOARD_COST_COUNTER, 2);
	count(&t->packets, out->produced - out->counted);
	count(&t->bytes, out->bytes);
	out->counted = out->produced;
	out->bytes = 0;
}

void rings_publish(struct nic *n)
{
	if (!n->dirty)
		return;
	for (unsigned k = 0; k < n->dirty; k++) {
		struct ring_out *out = &n->out[n->dirty_peer[k]];

		if (out->produced != out->published)
			publish(n, out);
		count_traffic(n, n->dirty_peer[k]);
		if (n->writes && out->open && out->produced - out->consumed >= RING_RECLAIM_FROM)
			ring_out_reclaim(n, out);
		if (unlikely(ring_out_link(out)))
			out->limit = out->produced;
	}
	n->published = true;
}

/* A ring that has got a full burst since rings_publish is left to the next one. */
void rings_wake(struct nic *n)
{
	unsigned left = 0;

	board_cost(n->board, BOARD_COST_POLL, n->dirty); /* whether they sleep */
	for (unsigned k = 0; k < n->dirty; k++) {
		unsigned peer = n->dirty_peer[k];
		struct ring_out *out = &n->out[peer];

		if (unlikely(out->counted != out->produced)) {
			n->dirty_peer[left++] = (uint8_t)peer;
			continue;
		}
		out->dirty = false;
		if (unlikely(atomic_load_explicit(out->asleep, memory_order_relaxed)))
			wake(n, peer);
	}
	n->dirty = (uint8_t)left;
}

/* --- Buffers ---------------------------------------------------------------------------------- */

/* What a full burst has left, and nobody was told of. */
static void discard_pending(struct nic *n, struct ring_out *out)
{
	count_drop(n, P2PNIC_DROP_STALE, out->produced - out->published);
	while (out->produced != out->published) {
		uint64_t word = out->batch_word[--out->produced - out->published];

		uint32_t buffer = out->slot_buffer[out->produced & out->mask];

		out->bytes -= (uint16_t)(word >> 32);
		count_lent(n, out, -(int32_t)(buffer & RING_LENT));
		if (!n->writes || buffer & RING_LENT)
			n->free[n->frees++] = buffer & ~RING_LENT;
	}
}

static void discard(struct nic *n, struct ring_out *out)
{
	discard_pending(n, out);
	count_drop(n, P2PNIC_DROP_STALE, out->held);
	n->held -= out->held;
	for (; out->held; out->held--) {
		n->free[n->frees++] = buffer_of(n, out->hold[out->hold_head].offset);
		out->hold_head = (out->hold_head + 1) % RING_HOLD_MAX;
	}
}

/* The next buffers that come back, where all that is outstanding is the peer's (Wr, Bn; Hy: nothing
 * is lent), or all of it is own (Rd; Hy: all is lent). */
static void free_alike(struct nic *n, struct ring_out *out, uint32_t back)
{
	const bool own = !n->writes || out->lent;
	uint32_t slot = out->consumed & out->mask;
	uint32_t run = least(back, out->mask + 1 - slot);
	uint32_t *to = own ? n->free + n->frees : out->peer_free + (out->written - back);

	n->kernel->copy(to, out->slot_buffer + slot, run);
	if (unlikely(back > run))
		n->kernel->copy(to + run, out->slot_buffer, back - run);
	if (!own) {
		out->written -= back;
		return;
	}
	n->frees += back;
	if (!out->lent)
		return;
	for (uint32_t k = 0; k < back; k++)
		to[k] &= ~RING_LENT;
	count_lent(n, out, -(int32_t)back);
}

/* Hy: some of each kind. */
static void free_mixed(struct nic *n, struct ring_out *out, uint32_t back)
{
	for (uint32_t k = 0; k < back; k++) {
		uint32_t buffer = out->slot_buffer[(out->consumed + k) & out->mask];

		if (buffer & RING_LENT) {
			n->free[n->frees++] = buffer & ~RING_LENT;
			count_lent(n, out, -1);
		} else {
			out->peer_free[--out->written] = buffer;
		}
	}
}

/* Acquire: pairs with the peer's dma_write64, so a buffer is not written again before the egress
 * NIC has done with it. */
void ring_out_reclaim(struct nic *n, struct ring_out *out)
{
	uint64_t word = atomic_load_explicit(out->consumer, memory_order_acquire);
	uint32_t index = P2PNIC_RING_INDEX(word);

	if (P2PNIC_RING_EPOCH(word) != out->epoch)
		index = out->consumed; /* nothing consumed in this life yet */
	board_cost(n->board, BOARD_COST_POLL, 1);
	if (unlikely(index - out->consumed > out->published - out->consumed)) {
		/* Its peer lies; until the pair is opened again, packets for it are dropped. */
		count(&n->counters->bad_words, 1);
		mark_given_up(n, (unsigned)(out - n->out), true);
		out->open = false;
		discard(n, out);
		out->limit = out->produced;
		return;
	}
	board_cost(n->board, BOARD_COST_BUFFER, BOARD_COST_LINES(index - out->consumed, 4));
	if (!out->lent || out->lent == out->produced - out->consumed)
		free_alike(n, out, index - out->consumed);
	else
		free_mixed(n, out, index - out->consumed);
	out->consumed = index;
	set_limit(out);
}

/*
 * Own free buffers have up to three uses, and each leaves some to those it must not starve: held
 * packets to packets enqueued to a ring that has room (Rd), and both to packets that the egress
 * fetches (Rd, Bn). Without the last, two NICs that have lent each other all their buffers would
 * wait for ever.
 */
static inline uint32_t reserve_of(const struct nic *n)
{
	return n->reads || n->lends ? n->rx_buffers / 16 : 0;
}

/* Keeps the first frames in own memory, as far as more than `reserve` buffers are free. at[]: where
 * they are; their heads there are as received. Returns how many. */
static uint32_t keep_frames(
	struct nic *n, const uint8_t *frames, uint32_t count, uint32_t reserve, uint32_t *at)
{
	uint32_t kept = n->frees > reserve ? least(count, n->frees - reserve) : 0;

	board_cost(n->board, BOARD_COST_BUFFER, BOARD_COST_LINES(kept, 4));
	n->frees -= kept;
	__builtin_memcpy(at, n->free + n->frees, kept * sizeof(*at));
	board_keep(n->board, frames, kept, at);
	return kept;
}

static inline void put_head(uint8_t *frame, const struct frame_head *head)
{
	__builtin_memcpy(frame, head, sizeof(*head));
}

/* Where a kept frame begins that has lost a tag, or has got one. Where a port has left no room in
 * front of it (memif) the frame moves. */
static __attribute__((noinline)) uint32_t move_begin(
	struct nic *n, const struct burst *b, unsigned k, uint32_t at, uint32_t length)
{
	const int32_t moved = burst_moved(b, k);

	if (moved < 0 && at - buffer_of(n, at) < P2PNIC_TAG_BYTES) {
		__builtin_memmove(n->bar4 + at + 64, n->bar4 + at, length);
		at += 64;
	}
	return at + (uint32_t)moved;
}

static inline bool has_tags(const struct burst *b)
{
	return b->popped | b->pushed;
}

/*
 * Where in a buffer a frame begins. Buffers are 2 KiB or more apart, so frames that all began at
 * offset 0 would share a few sets of the cache; sixteen begins, which peer_free[] has, spread short
 * frames, four spread long ones.
 */
static inline uint32_t begins_for(uint32_t longest)
{
	return longest < 1024 ? ~0u : ~0x300u;
}

/* --- Checks ----------------------------------------------------------------------------------- */

/* Of the frame with that index, when it has its place. */
static inline uint32_t check_word(const struct nic *n, const struct ring_out *out, uint32_t index,
	const uint8_t *frame, uint32_t length)
{
	uint32_t stamp = p2pnic_stamp(out->epoch, index);

	return out->check == P2PNIC_CHECK_CRC ? n->kernel->crc(stamp, frame, length) : stamp;
}

/* Wr, Bn: writes a frame and its word. */
static inline void write_checked(struct nic *n, const struct ring_out *out, uint32_t index,
	uint32_t offset, const void *head, uint32_t head_bytes, const uint8_t *data,
	uint32_t length)
{
	if (out->check == P2PNIC_CHECK_CRC) {
		head_bytes = least(head_bytes, length);
		if (head_bytes)
			__builtin_memcpy(n->staging, head, head_bytes);
		__builtin_memcpy(n->staging + head_bytes, data + head_bytes, length - head_bytes);
		head_bytes = 0;
		data = n->staging;
	}
	board_dma_write_checked(n->board, &out->buffers, offset, head, head_bytes, data, length,
		check_word(n, out, index, data, length));
}

/* Rd: puts the word behind a frame that is kept. Without room for it the frame is too long for this
 * ring, and its consumer refuses it. */
static void put_word(
	struct nic *n, const struct ring_out *out, uint32_t index, uint32_t at, uint32_t length)
{
	uint8_t *frame = n->bar4 + at;

	if (at - buffer_of(n, at) + p2pnic_check_end(length) > n->buffer_bytes)
		return;
	uint32_t word = check_word(n, out, index, frame, length);

	__builtin_memcpy(frame + p2pnic_check_at(length), &word, sizeof(word));
}

/* --- Held packets ----------------------------------------------------------------------------- */

void ring_out_close(struct nic *n, unsigned peer)
{
	struct ring_out *out = &n->out[peer];
	unsigned at = 0;

	discard(n, out);
	count_traffic(n, peer);
	if (!out->dirty)
		return;
	out->dirty = false;
	while (n->dirty_peer[at] != peer) /* it is there: it was dirty */
		at++;
	n->dirty_peer[at] = n->dirty_peer[--n->dirty];
}

/* The ring is full: the packet waits in own memory, up to a limit that leaves room for other
 * egresses. Nothing waits for the host: a driver that has died would keep the NIC awake and its
 * buffers occupied. */
static void hold(struct nic *n, const struct burst *b, unsigned peer, uint8_t frame,
	uint32_t length, uint16_t flags)
{
	struct ring_out *out = &n->out[peer];
	uint32_t at;

	if (peer >= P2PNIC_NICS_MAX) {
		count_drop(n, P2PNIC_DROP_PUNT_FULL, 1);
		return;
	}
	if (out->held == RING_HOLD_MAX || out->held * 4 >= n->rx_buffers) {
		count_drop(n, P2PNIC_DROP_RING_FULL, 1);
		return;
	}
	if (!keep_frames(n, &frame, 1, reserve_of(n) * 2, &at)) {
		count_drop(n, P2PNIC_DROP_NO_BUFFER, 1);
		return;
	}
	if (unlikely(has_tags(b)))
		at = move_begin(n, b, frame, at, length);
	put_head(n->bar4 + at, &b->head[frame]);
	out->hold[(out->hold_head + out->held++) % RING_HOLD_MAX] =
		(struct p2pnic_descriptor){at, (uint16_t)length, flags};
	n->held++;
}

/* A held packet goes where a new one would: Wr, Bn: into a buffer of the peer. Returns its offset
 * as the peer counts. */
static uint32_t place_held(struct nic *n, struct ring_out *out, struct p2pnic_descriptor d)
{
	uint32_t slot = out->produced & out->mask;

	if (!n->writes) {
		out->slot_buffer[slot] = buffer_of(n, d.offset);
		if (out->check)
			put_word(n, out, out->produced, d.offset, d.length);
		return d.offset;
	}
	if (d.length >= out->lend_from) {
		out->slot_buffer[slot] = buffer_of(n, d.offset) | RING_LENT;
		count_lent(n, out, 1);
		return out->lent_offset + d.offset;
	}
	out->slot_buffer[slot] = out->peer_free[out->written++];
	uint32_t offset = out->slot_buffer[slot] & begins_for(d.length);

	if (out->check)
		write_checked(n, out, out->produced, offset, NULL, 0, n->bar4 + d.offset, d.length);
	else
		board_dma_write_frame(
			n->board, &out->buffers, offset, NULL, 0, n->bar4 + d.offset, d.length);
	n->free[n->frees++] = buffer_of(n, d.offset);
	return offset;
}

void ring_out_drain(struct nic *n, unsigned peer)
{
	struct ring_out *out = &n->out[peer];

	ring_out_reclaim(n, out);
	if (!out->open)
		return;
	mark_dirty(n, peer);
	out->limit = out->consumed + out->capacity;
	while (out->held && out->produced != out->limit) {
		struct p2pnic_descriptor d = out->hold[out->hold_head];
		uint64_t word =
			descriptor_word(place_held(n, out, d), d.length, d.flags | next_tag(out));

		out->batch_word[out->produced++ - out->published] = word;
		out->bytes += d.length;
		if (out->produced - out->published >= out->batch)
			publish(n, out);
		out->hold_head = (out->hold_head + 1) % RING_HOLD_MAX;
		out->held--;
		n->held--;
	}
	set_limit(out);
}

/* --- Enqueueing ------------------------------------------------------------------------------- */

/* Rd, Hy: keeps frames in own memory, and puts their descriptors into the ring; of how many. */
static uint32_t enqueue_kept(struct nic *n, const struct burst *b, struct ring_out *out,
	const uint8_t *frames, const uint32_t *length, unsigned count, uint16_t flags)
{
	const uint32_t mark = n->writes ? RING_LENT : 0, begin = n->writes ? out->lent_offset : 0;
	const uint32_t buffers = buffer_of(n, ~0u);
	uint32_t at[P2PNIC_BURST_MAX], bytes = 0;
	/* With a reserve always, as Rd reads: the other way of reserve_of is for hold(). */
	const uint32_t kept = keep_frames(n, frames, count, reserve_of(n), at);
	uint32_t *buffer = out->slot_buffer + (out->produced & out->mask);
	uint64_t *word = out->batch_word + (out->produced - out->published);
	uint8_t *const memory = n->bar4;

	for (uint32_t i = 0; unlikely(has_tags(b)) && i < kept; i++)
		at[i] = move_begin(n, b, frames[i], at[i], length[i]);
	for (uint32_t i = 0; i < kept; i++)
		put_head(memory + at[i], &b->head[frames[i]]);
	/* A loop of its own: the compiler makes vectors of it. */
	for (uint32_t i = 0; i < kept; i++) {
		buffer[i] = (at[i] & buffers) | mark;
		word[i] = descriptor_word(begin + at[i], length[i], flags);
		bytes += length[i];
	}
	out->produced += kept;
	out->bytes += bytes;
	count_lent(n, out, n->writes ? (int32_t)kept : 0);
	for (uint32_t i = 0; out->check && i < kept; i++)
		put_word(n, out, out->produced - kept + i, at[i], length[i]);
	return kept;
}

/* The one copy. A function of its own: all it needs stays in registers. */
static __attribute__((noinline)) void write_frames(struct board *board,
	const struct dma_region *region, const uint32_t *peer_free, uint32_t begins,
	const struct burst *b, const uint8_t *frames, const uint32_t *length, unsigned count)
{
	const struct dma_region buffers = *region;

	for (unsigned i = 0; i < count; i++) {
		unsigned k = frames[i];

		board_dma_expect(&buffers, peer_free[i + RING_EXPECT_AHEAD] & begins);
		board_dma_write_frame(board, &buffers, peer_free[i] & begins, &b->head[k],
			FRAME_HEAD_BYTES, b->frame[k].data, length[i]);
	}
}

/* The same, with checks. */
static __attribute__((noinline)) void write_frames_checked(struct nic *n,
	const struct ring_out *out, const uint32_t *peer_free, uint32_t begins,
	const struct burst *b, const uint8_t *frames, const uint32_t *length, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		unsigned k = frames[i];

		board_dma_expect(&out->buffers, peer_free[i + RING_EXPECT_AHEAD] & begins);
		write_checked(n, out, out->produced + i, peer_free[i] & begins, &b->head[k],
			FRAME_HEAD_BYTES, b->frame[k].data, length[i]);
	}
}

/* Wr, Bn: writes frames into the peer's buffers, and puts their descriptors into the ring. */
static void enqueue_written(struct nic *n, const struct burst *b, struct ring_out *out,
	const uint8_t *frames, const uint32_t *length, unsigned count, uint16_t flags)
{
	const uint32_t *peer_free = out->peer_free + out->written;
	uint32_t begins = begins_for(b->lengths);

	board_cost(n->board, BOARD_COST_BUFFER, BOARD_COST_LINES(count, 4));
	out->bytes += n->kernel->describe(peer_free, length, count, begins, flags,
		out->slot_buffer + (out->produced & out->mask),
		out->batch_word + (out->produced - out->published));
	if (unlikely(out->check))
		write_frames_checked(n, out, peer_free, begins, b, frames, length, count);
	else
		write_frames(n->board, &out->buffers, peer_free, begins, b, frames, length, count);
	out->produced += count;
	out->written += count;
}

/* Rd: what finds no own buffer is dropped. */
static void enqueue_or_drop(struct nic *n, const struct burst *b, struct ring_out *out,
	const uint8_t *frames, const uint32_t *length, unsigned count, uint16_t flags)
{
	uint32_t kept = enqueue_kept(n, b, out, frames, length, count, flags);

	if (unlikely(kept < count))
		count_drop(n, P2PNIC_DROP_NO_BUFFER, count - kept);
}

/* Hy: frames of one kind, long or short, from the first on. */
static unsigned alike(const struct ring_out *out, const uint32_t *length, unsigned count)
{
	const uint32_t lend_from = out->lend_from;
	const bool lend = length[0] >= lend_from;
	unsigned differ = 0, k = 1;

	/* Mostly all frames are of one kind. A loop without a branch: the compiler makes vectors
	 * of it. */
	for (unsigned i = 0; i < count; i++)
		differ += (length[i] >= lend_from) ^ lend;
	if (!differ)
		return count;
	while (k < count && (length[k] >= lend_from) == lend)
		k++;
	return k;
}

/* Hy: a long frame that finds no own buffer is written. */
static void enqueue_lent(struct nic *n, const struct burst *b, struct ring_out *out,
	const uint8_t *frames, const uint32_t *length, unsigned count, uint16_t flags)
{
	uint32_t kept = 0;

	if (length[0] >= out->lend_from)
		kept = enqueue_kept(n, b, out, frames, length, count, flags);
	if (kept < count)
		enqueue_written(n, b, out, frames + kept, length + kept, count - kept, flags);
}

/* There was no room for a frame. True: now there is. Else it is held, or dropped. */
static __attribute__((noinline)) bool find_room(struct nic *n, const struct burst *b, unsigned peer,
	uint8_t frame, uint32_t length, uint16_t flags)
{
	struct ring_out *out = &n->out[peer];

	if (out->open)
		ring_out_reclaim(n, out);
	if (!out->open || ring_out_link(out) == P2PNIC_LINK_GIVEN_UP)
		count_drop(n, P2PNIC_DROP_NO_PEER, 1);
	else if (ring_out_link(out))
		count_drop(n, P2PNIC_DROP_LINK_DOWN, 1);
	else if (out->produced == out->limit)
		hold(n, b, peer, frame, length, flags);
	return out->produced != out->limit;
}

void ring_out_enqueue(struct nic *n, const struct burst *b, unsigned peer,
	const struct selection *s, uint16_t flags)
{
	struct ring_out *out = &n->out[peer];
	unsigned run;

	for (unsigned i = 0; i < s->count; i += run) {
		run = 1;
		if (unlikely(out->produced == out->limit) &&
			!find_room(n, b, peer, s->frame[i], s->length[i], flags))
			continue;
		/* There is room for all of them, in one piece, and in the batch. */
		run = least(s->count - i, out->limit - out->produced);
		run = least(run, out->batch - (out->produced - out->published));
		run = least(run, out->mask + 1 - (out->produced & out->mask));
		mark_dirty(n, peer);
		uint16_t tagged = flags | next_tag(out);

		/* b->lengths: no frame is longer. */
		if (likely(n->writes && b->lengths < out->lend_from)) {
			enqueue_written(n, b, out, s->frame + i, s->length + i, run, tagged);
		} else if (n->writes) {
			run = alike(out, s->length + i, run);
			enqueue_lent(n, b, out, s->frame + i, s->length + i, run, tagged);
		} else {
			enqueue_or_drop(n, b, out, s->frame + i, s->length + i, run, tagged);
		}
		if (out->produced - out->published == out->batch)
			publish(n, out);
	}
}
