/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What became of the packets of one flow, from their numbers alone: 0, 1, 2… as sent.
 *
 * `next` is one more than the highest number seen. A packet at or above it advances; the numbers
 * skipped count as lost until they come after all. A packet below it is reordered (RFC 4737 §3.3:
 * its number is smaller than the next expected one) the first time and a duplicate after that;
 * which of the two is kept for the last SEQUENCE_WINDOW numbers. One still further behind is
 * `ancient`: late by more than the window, and never counted back from lost.
 */
#ifndef P2PNIC_TESTER_SEQUENCE_H
#define P2PNIC_TESTER_SEQUENCE_H

#include <stdint.h>

#define SEQUENCE_WINDOW 16384u /* eight rings of 2048 */

struct sequence {
	uint64_t next;
	uint64_t received; /* distinct packets */
	uint64_t lost;     /* below next, not seen (yet) */
	uint64_t reordered;
	uint64_t duplicate;
	uint64_t ancient;
	uint64_t seen[SEQUENCE_WINDOW / 64]; /* bit n mod window, for n in [next - window, next) */
};

void sequence_late(struct sequence *, uint64_t number);
void sequence_gap(struct sequence *, uint64_t number);

static inline void sequence_note(struct sequence *s, uint64_t number)
{
	if (__builtin_expect(number != s->next, 0)) {
		if (number < s->next) {
			sequence_late(s, number);
			return;
		}
		sequence_gap(s, number);
	}
	unsigned bit = (unsigned)(number % SEQUENCE_WINDOW);
	s->seen[bit / 64] |= 1ull << bit % 64;
	s->next = number + 1;
	s->received++;
}

#endif
