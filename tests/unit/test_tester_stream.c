/* SPDX-License-Identifier: BSD-3-Clause */
/* What the tester sends: patterns, frames, and destinations from a table. */
#include "tester/prefixes.h"
#include "tester/tester.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static void test_patterns(void **state)
{
	const char *wrong[] = {"", "x", "0in-0out", "1in-2out", "3in-3out", "1in-1out-mix",
		"4in-4out-", "18in-18out", "0>", ">1", "0>1,", "0>1,0>2", "0>16", "0>1;", "0-1",
		"0>1,2", "1in-1x", "0>1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1"};
	struct pattern p;

	for (unsigned i = 0; i < sizeof(wrong) / sizeof(*wrong); i++)
		assert_int_equal(pattern_parse(wrong[i], &p), -EINVAL);
	assert_int_equal(pattern_parse("2in-2out-mix", &p), 0);
	assert_true(p.ports == 4 && p.ingresses == 2 && p.exits[1] == 2 && p.exit[1][0] == 2 &&
		    p.exit[1][1] == 3);
	assert_int_equal(pattern_parse("16in-16out-mix", &p), 0);
	assert_true(p.ports == 16 && p.exits[5] == 15 && p.exit[5][4] == 4 && p.exit[5][5] == 6);
	assert_int_equal(pattern_parse("0>1,1>0+3", &p), 0);
	assert_true(p.ports == 4 && p.ingresses == 2 && p.exits[0] == 1 && p.exit[1][1] == 3);
}

static void test_frames(void **state)
{
	static uint8_t payload[STREAM_FRAME_MAX + 64];
	const unsigned exits[] = {1, 2};
	uint64_t listed[512]; /* their last 16 bits: all sums */
	struct stream s;

	for (unsigned k = 0; k < 512; k++)
		listed[k] = 0xc6120000u + 128 * k;
	stream_payload(payload);
	for (unsigned variant = 0; variant < 4; variant++) {
		const bool no_carry = variant & 1, list = variant & 2;
		struct stream_config c = {.ingress = 3,
			.exits = 2,
			.exit = exits,
			.frame_bytes = 64,
			.mode = TESTER_ROUTED,
			.destination = list ? listed : NULL,
			.destinations = list ? 512 : 0,
			.no_carry = no_carry};
		unsigned carries = 0;
		assert_int_equal(stream_build(&s, &c, payload), 0);
		assert_int_equal(s.period, 512);
		for (unsigned k = 0; k < s.period; k++) {
			const uint8_t *b = s.line[k].byte, *e = s.expected[k].byte;
			/* The naive sum over a whole header with a valid checksum is 0xffff. */
			for (unsigned v = 0; v < 2; v++) {
				uint32_t sum = 0;
				for (unsigned i = 14; i < 34; i += 2)
					sum += (uint32_t)((v ? e : b)[i] << 8 | (v ? e : b)[i + 1]);
				assert_int_equal((sum & 0xffff) + (sum >> 16), 0xffff);
			}
			carries += b[24] == 0xff;
			assert_int_equal(b[22] - 1, e[22]);
			assert_int_equal(b[29], k / 2 % 256);
			assert_int_equal(b[32] << 8 | b[33],
				list ? (int)(listed[k] & 0xffff) : (int)(exits[k % 2] << 8 | 10));
		}
		if (no_carry)
			assert_int_equal(carries, 0);
		else if (list)
			assert_true(carries > 0);
		stream_free(&s);
	}
}

/* Every byte of a frame's IPv6 header, and that a device that counts the hop is all there is. */
static void test_ipv6_frames(void **state)
{
	static const uint8_t header[40] = {0x60, 0, 0, 0, 0, 46, 59, 64, /* source */
		0xfd, 0, 0, 0x19, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7,    /* destination */
		0xfd, 0, 0, 0x18, 0, 2};
	static uint8_t payload[STREAM_FRAME_MAX + 64];
	const unsigned exits[] = {1, 2};
	struct stream_config c = {.ingress = 3,
		.series = 5,
		.ipv6 = true,
		.exits = 2,
		.exit = exits,
		.frame_bytes = 104,
		.mode = TESTER_ROUTED};
	uint8_t want[40];
	uint32_t tag;
	struct stream s;

	stream_payload(payload);
	assert_int_equal(stream_build(&s, &c, payload), 0);
	const uint8_t *b = s.line[15].byte, *e = s.expected[15].byte;

	memcpy(&tag, b + STREAM_AT_TAG, 4);
	assert_int_equal(tag, STREAM_MAGIC | 5 << 8 | 3);
	memcpy(want, header, 40);
	memcpy(want + (STREAM_AT_TAG - 14), &tag, 4);
	assert_memory_equal(b + 12, "\x86\xdd", 2);
	assert_memory_equal(b + 14, want, 40);
	want[7]--;
	assert_memory_equal(e + 14, want, 40);
	stream_free(&s);

	/* From a list: its first six bytes, and any exit. */
	const uint64_t listed[] = {0x20010db800011111, 0x20010db8fffe2222};

	c.destination = listed;
	c.destinations = 2;
	assert_int_equal(stream_build(&s, &c, payload), 0);
	assert_memory_equal(s.line[14].byte + 38, "\x20\x01\x0d\xb8\0\x01\0\0\0\0", 10);
	assert_memory_equal(s.expected[15].byte + 38, "\x20\x01\x0d\xb8\xff\xfe\0\0\0\0", 10);
	assert_null(s.exit);
	stream_free(&s);
}

