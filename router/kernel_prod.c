/* SPDX-License-Identifier: BSD-3-Clause */
#include "router/kernel_prod.h"

#include <endian.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MESSAGE_BYTES 128u

int kernel_prod_open(struct kernel_prod *p, const struct netns *netns, struct error *error)
{
	const int fd = netns_socket(netns, AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK, NETLINK_ROUTE);

	*p = (struct kernel_prod){.socket = fd < 0 ? -1 : fd};
	return fd < 0 ? error_set(error, fd, "netlink socket for neighbours: %s", strerror(-fd))
		      : 0;
}

void kernel_prod_close(struct kernel_prod *p)
{
	if (p->socket >= 0)
		close(p->socket);
	p->socket = -1;
}

/* No acknowledgement is asked for: one that is lost is sent again. */
static void send_use(struct kernel_prod *p, const struct kernel_key *neighbor, unsigned flags)
{
	const struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
	uint64_t bytes[2] = {htobe64(neighbor->address.high), htobe64(neighbor->address.low)};
	char buffer[MESSAGE_BYTES];
	struct nlmsghdr *m = mnl_nlmsg_put_header(buffer);
	struct ndmsg *fixed;

	m->nlmsg_type = RTM_NEWNEIGH;
	m->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
	fixed = mnl_nlmsg_put_extra_header(m, sizeof(*fixed));
	fixed->ndm_family = neighbor->family == 4 ? AF_INET : AF_INET6;
	fixed->ndm_ifindex = (int)neighbor->id;
	fixed->ndm_flags = NTF_USE;
	mnl_attr_put(m, NDA_DST, neighbor->family == 4 ? 4 : 16, bytes);
	if (sendto(p->socket, m, m->nlmsg_len, 0, (const struct sockaddr *)&kernel,
		    sizeof(kernel)) < 0)
		p->failed++;
	else
		p->prodded++;
}

/* By number of an adjacency in half 0: has a NIC used it, in whichever half? */
static void collect(const struct table_nics *nics, bool used[P2PNIC_ADJACENCIES_MAX])
{
	for (unsigned k = 0; k < nics->n; k++) {
		p2pnic_used *byte = (p2pnic_used *)(nics->nic[k]->bar2 + P2PNIC_BAR2_USED);

		for (unsigned j = 0; j < P2PNIC_ADJACENCIES_MAX; j++)
			if (atomic_load_explicit(&byte[j], memory_order_relaxed)) {
				atomic_store_explicit(&byte[j], 0, memory_order_relaxed);
				used[j % TABLE_HALF_ADJACENCIES] = true;
			}
	}
}

/* Another neighbour of the same MAC address, or the same one by another MTU, counts too. */
static bool is_used(const struct next_hops *h, const bool *used, unsigned egress,
	const struct kernel_neighbor *n)
{
	for (unsigned k = 1; k < TABLE_HALF_ADJACENCIES; k++)
		if (used[k] && h->adjacency_used[k] && h->adjacency[k].egress == egress &&
			!memcmp(&h->adjacency[k].destination, &n->mac, sizeof(n->mac)))
			return true;
	return false;
}

void kernel_prod(struct kernel_prod *p, const struct kernel_ways *ways, const struct table *table,
	const struct table_nics *nics)
{
	bool used[P2PNIC_ADJACENCIES_MAX] = {false};
	const struct kernel_value *v;
	struct kernel_key key;
	unsigned sent = 0;
	size_t from = 0;

	collect(nics, used);
	while (sent < KERNEL_PROD_MOST &&
		(v = kernel_state_each(ways->state, KERNEL_NEIGHBOR, &from, &key))) {
		int nic;

		if (!(v->neighbor.state & NUD_STALE) || !v->neighbor.has_mac)
			continue;
		nic = kernel_ways_nic(ways, key.id);
		if (nic >= 0 &&
			is_used(table_next_hops(table), used, (unsigned)nic, &v->neighbor)) {
			send_use(p, &key, 0);
			sent++;
		}
	}
}

struct asking {
	struct kernel_prod *prod;
	const struct kernel_ways *ways;
	bool again;
	unsigned sent;
};

static void ask_for(void *context, const struct kernel_hop *hop)
{
	struct asking *a = context;
	const struct kernel_key link = {.kind = KERNEL_LINK, .id = hop->ifindex};
	const struct kernel_key key = {.kind = KERNEL_NEIGHBOR,
		.family = hop->gateway_family,
		.id = hop->ifindex,
		.address = hop->gateway};
	const struct kernel_value *v = kernel_state_find(a->ways->state, &key, 0);

	if (a->sent == KERNEL_PROD_MOST || kernel_ways_nic(a->ways, hop->ifindex) < 0 ||
		!kernel_link_runs(kernel_state_find(a->ways->state, &link, 0)))
		return;
	if (v && v->neighbor.state && !(a->again && (v->neighbor.state & NUD_FAILED)))
		return;
	send_use(a->prod, &key, NLM_F_CREATE);
	a->sent++;
}

void kernel_prod_gateways(struct kernel_prod *p, const struct kernel_ways *ways,
	const struct table *table, bool again)
{
	struct asking a = {.prod = p, .ways = ways, .again = again};

	kernel_ways_gateways(ways, table_next_hops(table), ask_for, &a);
}
