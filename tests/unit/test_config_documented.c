/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What is written about the configuration file is complete, and every file of packaging/examples
 * loads.
 *
 *     test_config_documented SOURCE-DIRECTORY
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "router/config.h"

#include <p2pnic/registers.h>

#include <glob.h>
#include <stdio.h>
#include <string.h>

static const char *root = ".";

static void test_examples(void **state)
{
	char pattern[4096];
	glob_t found;

	snprintf(pattern, sizeof(pattern), "%s/packaging/examples/*.yaml", root);
	assert_int_equal(glob(pattern, 0, NULL, &found), 0);
	for (size_t k = 0; k < found.gl_pathc; k++) {
		struct config *config;
		struct error error;

		if (config_load(&config, found.gl_pathv[k], &error) != 0)
			fail_msg("%s", error.text);
		config_free(config);
	}
	globfree(&found);
}

static char *read_source(const char *name)
{
	static char text[4][1 << 18];
	static unsigned next;
	char *to = text[next++ % 4], source[4096];
	FILE *f;

	snprintf(source, sizeof(source), "%s/%s", root, name);
	f = fopen(source, "r");
	assert_non_null(f);
	to[fread(to, 1, sizeof(text[0]) - 1, f)] = 0;
	fclose(f);
	return to;
}

/* Every key of the schema stands in the manual, in the man page and in the complete example. */
static void test_documented(void **state)
{
	static const char *const marks[] = {"\n\tTEXT(", "\n\tTEXTS(", "\n\tNUMBER(", "\n\tPOWER(",
		"\n\tCORE(", "\n\tSWITCH(", "\n\tMAPPING(", "\n\tPOINTED(", "\n\tLIST("};
	const char *schema = read_source("router/config_schema.c");
	const char *manual = read_source("docs/operations.md");
	const char *page = read_source("docs/man/p2pnic.yaml.5.scd");
	const char *example = read_source("packaging/examples/complete.yaml");
	unsigned keys = 0;

	for (size_t k = 0; k < sizeof(marks) / sizeof(*marks); k++)
		for (const char *at = schema; (at = strstr(at, marks[k]));) {
			char key[64], text[80];
			int n;

			at += strlen(marks[k]);
			n = (int)strcspn(at, ",\"");
			snprintf(key, sizeof(key), "%.*s", n, at);
			snprintf(text, sizeof(text), "%s`", key);
			if (!strstr(manual, text) &&
				!(snprintf(text, sizeof(text), "**%s**", key) > 0 &&
					strstr(manual, text)))
				fail_msg("docs/operations.md lacks the key %s", key);
			snprintf(text, sizeof(text), "*%s*", key);
			if (!strstr(page, text))
				fail_msg("p2pnic.yaml(5) lacks the key %s", key);
			snprintf(text, sizeof(text), "%s:", key);
			if (!strstr(example, text))
				fail_msg("complete.yaml lacks the key %s", key);
			keys++;
		}
	assert_true(keys >= 30);
}

/* Every drop reason has its line of advice. */
static void test_drops_documented(void **state)
{
	const char *manual = strstr(read_source("docs/operations.md"), "\n## Drops");
	static const char *const names[] = {
#define NAME(symbol, name, meaning) name,
		P2PNIC_DROP_REASONS(NAME)
#undef NAME
	};
	char *end;

	assert_non_null(manual);
	end = strstr(manual + 1, "\n## ");
	assert_non_null(end);
	*end = 0;
	for (size_t k = 0; k < sizeof(names) / sizeof(*names); k++) {
		char first[64], later[64];

		snprintf(first, sizeof(first), "\n| %s", names[k]);
		snprintf(later, sizeof(later), ", %s", names[k]);
		if (!strstr(manual, first) && !strstr(manual, later))
			fail_msg("docs/operations.md says nothing about the drop reason %s",
				names[k]);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_examples),
		cmocka_unit_test(test_documented),
		cmocka_unit_test(test_drops_documented),
	};

	if (argc > 1)
		root = argv[1];
	return cmocka_run_group_tests(tests, NULL, NULL);
}
