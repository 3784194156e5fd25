/* SPDX-License-Identifier: BSD-3-Clause */
/* The card's PCI bus. Nothing runs before the card does: it gives the BARs their addresses. */
#ifndef CARD_PCI_H
#define CARD_PCI_H

#include <stdint.h>

struct pci_memory {
	uint8_t *at;
	uint64_t bytes;
};

/* Finds the ivshmem devices of bus 0, in the order of their numbers; how many. */
unsigned pci_find_memory(struct pci_memory *memory, unsigned max);

#endif
