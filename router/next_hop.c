/* SPDX-License-Identifier: BSD-3-Clause */
#include "router/next_hop.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define HEADS (sizeof(((struct next_hops *)0)->head) / sizeof(uint16_t))

struct next_hops *next_hops_new(void)
{
	struct next_hops *h = calloc(1, sizeof(*h));

	if (h)
		h->adjacency_used[0] = true;
	return h;
}

struct next_hops *next_hops_copy(const struct next_hops *from)
{
	struct next_hops *h = malloc(sizeof(*h));

	if (h) {
		*h = *from;
		memset(h->settled, 0, sizeof(h->settled));
	}
	return h;
}

/* --- Keys ------------------------------------------------------------------------------------- */

static unsigned hash(const struct next_hop_key *k)
{
	uint64_t x = k->prefix.address.bits.high * 0x9e3779b97f4a7c15u;

	x ^= x >> 29;
	x = (x + k->prefix.address.bits.low) * 0xbf58476d1ce4e5b9u;
	x ^= x >> 31;
	x = (x + k->prefix.length + 256u * k->type + 4096u * k->kind + 65536u * k->nic +
		    ((uint64_t)k->vid << 24)) *
	    0x94d049bb133111ebu;
	return (unsigned)(x >> 32) % HEADS;
}

static bool key_equal(const struct next_hop_key *a, const struct next_hop_key *b)
{
	return a->type == b->type && a->kind == b->kind && a->nic == b->nic && a->vid == b->vid &&
	       a->prefix.length == b->prefix.length &&
	       address_equal(&a->prefix.address, &b->prefix.address);
}

/* 0: there is none. */
static unsigned find(const struct next_hops *h, const struct next_hop_key *key)
{
	unsigned k = h->head[hash(key)];

	while (k && !key_equal(&h->key[k], key))
		k = h->chain[k];
	return k;
}

static void link_key(struct next_hops *h, unsigned k)
{
	uint16_t *head = &h->head[hash(&h->key[k])];

	h->chain[k] = *head;
	*head = (uint16_t)k;
}

int next_hops_take(struct next_hops *h, const struct next_hop_key *key)
{
	unsigned k = find(h, key);

	if (k)
		return (int)k;
	for (k = 1; k < TABLE_HALF_NEXT_HOPS; k++)
		if (h->key[k].type == NEXT_HOP_FREE) {
			h->key[k] = *key;
			h->taken++;
			link_key(h, k);
			return (int)k;
		}
	return -ENOSPC;
}

bool next_hops_spare(const struct next_hops *h, const struct next_hop_key *key)
{
	return h->taken < TABLE_HALF_NEXT_HOPS / 2 || find(h, key);
}

static struct next_hop_key gateway_key(const struct address *a)
{
	return (struct next_hop_key){
		.prefix = {*a, (uint8_t)address_bits(a)}, .type = NEXT_HOP_GATEWAY};
}

/* --- Taking ----------------------------------------------------------------------------------- */

int next_hops_adjacency(struct next_hops *h, const struct p2pnic_adjacency *a)
{
	unsigned room = 0;

	for (unsigned k = TABLE_HALF_ADJACENCIES; --k;) {
		if (!h->adjacency_used[k])
			room = k;
		else if (!memcmp(&h->adjacency[k], a, sizeof(*a)))
			return (int)k;
	}
	if (!room)
		return -ENOSPC;
	h->adjacency[room] = *a;
	h->adjacency_used[room] = true;
	return (int)room;
}

int next_hops_lead_to(struct next_hops *h, unsigned k, const struct p2pnic_adjacency *a)
{
	const uint32_t word = h->word[k];
	int adjacency;

	if (word && !P2PNIC_NEXT_HOP_LOG2(word) &&
		!memcmp(&h->adjacency[P2PNIC_NEXT_HOP_FIRST(word)], a, sizeof(*a))) {
		h->settled[k] = true;
		return (int)k;
	}
	adjacency = next_hops_adjacency(h, a);
	if (adjacency < 0)
		return adjacency;
	h->word[k] = P2PNIC_NEXT_HOP(adjacency, 0);
	h->settled[k] = true;
	return (int)k;
}

