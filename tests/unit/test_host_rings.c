/* SPDX-License-Identifier: BSD-3-Clause */
/* The host's rings with a soft NIC: what is punted and injected, and who sleeps meanwhile. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/unit/descriptors.h"
#include "tests/unit/host_rings_rig.h"

#include <pcap/pcap.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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
	};

	rig_arguments(argc, argv);
	return cmocka_run_group_tests_name("host rings", tests, NULL, NULL);
}
