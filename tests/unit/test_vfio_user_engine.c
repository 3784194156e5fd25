/* SPDX-License-Identifier: BSD-3-Clause */
/* DMA messages from the engine, and clients that answer them in every way but the right one. */
#include "vfio_user_raw.h"

#include <setjmp.h>
#include <stdarg.h>
/* cmocka wants those first. */
#include <cmocka.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BAR0  VFIO_PCI_BAR0_REGION_INDEX
#define BAR2  VFIO_PCI_BAR2_REGION_INDEX
#define BUS   ((struct bus_addr){0x10000})
#define BYTES 64u

static uint8_t data[BYTES];

/* Asks for data; the id of the request. */
static uint16_t ask(struct raw *b, struct bus_addr bus)
{
	struct vfio_user_dma_access access;

	memset(data, 0, sizeof(data));
	assert_int_equal(vfu_dma_read(b->rig.vfu, bus, data, BYTES), -EAGAIN);
	assert_non_null(raw_hear(b));
	assert_int_equal(b->reply->header.command, VFIO_USER_DMA_READ);
	assert_int_equal(b->reply->header.flags, VFIO_USER_TYPE_COMMAND);
	assert_int_equal(b->reply->bytes, sizeof(access));
	memcpy(&access, b->reply->payload, sizeof(access));
	assert_int_equal(access.address, bus.value);
	assert_int_equal(access.count, BYTES);
	uint16_t id = b->reply->header.id;
	assert_int_equal(vfu_dma_read(b->rig.vfu, bus, data, BYTES), -EAGAIN);
	assert_null(raw_hear(b)); /* asked once */
	return id;
}

static void answer(struct raw *b, uint16_t id, uint16_t command, uint32_t flags, uint32_t error,
	const void *payload, uint32_t bytes)
{
	struct vfio_user_header header = {id, command, 16 + bytes, flags, error};
	struct iovec parts[2] = {{&header, 16}, {(void *)payload, bytes}};

	assert_int_equal(vfio_user_send(b->socket, parts, 2, NULL, 0), 16 + (ssize_t)bytes);
}

/* The answer as it should be, with that byte all over. */
static const uint8_t *right(struct bus_addr bus, uint8_t byte)
{
	static uint8_t payload[16 + BYTES];
	struct vfio_user_dma_access access = {bus.value, BYTES};

	memset(payload, byte, sizeof(payload));
	memcpy(payload, &access, sizeof(access));
	return payload;
}

static int fetched(struct raw *b, struct bus_addr bus)
{
	raw_serve(b);
	return vfu_dma_read(b->rig.vfu, bus, data, BYTES);
}

