/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <errno.h>

#include "fib/check.h"
#include "fib/group.h"

#define BUCKETS 256u

static unsigned count(const p2pnic_bucket *bucket, unsigned adjacency)
{
	unsigned n = 0;

	for (unsigned b = 0; b < BUCKETS; b++)
		n += bucket[b] == adjacency;
	return n;
}

/* Every member has its share, rounded down or up. */
static void assert_shares(
	const p2pnic_bucket *bucket, const struct group_member *member, unsigned members)
{
	unsigned sum = 0, held = 0;

	for (unsigned i = 0; i < members; i++)
		sum += member[i].weight;
	for (unsigned i = 0; i < members; i++) {
		unsigned n = count(bucket, member[i].adjacency);

		assert_in_range(n, BUCKETS * member[i].weight / sum,
			(BUCKETS * member[i].weight + sum - 1) / sum);
		held += n;
	}
	assert_int_equal(held, BUCKETS);
}

static void weights(void **state)
{
	struct group_member member[] = {{10, 1}, {11, 2}, {12, 5}, {13, 0}};
	p2pnic_bucket bucket[BUCKETS];

	assert_int_equal(group_fill(bucket, NULL, 8, member, 4), BUCKETS);
	assert_int_equal(count(bucket, 10), 32);
	assert_int_equal(count(bucket, 11), 64);
	assert_int_equal(count(bucket, 12), 160);
	assert_int_equal(group_fill(bucket, bucket, 8, member, 4), 0);
}

/* Removing one member moves only its flows, whatever happened before. */
static void resilient(void **state)
{
	uint64_t seed = 1;

	for (unsigned round = 0; round < 200; round++) {
		unsigned members = 2 + (unsigned)(check_random(&seed) % 15), gone, left = 0;
		struct group_member member[16];
		p2pnic_bucket before[BUCKETS], after[BUCKETS];
		unsigned moved = 0;

		for (unsigned i = 0; i < members; i++)
			member[i] = (struct group_member){(uint16_t)(100 + i),
				(uint16_t)(round % 2 ? 1 : 1 + check_random(&seed) % 9)};
		assert_int_equal(group_fill(before, NULL, 8, member, members), BUCKETS);
		assert_shares(before, member, members);
		while (members > 1) {
			gone = (unsigned)(check_random(&seed) % members);
			left = count(before, member[gone].adjacency);
			uint16_t adjacency = member[gone].adjacency;

			member[gone] = member[--members];
			assert_int_equal(group_fill(after, before, 8, member, members), (int)left);
			for (unsigned b = 0; b < BUCKETS; b++)
				if (before[b] != adjacency)
					assert_int_equal(before[b], after[b]);
			memcpy(before, after, sizeof before);
		}
		/* One that joins takes its share and nothing else moves. */
		member[members++] = (struct group_member){500, member[0].weight};
		moved = (unsigned)group_fill(after, before, 8, member, members);
		assert_int_equal(moved, count(after, 500));
		assert_shares(after, member, members);
	}
}

/* Also when a member has more buckets before than its new share: it keeps that rounded up. */
static void weights_change(void **state)
{
	struct group_member member[] = {{10, 1}, {11, 1}};
	static const uint16_t weight[][2] = {{2, 1}, {11, 45}, {1, 30}, {100, 256}};
	p2pnic_bucket before[4096], after[4096];

	for (unsigned k = 0; k < sizeof(weight) / sizeof(weight[0]); k++) {
		member[0].weight = member[1].weight = 1;
		assert_true(group_fill(before, NULL, 12, member, 2) > 0);
		member[0].weight = weight[k][0];
		member[1].weight = weight[k][1];
		const unsigned log2 = group_log2(member, 2), sum = weight[k][0] + weight[k][1];
		unsigned held[2] = {0};

		assert_true(group_fill(after, before, log2, member, 2) > 0);
		for (unsigned b = 0; b < 1u << log2; b++)
			held[after[b] - 10]++;
		for (unsigned i = 0; i < 2; i++)
			assert_in_range(held[i] * sum, 7 * (weight[k][i] << log2) / 8,
				9 * (weight[k][i] << log2) / 8);
	}
}

static void refused(void **state)
{
	struct group_member member[] = {{1, 0}, {2, 0}, {3, 0}};
	p2pnic_bucket bucket[2];

	assert_int_equal(group_fill(bucket, NULL, 1, member, 3), -EINVAL);
	member[0].weight = member[1].weight = member[2].weight = 1;
	assert_int_equal(group_fill(bucket, NULL, 1, member, 3), -EINVAL);
	assert_int_equal(group_fill(bucket, NULL, 16, member, 3), -EINVAL);
	assert_int_equal(group_log2(member, 1), 0);
	assert_int_equal(group_log2(member, 3), 6);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(weights),
		cmocka_unit_test(resilient),
		cmocka_unit_test(weights_change),
		cmocka_unit_test(refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
