/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The program `p2pnic`: our firmware, unchanged, behind the board in virtual time (board.h). Each
 * NIC of the machine has a `struct nic` of its own, with rings to all others and a table with a
 * route to each. A thread's burst is real frames in that NIC's receive buffers and one nic_poll;
 * what the firmware did then, in its order, are the operations that the thread does in virtual
 * time.
 *
 *     nic_poll      HEADER 8 · LOOKUP 8 · RESOLVE 8 · BUFFER 1 · FRAME ×8 · PUBLISH · COUNTER 2 …
 *     operations    8 reads of CTM · levels × 8 reads of the table · …  8 DMA writes · a DMA write
 *
 * The firmware acts at once, the thread takes its time; so what peers see of each other is put off.
 * A descriptor is visible when the machine says that its packet was published to the egress NIC
 * (model_board_land). A consumer word is there at once: the machine keeps the ring's places itself,
 * and lets no more packets in than have one (threads.h), so the firmware never finds a ring full.
 *
 * Accesses of one kind in a burst do not depend on each other, as the firmware's stages over arrays
 * are made: all are begun, and the thread waits for the last. A lookup is as many such rounds as it
 * has reads that depend on each other.
 *
 * The firmware is written for one processor a NIC; here all threads of a NIC run it, each on its
 * own bursts, and no lock is charged. docs/model.md says what that means.
 *
 * `p2pnic-held` is a question to the model, and no firmware that we have: what would fuller batches
 * bring? The same firmware, but its descriptors wait until a batch of them is full, or a thread's
 * poll finds no frame; and until all before them are written, for here other threads publish them.
 *
 * Names: the firmware for this board and for the soft NIC have the same, and p2pnic links both. So
 * meson.build joins this file, board.c and the firmware into one object, in which only
 * program_p2pnic and program_p2pnic_held keep their names.
 */
#include "model/program.h"

#include "fib/fib_image.h"
#include "firmware/header.h"
#include "model/board.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define RX_BUFFERS   1024u
#define SLOTS        P2PNIC_RING_SLOTS_MAX
#define BUFFER_BYTES 16384u /* address space: only what a frame touches is memory */
#define ADDRESS(e)   (0xc6120002u + ((uint32_t)(e) << 8)) /* 198.18.e.2 (RFC 2544, C.2.2) */
#define BURST        32u /* below P2PNIC_BURST_MAX: a full burst would wait for the next */

/* What an access that the firmware announces costs. */
struct charge {
	const char *memory; /* parameter: which one */
	uint32_t bytes;
	unsigned rounds; /* accesses one after another; LOOKUP: as the parameter says */
	bool posted;     /* nobody waits: the memory adds by itself */
};

static const struct charge charges[BOARD_COSTS] = {
	[BOARD_COST_POLL] = {"program.rings_memory", 8, 1, false},
	[BOARD_COST_DESCRIPTOR] = {"program.rings_memory", 64, 1, false},
	[BOARD_COST_HEADER] = {"program.header_memory", 64, 1, false},
	[BOARD_COST_LOOKUP] = {"program.table_memory", 64, 1, false},
	[BOARD_COST_RESOLVE] = {"program.next_hops_memory", 64, 2, false},
	[BOARD_COST_BUFFER] = {"program.lists_memory", 64, 1, false},
	[BOARD_COST_COUNTER] = {"program.counters_memory", 8, 1, true},
};

/* Packets from one NIC to another that the firmware has and did not publish, in their order. */
struct line {
	struct program_packet packet[SLOTS];
	uint32_t in, out;
	/* program_p2pnic_held: up to `ready` all are written; `by`: threads that write the others,
	 * 0: none any more, else one more than its number. */
	uint32_t by[SLOTS], ready;
};

struct model_nic {
	struct nic nic;
	struct board board;
	struct p2pnic_counters counters;
	uint8_t *bar2;
	struct line line[P2PNIC_NICS_MAX];
	uint32_t sent[P2PNIC_NICS_MAX]; /* of each ingress NIC's packets, and not returned yet */
	struct model_word later[P2PNIC_NICS_MAX][SLOTS];
};

struct state {
	unsigned nics;
	uint32_t poll_cycles, burst_cycles[2], packet_cycles[2]; /* ingress, egress */
	uint32_t bar4_bytes, slots;
	uint32_t batch; /* program_p2pnic_held: descriptors that go together; 0: as they come */
	bool idle_returns;
	enum memory packets, rings; /* of the egress NIC, where DMA writes go */
	enum memory memory[BOARD_COSTS];
	unsigned rounds[BOARD_COSTS];
	struct model_nic *nic[P2PNIC_NICS_MAX];
	struct operation *operation; /* those of the burst */
	unsigned operations;
};

