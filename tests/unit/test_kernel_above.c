/* SPDX-License-Identifier: BSD-3-Clause */
/* What is above the taps of NICs, and what of it and of routes NICs cannot do: counted, found. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/unit/kernel_rig.h"

#include <router/config.h>
#include <router/doctor.h>
#include <router/kernel_above.h>
#include <router/kernel_unable.h>

#include <linux/if_arp.h>
#include <linux/if_link.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* The state of each VLAN that is no `other` one. */
static void vlans_are(unsigned nic_number, unsigned other, unsigned vid, unsigned state_of_vid)
{
	struct vlans vlans;

	kernel_above_vlans(&routes.ways, nic_number, &vlans);
	/* A NIC that takes no tag forwards nothing: its tap is a part of something. */
	assert_int_equal(vlans.ingress,
		other == P2PNIC_VLAN_HOST ? P2PNIC_INGRESS_HOST : P2PNIC_INGRESS_FORWARD);
	for (unsigned k = 0; k < P2PNIC_VLANS_MAX; k++)
		if (vlans.state[k] != (k == vid ? state_of_vid : other))
			fail_msg("VLAN %u of NIC %u: %u", k, nic_number, vlans.state[k]);
}

/* Which tags a NIC takes follows from what is above its tap, and which MAC addresses. */
static void test_above(void **context)
{
	const struct above vlan = {
		.ifindex = 9, .lower = 3, .vid = 5, .type = ETH_P_8021Q, .mac = 3, .flags = UP};
	struct mac_addr station[P2PNIC_STATIONS_MAX + 1];
	struct above a = vlan;

	make();
	vlans_are(1, P2PNIC_VLAN_UNKNOWN, 17, P2PNIC_VLAN_FORWARD);
	vlans_are(2, P2PNIC_VLAN_UNKNOWN, 5, P2PNIC_VLAN_UNKNOWN);
	assert_int_equal(kernel_above_stations(&routes.ways, 2, station), 0);
	set_above(vlan); /* by its tap's address */
	vlans_are(2, P2PNIC_VLAN_UNKNOWN, 5, P2PNIC_VLAN_FORWARD);
	vlans_are(0, P2PNIC_VLAN_UNKNOWN, 5, P2PNIC_VLAN_UNKNOWN);
	assert_int_equal(kernel_above_stations(&routes.ways, 2, station), 0);
	a.mac = 0x99; /* its own */
	set_above(a);
	assert_int_equal(kernel_above_stations(&routes.ways, 2, station), 1);
	assert_int_equal(station[0].octet[5], 0x99);
	set_above((struct above){.ifindex = 10, .lower = 9, .mac = 0x98, .flags = UP});
	set_above((struct above){.ifindex = 11, .lower = 9, .mac = 0x99, .flags = UP}); /* again */
	assert_int_equal(kernel_above_stations(&routes.ways, 2, station), 2);
	a.flags = 0; /* down, and what is above it */
	set_above(a);
	vlans_are(2, P2PNIC_VLAN_UNKNOWN, 5, P2PNIC_VLAN_UNKNOWN);
	assert_int_equal(kernel_above_stations(&routes.ways, 2, station), 0);
	forget_link(10);
	forget_link(11);
	a = vlan;
	a.master = 4;
	set_above(a);
	vlans_are(2, P2PNIC_VLAN_UNKNOWN, 5, P2PNIC_VLAN_HOST);
	a = vlan;
	a.type = ETH_P_8021AD;
	set_above(a);
	vlans_are(2, P2PNIC_VLAN_UNKNOWN, 5, P2PNIC_VLAN_UNKNOWN);
	a = vlan;
	a.away = true;
	set_above(a);
	vlans_are(2, P2PNIC_VLAN_UNKNOWN, 5, P2PNIC_VLAN_UNKNOWN);
	assert_int_equal(kernel_above_stations(&routes.ways, 2, station), 0);
	/* Of a macvlan, too: one with a tap's own VLAN of that VID is handled as that. */
	set_above((struct above){.ifindex = 10, .lower = 3, .mac = 0x98, .flags = UP});
	a = vlan;
	a.lower = 10;
	set_above(a);
	vlans_are(2, P2PNIC_VLAN_UNKNOWN, 5, P2PNIC_VLAN_HOST);
	a.ifindex = 11;
	a.lower = 3;
	set_above(a);
	vlans_are(2, P2PNIC_VLAN_UNKNOWN, 5, P2PNIC_VLAN_FORWARD);
	a.ifindex = 12; /* whichever comes last */
	a.lower = 10;
	set_above(a);
	vlans_are(2, P2PNIC_VLAN_UNKNOWN, 5, P2PNIC_VLAN_FORWARD);
	/* A tap that is a bridge's, or not there: all is the host's. */
	set_link(3, UP, 1500, 4);
	vlans_are(2, P2PNIC_VLAN_HOST, 5, P2PNIC_VLAN_HOST);
	forget_link(3);
	vlans_are(2, P2PNIC_VLAN_HOST, 5, P2PNIC_VLAN_HOST);
	/* One too many is told. */
	for (unsigned k = 0; k < P2PNIC_STATIONS_MAX + 5; k++)
		set_above((struct above){
			.ifindex = 20 + k, .lower = 1, .mac = (uint8_t)(0x20 + k), .flags = UP});
	assert_int_equal(kernel_above_stations(&routes.ways, 0, station), P2PNIC_STATIONS_MAX + 1);
}

