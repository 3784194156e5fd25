/* SPDX-License-Identifier: BSD-3-Clause */
#include "resolve.h"

#include "burst.h"
#include "header.h"
#include "ring_out.h"

/* --- Rewrite ---------------------------------------------------------------------------------- */

/* A head as 16-bit words: vector registers where the processor has some, and the compiler's loop
 * elsewhere. */
typedef uint16_t frame_words __attribute__((vector_size(32)));

/* Reads a head and gives it the MAC addresses, words 0 to 5: the first 12 bytes of an adjacency.
 * (By a pointer: how a function returns such a vector depends on the processor it is built for.) */
static inline void with_macs(
	frame_words *w, const struct frame_head *h, const struct p2pnic_adjacency *adjacency)
{
	const frame_words macs = {0xffff, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff};
	frame_words to;

	_Static_assert(sizeof(*adjacency) >= sizeof(to), "the MAC addresses and what follows");
	__builtin_memcpy(w, h, sizeof(*w));
	__builtin_memcpy(&to, adjacency, sizeof(to));
	*w = (to & macs) | (*w & ~macs);
}

/*
 * MAC addresses, TTL − 1 and the checksum for it. RFC 1624 equation 3, HC' = ~(~HC + ~m + m'),
 * where m is the 16-bit word that holds TTL and protocol. Read little-endian, TTL is its low byte,
 * so m' = m − 1 and HC' is HC + 1 modulo 0xffff, whatever m was. TTL ≥ 1.
 */
static inline void rewrite_ipv4(struct frame_head *h, const struct p2pnic_adjacency *adjacency)
{
	/* Word 11 is TTL and protocol, 12 the checksum. */
	const frame_words step = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xffff, 1};
	const frame_words end = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xfffe};
	const frame_words carry = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
	frame_words w;

	with_macs(&w, h, adjacency);
	w += step + ((frame_words)(w >= end) & carry);
	__builtin_memcpy(h, &w, sizeof(w));
}

/* Hop limit − 1: the high byte of word 10. */
static inline void rewrite_ipv6(struct frame_head *h, const struct p2pnic_adjacency *adjacency)
{
	const frame_words step = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x100};
	frame_words w;

	with_macs(&w, h, adjacency);
	w -= step;
	__builtin_memcpy(h, &w, sizeof(w));
}

/* --- Flows ------------------------------------------------------------------------------------ */

static uint64_t inner_flow(
	const uint8_t *data, uint32_t at, uint8_t protocol, uint32_t length, uint32_t flow);

/*
 * What tells flows between two addresses apart: ports and protocol, in words that lie apart. `at`:
 * where the header of `protocol` begins. Extension headers before it are passed over (RFC 8200
 * §4.3, §4.4, §4.6; RFC 4302 §2.2), up to eight. A fragment has no ports, the first of a packet
 * neither: all of them take one path. `flow`: P2PNIC_FLOW_*.
 */
static inline uint64_t flow_ports(
	const uint8_t *data, uint32_t at, uint8_t protocol, uint32_t length, uint32_t flow)
{
	for (unsigned headers = 0; headers <= 8 && at + 4 <= length; headers++) {
		uint32_t word = load32(data + at), bytes;

		__asm__ volatile("" : "+r"(word)); /* no second look at a stranger's memory */
		switch (protocol) {
		case TCP:
		case UDP:
		case DCCP:
		case SCTP:
		case UDP_LITE:
			if (flow & P2PNIC_FLOW_SYMMETRIC)
				word = (word & 0xffff) + (word >> 16);
			return word * 0x9e3779b97f4a7c15ull ^ (uint64_t)protocol << 40;
		case HOP_BY_HOP:
		case ROUTING:
		case DESTINATION_OPTIONS:
			bytes = ((word >> 8 & 0xff) + 1) * 8;
			break;
		case AUTHENTICATION:
			bytes = ((word >> 8 & 0xff) + 2) * 4;
			break;
		case IPV4_IN_IP:
		case IPV6_IN_IP:
		case GRE:
			if (flow & P2PNIC_FLOW_INNER)
				return inner_flow(data, at, protocol, length, flow);
			return (uint64_t)protocol << 40;
		default:
			return (uint64_t)protocol << 40;
		}
		protocol = (uint8_t)word;
		at += bytes;
	}
	return (uint64_t)protocol << 40;
}

