/* SPDX-License-Identifier: BSD-3-Clause */
/* Secrets in a line of text, whatever it is a line of. */
#include "cli/redact.h"
#include "tests/unit/seed.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct {
	const char *line, *clean;
	unsigned removed;
} cases[] = {
	{"", "", 0},
	{"nothing: here", "nothing: here", 0},
	{"password: hunter2", "password: REMOVED", 1},
	{"  bgp_password : hunter2 of mine # comment", "  bgp_password : REMOVED", 1},
	{"options: \"role=client,secret=abc def,id=0\"",
		"options: \"role=client,secret=REMOVED,id=0\"", 1},
	{"{options: secret=abc, id: 1}", "{options: secret=REMOVED, id: 1}", 1},
	{"{\"MD5\": \"a,b]c\\\"d\", \"x\": 1}", "{\"MD5\": \"REMOVED\", \"x\": 1}", 1},
	{"{'token' = 'a}b', 'n': 2}", "{'token' = 'REMOVED', 'n': 2}", 1},
	{"{\"ikey\":7,\"okey\":8}", "{\"ikey\":REMOVED,\"okey\":REMOVED}", 2},
	{"PSK=", "PSK=", 0},
	{"key: \"\"", "key: \"\"", 0},
	{"secret=a=b:c", "secret=REMOVED", 1},
	{"the password is not given", "the password is not given", 0},
	{"bypass: mitigated", "bypass: mitigated", 0},
	{"pass: a", "pass: REMOVED", 1},
	{"smtp_pass=a", "smtp_pass=REMOVED", 1},
	{"keyword: stays", "keyword: stays", 0},
	{"file: /home/ann/table.txt, /home/bob", "file: /home/REMOVED/table.txt, /home/REMOVED", 2},
	{"/home/", "/home/", 0},
	{"fd00::1 10.0.0.0/8 02:00:00:00:00:01", "fd00::1 10.0.0.0/8 02:00:00:00:00:01", 0},
};

static void test_lines(void **state)
{
	char clean[256];

	for (size_t k = 0; k < sizeof(cases) / sizeof(*cases); k++) {
		unsigned removed = redact(cases[k].line, clean, sizeof(clean));

		assert_string_equal(clean, cases[k].clean);
		assert_int_equal(removed, cases[k].removed);
	}
}

/* A secret that fills no line is cut with it, and never read beyond. */
static void test_room(void **state)
{
	static const char line[] = "a secret: \"0123456789\", b";
	char clean[64];

	for (size_t room = 1; room < sizeof(clean); room++) {
		memset(clean, 'x', sizeof(clean));
		redact(line, clean, room);
		assert_true(strlen(clean) < room);
		assert_null(strstr(clean, "012"));
		assert_true(room == sizeof(clean) || clean[room] == 'x');
	}
}

/* Whatever stands around it: no digit of the secret remains. */
static void test_random(void **state)
{
	static const char around[] = "abc :=\"'{}[],\\ /home";
	unsigned seed = (unsigned)test_seed();

	for (unsigned n = 0; n < 20000; n++) {
		char line[128], clean[512];
		size_t used = 0;

		for (unsigned k = rand_r(&seed) % 20; k--;)
			line[used++] = around[(unsigned)rand_r(&seed) % (sizeof(around) - 1)];
		used += (size_t)sprintf(line + used, "secret=987654");
		for (unsigned k = rand_r(&seed) % 20; k--;)
			line[used++] = around[(unsigned)rand_r(&seed) % (sizeof(around) - 1)];
		line[used] = 0;
		redact(line, clean, sizeof(clean));
		if (strstr(clean, "987654"))
			fail_msg("'%s' is '%s'", line, clean);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lines),
		cmocka_unit_test(test_room),
		cmocka_unit_test(test_random),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
