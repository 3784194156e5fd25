/* SPDX-License-Identifier: BSD-3-Clause */
#include "offload.h"

#include <linux/if_ether.h>
#include <netinet/in.h>
#include <string.h>

uint16_t offload_sum(const uint8_t *bytes, uint32_t length, uint16_t start)
{
	uint64_t sum = start;
	uint32_t at = 0;

	/* RFC 1071 §2 (B), (C): any word size and byte order will do, folded at the end. */
	for (; at + 4 <= length; at += 4) {
		uint32_t word;
		memcpy(&word, bytes + at, 4);
		sum += word;
	}
	for (; at + 2 <= length; at += 2) {
		uint16_t word;
		memcpy(&word, bytes + at, 2);
		sum += word;
	}
	if (at < length) {
		uint8_t last[2] = {bytes[at], 0};
		uint16_t word;
		memcpy(&word, last, 2);
		sum += word;
	}
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

bool offload_checksum(uint8_t *frame, uint32_t length, const struct virtio_net_hdr *header)
{
	uint32_t start = header->csum_start;
	uint32_t field = start + header->csum_offset;

	if (start > length || field + 2 > length)
		return false;
	/* The field holds the sum of the pseudo-header, so it takes part like any other word. */
	uint16_t sum = (uint16_t)~offload_sum(frame + start, length - start, 0);
	/* RFC 768: an UDP checksum of 0 means "none"; its other form is right for TCP too. */
	if (sum == 0)
		sum = 0xffff;
	memcpy(frame + field, &sum, 2);
	return true;
}

static uint16_t load16(const uint8_t *bytes)
{
	return (uint16_t)(bytes[0] << 8 | bytes[1]);
}

/* Where the payload of IP begins and what it is. */
struct segment {
	uint32_t start;
	uint32_t length;
	uint8_t protocol;
	uint16_t addresses; /* sum of source and destination */
};

static bool find_ipv4(const uint8_t *frame, uint32_t length, uint32_t ip, struct segment *segment)
{
	if (ip + 20 > length)
		return false;
	uint32_t header = (frame[ip] & 0xf) * 4u;
	uint32_t total = load16(frame + ip + 2);
	bool fragment = load16(frame + ip + 6) & 0x3fff;
	if (frame[ip] >> 4 != 4 || header < 20 || total < header || total > length - ip || fragment)
		return false;
	*segment = (struct segment){.start = ip + header,
		.length = total - header,
		.protocol = frame[ip + 9],
		.addresses = offload_sum(frame + ip + 12, 8, 0)};
	return true;
}

static bool find_ipv6(const uint8_t *frame, uint32_t length, uint32_t ip, struct segment *segment)
{
	if (ip + 40 > length || frame[ip] >> 4 != 6)
		return false;
	uint32_t at = ip + 40;
	uint32_t end = at + load16(frame + ip + 4);
	uint8_t next = frame[ip + 6];
	if (end > length)
		return false;
	/* Hop-by-hop and destination options (RFC 8200, 4.3 and 4.6) do not change the
	 * pseudo-header. */
	while ((next == IPPROTO_HOPOPTS || next == IPPROTO_DSTOPTS) && at + 8 <= end) {
		next = frame[at];
		at += (frame[at + 1] + 1u) * 8;
	}
	if (at > end)
		return false;
	*segment = (struct segment){.start = at,
		.length = end - at,
		.protocol = next,
		.addresses = offload_sum(frame + ip + 8, 32, 0)};
	return true;
}

/* Finds the IP header and what it carries. */
static bool find_segment(
	const uint8_t *frame, uint32_t length, uint32_t *ip, struct segment *segment)
{
	if (length < ETH_HLEN + 20)
		return false;
	uint16_t type = load16(frame + 12);
	*ip = ETH_HLEN;
	for (int tags = 0; tags < 2 && (type == ETH_P_8021Q || type == ETH_P_8021AD); tags++) {
		type = load16(frame + *ip + 2);
		*ip += 4;
	}
	if (type == ETH_P_IP)
		return find_ipv4(frame, length, *ip, segment);
	return type == ETH_P_IPV6 && find_ipv6(frame, length, *ip, segment);
}

/* The sum of the pseudo-header of RFC 9293, 3.1, and RFC 8200, 8.1. */
static uint16_t pseudo_sum(const struct segment *segment, uint32_t length)
{
	const uint8_t rest[4] = {0, segment->protocol, (uint8_t)(length >> 8), (uint8_t)length};

	return offload_sum(rest, sizeof(rest), segment->addresses);
}

void offload_repair(uint8_t *frame, uint32_t length)
{
	struct segment segment;
	uint32_t ip;

	if (!find_segment(frame, length, &ip, &segment))
		return;
	uint32_t field = segment.protocol == IPPROTO_TCP   ? 16
			 : segment.protocol == IPPROTO_UDP ? 6
							   : 0;
	uint32_t smallest = segment.protocol == IPPROTO_TCP ? 20 : 8;
	if (field == 0 || segment.length < smallest)
		return;
	uint16_t checksum;
	memcpy(&checksum, frame + segment.start + field, 2);
	if (checksum != pseudo_sum(&segment, segment.length))
		return;
	const struct virtio_net_hdr partial = {
		.csum_start = (uint16_t)segment.start, .csum_offset = (uint16_t)field};
	offload_checksum(frame, segment.start + segment.length, &partial);
}

/* --- super-frames ----------------------------------------------------------------------------- */

#ifndef VIRTIO_NET_HDR_GSO_UDP_L4
#define VIRTIO_NET_HDR_GSO_UDP_L4 5 /* virtio 1.2; kernels since 6.2 */
#endif

#define TCP_FIN 0x01u
#define TCP_PSH 0x08u
#define TCP_CWR 0x80u

bool offload_split_begin(struct offload_split *split, const uint8_t *frame, uint32_t length,
	const struct virtio_net_hdr *header, uint32_t longest)
{
	uint8_t kind = header->gso_type & ~VIRTIO_NET_HDR_GSO_ECN;
	struct segment segment;
	uint32_t ip;

	if (!find_segment(frame, length, &ip, &segment))
		return false;
	bool tcp = segment.protocol == IPPROTO_TCP &&
		   (kind == VIRTIO_NET_HDR_GSO_TCPV4 || kind == VIRTIO_NET_HDR_GSO_TCPV6);
	bool udp = segment.protocol == IPPROTO_UDP && kind == VIRTIO_NET_HDR_GSO_UDP_L4;
	if (!(tcp || udp) || segment.length < (tcp ? 20u : 8u))
		return false;
	uint32_t transport = tcp ? (frame[segment.start + 12] >> 4) * 4u : 8;
	uint32_t headers = segment.start + transport;
	if ((tcp && transport < 20) || transport >= segment.length || header->gso_size == 0 ||
		headers + header->gso_size > longest)
		return false;
	*split = (struct offload_split){.frame = frame,
		.length = segment.start + segment.length, /* without padding behind it */
		.ip = ip,
		.transport = segment.start,
		.headers = headers,
		.piece = header->gso_size,
		.tcp = tcp};
	return true;
}

static void store16(uint8_t *to, uint32_t value)
{
	to[0] = (uint8_t)(value >> 8);
	to[1] = (uint8_t)value;
}

static uint32_t load32(const uint8_t *bytes)
{
	return (uint32_t)load16(bytes) << 16 | load16(bytes + 2);
}

static void store32(uint8_t *to, uint32_t value)
{
	store16(to, value >> 16);
	store16(to + 2, value);
}

static void write_ip(const struct offload_split *split, uint8_t *ip, uint32_t bytes)
{
	uint32_t behind = bytes - (split->transport - split->ip);

	if (ip[0] >> 4 == 6) {
		store16(ip + 4, bytes - 40);
		return;
	}
	store16(ip + 2, bytes);
	store16(ip + 4, load16(ip + 4) + split->done / split->piece);
	store16(ip + 10, 0);
	uint16_t checksum = (uint16_t)~offload_sum(ip, bytes - behind, 0);
	memcpy(ip + 10, &checksum, 2);
}

uint32_t offload_split_next(struct offload_split *split, uint8_t *to)
{
	uint32_t left = split->length - split->headers - split->done;
	uint32_t payload = left < split->piece ? left : split->piece;
	uint32_t length = split->headers + payload;
	bool first = split->done == 0, last = payload == left;
	uint8_t *transport = to + split->transport;
	struct segment segment;
	uint32_t ip;

	if (payload == 0)
		return 0;
	memcpy(to, split->frame, split->headers);
	memcpy(to + split->headers, split->frame + split->headers + split->done, payload);
	write_ip(split, to + split->ip, length - split->ip);
	if (split->tcp) {
		store32(transport + 4, load32(transport + 4) + split->done);
		transport[13] &=
			(uint8_t) ~((last ? 0 : TCP_FIN | TCP_PSH) | (first ? 0 : TCP_CWR));
	} else {
		store16(transport + 4, length - split->transport);
	}
	split->done += payload;

	/* The pseudo-header's sum goes into the field, then as for any checksum left to
	 * hardware. */
	uint32_t field = split->tcp ? 16 : 6;
	if (!find_segment(to, length, &ip, &segment))
		return 0;
	uint16_t pseudo = pseudo_sum(&segment, segment.length);
	memcpy(transport + field, &pseudo, 2);
	const struct virtio_net_hdr partial = {
		.csum_start = (uint16_t)split->transport, .csum_offset = (uint16_t)field};
	offload_checksum(to, length, &partial);
	return length;
}
