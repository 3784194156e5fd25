/* SPDX-License-Identifier: BSD-3-Clause */
/* Each command of the server: what it answers, and what it refuses. */
#include "tests/unit/descriptors.h"
#include "vfio_user_raw.h"

#include <setjmp.h>
#include <stdarg.h>
/* cmocka wants those first. */
#include <cmocka.h>
#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define BAR0 VFIO_PCI_BAR0_REGION_INDEX
#define BAR2 VFIO_PCI_BAR2_REGION_INDEX

static void test_commands_that_are_none(void **state)
{
	struct raw *b = *state;
	static const uint16_t commands[] = {0, 11, 12, 14, 16, 17, 18, 19, 255, 65535};
	uint8_t payload[64] = {0};

	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		assert_int_equal(raw_ask(b, commands[i], payload, sizeof(payload)), -ENOTSUP);

	/* Replies that nobody waits for are dropped, and types that are none refused. */
	raw_say_flags(b, VFIO_USER_DMA_READ, VFIO_USER_TYPE_REPLY, 80, payload, 64, NULL, 0);
	raw_say_flags(b, VFIO_USER_DMA_WRITE, VFIO_USER_TYPE_REPLY | VFIO_USER_ERROR, 16, NULL, 0,
		NULL, 0);
	raw_say_flags(b, VFIO_USER_DEVICE_RESET, VFIO_USER_TYPE_REPLY, 16, NULL, 0, NULL, 0);
	raw_serve(b);
	assert_null(raw_hear(b));
	assert_int_equal(b->rig.resets, 0);
	raw_say_flags(b, VFIO_USER_DEVICE_RESET, 2, 16, NULL, 0, NULL, 0);
	raw_serve(b);
	assert_non_null(raw_hear(b));
	assert_int_equal(b->reply->header.error, EINVAL);
	assert_int_equal(b->rig.resets, 0);
	raw_assert_well(b);
}

/* Every command with every length short of its structure, and with an argsz too small. */
static void test_short_requests(void **state)
{
	struct raw *b = *state;
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
			assert_int_equal(raw_ask(b, cases[i].command, payload, n), -EINVAL);
		for (uint32_t argsz = 0; cases[i].argsz && argsz < cases[i].bytes; argsz++) {
			memcpy(payload, &argsz, sizeof(argsz));
			assert_int_equal(
				raw_ask(b, cases[i].command, payload, cases[i].bytes), -EINVAL);
		}
	}
	raw_assert_well(b);
}

static int map(struct raw *b, uint32_t flags, uint64_t offset, uint64_t address, uint64_t size)
{
	struct vfio_user_dma_map m = {sizeof(m), flags, offset, address, size};

	return raw_ask(b, VFIO_USER_DMA_MAP, &m, sizeof(m));
}

static int unmap(struct raw *b, uint32_t flags, uint64_t address, uint64_t size)
{
	struct vfio_user_dma_unmap u = {sizeof(u), flags, address, size};

	return raw_ask(b, VFIO_USER_DMA_UNMAP, &u, sizeof(u));
}

static void test_window_ranges(void **state)
{
	struct raw *b = *state;

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
	assert_int_equal(unmap(b, 0, 0, 0x1800), -EINVAL);
	assert_int_equal(unmap(b, 0, 0x800, 0x1000), -EINVAL);
	assert_int_equal(unmap(b, 0, ~0xfffull, 0x2000), -EINVAL); /* beyond the end */
	assert_int_equal(unmap(b, 1, 0, ~0xfffull), -EINVAL);      /* no dirty pages here */
	assert_int_equal(unmap(b, VFIO_DMA_UNMAP_FLAG_ALL, 0, 0x1000), -EINVAL);
	assert_int_equal(unmap(b, VFIO_DMA_UNMAP_FLAG_ALL, 0x1000, 0), -EINVAL);
	assert_int_equal(unmap(b, ~0u, 0, 0), -EINVAL);
	assert_int_equal(b->rig.windows, 2);
	assert_int_equal(unmap(b, 0, 0, ~0xfffull), 0);
	assert_int_equal(b->reply->bytes, sizeof(struct vfio_user_dma_unmap));
	assert_int_equal(unmap(b, VFIO_DMA_UNMAP_FLAG_ALL, 0, 0), 0);
	assert_int_equal(b->rig.windows, 0);
}

