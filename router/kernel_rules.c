/* SPDX-License-Identifier: BSD-3-Clause */
#include "router/kernel_rules.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>
#include <unistd.h>

#define BUFFER_BYTES 32768u /* of a message of a dump; the kernel fills no more */

struct rule {
	uint32_t priority, table;
};

static int note_attribute(const struct nlattr *a, void *context)
{
	struct rule *rule = context;

	if (mnl_attr_validate(a, MNL_TYPE_U32) < 0)
		return MNL_CB_OK;
	if (mnl_attr_get_type(a) == FRA_PRIORITY)
		rule->priority = mnl_attr_get_u32(a);
	if (mnl_attr_get_type(a) == FRA_TABLE)
		rule->table = mnl_attr_get_u32(a);
	return MNL_CB_OK;
}

static int count(const struct nlmsghdr *m, void *context)
{
	const struct fib_rule_hdr *fixed = mnl_nlmsg_get_payload(m);
	struct rule rule = {0, 0};
	int *others = context;

	if (m->nlmsg_type != RTM_NEWRULE || mnl_nlmsg_get_payload_len(m) < sizeof(*fixed) ||
		(fixed->family != AF_INET && fixed->family != AF_INET6)) /* multicast has its own */
		return MNL_CB_OK;
	rule.table = fixed->table;
	mnl_attr_parse(m, sizeof(*fixed), note_attribute, &rule);
	*others += !((rule.priority == 0 && rule.table == RT_TABLE_LOCAL) ||
		     (rule.priority == 32766 && rule.table == RT_TABLE_MAIN) ||
		     (rule.priority == 32767 && rule.table == RT_TABLE_DEFAULT));
	return MNL_CB_OK;
}

static int ask(int fd, int *others)
{
	const struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
	_Alignas(struct nlmsghdr) char buffer[BUFFER_BYTES];
	struct nlmsghdr *m = mnl_nlmsg_put_header(buffer);
	ssize_t n;
	int more = MNL_CB_OK;

	m->nlmsg_type = RTM_GETRULE;
	m->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	mnl_nlmsg_put_extra_header(m, sizeof(struct fib_rule_hdr));
	if (sendto(fd, m, m->nlmsg_len, 0, (const struct sockaddr *)&kernel, sizeof(kernel)) < 0)
		return -errno;
	while (more > MNL_CB_STOP) {
		n = recv(fd, buffer, sizeof(buffer), MSG_DONTWAIT);
		if (n < 0)
			return -errno;
		more = mnl_cb_run(buffer, (size_t)n, 0, 0, count, others);
	}
	return more < 0 ? -errno : 0;
}

int kernel_rules_others(const struct netns *netns)
{
	int others = 0, fd, result = netns_enter(netns);

	if (result)
		return result;
	fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	result = fd < 0 ? -errno : 0;
	netns_leave(netns);
	if (result)
		return result;
	result = ask(fd, &others);
	close(fd);
	return result ? result : others;
}
