/* SPDX-License-Identifier: BSD-3-Clause */
/* The life of af_xdp's socket: when it is made and lost, what becomes of frames that the kernel
 * has, and the memories in its UMEM. */
#include "af_xdp_rig.h"
#include "seed.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static void send_frames(unsigned n)
{
	struct p2pnic_descriptor frames[P2PNIC_BURST_MAX];

	for (unsigned i = 0; i < n; i++)
		frames[i] = (struct p2pnic_descriptor){
			.offset = (port.flight_tail + i) * port.buffer_bytes, .length = 60};
	assert_int_equal(af_xdp_port_ops.transmit(&port, frames, n), n);
	af_xdp_port_ops.flush(&port);
}

/* A system call to send is an empty datagram here. */
static unsigned wakings(void)
{
	unsigned n = 0;

	while (recv(world.woken, NULL, 0, 0) == 0)
		n++;
	return n;
}

static void test_wanted_late(void **state)
{
	uint64_t failed = 0;

	send_frames(1);
	assert_int_equal(wakings(), 0);
	/* The driver has seen an empty ring, and says only now that it stops looking. */
	kernel.transmit.flags = XDP_RING_NEED_WAKEUP;
	for (unsigned looks = 0; looks < AF_XDP_LOOKS; looks++)
		assert_int_equal(af_xdp_port_ops.transmitted(&port, &failed), 0);
	assert_int_equal(wakings(), 1);
	af_xdp_port_ops.arm(&port);
	assert_int_equal(wakings(), 1);
	kernel_sends(true);
	assert_int_equal(af_xdp_port_ops.transmitted(&port, &failed), 1);
	af_xdp_port_ops.arm(&port);
	assert_int_equal(wakings(), 0);
}

/* The completion ring is full and frames wait: reading it wakes the driver, at once. */
static void test_woken_by_room(void **state)
{
	uint64_t failed = 0;

	port.transmit_slots = P2PNIC_BURST_MAX;
	connect_kernel();
	kernel.transmit.flags = XDP_RING_NEED_WAKEUP;
	for (unsigned burst = 0; burst < 2; burst++) {
		send_frames(P2PNIC_BURST_MAX);
		kernel_sends(true);
	}
	assert_int_equal(kernel.completion.producer, P2PNIC_BURST_MAX);
	assert_int_equal(kernel.transmit.consumer, P2PNIC_BURST_MAX);
	assert_int_equal(wakings(), 2);
	assert_int_equal(af_xdp_port_ops.transmitted(&port, &failed), P2PNIC_BURST_MAX);
	assert_int_equal(wakings(), 1);
	kernel_sends(true);
	assert_int_equal(af_xdp_port_ops.transmitted(&port, &failed), P2PNIC_BURST_MAX);
	assert_int_equal(wakings(), 0);
	assert_int_equal(failed, 0);
}

/* Ten frames: two were completed, three the driver has, five it has not; nothing moves. */
static void get_stuck(void)
{
	send_frames(10);
	kernel.transmit.consumer = 5;
	((uint64_t *)kernel.completion.entries)[0] = 0;
	((uint64_t *)kernel.completion.entries)[1] = P2PNIC_BUFFER_BYTES_MIN;
	kernel.completion.producer = 2;
	af_xdp_port_ops.service(&port);
	af_xdp_port_ops.service(&port); /* it reads the two completions */
	port.watched_since_ns = 1;
	af_xdp_port_ops.service(&port);
	assert_null(port.socket);
}

static void test_held_while_the_card_has_them(void **state)
{
	uint64_t failed = 0;

	world.busy = 1;
	get_stuck();
	assert_int_equal(af_xdp_port_ops.transmitted(&port, &failed), 2);
	assert_int_equal(af_xdp_port_ops.transmitted(&port, &failed), 0);
	assert_int_equal(failed, 0);
	/* A socket on that queue again: the card has no more of the last one's. */
	af_xdp_port_ops.service(&port);
	assert_int_equal(world.created, 1);
	assert_int_equal(port.mode, AF_XDP_ZERO_COPY);
	assert_int_equal(af_xdp_port_ops.transmitted(&port, &failed), 8);
	assert_int_equal(failed, 8);
	for (unsigned i = 0; i < BUFFERS; i++)
		assert_int_equal(port.newest[i], 0);
}

