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
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

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

/* A port on IN (a name in the directory; "": none) and OUT; error text in rig->error when
 * refused. */
static int open_port(struct rig *rig, const char *in, const char *out, const char *options,
	const struct p2pnic_counters *counters)
{
	static char target[3][600];
	char *to = target[rig - rigs];

	rig_memory(rig, &pcap_port_ops);
	rigs_open++;
	snprintf(to, sizeof(target[0]), "%s,%s", *in ? in_directory("%s", in) : "",
		*out ? (*out == '/' ? out : in_directory("%s", out)) : "");
	rig->config.target = to;
	rig->config.options = options;
	rig->config.counters = counters;
	int code = pcap_port_ops.open(rig->port, &rig->config, &rig->error);
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

	while ((n = pcap_port_ops.receive(rig->port, frames, P2PNIC_BURST_MAX))) {
		if (total == 0 && first)
			*first = frames[0];
		total += n;
		pcap_port_ops.release(rig->port);
	}
	pcap_port_ops.release(rig->port);
	return total;
}

/* --- captures as they are found --------------------------------------------------------------- */

static void test_refuses(void **state)
{
	uint8_t bytes[100] = {0};
	const struct capture_record record = {.length = 100, .captured = 100, .bytes = bytes};
	struct rig *rig = rigs;

	assert_true(open_port(rig++, "absent.pcap", "", NULL, NULL) < 0);
	assert_non_null(strstr(rigs[0].error.text, "absent.pcap"));
	teardown(NULL);

	write_capture("cooked.pcap", CAPTURE_LINUX_SLL, true, &record, 1);
	assert_int_equal(open_port(rigs, "cooked.pcap", "", NULL, NULL), -EPROTOTYPE);
	assert_non_null(strstr(rigs[0].error.text, "cooked.pcap"));
	assert_non_null(strstr(rigs[0].error.text, "LINUX_SLL"));
	teardown(NULL);

	int fd = open(in_directory("text.pcap"), O_CREAT | O_WRONLY, 0600);
	assert_int_equal(write(fd, "this is not a capture at all, really\n", 37), 37);
	close(fd);
	assert_true(open_port(rigs, "text.pcap", "", NULL, NULL) < 0);
	assert_non_null(strstr(rigs[0].error.text, "text.pcap"));
	teardown(NULL);

	assert_true(open_port(rigs, "", "/nonexistent/directory/out.pcap", NULL, NULL) < 0);
	assert_non_null(strstr(rigs[0].error.text, "/nonexistent/directory/out.pcap"));
	teardown(NULL);

	static const char *const options[] = {"burst=0", "burst=65", "burst=", "burst=2x",
		"cut=half", "timeline=maybe", "verdict=/tmp/x", "loop"};
	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
		assert_int_equal(open_port(rigs, "", "", options[i], NULL), -EINVAL);
		assert_true(rigs[0].error.text[0]);
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
	assert_false(pcap_port_ops.arm(rigs[0].port));
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
	memset(rigs[0].memory, 0xaa, 64 * P2PNIC_BUFFER_BYTES_MIN);
	assert_int_equal(pcap_port_ops.receive(rigs[0].port, frames, P2PNIC_BURST_MAX), 5);
	for (unsigned k = 0; k < 5; k++)
		assert_int_equal(frames[k].length, lengths[k]);
	for (unsigned i = 0; i < 1500; i++)
		assert_int_equal(frames[0].data[i], i < 96 ? 0xee : 0);
	for (unsigned i = 0; i < 64; i++)
		assert_int_equal(frames[2].data[i], i < 5 ? 0xee : 0);
	assert_false(info_of(rigs).finished); /* not released yet */
	pcap_port_ops.release(rigs[0].port);
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
	/* 24 bytes of file header, 16 of each record's: at every cut, what is whole is
	 * delivered. */
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
			assert_non_null(strstr(info.fault.text, "short.pcap"));
			assert_non_null(strstr(info.fault.text, after));
		} else {
			assert_string_equal(info.fault.text, "");
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
			assert_true(rigs[0].error.text[0]);
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
		assert_int_equal(pcap_port_ops.transmit(rigs[0].port, &frame, 1), 1);
		pcap_port_ops.flush(rigs[0].port);
		assert_int_equal(pcap_port_ops.transmitted(rigs[0].port, &failed), 1);
		assert_int_equal(failed, i + 1);
	}
	assert_non_null(strstr(info_of(rigs).fault.text, "/dev/full"));
}

/* A file that may not grow past some byte: each frame is either whole in it or failed, and it can
 * be read. */
