/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/top_sample.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const char *const drop_name[] = {
#define NAME(symbol, name, meaning) name,
	P2PNIC_DROP_REASONS(NAME)
#undef NAME
};

static const char *const class_name[] = {
#define NAME(symbol, name, ring, meaning) name,
	P2PNIC_PUNT_CLASSES(NAME)
#undef NAME
};

const char *top_drop_name(unsigned reason)
{
	return drop_name[reason];
}

const char *top_class_name(unsigned class)
{
	return class_name[class];
}

/* --- From JSON -------------------------------------------------------------------------------- */

/* A dot leads into an object. */
static uint64_t number(const json_t *row, const char *key, const char *inner)
{
	const json_t *value = json_object_get(row, key);

	return (uint64_t)json_integer_value(inner ? json_object_get(value, inner) : value);
}

static void text(char *to, size_t room, const json_t *row, const char *key)
{
	const char *value = json_string_value(json_object_get(row, key));

	snprintf(to, room, "%s", value ? value : "");
}

static struct top_nic *find(struct top_sample *s, const json_t *row, const char *key)
{
	const char *name = json_string_value(json_object_get(row, key));

	for (unsigned k = 0; name && k < s->n; k++)
		if (!strcmp(s->nic[k].name, name))
			return &s->nic[k];
	return NULL;
}

static void read_counters(struct top_sample *s, const json_t *row)
{
	struct top_nic *n = find(s, row, "nic");

	if (!n)
		return;
	n->received = number(row, "received", "packets");
	n->received_bytes = number(row, "received", "bytes");
	n->sent = number(row, "sent", "packets");
	n->sent_bytes = number(row, "sent", "bytes");
	n->missed = number(row, "missed", NULL);
	n->held = number(row, "held", NULL);
	for (unsigned k = 0; k < P2PNIC_DROP_COUNT; k++)
		n->dropped[k] = number(row, "dropped", drop_name[k]);
}

static void read_ring(struct top_sample *s, const json_t *row)
{
	struct top_nic *from = find(s, row, "ingress"), *to = find(s, row, "egress");

	if (!from || !to)
		return;
	from->to[to - s->nic] = number(row, "packets", NULL);
	from->to_bytes[to - s->nic] = number(row, "bytes", NULL);
}

static void read_punt(struct top_sample *s, const json_t *row)
{
	const char *class = json_string_value(json_object_get(row, "class"));
	struct top_nic *n = find(s, row, "nic");

	for (unsigned k = 0; n && class && k < P2PNIC_PUNT_COUNT; k++)
		if (!strcmp(class, class_name[k])) {
			n->passed[k] = number(row, "passed", NULL);
			n->policed[k] = number(row, "policed", NULL);
		}
}

static void read_engine(struct top_sample *s, const json_t *row)
{
	const char *name = json_string_value(json_object_get(row, "engine"));

	for (unsigned k = 0; name && k < s->n; k++)
		if (!strcmp(s->nic[k].engine, name))
			s->nic[k].cpu_seconds =
				json_number_value(json_object_get(row, "cpu_seconds"));
}

static void read_nic(struct top_sample *s, const json_t *row)
{
	struct top_nic *n = &s->nic[s->n];

	if (s->n == P2PNIC_NICS_MAX)
		return;
	s->n++;
	text(n->name, sizeof(n->name), row, "name");
	text(n->state, sizeof(n->state), row, "state");
	text(n->engine, sizeof(n->engine), row, "engine");
	n->forwarding = json_is_true(json_object_get(row, "forwarding"));
	n->link = json_is_true(json_object_get(row, "link"));
	n->restarts = number(row, "restarts", NULL);
	n->cpu_seconds = -1;
}

