/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/unit/config_rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

char file[] = "/tmp/p2pnic-test-config-XXXXXX";

int begin(void **state)
{
	const int fd = mkstemp(file);

	return fd < 0 ? -1 : close(fd);
}

int end(void **state)
{
	return unlink(file);
}

void write_file(const char *text)
{
	FILE *f = fopen(file, "w");

	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

struct config *load(const char *text)
{
	struct config *config = NULL;
	struct error error = {""};

	write_file(text);
	if (config_load(&config, file, &error) != 0)
		fail_msg("%s", error.text);
	return config;
}
