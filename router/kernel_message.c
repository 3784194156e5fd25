/* SPDX-License-Identifier: BSD-3-Clause */
#include "router/kernel_message.h"

#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <linux/if_ether.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/nexthop.h>
#include <linux/rtnetlink.h>
#include <string.h>

/* An attribute of each type that a message has; of two, the last. */
#define ATTRIBUTES 72u
struct attributes {
	const struct nlattr *of[ATTRIBUTES];
};

_Static_assert(sizeof(struct kernel_key) == 32, "a key has no padding");

const char *kernel_kind_name(enum kernel_kind kind)
{
	static const char *const name[KERNEL_KINDS] = {[KERNEL_LINK] = "link",
		[KERNEL_ADDRESS] = "address",
		[KERNEL_NEIGHBOR] = "neighbor",
		[KERNEL_NEXT_HOP] = "next hop",
		[KERNEL_ROUTE] = "route"};

	return name[kind];
}

/* --- Attributes ------------------------------------------------------------------------------- */

static void collect(struct attributes *attributes, const void *from, size_t bytes)
{
	const struct nlattr *a = from;
	const char *end = (const char *)from + bytes;

	memset(attributes, 0, sizeof(*attributes));
	/* The last one may end unaligned; behind it mnl_attr_next is beyond the end. */
	while ((const char *)a < end && mnl_attr_ok(a, (int)(end - (const char *)a))) {
		uint16_t type = mnl_attr_get_type(a);

		if (type < ATTRIBUTES)
			attributes->of[type] = a;
		a = mnl_attr_next(a);
	}
}

static void collect_nested(struct attributes *attributes, const struct nlattr *nest)
{
	if (nest)
		collect(attributes, mnl_attr_get_payload(nest), mnl_attr_get_payload_len(nest));
	else
		memset(attributes, 0, sizeof(*attributes));
}

/* NULL: it is not there, or shorter. */
static const void *payload(const struct attributes *attributes, unsigned type, size_t bytes)
{
	const struct nlattr *a = attributes->of[type];

	return a && mnl_attr_get_payload_len(a) >= bytes ? mnl_attr_get_payload(a) : NULL;
}

static uint32_t get_u32(const struct attributes *attributes, unsigned type)
{
	const void *from = payload(attributes, type, sizeof(uint32_t));
	uint32_t value = 0;

	if (from)
		memcpy(&value, from, sizeof(value));
	return value;
}

static uint16_t get_u16(const struct attributes *attributes, unsigned type)
{
	const void *from = payload(attributes, type, sizeof(uint16_t));
	uint16_t value = 0;

	if (from)
		memcpy(&value, from, sizeof(value));
	return value;
}

static uint8_t get_u8(const struct attributes *attributes, unsigned type)
{
	const uint8_t *from = payload(attributes, type, sizeof(uint8_t));

	return from ? *from : 0;
}

static struct fib_ipv6 address_bytes(const uint8_t *bytes, unsigned n)
{
	struct fib_ipv6 a = {0, 0};

	for (unsigned k = 0; k < n; k++) {
		uint64_t *half = k < 8 ? &a.high : &a.low;

		*half |= (uint64_t)bytes[k] << (56 - 8 * (k % 8));
	}
	return a;
}

static uint8_t family_of(unsigned char family)
{
	return family == AF_INET ? 4 : family == AF_INET6 ? 6 : 0;
}

static unsigned bytes_of(uint8_t family)
{
	return family == 4 ? 4 : 16;
}

/* False: it is not there, or not of that length. */
static bool get_address(const struct attributes *attributes, unsigned type, uint8_t family,
	struct fib_ipv6 *address)
{
	const uint8_t *bytes = payload(attributes, type, bytes_of(family));

	if (!bytes || mnl_attr_get_payload_len(attributes->of[type]) != bytes_of(family))
		return false;
	*address = address_bytes(bytes, bytes_of(family));
	return true;
}

static bool get_mac(const struct attributes *attributes, unsigned type, struct mac_addr *mac)
{
	const void *bytes = payload(attributes, type, sizeof(*mac));

	if (!bytes || mnl_attr_get_payload_len(attributes->of[type]) != sizeof(*mac))
		return false;
	memcpy(mac, bytes, sizeof(*mac));
	return true;
}

/* The text is cut to room - 1 bytes. */
static void get_text(const struct attributes *attributes, unsigned type, char *text, size_t room)
{
	const char *from = payload(attributes, type, 1);
	size_t n = from ? strnlen(from, mnl_attr_get_payload_len(attributes->of[type])) : 0;

	memset(text, 0, room);
	if (n)
		memcpy(text, from, n < room ? n : room - 1);
}

