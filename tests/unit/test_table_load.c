/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tables loaded whole: other halves, NICs that fail and come back, NICs of an earlier router.
 *
 *     test_table_load [SEED [TEST]]
 */
#include "tests/unit/table_rig.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void nic_fails_and_returns(void **state)
{
	struct rig *r = rig_new(6, NULL, RIG_BAR2_BYTES);
	uint8_t *before = malloc(RIG_BAR2_BYTES);

	configured(r);
	r->nic[1].dead = true;
	world_change(&r->world, 30);
	configured(r);
	assert_int_equal(r->report.patched, 2);
	assert_int_equal(r->report.failed, 1);
	assert_non_null(strstr(r->report.failure.text, "nic2"));
	/* From then on its memory is let alone: it may still be reading. */
	memcpy(before, r->nic[1].driver.bar2, RIG_BAR2_BYTES);
	for (unsigned step = 0; step < 20; step++) {
		world_change(&r->world, 30);
		configured(r);
		assert_int_equal(r->report.patched, 2);
	}
	assert_memory_equal(before, r->nic[1].driver.bar2, RIG_BAR2_BYTES);
	r->nic[1].dead = false;
	world_change(&r->world, 30);
	configured(r);
	assert_int_equal(r->report.loaded, 1);
	assert_all_right(r);
	world_change(&r->world, 30);
	configured(r);
	assert_int_equal(r->report.patched, 3);
	assert_all_right(r);
	/* Another one in its place, with empty memory. */
	fake_close(&r->nic[2]);
	fake_open(&r->nic[2], 2, RIG_BAR2_BYTES);
	assert_int_equal(table_load(r->table, &r->nic[2].driver, &r->error), 0);
	assert_all_right(r);
	free(before);
	rig_free(r);
}

/* A NIC that takes the routes and not the list of own addresses is out of step, and told by
 * name. */
static void sources_refused(void **state)
{
	struct rig *r = rig_new(14, NULL, RIG_BAR2_BYTES);
	struct fake_nic *nic = &r->nic[1];

	configured(r);
	nic->sources_result = P2PNIC_BAD_ARGUMENT;
	r->world.nic_address[0][0].address.bits.high += 200ull << 32;
	configured(r);
	assert_int_equal(r->report.failed, 1);
	assert_string_equal(
		r->report.failure.text, "nic2: the table: argument or register out of range");
	assert_false(table_in_step(r->table, &nic->driver));
	assert_true(table_in_step(r->table, &r->nic[0].driver));
	assert_int_equal(table_load(r->table, &nic->driver, &r->error), -EIO);
	assert_false(table_in_step(r->table, &nic->driver));
	/* Firmware of contract 1.0 has no such list: it does without. */
	nic->sources_result = P2PNIC_BAD_OPERATION;
	assert_int_equal(table_load(r->table, &nic->driver, &r->error), 0);
	assert_true(table_in_step(r->table, &nic->driver));
	rig_free(r);
}

static void nic_of_another_size(void **state)
{
	struct rig *r = rig_new(15, NULL, RIG_BAR2_BYTES);

	configured(r);
	fake_close(&r->nic[1]);
	fake_open(&r->nic[1], 1, 2 * RIG_BAR2_BYTES);
	assert_int_equal(table_load(r->table, &r->nic[1].driver, &r->error), -EINVAL);
	assert_string_equal(
		r->error.text, "nic2: table memory is 32 MiB, the table was made for 16");
	assert_false(table_in_step(r->table, &r->nic[1].driver));
	assert_int_equal(r->nic[1].in_force[0], 0);
	rig_free(r);
}

/* An older NIC among others: all get what it takes, and go on with it. */
static void nic_of_an_older_contract(void **state)
{
	struct rig *r = rig_new(16, NULL, RIG_BAR2_BYTES);

	configured(r);
	fake_close(&r->nic[1]);
	fake_open(&r->nic[1], 1, RIG_BAR2_BYTES);
	r->nic[1].driver.version = P2PNIC_FIB_VERSION_WIDE_FROM - 1;
	assert_int_equal(table_load(r->table, &r->nic[1].driver, &r->error), 0);
	assert_true(table_in_step(r->table, &r->nic[1].driver));
	assert_false(table_in_step(r->table, &r->nic[0].driver));
	assert_false(table_in_step(r->table, &r->nic[2].driver));
	world_change(&r->world, 30);
	configured(r);
	assert_int_equal(r->report.patched, 1);
	assert_int_equal(r->report.loaded, 2);
	assert_all_right(r);
	world_change(&r->world, 30);
	configured(r);
	assert_int_equal(r->report.patched, 3);
	assert_all_right(r);
	rig_free(r);
	/* There from the beginning: whichever is first. */
	r = rig_new(17, NULL, RIG_BAR2_BYTES);
	r->nic[2].driver.version = P2PNIC_FIB_VERSION_WIDE_FROM - 1;
	configured(r);
	assert_int_equal(r->report.failed, 0);
	assert_int_equal(r->report.loaded, 3);
	assert_all_right(r);
	rig_free(r);
}

struct takeover {
	struct rig *rig; /* its `fresh` is what there was before */
	unsigned checks; /* switches until something new may be in force */
};

static void right_until_now(struct fake_nic *nic)
{
	struct takeover *t = nic->context;

	if (t->checks && t->checks--)
		assert_right(t->rig, nic);
}

/* NICs of an earlier router in either half: what is in force is not written over. */
static void running_nics_are_taken_over(void **state)
{
	for (unsigned half = 0; half < 2; half++)
		for (unsigned torn = 0; torn < 3; torn++) {
			struct rig *r = rig_new(7, NULL, RIG_BAR2_BYTES);
			struct fake_nic *nic = &r->nic[0];
			uint32_t *reg = nic->reg;
			uint32_t offset[2];
			struct takeover takeover = {r, torn + 1};

			configured(r);
			assert_int_equal(table_half(&nic->driver), 0);
			offset[0] = reg[P2PNIC_REG_FIB4_OFFSET / 4];
			offset[1] = reg[P2PNIC_REG_FIB6_OFFSET / 4];
			table_free(r->table);
			assert_int_equal(table_new(&r->table, RIG_BAR2_BYTES,
						 table_kind(&r->world.config), 1),
				0);
			configured(r);
			assert_int_equal(table_half(&nic->driver), 1);
			make_fresh(r);
			/* The router died between the families, or before the first command. */
			if (torn > 0) {
				reg[P2PNIC_REG_FIB6_OFFSET / 4] = nic->in_force[1] = offset[1];
			}
			if (torn > 1)
				nic->in_force[0] = offset[0];
			nic->on_switch = right_until_now;
			nic->context = &takeover;
			world_change(&r->world, 300);
			table_free(r->table);
			assert_int_equal(table_new(&r->table, RIG_BAR2_BYTES,
						 table_kind(&r->world.config), half),
				0);
			configured(r);
			assert_int_equal(r->report.loaded, RIG_NICS);
			assert_int_equal(takeover.checks, 0);
			nic->on_switch = NULL;
			for (unsigned k = 0; k < RIG_NICS; k++)
				assert_int_equal(table_half(&r->nic[k].driver), half);
			world_change(&r->world, 30);
			configured(r);
			assert_int_equal(r->report.patched, RIG_NICS);
			assert_all_right(r);
			rig_free(r);
		}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nic_fails_and_returns),
		cmocka_unit_test(sources_refused),
		cmocka_unit_test(nic_of_another_size),
		cmocka_unit_test(nic_of_an_older_contract),
		cmocka_unit_test(running_nics_are_taken_over),
	};

	rig_arguments(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
