/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The server against clients that do not mean well. Server and client share a thread: the test puts bytes
 * on the socket, lets the server have its turn, and looks at what came back, so every case is exact.
 */
#include "vfio_user_rig.h"

#include <setjmp.h>
#include <stdarg.h>
/* cmocka wants those first */
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BAR0 VFIO_PCI_BAR0_REGION_INDEX
#define BAR2 VFIO_PCI_BAR2_REGION_INDEX
#define CAPS "{\"capabilities\":{\"max_msg_fds\":8,\"write_multiple\":true}}"

struct bench {
	struct rig rig;
	int socket; /* the client's end */
	unsigned fds;
	struct vfio_user_message *reply;
	struct vfio_user_stream stream;
};

/* --- The client's hands -------------------------------------------------------------------------- */

static void serve(struct bench *b)
{
	struct pollfd ready = {.fd = vfu_fd(b->rig.vfu), .events = POLLIN};

	while (poll(&ready, 1, 0) > 0)
		vfu_service(b->rig.vfu);
}

/* Sends as it is, whatever `size` says. */
static void say_flags(struct bench *b, uint16_t command, uint32_t flags, uint32_t size,
	const void *payload, size_t bytes, const int *fds, unsigned fd_count)
{
	struct vfio_user_header header = {
		.id = 7, .command = command, .size = size, .flags = flags};
	struct iovec parts[2] = {{&header, sizeof(header)}, {(void *)payload, bytes}};
	ssize_t n = vfio_user_send(b->socket, parts, 2, fds, fd_count);

	assert_int_equal(n, (ssize_t)(sizeof(header) + bytes));
}

static void say(struct bench *b, uint16_t command, const void *payload, size_t bytes,
	const int *fds, unsigned fd_count)
{
	say_flags(b, command, 0, (uint32_t)(16 + bytes), payload, bytes, fds, fd_count);
}

/* The next message from the server; NULL: there is none. */
static struct vfio_user_message *hear(struct bench *b)
{
	vfio_user_message_free(b->reply);
	b->reply = NULL;
	int result = vfio_user_receive(&b->stream, b->socket, &b->reply);
	return result == 1 ? b->reply : NULL;
}

/* Has the server hung up? */
static bool gone(struct bench *b)
{
	char byte;

	return recv(b->socket, &byte, 1, MSG_DONTWAIT | MSG_PEEK) == 0 ||
	       (errno != EAGAIN && errno != EWOULDBLOCK);
}

/* Sends a command and returns the error in its reply; b->reply holds it. */
static int ask_fds(struct bench *b, uint16_t command, const void *payload, size_t bytes,
	const int *fds, unsigned fd_count)
{
	say(b, command, payload, bytes, fds, fd_count);
	serve(b);
	struct vfio_user_message *m = hear(b);
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

static int ask(struct bench *b, uint16_t command, const void *payload, size_t bytes)
{
	return ask_fds(b, command, payload, bytes, NULL, 0);
}

static size_t version(uint8_t *payload, uint16_t major, uint16_t minor, const char *json)
{
	struct vfio_user_version v = {major, minor};

	memcpy(payload, &v, sizeof(v));
	if (!json)
		return sizeof(v);
	memcpy(payload + sizeof(v), json, strlen(json) + 1);
	return sizeof(v) + strlen(json) + 1;
}

static int negotiate(struct bench *b, const char *json)
{
	uint8_t payload[512];

	return ask(b, VFIO_USER_VERSION, payload, version(payload, 0, 1, json));
}

/* The server is well: it still answers. */
static void assert_well(struct bench *b)
{
	struct vfio_user_device_info info = {.argsz = sizeof(info)};

	assert_int_equal(ask(b, VFIO_USER_DEVICE_GET_INFO, &info, sizeof(info)), 0);
	memcpy(&info, b->reply->payload, sizeof(info));
	assert_int_equal(info.region_count, 9);
	assert_int_equal(info.irq_count, 5);
	assert_int_equal(info.flags, VFIO_DEVICE_FLAGS_PCI | VFIO_DEVICE_FLAGS_RESET);
}

static void connect_raw(struct bench *b)
{
	int ends[2];

	memset(b, 0, sizeof(*b));
	b->fds = rig_count_fds();
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
	b->socket = ends[1];
	rig_open(&b->rig, NULL, ends[0], 100);
}

static void disconnect_raw(struct bench *b)
{
	vfio_user_message_free(b->reply);
	vfio_user_stream_reset(&b->stream);
	close(b->socket);
	serve(b);
	assert_int_equal(b->rig.windows, 0);
	assert_false(vfu_connected(b->rig.vfu));
	rig_close(&b->rig);
	assert_int_equal(rig_count_fds(), b->fds);
}

static int set_up(void **state)
{
	static struct bench b;

	connect_raw(&b);
	assert_int_equal(negotiate(&b, CAPS), 0);
	*state = &b;
	return 0;
}

static int tear_down(void **state)
{
	disconnect_raw(*state);
	return 0;
}

/* --- Framing ------------------------------------------------------------------------------------- */

static void test_one_byte_at_a_time(void **state)
{
	struct bench b;
	uint8_t bytes[600];
	uint8_t payload[512];
	size_t n = version(payload, 0, 1, CAPS);
	struct vfio_user_header header = {
		.id = 7, .command = VFIO_USER_VERSION, .size = (uint32_t)(16 + n)};

	connect_raw(&b);
	memcpy(bytes, &header, 16);
	memcpy(bytes + 16, payload, n);
	for (size_t i = 0; i < 16 + n; i++) {
		assert_null(hear(&b));
		assert_int_equal(send(b.socket, bytes + i, 1, 0), 1);
		serve(&b);
	}
	assert_non_null(hear(&b));
	assert_int_equal(b.reply->header.flags, VFIO_USER_TYPE_REPLY);
	assert_well(&b);
	disconnect_raw(&b);
}

static void test_bad_sizes(void **state)
{
	static const uint32_t sizes[] = {
		0, 1, 15, VFIO_USER_MESSAGE_MAX + 1, INT32_MAX, UINT32_MAX - 15, UINT32_MAX};
	struct bench b;

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		connect_raw(&b);
		if (i % 2)
			assert_int_equal(negotiate(&b, CAPS), 0);
		say_flags(&b, VFIO_USER_DEVICE_GET_INFO, 0, sizes[i], "0123456789abcdef", 16, NULL,
			0);
		serve(&b);
		assert_true(gone(&b));
		assert_non_null(strstr(b.rig.log, "no message"));
		assert_int_equal(b.rig.disconnects, i % 2);
		disconnect_raw(&b);
	}
}

