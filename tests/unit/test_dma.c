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
static uint64_t message_bus, message_bytes; /* the last one */

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
	message_bus = bus.value;
	message_bytes = bytes;
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

static void accesses_lie_inside_windows(void **state)
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
	assert_false(dma_write(&dma, at(0x11fe1), bytes, 32)); /* over the end of the second */
	assert_false(dma_write(&dma, at(0x12000), bytes, 1));
	assert_false(dma_write(&dma, at(UINT64_MAX), bytes, 32));
	assert_false(dma_write(&dma, at(0x20000), bytes, 32)); /* may only be read */
	assert_int_equal(faults(), 5);
	memset(got, 0xee, sizeof(got));
	assert_int_equal(dma_read(&dma, at(0x30000), got, 32), DMA_FAULT);
	assert_int_equal(got[0] | got[31], 0);
	assert_int_equal(faults(), 6);
	assert_false(dma_resolve(&dma, at(0x10000), 0, DMA_READ, &region));
	assert_false(dma_resolve(&dma, at(0x10000), 2 * PAGE + 1, DMA_READ, &region));
	assert_false(dma_resolve(&dma, at(0x20000), 1, DMA_WRITE, &region));
	assert_true(dma_resolve(&dma, at(0x20000), PAGE, DMA_READ, &region));
	/* Bus Master Enable is off. */
	dma.enabled = false;
	assert_false(dma_resolve(&dma, at(0x10000), 1, DMA_READ, &region));
	assert_false(dma_write(&dma, at(0x10000), bytes, 32));
	assert_int_equal(dma_read(&dma, at(0x10000), got, 32), DMA_FAULT);
	dma.enabled = true;
	/* One is unmapped, none, and two at once. */
	dma_unmap(&dma, at(0x10000), PAGE);
	assert_int_equal(dma.windows, 2);
	assert_int_equal(references, 2);
	assert_false(dma_write(&dma, at(0x10000), bytes, 32));
	assert_true(dma_write(&dma, at(0x11000), bytes, 32));
	dma_unmap(&dma, at(0), 0x11000);
	dma_unmap(&dma, at(0x12000), 0x8000);
	dma_unmap(&dma, at(0x21000), -(uint64_t)0x21000);
	assert_int_equal(dma.windows, 2);
	dma_unmap(&dma, at(0x11000), 0x10000);
	assert_int_equal(dma.windows, 0);
	dma_unmap_all(&dma);
	assert_int_equal(references, 0);
}

