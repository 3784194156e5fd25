/* SPDX-License-Identifier: BSD-3-Clause */
#include "model/machine.h"

#include "model/host.h"
#include "model/nfp.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define FCS           4u
#define WARM_PS       (100 * PS_PER_US)
#define PACKETS       20000u
#define LONGEST       (1000000 * PS_PER_S) /* of what is measured: 11 days */
#define PLACES        (1u << 26)           /* in all rings together: 256 MiB */
#define THREADS       (1u << 20)           /* of all NICs together */
#define NEIGHBOUR_MAX 32u                  /* transfers of a neighbour at a time */

struct neighbour {
	struct machine *machine;
	struct node *node, *target;
	const struct machine_neighbour *setup;
	uint64_t interval;
	unsigned running;
};

struct machine {
	struct sim sim;
	const struct machine_setup *setup;
	const struct program *program;
	void *state;
	unsigned most[PROGRAM_SIDES];
	struct fabric *fabric;
	struct pcie_link nic_link, uplink, neighbour_link[MACHINE_NEIGHBOURS];
	struct nfp *nic;
	struct host host;
	struct ring *ring;
	unsigned rings, ring_slots, host_slots;

	struct packet *packet;
	uint32_t packets, spare; /* spare: a list of those that nobody has */

	uint64_t interval; /* of packets at a port, ps */
	uint64_t stamp_every;
	bool open, measuring;
	struct neighbour neighbour[MACHINE_NEIGHBOURS];
	struct result *result;
};

struct sim *machine_sim(struct machine *m)
{
	return &m->sim;
}

struct packet *machine_packet(struct machine *m, uint32_t id)
{
	return &m->packet[id];
}

const struct program *machine_program(struct machine *m)
{
	return m->program;
}

unsigned machine_most(struct machine *m, enum program_side side)
{
	return m->most[side];
}

void *machine_state(struct machine *m)
{
	return m->state;
}

/* --- Packets ---------------------------------------------------------------------------------- */

static uint32_t packet_new(struct machine *m)
{
	const uint32_t id = m->spare;

	if (id == PACKET_NONE) {
		const uint32_t more = m->packets ? m->packets : 4096;

		m->packet = realloc(m->packet, (m->packets + (size_t)more) * sizeof(*m->packet));
		if (!m->packet)
			abort(); /* as sim.h: a model has nothing to save */
		for (uint32_t k = m->packets; k < m->packets + more; k++)
			m->packet[k].next = k + 1 < m->packets + more ? k + 1 : PACKET_NONE;
		m->spare = m->packets;
		m->packets += more;
		return packet_new(m);
	}
	m->spare = m->packet[id].next;
	m->result->held++;
	return id;
}

static void packet_free(struct machine *m, uint32_t id)
{
	m->packet[id].next = m->spare;
	m->spare = id;
	m->result->held--;
}

/* --- Where a packet goes ---------------------------------------------------------------------- */

struct station *machine_station(struct machine *m, unsigned number)
{
	return number == PROGRAM_HOST ? &m->host.station : &m->nic[number].station;
}

/* By the NICs alone, ring i × nics + e: from i to e. By the host, first nics × queues rings to the
 * queues, then from each of their cores one to each NIC. */
struct ring *machine_ring(struct machine *m, const struct pool *p, const struct packet *packet)
{
	const unsigned nics = m->setup->nics, queues = m->host.queues;

	switch (p->side) {
	case PROGRAM_INGRESS:
		if (m->program->reflects)
			return NULL;
		return m->program->by_host ? &m->ring[packet->ingress * queues + packet->queue]
					   : &m->ring[packet->ingress * nics + packet->egress];
	case PROGRAM_HOST_IN:
		return &m->ring[nics * queues + p->index * nics + packet->egress];
	default:
		return NULL;
	}
}

struct ring *machine_ring_into(struct machine *m, const struct pool *p, unsigned queue)
{
	const unsigned nics = m->setup->nics, queues = m->host.queues;

