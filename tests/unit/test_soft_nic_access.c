/* SPDX-License-Identifier: BSD-3-Clause */
/* A soft NIC's regions by message, and what it refuses to be made of. */
#include "tests/unit/descriptors.h"
#include "tests/unit/soft_rig.h"

#include <setjmp.h>
#include <stdarg.h>
/* cmocka wants those first. */
#include <cmocka.h>
#include <errno.h>
#include <linux/pci_regs.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define BAR0 VFIO_PCI_BAR0_REGION_INDEX

static int set_up(void **state)
{
	struct soft_rig *r = soft_rig_new(P2PNIC_METHOD_WRITE, 1);

	soft_add(r, 0, false);
	*state = r;
	return 0;
}

static int tear_down(void **state)
{
	soft_rig_free(*state);
	return 0;
}

static void test_bar0(void **state)
{
	struct soft_rig *r = *state;
	struct device *d = r->driver[0].device;
	uint8_t bytes[16], zeros[16] = {0};
	uint32_t word;

	/* Registers are words. */
	assert_int_equal(device_read32(d, BAR0, P2PNIC_REG_MAGIC, &word), 0);
	assert_int_equal(word, P2PNIC_MAGIC);
	assert_int_equal(device_read(d, BAR0, P2PNIC_REG_MAGIC, bytes, 2), -EINVAL);
	assert_int_equal(device_read(d, BAR0, P2PNIC_REG_MAGIC, bytes, 8), -EINVAL);
	assert_int_equal(device_read(d, BAR0, P2PNIC_REG_MAGIC + 2, bytes, 4), -EINVAL);
	assert_int_equal(device_write(d, BAR0, P2PNIC_REG_MTU, bytes, 16), -EINVAL);
	/* Counters can be read, and a write does nothing. */
	assert_int_equal(device_read(d, BAR0, P2PNIC_BAR0_COUNTERS, bytes, 8), 0);
	memset(bytes, 0xff, sizeof(bytes));
	assert_int_equal(device_write(d, BAR0, P2PNIC_BAR0_COUNTERS, bytes, 8), 0);
	assert_int_equal(device_read(d, BAR0, P2PNIC_BAR0_COUNTERS, bytes, 8), 0);
	assert_memory_equal(bytes, zeros, 8);
	/* So are the port's words about itself. */
	assert_int_equal(device_read(d, BAR0, P2PNIC_BAR0_DESCRIPTION, bytes, 7), 0);
	assert_memory_equal(bytes, "capture", 7);
	assert_int_equal(device_write(d, BAR0, P2PNIC_BAR0_DESCRIPTION, zeros, 7), 0);
	assert_int_equal(device_read(d, BAR0, P2PNIC_BAR0_DESCRIPTION, bytes, 7), 0);
	assert_memory_equal(bytes, "capture", 7);
	/* What begins in them and ends behind them is nothing. */
	assert_int_equal(
		device_read(d, BAR0, P2PNIC_BAR0_FAULT + P2PNIC_DESCRIPTION_BYTES - 4, bytes, 8),
		0);
	assert_memory_equal(bytes, zeros, 8);
	/* The doorbell reads as nothing and takes any write, a counter that is full included. */
	memset(bytes, 0xff, sizeof(bytes));
	assert_int_equal(device_read(d, BAR0, P2PNIC_BAR0_DOORBELL, bytes, 8), 0);
	assert_memory_equal(bytes, zeros, 8);
	assert_int_equal(device_write32(d, BAR0, P2PNIC_BAR0_DOORBELL, 1), 0);
	assert_int_equal(device_write32(d, BAR0, P2PNIC_BAR0_DOORBELL + 4, 1), 0);
	/* The MSI-X table: masked at first, an address is a multiple of four. */
	assert_int_equal(device_read32(d, BAR0, P2PNIC_BAR0_MSIX_TABLE + 12, &word), 0);
	assert_int_equal(word, PCI_MSIX_ENTRY_CTRL_MASKBIT);
	assert_int_equal(device_write32(d, BAR0, P2PNIC_BAR0_MSIX_TABLE, 0xfee00007), 0);
	assert_int_equal(device_read32(d, BAR0, P2PNIC_BAR0_MSIX_TABLE, &word), 0);
	assert_int_equal(word, 0xfee00004);
	assert_int_equal(device_read(d, BAR0, P2PNIC_BAR0_MSIX_TABLE, bytes, 2), -EINVAL);
}

