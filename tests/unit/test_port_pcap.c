/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The pcap port beyond what all ports share: captures as they are found, full disks, verdicts.
 */
#include "pcap_rig.h"
#include "seed.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define START_NS 1700000000123456789ull

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

/* --- verdicts --------------------------------------------------------------------------------- */

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
		cmocka_unit_test_teardown(test_verdict, teardown),
	};

	return pcap_rig_run(tests, sizeof(tests) / sizeof(*tests));
}
