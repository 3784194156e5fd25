/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The client against servers that do not mean well. A man in the middle passes messages between client and
 * the rig's server, and changes what the server says.
 */
#include "driver/device.h"
#include "driver/vfio_user.h"
#include "vfio_user_rig.h"

#include <setjmp.h>
#include <stdarg.h>
/* cmocka wants those first */
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BAR0 VFIO_PCI_BAR0_REGION_INDEX
#define BAR2 VFIO_PCI_BAR2_REGION_INDEX

struct middle;

/* What is done to a message of the server. */
struct twist {
	uint16_t command; /* 0: every one */
	int region;       /* of a GET_REGION_INFO or GET_REGION_IO_FDS; -1: any */
	/* Changes the message, or says something of its own first; false: it is not passed on. */
	bool (*change)(struct middle *, struct vfio_user_message *);
	int expected; /* of opening the device; 1: any error */
};

struct middle {
	struct rig rig;
	struct device *device;
	const struct twist *_Atomic twist; /* NULL: messages pass as they are */
	int client_end;                    /* given to the client */
	int client, server;
	pthread_t thread;
	_Atomic bool stop;
	unsigned fds;
	_Atomic unsigned times; /* that the twist was applied */
};

/* --- The man in the middle ----------------------------------------------------------------------- */

/* Patient: the other end may be slow to read. */
static void send_to(int socket, const void *data, size_t bytes, const int *fds, unsigned fd_count)
{
	struct iovec part = {(void *)data, bytes};

	while (part.iov_len) {
		ssize_t n = vfio_user_send(socket, &part, 1, fds, fd_count);
		if (n == -EAGAIN) {
			struct pollfd wait = {.fd = socket, .events = POLLOUT};
			poll(&wait, 1, 100);
			continue;
		}
		if (n < 0)
			return;
		part.iov_base = (uint8_t *)part.iov_base + n;
		part.iov_len -= (size_t)n;
		fd_count = 0;
	}
}

static void pass(int socket, const struct vfio_user_message *message)
{
	size_t bytes = sizeof(message->header) + message->bytes;
	uint8_t *all = malloc(bytes);

	memcpy(all, &message->header, sizeof(message->header));
	if (message->bytes)
		memcpy(all + sizeof(message->header), message->payload, message->bytes);
	send_to(socket, all, bytes, message->fds, message->fd_count);
	free(all);
}

static bool applies(const struct twist *twist, const struct vfio_user_message *message)
{
	uint32_t region;

	if (!twist || (twist->command && twist->command != message->header.command))
		return false;
	if (twist->region < 0)
		return true;
	if (message->bytes < 12)
		return false;
	memcpy(&region, message->payload + 8, sizeof(region));
	return region == (uint32_t)twist->region;
}

static void *pass_messages(void *argument)
{
	struct middle *m = argument;
	struct vfio_user_stream from_client = {0};
	struct vfio_user_stream from_server = {0};
	struct vfio_user_message *message;
	bool open = true;

	while (open && !m->stop) {
		struct pollfd wait[2] = {
			{.fd = m->client, .events = POLLIN}, {.fd = m->server, .events = POLLIN}};
		int result;

		poll(wait, 2, 20);
		while ((result = vfio_user_receive(&from_client, m->client, &message)) > 0) {
			pass(m->server, message);
			vfio_user_message_free(message);
		}
		open = result == 0;
		while (open &&
			(result = vfio_user_receive(&from_server, m->server, &message)) > 0) {
			const struct twist *twist = m->twist;
			bool twisted = applies(twist, message);
			m->times += twisted;
			if (!twisted || twist->change(m, message))
				pass(m->client, message);
			vfio_user_message_free(message);
		}
		open = open && result == 0;
	}
	vfio_user_stream_reset(&from_client);
	vfio_user_stream_reset(&from_server);
	shutdown(m->client, SHUT_RDWR);
	return NULL;
}

static void begin(struct middle *m, const struct twist *twist)
{
	int near[2];
	int far[2];

	memset(m, 0, sizeof(*m));
	m->twist = twist;
	m->fds = rig_count_fds();
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, near), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, far), 0);
	m->client_end = near[0];
	m->client = near[1];
	m->server = far[0];
	rig_open(&m->rig, NULL, far[1], 20000);
	rig_serve(&m->rig);
	pthread_create(&m->thread, NULL, pass_messages, m);
}