/* Half a message, with descriptors in it, and then nothing more. */
static void test_leaves_in_the_middle(void **state)
{
	struct bench b;
	int memory = rig_memfd(0x1000, F_SEAL_SHRINK);
	int fds[3] = {memory, memory, memory};

	for (uint32_t cut = 0; cut < 48; cut += 5) {
		struct vfio_user_header header = {.command = VFIO_USER_DMA_MAP,
			.size = 16 + sizeof(struct vfio_user_dma_map)};
		uint8_t bytes[64] = {0};

		connect_raw(&b);
		assert_int_equal(negotiate(&b, CAPS), 0);
		memcpy(bytes, &header, sizeof(header));
		struct iovec part = {bytes, cut + 1};
		assert_int_equal(vfio_user_send(b.socket, &part, 1, fds, 3), cut + 1);
		if (cut % 2)
			serve(&b);
		disconnect_raw(&b);
	}
	close(memory);
}

/* Descriptors stay with their message, however bytes are glued together. */
static void test_glued_messages(void **state)
{
	struct bench *b = *state;
	int memory = rig_memfd(0x1000, F_SEAL_SHRINK);
	struct {
		struct vfio_user_header header;
		struct vfio_user_dma_map map;
	} m[4];

	for (unsigned i = 0; i < 4; i++) {
		m[i].header = (struct vfio_user_header){
			.id = (uint16_t)i, .command = VFIO_USER_DMA_MAP, .size = sizeof(m[0])};
		m[i].map = (struct vfio_user_dma_map){.argsz = sizeof(m[0].map),
			.flags = VFU_READ,
			.address = 0x10000 * (i + 1),
			.size = 0x1000};
	}
	/* 0 and half of 1, then the rest with a descriptor: it came while 1 was read, so it is 1's. */
	struct iovec first = {m, sizeof(m[0]) + 20};
	struct iovec second = {(uint8_t *)m + sizeof(m[0]) + 20, 3 * sizeof(m[0]) - 20};
	assert_int_equal(vfio_user_send(b->socket, &first, 1, NULL, 0), (ssize_t)first.iov_len);
	assert_int_equal(
		vfio_user_send(b->socket, &second, 1, &memory, 1), (ssize_t)second.iov_len);
	serve(b);
	for (unsigned i = 0; i < 4; i++) {
		assert_non_null(hear(b));
		assert_int_equal(b->reply->header.id, i);
		assert_int_equal(b->reply->header.flags, VFIO_USER_TYPE_REPLY);
		assert_int_equal(b->rig.window[i].window.kind,
			i == 1 ? VFU_WINDOW_MEMORY : VFU_WINDOW_MESSAGE);
	}
	close(memory);
}

static void test_too_many_fds(void **state)
{
	struct bench *b = *state;
	struct vfio_user_dma_map map = {.argsz = sizeof(map), .flags = VFU_READ, .size = 0x1000};
	int memory = rig_memfd(0x1000, F_SEAL_SHRINK);
	int fds[VFIO_USER_FDS_MAX * 2];
	union {
		struct cmsghdr header;
		char room[CMSG_SPACE(sizeof(fds))];
	} control = {0};
	unsigned before = rig_count_fds();

	for (unsigned i = 0; i < VFIO_USER_FDS_MAX * 2; i++)
		fds[i] = memory;
	assert_int_equal(ask_fds(b, VFIO_USER_DMA_MAP, &map, sizeof(map), fds, 2), -EINVAL);
	assert_int_equal(ask_fds(b, VFIO_USER_DMA_MAP, &map, sizeof(map), fds, 16), -EINVAL);

	/* More than the server has room for: MSG_CTRUNC. */
	struct vfio_user_header header = {
		.id = 7, .command = VFIO_USER_DMA_MAP, .size = 16 + sizeof(map)};
	struct iovec parts[2] = {{&header, sizeof(header)}, {&map, sizeof(map)}};
	struct msghdr message = {.msg_iov = parts,
		.msg_iovlen = 2,
		.msg_control = &control,
		.msg_controllen = sizeof(control)};
	control.header.cmsg_level = SOL_SOCKET;
	control.header.cmsg_type = SCM_RIGHTS;
	control.header.cmsg_len = CMSG_LEN(sizeof(fds));
	memcpy(CMSG_DATA(&control.header), fds, sizeof(fds));
	assert_int_equal(sendmsg(b->socket, &message, 0), 48);
	serve(b);
	assert_non_null(hear(b));
	assert_int_equal(b->reply->header.error, EINVAL);
	assert_int_equal(rig_count_fds(), before);

	/* A server at its limit of descriptors cannot take one in: MSG_CTRUNC as well. */
	struct rlimit limit;
	struct rlimit tight;
	getrlimit(RLIMIT_NOFILE, &limit);
	int next = fcntl(memory, F_DUPFD_CLOEXEC, 0);
	close(next);
	tight = (struct rlimit){(rlim_t)next, limit.rlim_max};
	setrlimit(RLIMIT_NOFILE, &tight);
	int result = ask_fds(b, VFIO_USER_DMA_MAP, &map, sizeof(map), fds, 1);
	setrlimit(RLIMIT_NOFILE, &limit);
	assert_int_equal(result, -EINVAL);
	assert_int_equal(ask_fds(b, VFIO_USER_DMA_MAP, &map, sizeof(map), fds, 1), 0);

	/* Descriptors nobody asked for. */
	before = rig_count_fds();
	struct vfio_user_device_info info = {.argsz = sizeof(info)};
	assert_int_equal(ask_fds(b, VFIO_USER_DEVICE_GET_INFO, &info, sizeof(info), fds, 9), 0);
	assert_int_equal(ask_fds(b, VFIO_USER_DEVICE_RESET, NULL, 0, fds, 3), 0);
	assert_int_equal(ask_fds(b, 999, NULL, 0, fds, 3), -ENOTSUP);
	assert_int_equal(rig_count_fds(), before);
	close(memory);
	assert_well(b);
}

/* --- Negotiation --------------------------------------------------------------------------------- */

