/* SPDX-License-Identifier: BSD-3-Clause */
#include "router/kernel_way.h"

#include <errno.h>
#include <linux/if.h>
#include <linux/if_ether.h>
#include <linux/neighbour.h>
#include <stdlib.h>
#include <string.h>

#define NUD_VALID   (NUD_PERMANENT | NUD_NOARP | NUD_REACHABLE | NUD_PROBE | NUD_STALE | NUD_DELAY)
#define NESTING_MAX 2u /* a route names a group, that its members */

/* The path of the best route, and of its backup; hops of the one, then of the other. */
struct kernel_way {
	struct kernel_path path[2];
	struct kernel_hop hop[];
};

/* Where a path's packets go: adjacencies, each once. */
struct spread {
	uint32_t mtu;
	struct p2pnic_adjacency adjacency[KERNEL_HOPS_MAX];
	uint32_t weight[KERNEL_HOPS_MAX];
	unsigned n;
};

static const struct kernel_value *value_of(
	const struct kernel_ways *w, enum kernel_kind kind, uint32_t id)
{
	const struct kernel_key key = {.kind = (uint8_t)kind, .id = id};

	return kernel_state_find(w->state, &key, 0);
}

/* The link below one that is a link of its own: no part of a bridge, bond or VRF. NULL: none. */
static const struct kernel_value *below(
	const struct kernel_ways *w, const struct kernel_value *v, uint32_t *ifindex)
{
	*ifindex = v->link.lower;
	return v->link.master || v->link.lower_is_away || !v->link.lower
		       ? NULL
		       : value_of(w, KERNEL_LINK, v->link.lower);
}

int kernel_nics_find(const struct kernel_nics *nics, uint32_t ifindex)
{
	for (unsigned k = 0; k < nics->n; k++)
		if (ifindex && nics->ifindex[k] == ifindex)
			return (int)k;
	return -1;
}

/* A tap, a VLAN of one, or a macvlan of either. */
int kernel_ways_port(const struct kernel_ways *w, uint32_t ifindex, unsigned *vid)
{
	const struct kernel_value *v = value_of(w, KERNEL_LINK, ifindex);

	*vid = 0;
	if (v && v->link.kind == KERNEL_LINK_MACVLAN)
		v = below(w, v, &ifindex);
	if (v && v->link.kind == KERNEL_LINK_VLAN && v->link.vlan_type == ETH_P_8021Q) {
		*vid = v->link.vlan;
		v = below(w, v, &ifindex);
	}
	return v && !v->link.master ? kernel_nics_find(w->nics, ifindex) : -1;
}

int kernel_ways_nic(const struct kernel_ways *w, uint32_t ifindex)
{
	unsigned vid;

	return kernel_ways_port(w, ifindex, &vid);
}

bool kernel_neighbor_valid(const struct kernel_neighbor *n)
{
	return n->has_mac && !(n->mac.octet[0] & 1) && (n->state & NUD_VALID);
}

bool kernel_link_runs(const struct kernel_value *link)
{
	return link && (link->link.flags & IFF_UP) &&
	       (link->link.flags & (IFF_RUNNING | IFF_LOWER_UP));
}

static void add(struct spread *s, const struct p2pnic_adjacency *a, uint32_t weight)
{
	unsigned k = 0;

	while (k < s->n && memcmp(&s->adjacency[k], a, sizeof(*a)) != 0)
		k++;
	if (k == KERNEL_HOPS_MAX)
		return;
	if (k == s->n)
		s->weight[s->n++] = 0;
	s->adjacency[k] = *a;
	s->weight[k] += weight;
}

static void add_fate(struct spread *s, enum p2pnic_adjacency_kind kind, uint32_t weight)
{
	add(s, &(struct p2pnic_adjacency){.kind = (uint8_t)kind}, weight);
}

static uint16_t mtu_of(uint32_t a, uint32_t b, uint16_t nic)
{
	const uint32_t mtu = b && b < a ? b : a;

	return mtu < nic ? (uint16_t)mtu : nic;
}

