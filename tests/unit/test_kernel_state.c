/* SPDX-License-Identifier: BSD-3-Clause */
/* The mirror of the kernel's tables, fed with messages as the kernel makes them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "inject.h"

#include <router/kernel_state.h>

#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/if.h>
#include <linux/if_arp.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/nexthop.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define UP   (IFF_UP | IFF_RUNNING | IFF_LOWER_UP)
#define MAIN RT_TABLE_MAIN

static struct kernel_state *state;
static bool dumped; /* messages are a dump's */
static char buffer[65536];

static int begin(void **context)
{
	dumped = false;
	state = kernel_state_new();
	return state ? 0 : -1;
}

static int end(void **context)
{
	kernel_state_free(state);
	return 0;
}

/* --- Messages --------------------------------------------------------------------------------- */

static struct nlmsghdr *message(uint16_t type, uint16_t flags, const void *fixed, size_t bytes)
{
	struct nlmsghdr *m = mnl_nlmsg_put_header(buffer);

	m->nlmsg_type = type;
	m->nlmsg_flags = flags;
	memcpy(mnl_nlmsg_put_extra_header(m, bytes), fixed, bytes);
	return m;
}

static void feed(const struct nlmsghdr *m)
{
	kernel_state_message(state, m, dumped);
}

static void put_address(struct nlmsghdr *m, uint16_t type, const char *text)
{
	uint8_t bytes[16];

	if (inet_pton(AF_INET, text, bytes) == 1)
		mnl_attr_put(m, type, 4, bytes);
	else if (inet_pton(AF_INET6, text, bytes) == 1)
		mnl_attr_put(m, type, 16, bytes);
	else
		fail_msg("%s", text);
}

static struct nlmsghdr *link_message(uint16_t type, int ifindex, unsigned flags)
{
	const struct ifinfomsg fixed = {
		.ifi_type = ARPHRD_ETHER, .ifi_index = ifindex, .ifi_flags = flags};
	struct nlmsghdr *m = message(type, 0, &fixed, sizeof(fixed));
	char name[16];

	snprintf(name, sizeof(name), "port%d", ifindex);
	mnl_attr_put_strz(m, IFLA_IFNAME, name);
	mnl_attr_put_u32(m, IFLA_MTU, 1500);
	mnl_attr_put(m, IFLA_ADDRESS, 6, "\x02\0\0\0\0\x07");
	return m;
}

static void set_link(int ifindex, unsigned flags)
{
	feed(link_message(RTM_NEWLINK, ifindex, flags));
}

static void address(uint16_t type, unsigned ifindex, const char *local)
{
	const struct ifaddrmsg fixed = {
		.ifa_family = AF_INET, .ifa_prefixlen = 24, .ifa_index = ifindex};
	struct nlmsghdr *m = message(type, 0, &fixed, sizeof(fixed));

	put_address(m, IFA_LOCAL, local);
	put_address(m, IFA_ADDRESS, local);
	feed(m);
}

static void neighbor(uint16_t type, const char *dst, uint16_t nud, const char *mac)
{
	const struct ndmsg fixed = {.ndm_family = strchr(dst, ':') ? AF_INET6 : AF_INET,
		.ndm_ifindex = 1,
		.ndm_state = nud};
	struct nlmsghdr *m = message(type, 0, &fixed, sizeof(fixed));

	put_address(m, NDA_DST, dst);
	mnl_attr_put(m, NDA_LLADDR, 6, mac);
	feed(m);
}

/* A route: fields that are 0 are not said. */
struct route {
	const char *dst; /* "10.0.0.0" */
	uint8_t length, scope, type, protocol;
	uint32_t metric, table, next_hop, mtu;
	const char *source;
	struct {
		const char *gateway;
		uint32_t ifindex;
	} hop[4];
};

static void put_hop(struct nlmsghdr *m, const char *dst, const char *gateway)
{
	if (gateway && !strchr(dst, ':') && strchr(gateway, ':')) {
		uint8_t via[18] = {AF_INET6};

		inet_pton(AF_INET6, gateway, via + 2);
		mnl_attr_put(m, RTA_VIA, sizeof(via), via);
	} else if (gateway) {
		put_address(m, RTA_GATEWAY, gateway);
	}
}

