/* SPDX-License-Identifier: BSD-3-Clause */
/* What seldom happens to messages, descriptors, versions, and a server that is described
 * wrongly. */
#include "inject.h"
#include "softnic/vfio_user_internal.h"
#include "vfio_user/descriptor.h"
#include "vfio_user/version.h"
#include "vfio_user_raw.h"

#include <setjmp.h>
#include <stdarg.h>
/* cmocka wants those first. */
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

/* --- Messages --------------------------------------------------------------------------------- */

static int ends[2];

static int pair_up(void **state)
{
	return socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends);
}

static int pair_down(void **state)
{
	close(ends[0]);
	close(ends[1]);
	return 0;
}

static void say(const void *data, size_t bytes, int fd)
{
	struct iovec part = {(void *)data, bytes};

	assert_int_equal(vfio_user_send(ends[0], &part, 1, &fd, fd >= 0 ? 1 : 0), (ssize_t)bytes);
}

static const struct {
	struct vfio_user_header header;
	uint64_t payload;
} whole = {{.id = 3, .command = VFIO_USER_DMA_WRITE, .size = 24}, 0x0123456789abcdef};

/* A signal in the middle of a call: again. */
static void test_interrupted(void **state)
{
	struct vfio_user_message *message;
	struct vfio_user_stream stream = {0};
	struct vfio_user_header header;

	inject_one("sendmsg", 0, EINTR);
	say(&whole, 24, -1);
	inject_one("recv", 0, EINTR);
	assert_int_equal(vfio_user_peek(ends[1], &header), 1);
	inject_one("recvmsg", 0, EINTR);
	assert_int_equal(vfio_user_copy(ends[1], &header, &message), 0);
	assert_memory_equal(message->payload, &whole.payload, 8);
	vfio_user_message_free(message);
	inject_one("recvmsg", 0, EINTR);
	assert_int_equal(vfio_user_receive(&stream, ends[1], &message), 1);
	assert_memory_equal(&message->header, &whole.header, 16);
	assert_memory_equal(message->payload, &whole.payload, 8);
	vfio_user_message_free(message);
	inject_one("recv", 0, EBADF);
	assert_int_equal(vfio_user_peek(ends[1], &header), -EBADF);
	inject_one("ioctl", 0, ENOMEM);
	say(&whole, 24, -1);
	assert_int_equal(vfio_user_peek(ends[1], &header), -ENOMEM);
	assert_int_equal(vfio_user_peek(ends[1], &header), 1);
}

/* No memory: the message waits, at any of its parts, and comes whole later. */
static void test_no_memory(void **state)
{
	struct vfio_user_message *message;
	struct vfio_user_stream stream = {0};

	say(&whole, 24, -1);
	inject_one("calloc", 0, ENOMEM);
	assert_int_equal(vfio_user_receive(&stream, ends[1], &message), -ENOMEM);
	inject_one("malloc", 0, ENOMEM);
	assert_int_equal(vfio_user_receive(&stream, ends[1], &message), -ENOMEM);
	assert_int_equal(vfio_user_receive(&stream, ends[1], &message), 1);
	assert_memory_equal(message->payload, &whole.payload, 8);
	vfio_user_message_free(message);

	say(&whole, 24, -1);
	inject_one("calloc", 0, ENOMEM);
	assert_int_equal(vfio_user_copy(ends[1], &whole.header, &message), -ENOMEM);
	inject_one("alloc", 1, ENOMEM);
	assert_int_equal(vfio_user_take(ends[1], &whole.header, &message), -ENOMEM);
	inject_one("calloc", 0, ENOMEM);
	assert_int_equal(vfio_user_discard(ends[1], &whole.header), -ENOMEM);
	assert_int_equal(vfio_user_discard(ends[1], &whole.header), 0);
	assert_int_equal(vfio_user_receive(&stream, ends[1], &message), 0);
	/* Room for the payload is kept while it is on its way. */
	say(&whole, 16, -1);
	assert_int_equal(vfio_user_receive(&stream, ends[1], &message), 0);
	assert_int_equal(vfio_user_receive(&stream, ends[1], &message), 0);
	vfio_user_stream_reset(&stream);
}

