/* SPDX-License-Identifier: BSD-3-Clause */
#include "pci_sysfs.h"
#include "pci_function.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define RESOURCE_MEMORY 0x200u /* IORESOURCE_MEM of the kernel's linux/ioport.h */

struct sysfs_device {
	struct device base;
	struct pci_function function;
	int config; /* holds the lock */
	int idle; /* an eventfd that nobody signals: a caller's loop wants something to wait for */
};

static struct sysfs_device *of(struct device *device)
{
	return (struct sysfs_device *)device;
}

/* Makes "FILE: reason" the device's error; returns the result. */
static int fail(struct sysfs_device *s, int result, const char *file)
{
	return error_set(&s->base.error, result, "%s/bus/pci/devices/%s/%s: %s", device_sysfs,
		s->base.name, file, strerror(-result));
}

static int open_file(const struct sysfs_device *s, const char *file, int flags)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/bus/pci/devices/%s/%s", device_sysfs, s->base.name, file);
	const int fd = open(path, flags | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* The first word of a file; -errno. */
static int read_word(const struct sysfs_device *s, const char *file, char word[32])
{
	const int fd = open_file(s, file, O_RDONLY);
	ssize_t n;

	if (fd < 0)
		return fd;
	n = read(fd, word, 31);
	const int result = n < 0 ? -errno : 0;
	close(fd);
	word[n > 0 ? n : 0] = 0;
	word[strcspn(word, " \n")] = 0;
	return result;
}

static int write_word(const struct sysfs_device *s, const char *file, const char *word)
{
	const int fd = open_file(s, file, O_WRONLY);
	int result = fd < 0 ? fd : 0;

	if (!result && write(fd, word, strlen(word)) < 0)
		result = -errno;
	if (fd >= 0)
		close(fd);
	return result;
}

/* --- Life ------------------------------------------------------------------------------------- */

/* Not if a keeper holds the function, or a driver has come meanwhile. */
static void disable_if_last(struct sysfs_device *s)
{
	uint16_t command;
	const int driver = open_file(s, "driver", O_PATH);
	const int config = driver < 0 ? open_file(s, "config", O_RDWR) : -1;

	/* A driver that was bound meanwhile needs the function as it is. */
	if (driver >= 0)
		close(driver);
	if (config < 0)
		return;
	if (flock(config, LOCK_EX | LOCK_NB) == 0 &&
		pread(config, &command, sizeof(command), PCI_COMMAND) == sizeof(command)) {
		command &= (uint16_t)~PCI_COMMAND_MASTER;
		/* What fails here is a function that is gone. */
		if (pwrite(config, &command, sizeof(command), PCI_COMMAND) == sizeof(command))
			write_word(s, "enable", "0");
	}
	close(config);
}

static void close_device(struct device *device)
{
	struct sysfs_device *s = of(device);
	const bool had = s->config >= 0;

	for (unsigned k = 0; k < DEVICE_REGIONS; k++)
		if (device->region[k].fd >= 0)
			close(device->region[k].fd);
	if (s->idle >= 0)
		close(s->idle);
	if (had)
		close(s->config);
	if (had)
		disable_if_last(s);
	free(s);
}

static int check(struct sysfs_device *s)
{
	const struct pci_function *f = &s->function;
	char type[32];
	int result;

	if (*f->driver)
		return error_set(&s->base.error, -EBUSY,
			"its driver is %s; access by sysfs wants none: echo %s "
			">/sys/bus/pci/drivers/%s/unbind",
			f->driver, s->base.name, f->driver);
	if (f->group == PCI_GROUP_NONE)
		return 0;
	result = read_word(s, "iommu_group/type", type);
	if (result)
		return fail(s, result, "iommu_group/type");
	if (strcmp(type, "identity") != 0)
		return error_set(&s->base.error, -ENOTSUP,
			"an IOMMU translates its bus addresses (IOMMU group %d, %s): use access "
			"vfio",
			f->group, type);
	return 0;
}

static int lock(struct sysfs_device *s)
{
	if (s->config < 0)
		s->config = open_file(s, "config", O_RDWR);
	if (s->config < 0)
		return fail(s, s->config, "config");
	if (flock(s->config, LOCK_EX | LOCK_NB) == 0)
		return 0;
	const int result = errno == EWOULDBLOCK ? -EBUSY : -errno;
	close(s->config);
	s->config = -1;
	return result == -EBUSY ? error_set(&s->base.error, -EBUSY, "another driver has it")
				: fail(s, result, "config");
}

/* Power, and memory space of the bridges above: the kernel counts who wants it. */
static int enable(struct sysfs_device *s)
{
	char count[32];
	int result = read_word(s, "enable", count);

	if (!result && !strcmp(count, "0"))
		result = write_word(s, "enable", "1");
	return result ? fail(s, result, "enable") : 0;
}

static int load_bar(struct sysfs_device *s, unsigned k)
{
	const struct pci_bar *bar = &s->function.bar[k];
	struct device_region *region = &s->base.region[VFIO_PCI_BAR0_REGION_INDEX + k];
	char file[16];

	if (!bar->bytes || !(bar->flags & RESOURCE_MEMORY))
		return 0;
	if (!bar->start)
		return error_set(&s->base.error, -ENXIO,
			"BAR %u was given no address: `p2pnic doctor` says more", k);
	snprintf(file, sizeof(file), "resource%u", k);
	region->fd = open_file(s, file, O_RDWR);
	if (region->fd < 0)
		return fail(s, region->fd, file);
	region->bytes = bar->bytes;
	region->bus = bar->start;
	region->flags = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE |
			VFIO_REGION_INFO_FLAG_MMAP;
	if ((bar->start | bar->bytes) % DEVICE_PAGE == 0)
		region->area[region->area_count++] = (struct device_area){0, bar->bytes};
	return 0;
}

static int load(struct sysfs_device *s)
{
	struct pci_address address;
	struct stat config;
	int result;

	if (!pci_address_parse(s->base.name, &address))
		return error_set(&s->base.error, -EINVAL, "want DDDD:BB:DD.F");
	result = pci_function_read(&s->function, device_sysfs, address, &s->base.error);
	if (!result)
		result = check(s);
	if (!result)
		result = lock(s);
	if (!result)
		result = enable(s);
	for (unsigned k = 0; !result && k < PCI_BARS; k++)
		result = load_bar(s, k);
	if (result)
		return result;
	if (fstat(s->config, &config) < 0)
		return fail(s, -errno, "config");
	s->base.region[VFIO_PCI_CONFIG_REGION_INDEX].bytes = (uint64_t)config.st_size;
	s->idle = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return s->idle < 0 ? error_set(&s->base.error, -errno, "an eventfd: %s", strerror(errno))
			   : 0;
}

/* Owns the descriptor, -1: none. */
static int begin(struct device **device, const char *name, int config, struct error *error)
{
	struct sysfs_device *s = calloc(1, sizeof(*s));

	if (!s) {
		if (config >= 0)
			close(config);
		return error_set(error, -ENOMEM, "sysfs:%.60s: %s", name, strerror(ENOMEM));
	}
	s->base.ops = &pci_sysfs_device_ops;
	s->base.timeout_ms = device_timeout_ms;
	s->base.physical = true;
	snprintf(s->base.name, sizeof(s->base.name), "%s", name);
	s->config = config;
	s->idle = -1;
	for (unsigned k = 0; k < DEVICE_REGIONS; k++)
		s->base.region[k].fd = -1;
	return device_begun(device, &s->base, load(s), error);
}

static int open_begin(struct device **device, const char *address, struct error *error)
{
	return begin(device, address, -1, error);
}

/* The name of the folder that the descriptor's file is in; "": none. */
static void name_of(int fd, char name[PCI_ADDRESS_TEXT])
{
	char link[64], path[PATH_MAX], *slash;
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof(path) - 1);
	path[n > 0 ? n : 0] = 0;
	slash = strrchr(path, '/');
	if (slash)
		*slash = 0;
	slash = strrchr(path, '/');
	snprintf(name, PCI_ADDRESS_TEXT, "%s", slash ? slash + 1 : "");
}