static void test_reads(void **state)
{
	struct raw *b = *state;
	const uint32_t reply = VFIO_USER_TYPE_REPLY;
	uint8_t payload[16 + BYTES + 1] = {0};
	unsigned done = b->rig.reads_done;
	uint16_t id;

	answer(b, ask(b, BUS), VFIO_USER_DMA_READ, reply, 0, right(BUS, 0x77), 80);
	assert_int_equal(fetched(b, BUS), 0);
	assert_memory_equal(data, right(BUS, 0x77) + 16, BYTES);
	assert_int_equal(b->rig.reads_done, done + 1);
	assert_int_equal(vfu_dma_read(b->rig.vfu, BUS, data, 0), 0);

	/* Of two the first counts, and the other is nobody's. */
	id = ask(b, BUS);
	answer(b, id, VFIO_USER_DMA_READ, reply, 0, right(BUS, 0x33), 80);
	answer(b, id, VFIO_USER_DMA_READ, reply, 0, right(BUS, 0x44), 80);
	assert_int_equal(fetched(b, BUS), 0);
	assert_int_equal(data[0], 0x33);

	/* Too short, too long, of another place, less than asked ("VFIO_USER_DMA_READ"). */
	for (unsigned i = 0; i < 4; i++) {
		struct vfio_user_dma_access other = {BUS.value, BYTES};
		uint32_t bytes = i == 0 ? 79 : i == 1 ? 81 : 80;

		other.address += i == 2;
		other.count -= i == 3;
		memcpy(payload, &other, sizeof(other));
		answer(b, ask(b, BUS), VFIO_USER_DMA_READ, reply, 0, payload, bytes);
		assert_int_equal(fetched(b, BUS), -EPROTO);
	}

	/* Errors, with and without a number that is one. */
	static const struct {
		uint32_t error;
		int result;
	} errors[] = {{EFAULT, -EFAULT}, {EPERM, -EPERM}, {0, -EIO}, {UINT32_MAX, -EIO},
		{1u << 31, -EIO}};
	for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
		answer(b, ask(b, BUS), VFIO_USER_DMA_READ, reply | VFIO_USER_ERROR, errors[i].error,
			NULL, 0);
		assert_int_equal(fetched(b, BUS), errors[i].result);
	}

	/* Answers to something else do not count; commands in between are done. */
	id = ask(b, BUS);
	answer(b, (uint16_t)(id + 1), VFIO_USER_DMA_READ, reply, 0, right(BUS, 1), 80);
	answer(b, id, VFIO_USER_DMA_WRITE, reply, 0, right(BUS, 2), 80);
	raw_assert_well(b);
	assert_int_equal(fetched(b, BUS), -EAGAIN);
	answer(b, id, VFIO_USER_DMA_READ, reply, 0, right(BUS, 3), 80);
	assert_int_equal(fetched(b, BUS), 0);
	assert_int_equal(data[0], 3);

	/* What was cancelled is asked for again. */
	id = ask(b, BUS);
	vfu_dma_cancel(b->rig.vfu);
	answer(b, id, VFIO_USER_DMA_READ, reply, 0, right(BUS, 4), 80);
	assert_int_equal(fetched(b, BUS), -EAGAIN);
	assert_non_null(raw_hear(b));
	answer(b, b->reply->header.id, VFIO_USER_DMA_READ, reply, 0, right(BUS, 5), 80);
	assert_int_equal(fetched(b, BUS), 0);
	assert_int_equal(data[0], 5);
}

/* Several at once, answered in any order; as many as there are rings. */
static void test_reads_at_once(void **state)
{
	struct raw *b = *state;
	uint16_t id[68];

	for (unsigned i = 0; i < 68; i++)
		id[i] = ask(b, bus_addr_add(BUS, i * 0x1000));
	/* No room for another: later. */
	struct bus_addr other = {0x7000000};
	assert_int_equal(vfu_dma_read(b->rig.vfu, other, data, BYTES), -EAGAIN);
	assert_null(raw_hear(b));
	for (unsigned i = 68; i-- > 0;)
		answer(b, id[i], VFIO_USER_DMA_READ, VFIO_USER_TYPE_REPLY, 0,
			right(bus_addr_add(BUS, i * 0x1000), (uint8_t)i), 80);
	for (unsigned i = 0; i < 68; i++) {
		assert_int_equal(fetched(b, bus_addr_add(BUS, i * 0x1000)), 0);
		assert_int_equal(data[0], i);
	}
	ask(b, other);
}

/* More than the client takes in one message. */
static void test_read_in_steps(void **state)
{
	static struct raw raw;
	static uint8_t want[10000], got[10000], payload[16 + 4096];
	struct raw *b = &raw;
	unsigned messages = 0;

	for (unsigned i = 0; i < sizeof(want); i++)
		want[i] = (uint8_t)(i * 7 + i / 256);
	raw_connect(b);
	assert_int_equal(raw_negotiate(b, "{\"capabilities\":{\"max_data_xfer_size\":4096}}"), 0);
	while (vfu_dma_read(b->rig.vfu, BUS, got, sizeof(got)) == -EAGAIN) {
		struct vfio_user_dma_access access;

		assert_non_null(raw_hear(b));
		memcpy(&access, b->reply->payload, sizeof(access));
		assert_true(access.count <= 4096);
		memcpy(payload, &access, sizeof(access));
		memcpy(payload + 16, want + (access.address - BUS.value), access.count);
		answer(b, b->reply->header.id, VFIO_USER_DMA_READ, VFIO_USER_TYPE_REPLY, 0, payload,
			16 + (uint32_t)access.count);
		raw_serve(b);
		messages++;
	}
	assert_int_equal(messages, 3);
	assert_memory_equal(got, want, sizeof(want));
	raw_disconnect(b);
}

