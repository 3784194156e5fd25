/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Watches of routes: a client at the API socket of a router whose table changes, and which has no
 * NIC that is up. What it is told leads from the table as it was to the table as it is.
 */
#include "router/address.h"
#include "router/api.h"
#include "router/audit.h"
#include "router/router.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define ROUTES 100000u
#define BURSTS (WATCH_ROUTES_MAX / ROUTES + 3) /* too many at last */

static struct config_nic nics[2];
static struct config_router settings;
static unsigned mtu = 1500, buffer_bytes = 2048;
static struct config config = {.nics = nics, .nics_count = 2, .router = &settings};
static struct nic_unit unit;
static struct router_nic nic[2];
static struct router router = {
	.config = &config, .nic = nic, .unit = &unit, .units = 1, .quiet = true, .signals = -1};

/* Time stands still unless a test says otherwise, so that nobody is too slow by the clock. */
static unsigned now_ms = 1000;

int __wrap_clock_gettime(clockid_t clock, struct timespec *t);
int __wrap_clock_gettime(clockid_t clock, struct timespec *t)
{
	*t = (struct timespec){now_ms / 1000, now_ms % 1000 * 1000000};
	return 0;
}

/* Route k, to 10.0.0.0/24 and on: 0: there is none; else by this gateway. */
static uint8_t gateway[ROUTES];
static uint8_t source_of_all = RIB_STATIC;

static int source(void *context, struct routes *routes, struct next_hops *hops, bool alone,
	struct error *error)
{
	for (unsigned k = 0; k < ROUTES; k++) {
		const struct address via = {{10ull << 56 | (uint64_t)gateway[k] << 32, 0}, 4};
		const struct p2pnic_adjacency to = {.kind = P2PNIC_ADJACENCY_FORWARD,
			.mtu = 1500,
			.egress = gateway[k] & 1,
			.destination = {{2, 0, 0, 0, 0, gateway[k]}}};
		const int hop = gateway[k] ? next_hops_gateway(hops, &via, &to) : 0;
		const struct route route = {
			{(uint64_t)k << 40 | 10ull << 56, 0}, 24, 4, (uint16_t)hop, source_of_all};

		if (hop)
			assert_int_equal(routes_add(routes, &route), 0);
	}
	return 0;
}

static void make(unsigned kind)
{
	const struct table_nics none = {.n = 0};
	struct table_report report;
	struct error error;

	if (table_make(&router.table, kind, source, NULL, true, &none, &report, &error))
		fail_msg("%s", error.text);
}

static int set_up(void **unused)
{
	for (unsigned k = 0; k < 2; k++) {
		nics[k] = (struct config_nic){.name = (char *)(k ? "b" : "a"), .mtu = &mtu};
		nic[k] = (struct router_nic){.router = &router, .unit = &unit, .event = -1};
	}
	settings.buffer_bytes = &buffer_bytes;
	router.punt.socket = router.keeper.socket = -1;
	assert_int_equal(loop_open(&router.loop), 0);
	assert_int_equal(audit_open(&router), 0);
	assert_int_equal(table_new(&router.table, 16u << 20, P2PNIC_FIB_LINE_TRIE, 0), 0);
	table_watch(router.table, watch_routes, &router);
	return 0;
}

static int tear_down(void **unused)
{
	table_free(router.table);
	return 0;
}

/* --- A client --------------------------------------------------------------------------------- */

struct client {
	int fd;
	struct buffer text;
	bool ended;
};

/* All that comes by itself. */
static void listen_to(struct client *c)
{
	for (unsigned quiet = 0; quiet < 3 && !c->ended; quiet++) {
		ssize_t n;

		loop_step(&router.loop, 0);
		n = read(c->fd, buffer_reserve(&c->text, 1u << 20), 1u << 20);
		c->text.bytes += n > 0 ? (size_t)n : 0;
		c->ended = n == 0;
		if (n > 0)
			quiet = 0;
	}
}

