/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Ethernet and IP headers in four 64-bit words, two halves of 16 bytes.
 *
 * A frame's first 32 bytes are copied once (burst.h); checks are made on the copy, and so are the new TTL,
 * checksum and MAC addresses, before it goes into the egress NIC's memory. So these bytes leave as they were
 * checked, though a stranger may be writing the memory that they were received in; that is never written.
 *
 *   low[0]   destination MAC ·················· source MAC 0–1
 *   low[1]   source MAC 2–5 · Ethernet type · version/IHL · TOS
 *   high[0]  IPv4: total length · id · fragment · TTL · protocol
 *            IPv6: flow label low · payload length · next header · hop limit · source 0–1
 *   high[1]  IPv4: checksum · source · destination 0–1           (destination 2–3 follow: `tail`)
 *
 * Bytes keep their order in memory, so fields of a word read little-endian: byte k of the frame is bits
 * 8·(k mod 8) on. A one's complement sum does not mind byte order (RFC 1071 §2(B)).
 */
#ifndef P2PNIC_HEADER_H
#define P2PNIC_HEADER_H

#include <p2pnic/adjacency.h>
#include <p2pnic/counters.h>

#include "board.h"
#include "x86.h"

#define ETHERNET_BYTES    14u
#define IPV4_BYTES        20u
#define IPV6_BYTES        40u
#define ETHERTYPE_IPV4_LE 0x0008u
#define ETHERTYPE_IPV6_LE 0xdd86u
#define MAC_MASK          0xffffffffffffull

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

static inline uint32_t ipv4_source(const struct frame_head *h)
{
	return swap32((uint32_t)(h->high[1] >> 16));
}

static inline uint32_t ipv4_destination(const struct frame_head *h, uint16_t tail)
{
	return swap32((uint32_t)(h->high[1] >> 48) | (uint32_t)tail << 16);
}

