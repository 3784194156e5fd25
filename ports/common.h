/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the port types share: options, and where a frame stands in its buffer.
 *
 * A received frame starts P2PNIC_HEADROOM bytes into its buffer. AF_XDP asks for that much in front
 * of a frame (XDP_PACKET_HEADROOM); the other types do likewise, and use the room to put back a
 * VLAN tag.
 */
#ifndef P2PNIC_PORTS_COMMON_H
#define P2PNIC_PORTS_COMMON_H

#include "ipc/error.h"
#include "port.h"

/* Whether the descriptor can be read from now. */
bool port_readable(int fd);

/* One "key=value" (or "key") of an option string. */
struct port_option {
	char key[32];
	char value[256]; /* "": no value */
};

/* Reads the next option from *cursor (NULL or "": none) and moves it on. 1: got one; 0: no more;
 * -EINVAL: malformed, sentence in error. */
int port_option_next(const char **cursor, struct port_option *option, struct error *error);

/* The value as a decimal number in [low, high], or -EINVAL with a sentence. */
int port_option_number(const struct port_option *option, unsigned low, unsigned high,
	unsigned *value, struct error *error);

/* The value as a switch: on, yes, 1 or none at all; off, no, 0. */
int port_option_switch(const struct port_option *option, bool *value, struct error *error);

/* -EINVAL and a sentence that names the option and those the type knows. */
int port_option_unknown(
	const char *type, const struct port_option *option, const char *known, struct error *error);

/* 0, or -EINVAL if the memory of the configuration is not whole buffers below 4 GiB, or a buffer
 * lies outside: what every type checks in open and start. */
int port_check_memory(const struct port_config *config, struct error *error);
int port_check_buffers(
	uint64_t memory_bytes, uint32_t buffer_bytes, const uint32_t *buffers, unsigned n);

/*
 * Whether a frame to be sent lies within one buffer of packet memory. The firmware has checked that
 * it lies in the sender's buffers; that it crosses no buffer's end is what AF_XDP asks besides (a
 * descriptor that does gets no completion), so the types refuse such a frame alike.
 */
static inline bool port_sendable(
	uint64_t memory_bytes, uint32_t buffer_bytes, const struct p2pnic_descriptor *frame)
{
	return (uint64_t)frame->offset + frame->length <= memory_bytes &&
	       (frame->offset & (buffer_bytes - 1)) + frame->length <= buffer_bytes &&
	       frame->length >= P2PNIC_FRAME_BYTES_MIN &&
	       frame->length <= P2PNIC_FRAME_BYTES_MAX(buffer_bytes);
}

/*
 * The memories that a port sends from which hands addresses to the kernel, or copies at once: any
 * that this process has mapped (port.h, reach). The first is packet memory.
 */
struct port_memories {
	uint8_t *base[PORT_MEMORIES];
	uint64_t bytes[PORT_MEMORIES]; /* 0: none of that number */
};

static inline void port_memories_init(struct port_memories *m, const struct port_config *config)
{
	m->base[0] = config->memory;
	m->bytes[0] = config->memory_bytes;
}

static inline unsigned port_memories_reach(
	struct port_memories *m, const struct port_memory *memory)
{
	unsigned k = 1;

	while (k < PORT_MEMORIES && m->bytes[k])
		k++;
	if (k == PORT_MEMORIES)
		return 0;
	m->base[k] = memory->base;
	m->bytes[k] = memory->bytes;
	return k;
}

/* port_sendable, whatever memory the frame is in. */
static inline bool port_memories_sendable(
	const struct port_memories *m, uint32_t buffer_bytes, const struct p2pnic_descriptor *frame)
{
	return frame->flags < PORT_MEMORIES &&
	       port_sendable(m->bytes[frame->flags], buffer_bytes, frame);
}

static inline uint8_t *port_memories_at(
	const struct port_memories *m, const struct p2pnic_descriptor *frame)
{
	return m->base[frame->flags] + frame->offset;
}

#endif
