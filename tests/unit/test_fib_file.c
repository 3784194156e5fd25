/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <lzma.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fib/route_file.h"
#include "fib/synthetic.h"

static int read_bytes(const void *bytes, size_t n, struct route_table *table, struct error *error)
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
	assert_int_equal(table->ipv4.route[1].next_hop, 65); /* 1 to 64 are those of AS numbers */
	assert_int_equal(table->ipv4.route[1].length, 25);
	assert_int_equal(table->ipv4.route[2].next_hop, 65);
	assert_int_equal(table->ipv4.route[2].length, 32);
	assert_true(table->ipv6.route[0].prefix.high == 0x20010db800000000u);
	assert_int_equal(table->ipv6.route[1].next_hop, 66);
	assert_int_equal(table->spread, 64);
	assert_int_equal(table->named, 2);
	assert_null(route_table_named(table, 0));
	assert_null(route_table_named(table, 64));
	assert_null(route_table_named(table, 67));
	assert_int_equal(route_table_named(table, 65)->family, 4);
	assert_int_equal(route_table_named(table, 66)->family, 6);
}

static void plain_and_xz(void **state)
{
	struct error error;
	struct route_table table;
	uint8_t packed[4096];
	size_t n = 0;

	assert_int_equal(read_bytes(good, strlen(good), &table, &error), 0);
	assert_good(&table);
	route_table_free(&table);
	assert_int_equal(lzma_easy_buffer_encode(6, LZMA_CHECK_CRC64, NULL, (const uint8_t *)good,
				 strlen(good), packed, &n, sizeof packed),
		LZMA_OK);
	assert_int_equal(read_bytes(packed, n, &table, &error), 0);
	assert_good(&table);
	route_table_free(&table);
	/* Cut short or damaged: an error, not half a table. */
	assert_int_not_equal(read_bytes(packed, n - 20, &table, &error), 0);
	route_table_free(&table);
	packed[n / 2] ^= 0x40;
	assert_int_not_equal(read_bytes(packed, n, &table, &error), 0);
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
		{"192.0.2.0/024 1\n", "is no prefix"},
		{"192.0.2.0/24 01\n", "neither an AS number nor an address"},
		{"192.0.2.0/24 1\n\x01\x02\x03 1\n", ":2: byte 0x01 at place 1 is no text"},
		{"192.0.2.0/24 1\n192.0.2.0/25 1\r \n", ":2: byte 0x0d at place 15 is no text"},
		{"192.0.2.0/24 1\n# \x80\n", ":2: byte 0x80 at place 3 is no text"},
		{"", ":1: the file ends without a route"},
		{"# none\n\n", ":2: the file ends without a route"},
		{"empty\n192.0.2.0/24 1\n", ":2: the line 'empty' stands in a table"},
	};
	struct error error;
	struct route_table table;
	char *endless = malloc(100000);

	for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		assert_int_equal(
			read_bytes(bad[i].text, strlen(bad[i].text), &table, &error), -EINVAL);
		if (!strstr(error.text, bad[i].says))
			fail_msg("'%s' does not say '%s'", error.text, bad[i].says);
		route_table_free(&table);
	}
	memset(endless, '1', 100000);
	assert_int_equal(read_bytes(endless, 100000, &table, &error), -EINVAL);
	free(endless);
	route_table_free(&table);
	assert_int_equal(route_file_read("/nonexistent/routes", 64, &table, &error), -ENOENT);
	assert_non_null(strstr(error.text, "/nonexistent/routes"));
}

/* Text comes by length, not up to the first zero. */
static void zeros(void **state)
{
	static const char cut[] = "192.0.2.0/24 1\n192.0.2.0/25 1\0\n", none[4096];
	struct error error;
	struct route_table table;

	assert_int_equal(read_bytes(cut, sizeof cut - 1, &table, &error), -EINVAL);
	assert_non_null(strstr(error.text, ":2: byte 0x00 at place 15 is no text"));
	route_table_free(&table);
	assert_int_equal(read_bytes(none, sizeof none, &table, &error), -EINVAL);
	assert_non_null(strstr(error.text, ":1: byte 0x00 at place 1 is no text"));
	route_table_free(&table);
}

