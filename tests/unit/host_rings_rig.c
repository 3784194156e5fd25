/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/unit/host_rings_rig.h"

#include <errno.h>
#include <pcap/pcap.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

unsigned method = P2PNIC_METHOD_WRITE;

void serve_here(struct host *h)
{
	struct host_share share[HOST_PARTS];
	struct error error;

	host_rings_share(&h->rings, share);
	assert_int_equal(host_maps_make(&h->maps, share, &error), 0);
	for (unsigned k = 0; k < P2PNIC_HOST_RINGS; k++)
		assert_int_equal(host_ring_attach(&h->ring[k], &h->maps, k), 0);
}

void open_rings(struct host *h)
{
	struct soft_rig *r = h->rig;
	struct error error;
	int result = -EAGAIN;

	for (unsigned tries = 0; result == -EAGAIN && tries < 1000; tries++) {
		if (tries)
			usleep(10000);
		result = host_rings_open(&h->rings, &r->driver[0], r->fabric.host_slots,
			fabric_host_buffers(&r->fabric), &error);
	}
	if (result)
		fail_msg("%s", error.text);
	serve_here(h);
}

struct host *host_with(uint32_t slots, const struct packet *in, unsigned count)
{
	struct host *h = calloc(1, sizeof(*h));

	h->rig = soft_rig_new(method, 1);
	h->rig->fabric.host_slots = slots;
	if (method == P2PNIC_METHOD_BOUNCE)
		assert_int_equal(bounce_new(&h->rig->fabric.bounce, SOFT_NICS_MAX,
					 h->rig->fabric.ring_slots, P2PNIC_BUFFER_BYTES_MIN, -1),
			0);
	soft_capture(h->rig, 0, in, count);
	soft_add(h->rig, 0, false);
	open_rings(h);
	return h;
}

struct host *host_new(const struct packet *in, unsigned count)
{
	return host_with(SLOTS, in, count);
}

void host_free(struct host *h)
{
	struct bounce *bounce = h->rig->fabric.bounce;

	assert_true(soft_accounts_even(h->rig));
	host_maps_free(&h->maps);
	host_rings_close(&h->rings);
	assert_null(h->rings.nic);
	if (bounce)
		bounce_close(bounce, 0, 0);
	soft_rig_free(h->rig);
	bounce_free(bounce);
	free(h);
}

struct host_frame next_frame(struct host *h, unsigned ring)
{
	struct host_frame f;

	for (unsigned tries = 0; tries < WAIT_MS; tries++) {
		if (host_ring_receive(&h->ring[ring], &f, 1))
			return f;
		soft_serve(h->rig, 1);
	}
	fail_msg("nothing comes in ring %u", ring);
	return f;
}

uint64_t drops(const struct host *h, enum p2pnic_drop reason)
{
	return driver_nic_count(&h->rig->driver[0].counters->dropped[reason]);
}

void send_packet(struct host *h, unsigned ring, const struct packet *p)
{
	int result = -EAGAIN;

	for (unsigned tries = 0; result == -EAGAIN && tries < WAIT_MS; tries++) {
		result = host_ring_send(&h->ring[ring], p->bytes, p->length);
		if (result == -EAGAIN)
			soft_serve(h->rig, 1);
	}
	assert_int_equal(result, 0);
}

struct packet packet_of(uint32_t seed)
{
	struct packet p;
	const uint32_t most = P2PNIC_FRAME_BYTES_MAX(P2PNIC_BUFFER_BYTES_MIN) - 42;

	packet_ipv4(&p, 0, 0x63000001, 64, 4 + seed * 97 % (most - 3), seed);
	return p;
}

void check_sent(struct host *h, uint32_t from, uint32_t to)
{
	struct pcap *capture = soft_sent_open(h->rig, 0);
	struct packet got;

	for (uint32_t seed = from; seed < to; seed++) {
		const struct packet want = packet_of(seed);

		assert_true(soft_sent(capture, &got));
		assert_int_equal(got.length, want.length);
		assert_memory_equal(got.bytes, want.bytes, want.length);
	}
	assert_false(soft_sent(capture, &got));
	pcap_close(capture);
}

struct packet packet_to(uint32_t to, uint8_t ttl, uint8_t protocol)
{
	struct packet p;

	packet_ipv4(&p, 0, to, ttl, 40, 1);
	p.bytes[23] = protocol;
	packet_checksum(&p);
	return p;
}

bool wakes(int event, int ms)
{
	struct pollfd p = {.fd = event, .events = POLLIN};
	eventfd_t times;

	return poll(&p, 1, ms) == 1 && eventfd_read(event, &times) == 0;
}

void rig_arguments(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], "read"))
		method = P2PNIC_METHOD_READ;
	if (argc > 1 && !strcmp(argv[1], "bounce"))
		method = P2PNIC_METHOD_BOUNCE;
	if (argc > 2)
		cmocka_set_test_filter(argv[2]);
}
