/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The path of a packet, first half: from the port into the memory of the egress NIC.
 *
 * A burst goes through three loops over arrays: check every frame; look all of them up; give each to
 * its egress. Descriptors are held back by ring and published by batch, and whatever is pending at the
 * end of the burst is published then: nothing waits for a packet that may never come.
 */
#include "nic.h"

#include "fib.h"
#include "header.h"

/* --- The producer's end of a ring -------------------------------------------------------------- */

static inline void spare_buffer_of(struct nic *n, uint32_t at)
{
	n->spare[n->spares++] = at & ~(P2PNIC_BUFFER_BYTES - 1);
}

NIC_API void out_discard_held(struct nic *n, struct nic_out *out)
{
	count_drop(n, P2PNIC_DROP_STALE, out->held);
	n->held -= out->held;
	for (; out->held; out->held--) {
		spare_buffer_of(n, out->hold[out->hold_head].offset);
		out->hold_head = (out->hold_head + 1) % NIC_HOLD_MAX;
	}
}

/* Takes note of what the egress NIC has consumed. Acquire: pairs with its dma_write64, so a buffer is
 * not written again before the egress NIC has done with it. */
NIC_API void out_reclaim(struct nic *n, struct nic_out *out)
{
	uint64_t word = atomic_load_explicit(out->consumer, memory_order_acquire);
	uint32_t index = P2PNIC_RING_INDEX(word);

	if (P2PNIC_RING_EPOCH(word) != out->epoch)
		index = out->consumed; /* nothing consumed in this life yet */
	if (unlikely(index - out->consumed > out->published - out->consumed)) {
		/* Its peer lies; until the pair is opened again, packets for it are dropped. */
		count(&n->counters->bad_words, 1);
		out->open = false;
		out->room = 0;
		out_discard_held(n, out);
		return;
	}
#if !INGRESS_WRITES
	for (uint32_t slot = out->consumed; slot != index; slot++)
		n->spare[n->spares++] = out->given[slot & out->mask];
#endif
	out->consumed = index;
	out->room = out->held ? 0 : out->limit - (out->produced - out->consumed);
}

/* Writes [published, produced): descriptors in one piece, or two where the ring wraps, then the word. */
static void out_publish(struct nic *n, struct nic_out *out)
{
	uint32_t pending = out->produced - out->published;
	uint32_t slot = out->published & out->mask;
	uint32_t run = out->mask + 1 - slot;
	const uint64_t descriptors = offsetof(struct p2pnic_mailbox, descriptor);

	if (run > pending)
		run = pending;
	board_dma_write(n->board, &out->mailbox, descriptors + slot * 8ull, out->batched, run * 8);
	if (unlikely(pending > run))
		board_dma_write(n->board, &out->mailbox, descriptors, out->batched + run,
			(pending - run) * 8);
	out->published = out->produced;
	board_dma_write64(n->board, &out->mailbox, offsetof(struct p2pnic_mailbox, producer),
		P2PNIC_RING_WORD(out->epoch, out->produced));
}

static inline void out_push(struct nic *n, unsigned peer, struct nic_out *out, uint32_t offset,
	uint32_t length, uint16_t flags)
{
	uint32_t pending = out->produced - out->published;

	if (!out->dirty) {
		out->dirty = true;
		n->dirty_peer[n->dirty++] = (uint8_t)peer;
	}
	/* One store: three would have to be put together again by whoever reads it as one. */
	out->batched[pending] = offset | (uint64_t)length << 32 | (uint64_t)flags << 48;
	out->produced++;
	out->room--;
	out->bytes += length;
	if (pending + 1 >= out->batch)
		out_publish(n, out);
}

static void wake(struct nic *n, unsigned peer)
{
	const struct nic_out *out = &n->out[peer];

	if (peer == P2PNIC_HOST_PEER)
		board_interrupt(n->board, P2PNIC_VECTOR_HOST_RING);
	else if (out->doorbell.bytes)
		board_dma_write32(n->board, &out->doorbell, 0, 1);
	else
		return;
	count(&n->counters->doorbells, 1);
}

/* Publishes what is pending and wakes who sleeps. The fence orders our producer words before the read
 * of `asleep`; it pairs with the one in nic_arm, where the other end writes `asleep` and then reads
 * the producer word: at least one of the two sees the other. */
