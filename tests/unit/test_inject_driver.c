/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Set-up of soft NICs, engines, host memory and the fabric while calls fail, one after the other.
 * The NICs that the driver brings up live in a process of their own, whose calls do not fail.
 */
#include "driver/bounce.h"
#include "inject.h"
#include "ipc/log.h"
#include "soft_rig.h"

#include <setjmp.h>
#include <stdarg.h>
/* cmocka wants those first. */
#include <cmocka.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define NICS 2u

static struct error error; /* for all */
static char directory[] = "/tmp/inject-XXXXXX";

/* --- The NICs' side --------------------------------------------------------------------------- */

static int makes_engine(void *context)
{
	struct engine *engine;

	(void)context;
	inject_arm();
	int result = engine_new(&engine, "test", 0, true);
	inject_disarm();
	if (result == 0)
		engine_free(engine);
	return result;
}

static void test_engine(void **state)
{
	assert_true(inject_each(makes_engine, NULL, NULL) >= 5);
}

static int makes_nic(void *context)
{
	char path[64], target[80];
	struct soft_nic *nic;
	struct engine *engine = context;
	struct soft_nic_config config = {.method = P2PNIC_METHOD_WRITE,
		.name = "test",
		.socket = path,
		.port_type = "pcap",
		.port_target = target};

	snprintf(path, sizeof(path), "%s/nic", directory);
	snprintf(target, sizeof(target), ",%s/out", directory);
	inject_arm();
	int result = soft_nic_new(&nic, &config, engine, &error);
	inject_disarm();
	if (result == 0)
		soft_nic_free(nic);
	else
		assert_non_null(strstr(error.text, "nic test: "));
	assert_int_equal(access(path, F_OK), -1);
	unlink(target + 1);
	return result;
}

static void test_nic(void **state)
{
	struct engine *engine;

	assert_int_equal(engine_new(&engine, "test", -1, true), 0);
	assert_true(inject_each(makes_nic, engine, &error) >= 25);
	engine_free(engine);
}

static int makes_memory(void *context)
{
	struct mapping *mapping;

	(void)context;
	inject_arm();
	int fd = memory_create("test", 4 << 20);
	int result = fd < 0 ? fd : mapping_get(&mapping, fd, true);
	inject_disarm();
	if (result == 0)
		mapping_put(mapping);
	if (fd >= 0)
		close(fd);
	return result;
}

static void test_memory(void **state)
{
	assert_true(inject_each(makes_memory, NULL, NULL) >= 5);
}

/* One mapping for each file and way of access, for as long as somebody has it. */
static void test_mappings(void **state)
{
	struct mapping *a, *b, *c, *d;
	int fd[2] = {memory_create("test", 8192), memory_create("test", 8192)};

	assert_true(fd[0] >= 0 && fd[1] >= 0);
	assert_int_equal(mapping_get(&a, fd[0], true), 0);
	assert_int_equal(mapping_get(&b, fd[1], true), 0);
	assert_int_equal(mapping_get(&c, fd[0], false), 0);
	assert_int_equal(mapping_get(&d, fd[0], true), 0);
	assert_ptr_equal(d, a);
	assert_ptr_not_equal(c, a);
	assert_ptr_not_equal(b, a);
	mapping_put(a);
	mapping_put(b);
	a->memory[1] = 7; /* d has it still */
	assert_int_equal(c->memory[1], 7);
	mapping_put(d);
	mapping_put(c);
	assert_int_equal(mapping_get(&a, -1, true), -EBADF);
	close(fd[0]);
	close(fd[1]);
}

/* --- The driver's side ------------------------------------------------------------------------ */

static int makes_bounce(void *context)
{
	struct bounce *bounce;

	(void)context;
	inject_arm();
	int result = bounce_new(&bounce, NICS, 64, P2PNIC_BUFFER_BYTES_MIN, 0);
	inject_disarm();
	if (result == 0)
		bounce_free(bounce);
	return result;
}

static void test_bounce(void **state)
{
	assert_true(inject_each(makes_bounce, NULL, NULL) >= 6);
}

/* NICs in a process; it goes when its end of the socket is closed. */
struct nics {
	unsigned method;
	pid_t process;
	int end;
	char socket[NICS][160];
};

static void run_nics(struct nics *n, int end)
{
	struct soft_rig *r = soft_rig_new(n->method, 1);
	char byte;

	for (unsigned k = 0; k < NICS; k++)
		soft_make(r, k);
	if (write(end, r->socket, sizeof(n->socket)) == sizeof(n->socket))
		(void)!read(end, &byte, 1);
	soft_rig_free(r);
	exit(0);
}

static void start_nics(struct nics *n, unsigned method)
{
	int ends[2];

	n->method = method;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
	n->process = fork();
	assert_true(n->process >= 0);
	if (!n->process) {
		close(ends[0]);
		run_nics(n, ends[1]);
	}
	close(ends[1]);
	n->end = ends[0];
	assert_int_equal(
		recv(n->end, n->socket, sizeof(n->socket), MSG_WAITALL), sizeof(n->socket));
}

static void stop_nics(struct nics *n)
{
	close(n->end);
	assert_int_equal(waitpid(n->process, NULL, 0), n->process);
}

