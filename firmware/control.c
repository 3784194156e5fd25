/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Registers, commands, opening and closing of pairs: what the host does to a NIC between two
 * bursts.
 */
#include "nic.h"

#include "fib_lookup.h"
#include "kernel.h"

void nic_init(struct nic *n, struct board *board, unsigned method, uint32_t buffer_bytes,
	struct p2pnic_counters *counters, uint8_t *bar2, uint32_t bar2_bytes, uint8_t *bar4,
	uint32_t bar4_bytes)
{
	__builtin_memset(n, 0, sizeof(*n));
	n->board = board;
	n->kernel = kernel_best();
	n->method = (uint8_t)method;
	n->writes = method != P2PNIC_METHOD_READ;
	n->reads = method != P2PNIC_METHOD_WRITE;
	n->buffer_bytes = buffer_bytes;
	n->counters = counters;
	n->bar2 = bar2;
	n->bar4 = bar4;
	n->bar2_bytes = bar2_bytes;
	n->bar4_bytes = bar4_bytes;
	n->next_hop = (const p2pnic_next_hop *)(bar2 + P2PNIC_BAR2_NEXT_HOPS);
	n->bucket = (const p2pnic_bucket *)(bar2 + P2PNIC_BAR2_BUCKETS);
	n->adjacency = (const struct p2pnic_adjacency *)(bar2 + P2PNIC_BAR2_ADJACENCIES);
	n->used = (p2pnic_used *)(bar2 + P2PNIC_BAR2_USED);
	n->vlan = (const p2pnic_vlan *)(bar2 + P2PNIC_BAR2_VLANS);
	n->policers = (struct p2pnic_policers *)(bar2 + P2PNIC_BAR2_POLICERS);
	n->stations.count = 1;
	n->mtu = 1500;
}

void nic_set_mac(struct nic *n, struct mac_addr mac)
{
	n->stations.mac[0] = 0;
	__builtin_memcpy(&n->stations.mac[0], &mac, sizeof(mac));
	n->mac_low = (uint32_t)n->stations.mac[0];
}

/* Tells a peer whether this port has a carrier (link_down in p2pnic/ring.h). */
static void announce_link(struct nic *n, unsigned peer)
{
	board_dma_write32(n->board, &n->out[peer].mailbox,
		offsetof(struct p2pnic_mailbox, link_down),
		n->link ? P2PNIC_LINK_UP : P2PNIC_LINK_DOWN);
}

void nic_set_port(struct nic *n, bool link, uint32_t speed_mbps, uint64_t missed)
{
	if (n->link != link) {
		n->link = link;
		for (unsigned k = 0; k < n->open_peers; k++)
			announce_link(n, n->peer[k]);
	}
	n->speed = speed_mbps;
	atomic_store_explicit(&n->counters->port_missed, missed, memory_order_relaxed);
}

static struct p2pnic_mailbox *mailbox_of(struct nic *n, unsigned peer)
{
	return (struct p2pnic_mailbox *)(n->bar2 + P2PNIC_BAR2_MAILBOXES) + peer;
}

static void stop(struct nic *n)
{
	if (!n->running)
		return;
	n->running = false;
	n->frees += board_port_stop(n->board, n->free + n->frees);
}

static enum p2pnic_result start(struct nic *n)
{
	uint32_t posted;
	int taken;

	if (!n->ready || n->running)
		return P2PNIC_BAD_STATE;
	if (!n->rx_started) {
		uint64_t end = (uint64_t)n->rx_offset + (uint64_t)n->rx_buffers * n->buffer_bytes;

		if (n->rx_buffers < (n->reads ? NIC_RX_BUFFERS_MIN_READS : NIC_RX_BUFFERS_MIN) ||
			n->rx_buffers > NIC_RX_BUFFERS_MAX || end > n->bar4_bytes ||
			n->rx_offset % n->buffer_bytes)
			return P2PNIC_BAD_ARGUMENT;
		for (uint32_t k = 0; k < n->rx_buffers; k++)
			n->free[n->frees++] = n->rx_offset + k * n->buffer_bytes;
		n->rx_started = true;
	}
	/* Half of them wait at the port; the other half stands in for packets that must be held. */
	posted = n->frees / 2;
	if (posted == 0)
		return P2PNIC_BAD_STATE;
	n->frees -= posted;
	taken = board_port_start(n->board, n->free + n->frees, posted);
	if (taken < 0) {
		n->frees += posted;
		return P2PNIC_BAD_STATE;
	}
	/* It took the first ones; the others move into their place. */
	posted -= (uint32_t)taken;
	__builtin_memmove(
		n->free + n->frees, n->free + n->frees + taken, posted * sizeof(*n->free));
	n->frees += posted;
	n->running = true;
	return P2PNIC_OK;
}