static int take_leading_to(
	struct next_hops *h, const struct next_hop_key *key, const struct p2pnic_adjacency *a)
{
	int k = next_hops_take(h, key);

	return k < 0 ? k : next_hops_lead_to(h, (unsigned)k, a);
}

int next_hops_settled(const struct next_hops *h, const struct address *gateway)
{
	const struct next_hop_key key = gateway_key(gateway);
	unsigned k = find(h, &key);

	return h->settled[k] ? (int)k : 0;
}

int next_hops_gateway(
	struct next_hops *h, const struct address *gateway, const struct p2pnic_adjacency *a)
{
	const struct next_hop_key key = gateway_key(gateway);

	return take_leading_to(h, &key, a);
}

int next_hops_fate(struct next_hops *h, enum p2pnic_adjacency_kind kind, unsigned nic, unsigned vid)
{
	const struct next_hop_key key = {.type = NEXT_HOP_FATE,
		.kind = (uint8_t)kind,
		.nic = (uint8_t)nic,
		.vid = (uint16_t)vid};
	const struct p2pnic_adjacency a = {
		.kind = (uint8_t)kind, .egress = (uint8_t)nic, .encapsulation = (uint16_t)vid};
	unsigned k = find(h, &key);

	return h->settled[k] ? (int)k : take_leading_to(h, &key, &a);
}

/* The first of 2^log2 free buckets, at a multiple of that: so ranges of few sizes leave few
 * gaps. */
static int allocate_buckets(struct next_hops *h, unsigned log2)
{
	const unsigned n = 1u << log2;

	for (unsigned first = 0; first + n <= TABLE_HALF_BUCKETS; first += n)
		if (!memchr(h->bucket_used + first, true, n)) {
			memset(h->bucket_used + first, true, n);
			return (int)first;
		}
	return -ENOSPC;
}

static p2pnic_bucket bucket_of(const struct next_hops *h, uint32_t word, uint32_t flow)
{
	uint32_t first = P2PNIC_NEXT_HOP_FIRST(word), log2 = P2PNIC_NEXT_HOP_LOG2(word);

	return log2 ? h->bucket[first + (flow & ((1u << log2) - 1))] : (p2pnic_bucket)first;
}

/* Leads it to 2^log2 new buckets. */
static int lead_to_buckets(
	struct next_hops *h, unsigned k, const p2pnic_bucket *now, unsigned log2, uint32_t flags)
{
	int first = allocate_buckets(h, log2);

	if (first < 0)
		return first;
	memcpy(h->bucket + first, now, sizeof(*now) << log2);
	h->word[k] = P2PNIC_NEXT_HOP(first, log2) | flags;
	return (int)k;
}

int next_hops_order(
	struct next_hops *h, unsigned k, const uint16_t *adjacency, unsigned adjacencies)
{
	p2pnic_bucket now[1u << GROUP_LOG2_MAX];
	const uint32_t word = h->word[k];
	unsigned log2 = 1;

	while (1u << log2 < adjacencies)
		log2++;
	for (unsigned b = 0; b < 1u << log2; b++)
		now[b] = adjacency[b < adjacencies ? b : adjacencies - 1];
	if ((word & P2PNIC_NEXT_HOP_ORDERED) && P2PNIC_NEXT_HOP_LOG2(word) == log2 &&
		!memcmp(now, h->bucket + P2PNIC_NEXT_HOP_FIRST(word), sizeof(*now) << log2))
		return (int)k;
	return lead_to_buckets(h, k, now, log2, P2PNIC_NEXT_HOP_ORDERED);
}

int next_hops_share(
	struct next_hops *h, unsigned k, const struct group_member *member, unsigned members)
{
	p2pnic_bucket before[1u << GROUP_LOG2_MAX], now[1u << GROUP_LOG2_MAX];
	uint32_t word = h->word[k];
	unsigned log2 = group_log2(member, members), old_log2;

