/* SPDX-License-Identifier: BSD-3-Clause */
/* DMA messages from the engine, and clients that answer them in every way but the right one. */
#include "vfio_user_raw.h"

#include <setjmp.h>
#include <stdarg.h>
/* cmocka wants those first. */
#include <cmocka.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BAR0 VFIO_PCI_BAR0_REGION_INDEX
#define BAR2 VFIO_PCI_BAR2_REGION_INDEX

struct mover {
	struct raw *b;
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
static void begin_move(struct raw *b, struct mover *m, bool write)
{
	m->b = b;
	m->write = write;
	memset(m->data, write ? 0x5a : 0, sizeof(m->data));
	pthread_create(&m->thread, NULL, move, m);
	while (!raw_hear(b)) {
		struct pollfd wait = {.fd = b->socket, .events = POLLIN};
		poll(&wait, 1, 100);
	}
	assert_int_equal(
		b->reply->header.command, write ? VFIO_USER_DMA_WRITE : VFIO_USER_DMA_READ);
	assert_int_equal(b->reply->bytes, write ? 16 + sizeof(m->data) : 16);
}

static void answer(struct raw *b, uint16_t id, uint16_t command, uint32_t flags, uint32_t error,
	const void *payload, uint32_t bytes)
{
	struct vfio_user_header header = {id, command, 16 + bytes, flags, error};
	struct iovec parts[2] = {{&header, 16}, {(void *)payload, bytes}};

	assert_int_equal(vfio_user_send(b->socket, parts, 2, NULL, 0), 16 + (ssize_t)bytes);
}

/* Twice, in one piece. */
static void answer_twice(struct raw *b, const void *payload, uint32_t bytes)
{
	struct vfio_user_header header = {
		b->reply->header.id, b->reply->header.command, 16 + bytes, VFIO_USER_TYPE_REPLY, 0};
	struct iovec parts[4] = {
		{&header, 16}, {(void *)payload, bytes}, {&header, 16}, {(void *)payload, bytes}};

	assert_int_equal(vfio_user_send(b->socket, parts, 4, NULL, 0), 2 * (16 + (ssize_t)bytes));
}

static int end_move(struct mover *m)
{
	pthread_join(m->thread, NULL);
	return m->result;
}

static void test_answers(void **state)
{
	struct raw *b = *state;
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

	/* Of two the first counts, and the other is nobody's. */
	memset(payload + 16, 0x33, 65);
	begin_move(b, &m, false);
	answer_twice(b, payload, 80);
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

	/* Answers to something else do not count; commands in between are done afterwards, in
	 * order. */
	begin_move(b, &m, false);
	uint16_t id = b->reply->header.id;
	answer(b, (uint16_t)(id + 1), VFIO_USER_DMA_READ, reply, 0, payload, 80);
	answer(b, id, VFIO_USER_DMA_WRITE, reply, 0, payload, 80);
	struct vfio_user_region_access region = {0x40, BAR2, 4};
	uint8_t command[20];
	memcpy(command, &region, sizeof(region));
	for (uint8_t i = 0; i < 200; i++) { /* more than the queue holds */
		command[16] = i;
		raw_say(b, VFIO_USER_REGION_WRITE, command, sizeof(command), NULL, 0);
	}
	answer(b, id, VFIO_USER_DMA_READ, reply, 0, payload, 80);
	for (unsigned done = 0; done < 200;) {
		vfu_service(b->rig.vfu);
		while (raw_hear(b)) {
			assert_int_equal(b->reply->header.command, VFIO_USER_REGION_WRITE);
			assert_int_equal(b->reply->header.error, 0);
			done++;
		}
	}
	assert_int_equal(b->rig.bar2[0x40], 199);
	assert_int_equal(end_move(&m), 0);
	raw_assert_well(b);
}

/* A queue full of commands keeps the answer out of sight, and the control thread busy elsewhere:
 * the engine gives up in its time, and the commands are not lost. */
static void test_answer_out_of_reach(void **state)
{
	static struct raw raw;
	struct raw *b = &raw;
	struct vfio_user_device_info info = {.argsz = sizeof(info)};
	struct mover m;
	unsigned done = 0;

	raw_connect_for(b, 1500);
	assert_int_equal(raw_negotiate(b, RAW_CAPS), 0);
	begin_move(b, &m, true);
	uint16_t id = b->reply->header.id;
	for (unsigned i = 0; i < 100; i++)
		raw_say(b, VFIO_USER_DEVICE_GET_INFO, &info, sizeof(info), NULL, 0);
	answer(b, id, VFIO_USER_DMA_WRITE, VFIO_USER_TYPE_REPLY, 0, NULL, 0);
	assert_int_equal(end_move(&m), -ETIMEDOUT);
	raw_serve(b);
	while (raw_hear(b))
		done++;
	assert_int_equal(done, 100);
	begin_move(b, &m, true);
	answer(b, b->reply->header.id, VFIO_USER_DMA_WRITE, VFIO_USER_TYPE_REPLY, 0, NULL, 0);
	assert_int_equal(end_move(&m), 0);
	raw_disconnect(b);
}

static void test_gone_while_waiting(void **state)
{
	struct raw b;
	struct mover m;

	raw_connect(&b);
	vfu_close(b.rig.vfu);
	/* The same with all the time in the world: the end of the connection ends the wait. */
	struct vfu_config config = b.rig.config;
	struct error error;
	int ends[2];
	close(b.socket);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
	b.socket = ends[1];
	config.connection = ends[0];
	config.dma_timeout_ms = 60000;
	assert_int_equal(vfu_open(&b.rig.vfu, &config, &error), 0);
	b.rig.disconnects = 0;
	assert_int_equal(raw_negotiate(&b, RAW_CAPS), 0);
	int64_t start = raw_now_ms();
	begin_move(&b, &m, true);
	shutdown(b.socket, SHUT_RDWR);
	assert_int_equal(end_move(&m), -ENOTCONN);
	assert_int_equal(vfu_dma_write(b.rig.vfu, (struct bus_addr){0}, "x", 1), -ENOTCONN);
	raw_serve(&b);
	assert_int_equal(b.rig.disconnects, 1);
	assert_true(raw_now_ms() - start < 30000);
	raw_disconnect(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RAW_TEST(test_answers),
		cmocka_unit_test(test_answer_out_of_reach),
		cmocka_unit_test(test_gone_while_waiting),
	};

	return cmocka_run_group_tests_name("vfio-user DMA messages", tests, NULL, NULL);
}
