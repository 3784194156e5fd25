/* SPDX-License-Identifier: BSD-3-Clause */
#include "model/result.h"

#include <stdlib.h>
#include <string.h>

/* Busiest first; among equals by name, so that the order is one. */
static int busiest(const void *a, const void *b)
{
	const struct result_server *x = a, *y = b;

	if (x->utilisation != y->utilisation)
		return x->utilisation < y->utilisation ? 1 : -1;
	return strcmp(x->name, y->name);
}

static int shorter(const void *a, const void *b)
{
	const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

void result_finish(struct result *r, const struct sim *s)
{
	r->ps = s->now - s->measured_from;
	r->servers = 0;
	for (const struct server *v = s->servers; v && r->servers < RESULT_SERVERS;
		v = v->next_server) {
		struct result_server *one = &r->server[r->servers++];

		memcpy(one->name, v->name, sizeof(one->name));
		one->utilisation = server_utilisation(s, v);
		one->jobs = v->jobs;
	}
	qsort(r->server, r->servers, sizeof(r->server[0]), busiest);
	qsort(r->latency, r->samples, sizeof(r->latency[0]), shorter);
}

bool result_conserved(const struct result *r)
{
	uint64_t out = r->sent + r->held;

	for (unsigned k = 0; k < RESULT_DROP_COUNT; k++)
		out += r->drop[k];
	return r->in == out;
}

static uint64_t a_second(uint64_t count, uint64_t ps)
{
	return ps ? (uint64_t)((unsigned __int128)count * PS_PER_S / ps) : 0;
}

uint64_t result_packets(const struct result *r)
{
	return a_second(r->measured_sent, r->ps);
}

uint64_t result_bits(const struct result *r)
{
	return a_second(r->measured_bytes * 8, r->ps);
}

/* The smallest sample that so many of all do not exceed. */
uint64_t result_percentile(const struct result *r, unsigned millionths)
{
	const uint64_t rank = ((uint64_t)r->samples * millionths + 999999) / 1000000;

	return r->samples ? r->latency[rank ? rank - 1 : 0] : 0;
}

static void add(json_t *object, const char *key, uint64_t value)
{
	json_object_set_new(object, key, json_integer((json_int_t)value));
}

json_t *result_json(const struct result *r)
{
	json_t *all = json_object(), *drops = json_object(), *latency = json_object(),
	       *servers = json_array();
	static const char *const drop_names[] = {
#define RESULT_DROP(name, text) #name,
		RESULT_DROPS(RESULT_DROP)
#undef RESULT_DROP
	};

	add(all, "in", r->in);
	add(all, "sent", r->sent);
	add(all, "held", r->held);
	for (unsigned k = 0; k < RESULT_DROP_COUNT; k++)
		add(drops, drop_names[k], r->drop[k]);
	json_object_set_new(all, "drops", drops);
	add(all, "measured_ps", r->ps);
	add(all, "packets_per_s", result_packets(r));
	add(all, "bits_per_s", result_bits(r));
	add(all, "dma_accesses", r->measured_dma);
	add(latency, "samples", r->samples);
	add(latency, "p50", result_percentile(r, 500000));
	add(latency, "p90", result_percentile(r, 900000));
	add(latency, "p99", result_percentile(r, 990000));
	json_object_set_new(all, "latency_ps", latency);
	if (r->servers)
		json_object_set_new(all, "bottleneck", json_string(r->server[0].name));
	for (unsigned k = 0; k < r->servers; k++) {
		json_t *one = json_object();

		json_object_set_new(one, "name", json_string(r->server[k].name));
		add(one, "utilisation_ppm", r->server[k].utilisation);
		add(one, "jobs", r->server[k].jobs);
		json_array_append_new(servers, one);
	}
	json_object_set_new(all, "servers", servers);
	return all;
}
