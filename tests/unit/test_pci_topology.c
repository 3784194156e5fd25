/* SPDX-License-Identifier: BSD-3-Clause */
/* Who reaches whom, by what way and why not, in hosts of several kinds. */
#include "driver/pci_topology.h"

#include <setjmp.h>
#include <stdarg.h>
/* cmocka wants those first. */
#include <cmocka.h>
#include <errno.h>
#include <linux/pci_regs.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/inject.h"
#include "tests/unit/pci_tree.h"

static struct tree tree;
static struct pci_topology *topology;
static struct error error;

static int set_up(void **state)
{
	tree_make(&tree);
	return 0;
}

static int tear_down(void **state)
{
	if (topology)
		pci_topology_free(topology);
	topology = NULL;
	tree_remove_all(&tree);
	return 0;
}

static void look(unsigned nics)
{
	if (topology)
		pci_topology_free(topology);
	assert_int_equal(pci_topology_read(&topology, tree.sysfs, tree.dev, &error), 0);
	assert_int_equal(topology->nics, nics);
}

static void expect(unsigned a, unsigned b, enum pci_way way, const char *reason)
{
	for (unsigned turn = 0; turn < 2; turn++) {
		const struct pci_pair pair =
			pci_topology_pair(topology, turn ? a : b, turn ? b : a);

		assert_string_equal(pci_way_name(pair.way), pci_way_name(way));
		if (!strstr(pair.reason, reason))
			fail_msg("'%s' is not in '%s'", reason, pair.reason);
	}
}

static void expect_all(enum pci_way way, const char *reason)
{
	assert_int_equal(topology->problems, 0);
	for (unsigned a = 0; a < topology->nics; a++)
		for (unsigned b = a + 1; b < topology->nics; b++)
			expect(a, b, way, reason);
}

static void add(const char *above, const char *address, const char *driver, int group)
{
	tree_add(&tree, &(struct tree_function){.above = above,
				.address = address,
				.driver = driver,
				.group = group,
				.acs = TREE_NO_ACS});
}

static void add_port(const char *above, const char *address, unsigned type, int acs)
{
	tree_add(&tree, &(struct tree_function){.above = above,
				.address = address,
				.identity = 0x1b36000c,
				.driver = "pcieport",
				.type = type,
				.acs = acs});
}

static void test_none(void **state)
{
	look(0);
	assert_true(topology->vfio);
	tree_remove(&tree, "bus/pci");
	tree_text(&tree, "bus/usb/x", "");
	look(0);
	assert_false(topology->vfio);
	pci_topology_free(topology);
	topology = NULL;
	tree_remove(&tree, "bus");
	assert_int_equal(pci_topology_read(&topology, tree.sysfs, NULL, &error), -ENOENT);
	assert_non_null(strstr(error.text, "is no sysfs"));
	tree_text(&tree, "bus/pci/devices", "");
	assert_int_equal(pci_topology_read(&topology, tree.sysfs, NULL, &error), -ENOTDIR);
}

static void test_switch(void **state)
{
	tree_add_switch(&tree, 4, PCI_ACS_SV | PCI_ACS_TB | PCI_ACS_UF, 0, 0);
	/* Another maker's card behind a port of its own. */
	add_port("pci0000:00", "0000:00:02.0", PCI_EXP_TYPE_ROOT_PORT, 0);
	tree_add(&tree, &(struct tree_function){.above = "pci0000:00/0000:00:02.0",
				.address = "0000:09:00.0",
				.identity = 0x80861521});
	look(4);
	expect_all(PCI_WAY_SWITCH, "switch 0000:01:00.0 is above both, and no port redirects");
	for (unsigned k = 0; k < 4; k++) {
		assert_int_equal(topology->nic[k].function.address.bus, 3 + k);
		assert_int_equal(topology->nic[k].group->members, 1);
		assert_null(pci_nic_obstacle(&topology->nic[k]));
	}
}

