/* SPDX-License-Identifier: BSD-3-Clause */
/* The host's rings with soft NICs, over sockets, with captures for wires. */
#include "driver/bus_plan.h"
#include "driver/host_rings.h"
#include "ipc/rights.h"
#include "tests/unit/descriptors.h"
#include "tests/unit/seed.h"
#include "tests/unit/soft_rig.h"

#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <pcap/pcap.h>

#define SLOTS   16u
#define WAIT_MS 10000

static unsigned method = P2PNIC_METHOD_WRITE;

/* NIC 0 and its host, as this process serves it. */
struct host {
	struct soft_rig *rig;
	struct host_rings rings;
	struct host_maps maps;
	struct host_ring ring[P2PNIC_HOST_RINGS];
};

static void serve_here(struct host *h)
{
	struct host_share share[HOST_PARTS];
	struct error error;

	host_rings_share(&h->rings, share);
	assert_int_equal(host_maps_make(&h->maps, share, &error), 0);
	for (unsigned k = 0; k < P2PNIC_HOST_RINGS; k++)
		assert_int_equal(host_ring_attach(&h->ring[k], &h->maps, k), 0);
}

static void open_rings(struct host *h)
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

/* NIC 0 will receive these; it is not started. */
static struct host *host_with(uint32_t slots, const struct packet *in, unsigned count)
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

static struct host *host_new(const struct packet *in, unsigned count)
{
	return host_with(SLOTS, in, count);
}

static void host_free(struct host *h)
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

/* Waits for the next frame of a ring. */
static struct host_frame next_frame(struct host *h, unsigned ring)
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

static uint64_t drops(const struct host *h, enum p2pnic_drop reason)
{
	return driver_nic_count(&h->rig->driver[0].counters->dropped[reason]);
}

/* Sends it as soon as there is room. */
static void send_packet(struct host *h, unsigned ring, const struct packet *p)
{
	int result = -EAGAIN;

	for (unsigned tries = 0; result == -EAGAIN && tries < WAIT_MS; tries++) {
		result = host_ring_send(&h->ring[ring], p->bytes, p->length);
		if (result == -EAGAIN)
			soft_serve(h->rig, 1);
	}
	assert_int_equal(result, 0);
}

/* Lengths from the shortest to the longest, the seed in each. */
static struct packet packet_of(uint32_t seed)
{
	struct packet p;
	const uint32_t most = P2PNIC_FRAME_BYTES_MAX(P2PNIC_BUFFER_BYTES_MIN) - 42;

	packet_ipv4(&p, 0, 0x63000001, 64, 4 + seed * 97 % (most - 3), seed);
	return p;
}

/* NIC 0 has sent packets of these seeds, in this order, byte by byte. */
static void check_sent(struct host *h, uint32_t from, uint32_t to)
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

/* --- Punts and injects ------------------------------------------------------------------------ */

static struct packet packet_to(uint32_t to, uint8_t ttl, uint8_t protocol)
{
	struct packet p;

	packet_ipv4(&p, 0, to, ttl, 40, 1);
	p.bytes[23] = protocol;
	packet_checksum(&p);
	return p;
}

static struct packet frame_to(const char *mac, unsigned type)
{
	struct packet p = packet_to(PACKET_TO(0), 64, 17);

	memcpy(p.bytes, mac, 6);
	put16(p.bytes + 12, type);
	return p;
}

