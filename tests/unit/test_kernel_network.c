/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The mirror against the kernel, in a namespace of the test's own: after each of many random
 * changes it must become, by events alone, what a fresh one is that dumps everything, and what `ip`
 * says.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "kernel_text.h"
#include "port_rig.h"
#include "tests/unit/seed.h"

#include <ipc/clock.h>
#include <router/kernel_reader.h>

#include <jansson.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <string.h>

#define DEADLINE_NS 20000000000u

static const struct netns own = {-1};
static struct loop loop;
static struct kernel_reader live;
static unsigned calls;

static void on_changed(void *context)
{
	++*(unsigned *)context;
}

static void on_say(void *context, const char *text)
{
	printf("%s\n", text);
}

static void start(struct kernel_reader *r)
{
	struct error error;

	if (kernel_reader_start(r, &loop, &own, on_changed, on_say, &calls, &error))
		fail_msg("%s", error.text);
}

static void until_complete(struct kernel_reader *r)
{
	const uint64_t deadline = clock_now_ns() + DEADLINE_NS;

	while (!r->complete) {
		assert_true(clock_now_ns() < deadline);
		loop_step(&loop, 100);
	}
}

/* Not healed by dumping again: what the events said must do. */
static bool step(int timeout_ms)
{
	const uint64_t before = kernel_state_counters(live.state)->messages;

	loop_cancel(&loop, &live.again);
	loop_step(&loop, timeout_ms);
	loop_cancel(&loop, &live.again);
	return kernel_state_counters(live.state)->messages != before;
}

static struct kernel_text fresh(void)
{
	struct kernel_reader other;
	struct kernel_text text;

	start(&other);
	until_complete(&other);
	text = kernel_text_of(other.state, true);
	kernel_reader_stop(&other);
	return text;
}

static void agree(const char *after)
{
	const uint64_t deadline = clock_now_ns() + DEADLINE_NS;
	bool equal;

	do {
		struct kernel_text here, there = fresh();

		while (step(0))
			;
		here = kernel_text_of(live.state, true);
		equal = kernel_text_equal(&here, &there, false);
		if (!equal && clock_now_ns() >= deadline) {
			kernel_text_equal(&here, &there, true);
			fail_msg("not what the kernel has, after:\n%s", after);
		}
		kernel_text_free(&here);
		kernel_text_free(&there);
		if (!equal)
			step(50);
	} while (!equal);
}

static void append(char *text, size_t room, const char *more)
{
	const size_t n = strlen(text);

	snprintf(text + n, room - n, "%s", more);
}

/* --- What ip says ----------------------------------------------------------------------------- */

static json_t *ask(const char *command)
{
	FILE *pipe = popen(command, "re");
	json_error_t error;
	json_t *json;

	assert_non_null(pipe);
	json = json_loadf(pipe, 0, &error);
	if (!json)
		fail_msg("%s: %s", command, error.text);
	assert_int_equal(pclose(pipe), 0);
	return json;
}

static const char *text_of(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	return text ? text : "";
}

static unsigned number_of(const json_t *object, const char *name)
{
	return (unsigned)json_integer_value(json_object_get(object, name));
}

/* "10.0.0.0/8", "10.0.0.1", "default" */
static void prefix_of_text(const char *text, bool ipv6, char out[ADDRESS_TEXT_BYTES])
{
	struct prefix prefix;

	if (!strcmp(text, "default"))
		text = ipv6 ? "::/0" : "0.0.0.0/0";
	if (!strchr(text, '/')) {
		assert_true(address_parse(text, &prefix.address));
		prefix.length = ipv6 ? 128 : 32;
	} else {
		assert_true(prefix_parse(text, true, &prefix));
	}
	prefix_text(&prefix, out);
}

static bool has_flag(const json_t *object, const char *flag)
{
	size_t k;
	json_t *word;

	json_array_foreach(json_object_get(object, "flags"), k,
		word) if (!strcmp(json_string_value(word), flag)) return true;
	return false;
}

