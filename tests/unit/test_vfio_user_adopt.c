/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Drivers die by SIGKILL at any instruction, one after the other, and the next takes over the same
 * socket.
 *
 *   this process   the keeper: holds the client's end of the socket, and never reads it
 *   a child        the device: server, control thread, and an engine that moves data by messages
 *   its siblings   the drivers: connect or adopt, check, work, are killed
 *
 * The memory behind the message window is shared by all lives. Every message of the engine must get
 * its answer, also those that came while no driver was alive, or were half done when one died.
 *
 * Processes are forked before any thread exists, so that ThreadSanitizer can look on.
 */
#include "driver/device.h"
#include "driver/vfio_user.h"
#include "tests/unit/descriptors.h"
#include "vfio_user_rig.h"

#include <setjmp.h>
#include <stdarg.h>
/* cmocka wants those first. */
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define BAR0  VFIO_PCI_BAR0_REGION_INDEX
#define BAR2  VFIO_PCI_BAR2_REGION_INDEX
#define LIVES 120u

static const struct bus_addr MESSAGES = {0x100000000};
static const struct bus_addr MEMORY = {0x200000000};

/* --- The device ------------------------------------------------------------------------------- */

static int run_device(int connection)
{
	static struct rig rig;

	/* Longer than any life takes to begin on a busy machine. */
	rig_open(&rig, NULL, connection, 20000);
	rig_serve(&rig);
	while (!rig.windows && !rig.disconnects)
		rig_sleep_ms(2);
	rig_engine_start(&rig, MESSAGES);
	while (!rig.disconnects)
		rig_sleep_ms(2);
	rig_engine_stop(&rig);
	printf("device: %u connections, %llu rounds by message, %u lost\n", rig.connects,
		(unsigned long long)rig.moved, rig.faults_connected);
	/* The last one fails: by then the keeper has let go. */
	bool good = rig.connects == 1 && rig.disconnects == 1 && rig.moved >= LIVES &&
		    rig.faults_connected == 0;
	rig_close(&rig);
	return good ? 0 : 1;
}

/* --- A driver --------------------------------------------------------------------------------- */

#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(stderr, "life %u: line %d: %s: %s\n", salt, __LINE__, #condition,  \
				device_error(device));                                             \
			_exit(1);                                                                  \
		}                                                                                  \
	} while (0)

/* A little of everything; every value is checked. */
static void work(struct device *device, uint32_t salt, int memory)
{
	static uint8_t data[20000];
	static uint8_t back[20000];
	uint32_t value = 0;
	int event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	CHECK(device_write32(device, BAR0, RIG_SCRATCH, salt) == 0);
	CHECK(device_read32(device, BAR0, RIG_SCRATCH, &value) == 0);
	CHECK(value == salt);
	CHECK(device_config_read(device, 0, 4, &value) == 0);
	CHECK(value == (P2PNIC_PCI_DEVICE << 16 | P2PNIC_PCI_VENDOR));
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i + salt);
	CHECK(device_write(device, BAR2, salt % 1000, data, sizeof(data)) == 0);
	CHECK(device_read(device, BAR2, salt % 1000, back, sizeof(back)) == 0);
	CHECK(memcmp(data, back, sizeof(data)) == 0);
	CHECK(device_irqs(device, salt % P2PNIC_VECTORS, &event, 1) == 0);
	close(event);

	/* A life may have ended between map and unmap. */
	int result = device_unmap(device, MEMORY, 0x1000);
	CHECK(result == 0 || result == -ENOENT);
	CHECK(device_map_memory(device, MEMORY, 0x1000, DEVICE_READ, NULL, memory, 0) == 0);
	CHECK(device_service(device) == 0);
}

/* Writes a byte to `ready` when it has taken over, and works until killed. */
static void run_driver(
	int connection, bool first, int ready, uint32_t salt, volatile uint64_t *memory)
{
	struct error error = {""};
	struct device *device = NULL;
	int file = rig_memfd(0x1000, F_SEAL_SHRINK);
	const uint32_t both = DEVICE_READ | DEVICE_WRITE;
	int fds[DEVICE_KEEP_MAX];

	const struct device_window window = {MESSAGES, 0x1000, both, (void *)memory};
	int result = first ? vfio_user_connect(&device, connection, &error)
			   : device_adopt(&device, "vfio-user", &connection, 1, &window, 1, &error);
	if (result) {
		fprintf(stderr, "life %u: %s\n", salt, error.text);
		_exit(1);
	}
	CHECK(device_keep(device, fds) == 1 && fds[0] == connection);
	if (first)
		CHECK(device_map_memory(device, MESSAGES, 0x1000, both, (void *)memory, -1, 0) ==
			0);

	/* The engine's messages reach this life's memory. */
	uint64_t before = *memory;
	for (unsigned i = 0; *memory == before; i++) {
		struct pollfd wait = {.fd = device_fd(device), .events = POLLIN};
		CHECK(i < 5000);
		poll(&wait, 1, 1);
		CHECK(device_service(device) == 0);
	}
	work(device, salt, file);
	if (write(ready, "!", 1) != 1)
		_exit(1);
	for (uint32_t i = 1;; i++)
		work(device, salt * 1000 + i, file);
}

static void test_lives(void **state)
{
	unsigned fds = open_descriptors();
	volatile uint64_t *memory =
		mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int ends[2];

	assert_true(memory != MAP_FAILED);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
	pid_t device = fork();
	assert_true(device >= 0);
	if (device == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(ends[1]);
		int status = run_device(ends[0]);
		fflush(stdout);
		_exit(status);
	}
	close(ends[0]);

	srandom(1);
	for (unsigned life = 0; life < LIVES; life++) {
		int ready[2];
		char byte;
		int status;

		assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
		pid_t driver = fork();
		assert_true(driver >= 0);
		if (driver == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			run_driver(ends[1], life == 0, ready[1], life + 1, memory);
		}
		close(ready[1]);
		/* End of file: the driver gave up; its message says why. */
		assert_int_equal(read(ready[0], &byte, 1), 1);
		close(ready[0]);
		usleep((useconds_t)(random() % 3000));
		assert_int_equal(kill(driver, SIGKILL), 0);
		assert_int_equal(waitpid(driver, &status, 0), driver);
		assert_true(WIFSIGNALED(status));
	}

	/* The keeper lets go: now the device sees its client leave, for the first time. */
	int status;
	close(ends[1]);
	assert_int_equal(waitpid(device, &status, 0), device);
	assert_int_equal(status, 0);
	assert_int_equal(open_descriptors(), fds);
	munmap((void *)memory, 4096);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lives),
	};

	return cmocka_run_group_tests_name("vfio-user adoption", tests, NULL, NULL);
}
