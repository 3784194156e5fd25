/* SPDX-License-Identifier: BSD-3-Clause */
#include "units.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define LINE 8u /* units in a line */

/* How far down a list is searched for a gap whose place in its line fits. */
#define SEARCH_MAX 8u

static void *pages(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

int units_open(struct units *units, uint32_t first, uint32_t end)
{
	memset(units, 0, sizeof *units);
	units->first = units->top = first;
	units->end = end;
	for (unsigned i = 0; i < UNITS_GAP_LISTS; i++)
		units->list[i] = UNITS_NONE;
	units->length = pages(end * sizeof *units->length);
	units->state = pages(end * sizeof *units->state);
	units->next = pages(end * sizeof *units->next);
	units->previous = pages(end * sizeof *units->previous);
	if (units->length && units->state && units->next && units->previous)
		return 0;
	units_close(units);
	return -ENOMEM;
}

void units_close(struct units *units)
{
	if (units->length)
		munmap(units->length, units->end * sizeof *units->length);
	if (units->state)
		munmap(units->state, units->end * sizeof *units->state);
	if (units->next)
		munmap(units->next, units->end * sizeof *units->next);
	if (units->previous)
		munmap(units->previous, units->end * sizeof *units->previous);
	free(units->waiting);
	memset(units, 0, sizeof *units);
}

/* A gap longer than 16 bits can count is kept as several: nothing asks for such a block. */
#define GAP_MAX 0xfff8u

static unsigned list_of(uint32_t length)
{
	return length < UNITS_GAP_LISTS ? length : UNITS_GAP_LISTS - 1;
}

static void gap_insert(struct units *units, uint32_t start, uint32_t length)
{
	unsigned list = list_of(length);

	units->length[start] = units->length[start + length - 1] = (uint16_t)length;
	units->previous[start] = UNITS_NONE;
	units->next[start] = units->list[list];
	if (units->list[list] != UNITS_NONE)
		units->previous[units->list[list]] = start;
	units->list[list] = start;
	units->lists[list / 64] |= 1ull << list % 64;
	units->free += length;
}

static void gap_remove(struct units *units, uint32_t start)
{
	uint32_t length = units->length[start];
	unsigned list = list_of(length);
	uint32_t next = units->next[start], previous = units->previous[start];

	if (next != UNITS_NONE)
		units->previous[next] = previous;
	if (previous != UNITS_NONE)
		units->next[previous] = next;
	else
		units->list[list] = next;
	if (units->list[list] == UNITS_NONE)
		units->lists[list / 64] &= ~(1ull << list % 64);
	units->free -= length;
}

/* Where in [start, start + length) `count` units with an unbroken head fit; or UNITS_NONE. */
static uint32_t place(uint32_t start, uint32_t length, uint32_t count, uint32_t head)
{
	uint32_t at = start;

	if (at % LINE + head > LINE)
		at = (at + LINE - 1) / LINE * LINE;
	return at - start + count <= length ? at : UNITS_NONE;
}

static void block_make(struct units *units, uint32_t at, uint32_t count, uint32_t owner)
{
	units->state[at] = UNITS_START;
	memset(units->state + at + 1, UNITS_USED, count - 1);
	units->length[at] = (uint16_t)count;
	units->next[at] = owner;
	units->used += count;
}

static uint32_t allocate_from(
	struct units *units, unsigned list, uint32_t count, uint32_t head, uint32_t owner)
{
	unsigned searched = 0;

	for (uint32_t gap = units->list[list]; gap != UNITS_NONE && searched < SEARCH_MAX;
		gap = units->next[gap], searched++) {
		uint32_t length = units->length[gap];
		uint32_t at = place(gap, length, count, head);

		if (at == UNITS_NONE)
			continue;
		gap_remove(units, gap);
		if (at > gap)
			gap_insert(units, gap, at - gap);
		if (gap + length > at + count)
			gap_insert(units, at + count, gap + length - at - count);
		block_make(units, at, count, owner);
		return at;
	}
	return UNITS_NONE;
}

uint32_t units_allocate(struct units *units, uint32_t count, uint32_t head, uint32_t owner)
{
	uint32_t at;

	for (unsigned word = count / 64; word < UNITS_GAP_LISTS / 64; word++) {
		uint64_t lists = units->lists[word];

		if (word == count / 64)
			lists &= ~0ull << count % 64;
		for (; lists; lists &= lists - 1) {
			unsigned list = 64 * word + (unsigned)__builtin_ctzll(lists);

			at = allocate_from(units, list, count, head, owner);
			if (at != UNITS_NONE)
				return at;
		}
	}
	at = place(units->top, UINT32_MAX - units->top, count, head);
	if ((uint64_t)at + count > units->end)
		return UNITS_NONE;
	if (at > units->top) {
		uint32_t gap = units->top;

		units->top = at;
		gap_insert(units, gap, at - gap);
	}
	units->top = at + count;
	block_make(units, at, count, owner);
	return at;
}

uint32_t units_largest_gap(const struct units *units)
{
	for (unsigned word = UNITS_GAP_LISTS / 64; word--;)
		if (units->lists[word])
			return units->list[64 * word + 63 -
					   (unsigned)__builtin_clzll(units->lists[word])];
	return UNITS_NONE;
}

static void free_units(struct units *units, uint32_t start, uint32_t length)
{
	memset(units->state + start, UNITS_FREE, length);
	if (start > units->first && units->state[start - 1] == UNITS_FREE &&
		units->length[start - 1] + length <= GAP_MAX) {
		uint32_t before = units->length[start - 1];

		start -= before;
		length += before;
		gap_remove(units, start);
	}
	if (start + length < units->top && units->state[start + length] == UNITS_FREE &&
		units->length[start + length] + length <= GAP_MAX) {
		gap_remove(units, start + length);
		length += units->length[start + length];
	}
	if (start + length < units->top) {
		gap_insert(units, start, length);
		return;
	}
	units->top = start;
	while (units->top > units->first && units->state[units->top - 1] == UNITS_FREE) {
		uint32_t gap = units->top - units->length[units->top - 1];

		gap_remove(units, gap);
		units->top = gap;
	}
}

void units_release(struct units *units, uint32_t unit)
{
	uint32_t length = units->length[unit];

	units->used -= length;
	free_units(units, unit, length);
}

bool units_reserve(struct units *units, size_t blocks)
{
	size_t waiting = units->waiting_end - units->waiting_first, room = units->waiting_room;
	struct units_waiting *larger;

	if (units->waiting_end + blocks <= room)
		return true;
	if (units->waiting_first) {
		if (waiting)
			memmove(units->waiting, units->waiting + units->waiting_first,
				waiting * sizeof *units->waiting);
		units->waiting_first = 0;
		units->waiting_end = waiting;
	}
	if (waiting + blocks <= room)
		return true;
	room = room ? room : 64;
	while (room < waiting + blocks)
		room *= 2;
	larger = realloc(units->waiting, room * sizeof *larger);
	if (!larger)
		return false;
	units->waiting = larger;
	units->waiting_room = room;
	return true;
}

void units_park(struct units *units, uint32_t unit, uint64_t epoch)
{
	units->state[unit] = UNITS_PARKED;
	units->used -= units->length[unit];
	units->parked += units->length[unit];
	units->waiting[units->waiting_end++] = (struct units_waiting){epoch, unit};
}

void units_epoch_passed(struct units *units, uint64_t epoch)
{
	while (units->waiting_first < units->waiting_end &&
		units->waiting[units->waiting_first].epoch <= epoch) {
		uint32_t unit = units->waiting[units->waiting_first++].unit;
		uint32_t length = units->length[unit];

		units->parked -= length;
		free_units(units, unit, length);
	}
}
