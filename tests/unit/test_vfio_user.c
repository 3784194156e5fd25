/* SPDX-License-Identifier: BSD-3-Clause */
/* Client against server: everything device.h promises, over a real socket. */
#include "driver/device.h"
#include "driver/vfio_user.h"
#include "tests/unit/descriptors.h"
#include "vfio_user_rig.h"

#include <setjmp.h>
#include <stdarg.h>
/* cmocka wants those first. */
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define BAR0 VFIO_PCI_BAR0_REGION_INDEX
#define BAR2 VFIO_PCI_BAR2_REGION_INDEX

static const struct bus_addr BUS = {0x100000000};

/* A server in a thread, a client connected to it. */
struct pair {
	struct rig rig;
	struct device *device;
	unsigned fds;
};

static int open_pair_for(void **state, unsigned dma_timeout_ms)
{
	static struct pair pair;
	struct error error = {""};
	int ends[2];

	pair.fds = open_descriptors();
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
	rig_open(&pair.rig, NULL, ends[0], dma_timeout_ms);
	rig_serve(&pair.rig);
	if (vfio_user_connect(&pair.device, ends[1], &error) != 0)
		fail_msg("%s", error.text);
	*state = &pair;
	return 0;
}

static int open_pair(void **state)
{
	device_timeout_ms = 20000;
	return open_pair_for(state, 20000);
}

static int open_impatient_pair(void **state)
{
	return open_pair_for(state, 1000);
}

static int close_pair(void **state)
{
	struct pair *pair = *state;

	device_close(pair->device);
	rig_close(&pair->rig);
	assert_int_equal(pair->rig.connects, 1);
	assert_int_equal(pair->rig.disconnects, 1);
	assert_int_equal(open_descriptors(), pair->fds);
	return 0;
}

static void test_identity(void **state)
{
	struct pair *pair = *state;
	struct device *d = pair->device;
	uint32_t id;
	uint32_t command;

	assert_int_equal(device_config_read(d, 0, 4, &id), 0);
	assert_int_equal(id, P2PNIC_PCI_DEVICE << 16 | P2PNIC_PCI_VENDOR);
	assert_false(pci_config_bus_master(&pair->rig.pci));
	assert_int_equal(device_enable(d), 0);
	assert_int_equal(device_config_read(d, 4, 2, &command), 0);
	assert_int_equal(command, 6);
	assert_true(pci_config_bus_master(&pair->rig.pci));
	assert_int_equal(device_config_read(d, 4095, 2, &id), -EINVAL);

	assert_int_equal(d->vectors, P2PNIC_VECTORS);
	assert_int_equal(d->region[BAR0].bytes, RIG_BAR0);
	assert_int_equal(d->region[BAR0].area_count, 1);
	assert_int_equal(d->region[BAR0].area[0].offset, 0x1000);
	assert_int_equal(d->region[BAR2].bytes, RIG_BAR2);
	assert_int_equal(d->region[BAR2].area[0].bytes, RIG_BAR2);
	assert_int_equal(d->region[VFIO_PCI_BAR4_REGION_INDEX].bytes, 0);
	assert_int_equal(d->region[VFIO_PCI_CONFIG_REGION_INDEX].bytes, PCI_CONFIG_BYTES);
	assert_int_equal(d->region[VFIO_PCI_CONFIG_REGION_INDEX].fd, -1);
}

static void test_registers(void **state)
{
	struct device *d = ((struct pair *)*state)->device;
	uint32_t value;
	uint16_t half;

	assert_int_equal(device_write32(d, BAR0, RIG_SCRATCH, 0x12345678), 0);
	assert_int_equal(device_read32(d, BAR0, RIG_SCRATCH, &value), 0);
	assert_int_equal(value, 0x12345678);
	assert_int_equal(
		device_read(d, BAR0, RIG_SCRATCH, &half, 2), -EINVAL); /* the device's no */
	assert_non_null(strstr(device_error(d), "region 0"));
	assert_int_equal(
		device_read32(d, BAR0, RIG_BAR0 - 3, &value), -EINVAL); /* the client's no */
	assert_int_equal(device_read32(d, VFIO_PCI_BAR4_REGION_INDEX, 0, &value), -EINVAL);
	assert_int_equal(device_read32(d, DEVICE_REGIONS, 0, &value), -EINVAL);
	assert_int_equal(device_read32(d, BAR0, UINT64_MAX - 1, &value), -EINVAL);
}