/* The entry as the host wrote it, read once: the host's memory is trusted less than a copy of
 * it. */
static enum p2pnic_result peer_entry(struct nic *n, unsigned peer, struct p2pnic_peer *entry)
{
	const struct p2pnic_peer *table = (const struct p2pnic_peer *)(n->bar2 + P2PNIC_BAR2_PEERS);

	__builtin_memcpy(entry, &table[peer], sizeof(*entry));
	__asm__ volatile("" : "+m"(*entry));
	const struct p2pnic_peer *e = entry;

	if (e->epoch == 0 || e->batch == 0 || e->batch > P2PNIC_BURST_MAX ||
		P2PNIC_PEER_CHECKED(e->flags) >= P2PNIC_CHECK_COUNT ||
		e->flags != P2PNIC_PEER_CHECK(P2PNIC_PEER_CHECKED(e->flags)))
		return P2PNIC_BAD_ARGUMENT;
	if (e->out_slots < P2PNIC_RING_SLOTS_MIN || e->out_slots > P2PNIC_RING_SLOTS_MAX ||
		(e->out_slots & (e->out_slots - 1)) != 0)
		return P2PNIC_BAD_ARGUMENT;
	if (e->in_slots < P2PNIC_RING_SLOTS_MIN || e->in_slots > P2PNIC_RING_SLOTS_MAX ||
		(e->in_slots & (e->in_slots - 1)) != 0)
		return P2PNIC_BAD_ARGUMENT;
	if (n->writes && e->out_buffer_count < e->out_slots)
		return P2PNIC_BAD_ARGUMENT;
	if ((e->lend_from || e->lent_buffers.value) &&
		(n->method != P2PNIC_METHOD_WRITE || e->flags || peer >= P2PNIC_NICS_MAX ||
			n->rx_buffers < NIC_RX_BUFFERS_MIN_READS))
		return P2PNIC_BAD_ARGUMENT;
	if (!n->reads &&
		(e->in_offset % n->buffer_bytes != 0 ||
			(uint64_t)e->in_offset + (uint64_t)e->in_buffer_count * n->buffer_bytes >
				n->bar4_bytes))
		return P2PNIC_BAD_ARGUMENT;
	return P2PNIC_OK;
}

/* Finds the windows of a pair. The mailbox is needed by both directions; without it there is no
 * pair. */
static bool resolve_regions(struct nic *n, unsigned peer, const struct p2pnic_peer *e)
{
	struct ring_out *out = &n->out[peer];

	if (!board_dma_resolve(
		    n->board, e->mailbox, sizeof(struct p2pnic_mailbox), DMA_WRITE, &out->mailbox))
		return false;
	out->doorbell = (struct dma_region){0};
	if (e->doorbell.value &&
		!board_dma_resolve(n->board, e->doorbell, 4, DMA_WRITE, &out->doorbell))
		return false;
	if (n->writes &&
		!board_dma_resolve(n->board, e->out_buffers,
			(uint64_t)e->out_buffer_count * n->buffer_bytes, DMA_WRITE, &out->buffers))
		return false;
	if (n->reads && !board_dma_resolve(n->board, e->in_buffers,
				(uint64_t)e->in_buffer_count * n->buffer_bytes, DMA_READ,
				&n->in[peer].packets))
		return false;
	if (e->lent_buffers.value && !board_dma_resolve(n->board, e->lent_buffers,
					     (uint64_t)e->lent_buffer_count * n->buffer_bytes,
					     DMA_READ, &n->in[peer].packets))
		return false;
	return true;
}

/* Rd, Hy: whether the port can send packets from where they are. With a check they are fetched: it
 * is made over the whole frame, here. */
static void reach_packets(struct nic *n, struct ring_in *in, unsigned peer)
{
	if (ring_in_is_remote(in) && n->method != P2PNIC_METHOD_BOUNCE && !in->check &&
		peer < P2PNIC_NICS_MAX)
		in->memory = board_reach(n->board, &in->packets, &in->memory_base);
}

static bool peer_is_open(const struct nic *n, unsigned peer)
{
	for (unsigned k = 0; k < n->open_peers; k++)
		if (n->peer[k] == peer)
			return true;
	return false;
}