/* A region in pieces, as an IOMMU hands it out: mapped in any order. */
static void windows_join(void **state)
{
	struct dma dma = fresh();
	struct dma_region region;
	uint8_t out[PAGE], got[PAGE];
	uint64_t word = 0x0123456789abcdef;

	for (unsigned k = 0; k < sizeof(out); k++)
		out[k] = (uint8_t)(k * 3 + 1);
	/* In one piece here too: a pointer. */
	assert_int_equal(map_memory(&dma, 0x12000, PAGE, 2 * PAGE), 0);
	assert_int_equal(map_memory(&dma, 0x10000, PAGE, 0), 0);
	assert_int_equal(map_memory(&dma, 0x11000, PAGE, PAGE), 0);
	assert_true(dma_resolve(&dma, at(0x10000), 3 * PAGE, DMA_WRITE, &region));
	assert_ptr_equal(region.board, memory);
	assert_int_equal(region.bytes, 3 * PAGE);
	assert_false(dma_resolve(&dma, at(0x10000), 3 * PAGE + 1, DMA_WRITE, &region));
	assert_false(dma_resolve(&dma, at(0x0f000), 2 * PAGE, DMA_WRITE, &region));
	/* Scattered: no pointer, and every access finds its piece. */
	assert_int_equal(map_memory(&dma, 0x21000, PAGE, 0), 0);
	assert_int_equal(map_memory(&dma, 0x20000, PAGE, 2 * PAGE), 0);
	assert_true(dma_resolve(&dma, at(0x20000), 2 * PAGE, DMA_WRITE, &region));
	assert_null(region.board);
	assert_int_equal(region.bytes, 2 * PAGE);
	assert_true(dma_resolve(&dma, at(0x20800), 0x800, DMA_WRITE, &region));
	assert_ptr_equal(region.board, memory + 2 * PAGE + 0x800);
	assert_true(dma_write(&dma, at(0x20801), out, PAGE));
	assert_memory_equal(memory + 2 * PAGE + 0x801, out, 0x7ff);
	assert_memory_equal(memory, out + 0x7ff, 0x801);
	assert_int_equal(dma_read(&dma, at(0x20801), got, PAGE), DMA_DONE);
	assert_memory_equal(got, out, PAGE);
	assert_true(dma_write(&dma, at(0x20ffc), &word, 8));
	assert_memory_equal(memory + 3 * PAGE - 4, &word, 4);
	assert_memory_equal(memory, (uint8_t *)&word + 4, 4);
	/* A hole, or a piece that may not be written: nothing of it is done. */
	memset(memory, 0, sizeof(memory));
	assert_false(dma_write(&dma, at(0x21f00), out, PAGE));
	assert_int_equal(map(&dma, 0x22000, PAGE, DMA_READ, VFU_WINDOW_MEMORY, 5, PAGE), 0);
	assert_false(dma_write(&dma, at(0x21f00), out, PAGE));
	assert_int_equal(memory[0xf00], 0);
	assert_int_equal(dma_read(&dma, at(0x21f00), got, PAGE), DMA_DONE);
	/* Messages join; with memory beside them each part goes its way. */
	assert_int_equal(
		map(&dma, 0x31000, PAGE, DMA_READ | DMA_WRITE, VFU_WINDOW_MESSAGE, -1, 0), 0);
	assert_int_equal(
		map(&dma, 0x30000, PAGE, DMA_READ | DMA_WRITE, VFU_WINDOW_MESSAGE, -1, 0), 0);
	assert_int_equal(map_memory(&dma, 0x32000, PAGE, 0), 0);
	messages = 0;
	assert_true(dma_write(&dma, at(0x30800), out, PAGE));
	assert_int_equal(messages, 1);
	assert_int_equal(message_bus, 0x30800);
	assert_int_equal(message_bytes, PAGE);
	assert_true(dma_write(&dma, at(0x31fff), out, 3));
	assert_int_equal(messages, 2);
	assert_int_equal(message_bytes, 1);
	assert_memory_equal(memory, out + 1, 2);
	assert_int_equal(faults(), 2);
	dma_unmap_all(&dma);
}

/* The bus is the client's: what is in no window is its to reach. */
static void the_whole_bus(void **state)
{
	struct dma dma = fresh();
	struct dma_region region;
	uint8_t bytes[64] = {7};

	assert_false(dma_resolve(&dma, at(0xfe002000), 4, DMA_WRITE, &region));
	dma.whole_bus = true;
	assert_int_equal(map_memory(&dma, 0x10000, PAGE, 0), 0);
	assert_int_equal(map(&dma, 0x20000, PAGE, DMA_READ, VFU_WINDOW_MEMORY, 5, 0), 0);
	assert_true(dma_resolve(&dma, at(0xfe002000), 4, DMA_WRITE, &region));
	assert_null(region.board);
	assert_true(dma_resolve(&dma, at(0x10000), 16, DMA_WRITE, &region));
	assert_ptr_equal(region.board, memory);
	messages = 0;
	assert_true(dma_write(&dma, at(0xfe002000), bytes, 4));
	assert_int_equal(message_bus, 0xfe002000);
	/* Beside a window: before it, in it, behind it. */
	assert_true(dma_write(&dma, at(0x0fff0), bytes, 64));
	assert_int_equal(message_bus, 0x0fff0);
	assert_int_equal(message_bytes, 16);
	assert_memory_equal(memory, bytes + 16, 48);
	assert_true(dma_write(&dma, at(0x10ff0), bytes, 64));
	assert_int_equal(message_bus, 0x11000);
	assert_int_equal(message_bytes, 48);
	assert_int_equal(dma_read(&dma, at(0x7000), bytes, 64), DMA_DONE);
	assert_int_equal(messages, 4);
	/* A window's permission holds, and addresses end. */
	assert_false(dma_write(&dma, at(0x20000), bytes, 4));
	assert_false(dma_write(&dma, at(-(uint64_t)4), bytes, 8));
	assert_true(dma_write(&dma, at(-(uint64_t)8), bytes, 8));
	dma.enabled = false;
	assert_false(dma_write(&dma, at(0x7000), bytes, 4));
	assert_int_equal(faults(), 3);
	dma_unmap_all(&dma);
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
		cmocka_unit_test(accesses_lie_inside_windows),
		cmocka_unit_test(windows_join),
		cmocka_unit_test(the_whole_bus),
		cmocka_unit_test(doorbells),
		cmocka_unit_test(windows_by_message),
		cmocka_unit_test(many_windows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
