/* SPDX-License-Identifier: BSD-3-Clause */
#include "model/sim.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

/* --- Events ----------------------------------------------------------------------------------- */

void *sim_memory(void *memory)
{
	if (!memory) {
		fputs("the model has no memory left\n", stderr);
		abort();
	}
	return memory;
}

/* Before each object. */
struct sim_pooled {
	struct sim_pooled *spare, *all; /* the next in the pool's lists */
};

void *sim_take(struct sim_pool *p, size_t bytes)
{
	struct sim_pooled *o = p->spare;

	if (o) {
		p->spare = o->spare;
		return o + 1;
	}
	o = sim_memory(malloc(sizeof(*o) + bytes));
	o->all = p->all;
	p->all = o;
	return o + 1;
}

void sim_give(struct sim_pool *p, void *object)
{
	struct sim_pooled *o = (struct sim_pooled *)object - 1;

	o->spare = p->spare;
	p->spare = o;
}

void sim_pool_free(struct sim_pool *p)
{
	while (p->all) {
		struct sim_pooled *o = p->all;

		p->all = o->all;
		free(o);
	}
	p->spare = NULL;
}

void sim_init(struct sim *s, uint64_t seed)
{
	*s = (struct sim){.random = seed};
	s->last = &s->servers;
}

static bool before(const struct sim_event *a, const struct sim_event *b)
{
	return a->at != b->at ? a->at < b->at : a->order < b->order;
}

void sim_after(struct sim *s, uint64_t ps, sim_call *call, void *object, uint64_t argument)
{
	const struct sim_event event = {s->now + ps, s->order++, call, object, argument};
	unsigned at = s->events++;

	assert(event.at >= s->now);
	if (at == s->room) {
		s->room = s->room ? 2 * s->room : 1024;
		s->heap = sim_memory(realloc(s->heap, s->room * sizeof(*s->heap)));
	}
	for (; at && before(&event, &s->heap[(at - 1) / 2]); at = (at - 1) / 2)
		s->heap[at] = s->heap[(at - 1) / 2];
	s->heap[at] = event;
}

/* The last event goes where the first was, and down to its place. */
static struct sim_event pop(struct sim *s)
{
	const struct sim_event first = s->heap[0], last = s->heap[--s->events];
	unsigned at = 0;

	for (unsigned child = 1; child < s->events; child = 2 * at + 1) {
		if (child + 1 < s->events && before(&s->heap[child + 1], &s->heap[child]))
			child++;
		if (before(&last, &s->heap[child]))
			break;
		s->heap[at] = s->heap[child];
		at = child;
	}
	s->heap[at] = last;
	return first;
}

bool sim_step(struct sim *s)
{
	if (!s->events)
		return false;
	const struct sim_event event = pop(s);

	s->now = event.at;
	s->happened++;
	event.call(s, event.object, event.argument);
	return true;
}

void sim_run(struct sim *s, uint64_t until)
{
	while (s->events && s->heap[0].at <= until)
		sim_step(s);
	if (s->now < until)
		s->now = until;
}

void sim_measure(struct sim *s)
{
	s->measured_from = s->now;
	for (struct server *v = s->servers; v; v = v->next_server) {
		v->jobs = v->busy_ps = 0;
		v->waiting_max = v->waiting;
	}
}

uint64_t sim_mix(uint64_t z)
{
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

uint64_t sim_random(struct sim *s, uint64_t below)
{
	s->random += 0x9e3779b97f4a7c15;
	return (uint64_t)((unsigned __int128)sim_mix(s->random) * below >> 64);
}

uint64_t sim_transfer(uint64_t bytes, uint64_t bit_per_s)
{
	assert(bytes <= SIM_TRANSFER_MAX && bit_per_s && bit_per_s <= PS_PER_S);
	return (bytes * 8 * PS_PER_S + bit_per_s - 1) / bit_per_s;
}

/* --- Servers ---------------------------------------------------------------------------------- */

void server_init(struct sim *s, struct server *v, const char *name, unsigned units,
	unsigned capacity, uint64_t latency)
{
	*v = (struct server){.units = units, .capacity = capacity, .latency = latency};
	snprintf(v->name, sizeof(v->name), "%s", name);
	v->end = &v->first;
	*s->last = v;
	s->last = &v->next_server;
}

static void job_end(struct sim *s, void *object, uint64_t argument);

static void job_start(struct sim *s, struct server *v, struct server_job *job)
{
	v->busy++;
	job->next = NULL;
	job->server = v;
	sim_after(s, job->ps, job_end, job, 0);
}

static void job_end(struct sim *s, void *object, uint64_t argument)
{
	struct server_job *job = object, *next;
	struct server *v = job->server;
	const struct server_job ended = *job;

	server_worked(s, v, job->ps);
	sim_give(&s->jobs, job);
	v->busy--;
	next = v->first;
	if (next) {
		v->first = next->next;
		if (!v->first)
			v->end = &v->first;
		v->waiting--;
		job_start(s, v, next);
	}
	if (!ended.done)
		return;
	if (v->latency)
		sim_after(s, v->latency, ended.done, ended.object, ended.argument);
	else
		ended.done(s, ended.object, ended.argument);
}

bool server_ask(struct sim *s, struct server *v, uint64_t ps, sim_call *done, void *object,
	uint64_t argument)
{
	struct server_job *job;

	if (v->busy == v->units && v->capacity && v->waiting == v->capacity)
		return false;
	job = sim_take(&s->jobs, sizeof(*job));
	job->next = NULL;
	job->ps = ps;
	job->done = done;
	job->object = object;
	job->argument = argument;
	if (v->busy < v->units) {
		job_start(s, v, job);
		return true;
	}
	*v->end = job;
	v->end = &job->next;
	v->waiting++;
	v->waiting_max = v->waiting > v->waiting_max ? v->waiting : v->waiting_max;
	return true;
}

void sim_free(struct sim *s)
{
	sim_pool_free(&s->jobs);
	free(s->heap);
	*s = (struct sim){0};
}

/* What began before sim_measure counts from there on. */
void server_worked(struct sim *s, struct server *v, uint64_t ps)
{
	const uint64_t measured = s->now - s->measured_from;

	v->jobs++;
	v->busy_ps += ps < measured ? ps : measured;
}

unsigned server_utilisation(const struct sim *s, const struct server *v)
{
	const uint64_t all = (s->now - s->measured_from) * v->units;

	return all ? (unsigned)((unsigned __int128)v->busy_ps * 1000000 / all) : 0;
}

const struct server *sim_bottleneck(const struct sim *s)
{
	const struct server *most = s->servers;

	for (const struct server *v = s->servers; v; v = v->next_server)
		if (server_utilisation(s, v) > server_utilisation(s, most))
			most = v;
	return most;
}