static void add_hop(const struct kernel_ways *w, struct spread *s, const struct kernel_hop *hop,
	uint32_t weight)
{
	const struct kernel_value *link = value_of(w, KERNEL_LINK, hop->ifindex), *neighbor;
	const struct kernel_key key = {.kind = KERNEL_NEIGHBOR,
		.family = hop->gateway_family,
		.id = hop->ifindex,
		.address = hop->gateway};
	unsigned vid;
	const int nic = kernel_ways_port(w, hop->ifindex, &vid);
	struct p2pnic_adjacency a;

	if (!kernel_link_runs(link))
		return;
	if (nic < 0) {
		add_fate(s, P2PNIC_ADJACENCY_KERNEL, weight);
		return;
	}
	a = (struct p2pnic_adjacency){.kind = P2PNIC_ADJACENCY_GLEAN,
		.egress = (uint8_t)nic,
		.encapsulation = (uint16_t)vid};
	neighbor = hop->gateway_family ? kernel_state_find(w->state, &key, 0) : NULL;
	if (neighbor && kernel_neighbor_valid(&neighbor->neighbor)) {
		a.kind = vid ? P2PNIC_ADJACENCY_FORWARD_TAGGED : P2PNIC_ADJACENCY_FORWARD;
		a.destination = neighbor->neighbor.mac;
		a.source = link->link.mac;
		a.mtu = mtu_of(link->link.mtu, s->mtu,
			(uint16_t)(w->nics->mtu[nic] - (vid ? P2PNIC_TAG_BYTES : 0)));
	}
	add(s, &a, weight);
}

static void add_object(const struct kernel_ways *w, struct spread *s, uint32_t id, uint32_t weight,
	unsigned nesting)
{
	const struct kernel_value *v = value_of(w, KERNEL_NEXT_HOP, id);

	if (!v)
		return;
	if (v->next_hop.drops) {
		add_fate(s, P2PNIC_ADJACENCY_BLACKHOLE, weight);
		return;
	}
	if (v->next_hop.unsupported || v->next_hop.fdb || nesting == NESTING_MAX) {
		add_fate(s, P2PNIC_ADJACENCY_KERNEL, weight);
		return;
	}
	for (unsigned k = 0; k < v->hops; k++)
		if (v->hop[k].next_hop)
			add_object(w, s, v->hop[k].next_hop, v->hop[k].weight, nesting + 1);
		else
			add_hop(w, s, &v->hop[k], weight);
}

static void spread_of(const struct kernel_ways *w, const struct kernel_path *p, struct spread *s)
{
	s->mtu = p->mtu;
	s->n = 0;
	for (unsigned k = 0; k < p->hops; k++)
		if (p->hop[k].next_hop)
			add_object(w, s, p->hop[k].next_hop, 1, 0);
		else
			add_hop(w, s, &p->hop[k], p->hop[k].weight);
}

/* One, and what can take its place: resolved, by another NIC. */
static int lead_to_one(struct next_hops *hops, unsigned number, const struct p2pnic_adjacency *one,
	const struct spread *backup)
{
	uint16_t member[1 + KERNEL_RESERVE_MAX];
	unsigned members = 1;
	int adjacency;

	for (unsigned k = 0; k < backup->n && members <= KERNEL_RESERVE_MAX; k++) {
		const struct p2pnic_adjacency *other = &backup->adjacency[k];

		if (!adjacency_forwards(one) || !adjacency_forwards(other) ||
			other->egress == one->egress)
			continue;
		adjacency = next_hops_adjacency(hops, other);
		if (adjacency < 0)
			return adjacency;
		member[members++] = (uint16_t)adjacency;
	}
	if (members == 1)
		return next_hops_lead_to(hops, number, one);
	adjacency = next_hops_adjacency(hops, one);
	if (adjacency < 0)
		return adjacency;
	member[0] = (uint16_t)adjacency;
	return next_hops_order(hops, number, member, members);
}

static int lead(const struct kernel_ways *w, struct next_hops *hops, unsigned number)
{
	const struct kernel_way *way = w->of[number];
	struct spread s, backup;
	struct group_member member[KERNEL_HOPS_MAX];

	spread_of(w, &way->path[0], &s);
	spread_of(w, &way->path[1], &backup);
	if (!s.n) {
		s = backup;
		backup.n = 0;
	}
	if (!s.n)
		add_fate(&s, P2PNIC_ADJACENCY_KERNEL, 1);
	if (s.n == 1)
		return lead_to_one(hops, number, &s.adjacency[0], &backup);
	for (unsigned k = 0; k < s.n; k++) {
		int adjacency = next_hops_adjacency(hops, &s.adjacency[k]);

		if (adjacency < 0)
			return adjacency;
		member[k] = (struct group_member){(uint16_t)adjacency,
			s.weight[k] < UINT16_MAX ? (uint16_t)s.weight[k] : UINT16_MAX};
	}
	return next_hops_share(hops, number, member, s.n);
}

/* --- Next hops -------------------------------------------------------------------------------- */

static uint64_t mix(uint64_t digest, uint64_t word)
{
	digest = (digest ^ word) * 0x9e3779b97f4a7c15u; /* 2^64 / golden ratio */
	return digest ^ digest >> 29;
}

