/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The driver of NICs that are registers, a memory and a list of windows: what a NIC is refused for,
 * each of its answers failing in turn, and pairs that an earlier driver has left.
 */
#include "driver/capture_ring.h"
#include "driver/fabric.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#define NICS       2u
#define BAR2_BYTES P2PNIC_BAR2_BYTES_MIN
#define WINDOWS    16u

struct fake {
	struct device device;
	struct driver_nic nic;
	uint32_t id; /* in configuration space */
	uint32_t reg[0x1000 / 4];
	uint8_t *bar0, *bar2;
	uint64_t window[WINDOWS]; /* bus addresses; 0: free */
	bool open[NICS];          /* pairs, by peer */
	uint32_t answer[256];     /* to an operation, instead of P2PNIC_OK */
	bool epoch_stands;        /* it passes none */
	unsigned calls, failing;  /* since they were counted; which fails */
	int error;                /* of that; -ETIMEDOUT: it is silent from then on */
	bool silent;
	unsigned resets;
};

static struct fake fake[NICS];
static struct error error;

static struct fake *fake_of(const struct device *device)
{
	return (struct fake *)((char *)(uintptr_t)device - offsetof(struct fake, device));
}

/* --- The device ------------------------------------------------------------------------------- */

static int called(struct fake *f)
{
	if (f->silent)
		return -ETIMEDOUT;
	if (++f->calls != f->failing)
		return 0;
	f->silent = f->error == -ETIMEDOUT;
	return error_set(&f->device.error, f->error, "call %u failed", f->calls);
}

static int on_read(struct device *d, unsigned region, uint64_t offset, void *data, size_t bytes)
{
	struct fake *f = fake_of(d);
	int result = called(f);

	if (result)
		return result;
	if (region == VFIO_PCI_CONFIG_REGION_INDEX)
		memcpy(data, &f->id, bytes);
	else
		memcpy(data, &f->reg[offset / 4], bytes);
	return 0;
}

static uint32_t command(struct fake *f, uint32_t word)
{
	const unsigned operation = word & 0xff, peer = word >> 8;

	if (f->answer[operation])
		return f->answer[operation];
	if (operation == P2PNIC_OP_RESET) {
		memset(f->open, 0, sizeof(f->open));
		f->reg[P2PNIC_REG_STATUS / 4] = 0;
		f->resets++;
	}
	if (operation == P2PNIC_OP_PEER_OPEN) {
		if (f->open[peer])
			return P2PNIC_BAD_STATE;
		f->open[peer] = true;
	}
	if (operation == P2PNIC_OP_PEER_CLOSE)
		f->open[peer] = false;
	return P2PNIC_OK;
}

static int on_write(
	struct device *d, unsigned region, uint64_t offset, const void *data, size_t bytes)
{
	struct fake *f = fake_of(d);
	int result = called(f);

	if (result || region == VFIO_PCI_CONFIG_REGION_INDEX)
		return result;
	memcpy(&f->reg[offset / 4], data, bytes);
	if (offset == P2PNIC_REG_COMMAND)
		f->reg[P2PNIC_REG_RESULT / 4] = command(f, f->reg[offset / 4]);
	if (offset == P2PNIC_REG_EPOCH && !f->epoch_stands)
		f->reg[P2PNIC_REG_EPOCH_SEEN / 4] = f->reg[offset / 4];
	return 0;
}

static int on_map_peer(struct device *d, struct bus_addr bus, uint64_t bytes, uint32_t access,
	struct device *peer, unsigned region, uint64_t offset)
{
	struct fake *f = fake_of(d);
	uint64_t *free_one = NULL;
	int result = called(f);

	for (unsigned k = 0; k < WINDOWS && !result; k++) {
		if (f->window[k] == bus.value)
			result = -EEXIST;
		if (!f->window[k])
			free_one = &f->window[k];
	}
	if (!result) {
		assert_non_null(free_one);
		*free_one = bus.value;
	}
	return result;
}

static int on_map_memory(struct device *d, struct bus_addr bus, uint64_t bytes, uint32_t access,
	void *address, int fd, uint64_t fd_offset)
{
	return on_map_peer(d, bus, bytes, access, NULL, 0, 0);
}

static int on_unmap(struct device *d, struct bus_addr bus, uint64_t bytes)
{
	struct fake *f = fake_of(d);
	int result = called(f);

	for (unsigned k = 0; k < WINDOWS && !result; k++)
		if (f->window[k] == bus.value)
			f->window[k] = 0;
	return result;
}

