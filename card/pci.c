/* SPDX-License-Identifier: BSD-3-Clause */
#include "pci.h"

#include "machine.h"

#define DEVICES 32u

/* QEMU's docs/specs/ivshmem-spec.txt: BAR2, 64 bits, is the memory. BAR0, its registers, is only of
 * use with interrupts. */
#define IVSHMEM_ID  0x11101af4u
#define IVSHMEM_BAR 2u

#define CONFIG_COMMAND 0x04u
#define CONFIG_BAR(n)  (0x10u + 4 * (n))
#define COMMAND_MEMORY 0x2u
#define BAR_FLAGS      0xfull

static uint64_t next = MACHINE_PCI_MEMORY;

static uintptr_t config_of(unsigned device)
{
	return MACHINE_ECAM + ((uintptr_t)device << 15);
}

/* A BAR answers ones with its size: PCI Local Bus Specification 3.0, 6.2.5.1. */
static uint64_t bar_bytes(uintptr_t bar)
{
	uint64_t mask;

	write32(bar, UINT32_MAX);
	write32(bar + 4, UINT32_MAX);
	mask = read32(bar) | (uint64_t)read32(bar + 4) << 32;
	return ~(mask & ~BAR_FLAGS) + 1;
}

static struct pci_memory assign(unsigned device)
{
	uintptr_t bar = config_of(device) + CONFIG_BAR(IVSHMEM_BAR);
	struct pci_memory memory = {.bytes = bar_bytes(bar)};

	next = (next + memory.bytes - 1) & ~(memory.bytes - 1);
	if (next + memory.bytes > MACHINE_PCI_END)
		panic("the memory of the cards does not fit below 2 GiB");
	memory.at = (uint8_t *)next;
	write32(bar, (uint32_t)next);
	write32(bar + 4, (uint32_t)(next >> 32));
	write32(config_of(device) + CONFIG_COMMAND, COMMAND_MEMORY);
	next += memory.bytes;
	return memory;
}

unsigned pci_find_memory(struct pci_memory *memory, unsigned max)
{
	unsigned n = 0;

	for (unsigned device = 0; device < DEVICES && n < max; device++)
		if (read32(config_of(device)) == IVSHMEM_ID)
			memory[n++] = assign(device);
	return n;
}
