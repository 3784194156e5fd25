/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The path of a packet, second half: from the rings in own memory to the port, and completions
 * back.
 *
 * Frames given to the port are remembered as runs (so many frames of that ring), oldest first. The
 * port reports frames done with in the same order, which turns runs into consumer words. A
 * descriptor that is refused becomes a run of its own, so that completions keep the ring's order.
 *
 * Rd, Hy: a port that can send from the memory in which a packet lies does so, and nothing is
 * copied (board_reach); for others it is fetched first.
 */
#include "nic.h"

#include "kernel.h"

static void run_push(struct nic *n, unsigned peer, unsigned kind, unsigned frames)
{
	struct nic_run *last = &n->run[(n->run_tail - 1) % NIC_FLIGHT_MAX];

	/* At most so many are sent and not done, and less are skipped: a ring has fewer slots. */
	_Static_assert(NIC_FLIGHT_MAX <= UINT16_MAX, "a run counts all frames in flight");
	if (n->run_tail != n->run_head && last->peer == peer && last->kind == kind)
		last->count = (uint16_t)(last->count + frames);
	else
		n->run[n->run_tail++ % NIC_FLIGHT_MAX] =
			(struct nic_run){(uint8_t)peer, (uint8_t)kind, (uint16_t)frames};
}

/* What lies behind a frame is fetched with it. */
static inline uint32_t fetched_bytes(const struct ring_in *in, uint32_t length)
{
	return in->check ? p2pnic_check_end(length) : length;
}

/* Rd, Bn, Hy: a packet in another's memory, from which the port cannot send, is fetched into an own
 * buffer. `d` is changed to where it lies then. */
static enum dma_status fetch(struct nic *n, struct ring_in *in, struct p2pnic_descriptor *d)
{
	uint32_t buffer;
	enum dma_status status;

	if (!n->frees)
		return DMA_LATER;
	buffer = n->free[n->frees - 1];
	status = board_dma_read(
		n->board, &in->packets, d->offset, n->bar4 + buffer, fetched_bytes(in, d->length));
	if (status == DMA_LATER)
		n->fetching = true;
	if (status != DMA_DONE)
		return status;
	n->frees--;
	d->offset = buffer;
	d->flags = 0;
	return DMA_DONE;
}

/* Of descriptors, the first that are located. */
struct located {
	unsigned frames;
	bool remote; /* d[].flags are numbers of memories; else all are as they were dequeued */
	uint64_t fetched; /* a bit for each that lies in an own buffer now */
	uint64_t marked;  /* likewise, with P2PNIC_FLAGS_MARKED, which is gone then */
	bool refused;     /* the next one; else buffers run out, or the board waits for it */
	enum p2pnic_drop reason;
};

/* Hy: all of them lie in own memory, as short frames do: there is nothing to locate. */
static inline bool all_here(
	const struct ring_in *in, const struct p2pnic_descriptor *d, unsigned frames)
{
	const uint64_t end = in->base + in->here;
	uint64_t beyond = 0, word;

	/* Words, and no branch, as below. */
	for (unsigned k = 0; k < frames; k++) {
		__builtin_memcpy(&word, &d[k], sizeof(word));
		beyond |= end - (word & UINT32_MAX) - (word >> 32 & 0xffff); /* negative */
	}
	return !(beyond >> 63);
}

/* locate() where all of them lie in the peer's memory, the port can send from there, and none is
 * marked. False: it is not so, and nothing was done. */
