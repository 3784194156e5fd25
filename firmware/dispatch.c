/* SPDX-License-Identifier: BSD-3-Clause */
#include "dispatch.h"

#include "burst.h"
#include "kernel.h"
#include "nic.h"

/* What the host may want to see if it listens; all else is dropped. */
static const bool punted[P2PNIC_DROP_COUNT] = {
	[P2PNIC_DROP_ETHERTYPE] = true,
	[P2PNIC_DROP_LINK_SCOPE] = true,
	[P2PNIC_DROP_TTL] = true,
	[P2PNIC_DROP_NO_ROUTE] = true,
	[P2PNIC_DROP_UNREACHABLE] = true,
	[P2PNIC_DROP_PROHIBIT] = true,
	[P2PNIC_DROP_NO_NEIGHBOR] = true,
	[P2PNIC_DROP_MTU] = true,
	[P2PNIC_DROP_OPTIONS] = true,
	[P2PNIC_DROP_LOCAL] = true,
};

/* A descriptor's flags tell the host why. */
static void punt_or_drop(struct nic *n, const struct burst *b, unsigned k)
{
	enum p2pnic_drop reason = VERDICT_REASON(b->verdict[k]);
	struct selection one;

	if (!punted[reason] || !n->out[P2PNIC_HOST_PEER].open) {
		count_drop(n, reason, 1);
		return;
	}
	one.count = 1;
	one.frame[0] = (uint8_t)k;
	one.length[0] = b->length[k];
	ring_out_enqueue(n, b, P2PNIC_HOST_PEER, &one, (uint16_t)reason);
}

void dispatch(struct nic *n, const struct burst *b)
{
	uint64_t left = ~0ull >> (P2PNIC_BURST_MAX - b->frames);
	struct selection s;

	_Static_assert(P2PNIC_BURST_MAX == 64, "a bit for each frame");
	for (unsigned k = 0; left; k++) {
		uint8_t egress = b->egress[k];

		if (!(left >> k & 1))
			continue;
		if (unlikely(egress == BURST_NOWHERE)) {
			punt_or_drop(n, b, k);
			left &= ~(1ull << k);
		} else {
			left &= ~n->kernel->select(b, egress, &s);
			ring_out_enqueue(n, b, egress, &s, 0);
		}
	}
}
