/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The DMA engine (softnic/dma.c) alone, with memory, messages and allocations that fail when they
 * are told to.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>

#include <cmocka.h>

static bool no_memory;

static void *realloc_or_not(void *old, size_t bytes)
{
	return no_memory ? NULL : realloc(old, bytes);
}

#define realloc realloc_or_not
#include "softnic/dma.c" /* NOLINT(bugprone-suspicious-include) */
#undef realloc

#define PAGE 4096u

static uint8_t memory[4 * PAGE];
static struct mapping whole = {.memory = memory, .bytes = sizeof(memory)};
static int mapping_error, references, message_error, messages;

int mapping_get(struct mapping **out, int fd, bool writable)
{
	if (mapping_error)
		return mapping_error;
	references++;
	*out = &whole;
	return 0;
}

void mapping_put(struct mapping *m)
{
	assert_ptr_equal(m, &whole);
	references--;
}

int vfu_dma_write(struct vfu *vfu, struct bus_addr bus, const void *data, size_t bytes)
{
	messages++;
	return message_error;
}

int vfu_dma_read(struct vfu *vfu, struct bus_addr bus, void *data, size_t bytes)
{
	messages++;
	memset(data, 0x55, bytes);
	return message_error;
}

static struct p2pnic_counters counters;

static struct dma fresh(void)
{
	memset(&counters, 0, sizeof(counters));
	memset(memory, 0, sizeof(memory));
	return (struct dma){.enabled = true, .counters = &counters};
}

static unsigned faults(void)
{
	return (unsigned)atomic_load(&counters.dma_faults);
}

static int map(struct dma *dma, uint64_t bus, uint64_t bytes, unsigned access,
	enum vfu_window_kind kind, int fd, uint64_t fd_offset)
{
	const struct vfu_window w = {.bus = {bus},
		.bytes = bytes,
		.access = access,
		.kind = kind,
		.fd = fd,
		.fd_offset = fd_offset};

	return dma_map(dma, &w);
}

static int map_memory(struct dma *dma, uint64_t bus, uint64_t bytes, uint64_t fd_offset)
{
	return map(dma, bus, bytes, DMA_READ | DMA_WRITE, VFU_WINDOW_MEMORY, 5, fd_offset);
}

static struct bus_addr at(uint64_t bus)
{
	return (struct bus_addr){bus};
}

static void windows_lie_inside_their_memory(void **state)
{
	struct dma dma = fresh();
	struct dma_region region;

	assert_int_equal(map_memory(&dma, 0x10000, PAGE, 3 * PAGE), 0);
	assert_int_equal(map_memory(&dma, 0x20000, sizeof(memory), 0), 0);
	assert_int_equal(map_memory(&dma, 0x30000, PAGE + 1, 3 * PAGE), -EINVAL);
	assert_int_equal(map_memory(&dma, 0x30000, sizeof(memory) + 1, 0), -EINVAL);
	assert_int_equal(map_memory(&dma, 0x30000, PAGE, sizeof(memory)), -EINVAL);
	/* Offset and length that wrap around to something small. */
	assert_int_equal(map_memory(&dma, 0x30000, 2 * PAGE, -(uint64_t)PAGE), -EINVAL);
	assert_int_equal(map_memory(&dma, 0x30000, UINT64_MAX, 2), -EINVAL);
	assert_int_equal(references, 2);
	mapping_error = -ENXIO;
	assert_int_equal(map_memory(&dma, 0x30000, PAGE, 0), -ENXIO);
	mapping_error = 0;
	assert_int_equal(dma.windows, 2);
	assert_true(dma_resolve(&dma, at(0x10010), 16, DMA_WRITE, &region));
	assert_ptr_equal(region.board, memory + 3 * PAGE + 0x10);
	assert_int_equal(region.bytes, 16);
	dma_unmap_all(&dma);
	assert_int_equal(references, 0);
	assert_null(dma.window);
}