static void each_class_with_its_reason(void **state)
{
	const struct {
		struct packet packet;
		unsigned class, reason, ring;
	} all[] = {
		{packet_to(PACKET_TO(3), 64, 89), P2PNIC_PUNT_HELLO, P2PNIC_DROP_LOCAL,
			P2PNIC_RING_CONTROL},
		{packet_to(PACKET_TO(3), 64, 6), P2PNIC_PUNT_LOCAL, P2PNIC_DROP_LOCAL,
			P2PNIC_RING_CONTROL},
		{frame_to("\xff\xff\xff\xff\xff\xff", 0x0806), P2PNIC_PUNT_NEIGHBOR,
			P2PNIC_DROP_LINK_SCOPE, P2PNIC_RING_NEIGHBOR},
		{packet_to(PACKET_TO(2), 64, 17), P2PNIC_PUNT_GLEAN, P2PNIC_DROP_NO_NEIGHBOR,
			P2PNIC_RING_NEIGHBOR},
		{packet_to(PACKET_TO(0), 1, 17), P2PNIC_PUNT_EXCEPTION, P2PNIC_DROP_TTL,
			P2PNIC_RING_EXCEPTION},
		{packet_to(0x63000001, 64, 17), P2PNIC_PUNT_EXCEPTION, P2PNIC_DROP_NO_ROUTE,
			P2PNIC_RING_EXCEPTION},
		{packet_to(PACKET_TO(1), 64, 17), P2PNIC_PUNT_KERNEL, P2PNIC_DROP_KERNEL,
			P2PNIC_RING_EXCEPTION},
		{frame_to("\x01\x80\xc2\0\0\x0e", 0x88cc), P2PNIC_PUNT_LINK, P2PNIC_DROP_LINK_SCOPE,
			P2PNIC_RING_EXCEPTION},
	};
	const unsigned count = sizeof(all) / sizeof(*all);
	struct packet in[sizeof(all) / sizeof(*all)];
	struct host_frame f;

	for (unsigned k = 0; k < count; k++)
		in[k] = all[k].packet;
	struct host *h = host_new(in, count);
	struct p2pnic_adjacency *adjacency =
		(void *)(h->rig->driver[0].bar2 + P2PNIC_BAR2_ADJACENCIES);

	adjacency[2].kind = P2PNIC_ADJACENCY_KERNEL;
	adjacency[3].kind = P2PNIC_ADJACENCY_GLEAN;
	adjacency[4].kind = P2PNIC_ADJACENCY_LOCAL;
	soft_start(h->rig, 0);
	for (unsigned k = 0; k < count; k++) {
		f = next_frame(h, all[k].ring);
		assert_int_equal(f.class, all[k].class);
		assert_int_equal(f.reason, all[k].reason);
		assert_int_equal(f.length, in[k].length);
		assert_memory_equal(f.data, in[k].bytes, in[k].length);
		host_ring_release(&h->ring[all[k].ring], 1);
	}
	for (unsigned ring = 0; ring < P2PNIC_HOST_RINGS; ring++)
		assert_int_equal(host_ring_receive(&h->ring[ring], &f, 1), 0);
	host_free(h);
}

static void injects_leave_as_they_are(void **state)
{
	struct host *h = host_new(NULL, 0);
	uint32_t seed = 1;

	soft_start(h->rig, 0);
	for (unsigned ring = 0; ring < P2PNIC_HOST_RINGS; ring++) {
		for (unsigned k = 0; k < 5 * SLOTS; k++) {
			const struct packet p = packet_of(seed++);

			send_packet(h, ring, &p);
		}
		assert_true(soft_wait_sent(h->rig, 0, seed - 1));
	}
	assert_int_equal(driver_nic_count(&h->rig->driver[0].counters->injected.packets), seed - 1);
	check_sent(h, 1, seed);
	host_free(h);
}

/* Its own buffers, the host's, and those that NICs fill for each other: none is another's. */
static void the_host_is_in_nobodys_way(void **state)
{
	struct packet in[200];

	for (unsigned k = 0; k < 200; k++)
		packet_ipv4(&in[k], 0, PACKET_TO(0), 64, 1000, k + 1);
	struct host *h = host_new(in, 200);
	const struct p2pnic_counters *c = h->rig->driver[0].counters;
	struct pcap *capture;
	struct packet got, want;
	uint32_t seed = 0, injected = 1000, forwarded = 0;

	soft_start(h->rig, 0);
	for (; injected < 1100; injected++) {
		const struct packet p = packet_of(injected);

		send_packet(h, P2PNIC_RING_CONTROL, &p);
	}
	assert_true(soft_wait_received(h->rig, 200));
	for (unsigned tries = 0; driver_nic_count(&c->injected.packets) < 100; tries++) {
		assert_true(tries < WAIT_MS);
		soft_serve(h->rig, 1);
	}
	assert_true(soft_accounts_even(h->rig));
	capture = soft_sent_open(h->rig, 0);
	injected = 1000;
	while (soft_sent(capture, &got)) {
		if (packet_seed(&got) >= 1000) {
			want = packet_of(injected++);
		} else {
			assert_true(packet_seed(&got) > seed);
			seed = packet_seed(&got);
			packet_ipv4(&want, 0, PACKET_TO(0), 64, 1000, seed);
			packet_forwarded(&want, 0, 0);
			forwarded++;
		}
		assert_int_equal(got.length, want.length);
		assert_memory_equal(got.bytes, want.bytes, want.length);
	}
	pcap_close(capture);
	assert_int_equal(injected, 1100);
	/* They leave by the NIC that they came by: some are the host's (redirect). */
	assert_int_equal(
		forwarded, 200 - drops(h, P2PNIC_DROP_RING_FULL) - drops(h, P2PNIC_DROP_NO_BUFFER) -
				   driver_nic_count(&c->punt[P2PNIC_PUNT_EXCEPTION].passed));
	host_free(h);
}

