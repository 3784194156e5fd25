/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The kernel's routes in the NICs' table, against `ip route get` in a namespace of the test's own:
 * after random changes each destination must leave a NIC where the kernel would send it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "port_rig.h"
#include "tests/unit/fake_nic.h"
#include "tests/unit/seed.h"

#include <fib/check.h>
#include <ipc/clock.h>
#include <router/kernel_prod.h>
#include <router/kernel_reader.h>
#include <router/kernel_routes.h>
#include <router/kernel_rules.h>

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <linux/neighbour.h>
#include <net/if.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEADLINE_NS 20000000000u
#define PROBES      24u

static const struct netns own = {-1};
static const char *const nics_of_kernel[] = {"pp0", "pp2"};
static struct loop loop;
static struct kernel_reader reader;
static struct kernel_nics links = {.mtu = {1500, 1500}, .n = 2};
static struct kernel_routes routes;
static struct kernel_prod prod;
static struct table *table;
static struct fake_nic nic;
static struct table_nics nics = {{&nic.driver}, 1};
static struct table_report report;
static uint64_t random_state;

static void on_changed(void *context)
{
}

static void on_say(void *context, const char *text)
{
	printf("%s\n", text);
}

static unsigned below(unsigned n)
{
	return (unsigned)(check_random(&random_state) % n);
}

/* A line each; one that the kernel refuses is passed over. */
static void run_ip(const char *commands)
{
	FILE *pipe = popen("while read -r line; do ip $line; done >/dev/null 2>&1", "we");

	assert_non_null(pipe);
	fputs(commands, pipe);
	pclose(pipe);
}

/* What the kernel would do with a packet to it: where it leaves, by which gateway. */
struct fate {
	unsigned kind; /* FORWARD: by whatever NIC */
	int egress;    /* -1: no NIC */
	struct address gateway;
};

static json_t *ask(const char *address)
{
	char command[160];
	FILE *pipe;
	json_t *list;

	snprintf(command, sizeof(command), "ip -j -d route get %s 2>&1", address);
	pipe = popen(command, "re");
	assert_non_null(pipe);
	list = json_loadf(pipe, 0, NULL);
	if (!list) /* "RTNETLINK answers: …" */
		list = json_null();
	pclose(pipe);
	return list;
}

static struct fate fate_of(const char *address)
{
	json_t *list = ask(address), *route = json_array_get(list, 0);
	const char *type = json_string_value(json_object_get(route, "type"));
	const char *dev = json_string_value(json_object_get(route, "dev"));
	const json_t *via = json_object_get(route, "via");
	const char *gateway = json_string_value(
		via ? json_object_get(via, "host") : json_object_get(route, "gateway"));
	struct fate f = {.kind = P2PNIC_ADJACENCY_NONE, .egress = -1};

	if (type && !strcmp(type, "local"))
		f.kind = P2PNIC_ADJACENCY_LOCAL;
	else if (type && !strcmp(type, "broadcast"))
		f.kind = P2PNIC_ADJACENCY_BROADCAST;
	else if (type && !strcmp(type, "unicast") && dev)
		f.kind = P2PNIC_ADJACENCY_FORWARD;
	for (int k = 0; dev && k < 2; k++)
		if (!strcmp(dev, nics_of_kernel[k]))
			f.egress = k;
	assert_true(address_parse(gateway ? gateway : address, &f.gateway));
	json_decref(list);
	return f;
}

static const struct kernel_neighbor *neighbor(const struct fate *f)
{
	const struct kernel_key key = {.kind = KERNEL_NEIGHBOR,
		.family = f->gateway.family,
		.id = links.ifindex[f->egress],
		.address = f->gateway.bits};
	const struct kernel_value *v = kernel_state_find(reader.state, &key, 0);

	return v && kernel_neighbor_valid(&v->neighbor) ? &v->neighbor : NULL;
}

