/* SPDX-License-Identifier: BSD-3-Clause */
/* The server against clients that do not mean well: framing, negotiation, flow, and chance. */
#include "tests/unit/descriptors.h"
#include "vfio_user_raw.h"

#include <setjmp.h>
#include <stdarg.h>
/* cmocka wants those first. */
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define BAR0 VFIO_PCI_BAR0_REGION_INDEX
#define BAR2 VFIO_PCI_BAR2_REGION_INDEX

/* --- Framing ---------------------------------------------------------------------------------- */

static void test_one_byte_at_a_time(void **state)
{
	struct raw b;
	uint8_t bytes[600];
	uint8_t payload[512];
	size_t n = raw_version(payload, 0, 1, RAW_CAPS);
	struct vfio_user_header header = {
		.id = 7, .command = VFIO_USER_VERSION, .size = (uint32_t)(16 + n)};

	raw_connect(&b);
	memcpy(bytes, &header, 16);
	memcpy(bytes + 16, payload, n);
	for (size_t i = 0; i < 16 + n; i++) {
		assert_null(raw_hear(&b));
		assert_int_equal(send(b.socket, bytes + i, 1, 0), 1);
		raw_serve(&b);
	}
	assert_non_null(raw_hear(&b));
	assert_int_equal(b.reply->header.flags, VFIO_USER_TYPE_REPLY);
	raw_assert_well(&b);
	raw_disconnect(&b);
}

static void test_bad_sizes(void **state)
{
	static const uint32_t sizes[] = {
		0, 1, 15, VFIO_USER_MESSAGE_MAX + 1, INT32_MAX, UINT32_MAX - 15, UINT32_MAX};
	struct raw b;

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		raw_connect(&b);
		if (i % 2)
			assert_int_equal(raw_negotiate(&b, RAW_CAPS), 0);
		raw_say_flags(&b, VFIO_USER_DEVICE_GET_INFO, 0, sizes[i], "0123456789abcdef", 16,
			NULL, 0);
		raw_serve(&b);
		assert_true(raw_gone(&b));
		assert_non_null(strstr(b.rig.log, "no message"));
		assert_int_equal(b.rig.disconnects, i % 2);
		raw_disconnect(&b);
	}
}

/* Half a message, with descriptors in it, and then nothing more. */
static void test_leaves_in_the_middle(void **state)
{
	struct raw b;
	int memory = rig_memfd(0x1000, F_SEAL_SHRINK);
	int fds[3] = {memory, memory, memory};

	for (uint32_t cut = 0; cut < 48; cut += 5) {
		struct vfio_user_header header = {.command = VFIO_USER_DMA_MAP,
			.size = 16 + sizeof(struct vfio_user_dma_map)};
		uint8_t bytes[64] = {0};

		raw_connect(&b);
		assert_int_equal(raw_negotiate(&b, RAW_CAPS), 0);
		memcpy(bytes, &header, sizeof(header));
		struct iovec part = {bytes, cut + 1};
		assert_int_equal(vfio_user_send(b.socket, &part, 1, fds, 3), cut + 1);
		if (cut % 2)
			raw_serve(&b);
		raw_disconnect(&b);
	}
	close(memory);
}

/* Descriptors stay with their message, however bytes are glued together. */
static void test_glued_messages(void **state)
{
	struct raw *b = *state;
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
	/* 0 and half of 1, then the rest with a descriptor: it came while 1 was read, so it is
	 * 1's. */
	struct iovec first = {m, sizeof(m[0]) + 20};
	struct iovec second = {(uint8_t *)m + sizeof(m[0]) + 20, 3 * sizeof(m[0]) - 20};
	assert_int_equal(vfio_user_send(b->socket, &first, 1, NULL, 0), (ssize_t)first.iov_len);
	assert_int_equal(
		vfio_user_send(b->socket, &second, 1, &memory, 1), (ssize_t)second.iov_len);
	raw_serve(b);
	for (unsigned i = 0; i < 4; i++) {
		assert_non_null(raw_hear(b));
		assert_int_equal(b->reply->header.id, i);
		assert_int_equal(b->reply->header.flags, VFIO_USER_TYPE_REPLY);
		assert_int_equal(b->rig.window[i].window.kind,
			i == 1 ? VFU_WINDOW_MEMORY : VFU_WINDOW_MESSAGE);
	}
	close(memory);
}

