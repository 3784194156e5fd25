/* SPDX-License-Identifier: BSD-3-Clause */
#include "model/host.h"

#include "model/machine.h"

#include <stdio.h>
#include <stdlib.h>

#define LINE 64u
#define TLP  256u /* of frames so large that DDIO does not hold them */

static void accept(struct sim *sim, void *object, uint64_t tlp)
{
	/* NOLINTNEXTLINE(performance-no-int-to-ptr): an event carries one object and one number */
	pcie_accept(((struct host *)object)->fabric, (struct tlp *)(uintptr_t)tlp);
}

/* The lines have passed; some are not in the cache: what they push out is written, then they. */
static void through(struct sim *sim, void *object, uint64_t tlp)
{
	struct host *h = object;

	if (!h->missing || sim_random(sim, 1000000) >= h->missing)
		accept(sim, h, tlp);
	else
		server_ask(sim, &h->dram, sim_transfer(2 * TLP, h->dram_bit_per_s), accept, h, tlp);
}

static void take(
	struct sim *sim, void *object, struct tlp *tlp, unsigned space, bool read, uint32_t bytes)
{
	struct host *h = object;
	const uint64_t ps =
		h->line_ps * ((bytes + LINE - 1) / LINE) + (bytes % LINE ? h->part_ps : 0);

	server_ask(sim, &h->lines, ps, through, h, (uintptr_t)tlp);
}

/* All buffers of a queue are written in turn: what DDIO cannot hold of them, it never has. */
static unsigned ddio_missing(struct parameters *p, unsigned busy, unsigned queues, uint32_t frame)
{
	const uint64_t lines = (frame + LINE - 1) / LINE;
	const uint64_t buffers = parameters_get(p, "host.buffers");
	const uint64_t need = (uint64_t)busy * queues * buffers * lines * LINE;
	const uint64_t have = parameters_get(p, "host.ddio");

	return need > have ? (unsigned)((need - have) * 1000000 / need) : 0;
}

void host_init(struct host *h, struct machine *m, struct parameters *p, unsigned nics,
	unsigned busy, uint32_t frame, const struct pcie_link *link, struct fabric *fabric,
	struct node *root)
{
	struct sim *sim = machine_sim(m);
	const unsigned queues = (unsigned)parameters_get(p, "host.queues");

	*h = (struct host){.station = {.machine = m,
				   .number = PROGRAM_HOST,
				   .hz = parameters_get(p, "host.clock")},
		.fabric = fabric,
		.cores = nics * queues,
		.queues = queues,
		.core = calloc(nics * queues, sizeof(*h->core)),
		.line_ps = parameters_get(p, "host.line"),
		.part_ps = parameters_get(p, "host.part_of_line"),
		.dram_bit_per_s = parameters_get(p, "host.dram"),
		.missing = ddio_missing(p, busy, queues, frame)};
	if (!h->core)
		abort();
	h->station.hz = h->station.hz < 1000000 ? 1000000 : h->station.hz;
	server_init(sim, &h->lines, "host lines", 1, 0, 0);
	server_init(sim, &h->dram, "host dram", 1, 0, 0);
	h->station.node = fabric_device(
		fabric, "host", root, link, parameters_get(p, "host.completer"), 1, take, h);
	for (unsigned k = 0; k < h->cores; k++) {
		char name[SERVER_NAME_BYTES];

		snprintf(name, sizeof(name), "host port%u queue%u", k / queues, k % queues);
		pool_init(&h->core[k], &h->station, PROGRAM_HOST_IN, name, 1, 1, 1,
			parameters_get(p, "host.poll"));
		h->core[k].index = k;
	}
}

void host_free(struct host *h)
{
	for (unsigned k = 0; k < h->cores; k++)
		pool_free(&h->core[k]);
	free(h->core);
	station_free(&h->station);
}
