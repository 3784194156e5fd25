/* SPDX-License-Identifier: BSD-3-Clause */
/* Both ends of vfio-user while calls fail, one after the other. */
#include "driver/device.h"
#include "driver/vfio_user.h"
#include "inject.h"
#include "vfio_user_raw.h"

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
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static char directory[] = "/tmp/inject-XXXXXX";
static char path[64];
static struct error error;

/* --- The server opens ------------------------------------------------------------------------- */

static struct rig base; /* open: its configuration is what the others are opened with */

static int open_server(struct vfu_config *config)
{
	struct vfu *vfu;

	inject_arm();
	int result = vfu_open(&vfu, config, &error);
	inject_disarm();
	if (result == 0)
		vfu_close(vfu);
	return result;
}

static int listens(void *context)
{
	struct vfu_config config = base.config;

	(void)context;
	config.path = path;
	int result = open_server(&config);
	assert_int_equal(access(path, F_OK), -1); /* what did not open leaves no path behind */
	return result;
}

static void test_listens(void **state)
{
	assert_true(inject_each(listens, NULL, &error) >= 9);
}

/* A socket that nobody listens at any more lies in the way. */
static int replaces_stale(void *context)
{
	struct vfu_config config = base.config;
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int stale = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)context;
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	assert_int_equal(bind(stale, (struct sockaddr *)&address, sizeof(address)), 0);
	close(stale);
	config.path = path;
	int result = open_server(&config);
	if (result)
		unlink(path);
	return result;
}

/* The listener's bind finds the path taken; another answer than a refusal is a server's. */
static bool refuses_or_replaces(void *context, int result)
{
	(void)context;
	return result == 0 || result == inject_error() ||
	       (!strcmp(inject_failed(), "connect") && result == -EADDRINUSE);
}

static void test_replaces_stale(void **state)
{
	assert_true(inject_each_expect(replaces_stale, NULL, refuses_or_replaces, &error) >= 12);
}

static int takes_connection(void *context)
{
	struct vfu_config config = base.config;
	int ends[2];

	(void)context;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
	config.path = NULL;
	config.connection = ends[0];
	int result = open_server(&config);
	close(ends[1]);
	if (result)
		close(ends[0]); /* taken over only if it succeeds */
	return result;
}

static void test_takes_connection(void **state)
{
	assert_true(inject_each(takes_connection, NULL, &error) >= 6);
}

