/* SPDX-License-Identifier: BSD-3-Clause */
#include "router/show_host.h"
#include "router/counters_json.h"
#include "router/policers.h"
#include "router/router.h"

#include "punt/punt.h"

static const char *const class_name[] = {
#define NAME(symbol, name, ring, meaning) name,
	P2PNIC_PUNT_CLASSES(NAME)
#undef NAME
};

static const enum p2pnic_host_ring class_ring[] = {
#define RING(symbol, name, ring, meaning) P2PNIC_RING_##ring,
	P2PNIC_PUNT_CLASSES(RING)
#undef RING
};

static const char *const ring_name[P2PNIC_HOST_RINGS] = {
	"control", "neighbor", "exception", "sample"};

static json_t *punt_row(
	const struct router *r, unsigned k, unsigned class, const struct host_tally *t)
{
	const struct driver_nic *d = &r->nic[k].driver;
	const struct {
		uint64_t passed, policed;
	} p = {d->device ? driver_nic_count(&d->counters->punt[class].passed) : 0,
		d->device ? driver_nic_count(&d->counters->punt[class].policed) : 0};
	const struct p2pnic_policer limit =
		d->device ? policer_in_force(d, class) : policer_of(r->config, class);
	const uint64_t seen = p.passed + p.policed;
	json_t *o = json_pack("{s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:I}", "nic",
		r->config->nics[k].name, "class", class_name[class], "ring",
		ring_name[class_ring[class]], "rate", (json_int_t)limit.all.rate, "burst",
		(json_int_t)limit.all.burst, "source_rate", (json_int_t)limit.source.rate,
		"source_burst", (json_int_t)limit.source.burst, "seen", (json_int_t)seen);

	COUNTERS_PUNT(COUNTER_PUT)
	return o;
}

/* Rows are made from the first on; asking the punt process takes a message for each NIC. */
static const struct host_tally *tally_for(struct router *r, unsigned row, unsigned nic)
{
	static struct host_tally tally[P2PNIC_NICS_MAX];

	if (row == 0)
		host_faces_count(r, tally);
	return &tally[nic];
}

unsigned show_punt_rows(const struct router *r)
{
	return r->config->kernel ? r->config->nics_count * P2PNIC_PUNT_COUNT : 0;
}

json_t *show_punt(struct router *r, unsigned row)
{
	const unsigned k = row / P2PNIC_PUNT_COUNT;

	if (!config_nic_used(&r->config->nics[k]))
		return NULL;
	return punt_row(r, k, row % P2PNIC_PUNT_COUNT, tally_for(r, row, k));
}

static uint64_t sum(const uint64_t *of, unsigned n)
{
	uint64_t total = 0;

	for (unsigned k = 0; k < n; k++)
		total += of[k];
	return total;
}

static json_t *by_ring(const uint64_t count[P2PNIC_HOST_RINGS])
{
	json_t *o = json_object();

	for (unsigned k = 0; k < P2PNIC_HOST_RINGS; k++)
		json_object_set_new(o, ring_name[k], json_integer((json_int_t)count[k]));
	return o;
}

unsigned show_tap_rows(const struct router *r)
{
	return r->config->kernel ? r->config->nics_count : 0;
}

json_t *show_tap(struct router *r, unsigned k)
{
	const struct host_tally *t = tally_for(r, k, k);
	const struct punt_counts *c = &t->counts;
	json_t *o;

	if (!config_nic_used(&r->config->nics[k]))
		return NULL;
	o = json_pack("{s:s, s:b, s:b, s:I, s:I, s:o, s:o}", "nic", r->config->nics[k].name,
		"served", (t->flags & PUNT_RINGS) != 0, "carrier", (t->flags & PUNT_CARRIER) != 0,
		"delivered", (json_int_t)sum(c->passed, P2PNIC_PUNT_COUNT), "refused",
		(json_int_t)sum(c->refused, P2PNIC_PUNT_COUNT), "injected_by_ring",
		by_ring(c->sent), "full_by_ring", by_ring(c->full));
	COUNTERS_TAP(COUNTER_PUT)
	return o;
}