/* Rd, Hy: buffers whose packets the peer may be reading. Not used again before the driver says that
 * it does not any more: it would send half of one packet and half of another. */
static bool keep_lent(struct nic *n, struct ring_out *out)
{
	bool some = out->consumed != out->produced && (!n->writes || out->lent);

	if (some)
		for (; out->consumed != out->produced; out->consumed++) {
			uint32_t buffer = out->slot_buffer[out->consumed & out->mask];

			if (!n->writes || buffer & RING_LENT)
				n->free[n->frees++] = buffer & ~RING_LENT;
		}
	count_lent(n, out, -(int32_t)out->lent);
	return some;
}

/*
 * How many completions go with one consumer word while the port is busy. The peer never lacks more
 * than a quarter of its ring for them; Rd, Hy: nor than a quarter of its buffers, should it have 64
 * peers.
 */
static uint32_t coalesce_of(const struct nic *n, const struct p2pnic_peer *e)
{
	uint32_t most = n->writes ? e->in_slots / 4 : e->in_buffer_count / (4 * P2PNIC_NICS_MAX);

	if (e->lent_buffer_count && most > e->lent_buffer_count / (4 * P2PNIC_NICS_MAX))
		most = e->lent_buffer_count / (4 * P2PNIC_NICS_MAX);
	if (most > e->batch)
		most = e->batch;
	return most ? most : 1;
}

static enum p2pnic_result peer_open(struct nic *n, unsigned peer)
{
	struct p2pnic_peer e;
	struct ring_out *out = &n->out[peer];
	struct ring_in *in = &n->in[peer];
	enum p2pnic_result result;
	uint32_t orphans = in->orphans;

	if (!n->ready || peer_is_open(n, peer) || orphans)
		return P2PNIC_BAD_STATE;
	result = peer_entry(n, peer, &e);
	if (result != P2PNIC_OK)
		return result;
	keep_lent(n, out);
	__builtin_memset(out, 0, sizeof(*out));
	__builtin_memset(in, 0, sizeof(*in));
	if (!resolve_regions(n, peer, &e))
		return P2PNIC_BAD_WINDOW;
	out->epoch = in->epoch = e.epoch;
	out->batch = (uint8_t)e.batch;
	out->check = in->check = P2PNIC_PEER_CHECKED(e.flags);
	out->mask = e.out_slots - 1;
	out->capacity = out->limit = e.out_slots;
	for (uint32_t k = 0; k < e.out_slots && n->writes; k++)
		out->peer_free[k] = k * n->buffer_bytes + k % 16 * 64;
	in->slots = e.in_slots;
	in->coalesce = coalesce_of(n, &e);
	in->longest = P2PNIC_FRAME_BYTES_MAX(n->buffer_bytes);
	in->base = n->reads ? 0 : e.in_offset;
	in->bytes = (uint64_t)e.in_buffer_count * n->buffer_bytes;
	if (in->check) { /* the word behind a frame lies inside, too */
		in->longest -= P2PNIC_CHECK_BYTES;
		in->bytes -= in->bytes ? P2PNIC_CHECK_BYTES : 0;
	}
	in->here = n->reads ? 0 : in->bytes;
	if (e.lent_buffers.value)
		in->bytes += (uint64_t)e.lent_buffer_count * n->buffer_bytes;
	out->lend_from = e.lend_from ? e.lend_from : UINT32_MAX;
	out->lent_offset = e.out_buffer_count * n->buffer_bytes;
	n->lends |= e.lend_from || e.lent_buffers.value;
	reach_packets(n, in, peer);
	in->mailbox = mailbox_of(n, peer);
	out->consumer = &in->mailbox->consumer;
	out->asleep = &in->mailbox->asleep;
	out->link_down = &in->mailbox->link_down;
	out->entry = e;
	out->open = in->open = true;
	n->peer[n->open_peers++] = (uint8_t)peer;
	mark_given_up(n, peer, false);
	/* The driver has zeroed the word: nothing to say of a link that is up, and nothing to write
	 * while the host waits for its command. */
	if (!n->link)
		announce_link(n, peer);
	return P2PNIC_OK;
}

/* The driver closes a pair that was closed by the NIC: the peer's side may be open still, so what
 * it reads stays. What it wrote since is dropped. */
static enum p2pnic_result closed_already(struct nic *n, unsigned peer)
{
	bool given_up =
		peer < P2PNIC_NICS_MAX &&
		atomic_load_explicit(&n->counters->given_up, memory_order_relaxed) >> peer & 1;