static void test_memory(void **state)
{
	struct soft_rig *r = *state;
	struct device *d = r->driver[0].device;
	uint32_t word;

	for (unsigned bar = VFIO_PCI_BAR2_REGION_INDEX; bar <= VFIO_PCI_BAR4_REGION_INDEX;
		bar += 2) {
		uint64_t last = d->region[bar].bytes - 4;

		assert_int_equal(device_write32(d, bar, last, 0x12340000 + bar), 0);
		assert_int_equal(device_read32(d, bar, last, &word), 0);
		assert_int_equal(word, 0x12340000 + bar);
		assert_int_equal(*(uint32_t *)device_pointer(d, bar, last, 4), word);
	}
	assert_int_equal(device_read32(d, VFIO_PCI_BAR1_REGION_INDEX, 0, &word), -EINVAL);
}

/* A pair whose doorbell is in no window does not open. */
static void test_doorbell_without_window(void **state)
{
	struct soft_rig *r = *state;
	struct p2pnic_peer *entry = &driver_nic_peers(&r->driver[0])[1];

	soft_add(r, 1, false);
	assert_int_equal(driver_nic_command(&r->driver[0], P2PNIC_OP_PEER_CLOSE, 1), P2PNIC_OK);
	const struct p2pnic_peer good = *entry;
	entry->epoch = good.epoch + 1;
	entry->doorbell.value = 4096;
	assert_int_equal(
		driver_nic_command(&r->driver[0], P2PNIC_OP_PEER_OPEN, 1), P2PNIC_BAD_WINDOW);
	entry->doorbell = good.doorbell;
	assert_int_equal(driver_nic_command(&r->driver[0], P2PNIC_OP_PEER_OPEN, 1), P2PNIC_OK);
}

/* Bus mastering taken away and given back; a function-level reset gives all registers their first
 * value. */
static void test_configuration_space(void **state)
{
	struct soft_rig *r = *state;
	struct driver_nic *n = &r->driver[0];
	const unsigned control = PCI_CONFIG_EXPRESS + PCI_EXP_DEVCTL;
	uint32_t word, buffers;

	assert_int_equal(device_config_read(n->device, PCI_COMMAND, 2, &word), 0);
	assert_true(word & PCI_COMMAND_MASTER);
	assert_int_equal(
		device_config_write(n->device, PCI_COMMAND, 2, word & ~PCI_COMMAND_MASTER), 0);
	assert_int_equal(device_config_write(n->device, PCI_COMMAND, 2, word), 0);
	assert_int_equal(driver_nic_read(n, P2PNIC_REG_RX_BUFFERS, &buffers), 0);
	assert_int_not_equal(buffers, 0);
	assert_int_equal(device_config_read(n->device, control, 2, &word), 0);
	assert_int_equal(
		device_config_write(n->device, control, 2, word | PCI_EXP_DEVCTL_BCR_FLR), 0);
	assert_int_equal(driver_nic_read(n, P2PNIC_REG_RX_BUFFERS, &buffers), 0);
	assert_int_equal(buffers, 0);
	assert_int_equal(device_config_read(n->device, PCI_COMMAND, 2, &word), 0);
	assert_int_equal(word, 0);
	assert_int_equal(
		device_config_write(n->device, PCI_CONFIG_EXPRESS + PCI_EXP_DEVCTL2, 2, 0), 0);
	/* Widths and places that there are not. */
	assert_int_equal(device_config_read(n->device, 0, 3, &word), -EINVAL);
	assert_int_equal(device_config_write(n->device, 0, 8, 0), -EINVAL);
	assert_int_equal(device_config_read(n->device, PCI_CONFIG_BYTES, 4, &word), -EINVAL);
	assert_int_equal(device_reset(n->device), 0);
}

