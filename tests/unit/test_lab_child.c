/* SPDX-License-Identifier: BSD-3-Clause */
/* Programs that the lab starts: what becomes of them, what they say, and calls that fail. */
#include "inject.h"
#include "lab/child.h"

#include <setjmp.h>
#include <stdarg.h>
/* cmocka wants those first */
#include <cmocka.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char error[256];

static int run_shell(const char *script, const char *input)
{
	const char *const argv[] = {"sh", "-c", script, NULL};

	error[0] = '\0';
	return command_run(NULL, argv, input, error, sizeof(error));
}

static void test_ends(void **state)
{
	const char *const nothing[] = {"no-such-program", NULL};

	assert_int_equal(run_shell("exit 0", NULL), 0);
	assert_int_equal(run_shell("exit 3", NULL), -ECHILD);
	assert_string_equal(error, "sh: No child processes");
	assert_int_equal(run_shell("echo why >&2; echo more; exit 1", NULL), -ECHILD);
	assert_string_equal(error, "sh: why"); /* the first line */
	assert_int_equal(run_shell("kill -9 $$", NULL), -ECHILD);
	/* Reads what it is given, to the end; nothing, if nothing is given. */
	assert_int_equal(run_shell("test \"$(cat)\" = 'two words'", "two words"), 0);
	assert_int_equal(run_shell("test -z \"$(cat)\"", NULL), 0);
	assert_int_equal(command_run(NULL, nothing, NULL, error, sizeof(error)), -ECHILD);
	assert_string_equal(error, "no-such-program: no-such-program: No such file or directory");
	assert_int_equal(
		command_run("no-such-namespace", nothing, NULL, error, sizeof(error)), -ECHILD);
	assert_non_null(strstr(error, "No such file or directory"));
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ends),
		cmocka_unit_test(test_waits),
		cmocka_unit_test(test_start_fails),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
