/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a router keeps of its configurations: written whole or not at all, also when it is killed or
 * the disk is full, at every call in between; lists, numbers and what is let go; what runs.
 */
#include "inject.h"
#include "router/config.h"
#include "router/config_state.h"
#include "router/durable.h"

#include <setjmp.h>
#include <stdarg.h>
/* cmocka wants those first. */
#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define OLD "old: text\n"
#define NEW "new: text, and a longer one\n"

static char place[] = "/tmp/p2pnic-config-state-XXXXXX";
static char path[64];
static int directory;
static struct error error;

/* --- Calls that fail, or are the last that a process makes ------------------------------------ */

static unsigned kill_at; /* 0: never; else the call, from 1, before which the process is killed */
static unsigned calls;

static bool fails(const char *name, int number)
{
	if (kill_at && ++calls == kill_at)
		_exit(99);
	return inject_fails(name, number);
}

#define WRAP(type, name, number, parameters, arguments)                                            \
	type __real_##name parameters;                                                             \
	type __wrap_##name parameters;                                                             \
	type __wrap_##name parameters                                                              \
	{                                                                                          \
		return fails(#name, number) ? -1 : __real_##name arguments;                        \
	}

WRAP(ssize_t, write, ENOSPC, (int fd, const void *from, size_t n), (fd, from, n))
WRAP(int, fsync, EIO, (int fd), (fd))
WRAP(int, renameat, ENOSPC, (int a, const char *from, int b, const char *to), (a, from, b, to))
WRAP(int, fchmod, EPERM, (int fd, mode_t mode), (fd, mode))
WRAP(int, unlinkat, EROFS, (int at, const char *name, int flags), (at, name, flags))
WRAP(int, openat64, ENOSPC, (int at, const char *name, int flags, mode_t mode),
	(at, name, flags, mode))

/* --- Whole or not at all ---------------------------------------------------------------------- */

static void put(const char *name, const char *text)
{
	char full[sizeof(place) + 256];

	snprintf(full, sizeof(full), "%s/%s", place, name);
	FILE *f = fopen(full, "w");

	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

static const char *get(const char *name)
{
	static char text[4096];
	char full[sizeof(place) + 256];

	snprintf(full, sizeof(full), "%s/%s", place, name);
	FILE *f = fopen(full, "r");

	if (!f)
		return NULL;
	text[fread(text, 1, sizeof(text) - 1, f)] = 0;
	fclose(f);
	return text;
}

/* Files of the directory but for those of a writer that was killed. */
static unsigned files(unsigned *left)
{
	DIR *list = opendir(place);
	const struct dirent *at;
	unsigned n = 0;

	assert_non_null(list);
	*left = 0;
	while ((at = readdir(list)))
		if (durable_is_left(at->d_name))
			++*left;
		else
			n += *at->d_name != '.';
	closedir(list);
	return n;
}

static void clear(void)
{
	DIR *list = opendir(place);
	const struct dirent *at;

	while ((at = readdir(list)))
		if (strcmp(at->d_name, ".") != 0 && strcmp(at->d_name, "..") != 0)
			unlinkat(directory, at->d_name, 0);
	closedir(list);
}

/* Before each call in turn the process is killed: the file is the old one or the new one. */
static void test_killed(void **state)
{
	unsigned left, most = 0, k = 0;
	bool seen_old = false, seen_new = false;
	int status = 0;

	do {
		pid_t pid;

		clear();
		put("file", OLD);
		k++;
		pid = fork();
		if (!pid) {
			kill_at = k;
			_exit(durable_replace(path, NEW, strlen(NEW), &error) != 0);
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFEXITED(status));
		seen_old |= !strcmp(get("file"), OLD);
		seen_new |= !strcmp(get("file"), NEW);
		if (strcmp(get("file"), OLD) != 0 && strcmp(get("file"), NEW) != 0)
			fail_msg("killed before call %u: '%s'", k, get("file"));
		assert_int_equal(files(&left), 1);
		most = left > most ? left : most;
	} while (WEXITSTATUS(status) == 99);
	assert_int_equal(WEXITSTATUS(status), 0);
	assert_true(k > 5 && seen_old && seen_new && most == 1);
	assert_string_equal(get("file"), NEW);
}

static int replace(void *context)
{
	put("file", OLD);
	inject_arm();
	const int result = durable_replace(path, NEW, strlen(NEW), &error);

	inject_disarm();
	return result;
}

static bool whole(void *context, int result)
{
	unsigned left;
	const bool old = !strcmp(get("file"), OLD), new = !strcmp(get("file"), NEW);

	/* The directory that cannot be written out comes after the rename. */
	return files(&left) == 1 && (result ? old || new : new) &&
	       (left == 0 || !strcmp(inject_failed(), "unlinkat"));
}

static void test_no_room(void **state)
{
	clear();
	assert_true(inject_each_expect(replace, NULL, whole, &error) >= 5);
}

/* Who may write in a directory may not give files away there. */
static void refused_to_another_user(const char *link)
{
	int status, result;

	assert_int_equal(chown(path, 0, 0), 0);
	assert_int_equal(chmod(place, 0777), 0);
	const pid_t child = fork();

	if (!child) {
		if (setresuid(65534, 65534, 65534) < 0)
			_exit(2);
		result = durable_replace(link, NEW, strlen(NEW), &error);
		_exit(result != -EPERM || !strstr(error.text, "cannot keep its owner and group"));
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	assert_int_equal(chmod(place, 0700), 0);
	assert_string_equal(get("file"), OLD);
}

static void test_kept(void **state)
{
	char link[64], target[128];
	struct stat is;

	clear();
	put("file", OLD);
	chmod(path, 0604);
	snprintf(link, sizeof(link), "%s/link", place);
	assert_int_equal(symlink("file", link), 0);
	assert_int_equal(durable_replace(link, NEW, strlen(NEW), &error), 0);
	assert_string_equal(get("file"), NEW);
	assert_int_equal(readlink(link, target, sizeof(target)), 4);
	assert_int_equal(stat(path, &is), 0);
	assert_int_equal(is.st_mode & 07777, 0604);
	if (geteuid() == 0) {
		assert_int_equal(chown(path, 65534, 65534), 0);
		assert_int_equal(durable_replace(link, OLD, strlen(OLD), &error), 0);
		assert_int_equal(stat(path, &is), 0);
		assert_int_equal(is.st_uid, 65534);
		assert_int_equal(is.st_gid, 65534);
		refused_to_another_user(link);
	}
	/* What is there already by that name is somebody's, perhaps. */
	snprintf(target, sizeof(target), ".file.%d-0.new", getpid());
	put(target, "mine");
	assert_int_equal(durable_replace(link, NEW, strlen(NEW), &error), 0);
	assert_string_equal(get(target), "mine");
	assert_int_equal(durable_replace(place, NEW, strlen(NEW), &error), -EINVAL);
	snprintf(target, sizeof(target), "%s/absent", place);
	assert_int_equal(durable_replace(target, NEW, strlen(NEW), &error), -ENOENT);
}

/* --- Those that were applied ------------------------------------------------------------------ */

static unsigned add_as(bool unconfirmed, const char *file, const char *text, unsigned keep)
{
	const unsigned keeps[2] = {keep, 0};
	unsigned number;

	if (state_add(directory, file, text, strlen(text), unconfirmed, keeps, &number, &error))
		fail_msg("%s", error.text);
	return number;
}

static unsigned add(const char *file, const char *text, unsigned keep)
{
	return add_as(false, file, text, keep);
}

static void test_applied(void **state)
{
	struct state_entries all;
	struct state_text text;

	clear();
	assert_int_equal(state_list(directory, &all, &error), 0);
	assert_int_equal(all.n, 0);
	for (unsigned k = 1; k <= STATE_KEPT + 5; k++) {
		char one[32];

		snprintf(one, sizeof(one), "# %u\nnics: []\n", k);
		assert_int_equal(add("/etc/a.yaml", one, 3), k);
	}
	/* One that is to be kept is, besides the last. */
	assert_int_equal(state_read(directory, 3, &text, &error), 0);
	state_text_free(&text);
	assert_int_equal(state_read(directory, 4, &text, &error), -ENOENT);
	assert_int_equal(state_list(directory, &all, &error), 0);
	assert_int_equal(all.n, STATE_KEPT);
	assert_int_equal(all.entry[0].number, 6);
	assert_int_equal(all.entry[STATE_KEPT - 1].number, STATE_KEPT + 5);
	assert_int_equal(strlen(all.entry[0].time), 20);
	assert_int_equal(state_read(directory, 15, &text, &error), 0);
	assert_string_equal(text.file, "/etc/a.yaml");
	assert_string_equal(text.text, "# 15\nnics: []\n");
	assert_int_equal(text.bytes, 14);
	state_text_free(&text);
	assert_int_equal(state_find(directory, "/etc/a.yaml", "# 9\nnics: []\n", 13), 9);
	assert_int_equal(state_find(directory, "/etc/b.yaml", "# 9\nnics: []\n", 13), 0);
	state_remove(directory, 15);
	assert_int_equal(add("/etc/b.yaml", "", 0), 15);
	assert_int_equal(state_read(directory, 15, &text, &error), 0);
	assert_int_equal(text.bytes, 0);
	state_text_free(&text);
}

static bool marked(unsigned number)
{
	struct state_entries all;

	assert_int_equal(state_list(directory, &all, &error), 0);
	for (unsigned k = 0; k < all.n; k++)
		if (all.entry[k].number == number)
			return all.entry[k].unconfirmed;
	fail_msg("%u is not in the list", number);
	return false;
}

static unsigned before(unsigned number)
{
	unsigned is = 99;

	assert_int_equal(state_before(directory, number, &is, &error), 0);
	return is;
}

/* Those that are not confirmed are passed over, however many; the mark goes with its text. */
static void test_unconfirmed(void **state)
{
	struct state_text text;
	unsigned left;

	clear();
	assert_int_equal(before(7), 0);
	put("applied-000001-20260101T000000Z.yaml", "# p2pnic: applied from /old\nnics: []\n");
	assert_false(marked(1));
	for (unsigned k = 2; k <= STATE_KEPT + 5; k++)
		assert_int_equal(add_as(true, "/etc/a.yaml", NEW, 1), k);
	assert_int_equal(files(&left), STATE_KEPT + 1);
	assert_true(marked(8) && marked(9));
	assert_int_equal(before(STATE_KEPT + 5), 1);
	assert_int_equal(before(1), 0);
	assert_int_equal(state_confirm(directory, 8, &error), 0);
	assert_int_equal(state_confirm(directory, 8, &error), 0);
	assert_int_equal(state_confirm(directory, 3, &error), 0);
	assert_int_equal(files(&left), STATE_KEPT + 1);
	assert_true(!marked(8) && marked(9));
	assert_int_equal(before(STATE_KEPT + 5), 8);
	assert_int_equal(before(8), 1);
	for (unsigned k = 8; k <= 9; k++) {
		assert_int_equal(state_read(directory, k, &text, &error), 0);
		assert_string_equal(text.file, "/etc/a.yaml");
		assert_string_equal(text.text, NEW);
		state_text_free(&text);
	}
	state_remove(directory, 9);
	assert_int_equal(state_read(directory, 9, &text, &error), -ENOENT);
}

/* Files that are not this program's, or damaged, are let alone and no harm. */
static void test_foreign(void **state)
{
	static const char *const names[] = {"applied-000001.yaml", "applied-1-x.yaml", "notes",
		"applied-000000-20260101T000000Z.yaml", "applied-000001-20260101T000000Z.yaml~",
		"applied-000001-20260101T000000Z.unconfirmed",
		"applied-000001-20260101T000000Z.unconfirmed.yaml~"};
	struct state_entries all;
	struct state_text text;
	unsigned left;

	clear();
	for (unsigned k = 0; k < sizeof(names) / sizeof(*names); k++)
		put(names[k], "x");
	put(".running.77-0.new", "x");
	assert_int_equal(state_list(directory, &all, &error), 0);
	assert_int_equal(all.n, 0);
	put("applied-000007-20260101T000000Z.yaml", "nics: []\n");
	assert_int_equal(state_read(directory, 7, &text, &error), -EINVAL);
	assert_non_null(strstr(error.text, "its first line is not"));
	for (unsigned k = 8; k < 8 + STATE_KEPT; k++)
		assert_int_equal(add("/x", "", 0), k);
	/* What a writer has left goes with the oldest. */
	assert_int_equal(files(&left), sizeof(names) / sizeof(*names) + STATE_KEPT);
	assert_int_equal(left, 0);
}

static int add_one(void *context)
{
	const unsigned keep[2] = {0};
	unsigned number;

	clear();
	inject_arm();
	const int result =
		state_add(directory, "/etc/a.yaml", NEW, strlen(NEW), true, keep, &number, &error);

	inject_disarm();
	return result;
}

static bool added_or_not(void *context, int result)
{
	struct state_entries all;
	struct error ignored;

	return !state_list(directory, &all, &ignored) && (result || all.n == 1) && all.n <= 1;
}

static void test_add_fails(void **state)
{
	assert_true(inject_each_expect(add_one, NULL, added_or_not, &error) >= 5);
}

static int confirm_one(void *context)
{
	clear();
	add_as(true, "/etc/a.yaml", NEW, 0);
	inject_arm();
	const int result = state_confirm(directory, 1, &error);

	inject_disarm();
	return result;
}

/* The directory that cannot be written out comes after the renaming. */
static bool confirmed_or_not(void *context, int result)
{
	const bool after = result && !strcmp(inject_failed(), "fsync");
	unsigned left;

	return files(&left) == 1 && !left && marked(1) == (result && !after) &&
	       (!result || strstr(error.text, "state directory: "));
}

static void test_confirm_fails(void **state)
{
	/* Opening the directory, renaming, writing the directory out. */
	assert_int_equal(inject_each_expect(confirm_one, NULL, confirmed_or_not, &error), 3);
}

/* --- What runs -------------------------------------------------------------------------------- */

static void test_running(void **state)
{
	struct state_running is = {.entry = 7,
				     .back = 6,
				     .deadline_ns = 123456789012345,
				     .file = "/etc/\"a\".yaml",
				     .digest = 0xfedcba9876543210},
			     read;

	clear();
	assert_int_equal(state_running_read(directory, &read, &error), -ENOENT);
	assert_int_equal(state_running_write(directory, &is, &error), 0);
	assert_int_equal(state_running_read(directory, &read, &error), 0);
	assert_int_equal(read.entry, 7);
	assert_int_equal(read.back, 6);
	assert_true(read.deadline_ns == is.deadline_ns && read.digest == is.digest);
	assert_string_equal(read.file, is.file);
	put("running", "{\"boot\":\"of another time\",\"entry\":7,\"back\":0,\"deadline_ns\":0,"
		       "\"file\":\"/x\",\"digest\":\"0\"}");
	assert_int_equal(state_running_read(directory, &read, &error), -ENOENT);
	for (const char *const *text = (const char *const[]){"", "{", "{}", "[1]",
		     "{\"boot\":1,\"entry\":7,\"back\":0,\"deadline_ns\":0,\"file\":\"/x\","
		     "\"digest\":\"0\"}",
		     "{\"boot\":\"\",\"entry\":-7,\"back\":0,\"deadline_ns\":0,\"file\":\"/x\","
		     "\"digest\":\"0\"}",
		     NULL};
		*text; text++) {
		put("running", *text);
		assert_int_equal(state_running_read(directory, &read, &error), -EINVAL);
		assert_non_null(strstr(error.text, "damaged"));
	}
	assert_int_equal(state_running_clear(directory), 0);
	assert_int_equal(state_running_clear(directory), 0);
}

static void test_places(void **state)
{
	char name[] = "edge", runtime[] = "/run/x", own[] = "/srv/state", to[PATH_MAX];
	struct config_router router = {.name = name};
	const struct config config = {.router = &router};

	setenv("XDG_STATE_HOME", "/home/u/state", 1);
	state_directory(&config, to, sizeof(to));
	assert_string_equal(
		to, geteuid() == 0 ? "/var/lib/p2pnic/edge" : "/home/u/state/p2pnic/edge");
	router.runtime = runtime;
	state_directory(&config, to, sizeof(to));
	assert_string_equal(to, "/run/x.state");
	setenv("STATE_DIRECTORY", "/var/lib/p2pnic/e", 1);
	state_directory(&config, to, sizeof(to));
	assert_string_equal(to, "/var/lib/p2pnic/e");
	setenv("STATE_DIRECTORY", "/a:/b", 1);
	state_directory(&config, to, sizeof(to));
	assert_string_equal(to, "/run/x.state");
	unsetenv("STATE_DIRECTORY");
	router.state = own;
	state_directory(&config, to, sizeof(to));
	assert_string_equal(to, "/srv/state");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_killed),
		cmocka_unit_test(test_no_room),
		cmocka_unit_test(test_kept),
		cmocka_unit_test(test_applied),
		cmocka_unit_test(test_unconfirmed),
		cmocka_unit_test(test_foreign),
		cmocka_unit_test(test_add_fails),
		cmocka_unit_test(test_confirm_fails),
		cmocka_unit_test(test_running),
		cmocka_unit_test(test_places),
	};
	int failed;

	if (!mkdtemp(place))
		return 1;
	snprintf(path, sizeof(path), "%s/file", place);
	directory = open(place, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	clear();
	close(directory);
	rmdir(place);
	return failed;
}
