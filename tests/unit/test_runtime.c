/* SPDX-License-Identifier: BSD-3-Clause */
/* The runtime directory: whose it must be, what is not followed, and one lock at a time. */
#include "router/runtime.h"
#include "tests/unit/descriptors.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define STRANGER 65533u

static char place[] = "/tmp/p2pnic-test-XXXXXX";
static struct error error;

static const char *in_place(const char *name)
{
	static char path[4][300];
	static unsigned next;
	char *to = path[next++ % 4];

	snprintf(to, sizeof(path[0]), "%s/%s", place, name);
	return to;
}

static unsigned mode_of(const char *path)
{
	struct stat is;

	assert_int_equal(lstat(path, &is), 0);
	return is.st_mode & 07777u;
}

static int try(const char *path)
{
	struct runtime r;
	int result = runtime_open(&r, path, &error);

	if (!result)
		runtime_close(&r, path, true);
	else
		assert_true(error.text[0] != 0);
	return result;
}

static void make_directory(const char *path, unsigned mode)
{
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(chmod(path, mode), 0);
}

/* The mode of the directory that was made for a file. */
static unsigned beside(const char *path)
{
	const char *name;
	struct stat is;
	int fd = runtime_beside(path, true, &name, &error);

	assert_true(fd >= 0);
	assert_string_equal(name, "file");
	assert_int_equal(fstat(fd, &is), 0);
	close(fd);
	return is.st_mode & 07777u;
}

static void test_made(void **state)
{
	struct runtime r, other;
	const bool root = geteuid() == 0;
	const mode_t mask = umask(0);

	assert_int_equal(runtime_open(&r, in_place("a/b"), &error), 0);
	assert_int_equal(mode_of(in_place("a")), root ? 0755 : 0700);
	assert_int_equal(mode_of(in_place("a/b")), root ? 0750 : 0700);
	assert_int_equal(mode_of(in_place("a/b/lock")), 0600);
	assert_int_equal(runtime_open(&other, in_place("a/b"), &error), -EBUSY);
	assert_non_null(strstr(error.text, "another router runs in"));
	runtime_close(&r, in_place("a/b"), false);
	assert_int_equal(try(in_place("a/b")), 0);
	assert_int_equal(access(in_place("a/b"), F_OK), -1);
	rmdir(in_place("a"));
	assert_int_equal(beside(in_place("a/file")), root ? 0755 : 0700);
	rmdir(in_place("a"));
	umask(mask);
}

static void test_relative(void **state)
{
	char here[4096];

	assert_non_null(getcwd(here, sizeof(here)));
	assert_int_equal(chdir(place), 0);
	assert_int_equal(try("relative/./x/../y"), 0);
	rmdir("relative/x");
	rmdir("relative");
	assert_int_equal(chdir(here), 0);
}

/* It is said whole, and the remedy after it. */
static void test_long_name(void **state)
{
	char name[251];

	memset(name, 'x', sizeof(name) - 1);
	name[sizeof(name) - 1] = 0;
	make_directory(in_place(name), 0777);
	assert_int_equal(try(in_place(name)), -EPERM);
	assert_non_null(strstr(error.text, in_place(name)));
	assert_non_null(strstr(error.text, "chmod go-w"));
	rmdir(in_place(name));
}

/* Others can write in it, or in one above it: refused by name, mode and remedy. */
static void test_writable(void **state)
{
	static const unsigned modes[] = {0777, 0770, 0720, 0702};

	for (unsigned k = 0; k < 4; k++) {
		char mode[8];

		snprintf(mode, sizeof(mode), "%04o", modes[k]);
		make_directory(in_place("open"), modes[k]);
		assert_int_equal(try(in_place("open")), -EPERM);
		assert_non_null(strstr(error.text, in_place("open")));
		assert_non_null(strstr(error.text, mode));
		assert_non_null(strstr(error.text, "chmod go-w"));
		assert_int_equal(access(in_place("open/lock"), F_OK), -1);
		assert_int_equal(try(in_place("open/below")), -EPERM);
		assert_non_null(strstr(error.text, "chmod go-w"));
		assert_int_equal(access(in_place("open/below"), F_OK), -1);
		rmdir(in_place("open"));
	}
	make_directory(in_place("sticky"), 01777);
	assert_int_equal(try(in_place("sticky/below")), 0);
	assert_int_equal(try(in_place("sticky")), -EPERM);
	rmdir(in_place("sticky"));
	make_directory(in_place("read"), 0755);
	assert_int_equal(try(in_place("read")), 0);
}

static void test_strangers(void **state)
{
	if (geteuid() != 0)
		skip();
	make_directory(in_place("his"), 0700);
	assert_int_equal(chown(in_place("his"), STRANGER, STRANGER), 0);
	assert_int_equal(try(in_place("his")), -EPERM);
	assert_non_null(strstr(error.text, "65533"));
	assert_non_null(strstr(error.text, "0700"));
	assert_int_equal(try(in_place("his/below")), -EPERM);
	assert_non_null(strstr(error.text, "65533"));
	assert_int_equal(access(in_place("his/below"), F_OK), -1);
	rmdir(in_place("his"));
}

