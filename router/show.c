/* SPDX-License-Identifier: BSD-3-Clause */
#include "router/show.h"
#include "router/counters_json.h"
#include "router/interface.h"
#include "router/rib.h"
#include "router/router.h"
#include "router/show_host.h"
#include "router/show_kernel.h"
#include "router/show_metrics.h"

#include "driver/method.h"

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define SILENT     "not answering"
#define N(counter) driver_nic_count(&(counter))

static json_t *number(const _Atomic uint64_t *counter)
{
	return json_integer((json_int_t)driver_nic_count(counter));
}

static json_t *traffic(const struct p2pnic_traffic *t)
{
	return json_pack("{s:o, s:o}", "packets", number(&t->packets), "bytes", number(&t->bytes));
}

static const char *const drop_name[] = {
#define NAME(symbol, name, meaning) name,
	P2PNIC_DROP_REASONS(NAME)
#undef NAME
};

static const char *const drop_meaning[] = {
#define MEANING(symbol, name, meaning) meaning,
	P2PNIC_DROP_REASONS(MEANING)
#undef MEANING
};

static json_t *drops(const struct p2pnic_counters *c)
{
	json_t *o = json_object();

	for (unsigned reason = 0; reason < P2PNIC_DROP_COUNT; reason++) {
		const uint64_t n = COUNTERS_DROP(COUNTER_VALUE);

		if (n)
			json_object_set_new(o, drop_name[reason], json_integer((json_int_t)n));
	}
	return o;
}

static const char *state_of(const struct router *r, unsigned k)
{
	const struct router_nic *nic = &r->nic[k];

	return nic->silent                              ? SILENT
	       : nic->unit && nic->unit->leaving        ? "ending"
	       : nic->state == NIC_DOWN                 ? "down"
	       : nic->state != NIC_FORWARDING           ? "starting"
	       : !table_in_step(r->table, &nic->driver) ? "old table"
							: "forwarding";
}

double show_engine_cpu(const struct router_nic *nic)
{
	char thread[16]; /* as engine_new names it, cut to what the kernel keeps */

	if (!nic->unit || !nic->unit->process.pid)
		return 0;
	snprintf(thread, sizeof(thread), "engine-%.8s", nic->engine);
	return process_cpu(nic->unit->process.pid, thread);
}

static json_t *show_texts(char **text, unsigned n)
{
	json_t *list = json_array();

	for (unsigned k = 0; k < n; k++)
		json_array_append_new(list, json_string(text[k]));
	return list;
}

void show_nic_state(const struct router *r, unsigned k, json_t *o)
{
	const struct router_nic *nic = &r->nic[k];
	const struct config_nic *config = &r->config->nics[k];
	const bool on = !strcmp(state_of(r, k), "forwarding");

	json_object_set_new(o, "state", json_string(state_of(r, k)));
	COUNTERS_STATE(COUNTER_PUT)
}

static json_t *show_nic(struct router *r, unsigned k)
{
	const struct config_nic *n = &r->config->nics[k];
	const struct router_nic *nic = &r->nic[k];
	char mac[ADDRESS_TEXT_BYTES];
	json_t *vlans = json_array();
	json_t *o = json_pack("{s:s, s:i, s:s, s:s, s:i, s:s, s:s, s:i, s:f, s:s}", "name", n->name,
		"index", (int)k, "method", r->config->router->method, "check",
		check_name(r->fabric.check), "buffer_bytes", (int)r->fabric.buffer_bytes, "engine",
		nic->engine, "process", nic->unit ? nic->unit->name : "", "pid",
		nic->unit ? (int)nic->unit->process.pid : 0, "engine_cpu_seconds",
		show_engine_cpu(nic), "mac", mac_text(r->mac[k], mac));

	show_nic_state(r, k, o);
	json_object_set_new(o, "addresses", show_texts(n->addresses, n->addresses_count));
	for (unsigned v = 0; v < n->vlans_count; v++)
		json_array_append_new(vlans,
			json_pack("{s:s, s:i, s:i, s:o}", "name", n->vlans[v].name, "id",
				(int)*n->vlans[v].id, "mtu", (int)*n->vlans[v].mtu, "addresses",
				show_texts(n->vlans[v].addresses, n->vlans[v].addresses_count)));
	if (n->vlans_count)
		json_object_set(o, "vlans", vlans);
	json_decref(vlans);
	return o;
}

