/* SPDX-License-Identifier: BSD-3-Clause */
/* Whole runs of the tester: against a device that misbehaves on purpose, and over memif against a
 * wire. */
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

/* --- A device in the test: routes perfectly, but for one packet in `every` -------------------- */

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
		b[s->at_ttl]++;
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

/* In turn for each look at all four links: u is up, d is down; the last stays. NULL: up. */
static const char *links;
static unsigned looks;

static bool fake_service(void *end)
{
	size_t turn = looks++ / 4;

	if (!links)
		return true;
	return links[turn < strlen(links) ? turn : strlen(links) - 1] == 'u';
}

static bool fake_called(void *end)
{
	return looks++ % 2;
}

static const char *fake_trouble(void *end)
{
	return "a cable is missing";
}

static int fake_prepare(void *end, const struct stream *s, struct error *error)
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
	.called = fake_called,
	.trouble = fake_trouble,
	.prepare = fake_prepare,
	.send = fake_send,
	.waiting = fake_waiting,
	.receive = fake_receive};

static void fake_tester(struct tester *t)
{
	memset(t, 0, sizeof(*t));
	memset(&device, 0, sizeof(device));
	t->ports = 4;
	t->buffer_bytes = P2PNIC_BUFFER_BYTES_MAX;
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

static bool ipv6;

static void run(struct tester *t, const char *pattern, uint32_t bytes, enum mischief m,
	unsigned every, unsigned sample)
{
	struct error error = {""};
	struct tester_setup setup = {
		.pattern = pattern, .frame_bytes = bytes, .mode = TESTER_ROUTED, .ipv6 = ipv6};
	struct tester_load load = {.seconds = 60,
		.packets = 9973,
		.check = TESTER_CHECK_FULL,
		.sample = sample,
		.probe = 16};

	device.mischief = m;
	device.every = every;
	device.done = device.count = 0;
	assert_int_equal(tester_prepare(t, &setup, &error), 0);
	assert_int_equal(tester_run(t, &load, &result, &error), 0);
	assert_int_equal(result.sent, 9973 * t->pattern.ingresses);
}

static void mischief(void)
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
			int error = ipv6 && m == BAD_SUM ? CHECK_HEADER : cases[i].error;
			/* Swapped packets must be of one flow, the port 0 that BAD_EXIT picks no
			 * exit. */
			if ((m == SWAP && p != 0) || (m == BAD_EXIT && p > 1))
				continue;
			run(&t, patterns[p], p == 1 ? 65 : 300, m, m == NONE ? 0 : 101, 1);
			unsigned acts = device.done;
			uint64_t others = 0;
			for (int e = 0; e < CHECK_ERRORS; e++)
				others += e == error ? 0 : result.error[e];
			assert_true(m == NONE || acts > 50);
			assert_int_equal(others, 0);
			if (error >= 0)
				assert_int_equal(result.error[error], acts);
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

static void test_mischief(void **state)
{
	mischief();
}

/* A wrong checksum is a wrong source address there. */
static void test_mischief_ipv6(void **state)
{
	ipv6 = true;
	mischief();
	ipv6 = false;
}

static void test_paced(void **state)
{
	static struct tester t;
	struct error error;
	struct tester_setup setup = {
		.pattern = "4in-4out", .frame_bytes = 64, .mode = TESTER_ROUTED};
	struct tester_load load = {
		.rate = 1e6, .seconds = 0.1, .check = TESTER_CHECK_FULL, .sample = 1};

	fake_tester(&t);
	t.ns_per_tick = 0.5; /* whatever it is; the shape of the schedule is what counts */
	assert_int_equal(tester_prepare(&t, &setup, &error), 0);
	assert_int_equal(tester_run(&t, &load, &result, &error), 0);
	assert_int_equal(result.refused, 0);
	assert_int_equal(result.lost, 0);
	/* Never more than asked for; how much less is the scheduler's business. */
	assert_true(result.sent <= 4 * (1e6 * 0.1 + 2));
	assert_true(result.sent > 100);
	fake_close(&t);
}

/* Part of the time is to warm up; what goes on is told. */
static unsigned told;

static void tell(void *context, const struct tester *t, double seconds)
{
	assert_ptr_equal(context, &told);
	assert_true(seconds > 0.4 * ++told);
}

static void test_progress(void **state)
{
	static struct tester t;
	const uint64_t destination[] = {0xc6120a01, 0xc6120b01, 0xc6120c01};
	struct error error;
	struct tester_setup setup = {.pattern = "1in-1out",
		.frame_bytes = 64,
		.mode = TESTER_ROUTED,
		.destination = destination,
		.destinations = 3};
	struct tester_load load = {.rate = 1e4,
		.seconds = 1.5,
		.warm_up = 0.5,
		.check = TESTER_CHECK_NONE,
		.progress = tell,
		.context = &told};

	fake_tester(&t);
	t.ns_per_tick = 20; /* time flies */
	assert_int_equal(tester_prepare(&t, &setup, &error), 0);
	/* A stall of a loaded machine may last as long as the whole run. */
	for (unsigned k = 0; k < 20 && told < 2; k++) {
		told = 0;
		assert_int_equal(tester_run(&t, &load, &result, &error), 0);
	}
	assert_true(told >= 2);
	assert_true(result.seconds >= 1.4); /* a stall makes it longer */
	assert_true(result.mpps <= (double)result.received * 1e-6 / result.seconds);
	assert_int_equal(memcmp(t.port[0].stream.line[1].byte + 30, "\xc6\x12\x0b\x01", 4), 0);
	fake_close(&t);
}

/* What there is no run for, in words. */
static void test_refused(void **state)
{
	static struct tester t;
	static char longest[2000], longest_options[2000], longest_path[2000];
	struct error error;
	const char *one[] = {NULL};
	struct tester *none;
	static const struct {
		const char *port, *says;
	} ports[] = {
		{"memif", "no KIND:TARGET"},
		{"carrier-pigeon:x", "no KIND:TARGET"},
		{"a-kind-with-a-name-that-is-far-too-long:x", "no KIND:TARGET"},
		{"memif:/tmp/x,colour=red", "colour"},
		{"pcap:/no/such/capture,", "/no/such/capture"},
		{"pcap:/no/such/capture,,colour=red", "/no/such/capture"},
		{longest, "too long"},
		{longest_path, "is too long"},
		{longest_options, "too long"},
	};
	static const struct {
		struct tester_setup setup;
		const char *says;
	} setups[] = {
		{{.pattern = "sideways", .frame_bytes = 64}, "no such pattern: 'sideways'"},
		{{.pattern = "6in-6out", .frame_bytes = 64}, "needs 6 ports, there are 4"},
		{{.pattern = "4in-4out", .frame_bytes = STREAM_FRAME_MIN - 1}, "frame size"},
		{{.pattern = "4in-4out", .frame_bytes = STREAM_FRAME_MAX + 1}, "frame size"},
	};
	static const struct tester_setup good = {
		.pattern = "4in-4out", .frame_bytes = 64, .mode = TESTER_ROUTED};
	const struct tester_load load = {.seconds = 1e6, .check = TESTER_CHECK_NONE};

	memset(longest, 'x', sizeof(longest) - 1);
	memcpy(longest_options, longest, sizeof(longest));
	memcpy(longest_path, longest, sizeof(longest));
	memcpy(longest_path, "memif:", 6);
	memcpy(longest, "pcap:", 5);
	memcpy(longest_options, "pcap:a,b,colour=", 16);
	for (unsigned n = 0; n <= TESTER_PORTS_MAX + 1; n += TESTER_PORTS_MAX + 1) {
		assert_int_equal(
			tester_open(&none, one, n, P2PNIC_BUFFER_BYTES_MIN, &error), -EINVAL);
		assert_non_null(strstr(error.text, "a tester has 1 to"));
	}
	for (unsigned k = 0; k < sizeof(ports) / sizeof(*ports); k++) {
		one[0] = ports[k].port;
		assert_true(tester_open(&none, one, 1, P2PNIC_BUFFER_BYTES_MIN, &error) < 0);
		if (!strstr(error.text, ports[k].says))
			fail_msg("%s: not '%s'", error.text, ports[k].says);
	}
	fake_tester(&t);
	for (unsigned k = 0; k < sizeof(setups) / sizeof(*setups); k++) {
		assert_int_equal(tester_prepare(&t, &setups[k].setup, &error), -EINVAL);
		if (!strstr(error.text, setups[k].says))
			fail_msg("%s: not '%s'", error.text, setups[k].says);
	}
	assert_int_equal(tester_prepare(&t, &good, &error), 0);
	static const struct {
		const char *links;
		bool wait;
		int result;
		const char *says;
	} lives[] = {
		{"d", false, -ENOTCONN, "port 0: link is down"},
		{"uud", false, -ECONNRESET, "port 0: the link went down"},
		{"d", true, -ETIMEDOUT, "port 0: no link within 0.01 s: a cable is missing"},
		{"uuud", true, -ECONNRESET, "port 0: the link came up and went: a cable"},
		{"u", true, 0, ""},
	};
	for (unsigned k = 0; k < sizeof(lives) / sizeof(*lives); k++) {
		links = lives[k].links;
		looks = 0;
		error.text[0] = 0;
		int r = lives[k].wait ? tester_wait(&t, k == 2 ? 0.01 : 20, &error)
				      : tester_run(&t, &load, &result, &error);
		assert_int_equal(r, lives[k].result);
		if (!strstr(error.text, lives[k].says))
			fail_msg("%s: not '%s'", error.text, lives[k].says);
	}
	links = NULL;
	fake_close(&t);
}

/* --- Captures --------------------------------------------------------------------------------- */

/* Packets into a capture are lost; those out of one that another run has sent are nobody's. */
static void test_captures(void **state)
{
	char directory[] = "/tmp/p2pnic-test-tester-XXXXXX";
	struct error error = {""};
	char name[4][64], path[3][48];
	const char *first[] = {name[0], name[1]}, *second[] = {name[2], name[3]};
	struct tester_setup setup = {.pattern = "0>1", .frame_bytes = 128, .mode = TESTER_BRIDGED};
	const struct tester_load load = {.seconds = 600,
		.packets = 1000,
		.check = TESTER_CHECK_FULL,
		.sample = 1,
		.probe = 16};
	struct tester *t;

	assert_non_null(mkdtemp(directory));
	for (unsigned k = 0; k < 3; k++)
		snprintf(path[k], sizeof(path[k]), "%s/%u", directory, k);
	snprintf(name[0], sizeof(name[0]), "pcap:,%.40s", path[0]);
	snprintf(name[1], sizeof(name[1]), "pcap:,%.40s", path[1]);
	snprintf(name[2], sizeof(name[2]), "pcap:%.40s,", path[0]);
	snprintf(name[3], sizeof(name[3]), "pcap:,%.40s", path[2]);
	for (unsigned k = 0; k < 2; k++) {
		if (tester_open(&t, k ? second : first, 2, P2PNIC_BUFFER_BYTES_MIN, &error) ||
			tester_wait(t, 20, &error))
			fail_msg("%s", error.text);
		setup.pattern = k ? "1>0" : "0>1";
		assert_int_equal(tester_prepare(t, &setup, &error), 0);
		if (tester_run(t, &load, &result, &error))
			fail_msg("%s", error.text);
		tester_close(t);
		assert_int_equal(result.sent, 1000);
		assert_int_equal(result.lost, 1000);
		assert_int_equal(result.received, 0);
		assert_int_equal(result.error[CHECK_FOREIGN], k ? 1000 : 0);
		assert_int_equal(tester_errors(&result), 0);
	}
	for (unsigned k = 0; k < 3; k++)
		assert_int_equal(unlink(path[k]), 0);
	assert_int_equal(rmdir(directory), 0);
}

/* --- Over memif ------------------------------------------------------------------------------- */

static atomic_bool stop;

static void *wire(void *config)
{
	struct error error = {""};

	if (reflect_run(config, &error))
		fprintf(stderr, "wire: %s\n", error.text);
	return NULL;
}

static void wire_run(bool server, enum reflect_kind kind, const char *pattern, uint32_t bytes)
{
	char mine[4][128], theirs[4][128];
	const uint32_t buffer_bytes =
		bytes <= 1518 ? P2PNIC_BUFFER_BYTES_MIN : P2PNIC_BUFFER_BYTES_MAX;
	struct error error = {""};
	const char *my_ports[4], *their_ports[4];
	struct reflect_config config = {.kind = kind,
		.ports = their_ports,
		.count = 4,
		.buffer_bytes = buffer_bytes,
		.stop = &stop};
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
	if (tester_open(&t, my_ports, 4, buffer_bytes, &error))
		fail_msg("%s", error.text);
	if (tester_wait(t, 20, &error))
		fail_msg("%s", error.text);
	struct tester_setup setup = {
		.pattern = pattern, .frame_bytes = bytes, .mode = TESTER_BRIDGED};
	/* Paced below what a shared processor does, so that neither side runs out of buffers. */
	struct tester_load load = {.rate = 20e3,
		.seconds = 30,
		.packets = 2000,
		.check = TESTER_CHECK_FULL,
		.sample = 1,
		.probe = 4};
	assert_int_equal(tester_prepare(t, &setup, &error), 0);
	if (tester_run(t, &load, &result, &error))
		fail_msg("%s", error.text);
	assert_int_equal(tester_errors(&result), 0);
	assert_int_equal(result.checked, result.received);
	assert_int_equal(result.received + result.lost, result.sent);
	assert_true(result.received > result.sent / 2);
	assert_true(result.latency.count > 0 && result.latency.count <= result.sent / 4);
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
	wire_run(true, REFLECT_WIRE, "1in-1out", 9018);
	wire_run(true, REFLECT_COPY, "2in-2out", 9216);
	wire_run(false, REFLECT_COPY, "2in-2out-mix", 16132);
}

/* Nobody at the other end of a socket: that is said, for a server and for a client. */
static void test_nobody_there(void **state)
{
	char port[96];
	struct error error;
	const char *ports[] = {port};
	struct tester *t;

	for (unsigned client = 0; client < 2; client++) {
		snprintf(port, sizeof(port), "memif:/tmp/p2pnic-test-tester-%d-nobody,role=%s",
			(int)getpid(), client ? "client" : "server");
		assert_int_equal(tester_open(&t, ports, 1, P2PNIC_BUFFER_BYTES_MIN, &error), 0);
		assert_int_equal(tester_wait(t, 0.05, &error), -ETIMEDOUT);
		assert_non_null(strstr(error.text, "port 0: no link within 0.05 s: "));
		assert_non_null(strstr(error.text, client ? "No such file" : "nobody there"));
		tester_close(t);
	}
}

static void test_reflect_refuses(void **state)
{
	char longest[200];
	struct error error;
	const char *ports[] = {longest};
	struct reflect_config config = {.kind = REFLECT_WIRE,
		.ports = ports,
		.buffer_bytes = P2PNIC_BUFFER_BYTES_MIN,
		.stop = &stop};

	memset(longest, 'x', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = 0;
	for (config.count = 0; config.count <= TESTER_PORTS_MAX + 1;
		config.count += TESTER_PORTS_MAX + 1) {
		assert_int_equal(reflect_run(&config, &error), -EINVAL);
		assert_non_null(strstr(error.text, "1 to 16 ports, not "));
	}
	config.count = 1;
	assert_int_equal(reflect_run(&config, &error), -EINVAL);
	assert_non_null(strstr(error.text, "socket path too long"));
	snprintf(longest, sizeof(longest), "/tmp/x,colour=red");
	assert_int_equal(reflect_run(&config, &error), -EINVAL);
	assert_non_null(strstr(error.text, "colour"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_mischief),
		cmocka_unit_test(test_mischief_ipv6),
		cmocka_unit_test(test_paced),
		cmocka_unit_test(test_progress),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_captures),
		cmocka_unit_test(test_wire),
		cmocka_unit_test(test_nobody_there),
		cmocka_unit_test(test_reflect_refuses),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
