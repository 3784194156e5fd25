/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Access by sysfs, on a tree whose BARs are files. The registers are memory: a command's result
 * reads as 0, done.
 */
#include "driver/fabric.h"
#include "tests/unit/descriptors.h"
#include "tests/unit/inject.h"
#include "tests/unit/pci_tree.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define NICS 2u
#define BAR0 VFIO_PCI_BAR0_REGION_INDEX
#define BAR2 VFIO_PCI_BAR2_REGION_INDEX
#define BAR4 VFIO_PCI_BAR4_REGION_INDEX

static const char *const address[NICS] = {"0000:03:00.0", "0000:04:00.0"};
static const char *const where[NICS] = {"sysfs:0000:03:00.0", "sysfs:0000:04:00.0"};
static struct tree tree;
static struct error error;

static uint64_t bar_bus(unsigned nic, unsigned bar)
{
	return bar ? 0x4000000000 + (nic << 28) + (bar << 24) : 0xfe000000 + (nic << 16);
}

static const char *file_of(unsigned nic, const char *file)
{
	static char path[128];

	snprintf(path, sizeof(path), "bus/pci/devices/%s/%s", address[nic], file);
	return path;
}

static void file_path(char path[PATH_MAX], unsigned nic, const char *file)
{
	snprintf(path, PATH_MAX, "%s/%s", tree.sysfs, file_of(nic, file));
}

static void read_at(unsigned nic, const char *file, uint64_t offset, void *data, size_t bytes)
{
	char path[PATH_MAX];

	file_path(path, nic, file);
	const int fd = open(path, O_RDONLY);
	assert_true(fd >= 0);
	assert_int_equal(pread(fd, data, bytes, (off_t)offset), bytes);
	close(fd);
}

static void write_at(
	unsigned nic, const char *file, uint64_t offset, const void *data, size_t bytes)
{
	char path[PATH_MAX];

	file_path(path, nic, file);
	const int fd = open(path, O_WRONLY);
	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, data, bytes, (off_t)offset), bytes);
	close(fd);
}

static void set_register(unsigned nic, unsigned reg, uint32_t value)
{
	write_at(nic, "resource0", reg, &value, sizeof(value));
}

static uint32_t get_register(unsigned nic, unsigned reg)
{
	uint32_t value;

	read_at(nic, "resource0", reg, &value, sizeof(value));
	return value;
}

static void set_command(unsigned nic, uint16_t command)
{
	write_at(nic, "config", PCI_COMMAND, &command, sizeof(command));
}

static uint16_t get_command(unsigned nic)
{
	uint16_t command;

	read_at(nic, "config", PCI_COMMAND, &command, sizeof(command));
	return command;
}

static bool enabled(unsigned nic)
{
	char c;

	read_at(nic, "enable", 0, &c, 1);
	return c == '1';
}

static void add_nic(unsigned nic)
{
	static const uint64_t bytes[] = {
		P2PNIC_BAR0_BYTES, 0, P2PNIC_BAR2_BYTES_MIN, 0, P2PNIC_BAR4_BYTES_MIN, 0};
	const struct tree_function function = {
		.above = nic ? "pci0000:00/0000:00:02.0" : "pci0000:00/0000:00:01.0",
		.address = address[nic],
		.type = PCI_EXP_TYPE_ENDPOINT,
		.acs = TREE_NO_ACS};
	char text[512] = "", file[16], path[PATH_MAX];

	tree_add(&tree, &function);
	for (unsigned k = 0; k < 6; k++) {
		snprintf(text + strlen(text), 64, "0x%016llx 0x%016llx 0x%016llx\n",
			bytes[k] ? (unsigned long long)bar_bus(nic, k) : 0,
			bytes[k] ? (unsigned long long)(bar_bus(nic, k) + bytes[k] - 1) : 0,
			bytes[k] ? 0x140204ull : 0);
		if (!bytes[k])
			continue;
		snprintf(file, sizeof(file), "resource%u", k);
		tree_text(&tree, file_of(nic, file), "");
		file_path(path, nic, file);
		assert_int_equal(truncate(path, (off_t)bytes[k]), 0);
	}
	tree_text(&tree, file_of(nic, "resource"), text);
	tree_text(&tree, file_of(nic, "enable"), "0\n");
	tree_text(&tree, file_of(nic, "reset"), "");
	set_command(nic, 0);
	set_register(nic, P2PNIC_REG_MAGIC, P2PNIC_MAGIC);
	set_register(nic, P2PNIC_REG_VERSION, P2PNIC_VERSION);
	set_register(nic, P2PNIC_REG_METHOD, P2PNIC_METHOD_WRITE);
	set_register(nic, P2PNIC_REG_BUFFER_BYTES, P2PNIC_BUFFER_BYTES_MIN);
	set_register(nic, P2PNIC_REG_BAR2_BYTES, P2PNIC_BAR2_BYTES_MIN);
	set_register(nic, P2PNIC_REG_BAR4_BYTES, P2PNIC_BAR4_BYTES_MIN);
	set_register(nic, P2PNIC_REG_MTU, 1500);
}

