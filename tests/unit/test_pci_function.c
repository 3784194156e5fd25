/* SPDX-License-Identifier: BSD-3-Clause */
/* One function of a sysfs tree: all that is read, and trees in which something is wrong. */
#include "driver/pci_function.h"

#include <setjmp.h>
#include <stdarg.h>
/* cmocka wants those first. */
#include <cmocka.h>
#include <errno.h>
#include <linux/pci_regs.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/unit/pci_tree.h"

#define NIC  "bus/pci/devices/0000:03:00.0"
#define BARS "0x0 0x0 0x0\n0x0 0x0 0x0\n0x0 0x0 0x0\n0x0 0x0 0x0\n0x0 0x0 0x0\n0x0 0x0 0x0\n"
#define PORT "bus/pci/devices/0000:02:00.0"

static struct tree tree;
static struct pci_function function;
static struct error error;

static int set_up(void **state)
{
	tree_make(&tree);
	tree_add_switch(&tree, 2, PCI_ACS_SV | PCI_ACS_RR, 0, 0);
	return 0;
}

static int tear_down(void **state)
{
	tree_remove_all(&tree);
	return 0;
}

static int read_it(const char *text)
{
	struct pci_address address;

	*error.text = 0;
	assert_true(pci_address_parse(text, &address));
	return pci_function_read(&function, tree.sysfs, address, &error);
}

static void test_address(void **state)
{
	static const char *const good[] = {
		"0000:00:00.0", "ffff:ff:1f.7", "10000:e1:00.0", "12345678:00:00.1"};
	static const char *const bad[] = {"", "0000:00:00", "000:00:00.0", "0000:00:20.0",
		"0000:00:00.8", "0000:0:00.0", "0000:000:00.0", "0000:00:00.0 ", "x000:00:00.0",
		"123456789:00:00.0", "0000-00:00.0", "0000:00:00.00", "pci0000:00"};
	struct pci_address address;
	char text[PCI_ADDRESS_TEXT];

	for (unsigned k = 0; k < sizeof(good) / sizeof(*good); k++) {
		assert_true(pci_address_parse(good[k], &address));
		assert_string_equal(pci_address_text(text, address), good[k]);
	}
	for (unsigned k = 0; k < sizeof(bad) / sizeof(*bad); k++)
		assert_false(pci_address_parse(bad[k], &address));
	assert_true(pci_address_parse("ABCD:EF:1A.5", &address));
	assert_string_equal(pci_address_text(text, address), "abcd:ef:1a.5");
}

static void test_whole(void **state)
{
	static const uint8_t types[] = {
		PCI_EXP_TYPE_DOWNSTREAM, PCI_EXP_TYPE_UPSTREAM, PCI_EXP_TYPE_ROOT_PORT};
	static const char *const addresses[] = {"0000:02:01.0", "0000:01:00.0", "0000:00:01.0"};
	char text[PCI_ADDRESS_TEXT];

	tree_text(&tree, "bus/pci/devices/0000:04:00.0/vfio-dev/vfio1/dev", "511:1\n");
	assert_int_equal(read_it("0000:04:00.0"), 0);
	assert_int_equal(function.vendor, P2PNIC_PCI_VENDOR);
	assert_int_equal(function.device, P2PNIC_PCI_DEVICE);
	assert_int_equal(function.class, P2PNIC_PCI_CLASS);
	assert_string_equal(function.driver, PCI_DRIVER_VFIO);
	assert_string_equal(function.cdev, "vfio1");
	assert_int_equal(function.group, 11);
	assert_int_equal(function.numa_node, 0);
	assert_string_equal(function.link.speed, "16.0 GT/s PCIe");
	assert_int_equal(function.link.width, 16);
	assert_string_equal(function.host, "pci0000:00");
	assert_int_equal(function.bar[0].bytes, 0x10000);
	assert_int_equal(function.bar[0].start, 0xfe000000);
	assert_int_equal(function.bar[1].bytes, 0);
	assert_int_equal(function.bar[2].bytes, 0x1000000);
	assert_int_equal(function.bar[2].flags, 0x14220c);
	assert_int_equal(function.bar[4].start, 0x4001000000);
	assert_int_equal(function.bar[5].bytes, 0);
	assert_int_equal(function.bridges, 3);
	for (unsigned k = 0; k < 3; k++) {
		const struct pci_bridge *bridge = &function.bridge[k];

		assert_string_equal(pci_address_text(text, bridge->address), addresses[k]);
		assert_int_equal(bridge->type, types[k]);
		assert_int_equal(bridge->acs.state, k == 1 ? PCI_ACS_ABSENT : PCI_ACS_PRESENT);
		assert_int_equal(bridge->link.width, 16);
	}
	assert_int_equal(function.bridge[0].acs.control, PCI_ACS_SV | PCI_ACS_RR);
	assert_int_equal(function.bridge[0].vendor, 0x104c);
}