static void test_bad_versions(void **state)
{
	static const struct {
		uint16_t major;
		const char *json;
		size_t bytes; /* of the payload; 0: all of it */
		int error;
	} cases[] = {
		{1, NULL, 0, ENOTSUP},
		{0xffff, CAPS, 0, ENOTSUP},
		{0, CAPS, 3, EINVAL},
		{0, CAPS, 1, EINVAL},
		{0, CAPS, sizeof(CAPS) + 3, EINVAL}, /* no NUL */
		{0, "", 0, EINVAL},
		{0, "{", 0, EINVAL},
		{0, "[]", 0, EINVAL},
		{0, "null", 0, EINVAL},
		{0, "\xff\xfe{}", 0, EINVAL},
		{0, "{\"capabilities\":5}", 0, EINVAL},
		{0, "{\"capabilities\":{\"max_msg_fds\":\"8\"}}", 0, EINVAL},
		{0, "{\"capabilities\":{\"max_msg_fds\":-1}}", 0, EINVAL},
		{0, "{\"capabilities\":{\"max_data_xfer_size\":0}}", 0, EINVAL},
		{0, "{\"capabilities\":{\"max_data_xfer_size\":1}}", 0, ENOTSUP},
		{0, "{\"capabilities\":{\"max_data_xfer_size\":1.5}}", 0, EINVAL},
		{0, "{\"capabilities\":{\"max_dma_maps\":1e30}}", 0, EINVAL},
		{0, "{\"capabilities\":{\"pgsizes\":8192}}", 0, ENOTSUP},
		{0, "{\"capabilities\":{\"write_multiple\":1}}", 0, EINVAL},
		{0, "{\"capabilities\":{\"max_msg_fds\":99999999999999999999}}", 0, EINVAL},
	};
	struct bench b;
	uint8_t payload[512];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		connect_raw(&b);
		size_t n = version(payload, cases[i].major, 0, cases[i].json);
		if (cases[i].bytes)
			n = cases[i].bytes;
		assert_int_equal(ask(&b, VFIO_USER_VERSION, payload, n), -cases[i].error);
		assert_true(gone(&b));
		assert_true(b.rig.connects == 0 && b.rig.disconnects == 0);
		disconnect_raw(&b);
	}

	/* Deeper than any parser should follow. */
	connect_raw(&b);
	size_t deep = 200000;
	uint8_t *text = malloc(deep);
	memset(text, 0, 4);
	memset(text + 4, '[', deep - 5);
	text[deep - 1] = 0;
	struct vfio_user_header header = {
		.id = 7, .command = VFIO_USER_VERSION, .size = (uint32_t)(16 + deep)};
	struct iovec part = {&header, 16};
	assert_int_equal(vfio_user_send(b.socket, &part, 1, NULL, 0), 16);
	for (size_t at = 0; at < deep;) {
		part = (struct iovec){text + at, deep - at < 10000 ? deep - at : 10000};
		ssize_t n = vfio_user_send(b.socket, &part, 1, NULL, 0);
		assert_true(n > 0);
		at += (size_t)n;
		serve(&b);
	}
	assert_non_null(hear(&b));
	assert_int_equal(b.reply->header.error, EINVAL);
	free(text);
	disconnect_raw(&b);
}

static void test_good_versions(void **state)
{
	static const struct {
		const char *json;
		const char *reply;
	} cases[] = {
		{NULL, "{\"capabilities\":{}}"},
		{"{}", "{\"capabilities\":{}}"},
		{"{\"capabilities\":{}, \"other\":[1]}", "{\"capabilities\":{}}"},
		{"{\"capabilities\":{\"migration\":{\"pgsize\":4096}}}", "{\"capabilities\":{}}"},
		{CAPS, "{\"capabilities\":{\"max_msg_fds\":16,\"write_multiple\":true}}"},
		{"{\"capabilities\":{\"max_data_xfer_size\":4611686018427387904,"
		 "\"max_dma_maps\":1,\"pgsizes\":4096,\"twin_socket\":{\"supported\":true}}}",
			"{\"capabilities\":{\"max_data_xfer_size\":1048576,"
			"\"max_dma_maps\":65535,\"pgsizes\":4096}}"},
	};
	struct bench b;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct vfio_user_version v;

		connect_raw(&b);
		assert_int_equal(negotiate(&b, cases[i].json), 0);
		memcpy(&v, b.reply->payload, sizeof(v));
		assert_int_equal(v.major, 0);
		assert_int_equal(v.minor, 1);
		assert_string_equal((char *)b.reply->payload + 4, cases[i].reply);
		assert_int_equal(b.rig.connects, 1);
		/* Once is enough. */
		assert_int_equal(negotiate(&b, NULL), -EINVAL);
		assert_well(&b);
		disconnect_raw(&b);
	}
}

static void test_commands_before_the_version(void **state)
{
	struct bench b;
	struct vfio_user_dma_map map = {.argsz = sizeof(map), .flags = VFU_READ, .size = 0x1000};

	for (uint16_t command = 0; command < 20; command++) {
		if (command == VFIO_USER_VERSION)
			continue;
		connect_raw(&b);
		assert_int_equal(ask(&b, command, &map, sizeof(map)), -EINVAL);
		assert_true(gone(&b));
		assert_int_equal(b.rig.resets, 0);
		disconnect_raw(&b);
	}
}

/* --- Commands ------------------------------------------------------------------------------------ */

static void test_commands_that_are_none(void **state)
{
	struct bench *b = *state;
	static const uint16_t commands[] = {0, 11, 12, 14, 16, 17, 18, 19, 255, 65535};
	uint8_t payload[64] = {0};

	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		assert_int_equal(ask(b, commands[i], payload, sizeof(payload)), -ENOTSUP);

	/* Replies that nobody waits for are dropped, and types that are none refused. */
	say_flags(b, VFIO_USER_DMA_READ, VFIO_USER_TYPE_REPLY, 80, payload, 64, NULL, 0);
	say_flags(b, VFIO_USER_DMA_WRITE, VFIO_USER_TYPE_REPLY | VFIO_USER_ERROR, 16, NULL, 0, NULL,
		0);
	say_flags(b, VFIO_USER_DEVICE_RESET, VFIO_USER_TYPE_REPLY, 16, NULL, 0, NULL, 0);
	serve(b);
	assert_null(hear(b));
	assert_int_equal(b->rig.resets, 0);
	say_flags(b, VFIO_USER_DEVICE_RESET, 2, 16, NULL, 0, NULL, 0);
	serve(b);
	assert_non_null(hear(b));
	assert_int_equal(b->reply->header.error, EINVAL);
	assert_int_equal(b->rig.resets, 0);
	assert_well(b);
}

