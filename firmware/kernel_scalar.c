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

static unsigned validate(
	const struct ring_in *in, struct p2pnic_descriptor *d, unsigned available, uint64_t *bytes)
{
	unsigned valid = 0;

	for (; valid < available && ring_in_descriptor(in, in->dequeued + valid, d + valid);
		valid++)
		*bytes += d[valid].length;
	return valid;
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
	.validate = validate,
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
