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

/* Protocol numbers (IANA). */
enum {
	HOP_BY_HOP = 0,
	TCP = 6,
	UDP = 17,
	DCCP = 33,
	ROUTING = 43,
	FRAGMENT = 44,
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
	return !(h->high[0] & 0xfeull << 48);
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
	return !(h->high[0] & 0xfeull << 40);
}

/* Destination and source MAC are the first 12 bytes of an adjacency. */
static inline void rewrite_macs(struct frame_head *h, const struct p2pnic_adjacency *adjacency)
{
	const frame_half mac = {~0ull, 0xffffffffull};
	frame_half macs;

	__builtin_memcpy(&macs, adjacency, sizeof(macs));
	h->low = (macs & mac) | (h->low & ~mac);
}

/* A head as 16-bit words: vector registers where the processor has some, and the compiler's loop
 * elsewhere. */
typedef uint16_t frame_words __attribute__((vector_size(32)));

/*
 * MAC addresses, TTL − 1 and the checksum for it. RFC 1624 equation 3, HC' = ~(~HC + ~m + m'),
 * where m is the 16-bit word that holds TTL and protocol. Read little-endian, TTL is its low byte,
 * so m' = m − 1 and HC' is HC + 1 modulo 0xffff, whatever m was. TTL ≥ 1.
 */
static inline void rewrite_ipv4(struct frame_head *h, const struct p2pnic_adjacency *adjacency)
{
	/* Words 0 to 5 are the MAC addresses, 11 TTL and protocol, 12 the checksum. */
	const frame_words macs = {0xffff, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff};
	const frame_words step = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xffff, 1};
	const frame_words end = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xfffe};
	const frame_words carry = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
	frame_words w, to;

	_Static_assert(sizeof(*adjacency) >= sizeof(to), "the MAC addresses and what follows");
	__builtin_memcpy(&w, h, sizeof(w));
	__builtin_memcpy(&to, adjacency, sizeof(to));
	w = ((to & macs) | (w & ~macs)) + step + ((frame_words)(w >= end) & carry);
	__builtin_memcpy(h, &w, sizeof(w));
}

static inline void rewrite_ipv6(struct frame_head *h, const struct p2pnic_adjacency *adjacency)
{
	rewrite_macs(h, adjacency);
	h->high[0] -= 1ull << 40;
}

/*
 * The five checks of RFC 1812 §5.2.2, for a frame to this station's MAC with Ethernet type IPv4.
 * `length`: of the frame; becomes that of the packet with its Ethernet header (Ethernet pads short
 * frames). Checksums of headers with options: ipv4_check_options.
 */
