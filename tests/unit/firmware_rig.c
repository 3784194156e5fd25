/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/firmware_rig.h"

#include "firmware/header.h"
#include "firmware/kernel.h"

#include <stdio.h>
#include <sys/mman.h>

#define PAGE 4096u

#define BUS_MAILBOX  0x00000000ull
#define BUS_DOORBELL 0x00100000ull
#define BUS_OUT      0x10000000ull
#define BUS_IN       0x20000000ull

_Thread_local unsigned board_fences;

void board_failed(const char *condition, const char *file, int line)
{
	fprintf(stderr, "%s:%d: the firmware broke a rule of its board: %s\n", file, line,
		condition);
	abort();
}

/* Between two pages, its length in the first; an access of the second ends the process. The kernel
 * gives each page when it is touched, which of most rigs is a small part. */
static void *zeroed(size_t bytes)
{
	size_t room = (bytes + PAGE - 1) / PAGE * PAGE + 2 * PAGE;
	uint8_t *memory = mmap(NULL, room, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	BOARD_ASSERT(memory != MAP_FAILED);
	memcpy(memory, &room, sizeof(room));
	BOARD_ASSERT(mprotect(memory + room - PAGE, PAGE, PROT_NONE) == 0);
	return memory + PAGE;
}

static void unmap(void *memory)
{
	size_t room;

	if (!memory)
		return;
	memcpy(&room, (uint8_t *)memory - PAGE, sizeof(room));
	munmap((uint8_t *)memory - PAGE, room);
}

/* What a NIC finds in its own memory does not matter, and new pages cost most of a short rig: a NIC
 * gets what one of an earlier rig has left. */
static struct {
	void *memory;
	size_t bytes;
} left[2 * RIG_NICS_MAX];

static void *used(size_t bytes)
{
	for (unsigned k = 0; k < 2 * RIG_NICS_MAX; k++) {
		void *memory = left[k].memory;

		if (memory && left[k].bytes == bytes) {
			left[k].memory = NULL;
			return memory;
		}
	}
	return zeroed(bytes);
}

static void leave(void *memory, size_t bytes)
{
	for (unsigned k = 0; k < 2 * RIG_NICS_MAX; k++) {
		if (!left[k].memory) {
			left[k].memory = memory;
			left[k].bytes = bytes;
			return;
		}
	}
	unmap(memory);
}

static struct bus_addr bus_of(unsigned peer, uint64_t part)
{
	return (struct bus_addr){((uint64_t)(peer + 1) << 32) + part};
}

static uint32_t ring_bytes(const struct rig *r)
{
	return r->config.slots * r->config.buffer_bytes;
}

static uint32_t rx_bytes(const struct rig *r)
{
	return r->config.rx_buffers * r->config.buffer_bytes;
}

/* In BAR4: own buffers, then those of each ingress NIC, then the host's. */
static uint32_t ring_buffers(const struct rig *r, unsigned peer)
{
	unsigned before = peer < P2PNIC_NICS_MAX ? peer : RIG_NICS_MAX + peer - P2PNIC_NICS_MAX;

	return rx_bytes(r) + before * ring_bytes(r);
}

/* --- Windows ---------------------------------------------------------------------------------- */

static void add_window(struct rig_nic *a, struct bus_addr bus, uint64_t bytes, unsigned access,
	enum board_window_kind kind, void *memory, struct board *rung)
{
	BOARD_ASSERT(a->board.windows < BOARD_WINDOWS);
	a->board.window[a->board.windows++] =
		(struct board_window){bus.value, bytes, access, kind, memory, rung};
}

static struct p2pnic_mailbox *mailbox_in(struct rig_nic *a, unsigned peer)
{
	return (struct p2pnic_mailbox *)(a->bar2 + P2PNIC_BAR2_MAILBOXES) + peer;
}

void rig_map(struct rig *r, unsigned nic, unsigned peer)
{
	struct rig_nic *a = &r->at[nic];
	enum board_window_kind memory = r->config.messages ? BOARD_MESSAGE : BOARD_MEMORY;
	struct p2pnic_mailbox *mailbox;
	uint8_t *out = NULL, *in = NULL;
	uint64_t in_bytes = ring_bytes(r);

	if (peer >= P2PNIC_NICS_MAX) {
		mailbox = a->host[peer - P2PNIC_NICS_MAX].mailbox;
		out = a->host[peer - P2PNIC_NICS_MAX].out_buffers;
		in = a->host[peer - P2PNIC_NICS_MAX].in_buffers;
	} else if (P2PNIC_METHOD == P2PNIC_METHOD_BOUNCE) {
		mailbox = r->relay[nic][peer];
		out = r->bounce[nic][peer];
		in = r->bounce[peer][nic];
	} else {
		mailbox = mailbox_in(&r->at[peer], nic);
		out = r->at[peer].bar4 + ring_buffers(r, nic);
		in = r->at[peer].bar4;
		in_bytes = rx_bytes(r);
	}
	add_window(
		a, bus_of(peer, BUS_MAILBOX), sizeof(*mailbox), DMA_WRITE, memory, mailbox, NULL);
	if (peer < P2PNIC_NICS_MAX)
		add_window(a, bus_of(peer, BUS_DOORBELL), 4096, DMA_WRITE, BOARD_DOORBELL, NULL,
			&r->at[peer].board);
	if (RIG_INGRESS_WRITES)
		add_window(a, bus_of(peer, BUS_OUT), ring_bytes(r), DMA_WRITE, memory, out, NULL);
	if (RIG_EGRESS_READS)
		add_window(a, bus_of(peer, BUS_IN), in_bytes, DMA_READ, memory, in, NULL);
	else if (peer < P2PNIC_NICS_MAX)
		add_window(a, bus_of(peer, BUS_IN), rx_bytes(r), DMA_READ, memory, r->at[peer].bar4,
			NULL);
}

void rig_unmap(struct rig *r, unsigned nic, unsigned peer)
{
	struct board *b = &r->at[nic].board;

	for (unsigned k = b->windows; k-- > 0;)
		if (b->window[k].bus >> 32 == peer + 1)
			b->window[k] = b->window[--b->windows];
	nic_windows_changed(r->at[nic].nic);
}

/* --- Bring-up --------------------------------------------------------------------------------- */

static void write_register(struct rig *r, unsigned nic, uint32_t reg, uint32_t value)
{
	nic_register_write(r->at[nic].nic, reg, value);
}

unsigned rig_command(struct rig *r, unsigned nic, unsigned operation, unsigned argument)
{
	write_register(r, nic, P2PNIC_REG_COMMAND, P2PNIC_COMMAND(operation, argument));
	return nic_register_read(r->at[nic].nic, P2PNIC_REG_RESULT);
}

struct p2pnic_peer rig_entry(const struct rig *r, unsigned nic, unsigned peer, uint32_t epoch)
{
	struct p2pnic_peer e = {
		.epoch = epoch,
		.batch = r->config.batch,
		.mailbox = bus_of(peer, BUS_MAILBOX),
		.out_slots = r->config.slots,
		.in_slots = r->config.slots,
		.in_buffer_count = r->config.slots,
	};

	if (peer < P2PNIC_NICS_MAX) {
		e.doorbell = bus_of(peer, BUS_DOORBELL);
		e.flags = P2PNIC_PEER_CHECK(r->config.check);
	}
	if (RIG_INGRESS_WRITES) {
		e.out_buffers = bus_of(peer, BUS_OUT);
		e.out_buffer_count = r->config.slots;
	}
	if (RIG_EGRESS_READS) {
		e.in_buffers = bus_of(peer, BUS_IN);
		if (P2PNIC_METHOD == P2PNIC_METHOD_READ && peer < P2PNIC_NICS_MAX)
			e.in_buffer_count = r->config.rx_buffers;
	} else {
		e.in_offset = ring_buffers(r, peer);
		if (r->config.lend_from && peer < P2PNIC_NICS_MAX) {
			e.lend_from = r->config.lend_from;
			e.lent_buffers = bus_of(peer, BUS_IN);
			e.lent_buffer_count = r->config.rx_buffers;
		}
	}
	return e;
}

unsigned rig_open_side(struct rig *r, unsigned nic, unsigned peer, uint32_t epoch)
{
	struct p2pnic_peer *table = (struct p2pnic_peer *)(r->at[nic].bar2 + P2PNIC_BAR2_PEERS);

	table[peer] = rig_entry(r, nic, peer, epoch);
	if (peer >= P2PNIC_NICS_MAX)
		r->at[nic].host[peer - P2PNIC_NICS_MAX].consumed =
			r->at[nic].host[peer - P2PNIC_NICS_MAX].produced = 0;
	return rig_command(r, nic, P2PNIC_OP_PEER_OPEN, peer);
}

/* As a driver does before it opens a pair. */
static void clear_mailboxes(struct rig *r, unsigned a, unsigned b)
{
	memset(mailbox_in(&r->at[a], b), 0, sizeof(struct p2pnic_mailbox));
	if (b >= P2PNIC_NICS_MAX) {
		memset(r->at[a].host[b - P2PNIC_NICS_MAX].mailbox, 0,
			sizeof(struct p2pnic_mailbox));
		return;
	}
	memset(mailbox_in(&r->at[b], a), 0, sizeof(struct p2pnic_mailbox));
	if (P2PNIC_METHOD == P2PNIC_METHOD_BOUNCE) {
		memset(r->relay[a][b], 0, sizeof(struct p2pnic_mailbox));
		memset(r->relay[b][a], 0, sizeof(struct p2pnic_mailbox));
	}
}

void rig_open(struct rig *r, unsigned a, unsigned b)
{
	uint32_t epoch = r->at[a].epoch[b] + 1;

	clear_mailboxes(r, a, b);
	r->at[a].epoch[b] = epoch;
	BOARD_ASSERT(rig_open_side(r, a, b, epoch) == P2PNIC_OK);
	if (a == b || b >= P2PNIC_NICS_MAX)
		return;
	r->at[b].epoch[a] = epoch;
	BOARD_ASSERT(rig_open_side(r, b, a, epoch) == P2PNIC_OK);
}

void rig_close(struct rig *r, unsigned a, unsigned b)
{
	/* What a full burst has left goes where the other end, which closes later, finds it. */
	rings_publish(r->at[a].nic);
	if (b < P2PNIC_NICS_MAX)
		rings_publish(r->at[b].nic);
	rig_relay(r);
	BOARD_ASSERT(rig_command(r, a, P2PNIC_OP_PEER_CLOSE, b) == P2PNIC_OK);
	if (a != b && b < P2PNIC_NICS_MAX)
		BOARD_ASSERT(rig_command(r, b, P2PNIC_OP_PEER_CLOSE, a) == P2PNIC_OK);
}

void rig_near_wrap(struct rig *r, unsigned a, unsigned b)
{
	struct ring_out *out = &r->at[a].nic->out[b];
	struct ring_in *in = &r->at[b].nic->in[a];

	out->counted = out->produced = out->published = out->consumed = in->dequeued =
		in->completed = in->announced = 0xfffffff0u;
	out->limit = out->consumed + out->capacity;
	*out->consumer = P2PNIC_RING_WORD(out->epoch, out->consumed);
	if (P2PNIC_METHOD == P2PNIC_METHOD_BOUNCE)
		r->relay[b][a]->consumer = *out->consumer;
}

void rig_adjacency(
	struct rig *r, unsigned nic, unsigned index, unsigned kind, unsigned egress, unsigned mtu)
{
	struct p2pnic_adjacency *a =
		(struct p2pnic_adjacency *)(r->at[nic].bar2 + P2PNIC_BAR2_ADJACENCIES) + index;

	*a = (struct p2pnic_adjacency){
		.destination = packet_next_mac(egress),
		.source = packet_way_mac(nic, egress),
		.mtu = (uint16_t)mtu,
		.kind = (uint8_t)kind,
		.egress = (uint8_t)egress,
	};
}

unsigned rig_sources(struct rig *r, unsigned nic, const uint32_t *address, uint32_t n)
{
	struct p2pnic_sources *list =
		(struct p2pnic_sources *)(r->at[nic].bar2 + P2PNIC_BAR2_SOURCES);

	list->count = n;
	for (uint32_t k = 0; k < n && k < P2PNIC_SOURCES_MAX; k++)
		list->address[k] = swap32(address[k]);
	return rig_command(r, nic, P2PNIC_OP_SOURCES, 0);
}

void rig_next_hop(struct rig *r, unsigned nic, unsigned hop, uint32_t word)
{
	p2pnic_next_hop *table = (p2pnic_next_hop *)(r->at[nic].bar2 + P2PNIC_BAR2_NEXT_HOPS);

	atomic_store_explicit(&table[hop], word, memory_order_release);
}

void rig_vlan(struct rig *r, unsigned nic, unsigned vid, enum p2pnic_vlan_state state)
{
	p2pnic_vlan *table = (p2pnic_vlan *)(r->at[nic].bar2 + P2PNIC_BAR2_VLANS);

	atomic_store_explicit(&table[vid], (uint8_t)state, memory_order_relaxed);
}

void rig_tag(struct rig *r, unsigned nic, unsigned index, unsigned control)
{
	struct p2pnic_adjacency *a =
		(struct p2pnic_adjacency *)(r->at[nic].bar2 + P2PNIC_BAR2_ADJACENCIES) + index;

	if (a->kind == P2PNIC_ADJACENCY_FORWARD)
		a->kind = P2PNIC_ADJACENCY_FORWARD_TAGGED;
	a->encapsulation = (uint16_t)control;
}

static void routes(struct rig *r, unsigned nic, unsigned family, uint32_t offset,
	const struct fib_route *list, size_t n)
{
	struct error error = {""};
	struct fib_config config = {family, P2PNIC_FIB_STATE_JUMP, RIG_FIB_ROOM};
	struct fib *fib = fib_new(&config, &error);

	if (!fib || fib_build(fib, list, n, &error))
		board_failed(error.text, __FILE__, __LINE__);
	fib_image_write(fib, r->at[nic].bar2 + offset);
	fib_free(fib);
	write_register(
		r, nic, family == 4 ? P2PNIC_REG_FIB4_OFFSET : P2PNIC_REG_FIB6_OFFSET, offset);
	BOARD_ASSERT(rig_command(r, nic, family == 4 ? P2PNIC_OP_FIB_IPV4 : P2PNIC_OP_FIB_IPV6,
			     0) == P2PNIC_OK);
}

void rig_routes4(struct rig *r, unsigned nic, const struct fib_route *list, size_t n)
{
	routes(r, nic, 4, RIG_FIB4, list, n);
}

void rig_routes6(struct rig *r, unsigned nic, const struct fib_route *list, size_t n)
{
	routes(r, nic, 6, RIG_FIB6, list, n);
}

static void standard_tables(struct rig *r, unsigned nic)
{
	struct fib_route v4[RIG_NICS_MAX + 10], v6[RIG_NICS_MAX + 1];
	size_t n = 0;

	for (unsigned e = 0; e < RIG_NICS_MAX; e++) {
		rig_adjacency(r, nic, RIG_HOP_EGRESS + e, P2PNIC_ADJACENCY_FORWARD, e,
			P2PNIC_MTU_MAX(r->config.buffer_bytes));
		v4[n++] = fib_route4(PACKET_TO(e) & 0xffff0000, 16, RIG_HOP_EGRESS + e);
		v6[e] = (struct fib_route){
			{PACKET_TO6(e), 0}, 48, 6, (uint16_t)(RIG_HOP_EGRESS + e)};
	}
	rig_adjacency(r, nic, RIG_HOP_LOCAL, P2PNIC_ADJACENCY_LOCAL, 0, 0);
	rig_adjacency(r, nic, RIG_HOP_GLEAN, P2PNIC_ADJACENCY_GLEAN, 0, 0);
	rig_adjacency(r, nic, RIG_HOP_BLACKHOLE, P2PNIC_ADJACENCY_BLACKHOLE, 0, 0);
	rig_adjacency(r, nic, RIG_HOP_UNREACHABLE, P2PNIC_ADJACENCY_UNREACHABLE, 0, 0);
	rig_adjacency(r, nic, RIG_HOP_PROHIBIT, P2PNIC_ADJACENCY_PROHIBIT, 0, 0);
	rig_adjacency(r, nic, RIG_HOP_NONE, P2PNIC_ADJACENCY_NONE, 0, 0);
	rig_adjacency(r, nic, RIG_HOP_NO_SUCH_NIC, P2PNIC_ADJACENCY_FORWARD, 200,
		P2PNIC_MTU_MAX(r->config.buffer_bytes));
	rig_adjacency(r, nic, RIG_HOP_SMALL_MTU, P2PNIC_ADJACENCY_FORWARD, 0, 576);
	rig_adjacency(r, nic, RIG_HOP_BROADCAST, P2PNIC_ADJACENCY_BROADCAST, 0, 0);
	rig_adjacency(r, nic, RIG_HOP_TAGGED, P2PNIC_ADJACENCY_FORWARD, 0,
		P2PNIC_MTU_MAX(r->config.buffer_bytes));
	rig_tag(r, nic, RIG_HOP_TAGGED, RIG_CONTROL);
	rig_vlan(r, nic, RIG_VLAN, P2PNIC_VLAN_FORWARD);
	rig_vlan(r, nic, RIG_VLAN_UNKNOWN, P2PNIC_VLAN_UNKNOWN);
	for (unsigned hop = 1; hop <= RIG_HOP_TAGGED; hop++)
		rig_next_hop(r, nic, hop, P2PNIC_NEXT_HOP(hop, 0));
	for (unsigned hop = RIG_HOP_LOCAL; hop <= RIG_HOP_TAGGED; hop++)
		v4[n++] = fib_route4(0x0b000000 | hop << 16, 16, hop); /* 11.hop.0.0/16 */
	rig_routes4(r, nic, v4, n);
	v6[RIG_NICS_MAX] = (struct fib_route){{PACKET_TO6(7), 0}, 48, 6, RIG_HOP_TAGGED};
	rig_routes6(r, nic, v6, RIG_NICS_MAX + 1);
}

static void write_settings(struct rig *r, unsigned nic)
{
	struct mac_addr mac = packet_mac(nic);
	uint64_t word = 0;

	memcpy(&word, &mac, sizeof(mac));
	write_register(r, nic, P2PNIC_REG_NIC_INDEX, nic);
	write_register(r, nic, P2PNIC_REG_MAC_LOW, (uint32_t)word);
	write_register(r, nic, P2PNIC_REG_MAC_HIGH, (uint32_t)(word >> 32));
	write_register(r, nic, P2PNIC_REG_RX_OFFSET, 0);
	write_register(r, nic, P2PNIC_REG_RX_BUFFERS, r->config.rx_buffers);
}

void rig_bring_up(struct rig *r, unsigned nic)
{
	BOARD_ASSERT(rig_command(r, nic, P2PNIC_OP_RESET, 0) == P2PNIC_OK);
	write_settings(r, nic);
	standard_tables(r, nic);
}

static void make_nic(struct rig *r, unsigned nic)
{
	struct rig_nic *a = &r->at[nic];

	a->bar4_bytes = ring_buffers(r, P2PNIC_MAILBOXES);
	a->nic = used(sizeof(*a->nic));
	a->counters = zeroed(sizeof(*a->counters));
	a->bar2 = used(RIG_BAR2_BYTES);
	a->bar4 = zeroed(a->bar4_bytes);
	for (unsigned k = 0; k < P2PNIC_HOST_RINGS; k++)
		a->host[k] = (struct rig_host){.mailbox = zeroed(sizeof(struct p2pnic_mailbox)),
			.out_buffers = zeroed(ring_bytes(r)),
			.in_buffers = zeroed(ring_bytes(r))};
	a->board.bar4 = a->bar4;
	a->board.bar4_bytes = a->bar4_bytes;
	a->board.buffer_bytes = r->config.buffer_bytes;
	a->board.reaches = r->config.reaches;
	a->board.counters = a->counters;
	memset(a->nic, 0xee, sizeof(*a->nic)); /* nic_init takes it of any content */
	nic_init(a->nic, &a->board, P2PNIC_METHOD, r->config.buffer_bytes, a->counters, a->bar2,
		RIG_BAR2_BYTES, a->bar4, a->bar4_bytes);
	nic_set_port(a->nic, true, 0, 0);
#ifdef RIG_KERNEL
	a->nic->kernel = &RIG_KERNEL;
#endif
}

struct rig *rig_new(unsigned nics, const struct rig_config *config)
{
	struct rig *r = zeroed(sizeof(*r));

	BOARD_ASSERT(nics <= RIG_NICS_MAX);
	r->nics = nics;
	r->config = *config;
	if (!r->config.slots)
		r->config.slots = 32;
	if (!r->config.batch)
		r->config.batch = P2PNIC_BATCH_DEFAULT;
	if (!r->config.rx_buffers)
		r->config.rx_buffers = 256;
	if (!r->config.buffer_bytes)
		r->config.buffer_bytes = P2PNIC_BUFFER_BYTES_MIN;
	for (unsigned a = 0; a < nics; a++) {
		make_nic(r, a);
		for (unsigned b = 0; b < nics && P2PNIC_METHOD == P2PNIC_METHOD_BOUNCE; b++) {
			r->relay[a][b] = zeroed(sizeof(struct p2pnic_mailbox));
			r->bounce[a][b] = zeroed(ring_bytes(r));
		}
	}
	for (unsigned a = 0; a < nics; a++) {
		for (unsigned b = 0; b < nics; b++)
			rig_map(r, a, b);
		for (unsigned k = 0; k < P2PNIC_HOST_RINGS; k++)
			rig_map(r, a, P2PNIC_HOST_PEER(k));
		rig_bring_up(r, a);
	}
	for (unsigned a = 0; a < nics; a++) {
		for (unsigned b = 0; b <= a; b++)
			rig_open(r, a, b);
		for (unsigned k = 0; k < P2PNIC_HOST_RINGS && r->config.host; k++)
			rig_open(r, a, P2PNIC_HOST_PEER(k));
	}
	for (unsigned a = 0; a < nics; a++)
		BOARD_ASSERT(rig_command(r, a, P2PNIC_OP_START, 0) == P2PNIC_OK);
	return r;
}

void rig_free(struct rig *r)
{
	for (unsigned a = 0; a < r->nics; a++) {
		struct rig_nic *n = &r->at[a];

		queue_empty(&n->board.wire_in);
		queue_empty(&n->board.wire_out);
		while (n->board.flight_head != n->board.flight_tail)
			free(n->board.flight_copy[n->board.flight_head++ % BOARD_FLIGHT]);
		leave(n->nic, sizeof(*n->nic));
		unmap(n->counters);
		leave(n->bar2, RIG_BAR2_BYTES);
		unmap(n->bar4);
		for (unsigned k = 0; k < P2PNIC_HOST_RINGS; k++) {
			unmap(n->host[k].mailbox);
			unmap(n->host[k].out_buffers);
			unmap(n->host[k].in_buffers);
		}
		for (unsigned b = 0; b < r->nics; b++) {
			unmap(r->relay[a][b]);
			unmap(r->bounce[a][b]);
		}
	}
	unmap(r);
}

/* --- Running ---------------------------------------------------------------------------------- */

void rig_receive(struct rig *r, unsigned nic, const struct packet *p)
{
	queue_push(&r->at[nic].board.wire_in, p->bytes, p->length);
}

struct packet *rig_sent(struct rig *r, unsigned nic)
{
	return queue_pop(&r->at[nic].board.wire_out);
}

/* Bn: the CPU hands descriptors on and completions back. It checks nothing: the NICs do. */
void rig_relay(struct rig *r)
{
	if (P2PNIC_METHOD != P2PNIC_METHOD_BOUNCE)
		return;
	for (unsigned i = 0; i < r->nics; i++)
		for (unsigned e = 0; e < r->nics; e++) {
			struct p2pnic_mailbox *to = mailbox_in(&r->at[e], i);
			struct p2pnic_mailbox *back = mailbox_in(&r->at[i], e);

			memcpy(to->descriptor, r->relay[i][e]->descriptor, sizeof(to->descriptor));
			back->consumer = r->relay[e][i]->consumer;
			back->asleep = r->relay[e][i]->asleep;
			back->link_down = r->relay[e][i]->link_down;
		}
}

unsigned rig_poll(struct rig *r)
{
	unsigned work = 0;

	for (unsigned a = 0; a < r->nics; a++)
		work += nic_poll(r->at[a].nic);
	rig_relay(r);
	return work;
}

void rig_run(struct rig *r)
{
	for (unsigned idle = 0; idle < 4;)
		idle = rig_poll(r) ? 0 : idle + 1;
}

bool rig_punted_by(
	struct rig *r, unsigned nic, enum p2pnic_host_ring ring, struct packet *p, uint16_t *flags)
{
	const unsigned peer = P2PNIC_HOST_PEER(ring);
	struct rig_nic *a = &r->at[nic];
	struct rig_host *h = &a->host[ring];
	struct p2pnic_descriptor d = h->mailbox->descriptor[h->consumed & (r->config.slots - 1)];

	if (P2PNIC_FLAGS_TAG(d.flags) != p2pnic_tag(a->epoch[peer], h->consumed, r->config.slots))
		return false;
	p->length = d.length;
	*flags = d.flags & ~P2PNIC_FLAGS_TAG(0xffff);
	memcpy(p->bytes, (RIG_INGRESS_WRITES ? h->out_buffers : a->bar4) + d.offset, d.length);
	atomic_store_explicit(&mailbox_in(a, peer)->consumer,
		P2PNIC_RING_WORD(a->epoch[peer], ++h->consumed), memory_order_release);
	return true;
}

bool rig_punted(struct rig *r, unsigned nic, struct packet *p, uint16_t *reason)
{
	uint16_t flags;

	for (unsigned ring = 0; ring < P2PNIC_HOST_RINGS; ring++)
		if (rig_punted_by(r, nic, ring, p, &flags)) {
			*reason = P2PNIC_FLAGS_REASON(flags);
			return true;
		}
	return false;
}

bool rig_inject(struct rig *r, unsigned nic, const struct packet *p)
{
	return rig_inject_by(r, nic, P2PNIC_RING_EXCEPTION, p);
}

bool rig_inject_by(struct rig *r, unsigned nic, enum p2pnic_host_ring ring, const struct packet *p)
{
	struct rig_nic *a = &r->at[nic];
	const unsigned peer = P2PNIC_HOST_PEER(ring);
	struct rig_host *h = &a->host[ring];
	struct p2pnic_mailbox *m = mailbox_in(a, peer);
	uint32_t slot = h->produced & (r->config.slots - 1);
	uint8_t *buffers = RIG_EGRESS_READS ? h->in_buffers : a->bar4 + ring_buffers(r, peer);
	uint64_t consumer = atomic_load_explicit(&h->mailbox->consumer, memory_order_acquire);
	uint32_t consumed =
		P2PNIC_RING_EPOCH(consumer) == a->epoch[peer] ? P2PNIC_RING_INDEX(consumer) : 0;

	if (h->produced - consumed >= r->config.slots)
		return false;
	memcpy(buffers + slot * r->config.buffer_bytes, p->bytes, p->length);
	m->descriptor[slot] = (struct p2pnic_descriptor){slot * r->config.buffer_bytes,
		(uint16_t)p->length, p2pnic_tag(a->epoch[peer], h->produced++, r->config.slots)};
	return true;
}

/* --- Accounts --------------------------------------------------------------------------------- */

uint64_t rig_drops(const struct rig *r, unsigned nic, enum p2pnic_drop reason)
{
	return rig_count(&r->at[nic].counters->dropped[reason]);
}

uint64_t rig_all_drops(const struct rig *r, unsigned nic)
{
	uint64_t sum = 0;

	for (unsigned k = 0; k < P2PNIC_DROP_COUNT; k++)
		sum += rig_drops(r, nic, k);
	return sum;
}

static void check_identity(struct rig *r, unsigned nic)
{
	const struct p2pnic_counters *c = r->at[nic].counters;
	uint64_t in = rig_count(&c->received.packets) + rig_count(&c->injected.packets);
	uint64_t out = rig_count(&c->sent.packets) + rig_count(&c->punted.packets) +
		       rig_count(&c->held) + rig_all_drops(r, nic);

	for (unsigned k = 0; k < P2PNIC_NICS_MAX; k++) {
		in += rig_count(&c->from_ring[k].packets);
		out += rig_count(&c->to_ring[k].packets);
	}
	if (in == out)
		return;
	fprintf(stderr, "NIC %u: in %llu, out %llu\n", nic, (unsigned long long)in,
		(unsigned long long)out);
	board_failed("the accounts are even", __FILE__, __LINE__);
}

static void own(const struct rig *r, uint8_t *owned, uint32_t at)
{
	BOARD_ASSERT(at < rx_bytes(r));
	BOARD_ASSERT(!owned[at / r->config.buffer_bytes]++);
}

static void check_buffers(struct rig *r, unsigned nic)
{
	const struct nic *n = r->at[nic].nic;
	const struct board *b = &r->at[nic].board;
	uint8_t owned[NIC_RX_BUFFERS_MAX] = {0};
	uint32_t held = 0;

	if (!n->rx_started)
		return;
	for (uint32_t k = 0; k < n->frees; k++)
		own(r, owned, n->free[k]);
	for (uint32_t k = 0; k < b->buffers; k++)
		own(r, owned, b->buffer[k]);
	for (unsigned p = 0; p < P2PNIC_MAILBOXES; p++) {
		const struct ring_out *out = &n->out[p];

		for (uint32_t k = 0; k < out->held; k++)
			own(r, owned, out->hold[(out->hold_head + k) % RING_HOLD_MAX].offset);
		held += out->held;
		for (uint32_t k = out->consumed; k != out->produced; k++) {
			uint32_t buffer = out->slot_buffer[k & out->mask];

			if (!RIG_INGRESS_WRITES || (buffer & RING_LENT && out->lent))
				own(r, owned, buffer & ~RING_LENT);
		}
	}
	for (uint32_t k = n->fetched_head; k != n->fetched_tail; k++)
		own(r, owned, n->fetched[k % NIC_FLIGHT_MAX]);
	for (uint32_t k = 0; k < r->config.rx_buffers; k++)
		BOARD_ASSERT(owned[k]);
	BOARD_ASSERT(held == n->held);
	BOARD_ASSERT(n->in_flight == b->flight_tail - b->flight_head);
}

void rig_check_nic(struct rig *r, unsigned nic)
{
	rings_publish(r->at[nic].nic); /* what a full burst has left, uncounted as yet */
	check_buffers(r, nic);
	/* `held` is written at the end of a poll. */
	atomic_store_explicit(&r->at[nic].counters->held,
		r->at[nic].nic->held + r->at[nic].nic->in_flight, memory_order_relaxed);
	check_identity(r, nic);
}

void rig_check(struct rig *r)
{
	for (unsigned nic = 0; nic < r->nics; nic++)
		rig_check_nic(r, nic);
}
