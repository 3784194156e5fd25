/* SPDX-License-Identifier: BSD-3-Clause */
#include "router/config_defaults.h"

#include "driver/fabric.h"
#include "driver/method.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int number(unsigned **key, unsigned value)
{
	if (*key)
		return 0;
	*key = malloc(sizeof(**key));
	if (!*key)
		return -ENOMEM;
	**key = value;
	return 0;
}

static int text(char **key, const char *value)
{
	if (*key)
		return 0;
	*key = strdup(value);
	return *key ? 0 : -ENOMEM;
}

/* false */
static int flag(bool **key)
{
	if (!*key)
		*key = calloc(1, sizeof(**key));
	return *key ? 0 : -ENOMEM;
}

unsigned config_buffer_bytes(unsigned mtu)
{
	static const unsigned size[] = {P2PNIC_BUFFER_SIZES};
	unsigned k = 0;

	while (k + 1 < sizeof(size) / sizeof(*size) && P2PNIC_MTU_MAX(size[k]) < mtu)
		k++;
	return size[k];
}

/* Of what a buffer must hold, with a tag where there are VLANs; the word that checks a transfer
 * lies in it, too. */
static unsigned largest_mtu(const struct config *c)
{
	unsigned mtu = CONFIG_MTU_DEFAULT;

	for (unsigned n = 0; n < c->nics_count; n++) {
		const struct config_nic *nic = &c->nics[n];
		const unsigned own = nic->mtu ? *nic->mtu : CONFIG_MTU_DEFAULT;
		const unsigned need = own + (nic->vlans_count ? P2PNIC_TAG_BYTES : 0);

		if (need > mtu)
			mtu = need;
	}
	return mtu + (c->router->check_number ? P2PNIC_CHECK_BYTES : 0);
}

/* Rd: what is on its way lies in them, too. As many as it takes for memif's rings, 512, to be full
 * while others still find some (ring_slots). */
static unsigned rx_buffers(const struct config_router *r)
{
	return r->method_number == P2PNIC_METHOD_READ ? 2048 : 1024;
}

/*
 * As many as there can be, unless so many NICs, or so large buffers, would need too much packet
 * memory for them: each NIC has ring_slots buffers for each other. Rd: a ring full of packets that
 * nobody takes occupies a quarter of the ingress NIC's buffers at most. Half of them wait at its
 * port; so some are left for other egresses.
 */
static unsigned ring_slots(const struct config *c, unsigned nics)
{
	const unsigned most = *c->router->buffer_bytes < P2PNIC_BUFFER_BYTES_MAX ? 16 : 4;
	unsigned slots = nics <= most ? P2PNIC_RING_SLOTS_MAX : 256u;

	while (c->router->method_number == P2PNIC_METHOD_READ && slots > P2PNIC_RING_SLOTS_MIN &&
		slots > *c->router->rx_buffers / 4)
		slots /= 2;
	return slots;
}

static struct fabric fabric_of(const struct config *c)
{
	return (struct fabric){.method = method_of_nics(c->router->method_number),
		.buffer_bytes = *c->router->buffer_bytes,
		.ring_slots = *c->router->ring_slots,
		.rx_buffers = *c->router->rx_buffers,
		.host_slots = c->kernel ? *c->kernel->slots : 0};
}

/* A power of two that holds the packets of all rings. */
static unsigned packet_memory_mib(const struct config *c, unsigned nics)
{
	const struct fabric fabric = fabric_of(c);
	const uint64_t need = fabric_packet_memory(&fabric, nics);
	unsigned mib = P2PNIC_BAR4_BYTES_MIN >> 20;

	while ((uint64_t)mib << 20 < need)
		mib *= 2;
	return mib;
}

/* Packet memory of a card or a PCI function is as large as it is: fabric_add knows. */
static bool has_soft_nics(const struct config *c)
{
	for (unsigned k = 0; k < c->nics_count; k++)
		if (c->nics[k].port.type)
			return true;
	return false;
}

unsigned config_places(const struct config *c)
{
	const struct fabric fabric = fabric_of(c);
	const uint64_t bytes = (uint64_t)*c->router->packet_memory_mib << 20;
	unsigned n = P2PNIC_NICS_MAX;

	while (has_soft_nics(c) && n && fabric_packet_memory(&fabric, n) > bytes)
		n--;
	return n;
}

/* As many as the memory that is there anyway holds; the host's memory of Bn has no such rest. */
static unsigned places(const struct config *c, unsigned nics)
{
	return c->router->method_number == P2PNIC_METHOD_BOUNCE ? nics : config_places(c);
}

