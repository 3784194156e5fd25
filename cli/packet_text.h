/* SPDX-License-Identifier: BSD-3-Clause */
/* A packet in a line, as far as a router looks at it. */
#ifndef P2PNIC_PACKET_TEXT_H
#define P2PNIC_PACKET_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PACKET_TEXT_BYTES 64

struct packet_fields {
	char source_mac[PACKET_TEXT_BYTES], destination_mac[PACKET_TEXT_BYTES];
	int vlan; /* -1: no tag */
	unsigned type;
	int family; /* 4, 6; 0: neither, or cut short, and then the rest has no meaning */
	char source[PACKET_TEXT_BYTES], destination[PACKET_TEXT_BYTES];
	unsigned ttl, protocol, checksum; /* TTL or hop limit; checksum of IPv4 */
};

/* Reads what is there of a frame. False: not even an Ethernet header. */
bool packet_fields(struct packet_fields *, const uint8_t *frame, uint32_t bytes);

#endif
