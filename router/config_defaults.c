/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a key that is absent means, here and nowhere else: after config_load every key below has a
 * value, so that two configurations that say the same are the same, however they say it.
 *
 * Absent stays NULL where there is no value to stand for it: an engine's core (any), bounce_core
 * (any), a port's options (none), a NIC's mac (the interface's), runtime (config_runtime).
 *
 * The values are libcyaml's to free with the rest.
 */
#include "router/config.h"

#include "driver/fabric.h"

#include <cyaml/cyaml.h>
#include <errno.h>
#include <string.h>

static int number(unsigned **key, unsigned value)
{
	if (*key)
		return 0;
	*key = cyaml_mem(NULL, NULL, sizeof(**key));
	if (!*key)
		return -ENOMEM;
	**key = value;
	return 0;
}

static int text(char **key, const char *value)
{
	if (*key)
		return 0;
	*key = cyaml_mem(NULL, NULL, strlen(value) + 1);
	if (!*key)
		return -ENOMEM;
	memcpy(*key, value, strlen(value) + 1);
	return 0;
}

/* As many as there can be, unless so many NICs would need too much packet memory for them: each has
 * ring_slots buffers for each other. */
static unsigned ring_slots(const struct config *c)
{
	return c->nics_count <= 16 ? P2PNIC_RING_SLOTS_MAX : 256u;
}

/* A power of two that holds the packets of all rings. */
static unsigned packet_memory_mib(const struct config *c)
{
	const struct fabric fabric = {.method = c->router->method_number,
		.ring_slots = *c->router->ring_slots,
		.rx_buffers = *c->router->rx_buffers};
	const uint64_t need = fabric_packet_memory(&fabric, c->nics_count);
	unsigned mib = P2PNIC_BAR4_BYTES_MIN >> 20;

	while ((uint64_t)mib << 20 < need)
		mib *= 2;
	return mib;
}

static int router(struct config *c)
{
	struct config_router *r = c->router;
	int error = text(&r->name, "p2pnic");

	if (!error)
		error = text(&r->method, "wr");
	if (!error)
		error = text(&r->table, "line-trie");
	if (!error)
		error = number(&r->ring_slots, ring_slots(c));
	if (!error)
		error = number(&r->batch, P2PNIC_BATCH_DEFAULT);
	if (!error)
		error = number(&r->rx_buffers, 1024);
	if (!error)
		error = number(&r->packet_memory_mib, packet_memory_mib(c));
	if (!error)
		error = number(&r->table_memory_mib, 16);
	return error;
}

/* A process of its own, named as the engine; a core of its own. */
static int engine(struct config_engine *e)
{
	int error = text(&e->process, e->name);

	if (!error && !e->shared) {
		e->shared = cyaml_mem(NULL, NULL, sizeof(*e->shared));
		error = e->shared ? 0 : -ENOMEM;
		if (!error)
			*e->shared = false;
	}
	return error;
}

int config_defaults(struct config *c)
{
	int error = router(c);

	for (unsigned k = 0; k < c->engines_count && !error; k++)
		error = engine(&c->engines[k]);
	/* An engine of its own, named as the NIC; Ethernet's MTU. */
	for (unsigned k = 0; k < c->nics_count && !error; k++) {
		error = text(&c->nics[k].engine, c->nics[k].name);
		if (!error)
			error = number(&c->nics[k].mtu, 1500);
	}
	for (unsigned k = 0; k < c->routes_count; k++)
		for (unsigned n = 0; n < c->routes[k].next_hops_count && !error; n++)
			error = number(&c->routes[k].next_hops[n].weight, 1);
	return error;
}
