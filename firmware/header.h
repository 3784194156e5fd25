/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Ethernet and IP headers in four 64-bit words, two halves of 16 bytes.
 *
 * A frame's first 32 bytes are copied once (burst.h); checks are made on the copy, and so are the
 * new TTL, checksum and MAC addresses, before it goes into the egress NIC's memory. So these bytes
 * leave as they were checked, though a stranger may be writing the memory that they were received
 * in; that is never written.
 *
 *   low[0]   destination MAC ·················· source MAC 0–1
 *   low[1]   source MAC 2–5 · Ethernet type · version/IHL · TOS
 *   high[0]  IPv4: total length · id · fragment · TTL · protocol
 *            IPv6: flow label low · payload length · next header · hop limit · source 0–1
 *   high[1]  IPv4: checksum · source · destination 0–1           (destination 2–3 follow: `tail`)
 *
 * Bytes keep their order in memory, so fields of a word read little-endian: byte k of the frame is
 * bits 8·(k mod 8) on. A one's complement sum does not mind byte order (RFC 1071 §2(B)).
 */
#ifndef P2PNIC_HEADER_H
#define P2PNIC_HEADER_H

#include <p2pnic/adjacency.h>
#include <p2pnic/counters.h>
#include <p2pnic/special.h>

#include "board.h"
#include "stations.h"
#include "verdict.h"

#define ETHERNET_BYTES    14u
#define IPV4_BYTES        20u
#define IPV6_BYTES        40u
#define ETHERTYPE_IPV4_LE 0x0008u
#define ETHERTYPE_IPV6_LE 0xdd86u
#define ETHERTYPE_VLAN_LE 0x0081u /* IEEE 802.1Q; a tag of 802.1ad is no tag here */

/* Protocol numbers (IANA). */
enum {
	HOP_BY_HOP = 0,
	IPV4_IN_IP = 4,
	TCP = 6,
	UDP = 17,
	DCCP = 33,
	IPV6_IN_IP = 41,
	ROUTING = 43,
	FRAGMENT = 44,
	GRE = 47,
	AUTHENTICATION = 51,
	DESTINATION_OPTIONS = 60,
	SCTP = 132,
	UDP_LITE = 136,
};

static inline uint64_t load64(const uint8_t *p)
{
	uint64_t v;
	__builtin_memcpy(&v, p, 8);
	return v;
}

static inline uint32_t load32(const uint8_t *p)
{
	uint32_t v;
	__builtin_memcpy(&v, p, 4);
	return v;
}

static inline uint16_t load16(const uint8_t *p)
{
	uint16_t v;
	__builtin_memcpy(&v, p, 2);
	return v;
}

static inline uint16_t swap16(uint16_t v)
{
	return (uint16_t)(v << 8 | v >> 8);
}

/* No branch: one that a report of coverage shows here is of the compiler's making. */
static inline uint32_t swap32(uint32_t v)
{
	return (v >> 24) | (v >> 8 & 0xff00u) | (v << 8 & 0xff0000u) | (v << 24);
}

static inline uint64_t swap64(uint64_t v)
{
	return (uint64_t)swap32((uint32_t)v) << 32 | swap32((uint32_t)(v >> 32));
}

/* One's complement sum to 16 bits (RFC 1071), of fewer than 2^16 words of 32 bits. */
static inline uint16_t fold(uint64_t sum)
{
	sum = (sum & 0xffffu) + (sum >> 16 & 0xffffu) + (sum >> 32);
	sum = (sum & 0xffffu) + (sum >> 16);
	return (uint16_t)(sum + (sum >> 16));
}

/* The sum over the 20 fixed bytes of an IPv4 header; 0xffff when its checksum is right. */
static inline uint64_t ipv4_sum(const struct frame_head *h, uint16_t tail)
{
	return (h->low[1] >> 48) + (uint32_t)h->high[0] + (h->high[0] >> 32) +
	       (uint32_t)h->high[1] + (h->high[1] >> 32) + tail;
}

static inline uint16_t ethertype_le(const struct frame_head *h)
{
	return (uint16_t)(h->low[1] >> 32);
}

static inline uint32_t ipv4_ihl(const struct frame_head *h)
{
	return (uint32_t)(h->low[1] >> 48) & 0xf;
}

static inline uint32_t ipv4_total_length(const struct frame_head *h)
{
	return swap16((uint16_t)h->high[0]);
}