	switch (p->side) {
	case PROGRAM_EGRESS:
		return m->program->by_host
			       ? &m->ring[nics * queues + queue * nics + p->station->number]
			       : &m->ring[queue * nics + p->station->number];
	case PROGRAM_HOST_IN:
		return &m->ring[p->index];
	default:
		return NULL;
	}
}

struct ring *machine_ring_between(struct machine *m, unsigned from, unsigned to)
{
	return &m->ring[from * m->setup->nics + to];
}

static void rings(struct machine *m)
{
	const unsigned nics = m->setup->nics, cores = m->host.cores;
	const bool by_host = m->program->by_host;

	m->rings = by_host ? cores + cores * nics : nics * nics;
	m->ring = calloc(m->rings, sizeof(*m->ring));
	if (!m->ring)
		abort();
	for (unsigned k = 0; k < (by_host ? cores : nics); k++) {
		struct pool *from = &m->nic[by_host ? k / m->host.queues : k].ingress;

		if (by_host)
			ring_init(&m->ring[k], from, &m->host.core[k], 0, m->host_slots);
		for (unsigned e = 0; e < nics; e++)
			ring_init(&m->ring[(by_host ? cores : 0) + k * nics + e],
				by_host ? &m->host.core[k] : from, &m->nic[e].egress, k,
				by_host ? m->host_slots : m->ring_slots);
	}
}

/* --- The ports -------------------------------------------------------------------------------- */

void machine_buffers(struct machine *m, struct station *s, unsigned n)
{
	m->nic[s->number].buffers += n;
}

void machine_send(struct machine *m, struct station *s, uint32_t id, sim_call *done, void *object)
{
	m->packet[id].done = done;
	m->packet[id].object = object;
	nfp_send(&m->nic[s->number], id);
}

void machine_left(struct machine *m, uint32_t id)
{
	const struct packet *p = &m->packet[id];
	struct result *r = m->result;

	r->sent++;
	if (m->measuring) {
		r->measured_sent++;
		r->measured_bytes += p->bytes + FCS;
		if (p->stamped && r->samples < RESULT_SAMPLES)
			r->latency[r->samples++] = m->sim.now - p->arrived;
	}
	packet_free(m, id);
}

/* One of the last `out` NICs, but never the one that received. Not by chance: those that receive
 * and send as well each go to the next of them, the others to what is left. */
static unsigned egress(struct machine *m, unsigned ingress)
{
	const unsigned in = m->setup->in, out = m->setup->out, first = m->setup->nics - out;
	unsigned k;

	if (!m->setup->mix)
		return first + (ingress >= first ? ingress - first + 1
						 : ingress + (in > first ? in - first + 1 : 0)) %
				       out;
	if (ingress < first)
		return first + (unsigned)sim_random(&m->sim, out);
	k = (unsigned)sim_random(&m->sim, out - 1);
	return first + k + (first + k >= ingress);
}

static void arrive(struct sim *sim, void *object, uint64_t argument)
{
	struct nfp *n = object;
	struct machine *m = n->station.machine;
	struct result *r = m->result;
	const unsigned ingress = n->station.number;
	enum result_drop drop;
	uint32_t id;

	if (!m->open)
		return;
	id = packet_new(m);
	m->packet[id] = (struct packet){.arrived = sim->now,
		.bytes = m->setup->frame - FCS,
		.ingress = (uint8_t)ingress,
		.egress = (uint8_t)egress(m, ingress),
		.queue = (uint8_t)sim_random(sim, m->host.queues),
		.stamped = m->measuring && r->measured_in % m->stamp_every == 0};
	r->in++;
	r->measured_in += m->measuring;
	drop = nfp_receive(n, id);
	if (drop != RESULT_DROP_COUNT) {
		r->drop[drop]++;
		packet_free(m, id);
	}
	sim_after(sim, m->interval, arrive, n, 0);
}

/* --- Neighbours ------------------------------------------------------------------------------- */

static void neighbour_done(struct sim *sim, void *object, uint64_t argument)
{
	((struct neighbour *)object)->running--;
}