static void empty(void **state)
{
	struct error error;
	struct route_table table;

	assert_int_equal(read_bytes("# moved away\n empty # so\n", 25, &table, &error), 0);
	assert_int_equal(table.ipv4.n + table.ipv6.n, 0);
	route_table_free(&table);
}

static void append(const char *path, const char *text)
{
	FILE *f = fopen(path, "a");

	assert_non_null(f);
	fputs(text, f);
	assert_int_equal(fclose(f), 0);
}

/* It is cut, or added to, or written over, after its first line was read. */
static int meddle(void *context, const struct route_line *line, struct error *reason)
{
	static const struct timespec past[2] = {{1, 0}, {1, 0}};
	const char **what = context;

	if (!what[0])
		return 0;
	if (*what[1] == '-')
		assert_int_equal(truncate(what[0], 100), 0);
	else if (*what[1] == '+')
		append(what[0], "198.51.100.0/24 1\n");
	else if (*what[1] == '=')
		assert_int_equal(utimensat(AT_FDCWD, what[0], past, 0), 0);
	else
		assert_int_equal(rename(what[0], what[2]), 0);
	what[0] = NULL; /* once */
	return 0;
}

static void changes_meanwhile(void **state)
{
	for (const char *how = "-+=m"; *how; how++) {
		char path[] = "/tmp/p2pnic-routes-XXXXXX";
		struct error error = {""};
		FILE *f = fdopen(mkstemp(path), "w");
		char moved[64];
		const char *what[] = {path, how, moved};
		int status;

		assert_non_null(f);
		snprintf(moved, sizeof moved, "%s.moved", path);
		for (unsigned k = 0; k < 10000; k++)
			fprintf(f, "10.%u.%u.0/24 1\n", k >> 8, k & 255);
		assert_int_equal(fclose(f), 0);
		status = route_file_each(path, meddle, what, &error);
		if (*how == 'm') { /* put aside, as by a new file of its name: this one is whole */
			assert_int_equal(status, 0);
		} else {
			assert_int_equal(status, -EINVAL);
			if (!strstr(error.text, "changed while it was read"))
				fail_msg("'%s'", error.text);
		}
		unlink(*how == 'm' ? moved : path);
	}
}

/* Two families, two sorts: no two next hops are one. */
static void next_hops(void **state)
{
	static const char text[] = "192.0.2.0/24 32.1.13.184\n192.0.3.0/24 2001:db8::\n"
				   "2001:db8:1::/48 2001:db8::\n192.0.4.0/24 64500\n";
	struct error error;
	struct route_table table;

	assert_int_equal(read_bytes(text, strlen(text), &table, &error), 0);
	assert_int_equal(table.named, 2);
	assert_int_equal(table.ipv4.route[0].next_hop, 65);
	assert_int_equal(table.ipv4.route[1].next_hop, 66);
	assert_int_equal(table.ipv6.route[0].next_hop, 66);
	assert_int_equal(table.ipv4.route[2].next_hop, route_file_next_hop(64500, 64));
	route_table_free(&table);
}

/* The made-up table: the real one's lengths, and a compiled size within 10 % of the real one's. */
static void synthetic(void **state)
{
	static const uint64_t real[2] = {1154624, 1388096};
	struct error error;
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
		struct fib *fib = fib_new(&config, &error);
		uint64_t bytes;

		assert_int_equal(fib_build(fib, list->route, list->n, &error), 0);
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
		cmocka_unit_test(zeros),
		cmocka_unit_test(empty),
		cmocka_unit_test(changes_meanwhile),
		cmocka_unit_test(next_hops),
		cmocka_unit_test(synthetic),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