/* Every command with every length short of its structure, and with an argsz too small. */
static void test_short_requests(void **state)
{
	struct bench *b = *state;
	static const struct {
		uint16_t command;
		uint32_t bytes;
		bool argsz;
	} cases[] = {
		{VFIO_USER_DMA_MAP, sizeof(struct vfio_user_dma_map), true},
		{VFIO_USER_DMA_UNMAP, sizeof(struct vfio_user_dma_unmap), true},
		{VFIO_USER_DEVICE_GET_INFO, sizeof(struct vfio_user_device_info), true},
		{VFIO_USER_DEVICE_GET_REGION_INFO, sizeof(struct vfio_user_region_info), true},
		{VFIO_USER_DEVICE_GET_REGION_IO_FDS, sizeof(struct vfio_user_io_fds), true},
		{VFIO_USER_DEVICE_GET_IRQ_INFO, sizeof(struct vfio_user_irq_info), true},
		{VFIO_USER_DEVICE_SET_IRQS, sizeof(struct vfio_user_irq_set), true},
		{VFIO_USER_REGION_READ, sizeof(struct vfio_user_region_access), false},
		{VFIO_USER_REGION_WRITE, sizeof(struct vfio_user_region_access), false},
		{VFIO_USER_REGION_WRITE_MULTI, sizeof(struct vfio_user_write_multi), false},
	};
	uint8_t payload[64];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		memset(payload, 0, sizeof(payload));
		for (uint32_t n = 0; n < cases[i].bytes; n++)
			assert_int_equal(ask(b, cases[i].command, payload, n), -EINVAL);
		for (uint32_t argsz = 0; cases[i].argsz && argsz < cases[i].bytes; argsz++) {
			memcpy(payload, &argsz, sizeof(argsz));
			assert_int_equal(
				ask(b, cases[i].command, payload, cases[i].bytes), -EINVAL);
		}
	}
	assert_well(b);
}

static int map(struct bench *b, uint32_t flags, uint64_t offset, uint64_t address, uint64_t size)
{
	struct vfio_user_dma_map m = {sizeof(m), flags, offset, address, size};

	return ask(b, VFIO_USER_DMA_MAP, &m, sizeof(m));
}

static int unmap(struct bench *b, uint32_t flags, uint64_t address, uint64_t size)
{
	struct vfio_user_dma_unmap u = {sizeof(u), flags, address, size};

	return ask(b, VFIO_USER_DMA_UNMAP, &u, sizeof(u));
}

static void test_window_ranges(void **state)
{
	struct bench *b = *state;

	assert_int_equal(map(b, VFU_READ, 0, 0x1000, 0), -EINVAL);
	assert_int_equal(map(b, VFU_READ, 0, 0x1000, 1), -EINVAL);
	assert_int_equal(map(b, VFU_READ, 0, 0x1001, 0x1000), -EINVAL);
	assert_int_equal(map(b, VFU_READ, 0, 0x2000, ~0xfffull), -EINVAL);
	assert_int_equal(map(b, VFU_READ, 0, ~0xfffull, 0x2000), -EINVAL);
	assert_int_equal(map(b, 0, 0, 0x1000, 0x1000), -EINVAL);
	assert_int_equal(map(b, 4, 0, 0x1000, 0x1000), -EINVAL);
	assert_int_equal(map(b, ~0u, 0, 0x1000, 0x1000), -EINVAL);
	assert_int_equal(b->rig.windows, 0);
	assert_int_equal(map(b, VFU_READ, 0, 0, ~0xfffull), 0); /* all but the last page */
	assert_int_equal(map(b, VFU_READ, 0, ~0xfffull, 0x1000), 0);
	assert_int_equal(map(b, VFU_READ, 0, 0x1000, 0x1000), -EEXIST);

	assert_int_equal(unmap(b, 0, 0, 0), -EINVAL);
	assert_int_equal(unmap(b, 0, 0, 0x1000), -ENOENT);
	assert_int_equal(unmap(b, 0, ~0xfffull, 0x2000), -ENOENT);
	assert_int_equal(unmap(b, 1, 0, ~0xfffull), -EINVAL); /* no dirty pages here */
	assert_int_equal(unmap(b, VFIO_DMA_UNMAP_FLAG_ALL, 0, 0x1000), -EINVAL);
	assert_int_equal(unmap(b, ~0u, 0, 0), -EINVAL);
	assert_int_equal(b->rig.windows, 2);
	assert_int_equal(unmap(b, 0, 0, ~0xfffull), 0);
	assert_int_equal(b->reply->bytes, sizeof(struct vfio_user_dma_unmap));
	assert_int_equal(unmap(b, VFIO_DMA_UNMAP_FLAG_ALL, 0, 0), 0);
	assert_int_equal(b->rig.windows, 0);
}

static void test_region_info(void **state)
{
	struct bench *b = *state;
	struct vfio_user_region_info info = {.argsz = sizeof(info), .index = BAR0};
	struct vfio_user_sparse sparse;
	struct vfio_user_area area;
	uint32_t full = sizeof(info) + sizeof(sparse) + sizeof(area);

	/* Too little room for the capability: told how much, and no descriptor yet. */
	for (uint32_t argsz = sizeof(info); argsz < full; argsz++) {
		info = (struct vfio_user_region_info){.argsz = argsz, .index = BAR0};
		assert_int_equal(ask(b, VFIO_USER_DEVICE_GET_REGION_INFO, &info, sizeof(info)), 0);
		assert_int_equal(b->reply->bytes, sizeof(info));
		assert_int_equal(b->reply->fd_count, 0);
		memcpy(&info, b->reply->payload, sizeof(info));
		assert_int_equal(info.argsz, full);
		assert_int_equal(info.flags, 0xf);
		assert_int_equal(info.capability_offset, 0);
	}
	for (uint32_t argsz = full; argsz < UINT32_MAX / 2; argsz *= 3) {
		info = (struct vfio_user_region_info){.argsz = argsz, .index = BAR0};
		assert_int_equal(ask(b, VFIO_USER_DEVICE_GET_REGION_INFO, &info, sizeof(info)), 0);
		assert_int_equal(b->reply->bytes, full);
		assert_int_equal(b->reply->fd_count, 1);
		memcpy(&info, b->reply->payload, sizeof(info));
		memcpy(&sparse, b->reply->payload + info.capability_offset, sizeof(sparse));
		memcpy(&area, b->reply->payload + info.capability_offset + sizeof(sparse),
			sizeof(area));
		assert_int_equal(sparse.header.id, VFIO_REGION_INFO_CAP_SPARSE_MMAP);
		assert_int_equal(sparse.header.version, 1);
		assert_int_equal(sparse.header.next, 0);
		assert_int_equal(sparse.count, 1);
		assert_int_equal(area.offset, 0x1000);
		assert_int_equal(area.size, 0x1000);
	}
	/* No capability, no second question. */
	info = (struct vfio_user_region_info){.argsz = sizeof(info), .index = BAR2};
	assert_int_equal(ask(b, VFIO_USER_DEVICE_GET_REGION_INFO, &info, sizeof(info)), 0);
	assert_int_equal(b->reply->fd_count, 1);
	for (uint32_t index = 0; index < 12; index++) {
		info = (struct vfio_user_region_info){.argsz = sizeof(info), .index = index};
		assert_int_equal(ask(b, VFIO_USER_DEVICE_GET_REGION_INFO, &info, sizeof(info)),
			index < 9 ? 0 : -EINVAL);
	}
	info = (struct vfio_user_region_info){.argsz = sizeof(info), .index = UINT32_MAX};
	assert_int_equal(ask(b, VFIO_USER_DEVICE_GET_REGION_INFO, &info, sizeof(info)), -EINVAL);
}

