/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sixteen frames checked at once (firmware/check_x86.h) against ipv4_plain, one by one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "firmware/header.h"

#include "firmware/check_x86.h"

#ifdef __x86_64__
#define MAC    0x060504030202ull /* as low 48 bits, octet 0 lowest */
#define GROUPS 200000u

static uint64_t random_state = 1;

static uint32_t random32(void)
{
	random_state = random_state * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(random_state >> 32);
}

/* A packet to MAC; `harm`: one field of those that are checked is changed at random. */
static void make(uint8_t *frame, uint32_t *length, bool harm)
{
	static const uint8_t at[] = {0, 1, 2, 3, 4, 5, 12, 13, 14, 15, 16, 17, 18, 20, 22, 23, 24,
		25, 26, 27, 28, 29, 30, 31, 32, 33};
	static const uint8_t octet[] = {0, 1, 31, 51, 126, 127, 128, 168, 169, 192, 198, 203, 222,
		223, 224, 225, 239, 240, 254, 255};
	uint32_t sum = 0, total = 20 + random32() % 1480;

	for (unsigned k = 0; k < 64; k++)
		frame[k] = (uint8_t)random32();
	for (unsigned k = 0; k < 6; k++)
		frame[k] = (uint8_t)(MAC >> 8 * k);
	frame[12] = 8;
	frame[13] = 0;
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
}

static void groups_equal_single_packets(void **state)
{
	struct burst *b = aligned_alloc(64, (sizeof(*b) + 63) & ~63ul);
	uint8_t(*frames)[64] = aligned_alloc(64, BURST_GROUP * 64);
	struct sources *sources = calloc(1, sizeof(*sources));
	unsigned all_plain = 0, some_not = 0;

	if (!x86_has_avx512())
		skip();
	for (unsigned g = 0; g < GROUPS; g++) {
		unsigned k = g % 4 * BURST_GROUP, before = g % 3, plain = 0;
		uint32_t harm = g % 2 ? 1 + random32() % 3 : 0;

		/* Three of 65,536 sources begin 10.0; one, two or no rows. */
		sources->rows = g % 5 % 3;
		sources->factor = random32() | 1;
		memset(sources->row, 0, sizeof(sources->row));
		for (unsigned s = 0; s < 20 && sources->rows; s++) {
			be32 address = 10 | (s ? random32() % 256 << 24 : 0);

			sources->row[s % sources->rows][sources_column(sources->factor, address)] =
				address;
		}
		memset(b, 0, sizeof(*b));
		b->n4 = before;
		for (unsigned i = 0; i < BURST_GROUP; i++) {
			make(frames[i], &b->frame[k + i].length, harm && random32() % 16 < harm);
			b->frame[k + i].data = frames[i];
		}
		bool whole = check_group(b, k, MAC, sources);

		for (unsigned i = 0; i < BURST_GROUP; i++) {
			const uint8_t *f = frames[i];
			struct frame_head head = {
				{load64(f), load64(f + 8)}, {load64(f + 16), load64(f + 24)}};
			uint16_t tail = load16(f + 32);
			uint32_t total;

			plain += ipv4_plain(&head, tail, b->frame[k + i].length, MAC, &total) &&
				 !sources_has(sources, ipv4_source_be(&head));
			if (!whole)
				continue;
			assert_memory_equal(&b->head[k + i], f, 32);
			assert_int_equal(b->length[k + i], total);
			assert_int_equal(b->kept4[before + i], k + i);
			assert_int_equal(b->address4[before + i], ipv4_destination(&head, tail));
		}
		assert_int_equal(whole, plain == BURST_GROUP);
		assert_int_equal(b->n4, before + (whole ? BURST_GROUP : 0));
		all_plain += whole;
		some_not += !whole;
	}
	assert_true(all_plain > GROUPS / 100);
	assert_true(some_not > GROUPS / 100);
	free(sources);
	free(frames);
	free(b);
}
#else
static void groups_equal_single_packets(void **state)
{
	skip();
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(groups_equal_single_packets)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
