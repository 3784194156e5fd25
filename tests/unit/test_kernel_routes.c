/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The kernel's routes in the NICs' table: random changes, batch by batch, against a twin that looks
 * through all of the kernel's state for every packet, and against a table made from nothing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/unit/fake_nic.h"
#include "tests/unit/seed.h"

#include <fib/check.h>
#include <router/config.h>
#include <router/doctor.h>
#include <router/kernel_above.h>
#include <router/kernel_routes.h>
#include <router/kernel_unable.h>
#include <router/table_check.h>

#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/if.h>
#include <linux/if_arp.h>
#include <linux/if_ether.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/nexthop.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define UP         (IFF_UP | IFF_RUNNING | IFF_LOWER_UP)
#define NICS       3u
/* 1 to 3 are NICs, 4 is none, 5 is a macvlan of 1, 6 VLAN 17 of 2, 7 a macvlan of that. */
#define LINKS      7u
#define TABLE_KIND P2PNIC_FIB_LINE_TRIE

static struct kernel_state *state;
static struct kernel_nics links = {.ifindex = {1, 2, 3}, .mtu = {1500, 1500, 9000}, .n = 3};
static struct kernel_routes routes;
static struct table *table;
static struct fake_nic nic[NICS], fresh;
static struct table_nics nics;
static struct table_report report;
static uint64_t random_state;
static unsigned reserves; /* that were right */

/* --- Messages --------------------------------------------------------------------------------- */

static char buffer[8192];

static struct nlmsghdr *message(uint16_t type, const void *fixed, size_t bytes)
{
	struct nlmsghdr *m = mnl_nlmsg_put_header(buffer);

	m->nlmsg_type = type;
	m->nlmsg_flags = NLM_F_REPLACE;
	memcpy(mnl_nlmsg_put_extra_header(m, bytes), fixed, bytes);
	return m;
}

static void feed(struct nlmsghdr *m)
{
	kernel_state_message(state, m, false);
}

/* The text's family, or 0. */
static int put_address(struct nlmsghdr *m, uint16_t type, const char *text)
{
	uint8_t bytes[16];
	const int family = strchr(text, ':') ? AF_INET6 : AF_INET;

	assert_int_equal(inet_pton(family, text, bytes), 1);
	mnl_attr_put(m, type, family == AF_INET ? 4 : 16, bytes);
	return family;
}

static void put_tag(struct nlmsghdr *m, uint16_t vid, uint16_t type)
{
	struct nlattr *nest = mnl_attr_nest_start(m, IFLA_INFO_DATA);

	mnl_attr_put_u16(m, IFLA_VLAN_ID, vid);
	mnl_attr_put_u16(m, IFLA_VLAN_PROTOCOL, htons(type));
	mnl_attr_nest_end(m, nest);
}

static void set_link(uint32_t ifindex, unsigned flags, uint32_t mtu, uint32_t master)
{
	const struct ifinfomsg fixed = {
		.ifi_type = ARPHRD_ETHER, .ifi_index = (int)ifindex, .ifi_flags = flags};
	struct nlmsghdr *m = message(RTM_NEWLINK, &fixed, sizeof(fixed));
	uint8_t mac[6] = {2, 0, 0, 0, 0, (uint8_t)ifindex};
	struct nlattr *nest;
	char name[16];

	snprintf(name, sizeof(name), "port%u", ifindex);
	mnl_attr_put_strz(m, IFLA_IFNAME, name);
	mnl_attr_put_u32(m, IFLA_MTU, mtu);
	mnl_attr_put(m, IFLA_ADDRESS, 6, mac);
	if (master)
		mnl_attr_put_u32(m, IFLA_MASTER, master);
	if (ifindex >= 5) {
		static const uint32_t lower[] = {[5] = 1, [6] = 2, [7] = 6};

		mnl_attr_put_u32(m, IFLA_LINK, lower[ifindex]);
		nest = mnl_attr_nest_start(m, IFLA_LINKINFO);
		mnl_attr_put_strz(m, IFLA_INFO_KIND, ifindex == 6 ? "vlan" : "macvlan");
		if (ifindex == 6)
			put_tag(m, 17, ETH_P_8021Q);
		mnl_attr_nest_end(m, nest);
	}
	feed(m);
}

/* A VLAN, or with type 0 a macvlan, above `lower`, by that MAC address (its last octet). */
struct above {
	uint32_t ifindex, lower;
	uint16_t vid, type;
	uint8_t mac;
	unsigned flags;
	uint32_t master;
	bool away;
};

static void set_above(struct above a)
{
	const struct ifinfomsg fixed = {
		.ifi_type = ARPHRD_ETHER, .ifi_index = (int)a.ifindex, .ifi_flags = a.flags};
	struct nlmsghdr *m = message(RTM_NEWLINK, &fixed, sizeof(fixed));
	const uint8_t mac[6] = {2, 0, 0, 0, 0, a.mac};
	struct nlattr *nest;

	mnl_attr_put_strz(m, IFLA_IFNAME, "tagged");
	mnl_attr_put(m, IFLA_ADDRESS, 6, mac);
	mnl_attr_put_u32(m, IFLA_LINK, a.lower);
	if (a.away)
		mnl_attr_put_u32(m, IFLA_LINK_NETNSID, 0);
	if (a.master)
		mnl_attr_put_u32(m, IFLA_MASTER, a.master);
	nest = mnl_attr_nest_start(m, IFLA_LINKINFO);
	mnl_attr_put_strz(m, IFLA_INFO_KIND, a.type ? "vlan" : "macvlan");
	if (a.type)
		put_tag(m, a.vid, a.type);
	mnl_attr_nest_end(m, nest);
	feed(m);
}

static void forget_link(uint32_t ifindex)
{
	const struct ifinfomsg fixed = {.ifi_index = (int)ifindex};

	feed(message(RTM_DELLINK, &fixed, sizeof(fixed)));
}

static void set_neighbor(uint32_t ifindex, const char *text, uint16_t nud, uint8_t last)
{
	const struct ndmsg fixed = {.ndm_family = strchr(text, ':') ? AF_INET6 : AF_INET,
		.ndm_ifindex = (int)ifindex,
		.ndm_state = nud};
	struct nlmsghdr *m = message(nud ? RTM_NEWNEIGH : RTM_DELNEIGH, &fixed, sizeof(fixed));
	const uint8_t mac[6] = {2, 1, 0, 0, (uint8_t)ifindex, last};

	put_address(m, NDA_DST, text);
	if (nud & ~(NUD_INCOMPLETE | NUD_FAILED))
		mnl_attr_put(m, NDA_LLADDR, 6, mac);
	feed(m);
}

struct hop {
	uint32_t ifindex;
	const char *gateway;
	uint8_t weight; /* less one */
};

struct wanted {
	const char *to;
	uint8_t length, type, tos;
	uint32_t table, metric, mtu, object;
	bool encapsulated;
	struct hop hop[4];
};

static void put_hop(struct nlmsghdr *m, bool ipv4, const struct hop *hop)
{
	uint8_t via[18] = {AF_INET6};

	if (!hop->gateway)
		return;
	if (!ipv4 || !strchr(hop->gateway, ':')) {
		put_address(m, RTA_GATEWAY, hop->gateway);
		return;
	}
	inet_pton(AF_INET6, hop->gateway, via + 2);
	mnl_attr_put(m, RTA_VIA, sizeof(via), via);
}

