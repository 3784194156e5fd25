/* SPDX-License-Identifier: BSD-3-Clause */
/* Where the kernel would send a packet, found by looking through all of its state. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/unit/kernel_rig.h"

#include <string.h>

unsigned reserves;

/* Adjacencies and their shares. */
struct shares {
	struct p2pnic_adjacency adjacency[64];
	unsigned weight[64], n, total;
	struct p2pnic_adjacency reserve[KERNEL_RESERVE_MAX];
	unsigned reserves;
};

static const struct kernel_value *value(enum kernel_kind kind, uint32_t id)
{
	const struct kernel_key key = {.kind = (uint8_t)kind, .id = id};

	return kernel_state_find(mirror, &key, 0);
}

static void share(struct shares *s, struct p2pnic_adjacency a, unsigned weight)
{
	unsigned k = 0;

	while (k < s->n && memcmp(&a, &s->adjacency[k], sizeof(a)) != 0)
		k++;
	assert_true(k < 64);
	s->n += k == s->n;
	s->adjacency[k] = a;
	s->weight[k] += weight;
	s->total += weight;
}

static const uint8_t nic_of_link[LINKS + 1] = {0, 1, 2, 3, 0, 1, 2, 2};

/* No NIC's, or a part of something, as one below it may be. */
static bool is_away(uint32_t ifindex)
{
	static const uint8_t below[LINKS + 1][2] = {[5] = {1}, [6] = {2}, [7] = {6, 2}};
	bool away = value(KERNEL_LINK, ifindex)->link.master || !nic_of_link[ifindex];

	for (unsigned k = 0; k < 2 && below[ifindex][k]; k++)
		away |= value(KERNEL_LINK, below[ifindex][k])->link.master != 0;
	return away;
}

static void share_hop(struct shares *s, const struct kernel_hop *hop, unsigned weight, uint32_t mtu,
	const struct address *to)
{
	const bool tagged = hop->ifindex > 5;
	const struct kernel_value *link = value(KERNEL_LINK, hop->ifindex), *v;
	struct p2pnic_adjacency a = {.kind = P2PNIC_ADJACENCY_GLEAN};
	const bool via = hop->gateway_family;
	struct kernel_key key;
	size_t from = 0;

	if (!link || (link->link.flags & UP) != UP)
		return;
	if (is_away(hop->ifindex)) {
		share(s, (struct p2pnic_adjacency){.kind = P2PNIC_ADJACENCY_KERNEL}, weight);
		return;
	}
	a.egress = nic_of_link[hop->ifindex] - 1;
	a.encapsulation = tagged ? 17 : 0;
	while ((v = kernel_state_each(mirror, KERNEL_NEIGHBOR, &from, &key)))
		if (key.id == hop->ifindex &&
			key.family == (via ? hop->gateway_family : to->family) &&
			!memcmp(&key.address, via ? &hop->gateway : &to->bits, 16) &&
			(v->neighbor.state & ~(NUD_INCOMPLETE | NUD_FAILED))) {
			a.kind =
				tagged ? P2PNIC_ADJACENCY_FORWARD_TAGGED : P2PNIC_ADJACENCY_FORWARD;
			a.destination = v->neighbor.mac;
			a.source = link->link.mac;
			a.mtu = (uint16_t)link->link.mtu;
			if (a.mtu > links.mtu[a.egress] - (tagged ? 4 : 0))
				a.mtu = (uint16_t)(links.mtu[a.egress] - (tagged ? 4 : 0));
			if (mtu && mtu < a.mtu)
				a.mtu = (uint16_t)mtu;
		}
	share(s, a, weight);
}

static void share_hops(struct shares *s, const struct kernel_value *v, unsigned weight,
	uint32_t mtu, const struct address *to)
{
	for (unsigned k = 0; k < v->hops; k++) {
		const struct kernel_hop *hop = &v->hop[k];
		const struct kernel_value *object = value(KERNEL_NEXT_HOP, hop->next_hop);
		const struct address nobody = {{0, 0}, 0};
		/* Connected routes lead on to neighbours where that is a host route's place. */
		const bool connected = v->hops == 1 && to->family;

		if (!hop->next_hop)
			share_hop(s, hop, weight ? weight : hop->weight, mtu,
				connected ? to : &nobody);
		else if (object && object->next_hop.drops)
			share(s, (struct p2pnic_adjacency){.kind = P2PNIC_ADJACENCY_BLACKHOLE},
				hop->weight);
		else if (object)
			share_hops(
				s, object, object->next_hop.group ? 0 : hop->weight, mtu, &nobody);
	}
}

static bool goes_before(const struct kernel_key *a, const struct kernel_key *b)
{
	return a->id > b->id || (a->id == b->id && a->metric < b->metric);
}

/* Whether a neighbour on the link of a connected route has a route of its own. */
static bool has_host_route(
	const struct kernel_value *best, const struct kernel_key *key, const struct address *to)
{
	const struct kernel_value *v, *link = value(KERNEL_LINK, best->hop[0].ifindex);
	struct kernel_key other;
	size_t from = 0;

	if (best->hops != 1 || best->hop[0].next_hop || best->hop[0].gateway_family ||
		key->length == address_bits(to) || !link || is_away(best->hop[0].ifindex))
		return false;
	while ((v = kernel_state_each(mirror, KERNEL_NEIGHBOR, &from, &other)))
		if (other.id == best->hop[0].ifindex && other.family == to->family &&
			!memcmp(&other.address, &to->bits, 16) &&
			(v->neighbor.state & ~(NUD_INCOMPLETE | NUD_FAILED)))
			return true;
	return false;
}

