/* SPDX-License-Identifier: BSD-3-Clause */
#include "router/plan.h"
#include "router/events.h"
#include "router/pci_function.h"
#include "router/router.h"
#include "router/soft_process.h"

#include "driver/method.h"
#include "ipc/secret.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Stands for a port's options where they are only compared: there may be a secret in them. FNV-1a,
 * 64 bits. */
static uint64_t fingerprint(const char *text)
{
	uint64_t hash = 0xcbf29ce484222325u;

	for (; *text; text++)
		hash = (hash ^ (uint8_t)*text) * 0x100000001b3u;
	return hash;
}

static const struct config_engine *engine_of(const struct config *c, const struct config_nic *n)
{
	for (unsigned k = 0; k < c->engines_count; k++)
		if (!strcmp(c->engines[k].name, n->engine))
			return &c->engines[k];
	return NULL;
}

static bool engine_shared(const struct config_engine *e)
{
	return *e->shared;
}

static struct nic_unit *unit_of(
	struct router *r, const char *name, const struct nic_backend *backend)
{
	struct nic_unit *u = r->unit;

	for (unsigned k = 0; k < r->units; k++)
		if (!strcmp(r->unit[k].name, name))
			return &r->unit[k];
	/* A unit has a NIC, so there are places. */
	while (*u->name)
		u++;
	if (u == r->unit + r->units)
		r->units++;
	*u = (struct nic_unit){.router = r, .backend = backend, .process.pidfd = -1};
	snprintf(u->name, sizeof(u->name), "%s", name);
	return u;
}

int plan_open(struct router *r)
{
	const struct config *c = r->config;

	r->fabric.method = method_of_nics(c->router->method_number);
	if (c->router->method_number == METHOD_HYBRID)
		r->fabric.lend_from = *c->router->lend_from;
	r->fabric.check = c->router->check_number;
	r->fabric.buffer_bytes = *c->router->buffer_bytes;
	r->fabric.host_slots = c->kernel ? *c->kernel->slots : 0;
	r->fabric.ring_slots = *c->router->ring_slots;
	r->fabric.batch = *c->router->batch;
	r->fabric.rx_buffers = *c->router->rx_buffers;
	if (r->fabric.method == P2PNIC_METHOD_BOUNCE) {
		int error = bounce_new(&r->fabric.bounce, *c->router->nics_max,
			r->fabric.ring_slots, r->fabric.buffer_bytes,
			c->router->bounce_core ? *c->router->bounce_core : -1);

		if (error)
			return router_fail(r, error, "bounce thread: %s", strerror(-error));
	}
	return 0;
}

int plan_nic(const struct router *r, const struct config *c, unsigned k, struct nic_plan *plan,
	struct error *error)
{
	const struct config_nic *n = &c->nics[k];
	const struct config_engine *e = engine_of(c, n);
	char name[DRIVER_NIC_NAME_BYTES + 8], core[24] = "";

	plan->backend = n->port.type ? &soft_process_backend : &pci_function_backend;
	snprintf(plan->engine, sizeof(plan->engine), "%s", n->engine);
	snprintf(plan->unit, sizeof(plan->unit), "%s", e ? e->process : n->engine);
	snprintf(name, sizeof(name), "%s.sock", n->name);
	router_path(r, name, plan->socket);
	if (e && e->core)
		snprintf(core, sizeof(core), ":%d%s", *e->core, engine_shared(e) ? ":shared" : "");
	int bytes = snprintf(plan->spec, sizeof(plan->spec),
		"%u %s %s%s %s:%s %016llx %s %u %u method %u buffers %u rings %u,%u,%u", k,
		plan->unit, plan->engine, core, n->pci ? n->access : config_nic_type(n),
		config_nic_target(n),
		(unsigned long long)fingerprint(n->port.options ? n->port.options : ""),
		n->mac ? n->mac : "-", *c->router->packet_memory_mib, *c->router->table_memory_mib,
		r->fabric.method, *c->router->buffer_bytes, *c->router->ring_slots,
		*c->router->batch, *c->router->rx_buffers);

	return bytes >= ROUTER_SPEC_BYTES
		       ? error_set(error, -ENAMETOOLONG,
				 "nic %s: the target of its port is longer than %d bytes", n->name,
				 ROUTER_SPEC_BYTES - 100)
		       : 0;
}

bool plan_spec_sizes(const char *spec, unsigned *number, unsigned *ring_slots, unsigned *mib)
{
	const char *method = NULL;
	unsigned spaces = 0;

	/* A port's target may have such words in it; they come first. */
	for (const char *at = spec; (at = strstr(at, " method ")); at++)
		method = at;
	if (!method || sscanf(spec, "%u ", number) != 1 || *number >= P2PNIC_NICS_MAX ||
		sscanf(method, " method %*u buffers %*u rings %u,", ring_slots) != 1)
		return false;
	while (method > spec && spaces < 2)
		spaces += *--method == ' ';
	return sscanf(method, " %u", mib) == 1;
}

