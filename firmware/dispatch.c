/* SPDX-License-Identifier: BSD-3-Clause */
#include "dispatch.h"

#include "burst.h"
#include "kernel.h"
#include "nic.h"
#include "punt.h"

/* A descriptor's flags tell the host why, and as what. */
static void punt_or_drop(struct nic *n, const struct burst *b, unsigned k, uint64_t *clock)
{
	enum p2pnic_drop reason = VERDICT_REASON(b->verdict[k]);
	enum p2pnic_punt_class class = punt_class(b, k);
	struct selection one;
	unsigned peer;

	if (class == P2PNIC_PUNT_COUNT) {
		count_drop(n, reason, 1);
		return;
	}
	peer = P2PNIC_HOST_PEER(punt_ring(class));
	if (!n->out[peer].open) {
		count_drop(n, reason, 1);
		return;
	}
	if (!punt_passes(n, b, k, class, clock)) {
		count(&n->counters->punt[class].policed, 1);
		count_drop(n, P2PNIC_DROP_POLICED, 1);
		return;
	}
	count(&n->counters->punt[class].passed, 1);
	one.count = 1;
	one.frame[0] = (uint8_t)k;
	one.length[0] = b->length[k];
	ring_out_enqueue(n, b, peer, &one, P2PNIC_FLAGS(reason, class));
}

void dispatch(struct nic *n, const struct burst *b)
{
	uint64_t left = ~0ull >> (P2PNIC_BURST_MAX - b->frames);
	uint64_t clock = 0;
	struct selection s;

	_Static_assert(P2PNIC_BURST_MAX == 64, "a bit for each frame");
	for (unsigned k = 0; left; k++) {
		uint8_t egress = b->egress[k];

		if (!(left >> k & 1))
			continue;
		if (unlikely(egress == BURST_NOWHERE)) {
			punt_or_drop(n, b, k, &clock);
			left &= ~(1ull << k);
		} else {
			left &= ~n->kernel->select(b, egress, &s);
			ring_out_enqueue(n, b, egress, &s, 0);
		}
	}
}