static void hop_of_json(const json_t *hop, char text[160])
{
	const json_t *via = json_object_get(hop, "via");
	const char *gateway = via ? text_of(via, "host") : text_of(hop, "gateway");
	struct kernel_hop h = {.ifindex = if_nametoindex(text_of(hop, "dev")), .weight = 1};
	struct address address;

	if (*gateway) {
		assert_true(address_parse(gateway, &address));
		h.gateway = address.bits;
		h.gateway_family = address.family;
	}
	if (json_object_get(hop, "weight"))
		h.weight = (uint16_t)number_of(hop, "weight");
	h.onlink = has_flag(hop, "onlink");
	kernel_text_hop(text, 160, &h);
}

static bool drops(unsigned type)
{
	return type == RTN_BLACKHOLE || type == RTN_UNREACHABLE || type == RTN_PROHIBIT ||
	       type == RTN_THROW;
}

static void routes_of_json(struct kernel_text *text, bool ipv6)
{
	json_t *list = ask(ipv6 ? "ip -j -N -d -6 route show table all"
				: "ip -j -N -d -4 route show table all"),
	       *route, *member;
	size_t k, j;

	json_array_foreach(list, k, route)
	{
		const unsigned type = (unsigned)atoi(text_of(route, "type"));
		const char *table = text_of(route, "table");
		char hops[4096] = "", hop[160], dst[ADDRESS_TEXT_BYTES];
		const json_t *members = json_object_get(route, "nexthops");
		unsigned mtu = 0;

		if (type == RTN_MULTICAST)
			continue;
		json_array_foreach(json_object_get(route, "metrics"), j, member) mtu =
			json_object_get(member, "mtu") ? number_of(member, "mtu") : mtu;
		if (json_object_get(route, "nhid"))
			snprintf(hops, sizeof(hops), " id %u weight 1", number_of(route, "nhid"));
		else if (members)
			json_array_foreach(members, j, member)
			{
				hop_of_json(member, hop);
				append(hops, sizeof(hops), hop);
			}
		else if (!drops(type))
			hop_of_json(route, hops);
		prefix_of_text(text_of(route, "dst"), ipv6, dst);
		kernel_text_add(text, "route %s table %s tos %s metric %u type %u mtu %u:%s", dst,
			*table ? table : "254",
			*text_of(route, "tos") ? text_of(route, "tos") : "0",
			number_of(route, "metric"), type, mtu, hops);
	}
	json_decref(list);
}

static void links_of_json(struct kernel_text *text)
{
	json_t *list = ask("ip -j -d address"), *link, *address;
	size_t k, j;

	json_array_foreach(list, k, link)
	{
		bool up = has_flag(link, "UP"), carrier = has_flag(link, "LOWER_UP");

		kernel_text_add(text, "link %u %s %s mtu %u%s%s", number_of(link, "ifindex"),
			text_of(link, "ifname"), text_of(link, "address"), number_of(link, "mtu"),
			up ? " up" : "", carrier ? " carrier" : "");
		json_array_foreach(json_object_get(link, "addr_info"), j, address)
			kernel_text_add(text, "address %u %s/%u", number_of(link, "ifindex"),
				text_of(address, "local"), number_of(address, "prefixlen"));
	}
	json_decref(list);
}

static void objects_of_json(struct kernel_text *text)
{
	json_t *list = ask("ip -j -d nexthop"), *object, *member;
	size_t k, j;

	json_array_foreach(list, k, object)
	{
		const json_t *group = json_object_get(object, "group");
		char hops[4096] = "", hop[160];

		if (!group && !json_object_get(object, "blackhole"))
			hop_of_json(object, hops);
		json_array_foreach(group, j, member)
		{
			const json_t *weight = json_object_get(member, "weight");
			const struct kernel_hop h = {.next_hop = number_of(member, "id"),
				.weight = weight ? (uint16_t)json_integer_value(weight) : 1};

			kernel_text_hop(hop, sizeof(hop), &h);
			append(hops, sizeof(hops), hop);
		}
		kernel_text_add(text, "next hop %u%s buckets %u:%s", number_of(object, "id"),
			json_object_get(object, "blackhole") ? " drops" : "",
			number_of(json_object_get(object, "resilient_args"), "buckets"), hops);
	}
	json_decref(list);
}

