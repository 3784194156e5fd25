/* SPDX-License-Identifier: BSD-3-Clause */
/* Capabilities in configuration spaces that are whole, cut, and damaged. */
#include "driver/pci_capability.h"

#include <setjmp.h>
#include <stdarg.h>
/* cmocka wants those first. */
#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "tests/unit/pci_tree.h"

static uint8_t config[PCI_CFG_SPACE_EXP_SIZE];

static int set_up(void **state)
{
	tree_config(config,
		&(struct tree_function){.type = PCI_EXP_TYPE_DOWNSTREAM, .acs = PCI_ACS_RR});
	return 0;
}

static int acs(size_t size)
{
	return pci_capability_find_extended(config, size, PCI_EXT_CAP_ID_ACS, 8);
}

static int express(size_t size)
{
	return pci_capability_find(config, size, PCI_CAP_ID_EXP, 4);
}

static void test_found(void **state)
{
	assert_int_equal(express(sizeof(config)), 0x70);
	assert_int_equal(acs(sizeof(config)), 0x140);
	assert_int_equal(pci_capability_word(config, 0x140 + PCI_ACS_CTRL), PCI_ACS_RR);
	assert_int_equal(pci_capability_find(config, 4096, PCI_CAP_ID_MSIX, 12), -ENOENT);
	assert_int_equal(pci_capability_find_extended(config, 4096, 0x15, 8), -ENOENT);
}

/* What is cut off is unknown; what is before the cut is not. */
static void test_cut(void **state)
{
	for (size_t size = 0; size < 0x74; size++)
		assert_int_equal(express(size), -ENODATA);
	assert_int_equal(express(0x74), 0x70);
	for (size_t size = 0; size < 0x148; size++)
		assert_int_equal(acs(size), size == 256 ? -ENOENT : -ENODATA);
	assert_int_equal(acs(0x148), 0x140);
}

static void test_none(void **state)
{
	config[PCI_STATUS] = 0;
	assert_int_equal(express(64), -ENOENT);
	memset(config + 0x100, 0, 4);
	assert_int_equal(acs(sizeof(config)), -ENOENT);
	memset(config + 0x100, 0xff, 4);
	assert_int_equal(acs(sizeof(config)), -ENOENT);
}

static void test_loop(void **state)
{
	config[0x70] = PCI_CAP_ID_VPD;
	for (unsigned next = 0x40; next <= 0x70; next += 0x30) { /* to the other, to itself */
		config[0x71] = (uint8_t)next;
		assert_int_equal(express(sizeof(config)), -EILSEQ);
	}
	config[0x140] = PCI_EXT_CAP_ID_DSN;
	for (unsigned next = 0x100; next <= 0x140; next += 0x40) {
		config[0x142] = (uint8_t)(next << 4);
		config[0x143] = (uint8_t)(next >> 4);
		assert_int_equal(acs(sizeof(config)), -EILSEQ);
	}
}

static void test_outside(void **state)
{
	config[PCI_CAPABILITY_LIST] = 0x3c; /* into the header */
	assert_int_equal(express(sizeof(config)), -EILSEQ);
	config[PCI_CAPABILITY_LIST] = 0xfc; /* its end does not fit */
	memset(config + 0xfc, PCI_CAP_ID_EXP, 1);
	assert_int_equal(pci_capability_find(config, 4096, PCI_CAP_ID_EXP, 8), -EILSEQ);
	config[0x102] = 0x02; /* 0x0f0: before the extended space */
	config[0x103] = 0x0f;
	assert_int_equal(acs(sizeof(config)), -EILSEQ);
	config[0x102] = 0xc2; /* 0xffc */
	config[0x103] = 0xff;
	memset(config + 0xffc, PCI_EXT_CAP_ID_ACS, 1);
	assert_int_equal(acs(sizeof(config)), -EILSEQ);
}

/* The longest list that fits is none that loops. */
static void test_longest(void **state)
{
	for (unsigned offset = 0x100; offset < 0x1000; offset += 8) {
		unsigned next = offset + 8 < 0x1000 ? offset + 8 : 0;

		memset(config + offset, 0, 8);
		config[offset] = next ? PCI_EXT_CAP_ID_DSN : PCI_EXT_CAP_ID_ACS;
		config[offset + 2] = (uint8_t)(next << 4 | 1);
		config[offset + 3] = (uint8_t)(next >> 4);
	}
	assert_int_equal(acs(sizeof(config)), 0xff8);
	for (unsigned offset = 0x40; offset < 0x100; offset += 4) {
		config[offset] = offset == 0xfc ? PCI_CAP_ID_EXP : PCI_CAP_ID_VNDR;
		config[offset + 1] = (uint8_t)(offset + 4);
	}
	assert_int_equal(express(sizeof(config)), 0xfc);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_found, set_up),
		cmocka_unit_test_setup(test_cut, set_up),
		cmocka_unit_test_setup(test_none, set_up),
		cmocka_unit_test_setup(test_loop, set_up),
		cmocka_unit_test_setup(test_outside, set_up),
		cmocka_unit_test_setup(test_longest, set_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