static int on_unmap_all(struct device *d)
{
	int result = called(fake_of(d));

	if (!result)
		memset(fake_of(d)->window, 0, sizeof(fake_of(d)->window));
	return result;
}

static bool on_silent(const struct device *d)
{
	return fake_of(d)->silent;
}

static const struct device_ops ops = {.type = "fake",
	.read = on_read,
	.write = on_write,
	.map_memory = on_map_memory,
	.map_peer = on_map_peer,
	.unmap = on_unmap,
	.unmap_all = on_unmap_all,
	.silent = on_silent};

static void region(struct fake *f, unsigned index, uint8_t *map, uint64_t bytes)
{
	f->device.region[index] = (struct device_region){
		.bytes = bytes, .area_count = map != NULL, .area = {{0, bytes}}, .map = {map}};
}

/* As after power-on, with an empty memory. */
static void power_on(struct fake *f)
{
	uint8_t *bar0 = f->bar0, *bar2 = f->bar2;

	*f = (struct fake){.device = {.ops = &ops}, .bar0 = bar0, .bar2 = bar2};
	memset(bar0, 0, P2PNIC_BAR0_BYTES);
	memset(bar2, 0, BAR2_BYTES);
	region(f, VFIO_PCI_CONFIG_REGION_INDEX, NULL, 256);
	region(f, VFIO_PCI_BAR0_REGION_INDEX, bar0, P2PNIC_BAR0_BYTES);
	region(f, VFIO_PCI_BAR2_REGION_INDEX, bar2, BAR2_BYTES);
	f->id = P2PNIC_PCI_VENDOR | P2PNIC_PCI_DEVICE << 16;
	f->reg[P2PNIC_REG_MAGIC / 4] = P2PNIC_MAGIC;
	f->reg[P2PNIC_REG_VERSION / 4] = P2PNIC_VERSION;
	f->reg[P2PNIC_REG_METHOD / 4] = P2PNIC_METHOD_WRITE;
	f->reg[P2PNIC_REG_BUFFER_BYTES / 4] = P2PNIC_BUFFER_BYTES_MIN;
	f->reg[P2PNIC_REG_BAR2_BYTES / 4] = BAR2_BYTES;
	f->reg[P2PNIC_REG_BAR4_BYTES / 4] = P2PNIC_BAR4_BYTES_MIN;
	f->reg[P2PNIC_REG_MAC_LOW / 4] = 0x33221102;
	f->reg[P2PNIC_REG_MAC_HIGH / 4] = 0x5544;
	f->reg[P2PNIC_REG_MTU / 4] = 1500;
}

static int attach(unsigned k)
{
	error.text[0] = 0;
	return driver_nic_attach(&fake[k].nic, k ? "one" : "nought", k, &fake[k].device, &error);
}

/* From now on the call of that number fails with that error, once. */
static void let_fail(struct fake *f, unsigned number, int with)
{
	f->calls = 0;
	f->failing = number;
	f->error = with;
}

/* --- Captures --------------------------------------------------------------------------------- */

static unsigned windows(const struct fake *f)
{
	unsigned n = 0;

	for (unsigned k = 0; k < WINDOWS; k++)
		n += f->window[k] != 0;
	return n;
}

