/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What ports/port.h promises, on every type of port:
 * `test_port_conformance TYPE [MODE | napi] [BYTES]`, BYTES of a packet buffer.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "port_conformance.h"
#include "tests/unit/descriptors.h"

#include <ports/af_packet.h>
#include <ports/af_xdp.h>
#include <ports/pcap.h>
#include <ports/tap.h>

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const struct port_ops *path;
static const char *mode; /* "mode=generic"; NULL: the type's default */
static char directory[] = "/tmp/pp-port-XXXXXX";
static char in_path[64], out_path[64], target[160], tap_mtu[16];

unsigned length_of(unsigned i)
{
	const unsigned more = P2PNIC_FRAME_BYTES_MAX(rig_buffer_bytes) - P2PNIC_FRAME_BYTES_MIN;

	return P2PNIC_FRAME_BYTES_MIN + i * more / (SIZES - 1);
}

bool is_pcap(void)
{
	return path == &pcap_port_ops;
}

static bool is_tap(void)
{
	return path == &tap_port_ops;
}

/* --- the wire of each type -------------------------------------------------------------------- */

static struct rig *up; /* for a test that fails midway: the next wants the interface */

static int teardown(void **state)
{
	if (up) {
		path->close(up->port);
		rig_free(up);
	}
	up = NULL;
	return 0;
}

void rig_up(struct rig *rig, const unsigned *lengths, unsigned n, unsigned buffers)
{
	rig_memory(rig, path);
	if (is_pcap()) {
		uint8_t bytes[P2PNIC_BUFFER_BYTES_MAX];
		struct capture_writer *writer = capture_create(in_path, CAPTURE_ETHERNET, true);
		assert_non_null(writer);
		for (unsigned i = 0; i < n; i++) {
			rig_frame(bytes, lengths[i], i);
			capture_write(writer, &(struct capture_record){.length = lengths[i],
						      .captured = lengths[i],
						      .bytes = bytes});
		}
		capture_finish(writer);
		snprintf(target, sizeof(target), "%s,%s", in_path, out_path);
		rig->config.target = target;
	}
	if (is_tap()) {
		rig->config.target = "pp-tap";
		snprintf(tap_mtu, sizeof(tap_mtu), "mtu=%u", P2PNIC_MTU_MAX(rig_buffer_bytes));
		rig->config.options = tap_mtu;
	}
	if (mode)
		rig->config.options = mode;
	if (path->open(rig->port, &rig->config, &rig->error))
		fail_msg("open: %s", rig->error.text);
	up = rig;
	if (!is_pcap()) {
		rig->wire = rig_wire_open(is_tap() ? "pp-tap" : "pp-wire");
		assert_true(rig->wire >= 0);
		for (int tries = 0; tries < 100; tries++) {
			struct port_info info;
			path->service(rig->port);
			path->info(rig->port, &info);
			if (info.link)
				break;
			rig_sleep_ms(10);
		}
	}
	int taken = path->start(rig->port, rig->buffers, buffers);
	assert_in_range(taken, 1, buffers);
	rig->taken = (unsigned)taken;
}

static void wire_feed(struct rig *rig, const unsigned *lengths, unsigned from, unsigned to)
{
	uint8_t bytes[P2PNIC_BUFFER_BYTES_MAX];

	for (unsigned i = from; !is_pcap() && i < to; i++) {
		rig_frame(bytes, lengths[i], i);
		assert_true(rig_wire_send(rig->wire, bytes, lengths[i]));
	}
}

static bool is_test_frame(const struct frame *frame)
{
	return frame->length >= 14 && frame->data[12] == RIG_ETHERTYPE >> 8 &&
	       frame->data[13] == (RIG_ETHERTYPE & 0xff);
}

void assert_frame(const uint8_t *data, unsigned length, unsigned expected, uint32_t seed)
{
	uint8_t bytes[P2PNIC_BUFFER_BYTES_MAX];

	assert_int_equal(length, expected);
	rig_frame(bytes, expected, seed);
	assert_memory_equal(data, bytes, expected);
}

void rig_down(struct rig *rig)
{
	up = NULL;
	path->close(rig->port);
	rig_free(rig);
}