static void end(struct middle *m)
{
	device_close(m->device);
	m->stop = true;
	pthread_join(m->thread, NULL);
	close(m->client);
	close(m->server);
	rig_close(&m->rig);
	assert_int_equal(rig_count_fds(), m->fds);
}

/* Begins, and connects without a twist; sets it then. */
static void begin_connected(struct middle *m, const struct twist *twist)
{
	char error[DEVICE_ERROR_BYTES];

	begin(m, NULL);
	assert_int_equal(vfio_user_connect(&m->device, m->client_end, error), 0);
	m->twist = twist;
	m->device->timeout_ms = 20000;
}

/* --- Changes ------------------------------------------------------------------------------------- */

#define FIELD(message, type, at) (*(type *)(void *)((message)->payload + (at)))

static void resize(struct vfio_user_message *message, uint32_t bytes)
{
	message->payload = realloc(message->payload, bytes ? bytes : 1);
	if (bytes > message->bytes)
		memset(message->payload + message->bytes, 0, bytes - message->bytes);
	message->bytes = bytes;
	message->header.size = bytes + 16;
}

static void drop_fds(struct vfio_user_message *message)
{
	for (unsigned i = 0; i < message->fd_count; i++)
		close(message->fds[i]);
	message->fd_count = 0;
}

static bool shorter(struct middle *m, struct vfio_user_message *message)
{
	resize(message, message->bytes ? message->bytes - 1 : 0);
	return true;
}

static bool empty(struct middle *m, struct vfio_user_message *message)
{
	resize(message, 0);
	return true;
}

static bool fails(struct middle *m, struct vfio_user_message *message)
{
	resize(message, 0);
	message->header.flags |= VFIO_USER_ERROR;
	message->header.error = ENOSPC;
	return true;
}

static bool fails_oddly(struct middle *m, struct vfio_user_message *message)
{
	resize(message, 0);
	message->header.flags |= VFIO_USER_ERROR;
	message->header.error = UINT32_MAX;
	return true;
}

static bool hangs_up(struct middle *m, struct vfio_user_message *message)
{
	m->stop = true;
	return false;
}

static bool hangs_up_half_way(struct middle *m, struct vfio_user_message *message)
{
	send_to(m->client, &message->header, 16, NULL, 0);
	m->stop = true;
	return false;
}

static bool size_zero(struct middle *m, struct vfio_user_message *message)
{
	message->header.size = 0;
	return true;
}

static bool size_huge(struct middle *m, struct vfio_user_message *message)
{
	message->header.size = UINT32_MAX;
	return true;
}

static bool version_2(struct middle *m, struct vfio_user_message *message)
{
	FIELD(message, uint16_t, 0) = 2;
	return true;
}

static bool version_0_9(struct middle *m, struct vfio_user_message *message)
{
	FIELD(message, uint16_t, 2) = 9;
	return true;
}

static bool no_json(struct middle *m, struct vfio_user_message *message)
{
	message->payload[5] = '}';
	return true;
}

static bool small_transfers(struct middle *m, struct vfio_user_message *message)
{
	static const char json[] = "{\"capabilities\":{\"max_data_xfer_size\":512}}";

	resize(message, 4 + sizeof(json));
	memcpy(message->payload + 4, json, sizeof(json));
	return true;
}

static bool version_alone(struct middle *m, struct vfio_user_message *message)
{
	resize(message, 4);
	return true;
}

static bool not_pci(struct middle *m, struct vfio_user_message *message)
{
	FIELD(message, uint32_t, 4) = VFIO_DEVICE_FLAGS_RESET;
	return true;
}

static bool endless_regions(struct middle *m, struct vfio_user_message *message)
{
	FIELD(message, uint32_t, 8) = UINT32_MAX;
	return true;
}

static bool no_regions(struct middle *m, struct vfio_user_message *message)
{
	FIELD(message, uint32_t, 8) = 0;
	return true;
}

static bool endless_vectors(struct middle *m, struct vfio_user_message *message)
{
	FIELD(message, uint32_t, 12) = UINT32_MAX;
	return true;
}

/* Region information: flags at 4, capability offset at 12, size at 16, offset at 24; then id, version,
 * next at 36, count at 40, area at 48. */
static bool region_endless(struct middle *m, struct vfio_user_message *message)
{
	FIELD(message, uint64_t, 16) = UINT64_MAX;
	return true;
}

