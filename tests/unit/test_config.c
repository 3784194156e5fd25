/* SPDX-License-Identifier: BSD-3-Clause */
/* The configuration file: what is absent gets its default, and what follows from what is there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "router/config_defaults.h"
#include "router/policers.h"
#include "tests/unit/config_rig.h"

#include <p2pnic/registers.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void test_defaults(void **state)
{
	struct config *c = load(NIC);

	assert_int_equal(c->nics_count, 1);
	assert_string_equal(c->nics[0].name, "a");
	assert_string_equal(c->nics[0].port.type, "pcap");
	assert_string_equal(c->nics[0].port.target, "x,y");
	assert_null(c->nics[0].port.options);
	assert_string_equal(c->nics[0].engine, "a");
	assert_int_equal(*c->nics[0].mtu, 1500);
	assert_int_equal(c->nics[0].addresses_count, 0);
	assert_int_equal(c->engines_count, 0);
	assert_int_equal(c->neighbors_count, 0);
	assert_int_equal(c->routes_count, 0);
	assert_non_null(c->router);
	assert_int_equal(c->router->method_number, P2PNIC_METHOD_WRITE);
	assert_int_equal(*c->router->buffer_bytes, P2PNIC_BUFFER_BYTES_MIN);
	assert_int_equal(*c->router->ring_slots, P2PNIC_RING_SLOTS_MAX);
	assert_int_equal(*c->router->batch, P2PNIC_BATCH_DEFAULT);
	assert_int_equal(*c->router->rx_buffers, 1024);
	assert_int_equal(*c->router->table_memory_mib, 16);
	assert_int_equal(*c->router->packet_memory_mib, 16);
	assert_string_equal(c->router->name, "p2pnic");
	assert_null(c->router->bounce_core);
	assert_string_equal(c->path, file);
	assert_int_equal(config_nic_index(c, "a"), 0);
	assert_int_equal(config_nic_index(c, "z"), -1);
	config_free(c);
}

static void test_methods(void **state)
{
	static const struct {
		const char *text;
		unsigned method;
	} methods[] = {{"router: {method: wr}\n" NIC, P2PNIC_METHOD_WRITE},
		{"router: {method: rd}\n" NIC, P2PNIC_METHOD_READ},
		{"router: {method: bn}\n" NIC, P2PNIC_METHOD_BOUNCE}};

	for (size_t k = 0; k < sizeof(methods) / sizeof(*methods); k++) {
		struct config *c = load(methods[k].text);

		assert_int_equal(c->router->method_number, methods[k].method);
		config_free(c);
	}
}

/* Rd: what is in a ring is in the ingress NIC's buffers, so one leaves some for the others. */
static void test_rings_of_rd(void **state)
{
	static const struct {
		const char *router;
		unsigned ring_slots, rx_buffers;
	} sizes[] = {{"{method: rd}", 512, 2048}, {"{method: rd, rx_buffers: 8192}", 1024, 8192},
		{"{method: rd, rx_buffers: 4095}", 512, 4095},
		{"{method: rd, rx_buffers: 64}", 16, 64},
		{"{method: rd, ring_slots: 1024}", 1024, 2048}, {"{method: hy}", 1024, 1024}};

	for (size_t k = 0; k < sizeof(sizes) / sizeof(*sizes); k++) {
		char text[256];
		struct config *c;

		snprintf(text, sizeof(text),
			"router: %s\nnics:\n  - {name: a, port: {type: tap, target: t}}\n",
			sizes[k].router);
		c = load(text);
		assert_int_equal(*c->router->ring_slots, sizes[k].ring_slots);
		assert_int_equal(*c->router->rx_buffers, sizes[k].rx_buffers);
		config_free(c);
	}
}