static void a_full_ring_costs_its_own_packets(void **state)
{
	struct packet in[5 * SLOTS];
	struct host_frame f[2 * SLOTS];

	for (unsigned k = 0; k < 5 * SLOTS; k++)
		packet_ipv4(&in[k], 0, k % 5 ? PACKET_TO(0) : 0x63000001, k % 5 ? 1 : 64, 40, k);
	in[4] = frame_to("\xff\xff\xff\xff\xff\xff", 0x0806);
	struct host *h = host_new(in, 5 * SLOTS);
	struct host_ring *r = &h->ring[P2PNIC_RING_EXCEPTION];

	soft_start(h->rig, 0);
	assert_true(soft_wait_received(h->rig, 5 * SLOTS));
	assert_true(soft_accounts_even(h->rig));
	assert_int_equal(drops(h, P2PNIC_DROP_PUNT_FULL), 4 * SLOTS - 1);
	assert_int_equal(host_ring_receive(r, f, 2 * SLOTS), SLOTS);
	for (unsigned k = 0; k < SLOTS; k++) {
		const unsigned from = k < 4 ? k : k + 1;

		assert_int_equal(f[k].length, in[from].length);
		assert_memory_equal(f[k].data, in[from].bytes, f[k].length);
		assert_int_equal(f[k].reason, from % 5 ? P2PNIC_DROP_TTL : P2PNIC_DROP_NO_ROUTE);
	}
	host_ring_release(r, SLOTS);
	f[0] = next_frame(h, P2PNIC_RING_NEIGHBOR);
	assert_memory_equal(f[0].data, in[4].bytes, f[0].length);
	host_free(h);
}

/* More than the ring has slots, while it is served: what does not fit is counted. */
static void a_served_ring_counts_what_it_loses(void **state)
{
	const unsigned count = 3000;
	struct packet *in = calloc(count, sizeof(*in));
	uint32_t last = 0, got = 0;

	for (unsigned k = 0; k < count; k++)
		packet_ipv4(&in[k], 0, PACKET_TO(0), 1, 40 + k % 1000, k + 1);
	struct host *h = host_new(in, count);
	struct host_ring *r = &h->ring[P2PNIC_RING_EXCEPTION];

	soft_start(h->rig, 0);
	for (unsigned tries = 0; got + drops(h, P2PNIC_DROP_PUNT_FULL) < count; tries++) {
		struct host_frame f[5];
		const unsigned n = host_ring_receive(r, f, 5);

		assert_true(tries < 100 * WAIT_MS);
		for (unsigned k = 0; k < n; k++) {
			const uint32_t seed = get32(f[k].data + f[k].length - 4);

			assert_true(seed > last && seed <= count);
			assert_int_equal(f[k].length, in[seed - 1].length);
			assert_memory_equal(f[k].data, in[seed - 1].bytes, f[k].length);
			last = seed;
		}
		host_ring_release(r, n);
		got += n;
		if (!n)
			usleep(100);
	}
	assert_true(got >= SLOTS);
	assert_int_equal(r->counts.bad_descriptors, 0);
	free(in);
	host_free(h);
}

/* --- Sleep ------------------------------------------------------------------------------------ */

static bool arm_all(struct host *h)
{
	bool idle = true;

	for (unsigned k = 0; k < P2PNIC_HOST_RINGS; k++)
		idle &= host_ring_arm(&h->ring[k]);
	return idle;
}

static bool wakes(int event, int ms)
{
	struct pollfd p = {.fd = event, .events = POLLIN};
	eventfd_t times;

	return poll(&p, 1, ms) == 1 && eventfd_read(event, &times) == 0;
}