/* Does the NIC do so, with some flow? */
static bool does(const char *address)
{
	const struct fate f = fate_of(address);
	struct address a;
	static struct way way;
	bool found = false;

	assert_true(address_parse(address, &a));
	fake_way(&nic, &a, &way);
	for (unsigned b = 0; b < way.buckets; b++) {
		const struct p2pnic_adjacency *is = &way.adjacency[b];
		const struct kernel_neighbor *n;

		if (f.kind != P2PNIC_ADJACENCY_FORWARD) {
			found |= is->kind == f.kind ||
				 (f.kind == P2PNIC_ADJACENCY_NONE &&
					 (is->kind == P2PNIC_ADJACENCY_BLACKHOLE ||
						 is->kind == P2PNIC_ADJACENCY_UNREACHABLE ||
						 is->kind == P2PNIC_ADJACENCY_PROHIBIT));
		} else if (f.egress < 0) {
			found |= is->kind == P2PNIC_ADJACENCY_KERNEL;
		} else {
			n = neighbor(&f);
			found |= is->egress == f.egress &&
				 (n ? is->kind == P2PNIC_ADJACENCY_FORWARD &&
							 !memcmp(&is->destination, &n->mac,
								 sizeof(n->mac))
				    : is->kind == P2PNIC_ADJACENCY_GLEAN);
		}
	}
	return found;
}

static void settle(unsigned times)
{
	struct error error;

	while (times--) {
		loop_step(&loop, 20);
		while (kernel_state_changes(reader.state))
			if (kernel_routes_apply(&routes, table, &nics, &report, &error))
				fail_msg("%s", error.text);
	}
}

static void agree(const char *commands)
{
	static const char *const probe[PROBES] = {"10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.9",
		"10.0.0.255", "10.0.2.1", "10.0.2.2", "10.0.2.3", "172.16.0.1", "172.16.1.1",
		"172.16.1.200", "172.16.2.1", "172.16.2.77", "172.16.3.1", "192.168.7.7", "8.8.8.8",
		"2001:db9::1", "2001:db9::2", "2001:db9::3", "2001:db9:2::1", "2001:db9:2::2",
		"2001:db9:16::1", "2001:db9:16:1::1", "2001:db9:17::1"};
	const uint64_t deadline = clock_now_ns() + DEADLINE_NS;

	for (unsigned k = 0; k < PROBES; k++)
		while (!does(probe[k])) {
			if (clock_now_ns() > deadline)
				fail_msg("%s is not where the kernel sends it, after:\n%s",
					probe[k], commands);
			settle(2);
		}
}

static const char *hop_text(bool ipv6)
{
	static const char *const four[] = {"via 10.0.0.2", "via 10.0.0.3 dev pp0", "via 10.0.2.2",
		"via 10.0.2.3 dev pp2 onlink", "via inet6 2001:db9::2 dev pp0", "via 10.0.3.2"};
	static const char *const six[] = {"via 2001:db9::2", "via 2001:db9::3 dev pp0",
		"via 2001:db9:2::2", "via fe80::2 dev pp2", "dev pp0", "dev pp2"};

	return (ipv6 ? six : four)[below(6)];
}

static void random_command(char *line, size_t room)
{
	static const char *const to4[] = {"172.16.0.0/16", "172.16.1.0/24", "172.16.1.128/25",
		"172.16.2.0/24", "172.16.2.77", "172.16.3.0/24", "default", "10.0.0.9"};
	static const char *const to6[] = {"2001:db9:16::/48", "2001:db9:16:1::/64",
		"2001:db9:17::/48", "default", "2001:db9::3"};
	const bool ipv6 = below(3) == 0;
	const char *to = ipv6 ? to6[below(5)] : to4[below(8)];
	const char *dev = nics_of_kernel[below(2)];

	switch (below(12)) {
	case 0:
	case 1:
	case 2:
		snprintf(line, room, "-%d route replace %s %s metric %u\n", ipv6 ? 6 : 4, to,
			hop_text(ipv6), 1 + below(2));
		break;
	case 3:
		snprintf(line, room,
			"-%d route replace %s metric %u nexthop %s nexthop %s weight 3\n",
			ipv6 ? 6 : 4, to, 1 + below(2), hop_text(ipv6), hop_text(ipv6));
		break;
	case 4:
		snprintf(line, room, "-%d route replace %s %s metric %u\n", ipv6 ? 6 : 4,
			(const char *[]){"blackhole", "unreachable", "prohibit"}[below(3)], to,
			1 + below(2));
		break;
	case 5:
		snprintf(
			line, room, "-%d route del %s metric %u\n", ipv6 ? 6 : 4, to, 1 + below(2));
		break;
	case 6:
	case 7:
		snprintf(line, room,
			"neigh %s 10.0.%u.%u lladdr 02:00:00:00:00:%02x dev %s nud %s\n",
			below(4) ? "replace" : "del", 2 * below(2), 2 + below(2), 1 + below(200),
			dev, below(2) ? "permanent" : "noarp");
		break;
	case 8:
		snprintf(line, room,
			"neigh %s 2001:db9%s::%u lladdr 02:00:00:00:00:%02x dev %s nud permanent\n",
			below(4) ? "replace" : "del", below(2) ? "" : ":2", 2 + below(2),
			1 + below(200), dev);
		break;
	case 9:
		snprintf(line, room, "nexthop replace id %u via 10.0.%u.2 dev %s onlink\n",
			1 + below(2), 2 * below(2), dev);
		break;
	case 10:
		snprintf(line, room,
			"nexthop replace id 5 group 1/2,3\n-4 route replace %s nhid %u\n",
			to4[below(7)], below(2) ? 5 : 1 + below(2));
		break;
	default:
		snprintf(line, room, "link set %s %s\n", dev, below(3) ? "up" : "down");
		break;
	}
}

