/* SPDX-License-Identifier: BSD-3-Clause */
#include "router/kernel_filters.h"
#include "router/netlink_dump.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <stdio.h>
#include <string.h>

#define ATTRIBUTES (NFTA_CHAIN_USE + 1)

struct asking {
	kernel_filter_call *call;
	void *context;
};

/* --- nftables --------------------------------------------------------------------------------- */

struct attributes {
	const struct nlattr *of[ATTRIBUTES];
};

static int note_attribute(const struct nlattr *a, void *context)
{
	struct attributes *attributes = context;

	if (mnl_attr_get_type(a) < ATTRIBUTES)
		attributes->of[mnl_attr_get_type(a)] = a;
	return MNL_CB_OK;
}

static bool get_name(const struct nlattr *a, char name[KERNEL_FILTER_NAME])
{
	if (!a || mnl_attr_get_payload_len(a) > KERNEL_FILTER_NAME ||
		mnl_attr_validate(a, MNL_TYPE_NUL_STRING) < 0)
		return false;
	memcpy(name, mnl_attr_get_payload(a), mnl_attr_get_payload_len(a));
	return true;
}

static bool get_number(const struct nlattr *a, uint32_t *number)
{
	if (!a || mnl_attr_validate(a, MNL_TYPE_U32) < 0)
		return false;
	*number = ntohl(mnl_attr_get_u32(a));
	return true;
}

/* Of a base chain that forwarded packets meet; NULL: any other. */
static const char *hook_of(const struct nlattr *nest)
{
	static const char *const name[NF_INET_NUMHOOKS] = {[NF_INET_PRE_ROUTING] = "prerouting",
		[NF_INET_FORWARD] = "forward",
		[NF_INET_POST_ROUTING] = "postrouting"};
	struct attributes attributes = {{NULL}};
	uint32_t number;

	if (!nest || mnl_attr_validate(nest, MNL_TYPE_NESTED) < 0)
		return NULL;
	mnl_attr_parse_nested(nest, note_attribute, &attributes);
	if (!get_number(attributes.of[NFTA_HOOK_HOOKNUM], &number) || number >= NF_INET_NUMHOOKS)
		return NULL;
	return name[number];
}

bool kernel_filter_parse(const struct nlmsghdr *m, struct kernel_filter *filter)
{
	const struct nfgenmsg *fixed = mnl_nlmsg_get_payload(m);
	struct attributes attributes = {{NULL}};
	uint32_t policy = NF_ACCEPT;

	*filter = (struct kernel_filter){0};
	if (NFNL_SUBSYS_ID(m->nlmsg_type) != NFNL_SUBSYS_NFTABLES ||
		mnl_nlmsg_get_payload_len(m) < sizeof(*fixed))
		return false;
	filter->family = fixed->nfgen_family == NFPROTO_INET   ? "inet"
			 : fixed->nfgen_family == NFPROTO_IPV4 ? "ip"
			 : fixed->nfgen_family == NFPROTO_IPV6 ? "ip6"
							       : NULL;
	mnl_attr_parse(m, sizeof(*fixed), note_attribute, &attributes);
	filter->hook = hook_of(attributes.of[NFTA_CHAIN_HOOK]);
	if (!filter->family || !filter->hook ||
		!get_name(attributes.of[NFTA_CHAIN_TABLE], filter->table) ||
		!get_name(attributes.of[NFTA_CHAIN_NAME], filter->chain))
		return false;
	get_number(attributes.of[NFTA_CHAIN_USE], &filter->rules);
	get_number(attributes.of[NFTA_CHAIN_POLICY], &policy);
	filter->drops = policy == NF_DROP;
	return filter->rules || filter->drops;
}

static int note_chain(const struct nlmsghdr *m, void *context)
{
	const struct asking *asking = context;
	struct kernel_filter filter;

	if (kernel_filter_parse(m, &filter))
		asking->call(asking->context, &filter);
	return MNL_CB_OK;
}

int kernel_filters_chains(const struct netns *netns, kernel_filter_call *call, void *context)
{
	_Alignas(struct nlmsghdr) char buffer[MNL_NLMSG_HDRLEN + sizeof(struct nfgenmsg)];
	struct nlmsghdr *m = mnl_nlmsg_put_header(buffer);
	struct asking asking = {call, context};
	struct nfgenmsg *fixed;
	int result;

	m->nlmsg_type = (NFNL_SUBSYS_NFTABLES << 8) | NFT_MSG_GETCHAIN;
	m->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	fixed = mnl_nlmsg_put_extra_header(m, sizeof(*fixed));
	fixed->nfgen_family = NFPROTO_UNSPEC;
	fixed->version = NFNETLINK_V0;
	result = netlink_dump(netns, NETLINK_NETFILTER, m, note_chain, &asking);
	/* No nfnetlink; no nftables in it. */
	return result == -EPROTONOSUPPORT || result == -EINVAL || result == -EOPNOTSUPP ? 0
											: result;
}

/* --- iptables --------------------------------------------------------------------------------- */

static int read_tables(void *context)
{
	static const struct {
		const char *family, *path;
	} lists[] = {{"ip", "/proc/thread-self/net/ip_tables_names"},
		{"ip6", "/proc/thread-self/net/ip6_tables_names"}};
	const struct asking *asking = context;
	int result = 0;

	for (unsigned k = 0; k < 2; k++) {
		struct kernel_filter filter = {.family = lists[k].family};
		FILE *f = fopen(lists[k].path, "re");

		if (!f && errno != ENOENT)
			result = -errno;
		while (f && fgets(filter.table, sizeof(filter.table), f)) {
			filter.table[strcspn(filter.table, "\n")] = 0;
			asking->call(asking->context, &filter);
		}
		if (f)
			fclose(f);
	}
	return result;
}

int kernel_filters_tables(const struct netns *netns, kernel_filter_call *call, void *context)
{
	struct asking asking = {call, context};

	return netns_do(netns, read_tables, &asking);
}