/* --- receiving -------------------------------------------------------------------------------- */

/* All lengths, in order, bit by bit; random frames are kept and must outlive everything after them.
 * The twin of the port's books: who owns each buffer. */
static void receive_and_keep(unsigned buffers)
{
	enum { PORT, CALLER, KEPT };
	static uint8_t owner[RIG_BUFFERS_ALL];
	static struct {
		uint32_t offset, length, seed;
	} kept[512];
	static unsigned lengths[SIZES];
	struct frame frames[P2PNIC_BURST_MAX];
	unsigned kept_count = 0, next = 0, fed = 0;
	static struct rig rig;

	for (unsigned i = 0; i < SIZES; i++)
		lengths[i] = length_of(i);
	rig_up(&rig, lengths, SIZES, buffers);
	memset(owner, CALLER, sizeof(owner));
	for (unsigned i = 0; i < rig.taken; i++)
		owner[rig.buffers[i] / rig_buffer_bytes] = PORT;

	srand(7);
	for (unsigned idle = 0; next < SIZES && idle < 2000;) {
		if (fed == next && fed < SIZES) {
			/* af_xdp loses what comes while no buffer is posted, as any NIC does. */
			unsigned to = fed + 1 + (buffers < 6 ? 0 : (unsigned)rand() % 48);
			wire_feed(&rig, lengths, fed, to < SIZES ? to : SIZES);
			fed = to < SIZES ? to : SIZES;
		}
		unsigned max = 1 + (unsigned)rand() % P2PNIC_BURST_MAX;
		if (path->prefetch)
			path->prefetch(rig.port); /* a hint: it changes nothing */
		unsigned n = path->receive(rig.port, frames, max);
		assert_in_range(n, 0, max);
		if (n == 0) {
			idle++;
			rig_sleep_ms(1);
		}
		for (unsigned k = 0; k < n; k++) {
			if (!is_test_frame(&frames[k]))
				continue;
			/* Readable in steps of 64 bytes. */
			for (unsigned i = 0; i < ((frames[k].length + 63) & ~63u); i++)
				(void)*(volatile uint8_t *)&frames[k].data[i];
			assert_frame(frames[k].data, frames[k].length, lengths[next], next);
			if (rand() % 4 == 0 && kept_count < 512) {
				uint32_t spare = RIG_SPARES + kept_count * rig_buffer_bytes;
				uint32_t offset = rig_keep(path, rig.port, k, spare);
				unsigned buffer = offset / rig_buffer_bytes;
				assert_true((uint64_t)offset % rig_buffer_bytes + lengths[next] <=
					    rig_buffer_bytes);
				assert_int_equal(owner[spare / rig_buffer_bytes], CALLER);
				/* Swapped, or copied into the spare. */
				if (buffer != spare / rig_buffer_bytes) {
					assert_int_equal(owner[buffer], PORT);
					owner[spare / rig_buffer_bytes] = PORT;
				}
				owner[buffer] = KEPT;
				assert_frame(
					rig.memory + offset, lengths[next], lengths[next], next);
				kept[kept_count].offset = offset;
				kept[kept_count].length = lengths[next];
				kept[kept_count++].seed = next;
			}
			next++;
		}
		path->release(rig.port);
	}
	assert_int_equal(next, SIZES);
	assert_in_range(kept_count, 1, 512);
	for (unsigned i = 0; i < kept_count; i++)
		assert_frame(
			rig.memory + kept[i].offset, kept[i].length, kept[i].length, kept[i].seed);

	/* Exactly the port's buffers come back, each once. */
	static uint32_t back[RIG_BUFFERS];
	assert_int_equal(path->stop(rig.port, back), rig.taken);
	for (unsigned i = 0; i < rig.taken; i++) {
		assert_int_equal(back[i] % rig_buffer_bytes, 0);
		assert_int_equal(owner[back[i] / rig_buffer_bytes], PORT);
		owner[back[i] / rig_buffer_bytes] = CALLER;
	}
	rig_down(&rig);
}

static void test_receive(void **state)
{
	receive_and_keep(RIG_BUFFERS);
}

