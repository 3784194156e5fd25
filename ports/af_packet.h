/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * af_packet: a packet socket on a network interface. Works on every interface of every Linux, needs
 * CAP_NET_RAW and nothing else; the fallback where af_xdp cannot start.
 *
 *   target   interface name; it is set up and made promiscuous while the port is open
 *   options  qdisc=on             send through the interface's queueing discipline (tc); off: past
 *                                 it
 *            receive-buffer=KIB   room for frames that wait, 64 to 65536, default 4096; a
 *                                 packet buffer (2 to 16 KiB) a frame
 *
 * Receiving: the kernel copies frames into a ring that both see (PACKET_RX_RING, TPACKET_V2), so
 * taking them costs no system call: a twentieth of recvmmsg's 1.2 µs a frame, measured on a veth
 * pair. V2, not V3: V3 shows a frame only when its block is full or a timer of milliseconds has run
 * out. Frames carry virtio-net headers (offload.h): checksums a sender on this machine left undone
 * are finished here, super-frames, which come by the socket's queue (PACKET_COPY_THRESH), are cut
 * into those of the wire, and VLAN tags that the kernel took out of a frame are put back. The
 * port's own buffers take the pieces of super-frames, nothing else.
 *
 *   ring  | … free … | released │ of this burst │ wait … | free … |
 *                     status = KERNEL            head: next to deliver
 *
 * Sending: sendmmsg by a second socket, from where the frames lie. What the kernel cannot take at
 * once stays queued here and is tried again (send_queue.h). Past the queueing discipline, because
 * some (noop, on a link without carrier) swallow a frame and report it sent.
 *
 * The interface's own network stack sees the received frames as well. Give the interface no
 * address, or it answers too; and `ip link set IF addrgenmode none` keeps its IPv6 from sending.
 */
#ifndef P2PNIC_PORTS_AF_PACKET_H
#define P2PNIC_PORTS_AF_PACKET_H

#include "buffers.h"
#include "common.h"
#include "interface.h"
#include "offload.h"
#include "send_queue.h"

#include <linux/if_packet.h>
#include <linux/virtio_net.h>
#include <string.h>

#define AF_PACKET_SUPER_BYTES 65792u /* 64 KiB of IP and the headers before it */

struct af_packet_port {
	struct send_queue queue;
	uint8_t *memory;
	uint64_t memory_bytes;
	uint32_t buffer_bytes;
	struct interface interface;
	int receive_socket;
	int transmit_socket;
	bool qdisc;
	unsigned receive_kib;

	uint8_t *ring;
	uint32_t slots;
	uint32_t head;     /* the next slot to deliver from, in [0, slots) */
	uint32_t consumed; /* slots before head that release gives back to the kernel */

	/* Frame k of this burst begins at data[k]: in the ring, or, a piece of a super-frame, in
	 * own.buffer[piece[k]]. */
	struct port_buffers own;
	unsigned pieces;
	uint8_t piece[P2PNIC_BURST_MAX];
	struct frame burst[P2PNIC_BURST_MAX];
	bool splitting;
	uint32_t tag; /* of the super-frame being split */
	struct offload_split split;
	uint8_t *super; /* the super-frame, behind its virtio-net header */

	uint64_t missed;
	uint64_t oversize;
};

extern const struct port_ops af_packet_port_ops;

#define AF_PACKET_IN_RING UINT8_MAX /* no piece */

#endif
