/* SPDX-License-Identifier: BSD-3-Clause */
/* The mirror of the kernel's tables: what goes without a message, and what a round finds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "inject.h"
#include "tests/unit/kernel_state_rig.h"

#include <errno.h>
#include <stdio.h>

/* --- What goes without a message -------------------------------------------------------------- */

static void test_link_down(void **context)
{
	three_links();
	add(NEW, (struct route){A, 24, VIA(1)});
	add(NEW, (struct route){B, 24, .hop = {{"10.0.0.2", 1}, {"10.0.1.2", 2}}});
	add(NEW, (struct route){"10.0.0.1", 32, .scope = RT_SCOPE_HOST, .type = RTN_LOCAL,
			 .hop = {{NULL, 1}}});
	add(NEW, (struct route){C, 64, VIA6(1)});
	add(NEW, (struct route){"10.4.0.0", 24, .type = RTN_BLACKHOLE});
	set_link(1, UP & ~IFF_LOWER_UP & ~IFF_RUNNING); /* routes outlive a carrier */
	assert_int_equal(kernel_state_count(state, KERNEL_ROUTE), 5);
	set_link(1, 0);
	expect(A, 24, "");
	expect(B, 24, "1+2");
	expect("10.0.0.1", 32, "1");
	expect(C, 64, "");
	set_link(2, 0);
	expect(B, 24, "");
	assert_int_equal(kernel_state_counters(state)->evicted, 3);
	/* What comes after the link did is not what went with it, though equal. */
	set_link(1, UP);
	add(NEW, (struct route){A, 24, VIA(1)});
	set_link(1, 0);
	set_link(1, UP);
	add(NEW, (struct route){A, 24, VIA(1)});
	expect(A, 24, "1");
	/* A link that is deleted takes routes with any hop there. */
	set_link(2, UP);
	add(NEW, (struct route){B, 24, .hop = {{"10.0.0.2", 1}, {"10.0.1.2", 2}}});
	feed(link_message(RTM_DELLINK, 2, 0));
	expect(B, 24, "");
	assert_non_null(route("10.4.0.0", 24));
}

static void test_objects(void **context)
{
	three_links();
	next_hop(RTM_NEWNEXTHOP, 1, 1);
	next_hop(RTM_NEWNEXTHOP, 2, 2);
	group(10, 1, 2, false);
	group(11, 1, 1, true);
	add(NEW, (struct route){A, 24, .next_hop = 1});
	add(NEW, (struct route){B, 24, .next_hop = 10});
	add(NEW, (struct route){C, 64, .next_hop = 11});
	assert_int_equal(object(10)->hops, 2);
	assert_int_equal(object(10)->hop[1].weight, 5);
	assert_true(object(11)->next_hop.resilient);
	assert_int_equal(object(11)->next_hop.buckets, 128);
	set_link(1, UP & ~IFF_LOWER_UP & ~IFF_RUNNING);
	assert_null(object(1));
	assert_int_equal(object(10)->hops, 1);
	assert_int_equal(object(10)->hop[0].next_hop, 2);
	assert_null(object(11));
	assert_null(route(A, 24));
	assert_null(route(C, 64));
	assert_int_equal(route(B, 24)->hop[0].next_hop, 10);
	next_hop(RTM_DELNEXTHOP, 2, 2);
	assert_null(object(10));
	assert_null(route(B, 24));
	assert_int_equal(kernel_state_count(state, KERNEL_ROUTE), 0);
}

static void test_addresses(void **context)
{
	three_links();
	address(RTM_NEWADDR, 1, "10.0.0.1");
	address(RTM_NEWADDR, 1, "10.0.1.1");
	address(RTM_NEWADDR, 2, "10.0.1.1");
	add(NEW, (struct route){A, 24, .source = "10.0.0.1", VIA(2)});
	add(NEW, (struct route){B, 24, .source = "10.0.1.1", VIA(2)});
	add(NEW, (struct route){"10.3.0.0", 24, VIA(1)});
	address(RTM_DELADDR, 1, "10.0.0.1");
	expect(A, 24, "");
	address(RTM_DELADDR, 1, "10.0.1.1"); /* the other link has it too */
	expect(B, 24, "2");
	expect("10.3.0.0", 24, ""); /* it was the last of its link */
}

/* --- Rounds ----------------------------------------------------------------------------------- */

static void test_sweep(void **context)
{
	struct kernel_change c;

	three_links();
	address(RTM_NEWADDR, 1, "10.0.0.1"); /* missed; what the dump shows stays */
	add(NEW, (struct route){A, 24, VIA(1)});
	add(NEW, (struct route){B, 24, VIA(1)});
	add(NEW, (struct route){"10.3.0.0", 24, VIA(1)});
	add(NEW, (struct route){"10.4.0.0", 24, VIA(1)});
	take_changes();
	kernel_state_begin(state);
	add(NLM_F_REPLACE, (struct route){B, 24, VIA(2)});
	del((struct route){"10.4.0.0", 24, VIA(1)});
	add(NEW, (struct route){"10.5.0.0", 24, VIA(3)});
	dumped = true;
	set_link(1, UP);
	set_link(2, UP);
	set_link(3, UP);
	add(0, (struct route){A, 24, VIA(1)});
	add(0, (struct route){B, 24, VIA(1)});          /* older than the event */
	add(0, (struct route){"10.4.0.0", 24, VIA(1)}); /* so is this */
	add(0, (struct route){"10.6.0.0", 24, VIA(2)});
	dumped = false;
	expect("10.3.0.0", 24, "1"); /* missed, but that is not known yet */
	kernel_state_sweep(state);
	expect(A, 24, "1");
	expect(B, 24, "2");
	expect("10.3.0.0", 24, "");
	expect("10.4.0.0", 24, "");
	expect("10.5.0.0", 24, "3");
	expect("10.6.0.0", 24, "2");
	assert_int_equal(kernel_state_counters(state)->swept, 2);
	expect_change(B, 1, 2);
	expect_change("10.4.0.0", 1, 0);
	expect_change("10.5.0.0", 0, 3);
	expect_change("10.6.0.0", 0, 2);
	assert_true(kernel_state_change(state, &c));
	assert_int_equal(c.key.kind, KERNEL_ADDRESS);
	assert_null(c.now);
	expect_change("10.3.0.0", 1, 0);
}