static void test_too_many_fds(void **state)
{
	struct raw *b = *state;
	struct vfio_user_dma_map map = {.argsz = sizeof(map), .flags = VFU_READ, .size = 0x1000};
	int memory = rig_memfd(0x1000, F_SEAL_SHRINK);
	int fds[VFIO_USER_FDS_MAX * 2];
	union {
		struct cmsghdr header;
		char room[CMSG_SPACE(sizeof(fds))];
	} control = {0};
	unsigned before = open_descriptors();

	for (unsigned i = 0; i < VFIO_USER_FDS_MAX * 2; i++)
		fds[i] = memory;
	assert_int_equal(raw_ask_fds(b, VFIO_USER_DMA_MAP, &map, sizeof(map), fds, 2), -EINVAL);
	assert_int_equal(raw_ask_fds(b, VFIO_USER_DMA_MAP, &map, sizeof(map), fds, 16), -EINVAL);

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
	raw_serve(b);
	assert_non_null(raw_hear(b));
	assert_int_equal(b->reply->header.error, EINVAL);
	assert_int_equal(open_descriptors(), before);

	/* A server at its limit of descriptors cannot take one in: MSG_CTRUNC as well. */
	struct rlimit limit;
	struct rlimit tight;
	getrlimit(RLIMIT_NOFILE, &limit);
	int next = fcntl(memory, F_DUPFD_CLOEXEC, 0);
	close(next);
	tight = (struct rlimit){(rlim_t)next, limit.rlim_max};
	setrlimit(RLIMIT_NOFILE, &tight);
	int result = raw_ask_fds(b, VFIO_USER_DMA_MAP, &map, sizeof(map), fds, 1);
	setrlimit(RLIMIT_NOFILE, &limit);
	assert_int_equal(result, -EINVAL);
	assert_int_equal(raw_ask_fds(b, VFIO_USER_DMA_MAP, &map, sizeof(map), fds, 1), 0);

	/* Descriptors nobody asked for. */
	before = open_descriptors();
	struct vfio_user_device_info info = {.argsz = sizeof(info)};
	assert_int_equal(raw_ask_fds(b, VFIO_USER_DEVICE_GET_INFO, &info, sizeof(info), fds, 9), 0);
	assert_int_equal(raw_ask_fds(b, VFIO_USER_DEVICE_RESET, NULL, 0, fds, 3), 0);
	assert_int_equal(raw_ask_fds(b, 999, NULL, 0, fds, 3), -ENOTSUP);
	assert_int_equal(open_descriptors(), before);
	close(memory);
	raw_assert_well(b);
}

/* --- Negotiation ------------------------------------------------------------------------------ */

static void test_bad_versions(void **state)
{
	static const struct {
		uint16_t major;
		const char *json;
		size_t bytes; /* of the payload; 0: all of it */
		int error;
	} cases[] = {
		{1, NULL, 0, ENOTSUP},
		{0xffff, RAW_CAPS, 0, ENOTSUP},
		{0, RAW_CAPS, 3, EINVAL},
		{0, RAW_CAPS, 1, EINVAL},
		{0, RAW_CAPS, sizeof(RAW_CAPS) + 3, EINVAL}, /* no NUL */
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
	struct raw b;
	uint8_t payload[512];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		raw_connect(&b);
		size_t n = raw_version(payload, cases[i].major, 0, cases[i].json);
		if (cases[i].bytes)
			n = cases[i].bytes;
		assert_int_equal(raw_ask(&b, VFIO_USER_VERSION, payload, n), -cases[i].error);
		assert_true(raw_gone(&b));
		assert_true(b.rig.connects == 0 && b.rig.disconnects == 0);
		raw_disconnect(&b);
	}

	/* Deeper than any parser should follow. */
	raw_connect(&b);
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
		raw_serve(&b);
	}
	assert_non_null(raw_hear(&b));
	assert_int_equal(b.reply->header.error, EINVAL);
	free(text);
	raw_disconnect(&b);
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
		{RAW_CAPS, "{\"capabilities\":{\"max_msg_fds\":16,\"write_multiple\":true}}"},
		{"{\"capabilities\":{\"max_data_xfer_size\":4611686018427387904,"
		 "\"max_dma_maps\":1,\"pgsizes\":4096,\"twin_socket\":{\"supported\":true}}}",
			"{\"capabilities\":{\"max_data_xfer_size\":1048576,"
			"\"max_dma_maps\":65535,\"pgsizes\":4096}}"},
	};
	struct raw b;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct vfio_user_version v;

		raw_connect(&b);
		assert_int_equal(raw_negotiate(&b, cases[i].json), 0);
		memcpy(&v, b.reply->payload, sizeof(v));
		assert_int_equal(v.major, 0);
		assert_int_equal(v.minor, 1);
		assert_string_equal((char *)b.reply->payload + 4, cases[i].reply);
		assert_int_equal(b.rig.connects, 1);
		/* Once is enough. */
		assert_int_equal(raw_negotiate(&b, NULL), -EINVAL);
		raw_assert_well(&b);
		raw_disconnect(&b);
	}
}