static void test_io_fds(void **state)
{
	struct bench *b = *state;
	struct vfio_user_io_fds info = {.argsz = sizeof(info), .index = BAR0};
	struct vfio_user_io_fd one;

	assert_int_equal(ask(b, VFIO_USER_DEVICE_GET_REGION_IO_FDS, &info, sizeof(info)), 0);
	assert_int_equal(b->reply->fd_count, 0);
	memcpy(&info, b->reply->payload, sizeof(info));
	assert_int_equal(info.argsz, sizeof(info) + sizeof(one));
	assert_int_equal(info.count, 1);
	assert_int_equal(ask(b, VFIO_USER_DEVICE_GET_REGION_IO_FDS, &info, sizeof(info)), 0);
	assert_int_equal(b->reply->fd_count, 1);
	memcpy(&one, b->reply->payload + sizeof(info), sizeof(one));
	assert_int_equal(one.offset, 0x2000);
	assert_int_equal(one.type, VFIO_USER_IO_FD_IOEVENTFD);
	assert_int_equal(one.fd_index, 0);
	info = (struct vfio_user_io_fds){.argsz = 100, .index = BAR2};
	assert_int_equal(ask(b, VFIO_USER_DEVICE_GET_REGION_IO_FDS, &info, sizeof(info)), 0);
	assert_int_equal(b->reply->bytes, sizeof(info));
	info = (struct vfio_user_io_fds){.argsz = 100, .index = 9};
	assert_int_equal(ask(b, VFIO_USER_DEVICE_GET_REGION_IO_FDS, &info, sizeof(info)), -EINVAL);
	info = (struct vfio_user_io_fds){.argsz = 100, .flags = 1};
	assert_int_equal(ask(b, VFIO_USER_DEVICE_GET_REGION_IO_FDS, &info, sizeof(info)), -EINVAL);
}

static int access_region(struct bench *b, bool write, uint64_t offset, uint32_t region,
	uint32_t count, uint32_t bytes)
{
	static uint8_t payload[VFIO_USER_DEFAULT_TRANSFER / 8];
	struct vfio_user_region_access access = {offset, region, count};

	memcpy(payload, &access, sizeof(access));
	return ask(b, write ? VFIO_USER_REGION_WRITE : VFIO_USER_REGION_READ, payload,
		sizeof(access) + bytes);
}

static void test_region_ranges(void **state)
{
	struct bench *b = *state;

	for (int write = 0; write < 2; write++) {
		uint32_t n = write ? 4 : 0;

		assert_int_equal(access_region(b, write, RIG_BAR0 - 4, BAR0, 4, n), 0);
		assert_int_equal(access_region(b, write, RIG_BAR0 - 3, BAR0, 4, n), -EINVAL);
		assert_int_equal(access_region(b, write, RIG_BAR0, BAR0, 4, n), -EINVAL);
		assert_int_equal(access_region(b, write, UINT64_MAX, BAR0, 4, n), -EINVAL);
		assert_int_equal(access_region(b, write, UINT64_MAX - 3, BAR0, 4, n), -EINVAL);
		assert_int_equal(access_region(b, write, 0, 3, 4, n), -EINVAL); /* absent */
		assert_int_equal(access_region(b, write, 0, 9, 4, n), -EINVAL);
		assert_int_equal(access_region(b, write, 0, UINT32_MAX, 4, n), -EINVAL);
		assert_int_equal(access_region(b, write, 0, BAR0, 0, 0), -EINVAL);
		assert_int_equal(access_region(b, write, 0, BAR0, UINT32_MAX, n), -EINVAL);
		assert_int_equal(access_region(b, write, 0x40, BAR0, 2, n / 2), -EINVAL);
	}
	/* A count that is not the data's. */
	assert_int_equal(access_region(b, true, 0, BAR2, 4, 3), -EINVAL);
	assert_int_equal(access_region(b, true, 0, BAR2, 4, 5), -EINVAL);
	assert_int_equal(
		access_region(b, false, 0, BAR2, VFIO_USER_DEFAULT_TRANSFER + 1, 0), -EINVAL);
}

static void test_write_multi(void **state)
{
	struct bench *b = *state;
	struct {
		uint64_t count;
		struct vfio_user_small_write w[3];
	} m = {3, {{0x40, BAR0, 4, {1}}, {0x48, BAR2, 8, {2}}, {0x50, BAR2, 1, {3}}}};
	uint64_t done;

	assert_int_equal(ask(b, VFIO_USER_REGION_WRITE_MULTI, &m, sizeof(m)), 0);
	memcpy(&done, b->reply->payload, sizeof(done));
	assert_int_equal(done, 3);
	assert_int_equal(b->rig.bar0[0x40], 1);
	assert_int_equal(b->rig.bar2[0x48], 2);
	assert_int_equal(b->rig.bar2[0x50], 3);

	m.w[1].count = 9;
	assert_int_equal(ask(b, VFIO_USER_REGION_WRITE_MULTI, &m, sizeof(m)), 0);
	memcpy(&done, b->reply->payload, sizeof(done));
	assert_int_equal(done, 1);
	m.w[0].region = 77;
	assert_int_equal(ask(b, VFIO_USER_REGION_WRITE_MULTI, &m, sizeof(m)), -EINVAL);
	m.w[0].region = BAR0;
	m.count = 2;
	assert_int_equal(ask(b, VFIO_USER_REGION_WRITE_MULTI, &m, sizeof(m)), -EINVAL);
	m.count = UINT64_MAX / 24 + 2; /* times 24 it wraps to something small */
	assert_int_equal(ask(b, VFIO_USER_REGION_WRITE_MULTI, &m, sizeof(m)), -EINVAL);
	m.count = 0;
	assert_int_equal(ask(b, VFIO_USER_REGION_WRITE_MULTI, &m, 8), 0);
}