static inline bool locate_there(
	const struct ring_in *in, struct p2pnic_descriptor *d, unsigned frames)
{
	const uint64_t begin = in->base + in->here, memory = (uint64_t)in->memory << 48;
	const uint64_t shift = in->memory_base - begin;
	uint64_t flags = 0, own = 0, word;

	/* Words, and no branch: the compiler makes vectors of them. */
	for (unsigned k = 0; k < frames; k++) {
		__builtin_memcpy(&word, &d[k], sizeof(word));
		flags |= word;
		own |= (word & UINT32_MAX) - begin; /* negative */
	}
	if ((flags >> 48 & P2PNIC_FLAGS_MARKED) | own >> 63)
		return false;
	for (unsigned k = 0; k < frames; k++) {
		__builtin_memcpy(&word, &d[k], sizeof(word));
		word = ((word + shift) & UINT32_MAX) | (word & 0xffffull << 32) | memory;
		__builtin_memcpy(&d[k], &word, sizeof(word));
	}
	return true;
}

/*
 * Rd, Bn, Hy: where the port finds packets of which some lie in another's memory. A port that can
 * send from there does (flags: its number of the memory). A read that faults sends nothing: the
 * frame is dropped, the descriptor refused. Not inlined: it would cost Wr, which has nothing to
 * locate, 1 to 2 % (bench/firmware_loop).
 */
static __attribute__((noinline)) void locate(struct nic *n, struct ring_in *in,
	struct p2pnic_descriptor *d, unsigned frames, struct located *l)
{
	enum dma_status status = DMA_DONE;
	bool reaches;
	unsigned k;

	if (in->here && all_here(in, d, frames))
		return;
	l->remote = true;
	reaches = in->memory && board_reaches(n->board, in->memory);
	if (reaches && locate_there(in, d, frames))
		return;
	for (k = 0; k < frames; k++) {
		uint64_t at = d[k].offset - in->base;

		l->marked |= (uint64_t)(d[k].flags & P2PNIC_FLAGS_MARKED) << k;
		if (at < in->here) {
			if (at + d[k].length > in->here) {
				l->refused = true;
				l->reason = P2PNIC_DROP_BAD_DESCRIPTOR;
				break;
			}
			d[k].flags = 0;
			continue;
		}
		d[k].offset = (uint32_t)(at - in->here);
		if (reaches) {
			d[k].offset += in->memory_base;
			d[k].flags = (uint16_t)in->memory;
			continue;
		}
		status = fetch(n, in, &d[k]);
		if (status != DMA_DONE)
			break;
		l->fetched |= 1ull << k;
	}
	l->frames = k;
	if (status == DMA_FAULT) {
		l->refused = true;
		l->reason = P2PNIC_DROP_DMA_FAULT;
	}
}

/* The port took the first `sent` of those located; own buffers of the others are free again. */
static void note_located(struct nic *n, unsigned peer, const struct p2pnic_descriptor *d,
	const struct located *l, unsigned sent)
{
	unsigned run;

	if (!l->fetched) {
		if (sent)
			run_push(n, peer, RUN_SENT, sent);
		return;
	}
	for (unsigned k = 0; k < sent; k += run) {
		const bool own = l->fetched >> k & 1;

		for (run = 0; k + run < sent && (l->fetched >> (k + run) & 1) == own; run++)
			if (own)
				n->fetched[n->fetched_tail++ % NIC_FLIGHT_MAX] = d[k + run].offset;
		run_push(n, peer, own ? RUN_FETCHED : RUN_SENT, run);
		count(&n->counters->fetched, own ? run : 0);
	}
	for (unsigned k = l->frames; k > sent; k--)
		if (l->fetched >> (k - 1) & 1)
			n->free[n->frees++] = d[k - 1].offset;
}

/* How many of the first frames have arrived, as the words behind them say (p2pnic/ring.h). */
static __attribute__((noinline)) unsigned whole(const struct nic *n, const struct ring_in *in,
	const struct p2pnic_descriptor *d, unsigned frames)
{
	unsigned k;

	for (k = 0; k < frames; k++) {
		const uint8_t *frame = n->bar4 + d[k].offset;
		uint32_t want = p2pnic_stamp(in->epoch, in->dequeued + k), word;

		if (in->check == P2PNIC_CHECK_CRC)
			want = n->kernel->crc(want, frame, d[k].length);
		__builtin_memcpy(&word, frame + p2pnic_check_at(d[k].length), sizeof(word));
		if (word != want)
			break;
	}
	return k;
}

