/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A client of the API socket that sends any bytes, to a router with two NICs that are not there and
 * a table. It answers lines of JSON objects, and lets the client go. Bytes from 0x80 on are words
 * of the protocol, from which requests come together soon.
 */
#include "router/address.h"
#include "router/api.h"
#include "router/audit.h"
#include "router/router.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define TURNS_MAX 100000u

static const char *const word[] = {"{\"show\":\"", "nic\"", "port\"", "ring\"", "counter\"",
	"drop\"", "route\"", "neighbor\"", "nexthop\"", "punt\"", "tap\"", "router\"", "version\"",
	"kernel\"", "check\"", "table\"", ",\"id\":1}\n", ",\"id\":\"x\"}\n", "}\n", "}", "\"", ",",
	"\n", "[", "]", ",\"nic\":\"a\"", ",\"nic\":\"", ",\"to\":\"10.0.2.9\"",
	",\"prefix\":\"10.0.0.0/8\"", ",\"longer\":true", ",\"via\":\"10.0.0.2\"",
	",\"via\":\"02:00:00:00:00:01\"", ",\"source\":\"static\"", ",\"version\":1",
	"{\"watch\":{\"what\":[\"", ",\"", "]}", "],\"interval_ms\":100}",
	"{\"watch\":{\"what\":[\"nic\",\"port\",\"neighbor\",\"counter\"]}",
	"{\"reload\":{\"force\":true}", "{\"hello\":{}", "{\"show\":\"route\",\"id\":1}\n",
	"{\"watch\":{\"what\":[\"route\"]", "{\"watch\":{\"what\":[\"route\",\"counter\"]"};

#define WORDS (sizeof(word) / sizeof(*word))

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct config_nic nics[2];
static struct config_router settings;
static unsigned mtu = 1500, buffer_bytes = 2048;
static struct config_neighbor neighbor = {
	.nic = (char *)"a", .ip = {{10ull << 56 | 2ull << 32, 0}, 4}};
static struct config config = {.nics = nics,
	.nics_count = 2,
	.router = &settings,
	.neighbors = &neighbor,
	.neighbors_count = 1,
	.path = (char *)"/nonexistent/fuzz.yaml"};
static struct nic_unit unit;
static struct router_nic nic[2];
static struct router router = {
	.config = &config, .nic = nic, .unit = &unit, .units = 1, .quiet = true, .signals = -1};

static unsigned changes; /* of the table, in which another route is missing each time */

static int source(void *context, struct routes *routes, struct next_hops *hops, bool alone,
	struct error *error)
{
	const struct p2pnic_adjacency to = {.kind = P2PNIC_ADJACENCY_FORWARD, .mtu = 1500};
	int hop = next_hops_gateway(hops, &neighbor.ip, &to);

	for (unsigned k = 0; k < 900; k++) {
		const struct route route = {
			{(uint64_t)k << 40 | 10ull << 56, 0}, 24, 4, (uint16_t)hop, 2};

		if (k != changes % 900 && routes_add(routes, &route))
			abort();
	}
	return 0;
}

static void change(void)
{
	const unsigned kind = ++changes % 8 ? P2PNIC_FIB_LINE_TRIE : P2PNIC_FIB_STATE_JUMP;
	struct table_nics none = {.n = 0};
	struct table_report report;
	struct error error;

	if (table_make(&router.table, kind, source, NULL, true, &none, &report, &error))
		abort();
}

static void prepare(void)
{
	for (unsigned k = 0; k < 2; k++) {
		nics[k] = (struct config_nic){.name = (char *)(k ? "b" : "a"), .mtu = &mtu};
		nic[k] = (struct router_nic){.router = &router, .unit = &unit, .event = -1};
	}
	settings.buffer_bytes = &buffer_bytes;
	router.punt.socket = router.keeper.socket = -1;
	if (loop_open(&router.loop) || audit_open(&router) ||
		table_new(&router.table, 16u << 20, P2PNIC_FIB_LINE_TRIE, 0))
		abort();
	table_watch(router.table, watch_routes, &router);
	change();
}

/* Every line that has come whole is an object. */
static void check(struct buffer *b)
{
	json_error_t error;
	char *end;

	while (b->bytes && (end = memchr(b->text, '\n', b->bytes))) {
		const size_t length = (size_t)(end - b->text) + 1;
		json_t *o = json_loadb(b->text, length, 0, &error);

		if (!json_is_object(o))
			abort();
		json_decref(o);
		b->bytes -= length;
		memmove(b->text, end + 1, b->bytes);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static bool ready;
	static struct buffer answers, text;
	const unsigned patience = size ? data[0] : 0;
	size_t sent = 0;
	int ends[2];

	answers.bytes = text.bytes = 0;
	for (size_t k = 1; k < size; k++)
		if (data[k] < 0x80)
			buffer_add(&text, (const char *)&data[k], 1);
		else
			buffer_text(&text, word[(data[k] - 0x80) % WORDS]);

	if (!ready)
		prepare();
	ready = true;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends))
		abort();
	api_accept(&router, ends[1]);
	for (unsigned turn = 0; router.clients; turn++) {
		/* Some at a time; and it reads nothing for as long as the first byte says. */
		size_t some = text.bytes - sent < 1000 ? text.bytes - sent : 1000;
		ssize_t n = some ? write(ends[0], text.text + sent, some) : 0;

		if (turn == TURNS_MAX)
			abort();
		sent += n > 0 ? (size_t)n : 0;
		if (sent == text.bytes || n < 0)
			shutdown(ends[0], SHUT_WR);
		loop_step(&router.loop, 0);
		if (turn > patience) {
			n = read(ends[0], buffer_reserve(&answers, 65536), 65536);
			answers.bytes += n > 0 ? (size_t)n : 0;
			check(&answers);
		}
		if (router.watched.first && turn % 512 == 511)
			change();
		/* Of a watch, whose end is the client's. */
		if (router.watched.first && turn > 2000)
			shutdown(ends[0], SHUT_RDWR);
	}
	close(ends[0]);
	return 0;
}
