/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The firmware alone, on one core, without ports: nanoseconds of processor time a packet for two
 * NICs that forward from one to the other, or for several that all forward to all. What it shows is
 * the work of the path itself; it says nothing of a wire.
 *
 *     build/bench/firmware_loop [wr|rd|lend|wr6|rd6|lend6 [BYTES [BURST_ROUNDS [LISTED_SOURCES
 *                               [BUFFER_BYTES [CHECK [NICS [TAGS [CAPTURE]]]]]]]]]
 *
 * lend: Rd, by ports that send from the peer's memory; rd: by ports that cannot, so the NIC fetches
 * first. wr6, rd6, lend6: IPv6 packets. LISTED_SOURCES: own and broadcast addresses, from which
 * nothing is forwarded; 12: a router of four NICs. CHECK: of transfers; 0 none, 1 stamp, 2 crc.
 * NICS: that all forward to all; 0: two, from one to the other. TAGS (IEEE 802.1Q), of IPv4: 1 of
 * received frames, 2 of sent ones, 3 of both. CAPTURE at every NIC that receives: 1 with a filter
 * that takes nothing (udp dst port 1), 2 of every packet, 128 bytes of each.
 */
#include "softnic/firmware.h"

#include "bench/loop_port.h"
#include "fib/fib_image.h"
#include "firmware/header.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#define RX_BUFFERS 2048u
#define SLOTS      256u

#define NICS_MAX 8u

struct machine {
	struct nic nic; /* first: it stands on a line of the cache */
	struct board board;
	struct loop_port port;
	struct dma dma;
	struct dma_window window[2 * NICS_MAX + 1];
	struct p2pnic_counters counters;
	uint8_t *bar2, *bar4;
};

static uint8_t *memory(size_t bytes)
{
	const int flags = MAP_PRIVATE | MAP_ANONYMOUS;
	uint8_t *m = mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags | MAP_HUGETLB, -1, 0);

	return m != MAP_FAILED ? m : mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags, -1, 0);
}

static unsigned method = P2PNIC_METHOD_WRITE;
static bool lend;
static unsigned check = P2PNIC_CHECK_NONE;
static uint32_t buffer_bytes = P2PNIC_BUFFER_BYTES_MIN;

static unsigned nics = 2;
static bool ipv6;
static unsigned tags;
#define VID 10u

/* Receive buffers, then those of the rings, in a power of two. */
static uint32_t bar4_bytes(void)
{
	uint32_t bytes = P2PNIC_BAR4_BYTES_MIN;

	while (bytes < (RX_BUFFERS + nics * SLOTS) * buffer_bytes)
		bytes *= 2;
	return bytes;
}

static void make(struct machine *m)
{
	m->bar2 = memory(P2PNIC_BAR2_BYTES_MIN);
	m->bar4 = memory(bar4_bytes());
	m->board = (struct board){.dma = &m->dma, .port = &m->port, .ops = &loop_port_ops};
	m->port.memory = m->bar4;
	m->dma = (struct dma){.window = m->window, .enabled = true, .counters = &m->counters};
	nic_init(&m->nic, &m->board, method, buffer_bytes, &m->counters, m->bar2,
		P2PNIC_BAR2_BYTES_MIN, m->bar4, bar4_bytes());
	nic_set_port(&m->nic, true, 0, 0);
	nic_register_write(&m->nic, P2PNIC_REG_COMMAND, P2PNIC_OP_RESET);
	nic_register_write(&m->nic, P2PNIC_REG_RX_BUFFERS, RX_BUFFERS);
}

static void window(struct machine *m, uint64_t bus, uint8_t *at, uint64_t bytes)
{
	m->window[m->dma.windows++] = (struct dma_window){.bus = bus,
		.bytes = bytes,
		.access = DMA_READ | DMA_WRITE,
		.kind = VFU_WINDOW_MEMORY,
		.memory = at};
}