static int set_up(void **state)
{
	tree_make(&tree);
	device_sysfs = tree.sysfs;
	for (unsigned k = 0; k < NICS; k++) {
		add_nic(k);
		/* In configuration space the device comes after the vendor. */
		const uint32_t id = P2PNIC_PCI_VENDOR | P2PNIC_PCI_DEVICE << 16;
		write_at(k, "config", 0, &id, sizeof(id));
	}
	return 0;
}

static int tear_down(void **state)
{
	tree_remove_all(&tree);
	return 0;
}

static struct device *open_nic(unsigned nic)
{
	struct device *device;

	if (device_open(&device, where[nic], &error))
		fail_msg("%s", error.text);
	return device;
}

static void test_access(void **state)
{
	static const uint8_t odd[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
	const unsigned before = open_descriptors();
	struct device *device = open_nic(0);
	uint8_t back[sizeof(odd)];
	char path[PATH_MAX];
	uint32_t value;

	assert_true(device->physical && device->vectors == 0);
	for (unsigned k = 0; k < 6; k += 2)
		assert_int_equal(device->region[k].bus, bar_bus(0, k));
	assert_int_equal(device->region[BAR4].bytes, P2PNIC_BAR4_BYTES_MIN);
	assert_int_equal(device->region[VFIO_PCI_CONFIG_REGION_INDEX].bytes, 4096);
	assert_int_equal(device_read32(device, BAR0, P2PNIC_REG_MAGIC, &value), 0);
	assert_int_equal(value, P2PNIC_MAGIC);
	assert_int_equal(device_write32(device, BAR0, P2PNIC_REG_EPOCH, 0x12345678), 0);
	assert_int_equal(get_register(0, P2PNIC_REG_EPOCH), 0x12345678);
	/* Any length, from any offset, and no byte beside it. */
	for (unsigned offset = 0; offset < 5; offset++)
		for (unsigned n = 1; n <= sizeof(odd); n++) {
			memset((uint8_t *)device_pointer(device, BAR2, 0, 32), 0xff, 32);
			assert_int_equal(device_write(device, BAR2, offset, odd, n), 0);
			read_at(0, "resource2", offset, back, n);
			assert_memory_equal(back, odd, n);
			read_at(0, "resource2", offset + n, back, 1);
			assert_int_equal(back[0], 0xff);
			memset(back, 0, sizeof(back));
			assert_int_equal(device_read(device, BAR2, offset, back, n), 0);
			assert_memory_equal(back, odd, n);
		}
	assert_int_equal(device_read(device, BAR2, P2PNIC_BAR2_BYTES_MIN - 1, back, 2), -EINVAL);
	assert_int_equal(device_read(device, 1, 0, back, 1), -EINVAL);
	assert_int_equal(device_reset(device), 0);
	char done;
	read_at(0, "reset", 0, &done, 1);
	assert_int_equal(done, '1');

	/* Without its files it is gone from the bus; all ones say so too. */
	assert_int_equal(device_ask(device), 0);
	value = UINT32_MAX;
	write_at(0, "config", 0, &value, sizeof(value));
	assert_int_equal(device_ask(device), -ENOTCONN);
	file_path(path, 0, "config");
	assert_int_equal(truncate(path, 0), 0);
	assert_int_equal(device_ask(device), -ENOTCONN);

	/* Nothing ever comes. */
	assert_true(device_fd(device) >= 0);
	assert_int_equal(device_service(device), 0);

	const int fd = -1;
	assert_int_equal(device_irqs(device, 0, &fd, 1), -ENOTSUP);
	assert_int_equal(device_map_memory(device, (struct bus_addr){0x1000}, 4096, DEVICE_WRITE,
				 back, -1, 0),
		-ENOTSUP);
	assert_non_null(strstr(device_error(device), "methods wr and rd need none"));
	device_close(device);
	assert_int_equal(open_descriptors(), before);
}

/* Power and bus mastering: on when asked for, off with the last holder, whoever that is. */
static void test_life(void **state)
{
	const unsigned before = open_descriptors();
	struct device *device = open_nic(0), *other;
	int fds[DEVICE_KEEP_MAX], kept;

	assert_true(enabled(0));
	assert_int_equal(get_command(0), 0);
	assert_int_equal(device_enable(device), 0);
	assert_int_equal(get_command(0), PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	assert_int_equal(device_open(&other, where[0], &error), -EBUSY);
	assert_string_equal(error.text, "sysfs:0000:03:00.0: another driver has it");
	assert_int_equal(get_command(0), PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);

	/* A keeper has it: it runs on. */
	assert_int_equal(device_keep(device, fds), 1);
	kept = dup(fds[0]);
	device_close(device);
	assert_true(enabled(0));
	assert_int_equal(get_command(0), PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	assert_int_equal(device_open(&other, where[0], &error), -EBUSY);
	assert_int_equal(device_adopt(&device, "sysfs", &kept, 1, NULL, 0, &error), 0);
	assert_string_equal(device->name, address[0]);
	assert_int_equal(device->region[BAR2].bus, bar_bus(0, 2));
	device_close(device);
	assert_false(enabled(0));
	assert_int_equal(get_command(0), PCI_COMMAND_MEMORY);

	/* What keeps another kind of device; no memory. */
	kept = open("/dev/null", O_RDWR);
	inject_one("alloc", 0, ENOMEM);
	assert_int_equal(device_adopt(&device, "sysfs", &kept, 1, NULL, 0, &error), -ENOMEM);
	int wrong[] = {open("/dev/null", O_RDWR), open("/dev/null", O_RDWR)};
	assert_int_equal(device_adopt(&device, "sysfs", wrong, 2, NULL, 0, &error), -EINVAL);
	wrong[0] = open("/dev/null", O_RDWR);
	assert_int_equal(device_adopt(&device, "sysfs", wrong, 1, NULL, 0, &error), -EINVAL);
	assert_int_equal(open_descriptors(), before);
}

static void refuse(int expected, const char *text)
{
	const unsigned before = open_descriptors();
	struct device *device;

	assert_int_equal(device_open(&device, where[0], &error), expected);
	if (!strstr(error.text, text))
		fail_msg("%s", error.text);
	assert_int_equal(open_descriptors(), before);
	assert_false(enabled(0));
}

/* A driver of the kernel that was bound to it meanwhile keeps what it needs. */
static void test_bound_meanwhile(void **state)
{
	struct device *device = open_nic(0);

	assert_int_equal(device_enable(device), 0);
	tree_link(&tree, file_of(0, "driver"), "../../../../bus/pci/drivers/vfio-pci");
	device_close(device);
	assert_true(enabled(0));
	assert_int_equal(get_command(0), PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	tree_remove(&tree, file_of(0, "driver"));
}

static void test_refused(void **state)
{
	struct device *device;

	assert_int_equal(device_open(&device, "sysfs:03:00.0", &error), -EINVAL);
	assert_string_equal(error.text, "sysfs:03:00.0: want DDDD:BB:DD.F");
	assert_int_equal(device_open(&device, "sysfs:0000:09:00.0", &error), -ENOENT);

	tree_link(&tree, file_of(0, "driver"), "../../../../bus/pci/drivers/vfio-pci");
	refuse(-EBUSY,
		"sysfs:0000:03:00.0: its driver is vfio-pci; access by sysfs wants none: echo "
		"0000:03:00.0 >/sys/bus/pci/drivers/vfio-pci/unbind");
	tree_remove(&tree, file_of(0, "driver"));

	tree_link(&tree, file_of(0, "iommu_group"), "../../../../kernel/iommu_groups/7");
	refuse(-ENOENT, "iommu_group/type: No such file");
	tree_text(&tree, "kernel/iommu_groups/7/type", "DMA-FQ\n");
	refuse(-ENOTSUP,
		"an IOMMU translates its bus addresses (IOMMU group 7, DMA-FQ): use access "
		"vfio");
	tree_text(&tree, "kernel/iommu_groups/7/type", "identity\n");
	device_close(open_nic(0));
	tree_remove(&tree, file_of(0, "iommu_group"));

	tree_text(&tree, file_of(0, "resource"),
		"0x0000000000000000 0x000000000000ffff 0x0000000000140204\n"
		"0x0000000000000000 0x0000000000000000 0x0000000000000000\n"
		"0x0000000000000000 0x0000000000000000 0x0000000000000000\n"
		"0x0000000000000000 0x0000000000000000 0x0000000000000000\n"
		"0x0000000000000000 0x0000000000000000 0x0000000000000000\n"
		"0x0000000000000000 0x0000000000000000 0x0000000000000000\n");
	refuse(-ENXIO, "BAR 0 was given no address");
}

/* BARs that share a page with others' are not mapped, and so not reached. */
static void test_small_bar(void **state)
{
	struct device *device;
	uint32_t value = 0;

	tree_text(&tree, file_of(0, "resource"),
		"0x00000000fe000800 0x00000000fe000fff 0x0000000000040200\n"
		"0x0000000000000000 0x0000000000000000 0x0000000000000000\n"
		"0x000000000000e000 0x000000000000e0ff 0x0000000000040101\n"
		"0x0000000000000000 0x0000000000000000 0x0000000000000000\n"
		"0x0000000000000000 0x0000000000000000 0x0000000000000000\n"
		"0x0000000000000000 0x0000000000000000 0x0000000000000000\n");
	device = open_nic(0);
	assert_int_equal(device_read32(device, BAR0, 0, &value), -EIO);
	assert_int_equal(device_write32(device, BAR0, 0, value), -EIO);
	assert_string_equal(
		device_error(device), "region 0: 4 bytes at 0x0 are in no part that can be mapped");
	assert_int_equal(device->region[BAR2].bytes, 0); /* I/O ports are none of ours */
	device_close(device);
}

/* Each file that is not there is named, and one that cannot be read. */
static void test_files(void **state)
{
	static const char *const files[] = {"resource4", "resource0", "config"};

	for (unsigned k = 0; k < sizeof(files) / sizeof(*files); k++) {
		char text[64];

		snprintf(text, sizeof(text), "/0000:03:00.0/%s: No such file", files[k]);
		tree_remove(&tree, file_of(0, files[k]));
		refuse(-ENOENT, text);
	}
	tree_link(&tree, file_of(0, "iommu_group"), "../../../../kernel/iommu_groups/7");
	tree_text(&tree, "kernel/iommu_groups/7/type/folder", "");
	refuse(-EISDIR, "iommu_group/type: Is a directory");
}

static void test_peers(void **state)
{
	struct device *a = open_nic(0), *b = open_nic(1);
	const struct bus_addr at = {bar_bus(1, 2) + 0x4000};

	assert_int_equal(device_map_peer(a, at, 0x4000, DEVICE_WRITE, b, BAR2, 0x4000), 0);
	assert_int_equal(device_unmap(a, at, 0x4000), 0);
	assert_int_equal(device_unmap_all(a), 0);
	assert_int_equal(device_map_peer(a, at, 0x4000, DEVICE_WRITE, b, BAR2, 0x8000), -EINVAL);
	assert_int_equal(
		device_map_peer(a, at, P2PNIC_BAR2_BYTES_MIN, DEVICE_WRITE, b, BAR2, 0x4000),
		-EINVAL);
	b->region[BAR2].bus = 0; /* as over VFIO */
	assert_int_equal(device_map_peer(a, at, 0x4000, DEVICE_WRITE, b, BAR2, 0x4000), -ENOTSUP);
	assert_string_equal(device_error(a), "0000:04:00.0: not a NIC with access sysfs: where its "
					     "region 2 lies on the bus is not known");
	device_close(a);
	device_close(b);
}

/* --- The driver over it ----------------------------------------------------------------------- */

static struct fabric new_fabric(void)
{
	return (struct fabric){.method = P2PNIC_METHOD_WRITE,
		.buffer_bytes = P2PNIC_BUFFER_BYTES_MIN,
		.ring_slots = 64,
		.batch = 8,
		.rx_buffers = 64};
}

static void check_entry(struct driver_nic *n, unsigned from, unsigned to)
{
	const struct p2pnic_peer *entry = &driver_nic_peers(n)[to];
	/* Own buffers, then a ring for each ingress NIC: 64 of 2 KiB each. */
	const uint64_t ring = (64 + from * 64) * P2PNIC_BUFFER_BYTES_MIN;

	assert_int_equal(entry->mailbox.value,
		bar_bus(to, 2) + P2PNIC_BAR2_MAILBOXES + from * sizeof(struct p2pnic_mailbox));
	assert_int_equal(entry->doorbell.value, bar_bus(to, 0) + P2PNIC_BAR0_DOORBELL);
	assert_int_equal(entry->out_buffers.value, bar_bus(to, 4) + ring);
	assert_int_equal(entry->epoch, 1);
}

/* Peers' BARs are where they are; the next driver finds all of it in place. */
static void test_fabric(void **state)
{
	struct driver_nic nic[NICS];

	for (unsigned life = 0; life < 2; life++) {
		struct fabric fabric = new_fabric();

		for (unsigned k = 0; k < NICS; k++) {
			if (driver_nic_attach(&nic[k], address[k], k, open_nic(k), &error) ||
				fabric_add(&fabric, &nic[k], &error))
				fail_msg("%s", error.text);
			assert_int_equal(nic[k].adopted, life);
			assert_int_equal(fabric_mend(&fabric, &error), 0);
		}
		for (unsigned a = 0; a < NICS; a++)
			for (unsigned b = 0; b < NICS; b++)
				check_entry(&nic[a], a, b);
		for (unsigned k = 0; k < NICS; k++) {
			set_register(k, P2PNIC_REG_STATUS, P2PNIC_STATUS_RUNNING);
			driver_nic_detach(&nic[k]);
		}
	}
}

/* A running NIC with other settings is reset, and no other way is tried while it refuses that. */
static void test_reset_refused(void **state)
{
	struct fabric fabric = new_fabric();
	struct driver_nic nic;

	set_register(0, P2PNIC_REG_STATUS, P2PNIC_STATUS_RUNNING);
	set_register(0, P2PNIC_REG_RX_BUFFERS, fabric.rx_buffers * 2);
	set_register(0, P2PNIC_REG_RESULT, P2PNIC_BAD_STATE);
	assert_int_equal(driver_nic_attach(&nic, address[0], 0, open_nic(0), &error), 0);
	for (unsigned try = 0; try < 2; try++) {
		assert_int_equal(fabric_add(&fabric, &nic, &error), -EAGAIN);
		assert_true(nic.adopted);
		assert_int_equal(get_register(0, P2PNIC_REG_RX_BUFFERS), fabric.rx_buffers * 2);
	}
	set_register(0, P2PNIC_REG_RESULT, P2PNIC_OK);
	assert_int_equal(fabric_add(&fabric, &nic, &error), 0);
	assert_false(nic.adopted);
	assert_int_equal(get_register(0, P2PNIC_REG_RX_BUFFERS), fabric.rx_buffers);
	driver_nic_detach(&nic);
}

/* Whatever call fails, nothing is left open, and the function is as it was. */
static int open_and_close(void *context)
{
	struct device *device;
	int result;

	inject_arm();
	result = device_open(&device, where[0], &error);
	inject_disarm();
	if (!result)
		device_close(device);
	assert_false(enabled(0));
	return result;
}

static void test_inject(void **state)
{
	assert_true(inject_each(open_and_close, NULL, &error) > 8);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(test_access),
		TEST(test_life),
		TEST(test_bound_meanwhile),
		TEST(test_refused),
		TEST(test_small_bar),
		TEST(test_files),
		TEST(test_peers),
		TEST(test_fabric),
		TEST(test_reset_refused),
		TEST(test_inject),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