/* A NIC that is new, or has another plan; the face of one that was there is its still. */
static int settle_nic(struct router *r, unsigned k)
{
	const struct config_nic *n = &r->config->nics[k];
	struct router_nic *nic = &r->nic[k];
	struct nic_plan plan;
	int error = plan_nic(r, r->config, k, &plan, &r->error);

	if (error)
		return error;
	nic->router = r;
	snprintf(nic->name, sizeof(nic->name), "%s", n->name);
	memcpy(nic->engine, plan.engine, sizeof(nic->engine));
	memcpy(nic->spec, plan.spec, sizeof(nic->spec));
	memcpy(nic->socket, plan.socket, sizeof(nic->socket));
	nic->unit = unit_of(r, plan.unit, plan.backend);
	if (n->pci && !strcmp(n->access, "sysfs"))
		router_warn(r,
			"nic %s: access sysfs: no IOMMU guards this host; a fault of %s or of "
			"its firmware can write any memory",
			n->name, n->pci);
	return events_open(nic);
}

int plan_make(struct router *r)
{
	int error = 0;

	for (unsigned k = 0; k < r->config->nics_count && !error; k++)
		if (config_nic_used(&r->config->nics[k]) && !r->nic[k].unit)
			error = settle_nic(r, k);
	return error;
}

/* --- Arguments of a process ------------------------------------------------------------------- */

struct arguments {
	const char *argv[16 + P2PNIC_NICS_MAX * 18];
	unsigned n;
	char text[P2PNIC_NICS_MAX * 4096];
	size_t used;
	int secret[P2PNIC_NICS_MAX]; /* descriptors that the process inherits */
	unsigned secrets;
};

__attribute__((format(printf, 2, 3))) static void argument(
	struct arguments *a, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	a->argv[a->n++] = a->text + a->used;
	int bytes = vsnprintf(a->text + a->used, sizeof(a->text) - a->used, format, arguments);

	/* What does not fit is seen by plan_start. */
	a->used += (size_t)bytes < sizeof(a->text) - a->used ? (size_t)bytes + 1
							     : sizeof(a->text) - a->used - 1;
	va_end(arguments);
}

static int argument_options(struct arguments *a, const char *options)
{
	int fd;

	argument(a, "--port-options");
	fd = secret_to_fd(options, a->text + a->used, sizeof(a->text) - a->used);
	if (fd < 0 && fd != -ENOENT)
		return fd;
	a->argv[a->n++] = a->text + a->used;
	a->used += strlen(a->text + a->used) + 1;
	if (fd >= 0)
		a->secret[a->secrets++] = fd;
	return 0;
}

int plan_start(struct router *r, struct nic_unit *u)
{
	const struct config *c = r->config;
	struct arguments *a = calloc(1, sizeof(*a));
	const char *engine = NULL;
	int error = 0;

	if (!a)
		return router_fail(r, -ENOMEM, "out of memory");
	argument(a, "p2pnic");
	argument(a, "nic");
	argument(a, "--method");
	argument(a, "%s", method_name(r->fabric.method));
	argument(a, "--buffer-bytes");
	argument(a, "%u", r->fabric.buffer_bytes);
	/* NICs of one engine stand together behind it, whatever their order in the file. */
	for (unsigned k = 0; k < c->nics_count; k++) {
		bool seen = false;

		for (unsigned j = 0; j < k; j++)
			seen = seen ||
			       (r->nic[j].unit == u && !strcmp(r->nic[j].engine, r->nic[k].engine));
		if (seen || r->nic[k].unit != u)
			continue;
		engine = r->nic[k].engine;
		const struct config_engine *e = engine_of(c, &c->nics[k]);

		argument(a, "--engine");
		if (e && e->core)
			argument(a, "%s:%d%s", engine, *e->core, engine_shared(e) ? ":shared" : "");
		else
			argument(a, "%s", engine);
		for (unsigned j = k; j < c->nics_count; j++) {
			const struct config_nic *n = &c->nics[j];

			if (r->nic[j].unit != u || strcmp(r->nic[j].engine, engine) != 0)
				continue;
			argument(a, "--nic");
			argument(a, "%s", n->name);
			argument(a, "--socket");
			argument(a, "%s", r->nic[j].socket);
			argument(a, "--port");
			argument(a, "%s:%s", n->port.type, n->port.target);
			if (n->port.options && !error)
				error = argument_options(a, n->port.options);
			if (n->mac) {
				argument(a, "--mac");
				argument(a, "%s", n->mac);
			}
			argument(a, "--packet-memory");
			argument(a, "%u", *c->router->packet_memory_mib);
			argument(a, "--table-memory");
			argument(a, "%u", *c->router->table_memory_mib);
		}
	}
	a->argv[a->n] = NULL;
	if (!error && a->used == sizeof(a->text) - 1)
		error = -E2BIG;
	if (!error)
		error = process_start(&u->process, a->argv, -1, r->tied);
	while (a->secrets)
		close(a->secret[--a->secrets]);
	free(a);
	return error ? router_fail(r, error, "process %s: %s", u->name, strerror(-error)) : 0;
}