static struct client client_of(const char *request)
{
	struct client c = {.fd = -1};
	int ends[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
	c.fd = ends[0];
	api_accept(&router, ends[1]);
	assert_int_equal(write(c.fd, request, strlen(request)), strlen(request));
	listen_to(&c);
	buffer_text(&c.text, "");
	assert_non_null(memchr(c.text.text, '\n', c.text.bytes));
	return c;
}

static void leave(struct client *c)
{
	close(c->fd);
	buffer_free(&c->text);
	for (unsigned k = 0; k < 10; k++)
		loop_step(&router.loop, 0);
	assert_null(router.clients);
	assert_null(router.watched.first);
	assert_null(router.watched.routes.first);
	assert_int_equal(router.watched.routes.changes, 0);
}

/* What it was told since it was asked last, as a text; the client's. */
static const char *told(struct client *c)
{
	c->text.bytes = 0;
	listen_to(c);
	buffer_add(&c->text, "", 1);
	return c->text.text;
}

#define WATCH "{\"watch\":{\"what\":[\"route\"]"
#define TO_A  ",\"nic\":\"a\",\"mac\":\"02:00:00:00:00:02\"}"
#define TO_B  ",\"nic\":\"b\",\"mac\":\"02:00:00:00:00:01\"}"
#define EVENT(k, source, rest, became)                                                             \
	"{\"event\":\"route\",\"row\":{\"prefix\":\"10.0." #k ".0/24\",\"source\":\"" source       \
	"\",\"kind\":\"forward\"" rest ",\"" became "\":true,\"id\":1}\n"

static void reset(void)
{
	memset(gateway, 0, sizeof(gateway));
	source_of_all = RIB_STATIC;
}

/* --- Tests ------------------------------------------------------------------------------------ */

static void test_what_is_told(void **unused)
{
	struct client c;

	reset();
	gateway[1] = gateway[2] = 1;
	make(P2PNIC_FIB_LINE_TRIE);
	c = client_of(WATCH "},\"id\":1}\n");
	assert_string_equal(told(&c), "");
	gateway[1] = 2;
	gateway[2] = 0;
	gateway[3] = 1;
	make(P2PNIC_FIB_LINE_TRIE);
	assert_string_equal(told(&c), EVENT(1, "static", TO_A, "replaced") EVENT(2, "static", TO_B,
					      "gone") EVENT(3, "static", TO_B, "added"));
	/* Of another kind: made anew and loaded, with next hops of other numbers. */
	gateway[0] = 1;
	gateway[3] = 2;
	make(P2PNIC_FIB_STATE_JUMP);
	assert_string_equal(
		told(&c), EVENT(0, "static", TO_B, "added") EVENT(3, "static", TO_A, "replaced"));
	gateway[1] = 0;
	source_of_all = RIB_FILE;
	make(P2PNIC_FIB_LINE_TRIE);
	assert_string_equal(told(&c), EVENT(0, "file", TO_B, "replaced") EVENT(1, "static", TO_A,
					      "gone") EVENT(3, "file", TO_A, "replaced"));
	make(P2PNIC_FIB_LINE_TRIE);
	assert_string_equal(told(&c), "");
	leave(&c);
}

static void check_filter(const char *filter, const char *wanted)
{
	char request[256];
	struct client c;

	reset();
	gateway[5] = 2;
	make(P2PNIC_FIB_LINE_TRIE);
	snprintf(request, sizeof(request), WATCH "%s},\"id\":1}\n", filter);
	c = client_of(request);
	gateway[0] = gateway[4] = 1;
	source_of_all = RIB_FILE;
	make(P2PNIC_FIB_LINE_TRIE);
	assert_string_equal(told(&c), wanted);
	leave(&c);
}

static void test_filters(void **unused)
{
	check_filter(",\"prefix\":\"10.0.4.0/24\"", EVENT(4, "file", TO_B, "added"));
	check_filter(",\"prefix\":\"10.0.4.0/22\"", "");
	check_filter(",\"prefix\":\"10.0.4.0/22\",\"longer\":true",
		EVENT(4, "file", TO_B, "added") EVENT(5, "file", TO_A, "replaced"));
	check_filter(",\"to\":\"10.0.4.9\"", EVENT(4, "file", TO_B, "added"));
	check_filter(",\"to\":\"::a\"", "");
	check_filter(",\"source\":\"static\"", EVENT(5, "file", TO_A, "replaced"));
	check_filter(",\"source\":\"kernel\"", "");
}

/* The number of a route, from its event. (sscanf looks for the end of all the text first.) */
static unsigned number_of(const char *line)
{
	static const char head[] = "{\"event\":\"route\",\"row\":{\"prefix\":\"";
	unsigned long byte[3];
	char *at = (char *)line + sizeof(head) - 1;

	assert_memory_equal(line, head, sizeof(head) - 1);
	for (unsigned k = 0; k < 3; k++) {
		byte[k] = strtoul(at, &at, 10);
		assert_int_equal(*at++, '.');
	}
	return (unsigned)((byte[0] - 10) << 16 | byte[1] << 8 | byte[2]);
}

static void test_burst(void **unused)
{
	struct client c;

	reset();
	make(P2PNIC_FIB_LINE_TRIE);
	c = client_of(WATCH "},\"id\":1}\n");
	for (unsigned burst = 0; burst < 3; burst++) {
		const char *at = NULL;

		memset(gateway, burst == 2 ? 0 : (int)burst + 1, sizeof(gateway));
		make(P2PNIC_FIB_LINE_TRIE);
		assert_int_equal(router.watched.routes.changes, ROUTES);
		at = told(&c);
		for (unsigned k = 0; k < ROUTES; k++) {
			assert_int_equal(number_of(at), k);
			at = strchr(at, '\n') + 1;
		}
		assert_int_equal(*at, 0);
		assert_int_equal(router.watched.routes.changes, 0);
	}
	leave(&c);
}

static size_t lines_of(const char *text)
{
	size_t n = 0;

	for (; (text = strchr(text, '\n')); text++)
		n++;
	return n;
}

/* One client reads nothing, another all: the first is dropped when too much waits for it. */
static void test_slow(void **unused)
{
	struct client slow, fast;
	unsigned bursts = 0;

	reset();
	make(P2PNIC_FIB_LINE_TRIE);
	slow = client_of(WATCH "},\"id\":1}\n");
	fast = client_of(WATCH "},\"id\":1}\n");
	while (router.watched.first && router.watched.first->next && bursts++ < BURSTS) {
		memset(gateway, (int)bursts & 1 ? 1 : 2, sizeof(gateway));
		make(P2PNIC_FIB_LINE_TRIE);
		assert_true(router.watched.routes.changes <= WATCH_ROUTES_MAX);
		assert_int_equal(lines_of(told(&fast)), ROUTES);
	}
	assert_int_equal(bursts, WATCH_ROUTES_MAX / ROUTES + 1);
	assert_int_equal(router.watched.routes.changes, 0);
	listen_to(&slow);
	assert_true(slow.ended);
	close(slow.fd);
	buffer_free(&slow.text);
	memset(gateway, 0, sizeof(gateway));
	make(P2PNIC_FIB_LINE_TRIE);
	assert_int_equal(lines_of(told(&fast)), ROUTES);
	leave(&fast);
}

/* Counters are told between the changes of a burst, each NIC's once. */
static void test_counters_between(void **unused)
{
	size_t routes = 0, counters = 0, between = 0;
	struct client c;

	reset();
	make(P2PNIC_FIB_LINE_TRIE);
	c = client_of(
		"{\"watch\":{\"what\":[\"route\",\"counter\"],\"interval_ms\":100},\"id\":1}\n");
	memset(gateway, 1, sizeof(gateway));
	make(P2PNIC_FIB_LINE_TRIE);
	now_ms += 120; /* they are due, in the midst of what waits */
	for (const char *line = told(&c); *line; line = strchr(line, '\n') + 1) {
		if (!strncmp(line, "{\"event\":\"route\"", 16)) {
			assert_int_equal(number_of(line), routes++);
			continue;
		}
		assert_non_null(strstr(line, counters % 2 ? "\"nic\":\"b\"" : "\"nic\":\"a\""));
		counters++;
		between += routes && routes < ROUTES;
	}
	assert_int_equal(routes, ROUTES);
	assert_true(between >= 2);
	leave(&c);
}

/* What is said of a route, by its row. */
static void hear(uint8_t *said, const json_t *row, bool gone)
{
	const char *mac = json_string_value(json_object_get(row, "mac"));
	unsigned a, b, c;

	assert_int_equal(
		sscanf(json_string_value(json_object_get(row, "prefix")), "%u.%u.%u.", &a, &b, &c),
		3);
	said[(a - 10) << 16 | b << 8 | c] = gone ? 0 : (uint8_t)(mac[16] - '0');
}

/* All routes are asked for in a watch, while they change: of what is said of each, the last is how
 * it is. */
static void test_all_and_changes(void **unused)
{
	static uint8_t said[ROUTES];
	unsigned long seed = (unsigned long)time(NULL);
	size_t rows = 0, events = 0, k;
	struct client c;
	json_t *row;

	printf("seed %lu\n", seed);
	srandom((unsigned)seed);
	reset();
	memset(gateway, 1, sizeof(gateway));
	make(P2PNIC_FIB_LINE_TRIE);
	c = client_of(WATCH "},\"id\":1}\n");
	c.text.bytes = 0;
	assert_int_equal(write(c.fd, "{\"show\":\"route\",\"id\":2}\n", 25), 25);
	for (unsigned turn = 0; turn < 20; turn++) {
		for (unsigned n = 0; n < 2000; n++)
			gateway[(unsigned)random() % ROUTES] = (uint8_t)(random() % 4);
		make(turn == 10 ? P2PNIC_FIB_STATE_JUMP : P2PNIC_FIB_LINE_TRIE);
		for (unsigned n = 0; n < 8; n++) {
			ssize_t got;

			loop_step(&router.loop, 0);
			got = read(c.fd, buffer_reserve(&c.text, 1u << 20), 1u << 20);
			c.text.bytes += got > 0 ? (size_t)got : 0;
		}
	}
	listen_to(&c);
	for (char *line = c.text.text, *end = line + c.text.bytes; line < end;) {
		char *next = (char *)memchr(line, '\n', (size_t)(end - line)) + 1;
		json_t *o = json_loadb(line, (size_t)(next - line), 0, NULL);

		assert_null(json_object_get(o, "error"));
		json_array_foreach(json_object_get(o, "route"), k, row)
		{
			hear(said, row, false);
			rows++;
		}
		row = json_object_get(o, "row");
		if (row)
			hear(said, row, json_object_get(o, "gone"));
		events += row != NULL;
		json_decref(o);
		line = next;
	}
	assert_true(rows > ROUTES / 2 && events > 20000);
	assert_memory_equal(said, gateway, sizeof(said));
	leave(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_is_told),
		cmocka_unit_test(test_filters),
		cmocka_unit_test(test_burst),
		cmocka_unit_test(test_slow),
		cmocka_unit_test(test_counters_between),
		cmocka_unit_test(test_all_and_changes),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