static inline uint32_t ipv6_payload_length(const struct frame_head *h)
{
	return swap16((uint16_t)(h->high[0] >> 16));
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

/*
 * MAC addresses, TTL − 1 and the checksum for it. RFC 1624 equation 3, HC' = ~(~HC + ~m + m'), where m is the 16-bit
 * word that holds TTL and protocol. Read little-endian, TTL is its low byte, so m' = m − 1 and HC' is HC + 1
 * modulo 0xffff, whatever m was. TTL ≥ 1.
 */
static inline void rewrite_ipv4(struct frame_head *h, const struct p2pnic_adjacency *adjacency)
{
#if defined(__AVX512BW__) && defined(__AVX512VL__) && !defined(X86_PLAIN)
	const __m256i less = _mm256_setr_epi16(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, -1, 1, 0, 0, 0);
	const __mmask16 checksum = 1 << 12;
	__m256i w = _mm256_loadu_si256((const __m256i *)h);
	__mmask16 around =
		_mm256_mask_cmpge_epu16_mask(checksum, w, _mm256_set1_epi16((short)0xfffe));

	w = _mm256_blend_epi32(w, _mm256_loadu_si256((const __m256i *)adjacency), 7);
	w = _mm256_add_epi16(w, less);
	w = _mm256_mask_add_epi16(w, around, w, less); /* the end-around carry */
	_mm256_storeu_si256((__m256i *)h, w);
#elif defined(__SSE2__)
	typedef uint16_t words __attribute__((vector_size(16)));
	const words end = {0xffff, 0xffff, 0xffff, 0xffff, 0xfffe, 0xffff, 0xffff, 0xffff};
	const words checksum = {0, 0, 0, 0, 1};
	words w = (words)h->high;

	rewrite_macs(h, adjacency);
	h->high = (frame_half)(w + (words){0, 0, 0, 0xffff, 1} + ((words)(w >= end) & checksum));
#else
	uint64_t checksum = h->high[1] & 0xffff;

	rewrite_macs(h, adjacency);
	checksum += 1 + (checksum >= 0xfffe);
	h->high[1] = (h->high[1] & ~0xffffull) | (checksum & 0xffff);
	h->high[0] -= 1ull << 48;
#endif
}

static inline void rewrite_ipv6(struct frame_head *h, const struct p2pnic_adjacency *adjacency)
{
	rewrite_macs(h, adjacency);
	h->high[0] -= 1ull << 40;
}

/* RFC 1812 §5.3.7, RFC 6890: 0/8, 127/8, 224/4 and limited broadcast never are a source. */
static inline bool ipv4_martian_source(uint32_t address)
{
	uint32_t net = address >> 24;

	return net == 0 || net == 127 || (net & 0xf0) == 0xe0 || address == 0xffffffffu;
}

/*
 * RFC 1812 §5.2.2 in its order, for one frame to this station's MAC with Ethernet type IPv4. Returns
 * P2PNIC_DROP_COUNT when the packet is fit to be routed. `length`: of the frame; becomes that of the
 * packet with its Ethernet header (Ethernet pads short frames). Options: see ipv4_check_options.
 */
static inline enum p2pnic_drop ipv4_check(
	const struct frame_head *h, uint16_t tail, uint32_t *length)
{
	uint32_t total = ipv4_total_length(h);
	uint32_t header = ipv4_ihl(h) * 4;
	uint32_t destination = ipv4_destination(h, tail);

	if (*length < ETHERNET_BYTES + IPV4_BYTES)
		return P2PNIC_DROP_RUNT;
	if ((h->low[1] >> 52 & 0xf) != 4)
		return P2PNIC_DROP_VERSION;
	if (header < IPV4_BYTES)
		return P2PNIC_DROP_HEADER_LENGTH;
	if (header == IPV4_BYTES && fold(ipv4_sum(h, tail)) != 0xffff)
		return P2PNIC_DROP_CHECKSUM;
	if (total < header || total > *length - ETHERNET_BYTES)
		return P2PNIC_DROP_TOTAL_LENGTH;
	if (ipv4_martian_source(ipv4_source(h)))
		return P2PNIC_DROP_MARTIAN_SOURCE;
	if (destination >> 24 == 0 || destination >> 24 == 127)
		return P2PNIC_DROP_MARTIAN_DESTINATION;
	if ((destination >> 28) == 0xe || destination == 0xffffffffu)
		return P2PNIC_DROP_LINK_SCOPE;
	*length = ETHERNET_BYTES + total;
	return P2PNIC_DROP_COUNT;
}

/* Is an address, by its first octet, one that ipv4_check might refuse: 0, 127, from 224 on? */
static inline unsigned ipv4_suspect(uint64_t octet)
{
	return (unsigned)((uint8_t)(octet - 1) >= 223) | (unsigned)((uint8_t)octet == 127);
}

/*
 * True for what nearly every packet is: to this MAC, IPv4 without options, and nothing that ipv4_check
 * could refuse. All conditions are computed and joined, for one branch instead of a dozen. `total`: of the
 * frame, as ipv4_check would leave it in *length.
 */
static inline bool ipv4_plain(
	const struct frame_head *h, uint16_t tail, uint32_t length, uint64_t mac, uint32_t *total)
{
	uint32_t ip = ipv4_total_length(h);
	uint64_t wrong = (h->low[0] ^ mac) << 16;

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
 * A header with options, checksum included, on a copy: the frame's memory may change meanwhile, and an
 * option's length that becomes 0 between its check and its use would never end. What leaves is the frame
 * as it is then: a stranger who changes it harms his own packet. Source routes are refused (RFC 7126
 * §4.3, §4.4), a malformed option too (RFC 1812 §5.2.4); all others pass unchanged.
 */
static inline enum p2pnic_drop ipv4_check_options(const uint8_t *data, uint32_t header)
{
	uint8_t ip[60];
	uint64_t sum = 0;
	uint32_t at = IPV4_BYTES;

	__builtin_memcpy(ip, data, header);
	__asm__ volatile("" : "+m"(ip)); /* no second look at the original */
	for (uint32_t k = 0; k < header; k += 2)
		sum += load16(ip + k);
	if (fold(sum) != 0xffff)
		return P2PNIC_DROP_CHECKSUM;
	while (at < header) {
		uint8_t kind = ip[at];

		if (kind == 0) /* end of list */
			break;
		if (kind == 1) { /* no operation */
			at++;
			continue;
		}
		if (kind == 131 || kind == 137) /* loose and strict source route */
			return P2PNIC_DROP_OPTIONS;
		if (at + 1 >= header || ip[at + 1] < 2 || at + ip[at + 1] > header)
			return P2PNIC_DROP_OPTIONS;
		at += ip[at + 1];
	}
	return P2PNIC_DROP_COUNT;
}

/* RFC 8200 §3, RFC 4291 §2: the same for IPv6. high, low: address halves in host order. */
static inline enum p2pnic_drop ipv6_check(const struct frame_head *h, uint64_t source_high,
	uint64_t source_low, uint64_t high, uint64_t low, uint32_t *length)
{
	uint32_t total = IPV6_BYTES + ipv6_payload_length(h);

	if ((h->low[1] >> 52 & 0xf) != 6)
		return P2PNIC_DROP_VERSION;
	if (total > *length - ETHERNET_BYTES)
		return P2PNIC_DROP_TOTAL_LENGTH;
	if (source_high >> 56 == 0xff || (source_high == 0 && source_low <= 1))
		return P2PNIC_DROP_MARTIAN_SOURCE;
	if (high == 0 && low <= 1)
		return P2PNIC_DROP_MARTIAN_DESTINATION;
	if (high >> 56 == 0xff || high >> 54 == 0x3fa || source_high >> 54 == 0x3fa)
		return P2PNIC_DROP_LINK_SCOPE; /* ff00::/8, fe80::/10 */
	*length = ETHERNET_BYTES + total;
	return P2PNIC_DROP_COUNT;
}

/* The finaliser of splitmix64 (Steele, Lea, Flood 2014): every bit in decides every bit out. */
static inline uint32_t mix(uint64_t x)
{
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ x >> 27) * 0x94d049bb133111ebull;
	return (uint32_t)(x >> 33);
}

/*
 * The flow of a packet, for ECMP: addresses, protocol and, unless it is a fragment, ports. All
 * fragments of a packet take one path, and so do all packets of a flow.
 */
static inline uint32_t ipv4_flow(
	const struct frame_head *h, uint32_t destination, const uint8_t *data)
{
	uint32_t header = ETHERNET_BYTES + ipv4_ihl(h) * 4;
	uint8_t protocol = (uint8_t)(h->high[0] >> 56);
	bool fragment = swap16((uint16_t)(h->high[0] >> 32)) & 0x3fff;
	uint64_t x = (uint64_t)ipv4_source(h) << 32 | destination;

	if (!fragment && (protocol == 6 || protocol == 17))
		x ^= (uint64_t)load32(data + header) * 0x9e3779b97f4a7c15ull;
	return mix(x ^ (uint64_t)protocol << 40);
}

/* IPv6: the sender's flow label says what a flow is (RFC 6437, RFC 6438); no header chain is walked. */
static inline uint32_t ipv6_flow(const struct frame_head *h, const uint8_t *data)
{
	uint64_t label = (h->low[1] >> 56 & 0xf) | (h->high[0] & 0xffff) << 4;

	return mix(load64(data + 22) + 3 * load64(data + 30) + 5 * load64(data + 38) +
		   7 * load64(data + 46) + (label << 32));
}

#endif