static void test_size_limit(void **state)
{
	static const unsigned bursts[] = {1, 3, 64};
	struct rlimit before, limit;

	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &before);
	for (unsigned b = 0; b < 3; b++)
		for (unsigned over = 0; over < 80; over += 7) {
			struct p2pnic_descriptor frames[64];
			uint64_t failed = 0, taken = 0, seen = 0;
			struct capture_record record;

			for (unsigned i = 0; i < 64; i++)
				frames[i] = (struct p2pnic_descriptor){
					.offset = RIG_SEND_AREA, .length = 60};
			assert_int_equal(open_port(rigs, "", "limited.pcap", NULL, NULL), 0);
			limit = (struct rlimit){24 + 20 * 76 + over, before.rlim_max};
			assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
			for (unsigned n = 0; n < 96; n += bursts[b]) {
				assert_int_equal(
					pcap_port_ops.transmit(rigs[0].port, frames, bursts[b]),
					bursts[b]);
				taken += pcap_port_ops.transmitted(rigs[0].port, &failed);
			}
			assert_non_null(
				strstr(info_of(rigs).fault.text, "limited.pcap: cannot write"));
			/* There is room again: it goes on, and what lies in between is whole. */
			assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
			pcap_port_ops.transmit(rigs[0].port, frames, 5);
			taken += pcap_port_ops.transmitted(rigs[0].port, &failed);
			teardown(NULL);
			struct capture_reader *reader = capture_open(in_directory("limited.pcap"));
			struct stat is;

			assert_non_null(reader);
			while (capture_read(reader, &record))
				seen++;
			capture_close(reader);
			assert_int_equal(taken - failed, seen);
			assert_int_equal(seen, 20 + over / 76 + 5);
			assert_int_equal(stat(in_directory("limited.pcap"), &is), 0);
			assert_int_equal(is.st_size, 24 + seen * 76);
		}
}

/* --- names ------------------------------------------------------------------------------------ */

static struct p2pnic_counters counters;

static void refuses_output(
	unsigned rig, const char *in, const char *out, int code, const char *says)
{
	assert_int_equal(open_port(&rigs[rig], in, out, NULL, NULL), code);
	if (!strstr(rigs[rig].error.text, says) || !strstr(rigs[rig].error.text, out))
		fail_msg("%s", rigs[rig].error.text);
}

