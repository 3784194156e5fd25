/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the router says of ports, and how many registers it reads to know it: over PCI each read is
 * a trip, and without interrupts every NIC is looked at once a second.
 *
 * The NIC is its registers only. What is read of them is counted by words.
 */
#include "router/events.h"
#include "router/router.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct rig {
	uint8_t bar0[P2PNIC_BAR0_BYTES];
	unsigned words, accesses;
	unsigned fails; /* the access of this number, from 1 on */
	struct device device;
	struct config_nic nic_config;
	struct config config;
	struct router_nic nic;
	struct router router;
	char said[512];
} rig;

static int read_bar0(
	struct device *device, unsigned region, uint64_t offset, void *data, size_t bytes)
{
	rig.words += (unsigned)(bytes + 3) / 4;
	if (++rig.accesses == rig.fails)
		return -ETIMEDOUT;
	memcpy(data, rig.bar0 + offset, bytes);
	return 0;
}

static const struct device_ops ops = {.type = "registers", .read = read_bar0};

void __wrap_router_say(const struct router *r, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
void __wrap_router_say(const struct router *r, const char *format, ...)
{
	const size_t used = strlen(rig.said);
	va_list arguments;

	if (*format == LOG_EVENT)
		format += 2;
	va_start(arguments, format);
	vsnprintf(rig.said + used, sizeof(rig.said) - used, format, arguments);
	va_end(arguments);
}

static void set_register(unsigned reg, uint32_t value)
{
	memcpy(rig.bar0 + reg, &value, sizeof(value));
}

static void set_fault(const char *text)
{
	/* Nothing behind the NUL is to matter. */
	memset(rig.bar0 + P2PNIC_BAR0_FAULT, 'x', P2PNIC_DESCRIPTION_BYTES);
	memcpy(rig.bar0 + P2PNIC_BAR0_FAULT, text, strlen(text) + 1);
}

static int set_up(void **state)
{
	static char name[] = "n0";

	memset(&rig, 0, sizeof(rig));
	rig.device.ops = &ops;
	rig.device.region[VFIO_PCI_BAR0_REGION_INDEX].bytes = P2PNIC_BAR0_BYTES;
	rig.nic_config.name = name;
	rig.config.nics = &rig.nic_config;
	rig.config.nics_count = 1;
	rig.router.config = &rig.config;
	rig.router.nic = &rig.nic;
	rig.nic.router = &rig.router;
	memcpy(rig.nic.name, name, sizeof(name));
	rig.nic.state = NIC_FORWARDING;
	rig.nic.device = rig.nic.driver.device = &rig.device;
	set_register(P2PNIC_REG_MAGIC, P2PNIC_MAGIC);
	set_register(P2PNIC_REG_LINK, 1);
	set_register(P2PNIC_REG_SPEED, 10000);
	set_fault("");
	rig.nic.port.link = true;
	return 0;
}

/* What the next look says, and what it reads for that: words, accesses. */
static void check(const char *said, unsigned words, unsigned accesses)
{
	*rig.said = 0;
	rig.words = rig.accesses = 0;
	events_poll(&rig.router);
	assert_string_equal(rig.said, said);
	assert_int_equal(rig.words, words);
	assert_int_equal(rig.accesses, accesses);
}

static void test_link(void **state)
{
	check("", 2, 2);
	set_register(P2PNIC_REG_LINK, 0);
	check("nic n0: link down", 3, 3);
	check("", 2, 2);
	set_register(P2PNIC_REG_LINK, 1);
	check("nic n0: link up, 10000 Mb/s", 4, 4);
	check("", 2, 2);
	set_register(P2PNIC_REG_LINK, 0);
	set_fault("no such interface");
	check("nic n0: link down: no such interface", 10, 6);
	check("", 9, 5);
	set_register(P2PNIC_REG_LINK, 1);
	set_register(P2PNIC_REG_SPEED, 0);
	set_fault("");
	check("nic n0: link up", 4, 4);
}

/* Texts of any length. */
static void test_fault(void **state)
{
	static const unsigned words[] = {2, 3, 5, 9, 17, 33};
	char text[P2PNIC_DESCRIPTION_BYTES], want[160];

	for (unsigned length = 1; length < sizeof(text); length++) {
		unsigned step = 0;

		while (4u << step <= length)
			step++;
		memset(text, 'a' + length % 26, length);
		text[length] = 0;
		set_fault(text);
		snprintf(want, sizeof(want), "nic n0: port: %s", text);
		check(want, words[step] + 1, step + 3);
		check("", words[step], step + 2);
	}
	/* A NIC that ends none. */
	memset(rig.bar0 + P2PNIC_BAR0_FAULT, 'z', P2PNIC_DESCRIPTION_BYTES);
	check("nic n0: port: zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz"
	      "zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz",
		34, 8);
	set_fault("");
	check("nic n0: port recovered", 3, 3);
}

/* What does not answer has said nothing; the next look says it. */
static void test_no_answer(void **state)
{
	set_register(P2PNIC_REG_LINK, 0);
	check("nic n0: link down", 3, 3);
	set_register(P2PNIC_REG_LINK, 1);
	for (rig.fails = 1; rig.fails <= 4; rig.fails++)
		check("", rig.fails, rig.fails);
	check("nic n0: link up, 10000 Mb/s", 4, 4);
}

/* A function behind a bridge that forwards no memory accesses reads as all ones, or in QEMU 0. */
static void test_out_of_reach(void **state)
{
	static uint8_t before[P2PNIC_BAR0_BYTES];

	memcpy(before, rig.bar0, sizeof(before));
	memset(rig.bar0, 0, sizeof(rig.bar0));
	check("", 3, 3);
	memset(rig.bar0, 0xff, sizeof(rig.bar0));
	check("", 34, 8);
	memcpy(rig.bar0, before, sizeof(before));
	check("", 2, 2);
}

/* One that raises interrupts is not polled. */
static void test_interrupts(void **state)
{
	rig.device.vectors = P2PNIC_VECTORS;
	check("", 0, 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, set_up)
	const struct CMUnitTest tests[] = {
		TEST(test_link),
		TEST(test_fault),
		TEST(test_no_answer),
		TEST(test_out_of_reach),
		TEST(test_interrupts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
