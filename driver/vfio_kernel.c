/* SPDX-License-Identifier: BSD-3-Clause */
#include "vfio_kernel.h"
#include "pci_function.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/pci_regs.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define VECTORS_MAX 64u
#define GROUP_TEXT  16u
#define INFO_BYTES  4096u /* the longest answer with capabilities that is read */

enum { CONTAINER, GROUP, DEVICE, KEPT };

struct vfio_kernel_device {
	struct device base;
	int fd[KEPT];
	int request; /* eventfd: the kernel wants the device back */
	int vector[VECTORS_MAX];
};

static struct vfio_kernel_device *of(struct device *device)
{
	return (struct vfio_kernel_device *)device;
}

/* Makes "FORMAT: reason" the device's error; returns the result. */
__attribute__((format(printf, 3, 4))) static int fail(
	struct vfio_kernel_device *v, int result, const char *format, ...)
{
	struct error *error = &v->base.error;
	va_list arguments;

	va_start(arguments, format);
	error_set_list(error, result, format, arguments);
	va_end(arguments);
	return error_set(error, result, "%s: %s", error->text, strerror(-result));
}

/* Says what to do where the failure is that one; returns it. */
static int advise(struct vfio_kernel_device *v, int result, int which, const char *what)
{
	return result == which
		       ? error_set(&v->base.error, result, "%s: %s", v->base.error.text, what)
		       : result;
}

/* --- What the device is ----------------------------------------------------------------------- */

/* The capability of that kind; NULL: none. A list that loops or leaves the answer ends there. */
static const void *capability(
	const uint8_t *info, uint32_t bytes, uint32_t at, uint16_t id, size_t least)
{
	while (at && at + sizeof(struct vfio_info_cap_header) <= bytes) {
		const struct vfio_info_cap_header *header = (const void *)(info + at);

		if (header->id == id)
			return at + least <= bytes ? header : NULL;
		if (header->next <= at)
			break;
		at = header->next;
	}
	return NULL;
}

static int load_areas(
	struct vfio_kernel_device *v, unsigned index, const struct vfio_region_info *info)
{
	struct device_region *region = &v->base.region[index];
	const struct vfio_region_info_cap_sparse_mmap *sparse = NULL;

	if (!(info->flags & VFIO_REGION_INFO_FLAG_CAPS)) {
		region->area[region->area_count++] = (struct device_area){0, region->bytes};
		return 0;
	}
	/* Without its capabilities it is not known what can be mapped. */
	if (info->argsz > INFO_BYTES)
		return error_set(&v->base.error, -E2BIG,
			"region %u: the kernel's description is of %u bytes, longer than %u", index,
			info->argsz, INFO_BYTES);
	sparse = capability((const void *)info, INFO_BYTES, info->cap_offset,
		VFIO_REGION_INFO_CAP_SPARSE_MMAP, sizeof(*sparse));
	if (!sparse)
		region->area[region->area_count++] = (struct device_area){0, region->bytes};
	for (unsigned k = 0; sparse && k < sparse->nr_areas && k < DEVICE_AREAS_MAX; k++) {
		const struct device_area area = {sparse->areas[k].offset, sparse->areas[k].size};

		if (area.offset > region->bytes || area.bytes > region->bytes - area.offset)
			return error_set(&v->base.error, -EPROTO,
				"region %u: a mappable part of %llu bytes at 0x%llx leaves its "
				"%llu bytes",
				index, (unsigned long long)area.bytes,
				(unsigned long long)area.offset, (unsigned long long)region->bytes);
		if (area.bytes)
			region->area[region->area_count++] = area;
	}
	return 0;
}