static void neighbour_start(struct sim *sim, void *object, uint64_t argument)
{
	struct neighbour *n = object;

	if (!n->machine->open)
		return;
	if (n->running < NEIGHBOUR_MAX) {
		n->running++;
		pcie_transfer(n->node, &(struct transfer){.target = n->target,
					       .read = n->setup->read,
					       .bytes = n->setup->bytes,
					       .done = neighbour_done,
					       .object = n});
	}
	sim_after(sim, n->interval, neighbour_start, n, 0);
}

static void neighbours(struct machine *m, struct parameters *p, struct node *const *leaf)
{
	const unsigned count = m->setup->neighbours;

	for (unsigned k = 0; k < count; k++) {
		const struct machine_neighbour *s = &m->setup->neighbour[k];
		char name[32];

		snprintf(name, sizeof(name), "neighbour%u", k);
		m->neighbour[k] = (struct neighbour){.machine = m,
			.setup = s,
			.interval = sim_transfer(s->bytes, s->bit_per_s),
			.node = fabric_device(m->fabric, name, leaf[s->below],
				&m->neighbour_link[k], parameters_get(p, "nic.completer"),
				NEIGHBOUR_MAX * 8, NULL, NULL)};
	}
	for (unsigned k = 0; k < count; k++) {
		struct neighbour *n = &m->neighbour[k];

		n->target = n->setup->to_host ? m->host.station.node
					      : m->neighbour[(k + 1) % count].node;
		neighbour_start(&m->sim, n, 0);
	}
}

/* --- The machine ------------------------------------------------------------------------------ */

/* The host, its switch or switches, the NICs in blocks under them. */
static int build(struct machine *m, struct parameters *p, struct error *error)
{
	const struct machine_setup *s = m->setup;
	const uint64_t latency = parameters_get(p, "switch.latency");
	const uint32_t pool = (uint32_t)parameters_get(p, "switch.pool");
	struct node *root, *top, *leaf[MACHINE_SWITCHES] = {NULL};
	int rc = 0;

	m->fabric = fabric_new(&m->sim);
	root = fabric_root(m->fabric, "root", parameters_get(p, "host.root_latency"),
		(uint32_t)parameters_get(p, "host.root_pool"));
	top = fabric_switch(m->fabric, "switch", root, &m->uplink, latency, pool);
	for (unsigned k = 0; k < s->leaves; k++) {
		char name[32];

		snprintf(name, sizeof(name), "switch.%u", k);
		leaf[k] = s->leaves == 1
				  ? top
				  : fabric_switch(m->fabric, name, top, &m->uplink, latency, pool);
	}
	host_init(&m->host, m, p, s->nics, s->in, s->frame - FCS, &m->uplink, m->fabric, root);
	m->nic = calloc(s->nics, sizeof(*m->nic));
	if (!m->nic)
		abort();
	for (unsigned k = 0; k < s->nics && rc == 0; k++)
		rc = nfp_init(&m->nic[k], m, k, p, m->program->by_host ? m->host.cores : s->nics,
			&m->nic_link, m->fabric, leaf[k * s->leaves / s->nics], error);
	m->ring_slots = (unsigned)parameters_get(p, "program.ring_slots");
	m->host_slots = (unsigned)parameters_get(p, "host.ring_slots");
	rings(m);
	neighbours(m, p, leaf);
	return rc < 0 ? rc : parameters_missing(p, error);
}

