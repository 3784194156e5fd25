/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * af_xdp: an AF_XDP socket on one queue of a network interface, past the kernel's stack.
 *
 *   target   interface name; it is set up
 *   options  mode=zero-copy|native|generic   this one or none; else the first of them that works
 *            queue=N          the queue to serve (below); 0
 *            transmit-ring=N  slots of the transmit and of the completion ring, a power of two from
 *                             64; 2048. With a smaller one fewer frames wait for a slow interface
 *            checksum=on|off  finish checksums that a sender on this machine left undone; on for
 *                             virtual interfaces, off for hardware
 *            batch=on|off     send bursts through a veth by one system call (below); on
 *
 * Packet memory, all of it, is the socket's UMEM, and so is, in the copy modes, that of other NICs
 * whose packets are sent from where they lie (af_xdp_memory.h). So the device
 * (zero-copy) or the kernel (copy) writes received frames where other NICs' DMA reads them, and
 * sends frames from where other NICs' DMA wrote them: no copy here. XDP_PACKET_HEADROOM is in the
 * chunk, in front of the frame.
 *
 *            fill ring (buffers to receive into) ──▶ kernel ──▶ receive ring
 *            transmit ring ──▶ kernel ──▶ completion ring (in any order; sorted by `flight`)
 *
 * Modes. zero-copy: the driver uses packet memory itself. native: XDP in the driver, the kernel
 * copies. generic: XDP in front of the stack, with the socket buffer already made; works on any
 * interface.
 *
 * Queues. One socket serves one queue. On an interface with more, traffic to the others would pass
 * the port by; so it is set to one queue while the port is open (ethtool -L), or refused where that
 * is not possible, unless queue= says that traffic is steered.
 *
 * Sending through a veth. Its socket sends frame by frame; a burst of XDP_SEND_MIN or more goes out
 * by xdp_send.h instead, several times as fast, as long as the other end takes it: it has an XDP
 * program (a port like this one, say), or GRO on. Whether it does is tried with a burst, ten times
 * a second; what it refuses as a whole the socket sends. The two keep the order, but for an other
 * end with more than one receive queue: there a batch may go to another queue than the socket's
 * frames. A port cannot see that, and sends no batches where its own end came with more than one;
 * else batch=off.
 *
 * The other end of a veth pair. It leaves checksums to hardware: put right here (checksum=). It
 * builds super-frames: in mode native the kernel stops that by itself, in mode generic they are
 * lost (missed) unless its owner runs `ip link set IF gso_max_segs 1`. VLAN tags it leaves to
 * hardware are lost in any mode: `ethtool -K IF txvlan off` there, or use af_packet.
 *
 * Buffers above 2048 bytes, for jumbo frames. The UMEM is cut into chunks of a page at most, so a
 * frame crosses the rings in pieces (multi-buffer AF_XDP, Linux 6.6), a descriptor each:
 *
 *     buffers of 16 KiB   │A: 256 B, piece 1│ free …          │B: 256 B, piece 2│ free …
 *     delivered           │A: 256 B, piece 1, piece 2, …      │B: posted again
 *
 * Of each buffer the first page is posted; a frame received in pieces is put together in the buffer
 * of its first one, and so costs a copy of all but 3,840 bytes. It takes as many posted buffers as
 * it has pieces: five for the longest. A frame to be sent is cut where pages end, and not copied.
 * Without a copy it takes a driver that does it (i40e, ice; not virtio_net). In buffers of 4 KiB
 * each frame is then one piece, which every driver does.
 * Without multi-buffer, buffers of 4 KiB are all there is, and what the interface gives of them: a
 * veth frames up to 3,520 bytes.
 *
 * Needs CAP_NET_RAW, CAP_NET_ADMIN and CAP_BPF in the first user namespace, and Linux 5.9 or later.
 * What arrives while no buffer is free, and what is longer than a buffer holds, the kernel
 * counts alike: in `missed`. A frame that the interface refuses (link down, its queue full) is
 * completed as failed. What the device keeps for more than 200 ms is taken from it by closing the
 * socket, and a new socket is made; so also when the interface was deleted and came back.
 */
#ifndef P2PNIC_PORTS_AF_XDP_H
#define P2PNIC_PORTS_AF_XDP_H

#include "common.h"
#include "interface.h"
#include "ipc/error.h"
#include "offload.h"
#include "xdp_program.h"

#include <assert.h>
#include <sys/socket.h>
#include <xdp/xsk.h>

#define AF_XDP_CHUNK_BYTES 4096u /* at most; larger buffers are several */
#define AF_XDP_BUFFERS     2048u /* received into, at most */
#define AF_XDP_RING        2048u /* receive ring; transmit, completion ring unless told */
#define AF_XDP_FLIGHT      AF_XDP_RING
#define AF_XDP_STUCK_NS    200000000ull
#define AF_XDP_HELD_NS     1000000000ull /* delete_socket */

/* A driver may ask to be woken after the flush that would have heard it: its question is looked at
 * again after so many looks at completions that brought none, and before the engine sleeps. */
#define AF_XDP_LOOKS 256u

