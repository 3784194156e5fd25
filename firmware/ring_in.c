/* SPDX-License-Identifier: BSD-3-Clause */
#include "nic.h"

/* In one access: its peer may change it at any time, to no effect once it was read. */
static inline struct p2pnic_descriptor descriptor_read(const struct p2pnic_descriptor *d)
{
	uint64_t word = __atomic_load_n((const uint64_t *)d, __ATOMIC_RELAXED);

	return (struct p2pnic_descriptor){
		(uint32_t)word, (uint16_t)(word >> 32), (uint16_t)(word >> 48)};
}

bool ring_in_descriptor(const struct ring_in *in, uint32_t index, struct p2pnic_descriptor *d)
{
	*d = descriptor_read(&in->mailbox->descriptor[index & (in->slots - 1)]);
	if (unlikely(d->length < P2PNIC_FRAME_BYTES_MIN || d->length > P2PNIC_FRAME_BYTES_MAX ||
		     (uint64_t)d->offset + d->length > in->bytes))
		return false;
	d->offset += (uint32_t)in->base;
	return true;
}

/* Acquire: pairs with the peer's dma_write64 of its producer word, so descriptors and packets are
 * visible. */
uint32_t ring_in_available(struct nic *n, struct ring_in *in)
{
	uint64_t word = atomic_load_explicit(&in->mailbox->producer, memory_order_acquire);
	uint32_t index = P2PNIC_RING_INDEX(word);

	if (index == in->dequeued && likely(P2PNIC_RING_EPOCH(word) == in->epoch))
		return 0;
	if (P2PNIC_RING_EPOCH(word) != in->epoch) {
		if (word != in->stale_word) {
			in->stale_word = word;
			count(&n->counters->stale_words, word != 0);
		}
		return 0;
	}
	if (unlikely(in->quarantined))
		return 0;
	if (unlikely(index - in->completed > in->slots || index - in->dequeued > in->slots)) {
		in->quarantined = true;
		count(&n->counters->bad_words, 1);
		return 0;
	}
	return index - in->dequeued;
}

void ring_in_discard(struct nic *n, unsigned peer)
{
	uint32_t waiting = ring_in_available(n, &n->in[peer]);

	count(&nic_traffic_in(n, peer)->packets, waiting);
	count_drop(n, P2PNIC_DROP_STALE, waiting);
}

void rings_complete(struct nic *n)
{
	for (unsigned k = 0; k < n->open_peers; k++) {
		struct ring_in *in = &n->in[n->peer[k]];

		if (!in->touched)
			continue;
		in->touched = false;
		board_dma_write64(n->board, &n->out[n->peer[k]].mailbox,
			offsetof(struct p2pnic_mailbox, consumer),
			P2PNIC_RING_WORD(in->epoch, in->completed));
	}
}