static int load_region(struct vfio_kernel_device *v, unsigned index)
{
	struct device_region *region = &v->base.region[index];
	union {
		struct vfio_region_info info;
		uint8_t bytes[INFO_BYTES];
	} answer = {.info = {.argsz = sizeof(answer), .index = index}};

	if (ioctl(v->fd[DEVICE], VFIO_DEVICE_GET_REGION_INFO, &answer) < 0) {
		/* VGA of a device that is none, for example. */
		return errno == EINVAL ? 0 : fail(v, -errno, "asking about region %u", index);
	}
	region->bytes = answer.info.size;
	region->flags =
		answer.info.flags & (VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE |
					    VFIO_REGION_INFO_FLAG_MMAP);
	region->fd_offset = answer.info.offset;
	region->fd = v->fd[DEVICE];
	if (region->bytes && (region->flags & VFIO_REGION_INFO_FLAG_MMAP))
		return load_areas(v, index, &answer.info);
	return 0;
}

static int load_ranges(struct vfio_kernel_device *v)
{
	const struct vfio_iommu_type1_info_cap_iova_range *list = NULL;
	union {
		struct vfio_iommu_type1_info info;
		uint8_t bytes[INFO_BYTES];
	} answer = {.info = {.argsz = sizeof(answer)}};

	if (ioctl(v->fd[CONTAINER], VFIO_IOMMU_GET_INFO, &answer) < 0)
		return fail(v, -errno, "asking about the IOMMU");
	if (answer.info.flags & VFIO_IOMMU_INFO_CAPS)
		list = capability(answer.bytes, sizeof(answer), answer.info.cap_offset,
			VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE, sizeof(*list));
	for (unsigned k = 0; list && k < list->nr_iovas && v->base.ranges < DEVICE_RANGES_MAX; k++)
		v->base.range[v->base.ranges++] =
			(struct device_range){list->iova_ranges[k].start, list->iova_ranges[k].end};
	return 0;
}

/* Eventfds for all vectors of a kind, from its first. */
static int set_irqs(struct vfio_kernel_device *v, uint32_t kind, const int *fds, uint32_t count)
{
	union {
		struct vfio_irq_set set;
		uint8_t bytes[sizeof(struct vfio_irq_set) + VECTORS_MAX * sizeof(int32_t)];
	} request = {.set = {.argsz = (uint32_t)(sizeof(request.set) + count * sizeof(int32_t)),
			     .flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER,
			     .index = kind,
			     .count = count}};

	memcpy(request.set.data, fds, count * sizeof(*fds));
	return ioctl(v->fd[DEVICE], VFIO_DEVICE_SET_IRQS, &request) < 0 ? -errno : 0;
}

/* The device is lost when the kernel asks for it (it is unbound, or pulled), or reports an error of
 * it that the bus could not mend (AER). Not every device has these. */
static void watch_requests(struct vfio_kernel_device *v)
{
	set_irqs(v, VFIO_PCI_REQ_IRQ_INDEX, &v->request, 1);
	set_irqs(v, VFIO_PCI_ERR_IRQ_INDEX, &v->request, 1);
}

static int load(struct vfio_kernel_device *v)
{
	struct vfio_device_info info = {.argsz = sizeof(info)};
	struct vfio_irq_info irq = {.argsz = sizeof(irq), .index = VFIO_PCI_MSIX_IRQ_INDEX};
	int result = 0;

	if (ioctl(v->fd[DEVICE], VFIO_DEVICE_GET_INFO, &info) < 0)
		return fail(v, -errno, "asking what the device is");
	if (!(info.flags & VFIO_DEVICE_FLAGS_PCI))
		return error_set(&v->base.error, -ENODEV, "not a PCI device");
	for (unsigned k = 0; !result && k < info.num_regions && k < DEVICE_REGIONS; k++)
		result = load_region(v, k);
	if (!result)
		result = load_ranges(v);
	if (result)
		return result;
	if (ioctl(v->fd[DEVICE], VFIO_DEVICE_GET_IRQ_INFO, &irq) < 0)
		return fail(v, -errno, "asking about interrupts");
	v->base.vectors = irq.count < VECTORS_MAX ? irq.count : VECTORS_MAX;
	v->request = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (v->request < 0)
		return fail(v, -errno, "an eventfd for the kernel's requests");
	watch_requests(v);
	return 0;
}

/* --- Life ------------------------------------------------------------------------------------- */