/* A service's user has it from root; in a directory where others can make theirs, nobody knows. */
static void test_given_away(void **state)
{
	char given[] = "/run/p2pnic-test-XXXXXX";
	int fd;

	if (geteuid() != 0 || !mkdtemp(given))
		skip();
	assert_int_equal(chown(given, STRANGER, STRANGER), 0);
	fd = runtime_directory(given, false, &error);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(runtime_directory(given, true, &error), -EPERM);
	assert_int_equal(chmod(given, 0770), 0);
	assert_int_equal(runtime_directory(given, false, &error), -EPERM);
	assert_int_equal(rmdir(given), 0);
	make_directory(in_place("his"), 0700);
	assert_int_equal(chown(in_place("his"), STRANGER, STRANGER), 0);
	assert_int_equal(runtime_directory(in_place("his"), false, &error), -EPERM);
	rmdir(in_place("his"));
}

/* Where only we can write a link is as good as a directory; elsewhere it may be anybody's. */
static void test_links(void **state)
{
	make_directory(in_place("real"), 0700);
	make_directory(in_place("sticky"), 01777);
	assert_int_equal(symlink("real", in_place("link")), 0);
	assert_int_equal(symlink(in_place("real"), in_place("absolute")), 0);
	assert_int_equal(symlink("loop", in_place("loop")), 0);
	assert_int_equal(symlink("../real", in_place("sticky/link")), 0);
	assert_int_equal(try(in_place("link/run")), 0);
	assert_int_equal(try(in_place("absolute/run")), 0);
	assert_int_equal(try(in_place("loop")), -ELOOP);
	assert_int_equal(try(in_place("loop/x")), -ELOOP);
	assert_int_equal(try(in_place("sticky/link")), -EPERM);
	assert_non_null(strstr(error.text, "symbolic link"));
	assert_int_equal(try(in_place("sticky/link/run")), -EPERM);
	assert_int_equal(access(in_place("real/run"), F_OK), -1);
	unlink(in_place("link"));
	unlink(in_place("absolute"));
	unlink(in_place("loop"));
	unlink(in_place("sticky/link"));
	rmdir(in_place("sticky"));
	rmdir(in_place("real"));
}

/* What lies where the lock should be is neither followed nor changed. */
static void test_lock_is_something_else(void **state)
{
	char path[300];
	int fd;

	make_directory(in_place("d"), 0700);
	snprintf(path, sizeof(path), "%s", in_place("d/lock"));
	assert_int_equal(symlink("../victim", path), 0);
	assert_int_equal(try(in_place("d")), -ELOOP);
	assert_int_equal(access(in_place("victim"), F_OK), -1);
	unlink(path);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(try(in_place("d")), -EPERM);
	unlink(path);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(try(in_place("d")), -EISDIR);
	rmdir(path);
	fd = open(in_place("file"), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(try(in_place("file")), -ENOTDIR);
	assert_int_equal(try(in_place("file/below")), -ENOTDIR);
	unlink(in_place("file"));
	rmdir(in_place("d"));
}

static void test_names(void **state)
{
	char longer[400], longest[5000];

	snprintf(longer, sizeof(longer), "%s/%0300d", place, 1);
	assert_int_equal(try(longer), -ENAMETOOLONG);
	memset(longest, 'x', sizeof(longest) - 1);
	longest[0] = '/';
	longest[sizeof(longest) - 1] = 0;
	assert_int_equal(try(longest), -ENAMETOOLONG);
}

#define STARTERS 4
#define ROUNDS   150

/* Routers that start and stop all the time, some of them leaving the lock behind: never two at
 * once. */
static void test_one_at_a_time(void **state)
{
	struct shared {
		_Atomic unsigned inside, met, held;
	} *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	const char *path = in_place("contended");

	assert_true(shared != MAP_FAILED);
	for (unsigned k = 0; k < STARTERS; k++) {
		pid_t pid = fork();

		assert_true(pid >= 0);
		if (pid)
			continue;
		for (unsigned round = 0; round < ROUNDS;) {
			struct runtime r;
			int result = runtime_open(&r, path, &error);

			if (result == -EBUSY || result == -EAGAIN) {
				sched_yield();
				continue;
			}
			if (result) {
				fprintf(stderr, "%s\n", error.text);
				_exit(1);
			}
			shared->met += atomic_fetch_add(&shared->inside, 1) != 0;
			sched_yield();
			atomic_fetch_sub(&shared->inside, 1);
			shared->held++;
			runtime_close(&r, path, (round++ + k) % 4 != 0);
		}
		_exit(0);
	}
	for (unsigned k = 0; k < STARTERS; k++) {
		int status;

		assert_true(wait(&status) > 0);
		assert_int_equal(status, 0);
	}
	assert_int_equal(shared->held, STARTERS * ROUNDS);
	assert_int_equal(shared->met, 0);
	munmap(shared, 4096);
	assert_int_equal(try(path), 0);
}

static void test_descriptors_flat(void **state)
{
	const unsigned before = open_descriptors();

	test_made(state);
	test_writable(state);
	test_links(state);
	test_lock_is_something_else(state);
	test_names(state);
	assert_int_equal(open_descriptors(), before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_made),
		cmocka_unit_test(test_relative),
		cmocka_unit_test(test_long_name),
		cmocka_unit_test(test_writable),
		cmocka_unit_test(test_strangers),
		cmocka_unit_test(test_given_away),
		cmocka_unit_test(test_links),
		cmocka_unit_test(test_lock_is_something_else),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_one_at_a_time),
		cmocka_unit_test(test_descriptors_flat),
	};
	int failed;

	if (!mkdtemp(place))
		return 1;
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	return rmdir(place) || failed;
}