bool top_sample_read(struct top_sample *s, const json_t *answer)
{
	static const struct {
		const char *key;
		void (*read)(struct top_sample *, const json_t *);
	} part[] = {{"nic", read_nic}, {"counter", read_counters}, {"ring", read_ring},
		{"punt", read_punt}, {"engine", read_engine}};
	const json_t *router = json_object_get(answer, "router"), *row;
	size_t index;

	memset(s, 0, sizeof(*s));
	s->time = json_number_value(json_object_get(answer, "time"));
	if (!(s->time > 0) || !router)
		return false;
	text(s->configuration, sizeof(s->configuration), router, "configuration");
	text(s->version, sizeof(s->version), answer, "version");
	s->pid = json_integer_value(json_object_get(router, "pid"));
	s->routes4 = number(router, "routes4", NULL);
	s->routes6 = number(router, "routes6", NULL);
	s->kernel = json_object_get(answer, "kernel");
	for (size_t k = 0; k < sizeof(part) / sizeof(*part); k++)
		json_array_foreach(json_object_get(answer, part[k].key), index, row) part[k].read(
			s, row);
	return true;
}

/* --- Rates ------------------------------------------------------------------------------------ */

double top_sample_seconds(const struct top_sample *now, const struct top_sample *before)
{
	if (!(before->time > 0) || now->pid != before->pid || now->n != before->n ||
		!(now->time > before->time))
		return 0;
	for (unsigned k = 0; k < now->n; k++)
		if (strcmp(now->nic[k].name, before->nic[k].name) != 0)
			return 0;
	return now->time - before->time;
}

double top_rate(uint64_t now, uint64_t before, double seconds)
{
	return seconds > 0 && now >= before ? (double)(now - before) / seconds : NAN;
}

/* JSON has no NAN. */
static json_t *rate(uint64_t now, uint64_t before, double seconds)
{
	const double r = top_rate(now, before, seconds);

	return isnan(r) ? json_null() : json_real(r);
}

static json_t *nic_row(const struct top_nic *now, const struct top_nic *before, double seconds)
{
	json_t *dropped = json_object();
	const double load =
		seconds > 0 && now->cpu_seconds >= before->cpu_seconds && before->cpu_seconds >= 0
			? (now->cpu_seconds - before->cpu_seconds) / seconds
			: NAN;

	for (unsigned k = 0; k < P2PNIC_DROP_COUNT; k++)
		if (now->dropped[k])
			json_object_set_new(dropped, drop_name[k],
				rate(now->dropped[k], before->dropped[k], seconds));
	return json_pack("{s:s, s:s, s:b, s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:s, s:o}",
		"name", now->name, "state", now->state, "link", now->link, "restarts",
		(json_int_t)now->restarts, "held", (json_int_t)now->held, "received_packets",
		rate(now->received, before->received, seconds), "received_bits",
		rate(now->received_bytes * 8, before->received_bytes * 8, seconds), "sent_packets",
		rate(now->sent, before->sent, seconds), "sent_bits",
		rate(now->sent_bytes * 8, before->sent_bytes * 8, seconds), "missed",
		rate(now->missed, before->missed, seconds), "dropped", dropped, "engine",
		now->engine, "engine_load", isnan(load) ? json_null() : json_real(load));
}

json_t *top_sample_json(const struct top_sample *now, const struct top_sample *before)
{
	const double seconds = top_sample_seconds(now, before);
	json_t *nics = json_array(), *rings = json_array(), *punts = json_array();

	for (unsigned i = 0; i < now->n; i++) {
		const struct top_nic *n = &now->nic[i], *b = &before->nic[i];

		json_array_append_new(nics, nic_row(n, b, seconds));
		for (unsigned e = 0; e < now->n; e++)
			json_array_append_new(rings,
				json_pack("{s:s, s:s, s:o, s:o}", "ingress", n->name, "egress",
					now->nic[e].name, "packets",
					rate(n->to[e], b->to[e], seconds), "bits",
					rate(n->to_bytes[e] * 8, b->to_bytes[e] * 8, seconds)));
		for (unsigned c = 0; now->kernel && c < P2PNIC_PUNT_COUNT; c++)
			json_array_append_new(
				punts, json_pack("{s:s, s:s, s:o, s:o}", "nic", n->name, "class",
					       class_name[c], "passed",
					       rate(n->passed[c], b->passed[c], seconds), "policed",
					       rate(n->policed[c], b->policed[c], seconds)));
	}
	return json_pack("{s:f, s:f, s:o, s:o, s:o}", "time", now->time, "seconds", seconds, "nic",
		nics, "ring", rings, "punt", punts);
}