static void test_capture(void **state)
{
	const struct p2pnic_capture want = {.points = 1, .snap = 64, .slots = 64};
	struct p2pnic_capture *asked = (void *)(fake[0].bar2 + P2PNIC_BAR2_CAPTURE);

	power_on(&fake[0]);
	assert_int_equal(attach(0), 0);
	capture_ring_close(&fake[0].nic); /* of one that has none */
	assert_int_equal(capture_ring_open(&fake[0].nic, &want, asked, -1, 0, &error), 0);
	assert_int_equal(asked->points, 1);
	assert_int_equal(windows(&fake[0]), 1);
	assert_int_equal(asked->ring.value, fake[0].window[WINDOWS - 1]);
	/* One that is there ends first. */
	assert_int_equal(capture_ring_open(&fake[0].nic, &want, asked, -1, 0, &error), 0);
	assert_int_equal(capture_ring_points(&fake[0].nic, 3, &error), 0);
	assert_int_equal(asked->points, 3);
	capture_ring_close(&fake[0].nic);
	assert_int_equal(asked->points, 0);
	assert_int_equal(windows(&fake[0]), 0);

	fake[0].answer[P2PNIC_OP_CAPTURE] = P2PNIC_BAD_ARGUMENT;
	assert_int_equal(capture_ring_open(&fake[0].nic, &want, asked, -1, 0, &error), -EINVAL);
	assert_int_equal(windows(&fake[0]), 0);
	assert_int_equal(asked->points, 0);
	fake[0].device.physical = true;
	assert_int_equal(capture_ring_open(&fake[0].nic, &want, asked, -1, 0, &error), -ENOTSUP);
	assert_string_equal(error.text,
		"nought: without an IOMMU it reaches no memory of the host: "
		"nothing is captured");

	power_on(&fake[0]);
	fake[0].reg[P2PNIC_REG_VERSION / 4] = 0x00020003;
	assert_int_equal(attach(0), 0);
	assert_int_equal(capture_ring_open(&fake[0].nic, &want, asked, -1, 0, &error), -ENOTSUP);
	assert_string_equal(error.text, "nought: a NIC of contract 2.3 captures nothing; 2.4 does");
}

/* --- One NIC ---------------------------------------------------------------------------------- */

static void test_refused(void **state)
{
	static const struct {
		unsigned reg;
		uint32_t value;
		int result;
		const char *reason;
	} wrong[] = {
		{P2PNIC_REG_MAGIC, 0x12345678, -EPROTO, "nought: contract version 2."},
		{P2PNIC_REG_VERSION, P2PNIC_VERSION + (1u << 16), -EPROTO, "this driver needs 2.x"},
	};

	power_on(&fake[0]);
	fake[0].id = 0x56781234;
	assert_int_equal(attach(0), -ENODEV);
	assert_string_equal(error.text, "nought: PCI device 1234:5678 is no p2pnic");
	for (unsigned k = 0; k < sizeof(wrong) / sizeof(*wrong); k++) {
		power_on(&fake[0]);
		fake[0].reg[wrong[k].reg / 4] = wrong[k].value;
		assert_int_equal(attach(0), wrong[k].result);
		assert_non_null(strstr(error.text, wrong[k].reason));
		assert_null(fake[0].nic.device);
	}
	/* A later minor version has more; all that this driver knows is there. */
	power_on(&fake[0]);
	fake[0].reg[P2PNIC_REG_VERSION / 4] = P2PNIC_VERSION + 1;
	assert_int_equal(attach(0), 0);
}

/* Whichever of its answers fails: said by name, and it can be attached again. */
static void test_each_answer_fails(void **state)
{
	unsigned number = 0;

	do {
		power_on(&fake[0]);
		let_fail(&fake[0], ++number, -EIO);
		int result = attach(0);

		if (fake[0].calls < number) {
			assert_int_equal(result, 0);
			break;
		}
		assert_int_equal(result, -EIO);
		assert_non_null(strstr(error.text, "nought: "));
		assert_null(fake[0].nic.device);
		assert_int_equal(attach(0), 0);
		assert_ptr_equal(fake[0].nic.device, &fake[0].device);
		assert_int_equal(fake[0].nic.mac.octet[5], 0x55);
		assert_int_equal(fake[0].reg[P2PNIC_REG_MTU / 4], 1500);
	} while (true);
	assert_true(number > 10);
}

static void test_reset(void **state)
{
	/* Running under this number: left as it is; under another one it is not what its peers
	 * know. */
	for (unsigned was = 0; was < 2; was++) {
		power_on(&fake[0]);
		fake[0].reg[P2PNIC_REG_STATUS / 4] = P2PNIC_STATUS_RUNNING;
		fake[0].reg[P2PNIC_REG_NIC_INDEX / 4] = was;
		assert_int_equal(attach(0), 0);
		assert_int_equal(fake[0].nic.adopted, was == 0);
		assert_int_equal(fake[0].resets, was);
		assert_int_equal(fake[0].reg[P2PNIC_REG_NIC_INDEX / 4], 0);
	}
	/* Its port sends still: soon. */
	power_on(&fake[0]);
	fake[0].answer[P2PNIC_OP_RESET] = P2PNIC_BAD_STATE;
	assert_int_equal(attach(0), -EAGAIN);
	assert_string_equal(error.text, "nought: reset: not possible in this state");
	fake[0].answer[P2PNIC_OP_RESET] = P2PNIC_BAD_ARGUMENT;
	assert_int_equal(attach(0), -EIO);
}