static void neighbors_of_json(struct kernel_text *text)
{
	json_t *list = ask("ip -j neighbor show nud all"), *neighbor;
	size_t k;

	json_array_foreach(
		list, k, neighbor) if (strtol(text_of(neighbor, "lladdr"), NULL, 16) % 2 == 0)
		kernel_text_add(text, "neighbor %u %s %s", if_nametoindex(text_of(neighbor, "dev")),
			text_of(neighbor, "dst"), text_of(neighbor, "lladdr"));
	json_decref(list);
}

static struct kernel_text text_of_ip(void)
{
	struct kernel_text text = {0};

	links_of_json(&text);
	objects_of_json(&text);
	neighbors_of_json(&text);
	routes_of_json(&text, false);
	routes_of_json(&text, true);
	kernel_text_sort(&text);
	return text;
}

static void add_value(
	struct kernel_text *text, const struct kernel_key *key, const struct kernel_value *v)
{
	const struct prefix prefix = {{key->address, key->family}, key->length};
	char address[ADDRESS_TEXT_BYTES] = "", hops[4096] = "";

	for (unsigned k = 0;
		(key->kind == KERNEL_NEXT_HOP || key->kind == KERNEL_ROUTE) && k < v->hops; k++)
		kernel_text_hop(hops + strlen(hops), 160, &v->hop[k]);
	switch (key->kind) {
	case KERNEL_LINK:
		kernel_text_add(text, "link %u %s %s mtu %u%s%s", key->id, v->link.name,
			mac_text(v->link.mac, address), v->link.mtu,
			v->link.flags & IFF_UP ? " up" : "",
			v->link.flags & 1 << 16 ? " carrier" : "");
		break;
	case KERNEL_ADDRESS:
		kernel_text_add(text, "address %u %s/%u", key->id,
			address_text(&prefix.address, address), v->address.length);
		break;
	case KERNEL_NEIGHBOR:
		address_text(&prefix.address, address);
		kernel_text_add(text, "neighbor %u %s ", key->id, address);
		if (v->neighbor.has_mac) {
			char mac[ADDRESS_TEXT_BYTES];

			free(text->line[--text->lines]);
			kernel_text_add(text, "neighbor %u %s %s", key->id, address,
				mac_text(v->neighbor.mac, mac));
		}
		break;
	case KERNEL_NEXT_HOP:
		kernel_text_add(text, "next hop %u%s buckets %u:%s", key->id,
			v->next_hop.drops ? " drops" : "", v->next_hop.buckets, hops);
		break;
	default:
		prefix_text(&prefix, address);
		if (key->tos)
			kernel_text_add(text,
				"route %s table %u tos 0x%02x metric %u type %u mtu %u:%s", address,
				key->id, key->tos, key->metric, v->route.type, v->route.mtu, hops);
		else
			kernel_text_add(text, "route %s table %u tos 0 metric %u type %u mtu %u:%s",
				address, key->id, key->metric, v->route.type, v->route.mtu, hops);
	}
}

static void agree_with_ip(const char *after)
{
	struct kernel_text here = {0}, there = text_of_ip();

	while (step(0))
		;
	for (unsigned kind = 0; kind < KERNEL_KINDS; kind++) {
		const struct kernel_value *v;
		struct kernel_key key;
		size_t from = 0;

		while (kernel_state_each(live.state, kind, &from, &key))
			for (unsigned n = 0; (v = kernel_state_find(live.state, &key, n)); n++)
				add_value(&here, &key, v);
	}
	kernel_text_sort(&here);
	if (!kernel_text_equal(&here, &there, true))
		fail_msg("not what ip says, after:\n%s", after);
	kernel_text_free(&here);
	kernel_text_free(&there);
}