/* Longer than a message, through the socket, beside the mapping. */
static void test_memory(void **state)
{
	struct device *d = ((struct pair *)*state)->device;
	static uint8_t data[300000];
	static uint8_t back[300000];
	uint8_t *mapped = device_pointer(d, BAR2, 0, RIG_BAR2);

	assert_non_null(mapped);
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 7 + i / 251);
	assert_int_equal(device_write(d, BAR2, 12345, data, sizeof(data)), 0);
	assert_memory_equal(mapped + 12345, data, sizeof(data));
	assert_int_equal(device_read(d, BAR2, 12345, back, sizeof(back)), 0);
	assert_memory_equal(back, data, sizeof(data));
	assert_ptr_equal(device_pointer(d, BAR2, 4096, 16), mapped + 4096);
	assert_null(device_pointer(d, BAR2, RIG_BAR2 - 8, 9));
	assert_null(device_pointer(d, BAR0, 0, 4));          /* trapped */
	assert_null(device_pointer(d, BAR0, 0x1ffc, 8));     /* leaves the area */
	assert_non_null(device_pointer(d, BAR0, 0x1ffc, 4)); /* read-only memory */
}

static void test_windows(void **state)
{
	struct pair *pair = *state;
	struct device *d = pair->device;
	const uint32_t both = DEVICE_READ | DEVICE_WRITE;
	int memory = rig_memfd(0x4000, F_SEAL_SHRINK);
	int unsealed = rig_memfd(0x4000, 0);
	int full = rig_memfd(0x4000, F_SEAL_SHRINK | F_SEAL_FUTURE_WRITE);
	int pipes[2];

	assert_int_equal(pipe(pipes), 0);
	assert_int_equal(device_map_memory(d, BUS, 0x2000, both, NULL, memory, 0x2000), 0);
	assert_int_equal(pair->rig.windows, 1);
	assert_int_equal(pair->rig.window[0].window.kind, VFU_WINDOW_MEMORY);
	assert_int_equal(pair->rig.window[0].window.fd_offset, 0x2000);

	/* Overlaps, from every side. */
	struct bus_addr before = {BUS.value - 0x1000};
	struct bus_addr after = {BUS.value + 0x2000};
	struct bus_addr within = {BUS.value + 0x1000};
	assert_int_equal(device_map_memory(d, BUS, 0x2000, both, NULL, memory, 0), -EEXIST);
	assert_int_equal(device_map_memory(d, within, 0x1000, both, NULL, memory, 0), -EEXIST);
	assert_int_equal(device_map_memory(d, before, 0x2000, both, NULL, memory, 0), -EEXIST);
	assert_int_equal(device_map_memory(d, before, 0x4000, both, NULL, memory, 0), -EEXIST);
	assert_int_equal(device_map_memory(d, before, 0x1000, both, NULL, memory, 0), 0);
	assert_int_equal(device_map_memory(d, after, 0x1000, DEVICE_READ, NULL, full, 0), 0);

	/* Descriptors that are no good. */
	struct bus_addr far = {0x200000000};
	assert_int_equal(device_map_memory(d, far, 0x4000, both, NULL, unsealed, 0), -EPERM);
	assert_non_null(strstr(pair->rig.log, "F_SEAL_SHRINK"));
	assert_int_equal(device_map_memory(d, far, 0x4000, both, NULL, memory, 0x1000), -ERANGE);
	assert_int_equal(device_map_memory(d, far, 0x4000, both, NULL, memory, ~0xfffull), -ERANGE);
	assert_int_equal(device_map_memory(d, far, 0x4000, both, NULL, full, 0), -EACCES);
	assert_int_equal(device_map_memory(d, far, 0x1000, both, NULL, pipes[0], 0), -EINVAL);

	/* Ranges that are none. */
	assert_int_equal(device_map_memory(d, far, 0, both, NULL, memory, 0), -EINVAL);
	assert_int_equal(device_map_memory(d, far, 0x800, both, NULL, memory, 0), -EINVAL);
	assert_int_equal(
		device_map_memory(d, (struct bus_addr){~0xfffull}, 0x2000, both, NULL, memory, 0),
		-EINVAL);
	assert_int_equal(device_map_memory(d, far, 0x1000, 0, NULL, memory, 0), -EINVAL);
	/* The last page there is. */
	assert_int_equal(
		device_map_memory(d, (struct bus_addr){~0xfffull}, 0x1000, both, NULL, memory, 0),
		0);
	assert_int_equal(pair->rig.windows, 4);

	/* Unmapping cuts no window, and leaves none. */
	assert_int_equal(device_unmap(d, BUS, 0x1000), -EINVAL);
	assert_int_equal(device_unmap(d, within, 0x1000), -EINVAL);
	assert_int_equal(pair->rig.windows, 4);
	assert_int_equal(device_unmap(d, before, 0x3000), 0);
	assert_int_equal(pair->rig.windows, 2);
	assert_int_equal(device_unmap(d, BUS, 0x2000), 0);
	assert_int_equal(pair->rig.windows, 2);
	assert_int_equal(device_unmap_all(d), 0);
	assert_int_equal(pair->rig.windows, 0);
	close(memory);
	close(unsealed);
	close(full);
	close(pipes[0]);
	close(pipes[1]);
}