/* What may be missing, and what it is then. */
static void test_unknown(void **state)
{
	static const char *const gone[] = {"numa_node", "current_link_speed", "current_link_width",
		"config", "driver", "iommu_group"};
	char path[128];

	for (unsigned k = 0; k < sizeof(gone) / sizeof(*gone); k++) {
		snprintf(path, sizeof(path), NIC "/%s", gone[k]);
		tree_remove(&tree, path);
		assert_int_equal(read_it("0000:03:00.0"), 0);
	}
	assert_int_equal(function.numa_node, PCI_NUMA_UNKNOWN);
	assert_string_equal(function.link.speed, "");
	assert_int_equal(function.link.width, 0);
	assert_string_equal(function.driver, "");
	assert_int_equal(function.group, PCI_GROUP_NONE);

	tree_text(&tree, NIC "/numa_node", "-1\n");
	tree_text(&tree, NIC "/current_link_speed", "Unknown\n");
	tree_text(&tree, NIC "/current_link_width", "4294967296\n");
	assert_int_equal(read_it("0000:03:00.0"), 0);
	assert_int_equal(function.numa_node, PCI_NUMA_UNKNOWN);
	assert_string_equal(function.link.speed, "");
	assert_int_equal(function.link.width, 0);

	/* A BAR that was given no addresses. */
	tree_text(&tree, NIC "/resource",
		"0x0 0xffff 0x40200\n0x0 0x0 0x0\n0x0 0x0 0x0\n0x0 0x0 0x0\n0x0 0x0 0x0\n"
		"0x0 0x0 0x0\n");
	assert_int_equal(read_it("0000:03:00.0"), 0);
	assert_int_equal(function.bar[0].bytes, 0x10000);
	assert_int_equal(function.bar[0].start, 0);
}

/* Of a port on the way only its place must be right. */
static void test_port(void **state)
{
	uint8_t config[PCI_CFG_SPACE_EXP_SIZE];

	tree_config(config, &(struct tree_function){.type = PCI_EXP_TYPE_DOWNSTREAM, .acs = 0});
	tree_write(&tree, PORT "/config", config, 64);
	assert_int_equal(read_it("0000:03:00.0"), 0);
	assert_int_equal(function.bridge[0].acs.state, PCI_ACS_NEEDS_ROOT);
	assert_int_equal(function.bridge[0].type, PCI_TYPE_UNKNOWN);
	tree_write(&tree, PORT "/config", config, 256);
	assert_int_equal(read_it("0000:03:00.0"), 0);
	assert_int_equal(function.bridge[0].acs.state, PCI_ACS_ABSENT);
	assert_int_equal(function.bridge[0].type, PCI_EXP_TYPE_DOWNSTREAM);
	config[0x140] = 1; /* error reporting again, and back to 0x100 */
	config[0x143] = 0x10;
	tree_write(&tree, PORT "/config", config, sizeof(config));
	assert_int_equal(read_it("0000:03:00.0"), 0);
	assert_int_equal(function.bridge[0].acs.state, PCI_ACS_UNKNOWN);
	tree_remove(&tree, PORT "/config");
	tree_text(&tree, PORT "/config/folder", "");
	tree_text(&tree, PORT "/vendor", "?");
	tree_remove(&tree, "bus/pci/devices/0000:01:00.0");
	assert_int_equal(read_it("0000:03:00.0"), 0);
	assert_int_equal(function.bridges, 3);
	assert_int_equal(function.bridge[0].acs.state, PCI_ACS_UNKNOWN);
	assert_int_equal(function.bridge[0].vendor, 0);
	assert_int_equal(function.bridge[1].acs.state, PCI_ACS_UNKNOWN);
}