/* The fixed part of a message, and its attributes; NULL: it is too short. */
static const void *open_message(
	const struct nlmsghdr *header, size_t bytes, struct attributes *attributes)
{
	const char *fixed = mnl_nlmsg_get_payload(header);
	size_t all = header->nlmsg_len - MNL_NLMSG_HDRLEN, begin = MNL_ALIGN(bytes);

	if (header->nlmsg_len < MNL_NLMSG_HDRLEN || all < bytes)
		return NULL;
	collect(attributes, fixed + begin, all > begin ? all - begin : 0);
	return fixed;
}

/* --- Links, addresses, neighbours ------------------------------------------------------------- */

static void parse_link_info(const struct attributes *attributes, struct kernel_link *link)
{
	static const struct {
		const char *name;
		enum kernel_link_kind kind;
	} kinds[] = {{"tun", KERNEL_LINK_TUN}, {"vlan", KERNEL_LINK_VLAN},
		{"macvlan", KERNEL_LINK_MACVLAN}, {"vrf", KERNEL_LINK_VRF},
		{"bridge", KERNEL_LINK_BRIDGE}, {"bond", KERNEL_LINK_BOND}};
	struct attributes info, data;
	char name[16];

	collect_nested(&info, attributes->of[IFLA_LINKINFO]);
	collect_nested(&data, info.of[IFLA_INFO_DATA]);
	get_text(&info, IFLA_INFO_KIND, name, sizeof(name));
	for (size_t k = 0; k < sizeof(kinds) / sizeof(*kinds); k++)
		if (!strcmp(name, kinds[k].name))
			link->kind = kinds[k].kind;
	if (link->kind == KERNEL_LINK_VLAN) {
		link->vlan = get_u16(&data, IFLA_VLAN_ID);
		link->vlan_type = ntohs(get_u16(&data, IFLA_VLAN_PROTOCOL));
	} else if (link->kind == KERNEL_LINK_MACVLAN) {
		link->macvlan_mode = (uint8_t)get_u32(&data, IFLA_MACVLAN_MODE);
	} else if (link->kind == KERNEL_LINK_VRF) {
		link->table = get_u32(&data, IFLA_VRF_TABLE);
	}
}

static enum kernel_parsed parse_link(
	const struct nlmsghdr *header, struct kernel_message *m, struct kernel_link *link)
{
	struct attributes attributes;
	const struct ifinfomsg *fixed = open_message(header, sizeof(*fixed), &attributes);

	if (!fixed)
		return KERNEL_MALFORMED;
	/* AF_BRIDGE: a port leaves its bridge. IFLA_WIRELESS: a radio's event, without the link's
	 * attributes. */
	if (fixed->ifi_family != AF_UNSPEC || attributes.of[IFLA_WIRELESS])
		return KERNEL_IGNORED;
	if (fixed->ifi_index <= 0)
		return KERNEL_MALFORMED;
	m->key.kind = KERNEL_LINK;
	m->key.id = (uint32_t)fixed->ifi_index;
	if (m->removed)
		return KERNEL_PARSED;
	get_text(&attributes, IFLA_IFNAME, link->name, sizeof(link->name));
	if (!*link->name)
		return KERNEL_MALFORMED;
	get_mac(&attributes, IFLA_ADDRESS, &link->mac);
	link->type = fixed->ifi_type;
	link->flags = fixed->ifi_flags;
	link->mtu = get_u32(&attributes, IFLA_MTU);
	link->master = get_u32(&attributes, IFLA_MASTER);
	link->lower = get_u32(&attributes, IFLA_LINK);
	link->lower_is_away = attributes.of[IFLA_LINK_NETNSID];
	parse_link_info(&attributes, link);
	return KERNEL_PARSED;
}

static enum kernel_parsed parse_address(
	const struct nlmsghdr *header, struct kernel_message *m, struct kernel_address *address)
{
	struct attributes attributes;
	const struct ifaddrmsg *fixed = open_message(header, sizeof(*fixed), &attributes);
	struct fib_ipv6 network;

	if (!fixed)
		return KERNEL_MALFORMED;
	m->key.kind = KERNEL_ADDRESS;
	m->key.family = family_of(fixed->ifa_family);
	m->key.id = fixed->ifa_index;
	m->key.length = fixed->ifa_prefixlen;
	if (!m->key.family)
		return KERNEL_IGNORED;
	/* On point-to-point links IFA_LOCAL is the own address, IFA_ADDRESS the peer's. */
	if (m->key.length > 8 * bytes_of(m->key.family) ||
		!get_address(&attributes, IFA_ADDRESS, m->key.family, &network))
		return KERNEL_MALFORMED;
	if (!get_address(&attributes, IFA_LOCAL, m->key.family, &m->key.address))
		m->key.address = network;
	if (m->key.family == 4)
		m->key.peer = (uint32_t)(network.high >> 32);
	else
		m->key.length = 0; /* not part of what names it: it may be changed */
	if (m->removed)
		return KERNEL_PARSED;
	address->scope = fixed->ifa_scope;
	address->length = fixed->ifa_prefixlen;
	address->flags =
		attributes.of[IFA_FLAGS] ? get_u32(&attributes, IFA_FLAGS) : fixed->ifa_flags;
	return KERNEL_PARSED;
}