/* More windows than any array starts with, mapped out of order. */
static void test_many_windows(void **state)
{
	struct pair *pair = *state;

	for (unsigned i = 0; i < RIG_WINDOWS; i++) {
		struct bus_addr bus = {0x1000 * (1 + i * 37ull % 64)};
		assert_int_equal(
			device_map_memory(pair->device, bus, 0x1000, DEVICE_READ, NULL, -1, 0), 0);
	}
	assert_int_equal(device_map_memory(pair->device, BUS, 0x1000, DEVICE_READ, NULL, -1, 0),
		-ENOSPC); /* the rig's limit */
	for (unsigned i = 0; i < RIG_WINDOWS; i++) {
		struct bus_addr bus = {0x1000 * (1 + i * 11ull % 64)};
		assert_int_equal(device_unmap(pair->device, bus, 0x1000), 0);
	}
	assert_int_equal(pair->rig.windows, 0);
}

static void test_peer(void **state)
{
	struct pair *pair = *state;
	struct device *d = pair->device;
	struct bus_addr bell = {BUS.value + 0x10000};
	uint64_t count;

	/* The device is its own peer here. */
	assert_int_equal(device_map_peer(d, BUS, 0x4000, DEVICE_WRITE, d, BAR2, 0x8000), 0);
	struct vfu_window *w = &pair->rig.window[0].window;
	assert_int_equal(w->kind, VFU_WINDOW_MEMORY);
	assert_int_equal(w->fd_offset, 0x8000);
	uint8_t *seen = mmap(NULL, 0x4000, PROT_READ | PROT_WRITE, MAP_SHARED, w->fd, 0x8000);
	seen[5] = 77;
	assert_int_equal(pair->rig.bar2[0x8005], 77);
	munmap(seen, 0x4000);

	assert_true(device_doorbell_fd(d, BAR0, 0x2000) >= 0);
	assert_int_equal(device_doorbell_fd(d, BAR0, 0x2004), -ENOENT);
	assert_int_equal(device_map_peer(d, bell, 0x1000, DEVICE_WRITE, d, BAR0, 0x2000), 0);
	w = &pair->rig.window[1].window;
	assert_int_equal(w->kind, VFU_WINDOW_DOORBELL);
	assert_int_equal(eventfd_write(w->fd, 1), 0);
	assert_int_equal(read(pair->rig.doorbell, &count, sizeof(count)), sizeof(count));

	assert_int_equal(device_map_peer(d, (struct bus_addr){0x900000000}, 0x1000, DEVICE_WRITE, d,
				 BAR0, 0),
		-ENOTSUP);
	assert_non_null(strstr(device_error(d), "cannot be mapped"));
	assert_int_equal(device_unmap_all(d), 0);
}

