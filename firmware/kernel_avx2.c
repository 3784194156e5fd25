/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * kernel.h in AVX2 registers, for processors without AVX-512. Compiled for every x86-64; run where
 * x86_has_avx2. As kernel_avx512.c, with half as many packets to a register and comparisons that
 * give lanes of ones instead of bits.
 */
#include "x86.h"

#ifdef __x86_64__

#include "classify.h"
#include "header.h"
#include "kernel.h"
#include "nic.h"

#define GROUP 8u /* frames checked together: two times four */

static inline __m256i AVX2 all64(uint64_t x)
{
	return _mm256_set1_epi64x((long long)x);
}

/* --- classify --------------------------------------------------------------------------------- */

/* The first 32 bytes of four frames, transposed: a register holds word w of all four. */
struct column {
	__m256i word[4];
	__m256i tail; /* destination 2–3 */
};

AVX2 static inline __m256i row_of(const struct frame *frame, struct frame_head *head)
{
	__m256i row = _mm256_loadu_si256((const __m256i *)frame->data);

	_mm256_storeu_si256((__m256i *)head, row);
	return row;
}

AVX2 static inline uint64_t tail_of(const struct frame *frame)
{
	uint16_t tail;

	__builtin_memcpy(&tail, frame->data + 32, 2);
	return tail;
}

AVX2 static inline struct column transpose4(const struct frame *f, struct frame_head *head)
{
	__m256i r0 = row_of(f, head), r1 = row_of(f + 1, head + 1);
	__m256i r2 = row_of(f + 2, head + 2), r3 = row_of(f + 3, head + 3);
	__m256i low01 = _mm256_unpacklo_epi64(r0, r1), high01 = _mm256_unpackhi_epi64(r0, r1);
	__m256i low23 = _mm256_unpacklo_epi64(r2, r3), high23 = _mm256_unpackhi_epi64(r2, r3);

	return (struct column){{_mm256_permute2x128_si256(low01, low23, 0x20),
				       _mm256_permute2x128_si256(high01, high23, 0x20),
				       _mm256_permute2x128_si256(low01, low23, 0x31),
				       _mm256_permute2x128_si256(high01, high23, 0x31)},
		_mm256_set_epi64x((long long)tail_of(f + 3), (long long)tail_of(f + 2),
			(long long)tail_of(f + 1), (long long)tail_of(f))};
}

/* The low 16 or 32 bits of each 64-bit lane in the other byte order, zeros above. */
#define SWAP16                                                                                     \
	_mm256_set_epi64x(                                                                         \
		0x8080808080800809, 0x8080808080800001, 0x8080808080800809, 0x8080808080800001)
#define SWAP32                                                                                     \
	_mm256_set_epi64x(                                                                         \
		0x8080808008090a0b, 0x8080808000010203, 0x8080808008090a0b, 0x8080808000010203)

/* The low halves of 64-bit lanes, side by side. */
AVX2 static inline __m128i low_halves(__m256i x)
{
	return _mm256_castsi256_si128(
		_mm256_permutevar8x32_epi32(x, _mm256_setr_epi32(0, 2, 4, 6, 0, 2, 4, 6)));
}

/* The lengths of four frames as they were received, with padding. */
AVX2 static inline __m256i lengths4(const struct frame *frame)
{
	return _mm256_and_si256(
		_mm256_permute4x64_epi64(
			_mm256_unpackhi_epi64(_mm256_loadu_si256((const __m256i *)frame),
				_mm256_loadu_si256((const __m256i *)(frame + 2))),
			0xd8),
		all64(0xffffffff));
}

