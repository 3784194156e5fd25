/* SPDX-License-Identifier: BSD-3-Clause */
/* Configuration space as a PCI core walks it: sizing, capabilities, and what may be written. */
#include "softnic/pci_config.h"

#include <setjmp.h>
#include <stdarg.h>
/* cmocka wants those first. */
#include <cmocka.h>
#include <errno.h>
#include <linux/pci_regs.h>
#include <stdlib.h>
#include <string.h>

static struct pci_config config;

static const uint64_t SIZES[3] = {0x10000, 0x1000000, 0x200000000};

static uint32_t get(unsigned offset, unsigned bytes)
{
	uint32_t value = 0;

	assert_int_equal(pci_config_read(&config, offset, &value, bytes), 0);
	return value;
}

static int put(unsigned offset, unsigned bytes, uint32_t value)
{
	return pci_config_write(&config, offset, &value, bytes);
}

static int set_up(void **state)
{
	return pci_config_init(&config, SIZES);
}

static void test_header(void **state)
{
	assert_int_equal(get(PCI_VENDOR_ID, 2), 0x1209);
	assert_int_equal(get(PCI_DEVICE_ID, 2), 2);
	assert_int_equal(get(PCI_CLASS_REVISION, 4) >> 8, 0x020000);
	assert_int_equal(get(PCI_HEADER_TYPE, 1), PCI_HEADER_TYPE_NORMAL);
	assert_int_equal(get(PCI_INTERRUPT_PIN, 1), 0);
	assert_int_equal(get(PCI_COMMAND, 2), 0);
	assert_int_equal(get(PCI_STATUS, 2), PCI_STATUS_CAP_LIST);
	assert_int_equal(get(PCI_ROM_ADDRESS, 4), 0);
	put(PCI_ROM_ADDRESS, 4, ~0u);
	assert_int_equal(get(PCI_ROM_ADDRESS, 4), 0);
	assert_int_equal(get(0x100, 4), 0); /* no extended capabilities */

	const uint64_t bad[][3] = {
		{0x10000, 0x1000000, 0}, {0x800, 0x1000, 0x1000}, {0x3000, 0x1000, 0x1000}};
	struct pci_config other;
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(pci_config_init(&other, bad[i]), -EINVAL);
}

/* As a PCI core does: all ones, read back, complement. */
static void test_bar_sizes(void **state)
{
	static const uint32_t types[3] = {PCI_BASE_ADDRESS_MEM_TYPE_64,
		PCI_BASE_ADDRESS_MEM_TYPE_64 | PCI_BASE_ADDRESS_MEM_PREFETCH,
		PCI_BASE_ADDRESS_MEM_TYPE_64 | PCI_BASE_ADDRESS_MEM_PREFETCH};

	for (unsigned i = 0; i < 3; i++) {
		unsigned bar = PCI_BASE_ADDRESS_0 + 8 * i;

		assert_int_equal(get(bar, 4), types[i]);
		put(bar, 4, ~0u);
		put(bar + 4, 4, ~0u);
		uint64_t mask = (uint64_t)get(bar + 4, 4) << 32 | get(bar, 4);
		assert_int_equal(mask & 0xf, types[i]);
		assert_int_equal(~(mask & ~0xfull) + 1, SIZES[i]);
		put(bar, 4, 0xabcdef01);
		put(bar + 4, 4, 0x12345678);
		uint64_t address = (uint64_t)get(bar + 4, 4) << 32 | get(bar, 4);
		assert_int_equal(address, (0x12345678abcdef01 & ~(SIZES[i] - 1)) | types[i]);
	}
}

