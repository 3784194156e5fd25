/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/unit/kernel_rig.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_arp.h>
#include <linux/if_link.h>
#include <linux/nexthop.h>
#include <stdio.h>
#include <string.h>

struct kernel_state *mirror;
struct kernel_nics links = {.ifindex = {1, 2, 3}, .mtu = {1500, 1500, 9000}, .n = 3};
struct kernel_routes routes;
struct table *table;
struct fake_nic nic[NICS], fresh;
struct table_nics nics;
struct table_report report;

/* --- Messages --------------------------------------------------------------------------------- */

static char buffer[8192];

struct nlmsghdr *message(uint16_t type, const void *fixed, size_t bytes)
{
	struct nlmsghdr *m = mnl_nlmsg_put_header(buffer);

	m->nlmsg_type = type;
	m->nlmsg_flags = NLM_F_REPLACE;
	memcpy(mnl_nlmsg_put_extra_header(m, bytes), fixed, bytes);
	return m;
}

void feed(struct nlmsghdr *m)
{
	kernel_state_message(mirror, m, false);
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

void set_link(uint32_t ifindex, unsigned flags, uint32_t mtu, uint32_t master)
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

void set_above(struct above a)
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

void forget_link(uint32_t ifindex)
{
	const struct ifinfomsg fixed = {.ifi_index = (int)ifindex};

	feed(message(RTM_DELLINK, &fixed, sizeof(fixed)));
}

void set_neighbor(uint32_t ifindex, const char *text, uint16_t nud, uint8_t last)
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

void set_route(uint16_t type, const struct wanted *w)
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

void add(struct wanted w)
{
	set_route(RTM_NEWROUTE, &w);
}

void del(struct wanted w)
{
	set_route(RTM_DELROUTE, &w);
}

void set_object(uint32_t id, const struct hop *hop, bool drops)
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

void set_group(uint32_t id, uint32_t a, uint32_t b)
{
	const struct nhmsg fixed = {0};
	struct nlmsghdr *m = message(RTM_NEWNEXTHOP, &fixed, sizeof(fixed));
	struct nexthop_grp member[2] = {{.id = a}, {.id = b, .weight = 2}};

	mnl_attr_put_u32(m, NHA_ID, id);
	mnl_attr_put(m, NHA_GROUP, sizeof(member), member);
	feed(m);
}

/* --- A table over three NICs ------------------------------------------------------------------ */

int begin(void **context)
{
	mirror = kernel_state_new();
	kernel_routes_open(&routes, mirror, &links);
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
	return mirror ? 0 : -1;
}

int end(void **context)
{
	kernel_routes_close(&routes);
	kernel_state_free(mirror);
	table_free(table);
	for (unsigned k = 0; k < NICS; k++)
		fake_close(&nic[k]);
	fake_close(&fresh);
	return 0;
}

void make(void)
{
	struct error error = {""};

	if (kernel_routes_make(&routes, &table, TABLE_KIND, &nics, &report, &error))
		fail_msg("%s", error.text);
}

void apply(void)
{
	struct error error = {""};
	int result;

	do {
		result = kernel_routes_apply(&routes, table, &nics, &report, &error);
		if (result == -ENOSPC)
			make();
		else if (result)
			fail_msg("%s", error.text);
	} while (kernel_state_changes(mirror));
}

struct address parsed(const char *text)
{
	struct address a;

	assert_true(address_parse(text, &a));
	return a;
}