/* --- NICs ------------------------------------------------------------------------------------- */

/* Zeroed pages that are taken when they are touched. */
static void *pages(uint64_t bytes)
{
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return memory == MAP_FAILED ? NULL : memory;
}

static uint32_t buffers_at(unsigned ingress)
{
	return (RX_BUFFERS + ingress * SLOTS) * BUFFER_BYTES;
}

static bool nic_make(struct state *s, unsigned index)
{
	struct model_nic *m = s->nic[index] = pages(sizeof(*m));

	if (!m)
		return false;
	m->bar2 = pages(P2PNIC_BAR2_BYTES_MIN);
	m->board.packets = pages(s->bar4_bytes);
	if (!m->bar2 || !m->board.packets)
		return false;
	nic_init(&m->nic, &m->board, P2PNIC_METHOD_WRITE, BUFFER_BYTES, &m->counters, m->bar2,
		P2PNIC_BAR2_BYTES_MIN, m->board.packets, s->bar4_bytes);
	nic_set_port(&m->nic, true, 0, 0);
	nic_register_write(&m->nic, P2PNIC_REG_COMMAND, P2PNIC_OP_RESET);
	nic_register_write(&m->nic, P2PNIC_REG_NIC_INDEX, index);
	nic_register_write(&m->nic, P2PNIC_REG_RX_BUFFERS, RX_BUFFERS);
	return true;
}

/* Windows of a NIC: 2k and 2k + 1 are those of the NIC k, its mailbox and its packets. */
static void join(struct state *s, unsigned index, unsigned other)
{
	struct model_nic *m = s->nic[index], *peer = s->nic[other];
	const uint64_t mailbox = (1ull << 40) + ((uint64_t)other << 32), packets = mailbox << 1;
	struct p2pnic_peer *entry = (struct p2pnic_peer *)(m->bar2 + P2PNIC_BAR2_PEERS) + other;
	const int window = model_board_window(&m->board, mailbox,
		peer->bar2 + index * sizeof(struct p2pnic_mailbox), sizeof(struct p2pnic_mailbox));

	m->board.window[window].later = m->later[other];
	m->board.window[window].later_mask = SLOTS - 1;
	model_board_window(&m->board, packets, peer->board.packets, s->bar4_bytes);
	*entry = (struct p2pnic_peer){.epoch = 1,
		.batch = P2PNIC_BURST_MAX,
		.mailbox = {mailbox},
		.out_buffers = {packets + buffers_at(index)},
		.out_buffer_count = SLOTS,
		.out_slots = s->slots,
		.in_offset = buffers_at(other),
		.in_buffer_count = SLOTS,
		.in_slots = s->slots};
	nic_register_write(&m->nic, P2PNIC_REG_COMMAND, P2PNIC_COMMAND(P2PNIC_OP_PEER_OPEN, other));
	assert(m->nic.result == P2PNIC_OK);
}

/* A route to each NIC. */
static void load(struct state *s, struct model_nic *m, const struct fib *fib)
{
	fib_image_write(fib, m->bar2 + P2PNIC_BAR2_FIB);
	for (unsigned e = 0; e < s->nics; e++) {
		((p2pnic_next_hop *)(m->bar2 + P2PNIC_BAR2_NEXT_HOPS))[1 + e] =
			P2PNIC_NEXT_HOP(1 + e, 0);
		((struct p2pnic_adjacency *)(m->bar2 + P2PNIC_BAR2_ADJACENCIES))[1 + e] =
			(struct p2pnic_adjacency){.mtu = (uint16_t)P2PNIC_MTU_MAX(BUFFER_BYTES),
				.kind = P2PNIC_ADJACENCY_FORWARD,
				.egress = (uint8_t)e};
	}
	nic_register_write(&m->nic, P2PNIC_REG_MAC_LOW, 2);
	nic_register_write(&m->nic, P2PNIC_REG_MAC_HIGH, 0);
	nic_register_write(&m->nic, P2PNIC_REG_FIB4_OFFSET, P2PNIC_BAR2_FIB);
	nic_register_write(&m->nic, P2PNIC_REG_COMMAND, P2PNIC_OP_FIB_IPV4);
	assert(m->nic.result == P2PNIC_OK);
	nic_register_write(&m->nic, P2PNIC_REG_COMMAND, P2PNIC_OP_START);
}