/* --- Interrupts ---------------------------------------------------------------------------------- */

static int irqs(struct bench *b, uint32_t flags, uint32_t index, uint32_t start, uint32_t count,
	const char *booleans, const int *fds, unsigned fd_count)
{
	uint8_t payload[64] = {0};
	struct vfio_user_irq_set set = {sizeof(set), flags, index, start, count};
	size_t more = booleans ? strlen(booleans) : 0;

	memcpy(payload, &set, sizeof(set));
	for (size_t i = 0; i < more; i++)
		payload[sizeof(set) + i] = booleans[i] == '1';
	return ask_fds(b, VFIO_USER_DEVICE_SET_IRQS, payload, sizeof(set) + more, fds, fd_count);
}

static uint64_t take(int fd)
{
	uint64_t count = 0;

	return read(fd, &count, sizeof(count)) < 0 ? 0 : count;
}

static void test_irqs(void **state)
{
	struct bench *b = *state;
	const uint32_t none = VFIO_IRQ_SET_DATA_NONE;
	const uint32_t boolean = VFIO_IRQ_SET_DATA_BOOL;
	const uint32_t event = VFIO_IRQ_SET_DATA_EVENTFD;
	const uint32_t trigger = VFIO_IRQ_SET_ACTION_TRIGGER;
	const uint32_t mask = VFIO_IRQ_SET_ACTION_MASK;
	const uint32_t unmask = VFIO_IRQ_SET_ACTION_UNMASK;
	const uint32_t msix = VFIO_PCI_MSIX_IRQ_INDEX;
	int fds[3] = {eventfd(0, EFD_NONBLOCK), eventfd(0, EFD_NONBLOCK), -1};
	unsigned before = rig_count_fds();

	fds[2] = b->rig.bar0_fd;
	/* Flags that are not one kind of data and one action. */
	for (uint32_t flags = 0; flags < 128; flags++) {
		uint32_t data = flags & 7;
		uint32_t action = flags & 0x38;
		bool one = data && !(data & (data - 1)) && action && !(action & (action - 1)) &&
			   flags < 64;
		int result = irqs(b, flags, msix, 0, 2, "00", NULL, 0);
		if (!one)
			assert_int_equal(result, -EINVAL);
	}
	assert_int_equal(irqs(b, event | trigger, msix, 0, 2, NULL, fds, 1), -EINVAL);
	assert_int_equal(irqs(b, event | trigger, msix, 0, 2, NULL, fds, 3), -EINVAL);
	assert_int_equal(irqs(b, event | trigger, msix, 0, 3, NULL, fds, 3), -EINVAL);
	assert_int_equal(irqs(b, event | trigger, msix, 1, 2, NULL, fds, 2), -EINVAL);
	assert_int_equal(irqs(b, event | trigger, msix, UINT32_MAX, 2, NULL, fds, 2), -EINVAL);
	assert_int_equal(irqs(b, event | trigger, msix, 1, UINT32_MAX, NULL, fds, 2), -EINVAL);
	assert_int_equal(irqs(b, event | trigger, msix, 0, 2, NULL, fds + 1, 2), -EINVAL);
	assert_int_equal(irqs(b, event | trigger, msix, 0, 0, NULL, NULL, 0), -EINVAL);
	assert_int_equal(irqs(b, event | trigger, 0, 0, 1, NULL, fds, 1), -EINVAL);
	assert_int_equal(irqs(b, event | trigger, 5, 0, 1, NULL, fds, 1), -EINVAL);
	assert_int_equal(irqs(b, event | mask, msix, 0, 1, NULL, fds, 1), -ENOTSUP);
	assert_int_equal(irqs(b, none | trigger, msix, 0, 1, NULL, fds, 1), -EINVAL);
	assert_int_equal(irqs(b, boolean | trigger, msix, 0, 2, "1", NULL, 0), -EINVAL);
	assert_int_equal(rig_count_fds(), before);

	assert_int_equal(irqs(b, event | trigger, msix, 0, 2, NULL, fds, 2), 0);
	assert_int_equal(irqs(b, event | trigger, msix, 0, 2, NULL, fds, 2), 0);
	assert_int_equal(rig_count_fds(), before + 2);
	assert_int_equal(irqs(b, none | trigger, msix, 0, 2, NULL, NULL, 0), 0);
	assert_int_equal(irqs(b, boolean | trigger, msix, 0, 2, "01", NULL, 0), 0);
	assert_int_equal(take(fds[0]), 1);
	assert_int_equal(take(fds[1]), 2);

	/* Masked: remembered once, delivered when unmasked. */
	assert_int_equal(irqs(b, none | mask, msix, 0, 1, NULL, NULL, 0), 0);
	assert_int_equal(vfu_interrupt(b->rig.vfu, 0), 0);
	assert_int_equal(vfu_interrupt(b->rig.vfu, 0), 0);
	assert_int_equal(take(fds[0]), 0);
	assert_int_equal(irqs(b, boolean | unmask, msix, 0, 2, "01", NULL, 0), 0);
	assert_int_equal(take(fds[0]), 0);
	assert_int_equal(irqs(b, none | unmask, msix, 0, 1, NULL, NULL, 0), 0);
	assert_int_equal(take(fds[0]), 1);
	assert_int_equal(irqs(b, none | unmask, msix, 0, 1, NULL, NULL, 0), 0);
	assert_int_equal(take(fds[0]), 0);

	assert_int_equal(irqs(b, event | trigger, msix, 0, 1, NULL, NULL, 0), 0);
	assert_int_equal(rig_count_fds(), before + 1);
	assert_int_equal(irqs(b, none | trigger, msix, 0, 0, NULL, NULL, 0), 0);
	assert_int_equal(rig_count_fds(), before);
	assert_int_equal(irqs(b, none | trigger, VFIO_PCI_INTX_IRQ_INDEX, 0, 0, NULL, NULL, 0), 0);

	for (uint32_t index = 0; index < 7; index++) {
		struct vfio_user_irq_info info = {.argsz = sizeof(info), .index = index};
		int result = ask(b, VFIO_USER_DEVICE_GET_IRQ_INFO, &info, sizeof(info));
		assert_int_equal(result, index < 5 ? 0 : -EINVAL);
		if (result)
			continue;
		memcpy(&info, b->reply->payload, sizeof(info));
		assert_int_equal(info.count, index == msix ? P2PNIC_VECTORS : 0);
	}
	close(fds[0]);
	close(fds[1]);
}

/* --- Flow ---------------------------------------------------------------------------------------- */

