/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the router tells: JSON built from the NICs' own counters, which it reads from device memory.
 *
 * One request {"show": WHAT} (route: with "to": ADDRESS, too) and one answer a connection; an object, {"error": TEXT} if there
 * is nothing to show.
 */
#include "router/router.h"

#include "ipc/unix_address.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define REQUEST_BYTES 4096
#define SILENT        "not answering"

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

static const char *method_text(unsigned method)
{
	return method == P2PNIC_METHOD_WRITE ? "wr" : method == P2PNIC_METHOD_READ ? "rd" : "bn";
}

static json_t *drops(const struct p2pnic_counters *c)
{
	json_t *o = json_object();

	for (unsigned k = 0; k < P2PNIC_DROP_COUNT; k++)
		if (driver_nic_count(&c->dropped[k]))
			json_object_set_new(o, drop_name[k], number(&c->dropped[k]));
	return o;
}

void router_ask_anew(struct router *r)
{
	for (unsigned p = 0; p < r->processes; p++)
		r->process[p].silent = false;
}

bool router_nic_answers(struct router *r, unsigned k)
{
	struct router_nic *nic = &r->nic[k];
	unsigned patience_ms = PORT_STATE_PATIENCE_MS;

	for (unsigned p = 0; p < r->processes; p++)
		if (r->process[p].silent)
			patience_ms = PORT_STATE_PATIENCE_MS / 5;
	if (nic->driver.device && !nic->process->silent)
		nic->process->silent = !port_state_answers(&nic->driver, patience_ms);
	return nic->driver.device && !nic->process->silent;
}

static const char *state_of(struct router *r, unsigned k)
{
	return !r->nic[k].driver.device                      ? "down"
	       : !router_nic_answers(r, k)                   ? SILENT
	       : !table_in_step(r->table, &r->nic[k].driver) ? "old table"
							     : "forwarding";
}

static double engine_cpu(const struct router_nic *nic)
{
	char thread[16]; /* as engine_new names it, cut to what the kernel keeps */

	if (!nic->process->process.pid)
		return 0;
	snprintf(thread, sizeof(thread), "engine-%.8s", nic->engine);
	return process_cpu(nic->process->process.pid, thread);
}

static json_t *show_nic(struct router *r, unsigned k)
{
	const struct config_nic *n = &r->config->nics[k];
	const struct router_nic *nic = &r->nic[k];
	char mac[ADDRESS_TEXT_BYTES];
	json_t *addresses = json_array();
	json_t *o = json_pack("{s:s, s:i, s:s, s:s, s:s, s:s, s:i, s:f, s:i, s:s, s:i, s:i, s:i}",
		"name", n->name, "index", (int)k, "state", state_of(r, k), "method",
		method_text(r->fabric.method), "engine", nic->engine, "process", nic->process->name,
		"pid", (int)nic->process->process.pid, "engine_cpu_seconds", engine_cpu(nic),
		"restarts", (int)nic->restarts, "mac", mac_text(r->mac[k], mac), "mtu",
		(int)CONFIG_DEFAULT(n->mtu, 1500), "packet_memory_bytes",
		(int)nic->driver.bar4_bytes, "table_memory_bytes", (int)nic->driver.bar2_bytes);

	for (unsigned a = 0; a < n->addresses_count; a++)
		json_array_append_new(addresses, json_string(n->addresses[a]));
	json_object_set_new(o, "addresses", addresses);
	return o;
}

static json_t *show_port(struct router *r, unsigned k)
{
	const struct config_nic *n = &r->config->nics[k];
	struct driver_nic *d = &r->nic[k].driver;
	const struct p2pnic_counters *c = d->counters;
	const char *state = state_of(r, k);
	json_t *o = json_pack("{s:s, s:s, s:s, s:s}", "nic", n->name, "type", n->port.type,
		"target", n->port.target, "state", state);
	struct port_state port;

	if (!d->device)
		return o;
	/* Counters are memory: they can be read of one that does not answer. */
	if (strcmp(state, SILENT) != 0 && port_state_read(d, &port) == 0) {
		json_object_set_new(o, "mode", json_string(port.mode));
		json_object_set_new(o, "link", json_boolean(port.link));
		json_object_set_new(o, "speed_mbps", json_integer(port.speed_mbps));
		if (*port.fault)
			json_object_set_new(o, "fault", json_string(port.fault));
	}
	json_object_set_new(o, "received", traffic(&c->received));
	json_object_set_new(o, "sent", traffic(&c->sent));
	json_object_set_new(o, "missed", number(&c->port_missed));
	return o;
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
	json_object_set_new(o, "originated", traffic(&c->originated));
	json_object_set_new(o, "injected", traffic(&c->injected));
	json_object_set_new(o, "sent", traffic(&c->sent));
	json_object_set_new(o, "to_rings",
		json_pack("{s:I, s:I}", "packets", (json_int_t)to, "bytes", (json_int_t)to_bytes));
	json_object_set_new(o, "punted", traffic(&c->punted));
	json_object_set_new(o, "held", number(&c->held));
	json_object_set_new(o, "dropped", drops(c));
	json_object_set_new(o, "missed", number(&c->port_missed));
	json_object_set_new(o, "dma_faults", number(&c->dma_faults));
	json_object_set_new(o, "bad_words", number(&c->bad_words));
	json_object_set_new(o, "stale_words", number(&c->stale_words));
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
	json_t *rows = json_array();

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
		method_text(r->fabric.method), "nics", (int)r->config->nics_count, "forwarding",
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

	router_ask_anew(r);
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
					   : NULL;
}

/* --- The socket ---------------------------------------------------------------------------------- */

