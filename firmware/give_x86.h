/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sixteen frames of a burst picked for an egress at once, eight of their descriptors written at once, in AVX-512
 * registers: what frames_for, pick and describe_each of ingress.c do one by one.
 */
#ifndef P2PNIC_FIRMWARE_GIVE_X86_H
#define P2PNIC_FIRMWARE_GIVE_X86_H

#include "burst.h"
#include "nic.h"
#include "x86.h"

#ifdef __x86_64__

AVX512 static inline uint64_t frames_for_avx512(const struct burst *b, uint8_t egress)
{
	return _cvtmask64_u64(_mm512_cmpeq_epi8_mask(
		_mm512_load_si512(b->egress), _mm512_set1_epi8((char)egress)));
}

AVX512 static inline void pick_sixteens(
	const struct burst *b, uint64_t frames, struct burst_pick *p)
{
	__m512i k = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);

	p->count = 0;
	for (unsigned at = 0; at < P2PNIC_BURST_MAX; at += BURST_GROUP) {
		__mmask16 some = (__mmask16)(frames >> at);

		_mm512_storeu_si512(p->length + p->count,
			_mm512_maskz_compress_epi32(some, _mm512_loadu_si512(b->length + at)));
		_mm_storeu_si128((__m128i *)(p->frame + p->count),
			_mm512_cvtepi32_epi8(_mm512_maskz_compress_epi32(some, k)));
		k = _mm512_add_epi32(k, _mm512_set1_epi32(BURST_GROUP));
		p->count += (unsigned)_mm_popcnt_u32(some);
	}
}

AVX512 static inline uint32_t describe_eights(const uint32_t *spare, const uint32_t *length,
	unsigned count, uint32_t begins, uint16_t flags, uint32_t *given, uint64_t *word)
{
	const __m512i flag = _mm512_set1_epi64((long long)((uint64_t)flags << 48));
	__m512i bytes = _mm512_setzero_si512();

	for (unsigned i = 0; i < count; i += 8) {
		__mmask8 some = (__mmask8)_bzhi_u32(0xff, count - i);
		__m256i buffer = _mm256_loadu_si256((const __m256i *)(spare + i));
		__m512i offset = _mm512_cvtepu32_epi64(
			_mm256_and_si256(buffer, _mm256_set1_epi32((int)begins)));
		__m512i long_ = _mm512_maskz_cvtepu32_epi64(
			some, _mm256_loadu_si256((const __m256i *)(length + i)));

		bytes = _mm512_add_epi64(bytes, long_);
		_mm256_mask_storeu_epi32(given + i, some, buffer);
		_mm512_mask_storeu_epi64(word + i, some,
			_mm512_or_si512(
				_mm512_or_si512(offset, flag), _mm512_slli_epi64(long_, 32)));
	}
	return (uint32_t)_mm512_reduce_add_epi64(bytes);
}

#endif
#endif
