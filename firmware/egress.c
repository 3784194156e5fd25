/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The path of a packet, second half: from the rings in own memory to the port, and completions back.
 *
 * Frames given to the port are remembered as runs (so many frames of that ring), oldest first. The port
 * reports frames done with in the same order, which turns runs into consumer words. A descriptor that
 * is refused becomes a run of its own, so that completions keep the ring's order.
 */
#include "nic.h"

#include "header.h"
#include "take_x86.h"

static bool descriptor_valid(const struct nic_in *in, struct p2pnic_descriptor d)
{
	return d.length >= P2PNIC_FRAME_BYTES_MIN && d.length <= P2PNIC_FRAME_BYTES_MAX &&
	       (uint64_t)d.offset + d.length <= in->bytes;
}

/* In one access: its peer may change it at any time, to no effect once it was read. */
static inline struct p2pnic_descriptor descriptor_read(const struct p2pnic_descriptor *d)
{
	uint64_t word = __atomic_load_n((const uint64_t *)d, __ATOMIC_RELAXED);

	return (struct p2pnic_descriptor){
		(uint32_t)word, (uint16_t)(word >> 32), (uint16_t)(word >> 48)};
}

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

/* How many new descriptors a ring has. Acquire: pairs with the peer's dma_write64 of its producer word,
 * so descriptors and packets are visible. */
static inline uint32_t in_available(struct nic *n, struct nic_in *in)
{
	uint64_t word = atomic_load_explicit(&in->mailbox->producer, memory_order_acquire);
	uint32_t index = P2PNIC_RING_INDEX(word);

	if (index == in->taken && likely(P2PNIC_RING_EPOCH(word) == in->epoch))
		return 0;
	if (P2PNIC_RING_EPOCH(word) != in->epoch) {
		if (word != in->stale_word) {
			in->stale_word = word;
			count(&n->counters->stale_words, word != 0);
		}
		return 0;
	}
	if (unlikely(in->quarantined))
		return 0;
	if (unlikely(index - in->completed > in->slots || index - in->taken > in->slots)) {
		in->quarantined = true;
		count(&n->counters->bad_words, 1);
		return 0;
	}
	return index - in->taken;
}

static inline struct p2pnic_traffic *taken_from(struct nic *n, unsigned peer)
{
	return peer == P2PNIC_HOST_PEER ? &n->counters->injected : &n->counters->from_ring[peer];
}

void in_discard(struct nic *n, unsigned peer)
{
	uint32_t waiting = in_available(n, &n->in[peer]);

	count(&taken_from(n, peer)->packets, waiting);
	count_drop(n, P2PNIC_DROP_STALE, waiting);
}

/* Fetches packets into own buffers; how many (fewer when buffers run out). `d` is changed to where they
 * lie now. A read that faults sends nothing: the frame is dropped, the descriptor refused. */
static unsigned stage(
	struct nic *n, struct nic_in *in, struct p2pnic_descriptor *d, unsigned frames)
{
	unsigned k;

	for (k = 0; k < frames && n->spares > 0; k++) {
		uint32_t buffer = n->spare[n->spares - 1];

		if (!board_dma_read(
			    n->board, &in->packets, d[k].offset, n->bar4 + buffer, d[k].length))
			break;
		n->spares--;
		d[k].offset = buffer;
	}
	return k;
}

/* The port took the first `sent` of those that were fetched; the buffers of the others are free again. */
static void staged(
	struct nic *n, const struct p2pnic_descriptor *d, unsigned fetched, unsigned sent)
{
	for (unsigned k = 0; k < sent; k++)
		n->staged[n->staged_tail++ % NIC_FLIGHT_MAX] = d[k].offset;
	for (unsigned k = fetched; k > sent; k--)
		n->spare[n->spares++] = d[k - 1].offset;
}

/* One descriptor, its offset counted from BAR4; false: not valid. */
static inline bool take_one(const struct nic_in *in, uint32_t index, struct p2pnic_descriptor *d)
{
	*d = descriptor_read(&in->mailbox->descriptor[index & (in->slots - 1)]);
	if (unlikely(!descriptor_valid(in, *d)))
		return false;
	d->offset += (uint32_t)in->base;
	return true;
}

#ifdef __x86_64__
AVX512 static unsigned take_by_eights(
	const struct nic_in *in, struct p2pnic_descriptor *d, unsigned available, uint64_t *bytes)
{
	__m512i sum = _mm512_setzero_si512();
	unsigned good = 0;

	while (good < available) {
		uint32_t slot = (in->taken + good) & (in->slots - 1);
		unsigned n = available - good < 8 ? available - good : 8;

		if (n > in->slots - slot)
			n = in->slots - slot;
		if (!take_eight(in, in->mailbox->descriptor + slot, n, d + good, &sum))
			break;
		good += n;
	}
	/* One of the next is not valid: up to that one. */
	for (; good < available && take_one(in, in->taken + good, d + good); good++)
		*bytes += d[good].length;
	*bytes += (uint64_t)_mm512_reduce_add_epi64(sum);
	return good;
}
#endif

/* The next descriptors, up to the first that is not valid; how many, and the sum of their lengths. */
static inline unsigned take_descriptors(
	const struct nic_in *in, struct p2pnic_descriptor *d, unsigned available, uint64_t *bytes)
{
	unsigned good;

#ifdef __x86_64__
	if (x86_has_avx512())
		return take_by_eights(in, d, available, bytes);
#endif
	for (good = 0; good < available && take_one(in, in->taken + good, d + good); good++)
		*bytes += d[good].length;
	return good;
}

