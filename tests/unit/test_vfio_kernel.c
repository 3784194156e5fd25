/* SPDX-License-Identifier: BSD-3-Clause */
/* The driver over the kernel's VFIO, on a kernel of the test's own: what each refusal says, that
 * nothing is left of a failure, and windows onto peers. */
#include "driver/fabric.h"
#include "tests/unit/descriptors.h"
#include "tests/unit/vfio_fake.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

#define BAR0 VFIO_PCI_BAR0_REGION_INDEX
#define BAR2 VFIO_PCI_BAR2_REGION_INDEX
#define BAR4 VFIO_PCI_BAR4_REGION_INDEX

static struct error error;

/* Nothing more of that, once. */
static bool no_memory, no_eventfd;

void *__real_calloc(size_t n, size_t bytes);
void *__wrap_calloc(size_t n, size_t bytes);
int __real_eventfd(unsigned count, int flags);
int __wrap_eventfd(unsigned count, int flags);

static bool once(bool *flag)
{
	const bool set = *flag;

	*flag = false;
	return set;
}

void *__wrap_calloc(size_t n, size_t bytes)
{
	return once(&no_memory) ? NULL : __real_calloc(n, bytes);
}

int __wrap_eventfd(unsigned count, int flags)
{
	if (!once(&no_eventfd))
		return __real_eventfd(count, flags);
	errno = EMFILE;
	return -1;
}

static int set_up(void **state)
{
	fake_begin();
	return 0;
}

static int tear_down(void **state)
{
	fake_end();
	return 0;
}

static struct device *open_nic(unsigned k)
{
	struct device *device;

	if (device_open(&device, fake_where(k), &error))
		fail_msg("%s", error.text);
	return device;
}

static void refused(int expected, const char *text)
{
	const unsigned before = open_descriptors();
	char whole[400];
	struct device *device;

	assert_int_equal(device_open(&device, fake_where(0), &error), expected);
	snprintf(whole, sizeof(whole), "vfio:0000:03:00.0: %s", text);
	assert_string_equal(error.text, whole);
	assert_int_equal(open_descriptors(), before);
}

/* --- Opening ---------------------------------------------------------------------------------- */

