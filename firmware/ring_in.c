/* SPDX-License-Identifier: BSD-3-Clause */
#include "nic.h"

void ring_in_discard(struct nic *n, unsigned peer)
{
	struct ring_in *in = &n->in[peer];
	uint32_t waiting = 0;

	for (; ring_in_waits(in); waiting++)
		in->dequeued++;
	count(&nic_traffic_in(n, peer)->packets, waiting);
	count_drop(n, P2PNIC_DROP_STALE, waiting);
}

void rings_complete(struct nic *n, bool all)
{
	bool left = false;

	for (unsigned k = 0; k < n->open_peers; k++) {
		struct ring_in *in = &n->in[n->peer[k]];
		uint32_t completions = in->completed - in->announced;

		if (!completions)
			continue;
		if (completions < in->coalesce && !all) {
			left = true;
			continue;
		}
		in->announced = in->completed;
		board_dma_write64(n->board, &n->out[n->peer[k]].mailbox,
			offsetof(struct p2pnic_mailbox, consumer),
			P2PNIC_RING_WORD(in->epoch, in->completed));
	}
	n->completions = left;
}
