/* SPDX-License-Identifier: BSD-3-Clause */
/* The soft NIC's board (softnic/soft_board.h): frames with heads of any length, as one would write
 * them byte by byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "softnic/soft_board.h"

#define FRAME_MAX 400u
#define SLACK     64u /* one more than may be overwritten */

static uint8_t target[64 + FRAME_MAX + SLACK];

/* A window that is messages: the frame arrives in one, and is as long as it is. */
bool dma_write(struct dma *dma, struct bus_addr bus, const void *data, size_t bytes)
{
	memcpy(target + bus.value, data, bytes);
	return true;
}

enum dma_status dma_read(struct dma *dma, struct bus_addr bus, void *data, size_t bytes)
{
	fail();
	return DMA_FAULT;
}

bool dma_resolve(struct dma *dma, struct bus_addr bus, uint64_t bytes, unsigned access,
	struct dma_region *region)
{
	fail();
	return false;
}

int vfu_interrupt(struct vfu *vfu, unsigned vector)
{
	fail();
	return 0;
}

static void writes(bool in_memory, uint32_t head_bytes, uint32_t length, unsigned behind)
{
	struct board board = {0};
	struct dma_region region = {.board = in_memory ? target : NULL, .bytes = sizeof(target)};
	/* What comes before the rest is not read: a frame may grow beyond its begin. */
	static uint8_t frame[FRAME_MAX + SLACK], head[FRAME_MAX];

	for (unsigned k = 0; k < sizeof(frame); k++)
		frame[k] = (uint8_t)(k * 7 + 1);
	for (unsigned k = 0; k < sizeof(head); k++)
		head[k] = (uint8_t)(k * 5 + 128);
	memset(target, 0xee, sizeof(target));
	if (head_bytes == FRAME_HEAD_BYTES)
		board_dma_write_frame(&board, &region, 64, head, FRAME_HEAD_BYTES, frame, length);
	else
		board_dma_write_frame(
			&board, &region, 64, head_bytes ? head : NULL, head_bytes, frame, length);
	for (unsigned k = 0; k < length; k++)
		assert_int_equal(target[64 + k], k < head_bytes ? head[k] : frame[k]);
	for (unsigned k = 0; k < 64; k++)
		assert_int_equal(target[k], 0xee);
	for (unsigned k = 64 + length + behind; k < sizeof(target); k++)
		assert_int_equal(target[k], 0xee);
}

static void a_head_of_any_length(void **state)
{
	for (uint32_t length = P2PNIC_FRAME_BYTES_MIN; length <= FRAME_MAX; length++)
		for (uint32_t head = 0; head <= length; head++) {
			writes(true, head, length, 63);
			writes(false, head, length, 0);
		}
}

static void a_frame_that_ends_within_its_head(void **state)
{
	for (uint32_t length = P2PNIC_FRAME_BYTES_MIN; length < FRAME_HEAD_BYTES; length++) {
		writes(true, FRAME_HEAD_BYTES, length, 63);
		writes(false, FRAME_HEAD_BYTES, length, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_head_of_any_length),
		cmocka_unit_test(a_frame_that_ends_within_its_head),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
