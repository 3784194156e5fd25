/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The vector kernels that this processor has (firmware/kernel.h) against the scalar ones: the same
 * bursts, the same results, and nothing written behind them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "firmware_rig.h"
#include "seed.h"

#include "firmware/burst.h"
#include "firmware/header.h"
#include "firmware/kernel.h"
#include "firmware/x86.h"

#ifdef __x86_64__
#define MAC    0x060504030202ull /* as low 48 bits, octet 0 lowest */
#define ROUNDS 20000u
#define REST   0xa5a5a5a5u /* of what is not to be written */

static const struct kernel *other;

static uint32_t random32(void)
{
	return (uint32_t)rand() << 16 ^ (uint32_t)rand();
}

/* Two of them: one for each kernel. */
static struct burst *bursts(void)
{
	struct burst *b = aligned_alloc(64, 2 * sizeof(*b));

	_Static_assert(sizeof(struct burst) % 64 == 0, "both are aligned");
	assert_non_null(b);
	return b;
}

/* A frame to MAC of that type, all else at random. */
static void begin(uint8_t *frame, uint16_t type)
{
	for (unsigned k = 0; k < 64; k++)
		frame[k] = (uint8_t)random32();
	for (unsigned k = 0; k < 6; k++)
		frame[k] = (uint8_t)(MAC >> 8 * k);
	frame[12] = (uint8_t)(type >> 8);
	frame[13] = (uint8_t)type;
}

/* An IPv4 packet to MAC; `harm`: one field of those that are checked is changed at random. */
static void make(uint8_t *frame, uint32_t *length, bool harm)
{
	const bool tag = harm && random32() % 4 == 0;
	static const uint8_t at[] = {0, 1, 2, 3, 4, 5, 12, 13, 14, 15, 16, 17, 18, 20, 22, 23, 24,
		25, 26, 27, 28, 29, 30, 31, 32, 33};
	static const uint8_t octet[] = {0, 1, 31, 51, 126, 127, 128, 168, 169, 192, 198, 203, 222,
		223, 224, 225, 239, 240, 254, 255};
	uint32_t sum = 0, total = 20 + random32() % 1480;

	begin(frame, 0x0800);
	frame[14] = 0x45;
	*length = 14 + total + random32() % 3;
	frame[26] = harm ? octet[random32() % sizeof(octet)] : 10;
	frame[30] = harm ? octet[random32() % sizeof(octet)] : (uint8_t)(128 + random32() % 32);
	if (random32() % 64 == 0) { /* a source that may be listed */
		frame[27] = frame[28] = 0;
	}
	if (harm)
		frame[27 + random32() % 2 * 4] = octet[random32() % sizeof(octet)];
	if (harm && random32() % 2)
		total += random32() % 5 - 2;
	if (harm && random32() % 8 == 0)
		total = random32() % 24;
	frame[16] = (uint8_t)(total >> 8);
	frame[17] = (uint8_t)total;
	frame[24] = frame[25] = 0;
	for (unsigned k = 14; k < 34; k += 2)
		sum += (uint32_t)frame[k] << 8 | frame[k + 1];
	sum = (sum & 0xffff) + (sum >> 16);
	sum = ~((sum & 0xffff) + (sum >> 16)) & 0xffff;
	frame[24] = (uint8_t)(sum >> 8);
	frame[25] = (uint8_t)sum;
	if (harm && random32() % 2)
		frame[at[random32() % sizeof(at)]] ^= (uint8_t)(1u << random32() % 8);
	if (tag) {
		memmove(frame + 16, frame + 12, 48);
		frame[12] = 0x81;
		frame[13] = 0;
		frame[14] = (uint8_t)random32() & 0xf0;
		frame[15] = random32() % 4;
		*length += 4;
	}
}