NIC_API void out_publish_all(struct nic *n)
{
	if (!n->dirty)
		return;
	for (unsigned k = 0; k < n->dirty; k++) {
		unsigned peer = n->dirty_peer[k];
		struct nic_out *out = &n->out[peer];
		struct p2pnic_traffic *t = peer == P2PNIC_HOST_PEER ? &n->counters->punted
								    : &n->counters->to_ring[peer];

		if (out->produced != out->published)
			out_publish(n, out);
		count(&t->packets, out->produced - out->counted);
		count(&t->bytes, out->bytes);
		out->counted = out->produced;
		out->bytes = 0;
	}
	atomic_thread_fence(memory_order_seq_cst);
	for (unsigned k = 0; k < n->dirty; k++) {
		struct nic_out *out = &n->out[n->dirty_peer[k]];

		out->dirty = false;
		if (unlikely(atomic_load_explicit(out->asleep, memory_order_relaxed)))
			wake(n, n->dirty_peer[k]);
	}
	n->dirty = 0;
}

/* Where in a buffer a frame begins. Buffers are 2 KiB apart, so frames that all began at offset 0
 * would share a few sets of the cache; sixteen begins spread short frames, four spread long ones. */
static inline uint32_t frame_color(uint32_t slot, uint32_t length)
{
	return (length <= 1024 ? slot & 15 : slot & 3) * 64;
}

/*
 * Spare buffers have up to three uses, and each leaves some to those it must not starve: held packets to
 * packets given to a ring that has room (Rd), and both to packets that the egress fetches (Rd, Bn).
 * Without the last, two NICs that have given each other all their buffers would wait for ever.
 */
static inline uint32_t spares_for_others(const struct nic *n)
{
	return EGRESS_READS ? n->rx_buffers / 16 : 0;
}

/* Keeps frame k in own memory, its head rewritten; NIC_NOWHERE if only `leave` buffers are left. */
#define NIC_NOWHERE UINT32_MAX
static uint32_t keep_frame(struct nic *n, unsigned k, const struct frame_head *head, uint32_t leave)
{
	uint32_t at;

	if (n->spares <= leave)
		return NIC_NOWHERE;
	at = board_keep(n->board, k, n->spare[--n->spares]);
	__builtin_memcpy(n->bar4 + at, head, sizeof(*head));
	return at;
}

/* The ring is full: the packet waits in own memory, up to a limit that leaves room for other egresses.
 * Nothing waits for the host: a driver that has died would keep the NIC awake and its buffers occupied. */
static void hold(struct nic *n, unsigned peer, unsigned k, const struct frame_head *head,
	uint32_t length, uint16_t flags)
{
	struct nic_out *out = &n->out[peer];
	uint32_t at;

	if (peer == P2PNIC_HOST_PEER) {
		count_drop(n, P2PNIC_DROP_PUNT_FULL, 1);
		return;
	}
	if (out->held == NIC_HOLD_MAX || out->held * 4 >= n->rx_buffers) {
		count_drop(n, P2PNIC_DROP_RING_FULL, 1);
		return;
	}
	at = keep_frame(n, k, head, spares_for_others(n) * 2);
	if (at == NIC_NOWHERE) {
		count_drop(n, P2PNIC_DROP_NO_BUFFER, 1);
		return;
	}
	out->hold[(out->hold_head + out->held++) % NIC_HOLD_MAX] =
		(struct p2pnic_descriptor){at, (uint16_t)length, flags};
	n->held++;
}

/* Moves held packets into the ring as far as there is room. */
NIC_API void out_drain_held(struct nic *n, unsigned peer)
{
	struct nic_out *out = &n->out[peer];

	out_reclaim(n, out);
	if (!out->open)
		return;
	out->room = out->limit - (out->produced - out->consumed);
	while (out->held && out->room) {
		struct p2pnic_descriptor d = out->hold[out->hold_head];

#if INGRESS_WRITES
		struct frame_head head;
		uint32_t slot = out->produced & out->mask;
		uint32_t offset = slot * P2PNIC_BUFFER_BYTES + frame_color(slot, d.length);

		__builtin_memcpy(&head, n->bar4 + d.offset, sizeof(head));
		board_dma_write_frame(
			n->board, &out->buffers, offset, &head, n->bar4 + d.offset, d.length);
		spare_buffer_of(n, d.offset);
		out_push(n, peer, out, offset, d.length, d.flags);
#else
		out->given[out->produced & out->mask] = d.offset & ~(P2PNIC_BUFFER_BYTES - 1);
		out_push(n, peer, out, d.offset, d.length, d.flags);
#endif
		out->hold_head = (out->hold_head + 1) % NIC_HOLD_MAX;
		out->held--;
		n->held--;
	}
	if (out->held)
		out->room = 0; /* new packets queue behind them */
}