static struct nlmsghdr *route_message(uint16_t type, uint16_t flags, struct route r)
{
	const struct rtmsg fixed = {.rtm_family = strchr(r.dst, ':') ? AF_INET6 : AF_INET,
		.rtm_dst_len = r.length,
		.rtm_table = MAIN,
		.rtm_protocol = r.protocol ? r.protocol : RTPROT_STATIC,
		.rtm_scope = r.scope,
		.rtm_type = r.type ? r.type : RTN_UNICAST};
	struct nlmsghdr *m = message(type, flags, &fixed, sizeof(fixed));
	struct nlattr *nest;

	if (r.length)
		put_address(m, RTA_DST, r.dst);
	if (r.table)
		mnl_attr_put_u32(m, RTA_TABLE, r.table);
	if (r.metric)
		mnl_attr_put_u32(m, RTA_PRIORITY, r.metric);
	if (r.source)
		put_address(m, RTA_PREFSRC, r.source);
	if (r.next_hop)
		mnl_attr_put_u32(m, RTA_NH_ID, r.next_hop);
	if (r.mtu) {
		nest = mnl_attr_nest_start(m, RTA_METRICS);
		mnl_attr_put_u32(m, RTAX_MTU, r.mtu);
		mnl_attr_nest_end(m, nest);
	}
	if (r.hop[0].ifindex && !r.hop[1].ifindex) {
		mnl_attr_put_u32(m, RTA_OIF, r.hop[0].ifindex);
		put_hop(m, r.dst, r.hop[0].gateway);
	} else if (r.hop[0].ifindex) {
		nest = mnl_attr_nest_start(m, RTA_MULTIPATH);
		for (unsigned k = 0; k < 4 && r.hop[k].ifindex; k++) {
			struct rtnexthop *next = mnl_nlmsg_get_payload_tail(m);

			*next = (struct rtnexthop){
				.rtnh_hops = (uint8_t)k, .rtnh_ifindex = (int)r.hop[k].ifindex};
			m->nlmsg_len += sizeof(*next);
			put_hop(m, r.dst, r.hop[k].gateway);
			next->rtnh_len =
				(uint16_t)((char *)mnl_nlmsg_get_payload_tail(m) - (char *)next);
		}
		mnl_attr_nest_end(m, nest);
	}
	return m;
}

static void add(uint16_t flags, struct route r)
{
	feed(route_message(RTM_NEWROUTE, flags, r));
}

static void del(struct route r)
{
	feed(route_message(RTM_DELROUTE, 0, r));
}

static void next_hop(uint16_t type, uint32_t id, uint32_t ifindex)
{
	const struct nhmsg fixed = {.nh_family = AF_INET};
	struct nlmsghdr *m = message(type, 0, &fixed, sizeof(fixed));

	mnl_attr_put_u32(m, NHA_ID, id);
	mnl_attr_put_u32(m, NHA_OIF, ifindex);
	put_address(m, NHA_GATEWAY, "10.0.0.2");
	feed(m);
}

static void group(uint32_t id, uint32_t a, uint32_t b, bool resilient)
{
	const struct nhmsg fixed = {0};
	struct nlmsghdr *m = message(RTM_NEWNEXTHOP, 0, &fixed, sizeof(fixed));
	struct nexthop_grp member[2] = {{.id = a, .weight = 0}, {.id = b, .weight = 4}};
	struct nlattr *nest;

	mnl_attr_put_u32(m, NHA_ID, id);
	mnl_attr_put(m, NHA_GROUP, sizeof(member), member);
	if (resilient) {
		mnl_attr_put_u16(m, NHA_GROUP_TYPE, NEXTHOP_GRP_TYPE_RES);
		nest = mnl_attr_nest_start(m, NHA_RES_GROUP);
		mnl_attr_put_u16(m, NHA_RES_GROUP_BUCKETS, 128);
		mnl_attr_put_u32(m, NHA_RES_GROUP_IDLE_TIMER, 12000);
		mnl_attr_nest_end(m, nest);
	}
	feed(m);
}

/* --- Questions -------------------------------------------------------------------------------- */

static struct kernel_key key_of(uint8_t kind, uint32_t id, const char *text, uint8_t length)
{
	struct kernel_key key = {.kind = kind, .id = id, .length = length};
	struct address a;

	if (text) {
		assert_true(address_parse(text, &a));
		key.address = a.bits;
		key.family = a.family;
	}
	return key;
}

static const struct kernel_value *nth_route(const char *dst, uint8_t length, unsigned nth)
{
	const struct kernel_key key = key_of(KERNEL_ROUTE, MAIN, dst, length);

	return kernel_state_find(state, &key, nth);
}

static const struct kernel_value *route(const char *dst, uint8_t length)
{
	return nth_route(dst, length, 0);
}