static void test_capabilities(void **state)
{
	unsigned seen = 0;
	unsigned at = get(PCI_CAPABILITY_LIST, 1);

	for (unsigned steps = 0; at; steps++) {
		unsigned id = get(at, 1);

		assert_true(steps < 16 && at >= 0x40 && at % 4 == 0);
		seen |= 1u << id;
		at = get(at + 1, 1);
	}
	assert_int_equal(seen, 1u << PCI_CAP_ID_PM | 1u << PCI_CAP_ID_MSIX | 1u << PCI_CAP_ID_EXP);

	assert_int_equal(get(PCI_CONFIG_MSIX + PCI_MSIX_FLAGS, 2) & PCI_MSIX_FLAGS_QSIZE,
		P2PNIC_VECTORS - 1);
	assert_int_equal(get(PCI_CONFIG_MSIX + PCI_MSIX_TABLE, 4), P2PNIC_BAR0_MSIX_TABLE);
	assert_int_equal(get(PCI_CONFIG_MSIX + PCI_MSIX_PBA, 4), P2PNIC_BAR0_MSIX_PBA);
	put(PCI_CONFIG_MSIX + PCI_MSIX_FLAGS, 2, 0xffff);
	assert_int_equal(get(PCI_CONFIG_MSIX + PCI_MSIX_FLAGS, 2), 0xc000 | (P2PNIC_VECTORS - 1));
	put(PCI_CONFIG_MSIX + PCI_MSIX_TABLE, 4, ~0u);
	assert_int_equal(get(PCI_CONFIG_MSIX + PCI_MSIX_TABLE, 4), P2PNIC_BAR0_MSIX_TABLE);

	unsigned express = PCI_CONFIG_EXPRESS;
	assert_int_equal(get(express + PCI_EXP_FLAGS, 2), 2);
	assert_true(get(express + PCI_EXP_DEVCAP, 4) & PCI_EXP_DEVCAP_RBER);
	assert_true(get(express + PCI_EXP_DEVCAP, 4) & PCI_EXP_DEVCAP_FLR);
	/* The link runs at its best. */
	assert_int_equal(
		get(express + PCI_EXP_LNKSTA, 2) & 0x3ff, get(express + PCI_EXP_LNKCAP, 4) & 0x3ff);
}

static void test_masks(void **state)
{
	/* Nothing that is read-only changes, whatever is written wherever. */
	static struct pci_config ones;
	static uint8_t all[PCI_CONFIG_BYTES];

	memset(all, 0xff, sizeof(all));
	assert_int_equal(pci_config_write(&config, 0, all, sizeof(all)), PCI_CONFIG_RESET);
	memcpy(&ones, &config, sizeof(ones));
	memset(all, 0, sizeof(all));
	assert_int_equal(pci_config_write(&config, 0, all, sizeof(all)), 0);
	for (unsigned i = 0; i < PCI_CONFIG_BYTES; i++) {
		assert_int_equal(
			ones.value[i] & ~ones.writable[i], ones.initial[i] & ~ones.writable[i]);
		assert_int_equal(
			config.value[i] & ~ones.writable[i], ones.initial[i] & ~ones.writable[i]);
		assert_int_equal(config.value[i] & ones.writable[i], 0);
	}
	assert_int_equal(ones.value[PCI_COMMAND] | ones.value[PCI_COMMAND + 1] << 8, 0x0546);
	pci_config_reset(&config);
	assert_memory_equal(config.value, config.initial, PCI_CONFIG_BYTES);
}

static void test_widths(void **state)
{
	put(PCI_COMMAND + 1, 1, 0xff);
	assert_int_equal(get(PCI_COMMAND, 2), 0x0500);
	put(PCI_COMMAND, 1, 0xff);
	assert_int_equal(get(PCI_COMMAND, 2), 0x0546);
	put(PCI_COMMAND, 4, 0);
	assert_int_equal(get(PCI_COMMAND, 4), PCI_STATUS_CAP_LIST << 16);
	/* Across registers, unaligned. */
	put(PCI_CACHE_LINE_SIZE - 1, 4, 0x11223344);
	assert_int_equal(get(PCI_CACHE_LINE_SIZE, 1), 0x33);
	assert_int_equal(get(PCI_LATENCY_TIMER, 1), 0);

	uint64_t data;
	assert_int_equal(pci_config_read(&config, PCI_CONFIG_BYTES, &data, 1), -EINVAL);
	assert_int_equal(pci_config_read(&config, PCI_CONFIG_BYTES - 1, &data, 2), -EINVAL);
	assert_int_equal(pci_config_read(&config, UINT64_MAX, &data, 2), -EINVAL);
	assert_int_equal(pci_config_write(&config, UINT64_MAX, &data, 2), -EINVAL);
	assert_int_equal(pci_config_write(&config, 0, &data, UINT32_MAX), -EINVAL);
	assert_int_equal(pci_config_read(&config, PCI_CONFIG_BYTES - 1, &data, 1), 0);
}

static void test_power_and_bus_master(void **state)
{
	unsigned power = PCI_CONFIG_POWER + PCI_PM_CTRL;

	assert_false(pci_config_bus_master(&config));
	put(PCI_COMMAND, 2, PCI_COMMAND_MASTER);
	assert_true(pci_config_bus_master(&config));
	put(power, 2, 1); /* D1 and D2 are not supported: no change */
	assert_int_equal(get(power, 2), PCI_PM_CTRL_NO_SOFT_RESET);
	put(power, 2, 3);
	assert_int_equal(get(power, 2), PCI_PM_CTRL_NO_SOFT_RESET | 3);
	assert_false(pci_config_bus_master(&config));
	put(power, 2, 2);
	assert_int_equal(get(power, 2), PCI_PM_CTRL_NO_SOFT_RESET | 3);
	put(power, 2, 0);
	assert_true(pci_config_bus_master(&config));
}

