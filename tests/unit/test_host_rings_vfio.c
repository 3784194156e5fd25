/* SPDX-License-Identifier: BSD-3-Clause */
/* The host's rings over kernel VFIO, as vfio_fake.h plays it: there is no firmware, so the test
 * says what a command results in, and looks at what the NIC's memory holds. */
#include "driver/bus_plan.h"
#include "driver/host_rings.h"
#include "tests/unit/descriptors.h"
#include "tests/unit/vfio_fake.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

#define SLOTS  32u
#define AT     0x200000u
#define BUFFER P2PNIC_BUFFER_BYTES_MIN

static struct driver_nic nic;
static struct error error;

static void set_up_nic(unsigned method)
{
	struct device *device;

	fake_begin();
	fake.function[0].vectors = P2PNIC_VECTORS;
	fake_set_register(0, P2PNIC_REG_METHOD, method);
	assert_int_equal(device_open(&device, fake_where(0), &error), 0);
	assert_int_equal(driver_nic_attach(&nic, "n0", 0, device, &error), 0);
	fake_set_register(0, P2PNIC_REG_RX_BUFFERS, 1024);
}

static uint8_t *memory_of(unsigned region)
{
	return device_pointer(nic.device, region, 0, P2PNIC_BAR2_BYTES_MIN);
}

/* The host's vectors have an eventfd, or none; the event's has one. */
static void check_vectors(bool host)
{
	const struct fake_function *f = &fake.function[0];

	assert_int_equal(f->armed, P2PNIC_VECTORS);
	for (unsigned k = 0; k < P2PNIC_HOST_RINGS; k++)
		assert_int_equal(f->vector[P2PNIC_VECTOR_HOST_RING(k)] >= 0, host);
	assert_true(f->vector[P2PNIC_VECTOR_EVENT] >= 0);
}

/* Two windows at most, of one mapping; four vectors with an eventfd, the fifth as before. */
static void they_are_mapped_and_armed(unsigned method)
{
	const struct fake_function *f = &fake.function[0];
	const uint64_t written = host_ring_write_bytes(method, SLOTS, BUFFER);
	struct host_rings rings;

	set_up_nic(method);
	const int event = eventfd(0, EFD_CLOEXEC);

	assert_int_equal(device_irqs(nic.device, P2PNIC_VECTOR_EVENT, &event, 1), 0);
	assert_int_equal(host_rings_open(&rings, &nic, SLOTS, AT, &error), 0);
	assert_int_equal(f->windows, method == P2PNIC_METHOD_WRITE ? 1 : 2);
	assert_int_equal(f->window[0].iova,
		bus_plan_address(nic.device, P2PNIC_NICS_MAX, BUS_PACKETS).value);
	assert_int_equal(f->window[0].bytes, written);
	assert_int_equal(f->window[0].vaddr, (uintptr_t)rings.memory + HOST_WRITE);
	assert_int_equal(f->window[0].flags, VFIO_DMA_MAP_FLAG_WRITE);
	if (method != P2PNIC_METHOD_WRITE) {
		assert_int_equal(f->window[1].iova,
			bus_plan_address(nic.device, P2PNIC_NICS_MAX, BUS_READ).value);
		assert_int_equal(f->window[1].bytes, host_ring_read_bytes(method, SLOTS, BUFFER));
		assert_int_equal(
			f->window[1].vaddr, (uintptr_t)rings.memory + HOST_WRITE + written);
		assert_int_equal(f->window[1].flags, VFIO_DMA_MAP_FLAG_READ);
	}
	check_vectors(true);
	host_rings_close(&rings);
	assert_int_equal(f->windows, 0);
	check_vectors(false);
	driver_nic_detach(&nic);
	close(event);
	fake_end();
}

/* Parts lead to where the contract says, and nowhere else. */
static void they_are_served_through_maps(unsigned method)
{
	struct host_share share[HOST_PARTS];
	struct host_rings rings;
	struct host_maps maps;
	struct host_ring ring;
	uint8_t frame[60] = "a frame";

	set_up_nic(method);
	assert_int_equal(host_rings_open(&rings, &nic, SLOTS, AT, &error), 0);
	host_rings_share(&rings, share);
	assert_int_equal(host_maps_make(&maps, share, &error), 0);
	assert_int_equal(maps.bytes[HOST_DOORBELL], DEVICE_PAGE);
	assert_int_equal(maps.bytes[HOST_MAILBOXES], 4 * sizeof(struct p2pnic_mailbox));
	assert_int_equal(host_ring_attach(&ring, &maps, P2PNIC_RING_EXCEPTION), 0);
	atomic_store(&((struct p2pnic_mailbox *)(void *)(rings.memory + HOST_WRITE))[2].asleep, 1);
	assert_int_equal(host_ring_send(&ring, frame, sizeof(frame)), 0);
	assert_int_equal(fake_get_register(0, P2PNIC_BAR0_DOORBELL), 1);

	const struct p2pnic_mailbox *m =
		driver_nic_mailbox(&nic, P2PNIC_HOST_PEER(P2PNIC_RING_EXCEPTION));
	const struct p2pnic_peer *entry =
		&driver_nic_peers(&nic)[P2PNIC_HOST_PEER(P2PNIC_RING_EXCEPTION)];
	assert_int_equal(m->descriptor[0].length, sizeof(frame));
	assert_int_equal(m->descriptor[0].offset, 0);
	assert_int_equal(m->descriptor[0].flags, p2pnic_tag(entry->epoch, 0, SLOTS));
	if (method == P2PNIC_METHOD_WRITE) {
		assert_int_equal(entry->in_offset, AT + 2 * SLOTS * BUFFER);
		assert_memory_equal(memory_of(VFIO_PCI_BAR4_REGION_INDEX) + entry->in_offset, frame,
			sizeof(frame));
	} else {
		const uint64_t at = entry->in_buffers.value -
				    bus_plan_address(nic.device, BUS_HOST, BUS_READ).value;

		assert_memory_equal(rings.memory + HOST_WRITE +
					    host_ring_write_bytes(method, SLOTS, BUFFER) + at,
			frame, sizeof(frame));
	}
	/* A part that cannot be mapped: none is. */
	share[HOST_DOORBELL].fd = rings.event;
	host_maps_free(&maps);
	assert_int_equal(host_maps_make(&maps, share, &error), -ENODEV);
	assert_string_equal(error.text, "mapping part 3 of the host's rings: No such device");
	assert_null(maps.at[HOST_MEMORY]);
	host_rings_close(&rings);
	driver_nic_detach(&nic);
	fake_end();
}

