/* SPDX-License-Identifier: BSD-3-Clause */
/* The host's rings with a soft NIC: drivers and processes that serve them come, go and die. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "driver/bus_plan.h"
#include "ipc/rights.h"
#include "tests/unit/descriptors.h"
#include "tests/unit/host_rings_rig.h"
#include "tests/unit/seed.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

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
		cmocka_unit_test(one_that_serves_after_another),
		cmocka_unit_test(a_new_driver_finds_them_in_place),
		cmocka_unit_test(a_new_driver_finds_others),
		cmocka_unit_test(closed_and_opened_again),
		cmocka_unit_test(what_cannot_be_opened),
		cmocka_unit_test(another_process_serves_them),
		cmocka_unit_test(killed_at_any_instruction),
	};

	rig_arguments(argc, argv);
	return cmocka_run_group_tests_name("host rings, lives", tests, NULL, NULL);
}
