/* SPDX-License-Identifier: BSD-3-Clause */
/* Whole runs of the tester: against a device that misbehaves on purpose, and over memif against a wire. */
#include "tester/prefixes.h"
#include "tester/reflect.h"
#include "tester/tester.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* --- A device in the test: routes perfectly, but for one packet in `every` ----------------------- */

enum mischief {
	NONE,
	LOSE,
	TWICE,
	SWAP, /* with the one before, same flow */
	KEEP_TTL,
	BAD_SUM,
	BAD_MAC,
	BAD_EXIT,
	BAD_BYTE,   /* in the payload */
	BAD_HEADER, /* destination port */
	TOO_SHORT,
	STRANGER, /* a frame of somebody else's besides */
};

#define QUEUE 4096u

struct packet {
	uint8_t byte[1600];
	uint32_t length;
};

static struct device {
	struct packet queue[4][QUEUE];
	unsigned head[4], tail[4];
	enum mischief mischief;
	unsigned every;
	unsigned done; /* acts of mischief */
	unsigned count;
} device;

static struct tester *current;

static void push(unsigned port, const uint8_t *byte, uint32_t length)
{
	struct packet *p = &device.queue[port][device.head[port]++ % QUEUE];

	memcpy(p->byte, byte, length);
	p->length = length;
}

static void forward(const struct stream *s, uint64_t number, uint64_t stamp)
{
	uint8_t b[1600];
	uint32_t sequence = (uint32_t)number, length = s->length;
	unsigned k = (unsigned)(number % s->period), exit = s->exit ? s->exit[k % s->exits] : 1;
	enum mischief m =
		device.every && ++device.count % device.every == 0 ? device.mischief : NONE;

	memcpy(b, s->expected[k].byte, 64);
	if (length > 64)
		memcpy(b + 64, s->payload + 64, length - 64);
	memcpy(b + STREAM_AT_SEQUENCE, &sequence, 4);
	memcpy(b + STREAM_AT_STAMP, &stamp, 8);
	if (m == BAD_EXIT)
		exit = 0;
	stream_mac(true, exit, b);
	stream_mac(false, exit, b + 6);
	device.done += m != NONE;
	switch (m) {
	case LOSE:
		return;
	case TWICE:
		push(exit, b, length);
		break;
	case SWAP: {
		if (device.head[exit] == device.tail[exit]) { /* none to swap with */
			device.done--;
			break;
		}
		struct packet *last = &device.queue[exit][(device.head[exit] - 1) % QUEUE];
		struct packet copy = *last;
		memcpy(last->byte, b, length);
		push(exit, copy.byte, copy.length);
		return;
	}
	case KEEP_TTL:
		b[22]++;
		break;
	case BAD_SUM:
		b[25] ^= 1;
		break;
	case BAD_MAC:
		b[11] ^= 0x40;
		break;
	case BAD_BYTE:
		b[length - 1] ^= 0x80;
		break;
	case BAD_HEADER:
		b[37] ^= 2;
		break;
	case TOO_SHORT:
		length--;
		break;
	case STRANGER: {
		uint8_t arp[60] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, [12] = 8, [13] = 6};
		push(exit, arp, 60);
		break;
	}
	default:
		break;
	}
	push(exit, b, length);
}

static bool fake_service(void *end)
{
	return true;
}

static int fake_prepare(void *end, const struct stream *s, char *error)
{
	return 0;
}

static unsigned fake_send(void *end, struct stream *s, unsigned n, unsigned probe, uint64_t stamp)
{
	for (unsigned i = 0; i < n; i++) {
		uint64_t number = s->sent++;
		s->position = (unsigned)(s->sent % s->period);
		forward(s, number, probe && !(number & (probe - 1)) ? stamp : 0);
	}
	return n;
}

static unsigned fake_receive(void *end, struct tester *t, unsigned port, bool check)
{
	unsigned n = 0;

	while (device.head[port] - device.tail[port] > 0 && n < 200) {
		struct packet *p = &device.queue[port][device.tail[port]++ % QUEUE];
		if (check)
			tester_check_frame(t, port, p->byte, p->length);
		n++;
	}
	return n;
}

static unsigned fake_waiting(void *end)
{
	return 0;
}