/* Writes return at once and want no reply ("Header", No_reply); one that comes is nobody's. What is
 * sent stays in order: writes, and replies to commands. */
static void test_writes_are_posted(void **state)
{
	struct raw *b = *state;
	struct vfio_user_device_info info = {.argsz = sizeof(info)};
	struct vfio_user_dma_access access;

	for (uint32_t bytes = 0; bytes <= 16; bytes += bytes ? 4 : 12) {
		memset(data, (int)bytes, sizeof(data));
		assert_int_equal(vfu_dma_write(b->rig.vfu, BUS, data, BYTES), 0);
		assert_non_null(raw_hear(b));
		assert_int_equal(b->reply->header.command, VFIO_USER_DMA_WRITE);
		assert_int_equal(b->reply->header.flags, VFIO_USER_NO_REPLY);
		assert_int_equal(b->reply->bytes, 16 + BYTES);
		memcpy(&access, b->reply->payload, sizeof(access));
		assert_int_equal(access.address, BUS.value);
		assert_int_equal(access.count, BYTES);
		assert_memory_equal(b->reply->payload + 16, data, BYTES);
		/* The three shapes that occur. */
		answer(b, b->reply->header.id, VFIO_USER_DMA_WRITE, VFIO_USER_TYPE_REPLY, 0,
			&access, bytes);
		raw_serve(b);
	}
	assert_int_equal(vfu_dma_write(b->rig.vfu, BUS, data, 4), 0);
	raw_say(b, VFIO_USER_DEVICE_GET_INFO, &info, sizeof(info), NULL, 0);
	raw_serve(b);
	assert_int_equal(vfu_dma_write(b->rig.vfu, BUS, data, 5), 0);
	assert_int_equal(raw_hear(b)->header.size, 16 + 16 + 4);
	assert_int_equal(raw_hear(b)->header.command, VFIO_USER_DEVICE_GET_INFO);
	assert_int_equal(raw_hear(b)->header.size, 16 + 16 + 5);
	raw_assert_well(b);
}

/* A client that does not read: writes wait up to a limit and are refused then, nobody waits, and
 * commands are done. When it reads again all that was taken is there, in order. */
static void test_full_queue(void **state)
{
	struct raw *b = *state;
	static uint8_t frame[4096], command[20];
	struct vfio_user_region_access access = {0x40, BAR2, 4};
	uint32_t taken = 0, heard = 0;
	int result;

	memcpy(command, &access, sizeof(access));
	for (;; taken++) {
		memcpy(frame, &taken, sizeof(taken));
		result = vfu_dma_write(b->rig.vfu, BUS, frame, sizeof(frame));
		if (result)
			break;
	}
	assert_int_equal(result, -ENOBUFS);
	assert_true(taken * sizeof(frame) > (12u << 20) && taken * sizeof(frame) < (24u << 20));
	assert_int_equal(vfu_dma_write(b->rig.vfu, BUS, frame, sizeof(frame)), -ENOBUFS);
	assert_true(vfu_connected(b->rig.vfu));
	/* A command without a reply is done; one with a reply too, but then no more. */
	for (unsigned i = 1; i < 4; i++) {
		command[16] = (uint8_t)i;
		raw_say_flags(b, VFIO_USER_REGION_WRITE, i == 1 ? VFIO_USER_NO_REPLY : 0,
			16 + sizeof(command), command, sizeof(command), NULL, 0);
	}
	for (unsigned k = 0; k < 10; k++)
		vfu_service(b->rig.vfu);
	assert_int_equal(b->rig.bar2[0x40], 2);
	for (unsigned replies = 0; replies < 2;) {
		struct pollfd more = {.fd = b->socket, .events = POLLIN};

		if (!raw_hear(b)) {
			raw_serve(b);
			assert_true(poll(&more, 1, 10000) > 0);
		} else if (b->reply->header.command == VFIO_USER_REGION_WRITE) {
			assert_int_equal(heard, taken);
			replies++;
		} else {
			memcpy(frame, b->reply->payload + 16, 4);
			assert_memory_equal(frame, &heard, 4);
			heard++;
		}
	}
	assert_int_equal(b->rig.bar2[0x40], 3);
	assert_int_equal(vfu_dma_write(b->rig.vfu, BUS, frame, sizeof(frame)), 0);
	assert_non_null(raw_hear(b));
	raw_assert_well(b);
}