static uint64_t digest(uint64_t digest, const struct kernel_path *p)
{
	digest = mix(digest, p->mtu | (uint64_t)p->hops << 32);
	for (unsigned k = 0; k < p->hops; k++) {
		const struct kernel_hop *hop = &p->hop[k];

		digest = mix(digest, hop->gateway.high);
		digest = mix(digest, hop->gateway.low);
		digest = mix(digest, (uint64_t)hop->ifindex << 32 | hop->next_hop);
		digest = mix(digest, hop->weight | (uint64_t)hop->gateway_family << 16);
	}
	return digest;
}

static struct next_hop_key key_of(const struct kernel_ways *w, const struct kernel_path path[2])
{
	return (struct next_hop_key){.type = NEXT_HOP_KERNEL,
		.prefix.address.bits = {digest(digest(w->seed[0], &path[0]), &path[1]),
			digest(digest(w->seed[1], &path[0]), &path[1])}};
}

static bool same_path(const struct kernel_path *a, const struct kernel_path *b)
{
	return a->mtu == b->mtu && a->hops == b->hops &&
	       (!a->hops || !memcmp(a->hop, b->hop, a->hops * sizeof(*a->hop)));
}

static bool same_way(const struct kernel_way *way, const struct kernel_path path[2])
{
	return way && same_path(&way->path[0], &path[0]) && same_path(&way->path[1], &path[1]);
}

static struct kernel_way *way_new(const struct kernel_path path[2])
{
	struct kernel_way *way =
		malloc(sizeof(*way) + ((size_t)path[0].hops + path[1].hops) * sizeof(*way->hop));
	struct kernel_hop *hop = way ? way->hop : NULL;

	for (unsigned k = 0; k < 2 && way; k++) {
		way->path[k] = path[k];
		way->path[k].hop = hop;
		if (path[k].hops)
			memcpy(hop, path[k].hop, path[k].hops * sizeof(*hop));
		hop += path[k].hops;
	}
	return way;
}

static int take(struct kernel_ways *w, struct next_hops *h, const struct kernel_path path[2],
	const struct next_hop_key *key)
{
	int number = next_hops_take(h, key);
	struct kernel_way *way;

	if (number < 0 || (h->settled[number] && same_way(w->of[number], path)))
		return number;
	if (!same_way(w->of[number], path)) {
		way = way_new(path);
		if (!way)
			return -ENOMEM;
		free(w->of[number]);
		w->of[number] = way;
	}
	number = lead(w, h, (unsigned)number);
	if (number > 0)
		h->settled[number] = true;
	return number;
}

int kernel_ways_take(struct kernel_ways *w, struct next_hops *h, const struct kernel_path *best,
	const struct kernel_path *backup)
{
	struct kernel_path path[2] = {*best, *backup};
	struct next_hop_key key = key_of(w, path);

	if (backup->hops && !next_hops_spare(h, &key)) {
		path[1] = (struct kernel_path){NULL, 0, 0};
		key = key_of(w, path);
	}
	return take(w, h, path, &key);
}

int kernel_ways_lead(const struct kernel_ways *w, struct next_hops *h)
{
	int result = 0;

	for (unsigned k = 1; k < TABLE_HALF_NEXT_HOPS && result >= 0; k++)
		if (h->key[k].type == NEXT_HOP_KERNEL) {
			result = lead(w, h, k);
			h->settled[k] = true;
		}
	return result < 0 ? result : 0;
}

static void gateways_of(const struct kernel_ways *w, const struct kernel_hop *hop, unsigned hops,
	unsigned nesting, kernel_gateway *call, void *context)
{
	for (unsigned k = 0; k < hops; k++) {
		const struct kernel_value *v =
			hop[k].next_hop ? value_of(w, KERNEL_NEXT_HOP, hop[k].next_hop) : NULL;

		if (v && nesting < NESTING_MAX)
			gateways_of(w, v->hop, v->hops, nesting + 1, call, context);
		else if (!hop[k].next_hop && hop[k].gateway_family)
			call(context, &hop[k]);
	}
}

void kernel_ways_gateways(
	const struct kernel_ways *w, const struct next_hops *h, kernel_gateway *call, void *context)
{
	for (unsigned k = 1; k < TABLE_HALF_NEXT_HOPS; k++)
		if (h->key[k].type == NEXT_HOP_KERNEL && h->users[k] && w->of[k])
			gateways_of(w, w->of[k]->hop,
				(unsigned)w->of[k]->path[0].hops + w->of[k]->path[1].hops, 0, call,
				context);
}

void kernel_ways_free(struct kernel_ways *w)
{
	for (unsigned k = 0; k < TABLE_HALF_NEXT_HOPS; k++)
		free(w->of[k]);
	memset(w->of, 0, sizeof(w->of));
}