static void test_receive_one_buffer(void **state)
{
	/* af_xdp: as many as the longest frame has pieces. */
	receive_and_keep(path == &af_xdp_port_ops && rig_buffer_bytes > 4096 ? 5 : 1);
}

static void test_stop_and_start(void **state)
{
	static unsigned lengths[300];
	struct frame frames[P2PNIC_BURST_MAX];
	uint32_t back[RIG_BUFFERS];
	unsigned next = 0;
	static struct rig rig;

	for (unsigned i = 0; i < 300; i++)
		lengths[i] = 60 + i;
	rig_up(&rig, lengths, 300, RIG_BUFFERS);
	for (unsigned round = 0; round < 3; round++) {
		wire_feed(&rig, lengths, next, next + 20);
		unsigned until = next + 20;
		for (unsigned idle = 0; next < until && idle < 1000; idle++) {
			unsigned max = until - next;
			unsigned n = path->receive(rig.port, frames, max);
			for (unsigned k = 0; k < n; k++)
				if (is_test_frame(&frames[k])) {
					assert_frame(frames[k].data, frames[k].length,
						lengths[next], next);
					next++;
				}
			path->release(rig.port);
			if (n == 0)
				rig_sleep_ms(1);
		}
		assert_int_equal(next, until);
		assert_int_equal(path->stop(rig.port, back), rig.taken);
		assert_int_equal(path->receive(rig.port, frames, P2PNIC_BURST_MAX), 0);
		path->release(rig.port);
		/* What arrives while stopped is not delivered after the start either. */
		uint8_t late[60];
		rig_frame(late, sizeof(late), 9999);
		if (!is_pcap())
			assert_true(rig_wire_send(rig.wire, late, sizeof(late)));
		rig_sleep_ms(5);
		assert_int_equal(path->receive(rig.port, frames, P2PNIC_BURST_MAX), 0);
		assert_int_equal(path->start(rig.port, back, rig.taken), rig.taken);
	}
	rig_down(&rig);
}

static void test_start_refuses(void **state)
{
	const uint32_t odd = 100, outside = RIG_MEMORY_BYTES;
	static struct rig rig;

	rig_up(&rig, NULL, 0, RIG_BUFFERS);
	path->stop(rig.port, rig.buffers);
	assert_int_equal(path->start(rig.port, &odd, 1), -EINVAL);
	assert_int_equal(path->start(rig.port, &outside, 1), -EINVAL);
	assert_int_equal(path->start(rig.port, rig.buffers, 0), -EINVAL);
	rig_down(&rig);
}

static void test_armed_descriptor(void **state)
{
	const unsigned length = 100;
	struct frame frames[P2PNIC_BURST_MAX];
	static struct rig rig;

	rig_up(&rig, &length, 1, RIG_BUFFERS);
	int fd = path->fd(rig.port);
	if (fd < 0) {
		assert_true(path->arm(rig.port)); /* no fd: what waits must be told by arm */
		path->disarm(rig.port);
	} else {
		unsigned n;
		while ((n = path->receive(rig.port, frames, P2PNIC_BURST_MAX)))
			path->release(rig.port);
		path->release(rig.port);
		struct pollfd wait = {.fd = fd, .events = POLLIN};
		assert_false(path->arm(rig.port));
		assert_int_equal(poll(&wait, 1, 0), 0);
		wire_feed(&rig, &length, 0, 1);
		assert_int_equal(poll(&wait, 1, 1000), 1);
		path->disarm(rig.port);
	}
	assert_int_equal(path->receive(rig.port, frames, P2PNIC_BURST_MAX), 1);
	assert_frame(frames[0].data, frames[0].length, length, 0);
	path->release(rig.port);
	rig_down(&rig);
}

