/* SPDX-License-Identifier: BSD-3-Clause */
#include "router/kernel_prod.h"

#include <endian.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <unistd.h>

#define MESSAGE_BYTES 128u

/* An earlier kernel passes over the attribute, and only NTF_USE counts. */
static bool manages(void)
{
	unsigned major = 0, minor = 0;
	struct utsname is;

	return !uname(&is) && sscanf(is.release, "%u.%u", &major, &minor) == 2 &&
	       (major > 5 || (major == 5 && minor >= 16));
}

int kernel_prod_open(struct kernel_prod *p, const struct netns *netns, struct error *error)
{
	const int fd = netns_socket(netns, AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK, NETLINK_ROUTE);

	*p = (struct kernel_prod){.socket = fd < 0 ? -1 : fd, .manages = manages()};
	return fd < 0 ? error_set(error, fd, "netlink socket for neighbours: %s", strerror(-fd))
		      : 0;
}

void kernel_prod_close(struct kernel_prod *p)
{
	if (p->socket >= 0)
		close(p->socket);
	p->socket = -1;
}

/*
 * No acknowledgement is asked for: one that is lost is sent again. Such a message sets or clears
 * NTF_EXT_LEARNED and NTF_EXT_MANAGED by what stands in it (neigh_update_flags of
 * net/core/neighbour.c); the state stays, but for NUD_PERMANENT, which it clears.
 */
static void send_use(struct kernel_prod *p, const struct kernel_key *neighbor, unsigned flags,
	uint32_t entry_flags)
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
	fixed->ndm_flags = (uint8_t)(NTF_USE | (entry_flags & NTF_EXT_LEARNED));
	mnl_attr_put(m, NDA_DST, neighbor->family == 4 ? 4 : 16, bytes);
	if (entry_flags >> 8)
		mnl_attr_put_u32(m, NDA_FLAGS_EXT, entry_flags >> 8);
	if (entry_flags & KERNEL_NEIGHBOR_MANAGED)
		mnl_attr_put_u8(m, NDA_PROTOCOL, KERNEL_PROD_PROTOCOL);
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

		if (!(v->neighbor.state & NUD_STALE) || !v->neighbor.has_mac ||
			v->neighbor.flags & KERNEL_NEIGHBOR_MANAGED)
			continue;
		nic = kernel_ways_nic(ways, key.id);
		if (nic >= 0 &&
			is_used(table_next_hops(table), used, (unsigned)nic, &v->neighbor)) {
			send_use(p, &key, 0, v->neighbor.flags);
			sent++;
		}
	}
}

/* --- Gateways --------------------------------------------------------------------------------- */

struct asking {
	struct kernel_prod *prod;
	const struct kernel_ways *ways;
	bool again;
	unsigned sent;
};

static struct kernel_key key_of(const struct kernel_hop *hop)
{
	return (struct kernel_key){.kind = KERNEL_NEIGHBOR,
		.family = hop->gateway_family,
		.id = hop->ifindex,
		.address = hop->gateway};
}

/* Static, or somebody else keeps it. */
static bool is_anothers(const struct kernel_neighbor *n)
{
	return n->state & (NUD_PERMANENT | NUD_NOARP) || n->flags & NTF_EXT_LEARNED;
}

static void ask_for(void *context, const struct kernel_hop *hop)
{
	struct asking *a = context;
	const struct kernel_key link = {.kind = KERNEL_LINK, .id = hop->ifindex};
	const struct kernel_key key = key_of(hop);
	const struct kernel_value *v = kernel_state_find(a->ways->state, &key, 0);
	const bool manage = a->prod->manages && !(v && is_anothers(&v->neighbor));

	if (a->sent == KERNEL_PROD_MOST || kernel_ways_nic(a->ways, hop->ifindex) < 0 ||
		!kernel_link_runs(kernel_state_find(a->ways->state, &link, 0)))
		return;
	if (v && v->neighbor.flags & KERNEL_NEIGHBOR_MANAGED) /* whoever said so */
		return;
	if (v && !manage && !(a->again && (v->neighbor.state & NUD_FAILED)))
		return;
	send_use(a->prod, &key, NLM_F_CREATE,
		(v ? v->neighbor.flags : 0) | (manage ? KERNEL_NEIGHBOR_MANAGED : 0));
	a->sent++;
}

bool kernel_prod_manages(const struct kernel_neighbor *n)
{
	return n->flags & KERNEL_NEIGHBOR_MANAGED && n->protocol == KERNEL_PROD_PROTOCOL;
}

struct managed {
	struct kernel_key key; /* first: they are sorted and found by it */
	bool wanted;
};

struct managed_list {
	const struct kernel_ways *ways;
	struct managed *entry;
	size_t n;
};

static int by_key(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct kernel_key));
}

static void want(void *context, const struct kernel_hop *hop)
{
	const struct managed_list *list = context;
	const struct kernel_key key = key_of(hop);
	struct managed *found = bsearch(&key, list->entry, list->n, sizeof(*found), by_key);

	if (found && kernel_ways_nic(list->ways, hop->ifindex) >= 0)
		found->wanted = true;
}

static void let_go(struct kernel_prod *p, const struct kernel_ways *ways, const struct table *table)
{
	struct managed_list list = {.ways = ways};
	const struct kernel_value *v;
	struct kernel_key key;
	size_t from = 0, most = 0;

	while ((v = kernel_state_each(ways->state, KERNEL_NEIGHBOR, &from, &key)))
		most += kernel_prod_manages(&v->neighbor);
	list.entry = most ? calloc(most, sizeof(*list.entry)) : NULL;
	if (!list.entry)
		return;
	from = 0;
	while ((v = kernel_state_each(ways->state, KERNEL_NEIGHBOR, &from, &key)))
		if (kernel_prod_manages(&v->neighbor))
			list.entry[list.n++].key = key;
	qsort(list.entry, list.n, sizeof(*list.entry), by_key);
	kernel_ways_gateways(ways, table_next_hops(table), want, &list);
	for (size_t k = 0; k < list.n; k++)
		if (!list.entry[k].wanted)
			send_use(p, &list.entry[k].key, 0, 0);
	free(list.entry);
}

void kernel_prod_gateways(struct kernel_prod *p, const struct kernel_ways *ways,
	const struct table *table, bool again)
{
	struct asking a = {.prod = p, .ways = ways, .again = again};

	kernel_ways_gateways(ways, table_next_hops(table), ask_for, &a);
	if (again)
		let_go(p, ways, table);
}
