/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * memif_kernel.h in AVX-512 registers. Compiled for every x86-64; run where x86_has_avx512.
 * Descriptors are a stranger's: a register is loaded once, and what was checked is what is used.
 */
#include "firmware/x86.h"

#ifdef __x86_64__

#include "memif_kernel.h"

/* Frames at memory + posted[k], with the lengths that the peer wrote. False: one of them is chained
 * or too long, and nothing was done. */
AVX512 static inline bool four_in(const struct memif_descriptor *slot, const uint32_t *posted,
	uint8_t *memory, uint32_t longest, struct frame *frames)
{
	const __mmask8 controls = 0x55;
	const __m512i most = _mm512_set1_epi64((long long)MEMIF_CONTROL(0xffff, 0xffff, longest));
	__m512i word = _mm512_loadu_si512(slot), data;

	__asm__ volatile("" : "+v"(word)); /* no second look */
	if (_mm512_mask_test_epi64_mask(controls, word, _mm512_set1_epi64(MEMIF_DESCRIPTOR_NEXT)) |
		_mm512_mask_cmpgt_epu64_mask(controls, word, most))
		return false;
	data = _mm512_castsi256_si512(
		_mm256_add_epi64(_mm256_cvtepu32_epi64(_mm_loadu_si128((const __m128i *)posted)),
			_mm256_set1_epi64x((long long)(uintptr_t)memory)));
	_mm512_storeu_si512(frames, _mm512_unpacklo_epi64(_mm512_maskz_expand_epi64(controls, data),
					    _mm512_srli_epi64(word, 32)));
	return true;
}

AVX512 static unsigned receive(struct memif_port *port, struct frame *frames, unsigned limit)
{
	const struct memif_queue *q = &port->link.receive;
	unsigned n = 0;

	/* The first bytes of frames: where they are stands in no descriptor. Up to the end of the
	 * ring: it comes once in many bursts. */
	const uint32_t *posted = port->posted + (q->tail & q->mask);
	unsigned whole = q->mask + 1u - (q->tail & q->mask);

	for (unsigned k = 0; k < limit && k < whole; k++)
		__builtin_prefetch(port->memory + posted[k]);
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

/* Posts whole buffers of region 1. */
AVX512 static inline void four_post(
	struct memif_descriptor *slot, const uint32_t *posted, uint32_t buffer_bytes)
{
	__m512i place = _mm512_castsi256_si512(
		_mm256_cvtepu32_epi64(_mm_loadu_si128((const __m128i *)posted)));

	_mm512_storeu_si512(
		slot, _mm512_mask_expand_epi64(
			      _mm512_set1_epi64((long long)MEMIF_CONTROL(0, 1, buffer_bytes)), 0xaa,
			      place));
}

AVX512 static void repost(struct memif_port *port, unsigned n)
{
	const struct memif_queue *q = &port->link.receive;

	for (unsigned i = 0; i < n;) {
		unsigned slot = (uint16_t)(q->tail + i) & q->mask;

		if (n - i >= 4 && slot + 3 <= q->mask) {
			four_post(q->ring->slot + slot, port->posted + slot, port->buffer_bytes);
			i += 4;
		} else {
			memif_post(port, (uint16_t)slot, port->posted[slot]);
			i++;
		}
	}
}

/* Names n frames of a region, at most four. Whole vectors where it can be (firmware/x86.h,
 * copy_sixteens). */
AVX512 static inline void four_out(struct memif_descriptor *slot, unsigned in_region,
	const struct p2pnic_descriptor *frames, unsigned n)
{
	/* Of each frame {offset, length and flags}: {region, length, offset, 0} as 32-bit words. */
	const __m512i from = _mm512_setr_epi32(0, 1, 0, 0, 2, 3, 2, 2, 4, 5, 4, 4, 6, 7, 6, 6);
	const __m512i keep = _mm512_set4_epi32(0, -1, 0xffff, 0);
	const __m512i region = _mm512_set4_epi32(0, 0, 0, (int)(in_region << 16));
	__m256i four = n == 4 ? _mm256_loadu_si256((const __m256i *)frames)
			      : _mm256_maskz_loadu_epi64((__mmask8)_bzhi_u32(0xf, n), frames);
	__m512i word = _mm512_permutexvar_epi32(from, _mm512_castsi256_si512(four));

	word = _mm512_ternarylogic_epi32(word, keep, region, 0xea); /* (word & keep) | region */
	if (n == 4)
		_mm512_storeu_si512(slot, word);
	else
		_mm512_mask_storeu_epi64(slot, (__mmask8)_bzhi_u32(0xff, 2 * n), word);
}

AVX512 static void describe(
	struct memif_queue *q, unsigned region, const struct p2pnic_descriptor *frames, unsigned n)
{
	for (unsigned i = 0, run; i < n; i += run) {
		unsigned slot = (uint16_t)(q->head + i) & q->mask;

		run = n - i < 4 ? n - i : 4;
		if (run > q->mask + 1u - slot)
			run = q->mask + 1u - slot;
		four_out(q->ring->slot + slot, region, frames + i, run);
	}
}

const struct memif_kernel memif_kernel_avx512 = {receive, repost, describe};

#endif
