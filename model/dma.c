/* SPDX-License-Identifier: BSD-3-Clause */
#include "model/dma.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

/* Sizes of which the parameters have the time of one access. Between two of them the time is on the
 * line between theirs, beyond the last on the line of the last two. */
static const uint32_t write_sizes[] = {
	64, 128, 129, 192, 256, 257, 320, 384, 512, 513, 576, 768, 1024, 1536};
static const uint32_t read_sizes[] = {
	64, 65, 128, 129, 192, 256, 257, 320, 384, 512, 768, 1024, 1536};

#define SIZES    14u
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

struct request {
	struct dma *dma;
	struct transfer transfer; /* as the caller wants it */
	unsigned stages;          /* that are not over */
};

struct waiter {
	struct waiter *next;
	sim_call *call;
	void *object;
	uint64_t argument;
};

/* Of writes, or of reads. */
struct queue {
	struct server stage;
	const uint32_t *size;
	unsigned sizes, taken;
	uint64_t ps[SIZES], latency;
	struct waiter *first, **end;
};

struct dma {
	struct sim *sim;
	struct node *device;
	struct queue queue[2]; /* writes, reads */
	struct server shared;
	uint64_t share; /* of the time in its own stage, in millionths */
	unsigned slots;
	struct sim_pool requests;
};

static void queue_init(struct sim *s, struct queue *q, struct parameters *p, const char *nic,
	const char *kind, const uint32_t *size, unsigned sizes)
{
	char name[SERVER_NAME_BYTES];

	q->size = size;
	q->sizes = sizes;
	q->end = &q->first;
	for (unsigned k = 0; k < sizes; k++) {
		snprintf(name, sizeof(name), "nic.dma_%s_%u", kind, size[k]);
		q->ps[k] = parameters_get(p, name);
	}
	snprintf(name, sizeof(name), "nic.dma_%s_latency", kind);
	q->latency = parameters_get(p, name);
	snprintf(name, sizeof(name), "%s dma %s", nic, kind);
	server_init(s, &q->stage, name, 1, 0, 0);
}

struct dma *dma_new(struct sim *s, struct parameters *p, const char *nic, struct node *device,
	struct error *error)
{
	struct dma *d = sim_memory(calloc(1, sizeof(*d)));
	char name[SERVER_NAME_BYTES];

	d->slots = (unsigned)parameters_get(p, "nic.dma_slots");
	d->share = parameters_get(p, "nic.dma_share");
	if (!d->slots || !parameters_get(p, "nic.dma_tags")) {
		free(d);
		error_set(error, -EINVAL, "nic.dma_slots, nic.dma_tags: want 1 at least");
		return NULL;
	}
	d->sim = s;
	d->device = device;
	queue_init(s, &d->queue[0], p, nic, "write", write_sizes, COUNT(write_sizes));
	queue_init(s, &d->queue[1], p, nic, "read", read_sizes, COUNT(read_sizes));
	snprintf(name, sizeof(name), "%s dma shared", nic);
	server_init(s, &d->shared, name, 1, 0, 0);
	return d;
}

void dma_free(struct dma *d)
{
	for (unsigned k = 0; k < 2; k++)
		while (d->queue[k].first) {
			struct waiter *w = d->queue[k].first;

			d->queue[k].first = w->next;
			free(w);
		}
	sim_pool_free(&d->requests);
	free(d);
}

unsigned dma_queued(const struct dma *d, bool read)
{
	return d->queue[read].taken;
}

static uint64_t stage_ps(const struct queue *q, uint32_t bytes)
{
	unsigned k = 1;

	if (bytes <= q->size[0])
		return q->ps[0];
	while (k + 1 < q->sizes && bytes > q->size[k])
		k++;
	const uint64_t width = q->size[k] - q->size[k - 1], over = bytes - q->size[k - 1];
	if (q->ps[k] < q->ps[k - 1]) /* drawn so, within ranges that overlap */
		return q->ps[k];
	return q->ps[k - 1] + (q->ps[k] - q->ps[k - 1]) * over / width;
}

/* --- The way of a request --------------------------------------------------------------------- */

static void give_back(struct sim *s, struct dma *d, bool read)
{
	struct queue *q = &d->queue[read];
	struct waiter *w = q->first;

	q->taken--;
	if (!w)
		return;
	q->first = w->next;
	if (!q->first)
		q->end = &q->first;
	sim_after(s, 0, w->call, w->object, w->argument);
	free(w);
}

/* The caller may submit anew from within the call. */
static void over(struct sim *s, struct request *r, sim_call *call)
{
	const struct transfer transfer = r->transfer;

	sim_give(&r->dma->requests, r);
	if (call)
		call(s, transfer.object, transfer.argument);
}

static void landed(struct sim *s, void *object, uint64_t argument)
{
	struct request *r = object;

	over(s, r, r->transfer.landed);
}

static void left(struct sim *s, void *object, uint64_t argument)
{
	struct request *r = object;

	give_back(s, r->dma, false);
	if (r->transfer.done)
		r->transfer.done(s, r->transfer.object, r->transfer.argument);
}

static void come(struct sim *s, void *object, uint64_t argument)
{
	struct request *r = object;

	give_back(s, r->dma, true);
	over(s, r, r->transfer.done);
}

static void issue(struct sim *s, void *object, uint64_t argument)
{
	struct request *r = object;
	struct transfer t = r->transfer;

	t.done = t.read ? come : left;
	t.landed = landed;
	t.object = r;
	pcie_transfer(r->dma->device, &t);
}

/* Each stage takes requests in their order: so the later of the two is over in their order too. */
static void stage_over(struct sim *s, void *object, uint64_t argument)
{
	struct request *r = object;

	if (--r->stages == 0)
		sim_after(s, r->dma->queue[r->transfer.read].latency, issue, r, 0);
}

bool dma_submit(struct dma *d, const struct transfer *t)
{
	struct queue *q = &d->queue[t->read];
	struct request *r;

	if (q->taken == d->slots)
		return false;
	q->taken++;
	r = sim_take(&d->requests, sizeof(*r));
	const uint64_t ps = stage_ps(q, t->bytes);
	r->dma = d;
	r->transfer = *t;
	r->stages = 2;
	server_ask(d->sim, &q->stage, ps, stage_over, r, 0);
	server_ask(d->sim, &d->shared, ps * d->share / 1000000, stage_over, r, 0);
	return true;
}

/* A waiter that finds the queue full again waits anew. */
void dma_wait(struct dma *d, bool read, sim_call *call, void *object, uint64_t argument)
{
	struct queue *q = &d->queue[read];
	struct waiter *w = sim_memory(malloc(sizeof(*w)));

	*w = (struct waiter){NULL, call, object, argument};
	*q->end = w;
	q->end = &w->next;
}