/* A sender's credentials, which are not asked for, are no descriptors. */
static void test_other_control(void **state)
{
	struct vfio_user_message *message;
	struct vfio_user_stream stream = {0};
	int one = 1;

	assert_int_equal(setsockopt(ends[1], SOL_SOCKET, SO_PASSCRED, &one, sizeof(one)), 0);
	say(&whole, 24, ends[0]);
	assert_int_equal(vfio_user_receive(&stream, ends[1], &message), 1);
	assert_int_equal(message->fd_count, 1);
	assert_false(message->fds_lost);
	vfio_user_message_free(message);
}

/* Descriptors end a read, wherever the sender put them. */
static void test_pieces(void **state)
{
	struct vfio_user_message *message;
	struct vfio_user_header header;

	say(&whole, 8, ends[0]);
	say((const uint8_t *)&whole + 8, 8, ends[0]);
	say(&whole.payload, 8, -1);
	assert_int_equal(vfio_user_peek(ends[1], &header), -EPROTO);
	assert_int_equal(vfio_user_take(ends[1], &whole.header, &message), 0);
	assert_int_equal(message->fd_count, 2);
	assert_memory_equal(message->payload, &whole.payload, 8);
	vfio_user_message_free(message);

	say(&whole, 16, ends[0]);
	say(&whole.payload, 8, ends[0]);
	assert_int_equal(vfio_user_peek(ends[1], &header), 1);
	assert_int_equal(vfio_user_copy(ends[1], &header, &message), -EPROTO);
	inject_one("recvmsg", 1, ENOMEM); /* half of it is out: no trying again */
	assert_int_equal(vfio_user_take(ends[1], &header, &message), -EPROTO);
	inject_one("recvmsg", 0, EBADF);
	assert_int_equal(vfio_user_copy(ends[1], &header, &message), -EBADF);
	inject_one("recvmsg", 0, ENOMEM);
	assert_int_equal(vfio_user_take(ends[1], &header, &message), -ENOMEM);
	assert_int_equal(recv(ends[1], &header, 8, 0), 8);
	/* Less than the header said. */
	assert_int_equal(vfio_user_take(ends[1], &whole.header, &message), -EPROTO);
}

static void test_cut_short(void **state)
{
	struct vfio_user_header header;

	say(&whole, 4, -1);
	assert_int_equal(vfio_user_peek(ends[1], &header), 0);
	shutdown(ends[0], SHUT_WR);
	assert_int_equal(vfio_user_peek(ends[1], &header), -ECONNRESET);
}

static void test_too_many_descriptors(void **state)
{
	int fds[VFIO_USER_FDS_MAX + 1] = {0};
	struct iovec part = {(void *)&whole, 24};

	assert_int_equal(vfio_user_send(ends[0], &part, 1, fds, VFIO_USER_FDS_MAX + 1), -E2BIG);
}

/* --- Descriptors ------------------------------------------------------------------------------ */

static void check(
	int fd, uint64_t offset, uint64_t bytes, uint32_t access, int expected, const char *says)
{
	struct error error = {""};

	assert_int_equal(vfio_user_check_fd(fd, offset, bytes, access, &error), expected);
	if (!strstr(error.text, says))
		fail_msg("'%s', not '%s'", error.text, says);
}

