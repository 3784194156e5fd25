/* SPDX-License-Identifier: BSD-3-Clause */
/* A card as the driver has it: the carrier at both ends, without firmware and machine. The card's
 * end is the card's own (card/service.c), on a thread that can be stopped. */
#include "driver/device.h"

#include "card/service.h"
#include "ipc/clock.h"

#include <setjmp.h>
#include <stdarg.h>
/* cmocka wants those first. */
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#define CARDS 2u
#define BAR0  VFIO_PCI_BAR0_REGION_INDEX
#define BAR2  VFIO_PCI_BAR2_REGION_INDEX
#define BAR4  VFIO_PCI_BAR4_REGION_INDEX
#define BUS   0x100000000ull

static struct rig {
	char path[CARDS][32], where[CARDS][40];
	uint8_t *memory[CARDS];
	struct pci_memory devices[CARDS][CARDS];
	struct board board[CARDS];
	struct service service[CARDS];
	pthread_t thread;
	_Atomic bool stop, running[CARDS];
	_Atomic unsigned rounds;
	struct error error;
} rig;

/* --- The firmware's part ---------------------------------------------------------------------- */

static struct nic nics[CARDS];
static uint32_t registers[CARDS][1024], result_of_reset;
static unsigned changes[CARDS];

static unsigned number(const struct nic *n)
{
	return (unsigned)(n - nics);
}

uint32_t nic_register_read(const struct nic *n, uint32_t offset)
{
	return offset == P2PNIC_REG_RESULT ? result_of_reset : registers[number(n)][offset / 4];
}

void nic_register_write(struct nic *n, uint32_t offset, uint32_t value)
{
	registers[number(n)][offset / 4] = value;
}

void nic_windows_changed(struct nic *n)
{
	changes[number(n)]++;
}

/* --- Rig -------------------------------------------------------------------------------------- */

static struct card_carrier *carrier(unsigned k)
{
	return (struct card_carrier *)(rig.memory[k] + CARD_CARRIER);
}

static void *run(void *context)
{
	while (!atomic_load(&rig.stop)) {
		for (unsigned k = 0; k < CARDS; k++)
			if (atomic_load(&rig.running[k]))
				service_poll(&rig.service[k]);
		rig.rounds++;
		usleep(100);
	}
	return NULL;
}

/* When it returns the card looks at no request any more. */
static void hang(unsigned k)
{
	rig.running[k] = false;
	for (unsigned before = rig.rounds; rig.rounds - before < 2;)
		usleep(100);
}

