/* SPDX-License-Identifier: BSD-3-Clause */
/* The sentence of an error: its code, itself as an argument, its end. */
#include "ipc/error.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void test_code(void **unused)
{
	struct error error;

	assert_int_equal(error_set(&error, -ENOENT, "%s:%u: absent", "file", 7u), -ENOENT);
	assert_string_equal(error.text, "file:7: absent");
}

static void test_made_from_itself(void **unused)
{
	struct error error = {"no answer"};

	assert_int_equal(
		error_set(&error, -ETIMEDOUT, "nic %s: %s", "left", error.text), -ETIMEDOUT);
	assert_string_equal(error.text, "nic left: no answer");
}

static void test_cut(void **unused)
{
	struct error error = {"no answer"};
	char path[2 * sizeof(error.text)];

	memset(path, 'x', sizeof(path) - 1);
	path[sizeof(path) - 1] = 0;
	assert_int_equal(error_set(&error, -EINVAL, "%s: %s", path, error.text), -EINVAL);
	assert_int_equal(strlen(error.text), sizeof(error.text) - 1);
	assert_memory_equal(error.text, path, sizeof(error.text) - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_code),
		cmocka_unit_test(test_made_from_itself),
		cmocka_unit_test(test_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