	if (!given_up)
		return keep_lent(n, &n->out[peer]) ? P2PNIC_OK : P2PNIC_BAD_STATE;
	ring_in_discard(n, peer);
	mark_given_up(n, peer, false);
	return P2PNIC_BAD_STATE;
}

static enum p2pnic_result peer_close(struct nic *n, unsigned peer)
{
	struct ring_in *in = &n->in[peer];
	struct ring_out *out = &n->out[peer];
	unsigned at = 0;

	if (!peer_is_open(n, peer))
		return closed_already(n, peer);
	mark_given_up(n, peer, false);
	ring_out_close(n, peer);
	ring_in_discard(n, peer);
	for (uint32_t r = n->run_head; r != n->run_tail; r++) {
		struct nic_run *run = &n->run[r % NIC_FLIGHT_MAX];

		/* An open pair has orphans of an earlier life only as runs of no frames. */
		if (run->peer != peer)
			continue;
		if (run->kind & (RUN_SKIPPED | RUN_ORPHAN))
			run->count = 0;
		else
			in->orphans += run->count;
		run->kind = (run->kind & RUN_FETCHED) | RUN_ORPHAN;
	}
	if (in->memory && in->orphans)
		mark_sending(n, peer, true);
	out->open = in->open = false;
	out->limit = out->produced;
	while (n->peer[at] != peer) /* it is there: the pair was open */
		at++;
	n->peer[at] = n->peer[--n->open_peers];
	n->first = 0;
	return P2PNIC_OK;
}

/* Power-on state, but for what the board owns: its memory, processor, MAC address and link. Frames
 * that the port still has lie in packet memory: the host asks again until they are gone. */
static enum p2pnic_result reset(struct nic *n)
{
	uint64_t mac = n->stations.mac[0];
	uint32_t link = n->link, speed = n->speed;
	const struct kernel *kernel = n->kernel;

	stop(n);
	while (n->open_peers)
		peer_close(n, n->peer[0]);
	if (n->in_flight)
		return P2PNIC_BAD_STATE;
	__builtin_memset(n->counters, 0, sizeof(*n->counters));
	__builtin_memset(n->bar2, 0, P2PNIC_BAR2_FIB);
	nic_init(n, n->board, n->method, n->buffer_bytes, n->counters, n->bar2, n->bar2_bytes,
		n->bar4, n->bar4_bytes);
	n->kernel = kernel;
	n->stations.mac[0] = mac;
	n->mac_low = (uint32_t)mac;
	n->link = link;
	n->speed = speed;
	n->ready = true;
	return P2PNIC_OK;
}

static void give_up(struct nic *n, unsigned peer)
{
	peer_close(n, peer);
	mark_given_up(n, peer, true);
}

void nic_windows_changed(struct nic *n)
{
	for (unsigned k = n->open_peers; k-- > 0;) {
		struct ring_in *in = &n->in[n->peer[k]];
		const void *memory = in->packets.board;

		if (!resolve_regions(n, n->peer[k], &n->out[n->peer[k]].entry)) {
			give_up(n, n->peer[k]);
		} else if (in->packets.board != memory) {
			in->memory = 0; /* another's now: fetched until the pair is opened anew */
		}
	}
	capture_resolve(n);
}

/* Their peers hear of it, and send no more. */
void nic_give_up(struct nic *n)
{
	n->failing = false;
	for (unsigned k = n->open_peers; k-- > 0;) {
		unsigned peer = n->peer[k];

		if (n->in[peer].failures < RING_FAILURES_MAX)
			continue;
		board_dma_write32(n->board, &n->out[peer].mailbox,
			offsetof(struct p2pnic_mailbox, link_down), P2PNIC_LINK_GIVEN_UP);
		give_up(n, peer);
	}
}

static enum p2pnic_result use_image(struct nic *n, unsigned family)
{
	uint32_t offset = n->fib_offset[family == 6];
	const void **image = family == 6 ? &n->fib6 : &n->fib4;

	if (offset == 0) {
		*image = NULL;
		return P2PNIC_OK;
	}
	if (offset < P2PNIC_BAR2_FIB || offset >= n->bar2_bytes || offset % 64)
		return P2PNIC_BAD_ARGUMENT;
	if (!fib_image_valid(n->bar2 + offset, n->bar2_bytes - offset, family))
		return P2PNIC_BAD_IMAGE;
	*image = n->bar2 + offset;
	return P2PNIC_OK;
}