/* Not 0 where the one's complement sum over the header is not 0xffff, as in ipv4_sum and fold. */
AVX2 static inline __m256i checksum_wrong4(const struct column *c)
{
	const __m256i low32 = all64(0xffffffff), low16 = all64(0xffff);
	__m256i s = _mm256_add_epi64(_mm256_srli_epi64(c->word[1], 48), c->tail);

	s = _mm256_add_epi64(s, _mm256_and_si256(c->word[2], low32));
	s = _mm256_add_epi64(s, _mm256_srli_epi64(c->word[2], 32));
	s = _mm256_add_epi64(s, _mm256_and_si256(c->word[3], low32));
	s = _mm256_add_epi64(s, _mm256_srli_epi64(c->word[3], 32));
	s = _mm256_add_epi64(_mm256_add_epi64(_mm256_and_si256(s, low16), _mm256_srli_epi64(s, 32)),
		_mm256_and_si256(_mm256_srli_epi64(s, 16), low16));
	/* Below 3 · 2^16: folded once more it is below 2^16 + 2. */
	s = _mm256_add_epi64(_mm256_and_si256(s, low16), _mm256_srli_epi64(s, 16));
	return _mm256_xor_si256(s, low16);
}

/* Ones for frames to none of this NIC's addresses. */
AVX2 static inline __m256i foreign4(const struct stations *s, __m256i word)
{
	const __m256i zero = _mm256_setzero_si256();
	__m256i own = zero;

	for (unsigned k = 0; k < s->count; k++)
		own = _mm256_or_si256(own,
			_mm256_cmpeq_epi64(
				_mm256_slli_epi64(_mm256_xor_si256(word, all64(s->mac[k])), 16),
				zero));
	return _mm256_xor_si256(own, all64(~0ull));
}

/* ipv4_suspect of the first octets of source and destination, and of the first two: bits in their
 * places in word[3]. */
AVX2 static inline __m256i suspect4(__m256i word)
{
	const __m256i octets = all64(0x00ff000000ff0000), pairs = all64(0xffff0000ffff0000);
	const __m256i first = _mm256_sub_epi8(word, _mm256_set1_epi8(1));
	/* octet - 1 ≥ 223, or octet - 1 = 126 */
	__m256i octet = _mm256_or_si256(_mm256_subs_epu8(first, _mm256_set1_epi8((char)222)),
		_mm256_cmpeq_epi8(first, _mm256_set1_epi8(126)));
	__m256i pair = _mm256_setzero_si256();

	/* The pairs of ipv4_pairs that are some. */
	for (unsigned k = 0; k < 4; k++) {
		static const uint8_t remainder[4] = {192 % 32, 198 % 32, 169 % 32, 203 % 32};

		pair = _mm256_or_si256(
			pair, _mm256_cmpeq_epi16(
				      word, _mm256_set1_epi16((short)ipv4_pairs[remainder[k]])));
	}
	return _mm256_or_si256(_mm256_and_si256(octet, octets), _mm256_and_si256(pair, pairs));
}

/* ipv4_plain (classify.c) for four frames at once. Not 0: not all are. Their lengths, destinations,
 * and sources as they stand. */
AVX2 static inline __m256i check4(const struct frame *frame, struct frame_head *head,
	uint32_t *length, const struct stations *stations, uint32_t *address, __m128i *source)
{
	const struct column c = transpose4(frame, head);
	const __m256i ip = _mm256_shuffle_epi8(c.word[2], SWAP16);
	const __m256i total = _mm256_add_epi64(ip, all64(ETHERNET_BYTES));
	const __m256i arrived = lengths4(frame);
	/* Type, version and header length. */
	__m256i wrong = _mm256_and_si256(
		_mm256_xor_si256(c.word[1], all64(0x0045000800000000)), all64(0x00ffffff00000000));

	wrong = _mm256_or_si256(wrong, suspect4(c.word[3]));
	wrong = _mm256_or_si256(wrong, foreign4(stations, c.word[0]));
	wrong = _mm256_or_si256(wrong, checksum_wrong4(&c));
	wrong = _mm256_or_si256(wrong, _mm256_cmpgt_epi64(all64(IPV4_BYTES), ip));
	wrong = _mm256_or_si256(wrong, _mm256_cmpgt_epi64(total, arrived));
	_mm_storeu_si128((__m128i *)length, low_halves(total));
	_mm_storeu_si128((__m128i *)address,
		low_halves(_mm256_shuffle_epi8(_mm256_or_si256(_mm256_srli_epi64(c.word[3], 48),
						       _mm256_slli_epi64(c.tail, 16)),
			SWAP32)));
	*source = low_halves(_mm256_srli_epi64(c.word[3], 16));
	return wrong;
}