/* The smallest that hold a packet of the largest MTU; rings and packet memory follow. */
static void test_buffer_sizes(void **state)
{
	static const struct {
		const char *router;
		unsigned mtu, buffer_bytes, ring_slots, packet_memory_mib;
	} sizes[] = {{"{}", 68, 2048, 1024, 16}, {"{}", 1778, 2048, 1024, 16},
		{"{}", 1779, 4096, 1024, 16}, {"{}", 3826, 4096, 1024, 16},
		{"{}", 3827, 16384, 1024, 64}, {"{}", 9000, 16384, 1024, 64},
		{"{}", 16114, 16384, 1024, 64}, {"{buffer_bytes: 4096}", 1500, 4096, 1024, 16},
		{"{buffer_bytes: 16384, ring_slots: 256}", 1500, 16384, 256, 32}};

	for (size_t k = 0; k < sizeof(sizes) / sizeof(*sizes); k++) {
		char text[256];
		struct config *c;

		snprintf(text, sizeof(text),
			"router: %s\nnics:\n"
			"  - {name: a, port: {type: tap, target: t}}\n"
			"  - {name: b, mtu: %u, port: {type: tap, target: u}}\n",
			sizes[k].router, sizes[k].mtu);
		c = load(text);
		assert_int_equal(*c->router->buffer_bytes, sizes[k].buffer_bytes);
		assert_int_equal(*c->router->ring_slots, sizes[k].ring_slots);
		assert_int_equal(*c->router->packet_memory_mib, sizes[k].packet_memory_mib);
		config_size(c, 5); /* of large buffers fewer fit */
		assert_int_equal(*c->router->ring_slots,
			sizes[k].buffer_bytes < 16384 ? P2PNIC_RING_SLOTS_MAX : 256);
		config_free(c);
	}
}

static void test_values(void **state)
{
	struct config *c =
		load("router: {ring_slots: 1024, batch: 64, rx_buffers: 64}\n"
		     "engines:\n"
		     "  - {name: e, core: 0, process: p}\n"
		     "nics:\n"
		     "  - name: a\n"
		     "    engine: e\n"
		     "    port: {type: af_xdp, target: eth0, options: mode=generic}\n"
		     "    mac: 02:00:5e:00:53:01\n"
		     "    mtu: 1778\n"
		     "    addresses: [192.0.2.1/24, \"2001:db8::1/64\"]\n"
		     "neighbors:\n"
		     "  - {nic: a, address: 192.0.2.9, mac: \"02:00:5e:00:53:09\"}\n"
		     "routes:\n"
		     "  - {prefix: 10.0.0.0/8, via: 192.0.2.9}\n"
		     "  - {prefix: 11.0.0.0/8, next_hops: [{via: 192.0.2.9, weight: 256}, "
		     "{via: 192.0.2.10}]}\n"
		     "  - {prefix: \"::/0\", action: prohibit}\n");
	char text[ADDRESS_TEXT_BYTES];

	assert_int_equal(*c->router->ring_slots, 1024);
	assert_int_equal(*c->engines[0].core, 0);
	assert_string_equal(c->engines[0].process, "p");
	assert_int_equal(*c->nics[0].mtu, 1778);
	assert_string_equal(mac_text(c->nics[0].mac_address, text), "02:00:5e:00:53:01");
	assert_string_equal(prefix_text(&c->nics[0].address[0], text), "192.0.2.1/24");
	assert_string_equal(prefix_text(&c->nics[0].address[1], text), "2001:db8::1/64");
	assert_int_equal(c->neighbors[0].nic_index, 0);
	assert_string_equal(address_text(&c->neighbors[0].ip, text), "192.0.2.9");
	assert_string_equal(prefix_text(&c->routes[0].destination, text), "10.0.0.0/8");
	assert_string_equal(address_text(&c->routes[0].gateway, text), "192.0.2.9");
	assert_int_equal(c->routes[1].next_hops_count, 2);
	assert_int_equal(*c->routes[1].next_hops[0].weight, 256);
	assert_string_equal(address_text(&c->routes[1].next_hops[1].gateway, text), "192.0.2.10");
	assert_string_equal(c->routes[2].action, "prohibit");
	config_free(c);
}