static void test_refused(void **state)
{
	struct soft_rig *r = *state;
	char target[80], socket[80];
	struct error error;
	const struct soft_nic_config good = {.name = "bad",
		.socket = socket,
		.port_type = "pcap",
		.port_target = target,
		.method = P2PNIC_METHOD_WRITE};
	const struct {
		struct soft_nic_config config;
		int error;
		const char *says;
	} cases[] = {
		{{.bar2_bytes = P2PNIC_BAR2_BYTES_MIN / 2}, -EINVAL, "powers of two"},
		{{.bar2_bytes = P2PNIC_BAR2_BYTES_MIN + 4096}, -EINVAL, "powers of two"},
		{{.bar4_bytes = P2PNIC_BAR4_BYTES_MIN + 4096}, -EINVAL, "powers of two"},
		{{.port_type = "carrier-pigeon"}, -EINVAL, "no port type 'carrier-pigeon'"},
		{{.method = 77}, -EINVAL, "no method 77"},
		{{.port_target = "/no/such/capture,"}, -ENOENT, "/no/such/capture"},
		{{.socket = "/no/such/directory/socket"}, -ENOENT, "/no/such/directory/socket"},
	};
	unsigned before = open_descriptors();

	snprintf(target, sizeof(target), ",%s/refused", r->directory);
	snprintf(socket, sizeof(socket), "%s/refused.sock", r->directory);
	for (size_t k = 0; k < sizeof(cases) / sizeof(*cases); k++) {
		struct soft_nic_config c = cases[k].config;
		struct soft_nic *nic;

		c.name = good.name;
		c.socket = c.socket ? c.socket : good.socket;
		c.port_type = c.port_type ? c.port_type : good.port_type;
		c.port_target = c.port_target ? c.port_target : good.port_target;
		c.method = c.method ? c.method : good.method;
		assert_int_equal(soft_nic_new(&nic, &c, r->engine[0], &error), cases[k].error);
		if (!strstr(error.text, cases[k].says) || strncmp(error.text, "nic bad: ", 9))
			fail_msg("'%s', not '%s'", error.text, cases[k].says);
		assert_int_equal(open_descriptors(), before);
	}
	unlink(target + 1);
}

/* --- Engines ---------------------------------------------------------------------------------- */

static void test_engine_parks(void **state)
{
	struct soft_rig *r = *state;
	uint32_t word;

	/* Pairs nest; the control thread's own are inside of these. */
	engine_park(r->engine[0]);
	engine_park(r->engine[0]);
	assert_int_equal(driver_nic_read(&r->driver[0], P2PNIC_REG_STATUS, &word), 0);
	engine_resume(r->engine[0]);
	assert_int_equal(driver_nic_read(&r->driver[0], P2PNIC_REG_STATUS, &word), 0);
	engine_resume(r->engine[0]);
	soft_add(r, 1, true);
	soft_kill(r, 1);
	fabric_remove(&r->fabric, &r->driver[1]);
	driver_nic_detach(&r->driver[1]);
}

/* A core that there is not, within what a set of them can say and beyond. */
static void test_engine_without_core(void **state)
{
	struct engine *engine;
	unsigned before = open_descriptors();

	assert_int_equal(engine_new(&engine, "none", 1023, false), -EINVAL);
	assert_int_equal(engine_new(&engine, "none", 100000, false), -EINVAL);
	assert_int_equal(open_descriptors(), before);
}

static void test_engine_is_full(void **state)
{
	struct soft_rig *r = *state;
	struct soft_nic *nic[ENGINE_NICS_MAX];
	struct engine *engine;
	char name[16], target[80], socket[80];
	struct error error;
	struct soft_nic_config config = {.name = name,
		.socket = socket,
		.port_type = "pcap",
		.port_target = target,
		.method = P2PNIC_METHOD_WRITE};
	unsigned n = 0;
	int result = 0;

	assert_int_equal(engine_new(&engine, "full", -1, true), 0);
	for (; n <= ENGINE_NICS_MAX; n++) {
		snprintf(name, sizeof(name), "n%u", n);
		snprintf(target, sizeof(target), ",%s/full%u", r->directory, n);
		snprintf(socket, sizeof(socket), "%s/full%u.sock", r->directory, n);
		result = soft_nic_new(&nic[n % ENGINE_NICS_MAX], &config, engine, &error);
		unlink(target + 1);
		if (result)
			break;
	}
	assert_int_equal(n, ENGINE_NICS_MAX);
	assert_int_equal(result, -ENOSPC);
	assert_non_null(strstr(error.text, "engine: "));
	/* In the order they came: the place of one that goes is the last one's. */
	while (n)
		soft_nic_free(nic[ENGINE_NICS_MAX - n--]);
	engine_free(engine);
}