static void set_route(uint16_t type, const struct wanted *w)
{
	const bool ipv4 = !strchr(w->to, ':');
	const struct rtmsg fixed = {.rtm_family = ipv4 ? AF_INET : AF_INET6,
		.rtm_dst_len = w->length,
		.rtm_tos = w->tos,
		.rtm_protocol = RTPROT_STATIC,
		.rtm_type = w->type ? w->type : RTN_UNICAST};
	struct nlmsghdr *m = message(type, &fixed, sizeof(fixed));
	struct nlattr *nest;

	if (w->length)
		put_address(m, RTA_DST, w->to);
	mnl_attr_put_u32(m, RTA_TABLE, w->table ? w->table : RT_TABLE_MAIN);
	mnl_attr_put_u32(m, RTA_PRIORITY, w->metric);
	if (w->mtu) {
		nest = mnl_attr_nest_start(m, RTA_METRICS);
		mnl_attr_put_u32(m, RTAX_MTU, w->mtu);
		mnl_attr_nest_end(m, nest);
	}
	if (w->encapsulated)
		mnl_attr_put_u16(m, RTA_ENCAP_TYPE, 1);
	if (w->encapsulated)
		mnl_attr_put_u32(m, RTA_ENCAP, 0);
	if (w->object) {
		mnl_attr_put_u32(m, RTA_NH_ID, w->object);
	} else if (w->hop[1].ifindex) {
		nest = mnl_attr_nest_start(m, RTA_MULTIPATH);
		for (unsigned k = 0; k < 4 && w->hop[k].ifindex; k++) {
			struct rtnexthop *next = mnl_nlmsg_get_payload_tail(m);

			*next = (struct rtnexthop){.rtnh_hops = w->hop[k].weight,
				.rtnh_ifindex = (int)w->hop[k].ifindex};
			m->nlmsg_len += sizeof(*next);
			put_hop(m, ipv4, &w->hop[k]);
			next->rtnh_len =
				(uint16_t)((char *)mnl_nlmsg_get_payload_tail(m) - (char *)next);
		}
		mnl_attr_nest_end(m, nest);
	} else if (w->hop[0].ifindex) {
		mnl_attr_put_u32(m, RTA_OIF, w->hop[0].ifindex);
		put_hop(m, ipv4, &w->hop[0]);
	}
	feed(m);
}

static void add(struct wanted w)
{
	set_route(RTM_NEWROUTE, &w);
}

static void del(struct wanted w)
{
	set_route(RTM_DELROUTE, &w);
}

static void set_object(uint32_t id, const struct hop *hop, bool drops)
{
	const struct nhmsg fixed = {
		.nh_family = hop && hop->gateway && strchr(hop->gateway, ':') ? AF_INET6 : AF_INET};
	struct nlmsghdr *m =
		message(hop || drops ? RTM_NEWNEXTHOP : RTM_DELNEXTHOP, &fixed, sizeof(fixed));

	mnl_attr_put_u32(m, NHA_ID, id);
	if (drops)
		mnl_attr_put(m, NHA_BLACKHOLE, 0, NULL);
	else if (hop)
		mnl_attr_put_u32(m, NHA_OIF, hop->ifindex);
	if (!drops && hop && hop->gateway)
		put_address(m, NHA_GATEWAY, hop->gateway);
	feed(m);
}

static void set_group(uint32_t id, uint32_t a, uint32_t b)
{
	const struct nhmsg fixed = {0};
	struct nlmsghdr *m = message(RTM_NEWNEXTHOP, &fixed, sizeof(fixed));
	struct nexthop_grp member[2] = {{.id = a}, {.id = b, .weight = 2}};

	mnl_attr_put_u32(m, NHA_ID, id);
	mnl_attr_put(m, NHA_GROUP, sizeof(member), member);
	feed(m);
}

