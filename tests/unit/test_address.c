/* SPDX-License-Identifier: BSD-3-Clause */
/* Addresses, prefixes and MAC addresses: text in, text out, and what is refused. */
#include "router/address.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

static void test_addresses(void **state)
{
	static const struct {
		const char *in, *out;
		unsigned family;
	} good[] = {{"0.0.0.0", "0.0.0.0", 4}, {"255.255.255.255", "255.255.255.255", 4},
		{"192.0.2.1", "192.0.2.1", 4}, {"::", "::", 6}, {"::1", "::1", 6},
		{"2001:DB8:0:0::1", "2001:db8::1", 6},
		{"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
			"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 6},
		{"::ffff:192.0.2.1", "::ffff:192.0.2.1", 6}};
	static const char *const bad[] = {"", "192.0.2", "192.0.2.256", "192.0.2.1 ", "1.2.3.4.5",
		"192.0.2.1/24", ":::", "2001:db8::1::2", "host", "fe80::1%eth0"};

	for (size_t k = 0; k < COUNT(good); k++) {
		struct address a;
		char text[ADDRESS_TEXT_BYTES];

		assert_true(address_parse(good[k].in, &a));
		assert_int_equal(a.family, good[k].family);
		assert_int_equal(address_bits(&a), good[k].family == 4 ? 32 : 128);
		assert_string_equal(address_text(&a, text), good[k].out);
	}
	for (size_t k = 0; k < COUNT(bad); k++) {
		struct address a = {.family = 99};

		if (address_parse(bad[k], &a))
			fail_msg("'%s' was taken for an address", bad[k]);
		assert_int_equal(a.family, 99); /* nothing written */
	}
}

static void test_layout(void **state)
{
	struct address a;

	assert_true(address_parse("192.0.2.1", &a));
	assert_true(a.bits.high == UINT64_C(0xc000020100000000) && a.bits.low == 0);
	assert_true(address_parse("2001:db8::1", &a));
	assert_true(a.bits.high == UINT64_C(0x20010db800000000) && a.bits.low == 1);
}

static void test_prefixes(void **state)
{
	static const struct {
		const char *text;
		bool host_bits;
	} good[] = {{"0.0.0.0/0", false}, {"10.0.0.0/8", false}, {"192.0.2.1/32", false},
		{"192.0.2.1/24", true}, {"::/0", false}, {"2001:db8::/32", false},
		{"2001:db8::1/128", false}, {"2001:db8::1/64", true}, {"2001:db8::/65", false}};
	static const struct {
		const char *text;
		bool host_bits;
	} bad[] = {{"", true}, {"/", true}, {"10.0.0.0", true}, {"10.0.0.0/", true},
		{"10.0.0.0/33", true}, {"10.0.0.0/-1", true}, {"10.0.0.0/ 8", true},
		{"10.0.0.0/8x", true}, {"10.0.0.1/8", false}, {"::/129", true},
		{"2001:db8::1/64", false}, {"10.0.0.0/4294967304", true},
		{"10.0.0.0/18446744073709551624", true}, {"10.0.0.0/08", true}, {"::/00", true},
		{"1111111111111111111111111111111111111111111111111111111111111111111/8", true}};

	for (size_t k = 0; k < COUNT(good); k++) {
		struct prefix p;
		char text[ADDRESS_TEXT_BYTES];

		if (!prefix_parse(good[k].text, good[k].host_bits, &p))
			fail_msg("'%s' was refused", good[k].text);
		assert_string_equal(prefix_text(&p, text), good[k].text);
	}
	for (size_t k = 0; k < COUNT(bad); k++) {
		struct prefix p = {.length = 77};

		if (prefix_parse(bad[k].text, bad[k].host_bits, &p))
			fail_msg("'%s' was taken for a prefix", bad[k].text);
		assert_int_equal(p.length, 77);
	}
}

/* A prefix bit by bit, the slow way. */
static bool naive_contains(const struct prefix *p, const struct address *a)
{
	if (p->address.family != a->family)
		return false;
	for (unsigned k = 0; k < p->length; k++) {
		uint64_t x = k < 64 ? p->address.bits.high : p->address.bits.low;
		uint64_t y = k < 64 ? a->bits.high : a->bits.low;

		if ((x ^ y) >> (63 - k % 64) & 1)
			return false;
	}
	return true;
}

static void test_contains(void **state)
{
	static const char *const addresses[] = {"0.0.0.0", "10.1.2.3", "10.255.255.255", "11.0.0.0",
		"255.255.255.255", "::", "2001:db8::1",
		"2001:db8:0:0:8000::", "2001:db8:0:1::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"};

	for (size_t k = 0; k < COUNT(addresses); k++)
		for (size_t j = 0; j < COUNT(addresses); j++) {
			struct address a, b;

			assert_true(address_parse(addresses[k], &a));
			assert_true(address_parse(addresses[j], &b));
			assert_int_equal(address_equal(&a, &b), k == j);
			for (unsigned length = 0; length <= address_bits(&a); length++) {
				struct prefix p = prefix_of(&a, length);

				assert_true(prefix_contains(&p, &a));
				assert_int_equal(prefix_contains(&p, &b), naive_contains(&p, &b));
			}
		}
}

static void test_macs(void **state)
{
	static const char *const bad[] = {"", "02", "02:00:5e:00:53", "02:00:5e:00:53:01:02",
		"02:00:5e:00:53:0x", "02-00-5e-00-53-01", "02:00:5e:00:53:01 ", "g2:00:5e:00:53:01",
		"2:0:5e:0:53:-1", "02:00:5e:00:53: 1", "+2:00:5e:00:53:01"};
	struct mac_addr mac;
	char text[ADDRESS_TEXT_BYTES];

	assert_true(mac_parse("02:00:5E:00:53:ff", &mac));
	assert_string_equal(mac_text(mac, text), "02:00:5e:00:53:ff");
	assert_true(mac_parse("2:0:5e:0:53:1", &mac));
	assert_string_equal(mac_text(mac, text), "02:00:5e:00:53:01");
	for (size_t k = 0; k < COUNT(bad); k++)
		if (mac_parse(bad[k], &mac))
			fail_msg("'%s' was taken for a MAC address", bad[k]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_layout),
		cmocka_unit_test(test_prefixes),
		cmocka_unit_test(test_contains),
		cmocka_unit_test(test_macs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