/* Likewise IPv6. */
static void make6(uint8_t *frame, uint32_t *length, bool harm)
{
	static const uint8_t at[] = {0, 1, 2, 3, 4, 5, 12, 13, 14, 15, 18, 19, 20, 21, 22, 23, 24,
		25, 26, 30, 37, 38, 39, 40, 41, 42, 46, 53};
	/* First words about the edges of ipv6_suspect. */
	static const uint8_t net[][4] = {{0x20, 1, 2, 0}, {0x20, 1, 1, 255}, {0x3f, 254, 255, 255},
		{0x3f, 255, 0, 0}, {0x20, 1, 13, 184}, {0x20, 1, 13, 183}, {0x20, 1, 13, 185},
		{0xfc, 0, 0, 0}, {0xfb, 255, 255, 255}, {0xfd, 255, 255, 255}, {0xfe, 128, 0, 0},
		{0xff, 2, 0, 0}, {0, 0, 0, 0}, {0x20, 2, 0, 0}};
	uint32_t payload = 1 + random32() % 1400;

	begin(frame, 0x86dd);
	frame[14] = 0x60 | (frame[14] & 0xf);
	*length = 54 + payload + random32() % 3;
	if (harm && random32() % 2)
		payload += random32() % 5 - 2;
	if (harm && random32() % 8 == 0) /* a jumbogram, if hop-by-hop options follow */
		payload = frame[20] = 0;
	frame[18] = (uint8_t)(payload >> 8);
	frame[19] = (uint8_t)payload;
	frame[22] = frame[38] = 0x24;
	if (harm)
		memcpy(frame + 22 + random32() % 2 * 16, net[random32() % 14], 4);
	if (harm && random32() % 2)
		frame[at[random32() % sizeof(at)]] ^= (uint8_t)(1u << random32() % 8);
	if (harm && random32() % 8 == 0)
		*length = 14 + random32() % 50;
}

/* One, two or no rows of sources, 10.0.0.x among them: three of 65,536 frames begin so. */
static void list_sources(struct sources *s, unsigned rows)
{
	s->rows = rows;
	s->factor = random32() | 1;
	memset(s->row, 0, sizeof(s->row));
	for (unsigned k = 0; k < 20 && rows; k++) {
		be32 address = 10 | (k ? random32() % 256 << 24 : 0);

		s->row[k % rows][sources_column(s->factor, address)] = address;
	}
}

static void test_classify(void **state)
{
	struct nic *n = aligned_alloc(64, (sizeof(*n) + 63) & ~63ul);
	struct burst *b = bursts();
	uint8_t(*frames)[64] = aligned_alloc(64, P2PNIC_BURST_MAX * 64);
	p2pnic_vlan vlan[P2PNIC_VLANS_MAX] = {[2] = P2PNIC_VLAN_FORWARD, P2PNIC_VLAN_UNKNOWN};
	unsigned fit = 0, unfit = 0, fit6 = 0;

	memset(n, 0, sizeof(*n));
	n->stations = (struct stations){{random32(), MAC}, 2};
	n->vlan = vlan;
	for (unsigned round = 0; round < ROUNDS; round++) {
		uint32_t harm = round % 2 ? 1 + random32() % 3 : 0;

		const uint32_t ipv6 = round % 7 % 4; /* of 3: no burst, some, many, or each frame */

		list_sources(&n->sources, round % 5 % 3);
		memset(b, 0, 2 * sizeof(*b));
		b->frames = 1 + random32() % P2PNIC_BURST_MAX;
		for (unsigned k = 0; k < b->frames; k++) {
			(random32() % 3 < ipv6 ? make6 : make)(
				frames[k], &b->frame[k].length, harm && random32() % 16 < harm);
			b->frame[k].data = frames[k];
		}
		b[1] = b[0];
		kernel_scalar.classify(n, &b[0]);
		other->classify(n, &b[1]);
		assert_int_equal(b[0].n4, b[1].n4);
		assert_memory_equal(b[0].address4, b[1].address4, b->n4 * sizeof(*b->address4));
		assert_memory_equal(b[0].index4, b[1].index4, b->n4);
		assert_memory_equal(b[0].verdict, b[1].verdict, sizeof(b->verdict));
		assert_memory_equal(b[0].head, b[1].head, b->frames * sizeof(*b->head));
		assert_memory_equal(b[0].length, b[1].length, b->frames * sizeof(*b->length));
		assert_memory_equal(b[0].frame, b[1].frame, b->frames * sizeof(*b->frame));
		assert_memory_equal(b[0].layer4, b[1].layer4, b->frames);
		assert_int_equal(b[0].popped, b[1].popped);
		assert_int_equal(b[0].n6, b[1].n6);
		assert_memory_equal(b[0].address6, b[1].address6, b->n6 * sizeof(*b->address6));
		assert_memory_equal(b[0].index6, b[1].index6, b->n6);
		fit += b->n4;
		fit6 += b->n6;
		unfit += b->frames - b->n4 - b->n6;
	}
	assert_true(fit > ROUNDS && fit6 > ROUNDS && unfit > ROUNDS / 10);
	free(frames);
	free(b);
	free(n);
}