/* NIC `index` of all opens its pair with NIC `peer_index`: a slice of BAR4 for each. */
static void join(struct machine *m, unsigned index, struct machine *peer, unsigned peer_index)
{
	struct p2pnic_peer *entry =
		(struct p2pnic_peer *)(m->bar2 + P2PNIC_BAR2_PEERS) + peer_index;
	const uint64_t bus = (uint64_t)(peer_index + 1) << 34;
	const uint32_t slice = (RX_BUFFERS + index * SLOTS) * buffer_bytes;

	window(m, bus, peer->bar2 + index * sizeof(struct p2pnic_mailbox),
		sizeof(struct p2pnic_mailbox));
	window(m, bus + (1ull << 33), peer->bar4, bar4_bytes());
	*entry = (struct p2pnic_peer){.epoch = 1,
		.batch = P2PNIC_BURST_MAX,
		.mailbox = {bus},
		.out_buffers = {bus + (1ull << 33) + slice},
		.out_buffer_count = SLOTS,
		.out_slots = SLOTS,
		.in_buffers = {bus + (1ull << 33)},
		.in_offset = (RX_BUFFERS + peer_index * SLOTS) * buffer_bytes,
		.in_buffer_count = method == P2PNIC_METHOD_WRITE ? SLOTS : RX_BUFFERS,
		.in_slots = SLOTS,
		.flags = P2PNIC_PEER_CHECK(check)};
	nic_register_write(
		&m->nic, P2PNIC_REG_COMMAND, P2PNIC_COMMAND(P2PNIC_OP_PEER_OPEN, peer_index));
	if (m->nic.result != P2PNIC_OK)
		fprintf(stderr, "peer-open: result %u\n", m->nic.result);
	m->nic.in[peer_index].memory = lend; /* in place of board_reach */
}

/* Frames to the neighbours behind egresses [first, nics), in turn. */
static void fill(struct machine *m, unsigned first, unsigned length)
{
	for (unsigned k = 0; k < LOOP_FRAMES; k++) {
		uint8_t *f = m->bar4 + m->port.buffer[k];
		const uint8_t header6[54] = {2, 0, 0, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0x86, 0xdd, 0x60,
			0, 0, 0, (uint8_t)((length - 54) >> 8), (uint8_t)(length - 54), 59, 64,
			0xfd, 0, 0, 0x19, [37] = (uint8_t)k, [38] = 0xfd, [41] = 0x18,
			[43] = (uint8_t)(10 + first + k % (nics - first))};
		const uint8_t header[34] = {2, 0, 0, 0, 0, 0, 2, 0, 0, 0, 1, 0, 8, 0, 0x45, 0,
			(uint8_t)((length - 14) >> 8), (uint8_t)(length - 14), 0, 0, 0, 0, 64, 17,
			0, 0, 198, 19, 0, (uint8_t)k, 198, 18, 1,
			(uint8_t)(10 + first + k % (nics - first))};
		uint64_t sum = 0;

		const uint8_t tag[] = {0x81, 0, 0, VID};

		if (ipv6) {
			memcpy(f, header6, sizeof(header6));
			continue;
		}
		memcpy(f, header, sizeof(header));
		for (unsigned b = 14; b < 34; b += 2)
			sum += load16(f + b);
		uint16_t checksum = (uint16_t)~fold(sum);
		memcpy(f + 24, &checksum, 2);
		if (tags & 1) {
			memmove(f + 16, f + 12, sizeof(header) - 12);
			memcpy(f + 12, tag, sizeof(tag));
		}
	}
	m->port.length = length + (tags & 1 ? P2PNIC_TAG_BYTES : 0);
}

/* The tables of a router with a connected network, its broadcast address, an own address, and a
 * neighbour behind each NIC. */