/* sources_has, for any of eight. A column of a row is found among four registers by its low bits in
 * each, and then by its two high ones. */
AVX2 static inline bool sources_have_any(const struct sources *s, __m256i source)
{
	const __m256i column =
		_mm256_srli_epi32(_mm256_mullo_epi32(source, _mm256_set1_epi32((int)s->factor)),
			32 - SOURCES_COLUMNS_LOG2);
	const __m256 bit3 = _mm256_castsi256_ps(_mm256_slli_epi32(column, 28));
	const __m256 bit4 = _mm256_castsi256_ps(_mm256_slli_epi32(column, 27));
	__m256i found = _mm256_setzero_si256();

	_Static_assert(SOURCES_COLUMNS == 32, "four registers of eight");
	for (uint32_t r = 0; r < s->rows; r++) {
		__m256 part[4];

		for (unsigned k = 0; k < 4; k++)
			part[k] = _mm256_castsi256_ps(_mm256_permutevar8x32_epi32(
				_mm256_loadu_si256((const __m256i *)s->row[r] + k), column));
		const __m256 listed = _mm256_blendv_ps(_mm256_blendv_ps(part[0], part[1], bit3),
			_mm256_blendv_ps(part[2], part[3], bit3), bit4);

		found = _mm256_or_si256(
			found, _mm256_cmpeq_epi32(_mm256_castps_si256(listed), source));
	}
	return !_mm256_testz_si256(found, found);
}

/* Frames k to k + 7. True: all are plain, and stand in the burst as to be looked up. False: some
 * are not; nothing of the burst was changed but heads and lengths, which the caller overwrites. */
AVX2 static inline bool check_group(
	struct burst *b, unsigned k, const struct stations *stations, const struct sources *sources)
{
	uint32_t *address = b->address4 + b->n4;
	__m128i source[2];
	__m256i wrong = _mm256_or_si256(
		check4(b->frame + k, b->head + k, b->length + k, stations, address, &source[0]),
		check4(b->frame + k + 4, b->head + k + 4, b->length + k + 4, stations, address + 4,
			&source[1]));

	if (__builtin_expect(!_mm256_testz_si256(wrong, wrong), 0))
		return false;
	if (__builtin_expect(sources_have_any(sources, _mm256_set_m128i(source[1], source[0])), 0))
		return false;
	for (unsigned i = 0; i < GROUP; i++)
		b->index4[b->n4 + i] = (uint8_t)(k + i);
	b->n4 += GROUP;
	return true;
}

/* ipv6_suspect of any of eight first words, in host order. */
AVX2 static inline bool any_suspect6(__m256i net)
{
	const __m256i offset = _mm256_sub_epi32(net, _mm256_set1_epi32(0x20010200));
	const __m256i bound = _mm256_set1_epi32(0x3fff0000 - 0x20010200);
	__m256i outside = _mm256_cmpeq_epi32(_mm256_max_epu32(offset, bound), offset);
	__m256i example = _mm256_cmpeq_epi32(net, _mm256_set1_epi32(0x20010db8));
	__m256i local =
		_mm256_cmpeq_epi32(_mm256_and_si256(net, _mm256_set1_epi32((int)0xfe000000)),
			_mm256_set1_epi32((int)0xfc000000));

	return !_mm256_testc_si256(local, _mm256_or_si256(outside, example));
}

/* The destinations of two frames, in host order. */
AVX2 static inline __m256i destinations6(const struct frame *f)
{
	const __m256i swap64s = _mm256_set_epi64x(
		0x08090a0b0c0d0e0f, 0x0001020304050607, 0x08090a0b0c0d0e0f, 0x0001020304050607);

	return _mm256_shuffle_epi8(
		_mm256_set_m128i(_mm_loadu_si128((const __m128i *)(f[1].data + 38)),
			_mm_loadu_si128((const __m128i *)(f[0].data + 38))),
		swap64s);
}

/* Frames k to k + 3, by ipv6_plain (classify.c). True: all are plain, and stand in the burst as to
 * be looked up. False: some are not; nothing of the burst was changed but heads, which the caller
 * overwrites. */