static void test_function_level_reset(void **state)
{
	unsigned control = PCI_CONFIG_EXPRESS + PCI_EXP_DEVCTL;

	assert_int_equal(put(control, 2, 0x2000), 0);
	assert_int_equal(put(control, 2, 0x2000 | PCI_EXP_DEVCTL_BCR_FLR), PCI_CONFIG_RESET);
	assert_int_equal(get(control, 2), 0x2000); /* reads 0 */
	assert_int_equal(put(control + 1, 1, 0x80), PCI_CONFIG_RESET);
	assert_int_equal(put(control, 1, 0x80), 0);
	assert_int_equal(put(control - 2, 4, 0x80000000), PCI_CONFIG_RESET);
}

static void test_msix_table(void **state)
{
	uint32_t word = ~0u;
	uint64_t wide;
	const uint64_t table = P2PNIC_BAR0_MSIX_TABLE;

	/* Masked from the start, every vector. */
	for (unsigned v = 0; v < P2PNIC_VECTORS; v++) {
		assert_int_equal(pci_config_msix_read(&config, table + 16 * v + 12, &word, 4), 0);
		assert_int_equal(word, 1);
		wide = ~0ull;
		assert_int_equal(pci_config_msix_write(&config, table + 16 * v, &wide, 8), 0);
		assert_int_equal(pci_config_msix_write(&config, table + 16 * v + 8, &wide, 8), 0);
		assert_int_equal(pci_config_msix_read(&config, table + 16 * v, &wide, 8), 0);
		assert_int_equal(wide, ~3ull);
		assert_int_equal(pci_config_msix_read(&config, table + 16 * v + 8, &wide, 8), 0);
		assert_int_equal(wide, 0x1ffffffffull);
	}
	/* Beyond the table, and the pending bits. */
	word = ~0u;
	assert_int_equal(pci_config_msix_write(&config, table + 16 * P2PNIC_VECTORS, &word, 4), 0);
	assert_int_equal(pci_config_msix_read(&config, table + 16 * P2PNIC_VECTORS, &word, 4), 0);
	assert_int_equal(word, 0);
	assert_int_equal(pci_config_msix_write(&config, P2PNIC_BAR0_MSIX_PBA, &word, 4), 0);
	assert_int_equal(pci_config_msix_read(&config, P2PNIC_BAR0_MSIX_PBA, &wide, 8), 0);
	assert_int_equal(wide, 0);

	static const struct {
		uint64_t offset;
		uint32_t bytes;
	} bad[] = {{P2PNIC_BAR0_MSIX_TABLE, 1}, {P2PNIC_BAR0_MSIX_TABLE, 2},
		{P2PNIC_BAR0_MSIX_TABLE + 2, 4}, {P2PNIC_BAR0_MSIX_TABLE + 4, 8},
		{P2PNIC_BAR0_MSIX_TABLE, 16}, {P2PNIC_BAR0_MSIX_TABLE - 4, 4},
		{P2PNIC_BAR0_BYTES, 4}, {UINT64_MAX - 3, 4}, {UINT64_MAX - 7, 8}};
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(
			pci_config_msix_read(&config, bad[i].offset, &wide, bad[i].bytes), -EINVAL);
		assert_int_equal(pci_config_msix_write(&config, bad[i].offset, &wide, bad[i].bytes),
			-EINVAL);
	}
	pci_config_reset(&config);
	assert_int_equal(pci_config_msix_read(&config, table + 8, &wide, 8), 0);
	assert_int_equal(wide, 1ull << 32);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_header, set_up),
		cmocka_unit_test_setup(test_bar_sizes, set_up),
		cmocka_unit_test_setup(test_capabilities, set_up),
		cmocka_unit_test_setup(test_masks, set_up),
		cmocka_unit_test_setup(test_widths, set_up),
		cmocka_unit_test_setup(test_power_and_bus_master, set_up),
		cmocka_unit_test_setup(test_function_level_reset, set_up),
		cmocka_unit_test_setup(test_msix_table, set_up),
	};

	return cmocka_run_group_tests_name("PCI configuration space", tests, NULL, NULL);
}