static uint64_t take(int fd)
{
	uint64_t count = 0;

	return read(fd, &count, sizeof(count)) < 0 ? 0 : count;
}

static void test_interrupts(void **state)
{
	struct pair *pair = *state;
	struct device *d = pair->device;
	int fds[2] = {eventfd(0, 0), eventfd(0, EFD_NONBLOCK)};
	int wrong[1];

	assert_int_equal(vfu_interrupt(pair->rig.vfu, 0), -ENOTCONN);
	assert_int_equal(device_irqs(d, 0, fds, 2), 0);
	assert_int_equal(vfu_interrupt(pair->rig.vfu, 0), 0);
	assert_int_equal(vfu_interrupt(pair->rig.vfu, 1), 0);
	assert_int_equal(vfu_interrupt(pair->rig.vfu, 1), 0);
	assert_int_equal(vfu_interrupt(pair->rig.vfu, P2PNIC_VECTORS), -EINVAL);
	assert_int_equal(take(fds[0]), 1);
	assert_int_equal(take(fds[1]), 2);
	assert_int_equal(take(fds[0]), 0); /* the server made it non-blocking */

	/* A full counter stops nobody. */
	assert_int_equal(eventfd_write(fds[0], UINT64_MAX - 1), 0);
	assert_int_equal(vfu_interrupt(pair->rig.vfu, 0), 0);

	wrong[0] = pair->rig.bar0_fd;
	assert_int_equal(device_irqs(d, 0, wrong, 1), -EINVAL);
	assert_int_equal(device_irqs(d, P2PNIC_VECTORS, fds, 1), -EINVAL);
	assert_int_equal(device_irqs(d, UINT32_MAX, fds, 1), -EINVAL);
	wrong[0] = -1;
	assert_int_equal(device_irqs(d, 1, wrong, 1), 0);
	assert_int_equal(vfu_interrupt(pair->rig.vfu, 1), -ENOTCONN);
	close(fds[0]);
	close(fds[1]);
}

static void test_reset(void **state)
{
	struct pair *pair = *state;
	uint32_t value;

	assert_int_equal(device_write32(pair->device, BAR0, RIG_SCRATCH, 5), 0);
	assert_int_equal(device_reset(pair->device), 0);
	assert_int_equal(pair->rig.resets, 1);
	assert_int_equal(device_read32(pair->device, BAR0, RIG_SCRATCH, &value), 0);
	assert_int_equal(value, 0);
}

/* --- Message windows -------------------------------------------------------------------------- */

struct mover {
	struct vfu *vfu;
	struct bus_addr bus;
	uint8_t *data;
	size_t bytes;
	bool write;
	int result;
	_Atomic bool done;
};

static void *move(void *argument)
{
	struct mover *m = argument;

	m->result = m->write ? vfu_dma_write(m->vfu, m->bus, m->data, m->bytes)
			     : rig_read(m->vfu, m->bus, m->data, m->bytes);
	m->done = true;
	return NULL;
}

