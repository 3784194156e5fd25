/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The published router in its four forms, as tables of operations. What a packet costs the cores is
 * in the parameters of role "program"; most of that is fitted (docs/model.md).
 *
 *                ingress NIC                     host                 egress NIC
 *   paper, fixed frame ─▶ egress, then batch ─────────────────────────▶ send, return places
 *   rd           batch ───────────────────────────────────────────────▶ read frames, send, return
 *   bn           frame ─▶ host, then batch ──────▶ batch ─────────────▶ read frames, send, return
 *   l3fwd        frame ─▶ host, then batch ──────▶ route, doorbell ───▶ read descriptors, frames, …
 *
 * The publication's rule for batches: what is through is held while the next packet has arrived
 * already, until the batch is full; then one DMA write publishes all of it. At 64 B and 1 Gb/s the
 * next packet always has, since a packet takes longer than the 0.67 us between two.
 */
#include "model/operations.h"

#include "ipc/error.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define RETURN_BYTES      8u /* places returned: an index */
#define DOORBELL_BYTES    4u
#define NFD_HEADER        8u  /* that nfd puts before a received packet */
#define NFD_DESCRIPTOR    8u  /* of a free buffer; as large as that of a received packet */
#define NFD_TX_DESCRIPTOR 16u /* Netronome/nfd: nfp_net_tx_desc */
#define DESCRIPTORS_READ  64u /* a thread's read of its ring */

struct held {
	unsigned n;
	struct program_packet packet[PROGRAM_BURST];
};

struct published {
	unsigned batch, width;
	uint64_t descriptor; /* bytes */
	uint64_t receive, route, reads, publish, send, fetch;
	uint64_t nfd_receive, nfd_send, core, core_burst, host_delay, bounce;
	struct held held[]; /* of NIC i for NIC e, or queue q of the host: i × width + e, or q */
};

static void *make(struct parameters *p, unsigned nics, struct error *error)
{
	const unsigned queues = (unsigned)parameters_get(p, "host.queues");
	const unsigned width = nics > queues ? nics : queues;
	struct published *s = calloc(1, sizeof(*s) + (size_t)nics * width * sizeof(struct held));

	if (!s) {
		error_set(error, -ENOMEM, "the program has no memory");
		return NULL;
	}
	s->width = width;
	s->batch = (unsigned)parameters_get(p, "program.batch");
	s->descriptor = parameters_get(p, "program.descriptor");
	s->receive = parameters_get(p, "program.receive");
	s->route = parameters_get(p, "program.route");
	s->reads = parameters_get(p, "program.route_reads");
	s->publish = parameters_get(p, "program.publish");
	s->send = parameters_get(p, "program.send");
	s->fetch = parameters_get(p, "program.fetch");
	s->nfd_receive = parameters_get(p, "program.nfd_receive");
	s->nfd_send = parameters_get(p, "program.nfd_send");
	s->core = parameters_get(p, "program.l3fwd_packet");
	s->core_burst = parameters_get(p, "program.l3fwd_burst");
	s->host_delay = parameters_get(p, "program.l3fwd_delay");
	s->bounce = parameters_get(p, "program.bounce_packet");
	return s;
}

/* --- Parts ------------------------------------------------------------------------------------ */

static void route(struct operations *o, const struct published *s)
{
	compute(o, s->route);
	for (unsigned k = 0; k < s->reads; k++)
		read_memory(o, MEMORY_EMEM, 8);
}

/* What is through goes in batches behind what is held. `free_bytes`: of a descriptor of a free
 * buffer, which is fetched for each packet, a batch at a time; 0: there are none. */
static void batches(struct operations *o, struct published *s, struct program_burst *b,
	unsigned target, uint64_t free_bytes, uint64_t delay)
{
	const unsigned ring = target == PROGRAM_HOST ? b->packet[0].queue : target;
	struct held *h = &s->held[b->nic * s->width + ring];
	unsigned at = 0;

	memmove(b->packet + h->n, b->packet, b->n * sizeof(*b->packet));
	memcpy(b->packet, h->packet, h->n * sizeof(*b->packet));
	b->n += h->n;
	while (b->n - at >= s->batch || (at < b->n && !b->more)) {
		const unsigned n = b->n - at < s->batch ? b->n - at : s->batch;

		compute(o, s->publish);
		tell(o, EFFECT_PUBLISH, target, n * s->descriptor,
			(struct operation_run){(uint8_t)at, (uint8_t)n}, delay);
		if (free_bytes)
			access_dma(o, true, target, n * free_bytes, false);
		at += n;
	}
	h->n = b->n - at;
	memcpy(h->packet, b->packet + at, h->n * sizeof(*b->packet));
}

/* Frames from where they lie, one read each; the last is waited for. */
static void fetch(struct operations *o, const struct published *s, const struct program_burst *b,
	unsigned target)
{
	for (unsigned k = 0; k < b->n; k++) {
		compute(o, s->fetch);
		access_dma(o, true, target, b->packet[k].bytes, k + 1 == b->n);
	}
}

static void send(struct operations *o, const struct program_burst *b, uint64_t cycles,
	unsigned target, uint64_t bytes)
{
	send_out(o, b->n, cycles);
	tell(o, EFFECT_RETURN, target, bytes, (struct operation_run){0, (uint8_t)b->n}, 0);
}