#define EXPECT_AHEAD                                                                               \
	8u /* frames: what a line takes from one core to another, at a few ns a frame */

/* Gives frame k of the burst, with its new head, to a peer. The peer is open. */
static inline void transfer(struct nic *n, unsigned peer, unsigned k, const struct frame *frame,
	const struct frame_head *head, uint32_t length, uint16_t flags)
{
	struct nic_out *out = &n->out[peer];

	if (unlikely(out->room == 0)) {
		if (out->open)
			out_reclaim(n, out);
		if (!out->open) {
			count_drop(n, P2PNIC_DROP_NO_PEER, 1);
			return;
		}
		if (out->room == 0) {
			hold(n, peer, k, head, length, flags);
			return;
		}
	}
#if INGRESS_WRITES
	uint32_t slot = out->produced & out->mask;
	uint32_t offset = slot * P2PNIC_BUFFER_BYTES + frame_color(slot, length);

	board_dma_expect(&out->buffers, ((slot + EXPECT_AHEAD) & out->mask) * P2PNIC_BUFFER_BYTES +
						frame_color(slot + EXPECT_AHEAD, length));
	board_dma_write_frame(n->board, &out->buffers, offset, head, frame->data, length);
#else
	uint32_t offset = keep_frame(n, k, head, spares_for_others(n));

	if (unlikely(offset == NIC_NOWHERE)) {
		count_drop(n, P2PNIC_DROP_NO_BUFFER, 1);
		return;
	}
	out->given[out->produced & out->mask] = offset & ~(P2PNIC_BUFFER_BYTES - 1);
#endif
	out_push(n, peer, out, offset, length, flags);
}

/* --- What becomes of a frame ------------------------------------------------------------------- */

/* For the host if it listens (flags tell it why), otherwise a drop with that reason. */
static void punt_or_drop(struct nic *n, unsigned k, const struct frame *frame,
	const struct frame_head *head, uint32_t length, enum p2pnic_drop reason)
{
	if (n->out[P2PNIC_HOST_PEER].open)
		transfer(n, P2PNIC_HOST_PEER, k, frame, head, length, (uint16_t)reason);
	else
		count_drop(n, reason, 1);
}

struct burst {
	struct frame frame[P2PNIC_BURST_MAX];
	struct frame_head head[P2PNIC_BURST_MAX];
	uint8_t kept4[P2PNIC_BURST_MAX],
		kept6[P2PNIC_BURST_MAX]; /* which frames wait for a lookup */
	uint16_t tail[P2PNIC_BURST_MAX]; /* IPv4 destination 2–3 */
	uint32_t address4[P2PNIC_BURST_MAX];
	struct fib_ipv6 address6[P2PNIC_BURST_MAX];
	uint16_t hop4[P2PNIC_BURST_MAX], hop6[P2PNIC_BURST_MAX];
	unsigned n4, n6;
};