/* The process stood still for long; meanwhile all frames were completed. */
static void test_not_stuck(void **state)
{
	uint64_t failed = 0;

	send_frames(10);
	kernel_sends(true);
	port.watched = port.flight_head;
	port.watched_since_ns = 1;
	af_xdp_port_ops.service(&port);
	assert_int_equal(port.rebuilt, 0);
	assert_int_equal(af_xdp_port_ops.transmitted(&port, &failed), 10);
	assert_int_equal(failed, 0);
}

static void test_held_not_for_ever(void **state)
{
	uint64_t failed = 0;

	port.interface.up = false; /* no new socket */
	get_stuck();
	assert_int_equal(af_xdp_port_ops.transmitted(&port, &failed), 2);
	port.held_since_ns -= AF_XDP_HELD_NS;
	af_xdp_port_ops.service(&port);
	assert_int_equal(af_xdp_port_ops.transmitted(&port, &failed), 8);
	assert_int_equal(failed, 8);
	assert_int_equal(world.created, 0);
	port.socket_fd = dup(world.woken);
}

/* A queue that stays taken: the wait for it is a second, however long a try takes. */
static void test_patience(void **state)
{
	static uint32_t buffers[BUFFERS];

	world.busy = UINT32_MAX;
	world.slow = true;
	assert_int_equal(af_xdp_port_ops.stop(&port, buffers), 0);
	assert_null(port.socket);
	assert_in_range(UINT32_MAX - world.busy, 1, 1000000 / SLOW_US + 1);
	assert_non_null(strstr(port.fault.text, "another program or socket is on it"));
	port.socket_fd = dup(world.woken);
}

/* Back with the queues that its driver gives it. */
static void test_another_with_more_queues(void **state)
{
	world.other = true;
	world.channels = 2;
	af_xdp_port_ops.service(&port);
	assert_int_equal(world.created, 1);
	assert_int_equal(world.channels, 1);
	assert_true(port.restore_channels);
}

/* A memory of another NIC, in which each word is its offset. */
static struct port_memory lend(uint64_t bytes)
{
	struct port_memory m = {.bytes = bytes, .fd = memfd_create("lent", MFD_CLOEXEC)};

	assert_int_equal(ftruncate(m.fd, (off_t)bytes), 0);
	m.base = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, m.fd, 0);
	assert_ptr_not_equal(m.base, MAP_FAILED);
	for (uint64_t at = 0; at < bytes; at += 8)
		memcpy(m.base + at, &at, 8);
	return m;
}

static void take_back(const struct port_memory *m)
{
	munmap(m->base, m->bytes);
	close(m->fd);
}

/* Sends a frame of that memory; how many failed. */
static unsigned send_from(unsigned memory, uint32_t offset)
{
	struct p2pnic_descriptor frame = {
		.offset = offset, .length = 100, .flags = (uint16_t)memory};
	uint64_t failed = 0;

	assert_int_equal(af_xdp_port_ops.transmit_from(&port, &frame, 1), 1);
	af_xdp_port_ops.flush(&port);
	kernel_sends(true);
	assert_int_equal(af_xdp_port_ops.transmitted(&port, &failed), 1);
	return (unsigned)failed;
}