static const struct tester_end_ops fake = {.service = fake_service,
	.prepare = fake_prepare,
	.send = fake_send,
	.waiting = fake_waiting,
	.receive = fake_receive};

static void fake_tester(struct tester *t)
{
	memset(t, 0, sizeof(*t));
	memset(&device, 0, sizeof(device));
	t->ports = 4;
	t->ns_per_tick = 1;
	t->flow = calloc(TESTER_PORTS_MAX * TESTER_PORTS_MAX, sizeof(*t->flow));
	assert_non_null(t->flow);
	stream_payload(t->payload);
	for (unsigned i = 0; i < 4; i++) {
		t->port[i].ops = &fake;
		stream_mac(false, i, t->port[i].device_mac);
		stream_mac(true, i, t->port[i].own_mac);
	}
	current = t;
}

static void fake_close(struct tester *t)
{
	for (unsigned i = 0; i < t->ports; i++)
		stream_free(&t->port[i].stream);
	free(t->flow);
}

static struct tester_result result;

static void run(struct tester *t, const char *pattern, uint32_t bytes, enum mischief m,
	unsigned every, unsigned sample)
{
	char error[TESTER_ERROR_BYTES] = "";
	struct tester_setup setup = {
		.pattern = pattern, .frame_bytes = bytes, .mode = TESTER_ROUTED};
	struct tester_load load = {.seconds = 60,
		.packets = 9973,
		.check = TESTER_CHECK_FULL,
		.sample = sample,
		.probe = 16};

	device.mischief = m;
	device.every = every;
	device.done = device.count = 0;
	assert_int_equal(tester_prepare(t, &setup, error), 0);
	assert_int_equal(tester_run(t, &load, &result, error), 0);
	assert_int_equal(result.sent, 9973 * t->pattern.ingresses);
}

static void test_mischief(void **state)
{
	static struct tester t;
	const struct {
		enum mischief mischief;
		int error; /* -1: none */
	} cases[] = {{NONE, -1}, {LOSE, -1}, {TWICE, -1}, {SWAP, -1}, {KEEP_TTL, CHECK_TTL},
		{BAD_SUM, CHECK_CHECKSUM}, {BAD_MAC, CHECK_MAC}, {BAD_EXIT, CHECK_EXIT},
		{BAD_BYTE, CHECK_PAYLOAD}, {BAD_HEADER, CHECK_HEADER}, {TOO_SHORT, CHECK_LENGTH},
		{STRANGER, CHECK_FOREIGN}};
	const char *patterns[] = {"1in-1out", "0>1,2>3+1", "4in-4out", "4in-4out-mix"};

	fake_tester(&t);
	for (unsigned p = 0; p < sizeof(patterns) / sizeof(*patterns); p++) {
		for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
			enum mischief m = cases[i].mischief;
			/* Swapped packets must be of one flow, the port 0 that BAD_EXIT picks no exit. */
			if ((m == SWAP && p != 0) || (m == BAD_EXIT && p > 1))
				continue;
			run(&t, patterns[p], p == 1 ? 65 : 300, m, m == NONE ? 0 : 101, 1);
			unsigned acts = device.done;
			uint64_t others = 0;
			for (int e = 0; e < CHECK_ERRORS; e++)
				others += e == cases[i].error ? 0 : result.error[e];
			assert_true(m == NONE || acts > 50);
			assert_int_equal(others, 0);
			if (cases[i].error >= 0)
				assert_int_equal(result.error[cases[i].error], acts);
			assert_int_equal(result.lost, m == LOSE ? acts : 0);
			assert_int_equal(result.duplicate, m == TWICE ? acts : 0);
			assert_int_equal(result.reordered, m == SWAP ? acts : 0);
			assert_int_equal(tester_errors(&result) != 0,
				m != NONE && m != LOSE && m != STRANGER);
			assert_true(result.latency.count > 500);
		}
	}
	/* One burst in four looked at: still seen, loss still known. */
	run(&t, "4in-4out", 64, LOSE, 101, 4);
	assert_int_equal(result.lost, device.done);
	assert_true(result.checked < result.received);
	run(&t, "4in-4out", 64, KEEP_TTL, 101, 4);
	assert_true(result.error[CHECK_TTL] > 0 && result.error[CHECK_TTL] < device.done);
	assert_int_equal(result.lost, 0);
	fake_close(&t);
}