static inline verdict ipv4_check(const struct frame_head *h, uint16_t tail, uint32_t *length)
{
	uint32_t total = ipv4_total_length(h);
	uint32_t header = ipv4_ihl(h) * 4;

	if (*length < ETHERNET_BYTES + IPV4_BYTES) /* (1) */
		return VERDICT(RUNT);
	if ((h->low[1] >> 52 & 0xf) != 4) /* (3), before what a wrong version has elsewhere */
		return VERDICT(VERSION);
	if (header < IPV4_BYTES) /* (4), before a checksum over so many bytes */
		return VERDICT(HEADER_LENGTH);
	if (header == IPV4_BYTES && fold(ipv4_sum(h, tail)) != 0xffff) /* (2) */
		return VERDICT(CHECKSUM);
	if (total < header || total > *length - ETHERNET_BYTES) /* (5) */
		return VERDICT(TOTAL_LENGTH);
	*length = ETHERNET_BYTES + total;
	return VERDICT_FORWARD;
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

/*
 * True for what nearly every packet is: to this MAC, IPv4 without options, nothing that ipv4_check
 * could refuse, and of ordinary addresses. All conditions are computed and joined, for one branch
 * instead of a dozen. `total`: of the frame, as ipv4_check would leave it in *length.
 */
static inline bool ipv4_plain(const struct frame_head *h, uint16_t tail, uint32_t length,
	const struct stations *stations, uint32_t *total)
{
	uint32_t ip = ipv4_total_length(h);
	uint64_t wrong = !stations_has(stations, h->low[0]);

	wrong |= (h->low[1] >> 32 ^ 0x450008) & 0xffffff;
	wrong |= (uint16_t)~fold(ipv4_sum(h, tail));
	wrong |= ipv4_suspect(h->high[1] >> 16);
	wrong |= ipv4_suspect(h->high[1] >> 48);
	wrong |= ip < IPV4_BYTES;
	wrong |= ETHERNET_BYTES + ip > length;
	*total = ETHERNET_BYTES + ip;
	return wrong == 0;
}

/*
 * A header with options, checksum included, on a copy: the frame's memory may change meanwhile, and
 * an option's length that becomes 0 between its check and its use would never end. What leaves is
 * the frame as it is then: a stranger who changes it harms his own packet. Source routes are
 * refused (RFC 7126 §4.3, §4.4), a malformed option too (RFC 1812 §5.2.4); all others pass
 * unchanged.
 */
static inline verdict ipv4_check_options(const uint8_t *data, uint32_t header)
{
	uint8_t ip[60];
	uint64_t sum = 0;
	uint32_t at = IPV4_BYTES;

	__builtin_memcpy(ip, data, header);
	__asm__ volatile("" : "+m"(ip)); /* no second look at the original */
	for (uint32_t k = 0; k < header; k += 2)
		sum += load16(ip + k);
	if (fold(sum) != 0xffff)
		return VERDICT(CHECKSUM);
	while (at < header) {
		uint8_t kind = ip[at];

		if (kind == 0) /* end of list */
			break;
		if (kind == 1) { /* no operation */
			at++;
			continue;
		}
		if (kind == 131 || kind == 137) /* loose and strict source route */
			return VERDICT(OPTIONS);
		if (at + 1 >= header || ip[at + 1] < 2 || at + ip[at + 1] > header)
			return VERDICT(OPTIONS);
		at += ip[at + 1];
	}
	return VERDICT_FORWARD;
}

/*
 * RFC 8200 §3: the same for IPv6. Payload length 0 means that the header is all there is (what
 * follows is padding), unless a hop-by-hop header follows: then the length should be in a jumbo
 * payload option, and is above 65,535 (RFC 2675 §2, §3). Option or not, the frame does not hold
 * such a packet.
 */
static inline verdict ipv6_check(const struct frame_head *h, uint32_t *length)
{
	uint32_t payload = ipv6_payload_length(h);
	uint32_t total = IPV6_BYTES + payload;

	if ((h->low[1] >> 52 & 0xf) != 6)
		return VERDICT(VERSION);
	if (total > *length - ETHERNET_BYTES)
		return VERDICT(TOTAL_LENGTH);
	if (payload == 0 && ipv6_next_header(h) == HOP_BY_HOP)
		return VERDICT(TOTAL_LENGTH);
	*length = ETHERNET_BYTES + total;
	return VERDICT_FORWARD;
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

/* By what the addresses are (p2pnic/special.h), for a packet to no address of this router. */
static inline verdict special_check(enum p2pnic_special from, enum p2pnic_special to)
{
	if (from >= P2PNIC_SPECIAL_GROUP)
		return VERDICT(MARTIAN_SOURCE);
	if (to == P2PNIC_SPECIAL_NEVER)
		return VERDICT(MARTIAN_DESTINATION);
	if (from == P2PNIC_SPECIAL_LINK || to >= P2PNIC_SPECIAL_LINK)
		return VERDICT(LINK_SCOPE);
	if (from == P2PNIC_SPECIAL_STAY)
		return VERDICT(MARTIAN_SOURCE);
	if (to == P2PNIC_SPECIAL_STAY)
		return VERDICT(MARTIAN_DESTINATION);
	return VERDICT_FORWARD;
}

/* Does it go on nevertheless if its destination is an address of this router? */
static inline bool special_may_end_here(enum p2pnic_special from, enum p2pnic_special to)
{
	return from <= P2PNIC_SPECIAL_STAY && to <= P2PNIC_SPECIAL_STAY && from + to > 0;
}

/* The finaliser of splitmix64 (Steele, Lea, Flood 2014): every bit in decides every bit out. */
static inline uint32_t mix(uint64_t x)
{
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ x >> 27) * 0x94d049bb133111ebull;
	return (uint32_t)(x >> 33);
}

/*
 * What tells flows between two addresses apart: ports and protocol, in words that lie apart. `at`:
 * where the header of `protocol` begins. Extension headers before it are passed over (RFC 8200
 * §4.3, §4.4, §4.6; RFC 4302 §2.2), up to eight. A fragment has no ports, the first of a packet
 * neither: all of them take one path.
 */
static inline uint64_t flow_ports(
	const uint8_t *data, uint32_t at, uint8_t protocol, uint32_t length)
{
	for (unsigned headers = 0; headers <= 8 && at + 4 <= length; headers++) {
		uint32_t word = load32(data + at), bytes;

		__asm__ volatile("" : "+r"(word)); /* no second look at a stranger's memory */
		switch (protocol) {
		case TCP:
		case UDP:
		case DCCP:
		case SCTP:
		case UDP_LITE:
			return word * 0x9e3779b97f4a7c15ull ^ (uint64_t)protocol << 40;
		case HOP_BY_HOP:
		case ROUTING:
		case DESTINATION_OPTIONS:
			bytes = ((word >> 8 & 0xff) + 1) * 8;
			break;
		case AUTHENTICATION:
			bytes = ((word >> 8 & 0xff) + 2) * 4;
			break;
		default:
			return (uint64_t)protocol << 40;
		}
		protocol = (uint8_t)word;
		at += bytes;
	}
	return (uint64_t)protocol << 40;
}

/* The flow of a packet, for ECMP: addresses, protocol and ports. `layer4`: where they begin;
 * `length`: of the packet with its Ethernet header. */
static inline uint32_t ipv4_flow(const struct frame_head *h, uint32_t destination,
	const uint8_t *data, uint32_t layer4, uint32_t length)
{
	uint8_t protocol = (uint8_t)(h->high[0] >> 56);
	bool fragment = swap16((uint16_t)(h->high[0] >> 32)) & 0x3fff;
	uint64_t x = (uint64_t)ipv4_source(h) << 32 | destination;

	return mix(x ^ flow_ports(data, layer4, protocol, fragment ? 0 : length));
}

/* IPv6: the sender's flow label says what a flow is (RFC 6437, RFC 6438); without one, ports do
 * (RFC 6437 §3). */
static inline uint32_t ipv6_flow(const struct frame_head *h, const uint8_t *data, uint32_t length)
{
	uint64_t label = (h->low[1] >> 56 & 0xf) | (h->high[0] & 0xffff) << 4;
	uint64_t x = load64(data + 22) + 3 * load64(data + 30) + 5 * load64(data + 38) +
		     7 * load64(data + 46);

	if (label)
		return mix(x + (label << 32));
	return mix(x ^ flow_ports(data, ETHERNET_BYTES + IPV6_BYTES, ipv6_next_header(h), length));
}

#endif
