/* SPDX-License-Identifier: BSD-3-Clause */
#include "buffers.h"

#include <string.h>

int port_buffers_start(struct port_buffers *own, uint64_t memory_bytes, uint32_t buffer_bytes,
	const uint32_t *buffers, unsigned n)
{
	if (n > P2PNIC_BURST_MAX)
		n = P2PNIC_BURST_MAX;
	int code = port_check_buffers(memory_bytes, buffer_bytes, buffers, n);
	if (code)
		return code;
	memcpy(own->buffer, buffers, n * sizeof(*buffers));
	own->count = n;
	return (int)n;
}

unsigned port_buffers_stop(struct port_buffers *own, uint32_t *buffers)
{
	unsigned n = own->count;

	memcpy(buffers, own->buffer, n * sizeof(*buffers));
	own->count = 0;
	return n;
}
