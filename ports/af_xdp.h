/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * af_xdp: an AF_XDP socket on one queue of a network interface, past the kernel's stack.
 *
 *   target   interface name; it is set up
 *   options  mode=zero-copy|native|generic   this one or none; else the first of them that works
 *            queue=N          the queue to serve (below); 0
 *            checksum=on|off  finish checksums that a sender on this machine left undone; on for
 *                             virtual interfaces, off for hardware
 *            batch=on|off     send bursts through a veth by one system call (below); on
 *
 * Packet memory, all of it, is the socket's UMEM, in chunks of one buffer. So the device (zero-copy) or
 * the kernel (copy) writes received frames where other NICs' DMA reads them, and sends frames from where
 * other NICs' DMA wrote them: no copy here. XDP_PACKET_HEADROOM is in the chunk, in front of the frame.
 *
 *            fill ring (buffers to receive into) ──▶ kernel ──▶ receive ring
 *            transmit ring ──▶ kernel ──▶ completion ring (in any order; sorted by `flight`)
 *
 * Modes. zero-copy: the driver uses packet memory itself. native: XDP in the driver, the kernel copies.
 * generic: XDP in front of the stack, with the socket buffer already made; works on any interface.
 *
 * Queues. One socket serves one queue. On an interface with more, traffic to the others would pass the
 * port by; so it is set to one queue while the port is open (ethtool -L), or refused where that is not
 * possible, unless queue= says that traffic is steered.
 *
 * Sending through a veth. Its socket sends frame by frame; a burst of XDP_SEND_MIN or more goes out by
 * xdp_send.h instead, several times as fast, as long as the other end takes it: it has an XDP program
 * (a port like this one, say), or GRO on. Whether it does is tried with a burst, ten times a second;
 * what it refuses as a whole the socket sends. The two keep the order, but for an other end with more
 * than one receive queue: there a batch may go to another queue than the socket's frames. A port cannot
 * see that, and sends no batches where its own end came with more than one; else batch=off.
 *
 * The other end of a veth pair. It leaves checksums to hardware: put right here (checksum=). It builds
 * super-frames: in mode native the kernel stops that by itself, in mode generic they are lost (missed)
 * unless its owner runs `ip link set IF gso_max_segs 1`. VLAN tags it leaves to hardware are lost in any
 * mode: `ethtool -K IF txvlan off` there, or use af_packet.
 *
 * Needs CAP_NET_RAW, CAP_NET_ADMIN and CAP_BPF in the first user namespace, and Linux 5.9 or later. What
 * arrives while no buffer is free, and what is longer than P2PNIC_FRAME_BYTES_MAX, the kernel counts
 * alike: in `missed`. A frame that the interface refuses (link down, its queue full) is completed as
 * failed. What the device keeps for more than 200 ms is taken from it by closing the socket, and
 * a new socket is made; so also when the interface was deleted and came back.
 */
#ifndef P2PNIC_PORTS_AF_XDP_H
#define P2PNIC_PORTS_AF_XDP_H

#include "common.h"
#include "interface.h"
#include "offload.h"
#include "xdp_program.h"

#include <assert.h>
#include <sys/socket.h>
#include <xdp/xsk.h>

#define AF_XDP_BUFFERS  2048u /* received into, at most */
#define AF_XDP_RING     2048u /* transmit, completion, receive ring */
#define AF_XDP_FLIGHT   AF_XDP_RING
#define AF_XDP_STUCK_NS 200000000ull

/*
 * Batches are the cheaper the larger they are. After a flush of so many new frames, half a burst, more
 * will follow at once: all wait, until XDP_SEND_MAX are nearly reached, a flush brings fewer, or the
 * port is asked a second time what it has transmitted.
 */
#define AF_XDP_BUSY 32u

/*
 * The kernel says late which fill entries it has consumed: up to AF_XDP_BUFFERS that it took and gave
 * back to us still count as posted. With twice the room a buffer always finds a place.
 */
#define AF_XDP_FILL_RING (2u * AF_XDP_BUFFERS)

enum af_xdp_mode { AF_XDP_ZERO_COPY, AF_XDP_NATIVE, AF_XDP_GENERIC, AF_XDP_MODES };

/*
 * A frame handed to the kernel, or refused. Pending ones from the same buffer are chained, newest first
 * (a peer may name a buffer twice): `previous` is the next one's place in `flight` plus 1, or 0.
 */
struct af_xdp_flight {
	uint32_t buffer; /* index of the buffer in packet memory */
	uint16_t previous;
	uint8_t pending;
	uint8_t failed;
};