static void test_descriptors(void **state)
{
	const uint32_t read = VFIO_DMA_MAP_FLAG_READ, write = VFIO_DMA_MAP_FLAG_WRITE;
	int memory = rig_memfd(0x2000, F_SEAL_SHRINK);
	int sealed = rig_memfd(0x2000, F_SEAL_SHRINK | F_SEAL_WRITE);
	int loose = rig_memfd(0x2000, 0);
	int event = eventfd(0, EFD_CLOEXEC);
	int pipes[2];
	char path[32];

	assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
	check(memory, 0, 0x2000, read | write, VFIO_USER_FD_MEMORY, "");
	check(memory, 0x1000, 0x1000, read, VFIO_USER_FD_MEMORY, "");
	check(memory, 0x1000, 0x1001, read, -ERANGE, "8192 bytes is too short for 4096+4097");
	check(memory, 0x1000, UINT64_MAX, read, -ERANGE, "too short");
	check(memory, 100, 0x1000, read, -EINVAL, "not page-aligned");
	check(loose, 0, 0x1000, read, -EPERM, "F_SEAL_SHRINK");
	check(sealed, 0, 0x1000, read, VFIO_USER_FD_MEMORY, "");
	check(sealed, 0, 0x1000, write, -EACCES, "cannot be written");
	snprintf(path, sizeof(path), "/proc/self/fd/%d", memory);
	int narrow = open(path, O_RDONLY | O_CLOEXEC);
	check(narrow, 0, 0x1000, read, VFIO_USER_FD_MEMORY, "");
	check(narrow, 0, 0x1000, write, -EACCES, "cannot be written");
	close(narrow);
	narrow = open(path, O_WRONLY | O_CLOEXEC);
	check(narrow, 0, 0x1000, write, -EACCES, "not open for reading");
	close(narrow);
	narrow = open(path, O_PATH | O_CLOEXEC);
	check(narrow, 0, 0x1000, read, -EPERM, "F_SEAL_SHRINK");
	close(narrow);
	check(narrow, 0, 0x1000, read, -EBADF, "Bad file descriptor");
	check(pipes[0], 0, 0x1000, read, -EINVAL, "neither memory nor an eventfd");
	check(event, 0, 0, 0, VFIO_USER_FD_EVENT, "");
	assert_true(fcntl(event, F_GETFL) & O_NONBLOCK);
	check(event, 4096, 0, 0, -EINVAL, "no offset");
	inject_one("F_SETFL", 0, EPERM);
	check(event, 0, 0, 0, -EPERM, "eventfd: ");
	inject_one("fstat64", 0, ENOMEM);
	check(event, 0, 0, 0, -ENOMEM, "descriptor: ");
	inject_one("readlink", 0, ENOMEM);
	check(event, 0, 0, 0, -ENOMEM, "descriptor: ");
	close(memory);
	close(sealed);
	close(loose);
	close(event);
	close(pipes[0]);
	close(pipes[1]);
}

/* --- Versions --------------------------------------------------------------------------------- */

static void test_versions(void **state)
{
	static const struct {
		const char *json;
		const char *says; /* NULL: taken */
	} cases[] = {
		{"{}", NULL},
		{"[]", "not an object"},
		{"{\"capabilities\":", "not JSON"},
		{"{\"capabilities\":[]}", "capabilities is not an object"},
		{"{\"capabilities\":{\"max_msg_fds\":-1}}",
			"max_msg_fds is not a number from 0 on"},
		{"{\"capabilities\":{\"max_msg_fds\":\"1\"}}", "max_msg_fds"},
		{"{\"capabilities\":{\"max_data_xfer_size\":-1}}", "max_data_xfer_size"},
		{"{\"capabilities\":{\"max_dma_maps\":1.5}}", "max_dma_maps"},
		{"{\"capabilities\":{\"pgsizes\":null}}", "pgsizes"},
		{"{\"capabilities\":{\"write_multiple\":1}}", "write_multiple is not a boolean"},
		{"{\"capabilities\":{\"write_multiple\":false}}", NULL},
		{"{\"capabilities\":{\"max_msg_fds\":1099511627776,\"write_multiple\":true}}",
			NULL},
	};
	struct vfio_user_limits limits;
	uint8_t payload[512];
	struct error error;

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		size_t bytes = raw_version(payload, 0, 1, cases[i].json);
		int result = vfio_user_version_parse(payload, (uint32_t)bytes, &limits, &error);

		assert_int_equal(result, cases[i].says ? -EINVAL : 0);
		if (cases[i].says && !strstr(error.text, cases[i].says))
			fail_msg("%s: '%s'", cases[i].json, error.text);
	}
	assert_int_equal(limits.max_msg_fds, UINT32_MAX); /* clamped */
	assert_true(limits.write_multiple);

	/* Built and read again: the same; and never beyond its room. */
	const unsigned all = VFIO_USER_HAS_FDS | VFIO_USER_HAS_TRANSFER | VFIO_USER_HAS_MAPS |
			     VFIO_USER_HAS_PAGES | VFIO_USER_HAS_MULTI;
	for (unsigned multiple = 0; multiple < 2; multiple++) {
		struct vfio_user_limits again;

		limits = (struct vfio_user_limits){.minor = 1,
			.named = all,
			.max_msg_fds = 8,
			.max_data_xfer_size = 4096,
			.max_dma_maps = 7,
			.pgsizes = 4096,
			.write_multiple = multiple};
		int bytes = vfio_user_version_build(payload, sizeof(payload), &limits);
		assert_true(bytes > 0);
		assert_int_equal(
			vfio_user_version_parse(payload, (uint32_t)bytes, &again, &error), 0);
		assert_int_equal(again.minor, limits.minor);
		assert_int_equal(again.named, limits.named);
		assert_int_equal(again.max_msg_fds, limits.max_msg_fds);
		assert_int_equal(again.max_data_xfer_size, limits.max_data_xfer_size);
		assert_int_equal(again.max_dma_maps, limits.max_dma_maps);
		assert_int_equal(again.pgsizes, limits.pgsizes);
		assert_int_equal(again.write_multiple, limits.write_multiple);
		assert_int_equal(
			vfio_user_version_build(payload, (uint32_t)bytes - 1, &limits), -ENOSPC);
	}
	limits.named = 0;
	assert_int_equal(vfio_user_version_build(payload, sizeof(payload), &limits),
		4 + sizeof("{\"capabilities\":{}}"));
	inject_one("json_dumps", 0, ENOMEM);
	assert_int_equal(vfio_user_version_build(payload, sizeof(payload), &limits), -ENOMEM);
	inject_one("json_object", 0, ENOMEM);
	assert_int_equal(vfio_user_version_build(payload, sizeof(payload), &limits), -ENOMEM);
}