/* Not a plain IPv4 packet with a header of 20 bytes to our MAC: everything that can also come. */
static void check_other(struct nic *n, struct burst *b, unsigned k)
{
	struct frame *f = &b->frame[k];
	const struct frame_head *h = &b->head[k];
	enum p2pnic_drop reason;

	if (f->length < ETHERNET_BYTES) {
		count_drop(n, P2PNIC_DROP_RUNT, 1);
		return;
	}
	if ((h->word[0] & MAC_MASK) != n->mac) {
		/* Group addresses are for the host (ARP, neighbour discovery), never routed. */
		if (h->word[0] & 1)
			punt_or_drop(n, k, f, h, f->length, P2PNIC_DROP_LINK_SCOPE);
		else
			count_drop(n, P2PNIC_DROP_FOREIGN_MAC, 1);
		return;
	}
	if (ethertype_le(h) == ETHERTYPE_IPV4_LE) {
		uint32_t header = ipv4_ihl(h) * 4;

		b->tail[b->n4] = load16(f->data + 32);
		reason = ipv4_check(h, b->tail[b->n4], &f->length);
		if (reason == P2PNIC_DROP_COUNT && header > IPV4_BYTES)
			reason = ipv4_check_options(f->data + ETHERNET_BYTES, header);
		if (reason == P2PNIC_DROP_COUNT) {
			b->address4[b->n4] = ipv4_destination(h, b->tail[b->n4]);
			b->kept4[b->n4++] = (uint8_t)k;
		} else if (reason == P2PNIC_DROP_OPTIONS || reason == P2PNIC_DROP_LINK_SCOPE) {
			punt_or_drop(n, k, f, h, f->length, reason);
		} else {
			count_drop(n, reason, 1);
		}
	} else if (ethertype_le(h) == ETHERTYPE_IPV6_LE) {
		uint64_t source_high, source_low, high, low;

		if (f->length < ETHERNET_BYTES + IPV6_BYTES) {
			count_drop(n, P2PNIC_DROP_RUNT, 1);
			return;
		}
		source_high = swap64(load64(f->data + 22));
		source_low = swap64(load64(f->data + 30));
		high = swap64(load64(f->data + 38));
		low = swap64(load64(f->data + 46));
		reason = ipv6_check(h, source_high, source_low, high, low, &f->length);
		if (reason == P2PNIC_DROP_COUNT) {
			b->address6[b->n6] = (struct fib_ipv6){high, low};
			b->kept6[b->n6++] = (uint8_t)k;
		} else if (reason == P2PNIC_DROP_LINK_SCOPE) {
			punt_or_drop(n, k, f, h, f->length, reason);
		} else {
			count_drop(n, reason, 1);
		}
	} else {
		punt_or_drop(n, k, f, h, f->length, P2PNIC_DROP_ETHERTYPE);
	}
}

/* Read once a packet: the host may make a group of it at any time. Acquire pairs with the host's store
 * after it wrote the adjacency or the buckets. */
static inline uint32_t next_hop_word(const struct nic *n, uint32_t hop)
{
	return atomic_load_explicit(
		&n->next_hop[hop & (P2PNIC_NEXT_HOPS_MAX - 1)], memory_order_acquire);
}

static inline const struct p2pnic_adjacency *resolve(
	const struct nic *n, uint32_t word, uint32_t flow)
{
	uint32_t index = P2PNIC_NEXT_HOP_FIRST(word);
	uint32_t log2 = P2PNIC_NEXT_HOP_LOG2(word);

	if (unlikely(log2))
		index = n->bucket[(index + (flow & ((1u << log2) - 1))) & (P2PNIC_BUCKETS_MAX - 1)];
	return &n->adjacency[index & (P2PNIC_ADJACENCIES_MAX - 1)];
}

/* An adjacency, read once: the host may be about to reuse its place. */
struct way {
	uint64_t mac_low;
	uint32_t mac_high;
	uint32_t mtu;
	uint8_t kind, egress;
};

static inline struct way way_of(const struct p2pnic_adjacency *adjacency)
{
	const uint8_t *a = (const uint8_t *)adjacency;
	uint32_t rest = load32(a + 12);

	return (struct way){load64(a), load32(a + 8), rest & 0xffff, (uint8_t)(rest >> 16),
		(uint8_t)(rest >> 24)};
}

static inline bool may_forward(struct way w, uint32_t length, uint32_t ttl)
{
	return w.kind == P2PNIC_ADJACENCY_FORWARD && w.egress < P2PNIC_NICS_MAX &&
	       length <= ETHERNET_BYTES + w.mtu && ttl > 1;
}

