/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A burst on its way through the ingress: arrays, one for each thing that the next loop reads.
 */
#ifndef P2PNIC_FIRMWARE_BURST_H
#define P2PNIC_FIRMWARE_BURST_H

#include "board.h"
#include "fib.h"

#define BURST_GROUP 16u /* frames that are checked together where the processor can */

struct burst {
	struct frame frame[P2PNIC_BURST_MAX] __attribute__((aligned(64)));
	struct frame_head head[P2PNIC_BURST_MAX]; /* as received; once it is queued, as sent */
	uint32_t length[P2PNIC_BURST_MAX];        /* of packets to look up, with Ethernet header */

	/* IPv4 and IPv6 packets to look up: their frame, destination and next hop. A group is stored whole,
	 * wherever it begins. */
	uint32_t address4[P2PNIC_BURST_MAX + BURST_GROUP] __attribute__((aligned(64)));
	struct fib_ipv6 address6[P2PNIC_BURST_MAX];
	uint16_t hop4[P2PNIC_BURST_MAX], hop6[P2PNIC_BURST_MAX];
	uint8_t kept4[P2PNIC_BURST_MAX + BURST_GROUP], kept6[P2PNIC_BURST_MAX];
	unsigned n4, n6;

	/* Frames by egress, in order. */
	uint8_t queue[P2PNIC_NICS_MAX][P2PNIC_BURST_MAX];
	uint8_t queued[P2PNIC_NICS_MAX];
	uint8_t egress[P2PNIC_NICS_MAX + 1]; /* that have any */
	unsigned egresses;
};

#endif
