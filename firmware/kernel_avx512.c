/* SPDX-License-Identifier: BSD-3-Clause */
/* kernel.h in AVX-512 registers. Compiled for every x86-64; run where x86_has_avx512. */
#include "x86.h"

#ifdef __x86_64__

#include "classify.h"
#include "header.h"
#include "kernel.h"
#include "nic.h"

/* --- classify --------------------------------------------------------------------------------- */

/*
 * ipv4_plain (header.h) for sixteen frames at once.
 *
 * The first 32 bytes of eight frames are transposed, so that a register holds word w of all eight:
 *
 *     frame 0   w0 w1 w2 w3           w0   of frame 0 1 2 3 4 5 6 7
 *     frame 1   w0 w1 w2 w3    ──▶    w1   of frame 0 1 2 3 4 5 6 7
 *     …                               …
 *
 * and one instruction tests eight packets. Conditions gather as bits in `wrong`: a lane that is not
 * 0 is no plain packet. 115 instructions a packet become 12 (this check alone).
 */
struct column {
	__m512i word[4];
	__m512i tail; /* destination 2–3 */
};

AVX512 static inline __m256i row_of(const struct frame *frame, struct frame_head *head)
{
	__m256i row = _mm256_loadu_si256((const __m256i *)frame->data);

	_mm256_storeu_si256((__m256i *)head, row);
	return row;
}

AVX512 static inline __m512i two_rows(
	const struct frame *frame, struct frame_head *head, unsigned low, unsigned high)
{
	return _mm512_inserti64x4(_mm512_castsi256_si512(row_of(frame + low, head + low)),
		row_of(frame + high, head + high), 1);
}

AVX512 static inline short tail_of(const struct frame *frame)
{
	short tail;

	__builtin_memcpy(&tail, frame->data + 32, 2);
	return tail;
}

AVX512 static inline struct column transpose8(const struct frame *f, struct frame_head *head)
{
	const __m512i even = _mm512_setr_epi64(0, 1, 8, 9, 4, 5, 12, 13);
	const __m512i odd = _mm512_setr_epi64(2, 3, 10, 11, 6, 7, 14, 15);
	__m512i r04 = two_rows(f, head, 0, 4), r15 = two_rows(f, head, 1, 5);
	__m512i r26 = two_rows(f, head, 2, 6), r37 = two_rows(f, head, 3, 7);
	__m512i low01 = _mm512_unpacklo_epi64(r04, r15), high01 = _mm512_unpackhi_epi64(r04, r15);
	__m512i low23 = _mm512_unpacklo_epi64(r26, r37), high23 = _mm512_unpackhi_epi64(r26, r37);
	__m128i tail = _mm_setr_epi16(tail_of(f), tail_of(f + 1), tail_of(f + 2), tail_of(f + 3),
		tail_of(f + 4), tail_of(f + 5), tail_of(f + 6), tail_of(f + 7));

	return (struct column){{_mm512_permutex2var_epi64(low01, even, low23),
				       _mm512_permutex2var_epi64(high01, even, high23),
				       _mm512_permutex2var_epi64(low01, odd, low23),
				       _mm512_permutex2var_epi64(high01, odd, high23)},
		_mm512_cvtepu16_epi64(tail)};
}

/* The low 16 or 32 bits of each 64-bit lane in the other byte order, zeros above. */
#define SWAP16                                                                                     \
	_mm512_set_epi64(0x8080808080800809, 0x8080808080800001, 0x8080808080800809,               \
		0x8080808080800001, 0x8080808080800809, 0x8080808080800001, 0x8080808080800809,    \
		0x8080808080800001)
#define SWAP32                                                                                     \
	_mm512_set_epi64(0x8080808008090a0b, 0x8080808000010203, 0x8080808008090a0b,               \
		0x8080808000010203, 0x8080808008090a0b, 0x8080808000010203, 0x8080808008090a0b,    \
		0x8080808000010203)

AVX512 static inline __m512i all64(uint64_t x)
{
	return _mm512_set1_epi64((long long)x);
}

