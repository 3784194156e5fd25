/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The time of the pcap port: timestamps, and several ports in one timeline.
 */
#include "pcap_rig.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define START_NS 1700000000123456789ull

/* Three ports in one timeline, each polled in turn; whatever one receives, the next sends. The
 * output bears the input's timestamps, to the nanosecond (or microsecond), in the order of time. */
static void timeline(bool nanoseconds)
{
	enum { PER_PORT = 50 };
	static uint8_t bytes[3][PER_PORT][60];
	struct capture_record records[PER_PORT], record;
	struct frame frame;
	unsigned received = 0, seen = 0;
	uint64_t last = 0;

	for (unsigned p = 0; p < 3; p++) {
		char in[32], out[32];
		for (unsigned i = 0; i < PER_PORT; i++) {
			/* Interleaved unevenly, with pairs of equal time. */
			uint64_t at = START_NS + (i / 2) * 700001ull * (p + 1) + p * 1000;
			rig_frame(bytes[p][i], 60, p * 1000 + i);
			memcpy(bytes[p][i] + 20, &at, sizeof(at));
			records[i] = (struct capture_record){
				.time_ns = at, .length = 60, .captured = 60, .bytes = bytes[p][i]};
		}
		snprintf(in, sizeof(in), "time%u.pcap", p);
		snprintf(out, sizeof(out), "time%u-out.pcap", p);
		write_capture(in, CAPTURE_ETHERNET, nanoseconds, records, PER_PORT);
		assert_int_equal(open_port(&rigs[p], in, out, "timeline=on", NULL), 0);
	}
	for (unsigned round = 0; round < 4000 && received < 3 * PER_PORT; round++)
		for (unsigned p = 0; p < 3; p++) {
			unsigned n = pcap_port_ops.receive(rigs[p].port, &frame, 1);
			if (n) {
				uint64_t at, failed = 0;
				struct rig *to = &rigs[(p + 1) % 3];
				struct p2pnic_descriptor out = {
					.offset = RIG_SEND_AREA, .length = 60};
				memcpy(&at, frame.data + 20, sizeof(at));
				assert_true(at >= last);
				last = at;
				memcpy(to->memory + out.offset, frame.data, 60);
				assert_int_equal(pcap_port_ops.transmit(to->port, &out, 1), 1);
				pcap_port_ops.flush(to->port);
				assert_int_equal(pcap_port_ops.transmitted(to->port, &failed), 1);
				received++;
			}
			pcap_port_ops.release(rigs[p].port);
		}
	assert_int_equal(received, 3 * PER_PORT);
	for (unsigned p = 0; p < 3; p++) {
		pcap_port_ops.receive(rigs[p].port, &frame, 1);
		assert_true(info_of(&rigs[p]).finished);
	}
	teardown(NULL);
	for (unsigned p = 0; p < 3; p++) {
		struct capture_reader *reader = capture_open(in_directory("time%u-out.pcap", p));
		assert_non_null(reader);
		while (capture_read(reader, &record)) {
			uint64_t at;
			memcpy(&at, record.bytes + 20, sizeof(at));
			assert_true(record.time_ns == (nanoseconds ? at : at / 1000 * 1000));
			seen++;
		}
		capture_close(reader);
	}
	assert_int_equal(seen, 3 * PER_PORT);
}

static void test_nanoseconds(void **state)
{
	timeline(true);
}

static void test_microseconds(void **state)
{
	timeline(false);
}

/* Seconds and nanoseconds of the records that a forwarding port writes, as they stand in the
 * file. */
static unsigned stamps_written(const char *in, uint32_t stamps[][2], unsigned max)
{
	struct p2pnic_descriptor out = {.offset = RIG_SEND_AREA, .length = 60};
	uint32_t record[4];
	struct frame frame;
	unsigned n = 0;

	assert_int_equal(open_port(rigs, in, "stamps-out.pcap", "burst=1", NULL), 0);
	while (pcap_port_ops.receive(rigs[0].port, &frame, 1)) {
		uint64_t failed = 0;

		pcap_port_ops.release(rigs[0].port);
		assert_int_equal(pcap_port_ops.transmit(rigs[0].port, &out, 1), 1);
		assert_int_equal(pcap_port_ops.transmitted(rigs[0].port, &failed), 1);
		assert_int_equal(failed, 0);
	}
	int fd = open(in_directory("stamps-out.pcap"), O_RDONLY | O_CLOEXEC);
	for (off_t at = 24; pread(fd, record, sizeof(record), at) == 16; at += 16 + 60) {
		assert_true(n < max);
		stamps[n][0] = record[0];
		stamps[n++][1] = record[1];
	}
	close(fd);
	return n;
}