static void close_device(struct device *device)
{
	struct vfio_kernel_device *v = of(device);

	if (v->request >= 0)
		close(v->request);
	for (unsigned k = KEPT; k-- > 0;)
		if (v->fd[k] >= 0)
			close(v->fd[k]);
	free(v);
}

static struct vfio_kernel_device *create(const char *name)
{
	struct vfio_kernel_device *v = calloc(1, sizeof(*v));

	if (!v)
		return NULL;
	v->base.ops = &vfio_kernel_device_ops;
	v->base.timeout_ms = device_timeout_ms;
	snprintf(v->base.name, sizeof(v->base.name), "%s", name);
	v->request = -1;
	for (unsigned k = 0; k < KEPT; k++)
		v->fd[k] = -1;
	for (unsigned k = 0; k < VECTORS_MAX; k++)
		v->vector[k] = -1;
	for (unsigned k = 0; k < DEVICE_REGIONS; k++)
		v->base.region[k].fd = -1;
	return v;
}

static int find_group(struct vfio_kernel_device *v, char group[GROUP_TEXT])
{
	struct pci_function function;
	struct pci_address address;
	int result;

	if (!pci_address_parse(v->base.name, &address))
		return error_set(&v->base.error, -EINVAL, "want DDDD:BB:DD.F");
	result = pci_function_read(&function, device_sysfs, address, &v->base.error);
	if (result)
		return result;
	if (strcmp(function.driver, PCI_DRIVER_VFIO) != 0)
		return error_set(&v->base.error, -ENODEV,
			"its driver is %s; `p2pnic nic list` says how to bind it "
			"to " PCI_DRIVER_VFIO,
			*function.driver ? function.driver : "none");
	if (function.group == PCI_GROUP_NONE)
		return error_set(&v->base.error, -ENODEV,
			"it has no IOMMU group: turn the IOMMU on (firmware setup; kernel: "
			"intel_iommu=on)");
	snprintf(group, GROUP_TEXT, "%d", function.group);
	return 0;
}

static int open_file(struct vfio_kernel_device *v, unsigned which, const char *path)
{
	v->fd[which] = open(path, O_RDWR | O_CLOEXEC);
	if (v->fd[which] >= 0)
		return 0;
	const int result = fail(v, -errno, "%s", path);

	advise(v, result, -EBUSY, "another driver has it, or a NIC that shares the IOMMU group");
	advise(v, result, -ENOENT, "modprobe vfio-pci");
	advise(v, result, -ENODEV, "modprobe vfio-pci");
	advise(v, result, -EACCES, "give this user read and write access");
	return result;
}

static int open_container(struct vfio_kernel_device *v)
{
	const int result = open_file(v, CONTAINER, "/dev/vfio/vfio");

	if (result)
		return result;
	if (ioctl(v->fd[CONTAINER], VFIO_GET_API_VERSION) != VFIO_API_VERSION ||
		ioctl(v->fd[CONTAINER], VFIO_CHECK_EXTENSION, VFIO_TYPE1v2_IOMMU) <= 0)
		return error_set(&v->base.error, -ENOTSUP,
			"this kernel's VFIO has no type 1 IOMMU: modprobe vfio_iommu_type1");
	return 0;
}

static int open_group(struct vfio_kernel_device *v, const char *group)
{
	struct vfio_group_status status = {.argsz = sizeof(status)};
	char path[64];

	snprintf(path, sizeof(path), "/dev/vfio/%.40s", group);
	const int result = open_file(v, GROUP, path);

	if (result)
		return result;
	if (ioctl(v->fd[GROUP], VFIO_GROUP_GET_STATUS, &status) < 0)
		return fail(v, -errno, "%s", path);
	if (!(status.flags & VFIO_GROUP_FLAGS_VIABLE))
		return error_set(&v->base.error, -EPERM,
			"%s: other devices of the IOMMU group have drivers that are not VFIO's: "
			"unbind them",
			path);
	return 0;
}