void config_size(struct config *c, unsigned nics)
{
	struct config_router *r = c->router;
	const unsigned for_nics = r->derived & CONFIG_DERIVED_PLACES ? nics : *r->nics_max;

	r->sized = nics;
	if (r->derived & CONFIG_DERIVED_SLOTS)
		*r->ring_slots = ring_slots(c, for_nics);
	if (r->derived & CONFIG_DERIVED_MEMORY)
		*r->packet_memory_mib = packet_memory_mib(c, for_nics);
	if (r->derived & CONFIG_DERIVED_PLACES)
		*r->nics_max = places(c, nics);
}

bool config_size_like(struct config *c, unsigned slots, unsigned mib)
{
	const unsigned before = c->router->sized;

	for (unsigned nics = 1; nics <= P2PNIC_NICS_MAX; nics++) {
		config_size(c, nics);
		if (*c->router->ring_slots == slots && *c->router->packet_memory_mib == mib &&
			*c->router->nics_max >= c->nics_count)
			return true;
	}
	config_size(c, before);
	return false;
}

/* Keys that are absent; their values are config_size's. */
static int derive(struct config *c)
{
	struct config_router *r = c->router;
	int error;

	r->derived = (r->ring_slots ? 0 : CONFIG_DERIVED_SLOTS) |
		     (r->packet_memory_mib ? 0 : CONFIG_DERIVED_MEMORY) |
		     (r->nics_max ? 0 : CONFIG_DERIVED_PLACES);
	error = number(&r->ring_slots, 0);
	if (!error)
		error = number(&r->packet_memory_mib, 0);
	if (!error)
		error = number(&r->nics_max, 0);
	if (!error)
		config_size(c, c->nics_count);
	return error;
}

static int router(struct config *c)
{
	struct config_router *r = c->router;
	int error = text(&r->name, "p2pnic");

	if (!error)
		error = text(&r->method, "wr");
	if (!error)
		error = text(&r->check, check_name(r->check_number));
	if (!error)
		error = text(&r->table, "line-trie");
	if (!error)
		error = flag(&r->symmetric_flows);
	if (!error)
		error = flag(&r->inner_flows);
	if (!error)
		error = number(&r->buffer_bytes, config_buffer_bytes(largest_mtu(c)));
	if (!error)
		error = number(&r->lend_from, LEND_FROM_DEFAULT);
	if (!error)
		error = number(&r->batch, P2PNIC_BATCH_DEFAULT);
	if (!error)
		error = number(&r->rx_buffers, rx_buffers(r));
	if (!error)
		error = derive(c);
	if (!error)
		error = number(&r->table_memory_mib, 16);
	return error;
}

/* A process of its own, named as the engine; a core of its own. */
static int engine(struct config_engine *e)
{
	int error = text(&e->process, e->name);

	return error ? error : flag(&e->shared);
}

/* The NIC's, unless with the tag that is more than buffers hold. */
static unsigned vlan_mtu(const struct config *c, const struct config_nic *n)
{
	const unsigned most = P2PNIC_VLAN_MTU_MAX(*c->router->buffer_bytes) -
			      (c->router->check_number ? P2PNIC_CHECK_BYTES : 0);

	return *n->mtu < most ? *n->mtu : most;
}

int config_defaults(struct config *c)
{
	int error = c->kernel ? number(&c->kernel->slots, 256) : 0;

	if (c->kernel && !error)
		error = number(&c->kernel->audit, 300);
	if (c->kernel && !error)
		error = number(&c->kernel->fpm, 0);

	if (c->metrics && !error)
		error = flag(&c->metrics->public);
	if (!error)
		error = router(c);
	for (unsigned k = 0; k < c->engines_count && !error; k++)
		error = engine(&c->engines[k]);
	/* An engine of its own, named as the NIC. */
	for (unsigned k = 0; k < c->nics_count && !error; k++) {
		error = text(&c->nics[k].engine, c->nics[k].name);
		if (!error)
			error = number(&c->nics[k].mtu, CONFIG_MTU_DEFAULT);
		for (unsigned v = 0; v < c->nics[k].vlans_count && !error; v++)
			error = number(&c->nics[k].vlans[v].mtu, vlan_mtu(c, &c->nics[k]));
		if (!error)
			error = text(&c->nics[k].reverse_path, "none");
		if (!error && c->nics[k].pci)
			error = text(&c->nics[k].access, "vfio");
	}
	for (unsigned k = 0; k < c->routes_count; k++)
		for (unsigned n = 0; n < c->routes[k].next_hops_count && !error; n++)
			error = number(&c->routes[k].next_hops[n].weight, 1);
	return error;
}