static void load(struct machine *m, const struct fib *fib, unsigned listed)
{
	struct p2pnic_sources *sources = (struct p2pnic_sources *)(m->bar2 + P2PNIC_BAR2_SOURCES);

	const uint32_t at = ipv6 ? P2PNIC_REG_FIB6_OFFSET : P2PNIC_REG_FIB4_OFFSET;

	fib_image_write(fib, m->bar2 + P2PNIC_BAR2_FIB);
	for (unsigned k = 0; k < nics; k++) {
		((p2pnic_next_hop *)(m->bar2 + P2PNIC_BAR2_NEXT_HOPS))[1 + k] =
			P2PNIC_NEXT_HOP(1 + k, 0);
		((struct p2pnic_adjacency *)(m->bar2 + P2PNIC_BAR2_ADJACENCIES))[1 + k] =
			(struct p2pnic_adjacency){.mtu = (uint16_t)P2PNIC_MTU_MAX(buffer_bytes),
				.kind = tags & 2 ? P2PNIC_ADJACENCY_FORWARD_TAGGED
						 : P2PNIC_ADJACENCY_FORWARD,
				.egress = (uint8_t)k,
				.encapsulation = tags & 2 ? VID : 0};
	}
	((p2pnic_vlan *)(m->bar2 + P2PNIC_BAR2_VLANS))[VID] = P2PNIC_VLAN_FORWARD;
	/* 198.18.1.0, .1 and .255, then of networks beside it. */
	for (sources->count = 0; sources->count < listed; sources->count++) {
		const uint8_t last[] = {0, 1, 255};
		unsigned k = sources->count;
		const uint8_t address[] = {198, 18, (uint8_t)(1 + k / 3), last[k % 3]};

		memcpy(&sources->address[k], address, 4);
	}
	nic_register_write(&m->nic, P2PNIC_REG_MAC_LOW, 2);
	nic_register_write(&m->nic, P2PNIC_REG_MAC_HIGH, 0);
	nic_register_write(&m->nic, at, P2PNIC_BAR2_FIB);
	nic_register_write(
		&m->nic, P2PNIC_REG_COMMAND, ipv6 ? P2PNIC_OP_FIB_IPV6 : P2PNIC_OP_FIB_IPV4);
	nic_register_write(&m->nic, P2PNIC_REG_COMMAND, P2PNIC_OP_SOURCES);
}

/* What libpcap makes of "udp dst port 1". */
static const struct p2pnic_instruction filter[] = {{0x28, 0, 0, 12}, {0x15, 0, 4, 0x86dd},
	{0x30, 0, 0, 20}, {0x15, 0, 11, 17}, {0x28, 0, 0, 56}, {0x15, 8, 9, 1}, {0x15, 0, 8, 0x800},
	{0x30, 0, 0, 23}, {0x15, 0, 6, 17}, {0x28, 0, 0, 20}, {0x45, 4, 0, 0x1fff},
	{0xb1, 0, 0, 14}, {0x48, 0, 0, 16}, {0x15, 0, 1, 1}, {0x06, 0, 0, 262144}, {0x06, 0, 0, 0}};

static void capture(struct machine *m, bool all)
{
	const uint64_t bus = 1ull << 40;
	struct p2pnic_capture *c = (struct p2pnic_capture *)(m->bar2 + P2PNIC_BAR2_CAPTURE);

	*c = (struct p2pnic_capture){.points = P2PNIC_CAPTURE_RX,
		.snap = 128,
		.slots = 32768,
		.ring = {bus},
		.instructions = all ? 0 : sizeof(filter) / sizeof(*filter)};
	memcpy(c->filter, filter, sizeof(filter));
	window(m, bus, memory(8 << 20), 8 << 20);
	nic_register_write(&m->nic, P2PNIC_REG_COMMAND, P2PNIC_OP_CAPTURE);
	if (m->nic.result != P2PNIC_OK)
		fprintf(stderr, "capture: result %u\n", m->nic.result);
}

static uint64_t sent(const struct machine *m)
{
	uint64_t packets = 0;

	for (unsigned k = 0; k < nics; k++)
		packets += atomic_load(&m[k].counters.sent.packets);
	return packets;
}