	if (word & P2PNIC_NEXT_HOP_ORDERED)
		word = P2PNIC_NEXT_HOP(bucket_of(h, word, 0), 0); /* for all flows */
	old_log2 = P2PNIC_NEXT_HOP_LOG2(word);

	if (log2 && log2 < old_log2)
		log2 = old_log2;
	for (uint32_t b = 0; b < 1u << log2; b++)
		before[b] = bucket_of(h, word, b);
	if (group_fill(now, word ? before : NULL, log2, member, members) < 0)
		return -EINVAL;
	if (log2 == 0) {
		h->word[k] = P2PNIC_NEXT_HOP(now[0], 0);
		return (int)k;
	}
	if (log2 == old_log2 && !memcmp(now, before, sizeof(*now) << log2))
		return (int)k;
	return lead_to_buckets(h, k, now, log2, 0);
}

int next_hops_group(struct next_hops *h, const struct prefix *p, const struct group_member *member,
	unsigned members)
{
	const struct next_hop_key key = {.prefix = *p, .type = NEXT_HOP_GROUP};
	int k = next_hops_take(h, &key);

	return k < 0 ? k : next_hops_share(h, (unsigned)k, member, members);
}

/* --- Letting go, and into NICs ---------------------------------------------------------------- */

/* As it stands in that half. */
static uint32_t word_in(uint32_t word, unsigned half)
{
	const uint32_t per_half =
		P2PNIC_NEXT_HOP_LOG2(word) ? TABLE_HALF_BUCKETS : TABLE_HALF_ADJACENCIES;

	return word + P2PNIC_NEXT_HOP(half * per_half, 0);
}

uint64_t next_hops_write(const struct next_hops *now, const struct next_hops *before, uint8_t *bar2,
	unsigned half, unsigned *moved)
{
	const unsigned adjacencies = half * TABLE_HALF_ADJACENCIES;
	const unsigned buckets = half * TABLE_HALF_BUCKETS;
	struct p2pnic_adjacency *adjacency =
		(struct p2pnic_adjacency *)(bar2 + P2PNIC_BAR2_ADJACENCIES) + adjacencies;
	p2pnic_bucket *bucket = (p2pnic_bucket *)(bar2 + P2PNIC_BAR2_BUCKETS) + buckets;
	p2pnic_next_hop *word =
		(p2pnic_next_hop *)(bar2 + P2PNIC_BAR2_NEXT_HOPS) + half * TABLE_HALF_NEXT_HOPS;
	uint64_t bytes = 0;

	*moved = 0;
	for (unsigned k = 0; k < TABLE_HALF_ADJACENCIES; k++)
		if (now->adjacency_used[k] && !(before && before->adjacency_used[k])) {
			memcpy(&adjacency[k], &now->adjacency[k], sizeof(*adjacency));
			bytes += sizeof(*adjacency);
		}
	for (unsigned k = 0; k < TABLE_HALF_BUCKETS; k++)
		if (now->bucket_used[k] && !(before && before->bucket_used[k])) {
			bucket[k] = (p2pnic_bucket)(now->bucket[k] + adjacencies);
			bytes += sizeof(*bucket);
		}
	for (unsigned k = 1; k < TABLE_HALF_NEXT_HOPS; k++) {
		if (!now->word[k] || now->word[k] == (before ? before->word[k] : 0))
			continue;
		/* Release: pairs with the acquire by which the NIC reads the word. */
		atomic_store_explicit(&word[k], word_in(now->word[k], half), memory_order_release);
		bytes += sizeof(*word);
		*moved += before && before->word[k];
	}
	return bytes;
}