AVX2 static inline bool check_group6(struct burst *b, unsigned k, const struct stations *stations)
{
	const struct frame *frame = b->frame + k;
	const struct column c = transpose4(frame, b->head + k);
	const __m256i to01 = destinations6(frame), to23 = destinations6(frame + 2);
	const __m256i payload = _mm256_shuffle_epi8(_mm256_srli_epi64(c.word[2], 16), SWAP16);
	const __m256i total = _mm256_add_epi64(payload, all64(ETHERNET_BYTES + IPV6_BYTES));
	/* The first words of sources, and beside them those of destinations. */
	const __m256i net = _mm256_blend_epi32(
		_mm256_shuffle_epi8(_mm256_or_si256(_mm256_srli_epi64(c.word[2], 48),
					    _mm256_slli_epi64(c.word[3], 16)),
			SWAP32),
		_mm256_unpacklo_epi64(to01, to23), 0xaa);
	const uint32_t layer4 = (ETHERNET_BYTES + IPV6_BYTES) * 0x01010101u;
	const uint32_t index = k * 0x01010101u + 0x03020100u;
	/* Type and version. */
	__m256i wrong = _mm256_and_si256(
		_mm256_xor_si256(c.word[1], all64(0x0060dd8600000000)), all64(0x00f0ffff00000000));

	wrong = _mm256_or_si256(wrong, foreign4(stations, c.word[0]));
	wrong = _mm256_or_si256(wrong, _mm256_cmpeq_epi64(payload, _mm256_setzero_si256()));
	wrong = _mm256_or_si256(wrong, _mm256_cmpgt_epi64(total, lengths4(frame)));
	if (__builtin_expect(!_mm256_testz_si256(wrong, wrong) || any_suspect6(net), 0))
		return false;
	_mm_storeu_si128((__m128i *)(b->length + k), low_halves(total));
	_mm256_storeu_si256((__m256i *)(b->address6 + b->n6), to01);
	_mm256_storeu_si256((__m256i *)(b->address6 + b->n6 + 2), to23);
	__builtin_memcpy(b->layer4 + k, &layer4, sizeof(layer4));
	__builtin_memcpy(b->index6 + b->n6, &index, sizeof(index));
	b->n6 += 4;
	return true;
}

AVX2 static inline bool is_plain_group(const struct nic *n, struct burst *b, unsigned k)
{
	switch (load16(b->frame[k].data + 12)) {
	case ETHERTYPE_IPV4_LE:
		return check_group(b, k, &n->stations, &n->sources);
	case ETHERTYPE_IPV6_LE:
		if (!check_group6(b, k, &n->stations))
			return false;
		if (!check_group6(b, k + 4, &n->stations))
			classify_frames(n, b, k + 4, k + GROUP);
		return true;
	default:
		return false;
	}
}

/* Frames of groups that are not all plain go one by one, in the order of arrival: packets of one
 * flow are kept in theirs. */
AVX2 void classify_avx2(const struct nic *n, struct burst *b, unsigned k, unsigned end)
{
	for (; k + GROUP <= end; k += GROUP)
		if (!is_plain_group(n, b, k))
			classify_frames(n, b, k, k + GROUP);
	classify_frames(n, b, k, end);
}

static void classify(const struct nic *n, struct burst *b)
{
	classify_avx2(n, b, 0, b->frames);
}

/* --- select, describe ------------------------------------------------------------------------- */

AVX2 static uint64_t select_frames(const struct burst *b, uint8_t egress, struct selection *s)
{
	const __m256i to = _mm256_set1_epi8((char)egress);
	const __m256i *at = (const __m256i *)b->egress;
	uint64_t frames =
		(uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(_mm256_load_si256(at), to)) |
		(uint64_t)(uint32_t)_mm256_movemask_epi8(
			_mm256_cmpeq_epi8(_mm256_load_si256(at + 1), to))
			<< 32;
	unsigned count = 0;

	for (uint64_t left = frames; left; left &= left - 1) {
		unsigned k = (unsigned)_tzcnt_u64(left);

		s->length[count] = b->length[k];
		s->frame[count++] = (uint8_t)k;
	}
	s->count = count;
	return frames;
}