/*
 * Batches are the cheaper the larger they are. After a flush of so many new frames, half a burst,
 * more will follow at once: all wait, until XDP_SEND_MAX are nearly reached, a flush brings fewer,
 * or the port is asked a second time what it has transmitted.
 */
#define AF_XDP_BUSY 32u

/*
 * The kernel says late which fill entries it has consumed: up to AF_XDP_BUFFERS that it took and
 * gave back to us still count as posted. With twice the room a buffer always finds a place.
 */
#define AF_XDP_FILL_RING (2u * AF_XDP_BUFFERS)

enum af_xdp_mode { AF_XDP_ZERO_COPY, AF_XDP_NATIVE, AF_XDP_GENERIC, AF_XDP_MODES };

/*
 * A frame handed to the kernel, or refused. Pending ones from the same buffer are chained, newest
 * first (a peer may name a buffer twice): `previous` is the next one's place in `flight` plus 1, or
 * 0.
 */
struct af_xdp_flight {
	uint32_t buffer; /* index of the buffer in the UMEM */
	uint16_t previous;
	uint8_t pending; /* pieces that the kernel has not completed */
	uint8_t failed;
};

struct af_xdp_port {
	uint8_t *memory;
	uint64_t memory_bytes;
	uint8_t *range;        /* the UMEM as mapped by this process (af_xdp_memory.h) */
	uint32_t buffer_bytes; /* 1 << buffer_shift */
	uint32_t chunk_bytes;  /* 1 << chunk_shift: of the UMEM; a buffer is one or several */
	uint8_t buffer_shift;
	uint8_t chunk_shift;
	bool has_pieces;           /* the kernel and buffers are such that sockets may have… */
	bool pieces;               /* …frames that come in several, and leave so; this one does */
	struct xsk_socket *socket; /* NULL: none now; service makes one when it can */
	int socket_fd;
	bool down; /* no socket, or no link: frames to be sent fail at once */
	bool finish_checksums;
	struct xsk_ring_cons receive;
	struct xsk_ring_prod fill;
	struct xsk_ring_prod transmit;
	struct xsk_ring_cons completion;

	/* Frame k of this burst is in the buffer held[k]. own: a bit for each buffer that is the
	 * port's. */
	bool started;
	unsigned burst;
	uint32_t held[P2PNIC_BURST_MAX];
	uint64_t *own;

	/* Free-running: [flight_head, flight_tail) were taken by transmit and not reported yet. */
	uint32_t flight_head;
	uint32_t flight_tail;
	uint32_t failed;      /* not reported yet */
	bool kick;            /* the transmit ring holds what the kernel was not told of… */
	uint32_t unsubmitted; /* …and of that so many pieces, the last, are not even in its view */
	uint32_t waiting;     /* of those, for others to make a larger batch… */
	uint32_t looks; /* …since that many calls of transmitted; without a copy: AF_XDP_LOOKS */
	bool batching;  /* the other end takes batches; info shows it */
	uint64_t at[PORT_MEMORIES];    /* where in the UMEM each memory is… */
	uint64_t bytes[PORT_MEMORIES]; /* …and its size; 0: it is not in there */
	uint64_t reachable;            /* a bit for each that is */
	uint16_t *newest; /* for each buffer of the UMEM: its newest pending frame's place in
			     `flight` plus 1 */
	struct af_xdp_flight flight[AF_XDP_FLIGHT];

	/* The control side's. */
	struct port_memory reached[PORT_MEMORIES]; /* 0: packet memory; bytes 0: none */
	uint64_t tried;       /* those that were there when the range was made */
	uint64_t range_bytes; /* to register */
	uint64_t reserved; /* of address space, for the range; 0: it is packet memory as it lies */
	uint64_t newest_count; /* entries */
	enum af_xdp_mode mode;
	bool mode_forced[AF_XDP_MODES];
	bool any_forced;
	unsigned queue;
	bool queue_given;
	unsigned transmit_slots; /* option */
	bool restore_channels;
	unsigned channels;
	bool other; /* the interface is not the one whose queues were settled */
	int epoll;  /* what fd() returns: it stays when the socket is made anew */
	struct xsk_umem *umem;
	struct xdp_program xdp;
	bool batch;      /* option */
	bool no_batches; /* the other end takes none; until service forgets it */
	struct interface interface;
	uint64_t missed; /* of earlier sockets */
	uint64_t oversize;
	uint32_t watched;          /* flight_head when service last looked… */
	uint64_t watched_since_ns; /* …and since when it has not moved; 0: nothing in flight then */
	uint64_t held_since_ns;    /* the socket was closed, and frames are held; 0: none are */
	unsigned rebuilt;
	struct error fault;
};

extern const struct port_ops af_xdp_port_ops;

/* A buffer becomes the port's, or is it no more. */
static inline void af_xdp_own(struct af_xdp_port *port, uint32_t buffer, bool own)
{
	uint32_t index = buffer >> port->buffer_shift;
	uint64_t bit = 1ull << index % 64;

	if (own)
		port->own[index / 64] |= bit;
	else
		port->own[index / 64] &= ~bit;
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

#endif
