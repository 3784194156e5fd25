/* SPDX-License-Identifier: BSD-3-Clause */
#include "model/threads.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void thread_take(struct sim *, void *object, uint64_t argument);
static void thread_run(struct sim *, void *object, uint64_t argument);

static void *get(size_t n, size_t bytes)
{
	void *memory = calloc(n ? n : 1, bytes);

	if (!memory)
		abort(); /* as sim.h: a model has nothing to save */
	return memory;
}

/* --- Lists ------------------------------------------------------------------------------------ */

static void wait_in(struct threads_waiting *w, struct thread *t)
{
	t->next = NULL;
	*w->end = t;
	w->end = &t->next;
}

static struct thread *wait_over(struct threads_waiting *w)
{
	struct thread *t = w->first;

	if (t) {
		w->first = t->next;
		if (!w->first)
			w->end = &w->first;
	}
	return t;
}

static void push(struct machine *m, struct packet_queue *q, uint32_t id)
{
	machine_packet(m, id)->next = PACKET_NONE;
	if (q->n++)
		machine_packet(m, q->last)->next = id;
	else
		q->first = id;
	q->last = id;
}

static uint32_t pop(struct machine *m, struct packet_queue *q)
{
	const uint32_t id = q->first;

	q->first = machine_packet(m, id)->next;
	q->n--;
	return id;
}

/* --- Pools and rings -------------------------------------------------------------------------- */

void pool_init(struct pool *p, struct station *s, enum program_side side, const char *name,
	unsigned cores, unsigned threads, unsigned queues, uint64_t poll)
{
	struct sim *sim = machine_sim(s->machine);

	*p = (struct pool){.station = s,
		.side = side,
		.poll = poll,
		.cores = cores,
		.threads = cores * threads,
		.queues = queues,
		.core = get(cores, sizeof(*p->core)),
		.thread = get((size_t)cores * threads, sizeof(*p->thread)),
		.queue = get(queues, sizeof(*p->queue))};
	p->idle.end = &p->idle.first;
	for (unsigned k = 0; k < cores; k++) {
		char text[SERVER_NAME_BYTES];

		snprintf(text, sizeof(text), "%s core", name);
		server_init(sim, &p->core[k], text, 1, 0, 0);
	}
	for (unsigned k = 0; k < p->threads; k++) {
		p->thread[k].pool = p;
		p->thread[k].core = &p->core[k % cores];
		wait_in(&p->idle, &p->thread[k]);
	}
}

void pool_free(struct pool *p)
{
	for (unsigned k = 0; k < p->threads; k++)
		free(p->thread[k].operation);
	free(p->core);
	free(p->thread);
	free(p->queue);
}

void ring_init(struct ring *r, struct pool *from, struct pool *to, unsigned queue, unsigned slots)
{
	*r = (struct ring){.from = from,
		.to = to,
		.queue = queue,
		.slots = slots,
		.free = slots,
		.place = get(slots, sizeof(*r->place))};
	for (unsigned k = 0; k < slots; k++)
		r->place[k] = PACKET_NONE;
}

void ring_free(struct ring *r)
{
	free(r->place);
}

/* A thread without work sees it at its next look. */
static void wake(struct pool *p)
{
	struct sim *sim = machine_sim(p->station->machine);
	struct thread *t = p->waiting ? wait_over(&p->idle) : NULL;

	if (t)
		sim_after(sim, p->poll ? p->poll - sim->now % p->poll : 0, thread_take, t, 0);
}

/* The packet has a place in its ring. */
static void admit(struct pool *p, unsigned queue, uint32_t id, struct ring *out)
{
	struct machine *m = p->station->machine;

	if (out) {
		out->free--;
		machine_packet(m, id)->sequence = out->admitted++;
	}
	push(m, &p->queue[queue], id);
	p->waiting++;
}

static void pool_put(struct pool *p, unsigned queue, uint32_t id)
{
	struct machine *m = p->station->machine;
	struct ring *out = machine_ring(m, p, machine_packet(m, id));

	if (out && (!out->free || out->held.n))
		push(m, &out->held, id);
	else
		admit(p, queue, id, out);
}

void pool_offer(struct pool *p, unsigned queue, const uint32_t *packet, unsigned n)
{
	for (unsigned k = 0; k < n; k++)
		pool_put(p, queue, packet[k]);
	wake(p);
}

/* Held packets go on by the first queue: they have been offered in order. */
static void ring_return(struct ring *r, unsigned n)
{
	struct machine *m = r->from->station->machine;

	assert(r->free + n <= r->slots);
	r->free += n;
	if (machine_program(m)->keeps && r->from->side == PROGRAM_INGRESS)
		machine_buffers(m, r->from->station, n);
	if (!r->held.n)
		return;
	while (r->free && r->held.n)
		admit(r->from, 0, pop(m, &r->held), r);
	wake(r->from);
}

/* --- DMA accesses ----------------------------------------------------------------------------- */

/* One on its way. It is spare again after the last of what it waits for: done, and landed if it
 * writes. */