static void the_host_sleeps(void **state)
{
	const struct packet in = packet_to(PACKET_TO(0), 1, 17);
	struct host *h = host_new(&in, 1);
	struct host_frame f;

	assert_true(arm_all(h));
	assert_false(wakes(h->rings.event, 0));
	soft_start(h->rig, 0);
	assert_true(wakes(h->rings.event, WAIT_MS));
	assert_false(arm_all(h));
	for (unsigned k = 0; k < P2PNIC_HOST_RINGS; k++)
		host_ring_disarm(&h->ring[k]);
	f = next_frame(h, P2PNIC_RING_EXCEPTION);
	assert_memory_equal(f.data, in.bytes, in.length);
	host_free(h);
}

/* Each after the engine has fallen asleep. */
static void the_nic_is_woken(void **state)
{
	struct host *h = host_new(NULL, 0);
	const struct p2pnic_counters *c = h->rig->driver[0].counters;

	soft_start(h->rig, 0);
	for (unsigned k = 0; k < 8; k++) {
		const struct packet p = packet_of(k + 1);
		const struct p2pnic_mailbox *m = h->ring[k % P2PNIC_HOST_RINGS].mailbox;

		for (unsigned tries = 0; !atomic_load(&m->asleep); tries++) {
			assert_true(tries < WAIT_MS);
			soft_serve(h->rig, 1);
		}
		soft_serve(h->rig, 5);
		send_packet(h, k % P2PNIC_HOST_RINGS, &p);
		assert_true(soft_wait_sent(h->rig, 0, k + 1));
	}
	assert_true(driver_nic_count(&c->sleeps) > 0);
	check_sent(h, 1, 9);
	host_free(h);
}

/* --- Lives ------------------------------------------------------------------------------------ */

static void attach_again(struct host *h)
{
	host_maps_free(&h->maps);
	memset(h->ring, 0xee, sizeof(h->ring));
	serve_here(h);
}

static void one_that_serves_after_another(void **state)
{
	struct packet in[SLOTS];
	struct host_frame f[SLOTS];

	for (unsigned k = 0; k < SLOTS; k++)
		packet_ipv4(&in[k], 0, PACKET_TO(0), 1, 40, k + 1);
	struct host *h = host_new(in, SLOTS);
	struct host_ring *r = &h->ring[P2PNIC_RING_EXCEPTION];

	soft_start(h->rig, 0);
	assert_true(soft_wait_received(h->rig, SLOTS));
	assert_true(soft_accounts_even(h->rig));
	for (unsigned k = 0, released = 0; released < SLOTS; k++) {
		unsigned n = host_ring_receive(r, f, 5);

		for (unsigned j = 0; j < n; j++)
			assert_memory_equal(f[j].data, in[released + j].bytes, in[0].length);
		n = n < 3 ? n : 3;
		host_ring_release(r, n);
		released += n;
		for (uint32_t seed = 20 * k; seed < 20 * k + 20; seed++) {
			const struct packet p = packet_of(seed + 1);

			send_packet(h, P2PNIC_RING_CONTROL, &p);
		}
		attach_again(h);
		assert_true(k < SLOTS);
	}
	assert_int_equal(host_ring_receive(r, f, 1), 0);
	assert_true(soft_wait_sent(h->rig, 0, 120));
	check_sent(h, 1, 121);
	host_free(h);
}

/* The driver is replaced; a keeper held the device, and who serves the rings knows nothing. */
static void take_over(struct host *h)
{
	struct soft_rig *r = h->rig;
	int fds[DEVICE_KEEP_MAX], kept[DEVICE_KEEP_MAX];
	const int n = device_keep(r->driver[0].device, fds);
	struct device *device;
	struct error error;

	for (int j = 0; j < n; j++)
		kept[j] = dup(fds[j]);
	if (r->fabric.bounce)
		bounce_close(r->fabric.bounce, 0, 0);
	driver_nic_detach(&r->driver[0]);
	memset(r->fabric.nic, 0, sizeof(r->fabric.nic));
	assert_int_equal(device_adopt(&device, "vfio-user", kept, (unsigned)n, NULL, 0, &error), 0);
	assert_int_equal(driver_nic_attach(&r->driver[0], r->name[0], 0, device, &error), 0);
	assert_true(r->driver[0].adopted);
	if (soft_join(r, 0, &error))
		fail_msg("%s", error.text);
}