/* How many of the addresses are in the fullest column. */
static uint32_t fullest(const be32 *address, uint32_t count, uint32_t factor)
{
	uint32_t used[SOURCES_COLUMNS] = {0}, most = 0;

	for (uint32_t k = 0; k < count; k++) {
		uint32_t in_column = ++used[sources_column(factor, address[k])];

		if (in_column > most)
			most = in_column;
	}
	return most;
}

/*
 * Odd factors from a generator (Knuth, MMIX). 4096 of them have one row for 16 addresses nearly
 * always; long lists, which have several rows anyhow, try fewer. A list that is refused leaves the
 * one in force.
 */
static enum p2pnic_result use_sources(struct nic *n)
{
	const struct p2pnic_sources *list =
		(const struct p2pnic_sources *)(n->bar2 + P2PNIC_BAR2_SOURCES);
	struct sources *s = &n->sources;
	be32 address[P2PNIC_SOURCES_MAX];
	uint32_t count = list->count, used[SOURCES_COLUMNS] = {0}, least, best = 0;
	uint64_t random = 1;

	__asm__ volatile("" : "+r"(count));
	least = count ? UINT32_MAX : 0;
	if (count > P2PNIC_SOURCES_MAX)
		return P2PNIC_BAD_ARGUMENT;
	__builtin_memcpy(address, list->address, count * sizeof(*address));
	__asm__ volatile("" : "+m"(address));
	for (unsigned k = 4096 / (1 + count / 64); k > 0 && least > 1; k--) {
		uint32_t factor = (uint32_t)(random >> 32) | 1;
		uint32_t rows = fullest(address, count, factor);

		if (rows < least) {
			least = rows;
			best = factor;
		}
		random = random * 6364136223846793005u + 1442695040888963407u;
	}
	if (least > SOURCES_ROWS_MAX)
		return P2PNIC_BAD_ARGUMENT;
	__builtin_memset(s, 0, sizeof(*s));
	s->rows = least;
	s->factor = best;
	for (uint32_t k = 0; k < count; k++) {
		uint32_t column = sources_column(best, address[k]);

		s->row[used[column]++][column] = address[k];
	}
	return P2PNIC_OK;
}

/* Neither a group address (IEEE 802: the lowest bit of octet 0) nor 0. */
static bool is_station(uint64_t mac)
{
	return mac && !(mac & 1);
}

static enum p2pnic_result use_stations(struct nic *n)
{
	const struct p2pnic_stations *list =
		(const struct p2pnic_stations *)(n->bar2 + P2PNIC_BAR2_STATIONS);
	uint64_t mac[P2PNIC_STATIONS_MAX] = {0};
	uint32_t count = list->count;

	__asm__ volatile("" : "+r"(count)); /* read once */
	if (count > P2PNIC_STATIONS_MAX)
		return P2PNIC_BAD_ARGUMENT;
	for (uint32_t k = 0; k < count; k++) {
		__builtin_memcpy(&mac[k], &list->address[k], sizeof(list->address[k]));
		if (!is_station(mac[k]))
			return P2PNIC_BAD_ARGUMENT;
	}
	__builtin_memcpy(&n->stations.mac[1], mac, count * sizeof(mac[0]));
	n->stations.count = 1 + count;
	return P2PNIC_OK;
}

static enum p2pnic_result command(struct nic *n, uint32_t value)
{
	uint32_t argument = value >> 8;
	switch (value & 0xff) {
	case P2PNIC_OP_RESET:
		return reset(n);
	case P2PNIC_OP_START:
		return start(n);
	case P2PNIC_OP_STOP:
		stop(n);
		return P2PNIC_OK;
	case P2PNIC_OP_PEER_OPEN:
		return argument < P2PNIC_MAILBOXES ? peer_open(n, argument) : P2PNIC_BAD_ARGUMENT;
	case P2PNIC_OP_PEER_CLOSE:
		return argument < P2PNIC_MAILBOXES ? peer_close(n, argument) : P2PNIC_BAD_ARGUMENT;
	case P2PNIC_OP_FIB_IPV4:
		return use_image(n, 4);
	case P2PNIC_OP_FIB_IPV6:
		return use_image(n, 6);
	case P2PNIC_OP_SOURCES:
		return use_sources(n);
	case P2PNIC_OP_CAPTURE:
		return capture_use(n);
	case P2PNIC_OP_STATIONS:
		return use_stations(n);
	default:
		return P2PNIC_BAD_OPERATION;
	}
}