/* Eight at a time, and the last ones one by one: what lies behind them is not written. */
AVX2 static uint32_t describe(const uint32_t *free, const uint32_t *length, unsigned count,
	uint32_t begins, uint16_t flags, uint32_t *slot_buffer, uint64_t *descriptor)
{
	const __m256i flag = _mm256_set1_epi32((int)((uint32_t)flags << 16));
	__m256i sum = _mm256_setzero_si256();
	uint32_t bytes = 0, sums[8];
	unsigned i = 0;

	for (; i + 8 <= count; i += 8) {
		__m256i buffer = _mm256_loadu_si256((const __m256i *)(free + i));
		__m256i of = _mm256_loadu_si256((const __m256i *)(length + i));
		__m256i offset = _mm256_and_si256(buffer, _mm256_set1_epi32((int)begins));
		__m256i high = _mm256_or_si256(of, flag);
		__m256i even = _mm256_unpacklo_epi32(offset, high);
		__m256i odd = _mm256_unpackhi_epi32(offset, high);

		sum = _mm256_add_epi32(sum, of);
		_mm256_storeu_si256((__m256i *)(slot_buffer + i), buffer);
		_mm256_storeu_si256(
			(__m256i *)(descriptor + i), _mm256_permute2x128_si256(even, odd, 0x20));
		_mm256_storeu_si256((__m256i *)(descriptor + i + 4),
			_mm256_permute2x128_si256(even, odd, 0x31));
	}
	_mm256_storeu_si256((__m256i *)sums, sum);
	for (unsigned k = 0; k < 8; k++)
		bytes += sums[k];
	return bytes + kernel_scalar.describe(free + i, length + i, count - i, begins, flags,
			       slot_buffer + i, descriptor + i);
}

/* --- dequeue ---------------------------------------------------------------------------------- */

/* Four at a time. They are the peer's memory: read once. */
AVX2 static unsigned dequeue(const struct ring_in *in, struct p2pnic_descriptor *d, unsigned room,
	uint64_t *bytes, bool *refused)
{
	const __m256i low16 = all64(0xffff), low32 = all64(0xffffffff);
	__m256i sum = _mm256_setzero_si256();
	uint64_t sums[4];
	unsigned taken = 0;

	while (taken + 4 <= room) {
		uint32_t slot = (in->dequeued + taken) & (in->slots - 1);
		uint16_t tag = p2pnic_tag(in->epoch, in->dequeued + taken, in->slots);
		__m256i word, length, end, wrong;

		if (slot + 4 > in->slots) /* the tag changes there */
			break;
		word = _mm256_loadu_si256((const __m256i *)(in->mailbox->descriptor + slot));
		/* No second look, nor at the packets before this: x86 does not reorder loads. */
		__asm__ volatile("" : "+x"(word) : : "memory");
		length = _mm256_and_si256(_mm256_srli_epi64(word, 32), low16);
		end = _mm256_add_epi64(_mm256_and_si256(word, low32), length);
		wrong = _mm256_xor_si256(_mm256_srli_epi64(word, 57), all64(tag >> 9));
		wrong = _mm256_or_si256(
			wrong, _mm256_cmpgt_epi64(all64(P2PNIC_FRAME_BYTES_MIN), length));
		wrong = _mm256_or_si256(wrong, _mm256_cmpgt_epi64(length, all64(in->longest)));
		wrong = _mm256_or_si256(wrong, _mm256_cmpgt_epi64(end, all64(in->bytes)));
		if (!_mm256_testz_si256(wrong, wrong))
			break;
		_mm256_storeu_si256(
			(__m256i *)(d + taken), _mm256_add_epi64(word, all64(in->base)));
		sum = _mm256_add_epi64(sum, length);
		taken += 4;
	}
	_mm256_storeu_si256((__m256i *)sums, sum);
	*bytes += sums[0] + sums[1] + sums[2] + sums[3];
	return dequeue_from(in, taken, d, room, bytes, refused);
}

const struct kernel kernel_avx2 = {
	.classify = classify,
	.select = select_frames,
	.describe = describe,
	.dequeue = dequeue,
	.copy = kernel_copy,
	.crc = crc32c_x86,
};

#endif
