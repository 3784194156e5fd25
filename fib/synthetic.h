/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A routing table of the Internet's shape, for machines that have no real one.
 *
 * It has the prefix-length histogram of the tables of 2026-03 (1,168,945 IPv4 and 279,855 IPv6
 * prefixes), and what decides a compiled table's size: nesting (prefixes inside announced ones),
 * clustering (some blocks are announced in hundreds of small pieces, most in few), and neighbours
 * that leave by the same next hop because one AS holds them. The same seed gives the same table
 * everywhere.
 */
#ifndef P2PNIC_FIB_SYNTHETIC_H
#define P2PNIC_FIB_SYNTHETIC_H

#include "route_file.h"

/* Adds both families to *table (begin with {0}), sorted. 0, -ENOMEM, or -ENOSPC: too many next
 * hops. */
int synthetic_table(struct route_table *table, unsigned next_hops, uint64_t seed);

#endif
