/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A PCI function through its files in sysfs, for a host without an IOMMU: device.h over
 * /sys/bus/pci/devices/D (Documentation/PCI/sysfs-pci.rst).
 *
 * Danger: nothing stands between the device and the memory of the host. A wrong bus address of the
 * driver, and any fault or malice of the device's firmware, writes wherever it likes. So it is used
 * only when asked for by name, and by root.
 *
 *   BARs                resource0, resource2 … mapped; registers are loads and stores
 *   bus addresses       physical ones: a peer's region is where its file `resource` says
 *   windows             none: every device reaches everything, always
 *   memory of the host  none: it would have to be locked and its physical address found
 *   interrupts          none: whoever wants to know looks from time to time
 *   bus mastering       command register, by `config`; off again when the last holder closes
 *
 * No driver may be bound; nothing here binds or unbinds. Where an IOMMU translates for the function
 * it is refused: physical addresses mean nothing there, and kernel VFIO is the safe way.
 *
 * Kept by one descriptor, that of `config`. A lock on it, which its duplicates share, says that a
 * driver has the function.
 */
#ifndef DRIVER_PCI_SYSFS_H
#define DRIVER_PCI_SYSFS_H

#include "device.h"

extern const struct device_ops pci_sysfs_device_ops;

#endif