static void test_commands_before_the_version(void **state)
{
	struct raw b;
	struct vfio_user_dma_map map = {.argsz = sizeof(map), .flags = VFU_READ, .size = 0x1000};

	for (uint16_t command = 0; command < 20; command++) {
		if (command == VFIO_USER_VERSION)
			continue;
		raw_connect(&b);
		assert_int_equal(raw_ask(&b, command, &map, sizeof(map)), -EINVAL);
		assert_true(raw_gone(&b));
		assert_int_equal(b.rig.resets, 0);
		raw_disconnect(&b);
	}
}

/* --- Flow ------------------------------------------------------------------------------------- */

static void test_no_reply(void **state)
{
	struct raw *b = *state;
	struct vfio_user_region_access access = {0x40, BAR0, 4};
	uint8_t payload[20];

	memcpy(payload, &access, sizeof(access));
	for (uint8_t i = 1; i < 100; i++) {
		payload[16] = i;
		raw_say_flags(
			b, VFIO_USER_REGION_WRITE, VFIO_USER_NO_REPLY, 36, payload, 20, NULL, 0);
	}
	raw_say_flags(
		b, VFIO_USER_REGION_WRITE, VFIO_USER_NO_REPLY, 20, payload, 4, NULL, 0); /* wrong */
	assert_int_equal(raw_access(b, false, 0x40, BAR0, 4, 0), 0);
	assert_int_equal(b->reply->payload[16], 99);
	assert_null(raw_hear(b));
}

/* A client that asks and asks and does not read: it gets no further, and nobody else waits for
 * it. */
static void test_replies_not_read(void **state)
{
	struct raw *b = *state;
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
		raw_serve(b);
	}
	assert_true(asked > 10);
	while (answered < asked) {
		while (raw_hear(b)) {
			assert_int_equal(b->reply->header.id, (uint16_t)answered);
			assert_int_equal(b->reply->bytes, sizeof(access) + 65536);
			answered++;
		}
		raw_serve(b);
	}
	raw_assert_well(b);
}

/* --- Chance ----------------------------------------------------------------------------------- */

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
	struct raw b;
	const char *given = getenv("SEED");
	uint64_t seed = given ? strtoull(given, NULL, 0) : (uint64_t)raw_now_ms() | 1;
	int memory = rig_memfd(0x10000, F_SEAL_SHRINK);
	int event = eventfd(0, EFD_NONBLOCK);

	dice = seed;
	print_message("SEED=%llu\n", (unsigned long long)seed);
	raw_connect(&b);
	vfu_close(b.rig.vfu);
	close(b.socket);
	for (unsigned round = 0; round < 300; round++) {
		struct vfu_config config = b.rig.config;
		struct error error;
		int ends[2];

		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
		b.socket = ends[1];
		config.connection = ends[0];
		assert_int_equal(vfu_open(&b.rig.vfu, &config, &error), 0);
		assert_int_equal(raw_negotiate(&b, RAW_CAPS), 0);
		for (unsigned i = 0; i < 100 && !raw_gone(&b); i++) {
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
			raw_say_flags(&b, (uint16_t)(roll(8) ? 2 + roll(15) : roll(65536)), flags,
				roll(400) ? 16 + bytes : roll(40), payload, bytes, fds + roll(2),
				roll(3));
			raw_serve(&b);
			while (raw_hear(&b))
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
	assert_int_equal(open_descriptors(), b.fds);
	close(memory);
	close(event);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_byte_at_a_time),
		cmocka_unit_test(test_bad_sizes),
		cmocka_unit_test(test_leaves_in_the_middle),
		RAW_TEST(test_glued_messages),
		RAW_TEST(test_too_many_fds),
		cmocka_unit_test(test_bad_versions),
		cmocka_unit_test(test_good_versions),
		cmocka_unit_test(test_commands_before_the_version),
		RAW_TEST(test_no_reply),
		RAW_TEST(test_replies_not_read),
		cmocka_unit_test(test_random_messages),
	};

	return cmocka_run_group_tests_name("vfio-user hostile clients", tests, NULL, NULL);
}