static void test_paced(void **state)
{
	static struct tester t;
	char error[TESTER_ERROR_BYTES];
	struct tester_setup setup = {
		.pattern = "4in-4out", .frame_bytes = 64, .mode = TESTER_ROUTED};
	struct tester_load load = {
		.rate = 1e6, .seconds = 0.1, .check = TESTER_CHECK_FULL, .sample = 1};

	fake_tester(&t);
	t.ns_per_tick = 0.5; /* whatever it is; the shape of the schedule is what counts */
	assert_int_equal(tester_prepare(&t, &setup, error), 0);
	assert_int_equal(tester_run(&t, &load, &result, error), 0);
	assert_int_equal(result.refused, 0);
	assert_int_equal(result.lost, 0);
	/* Never more than asked for; how much less is the scheduler's business. */
	assert_true(result.sent <= 4 * (1e6 * 0.1 + 2));
	assert_true(result.sent > 100);
	fake_close(&t);
}

/* --- Over memif ------------------------------------------------------------------------------------ */

static atomic_bool stop;

static void *wire(void *config)
{
	char error[256] = "";

	if (reflect_run(config, error))
		fprintf(stderr, "wire: %s\n", error);
	return NULL;
}

static void wire_run(bool server, enum reflect_kind kind, const char *pattern, uint32_t bytes)
{
	char mine[4][128], theirs[4][128], error[TESTER_ERROR_BYTES] = "";
	const char *my_ports[4], *their_ports[4];
	struct reflect_config config = {
		.kind = kind, .ports = their_ports, .count = 4, .stop = &stop};
	struct tester *t;
	pthread_t thread;

	for (int i = 0; i < 4; i++) {
		snprintf(mine[i], sizeof(mine[i]),
			"memif:/tmp/p2pnic-test-tester-%d-%d,role=%s,rsize=8", (int)getpid(), i,
			server ? "server" : "client");
		snprintf(theirs[i], sizeof(theirs[i]),
			"/tmp/p2pnic-test-tester-%d-%d,role=%s,rsize=8", (int)getpid(), i,
			server ? "client" : "server");
		my_ports[i] = mine[i];
		their_ports[i] = theirs[i];
	}
	assert_int_equal(pattern_parse(pattern, &config.pattern), 0);
	atomic_store(&stop, false);
	assert_int_equal(pthread_create(&thread, NULL, wire, &config), 0);
	if (tester_open(&t, my_ports, 4, error))
		fail_msg("%s", error);
	if (tester_wait(t, 20, error))
		fail_msg("%s", error);
	struct tester_setup setup = {
		.pattern = pattern, .frame_bytes = bytes, .mode = TESTER_BRIDGED};
	/* Paced below what a shared processor does, so that neither side runs out of buffers. */
	struct tester_load load = {.rate = 20e3,
		.seconds = 30,
		.packets = 2000,
		.check = TESTER_CHECK_FULL,
		.sample = 1};
	assert_int_equal(tester_prepare(t, &setup, error), 0);
	if (tester_run(t, &load, &result, error))
		fail_msg("%s", error);
	assert_int_equal(tester_errors(&result), 0);
	assert_int_equal(result.checked, result.received);
	assert_int_equal(result.received + result.lost, result.sent);
	assert_true(result.received > result.sent / 2);
	tester_close(t);
	atomic_store(&stop, true);
	pthread_join(thread, NULL);
}

static void test_wire(void **state)
{
	wire_run(true, REFLECT_WIRE, "4in-4out", 64);
	wire_run(true, REFLECT_COPY, "4in-4out-mix", 1518);
	wire_run(false, REFLECT_WIRE, "2in-2out-mix", 65);
	wire_run(false, REFLECT_COPY, "4in-4out", 128);
}

/* --- Patterns, frames, destinations ---------------------------------------------------------------- */

