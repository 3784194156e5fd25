/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Messages of rtnetlink, any bytes: each read within its length, none that breaks the map or its
 * queue. A message's sender says whether it is a dump's, its sequence number what comes before it:
 * a round begins, or ends, or changes are taken. The same bytes as a rule, and as a chain of
 * nftables.
 */
#include "router/kernel_filters.h"
#include "router/kernel_rules.h"
#include "router/kernel_state.h"

#include <libmnl/libmnl.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Every key can be found, has no hole among its routes, and is counted. */
static void check(struct kernel_state *s)
{
	for (unsigned kind = 0; kind < KERNEL_KINDS; kind++) {
		const struct kernel_value *v;
		struct kernel_key key;
		size_t from = 0, n = 0;

		while ((v = kernel_state_each(s, kind, &from, &key))) {
			if (kernel_state_find(s, &key, 0) != v || v->hops > KERNEL_HOPS_MAX)
				abort();
			for (unsigned nth = 1; (v = kernel_state_find(s, &key, nth)); nth++)
				if (kind != KERNEL_ROUTE || v->hops > KERNEL_HOPS_MAX)
					abort();
			n++;
		}
		if (n != kernel_state_count(s, kind))
			abort();
	}
}

/* What the queue says, said of what it said before, is what the map has. */
static void apply(struct kernel_state *s, unsigned count[KERNEL_KINDS])
{
	struct kernel_change c;

	while (kernel_state_change(s, &c)) {
		if ((!c.before && !c.now) || kernel_state_find(s, &c.key, 0) != c.now)
			abort();
		count[c.key.kind] += !c.before;
		count[c.key.kind] -= !c.now;
	}
	for (unsigned kind = 0; kind < KERNEL_KINDS; kind++)
		if (count[kind] != kernel_state_count(s, kind))
			abort();
}

/* Rules and filters, of a message that ends as a dump's does. */
static void parse(const void *bytes, size_t n, uint16_t type)
{
	const size_t whole = MNL_ALIGN(n);
	struct nlmsghdr *m = calloc(1, whole);
	struct kernel_filter filter;
	struct kernel_rule rule;

	if (!m)
		return;
	memcpy(m, bytes, n);
	m->nlmsg_len = (uint32_t)whole;
	m->nlmsg_type = type;
	if (kernel_rule_parse(m, &rule) && rule.family != 4 && rule.family != 6)
		abort();
	if (kernel_filter_parse(m, &filter) &&
		(!filter.hook || strlen(filter.table) >= KERNEL_FILTER_NAME ||
			strlen(filter.chain) >= KERNEL_FILTER_NAME))
		abort();
	free(m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct kernel_state *s = kernel_state_new();
	unsigned count[KERNEL_KINDS] = {0};

	if (!s)
		return 0;
	while (size >= sizeof(struct nlmsghdr)) {
		struct nlmsghdr header, *message;
		size_t bytes;

		memcpy(&header, data, sizeof(header));
		bytes = sizeof(header) + header.nlmsg_len % 512;
		bytes = bytes < size ? bytes : size;
		message = malloc(bytes); /* so that its end is seen */
		if (!message)
			break;
		memcpy(message, data, bytes);
		message->nlmsg_len = (uint32_t)bytes;
		/* Near the types there are. */
		message->nlmsg_type = RTM_BASE + header.nlmsg_type % 128;
		switch (header.nlmsg_seq % 8) {
		case 0:
			kernel_state_begin(s);
			break;
		case 1:
			kernel_state_sweep(s);
			break;
		case 2:
			apply(s, count);
			break;
		default:
			break;
		}
		kernel_state_message(s, message, header.nlmsg_pid & 1);
		parse(data, bytes, RTM_NEWRULE);
		parse(data, bytes, NFNL_SUBSYS_NFTABLES << 8);
		free(message);
		data += bytes;
		size -= bytes;
	}
	check(s);
	kernel_state_sweep(s);
	check(s);
	apply(s, count);
	kernel_state_free(s);
	return 0;
}
