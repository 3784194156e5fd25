/* SPDX-License-Identifier: BSD-3-Clause */
/* The host's clock: monotonic, the same for all processes of a machine. Not for each packet: a call
 * costs as much. */
#ifndef IPC_CLOCK_H
#define IPC_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline uint64_t clock_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static inline int64_t clock_now_ms(void)
{
	return (int64_t)(clock_now_ns() / 1000000u);
}

static inline double clock_now_seconds(void)
{
	return (double)clock_now_ns() * 1e-9;
}

#endif