static void test_patterns(void **state)
{
	const char *wrong[] = {"", "x", "0in-0out", "1in-2out", "3in-3out", "1in-1out-mix",
		"4in-4out-", "18in-18out", "0>", ">1", "0>1,", "0>1,0>2", "0>16", "0>1;", "0-1"};
	struct pattern p;

	for (unsigned i = 0; i < sizeof(wrong) / sizeof(*wrong); i++)
		assert_int_equal(pattern_parse(wrong[i], &p), -EINVAL);
	assert_int_equal(pattern_parse("2in-2out-mix", &p), 0);
	assert_true(p.ports == 4 && p.ingresses == 2 && p.exits[1] == 2 && p.exit[1][0] == 2 &&
		    p.exit[1][1] == 3);
	assert_int_equal(pattern_parse("16in-16out-mix", &p), 0);
	assert_true(p.ports == 16 && p.exits[5] == 15 && p.exit[5][4] == 4 && p.exit[5][5] == 6);
	assert_int_equal(pattern_parse("0>1,1>0+3", &p), 0);
	assert_true(p.ports == 4 && p.ingresses == 2 && p.exits[0] == 1 && p.exit[1][1] == 3);
}

static void test_frames(void **state)
{
	static uint8_t payload[STREAM_FRAME_MAX + 64];
	const unsigned exits[] = {1, 2};
	struct stream s;

	stream_payload(payload);
	for (unsigned no_carry = 0; no_carry < 2; no_carry++) {
		struct stream_config c = {.ingress = 3,
			.exits = 2,
			.exit = exits,
			.frame_bytes = 64,
			.mode = TESTER_ROUTED,
			.no_carry = no_carry};
		unsigned carries = 0;
		assert_int_equal(stream_build(&s, &c, payload), 0);
		assert_int_equal(s.period, 512);
		for (unsigned k = 0; k < s.period; k++) {
			const uint8_t *b = s.line[k].byte, *e = s.expected[k].byte;
			/* The naive sum over a whole header with a valid checksum is 0xffff. */
			for (unsigned v = 0; v < 2; v++) {
				uint32_t sum = 0;
				for (unsigned i = 14; i < 34; i += 2)
					sum += (uint32_t)((v ? e : b)[i] << 8 | (v ? e : b)[i + 1]);
				assert_int_equal((sum & 0xffff) + (sum >> 16), 0xffff);
			}
			carries += b[24] == 0xff;
			assert_int_equal(b[22] - 1, e[22]);
			assert_int_equal(b[29], k / 2 % 256);
			assert_int_equal(b[32], exits[k % 2]);
		}
		if (no_carry)
			assert_int_equal(carries, 0);
		stream_free(&s);
	}
}

static void write_text(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fputs(text, f);
	assert_int_equal(fclose(f), 0);
}

static void test_prefixes(void **state)
{
	char path[] = "/tmp/p2pnic-test-prefixes-XXXXXX", error[256];
	uint32_t *a;
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	close(fd);
	write_text(path,
		"# comment\n10.0.0.0/8 64500\n2001:db8::/32 64501\n\n192.0.2.7\n224.0.0.0/4 1\n");
	assert_int_equal(prefixes_pick(path, 1000, 7, &a, error), 0);
	unsigned ten = 0;
	for (unsigned i = 0; i < 1000; i++) {
		assert_true(a[i] >> 24 == 10 || a[i] == 0xc0000207);
		ten += a[i] >> 24 == 10;
	}
	assert_true(ten > 300 && ten < 700);
	free(a);
	static const char *const bad[] = {"rubbish", "1.2.3.0/33", "1.2.3.0/x", "1.2.3.0/024",
		"1.2.3.4/24", "1.2.3.0/24 more", "1.2.3.0/24 1 2", "1.2.3.0/24\r1",
		"1.2.3.0/24 \x80", ""};
	for (unsigned i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		char text[64];
		snprintf(text, sizeof(text), "%s%s\n", *bad[i] ? "10.0.0.0/8\n" : "", bad[i]);
		write_text(path, text);
		assert_int_equal(prefixes_pick(path, 1, 7, &a, error), -EINVAL);
		assert_non_null(strstr(error, *bad[i] ? ":2: " : ": no IPv4 prefix in it"));
	}
	unlink(path);
	assert_int_equal(prefixes_pick(path, 1, 7, &a, error), -ENOENT);
	assert_non_null(strstr(error, path));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_patterns),
		cmocka_unit_test(test_frames),
		cmocka_unit_test(test_prefixes),
		cmocka_unit_test(test_mischief),
		cmocka_unit_test(test_paced),
		cmocka_unit_test(test_wire),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