/* The one's complement sum over the header is 0xffff, as in ipv4_sum and fold. */
AVX512 static inline __mmask8 checksum_wrong8(const struct column *c)
{
	const __m512i low32 = all64(0xffffffff), low16 = all64(0xffff);
	__m512i s = _mm512_add_epi64(_mm512_srli_epi64(c->word[1], 48), c->tail);

	s = _mm512_add_epi64(s, _mm512_and_si512(c->word[2], low32));
	s = _mm512_add_epi64(s, _mm512_srli_epi64(c->word[2], 32));
	s = _mm512_add_epi64(s, _mm512_and_si512(c->word[3], low32));
	s = _mm512_add_epi64(s, _mm512_srli_epi64(c->word[3], 32));
	s = _mm512_add_epi64(_mm512_add_epi64(_mm512_and_si512(s, low16), _mm512_srli_epi64(s, 32)),
		_mm512_and_si512(_mm512_srli_epi64(s, 16), low16));
	/* Below 3 · 2^16: folded once more it is below 2^16 + 2. */
	s = _mm512_add_epi64(_mm512_and_si512(s, low16), _mm512_srli_epi64(s, 16));
	return _mm512_cmpneq_epi64_mask(s, low16);
}

/* Frames to none of this NIC's addresses. */
AVX512 static inline __mmask8 foreign8(const struct stations *s, __m512i word)
{
	__m512i differs = _mm512_slli_epi64(_mm512_xor_si512(word, all64(s->mac[0])), 16);
	__mmask8 foreign = _mm512_test_epi64_mask(differs, differs);

	for (unsigned k = 1; k < s->count; k++) {
		differs = _mm512_slli_epi64(_mm512_xor_si512(word, all64(s->mac[k])), 16);
		foreign &= _mm512_test_epi64_mask(differs, differs);
	}
	return foreign;
}

/* Not 0: not all of eight frames are plain. Their lengths, destinations, and sources as they
 * stand. */
AVX512 static inline unsigned check8(const struct frame *frame, struct frame_head *head,
	uint32_t *length, const struct stations *stations, __m256i *address, __m256i *source)
{
	const __mmask32 pairs = 0xaaaaaaaa; /* likewise: source 0–1, destination 0–1 */
	const __m512i octets = all64(0x00ff000000ff0000); /* of word[3]: source 0, destination 0 */
	struct column c = transpose8(frame, head);
	__m512i wrong, octet, high, loopback, ip, total, arrived;
	unsigned not_plain;

	/* Type, version and header length. */
	wrong = _mm512_and_si512(
		_mm512_xor_si512(c.word[1], all64(0x0045000800000000)), all64(0x00ffffff00000000));
	/* ipv4_suspect: octet - 1 ≥ 223, or octet - 1 = 126, or one of four pairs */
	octet = _mm512_sub_epi8(c.word[3], _mm512_set1_epi8(1));
	high = _mm512_subs_epu8(octet, _mm512_set1_epi8((char)222));
	loopback = _mm512_subs_epu8(
		_mm512_set1_epi8(1), _mm512_xor_si512(octet, _mm512_set1_epi8(126)));
	wrong = _mm512_ternarylogic_epi64(wrong, _mm512_or_si512(high, loopback), octets, 0xf8);

	ip = _mm512_shuffle_epi8(c.word[2], SWAP16);
	total = _mm512_add_epi64(ip, all64(ETHERNET_BYTES));
	arrived = _mm512_and_si512(_mm512_permutex2var_epi64(_mm512_loadu_si512(frame),
					   _mm512_setr_epi64(1, 3, 5, 7, 9, 11, 13, 15),
					   _mm512_loadu_si512(frame + 4)),
		all64(0xffffffff));
	not_plain = _mm512_mask_cmpeq_epi16_mask(pairs, c.word[3],
			    _mm512_permutexvar_epi16(c.word[3], _mm512_load_si512(ipv4_pairs))) |
		    _mm512_test_epi64_mask(wrong, wrong) | foreign8(stations, c.word[0]) |
		    checksum_wrong8(&c) | _mm512_cmplt_epu64_mask(ip, all64(IPV4_BYTES)) |
		    _mm512_cmpgt_epu64_mask(total, arrived);

	_mm256_storeu_si256((__m256i *)length, _mm512_cvtepi64_epi32(total));
	*address = _mm512_cvtepi64_epi32(_mm512_shuffle_epi8(
		_mm512_or_si512(_mm512_srli_epi64(c.word[3], 48), _mm512_slli_epi64(c.tail, 16)),
		SWAP32));
	*source = _mm512_cvtepi64_epi32(_mm512_srli_epi64(c.word[3], 16));
	return not_plain;
}