static bool offset_endless(struct middle *m, struct vfio_user_message *message)
{
	FIELD(message, uint64_t, 24) = ~0xfffull;
	return true;
}

static bool capability_outside(struct middle *m, struct vfio_user_message *message)
{
	FIELD(message, uint32_t, 12) = message->bytes - 4;
	return true;
}

static bool capability_far_outside(struct middle *m, struct vfio_user_message *message)
{
	FIELD(message, uint32_t, 12) = UINT32_MAX;
	return true;
}

static bool capability_inside_header(struct middle *m, struct vfio_user_message *message)
{
	FIELD(message, uint32_t, 12) = 8;
	return true;
}

static bool capability_loops(struct middle *m, struct vfio_user_message *message)
{
	FIELD(message, uint16_t, 32) = 99;
	FIELD(message, uint32_t, 36) = 32;
	return true;
}

static bool areas_endless(struct middle *m, struct vfio_user_message *message)
{
	FIELD(message, uint32_t, 40) = UINT32_MAX;
	return true;
}

static bool area_wraps(struct middle *m, struct vfio_user_message *message)
{
	FIELD(message, uint64_t, 48) = ~0xfffull;
	return true;
}

static bool area_too_long(struct middle *m, struct vfio_user_message *message)
{
	FIELD(message, uint64_t, 56) = RIG_BAR0;
	return true;
}

static bool argsz_endless(struct middle *m, struct vfio_user_message *message)
{
	FIELD(message, uint32_t, 0) = UINT32_MAX;
	return true;
}

static bool argsz_grows(struct middle *m, struct vfio_user_message *message)
{
	FIELD(message, uint32_t, 0) = 1000 + m->times * 1000;
	return true;
}

static bool without_fd(struct middle *m, struct vfio_user_message *message)
{
	drop_fds(message);
	return true;
}

static bool with_another_fd(struct middle *m, struct vfio_user_message *message)
{
	for (unsigned i = 0; i < 5; i++)
		message->fds[message->fd_count++] = eventfd(0, EFD_CLOEXEC);
	return true;
}

static bool with_unsealed_fd(struct middle *m, struct vfio_user_message *message)
{
	drop_fds(message);
	message->fds[message->fd_count++] = rig_memfd(RIG_BAR2, 0);
	return true;
}

static bool with_short_fd(struct middle *m, struct vfio_user_message *message)
{
	drop_fds(message);
	message->fds[message->fd_count++] = rig_memfd(RIG_BAR2 - 4096, F_SEAL_SHRINK);
	return true;
}

/* Doorbells: count at 12; then offset at 16, fd_index at 32, type at 36. */
static bool doorbells_endless(struct middle *m, struct vfio_user_message *message)
{
	FIELD(message, uint32_t, 12) = UINT32_MAX;
	return true;
}

static bool doorbell_of_no_fd(struct middle *m, struct vfio_user_message *message)
{
	FIELD(message, uint32_t, 32) = 7;
	return true;
}

static bool doorbell_is_memory(struct middle *m, struct vfio_user_message *message)
{
	drop_fds(message);
	message->fds[message->fd_count++] = rig_memfd(4096, F_SEAL_SHRINK);
	return true;
}

static bool doorbell_outside(struct middle *m, struct vfio_user_message *message)
{
	FIELD(message, uint64_t, 16) = UINT64_MAX;
	return true;
}

/* --- Opening ------------------------------------------------------------------------------------- */