static void test_vlans(void **context)
{
	make();
	add((struct wanted){.to = "10.17.0.0", .length = 24, .hop = {{6, NULL}}});
	add((struct wanted){.to = "172.16.0.0", .length = 12, .hop = {{6, "10.17.0.2"}}});
	add((struct wanted){
		.to = "172.17.0.0", .length = 16, .hop = {{6, "10.17.0.2"}, {1, "10.0.0.2"}}});
	add((struct wanted){.to = "10.17.0.1",
		.length = 32,
		.type = RTN_LOCAL,
		.table = RT_TABLE_LOCAL,
		.hop = {{6, NULL}}});
	apply();
	assert_int_equal(kind("10.17.0.1"), P2PNIC_ADJACENCY_LOCAL);
	assert_int_equal(kind("172.16.0.1"), P2PNIC_ADJACENCY_GLEAN);
	set_neighbor(6, "10.17.0.2", NUD_REACHABLE, 2);
	set_neighbor(1, "10.0.0.2", NUD_REACHABLE, 2);
	apply();
	assert_int_equal(kind("172.16.0.1"), P2PNIC_ADJACENCY_FORWARD_TAGGED);
	assert_int_equal(kind("10.17.0.2"), P2PNIC_ADJACENCY_FORWARD_TAGGED);
	right("172.17.0.1");
	set_link(2, UP, 1500, 4);
	apply();
	assert_int_equal(kind("172.16.0.1"), P2PNIC_ADJACENCY_KERNEL);
	set_link(2, UP, 1500, 0);
	set_link(6, UP, 1400, 0);
	apply();
	assert_int_equal(kind("172.16.0.1"), P2PNIC_ADJACENCY_FORWARD_TAGGED);
	set_link(6, 0, 1400, 0);
	apply();
	assert_int_equal(kind("172.16.0.1"), P2PNIC_ADJACENCY_NONE); /* it went with its link */
	right("172.17.0.1");
}

static void set_vrf(uint32_t ifindex, uint32_t of_table)
{
	const struct ifinfomsg fixed = {
		.ifi_type = ARPHRD_ETHER, .ifi_index = (int)ifindex, .ifi_flags = UP};
	struct nlmsghdr *m = message(RTM_NEWLINK, &fixed, sizeof(fixed));
	struct nlattr *nest, *data;

	mnl_attr_put_strz(m, IFLA_IFNAME, "red");
	nest = mnl_attr_nest_start(m, IFLA_LINKINFO);
	mnl_attr_put_strz(m, IFLA_INFO_KIND, "vrf");
	data = mnl_attr_nest_start(m, IFLA_INFO_DATA);
	mnl_attr_put_u32(m, IFLA_VRF_TABLE, of_table);
	mnl_attr_nest_end(m, data);
	mnl_attr_nest_end(m, nest);
	feed(m);
}

/* Whether there is a finding of that kind and subject, "LEVEL: TEXT | FIX", with these words. */
static bool is_found(const json_t *found, const char *kind, const char *subject, const char *words)
{
	char text[1024];
	const char *level, *is, *fix, *of, *about;
	const json_t *row;
	size_t index;

	json_array_foreach(found, index, row)
	{
		assert_int_equal(json_unpack((json_t *)row, "{s:s, s:s, s:s, s:s}", "level", &level,
					 "kind", &of, "subject", &about, "text", &is),
			0);
		fix = json_string_value(json_object_get(row, "fix"));
		snprintf(text, sizeof(text), "%s: %s | %s", level, is, fix ? fix : "");
		if (!strcmp(of, kind) && !strcmp(about, subject) && strstr(text, words))
			return true;
	}
	return false;
}

#define THRESHOLD "/proc/sys/net/ipv4/neigh/default/gc_thresh3"