static int open_function(struct vfio_kernel_device *v)
{
	char group[GROUP_TEXT];
	int result = find_group(v, group);

	if (!result)
		result = open_container(v);
	if (!result)
		result = open_group(v, group);
	if (result)
		return result;
	if (ioctl(v->fd[GROUP], VFIO_GROUP_SET_CONTAINER, &v->fd[CONTAINER]) < 0)
		return fail(v, -errno, "IOMMU group %.20s: its container", group);
	if (ioctl(v->fd[CONTAINER], VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU) < 0)
		return advise(v, fail(v, -errno, "IOMMU group %.20s: its IOMMU", group), -EPERM,
			"does it remap interrupts? The kernel's log says more");
	v->fd[DEVICE] = ioctl(v->fd[GROUP], VFIO_GROUP_GET_DEVICE_FD, v->base.name);
	if (v->fd[DEVICE] < 0)
		return fail(v, -errno, "the device of IOMMU group %.20s", group);
	fcntl(v->fd[DEVICE], F_SETFD, FD_CLOEXEC);
	return load(v);
}

static int open_begin(struct device **device, const char *address, struct error *error)
{
	struct vfio_kernel_device *v = create(address);

	if (!v)
		return error_set(error, -ENOMEM, "vfio:%.60s: %s", address, strerror(ENOMEM));
	return device_begun(device, &v->base, open_function(v), error);
}

static int adopt_begin(struct device **device, const int *fds, const struct device_window *windows,
	unsigned window_count, struct error *error)
{
	struct vfio_kernel_device *v = create("adopted");

	if (!v) {
		for (unsigned k = 0; k < KEPT; k++)
			close(fds[k]);
		return error_set(error, -ENOMEM, "vfio: %s", strerror(ENOMEM));
	}
	memcpy(v->fd, fds, sizeof(v->fd));
	return device_begun(device, &v->base, load(v), error);
}

static void keep(struct device *device, int *fds)
{
	memcpy(fds, of(device)->fd, sizeof(of(device)->fd));
}

/* --- Access ----------------------------------------------------------------------------------- */

static off_t at(const struct device *device, unsigned region, uint64_t offset)
{
	return (off_t)(device->region[region].fd_offset + offset);
}

static int read_region(
	struct device *device, unsigned region, uint64_t offset, void *data, size_t bytes)
{
	struct vfio_kernel_device *v = of(device);
	ssize_t n = pread(v->fd[DEVICE], data, bytes, at(device, region, offset));

	return n == (ssize_t)bytes ? 0
				   : fail(v, n < 0 ? -errno : -EIO, "reading region %u at 0x%llx",
					     region, (unsigned long long)offset);
}

static int write_region(
	struct device *device, unsigned region, uint64_t offset, const void *data, size_t bytes)
{
	struct vfio_kernel_device *v = of(device);
	ssize_t n = pwrite(v->fd[DEVICE], data, bytes, at(device, region, offset));

	return n == (ssize_t)bytes ? 0
				   : fail(v, n < 0 ? -errno : -EIO, "writing region %u at 0x%llx",
					     region, (unsigned long long)offset);
}

/* --- Windows ---------------------------------------------------------------------------------- */

static int check_range(struct vfio_kernel_device *v, struct bus_addr bus, uint64_t bytes)
{
	uint64_t last;

	if (!bus.value || !bytes || (bus.value | bytes) % DEVICE_PAGE ||
		__builtin_add_overflow(bus.value, bytes - 1, &last))
		return fail(v, -EINVAL, "window of %llu bytes at bus address 0x%llx",
			(unsigned long long)bytes, (unsigned long long)bus.value);
	return 0;
}

static int map_address(struct vfio_kernel_device *v, struct bus_addr bus, uint64_t bytes,
	uint32_t access, const void *address)
{
	struct vfio_iommu_type1_dma_map map = {
		.argsz = sizeof(map),
		.flags = access,
		.vaddr = (uintptr_t)address,
		.iova = bus.value,
		.size = bytes,
	};

	if (ioctl(v->fd[CONTAINER], VFIO_IOMMU_MAP_DMA, &map) == 0)
		return 0;
	const int result = fail(v, -errno, "mapping %llu bytes at bus address 0x%llx",
		(unsigned long long)bytes, (unsigned long long)bus.value);

	advise(v, result, -ENOSPC, "raise dma_entry_limit of vfio_iommu_type1");
	advise(v, result, -EFAULT,
		"a container of iommufd maps no BAR of a peer; want a kernel with "
		"CONFIG_VFIO_CONTAINER");
	return advise(v, result, -ENOMEM, "raise the limit of locked memory (ulimit -l)");
}