static const struct twist openings[] = {
	{VFIO_USER_VERSION, -1, fails, -ENOSPC},
	{VFIO_USER_VERSION, -1, fails_oddly, -EIO},
	{VFIO_USER_VERSION, -1, empty, -EPROTO},
	{VFIO_USER_VERSION, -1, version_2, -EPROTO},
	{VFIO_USER_VERSION, -1, version_0_9, -EPROTO},
	{VFIO_USER_VERSION, -1, no_json, -EPROTO},
	{VFIO_USER_VERSION, -1, small_transfers, -EPROTO},
	{VFIO_USER_VERSION, -1, version_alone, 0},
	{VFIO_USER_VERSION, -1, hangs_up, -ECONNRESET},
	{VFIO_USER_VERSION, -1, size_zero, -EPROTO},
	{VFIO_USER_VERSION, -1, size_huge, -EPROTO},
	{VFIO_USER_VERSION, -1, with_another_fd, 0},
	{VFIO_USER_DEVICE_GET_INFO, -1, not_pci, -ENODEV},
	{VFIO_USER_DEVICE_GET_INFO, -1, endless_regions, 0},
	{VFIO_USER_DEVICE_GET_INFO, -1, no_regions, -ENODEV},
	{VFIO_USER_DEVICE_GET_INFO, -1, shorter, -EPROTO},
	{VFIO_USER_DEVICE_GET_INFO, -1, fails, -ENOSPC},
	{VFIO_USER_DEVICE_GET_INFO, -1, hangs_up_half_way, -ECONNRESET},
	{VFIO_USER_DEVICE_GET_REGION_INFO, -1, empty, -EPROTO},
	{VFIO_USER_DEVICE_GET_REGION_INFO, -1, fails, -ENOSPC},
	{VFIO_USER_DEVICE_GET_REGION_INFO, -1, hangs_up, -ECONNRESET},
	{VFIO_USER_DEVICE_GET_REGION_INFO, -1, with_another_fd, 0},
	{VFIO_USER_DEVICE_GET_REGION_INFO, -1, without_fd, 0},
	{VFIO_USER_DEVICE_GET_REGION_INFO, BAR0, capability_outside, 0},
	{VFIO_USER_DEVICE_GET_REGION_INFO, BAR0, capability_far_outside, 0},
	{VFIO_USER_DEVICE_GET_REGION_INFO, BAR0, capability_inside_header, 0},
	{VFIO_USER_DEVICE_GET_REGION_INFO, BAR0, capability_loops, 0},
	{VFIO_USER_DEVICE_GET_REGION_INFO, BAR0, areas_endless, 0},
	{VFIO_USER_DEVICE_GET_REGION_INFO, BAR0, area_wraps, 0},
	{VFIO_USER_DEVICE_GET_REGION_INFO, BAR0, area_too_long, 0},
	{VFIO_USER_DEVICE_GET_REGION_INFO, BAR0, argsz_endless, 0},
	{VFIO_USER_DEVICE_GET_REGION_INFO, BAR0, argsz_grows, 0},
	{VFIO_USER_DEVICE_GET_REGION_INFO, BAR2, region_endless, 0},
	{VFIO_USER_DEVICE_GET_REGION_INFO, BAR2, offset_endless, 0},
	{VFIO_USER_DEVICE_GET_REGION_INFO, BAR2, with_unsealed_fd, 0},
	{VFIO_USER_DEVICE_GET_REGION_INFO, BAR2, with_short_fd, 0},
	{VFIO_USER_DEVICE_GET_REGION_IO_FDS, -1, fails, 0},
	{VFIO_USER_DEVICE_GET_REGION_IO_FDS, -1, empty, 0},
	{VFIO_USER_DEVICE_GET_REGION_IO_FDS, BAR0, without_fd, 0},
	{VFIO_USER_DEVICE_GET_REGION_IO_FDS, BAR0, doorbells_endless, 0},
	{VFIO_USER_DEVICE_GET_REGION_IO_FDS, BAR0, doorbell_of_no_fd, 0},
	{VFIO_USER_DEVICE_GET_REGION_IO_FDS, BAR0, doorbell_is_memory, 0},
	{VFIO_USER_DEVICE_GET_REGION_IO_FDS, BAR0, doorbell_outside, 0},
	{VFIO_USER_DEVICE_GET_REGION_IO_FDS, -1, hangs_up, -ENOTCONN},
	{VFIO_USER_DEVICE_GET_IRQ_INFO, -1, shorter, -EPROTO},
	{VFIO_USER_DEVICE_GET_IRQ_INFO, -1, fails, -ENOSPC},
	{VFIO_USER_DEVICE_GET_IRQ_INFO, -1, endless_vectors, 0},
};

/* What a device that opened may look like: whatever it says, nothing that is said to be mapped can fault. */
static void check_mappings(struct device *device)
{
	for (unsigned r = 0; r < DEVICE_REGIONS; r++) {
		const struct device_region *region = &device->region[r];

		assert_true(region->area_count <= DEVICE_AREAS_MAX);
		assert_true(region->area_count == 0 || region->fd >= 0);
		for (unsigned i = 0; i < region->area_count; i++) {
			const struct device_area *area = &region->area[i];
			volatile uint8_t *at = device_pointer(device, r, area->offset, area->bytes);

			assert_non_null(at);
			(void)at[0];
			(void)at[area->bytes - 1];
		}
	}
}

