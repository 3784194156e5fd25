/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A kernel's VFIO in this process: /dev/vfio/… and its requests, for what links vfio_fake.c with
 * --wrap=ioctl and --wrap=open64. It judges requests as linux/vfio.h and the type 1 IOMMU of Linux
 * do. A device's descriptor is a memfd with all regions, so pread, pwrite and mmap need no wrap.
 *
 *     fake_begin()                          two functions in fake.tree, IOMMU groups 10, 11
 *     fake.function[0].vectors = 0; …       other than usual
 *     fake_fail(VFIO_GROUP_GET_STATUS, EIO) the next such request fails
 *     device_open(&device, fake_where(0), …)
 *     fake_end()                            no descriptor may be left
 */
#ifndef TESTS_VFIO_FAKE_H
#define TESTS_VFIO_FAKE_H

#include "driver/device.h"
#include "tests/unit/pci_tree.h"

#define FAKE_FUNCTIONS     2u
#define FAKE_WINDOWS       32u
#define FAKE_AREAS         4u
#define FAKE_REGION_OFFSET (1ull << 28) /* of region k in the descriptor: k times that */

struct fake_window {
	uint64_t iova, bytes, vaddr;
	uint32_t flags;
};

struct fake_function {
	int memory;
	uint32_t flags; /* of VFIO_DEVICE_GET_INFO */
	uint64_t bytes[DEVICE_REGIONS];
	uint32_t region_flags[DEVICE_REGIONS];
	struct device_area area[DEVICE_REGIONS][FAKE_AREAS];
	unsigned areas[DEVICE_REGIONS]; /* 0: no capability; the whole region */
	bool msix_mappable;             /* as Linux says of a BAR with the MSI-X table: BAR0 here */
	bool long_answer;               /* about regions: more than the asker has room for */
	uint32_t vectors;
	bool viable, busy; /* its group */

	/* Its container, from VFIO_GROUP_SET_CONTAINER on. */
	struct fake_window window[FAKE_WINDOWS];
	unsigned windows, windows_max;
	struct device_range range[DEVICE_RANGES_MAX];
	unsigned ranges;

	uint32_t armed; /* MSI-X vectors with an eventfd */
	int vector[8];
	unsigned resets;
};

struct fake {
	struct tree tree;
	struct fake_function function[FAKE_FUNCTIONS];
	int version;
	bool type1;
	unsigned calls, failing; /* opens and requests since fake_count; which of them fails */
	int error;               /* of that, or of fake_fail */
	unsigned long request;   /* of fake_fail; 0: none */
	/* Told of each request to a container or device that succeeded; NULL: nobody is. */
	void (*told)(unsigned function, unsigned long request, const void *argument);
};

extern struct fake fake;

void fake_begin(void);
void fake_end(void);
const char *fake_where(unsigned function);
const char *fake_address(unsigned function);

/* The next request of that kind fails; FAKE_OPEN: the next open of a file in /dev/vfio. */
#define FAKE_OPEN 1ul
void fake_fail(unsigned long request, int error);
/* Counts anew; call `failing` fails. */
void fake_count(unsigned failing, int error);

/* A register of BAR0. */
void fake_set_register(unsigned function, unsigned reg, uint32_t value);
uint32_t fake_get_register(unsigned function, unsigned reg);

#endif
