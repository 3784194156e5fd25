/* SPDX-License-Identifier: BSD-3-Clause */
#include "group.h"

#include <errno.h>
#include <string.h>

#define NOBODY UINT16_MAX /* no bucket holds it: adjacencies end at P2PNIC_ADJACENCIES_MAX */

_Static_assert(P2PNIC_ADJACENCIES_MAX <= NOBODY, "an adjacency index is never NOBODY");

unsigned group_log2(const struct group_member *member, unsigned members)
{
	unsigned log2 = 0, with_weight = 0;
	uint64_t sum = 0, least = UINT64_MAX;

	for (unsigned i = 0; i < members; i++) {
		with_weight += member[i].weight > 0;
		sum += member[i].weight;
		if (member[i].weight && member[i].weight < least)
			least = member[i].weight;
	}
	if (with_weight < 2)
		return 0;
	/* Sixteen buckets for an equal share, and at least eight for the smallest. */
	while (log2 < 12 &&
		((1u << log2) < 16 * with_weight || ((uint64_t)least << log2) < 8 * sum))
		log2++;
	return log2;
}

/* The member that is furthest below its share. */
static unsigned neediest(const struct group_member *member, const uint32_t *held, unsigned members,
	uint32_t buckets, uint64_t sum)
{
	unsigned best = 0;
	int64_t most = INT64_MIN;

	for (unsigned i = 0; i < members; i++) {
		int64_t below =
			(int64_t)((uint64_t)buckets * member[i].weight) - (int64_t)(held[i] * sum);

		if (below > most) {
			best = i;
			most = below;
		}
	}
	return best;
}

int group_fill(p2pnic_bucket *bucket, const p2pnic_bucket *before, unsigned log2,
	const struct group_member *member, unsigned members)
{
	uint32_t held[GROUP_MEMBERS_MAX] = {0};
	uint64_t sum = 0;
	uint32_t buckets;
	unsigned with_weight = 0;
	int moved = 0;

	if (log2 > GROUP_LOG2_MAX || members > GROUP_MEMBERS_MAX)
		return -EINVAL;
	buckets = 1u << log2;
	for (unsigned i = 0; i < members; i++) {
		sum += member[i].weight;
		with_weight += member[i].weight > 0;
	}
	if (!sum || with_weight > buckets)
		return -EINVAL;

	/* Buckets stay with members that are still there, up to a share rounded up. */
	for (uint32_t b = 0; b < buckets; b++) {
		unsigned owner = members;

		for (unsigned i = 0; before && i < members; i++)
			if (member[i].adjacency == before[b])
				owner = i;
		if (owner < members &&
			held[owner] * sum < (uint64_t)buckets * member[owner].weight) {
			held[owner]++;
			bucket[b] = member[owner].adjacency;
		} else {
			bucket[b] = NOBODY;
		}
	}
	/* The others go to whoever is furthest below its share. */
	for (uint32_t b = 0; b < buckets; b++) {
		if (bucket[b] == NOBODY) {
			unsigned owner = neediest(member, held, members, buckets, sum);

			held[owner]++;
			bucket[b] = member[owner].adjacency;
		}
	}
	/* A member still below its share rounded down takes from the one furthest above. */
	for (unsigned i = 0; i < members; i++) {
		while ((held[i] + 1ull) * sum <= (uint64_t)buckets * member[i].weight) {
			unsigned richest = members;
			int64_t most = 0;
			uint32_t b = buckets;

			for (unsigned k = 0; k < members; k++) {
				int64_t above = (int64_t)(held[k] * sum) -
						(int64_t)((uint64_t)buckets * member[k].weight);

				if (k != i && held[k] && (richest == members || above > most)) {
					richest = k;
					most = above;
				}
			}
			/* From the far end, where a second change is least likely to take it
			 * back. */
			while (b-- && bucket[b] != member[richest].adjacency)
				;
			bucket[b] = member[i].adjacency;
			held[richest]--;
			held[i]++;
		}
	}
	for (uint32_t b = 0; b < buckets; b++)
		moved += !before || bucket[b] != before[b];
	return moved;
}