struct af_xdp_port {
	uint8_t *memory;
	uint64_t memory_bytes;
	struct xsk_socket *socket; /* NULL: none now; service makes one when it can */
	int socket_fd;
	bool down; /* no socket, or no link: frames to be sent fail at once */
	bool finish_checksums;
	struct xsk_ring_cons receive;
	struct xsk_ring_prod fill;
	struct xsk_ring_prod transmit;
	struct xsk_ring_cons completion;

	/* Frame k of this burst is in the buffer held[k]. own: a bit for each buffer that is the port's. */
	bool started;
	unsigned burst;
	uint32_t held[P2PNIC_BURST_MAX];
	uint64_t *own;

	/* Free-running: [flight_head, flight_tail) were taken by transmit and not reported yet. */
	uint32_t flight_head;
	uint32_t flight_tail;
	uint32_t failed;      /* not reported yet */
	bool kick;            /* the transmit ring holds what the kernel was not told of… */
	uint32_t unsubmitted; /* …and of that so many frames, the last, are not even in its view */
	uint32_t waiting;     /* of those, for others to make a larger batch… */
	uint32_t looks;       /* …since that many calls of transmitted */
	bool batching;        /* the other end takes batches; info shows it */
	uint16_t *newest; /* for each buffer: its newest pending frame's place in `flight` plus 1 */
	struct af_xdp_flight flight[AF_XDP_FLIGHT];

	/* The control side's. */
	enum af_xdp_mode mode;
	bool mode_forced[AF_XDP_MODES];
	bool any_forced;
	unsigned queue;
	bool queue_given;
	bool restore_channels;
	unsigned channels;
	int epoll; /* what fd() returns: it stays when the socket is made anew */
	struct xsk_umem *umem;
	struct xdp_program xdp;
	struct xdp_send send;
	bool batch;      /* option */
	bool no_batches; /* the other end takes none; until service forgets it */
	struct interface interface;
	uint64_t missed;           /* of earlier sockets */
	uint32_t watched;          /* flight_head when service last looked… */
	uint64_t watched_since_ns; /* …and since when it has not moved; 0: nothing in flight then */
	unsigned rebuilt;
	char fault[PORT_ERROR_BYTES];
};

extern const struct port_ops af_xdp_port_ops;

/* System calls: tell the kernel of frames to send; of buffers to receive into. */
void af_xdp_kick(struct af_xdp_port *port);
void af_xdp_kick_fill(struct af_xdp_port *port);

static inline unsigned af_xdp_receive(struct af_xdp_port *port, struct frame *frames, unsigned max)
{
	uint32_t first;

	if (!port->started || !port->socket)
		return 0;
	unsigned n = xsk_ring_cons__peek(&port->receive, max, &first);
	if (n == 0) {
		if (xsk_ring_prod__needs_wakeup(&port->fill))
			af_xdp_kick_fill(port);
		return 0;
	}
	for (unsigned k = 0; k < n; k++) {
		const struct xdp_desc *desc = xsk_ring_cons__rx_desc(&port->receive, first + k);
		frames[k] = (struct frame){port->memory + desc->addr, desc->len};
		port->held[k] = (uint32_t)desc->addr & ~(P2PNIC_BUFFER_BYTES - 1);
		__builtin_prefetch(frames[k].data);
	}
	xsk_ring_cons__release(&port->receive, n);
	if (port->finish_checksums)
		for (unsigned k = 0; k < n; k++)
			offload_repair(frames[k].data, frames[k].length);
	port->burst = n;
	return n;
}

static inline void af_xdp_own(struct af_xdp_port *port, uint32_t buffer, bool own)
{
	uint32_t index = buffer / P2PNIC_BUFFER_BYTES;
	uint64_t bit = 1ull << index % 64;

	if (own)
		port->own[index / 64] |= bit;
	else
		port->own[index / 64] &= ~bit;
}

static inline uint32_t af_xdp_keep(struct af_xdp_port *port, unsigned k, uint32_t spare)
{
	uint32_t kept = port->held[k];

	af_xdp_own(port, kept, false);
	af_xdp_own(port, spare, true);
	port->held[k] = spare;
	return kept + PORT_HEADROOM;
}

