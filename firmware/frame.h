/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef P2PNIC_FRAME_H
#define P2PNIC_FRAME_H

#include <stdint.h>

/* A received frame, in the port's memory: from the destination MAC on, without FCS. */
struct frame {
	uint8_t *data;
	uint32_t length;
};

#endif
