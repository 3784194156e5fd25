/* SPDX-License-Identifier: BSD-3-Clause */
#include "router/show.h"
#include "router/interface.h"
#include "router/rib.h"
#include "router/router.h"
#include "router/show_host.h"
#include "router/show_kernel.h"

#include "driver/method.h"

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define SILENT "not answering"

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

	for (unsigned k = 0; k < P2PNIC_DROP_COUNT; k++)
		if (driver_nic_count(&c->dropped[k]))
			json_object_set_new(o, drop_name[k], number(&c->dropped[k]));
	return o;
}

static const char *state_of(const struct router *r, unsigned k)
{
	const struct router_nic *nic = &r->nic[k];

	return nic->silent                              ? SILENT
	       : nic->state == NIC_DOWN                 ? "down"
	       : nic->state != NIC_FORWARDING           ? "starting"
	       : !table_in_step(r->table, &nic->driver) ? "old table"
							: "forwarding";
}

static double engine_cpu(const struct router_nic *nic)
{
	char thread[16]; /* as engine_new names it, cut to what the kernel keeps */

	if (!nic->unit->process.pid)
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

static json_t *show_nic(struct router *r, unsigned k)
{
	const struct config_nic *n = &r->config->nics[k];
	const struct router_nic *nic = &r->nic[k];
	char mac[ADDRESS_TEXT_BYTES];
	json_t *vlans = json_array();
	json_t *o = json_pack(
		"{s:s, s:i, s:s, s:s, s:s, s:i, s:s, s:s, s:i, s:f, s:i, s:s, s:i, s:i, s:i}",
		"name", n->name, "index", (int)k, "state", state_of(r, k), "method",
		method_name(r->fabric.method), "check", check_name(r->fabric.check), "buffer_bytes",
		(int)r->fabric.buffer_bytes, "engine", nic->engine, "process", nic->unit->name,
		"pid", (int)nic->unit->process.pid, "engine_cpu_seconds", engine_cpu(nic),
		"restarts", (int)nic->restarts, "mac", mac_text(r->mac[k], mac), "mtu",
		(int)*n->mtu, "packet_memory_bytes", (int)nic->driver.bar4_bytes,
		"table_memory_bytes", (int)nic->driver.bar2_bytes);

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

/* The rings out of this NIC, one row for each egress. */
static void show_rings(struct router *r, unsigned k, json_t *rows)
{
	const struct driver_nic *d = &r->nic[k].driver;

	for (unsigned e = 0; d->device && e < r->config->nics_count; e++) {
		const struct p2pnic_peer *entry =
			(const struct p2pnic_peer *)(d->bar2 + P2PNIC_BAR2_PEERS) + e;

		if (!r->nic[e].driver.device)
			continue;
		json_t *row = traffic(&d->counters->to_ring[e]);

		json_object_set_new(row, "ingress", json_string(r->config->nics[k].name));
		json_object_set_new(row, "egress", json_string(r->config->nics[e].name));
		json_object_set_new(row, "slots", json_integer(entry->out_slots));
		json_object_set_new(row, "batch", json_integer(entry->batch));
		json_object_set_new(row, "epoch", json_integer(entry->epoch));
		json_object_set_new(
			row, "check", json_string(check_name(P2PNIC_PEER_CHECKED(entry->flags))));
		json_object_set_new(row, "given_up", json_boolean(given_up(r, k, e)));
		json_object_set_new(
			row, "taken", traffic(&r->nic[e].driver.counters->from_ring[k]));
		json_array_append_new(rows, row);
	}
}

static json_t *show_counter(struct router *r, unsigned k)
{
	const struct driver_nic *d = &r->nic[k].driver;
	const struct p2pnic_counters *c = d->counters;
	uint64_t to = 0, from = 0, to_bytes = 0, from_bytes = 0;
	json_t *o = json_pack("{s:s}", "nic", r->config->nics[k].name);

	if (!d->device)
		return o;
	for (unsigned e = 0; e < P2PNIC_NICS_MAX; e++) {
		to += driver_nic_count(&c->to_ring[e].packets);
		to_bytes += driver_nic_count(&c->to_ring[e].bytes);
		from += driver_nic_count(&c->from_ring[e].packets);
		from_bytes += driver_nic_count(&c->from_ring[e].bytes);
	}
	json_object_set_new(o, "received", traffic(&c->received));
	json_object_set_new(o, "from_rings",
		json_pack("{s:I, s:I}", "packets", (json_int_t)from, "bytes",
			(json_int_t)from_bytes));
	json_object_set_new(o, "injected", traffic(&c->injected));
	json_object_set_new(o, "sent", traffic(&c->sent));
	json_object_set_new(o, "to_rings",
		json_pack("{s:I, s:I}", "packets", (json_int_t)to, "bytes", (json_int_t)to_bytes));
	json_object_set_new(o, "punted", traffic(&c->punted));
	json_object_set_new(o, "held", number(&c->held));
	json_object_set_new(o, "dropped", drops(c));
	json_object_set_new(o, "missed", number(&c->port_missed));
	json_object_set_new(o, "dma_faults", number(&c->dma_faults));
	json_object_set_new(o, "dma_lost", number(&c->dma_lost));
	json_object_set_new(o, "bad_words", number(&c->bad_words));
	json_object_set_new(o, "doorbells", number(&c->doorbells));
	json_object_set_new(o, "sleeps", number(&c->sleeps));
	json_object_set_new(o, "unaccounted", json_integer(driver_nic_unaccounted(d)));
	return o;
}

static json_t *show_drops(struct router *r)
{
	json_t *rows = json_array();

	for (unsigned k = 0; k < P2PNIC_DROP_COUNT; k++) {
		uint64_t total = 0;
		json_t *by_nic = json_object();

		for (unsigned n = 0; n < r->config->nics_count; n++) {
			const struct driver_nic *d = &r->nic[n].driver;
			uint64_t dropped =
				d->device ? driver_nic_count(&d->counters->dropped[k]) : 0;

			total += dropped;
			if (dropped)
				json_object_set_new(by_nic, r->config->nics[n].name,
					json_integer((json_int_t)dropped));
		}
		json_array_append_new(rows,
			json_pack("{s:s, s:I, s:o, s:s}", "reason", drop_name[k], "packets",
				(json_int_t)total, "nics", by_nic, "meaning", drop_meaning[k]));
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
static json_t *show_router(struct router *r)
{
	const struct table_counts *table = table_counts(r->table);
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
		through += driver_nic_count(&d->counters->punted.packets) +
			   driver_nic_count(&d->counters->injected.packets);
	}
	return json_pack("{s:i, s:s, s:s, s:i, s:i, s:f, s:I, s:I, s:I, s:I, s:I, s:I, s:f}", "pid",
		(int)getpid(), "configuration", r->config->path, "method",
		method_name(r->fabric.method), "nics", (int)r->config->nics_count, "forwarding",
		(int)up, "driver_cpu_seconds", seconds, "data_packets_through_driver",
		(json_int_t)through, "fib4_image_bytes", (json_int_t)table_image_bytes(r->table, 4),
		"fib6_image_bytes", (json_int_t)table_image_bytes(r->table, 6), "table_loads",
		(json_int_t)table->loads, "table_patches", (json_int_t)table->patches,
		"last_patch_bytes", (json_int_t)table->last_patch_bytes, "last_patch_us",
		(double)table->last_patch_ns * 1e-3);
}

json_t *router_show(struct router *r, const char *what)
{
	json_t *rows = json_array();
	json_t *(*row)(struct router *, unsigned) = !strcmp(what, "nic")       ? show_nic
						    : !strcmp(what, "port")    ? show_port
						    : !strcmp(what, "counter") ? show_counter
									       : NULL;

	for (unsigned k = 0; k < r->config->nics_count; k++) {
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
