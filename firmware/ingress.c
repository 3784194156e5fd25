/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The path of a packet, first half: from the port into the memory of the egress NIC.
 *
 * A burst goes through stages over arrays: classify → look up → resolve and rewrite → dispatch.
 * Descriptors are held back by ring and published by batch. Whatever is pending at the end of the
 * burst is published then, unless the burst was full: so the next packets have arrived already, and
 * the batch is filled with them. Nothing waits for a packet that may never come.
 */
#include "nic.h"

#include "burst.h"
#include "header.h"
#include "kernel.h"
#include "punt.h"
#include "resolve.h"

void nic_receive(struct nic *n, struct burst *b)
{
	b->bytes = 0;
	b->frames = board_receive(n->board, b->frame, P2PNIC_BURST_MAX);
	b->n4 = b->n6 = b->specials = b->lengths = 0;
	b->popped = b->pushed = b->others = 0;
	board_cost(n->board, BOARD_COST_HEADER, b->frames);
	for (unsigned k = 0; k < b->frames; k++)
		__builtin_prefetch(b->frame[k].data);
	for (unsigned k = 0; k < b->frames; k++) {
		b->bytes += b->frame[k].length;
		b->lengths |= b->frame[k].length;
	}
}

static void look_up_special(const struct nic *n, struct burst_special *s)
{
	s->hop = 0;
	if (s->ipv6 && n->fib6)
		fib6_lookup(n->fib6, &s->address6, &s->hop, 1);
	else if (!s->ipv6 && n->fib4)
		fib4_lookup(n->fib4, &s->address4, &s->hop, 1);
}

static void look_up(const struct nic *n, struct burst *b)
{
	board_cost(n->board, BOARD_COST_LOOKUP, b->n4 + b->n6 + b->specials);
	if (likely(n->fib4))
		fib4_lookup(n->fib4, b->address4, b->hop4, b->n4);
	else
		__builtin_memset(b->hop4, 0, sizeof(b->hop4));
	if (b->n6 && n->fib6)
		fib6_lookup(n->fib6, b->address6, b->hop6, b->n6);
	else if (b->n6)
		__builtin_memset(b->hop6, 0, sizeof(b->hop6));
	for (unsigned k = 0; k < b->specials; k++)
		look_up_special(n, &b->special[k]);
}

/* What passes its checks is the host's, which forwards by a table that is not in the NIC. */
static void leave_to_host(struct burst *b)
{
	for (unsigned k = 0; k < b->n4; k++)
		b->verdict[b->index4[k]] = VERDICT(KERNEL);
	for (unsigned k = 0; k < b->n6; k++)
		b->verdict[b->index6[k]] = VERDICT(KERNEL);
	for (unsigned k = 0; k < b->specials; k++)
		b->verdict[b->special[k].frame] = b->special[k].local;
}

/* With the tag and the head that it was received with. */
static void as_it_came(struct burst *b, unsigned k)
{
	const int32_t moved = burst_moved(b, k);
	const uint8_t *data = b->frame[k].data -= moved;

	b->length[k] += (uint32_t)moved;
	b->popped &= ~(1ull << k);
	b->pushed &= ~(1ull << k);
	b->head[k] = (struct frame_head){
		{load64(data), load64(data + 8)}, {load64(data + 16), load64(data + 24)}};
}

/* A descriptor's flags tell the host why, and as what. The ring it went to. */
static unsigned punt(struct nic *n, struct burst *b, unsigned k, enum p2pnic_drop reason,
	enum p2pnic_punt_class class)
{
	const unsigned peer = P2PNIC_HOST_PEER(punt_ring(class));
	struct selection one;

	if (unlikely((b->popped >> k & 1) || reason == P2PNIC_DROP_REDIRECT))
		as_it_came(b, k);
	count(&n->counters->punt[class].passed, 1);
	one.count = 1;
	one.frame[0] = (uint8_t)k;
	one.length[0] = b->length[k];
	ring_out_enqueue(n, b, peer, &one, P2PNIC_FLAGS(reason, class));
	return peer;
}

static unsigned punt_or_drop(struct nic *n, struct burst *b, unsigned k, uint64_t *clock)
{
	enum p2pnic_drop reason = VERDICT_REASON(b->verdict[k]);
	enum p2pnic_punt_class class = punt_class(b, k);

	if (class == P2PNIC_PUNT_COUNT) {
		count_drop(n, reason, 1);
		return BURST_NOWHERE;
	}
	if (!n->out[P2PNIC_HOST_PEER(punt_ring(class))].open) {
		count_drop(n, reason, 1);
		return BURST_NOWHERE;
	}
	if (!punt_passes(n, b, k, class, clock)) {
		count(&n->counters->punt[class].policed, 1);
		count_drop(n, P2PNIC_DROP_POLICED, 1);
		return BURST_NOWHERE;
	}
	return punt(n, b, k, reason, class);
}

