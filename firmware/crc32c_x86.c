/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * CRC32C by the instructions that x86 has for it; where x86_has_crc.
 *
 * The CRC instruction takes eight bytes each three cycles: one waits for the other. So long data is
 * first folded, by multiplications without carry, to sixteen bytes with the same remainder (V.
 * Gopal et al., "Fast CRC Computation for Generic Polynomials Using PCLMULQDQ Instruction", Intel
 * 2009):
 *
 *     four registers of 16 bytes:  r = fold(r, 64 bytes) ^ next 64 bytes, as long as there are 64
 *     one:                         the first three are folded onto the fourth
 *
 * A register r stands D bits before another. Its halves, 64 bits each, are worth low · x^(D+64) and
 * high · x^D there, and may be replaced by anything with the same remainder by the polynomial P:
 * low · (x^(D+64) mod P) + high · (x^D mod P). Bits are in reversed order in memory and registers,
 * and the product of two reversed factors stands one bit too low, which is a factor of x: the
 * constants are of D+63 and D-1. A reversed remainder of 32 bits has its place in the upper half of
 * 64.
 */
#include "x86.h"

#ifdef __x86_64__

#include "kernel.h"

#define FOLD_FROM 128u /* bytes; below, the instruction is as fast (bench/firmware_loop) */

/* x^(D+63) and x^(D-1) mod P, reversed. */
#define FOLD_512 _mm_set_epi64x(0x75bba45bll << 32, 0x1c19243bll << 32)
#define FOLD_384 _mm_set_epi64x(0x6051243fll << 32, (long long)(0xa46ef4aaull << 32))
#define FOLD_256 _mm_set_epi64x((long long)(0xa2158b34ull << 32), 0x33ccbbbcll << 32)
#define FOLD_128 _mm_set_epi64x(0x3171d430ll << 32, 0x3743f7bdll << 32)

CRC static inline __m128i load(const uint8_t *data)
{
	return _mm_loadu_si128((const __m128i *)data);
}

CRC static inline __m128i fold(__m128i r, __m128i by, __m128i onto)
{
	return _mm_xor_si128(onto, _mm_xor_si128(_mm_clmulepi64_si128(r, by, 0x00),
					   _mm_clmulepi64_si128(r, by, 0x11)));
}

/* The state after all whole blocks of 64 bytes. */
CRC static uint32_t fold_blocks(uint32_t state, const uint8_t *data, uint32_t bytes)
{
	__m128i a = _mm_xor_si128(load(data), _mm_cvtsi32_si128((int)state)), b = load(data + 16);
	__m128i c = load(data + 32), d = load(data + 48);
	uint64_t left;

	for (data += 64; bytes >= 128; bytes -= 64, data += 64) {
		a = fold(a, FOLD_512, load(data));
		b = fold(b, FOLD_512, load(data + 16));
		c = fold(c, FOLD_512, load(data + 32));
		d = fold(d, FOLD_512, load(data + 48));
	}
	d = fold(a, FOLD_384, fold(b, FOLD_256, fold(c, FOLD_128, d)));
	left = _mm_crc32_u64(0, (uint64_t)_mm_cvtsi128_si64(d));
	return (uint32_t)_mm_crc32_u64(left, (uint64_t)_mm_extract_epi64(d, 1));
}

CRC uint32_t crc32c_x86(uint32_t crc, const uint8_t *data, uint32_t bytes)
{
	uint64_t state = (uint32_t)~crc, word;

	if (bytes >= FOLD_FROM) {
		state = fold_blocks((uint32_t)state, data, bytes);
		data += bytes & ~63u;
		bytes &= 63;
	}
	for (; bytes >= 8; bytes -= 8, data += 8) {
		__builtin_memcpy(&word, data, sizeof(word));
		state = _mm_crc32_u64(state, word);
	}
	for (; bytes > 0; bytes--)
		state = _mm_crc32_u8((uint32_t)state, *data++);
	return ~(uint32_t)state;
}

#endif