static void test_opening(void **state)
{
	static struct middle m;

	for (size_t i = 0; i < sizeof(openings) / sizeof(openings[0]); i++) {
		char error[DEVICE_ERROR_BYTES] = "";

		begin(&m, &openings[i]);
		int result = vfio_user_connect(&m.device, m.client_end, error);
		if (result != openings[i].expected)
			fail_msg("opening %zu: %d, not %d: %s", i, result, openings[i].expected,
				error);
		assert_true(m.times > 0);
		assert_int_equal(error[0] == 0, result == 0);
		if (result == 0)
			check_mappings(m.device);
		end(&m);
	}
}

/* --- Replies ------------------------------------------------------------------------------------- */

static bool wrong_then_right(struct middle *m, struct vfio_user_message *message)
{
	struct vfio_user_message other = *message;

	/* Of another request, of another command, of another life. */
	other.header.id++;
	pass(m->client, &other);
	other = *message;
	other.header.command = VFIO_USER_DEVICE_RESET;
	pass(m->client, &other);
	other.header.command = VFIO_USER_VERSION;
	other.header.flags |= VFIO_USER_ERROR;
	pass(m->client, &other);
	return true;
}

static bool byte_by_byte(struct middle *m, struct vfio_user_message *message)
{
	for (size_t i = 0; i < sizeof(message->header); i++)
		send_to(m->client, (uint8_t *)&message->header + i, 1, NULL, 0);
	for (size_t i = 0; i < message->bytes; i++)
		send_to(m->client, message->payload + i, 1, NULL, 0);
	return false;
}

static bool longer(struct middle *m, struct vfio_user_message *message)
{
	resize(message, message->bytes + 1000);
	return true;
}

static bool late(struct middle *m, struct vfio_user_message *message)
{
	rig_sleep_ms(m->times == 1 ? 500 : 0);
	return true;
}

static bool never(struct middle *m, struct vfio_user_message *message)
{
	return m->times > 1;
}

static bool half_of_it(struct middle *m, struct vfio_user_message *message)
{
	send_to(m->client, &message->header, 16, NULL, 0);
	return false;
}

static void test_replies(void **state)
{
	static const struct twist good[] = {
		{VFIO_USER_REGION_READ, -1, wrong_then_right, 0},
		{VFIO_USER_REGION_READ, -1, byte_by_byte, 0},
		{VFIO_USER_REGION_READ, -1, longer, 0},
		{VFIO_USER_REGION_READ, -1, with_another_fd, 0},
	};
	static const struct twist bad[] = {
		{VFIO_USER_REGION_READ, -1, shorter, -EPROTO},
		{VFIO_USER_REGION_READ, -1, empty, -EPROTO},
		{VFIO_USER_REGION_READ, -1, fails, -ENOSPC},
		{VFIO_USER_REGION_READ, -1, size_huge, -EPROTO},
		{VFIO_USER_REGION_READ, -1, hangs_up_half_way, -ECONNRESET},
		{VFIO_USER_REGION_READ, -1, half_of_it, -ETIMEDOUT},
	};
	static struct middle m;
	uint32_t value = 0;

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		begin_connected(&m, &good[i]);
		for (uint32_t k = 1; k < 50; k++) {
			assert_int_equal(device_write32(m.device, BAR0, RIG_SCRATCH, k), 0);
			assert_int_equal(device_read32(m.device, BAR0, RIG_SCRATCH, &value), 0);
			assert_int_equal(value, k);
		}
		assert_int_equal(m.times, 49);
		end(&m);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		begin_connected(&m, &bad[i]);
		if (bad[i].expected == -ETIMEDOUT)
			m.device->timeout_ms = 300;
		assert_int_equal(
			device_read32(m.device, BAR0, RIG_SCRATCH, &value), bad[i].expected);
		assert_true(device_error(m.device)[0] != 0);
		end(&m);
	}
}

/* A request that timed out, whose reply then comes into the next one's time. */
static void test_late_reply(void **state)
{
	static const struct twist twists[] = {
		{VFIO_USER_REGION_READ, -1, late, 0},
		{VFIO_USER_REGION_READ, -1, never, 0},
	};
	static struct middle m;
	uint32_t value = 0;

	for (size_t i = 0; i < 2; i++) {
		begin_connected(&m, &twists[i]);
		m.device->timeout_ms = 300;
		assert_int_equal(device_read32(m.device, BAR0, RIG_SCRATCH, &value), -ETIMEDOUT);
		m.device->timeout_ms = 20000;
		assert_int_equal(device_write32(m.device, BAR0, RIG_SCRATCH, 77), 0);
		assert_int_equal(device_read32(m.device, BAR0, RIG_SCRATCH, &value), 0);
		assert_int_equal(value, 77);
		end(&m);
	}
}

