/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The path of a packet, first half: from the port into the memory of the egress NIC.
 *
 * A burst goes through four loops over arrays: check every frame; look all of them up; rewrite headers and
 * sort by egress; fill the ring of each egress. Descriptors are held back by ring and published by batch, and whatever is pending at the
 * end of the burst is published then: nothing waits for a packet that may never come.
 */
#include "nic.h"

#include "header.h"

#include "burst.h"
#include "check_x86.h"
#include "give_x86.h"

/* --- The producer's end of a ring -------------------------------------------------------------- */

static inline void spare_buffer_of(struct nic *n, uint32_t at)
{
	n->spare[n->spares++] = at & ~(P2PNIC_BUFFER_BYTES - 1);
}

void out_discard_held(struct nic *n, struct nic_out *out)
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
void out_reclaim(struct nic *n, struct nic_out *out)
{
	uint64_t word = atomic_load_explicit(out->consumer, memory_order_acquire);
	uint32_t index = P2PNIC_RING_INDEX(word);

	if (P2PNIC_RING_EPOCH(word) != out->epoch)
		index = out->consumed; /* nothing consumed in this life yet */
	if (unlikely(index - out->consumed > out->published - out->consumed)) {
		/* Its peer lies; until the pair is opened again, packets for it are dropped. */
		count(&n->counters->bad_words, 1);
		out->open = false;
		out->end = out->produced;
		out_discard_held(n, out);
		return;
	}
	uint32_t slot = out->consumed & out->mask, back = index - out->consumed;
	uint32_t run = out->mask + 1 - slot;
	uint32_t *free = n->writes ? out->spare + (out->produced - index) : n->spare + n->spares;

	if (run > back)
		run = back;
	copy_words(free, out->given + slot, run);
	copy_words(free + run, out->given, back - run);
	if (!n->writes)
		n->spares += back;
	out->consumed = index;
	out->end = out->held ? out->produced : out->consumed + out->limit;
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

/* One word: three fields would have to be put together again by whoever reads it as one. */
static inline uint64_t descriptor_word(uint32_t offset, uint32_t length, uint16_t flags)
{
	return offset | (uint64_t)length << 32 | (uint64_t)flags << 48;
}

static inline void out_dirty(struct nic *n, unsigned peer)
{
	if (!n->out[peer].dirty) {
		n->out[peer].dirty = true;
		n->dirty_peer[n->dirty++] = (uint8_t)peer;
	}
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
void out_publish_all(struct nic *n)
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
		if (n->writes && out->open && out->produced - out->consumed >= NIC_RECLAIM_FROM)
			out_reclaim(n, out);
		if (unlikely(atomic_load_explicit(out->asleep, memory_order_relaxed)))
			wake(n, n->dirty_peer[k]);
	}
	n->dirty = 0;
}

/*
 * Where in a buffer a frame begins. Buffers are 2 KiB apart, so frames that all began at offset 0 would
 * share a few sets of the cache; sixteen begins, which spare[] has, spread short frames, four spread long
 * ones.
 */
static inline uint32_t begins_for(uint32_t longest)
{
	return longest < 1024 ? ~0u : ~0x300u;
}

/* The warmest free buffer of the egress, for packet `produced`. */
static inline uint32_t out_buffer(struct nic_out *out, uint32_t produced, uint32_t length)
{
	uint32_t buffer = out->spare[produced - out->consumed];

	out->given[produced & out->mask] = buffer;
	return buffer & begins_for(length);
}

/*
 * Spare buffers have up to three uses, and each leaves some to those it must not starve: held packets to
 * packets given to a ring that has room (Rd), and both to packets that the egress fetches (Rd, Bn).
 * Without the last, two NICs that have given each other all their buffers would wait for ever.
 */
static inline uint32_t spares_for_others(const struct nic *n)
{
	return n->reads ? n->rx_buffers / 16 : 0;
}

