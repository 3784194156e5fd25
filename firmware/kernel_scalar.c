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
	for (unsigned k = 0; k < b->frames; k++) {
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

unsigned dequeue_from(const struct ring_in *in, unsigned k, struct p2pnic_descriptor *d,
	unsigned room, uint64_t *bytes, bool *refused)
{
	for (; k < room; k++) {
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

static unsigned dequeue(const struct ring_in *in, struct p2pnic_descriptor *d, unsigned room,
	uint64_t *bytes, bool *refused)
{
	return dequeue_from(in, 0, d, room, bytes, refused);
}

void kernel_copy(uint32_t *to, const uint32_t *from, unsigned words)
{
	for (unsigned i = 0; i < words; i++)
		to[i] = from[i];
}

/* Four bits at a time: the table is small, and a line or two of the cache. */
static uint32_t crc(uint32_t crc, const uint8_t *data, uint32_t bytes)
{
	/* [k]: what is left of k after four steps by the polynomial 0x1edc6f41, bits reversed. */
	static const uint32_t step[16] = {0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1,
		0x417b1dbc, 0x5125dad3, 0x61c69362, 0x7198540d, 0x82f63b78, 0x92a8fc17, 0xa24bb5a6,
		0xb21572c9, 0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75};

	crc = ~crc;
	for (uint32_t k = 0; k < bytes; k++) {
		crc ^= data[k];
		crc = crc >> 4 ^ step[crc & 15];
		crc = crc >> 4 ^ step[crc & 15];
	}
	return ~crc;
}

const struct kernel kernel_scalar = {
	.classify = classify,
	.select = select_frames,
	.describe = describe,
	.dequeue = dequeue,
	.copy = kernel_copy,
	.crc = crc,
};

#ifdef __x86_64__
static const struct kernel kernel_sse42 = {
	.classify = classify,
	.select = select_frames,
	.describe = describe,
	.dequeue = dequeue,
	.copy = kernel_copy,
	.crc = crc32c_x86,
};
#endif

const struct kernel *kernel_best(void)
{
#ifdef __x86_64__
	if (x86_has_avx512())
		return &kernel_avx512;
	if (x86_has_avx2() && x86_has_crc())
		return &kernel_avx2;
	if (x86_has_crc())
		return &kernel_sse42;
#endif
	return &kernel_scalar;
}