/* --- What a driver refuses -------------------------------------------------------------------- */

static void test_fabric_refuses(void **state)
{
	struct soft_rig *r = *state;
	struct fabric f = r->fabric;
	struct error error;

	fabric_remove(&r->fabric, &r->driver[0]);
	memset(f.nic, 0, sizeof(f.nic));
	f.method = P2PNIC_METHOD_READ;
	assert_int_equal(fabric_add(&f, &r->driver[0], &error), -EINVAL);
	assert_non_null(strstr(error.text, "another method"));
	f.method = P2PNIC_METHOD_WRITE;
	f.ring_slots = P2PNIC_BAR4_BYTES_MIN / P2PNIC_BUFFER_BYTES_MIN;
	assert_int_equal(fabric_add(&f, &r->driver[0], &error), -ENOSPC);
	assert_non_null(strstr(error.text, "packet memory of"));
	assert_null(f.nic[0]);
}

static void test_driver(void **state)
{
	struct soft_rig *r = *state;
	struct driver_nic *n = &r->driver[0];
	const struct mac_addr mac = {{2, 1, 2, 3, 4, 5}};
	uint32_t low, high;

	assert_int_equal(driver_nic_set_mac(n, mac), 0);
	assert_memory_equal(&n->mac, &mac, sizeof(mac));
	assert_int_equal(driver_nic_read(n, P2PNIC_REG_MAC_LOW, &low), 0);
	assert_int_equal(driver_nic_read(n, P2PNIC_REG_MAC_HIGH, &high), 0);
	assert_int_equal(low, 0x03020102);
	assert_int_equal(high, 0x0504);
	assert_string_equal(driver_nic_result(P2PNIC_OK), "done");
	assert_string_equal(driver_nic_result(99), "unknown result");
	assert_string_equal(driver_nic_result(-ENOENT), "No such file or directory");
}

static void test_devices_that_are_none(void **state)
{
	struct device *device;
	struct error error;
	int fds[2];

	assert_int_equal(device_open(&device, "carrier-pigeon:x", &error), -ENODEV);
	assert_non_null(strstr(error.text, "no such kind of device; there is vfio-user:"));
	assert_int_equal(device_open(&device, "vfio-user", &error), -ENODEV);
	assert_int_equal(
		device_open(&device,
			"vfio-user:/a-path-that-is-longer-than-the-hundred-and-seven-bytes-"
			"which-fit-into-the-address-of-a-unix-domain-socket-on-linux",
			&error),
		-ENAMETOOLONG);
	assert_int_equal(
		device_open(&device,
			"vfio-user:/nowhere/at-all/a-path-as-long-as-fits-into-the-address-of-a-"
			"unix-socket-is-said-whole-with-its-end.sock",
			&error),
		-ENOENT);
	assert_non_null(strstr(error.text, "with-its-end.sock: No such file or directory"));
	/* Descriptors are taken over on failure too. */
	assert_int_equal(pipe(fds), 0);
	assert_int_equal(device_adopt(&device, "carrier-pigeon", fds, 2, NULL, 0, &error), -ENODEV);
	assert_int_equal(close(fds[0]), -1);
	assert_int_equal(pipe(fds), 0);
	assert_int_equal(device_adopt(&device, "vfio", fds, 2, NULL, 0, &error), -EINVAL);
	assert_int_equal(close(fds[0]), -1);
	assert_int_equal(pipe(fds), 0);
	assert_int_equal(device_adopt(&device, "vfio-user", fds, 2, NULL, 0, &error), -EINVAL);
	assert_non_null(strstr(error.text, "by 1 descriptor, not 2"));
	assert_int_equal(close(fds[1]), -1);
}

int main(void)
{
#define NIC(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		NIC(test_bar0),
		NIC(test_memory),
		NIC(test_doorbell_without_window),
		NIC(test_configuration_space),
		NIC(test_refused),
		NIC(test_engine_parks),
		cmocka_unit_test(test_engine_without_core),
		NIC(test_engine_is_full),
		NIC(test_fabric_refuses),
		NIC(test_driver),
		NIC(test_devices_that_are_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