/* --- Changes ---------------------------------------------------------------------------------- */

static uint64_t random_state;

static unsigned below(unsigned n)
{
	random_state = random_state * 6364136223846793005u + 1442695040888963407u;
	return (unsigned)((random_state >> 33) % n);
}

static const char *const links[] = {"pp0", "pp1", "pp2", "pp3", "ppt"};

static const char *any_link(void)
{
	return links[below(5)];
}

static const char *any(const char *const *words, unsigned n)
{
	return words[below(n)];
}
#define ANY(...)                                                                                   \
	any((const char *const[]){__VA_ARGS__},                                                    \
		sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))

static int hop_text(char *text, size_t room, bool ipv6)
{
	const unsigned link = below(5), host = 1 + below(4);

	if (below(5) == 0)
		return snprintf(text, room, " dev %s", links[link]);
	if (ipv6)
		return snprintf(text, room, " via fe80::%u dev %s", host, links[link]);
	if (below(4) == 0)
		return snprintf(text, room, " via inet6 fe80::%u dev %s", host, links[link]);
	return snprintf(text, room, " via 10.0.%u.%u dev %s onlink", link, host, links[link]);
}

static void hops_text(char *text, size_t room, bool ipv6)
{
	const unsigned hops = 2 + below(2);
	int n = 0;

	if (below(4) == 0) {
		snprintf(text, room, " nhid %u", 1 + below(8));
		return;
	}
	if (below(3)) {
		hop_text(text, room, ipv6);
		return;
	}
	for (unsigned k = 0; k < hops; k++) {
		n += snprintf(text + n, room - (size_t)n, " nexthop");
		n += hop_text(text + n, room - (size_t)n, ipv6);
		n += snprintf(text + n, room - (size_t)n, " weight %u", 1 + below(3));
	}
}

static void route_text(char *line, size_t room)
{
	const bool ipv6 = below(2);
	const char *what = ANY("add", "append", "prepend", "replace", "replace", "del", "del");
	char prefix[64], hops[400], more[80] = "";

	if (ipv6)
		snprintf(prefix, sizeof(prefix), "2001:db8:%u::/48", below(6));
	else
		snprintf(prefix, sizeof(prefix), "192.168.%u.0/24", below(6));
	hops_text(hops, sizeof(hops), ipv6);
	if (below(3) == 0)
		snprintf(more, sizeof(more), " metric %u", 10 * (1 + below(2)));
	if (below(5) == 0)
		append(more, sizeof(more), " table 100");
	if (below(6) == 0 && !ipv6)
		append(more, sizeof(more), " tos 0x10");
	if (below(8) == 0)
		append(more, sizeof(more), " mtu 1300");
	if (below(6) == 0)
		snprintf(line, room, "-%d route %s %s %s%s\n", ipv6 ? 6 : 4, what,
			ANY("blackhole", "unreachable", "prohibit", "throw"), prefix, more);
	else if (!strcmp(what, "del") && below(2))
		snprintf(line, room, "-%d route del %s%s\n", ipv6 ? 6 : 4, prefix, more);
	else
		snprintf(line, room, "-%d route %s %s%s%s\n", ipv6 ? 6 : 4, what, prefix, more,
			hops);
}