/* As QEMU unmaps what its guest's IOMMU invalidates: ranges that cover many windows, or none. Those
 * that would cut one change nothing. */
static void test_unmap_ranges(void **state)
{
	struct raw *b = *state;

	for (unsigned k = 0; k < 8; k++) /* 0x10000, 0x12000, ... of one page each */
		assert_int_equal(map(b, VFU_READ, 0, 0x10000 + k * 0x2000, 0x1000), 0);
	assert_int_equal(map(b, VFU_READ, 0, 0x40000, 0x4000), 0);
	assert_int_equal(unmap(b, 0, 0x900000, 0x1000), 0); /* never mapped: before, between */
	assert_int_equal(unmap(b, 0, 0x1000, 0x1000), 0);
	assert_int_equal(unmap(b, 0, 0x11000, 0x1000), 0);
	assert_int_equal(b->rig.windows, 9);
	/* In part: at the front, at the end, in the middle; others in the range stay too. */
	assert_int_equal(unmap(b, 0, 0x40000, 0x1000), -EINVAL);
	assert_int_equal(unmap(b, 0, 0x43000, 0x1000), -EINVAL);
	assert_int_equal(unmap(b, 0, 0x41000, 0x1000), -EINVAL);
	assert_int_equal(unmap(b, 0, 0x10000, 0x31000), -EINVAL);
	assert_int_equal(unmap(b, 0, 0x43000, 0x100000), -EINVAL);
	assert_int_equal(b->rig.windows, 9);
	/* Three and the gaps around them, by one that begins and ends beside any window. */
	assert_int_equal(unmap(b, 0, 0x11000, 0x7000), 0);
	assert_int_equal(b->reply->bytes, sizeof(struct vfio_user_dma_unmap));
	assert_int_equal(b->rig.windows, 6);
	assert_int_equal(map(b, VFU_READ, 0, 0x10000, 0x1000), -EEXIST);
	assert_int_equal(map(b, VFU_READ, 0, 0x11000, 0x7000), 0);
	assert_int_equal(map(b, VFU_READ, 0, 0x18000, 0x1000), -EEXIST);
	/* Everything, by a range that reaches the top of the address space. */
	assert_int_equal(unmap(b, 0, 0x1000, ~0xfffull), 0);
	assert_int_equal(b->rig.windows, 0);
	assert_int_equal(map(b, VFU_READ, 0, 0, ~0xfffull), 0);
}