static void accesses_lie_inside_one_window(void **state)
{
	struct dma dma = fresh();
	struct dma_region region;
	uint8_t bytes[32] = {1, 2, 3}, got[32];

	assert_int_equal(map_memory(&dma, 0x10000, PAGE, 0), 0);
	assert_int_equal(map_memory(&dma, 0x11000, PAGE, PAGE), 0);
	assert_int_equal(map(&dma, 0x20000, PAGE, DMA_READ, VFU_WINDOW_MEMORY, 5, 2 * PAGE), 0);
	assert_true(dma_write(&dma, at(0x10000), bytes, 32));
	assert_true(dma_write(&dma, at(0x10fe0), bytes, 32));
	assert_memory_equal(memory + 0xfe0, bytes, 32);
	assert_int_equal(dma_read(&dma, at(0x10fe0), got, 32), DMA_DONE);
	assert_memory_equal(got, bytes, 32);
	assert_int_equal(faults(), 0);
	assert_false(dma_write(&dma, at(0x0ffff), bytes, 32));
	assert_false(dma_write(&dma, at(0x10fe1), bytes, 32)); /* over two windows */
	assert_false(dma_write(&dma, at(0x12000), bytes, 1));
	assert_false(dma_write(&dma, at(UINT64_MAX), bytes, 32));
	assert_false(dma_write(&dma, at(0x20000), bytes, 32)); /* may only be read */
	assert_int_equal(faults(), 5);
	memset(got, 0xee, sizeof(got));
	assert_int_equal(dma_read(&dma, at(0x30000), got, 32), DMA_FAULT);
	assert_int_equal(got[0] | got[31], 0);
	assert_int_equal(faults(), 6);
	assert_false(dma_resolve(&dma, at(0x10000), 0, DMA_READ, &region));
	assert_false(dma_resolve(&dma, at(0x10000), PAGE + 1, DMA_READ, &region));
	assert_false(dma_resolve(&dma, at(0x20000), 1, DMA_WRITE, &region));
	assert_true(dma_resolve(&dma, at(0x20000), PAGE, DMA_READ, &region));
	/* Bus Master Enable is off. */
	dma.enabled = false;
	assert_false(dma_resolve(&dma, at(0x10000), 1, DMA_READ, &region));
	assert_false(dma_write(&dma, at(0x10000), bytes, 32));
	assert_int_equal(dma_read(&dma, at(0x10000), got, 32), DMA_FAULT);
	dma.enabled = true;
	/* Only the very window is unmapped. */
	dma_unmap(&dma, at(0x10000), 2 * PAGE);
	dma_unmap(&dma, at(0x10800), PAGE);
	assert_int_equal(dma.windows, 3);
	dma_unmap(&dma, at(0x10000), PAGE);
	assert_int_equal(dma.windows, 2);
	assert_false(dma_write(&dma, at(0x10000), bytes, 32));
	assert_true(dma_write(&dma, at(0x11000), bytes, 32));
	dma_unmap_all(&dma);
	assert_int_equal(references, 0);
}

static void doorbells(void **state)
{
	struct dma dma = fresh();
	struct dma_region region;
	int bell = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	uint64_t count = UINT64_MAX - 1;

	assert_int_equal(map(&dma, 0x10000, PAGE, DMA_WRITE, VFU_WINDOW_DOORBELL, -1, 0), -EBADF);
	assert_int_equal(
		map(&dma, 0x10000, PAGE, DMA_READ | DMA_WRITE, VFU_WINDOW_DOORBELL, bell, 0), 0);
	assert_true(dma_resolve(&dma, at(0x10000), 4, DMA_WRITE, &region));
	assert_null(region.board);
	assert_true(dma_write(&dma, at(0x10000), "1234", 4));
	assert_int_equal(read(bell, &count, sizeof(count)), 8);
	assert_int_equal(count, 1);
	/* Full: whoever is woken by it has not looked yet. */
	count = UINT64_MAX - 1;
	assert_int_equal(write(bell, &count, sizeof(count)), 8);
	assert_true(dma_write(&dma, at(0x10000), "1234", 4));
	assert_int_equal(faults(), 0);
	assert_int_equal(dma_read(&dma, at(0x10000), &count, sizeof(count)), DMA_FAULT);
	assert_int_equal(count, 0);
	assert_int_equal(faults(), 1);
	/* A descriptor that takes no writes. */
	close(dma.window[0].eventfd);
	dma.window[0].eventfd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	assert_false(dma_write(&dma, at(0x10000), "1234", 4));
	assert_int_equal(faults(), 2);
	dma_unmap_all(&dma);
	close(bell);
}