/* Links and routes; of the host that the test runs on nothing is known. */
static void test_doctor(void **context)
{
	static const struct netns own = {-1};
	struct config_nic nic_of[NICS] = {{.name = (char *)"port1", .port.type = (char *)"tap"},
		{.name = (char *)"port2", .port.type = (char *)"tap"},
		{.name = (char *)"port3", .port.type = (char *)"tap"}};
	unsigned many = 100000000;
	struct config_punt punt = {{{NULL}}};
	struct config_kernel kernel = {NULL};
	struct config config = {
		.nics = nic_of, .nics_count = NICS, .kernel = &kernel, .punt = &punt};
	const struct doctor doctor = {&config, &own, &routes.ways, true};
	json_t *found = doctor_look(&doctor);

	assert_int_equal(finding_count(found, "link"), 0);
	assert_int_equal(finding_count(found, "route"), 0);
	json_decref(found);
	set_vrf(20, 77);
	set_link(1, UP, 1500, 20);
	set_link(2, UP, 1500, 4);
	set_link(3, UP, 1500, 99); /* not seen */
	set_link(5, UP, 1500, 20); /* no tap */
	set_above((struct above){.ifindex = 21, .lower = 3, .type = ETH_P_8021AD, .flags = UP});
	set_above((struct above){.ifindex = 22, .lower = 99, .type = ETH_P_8021AD, .flags = UP});
	add((struct wanted){
		.to = "10.7.0.0", .length = 16, .encapsulated = true, .hop = {{1, NULL}}});
	punt.class[P2PNIC_PUNT_GLEAN].rate = &many;
	found = doctor_look(&doctor);
	assert_int_equal(finding_count(found, "link"), 5); /* with VLAN 17 of port2 */
	assert_true(is_found(found, "link", "port1",
		"note: it belongs to the VRF red: its NIC forwards nothing, and the kernel all of "
		"it, by table 77 and slowly | ip link set port1 nomaster"));
	assert_true(is_found(found, "link", "port2", "belongs to the device port4: "));
	assert_true(is_found(found, "link", "port3", "the device of another namespace: "));
	assert_true(is_found(found, "link", "tagged", "note: it is VLAN 0 above a NIC's"));
	assert_true(is_found(found, "link", "tagged", "| ip link delete tagged"));
	assert_true(is_found(found, "route", "kernel", "note: 1 routes have an "));
	assert_true(is_found(found, "route", "kernel", "| ip route delete 10.7.0.0/16 table 254"));
	if (access(THRESHOLD, R_OK) == 0)
		assert_true(is_found(found, "sysctl", "kernel", "gc_thresh3 is "));
	json_decref(found);
	config.punt = NULL;
	found = doctor_look(&doctor);
	assert_false(is_found(found, "sysctl", "kernel", "gc_thresh3 is "));
	json_decref(found);
}

static void test_unable(void **context)
{
	struct kernel_unable u;

	make();
	u = kernel_unable_count(&routes.ways);
	assert_int_equal(u.enslaved + u.vlans + u.objects + routes.encapsulated, 0);
	set_link(2, UP, 1500, 4);
	set_link(4, UP, 1500, 7); /* no NIC's */
	/* 6 is a VLAN of tap 2, which is part of a bridge; 8 is none of a tap. */
	set_above((struct above){
		.ifindex = 8, .lower = 4, .vid = 5, .type = ETH_P_8021Q, .flags = UP});
	set_above((struct above){
		.ifindex = 9, .lower = 3, .vid = 5, .type = ETH_P_8021Q, .flags = UP});
	add((struct wanted){.to = "10.0.0.0", .length = 8, .hop = {{1, NULL}}});
	apply();
	u = kernel_unable_count(&routes.ways);
	assert_int_equal(u.enslaved, 1);
	assert_string_equal(u.tap, "port2");
	assert_int_equal(u.vlans, 1);
	assert_string_equal(u.vlan, "port6");
	set_link(2, UP, 1500, 0);
	u = kernel_unable_count(&routes.ways);
	assert_int_equal(u.vlans, 0);
	/* A tag within a tag, another type of tag, a VLAN of a macvlan, one of a bridge. */
	set_above((struct above){
		.ifindex = 10, .lower = 6, .vid = 5, .type = ETH_P_8021Q, .flags = UP});
	set_above((struct above){
		.ifindex = 11, .lower = 3, .vid = 6, .type = ETH_P_8021AD, .flags = UP});
	set_above((struct above){
		.ifindex = 12, .lower = 5, .vid = 7, .type = ETH_P_8021Q, .flags = UP});
	set_above((struct above){
		.ifindex = 9, .lower = 3, .vid = 5, .type = ETH_P_8021Q, .flags = UP, .master = 4});
	/* Its lower one is another namespace's. */
	set_above((struct above){.ifindex = 13,
		.lower = 3,
		.vid = 8,
		.type = ETH_P_8021AD,
		.flags = UP,
		.away = true});
	u = kernel_unable_count(&routes.ways);
	assert_int_equal(u.vlans, 4);
	assert_string_equal(u.vlan, "tagged");
	assert_false(routes.encapsulated);
	add((struct wanted){
		.to = "10.7.0.0", .length = 16, .encapsulated = true, .hop = {{1, NULL}}});
	apply();
	assert_true(routes.encapsulated);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_above, begin, end),
		cmocka_unit_test_setup_teardown(test_vlans, begin, end),
		cmocka_unit_test_setup_teardown(test_doctor, begin, end),
		cmocka_unit_test_setup_teardown(test_unable, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