/* An MTU that is absent: the NIC's, or what its buffers leave for a tag. */
static void test_vlans(void **state)
{
	static const struct {
		const char *router, *nic;
		unsigned mtu, buffer_bytes;
	} sizes[] = {{"{}", "", 1500, 2048}, {"{}", "mtu: 1400, ", 1400, 2048},
		{"{}", "mtu: 1774, ", 1774, 2048}, {"{}", "mtu: 1775, ", 1775, 4096},
		{"{buffer_bytes: 2048}", "mtu: 1778, ", 1774, 2048},
		{"{buffer_bytes: 2048, check: crc}", "mtu: 1770, ", 1766, 2048},
		{"{check: crc}", "mtu: 1770, ", 1770, 4096}};
	char text[512];
	struct config *c =
		load("nics:\n  - {name: a, port: {type: tap, target: t}}\n"
		     "  - name: b.c\n    port: {type: tap, target: u}\n    vlans:\n"
		     "      - {id: 1, mtu: 1280, addresses: [10.1.0.1/24, \"fd00::1/64\"]}\n"
		     "      - {id: 4094}\n"
		     "neighbors: [{nic: b.c.4094, address: 10.1.0.2, mac: "
		     "\"02:00:00:00:00:01\"}]\n");

	assert_int_equal(c->nics[0].vlans_count, 0);
	assert_int_equal(c->nics[1].vlans_count, 2);
	assert_string_equal(c->nics[1].vlans[0].name, "b.c.1");
	assert_int_equal(*c->nics[1].vlans[0].mtu, 1280);
	assert_string_equal(prefix_text(&c->nics[1].vlans[0].address[1], text), "fd00::1/64");
	assert_int_equal(*c->nics[1].vlans[1].id, 4094);
	assert_int_equal(c->neighbors[0].nic_index, 1);
	assert_int_equal(c->neighbors[0].vid, 4094);
	config_free(c);
	for (size_t k = 0; k < sizeof(sizes) / sizeof(*sizes); k++) {
		snprintf(text, sizeof(text),
			"router: %s\nnics:\n"
			"  - {name: a, %sport: {type: tap, target: t}, vlans: [{id: 5}]}\n",
			sizes[k].router, sizes[k].nic);
		c = load(text);
		assert_int_equal(*c->nics[0].vlans[0].mtu, sizes[k].mtu);
		assert_int_equal(*c->router->buffer_bytes, sizes[k].buffer_bytes);
		config_free(c);
	}
}

static void assert_policer(const struct config *c, enum p2pnic_punt_class class, uint32_t rate,
	uint32_t burst, uint32_t source_rate, uint32_t source_burst)
{
	const struct p2pnic_policer p = policer_of(c, class);

	assert_int_equal(p.all.rate, rate);
	assert_int_equal(p.all.burst, burst);
	assert_int_equal(p.source.rate, source_rate);
	assert_int_equal(p.source.burst, source_burst);
}

static void test_punt_rates(void **state)
{
	static const char nics[] = "nics:\n  - {name: a, port: {type: tap, target: t}}\n"
				   "  - {name: b, port: {type: tap, target: u}}\n"
				   "  - {name: c, port: {type: tap, target: v}}\nkernel: {}\n";
	char text[512];
	struct config *c = load(nics);

	assert_null(c->punt);
	assert_policer(c, P2PNIC_PUNT_LOCAL, 6000, 600, 3000, 300);
	assert_policer(c, P2PNIC_PUNT_LINK, 200, 20, 20, 8);
	assert_policer(c, P2PNIC_PUNT_GLEAN, 66, 8, 20, 8); /* 200 of all NICs */
	assert_policer(c, P2PNIC_PUNT_SAMPLE, 0, 8, 0, 8);  /* not limited */
	config_free(c);
	snprintf(text, sizeof(text),
		"%spunt:\n"
		"  local: {rate: 100, burst: 7, source_rate: 5, source_burst: 1}\n"
		"  link: {source_rate: 100000000}\n"
		"  neighbor: {rate: 5000}\n"
		"  exception: {}\n"
		"  glean: {rate: 2, burst: 300}\n",
		nics);
	c = load(text);
	assert_policer(c, P2PNIC_PUNT_LOCAL, 100, 7, 5, 1);
	assert_policer(c, P2PNIC_PUNT_LINK, 200, 20, 100000000, 10000000);
	assert_policer(c, P2PNIC_PUNT_NEIGHBOR, 5000, 500, 60, 8);
	assert_policer(c, P2PNIC_PUNT_EXCEPTION, 1000, 100, 100, 10);
	assert_policer(c, P2PNIC_PUNT_GLEAN, 1, 100, 20, 8);
	assert_policer(c, P2PNIC_PUNT_HELLO, 10000, 1000, 1000, 100);
	config_free(c);
}

/* Places for NICs: given, or what the packet memory holds; what it is made for, it holds. */
static void test_places(void **state)
{
	struct config *c = load(NICS);
	const unsigned held = *c->router->nics_max;

	assert_true(held == config_places(c) && held >= 2);
	config_size(c, 60);
	assert_int_equal(*c->router->ring_slots, 256);
	assert_true(*c->router->nics_max >= 60);
	assert_true(config_size_like(c, P2PNIC_RING_SLOTS_MAX, 16));
	assert_int_equal(*c->router->nics_max, held);
	assert_false(config_size_like(c, 512, 16));
	assert_int_equal(*c->router->nics_max, held);
	config_free(c);
	c = load("router: {nics_max: 40}\n" NIC);
	assert_int_equal(*c->router->ring_slots, 256);
	assert_true(config_places(c) >= 40);
	config_size(c, 2);
	assert_int_equal(*c->router->nics_max, 40);
	config_free(c);
	c = load("router: {method: bn}\n" NICS);
	assert_int_equal(*c->router->nics_max, 2);
	config_free(c);
}

