/* SPDX-License-Identifier: BSD-3-Clause */
#include "router/plan.h"
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
	for (unsigned k = 0; k < r->units; k++)
		if (!strcmp(r->unit[k].name, name))
			return &r->unit[k];
	struct nic_unit *u = &r->unit[r->units++];

	*u = (struct nic_unit){.router = r, .backend = backend, .process.pidfd = -1};
	snprintf(u->name, sizeof(u->name), "%s", name);
	return u;
}

int plan_make(struct router *r)
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
	r->nic = calloc(c->nics_count, sizeof(*r->nic));
	r->unit = calloc(c->nics_count, sizeof(*r->unit));
	if (!r->nic || !r->unit)
		return router_fail(r, -ENOMEM, "out of memory");
	for (unsigned k = 0; k < c->nics_count; k++) {
		r->nic[k].event = -1;
		r->nic[k].face = (struct host_face)HOST_FACE_NONE;
	}
	for (unsigned k = 0; k < c->nics_count; k++) {
		const struct config_nic *n = &c->nics[k];
		const struct config_engine *e = engine_of(c, n);
		struct router_nic *nic = &r->nic[k];
		char name[DRIVER_NIC_NAME_BYTES + 8], core[24] = "";

		nic->router = r;
		snprintf(nic->engine, sizeof(nic->engine), "%s", n->engine);
		nic->unit = unit_of(r, e ? e->process : nic->engine,
			n->port.type ? &soft_process_backend : &pci_function_backend);
		snprintf(name, sizeof(name), "%s.sock", n->name);
		router_path(r, name, nic->socket);
		if (e && e->core)
			snprintf(core, sizeof(core), ":%d%s", *e->core,
				engine_shared(e) ? ":shared" : "");
		int bytes = snprintf(nic->spec, sizeof(nic->spec),
			"%u %s %s%s %s:%s %016llx %s %u %u method %u buffers %u rings %u,%u,%u", k,
			nic->unit->name, nic->engine, core, n->pci ? n->access : config_nic_type(n),
			config_nic_target(n),
			(unsigned long long)fingerprint(n->port.options ? n->port.options : ""),
			n->mac ? n->mac : "-", *c->router->packet_memory_mib,
			*c->router->table_memory_mib, r->fabric.method, r->fabric.buffer_bytes,
			r->fabric.ring_slots, r->fabric.batch, r->fabric.rx_buffers);
		if (bytes >= ROUTER_SPEC_BYTES)
			return router_fail(r, -ENAMETOOLONG,
				"nic %s: the target of its port is longer than %d bytes", n->name,
				ROUTER_SPEC_BYTES - 100);
	}
	for (unsigned k = 0; k < c->nics_count; k++)
		if (c->nics[k].pci && !strcmp(c->nics[k].access, "sysfs"))
			router_warn(r,
				"nic %s: access sysfs: no IOMMU guards this host; a fault of %s or "
				"of "
				"its firmware can write any memory",
				c->nics[k].name, c->nics[k].pci);
	return 0;
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
			seen = seen || !strcmp(r->nic[j].engine, r->nic[k].engine);
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

			if (strcmp(r->nic[j].engine, engine) != 0)
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