/* Moves while this thread, the driver's, answers. */
static int move_served(struct pair *pair, struct mover *m)
{
	pthread_t thread;

	m->vfu = pair->rig.vfu;
	m->done = false;
	pthread_create(&thread, NULL, move, m);
	while (!m->done) {
		struct pollfd wait = {.fd = device_fd(pair->device), .events = POLLIN};
		poll(&wait, 1, 5);
		assert_int_equal(device_service(pair->device), 0);
	}
	pthread_join(thread, NULL);
	if (m->write) {
		uint32_t value; /* whose reply comes after what was posted */

		assert_int_equal(device_read32(pair->device, BAR0, RIG_SCRATCH, &value), 0);
	}
	return m->result;
}

static void test_messages(void **state)
{
	struct pair *pair = *state;
	const size_t bytes = 0x20000;
	uint8_t *memory = aligned_alloc(4096, bytes);
	uint8_t *data = malloc(bytes);
	struct mover m = {.bus = BUS, .data = data, .bytes = bytes, .write = true};

	memset(memory, 0, bytes);
	for (size_t i = 0; i < bytes; i++)
		data[i] = (uint8_t)(i * 13 + i / 256);
	assert_int_equal(device_map_memory(pair->device, BUS, bytes, DEVICE_READ | DEVICE_WRITE,
				 memory, -1, 0),
		0);
	assert_int_equal(pair->rig.window[0].window.kind, VFU_WINDOW_MESSAGE);
	assert_int_equal(move_served(pair, &m), 0);
	assert_memory_equal(memory, data, bytes);

	memset(data, 0, bytes);
	m.write = false;
	m.bus.value += 3;
	m.bytes = bytes - 3;
	assert_int_equal(move_served(pair, &m), 0);
	assert_memory_equal(memory + 3, data, bytes - 3);

	/* Over the end, beside it, and without permission. */
	m.bytes = bytes;
	assert_int_equal(move_served(pair, &m), -EFAULT);
	m.bus.value = 0x5000;
	m.bytes = 8;
	assert_int_equal(move_served(pair, &m), -EFAULT);
	assert_int_equal(device_unmap(pair->device, BUS, bytes), 0);
	m.bus = BUS;
	assert_int_equal(move_served(pair, &m), -EFAULT);
	/* A write is posted: the driver refuses it, and the device does not hear of that. */
	assert_int_equal(
		device_map_memory(pair->device, BUS, 0x1000, DEVICE_READ, memory, -1, 0), 0);
	m.write = true;
	memory[0] = 1;
	data[0] = 2;
	assert_int_equal(move_served(pair, &m), 0);
	assert_int_equal(memory[0], 1);
	assert_int_equal(device_unmap_all(pair->device), 0);
	free(memory);
	free(data);
}

/*
 * The knot: an engine in the middle of DMA messages, while the driver's commands make the control
 * thread wait for that engine. Nobody may wait for a time-out.
 */
static void test_paused_engine(void **state)
{
	struct pair *pair = *state;
	uint64_t *memory = aligned_alloc(4096, 4096);

	memset(memory, 0, 4096);
	assert_int_equal(device_map_memory(pair->device, BUS, 4096, DEVICE_READ | DEVICE_WRITE,
				 memory, -1, 0),
		0);
	rig_engine_start(&pair->rig, BUS);
	for (unsigned i = 0; i < 2000; i++) {
		assert_int_equal(device_write32(pair->device, BAR0, RIG_REG_PAUSE, i), 0);
		if (i % 16 == 0)
			assert_int_equal(device_service(pair->device), 0);
	}
	assert_true(pair->rig.moved > 0);
	assert_int_equal(pair->rig.faults, 0);

	/* Unmapping waits for the engine as well; afterwards its accesses are refused. */
	assert_int_equal(device_unmap(pair->device, BUS, 4096), 0);
	for (unsigned i = 0; !pair->rig.faults && i < 1000000; i++)
		assert_int_equal(device_write32(pair->device, BAR0, RIG_REG_PAUSE, i), 0);
	uint64_t moved = pair->rig.moved;
	assert_true(pair->rig.faults > 0);
	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(device_write32(pair->device, BAR0, RIG_REG_PAUSE, i), 0);
	assert_int_equal(pair->rig.moved, moved);

	/* Serve until it has stopped. */
	pair->rig.engine_stop = true;
	while (pair->rig.running) {
		assert_int_equal(device_service(pair->device), 0);
		rig_sleep_ms(1);
	}
	pthread_join(pair->rig.engine, NULL);
	free(memory);
}