static const struct kernel_value *object(uint32_t id)
{
	const struct kernel_key key = key_of(KERNEL_NEXT_HOP, id, NULL, 0);

	return kernel_state_find(state, &key, 0);
}

static const struct kernel_value *link_of(uint32_t ifindex)
{
	const struct kernel_key key = key_of(KERNEL_LINK, ifindex, NULL, 0);

	return kernel_state_find(state, &key, 0);
}

/* The links of a key's routes in order, as "1 2"; of a route's hops, as "1+2". */
static void expect(const char *dst, uint8_t length, const char *links)
{
	const struct kernel_value *v;
	char text[256] = "";

	for (unsigned n = 0; (v = nth_route(dst, length, n)); n++)
		for (unsigned k = 0; k < v->hops; k++)
			snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%u",
				k   ? "+"
				: n ? " "
				    : "",
				v->hop[k].ifindex);
	assert_string_equal(text, links);
}

/* Whether the next change is of that route: from a link to a link; 0: none. */
static void expect_change(const char *dst, uint32_t before, uint32_t now)
{
	struct kernel_change c;
	const struct kernel_key key = key_of(KERNEL_ROUTE, MAIN, dst, 24);

	assert_true(kernel_state_change(state, &c));
	assert_memory_equal(&c.key, &key, sizeof(key));
	assert_int_equal(c.before ? c.before->hop[0].ifindex : 0, before);
	assert_int_equal(c.now ? c.now->hop[0].ifindex : 0, now);
}

static void take_changes(void)
{
	struct kernel_change c;

	while (kernel_state_change(state, &c))
		;
	assert_int_equal(kernel_state_changes(state), 0);
}

/* Links 1 to 3, up, and a round that knows them. */
static void three_links(void)
{
	kernel_state_begin(state);
	dumped = true;
	for (int k = 1; k <= 3; k++)
		set_link(k, UP);
	dumped = false;
	kernel_state_sweep(state);
	take_changes();
}

#define NEW        (NLM_F_CREATE | NLM_F_EXCL)
#define A          "10.1.0.0"
#define B          "10.2.0.0"
#define C          "2001:db8::"
#define VIA(link)  .hop = {{"10.0.0.2", (link)}}
#define VIA6(link) .hop = {{"fe80::2", (link)}}

/* --- What messages say ------------------------------------------------------------------------ */

static void test_link(void **context)
{
	struct nlmsghdr *m = link_message(RTM_NEWLINK, 5, UP);
	struct nlattr *info, *data;
	struct ifinfomsg fixed = {.ifi_family = AF_BRIDGE, .ifi_index = 5};

	mnl_attr_put_u32(m, IFLA_MASTER, 9);
	mnl_attr_put_u32(m, IFLA_LINK, 2);
	info = mnl_attr_nest_start(m, IFLA_LINKINFO);
	mnl_attr_put_strz(m, IFLA_INFO_KIND, "vlan");
	data = mnl_attr_nest_start(m, IFLA_INFO_DATA);
	mnl_attr_put_u16(m, IFLA_VLAN_ID, 17);
	mnl_attr_put_u16(m, IFLA_VLAN_PROTOCOL, htons(0x8100));
	mnl_attr_nest_end(m, data);
	mnl_attr_nest_end(m, info);
	feed(m);
	assert_string_equal(link_of(5)->link.name, "port5");
	assert_int_equal(link_of(5)->link.kind, KERNEL_LINK_VLAN);
	assert_int_equal(link_of(5)->link.vlan, 17);
	assert_int_equal(link_of(5)->link.vlan_type, 0x8100);
	assert_int_equal(link_of(5)->link.lower, 2);
	assert_int_equal(link_of(5)->link.master, 9);
	assert_int_equal(link_of(5)->link.mac.octet[5], 7);
	assert_int_equal(link_of(5)->link.mtu, 1500);
	/* A port that leaves its bridge is not a link that is deleted. */
	feed(message(RTM_DELLINK, 0, &fixed, sizeof(fixed)));
	assert_non_null(link_of(5));
	m = link_message(RTM_NEWLINK, 6, UP);
	info = mnl_attr_nest_start(m, IFLA_LINKINFO);
	mnl_attr_put_strz(m, IFLA_INFO_KIND, "vrf");
	data = mnl_attr_nest_start(m, IFLA_INFO_DATA);
	mnl_attr_put_u32(m, IFLA_VRF_TABLE, 1000);
	mnl_attr_nest_end(m, data);
	mnl_attr_nest_end(m, info);
	feed(m);
	assert_int_equal(link_of(6)->link.kind, KERNEL_LINK_VRF);
	assert_int_equal(link_of(6)->link.table, 1000);
	feed(link_message(RTM_DELLINK, 5, 0));
	assert_null(link_of(5));
	assert_int_equal(kernel_state_count(state, KERNEL_LINK), 1);
}