static uint64_t inner_ipv4(const uint8_t *data, uint32_t at, uint32_t length, uint32_t flow)
{
	uint32_t source, destination, header;
	uint64_t pair;
	bool fragment;

	if (at + IPV4_BYTES > length)
		return 0;
	source = load32(data + at + 12);
	destination = load32(data + at + 16);
	header = (data[at] & 0xfu) * 4;
	fragment = load16(data + at + 6) & 0xff3f; /* as it lies there: big-endian */
	pair = flow & P2PNIC_FLOW_SYMMETRIC ? (uint64_t)source + destination
					    : (uint64_t)source << 32 | destination;
	return mix(pair) ^ flow_ports(data, at + header, data[at + 9], fragment ? 0 : length, flow);
}

static uint64_t inner_ipv6(const uint8_t *data, uint32_t at, uint32_t length, uint32_t flow)
{
	uint64_t from, to;

	if (at + IPV6_BYTES > length)
		return 0;
	from = load64(data + at + 8) + 3 * load64(data + at + 16);
	to = load64(data + at + 24) + 3 * load64(data + at + 32);
	return mix(flow & P2PNIC_FLOW_SYMMETRIC ? from + to : from + 5 * to) ^
	       flow_ports(data, at + IPV6_BYTES, data[at + 6], length, flow);
}

/*
 * The flow of what a tunnel carries. `at`: where the tunnel's header begins, or what it carries
 * where it has none. Of a tunnel in it only the addresses count. GRE: with checksum, key and
 * sequence number, four bytes each; of another version, or with another kind of packet in it, all
 * packets are one flow.
 */
static uint64_t inner_flow(
	const uint8_t *data, uint32_t at, uint8_t protocol, uint32_t length, uint32_t flow)
{
	flow &= ~P2PNIC_FLOW_INNER;
	if (protocol == GRE) {
		uint32_t word = load32(data + at);
		uint32_t options = (word >> 7 & 1) + (word >> 5 & 1) + (word >> 4 & 1);

		/* Ethernet type, and what must be 0: the routing bit, the version and all between.
		 */
		if ((word & 0xffffff40) == ETHERTYPE_IPV4_LE << 16)
			protocol = IPV4_IN_IP;
		if ((word & 0xffffff40) == ETHERTYPE_IPV6_LE << 16)
			protocol = IPV6_IN_IP;
		at += 4 + 4 * options;
	}
	if (protocol == IPV4_IN_IP)
		return inner_ipv4(data, at, length, flow);
	if (protocol == IPV6_IN_IP)
		return inner_ipv6(data, at, length, flow);
	return (uint64_t)GRE << 40;
}

/*
 * The flow of a packet, for ECMP: addresses, protocol and ports, with the router's seed: routers
 * one behind the other that hash alike would each use a part of their paths only. `layer4`: where
 * ports begin; `length`: of the packet with its Ethernet header. Symmetric: sums of what source and
 * destination have, so that both directions of a connection are one flow.
 */
static inline uint32_t ipv4_flow(const struct nic *n, const struct frame_head *h,
	uint32_t destination, const uint8_t *data, uint32_t layer4, uint32_t length)
{
	const bool symmetric = n->flow & P2PNIC_FLOW_SYMMETRIC;
	uint8_t protocol = (uint8_t)(h->high[0] >> 56);
	bool fragment = swap16((uint16_t)(h->high[0] >> 32)) & 0x3fff;
	uint64_t source = ipv4_source(h), x = source << 32 | destination;

	if (symmetric)
		x = source + destination;
	x ^= flow_ports(data, layer4, protocol, fragment ? 0 : length, n->flow);
	return mix(x ^ n->flow_seed);
}

/* IPv6: the sender's flow label says what a flow is (RFC 6437, RFC 6438); without one, and where
 * both directions are to be one, ports do (RFC 6437 §3). */
static inline uint32_t ipv6_flow(
	const struct nic *n, const struct frame_head *h, const uint8_t *data, uint32_t length)
{
	const bool symmetric = n->flow & P2PNIC_FLOW_SYMMETRIC;
	uint64_t label = (h->low[1] >> 56 & 0xf) | (h->high[0] & 0xffff) << 4;
	uint64_t from = load64(data + 22) + 3 * load64(data + 30);
	uint64_t to = load64(data + 38) + 3 * load64(data + 46);
	uint64_t x = symmetric ? from + to : from + 5 * to;

	if (label && !symmetric)
		return mix((x + (label << 32)) ^ n->flow_seed);
	x ^= flow_ports(data, ETHERNET_BYTES + IPV6_BYTES, ipv6_next_header(h), length, n->flow);
	return mix(x ^ n->flow_seed);
}

/* --- Resolve ---------------------------------------------------------------------------------- */

