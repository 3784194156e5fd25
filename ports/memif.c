/* SPDX-License-Identifier: BSD-3-Clause */
#include "memif.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define STOP_WAIT_MS 10

/* --- Buffers, as client -------------------------------------------------------------------------- */

static void post_spares(struct memif_port *port)
{
	struct memif_queue *q = &port->link.receive;
	unsigned room = q->mask + 1u - (uint16_t)(q->head - q->tail);

	while (port->spares && room--) {
		uint32_t buffer = port->spare[--port->spares];

		memif_post(port, q->head, buffer);
		q->head++;
	}
	atomic_store_explicit(&q->ring->head, q->head, memory_order_release);
}

/*
 * The connection is gone or about to go: every posted buffer is this side's again, every frame in
 * flight has failed. `head` and `tail` are this side's own indices, taken before the rings went.
 */
static void reclaim(
	struct memif_port *port, uint16_t head, uint16_t tail, uint16_t mask, uint16_t send_head)
{
	for (; tail != head; tail++)
		port->spare[port->spares++] = port->posted[tail & mask];
	uint16_t lost = (uint16_t)(send_head - port->reported);
	port->done += lost;
	port->failed += lost;
	port->reported = 0;
}

static void memif_service(void *opaque)
{
	struct memif_port *port = opaque;
	struct memif_link *link = &port->link;
	uint16_t head = link->receive.head, tail = link->receive.tail, mask = link->receive.mask;
	uint16_t send_head = link->send.head;

	switch (memif_link_service(link)) {
	case MEMIF_NOTHING:
		break;
	case MEMIF_UP:
		port->dropping = NULL;
		port->consumed = 0;
		if (link->role == MEMIF_CLIENT && port->started)
			post_spares(port);
		break;
	case MEMIF_DOWN:
		port->consumed = 0;
		port->unpublished = false;
		if (link->role == MEMIF_CLIENT)
			reclaim(port, head, tail, mask, send_head);
		break;
	}
}

static int memif_start(void *opaque, const uint32_t *buffers, unsigned n)
{
	struct memif_port *port = opaque;
	unsigned slots = 1u << port->link.config.log2_ring;

	port->started = true;
	if (port->link.role == MEMIF_SERVER)
		return 0;
	if (n > slots)
		n = slots;
	/* The first given is the first posted. */
	for (unsigned i = 0; i < n; i++)
		port->spare[n - 1 - i] = buffers[i];
	port->spares = n;
	if (port->link.connected && !port->link.broken)
		post_spares(port);
	return (int)n;
}

static void wait_for_peer(struct memif_port *port)
{
	struct memif_queue *q = &port->link.send;

	for (unsigned i = 0; i < STOP_WAIT_MS * 10; i++) {
		if (atomic_load_explicit(&q->ring->tail, memory_order_acquire) == q->head)
			return;
		nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
	}
}

static unsigned memif_stop(void *opaque, uint32_t *buffers)
{
	struct memif_port *port = opaque;

	if (!port->started)
		return 0;
	port->started = false;
	if (port->link.role == MEMIF_SERVER)
		return 0;
	if (port->link.connected) {
		uint64_t failed = 0;
		if (!port->link.broken)
			wait_for_peer(port);
		unsigned sent = memif_transmitted(port, &failed);
		memif_link_disconnect(&port->link, "Receiver stopped");
		while (port->link.connected)
			memif_service(port);
		/* Told to the caller by the next memif_transmitted, after those it has been told of. */
		port->done += sent;
		port->failed += failed;
	}
	unsigned n = port->spares;
	for (unsigned i = 0; i < n; i++)
		buffers[i] = port->spare[i];
	port->spares = 0;
	return n;
}

static void memif_close(void *opaque)
{
	struct memif_port *port = opaque;

	memif_link_close(&port->link);
	free(port->posted);
	free(port->spare);
	free(port->gathered);
	port->posted = port->spare = NULL;
	port->gathered = NULL;
}

static int memif_open(void *opaque, const struct port_config *config, char *error)
{
	struct memif_port *port = opaque;
	struct memif_link_config link;

	memset(port, 0, sizeof(*port));
	port->memory = config->memory;
	int r = memif_link_options(&link, config->target, config->options, error);
	if (r)
		return r;
	if (link.role == MEMIF_CLIENT) {
		if (config->memory_bytes > UINT32_MAX) {
			snprintf(error, PORT_ERROR_BYTES,
				"memif: packet memory of %llu bytes: a client shares less than 4 "
				"GiB",
				(unsigned long long)config->memory_bytes);
			return -EINVAL;
		}
		link.region[0].base = config->memory;
		link.region[0].bytes = config->memory_bytes;
		link.region[0].fd = config->memory_fd;
		link.regions = 1;
	}
	size_t slots = (size_t)1 << link.log2_ring;
	port->posted = calloc(slots, sizeof(*port->posted));
	port->spare = calloc(slots, sizeof(*port->spare));
	port->gathered = calloc(P2PNIC_BURST_MAX, P2PNIC_FRAME_BYTES_MAX);
	if (port->posted && port->spare && port->gathered) {
		r = memif_link_open(&port->link, &link, error);
	} else {
		snprintf(error, PORT_ERROR_BYTES, "memif: %s: out of memory", config->target);
		r = -ENOMEM;
	}
	if (r) {
		free(port->posted);
		free(port->spare);
		free(port->gathered);
		return r;
	}
	memif_service(port);
	return 0;
}

static int memif_fd(void *opaque)
{
	return ((struct memif_port *)opaque)->link.events;
}

static int memif_control_fd(void *opaque)
{
	return ((struct memif_port *)opaque)->link.control;
}

static void memif_info(void *opaque, struct port_info *info)
{
	struct memif_port *port = opaque;

	*info = (struct port_info){
		.link = port->link.connected,
		.mtu = P2PNIC_MTU_MAX,
		.missed = port->link.counters.bad_descriptor,
		.oversize = port->oversize,
	};
	snprintf(info->mode, sizeof(info->mode), "%s",
		port->link.role == MEMIF_CLIENT ? "client, zero-copy"
						: "server, zero-copy in, copy out");
	/* Why there is no connection: this side's words or the peer's. */
	if (!port->link.connected)
		snprintf(info->fault, sizeof(info->fault), "%s", port->link.reason);
}

const struct port_ops memif_port_ops = {
	.type = "memif",
	.bytes = sizeof(struct memif_port),
	.open = memif_open,
	.close = memif_close,
	.start = memif_start,
	.stop = memif_stop,
	.fd = memif_fd,
	.info = memif_info,
	.service = memif_service,
	.control_fd = memif_control_fd,
};