/* --- DMA messages of all kinds ------------------------------------------------------------------- */

struct wish {
	uint16_t command;
	uint64_t address;
	uint64_t count;
	uint32_t bytes; /* payload after the structure */
	uint32_t flags;
	int expected; /* error of the reply; 1: there is none */
};

static const struct wish wishes[] = {
	{VFIO_USER_DMA_READ, 0x10000, 16, 0, 0, 0},
	{VFIO_USER_DMA_READ, 0x10ff0, 16, 0, 0, 0},
	{VFIO_USER_DMA_READ, 0x10ff1, 16, 0, 0, EFAULT},
	{VFIO_USER_DMA_READ, 0xffff, 2, 0, 0, EFAULT},
	{VFIO_USER_DMA_READ, 0x20000, 1, 0, 0, EFAULT},
	{VFIO_USER_DMA_READ, 0x10000, 0, 0, 0, EINVAL},
	{VFIO_USER_DMA_READ, 0x10000, VFIO_USER_CHUNK + 1, 0, 0, EINVAL},
	{VFIO_USER_DMA_READ, 0x10000, UINT64_MAX, 0, 0, EINVAL},
	{VFIO_USER_DMA_READ, UINT64_MAX - 1, 16, 0, 0, EINVAL},
	{VFIO_USER_DMA_READ, 0x10000, 16, 16, 0, EINVAL},
	{VFIO_USER_DMA_WRITE, 0x10000, 16, 16, 0, 0},
	{VFIO_USER_DMA_WRITE, 0x10000, 16, 15, 0, EINVAL},
	{VFIO_USER_DMA_WRITE, 0x10000, 16, 17, 0, EINVAL},
	{VFIO_USER_DMA_WRITE, 0x10000, 16, 16, VFIO_USER_NO_REPLY, 1},
	{VFIO_USER_DMA_WRITE, 0x11000, 16, 16, 0, EFAULT}, /* not to be written */
	{VFIO_USER_DMA_READ, 0x11000, 16, 0, 0, 0},
	{VFIO_USER_DMA_READ, 0x10ff8, 16, 0, 0, EFAULT}, /* from one window into the next */
	{VFIO_USER_REGION_READ, 0x10000, 16, 0, 0, ENOTSUP},
	{VFIO_USER_DEVICE_RESET, 0, 0, 0, 0, ENOTSUP},
	{999, 0, 0, 0, 0, ENOTSUP},
};

/* The server says things of its own before it answers; what the client answers goes to the rig, which
 * drops it, so the answers are looked at here. */
static void ask_client(int socket, const struct wish *wish)
{
	uint8_t payload[16 + 64] = {0};
	struct vfio_user_header header = {
		.id = 5, .command = wish->command, .size = 32 + wish->bytes, .flags = wish->flags};
	struct vfio_user_dma_access access = {wish->address, wish->count};
	uint8_t all[sizeof(header) + sizeof(payload)];

	memcpy(all, &header, sizeof(header));
	memcpy(all + 16, &access, sizeof(access));
	memset(all + 32, 0xab, 64);
	send_to(socket, all, header.size, NULL, 0);
}