static void test_no_reply(void **state)
{
	struct bench *b = *state;
	struct vfio_user_region_access access = {0x40, BAR0, 4};
	uint8_t payload[20];

	memcpy(payload, &access, sizeof(access));
	for (uint8_t i = 1; i < 100; i++) {
		payload[16] = i;
		say_flags(b, VFIO_USER_REGION_WRITE, VFIO_USER_NO_REPLY, 36, payload, 20, NULL, 0);
	}
	say_flags(
		b, VFIO_USER_REGION_WRITE, VFIO_USER_NO_REPLY, 20, payload, 4, NULL, 0); /* wrong */
	assert_int_equal(access_region(b, false, 0x40, BAR0, 4, 0), 0);
	assert_int_equal(b->reply->payload[16], 99);
	assert_null(hear(b));
}

/* A client that asks and asks and does not read: it gets no further, and nobody else waits for it. */
static void test_replies_not_read(void **state)
{
	struct bench *b = *state;
	struct vfio_user_region_access access = {0, BAR2, 65536};
	unsigned asked = 0;
	unsigned answered = 0;

	for (int stuck = 0; stuck < 3;) {
		struct vfio_user_header header = {.id = (uint16_t)asked,
			.command = VFIO_USER_REGION_READ,
			.size = 16 + sizeof(access)};
		struct iovec parts[2] = {{&header, 16}, {&access, sizeof(access)}};
		ssize_t n = vfio_user_send(b->socket, parts, 2, NULL, 0);

		assert_true(n == 32 || n == -EAGAIN);
		asked += n == 32;
		stuck += n == -EAGAIN;
		serve(b);
	}
	assert_true(asked > 10);
	while (answered < asked) {
		while (hear(b)) {
			assert_int_equal(b->reply->header.id, (uint16_t)answered);
			assert_int_equal(b->reply->bytes, sizeof(access) + 65536);
			answered++;
		}
		serve(b);
	}
	assert_well(b);
}

/* --- Answers to DMA messages --------------------------------------------------------------------- */

struct mover {
	struct bench *b;
	uint8_t data[64];
	bool write;
	int result;
	pthread_t thread;
};

static void *move(void *argument)
{
	struct mover *m = argument;
	struct bus_addr bus = {0x10000};

	m->result = m->write ? vfu_dma_write(m->b->rig.vfu, bus, m->data, sizeof(m->data))
			     : vfu_dma_read(m->b->rig.vfu, bus, m->data, sizeof(m->data));
	return NULL;
}

/* Starts a transfer in another thread and waits for its request, which is then in b->reply. */
static void begin_move(struct bench *b, struct mover *m, bool write)
{
	m->b = b;
	m->write = write;
	memset(m->data, write ? 0x5a : 0, sizeof(m->data));
	pthread_create(&m->thread, NULL, move, m);
	while (!hear(b)) {
		struct pollfd wait = {.fd = b->socket, .events = POLLIN};
		poll(&wait, 1, 100);
	}
	assert_int_equal(
		b->reply->header.command, write ? VFIO_USER_DMA_WRITE : VFIO_USER_DMA_READ);
	assert_int_equal(b->reply->bytes, write ? 16 + sizeof(m->data) : 16);
}

static void answer(struct bench *b, uint16_t id, uint16_t command, uint32_t flags, uint32_t error,
	const void *payload, uint32_t bytes)
{
	struct vfio_user_header header = {id, command, 16 + bytes, flags, error};
	struct iovec parts[2] = {{&header, 16}, {(void *)payload, bytes}};

	assert_int_equal(vfio_user_send(b->socket, parts, 2, NULL, 0), 16 + (ssize_t)bytes);
}

static int end_move(struct mover *m)
{
	pthread_join(m->thread, NULL);
	return m->result;
}

static void test_answers(void **state)
{
	struct bench *b = *state;
	struct mover m;
	uint8_t payload[16 + 65] = {0};
	struct vfio_user_dma_access access = {0x10000, sizeof(m.data)};
	const uint32_t reply = VFIO_USER_TYPE_REPLY;

	memcpy(payload, &access, sizeof(access));
	memset(payload + 16, 0x77, 65);

	/* The three shapes of a write's reply that occur. */
	for (uint32_t bytes = 0; bytes <= 16; bytes += bytes ? 4 : 12) {
		begin_move(b, &m, true);
		answer(b, b->reply->header.id, VFIO_USER_DMA_WRITE, reply, 0, payload, bytes);
		assert_int_equal(end_move(&m), 0);
	}
	begin_move(b, &m, false);
	answer(b, b->reply->header.id, VFIO_USER_DMA_READ, reply, 0, payload, 80);
	assert_int_equal(end_move(&m), 0);
	assert_memory_equal(m.data, payload + 16, sizeof(m.data));

	/* Too short, too long, of another place, less than asked. */
	for (unsigned i = 0; i < 4; i++) {
		struct vfio_user_dma_access other = access;
		uint32_t bytes = i == 0 ? 79 : i == 1 ? 81 : 80;

		other.address += i == 2;
		other.count -= i == 3;
		memcpy(payload, &other, sizeof(other));
		begin_move(b, &m, false);
		answer(b, b->reply->header.id, VFIO_USER_DMA_READ, reply, 0, payload, bytes);
		assert_int_equal(end_move(&m), -EPROTO);
	}
	memcpy(payload, &access, sizeof(access));

	/* Errors, with and without a number that is one. */
	static const struct {
		uint32_t error;
		int result;
	} errors[] = {{EFAULT, -EFAULT}, {EPERM, -EPERM}, {0, -EIO}, {UINT32_MAX, -EIO},
		{1u << 31, -EIO}};
	for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
		begin_move(b, &m, i & 1);
		answer(b, b->reply->header.id, b->reply->header.command, reply | VFIO_USER_ERROR,
			errors[i].error, NULL, 0);
		assert_int_equal(end_move(&m), errors[i].result);
	}

	/* Answers to something else do not count; commands in between are done afterwards, in order. */
	begin_move(b, &m, false);
	uint16_t id = b->reply->header.id;
	answer(b, (uint16_t)(id + 1), VFIO_USER_DMA_READ, reply, 0, payload, 80);
	answer(b, id, VFIO_USER_DMA_WRITE, reply, 0, payload, 80);
	struct vfio_user_region_access region = {0x40, BAR2, 4};
	uint8_t command[20];
	memcpy(command, &region, sizeof(region));
	for (uint8_t i = 0; i < 200; i++) { /* more than the queue holds */
		command[16] = i;
		say(b, VFIO_USER_REGION_WRITE, command, sizeof(command), NULL, 0);
	}
	answer(b, id, VFIO_USER_DMA_READ, reply, 0, payload, 80);
	for (unsigned done = 0; done < 200;) {
		vfu_service(b->rig.vfu);
		while (hear(b)) {
			assert_int_equal(b->reply->header.command, VFIO_USER_REGION_WRITE);
			assert_int_equal(b->reply->header.error, 0);
			done++;
		}
	}
	assert_int_equal(b->rig.bar2[0x40], 199);
	assert_int_equal(end_move(&m), 0);
	assert_well(b);
}

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* A queue full of commands keeps the answer out of sight, and the control thread busy elsewhere: the
 * engine gives up in its time, and the commands are not lost. */