struct access {
	struct station *station;
	struct thread *thread; /* that it blocks, or NULL */
	enum operation_effect effect;
	struct ring *ring; /* of the effect */
	uint64_t delay;    /* until it is seen */
	unsigned waits;    /* for so many calls */
	unsigned n;
	uint32_t packet[PROGRAM_BURST]; /* published */
};

void station_free(struct station *s)
{
	sim_pool_free(&s->access);
}

/* Batches that land before an earlier one wait for it: a ring is read from its beginning. */
static void ring_publish(struct ring *r, const uint32_t *packet, unsigned n)
{
	struct machine *m = r->from->station->machine;

	if (r->from->side != PROGRAM_INGRESS || !machine_most(m, PROGRAM_DONE)) {
		pool_offer(r->to, r->queue, packet, n);
		return;
	}
	for (unsigned k = 0; k < n; k++)
		r->place[machine_packet(m, packet[k])->sequence % r->slots] = packet[k];
	for (uint32_t *p; r->seen != r->next; r->seen++) {
		p = &r->place[r->seen % r->slots];
		if (*p == PACKET_NONE)
			break;
		pool_put(r->to, r->queue, *p);
		*p = PACKET_NONE;
	}
	wake(r->to);
}

static void effect(struct access *a)
{
	if (a->effect == EFFECT_PUBLISH)
		ring_publish(a->ring, a->packet, a->n);
	if (a->effect == EFFECT_RETURN)
		ring_return(a->ring, a->n);
}

static void over(struct access *a)
{
	if (--a->waits == 0)
		sim_give(&a->station->access, a);
}

static void seen(struct sim *sim, void *object, uint64_t argument)
{
	effect(object);
	over(object);
}

static void landed(struct sim *sim, void *object, uint64_t argument)
{
	struct access *a = object;

	if (a->delay)
		sim_after(sim, a->delay, seen, a, 0);
	else
		seen(sim, a, 0);
}

static void done(struct sim *sim, void *object, uint64_t read)
{
	struct access *a = object;
	struct thread *blocked = a->thread;

	if (read)
		effect(a);
	over(a);
	if (blocked)
		thread_run(sim, blocked, 0);
}

/* False: the engine's queue is full, and the thread waits for it. */
static bool dma(struct thread *t, const struct operation *o)
{
	struct station *s = t->pool->station;
	struct machine *m = s->machine;
	const bool read = o->kind == OPERATION_DMA_READ;
	const bool publish = o->effect == EFFECT_PUBLISH;
	struct access *a = sim_take(&s->access, sizeof(*a));

	a->station = s;
	a->thread = o->blocking ? t : NULL;
	a->effect = o->effect;
	a->ring = t->in;
	a->delay = o->delay;
	a->waits = read ? 1 : 2;
	a->n = o->count;
	/* A firmware returns places when it likes, of any ring. */
	if (o->effect == EFFECT_RETURN && !machine_program(m)->by_host)
		a->ring = machine_ring_between(m, o->target, s->number);
	if (publish) {
		memcpy(a->packet, t->packet + o->first, o->count * sizeof(uint32_t));
		a->ring = machine_ring(m, t->pool, machine_packet(m, a->packet[0]));
	}
	const struct transfer transfer = {.target = machine_station(m, o->target)->node,
		.read = read,
		.space = o->memory,
		.bytes = o->amount,
		.done = done,
		.landed = read ? NULL : landed,
		.object = a,
		.argument = read};

	s->accesses++;
	if (!s->dma) {
		pcie_transfer(s->node, &transfer);
		return true;
	}
	if (dma_submit(s->dma, &transfer))
		return true;
	sim_give(&s->access, a);
	s->accesses--;
	dma_wait(s->dma, read, thread_run, t, 0);
	return false;
}

/* --- Threads ---------------------------------------------------------------------------------- */

/* Asks the program what the packets t->packet cost. */
static void ask(struct thread *t, enum program_side side, bool more)
{
	static struct program_burst burst;
	static struct operation operation[PROGRAM_OPERATIONS];
	struct station *s = t->pool->station;
	struct machine *m = s->machine;

	burst.nic = (uint8_t)(s->number == PROGRAM_HOST ? t->pool->index : s->number);
	burst.thread = (unsigned)(t - t->pool->thread);
	burst.more = more;
	burst.now = machine_sim(m)->now;
	burst.n = t->n;
	for (unsigned k = 0; k < t->n; k++) {
		const struct packet *p = machine_packet(m, t->packet[k]);

		burst.packet[k] = (struct program_packet){.id = t->packet[k],
			.bytes = p->bytes,
			.destination = 0xc6120002u | (uint32_t)p->egress << 8,
			.ingress = p->ingress,
			.egress = p->egress,
			.queue = p->queue};
	}
	t->operations = machine_program(m)->burst(machine_state(m), side, &burst, operation);
	assert(t->operations <= PROGRAM_OPERATIONS && burst.n <= PROGRAM_BURST);
	t->n = burst.n;
	for (unsigned k = 0; k < t->n; k++)
		t->packet[k] = burst.packet[k].id;
	if (t->operations > t->room) {
		t->room = t->operations;
		free(t->operation);
		t->operation = get(t->room, sizeof(*t->operation));
	}
	memcpy(t->operation, operation, t->operations * sizeof(*operation));
	t->side = side;
	t->at = 0;
}