/* What is no file of its own name is left as it is. */
static void test_output_names(void **state)
{
	struct stat is;
	FILE *file = fopen(in_directory("precious"), "we");

	fputs("precious", file);
	fclose(file);
	assert_int_equal(symlink("precious", in_directory("link")), 0);
	refuses_output(0, "", "link", -ELOOP, "symbolic link");
	teardown(NULL);
	assert_int_equal(symlink("absent", in_directory("dangling")), 0);
	refuses_output(0, "", "dangling", -ELOOP, "symbolic link");
	teardown(NULL);
	assert_int_equal(access(in_directory("absent"), F_OK), -1);
	assert_int_equal(mkdir(in_directory("folder"), 0700), 0);
	refuses_output(0, "", "folder", -EISDIR, "directory");
	teardown(NULL);
	/* Whether somebody reads it or not. */
	assert_int_equal(mkfifo(in_directory("fifo"), 0600), 0);
	refuses_output(0, "", "fifo", -EINVAL, "neither a file nor a character device");
	teardown(NULL);
	int reader = open(in_directory("fifo"), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	refuses_output(0, "", "fifo", -EINVAL, "neither a file nor a character device");
	teardown(NULL);
	close(reader);
	assert_int_equal(stat(in_directory("precious"), &is), 0);
	assert_int_equal(is.st_size, 8);
	refuses_output(0, "", "precious", -EEXIST, "holds something else");
	teardown(NULL);
	assert_int_equal(stat(in_directory("precious"), &is), 0);
	assert_int_equal(is.st_size, 8);
	assert_int_equal(truncate(in_directory("precious"), 0), 0);
	/* An earlier output is overwritten, all of it; a capture of another kind is not. */
	for (unsigned k = 0; k < 2; k++) {
		assert_int_equal(open_port(rigs, "", "precious", NULL, NULL), 0);
		teardown(NULL);
		assert_int_equal(stat(in_directory("precious"), &is), 0);
		assert_int_equal(is.st_size, 24);
		assert_int_equal(truncate(in_directory("precious"), 1000), 0);
	}
	write_capture("micro.pcap", CAPTURE_ETHERNET, false, NULL, 0);
	refuses_output(0, "", "micro.pcap", -EEXIST, "holds something else");
	teardown(NULL);
	/* Nor one of the same kind that another program wrote. */
	file = fopen(in_directory("nano.pcap"), "we");
	fwrite((const uint32_t[6]){0xa1b23c4d, 2 | 4 << 16, 0, 0, 65535, 1}, 24, 1, file);
	fclose(file);
	refuses_output(0, "", "nano.pcap", -EEXIST, "holds something else");
	teardown(NULL);
}

/* Verdicts go to a new file: what is there already is left as it is. */
static void test_verdict_names(void **state)
{
	char option[300];
	struct stat is;
	FILE *file = fopen(in_directory("diary"), "we");

	fputs("diary", file);
	fclose(file);
	assert_int_equal(symlink("diary", in_directory("alias")), 0);
	assert_int_equal(mkfifo(in_directory("tube"), 0600), 0);
	for (unsigned k = 0; k < 3; k++) {
		static const char *const name[] = {"diary", "alias", "tube"};

		snprintf(option, sizeof(option), "verdict=%s", in_directory("%s", name[k]));
		assert_int_equal(open_port(rigs, "", "out.pcap", option, &counters), -EEXIST);
		assert_non_null(strstr(rigs->error.text, name[k]));
		teardown(NULL);
	}
	assert_int_equal(stat(in_directory("diary"), &is), 0);
	assert_int_equal(is.st_size, 5);
}

/* One file for two ends, under the same name, another, a hard link. */
static void test_one_file_twice(void **state)
{
	static const uint8_t bytes[60];
	const struct capture_record record = {.length = 60, .captured = 60, .bytes = bytes};
	struct frame frame;

	write_capture("both.pcap", CAPTURE_ETHERNET, true, &record, 1);
	unlink(in_directory("hard.pcap"));
	assert_int_equal(link(in_directory("both.pcap"), in_directory("hard.pcap")), 0);
	refuses_output(0, "both.pcap", "both.pcap", -EBUSY, "another port reads or writes it");
	teardown(NULL);
	refuses_output(0, "both.pcap", "./hard.pcap", -EBUSY, "another port reads or writes it");
	teardown(NULL);
	/* Another NIC's input; two may read it. */
	assert_int_equal(open_port(&rigs[0], "both.pcap", "", NULL, NULL), 0);
	assert_int_equal(open_port(&rigs[1], "hard.pcap", "", NULL, NULL), 0);
	refuses_output(2, "", "hard.pcap", -EBUSY, "another port reads or writes it");
	assert_int_equal(receive_all(&rigs[0], &frame), 1);
	assert_int_equal(receive_all(&rigs[1], &frame), 1);
	teardown(NULL);
	/* Another NIC's output. Empty, it is nobody's. */
	assert_int_equal(truncate(in_directory("both.pcap"), 0), 0);
	assert_int_equal(open_port(&rigs[0], "", "both.pcap", NULL, NULL), 0);
	refuses_output(1, "", "hard.pcap", -EBUSY, "another port reads or writes it");
	assert_true(open_port(&rigs[2], "both.pcap", "", NULL, NULL) == -EBUSY);
	assert_non_null(strstr(rigs[2].error.text, "another port writes it"));
	teardown(NULL);
}

/* --- time ------------------------------------------------------------------------------------- */

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

/* --- verdicts --------------------------------------------------------------------------------- */

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
				       "2 1700000001.123456789 60 dropped:ttl\n"
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
		assert_int_equal(pcap_port_ops.receive(rigs[0].port, &frame, 1), 1);
		pcap_port_ops.release(rigs[0].port);
		if (i == 5)
			break;
		/* Until its fate is known, none follows; the engine is told not to sleep. */
		assert_int_equal(pcap_port_ops.receive(rigs[0].port, &frame, 1), 0);
		assert_true(pcap_port_ops.arm(rigs[0].port));
		fate(settled++);
	}
	/* The last is held and nothing moves: after a second the verdict is just that. */
	add(&counters.received.packets);
	add(&counters.held);
	assert_false(info_of(rigs).finished);
	for (int tries = 0; tries < 200 && !info_of(rigs).finished; tries++) {
		assert_int_equal(pcap_port_ops.receive(rigs[0].port, &frame, 1), 0);
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
		cmocka_unit_test_teardown(test_size_limit, teardown),
		cmocka_unit_test_teardown(test_output_names, teardown),
		cmocka_unit_test_teardown(test_one_file_twice, teardown),
		cmocka_unit_test_teardown(test_times_of_pcap, teardown),
		cmocka_unit_test_teardown(test_times_of_pcapng, teardown),
		cmocka_unit_test_teardown(test_equal_times, teardown),
		cmocka_unit_test_teardown(test_pending_holds_the_others, teardown),
		cmocka_unit_test_teardown(test_nanoseconds, teardown),
		cmocka_unit_test_teardown(test_microseconds, teardown),
		cmocka_unit_test_teardown(test_verdict, teardown),
		cmocka_unit_test_teardown(test_verdict_names, teardown),
	};
	char remove[64];

	if (!mkdtemp(directory))
		return 1;
	int failed = cmocka_run_group_tests_name("pcap", tests, NULL, NULL);
	snprintf(remove, sizeof(remove), "rm -r %s", directory);
	rig_run(remove);
	return failed;
}
