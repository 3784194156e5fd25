/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The socket of an af_xdp port, with what it needs: UMEM, rings, XDP program. It is made when the
 * port opens, and anew whenever it was lost: the interface was deleted, frames were stuck, or the
 * port stopped, since only closing the socket gives posted buffers back.
 *
 *     make ──▶ begin receiving ──▶ … ──▶ lose ──▶ make …
 *
 * All but the inline functions: control side, or service.
 */
#ifndef P2PNIC_PORTS_AF_XDP_SOCKET_H
#define P2PNIC_PORTS_AF_XDP_SOCKET_H

#include "af_xdp.h"

/* <linux/if_xdp.h>, Linux 6.6; Debian 12's is older. */
#ifndef XDP_USE_SG
#define XDP_USE_SG    (1 << 4) /* frames may be in pieces… */
#define XDP_PKT_CONTD (1 << 0) /* …of which this one is not the last */
#endif

extern const char *const af_xdp_mode_name[AF_XDP_MODES];

/*
 * Program and socket, in the first mode that works. The queue of a socket just closed is free only
 * after the kernel's deferred work: `patience_ms` says how long to wait for that. 0, or -errno with
 * a sentence that has each mode's reason; -EBUSY: another program or socket is there.
 */
int af_xdp_make_socket(struct af_xdp_port *, unsigned patience_ms, struct error *error);

/* Posts the port's own buffers and lets the program find the socket. 0 or -errno. */
int af_xdp_begin_receiving(struct af_xdp_port *);

/* Makes the socket anew, in the mode that it has. Does that fail, service makes one. */
void af_xdp_renew_socket(struct af_xdp_port *, unsigned patience_ms);

/* Closes the socket, if there is one, and detaches the program. */
void af_xdp_lose_socket(struct af_xdp_port *);

/* Frames in flight are done with: the kernel has let go of packet memory. */
void af_xdp_release_flight(struct af_xdp_port *);

/* Whether this kernel has multi-buffer AF_XDP. */
bool af_xdp_has_pieces(void);

/* What this socket lost for want of buffers or room. */
uint64_t af_xdp_socket_missed(const struct af_xdp_port *);

static inline bool af_xdp_is_own(const struct af_xdp_port *port, uint64_t index)
{
	return port->own[index / 64] >> index % 64 & 1;
}

/* The kernel is done with a frame from that address, or a piece of one. */
static inline void af_xdp_complete(struct af_xdp_port *port, uint64_t address)
{
	uint32_t buffer = (uint32_t)(address >> port->buffer_shift);
	uint16_t place = port->newest[buffer];

	if (place == 0)
		return;
	if (--port->flight[place - 1].pending == 0)
		port->newest[buffer] = port->flight[place - 1].previous;
}

/* Those that the kernel says it is done with. */
static inline unsigned af_xdp_collect(struct af_xdp_port *port)
{
	uint32_t first;
	unsigned n = xsk_ring_cons__peek(&port->completion, AF_XDP_RING, &first);

	for (unsigned i = 0; i < n; i++)
		af_xdp_complete(port, *xsk_ring_cons__comp_addr(&port->completion, first + i));
	if (n)
		xsk_ring_cons__release(&port->completion, n);
	return n;
}

/* Pieces that the kernel has not taken. */
static inline uint32_t af_xdp_unsent(const struct af_xdp_port *port)
{
	return *port->transmit.producer + port->unsubmitted -
	       __atomic_load_n(port->transmit.consumer, __ATOMIC_ACQUIRE);
}

#endif
