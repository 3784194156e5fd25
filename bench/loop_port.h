/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A port without a wire, for measuring the firmware alone: it receives the same frames for ever and is
 * done at once with what it is given to send.
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

static inline unsigned loop_receive(struct loop_port *p, struct frame *frames, unsigned max)
{
	if (p->off)
		return 0;
	for (unsigned k = 0; k < max; k++)
		frames[k] = (struct frame){
			p->memory + p->buffer[(p->next + k) % LOOP_FRAMES], p->length};
	p->burst = max;
	return max;
}

static inline uint32_t loop_keep(struct loop_port *p, unsigned k, uint32_t spare)
{
	uint32_t *mine = &p->buffer[(p->next + k) % LOOP_FRAMES];
	uint32_t kept = *mine;

	__builtin_memcpy(p->memory + spare, p->memory + kept, 128);
	*mine = spare;
	return kept;
}

static inline void loop_release(struct loop_port *p)
{
	p->next += p->burst;
}

static inline unsigned loop_transmit(
	struct loop_port *p, const struct p2pnic_descriptor *frames, unsigned n)
{
	p->sent += n;
	return n;
}

static inline void loop_flush(struct loop_port *p)
{
}

static inline unsigned loop_transmitted(struct loop_port *p, uint64_t *failed)
{
	unsigned n = p->sent;

	p->sent = 0;
	return n;
}

static inline bool loop_arm(struct loop_port *p)
{
	return true;
}

static inline void loop_disarm(struct loop_port *p)
{
}

extern const struct port_ops loop_port_ops;

#endif