static json_t *show_port(struct router *r, unsigned k)
{
	const struct config_nic *n = &r->config->nics[k];
	struct driver_nic *d = &r->nic[k].driver;
	const struct p2pnic_counters *c = d->counters;
	const char *state = state_of(r, k);
	json_t *o = json_pack("{s:s, s:s, s:s, s:s}", "nic", n->name, "type", config_nic_type(n),
		"target", config_nic_target(n), "state", state);
	char mode[P2PNIC_DESCRIPTION_BYTES];
	struct port_state port;
	uint32_t speed_mbps;

	if (!d->device)
		return o;
	/* Counters are memory: they can be read of one that does not answer. */
	if (strcmp(state, SILENT) != 0 && port_state_read(d, &port) == 0 &&
		driver_nic_read(d, P2PNIC_REG_SPEED, &speed_mbps) == 0 &&
		port_mode_read(d, mode) == 0) {
		json_object_set_new(o, "mode", json_string(mode));
		json_object_set_new(o, "link", json_boolean(port.link));
		json_object_set_new(o, "speed_mbps", json_integer(speed_mbps));
		if (*port.fault)
			json_object_set_new(o, "fault", json_string(port.fault));
	}
	json_object_set_new(o, "received", traffic(&c->received));
	json_object_set_new(o, "sent", traffic(&c->sent));
	json_object_set_new(o, "missed", number(&c->port_missed));
	return o;
}

/* Either side may have; the ring is dead then. */
static bool given_up(const struct router *r, unsigned a, unsigned b)
{
	return (driver_nic_count(&r->nic[a].driver.counters->given_up) >> b |
		       driver_nic_count(&r->nic[b].driver.counters->given_up) >> a) &
	       1;
}

json_t *show_ring(const struct router *r, unsigned ingress, unsigned egress)
{
	const struct p2pnic_traffic *out = &r->nic[ingress].driver.counters->to_ring[egress];
	const struct p2pnic_traffic *in = &r->nic[egress].driver.counters->from_ring[ingress];
	json_t *o = json_pack("{s:s, s:s}", "ingress", r->config->nics[ingress].name, "egress",
		r->config->nics[egress].name);

	COUNTERS_RING(COUNTER_PUT)
	return o;
}

/* The rings out of this NIC, one row for each egress. */
static void show_rings(struct router *r, unsigned k, json_t *rows)
{
	const struct driver_nic *d = &r->nic[k].driver;

	for (unsigned e = 0; d->device && e < r->config->nics_count; e++) {
		const struct p2pnic_peer *entry =
			(const struct p2pnic_peer *)(d->bar2 + P2PNIC_BAR2_PEERS) + e;

		if (!r->nic[e].driver.device || !config_nic_used(&r->config->nics[e]))
			continue;
		json_t *row = show_ring(r, k, e);

		json_object_set_new(row, "slots", json_integer(entry->out_slots));
		json_object_set_new(row, "batch", json_integer(entry->batch));
		json_object_set_new(row, "epoch", json_integer(entry->epoch));
		json_object_set_new(
			row, "check", json_string(check_name(P2PNIC_PEER_CHECKED(entry->flags))));
		json_object_set_new(row, "given_up", json_boolean(given_up(r, k, e)));
		json_array_append_new(rows, row);
	}
}

