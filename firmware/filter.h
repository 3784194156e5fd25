/* SPDX-License-Identifier: BSD-3-Clause */
/* Programs of the BSD packet filter (p2pnic/capture.h), over frames. */
#ifndef P2PNIC_FIRMWARE_FILTER_H
#define P2PNIC_FIRMWARE_FILTER_H

#include <p2pnic/capture.h>

#include <stdbool.h>

#include "frame.h"

/* Can it be run? It has 1 to P2PNIC_CAPTURE_FILTER_MAX instructions that there are, jumps lead to
 * one of them, words of memory are among the sixteen, no constant is divided by or shifted by that
 * must not be, and the last instruction returns. */
bool filter_valid(const struct p2pnic_instruction *, uint32_t instructions);

/* Runs a program that is valid over up to P2PNIC_BURST_MAX frames: a bit for each for which it
 * returns something else than 0. A load from beyond the frame, or a division by 0, returns 0. */
uint64_t filter_run(
	const struct p2pnic_instruction *, uint32_t instructions, const struct frame *, unsigned n);

#endif
