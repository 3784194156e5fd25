/* SPDX-License-Identifier: BSD-3-Clause */
/* The account of packets, from answers of a router that is made up. */
#include "lab/account.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
/* cmocka wants those first. */
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* NIC a got 10 packets and handed 6 to b; a dropped 3 and punted 1. */
static const char at_rest[] =
	"[{'nic': 'a', 'received': {'packets': 10}, 'injected': "
	"{'packets': 0}, 'sent': {'packets': 0}, 'dropped': {'no_route': 2, 'ttl': 1}, 'punted': "
	"{'packets': 1}, 'held': 0, 'missed': %d, 'unaccounted': 0},"
	" {'nic': 'b', 'received': {'packets': 0}, 'sent': {'packets': 6}, 'dropped': {}, 'held': "
	"0, 'unaccounted': 0}]";
static const char moving[] = "[{'nic': 'a', 'received': {'packets': %d}, 'sent': {'packets': 0}, "
			     "'dropped': {}, 'held': %d, 'unaccounted': %d}]";
static const char ring[] = "[{'ingress': 'a', 'egress': 'b', 'packets': 6, 'bytes': 600, 'taken': "
			   "{'packets': %d}}]";

struct made_up {
	const char *fails;   /* this question has no answer */
	unsigned after;      /* so many that have one */
	unsigned asked;      /* for counters */
	unsigned rests_from; /* the so manyth answer */
	int missed, held, unaccounted, taken;
};

static json_t *answer_to(void *context, const char *what, struct error *error)
{
	struct made_up *m = context;
	char text[2048];
	json_t *rows;

	if (m->fails && !strcmp(m->fails, what) && !m->after--) {
		error_set(error, -EIO, "no %s", what);
		return NULL;
	}
	if (!strcmp(what, "counter") && m->asked++ < m->rests_from)
		snprintf(text, sizeof(text), moving, (int)m->asked, m->held, m->unaccounted);
	else if (!strcmp(what, "counter"))
		snprintf(text, sizeof(text), at_rest, m->missed);
	else if (!strcmp(what, "ring"))
		snprintf(text, sizeof(text), ring, m->taken);
	else if (!strcmp(what, "nic"))
		strcpy(text, "[{'name': 'a', 'engine_cpu_seconds': 1.25}, {'name': 'b', "
			     "'engine_cpu_seconds': 0.5}]");
	else if (!strcmp(what, "drop"))
		strcpy(text, m->missed ? "[{'reason': 'no_route', 'packets': 2, 'meaning': 'none'},"
					 "{'reason': 'port', 'packets': 0, 'meaning': 'full'}]"
				       : "[]");
	else if (!strcmp(what, "router"))
		strcpy(text, "{'driver_cpu_seconds': 0.125, 'data_packets_through_driver': 7}");
	else
		strcpy(text, "[]");
	for (char *at = text; (at = strchr(at, '\'')); at++)
		*at = '"';
	rows = json_loads(text, 0, NULL);
	assert_non_null(rows);
	return rows;
}

static struct account_source of(struct made_up *m)
{
	return (struct account_source){answer_to, m};
}

static void test_every_packet(void **state)
{
	struct made_up m = {.taken = 6};
	json_t *results = json_object();
	struct error error = {""};

	assert_int_equal(account_read(results, of(&m), &error), 0);
	assert_int_equal(account_count(results, "in"), 10);
	assert_int_equal(account_count(results, "out"), 10);
	assert_int_equal(account_count(results, "sent"), 6);
	assert_int_equal(account_count(results, "dropped"), 3);
	assert_int_equal(account_count(results, "missed"), 0);
	assert_int_equal(account_count(results, "unaccounted"), 0);
	assert_int_equal(m.asked, 2);
	json_decref(results);
}

/* Taken when all stands still, nothing is held and nothing is missing. */
static void test_waits_for_rest(void **state)
{
	static const struct made_up busy[] = {{.rests_from = 3, .taken = 6},
		{.rests_from = 3, .held = 2, .taken = 6},
		{.rests_from = 3, .unaccounted = -1, .taken = 6}};

	for (unsigned k = 0; k < 3; k++) {
		struct made_up m = busy[k];
		json_t *results = json_object();
		struct error error = {""};

		assert_int_equal(account_read(results, of(&m), &error), 0);
		assert_int_equal(account_count(results, "in"), 10);
		assert_int_equal(account_count(results, "unaccounted"), 0);
		assert_int_equal(m.asked, 5);
		json_decref(results);
	}
}

/* What never comes to rest is counted as it is: a ring from which a packet too many was taken. */
static void test_no_rest(void **state)
{
	struct made_up m = {.taken = 7};
	json_t *results = json_object();
	struct error error = {""};

	assert_int_equal(account_read(results, of(&m), &error), 0);
	assert_int_equal(account_count(results, "unaccounted"), 1);
	assert_true(m.asked > 2);
	json_decref(results);
}

static void test_no_answer(void **state)
{
	static const struct made_up deaf[] = {{.fails = "counter"},
		{.fails = "counter", .after = 1}, {.fails = "ring"}, {.fails = "ring", .after = 1},
		{.fails = "nic"}, {.fails = "router"}};

	for (unsigned k = 0; k < sizeof(deaf) / sizeof(*deaf); k++) {
		struct made_up m = deaf[k];
		json_t *results = json_object();
		char wanted[32];
		struct error error = {""};

		m.taken = 6;
		assert_int_equal(account_read(results, of(&m), &error), -EIO);
		snprintf(wanted, sizeof(wanted), "no %s", deaf[k].fails);
		assert_string_equal(error.text, wanted);
		json_decref(results);
	}
}

static void test_print(void **state)
{
	for (int missed = 0; missed <= 4; missed += 4) {
		struct made_up m = {.taken = 6, .missed = missed};
		json_t *results = json_object();
		char *text;
		struct error error = {""};
		size_t bytes;
		FILE *file = open_memstream(&text, &bytes);

		assert_int_equal(account_read(results, of(&m), &error), 0);
		if (missed)
			json_object_set_new(results, "forwarded_by_kernel", json_integer(5));
		account_print(results, file);
		assert_int_equal(fclose(file), 0);
		assert_non_null(
			strstr(text, "a                          0 / 0                 6 / 600\n"));
		assert_non_null(
			strstr(text, "b                          0 / 0                   0 / 0\n"));
		assert_non_null(strstr(text, "CPU: engines 1.75 s"));
		assert_non_null(strstr(text, "driver 0.1"));
		assert_non_null(
			strstr(text, "packets in: 10, 0 of them from the kernel; out: 6 sent, "
				     "1 to the kernel, 3 dropped by reason\n"));
		assert_non_null(strstr(text, missed ? "\nforwarded by the kernel: 5\n"
						    : "\ndata packets through the driver: 7\n"));
		assert_true(!!strstr(text, "  nothing\n") == !missed);
		assert_true(!!strstr(text, "no_route                    2  none\n") == !!missed);
		assert_true(!!strstr(text, "4 more were lost before a NIC had them") == !!missed);
		assert_null(strstr(text, "full\n"));
		free(text);
		json_decref(results);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_packet),
		cmocka_unit_test(test_waits_for_rest),
		cmocka_unit_test(test_no_rest),
		cmocka_unit_test(test_no_answer),
		cmocka_unit_test(test_print),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