static int begin(void **state)
{
	struct error error;

	run_ip("address add 10.0.0.1/24 dev pp0\naddress add 10.0.2.1/24 dev pp2\n"
	       "address add 2001:db9::1/64 dev pp0 nodad\n"
	       "address add 2001:db9:2::1/64 dev pp2 nodad\n"
	       "address add 10.0.3.1/24 dev ppx\n");
	links.ifindex[0] = if_nametoindex("pp0");
	links.ifindex[1] = if_nametoindex("pp2");
	if (kernel_reader_start(&reader, &loop, &own, on_changed, on_say, NULL, &error))
		return -1;
	while (!reader.complete)
		loop_step(&loop, 1000);
	kernel_routes_open(&routes, reader.state, &links);
	fake_open(&nic, 0, P2PNIC_BAR2_BYTES_MIN);
	assert_int_equal(table_new(&table, P2PNIC_BAR2_BYTES_MIN, P2PNIC_FIB_LINE_TRIE, 0), 0);
	if (kernel_routes_make(&routes, &table, P2PNIC_FIB_LINE_TRIE, &nics, &report, &error))
		return -1;
	return kernel_prod_open(&prod, &own, &error);
}

static int end(void **state)
{
	kernel_prod_close(&prod);
	kernel_routes_close(&routes);
	kernel_reader_stop(&reader);
	table_free(table);
	fake_close(&nic);
	run_ip("address flush dev pp0\naddress flush dev pp2\naddress flush dev ppx\n"
	       "neigh flush all\n");
	return 0;
}

static uint16_t neighbor_state(const char *address)
{
	struct fate f = {.egress = 0};
	const struct kernel_neighbor *n;

	assert_true(address_parse(address, &f.gateway));
	n = neighbor(&f);
	return n ? n->state : 0;
}

/* A stale neighbour that a NIC uses is asked whether it is there; one that none uses is not. */
static void test_prod(void **state)
{
	const struct mac_addr used = {{2, 0, 0, 0, 7, 2}};
	const struct p2pnic_adjacency *adjacency =
		(const struct p2pnic_adjacency *)(nic.driver.bar2 + P2PNIC_BAR2_ADJACENCIES);
	p2pnic_used *byte = (p2pnic_used *)(nic.driver.bar2 + P2PNIC_BAR2_USED);
	const uint64_t deadline = clock_now_ns() + DEADLINE_NS;
	unsigned found = 0;

	run_ip("neigh replace 10.0.0.2 lladdr 02:00:00:00:07:02 dev pp0 nud stale\n"
	       "neigh replace 10.0.0.3 lladdr 02:00:00:00:07:03 dev pp0 nud stale\n");
	while (neighbor_state("10.0.0.3") != NUD_STALE || !does("10.0.0.3")) {
		assert_true(clock_now_ns() < deadline);
		settle(1);
	}
	for (unsigned k = 0; k < P2PNIC_ADJACENCIES_MAX; k++)
		if (!memcmp(&adjacency[k].destination, &used, sizeof(used))) {
			byte[k] = 1;
			found++;
		}
	assert_int_equal(found, 1);
	kernel_prod(&prod, &routes.ways, table, &nics);
	assert_int_equal(prod.prodded, 1);
	while (neighbor_state("10.0.0.2") == NUD_STALE) {
		assert_true(clock_now_ns() < deadline);
		settle(1);
	}
	assert_int_equal(neighbor_state("10.0.0.3"), NUD_STALE);
	kernel_prod(&prod, &routes.ways, table, &nics); /* what was read is cleared */
	assert_int_equal(prod.prodded, 1);
}