/* --- The twin --------------------------------------------------------------------------------- */

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

	return kernel_state_find(state, &key, 0);
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
	while ((v = kernel_state_each(state, KERNEL_NEIGHBOR, &from, &key)))
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
	while ((v = kernel_state_each(state, KERNEL_NEIGHBOR, &from, &other)))
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

	while ((v = kernel_state_each(state, KERNEL_ROUTE, &from, &key))) {
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

static void assert_shares(const struct fake_nic *n, const struct address *to)
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

/* --- A table over three NICs ------------------------------------------------------------------ */

static int begin(void **context)
{
	state = kernel_state_new();
	kernel_routes_open(&routes, state, &links);
	routes.failed_ms = 0; /* of which the twin knows nothing */
	nics.n = 0;
	for (unsigned k = 0; k < NICS; k++) {
		fake_open(&nic[k], k, P2PNIC_BAR2_BYTES_MIN);
		nics.nic[nics.n++] = &nic[k].driver;
	}
	fake_open(&fresh, 9, P2PNIC_BAR2_BYTES_MIN);
	for (uint32_t k = 1; k <= LINKS; k++)
		set_link(k, UP, 1500, 0);
	assert_int_equal(table_new(&table, P2PNIC_BAR2_BYTES_MIN, TABLE_KIND, 0), 0);
	return state ? 0 : -1;
}

static int end(void **context)
{
	kernel_routes_close(&routes);
	kernel_state_free(state);
	table_free(table);
	for (unsigned k = 0; k < NICS; k++)
		fake_close(&nic[k]);
	fake_close(&fresh);
	return 0;
}

static void make(void)
{
	struct error error = {""};

	if (kernel_routes_make(&routes, &table, TABLE_KIND, &nics, &report, &error))
		fail_msg("%s", error.text);
}

static void apply(void)
{
	struct error error = {""};
	int result;

	do {
		result = kernel_routes_apply(&routes, table, &nics, &report, &error);
		if (result == -ENOSPC)
			make();
		else if (result)
			fail_msg("%s", error.text);
	} while (kernel_state_changes(state));
}

static struct address parsed(const char *text)
{
	struct address a;

	assert_true(address_parse(text, &a));
	return a;
}

static void right(const char *text)
{
	const struct address a = parsed(text);

	for (unsigned k = 0; k < NICS; k++)
		assert_shares(&nic[k], &a);
}

static unsigned kind(const char *text)
{
	const struct address a = parsed(text);
	static struct way way;

	right(text);
	fake_way(&nic[1], &a, &way);
	return way.adjacency[0].kind;
}

/* --- Tests ------------------------------------------------------------------------------------ */

static void test_kinds(void **context)
{
	make();
	assert_int_equal(kind("10.0.0.5"), P2PNIC_ADJACENCY_NONE);
	add((struct wanted){.to = "10.0.0.0", .length = 24, .hop = {{1, NULL}}});
	add((struct wanted){.to = "10.0.0.1",
		.length = 32,
		.type = RTN_LOCAL,
		.table = RT_TABLE_LOCAL,
		.hop = {{1, NULL}}});
	add((struct wanted){.to = "10.0.0.255",
		.length = 32,
		.type = RTN_BROADCAST,
		.table = RT_TABLE_LOCAL,
		.hop = {{1, NULL}}});
	add((struct wanted){.to = "172.16.0.0", .length = 12, .hop = {{1, "10.0.0.2"}}});
	add((struct wanted){.to = "172.16.1.0", .length = 24, .type = RTN_BLACKHOLE});
	add((struct wanted){.to = "172.16.2.0", .length = 24, .type = RTN_UNREACHABLE});
	add((struct wanted){.to = "172.16.3.0", .length = 24, .type = RTN_PROHIBIT});
	add((struct wanted){.to = "172.16.4.0", .length = 24, .type = RTN_THROW});
	add((struct wanted){.to = "172.16.5.0", .length = 24, .hop = {{4, "192.0.2.1"}}});
	add((struct wanted){
		.to = "172.16.6.0", .length = 24, .table = 100, .hop = {{2, "10.0.2.2"}}});
	add((struct wanted){.to = "172.16.7.0", .length = 24, .tos = 8, .hop = {{1, "10.0.0.2"}}});
	add((struct wanted){
		.to = "172.16.8.0", .length = 24, .encapsulated = true, .hop = {{1, "10.0.0.2"}}});
	add((struct wanted){.to = "ff00::",
		.length = 8,
		.type = RTN_MULTICAST,
		.table = RT_TABLE_LOCAL,
		.hop = {{1, NULL}}});
	apply();
	assert_int_equal(kind("10.0.0.1"), P2PNIC_ADJACENCY_LOCAL);
	assert_int_equal(kind("10.0.0.255"), P2PNIC_ADJACENCY_BROADCAST);
	assert_int_equal(kind("10.0.0.5"), P2PNIC_ADJACENCY_GLEAN);
	assert_int_equal(kind("172.16.0.1"), P2PNIC_ADJACENCY_GLEAN);
	assert_int_equal(kind("172.16.1.1"), P2PNIC_ADJACENCY_BLACKHOLE);
	assert_int_equal(kind("172.16.2.1"), P2PNIC_ADJACENCY_UNREACHABLE);
	assert_int_equal(kind("172.16.3.1"), P2PNIC_ADJACENCY_PROHIBIT);
	assert_int_equal(kind("172.16.4.1"), P2PNIC_ADJACENCY_NONE);
	assert_int_equal(kind("172.16.5.1"), P2PNIC_ADJACENCY_KERNEL);
	assert_int_equal(kind("172.16.6.1"), P2PNIC_ADJACENCY_GLEAN); /* by 172.16.0.0/12 */
	assert_int_equal(kind("172.16.7.1"), P2PNIC_ADJACENCY_KERNEL);
	assert_int_equal(kind("172.16.8.1"), P2PNIC_ADJACENCY_KERNEL);
	assert_int_equal(kind("ff02::5"), P2PNIC_ADJACENCY_NONE);
}

static void test_neighbors(void **context)
{
	make();
	add((struct wanted){.to = "10.0.0.0", .length = 24, .hop = {{1, NULL}}});
	add((struct wanted){.to = "10.0.9.9", .length = 32, .hop = {{2, NULL}}});
	add((struct wanted){.to = "172.16.0.0", .length = 12, .hop = {{1, "10.0.0.2"}}});
	set_neighbor(1, "10.0.0.2", NUD_REACHABLE, 2);
	set_neighbor(1, "10.0.0.3", NUD_STALE, 3);
	set_neighbor(2, "10.0.0.4", NUD_REACHABLE, 4);
	set_neighbor(2, "10.0.9.9", NUD_PERMANENT, 9);
	apply();
	assert_int_equal(kind("10.0.0.3"), P2PNIC_ADJACENCY_FORWARD);
	assert_int_equal(kind("172.16.0.1"), P2PNIC_ADJACENCY_FORWARD);
	assert_int_equal(kind("10.0.9.9"), P2PNIC_ADJACENCY_FORWARD);
	/* The kernel would look for it elsewhere. */
	assert_int_equal(kind("10.0.0.4"), P2PNIC_ADJACENCY_GLEAN);

	/* One store for all routes by a gateway; no route changes. */
	set_neighbor(1, "10.0.0.2", NUD_REACHABLE, 0x22);
	apply();
	right("172.16.0.1");
	assert_int_equal(report.changed + report.added + report.deleted, 0);
	assert_int_equal(report.moved, 1);
	set_neighbor(1, "10.0.0.3", NUD_FAILED, 0);
	set_neighbor(1, "10.0.0.2", 0, 0);
	apply();
	assert_int_equal(kind("10.0.0.3"), P2PNIC_ADJACENCY_GLEAN);
	assert_int_equal(kind("172.16.0.1"), P2PNIC_ADJACENCY_GLEAN);

	/* A longer route takes a neighbour away from its link, and gives it back. */
	set_neighbor(1, "10.0.0.3", NUD_DELAY, 3);
	apply();
	add((struct wanted){.to = "10.0.0.0", .length = 28, .hop = {{2, "10.0.9.9"}}});
	apply();
	right("10.0.0.3");
	assert_int_equal(report.deleted, 1);
	del((struct wanted){.to = "10.0.0.0", .length = 28, .hop = {{2, "10.0.9.9"}}});
	apply();
	right("10.0.0.3");
	assert_int_equal(kind("10.0.0.3"), P2PNIC_ADJACENCY_FORWARD);
}

static unsigned kind_of(const char *text)
{
	const struct address a = parsed(text);
	static struct way way;

	fake_way(&nic[1], &a, &way);
	return way.adjacency[0].kind;
}

static void test_failed(void **context)
{
	char text[40];

	make();
	routes.failed_ms = 1000000;
	add((struct wanted){.to = "10.0.0.0", .length = 8, .hop = {{1, NULL}}});
	set_neighbor(1, "10.0.0.3", NUD_FAILED, 0);
	set_neighbor(2, "10.0.0.4", NUD_FAILED, 0);
	set_neighbor(4, "10.0.0.5", NUD_FAILED, 0);
	set_neighbor(1, "10.0.0.6", NUD_INCOMPLETE, 0);
	apply();
	assert_int_equal(kind_of("10.0.0.3"), P2PNIC_ADJACENCY_BLACKHOLE);
	assert_int_equal(kind_of("10.0.0.4"), P2PNIC_ADJACENCY_GLEAN); /* by another link */
	assert_int_equal(kind_of("10.0.0.5"), P2PNIC_ADJACENCY_GLEAN);
	assert_int_equal(kind_of("10.0.0.6"), P2PNIC_ADJACENCY_GLEAN);
	/* A table made anew has it too. */
	make();
	assert_int_equal(kind_of("10.0.0.3"), P2PNIC_ADJACENCY_BLACKHOLE);
	/* It leads elsewhere now, and back. */
	add((struct wanted){.to = "10.0.0.0", .length = 16, .hop = {{2, "10.1.0.2"}}});
	apply();
	assert_int_equal(kind_of("10.0.0.3"), P2PNIC_ADJACENCY_GLEAN);
	del((struct wanted){.to = "10.0.0.0", .length = 16, .hop = {{2, "10.1.0.2"}}});
	apply();
	assert_int_equal(kind_of("10.0.0.3"), P2PNIC_ADJACENCY_BLACKHOLE);
	/* It is there after all. */
	set_neighbor(1, "10.0.0.3", NUD_REACHABLE, 3);
	apply();
	assert_int_equal(kind_of("10.0.0.3"), P2PNIC_ADJACENCY_FORWARD);
	set_neighbor(1, "10.0.0.3", 0, 0);
	apply();
	/* Its time has come. */
	for (size_t k = 0; k < routes.failures; k++)
		routes.failed[k].until_ns = 0;
	apply();
	assert_int_equal(routes.failures, 0);
	assert_int_equal(kind_of("10.0.0.3"), P2PNIC_ADJACENCY_GLEAN);

	/* A scan. */
	for (unsigned k = 0; k < 5000; k++) {
		snprintf(text, sizeof(text), "10.9.%u.%u", k >> 8, k & 255);
		set_neighbor(1, text, NUD_FAILED, 0);
	}
	apply();
	assert_int_equal(routes.failures, KERNEL_FAILED_MAX);
	for (size_t k = 0; k < routes.failures; k++)
		routes.failed[k].until_ns = 0;
	apply();
	assert_int_equal(table_routes(table)->n, 1);
}

/* The state of each VLAN that is no `other` one. */
static void vlans_are(unsigned nic_number, unsigned other, unsigned vid, unsigned state_of_vid)
{
	struct vlans vlans;

	kernel_above_vlans(&routes.ways, nic_number, &vlans);
	/* A NIC that takes no tag forwards nothing: its tap is a part of something. */
	assert_int_equal(vlans.ingress,
		other == P2PNIC_VLAN_HOST ? P2PNIC_INGRESS_HOST : P2PNIC_INGRESS_FORWARD);
	for (unsigned k = 0; k < P2PNIC_VLANS_MAX; k++)
		if (vlans.state[k] != (k == vid ? state_of_vid : other))
			fail_msg("VLAN %u of NIC %u: %u", k, nic_number, vlans.state[k]);
}

/* Which tags a NIC takes follows from what is above its tap, and which MAC addresses. */
static void test_above(void **context)
{
	const struct above vlan = {
		.ifindex = 9, .lower = 3, .vid = 5, .type = ETH_P_8021Q, .mac = 3, .flags = UP};
	struct mac_addr station[P2PNIC_STATIONS_MAX + 1];
	struct above a = vlan;

	make();
	vlans_are(1, P2PNIC_VLAN_UNKNOWN, 17, P2PNIC_VLAN_FORWARD);
	vlans_are(2, P2PNIC_VLAN_UNKNOWN, 5, P2PNIC_VLAN_UNKNOWN);
	assert_int_equal(kernel_above_stations(&routes.ways, 2, station), 0);
	set_above(vlan); /* by its tap's address */
	vlans_are(2, P2PNIC_VLAN_UNKNOWN, 5, P2PNIC_VLAN_FORWARD);
	vlans_are(0, P2PNIC_VLAN_UNKNOWN, 5, P2PNIC_VLAN_UNKNOWN);
	assert_int_equal(kernel_above_stations(&routes.ways, 2, station), 0);
	a.mac = 0x99; /* its own */
	set_above(a);
	assert_int_equal(kernel_above_stations(&routes.ways, 2, station), 1);
	assert_int_equal(station[0].octet[5], 0x99);
	set_above((struct above){.ifindex = 10, .lower = 9, .mac = 0x98, .flags = UP});
	set_above((struct above){.ifindex = 11, .lower = 9, .mac = 0x99, .flags = UP}); /* again */
	assert_int_equal(kernel_above_stations(&routes.ways, 2, station), 2);
	a.flags = 0; /* down, and what is above it */
	set_above(a);
	vlans_are(2, P2PNIC_VLAN_UNKNOWN, 5, P2PNIC_VLAN_UNKNOWN);
	assert_int_equal(kernel_above_stations(&routes.ways, 2, station), 0);
	forget_link(10);
	forget_link(11);
	a = vlan;
	a.master = 4;
	set_above(a);
	vlans_are(2, P2PNIC_VLAN_UNKNOWN, 5, P2PNIC_VLAN_HOST);
	a = vlan;
	a.type = ETH_P_8021AD;
	set_above(a);
	vlans_are(2, P2PNIC_VLAN_UNKNOWN, 5, P2PNIC_VLAN_UNKNOWN);
	a = vlan;
	a.away = true;
	set_above(a);
	vlans_are(2, P2PNIC_VLAN_UNKNOWN, 5, P2PNIC_VLAN_UNKNOWN);
	assert_int_equal(kernel_above_stations(&routes.ways, 2, station), 0);
	/* Of a macvlan, too: one with a tap's own VLAN of that VID is handled as that. */
	set_above((struct above){.ifindex = 10, .lower = 3, .mac = 0x98, .flags = UP});
	a = vlan;
	a.lower = 10;
	set_above(a);
	vlans_are(2, P2PNIC_VLAN_UNKNOWN, 5, P2PNIC_VLAN_HOST);
	a.ifindex = 11;
	a.lower = 3;
	set_above(a);
	vlans_are(2, P2PNIC_VLAN_UNKNOWN, 5, P2PNIC_VLAN_FORWARD);
	a.ifindex = 12; /* whichever comes last */
	a.lower = 10;
	set_above(a);
	vlans_are(2, P2PNIC_VLAN_UNKNOWN, 5, P2PNIC_VLAN_FORWARD);
	/* A tap that is a bridge's, or not there: all is the host's. */
	set_link(3, UP, 1500, 4);
	vlans_are(2, P2PNIC_VLAN_HOST, 5, P2PNIC_VLAN_HOST);
	forget_link(3);
	vlans_are(2, P2PNIC_VLAN_HOST, 5, P2PNIC_VLAN_HOST);
	/* One too many is told. */
	for (unsigned k = 0; k < P2PNIC_STATIONS_MAX + 5; k++)
		set_above((struct above){
			.ifindex = 20 + k, .lower = 1, .mac = (uint8_t)(0x20 + k), .flags = UP});
	assert_int_equal(kernel_above_stations(&routes.ways, 0, station), P2PNIC_STATIONS_MAX + 1);
}

static void test_vlans(void **context)
{
	make();
	add((struct wanted){.to = "10.17.0.0", .length = 24, .hop = {{6, NULL}}});
	add((struct wanted){.to = "172.16.0.0", .length = 12, .hop = {{6, "10.17.0.2"}}});
	add((struct wanted){
		.to = "172.17.0.0", .length = 16, .hop = {{6, "10.17.0.2"}, {1, "10.0.0.2"}}});
	add((struct wanted){.to = "10.17.0.1",
		.length = 32,
		.type = RTN_LOCAL,
		.table = RT_TABLE_LOCAL,
		.hop = {{6, NULL}}});
	apply();
	assert_int_equal(kind("10.17.0.1"), P2PNIC_ADJACENCY_LOCAL);
	assert_int_equal(kind("172.16.0.1"), P2PNIC_ADJACENCY_GLEAN);
	set_neighbor(6, "10.17.0.2", NUD_REACHABLE, 2);
	set_neighbor(1, "10.0.0.2", NUD_REACHABLE, 2);
	apply();
	assert_int_equal(kind("172.16.0.1"), P2PNIC_ADJACENCY_FORWARD_TAGGED);
	assert_int_equal(kind("10.17.0.2"), P2PNIC_ADJACENCY_FORWARD_TAGGED);
	right("172.17.0.1");
	set_link(2, UP, 1500, 4);
	apply();
	assert_int_equal(kind("172.16.0.1"), P2PNIC_ADJACENCY_KERNEL);
	set_link(2, UP, 1500, 0);
	set_link(6, UP, 1400, 0);
	apply();
	assert_int_equal(kind("172.16.0.1"), P2PNIC_ADJACENCY_FORWARD_TAGGED);
	set_link(6, 0, 1400, 0);
	apply();
	assert_int_equal(kind("172.16.0.1"), P2PNIC_ADJACENCY_NONE); /* it went with its link */
	right("172.17.0.1");
}

static void set_vrf(uint32_t ifindex, uint32_t of_table)
{
	const struct ifinfomsg fixed = {
		.ifi_type = ARPHRD_ETHER, .ifi_index = (int)ifindex, .ifi_flags = UP};
	struct nlmsghdr *m = message(RTM_NEWLINK, &fixed, sizeof(fixed));
	struct nlattr *nest, *data;

	mnl_attr_put_strz(m, IFLA_IFNAME, "red");
	nest = mnl_attr_nest_start(m, IFLA_LINKINFO);
	mnl_attr_put_strz(m, IFLA_INFO_KIND, "vrf");
	data = mnl_attr_nest_start(m, IFLA_INFO_DATA);
	mnl_attr_put_u32(m, IFLA_VRF_TABLE, of_table);
	mnl_attr_nest_end(m, data);
	mnl_attr_nest_end(m, nest);
	feed(m);
}

/* Whether there is a finding of that kind and subject, "LEVEL: TEXT | FIX", with these words. */
static bool is_found(const json_t *found, const char *kind, const char *subject, const char *words)
{
	char text[1024];
	const char *level, *is, *fix, *of, *about;
	const json_t *row;
	size_t index;

	json_array_foreach(found, index, row)
	{
		assert_int_equal(json_unpack((json_t *)row, "{s:s, s:s, s:s, s:s}", "level", &level,
					 "kind", &of, "subject", &about, "text", &is),
			0);
		fix = json_string_value(json_object_get(row, "fix"));
		snprintf(text, sizeof(text), "%s: %s | %s", level, is, fix ? fix : "");
		if (!strcmp(of, kind) && !strcmp(about, subject) && strstr(text, words))
			return true;
	}
	return false;
}

#define THRESHOLD "/proc/sys/net/ipv4/neigh/default/gc_thresh3"

/* Links and routes; of the host that the test runs on nothing is known. */
static void test_doctor(void **context)
{
	static const struct netns own = {-1};
	struct config_nic nic_of[NICS] = {{.name = (char *)"port1", .port.type = (char *)"tap"},
		{.name = (char *)"port2", .port.type = (char *)"tap"},
		{.name = (char *)"port3", .port.type = (char *)"tap"}};
	unsigned many = 100000000;
	struct config_punt punt = {{{NULL}}};
	struct config_kernel kernel = {NULL};
	struct config config = {
		.nics = nic_of, .nics_count = NICS, .kernel = &kernel, .punt = &punt};
	const struct doctor doctor = {&config, &own, &routes.ways, true};
	json_t *found = doctor_look(&doctor);

	assert_int_equal(finding_count(found, "link"), 0);
	assert_int_equal(finding_count(found, "route"), 0);
	json_decref(found);
	set_vrf(20, 77);
	set_link(1, UP, 1500, 20);
	set_link(2, UP, 1500, 4);
	set_link(3, UP, 1500, 99); /* not seen */
	set_link(5, UP, 1500, 20); /* no tap */
	set_above((struct above){.ifindex = 21, .lower = 3, .type = ETH_P_8021AD, .flags = UP});
	set_above((struct above){.ifindex = 22, .lower = 99, .type = ETH_P_8021AD, .flags = UP});
	add((struct wanted){
		.to = "10.7.0.0", .length = 16, .encapsulated = true, .hop = {{1, NULL}}});
	punt.class[P2PNIC_PUNT_GLEAN].rate = &many;
	found = doctor_look(&doctor);
	assert_int_equal(finding_count(found, "link"), 5); /* with VLAN 17 of port2 */
	assert_true(is_found(found, "link", "port1",
		"note: it belongs to the VRF red: its NIC forwards nothing, and the kernel all of "
		"it, by table 77 and slowly | ip link set port1 nomaster"));
	assert_true(is_found(found, "link", "port2", "belongs to the device port4: "));
	assert_true(is_found(found, "link", "port3", "the device of another namespace: "));
	assert_true(is_found(found, "link", "tagged", "note: it is VLAN 0 above a NIC's"));
	assert_true(is_found(found, "link", "tagged", "| ip link delete tagged"));
	assert_true(is_found(found, "route", "kernel", "note: 1 routes have an "));
	assert_true(is_found(found, "route", "kernel", "| ip route delete 10.7.0.0/16 table 254"));
	if (access(THRESHOLD, R_OK) == 0)
		assert_true(is_found(found, "sysctl", "kernel", "gc_thresh3 is "));
	json_decref(found);
	config.punt = NULL;
	found = doctor_look(&doctor);
	assert_false(is_found(found, "sysctl", "kernel", "gc_thresh3 is "));
	json_decref(found);
}

static void test_unable(void **context)
{
	struct kernel_unable u;

	make();
	u = kernel_unable_count(&routes.ways);
	assert_int_equal(u.enslaved + u.vlans + u.objects + routes.encapsulated, 0);
	set_link(2, UP, 1500, 4);
	set_link(4, UP, 1500, 7); /* no NIC's */
	/* 6 is a VLAN of tap 2, which is part of a bridge; 8 is none of a tap. */
	set_above((struct above){
		.ifindex = 8, .lower = 4, .vid = 5, .type = ETH_P_8021Q, .flags = UP});
	set_above((struct above){
		.ifindex = 9, .lower = 3, .vid = 5, .type = ETH_P_8021Q, .flags = UP});
	add((struct wanted){.to = "10.0.0.0", .length = 8, .hop = {{1, NULL}}});
	apply();
	u = kernel_unable_count(&routes.ways);
	assert_int_equal(u.enslaved, 1);
	assert_string_equal(u.tap, "port2");
	assert_int_equal(u.vlans, 1);
	assert_string_equal(u.vlan, "port6");
	set_link(2, UP, 1500, 0);
	u = kernel_unable_count(&routes.ways);
	assert_int_equal(u.vlans, 0);
	/* A tag within a tag, another type of tag, a VLAN of a macvlan, one of a bridge. */
	set_above((struct above){
		.ifindex = 10, .lower = 6, .vid = 5, .type = ETH_P_8021Q, .flags = UP});
	set_above((struct above){
		.ifindex = 11, .lower = 3, .vid = 6, .type = ETH_P_8021AD, .flags = UP});
	set_above((struct above){
		.ifindex = 12, .lower = 5, .vid = 7, .type = ETH_P_8021Q, .flags = UP});
	set_above((struct above){
		.ifindex = 9, .lower = 3, .vid = 5, .type = ETH_P_8021Q, .flags = UP, .master = 4});
	/* Its lower one is another namespace's. */
	set_above((struct above){.ifindex = 13,
		.lower = 3,
		.vid = 8,
		.type = ETH_P_8021AD,
		.flags = UP,
		.away = true});
	u = kernel_unable_count(&routes.ways);
	assert_int_equal(u.vlans, 4);
	assert_string_equal(u.vlan, "tagged");
	assert_false(routes.encapsulated);
	add((struct wanted){
		.to = "10.7.0.0", .length = 16, .encapsulated = true, .hop = {{1, NULL}}});
	apply();
	assert_true(routes.encapsulated);
}

static void test_metrics(void **context)
{
	const struct wanted good = {.to = "172.16.0.0",
				    .length = 12,
				    .metric = 10,
				    .hop = {{1, "10.0.0.2"}}},
			    bad = {.to = "172.16.0.0",
				    .length = 12,
				    .metric = 20,
				    .mtu = 1280,
				    .hop = {{2, "10.0.2.2"}}};

	make();
	set_neighbor(1, "10.0.0.2", NUD_REACHABLE, 2);
	set_neighbor(2, "10.0.2.2", NUD_REACHABLE, 3);
	add(bad);
	add(good);
	apply();
	right("172.16.0.1");
	del(good);
	apply();
	right("172.16.0.1");
	add(good);
	apply();
	right("172.16.0.1");
	set_link(1, 0, 1500, 0); /* the kernel deletes it without a word */
	apply();
	right("172.16.0.1");
	set_link(2, IFF_UP, 1500, 0); /* no carrier: it stays, and is the kernel's */
	apply();
	assert_int_equal(kind("172.16.0.1"), P2PNIC_ADJACENCY_KERNEL);
}

static struct wanted to_network(char to[32], unsigned k, struct wanted w)
{
	snprintf(to, 32, "172.%u.%u.0", 16 + (k >> 8), k & 255);
	w.to = to;
	w.length = 24;
	return w;
}

static unsigned next_hops_in_use(void)
{
	unsigned n = 0;

	for (unsigned k = 1; k < TABLE_HALF_NEXT_HOPS; k++)
		n += table_next_hops(table)->users[k] > 0;
	return n;
}

/* NICs have the second best in reserve: one next hop for each pair, however many routes. */
static void test_backup(void **context)
{
	const struct wanted good = {.metric = 10, .hop = {{1, "10.0.0.2"}}},
			    bad = {.metric = 20,
				    .mtu = 1280,
				    .hop = {{2, "10.0.2.2"}, {3, "10.0.3.2"}, {1, "10.0.0.3"}}};
	static const uint8_t reserve[] = {0, 1, 2, 2};
	const struct address a = parsed("172.16.0.1");
	static struct way way;
	char to[32];

	make();
	for (unsigned k = 1; k <= 3; k++) {
		snprintf(to, sizeof(to), "10.0.%u.2", k == 1 ? 0 : k);
		set_neighbor(k, to, NUD_REACHABLE, 2);
	}
	set_neighbor(1, "10.0.0.3", NUD_REACHABLE, 3);
	for (unsigned k = 0; k < 1000; k++) {
		add(to_network(to, k, good));
		add(to_network(to, k, bad));
	}
	apply();
	assert_int_equal(next_hops_in_use(), 1);
	right("172.16.0.1");
	fake_way(&nic[0], &a, &way);
	assert_true(way.ordered);
	assert_int_equal(way.buckets, 4);
	for (unsigned k = 0; k < way.buckets; k++)
		assert_int_equal(way.adjacency[k].egress, reserve[k]);
	assert_int_equal(way.adjacency[1].mtu, 1280);

	set_neighbor(2, "10.0.2.2", NUD_FAILED, 2); /* not resolved: no use as a reserve */
	apply();
	right("172.16.0.1");
	assert_int_equal(report.moved, 1);
	set_neighbor(2, "10.0.2.2", NUD_REACHABLE, 2);
	set_link(1, IFF_UP, 1500, 0); /* no carrier: its flows are shared out by the host */
	apply();
	right("172.16.0.1");
	fake_way(&nic[0], &a, &way);
	assert_false(way.ordered);
	assert_int_equal(report.changed, 0);
	set_link(1, UP, 1500, 0);
	apply();
	right("172.16.0.1");
	fake_way(&nic[0], &a, &way);
	assert_true(way.ordered);

	for (unsigned k = 0; k < 1000; k++)
		del(to_network(to, k, k < 500 ? good : bad));
	apply();
	right("172.16.0.1");
	right("172.17.250.1");
	assert_int_equal(next_hops_in_use(), 2);
}

/* Half of the next hops are not taken for that. */
static void test_backups_full(void **context)
{
	const unsigned most = TABLE_HALF_NEXT_HOPS / 2, n = most + 200;
	unsigned ordered = 0;
	char gateway[32], to[32];

	make();
	set_neighbor(2, "10.0.2.2", NUD_REACHABLE, 2);
	for (unsigned k = 0; k < n; k++) {
		snprintf(gateway, sizeof(gateway), "10.1.%u.%u", k >> 8, k & 255);
		set_neighbor(1, gateway, NUD_REACHABLE, (uint8_t)(k & 127));
		add(to_network(to, k, (struct wanted){.metric = 10, .hop = {{1, gateway}}}));
		add(to_network(to, k, (struct wanted){.metric = 20, .hop = {{2, "10.0.2.2"}}}));
	}
	make();
	for (unsigned k = 0; k < n; k++) {
		struct address a;
		static struct way way;

		snprintf(to, sizeof(to), "172.%u.%u.1", 16 + (k >> 8), k & 255);
		a = parsed(to);
		fake_way(&nic[0], &a, &way);
		assert_int_equal(way.adjacency[0].kind, P2PNIC_ADJACENCY_FORWARD);
		assert_int_equal(way.adjacency[0].egress, 0);
		ordered += way.ordered;
	}
	assert_in_range(ordered, most - 4, most);
	assert_false(routes.lossy);
}

/* A replaced object is one store, whatever goes by it. */
static void test_objects(void **context)
{
	const struct hop one = {1, "10.0.0.2"}, two = {2, "fe80::2"}, three = {3, "10.0.3.2"};

	make();
	set_neighbor(1, "10.0.0.2", NUD_REACHABLE, 2);
	set_neighbor(2, "fe80::2", NUD_REACHABLE, 3);
	set_object(1, &one, false);
	set_object(2, &two, false);
	set_group(9, 1, 2);
	for (unsigned k = 0; k < 200; k++) {
		char to[32];

		snprintf(to, sizeof(to), "172.20.%u.0", k);
		add((struct wanted){.to = to, .length = 24, .object = k < 100 ? 1 : 9});
	}
	apply();
	assert_int_equal(report.added, 200);
	right("172.20.0.1");
	right("172.20.100.1");
	set_object(1, &three, false);
	apply();
	right("172.20.0.1");
	right("172.20.100.1");
	assert_int_equal(report.changed + report.added + report.deleted, 0);
	assert_int_equal(report.moved, 2);
	set_object(2, NULL, false); /* leaves the group */
	apply();
	right("172.20.100.1");
	set_object(1, NULL, true);
	apply();
	assert_int_equal(kind("172.20.100.1"), P2PNIC_ADJACENCY_BLACKHOLE);
}

/* Of a bridge, bond or VRF a NIC's link forwards nothing by itself. */
static void test_enslaved(void **context)
{
	make();
	set_neighbor(1, "10.0.0.2", NUD_REACHABLE, 2);
	add((struct wanted){.to = "172.16.0.0", .length = 12, .hop = {{1, "10.0.0.2"}}});
	apply();
	assert_int_equal(kind("172.16.0.1"), P2PNIC_ADJACENCY_FORWARD);
	set_link(1, UP, 1500, 4);
	apply();
	assert_int_equal(kind("172.16.0.1"), P2PNIC_ADJACENCY_KERNEL);
	set_link(1, UP, 1400, 0);
	apply();
	assert_int_equal(kind("172.16.0.1"), P2PNIC_ADJACENCY_FORWARD);
}

/* More next hops than NICs have: the rest is the kernel's, and comes back when there is room. */
static void test_full(void **context)
{
	char gateway[32], to[32];
	unsigned kernel = 0;

	make();
	add((struct wanted){.to = "10.0.0.0", .length = 8, .hop = {{1, NULL}}});
	for (unsigned round = 0; round < 2; round++) {
		for (unsigned k = 0; k < TABLE_HALF_NEXT_HOPS + 100; k++) {
			struct wanted w = {.to = to, .length = 24, .hop = {{1, gateway}}};

			snprintf(gateway, sizeof(gateway), "10.1.%u.%u", k >> 8, k & 255);
			snprintf(to, sizeof(to), "172.%u.%u.0", 16 + (k >> 8), k & 255);
			set_route(round ? RTM_DELROUTE : RTM_NEWROUTE, &w);
		}
		apply();
	}
	for (unsigned k = 0; k < TABLE_HALF_NEXT_HOPS + 100; k++) {
		snprintf(gateway, sizeof(gateway), "10.1.%u.%u", k >> 8, k & 255);
		snprintf(to, sizeof(to), "172.%u.%u.0", 16 + (k >> 8), k & 255);
		add((struct wanted){.to = to, .length = 24, .hop = {{1, gateway}}});
	}
	apply();
	assert_true(routes.lossy);
	for (unsigned k = 0; k < TABLE_HALF_NEXT_HOPS + 100; k++) {
		struct address a;
		static struct way way;

		snprintf(to, sizeof(to), "172.%u.%u.1", 16 + (k >> 8), k & 255);
		a = parsed(to);
		fake_way(&nic[0], &a, &way);
		kernel += way.adjacency[0].kind == P2PNIC_ADJACENCY_KERNEL;
		assert_true(way.adjacency[0].kind == P2PNIC_ADJACENCY_KERNEL ||
			    way.adjacency[0].kind == P2PNIC_ADJACENCY_GLEAN);
	}
	assert_in_range(kernel, 100, 110);
	for (unsigned k = 0; k < 200; k++) {
		snprintf(gateway, sizeof(gateway), "10.1.%u.%u", k >> 8, k & 255);
		snprintf(to, sizeof(to), "172.%u.%u.0", 16 + (k >> 8), k & 255);
		del((struct wanted){.to = to, .length = 24, .hop = {{1, gateway}}});
	}
	apply();
	make();
	assert_false(routes.lossy);
	assert_int_equal(kind("172.23.0.1"), P2PNIC_ADJACENCY_GLEAN);
}

static unsigned below(unsigned n)
{
	return (unsigned)(check_random(&random_state) % n);
}

#define GATEWAYS 12u
static const char *const gateway_of[GATEWAYS] = {"10.0.1.2", "10.0.1.3", "10.0.2.2", "10.0.2.3",
	"10.0.3.2", "10.0.3.3", "10.0.4.2", "2001:db9:1::2", "2001:db9:2::2", "2001:db9:3::2",
	"fe80::2", "fe80::3"};

/* Any, or more often one of two of its link, which a neighbor is then likely to be. */
static const char *random_gateway(unsigned link, bool ipv4)
{
	if (below(4) && ipv4 && link <= NICS)
		return gateway_of[2 * (link - 1) + below(2)];
	return gateway_of[ipv4 ? below(GATEWAYS) : 7 + below(5)];
}

static struct hop random_hop(bool ipv4)
{
	const unsigned link = 1 + below(LINKS);
	const struct hop hop = {
		link, below(5) ? random_gateway(link, ipv4) : NULL, (uint8_t)below(3)};

	return hop;
}

static void random_prefix(char to[40], uint8_t *length)
{
	static const uint8_t lengths4[] = {0, 8, 16, 22, 24, 28, 30, 31, 32};
	static const uint8_t lengths6[] = {0, 32, 48, 64, 126, 127, 128};
	struct address a = parsed(gateway_of[below(GATEWAYS)]);
	char text[ADDRESS_TEXT_BYTES];
	struct prefix p;

	*length = a.family == 4 ? lengths4[below(sizeof(lengths4))] : lengths6[below(7)];
	if (a.family == 4)
		a.bits.high ^= (uint64_t)below(8) << 32;
	else
		a.bits.low ^= below(8);
	p = prefix_of(&a, *length);
	snprintf(to, 40, "%s", address_text(&p.address, text));
}

static void random_route(void)
{
	static const uint8_t types[] = {RTN_UNICAST, RTN_UNICAST, RTN_UNICAST, RTN_UNICAST,
		RTN_UNICAST, RTN_UNICAST, RTN_LOCAL, RTN_BROADCAST, RTN_ANYCAST, RTN_BLACKHOLE,
		RTN_UNREACHABLE, RTN_PROHIBIT, RTN_THROW};
	char to[40];
	struct wanted w = {.to = to, .metric = 1 + below(3)};
	const unsigned hops = below(3) ? 1 : 2 + below(3);

	random_prefix(to, &w.length);
	w.type = types[below(sizeof(types))];
	w.table = w.type == RTN_LOCAL || w.type == RTN_BROADCAST ? RT_TABLE_LOCAL
		  : below(8)                                     ? RT_TABLE_MAIN
		  : below(2)                                     ? RT_TABLE_DEFAULT
								 : 100;
	w.tos = below(20) == 0 ? 8 : 0;
	w.mtu = below(6) == 0 ? 1300 : 0;
	if (w.type <= RTN_BROADCAST && below(4) == 0 && w.type == RTN_UNICAST)
		w.object = 1 + below(6);
	for (unsigned k = 0; k < hops && w.type <= RTN_ANYCAST; k++)
		w.hop[k] = random_hop(!strchr(to, ':'));
	set_route(below(3) ? RTM_NEWROUTE : RTM_DELROUTE, &w);
}

static void random_change(void)
{
	static const uint16_t states[] = {0, NUD_INCOMPLETE, NUD_FAILED, NUD_REACHABLE, NUD_STALE,
		NUD_DELAY, NUD_PROBE, NUD_PERMANENT};
	const unsigned what = below(20);

	if (what < 12) {
		random_route();
	} else if (what < 16) {
		const unsigned link = 1 + below(LINKS);

		set_neighbor(link, random_gateway(link, true), states[below(8)], (uint8_t)below(3));
	} else if (what < 17) {
		set_link(1 + below(LINKS),
			below(3)   ? UP
			: below(2) ? IFF_UP
				   : 0,
			1300 + below(3) * 200, below(5) ? 0 : 4);
	} else if (what < 19) {
		const struct hop hop = random_hop(true);

		set_object(1 + below(4), below(4) ? &hop : NULL, below(8) == 0);
	} else {
		set_group(5 + below(2), 1 + below(2), 3 + below(2));
	}
}

/* A table that was never changed but made. */
static void like_new(void)
{
	const struct table_nics only = {{&fresh.driver}, 1};
	struct kernel_routes other;
	struct error error;
	struct table *t;

	memset(fresh.reg, 0, sizeof(fresh.reg));
	assert_int_equal(table_new(&t, P2PNIC_BAR2_BYTES_MIN, TABLE_KIND, 0), 0);
	kernel_routes_open(&other, state, &links);
	if (kernel_routes_make(&other, &t, TABLE_KIND, &only, &report, &error))
		fail_msg("%s", error.text);
	assert_int_equal(table_routes(t)->n, table_routes(table)->n);
	for (size_t k = 0; k < table_routes(t)->n; k++)
		assert_int_equal(
			route_order(&table_routes(t)->route[k], &table_routes(table)->route[k]), 0);
	kernel_routes_close(&other);
	table_free(t);
}

/* --- Looking for what is wrong ---------------------------------------------------------------- */

/* Routes of the router that are wrong, and next hops. */
static size_t wrong_routes(unsigned *moved)
{
	struct kernel_routes_check check = {0};
	size_t wrong = 0;
	int result;

	*moved = 0;
	do {
		result = kernel_routes_check(&routes, table, &check);
		assert_true(result >= 0);
		wrong += routes.prefixes.n;
		*moved += check.moved;
	} while (result);
	return wrong;
}

static void check_memory(struct table_check *check, unsigned k, bool mend)
{
	struct error error;

	while (table_check_step(check, table, &nic[k].driver, mend))
		;
	if (mend && !check->other_half)
		assert_int_equal(table_rewrite(table, &nic[k].driver, &error), 0);
}

static void assert_healthy(void)
{
	unsigned moved;

	assert_int_equal(wrong_routes(&moved), 0);
	assert_int_equal(moved, 0);
	for (unsigned k = 0; k < NICS; k++) {
		struct table_check check = {0};

		check_memory(&check, k, false);
		assert_false(check.other_half);
		assert_false(check.sources);
		assert_int_equal(check.next_hops + check.words[0] + check.words[1], 0);
		table_check_free(&check);
	}
}

static void set_up_check(void)
{
	make();
	set_neighbor(2, "10.0.2.2", NUD_REACHABLE, 9);
	add((struct wanted){.to = "10.0.1.1",
		.length = 32,
		.type = RTN_LOCAL,
		.table = RT_TABLE_LOCAL,
		.hop = {{1, NULL}}});
	add((struct wanted){.to = "10.0.2.0", .length = 24, .hop = {{2, NULL}}});
	add((struct wanted){.to = "172.16.0.0", .length = 16, .hop = {{2, "10.0.2.2"}}});
	add((struct wanted){
		.to = "172.17.0.0", .length = 16, .hop = {{2, "10.0.2.2", 0}, {3, "10.0.3.2", 0}}});
	add((struct wanted){.to = "2001:db8::", .length = 32, .hop = {{2, "fe80::2"}}});
	apply();
	assert_healthy();
}

/* The router's routes and next hops are not what the kernel has: found, and made right anew. */
static void test_check_router(void **context)
{
	const struct address gone = parsed("172.16.0.0"), more = parsed("172.18.0.0");
	struct next_hops *hops;
	struct error error;
	unsigned moved;

	set_up_check();
	for (unsigned k = 0; k < 2; k++) {
		const struct route change = {k ? more.bits : gone.bits, 16, 4,
			(uint16_t)(k ? table_routes(table)->route[0].next_hop : 0), 0};

		hops = next_hops_copy(table_next_hops(table));
		assert_int_equal(table_change(table, hops, &change, 1, &nics, &report, &error), 0);
	}
	assert_int_equal(wrong_routes(&moved), 2);
	assert_int_equal(moved, 0);
	make();
	assert_healthy();

	hops = next_hops_copy(table_next_hops(table));
	for (unsigned k = 1; k < TABLE_HALF_NEXT_HOPS; k++)
		if (hops->key[k].type == NEXT_HOP_KERNEL && hops->users[k] &&
			hops->adjacency[P2PNIC_NEXT_HOP_FIRST(hops->word[k])].kind ==
				P2PNIC_ADJACENCY_FORWARD &&
			!P2PNIC_NEXT_HOP_LOG2(hops->word[k])) {
			next_hops_lead_to(hops, k,
				&(struct p2pnic_adjacency){.kind = P2PNIC_ADJACENCY_GLEAN});
			break;
		}
	assert_int_equal(table_change(table, hops, NULL, 0, &nics, &report, &error), 0);
	wrong_routes(&moved);
	assert_int_equal(moved, 1);
	make();
	assert_healthy();
	right("172.16.1.1");
}

/* A NIC's memory is not what it should be: found, nothing is followed, and it is mended. */
static void test_check_memory(void **context)
{
	uint64_t random = test_seed(), bytes;
	uint8_t *before = malloc(P2PNIC_BAR2_BYTES_MIN);

	set_up_check();
	memcpy(before, nic[1].driver.bar2, P2PNIC_BAR2_BYTES_MIN);
	for (unsigned round = 0; round < 200; round++) {
		struct table_check found = {0}, mended = {0};
		const unsigned six = round & 1;
		uint64_t *image = (uint64_t *)(nic[1].driver.bar2 + table_image_place(table, six));
		unsigned n = 1;

		table_image(table, six, &bytes);
		switch (round % 5) {
		case 0:
			image[0] ^= 1; /* magic */
			break;
		case 1:
			image[2] = ~0ull; /* root */
			break;
		default:
			for (n = 0; n < 5; n++)
				image[check_random(&random) % (bytes / 8)] = check_random(&random);
		}
		check_memory(&found, 1, false);
		assert_in_range(found.words[six], 1, n);
		assert_int_equal(found.words[!six], 0);
		assert_memory_not_equal(before, nic[1].driver.bar2, P2PNIC_BAR2_BYTES_MIN);
		check_memory(&mended, 1, true);
		assert_int_equal(mended.words[six], found.words[six]);
		assert_memory_equal(before, nic[1].driver.bar2, P2PNIC_BAR2_BYTES_MIN);
		table_check_free(&found);
		table_check_free(&mended);
	}
	for (unsigned round = 0; round < 3; round++) {
		static const struct {
			uint32_t offset, bytes;
		} of[] = {{P2PNIC_BAR2_NEXT_HOPS, P2PNIC_NEXT_HOPS_MAX * sizeof(p2pnic_next_hop)},
			{P2PNIC_BAR2_ADJACENCIES,
				P2PNIC_ADJACENCIES_MAX * sizeof(struct p2pnic_adjacency)},
			{P2PNIC_BAR2_SOURCES, sizeof(struct p2pnic_sources)}};
		struct table_check check = {0};

		memset(nic[1].driver.bar2 + of[round].offset, 0xa5, of[round].bytes);
		check_memory(&check, 1, true);
		assert_int_equal(check.sources, round == 2);
		assert_true((check.next_hops > 3) == (round < 2));
		assert_int_equal(check.words[0] + check.words[1], 0);
		assert_healthy();
		table_check_free(&check);
	}
	{
		struct table_check check = {0};

		nic[1].reg[P2PNIC_REG_FIB4_OFFSET / 4] = table_image_place(table, 1);
		check_memory(&check, 1, false);
		assert_true(check.other_half);
	}
	free(before);
}

static void test_random(void **context)
{
	size_t most = 0;

	reserves = 0;
	random_state = test_seed();
	make();
	for (unsigned round = 0; round < 1500; round++) {
		for (unsigned k = 1 + below(round < 750 ? 4 : 40); k; k--)
			random_change();
		apply();
		for (unsigned k = 0; k < GATEWAYS; k++)
			for (unsigned more = 0; more < 8; more++) {
				struct address a = parsed(gateway_of[k]);

				if (a.family == 4)
					a.bits.high ^= (uint64_t)more << 32;
				else
					a.bits.low ^= more;
				if (a.family == 4 || a.bits.high >> 56 != 0xfe)
					assert_shares(&nic[round % NICS], &a);
			}
		if (round % 50 == 0)
			like_new();
		if (round % 10 == 0)
			assert_healthy();
		if (table_routes(table)->n > most)
			most = table_routes(table)->n;
	}
	assert_true(most > 40);
	assert_true(reserves > 0);
	assert_int_equal(routes.applied.compiles, 1);
	assert_true(kernel_state_counters(state)->malformed == 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_kinds, begin, end),
		cmocka_unit_test_setup_teardown(test_neighbors, begin, end),
		cmocka_unit_test_setup_teardown(test_failed, begin, end),
		cmocka_unit_test_setup_teardown(test_unable, begin, end),
		cmocka_unit_test_setup_teardown(test_above, begin, end),
		cmocka_unit_test_setup_teardown(test_vlans, begin, end),
		cmocka_unit_test_setup_teardown(test_doctor, begin, end),
		cmocka_unit_test_setup_teardown(test_metrics, begin, end),
		cmocka_unit_test_setup_teardown(test_backup, begin, end),
		cmocka_unit_test_setup_teardown(test_backups_full, begin, end),
		cmocka_unit_test_setup_teardown(test_objects, begin, end),
		cmocka_unit_test_setup_teardown(test_enslaved, begin, end),
		cmocka_unit_test_setup_teardown(test_full, begin, end),
		cmocka_unit_test_setup_teardown(test_check_router, begin, end),
		cmocka_unit_test_setup_teardown(test_check_memory, begin, end),
		cmocka_unit_test_setup_teardown(test_random, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
