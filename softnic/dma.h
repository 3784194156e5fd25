/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The DMA engine of a soft NIC: bus addresses, through windows, to memory.
 *
 * A window is a range of bus addresses that the driver mapped (vfio-user DMA_MAP). It is memory
 * that this process maps too, or a doorbell (an eventfd), or nothing the NIC can map: then each
 * access travels to the driver as a message. An access that does not lie in windows with the right
 * permission is a counted fault and goes nowhere. Windows that touch are as good as one: an IOMMU
 * hands a region out in pieces.
 *
 * The firmware resolves a range once, when a pair is opened, and gets a pointer if all of it is
 * memory in one piece here; everything else is looked up at each access. Windows change only while
 * the engine is parked, after which the firmware resolves again, so no pointer outlives its window.
 */
#ifndef SOFTNIC_DMA_H
#define SOFTNIC_DMA_H

#include <p2pnic/counters.h>

#include "firmware/dma_region.h"
#include "softnic/mapping.h"
#include "softnic/vfio_user.h"

struct dma_window {
	uint64_t bus;
	uint64_t bytes;
	uint32_t access; /* VFU_READ | VFU_WRITE */
	enum vfu_window_kind kind;
	uint8_t *memory; /* VFU_WINDOW_MEMORY */
	struct mapping *mapping;
	int eventfd; /* VFU_WINDOW_DOORBELL: own duplicate */
};

struct dma {
	struct dma_window *window; /* by bus address; disjoint */
	unsigned windows, capacity;
	/* Addresses in no window are reached by messages: the client puts them on its bus. Without
	 * it they are faults. */
	bool whole_bus;
	/* Bus Master Enable in the command register; without it every access is a fault. */
	bool enabled;
	/* A posted write found no room and was lost. What comes after it would announce what never
	 * arrived, so no message is written any more until the NIC has closed the pairs that need
	 * them, and clears this. Engine's. */
	bool lost;
	struct vfu *vfu; /* for message windows */
	struct p2pnic_counters *counters;
};

/* Control thread, engine parked. 0 or -errno. */
int dma_map(struct dma *, const struct vfu_window *);
/* All windows in the range, which cuts none. */
void dma_unmap(struct dma *, struct bus_addr bus, uint64_t bytes);
void dma_unmap_all(struct dma *);

/* Engine. `access`: DMA_READ, DMA_WRITE. region->board is the memory, or NULL if it is not all
 * memory in one piece. */
bool dma_resolve(struct dma *, struct bus_addr bus, uint64_t bytes, unsigned access,
	struct dma_region *region);

/* Any kind of window, looked up now; a fault, or a lost write, is counted. */
bool dma_write(struct dma *, struct bus_addr bus, const void *data, size_t bytes);
enum dma_status dma_read(struct dma *, struct bus_addr bus, void *data, size_t bytes);

#endif