static enum kernel_parsed parse_neighbor(
	const struct nlmsghdr *header, struct kernel_message *m, struct kernel_neighbor *neighbor)
{
	struct attributes attributes;
	const struct ndmsg *fixed = open_message(header, sizeof(*fixed), &attributes);

	if (!fixed)
		return KERNEL_MALFORMED;
	m->key.kind = KERNEL_NEIGHBOR;
	m->key.family = family_of(fixed->ndm_family);
	m->key.id = (uint32_t)fixed->ndm_ifindex;
	if (!m->key.family || (fixed->ndm_flags & NTF_PROXY))
		return KERNEL_IGNORED;
	if (!get_address(&attributes, NDA_DST, m->key.family, &m->key.address))
		return KERNEL_MALFORMED;
	neighbor->has_mac = get_mac(&attributes, NDA_LLADDR, &neighbor->mac);
	/* Multicast and broadcast: the kernel makes such entries for itself, and tells nobody. */
	if (neighbor->has_mac && (neighbor->mac.octet[0] & 1))
		return KERNEL_IGNORED;
	/* An entry that says nothing, of which the kernel tells only when one of more becomes it.
	 */
	m->removed = m->removed || fixed->ndm_state == NUD_NONE;
	if (m->removed)
		return KERNEL_PARSED;
	neighbor->state = fixed->ndm_state;
	neighbor->flags = fixed->ndm_flags | get_u32(&attributes, NDA_FLAGS_EXT) << 8;
	neighbor->protocol = get_u8(&attributes, NDA_PROTOCOL);
	return KERNEL_PARSED;
}

/* --- Hops ------------------------------------------------------------------------------------- */

static struct kernel_hop *add_hop(struct kernel_value *value, uint8_t *unsupported)
{
	struct kernel_hop *hop;

	if (value->hops == KERNEL_HOPS_MAX) {
		*unsupported |= KERNEL_UNSUPPORTED_HOPS;
		return NULL;
	}
	hop = &value->hop[value->hops++];
	memset(hop, 0, sizeof(*hop)); /* padding too */
	hop->weight = 1;
	return hop;
}

/* RTA_VIA: a gateway of another family than the route's. */
static void parse_via(
	const struct attributes *attributes, struct kernel_hop *hop, uint8_t *unsupported)
{
	const uint8_t *via = payload(attributes, RTA_VIA, sizeof(struct rtvia));
	struct rtvia fixed;
	uint8_t family;

	if (!via)
		return;
	memcpy(&fixed, via, sizeof(fixed));
	family = fixed.rtvia_family < AF_MAX ? family_of((unsigned char)fixed.rtvia_family) : 0;
	if (!family || mnl_attr_get_payload_len(attributes->of[RTA_VIA]) <
			       offsetof(struct rtvia, rtvia_addr) + bytes_of(family)) {
		*unsupported |= KERNEL_UNSUPPORTED_GATEWAY;
		return;
	}
	hop->gateway_family = family;
	hop->gateway = address_bytes(via + offsetof(struct rtvia, rtvia_addr), bytes_of(family));
}

static void parse_hop(const struct attributes *attributes, uint8_t family, uint32_t flags,
	struct kernel_hop *hop, uint8_t *unsupported)
{
	if (get_address(attributes, RTA_GATEWAY, family, &hop->gateway))
		hop->gateway_family = family;
	else
		parse_via(attributes, hop, unsupported);
	hop->onlink = flags & RTNH_F_ONLINK;
	if (attributes->of[RTA_ENCAP] || get_u16(attributes, RTA_ENCAP_TYPE))
		*unsupported |= KERNEL_UNSUPPORTED_ENCAPSULATION;
}