static void test_times_of_pcap(void **state)
{
	/* The last two: a fraction of more than a second, carried; and what libpcap makes
	 * negative. */
	static const uint32_t times[][2] = {{0, 0}, {0, 1}, {1, 0}, {0x7fffffff, 999999999},
		{0x80000000, 0}, {0xffffffff, 999999999}, {0, 0}, {5, 1500000000}, {5, 0xffffffff}};
	static const uint32_t header[6] = {0xa1b23c4d, 2 | 4 << 16, 0, 0, 65535, 1};
	enum { COUNT = sizeof(times) / sizeof(*times) };
	uint32_t got[COUNT][2], again[COUNT][2];
	FILE *file = fopen(in_directory("stamps.pcap"), "we");

	fwrite(header, sizeof(header), 1, file);
	for (unsigned i = 0; i < COUNT; i++) {
		const uint32_t record[4] = {times[i][0], times[i][1], 60, 60};
		static const uint8_t bytes[60];

		fwrite(record, sizeof(record), 1, file);
		fwrite(bytes, sizeof(bytes), 1, file);
	}
	fclose(file);
	assert_int_equal(stamps_written("stamps.pcap", got, COUNT), COUNT);
	assert_string_equal(info_of(rigs).fault.text, "");
	teardown(NULL);
	for (unsigned i = 0; i < 7; i++)
		assert_memory_equal(got[i], times[i], 8);
	assert_int_equal(got[7][0], 6);
	assert_int_equal(got[7][1], 500000000);
	assert_int_equal(got[8][0], 5);
	assert_int_equal(got[8][1], 999999999);
	assert_int_equal(stamps_written("stamps.pcap", again, COUNT), COUNT);
	assert_memory_equal(again, got, sizeof(got));
}

/* pcapng (draft-ietf-opsawg-pcapng) of one frame: the interface's resolution and offset, 64 bits of
 * time. */
static void write_pcapng(uint8_t resolution, int64_t offset, uint64_t time)
{
	static const uint8_t bytes[60];
	const uint32_t section[7] = {0x0a0d0d0a, 28, 0x1a2b3c4d, 1, 0xffffffff, 0xffffffff, 28};
	const uint32_t total = 44, option[2] = {9 | 1 << 16, resolution}, to_offset = 14 | 8 << 16;
	const uint32_t interface[4] = {1, total, 1, 65535};
	const uint32_t packet[7] = {6, 92, 0, (uint32_t)(time >> 32), (uint32_t)time, 60, 60};
	const uint32_t end = 0, packet_end = 92;
	FILE *file = fopen(in_directory("stamps.pcapng"), "we");

	fwrite(section, sizeof(section), 1, file);
	fwrite(interface, sizeof(interface), 1, file);
	fwrite(option, sizeof(option), 1, file);
	fwrite(&to_offset, 4, 1, file);
	fwrite(&offset, 8, 1, file);
	fwrite(&end, 4, 1, file);
	fwrite(&total, 4, 1, file);
	fwrite(packet, sizeof(packet), 1, file);
	fwrite(bytes, sizeof(bytes), 1, file);
	fwrite(&packet_end, 4, 1, file);
	fclose(file);
}