/* --- The server's description ----------------------------------------------------------------- */

static void test_descriptions(void **state)
{
	struct raw *b = *state;
	const struct vfu_config good = b->rig.config;
	const struct vfu_ops ops = *good.ops;
	struct vfio_user_area area = {RIG_BAR0, 1};
	struct error error;
	struct vfu *vfu;

	for (unsigned k = 0; k < 12; k++) {
		struct vfu_config bad = good;
		struct vfu_ops less = ops;

		bad.ops = &less;
		switch (k) {
		case 0:
			bad.ops = NULL;
			break;
		case 1:
			less.region_read = NULL;
			break;
		case 2:
			less.region_write = NULL;
			break;
		case 3:
			less.dma_map = NULL;
			break;
		case 4:
			less.dma_unmap = NULL;
			break;
		case 5:
			less.dma_unmap_all = NULL;
			break;
		case 6:
			bad.vectors = VFU_VECTORS_MAX + 1;
			break;
		case 7:
			bad.region[0].area_count = 65;
			break;
		case 8:
			bad.region[0].io_fd_count = VFIO_USER_FDS_MAX + 1;
			break;
		case 9:
			bad.region[0].areas = &area;
			break;
		case 10:
			bad.region[0].areas = &area;
			area.offset = RIG_BAR0 + 1;
			break;
		case 11:
			bad.path = "/tmp/a-path-that-is-longer-than-the-hundred-and-seven-bytes-"
				   "which-fit-into-the-address-of-a-unix-domain-socket-on-linux";
			break;
		}
		error.text[0] = '\0';
		assert_int_equal(vfu_open(&vfu, &bad, &error), k == 11 ? -ENAMETOOLONG : -EINVAL);
		assert_true(strstr(error.text, "vfio-user: ") == error.text);
	}
	vfu_close(NULL);
}