static void test_open(void **state)
{
	struct device *device = open_nic(0);
	uint32_t value;

	assert_false(device->physical);
	assert_int_equal(device->vectors, 1);
	assert_int_equal(device->ranges, 2);
	assert_int_equal(device->range[0].last, 0xfedfffff);
	assert_int_equal(device->range[1].last, 0x7fffffffff);
	assert_int_equal(device->region[BAR2].bytes, P2PNIC_BAR2_BYTES_MIN);
	assert_int_equal(device->region[BAR2].area_count, 1);
	assert_int_equal(device->region[1].bytes, 0);
	assert_int_equal(device_read32(device, BAR0, P2PNIC_REG_MAGIC, &value), 0);
	assert_int_equal(value, P2PNIC_MAGIC);
	assert_int_equal(device_write32(device, BAR0, P2PNIC_REG_EPOCH, 7), 0);
	assert_int_equal(fake_get_register(0, P2PNIC_REG_EPOCH), 7);
	assert_int_equal(device_enable(device), 0);
	assert_int_equal(device_config_read(device, PCI_COMMAND, 2, &value), 0);
	assert_int_equal(value, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	assert_int_equal(device_reset(device), 0);
	assert_int_equal(fake.function[0].resets, 1);
	assert_int_equal(device_ask(device), 0);
	assert_int_equal(device_config_write(device, 0, 4, UINT32_MAX), 0);
	assert_int_equal(device_ask(device), -ENOTCONN);
	assert_int_equal(device_service(device), 0);
	assert_false(device_silent(device) || device_waits(device));
	assert_int_equal(device_doorbell_fd(device, BAR0, P2PNIC_BAR0_DOORBELL), -ENOENT);
	device_close(device);
}

/* By what is wrong with the host. */
static void test_host(void **state)
{
	static const char *const driver = "bus/pci/devices/0000:03:00.0/driver";
	static const char *const group = "bus/pci/devices/0000:03:00.0/iommu_group";
	struct fake_function *f = &fake.function[0];

	f->viable = false;
	refused(-EPERM, "/dev/vfio/10: other devices of the IOMMU group have drivers that are not "
			"VFIO's: unbind them");
	f->viable = true;
	f->busy = true;
	refused(-EBUSY,
		"/dev/vfio/10: Device or resource busy: another driver has it, or a NIC that "
		"shares the IOMMU group");
	f->busy = false;
	fake_fail(FAKE_OPEN, ENOENT);
	refused(-ENOENT, "/dev/vfio/vfio: No such file or directory: modprobe vfio-pci");
	fake_fail(FAKE_OPEN, EACCES);
	refused(-EACCES, "/dev/vfio/vfio: Permission denied: give this user read and write access");
	fake.type1 = false;
	refused(-ENOTSUP, "this kernel's VFIO has no type 1 IOMMU: modprobe vfio_iommu_type1");
	fake.type1 = true;
	fake.version = 1;
	refused(-ENOTSUP, "this kernel's VFIO has no type 1 IOMMU: modprobe vfio_iommu_type1");
	fake.version = VFIO_API_VERSION;
	f->flags = VFIO_DEVICE_FLAGS_PLATFORM;
	refused(-ENODEV, "not a PCI device");
	f->flags = VFIO_DEVICE_FLAGS_PCI;

	struct device *device;
	assert_int_equal(device_open(&device, "vfio:03:00.0", &error), -EINVAL);
	assert_string_equal(error.text, "vfio:03:00.0: want DDDD:BB:DD.F");
	tree_link(&fake.tree, driver, "../../../../bus/pci/drivers/nvme");
	refused(-ENODEV, "its driver is nvme; `p2pnic nic list` says how to bind it to vfio-pci");
	tree_remove(&fake.tree, driver);
	refused(-ENODEV, "its driver is none; `p2pnic nic list` says how to bind it to vfio-pci");
	tree_link(&fake.tree, driver, "../../../../bus/pci/drivers/vfio-pci");
	tree_remove(&fake.tree, group);
	refused(-ENODEV, "it has no IOMMU group: turn the IOMMU on (firmware setup; kernel: "
			 "intel_iommu=on)");
	tree_link(&fake.tree, group, "../../../kernel/iommu_groups/99");
	refused(-ENOENT, "/dev/vfio/99: No such file or directory: modprobe vfio-pci");
}

/* Each request that can fail, by its own words. */
static void test_requests(void **state)
{
	static const struct {
		unsigned long request;
		int error;
		const char *text;
	} wrong[] = {
		{VFIO_GROUP_GET_STATUS, EIO, "/dev/vfio/10: Input/output error"},
		{VFIO_GROUP_SET_CONTAINER, EBUSY,
			"IOMMU group 10: its container: Device or resource busy"},
		{VFIO_SET_IOMMU, EPERM,
			"IOMMU group 10: its IOMMU: Operation not permitted: does it remap "
			"interrupts? The kernel's log says more"},
		{VFIO_SET_IOMMU, EIO, "IOMMU group 10: its IOMMU: Input/output error"},
		{VFIO_GROUP_GET_DEVICE_FD, ENODEV, "the device of IOMMU group 10: No such device"},
		{VFIO_DEVICE_GET_INFO, EIO, "asking what the device is: Input/output error"},
		{VFIO_DEVICE_GET_REGION_INFO, ENOMEM,
			"asking about region 0: Cannot allocate memory"},
		{VFIO_IOMMU_GET_INFO, EIO, "asking about the IOMMU: Input/output error"},
		{VFIO_DEVICE_GET_IRQ_INFO, EIO, "asking about interrupts: Input/output error"},
	};

	no_memory = true;
	refused(-ENOMEM, "Cannot allocate memory");
	no_eventfd = true;
	refused(-EMFILE, "an eventfd for the kernel's requests: Too many open files");
	for (unsigned k = 0; k < sizeof(wrong) / sizeof(*wrong); k++) {
		fake_fail(wrong[k].request, wrong[k].error);
		refused(-wrong[k].error, wrong[k].text);
	}
}

/* Whichever call fails: it opens, where that was not vital, or says so; nothing is left. */
static void test_each_fails(void **state)
{
	const unsigned before = open_descriptors();
	unsigned number = 0, failed = 0;
	bool met;

	do {
		struct device *device;

		fake_count(++number, EIO);
		const int result = device_open(&device, fake_where(0), &error);
		met = fake.calls >= number;
		fake_count(0, 0);
		if (result) {
			assert_true(result == -EIO || result == -ENOTSUP);
			assert_non_null(strstr(error.text, "vfio:0000:03:00.0: "));
			failed++;
		} else {
			device_close(device);
		}
		assert_int_equal(open_descriptors(), before);
	} while (met);
	/* All but two: to be told of errors, and of being unbound. */
	assert_int_equal(failed, number - 1 - 2);
	assert_true(failed > 15);
}

/* --- Regions ---------------------------------------------------------------------------------- */

static void test_sparse(void **state)
{
	struct fake_function *f = &fake.function[0];
	const unsigned before = open_descriptors();
	struct device *device;

	/* A capability that says nothing of parts: all of it; and one before that which does. */
	f->msix_mappable = true;
	device = open_nic(0);
	assert_int_equal(device->region[BAR0].area_count, 1);
	assert_non_null(device_pointer(device, BAR0, 0, P2PNIC_BAR0_BYTES));
	device_close(device);
	f->areas[BAR0] = 2;
	f->area[BAR0][0] = (struct device_area){0x1000, 0x2000};
	f->area[BAR0][1] = (struct device_area){0x8000, 0};
	device = open_nic(0);
	assert_int_equal(device->region[BAR0].area_count, 1);
	assert_non_null(device_pointer(device, BAR0, P2PNIC_BAR0_COUNTERS, 0x1000));
	assert_non_null(device_pointer(device, BAR0, P2PNIC_BAR0_DOORBELL, 0x1000));
	assert_null(device_pointer(device, BAR0, P2PNIC_BAR0_DOORBELL, 0x2000));
	assert_int_equal(errno, EIO);
	assert_string_equal(device_error(device),
		"region 0: 8192 bytes at 0x2000 are in no part that can be mapped");
	assert_null(device_pointer(device, BAR0, 0, 0x2000));
	device_close(device);

	f->area[BAR0][1] = (struct device_area){0xf000, 0x2000};
	refused(-EPROTO,
		"region 0: a mappable part of 8192 bytes at 0xf000 leaves its 65536 bytes");
	f->area[BAR0][1] = (struct device_area){0x20000, 0x1000};
	refused(-EPROTO,
		"region 0: a mappable part of 4096 bytes at 0x20000 leaves its 65536 bytes");
	f->long_answer = true;
	refused(-E2BIG, "region 0: the kernel's description is of 8192 bytes, longer than 4096");
	assert_int_equal(open_descriptors(), before);
}

/* What a NIC lacks is found when it is attached. */
static void attach_refused(int expected, const char *text)
{
	const unsigned before = open_descriptors();
	struct device *device = open_nic(0);
	struct driver_nic nic;

	assert_int_equal(driver_nic_attach(&nic, "n0", 0, device, &error), expected);
	assert_string_equal(error.text, text);
	device_close(device);
	assert_int_equal(open_descriptors(), before);
}

static void test_regions(void **state)
{
	struct fake_function *f = &fake.function[0];

	f->bytes[BAR2] = 0;
	attach_refused(-EINVAL, "n0: 16777216 bytes at 0x0 of region 2, which is of 0");
	f->bytes[BAR2] = P2PNIC_BAR2_BYTES_MIN / 2;
	attach_refused(-EINVAL, "n0: 16777216 bytes at 0x0 of region 2, which is of 8388608");
	f->bytes[BAR2] = P2PNIC_BAR2_BYTES_MIN;
	f->region_flags[BAR2] &= ~VFIO_REGION_INFO_FLAG_MMAP;
	attach_refused(
		-EIO, "n0: region 2: 16777216 bytes at 0x0 are in no part that can be mapped");
	f->region_flags[BAR2] |= VFIO_REGION_INFO_FLAG_MMAP;
	f->bytes[BAR0] = 0;
	attach_refused(-EINVAL, "n0: 4 bytes at 0x0 of region 0, which is of 0");
	f->bytes[BAR0] = 0x1000;
	attach_refused(-EINVAL, "n0: 4096 bytes at 0x1000 of region 0, which is of 4096");
}

/* --- Windows ---------------------------------------------------------------------------------- */

static void test_windows(void **state)
{
	struct device *a = open_nic(0), *b = open_nic(1);
	struct fake_function *f = &fake.function[0];
	const struct bus_addr at = {0x100000000}, other = {0x200000000}, hole = {0xfee00000};
	static _Alignas(DEVICE_PAGE) uint8_t memory[2 * DEVICE_PAGE];

	assert_int_equal(device_map_peer(a, at, 0x4000, DEVICE_WRITE, b, BAR2, 0x4000), 0);
	assert_int_equal(f->windows, 1);
	assert_int_equal(f->window[0].flags, VFIO_DMA_MAP_FLAG_WRITE);
	assert_int_equal(f->window[0].vaddr, (uintptr_t)device_pointer(b, BAR2, 0x4000, 0x4000));
	assert_int_equal(device_map_memory(a, other, sizeof(memory), DEVICE_READ | DEVICE_WRITE,
				 memory, -1, 0),
		0);
	assert_int_equal(f->window[1].vaddr, (uintptr_t)memory);

	assert_int_equal(device_map_peer(a, at, 0x1000, DEVICE_READ, b, BAR2, 0), -EEXIST);
	assert_string_equal(
		device_error(a), "mapping 4096 bytes at bus address 0x100000000: File exists");
	assert_int_equal(device_map_peer(a, hole, 0x1000, DEVICE_READ, b, BAR2, 0), -EINVAL);
	assert_int_equal(
		device_map_peer(a, (struct bus_addr){0}, 0x1000, DEVICE_READ, b, BAR2, 0), -EINVAL);
	assert_int_equal(
		device_map_peer(a, (struct bus_addr){0x1001}, 0x1000, DEVICE_READ, b, BAR2, 0),
		-EINVAL);
	assert_int_equal(device_map_peer(a, hole, 0x1000, DEVICE_READ, b, 1, 0), -EINVAL);
	assert_string_equal(
		device_error(a), "0000:04:00.0: 4096 bytes at 0x0 of region 1, which is of 0");
	f->windows_max = 2;
	assert_int_equal(device_map_peer(a, (struct bus_addr){0x300000000}, 0x1000, DEVICE_WRITE, b,
				 BAR4, 0),
		-ENOSPC);
	assert_string_equal(device_error(a),
		"mapping 4096 bytes at bus address 0x300000000: No space left on device: raise "
		"dma_entry_limit of vfio_iommu_type1");
	fake_fail(VFIO_IOMMU_MAP_DMA, EFAULT);
	assert_int_equal(device_map_peer(a, (struct bus_addr){0x300000000}, 0x1000, DEVICE_WRITE, b,
				 BAR4, 0),
		-EFAULT);
	assert_string_equal(device_error(a),
		"mapping 4096 bytes at bus address 0x300000000: Bad address: a container of "
		"iommufd maps no BAR of a peer; want a kernel with CONFIG_VFIO_CONTAINER");
	fake_fail(VFIO_IOMMU_MAP_DMA, ENOMEM);
	assert_int_equal(device_map_memory(a, hole, 0x1000, DEVICE_WRITE, memory, -1, 0), -ENOMEM);
	assert_non_null(strstr(device_error(a), "raise the limit of locked memory (ulimit -l)"));

	fake_fail(VFIO_IOMMU_UNMAP_DMA, EIO);
	assert_int_equal(device_unmap(a, at, 0x4000), -EIO);
	assert_string_equal(
		device_error(a), "unmapping bus address 0x100000000: Input/output error");
	assert_int_equal(device_unmap(a, at, 0x4000), 0);
	assert_int_equal(f->windows, 1);
	fake_fail(VFIO_IOMMU_UNMAP_DMA, EIO);
	assert_int_equal(device_unmap_all(a), -EIO);
	assert_int_equal(device_unmap_all(a), 0);
	assert_int_equal(f->windows, 0);
	device_close(a);
	device_close(b);
}

/* --- Interrupts and the kernel's requests ----------------------------------------------------- */

static void test_interrupts(void **state)
{
	struct fake_function *f = &fake.function[0];
	const int fd = eventfd(0, EFD_CLOEXEC), none = -1;
	struct device *device;

	f->vectors = 4;
	device = open_nic(0);
	assert_int_equal(device_irqs(device, 2, &fd, 1), 0);
	assert_int_equal(f->armed, 4);
	assert_int_equal(f->vector[2], fd);
	assert_int_equal(f->vector[0], -1);
	assert_int_equal(device_irqs(device, 2, &none, 1), 0);
	assert_int_equal(f->vector[2], -1);
	assert_int_equal(device_irqs(device, 4, &fd, 1), -EINVAL);
	assert_string_equal(device_error(device), "interrupt vector 4 is wanted, and it has 4");
	fake_fail(VFIO_DEVICE_SET_IRQS, ENOSPC);
	assert_int_equal(device_irqs(device, 0, &fd, 1), -ENOSPC);
	assert_string_equal(device_error(device), "assigning interrupts: No space left on device");
	fake_fail(VFIO_DEVICE_RESET, ENOTTY);
	assert_int_equal(device_reset(device), -ENOTTY);
	assert_string_equal(device_error(device), "reset: Inappropriate ioctl for device");
	/* The kernel wants it back. */
	assert_int_equal(eventfd_write(device_fd(device), 1), 0);
	assert_int_equal(device_service(device), -ENOTCONN);
	device_close(device);

	f->vectors = 0;
	device = open_nic(0);
	assert_int_equal(device->vectors, 0);
	assert_int_equal(device_irqs(device, 0, &fd, 1), -EINVAL);
	device_close(device);
	close(fd);
}

/* --- Kept and taken over ---------------------------------------------------------------------- */

static void test_kept(void **state)
{
	const unsigned before = open_descriptors();
	struct device *device = open_nic(0), *peer = open_nic(1);
	int fds[DEVICE_KEEP_MAX], kept[3];

	assert_int_equal(device_map_peer(device, (struct bus_addr){0x100000000}, 0x4000,
				 DEVICE_WRITE, peer, BAR2, 0),
		0);
	assert_int_equal(device_keep(device, fds), 3);
	for (unsigned k = 0; k < 3; k++)
		kept[k] = dup(fds[k]);
	device_close(device);
	device_close(peer);

	assert_int_equal(device_adopt(&device, "vfio", kept, 3, NULL, 0, &error), 0);
	assert_int_equal(fake.function[0].windows, 1);
	assert_int_equal(device->ranges, 2);
	assert_int_equal(device_unmap(device, (struct bus_addr){0x100000000}, 0x4000), 0);
	assert_int_equal(device_keep(device, fds), 3);
	for (unsigned k = 0; k < 3; k++)
		kept[k] = dup(fds[k]);
	device_close(device);

	/* The wrong number of them, no memory, or what is none: all are closed. */
	assert_int_equal(device_adopt(&device, "vfio", kept, 2, NULL, 0, &error), -EINVAL);
	assert_string_equal(error.text, "vfio: a device is kept by 3 descriptors, not 2");
	for (unsigned k = 0; k < 2; k++)
		kept[k] = open("/dev/null", O_RDWR | O_CLOEXEC);
	no_memory = true;
	assert_int_equal(device_adopt(&device, "vfio", kept, 3, NULL, 0, &error), -ENOMEM);
	for (unsigned k = 0; k < 3; k++)
		kept[k] = open("/dev/null", O_RDWR | O_CLOEXEC);
	assert_int_equal(device_adopt(&device, "vfio", kept, 3, NULL, 0, &error), -ENOTTY);
	assert_string_equal(error.text,
		"vfio:adopted: asking what the device is: Inappropriate ioctl for device");
	assert_int_equal(open_descriptors(), before);
}

/* --- The fabric over it ----------------------------------------------------------------------- */

static struct driver_nic nic[FAKE_FUNCTIONS];

static struct fabric new_fabric(unsigned method)
{
	return (struct fabric){.method = method,
		.buffer_bytes = P2PNIC_BUFFER_BYTES_MIN,
		.ring_slots = 64,
		.batch = 8,
		.rx_buffers = 64};
}

static void check_windows(void)
{
	for (unsigned a = 0; a < FAKE_FUNCTIONS; a++) {
		const struct fake_function *f = &fake.function[a];

		/* Mailbox, doorbell and packets of each peer, itself among them. */
		assert_int_equal(f->windows, 3 * FAKE_FUNCTIONS);
		for (unsigned b = 0; b < FAKE_FUNCTIONS; b++) {
			const struct p2pnic_peer *entry = &driver_nic_peers(&nic[a])[b];
			const uint64_t want[3][2] = {
				{entry->mailbox.value, sizeof(struct p2pnic_mailbox)},
				{entry->doorbell.value, DEVICE_PAGE},
				{entry->out_buffers.value, 64 * P2PNIC_BUFFER_BYTES_MIN}};

			for (unsigned w = 0; w < 3; w++) {
				unsigned found = 0;

				for (unsigned k = 0; k < f->windows; k++)
					found += f->window[k].iova == want[w][0] &&
						 f->window[k].bytes == want[w][1] &&
						 f->window[k].flags == VFIO_DMA_MAP_FLAG_WRITE;
				assert_int_equal(found, 1);
			}
		}
	}
}

/* Whichever request fails while the second NIC joins: it has to be mended at most, and then every
 * window is there once. */
static void test_fabric(void **state)
{
	unsigned number = 0;
	bool met;

	do {
		struct fabric fabric = new_fabric(P2PNIC_METHOD_WRITE);

		for (unsigned k = 0; k < FAKE_FUNCTIONS; k++) {
			assert_int_equal(
				driver_nic_attach(&nic[k], fake_address(k), k, open_nic(k), &error),
				0);
			if (k)
				fake_count(++number, ENOSPC);
			assert_int_equal(fabric_add(&fabric, &nic[k], &error), 0);
		}
		met = fake.calls >= number;
		fake_count(0, 0);
		for (unsigned tries = 0; fabric_mend(&fabric, &error); tries++)
			assert_true(tries < 4);
		check_windows();
		for (unsigned k = 0; k < FAKE_FUNCTIONS; k++)
			driver_nic_detach(&nic[k]);
	} while (met);
	assert_true(number > 9);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(test_open),
		TEST(test_host),
		TEST(test_requests),
		TEST(test_each_fails),
		TEST(test_sparse),
		TEST(test_regions),
		TEST(test_windows),
		TEST(test_interrupts),
		TEST(test_kept),
		TEST(test_fabric),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