static void test_neighbor(void **context)
{
	const struct kernel_key key = key_of(KERNEL_NEIGHBOR, 1, "fe80::2", 0);

	neighbor(RTM_NEWNEIGH, "fe80::2", NUD_REACHABLE, "\x02\0\0\0\0\x01");
	assert_int_equal(kernel_state_find(state, &key, 0)->neighbor.state, NUD_REACHABLE);
	assert_true(kernel_state_find(state, &key, 0)->neighbor.has_mac);
	neighbor(RTM_NEWNEIGH, "fe80::2", NUD_STALE, "\x02\0\0\0\0\x02");
	assert_int_equal(kernel_state_find(state, &key, 0)->neighbor.mac.octet[5], 2);
	neighbor(RTM_NEWNEIGH, "fe80::2", NUD_NONE, "\x02\0\0\0\0\x02");
	assert_null(kernel_state_find(state, &key, 0));
	neighbor(RTM_NEWNEIGH, "ff02::16", NUD_NOARP, "\x33\x33\0\0\0\x16");
	assert_int_equal(kernel_state_count(state, KERNEL_NEIGHBOR), 0);
}

static void test_route(void **context)
{
	const struct kernel_value *v;
	struct nlmsghdr *m;
	struct kernel_key key = key_of(KERNEL_ROUTE, 1000, A, 24);
	const struct rtmsg from = {.rtm_family = AF_INET6,
		.rtm_type = RTN_UNICAST,
		.rtm_src_len = 64,
		.rtm_table = MAIN};

	add(NEW, (struct route){A, 24, .table = 1000, .metric = 20, .mtu = 1400,
			 .hop = {{"10.0.0.2", 1}, {"fe80::1", 2}}});
	key.metric = 20;
	v = kernel_state_find(state, &key, 0);
	assert_int_equal(v->hops, 2);
	assert_int_equal(v->hop[0].weight, 1);
	assert_int_equal(v->hop[1].weight, 2);
	assert_int_equal(v->hop[0].gateway_family, 4);
	assert_int_equal(v->hop[1].gateway_family, 6);
	assert_int_equal(v->hop[1].gateway.high >> 48, 0xfe80);
	assert_int_equal(v->route.mtu, 1400);
	assert_int_equal(v->route.unsupported, 0);
	m = route_message(RTM_NEWROUTE, NEW, (struct route){B, 24, VIA(1)});
	mnl_attr_put_u16(m, RTA_ENCAP_TYPE, 1);
	feed(m);
	assert_int_equal(route(B, 24)->route.unsupported, KERNEL_UNSUPPORTED_ENCAPSULATION);
	add(NLM_F_REPLACE, (struct route){B, 24, .type = RTN_BLACKHOLE});
	assert_int_equal(route(B, 24)->route.type, RTN_BLACKHOLE);
	assert_int_equal(route(B, 24)->hops, 0);
	add(NEW, (struct route){"::", 0, VIA6(1)});
	assert_int_equal(route("::", 0)->hop[0].ifindex, 1);
	/* Others than those. */
	add(NEW, (struct route){"ff00::", 8, .type = RTN_MULTICAST, VIA6(1)});
	assert_null(route("ff00::", 8));
	feed(message(RTM_NEWROUTE, NEW, &from, sizeof(from)));
	assert_int_equal(kernel_state_counters(state)->source_routes, 1);
	assert_int_equal(kernel_state_count(state, KERNEL_ROUTE), 3);
}

/* More hops than a value has room for. */
static void test_many_hops(void **context)
{
	const struct rtmsg fixed = {.rtm_family = AF_INET,
		.rtm_dst_len = 24,
		.rtm_table = MAIN,
		.rtm_type = RTN_UNICAST};
	struct nlmsghdr *m = message(RTM_NEWROUTE, NEW, &fixed, sizeof(fixed));
	struct nlattr *nest;

	put_address(m, RTA_DST, A);
	nest = mnl_attr_nest_start(m, RTA_MULTIPATH);
	for (int k = 0; k < 300; k++) {
		const struct rtnexthop next = {.rtnh_len = sizeof(next), .rtnh_ifindex = k + 1};

		memcpy(mnl_nlmsg_get_payload_tail(m), &next, sizeof(next));
		m->nlmsg_len += sizeof(next);
	}
	mnl_attr_nest_end(m, nest);
	feed(m);
	assert_int_equal(route(A, 24)->hops, KERNEL_HOPS_MAX);
	assert_int_equal(route(A, 24)->route.unsupported, KERNEL_UNSUPPORTED_HOPS);
}

