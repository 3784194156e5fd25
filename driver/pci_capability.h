/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Capabilities in a copy of a function's configuration space, as sysfs gives it: 64 bytes without
 * root, else 256 (conventional) or 4096 (PCI Express). What stands there was written by hardware or
 * by a recorded file and is not believed: a list that loops or leads outside is an error.
 *
 * Both return the offset of the capability, or
 *   -ENOENT  the function has none
 *   -ENODATA the copy ends before the answer: not readable without root
 *   -EILSEQ  the list loops, or leads outside
 */
#ifndef DRIVER_PCI_CAPABILITY_H
#define DRIVER_PCI_CAPABILITY_H

#include <linux/pci_regs.h>
#include <stddef.h>
#include <stdint.h>

/* id: PCI_CAP_ID_*. bytes: needed of the capability, its header included. PCI Local Bus 3.0,
 * 6.7. */
int pci_capability_find(const uint8_t *config, size_t size, unsigned id, unsigned bytes);

/* id: PCI_EXT_CAP_ID_*. PCI Express Base 4.0, 7.6.3. */
int pci_capability_find_extended(const uint8_t *config, size_t size, unsigned id, unsigned bytes);

/* Little-endian, offset within the copy. */
static inline uint16_t pci_capability_word(const uint8_t *config, unsigned offset)
{
	return (uint16_t)(config[offset] | config[offset + 1] << 8);
}

#endif