/* The kernel wants an address and pins what is there: descriptors are not needed. */
static int map_memory(struct device *device, struct bus_addr bus, uint64_t bytes, uint32_t access,
	void *address, int fd, uint64_t fd_offset)
{
	int result = check_range(of(device), bus, bytes);

	return result ? result : map_address(of(device), bus, bytes, access, address);
}

static int map_peer(struct device *device, struct bus_addr bus, uint64_t bytes, uint32_t access,
	struct device *peer, unsigned region, uint64_t offset)
{
	struct vfio_kernel_device *v = of(device);
	int result = check_range(v, bus, bytes);

	if (result)
		return result;
	const void *address = device_pointer(peer, region, offset, bytes);
	if (!address)
		return error_set(
			&v->base.error, -errno, "%.60s: %.150s", peer->name, device_error(peer));
	return map_address(v, bus, bytes, access, address);
}

static int remove_windows(
	struct vfio_kernel_device *v, uint32_t flags, uint64_t bus, uint64_t bytes)
{
	struct vfio_iommu_type1_dma_unmap unmap = {
		.argsz = sizeof(unmap), .flags = flags, .iova = bus, .size = bytes};

	return ioctl(v->fd[CONTAINER], VFIO_IOMMU_UNMAP_DMA, &unmap) < 0 ? -errno : 0;
}

static int unmap(struct device *device, struct bus_addr bus, uint64_t bytes)
{
	int result = check_range(of(device), bus, bytes);

	if (!result)
		result = remove_windows(of(device), 0, bus.value, bytes);
	return result ? fail(of(device), result, "unmapping bus address 0x%llx",
				(unsigned long long)bus.value)
		      : 0;
}

static int unmap_all(struct device *device)
{
	struct vfio_kernel_device *v = of(device);
	int result = remove_windows(v, VFIO_DMA_UNMAP_FLAG_ALL, 0, 0);

	return result ? fail(v, result, "unmapping all") : 0;
}

/* --- Events ----------------------------------------------------------------------------------- */

/* Always all vectors: kernels before 6.5 cannot add any once MSI-X is on. An adopter so takes away
 * the eventfds of the dead. */
static int irqs(struct device *device, unsigned first, const int *fds, unsigned count)
{
	struct vfio_kernel_device *v = of(device);

	if (first > device->vectors || count > device->vectors - first)
		return error_set(&device->error, -EINVAL,
			"interrupt vector %u is wanted, and it has %u", first + count - 1,
			device->vectors);
	memcpy(&v->vector[first], fds, count * sizeof(*fds));
	int result = set_irqs(v, VFIO_PCI_MSIX_IRQ_INDEX, v->vector, device->vectors);
	return result ? fail(v, result, "assigning interrupts") : 0;
}

static int reset(struct device *device)
{
	struct vfio_kernel_device *v = of(device);

	return ioctl(v->fd[DEVICE], VFIO_DEVICE_RESET) < 0 ? fail(v, -errno, "reset") : 0;
}

static int get_fd(const struct device *device)
{
	return ((const struct vfio_kernel_device *)device)->request;
}

static int service(struct device *device)
{
	eventfd_t count;

	if (eventfd_read(of(device)->request, &count) < 0)
		return 0;
	return error_set(&device->error, -ENOTCONN,
		"the kernel takes the device back, or the bus reports an error of it");
}

const struct device_ops vfio_kernel_device_ops = {
	.type = "vfio",
	.open_begin = open_begin,
	.adopt_begin = adopt_begin,
	.close = close_device,
	.kept = KEPT,
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
