/* SPDX-License-Identifier: BSD-3-Clause */
#include "resolve.h"

#include "burst.h"
#include "header.h"

/* The host's tables, by value: what a burst needs of them stays in registers. */
struct tables {
	const p2pnic_next_hop *next_hop;
	const p2pnic_bucket *bucket;
	const struct p2pnic_adjacency *adjacency;
	p2pnic_used *used;
};

/* Read once a packet: the host may make a group of it at any time. Acquire pairs with the host's
 * store after it wrote the adjacency or the buckets. */
static inline uint32_t next_hop_word(const struct tables *t, uint32_t hop)
{
	return atomic_load_explicit(
		&t->next_hop[hop & (P2PNIC_NEXT_HOPS_MAX - 1)], memory_order_acquire);
}

static inline bool is_group(uint32_t word)
{
	return word & P2PNIC_NEXT_HOP(0, 15);
}

static inline const struct p2pnic_adjacency *adjacency_of(
	const struct tables *t, uint32_t word, uint32_t flow)
{
	uint32_t index = P2PNIC_NEXT_HOP_FIRST(word);

	if (unlikely(is_group(word))) {
		index += flow & ((1u << P2PNIC_NEXT_HOP_LOG2(word)) - 1);
		index = t->bucket[index & (P2PNIC_BUCKETS_MAX - 1)];
	}
	return &t->adjacency[index & (P2PNIC_ADJACENCIES_MAX - 1)];
}

/* MTU, kind and egress of an adjacency in one word. Nobody changes one that a packet can reach: its
 * place is used again after an epoch. */
static inline uint32_t adjacency_word(const struct p2pnic_adjacency *adjacency)
{
	return load32((const uint8_t *)adjacency + offsetof(struct p2pnic_adjacency, mtu));
}

#define WORD_MTU(word)    ((word)&0xffff)
#define WORD_KIND(word)   ((word) >> 16 & 0xff)
#define WORD_EGRESS(word) ((word) >> 24)

/* Its kind is FORWARD and its egress a NIC: one comparison, as NICS_MAX is a power of two. */
static inline bool word_forwards(uint32_t word)
{
	const uint32_t nics = ~(P2PNIC_NICS_MAX - 1) << 24;

	return (word & (nics | 0xff0000)) == P2PNIC_ADJACENCY_FORWARD << 16;
}

bool resolve_is_local(const struct nic *n, uint32_t hop)
{
	const struct tables tables = {n->next_hop, n->bucket, n->adjacency, n->used};
	uint32_t word = next_hop_word(&tables, hop);

	return WORD_KIND(adjacency_word(adjacency_of(&tables, word, 0))) == P2PNIC_ADJACENCY_LOCAL;
}

/* Why a packet does not simply leave by this adjacency. */
static verdict refusal(const struct nic *n, uint32_t word, bool expired)
{
	switch (WORD_KIND(word)) {
	case P2PNIC_ADJACENCY_FORWARD:
		if (WORD_EGRESS(word) >= P2PNIC_NICS_MAX || !n->out[WORD_EGRESS(word)].open)
			return VERDICT(NO_PEER);
		return expired ? VERDICT(TTL) : VERDICT(MTU);
	case P2PNIC_ADJACENCY_LOCAL:
		return VERDICT(LOCAL);
	case P2PNIC_ADJACENCY_GLEAN:
		return VERDICT(NO_NEIGHBOR);
	case P2PNIC_ADJACENCY_BLACKHOLE:
		return VERDICT(BLACKHOLE);
	case P2PNIC_ADJACENCY_BROADCAST:
		return VERDICT(BROADCAST);
	case P2PNIC_ADJACENCY_UNREACHABLE:
		return VERDICT(UNREACHABLE);
	case P2PNIC_ADJACENCY_PROHIBIT:
		return VERDICT(PROHIBIT);
	case P2PNIC_ADJACENCY_KERNEL:
		return VERDICT(KERNEL);
	default:
		return VERDICT(NO_ROUTE);
	}
}

/* Written only when it is 0: the host that reads it then costs the NIC nothing. */
static inline void note_use(p2pnic_used *used)
{
	if (unlikely(!atomic_load_explicit(used, memory_order_relaxed)))
		atomic_store_explicit(used, 1, memory_order_relaxed);
}

/* Notes the egress of packet k and returns the adjacency that it leaves by; NULL: it has a verdict
 * instead. */
static inline const struct p2pnic_adjacency *leave_by(const struct nic *n, const struct tables *t,
	struct burst *b, unsigned k, uint32_t word, uint32_t flow, bool expired)
{
	const struct p2pnic_adjacency *adjacency = adjacency_of(t, word, flow);
	uint32_t to = adjacency_word(adjacency);

	if (unlikely(!word_forwards(to) || expired ||
		     b->length[k] > ETHERNET_BYTES + WORD_MTU(to))) {
		b->verdict[k] = refusal(n, to, expired);
		return NULL;
	}
	note_use(&t->used[adjacency - t->adjacency]);
	b->egress[k] = (uint8_t)WORD_EGRESS(to);
	return adjacency;
}

static inline void resolve4(const struct nic *n, struct burst *b)
{
	const struct tables tables = {n->next_hop, n->bucket, n->adjacency, n->used};

	for (unsigned j = 0; j < b->n4; j++) {
		unsigned k = b->index4[j];
		struct frame_head *head = &b->head[k];
		uint32_t word = next_hop_word(&tables, b->hop4[j]);
		uint32_t flow = unlikely(is_group(word))
					? ipv4_flow(head, b->address4[j], b->frame[k].data,
						  b->layer4[k], b->length[k])
					: 0;
		const struct p2pnic_adjacency *adjacency =
			leave_by(n, &tables, b, k, word, flow, ipv4_expired(head));

		if (likely(adjacency))
			rewrite_ipv4(head, adjacency);
	}
}

static void resolve6(const struct nic *n, struct burst *b)
{
	const struct tables tables = {n->next_hop, n->bucket, n->adjacency, n->used};

	for (unsigned j = 0; j < b->n6; j++) {
		unsigned k = b->index6[j];
		struct frame_head *head = &b->head[k];
		uint32_t word = next_hop_word(&tables, b->hop6[j]);
		uint32_t flow = unlikely(is_group(word))
					? ipv6_flow(head, b->frame[k].data, b->length[k])
					: 0;
		const struct p2pnic_adjacency *adjacency =
			leave_by(n, &tables, b, k, word, flow, ipv6_expired(head));

		if (likely(adjacency))
			rewrite_ipv6(head, adjacency);
	}
}

void resolve(const struct nic *n, struct burst *b)
{
	resolve4(n, b);
	resolve6(n, b);
}