static void other_text(char *line, size_t room)
{
	const unsigned link = below(5), host = 1 + below(4), id = 1 + below(5);

	switch (below(14)) {
	case 0:
	case 1:
		snprintf(line, room, "link set %s %s\n", links[link], ANY("up", "up", "down"));
		break;
	case 2:
		snprintf(line, room, "link set %s mtu %u\n", links[link], 1400 + below(3) * 50);
		break;
	case 3:
	case 4:
		snprintf(line, room, "address %s 10.0.%u.%u/24 dev %s\n", ANY("add", "add", "del"),
			below(3), 10 + below(3), links[link]);
		break;
	case 5:
		snprintf(line, room, "address %s 2001:db8:f%u::%u/64 dev %s nodad\n",
			ANY("add", "add", "del"), below(2), host, links[link]);
		break;
	case 6:
		snprintf(line, room, "neighbor %s 10.0.%u.%u lladdr 02:00:00:00:00:%02x dev %s%s\n",
			ANY("replace", "replace", "del"), link, host, below(256), links[link],
			" nud permanent");
		break;
	case 7:
		snprintf(line, room, "nexthop %s id %u via %s%u dev %s\n", ANY("add", "replace"),
			id, ANY("fe80::", "10.0.0.", "fe80::"), host, links[link]);
		break;
	case 8:
		snprintf(line, room, "nexthop %s id %u dev %s\n", ANY("add", "replace"), id,
			any_link());
		break;
	case 9:
		snprintf(line, room, "nexthop %s id %u group %u,%u/%u,%u\n", "replace",
			6 + below(2), id, id % 5 + 1, 1 + below(3), (id + 1) % 5 + 1);
		break;
	case 10:
		snprintf(line, room, "nexthop %s id 8 group %u type resilient buckets 8\n",
			"replace", id);
		break;
	case 11:
		snprintf(line, room, "nexthop del id %u\n", 1 + below(8));
		break;
	case 12:
		snprintf(line, room, "route replace 172.16.%u.0/24 dev %s src 10.0.%u.%u\n",
			below(3), links[link], below(3), 10 + below(3));
		break;
	default:
		if (below(4))
			snprintf(line, room, "nexthop replace id %u blackhole\n", id);
		else
			snprintf(line, room,
				"link del pp2\nlink add pp2 type veth peer name pp3\n"
				"link set pp2 up\nlink set pp3 up\n");
	}
}

static void run_ip(const char *commands)
{
	FILE *pipe = popen("ip -force -batch - >/dev/null 2>&1", "we");

	assert_non_null(pipe);
	fputs(commands, pipe);
	pclose(pipe); /* some of them the kernel refuses */
}

/* What the kernel deletes without a message, each for itself: a random run may not meet it. */
static void test_silent(void **state)
{
	static const char first[] =
		"address add 10.0.0.1/24 dev pp0\naddress add 10.0.2.1/24 dev pp2\n"
		"route add 192.168.1.0/24 via 10.0.0.2\n"
		"route add 192.168.2.0/24 nexthop via 10.0.0.2 nexthop via 10.0.2.2\n"
		"route add 192.168.3.0/24 dev pp2 src 10.0.0.1\n"
		"nexthop add id 1 via 10.0.0.3 dev pp0\nnexthop add id 2 via 10.0.2.3 dev pp2\n"
		"nexthop add id 6 group 1/2\nroute add 192.168.4.0/24 nhid 1\n"
		"route add 192.168.5.0/24 nhid 6\n-6 route add 2001:db8:7::/48 dev pp2\n";
	static const char again[] =
		"link set pp0 up\nroute add 192.168.1.0/24 via 10.0.0.2 dev pp0 onlink\n"
		"nexthop add id 1 via 10.0.0.3 dev pp0 onlink\nroute add 192.168.4.0/24 nhid 1\n";
	static const char *const changes[] = {
		first,
		"nexthop del id 1\n",
		"link set pp0 down\n",
		again,
		"link set pp1 down\n", /* pp0's carrier */
		"link set pp1 up\n",
		"address add 10.0.9.1/24 dev pp0\naddress del 10.0.0.1/24 dev pp0\n", /* a source */
		"route del 192.168.2.0/24\naddress del 10.0.9.1/24 dev pp0\n",        /* the last */
		"link set pp2 down\n",
		"link set pp2 up\n",
	};

	start(&live);
	until_complete(&live);
	for (size_t k = 0; k < sizeof(changes) / sizeof(*changes); k++) {
		run_ip(changes[k]);
		agree(changes[k]);
		agree_with_ip(changes[k]);
	}
	assert_int_equal(live.rounds, 1);
	assert_true(kernel_state_counters(live.state)->evicted >= 8);
	kernel_reader_stop(&live);
	run_ip("nexthop flush\naddress flush dev pp0 scope global\n"
	       "address flush dev pp2 scope global\n-6 route del 2001:db8:7::/48\n");
}