static void a_new_driver_finds_them_in_place(void **state)
{
	struct host *h = host_new(NULL, 0);
	struct packet p = packet_of(1);
	struct error error;

	soft_start(h->rig, 0);
	send_packet(h, P2PNIC_RING_CONTROL, &p);
	const int memory = dup(h->rings.memory_fd), event = dup(h->rings.event);

	host_rings_leave(&h->rings);
	take_over(h);
	assert_int_equal(host_rings_adopt(&h->rings, &h->rig->driver[0], SLOTS,
				 fabric_host_buffers(&h->rig->fabric), memory, event, &error),
		0);
	assert_true(wakes(event, 0));
	/* The same rings go on, and the eventfd is on the vectors. */
	assert_true(host_ring_is_open(&h->ring[P2PNIC_RING_CONTROL]));
	p = packet_of(2);
	send_packet(h, P2PNIC_RING_CONTROL, &p);
	assert_true(soft_wait_sent(h->rig, 0, 2));
	check_sent(h, 1, 3);
	host_free(h);
}

/* Whatever is not as this driver would make it; then they are opened anew. */
static void a_new_driver_finds_others(void **state)
{
	struct host_frame f;
	struct error error;

	for (unsigned what = 0; what < 5; what++) {
		struct host *h = host_new(NULL, 0);
		struct driver_nic *n = &h->rig->driver[0];
		struct p2pnic_peer *entry;
		uint32_t slots = SLOTS;

		soft_start(h->rig, 0);
		const int memory = dup(h->rings.memory_fd), event = dup(h->rings.event);
		const uint32_t epoch = h->ring[1].epoch;

		host_rings_leave(&h->rings);
		take_over(h);
		entry = &driver_nic_peers(n)[P2PNIC_HOST_PEER(P2PNIC_RING_NEIGHBOR)];
		if (what == 0) { /* other settings */
			slots = SLOTS / 2;
		} else if (what == 1) { /* it was about to close them */
			entry->flags = P2PNIC_PEER_CLOSED;
		} else if (what == 2) { /* windows have gone, and the NIC has closed them */
			assert_int_equal(device_unmap(n->device,
						 bus_plan_address(n->device, BUS_HOST, BUS_PACKETS),
						 host_ring_write_bytes(
							 method, SLOTS, P2PNIC_BUFFER_BYTES_MIN)),
				0);
		} else if (what == 3) {
			entry->epoch++;
		} else {
			assert_int_equal(ftruncate(memory, 0), -1); /* sealed */
			memset(h->maps.at[HOST_MEMORY], 0, 16);
		}
		assert_int_equal(
			host_rings_adopt(&h->rings, n, slots, fabric_host_buffers(&h->rig->fabric),
				memory, event, &error),
			-ENOENT);
		assert_string_equal(
			error.text, "pf0: the host's rings of an earlier driver are not in place");
		assert_null(h->rings.nic);
		/* Who serves them is told. */
		for (unsigned k = 0; k < P2PNIC_HOST_RINGS; k++)
			assert_false(host_ring_is_open(&h->ring[k]));
		assert_true(wakes(event, 0));
		close(memory);
		close(event);
		host_maps_free(&h->maps);
		h->rig->fabric.host_slots = slots;
		open_rings(h);
		assert_true(h->ring[1].epoch > epoch);
		assert_int_equal(host_ring_receive(&h->ring[1], &f, 1), 0);
		for (unsigned k = 0; k < P2PNIC_HOST_RINGS; k++) {
			const struct packet p = packet_of(1 + k);

			send_packet(h, k, &p);
		}
		assert_true(soft_wait_sent(h->rig, 0, 4));
		host_free(h);
	}
}

/* With traffic in them: what nobody received is gone, and the rings begin anew. */
static void closed_and_opened_again(void **state)
{
	struct packet in = packet_to(PACKET_TO(0), 1, 17);
	struct host *h = host_new(&in, 1);
	const unsigned before = open_descriptors();
	struct host_frame f;

	soft_start(h->rig, 0);
	assert_memory_equal(next_frame(h, P2PNIC_RING_EXCEPTION).data, in.bytes, in.length);
	for (unsigned k = 0; k < 5; k++) {
		const struct packet p = packet_of(k + 1);

		assert_int_equal(h->ring[3].epoch, k + 1);
		send_packet(h, P2PNIC_RING_SAMPLE, &p);
		assert_true(soft_wait_sent(h->rig, 0, k + 1));
		host_rings_close(&h->rings);
		assert_false(host_ring_is_open(&h->ring[0]));
		host_maps_free(&h->maps);
		open_rings(h);
		assert_int_equal(host_ring_receive(&h->ring[P2PNIC_RING_EXCEPTION], &f, 1), 0);
		assert_int_equal(open_descriptors(), before);
	}
	check_sent(h, 1, 6);
	host_free(h);
}