static void test_acs(void **state)
{
	static const int redirects[] = {PCI_ACS_RR, PCI_ACS_CR, PCI_ACS_EC};
	uint8_t config[PCI_CFG_SPACE_EXP_SIZE];

	tree_add_switch(&tree, 4, PCI_ACS_SV | PCI_ACS_RR | PCI_ACS_CR | PCI_ACS_UF, 0, 0);
	look(4);
	expect_all(PCI_WAY_ROOT, "sends transfers up to the root complex");
	for (unsigned k = 0; k < 3; k++) { /* at one port only: its pairs, and no others */
		tree_remove_all(&tree);
		tree_make(&tree);
		tree_add_switch(&tree, 3, PCI_ACS_SV, 0, 0);
		tree_config(config, &(struct tree_function){
					    .type = PCI_EXP_TYPE_DOWNSTREAM, .acs = redirects[k]});
		tree_write(&tree, "bus/pci/devices/0000:02:01.0/config", config, sizeof(config));
		look(3);
		expect(0, 2, PCI_WAY_SWITCH, "no port redirects");
		expect(0, 1, PCI_WAY_ROOT, "ACS at port 0000:02:01.0 sends");
		expect(1, 2, PCI_WAY_ROOT, "ACS at port 0000:02:01.0 sends");
	}
	/* That one redirects is known, though of another it is unknown. */
	tree_write(&tree, "bus/pci/devices/0000:02:00.0/config", config, 64);
	look(3);
	expect(0, 1, PCI_WAY_ROOT, "ACS at port 0000:02:01.0 sends");
	expect(0, 2, PCI_WAY_UNKNOWN, "ACS at port 0000:02:00.0 redirects is unknown (needs root)");
	tree_remove(&tree, "bus/pci/devices/0000:02:00.0/config");
	look(3);
	expect(0, 2, PCI_WAY_UNKNOWN, "its configuration space is unreadable");
}

static void test_without_root(void **state)
{
	tree_add_switch(&tree, 4, 0, 0, 64);
	look(4);
	expect_all(PCI_WAY_UNKNOWN, "(needs root)");
	tree_remove_all(&tree);
	tree_make(&tree);
	tree_add_switch(&tree, 4, PCI_ACS_RR, 0, 256); /* no extended space: no ACS */
	look(4);
	expect_all(PCI_WAY_SWITCH, "no port redirects");
}

static void test_root_complex(void **state)
{
	for (unsigned k = 0; k < 3; k++) {
		char port[16], above[64], address[16];

		snprintf(port, sizeof(port), "0000:00:%02x.0", 1 + k);
		snprintf(above, sizeof(above), "pci0000:00/%s", port);
		snprintf(address, sizeof(address), "0000:%02x:00.0", 1 + k);
		add_port("pci0000:00", port, PCI_EXP_TYPE_ROOT_PORT, PCI_ACS_RR);
		add(above, address, "vfio-pci", 20 + (int)k);
	}
	look(3);
	expect_all(PCI_WAY_ROOT, "no bridge is above both: only where pci0000:00 routes between");
	expect(0, 2, PCI_WAY_ROOT, "0000:00:01.0");
	expect(0, 2, PCI_WAY_ROOT, "0000:00:03.0");
	/* On the root bus itself, and behind another host bridge. */
	add("pci0000:00", "0000:00:1f.0", NULL, 0);
	add("pci0000:80", "0000:80:01.0", NULL, 0);
	look(5);
	assert_int_equal(topology->nic[0].function.bridges, 0);
	expect(0, 1, PCI_WAY_ROOT, "0000:00:1f.0");
	expect(0, 4, PCI_WAY_ROOT, "only where the host routes between them");
	assert_null(topology->nic[0].group);
}

static void test_domains(void **state)
{
	add("pci0000:00", "0000:00:01.0", NULL, 0);
	add("pci0000:00/0000:00:0e.0/pci10000:e0", "10000:e0:01.0", NULL, 0); /* as VMD's */
	look(2);
	expect(0, 1, PCI_WAY_NONE, "PCI domains ");
	assert_string_equal(topology->nic[1].function.host, "pci10000:e0");
}