/* A packet that does not simply go on: each way out with its reason. */
static void not_forwarded(struct nic *n, struct burst *b, unsigned k, struct way w, bool expired)
{
	const struct frame *f = &b->frame[k];
	const struct frame_head *h = &b->head[k];
	enum p2pnic_drop reason;

	switch (w.kind) {
	case P2PNIC_ADJACENCY_FORWARD:
		if (w.egress >= P2PNIC_NICS_MAX || !n->out[w.egress].open) {
			count_drop(n, P2PNIC_DROP_NO_PEER, 1);
			return;
		}
		reason = expired ? P2PNIC_DROP_TTL : P2PNIC_DROP_MTU;
		break;
	case P2PNIC_ADJACENCY_LOCAL:
		reason = P2PNIC_DROP_LOCAL;
		break;
	case P2PNIC_ADJACENCY_GLEAN:
		reason = P2PNIC_DROP_NO_NEIGHBOR;
		break;
	case P2PNIC_ADJACENCY_BLACKHOLE:
		count_drop(n, P2PNIC_DROP_BLACKHOLE, 1);
		return;
	case P2PNIC_ADJACENCY_UNREACHABLE:
		reason = P2PNIC_DROP_UNREACHABLE;
		break;
	case P2PNIC_ADJACENCY_PROHIBIT:
		reason = P2PNIC_DROP_PROHIBIT;
		break;
	default:
		reason = P2PNIC_DROP_NO_ROUTE;
		break;
	}
	punt_or_drop(n, k, f, h, f->length, reason);
}

NIC_API unsigned nic_ingress(struct nic *n)
{
	struct burst b;
	unsigned received = board_receive(n->board, b.frame, P2PNIC_BURST_MAX);
	const uint64_t mac = n->mac;
	uint64_t bytes = 0;

	if (received == 0)
		return 0;
	b.n4 = b.n6 = 0;
	for (unsigned k = 0; k < received; k++)
		__builtin_prefetch(b.frame[k].data);

	/* Check. */
	for (unsigned k = 0; k < received; k++) {
		struct frame_head *h = &b.head[k];
		const uint8_t *data = b.frame[k].data;
		uint16_t tail = load16(data + 32);
		struct frame_head head = {
			{load64(data), load64(data + 8), load64(data + 16), load64(data + 24)}};
		uint32_t total;

		*h = head;
		bytes += b.frame[k].length;
		if (likely(ipv4_plain(&head, tail, b.frame[k].length, mac, &total))) {
			b.frame[k].length = total;
			b.tail[b.n4] = tail;
			b.address4[b.n4] = ipv4_destination(&head, tail);
			b.kept4[b.n4++] = (uint8_t)k;
		} else {
			check_other(n, &b, k);
		}
	}

	/* Look up. */
	if (likely(n->fib4))
		fib4_lookup(n->fib4, b.address4, b.hop4, b.n4);
	else
		__builtin_memset(b.hop4, 0, sizeof(b.hop4));
	if (b.n6 && n->fib6)
		fib6_lookup(n->fib6, b.address6, b.hop6, b.n6);
	else if (b.n6)
		__builtin_memset(b.hop6, 0, sizeof(b.hop6));

	/* Give to the egress. */
	for (unsigned j = 0; j < b.n4; j++) {
		unsigned k = b.kept4[j];
		struct frame_head head = b.head[k];
		const struct frame *f = &b.frame[k];
		uint32_t word = next_hop_word(n, b.hop4[j]);
		uint32_t flow = unlikely(P2PNIC_NEXT_HOP_LOG2(word))
					? ipv4_flow(&head, b.tail[j], f->data)
					: 0;
		struct way w = way_of(resolve(n, word, flow));

		if (likely(may_forward(w, f->length, ipv4_ttl(&head)))) {
			rewrite_macs(&head, w.mac_low, w.mac_high);
			rewrite_ipv4(&head);
			transfer(n, w.egress, k, f, &head, f->length, 0);
		} else {
			not_forwarded(n, &b, k, w, ipv4_ttl(&head) <= 1);
		}
	}
	for (unsigned j = 0; j < b.n6; j++) {
		unsigned k = b.kept6[j];
		struct frame_head head = b.head[k];
		const struct frame *f = &b.frame[k];
		uint32_t word = next_hop_word(n, b.hop6[j]);
		uint32_t flow =
			unlikely(P2PNIC_NEXT_HOP_LOG2(word)) ? ipv6_flow(&head, f->data) : 0;
		struct way w = way_of(resolve(n, word, flow));

		if (may_forward(w, f->length, ipv6_hop_limit(&head))) {
			rewrite_macs(&head, w.mac_low, w.mac_high);
			rewrite_ipv6(&head);
			transfer(n, w.egress, k, f, &head, f->length, 0);
		} else {
			not_forwarded(n, &b, k, w, ipv6_hop_limit(&head) <= 1);
		}
	}

	out_publish_all(n);
	board_release(n->board);
	count(&n->counters->received.packets, received);
	count(&n->counters->received.bytes, bytes);
	return received;
}