/* A tag in the frame arrives in the frame, though the kernel takes it out on the way. */
static void test_vlan_tag(void **state)
{
	static const uint16_t types[] = {0x8100, 0x88a8};
	struct frame frames[P2PNIC_BURST_MAX];
	static struct rig rig;
	uint8_t bytes[200];

	if (is_pcap())
		skip();
	rig_up(&rig, NULL, 0, RIG_BUFFERS);
	for (unsigned i = 0; i < 2; i++) {
		unsigned n = 0;
		rig_frame(bytes, sizeof(bytes), i);
		bytes[12] = (uint8_t)(types[i] >> 8);
		bytes[13] = (uint8_t)types[i];
		bytes[14] = 0xa0; /* priority 5, VLAN 7 */
		bytes[15] = 7;
		bytes[16] = RIG_ETHERTYPE >> 8;
		bytes[17] = RIG_ETHERTYPE & 0xff;
		assert_true(rig_wire_send(rig.wire, bytes, sizeof(bytes)));
		for (int tries = 0; n == 0 && tries < 1000; tries++) {
			n = path->receive(rig.port, frames, P2PNIC_BURST_MAX);
			if (n == 0)
				rig_sleep_ms(1);
		}
		assert_int_equal(n, 1);
		assert_int_equal(frames[0].length, sizeof(bytes));
		assert_memory_equal(frames[0].data, bytes, sizeof(bytes));
		uint32_t kept = rig_keep(path, rig.port, 0, RIG_SPARES + i * rig_buffer_bytes);
		assert_memory_equal(rig.memory + kept, bytes, sizeof(bytes));
		path->release(rig.port);
	}
	rig_down(&rig);
}

/* --- sending ---------------------------------------------------------------------------------- */

struct p2pnic_descriptor place(struct rig *rig, unsigned i, unsigned length)
{
	uint32_t offset = RIG_SEND_AREA + i % 512 * rig_buffer_bytes +
			  (uint32_t)rand() % (rig_buffer_bytes - length + 1);

	rig_frame(rig->memory + offset, length, i);
	return (struct p2pnic_descriptor){.offset = offset, .length = (uint16_t)length};
}

void complete(struct rig *rig, unsigned want, uint64_t *failed)
{
	unsigned done = 0;

	for (int tries = 0; done < want && tries < 2000; tries++) {
		unsigned n = path->transmitted(rig->port, failed);
		done += n;
		if (n == 0)
			rig_sleep_ms(1);
	}
	assert_int_equal(done, want);
}

unsigned wire_take(struct rig *rig, struct capture_reader **capture, uint8_t *bytes, unsigned room)
{
	struct capture_record record;

	if (!is_pcap())
		return rig_wire_receive(rig->wire, bytes, room);
	if (!*capture)
		*capture = capture_open(out_path);
	if (!*capture || !capture_read(*capture, &record))
		return 0;
	assert_int_equal(record.captured, record.length);
	memcpy(bytes, record.bytes, record.captured);
	return record.captured;
}

static void test_transmit(void **state)
{
	struct p2pnic_descriptor frames[P2PNIC_BURST_MAX];
	uint8_t bytes[P2PNIC_BUFFER_BYTES_MAX];
	struct capture_reader *capture = NULL;
	uint64_t failed = 0;
	static struct rig rig;

	srand(11);
	rig_up(&rig, NULL, 0, RIG_BUFFERS);
	for (unsigned sent = 0; sent < SIZES;) {
		/* 32: what a socket buffer holds on the test's end, where it may not be
		 * enlarged. */
		unsigned n = 1 + (unsigned)rand() % 32;
		if (n > SIZES - sent)
			n = SIZES - sent;
		for (unsigned i = 0; i < n; i++)
			frames[i] = place(&rig, sent + i, length_of(sent + i));
		assert_int_equal(path->transmit(rig.port, frames, n), n);
		port_flush_and_notify(path, rig.port);
		complete(&rig, n, &failed);
		for (unsigned i = 0; i < n && !is_pcap(); i++) {
			unsigned length = wire_take(&rig, &capture, bytes, sizeof(bytes));
			assert_frame(bytes, length, length_of(sent + i), sent + i);
		}
		sent += n;
	}
	assert_int_equal(failed, 0);
	for (unsigned i = 0; is_pcap() && i < SIZES; i++) {
		unsigned length = wire_take(&rig, &capture, bytes, sizeof(bytes));
		assert_frame(bytes, length, length_of(i), i);
	}
	if (capture)
		capture_close(capture);
	rig_down(&rig);
}

