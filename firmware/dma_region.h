/* SPDX-License-Identifier: BSD-3-Clause */
/* What a DMA engine reaches, found once and then used with offsets (board.h). */
#ifndef P2PNIC_FIRMWARE_DMA_REGION_H
#define P2PNIC_FIRMWARE_DMA_REGION_H

#include <p2pnic/types.h>

/* Of a region: `bytes` is 0 if it is not mapped; `board` is the board's own (soft NIC: a
 * pointer). */
struct dma_region {
	struct bus_addr bus;
	uint64_t bytes;
	void *board;
};

#define DMA_READ  1u
#define DMA_WRITE 2u

/* Of a read: done; under way, ask again with the same arguments; it cannot be done. */
enum dma_status { DMA_DONE, DMA_LATER, DMA_FAULT };

#endif
