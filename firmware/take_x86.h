/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Up to eight descriptors of a ring at once: descriptor_valid (egress.c) for a whole cache line of them. They are
 * the peer's memory: read once.
 */
#ifndef P2PNIC_FIRMWARE_TAKE_X86_H
#define P2PNIC_FIRMWARE_TAKE_X86_H

#include "nic.h"
#include "x86.h"

#ifdef __x86_64__

/* Copies n with their offsets counted from BAR4; adds their lengths to *bytes. Eight are written to `d`. False: one is
 * not valid, and nothing was done. */
AVX512 static inline bool take_eight(const struct nic_in *in, const struct p2pnic_descriptor *ring,
	unsigned n, struct p2pnic_descriptor *d, __m512i *bytes)
{
	const __mmask8 some = (__mmask8)_bzhi_u32(0xff, n);
	/* Whole where it can be (copy_sixteens). */
	__m512i word = n == 8 ? _mm512_loadu_si512(ring) : _mm512_maskz_loadu_epi64(some, ring);
	__m512i length, end;

	__asm__ volatile("" : "+v"(word)); /* no second look */
	length = _mm512_and_si512(_mm512_srli_epi64(word, 32), _mm512_set1_epi64(0xffff));
	end = _mm512_add_epi64(_mm512_and_si512(word, _mm512_set1_epi64(0xffffffff)), length);
	if (_mm512_mask_cmpgt_epu64_mask(some,
		    _mm512_sub_epi64(length, _mm512_set1_epi64(P2PNIC_FRAME_BYTES_MIN)),
		    _mm512_set1_epi64(P2PNIC_FRAME_BYTES_MAX - P2PNIC_FRAME_BYTES_MIN)) |
		_mm512_cmpgt_epu64_mask(end, _mm512_set1_epi64((long long)in->bytes)))
		return false;
	*bytes = _mm512_add_epi64(*bytes, length);
	_mm512_storeu_si512(d, _mm512_add_epi64(word, _mm512_set1_epi64((long long)in->base)));
	return true;
}

#endif
#endif