json_t *show_counter(struct router *r, unsigned k)
{
	const struct driver_nic *d = &r->nic[k].driver;
	const struct p2pnic_counters *c = d->counters;
	struct {
		uint64_t to_packets, to_bytes, from_packets, from_bytes;
	} sum = {0};
	json_t *o = json_pack("{s:s}", "nic", r->config->nics[k].name);

	if (!d->device)
		return o;
	for (unsigned e = 0; e < P2PNIC_NICS_MAX; e++) {
		sum.to_packets += N(c->to_ring[e].packets);
		sum.to_bytes += N(c->to_ring[e].bytes);
		sum.from_packets += N(c->from_ring[e].packets);
		sum.from_bytes += N(c->from_ring[e].bytes);
	}
	COUNTERS_NIC(COUNTER_PUT)
	json_object_set_new(o, "dropped", drops(c));
	return o;
}

static json_t *show_drops(struct router *r)
{
	json_t *rows = json_array();

	for (unsigned reason = 0; reason < P2PNIC_DROP_COUNT; reason++) {
		uint64_t total = 0;
		json_t *by_nic = json_object();

		for (unsigned k = 0; k < r->config->nics_count; k++) {
			const struct driver_nic *d = &r->nic[k].driver;
			const struct p2pnic_counters *c = d->counters;
			const uint64_t n = d->device ? COUNTERS_DROP(COUNTER_VALUE) : 0;

			total += n;
			if (n)
				json_object_set_new(by_nic, r->config->nics[k].name,
					json_integer((json_int_t)n));
		}
		json_array_append_new(
			rows, json_pack("{s:s, s:I, s:o, s:s}", "reason", drop_name[reason],
				      "packets", (json_int_t)total, "nics", by_nic, "meaning",
				      drop_meaning[reason]));
	}
	return rows;
}

static json_t *show_neighbors(struct router *r)
{
	json_t *rows;

	if (r->kernel)
		return show_kernel_neighbors(r);
	rows = json_array();
	for (unsigned k = 0; k < r->config->neighbors_count; k++) {
		const struct config_neighbor *n = &r->config->neighbors[k];

		json_array_append_new(
			rows, json_pack("{s:s, s:s, s:s, s:s}", "nic", n->nic, "address",
				      n->address, "mac", n->mac, "state", "permanent"));
	}
	return rows;
}

/* The driver's own share, and what of the packets it touched: only those punted or injected. */
json_t *show_router(const struct router *r)
{
	static const struct route first6 = {.family = 6};
	const struct table_counts *table = table_counts(r->table);
	const struct routes *routes = table_routes(r->table);
	/* Ascending by family; ::/0 itself is at that place or behind. */
	const size_t behind = routes_behind(routes, &first6);
	const size_t routes4 =
		behind - (behind && route_order(&routes->route[behind - 1], &first6) >= 0);
	const size_t routes6 = routes->n - routes4;
	json_t *o = json_pack("{s:i, s:s, s:s}", "pid", (int)getpid(), "configuration",
		r->config->path, "method", r->config->router->method);
	struct rusage use;
	uint64_t through = 0;
	unsigned up = 0;
	double seconds;

	getrusage(RUSAGE_SELF, &use);
	seconds = (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) +
		  (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec) * 1e-6;
	for (unsigned k = 0; k < r->config->nics_count; k++) {
		const struct driver_nic *d = &r->nic[k].driver;

		if (!d->device)
			continue;
		up++;
		through += N(d->counters->punted.packets) + N(d->counters->injected.packets);
	}
	COUNTERS_ROUTER(COUNTER_PUT)
	return o;
}

