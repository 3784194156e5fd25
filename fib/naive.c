/* SPDX-License-Identifier: BSD-3-Clause */
#include "naive.h"

#include <errno.h>
#include <stdlib.h>

#include "internal.h"

int naive_open(struct naive *naive)
{
	*naive = (struct naive){calloc(1024, sizeof(struct naive_node)), 1, 1024};
	return naive->node ? 0 : -ENOMEM;
}

void naive_close(struct naive *naive)
{
	free(naive->node);
	*naive = (struct naive){0};
}

int naive_set(struct naive *naive, const struct fib_route *route)
{
	uint32_t at = 0;

	for (unsigned depth = 0; depth < route->length; depth++) {
		unsigned bit = address_bits(route->prefix, depth, 1);

		if (!naive->node[at].child[bit]) {
			if (naive->nodes == naive->room) {
				struct naive_node *larger =
					realloc(naive->node, 2 * naive->room * sizeof *larger);

				if (!larger)
					return -ENOMEM;
				naive->node = larger;
				naive->room *= 2;
			}
			naive->node[naive->nodes] = (struct naive_node){0};
			naive->node[at].child[bit] = naive->nodes++;
		}
		at = naive->node[at].child[bit];
	}
	naive->node[at].next_hop = route->next_hop;
	return 0;
}

uint16_t naive_lookup(const struct naive *naive, struct fib_ipv6 address)
{
	uint16_t next_hop = naive->node[0].next_hop;
	uint32_t at = 0;

	for (unsigned depth = 0; depth < 128; depth++) {
		at = naive->node[at].child[address_bits(address, depth, 1)];
		if (!at)
			break;
		if (naive->node[at].next_hop)
			next_hop = naive->node[at].next_hop;
	}
	return next_hop;
}