int api_listen(const char *path)
{
	struct sockaddr_un address;
	int fd, error = unix_address(&address, path);

	if (error)
		return error;
	unlink(path); /* the runtime directory is locked: nobody else serves it */
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	mode_t mask = umask(0117);
	error = bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 16) < 0
			? -errno
			: 0;

	umask(mask);
	if (error) {
		close(fd);
		return error;
	}
	return fd;
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* How long one client may keep the router from other things, however it goes about it: a second for all waits
 * together, and what a reader of 64 MiB a second needs. */
#define PATIENCE_NS       1000000000ull
#define PATIENCE_NS_CHUNK 1000000ull

struct client {
	int fd;
	uint64_t patience_ns; /* what is left; 0: it is let go */
	size_t used;
	char text[1 << 16];
};

static void waited(struct client *c, uint64_t since)
{
	uint64_t ns = now_ns() - since;

	c->patience_ns -= ns < c->patience_ns ? ns : c->patience_ns;
}

static void read_request(struct client *c, char *request)
{
	size_t used = 0;

	while (c->patience_ns && used < REQUEST_BYTES - 1 && !memchr(request, '\n', used)) {
		uint64_t start = now_ns();
		ssize_t n = read(c->fd, request + used, REQUEST_BYTES - 1 - used);

		if (n == 0 || (n < 0 && errno != EAGAIN))
			break;
		waited(c, start);
		used += n > 0 ? (size_t)n : 0;
	}
	request[used] = 0;
}

static void flush(struct client *c)
{
	for (size_t sent = 0; c->patience_ns && sent < c->used;) {
		uint64_t start = now_ns();
		ssize_t n = send(c->fd, c->text + sent, c->used - sent, MSG_NOSIGNAL);

		waited(c, start);
		if (n < 0 && errno != EAGAIN)
			c->patience_ns = 0;
		sent += n > 0 ? (size_t)n : 0;
	}
	if (c->patience_ns)
		c->patience_ns += PATIENCE_NS_CHUNK;
	c->used = 0;
}

static void put(struct client *c, const char *text)
{
	for (size_t left = strlen(text); left && c->patience_ns;) {
		size_t n = sizeof(c->text) - c->used;

		n = n < left ? n : left;
		memcpy(c->text + c->used, text, n);
		c->used += n;
		text += n;
		left -= n;
		if (c->used == sizeof(c->text))
			flush(c);
	}
}

static void put_route(struct client *c, const struct router *r, const struct route *route)
{
	static const char *const kind[] = {
		"none", "forward", "local", "glean", "blackhole", "unreachable", "prohibit"};
	const struct prefix prefix = {{route->prefix, route->family}, route->length};
	char row[512], text[ADDRESS_TEXT_BYTES], more[64] = "";
	unsigned members;
	const struct p2pnic_adjacency *a =
		next_hops_lead(table_next_hops(r->table), route->next_hop, &members);

	snprintf(row, sizeof(row), "{\"prefix\":\"%s\",\"source\":\"%s\",\"kind\":\"%s\"",
		prefix_text(&prefix, text), route->source, kind[a->kind]);
	put(c, row);
	if (a->kind == P2PNIC_ADJACENCY_FORWARD) {
		snprintf(row, sizeof(row), ",\"nic\":\"%s\",\"mac\":\"%s\"",
			r->config->nics[a->egress].name, mac_text(a->destination, text));
		put(c, row);
	}
	if (members > 1)
		snprintf(more, sizeof(more), ",\"next_hops\":%u", members);
	put(c, more);
	put(c, "}");
}

/* Text as it goes, no tree of it: there may be a million. Nothing in it needs escapes. `to`: only the one that
 * an address takes. */
static void put_routes(struct client *c, const struct router *r, const struct address *to)
{
	const struct routes *routes = table_routes(r->table);
	const struct route *match = to ? routes_longest(routes, to) : NULL;

	put(c, "{\"route\":[");
	if (match)
		put_route(c, r, match);
	for (size_t k = 0; !to && k < routes->n && c->patience_ns; k++) {
		put(c, k ? "," : "");
		put_route(c, r, &routes->route[k]);
	}
	put(c, "]}");
}

static void put_answer(struct client *c, struct router *r, const char *request)
{
	json_error_t error;
	json_t *question = json_loads(request, 0, &error), *result = NULL;
	const char *what = json_string_value(json_object_get(question, "show"));
	const char *to = json_string_value(json_object_get(question, "to"));
	struct address address;
	char *text;

	if (to && !address_parse(to, &address)) {
		result = json_pack("{s:s+}", "error", "not an address: ", to);
	} else if (what && !strcmp(what, "route")) {
		put_routes(c, r, to ? &address : NULL);
	} else {
		result = what ? router_show(r, what) : NULL;
		if (result)
			result = json_pack("{s:o}", what, result);
		else if (!question)
			result = json_pack("{s:s}", "error", error.text);
		else
			result = json_pack("{s:s+}", "error", "nothing to show by the name of ",
				what ? what : "(none)");
	}
	if (result) {
		text = json_dumps(result, JSON_COMPACT);
		put(c, text ? text : "{}");
		free(text);
	}
	flush(c);
	json_decref(result);
	json_decref(question);
}

/* A client that is slow to ask or to read is dropped, not waited for. */
void api_accept(struct router *r)
{
	static struct client client; /* one at a time */
	const struct timeval patience = {.tv_usec = 100000};
	char request[REQUEST_BYTES];
	int fd = accept4(r->listener, NULL, NULL, SOCK_CLOEXEC);

	if (fd < 0)
		return;
	client = (struct client){.fd = fd, .patience_ns = PATIENCE_NS};
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	read_request(&client, request);
	if (*request)
		put_answer(&client, r, request);
	close(fd);
}