static void write_text(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fputs(text, f);
	assert_int_equal(fclose(f), 0);
}

static void test_prefixes(void **state)
{
	char path[] = "/tmp/p2pnic-test-prefixes-XXXXXX";
	struct error error;
	uint64_t *a;
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	close(fd);
	write_text(path,
		"# comment\n10.0.0.0/8 64500\n2001:db8::/32 64501\n\n192.0.2.7\n224.0.0.0/4 1\n");
	assert_int_equal(prefixes_sample(path, 4, 1000, 7, &a, &error), 0);
	unsigned ten = 0;
	for (unsigned i = 0; i < 1000; i++) {
		assert_true(a[i] >> 24 == 10 || a[i] == 0xc0000207);
		ten += a[i] >> 24 == 10;
	}
	assert_true(ten > 300 && ten < 700);
	free(a);
	/* Of all addresses, those that a router forwards. */
	write_text(path, "0.0.0.0/0\n");
	assert_int_equal(prefixes_sample(path, 4, 4000, 7, &a, &error), 0);
	for (unsigned i = 0; i < 4000; i++)
		assert_true(a[i] >> 24 != 0 && a[i] >> 24 != 127 && a[i] >> 28 < 14 &&
			    a[i] >> 16 != 0xa9fe);
	free(a);
	/* Of IPv6, prefixes that the tester's marks leave whole. */
	write_text(path, "10.0.0.0/8\n2001:db8:5::/48\n2001:db8:6:1::/64\n2000::/20\nff00::/8\n"
			 "fe80::/10\n::/8\n");
	assert_int_equal(prefixes_sample(path, 6, 1000, 7, &a, &error), 0);
	unsigned many_bits = 0;
	for (unsigned i = 0; i < 1000; i++) {
		assert_true(a[i] >> 16 == 0x20010db80005 || a[i] >> 44 == 0x20000);
		many_bits += a[i] >> 16 == 0x20010db80005;
	}
	assert_true(many_bits > 300 && many_bits < 700);
	free(a);
	write_text(path, "2001:db8:6:1::/64\n10.0.0.0/8\n");
	assert_int_equal(prefixes_sample(path, 6, 1, 7, &a, &error), -EINVAL);
	assert_non_null(strstr(error.text, "no IPv6 prefix in it"));
	write_text(path, "127.0.0.0/8\n169.254.0.0/16\n0.1.0.0/16\n");
	assert_int_equal(prefixes_sample(path, 4, 1, 7, &a, &error), -EINVAL);
	assert_non_null(strstr(error.text, "no forwardable address in it"));
	/* More than there was room for at first. */
	FILE *many = fopen(path, "w");
	assert_non_null(many);
	for (unsigned i = 0; i < 5000; i++)
		fprintf(many, "10.%u.%u.0/24\n", i / 256, i % 256);
	assert_int_equal(fclose(many), 0);
	assert_int_equal(prefixes_sample(path, 4, 1000, 7, &a, &error), 0);
	for (unsigned i = 0; i < 1000; i++)
		assert_true(a[i] >> 24 == 10 && (a[i] >> 8 & 0xffff) < 5000);
	free(a);
	static const char *const bad[] = {"rubbish", "1.2.3.0/33", "1.2.3.0/x", "1.2.3.0/024",
		"1.2.3.4/24", "1.2.3.0/24 more", "1.2.3.0/24 1 2", "1.2.3.0/24\r1",
		"1.2.3.0/24 \x80", ""};
	for (unsigned i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		char text[64];
		snprintf(text, sizeof(text), "%s%s\n", *bad[i] ? "10.0.0.0/8\n" : "", bad[i]);
		write_text(path, text);
		assert_int_equal(prefixes_sample(path, 4, 1, 7, &a, &error), -EINVAL);
		assert_non_null(strstr(error.text, *bad[i] ? ":2: " : ": no IPv4 prefix in it"));
	}
	unlink(path);
	assert_int_equal(prefixes_sample(path, 4, 1, 7, &a, &error), -ENOENT);
	assert_non_null(strstr(error.text, path));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_patterns),
		cmocka_unit_test(test_frames),
		cmocka_unit_test(test_ipv6_frames),
		cmocka_unit_test(test_prefixes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