static void test_registers(void **state)
{
	const struct mac_addr mac = {{2, 0, 0, 0, 9, 9}};
	struct driver_nic *n = &fake[0].nic;

	power_on(&fake[0]);
	assert_int_equal(attach(0), 0);
	/* It is known by its old address until it has all of the new one. */
	for (unsigned number = 1; number <= 2; number++) {
		let_fail(&fake[0], number, -EIO);
		assert_int_equal(driver_nic_set_mac(n, mac), -EIO);
		assert_int_equal(n->mac.octet[5], 0x55);
	}
	assert_int_equal(driver_nic_set_mac(n, mac), 0);
	assert_memory_equal(&n->mac, &mac, sizeof(mac));

	for (unsigned number = 1; number <= 3; number++) {
		n->epoch = 0;
		let_fail(&fake[0], number, -EIO);
		assert_int_equal(driver_nic_epoch(n), -EIO);
	}
	assert_int_equal(driver_nic_epoch(n), 0);
	fake[0].epoch_stands = true;
	assert_int_equal(driver_nic_epoch(n), -ETIMEDOUT);
	/* Numbers go round. */
	fake[0].epoch_stands = false;
	n->epoch = UINT32_MAX;
	assert_int_equal(driver_nic_epoch(n), 0);
}

/* --- Pairs ------------------------------------------------------------------------------------ */

static struct fabric fabric;

static void power_on_all(unsigned method)
{
	fabric = (struct fabric){.method = method,
		.buffer_bytes = P2PNIC_BUFFER_BYTES_MIN,
		.ring_slots = 64,
		.batch = 8,
		.rx_buffers = 64};
	for (unsigned k = 0; k < NICS; k++) {
		power_on(&fake[k]);
		fake[k].reg[P2PNIC_REG_METHOD / 4] = method;
	}
}

/* As START does. */
static void run_all(void)
{
	for (unsigned k = 0; k < NICS; k++)
		fake[k].reg[P2PNIC_REG_STATUS / 4] = P2PNIC_STATUS_RUNNING;
}

static void add_all(void)
{
	for (unsigned k = 0; k < NICS; k++) {
		assert_int_equal(attach(k), 0);
		if (fabric_add(&fabric, &fake[k].nic, &error))
			fail_msg("%s", error.text);
	}
}

static void assert_open(void)
{
	for (unsigned k = 0; k < NICS; k++)
		for (unsigned j = 0; j < NICS; j++) {
			assert_true(fake[k].open[j]);
			assert_int_equal(driver_nic_peers(&fake[k].nic)[j].epoch,
				driver_nic_peers(&fake[j].nic)[k].epoch);
		}
}

/* A new driver for the NICs as they are. */
static void driver_dies(void)
{
	const struct fabric empty = {.method = fabric.method,
		.buffer_bytes = fabric.buffer_bytes,
		.ring_slots = fabric.ring_slots,
		.batch = fabric.batch,
		.rx_buffers = fabric.rx_buffers};

	fabric = empty;
	for (unsigned k = 0; k < NICS; k++)
		memset(&fake[k].nic, 0, sizeof(fake[k].nic));
}

/*
 * An answer that fails, of the NIC that joins (0) or of the one that is there (1), keeps a pair
 * closed at most, and for no longer than until it is mended.
 */
static void pairs_mended(unsigned method, int with)
{
	for (unsigned whose = 0; whose < NICS; whose++)
		for (unsigned number = 1;; number++) {
			power_on_all(method);
			for (unsigned k = 0; k < NICS; k++)
				assert_int_equal(attach(k), 0);
			assert_int_equal(fabric_add(&fabric, &fake[1].nic, &error), 0);
			let_fail(&fake[whose], number, with);
			int result = fabric_add(&fabric, &fake[0].nic, &error);
			bool failed = fake[whose].calls >= number;

			fake[whose].silent = false;
			if (result) {
				assert_true(failed && !whose);
				assert_int_equal(result, with);
				assert_null(fabric.nic[0]);
				assert_non_null(strstr(error.text, "nought"));
				assert_int_equal(fabric_add(&fabric, &fake[0].nic, &error), 0);
			}
			for (unsigned tries = 0; fabric_mend(&fabric, &error); tries++)
				assert_true(tries < 4);
			assert_open();
			if (!failed) {
				assert_true(number > 8);
				break;
			}
		}
}