static void test_times_of_pcapng(void **state)
{
	static const struct {
		uint8_t resolution;
		int64_t offset;
		uint64_t time;
		uint32_t seconds, nanoseconds;
		const char *fault;
	} cases[] = {
		{9, 0, 0, 0, 0, ""},
		{9, 0, 1, 0, 1, ""},
		{6, 0, 1, 0, 1000, ""},
		{9, 0, 2147483648000000001, 2147483648u, 1, ""},
		{9, 0, 4294967295999999999, 4294967295u, 999999999, ""},
		{9, 1700000000, 5, 1700000000, 5, ""},
		{9, -1, 2000000005, 1, 5, ""},
		{0x80 | 10, 0, 1536, 1, 500000000, ""},
		{0, 0, 7, 7, 0, ""},
		{12, 0, 1000000001999, 1, 1, ""},
		/* Before 1970, after 2106, after 2554: the nearest, and it is said. */
		{9, -2, 1000000000, 0, 0, "not of 1970 to 2554"},
		{9, 0, 4294967296000000000, 4294967295u, 999999999, "after 2106"},
		{0, 0, 1ull << 40, 4294967295u, 999999999, "not of 1970 to 2554"},
		{6, INT64_MAX / 2, 0, 4294967295u, 999999999, "not of 1970 to 2554"},
		{9, 0, UINT64_MAX, 4294967295u, 999999999, "not of 1970 to 2554"},
	};

	for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		uint32_t got[1][2] = {{0}};

		write_pcapng(cases[i].resolution, cases[i].offset, cases[i].time);
		assert_int_equal(stamps_written("stamps.pcapng", got, 1), 1);
		if (got[0][0] != cases[i].seconds || got[0][1] != cases[i].nanoseconds)
			fail_msg("case %u: %u.%09u", i, got[0][0], got[0][1]);
		assert_non_null(strstr(info_of(rigs).fault.text, cases[i].fault));
		assert_int_equal(!*info_of(rigs).fault.text, !*cases[i].fault);
		teardown(NULL);
	}
}

/* Frames of one time arrive in the order of the ports, however often each is polled; none arrives
 * while it is unknown what became of another. */
static void test_equal_times(void **state)
{
	static const uint8_t bytes[60];
	struct capture_record records[4];
	struct frame frame;

	for (unsigned i = 0; i < 4; i++)
		records[i] = (struct capture_record){.length = 60, .captured = 60, .bytes = bytes};
	for (unsigned first = 0; first < 3; first++) {
		char order[16];
		unsigned n = 0;

		for (unsigned p = 0; p < 3; p++) {
			char in[32];

			snprintf(in, sizeof(in), "zero%u.pcap", p);
			write_capture(in, CAPTURE_ETHERNET, true, records, 4);
			assert_int_equal(open_port(&rigs[p], in, "", "timeline=on", NULL), 0);
		}
		for (unsigned poll = first; poll < 200; poll++)
			if (pcap_port_ops.receive(rigs[poll % 3].port, &frame, 1)) {
				order[n++] = (char)('0' + poll % 3);
				pcap_port_ops.release(rigs[poll % 3].port);
			}
		order[n] = 0;
		assert_string_equal(order, "000011112222");
		teardown(NULL);
	}
}

static struct p2pnic_counters counters;

static void test_pending_holds_the_others(void **state)
{
	static const uint8_t bytes[60];
	const struct capture_record record = {.length = 60, .captured = 60, .bytes = bytes};
	char option[2][300];
	struct frame frame;

	memset(&counters, 0, sizeof(counters));
	for (unsigned p = 0; p < 2; p++) {
		write_capture(p ? "zero1.pcap" : "zero0.pcap", CAPTURE_ETHERNET, true, &record, 1);
		snprintf(option[p], sizeof(option[p]), "timeline=on,verdict=%s",
			in_directory("verdict%u.txt", p));
		assert_int_equal(open_port(&rigs[p], p ? "zero1.pcap" : "zero0.pcap", "", option[p],
					 &counters),
			0);
	}
	unsigned poll = 0;
	while (!pcap_port_ops.receive(rigs[poll % 2].port, &frame, 1))
		assert_true(++poll < 20);
	assert_int_equal(poll % 2, 0);
	pcap_port_ops.release(rigs[0].port);
	for (poll = 0; poll < 40; poll++)
		assert_int_equal(pcap_port_ops.receive(rigs[poll % 2].port, &frame, 1), 0);
	atomic_fetch_add(&counters.received.packets, 1);
	atomic_fetch_add(&counters.dropped[P2PNIC_DROP_NO_ROUTE], 1);
	for (poll = 0; !pcap_port_ops.receive(rigs[poll % 2].port, &frame, 1); poll++)
		assert_true(poll < 20);
	assert_int_equal(poll % 2, 1);
	pcap_port_ops.release(rigs[1].port);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_times_of_pcap, teardown),
		cmocka_unit_test_teardown(test_times_of_pcapng, teardown),
		cmocka_unit_test_teardown(test_equal_times, teardown),
		cmocka_unit_test_teardown(test_pending_holds_the_others, teardown),
		cmocka_unit_test_teardown(test_nanoseconds, teardown),
		cmocka_unit_test_teardown(test_microseconds, teardown),
	};

	return pcap_rig_run(tests, sizeof(tests) / sizeof(*tests));
}
