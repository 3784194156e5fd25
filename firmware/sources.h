/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * IPv4 addresses that are no source of a packet to be forwarded (struct p2pnic_sources): is an
 * address one of them?
 *
 * A hash table of 32 columns; its rows are as many as the fullest column needs. The factor of the
 * hash is tried out when the list is taken, until there is one row, or as few as can be had. Up to
 * some sixteen addresses have one row: a vector register (two of sixteen words) holds it, and
 * sixteen packets are looked up by one multiplication, one permutation and one compare
 * (kernel_avx512.c). Exact: no packet that passes needs a second look.
 *
 * An empty place holds 0. As an address that is 0.0.0.0, which is no source of a forwarded packet
 * either.
 */
#ifndef P2PNIC_FIRMWARE_SOURCES_H
#define P2PNIC_FIRMWARE_SOURCES_H

#include <p2pnic/limits.h>
#include <p2pnic/types.h>

#define SOURCES_COLUMNS_LOG2 5u
#define SOURCES_COLUMNS      (1u << SOURCES_COLUMNS_LOG2)
#define SOURCES_ROWS_MAX     128u

struct sources {
	uint32_t row[SOURCES_ROWS_MAX][SOURCES_COLUMNS];
	uint32_t rows;
	uint32_t factor;
};

static inline uint32_t sources_column(uint32_t factor, be32 address)
{
	return address * factor >> (32 - SOURCES_COLUMNS_LOG2);
}

static inline bool sources_has(const struct sources *s, be32 address)
{
	uint32_t column = sources_column(s->factor, address);

	for (uint32_t r = 0; r < s->rows; r++)
		if (s->row[r][column] == address)
			return true;
	return false;
}

#endif