static bool forwards(const struct p2pnic_adjacency *a)
{
	return a->kind == P2PNIC_ADJACENCY_FORWARD || a->kind == P2PNIC_ADJACENCY_FORWARD_TAGGED;
}

/* By the hops of the best; where they lead nowhere, by those of the next; which is in reserve where
 * the best has one way. */
static void share_both(struct shares *s, const struct kernel_value *best,
	const struct kernel_value *next, const struct kernel_key *key, const struct address *to)
{
	const struct address nobody = {{0, 0}, 0};
	struct shares backup = {.n = 0};

	share_hops(s, best, 0, best->route.mtu, to);
	if (next && next->route.type == RTN_UNICAST && !next->route.unsupported &&
		!has_host_route(best, key, to))
		share_hops(&backup, next, 0, next->route.mtu,
			key->length == address_bits(to) ? to : &nobody);
	if (!s->n)
		*s = backup;
	else if (s->n == 1 && forwards(&s->adjacency[0]))
		for (unsigned k = 0; k < backup.n && s->reserves < KERNEL_RESERVE_MAX; k++)
			if (forwards(&backup.adjacency[k]) &&
				backup.adjacency[k].egress != s->adjacency[0].egress)
				s->reserve[s->reserves++] = backup.adjacency[k];
	if (!s->n)
		share(s, (struct p2pnic_adjacency){.kind = P2PNIC_ADJACENCY_KERNEL}, 1);
}

static struct shares expected(const struct address *to)
{
	const struct kernel_value *v, *best = NULL, *next = NULL;
	struct kernel_key key, best_key = {0}, next_key = {0};
	struct shares s = {.n = 0};
	bool by_tos = false;
	size_t from = 0;

	while ((v = kernel_state_each(mirror, KERNEL_ROUTE, &from, &key))) {
		const struct prefix prefix = {{key.address, key.family}, key.length};

		if (key.family != to->family || key.id < RT_TABLE_DEFAULT ||
			!prefix_contains(&prefix, to) || (best && key.length < best_key.length))
			continue;
		if (best && key.length > best_key.length) {
			best = next = NULL;
			by_tos = false;
		}
		by_tos |= key.tos != 0;
		if (!best || goes_before(&key, &best_key)) {
			next = best;
			next_key = best_key;
			best = v;
			best_key = key;
		} else if (!next || goes_before(&key, &next_key)) {
			next = v;
			next_key = key;
		}
	}
	if (!best || (best->route.type == RTN_THROW && !by_tos)) {
		share(&s, (struct p2pnic_adjacency){.kind = P2PNIC_ADJACENCY_NONE}, 1);
	} else if (by_tos || best->route.unsupported) {
		share(&s, (struct p2pnic_adjacency){.kind = P2PNIC_ADJACENCY_KERNEL}, 1);
	} else if (best->route.type == RTN_UNICAST) {
		share_both(&s, best, next, &best_key, to);
	} else {
		static const uint8_t kind[] = {[RTN_LOCAL] = P2PNIC_ADJACENCY_LOCAL,
			[RTN_BROADCAST] = P2PNIC_ADJACENCY_BROADCAST,
			[RTN_ANYCAST] = P2PNIC_ADJACENCY_LOCAL,
			[RTN_BLACKHOLE] = P2PNIC_ADJACENCY_BLACKHOLE,
			[RTN_UNREACHABLE] = P2PNIC_ADJACENCY_UNREACHABLE,
			[RTN_PROHIBIT] = P2PNIC_ADJACENCY_PROHIBIT};

		share(&s, (struct p2pnic_adjacency){.kind = kind[best->route.type]}, 1);
	}
	return s;
}

void assert_shares(const struct fake_nic *n, const struct address *to)
{
	const struct shares want = expected(to);
	static struct way got;
	unsigned found = 0;

	fake_way(n, to, &got);
	if (got.adjacency[0].kind == P2PNIC_ADJACENCY_LOCAL)
		got.adjacency[0].egress = 0;
	assert_int_equal(got.ordered, want.reserves != 0);
	if (got.ordered) {
		reserves++;
		assert_true(got.buckets > want.reserves);
		assert_memory_equal(&got.adjacency[0], &want.adjacency[0], sizeof(*want.adjacency));
		for (unsigned k = 1; k < got.buckets; k++)
			assert_memory_equal(&got.adjacency[k],
				&want.reserve[(k < want.reserves ? k : want.reserves) - 1],
				sizeof(*want.reserve));
		return;
	}
	for (unsigned k = 0; k < want.n; k++) {
		const unsigned has = way_count(&got, &want.adjacency[k]);
		const double more = (double)has / got.buckets - (double)want.weight[k] / want.total;

		if (!has || more > 1.0 / got.buckets || -more > 1.0 / got.buckets) {
			char text[ADDRESS_TEXT_BYTES];

			fail_msg("%s: kind %u egress %u has %u of %u buckets, wants %u of %u; "
				 "bucket 0 is kind %u egress %u mtu %u, not %u",
				address_text(to, text), want.adjacency[k].kind,
				want.adjacency[k].egress, has, got.buckets, want.weight[k],
				want.total, got.adjacency[0].kind, got.adjacency[0].egress,
				got.adjacency[0].mtu, want.adjacency[k].mtu);
		}
		found += has;
	}
	assert_int_equal(found, got.buckets);
}

void right(const char *text)
{
	const struct address a = parsed(text);

	for (unsigned k = 0; k < NICS; k++)
		assert_shares(&nic[k], &a);
}

unsigned kind(const char *text)
{
	const struct address a = parsed(text);
	static struct way way;

	right(text);
	fake_way(&nic[1], &a, &way);
	return way.adjacency[0].kind;
}