/* A device without reset, and with regions that are read-only or empty but mappable. */
static void test_lesser_device(void **state)
{
	static struct raw b;
	struct vfu_ops ops;
	struct vfu_config config;
	struct vfio_user_device_info info = {.argsz = sizeof(info)};
	struct vfio_user_region_info region = {.argsz = sizeof(region), .index = 1};
	struct error error;
	int lesser[2];

	raw_connect(&b);
	ops = *b.rig.config.ops;
	ops.reset = NULL;
	ops.log = NULL;
	ops.connected = ops.disconnected = ops.read_done = NULL;
	vfu_close(b.rig.vfu);
	close(b.socket);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, lesser), 0);
	config = b.rig.config;
	config.ops = &ops;
	config.connection = lesser[0];
	config.dma_timeout_ms = 0;
	config.region[1] = (struct vfu_region){.fd = -1, .mappable = true};
	config.region[2].flags = VFIO_REGION_INFO_FLAG_READ;
	b.socket = lesser[1];
	assert_int_equal(vfu_open(&b.rig.vfu, &config, &error), 0);
	assert_int_equal(raw_negotiate(&b, RAW_CAPS), 0);
	assert_int_equal(raw_ask(&b, VFIO_USER_DEVICE_GET_INFO, &info, sizeof(info)), 0);
	memcpy(&info, b.reply->payload, sizeof(info));
	assert_int_equal(info.flags, VFIO_DEVICE_FLAGS_PCI);
	assert_int_equal(raw_ask(&b, VFIO_USER_DEVICE_RESET, NULL, 0), -ENOTSUP);
	assert_int_equal(raw_ask(&b, VFIO_USER_DEVICE_GET_REGION_INFO, &region, sizeof(region)), 0);
	memcpy(&region, b.reply->payload, sizeof(region));
	assert_int_equal(region.flags, 0);
	assert_int_equal(b.reply->fd_count, 0);
	assert_int_equal(raw_access(&b, false, 0, 2, 4, 0), 0);
	assert_int_equal(raw_access(&b, true, 0, 2, 4, 4), -EPERM);
	/* It does not care to be told when a read is done. */
	assert_int_equal(vfu_dma_read(b.rig.vfu, (struct bus_addr){0}, &region, 8), -EAGAIN);
	assert_non_null(raw_hear(&b));
	raw_say_flags(&b, VFIO_USER_DMA_READ, VFIO_USER_TYPE_REPLY | VFIO_USER_ERROR, 16, NULL, 0,
		NULL, 0);
	raw_serve(&b);
	assert_int_equal(vfu_dma_read(b.rig.vfu, (struct bus_addr){0}, &region, 8), -EAGAIN);
	struct vfio_user_header refusal = {b.reply->header.id, VFIO_USER_DMA_READ, 16,
		VFIO_USER_TYPE_REPLY | VFIO_USER_ERROR, EFAULT};
	struct iovec part = {&refusal, sizeof(refusal)};
	assert_int_equal(vfio_user_send(b.socket, &part, 1, NULL, 0), 16);
	raw_serve(&b);
	assert_int_equal(vfu_dma_read(b.rig.vfu, (struct bus_addr){0}, &region, 8), -EFAULT);
	raw_disconnect(&b);
}

/* An engine's messages without memory, and on a connection that breaks. */
static void test_engine_without_memory(void **state)
{
	const struct bus_addr bus = {0x1000};
	static uint8_t much[VFIO_USER_DEFAULT_TRANSFER];

	for (unsigned k = 0; k < 3; k++) {
		static struct raw b;
		int result;

		raw_connect(&b);
		assert_int_equal(raw_negotiate(&b, RAW_CAPS), 0);
		switch (k) {
		case 0: /* a read, and its request */
			inject_one("realloc", 0, ENOMEM);
			assert_int_equal(vfu_dma_read(b.rig.vfu, bus, much, 64), -ENOMEM);
			inject_one("sendmsg", 0, EPIPE);
			assert_int_equal(vfu_dma_read(b.rig.vfu, bus, much, 64), -ENOTCONN);
			break;
		case 1: /* a write of which nothing is sent: it is lost, and nothing else */
			do
				result = vfu_dma_write(b.rig.vfu, bus, much, 16);
			while (!result && !b.rig.vfu->unsent);
			inject_one("malloc", 0, ENOMEM);
			assert_int_equal(vfu_dma_write(b.rig.vfu, bus, much, 16), -ENOBUFS);
			assert_true(vfu_connected(b.rig.vfu));
			break;
		default: /* a write of which a part is sent */
			inject_one("malloc", 0, ENOMEM);
			assert_int_equal(
				vfu_dma_write(b.rig.vfu, bus, much, sizeof(much)), -ENOTCONN);
		}
		inject_one("", 0, 0);
		assert_int_equal(vfu_connected(b.rig.vfu), k == 1);
		raw_disconnect(&b);
	}
}

static int maps_all(void *device, const struct vfu_window *window)
{
	return 0;
}