static void test_pairs_mended(void **state)
{
	pairs_mended(P2PNIC_METHOD_WRITE, -EIO);
	pairs_mended(P2PNIC_METHOD_WRITE, -ETIMEDOUT);
	pairs_mended(P2PNIC_METHOD_READ, -ENOMEM);
}

/* Rings of an earlier driver stay as they are; where that cannot be known now, they are not
 * touched. */
static void taken_over(unsigned method, int with)
{
	for (unsigned whose = 0; whose < NICS; whose++)
		for (unsigned number = 1;; number++) {
			power_on_all(method);
			add_all();
			run_all();
			const uint32_t epoch = driver_nic_peers(&fake[0].nic)[1].epoch;

			driver_dies();
			for (unsigned k = 0; k < NICS; k++)
				assert_int_equal(attach(k), 0);
			assert_true(fake[0].nic.adopted && fake[1].nic.adopted);
			assert_int_equal(fabric_add(&fabric, &fake[1].nic, &error), 0);
			let_fail(&fake[whose], number, with);
			int result = fabric_add(&fabric, &fake[0].nic, &error);
			bool failed = fake[whose].calls >= number;

			fake[whose].silent = false;
			if (result)
				assert_int_equal(fabric_add(&fabric, &fake[0].nic, &error), 0);
			for (unsigned tries = 0; fabric_mend(&fabric, &error); tries++)
				assert_true(tries < 4);
			assert_open();
			assert_int_equal(fake[0].resets + fake[1].resets, 2); /* at power-on */
			/* A shortage or a silence is no reason to begin anew. */
			if (with == -ENOMEM || with == -ETIMEDOUT || !failed)
				assert_int_equal(driver_nic_peers(&fake[0].nic)[1].epoch, epoch);
			if (!failed)
				break;
		}
}

static void test_taken_over(void **state)
{
	taken_over(P2PNIC_METHOD_WRITE, -ETIMEDOUT);
	taken_over(P2PNIC_METHOD_READ, -ETIMEDOUT);
	taken_over(P2PNIC_METHOD_WRITE, -EIO);
}

/* One that was killed before its last word, or whose windows are gone: opened; or begun anew. */
static void test_half_taken_over(void **state)
{
	for (unsigned what = 0; what < 3; what++) {
		power_on_all(P2PNIC_METHOD_WRITE);
		add_all();
		run_all();
		const uint32_t epoch = driver_nic_peers(&fake[0].nic)[1].epoch;

		driver_dies();
		if (what == 0)
			fake[1].open[0] = false;
		else if (what == 1)
			memset(fake[1].window, 0, sizeof(fake[1].window));
		add_all();
		assert_open();
		assert_int_equal(driver_nic_peers(&fake[0].nic)[1].epoch, epoch + (what == 1));
	}
}

static void test_fabric_refuses(void **state)
{
	power_on_all(P2PNIC_METHOD_WRITE);
	assert_int_equal(attach(0), 0);
	fabric.method = P2PNIC_METHOD_READ;
	assert_int_equal(fabric_add(&fabric, &fake[0].nic, &error), -EINVAL);
	assert_string_equal(error.text, "nought: its firmware transfers by another method");
	fabric.method = P2PNIC_METHOD_WRITE;
	fabric.buffer_bytes = P2PNIC_BUFFER_BYTES_MAX;
	assert_int_equal(fabric_add(&fabric, &fake[0].nic, &error), -EINVAL);
	assert_string_equal(error.text,
		"nought: its packet buffers are of 2048 bytes, those of this fabric of 16384; "
		"start it with --buffer-bytes 16384");
	assert_null(fabric.nic[0]);
	fabric.buffer_bytes = P2PNIC_BUFFER_BYTES_MIN;
	fabric.ring_slots = 1u << 20;
	assert_int_equal(fabric_add(&fabric, &fake[0].nic, &error), -ENOSPC);
	assert_non_null(strstr(error.text, "packet memory of 16384 KiB is too small"));
	assert_null(fabric.nic[0]);
}

/* A NIC's windows lie where its IOMMU takes them, whatever its peer's takes; without room it is
 * refused. */
