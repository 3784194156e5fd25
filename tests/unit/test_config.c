/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The configuration file: what is absent gets its default, each mistake is reported with file, line
 * and reason, every file of packaging/examples loads, and what is written about it is complete.
 *
 *     test_config SOURCE-DIRECTORY
 */
#include "router/config.h"
#include "router/config_defaults.h"
#include "router/config_tree.h"
#include "router/policers.h"

#include <p2pnic/registers.h>

#include <errno.h>
#include <glob.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static const char *root = ".";
static char file[] = "/tmp/p2pnic-test-config-XXXXXX";

static void write_file(const char *text)
{
	FILE *f = fopen(file, "w");

	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

static struct config *load(const char *text)
{
	struct config *config = NULL;
	struct error error = {""};

	write_file(text);
	if (config_load(&config, file, &error) != 0)
		fail_msg("%s", error.text);
	return config;
}

#define NIC  "nics:\n  - {name: a, port: {type: pcap, target: \"x,y\"}}\n"
#define NICS NIC "  - {name: b, port: {type: tap, target: t0}}\n"

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

#define NIC_VLANS "nics:\n  - {name: a, port: {type: tap, target: t}, vlans: [\n    "

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

/* Each wrong file, the line that is to blame, and words of the reason. */
static const struct mistake {
	unsigned line;
	const char *reason;
	const char *text;
} mistakes[] = {
	{1, "empty", ""},
	{1, "empty", "# nothing but this\n"},
	{1, "the file: want a mapping, not a list", "[]\n"},
	{1, "the file: want a mapping, not a value", "x\n"},
	{2, "YAML: did not find expected node content while parsing a flow node", "nics: [\n"},
	{2, "YAML: found character that cannot start any token", "nics:\n\t- x\n"},
	{3, "YAML: invalid trailing UTF-8 octet", "# \n# \n# \xc3(\n" NIC},
	{3, "a second document; want one", NIC "---\n" NIC},
	{2, "&a: no anchors", "nics:\n  - &a {name: a, port: {type: tap, target: t}}\n"},
	{3, "*a: no anchors", "router:\n  name: x\n  batch: *a\n" NIC},
	{2, "&b: no anchors", "router:\n  name: &b x\n" NIC},
	{2, "&c: no anchors", "nics:\n  &c [x]\n"},
	{3, "more than 15 levels", "nics:\n  - [[[[[[[[\n    [[[[[[[[\n"},
	{3, "name: a second time; the first is in line 2",
		"nics:\n  - {name: a,\n     name: b, port: {type: tap, target: t}}\n"},
	{2, "unknown key 'nics' in router; want name, runtime, state, method",
		"router:\n  nics: []\n" NIC},
	{1, "a key: want a value, not a list", "? [x]\n: y\n" NIC},
	{1, "a key: want a value, not a mapping", "{a: b}: y\n" NIC},
	{1, "router: want a mapping, not nothing", "router:\n" NIC},
	{2, "name: 0 bytes; want 1 to 255", "router:\n  name: \"\"\n" NIC},
	{2, "name: want a value, not a mapping", "router:\n  name: {}\n" NIC},
	{2, "shared 'maybe': want true or false", "engines:\n  - {name: e, shared: maybe}\n" NIC},
	{2, "core '0x1': want a number", "engines:\n  - {name: e, core: 0x1}\n" NIC},
	{2, "core '4294967296': want", "engines:\n  - {name: e, core: 4294967296}\n" NIC},
	{2, "core: want a value, not a list", "engines:\n  - {name: e, core: []}\n" NIC},
	{2, "shared: want a value, not a list", "engines:\n  - {name: e, shared: []}\n" NIC},
	{1, "batch '010': want 1 to 64", "router: {batch: 010}\n" NIC},
	{1, "batch: want a value, not a list", "router: {batch: []}\n" NIC},
	{1, "batch '99999999999999999999': want", "router: {batch: 99999999999999999999}\n" NIC},
	{1, "the file: lacks the key nics", "router: {name: x}\n"},
	{1, "nics: 0 entries; want 1 to 64", "nics: []\n"},
	{1, "unknown key 'colour' in the file; want router, engines, nics", "colour: blue\n" NIC},
	{1, "ring_slots 'many': want a power of two from 8 to 1024",
		"router: {ring_slots: many}\n" NIC},
	{2, "method 'dma': want wr, rd, bn or hy", "router:\n  method: dma\n" NIC},
	{2, "method: hy lends packets where they are, which cannot be checked",
		"router:\n  method: hy\n  check: crc\n" NIC},
	{2, "name 'a b': want 1 to 31 of letters", "router:\n  name: a b\n" NIC},
	{2, "name '..': want 1 to 31 of letters", "router:\n  name: ..\n" NIC},
	{2, "a zero byte in a text", "router:\n  name: \"x\\0y\"\n" NIC},
	{2, "a zero byte in a text", "router:\n  \"name\\0x\": y\n" NIC},
	{2, "ring_slots 100: want a power of two from 8 to 1024",
		"router:\n  ring_slots: 100\n" NIC},
	{2, "ring_slots 4:", "router:\n  ring_slots: 4\n" NIC},
	{2, "ring_slots 2048:", "router:\n  ring_slots: 2048\n" NIC},
	{3, "batch 0: want 1 to 64", "router:\n  name: x\n  batch: 0\n" NIC},
	{2, "batch 65:", "router:\n  batch: 65\n" NIC},
	{2, "rx_buffers 63: want 64 to 8192", "router:\n  rx_buffers: 63\n" NIC},
	{2, "rx_buffers 8193:", "router:\n  rx_buffers: 8193\n" NIC},
	{2, "table 'big':", "router:\n  table: big\n" NIC},
	{2, "packet_memory_mib 17: want a power of two from 16 to 2048",
		"router:\n  packet_memory_mib: 17\n" NIC},
	{2, "table_memory_mib 4096:", "router:\n  table_memory_mib: 4096\n" NIC},
	{2, "letters, digits", "engines:\n  - {name: \"a/b\"}\n" NIC},
	{2, "letters, digits", "engines:\n  - {name: e, process: \"a/b\"}\n" NIC},
	{2, "no core 100000", "engines:\n  - {name: e, core: 100000}\n" NIC},
	{2, "no core -1", "engines:\n  - {name: e, core: -1}\n" NIC},
	{2, "NIC a: want one of port, pci, card", "nics:\n  - {name: a}\n"},
	{2, "NIC a: want one of port, pci, card",
		"nics:\n  - {name: a, pci: \"0000:03:00.0\", port: {type: tap, target: t}}\n"},
	{2, "pci '03:00.0': want DDDD:BB:DD.F", "nics:\n  - {name: a, pci: \"03:00.0\"}\n"},
	{2, "pci '0000:03:00.8': want", "nics:\n  - {name: a, pci: \"0000:03:00.8\"}\n"},
	{2, "pci '0000:0A:00.0': want", "nics:\n  - {name: a, pci: \"0000:0A:00.0\"}\n"},
	{2, "pci '0000:03:00.00': want", "nics:\n  - {name: a, pci: \"0000:03:00.00\"}\n"},
	{2, "access 'mmap': want vfio or sysfs",
		"nics:\n  - {name: a, pci: \"0000:03:00.0\", access: mmap}\n"},
	{2, "access: a soft NIC has none",
		"nics:\n  - {name: a, port: {type: tap, target: t}, access: vfio}\n"},
	{3, "NIC b: access sysfs for all NICs, or for none",
		"nics:\n  - {name: a, pci: \"0000:03:00.0\", access: sysfs}\n"
		"  - {name: b, pci: \"0000:04:00.0\"}\n"},
	{2, "a PCI NIC has its own processors",
		"nics:\n  - {name: a, engine: e, pci: \"0000:03:00.0\"}\n"},
	{2, "NIC a: want one of port, pci, card",
		"nics:\n  - {name: a, pci: \"0000:03:00.0\", card: c0}\n"},
	{3, "NIC b: cards for all NICs, or for none",
		"nics:\n  - {name: a, card: c0}\n"
		"  - {name: b, port: {type: tap, target: t}}\n"},
	{2, "a card has its own processors", "nics:\n  - {name: a, engine: e, card: c0}\n"},
	{3, "card: a card has method wr and buffers of 2048 bytes, no others",
		"router: {method: rd}\nnics:\n  - {name: a, card: c0}\n"},
	{3, "card: a card has method wr and",
		"router: {method: bn}\nnics:\n  - {name: a, card: c0}\n"},
	{3, "card: a card has method wr and",
		"router: {buffer_bytes: 4096}\nnics:\n  - {name: a, card: c0}\n"},
	{3, "mtu 1771: want 68 to 1770, or check: none",
		"router: {check: stamp}\nnics:\n  - {name: a, card: c0, mtu: 1771}\n"},
	{2, "mtu 1779: want 68 to 1778", "nics:\n  - {name: a, card: c0, mtu: 1779}\n"},
	{3, "NIC a is c0 already", "nics:\n  - {name: a, card: c0}\n  - {name: b, card: c0}\n"},
	{3, "method bn: the host thread reaches",
		"router: {method: bn}\nnics:\n  - {name: a, pci: \"0000:03:00.0\"}\n"},
	{3, "NIC a is 0000:03:00.0 already",
		"nics:\n  - {name: a, pci: \"0000:03:00.0\"}\n"
		"  - {name: b, pci: \"0000:03:00.0\"}\n"},
	{2, "name '/': want", "nics:\n  - {name: /, port: {type: tap, target: t}}\n"},
	{3, "two NICs are named 'a'", NIC "  - {name: a, port: {type: tap, target: t}}\n"},
	{3, "'02:xx' is no MAC address",
		"nics:\n  - port: {type: tap, target: t}\n    mac: 02:xx\n    name: a\n"},
	{2, "01:00:5e:00:00:01 is a group address",
		"nics:\n  - {name: a, mac: \"01:00:5e:00:00:01\", port: {type: tap, target: t}}\n"},
	{2, "0:0:0:0:0:0 is no address",
		"nics:\n  - {name: a, mac: \"0:0:0:0:0:0\", port: {type: tap, target: t}}\n"},
	{4, "'0:0:0:0:0:0' is no station's MAC address",
		NIC "neighbors:\n  - {nic: a, address: 10.0.0.2, mac: \"0:0:0:0:0:0\"}\n"},
	{2, "mtu 67: want 68 to 16114",
		"nics:\n  - {name: a, mtu: 67, port: {type: tap, target: t}}\n"},
	{2, "mtu 16115:", "nics:\n  - {name: a, mtu: 16115, port: {type: tap, target: t}}\n"},
	{4, "mtu 1779: want 68 to 1778, or larger buffer_bytes",
		"router:\n  buffer_bytes: 2048\nnics:\n"
		"  - {name: a, mtu: 1779, port: {type: tap, target: t}}\n"},
	{2, "buffer_bytes 8192: want 2048, 4096 or 16384", "router:\n  buffer_bytes: 8192\n" NIC},
	{4, "no engine is named 'f'",
		"engines:\n  - {name: e}\n"
		"nics:\n  - {name: a, engine: f, port: {type: tap, target: t}}\n"},
	{2, "engine '/': want", "nics:\n  - {name: a, engine: /, port: {type: tap, target: t}}\n"},
	{2, "'10.0.0.1' is no ADDRESS/LENGTH",
		"nics:\n  - {name: a, addresses: [10.0.0.1], port: {type: tap, target: t}}\n"},
	{2, "'10.0.0.1/33' is no",
		"nics:\n  - {name: a, addresses: [10.0.0.1/33], port: {type: tap, target: t}}\n"},
	{3, "id 0: want 1 to 4094", NIC_VLANS "{id: 0}]}\n"},
	{3, "id 4095: want 1 to 4094", NIC_VLANS "{id: 4095}]}\n"},
	{3, "vlans: lacks the key id", NIC_VLANS "{mtu: 1400}]}\n"},
	{3, "unknown key 'mac' in vlans; want id, mtu, addresses", NIC_VLANS "{id: 1, mac: x}]}\n"},
	{4, "vlans: NIC a has VLAN 7 already", NIC_VLANS "{id: 7},\n    {id: 7}]}\n"},
	{3, "vlans: VLAN 7 of NIC a is named 'a.7', and so is another NIC",
		NIC_VLANS "{id: 7}]}\n  - {name: a.7, port: {type: tap, target: u}}\n"},
	{3, "vlans: mtu 1501 of VLAN 7: want 68 to 1500: no more than its NIC's",
		NIC_VLANS "{id: 7, mtu: 1501}]}\n"},
	{4, "vlans: mtu 1775 of VLAN 7: want 68 to 1774",
		"router: {buffer_bytes: 2048}\nnics:\n"
		"  - {name: a, mtu: 1778, port: {type: tap, target: t}, vlans: [\n"
		"    {id: 7, mtu: 1775}]}\n"},
	{3, "vlans: '10.0.0.1' is no ADDRESS/LENGTH",
		NIC_VLANS "{id: 7, addresses: [10.0.0.1]}]}\n"},
	{3,
		"vlans: with `kernel` they come from the kernel: ip link add link a name a.7 type "
		"vlan "
		"id 7",
		NIC_VLANS "{id: 7}]}\nkernel: {}\n"},
	{4, "no NIC or VLAN is named 'a.8'",
		NIC_VLANS "{id: 7}]}\nneighbors: [{nic: a.8, address: 10.0.0.1, mac: "
			  "\"02:00:00:00:00:01\"}]\n"},
	{4, "no NIC or VLAN is named 'z'",
		NIC "neighbors:\n  - {nic: z, address: 10.0.0.1, mac: \"02:00:00:00:00:01\"}\n"},
	{4, "'10.0.0' is no address",
		NIC "neighbors:\n  - {nic: a, address: 10.0.0, mac: \"02:00:00:00:00:01\"}\n"},
	{4, "'x' is no station's MAC", NIC "neighbors:\n  - {nic: a, address: 10.0.0.1, mac: x}\n"},
	{4, "ff:ff:ff:ff:ff:ff",
		NIC "neighbors:\n  - {nic: a, address: 10.0.0.1, mac: \"ff:ff:ff:ff:ff:ff\"}\n"},
	{4, "'10.0.0.1/8' is no PREFIX/LENGTH, or has bits beyond it",
		NIC "routes:\n  - {prefix: 10.0.0.1/8, via: 10.0.0.2}\n"},
	{5, "want one of via, next_hops, action",
		NIC "routes:\n  - {prefix: 10.0.0.0/8, via: 10.0.0.2}\n  - {prefix: 11.0.0.0/8}\n"},
	{4, "want one of",
		NIC "routes:\n  - {prefix: 11.0.0.0/8, via: 10.0.0.1, action: blackhole}\n"},
	{4, "action 'drop': want", NIC "routes:\n  - {prefix: 11.0.0.0/8, action: drop}\n"},
	{4, "'there' is no address", NIC "routes:\n  - {prefix: 11.0.0.0/8, via: there}\n"},
	{4, "another family", NIC "routes:\n  - {prefix: 11.0.0.0/8, via: \"2001:db8::1\"}\n"},
	{5, "weight 0: want 1 to 256",
		NIC
		"routes:\n  - prefix: 11.0.0.0/8\n    next_hops: [{via: 10.0.0.1, weight: 0}]\n"},
	{4, "'ten' is no address",
		NIC "routes:\n  - {prefix: 11.0.0.0/8, next_hops: [{via: ten, weight: 1}, {via: "
		    "10.0.0.1}]}\n"},
	{4, "weight 257:",
		NIC
		"routes:\n  - {prefix: 11.0.0.0/8, next_hops: [{via: 10.0.0.1, weight: 257}]}\n"},
	{1, "nics: want a list, not a mapping", "nics: {name: a, port: {type: tap, target: t}}\n"},
	{4, "/tmp/nowhere.xz: No such file", NIC "route_files:\n  - {file: nowhere.xz}\n"},
	{5, "/nonexistent/t: No such file",
		NIC "route_files:\n  - via: [10.0.0.1]\n    file: /nonexistent/t\n"},
	{4, "/tmp/. is no file", NIC "route_files:\n  - {file: .}\n"},
	{4, "route_files: lacks the key file", NIC "route_files:\n  - {via: [10.0.0.1]}\n"},
	{4, "via: 0 entries; want 1 to 1024",
		NIC "route_files:\n  - {file: /proc/self/status, via: []}\n"},
	{6, "'ten' is no address",
		NIC "route_files:\n  - file: /proc/self/status\n    via: [10.0.0.1,\n      ten]\n"},
	{4, "next_hops: 0 entries; want 1 to 64",
		NIC "routes:\n  - {prefix: 11.0.0.0/8, next_hops: []}\n"},
	{3, "kernel: want a mapping, not nothing", NIC "kernel:\n"},
	{3, "slots 100: want a power of two from 64 to 1024", NIC "kernel: {slots: 100}\n"},
	{3, "namespace 'a/b': want a name that `ip netns list` shows",
		NIC "kernel: {namespace: a/b}\n"},
	{4, "routes: with `kernel` they come from the kernel: give them to `ip route`",
		NIC "kernel: {}\nroutes: [{prefix: 11.0.0.0/8, action: blackhole}]\n"},
	{1, "with `kernel` they come from the kernel: ip address add 10.0.0.1/24 dev a",
		"nics: [{name: a, port: {type: tap, target: t}, addresses: [10.0.0.1/24]}]\n"
		"kernel: {}\n"},
	{3, "punt: without `kernel` nothing takes what NICs punt", NIC "punt: {link: {rate: 1}}\n"},
	{4, "rate 0: want 1 to 100000000", NIC "kernel: {}\npunt: {link: {rate: 0}}\n"},
	{5, "source_burst 'x': want 1 to 100000000",
		NIC "kernel: {}\npunt:\n  link: {source_burst: x}\n"},
	{5,
		"unknown key 'links' in punt; want hello, local, neighbor, glean, exception, "
		"kernel, "
		"link, sample",
		NIC "kernel: {}\npunt:\n  links: {rate: 1}\n"},
	{6, "unknown key 'rates' in link; want rate, burst, source_rate, source_burst",
		NIC "kernel: {}\npunt:\n  link:\n    rates: 1\n"},
	{3, "level 'loud': want error, warning or info", NIC "log: {level: loud}\n"},
	{4, "link: want a mapping, not a value", NIC "kernel: {}\npunt: {link: 7}\n"},
	{5, "link: a second time; the first is in line 4",
		NIC "kernel: {}\npunt: {link: {rate: 1},\n  link: {rate: 1}}\n"},
	{1, "names a network interface, too, so at most 15 characters",
		"nics: [{name: a123456789012345, port: {type: tap, target: t}}]\nkernel: {}\n"},
	{3, "2 entries; nics_max is 1", "router: {nics_max: 1}\n" NICS},
	{1, "nics_max 65: want 1 to 64", "router: {nics_max: 65}\n" NIC},
	{1, "too small for 40 NICs, ", "router: {packet_memory_mib: 16, nics_max: 40}\n" NIC},
	{3, "1 entries; the most that", "router: {packet_memory_mib: 16, rx_buffers: 8192}\n" NIC},
};

static void test_mistakes(void **state)
{
	for (size_t k = 0; k < sizeof(mistakes) / sizeof(*mistakes); k++) {
		const struct mistake *m = &mistakes[k];
		char where[128];
		struct error error = {""};
		struct config *config = NULL;
		int n = m->line ? snprintf(where, sizeof(where), "%s:%u: ", file, m->line)
				: snprintf(where, sizeof(where), "%s:", file);

		write_file(m->text);
		assert_int_equal(config_load(&config, file, &error), -EINVAL);
		assert_null(config);
		if (strncmp(error.text, where, (size_t)n) != 0 || !strstr(error.text, m->reason) ||
			error.text[strlen(error.text) - 1] == ' ')
			fail_msg("'%s'\nwant '%s… %s' of\n%s", error.text, where, m->reason,
				m->text);
	}
}

/* One does not hide another, but where one would follow from the other. */
static void test_all_mistakes(void **state)
{
	static const char text[] = "router: {batch: 99, nme: x, batch: 1}\n"
				   "nics:\n"
				   "  - {name: a, port: {type: pcap, target: \"x,y\"}, mtuu: 3}\n"
				   "  - {port: {type: pcap}}\n";
	static const char later[] =
		"nics:\n"
		"  - {name: a, port: {type: pcap, target: \"x,y\"}, addresses: [10.0.1.1/24, 7]}\n"
		"  - {name: a, port: {type: pcap, target: \"x,z\"}}\n"
		"neighbors:\n"
		"  - {nic: b, address: 10.0.1.2, mac: \"02:00:00:00:00:01\"}\n"
		"routes:\n"
		"  - {prefix: 1.2.3.4/33, via: 10.0.1.2}\n"
		"  - {prefix: 1.2.3.0/24}\n";
	static const struct {
		const char *text;
		struct {
			unsigned line, column;
			const char *reason;
		} want[8];
	} of[] = {
		{text, {{1, 17, "batch 99"}, {1, 21, "unknown key 'nme'"}, {1, 29, "a second time"},
			       {3, 50, "unknown key 'mtuu'"}, {4, 12, "lacks the key target"},
			       {4, 5, "lacks the key name"}}},
		{later, {{2, 75, "'7' is no ADDRESS"}, {3, 12, "two NICs are named 'a'"},
				{7, 14, "'1.2.3.4/33'"}, {8, 5, "want one of via"}}},
	};

	for (size_t k = 0; k < sizeof(of) / sizeof(*of); k++) {
		struct config_mistakes all = {0};
		struct config *config = NULL;
		struct error error;
		unsigned n = 0;

		assert_int_equal(config_load_text(&config, "x.yaml", of[k].text, strlen(of[k].text),
					 &all, &error),
			-EINVAL);
		for (; n < 8 && of[k].want[n].line; n++) {
			assert_int_equal(all.mistake[n].at.line, of[k].want[n].line);
			assert_int_equal(all.mistake[n].at.column, of[k].want[n].column);
			assert_non_null(strstr(all.mistake[n].reason.text, of[k].want[n].reason));
		}
		assert_int_equal(all.n, n);
		assert_non_null(strstr(error.text, all.mistake[0].reason.text));
		config_mistakes_free(&all);
	}
}

/* However many, those that are kept have room. */
static void test_many_mistakes(void **state)
{
	struct config_mistakes all = {0};
	struct config *config = NULL;
	struct error error;
	char text[8192] = NIC "routes:\n";

	for (unsigned k = 0; k < CONFIG_MISTAKES_MAX + 9; k++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "  - {prefix: x}\n");
	assert_int_equal(
		config_load_text(&config, "x.yaml", text, strlen(text), &all, &error), -EINVAL);
	assert_int_equal(all.n, CONFIG_MISTAKES_MAX + 9);
	assert_int_equal(all.mistake[CONFIG_MISTAKES_MAX - 1].at.line, 3 + CONFIG_MISTAKES_MAX);
	config_mistakes_free(&all);
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

static void test_no_file(void **state)
{
	struct error error = {""};
	struct config *config;

	assert_int_equal(config_load(&config, "/nonexistent/x.yaml", &error), -ENOENT);
	assert_string_equal(error.text, "/nonexistent/x.yaml: No such file or directory");
}

static bool no_memory;
char *__real_strdup(const char *text);
char *__wrap_strdup(const char *text);

char *__wrap_strdup(const char *text)
{
	errno = ENOMEM;
	return no_memory ? NULL : __real_strdup(text);
}

static void test_out_of_memory_is_said(void **state)
{
	char path[4096];
	struct error error = {""};
	struct config *config;

	snprintf(path, sizeof(path), "%s/packaging/examples/minimal.yaml", root);
	no_memory = true;
	assert_int_equal(config_load(&config, path, &error), -ENOMEM);
	no_memory = false;
	assert_non_null(strstr(error.text, "minimal.yaml: Cannot allocate memory"));
}

/* Descriptors and memory: nothing is left of a file that was refused (memory: the sanitizer). */
static void test_descriptors_flat(void **state)
{
	int before = dup(0), after;

	close(before);
	test_mistakes(state);
	config_free(load(NICS));
	after = dup(0);
	close(after);
	assert_int_equal(after, before);
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

static void test_examples(void **state)
{
	char pattern[4096];
	glob_t found;

	snprintf(pattern, sizeof(pattern), "%s/packaging/examples/*.yaml", root);
	assert_int_equal(glob(pattern, 0, NULL, &found), 0);
	for (size_t k = 0; k < found.gl_pathc; k++) {
		struct config *config;
		struct error error;

		if (config_load(&config, found.gl_pathv[k], &error) != 0)
			fail_msg("%s", error.text);
		config_free(config);
	}
	globfree(&found);
}

static char *read_source(const char *name)
{
	static char text[4][1 << 18];
	static unsigned next;
	char *to = text[next++ % 4], source[4096];
	FILE *f;

	snprintf(source, sizeof(source), "%s/%s", root, name);
	f = fopen(source, "r");
	assert_non_null(f);
	to[fread(to, 1, sizeof(text[0]) - 1, f)] = 0;
	fclose(f);
	return to;
}

/* Every key of the schema stands in the manual, in the man page and in the complete example. */
static void test_documented(void **state)
{
	static const char *const marks[] = {"\n\tTEXT(", "\n\tTEXTS(", "\n\tNUMBER(", "\n\tPOWER(",
		"\n\tCORE(", "\n\tSWITCH(", "\n\tMAPPING(", "\n\tPOINTED(", "\n\tLIST("};
	const char *schema = read_source("router/config_schema.c");
	const char *manual = read_source("docs/operations.md");
	const char *page = read_source("docs/man/p2pnic.yaml.5.scd");
	const char *example = read_source("packaging/examples/complete.yaml");
	unsigned keys = 0;

	for (size_t k = 0; k < sizeof(marks) / sizeof(*marks); k++)
		for (const char *at = schema; (at = strstr(at, marks[k]));) {
			char key[64], text[80];
			int n;

			at += strlen(marks[k]);
			n = (int)strcspn(at, ",\"");
			snprintf(key, sizeof(key), "%.*s", n, at);
			snprintf(text, sizeof(text), "%s`", key);
			if (!strstr(manual, text) &&
				!(snprintf(text, sizeof(text), "**%s**", key) > 0 &&
					strstr(manual, text)))
				fail_msg("docs/operations.md lacks the key %s", key);
			snprintf(text, sizeof(text), "*%s*", key);
			if (!strstr(page, text))
				fail_msg("p2pnic.yaml(5) lacks the key %s", key);
			snprintf(text, sizeof(text), "%s:", key);
			if (!strstr(example, text))
				fail_msg("complete.yaml lacks the key %s", key);
			keys++;
		}
	assert_true(keys >= 30);
}

/* Every drop reason has its line of advice. */
static void test_drops_documented(void **state)
{
	const char *manual = strstr(read_source("docs/operations.md"), "\n## Drops");
	static const char *const names[] = {
#define NAME(symbol, name, meaning) name,
		P2PNIC_DROP_REASONS(NAME)
#undef NAME
	};
	char *end;

	assert_non_null(manual);
	end = strstr(manual + 1, "\n## ");
	assert_non_null(end);
	*end = 0;
	for (size_t k = 0; k < sizeof(names) / sizeof(*names); k++) {
		char first[64], later[64];

		snprintf(first, sizeof(first), "\n| %s", names[k]);
		snprintf(later, sizeof(later), ", %s", names[k]);
		if (!strstr(manual, first) && !strstr(manual, later))
			fail_msg("docs/operations.md says nothing about the drop reason %s",
				names[k]);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_methods),
		cmocka_unit_test(test_buffer_sizes),
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_vlans),
		cmocka_unit_test(test_punt_rates),
		cmocka_unit_test(test_mistakes),
		cmocka_unit_test(test_all_mistakes),
		cmocka_unit_test(test_many_mistakes),
		cmocka_unit_test(test_places),
		cmocka_unit_test(test_place),
		cmocka_unit_test(test_no_file),
		cmocka_unit_test(test_out_of_memory_is_said),
		cmocka_unit_test(test_descriptors_flat),
		cmocka_unit_test(test_runtime),
		cmocka_unit_test(test_another_user),
		cmocka_unit_test(test_many_nics),
		cmocka_unit_test(test_examples),
		cmocka_unit_test(test_documented),
		cmocka_unit_test(test_drops_documented),
	};
	int fd, failed;

	if (argc > 1)
		root = argv[1];
	fd = mkstemp(file);
	if (fd < 0) {
		perror(file);
		return 1;
	}
	close(fd);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	unlink(file);
	return failed;
}
