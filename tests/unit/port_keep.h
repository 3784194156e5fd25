/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef P2PNIC_TESTS_PORT_KEEP_H
#define P2PNIC_TESTS_PORT_KEEP_H

#include <ports/port.h>

/* Keeps one frame of the burst: where it is. */
static inline uint32_t rig_keep(
	const struct port_ops *ops, void *opaque, unsigned k, uint32_t spare)
{
	const uint8_t frame = (uint8_t)k;

	ops->keep(opaque, &frame, 1, &spare);
	return spare;
}

#endif
