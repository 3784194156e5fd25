/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A PCI function through the kernel's VFIO: device.h over /dev/vfio (Documentation/driver-api/
 * vfio.rst, linux/vfio.h). The function is bound to vfio-pci by whoever owns the machine; nothing
 * here binds or unbinds.
 *
 * Each device has a container of its own, and so an IOMMU domain of its own: bus addresses mean to
 * it what its windows say, and to no other device, as over vfio-user. A group is opened once, so
 * NICs that share a group cannot have windows of their own, and the second is refused.
 *
 * Peer windows: the peer's BAR is mapped into this process, and that mapping into the IOMMU domain
 * (VFIO_IOMMU_MAP_DMA pins no memory of a BAR). The window outlives the mapping, not the container.
 *
 * Why not iommufd (/dev/iommu and /dev/vfio/devices/vfioN): its IOMMU_IOAS_MAP pins pages, and a
 * mapped BAR has none, so the map that this driver lives from is EFAULT on every kernel, through
 * its stand-in for /dev/vfio/vfio as well (CONFIG_IOMMUFD_VFIO_CONTAINER). From Linux 6.19 on a BAR
 * can be exported as a dma-buf (VFIO_DEVICE_FEATURE_DMA_BUF) and mapped by IOMMU_IOAS_MAP_FILE; the
 * kernel takes that mapping away for good when the peer is reset or its memory space goes off, and
 * each would have to be made again. It brings nothing that the container lacks. Debian's kernels up
 * to 6.12 have no iommufd (CONFIG_IOMMUFD is not set). A kernel without CONFIG_VFIO_CONTAINER is
 * one where this driver does not work.
 *
 * Registers go through pread and pwrite, not through a mapping: the kernel then checks that the
 * device's memory space is on, where a mapping would end the process by SIGBUS.
 *
 * Kept by three descriptors: container, group, device. While any process holds them the device is
 * not reset, and its windows and bus mastering stay.
 */
#ifndef DRIVER_VFIO_KERNEL_H
#define DRIVER_VFIO_KERNEL_H

#include "device.h"

extern const struct device_ops vfio_kernel_device_ops;

#endif
