/* SPDX-License-Identifier: BSD-3-Clause */
#include "device.h"

#include "card.h"
#include "ipc/clock.h"
#include "pci_sysfs.h"
#include "vfio_kernel.h"
#include "vfio_user.h"

#include <errno.h>
#include <linux/pci_regs.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

unsigned device_timeout_ms = 5000;
const char *device_sysfs = "/sys";

static const struct device_ops *const kinds[] = {
	&vfio_user_device_ops,
	&vfio_kernel_device_ops,
	&pci_sysfs_device_ops,
	&card_device_ops,
};

#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

static const struct device_ops *find_kind(const char *name, size_t length)
{
	for (size_t i = 0; i < KINDS; i++)
		if (strlen(kinds[i]->type) == length && !memcmp(kinds[i]->type, name, length))
			return kinds[i];
	return NULL;
}

static int unknown_kind(const char *name, struct error *error)
{
	error_set(error, -ENODEV, "%.100s: no such kind of device; there is", name);
	for (size_t i = 0; i < KINDS; i++)
		error_set(error, -ENODEV, "%s %s:", error->text, kinds[i]->type);
	return -ENODEV;
}

int device_open_begin(struct device **device, const char *where, struct error *error)
{
	const char *colon = strchr(where, ':');
	const struct device_ops *ops = colon ? find_kind(where, (size_t)(colon - where)) : NULL;

	return ops ? ops->open_begin(device, colon + 1, error) : unknown_kind(where, error);
}

int device_adopt_begin(struct device **device, const char *type, const int *fds, unsigned count,
	const struct device_window *windows, unsigned window_count, struct error *error)
{
	const struct device_ops *ops = find_kind(type, strlen(type));

	if (ops && count == ops->kept)
		return ops->adopt_begin(device, fds, windows, window_count, error);
	for (unsigned i = 0; i < count; i++)
		close(fds[i]);
	return ops ? error_set(error, -EINVAL, "%s: a device is kept by %u descriptor%s, not %u",
			     type, ops->kept, ops->kept == 1 ? "" : "s", count)
		   : unknown_kind(type, error);
}

int device_begun(struct device **device, struct device *begun, int result, struct error *error)
{
	if (result) {
		error_set(error, result, "%s:%.60s: %.180s", begun->ops->type, begun->name,
			begun->error.text);
		device_close(begun);
		return result;
	}
	*device = begun;
	return 0;
}

int device_progress(struct device *device)
{
	return device->ops->progress ? device->ops->progress(device) : 0;
}

int device_complete(struct device **device, int result, struct error *error)
{
	int64_t deadline = clock_now_ms() + device_timeout_ms;

	if (result)
		return result;
	while ((result = device_progress(*device)) == -EAGAIN) {
		struct pollfd input = {.fd = device_fd(*device), .events = POLLIN};
		int64_t left = deadline - clock_now_ms();

		if (left <= 0) {
			result = -ETIMEDOUT;
			error_set(&(*device)->error, -ETIMEDOUT, "no answer");
			break;
		}
		poll(&input, 1, (int)left);
	}
	if (result) {
		error_set(error, result, "%s: %s", (*device)->name, (*device)->error.text);
		device_close(*device);
		*device = NULL;
	}
	return result;
}

int device_open(struct device **device, const char *where, struct error *error)
{
	const struct timespec moment = {.tv_nsec = 10000000};
	const int64_t deadline = clock_now_ms() + device_timeout_ms;
	int result;

	/* EAGAIN: the server has more newcomers waiting than it listens for. */
	while ((result = device_open_begin(device, where, error)) == -EAGAIN &&
		clock_now_ms() < deadline)
		nanosleep(&moment, NULL);
	return device_complete(device, result, error);
}

int device_adopt(struct device **device, const char *type, const int *fds, unsigned count,
	const struct device_window *windows, unsigned window_count, struct error *error)
{
	return device_complete(device,
		device_adopt_begin(device, type, fds, count, windows, window_count, error), error);
}

