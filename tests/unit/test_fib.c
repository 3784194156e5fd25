/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <errno.h>

#include "fib/fib_image.h"
#include "firmware/fib_lookup.h"

static uint16_t lookup4(const struct fib *fib, uint32_t address)
{
	return fib_lookup(fib, (struct fib_ipv6){(uint64_t)address << 32, 0});
}

static void a_few_routes(void **state)
{
	struct error error;
	struct fib_config config = {4, P2PNIC_FIB_STATE_JUMP, 4 << 20};
	struct fib *fib = fib_new(&config, &error);
	struct fib_route routes[] = {
		fib_route4(0xc0000000, 8, 1),
		fib_route4(0xc0000201, 32, 3),
		fib_route4(0xc0000200, 24, 2),
	};
	const struct fib_patch *patch;
	uint8_t *copy = aligned_alloc(64, config.room);

	assert_non_null(fib);
	assert_int_equal(lookup4(fib, 0xc0000201), 0);
	assert_int_equal(fib_build(fib, routes, 3, &error), 0);
	assert_true(fib_image_valid(fib_image(fib, NULL), config.room, 4));
	assert_false(fib_image_valid(fib_image(fib, NULL), config.room, 6));
	assert_false(fib_image_valid(fib_image(fib, NULL), config.room - 64, 4));
	assert_int_equal(lookup4(fib, 0xc0000200), 2);
	assert_int_equal(lookup4(fib, 0xc0000201), 3);
	assert_int_equal(lookup4(fib, 0xc0000202), 2);
	assert_int_equal(lookup4(fib, 0xc0000300), 1);
	assert_int_equal(lookup4(fib, 0xc1000000), 0);

	fib_image_write(fib, copy);
	routes[0].next_hop = 0;
	routes[1].next_hop = 7;
	assert_int_equal(fib_change(fib, routes, 2, &patch, &error), 0);
	fib_patch_apply(patch, copy);
	uint32_t address[] = {0xc0000200, 0xc0000201, 0xc0000300};
	uint16_t next_hop[3];
	fib4_lookup(copy, address, next_hop, 3);
	assert_int_equal(next_hop[0], 2);
	assert_int_equal(next_hop[1], 7);
	assert_int_equal(next_hop[2], 0);
	assert_int_equal(fib_change(fib, routes, 2, &patch, &error), -EAGAIN);
	fib_epoch_passed(fib, 1);
	assert_int_equal(fib_change(fib, routes, 2, &patch, &error), 0);
	fib_free(fib);
	free(copy);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_few_routes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