static void windows_by_message(void **state)
{
	struct dma dma = fresh();
	struct dma_region region;
	uint8_t got[8] = {0};

	assert_int_equal(
		map(&dma, 0x10000, PAGE, DMA_READ | DMA_WRITE, VFU_WINDOW_MESSAGE, -1, 0), 0);
	messages = 0;
	assert_true(dma_write(&dma, at(0x10000), got, 8));
	assert_int_equal(dma_read(&dma, at(0x10000), got, 8), DMA_DONE);
	assert_int_equal(got[7], 0x55);
	assert_int_equal(messages, 2);
	message_error = -EAGAIN;
	assert_int_equal(dma_read(&dma, at(0x10000), got, 8), DMA_LATER);
	assert_int_equal(faults(), 0);
	message_error = -EIO;
	assert_false(dma_write(&dma, at(0x10000), got, 8));
	assert_int_equal(dma_read(&dma, at(0x10000), got, 8), DMA_FAULT);
	assert_int_equal(got[7], 0);
	assert_int_equal(faults(), 2);
	/* No room: lost, and so is all that would follow it, until the pairs are closed. */
	message_error = -ENOBUFS;
	messages = 0;
	assert_false(dma_write(&dma, at(0x10000), got, 8));
	message_error = 0;
	assert_false(dma_write(&dma, at(0x10000), got, 8));
	assert_int_equal(messages, 1);
	assert_int_equal(counters.dma_lost, 2);
	assert_int_equal(faults(), 2);
	assert_false(dma_resolve(&dma, at(0x10000), 8, DMA_WRITE, &region));
	dma.lost = false;
	assert_true(dma_resolve(&dma, at(0x10000), 8, DMA_WRITE, &region));
	assert_true(dma_write(&dma, at(0x10000), got, 8));
	/* No such kind: nobody maps one. */
	dma.window[0].kind = (enum vfu_window_kind)99;
	assert_false(dma_write(&dma, at(0x10000), got, 8));
	assert_int_equal(dma_read(&dma, at(0x10000), got, 8), DMA_FAULT);
	dma_unmap_all(&dma);
}

static void many_windows(void **state)
{
	struct dma dma = fresh();

	no_memory = true;
	assert_int_equal(map_memory(&dma, 0x10000, PAGE, 0), -ENOMEM);
	no_memory = false;
	for (unsigned k = 0; k < 64; k++)
		assert_int_equal(map_memory(&dma, 0x10000 + k * PAGE, PAGE, 0), 0);
	no_memory = true;
	assert_int_equal(map_memory(&dma, 0x100000, PAGE, 0), -ENOMEM);
	assert_int_equal(references, 64);
	no_memory = false;
	assert_int_equal(map_memory(&dma, 0x100000, PAGE, 0), 0);
	assert_true(dma_write(&dma, at(0x100000), "x", 1));
	assert_int_equal(memory[0], 'x');
	dma_unmap_all(&dma);
	assert_int_equal(references, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(windows_lie_inside_their_memory),
		cmocka_unit_test(accesses_lie_inside_one_window),
		cmocka_unit_test(doorbells),
		cmocka_unit_test(windows_by_message),
		cmocka_unit_test(many_windows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
