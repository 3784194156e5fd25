/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A port without a wire, for measuring the firmware alone: it receives the same frames for ever and
 * is done at once with what it is given to send.
 */
#ifndef BENCH_LOOP_PORT_H
#define BENCH_LOOP_PORT_H

#include "ports/port.h"

#define LOOP_FRAMES 512u

struct loop_port {
	uint8_t *memory;
	uint32_t buffer[LOOP_FRAMES];
	uint32_t length;
	unsigned next, burst, sent;
	bool off;
};

extern const struct port_ops loop_port_ops;

#endif
