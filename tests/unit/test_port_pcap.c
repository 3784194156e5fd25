/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The pcap port beyond what all ports share: captures as they are found, time, verdicts.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "port_capture.h"
#include "port_rig.h"
#include "seed.h"

#include <ports/pcap.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

PORT_PATH(pcap);

#define START_NS 1700000000123456789ull

static char directory[] = "/tmp/pp-pcap-XXXXXX";

/* Paths and targets in the test's directory; eight at a time. */
__attribute__((format(printf, 1, 2))) static const char *in_directory(const char *format, ...)
{
	static char path[8][256];
	static unsigned turn;
	char name[160];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(name, sizeof(name), format, arguments);
	va_end(arguments);
	turn = (turn + 1) % 8;
	snprintf(path[turn], sizeof(path[turn]), "%s/%s", directory, name);
	return path[turn];
}

static void write_capture(const char *name, int link_type, bool nanoseconds,
	const struct capture_record *records, unsigned n)
{
	struct capture_writer *writer =
		capture_create(in_directory("%s", name), link_type, nanoseconds);

	assert_non_null(writer);
	for (unsigned i = 0; i < n; i++)
		capture_write(writer, &records[i]);
	capture_finish(writer);
}

static struct rig rigs[3];
static unsigned rigs_open;

/* A port on IN (a name in the directory; "": none) and OUT; error text in rig->error when refused. */
static int open_port(struct rig *rig, const char *in, const char *out, const char *options,
	const struct p2pnic_counters *counters)
{
	static char target[3][600];
	char *to = target[rig - rigs];

	rig_memory(rig, &pcap_path);
	rigs_open++;
	snprintf(to, sizeof(target[0]), "%s,%s", *in ? in_directory("%s", in) : "",
		*out ? (*out == '/' ? out : in_directory("%s", out)) : "");
	rig->config.target = to;
	rig->config.options = options;
	rig->config.counters = counters;
	int code = pcap_port_ops.open(rig->port, &rig->config, rig->error);
	if (code == 0)
		assert_int_equal(pcap_port_ops.start(rig->port, rig->buffers, 64), 64);
	return code;
}

static int teardown(void **state)
{
	while (rigs_open) {
		struct rig *rig = &rigs[--rigs_open];
		pcap_port_ops.close(rig->port);
		rig_free(rig);
	}
	return 0;
}

static struct port_info info_of(struct rig *rig)
{
	struct port_info info;

	pcap_port_ops.info(rig->port, &info);
	return info;
}

static unsigned receive_all(struct rig *rig, struct frame *first)
{
	struct frame frames[P2PNIC_BURST_MAX];
	unsigned total = 0, n;

	while ((n = pcap_receive(rig->port, frames, P2PNIC_BURST_MAX))) {
		if (total == 0 && first)
			*first = frames[0];
		total += n;
		pcap_release(rig->port);
	}
	pcap_release(rig->port);
	return total;
}

/* --- captures as they are found ---------------------------------------------------------------- */

static void test_refuses(void **state)
{
	uint8_t bytes[100] = {0};
	const struct capture_record record = {.length = 100, .captured = 100, .bytes = bytes};
	struct rig *rig = rigs;

	assert_true(open_port(rig++, "absent.pcap", "", NULL, NULL) < 0);
	assert_non_null(strstr(rigs[0].error, "absent.pcap"));
	teardown(NULL);

	write_capture("cooked.pcap", CAPTURE_LINUX_SLL, true, &record, 1);
	assert_int_equal(open_port(rigs, "cooked.pcap", "", NULL, NULL), -EPROTOTYPE);
	assert_non_null(strstr(rigs[0].error, "cooked.pcap"));
	assert_non_null(strstr(rigs[0].error, "LINUX_SLL"));
	teardown(NULL);

	int fd = open(in_directory("text.pcap"), O_CREAT | O_WRONLY, 0600);
	assert_int_equal(write(fd, "this is not a capture at all, really\n", 37), 37);
	close(fd);
	assert_true(open_port(rigs, "text.pcap", "", NULL, NULL) < 0);
	assert_non_null(strstr(rigs[0].error, "text.pcap"));
	teardown(NULL);

	assert_true(open_port(rigs, "", "/nonexistent/directory/out.pcap", NULL, NULL) < 0);
	assert_non_null(strstr(rigs[0].error, "/nonexistent/directory/out.pcap"));
	teardown(NULL);

	static const char *const options[] = {"burst=0", "burst=65", "burst=", "burst=2x",
		"cut=half", "timeline=maybe", "verdict=/tmp/x", "loop"};
	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
		assert_int_equal(open_port(rigs, "", "", options[i], NULL), -EINVAL);
		assert_true(rigs[0].error[0]);
		teardown(NULL);
	}
	assert_int_equal(open_port(rigs, "", "", "burst=1,cut=skip,timeline", NULL), 0);
}