/* A driver that does not serve: reads time out once, then fail at once, until it speaks again. */
static void test_silent_client(void **state)
{
	struct pair *pair = *state;
	uint64_t *memory = aligned_alloc(4096, 4096);
	struct mover m = {.vfu = pair->rig.vfu, .bus = BUS, .bytes = 8};
	uint64_t word = 0;
	uint32_t value;

	memset(memory, 0x2a, 4096);
	m.data = (uint8_t *)&word;
	assert_int_equal(device_map_memory(pair->device, BUS, 4096, DEVICE_READ | DEVICE_WRITE,
				 memory, -1, 0),
		0);
	move(&m);
	assert_int_equal(m.result, -ETIMEDOUT);
	for (unsigned i = 0; i < 1000; i++) {
		move(&m);
		assert_int_equal(m.result, -ETIMEDOUT);
	}
	/* It answers what it was asked, late and for nobody, and is heard again. */
	assert_int_equal(device_read32(pair->device, BAR0, RIG_SCRATCH, &value), 0);
	assert_int_equal(word, 0);
	assert_int_equal(move_served(pair, &m), 0);
	assert_int_equal(word, memory[0]);
	assert_int_equal(device_unmap_all(pair->device), 0);
	free(memory);
}

/* --- Connections ------------------------------------------------------------------------------ */

static char *socket_path(void)
{
	static char path[64];

	snprintf(path, sizeof(path), "/tmp/p2pnic-test-vfu-%d", getpid());
	return path;
}

static void test_one_client_at_a_time(void **state)
{
	struct rig rig;
	struct device *first;
	struct device *second;
	char where[128];
	struct error error = {""};
	uint32_t value;
	struct stat status;
	unsigned fds = open_descriptors();

	snprintf(where, sizeof(where), "vfio-user:%s", socket_path());
	assert_int_equal(device_open(&first, where, &error), -ENOENT);
	assert_non_null(strstr(error.text, "running"));
	assert_int_equal(device_open(&first, "vme:0", &error), -ENODEV);
	assert_int_equal(device_open(&first, "nothing", &error), -ENODEV);

	rig_open(&rig, socket_path(), -1, 0);
	assert_int_equal(stat(socket_path(), &status), 0);
	assert_int_equal(status.st_mode & 0777, 0600);
	rig_serve(&rig);

	assert_int_equal(device_open(&first, where, &error), 0);
	for (int i = 0; i < 20; i++) {
		assert_int_equal(device_open(&second, where, &error), -EBUSY);
		assert_non_null(strstr(error.text, "another driver"));
	}
	assert_int_equal(device_write32(first, BAR0, RIG_SCRATCH, 99), 0);
	assert_int_equal(device_map_memory(first, BUS, 4096, DEVICE_READ, NULL, -1, 0), 0);
	device_close(first);

	/* The next one finds the device's state, and none of the first's windows. */
	for (int tries = 0; device_open(&second, where, &error) != 0; tries++) {
		assert_true(tries < 1000);
		rig_sleep_ms(1);
	}
	assert_int_equal(rig.windows, 0);
	assert_int_equal(device_read32(second, BAR0, RIG_SCRATCH, &value), 0);
	assert_int_equal(value, 99);
	device_close(second);
	rig_close(&rig);
	assert_int_equal(stat(socket_path(), &status), -1);
	assert_int_equal(open_descriptors(), fds);
}