bool next_hops_has(const struct next_hops *h, unsigned next_hop, const uint8_t *bar2, unsigned half)
{
	const unsigned adjacencies = half * TABLE_HALF_ADJACENCIES;
	const unsigned buckets = half * TABLE_HALF_BUCKETS;
	const struct p2pnic_adjacency *adjacency =
		(const struct p2pnic_adjacency *)(bar2 + P2PNIC_BAR2_ADJACENCIES) + adjacencies;
	const p2pnic_bucket *bucket = (const p2pnic_bucket *)(bar2 + P2PNIC_BAR2_BUCKETS) + buckets;
	const p2pnic_next_hop *word = (const p2pnic_next_hop *)(bar2 + P2PNIC_BAR2_NEXT_HOPS) +
				      half * TABLE_HALF_NEXT_HOPS;
	const uint32_t wanted = h->word[next_hop];
	const uint32_t log2 = P2PNIC_NEXT_HOP_LOG2(wanted), first = P2PNIC_NEXT_HOP_FIRST(wanted);

	if (!wanted)
		return true;
	if (atomic_load_explicit(&word[next_hop], memory_order_relaxed) != word_in(wanted, half))
		return false;
	for (uint32_t b = 0; b < 1u << log2; b++) {
		const unsigned to = bucket_of(h, wanted, b);

		if ((log2 && bucket[first + b] != (p2pnic_bucket)(to + adjacencies)) ||
			memcmp(&adjacency[to], &h->adjacency[to], sizeof(*adjacency)) != 0)
			return false;
	}
	return true;
}

void next_hops_sweep(struct next_hops *h)
{
	memset(h->head, 0, sizeof(h->head));
	memset(h->adjacency_used + 1, 0, sizeof(h->adjacency_used) - 1);
	memset(h->bucket_used, 0, sizeof(h->bucket_used));
	h->taken = 0;
	for (unsigned k = 1; k < TABLE_HALF_NEXT_HOPS; k++) {
		uint32_t word = h->word[k];

		if (!h->users[k]) {
			h->key[k].type = NEXT_HOP_FREE;
			h->word[k] = 0;
			continue;
		}
		h->taken++;
		link_key(h, k);
		for (uint32_t b = 0; b < 1u << P2PNIC_NEXT_HOP_LOG2(word); b++) {
			h->adjacency_used[bucket_of(h, word, b)] = true;
			if (P2PNIC_NEXT_HOP_LOG2(word))
				h->bucket_used[P2PNIC_NEXT_HOP_FIRST(word) + b] = true;
		}
	}
}

const struct p2pnic_adjacency *next_hops_lead(
	const struct next_hops *h, unsigned next_hop, unsigned *members)
{
	const uint32_t word = h->word[next_hop];
	bool seen[TABLE_HALF_ADJACENCIES];

	*members = 1;
	if (!P2PNIC_NEXT_HOP_LOG2(word) || word & P2PNIC_NEXT_HOP_ORDERED)
		return &h->adjacency[bucket_of(h, word, 0)];
	memset(seen, 0, sizeof(seen));
	*members = 0;
	for (uint32_t b = 0; b < 1u << P2PNIC_NEXT_HOP_LOG2(word); b++) {
		bool *is = &seen[bucket_of(h, word, b)];

		*members += !*is;
		*is = true;
	}
	return &h->adjacency[bucket_of(h, word, 0)];
}

const struct p2pnic_adjacency *next_hops_reserve(const struct next_hops *h, unsigned next_hop)
{
	const uint32_t word = h->word[next_hop];

	return word & P2PNIC_NEXT_HOP_ORDERED ? &h->adjacency[bucket_of(h, word, 1)] : NULL;
}

bool next_hops_any(const struct next_hops *h, unsigned next_hop, next_hop_is *is, void *context)
{
	const uint32_t word = h->word[next_hop];
	const uint32_t buckets =
		word & P2PNIC_NEXT_HOP_ORDERED ? 1 : 1u << P2PNIC_NEXT_HOP_LOG2(word);

	for (uint32_t b = 0; b < buckets; b++)
		if (is(context, &h->adjacency[bucket_of(h, word, b)]))
			return true;
	return false;
}