/* Keeps frame k in own memory, its head rewritten; NIC_NOWHERE if only `leave` buffers are left. */
#define NIC_NOWHERE UINT32_MAX
static uint32_t keep_frame(struct nic *n, unsigned k, const struct frame_head *head, uint32_t leave)
{
	uint32_t at;

	if (n->spares <= leave)
		return NIC_NOWHERE;
	at = n->spare[--n->spares];
	board_keep(n->board, &(uint8_t){(uint8_t)k}, 1, &at);
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
void out_drain_held(struct nic *n, unsigned peer)
{
	struct nic_out *out = &n->out[peer];

	out_reclaim(n, out);
	if (!out->open)
		return;
	out_dirty(n, peer);
	out->end = out->consumed + out->limit;
	while (out->held && out->produced != out->end) {
		struct p2pnic_descriptor d = out->hold[out->hold_head];
		uint32_t offset = d.offset;

		if (n->writes) {
			struct frame_head head;

			offset = out_buffer(out, out->produced, d.length);
			__builtin_memcpy(&head, n->bar4 + d.offset, sizeof(head));
			board_dma_write_frame(n->board, &out->buffers, offset, &head,
				n->bar4 + d.offset, d.length);
			spare_buffer_of(n, d.offset);
		} else {
			out->given[out->produced & out->mask] = offset & ~(P2PNIC_BUFFER_BYTES - 1);
		}
		out->batched[out->produced++ - out->published] =
			descriptor_word(offset, d.length, d.flags);
		out->bytes += d.length;
		if (out->produced - out->published >= out->batch)
			out_publish(n, out);
		out->hold_head = (out->hold_head + 1) % NIC_HOLD_MAX;
		out->held--;
		n->held--;
	}
	if (out->held)
		out->end = out->produced; /* new packets queue behind them */
}

/* Writes descriptors and notes of the buffers; the sum of the lengths. */
static inline uint32_t describe_each(const uint32_t *spare, const uint32_t *length, unsigned count,
	uint32_t begins, uint16_t flags, uint32_t *given, uint64_t *word)
{
	uint32_t bytes = 0;

	for (unsigned i = 0; i < count; i++) {
		given[i] = spare[i];
		word[i] = descriptor_word(spare[i] & begins, length[i], flags);
		bytes += length[i];
	}
	return bytes;
}

static inline uint32_t describe(const uint32_t *spare, const uint32_t *length, unsigned count,
	uint32_t begins, uint16_t flags, uint32_t *given, uint64_t *word)
{
#ifdef __x86_64__
	if (x86_has_avx512())
		return describe_eights(spare, length, count, begins, flags, given, word);
#endif
	return describe_each(spare, length, count, begins, flags, given, word);
}

/* The one copy. A function of its own: all it needs stays in registers. */
static __attribute__((noinline)) void copy_frames(struct board *board,
	const struct dma_region *region, const uint32_t *spare, uint32_t begins,
	const struct burst *b, const uint8_t *frames, const uint32_t *length, unsigned count)
{
	const struct dma_region buffers = *region;

	for (unsigned i = 0; i < count; i++) {
		unsigned k = frames[i];

		board_dma_expect(&buffers, spare[i + NIC_EXPECT_AHEAD] & begins);
		board_dma_write_frame(board, &buffers, spare[i] & begins, &b->head[k],
			b->frame[k].data, length[i]);
	}
}

static inline uint32_t least(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

/* Rd: keeps frames in own memory, and puts their descriptors into the ring. */
static void give_kept(struct nic *n, const struct burst *b, struct nic_out *out,
	const uint8_t *frames, const uint32_t *length, unsigned count, uint16_t flags)
{
	uint32_t at[P2PNIC_BURST_MAX], leave = spares_for_others(n);
	uint32_t kept = n->spares > leave ? least(count, n->spares - leave) : 0;

	n->spares -= kept;
	__builtin_memcpy(at, n->spare + n->spares, kept * sizeof(*at));
	board_keep(n->board, frames, kept, at);
	for (unsigned i = 0; i < kept; i++) {
		__builtin_memcpy(n->bar4 + at[i], &b->head[frames[i]], sizeof(*b->head));
		out->given[out->produced & out->mask] = at[i] & ~(P2PNIC_BUFFER_BYTES - 1);
		out->batched[out->produced++ - out->published] =
			descriptor_word(at[i], length[i], flags);
		out->bytes += length[i];
	}
	if (unlikely(kept < count))
		count_drop(n, P2PNIC_DROP_NO_BUFFER, count - kept);
}

/* Wr, Bn: writes frames into the peer's buffers, and puts their descriptors into the ring. */
static inline void give_written(struct nic *n, const struct burst *b, struct nic_out *out,
	const uint8_t *frames, const uint32_t *length, unsigned count, uint16_t flags)
{
	uint64_t *word = out->batched + (out->produced - out->published);
	uint32_t *given = out->given + (out->produced & out->mask);
	const uint32_t *spare = out->spare + (out->produced - out->consumed);
	uint32_t begins = begins_for(b->lengths);

	out->bytes += describe(spare, length, count, begins, flags, given, word);
	copy_frames(n->board, &out->buffers, spare, begins, b, frames, length, count);
	out->produced += count;
}

/* There was no room for frame k. True: now there is. Else it is held, or dropped. */
static __attribute__((noinline)) bool find_room(
	struct nic *n, const struct burst *b, unsigned peer, unsigned k, uint16_t flags)
{
	struct nic_out *out = &n->out[peer];

	if (out->open)
		out_reclaim(n, out);
	if (!out->open)
		count_drop(n, P2PNIC_DROP_NO_PEER, 1);
	else if (out->produced == out->end)
		hold(n, peer, k, &b->head[k], b->length[k], flags);
	return out->produced != out->end;
}

/* Gives frames of the burst, with their new heads, to a peer. */
static void transfer(struct nic *n, const struct burst *b, unsigned peer,
	const struct burst_pick *p, uint16_t flags)
{
	struct nic_out *out = &n->out[peer];
	unsigned run;

	for (unsigned i = 0; i < p->count; i += run) {
		run = 1;
		if (unlikely(out->produced == out->end) &&
			!find_room(n, b, peer, p->frame[i], flags))
			continue;
		run = least(p->count - i, out->end - out->produced);
		run = least(run, out->batch - (out->produced - out->published));
		run = least(run, out->mask + 1 - (out->produced & out->mask));
		out_dirty(n, peer);
		if (likely(n->writes))
			give_written(n, b, out, p->frame + i, p->length + i, run, flags);
		else
			give_kept(n, b, out, p->frame + i, p->length + i, run, flags);
		if (out->produced - out->published == out->batch)
			out_publish(n, out);
	}
}

/* --- What becomes of a frame ------------------------------------------------------------------- */

/* For the host if it listens (flags tell it why), otherwise a drop with that reason. */
static void punt_or_drop(struct nic *n, const struct burst *b, unsigned k, enum p2pnic_drop reason)
{
	struct burst_pick one;

	if (!n->out[P2PNIC_HOST_PEER].open) {
		count_drop(n, reason, 1);
		return;
	}
	one.count = 1;
	one.frame[0] = (uint8_t)k;
	one.length[0] = b->length[k];
	transfer(n, b, P2PNIC_HOST_PEER, &one, (uint16_t)reason);
}

/* --- Where the host's tables lead ---------------------------------------------------------------- */

/* The host's tables, by value: what a burst needs of them stays in registers. */
struct tables {
	const p2pnic_next_hop *next_hop;
	const p2pnic_bucket *bucket;
	const struct p2pnic_adjacency *adjacency;
};

/* Read once a packet: the host may make a group of it at any time. Acquire pairs with the host's store
 * after it wrote the adjacency or the buckets. */
static inline uint32_t next_hop_word(const struct tables *t, uint32_t hop)
{
	return atomic_load_explicit(
		&t->next_hop[hop & (P2PNIC_NEXT_HOPS_MAX - 1)], memory_order_acquire);
}

static inline bool is_group(uint32_t word)
{
	return word & P2PNIC_NEXT_HOP(0, 15);
}

static inline const struct p2pnic_adjacency *resolve(
	const struct tables *t, uint32_t word, uint32_t flow)
{
	uint32_t index = P2PNIC_NEXT_HOP_FIRST(word);

	if (unlikely(is_group(word))) {
		index += flow & ((1u << P2PNIC_NEXT_HOP_LOG2(word)) - 1);
		index = t->bucket[index & (P2PNIC_BUCKETS_MAX - 1)];
	}
	return &t->adjacency[index & (P2PNIC_ADJACENCIES_MAX - 1)];
}

/* mtu, kind and egress of an adjacency in one word. Nobody changes one that a packet can reach: its place is used
 * again after an epoch. */
static inline uint32_t way_of(const struct p2pnic_adjacency *adjacency)
{
	return load32((const uint8_t *)adjacency + offsetof(struct p2pnic_adjacency, mtu));
}

#define WAY_MTU(way)    ((way)&0xffff)
#define WAY_KIND(way)   ((way) >> 16 & 0xff)
#define WAY_EGRESS(way) ((way) >> 24)

/* Its kind is FORWARD and its egress a NIC: one comparison, as NICS_MAX is a power of two. */
static inline bool way_forwards(uint32_t way)
{
	const uint32_t nics = ~(P2PNIC_NICS_MAX - 1) << 24;

	return (way & (nics | 0xff0000)) == P2PNIC_ADJACENCY_FORWARD << 16;
}

/* Is it an address of this router, by where its next hop leads? For the few packets that are asked about. */
static bool leads_here(const struct nic *n, uint32_t hop)
{
	const struct tables tables = {n->next_hop, n->bucket, n->adjacency};
	uint32_t word = next_hop_word(&tables, hop);

	return WAY_KIND(way_of(resolve(&tables, word, 0))) == P2PNIC_ADJACENCY_LOCAL;
}

/* May it be forwarded from there to here? Neither is, if one of the two is special, unless this router takes it. */
static enum p2pnic_drop scope4(
	const struct nic *n, const struct frame_head *h, uint32_t destination)
{
	enum p2pnic_special from = p2pnic_special_ipv4(ipv4_source(h));
	enum p2pnic_special to = p2pnic_special_ipv4(destination);
	enum p2pnic_drop reason;
	uint16_t hop = 0;

	if (sources_has(&n->sources, ipv4_source_be(h)))
		from = P2PNIC_SPECIAL_NEVER;
	reason = special_check(from, to);
	if (!special_may_end_here(from, to) || !n->fib4)
		return reason;
	fib4_lookup(n->fib4, &destination, &hop, 1);
	return leads_here(n, hop) ? P2PNIC_DROP_COUNT : reason;
}

static enum p2pnic_drop scope6(
	const struct nic *n, struct fib_ipv6 source, struct fib_ipv6 destination)
{
	enum p2pnic_special from = p2pnic_special_ipv6(source);
	enum p2pnic_special to = p2pnic_special_ipv6(destination);
	enum p2pnic_drop reason = special_check(from, to);
	uint16_t hop = 0;

	if (!special_may_end_here(from, to) || !n->fib6)
		return reason;
	fib6_lookup(n->fib6, &destination, &hop, 1);
	return leads_here(n, hop) ? P2PNIC_DROP_COUNT : reason;
}

/* Not a plain IPv4 packet with a header of 20 bytes to our MAC: everything that can also come. */
static void check_other(struct nic *n, struct burst *b, unsigned k)
{
	const struct frame *f = &b->frame[k];
	uint32_t *length = &b->length[k];
	const struct frame_head *h = &b->head[k];
	enum p2pnic_drop reason;

	*length = f->length;
	if (f->length < ETHERNET_BYTES) {
		count_drop(n, P2PNIC_DROP_RUNT, 1);
		return;
	}
	if ((h->low[0] & MAC_MASK) != n->mac) {
		/* Group addresses are for the host (ARP, neighbour discovery), never routed. */
		if (h->low[0] & 1)
			punt_or_drop(n, b, k, P2PNIC_DROP_LINK_SCOPE);
		else
			count_drop(n, P2PNIC_DROP_FOREIGN_MAC, 1);
		return;
	}
	if (ethertype_le(h) == ETHERTYPE_IPV4_LE) {
		uint32_t header = ipv4_ihl(h) * 4;
		uint16_t tail = load16(f->data + 32);

		reason = ipv4_check(h, tail, length);
		if (reason == P2PNIC_DROP_COUNT)
			reason = scope4(n, h, ipv4_destination(h, tail));
		if (reason == P2PNIC_DROP_COUNT && header > IPV4_BYTES)
			reason = ipv4_check_options(f->data + ETHERNET_BYTES, header);
		if (reason == P2PNIC_DROP_COUNT) {
			b->address4[b->n4] = ipv4_destination(h, tail);
			b->kept4[b->n4++] = (uint8_t)k;
		} else if (reason == P2PNIC_DROP_OPTIONS || reason == P2PNIC_DROP_LINK_SCOPE) {
			punt_or_drop(n, b, k, reason);
		} else {
			count_drop(n, reason, 1);
		}
	} else if (ethertype_le(h) == ETHERTYPE_IPV6_LE) {
		struct fib_ipv6 source, to;

		if (f->length < ETHERNET_BYTES + IPV6_BYTES) {
			count_drop(n, P2PNIC_DROP_RUNT, 1);
			return;
		}
		source = ipv6_address(f->data + 22);
		to = ipv6_address(f->data + 38);
		reason = ipv6_check(h, length);
		if (reason == P2PNIC_DROP_COUNT &&
			unlikely(ipv6_suspect(source.high) || ipv6_suspect(to.high)))
			reason = scope6(n, source, to);
		if (reason == P2PNIC_DROP_COUNT) {
			b->address6[b->n6] = to;
			b->kept6[b->n6++] = (uint8_t)k;
		} else if (reason == P2PNIC_DROP_LINK_SCOPE) {
			punt_or_drop(n, b, k, reason);
		} else {
			count_drop(n, reason, 1);
		}
	} else {
		punt_or_drop(n, b, k, P2PNIC_DROP_ETHERTYPE);
	}
}

/* Frames [k, end), one by one. */
static void check_each(struct nic *n, struct burst *b, unsigned k, unsigned end)
{
	for (; k < end; k++) {
		const uint8_t *data = b->frame[k].data;
		uint16_t tail = load16(data + 32);
		struct frame_head head = {
			{load64(data), load64(data + 8)}, {load64(data + 16), load64(data + 24)}};

		b->head[k] = head;
		if (likely(ipv4_plain(&head, tail, b->frame[k].length, n->mac, &b->length[k]) &&
			    !sources_has(&n->sources, ipv4_source_be(&head)))) {
			b->address4[b->n4] = ipv4_destination(&head, tail);
			b->kept4[b->n4++] = (uint8_t)k;
		} else {
			check_other(n, b, k);
		}
	}
}

/* In the order of arrival: packets of one flow are kept in theirs. */
#ifdef __x86_64__
AVX512 static void check_by_groups(struct nic *n, struct burst *b, unsigned received)
{
	unsigned k;

	for (k = 0; k + BURST_GROUP <= received; k += BURST_GROUP)
		if (!check_group(b, k, n->mac, &n->sources))
			check_each(n, b, k, k + BURST_GROUP);
	check_each(n, b, k, received);
}
#endif

static inline void check(struct nic *n, struct burst *b, unsigned received)
{
#ifdef __x86_64__
	if (x86_has_avx512()) {
		check_by_groups(n, b, received);
		return;
	}
#endif
	check_each(n, b, 0, received);
}

/* A packet that does not simply go on: each way out with its reason. */
static void not_forwarded(
	struct nic *n, const struct burst *b, unsigned k, uint32_t way, bool expired)
{
	enum p2pnic_drop reason;

	switch (WAY_KIND(way)) {
	case P2PNIC_ADJACENCY_FORWARD:
		if (WAY_EGRESS(way) >= P2PNIC_NICS_MAX || !n->out[WAY_EGRESS(way)].open) {
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
	case P2PNIC_ADJACENCY_BROADCAST:
		count_drop(n, P2PNIC_DROP_BROADCAST, 1);
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
	punt_or_drop(n, b, k, reason);
}

/* Resolves next hops and rewrites heads. */
static inline void route4(struct nic *n, struct burst *b)
{
	const struct tables tables = {n->next_hop, n->bucket, n->adjacency};

	for (unsigned j = 0; j < b->n4; j++) {
		unsigned k = b->kept4[j];
		struct frame_head *head = &b->head[k];
		uint32_t word = next_hop_word(&tables, b->hop4[j]);
		uint32_t flow = unlikely(is_group(word)) ? ipv4_flow(head, b->address4[j],
								   b->frame[k].data, b->length[k])
							 : 0;
		const struct p2pnic_adjacency *adjacency = resolve(&tables, word, flow);
		uint32_t way = way_of(adjacency);

		if (unlikely(!way_forwards(way) || ipv4_expired(head) ||
			     b->length[k] > ETHERNET_BYTES + WAY_MTU(way))) {
			not_forwarded(n, b, k, way, ipv4_expired(head));
			continue;
		}
		rewrite_ipv4(head, adjacency);
		b->egress[k] = (uint8_t)WAY_EGRESS(way);
	}
}

static void route6(struct nic *n, struct burst *b)
{
	const struct tables tables = {n->next_hop, n->bucket, n->adjacency};

	for (unsigned j = 0; j < b->n6; j++) {
		unsigned k = b->kept6[j];
		struct frame_head *head = &b->head[k];
		uint32_t word = next_hop_word(&tables, b->hop6[j]);
		uint32_t flow = unlikely(is_group(word))
					? ipv6_flow(head, b->frame[k].data, b->length[k])
					: 0;
		const struct p2pnic_adjacency *adjacency = resolve(&tables, word, flow);
		uint32_t way = way_of(adjacency);

		if (unlikely(!way_forwards(way) || ipv6_expired(head) ||
			     b->length[k] > ETHERNET_BYTES + WAY_MTU(way))) {
			not_forwarded(n, b, k, way, ipv6_expired(head));
			continue;
		}
		rewrite_ipv6(head, adjacency);
		b->egress[k] = (uint8_t)WAY_EGRESS(way);
	}
}

/* Which frames leave by `egress`, as bits. */
static inline uint64_t frames_for(const struct burst *b, uint8_t egress)
{
	uint64_t frames = 0;

#ifdef __x86_64__
	if (x86_has_avx512())
		return frames_for_avx512(b, egress);
#endif
	for (unsigned k = 0; k < P2PNIC_BURST_MAX; k++)
		frames |= (uint64_t)(b->egress[k] == egress) << k;
	return frames;
}

static inline void pick(const struct burst *b, uint64_t frames, struct burst_pick *p)
{
#ifdef __x86_64__
	if (x86_has_avx512()) {
		pick_sixteens(b, frames, p);
		return;
	}
#endif
	p->count = 0;
	for (unsigned k = 0; k < P2PNIC_BURST_MAX; k++) {
		p->length[p->count] = b->length[k];
		p->frame[p->count] = (uint8_t)k;
		p->count += frames >> k & 1;
	}
}

/* An egress at a time, each in the order of arrival. */
static inline void transfer_all(struct nic *n, const struct burst *b)
{
	struct burst_pick p;
	uint64_t left = ~frames_for(b, BURST_NOWHERE);

	for (unsigned k = 0; left; k++) {
		if (!(left >> k & 1))
			continue;
		uint64_t frames = frames_for(b, b->egress[k]);

		pick(b, frames, &p);
		transfer(n, b, b->egress[k], &p, 0);
		left &= ~frames;
	}
}

unsigned nic_ingress(struct nic *n)
{
	struct burst b;
	unsigned received = board_receive(n->board, b.frame, P2PNIC_BURST_MAX);
	uint64_t bytes = 0;

	if (received == 0)
		return 0;
	b.n4 = b.n6 = b.lengths = 0;
	__builtin_memset(b.egress, BURST_NOWHERE, sizeof(b.egress));
	for (unsigned k = 0; k < received; k++) {
		__builtin_prefetch(b.frame[k].data);
		bytes += b.frame[k].length;
		b.lengths |= b.frame[k].length;
	}
	check(n, &b, received);

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
	route4(n, &b);
	route6(n, &b);
	transfer_all(n, &b);

	out_publish_all(n);
	board_release(n->board);
	count(&n->counters->received.packets, received);
	count(&n->counters->received.bytes, bytes);
	return received;
}