/* Frames that must not be sent are reported failed in their turn; their neighbours leave. */
static void test_transmit_refuses(void **state)
{
	struct p2pnic_descriptor frames[10];
	uint8_t bytes[P2PNIC_BUFFER_BYTES_MAX];
	struct capture_reader *capture = NULL;
	uint64_t failed = 0;
	static struct rig rig;

	rig_up(&rig, NULL, 0, RIG_BUFFERS);
	for (unsigned i = 0; i < 10; i++)
		frames[i] = place(&rig, i, 60 + i);
	frames[1].offset = RIG_MEMORY_BYTES;                      /* outside */
	frames[2].offset = UINT32_MAX;                            /* wraps */
	frames[3].offset = RIG_SEND_AREA + rig_buffer_bytes - 48; /* crosses a buffer's end */
	frames[4].offset = RIG_SEND_AREA;                         /* too long */
	frames[4].length = (uint16_t)(P2PNIC_FRAME_BYTES_MAX(rig_buffer_bytes) + 1);
	frames[5].length = 13; /* too short */
	frames[6].length = 0;
	frames[7].length = UINT16_MAX;
	frames[8].offset = RIG_MEMORY_BYTES - 30; /* ends outside */
	assert_int_equal(path->transmit(rig.port, frames, 10), 10);
	port_flush_and_notify(path, rig.port);
	complete(&rig, 10, &failed);
	assert_int_equal(failed, 8);
	assert_frame(bytes, wire_take(&rig, &capture, bytes, sizeof(bytes)), 60, 0);
	assert_frame(bytes, wire_take(&rig, &capture, bytes, sizeof(bytes)), 69, 9);
	if (capture)
		capture_close(capture);
	rig_down(&rig);
}

/* A queue that is full takes fewer; nothing is lost or doubled. */
static void test_transmit_pressure(void **state)
{
	enum { TOTAL = 5000 };
	static struct p2pnic_descriptor frames[TOTAL];
	uint8_t bytes[P2PNIC_BUFFER_BYTES_MAX];
	struct capture_reader *capture = NULL;
	uint64_t failed = 0;
	unsigned given = 0, done = 0, seen = 0;
	static struct rig rig;

	srand(13);
	rig_up(&rig, NULL, 0, RIG_BUFFERS);
	for (unsigned i = 0; i < 512; i++)
		frames[i] = place(&rig, i, 64);
	for (unsigned i = 512; i < TOTAL; i++)
		frames[i] = frames[i % 512];
	while (done < TOTAL) {
		unsigned n = TOTAL - given < P2PNIC_BURST_MAX ? TOTAL - given : P2PNIC_BURST_MAX;
		/* The buffers are used again every 512 frames, with the same content. */
		given += path->transmit(rig.port, &frames[given], n);
		port_flush_and_notify(path, rig.port);
		done += path->transmitted(rig.port, &failed);
		while (!is_pcap() && seen < done) {
			assert_frame(bytes, wire_take(&rig, &capture, bytes, sizeof(bytes)), 64,
				seen % 512);
			seen++;
		}
	}
	assert_int_equal(given, TOTAL);
	assert_int_equal(failed, 0);
	for (; seen < TOTAL; seen++)
		assert_frame(
			bytes, wire_take(&rig, &capture, bytes, sizeof(bytes)), 64, seen % 512);
	assert_int_equal(path->transmitted(rig.port, &failed), 0);
	if (capture)
		capture_close(capture);
	rig_down(&rig);
}

/* --- life ------------------------------------------------------------------------------------- */

static void test_descriptors_flat(void **state)
{
	static struct rig rig;

	rig_up(&rig, NULL, 0, RIG_BUFFERS);
	rig_down(&rig);
	int before = open_descriptors();
	for (unsigned i = 0; i < 10; i++) {
		rig_up(&rig, NULL, 0, RIG_BUFFERS);
		rig_down(&rig);
	}
	assert_int_equal(open_descriptors(), before);
}

