/* SPDX-License-Identifier: BSD-3-Clause */
#include "router/kernel_rules.h"
#include "router/netlink_dump.h"

#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

static int note_attribute(const struct nlattr *a, void *context)
{
	struct kernel_rule *rule = context;

	if (mnl_attr_get_type(a) == FRA_L3MDEV && mnl_attr_validate(a, MNL_TYPE_U8) >= 0)
		rule->vrf = mnl_attr_get_u8(a);
	if (mnl_attr_validate(a, MNL_TYPE_U32) < 0)
		return MNL_CB_OK;
	if (mnl_attr_get_type(a) == FRA_PRIORITY)
		rule->priority = mnl_attr_get_u32(a);
	if (mnl_attr_get_type(a) == FRA_TABLE)
		rule->table = mnl_attr_get_u32(a);
	return MNL_CB_OK;
}

struct others {
	kernel_rule_call *call;
	void *context;
	int count;
};

bool kernel_rule_parse(const struct nlmsghdr *m, struct kernel_rule *rule)
{
	const struct fib_rule_hdr *fixed = mnl_nlmsg_get_payload(m);

	if (m->nlmsg_type != RTM_NEWRULE || mnl_nlmsg_get_payload_len(m) < sizeof(*fixed) ||
		(fixed->family != AF_INET && fixed->family != AF_INET6)) /* multicast has its own */
		return false;
	*rule = (struct kernel_rule){.family = fixed->family == AF_INET ? 4 : 6,
		.table = fixed->table,
		.action = fixed->action};
	mnl_attr_parse(m, sizeof(*fixed), note_attribute, rule);
	return true;
}

static int note_rule(const struct nlmsghdr *m, void *context)
{
	struct others *others = context;
	struct kernel_rule rule;

	if (!kernel_rule_parse(m, &rule))
		return MNL_CB_OK;
	if ((rule.priority == 0 && rule.table == RT_TABLE_LOCAL) ||
		(rule.priority == 32766 && rule.table == RT_TABLE_MAIN) ||
		(rule.priority == 32767 && rule.table == RT_TABLE_DEFAULT))
		return MNL_CB_OK;
	others->count++;
	if (others->call)
		others->call(others->context, &rule);
	return MNL_CB_OK;
}

int kernel_rules_others(const struct netns *netns, kernel_rule_call *call, void *context)
{
	_Alignas(struct nlmsghdr) char buffer[MNL_NLMSG_HDRLEN + sizeof(struct fib_rule_hdr)];
	struct nlmsghdr *m = mnl_nlmsg_put_header(buffer);
	struct others others = {call, context, 0};
	int result;

	m->nlmsg_type = RTM_GETRULE;
	m->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	mnl_nlmsg_put_extra_header(m, sizeof(struct fib_rule_hdr));
	result = netlink_dump(netns, NETLINK_ROUTE, m, note_rule, &others);
	return result ? result : others.count;
}