static void test_one_group(void **state)
{
	tree_add_switch(&tree, 4, TREE_NO_ACS, 5, 0);
	look(4);
	assert_int_equal(topology->groups, 1);
	assert_int_equal(topology->nic[3].group->members, 10);
	expect_all(PCI_WAY_SWITCH, "no port redirects");
	/* A disk in it, in use; given away; without a driver. */
	tree_add(&tree, &(struct tree_function){.above = "pci0000:00/0000:00:01.0",
				.address = "0000:01:00.1",
				.identity = 0x144da808,
				.driver = "nvme",
				.group = 5});
	look(4);
	expect_all(PCI_WAY_NONE, "IOMMU group 5 holds 0000:01:00.1 too, with driver nvme");
	assert_int_equal(pci_nic_obstacle(&topology->nic[0])->address.function, 1);
	tree_link(&tree, "bus/pci/devices/0000:01:00.1/driver", "drivers/pci-stub");
	look(4);
	expect_all(PCI_WAY_SWITCH, "");
	tree_remove(&tree, "bus/pci/devices/0000:01:00.1/driver");
	look(4);
	expect_all(PCI_WAY_SWITCH, "");
	/* A NIC with a driver of its own is no obstacle to itself, but to the others. */
	tree_link(&tree, "bus/pci/devices/0000:03:00.0/driver", "drivers/uio_pci_generic");
	look(4);
	assert_null(pci_nic_obstacle(&topology->nic[0]));
	expect_all(PCI_WAY_NONE, "uio_pci_generic");
}

static void test_one_device(void **state)
{
	add_port("pci0000:00", "0000:00:01.0", PCI_EXP_TYPE_ROOT_PORT, 0);
	add("pci0000:00/0000:00:01.0", "0000:01:00.0", NULL, 0);
	add("pci0000:00/0000:00:01.0", "0000:01:00.1", NULL, 0);
	look(2);
	expect_all(PCI_WAY_PORT, "both are behind 0000:00:01.0, which is no switch");
	/* Behind bridges of a conventional bus. */
	add_port("pci0000:00", "0000:00:02.0", PCI_EXP_TYPE_PCI_BRIDGE, TREE_NO_ACS);
	for (unsigned k = 0; k < 2; k++) {
		char bridge[16], above[64], address[16];

		snprintf(bridge, sizeof(bridge), "0000:02:%02x.0", k);
		snprintf(above, sizeof(above), "pci0000:00/0000:00:02.0/%s", bridge);
		snprintf(address, sizeof(address), "0000:%02x:00.0", 3 + k);
		add_port("pci0000:00/0000:00:02.0", bridge, TREE_NO_TYPE, TREE_NO_ACS);
		add(above, address, NULL, 0);
	}
	look(4);
	expect(2, 3, PCI_WAY_PORT, "0000:00:02.0");
}

/* A switch below a switch: the nearest one above both counts, and every port below it. */
static void test_nested(void **state)
{
	static const char lower[] =
		"pci0000:00/0000:00:01.0/0000:01:00.0/0000:02:00.0/0000:03:00.0";
	uint8_t config[PCI_CFG_SPACE_EXP_SIZE];
	char above[128];

	tree_add_switch(&tree, 2, 0, 0, 0);
	tree_add(&tree, &(struct tree_function){
				.above = "pci0000:00/0000:00:01.0/0000:01:00.0/0000:02:00.0",
				.address = "0000:03:00.0",
				.identity = 0x104c8232,
				.type = PCI_EXP_TYPE_UPSTREAM,
				.acs = TREE_NO_ACS});
	for (unsigned k = 0; k < 2; k++) {
		char port[16], address[16];

		snprintf(port, sizeof(port), "0000:10:%02x.0", k);
		snprintf(above, sizeof(above), "%s/%s", lower, port);
		snprintf(address, sizeof(address), "0000:%02x:00.0", 0x11 + k);
		add_port(lower, port, PCI_EXP_TYPE_DOWNSTREAM, 0);
		add(above, address, NULL, 0);
	}
	look(3); /* 0000:04:00.0 behind the upper one, 0000:11:00.0 and 0000:12:00.0 */
	expect(1, 2, PCI_WAY_SWITCH, "switch 0000:03:00.0");
	expect(0, 1, PCI_WAY_SWITCH, "switch 0000:01:00.0");
	tree_config(config,
		&(struct tree_function){.type = PCI_EXP_TYPE_DOWNSTREAM, .acs = PCI_ACS_RR});
	tree_write(&tree, "bus/pci/devices/0000:02:00.0/config", config, sizeof(config));
	look(3);
	expect(1, 2, PCI_WAY_SWITCH, "switch 0000:03:00.0");
	expect(0, 1, PCI_WAY_ROOT, "ACS at port 0000:02:00.0");
}

