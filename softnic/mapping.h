/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Memory that several NICs of this process share: one mapping per file, however many windows lie on
 * it.
 *
 * A peer's BAR is a memfd that arrives once for each window. Mapping it once keeps the address
 * space and the TLB small, and lets two NICs of one process use one virtual address for the same
 * line (some first-level caches predict the way from the virtual address and miss on the second
 * name).
 *
 * Control thread only. The file must be sealed against shrinking (vfio_user/descriptor.h).
 */
#ifndef SOFTNIC_MAPPING_H
#define SOFTNIC_MAPPING_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct mapping {
	uint8_t *memory;
	uint64_t bytes; /* the whole file */
	int fd;         /* own */
	bool writable;
	unsigned references;
	dev_t device;
	ino_t inode;
	struct mapping *next;
};

/* Maps all of fd, or takes the mapping that exists. The descriptor may be closed afterwards. */
int mapping_get(struct mapping **, int fd, bool writable);
void mapping_put(struct mapping *);
/* The one that holds this address, or NULL. */
struct mapping *mapping_at(const void *address);

/* A new memfd of that size, zeroed, sealed against shrinking and growing; huge pages where they are
 * to be had. Returns the descriptor or -errno. */
int memory_create(const char *name, uint64_t bytes);

#endif