/* A round that did not come to its end counts for nothing. */
static void test_round_anew(void **context)
{
	three_links();
	add(NEW, (struct route){A, 24, VIA(1)});
	add(NEW, (struct route){B, 24, VIA(1)});
	kernel_state_begin(state);
	dumped = true;
	add(0, (struct route){A, 24, VIA(1)});
	kernel_state_begin(state);
	for (int k = 1; k <= 3; k++)
		set_link(k, UP);
	add(0, (struct route){B, 24, VIA(1)});
	kernel_state_sweep(state);
	expect(A, 24, "");
	expect(B, 24, "1");
}

/* What a dump shows of a key stands in the dump's order; a dead link's route is not believed. */
static void test_dump_order(void **context)
{
	three_links();
	add(NEW, (struct route){A, 24, VIA(1)});
	add(NLM_F_CREATE | NLM_F_APPEND, (struct route){A, 24, VIA(2)});
	kernel_state_begin(state);
	set_link(2, 0);
	dumped = true;
	set_link(1, UP);
	set_link(3, UP);
	add(0, (struct route){A, 24, .metric = 0, VIA(3)});
	add(0, (struct route){A, 24, VIA(1)});
	add(0, (struct route){A, 24, .next_hop = 7}); /* there is no such object */
	add(0, (struct route){B, 24, VIA(2)});
	kernel_state_sweep(state);
	expect(B, 24, "");
	if (kernel_state_doubts(state)) { /* link 2 went within the round, so the key was touched */
		kernel_state_begin(state);
		set_link(1, UP);
		set_link(2, 0);
		set_link(3, UP);
		add(0, (struct route){A, 24, VIA(3)});
		add(0, (struct route){A, 24, VIA(1)});
		kernel_state_sweep(state);
	}
	expect(A, 24, "3 1");
	assert_false(kernel_state_doubts(state));
}

/* What a change costs when there is no memory for it is another round. */
static int feed_all(void *context)
{
	kernel_state_free(state);
	state = NULL;
	inject_arm();
	state = kernel_state_new();
	if (!state) {
		inject_disarm();
		return -ENOMEM;
	}
	three_links();
	for (unsigned k = 0; k < 100; k++) {
		char local[16];

		snprintf(local, sizeof(local), "10.0.0.%u", k);
		address(RTM_NEWADDR, k % 3 + 1, local);
	}
	next_hop(RTM_NEWNEXTHOP, 1, 1);
	next_hop(RTM_NEWNEXTHOP, 2, 2);
	group(10, 1, 2, false);
	add(NEW, (struct route){A, 24, VIA(1)});
	add(NLM_F_CREATE | NLM_F_APPEND, (struct route){A, 24, VIA(2)});
	add(NEW, (struct route){C, 64, .hop = {{"fe80::2", 1}, {"fe80::2", 2}}});
	del((struct route){C, 64, .hop = {{"fe80::2", 1}}});
	next_hop(RTM_DELNEXTHOP, 1, 1);
	inject_disarm();
	if (kernel_state_doubts(state)) {
		assert_non_null(inject_failed());
		kernel_state_begin(state);
		dumped = true;
		for (int k = 1; k <= 3; k++)
			set_link(k, UP);
		next_hop(RTM_NEWNEXTHOP, 2, 2);
		group(10, 2, 2, false);
		add(0, (struct route){A, 24, VIA(1)});
		add(0, (struct route){A, 24, VIA(2)});
		add(0, (struct route){C, 64, VIA6(2)});
		dumped = false;
		kernel_state_sweep(state);
	}
	expect(A, 24, "1 2");
	expect(C, 64, "2");
	assert_null(object(1));
	assert_int_equal(object(10)->hop[0].next_hop, 2);
	assert_int_equal(kernel_state_count(state, KERNEL_LINK), 3);
	assert_int_equal(kernel_state_count(state, KERNEL_ROUTE), 2);
	take_changes();
	kernel_state_free(state);
	state = NULL;
	return 0;
}

static void test_out_of_memory(void **context)
{
	assert_true(inject_each(feed_all, NULL, NULL) > 20);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
	const struct CMUnitTest tests[] = {TEST(test_link_down), TEST(test_objects),
		TEST(test_addresses), TEST(test_sweep), TEST(test_round_anew),
		TEST(test_dump_order), TEST(test_out_of_memory)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