static void test_open_refuses(void **state)
{
	static struct rig rig;
	int before = open_descriptors();

	rig_memory(&rig, path);
	rig.config.target = "no,such/thing";
	assert_true(path->open(rig.port, &rig.config, &rig.error) < 0);
	assert_true(strlen(rig.error.text) > 10);
	snprintf(target, sizeof(target), "%s", is_pcap() ? "," : "pp-port");
	rig.config.target = target;
	rig.config.options = "colour=red";
	assert_int_equal(path->open(rig.port, &rig.config, &rig.error), -EINVAL);
	assert_non_null(strstr(rig.error.text, "colour"));
	rig.config.options = "=1";
	assert_int_equal(path->open(rig.port, &rig.config, &rig.error), -EINVAL);
	rig.config.options = NULL;
	if (path == &af_xdp_port_ops) {
		rig.config.options = "transmit-ring=100";
		assert_int_equal(path->open(rig.port, &rig.config, &rig.error), -EINVAL);
		assert_non_null(strstr(rig.error.text, "power of two"));
		rig.config.options = NULL;
	}
	rig.config.buffer_bytes = 8192;
	assert_int_equal(path->open(rig.port, &rig.config, &rig.error), -EINVAL);
	rig.config.buffer_bytes = rig_buffer_bytes;
	rig.config.memory_bytes = 1000;
	assert_int_equal(path->open(rig.port, &rig.config, &rig.error), -EINVAL);
	rig_free(&rig);
	assert_int_equal(open_descriptors(), before);
}

static void test_registry(void **state)
{
	assert_ptr_equal(port_find(path->type), path);
	assert_null(port_find("token-ring"));
}

int main(int argc, char **argv)
{
	static const struct port_ops *const paths[] = {
		&af_packet_port_ops, &af_xdp_port_ops, &pcap_port_ops, &tap_port_ops};
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_receive, teardown),
		cmocka_unit_test_teardown(test_receive_one_buffer, teardown),
		cmocka_unit_test_teardown(test_stop_and_start, teardown),
		cmocka_unit_test_teardown(test_start_refuses, teardown),
		cmocka_unit_test_teardown(test_armed_descriptor, teardown),
		cmocka_unit_test_teardown(test_vlan_tag, teardown),
		cmocka_unit_test_teardown(test_transmit, teardown),
		cmocka_unit_test_teardown(test_transmit_refuses, teardown),
		cmocka_unit_test_teardown(test_transmit_from, teardown),
		cmocka_unit_test_teardown(test_peer_that_writes, teardown),
		cmocka_unit_test_teardown(test_peer_that_dies, teardown),
		cmocka_unit_test_teardown(test_transmit_pressure, teardown),
		cmocka_unit_test_teardown(test_descriptors_flat, teardown),
		cmocka_unit_test_teardown(test_open_refuses, teardown),
		cmocka_unit_test_teardown(test_registry, teardown),
	};

	static char option[64];
	for (int i = 2; i < argc; i++)
		if (p2pnic_buffer_bytes_valid((unsigned)atoi(argv[i]))) {
			rig_buffer_bytes = (uint32_t)atoi(argv[i]);
		} else if (!strcmp(argv[i], "napi")) {
			rig_napi = true;
		} else {
			snprintf(option, sizeof(option), "mode=%s", argv[i]);
			mode = option;
		}
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
		if (argc >= 2 && !strcmp(argv[1], paths[i]->type))
			path = paths[i];
	if (!path) {
		fprintf(stderr, "usage: %s TYPE [MODE | napi] [BYTES]\n", argv[0]);
		return 2;
	}
	if (!is_pcap() && !rig_namespace()) {
		printf("skipped: no network namespace allowed here\n");
		return 77;
	}
	if (!is_pcap() && (!rig_permitted(path) || rig_veth()))
		return 77;
	if (!mkdtemp(directory))
		return 1;
	snprintf(in_path, sizeof(in_path), "%s/in.pcap", directory);
	snprintf(out_path, sizeof(out_path), "%s/out.pcap", directory);
	int failed = cmocka_run_group_tests_name(path->type, tests, NULL, NULL);
	unlink(in_path);
	unlink(out_path);
	rmdir(directory);
	return failed;
}
