/* SPDX-License-Identifier: BSD-3-Clause */
#include "vfio_user_raw.h"
#include "tests/unit/descriptors.h"

#include <setjmp.h>
#include <stdarg.h>
/* cmocka wants those first. */
#include <cmocka.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

void raw_serve(struct raw *b)
{
	struct pollfd ready = {.fd = vfu_fd(b->rig.vfu), .events = POLLIN};

	while (poll(&ready, 1, 0) > 0)
		vfu_service(b->rig.vfu);
}

void raw_say_flags(struct raw *b, uint16_t command, uint32_t flags, uint32_t size,
	const void *payload, size_t bytes, const int *fds, unsigned fd_count)
{
	struct vfio_user_header header = {
		.id = 7, .command = command, .size = size, .flags = flags};
	struct iovec parts[2] = {{&header, sizeof(header)}, {(void *)payload, bytes}};
	ssize_t n = vfio_user_send(b->socket, parts, 2, fds, fd_count);

	assert_int_equal(n, (ssize_t)(sizeof(header) + bytes));
}

void raw_say(struct raw *b, uint16_t command, const void *payload, size_t bytes, const int *fds,
	unsigned fd_count)
{
	raw_say_flags(b, command, 0, (uint32_t)(16 + bytes), payload, bytes, fds, fd_count);
}

struct vfio_user_message *raw_hear(struct raw *b)
{
	vfio_user_message_free(b->reply);
	b->reply = NULL;
	int result = vfio_user_receive(&b->stream, b->socket, &b->reply);
	return result == 1 ? b->reply : NULL;
}

bool raw_gone(struct raw *b)
{
	char byte;

	return recv(b->socket, &byte, 1, MSG_DONTWAIT | MSG_PEEK) == 0 ||
	       (errno != EAGAIN && errno != EWOULDBLOCK);
}

int raw_ask_fds(struct raw *b, uint16_t command, const void *payload, size_t bytes, const int *fds,
	unsigned fd_count)
{
	raw_say(b, command, payload, bytes, fds, fd_count);
	raw_serve(b);
	struct vfio_user_message *m = raw_hear(b);
	assert_non_null(m);
	assert_int_equal(m->header.id, 7);
	assert_int_equal(m->header.command, command);
	assert_int_equal(m->header.flags & VFIO_USER_TYPE_MASK, VFIO_USER_TYPE_REPLY);
	if (!(m->header.flags & VFIO_USER_ERROR))
		return 0;
	assert_int_equal(m->header.size, 16);
	assert_true(m->header.error != 0);
	return -(int)m->header.error;
}

int raw_ask(struct raw *b, uint16_t command, const void *payload, size_t bytes)
{
	return raw_ask_fds(b, command, payload, bytes, NULL, 0);
}

size_t raw_version(uint8_t *payload, uint16_t major, uint16_t minor, const char *json)
{
	struct vfio_user_version v = {major, minor};

	memcpy(payload, &v, sizeof(v));
	if (!json)
		return sizeof(v);
	memcpy(payload + sizeof(v), json, strlen(json) + 1);
	return sizeof(v) + strlen(json) + 1;
}

int raw_negotiate(struct raw *b, const char *json)
{
	uint8_t payload[512];

	return raw_ask(b, VFIO_USER_VERSION, payload, raw_version(payload, 0, 1, json));
}

void raw_assert_well(struct raw *b)
{
	struct vfio_user_device_info info = {.argsz = sizeof(info)};

	assert_int_equal(raw_ask(b, VFIO_USER_DEVICE_GET_INFO, &info, sizeof(info)), 0);
	memcpy(&info, b->reply->payload, sizeof(info));
	assert_int_equal(info.region_count, 9);
	assert_int_equal(info.irq_count, 5);
	assert_int_equal(info.flags, VFIO_DEVICE_FLAGS_PCI | VFIO_DEVICE_FLAGS_RESET);
}

void raw_connect_for(struct raw *b, unsigned dma_timeout_ms)
{
	int ends[2];

	memset(b, 0, sizeof(*b));
	b->fds = open_descriptors();
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
	b->socket = ends[1];
	rig_open(&b->rig, NULL, ends[0], dma_timeout_ms);
}

void raw_connect(struct raw *b)
{
	raw_connect_for(b, 20000);
}

void raw_disconnect(struct raw *b)
{
	vfio_user_message_free(b->reply);
	vfio_user_stream_reset(&b->stream);
	close(b->socket);
	raw_serve(b);
	assert_int_equal(b->rig.windows, 0);
	assert_false(vfu_connected(b->rig.vfu));
	rig_close(&b->rig);
	assert_int_equal(open_descriptors(), b->fds);
}

int raw_set_up(void **state)
{
	static struct raw b;

	raw_connect(&b);
	assert_int_equal(raw_negotiate(&b, RAW_CAPS), 0);
	*state = &b;
	return 0;
}

int raw_tear_down(void **state)
{
	raw_disconnect(*state);
	return 0;
}

int raw_access(
	struct raw *b, bool write, uint64_t offset, uint32_t region, uint32_t count, uint32_t bytes)
{
	static uint8_t payload[VFIO_USER_DEFAULT_TRANSFER / 8];
	struct vfio_user_region_access access = {offset, region, count};

	memcpy(payload, &access, sizeof(access));
	return raw_ask(b, write ? VFIO_USER_REGION_WRITE : VFIO_USER_REGION_READ, payload,
		sizeof(access) + bytes);
}

int64_t raw_now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}
