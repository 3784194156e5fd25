/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which files the pcap port reads and writes, and which it leaves alone.
 */
#include "pcap_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct p2pnic_counters counters;

static void refuses_output(
	unsigned rig, const char *in, const char *out, int code, const char *says)
{
	assert_int_equal(open_port(&rigs[rig], in, out, NULL, NULL), code);
	if (!strstr(rigs[rig].error.text, says) || !strstr(rigs[rig].error.text, out))
		fail_msg("%s", rigs[rig].error.text);
}

/* A name is said whole, and what is wrong with it after that. */
static void test_long_names(void **state)
{
	char name[200];

	memset(name, 'x', sizeof(name) - 1);
	name[sizeof(name) - 1] = 0;
	assert_int_equal(mkdir(in_directory("%s", name), 0700), 0);
	refuses_output(0, "", name, -EISDIR, "x: Is a directory");
	teardown(NULL);
	assert_int_equal(open_port(rigs, name, "", NULL, NULL), -EINVAL);
	assert_non_null(strstr(rigs->error.text, name));
	teardown(NULL);
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

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_long_names, teardown),
		cmocka_unit_test_teardown(test_output_names, teardown),
		cmocka_unit_test_teardown(test_one_file_twice, teardown),
		cmocka_unit_test_teardown(test_verdict_names, teardown),
	};

	return pcap_rig_run(tests, sizeof(tests) / sizeof(*tests));
}