/*
 * Who sends a packet that leaves by the NIC and VLAN that it came by may know a better first hop
 * (RFC 1812 §5.2.7.2, RFC 4861 §8.2). One now and then goes to the host as it came: that forwards
 * it, and tells the sender. All others leave at once.
 */
#define REDIRECT_NS 20000000u
static bool punt_to_redirect(struct nic *n, struct burst *b, unsigned k, uint64_t *clock)
{
	const uint32_t leaves_by = b->pushed >> k & 1 ? TAG_VID(tag_control(&b->head[k])) : 0;

	if (!n->out[P2PNIC_HOST_PEER(P2PNIC_RING_EXCEPTION)].open || burst_vid(b, k) != leaves_by)
		return false;
	if (!*clock)
		*clock = board_clock(n->board);
	if (*clock - n->redirect_ns < REDIRECT_NS)
		return false;
	n->redirect_ns = *clock;
	punt(n, b, k, P2PNIC_DROP_REDIRECT, P2PNIC_PUNT_EXCEPTION);
	return true;
}

/* The last stage acts on verdicts: each frame goes into the ring of its egress, in order of
 * arrival; without one it is punted or dropped. Nothing else counts drops of a burst, punts or
 * enqueues. */
static void dispatch(struct nic *n, struct burst *b)
{
	uint64_t left = ~0ull >> (P2PNIC_BURST_MAX - b->frames);
	uint64_t clock = 0;
	struct selection s;

	_Static_assert(P2PNIC_BURST_MAX == 64, "a bit for each frame");
	for (unsigned k = 0; left; k++) {
		uint8_t egress = b->egress[k];

		if (!(left >> k & 1))
			continue;
		if (unlikely(egress == BURST_NOWHERE)) {
			punt_or_drop(n, b, k, &clock);
			left &= ~(1ull << k);
		} else if (unlikely(egress == n->index) && punt_to_redirect(n, b, k, &clock)) {
			b->egress[k] = BURST_NOWHERE;
			left &= ~(1ull << k);
		} else {
			left &= ~n->kernel->select(b, egress, &s);
			ring_out_enqueue(n, b, egress, &s, 0);
		}
	}
}

/* The same for one frame; the ring it went to, or BURST_NOWHERE. */
static unsigned dispatch_one(
	struct nic *n, struct burst *b, unsigned k, uint16_t flags, uint64_t *clock)
{
	struct selection one;

	if (b->egress[k] == BURST_NOWHERE)
		return punt_or_drop(n, b, k, clock);
	if (b->egress[k] == n->index && punt_to_redirect(n, b, k, clock))
		return P2PNIC_HOST_PEER(P2PNIC_RING_EXCEPTION);
	one.count = 1;
	one.frame[0] = (uint8_t)k;
	one.length[0] = b->length[k];
	ring_out_enqueue(n, b, b->egress[k], &one, flags);
	return b->egress[k];
}

/* A burst with frames for a capture goes one by one, in the same order; all others cost the
 * filter. */
static __attribute__((noinline)) void dispatch_captured(struct nic *n, struct burst *b)
{
	const uint64_t matched = capture_match(n, b);
	uint64_t clock = 0;

	if (!matched) {
		dispatch(n, b);
		return;
	}
	for (unsigned k = 0; k < b->frames; k++) {
		const bool captured = matched >> k & 1 && n->captures & CAPTURE_IN;
		const bool mark = captured && n->captures & P2PNIC_CAPTURE_MARK;
		const uint32_t held = n->held;
		unsigned peer;

		if (captured)
			capture_begin(n, b, k);
		peer = dispatch_one(n, b, k, mark ? P2PNIC_FLAGS_MARKED : 0, &clock);
		if (captured)
			capture_end(n, peer, n->held > held);
	}
}

void nic_ingress(struct nic *n, struct burst *b)
{
	if (b->frames == 0) {
		rings_publish(n);
		return;
	}
	__builtin_memset(b->egress, BURST_NOWHERE, sizeof(b->egress));
	__builtin_memset(b->layer4, ETHERNET_BYTES + IPV4_BYTES, sizeof(b->layer4));
	n->kernel->classify(n, b);
	if (likely(n->ingress == P2PNIC_INGRESS_FORWARD)) {
		look_up(n, b);
		board_cost(n->board, BOARD_COST_RESOLVE, b->n4 + b->n6);
		resolve(n, b);
	} else {
		leave_to_host(b);
	}
	if (unlikely(n->captures & CAPTURE_IN))
		dispatch_captured(n, b);
	else
		dispatch(n, b);

	if (b->frames < P2PNIC_BURST_MAX)
		rings_publish(n);
	board_release(n->board);
	board_cost(n->board, BOARD_COST_COUNTER, 2);
	count(&n->counters->received.packets, b->frames);
	count(&n->counters->received.bytes, b->bytes);
}