/* A core of the host hands on what it took, an egress at a time, each in its order. */
static void hand_on(struct operations *o, struct program_burst *b, uint64_t each, uint64_t bytes)
{
	for (unsigned k = 1; k < b->n; k++) {
		const struct program_packet p = b->packet[k];
		unsigned at = k;

		for (; at && b->packet[at - 1].egress > p.egress; at--)
			b->packet[at] = b->packet[at - 1];
		b->packet[at] = p;
	}
	for (unsigned at = 0, n; at < b->n; at += n) {
		for (n = 1; at + n < b->n && b->packet[at + n].egress == b->packet[at].egress; n++)
			;
		tell(o, EFFECT_PUBLISH, b->packet[at].egress, bytes + each * n,
			(struct operation_run){(uint8_t)at, (uint8_t)n}, 0);
	}
	tell(o, EFFECT_RETURN, b->packet[0].ingress, DOORBELL_BYTES,
		(struct operation_run){0, (uint8_t)b->n}, 0);
}

/* --- Programs --------------------------------------------------------------------------------- */

static unsigned paper_burst(struct published *s, enum program_side side, struct program_burst *b,
	struct operation *operation, bool routed)
{
	struct operations o = {operation, 0};

	switch (side) {
	case PROGRAM_INGRESS:
		read_memory(&o, MEMORY_CTM, 64);
		compute(&o, s->receive);
		if (routed)
			route(&o, s);
		access_dma(&o, false, b->packet[0].egress, b->packet[0].bytes, true);
		break;
	case PROGRAM_DONE:
		batches(&o, s, b, b->packet[0].egress, 0, 0);
		break;
	default:
		read_memory(&o, MEMORY_CTM, DESCRIPTORS_READ);
		send(&o, b, s->send, b->packet[0].ingress, RETURN_BYTES);
	}
	return o.n;
}

static unsigned routed(
	void *state, enum program_side side, struct program_burst *b, struct operation *operation)
{
	return paper_burst(state, side, b, operation, true);
}

static unsigned fixed(
	void *state, enum program_side side, struct program_burst *b, struct operation *operation)
{
	return paper_burst(state, side, b, operation, false);
}

static unsigned rd(
	void *state, enum program_side side, struct program_burst *b, struct operation *operation)
{
	struct published *s = state;
	struct operations o = {operation, 0};

	switch (side) {
	case PROGRAM_INGRESS:
		read_memory(&o, MEMORY_CTM, 64);
		compute(&o, s->receive);
		route(&o, s);
		break;
	case PROGRAM_DONE:
		batches(&o, s, b, b->packet[0].egress, 0, 0);
		break;
	default:
		read_memory(&o, MEMORY_CTM, DESCRIPTORS_READ);
		fetch(&o, s, b, b->packet[0].ingress);
		send(&o, b, s->send, b->packet[0].ingress, RETURN_BYTES);
	}
	return o.n;
}

static unsigned bn(
	void *state, enum program_side side, struct program_burst *b, struct operation *operation)
{
	struct published *s = state;
	struct operations o = {operation, 0};

	switch (side) {
	case PROGRAM_INGRESS:
		read_memory(&o, MEMORY_CTM, 64);
		compute(&o, s->receive);
		route(&o, s);
		access_dma(&o, false, PROGRAM_HOST, b->packet[0].bytes, true);
		break;
	case PROGRAM_DONE:
		batches(&o, s, b, PROGRAM_HOST, 0, 0);
		break;
	case PROGRAM_HOST_IN:
		compute(&o, s->core_burst + s->bounce * b->n);
		hand_on(&o, b, s->descriptor, 0);
		break;
	default:
		read_memory(&o, MEMORY_CTM, DESCRIPTORS_READ);
		fetch(&o, s, b, PROGRAM_HOST);
		send(&o, b, s->send, PROGRAM_HOST, RETURN_BYTES);
	}
	return o.n;
}

/* Netronome/nfd below DPDK; nfd batches by the same rule. */
static unsigned l3fwd(
	void *state, enum program_side side, struct program_burst *b, struct operation *operation)
{
	struct published *s = state;
	struct operations o = {operation, 0};

	switch (side) {
	case PROGRAM_INGRESS:
		compute(&o, s->nfd_receive);
		access_dma(&o, false, PROGRAM_HOST, b->packet[0].bytes + NFD_HEADER, true);
		break;
	case PROGRAM_DONE:
		batches(&o, s, b, PROGRAM_HOST, NFD_DESCRIPTOR, s->host_delay);
		break;
	case PROGRAM_HOST_IN:
		compute(&o, s->core_burst + s->core * b->n);
		hand_on(&o, b, 0, DOORBELL_BYTES);
		break;
	default:
		access_dma(&o, true, PROGRAM_HOST, b->n * NFD_TX_DESCRIPTOR, true);
		fetch(&o, s, b, PROGRAM_HOST);
		send(&o, b, s->nfd_send, PROGRAM_HOST, DOORBELL_BYTES);
	}
	return o.n;
}

#define SIDES                                                                                      \
	{                                                                                          \
		[PROGRAM_INGRESS] = 1, [PROGRAM_DONE] = PROGRAM_BURST / 2,                         \
		[PROGRAM_HOST_IN] = PROGRAM_BATCH, [PROGRAM_EGRESS] = PROGRAM_BATCH                \
	}
#define CALLS .make = make, .release = free

const struct program program_paper = {"paper", SIDES, CALLS, .burst = routed};
const struct program program_fixed = {"fixed", SIDES, CALLS, .burst = fixed};
const struct program program_rd = {"rd", SIDES, CALLS, .burst = rd, .keeps = true};
const struct program program_bn = {"bn", SIDES, CALLS, .burst = bn, .by_host = true};
const struct program program_l3fwd = {"l3fwd", SIDES, CALLS, .burst = l3fwd, .by_host = true};
