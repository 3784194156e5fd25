/* SPDX-License-Identifier: BSD-3-Clause */
/* Questions to the kernel about an interface, and settings given back; in a namespace of the test's
 * own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "inject.h"
#include "port_rig.h"
#include "tests/unit/descriptors.h"

#include <ports/interface.h>

#include <errno.h>
#include <linux/if_link.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

static struct error error;

static void test_names(void **state)
{
	static const struct {
		const char *name;
		int error;
		const char *says;
	} cases[] = {
		{"", -EINVAL, "'' is no interface name"},
		{"sixteen-and-more", -EINVAL, "is no interface name"},
		{"pp-none", -ENODEV, "pp-none: no such interface in this network namespace"},
		{"pp-tun", -EPROTOTYPE, "pp-tun: not Ethernet (ARPHRD type 65534)"},
		{"lo", 0, ""},
		{"pp-port", 0, ""},
	};
	struct interface interface;

	if (rig_run("ip tuntap add pp-tun mode tun"))
		skip();
	for (size_t k = 0; k < sizeof(cases) / sizeof(*cases); k++) {
		int before = open_descriptors();

		error.text[0] = '\0';
		assert_int_equal(interface_open(&interface, cases[k].name, &error), cases[k].error);
		if (!strstr(error.text, cases[k].says))
			fail_msg("'%s', not '%s'", error.text, cases[k].says);
		if (!cases[k].error)
			interface_close(&interface);
		assert_int_equal(open_descriptors(), before);
	}
	assert_int_equal(rig_run("ip link del pp-tun"), 0);
}

/* The kernel tells a moment later, and of a lost carrier at most once a second. */
static void wait_link(struct interface *interface, bool link)
{
	struct pollfd event = {.fd = interface->events, .events = POLLIN};

	interface_refresh(interface);
	for (unsigned k = 0; interface->link != link && k < 100; k++) {
		poll(&event, 1, 100);
		interface_refresh(interface);
	}
	assert_int_equal(interface->link, link);
}

/* Down, without carrier, deleted: each has its words, and a question that fails changes nothing. */
static void test_faults(void **state)
{
	struct interface interface;
	struct port_info info = {0};

	assert_int_equal(interface_open(&interface, "pp-port", &error), 0);
	wait_link(&interface, true);
	interface_info(&interface, &info);
	assert_string_equal(info.fault.text, "");
	assert_true(info.link);
	assert_int_equal(info.mtu, 1778);
	assert_int_equal(rig_run("ip link set pp-wire down"), 0);
	wait_link(&interface, false);
	interface_info(&interface, &info);
	assert_string_equal(info.fault.text, "pp-port: no carrier");
	assert_int_equal(rig_run("ip link set pp-port down"), 0);
	assert_false(interface_refresh(&interface));
	interface_info(&interface, &info);
	assert_non_null(strstr(info.fault.text, "interface is down; `ip link set pp-port up`"));
	assert_int_equal(interface_set_up(&interface), 0);
	assert_int_equal(rig_run("ip link set pp-wire up"), 0);
	wait_link(&interface, true);
	for (unsigned k = 0; k < 2; k++) {
		inject_one("ioctl", k, ENOMEM);
		assert_false(interface_refresh(&interface));
		assert_true(interface.link && interface.up && interface.index);
	}
	inject_one("ioctl", 1, ENODEV); /* gone between two questions */
	assert_false(interface_refresh(&interface));
	assert_false(interface.link);
	assert_int_equal(rig_run("ip link del pp-port"), 0);
	info = (struct port_info){0};
	assert_true(interface_refresh(&interface));
	interface_info(&interface, &info);
	assert_non_null(strstr(info.fault.text, "interface deleted"));
	assert_int_equal(interface_set_up(&interface), -ENODEV);
	assert_int_equal(interface_set_mtu(&interface, 1500), -ENODEV);
	assert_true(interface_is_virtual(
		&interface)); /* that cannot be asked: no hardware to rely on */
	interface_close(&interface);
}

static bool says(const struct interface *interface, int ms)
{
	struct pollfd event = {.fd = interface->events, .events = POLLIN};

	return poll(&event, 1, ms) == 1;
}

/* A change of this interface's makes the descriptor readable until the state is read; changes of
 * others do not, not even where they are very many. Lost messages are as good as one. */
