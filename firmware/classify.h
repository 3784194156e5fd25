/* SPDX-License-Identifier: BSD-3-Clause */
/* What may be looked up, and what not: frame by frame, in the order of arrival. */
#ifndef P2PNIC_FIRMWARE_CLASSIFY_H
#define P2PNIC_FIRMWARE_CLASSIFY_H

#include "nic.h"

struct burst;

/* Frames [k, end): each stands in the burst as to be looked up, or has a verdict. */
void classify_frames(const struct nic *, struct burst *, unsigned k, unsigned end);

/* The same, eight at a time; where x86_has_avx2. */
#ifdef __x86_64__
void classify_avx2(const struct nic *, struct burst *, unsigned k, unsigned end);
#endif

#endif