/* Cut anywhere, and with any attribute shorter than it should be: nothing is read beyond. */
static void test_cut(void **context)
{
	struct nlmsghdr *m = route_message(RTM_NEWROUTE, NEW,
		(struct route){A, 24, .mtu = 1400, .metric = 5, .source = "10.0.0.1",
			.hop = {{"10.0.0.2", 1}, {"fe80::1", 2}}});
	const uint32_t whole = m->nlmsg_len;

	for (uint32_t bytes = sizeof(*m); bytes < whole; bytes++) {
		struct nlmsghdr *cut = malloc(bytes); /* so that a sanitizer sees its end */

		memcpy(cut, buffer, bytes);
		cut->nlmsg_len = bytes;
		kernel_state_message(state, cut, false);
		free(cut);
	}
	for (uint32_t at = NLMSG_LENGTH(sizeof(struct rtmsg)); at < whole; at += 4) {
		struct nlmsghdr *bent = malloc(whole);

		for (unsigned length = 0; length < 40; length++) {
			memcpy(bent, buffer, whole);
			memcpy((char *)bent + at, &(uint16_t){(uint16_t)length}, 2);
			kernel_state_message(state, bent, false);
		}
		free(bent);
	}
	assert_true(kernel_state_counters(state)->malformed > 0);
}

/* --- Routes of one key ------------------------------------------------------------------------ */

static void test_order_ipv4(void **context)
{
	three_links();
	add(NEW, (struct route){A, 24, VIA(1)});
	add(NLM_F_CREATE | NLM_F_APPEND, (struct route){A, 24, VIA(2)});
	expect(A, 24, "1 2");
	add(NLM_F_CREATE, (struct route){A, 24, VIA(3)}); /* prepended */
	expect(A, 24, "3 1 2");
	add(0, (struct route){A, 24, VIA(1)}); /* the kernel says it again */
	expect(A, 24, "3 1 2");
	del((struct route){A, 24, VIA(1)});
	expect(A, 24, "3 2");
	del((struct route){A, 24, VIA(3)});
	expect(A, 24, "2");
	add(NLM_F_CREATE | NLM_F_APPEND, (struct route){A, 24, VIA(1)});
	add(NLM_F_REPLACE, (struct route){A, 24, VIA(3)});
	expect(A, 24, "3 1");
	assert_false(kernel_state_doubts(state));
	del((struct route){A, 24, VIA(2)});
	assert_true(kernel_state_doubts(state));
	assert_false(kernel_state_doubts(state));
	del((struct route){A, 24, VIA(3)});
	del((struct route){A, 24, VIA(1)});
	expect(A, 24, "");
	del((struct route){A, 24, VIA(1)}); /* evicted here first, then told */
	assert_false(kernel_state_doubts(state));
}

static void test_order_ipv6(void **context)
{
	three_links();
	/* With gateways: one route, which each message says whole, but a removal in part. */
	add(NEW, (struct route){C, 64, VIA6(1)});
	add(NLM_F_CREATE | NLM_F_APPEND,
		(struct route){C, 64, .hop = {{"fe80::2", 1}, {"fe80::2", 2}, {"fe80::3", 2}}});
	expect(C, 64, "1+2+2");
	del((struct route){C, 64, .hop = {{"fe80::2", 2}}});
	expect(C, 64, "1+2");
	assert_int_equal(route(C, 64)->hop[1].gateway.low, 3);
	/* Without: each its own. */
	add(NLM_F_CREATE, (struct route){C, 64, .hop = {{NULL, 3}}});
	expect(C, 64, "1+2 3");
	add(NLM_F_REPLACE, (struct route){C, 64, .hop = {{NULL, 2}}});
	expect(C, 64, "1+2 2");
	del((struct route){C, 64, .hop = {{"fe80::2", 1}, {"fe80::3", 2}}});
	expect(C, 64, "2");
	/* Default routes of two routers that advertise. */
	add(NEW, (struct route){"::", 0, .protocol = RTPROT_RA, VIA6(1)});
	add(NLM_F_CREATE, (struct route){"::", 0, .protocol = RTPROT_RA, VIA6(2)});
	expect("::", 0, "1 2");
	del((struct route){"::", 0, .protocol = RTPROT_RA, VIA6(1)});
	expect("::", 0, "2");
	assert_false(kernel_state_doubts(state));
}