static void test_select(void **state)
{
	struct burst *b = bursts();

	b->frames = P2PNIC_BURST_MAX;
	for (unsigned round = 0; round < ROUNDS; round++) {
		unsigned peers = 1 + (unsigned)rand() % 4, seen = 0;

		for (unsigned k = 0; k < P2PNIC_BURST_MAX; k++) {
			b->egress[k] = rand() % 8 ? (uint8_t)(rand() % (int)peers) : BURST_NOWHERE;
			b->length[k] = (uint32_t)rand();
		}
		for (unsigned p = 0; p <= peers; p++) {
			uint8_t egress = p < peers ? (uint8_t)p : BURST_NOWHERE;
			struct selection one, all;
			uint64_t frames = kernel_scalar.select(b, egress, &one);

			assert_int_equal(other->select(b, egress, &all), frames);
			assert_int_equal(one.count, __builtin_popcountll(frames));
			assert_int_equal(all.count, one.count);
			assert_memory_equal(all.frame, one.frame, one.count);
			assert_memory_equal(
				all.length, one.length, one.count * sizeof(*one.length));
			seen += one.count;
		}
		assert_int_equal(seen, P2PNIC_BURST_MAX);
	}
	free(b);
}

static void test_describe(void **state)
{
	uint32_t peer_free[P2PNIC_BURST_MAX + 8], length[P2PNIC_BURST_MAX + 8];
	uint32_t buffer[2][P2PNIC_BURST_MAX + 8];
	uint64_t word[2][P2PNIC_BURST_MAX + 8];

	for (unsigned round = 0; round < ROUNDS; round++) {
		unsigned count = 1 + (unsigned)rand() % P2PNIC_BURST_MAX;
		uint32_t begins = rand() % 2 ? ~0u : ~0x300u;
		uint16_t flags = (uint16_t)rand();

		for (unsigned i = 0; i < P2PNIC_BURST_MAX + 8; i++) {
			peer_free[i] = (uint32_t)rand() * 2u;
			length[i] = (uint32_t)rand() %
				    (P2PNIC_FRAME_BYTES_MAX(P2PNIC_BUFFER_BYTES_MAX) + 1);
			buffer[0][i] = buffer[1][i] = REST;
			word[0][i] = word[1][i] = REST;
		}
		assert_int_equal(kernel_scalar.describe(peer_free, length, count, begins, flags,
					 buffer[0], word[0]),
			other->describe(
				peer_free, length, count, begins, flags, buffer[1], word[1]));
		assert_memory_equal(buffer[0], buffer[1], sizeof(buffer[0]));
		assert_memory_equal(word[0], word[1], sizeof(word[0]));
		assert_int_equal(word[0][0], (uint64_t)flags << 48 | (uint64_t)length[0] << 32 |
						     (peer_free[0] & begins));
	}
}

/* Lengths around the two limits, and any. */
static uint32_t edge(uint32_t longest)
{
	switch (rand() % 3) {
	case 0:
		return longest + (uint32_t)rand() % 3 - 1;
	case 1:
		return P2PNIC_FRAME_BYTES_MIN + (uint32_t)rand() % 3 - 1;
	default:
		return (uint32_t)rand();
	}
}

/* The tags are right up to a place in or behind the ring, but for a few. */
static void fill_ring(
	struct ring_in *in, struct p2pnic_mailbox *mailbox, uint32_t buffer_bytes, bool bad_ones)
{
	uint32_t published = (uint32_t)rand() % (in->slots + in->slots / 4);

