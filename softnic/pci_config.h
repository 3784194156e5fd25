/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Configuration space of the soft NIC: a type-0 PCI Express endpoint (4 KiB, no extended
 * capabilities).
 *
 *   0x00  header: P2PNIC_PCI_VENDOR/DEVICE/CLASS; BAR0 64-bit, BAR2 and BAR4 64-bit prefetchable;
 *         no I/O space, no INTx, no expansion ROM
 *   0x40  Power Management 1.2: D0 and D3hot, no PME, state survives D3hot → D0
 *   0x50  MSI-X: P2PNIC_VECTORS entries; table and PBA in BAR0
 *   0x80  PCI Express 2: endpoint, 16 GT/s ×16, 256-byte payloads, function-level reset
 *
 * Each byte has a value, a mask of bits that a write changes, and nothing else: sizing a BAR (write
 * all ones, read back) falls out of the mask, because its address bits below the size are not
 * writable (PCI Local Bus 3.0, 6.2.5.1). Any width and alignment; bytes that nobody implements read
 * 0.
 */
#ifndef SOFTNIC_PCI_CONFIG_H
#define SOFTNIC_PCI_CONFIG_H

#include <p2pnic/registers.h>

#define PCI_CONFIG_BYTES 4096u

#define PCI_CONFIG_POWER   0x40u
#define PCI_CONFIG_MSIX    0x50u
#define PCI_CONFIG_EXPRESS 0x80u

struct pci_config {
	uint8_t value[PCI_CONFIG_BYTES];
	uint8_t writable[PCI_CONFIG_BYTES];
	uint8_t initial[PCI_CONFIG_BYTES];
	uint8_t msix_table[P2PNIC_VECTORS * 16u];
};

/* bar_bytes: sizes of BAR0, BAR2, BAR4; powers of two from 4 KiB. -EINVAL otherwise. */
int pci_config_init(struct pci_config *config, const uint64_t bar_bytes[3]);

/* Power-on values; what a conventional or function-level reset does. */
void pci_config_reset(struct pci_config *config);

/* -EINVAL if not all of it lies in configuration space. */
int pci_config_read(const struct pci_config *config, uint64_t offset, void *data, uint32_t bytes);

/* 0, -EINVAL, or PCI_CONFIG_RESET: the host asked for a function-level reset, and the caller resets
 * the device, pci_config_reset included. */
#define PCI_CONFIG_RESET 1
int pci_config_write(struct pci_config *config, uint64_t offset, const void *data, uint32_t bytes);

/* May the device master the bus: Bus Master Enable set, and in D0? Without it a DMA is a fault. */
bool pci_config_bus_master(const struct pci_config *config);

/*
 * The MSI-X table and pending bits as BAR0 shows them (registers.h), for accesses that begin in
 * [P2PNIC_BAR0_MSIX_TABLE, P2PNIC_BAR0_BYTES): 4 or 8 bytes, aligned, else -EINVAL (PCI Local Bus
 * 3.0, 6.8.2). Plain memory: interrupts are delivered by eventfd, see vfu_interrupt.
 */
int pci_config_msix_read(
	const struct pci_config *config, uint64_t bar_offset, void *data, uint32_t bytes);
int pci_config_msix_write(
	struct pci_config *config, uint64_t bar_offset, const void *data, uint32_t bytes);

#endif
