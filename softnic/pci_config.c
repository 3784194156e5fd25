/* SPDX-License-Identifier: BSD-3-Clause */
#include "pci_config.h"

#include <errno.h>
#include <linux/pci_regs.h>
#include <string.h>

/* Writes one register's power-on value and the bits a host may change; `bytes` is 1, 2 or 4. */
static void define(struct pci_config *config, unsigned offset, unsigned bytes, uint32_t initial,
	uint32_t writable)
{
	memcpy(config->initial + offset, &initial, bytes);
	memcpy(config->writable + offset, &writable, bytes);
}

static void define_bar(struct pci_config *config, unsigned bar, uint64_t bytes, uint32_t type)
{
	uint64_t address = ~(bytes - 1);

	define(config, PCI_BASE_ADDRESS_0 + 4 * bar, 4, type, (uint32_t)address);
	define(config, PCI_BASE_ADDRESS_0 + 4 * bar + 4, 4, 0, (uint32_t)(address >> 32));
}

static void define_header(struct pci_config *config, const uint64_t bar_bytes[3])
{
	define(config, PCI_VENDOR_ID, 2, P2PNIC_PCI_VENDOR, 0);
	define(config, PCI_DEVICE_ID, 2, P2PNIC_PCI_DEVICE, 0);
	define(config, PCI_COMMAND, 2, 0,
		PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_PARITY | PCI_COMMAND_SERR |
			PCI_COMMAND_INTX_DISABLE);
	define(config, PCI_STATUS, 2, PCI_STATUS_CAP_LIST, 0);
	define(config, PCI_CLASS_REVISION, 4, P2PNIC_PCI_CLASS << 8 | 1, 0);
	define(config, PCI_CACHE_LINE_SIZE, 1, 0, 0xff);
	define_bar(config, 0, bar_bytes[0], PCI_BASE_ADDRESS_MEM_TYPE_64);
	define_bar(config, 2, bar_bytes[1],
		PCI_BASE_ADDRESS_MEM_TYPE_64 | PCI_BASE_ADDRESS_MEM_PREFETCH);
	define_bar(config, 4, bar_bytes[2],
		PCI_BASE_ADDRESS_MEM_TYPE_64 | PCI_BASE_ADDRESS_MEM_PREFETCH);
	define(config, PCI_SUBSYSTEM_VENDOR_ID, 2, P2PNIC_PCI_VENDOR, 0);
	define(config, PCI_SUBSYSTEM_ID, 2, P2PNIC_PCI_DEVICE, 0);
	define(config, PCI_CAPABILITY_LIST, 1, PCI_CONFIG_POWER, 0);
	define(config, PCI_INTERRUPT_LINE, 1, 0, 0xff);
}

/* PCI Bus Power Management Interface 1.2, 3.2. Only D0 and D3hot; see pci_config_write. */
static void define_power(struct pci_config *config)
{
	define(config, PCI_CONFIG_POWER, 2, PCI_CAP_ID_PM | PCI_CONFIG_MSIX << 8, 0);
	define(config, PCI_CONFIG_POWER + PCI_PM_PMC, 2, 3, 0); /* version 1.2 */
	define(config, PCI_CONFIG_POWER + PCI_PM_CTRL, 2, PCI_PM_CTRL_NO_SOFT_RESET,
		PCI_PM_CTRL_STATE_MASK);
}

