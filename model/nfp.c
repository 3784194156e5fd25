/* SPDX-License-Identifier: BSD-3-Clause */
#include "model/nfp.h"

#include "model/machine.h"

#include <errno.h>
#include <stdio.h>

#define FCS_PREAMBLE_GAP 24u

static const char *const memory_name[MEMORIES] = {"local", "cls", "ctm", "imem", "emem", "dram"};

static uint64_t of_memory(struct parameters *p, enum memory memory, const char *what)
{
	char name[64];

	snprintf(name, sizeof(name), "nic.memory_%s_%s", memory_name[memory], what);
	return parameters_get(p, name);
}

static void memories(struct nfp *n, const char *nic, struct parameters *p)
{
	struct sim *sim = machine_sim(n->station.machine);

	for (unsigned k = 0; k < MEMORIES; k++) {
		const uint64_t latency = of_memory(p, k, "latency");
		const uint64_t banks = of_memory(p, k, "banks");
		char name[SERVER_NAME_BYTES];

		snprintf(name, sizeof(name), "%s %s", nic, memory_name[k]);
		n->station.spacing[k] = of_memory(p, k, "spacing");
		n->station.memory_ps[k] = of_memory(p, k, "access");
		server_init(sim, &n->station.memory[k], name, banks ? (unsigned)banks : 1, 0,
			latency * (PS_PER_S / 1000000) / (n->station.hz / 1000000));
	}
}

int nfp_init(struct nfp *n, struct machine *m, unsigned number, struct parameters *p,
	unsigned sources, const struct pcie_link *link, struct fabric *fabric, struct node *above,
	struct error *error)
{
	const unsigned threads = (unsigned)parameters_get(p, "nic.threads");
	struct sim *sim = machine_sim(m);
	char nic[16], name[SERVER_NAME_BYTES];
	const uint64_t rate = parameters_get(p, "nic.mac_rate");

	snprintf(nic, sizeof(nic), "nic%u", number);
	*n = (struct nfp){
		.station = {.machine = m, .number = number, .hz = parameters_get(p, "nic.clock")},
		.mac_ps = rate ? (PS_PER_S + rate - 1) / rate : 0,
		.latency = parameters_get(p, "nic.mac_latency"),
		.bit_per_s = parameters_get(p, "nic.port"),
		.buffers = (unsigned)parameters_get(p, "nic.rx_buffers")};
	n->station.hz = n->station.hz < 1000000 ? 1000000 : n->station.hz;
	memories(n, nic, p);
	n->station.node =
		fabric_device(fabric, nic, above, link, parameters_get(p, "nic.completer"),
			(unsigned)parameters_get(p, "nic.dma_tags"), NULL, NULL);
	n->station.dma = dma_new(sim, p, nic, n->station.node, error);
	snprintf(name, sizeof(name), "%s mac", nic);
	server_init(sim, &n->mac, name, 1, NFP_MAC_QUEUE, n->latency);
	snprintf(name, sizeof(name), "%s wire", nic);
	server_init(sim, &n->wire, name, 1, 0, 0);
	snprintf(name, sizeof(name), "%s ingress", nic);
	pool_init(&n->ingress, &n->station, PROGRAM_INGRESS, name,
		(unsigned)parameters_get(p, "nic.ingress_cores"), threads, 1, 0);
	snprintf(name, sizeof(name), "%s egress", nic);
	pool_init(&n->egress, &n->station, PROGRAM_EGRESS, name,
		(unsigned)parameters_get(p, "nic.egress_cores"), threads, sources,
		parameters_get(p, "nic.egress_poll"));
	return n->station.dma ? 0 : -EINVAL;
}

void nfp_free(struct nfp *n)
{
	pool_free(&n->ingress);
	pool_free(&n->egress);
	station_free(&n->station);
	if (n->station.dma)
		dma_free(n->station.dma);
}

static void received(struct sim *sim, void *object, uint64_t id)
{
	struct nfp *n = object;
	const uint32_t packet = (uint32_t)id;

	pool_offer(&n->ingress, 0, &packet, 1);
}

enum result_drop nfp_receive(struct nfp *n, uint32_t id)
{
	struct sim *sim = machine_sim(n->station.machine);

	if (!n->buffers)
		return RESULT_DROP_BUFFERS;
	if (!server_ask(sim, &n->mac, n->mac_ps, received, n, id))
		return RESULT_DROP_RATE;
	n->buffers--;
	return RESULT_DROP_COUNT;
}

static void left(struct sim *sim, void *object, uint64_t id)
{
	machine_left(object, (uint32_t)id);
}

static void wire_done(struct sim *sim, void *object, uint64_t id)
{
	struct nfp *n = object;
	const struct packet *p = machine_packet(n->station.machine, (uint32_t)id);
	sim_call *done = p->done;

	object = p->object;
	sim_after(sim, n->latency, left, n->station.machine, id);
	if (done)
		done(sim, object, 0);
}

void nfp_send(struct nfp *n, uint32_t id)
{
	const struct packet *p = machine_packet(n->station.machine, id);

	server_ask(machine_sim(n->station.machine), &n->wire, nfp_wire_ps(n, p->bytes), wire_done,
		n, id);
}

uint64_t nfp_wire_ps(const struct nfp *n, uint32_t bytes)
{
	return sim_transfer(bytes + FCS_PREAMBLE_GAP, n->bit_per_s);
}