/* Memories side by side, in the UMEM that is made when receiving starts. */
static void test_memories(void **state)
{
	struct port_memory own = lend(port.memory_bytes), a = lend(1 << 20), b = lend(1 << 16);
	const struct port_memory odd = {a.base, 1000, a.fd}, unmappable = {a.base, a.bytes, -1};
	const uint32_t buffer = 0;
	static uint32_t back[BUFFERS];
	uint64_t word;

	port.reached[0] = own;
	port.mode = AF_XDP_NATIVE;
	port.mode_forced[AF_XDP_NATIVE] = port.any_forced = true;
	port.started = false;
	assert_int_equal(af_xdp_port_ops.reach(&port, &odd), 0);
	assert_int_equal(af_xdp_port_ops.reach(&port, &a), 1);
	assert_int_equal(af_xdp_port_ops.reach(&port, &unmappable), 2);
	assert_int_equal(af_xdp_port_ops.reach(&port, &b), 3);
	assert_int_equal(af_xdp_port_ops.reachable(&port), 1);
	assert_int_equal(send_from(1, 0), 1);
	assert_int_equal(af_xdp_port_ops.start(&port, &buffer, 1), 1);
	assert_int_equal(world.created, 1);
	assert_int_equal(af_xdp_port_ops.reachable(&port), 1 | 1 << 1 | 1 << 3);
	assert_int_equal(port.range_bytes, own.bytes + a.bytes + b.bytes);
	assert_int_equal((uintptr_t)port.range % (2 << 20), 0);
	memcpy(&word, port.range + own.bytes + a.bytes + 4096, 8);
	assert_int_equal(word, 4096);
	assert_int_equal(send_from(3, b.bytes - 100), 0);
	assert_int_equal(((struct xdp_desc *)kernel.transmit.entries)->addr,
		own.bytes + a.bytes + b.bytes - 100);
	assert_int_equal(send_from(3, b.bytes - 99), 1);
	assert_int_equal(send_from(2, 0), 1);

	/* Another takes the number of one that left: not in this UMEM. */
	af_xdp_port_ops.leave(&port, 3);
	assert_int_equal(send_from(3, 0), 1);
	assert_int_equal(af_xdp_port_ops.reach(&port, &b), 3);
	assert_int_equal(af_xdp_port_ops.reachable(&port), 1 | 1 << 1);
	af_xdp_port_ops.service(&port);
	assert_int_equal(world.created, 1);
	assert_int_equal(af_xdp_port_ops.stop(&port, back), 1);
	assert_int_equal(world.created, 2);
	assert_int_equal(af_xdp_port_ops.reachable(&port), 1 | 1 << 1 | 1 << 3);

	/* Too much for the kernel: packet memory alone, and no new socket for that. */
	af_xdp_port_ops.leave(&port, 2);
	assert_int_equal(af_xdp_port_ops.reach(&port, &a), 2);
	world.umem_most = own.bytes;
	assert_int_equal(af_xdp_port_ops.start(&port, &buffer, 1), 1);
	assert_int_equal(world.created, 3);
	assert_int_equal(af_xdp_port_ops.reachable(&port), 1);
	assert_int_equal(send_from(1, 0), 1);
	assert_int_equal(send_from(0, 0), 0);
	port.interface.link = false;
	af_xdp_port_ops.service(&port);
	assert_int_equal(world.created, 3);

	/* Without a copy the card has packet memory alone. */
	port.interface.link = true;
	world.umem_most = 0;
	port.mode_forced[AF_XDP_ZERO_COPY] = true;
	assert_int_equal(af_xdp_port_ops.stop(&port, back), 1);
	assert_int_equal(port.mode, AF_XDP_ZERO_COPY);
	assert_int_equal(af_xdp_port_ops.reachable(&port), 1);
	assert_ptr_equal(port.range, own.base);
	take_back(&own);
	take_back(&a);
	take_back(&b);
}

/* The link is down: a socket with the memories that came since is due. */
static void test_memories_while_the_link_is_down(void **state)
{
	struct port_memory own = lend(port.memory_bytes), a = lend(1 << 20);

	port.reached[0] = own;
	port.mode = AF_XDP_NATIVE;
	port.mode_forced[AF_XDP_NATIVE] = port.any_forced = true;
	assert_int_equal(af_xdp_port_ops.reach(&port, &a), 1);
	af_xdp_port_ops.service(&port);
	assert_int_equal(world.created, 0);
	port.interface.link = false;
	af_xdp_port_ops.service(&port);
	assert_int_equal(world.created, 1);
	assert_int_equal(af_xdp_port_ops.reachable(&port), 3);
	af_xdp_port_ops.service(&port);
	assert_int_equal(world.created, 1);
	af_xdp_unmap_range(&port);
	take_back(&own);
	take_back(&a);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_memories, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_memories_while_the_link_is_down, setup, teardown),
		cmocka_unit_test_setup_teardown(test_wanted_late, setup, teardown),
		cmocka_unit_test_setup_teardown(test_woken_by_room, setup, teardown),
		cmocka_unit_test_setup_teardown(test_not_stuck, setup, teardown),
		cmocka_unit_test_setup_teardown(test_held_while_the_card_has_them, setup, teardown),
		cmocka_unit_test_setup_teardown(test_held_not_for_ever, setup, teardown),
		cmocka_unit_test_setup_teardown(test_patience, setup, teardown),
		cmocka_unit_test_setup_teardown(test_another_with_more_queues, setup, teardown),
	};

	srand((unsigned)test_seed());
	return cmocka_run_group_tests_name("af_xdp life", tests, NULL, NULL);
}