static size_t most(size_t so_far, enum kernel_kind kind)
{
	size_t n = kernel_state_count(live.state, kind);

	return n > so_far ? n : so_far;
}

static void test_random(void **state)
{
	size_t most_routes = 0, most_objects = 0;

	random_state = test_seed();
	start(&live);
	until_complete(&live);
	agree_with_ip("start");
	for (unsigned round = 0; round < 60; round++) {
		char commands[8192] = "";

		for (unsigned k = 1 + below(round < 30 ? 3 : 12); k; k--) {
			char *end = commands + strlen(commands);

			(below(2) ? route_text : other_text)(end, 600);
		}
		run_ip(commands);
		agree(commands);
		agree_with_ip(commands);
		most_routes = most(most_routes, KERNEL_ROUTE);
		most_objects = most(most_objects, KERNEL_NEXT_HOP);
	}
	assert_true(most_routes > 20);
	assert_true(most_objects > 3);
	assert_true(kernel_state_counters(live.state)->evicted > 0);
	assert_int_equal(live.rounds, 1);
	assert_int_equal(kernel_state_counters(live.state)->malformed, 0);
	kernel_reader_stop(&live);
}

/* More messages than the socket takes: they are lost, and what they said is found all the same. */
static void test_overrun(void **state)
{
	const uint64_t deadline = clock_now_ns() + DEADLINE_NS;
	char *commands = calloc(4000, 64);
	const int bytes = 4096;
	size_t n = 0;

	assert_non_null(commands);
	start(&live);
	until_complete(&live);
	assert_int_equal(setsockopt(live.events, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes)), 0);
	for (unsigned k = 0; k < 3000; k++)
		n += (size_t)snprintf(
			commands + n, 64, "route add blackhole 172.20.%u.%u\n", k >> 8, k & 255);
	for (unsigned k = 0; k < 1000; k++)
		n += (size_t)snprintf(
			commands + n, 64, "route del blackhole 172.20.%u.%u\n", k >> 8, k & 255);
	run_ip(commands);
	free(commands);
	while (!live.overruns || !live.complete) {
		assert_true(clock_now_ns() < deadline);
		loop_step(&loop, 100);
	}
	agree("a burst");
	agree_with_ip("a burst");
	assert_true(kernel_state_count(live.state, KERNEL_ROUTE) > 2000);
	kernel_reader_stop(&live);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_silent),
		cmocka_unit_test(test_random), cmocka_unit_test(test_overrun)};

	if (!rig_namespace()) {
		printf("skipped: no network namespace allowed here\n");
		return 77;
	}
	if (rig_run("sysctl -w net.ipv6.conf.default.disable_ipv6=0"
		    " net.ipv6.conf.default.accept_dad=0 net.ipv6.conf.default.accept_ra=0"
		    " net.ipv6.conf.default.router_solicitations=0"
		    " net.ipv6.conf.all.disable_ipv6=0; "
		    "ip link add pp0 type veth peer name pp1 &&"
		    " ip link add pp2 type veth peer name pp3 && ip tuntap add ppt mode tap &&"
		    " for l in pp0 pp1 pp2 pp3 ppt; do ip link set $l up; done")) {
		printf("skipped: no veth pair or tap allowed here\n");
		return 77;
	}
	if (loop_open(&loop))
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
