/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * af_packet: a packet socket on a network interface. Works on every interface of every Linux, needs
 * CAP_NET_RAW and nothing else; the fallback where af_xdp cannot start.
 *
 *   target   interface name; it is set up and made promiscuous while the port is open
 *   options  qdisc=on       send through the interface's queueing discipline (tc); off: past it
 *            receive-buffer=KIB   of the socket, default 4096 (more than net.core.rmem_max needs root)
 *
 * Frames are received into the port's own buffers and sent from where they lie; the kernel copies in
 * either direction. Two sockets: the one that receives carries virtio-net headers (offload.h), so that
 * checksums a sender on this machine left undone are finished here, super-frames are cut into those of
 * the wire, and VLAN tags that the kernel took out of a frame are put back.
 *
 * What the kernel cannot take at once stays queued here and is tried again (send_queue.h). Past the queueing discipline because some (noop, on a link without carrier)
 * swallow a frame and report it sent.
 *
 * The interface's own network stack sees the received frames as well. Give the interface no address,
 * or it answers too; and `ip link set IF addrgenmode none` keeps its IPv6 from sending.
 */
#ifndef P2PNIC_PORTS_AF_PACKET_H
#define P2PNIC_PORTS_AF_PACKET_H

#include "common.h"
#include "interface.h"
#include "offload.h"
#include "send_queue.h"

#include <linux/virtio_net.h>
#include <sys/socket.h>

#define AF_PACKET_BUFFERS     (2u * P2PNIC_BURST_MAX)
#define AF_PACKET_SUPER_BYTES 65792u /* 64 KiB of IP and the headers before it, in cache lines */
#define AF_PACKET_CONTROL     64u    /* room for one struct tpacket_auxdata as a control message */

struct af_packet_port {
	uint8_t *memory;
	uint64_t memory_bytes;
	struct interface interface;
	int receive_socket;
	int transmit_socket;
	bool qdisc;
	unsigned receive_kib;

	/*
	 * Message i is received into buffer[i], what does not fit into super[i]; [next, received) are not
	 * delivered yet. The buffers from `messages` on take the pieces of a super-frame, `pieces` of them
	 * in this burst. Frame k of this burst lies in buffer[slot[k]], from data[k] on.
	 */
	unsigned buffers;
	unsigned messages;
	unsigned received;
	unsigned next;
	unsigned pieces;
	bool splitting;
	uint32_t tag; /* of the super-frame being split */
	struct offload_split split;
	uint8_t (*super)[AF_PACKET_SUPER_BYTES];
	uint32_t buffer[AF_PACKET_BUFFERS];
	uint8_t slot[P2PNIC_BURST_MAX];
	uint8_t *data[P2PNIC_BURST_MAX];
	struct mmsghdr message[P2PNIC_BURST_MAX];
	struct iovec vector[P2PNIC_BURST_MAX][2];
	uint8_t control[P2PNIC_BURST_MAX][AF_PACKET_CONTROL] __attribute__((aligned(8)));

	struct send_queue queue;

	uint64_t missed;
	uint64_t oversize;
};

extern const struct port_ops af_packet_port_ops;

/* The halves that make system calls. */
unsigned af_packet_read(struct af_packet_port *port, struct frame *frames, unsigned max);
void af_packet_send(struct af_packet_port *port);

static inline unsigned af_packet_receive(
	struct af_packet_port *port, struct frame *frames, unsigned max)
{
	return port->buffers ? af_packet_read(port, frames, max) : 0;
}

static inline uint32_t af_packet_keep(struct af_packet_port *port, unsigned k, uint32_t spare)
{
	port->buffer[port->slot[k]] = spare;
	return (uint32_t)(port->data[k] - port->memory);
}

static inline void af_packet_release(struct af_packet_port *port)
{
}

static inline unsigned af_packet_transmit(
	struct af_packet_port *port, const struct p2pnic_descriptor *frames, unsigned n)
{
	return send_queue_push(&port->queue, frames, n);
}

static inline void af_packet_flush(struct af_packet_port *port)
{
	if (send_queue_waiting(&port->queue))
		af_packet_send(port);
}

static inline unsigned af_packet_transmitted(struct af_packet_port *port, uint64_t *failed)
{
	af_packet_flush(port);
	return send_queue_report(&port->queue, failed);
}

static inline bool af_packet_arm(struct af_packet_port *port)
{
	return port->next != port->received || port->splitting ||
	       send_queue_waiting(&port->queue) ||
	       (port->buffers && port_readable(port->receive_socket));
}

static inline void af_packet_disarm(struct af_packet_port *port)
{
}

#endif