/* PCI Local Bus 3.0, 6.8.2. */
static void define_msix(struct pci_config *config)
{
	define(config, PCI_CONFIG_MSIX, 2, PCI_CAP_ID_MSIX | PCI_CONFIG_EXPRESS << 8, 0);
	define(config, PCI_CONFIG_MSIX + PCI_MSIX_FLAGS, 2, P2PNIC_VECTORS - 1,
		PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
	define(config, PCI_CONFIG_MSIX + PCI_MSIX_TABLE, 4, P2PNIC_BAR0_MSIX_TABLE, 0);
	define(config, PCI_CONFIG_MSIX + PCI_MSIX_PBA, 4, P2PNIC_BAR0_MSIX_PBA, 0);
}

/*
 * PCI Express Base 4.0, 7.5.3. The link is fiction, and says so as a real one would. Relaxed
 * ordering and no-snoop are hard-wired off: the device never asks for them, the rings depend on it
 * (ring.h).
 */
static void define_express(struct pci_config *config)
{
	unsigned at = PCI_CONFIG_EXPRESS;

	define(config, at, 2, PCI_CAP_ID_EXP, 0); /* the last one */
	define(config, at + PCI_EXP_FLAGS, 2, 2 | PCI_EXP_TYPE_ENDPOINT << 4, 0);
	define(config, at + PCI_EXP_DEVCAP, 4,
		1 /* 256-byte payloads */ | PCI_EXP_DEVCAP_EXT_TAG | PCI_EXP_DEVCAP_RBER |
			PCI_EXP_DEVCAP_FLR,
		0);
	define(config, at + PCI_EXP_DEVCTL, 2, 0x2000 /* 512-byte reads */,
		PCI_EXP_DEVCTL_CERE | PCI_EXP_DEVCTL_NFERE | PCI_EXP_DEVCTL_FERE |
			PCI_EXP_DEVCTL_URRE | PCI_EXP_DEVCTL_PAYLOAD | PCI_EXP_DEVCTL_EXT_TAG |
			PCI_EXP_DEVCTL_READRQ);
	define(config, at + PCI_EXP_LNKCAP, 4,
		PCI_EXP_LNKCAP_SLS_16_0GB | 16 << 4 | 1 << 22 /* ASPM optionality */, 0);
	define(config, at + PCI_EXP_LNKCTL, 2, 0,
		PCI_EXP_LNKCTL_RCB | PCI_EXP_LNKCTL_CCC | PCI_EXP_LNKCTL_ES);
	define(config, at + PCI_EXP_LNKSTA, 2,
		PCI_EXP_LNKSTA_CLS_16_0GB | 16 << 4 | PCI_EXP_LNKSTA_SLC, 0);
	define(config, at + PCI_EXP_DEVCAP2, 4, PCI_EXP_DEVCAP2_COMP_TMOUT_DIS, 0);
	define(config, at + PCI_EXP_DEVCTL2, 2, 0, PCI_EXP_DEVCTL2_COMP_TMOUT_DIS);
	define(config, at + PCI_EXP_LNKCAP2, 4,
		PCI_EXP_LNKCAP2_SLS_2_5GB | PCI_EXP_LNKCAP2_SLS_5_0GB | PCI_EXP_LNKCAP2_SLS_8_0GB |
			PCI_EXP_LNKCAP2_SLS_16_0GB,
		0);
	define(config, at + PCI_EXP_LNKCTL2, 2, PCI_EXP_LNKCTL2_TLS_16_0GT, PCI_EXP_LNKCTL2_TLS);
}

int pci_config_init(struct pci_config *config, const uint64_t bar_bytes[3])
{
	for (unsigned i = 0; i < 3; i++)
		if (bar_bytes[i] < 4096 || (bar_bytes[i] & (bar_bytes[i] - 1)))
			return -EINVAL;
	memset(config, 0, sizeof(*config));
	define_header(config, bar_bytes);
	define_power(config);
	define_msix(config);
	define_express(config);
	pci_config_reset(config);
	return 0;
}

void pci_config_reset(struct pci_config *config)
{
	memcpy(config->value, config->initial, sizeof(config->value));
	memset(config->msix_table, 0, sizeof(config->msix_table));
	for (unsigned i = 0; i < P2PNIC_VECTORS; i++)
		config->msix_table[i * PCI_MSIX_ENTRY_SIZE + PCI_MSIX_ENTRY_VECTOR_CTRL] =
			PCI_MSIX_ENTRY_CTRL_MASKBIT;
}

static bool inside(uint64_t offset, uint64_t bytes, uint64_t room)
{
	return offset <= room && bytes <= room - offset;
}

int pci_config_read(const struct pci_config *config, uint64_t offset, void *data, uint32_t bytes)
{
	if (!inside(offset, bytes, PCI_CONFIG_BYTES))
		return -EINVAL;
	memcpy(data, config->value + offset, bytes);
	return 0;
}

int pci_config_write(struct pci_config *config, uint64_t offset, const void *data, uint32_t bytes)
{
	const uint8_t *from = data;
	const unsigned power = PCI_CONFIG_POWER + PCI_PM_CTRL;
	const unsigned flr = PCI_CONFIG_EXPRESS + PCI_EXP_DEVCTL + 1;

	if (!inside(offset, bytes, PCI_CONFIG_BYTES))
		return -EINVAL;
	uint8_t old_power = config->value[power];
	for (uint32_t i = 0; i < bytes; i++) {
		uint8_t mask = config->writable[offset + i];
		config->value[offset + i] =
			(uint8_t)((config->value[offset + i] & ~mask) | (from[i] & mask));
	}

	/* "Software may write D1 or D2 where they are not supported: the write is discarded". */
	unsigned state = config->value[power] & PCI_PM_CTRL_STATE_MASK;
	if (state == 1 || state == 2)
		config->value[power] = old_power;

	if (offset <= flr && flr < offset + bytes &&
		(from[flr - offset] & (PCI_EXP_DEVCTL_BCR_FLR >> 8)))
		return PCI_CONFIG_RESET;
	return 0;
}

bool pci_config_bus_master(const struct pci_config *config)
{
	unsigned state = config->value[PCI_CONFIG_POWER + PCI_PM_CTRL] & PCI_PM_CTRL_STATE_MASK;

	return state == 0 && (config->value[PCI_COMMAND] & PCI_COMMAND_MASTER);
}

static bool msix_access(uint64_t bar_offset, uint32_t bytes)
{
	return (bytes == 4 || bytes == 8) && bar_offset % bytes == 0 &&
	       bar_offset >= P2PNIC_BAR0_MSIX_TABLE && inside(bar_offset, bytes, P2PNIC_BAR0_BYTES);
}

int pci_config_msix_read(
	const struct pci_config *config, uint64_t bar_offset, void *data, uint32_t bytes)
{
	if (!msix_access(bar_offset, bytes))
		return -EINVAL;
	uint64_t offset = bar_offset - P2PNIC_BAR0_MSIX_TABLE;
	if (inside(offset, bytes, sizeof(config->msix_table)))
		memcpy(data, config->msix_table + offset, bytes);
	else
		memset(data, 0, bytes); /* nothing pending, nothing else there */
	return 0;
}

int pci_config_msix_write(
	struct pci_config *config, uint64_t bar_offset, const void *data, uint32_t bytes)
{
	static const uint8_t writable[PCI_MSIX_ENTRY_SIZE] = {
		[0] = 0xfc, /* an address is a multiple of four */
		[1] = 0xff,
		[2] = 0xff,
		[3] = 0xff,
		[4] = 0xff,
		[5] = 0xff,
		[6] = 0xff,
		[7] = 0xff,
		[8] = 0xff,
		[9] = 0xff,
		[10] = 0xff,
		[11] = 0xff,
		[12] = PCI_MSIX_ENTRY_CTRL_MASKBIT,
	};
	const uint8_t *from = data;

	if (!msix_access(bar_offset, bytes))
		return -EINVAL;
	uint64_t offset = bar_offset - P2PNIC_BAR0_MSIX_TABLE;
	if (!inside(offset, bytes, sizeof(config->msix_table)))
		return 0;
	for (uint32_t i = 0; i < bytes; i++) {
		uint8_t mask = writable[(offset + i) % PCI_MSIX_ENTRY_SIZE];
		uint8_t *to = &config->msix_table[offset + i];
		*to = (uint8_t)((*to & ~mask) | (from[i] & mask));
	}
	return 0;
}
