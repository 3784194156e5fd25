/* SPDX-License-Identifier: BSD-3-Clause */
/* What a board calls over and over: one round of work, and going to sleep. */
#include "nic.h"

#include "burst.h"

/* Held packets move on first, so that new ones queue behind them. Rd, Hy: completions free
 * own buffers. */
static void serve_rings_out(struct nic *n)
{
	bool drained = false;

	for (unsigned k = 0; k < n->open_peers; k++) {
		if (n->out[n->peer[k]].held) {
			ring_out_drain(n, n->peer[k]);
			drained = true;
		} else if ((!n->writes || n->out[n->peer[k]].lent) && n->out[n->peer[k]].open) {
			ring_out_reclaim(n, &n->out[n->peer[k]]);
		}
	}
	if (drained)
		rings_publish(n);
}

/*
 * Wakes those who sleep, of all that were told of something in this round: peers, of descriptors
 * (rings_publish), and the port's other end, of frames (board_flush). Whoever goes to sleep says
 * so, makes a full fence, and looks for work once more (nic_arm, a port's arm). Here work has been
 * announced; a full fence; a look whether the other sleeps. At least one of the two sees the other
 * (datasheet §19).
 *
 * A fence orders all stores before it and all loads behind it, so one serves every peer and the
 * port. It waits until the stores have left this core: a second one cost up to 10 % at 64 bytes,
 * four ports, or nothing, by what else the machine did (bench-quick, rounds of 6 and 14).
 */
static void notify(struct nic *n)
{
	if (!n->published && !n->flushed)
		return;
	atomic_thread_fence(memory_order_seq_cst);
	if (n->published)
		rings_wake(n);
	if (n->flushed)
		board_notify(n->board);
	n->published = n->flushed = false;
}

/* Frames are received before the rings in are served, and looked at behind them: meanwhile their
 * heads come into the cache. 7 % at 64 bytes, four ports (median of eight pairs of bench-quick). */
unsigned nic_poll(struct nic *n)
{
	struct burst b;
	unsigned work;

	b.frames = 0;
	if (n->running)
		nic_receive(n, &b);
	if (!n->writes || n->lent || unlikely(n->held))
		serve_rings_out(n);
	work = nic_egress(n);
	nic_ingress(n, &b);
	notify(n);
	atomic_store_explicit(&n->counters->held, n->held + n->in_flight, memory_order_relaxed);
	return work + b.frames;
}

bool nic_waits(const struct nic *n)
{
	for (unsigned k = 0; k < n->open_peers; k++)
		if (ring_in_waits(&n->in[n->peer[k]]))
			return true;
	return false;
}

static void announce_sleep(struct nic *n, bool asleep)
{
	if (n->asleep == asleep)
		return;
	n->asleep = asleep;
	for (unsigned k = 0; k < n->open_peers; k++)
		board_dma_write32(n->board, &n->out[n->peer[k]].mailbox,
			offsetof(struct p2pnic_mailbox, asleep), asleep);
}

enum nic_rest nic_arm(struct nic *n)
{
	bool port_waits;

	/* The answer comes at once, or the next look does. */
	if (n->fetching)
		return board_port_arm(n->board) && n->running ? NIC_BUSY : NIC_WAITING;
	announce_sleep(n, true);
	port_waits = board_port_arm(n->board);
	atomic_thread_fence(memory_order_seq_cst); /* pairs with the one in notify */
	/* Some ports say of frames that wait though they were stopped; the test board's does
	 * not. */
	if ((port_waits && n->running) || nic_waits(n))
		return NIC_BUSY;
	if (n->held || n->in_flight)
		return NIC_WAITING;
	count(&n->counters->sleeps, 1);
	for (unsigned k = 0; k < n->open_peers; k++)
		if (board_dma_posts(n->board, &n->out[n->peer[k]].mailbox))
			return NIC_POSTED;
	return NIC_IDLE;
}

void nic_disarm(struct nic *n)
{
	board_port_disarm(n->board);
	announce_sleep(n, false);
}
