/* SPDX-License-Identifier: BSD-3-Clause */
/* The bus plan within ranges that IOMMUs have, and within some that none has. */
#include "driver/bus_plan.h"

#include <errno.h>
#include <p2pnic/ring.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define MIB (1ull << 20)
#define GIB (1ull << 30)

static struct device device_with(unsigned ranges, const struct device_range *range)
{
	struct device device = {.ranges = ranges};

	memcpy(device.range, range, ranges * sizeof(*range));
	return device;
}

/* From the start of a peer's slot to its end; the largest packet memory of the plan. */
static uint64_t check_all(const struct device *device, uint64_t size)
{
	static const unsigned part[] = {BUS_MAILBOX, BUS_DOORBELL, BUS_PACKETS, BUS_READ};
	const uint64_t bytes[] = {sizeof(struct p2pnic_mailbox), DEVICE_PAGE, size / 16, size / 16};
	uint64_t end = 0;
	struct error error;

	assert_int_equal(bus_plan_check(device, size / 16, &error), 0);
	assert_int_equal(bus_plan_check(device, size / 16 + 1, &error), -ENOSPC);
	for (unsigned peer = 0; peer < BUS_PEERS; peer++)
		for (unsigned k = 0; k < 4; k++) {
			const uint64_t at = bus_plan_address(device, peer, part[k]).value;
			bool inside = !device->ranges;

			/* Above all that were before it, within one range, and never 0. */
			assert_true(at && at >= end && at % DEVICE_PAGE == 0);
			end = at + bytes[k];
			for (unsigned r = 0; r < device->ranges; r++)
				inside |= at >= device->range[r].first &&
					  end - 1 <= device->range[r].last;
			assert_true(inside);
		}
	return end;
}

static void test_any(void **state)
{
	const struct device device = {.ranges = 0};

	check_all(&device, 4 * GIB);
	for (unsigned peer = 0; peer < BUS_PEERS; peer++) {
		const uint64_t slot = (peer + 1) * 4 * GIB;

		assert_int_equal(bus_plan_address(&device, peer, BUS_MAILBOX).value, slot);
		assert_int_equal(bus_plan_address(&device, peer, BUS_DOORBELL).value, slot + MIB);
		assert_int_equal(
			bus_plan_address(&device, peer, BUS_PACKETS).value, slot + 256 * MIB);
		assert_int_equal(bus_plan_address(&device, peer, BUS_READ).value, slot + 512 * MIB);
	}
}

/* As VT-d and AMD-Vi report them: 39 bits, 48 bits less AMD's HyperTransport hole, all 64. */
static void test_x86(void **state)
{
	static const struct device_range vtd[] = {{0, 0xfedfffff}, {0xfef00000, 0x7fffffffff}};
	static const struct device_range amd[] = {
		{0, 0xfedfffff}, {0xfef00000, 0xfcffffffff}, {0x10000000000, 0xffffffffffffffff}};
	const struct device narrow = device_with(2, vtd), wide = device_with(3, amd);

	check_all(&narrow, 4 * GIB);
	check_all(&wide, 4 * GIB);
	assert_int_equal(bus_plan_address(&narrow, 0, BUS_MAILBOX).value, 4 * GIB);
	assert_int_equal(bus_plan_address(&wide, 63, BUS_MAILBOX).value, 64 * 4 * GIB);
}

/* 36 bits: smaller slots; those below 4 GiB are used, and none meets the hole. */
static void test_narrow(void **state)
{
	static const struct device_range range[] = {{0, 0xfedfffff}, {0xfef00000, 0xfffffffff}};
	const struct device device = device_with(2, range);

	assert_true(check_all(&device, 512 * MIB) <= 64 * GIB);
	assert_int_equal(bus_plan_address(&device, 0, BUS_MAILBOX).value, 512 * MIB);
	assert_int_equal(bus_plan_address(&device, 5, BUS_MAILBOX).value, 3 * GIB);
	assert_int_equal(bus_plan_address(&device, 6, BUS_MAILBOX).value, 4 * GIB);
	/* A peer that there is no slot for has no address. */
	assert_int_equal(bus_plan_address(&device, 1000, BUS_PACKETS).value, 0);
}

/* Ranges that begin and end within a slot; one at the end of all addresses. */
static void test_ragged(void **state)
{
	static const struct device_range range[] = {{0x100001000, 0x1ffffffff},
		{4 * GIB * 10 + 1, 4 * GIB * 40 - 2}, {4 * GIB * 50, 4 * GIB * 80 - 1},
		{0xfffffff000000000, 0xffffffffffffffff}};
	const struct device device = device_with(4, range);

	check_all(&device, 4 * GIB);
	assert_int_equal(bus_plan_address(&device, 0, BUS_MAILBOX).value, 4 * GIB * 11);
	assert_int_equal(bus_plan_address(&device, 27, BUS_MAILBOX).value, 4 * GIB * 38);
	assert_int_equal(bus_plan_address(&device, 28, BUS_MAILBOX).value, 4 * GIB * 50);
	assert_int_equal(bus_plan_address(&device, 58, BUS_MAILBOX).value, 0xfffffff000000000);
}

/* The sentence names the ranges; two devices whose ranges share nothing have a plan each. */
static void test_none_fits(void **state)
{
	static const struct device_range low[] = {{0, 0xfedfffff}}, high[] = {{1ull << 40, ~0ull}};
	static const struct device_range pieces[] = {
		{0x1000, 0x3ffffff}, {0x100000000, 0x103fffffe}};
	const struct device device = device_with(2, pieces), small = device_with(1, low),
			    other = device_with(1, high);
	struct error error;

	assert_int_equal(bus_plan_check(&device, 4096, &error), -ENOSPC);
	assert_string_equal(error.text, "no room on the bus for 64 peers of 64 MiB each; its IOMMU "
					"takes 0x1000 to 0x3ffffff, 0x100000000 to 0x103fffffe");
	assert_int_equal(bus_plan_check(&small, 4096, &error), -ENOSPC);
	check_all(&other, 4 * GIB);
	assert_int_equal(bus_plan_check(&other, 257 * MIB, &error), -ENOSPC);
	assert_string_equal(error.text,
		"263168 KiB of packets do not fit into 262144 KiB of bus addresses for each peer; "
		"want fewer ring_slots or rx_buffers, or smaller buffers; its IOMMU takes "
		"0x10000000000 to 0xffffffffffffffff");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_any),
		cmocka_unit_test(test_x86),
		cmocka_unit_test(test_narrow),
		cmocka_unit_test(test_ragged),
		cmocka_unit_test(test_none_fits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
