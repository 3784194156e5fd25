/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The memif port: a NIC whose Ethernet side is shared memory with another process (VPP, DPDK's
 * net_memif, p2pnic tester, another p2pnic). port.h says what a port is; memif_link.h makes and
 * keeps the connection.
 *
 * target: the socket, "@NAME" for the abstract name space. options:
 *
 *   role=client|server  client unless told
 *   id=N                interface number on the socket, 0 unless told
 *   rsize=N             client: log2 of the slots of each ring; 9 unless told. A server takes the
 *                       client's
 *   secret-file=PATH    the secret: 1 to 24 characters, of which VPP, DPDK and libmemif know 23; a
 *                       newline behind them is none
 *   secret-fd=N         the same, from a descriptor that this process was started with
 *   secret=TEXT         the same, for configuration files: on a command line it would stand in ps
 *   peers=any|UID       admit the processes of every user, or of that one, beside root's and one's
 *                       own. The socket is then open to all users, else to one's own (mode 0600)
 *   map=MIB             server: memory that a peer may have mapped here; 4096 unless told
 *   unsealed=yes        server: take regions that the peer could shrink, as DPDK's are with
 *                       zero-copy, or of huge pages. A peer that then shrinks one kills this
 *                       process by SIGBUS: friends only
 *
 * As CLIENT the whole packet memory (BAR4) is one memif region, and the rings are another. Nothing
 * is copied by the port in either direction:
 *
 *   receive   the buffers given at start are posted, the peer writes frames into them, and they are
 *             read where they lie
 *   transmit  a frame anywhere in packet memory, written there by another NIC, is named by a
 *             descriptor, and the peer reads it there
 *
 * The price: the peer can read and write all packet memory at any time, also packets of other NICs
 * in flight through this one. It never reaches rings, tables or other NICs' memory.
 *
 * As SERVER the memory is the peer's. Frames are read where the peer put them (no copy), keep
 * copies one into packet memory, and transmit copies into the peer's buffers. Packet memory stays
 * private. start takes no buffers (returns 0), as none are received into.
 *
 * Buffers. As client whole buffers are posted: of 2 KiB, as VPP, DPDK and libmemif do by default,
 * unless the NIC has larger ones. libmemif asks each slot for that much, and cuts every packet over
 * two where it is less. So a frame begins at the start of its buffer and leaves no headroom; frames
 * that a buffer with headroom would not hold are dropped, as by every port.
 *
 * Chained descriptors (MEMIF_DESCRIPTOR_NEXT): a packet may lie in up to MEMIF_PARTS_MAX of them.
 * Received ones are put together in one piece, as client in the first one's buffer, as server in
 * memory of the port. As server a frame longer than the peer's buffer is cut over as many as it
 * needs; as client every frame leaves in one. A chain whose end is not published waits. Packets
 * longer than `longest` are dropped whole and counted once in `oversize`. Frames in one slot
 * pay nothing for this: memif_chain.c takes over at the first that is not.
 *
 * Hostile descriptors: as client only length and flags are read back, the place is known from this
 * side's own table. As server region, offset and length are checked in 64 bits; a packet with a bad
 * one is dropped and counted in `missed`. Bad indices end the connection.
 *
 * Frames given to transmit while nobody is connected are taken and reported as failed; so are those
 * that were in flight when the connection ended.
 *
 * stop as client: a peer cannot be asked to give back posted buffers, so the connection is ended
 * (after the peer had up to 10 ms to read what is in flight) and made anew without them.
 */
#ifndef P2PNIC_MEMIF_H
#define P2PNIC_MEMIF_H

#include "memif_link.h"
#include "port.h"

#include <string.h>

#define MEMIF_PARTS_MAX P2PNIC_BURST_MAX /* descriptors of one packet; one in more is dropped */

struct memif_port {
	struct memif_link link;
	const struct memif_kernel *kernel; /* memif_kernel.h */
	uint8_t *memory;
	uint32_t buffer_bytes;
	uint32_t longest; /* frame */

	/* Receive: slots [receive.tail, receive.tail + consumed) are the burst in the caller's
	 * hands. */
	uint32_t *posted; /* client: bar_offset posted in each slot, as told to the peer */
	unsigned consumed;
	uint16_t slot[P2PNIC_BURST_MAX];      /* client: slot of frame k */
	struct frame burst[P2PNIC_BURST_MAX]; /* server: for keep */
	/* The packet in the last slot goes on, and is counted there at its end. */
	uint64_t *dropping;
	/* Server: frame k of a burst in one piece, at k · longest. */
	uint8_t *gathered;
	bool started;
	bool used; /* something has passed over this connection */

	/* Transmit. */
	uint16_t reported; /* client: slots before it have been told to the caller */
	bool unpublished;  /* frames that the peer has not been told of… */
	bool unnotified;   /* …told of, but perhaps asleep */
	uint64_t done;     /* further frames done with, these among them… */
	uint64_t failed;   /* …that did not leave */

	uint64_t oversize;
	uint32_t *spare; /* client: buffers not posted, while down or stopped */
	unsigned spares;
};

extern const struct port_ops memif_port_ops;

/* One frame into the peer's buffer; whole 64-byte blocks where both sides have the room. */
static inline void memif_copy(uint8_t *to, uint32_t room, const uint8_t *from, uint32_t length)
{
	if (((length + 63u) & ~63u) > room) {
		memcpy(to, from, length);
		return;
	}
	for (uint32_t i = 0; i < length; i += 64)
		memcpy(to + i, from + i, 64);
}

/* --- memif_chain.c ---------------------------------------------------------------------------- */

/*
 * The rest of a burst from frame n on, which is not one whole frame in one slot: chains are put
 * together, what is too long or not in the peer's memory is dropped and counted. `limit` slots
 * belong to the burst, a packet that begins in them may use all `waiting`. Returns the frames of
 * the whole burst.
 */
unsigned memif_receive_rest(struct memif_port *port, struct frame *frames, unsigned n,
	unsigned limit, unsigned waiting);

/*
 * The rest of a burst from frame i on, for which one slot is not enough, or not in the peer's
 * memory: frames are cut over as many slots as they fill. One that cannot be, as all of the ring is
 * too little or a place is bad, has failed, and its slots go back empty. Returns the frames taken
 * of the whole burst.
 */
unsigned memif_transmit_rest(struct memif_port *port, const uint8_t *memory,
	const struct p2pnic_descriptor *frames, unsigned i, unsigned n);

#endif