static unsigned take(struct nic *n, unsigned peer)
{
	struct nic_in *in = &n->in[peer];
	struct p2pnic_traffic *from = taken_from(n, peer);
	struct p2pnic_descriptor d[P2PNIC_BURST_MAX + 7]; /* eight are written at a time */
	uint32_t available = in_available(n, in);
	uint32_t room = NIC_FLIGHT_MAX - n->in_flight;
	unsigned good, fetched, sent;
	enum p2pnic_drop reason;
	uint64_t bytes = 0;
	bool refused;

	/* A take adds two runs at most. */
	if (!available || !room || n->run_tail - n->run_head > NIC_FLIGHT_MAX - 2)
		return 0;
	if (available > P2PNIC_BURST_MAX)
		available = P2PNIC_BURST_MAX;
	if (available > room)
		available = room;

	good = take_descriptors(in, d, available, &bytes);
	fetched = n->reads ? stage(n, in, d, good) : good;
	sent = fetched ? board_transmit(n->board, d, fetched) : 0;
	if (n->reads)
		staged(n, d, fetched, sent);
	if (fetched == good) {
		refused = good < available;
		reason = P2PNIC_DROP_BAD_DESCRIPTOR;
	} else {
		refused = n->spares > 0; /* what stopped it is no lack of buffers */
		reason = P2PNIC_DROP_DMA_FAULT;
	}
	refused = refused && sent == fetched;
	for (unsigned k = sent; k < good; k++)
		bytes -= d[k].length;
	if (sent)
		run_push(n, peer, RUN_SENT, sent);
	if (unlikely(refused)) {
		run_push(n, peer, RUN_SKIPPED, 1);
		count_drop(n, reason, 1);
	}
	in->taken += sent + refused;
	n->in_flight += sent;
	count(&from->packets, sent + refused);
	count(&from->bytes, bytes);
	count(&n->counters->sent.bytes, bytes);
	return sent + refused;
}

/* Turns what the port has done with into completions. */
static unsigned complete(struct nic *n)
{
	uint64_t failed = 0;
	unsigned done = board_transmitted(n->board, &failed);
	unsigned all = done;

	n->in_flight -= done;
	count(&n->counters->sent.packets, done - failed);
	if (unlikely(failed))
		count_drop(n, P2PNIC_DROP_PORT, failed);
	for (unsigned k = 0; k < done && n->reads; k++)
		n->spare[n->spares++] = n->staged[n->staged_head++ % NIC_FLIGHT_MAX];
	while (n->run_head != n->run_tail) {
		struct nic_run *run = &n->run[n->run_head % NIC_FLIGHT_MAX];
		struct nic_in *in = &n->in[run->peer];
		unsigned frames = run->count;

		if (run->kind != RUN_SKIPPED) {
			if (frames > done)
				frames = done;
			done -= frames;
		}
		run->count = (uint16_t)(run->count - frames);
		if (run->kind == RUN_ORPHAN) {
			in->orphans -= frames;
		} else if (frames) {
			in->completed += frames;
			in->touched = true;
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

	for (unsigned k = 0; k < n->open_peers; k++) {
		unsigned at = n->first + k;

		work += take(n, n->peer[at < n->open_peers ? at : at - n->open_peers]);
	}
	/* Another ring goes first next time: rings share a busy port evenly. */
	if (n->open_peers && ++n->first >= n->open_peers)
		n->first = 0;
	if (work)
		board_flush(n->board);
	if (n->run_head != n->run_tail) {
		work += complete(n);
		for (unsigned k = 0; k < n->open_peers; k++) {
			struct nic_in *in = &n->in[n->peer[k]];

			if (!in->touched)
				continue;
			in->touched = false;
			board_dma_write64(n->board, &n->out[n->peer[k]].mailbox,
				offsetof(struct p2pnic_mailbox, consumer),
				P2PNIC_RING_WORD(in->epoch, in->completed));
		}
	}
	return work;
}

static bool nic_pending(struct nic *n)
{
	for (unsigned k = 0; k < n->open_peers; k++)
		if (in_available(n, &n->in[n->peer[k]]))
			return true;
	return false;
}

unsigned nic_poll(struct nic *n)
{
	unsigned work;

	if (!n->writes || unlikely(n->held)) {
		for (unsigned k = 0; k < n->open_peers; k++) {
			if (n->out[n->peer[k]].held)
				out_drain_held(n, n->peer[k]);
			else if (!n->writes && n->out[n->peer[k]].open)
				out_reclaim(n, &n->out[n->peer[k]]);
		}
		out_publish_all(n);
	}
	work = nic_egress(n);
	if (n->running)
		work += nic_ingress(n);
	atomic_store_explicit(&n->counters->held, n->held + n->in_flight, memory_order_relaxed);
	return work;
}

static void tell_asleep(struct nic *n, uint32_t asleep)
{
	for (unsigned k = 0; k < n->open_peers; k++)
		board_dma_write32(n->board, &n->out[n->peer[k]].mailbox,
			offsetof(struct p2pnic_mailbox, asleep), asleep);
}

enum nic_rest nic_arm(struct nic *n)
{
	bool waits;

	tell_asleep(n, 1);
	waits = board_port_arm(n->board);
	atomic_thread_fence(memory_order_seq_cst); /* pairs with the one in out_publish_all */
	/* Some ports say of frames that wait though they were stopped; the test board's does not. */
	if ((waits && n->running) || nic_pending(n))
		return NIC_BUSY;
	if (n->held || n->in_flight)
		return NIC_WAITING;
	count(&n->counters->sleeps, 1);
	return NIC_IDLE;
}

void nic_disarm(struct nic *n)
{
	board_port_disarm(n->board);
	tell_asleep(n, 0);
}
