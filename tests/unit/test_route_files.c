/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tables from files: which route and gateway comes of each line, what wins over what, and how each
 * mistake is told.
 */
#include "router/config_routes.h"

#include "fib/route_file.h"
#include "router/rib.h"

#include <errno.h>
#include <lzma.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[] = "/tmp/p2pnic-test-route-files-XXXXXX";
static char configuration[64], plain[64], packed[64], other_file[64];

/* Routes begin in line 12. */
#define HEAD                                                                                       \
	"nics:\n"                                                                                  \
	"  - name: a\n"                                                                            \
	"    port: {type: pcap, target: \"x,y\"}\n"                                                \
	"    addresses: [10.0.0.1/24, \"fd00::1/64\"]\n"                                           \
	"  - name: b\n"                                                                            \
	"    port: {type: pcap, target: \"z,u\"}\n"                                                \
	"    addresses: [10.0.1.1/24]\n"                                                           \
	"neighbors:\n"                                                                             \
	"  - {nic: a, address: 10.0.0.10, mac: \"02:00:00:00:01:00\"}\n"                           \
	"  - {nic: a, address: \"fd00::10\", mac: \"02:00:00:00:01:00\"}\n"                        \
	"  - {nic: b, address: 10.0.1.10, mac: \"02:00:00:00:01:01\"}\n"
#define FILES "route_files:\n  - {file: table.txt}\n"
#define VIA   "route_files:\n  - {file: table.txt, via: [10.0.0.10, \"fd00::10\", 10.0.1.10]}\n"

static void write_file(const char *path, const void *bytes, size_t n)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_int_equal(fwrite(bytes, 1, n, f), n);
	assert_int_equal(fclose(f), 0);
}

struct compiled {
	struct config *config;
	struct next_hops *hops;
	struct routes routes;
	struct error error;
};

static struct mac_addr mac[2] = {{{2}}, {{2, 1}}};

static int compile(struct compiled *c, const char *yaml, const char *table)
{
	write_file(configuration, yaml, strlen(yaml));
	if (table)
		write_file(plain, table, strlen(table));
	*c = (struct compiled){.hops = next_hops_new()};
	assert_non_null(c->hops);
	if (config_load(&c->config, configuration, &c->error))
		fail_msg("%s", c->error.text);
	return config_routes(&c->routes, c->hops, c->config, mac, &c->error);
}

static void release(struct compiled *c)
{
	routes_free(&c->routes);
	free(c->hops);
	config_free(c->config);
}

static const struct route *find(const struct compiled *c, const char *text)
{
	struct route like = {0};
	unsigned length;

	like.family = (uint8_t)route_parse_prefix(text, &like.prefix, &length);
	like.length = (uint8_t)length;
	return routes_find(&c->routes, &like);
}

/* egress -1: no such route. */
static void assert_route(
	const struct compiled *c, const char *prefix, const char *source, int egress)
{
	const struct route *r = find(c, prefix);
	const struct p2pnic_adjacency *a;
	unsigned members;

	if (egress < 0) {
		assert_null(r);
		return;
	}
	if (!r)
		fail_msg("no route to %s", prefix);
	assert_string_equal(rib_source_name(r->source), source);
	a = next_hops_lead(c->hops, r->next_hop, &members);
	if (a->egress != egress || a->kind != P2PNIC_ADJACENCY_FORWARD)
		fail_msg("%s leads to NIC %u, kind %u", prefix, a->egress, a->kind);
}

static void test_named(void **state)
{
	struct compiled c;

	assert_int_equal(compile(&c, HEAD FILES,
				 "# a table\n198.51.100.0/24 10.0.0.10\n\n"
				 "198.51.101.0/24 10.0.1.10 # other\n198.51.102.7 10.0.1.10\n"
				 "2001:db8::/32 fd00::10\n0.0.0.0/0 10.0.1.10\n::/0 fd00::10"),
		0);
	assert_route(&c, "198.51.100.0/24", "file", 0);
	assert_route(&c, "198.51.101.0/24", "file", 1);
	assert_route(&c, "198.51.102.7/32", "file", 1);
	assert_route(&c, "2001:db8::/32", "file", 0);
	assert_route(&c, "0.0.0.0/0", "file", 1);
	assert_route(&c, "::/0", "file", 0);
	assert_route(&c, "198.51.103.0/24", "", -1);
	release(&c);
}

/* Nothing leads to a NIC that has not joined yet; of a group the other members are left, and of its
 * reasons to drop all. */