static int set_up(void **state)
{
	memset(&rig, 0, sizeof(rig));
	memset(registers, 0, sizeof(registers));
	memset(changes, 0, sizeof(changes));
	result_of_reset = P2PNIC_OK;
	for (unsigned k = 0; k < CARDS; k++) {
		strcpy(rig.path[k], "/tmp/p2pnic-card-XXXXXX");
		int fd = mkstemp(rig.path[k]);

		assert_true(fd >= 0);
		assert_int_equal(ftruncate(fd, CARD_BYTES_MIN), 0);
		rig.memory[k] =
			mmap(NULL, CARD_BYTES_MIN, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		assert_ptr_not_equal(rig.memory[k], MAP_FAILED);
		close(fd);
		snprintf(rig.where[k], sizeof(rig.where[k]), "card:%s", rig.path[k]);
	}
	for (unsigned k = 0; k < CARDS; k++) {
		for (unsigned d = 0; d < CARDS; d++)
			rig.devices[k][d] =
				(struct pci_memory){rig.memory[(k + d) % CARDS], CARD_BYTES_MIN};
		rig.board[k].carrier = carrier(k);
		rig.service[k] = (struct service){.nic = &nics[k],
			.board = &rig.board[k],
			.memory = rig.devices[k],
			.memories = CARDS};
		carrier(k)->serial = 0x100 + k;
		service_start(&rig.service[k]);
		rig.running[k] = true;
	}
	return -pthread_create(&rig.thread, NULL, run, NULL);
}

static int tear_down(void **state)
{
	rig.stop = true;
	pthread_join(rig.thread, NULL);
	for (unsigned k = 0; k < CARDS; k++) {
		munmap(rig.memory[k], CARD_BYTES_MIN);
		unlink(rig.path[k]);
	}
	return 0;
}

static struct device *open_card(unsigned k)
{
	struct device *device = NULL;

	if (device_open(&device, rig.where[k], &rig.error))
		fail_msg("%s", rig.error.text);
	return device;
}

static void check_error(const char *text)
{
	if (!strstr(rig.error.text, text))
		fail_msg("'%s' lacks '%s'", rig.error.text, text);
}

/* --- Tests ------------------------------------------------------------------------------------ */

static void test_registers(void **state)
{
	struct device *d = open_card(0);
	uint32_t value;

	assert_int_equal(device_write32(d, BAR0, P2PNIC_REG_MTU, 1400), 0);
	assert_int_equal(registers[0][P2PNIC_REG_MTU / 4], 1400);
	assert_int_equal(device_read32(d, BAR0, P2PNIC_REG_MTU, &value), 0);
	assert_int_equal(value, 1400);
	assert_int_equal(device_read(d, BAR0, P2PNIC_REG_MTU + 1, &value, 2), -EINVAL);
	assert_int_equal(device_read(d, BAR0, P2PNIC_REG_MTU, &value, 2), -EINVAL);
	assert_int_equal(device_read(d, BAR2, 0, &value, 4), -EINVAL);

	assert_int_equal(device_config_read(d, 0, 4, &value), 0);
	assert_int_equal(value, P2PNIC_PCI_VENDOR | P2PNIC_PCI_DEVICE << 16);
	assert_false(rig.board[0].master);
	assert_int_equal(device_enable(d), 0);
	assert_true(rig.board[0].master);
	device_close(d);
}

/* The BARs lie in the file where the card has them. */
static void test_memory(void **state)
{
	struct device *d = open_card(0);
	char text[16];
	uint8_t *bar2 = device_pointer(d, BAR2, 0, CARD_BYTES_MIN / 4);
	uint8_t *bar4 = device_pointer(d, BAR4, 0, CARD_BYTES_MIN / 2);
	const uint64_t *counters = device_pointer(d, BAR0, P2PNIC_BAR0_COUNTERS, 4096);

	assert_non_null(bar2);
	assert_non_null(bar4);
	assert_non_null(counters);
	bar2[5] = 25;
	bar4[5] = 45;
	assert_int_equal(rig.memory[0][CARD_BYTES_MIN / 4 + 5], 25);
	assert_int_equal(rig.memory[0][CARD_BYTES_MIN / 2 + 5], 45);
	rig.memory[0][P2PNIC_BAR0_COUNTERS] = 7;
	assert_int_equal(*counters, 7);
	strcpy((char *)rig.memory[0] + P2PNIC_BAR0_DESCRIPTION, "port");
	assert_int_equal(device_read(d, BAR0, P2PNIC_BAR0_DESCRIPTION, text, sizeof(text)), 0);
	assert_string_equal(text, "port");
	assert_null(device_pointer(d, BAR0, 0, 4));
	device_close(d);
}

static int map(struct device *d, struct device *peer, uint64_t bus, unsigned region)
{
	return device_map_peer(
		d, (struct bus_addr){bus}, 0x2000, DEVICE_WRITE, peer, region, 0x4000);
}

static void test_windows(void **state)
{
	struct device *d = open_card(0), *peer = open_card(1);
	const struct window *w = &rig.board[0].window[BOARD_WINDOWS - 1];
	unsigned before = changes[0];

	assert_int_equal(map(d, peer, BUS, BAR2), 0);
	assert_int_equal(w->bus.value, BUS);
	assert_int_equal(w->bytes, 0x2000);
	assert_int_equal(w->access, CARD_ACCESS_WRITE);
	assert_ptr_equal(w->memory, rig.memory[1] + CARD_BYTES_MIN / 4 + 0x4000);
	/* That, and what overlaps it. */
	assert_int_equal(map(d, peer, BUS, BAR2), -EEXIST);
	assert_int_equal(map(d, peer, BUS + 0x1000, BAR4), -EEXIST);
	assert_int_equal(map(d, peer, BUS - 0x1000, BAR4), -EEXIST);
	assert_int_equal(map(d, peer, BUS + 0x2000, BAR4), 0);
	assert_ptr_equal(w[-1].memory, rig.memory[1] + CARD_BYTES_MIN / 2 + 0x4000);
	assert_int_equal(map(d, peer, 0, BAR2), -EINVAL);
	assert_int_equal(map(d, d, BUS * 2, BAR2), 0); /* packets that leave where they came in */

	assert_int_equal(device_unmap(d, (struct bus_addr){BUS}, 0x1000), -ENOENT);
	assert_int_equal(changes[0], before);
	assert_int_equal(device_unmap(d, (struct bus_addr){BUS}, 0x2000), 0);
	assert_int_equal(changes[0], before + 1);
	assert_int_equal(device_unmap(d, (struct bus_addr){BUS}, 0x2000), -ENOENT);
	assert_int_equal(device_unmap_all(d), 0);
	for (unsigned k = 0; k < BOARD_WINDOWS; k++)
		assert_int_equal(rig.board[0].window[k].bytes, 0);
	for (unsigned k = 0; k < BOARD_WINDOWS; k++)
		assert_int_equal(map(d, peer, BUS + k * 0x2000, BAR2), 0);
	assert_int_equal(map(d, peer, BUS * 2, BAR2), -ENOSPC);

	/* A card whose machine does not have it; memory that no card has. */
	rig.service[0].memories = 1;
	assert_int_equal(map(d, peer, BUS * 2, BAR2), -ENODEV);
	assert_non_null(strstr(device_error(d), "no ivshmem device"));
	assert_int_equal(device_map_memory(d, (struct bus_addr){BUS}, 0x1000, DEVICE_WRITE,
				 rig.memory[0], -1, 0),
		-ENOTSUP);
	device_close(d);
	device_close(peer);
}

static void test_reset(void **state)
{
	struct device *d = open_card(0);

	assert_int_equal(device_enable(d), 0);
	assert_int_equal(map(d, d, BUS, BAR2), 0);
	assert_int_equal(device_reset(d), 0);
	assert_int_equal(registers[0][P2PNIC_REG_COMMAND / 4], P2PNIC_COMMAND(P2PNIC_OP_RESET, 0));
	assert_false(rig.board[0].master);
	assert_int_equal(rig.board[0].window[BOARD_WINDOWS - 1].bytes, 0);
	result_of_reset = P2PNIC_BAD_STATE;
	assert_int_equal(device_reset(d), -EBUSY);
	device_close(d);
}

static void wait_silent(struct device *d, bool silent)
{
	int64_t deadline = clock_now_ms() + 10000;

	while (device_silent(d) != silent) {
		struct pollfd input = {.fd = device_fd(d), .events = POLLIN};

		assert_true(clock_now_ms() < deadline);
		assert_int_equal(poll(&input, 1, 10000), 1);
		assert_int_equal(device_service(d), 0);
	}
}

/* A card that hangs costs one deadline; when it goes on, its late answer is nobody's. */
static void test_silence(void **state)
{
	struct device *d = open_card(0);
	uint32_t value;

	registers[0][P2PNIC_REG_MTU / 4] = 1500;
	d->timeout_ms = 50;
	hang(0);
	assert_int_equal(device_read32(d, BAR0, P2PNIC_REG_LINK, &value), -ETIMEDOUT);
	assert_true(device_silent(d));
	d->timeout_ms = 1000000;
	assert_int_equal(device_read32(d, BAR0, P2PNIC_REG_MTU, &value), -ETIMEDOUT);
	assert_int_equal(device_ask(d), -EAGAIN);
	assert_int_equal(device_service(d), 0);
	assert_true(device_silent(d));
	rig.running[0] = true;
	wait_silent(d, false);
	assert_int_equal(device_read32(d, BAR0, P2PNIC_REG_MTU, &value), 0);
	assert_int_equal(value, 1500);

	/* The same for a question. */
	hang(0);
	assert_int_equal(device_ask(d), 0);
	assert_true(device_waits(d));
	assert_int_equal(device_ask(d), -EAGAIN);
	device_give_up(d);
	assert_true(device_silent(d));
	assert_false(device_waits(d));
	rig.running[0] = true;
	wait_silent(d, false);
	device_close(d);
}

/* Its windows and what the driver knew of it are gone: another life, another device. */
static void test_new_life(void **state)
{
	struct device *d = open_card(0);
	uint32_t value;

	hang(0);
	assert_int_equal(device_ask(d), 0);
	service_start(&rig.service[0]);
	rig.running[0] = true;
	assert_int_equal(device_service(d), -ENOTCONN);
	assert_int_equal(device_read32(d, BAR0, P2PNIC_REG_MTU, &value), -ENOTCONN);
	assert_int_equal(device_ask(d), -ENOTCONN);
	assert_non_null(strstr(device_error(d), "started anew"));
	device_close(d);
	d = open_card(0);
	assert_int_equal(device_read32(d, BAR0, P2PNIC_REG_MTU, &value), 0);
	device_close(d);
}

/* Whoever has the descriptor has the card; windows stay for who adopts it, not for who opens it. */
static void test_adopt(void **state)
{
	struct device *d = open_card(0), *other = NULL;
	int fds[DEVICE_KEEP_MAX];

	assert_int_equal(map(d, d, BUS, BAR2), 0);
	assert_int_equal(device_open(&other, rig.where[0], &rig.error), -EBUSY);
	check_error("another driver has the card");
	assert_int_equal(device_keep(d, fds), 1);
	int kept = dup(fds[0]);
	device_close(d);
	assert_int_equal(device_open(&other, rig.where[0], &rig.error), -EBUSY);
	assert_int_equal(device_adopt(&d, "card", &kept, 1, NULL, 0, &rig.error), 0);
	assert_int_equal(map(d, d, BUS, BAR2), -EEXIST);
	device_close(d);
	d = open_card(0);
	assert_int_equal(map(d, d, BUS, BAR2), 0);

	int two[] = {dup(0), dup(0)};
	assert_int_equal(device_adopt(&other, "card", two, 2, NULL, 0, &rig.error), -EINVAL);
	assert_int_equal(fcntl(two[1], F_GETFD), -1);
	device_close(d);
}

static void test_interrupts(void **state)
{
	struct device *d = open_card(0);
	int event = eventfd(0, EFD_NONBLOCK);
	eventfd_t count;

	carrier(0)->raised[P2PNIC_VECTOR_EVENT] = 5; /* nobody listens */
	assert_int_equal(device_service(d), 0);
	assert_int_equal(device_irqs(d, P2PNIC_VECTOR_EVENT, &event, 1), 0);
	assert_int_equal(device_irqs(d, P2PNIC_VECTORS, &event, 1), -EINVAL);
	assert_int_equal(device_service(d), 0);
	assert_int_equal(eventfd_read(event, &count), -1);
	carrier(0)->raised[P2PNIC_VECTOR_EVENT]++;
	assert_int_equal(device_service(d), 0);
	assert_int_equal(eventfd_read(event, &count), 0);
	close(event);
	device_close(d);
}

static void test_absent(void **state)
{
	struct device *d = NULL;

	assert_int_equal(device_open(&d, "card:/nowhere", &rig.error), -ENOENT);
	check_error("card:/nowhere: No such file");
	assert_int_equal(device_open(&d, "card:/dev/null", &rig.error), -EINVAL);
	assert_int_equal(truncate(rig.path[1], CARD_BYTES_MIN + 4096), 0);
	assert_int_equal(device_open(&d, rig.where[1], &rig.error), -EINVAL);
	check_error("power of two of 64 MiB or more");

	/* Its machine has not run, and it does no more. */
	carrier(0)->magic = 0;
	assert_int_equal(device_open(&d, rig.where[0], &rig.error), -ENODEV);
	check_error("start its machine first");
	carrier(0)->magic = CARD_MAGIC;
	hang(0);
	device_timeout_ms = 50;
	assert_int_equal(device_open(&d, rig.where[0], &rig.error), -ETIMEDOUT);
	device_timeout_ms = 5000;
	rig.running[0] = true;
	device_close(open_card(0));
}

/* What the host may not ask is refused by the card itself. */
static void test_bad_requests(void **state)
{
	static const struct {
		uint32_t operation;
		uint64_t argument[CARD_ARGUMENTS];
	} bad[] = {
		{0, {0}},
		{CARD_OPERATIONS, {0}},
		{CARD_READ, {CARD_REGION_BAR0, P2PNIC_BAR0_COUNTERS, 4}},
		{CARD_READ, {CARD_REGION_BAR0, 2, 4}},
		{CARD_READ, {CARD_REGION_BAR0, 0, 8}},
		{CARD_READ, {CARD_REGION_CONFIG, 256, 4}},
		{CARD_READ, {9, 0, 4}},
		{CARD_MAP, {BUS, 0, 2, 0x101, 0}},
		{CARD_MAP, {BUS, 0x1000, 2, 0x101, CARD_BYTES_MIN}},
		{CARD_MAP, {BUS, CARD_BYTES_MIN, 2, 0x101, 0x1000}},
		{CARD_MAP, {UINT64_MAX - 0xfff, 0x2000, 2, 0x101, 0}},
	};
	struct card_carrier *c = carrier(0);

	hang(0);
	for (unsigned k = 0; k < sizeof(bad) / sizeof(*bad); k++) {
		c->operation = bad[k].operation;
		memcpy(c->argument, bad[k].argument, sizeof(c->argument));
		c->request++;
		service_poll(&rig.service[0]);
		assert_int_equal(c->answer, c->request);
		assert_int_equal(c->result, CARD_BAD_REQUEST);
	}
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_registers),
		CASE(test_memory),
		CASE(test_windows),
		CASE(test_reset),
		CASE(test_silence),
		CASE(test_new_life),
		CASE(test_adopt),
		CASE(test_interrupts),
		CASE(test_absent),
		CASE(test_bad_requests),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
