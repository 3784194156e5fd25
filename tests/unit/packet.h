/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Frames for tests, made and checked the stupid way: byte by byte, without a look at the firmware.
 *
 * NIC n has the MAC packet_mac(n). 10.e.0.0/16 and fd00:db8:e::/48 are meant to lead to egress e by
 * an adjacency with packet_next_mac(e) as destination and packet_way_mac(i, e) as source, which
 * names ingress and egress; so a frame that leaves tells its way.
 */
#ifndef TESTS_PACKET_H
#define TESTS_PACKET_H

#include <p2pnic/limits.h>
#include <p2pnic/types.h>

/* A frame outside device memory: on the wire. */
struct packet {
	uint32_t length;
	uint8_t bytes[P2PNIC_FRAME_BYTES_MAX(P2PNIC_BUFFER_BYTES_MAX)];
};

static inline struct mac_addr packet_mac(unsigned nic)
{
	return (struct mac_addr){{0x02, 0x10, 0x20, 0x30, 0x40, (uint8_t)nic}};
}

static inline struct mac_addr packet_next_mac(unsigned egress)
{
	return (struct mac_addr){{0x02, 0xde, 0x57, 0, 0, (uint8_t)egress}};
}

static inline struct mac_addr packet_way_mac(unsigned ingress, unsigned egress)
{
	return (struct mac_addr){{0x02, 0x50, 0, 0, (uint8_t)egress, (uint8_t)ingress}};
}

/* UDP in IPv4 from 192.168.nic.1, to that NIC's MAC; payload bytes count up from `seed`. */
void packet_ipv4(struct packet *, unsigned nic, uint32_t destination, uint8_t ttl,
	uint32_t payload_bytes, uint32_t seed);
void packet_ipv6(struct packet *, unsigned nic, uint64_t destination_high, uint8_t hop_limit,
	uint32_t payload_bytes, uint32_t seed);
/* The seed of such a packet. */
uint32_t packet_seed(const struct packet *);
/* Writes the right IPv4 header checksum. */
void packet_checksum(struct packet *);
/* Puts a tag of IEEE 802.1Q in, or takes it out. */
void packet_tag(struct packet *, unsigned control);
void packet_untag(struct packet *);
/* The packet as it must leave by `egress` when received by `ingress`. */
void packet_forwarded(struct packet *, unsigned ingress, unsigned egress);

static inline void put16(uint8_t *p, unsigned v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static inline void put32(uint8_t *p, uint32_t v)
{
	put16(p, v >> 16);
	put16(p + 2, v & 0xffff);
}

static inline unsigned get16(const uint8_t *p)
{
	return (unsigned)p[0] << 8 | p[1];
}

static inline uint32_t get32(const uint8_t *p)
{
	return (uint32_t)get16(p) << 16 | get16(p + 2);
}

#define PACKET_TO(egress)  (0x0a000001u | (uint32_t)(egress) << 16) /* 10.egress.0.1 */
#define PACKET_TO6(egress) (0xfd000db800000000ull | (uint64_t)(egress) << 16)

#endif