/* Second clients that say nothing, or half of it, hold nobody up; the server goes before them. */
static void test_silent_second_clients(void **state)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	unsigned fds = open_descriptors();
	struct device *first, *second;
	struct error error = {""};
	char where[128];
	struct rig rig;
	int silent[8];

	snprintf(where, sizeof(where), "vfio-user:%s", socket_path());
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", socket_path());
	rig_open(&rig, socket_path(), -1, 0);
	rig_serve(&rig);
	assert_int_equal(device_open(&first, where, &error), 0);
	for (unsigned k = 0; k < 8; k++) {
		silent[k] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
		assert_int_equal(
			connect(silent[k], (struct sockaddr *)&address, sizeof(address)), 0);
		if (k == 1)
			assert_int_equal(write(silent[k], "123", 3), 3);
	}
	assert_int_equal(device_write32(first, BAR0, RIG_SCRATCH, 99), 0);
	close(silent[0]); /* its place is another's */
	for (int tries = 0; device_open(&second, where, &error) != -EBUSY; tries++) {
		assert_true(tries < 1000);
		rig_sleep_ms(1);
	}
	device_close(first);
	rig_close(&rig);
	for (unsigned k = 1; k < 8; k++)
		close(silent[k]);
	assert_int_equal(open_descriptors(), fds);
}

/* A path left behind by a server that died is taken over; one that is in use is not, nor is a
 * file. */
static void test_stale_socket(void **state)
{
	const char *path = socket_path();
	struct rig rig;
	struct error error;
	pid_t child = fork();
	int status;

	if (child == 0) {
		rig_open(&rig, path, -1, 0);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	assert_int_equal(access(path, F_OK), 0);
	rig_open(&rig, path, -1, 0);

	struct vfu_config config = rig.config;
	struct vfu *second;
	assert_int_equal(vfu_open(&second, &config, &error), -EADDRINUSE);
	assert_non_null(strstr(error.text, path));
	assert_int_equal(access(path, F_OK), 0);
	rig_close(&rig);

	int fd = open(path, O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(vfu_open(&second, &config, &error), -EEXIST);
	assert_int_equal(access(path, F_OK), 0);
	close(fd);
	unlink(path);
}

/* The NIC dies: the client says so, at once and for good. */
static void test_server_gone(void **state)
{
	struct rig rig;
	struct device *device;
	struct error error;
	uint32_t value;
	int ends[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
	rig_open(&rig, NULL, ends[0], 0);
	rig_serve(&rig);
	assert_int_equal(vfio_user_connect(&device, ends[1], &error), 0);
	rig_close(&rig);
	assert_true(device_read32(device, BAR0, RIG_SCRATCH, &value) == -ECONNRESET);
	assert_int_equal(device_read32(device, BAR0, RIG_SCRATCH, &value), -ENOTCONN);
	assert_int_equal(device_service(device), -ENOTCONN);
	device_close(device);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_identity, open_pair, close_pair),
		cmocka_unit_test_setup_teardown(test_registers, open_pair, close_pair),
		cmocka_unit_test_setup_teardown(test_memory, open_pair, close_pair),
		cmocka_unit_test_setup_teardown(test_windows, open_pair, close_pair),
		cmocka_unit_test_setup_teardown(test_many_windows, open_pair, close_pair),
		cmocka_unit_test_setup_teardown(test_peer, open_pair, close_pair),
		cmocka_unit_test_setup_teardown(test_interrupts, open_pair, close_pair),
		cmocka_unit_test_setup_teardown(test_reset, open_pair, close_pair),
		cmocka_unit_test_setup_teardown(test_messages, open_pair, close_pair),
		cmocka_unit_test_setup_teardown(test_paused_engine, open_pair, close_pair),
		cmocka_unit_test_setup_teardown(
			test_silent_client, open_impatient_pair, close_pair),
		cmocka_unit_test(test_one_client_at_a_time),
		cmocka_unit_test(test_silent_second_clients),
		cmocka_unit_test(test_stale_socket),
		cmocka_unit_test(test_server_gone),
	};

	return cmocka_run_group_tests_name("vfio-user", tests, NULL, NULL);
}
