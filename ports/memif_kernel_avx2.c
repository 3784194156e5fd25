/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * memif_kernel.h in AVX2 registers, two descriptors a register. Compiled for every x86-64; run
 * where x86_has_avx2. Descriptors are a stranger's: a register is loaded once, and what was checked
 * is what is used.
 */
#include "firmware/x86.h"

#ifdef __x86_64__

#include "memif_kernel.h"

AVX2 static inline __m256i all64(uint64_t x)
{
	return _mm256_set1_epi64x((long long)x);
}

/* Controls and places of descriptors 0 to 3 as four slots. */
AVX2 static inline void four_slots(struct memif_descriptor *slot, __m256i control, __m256i place)
{
	__m256i even = _mm256_unpacklo_epi64(control, place); /* slots 0 and 2 */
	__m256i odd = _mm256_unpackhi_epi64(control, place);

	_mm256_storeu_si256((__m256i *)slot, _mm256_permute2x128_si256(even, odd, 0x20));
	_mm256_storeu_si256((__m256i *)slot + 1, _mm256_permute2x128_si256(even, odd, 0x31));
}

AVX2 static inline __m256i four_places(const uint32_t *posted)
{
	return _mm256_cvtepu32_epi64(_mm_loadu_si128((const __m128i *)posted));
}

/* Frames at memory + posted[k], with the lengths that the peer wrote. False: one of them is chained
 * or too long, and nothing was done. */
AVX2 static inline bool four_in(const struct memif_descriptor *slot, const uint32_t *posted,
	uint8_t *memory, uint32_t longest, struct frame *frames)
{
	__m256i low = _mm256_loadu_si256((const __m256i *)slot);
	__m256i high = _mm256_loadu_si256((const __m256i *)slot + 1);
	__m256i control, length, data, wrong, even, odd;

	__asm__ volatile("" : "+x"(low), "+x"(high)); /* no second look */
	control = _mm256_unpacklo_epi64(low, high);   /* of slots 0, 2, 1, 3 */
	length = _mm256_srli_epi64(control, 32);
	/* The comparison is signed; 32 bits in 64 are never negative. */
	wrong = _mm256_or_si256(_mm256_cmpgt_epi64(length, all64(longest)),
		_mm256_and_si256(control, all64(MEMIF_DESCRIPTOR_NEXT)));
	if (!_mm256_testz_si256(wrong, wrong))
		return false;
	data = _mm256_permute4x64_epi64(
		_mm256_add_epi64(four_places(posted), all64((uintptr_t)memory)), 0xd8);
	even = _mm256_unpacklo_epi64(data, length); /* frames 0 and 1 */
	odd = _mm256_unpackhi_epi64(data, length);
	_mm256_storeu_si256((__m256i *)frames, even);
	_mm256_storeu_si256((__m256i *)frames + 1, odd);
	return true;
}

AVX2 static unsigned receive(struct memif_port *port, struct frame *frames, unsigned limit)
{
	const struct memif_queue *q = &port->link.receive;
	unsigned n = 0;

	while (n < limit) {
		unsigned slot = (uint16_t)(q->tail + n) & q->mask;

		if (limit - n >= 4 && slot + 3 <= q->mask &&
			four_in(q->ring->slot + slot, port->posted + slot, port->memory,
				port->longest, frames + n)) {
			uint64_t slots = slot * 0x0001000100010001 + 0x0003000200010000;

			memcpy(port->slot + n, &slots, 8);
			n += 4;
		} else if (memif_receive_one(port, frames, n, slot)) {
			n++;
		} else {
			break;
		}
	}
	return n;
}

AVX2 static void repost(struct memif_port *port, unsigned n)
{
	const struct memif_queue *q = &port->link.receive;
	const __m256i control = all64(MEMIF_CONTROL(0, 1, port->buffer_bytes));

	for (unsigned i = 0; i < n;) {
		unsigned slot = (uint16_t)(q->tail + i) & q->mask;

		if (n - i >= 4 && slot + 3 <= q->mask) {
			four_slots(q->ring->slot + slot, control, four_places(port->posted + slot));
			i += 4;
		} else {
			memif_post(port, (uint16_t)slot, port->posted[slot]);
			i++;
		}
	}
}

AVX2 static void describe(
	struct memif_queue *q, unsigned region, const struct p2pnic_descriptor *frames, unsigned n)
{
	const __m256i in_region = all64(MEMIF_CONTROL(0, region, 0));
	unsigned i = 0;

	while (i < n) {
		unsigned slot = (uint16_t)(q->head + i) & q->mask;

		if (n - i >= 4 && slot + 3 <= q->mask) {
			__m256i word = _mm256_loadu_si256((const __m256i *)(frames + i));

			four_slots(q->ring->slot + slot,
				_mm256_or_si256(
					_mm256_and_si256(word, all64(0xffffull << 32)), in_region),
				_mm256_and_si256(word, all64(0xffffffff)));
			i += 4;
		} else {
			memif_write(&q->ring->slot[slot],
				MEMIF_CONTROL(0, region, frames[i].length), frames[i].offset);
			i++;
		}
	}
}

const struct memif_kernel memif_kernel_avx2 = {receive, repost, describe};

#endif
