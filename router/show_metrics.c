/* SPDX-License-Identifier: BSD-3-Clause */
#include "router/show_metrics.h"
#include "router/census.h"
#include "router/counters_json.h"
#include "router/router.h"
#include "router/show.h"
#include "router/show_host.h"
#include "router/show_kernel.h"

#include "ipc/clock.h"

#include <string.h>

/* Of 64 NICs there are 4096 rings, most of them idle. */
static bool ring_is_used(const struct router *r, unsigned i, unsigned e)
{
	const struct driver_nic *in = &r->nic[i].driver, *out = &r->nic[e].driver;

	return in->device && out->device &&
	       (driver_nic_count(&in->counters->to_ring[e].packets) ||
		       driver_nic_count(&out->counters->from_ring[i].packets));
}

static json_t *nic_rows(struct router *r, json_t *counter, json_t *ring)
{
	json_t *rows = json_array();

	for (unsigned k = 0; k < r->config->nics_count; k++) {
		if (!config_nic_used(&r->config->nics[k]))
			continue;
		json_t *row = json_pack(
			"{s:s, s:s}", "name", r->config->nics[k].name, "engine", r->nic[k].engine);

		show_nic_state(r, k, row);
		json_array_append_new(rows, row);
		json_array_append_new(counter, show_counter(r, k));
		for (unsigned e = 0; e < r->config->nics_count; e++)
			if (config_nic_used(&r->config->nics[e]) && ring_is_used(r, k, e))
				json_array_append_new(ring, show_ring(r, k, e));
	}
	return rows;
}

/* Each engine once, whatever the number of its NICs. */
static json_t *engine_rows(const struct router *r)
{
	json_t *rows = json_array();

	for (unsigned k = 0; k < r->config->nics_count; k++) {
		const struct router_nic *nic = &r->nic[k];
		bool first = nic->unit && nic->unit->process.pid != 0;

		for (unsigned before = 0; before < k && first; before++)
			first = !r->nic[before].unit ||
				strcmp(r->nic[before].engine, nic->engine) != 0;
		if (!first)
			continue;
		json_t *o =
			json_pack("{s:s, s:s}", "engine", nic->engine, "process", nic->unit->name);
		COUNTERS_ENGINE(COUNTER_PUT)
		json_array_append_new(rows, o);
	}
	return rows;
}

static json_t *route_rows(const struct census *census)
{
	json_t *rows = json_array();

	for (unsigned six = 0; six < 2; six++)
		for (unsigned source = 0; source <= RIB_KERNEL; source++) {
			const uint64_t n = census->routes[six][source];

			if (source == RIB_SOURCES)
				continue;
			json_t *o = json_pack("{s:s, s:s}", "family", six ? "ipv6" : "ipv4",
				"source", rib_source_name(source));

			COUNTERS_ROUTES(COUNTER_PUT)
			json_array_append_new(rows, o);
		}
	return rows;
}

/* Those without a name are one row. */
static json_t *protocol_rows(const struct census *census)
{
	json_t *rows = json_array();

	for (unsigned six = 0; six < 2; six++) {
		uint64_t others = 0;

		for (unsigned protocol = 0; protocol < 256; protocol++) {
			uint64_t n = census->protocol[six][protocol];
			const char *name = protocol_name((uint8_t)protocol);

			if (!strcmp(name, "other") && protocol < 255) {
				others += n;
				continue;
			}
			if (protocol == 255)
				n += others;
			if (!n)
				continue;
			json_t *o = json_pack(
				"{s:s, s:s}", "family", six ? "ipv6" : "ipv4", "protocol", name);
			COUNTERS_PROTOCOLS(COUNTER_PUT)
			json_array_append_new(rows, o);
		}
	}
	return rows;
}

static json_t *neighbor_states(const struct census *census)
{
	json_t *rows = json_array();

	for (unsigned state = 0; state < NEIGHBOR_STATES; state++) {
		const uint64_t n = census->neighbor[state];
		json_t *o = json_pack("{s:s}", "state", neighbor_state_name(state));

		COUNTERS_NEIGHBORS(COUNTER_PUT)
		json_array_append_new(rows, o);
	}
	return rows;
}

static json_t *times(const struct histogram *h)
{
	json_t *buckets = json_array();

	for (unsigned k = 0; k <= HISTOGRAM_BUCKETS; k++)
		json_array_append_new(buckets, json_integer((json_int_t)h->bucket[k]));
	return json_pack("{s:o, s:f}", "buckets", buckets, "sum", (double)h->sum_ns * 1e-9);
}

json_t *show_metrics(struct router *r)
{
	const struct census *census = census_last(r);
	json_t *counter = json_array(), *ring = json_array(), *all_times = json_object();
	json_t *o = json_pack(
		"{s:s, s:f}", "version", P2PNIC_VERSION_STRING, "time", clock_now_seconds());

	json_object_set_new(o, "nic", nic_rows(r, counter, ring));
	json_object_set_new(o, "counter", counter);
	json_object_set_new(o, "ring", ring);
	json_object_set_new(o, "engine", engine_rows(r));
	json_object_set_new(o, "punt", router_show(r, "punt"));
	json_object_set_new(o, "tap", router_show(r, "tap"));
	json_object_set_new(o, "router", show_router(r));
	if (r->kernel)
		json_object_set_new(o, "kernel", show_kernel_counts(r));
	if (census && r->kernel)
		json_object_set_new(o, "census", show_census_counts(census));
	if (census) {
		json_object_set_new(o, "routes", route_rows(census));
		json_object_set_new(o, "protocols", protocol_rows(census));
		json_object_set_new(o, "neighbors", neighbor_states(census));
	}
#define TIME_PUT(key, value, metric, help, read) json_object_set_new(all_times, key, times(value));
	COUNTERS_TIMES(TIME_PUT)
	json_object_set_new(o, "times", all_times);
	return o;
}
