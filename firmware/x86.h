/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What this processor has: known when the firmware is built for it alone (-march=native), asked else.
 */
#ifndef P2PNIC_FIRMWARE_X86_H
#define P2PNIC_FIRMWARE_X86_H

#ifdef __x86_64__
#include <immintrin.h>
#include <stdbool.h>

#define AVX2   __attribute__((target("avx2,bmi,bmi2,popcnt")))
#define AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,bmi,bmi2,popcnt")))

static inline bool x86_has_avx2(void)
{
#if defined(__AVX2__) && defined(__BMI2__) && defined(__POPCNT__)
	return true;
#else
	return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2") &&
	       __builtin_cpu_supports("popcnt");
#endif
}

static inline bool x86_has_avx512(void)
{
#if defined(__AVX512BW__) && defined(__AVX512VL__) && defined(__AVX512DQ__) && defined(__BMI2__)
	return true;
#else
	return __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
	       __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("bmi2");
#endif
}
#endif

#endif