static void test_events(void **state)
{
	struct interface interface;

	assert_int_equal(interface_open(&interface, "pp-port", &error), 0);
	wait_link(&interface, true);
	assert_false(says(&interface, 0));
	assert_int_equal(rig_run("ip link set pp-wire down"), 0);
	assert_true(says(&interface, 10000));
	wait_link(&interface, false);
	assert_int_equal(rig_run("ip link set pp-wire up"), 0);
	wait_link(&interface, true);

	assert_int_equal(rig_run("ip link add pp-other type veth peer name pp-far &&"
				 " for k in $(seq 50); do ip link set pp-other up;"
				 " ip link set pp-other down; done && ip link del pp-other"),
		0);
	assert_false(says(&interface, 0));
	assert_int_equal(rig_run("for k in $(seq 1000 1100); do"
				 " echo link set pp-port mtu $k; done | ip -batch -"),
		0);
	assert_true(says(&interface, 10000));
	interface_refresh(&interface);
	assert_int_equal(interface.mtu, 1100);
	assert_false(says(&interface, 0));

	/* Another one of that name is listened to when it was found. */
	assert_int_equal(rig_run("ip link del pp-port &&"
				 " ip link add pp-gap type veth peer name pp-far"),
		0);
	assert_true(says(&interface, 10000));
	assert_true(interface_refresh(&interface));
	assert_int_equal(rig_veth(), 0);
	assert_int_equal(rig_run("ip link del pp-gap"), 0);
	assert_true(interface_refresh(&interface));
	wait_link(&interface, true);
	interface_refresh(&interface);
	assert_int_equal(rig_run("ip link set pp-port mtu 1200"), 0);
	assert_true(says(&interface, 10000));
	interface_close(&interface);
}

static void test_settings(void **state)
{
	struct interface interface;
	struct rtnl_link_stats64 statistics;
	unsigned used, possible;

	assert_int_equal(interface_open(&interface, "pp-port", &error), 0);
	assert_true(interface_is_virtual(&interface));
	assert_true(interface_has_driver(&interface, "veth"));
	assert_false(interface_has_driver(&interface, "vet"));
	inject_one("ioctl", 0, EOPNOTSUPP);
	assert_false(interface_has_driver(&interface, "veth"));
	assert_int_equal(interface_set_mtu(&interface, 1400), 0);
	assert_int_equal(interface.mtu, 1400);
	assert_true(interface_statistics(&interface, &statistics));
	inject_one("send", 0, ENOBUFS);
	assert_false(interface_statistics(&interface, &statistics));
	assert_int_equal(statistics.tx_packets, 0);
	inject_one("recv", 0, ENOMEM);
	assert_false(interface_statistics(&interface, &statistics));
	inject_one("ioctl", 0, EOPNOTSUPP);
	interface_channels(&interface, &used, &possible);
	assert_int_equal(used, 1);
	assert_int_equal(possible, 1);
	interface_channels(&interface, &used, &possible);
	assert_true(used >= 1 && possible >= used);
	inject_one("ioctl", 0, EOPNOTSUPP);
	assert_int_equal(interface_set_channels(&interface, 1), -EOPNOTSUPP);

	/* Merging goes off while the port is there, and comes back with its end. */
	assert_int_equal(rig_run("ethtool -K pp-port gro on"), 0);
	assert_int_equal(interface_no_merging(&interface), 0);
	assert_int_equal(
		rig_run("ethtool -k pp-port | grep -q '^generic-receive-offload: off'"), 0);
	interface_close(&interface);
	assert_int_equal(rig_run("ethtool -k pp-port | grep -q '^generic-receive-offload: on'"), 0);
}

/* Two queues: one is left, and asked for by the kernel's word for it. */
static void test_queues(void **state)
{
	struct interface interface;
	unsigned used, possible;

	if (rig_run("ip link add pp-two numrxqueues 2 numtxqueues 2 type veth peer name pp-far "
		    "numrxqueues 2 numtxqueues 2 && ethtool -L pp-two rx 2 tx 2"))
		skip();
	assert_int_equal(interface_open(&interface, "pp-two", &error), 0);
	interface_channels(&interface, &used, &possible);
	assert_int_equal(possible, 2);
	assert_int_equal(interface_set_channels(&interface, 1), 0);
	interface_channels(&interface, &used, &possible);
	assert_int_equal(used, 1);
	assert_int_equal(interface_set_channels(&interface, 2), 0);
	interface_close(&interface);
	assert_int_equal(rig_run("ip link del pp-two"), 0);
}

static int pair_up(void **state)
{
	return rig_veth();
}

static int pair_down(void **state)
{
	rig_run("ip link del pp-port");
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_names, pair_up, pair_down),
		cmocka_unit_test_setup_teardown(test_faults, pair_up, pair_down),
		cmocka_unit_test_setup_teardown(test_events, pair_up, pair_down),
		cmocka_unit_test_setup_teardown(test_settings, pair_up, pair_down),
		cmocka_unit_test(test_queues),
	};

	if (!rig_namespace()) {
		printf("skipped: no network namespace allowed here\n");
		return 77;
	}
	if (rig_veth()) {
		printf("skipped: no veth pair allowed here\n");
		return 77;
	}
	rig_run("ip link del pp-port");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
