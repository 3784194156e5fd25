/* SPDX-License-Identifier: BSD-3-Clause */
/* Part of test_port_conformance: sending from memory of other NICs, which may do what they like. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "port_conformance.h"

#include <ports/af_xdp.h>

#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#define LENT_BYTES (4 * rig_buffer_bytes)

static void restart(struct rig *rig)
{
	assert_int_equal(path->stop(rig->port, rig->buffers), rig->taken);
	assert_int_equal(path->start(rig->port, rig->buffers, rig->taken), rig->taken);
}

/* A memory of another NIC that the port can send from; its number. */
static unsigned lend(struct rig *rig, struct port_memory *memory)
{
	unsigned number;

	memory->bytes = LENT_BYTES;
	memory->fd = memfd_create("lent", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	assert_int_equal(ftruncate(memory->fd, LENT_BYTES), 0);
	assert_int_equal(fcntl(memory->fd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
	memory->base = mmap(NULL, LENT_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, memory->fd, 0);
	assert_ptr_not_equal(memory->base, MAP_FAILED);
	number = path->reach(rig->port, memory);
	assert_in_range(number, 1, PORT_MEMORIES - 1);
	/* af_xdp: not in a memory that comes later than frames. */
	if (!(path->reachable(rig->port) >> number & 1)) {
		assert_ptr_equal(path, &af_xdp_port_ops);
		restart(rig);
	}
	assert_true(path->reachable(rig->port) >> number & 1);
	return number;
}

static void take_back(const struct port_memory *memory)
{
	munmap(memory->base, LENT_BYTES);
	close(memory->fd);
}

/* Frames that lie in two other memories and in packet memory, side by side. */
void test_transmit_from(void **state)
{
	uint8_t bytes[P2PNIC_BUFFER_BYTES_MAX];
	struct port_memory memory[3];
	struct p2pnic_descriptor frames[12];
	struct capture_reader *capture = NULL;
	unsigned number[3] = {0};
	uint64_t failed = 0;
	static struct rig rig;

	rig_up(&rig, NULL, 0, RIG_BUFFERS);
	for (unsigned m = 1; m < 3; m++)
		number[m] = lend(&rig, &memory[m]);
	assert_int_not_equal(number[1], number[2]);
	for (unsigned i = 0; i < 12; i++) {
		unsigned m = i % 3;

		frames[i] = place(&rig, i, 60 + i);
		if (m) {
			frames[i].offset = (i & 1 ? rig_buffer_bytes : 0) + i * 100;
			rig_frame(memory[m].base + frames[i].offset, frames[i].length, i);
		}
		frames[i].flags = (uint16_t)number[m];
	}
	frames[4].offset = LENT_BYTES - 63; /* ends outside */
	frames[7].flags = PORT_MEMORIES;    /* there is none */
	frames[8].flags = (uint16_t)(number[1] + number[2]);
	assert_int_equal(path->transmit_from(rig.port, frames, 12), 12);
	port_flush_and_notify(path, rig.port);
	complete(&rig, 12, &failed);
	assert_int_equal(failed, 3);
	for (unsigned i = 0; i < 12; i++)
		if (i != 4 && i != 7 && i != 8)
			assert_frame(
				bytes, wire_take(&rig, &capture, bytes, sizeof(bytes)), 60 + i, i);
	path->leave(rig.port, number[1]);
	frames[1].offset = 0;
	assert_int_equal(path->transmit_from(rig.port, frames + 1, 1), 1);
	port_flush_and_notify(path, rig.port);
	failed = 0;
	complete(&rig, 1, &failed);
	assert_int_equal(failed, 1);
	if (capture)
		capture_close(capture);
	rig_down(&rig);
	take_back(&memory[1]);
	take_back(&memory[2]);
}

/* A peer that writes all the time into what it lent. */
static void *scribble(void *opaque)
{
	struct port_memory *memory = opaque;

	for (unsigned k = 0; __atomic_load_n(&memory->fd, __ATOMIC_RELAXED) >= 0; k++)
		for (unsigned i = 14; i < LENT_BYTES; i += 61)
			*(volatile uint8_t *)&memory->base[i] = (uint8_t)k;
	return NULL;
}

/* Whatever it writes: frames leave as long as they are, all are done with, and those of others are
 * as they were. */
void test_peer_that_writes(void **state)
{
	uint8_t bytes[P2PNIC_BUFFER_BYTES_MAX];
	struct p2pnic_descriptor frames[32];
	struct capture_reader *capture = NULL;
	struct port_memory memory, writes;
	const unsigned rounds = 50;
	uint64_t failed = 0;
	pthread_t writer;
	static struct rig rig;

	rig_up(&rig, NULL, 0, RIG_BUFFERS);
	const unsigned number = lend(&rig, &memory);
	writes = memory;
	assert_int_equal(pthread_create(&writer, NULL, scribble, &writes), 0);
	for (unsigned round = 0; round < rounds; round++) {
		for (unsigned i = 0; i < 32; i++) {
			frames[i] = place(&rig, i, length_of(i * 50));
			if (i % 2) {
				frames[i].offset = i / 2 % 2 * rig_buffer_bytes;
				frames[i].flags = (uint16_t)number;
				rig_frame(memory.base + frames[i].offset, 14, i);
			}
		}
		assert_int_equal(path->transmit_from(rig.port, frames, 32), 32);
		port_flush_and_notify(path, rig.port);
		complete(&rig, 32, &failed);
		for (unsigned i = 0; i < 32 && !is_pcap(); i++) {
			unsigned length = wire_take(&rig, &capture, bytes, sizeof(bytes));

			assert_int_equal(length, frames[i].length);
			if (i % 2 == 0)
				assert_frame(bytes, length, frames[i].length, i);
		}
	}
	assert_int_equal(failed, 0);
	__atomic_store_n(&writes.fd, -1, __ATOMIC_RELAXED);
	pthread_join(writer, NULL);
	for (unsigned i = 0; is_pcap() && i < rounds * 32; i++)
		assert_int_equal(
			wire_take(&rig, &capture, bytes, sizeof(bytes)), length_of(i % 32 * 50));
	if (capture)
		capture_close(capture);
	rig_down(&rig);
	take_back(&memory);
}

/* A peer that dies: its frames have left or fail, and its memory goes. What takes its number is
 * sent from once the port can. */
void test_peer_that_dies(void **state)
{
	uint8_t bytes[P2PNIC_BUFFER_BYTES_MAX];
	struct p2pnic_descriptor frame = {.length = 100};
	struct capture_reader *capture = NULL;
	static struct rig rig;

	rig_up(&rig, NULL, 0, RIG_BUFFERS);
	for (unsigned life = 0; life < 3; life++) {
		struct port_memory memory;
		uint64_t failed = 0;

		frame.flags = (uint16_t)lend(&rig, &memory);
		assert_int_equal(frame.flags, 1);
		rig_frame(memory.base, 100, life);
		for (unsigned dead = 0; dead < 2; dead++) {
			if (dead) {
				path->leave(rig.port, frame.flags);
				take_back(&memory);
			}
			assert_int_equal(path->transmit_from(rig.port, &frame, 1), 1);
			port_flush_and_notify(path, rig.port);
			complete(&rig, 1, &failed);
			assert_int_equal(failed, dead);
		}
		if (!is_pcap())
			assert_frame(
				bytes, wire_take(&rig, &capture, bytes, sizeof(bytes)), 100, life);
	}
	for (unsigned life = 0; is_pcap() && life < 3; life++)
		assert_frame(bytes, wire_take(&rig, &capture, bytes, sizeof(bytes)), 100, life);
	if (capture)
		capture_close(capture);
	rig_down(&rig);
}
