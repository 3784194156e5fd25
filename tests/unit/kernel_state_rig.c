/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/unit/kernel_state_rig.h"

#include <arpa/inet.h>
#include <linux/if_arp.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/nexthop.h>
#include <stdio.h>
#include <string.h>

struct kernel_state *state;
bool dumped;
static char buffer[65536];

int begin(void **context)
{
	dumped = false;
	state = kernel_state_new();
	return state ? 0 : -1;
}

int end(void **context)
{
	kernel_state_free(state);
	return 0;
}

/* --- Messages --------------------------------------------------------------------------------- */

struct nlmsghdr *message(uint16_t type, uint16_t flags, const void *fixed, size_t bytes)
{
	struct nlmsghdr *m = mnl_nlmsg_put_header(buffer);

	m->nlmsg_type = type;
	m->nlmsg_flags = flags;
	memcpy(mnl_nlmsg_put_extra_header(m, bytes), fixed, bytes);
	return m;
}

void feed(const struct nlmsghdr *m)
{
	kernel_state_message(state, m, dumped);
}

void put_address(struct nlmsghdr *m, uint16_t type, const char *text)
{
	uint8_t bytes[16];

	if (inet_pton(AF_INET, text, bytes) == 1)
		mnl_attr_put(m, type, 4, bytes);
	else if (inet_pton(AF_INET6, text, bytes) == 1)
		mnl_attr_put(m, type, 16, bytes);
	else
		fail_msg("%s", text);
}

struct nlmsghdr *link_message(uint16_t type, int ifindex, unsigned flags)
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

void set_link(int ifindex, unsigned flags)
{
	feed(link_message(RTM_NEWLINK, ifindex, flags));
}

void address(uint16_t type, unsigned ifindex, const char *local)
{
	const struct ifaddrmsg fixed = {
		.ifa_family = AF_INET, .ifa_prefixlen = 24, .ifa_index = ifindex};
	struct nlmsghdr *m = message(type, 0, &fixed, sizeof(fixed));

	put_address(m, IFA_LOCAL, local);
	put_address(m, IFA_ADDRESS, local);
	feed(m);
}

void neighbor(uint16_t type, const char *dst, uint16_t nud, const char *mac)
{
	const struct ndmsg fixed = {.ndm_family = strchr(dst, ':') ? AF_INET6 : AF_INET,
		.ndm_ifindex = 1,
		.ndm_state = nud};
	struct nlmsghdr *m = message(type, 0, &fixed, sizeof(fixed));

	put_address(m, NDA_DST, dst);
	mnl_attr_put(m, NDA_LLADDR, 6, mac);
	feed(m);
}

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

struct nlmsghdr *route_message(uint16_t type, uint16_t flags, struct route r)
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

void add(uint16_t flags, struct route r)
{
	feed(route_message(RTM_NEWROUTE, flags, r));
}

void del(struct route r)
{
	feed(route_message(RTM_DELROUTE, 0, r));
}

void next_hop(uint16_t type, uint32_t id, uint32_t ifindex)
{
	const struct nhmsg fixed = {.nh_family = AF_INET};
	struct nlmsghdr *m = message(type, 0, &fixed, sizeof(fixed));

	mnl_attr_put_u32(m, NHA_ID, id);
	mnl_attr_put_u32(m, NHA_OIF, ifindex);
	put_address(m, NHA_GATEWAY, "10.0.0.2");
	feed(m);
}

void group(uint32_t id, uint32_t a, uint32_t b, bool resilient)
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

struct kernel_key key_of(uint8_t kind, uint32_t id, const char *text, uint8_t length)
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

const struct kernel_value *nth_route(const char *dst, uint8_t length, unsigned nth)
{
	const struct kernel_key key = key_of(KERNEL_ROUTE, MAIN, dst, length);

	return kernel_state_find(state, &key, nth);
}

const struct kernel_value *route(const char *dst, uint8_t length)
{
	return nth_route(dst, length, 0);
}

const struct kernel_value *object(uint32_t id)
{
	const struct kernel_key key = key_of(KERNEL_NEXT_HOP, id, NULL, 0);

	return kernel_state_find(state, &key, 0);
}

const struct kernel_value *link_of(uint32_t ifindex)
{
	const struct kernel_key key = key_of(KERNEL_LINK, ifindex, NULL, 0);

	return kernel_state_find(state, &key, 0);
}

void expect(const char *dst, uint8_t length, const char *links)
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

void expect_change(const char *dst, uint32_t before, uint32_t now)
{
	struct kernel_change c;
	const struct kernel_key key = key_of(KERNEL_ROUTE, MAIN, dst, 24);

	assert_true(kernel_state_change(state, &c));
	assert_memory_equal(&c.key, &key, sizeof(key));
	assert_int_equal(c.before ? c.before->hop[0].ifindex : 0, before);
	assert_int_equal(c.now ? c.now->hop[0].ifindex : 0, now);
}

void take_changes(void)
{
	struct kernel_change c;

	while (kernel_state_change(state, &c))
		;
	assert_int_equal(kernel_state_changes(state), 0);
}

void three_links(void)
{
	kernel_state_begin(state);
	dumped = true;
	for (int k = 1; k <= 3; k++)
		set_link(k, UP);
	dumped = false;
	kernel_state_sweep(state);
	take_changes();
}