static uint32_t flags_of(const char *address, uint8_t *protocol)
{
	struct kernel_key key = {.kind = KERNEL_NEIGHBOR, .family = 4, .id = links.ifindex[0]};
	const struct kernel_value *v;
	struct address a;

	assert_true(address_parse(address, &a));
	key.address = a.bits;
	v = kernel_state_find(reader.state, &key, 0);
	*protocol = v ? v->neighbor.protocol : 0;
	return v ? v->neighbor.flags & (KERNEL_NEIGHBOR_MANAGED | NTF_EXT_LEARNED) : 0;
}

static void wait_for_flags(const char *address, uint32_t flags)
{
	const uint64_t deadline = clock_now_ns() + DEADLINE_NS;
	uint8_t protocol;

	while (flags_of(address, &protocol) != flags) {
		assert_true(clock_now_ns() < deadline);
		settle(1);
	}
}

static void wait_for_route(const char *address, bool there)
{
	const uint64_t deadline = clock_now_ns() + DEADLINE_NS;
	struct address a;

	assert_true(address_parse(address, &a));
	while ((routes_longest(table_routes(table), &a) != NULL) != there) {
		assert_true(clock_now_ns() < deadline);
		settle(1);
	}
}

/* Gateways are the kernel's to keep while a route leads to them, and only those. */
static void test_managed_gateways(void **state)
{
	struct error error;
	uint8_t protocol;

	if (!prod.manages)
		skip();
	/* A gateway not known yet; a known one; others' entries. */
	run_ip("neigh replace 10.0.0.3 lladdr 02:00:00:00:07:03 dev pp0 nud stale\n"
	       "neigh replace 10.0.0.4 lladdr 02:00:00:00:07:04 dev pp0 nud permanent\n"
	       "neigh replace 10.0.0.5 lladdr 02:00:00:00:07:05 dev pp0 nud stale extern_learn\n"
	       "neigh replace 10.0.0.6 dev pp0 managed\n"
	       "route add 172.16.1.0/24 via 10.0.0.2\n"
	       "route add 172.16.2.0/24 via 10.0.0.3\n"
	       "route add 172.16.3.0/24 via 10.0.0.4\n"
	       "route add 172.16.4.0/24 via 10.0.0.5\n"
	       "route add 172.16.5.0/24 via 10.0.0.6\n");
	wait_for_flags("10.0.0.6", KERNEL_NEIGHBOR_MANAGED);
	wait_for_route("172.16.3.1", true);
	kernel_prod_gateways(&prod, &routes.ways, table, false);
	wait_for_flags("10.0.0.2", KERNEL_NEIGHBOR_MANAGED);
	wait_for_flags("10.0.0.3", KERNEL_NEIGHBOR_MANAGED);
	flags_of("10.0.0.3", &protocol);
	assert_int_equal(protocol, KERNEL_PROD_PROTOCOL);
	assert_int_equal(prod.prodded, 2);
	kernel_prod_gateways(&prod, &routes.ways, table, true); /* once is enough */
	assert_int_equal(prod.prodded, 2);
	/* A router that knows nothing of the one before: what has no route any more is let go. */
	kernel_prod_close(&prod);
	assert_int_equal(kernel_prod_open(&prod, &own, &error), 0);
	run_ip("route del 172.16.1.0/24\nroute del 172.16.3.0/24\nroute del 172.16.4.0/24\n"
	       "route del 172.16.5.0/24\n");
	wait_for_route("172.16.3.1", false);
	kernel_prod_gateways(&prod, &routes.ways, table, true);
	wait_for_flags("10.0.0.2", 0);
	assert_int_equal(prod.prodded, 1);
	assert_int_equal(flags_of("10.0.0.3", &protocol), KERNEL_NEIGHBOR_MANAGED);
	assert_int_equal(neighbor_state("10.0.0.4"), NUD_PERMANENT);
	assert_int_equal(flags_of("10.0.0.5", &protocol), NTF_EXT_LEARNED);
	assert_int_equal(flags_of("10.0.0.6", &protocol), KERNEL_NEIGHBOR_MANAGED);
	assert_int_equal(protocol, 0);
	run_ip("route del 172.16.2.0/24\n");
}