/* The host's tables, by value: what a burst needs of them stays in registers. */
struct tables {
	const struct ring_out *out;
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

/* A group whose buckets flows are spread over. */
static inline bool is_spread(uint32_t word)
{
	return is_group(word) && !(word & P2PNIC_NEXT_HOP_ORDERED);
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

/* Likewise FORWARD_TAGGED. A kind of its own, so that the comparison above is all that a packet
 * without a tag meets. */
static inline bool word_forwards_tagged(uint32_t word)
{
	const uint32_t kind = (P2PNIC_ADJACENCY_FORWARD ^ P2PNIC_ADJACENCY_FORWARD_TAGGED) << 16;

	return word_forwards(word ^ kind);
}

static inline bool has_carrier(const struct tables *t, uint32_t adjacency)
{
	uint32_t word = adjacency_word(&t->adjacency[adjacency]);

	const struct ring_out *out = &t->out[WORD_EGRESS(word) & (P2PNIC_NICS_MAX - 1)];

	return (!word_forwards(word) && !word_forwards_tagged(word)) ||
	       (out->open && !ring_out_link(out));
}

/*
 * A bucket of the group in `word`: the one of that flow, or, where that leads to a port without a
 * carrier, another: at random by the flow, so that the flows of one port spread over all others,
 * and one after the other where that finds none, or the group is in order. Until the host has
 * changed the group each packet pays for its detour, so there is an end to it.
 */
#define DETOURS_RANDOM 8u
#define DETOURS_MAX    (DETOURS_RANDOM + 64u)
static uint32_t bucket_of(const struct tables *t, uint32_t word, uint32_t flow)
{
	const uint32_t mask = (1u << P2PNIC_NEXT_HOP_LOG2(word)) - 1;
	uint32_t first = 0;

	for (uint32_t k = 0; k < DETOURS_MAX; k++) {
		uint32_t at = P2PNIC_NEXT_HOP_FIRST(word) + (flow & mask);
		uint32_t index =
			t->bucket[at & (P2PNIC_BUCKETS_MAX - 1)] & (P2PNIC_ADJACENCIES_MAX - 1);

		if (likely(has_carrier(t, index)))
			return index;
		if (k == 0)
			first = index;
		flow = is_spread(word) && k < DETOURS_RANDOM ? mix(flow) : flow + 1;
	}
	return first;
}

static inline uint32_t adjacency_index(const struct tables *t, uint32_t word, uint32_t flow)
{
	if (unlikely(is_group(word)))
		return bucket_of(t, word, flow);
	return P2PNIC_NEXT_HOP_FIRST(word) & (P2PNIC_ADJACENCIES_MAX - 1);
}

/* Why a packet does not simply leave by this adjacency. */
static verdict refusal(const struct nic *n, uint32_t word, bool expired)
{
	switch (WORD_KIND(word)) {
	case P2PNIC_ADJACENCY_FORWARD:
	case P2PNIC_ADJACENCY_FORWARD_TAGGED:
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

/* Notes the egress of packet k, and the adjacency that it leaves by. False: it does not simply
 * leave by that one: see_others. */
static inline bool leave_by(const struct tables *t, struct burst *b, unsigned k, uint32_t word,
	uint32_t flow, bool expired, const struct p2pnic_adjacency **by)
{
	uint32_t index = adjacency_index(t, word, flow);
	uint32_t to = adjacency_word(&t->adjacency[index]);

	if (unlikely(!word_forwards(to) || expired ||
		     b->length[k] > ETHERNET_BYTES + WORD_MTU(to))) {
		b->others |= 1ull << k;
		b->by[k] = (uint16_t)index;
		return false;
	}
	note_use(&t->used[index]);
	b->egress[k] = (uint8_t)WORD_EGRESS(to);
	*by = &t->adjacency[index];
	return true;
}

static inline void resolve4(const struct nic *n, struct burst *b)
{
	const struct tables tables = {n->out, n->next_hop, n->bucket, n->adjacency, n->used};

	for (unsigned j = 0; j < b->n4; j++) {
		unsigned k = b->index4[j];
		struct frame_head *head = &b->head[k];
		uint32_t word = next_hop_word(&tables, b->hop4[j]);
		uint32_t flow = unlikely(is_spread(word))
					? ipv4_flow(n, head, b->address4[j], b->frame[k].data,
						  b->layer4[k], b->length[k])
					: 0;
		const struct p2pnic_adjacency *by;

		if (likely(leave_by(&tables, b, k, word, flow, ipv4_expired(head), &by)))
			rewrite_ipv4(head, by);
	}
}

static void resolve6(const struct nic *n, struct burst *b)
{
	const struct tables tables = {n->out, n->next_hop, n->bucket, n->adjacency, n->used};

	for (unsigned j = 0; j < b->n6; j++) {
		unsigned k = b->index6[j];
		struct frame_head *head = &b->head[k];
		uint32_t word = next_hop_word(&tables, b->hop6[j]);
		uint32_t flow = unlikely(is_spread(word))
					? ipv6_flow(n, head, b->frame[k].data, b->length[k])
					: 0;
		const struct p2pnic_adjacency *by;

		if (likely(leave_by(&tables, b, k, word, flow, ipv6_expired(head), &by)))
			rewrite_ipv6(head, by);
	}
}

static void resolve_special(const struct nic *n, struct burst *b)
{
	const struct tables tables = {n->out, n->next_hop, n->bucket, n->adjacency, n->used};

	for (unsigned k = 0; k < b->specials; k++) {
		const struct burst_special *s = &b->special[k];
		uint32_t word = next_hop_word(&tables, s->hop);
		uint32_t index = adjacency_index(&tables, word, 0);

		if (WORD_KIND(adjacency_word(&tables.adjacency[index])) == P2PNIC_ADJACENCY_LOCAL)
			b->verdict[s->frame] = s->local;
	}
}

/* --- Reverse path ----------------------------------------------------------------------------- */

#define REVERSE_BUCKETS_MAX 256u

/* Does an adjacency lead out of this NIC, by that VLAN? */
static bool is_here(const struct nic *n, const struct p2pnic_adjacency *to, uint32_t vid)
{
	const uint32_t word = adjacency_word(to);

	if (WORD_EGRESS(word) != n->index)
		return false;
	switch (WORD_KIND(word)) {
	case P2PNIC_ADJACENCY_FORWARD:
		return vid == 0;
	case P2PNIC_ADJACENCY_FORWARD_TAGGED:
	case P2PNIC_ADJACENCY_GLEAN:
		return vid == TAG_VID(to->encapsulation);
	default:
		return false;
	}
}

/* Does a next hop lead there? Of a large group the first buckets tell. */
static bool leads_here(const struct nic *n, const struct tables *t, uint32_t word, uint32_t vid)
{
	uint32_t buckets = 1u << P2PNIC_NEXT_HOP_LOG2(word);

	for (uint32_t k = 0; k < buckets && k < REVERSE_BUCKETS_MAX; k++) {
		uint32_t at = P2PNIC_NEXT_HOP_FIRST(word) + k;

		if (is_group(word))
			at = t->bucket[at & (P2PNIC_BUCKETS_MAX - 1)];
		if (is_here(n, &t->adjacency[at & (P2PNIC_ADJACENCIES_MAX - 1)], vid))
			return true;
	}
	return false;
}

/*
 * Would an answer to this source find its way: at all (loose, RFC 3704 §2.4), out of the NIC that
 * received the packet, by the VLAN that it came by (strict, §2.2; with several ways any of them,
 * §2.3)? This router's own addresses are nobody else's source.
 */
static bool may_come(const struct nic *n, const struct tables *t, uint32_t word, uint32_t vid)
{
	switch (WORD_KIND(adjacency_word(&t->adjacency[adjacency_index(t, word, 0)]))) {
	case P2PNIC_ADJACENCY_FORWARD:
	case P2PNIC_ADJACENCY_FORWARD_TAGGED:
	case P2PNIC_ADJACENCY_GLEAN:
		return n->reverse_path == P2PNIC_REVERSE_PATH_LOOSE || leads_here(n, t, word, vid);
	case P2PNIC_ADJACENCY_KERNEL:
		return n->reverse_path == P2PNIC_REVERSE_PATH_LOOSE;
	default:
		return false;
	}
}

static void refuse(struct burst *b, unsigned k)
{
	b->egress[k] = BURST_NOWHERE;
	b->pushed &= ~(1ull << k);
	b->verdict[k] = VERDICT(REVERSE_PATH);
}

/* All sources of the burst are looked up at once, as destinations are. */
static void check_sources(const struct nic *n, struct burst *b)
{
	const struct tables tables = {n->out, n->next_hop, n->bucket, n->adjacency, n->used};
	uint32_t source4[P2PNIC_BURST_MAX + BURST_GROUP] __attribute__((aligned(64)));
	struct fib_ipv6 source6[P2PNIC_BURST_MAX];
	uint16_t hop[P2PNIC_BURST_MAX] = {0};

	for (unsigned j = 0; j < b->n4; j++)
		source4[j] = ipv4_source(&b->head[b->index4[j]]);
	if (n->fib4)
		fib4_lookup(n->fib4, source4, hop, b->n4);
	for (unsigned j = 0; j < b->n4; j++)
		if (!may_come(n, &tables, next_hop_word(&tables, n->fib4 ? hop[j] : 0),
			    burst_vid(b, b->index4[j])))
			refuse(b, b->index4[j]);
	for (unsigned j = 0; j < b->n6; j++)
		source6[j] = ipv6_address(b->frame[b->index6[j]].data + 22);
	if (b->n6 && n->fib6)
		fib6_lookup(n->fib6, source6, hop, b->n6);
	for (unsigned j = 0; j < b->n6; j++)
		if (!may_come(n, &tables, next_hop_word(&tables, n->fib6 ? hop[j] : 0),
			    burst_vid(b, b->index6[j])))
			refuse(b, b->index6[j]);
}

/* --- Tags ------------------------------------------------------------------------------------- */

static inline bool is_ipv4(const struct frame_head *h)
{
	return ethertype_le(h) == ETHERTYPE_IPV4_LE;
}

/* Packets that do not simply leave by their adjacency: it is one with a tag, or there is a reason.
 * A frame with its tag must fit into a buffer, whatever the host says of the link. */
static void see_others(const struct nic *n, struct burst *b)
{
	uint64_t left = b->others;

	for (unsigned k = 0; left; k++, left >>= 1) {
		uint32_t word, most;
		bool expired;

		if (!(left & 1))
			continue;
		word = adjacency_word(&n->adjacency[b->by[k]]);
		most = ETHERNET_BYTES + WORD_MTU(word);
		if (most > P2PNIC_FRAME_BYTES_MAX(n->buffer_bytes) - P2PNIC_TAG_BYTES)
			most = P2PNIC_FRAME_BYTES_MAX(n->buffer_bytes) - P2PNIC_TAG_BYTES;
		expired = is_ipv4(&b->head[k]) ? ipv4_expired(&b->head[k])
					       : ipv6_expired(&b->head[k]);
		if (word_forwards_tagged(word) && !expired && b->length[k] <= most)
			b->pushed |= 1ull << k;
		else
			b->verdict[k] = refusal(n, word, expired);
	}
}

/* Packets that leave with a tag. Last: until here a frame lies where its IP header is looked for.
 * What a rewrite changes is in the first 28 bytes, which stay in the head. */
static void push_tags(const struct nic *n, struct burst *b)
{
	uint64_t left = b->pushed;

	for (unsigned k = 0; left; k++, left >>= 1) {
		const struct p2pnic_adjacency *by = &n->adjacency[b->by[k]];
		struct frame_head *head = &b->head[k];

		if (!(left & 1))
			continue;
		note_use(&n->used[b->by[k]]);
		b->egress[k] = (uint8_t)WORD_EGRESS(adjacency_word(by)) & (P2PNIC_NICS_MAX - 1);
		if (is_ipv4(head))
			rewrite_ipv4(head, by);
		else
			rewrite_ipv6(head, by);
		head_push_tag(head, load16((const uint8_t *)&by->encapsulation));
		b->frame[k].data -= P2PNIC_TAG_BYTES;
		b->length[k] += P2PNIC_TAG_BYTES;
		b->lengths |= b->length[k];
	}
}

void resolve_again(const struct nic *n, const struct burst *b, unsigned k, uint16_t hop,
	uint32_t *flow, uint16_t *adjacency)
{
	const struct tables tables = {n->out, n->next_hop, n->bucket, n->adjacency, n->used};
	const uint8_t *data = b->frame[k].data + (b->pushed >> k & 1 ? P2PNIC_TAG_BYTES : 0);
	const uint32_t length = b->length[k] - (b->pushed >> k & 1 ? P2PNIC_TAG_BYTES : 0);
	const uint32_t word = next_hop_word(&tables, hop);
	const struct frame_head head = {
		{load64(data), load64(data + 8)}, {load64(data + 16), load64(data + 24)}};

	*flow = is_ipv4(&head) ? ipv4_flow(n, &head, ipv4_destination(&head, load16(data + 32)),
					 data, b->layer4[k], length)
			       : ipv6_flow(n, &head, data, length);
	*adjacency = (uint16_t)adjacency_index(&tables, word, is_spread(word) ? *flow : 0);
}

void resolve(const struct nic *n, struct burst *b)
{
	resolve4(n, b);
	resolve6(n, b);
	if (unlikely(b->others))
		see_others(n, b);
	resolve_special(n, b);
	if (unlikely(n->reverse_path))
		check_sources(n, b);
	if (unlikely(b->pushed))
		push_tags(n, b);
}