static void test_no_packets(void **state)
{
	write_capture("empty.pcap", CAPTURE_ETHERNET, false, NULL, 0);
	assert_int_equal(open_port(rigs, "empty.pcap", "", NULL, NULL), 0);
	assert_int_equal(receive_all(rigs, NULL), 0);
	assert_true(info_of(rigs).finished);
	assert_false(pcap_arm(rigs[0].port));
	teardown(NULL);
	/* No input at all. */
	assert_int_equal(open_port(rigs, "", "", NULL, NULL), 0);
	assert_true(info_of(rigs).finished);
	assert_true(info_of(rigs).link);
}

static void test_cut_and_long(void **state)
{
	static uint8_t bytes[9014];
	memset(bytes, 0xee, sizeof(bytes));
	const struct capture_record records[] = {
		{.length = 1500, .captured = 96, .bytes = bytes},
		{.length = 9014, .captured = 9014, .bytes = bytes},
		{.length = 1793, .captured = 96, .bytes = bytes},
		{.length = 60, .captured = 100, .bytes = bytes}, /* more than there was: a lie */
		{.length = 5, .captured = 5, .bytes = bytes},
		{.length = 0, .captured = 0, .bytes = bytes},
		{.length = 1792, .captured = 1792, .bytes = bytes},
	};
	static const unsigned lengths[] = {1500, 60, 5, 0, 1792};
	struct frame frames[P2PNIC_BURST_MAX];

	write_capture("cut.pcap", CAPTURE_ETHERNET, true, records, 7);
	assert_int_equal(open_port(rigs, "cut.pcap", "", NULL, NULL), 0);
	memset(rigs[0].memory, 0xaa, 64 * P2PNIC_BUFFER_BYTES);
	assert_int_equal(pcap_receive(rigs[0].port, frames, P2PNIC_BURST_MAX), 5);
	for (unsigned k = 0; k < 5; k++)
		assert_int_equal(frames[k].length, lengths[k]);
	for (unsigned i = 0; i < 1500; i++)
		assert_int_equal(frames[0].data[i], i < 96 ? 0xee : 0);
	for (unsigned i = 0; i < 64; i++)
		assert_int_equal(frames[2].data[i], i < 5 ? 0xee : 0);
	assert_false(info_of(rigs).finished); /* not released yet */
	pcap_release(rigs[0].port);
	assert_int_equal(receive_all(rigs, NULL), 0);
	assert_true(info_of(rigs).finished);
	assert_int_equal(info_of(rigs).oversize, 2);
	assert_non_null(strstr(info_of(rigs).mode, "7 frames, 2 cut"));
	teardown(NULL);

	assert_int_equal(open_port(rigs, "cut.pcap", "", "cut=skip", NULL), 0);
	assert_int_equal(receive_all(rigs, NULL), 4);
}

static void test_truncated_file(void **state)
{
	uint8_t bytes[100] = {1};
	struct capture_record records[10];

	for (unsigned i = 0; i < 10; i++)
		records[i] =
			(struct capture_record){.length = 100, .captured = 100, .bytes = bytes};
	write_capture("whole.pcap", CAPTURE_ETHERNET, true, records, 10);
	/* 24 bytes of file header, 16 of each record's: at every cut, what is whole is delivered. */
	for (unsigned size = 24; size < 24 + 10 * 116; size += 29) {
		write_capture("short.pcap", CAPTURE_ETHERNET, true, records, 10);
		assert_int_equal(truncate(in_directory("short.pcap"), size), 0);
		assert_int_equal(open_port(rigs, "short.pcap", "", NULL, NULL), 0);
		unsigned whole = (size - 24) / 116;
		assert_int_equal(receive_all(rigs, NULL), whole);
		struct port_info info = info_of(rigs);
		assert_true(info.finished);
		if ((size - 24) % 116) {
			char after[32];
			snprintf(after, sizeof(after), "after frame %u", whole);
			assert_non_null(strstr(info.fault, "short.pcap"));
			assert_non_null(strstr(info.fault, after));
		} else {
			assert_string_equal(info.fault, "");
		}
		teardown(NULL);
	}
}

