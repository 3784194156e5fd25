/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What this processor has: known when the firmware is built for it alone (-march=native), asked
 * else.
 */
#ifndef P2PNIC_FIRMWARE_X86_H
#define P2PNIC_FIRMWARE_X86_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __x86_64__
#include <immintrin.h>

/* ThreadSanitizer sees no order between vector loads and stores, though x86 keeps them in one. What
 * it checks is the scalar form. */
#ifdef __has_feature
#if __has_feature(thread_sanitizer)
#define X86_SCALAR
#endif
#elif defined(__SANITIZE_THREAD__)
#define X86_SCALAR
#endif

#define AVX2   __attribute__((target("avx2,bmi,bmi2,popcnt")))
#define AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,bmi,bmi2,popcnt")))

static inline bool x86_has_avx2(void)
{
#ifdef X86_SCALAR
	return false;
#elif defined(__AVX2__) && defined(__BMI2__) && defined(__POPCNT__)
	return true;
#else
	return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2") &&
	       __builtin_cpu_supports("popcnt");
#endif
}

/* Every processor with AVX-512 has these, too. */
#define CRC __attribute__((target("sse4.2,pclmul")))

static inline bool x86_has_crc(void)
{
#if defined(__SSE4_2__) && defined(__PCLMUL__)
	return true;
#else
	return __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("pclmul");
#endif
}

static inline bool x86_has_avx512(void)
{
#ifdef X86_SCALAR
	return false;
#elif defined(__AVX512BW__) && defined(__AVX512VL__) && defined(__AVX512DQ__) && defined(__BMI2__)
	return true;
#else
	return __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
	       __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("bmi2");
#endif
}

/* Sixteen at a time. The last ones under a mask, and only those: what a mask has stored, or loads,
 * does not come from the store queue but waits for the cache. */
AVX512 static inline void copy_sixteens(uint32_t *to, const uint32_t *from, unsigned words)
{
	unsigned i = 0;

	for (; i + 16 <= words; i += 16)
		_mm512_storeu_si512(to + i, _mm512_loadu_si512(from + i));
	if (i < words) {
		__mmask16 some = (__mmask16)_bzhi_u32(0xffff, words - i);

		_mm512_mask_storeu_epi32(to + i, some, _mm512_maskz_loadu_epi32(some, from + i));
	}
}

/* Eight words at a time, then one by one. */
AVX2 static inline void copy_eights(uint32_t *to, const uint32_t *from, unsigned words)
{
	unsigned i = 0;

	for (; i + 8 <= words; i += 8)
		_mm256_storeu_si256(
			(__m256i *)(to + i), _mm256_loadu_si256((const __m256i *)(from + i)));
	for (; i < words; i += 2)
		__atomic_store_n(
			(uint64_t *)(to + i), *(const uint64_t *)(from + i), __ATOMIC_RELAXED);
}
#endif

/* Each word whole, after all that was written before: x86 does not reorder stores, so there only
 * the compiler is told. */
static inline void publish_words(uint64_t *to, const uint64_t *from, unsigned words)
{
#ifdef __x86_64__
	if (x86_has_avx512()) {
		__asm__ volatile("" : : : "memory");
		copy_sixteens((uint32_t *)to, (const uint32_t *)from, 2 * words);
		return;
	}
	if (x86_has_avx2()) {
		__asm__ volatile("" : : : "memory");
		copy_eights((uint32_t *)to, (const uint32_t *)from, 2 * words);
		return;
	}
#endif
	for (unsigned i = 0; i < words; i++)
		__atomic_store_n(&to[i], from[i], __ATOMIC_RELEASE);
}

#endif