static void test_region_info(void **state)
{
	struct raw *b = *state;
	struct vfio_user_region_info info = {.argsz = sizeof(info), .index = BAR0};
	struct vfio_user_sparse sparse;
	struct vfio_user_area area;
	uint32_t full = sizeof(info) + sizeof(sparse) + sizeof(area);

	/* Too little room for the capability: told how much; neither its flag nor a descriptor yet,
	 * or QEMU refuses the region. */
	for (uint32_t argsz = sizeof(info); argsz < full; argsz++) {
		info = (struct vfio_user_region_info){.argsz = argsz, .index = BAR0};
		assert_int_equal(
			raw_ask(b, VFIO_USER_DEVICE_GET_REGION_INFO, &info, sizeof(info)), 0);
		assert_int_equal(b->reply->bytes, sizeof(info));
		assert_int_equal(b->reply->fd_count, 0);
		memcpy(&info, b->reply->payload, sizeof(info));
		assert_int_equal(info.argsz, full);
		assert_int_equal(info.flags, 0x7);
		assert_int_equal(info.capability_offset, 0);
	}
	for (uint32_t argsz = full; argsz < UINT32_MAX / 2; argsz *= 3) {
		info = (struct vfio_user_region_info){.argsz = argsz, .index = BAR0};
		assert_int_equal(
			raw_ask(b, VFIO_USER_DEVICE_GET_REGION_INFO, &info, sizeof(info)), 0);
		assert_int_equal(b->reply->bytes, full);
		assert_int_equal(b->reply->fd_count, 1);
		memcpy(&info, b->reply->payload, sizeof(info));
		assert_int_equal(info.flags, 0xf);
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
	assert_int_equal(raw_ask(b, VFIO_USER_DEVICE_GET_REGION_INFO, &info, sizeof(info)), 0);
	assert_int_equal(b->reply->fd_count, 1);
	for (uint32_t index = 0; index < 12; index++) {
		info = (struct vfio_user_region_info){.argsz = sizeof(info), .index = index};
		assert_int_equal(raw_ask(b, VFIO_USER_DEVICE_GET_REGION_INFO, &info, sizeof(info)),
			index < 9 ? 0 : -EINVAL);
	}
	info = (struct vfio_user_region_info){.argsz = sizeof(info), .index = UINT32_MAX};
	assert_int_equal(
		raw_ask(b, VFIO_USER_DEVICE_GET_REGION_INFO, &info, sizeof(info)), -EINVAL);
}

static void test_io_fds(void **state)
{
	struct raw *b = *state;
	struct vfio_user_io_fds info = {.argsz = sizeof(info), .index = BAR0};
	struct vfio_user_io_fd one;

	assert_int_equal(raw_ask(b, VFIO_USER_DEVICE_GET_REGION_IO_FDS, &info, sizeof(info)), 0);
	assert_int_equal(b->reply->fd_count, 0);
	memcpy(&info, b->reply->payload, sizeof(info));
	assert_int_equal(info.argsz, sizeof(info) + sizeof(one));
	assert_int_equal(info.count, 1);
	assert_int_equal(raw_ask(b, VFIO_USER_DEVICE_GET_REGION_IO_FDS, &info, sizeof(info)), 0);
	assert_int_equal(b->reply->fd_count, 1);
	memcpy(&one, b->reply->payload + sizeof(info), sizeof(one));
	assert_int_equal(one.offset, 0x2000);
	assert_int_equal(one.type, VFIO_USER_IO_FD_IOEVENTFD);
	assert_int_equal(one.fd_index, 0);
	info = (struct vfio_user_io_fds){.argsz = 100, .index = BAR2};
	assert_int_equal(raw_ask(b, VFIO_USER_DEVICE_GET_REGION_IO_FDS, &info, sizeof(info)), 0);
	assert_int_equal(b->reply->bytes, sizeof(info));
	info = (struct vfio_user_io_fds){.argsz = 100, .index = 9};
	assert_int_equal(
		raw_ask(b, VFIO_USER_DEVICE_GET_REGION_IO_FDS, &info, sizeof(info)), -EINVAL);
	info = (struct vfio_user_io_fds){.argsz = 100, .flags = 1};
	assert_int_equal(
		raw_ask(b, VFIO_USER_DEVICE_GET_REGION_IO_FDS, &info, sizeof(info)), -EINVAL);
}

static void test_region_ranges(void **state)
{
	struct raw *b = *state;

	for (int write = 0; write < 2; write++) {
		uint32_t n = write ? 4 : 0;

		assert_int_equal(raw_access(b, write, RIG_BAR0 - 4, BAR0, 4, n), 0);
		assert_int_equal(raw_access(b, write, RIG_BAR0 - 3, BAR0, 4, n), -EINVAL);
		assert_int_equal(raw_access(b, write, RIG_BAR0, BAR0, 4, n), -EINVAL);
		assert_int_equal(raw_access(b, write, UINT64_MAX, BAR0, 4, n), -EINVAL);
		assert_int_equal(raw_access(b, write, UINT64_MAX - 3, BAR0, 4, n), -EINVAL);
		assert_int_equal(raw_access(b, write, 0, 3, 4, n), -EINVAL); /* absent */
		assert_int_equal(raw_access(b, write, 0, 9, 4, n), -EINVAL);
		assert_int_equal(raw_access(b, write, 0, UINT32_MAX, 4, n), -EINVAL);
		assert_int_equal(raw_access(b, write, 0, BAR0, 0, 0), -EINVAL);
		assert_int_equal(raw_access(b, write, 0, BAR0, UINT32_MAX, n), -EINVAL);
		assert_int_equal(raw_access(b, write, 0x40, BAR0, 2, n / 2), -EINVAL);
	}
	/* A count that is not the data's. */
	assert_int_equal(raw_access(b, true, 0, BAR2, 4, 3), -EINVAL);
	assert_int_equal(raw_access(b, true, 0, BAR2, 4, 5), -EINVAL);
	assert_int_equal(raw_access(b, false, 0, BAR2, VFIO_USER_DEFAULT_TRANSFER + 1, 0), -EINVAL);
}

static void test_write_multi(void **state)
{
	struct raw *b = *state;
	struct {
		uint64_t count;
		struct vfio_user_small_write w[3];
	} m = {3, {{0x40, BAR0, 4, {1}}, {0x48, BAR2, 8, {2}}, {0x50, BAR2, 1, {3}}}};
	uint64_t done;

	assert_int_equal(raw_ask(b, VFIO_USER_REGION_WRITE_MULTI, &m, sizeof(m)), 0);
	memcpy(&done, b->reply->payload, sizeof(done));
	assert_int_equal(done, 3);
	assert_int_equal(b->rig.bar0[0x40], 1);
	assert_int_equal(b->rig.bar2[0x48], 2);
	assert_int_equal(b->rig.bar2[0x50], 3);

	m.w[1].count = 9;
	assert_int_equal(raw_ask(b, VFIO_USER_REGION_WRITE_MULTI, &m, sizeof(m)), 0);
	memcpy(&done, b->reply->payload, sizeof(done));
	assert_int_equal(done, 1);
	m.w[0].region = 77;
	assert_int_equal(raw_ask(b, VFIO_USER_REGION_WRITE_MULTI, &m, sizeof(m)), -EINVAL);
	m.w[0].region = BAR0;
	m.count = 2;
	assert_int_equal(raw_ask(b, VFIO_USER_REGION_WRITE_MULTI, &m, sizeof(m)), -EINVAL);
	m.count = UINT64_MAX / 24 + 2; /* times 24 it wraps to something small */
	assert_int_equal(raw_ask(b, VFIO_USER_REGION_WRITE_MULTI, &m, sizeof(m)), -EINVAL);
	m.count = 0;
	assert_int_equal(raw_ask(b, VFIO_USER_REGION_WRITE_MULTI, &m, 8), 0);
}

/* --- Interrupts ------------------------------------------------------------------------------- */

static int irqs(struct raw *b, uint32_t flags, uint32_t index, uint32_t start, uint32_t count,
	const char *booleans, const int *fds, unsigned fd_count)
{
	uint8_t payload[64] = {0};
	struct vfio_user_irq_set set = {sizeof(set), flags, index, start, count};
	size_t more = booleans ? strlen(booleans) : 0;

	memcpy(payload, &set, sizeof(set));
	for (size_t i = 0; i < more; i++)
		payload[sizeof(set) + i] = booleans[i] == '1';
	return raw_ask_fds(
		b, VFIO_USER_DEVICE_SET_IRQS, payload, sizeof(set) + more, fds, fd_count);
}

static uint64_t take(int fd)
{
	uint64_t count = 0;

	return read(fd, &count, sizeof(count)) < 0 ? 0 : count;
}

static void test_irqs(void **state)
{
	struct raw *b = *state;
	const uint32_t none = VFIO_IRQ_SET_DATA_NONE;
	const uint32_t boolean = VFIO_IRQ_SET_DATA_BOOL;
	const uint32_t event = VFIO_IRQ_SET_DATA_EVENTFD;
	const uint32_t trigger = VFIO_IRQ_SET_ACTION_TRIGGER;
	const uint32_t mask = VFIO_IRQ_SET_ACTION_MASK;
	const uint32_t unmask = VFIO_IRQ_SET_ACTION_UNMASK;
	const uint32_t msix = VFIO_PCI_MSIX_IRQ_INDEX;
	int fds[3] = {eventfd(0, EFD_NONBLOCK), eventfd(0, EFD_NONBLOCK), -1};
	unsigned before = open_descriptors();

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
	assert_int_equal(
		irqs(b, event | trigger, msix, P2PNIC_VECTORS - 2, 3, NULL, fds, 3), -EINVAL);
	assert_int_equal(
		irqs(b, event | trigger, msix, P2PNIC_VECTORS - 1, 2, NULL, fds, 2), -EINVAL);
	assert_int_equal(irqs(b, event | trigger, msix, UINT32_MAX, 2, NULL, fds, 2), -EINVAL);
	assert_int_equal(irqs(b, event | trigger, msix, 1, UINT32_MAX, NULL, fds, 2), -EINVAL);
	assert_int_equal(irqs(b, event | trigger, msix, 0, 2, NULL, fds + 1, 2), -EINVAL);
	assert_int_equal(irqs(b, event | trigger, msix, 0, 0, NULL, NULL, 0), -EINVAL);
	assert_int_equal(irqs(b, event | trigger, 0, 0, 1, NULL, fds, 1), -EINVAL);
	assert_int_equal(irqs(b, event | trigger, 5, 0, 1, NULL, fds, 1), -EINVAL);
	assert_int_equal(irqs(b, event | mask, msix, 0, 1, NULL, fds, 1), -ENOTSUP);
	assert_int_equal(irqs(b, none | trigger, msix, 0, 1, NULL, fds, 1), -EINVAL);
	assert_int_equal(irqs(b, boolean | trigger, msix, 0, 2, "1", NULL, 0), -EINVAL);
	assert_int_equal(open_descriptors(), before);

	assert_int_equal(irqs(b, event | trigger, msix, 0, 2, NULL, fds, 2), 0);
	assert_int_equal(irqs(b, event | trigger, msix, 0, 2, NULL, fds, 2), 0);
	assert_int_equal(open_descriptors(), before + 2);
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
	assert_int_equal(open_descriptors(), before + 1);
	assert_int_equal(irqs(b, none | trigger, msix, 0, 0, NULL, NULL, 0), 0);
	assert_int_equal(open_descriptors(), before);
	assert_int_equal(irqs(b, none | trigger, VFIO_PCI_INTX_IRQ_INDEX, 0, 0, NULL, NULL, 0), 0);

	for (uint32_t index = 0; index < 7; index++) {
		struct vfio_user_irq_info info = {.argsz = sizeof(info), .index = index};
		int result = raw_ask(b, VFIO_USER_DEVICE_GET_IRQ_INFO, &info, sizeof(info));
		assert_int_equal(result, index < 5 ? 0 : -EINVAL);
		if (result)
			continue;
		memcpy(&info, b->reply->payload, sizeof(info));
		assert_int_equal(info.count, index == msix ? P2PNIC_VECTORS : 0);
	}
	close(fds[0]);
	close(fds[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RAW_TEST(test_commands_that_are_none),
		RAW_TEST(test_short_requests),
		RAW_TEST(test_window_ranges),
		RAW_TEST(test_unmap_ranges),
		RAW_TEST(test_region_info),
		RAW_TEST(test_io_fds),
		RAW_TEST(test_region_ranges),
		RAW_TEST(test_write_multi),
		RAW_TEST(test_irqs),
	};

	return cmocka_run_group_tests_name("vfio-user commands", tests, NULL, NULL);
}