int device_keep(struct device *device, int fds[DEVICE_KEEP_MAX])
{
	device->ops->keep(device, fds);
	return (int)device->ops->kept;
}

void device_close(struct device *device)
{
	if (!device)
		return;
	for (unsigned i = 0; i < DEVICE_REGIONS; i++)
		for (unsigned k = 0; k < device->region[i].area_count; k++)
			if (device->region[i].map[k])
				munmap(device->region[i].map[k], device->region[i].area[k].bytes);
	device->ops->close(device);
}

/* --- Registers and memory --------------------------------------------------------------------- */

static int bad_range(struct device *device, unsigned region, uint64_t offset, uint64_t bytes)
{
	return error_set(&device->error, -EINVAL,
		"%llu bytes at 0x%llx of region %u, which is of %llu", (unsigned long long)bytes,
		(unsigned long long)offset, region,
		region < DEVICE_REGIONS ? (unsigned long long)device->region[region].bytes : 0);
}

static bool in_region(const struct device *device, unsigned region, uint64_t offset, uint64_t bytes)
{
	return region < DEVICE_REGIONS && offset <= device->region[region].bytes &&
	       bytes <= device->region[region].bytes - offset;
}

int device_read(struct device *device, unsigned region, uint64_t offset, void *data, size_t bytes)
{
	if (!in_region(device, region, offset, bytes))
		return bad_range(device, region, offset, bytes);
	return device->ops->read(device, region, offset, data, bytes);
}

int device_write(
	struct device *device, unsigned region, uint64_t offset, const void *data, size_t bytes)
{
	if (!in_region(device, region, offset, bytes))
		return bad_range(device, region, offset, bytes);
	return device->ops->write(device, region, offset, data, bytes);
}

int device_read32(struct device *device, unsigned region, uint64_t offset, uint32_t *value)
{
	return device_read(device, region, offset, value, sizeof(*value));
}

int device_write32(struct device *device, unsigned region, uint64_t offset, uint32_t value)
{
	return device_write(device, region, offset, &value, sizeof(value));
}

int device_config_read(struct device *device, unsigned offset, unsigned bytes, uint32_t *value)
{
	*value = 0;
	if (bytes != 1 && bytes != 2 && bytes != 4)
		return bad_range(device, VFIO_PCI_CONFIG_REGION_INDEX, offset, bytes);
	return device_read(device, VFIO_PCI_CONFIG_REGION_INDEX, offset, value, bytes);
}

int device_config_write(struct device *device, unsigned offset, unsigned bytes, uint32_t value)
{
	if (bytes != 1 && bytes != 2 && bytes != 4)
		return bad_range(device, VFIO_PCI_CONFIG_REGION_INDEX, offset, bytes);
	return device_write(device, VFIO_PCI_CONFIG_REGION_INDEX, offset, &value, bytes);
}

int device_enable(struct device *device)
{
	uint32_t command;
	int result = device_config_read(device, PCI_COMMAND, 2, &command);

	if (result)
		return result;
	command |= PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;
	return device_config_write(device, PCI_COMMAND, 2, command);
}

static uint8_t *map_area(struct device *device, struct device_region *region, unsigned area)
{
	off_t from = (off_t)(region->fd_offset + region->area[area].offset);
	size_t bytes = region->area[area].bytes;
	bool writable = region->flags & VFIO_REGION_INFO_FLAG_WRITE;
	void *map = MAP_FAILED;

	if (writable)
		map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, region->fd, from);
	/* What the device only shows (counters) it gives out read-only: EACCES; sealed: EPERM. Any
	 * other reason is no reason to take a mapping that writing to is a fault. */
	if (!writable || (map == MAP_FAILED && (errno == EACCES || errno == EPERM)))
		map = mmap(NULL, bytes, PROT_READ, MAP_SHARED, region->fd, from);
	if (map == MAP_FAILED) {
		const int error = errno;

		error_set(&device->error, -error, "mapping region %u: %s",
			(unsigned)(region - device->region), strerror(error));
		errno = error;
		return NULL;
	}
	return map;
}