json_t *router_show(struct router *r, const char *what)
{
	json_t *rows = json_array();
	json_t *(*row)(struct router *, unsigned) = !strcmp(what, "nic")       ? show_nic
						    : !strcmp(what, "port")    ? show_port
						    : !strcmp(what, "counter") ? show_counter
									       : NULL;

	for (unsigned k = 0; k < r->config->nics_count; k++) {
		if (!config_nic_used(&r->config->nics[k]))
			continue;
		if (row)
			json_array_append_new(rows, row(r, k));
		else if (!strcmp(what, "ring"))
			show_rings(r, k, rows);
	}
	if (row || !strcmp(what, "ring"))
		return rows;
	json_decref(rows);
	return !strcmp(what, "drop")       ? show_drops(r)
	       : !strcmp(what, "neighbor") ? show_neighbors(r)
	       : !strcmp(what, "router")   ? show_router(r)
	       : !strcmp(what, "punt")     ? show_punt(r)
	       : !strcmp(what, "tap")      ? show_tap(r)
	       : !strcmp(what, "kernel")   ? show_kernel(r)
	       : !strcmp(what, "metrics")  ? show_metrics(r)
	       : !strcmp(what, "doctor")   ? show_doctor(r, true)
					   : NULL;
}

static const char *const kind_name[] = {"none", "forward", "local", "glean", "blackhole",
	"unreachable", "prohibit", "broadcast", "kernel", "forward"};
_Static_assert(sizeof(kind_name) / sizeof(*kind_name) == P2PNIC_ADJACENCY_FORWARD_TAGGED + 1,
	"a name for each kind");

unsigned show_lead(const struct router *r, unsigned next_hop, char *text, size_t room)
{
	unsigned members;
	const struct p2pnic_adjacency *a =
		next_hops_lead(table_next_hops(r->table), next_hop, &members);
	const struct p2pnic_adjacency *reserve =
		next_hops_reserve(table_next_hops(r->table), next_hop);
	char mac[ADDRESS_TEXT_BYTES], name[INTERFACE_NAME_BYTES], backup[INTERFACE_NAME_BYTES];
	const bool forward = adjacency_forwards(a);

	return (unsigned)snprintf(text, room, "%s%s%s%s%s%s%s%s", kind_name[a->kind],
		forward ? " " : "",
		forward ? interface_name(r->config->nics[a->egress].name, a->encapsulation, name)
			: "",
		forward ? " " : "", forward ? mac_text(a->destination, mac) : "",
		members > 1 ? ", and others" : "", reserve ? ", backup " : "",
		reserve ? interface_name(r->config->nics[reserve->egress].name,
				  reserve->encapsulation, backup)
			: "");
}

unsigned show_route(const struct router *r, const struct route *route, char row[SHOW_ROUTE_BYTES])
{
	const struct prefix prefix = {{route->prefix, route->family}, route->length};
	char text[ADDRESS_TEXT_BYTES], name[INTERFACE_NAME_BYTES];
	unsigned members;
	const struct p2pnic_adjacency *a =
		next_hops_lead(table_next_hops(r->table), route->next_hop, &members);
	const struct p2pnic_adjacency *reserve =
		next_hops_reserve(table_next_hops(r->table), route->next_hop);
	int n = snprintf(row, SHOW_ROUTE_BYTES,
		"{\"prefix\":\"%s\",\"source\":\"%s\",\"kind\":\"%s\"", prefix_text(&prefix, text),
		rib_source_name(route->source), kind_name[a->kind]);

	if (adjacency_forwards(a))
		n += snprintf(row + n, SHOW_ROUTE_BYTES - (size_t)n,
			",\"nic\":\"%s\",\"mac\":\"%s\"",
			interface_name(r->config->nics[a->egress].name, a->encapsulation, name),
			mac_text(a->destination, text));
	if (members > 1)
		n += snprintf(row + n, SHOW_ROUTE_BYTES - (size_t)n, ",\"next_hops\":%u", members);
	if (reserve)
		n += snprintf(row + n, SHOW_ROUTE_BYTES - (size_t)n,
			",\"backup\":{\"nic\":\"%s\",\"mac\":\"%s\"}",
			interface_name(r->config->nics[reserve->egress].name,
				reserve->encapsulation, name),
			mac_text(reserve->destination, text));
	n += snprintf(row + n, SHOW_ROUTE_BYTES - (size_t)n, "}");
	return (unsigned)n;
}