static struct fib *table(unsigned nics, struct error *error)
{
	const struct fib_config config = {4, P2PNIC_FIB_LINE_TRIE, 4 << 20};
	struct fib_route route[P2PNIC_NICS_MAX];
	struct fib *fib = fib_new(&config, error);

	for (unsigned e = 0; e < nics; e++)
		route[e] = fib_route4(ADDRESS(e), 32, (uint16_t)(1 + e));
	if (fib && fib_build(fib, route, nics, error)) {
		fib_free(fib);
		return NULL;
	}
	return fib;
}

static void p2pnic_release(void *state)
{
	struct state *s = state;

	for (unsigned k = 0; k < s->nics && s->nic[k]; k++) {
		if (s->nic[k]->bar2)
			munmap(s->nic[k]->bar2, P2PNIC_BAR2_BYTES_MIN);
		if (s->nic[k]->board.packets)
			munmap(s->nic[k]->board.packets, s->bar4_bytes);
		munmap(s->nic[k], sizeof(*s->nic[k]));
	}
	free(s);
}

static enum memory memory_of(struct parameters *p, const char *name)
{
	const uint64_t memory = parameters_get(p, name);

	return memory < MEMORIES ? (enum memory)memory : MEMORY_DRAM;
}

static void *p2pnic_make(struct parameters *p, unsigned nics, struct error *error)
{
	struct state *s = calloc(1, sizeof(*s));
	struct fib *fib = table(nics, error);
	bool made = s && fib;

	if (!s || !fib) {
		free(s);
		if (fib)
			fib_free(fib);
		return NULL;
	}
	s->nics = nics;
	s->slots = (uint32_t)parameters_get(p, "program.ring_slots");
	if (s->slots < P2PNIC_RING_SLOTS_MIN || s->slots > SLOTS || s->slots & (s->slots - 1)) {
		error_set(error, -EINVAL, "program.ring_slots: %u: want a power of two, %u to %u",
			s->slots, P2PNIC_RING_SLOTS_MIN, SLOTS);
		fib_free(fib);
		free(s);
		return NULL;
	}
	for (s->bar4_bytes = P2PNIC_BAR4_BYTES_MIN; s->bar4_bytes < buffers_at(nics);)
		s->bar4_bytes *= 2;
	s->poll_cycles = (uint32_t)parameters_get(p, "program.poll_cycles");
	s->idle_returns = parameters_get(p, "program.idle_returns");
	s->burst_cycles[0] = (uint32_t)parameters_get(p, "program.ingress_burst_cycles");
	s->packet_cycles[0] = (uint32_t)parameters_get(p, "program.ingress_packet_cycles");
	s->burst_cycles[1] = (uint32_t)parameters_get(p, "program.egress_burst_cycles");
	s->packet_cycles[1] = (uint32_t)parameters_get(p, "program.egress_packet_cycles");
	s->packets = memory_of(p, "program.packets_memory");
	s->rings = memory_of(p, "program.rings_memory");
	for (unsigned what = 0; what < BOARD_COSTS; what++) {
		s->memory[what] = memory_of(p, charges[what].memory);
		s->rounds[what] = charges[what].rounds;
	}
	s->rounds[BOARD_COST_LOOKUP] = (unsigned)parameters_get(p, "program.lookup_reads");
	for (unsigned k = 0; made && k < nics; k++)
		made = nic_make(s, k);
	for (unsigned k = 0; made && k < nics; k++)
		for (unsigned other = 0; other < nics; other++)
			join(s, k, other);
	for (unsigned k = 0; made && k < nics; k++)
		load(s, s->nic[k], fib);
	fib_free(fib);
	if (made)
		return s;
	error_set(error, -ENOMEM, "program p2pnic: no memory for %u NICs", nics);
	p2pnic_release(s);
	return NULL;
}

/* --- Operations ------------------------------------------------------------------------------- */

static struct operation *add(struct state *s, struct operation operation)
{
	assert(s->operations < PROGRAM_OPERATIONS);
	s->operation[s->operations] = operation;
	return &s->operation[s->operations++];
}

static void add_compute(struct state *s, uint32_t cycles)
{
	if (cycles)
		add(s, (struct operation){.kind = OPERATION_COMPUTE, .amount = cycles});
}