static int adopt_begin(struct device **device, const int *fds, const struct device_window *windows,
	unsigned window_count, struct error *error)
{
	char name[PCI_ADDRESS_TEXT];

	name_of(fds[0], name);
	return begin(device, name, fds[0], error);
}

static void keep(struct device *device, int *fds)
{
	fds[0] = of(device)->config;
}

static int reset(struct device *device)
{
	const int result = write_word(of(device), "reset", "1");

	return result ? fail(of(device), result, "reset") : 0;
}

/* --- Access ----------------------------------------------------------------------------------- */

/* By aligned words only: a register is one access. With its memory space off, a device reads as all
 * ones. */
static void copy_from(uint8_t *to, const uint8_t *from, size_t bytes)
{
	while (bytes) {
		const size_t skip = (uintptr_t)from % 4, step = bytes < 4 - skip ? bytes : 4 - skip;
		const uint32_t word = *(const volatile uint32_t *)(const void *)(from - skip);

		memcpy(to, (const uint8_t *)&word + skip, step);
		from += step;
		to += step;
		bytes -= step;
	}
}

/* By words where they are aligned. */
static void copy_to(uint8_t *to, const void *from, size_t bytes)
{
	for (size_t step; bytes; bytes -= step, to += step, from = (const uint8_t *)from + step) {
		step = bytes >= 4 && (uintptr_t)to % 4 == 0 ? 4 : 1;
		if (step == 4) {
			uint32_t word;

			memcpy(&word, from, sizeof(word));
			*(volatile uint32_t *)(void *)to = word;
		} else {
			*(volatile uint8_t *)to = *(const uint8_t *)from;
		}
	}
}

