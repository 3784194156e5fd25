/* SPDX-License-Identifier: BSD-3-Clause */
/* Configuration and tester come into being while calls fail, one after the other. */
#include "inject.h"
#include "router/config.h"
#include "tester/prefixes.h"
#include "tester/tester.h"

#include <setjmp.h>
#include <stdarg.h>
/* cmocka wants those first. */
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char file[] = "/tmp/inject-config-XXXXXX";
static struct error error; /* for all */

/* The file of routes is itself: only that it is there matters. */
static const char config_text[] =
	"nics:\n"
	"  - {name: a, port: {type: pcap, target: \"x,y\"}, addresses: [10.0.1.1/24, fd00::1/64]}\n"
	"  - {name: b, port: {type: tap, target: t0}, addresses: [10.0.2.1/24]}\n"
	"neighbors:\n"
	"  - {nic: a, address: 10.0.1.2, mac: \"02:00:00:00:00:02\"}\n"
	"routes:\n"
	"  - {prefix: 198.18.0.0/15, via: 10.0.1.2}\n"
	"  - {prefix: 203.0.113.0/24, action: blackhole}\n"
	"route_files:\n"
	"  - {file: %s, via: [10.0.1.2]}\n";

static void write_config(void)
{
	FILE *f = fopen(file, "w");

	assert_non_null(f);
	assert_true(fprintf(f, config_text, file) > 0);
	assert_int_equal(fclose(f), 0);
}

/* --- Configuration ---------------------------------------------------------------------------- */

static int loads(void *context)
{
	struct config *config;

	(void)context;
	inject_arm();
	int result = config_load(&config, file, &error);
	inject_disarm();
	if (result == 0) {
		assert_int_equal(config->nics_count, 2);
		config_free(config);
	} else {
		assert_non_null(strstr(error.text, file));
	}
	return result;
}

static void test_config(void **state)
{
	write_config();
	assert_true(inject_each(loads, NULL, &error) >= 4);
}

static int replaces_ports(void *context)
{
	const struct config_port port[2] = {{.type = (char *)("tap"), .target = (char *)("t1")},
		{.type = (char *)("tap"), .target = (char *)("t2"), .options = (char *)("up")}};
	struct config *config;

	(void)context;
	assert_int_equal(config_load(&config, file, &error), 0);
	inject_arm();
	int result = config_replace_ports(config, port, "one", "/tmp/elsewhere");
	inject_disarm();
	if (result == 0)
		assert_string_equal(config->nics[1].port.options, "up");
	config_free(config);
	return result;
}

static void test_replaced_ports(void **state)
{
	write_config();
	assert_true(inject_each(replaces_ports, NULL, NULL) >= 8);
}

/* --- Tester ----------------------------------------------------------------------------------- */

static char capture[64];

static int opens_tester(void *context)
{
	const char *const ports[] = {capture};
	const struct tester_setup setup = {
		.pattern = "1in-1out", .frame_bytes = 64, .mode = TESTER_ROUTED};
	struct tester *t;

	inject_arm();
	int result = tester_open(&t, ports, 1, P2PNIC_BUFFER_BYTES_MIN, &error);
	if (!result) {
		result = tester_prepare(t, &setup, &error);
		inject_disarm();
		/* One port is too few for the pattern; its frames are made before that is known. */
		tester_close(t);
		if (result == -EINVAL && !inject_failed())
			result = 0;
		else if (result == -EINVAL)
			result = inject_error();
	}
	inject_disarm();
	unlink(capture + strlen("pcap:,"));
	return result;
}

static void test_tester(void **state)
{
	snprintf(capture, sizeof(capture), "pcap:,%s.out", file);
	assert_true(inject_each(opens_tester, NULL, &error) >= 8);
}

static int picks_prefixes(void *context)
{
	uint64_t *addresses;

	inject_arm();
	int result = prefixes_sample(context, 4, 4, 7, &addresses, &error);
	inject_disarm();
	if (!result)
		free(addresses);
	return result;
}

/* A file that cannot be looked at again may have changed while it was read. */
static bool picked_or_said(void *context, int result)
{
	return result == 0 || result == inject_error() ||
	       (result == -EINVAL && !strcmp(inject_failed(), "fstat64"));
}

static void test_prefixes(void **state)
{
	FILE *f = fopen(file, "w");

	assert_non_null(f);
	assert_true(fputs("10.0.0.0/8\n", f) > 0);
	assert_int_equal(fclose(f), 0);
	assert_true(inject_each_expect(picks_prefixes, file, picked_or_said, &error) >= 2);
}

static int builds_stream(void *context)
{
	const unsigned exits[] = {1};
	const struct stream_config config = {
		.exits = 1, .exit = exits, .frame_bytes = 64, .mode = TESTER_ROUTED};
	static uint8_t payload[STREAM_FRAME_MAX + 64];
	struct stream stream;

	stream_payload(payload);
	inject_arm();
	int result = stream_build(&stream, &config, payload);
	inject_disarm();
	if (!result)
		stream_free(&stream);
	return result;
}

static void test_stream(void **state)
{
	assert_int_equal(inject_each(builds_stream, NULL, NULL), 2);
}

static int opens_cores(void *context)
{
	struct cores *cores;

	inject_arm();
	int result = cores_open(&cores, 0);
	inject_disarm();
	if (!result)
		cores_close(cores);
	return result;
}

static void test_cores(void **state)
{
	assert_true(inject_each(opens_cores, NULL, NULL) >= 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_config),
		cmocka_unit_test(test_replaced_ports),
		cmocka_unit_test(test_tester),
		cmocka_unit_test(test_prefixes),
		cmocka_unit_test(test_stream),
		cmocka_unit_test(test_cores),
	};
	int fd = mkstemp(file);

	if (fd < 0)
		return 1;
	close(fd);
	int failures = cmocka_run_group_tests(tests, NULL, NULL);
	unlink(file);
	return failures;
}
