/* SPDX-License-Identifier: BSD-3-Clause */
/* Devices: transfers become TLPs, and TLPs transfers. */
#include "model/pcie_internal.h"

#include <assert.h>
#include <stdlib.h>

/* TLPs of a class that wait at a device's wire, at most: more are made when one has gone. */
#define STAGED 2u

static void stage(struct movement *m, enum tlp_class class, struct node *from, struct node *to,
	uint32_t payload, uint32_t wanted, bool last, uint64_t order)
{
	struct tlp *t = sim_take(&from->fabric->tlps, sizeof(*t));

	*t = (struct tlp){.class = class,
		.payload = payload,
		.wanted = wanted,
		.last = last,
		.to = to,
		.movement = m,
		.order = order};
	wire_queue(from->out[0], 0, t);
}

static uint32_t part(struct movement *m, uint32_t most)
{
	const uint32_t bytes = m->unsent < most ? m->unsent : most;

	m->unsent -= bytes;
	return bytes;
}

/* A read does not pass a write that began before it: TLPs have the order of their transfer. */
void device_fill(struct node *n)
{
	struct wire *w = n->out[0];
	struct movement *m;

	while ((m = n->writes) && w->queue[0][TLP_POSTED].n < STAGED) {
		const uint32_t bytes = part(m, w->link.payload);

		if (!m->unsent && !(n->writes = m->next))
			n->writes_end = &n->writes;
		stage(m, TLP_POSTED, n, m->transfer.target, bytes, 0, !m->unsent, m->order);
	}
	while ((m = n->reads) && n->tags && w->queue[0][TLP_NON_POSTED].n < STAGED) {
		const uint32_t bytes = part(m, w->link.request);

		if (!m->unsent && !(n->reads = m->next))
			n->reads_end = &n->reads;
		n->tags--;
		stage(m, TLP_NON_POSTED, n, m->transfer.target, 0, bytes, !m->unsent, m->order);
	}
}

void pcie_transfer(struct node *from, const struct transfer *transfer)
{
	struct fabric *f = from->fabric;
	struct movement *m = sim_take(&f->movements, sizeof(*m));

	assert(transfer->bytes && transfer->bytes <= 1u << 20);
	assert(transfer->target->device && transfer->target != from);
	*m = (struct movement){.transfer = *transfer,
		.from = from,
		.order = f->order++,
		.unsent = transfer->bytes,
		.unlanded = transfer->bytes};
	f->pending++;
	if (transfer->read) {
		*from->reads_end = m;
		from->reads_end = &m->next;
	} else {
		*from->writes_end = m;
		from->writes_end = &m->next;
	}
	device_fill(from);
}

static void call(struct sim *s, sim_call *what, const struct transfer *t)
{
	if (what)
		what(s, t->object, t->argument);
}

/* The memory of a movement may be a new one's when the caller hears of its end. */
static void end(struct sim *s, struct movement *m, sim_call *what)
{
	struct fabric *f = m->from->fabric;
	const struct transfer transfer = m->transfer;

	sim_give(&f->movements, m);
	f->pending--;
	call(s, what, &transfer);
}

/* The last bit of a write has left: earlier than it lands. */
void device_written(struct sim *s, struct movement *m)
{
	call(s, m->transfer.done, &m->transfer);
}

/* --- Arrivals --------------------------------------------------------------------------------- */

/* Completions in parts, each behind what the device sent before. */
static void complete(struct tlp *request)
{
	struct node *n = request->to, *to = request->movement->from;

	for (uint32_t left = request->wanted; left;) {
		const uint32_t most = n->out[0]->link.completion;
		const uint32_t bytes = left < most ? left : most;

		left -= bytes;
		stage(request->movement, TLP_COMPLETION, n, to, bytes, 0, !left,
			n->fabric->order++);
	}
}

void pcie_accept(struct fabric *f, struct tlp *t)
{
	struct movement *m = t->movement;

	tlp_consumed(t);
	if (t->class == TLP_NON_POSTED) {
		complete(t);
	} else {
		m->unlanded -= t->payload;
		if (!m->unlanded)
			end(f->sim, m, m->transfer.landed);
	}
	sim_give(&f->tlps, t);
}

static void accept_later(struct sim *s, void *object, uint64_t argument)
{
	struct tlp *t = object;

	pcie_accept(t->to->fabric, t);
}

static void receive_completion(struct sim *s, struct tlp *t)
{
	struct movement *m = t->movement;
	struct node *n = t->to;

	tlp_consumed(t);
	if (t->last)
		n->tags++;
	m->unlanded -= t->payload;
	sim_give(&n->fabric->tlps, t);
	if (!m->unlanded)
		end(s, m, m->transfer.done);
	device_fill(n);
}

void device_receive(struct sim *s, void *object, uint64_t argument)
{
	struct tlp *t = object;
	struct node *n = t->to;
	const bool read = t->class == TLP_NON_POSTED;

	if (t->class == TLP_COMPLETION)
		receive_completion(s, t);
	else if (n->take)
		n->take(s, n->object, t, t->movement->transfer.space, read,
			read ? t->wanted : t->payload);
	else if (read && n->completer)
		sim_after(s, n->completer, accept_later, t, 0);
	else
		pcie_accept(n->fabric, t);
}