/* --- Changes ---------------------------------------------------------------------------------- */

static void test_coalescing(void **context)
{
	struct kernel_change c;

	three_links();
	add(NEW, (struct route){A, 24, VIA(1)});
	add(NEW, (struct route){B, 24, VIA(1)});
	for (unsigned k = 0; k < 1000; k++)
		add(NLM_F_REPLACE, (struct route){A, 24, VIA(1 + k % 3)});
	expect_change(A, 0, 1);
	add(NLM_F_REPLACE, (struct route){B, 24, VIA(3)});
	expect_change(B, 0, 3);
	assert_false(kernel_state_change(state, &c));
	/* There and back is no change. */
	add(NLM_F_REPLACE, (struct route){A, 24, VIA(2)});
	del((struct route){B, 24, VIA(3)});
	add(NEW, (struct route){"10.3.0.0", 24, VIA(2)});
	add(NLM_F_REPLACE, (struct route){A, 24, VIA(1)});
	add(NEW, (struct route){B, 24, VIA(2)});
	del((struct route){"10.3.0.0", 24, VIA(2)});
	expect_change(B, 3, 2);
	assert_false(kernel_state_change(state, &c));
	/* Another route of the key is none, until it is the first. */
	add(NLM_F_CREATE | NLM_F_APPEND, (struct route){A, 24, VIA(3)});
	assert_false(kernel_state_change(state, &c));
	del((struct route){A, 24, VIA(1)});
	expect_change(A, 1, 3);
	del((struct route){A, 24, VIA(3)});
	expect_change(A, 3, 0);
	assert_false(kernel_state_change(state, &c));
}

/* More than one block, table and queue. */
static void test_many(void **context)
{
	char dst[20];
	size_t from = 0, n = 0;
	struct kernel_key key;

	three_links();
	for (unsigned k = 0; k < 20000; k++) {
		snprintf(dst, sizeof(dst), "10.%u.%u.0", k >> 8, k & 255);
		add(NEW, (struct route){dst, 24, VIA(1 + k % 3)});
	}
	assert_int_equal(kernel_state_changes(state), 20000);
	while (kernel_state_each(state, KERNEL_ROUTE, &from, &key))
		n++;
	assert_int_equal(n, 20000);
	take_changes();
	set_link(1, 0);
	assert_int_equal(kernel_state_count(state, KERNEL_ROUTE), 20000 - 6667);
	assert_int_equal(kernel_state_changes(state), 1 + 6667);
	for (unsigned k = 1; k < 20000; k += 3) {
		snprintf(dst, sizeof(dst), "10.%u.%u.0", k >> 8, k & 255);
		del((struct route){dst, 24, VIA(2)});
	}
	assert_int_equal(kernel_state_count(state, KERNEL_ROUTE), 6666);
}

/* --- What goes without a message -------------------------------------------------------------- */

static void test_link_down(void **context)
{
	three_links();
	add(NEW, (struct route){A, 24, VIA(1)});
	add(NEW, (struct route){B, 24, .hop = {{"10.0.0.2", 1}, {"10.0.1.2", 2}}});
	add(NEW, (struct route){"10.0.0.1", 32, .scope = RT_SCOPE_HOST, .type = RTN_LOCAL,
			 .hop = {{NULL, 1}}});
	add(NEW, (struct route){C, 64, VIA6(1)});
	add(NEW, (struct route){"10.4.0.0", 24, .type = RTN_BLACKHOLE});
	set_link(1, UP & ~IFF_LOWER_UP & ~IFF_RUNNING); /* routes outlive a carrier */
	assert_int_equal(kernel_state_count(state, KERNEL_ROUTE), 5);
	set_link(1, 0);
	expect(A, 24, "");
	expect(B, 24, "1+2");
	expect("10.0.0.1", 32, "1");
	expect(C, 64, "");
	set_link(2, 0);
	expect(B, 24, "");
	assert_int_equal(kernel_state_counters(state)->evicted, 3);
	/* What comes after the link did is not what went with it, though equal. */
	set_link(1, UP);
	add(NEW, (struct route){A, 24, VIA(1)});
	set_link(1, 0);
	set_link(1, UP);
	add(NEW, (struct route){A, 24, VIA(1)});
	expect(A, 24, "1");
	/* A link that is deleted takes routes with any hop there. */
	set_link(2, UP);
	add(NEW, (struct route){B, 24, .hop = {{"10.0.0.2", 1}, {"10.0.1.2", 2}}});
	feed(link_message(RTM_DELLINK, 2, 0));
	expect(B, 24, "");
	assert_non_null(route("10.4.0.0", 24));
}