static void what_cannot_be_opened(void **state)
{
	struct host *h = host_new(NULL, 0);
	struct driver_nic *n = &h->rig->driver[0];
	const uint64_t at = fabric_host_buffers(&h->rig->fabric);
	const unsigned before = open_descriptors();
	struct host_rings other;
	struct error error;

	assert_int_equal(host_rings_open(&other, n, 12, at, &error), -EINVAL);
	assert_string_equal(
		error.text, "pf0: rings of the host have 12 slots; want a power of two, 8 to 1024");
	assert_int_equal(host_rings_open(&other, n, 4, at, &error), -EINVAL);
	if (method == P2PNIC_METHOD_WRITE) {
		assert_int_equal(host_rings_open(&other, n, SLOTS, n->bar4_bytes, &error), -ENOSPC);
		assert_int_equal(host_rings_open(&other, n, SLOTS, at + 2048, &error), -EINVAL);
	}
	if (method == P2PNIC_METHOD_READ) { /* 512 own buffers: a quarter is lent at most */
		host_rings_close(&h->rings);
		assert_int_equal(host_rings_open(&h->rings, n, 1024, at, &error), 0);
		assert_int_equal(h->rings.slots, 32);
		host_rings_close(&h->rings);
		assert_int_equal(host_rings_open(&h->rings, n, SLOTS, at, &error), 0);
	}
	n->device->physical = true;
	assert_int_equal(host_rings_open(&other, n, SLOTS, at, &error), -ENOTSUP);
	n->device->physical = false;
	assert_int_equal(open_descriptors(), before);
	host_free(h);
}

/* --- Another process -------------------------------------------------------------------------- */

/* Serves the rings until they are closed: each punted frame is sent back by the port. Nothing of
 * the driver is used but what came with one message. */
static int serve_elsewhere(int socket)
{
	struct host_share share[HOST_PARTS];
	struct iovec data = {share, sizeof(share)};
	struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1};
	union rights rights;
	struct host_ring ring[P2PNIC_HOST_RINGS];
	struct host_maps maps;
	struct error error;
	int fds[HOST_PARTS];
	bool lost = false;
	unsigned at = 0;

	rights_expect(&message, &rights);
	if (recvmsg(socket, &message, MSG_CMSG_CLOEXEC) != sizeof(share))
		return 1;
	const unsigned count = rights_detach(&message, fds, HOST_PARTS, &lost);

	for (unsigned k = 0; k < HOST_PARTS; k++)
		if (share[k].fd >= 0)
			share[k].fd = at < count ? fds[at++] : -1;
	if (lost || at != count || host_maps_make(&maps, share, &error))
		return 2;
	for (unsigned k = 0; k < P2PNIC_HOST_RINGS; k++)
		if (host_ring_attach(&ring[k], &maps, k))
			return 3;
	while (host_ring_is_open(&ring[0])) {
		bool idle = true;

		for (unsigned k = 0; k < P2PNIC_HOST_RINGS; k++) {
			struct host_frame f;

			while (host_ring_receive(&ring[k], &f, 1)) {
				if (host_ring_send(&ring[k], f.data, f.length))
					return 4;
				host_ring_release(&ring[k], 1);
			}
		}
		for (unsigned k = 0; k < P2PNIC_HOST_RINGS; k++)
			idle &= host_ring_arm(&ring[k]);
		if (idle && !wakes(share[HOST_EVENT].fd, WAIT_MS))
			return 5;
		for (unsigned k = 0; k < P2PNIC_HOST_RINGS; k++)
			host_ring_disarm(&ring[k]);
	}
	return 0;
}

