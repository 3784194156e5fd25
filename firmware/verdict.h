/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a check finds: nothing against forwarding a packet, or a reason not to (p2pnic/counters.h).
 * Stages pass verdicts on; dispatch (ingress.c) alone acts on them.
 */
#ifndef P2PNIC_FIRMWARE_VERDICT_H
#define P2PNIC_FIRMWARE_VERDICT_H

#include <p2pnic/counters.h>

#include <stdint.h>

typedef uint8_t verdict;

#define VERDICT_FORWARD         0u
#define VERDICT(reason)         ((verdict)(1u + P2PNIC_DROP_##reason))
#define VERDICT_REASON(verdict) ((enum p2pnic_drop)((verdict)-1u))
_Static_assert(P2PNIC_DROP_COUNT < 255, "a verdict is one byte");

#endif