/* All that it takes to bring up two NICs; the first failure ends it. */
static int bring_up(void *context)
{
	struct nics *n = context;
	struct fabric f = {.method = n->method,
		.buffer_bytes = P2PNIC_BUFFER_BYTES_MIN,
		.ring_slots = 64,
		.batch = 8,
		.rx_buffers = 64};
	struct driver_nic nic[NICS] = {{.device = NULL}};
	unsigned attached = 0, added = 0;
	int result = 0;

	inject_arm();
	if (n->method == P2PNIC_METHOD_BOUNCE) {
		result = bounce_new(&f.bounce, NICS, f.ring_slots, f.buffer_bytes, -1);
		error_set(&error, -ENOMEM, "bounce");
	}
	for (unsigned k = 0; k < NICS && !result; k++) {
		struct device *device = NULL;
		char where[176];

		error.text[0] = '\0';
		snprintf(where, sizeof(where), "vfio-user:%s", n->socket[k]);
		result = device_open(&device, where, &error);
		if (!result)
			result =
				driver_nic_attach(&nic[k], k ? "one" : "nought", k, device, &error);
		if (result) {
			device_close(device);
			break;
		}
		attached++;
		result = fabric_add(&f, &nic[k], &error);
		added += !result;
	}
	inject_disarm();
	/* A pair that a passing failure kept from opening is opened now. */
	for (unsigned tries = 0; !result && tries < 1000 && fabric_mend(&f, &error); tries++)
		usleep(1000);
	if (!result) {
		/* Up, both sides of every pair, and an epoch passes. */
		assert_int_equal(driver_nic_epoch(&nic[0]), 0);
		for (unsigned k = 0; k < NICS; k++)
			for (unsigned j = 0; j < NICS; j++)
				assert_int_not_equal(driver_nic_peers(&nic[k])[j].epoch, 0);
	}
	for (unsigned k = 0; k < added; k++)
		fabric_remove(&f, &nic[k]);
	for (unsigned k = 0; k < attached; k++)
		driver_nic_detach(&nic[k]);
	bounce_free(f.bounce);
	return result;
}

/* A NIC can also answer with less than was wanted; then the reason is in the words. */
static bool names_it(void *context, int result)
{
	return result == 0 || result == inject_error() || result == -EPROTO ||
	       result == -ENOTCONN || result == -ECONNRESET || result == -EIO;
}

static void fabric_of(unsigned method)
{
	struct nics n;

	start_nics(&n, method);
	assert_true(inject_each_expect(bring_up, &n, names_it, &error) > 100);
	stop_nics(&n);
}

static void test_fabric_write(void **state)
{
	fabric_of(P2PNIC_METHOD_WRITE);
}

static void test_fabric_read(void **state)
{
	fabric_of(P2PNIC_METHOD_READ);
}

static void test_fabric_bounce(void **state)
{
	fabric_of(P2PNIC_METHOD_BOUNCE);
}

/* What the driver may write it must be able to write: memory that cannot be mapped so now is an
 * error, not a mapping to read from. */
static void test_pointer_to_write(void **state)
{
	struct nics n;
	struct device *device;
	char where[176];

	start_nics(&n, P2PNIC_METHOD_WRITE);
	snprintf(where, sizeof(where), "vfio-user:%s", n.socket[0]);
	assert_int_equal(device_open(&device, where, &error), 0);
	inject_one("mmap", 0, ENOMEM);
	assert_null(device_pointer(device, VFIO_PCI_BAR2_REGION_INDEX, 0, 4096));
	assert_string_equal(device_error(device), "mapping region 2: Cannot allocate memory");
	uint8_t *memory = device_pointer(device, VFIO_PCI_BAR2_REGION_INDEX, 0, 4096);
	assert_non_null(memory);
	*memory = *memory; /* a fault if it is read-only */

	/* An interrupted call is no news about the device. */
	uint32_t id;
	inject_one("ioctl", 0, EINTR);
	assert_int_equal(device_config_read(device, 0, 4, &id), 0);
	device_close(device);

	/* A shortage of this host is told from a fault of the NIC, whichever of its maps fails. */
	for (unsigned skip = 0; skip < 2; skip++) {
		struct driver_nic nic;

		assert_int_equal(device_open(&device, where, &error), 0);
		inject_one("mmap", skip, ENOMEM);
		assert_int_equal(driver_nic_attach(&nic, "nic", 0, device, &error), -ENOMEM);
		device_close(device);
	}
	stop_nics(&n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_memory),
		cmocka_unit_test(test_mappings),
		cmocka_unit_test(test_bounce),
		cmocka_unit_test(test_pointer_to_write),
		cmocka_unit_test(test_fabric_write),
		cmocka_unit_test(test_fabric_read),
		cmocka_unit_test(test_fabric_bounce),
		cmocka_unit_test(test_engine),
		cmocka_unit_test(test_nic),
	};

	signal(SIGPIPE, SIG_IGN);
	if (!mkdtemp(directory))
		return 1;
	log_say(LOG_INFO, "test", "calls fail"); /* opens its descriptor, for good */
	int failures = cmocka_run_group_tests(tests, NULL, NULL);
	rmdir(directory);
	return failures;
}