/* `times` accesses that do not depend on each other; as many rounds as do. */
static void add_cost(struct state *s, enum board_cost what, uint32_t times)
{
	if (what == BOARD_COST_HEADER)
		add_compute(s, s->packet_cycles[0] * times);
	for (unsigned round = 0; round < s->rounds[what]; round++)
		for (uint32_t k = 0; k < times; k++)
			add(s, (struct operation){.kind = OPERATION_MEMORY,
				       .memory = s->memory[what],
				       .write = charges[what].posted,
				       .blocking = k == times - 1 && !charges[what].posted,
				       .amount = charges[what].bytes});
}

/* Packets of the line that were published are the next ones of the burst. */
static void take_published(struct line *line, struct program_burst *burst, unsigned n)
{
	for (unsigned k = 0; k < n; k++) {
		assert(line->out != line->in && burst->n < PROGRAM_BURST);
		burst->packet[burst->n++] = line->packet[line->out++ % SLOTS];
	}
}

/* The next n packets of the line to that NIC. */
static void add_publish(struct state *s, struct model_nic *m, unsigned target, unsigned n,
	struct program_burst *burst)
{
	add(s, (struct operation){.kind = OPERATION_DMA_WRITE,
		       .effect = EFFECT_PUBLISH,
		       .memory = s->rings,
		       .target = (uint8_t)target,
		       .first = (uint8_t)burst->n,
		       .count = (uint8_t)n,
		       .amount = n * (uint32_t)sizeof(struct p2pnic_descriptor)});
	take_published(&m->line[target], burst, n);
}

/* What the thread had to write is written. */
static void note_written(struct line *line, unsigned thread)
{
	for (uint32_t k = line->ready; k != line->in; k++)
		if (line->by[k % SLOTS] == thread + 1)
			line->by[k % SLOTS] = 0;
	while (line->ready != line->in && !line->by[line->ready % SLOTS])
		line->ready++;
}

/* What firmware would do that published, of packets that are written, full batches, and all when a
 * poll finds no frame; as many as a burst can name. */
static void add_held(struct state *s, struct model_nic *m, struct program_burst *burst, bool all)
{
	for (unsigned e = 0; e < s->nics; e++) {
		struct line *line = &m->line[e];

		for (;;) {
			const uint32_t room = PROGRAM_BURST - burst->n;
			uint32_t n = line->ready - line->out;

			n = n < s->batch ? n : s->batch;
			n = all && n > room ? room : n;
			if (!n || n > room || (n < s->batch && !all))
				break;
			add_publish(s, m, e, n, burst);
		}
	}
}

static void add_dma(struct state *s, struct model_nic *m, const struct model_operation *o,
	struct program_burst *burst)
{
	const unsigned target = o->window / 2;
	const uint32_t descriptors = o->bytes / sizeof(struct p2pnic_descriptor);

	if (o->kind == MODEL_PUBLISH) {
		if (!s->batch)
			add_publish(s, m, target, descriptors, burst);
		return;
	}
	struct operation *write = add(s, (struct operation){.kind = OPERATION_DMA_WRITE,
						 .memory = s->rings,
						 .target = (uint8_t)target,
						 .amount = o->bytes});

	if (o->kind == MODEL_FRAME) {
		write->memory = s->packets;
		return;
	}
	assert(o->kind == MODEL_WORD); /* method Wr reads nothing */
	write->effect = EFFECT_RETURN;
	write->count = (uint8_t)m->sent[target];
	m->sent[target] = 0;
}

/* What the firmware did becomes what the thread does. `burst`: ingress: empty, published packets
 * come into it in their order; egress: packets in the order in which the firmware sends them. */
static void translate(
	struct state *s, struct model_nic *m, struct program_burst *burst, uint32_t cycles)
{
	uint8_t sent = 0;

	assert(!m->board.lost && !m->board.faults);
	add_compute(s, cycles);
	for (unsigned k = 0; k < m->board.operations; k++) {
		const struct model_operation *o = &m->board.operation[k];

		switch (o->kind) {
		case MODEL_COST:
			add_cost(s, o->what, o->times);
			break;
		case MODEL_SEND:
			add_compute(s, s->packet_cycles[1] * o->times);
			add(s, (struct operation){.kind = OPERATION_SEND,
				       .first = sent,
				       .count = (uint8_t)o->times});
			sent = (uint8_t)(sent + o->times);
			break;
		default:
			add_dma(s, m, o, burst);
		}
	}
}

/* --- Bursts ----------------------------------------------------------------------------------- */

