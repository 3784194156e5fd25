/* SPDX-License-Identifier: BSD-3-Clause */
/* The client, connected, against a server that does not mean well: its replies, and its DMA
 * messages. */
#include "tests/unit/descriptors.h"
#include "vfio_user_middle.h"

#include <setjmp.h>
#include <stdarg.h>
/* cmocka wants those first. */
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BAR0 VFIO_PCI_BAR0_REGION_INDEX

/* --- Replies ---------------------------------------------------------------------------------- */

static bool wrong_then_right(struct middle *m, struct vfio_user_message *message)
{
	struct vfio_user_message other = *message;

	/* Of another request, of another command, of another life. */
	other.header.id++;
	middle_pass(m->client, &other);
	other = *message;
	other.header.command = VFIO_USER_DEVICE_RESET;
	middle_pass(m->client, &other);
	other.header.command = VFIO_USER_VERSION;
	other.header.flags |= VFIO_USER_ERROR;
	middle_pass(m->client, &other);
	return true;
}

static bool byte_by_byte(struct middle *m, struct vfio_user_message *message)
{
	for (size_t i = 0; i < sizeof(message->header); i++)
		middle_send(m->client, (uint8_t *)&message->header + i, 1, NULL, 0);
	for (size_t i = 0; i < message->bytes; i++)
		middle_send(m->client, message->payload + i, 1, NULL, 0);
	return false;
}

static bool longer(struct middle *m, struct vfio_user_message *message)
{
	middle_resize(message, message->bytes + 1000);
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
	middle_send(m->client, &message->header, 16, NULL, 0);
	return false;
}

static void test_replies(void **state)
{
	static const struct twist good[] = {
		{VFIO_USER_REGION_READ, -1, wrong_then_right, 0},
		{VFIO_USER_REGION_READ, -1, byte_by_byte, 0},
		{VFIO_USER_REGION_READ, -1, longer, 0},
		{VFIO_USER_REGION_READ, -1, twist_more_fds, 0},
	};
	static const struct twist bad[] = {
		{VFIO_USER_REGION_READ, -1, twist_shorter, -EPROTO},
		{VFIO_USER_REGION_READ, -1, twist_empty, -EPROTO},
		{VFIO_USER_REGION_READ, -1, twist_fails, -ENOSPC},
		{VFIO_USER_REGION_READ, -1, twist_size_huge, -EPROTO},
		{VFIO_USER_REGION_READ, -1, twist_hangs_up_half_way, -ECONNRESET},
		{VFIO_USER_REGION_READ, -1, half_of_it, -ETIMEDOUT},
	};
	static struct middle m;
	uint32_t value = 0;

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		middle_begin_connected(&m, &good[i]);
		for (uint32_t k = 1; k < 50; k++) {
			assert_int_equal(device_write32(m.device, BAR0, RIG_SCRATCH, k), 0);
			assert_int_equal(device_read32(m.device, BAR0, RIG_SCRATCH, &value), 0);
			assert_int_equal(value, k);
		}
		assert_int_equal(m.times, 49);
		middle_end(&m);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		middle_begin_connected(&m, &bad[i]);
		if (bad[i].expected == -ETIMEDOUT)
			m.device->timeout_ms = 300;
		assert_int_equal(
			device_read32(m.device, BAR0, RIG_SCRATCH, &value), bad[i].expected);
		assert_true(device_error(m.device)[0] != 0);
		middle_end(&m);
	}
}

static void answered(struct device *device)
{
	for (unsigned tries = 0; device_silent(device) && tries < 2000; tries++) {
		assert_int_equal(device_service(device), 0);
		usleep(1000);
	}
	assert_false(device_silent(device));
}

