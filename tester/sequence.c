/* SPDX-License-Identifier: BSD-3-Clause */
#include "sequence.h"

void sequence_late(struct sequence *s, uint64_t number)
{
	unsigned bit = (unsigned)(number % SEQUENCE_WINDOW);

	if (s->next - number > SEQUENCE_WINDOW) {
		s->ancient++;
		return;
	}
	if (s->seen[bit / 64] >> bit % 64 & 1) {
		s->duplicate++;
		return;
	}
	s->seen[bit / 64] |= 1ull << bit % 64;
	s->reordered++;
	s->received++;
	s->lost--;
}

/* Numbers [next, number) are skipped: their bits, which stand for numbers a window ago, are
 * cleared. */
void sequence_gap(struct sequence *s, uint64_t number)
{
	uint64_t gap = number - s->next;

	s->lost += gap;
	if (gap >= SEQUENCE_WINDOW) {
		for (unsigned i = 0; i < SEQUENCE_WINDOW / 64; i++)
			s->seen[i] = 0;
		return;
	}
	for (uint64_t n = s->next; n < number; n++) {
		unsigned bit = (unsigned)(n % SEQUENCE_WINDOW);
		s->seen[bit / 64] &= ~(1ull << bit % 64);
	}
}