/* A frame in the next receive buffer but k. */
static void put_frame(struct model_nic *m, unsigned k, unsigned egress)
{
	const uint32_t length = m->board.length, to = ADDRESS(egress);
	const uint8_t header[34] = {2, 0, 0, 0, 0, 0, 2, 0, 0, 0, 1, 0, 8, 0, 0x45, 0,
		(uint8_t)((length - 14) >> 8), (uint8_t)(length - 14), 0, 0, 0, 0, 64, 17, 0, 0,
		198, 19, 0, 1, (uint8_t)(to >> 24), (uint8_t)(to >> 16), (uint8_t)(to >> 8),
		(uint8_t)to};
	uint8_t *frame = m->board.packets + m->board.buffer[(m->board.next + k) % m->board.buffers];
	uint64_t sum = 0;

	memcpy(frame, header, sizeof(header));
	for (unsigned b = 14; b < 34; b += 2)
		sum += load16(frame + b);
	const uint16_t checksum = (uint16_t)~fold(sum);
	memcpy(frame + 24, &checksum, 2);
}

static void ingress(struct state *s, struct program_burst *burst)
{
	struct model_nic *m = s->nic[burst->nic];
	const unsigned n = burst->n;

	assert(n <= BURST);
	for (unsigned e = 0; s->batch && e < s->nics; e++)
		note_written(&m->line[e], burst->thread);
	m->board.length = n ? burst->packet[0].bytes : 0;
	for (unsigned k = 0; k < n; k++) {
		struct line *line = &m->line[burst->packet[k].egress];

		assert(burst->packet[k].bytes == m->board.length);
		put_frame(m, k, burst->packet[k].egress);
		line->by[line->in % SLOTS] = burst->thread + 1;
		line->packet[line->in++ % SLOTS] = burst->packet[k];
	}
	m->board.waiting = n;
	nic_poll(&m->nic);
	burst->n = 0;
	translate(s, m, burst, n ? s->burst_cycles[0] : s->poll_cycles);
	if (s->batch)
		add_held(s, m, burst, !n);
	else
		assert(burst->n == n); /* dropped none, held none */
}

/* The packets of the burst in the order in which the firmware looks at its rings. */
static void sort_by_ring(const struct nic *n, struct program_burst *burst)
{
	struct program_packet packet[PROGRAM_BURST];
	unsigned to = 0;

	memcpy(packet, burst->packet, burst->n * sizeof(*packet));
	for (unsigned k = 0; k < n->open_peers; k++) {
		const unsigned peer = n->peer[(n->first + k) % n->open_peers];

		for (unsigned j = 0; j < burst->n; j++)
			if (packet[j].ingress == peer)
				burst->packet[to++] = packet[j];
	}
	assert(to == burst->n);
}

static void egress(struct state *s, struct program_burst *burst)
{
	struct model_nic *m = s->nic[burst->nic];

	sort_by_ring(&m->nic, burst);
	for (unsigned k = 0; k < burst->n; k++) {
		struct board *from = &s->nic[burst->packet[k].ingress]->board;

		model_board_land(&from->window[2 * burst->nic], 1);
		m->sent[burst->packet[k].ingress]++;
	}
	nic_poll(&m->nic);
	translate(s, m, burst, burst->n ? s->burst_cycles[1] : s->poll_cycles);
	/* The next poll finds nothing to send: it tells what was held back until now (ring_in.h).
	 */
	if (m->nic.completions && !burst->more && s->idle_returns) {
		m->board.operations = 0;
		nic_poll(&m->nic);
		translate(s, m, burst, s->poll_cycles);
	}
}

static unsigned p2pnic_burst(void *state, enum program_side side, struct program_burst *burst,
	struct operation *operation)
{
	struct state *s = state;

	s->operation = operation;
	s->operations = 0;
	s->nic[burst->nic]->board.operations = 0;
	if (side == PROGRAM_INGRESS)
		ingress(s, burst);
	else
		egress(s, burst);
	return s->operations;
}

static void *held_make(struct parameters *p, unsigned nics, struct error *error)
{
	struct state *s = p2pnic_make(p, nics, error);

	if (s)
		s->batch = (uint32_t)parameters_get(p, "program.batch");
	return s;
}

#define SIDES                                                                                      \
	{                                                                                          \
		[PROGRAM_INGRESS] = PROGRAM_BATCH, [PROGRAM_EGRESS] = PROGRAM_BATCH                \
	}

const struct program program_p2pnic = {
	.name = "p2pnic",
	.most = SIDES,
	.make = p2pnic_make,
	.release = p2pnic_release,
	.burst = p2pnic_burst,
};

const struct program program_p2pnic_held = {
	.name = "p2pnic-held",
	.most = SIDES,
	.polls = true,
	.make = held_make,
	.release = p2pnic_release,
	.burst = p2pnic_burst,
};