static void test_answer_out_of_reach(void **state)
{
	struct bench *b = *state;
	struct vfio_user_device_info info = {.argsz = sizeof(info)};
	struct mover m;
	unsigned done = 0;

	begin_move(b, &m, true);
	uint16_t id = b->reply->header.id;
	for (unsigned i = 0; i < 100; i++)
		say(b, VFIO_USER_DEVICE_GET_INFO, &info, sizeof(info), NULL, 0);
	answer(b, id, VFIO_USER_DMA_WRITE, VFIO_USER_TYPE_REPLY, 0, NULL, 0);
	assert_int_equal(end_move(&m), -ETIMEDOUT);
	serve(b);
	while (hear(b))
		done++;
	assert_int_equal(done, 100);
	begin_move(b, &m, true);
	answer(b, b->reply->header.id, VFIO_USER_DMA_WRITE, VFIO_USER_TYPE_REPLY, 0, NULL, 0);
	assert_int_equal(end_move(&m), 0);
}

static void test_gone_while_waiting(void **state)
{
	struct bench b;
	struct mover m;

	connect_raw(&b);
	vfu_close(b.rig.vfu);
	/* The same with all the time in the world: the end of the connection ends the wait. */
	struct vfu_config config = b.rig.config;
	char error[VFU_ERROR_BYTES];
	int ends[2];
	close(b.socket);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
	b.socket = ends[1];
	config.connection = ends[0];
	config.dma_timeout_ms = 60000;
	assert_int_equal(vfu_open(&b.rig.vfu, &config, error), 0);
	b.rig.disconnects = 0;
	assert_int_equal(negotiate(&b, CAPS), 0);
	int64_t start = now_ms();
	begin_move(&b, &m, true);
	shutdown(b.socket, SHUT_RDWR);
	assert_int_equal(end_move(&m), -ENOTCONN);
	assert_int_equal(vfu_dma_write(b.rig.vfu, (struct bus_addr){0}, "x", 1), -ENOTCONN);
	serve(&b);
	assert_int_equal(b.rig.disconnects, 1);
	assert_true(now_ms() - start < 30000);
	disconnect_raw(&b);
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

/* Structured nonsense: right sizes with boundary values in every word, descriptors at random. */
static void test_random_messages(void **state)
{
	static const uint64_t values[] = {0, 1, 2, 4, 8, 16, 24, 32, 0x40, 0x1000, 0x2000, 0xffff,
		0x10000, 0x100000, INT32_MAX, UINT32_MAX, 1ull << 32, INT64_MAX, UINT64_MAX,
		~0xfffull};
	struct bench b;
	const char *given = getenv("SEED");
	uint64_t seed = given ? strtoull(given, NULL, 0) : (uint64_t)now_ms() | 1;
	int memory = rig_memfd(0x10000, F_SEAL_SHRINK);
	int event = eventfd(0, EFD_NONBLOCK);

	dice = seed;
	print_message("SEED=%llu\n", (unsigned long long)seed);
	connect_raw(&b);
	vfu_close(b.rig.vfu);
	close(b.socket);
	for (unsigned round = 0; round < 300; round++) {
		struct vfu_config config = b.rig.config;
		char error[VFU_ERROR_BYTES];
		int ends[2];

		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
		b.socket = ends[1];
		config.connection = ends[0];
		assert_int_equal(vfu_open(&b.rig.vfu, &config, error), 0);
		assert_int_equal(negotiate(&b, CAPS), 0);
		for (unsigned i = 0; i < 100 && !gone(&b); i++) {
			uint8_t payload[128];
			int fds[4] = {memory, event, memory, event};
			uint32_t bytes = roll(8) ? 8 * (1 + roll(5)) : roll(sizeof(payload));
			uint32_t flags = roll(16) ? 0 : roll(64);

			for (size_t at = 0; at < sizeof(payload); at += 4) {
				uint64_t v = values[roll(sizeof(values) / sizeof(values[0]))];
				bool wide = roll(2) && at + 8 <= sizeof(payload);
				memcpy(payload + at, &v, wide ? 8 : 4);
				at += wide ? 4 : 0;
			}
			if (roll(2)) {
				uint32_t argsz = 20 + roll(60);
				memcpy(payload, &argsz, 4);
			}
			say_flags(&b, (uint16_t)(roll(8) ? 2 + roll(15) : roll(65536)), flags,
				roll(400) ? 16 + bytes : roll(40), payload, bytes, fds + roll(2),
				roll(3));
			serve(&b);
			while (hear(&b))
				;
		}
		vfio_user_message_free(b.reply);
		b.reply = NULL;
		vfio_user_stream_reset(&b.stream);
		close(b.socket);
		vfu_close(b.rig.vfu);
		assert_int_equal(b.rig.windows, 0);
	}
	b.rig.vfu = NULL;
	rig_close(&b.rig);
	assert_int_equal(rig_count_fds(), b.fds);
	close(memory);
	close(event);
}

int main(void)
{
#define SET(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_byte_at_a_time),
		cmocka_unit_test(test_bad_sizes),
		cmocka_unit_test(test_leaves_in_the_middle),
		SET(test_glued_messages),
		SET(test_too_many_fds),
		cmocka_unit_test(test_bad_versions),
		cmocka_unit_test(test_good_versions),
		cmocka_unit_test(test_commands_before_the_version),
		SET(test_commands_that_are_none),
		SET(test_short_requests),
		SET(test_window_ranges),
		SET(test_region_info),
		SET(test_io_fds),
		SET(test_region_ranges),
		SET(test_write_multi),
		SET(test_irqs),
		SET(test_no_reply),
		SET(test_replies_not_read),
		SET(test_answers),
		SET(test_answer_out_of_reach),
		cmocka_unit_test(test_gone_while_waiting),
		cmocka_unit_test(test_random_messages),
	};

	return cmocka_run_group_tests_name("vfio-user hostile clients", tests, NULL, NULL);
}
