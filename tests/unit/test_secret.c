/* SPDX-License-Identifier: BSD-3-Clause */
/* A secret among a port's options: by a descriptor, not in the arguments; calls that fail leave
 * nothing. */
#include "inject.h"
#include "ipc/secret.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
/* cmocka wants those first. */
#include <cmocka.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static void holds(int fd, const char *wanted)
{
	char value[64];
	ssize_t n = pread(fd, value, sizeof(value) - 1, 0);

	assert_true(n >= 0);
	value[n] = 0;
	assert_string_equal(value, wanted);
}

static void test_goes_by_descriptor(void **state)
{
	static const struct {
		const char *options, *before, *value, *after;
	} cases[] = {
		{"secret=open", "", "open", ""},
		{"role=server,secret=a b=c", "role=server,", "a b=c", ""},
		{"secret=x,id=3", "", "x", ",id=3"},
		{"secret=,id=3", "", "", ",id=3"},
		/* Another option's name may end likewise. */
		{"nosecret=1,secret=y,id=3", "nosecret=1,", "y", ",id=3"},
	};
	char text[128], wanted[128];

	for (unsigned k = 0; k < sizeof(cases) / sizeof(*cases); k++) {
		int fd = secret_to_fd(cases[k].options, text, sizeof(text));

		assert_true(fd >= 0);
		holds(fd, cases[k].value);
		snprintf(wanted, sizeof(wanted), "%ssecret-fd=%d%s", cases[k].before, fd,
			cases[k].after);
		assert_string_equal(text, wanted);
		close(fd);
	}
}

static void test_none(void **state)
{
	static const char *const none[] = {
		"", "role=server", "nosecret=1", "secret-fd=3", "secret"};
	char text[32], argument[32];

	for (unsigned k = 0; k < sizeof(none) / sizeof(*none); k++) {
		assert_int_equal(secret_to_fd(none[k], text, sizeof(text)), -ENOENT);
		assert_string_equal(text, none[k]);
		strcpy(argument, none[k]);
		assert_ptr_equal(secret_hide(argument), argument);
		assert_string_equal(argument, none[k]);
	}
}

static const char *refused; /* options */
static size_t room;

static int refuses(void *context)
{
	char text[64];

	inject_arm();
	int fd = secret_to_fd(refused, text, room);
	inject_disarm();
	assert_int_equal(fd, inject_failed() ? inject_error() : -EINVAL);
	return 0; /* inject_each sees that no descriptor stays */
}

static void test_refused(void **state)
{
	refused = "secret=one,secret=two";
	room = 64;
	assert_int_equal(inject_each(refuses, NULL, NULL), 1);
	refused = "role=server,secret=one";
	room = sizeof("role=server,secret-fd=") - 1;
	assert_int_equal(inject_each(refuses, NULL, NULL), 1);
	refused = "role=server";
	room = strlen(refused);
	assert_int_equal(inject_each(refuses, NULL, NULL), 0);
}

/* What cannot be written whole is no secret. */
static void test_no_room(void **state)
{
	struct rlimit before, none;
	char text[64], argument[] = "role=server,secret=open";

	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	none = before;
	none.rlim_cur = 2;
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
	int result = secret_to_fd("secret=open", text, sizeof(text));
	char *hidden = secret_hide(argument);

	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	signal(SIGXFSZ, SIG_DFL);
	assert_int_equal(result, -EIO);
	assert_null(hidden);
	assert_string_equal(argument, "role=server,secret=open");
}

static int hides(void *context)
{
	char argument[] = "server,secret=open,id=3", wanted[64];

	inject_arm();
	char *hidden = secret_hide(argument);
	inject_disarm();
	if (!hidden) {
		assert_string_equal(argument, "server,secret=open,id=3");
		return inject_error();
	}
	assert_string_equal(argument, "server,secret=xxxx,id=3");
	int fd = atoi(strstr(hidden, "secret-fd=") + strlen("secret-fd="));

	holds(fd, "open");
	snprintf(wanted, sizeof(wanted), "server,secret-fd=%d,id=3", fd);
	assert_string_equal(hidden, wanted);
	close(fd);
	free(hidden);
	inject_forget();
	return 0;
}

static void test_hidden(void **state)
{
	assert_int_equal(inject_each(hides, NULL, NULL), 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_goes_by_descriptor),
		cmocka_unit_test(test_none),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_no_room),
		cmocka_unit_test(test_hidden),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