/* Gives buffers to the kernel to receive into. */
static inline void af_xdp_post(struct af_xdp_port *port, const uint32_t *buffers, unsigned n)
{
	uint32_t first;

	unsigned got = xsk_ring_prod__reserve(&port->fill, n, &first);
	assert(got == n); /* AF_XDP_FILL_RING says why */
	for (unsigned i = 0; i < got; i++)
		*xsk_ring_prod__fill_addr(&port->fill, first + i) = buffers[i];
	xsk_ring_prod__submit(&port->fill, got);
}

static inline void af_xdp_release(struct af_xdp_port *port)
{
	if (port->burst == 0)
		return;
	af_xdp_post(port, port->held, port->burst);
	port->burst = 0;
}

static inline unsigned af_xdp_transmit(
	struct af_xdp_port *port, const struct p2pnic_descriptor *frames, unsigned n)
{
	unsigned room = AF_XDP_FLIGHT - (port->flight_tail - port->flight_head);
	unsigned submitted = 0;

	if (n > room)
		n = room;
	for (unsigned i = 0; i < n; i++) {
		struct p2pnic_descriptor frame = frames[i];
		uint32_t place = port->flight_tail % AF_XDP_FLIGHT;
		struct af_xdp_flight *flight = &port->flight[place];
		uint32_t slot;

		if (port->down || !port_sendable(port->memory_bytes, &frame)) {
			*flight = (struct af_xdp_flight){.failed = 1};
			port->flight_tail++;
			continue;
		}
		if (!xsk_ring_prod__reserve(&port->transmit, 1, &slot)) {
			n = i;
			break;
		}
		*xsk_ring_prod__tx_desc(&port->transmit, slot) =
			(struct xdp_desc){.addr = frame.offset, .len = frame.length};
		uint32_t buffer = frame.offset / P2PNIC_BUFFER_BYTES;
		*flight = (struct af_xdp_flight){
			.buffer = buffer, .previous = port->newest[buffer], .pending = 1};
		port->newest[buffer] = (uint16_t)(place + 1);
		port->flight_tail++;
		submitted++;
	}
	port->unsubmitted += submitted;
	port->kick |= submitted > 0;
	return n;
}

static inline void af_xdp_flush(struct af_xdp_port *port)
{
	uint32_t fresh = port->unsubmitted - port->waiting;
	bool wait = port->batching && fresh >= AF_XDP_BUSY &&
		    port->unsubmitted <= XDP_SEND_MAX - P2PNIC_BURST_MAX;

	port->waiting = wait ? port->unsubmitted : 0;
	port->looks = 0;
	if (port->kick && !wait)
		af_xdp_kick(port);
}

/* The kernel is done with a frame from that address. */
static inline void af_xdp_complete(struct af_xdp_port *port, uint64_t address)
{
	uint32_t buffer = (uint32_t)address / P2PNIC_BUFFER_BYTES;
	uint16_t place = port->newest[buffer];

	if (place == 0)
		return;
	port->flight[place - 1].pending = 0;
	port->newest[buffer] = port->flight[place - 1].previous;
}

static inline unsigned af_xdp_transmitted(struct af_xdp_port *port, uint64_t *failed)
{
	unsigned n = 0;
	uint32_t first;

	if (port->flight_head == port->flight_tail)
		return 0;
	if (port->kick && (!port->waiting || port->looks++))
		af_xdp_kick(port);
	if (port->socket) {
		unsigned completed = xsk_ring_cons__peek(&port->completion, AF_XDP_RING, &first);
		for (unsigned i = 0; i < completed; i++)
			af_xdp_complete(
				port, *xsk_ring_cons__comp_addr(&port->completion, first + i));
		if (completed)
			xsk_ring_cons__release(&port->completion, completed);
	}
	while (port->flight_head != port->flight_tail &&
		!port->flight[port->flight_head % AF_XDP_FLIGHT].pending) {
		port->failed += port->flight[port->flight_head % AF_XDP_FLIGHT].failed;
		port->flight_head++;
		n++;
	}
	/* The kernel tells of a refused frame before it completes it, maybe behind others. */
	uint32_t report = port->failed < n ? port->failed : n;
	port->failed -= report;
	*failed += report;
	return n;
}

static inline bool af_xdp_arm(struct af_xdp_port *port)
{
	uint32_t first;

	if (!port->started || !port->socket)
		return false;
	if (xsk_ring_prod__needs_wakeup(&port->fill))
		af_xdp_kick_fill(port);
	unsigned waiting = xsk_ring_cons__peek(&port->receive, 1, &first);
	xsk_ring_cons__cancel(&port->receive, waiting);
	return waiting || port->kick;
}

static inline void af_xdp_disarm(struct af_xdp_port *port)
{
}

#endif