/* TTL 0 or 1: not to be forwarded. */
static inline bool ipv4_expired(const struct frame_head *h)
{
	return !(((const uint8_t *)h)[22] & 0xfe);
}

static inline be32 ipv4_source_be(const struct frame_head *h)
{
	return (be32)(h->high[1] >> 16);
}

static inline uint32_t ipv4_source(const struct frame_head *h)
{
	return swap32(ipv4_source_be(h));
}

static inline uint32_t ipv4_destination(const struct frame_head *h, uint16_t tail)
{
	return swap32((uint32_t)(h->high[1] >> 48) | (uint32_t)tail << 16);
}

static inline uint32_t ipv6_payload_length(const struct frame_head *h)
{
	return swap16((uint16_t)(h->high[0] >> 16));
}

static inline uint8_t ipv6_next_header(const struct frame_head *h)
{
	return (uint8_t)(h->high[0] >> 32);
}

static inline bool ipv6_expired(const struct frame_head *h)
{
	return !(((const uint8_t *)h)[21] & 0xfe);
}

/*
 * May an address be a special one (p2pnic/special.h)? By its first two octets, as loaded from a
 * frame: those that begin with 0, 127, or 224 and more, and four pairs, one of them for each
 * remainder of the first octet by 32. An entry that is no remainder of its own matches nothing. No
 * branch: see swap32.
 */
#define IPV4_PAIR(a, b) ((a) | (b) << 8)
#define IPV4_PAIRS                                                                                 \
	{                                                                                          \
		[192 % 32] = IPV4_PAIR(192, 0), [1] = 0, [198 % 32] = IPV4_PAIR(198, 51),          \
		       [169 % 32] = IPV4_PAIR(169, 254), [203 % 32] = IPV4_PAIR(203, 0), [31] = 0, \
	}
static const uint16_t ipv4_pairs[32] __attribute__((aligned(64))) = IPV4_PAIRS;

static inline unsigned ipv4_suspect(uint64_t pair)
{
	return (unsigned)((uint8_t)(pair - 1) >= 223) | (unsigned)((uint8_t)pair == 127) |
	       (unsigned)(ipv4_pairs[pair % 32] == (uint16_t)pair);
}

/* May an address be a special one? Not within 2001:200:: to 3ffe:ffff:…, less 2001:db8::/32, nor
 * fc00::/7. */
static inline bool ipv6_suspect(uint64_t high)
{
	uint32_t net = (uint32_t)(high >> 32);

	return (net - 0x20010200u >= 0x3fff0000u - 0x20010200u || net == 0x20010db8u) &&
	       net >> 25 != 0xfc >> 1;
}

static inline struct fib_ipv6 ipv6_address(const uint8_t *data)
{
	return (struct fib_ipv6){swap64(load64(data)), swap64(load64(data + 8))};
}

/* --- Tags: IEEE 802.1Q §9 --------------------------------------------------------------------- */

#define TAG_VID(tci) ((tci)&0xfffu)

static inline uint16_t tag_control(const struct frame_head *h)
{
	return swap16((uint16_t)(h->low[1] >> 48));
}

/* The head without its tag; `behind`: the four bytes that follow the head. */
static inline void head_pop_tag(struct frame_head *h, uint32_t behind)
{
	h->low[1] = (h->low[1] & 0xffffffff) | h->high[0] << 32;
	h->high[0] = h->high[0] >> 32 | h->high[1] << 32;
	h->high[1] = h->high[1] >> 32 | (uint64_t)behind << 32;
}

/* With one: its last four bytes are not in the head any more. */
static inline void head_push_tag(struct frame_head *h, uint16_t control)
{
	const uint64_t tag = ETHERTYPE_VLAN_LE | (uint64_t)swap16(control) << 16;

	h->high[1] = h->high[0] >> 32 | h->high[1] << 32;
	h->high[0] = h->low[1] >> 32 | h->high[0] << 32;
	h->low[1] = (h->low[1] & 0xffffffff) | tag << 32;
}

/* The finaliser of splitmix64 (Steele, Lea, Flood 2014): every bit in decides every bit out. */
static inline uint32_t mix(uint64_t x)
{
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ x >> 27) * 0x94d049bb133111ebull;
	return (uint32_t)(x >> 33);
}

#endif