/* NICs by number, with places in between that nothing is wrong with. */
static void test_place(void **state)
{
	static const unsigned number[] = {3, 1};
	struct config *c =
		load(NICS "neighbors:\n"
			  "  - {nic: b, address: 10.0.0.2, mac: \"02:00:00:00:00:02\"}\n"
			  "  - {nic: a, address: 10.0.0.3, mac: \"02:00:00:00:00:03\"}\n");

	assert_int_equal(config_place(c, number, 5), 0);
	assert_int_equal(c->nics_count, 5);
	assert_int_equal(config_nics_used(c), 2);
	assert_int_equal(config_nic_index(c, "a"), 3);
	assert_int_equal(config_nic_index(c, "b"), 1);
	assert_int_equal(c->neighbors[0].nic_index, 1);
	assert_int_equal(c->neighbors[1].nic_index, 3);
	for (unsigned k = 0; k < 5; k++) {
		assert_int_equal(config_nic_used(&c->nics[k]), k == 1 || k == 3);
		assert_non_null(config_nic_target(&c->nics[k]));
		assert_int_equal(*c->nics[k].mtu, 1500);
	}
	config_free(c);
}

static void test_runtime(void **state)
{
	struct config *c = load("router: {runtime: /x/y}\n" NIC);
	char path[256], of_name[256];

	config_runtime(c, path, sizeof(path));
	assert_string_equal(path, "/x/y");
	config_free(c);
	c = load("router: {name: edge}\n" NIC);
	config_runtime(c, path, sizeof(path));
	runtime_of_name("edge", of_name, sizeof(of_name));
	assert_string_equal(path, of_name);
	config_free(c);
	c = load(NIC);
	config_runtime(c, path, sizeof(path));
	runtime_of_name("p2pnic", of_name, sizeof(of_name));
	assert_string_equal(path, of_name);
	config_free(c);
	setenv("XDG_RUNTIME_DIR", "/user/7", 1);
	runtime_of_name("edge", path, sizeof(path));
	assert_string_equal(path, geteuid() ? "/user/7/p2pnic/edge" : "/run/p2pnic/edge");
}

/* In a process of another user, who may not read the file, and has a directory of his own. */
static void test_another_user(void **state)
{
	int status;

	if (geteuid() != 0)
		skip();
	write_file(NIC);
	pid_t child = fork();

	assert_true(child >= 0);
	if (!child) {
		char path[256];
		struct error error = {""};
		struct config *config;

		if (setgid(65533) || setuid(65533))
			_exit(1);
		if (config_load(&config, file, &error) != -EACCES ||
			!strstr(error.text, "Permission"))
			_exit(2);
		setenv("XDG_RUNTIME_DIR", "/user/7", 1);
		runtime_of_name("edge", path, sizeof(path));
		if (strcmp(path, "/user/7/p2pnic/edge") != 0)
			_exit(3);
		setenv("XDG_RUNTIME_DIR", "", 1);
		runtime_of_name("edge", path, sizeof(path));
		if (strcmp(path, "/tmp/p2pnic-65533/edge") != 0)
			_exit(4);
		unsetenv("XDG_RUNTIME_DIR");
		runtime_of_name("edge", path, sizeof(path));
		_exit(strcmp(path, "/tmp/p2pnic-65533/edge") ? 5 : 0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

/* Buffers for so many NICs need more packet memory than is usual: it is what holds them. */
static void test_many_nics(void **state)
{
	char text[64 * 80] = "router: {rx_buffers: 8192}\nnics:\n";

	for (unsigned k = 0; k < 40; k++)
		sprintf(text + strlen(text), "  - {name: n%u, port: {type: tap, target: t%u}}\n", k,
			k);
	struct config *c = load(text);

	assert_int_equal(*c->router->ring_slots, 256);
	/* 8192 and 40 times 256 buffers of 2 KiB. */
	assert_int_equal(*c->router->packet_memory_mib, 64);
	config_free(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_methods),
		cmocka_unit_test(test_rings_of_rd),
		cmocka_unit_test(test_buffer_sizes),
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_vlans),
		cmocka_unit_test(test_punt_rates),
		cmocka_unit_test(test_places),
		cmocka_unit_test(test_place),
		cmocka_unit_test(test_runtime),
		cmocka_unit_test(test_another_user),
		cmocka_unit_test(test_many_nics),
	};

	return cmocka_run_group_tests(tests, begin, end);
}
