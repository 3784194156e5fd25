/* SPDX-License-Identifier: BSD-3-Clause */
/* Programs that the lab starts: what becomes of them, what they say, and calls that fail. */
#include "inject.h"
#include "lab/child.h"
#include "tests/unit/descriptors.h"

#include <setjmp.h>
#include <stdarg.h>
/* cmocka wants those first. */
#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static struct error error;

/* The call that fails, once, and why; calls that inject.h does not have. */
static const char *failing = "";
static int reason;

static bool fails(const char *call, int why)
{
	if (strcmp(failing, call) != 0)
		return false;
	failing = "";
	errno = reason = why;
	return true;
}

#define FAILING(type, name, why, failure, parameters, arguments)                                   \
	type __real_##name parameters;                                                             \
	type __wrap_##name parameters;                                                             \
	type __wrap_##name parameters                                                              \
	{                                                                                          \
		return fails(#name, why) ? failure : __real_##name arguments;                      \
	}

FAILING(pid_t, fork, EAGAIN, -1, (void), ())
FAILING(DIR *, opendir, EMFILE, NULL, (const char *path), (path))
FAILING(int, setns, EPERM, -1, (int fd, int type), (fd, type))
FAILING(long, syscall, EMFILE, -1, (long number, long pid, long flags), (number, pid, flags))
FAILING(pid_t, waitpid, ECHILD, -1, (pid_t pid, int *status, int flags), (pid, status, flags))
FAILING(ssize_t, write, ENOSPC, -1, (int fd, const void *data, size_t bytes), (fd, data, bytes))

static int run_shell(const char *script, const char *input)
{
	const char *const argv[] = {"sh", "-c", script, NULL};

	error.text[0] = '\0';
	return command_run(NULL, argv, input, &error);
}

static void test_ends(void **state)
{
	const char *const nothing[] = {"no-such-program", NULL};

	assert_int_equal(run_shell("exit 0", NULL), 0);
	assert_int_equal(run_shell("exit 3", NULL), -ECHILD);
	assert_string_equal(error.text, "sh: No child processes");
	assert_int_equal(run_shell("echo why >&2; echo more; exit 1", NULL), -ECHILD);
	assert_string_equal(error.text, "sh: why"); /* the first line */
	assert_int_equal(run_shell("kill -9 $$", NULL), -ECHILD);
	/* Reads what it is given, to the end; nothing, if nothing is given. */
	assert_int_equal(run_shell("test \"$(cat)\" = 'two words'", "two words"), 0);
	assert_int_equal(run_shell("test -z \"$(cat)\"", NULL), 0);
	assert_int_equal(command_run(NULL, nothing, NULL, &error), -ECHILD);
	assert_string_equal(
		error.text, "no-such-program: no-such-program: No such file or directory");
	assert_int_equal(command_run("no-such-namespace", nothing, NULL, &error), -ECHILD);
	assert_non_null(strstr(error.text, "No such file or directory"));
	assert_int_equal(namespace_enter("no-such-namespace"), -ENOENT);
	assert_false(namespace_exists("no-such-namespace"));
	assert_int_equal(namespace_kill("no-such-namespace"), 0);
}

static void test_waits(void **state)
{
	const char *const sleeps[] = {"sleep", "1000", NULL};
	const char *const dies[] = {"sh", "-c", "echo said; kill -TERM $$", NULL};
	struct child c;
	char *text;

	/* What does not end in time is ended. */
	assert_int_equal(child_start(&c, NULL, sleeps, NULL, false), 0);
	assert_false(child_ended(&c, 0));
	assert_int_equal(child_wait(&c, 0), -ETIMEDOUT);
	assert_true(child_ended(&c, 0));
	assert_int_equal(child_wait(&c, 0), -ESRCH);
	child_free(&c);
	/* So is what is let go of. */
	assert_int_equal(child_start(&c, NULL, sleeps, NULL, true), 0);
	pid_t pid = c.pid;
	child_free(&c);
	assert_int_equal(kill(pid, 0), -1);
	child_free(&c); /* twice does no harm */

	assert_int_equal(child_start(&c, NULL, dies, NULL, false), 0);
	assert_int_equal(child_wait(&c, 10000), 128 + SIGTERM);
	text = child_output(&c);
	assert_string_equal(text, "said\n");
	free(text);
	inject_one("fstat64", 0, ENOMEM);
	assert_null(child_output(&c));
	inject_one("malloc", 0, ENOMEM);
	assert_null(child_output(&c));
	child_free(&c);
}

/* In the child nothing is made to fail. */
static int starts(void *context)
{
	const char *const argv[] = {"true", NULL};
	struct child c;

	inject_arm();
	int result = child_start(&c, NULL, argv, context, false);
	inject_disarm();
	if (!result) {
		result = child_wait(&c, 10000);
		child_free(&c);
	}
	return result;
}

static void test_start_fails(void **state)
{
	assert_true(inject_each(starts, NULL, NULL) >= 2);
	assert_true(inject_each(starts, (void *)"input", NULL) >= 2);
}

/* What fails is said; neither a process nor a descriptor stays. */
static void test_command_fails(void **state)
{
	static const char *const calls[] = {"fork", "syscall", "write"};
	static const char *const argv[] = {"cat", NULL};
	const unsigned before = open_descriptors();
	struct child c;
	int result;

	for (unsigned k = 0; k < sizeof(calls) / sizeof(*calls); k++) {
		char wanted[64];

		failing = calls[k];
		result = child_start(&c, NULL, argv, "input", false);
		assert_int_equal(result, -reason);
		assert_int_equal(c.pid, 0);
		child_free(&c);
		failing = calls[k];
		result = command_run(NULL, argv, "input", &error);
		assert_int_equal(result, -reason);
		snprintf(wanted, sizeof(wanted), "cat: %s", strerror(reason));
		assert_string_equal(error.text, wanted);
		assert_int_equal(open_descriptors(), before);
		assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	}
	/* Somebody else has waited for it. */
	failing = "waitpid";
	assert_int_equal(command_run(NULL, argv, NULL, &error), -ECHILD);
	assert_int_equal(open_descriptors(), before);
	assert_true(waitpid(-1, NULL, 0) <= 0);
}

/* Without PATH as with one that is too long: the system's own places, or its own value. */
static void test_path(void **state)
{
	static char longest[5000];
	char *path = strdup(getenv("PATH"));

	assert_int_equal(
		run_shell("case $PATH in *:/usr/sbin:/sbin) ;; *) exit 1;; esac", NULL), 0);
	memset(longest, 'x', sizeof(longest) - 1);
	memcpy(longest, "/bin:", 5);
	setenv("PATH", longest, 1);
	assert_int_equal(run_shell("test ${#PATH} = 4999", NULL), 0);
	unsetenv("PATH");
	assert_int_equal(run_shell("exit 0", NULL), 0);
	setenv("PATH", path, 1);
	free(path);
}

/* A namespace that is none, where namespaces are looked for. */
static void test_namespace(void **state)
{
	static const char *const argv[] = {"true", NULL};
	const char *name = "p2pnic-test-none";
	char path[64];

	if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
		mount("none", "/run", "tmpfs", 0, NULL) < 0)
		skip();
	assert_int_equal(mkdir(NAMESPACE_DIRECTORY, 0755), 0);
	snprintf(path, sizeof(path), "%s/%s", NAMESPACE_DIRECTORY, name);
	close(open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
	assert_true(namespace_exists(name));
	assert_int_equal(namespace_enter(name), -EINVAL);
	failing = "setns";
	assert_int_equal(namespace_enter(name), -EPERM);
	assert_int_equal(command_run(name, argv, NULL, &error), -ECHILD);
	assert_string_equal(error.text, "true: true: Invalid argument");
	/* Nobody is in it: nobody is killed, this process least of all. */
	assert_int_equal(namespace_kill(name), 0);
	failing = "opendir";
	assert_int_equal(namespace_kill(name), 0);
	assert_int_equal(umount("/run"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ends),
		cmocka_unit_test(test_waits),
		cmocka_unit_test(test_start_fails),
		cmocka_unit_test(test_command_fails),
		cmocka_unit_test(test_path),
		cmocka_unit_test(test_namespace),
	};

	pthread_atfork(NULL, NULL, inject_disarm);

	return cmocka_run_group_tests(tests, NULL, NULL);
}
