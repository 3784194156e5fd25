/* SPDX-License-Identifier: BSD-3-Clause */
#include "bench/loop_port.h"

static unsigned loop_receive(void *port, struct frame *frames, unsigned max)
{
	struct loop_port *p = port;

	if (p->off)
		return 0;
	for (unsigned k = 0; k < max; k++)
		frames[k] = (struct frame){
			p->memory + p->buffer[(p->next + k) % LOOP_FRAMES], p->length};
	p->burst = max;
	return max;
}

static void loop_keep(void *port, const uint8_t *frame, unsigned n, uint32_t *at)
{
	struct loop_port *p = port;

	for (unsigned i = 0; i < n; i++) {
		uint32_t *mine = &p->buffer[(p->next + frame[i]) % LOOP_FRAMES];
		uint32_t kept = *mine;

		__builtin_memcpy(p->memory + at[i], p->memory + kept, 128);
		*mine = at[i];
		at[i] = kept;
	}
}

static void loop_release(void *port)
{
	struct loop_port *p = port;

	p->next += p->burst;
}

static unsigned loop_transmit(void *port, const struct p2pnic_descriptor *frames, unsigned n)
{
	struct loop_port *p = port;

	p->sent += n;
	return n;
}

/* All memory is the same to it. */
static uint64_t loop_reachable(const void *port)
{
	return ~0ull;
}

static void loop_flush(void *port)
{
}

static unsigned loop_transmitted(void *port, uint64_t *failed)
{
	struct loop_port *p = port;
	unsigned n = p->sent;

	p->sent = 0;
	return n;
}

static bool loop_arm(void *port)
{
	return true;
}

static void loop_disarm(void *port)
{
}

static int loop_start(void *port, const uint32_t *buffers, unsigned n)
{
	struct loop_port *p = port;

	for (unsigned k = 0; k < LOOP_FRAMES; k++)
		p->buffer[k] = buffers[k];
	return LOOP_FRAMES;
}

const struct port_ops loop_port_ops = {
	.type = "loop",
	.bytes = sizeof(struct loop_port),
	.start = loop_start,
	.receive = loop_receive,
	.keep = loop_keep,
	.release = loop_release,
	.transmit = loop_transmit,
	.transmit_from = loop_transmit,
	.reachable = loop_reachable,
	.flush = loop_flush,
	.transmitted = loop_transmitted,
	.arm = loop_arm,
	.disarm = loop_disarm,
};