/* False: the list is malformed. */
static bool parse_multipath(
	const struct nlattr *list, struct kernel_value *value, struct kernel_route *route)
{
	const char *at = mnl_attr_get_payload(list);
	size_t left = mnl_attr_get_payload_len(list);

	while (left >= sizeof(struct rtnexthop)) {
		struct attributes attributes;
		struct rtnexthop next;
		struct kernel_hop *hop;
		size_t step;

		memcpy(&next, at, sizeof(next));
		if (next.rtnh_len < sizeof(next) || next.rtnh_len > left)
			return false;
		hop = add_hop(value, &route->unsupported);
		if (!hop)
			return true;
		collect(&attributes, at + RTNH_ALIGN(sizeof(next)),
			next.rtnh_len - RTNH_ALIGN(sizeof(next)));
		hop->ifindex = (uint32_t)next.rtnh_ifindex;
		hop->weight = (uint16_t)(next.rtnh_hops + 1);
		parse_hop(&attributes, route->family, next.rtnh_flags, hop, &route->unsupported);
		step = RTNH_ALIGN(next.rtnh_len);
		if (step > left)
			break;
		at += step;
		left -= step;
	}
	return true;
}

/* --- Routes ----------------------------------------------------------------------------------- */

/* Those that no packet takes at all here: a router's multicast is another table. */
static bool wanted(unsigned char type)
{
	switch (type) {
	case RTN_UNICAST:
	case RTN_LOCAL:
	case RTN_BROADCAST:
	case RTN_ANYCAST:
	case RTN_BLACKHOLE:
	case RTN_UNREACHABLE:
	case RTN_PROHIBIT:
	case RTN_THROW:
		return true;
	default:
		return false;
	}
}

static bool drops(unsigned char type)
{
	return type == RTN_BLACKHOLE || type == RTN_UNREACHABLE || type == RTN_PROHIBIT ||
	       type == RTN_THROW;
}

static enum kernel_parsed parse_route(
	const struct nlmsghdr *header, struct kernel_message *m, struct kernel_value *value)
{
	struct attributes attributes, metrics;
	const struct rtmsg *fixed = open_message(header, sizeof(*fixed), &attributes);
	struct kernel_route *route = &value->route;
	struct kernel_hop *hop;
	struct fib_ipv6 source;

	if (!fixed)
		return KERNEL_MALFORMED;
	m->key.kind = KERNEL_ROUTE;
	m->key.family = family_of(fixed->rtm_family);
	if (!m->key.family || !wanted(fixed->rtm_type) || (fixed->rtm_flags & RTM_F_CLONED))
		return KERNEL_IGNORED;
	m->key.length = fixed->rtm_dst_len;
	if (m->key.length > 8 * bytes_of(m->key.family) ||
		(!get_address(&attributes, RTA_DST, m->key.family, &m->key.address) &&
			m->key.length))
		return KERNEL_MALFORMED;
	if (fixed->rtm_src_len)
		return KERNEL_SOURCE_ROUTE;
	m->key.tos = fixed->rtm_tos;
	m->key.id = attributes.of[RTA_TABLE] ? get_u32(&attributes, RTA_TABLE) : fixed->rtm_table;
	m->key.metric = get_u32(&attributes, RTA_PRIORITY);
	collect_nested(&metrics, attributes.of[RTA_METRICS]);
	route->family = m->key.family;
	route->type = fixed->rtm_type;
	route->protocol = fixed->rtm_protocol;
	route->scope = fixed->rtm_scope;
	route->mtu = get_u32(&metrics, RTAX_MTU);
	if (route->family == 4 && get_address(&attributes, RTA_PREFSRC, 4, &source))
		route->source = (uint32_t)(source.high >> 32);
	/* IPv6 says the loopback device of routes that drop; the kernel does not tell when that
	 * goes. */
	if (drops(route->type) && !attributes.of[RTA_NH_ID])
		return KERNEL_PARSED;
	if (attributes.of[RTA_NH_ID]) {
		hop = add_hop(value, &route->unsupported);
		hop->next_hop = get_u32(&attributes, RTA_NH_ID);
		return hop->next_hop ? KERNEL_PARSED : KERNEL_MALFORMED;
	}
	if (attributes.of[RTA_MULTIPATH])
		return parse_multipath(attributes.of[RTA_MULTIPATH], value, route)
			       ? KERNEL_PARSED
			       : KERNEL_MALFORMED;
	hop = add_hop(value, &route->unsupported);
	hop->ifindex = get_u32(&attributes, RTA_OIF);
	parse_hop(&attributes, route->family, fixed->rtm_flags, hop, &route->unsupported);
	return KERNEL_PARSED;
}

/* --- Next-hop objects ------------------------------------------------------------------------- */