static int check(const struct machine_setup *s, struct error *error)
{
	if (!s->program)
		return error_set(error, -EINVAL, "no program");
	if (s->nics < 2 || s->nics > MACHINE_NICS)
		return error_set(
			error, -EINVAL, "%u NICs: 2 to %u are possible", s->nics, MACHINE_NICS);
	if (!s->in || s->in > s->nics || !s->out || s->out > s->nics)
		return error_set(error, -EINVAL, "%u of %u NICs receive and %u send: 1 to %u can",
			s->in, s->nics, s->out, s->nics);
	if (s->out == 1 && s->in == s->nics)
		return error_set(error, -EINVAL, "the one NIC that sends cannot receive as well");
	if (!s->leaves || s->leaves > MACHINE_SWITCHES || s->leaves > s->nics)
		return error_set(error, -EINVAL, "%u switches with NICs: 1 to %u are possible",
			s->leaves, s->nics < MACHINE_SWITCHES ? s->nics : MACHINE_SWITCHES);
	if ((s->nics + s->leaves - 1) / s->leaves + s->neighbours > FABRIC_BELOW)
		return error_set(error, -EINVAL, "%u devices under a switch: %u are possible",
			(s->nics + s->leaves - 1) / s->leaves + s->neighbours, FABRIC_BELOW);
	if (s->frame < 64 || s->frame > 9018)
		return error_set(
			error, -EINVAL, "frames of %u B: 64 to 9018 are possible", s->frame);
	if (s->neighbours > MACHINE_NEIGHBOURS)
		return error_set(error, -EINVAL, "%u neighbours: %u are possible", s->neighbours,
			MACHINE_NEIGHBOURS);
	for (unsigned k = 0; k < s->neighbours; k++) {
		const struct machine_neighbour *n = &s->neighbour[k];

		if (n->below >= s->leaves || !n->bit_per_s || !n->bytes || n->bytes > 1u << 20 ||
			(!n->to_host && s->neighbours < 2))
			return error_set(error, -EINVAL,
				"neighbour %u: its switch, rate, size or peer does not exist", k);
	}
	return 0;
}

/* Without these nothing can be built, not even to find out what else is missing. */
static int check_parameters(struct parameters *p, struct error *error)
{
	static const char *const needed[] = {"nic.clock", "host.clock", "nic.port", "host.queues",
		"host.dram", "host.ring_slots", "program.ring_slots", "program.batch"};

	for (unsigned k = 0; k < sizeof(needed) / sizeof(*needed); k++)
		parameters_get(p, needed[k]);
	return parameters_missing(p, error);
}

/* What takes more memory or time than anybody has. */
static int check_size(const struct machine *m, struct parameters *p, struct error *error)
{
	const struct machine_setup *s = m->setup;
	const bool by_host = s->program->by_host;
	const uint64_t nics = s->nics, cores = nics * parameters_get(p, "host.queues");
	const uint64_t rings = by_host ? cores * (1 + nics) : nics * nics;
	const uint64_t slots =
		parameters_get(p, by_host ? "host.ring_slots" : "program.ring_slots");
	const uint64_t threads =
		nics * parameters_get(p, "nic.threads") *
		(parameters_get(p, "nic.ingress_cores") + parameters_get(p, "nic.egress_cores"));
	const uint64_t packets = s->packets ? s->packets : PACKETS;

	if (rings * slots > PLACES)
		return error_set(error, -EINVAL, "%llu rings of %llu slots: %u slots are possible",
			(unsigned long long)rings, (unsigned long long)slots, PLACES);
	if (threads > THREADS)
		return error_set(error, -EINVAL, "%llu threads: %u are possible",
			(unsigned long long)threads, THREADS);
	if (packets / s->in > LONGEST / m->interval)
		return error_set(error, -EINVAL,
			"%llu packets at that rate take longer than %llu s, of virtual time",
			(unsigned long long)packets, LONGEST / PS_PER_S);
	return 0;
}

static int links(struct machine *m, struct parameters *p, struct error *error)
{
	const struct machine_setup *s = m->setup;
	int rc = pcie_link(&m->uplink, p, (unsigned)parameters_get(p, "host.uplink_lanes"), error);

	if (rc == 0)
		rc = pcie_link(
			&m->nic_link, p, (unsigned)parameters_get(p, "nic.link_lanes"), error);
	for (unsigned k = 0; k < s->neighbours && rc == 0; k++)
		rc = pcie_link(&m->neighbour_link[k], p, s->neighbour[k].lanes, error);
	return rc;
}

static uint64_t accesses(const struct machine *m)
{
	uint64_t n = 0;

	for (unsigned k = 0; k < m->setup->nics; k++)
		n += m->nic[k].station.accesses;
	return n;
}