static void test_not_there_yet(void **state)
{
	static const char yaml[] = HEAD FILES
		"routes:\n"
		"  - {prefix: 203.0.0.0/24, via: 10.0.1.10}\n"
		"  - {prefix: 203.0.1.0/24, next_hops: [{via: 10.0.0.10}, {via: 10.0.1.10}]}\n"
		"  - {prefix: 203.0.2.0/24, next_hops: [{via: 10.0.1.10}]}\n"
		"  - {prefix: 203.0.3.0/24, action: blackhole}\n";
	static const char table[] = "198.51.100.0/24 10.0.0.10\n198.51.101.0/24 10.0.1.10\n";
	const struct mac_addr is = mac[1];
	struct compiled c;
	unsigned members;

	mac[1] = (struct mac_addr){{0}};
	assert_int_equal(compile(&c, yaml, table), 0);
	assert_route(&c, "198.51.100.0/24", "file", 0);
	assert_route(&c, "198.51.101.0/24", "", -1);
	assert_route(&c, "203.0.0.0/24", "", -1);
	assert_route(&c, "203.0.1.0/24", "static", 0);
	next_hops_lead(c.hops, find(&c, "203.0.1.0/24")->next_hop, &members);
	assert_int_equal(members, 1);
	assert_route(&c, "203.0.2.0/24", "", -1);
	assert_non_null(find(&c, "203.0.3.0/24"));
	assert_null(find(&c, "10.0.1.0/24"));
	assert_null(find(&c, "10.0.1.1/32"));
	assert_non_null(find(&c, "10.0.0.0/24"));
	release(&c);
	mac[1] = is;
	assert_int_equal(compile(&c, yaml, table), 0);
	assert_route(&c, "203.0.0.0/24", "static", 1);
	next_hops_lead(c.hops, find(&c, "203.0.1.0/24")->next_hop, &members);
	assert_int_equal(members, 2);
	release(&c);
	/* A mistake is one all the same. */
	mac[1] = (struct mac_addr){{0}};
	assert_int_equal(compile(&c, HEAD FILES, "198.51.100.0/24 10.9.9.9\n"), -EINVAL);
	release(&c);
	mac[1] = is;
}

static void test_as_numbers(void **state)
{
	char table[4096] = "2001:db8::/32 64496\n";
	struct compiled c;

	for (unsigned k = 0; k < 100; k++)
		sprintf(table + strlen(table), "203.0.%u.0/24 %u\n", k, 64500 + k);
	assert_int_equal(compile(&c, HEAD VIA, table), 0);
	for (unsigned k = 0; k < 100; k++) {
		char prefix[32];

		sprintf(prefix, "203.0.%u.0/24", k);
		assert_route(&c, prefix, "file", route_file_next_hop(64500 + k, 2) - 1);
	}
	assert_route(&c, "2001:db8::/32", "file", 0); /* the only gateway of its family */
	release(&c);
}

static void test_xz(void **state)
{
	static const char text[] = "198.51.100.0/24 10.0.0.10\n";
	uint8_t bytes[1024];
	struct compiled c;
	size_t n = 0;

	assert_int_equal(lzma_easy_buffer_encode(6, LZMA_CHECK_CRC64, NULL, (const uint8_t *)text,
				 strlen(text), bytes, &n, sizeof(bytes)),
		LZMA_OK);
	write_file(packed, bytes, n);
	assert_int_equal(compile(&c, HEAD "route_files: [{file: table.xz}]\n", NULL), 0);
	assert_route(&c, "198.51.100.0/24", "file", 0);
	release(&c);
	for (size_t cut = 7; cut < n; cut++) {
		write_file(packed, bytes, cut);
		assert_int_equal(
			compile(&c, HEAD "route_files: [{file: table.xz}]\n", NULL), -EINVAL);
		assert_non_null(strstr(c.error.text, "table.xz: not a whole xz file"));
		assert_null(c.routes.route);
		release(&c);
	}
}

/* The file's routes count least; of several lines, and files, the last does. */
static void test_what_wins(void **state)
{
	static const char other[] = "198.51.102.0/24 10.0.1.10\n198.51.103.0/24 10.0.1.10\n";
	struct compiled c;

	write_file(other_file, other, strlen(other));
	assert_int_equal(compile(&c,
				 HEAD "routes:\n  - {prefix: 198.51.100.0/24, via: 10.0.1.10}\n"
				      "route_files:\n  - {file: table.txt}\n  - {file: other}\n",
				 "198.51.100.0/24 10.0.0.10\n"
				 "198.51.101.0/24 10.0.0.10\n198.51.101.0/24 10.0.1.10\n"
				 "198.51.102.0/24 10.0.0.10\n198.51.104.0/24 10.0.0.10\n"
				 "10.0.1.10/32 10.0.0.10\n10.0.0.0/24 10.0.1.10\n"),
		0);
	assert_route(&c, "198.51.100.0/24", "static", 1);
	assert_route(&c, "198.51.101.0/24", "file", 1);
	assert_route(&c, "198.51.102.0/24", "file", 1);
	assert_route(&c, "198.51.103.0/24", "file", 1);
	assert_route(&c, "198.51.104.0/24", "file", 0);
	assert_route(&c, "10.0.1.10/32", "neighbor", 1);
	assert_int_equal(find(&c, "10.0.0.0/24")->source, RIB_CONNECTED);
	release(&c);
	write_file(other_file, "empty\n", 6);
	assert_int_equal(compile(&c, HEAD "route_files: [{file: other}]\n", NULL), 0);
	release(&c);
}

