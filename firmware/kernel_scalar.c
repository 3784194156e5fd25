/* SPDX-License-Identifier: BSD-3-Clause */
#include "kernel.h"

#include "classify.h"
#include "nic.h"
#include "x86.h"

static void classify(const struct nic *n, struct burst *b)
{
	classify_frames(n, b, 0, b->frames);
}

static uint64_t select_frames(const struct burst *b, uint8_t egress, struct selection *s)
{
	uint64_t frames = 0;

	s->count = 0;
	for (unsigned k = 0; k < P2PNIC_BURST_MAX; k++) {
		bool here = b->egress[k] == egress;

		s->length[s->count] = b->length[k];
		s->frame[s->count] = (uint8_t)k;
		s->count += here;
		frames |= (uint64_t)here << k;
	}
	return frames;
}

static uint32_t describe(const uint32_t *free, const uint32_t *length, unsigned count,
	uint32_t begins, uint16_t flags, uint32_t *slot_buffer, uint64_t *descriptor)
{
	uint32_t bytes = 0;

	for (unsigned i = 0; i < count; i++) {
		slot_buffer[i] = free[i];
		descriptor[i] =
			(free[i] & begins) | (uint64_t)length[i] << 32 | (uint64_t)flags << 48;
		bytes += length[i];
	}
	return bytes;
}

static unsigned dequeue(const struct ring_in *in, struct p2pnic_descriptor *d, unsigned room,
	uint64_t *bytes, bool *refused)
{
	for (unsigned k = 0; k < room; k++) {
		uint64_t word = ring_in_word(in, in->dequeued + k);
		uint32_t length = (uint16_t)(word >> 32);

		if (!ring_in_published(in, in->dequeued + k, word))
			return k;
		if (length < P2PNIC_FRAME_BYTES_MIN || length > in->longest ||
			(uint32_t)word + (uint64_t)length > in->bytes) {
			*refused = true;
			return k;
		}
		word += in->base;
		__builtin_memcpy(&d[k], &word, sizeof(word));
		*bytes += length;
	}
	return room;
}

static void copy(uint32_t *to, const uint32_t *from, unsigned words)
{
	for (unsigned i = 0; i < words; i++)
		to[i] = from[i];
}

const struct kernel kernel_scalar = {
	.classify = classify,
	.select = select_frames,
	.describe = describe,
	.dequeue = dequeue,
	.copy = copy,
};

const struct kernel *kernel_best(void)
{
#ifdef __x86_64__
	if (x86_has_avx512())
		return &kernel_avx512;
#endif
	return &kernel_scalar;
}
