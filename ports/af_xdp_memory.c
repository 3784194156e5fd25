/* SPDX-License-Identifier: BSD-3-Clause */
#include "af_xdp_memory.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define HUGE_BYTES (2ull << 20) /* memories in huge pages are mapped at multiples of it */

unsigned af_xdp_reach(void *opaque, const struct port_memory *memory)
{
	struct af_xdp_port *port = opaque;
	unsigned k = 1;

	if (!memory->bytes || memory->bytes % port->buffer_bytes ||
		memory->bytes % AF_XDP_CHUNK_BYTES)
		return 0;
	while (k < PORT_MEMORIES && port->reached[k].bytes)
		k++;
	if (k == PORT_MEMORIES)
		return 0;
	port->reached[k] = *memory;
	return k;
}

uint64_t af_xdp_reachable(const void *opaque)
{
	const struct af_xdp_port *port = opaque;

	return port->reachable;
}

void af_xdp_leave(void *opaque, unsigned memory)
{
	struct af_xdp_port *port = opaque;

	port->reached[memory].bytes = 0;
	port->bytes[memory] = 0;
	port->reachable &= ~(1ull << memory);
	port->tried &= ~(1ull << memory);
}

bool af_xdp_memories_late(const struct af_xdp_port *port)
{
	for (unsigned k = 1; k < PORT_MEMORIES; k++)
		if (port->reached[k].bytes && !(port->tried >> k & 1))
			return true;
	return false;
}

/* Maps a memory at that place of the range. */
static bool map_at(struct af_xdp_port *port, unsigned k, uint64_t at)
{
	const struct port_memory *m = &port->reached[k];
	void *place = port->range + at;

	if (mmap(place, m->bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, m->fd, 0) ==
		MAP_FAILED)
		return false;
	madvise(place, m->bytes, MADV_HUGEPAGE); /* a wish */
	port->at[k] = at;
	port->bytes[k] = m->bytes;
	port->reachable |= 1ull << k;
	return true;
}

/* `newest` has an entry for each buffer of the range; those of packet memory stay. */
static int grow_newest(struct af_xdp_port *port, uint64_t range_bytes)
{
	const uint64_t had = port->newest_count, count = range_bytes >> port->buffer_shift;
	uint16_t *newest;

	if (count <= had)
		return 0;
	newest = realloc(port->newest, count * sizeof(*newest));
	if (!newest)
		return -ENOMEM;
	memset(newest + had, 0, (count - had) * sizeof(*newest));
	port->newest = newest;
	port->newest_count = count;
	return 0;
}

/* The first of the reserved addresses that are a multiple of HUGE_BYTES; the ends are given back.
 */
static uint8_t *reserve(uint64_t bytes)
{
	uint8_t *all = mmap(NULL, bytes + HUGE_BYTES, PROT_NONE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	uint64_t before;

	if (all == MAP_FAILED)
		return NULL;
	before = -(uintptr_t)all % HUGE_BYTES;
	if (before)
		munmap(all, before);
	if (before < HUGE_BYTES)
		munmap(all + before + bytes, HUGE_BYTES - before);
	return all + before;
}

int af_xdp_map_range(struct af_xdp_port *port, bool others)
{
	uint64_t all = 0, end = 0;

	port->reachable = 1;
	port->tried = 0;
	memset(port->bytes, 0, sizeof(port->bytes));
	for (unsigned k = 0; k < PORT_MEMORIES; k++) {
		all += port->reached[k].bytes;
		port->tried |= (uint64_t)(port->reached[k].bytes != 0) << k;
	}
	if (!others || port->tried == 1) {
		port->range = port->reached[0].base;
		port->range_bytes = port->bytes[0] = port->reached[0].bytes;
		return grow_newest(port, port->range_bytes);
	}
	port->range = grow_newest(port, all) ? NULL : reserve(all);
	if (!port->range)
		return -ENOMEM;
	port->reserved = all;
	for (unsigned k = 0; k < PORT_MEMORIES; k++)
		if (port->reached[k].bytes && map_at(port, k, end))
			end += port->reached[k].bytes;
	port->range_bytes = end;
	if (port->bytes[0])
		return 0;
	af_xdp_unmap_range(port);
	return -ENOMEM;
}

void af_xdp_unmap_range(struct af_xdp_port *port)
{
	if (port->reserved)
		munmap(port->range, port->reserved);
	port->reserved = 0;
	port->range = NULL;
	port->reachable = 1;
}