/* A transfer has failed. One too many, and the pair is given up at the end of this round. */
static void note_failure(struct nic *n, struct ring_in *in)
{
	if (in->dequeued - in->failed_from >= RING_FAILURES_OF) {
		in->failed_from = in->dequeued;
		in->failures = 0;
	}
	n->failing |= ++in->failures >= RING_FAILURES_MAX;
}

/* How many descriptors to look at now. A ring adds two runs at most. */
static inline uint32_t room_for(const struct nic *n, const struct ring_in *in)
{
	uint32_t room = in->slots - (in->dequeued - in->completed);

	if (n->run_tail - n->run_head > NIC_FLIGHT_MAX - 2)
		return 0;
	if (room > NIC_FLIGHT_MAX - n->in_flight)
		room = NIC_FLIGHT_MAX - n->in_flight;
	return room < P2PNIC_BURST_MAX ? room : P2PNIC_BURST_MAX;
}

/* The first `sent` frames were given to the port; broken: the next one did not arrive whole. */
static __attribute__((noinline)) void capture_out(struct nic *n, unsigned peer,
	const struct p2pnic_descriptor *d, unsigned sent, const struct located *l, bool broken)
{
	const struct ring_in *in = &n->in[peer];
	struct capture_frame f = {.peer = peer};
	struct frame frame[P2PNIC_BURST_MAX];
	uint64_t marked = l->marked, accepted;
	const unsigned count = sent + broken;

	if (!count)
		return;
	for (unsigned k = 0; k < count; k++) {
		frame[k].data = l->remote && d[k].flags ? (uint8_t *)in->packets.board +
								  (d[k].offset - in->memory_base)
							: n->bar4 + d[k].offset;
		frame[k].length = d[k].length;
		if (!l->remote)
			marked |= (uint64_t)(d[k].flags & P2PNIC_FLAGS_MARKED) << k;
	}
	n->capture.time_ns = 0;
	accepted = n->captures & P2PNIC_CAPTURE_TX || broken ? capture_accepts(n, frame, count) : 0;
	for (f.k = 0; f.k < count; f.k++) {
		if (!((accepted | marked) >> f.k & 1))
			continue;
		f.frame = &frame[f.k];
		f.accepted = accepted >> f.k & 1;
		f.marked = marked >> f.k & 1;
		if (f.k == sent)
			capture_refused(n, &f, P2PNIC_DROP_BAD_TRANSFER);
		else
			capture_sent(n, &f);
	}
}