/* Any bytes: an error or frames, never more, and an end. */
static void test_mutated_file(void **state)
{
	static uint8_t bytes[200], file[8192];
	struct capture_record records[20];

	for (unsigned i = 0; i < 20; i++)
		records[i] = (struct capture_record){
			.length = 60 + i * 7, .captured = 60 + i * 7, .bytes = bytes};
	write_capture("seed.pcap", CAPTURE_ETHERNET, false, records, 20);
	int fd = open(in_directory("seed.pcap"), O_RDONLY);
	ssize_t size = read(fd, file, sizeof(file));
	close(fd);
	assert_in_range(size, 1000, sizeof(file));
	srand((unsigned)test_seed());
	for (unsigned round = 0; round < 300; round++) {
		static uint8_t mutated[8192];
		memcpy(mutated, file, (size_t)size);
		for (int flips = 1 + rand() % 8; flips; flips--)
			mutated[rand() % (rand() % 2 ? size : 64)] = (uint8_t)rand();
		fd = open(in_directory("mutated.pcap"), O_CREAT | O_TRUNC | O_WRONLY, 0600);
		assert_int_equal(write(fd, mutated, (size_t)size), size);
		close(fd);
		if (open_port(rigs, "mutated.pcap", "mutated-out.pcap", NULL, NULL) == 0) {
			assert_in_range(receive_all(rigs, NULL), 0, 500);
			assert_true(info_of(rigs).finished);
		} else {
			assert_true(rigs[0].error[0]);
		}
		teardown(NULL);
	}
}

static void test_disk_full(void **state)
{
	const struct p2pnic_descriptor frame = {.offset = RIG_SEND_AREA, .length = 60};
	uint64_t failed = 0;

	if (access("/dev/full", W_OK))
		skip();
	assert_int_equal(open_port(rigs, "", "/dev/full", NULL, NULL), 0);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(pcap_transmit(rigs[0].port, &frame, 1), 1);
		pcap_flush(rigs[0].port);
		assert_int_equal(pcap_transmitted(rigs[0].port, &failed), 1);
		assert_int_equal(failed, i + 1);
	}
	assert_non_null(strstr(info_of(rigs).fault, "/dev/full"));
}

/* --- time -------------------------------------------------------------------------------------- */

