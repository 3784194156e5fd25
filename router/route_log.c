/* SPDX-License-Identifier: BSD-3-Clause */
#include "router/route_log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* --- A batch under way ------------------------------------------------------------------------ */

/* The number of a next hop's lead in the batch + 1; 0: it has none yet. */
struct known {
	uint32_t was[TABLE_HALF_NEXT_HOPS], now[TABLE_HALF_NEXT_HOPS];
};

struct making {
	const struct router *r;
	const struct table_changed *changed;
	struct known *known;
	struct route_batch *batch;
	size_t room; /* for leads */
};

/* Its number; -ENOMEM. */
static int64_t lead_of(struct making *m, bool now, unsigned next_hop)
{
	uint32_t *known = &(now ? m->known->now : m->known->was)[next_hop];
	struct route_batch *b = m->batch;

	if (*known)
		return *known - 1;
	if (b->leads == m->room) {
		const size_t room = m->room * 2;
		struct route_lead *larger = realloc(b->lead, room * sizeof(*larger));

		if (!larger)
			return -ENOMEM;
		b->lead = larger;
		m->room = room;
	}
	route_lead(&b->lead[b->leads], m->r, now ? m->changed->now : m->changed->before, next_hop);
	*known = (uint32_t)++b->leads;
	return *known - 1;
}

/* old, new NULL: there was, is none. */
static int add(struct making *m, const struct route *old, const struct route *new)
{
	const int64_t was = old ? lead_of(m, false, old->next_hop) : 0;
	const int64_t now = new ? lead_of(m, true, new->next_hop) : was;
	const struct route *is = new ? new : old;
	struct route_batch *b = m->batch;

	if (!is)
		return 0; /* deleted, and there was none */
	if (was < 0 || now < 0)
		return -ENOMEM;
	if (old && new && old->source == new->source &&
		!memcmp(&b->lead[was], &b->lead[now], sizeof(*b->lead)))
		return 0;
	b->change[b->n++] = (struct route_change){.route = *is,
		.lead = (uint32_t)now,
		.became = !old  ? ROUTE_ADDED
			  : new ? ROUTE_REPLACED
				: ROUTE_GONE,
		.was_source = old ? old->source : is->source};
	return 0;
}

static int add_changes(struct making *m)
{
	const struct table_changed *c = m->changed;
	int result = 0;

	for (size_t k = 0; k < c->changes && !result; k++) {
		const struct route *new = c->change[k].next_hop ? &c->change[k] : NULL;

		result = add(m, routes_find(c->routes, &c->change[k]), new);
	}
	return result;
}

/* The table was made anew: all routes beside all that there were. */
static int add_differences(struct making *m)
{
	const struct table_changed *c = m->changed;
	int result = 0;

	for (size_t i = 0, j = 0; (i < c->routes->n || j < c->changes) && !result;) {
		const struct route *old = i < c->routes->n ? &c->routes->route[i] : NULL;
		const struct route *new = j < c->changes ? &c->change[j] : NULL;
		const int order = !old ? 1 : !new ? -1 : route_order(old, new);

		result = add(m, order <= 0 ? old : NULL, order >= 0 ? new : NULL);
		i += order <= 0;
		j += order >= 0;
	}
	return result;
}

int route_batch_new(
	struct route_batch **batch, const struct router *r, const struct table_changed *changed)
{
	const size_t most = changed->changes + (changed->whole ? changed->routes->n : 0);
	struct making m = {.r = r, .changed = changed, .room = 4};
	struct route_batch *smaller;
	int result = -ENOMEM;

	*batch = NULL;
	m.known = calloc(1, sizeof(*m.known));
	m.batch = malloc(sizeof(*m.batch) + most * sizeof(*m.batch->change));
	if (m.batch)
		*m.batch = (struct route_batch){.lead = malloc(m.room * sizeof(*m.batch->lead))};
	if (m.known && m.batch && m.batch->lead)
		result = changed->whole ? add_differences(&m) : add_changes(&m);
	free(m.known);
	if (result || !m.batch->n) {
		route_batch_free(m.batch);
		return result;
	}
	smaller = realloc(m.batch, sizeof(*m.batch) + m.batch->n * sizeof(*m.batch->change));
	*batch = smaller ? smaller : m.batch;
	return 0;
}

void route_batch_free(struct route_batch *b)
{
	if (b)
		free(b->lead);
	free(b);
}

/* --- The log ---------------------------------------------------------------------------------- */

void route_log_add(struct route_log *log, struct route_batch *b)
{
	if (log->last)
		log->last->next = b;
	else
		log->first = b;
	log->last = b;
	log->changes += b->n;
}

/* Who reads a batch reads all behind it, too: what goes is at the front. */
void route_log_trim(struct route_log *log)
{
	while (log->first && !log->first->readers) {
		struct route_batch *b = log->first;

		log->first = b->next;
		log->changes -= b->n;
		route_batch_free(b);
	}
	if (!log->first)
		log->last = NULL;
}

/* --- Readers ---------------------------------------------------------------------------------- */

void route_reader_follow(struct route_reader *reader, struct route_batch *b)
{
	b->readers++;
	if (!reader->batch)
		*reader = (struct route_reader){b, 0};
}

const struct route_change *route_reader_next(
	struct route_log *log, struct route_reader *reader, const struct route_lead **lead)
{
	const struct route_change *change;

	if (reader->batch && reader->at == reader->batch->n) {
		reader->batch->readers--;
		*reader = (struct route_reader){reader->batch->next, 0};
		route_log_trim(log);
	}
	if (!reader->batch)
		return NULL;
	change = &reader->batch->change[reader->at++];
	*lead = &reader->batch->lead[change->lead];
	return change;
}

void route_reader_leave(struct route_log *log, struct route_reader *reader)
{
	for (struct route_batch *b = reader->batch; b; b = b->next)
		b->readers--;
	*reader = (struct route_reader){0};
	route_log_trim(log);
}
