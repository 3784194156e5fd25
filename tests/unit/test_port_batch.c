/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Batches of an af_xdp port through a veth (ports/xdp_send.h): what is sent by them and what by the
 * socket arrives in order; what the other end does not take is counted, or leaves by the socket.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "port_rig.h"
#include "seed.h"

#include <ports/af_xdp.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct port_ops *const path = &af_xdp_port_ops;
static struct rig rig;
static struct af_xdp_port *port;

static void open_port(const char *options)
{
	rig_memory(&rig, path);
	rig.config.options = options;
	if (path->open(rig.port, &rig.config, &rig.error))
		fail_msg("open: %s", rig.error.text);
	port = rig.port;
	rig.wire = rig_wire_open("pp-wire");
	assert_true(rig.wire >= 0);
	for (int tries = 0; tries < 100 && !port->interface.link; tries++) {
		rig_sleep_ms(10);
		path->service(port);
	}
	assert_true(path->start(port, rig.buffers, RIG_BUFFERS) > 0);
}

static int setup(void **state)
{
	if (rig_veth())
		return 1;
	open_port(NULL);
	return 0;
}

static int teardown(void **state)
{
	path->close(rig.port);
	rig_free(&rig);
	return rig_run("ip link del pp-port");
}

static bool is_batched(void)
{
	struct port_info info;

	path->info(port, &info);
	return strstr(info.mode, "batched");
}

/* n frames from frame `seed` on, each `length(seed)` bytes long. */
static void transmit(uint32_t seed, unsigned n, unsigned (*length)(uint32_t seed))
{
	struct p2pnic_descriptor frames[P2PNIC_BURST_MAX];

	for (unsigned i = 0; i < n; i++) {
		uint32_t offset = RIG_SEND_AREA + (seed + i) % 512 * P2PNIC_BUFFER_BYTES_MIN;
		frames[i] = (struct p2pnic_descriptor){
			.offset = offset, .length = (uint16_t)length(seed + i)};
		rig_frame(rig.memory + offset, frames[i].length, seed + i);
	}
	assert_int_equal(af_xdp_port_ops.transmit(port, frames, n), n);
	af_xdp_port_ops.flush(port);
}

static void complete(unsigned n, uint64_t *failed)
{
	unsigned done = 0;

	for (int tries = 0; done < n && tries < 1000; tries++) {
		done += af_xdp_port_ops.transmitted(port, failed);
		if (done < n)
			rig_sleep_ms(1);
	}
	assert_int_equal(done, n);
}

static void assert_wire(uint32_t seed, unsigned length)
{
	uint8_t bytes[4096], expected[P2PNIC_FRAME_BYTES_MAX(P2PNIC_BUFFER_BYTES_MIN)];

	assert_int_equal(rig_wire_receive(rig.wire, bytes, sizeof(bytes)), length);
	rig_frame(expected, length, seed);
	assert_memory_equal(bytes, expected, length);
}

static unsigned any_length(uint32_t seed)
{
	return P2PNIC_FRAME_BYTES_MIN + seed * 2654435761u %
						(P2PNIC_FRAME_BYTES_MAX(P2PNIC_BUFFER_BYTES_MIN) -
							P2PNIC_FRAME_BYTES_MIN + 1);
}

/* Few or many frames at a flush, and a few flushes before the port may report: both ways in
 * turn. */
static void test_order(void **state)
{
	uint64_t failed = 0;

	for (uint32_t sent = 0; sent < 20000;) {
		unsigned bursts = 1 + (unsigned)rand() % 5, all = 0;
		for (unsigned b = 0; b < bursts; b++) {
			unsigned n = 1 + (unsigned)rand() % (rand() % 2 ? 64 : 8);
			transmit(sent + all, n, any_length);
			all += n;
		}
		complete(all, &failed);
		for (unsigned i = 0; i < all; i++)
			assert_wire(sent + i, any_length(sent + i));
		sent += all;
	}
	assert_int_equal(failed, 0);
	assert_true(is_batched());
	for (uint64_t i = 0; i < rig.config.memory_bytes / P2PNIC_BUFFER_BYTES_MIN; i++)
		assert_int_equal(port->newest[i], 0);
}