static void test_objects(void **context)
{
	three_links();
	next_hop(RTM_NEWNEXTHOP, 1, 1);
	next_hop(RTM_NEWNEXTHOP, 2, 2);
	group(10, 1, 2, false);
	group(11, 1, 1, true);
	add(NEW, (struct route){A, 24, .next_hop = 1});
	add(NEW, (struct route){B, 24, .next_hop = 10});
	add(NEW, (struct route){C, 64, .next_hop = 11});
	assert_int_equal(object(10)->hops, 2);
	assert_int_equal(object(10)->hop[1].weight, 5);
	assert_true(object(11)->next_hop.resilient);
	assert_int_equal(object(11)->next_hop.buckets, 128);
	set_link(1, UP & ~IFF_LOWER_UP & ~IFF_RUNNING);
	assert_null(object(1));
	assert_int_equal(object(10)->hops, 1);
	assert_int_equal(object(10)->hop[0].next_hop, 2);
	assert_null(object(11));
	assert_null(route(A, 24));
	assert_null(route(C, 64));
	assert_int_equal(route(B, 24)->hop[0].next_hop, 10);
	next_hop(RTM_DELNEXTHOP, 2, 2);
	assert_null(object(10));
	assert_null(route(B, 24));
	assert_int_equal(kernel_state_count(state, KERNEL_ROUTE), 0);
}

static void test_addresses(void **context)
{
	three_links();
	address(RTM_NEWADDR, 1, "10.0.0.1");
	address(RTM_NEWADDR, 1, "10.0.1.1");
	address(RTM_NEWADDR, 2, "10.0.1.1");
	add(NEW, (struct route){A, 24, .source = "10.0.0.1", VIA(2)});
	add(NEW, (struct route){B, 24, .source = "10.0.1.1", VIA(2)});
	add(NEW, (struct route){"10.3.0.0", 24, VIA(1)});
	address(RTM_DELADDR, 1, "10.0.0.1");
	expect(A, 24, "");
	address(RTM_DELADDR, 1, "10.0.1.1"); /* the other link has it too */
	expect(B, 24, "2");
	expect("10.3.0.0", 24, ""); /* it was the last of its link */
}

/* --- Rounds ----------------------------------------------------------------------------------- */

static void test_sweep(void **context)
{
	struct kernel_change c;

	three_links();
	address(RTM_NEWADDR, 1, "10.0.0.1"); /* missed; what the dump shows stays */
	add(NEW, (struct route){A, 24, VIA(1)});
	add(NEW, (struct route){B, 24, VIA(1)});
	add(NEW, (struct route){"10.3.0.0", 24, VIA(1)});
	add(NEW, (struct route){"10.4.0.0", 24, VIA(1)});
	take_changes();
	kernel_state_begin(state);
	add(NLM_F_REPLACE, (struct route){B, 24, VIA(2)});
	del((struct route){"10.4.0.0", 24, VIA(1)});
	add(NEW, (struct route){"10.5.0.0", 24, VIA(3)});
	dumped = true;
	set_link(1, UP);
	set_link(2, UP);
	set_link(3, UP);
	add(0, (struct route){A, 24, VIA(1)});
	add(0, (struct route){B, 24, VIA(1)});          /* older than the event */
	add(0, (struct route){"10.4.0.0", 24, VIA(1)}); /* so is this */
	add(0, (struct route){"10.6.0.0", 24, VIA(2)});
	dumped = false;
	expect("10.3.0.0", 24, "1"); /* missed, but that is not known yet */
	kernel_state_sweep(state);
	expect(A, 24, "1");
	expect(B, 24, "2");
	expect("10.3.0.0", 24, "");
	expect("10.4.0.0", 24, "");
	expect("10.5.0.0", 24, "3");
	expect("10.6.0.0", 24, "2");
	assert_int_equal(kernel_state_counters(state)->swept, 2);
	expect_change(B, 1, 2);
	expect_change("10.4.0.0", 1, 0);
	expect_change("10.5.0.0", 0, 3);
	expect_change("10.6.0.0", 0, 2);
	assert_true(kernel_state_change(state, &c));
	assert_int_equal(c.key.kind, KERNEL_ADDRESS);
	assert_null(c.now);
	expect_change("10.3.0.0", 1, 0);
}