/* The burst's operations are done. True: the program wants more of the thread, to publish what is
 * through in the order of its ring. */
static bool finish(struct thread *t)
{
	struct pool *p = t->pool;
	struct machine *m = p->station->machine;
	const unsigned most = machine_most(m, PROGRAM_DONE);
	struct ring *r;

	if (t->side != PROGRAM_INGRESS)
		return false;
	if (!machine_program(m)->keeps)
		machine_buffers(m, p->station, t->n);
	if (!most)
		return false;
	r = machine_ring(m, p, machine_packet(m, t->packet[0]));
	r->place[machine_packet(m, t->packet[0])->sequence % r->slots] = t->packet[0];
	for (t->n = 0; t->n < most && r->next != r->admitted; r->next++) {
		uint32_t *place = &r->place[r->next % r->slots];

		if (*place == PACKET_NONE)
			break;
		t->packet[t->n++] = *place;
		*place = PACKET_NONE;
	}
	if (!t->n)
		return false;
	ask(t, PROGRAM_DONE, r->admitted != r->next);
	return true;
}

static void sent(struct sim *sim, void *object, uint64_t argument)
{
	struct thread *t = object;

	if (--t->sending == 0)
		thread_run(sim, t, 0);
}

/* The core works for the thread. */
static void work(struct sim *sim, struct thread *t, uint64_t cycles)
{
	t->since += cycles;
	server_ask(sim, t->core, cycles * (PS_PER_S / 1000000) / (t->pool->station->hz / 1000000),
		thread_run, t, 0);
}

/* True: the thread goes on at once. */
static bool operate(struct sim *sim, struct thread *t, const struct operation *o)
{
	struct station *s = t->pool->station;

	switch (o->kind) {
	case OPERATION_COMPUTE:
		work(sim, t, o->amount);
		return false;
	case OPERATION_MEMORY:
		if (o->blocking && t->since < s->spacing[o->memory]) {
			work(sim, t, s->spacing[o->memory] - t->since);
			t->at--; /* and then the access */
			return false;
		}
		t->since = 0;
		server_ask(sim, &s->memory[o->memory],
			s->memory_ps[o->memory] * ((o->amount + 63) / 64),
			o->blocking ? thread_run : NULL, t, 0);
		return !o->blocking;
	case OPERATION_DMA_WRITE:
	case OPERATION_DMA_READ:
		if (!dma(t, o)) {
			t->at--; /* this one again */
			return false;
		}
		return !o->blocking;
	case OPERATION_SEND:
		t->sending = o->blocking ? o->count : 0;
		for (unsigned k = 0; k < o->count; k++)
			machine_send(s->machine, s, t->packet[o->first + k],
				o->blocking ? sent : NULL, t);
		return !o->blocking || !o->count;
	}
	return true;
}

/* Goes on with its operations until it waits for something. */
static void thread_run(struct sim *sim, void *object, uint64_t argument)
{
	struct thread *t = object;

	do {
		while (t->at < t->operations)
			if (!operate(sim, t, &t->operation[t->at++]))
				return;
	} while (finish(t));
	thread_take(sim, t, 0);
}

/* There is no packet. True: the program wants to know. */
static bool poll_empty(struct thread *t)
{
	if (t->polled || t->pool->side != PROGRAM_INGRESS ||
		!machine_program(t->pool->station->machine)->polls)
		return false;
	t->n = 0;
	ask(t, PROGRAM_INGRESS, false);
	t->polled = t->n < PROGRAM_BURST; /* else there may be more */
	return true;
}

/* A burst of the next queue that has packets; an empty-handed thread becomes idle. */
static void thread_take(struct sim *sim, void *object, uint64_t argument)
{
	struct thread *t = object;
	struct pool *p = t->pool;
	struct machine *m = p->station->machine;
	const unsigned most = machine_most(m, p->side);

	if (!p->waiting && poll_empty(t)) {
		thread_run(sim, t, 0);
		return;
	}
	t->polled = false;
	if (!p->waiting) {
		wait_in(&p->idle, t);
		return;
	}
	while (!p->queue[p->turn].n)
		p->turn = (p->turn + 1) % p->queues;

	struct packet_queue *q = &p->queue[p->turn];

	t->in = machine_ring_into(m, p, p->turn);
	p->turn = (p->turn + 1) % p->queues;
	for (t->n = 0; t->n < most && q->n; t->n++)
		t->packet[t->n] = pop(m, q);
	p->waiting -= t->n;
	wake(p); /* another for the rest */
	ask(t, p->side, p->waiting > 0);
	thread_run(sim, t, 0);
}