/* One that posts faster than the client reads keeps nobody's commands from being done. */
static void test_commands_beside_writes(void **state)
{
	struct raw *b = *state;
	static uint8_t frame[4096], command[20];
	struct vfio_user_region_access access = {0x40, BAR2, 4};

	memcpy(command, &access, sizeof(access));
	for (unsigned i = 1; i < 100; i++) {
		for (unsigned k = 0; k < 20; k++)
			assert_int_equal(vfu_dma_write(b->rig.vfu, BUS, frame, sizeof(frame)), 0);
		command[16] = (uint8_t)i;
		raw_say_flags(b, VFIO_USER_REGION_WRITE, VFIO_USER_NO_REPLY, 16 + sizeof(command),
			command, sizeof(command), NULL, 0);
		vfu_service(b->rig.vfu);
		assert_int_equal(b->rig.bar2[0x40], i);
		assert_non_null(raw_hear(b));
	}
	do
		raw_serve(b);
	while (raw_hear(b));
}

/* A read that is not answered fails, and those after it at once, until the client says something. A
 * client that has said something meanwhile is only slow. */
static void test_silence(void **state)
{
	static struct raw raw;
	struct raw *b = &raw;

	raw_connect_for(b, 300);
	assert_int_equal(raw_negotiate(b, RAW_CAPS), 0);
	ask(b, BUS);
	assert_int_equal(rig_read(b->rig.vfu, BUS, data, BYTES), -ETIMEDOUT);
	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(vfu_dma_read(b->rig.vfu, BUS, data, BYTES), -ETIMEDOUT);
	assert_null(raw_hear(b));
	raw_assert_well(b);
	ask(b, BUS);
	raw_assert_well(b);
	assert_int_equal(rig_read(b->rig.vfu, BUS, data, BYTES), -ETIMEDOUT);
	answer(b, ask(b, BUS), VFIO_USER_DMA_READ, VFIO_USER_TYPE_REPLY, 0, right(BUS, 9), 80);
	assert_int_equal(fetched(b, BUS), 0);
	/* Nobody came for these, answered or not; their places are used again. */
	for (unsigned round = 0; round < 2; round++) {
		for (unsigned i = 0; i < 68; i++) {
			struct bus_addr bus = bus_addr_add(BUS, (round * 68 + i) * 0x1000);
			uint16_t id = ask(b, bus);

			if (i % 2)
				answer(b, id, VFIO_USER_DMA_READ, VFIO_USER_TYPE_REPLY, 0,
					right(bus, 1), 80);
		}
		raw_assert_well(b);
		rig_sleep_ms(310);
	}
	raw_disconnect(b);
}

static void test_gone_while_reading(void **state)
{
	struct raw b;

	raw_connect(&b);
	assert_int_equal(vfu_dma_read(b.rig.vfu, BUS, data, BYTES), -ENOTCONN);
	assert_int_equal(vfu_dma_write(b.rig.vfu, BUS, data, BYTES), -ENOTCONN);
	assert_int_equal(raw_negotiate(&b, RAW_CAPS), 0);
	ask(&b, BUS);
	shutdown(b.socket, SHUT_RDWR);
	raw_serve(&b);
	assert_int_equal(b.rig.disconnects, 1);
	assert_int_equal(vfu_dma_read(b.rig.vfu, BUS, data, BYTES), -ENOTCONN);
	assert_int_equal(vfu_dma_write(b.rig.vfu, BUS, data, BYTES), -ENOTCONN);
	raw_disconnect(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RAW_TEST(test_reads),
		RAW_TEST(test_reads_at_once),
		cmocka_unit_test(test_read_in_steps),
		RAW_TEST(test_writes_are_posted),
		RAW_TEST(test_full_queue),
		RAW_TEST(test_commands_beside_writes),
		cmocka_unit_test(test_silence),
		cmocka_unit_test(test_gone_while_reading),
	};

	return cmocka_run_group_tests_name("vfio-user DMA messages", tests, NULL, NULL);
}
