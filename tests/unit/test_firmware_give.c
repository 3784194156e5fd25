/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Frames picked for an egress and their descriptors, some at a time (firmware/give_x86.h), against one by one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "firmware/give_x86.h"
#include "seed.h"

#ifdef __x86_64__
#define ROUNDS 20000u
#define REST   0xa5a5a5a5u /* of what is not to be written */

static void picked_as_one_by_one(void **state)
{
	struct burst *b = aligned_alloc(64, (sizeof(*b) + 63) & ~63ul);
	struct burst_pick p;

	if (!x86_has_avx512())
		skip();
	for (unsigned round = 0; round < ROUNDS; round++) {
		unsigned peers = 1 + (unsigned)rand() % 4, seen = 0;

		for (unsigned k = 0; k < P2PNIC_BURST_MAX; k++) {
			b->egress[k] = rand() % 8 ? (uint8_t)(rand() % (int)peers) : BURST_NOWHERE;
			b->length[k] = (uint32_t)rand();
		}
		for (unsigned peer = 0; peer < peers; peer++) {
			uint64_t frames = frames_for_avx512(b, (uint8_t)peer);
			unsigned n = 0;

			pick_sixteens(b, frames, &p);
			for (unsigned k = 0; k < P2PNIC_BURST_MAX; k++) {
				assert_int_equal(frames >> k & 1, b->egress[k] == peer);
				if (b->egress[k] != peer)
					continue;
				assert_int_equal(p.frame[n], k);
				assert_int_equal(p.length[n++], b->length[k]);
			}
			assert_int_equal(p.count, n);
			seen += n;
		}
		seen += (unsigned)__builtin_popcountll(frames_for_avx512(b, BURST_NOWHERE));
		assert_int_equal(seen, P2PNIC_BURST_MAX);
	}
	free(b);
}

static void described_as_one_by_one(void **state)
{
	uint32_t spare[P2PNIC_BURST_MAX + 8], length[P2PNIC_BURST_MAX + 8];
	uint32_t given[P2PNIC_BURST_MAX + 8];
	uint64_t word[P2PNIC_BURST_MAX + 8];

	if (!x86_has_avx512())
		skip();
	for (unsigned round = 0; round < ROUNDS; round++) {
		unsigned count = 1 + (unsigned)rand() % P2PNIC_BURST_MAX;
		uint32_t begins = rand() % 2 ? ~0u : ~0x300u, sum = 0;
		uint16_t flags = (uint16_t)rand();

		for (unsigned i = 0; i < P2PNIC_BURST_MAX + 8; i++) {
			spare[i] = (uint32_t)rand() * 2u;
			length[i] = (uint32_t)rand() % (P2PNIC_FRAME_BYTES_MAX + 1);
			given[i] = REST;
			word[i] = REST;
		}
		uint32_t bytes = describe_eights(spare, length, count, begins, flags, given, word);

		for (unsigned i = 0; i < count; i++) {
			assert_int_equal(given[i], spare[i]);
			assert_int_equal(word[i], (uint64_t)flags << 48 |
							  (uint64_t)length[i] << 32 |
							  (spare[i] & begins));
			sum += length[i];
		}
		assert_int_equal(bytes, sum);
		for (unsigned i = count; i < P2PNIC_BURST_MAX + 8; i++) {
			assert_int_equal(given[i], REST);
			assert_int_equal(word[i], REST);
		}
	}
}

static void copied_as_one_by_one(void **state)
{
	static uint32_t from[P2PNIC_RING_SLOTS_MAX], to[P2PNIC_RING_SLOTS_MAX + 16];

	if (!x86_has_avx512())
		skip();
	for (unsigned i = 0; i < P2PNIC_RING_SLOTS_MAX; i++)
		from[i] = (uint32_t)rand();
	for (unsigned count = 0; count <= P2PNIC_RING_SLOTS_MAX; count++) {
		for (unsigned i = 0; i < P2PNIC_RING_SLOTS_MAX + 16; i++)
			to[i] = REST;
		copy_sixteens(to, from, count);
		assert_memory_equal(to, from, count * sizeof(*to));
		for (unsigned i = count; i < P2PNIC_RING_SLOTS_MAX + 16; i++)
			assert_int_equal(to[i], REST);
	}
}
#else
static void copied_as_one_by_one(void **state)
{
	skip();
}

static void picked_as_one_by_one(void **state)
{
	skip();
}

static void described_as_one_by_one(void **state)
{
	skip();
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(picked_as_one_by_one),
		cmocka_unit_test(described_as_one_by_one), cmocka_unit_test(copied_as_one_by_one)};

	srand((unsigned)test_seed());
	return cmocka_run_group_tests(tests, NULL, NULL);
}