void *device_pointer(struct device *device, unsigned region, uint64_t offset, uint64_t bytes)
{
	if (!in_region(device, region, offset, bytes)) {
		errno = -bad_range(device, region, offset, bytes);
		return NULL;
	}
	struct device_region *r = &device->region[region];
	for (unsigned i = 0; i < r->area_count; i++) {
		const struct device_area *area = &r->area[i];

		if (offset < area->offset || offset - area->offset > area->bytes ||
			bytes > area->bytes - (offset - area->offset))
			continue;
		if (!r->map[i])
			r->map[i] = map_area(device, r, i);
		return r->map[i] ? r->map[i] + (offset - area->offset) : NULL;
	}
	error_set(&device->error, -EIO,
		"region %u: %llu bytes at 0x%llx are in no part that can be mapped", region,
		(unsigned long long)bytes, (unsigned long long)offset);
	errno = EIO;
	return NULL;
}

int device_reset(struct device *device)
{
	return device->ops->reset(device);
}

/* --- Windows and events ----------------------------------------------------------------------- */

int device_map_memory(struct device *device, struct bus_addr bus, uint64_t bytes, uint32_t access,
	void *address, int fd, uint64_t fd_offset)
{
	return device->ops->map_memory(device, bus, bytes, access, address, fd, fd_offset);
}

int device_map_peer(struct device *device, struct bus_addr bus, uint64_t bytes, uint32_t access,
	struct device *peer, unsigned region, uint64_t offset)
{
	return device->ops->map_peer(device, bus, bytes, access, peer, region, offset);
}

int device_unmap(struct device *device, struct bus_addr bus, uint64_t bytes)
{
	return device->ops->unmap(device, bus, bytes);
}

int device_unmap_all(struct device *device)
{
	return device->ops->unmap_all(device);
}

int device_irqs(struct device *device, unsigned first, const int *fds, unsigned count)
{
	return device->ops->irqs(device, first, fds, count);
}

int device_doorbell_fd(struct device *device, unsigned region, uint64_t offset)
{
	return device->ops->doorbell_fd ? device->ops->doorbell_fd(device, region, offset)
					: -ENOENT;
}

int device_fd(const struct device *device)
{
	return device->ops->fd(device);
}

int device_service(struct device *device)
{
	return device->ops->service(device);
}

/* Nobody answers but the bus, and that at once. A function that was pulled reads as all ones, or
 * its file has no more to say. A read of memory that reaches no device gives all ones, or in QEMU
 * 0; the first register is neither. What peers posted meanwhile is lost, which leaves holes in
 * rings: the device has to join anew. */
static int ask_bus(struct device *device)
{
	uint32_t id, first = 0;
	int result = device_config_read(device, PCI_VENDOR_ID, 4, &id);

	if (result || id == UINT32_MAX)
		return error_set(&device->error, -ENOTCONN, "it is gone from the bus");
	result = device_read32(device, VFIO_PCI_BAR0_REGION_INDEX, 0, &first);
	if (!result && (first == UINT32_MAX || !first))
		result = error_set(&device->error, -ENOTCONN,
			"its memory is out of reach: a bridge above it has its memory space off "
			"(setpci COMMAND)");
	return result;
}

int device_ask(struct device *device)
{
	return device->ops->ask ? device->ops->ask(device) : ask_bus(device);
}

bool device_silent(const struct device *device)
{
	return device->ops->silent && device->ops->silent(device);
}

static bool unanswered(const struct device *device)
{
	return device->ops->unanswered && device->ops->unanswered(device);
}

bool device_waits(const struct device *device)
{
	return unanswered(device) && !device_silent(device);
}

void device_give_up(struct device *device)
{
	if (unanswered(device))
		device->ops->give_up(device);
}

bool device_error_passes(int error)
{
	return error == -ENOMEM || error == -EMFILE || error == -ENFILE || error == -ENOBUFS ||
	       error == -ETOOMANYREFS;
}
