/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the ports finish in place of hardware (offload.h), against twins that do it byte by byte;
 * and the queue of frames to be sent (send_queue.h) under every answer of a kernel.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "seed.h"

#include <ports/offload.h>
#include <ports/send_queue.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* --- twins ------------------------------------------------------------------------------------ */

static uint16_t naive_sum(const uint8_t *bytes, uint32_t length, uint32_t sum)
{
	for (uint32_t i = 0; i < length; i++)
		sum += i % 2 ? bytes[i] : (uint32_t)bytes[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

static void put16(uint8_t *to, unsigned value)
{
	to[0] = (uint8_t)(value >> 8);
	to[1] = (uint8_t)value;
}

static unsigned get16(const uint8_t *from)
{
	return (unsigned)from[0] << 8 | from[1];
}

struct packet {
	uint8_t bytes[70000];
	uint32_t length;
	uint32_t ip, transport, headers;
	bool v6, tcp;
};

static uint16_t naive_pseudo(const struct packet *p, uint32_t segment)
{
	const uint8_t *ip = p->bytes + p->ip;
	uint32_t sum = (p->tcp ? 6 : 17) + segment;

	return p->v6 ? naive_sum(ip + 8, 32, sum) : naive_sum(ip + 12, 8, sum);
}

/* A random TCP or UDP packet of that payload; the L4 checksum is right or, `partial`, left to
 * hardware. */
static void make(struct packet *p, uint32_t payload, bool partial)
{
	unsigned tags = (unsigned)rand() % 3;

	p->v6 = rand() % 2;
	p->tcp = rand() % 2;
	for (uint32_t i = 0; i < 200 + payload; i++)
		p->bytes[i] = (uint8_t)rand();
	p->ip = 14 + tags * 4;
	for (unsigned t = 0; t < tags; t++)
		put16(p->bytes + 12 + t * 4, t == 0 && tags == 2 ? 0x88a8 : 0x8100);
	put16(p->bytes + p->ip - 2, p->v6 ? 0x86dd : 0x0800);
	uint8_t *ip = p->bytes + p->ip;
	uint32_t options = p->v6 ? 8 * ((unsigned)rand() % 3) : 4 * ((unsigned)rand() % 11);
	p->transport = p->ip + (p->v6 ? 40 : 20) + options;
	uint32_t tcp_header = 20 + 4 * ((unsigned)rand() % 11);
	p->headers = p->transport + (p->tcp ? tcp_header : 8);
	p->length = p->headers + payload;
	uint32_t segment = p->length - p->transport;
	uint8_t *transport = p->bytes + p->transport;

	if (p->v6) {
		ip[0] = 0x60;
		put16(ip + 4, p->length - p->ip - 40);
		ip[6] = p->tcp ? 6 : 17;
		if (options) {
			ip[40] = ip[6];
			ip[6] = rand() % 2 ? 0 : 60;
			ip[41] = (uint8_t)(options / 8 - 1);
		}
	} else {
		ip[0] = (uint8_t)(0x40 | (5 + options / 4));
		put16(ip + 2, p->length - p->ip);
		put16(ip + 6, rand() % 2 ? 0x4000 : 0);
		ip[9] = p->tcp ? 6 : 17;
		put16(ip + 10, 0);
		put16(ip + 10, (uint16_t)~naive_sum(ip, 20 + options, 0));
	}
	if (p->tcp)
		transport[12] = (uint8_t)(tcp_header / 4 << 4);
	else
		put16(transport + 4, segment);
	uint8_t *field = transport + (p->tcp ? 16 : 6);
	uint16_t pseudo = naive_pseudo(p, segment);
	put16(field, pseudo);
	if (!partial) {
		unsigned right = (uint16_t)~naive_sum(transport, segment, 0);
		put16(field, right ? right : 0xffff);
	}
}

static bool is_right(const struct packet *p)
{
	uint32_t segment = p->length - p->transport;

	return naive_sum(p->bytes + p->transport, segment, naive_pseudo(p, segment)) == 0xffff;
}

/* --- checksums -------------------------------------------------------------------------------- */

static void test_sum(void **state)
{
	uint8_t bytes[300];

	for (unsigned round = 0; round < 2000; round++) {
		uint32_t length = (unsigned)rand() % 300, start = (unsigned)rand() & 0xffff;
		for (uint32_t i = 0; i < length; i++)
			bytes[i] = rand() % 3 ? 0xff : (uint8_t)rand();
		uint8_t memory[2], expected[2];
		uint8_t first[2];
		put16(first, start);
		uint16_t native;
		memcpy(&native, first, 2);
		uint16_t sum = offload_sum(bytes, length, native);
		memcpy(memory, &sum, 2);
		put16(expected, naive_sum(bytes, length, start));
		assert_memory_equal(memory, expected, 2);
	}
}

static void test_repair(void **state)
{
	static struct packet p, before;

	for (unsigned round = 0; round < 4000; round++) {
		make(&p, (unsigned)rand() % 1400, true);
		offload_repair(p.bytes, p.length);
		assert_true(is_right(&p));
		/* A checksum that is right stays, whatever it is… */
		before = p;
		offload_repair(p.bytes, p.length);
		assert_memory_equal(p.bytes, before.bytes, p.length);
		/* …and one that is wrong stays wrong: it is not ours to hide. */
		make(&p, (unsigned)rand() % 1400, false);
		p.bytes[p.headers - 1 + (unsigned)rand() % (p.length - p.headers + 1)] ^= 0x10;
		before = p;
		bool right = is_right(&p);
		offload_repair(p.bytes, p.length);
		if (get16(before.bytes + p.transport + (p.tcp ? 16 : 6)) !=
			naive_pseudo(&p, p.length - p.transport))
			assert_memory_equal(p.bytes, before.bytes, p.length);
		assert_true(right || memcmp(p.bytes, before.bytes, p.length) == 0 || is_right(&p));
	}
}

/* A right checksum that happens to equal the pseudo-header's sum: two bytes of payload make it
 * so. */
static void test_repair_coincidence(void **state)
{
	static struct packet p, before;

	for (unsigned round = 0; round < 500; round++) {
		make(&p, 2 + 2 * ((unsigned)rand() % 100), true);
		uint32_t segment = p.length - p.transport;
		uint8_t *spare = p.bytes + p.length - 2;
		/* S + P + P = 0xffff, where S covers the segment without the field: solve for two
		 * bytes. */
		put16(spare, 0);
		uint16_t sum = naive_sum(p.bytes + p.transport, segment, naive_pseudo(&p, segment));
		put16(spare, (uint16_t)~sum);
		assert_true(is_right(&p));
		before = p;
		offload_repair(p.bytes, p.length);
		assert_memory_equal(p.bytes, before.bytes, p.length);
	}
}

/* Frames of any bytes, in memory that ends where they do: the sanitizer watches. */
static void test_any_bytes(void **state)
{
	for (unsigned round = 0; round < 20000; round++) {
		static struct packet p;
		struct virtio_net_hdr header;
		struct offload_split split;
		make(&p, (unsigned)rand() % 100, rand() % 2);
		uint32_t length = (unsigned)rand() % (p.length + 1);
		uint8_t *frame = malloc(length ? length : 1);
		memcpy(frame, p.bytes, length);
		for (int flips = rand() % 4; flips && length; flips--)
			frame[(unsigned)rand() % length] = (uint8_t)rand();
		for (size_t i = 0; i < sizeof(header); i++)
			((uint8_t *)&header)[i] = (uint8_t)(rand() % 2 ? rand() % 64 : rand());
		if (rand() % 2)
			header.gso_type = p.tcp ? VIRTIO_NET_HDR_GSO_TCPV4 : 5;
		offload_repair(frame, length);
		offload_checksum(frame, length, &header);
		if (offload_split_begin(&split, frame, length, &header, 1792)) {
			uint8_t piece[1792];
			uint32_t n, pieces = 0;
			while ((n = offload_split_next(&split, piece))) {
				assert_in_range(n, 1, sizeof(piece));
				assert_in_range(++pieces, 1, length);
			}
		}
		free(frame);
	}
}

/* --- super-frames ----------------------------------------------------------------------------- */

static void test_split(void **state)
{
	static struct packet p, piece;

	for (unsigned round = 0; round < 300; round++) {
		uint32_t mss = 1 + (unsigned)rand() % 1500;
		uint32_t payload = 1 + (unsigned)rand() % (mss * 40 < 64000 ? mss * 40 : 64000);
		make(&p, payload, true);
		if (p.length - p.ip > 65535)
			continue;
		uint8_t *transport = p.bytes + p.transport;
		if (p.tcp)
			transport[13] =
				(uint8_t)(0x10 | (rand() & 0x89)); /* ACK; FIN, PSH, CWR perhaps */
		struct virtio_net_hdr header = {.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
			.gso_type = !p.tcp ? 5
				    : p.v6 ? VIRTIO_NET_HDR_GSO_TCPV6
					   : VIRTIO_NET_HDR_GSO_TCPV4,
			.gso_size = (uint16_t)mss};
		struct offload_split split;
		if (p.headers + mss > 1792) {
			assert_false(offload_split_begin(&split, p.bytes, p.length, &header, 1792));
			continue;
		}
		assert_true(offload_split_begin(&split, p.bytes, p.length, &header, 1792));
		uint32_t at = 0, n = 0;
		piece = p;
		while ((piece.length = offload_split_next(&split, piece.bytes))) {
			uint32_t part = piece.length - p.headers;
			bool last = at + part == payload;
			assert_true(part == mss || last);
			assert_true(is_right(&piece));
			assert_memory_equal(piece.bytes, p.bytes, p.ip);
			assert_memory_equal(
				piece.bytes + p.headers, p.bytes + p.headers + at, part);
			const uint8_t *ip = piece.bytes + p.ip, *whole = p.bytes + p.ip;
			if (p.v6) {
				assert_int_equal(get16(ip + 4), piece.length - p.ip - 40);
			} else {
				assert_int_equal(get16(ip + 2), piece.length - p.ip);
				assert_int_equal(get16(ip + 4), (get16(whole + 4) + n) & 0xffff);
				assert_int_equal(naive_sum(ip, p.transport - p.ip, 0), 0xffff);
			}
			const uint8_t *t = piece.bytes + p.transport;
			if (p.tcp) {
				uint32_t from = get16(transport + 4) << 16 | get16(transport + 6);
				assert_true((get16(t + 4) << 16 | get16(t + 6)) == from + at);
				assert_int_equal(t[13] & 0x09, last ? transport[13] & 0x09 : 0);
				assert_int_equal(t[13] & 0x80, at == 0 ? transport[13] & 0x80 : 0);
				assert_int_equal(t[13] & 0x76, transport[13] & 0x76);
			} else {
				assert_int_equal(get16(t + 4), part + 8);
			}
			at += part;
			n++;
		}
		assert_int_equal(at, payload);
	}
}

/* --- frames that wait to be sent -------------------------------------------------------------- */

static int answers[16];
static unsigned answered, offered[16];

static int scripted(struct send_queue *queue, const struct p2pnic_descriptor *frames, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		assert_in_range(
			frames[i].length, 14, P2PNIC_FRAME_BYTES_MAX(P2PNIC_BUFFER_BYTES_MIN));
	offered[answered] = n;
	int answer = answers[answered++];
	return answer > (int)n ? (int)n : answer;
}

static void test_send_queue(void **state)
{
	bool link = true;
	struct send_queue queue = {.memories.bytes = {1 << 20},
		.buffer_bytes = P2PNIC_BUFFER_BYTES_MIN,
		.send = scripted,
		.link = &link};
	struct p2pnic_descriptor frames[300];
	uint64_t failed = 0;

	for (unsigned i = 0; i < 300; i++)
		frames[i] = (struct p2pnic_descriptor){.offset = i * 2048, .length = 60};
	frames[3].length = 5; /* refused at once, in its turn */
	answered = 0;
	memcpy(answers, (int[]){2, -EAGAIN}, sizeof(int[2]));
	assert_int_equal(send_queue_transmit(&queue, frames, 10), 10);
	assert_int_equal(send_queue_transmitted(&queue, &failed), 2);
	assert_int_equal(failed, 0);
	assert_int_equal(offered[0], 3);
	/* Later: one goes, the refused one fails, one is too long for the device, one is
	 * interrupted. */
	answered = 0;
	memcpy(answers, (int[]){1, -EMSGSIZE, -EINTR, 5}, sizeof(int[4]));
	assert_int_equal(send_queue_transmitted(&queue, &failed), 8);
	assert_int_equal(failed, 2);
	assert_false(send_queue_waiting(&queue));
	/* The queue is finite, and full it takes nothing. */
	assert_int_equal(send_queue_transmit(&queue, frames, 300), SEND_QUEUE_FRAMES);
	assert_int_equal(send_queue_transmit(&queue, frames, 1), 0);
	/* No link: all fail, and say so. */
	answered = 0;
	answers[0] = -ENETDOWN;
	failed = 0;
	assert_int_equal(send_queue_transmitted(&queue, &failed), SEND_QUEUE_FRAMES);
	assert_false(link);
	assert_int_equal(failed, SEND_QUEUE_FRAMES);
	/* A device that takes nothing: given up after a while. */
	link = true;
	failed = 0;
	assert_int_equal(send_queue_transmit(&queue, frames, 5), 5);
	unsigned tries = 0;
	for (; send_queue_waiting(&queue) && tries < 1000; tries++) {
		answered = 0;
		answers[0] = -ENOBUFS;
		memcpy(&answers[1], (int[]){-ENOBUFS, -ENOBUFS}, sizeof(int[2]));
		send_queue_flush(&queue);
		nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
	}
	assert_in_range(tries, 2, 999);
	assert_int_equal(send_queue_transmitted(&queue, &failed), 5);
	assert_int_equal(failed, 5);
	assert_true(link);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sum),
		cmocka_unit_test(test_repair),
		cmocka_unit_test(test_repair_coincidence),
		cmocka_unit_test(test_any_bytes),
		cmocka_unit_test(test_split),
		cmocka_unit_test(test_send_queue),
	};

	srand((unsigned)test_seed());
	return cmocka_run_group_tests_name("offload", tests, NULL, NULL);
}