static void parse_group(const struct attributes *attributes, struct kernel_value *value)
{
	struct kernel_next_hop *next_hop = &value->next_hop;
	const struct nlattr *list = attributes->of[NHA_GROUP];
	const uint8_t *member = mnl_attr_get_payload(list);
	size_t members = mnl_attr_get_payload_len(list) / sizeof(struct nexthop_grp);
	struct attributes resilient;
	struct kernel_hop *hop;

	next_hop->group = true;
	for (size_t k = 0; k < members; k++, member += sizeof(struct nexthop_grp)) {
		hop = add_hop(value, &next_hop->unsupported);
		if (!hop)
			break;
		memcpy(&hop->next_hop, member, sizeof(hop->next_hop));
		/* Less one, in two bytes since Linux 6.12; until then the upper one is 0. */
		hop->weight = (uint16_t)(member[4] | member[5] << 8);
		hop->weight += hop->weight < UINT16_MAX;
	}
	next_hop->resilient = get_u16(attributes, NHA_GROUP_TYPE) == NEXTHOP_GRP_TYPE_RES;
	if (!next_hop->resilient)
		return;
	collect_nested(&resilient, attributes->of[NHA_RES_GROUP]);
	next_hop->buckets = get_u16(&resilient, NHA_RES_GROUP_BUCKETS);
	next_hop->idle_timer = get_u32(&resilient, NHA_RES_GROUP_IDLE_TIMER);
	next_hop->unbalanced_timer = get_u32(&resilient, NHA_RES_GROUP_UNBALANCED_TIMER);
}

static enum kernel_parsed parse_next_hop(
	const struct nlmsghdr *header, struct kernel_message *m, struct kernel_value *value)
{
	struct attributes attributes;
	const struct nhmsg *fixed = open_message(header, sizeof(*fixed), &attributes);
	struct kernel_next_hop *next_hop = &value->next_hop;
	struct kernel_hop *hop;

	if (!fixed)
		return KERNEL_MALFORMED;
	m->key.kind = KERNEL_NEXT_HOP;
	m->key.id = get_u32(&attributes, NHA_ID);
	if (!m->key.id)
		return KERNEL_MALFORMED;
	if (m->removed)
		return KERNEL_PARSED;
	next_hop->family = family_of(fixed->nh_family);
	next_hop->protocol = fixed->nh_protocol;
	next_hop->scope = fixed->nh_scope;
	next_hop->fdb = attributes.of[NHA_FDB];
	next_hop->drops = attributes.of[NHA_BLACKHOLE];
	if (attributes.of[NHA_GROUP]) {
		parse_group(&attributes, value);
		return KERNEL_PARSED;
	}
	if (!next_hop->family)
		return KERNEL_MALFORMED;
	if (next_hop->drops)
		return KERNEL_PARSED;
	hop = add_hop(value, &next_hop->unsupported);
	hop->ifindex = get_u32(&attributes, NHA_OIF);
	hop->onlink = fixed->nh_flags & RTNH_F_ONLINK;
	if (get_address(&attributes, NHA_GATEWAY, next_hop->family, &hop->gateway))
		hop->gateway_family = next_hop->family;
	if (attributes.of[NHA_ENCAP] || get_u16(&attributes, NHA_ENCAP_TYPE))
		next_hop->unsupported |= KERNEL_UNSUPPORTED_ENCAPSULATION;
	return KERNEL_PARSED;
}

enum kernel_parsed kernel_parse(
	const struct nlmsghdr *header, struct kernel_message *m, struct kernel_value *value)
{
	*m = (struct kernel_message){.flags = header->nlmsg_flags};
	memset(value, 0, sizeof(*value));
	switch (header->nlmsg_type) {
	case RTM_DELLINK:
	case RTM_DELADDR:
	case RTM_DELNEIGH:
	case RTM_DELROUTE:
	case RTM_DELNEXTHOP:
		m->removed = true;
		break;
	default:
		break;
	}
	switch (header->nlmsg_type) {
	case RTM_NEWLINK:
	case RTM_DELLINK:
		return parse_link(header, m, &value->link);
	case RTM_NEWADDR:
	case RTM_DELADDR:
		return parse_address(header, m, &value->address);
	case RTM_NEWNEIGH:
	case RTM_DELNEIGH:
		return parse_neighbor(header, m, &value->neighbor);
	case RTM_NEWROUTE:
	case RTM_DELROUTE:
		return parse_route(header, m, value);
	case RTM_NEWNEXTHOP:
	case RTM_DELNEXTHOP:
		return parse_next_hop(header, m, value);
	default:
		return KERNEL_IGNORED;
	}
}