/* What lies in the way and is not known to be a dead socket stays. */
static void test_in_the_way(void **state)
{
	struct vfu_config config = base.config;
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

	config.path = path;
	close(fd);
	assert_int_equal(open_server(&config), -EEXIST);
	assert_int_equal(access(path, F_OK), 0);
	unlink(path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	close(fd);
	inject_one("connect", 0, EACCES);
	assert_int_equal(open_server(&config), -EADDRINUSE);
	inject_one("lstat64", 0, EACCES);
	assert_int_equal(open_server(&config), -EACCES);
	assert_int_equal(access(path, F_OK), 0);
	assert_int_equal(open_server(&config), 0);
	assert_int_equal(access(path, F_OK), -1);
}

/* --- The server serves ------------------------------------------------------------------------ */

static void say_all(int socket, unsigned *said)
{
	uint8_t version[512];
	const size_t bytes = raw_version(version, 0, 1, RAW_CAPS);
	const int memory = rig_memfd(0x2000, F_SEAL_SHRINK);
	const int event = eventfd(0, EFD_CLOEXEC);
	struct vfio_user_dma_map map = {.argsz = sizeof(map),
		.flags = VFU_READ | VFU_WRITE,
		.address = 0x10000,
		.size = 0x2000};
	struct vfio_user_dma_map asked = {
		.argsz = sizeof(asked), .flags = VFU_READ, .address = 0x20000, .size = 0x1000};
	struct vfio_user_irq_set irqs = {.argsz = sizeof(irqs),
		.flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER,
		.index = VFIO_PCI_MSIX_IRQ_INDEX,
		.count = 1};
	struct vfio_user_region_info region = {.argsz = 4096, .index = VFIO_PCI_BAR0_REGION_INDEX};
	struct vfio_user_region_access access = {0, VFIO_PCI_BAR2_REGION_INDEX, 4096};
	const struct {
		uint16_t command;
		void *payload;
		size_t bytes;
		int fd;
	} all[] = {
		{VFIO_USER_VERSION, version, bytes, -1},
		{VFIO_USER_DMA_MAP, &map, sizeof(map), memory},
		{VFIO_USER_DMA_MAP, &asked, sizeof(asked), -1},
		{VFIO_USER_DEVICE_SET_IRQS, &irqs, sizeof(irqs), event},
		{VFIO_USER_DEVICE_GET_REGION_INFO, &region, sizeof(region), -1},
		{VFIO_USER_REGION_READ, &access, sizeof(access), -1},
		{VFIO_USER_DEVICE_RESET, NULL, 0, -1},
	};

	*said = sizeof(all) / sizeof(*all);
	for (unsigned i = 0; i < *said; i++) {
		struct vfio_user_header header = {.id = (uint16_t)i,
			.command = all[i].command,
			.size = (uint32_t)(sizeof(header) + all[i].bytes)};
		struct iovec parts[2] = {{&header, sizeof(header)}, {all[i].payload, all[i].bytes}};

		assert_int_equal(
			vfio_user_send(socket, parts, 2, &all[i].fd, all[i].fd >= 0 ? 1 : 0),
			(ssize_t)header.size);
	}
	close(memory);
	close(event);
}

static int connect_raw(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	assert_int_equal(connect(s, (struct sockaddr *)&address, sizeof(address)), 0);
	return s;
}

static void serve(struct vfu *vfu)
{
	struct pollfd ready = {.fd = vfu_fd(vfu), .events = POLLIN};

	for (unsigned k = 0; k < 100 && poll(&ready, 1, 0) > 0; k++)
		vfu_service(vfu);
}

/* Replies on the socket, those of success, until there is none; closes it. */
static unsigned replies(int socket)
{
	struct vfio_user_stream stream = {0};
	struct vfio_user_message *message;
	unsigned good = 0;

	while (vfio_user_receive(&stream, socket, &message) == 1) {
		good += !(message->header.flags & VFIO_USER_ERROR);
		vfio_user_message_free(message);
	}
	vfio_user_stream_reset(&stream);
	close(socket);
	return good;
}

/* A whole session, with calls that fail on the server's side alone; then the server is as new. */
static int session(void *context)
{
	static struct rig rig;
	unsigned said, good;

	rig_open(&rig, path, -1, 100);
	int client = connect_raw();
	say_all(client, &said);
	inject_arm();
	serve(rig.vfu);
	inject_disarm();
	good = replies(client);
	serve(rig.vfu);
	assert_false(vfu_connected(rig.vfu));
	assert_int_equal(rig.windows, 0);
	assert_int_equal(vfu_interrupt(rig.vfu, 0), -ENOTCONN);
	*(unsigned *)context = good;

	client = connect_raw();
	say_all(client, &said);
	serve(rig.vfu);
	assert_true(vfu_connected(rig.vfu));
	assert_int_equal(replies(client), said);
	serve(rig.vfu);
	rig_close(&rig);
	return good == said ? 0 : -1;
}

static bool any(void *context, int result)
{
	return true;
}

static void test_session(void **state)
{
	unsigned good = 0;

	assert_true(inject_each_expect(session, &good, any, NULL) > 20);
}

/* A client goes and comes again after the server looked for commands, and before it looks for
 * newcomers: it is not told that it has the device already. */
static void test_goes_and_comes(void **state)
{
	static struct rig rig;
	unsigned said;

	rig_open(&rig, path, -1, 100);
	int client = connect_raw();
	say_all(client, &said);
	serve(rig.vfu);
	assert_int_equal(replies(client), said);
	client = connect_raw();
	say_all(client, &said);
	inject_one("recvmsg", 0, EAGAIN);
	serve(rig.vfu);
	assert_int_equal(replies(client), said);
	assert_int_equal(rig.disconnects, 1);
	serve(rig.vfu);
	rig_close(&rig);
}

/* --- The client ------------------------------------------------------------------------------- */

/* The server is a process of its own, so that its descriptors are not counted here. */
static pid_t server;

static int start_server(void **state)
{
	int ready[2];
	char byte;

	assert_int_equal(pipe(ready), 0);
	server = fork();
	assert_true(server >= 0);
	if (!server) {
		static struct rig rig;

		rig_open(&rig, path, -1, 100);
		if (write(ready[1], "r", 1) != 1)
			_exit(1);
		for (;;) {
			struct pollfd wait = {.fd = vfu_fd(rig.vfu), .events = POLLIN};

			poll(&wait, 1, -1);
			vfu_service(rig.vfu);
		}
	}
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	close(ready[1]);
	return 0;
}

static int stop_server(void **state)
{
	int status;

	kill(server, SIGTERM);
	waitpid(server, &status, 0);
	unlink(path);
	return 0;
}

static void where(char *text, size_t room)
{
	snprintf(text, room, "vfio-user:%s", path);
}

/* Another reason than the call's own: what the server said could not be read for want of memory. */
static bool client_reason(void *context, int result)
{
	return result == 0 || result == inject_error() ||
	       (result == -EPROTO && inject_error() == -ENOMEM) ||
	       (result == -ECONNRESET && !strcmp(inject_failed(), "sendmsg"));
}

static int opens(void *context)
{
	struct device *device;
	char name[80];

	where(name, sizeof(name));
	inject_arm();
	int result = device_open(&device, name, &error);
	inject_disarm();
	if (result == 0)
		device_close(device);
	return result;
}

static void test_opens(void **state)
{
	assert_true(inject_each_expect(opens, NULL, client_reason, &error) > 20);
}

/* What a driver does with a device; the first step that fails ends it. */
static int uses(void *context)
{
	static uint8_t memory[2 * DEVICE_PAGE] __attribute__((aligned(DEVICE_PAGE)));
	struct device *device;
	char name[80];
	uint32_t value = 0;
	int fd = rig_memfd(DEVICE_PAGE, F_SEAL_SHRINK);
	int event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	const struct bus_addr shared = {0x10000}, asked = {0x20000}, peers = {0x30000};

	where(name, sizeof(name));
	assert_int_equal(device_open(&device, name, &error), 0);
	error.text[0] = '\0';
	inject_arm();
	int result = device_map_memory(
		device, shared, DEVICE_PAGE, DEVICE_READ | DEVICE_WRITE, NULL, fd, 0);
	if (!result)
		result = device_map_memory(
			device, asked, sizeof(memory), DEVICE_WRITE, memory, -1, 0);
	if (!result)
		result = device_map_peer(device, peers, DEVICE_PAGE, DEVICE_WRITE, device,
			VFIO_PCI_BAR2_REGION_INDEX, 0);
	if (!result)
		result = device_irqs(device, 0, &event, 1);
	if (!result)
		result = device_write32(device, VFIO_PCI_BAR0_REGION_INDEX, RIG_SCRATCH, 42);
	if (!result)
		result = device_read32(device, VFIO_PCI_BAR0_REGION_INDEX, RIG_SCRATCH, &value);
	if (!result && value != 42)
		result = -EBADMSG;
	if (!result && !device_pointer(device, VFIO_PCI_BAR2_REGION_INDEX, 0, DEVICE_PAGE))
		result = inject_error();
	if (!result)
		result = device_unmap(device, shared, DEVICE_PAGE);
	if (!result)
		result = device_unmap_all(device);
	if (!result)
		result = device_reset(device);
	inject_disarm();
	if (result) {
		/* Said; and what is lost stays lost, what is not goes on. */
		assert_true(device_error(device)[0] != '\0');
		error_set(&error, result, "%s", device_error(device));
		int next = device_read32(device, VFIO_PCI_BAR0_REGION_INDEX, RIG_SCRATCH, &value);
		assert_int_equal(
			next, inject_error() == -ENOMEM || result == -ENOBUFS ? 0 : -ENOTCONN);
	}
	device_close(device);
	close(fd);
	close(event);
	return result;
}

static void test_uses(void **state)
{
	assert_true(inject_each_expect(uses, NULL, client_reason, &error) > 20);
}

static int adopts(void *context)
{
	static uint8_t memory[DEVICE_PAGE] __attribute__((aligned(DEVICE_PAGE)));
	const struct device_window window = {{0x20000}, sizeof(memory), DEVICE_WRITE, memory};
	struct device *device;
	int fds[DEVICE_KEEP_MAX];
	char name[80];

	where(name, sizeof(name));
	assert_int_equal(device_open(&device, name, &error), 0);
	assert_int_equal(device_keep(device, fds), 1);
	int kept = fcntl(fds[0], F_DUPFD_CLOEXEC, 0);
	device_close(device);
	error.text[0] = '\0';
	inject_arm();
	int result = device_adopt(&device, "vfio-user", &kept, 1, &window, 1, &error);
	inject_disarm();
	if (result == 0)
		device_close(device);
	return result;
}

static void test_adopts(void **state)
{
	assert_true(inject_each_expect(adopts, NULL, client_reason, &error) > 10);
}

/* A full socket is waited for, a signal is no failure; what makes no sense is refused with its
 * reason. */
static void test_client_edges(void **state)
{
	static uint8_t memory[DEVICE_PAGE] __attribute__((aligned(DEVICE_PAGE)));
	const struct device_window windows[2] = {{{0x20000}, sizeof(memory), DEVICE_WRITE, memory},
		{{0x20000}, sizeof(memory), DEVICE_WRITE, memory}};
	const struct device_window askew = {{0x20001}, sizeof(memory), DEVICE_WRITE, memory};
	struct device *device, *again;
	int fds[DEVICE_KEEP_MAX];
	char name[80];
	uint32_t value;

	where(name, sizeof(name));
	inject_one("connect", 0, EINTR);
	assert_int_equal(device_open(&device, name, &error), 0);
	inject_one("sendmsg", 0, EAGAIN);
	assert_int_equal(device_write32(device, VFIO_PCI_BAR0_REGION_INDEX, RIG_SCRATCH, 7), 0);
	assert_int_equal(device_read32(device, VFIO_PCI_BAR0_REGION_INDEX, RIG_SCRATCH, &value), 0);
	assert_int_equal(value, 7);
	inject_one("sendmsg", 0, ETOOMANYREFS);
	assert_int_equal(device_read32(device, VFIO_PCI_BAR0_REGION_INDEX, RIG_SCRATCH, &value),
		-ETOOMANYREFS);
	assert_int_equal(device_read32(device, VFIO_PCI_BAR0_REGION_INDEX, RIG_SCRATCH, &value), 0);

	assert_int_equal(device_map_memory(device, (struct bus_addr){0x20000}, DEVICE_PAGE,
				 DEVICE_WRITE, memory, -1, 0),
		0);
	assert_int_equal(device_map_memory(device, (struct bus_addr){0x20000}, DEVICE_PAGE,
				 DEVICE_WRITE, memory, -1, 0),
		-EEXIST);
	assert_non_null(strstr(device_error(device), "window at bus address 0x20000"));
	assert_int_equal(device_map_memory(device, (struct bus_addr){0}, DEVICE_PAGE, DEVICE_WRITE,
				 memory, -1, 0),
		-EINVAL);
	assert_int_equal(device_map_peer(device, (struct bus_addr){0x30001}, DEVICE_PAGE,
				 DEVICE_WRITE, device, 0, 0),
		-EINVAL);
	assert_int_equal(device_map_peer(device, (struct bus_addr){0x30000}, DEVICE_PAGE,
				 DEVICE_WRITE, device, DEVICE_REGIONS, 0),
		-EINVAL);
	assert_int_equal(device_map_peer(device, (struct bus_addr){0x30000}, DEVICE_PAGE,
				 DEVICE_WRITE, device, VFIO_PCI_CONFIG_REGION_INDEX, 0),
		-ENOTSUP);
	assert_int_equal(device_doorbell_fd(device, VFIO_PCI_BAR0_REGION_INDEX, 4), -ENOENT);
	assert_int_equal(device_doorbell_fd(device, VFIO_PCI_BAR2_REGION_INDEX, 0), -ENOENT);
	assert_int_equal(device_unmap(device, (struct bus_addr){0x50000}, DEVICE_PAGE), 0);
	assert_null(device_pointer(device, VFIO_PCI_BAR0_REGION_INDEX, 0, 4));
	assert_null(device_pointer(device, VFIO_PCI_BAR0_REGION_INDEX, RIG_BAR0, 4));
	assert_int_equal(device_write32(device, VFIO_PCI_BAR0_REGION_INDEX, RIG_BAR0, 4), -EINVAL);

	/* Windows that a driver cannot have had are found out before the device is asked
	 * anything. */
	assert_int_equal(device_keep(device, fds), 1);
	int kept = fcntl(fds[0], F_DUPFD_CLOEXEC, 0);
	assert_int_equal(device_adopt(&again, "vfio-user", &kept, 1, windows, 2, &error), -EEXIST);
	kept = fcntl(fds[0], F_DUPFD_CLOEXEC, 0);
	assert_int_equal(device_adopt(&again, "vfio-user", &kept, 1, &askew, 1, &error), -EINVAL);
	assert_int_equal(device_read32(device, VFIO_PCI_BAR0_REGION_INDEX, RIG_SCRATCH, &value), 0);
	/* The device has one driver. */
	assert_int_equal(device_open(&again, name, &error), -EBUSY);
	assert_non_null(strstr(error.text, "another driver has this device"));
	device_close(device);
	device_close(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_listens),
		cmocka_unit_test(test_replaces_stale),
		cmocka_unit_test(test_takes_connection),
		cmocka_unit_test(test_in_the_way),
		cmocka_unit_test(test_session),
		cmocka_unit_test(test_goes_and_comes),
		cmocka_unit_test_setup_teardown(test_opens, start_server, stop_server),
		cmocka_unit_test_setup_teardown(test_uses, start_server, stop_server),
		cmocka_unit_test_setup_teardown(test_adopts, start_server, stop_server),
		cmocka_unit_test_setup_teardown(test_client_edges, start_server, stop_server),
	};
	int ends[2], failures;

	if (!mkdtemp(directory) || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends))
		return 1;
	snprintf(path, sizeof(path), "%s/s", directory);
	rig_open(&base, NULL, ends[0], 100);
	failures = cmocka_run_group_tests(tests, NULL, NULL);
	rig_close(&base);
	close(ends[1]);
	rmdir(directory);
	return failures;
}