/* Each ends in a sentence that names the file. */
static void test_broken(void **state)
{
	static const struct {
		const char *file, *text; /* NULL: removed */
		int status;
	} texts[] = {
		{"vendor", NULL, -ENOENT},
		{"vendor", "", -EINVAL},
		{"vendor", "1209\n", -EINVAL},
		{"vendor", "\377\033[2J\n", -EINVAL},
		{"device", "0xx\n", -EINVAL},
		{"device", "0x12345\n", -EINVAL},
		{"class", "0x02 0000\n", -EINVAL},
		{"class", NULL, -ENOENT},
		{"resource", NULL, -ENOENT},
		{"resource", "", -EINVAL},
		{"resource", "0x0 0x0 0x0\n0x0 0x0\n0x0 0x0 0x0\n", -EINVAL},
		{"resource", "0x10 0x1 0x200\n", -EINVAL},
		{"resource", "0x0 0x00000000000000000ffff 0x200\n", -EINVAL},
		{"resource", "0x0 0x0 0x0\n0x0 0x0 0x0\n0x0 0x0 0x0\n", -EINVAL},
	};
	char path[128];

	for (unsigned k = 0; k < sizeof(texts) / sizeof(*texts); k++) {
		set_up(state);
		snprintf(path, sizeof(path), NIC "/%s", texts[k].file);
		if (texts[k].text)
			tree_text(&tree, path, texts[k].text);
		else
			tree_remove(&tree, path);
		assert_int_equal(read_it("0000:03:00.0"), texts[k].status);
		assert_non_null(strstr(error.text, "0000:03:00.0: "));
		assert_non_null(strstr(error.text, texts[k].file));
		assert_null(strchr(error.text, '\033'));
		tear_down(state);
	}
}

static void test_broken_links(void **state)
{
	static const struct {
		const char *file, *target;
		int status;
		const char *why;
	} links[] = {
		{NIC "/iommu_group", "../../kernel/iommu_groups/ten", -EINVAL,
			"'ten' is no number"},
		{NIC "/iommu_group", "/groups/99999999999", -EINVAL, "'99999999999' is no number"},
		{NIC "/iommu_group", "/groups/-1", -EINVAL, "'-1' is no number"},
		{NIC "/driver", "drivers/", -EINVAL, "driver: Invalid argument"},
		{NIC "/driver", "drivers/\033[2J", -EINVAL, "driver: Invalid argument"},
		{NIC "/driver",
			"/drivers/a-name-that-is-longer-than-any-driver-has-ever-had-in-any-kernel",
			-EINVAL, "driver: Invalid argument"},
		{NIC "/vendor", "vendor", -ELOOP, "vendor: Too many levels"},
		{NIC, "0000:03:00.0", -ELOOP, "Too many levels of symbolic links"},
		{NIC, "0000:04:00.0", -EINVAL, "leads to "},
		{NIC, "../../../elsewhere/0000:03:00.0", -EINVAL, "below a host bridge"},
		{NIC, "../../../0000:03:00.0", -EINVAL, "below a host bridge"},
	};
	char path[128];

	for (unsigned k = 0; k < sizeof(links) / sizeof(*links); k++) {
		set_up(state);
		/* Folders that links lead to are whole NICs, at another place. */
		for (unsigned place = 0; place < 2; place++)
			for (unsigned file = 0; file < 4; file++) {
				static const char *const name[] = {
					"vendor", "device", "class", "resource"};
				static const char *const text[] = {
					"0x1209\n", "0x0002\n", "0x020000\n", BARS};

				snprintf(path, sizeof(path), "%s0000:03:00.0/%s",
					place ? "elsewhere/" : "", name[file]);
				tree_text(&tree, path, text[file]);
			}
		if (strcmp(links[k].file, NIC) != 0) {
			snprintf(path, sizeof(path), "%s", links[k].file);
			tree_remove(&tree, path);
		}
		tree_link(&tree, links[k].file, links[k].target);
		assert_int_equal(read_it("0000:03:00.0"), links[k].status);
		assert_non_null(strstr(error.text, links[k].why));
		tear_down(state);
	}
}

