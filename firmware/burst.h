/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A burst on its way through the ingress: arrays, one for each thing that the next loop reads.
 */
#ifndef P2PNIC_FIRMWARE_BURST_H
#define P2PNIC_FIRMWARE_BURST_H

#include "board.h"
#include "fib.h"

#define BURST_GROUP   16u   /* frames that are checked together where the processor can */
#define BURST_NOWHERE 0xffu /* no egress */

struct burst {
	struct frame frame[P2PNIC_BURST_MAX] __attribute__((aligned(64)));
	struct frame_head head[P2PNIC_BURST_MAX]; /* as received; with an egress, as sent */
	uint32_t length[P2PNIC_BURST_MAX];        /* of packets to look up, with Ethernet header */

	/* IPv4 and IPv6 packets to look up: their frame, destination and next hop. A group is stored whole,
	 * wherever it begins. */
	uint32_t address4[P2PNIC_BURST_MAX + BURST_GROUP] __attribute__((aligned(64)));
	struct fib_ipv6 address6[P2PNIC_BURST_MAX];
	uint16_t hop4[P2PNIC_BURST_MAX], hop6[P2PNIC_BURST_MAX];
	uint8_t kept4[P2PNIC_BURST_MAX + BURST_GROUP], kept6[P2PNIC_BURST_MAX];
	unsigned n4, n6;

	uint8_t egress[P2PNIC_BURST_MAX] __attribute__((aligned(16))); /* or BURST_NOWHERE */
};

/* Which frames leave by `egress`, as bits; and those as a list, in order. */
#ifdef __SSE2__
#include <immintrin.h>

static inline uint64_t burst_frames(const struct burst *b, uint8_t egress)
{
	const __m128i key = _mm_set1_epi8((char)egress);
	uint64_t frames = 0;

	for (unsigned k = 0; k < P2PNIC_BURST_MAX; k += 16)
		frames |= (uint64_t)(uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(
				  _mm_load_si128((const __m128i *)(b->egress + k)), key))
			  << k;
	return frames;
}

static inline unsigned burst_list(uint64_t frames, uint8_t *list)
{
	unsigned n = 0;

	for (; frames; frames &= frames - 1)
		list[n++] = (uint8_t)__builtin_ctzll(frames);
	return n;
}
#else
static inline uint64_t burst_frames(const struct burst *b, uint8_t egress)
{
	uint64_t frames = 0;

	for (unsigned k = 0; k < P2PNIC_BURST_MAX; k++)
		frames |= (uint64_t)(b->egress[k] == egress) << k;
	return frames;
}

static inline unsigned burst_list(uint64_t frames, uint8_t *list)
{
	unsigned n = 0;

	for (unsigned k = 0; k < P2PNIC_BURST_MAX; k++) {
		list[n] = (uint8_t)k;
		n += frames >> k & 1;
	}
	return n;
}
#endif

#endif
