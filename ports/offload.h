/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Frames as a wire would carry them, out of what Linux hands over.
 *
 * A packet socket on a virtual interface (veth, bridge, macvlan) sees what the sending host left
 * for hardware to finish, since no hardware comes: an L4 checksum of which only the pseudo-header's
 * sum is in place, and "super-frames" of up to 64 KiB that a NIC with segmentation offload would
 * cut. The virtio-net header in front of a frame (PACKET_VNET_HDR) says which; see virtio 1.1,
 * 5.1.6.
 */
#ifndef P2PNIC_PORTS_OFFLOAD_H
#define P2PNIC_PORTS_OFFLOAD_H

#include <linux/virtio_net.h>
#include <stdbool.h>
#include <stdint.h>

/* Finishes a checksum left to hardware. False: the header names a place outside the frame. */
bool offload_checksum(uint8_t *frame, uint32_t length, const struct virtio_net_hdr *header);

/*
 * The same where nobody says which frames need it (AF_XDP on a veth): TCP and UDP over IPv4 and
 * IPv6, behind at most two VLAN tags, not in fragments nor tunnels. A checksum left to hardware
 * equals the pseudo-header's sum P. Where the field equals P it is set to the right checksum C =
 * ~(S + P), S being the sum of the segment without the field. A frame whose checksum was right all
 * the time, and happened to be P, keeps it: then ~(S + P) = P. On a virtual interface, where no bit
 * is ever flipped, every frame so leaves with a right checksum.
 */
void offload_repair(uint8_t *frame, uint32_t length);

/*
 * Cutting a super-frame into those that segmentation offload would have sent: TCP (and UDP, where
 * one datagram follows another in a super-frame) over IPv4 or IPv6.
 *
 *   | Ethernet, VLAN | IP | TCP | gso_size bytes | gso_size bytes | … | rest |
 *    \_______ headers, copied in front of each _/
 *
 * Each piece gets its own length, checksums, and IPv4 identification (counting up); TCP's sequence
 * number goes on; PSH and FIN stay with the last piece, CWR with the first (RFC 3168, 6.1.2).
 */
struct offload_split {
	const uint8_t *frame;
	uint32_t length;
	uint32_t ip; /* where the IP header begins */
	uint32_t transport;
	uint32_t headers; /* bytes of all headers */
	uint32_t piece;   /* payload of each frame but the last */
	uint32_t done;    /* payload cut off so far */
	bool tcp;
};

/* False: not of the kinds above, or its pieces are longer than `longest`. The frame stays where it
 * is until all pieces have been taken. */
bool offload_split_begin(struct offload_split *split, const uint8_t *frame, uint32_t length,
	const struct virtio_net_hdr *header, uint32_t longest);

/* Writes the next piece to `to` and returns its length; 0: there are no more. */
uint32_t offload_split_next(struct offload_split *split, uint8_t *to);

/* The ones' complement sum of bytes, folded to 16 bits, in the byte order of the bytes. */
uint16_t offload_sum(const uint8_t *bytes, uint32_t length, uint16_t start);

#endif
