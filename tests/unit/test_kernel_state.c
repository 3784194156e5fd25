/* SPDX-License-Identifier: BSD-3-Clause */
/* The mirror of the kernel's tables: what its messages say and change. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/unit/kernel_state_rig.h"

#include <arpa/inet.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/nexthop.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

		memcpy(cut, m, bytes);
		cut->nlmsg_len = bytes;
		kernel_state_message(state, cut, false);
		free(cut);
	}
	for (uint32_t at = NLMSG_LENGTH(sizeof(struct rtmsg)); at < whole; at += 4) {
		struct nlmsghdr *bent = malloc(whole);

		for (unsigned length = 0; length < 40; length++) {
			memcpy(bent, m, whole);
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

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
	const struct CMUnitTest tests[] = {TEST(test_link), TEST(test_neighbor), TEST(test_route),
		TEST(test_many_hops), TEST(test_cut), TEST(test_order_ipv4), TEST(test_order_ipv6),
		TEST(test_coalescing), TEST(test_many)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
