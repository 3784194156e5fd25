/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Wrong configuration files: each mistake is reported with file, line and reason, and nothing is
 * left of the file.
 *
 *     test_config_mistakes SOURCE-DIRECTORY
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "router/config_tree.h"
#include "tests/unit/config_rig.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char *root = ".";

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

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_mistakes),
		cmocka_unit_test(test_all_mistakes),
		cmocka_unit_test(test_many_mistakes),
		cmocka_unit_test(test_no_file),
		cmocka_unit_test(test_out_of_memory_is_said),
		cmocka_unit_test(test_descriptors_flat),
	};

	if (argc > 1)
		root = argv[1];
	return cmocka_run_group_tests(tests, begin, end);
}