/* The driver dies, a keeper has the rest. */
static void they_are_adopted(unsigned method)
{
	struct host_rings rings;
	struct device *device;
	int fds[DEVICE_KEEP_MAX], kept[DEVICE_KEEP_MAX];

	set_up_nic(method);
	assert_int_equal(host_rings_open(&rings, &nic, SLOTS, AT, &error), 0);
	const int memory = dup(rings.memory_fd), event = dup(rings.event);
	const int n = device_keep(nic.device, fds);

	for (int k = 0; k < n; k++)
		kept[k] = dup(fds[k]);
	host_rings_leave(&rings);
	driver_nic_detach(&nic);
	fake_set_register(0, P2PNIC_REG_STATUS, P2PNIC_STATUS_RUNNING | P2PNIC_STATUS_READY);
	fake_set_register(0, P2PNIC_REG_RESULT, P2PNIC_BAD_STATE);
	assert_int_equal(device_adopt(&device, "vfio", kept, (unsigned)n, NULL, 0, &error), 0);
	assert_int_equal(driver_nic_attach(&nic, "n0", 0, device, &error), 0);
	assert_true(nic.adopted);
	/* It has assigned a vector of its own, which took the others away. */
	assert_int_equal(device_irqs(nic.device, P2PNIC_VECTOR_EVENT, &event, 1), 0);
	check_vectors(false);
	if (host_rings_adopt(&rings, &nic, SLOTS, AT, memory, event, &error))
		fail_msg("%s", error.text);
	check_vectors(true);
	host_rings_close(&rings);
	assert_int_equal(fake.function[0].windows, 0);
	driver_nic_detach(&nic);
	fake_end();
}

/* Each request of it fails once: nothing is left, and the sentence names the NIC. */
static void a_request_fails(unsigned method)
{
	static const unsigned long request[] = {VFIO_IOMMU_MAP_DMA, VFIO_DEVICE_SET_IRQS};
	struct host_rings rings;

	set_up_nic(method);
	for (unsigned k = 0; k < 2; k++) {
		const unsigned before = open_descriptors();

		fake_fail(request[k], ENOMEM);
		assert_int_equal(host_rings_open(&rings, &nic, SLOTS, AT, &error), -ENOMEM);
		assert_memory_equal(error.text, "n0", 2);
		assert_int_equal(fake.function[0].windows, 0);
		assert_int_equal(open_descriptors(), before);
	}
	fake_set_register(0, P2PNIC_REG_RESULT, P2PNIC_BAD_STATE);
	assert_int_equal(host_rings_open(&rings, &nic, SLOTS, AT, &error), -EAGAIN);
	fake_set_register(0, P2PNIC_REG_RESULT, P2PNIC_BAD_WINDOW);
	assert_int_equal(host_rings_open(&rings, &nic, SLOTS, AT, &error), -EIO);
	assert_string_equal(error.text, "n0, host's ring 0: open: a bus address lies in no window");
	assert_int_equal(fake.function[0].windows, 0);
	driver_nic_detach(&nic);
	fake_end();
}

#define TESTS(X)                                                                                   \
	X(they_are_mapped_and_armed)                                                               \
	X(they_are_served_through_maps)                                                            \
	X(they_are_adopted)                                                                        \
	X(a_request_fails)

#define RUN(test)                                                                                  \
	static void run_##test(void **state)                                                       \
	{                                                                                          \
		test(P2PNIC_METHOD_WRITE);                                                         \
		test(P2PNIC_METHOD_READ);                                                          \
		test(P2PNIC_METHOD_BOUNCE);                                                        \
	}
TESTS(RUN)

int main(void)
{
#define ENTRY(test) {#test, run_##test, NULL, NULL, NULL},
	const struct CMUnitTest tests[] = {TESTS(ENTRY)};

	return cmocka_run_group_tests_name("host rings, vfio", tests, NULL, NULL);
}