static void another_process_serves_them(void **state)
{
	struct packet in[SLOTS];
	struct host_share share[HOST_PARTS];
	struct iovec data = {share, sizeof(share)};
	struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1};
	union rights rights;
	int fds[HOST_PARTS], end[2], status;
	unsigned count = 0;

	for (unsigned k = 0; k < SLOTS; k++)
		in[k] = packet_of(k + 1); /* no route */
	struct host *h = host_new(in, SLOTS);

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, end), 0);
	const pid_t child = fork();
	if (child == 0)
		_exit(serve_elsewhere(end[1]));
	host_rings_share(&h->rings, share);
	for (unsigned k = 0; k < HOST_PARTS; k++)
		if (share[k].fd >= 0)
			fds[count++] = share[k].fd;
	assert_int_equal(count, method == P2PNIC_METHOD_BOUNCE ? 4 : 5);
	rights_attach(&message, &rights, fds, count);
	assert_int_equal(sendmsg(end[0], &message, 0), sizeof(share));
	soft_start(h->rig, 0);
	assert_true(soft_wait_sent(h->rig, 0, SLOTS));
	check_sent(h, 1, SLOTS + 1);
	host_rings_close(&h->rings);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	close(end[0]);
	close(end[1]);
	host_free(h);
}

/* Goes on behind the last frame that was sent, whoever did. */
static void send_until_killed(const struct host *h)
{
	struct host_ring r;

	if (host_ring_attach(&r, &h->maps, P2PNIC_RING_CONTROL))
		_exit(1);
	for (int result = 0; !result;) {
		const struct packet p = packet_of(r.produced + 1);

		result = host_ring_send(&r, p.bytes, p.length);
	}
	for (;;)
		pause();
}

/* At whatever instruction: no frame is lost, none is sent twice or in part. The NIC stands still
 * meanwhile, so that its successor meets them in the ring. */
static void killed_at_any_instruction(void **state)
{
	struct host *h = host_with(512, NULL, 0);
	struct host_ring *r = &h->ring[P2PNIC_RING_CONTROL];
	uint64_t random = test_seed();
	unsigned midst = 0;

	soft_start(h->rig, 0);
	for (unsigned k = 0; k < 40; k++) {
		const uint32_t before = r->produced;
		struct packet p;
		int status;

		engine_park(h->rig->engine[0]);
		const pid_t child = fork();
		if (child == 0)
			send_until_killed(h);
		for (unsigned tries = 0; r->produced == before && tries < WAIT_MS * 10; tries++) {
			usleep(10);
			assert_int_equal(host_ring_attach(r, &h->maps, P2PNIC_RING_CONTROL), 0);
		}
		random = random * 6364136223846793005u + 1442695040888963407u;
		for (unsigned spins = (unsigned)(random >> 48); spins > 0; spins--)
			__asm__ volatile("");
		kill(child, SIGKILL);
		assert_int_equal(waitpid(child, &status, 0), child);
		assert_true(WIFSIGNALED(status));
		assert_int_equal(host_ring_attach(r, &h->maps, P2PNIC_RING_CONTROL), 0);
		midst += r->produced - r->completed < r->slots;
		engine_resume(h->rig->engine[0]);
		p = packet_of(r->produced + 1);
		send_packet(h, P2PNIC_RING_CONTROL, &p);
	}
	printf("%u of 40 were killed while they sent\n", midst);
	assert_true(soft_wait_sent(h->rig, 0, r->produced));
	check_sent(h, 1, r->produced + 1);
	host_free(h);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_class_with_its_reason),
		cmocka_unit_test(injects_leave_as_they_are),
		cmocka_unit_test(the_host_is_in_nobodys_way),
		cmocka_unit_test(a_full_ring_costs_its_own_packets),
		cmocka_unit_test(a_served_ring_counts_what_it_loses),
		cmocka_unit_test(the_host_sleeps),
		cmocka_unit_test(the_nic_is_woken),
		cmocka_unit_test(one_that_serves_after_another),
		cmocka_unit_test(a_new_driver_finds_them_in_place),
		cmocka_unit_test(a_new_driver_finds_others),
		cmocka_unit_test(closed_and_opened_again),
		cmocka_unit_test(what_cannot_be_opened),
		cmocka_unit_test(another_process_serves_them),
		cmocka_unit_test(killed_at_any_instruction),
	};

	if (argc > 1 && !strcmp(argv[1], "read"))
		method = P2PNIC_METHOD_READ;
	if (argc > 1 && !strcmp(argv[1], "bounce"))
		method = P2PNIC_METHOD_BOUNCE;
	if (argc > 2)
		cmocka_set_test_filter(argv[2]);
	return cmocka_run_group_tests_name("host rings", tests, NULL, NULL);
}