static void test_mistakes(void **state)
{
	static const struct {
		const char *yaml, *table;
		unsigned line; /* of the table */
		const char *reason;
	} mistakes[] = {
		{FILES, "198.51.100.0/24 10.0.0.10\n198.51.100.0/33 10.0.0.10\n", 2,
			"is no prefix"},
		{FILES, "198.51.100.1/24 10.0.0.10\n", 1, "bits set beyond its length"},
		{FILES, "#\n198.51.100.0/24\n", 2, "want PREFIX and an AS number or"},
		{FILES, "198.51.100.0/24 ten\n", 1, "'ten' is neither"},
		{FILES, "198.51.100.0/24 64500\n", 1,
			"198.51.100.0/24 has an AS number, and `via` no IPv4 gateway"},
		{FILES, "198.51.100.0/24 10.0.9.10\n", 1,
			"gateway 10.0.9.10 is on no connected network"},
		{FILES, "198.51.100.0/24 10.0.0.1\n", 1, "gateway 10.0.0.1 is this router itself"},
		{FILES, "198.51.100.0/24 fd00::10\n", 1, "another family"},
		{FILES, "2001:db8::/32 10.0.0.10\n", 1, "another family"},
		{"route_files:\n  - {file: table.txt, via: [10.0.0.10]}\n",
			"198.51.100.0/24 1\n2001:db8::/32 1\n", 2,
			"2001:db8::/32 has an AS number, and `via` no IPv6 gateway"},
		{"route_files:\n  - {file: table.txt, via: [10.0.0.10, 10.0.9.10]}\n", "", 0,
			"gateway 10.0.9.10 is on no connected network"},
		{FILES, "", 1, "the file ends without a route"},
		{FILES, "# 198.51.100.0/24 10.0.0.10\n\n", 2, "the file ends without a route"},
		{FILES, "empty\n198.51.100.0/24 10.0.0.10\n", 2, "the line 'empty' stands in"},
		{FILES, "198.51.100.0/24 10.0.0.10\n198.51.101.0/24 10.0.0.10\r\r\n", 2,
			"byte 0x0d at place 26 is no text"},
		{FILES, "198.51.100.0/24 10.0.0.10\n198.51.101.0/24 10.0.0.10 x\n", 2,
			"want PREFIX and"},
		{FILES, "198.51.100.0/24 10.0.0.10\n198.51.101.0/024 10.0.0.10\n", 2,
			"is no prefix"},
		{FILES, "198.51.100.0/24 10.0.0.10\n198.51.101.0/24 10.0.", 2, "is neither"},
		/* The same 128 bits, but for the family. */
		{FILES, "198.51.100.0/24 10.0.0.10\n198.51.101.0/24 a00:a::\n", 2,
			"another family"},
		{FILES, "2001:db8::/32 fd00::10\n2001:db8:1::/48 ::ffff:10.0.0.10\n", 2,
			"gateway ::ffff:10.0.0.10 is on no connected network"},
	};

	for (size_t k = 0; k < sizeof(mistakes) / sizeof(*mistakes); k++) {
		char yaml[1024], where[256];
		struct compiled c;
		int n = snprintf(where, sizeof(where), "%s:13: ", configuration);

		if (mistakes[k].line)
			snprintf(where + n, sizeof(where) - (size_t)n, "%s:%u: ", plain,
				mistakes[k].line);
		snprintf(yaml, sizeof(yaml), HEAD "%s", mistakes[k].yaml);
		assert_int_equal(compile(&c, yaml, mistakes[k].table), -EINVAL);
		if (strncmp(c.error.text, where, strlen(where)) != 0 ||
			!strstr(c.error.text, mistakes[k].reason))
			fail_msg("'%s'\nwant '%s… %s'", c.error.text, where, mistakes[k].reason);
		assert_null(c.routes.route);
		release(&c);
	}
}