uint32_t nic_register_read(const struct nic *n, uint32_t offset)
{
	switch (offset) {
	case P2PNIC_REG_MAGIC:
		return P2PNIC_MAGIC;
	case P2PNIC_REG_VERSION:
		return P2PNIC_VERSION;
	case P2PNIC_REG_STATUS:
		return (n->running ? P2PNIC_STATUS_RUNNING : 0) |
		       (n->ready ? P2PNIC_STATUS_READY : 0);
	case P2PNIC_REG_METHOD:
		return n->method;
	case P2PNIC_REG_RESULT:
		return n->result;
	case P2PNIC_REG_NIC_INDEX:
		return n->index;
	case P2PNIC_REG_MTU:
		return n->mtu;
	case P2PNIC_REG_MAC_LOW:
		return (uint32_t)n->stations.mac[0];
	case P2PNIC_REG_MAC_HIGH:
		return (uint32_t)(n->stations.mac[0] >> 32);
	case P2PNIC_REG_LINK:
		return atomic_load_explicit(&n->link, memory_order_relaxed);
	case P2PNIC_REG_SPEED:
		return atomic_load_explicit(&n->speed, memory_order_relaxed);
	case P2PNIC_REG_BAR2_BYTES:
		return n->bar2_bytes;
	case P2PNIC_REG_BAR4_BYTES:
		return n->bar4_bytes;
	case P2PNIC_REG_RX_OFFSET:
		return n->rx_offset;
	case P2PNIC_REG_RX_BUFFERS:
		return n->rx_buffers;
	case P2PNIC_REG_FIB4_OFFSET:
		return n->fib_offset[0];
	case P2PNIC_REG_FIB6_OFFSET:
		return n->fib_offset[1];
	case P2PNIC_REG_EPOCH:
	case P2PNIC_REG_EPOCH_SEEN: /* written between two bursts: that is a quiescent point */
		return n->epoch;
	case P2PNIC_REG_BUFFER_BYTES:
		return n->buffer_bytes;
	case P2PNIC_REG_FLOW_SEED:
		return (uint32_t)n->flow_seed;
	case P2PNIC_REG_FLOW:
		return n->flow;
	case P2PNIC_REG_REVERSE_PATH:
		return n->reverse_path;
	case P2PNIC_REG_INGRESS:
		return n->ingress;
	default:
		return 0;
	}
}

void nic_register_write(struct nic *n, uint32_t offset, uint32_t value)
{
	uint64_t mac;

	switch (offset) {
	case P2PNIC_REG_COMMAND:
		n->result = command(n, value);
		break;
	case P2PNIC_REG_NIC_INDEX:
		if (value < P2PNIC_NICS_MAX)
			n->index = value;
		break;
	case P2PNIC_REG_MTU:
		if (value >= P2PNIC_MTU_MIN && value <= P2PNIC_MTU_MAX(n->buffer_bytes))
			n->mtu = value;
		break;
	case P2PNIC_REG_MAC_LOW:
		n->mac_low = value;
		break;
	case P2PNIC_REG_MAC_HIGH:
		mac = n->mac_low | (uint64_t)(value & 0xffff) << 32;
		if (is_station(mac))
			n->stations.mac[0] = mac;
		break;
	case P2PNIC_REG_RX_OFFSET:
		if (!n->rx_started)
			n->rx_offset = value;
		break;
	case P2PNIC_REG_RX_BUFFERS:
		if (!n->rx_started)
			n->rx_buffers = value;
		break;
	case P2PNIC_REG_FIB4_OFFSET:
		n->fib_offset[0] = value;
		break;
	case P2PNIC_REG_FIB6_OFFSET:
		n->fib_offset[1] = value;
		break;
	case P2PNIC_REG_EPOCH:
		n->epoch = value;
		break;
	case P2PNIC_REG_FLOW_SEED:
		n->flow_seed = (uint64_t)value << 32 | value;
		break;
	case P2PNIC_REG_FLOW:
		n->flow = value & (P2PNIC_FLOW_SYMMETRIC | P2PNIC_FLOW_INNER);
		break;
	case P2PNIC_REG_REVERSE_PATH:
		if (value <= P2PNIC_REVERSE_PATH_STRICT)
			n->reverse_path = value;
		break;
	case P2PNIC_REG_INGRESS:
		if (value <= P2PNIC_INGRESS_HOST)
			n->ingress = value;
		break;
	default:
		break;
	}
}
