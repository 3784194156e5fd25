/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Four memif descriptors at once, in one AVX-512 register. They are a stranger's: a register is
 * loaded once, and what was checked is what is used.
 */
#ifndef P2PNIC_MEMIF_X86_H
#define P2PNIC_MEMIF_X86_H

#include "firmware/frame.h"
#include "firmware/x86.h"
#include "memif_protocol.h"

#include <p2pnic/limits.h>
#include <p2pnic/ring.h>

#ifdef __x86_64__

/* Frames at memory + posted[k], with the lengths that the peer wrote. False: one of them is chained
 * or too long, and nothing was done. */
AVX512 static inline bool memif_four_in(const struct memif_descriptor *slot, const uint32_t *posted,
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

/* Posts whole buffers of region 1. */
AVX512 static inline void memif_four_post(
	struct memif_descriptor *slot, const uint32_t *posted, uint32_t buffer_bytes)
{
	__m512i place = _mm512_castsi256_si512(
		_mm256_cvtepu32_epi64(_mm_loadu_si128((const __m128i *)posted)));

	_mm512_storeu_si512(
		slot, _mm512_mask_expand_epi64(
			      _mm512_set1_epi64((long long)MEMIF_CONTROL(0, 1, buffer_bytes)), 0xaa,
			      place));
}

/* Names n frames of region 1, at most four. Whole vectors where it can be (firmware/x86.h,
 * copy_sixteens). */
AVX512 static inline void memif_four_out(
	struct memif_descriptor *slot, const struct p2pnic_descriptor *frames, unsigned n)
{
	/* Of each frame {offset, length and flags}: {region, length, offset, 0} as 32-bit words. */
	const __m512i from = _mm512_setr_epi32(0, 1, 0, 0, 2, 3, 2, 2, 4, 5, 4, 4, 6, 7, 6, 6);
	const __m512i keep = _mm512_set4_epi32(0, -1, 0xffff, 0);
	const __m512i region = _mm512_set4_epi32(0, 0, 0, 1 << 16);
	__m256i four = n == 4 ? _mm256_loadu_si256((const __m256i *)frames)
			      : _mm256_maskz_loadu_epi64((__mmask8)_bzhi_u32(0xf, n), frames);
	__m512i word = _mm512_permutexvar_epi32(from, _mm512_castsi256_si512(four));

	word = _mm512_ternarylogic_epi32(word, keep, region, 0xea); /* (word & keep) | region */
	if (n == 4)
		_mm512_storeu_si512(slot, word);
	else
		_mm512_mask_storeu_epi64(slot, (__mmask8)_bzhi_u32(0xff, 2 * n), word);
}

#endif
#endif