AVX512 static inline __m512i sixteen_of(__m256i low, __m256i high)
{
	return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
}

/* sources_has, for any of sixteen. */
AVX512 static inline bool sources_have_any(const struct sources *s, __m512i source)
{
	__m512i column =
		_mm512_srli_epi32(_mm512_mullo_epi32(source, _mm512_set1_epi32((int)s->factor)),
			32 - SOURCES_COLUMNS_LOG2);
	__mmask16 found = 0;

	for (uint32_t r = 0; r < s->rows; r++)
		found |= _mm512_cmpeq_epi32_mask(
			source, _mm512_permutex2var_epi32(_mm512_loadu_si512(s->row[r]), column,
					_mm512_loadu_si512(s->row[r] + 16)));
	return found != 0;
}

/*
 * Frames k to k + 15. True: all are plain, and stand in the burst as to be looked up. False: some
 * are not; nothing of the burst was changed but heads and lengths, which the caller overwrites.
 */
AVX512 static inline bool check_group(
	struct burst *b, unsigned k, const struct stations *stations, const struct sources *sources)
{
	const __m128i count = _mm_setr_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
	__m256i low, high, from_low, from_high;
	unsigned wrong =
		check8(b->frame + k, b->head + k, b->length + k, stations, &low, &from_low);

	wrong |= check8(
		b->frame + k + 8, b->head + k + 8, b->length + k + 8, stations, &high, &from_high);
	if (__builtin_expect(wrong, 0))
		return false;
	if (__builtin_expect(sources_have_any(sources, sixteen_of(from_low, from_high)), 0))
		return false;
	_mm512_storeu_si512(b->address4 + b->n4, sixteen_of(low, high));
	_mm_storeu_si128(
		(__m128i *)(b->index4 + b->n4), _mm_add_epi8(count, _mm_set1_epi8((char)k)));
	b->n4 += BURST_GROUP;
	return true;
}

/* Groups of which not all are plain go one by one, in the order of arrival: packets of one flow are
 * kept in theirs. */
AVX512 static void classify(const struct nic *n, struct burst *b)
{
	unsigned k;

	for (k = 0; k + BURST_GROUP <= b->frames; k += BURST_GROUP)
		if (load16(b->frame[k].data + 12) == ETHERTYPE_IPV6_LE)
			classify_avx2(n, b, k, k + BURST_GROUP);
		else if (!check_group(b, k, &n->stations, &n->sources))
			classify_frames(n, b, k, k + BURST_GROUP);
	classify_frames(n, b, k, b->frames);
}

/* --- select, describe ------------------------------------------------------------------------- */

/* Sixteen frames at a time. */
AVX512 static uint64_t select_frames(const struct burst *b, uint8_t egress, struct selection *s)
{
	__m512i k = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
	uint64_t frames = _cvtmask64_u64(_mm512_cmpeq_epi8_mask(
		_mm512_load_si512(b->egress), _mm512_set1_epi8((char)egress)));

	s->count = 0;
	for (unsigned at = 0; at < P2PNIC_BURST_MAX; at += BURST_GROUP) {
		__mmask16 some = (__mmask16)(frames >> at);

		_mm512_storeu_si512(s->length + s->count,
			_mm512_maskz_compress_epi32(some, _mm512_loadu_si512(b->length + at)));
		_mm_storeu_si128((__m128i *)(s->frame + s->count),
			_mm512_cvtepi32_epi8(_mm512_maskz_compress_epi32(some, k)));
		k = _mm512_add_epi32(k, _mm512_set1_epi32(BURST_GROUP));
		s->count += (unsigned)_mm_popcnt_u32(some);
	}
	return frames;
}