/* Three ports in one timeline, each polled in turn; whatever one receives, the next sends. The output
 * bears the input's timestamps, to the nanosecond (or microsecond), in the order of time. */
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
			unsigned n = pcap_receive(rigs[p].port, &frame, 1);
			if (n) {
				uint64_t at, failed = 0;
				struct rig *to = &rigs[(p + 1) % 3];
				struct p2pnic_descriptor out = {
					.offset = RIG_SEND_AREA, .length = 60};
				memcpy(&at, frame.data + 20, sizeof(at));
				assert_true(at >= last);
				last = at;
				memcpy(to->memory + out.offset, frame.data, 60);
				assert_int_equal(pcap_transmit(to->port, &out, 1), 1);
				pcap_flush(to->port);
				assert_int_equal(pcap_transmitted(to->port, &failed), 1);
				received++;
			}
			pcap_release(rigs[p].port);
		}
	assert_int_equal(received, 3 * PER_PORT);
	for (unsigned p = 0; p < 3; p++) {
		pcap_receive(rigs[p].port, &frame, 1);
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

/* --- verdicts ---------------------------------------------------------------------------------- */

static struct p2pnic_counters counters;

static void add(_Atomic uint64_t *word)
{
	atomic_fetch_add(word, 1);
}

/* What the firmware does with the frames, one after the other. */
static void fate(unsigned i)
{
	add(&counters.received.packets);
	switch (i) {
	case 0:
		add(&counters.to_ring[2].packets);
		break;
	case 1:
		add(&counters.dropped[P2PNIC_DROP_TTL]);
		add(&counters.originated.packets);
		break;
	case 2:
		add(&counters.punted.packets);
		break;
	case 3: /* while it counts failures of frames of other NICs */
		add(&counters.dropped[P2PNIC_DROP_PORT]);
		add(&counters.dropped[P2PNIC_DROP_BAD_DESCRIPTOR]);
		add(&counters.from_ring[1].packets);
		add(&counters.dropped[P2PNIC_DROP_NO_ROUTE]);
		break;
	default:
		add(&counters.to_ring[63].packets);
	}
}

static void test_verdict(void **state)
{
	static uint8_t bytes[9014];
	static const char expected[] = "1 1700000000.123456789 98 to-nic:2\n"
				       "2 1700000001.123456789 60 dropped:ttl originated\n"
				       "3 1700000002.123456789 1514 punted cut:96\n"
				       "4 1700000003.123456789 9014 not-delivered:oversize\n"
				       "5 1700000004.123456789 64 dropped:no-route\n"
				       "6 1700000005.123456789 65 to-nic:63\n"
				       "7 1700000006.123456789 66 held\n"
				       "8 1700000007.123456789 9014 not-delivered:oversize\n";
	static const uint32_t lengths[] = {98, 60, 1514, 9014, 64, 65, 66, 9014};
	struct capture_record records[8];
	char option[300], text[1024] = "";
	struct frame frame;
	unsigned settled = 0;

	for (unsigned i = 0; i < 8; i++)
		records[i] = (struct capture_record){.time_ns = START_NS + i * 1000000000ull,
			.length = lengths[i],
			.captured = i == 2 ? 96 : lengths[i],
			.bytes = bytes};
	write_capture("verdict.pcap", CAPTURE_ETHERNET, true, records, 8);
	snprintf(option, sizeof(option), "verdict=%s", in_directory("verdict.txt"));
	memset(&counters, 0, sizeof(counters));
	assert_int_equal(open_port(rigs, "verdict.pcap", "", option, &counters), 0);
	for (unsigned i = 0; i < 6; i++) {
		assert_int_equal(pcap_receive(rigs[0].port, &frame, 1), 1);
		pcap_release(rigs[0].port);
		if (i == 5)
			break;
		/* Until its fate is known, none follows; the engine is told not to sleep. */
		assert_int_equal(pcap_receive(rigs[0].port, &frame, 1), 0);
		assert_true(pcap_arm(rigs[0].port));
		fate(settled++);
	}
	/* The last is held and nothing moves: after a second the verdict is just that. */
	add(&counters.received.packets);
	add(&counters.held);
	assert_false(info_of(rigs).finished);
	for (int tries = 0; tries < 200 && !info_of(rigs).finished; tries++) {
		assert_int_equal(pcap_receive(rigs[0].port, &frame, 1), 0);
		rig_sleep_ms(10);
	}
	assert_true(info_of(rigs).finished);
	teardown(NULL);
	FILE *file = fopen(in_directory("verdict.txt"), "r");
	assert_non_null(file);
	assert_in_range(fread(text, 1, sizeof(text) - 1, file), 1, sizeof(text));
	fclose(file);
	assert_string_equal(text, expected);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_refuses, teardown),
		cmocka_unit_test_teardown(test_no_packets, teardown),
		cmocka_unit_test_teardown(test_cut_and_long, teardown),
		cmocka_unit_test_teardown(test_truncated_file, teardown),
		cmocka_unit_test_teardown(test_mutated_file, teardown),
		cmocka_unit_test_teardown(test_disk_full, teardown),
		cmocka_unit_test_teardown(test_nanoseconds, teardown),
		cmocka_unit_test_teardown(test_microseconds, teardown),
		cmocka_unit_test_teardown(test_verdict, teardown),
	};
	char remove[64];

	if (!mkdtemp(directory))
		return 1;
	int failed = cmocka_run_group_tests_name("pcap", tests, NULL, NULL);
	snprintf(remove, sizeof(remove), "rm -r %s", directory);
	rig_run(remove);
	return failed;
}