static void test_dma_messages(void **state)
{
	static struct rig rig;
	struct device *device;
	char error[DEVICE_ERROR_BYTES];
	int ends[2];
	unsigned fds = rig_count_fds();
	uint8_t *memory = aligned_alloc(4096, 8192);

	/* Connected through the rig's server, which is then closed behind a duplicate of its socket. */
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
	int server = fcntl(ends[0], F_DUPFD_CLOEXEC, 0);
	memset(memory, 0x11, 8192);
	rig_open(&rig, NULL, ends[0], 20000);
	rig_serve(&rig);
	assert_int_equal(vfio_user_connect(&device, ends[1], error), 0);
	assert_int_equal(device_map_memory(device, (struct bus_addr){0x10000}, 4096,
				 DEVICE_READ | DEVICE_WRITE, memory, -1, 0),
		0);
	assert_int_equal(device_map_memory(device, (struct bus_addr){0x11000}, 4096, DEVICE_READ,
				 memory + 4096, -1, 0),
		0);
	assert_int_equal(
		device_map_memory(device, (struct bus_addr){0}, 4096, DEVICE_READ, memory, -1, 0),
		-EINVAL);
	rig.stop = true;
	pthread_join(rig.control, NULL);
	rig.threaded = false;

	for (size_t i = 0; i < sizeof(wishes) / sizeof(wishes[0]); i++) {
		struct vfio_user_stream stream = {0};
		struct vfio_user_message *reply = NULL;

		ask_client(server, &wishes[i]);
		assert_int_equal(device_service(device), 0);
		int result = vfio_user_receive(&stream, server, &reply);
		if (wishes[i].expected == 1) {
			assert_int_equal(result, 0);
			vfio_user_stream_reset(&stream);
			continue;
		}
		assert_int_equal(result, 1);
		assert_int_equal(reply->header.id, 5);
		assert_int_equal(reply->header.command, wishes[i].command);
		assert_int_equal(reply->header.error, wishes[i].expected);
		assert_int_equal(reply->header.flags,
			VFIO_USER_TYPE_REPLY | (wishes[i].expected ? VFIO_USER_ERROR : 0));
		vfio_user_message_free(reply);
	}
	assert_int_equal(memory[0], 0xab);
	assert_int_equal(memory[16], 0x11);
	assert_int_equal(memory[4096], 0x11);
	device_close(device);
	rig_close(&rig);
	close(server);
	free(memory);
	assert_int_equal(rig_count_fds(), fds);
}

/* --- Chance -------------------------------------------------------------------------------------- */

static uint64_t dice;

static uint32_t roll(uint32_t sides)
{
	dice ^= dice << 13;
	dice ^= dice >> 7;
	dice ^= dice << 17;
	return (uint32_t)(dice >> 32) % sides;
}

static bool random_damage(struct middle *m, struct vfio_user_message *message)
{
	static const uint64_t values[] = {
		0, 1, 8, 0x1000, 0xffff, INT32_MAX, UINT32_MAX, INT64_MAX, UINT64_MAX, ~0xfffull};

	if (roll(4))
		return true;
	for (unsigned n = roll(3); message->bytes >= 8 && n; n--) {
		uint64_t v = values[roll(10)];
		memcpy(message->payload + roll(message->bytes - 7), &v, roll(2) ? 8 : 4);
	}
	if (!roll(6))
		resize(message, roll(message->bytes + 40));
	if (!roll(8))
		drop_fds(message);
	if (!roll(8))
		with_another_fd(m, message);
	if (!roll(16))
		message->header.flags ^= 1u << roll(6);
	if (!roll(60))
		message->header.size = roll(200);
	return roll(60) != 0;
}

static void test_random_replies(void **state)
{
	static struct middle m;
	const struct twist twist = {0, -1, random_damage, 0};
	const char *given = getenv("SEED");
	struct timespec now;
	unsigned opened = 0;

	clock_gettime(CLOCK_MONOTONIC, &now);
	dice = given ? strtoull(given, NULL, 0) : (uint64_t)now.tv_nsec | 1;
	print_message("SEED=%llu\n", (unsigned long long)dice);
	device_timeout_ms = 20000;
	for (unsigned round = 0; round < 80; round++) {
		char error[DEVICE_ERROR_BYTES];

		begin(&m, NULL);
		assert_int_equal(vfio_user_connect(&m.device, m.client_end, error), 0);
		int again = fcntl(m.client_end, F_DUPFD_CLOEXEC, 0);
		device_close(m.device);
		m.device = NULL;
		m.twist = &twist;
		device_timeout_ms = 30;
		if (device_adopt(&m.device, "vfio-user", &again, 1, NULL, 0, error) == 0) {
			uint32_t value;

			opened++;
			check_mappings(m.device);
			for (unsigned i = 0; i < 20; i++) {
				device_read32(m.device, BAR0, RIG_SCRATCH, &value);
				device_unmap_all(m.device);
				device_service(m.device);
			}
		}
		device_timeout_ms = 20000;
		end(&m);
	}
	assert_true(opened < 80);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_opening),
		cmocka_unit_test(test_replies),
		cmocka_unit_test(test_late_reply),
		cmocka_unit_test(test_dma_messages),
		cmocka_unit_test(test_random_replies),
	};

	return cmocka_run_group_tests_name("vfio-user hostile servers", tests, NULL, NULL);
}