/* Eight at a time. */
AVX512 static uint32_t describe(const uint32_t *free, const uint32_t *length, unsigned count,
	uint32_t begins, uint16_t flags, uint32_t *slot_buffer, uint64_t *descriptor)
{
	const __m512i flag = _mm512_slli_epi64(_mm512_set1_epi64(flags), 48);
	__m512i bytes = _mm512_setzero_si512();

	for (unsigned i = 0; i < count; i += 8) {
		__mmask8 some = (__mmask8)_bzhi_u32(0xff, count - i);
		__m256i buffer = _mm256_loadu_si256((const __m256i *)(free + i));
		__m512i offset = _mm512_cvtepu32_epi64(
			_mm256_and_si256(buffer, _mm256_set1_epi32((int)begins)));
		__m512i long_ = _mm512_maskz_cvtepu32_epi64(
			some, _mm256_loadu_si256((const __m256i *)(length + i)));

		bytes = _mm512_add_epi64(bytes, long_);
		_mm256_mask_storeu_epi32(slot_buffer + i, some, buffer);
		_mm512_mask_storeu_epi64(descriptor + i, some,
			_mm512_or_si512(
				_mm512_or_si512(offset, flag), _mm512_slli_epi64(long_, 32)));
	}
	return (uint32_t)_mm512_reduce_add_epi64(bytes);
}

/* --- dequeue ---------------------------------------------------------------------------------- */

/* Lanes of `length` and `end` that no descriptor of this ring may have. */
AVX512 static inline __mmask8 out_of_range8(const struct ring_in *in, __m512i length, __m512i end)
{
	return _mm512_cmpgt_epu64_mask(
		       _mm512_sub_epi64(length, _mm512_set1_epi64(P2PNIC_FRAME_BYTES_MIN)),
		       _mm512_set1_epi64(in->longest - P2PNIC_FRAME_BYTES_MIN)) |
	       _mm512_cmpgt_epu64_mask(end, _mm512_set1_epi64((long long)in->bytes));
}

/* Up to eight at a time, a whole cache line of them. They are the peer's memory: read once. The
 * next eight do not wait for what these hold: the branch is taken for granted. */
AVX512 static unsigned dequeue(const struct ring_in *in, struct p2pnic_descriptor *d, unsigned room,
	uint64_t *bytes, bool *refused)
{
	__m512i sum = _mm512_setzero_si512();
	unsigned taken = 0;

	while (taken < room) {
		uint32_t slot = (in->dequeued + taken) & (in->slots - 1);
		uint16_t tag = p2pnic_tag(in->epoch, in->dequeued + taken, in->slots);
		const struct p2pnic_descriptor *ring = in->mailbox->descriptor + slot;
		unsigned n = room - taken < 8 ? room - taken : 8;
		__mmask8 some, published, wrong;
		__m512i word, length, end;

		if (n > in->slots - slot) /* the tag changes there */
			n = in->slots - slot;
		some = (__mmask8)_bzhi_u32(0xff, n);
		/* Whole where it can be (copy_sixteens). */
		word = n == 8 ? _mm512_loadu_si512(ring) : _mm512_maskz_loadu_epi64(some, ring);
		/* No second look, nor at the packets before this: x86 does not reorder loads. */
		__asm__ volatile("" : "+v"(word) : : "memory");

		length = _mm512_and_si512(_mm512_srli_epi64(word, 32), _mm512_set1_epi64(0xffff));
		end = _mm512_add_epi64(
			_mm512_and_si512(word, _mm512_set1_epi64(0xffffffff)), length);
		published = _mm512_cmpeq_epi64_mask(
			_mm512_srli_epi64(word, 57), _mm512_set1_epi64(tag >> 9));
		wrong = out_of_range8(in, length, end);
		_mm512_storeu_si512(
			d + taken, _mm512_add_epi64(word, _mm512_set1_epi64((long long)in->base)));
		if (__builtin_expect(some & (wrong | ~published), 0)) {
			/* The first lane that is not published, and the first that is wrong. */
			unsigned ready = _tzcnt_u32(~(uint32_t)(some & published));
			unsigned valid = _tzcnt_u32(wrong | 1u << ready);

			*refused = valid < ready;
			sum = _mm512_mask_add_epi64(
				sum, (__mmask8)_bzhi_u32(0xff, valid), sum, length);
			taken += valid;
			break;
		}
		sum = _mm512_mask_add_epi64(sum, some, sum, length);
		taken += n;
	}
	*bytes += (uint64_t)_mm512_reduce_add_epi64(sum);
	return taken;
}

const struct kernel kernel_avx512 = {
	.classify = classify,
	.select = select_frames,
	.describe = describe,
	.dequeue = dequeue,
	.copy = copy_sixteens,
	.crc = crc32c_x86,
};

#endif