/* Silence costs one deadline: no later call waits, or sends anything. */
static void test_silent(void **state)
{
	static const struct twist twist = {VFIO_USER_REGION_READ, -1, never, 0};
	static struct middle m;
	uint32_t value = 0;

	middle_begin_connected(&m, &twist);
	m.device->timeout_ms = 100;
	assert_false(device_silent(m.device));
	assert_int_equal(device_read32(m.device, BAR0, RIG_SCRATCH, &value), -ETIMEDOUT);
	m.device->timeout_ms = 1000000; /* a call that waited would never end */
	assert_true(device_silent(m.device));
	assert_int_equal(device_write32(m.device, BAR0, RIG_SCRATCH, 5), -ETIMEDOUT);
	assert_int_equal(device_read32(m.device, BAR0, RIG_SCRATCH, &value), -ETIMEDOUT);
	assert_int_equal(device_unmap_all(m.device), -ETIMEDOUT);
	assert_int_equal(device_ask(m.device), 0);
	answered(m.device);
	assert_int_equal(device_read32(m.device, BAR0, RIG_SCRATCH, &value), 0);
	assert_int_equal(value, 0); /* what was refused was not done late */
	middle_end(&m);
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
		middle_begin_connected(&m, &twists[i]);
		m.device->timeout_ms = 300;
		assert_int_equal(device_read32(m.device, BAR0, RIG_SCRATCH, &value), -ETIMEDOUT);
		m.device->timeout_ms = 20000;
		/* Silent until it answers; one that swallowed a request answers the next
		 * question. */
		if (device_silent(m.device)) {
			assert_int_equal(device_ask(m.device), 0);
			answered(m.device);
		}
		assert_int_equal(device_write32(m.device, BAR0, RIG_SCRATCH, 77), 0);
		assert_int_equal(device_read32(m.device, BAR0, RIG_SCRATCH, &value), 0);
		assert_int_equal(value, 77);
		middle_end(&m);
	}
}

/* --- DMA messages of all kinds ---------------------------------------------------------------- */

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

/* The server says things of its own before it answers; what the client answers goes to the rig,
 * which drops it, so the answers are looked at here. */
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
	middle_send(socket, all, header.size, NULL, 0);
}

static void test_dma_messages(void **state)
{
	static struct rig rig;
	struct device *device;
	struct error error;
	int ends[2];
	unsigned fds = open_descriptors();
	uint8_t *memory = aligned_alloc(4096, 8192);

	/* Connected through the rig's server, which is then closed behind a duplicate of its
	 * socket. */
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
	int server = fcntl(ends[0], F_DUPFD_CLOEXEC, 0);
	memset(memory, 0x11, 8192);
	rig_open(&rig, NULL, ends[0], 20000);
	rig_serve(&rig);
	assert_int_equal(vfio_user_connect(&device, ends[1], &error), 0);
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
	assert_int_equal(open_descriptors(), fds);
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
		middle_resize(message, roll(message->bytes + 40));
	if (!roll(8))
		middle_drop_fds(message);
	if (!roll(8))
		twist_more_fds(m, message);
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
		struct error error;

		middle_begin(&m, NULL);
		assert_int_equal(vfio_user_connect(&m.device, m.client_end, &error), 0);
		int again = fcntl(m.client_end, F_DUPFD_CLOEXEC, 0);
		device_close(m.device);
		m.device = NULL;
		m.twist = &twist;
		device_timeout_ms = 30;
		if (device_adopt(&m.device, "vfio-user", &again, 1, NULL, 0, &error) == 0) {
			uint32_t value;

			opened++;
			middle_check_mappings(m.device);
			for (unsigned i = 0; i < 20; i++) {
				device_read32(m.device, BAR0, RIG_SCRATCH, &value);
				device_unmap_all(m.device);
				device_service(m.device);
			}
		}
		device_timeout_ms = 20000;
		middle_end(&m);
	}
	assert_true(opened < 80);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_replies),
		cmocka_unit_test(test_silent),
		cmocka_unit_test(test_late_reply),
		cmocka_unit_test(test_dma_messages),
		cmocka_unit_test(test_random_replies),
	};

	return cmocka_run_group_tests_name("vfio-user hostile servers", tests, NULL, NULL);
}