static void unmaps_all(void *device)
{
}

/* As many windows as were promised, and not one more; refusals that nobody hears of. */
static void test_many_windows(void **state)
{
	static struct raw b;
	struct vfu_ops ops;
	struct vfu_config config;
	int ends_[2], pipes[2];
	struct error error;
	struct vfio_user_dma_map map = {.argsz = sizeof(map), .flags = VFU_READ, .size = VFU_PAGE};

	raw_connect(&b);
	ops = *b.rig.config.ops;
	ops.log = NULL;
	ops.dma_map = maps_all;
	ops.dma_unmap_all = unmaps_all;
	vfu_close(b.rig.vfu);
	close(b.socket);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends_), 0);
	config = b.rig.config;
	config.ops = &ops;
	config.connection = ends_[0];
	b.socket = ends_[1];
	assert_int_equal(vfu_open(&b.rig.vfu, &config, &error), 0);
	assert_int_equal(raw_negotiate(&b, RAW_CAPS), 0);
	assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
	map.address = VFU_PAGE;
	assert_int_equal(raw_ask_fds(&b, VFIO_USER_DMA_MAP, &map, sizeof(map), pipes, 1), -EINVAL);
	close(pipes[0]);
	close(pipes[1]);
	for (uint64_t n = 1; n <= VFIO_USER_DEFAULT_MAPS; n++) {
		map.address = n * VFU_PAGE;
		assert_int_equal(raw_ask(&b, VFIO_USER_DMA_MAP, &map, sizeof(map)), 0);
	}
	map.address += VFU_PAGE;
	assert_int_equal(raw_ask(&b, VFIO_USER_DMA_MAP, &map, sizeof(map)), -ENOSPC);
	raw_disconnect(&b);
}

static void test_interrupt_requests(void **state)
{
	struct raw *b = *state;
	struct vfio_user_irq_set set = {.argsz = sizeof(set),
		.flags = VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER,
		.index = VFIO_PCI_MSIX_IRQ_INDEX,
		.start = 1};
	int fds[10];

	assert_int_equal(raw_ask(b, VFIO_USER_DEVICE_SET_IRQS, &set, sizeof(set)), -EINVAL);
	set.start = 0;
	set.count = 1;
	assert_int_equal(raw_ask(b, VFIO_USER_DEVICE_SET_IRQS, &set, sizeof(set)), 0);
	/* More descriptors than a message may have, in two parts. */
	for (unsigned k = 0; k < 10; k++)
		fds[k] = b->rig.doorbell;
	struct vfio_user_header header = {.id = 7,
		.command = VFIO_USER_DEVICE_SET_IRQS,
		.size = sizeof(header) + sizeof(set)};
	struct iovec part = {&header, sizeof(header)};
	set.flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER;
	assert_int_equal(vfio_user_send(b->socket, &part, 1, fds, 10), sizeof(header));
	part = (struct iovec){&set, sizeof(set)};
	assert_int_equal(vfio_user_send(b->socket, &part, 1, fds, 10), sizeof(set));
	raw_serve(b);
	assert_non_null(raw_hear(b));
	assert_int_equal(b->reply->header.error, EINVAL);
}

/* A version is answered even to one who wants no reply: without it nothing goes on. */
static void test_version_without_reply(void **state)
{
	static struct raw b;
	uint8_t payload[512];
	size_t bytes = raw_version(payload, 0, 1, RAW_CAPS);

	raw_connect(&b);
	raw_say_flags(&b, VFIO_USER_VERSION, VFIO_USER_NO_REPLY, (uint32_t)(16 + bytes), payload,
		bytes, NULL, 0);
	raw_serve(&b);
	assert_non_null(raw_hear(&b));
	assert_true(vfu_connected(b.rig.vfu));
	/* A reply without payload that has to wait goes out all the same. */
	inject_one("sendmsg", 1, EAGAIN);
	raw_say(&b, VFIO_USER_DEVICE_RESET, NULL, 0, NULL, 0);
	raw_serve(&b);
	assert_non_null(raw_hear(&b));
	assert_int_equal(b.reply->header.size, 16);
	/* The connection breaks under an engine, which is told so, then and later. */
	inject_one("sendmsg", 0, EPIPE);
	assert_int_equal(
		vfu_dma_write(b.rig.vfu, (struct bus_addr){0x1000}, payload, 8), -ENOTCONN);
	assert_false(vfu_connected(b.rig.vfu));
	assert_int_equal(
		vfu_dma_write(b.rig.vfu, (struct bus_addr){0x1000}, payload, 8), -ENOTCONN);
	raw_disconnect(&b);
}

