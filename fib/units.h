/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Space in an image, in units of 8 bytes: who has which, what is free, what waits for an epoch.
 *
 * Free stretches ("gaps") are kept in lists by length, neighbours joined. An allocation takes the
 * shortest gap that holds it, so the small nodes fill what the large ones leave; only when no gap
 * fits does the image grow at its end. `head` units of a block may not cross a line of 64 bytes:
 * what a lookup compares in one register.
 *
 * A block that is freed while readers may still be in it waits in a queue until its epoch has
 * passed.
 */
#ifndef P2PNIC_FIB_UNITS_H
#define P2PNIC_FIB_UNITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define UNITS_NONE      UINT32_MAX
#define UNITS_GAP_LISTS 192u /* one for each length; the last holds all from 191 on */
#define UNITS_BLOCK_MAX 180u /* whatever its head, it fits a gap of the last list */

struct units_waiting {
	uint64_t epoch;
	uint32_t unit;
};

struct units {
	uint32_t first;  /* units below are not ours */
	uint32_t end;    /* units from here on do not exist */
	uint32_t top;    /* end of the last block or gap; beyond lies nothing */
	uint32_t used;   /* units in blocks */
	uint32_t free;   /* units in gaps below top */
	uint32_t parked; /* units that wait for an epoch; not in `used` */
	uint32_t list[UNITS_GAP_LISTS];
	uint64_t lists[UNITS_GAP_LISTS / 64]; /* bit n: list[n] is not empty */
	/* By unit. At both ends of a gap: its length. At a block's first unit: its length. */
	uint16_t *length;
	uint8_t *state; /* enum units_state */
	uint32_t *next,
		*previous; /* of a gap's first unit; of a block's first unit: next is its owner */
	struct units_waiting *waiting;
	size_t waiting_first, waiting_end, waiting_room;
};

enum units_state {
	UNITS_FREE = 0,
	UNITS_USED = 1,   /* inside a block */
	UNITS_START = 2,  /* first unit of a block */
	UNITS_PARKED = 3, /* first unit of a block that waits */
};

/* 0 or -ENOMEM. */
int units_open(struct units *units, uint32_t first, uint32_t end);
void units_close(struct units *units);

/* The first unit of a new block of `count`, or UNITS_NONE. */
uint32_t units_allocate(struct units *units, uint32_t count, uint32_t head, uint32_t owner);

/* Where a gap of the longest kind begins, or UNITS_NONE. */
uint32_t units_largest_gap(const struct units *units);

/* At once: nobody can have seen it. */
void units_release(struct units *units, uint32_t unit);

/* After `epoch`; false: no memory to remember it. Reserve first to be sure. */
bool units_reserve(struct units *units, size_t blocks);
void units_park(struct units *units, uint32_t unit, uint64_t epoch);
void units_epoch_passed(struct units *units, uint64_t epoch);

static inline uint32_t units_owner(const struct units *units, uint32_t unit)
{
	return units->next[unit];
}

static inline void units_set_owner(struct units *units, uint32_t unit, uint32_t owner)
{
	units->next[unit] = owner;
}

#endif