/* A driver that is no link, a pipe that nobody writes into, a function that is not there. */
static void test_wrong_kinds(void **state)
{
	char path[256];

	assert_int_equal(read_it("0000:77:00.0"), -ENOENT);
	tree_remove(&tree, NIC "/driver");
	tree_text(&tree, NIC "/driver", "vfio-pci");
	assert_int_equal(read_it("0000:03:00.0"), -EINVAL);
	tree_remove(&tree, "bus/pci/devices/0000:04:00.0/iommu_group");
	tree_text(&tree, "bus/pci/devices/0000:04:00.0/iommu_group", "11");
	assert_int_equal(read_it("0000:04:00.0"), -EINVAL);
	assert_non_null(strstr(error.text, "iommu_group: Invalid argument"));
	tree_remove(&tree, NIC "/vendor");
	snprintf(path, sizeof(path), "%s/" NIC "/vendor", tree.sysfs);
	assert_int_equal(mkfifo(path, 0644), 0);
	assert_int_equal(read_it("0000:03:00.0"), -EINVAL);
}

static void test_deep(void **state)
{
	char above[1024] = "pci0000:80";
	struct tree_function f = {.above = above, .address = "0000:ff:00.0", .acs = TREE_NO_ACS};
	size_t length;

	for (unsigned k = 0; k < PCI_BRIDGES_MAX; k++) {
		length = strlen(above);
		snprintf(above + length, sizeof(above) - length, "/0000:%02x:00.0", 0x80 + k);
	}
	tree_add(&tree, &f);
	assert_int_equal(read_it("0000:ff:00.0"), 0);
	assert_int_equal(function.bridges, PCI_BRIDGES_MAX);
	length = strlen(above);
	snprintf(above + length, sizeof(above) - length, "/0000:fe:00.0");
	f.address = "0000:ff:01.0";
	tree_add(&tree, &f);
	assert_int_equal(read_it("0000:ff:01.0"), -ELOOP);
	assert_non_null(strstr(error.text, "more than 32 bridges"));
}

static void test_group(void **state)
{
	static struct pci_group group;
	char path[128], text[PCI_ADDRESS_TEXT];

	tree_remove_all(&tree);
	tree_make(&tree);
	tree_add_switch(&tree, 2, 0, 7, 0);
	tree_text(&tree, "kernel/iommu_groups/7/devices/platform-thing", "");
	assert_int_equal(pci_group_read(&group, tree.sysfs, 7, &error), 0);
	assert_int_equal(group.members, 6); /* root port, upstream, two of each */
	assert_string_equal(pci_address_text(text, group.member[0].address), "0000:00:01.0");
	assert_string_equal(group.member[0].driver, "pcieport");
	assert_string_equal(pci_address_text(text, group.member[5].address), "0000:04:00.0");
	assert_int_equal(pci_group_read(&group, tree.sysfs, 8, &error), -ENOENT);
	assert_non_null(strstr(error.text, "IOMMU group 8"));
	for (unsigned k = 0; k < PCI_GROUP_MEMBERS; k++) {
		snprintf(path, sizeof(path), "kernel/iommu_groups/9/devices/0000:%02x:00.0", k);
		tree_text(&tree, path, "");
	}
	assert_int_equal(pci_group_read(&group, tree.sysfs, 9, &error), 0);
	assert_int_equal(group.members, PCI_GROUP_MEMBERS);
	tree_text(&tree, "kernel/iommu_groups/9/devices/0000:00:00.1", "");
	assert_int_equal(pci_group_read(&group, tree.sysfs, 9, &error), -E2BIG);
	tree_remove(&tree, NIC "/driver");
	tree_text(&tree, NIC "/driver/x", "");
	assert_int_equal(pci_group_read(&group, tree.sysfs, 7, &error), -EINVAL);
}

static void test_harmless(void **state)
{
	static const char *const harmless[] = {
		"", "vfio-pci", "mlx5_vfio_pci", "pci-stub", "pcieport"};

	for (unsigned k = 0; k < sizeof(harmless) / sizeof(*harmless); k++)
		assert_true(pci_driver_harmless(harmless[k]));
	assert_false(pci_driver_harmless("nvme"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_address),
		cmocka_unit_test_setup_teardown(test_whole, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_unknown, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_port, set_up, tear_down),
		cmocka_unit_test(test_broken),
		cmocka_unit_test(test_broken_links),
		cmocka_unit_test_setup_teardown(test_wrong_kinds, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_deep, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_group, set_up, tear_down),
		cmocka_unit_test(test_harmless),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
