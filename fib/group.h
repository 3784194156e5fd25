/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ECMP groups: which bucket of a group's range holds which adjacency (p2pnic/adjacency.h).
 *
 * A packet takes bucket (flow hash mod 2^n), so a flow moves when its bucket's content changes, and
 * only then. The mapping is resilient: when members leave, only their buckets are given to others;
 * when one joins or weights change, no more buckets move than the new shares demand. Buckets that
 * firmware could be reading are never rewritten: make the new range elsewhere, flip the next-hop
 * word, reuse the old range after an epoch.
 *
 * With weights w1…wm and B buckets a member's share is B · w / Σw; it gets that, rounded down or
 * up. More buckets follow the weights more closely: with those of group_log2 the error is under
 * 1/16 of a share for equal weights, 1/8 for the smallest of others.
 */
#ifndef P2PNIC_FIB_GROUP_H
#define P2PNIC_FIB_GROUP_H

#include <p2pnic/adjacency.h>

#define GROUP_LOG2_MAX    15u
#define GROUP_MEMBERS_MAX 256u

struct group_member {
	uint16_t adjacency;
	uint16_t weight; /* relative; 0: takes no flows */
};

/* Buckets that suit these members: log2, 0 for a single one (the next hop is the adjacency
 * itself). */
unsigned group_log2(const struct group_member *member, unsigned members);

/*
 * Fills bucket[1 << log2]. before: the group's buckets until now, of the same log2, or NULL for a
 * new group. Adjacencies are distinct. Returns how many buckets changed, or -EINVAL: no member with
 * weight, more members than buckets or than GROUP_MEMBERS_MAX, log2 too large.
 */
int group_fill(p2pnic_bucket *bucket, const p2pnic_bucket *before, unsigned log2,
	const struct group_member *member, unsigned members);

#endif