/* Zeros after a crash, and a line that one hides in. */
static void test_zeros(void **state)
{
	static const char zeros[4096], hidden[] = "198.51.100.0/24 10.0.0.10\0\n";
	struct compiled c;

	for (unsigned k = 0; k < 2; k++) {
		write_file(other_file, k ? hidden : zeros, k ? sizeof(hidden) - 1 : sizeof(zeros));
		assert_int_equal(compile(&c, HEAD "route_files: [{file: other}]\n", NULL), -EINVAL);
		assert_non_null(strstr(c.error.text, "other:1: byte 0x00 at place "));
		assert_null(c.routes.route);
		release(&c);
	}
}

static void test_no_file(void **state)
{
	struct compiled c;

	for (unsigned k = 0; k < 2; k++) {
		assert_int_equal(compile(&c, HEAD FILES, "198.51.100.0/24 10.0.0.10\n"), 0);
		routes_free(&c.routes);
		unlink(plain);
		assert_int_equal(k ? mkfifo(plain, 0600) : mkdir(plain, 0700), 0);
		assert_int_equal(
			config_routes(&c.routes, c.hops, c.config, mac, &c.error), -EINVAL);
		assert_non_null(strstr(
			c.error.text, k ? "table.txt: is a pipe" : "table.txt: is a directory"));
		assert_int_equal(remove(plain), 0);
		release(&c);
	}
}

/* fe80::1 of one network is not that of another, and nothing says which is meant. */
static void test_link_local_gateway(void **state)
{
	static const char
		one[] = "  - {nic: a, address: \"fe80::1\", mac: \"02:00:00:00:01:00\"}\n",
		two[] = "  - {nic: b, address: \"fe80::1\", mac: \"02:00:00:00:01:01\"}\n";
	char yaml[1024];
	struct compiled c;

	for (unsigned k = 0; k < 2; k++) {
		snprintf(yaml, sizeof(yaml), "%s%s%s%s", HEAD, one, k ? two : "", FILES);
		if (k == 0) {
			assert_int_equal(compile(&c, yaml, "2001:db8::/32 fe80::1\n"), 0);
			assert_route(&c, "2001:db8::/32", "file", 0);
		} else {
			assert_int_equal(compile(&c, yaml, "2001:db8::/32 fe80::1\n"), -EINVAL);
			assert_non_null(strstr(
				c.error.text, "gateway fe80::1 is a neighbour of a and of b"));
		}
		release(&c);
	}
}

static void test_many_gateways(void **state)
{
	char *table = malloc(1 << 20), *at = table;
	char wide[sizeof(HEAD) + 64];
	struct compiled c;

	assert_non_null(table);
	for (unsigned k = 0; k < 2500; k++)
		at += sprintf(
			at, "203.%u.%u.0/24 10.0.%u.%u\n", k >> 8, k & 255, 2 + (k >> 8), k & 255);
	snprintf(wide, sizeof(wide), "%s", HEAD FILES);
	memcpy(strstr(wide, "10.0.1.1/24"), "10.0.1.1/16", 11);
	assert_int_equal(compile(&c, wide, table), -ENOSPC);
	assert_non_null(strstr(c.error.text, "table.txt:20"));
	assert_non_null(strstr(c.error.text, "more than 2047 next hops"));
	release(&c);
	free(table);
}

/* It goes away between the check of the configuration and its use. */
static void test_gone(void **state)
{
	struct compiled c;

	assert_int_equal(compile(&c, HEAD FILES, "198.51.100.0/24 10.0.0.10\n"), 0);
	routes_free(&c.routes);
	unlink(plain);
	assert_int_equal(config_routes(&c.routes, c.hops, c.config, mac, &c.error), -ENOENT);
	assert_non_null(strstr(c.error.text, "table.txt: No such file or directory"));
	release(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_named),
		cmocka_unit_test(test_not_there_yet),
		cmocka_unit_test(test_as_numbers),
		cmocka_unit_test(test_xz),
		cmocka_unit_test(test_what_wins),
		cmocka_unit_test(test_mistakes),
		cmocka_unit_test(test_zeros),
		cmocka_unit_test(test_no_file),
		cmocka_unit_test(test_link_local_gateway),
		cmocka_unit_test(test_many_gateways),
		cmocka_unit_test(test_gone),
	};
	int failed;

	if (!mkdtemp(folder)) {
		perror(folder);
		return 1;
	}
	snprintf(configuration, sizeof(configuration), "%s/router.yaml", folder);
	snprintf(plain, sizeof(plain), "%s/table.txt", folder);
	snprintf(packed, sizeof(packed), "%s/table.xz", folder);
	snprintf(other_file, sizeof(other_file), "%s/other", folder);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	unlink(configuration);
	unlink(plain);
	unlink(packed);
	unlink(other_file);
	rmdir(folder);
	return failed;
}
