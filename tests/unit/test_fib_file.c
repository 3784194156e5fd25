/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <errno.h>
#include <lzma.h>
#include <stdio.h>
#include <unistd.h>

#include "fib/route_file.h"
#include "fib/synthetic.h"

static int read_bytes(const void *bytes, size_t n, struct route_table *table, char *error)
{
	char path[] = "/tmp/p2pnic-routes-XXXXXX";
	int fd = mkstemp(path), status;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, n), n);
	close(fd);
	memset(table, 0, sizeof *table);
	status = route_file_read(path, 64, table, error);
	unlink(path);
	return status;
}

static const char good[] = "# a table\n"
			   "192.0.2.0/24 64500\n"
			   "\n"
			   "  198.51.100.0/25\t203.0.113.1  # named\r\n"
			   "2001:db8::/32 64500\n"
			   "2001:db8:1::/48 fe80::1\n"
			   "203.0.113.9 203.0.113.1";

static void assert_good(const struct route_table *table)
{
	assert_int_equal(table->ipv4.n, 3);
	assert_int_equal(table->ipv6.n, 2);
	assert_int_equal(table->ipv4.route[0].next_hop, route_file_next_hop(64500, 64));
	assert_int_equal(table->ipv4.asn[0], 64500);
	assert_int_equal(table->ipv4.route[1].next_hop, 1);
	assert_int_equal(table->ipv4.route[1].length, 25);
	assert_int_equal(table->ipv4.route[2].next_hop, 1);
	assert_int_equal(table->ipv4.route[2].length, 32);
	assert_true(table->ipv6.route[0].prefix.high == 0x20010db800000000u);
	assert_int_equal(table->ipv6.route[1].next_hop, 2);
}

static void plain_and_xz(void **state)
{
	char error[FIB_ERROR_BYTES];
	struct route_table table;
	uint8_t packed[4096];
	size_t n = 0;

	assert_int_equal(read_bytes(good, strlen(good), &table, error), 0);
	assert_good(&table);
	route_table_free(&table);
	assert_int_equal(lzma_easy_buffer_encode(6, LZMA_CHECK_CRC64, NULL, (const uint8_t *)good,
				 strlen(good), packed, &n, sizeof packed),
		LZMA_OK);
	assert_int_equal(read_bytes(packed, n, &table, error), 0);
	assert_good(&table);
	route_table_free(&table);
	/* Cut short or damaged: an error, not half a table. */
	assert_int_not_equal(read_bytes(packed, n - 20, &table, error), 0);
	route_table_free(&table);
	packed[n / 2] ^= 0x40;
	assert_int_not_equal(read_bytes(packed, n, &table, error), 0);
	route_table_free(&table);
}

static void bad_lines(void **state)
{
	static const struct {
		const char *text, *says;
	} bad[] = {
		{"192.0.2.0/24 1\n192.0.2.0/33 1\n", ":2: '192.0.2.0/33' is no prefix"},
		{"192.0.2.1/24 1\n", "bits set beyond"},
		{"2001:db8::1/64 1\n", "bits set beyond"},
		{"192.0.2.0/24\n", "want PREFIX"},
		{"192.0.2.0/24 1 2\n", "want PREFIX"},
		{"192.0.2.0/24 x\n", "neither an AS number nor an address"},
		{"192.0.2.0/24 4294967296\n", "neither an AS number nor an address"},
		{"192.0.2.0/-1 1\n", "is no prefix"},
		{"192.0.2.0/ 1\n", "is no prefix"},
		{"\x01\x02\x03 1\n", "is no prefix"},
	};
	char error[FIB_ERROR_BYTES];
	struct route_table table;
	char *endless = malloc(100000);

	for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		assert_int_equal(
			read_bytes(bad[i].text, strlen(bad[i].text), &table, error), -EINVAL);
		if (!strstr(error, bad[i].says))
			fail_msg("'%s' does not say '%s'", error, bad[i].says);
		route_table_free(&table);
	}
	memset(endless, '1', 100000);
	assert_int_equal(read_bytes(endless, 100000, &table, error), -EINVAL);
	free(endless);
	route_table_free(&table);
	assert_int_equal(route_file_read("/nonexistent/routes", 64, &table, error), -ENOENT);
	assert_non_null(strstr(error, "/nonexistent/routes"));
}

/* The made-up table: the real one's lengths, and a compiled size within 10 % of the real one's. */
static void synthetic(void **state)
{
	static const uint64_t real[2] = {1154624, 1084416};
	char error[FIB_ERROR_BYTES];
	struct route_table table = {0};
	unsigned slash24 = 0;

	assert_int_equal(synthetic_table(&table, 64, 1), 0);
	assert_int_equal(table.ipv4.n, 1168945);
	assert_int_equal(table.ipv6.n, 279855);
	for (size_t i = 0; i < table.ipv4.n; i++)
		slash24 += table.ipv4.route[i].length == 24;
	assert_int_equal(slash24, 741888);
	for (unsigned six = 0; six < 2; six++) {
		const struct fib_config config = {six ? 6 : 4, P2PNIC_FIB_LINE_TRIE, 8u << 20};
		const struct route_list *list = six ? &table.ipv6 : &table.ipv4;
		struct fib *fib = fib_new(&config, error);
		uint64_t bytes;

		assert_int_equal(fib_build(fib, list->route, list->n, error), 0);
		assert_int_equal(fib_routes(fib), list->n);
		fib_image(fib, &bytes);
		assert_in_range(bytes, real[six] * 9 / 10, real[six] * 11 / 10);
		fib_free(fib);
	}
	route_table_free(&table);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(plain_and_xz),
		cmocka_unit_test(bad_lines),
		cmocka_unit_test(synthetic),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