	for (uint32_t k = 0; k < in->slots; k++) {
		bool bad = bad_ones && rand() % 32 == 0;
		uint32_t index = in->dequeued + k;
		uint16_t tag = p2pnic_tag(in->epoch, index, in->slots);

		if (k >= published)
			tag = (uint16_t)(tag + (1u << (9 + rand() % 7)));
		mailbox->descriptor[index & (in->slots - 1)] =
			(struct p2pnic_descriptor){.offset = bad ? random32() : k * buffer_bytes,
				.length = (uint16_t)(bad ? edge(in->longest)
							 : in->longest - (uint32_t)rand() % 1700),
				.flags = (uint16_t)((rand() & 0x1ff) | tag)};
	}
}

static void test_dequeue(void **state)
{
	static struct p2pnic_mailbox mailbox;
	struct ring_in in = {.mailbox = &mailbox};
	static const uint32_t size[] = {P2PNIC_BUFFER_SIZES};
	struct p2pnic_descriptor d[2][P2PNIC_BURST_MAX + 7];
	unsigned whole = 0, refusals = 0;

	for (unsigned round = 0; round < ROUNDS; round++) {
		unsigned room = 1 + (unsigned)rand() % P2PNIC_BURST_MAX, taken;
		uint64_t bytes[2] = {7, 7};
		bool refused[2] = {false, false};

		in.slots = 8u << rand() % 5;
		in.epoch = random32();
		in.dequeued = random32();
		const uint32_t buffer_bytes = size[rand() % 3];

		in.longest = P2PNIC_FRAME_BYTES_MAX(buffer_bytes);
		in.base = (uint64_t)rand() % 4096 * buffer_bytes;
		in.bytes = (uint64_t)in.slots * buffer_bytes;
		fill_ring(&in, &mailbox, buffer_bytes, round % 2);
		if (room > in.slots)
			room = in.slots;
		memset(d, 0, sizeof(d));
		taken = kernel_scalar.dequeue(&in, d[0], room, &bytes[0], &refused[0]);
		assert_int_equal(other->dequeue(&in, d[1], room, &bytes[1], &refused[1]), taken);
		assert_int_equal(refused[0], refused[1]);
		assert_int_equal(bytes[0], bytes[1]);
		assert_memory_equal(d[0], d[1], taken * sizeof(*d[0]));
		whole += taken == room;
		refusals += refused[0];
	}
	assert_in_range(whole, ROUNDS / 10, ROUNDS - 1);
	assert_in_range(refusals, ROUNDS / 10, ROUNDS - 1);
}

static void test_copy(void **state)
{
	static uint32_t from[P2PNIC_RING_SLOTS_MAX], to[2][P2PNIC_RING_SLOTS_MAX + 16];

	for (unsigned i = 0; i < P2PNIC_RING_SLOTS_MAX; i++)
		from[i] = (uint32_t)rand();
	for (unsigned count = 0; count <= P2PNIC_RING_SLOTS_MAX; count++) {
		for (unsigned i = 0; i < P2PNIC_RING_SLOTS_MAX + 16; i++)
			to[0][i] = to[1][i] = REST;
		kernel_scalar.copy(to[0], from, count);
		other->copy(to[1], from, count);
		assert_memory_equal(to[0], to[1], sizeof(to[0]));
		assert_memory_equal(to[0], from, count * sizeof(*from));
	}
}

static int run_with(const char *name, const struct kernel *kernel)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_classify),
		cmocka_unit_test(test_select), cmocka_unit_test(test_describe),
		cmocka_unit_test(test_dequeue), cmocka_unit_test(test_copy)};

	other = kernel;
	srand((unsigned)test_seed());
	return cmocka_run_group_tests_name(name, tests, NULL, NULL);
}

#endif

static void no_avx512(void **state)
{
	skip();
}

static void no_avx2(void **state)
{
	skip();
}

int main(void)
{
	const struct CMUnitTest without_avx512[] = {cmocka_unit_test(no_avx512)};
	const struct CMUnitTest without_avx2[] = {cmocka_unit_test(no_avx2)};

#ifdef __x86_64__
	return (x86_has_avx512() ? run_with("AVX-512", &kernel_avx512)
				 : cmocka_run_group_tests(without_avx512, NULL, NULL)) +
	       (x86_has_avx2() && x86_has_crc() ? run_with("AVX2", &kernel_avx2)
						: cmocka_run_group_tests(without_avx2, NULL, NULL));
#else
	return cmocka_run_group_tests(without_avx512, NULL, NULL) +
	       cmocka_run_group_tests(without_avx2, NULL, NULL);
#endif
}