static void machine_free(struct machine *m)
{
	sim_free(&m->sim); /* first: it looks at the servers of the others */
	for (unsigned k = 0; k < m->rings; k++)
		ring_free(&m->ring[k]);
	free(m->ring);
	for (unsigned k = 0; k < m->setup->nics; k++)
		nfp_free(&m->nic[k]);
	free(m->nic);
	host_free(&m->host);
	fabric_free(m->fabric);
	free(m->packet);
	m->program->release(m->state);
}

/* When all is still, whatever was taken is back; our firmware (which has no PROGRAM_DONE) may owe
 * places until it has a batch of them. */
static void check_still(const struct machine *m, unsigned buffers)
{
	if (m->result->held || !m->program->most[PROGRAM_DONE])
		return;
	assert(!fabric_pending(m->fabric));
	for (unsigned k = 0; k < m->setup->nics; k++)
		assert(m->nic[k].buffers == buffers);
	for (unsigned k = 0; k < m->rings; k++)
		assert(m->ring[k].free == m->ring[k].slots && !m->ring[k].held.n);
}

/* Until what can fill has filled, and what is in it has passed: through the host at the rate of its
 * lines, two for 64 B of a packet and some more. */
static uint64_t warm_up(const struct machine *m)
{
	const struct machine_setup *s = m->setup;
	const uint64_t packets = s->in * (m->nic->buffers + 2ull * m->host.queues * m->host_slots);
	const uint64_t each = (s->frame / 32 + 6) * m->host.line_ps;

	return WARM_PS + (m->program->by_host ? packets * each : 0);
}

/* Ports start at moments of their own, so that they do not beat in step. */
static void run(struct machine *m, bool drain)
{
	const struct machine_setup *s = m->setup;
	const uint64_t packets = s->packets ? s->packets : PACKETS;
	const uint64_t warm = s->warm ? s->warm : warm_up(m);
	const unsigned buffers = m->nic->buffers;
	uint64_t measure = s->measure;

	if (!measure) {
		measure = packets / s->in * m->interval;
		measure = measure < warm ? warm : measure;
	}
	m->stamp_every = measure / m->interval * s->in / RESULT_SAMPLES + 1;
	for (unsigned k = 0; k < s->in; k++)
		sim_after(&m->sim, sim_random(&m->sim, m->interval), arrive, &m->nic[k], 0);
	sim_run(&m->sim, warm);
	sim_measure(&m->sim);
	m->result->measured_dma = accesses(m);
	m->measuring = true;
	sim_run(&m->sim, m->sim.now + measure);
	m->result->ps = measure;
	m->result->measured_dma = accesses(m) - m->result->measured_dma;
	m->measuring = false;
	result_finish(m->result, &m->sim);
	m->open = false;
	if (!drain)
		return;
	while (sim_step(&m->sim))
		;
	check_still(m, buffers);
}

int machine_run(const struct machine_setup *setup, struct parameters *p, bool drain,
	struct result *result, struct error *error)
{
	struct machine m = {.setup = setup, .result = result, .spare = PACKET_NONE, .open = true};
	int rc = check(setup, error);

	if (rc == 0)
		rc = check_parameters(p, error);
	if (rc == 0)
		rc = links(&m, p, error);
	if (rc < 0)
		return rc;
	m.interval = sim_transfer(setup->frame + 20,
		setup->bit_per_s ? setup->bit_per_s : parameters_get(p, "nic.port"));
	rc = check_size(&m, p, error);
	if (rc < 0)
		return rc;
	*result = (struct result){0};
	m.program = setup->program;
	m.state = m.program->make(p, setup->nics, error);
	if (!m.state)
		return -EINVAL;
	for (unsigned k = 0; k < PROGRAM_SIDES; k++)
		m.most[k] = m.program->most[k] == PROGRAM_BATCH
				    ? (unsigned)parameters_get(p, "program.batch")
				    : m.program->most[k];
	sim_init(&m.sim, setup->seed);
	rc = build(&m, p, error);
	if (rc == 0)
		run(&m, drain);
	machine_free(&m);
	return rc;
}