static void test_access(void **state)
{
	const uid_t user = geteuid();
	char path[128];

	tree_add_switch(&tree, 2, 0, 0, 0);
	tree_text(&tree, "bus/pci/devices/0000:04:00.0/vfio-dev/vfio7/dev", "");
	look(2);
	assert_int_equal(topology->nic[0].group_access, -ENOENT);
	assert_int_equal(topology->nic[0].cdev_access, PCI_NOT_LOOKED);
	assert_int_equal(topology->nic[1].cdev_access, -ENOENT);
	tree_text(&tree, "../dev/vfio/10", "");
	tree_text(&tree, "../dev/vfio/11", "");
	tree_text(&tree, "../dev/vfio/devices/vfio7", "");
	snprintf(path, sizeof(path), "%s/vfio/11", tree.dev);
	assert_int_equal(chmod(path, 0), 0);
	assert_int_equal(chmod(tree.base, 0755), 0);
	snprintf(path, sizeof(path), "%s/vfio/10", tree.dev);
	assert_int_equal(chmod(path, 0666), 0);
	snprintf(path, sizeof(path), "%s/vfio/devices/vfio7", tree.dev);
	assert_int_equal(chmod(path, 0666), 0);
	if (user == 0)
		assert_int_equal(seteuid(65534), 0);
	look(2);
	if (user == 0)
		assert_int_equal(seteuid(0), 0);
	assert_int_equal(topology->nic[0].group_access, 0);
	assert_int_equal(topology->nic[1].group_access, -EACCES);
	assert_int_equal(topology->nic[1].cdev_access, 0);
	pci_topology_free(topology);
	assert_int_equal(pci_topology_read(&topology, tree.sysfs, NULL, &error), 0);
	assert_int_equal(topology->nic[0].group_access, PCI_NOT_LOOKED);
}

/* The others are found all the same, and what is wrong with the first broken one is said. */
static void test_broken(void **state)
{
	tree_add_switch(&tree, 4, 0, 0, 0);
	tree_text(&tree, "bus/pci/devices/0000:03:00.0/vendor", "nonsense\n");
	look(3);
	assert_int_equal(topology->problems, 1);
	assert_non_null(strstr(topology->first.text, "0000:03:00.0"));
	assert_non_null(strstr(topology->first.text, "'nonsense'"));
	tree_text(&tree, "bus/pci/devices/0000:04:00.0/resource", "nonsense\n");
	tree_link(&tree, "bus/pci/devices/0000:05:00.0", "0000:05:00.0");
	tree_remove(&tree, "kernel/iommu_groups/13");
	look(1);
	assert_int_equal(topology->problems, 4);
	assert_int_equal(topology->nic[0].group->members, 0);
	assert_null(pci_nic_obstacle(&topology->nic[0]));
	pci_topology_free(topology);
	topology = NULL;
}

static int read_it(void *context)
{
	int status;

	inject_arm();
	status = pci_topology_read(&topology, tree.sysfs, tree.dev, &error);
	inject_disarm();
	if (!status) {
		/* A NIC is there with all that a driver acts on, or not at all. */
		for (unsigned k = 0; k < topology->nics; k++)
			assert_int_equal(topology->nic[k].function.bar[4].bytes, 0x1000000);
		assert_true(topology->nics + topology->problems >= 2);
		pci_topology_free(topology);
	}
	topology = NULL;
	return status;
}

static void test_calls_that_fail(void **state)
{
	tree_add_switch(&tree, 2, 0, 0, 0);
	assert_true(inject_each(read_it, NULL, &error) > 20);
}

static void test_too_many(void **state)
{
	char address[16];

	for (unsigned k = 0; k <= P2PNIC_NICS_MAX; k++) {
		if (k == P2PNIC_NICS_MAX)
			look(P2PNIC_NICS_MAX);
		snprintf(address, sizeof(address), "0000:%02x:00.0", k);
		add("pci0000:00", address, NULL, 1 + (int)k);
	}
	pci_topology_free(topology);
	topology = NULL;
	assert_int_equal(pci_topology_read(&topology, tree.sysfs, NULL, &error), -E2BIG);
	assert_non_null(strstr(error.text, "more than 64 NICs"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_none, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_switch, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_acs, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_without_root, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_root_complex, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_domains, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_one_group, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_one_device, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_nested, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_access, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_broken, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_calls_that_fail, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_too_many, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