/* What is said about one client has an end, which is said too. */
static void test_log_has_an_end(void **state)
{
	static struct raw b;
	char line[32];

	raw_connect_for(&b, 50);
	for (unsigned k = 0; k < VFU_LOG_MAX; k++) {
		snprintf(line, sizeof(line), "line %u", k);
		vfu_log_line(b.rig.vfu, line);
		assert_string_equal(b.rig.log, line);
	}
	vfu_log_line(b.rig.vfu, "one more");
	assert_non_null(strstr(b.rig.log, "no more about this client"));
	b.rig.log[0] = 0;
	for (unsigned k = 0; k < 3; k++)
		vfu_log_line(b.rig.vfu, "and more");
	assert_string_equal(b.rig.log, "");
	raw_disconnect(&b);
}

/* A client that does not read: replies wait with their descriptors, and go with it. */
static void test_deaf_client(void **state)
{
	for (unsigned k = 0; k < 3; k++) {
		static struct raw b;
		struct vfio_user_region_access access = {0, VFIO_PCI_BAR2_REGION_INDEX, 0x80000};
		struct vfio_user_region_info region = {.argsz = 4096, .index = 0};

		raw_connect_for(&b, 50);
		assert_int_equal(raw_negotiate(&b, RAW_CAPS), 0);
		raw_say(&b, VFIO_USER_REGION_READ, &access, sizeof(access), NULL, 0);
		if (k == 1)
			inject_one("malloc", 1, ENOMEM); /* of the rest of a reply */
		raw_say(&b, VFIO_USER_DEVICE_GET_REGION_INFO, &region, sizeof(region), NULL, 0);
		raw_serve(&b);
		inject_one("", 0, 0);
		/* An engine's message waits behind. */
		if (k == 0)
			assert_int_equal(
				vfu_dma_write(b.rig.vfu, (struct bus_addr){0x1000}, &region, 8), 0);
		if (k == 2)
			shutdown(b.socket, SHUT_RD);
		else if (k == 0)
			for (unsigned n = 0; n < 3; n++) {
				struct pollfd more = {.fd = b.socket, .events = POLLIN};
				struct vfio_user_message *m = NULL;

				while (!(m = raw_hear(&b))) {
					raw_serve(&b);
					assert_true(poll(&more, 1, 10000) > 0);
				}
				assert_int_equal(m->header.command,
					n == 0   ? VFIO_USER_REGION_READ
					: n == 1 ? VFIO_USER_DMA_WRITE
						 : VFIO_USER_DEVICE_GET_REGION_INFO);
				assert_int_equal(m->fd_count, n == 2);
			}
		vfu_service(b.rig.vfu);
		assert_int_equal(vfu_connected(b.rig.vfu), k == 0);
		raw_disconnect(&b);
	}
}

int main(void)
{
#define PAIR(test) cmocka_unit_test_setup_teardown(test, pair_up, pair_down)
	const struct CMUnitTest tests[] = {
		PAIR(test_interrupted),
		PAIR(test_no_memory),
		PAIR(test_other_control),
		PAIR(test_pieces),
		PAIR(test_cut_short),
		PAIR(test_too_many_descriptors),
		cmocka_unit_test(test_descriptors),
		cmocka_unit_test(test_versions),
		cmocka_unit_test_setup_teardown(test_descriptions, raw_set_up, raw_tear_down),
		cmocka_unit_test(test_lesser_device),
		cmocka_unit_test(test_engine_without_memory),
		cmocka_unit_test(test_many_windows),
		cmocka_unit_test_setup_teardown(test_interrupt_requests, raw_set_up, raw_tear_down),
		cmocka_unit_test(test_version_without_reply),
		cmocka_unit_test(test_deaf_client),
		cmocka_unit_test(test_log_has_an_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