/* A round that did not come to its end counts for nothing. */
static void test_round_anew(void **context)
{
	three_links();
	add(NEW, (struct route){A, 24, VIA(1)});
	add(NEW, (struct route){B, 24, VIA(1)});
	kernel_state_begin(state);
	dumped = true;
	add(0, (struct route){A, 24, VIA(1)});
	kernel_state_begin(state);
	for (int k = 1; k <= 3; k++)
		set_link(k, UP);
	add(0, (struct route){B, 24, VIA(1)});
	kernel_state_sweep(state);
	expect(A, 24, "");
	expect(B, 24, "1");
}

/* What a dump shows of a key stands in the dump's order; a dead link's route is not believed. */
static void test_dump_order(void **context)
{
	three_links();
	add(NEW, (struct route){A, 24, VIA(1)});
	add(NLM_F_CREATE | NLM_F_APPEND, (struct route){A, 24, VIA(2)});
	kernel_state_begin(state);
	set_link(2, 0);
	dumped = true;
	set_link(1, UP);
	set_link(3, UP);
	add(0, (struct route){A, 24, .metric = 0, VIA(3)});
	add(0, (struct route){A, 24, VIA(1)});
	add(0, (struct route){A, 24, .next_hop = 7}); /* there is no such object */
	add(0, (struct route){B, 24, VIA(2)});
	kernel_state_sweep(state);
	expect(B, 24, "");
	if (kernel_state_doubts(state)) { /* link 2 went within the round, so the key was touched */
		kernel_state_begin(state);
		set_link(1, UP);
		set_link(2, 0);
		set_link(3, UP);
		add(0, (struct route){A, 24, VIA(3)});
		add(0, (struct route){A, 24, VIA(1)});
		kernel_state_sweep(state);
	}
	expect(A, 24, "3 1");
	assert_false(kernel_state_doubts(state));
}

/* What a change costs when there is no memory for it is another round. */
static int feed_all(void *context)
{
	kernel_state_free(state);
	state = NULL;
	inject_arm();
	state = kernel_state_new();
	if (!state) {
		inject_disarm();
		return -ENOMEM;
	}
	three_links();
	for (unsigned k = 0; k < 100; k++) {
		char local[16];

		snprintf(local, sizeof(local), "10.0.0.%u", k);
		address(RTM_NEWADDR, k % 3 + 1, local);
	}
	next_hop(RTM_NEWNEXTHOP, 1, 1);
	next_hop(RTM_NEWNEXTHOP, 2, 2);
	group(10, 1, 2, false);
	add(NEW, (struct route){A, 24, VIA(1)});
	add(NLM_F_CREATE | NLM_F_APPEND, (struct route){A, 24, VIA(2)});
	add(NEW, (struct route){C, 64, .hop = {{"fe80::2", 1}, {"fe80::2", 2}}});
	del((struct route){C, 64, .hop = {{"fe80::2", 1}}});
	next_hop(RTM_DELNEXTHOP, 1, 1);
	inject_disarm();
	if (kernel_state_doubts(state)) {
		assert_non_null(inject_failed());
		kernel_state_begin(state);
		dumped = true;
		for (int k = 1; k <= 3; k++)
			set_link(k, UP);
		next_hop(RTM_NEWNEXTHOP, 2, 2);
		group(10, 2, 2, false);
		add(0, (struct route){A, 24, VIA(1)});
		add(0, (struct route){A, 24, VIA(2)});
		add(0, (struct route){C, 64, VIA6(2)});
		dumped = false;
		kernel_state_sweep(state);
	}
	expect(A, 24, "1 2");
	expect(C, 64, "2");
	assert_null(object(1));
	assert_int_equal(object(10)->hop[0].next_hop, 2);
	assert_int_equal(kernel_state_count(state, KERNEL_LINK), 3);
	assert_int_equal(kernel_state_count(state, KERNEL_ROUTE), 2);
	take_changes();
	kernel_state_free(state);
	state = NULL;
	return 0;
}

static void test_out_of_memory(void **context)
{
	assert_true(inject_each(feed_all, NULL, NULL) > 20);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
	const struct CMUnitTest tests[] = {TEST(test_link), TEST(test_neighbor), TEST(test_route),
		TEST(test_many_hops), TEST(test_cut), TEST(test_order_ipv4), TEST(test_order_ipv6),
		TEST(test_coalescing), TEST(test_many), TEST(test_link_down), TEST(test_objects),
		TEST(test_addresses), TEST(test_sweep), TEST(test_round_anew),
		TEST(test_dump_order), TEST(test_out_of_memory)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