static unsigned long_and_short(uint32_t seed)
{
	return seed % 2 ? 1000 : 100;
}

/* The device refuses half of a batch: those are failed, the others leave. */
static void test_refused(void **state)
{
	uint64_t failed = 0;

	transmit(0, 64, any_length);
	complete(64, &failed);
	for (unsigned i = 0; i < 64; i++)
		assert_wire(i, any_length(i));
	assert_int_equal(failed, 0);
	assert_true(is_batched());
	assert_int_equal(rig_run("ip link set pp-port mtu 500"), 0);
	transmit(100, 64, long_and_short);
	complete(64, &failed);
	assert_int_equal(failed, 32);
	for (unsigned i = 100; i < 164; i += 2)
		assert_wire(i, 100);
}

/* The other end stops to take batches, and begins again: nothing is lost. */
static void test_other_end_changes(void **state)
{
	uint64_t failed = 0;

	for (unsigned round = 0; round < 6; round++) {
		bool napi = round % 2 == 0;
		assert_int_equal(
			rig_run(napi ? "ethtool -K pp-wire gro on" : "ethtool -K pp-wire gro off"),
			0);
		path->service(port);
		for (unsigned burst = 0; burst < 4; burst++) {
			transmit(burst * 64, 64, any_length);
			complete(64, &failed);
			for (unsigned i = 0; i < 64; i++)
				assert_wire(burst * 64 + i, any_length(burst * 64 + i));
			assert_int_equal(is_batched(), napi);
		}
	}
	assert_int_equal(failed, 0);
}

/* Frames that wait for others leave without them, and their port does not sleep before. */
static void test_no_frame_stays(void **state)
{
	uint64_t failed = 0;

	for (unsigned round = 0; round < 10; round++) {
		bool waits = round % 2;
		unsigned n = waits || round == 0 ? 64 : 31;
		transmit(0, n, any_length);
		assert_int_equal(af_xdp_port_ops.arm(port), waits);
		complete(n, &failed);
		assert_false(af_xdp_port_ops.arm(port));
		for (unsigned i = 0; i < n; i++)
			assert_wire(i, any_length(i));
	}
	transmit(5, 40, any_length); /* waits */
	assert_true(path->stop(port, rig.buffers) > 0);
	complete(40, &failed);
	assert_int_equal(failed, 0);
	for (unsigned i = 5; i < 45; i++)
		assert_wire(i, any_length(i));
	assert_true(path->start(port, rig.buffers, RIG_BUFFERS) > 0);
}

static void test_off(void **state)
{
	uint64_t failed = 0;

	path->close(rig.port);
	rig_free(&rig);
	open_port("batch=off");
	transmit(0, 64, any_length);
	complete(64, &failed);
	for (unsigned i = 0; i < 64; i++)
		assert_wire(i, any_length(i));
	assert_int_equal(failed, 0);
	assert_false(is_batched());
}

/* The completion ring is full when the second burst comes: it waits in the transmit ring. */
static void test_small_rings(void **state)
{
	uint64_t failed = 0;

	path->close(rig.port);
	rig_free(&rig);
	open_port("batch=off,transmit-ring=64");
	for (uint32_t sent = 0; sent < 1280; sent += 128) {
		transmit(sent, 64, any_length);
		transmit(sent + 64, 64, any_length);
		complete(128, &failed);
		for (uint32_t i = sent; i < sent + 128; i++)
			assert_wire(i, any_length(i));
	}
	assert_int_equal(failed, 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_order, setup, teardown),
		cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_other_end_changes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_frame_stays, setup, teardown),
		cmocka_unit_test_setup_teardown(test_off, setup, teardown),
		cmocka_unit_test_setup_teardown(test_small_rings, setup, teardown),
	};
	struct xdp_program xdp;

	rig_napi = true;
	if (!rig_namespace() || !rig_permitted(path)) {
		printf("skipped: no namespace, veth or AF_XDP here\n");
		return 77;
	}
	int code = xdp_program_load(&xdp, 0, true, false);
	if (code) {
		printf("skipped: no batches here: %s\n", strerror(-code));
		return 77;
	}
	xdp_program_unload(&xdp);
	srand((unsigned)test_seed());
	return cmocka_run_group_tests_name("af_xdp batches", tests, NULL, NULL);
}