static int read_config(struct sysfs_device *s, uint64_t offset, void *data, size_t bytes)
{
	const ssize_t n = pread(s->config, data, bytes, (off_t)offset);

	return n == (ssize_t)bytes ? 0 : fail(s, n < 0 ? -errno : -EIO, "config");
}

static int write_config(struct sysfs_device *s, uint64_t offset, const void *data, size_t bytes)
{
	const ssize_t n = pwrite(s->config, data, bytes, (off_t)offset);

	return n == (ssize_t)bytes ? 0 : fail(s, n < 0 ? -errno : -EIO, "config");
}

static int read_region(
	struct device *device, unsigned region, uint64_t offset, void *data, size_t bytes)
{
	if (region == VFIO_PCI_CONFIG_REGION_INDEX)
		return read_config(of(device), offset, data, bytes);
	const uint8_t *from = device_pointer(device, region, offset, bytes);
	if (!from)
		return -errno;
	copy_from(data, from, bytes);
	/* Later loads of the device's memory are later. */
	atomic_thread_fence(memory_order_seq_cst);
	return 0;
}

static int write_region(
	struct device *device, unsigned region, uint64_t offset, const void *data, size_t bytes)
{
	if (region == VFIO_PCI_CONFIG_REGION_INDEX)
		return write_config(of(device), offset, data, bytes);
	uint8_t *to = device_pointer(device, region, offset, bytes);
	if (!to)
		return -errno;
	/* A command finds what was stored into the device's memory before it. */
	atomic_thread_fence(memory_order_seq_cst);
	copy_to(to, data, bytes);
	return 0;
}

/* --- Windows and events ----------------------------------------------------------------------- */

static int map_memory(struct device *device, struct bus_addr bus, uint64_t bytes, uint32_t access,
	void *address, int fd, uint64_t fd_offset)
{
	return error_set(&device->error, -ENOTSUP,
		"without an IOMMU memory of the host has no bus address; methods wr and rd need "
		"none");
}

/* It is there already, or cannot be had. */
static int map_peer(struct device *device, struct bus_addr bus, uint64_t bytes, uint32_t access,
	struct device *peer, unsigned region, uint64_t offset)
{
	const struct device_region *target = &peer->region[region];

	if (!target->bus)
		return error_set(&device->error, -ENOTSUP,
			"%.60s: not a NIC with access sysfs: where its region %u lies on the bus "
			"is not known",
			peer->name, region);
	if (bus.value != target->bus + offset || offset > target->bytes ||
		bytes > target->bytes - offset)
		return error_set(&device->error, -EINVAL,
			"region %u of %.60s is not at bus address 0x%llx", region, peer->name,
			(unsigned long long)bus.value);
	return 0;
}

static int unmap(struct device *device, struct bus_addr bus, uint64_t bytes)
{
	return 0;
}

static int unmap_all(struct device *device)
{
	return 0;
}

static int irqs(struct device *device, unsigned first, const int *fds, unsigned count)
{
	return error_set(&device->error, -ENOTSUP, "access by sysfs has no interrupts");
}

static int get_fd(const struct device *device)
{
	return ((const struct sysfs_device *)device)->idle;
}

static int service(struct device *device)
{
	return 0;
}

const struct device_ops pci_sysfs_device_ops = {
	.type = "sysfs",
	.open_begin = open_begin,
	.adopt_begin = adopt_begin,
	.close = close_device,
	.kept = 1,
	.keep = keep,
	.read = read_region,
	.write = write_region,
	.map_memory = map_memory,
	.map_peer = map_peer,
	.unmap = unmap,
	.unmap_all = unmap_all,
	.irqs = irqs,
	.reset = reset,
	.fd = get_fd,
	.service = service,
};