/* Hands the next frames of a ring to the port; how many descriptors are done with. */
static unsigned transmit(struct nic *n, unsigned peer)
{
	struct ring_in *in = &n->in[peer];
	struct p2pnic_traffic *from = nic_traffic_in(n, peer);
	struct p2pnic_descriptor d[P2PNIC_BURST_MAX + 7]; /* dequeue writes eight at a time */
	enum p2pnic_drop reason = P2PNIC_DROP_BAD_DESCRIPTOR;
	unsigned valid, ready, sent;
	struct located l = {0};
	bool refused = false;
	uint64_t bytes = 0;
	uint32_t room;

	board_cost(n->board, BOARD_COST_POLL, 1);
	if (!ring_in_waits(in))
		return 0;
	room = room_for(n, in);
	if (!room)
		return 0;
	valid = n->kernel->dequeue(in, d, room, &bytes, &refused);
	board_cost(n->board, BOARD_COST_DESCRIPTOR, BOARD_COST_LINES(valid, 8));
	l.frames = valid;
	if (ring_in_is_remote(in))
		locate(n, in, d, valid, &l);
	ready = unlikely(in->check) ? whole(n, in, d, l.frames) : l.frames;
	if (!l.remote) {
		sent = ready ? board_transmit(n->board, d, ready) : 0;
		if (sent)
			run_push(n, peer, RUN_SENT, sent);
	} else {
		sent = ready ? board_transmit_from(n->board, d, ready) : 0;
		note_located(n, peer, d, &l, sent);
	}
	if (l.frames < valid) {
		refused = l.refused;
		reason = l.reason;
	}
	if (unlikely(ready < l.frames)) {
		refused = true;
		reason = P2PNIC_DROP_BAD_TRANSFER;
	}
	refused = refused && sent == ready;
	for (unsigned k = sent; k < valid; k++)
		bytes -= d[k].length;
	if (unlikely(n->captures & (CAPTURE_OUT | P2PNIC_CAPTURE_DROP)))
		capture_out(n, peer, d, sent, &l, ready < l.frames && sent == ready);
	if (unlikely(refused)) {
		run_push(n, peer, RUN_SKIPPED, 1);
		count_drop(n, reason, 1);
		if (in->check && reason != P2PNIC_DROP_BAD_DESCRIPTOR)
			note_failure(n, in);
	}
	board_cost(n->board, BOARD_COST_COUNTER, 3);
	in->dequeued += sent + refused;
	n->in_flight += sent;
	count(&from->packets, sent + refused);
	count(&from->bytes, bytes);
	count(&n->counters->sent.bytes, bytes);
	return sent + refused;
}

/* Turns what the port is done with into completions. */
static unsigned complete(struct nic *n)
{
	uint64_t failed = 0;
	unsigned done = board_transmitted(n->board, &failed);
	unsigned all = done;

	n->in_flight -= done;
	board_cost(n->board, BOARD_COST_COUNTER, 1);
	count(&n->counters->sent.packets, done - failed);
	if (unlikely(failed))
		count_drop(n, P2PNIC_DROP_PORT, failed);
	while (n->run_head != n->run_tail) {
		struct nic_run *run = &n->run[n->run_head % NIC_FLIGHT_MAX];
		struct ring_in *in = &n->in[run->peer];
		unsigned frames = run->count;

		if (run->kind != RUN_SKIPPED) {
			if (frames > done)
				frames = done;
			done -= frames;
		}
		run->count = (uint16_t)(run->count - frames);
		for (unsigned k = 0; run->kind & RUN_FETCHED && k < frames; k++)
			n->free[n->frees++] = n->fetched[n->fetched_head++ % NIC_FLIGHT_MAX];
		if (run->kind & RUN_ORPHAN) {
			in->orphans -= frames;
			if (!in->orphans && run->peer < P2PNIC_NICS_MAX)
				mark_sending(n, run->peer, false);
		} else if (frames) {
			in->completed += frames;
			n->completions = true;
		}
		if (run->count)
			break;
		n->run_head++;
	}
	return all;
}

unsigned nic_egress(struct nic *n)
{
	unsigned work = 0;

	n->fetching = false;
	for (unsigned ring = 0; ring < P2PNIC_HOST_RINGS; ring++)
		if (n->in[P2PNIC_HOST_PEER(ring)].open)
			work += transmit(n, P2PNIC_HOST_PEER(ring));
	for (unsigned k = 0; k < n->open_peers; k++) {
		unsigned at = n->first + k;
		unsigned peer = n->peer[at < n->open_peers ? at : at - n->open_peers];

		if (peer < P2PNIC_NICS_MAX)
			work += transmit(n, peer);
	}
	/* Another ring goes first next time: rings share a busy port evenly. */
	if (n->open_peers && ++n->first >= n->open_peers)
		n->first = 0;
	if (work) {
		board_flush(n->board);
		n->flushed = true;
	}
	if (n->run_head != n->run_tail)
		work += complete(n);
	if (n->completions)
		rings_complete(n, work == 0);
	if (unlikely(n->failing))
		nic_give_up(n);
	return work;
}
