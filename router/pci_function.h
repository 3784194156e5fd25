/* SPDX-License-Identifier: BSD-3-Clause */
/* The backend of NICs that are PCI functions, reached through the kernel's VFIO or, if the
 * configuration says so, sysfs. Each is a unit of its own; there is no process to start, and none
 * to end. */
#ifndef ROUTER_PCI_FUNCTION_H
#define ROUTER_PCI_FUNCTION_H

#include "router/nic.h"

extern const struct nic_backend pci_function_backend;

#endif
