/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Whether a NIC's table memory holds what the table says, byte by byte: images, words of next hops,
 * buckets, adjacencies, sources, and which half is in force. Part by part, as reading across PCIe
 * takes its time (about 1 us a word); commits may come between. A NIC's memory is only compared,
 * never followed: it may hold anything.
 */
#ifndef ROUTER_TABLE_CHECK_H
#define ROUTER_TABLE_CHECK_H

#include "router/table.h"

/* Of an image, in one step: 5 us of the host's memory, 8 ms across PCIe. */
#define TABLE_CHECK_BYTES (64u << 10)

/* Two copies of an image: as it should be, and as the NIC has it. NULL: no difference, or no
 * memory. */
struct table_check_image {
	uint64_t *right, *wrong;
	uint64_t bytes; /* the room of the image */
};

struct table_check {
	bool other_half;    /* another table is in force; the rest was not looked at */
	bool sources;       /* differ */
	uint64_t words[2];  /* of 8 bytes, in the IPv4 and the IPv6 image, that differ */
	unsigned next_hops; /* that do not lead where they should */
	bool wrong[TABLE_HALF_NEXT_HOPS]; /* these */
	struct table_check_image image[2];

	/* below: its own */
	unsigned part;
	uint64_t at;
};

/* The next step, from {0}, of a NIC that is in step and answers; false: that was all. mend: words
 * of images that differ are written; the rest is table_rewrite's. */
bool table_check_step(struct table_check *, const struct table *, struct driver_nic *, bool mend);
void table_check_free(struct table_check *);

#endif