static void test_ranges(void **state)
{
	power_on_all(P2PNIC_METHOD_WRITE);
	fake[0].device.range[0] = (struct device_range){1ull << 40, (1ull << 41) - 1};
	fake[1].device.range[0] = (struct device_range){0, (1ull << 38) - 1};
	fake[0].device.ranges = fake[1].device.ranges = 1;
	add_all();
	for (unsigned k = 0; k < NICS; k++)
		for (unsigned j = 0; j < NICS; j++) {
			const struct p2pnic_peer *entry = &driver_nic_peers(&fake[k].nic)[j];
			const uint64_t at[] = {entry->mailbox.value, entry->doorbell.value,
				entry->out_buffers.value};

			assert_int_equal(at[0] >> 40, k == 0);
			for (unsigned w = 0; w < 3; w++) {
				bool mapped = false;

				for (unsigned m = 0; m < WINDOWS; m++)
					mapped |= fake[k].window[m] == at[w];
				assert_true(mapped);
			}
		}
	power_on_all(P2PNIC_METHOD_WRITE);
	fake[0].device.range[0] = (struct device_range){0, UINT32_MAX};
	fake[0].device.ranges = 1;
	assert_int_equal(attach(0), 0);
	assert_int_equal(fabric_add(&fabric, &fake[0].nic, &error), -ENOSPC);
	assert_string_equal(error.text,
		"nought: no room on the bus for 64 peers of 64 MiB each; its "
		"IOMMU takes 0x0 to 0xffffffff");
	assert_null(fabric.nic[0]);
}

/* Buffers of an earlier driver that lie otherwise: the NIC begins anew. */
static void test_other_buffers(void **state)
{
	power_on_all(P2PNIC_METHOD_WRITE);
	add_all();
	run_all();
	driver_dies();
	fabric.rx_buffers = 128;
	assert_int_equal(attach(0), 0);
	assert_true(fake[0].nic.adopted);
	fake[0].answer[P2PNIC_OP_RESET] = P2PNIC_BAD_STATE;
	assert_int_equal(fabric_add(&fabric, &fake[0].nic, &error), -EAGAIN);
	fake[0].answer[P2PNIC_OP_RESET] = P2PNIC_OK;
	assert_int_equal(attach(0), 0);
	assert_int_equal(fabric_add(&fabric, &fake[0].nic, &error), 0);
	assert_int_equal(fake[0].resets, 2);
	assert_int_equal(fake[0].reg[P2PNIC_REG_RX_BUFFERS / 4], 128);
}

/* A peer goes while one is silent, which is told when it answers again: its side is closed then. */
static void test_removed_while_silent(void **state)
{
	for (unsigned method = P2PNIC_METHOD_WRITE; method <= P2PNIC_METHOD_READ; method++) {
		power_on_all(method);
		add_all();
		fake[0].silent = true;
		fabric_remove(&fabric, &fake[1].nic);
		assert_true(fake[0].open[1]);
		assert_int_equal(fabric_mend(&fabric, &error), 0); /* nothing that it could do */
		fake[0].silent = false;
		let_fail(&fake[0], 1, -EIO);
		assert_int_equal(fabric_mend(&fabric, &error), 1);
		assert_int_equal(fabric_mend(&fabric, &error), 0);
		assert_false(fake[0].open[1]);
		assert_true(fake[0].open[0]);
	}
}

static int make(void **state)
{
	for (unsigned k = 0; k < NICS; k++) {
		fake[k].bar0 = calloc(1, P2PNIC_BAR0_BYTES);
		fake[k].bar2 = calloc(1, BAR2_BYTES);
		if (!fake[k].bar0 || !fake[k].bar2)
			return -1;
	}
	return 0;
}

static int unmake(void **state)
{
	for (unsigned k = 0; k < NICS; k++) {
		free(fake[k].bar0);
		free(fake[k].bar2);
	}
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_capture),
		cmocka_unit_test(test_each_answer_fails),
		cmocka_unit_test(test_reset),
		cmocka_unit_test(test_registers),
		cmocka_unit_test(test_pairs_mended),
		cmocka_unit_test(test_taken_over),
		cmocka_unit_test(test_half_taken_over),
		cmocka_unit_test(test_fabric_refuses),
		cmocka_unit_test(test_ranges),
		cmocka_unit_test(test_other_buffers),
		cmocka_unit_test(test_removed_while_silent),
	};

	return cmocka_run_group_tests(tests, make, unmake);
}
