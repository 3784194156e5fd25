/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * window PID A B: in the guest, withdraws NIC A's window onto NIC B's packet memory from A's IOMMU
 * domain. A and B are PCI addresses.
 *
 * The descriptors are those of process PID, the router, which hears nothing of it: as if the IOMMU
 * had been programmed by another hand. Where the window lies is what the router told the NICs.
 */
#include <err.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/vfio.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include <p2pnic/registers.h>

struct nic {
	int container;
	int device;
};

/* The path behind one of the process's descriptors. */
static const char *target(pid_t pid, int fd)
{
	static char text[PATH_MAX];
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/fd/%d", pid, fd);
	ssize_t n = readlink(path, text, sizeof(text) - 1);
	text[n > 0 ? n : 0] = 0;
	return text;
}

/* A router opens a NIC's container just before its group, so that the group's descriptor is the
 * next higher one. A test that takes the wrong one is told so by the fault: it names the device. */
static struct nic find(pid_t pid, const char *address)
{
	struct nic nic = {-1, -1};
	char path[128], link[PATH_MAX], group[64];
	int container = -1, pidfd = pidfd_open(pid, 0);

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/iommu_group", address);
	ssize_t n = readlink(path, link, sizeof(link) - 1);
	if (pidfd < 0 || n < 0)
		err(1, "process %d, %s", pid, path);
	link[n] = 0;
	snprintf(group, sizeof(group), "/dev/vfio/%.32s", strrchr(link, '/') + 1);
	for (int fd = 0; fd < sysconf(_SC_OPEN_MAX) && nic.device < 0; fd++) {
		const char *what = target(pid, fd);

		if (!strcmp(what, "/dev/vfio/vfio"))
			container = fd;
		if (strcmp(what, group) != 0)
			continue;
		nic.container = pidfd_getfd(pidfd, container, 0);
		nic.device = ioctl(pidfd_getfd(pidfd, fd, 0), VFIO_GROUP_GET_DEVICE_FD, address);
	}
	if (nic.container < 0 || nic.device < 0)
		err(1, "process %d, device %s", pid, address);
	return nic;
}

static void *map_region(const struct nic *nic, uint32_t region, uint64_t offset, size_t bytes)
{
	struct vfio_region_info info = {.argsz = sizeof(info), .index = region};

	if (ioctl(nic->device, VFIO_DEVICE_GET_REGION_INFO, &info) < 0)
		err(1, "region %u", region);
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, nic->device,
		(off_t)(info.offset + offset));
	if (memory == MAP_FAILED)
		err(1, "mapping region %u", region);
	return memory;
}

static uint32_t read_register(const struct nic *nic, uint32_t offset)
{
	struct vfio_region_info info = {.argsz = sizeof(info)};
	uint32_t value;

	if (ioctl(nic->device, VFIO_DEVICE_GET_REGION_INFO, &info) < 0 ||
		pread(nic->device, &value, 4, (off_t)(info.offset + offset)) != 4)
		err(1, "register 0x%x", offset);
	return value;
}

static const struct p2pnic_peer *peers(const struct nic *nic)
{
	return (const struct p2pnic_peer *)((const char *)map_region(nic,
						    VFIO_PCI_BAR2_REGION_INDEX, 0,
						    P2PNIC_BAR2_NEXT_HOPS) +
					    P2PNIC_BAR2_PEERS);
}

int main(int argc, char **argv)
{
	if (argc != 4)
		errx(2, "usage: window PID A B");
	const struct nic a = find(atoi(argv[1]), argv[2]), b = find(atoi(argv[1]), argv[3]);
	const struct p2pnic_peer *of_a = &peers(&a)[read_register(&b, P2PNIC_REG_NIC_INDEX)];
	const uint64_t bytes =
		(uint64_t)of_a->out_buffer_count * read_register(&b, P2PNIC_REG_BUFFER_BYTES);

	struct vfio_iommu_type1_dma_unmap unmap = {
		.argsz = sizeof(unmap), .iova = of_a->out_buffers.value, .size = bytes};

	if (ioctl(a.container, VFIO_IOMMU_UNMAP_DMA, &unmap) < 0 || unmap.size != bytes)
		err(1, "withdrawing the window");
	return 0;
}