int main(int argc, char **argv)
{
	static struct machine m[NICS_MAX];
	unsigned length = argc > 2 ? (unsigned)atoi(argv[2]) : 60;
	unsigned rounds = argc > 3 ? (unsigned)atoi(argv[3]) : 200000;
	unsigned listed = argc > 4 ? (unsigned)atoi(argv[4]) : 12;
	const bool mesh = argc > 7 && atoi(argv[7]) > 0;
	struct fib_route route[3 + NICS_MAX] = {fib_route4(0xc6120100, 24, NICS_MAX + 1),
		fib_route4(0xc61201ff, 32, NICS_MAX + 1), fib_route4(0xc6120101, 32, NICS_MAX + 1)};
	struct error error = {""};
	double best = 1e9;

	lend = argc > 1 && !strncmp(argv[1], "lend", 4);
	if (argc > 1 && (lend || !strncmp(argv[1], "rd", 2)))
		method = P2PNIC_METHOD_READ;
	ipv6 = argc > 1 && strchr(argv[1], '6');
	const struct fib_config config = {ipv6 ? 6 : 4, P2PNIC_FIB_LINE_TRIE, 4 << 20};
	struct fib *fib = fib_new(&config, &error);
	if (argc > 5)
		buffer_bytes = (uint32_t)atoi(argv[5]);
	if (argc > 6)
		check = (unsigned)atoi(argv[6]);
	if (mesh)
		nics = (unsigned)atoi(argv[7]);
	if (argc > 8)
		tags = (unsigned)atoi(argv[8]);
	if (nics < 1 || nics > NICS_MAX) {
		fprintf(stderr, "1 to %u NICs\n", NICS_MAX);
		return 1;
	}
	if (!p2pnic_buffer_bytes_valid(buffer_bytes) ||
		length + P2PNIC_TAG_BYTES > P2PNIC_FRAME_BYTES_MAX(buffer_bytes) || length < 60) {
		fprintf(stderr, "frames of %u bytes do not fit buffers of %u bytes\n", length,
			buffer_bytes);
		return 1;
	}
	for (unsigned k = 0; k < nics; k++)
		route[3 + k] =
			ipv6 ? (struct fib_route){{0xfd00001800000000 | (10ull + k) << 16, 0}, 48,
				       6, (uint16_t)(1 + k)}
			     : fib_route4(0xc612010a + k, 32, 1 + k);
	if (!fib || fib_build(fib, ipv6 ? route + 3 : route, ipv6 ? nics : 3 + nics, &error)) {
		fprintf(stderr, "%s\n", error.text);
		return 1;
	}
	for (unsigned k = 0; k < nics; k++)
		make(&m[k]);
	for (unsigned k = 0; k < nics; k++)
		for (unsigned peer = 0; peer < nics; peer++)
			if (mesh || peer != k)
				join(&m[k], k, &m[peer], peer);
	for (unsigned k = 0; k < nics; k++) {
		load(&m[k], fib, listed);
		m[k].port.off = k > 0 && !mesh;
		nic_register_write(&m[k].nic, P2PNIC_REG_COMMAND, P2PNIC_OP_START);
		fill(&m[k], !mesh, length);
		if (argc > 9 && atoi(argv[9]))
			capture(&m[k], atoi(argv[9]) == 2);
	}
	for (unsigned repeat = 0; repeat < 5; repeat++) {
		struct timespec t0, t1;
		uint64_t before = sent(m);

		clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t0);
		for (unsigned k = 0; k < rounds; k++)
			for (unsigned at = 0; at < nics; at++)
				nic_poll(&m[at].nic);
		clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t1);
		double ns =
			(double)(t1.tv_sec - t0.tv_sec) * 1e9 + (double)(t1.tv_nsec - t0.tv_nsec);
		double packets = (double)(sent(m) - before);

		if (ns / packets < best)
			best = ns / packets;
	}
	printf("%u bytes: %.2f ns/packet, %.1f Mpps (best of 5)\n", length, best, 1e3 / best);
	fib_free(fib);
	return 0;
}