static void test_rules(void **state)
{
	assert_int_equal(kernel_rules_others(&own, NULL, NULL), 0);
	run_ip("rule add from 10.9.0.0/16 table 100\n-6 rule add fwmark 7 table main\n");
	assert_int_equal(kernel_rules_others(&own, NULL, NULL), 2);
	run_ip("rule del from 10.9.0.0/16 table 100\n-6 rule del fwmark 7 table main\n");
	assert_int_equal(kernel_rules_others(&own, NULL, NULL), 0);
}

static int note_namespace(void *context)
{
	struct stat is;

	assert_int_equal(stat("/proc/thread-self/ns/net", &is), 0);
	*(ino_t *)context = is.st_ino;
	return -ENOTTY; /* whatever the call returns is returned */
}

static void *make_namespace(void *context)
{
	*(int *)context = unshare(CLONE_NEWNET) ? -1 : open("/proc/thread-self/ns/net", O_RDONLY);
	return NULL;
}

static void test_another_namespace(void **state)
{
	struct netns other = {open("/dev/null", O_RDONLY)};
	ino_t here, there = 0, after;
	pthread_t thread;

	assert_int_equal(netns_do(&own, note_namespace, &here), -ENOTTY);
	assert_int_equal(netns_do(&other, note_namespace, &there), -EINVAL);
	assert_int_equal(netns_socket(&other, AF_INET, SOCK_DGRAM, 0), -EINVAL);
	assert_int_equal(there, 0);
	netns_close(&other);
	assert_int_equal(pthread_create(&thread, NULL, make_namespace, &other.fd), 0);
	pthread_join(thread, NULL);
	assert_true(other.fd >= 0);
	assert_int_equal(netns_do(&other, note_namespace, &there), -ENOTTY);
	assert_true(there && there != here);
	note_namespace(&after);
	assert_int_equal(after, here);
	netns_close(&other);
}

static void test_random(void **state)
{
	random_state = test_seed();
	agree("start");
	for (unsigned round = 0; round < 20; round++) {
		char commands[4096] = "";

		for (unsigned k = 1 + below(6); k; k--) {
			char *end = commands + strlen(commands);

			random_command(end, 256);
		}
		run_ip(commands);
		settle(3);
		agree(commands);
	}
	assert_int_equal(routes.applied.compiles, 1);
	assert_true(routes.applied.routes > 20);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(test_prod, begin, end),
		cmocka_unit_test_setup_teardown(test_managed_gateways, begin, end),
		cmocka_unit_test(test_rules), cmocka_unit_test(test_another_namespace),
		cmocka_unit_test_setup_teardown(test_random, begin, end)};

	if (!rig_namespace()) {
		printf("skipped: no network namespace allowed here\n");
		return 77;
	}
	if (rig_run("sysctl -w net.ipv6.conf.default.disable_ipv6=0"
		    " net.ipv6.conf.default.accept_dad=0 net.ipv6.conf.default.accept_ra=0"
		    " net.ipv6.conf.default.router_solicitations=0"
		    " net.ipv6.conf.all.disable_ipv6=0 net.ipv6.conf.all.forwarding=1"
		    " net.ipv4.ip_forward=1; "
		    "ip link add pp0 type veth peer name pp1 &&"
		    " ip link add pp2 type veth peer name pp3 &&"
		    " ip link add ppx type veth peer name ppy &&"
		    " for l in pp0 pp1 pp2 pp3 ppx ppy lo; do ip link set $l up; done")) {
		printf("skipped: no veth pair allowed here\n");
		return 77;
	}
	if (loop_open(&loop))
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
